/*
 * ctx.c: pith_ctx: parameters, and scoring a text with them.
 */
#include "api/api.h"

#include <math.h>

/* Windows above this cost more in attention than they add in context. */
#define WINDOW_MAX 2048

_Static_assert(PITH__TOKEN_NONE == PITH__NO_TARGET, "a tokenizer without BOS scores without BOS");

/* ---- context ------------------------------------------------------------------------------ */

pith_status pith_ctx_new(const pith_model *model, pith_ctx **out, pith_error *err)
{
    PITH__TRY(pith__alloc_zero(&model->mem, 1, sizeof **out, out, err));
    (*out)->model = model;
    (*out)->counter = pith_model_tokenizer(model);
    pith__params_init(&(*out)->params);
    pith__arena_init(&(*out)->arena, &model->mem);
    return PITH_OK;
}

static void forget_rules(pith_ctx *ctx)
{
    pith__protect_free(ctx->protect);
    ctx->protect = NULL;
}

void pith_ctx_free(pith_ctx *ctx)
{
    if (ctx == NULL) {
        return;
    }
    const pith_allocator mem = ctx->model->mem;
    forget_rules(ctx);
    pith__params_deinit(&ctx->params, &mem);
    pith__arena_deinit(&ctx->arena);
    pith__free(&mem, ctx, 1, sizeof *ctx);
}

pith_status pith_ctx_set(pith_ctx *ctx, const char *name, const char *value, pith_error *err)
{
    PITH__TRY(pith__params_set(&ctx->params, &ctx->model->mem, name, value, err));
    forget_rules(ctx);
    return PITH_OK;
}

pith_status pith_ctx_get(const pith_ctx *ctx, const char *name, char *value, size_t size,
                         pith_error *err)
{
    return pith__params_get(&ctx->params, name, value, size, err);
}

void pith_ctx_reset(pith_ctx *ctx)
{
    forget_rules(ctx);
    pith__params_deinit(&ctx->params, &ctx->model->mem);
    pith__params_init(&ctx->params);
}

void pith_ctx_set_progress(pith_ctx *ctx, pith_progress_fn progress, void *user)
{
    ctx->progress = progress;
    ctx->progress_user = user;
}

void pith_ctx_set_counter(pith_ctx *ctx, const pith_tokenizer *tokenizer)
{
    ctx->counter = tokenizer == NULL ? pith_model_tokenizer(ctx->model) : tokenizer;
}

/* ---- scoring ---------------------------------------------------------------------------------- */

pith_status pith__check_text(const pith_ctx *ctx, const char *text, size_t size, pith_error *err)
{
    size_t bad = 0;
    if (ctx->params.invalid_utf8 == 1 || pith__utf8_check(text, size, &bad)) {
        return PITH_OK;
    }
    return pith__fail_at(err, PITH_E_UTF8, bad, "byte 0x%02x is not valid UTF-8",
                         (unsigned)(unsigned char)text[bad]);
}

pith_status pith__window_options(const pith_ctx *ctx, size_t most, pith__score_options *out,
                                 pith_error *err)
{
    const uint32_t context = ctx->model->weights.config.context;
    size_t window = (size_t)ctx->params.ctx_size;
    if (window == 0) {
        window = context < most ? context : most;
    }
    if (window < 2 || window > context) {
        return pith__fail(err, PITH_E_RANGE,
                          "ctx-size: %zu is outside 2 to %u, the model's context", window, context);
    }
    const size_t overlap = ctx->params.overlap < 0 ? window / 4 : (size_t)ctx->params.overlap;
    if (overlap + 1 >= window) {
        return pith__fail(err, PITH_E_RANGE, "overlap: %zu leaves no room in windows of %zu tokens",
                          overlap, window);
    }
    *out = (pith__score_options){.bos = pith__tokenizer_bos(ctx->model->tokenizer.tokenizer),
                                 .window = window,
                                 .overlap = overlap,
                                 .progress = ctx->progress,
                                 .progress_user = ctx->progress_user};
    return PITH_OK;
}

/* Tokenises every piece by itself; ranges[i] are the tokens of piece i. */
static pith_status encode_pieces(pith_ctx *ctx, const char *text, const pith__spans *pieces,
                                 pith__tokens *tokens, pith__score_range *ranges, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    for (size_t i = 0; i < pieces->count; i++) {
        const pith__span *piece = &pieces->items[i];
        const size_t first = tokens->count;
        PITH__TRY(pith__tokenizer_encode(ctx->model->tokenizer.tokenizer, text + piece->start,
                                         piece->end - piece->start, false, &mem, tokens, err));
        for (size_t t = first; t < tokens->count; t++) {
            tokens->items[t].start += piece->start;
            tokens->items[t].end += piece->start;
        }
        ranges[i] = (pith__score_range){first, tokens->count - first};
    }
    return PITH_OK;
}

unsigned pith__thread_count(const pith_ctx *ctx)
{
    const unsigned threads = (unsigned)ctx->params.threads;
    return threads == 0 ? pith__threads_available() : threads;
}

pith_status pith__score_text(pith_ctx *ctx, const char *text, size_t size,
                             const pith__spans *pieces, pith__scored *out, pith_error *err)
{
    pith__arena *arena = &ctx->arena;
    pith__span whole = {.start = 0, .end = size};
    const pith__spans one = {.items = &whole, .count = 1, .capacity = 1};
    const pith__spans *all = pieces == NULL ? &one : pieces;
    pith__score_options options;
    pith__tokens tokens = {NULL, 0, 0};
    pith__score_range *ranges = NULL;
    uint32_t *ids = NULL;
    float *nats = NULL;
    *out = (pith__scored){NULL, 0, 0, 0.0};
    PITH__TRY(pith__window_options(ctx, WINDOW_MAX, &options, err));
    PITH__TRY(pith__arena_alloc(arena, all->count, sizeof *ranges, &ranges, err));
    PITH__TRY(encode_pieces(ctx, text, all, &tokens, ranges, err));
    PITH__TRY(pith__arena_alloc(arena, tokens.count, sizeof *ids, &ids, err));
    PITH__TRY(pith__arena_alloc(arena, tokens.count, sizeof *nats, &nats, err));
    PITH__TRY(pith__arena_alloc(arena, tokens.count, sizeof *out->tokens, &out->tokens, err));
    for (size_t i = 0; i < tokens.count; i++) {
        ids[i] = tokens.items[i].id;
    }
    const pith__tensor_ctx tensor = {pith__thread_count(ctx), arena};
    const double start = pith__seconds();
    const pith__score_input input = {ids, tokens.count, ranges, all->count};
    PITH__TRY(pith__score_run(&ctx->model->weights, &tensor, &options, &input, nats,
                              &out->forwarded, err));
    out->seconds = pith__seconds() - start;
    out->count = tokens.count;
    for (size_t i = 0; i < tokens.count; i++) {
        out->tokens[i] =
            (pith_token_score){tokens.items[i].start, tokens.items[i].end, ids[i], nats[i]};
    }
    return PITH_OK;
}

/* ---- pith_score --------------------------------------------------------------------------------- */

static pith_status score(pith_ctx *ctx, const char *text, size_t size, pith_scores *scores,
                         pith_error *err)
{
    pith__scored scored;
    pith__spans sentences = {NULL, 0, 0};
    const bool by_sentence = ctx->params.score_by == 1;
    PITH__TRY(pith__check_text(ctx, text, size, err));
    if (by_sentence) {
        const pith_allocator mem = pith__arena_allocator(&ctx->arena);
        PITH__TRY(pith__text_sentences(text, size, &mem, &sentences, err));
    }
    PITH__TRY(pith__score_text(ctx, text, size, by_sentence ? &sentences : NULL, &scored, err));
    PITH__TRY(
        pith__alloc(&scores->mem, scored.count, sizeof *scores->tokens, &scores->tokens, err));
    scores->count = scored.count;
    scores->forwarded = scored.forwarded;
    for (size_t i = 0; i < scored.count; i++) {
        scores->tokens[i] = scored.tokens[i];
    }
    return PITH_OK;
}

pith_status pith_score(pith_ctx *ctx, const char *text, size_t size, pith_scores **out,
                       pith_error *err)
{
    const pith_allocator *mem = &ctx->model->mem;
    pith_scores *scores = NULL;
    *out = NULL;
    PITH__TRY(pith__alloc_zero(mem, 1, sizeof *scores, &scores, err));
    scores->mem = *mem;
    const pith_status status = score(ctx, text, size, scores, err);
    pith__arena_reset(&ctx->arena);
    if (status != PITH_OK) {
        pith_scores_free(scores);
        return status;
    }
    *out = scores;
    return PITH_OK;
}

void pith_scores_free(pith_scores *scores)
{
    if (scores == NULL) {
        return;
    }
    const pith_allocator mem = scores->mem;
    pith__free(&mem, scores->tokens, scores->count, sizeof *scores->tokens);
    pith__free(&mem, scores, 1, sizeof *scores);
}

const pith_token_score *pith_scores_tokens(const pith_scores *scores, size_t *count)
{
    *count = scores->count;
    return scores->tokens;
}

size_t pith_scores_forwarded(const pith_scores *scores)
{
    return scores->forwarded;
}
