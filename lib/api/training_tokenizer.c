/*
 * training_tokenizer.c: recipe tokenizer.
 */
#include "api/training.h"

#include <string.h>

static pith_status write_tokenizer(pith__training_run *r, const pith__source *sources,
                                   pith__gguf_writer *writer, pith_error *err)
{
    static char standard[] = PITH__DOCUMENT_END;
    static char *const by_default[] = {standard};
    const pith__training_params *p = r->p;
    const bool given = p->special.count > 0;
    char pre[PITH_VALUE_SIZE];
    PITH__TRY(pith__table_get(&r->training->table, p, "pre", pre, sizeof pre, err));
    const pith__bpe_settings settings = {
        .size = (uint32_t)p->vocab_size,
        .pre = pre,
        .specials = (const char *const *)(given ? p->special.items : by_default),
        .n_specials = given ? p->special.count : 1,
        .max_bytes = (uint64_t)p->max_bytes,
        .threads = pith__training_threads(p)};
    PITH__TRY(pith__gguf_writer_add_string(writer, "general.architecture", "llama", 5, err));
    PITH__TRY(pith__gguf_writer_add_string(writer, "general.name", r->name, strlen(r->name), err));
    PITH__TRY(pith__bpe_train(sources, p->data.count, &settings, &r->training->mem, writer, err));
    return pith__gguf_writer_save(writer, p->output, err);
}

/* *opened counts those that are to be closed. */
static pith_status open_sources(const pith__training_run *r, pith__source *sources, size_t *opened,
                                pith_error *err)
{
    for (*opened = 0; *opened < r->p->data.count; (*opened)++) {
        const pith__train_source *from = &r->sources[*opened];
        PITH__TRY(pith__source_open(from->path, from->weight, (uint32_t)r->p->held_out_every,
                                    &r->training->mem, &sources[*opened], err));
    }
    return PITH_OK;
}

pith_status pith__run_tokenizer(pith__training_run *r, pith_error *err)
{
    pith__source *sources = NULL;
    pith__gguf_writer writer;
    size_t opened = 0;
    PITH__TRY(pith__need_list("data", &r->p->data, err));
    PITH__TRY(pith__need("output", r->p->output, err));
    if (r->ranks.rank != 0) {
        return PITH_OK; /* counting is one process's work */
    }
    PITH__TRY(pith__arena_alloc_zero(&r->arena, r->p->data.count, sizeof *sources, &sources, err));
    pith__gguf_writer_init(&writer, &r->training->mem);
    pith_status status = open_sources(r, sources, &opened, err);
    if (status == PITH_OK) {
        status = write_tokenizer(r, sources, &writer, err);
    }
    pith__gguf_writer_deinit(&writer);
    for (size_t i = 0; i < opened; i++) {
        pith__source_close(&sources[i]);
    }
    return status;
}
