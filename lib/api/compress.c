/*
 * compress.c: pith_compress and pith_compress_parts: which pipeline a prompt goes through.
 */
#include "api/prompt.h"

#include <stdlib.h>

/* Below it there is no room for a past and a window. */
#define CONTEXT_LEAST 16

pith_status pith__count(const pith_ctx *ctx, const char *text, size_t size, size_t *count,
                        pith_error *err)
{
    return pith_tokenizer_count(ctx->counter, text, size, count, err);
}

bool pith__selects_units(const pith__params *params)
{
    return params->mode == PITH__MODE_PITH ||
           (params->method == PITH__METHOD_SELECTIVE && params->mode == PITH__MODE_PAPER);
}

pith_status pith__check_method(const pith__params *params, pith_error *err)
{
    char method[PITH_VALUE_SIZE];
    if (params->method < PITH__METHOD_CC) {
        return PITH_OK;
    }
    PITH__TRY(pith__params_get(params, "method", method, sizeof method, err));
    return pith__fail(err, PITH_E_ARGUMENT,
                      "method: %s makes a capsule, not a text: use pith_encode() or 'pith encode'",
                      method);
}

static pith_status check_params(const pith_ctx *ctx, const pith__prompt *prompt, pith_error *err)
{
    const pith__params *p = &ctx->params;
    const bool selective = p->method == PITH__METHOD_SELECTIVE;
    if (selective && p->mode != PITH__MODE_PITH && p->target_tokens >= 0.0) {
        return pith__fail(
            err, PITH_E_ARGUMENT,
            "target-tokens: only mode pith has a token budget; use rate or percentile");
    }
    if (!selective && p->percentile >= 0.0) {
        return pith__fail(err, PITH_E_ARGUMENT, "percentile: for method selective only");
    }
    if (p->mode != PITH__MODE_PITH && p->format > PITH__FORMAT_TEXT) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "format: only mode pith knows JSON, chat, Markdown");
    }
    const size_t forced = prompt->context_count > 0 ? p->force_context_ids.count : 0;
    for (size_t i = 0; i < forced && !selective; i++) {
        if (strtoul(p->force_context_ids.items[i], NULL, 10) >= prompt->context_count) {
            return pith__fail(err, PITH_E_ARGUMENT, "force-context-ids: there is no context %s",
                              p->force_context_ids.items[i]);
        }
    }
    if (!selective && p->ctx_size > 0.0 && p->ctx_size < CONTEXT_LEAST) {
        return pith__fail(err, PITH_E_RANGE, "ctx-size: llmlingua needs at least %d tokens",
                          CONTEXT_LEAST);
    }
    return pith__check_question(ctx, prompt, err);
}

static pith_status compress(pith_ctx *ctx, const pith_part *parts, size_t count,
                            pith_result *result, pith_error *err)
{
    const pith__params *p = &ctx->params;
    const bool selective = p->method == PITH__METHOD_SELECTIVE;
    const double start = pith__seconds();
    pith__prompt prompt;
    PITH__TRY(pith__check_method(p, err));
    PITH__TRY(pith__prompt_join(ctx, parts, count, &prompt, err));
    PITH__TRY(check_params(ctx, &prompt, err));
    if (selective && p->mode == PITH__MODE_OFFICIAL) {
        PITH__TRY(pith__compress_selective_official(ctx, &prompt, result, err));
    } else {
        PITH__TRY(pith__prompt_read(ctx, &prompt, err));
        PITH__TRY(pith__selects_units(p) ? pith__compress_units(ctx, &prompt, result, err)
                                         : pith__compress_lingua(ctx, &prompt, result, err));
    }
    result->stats.select_seconds = pith__seconds() - start - result->stats.score_seconds;
    return PITH_OK;
}

pith_status pith_compress_parts(pith_ctx *ctx, const pith_part *parts, size_t count,
                                pith_result **out, pith_error *err)
{
    const pith_allocator *mem = &ctx->model->mem;
    pith_result *result = NULL;
    *out = NULL;
    PITH__TRY(pith__alloc_zero(mem, 1, sizeof *result, &result, err));
    result->mem = *mem;
    const pith_status status = compress(ctx, parts, count, result, err);
    pith__arena_reset(&ctx->arena);
    if (status != PITH_OK) {
        pith_result_free(result);
        return status;
    }
    *out = result;
    return PITH_OK;
}

pith_status pith_compress(pith_ctx *ctx, const char *text, size_t size, pith_result **out,
                          pith_error *err)
{
    const pith_part part = {PITH_CONTEXT, text, size};
    return pith_compress_parts(ctx, &part, 1, out, err);
}
