/*
 * compressor_write.c: the file of a compressor, with how it was trained and how it does.
 */
#include "train/compressor.h"
#include "train/log.h"

#include <string.h>

/* A record is short, but for names of files. */
#define RECORD_MAX ((size_t)1 << 20)

/* ---- record -------------------------------------------------------------------------------------- */

/* A name without folders: where a file lies is nobody else's business. */
static pith_status append_name(pith__buf *out, const char *path, pith_error *err)
{
    const char *slash = strrchr(path, '/');
    return pith__train_log_string(out, slash == NULL ? path : slash + 1, err);
}

static pith_status append_data(const pith__compressor_settings *s, pith__buf *out, pith_error *err)
{
    PITH__TRY(pith__buf_append_text(out, ", \"texts\": {", err));
    for (size_t i = 0; i < s->n_sources; i++) {
        PITH__TRY(pith__buf_append_text(out, i == 0 ? "" : ", ", err));
        PITH__TRY(append_name(out, s->sources[i].path, err));
        PITH__TRY(pith__buf_printf(out, err, ": %.9g", s->sources[i].weight));
    }
    PITH__TRY(pith__buf_append_text(out, "}, \"questions\": [", err));
    for (size_t i = 0; i < s->n_questions; i++) {
        PITH__TRY(pith__buf_append_text(out, i == 0 ? "" : ", ", err));
        PITH__TRY(append_name(out, s->questions[i], err));
    }
    return pith__buf_printf(out, err,
                            "], \"question_share\": %.9g, \"continuation\": %.9g, "
                            "\"shortest\": %zu, \"length\": %zu, \"held_out_every\": %u",
                            s->question_share, s->continuation, s->shortest, s->run.length,
                            s->run.held_out_every);
}

static pith_status append_parameters(const pith__training_compressor *job, pith__buf *out,
                                     pith_error *err)
{
    const pith__compressor_settings *s = job->settings;
    if (s->shape.method != PITH__COMPRESSOR_SELFCP) {
        return pith__buf_printf(out, err,
                                ", \"rank\": %u, \"alpha\": %.9g, \"dropout\": %.9g, "
                                "\"slot_deviation\": %.9g",
                                job->compressor.lora.rank, (double)job->alpha, s->lora.dropout,
                                s->slot_deviation);
    }
    PITH__TRY(pith__buf_append_text(out, ", \"strategies\": {", err));
    for (pith__strategy i = 0; i < PITH__STRATEGIES; i++) {
        PITH__TRY(pith__buf_printf(out, err, "%s\"%s\": %.9g", i == 0 ? "" : ", ",
                                   pith__strategy_name(i), pith__strategy_weight(&s->mix, i)));
    }
    return pith__buf_append_text(out, "}", err);
}

static pith_status append_figures(const pith__training_compressor *job, pith__buf *out,
                                  pith_error *err)
{
    PITH__TRY(pith__buf_append_text(out, ", \"nats_per_token\": {", err));
    for (size_t i = 0; i < job->n_figures; i++) {
        const pith__evaluation *nats = &job->figures[i].nats;
        const double tokens = nats->tokens == 0 ? 1.0 : (double)nats->tokens;
        PITH__TRY(pith__buf_printf(out, err, "%s\"%s\": %.9g", i == 0 ? "" : ", ",
                                   job->figures[i].name, nats->nats / tokens));
    }
    return pith__buf_append_text(out, "}}", err);
}

/* How it was made, and how it does. No times: the same run gives the same bytes. */
static pith_status write_record(const pith__training_compressor *job, pith__buf *out,
                                pith_error *err)
{
    const pith__compressor_settings *s = job->settings;
    const pith__run_settings *run = &job->run_settings;
    PITH__TRY(
        pith__buf_printf(out, err,
                         "{\"method\": \"%s\", \"pith\": \"%s\", \"steps\": %llu, \"batch\": %zu, "
                         "\"optimizer\": \"%s\", \"rate\": %.9g, \"seed\": %llu, \"tokens\": %llu",
                         pith__compressor_method_name(s->shape.method), pith_version(),
                         (unsigned long long)run->steps, run->batch,
                         run->optimizer.kind == PITH__OPTIMIZER_MUON ? "muon" : "adamw",
                         run->optimizer.kind == PITH__OPTIMIZER_MUON ? run->optimizer.muon_rate
                                                                     : run->optimizer.rate,
                         (unsigned long long)run->seed, (unsigned long long)job->run.state.tokens));
    if (s->start != NULL) {
        PITH__TRY(pith__buf_append_text(out, ", \"start\": ", err));
        PITH__TRY(append_name(out, s->start, err));
    }
    PITH__TRY(append_data(s, out, err));
    PITH__TRY(append_parameters(job, out, err));
    return append_figures(job, out, err);
}

/* ---- file ------------------------------------------------------------------------------------------ */

/* A name that is too long loses its end. */
static void copy_name(const char *name, char *out, size_t size)
{
    size_t length = strlen(name);
    const size_t most = length < size - 1 ? length : size - 1;
    while (length > most || (length > 0 && ((unsigned char)name[length] & 0xc0) == 0x80)) {
        length--; /* not inside a character */
    }
    memcpy(out, name, length);
    out[length] = '\0';
}

static pith_status save(const pith__training_compressor *job, const char *record,
                        pith__arena *arena, pith__gguf_writer *writer, pith_error *err)
{
    const pith__compressor_settings *s = job->settings;
    pith__compressor_about about = {.shape = s->shape,
                                    .alpha = job->alpha,
                                    .conditional = s->conditional > 0.0,
                                    .record = record};
    memcpy(about.base_sha256, job->base.sha256, sizeof about.base_sha256);
    copy_name(s->name == NULL ? "" : s->name, about.name, sizeof about.name);
    if (s->n_questions > 0) { /* its length was checked */
        memcpy(about.format, s->format, strlen(s->format) + 1);
    }
    PITH__TRY(pith__compressor_add(&about, &job->base.model.config, &job->learned, s->half, arena,
                                   writer, err));
    return pith__gguf_writer_save(writer, s->output, err);
}

pith_status pith__training_compressor_write(const pith__training_compressor *job, pith_error *err)
{
    if (job->settings->output == NULL || job->run.ranks.rank != 0) {
        return PITH_OK;
    }
    pith__buf record;
    pith__arena arena;
    pith__gguf_writer writer;
    pith__arena_init(&arena, &job->mem);
    pith__buf_init(&record, &job->mem, RECORD_MAX);
    pith__gguf_writer_init(&writer, &job->mem);
    pith_status status = write_record(job, &record, err);
    if (status == PITH_OK) {
        status = save(job, record.data, &arena, &writer, err);
    }
    pith__gguf_writer_deinit(&writer);
    pith__buf_deinit(&record);
    pith__arena_deinit(&arena);
    return status;
}
