/*
 * probe.c: pith_probe_recall: how much of its text a capsule gives back.
 */
#include "api/api.h"

#include <math.h>
#include <string.h>

/* Where the text itself helps by less than this probability, nothing can be said. */
#define EPSILON 1e-3

struct pith_recalls {
    pith_allocator mem;
    pith_recall *tokens;
    size_t count;
    double mean;
};

void pith_recalls_free(pith_recalls *recalls)
{
    if (recalls == NULL) {
        return;
    }
    const pith_allocator mem = recalls->mem;
    pith__free(&mem, recalls->tokens, recalls->count, sizeof *recalls->tokens);
    pith__free(&mem, recalls, 1, sizeof *recalls);
}

const pith_recall *pith_recalls_tokens(const pith_recalls *recalls, size_t *count)
{
    *count = recalls->count;
    return recalls->tokens;
}

double pith_recalls_mean(const pith_recalls *recalls)
{
    return recalls->mean;
}

/* What the probe works on. In the context's arena. */
typedef struct work {
    pith__tokens tokens; /* of the text */
    uint32_t *ids;
    uint32_t *trigger;
    size_t n_trigger;
    float *nats[PITH__PROBE_WAYS];
    float *score;
} work;

static pith_status check_source(const pith__capsule *capsule, const char *text, size_t size,
                                pith_error *err)
{
    char sha256[PITH__SHA256_SIZE];
    pith__sha256_of(text, size, sha256);
    if (strcmp(sha256, capsule->source_sha256) == 0) {
        return PITH_OK;
    }
    return pith__fail(err, PITH_E_MISMATCH,
                      "the capsule stands for a text with SHA-256 %s, this one has %s",
                      capsule->source_sha256, sha256);
}

static pith_status check_context(const pith_ctx *ctx, const work *w, pith_error *err)
{
    const uint32_t context = ctx->model->weights.config.context;
    const size_t needed = 2 * w->tokens.count + w->n_trigger + 1;
    return needed <= context
               ? PITH_OK
               : pith__fail(err, PITH_E_CONTEXT,
                            "a text of %zu tokens, read twice, takes %zu with what stands between; "
                            "the model's context is %u",
                            w->tokens.count, needed, context);
}

static pith_status prepare(pith_ctx *ctx, const char *text, size_t size, const char *trigger,
                           work *w, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    PITH__TRY(pith__check_text(ctx, text, size, err));
    PITH__TRY(pith__check_text(ctx, trigger, strlen(trigger), err));
    PITH__TRY(pith__tokenizer_encode(ctx->model->tokenizer.tokenizer, text, size, false, &mem,
                                     &w->tokens, err));
    PITH__TRY(pith__encode_ids(ctx, trigger, strlen(trigger), &w->trigger, &w->n_trigger, err));
    const size_t count = w->tokens.count;
    PITH__TRY(pith__arena_alloc(&ctx->arena, count, sizeof *w->ids, &w->ids, err));
    for (size_t i = 0; i < count; i++) {
        w->ids[i] = w->tokens.items[i].id;
    }
    for (size_t i = 0; i < PITH__PROBE_WAYS; i++) {
        PITH__TRY(pith__arena_alloc(&ctx->arena, count, sizeof *w->nats[i], &w->nats[i], err));
    }
    PITH__TRY(pith__arena_alloc(&ctx->arena, count, sizeof *w->score, &w->score, err));
    return check_context(ctx, w, err);
}

static void take_results(const work *w, pith_recalls *recalls)
{
    double sum = 0.0;
    size_t scored = 0;
    for (size_t i = 0; i < recalls->count; i++) {
        const pith__token *token = &w->tokens.items[i];
        recalls->tokens[i] = (pith_recall){.start = token->start,
                                           .end = token->end,
                                           .hard = w->nats[PITH__PROBE_HARD][i],
                                           .soft = w->nats[PITH__PROBE_SOFT][i],
                                           .none = w->nats[PITH__PROBE_NONE][i],
                                           .score = w->score[i]};
        if (!isnan(w->score[i])) {
            sum += (double)w->score[i];
            scored++;
        }
    }
    recalls->mean = scored == 0 ? (double)NAN : sum / (double)scored;
}

static pith_status recall(pith_ctx *ctx, const pith_capsule *capsule, const char *text, size_t size,
                          const char *trigger, pith_recalls *recalls, pith_error *err)
{
    work w = {.tokens = {NULL, 0, 0}};
    PITH__TRY(pith_capsule_check(capsule, ctx->model, err));
    PITH__TRY(check_source(capsule->capsule, text, size, err));
    PITH__TRY(prepare(ctx, text, size, trigger, &w, err));
    const pith__probe probe = {.model = &ctx->model->weights,
                               .threads = pith__thread_count(ctx),
                               .mem = &ctx->model->mem,
                               .bos = pith__tokenizer_bos(ctx->model->tokenizer.tokenizer),
                               .context = w.ids,
                               .count = w.tokens.count,
                               .capsule = capsule->capsule};
    PITH__TRY(pith__probe_recall(&probe, w.trigger, w.n_trigger, EPSILON, w.nats, w.score, err));
    PITH__TRY(
        pith__alloc(&recalls->mem, w.tokens.count, sizeof *recalls->tokens, &recalls->tokens, err));
    recalls->count = w.tokens.count;
    take_results(&w, recalls);
    return PITH_OK;
}

pith_status pith_probe_recall(pith_ctx *ctx, const pith_capsule *capsule, const char *text,
                              size_t size, const char *trigger, pith_recalls **out, pith_error *err)
{
    const pith_allocator *mem = &ctx->model->mem;
    pith_recalls *recalls = NULL;
    *out = NULL;
    PITH__TRY(pith__alloc_zero(mem, 1, sizeof *recalls, &recalls, err));
    recalls->mem = *mem;
    const pith_status status =
        recall(ctx, capsule, text, size, trigger == NULL ? "\nNow repeat the text:\n" : trigger,
               recalls, err);
    pith__arena_reset(&ctx->arena);
    if (status != PITH_OK) {
        pith_recalls_free(recalls);
        return status;
    }
    *out = recalls;
    return PITH_OK;
}
