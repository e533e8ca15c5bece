/*
 * gist.c: gist tokens (Mu, Li & Goodman 2023): who sees whom, and the capsule of a text.
 */
#include "soft/soft.h"

#include <string.h>

/* ---- masks ------------------------------------------------------------------------------------ */

/* The first key that queries after the gist tokens see. */
static size_t first_after(pith__gist_condition condition, size_t first, size_t last)
{
    switch (condition) {
    case PITH__GIST_GIST:
        return first;
    case PITH__GIST_NEGATIVE:
        return last + 1;
    case PITH__GIST_POSITIVE:
    case PITH__GIST_TFIDF:
        break;
    }
    return 0;
}

static bool is_cut(pith__gist_condition condition)
{
    return condition == PITH__GIST_GIST || condition == PITH__GIST_NEGATIVE;
}

bool pith__gist_sees(pith__gist_attention attention, pith__gist_condition condition, size_t first,
                     size_t last, size_t query, size_t key)
{
    const bool late = key >= first_after(condition, first, last);
    switch (attention) {
    case PITH__GIST_CROSS:
        return late;
    case PITH__GIST_ENCODER: /* the text must not know its input, or the gist would, too */
        return query > last ? late : !is_cut(condition) || key <= last;
    case PITH__GIST_DECODER:
        break;
    }
    return key <= query && key >= pith__gist_first_seen(condition, first, last, query);
}

size_t pith__gist_first_seen(pith__gist_condition condition, size_t first, size_t last,
                             size_t query)
{
    return query > last ? first_after(condition, first, last) : 0;
}

/* ---- encoding --------------------------------------------------------------------------------- */

/* Reads the ids and then the copies of `row`, a slot each. */
static pith_status read_text(pith__reader *reader, const uint32_t *ids, size_t count,
                             const float *row, const pith__capsule *capsule, pith_error *err)
{
    const size_t width = reader->model->config.width;
    float *rows = NULL;
    PITH__TRY(pith__reader_ids(reader, ids, count, NULL, err));
    PITH__TRY(pith__alloc(&capsule->mem, capsule->slots, width * sizeof *rows, &rows, err));
    for (size_t i = 0; i < capsule->slots; i++) {
        memcpy(rows + i * width, row, width * sizeof *rows);
    }
    const pith_status status = pith__reader_embeddings(reader, rows, capsule->slots, err);
    pith__free(&capsule->mem, rows, capsule->slots, width * sizeof *rows);
    return status;
}

static pith_status fill(pith__capsule *capsule, pith__reader *reader, const uint32_t *ids,
                        size_t count, const float *row, pith_error *err)
{
    PITH__TRY(read_text(reader, ids, count, row, capsule, err));
    memcpy(capsule->position_mode, "continue", sizeof "continue");
    for (uint32_t i = 0; i < capsule->slots; i++) {
        capsule->positions[i] = (uint32_t)count + i;
    }
    capsule->advance = (uint32_t)count + capsule->slots;
    capsule->source_tokens = count;
    return pith__kv_extract(&reader->kv, reader->model, count, capsule->slots, capsule->positions,
                            capsule->keys, capsule->values, err);
}

pith_status pith__gist_encode(const pith__model *model, unsigned threads, const uint32_t *ids,
                              size_t count, const float *row, uint32_t slots,
                              const pith_allocator *mem, pith__capsule **out, pith_error *err)
{
    const pith__model_config *config = &model->config;
    *out = NULL;
    if (count == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "there is nothing to make a capsule of");
    }
    if (count >= config->context || slots > config->context - count) {
        return pith__fail(err, PITH_E_CONTEXT, "%zu tokens and %u slots, the model's context is %u",
                          count, slots, config->context);
    }
    pith__capsule *capsule = NULL;
    PITH__TRY(pith__capsule_new(PITH__CAPSULE_KV, "gist", slots, config->layers,
                                config->kv_heads * config->head_dim, mem, &capsule, err));
    pith__reader reader = {0};
    pith_status status = pith__reader_init(&reader, model, threads, mem, err);
    if (status == PITH_OK) {
        status = fill(capsule, &reader, ids, count, row, err);
    }
    pith__reader_deinit(&reader);
    if (status != PITH_OK) {
        pith__capsule_free(capsule);
        return status;
    }
    *out = capsule;
    return PITH_OK;
}
