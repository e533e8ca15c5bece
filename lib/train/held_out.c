/*
 * held_out.c: how well a model predicts documents it was not trained on.
 */
#include "train/run.h"

#include <string.h>

typedef struct held_job {
    const pith__model *model;
    const pith__tokenizer *tokenizer;
    const pith__source *source;
    size_t length;
    pith__ranks ranks;
    pith_allocator mem;
    double *nats;       /* (documents) */
    double *tokens;     /* (documents) */
    pith_error *errors; /* (documents) */
} held_job;

/* Nats of one piece: ids[i] predicts ids[i + 1]. */
static pith_status read_piece(const held_job *job, const pith__tensor_ctx *ctx, const uint32_t *ids,
                              size_t count, double *nats, pith_error *err)
{
    float *nll = NULL;
    PITH__TRY(pith__arena_alloc(ctx->arena, count, sizeof *nll, &nll, err));
    const pith__sequence sequence = {.ids = ids, .count = count};
    const pith__forward_outputs outputs = {.targets = ids + 1, .nll = nll};
    PITH__TRY(pith__model_forward(job->model, ctx, &sequence, 1, &outputs, err));
    for (size_t i = 0; i < count; i++) {
        *nats += (double)nll[i];
    }
    return PITH_OK;
}

/* BOS, the document, EOS or BOS. */
static pith_status ids_of(const held_job *job, size_t document, pith__arena *arena, uint32_t **out,
                          size_t *count, pith_error *err)
{
    const pith__document *d = &job->source->held_out[document];
    const pith_allocator mem = pith__arena_allocator(arena);
    pith__tokens tokens = {0};
    PITH__TRY(pith__tokenizer_encode(job->tokenizer,
                                     (const char *)job->source->file.data + d->start,
                                     d->end - d->start, false, &mem, &tokens, err));
    PITH__TRY(pith__arena_alloc(arena, tokens.count + 2, sizeof **out, out, err));
    (*out)[0] = pith__tokenizer_bos(job->tokenizer);
    for (size_t i = 0; i < tokens.count; i++) {
        (*out)[i + 1] = tokens.items[i].id;
    }
    (*out)[tokens.count + 1] = pith__document_end(job->tokenizer);
    *count = tokens.count + 1; /* predictions */
    return PITH_OK;
}

static pith_status read_document(held_job *job, size_t document, pith__arena *arena,
                                 pith_error *err)
{
    const pith__tensor_ctx ctx = {.threads = 1, .arena = arena};
    uint32_t *ids = NULL;
    size_t count = 0;
    PITH__TRY(ids_of(job, document, arena, &ids, &count, err));
    job->tokens[document] = (double)count;
    for (size_t first = 0; first < count; first += job->length) {
        const size_t rows = count - first < job->length ? count - first : job->length;
        const pith__arena_mark mark = pith__arena_save(arena);
        PITH__TRY(read_piece(job, &ctx, ids + first, rows, &job->nats[document], err));
        pith__arena_restore(arena, mark);
    }
    return PITH_OK;
}

static void document_part(void *user, size_t document, unsigned worker)
{
    (void)worker;
    held_job *job = user;
    if (document % (size_t)job->ranks.count != (size_t)job->ranks.rank) {
        return;
    }
    pith__arena arena;
    pith__arena_init(&arena, &job->mem);
    job->errors[document].status = read_document(job, document, &arena, &job->errors[document]);
    pith__arena_deinit(&arena);
}

/* This rank's share, in the order of the documents whichever thread read them. */
static pith_status read_share(held_job *job, size_t documents, unsigned threads, pith__arena *arena,
                              double totals[2], pith_error *err)
{
    PITH__TRY(pith__arena_alloc_zero(arena, documents, sizeof *job->nats, &job->nats, err));
    PITH__TRY(pith__arena_alloc_zero(arena, documents, sizeof *job->tokens, &job->tokens, err));
    PITH__TRY(pith__arena_alloc_zero(arena, documents, sizeof *job->errors, &job->errors, err));
    pith__parallel(threads, documents, document_part, job);
    for (size_t i = 0; i < documents; i++) {
        if (job->errors[i].status != PITH_OK) {
            return pith__fail(err, job->errors[i].status, "%s", job->errors[i].message);
        }
        totals[0] += job->nats[i];
        totals[1] += job->tokens[i];
    }
    return PITH_OK;
}

static pith_status run(held_job *job, unsigned threads, pith__evaluation *out, pith_error *err)
{
    double totals[2] = {0.0, 0.0};
    pith__arena arena;
    pith__arena_init(&arena, &job->mem);
    const pith_status status =
        read_share(job, (size_t)out->documents, threads, &arena, totals, err);
    pith__arena_deinit(&arena);
    PITH__TRY(pith__ranks_agree(status, err));
    PITH__TRY(pith__ranks_sum_f64(totals, 2, err));
    out->nats = totals[0];
    out->tokens = (uint64_t)totals[1];
    return PITH_OK;
}

pith_status pith__held_out(const pith__model *model, const pith__tokenizer *tokenizer,
                           const pith__source *source, uint64_t bytes, size_t length,
                           unsigned threads, const pith_allocator *mem, pith__evaluation *out,
                           pith_error *err)
{
    *out = (pith__evaluation){0};
    memcpy(out->source, source->name, sizeof out->source);
    while (out->documents < source->n_held_out && (bytes == 0 || out->bytes < bytes)) {
        const pith__document *d = &source->held_out[out->documents++];
        out->bytes += d->end - d->start;
    }
    held_job job = {.model = model,
                    .tokenizer = tokenizer,
                    .source = source,
                    .length = length,
                    .ranks = pith__ranks_get(),
                    .mem = *mem};
    return out->documents == 0 ? PITH_OK : run(&job, threads, out, err);
}
