/*
 * lm.c: the context's model as LLMLingua's methods want it.
 */
#include "api/api.h"

#include <math.h>

_Static_assert(PITH__LM_NONE == PITH__NO_TARGET, "targets pass through unchanged");
_Static_assert(PITH__LM_NONE == PITH__TOKEN_NONE, "ids pass through unchanged");

pith_status pith__lm_tokens_from(const pith__tokens *tokens, pith__arena *arena,
                                 pith__lm_tokens *out, pith_error *err)
{
    PITH__TRY(pith__arena_alloc(arena, tokens->count, sizeof *out->items, &out->items, err));
    out->count = tokens->count;
    for (size_t i = 0; i < tokens->count; i++) {
        const pith__token *token = &tokens->items[i];
        out->items[i] = (pith_token_score){token->start, token->end, token->id, NAN};
    }
    return PITH_OK;
}

static pith_status tokenize(void *user, const char *text, size_t size, pith__arena *arena,
                            pith__lm_tokens *out, pith_error *err)
{
    pith__lm_adapter *adapter = user;
    pith__tokens *tokens = &adapter->tokens;
    const pith_model *model = adapter->ctx->model;
    *out = (pith__lm_tokens){NULL, 0};
    tokens->count = 0;
    PITH__TRY(pith__tokenizer_encode(model->tokenizer.tokenizer, text, size, false, &model->mem,
                                     tokens, err));
    return pith__lm_tokens_from(tokens, arena, out, err);
}

/* ---- progress ----------------------------------------------------------------------------- */

/* `done` is what the call at hand has read so far; stands in for the context's own function. */
static bool pass_on(void *user, const char *stage, size_t done, size_t total)
{
    (void)total;
    const pith__lm_adapter *adapter = user;
    const pith_ctx *ctx = adapter->ctx;
    const size_t now = adapter->done + done;
    return ctx->progress == NULL || ctx->progress(ctx->progress_user, stage, now,
                                                  adapter->total > now ? adapter->total : now);
}

static pith_status report(pith__lm_adapter *adapter, size_t read, pith_error *err)
{
    adapter->done += read;
    if (!pass_on(adapter, "score", 0, 0)) {
        return pith__fail(err, PITH_E_CANCELLED, "stopped by the caller while scoring");
    }
    return PITH_OK;
}

/* ---- sequences at once ------------------------------------------------------------------------ */

static pith_status score(pith__lm_adapter *adapter, const pith__score_input *input, bool bos,
                         float *nats, pith_error *err)
{
    pith_ctx *ctx = adapter->ctx;
    pith__score_options options;
    size_t forwarded = 0;
    PITH__TRY(pith__window_options(ctx, SIZE_MAX, &options, err));
    options.bos = bos ? options.bos : PITH__NO_TARGET;
    options.progress = pass_on;
    options.progress_user = adapter;
    const pith__tensor_ctx tensor = {pith__thread_count(ctx), &ctx->arena};
    const double start = pith__seconds();
    const pith_status status =
        pith__score_run(&ctx->model->weights, &tensor, &options, input, nats, &forwarded, err);
    adapter->seconds += pith__seconds() - start;
    adapter->forwarded += forwarded;
    return status;
}

static pith_status nll(void *user, const uint32_t *ids, size_t n_ids, const pith__lm_range *ranges,
                       size_t n_ranges, bool bos, float *nats, pith_error *err)
{
    pith__lm_adapter *adapter = user;
    pith__arena *arena = &adapter->ctx->arena;
    const pith__arena_mark mark = pith__arena_save(arena);
    pith__score_range *copy = NULL;
    size_t read = 0;
    PITH__TRY(pith__arena_alloc(arena, n_ranges, sizeof *copy, &copy, err));
    for (size_t i = 0; i < n_ranges; i++) {
        copy[i] = (pith__score_range){ranges[i].first, ranges[i].count};
        read += ranges[i].count;
    }
    const pith__score_input input = {ids, n_ids, copy, n_ranges};
    const pith_status status = score(adapter, &input, bos, nats, err);
    pith__arena_restore(arena, mark);
    return status == PITH_OK ? report(adapter, read, err) : status;
}

/* ---- streams -------------------------------------------------------------------------------------- */

static pith__stream *stream_at(void *user, unsigned stream)
{
    pith__lm_adapter *adapter = user;
    return &adapter->streams[stream];
}

static pith_status extend(void *user, unsigned stream, const uint32_t *ids, const uint32_t *targets,
                          size_t count, float *nats, pith_error *err)
{
    pith__lm_adapter *adapter = user;
    pith__stream *s = stream_at(user, stream);
    if (count > adapter->lm.context || pith__stream_length(s) > adapter->lm.context - count) {
        return pith__fail(err, PITH_E_CONTEXT, "%zu tokens, the context is %zu",
                          pith__stream_length(s) + count, adapter->lm.context);
    }
    const double start = pith__seconds();
    const size_t before = s->forwarded;
    const pith_status status = pith__stream_extend(s, ids, targets, count, nats, err);
    adapter->seconds += pith__seconds() - start;
    adapter->forwarded += s->forwarded - before;
    return status == PITH_OK ? report(adapter, count, err) : status;
}

static size_t length(void *user, unsigned stream)
{
    return pith__stream_length(stream_at(user, stream));
}

static void truncate_stream(void *user, unsigned stream, size_t length_wanted)
{
    pith__stream_truncate(stream_at(user, stream), length_wanted);
}

static void remove_stretch(void *user, unsigned stream, size_t start, size_t end)
{
    pith__stream_remove(stream_at(user, stream), start, end);
}

/* ---- adapter ---------------------------------------------------------------------------------------- */

/* What ctx-size says, as far as the model reaches. */
static size_t context_size(const pith_ctx *ctx)
{
    const size_t context = ctx->model->weights.config.context;
    const size_t wanted = (size_t)ctx->params.ctx_size;
    return wanted > 0 && wanted < context ? wanted : context;
}

void pith__lm_adapter_init(pith__lm_adapter *adapter, pith_ctx *ctx)
{
    const pith__tokenizer *tokenizer = ctx->model->tokenizer.tokenizer;
    *adapter = (pith__lm_adapter){.ctx = ctx};
    adapter->lm = (pith__lm){.user = adapter,
                             .context = context_size(ctx),
                             .bos = pith__tokenizer_bos(tokenizer),
                             .adds_bos = pith__tokenizer_adds_bos(tokenizer),
                             .tokenize = tokenize,
                             .nll = nll,
                             .extend = extend,
                             .length = length,
                             .truncate = truncate_stream,
                             .remove = remove_stretch};
    for (size_t i = 0; i < PITH__LM_STREAMS; i++) {
        pith__stream_init(&adapter->streams[i], &ctx->model->weights, pith__thread_count(ctx),
                          &ctx->model->mem);
    }
}

void pith__lm_adapter_deinit(pith__lm_adapter *adapter)
{
    for (size_t i = 0; i < PITH__LM_STREAMS; i++) {
        pith__stream_deinit(&adapter->streams[i]);
    }
    pith__tokens_deinit(&adapter->tokens, &adapter->ctx->model->mem);
}
