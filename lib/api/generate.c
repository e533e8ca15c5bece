/*
 * generate.c: pith_generate and pith_score_after: what a model that has read texts and capsules
 * writes next, or thinks of another text.
 */
#include "api/api.h"

#include <math.h>
#include <string.h>

/* ---- the result ------------------------------------------------------------------------ */

struct pith_generation {
    pith_allocator mem;
    pith__buf text;  /* all of it */
    pith__buf bytes; /* of the tokens, one after the other */
    pith_generated_token *tokens;
    size_t count;
    size_t capacity;
    pith_generation_stats stats;
};

void pith_generation_free(pith_generation *generation)
{
    if (generation == NULL) {
        return;
    }
    const pith_allocator mem = generation->mem;
    pith__buf_deinit(&generation->text);
    pith__buf_deinit(&generation->bytes);
    pith__free(&mem, generation->tokens, generation->capacity, sizeof *generation->tokens);
    pith__free(&mem, generation, 1, sizeof *generation);
}

const char *pith_generation_text(const pith_generation *generation, size_t *size)
{
    *size = generation->text.size;
    return generation->text.data;
}

const pith_generated_token *pith_generation_tokens(const pith_generation *generation, size_t *count)
{
    *count = generation->count;
    return generation->tokens;
}

pith_generation_stats pith_generation_describe(const pith_generation *generation)
{
    return generation->stats;
}

/* ---- writing ------------------------------------------------------------------------------ */

/* One call. */
typedef struct writing {
    pith_ctx *ctx;
    pith_token_fn token;
    void *user;
    pith_generation *out;
    pith_status status; /* what went wrong in a call back, which can only stop */
    pith_error error;
} writing;

/* The bytes of the token itself, none for a special one. */
static pith_status add_token(writing *w, const pith__written *written, pith_error *err)
{
    pith_generation *out = w->out;
    const pith__tokenizer *tokenizer = w->ctx->model->tokenizer.tokenizer;
    const char *bytes = NULL;
    size_t size = 0;
    if (written->id < pith__tokenizer_size(tokenizer) &&
        !pith__tokenizer_is_special(tokenizer, written->id)) {
        PITH__TRY(pith__tokenizer_bytes(tokenizer, written->id, &bytes, &size, err));
    }
    PITH__TRY(pith__grow(&out->mem, &out->tokens, &out->capacity, out->count + 1,
                         sizeof *out->tokens, err));
    PITH__TRY(pith__buf_append(&out->bytes, bytes, size, err));
    out->tokens[out->count++] = (pith_generated_token){
        .id = written->id, .logprob = (float)written->logprob, .text = NULL, .size = size};
    return PITH_OK;
}

/* A pith__written_fn. */
static bool take(void *user, const pith__written *written)
{
    writing *w = user;
    const pith_ctx *ctx = w->ctx;
    const bool is_token = written->id != PITH__TOKEN_NONE;
    w->status = is_token ? add_token(w, written, &w->error) : PITH_OK;
    if (w->status == PITH_OK) {
        w->status = pith__buf_append(&w->out->text, written->bytes, written->size, &w->error);
    }
    if (w->status != PITH_OK) {
        return false;
    }
    if (is_token && ctx->progress != NULL &&
        !ctx->progress(ctx->progress_user, "generate", w->out->count,
                       (size_t)ctx->params.max_tokens)) {
        return false;
    }
    const pith_generated_token token = {.id = written->id,
                                        .logprob = is_token ? (float)written->logprob : NAN,
                                        .text = written->bytes,
                                        .size = written->size};
    return w->token == NULL || w->token(w->user, &token);
}

/* Where the bytes of the tokens lie, once they do not move any more. */
static void place_tokens(pith_generation *out)
{
    size_t at = 0;
    for (size_t i = 0; i < out->count; i++) {
        out->tokens[i].text = out->bytes.data + at;
        at += out->tokens[i].size;
    }
}

static pith__sampling sampling_of(const pith__params *p)
{
    return (pith__sampling){.temperature = p->temperature,
                            .top_k = (size_t)p->top_k,
                            .top_p = p->top_p,
                            .min_p = p->min_p,
                            .repetition_penalty = p->repetition_penalty,
                            .repetition_window = (size_t)p->repetition_window,
                            .seed = (uint64_t)p->seed};
}

/* The prompt's ids, for the repetition penalty. */
static pith_status find_history(pith_ctx *ctx, const pith__read_pieces *prompt,
                                pith__generate_settings *out, pith_error *err)
{
    uint32_t *ids = NULL;
    size_t count = 0;
    for (size_t i = 0; i < prompt->count; i++) {
        count += prompt->items[i].count;
    }
    PITH__TRY(pith__arena_alloc(&ctx->arena, count, sizeof *ids, &ids, err));
    out->history = ids;
    out->n_history = count;
    for (size_t i = 0; i < prompt->count; i++) {
        const pith__read_piece *piece = &prompt->items[i];
        if (piece->count > 0) {
            memcpy(ids, piece->ids, piece->count * sizeof *ids);
            ids += piece->count;
        }
    }
    return PITH_OK;
}

/* ---- the streams ----------------------------------------------------------------------------- */

/* The prompt, and the contexts of every attribute with the prompt behind them. */
typedef struct streams {
    size_t count; /* 1 + 2 * attributes */
    pith__read_pieces *pieces;
    pith__reader *readers; /* all zero until they are begun */
    pith__stream_pair *pairs;
} streams;

static pith_status read_stream(pith_ctx *ctx, const pith__read_pieces *pieces, pith__reader *reader,
                               pith_error *err)
{
    PITH__TRY(pith__reader_init(reader, &ctx->model->weights, pith__thread_count(ctx),
                                &ctx->model->mem, err));
    PITH__TRY(pith__pieces_read(pieces, reader, err));
    if (pith__reader_logits(reader) == NULL) {
        (void)pith__fail(err, PITH_E_ARGUMENT,
                         pieces->count == 0
                             ? "there is nothing to write on from: the prompt is empty, and the "
                               "model has no BOS"
                             : "after a capsule of keys and values a text must follow, or BOS "
                               "(regenerate), before anything can be written");
        return PITH_E_ARGUMENT;
    }
    return PITH_OK;
}

static pith_status check_attribute(const pith_attribute *a, size_t index, pith_error *err)
{
    return a->tau > 0.0 && isfinite(a->tau) && isfinite(a->omega)
               ? PITH_OK
               : pith__fail(err, PITH_E_ARGUMENT,
                            "attribute %zu: omega %g and tau %g are not a number and one above 0",
                            index, a->omega, a->tau);
}

/* The prompt behind `before`, as the parameters want it to end. */
static pith_status prepare_stream(pith_ctx *ctx, const pith_piece *before, size_t n_before,
                                  const pith_piece *prompt, size_t count, pith__read_pieces *out,
                                  pith_error *err)
{
    PITH__TRY(pith__pieces_prepare(ctx, before, n_before, prompt, count, out, err));
    return ctx->params.regenerate ? pith__pieces_end_with_bos(ctx, out, err) : PITH_OK;
}

/* All is checked and tokenised before the first stream is read. */
static pith_status prepare_streams(pith_ctx *ctx, const pith_piece *prompt, size_t count,
                                   const pith_attribute *attributes, size_t n_attributes,
                                   streams *out, pith_error *err)
{
    out->count = 1 + 2 * n_attributes;
    PITH__TRY(
        pith__arena_alloc_zero(&ctx->arena, out->count, sizeof *out->pieces, &out->pieces, err));
    PITH__TRY(
        pith__arena_alloc_zero(&ctx->arena, out->count, sizeof *out->readers, &out->readers, err));
    PITH__TRY(
        pith__arena_alloc_zero(&ctx->arena, n_attributes, sizeof *out->pairs, &out->pairs, err));
    PITH__TRY(prepare_stream(ctx, NULL, 0, prompt, count, &out->pieces[0], err));
    for (size_t i = 0; i < n_attributes; i++) {
        const pith_attribute *a = &attributes[i];
        const size_t at = 1 + 2 * i;
        PITH__TRY(check_attribute(a, i, err));
        PITH__TRY(
            prepare_stream(ctx, a->toward, a->n_toward, prompt, count, &out->pieces[at], err));
        PITH__TRY(
            prepare_stream(ctx, a->away, a->n_away, prompt, count, &out->pieces[at + 1], err));
        out->pairs[i] =
            (pith__stream_pair){&out->readers[at], &out->readers[at + 1], a->omega, a->tau};
    }
    return PITH_OK;
}

static pith_status read_streams(pith_ctx *ctx, const streams *s, pith_error *err)
{
    for (size_t i = 0; i < s->count; i++) {
        PITH__TRY(read_stream(ctx, &s->pieces[i], &s->readers[i], err));
    }
    return PITH_OK;
}

static void free_streams(const streams *s)
{
    for (size_t i = 0; s->readers != NULL && i < s->count; i++) {
        pith__reader_deinit(&s->readers[i]);
    }
}

/* ---- pith_generate ----------------------------------------------------------------------------- */

static pith_status write_on(writing *w, const streams *s, pith_error *err)
{
    static const char *const reasons[] = {
        [PITH__STOP_LENGTH] = "length", [PITH__STOP_END] = "end", [PITH__STOP_STRING] = "stop"};
    pith_ctx *ctx = w->ctx;
    const pith__params *p = &ctx->params;
    pith_generation_stats *stats = &w->out->stats;
    pith__generate_settings settings = {.sampling = sampling_of(p),
                                        .max_tokens = (size_t)p->max_tokens,
                                        .stops = (const char *const *)p->stop.items,
                                        .n_stops = p->stop.count,
                                        .ignore_end = p->ignore_eos,
                                        .written = take,
                                        .written_user = w};
    pith__stop_reason reason = PITH__STOP_LENGTH;
    const double start = pith__seconds();
    PITH__TRY(find_history(ctx, &s->pieces[0], &settings, err));
    pith_status status =
        pith__generate(&s->readers[0], s->pairs, s->count / 2, ctx->model->tokenizer.tokenizer,
                       &settings, &ctx->model->mem, &reason, &stats->tokens, err);
    if (w->status != PITH_OK) { /* why it was told to stop */
        status = w->status;
        if (err != NULL) {
            *err = w->error;
        }
    }
    stats->stop = reasons[reason];
    stats->generate_seconds = pith__seconds() - start;
    return status;
}

static pith_status generate(writing *w, const pith_piece *prompt, size_t count,
                            const pith_attribute *attributes, size_t n_attributes, pith_error *err)
{
    const pith__sampling sampling = sampling_of(&w->ctx->params);
    pith_generation_stats *stats = &w->out->stats;
    streams s = {.count = 0};
    PITH__TRY(pith__sampling_check(&sampling, err));
    PITH__TRY(prepare_streams(w->ctx, prompt, count, attributes, n_attributes, &s, err));
    const double start = pith__seconds(); /* the model's file, hashed once for capsules, is apart */
    pith_status status = read_streams(w->ctx, &s, err);
    stats->prompt_tokens = s.pieces[0].tokens;
    stats->prompt_positions = s.pieces[0].positions;
    stats->prompt_seconds = pith__seconds() - start;
    if (status == PITH_OK) {
        status = write_on(w, &s, err);
    }
    free_streams(&s);
    return status;
}

pith_status pith_generate(pith_ctx *ctx, const pith_piece *prompt, size_t count,
                          const pith_attribute *attributes, size_t n_attributes,
                          pith_token_fn token, void *user, pith_generation **out, pith_error *err)
{
    const pith_allocator *mem = &ctx->model->mem;
    writing w = {.ctx = ctx, .token = token, .user = user};
    *out = NULL;
    PITH__TRY(pith__alloc_zero(mem, 1, sizeof *w.out, &w.out, err));
    w.out->mem = *mem;
    w.out->stats.struct_size = sizeof w.out->stats;
    pith__buf_init(&w.out->text, mem, SIZE_MAX);
    pith__buf_init(&w.out->bytes, mem, SIZE_MAX);
    pith_status status = pith__buf_reserve(&w.out->text, 0, err); /* "" is a text too */
    if (status == PITH_OK) {
        status = generate(&w, prompt, count, attributes, n_attributes, err);
    }
    pith__arena_reset(&ctx->arena);
    if (status != PITH_OK) {
        pith_generation_free(w.out);
        return status;
    }
    place_tokens(w.out);
    *out = w.out;
    return PITH_OK;
}

/* ---- pith_score_after --------------------------------------------------------------------------- */

static pith_status read_and_score(pith_ctx *ctx, const pith__read_pieces *prompt,
                                  const uint32_t *ids, size_t count, float *nats, size_t *forwarded,
                                  pith_error *err)
{
    pith__reader reader = {.model = NULL};
    pith_status status = pith__reader_init(&reader, &ctx->model->weights, pith__thread_count(ctx),
                                           &ctx->model->mem, err);
    if (status == PITH_OK) {
        status = pith__pieces_read(prompt, &reader, err);
    }
    if (status == PITH_OK && count > 0) {
        status = pith__reader_ids(&reader, ids, count, nats, err);
    }
    *forwarded = reader.forwarded;
    pith__reader_deinit(&reader);
    return status;
}

static pith_status score_after(pith_ctx *ctx, const pith_piece *prompt, size_t count,
                               const char *text, size_t size, pith_scores *scores, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    const uint32_t context = ctx->model->weights.config.context;
    pith__read_pieces pieces;
    pith__tokens tokens = {NULL, 0, 0};
    uint32_t *ids = NULL;
    float *nats = NULL;
    PITH__TRY(pith__check_text(ctx, text, size, err));
    PITH__TRY(pith__pieces_prepare(ctx, NULL, 0, prompt, count, &pieces, err));
    PITH__TRY(pith__tokenizer_encode(ctx->model->tokenizer.tokenizer, text, size, false, &mem,
                                     &tokens, err));
    if (tokens.count > context - pieces.positions) {
        return pith__fail(err, PITH_E_CONTEXT,
                          "a text of %zu tokens after a prompt of %zu positions: the model's "
                          "context is %u",
                          tokens.count, pieces.positions, context);
    }
    PITH__TRY(pith__arena_alloc(&ctx->arena, tokens.count, sizeof *ids, &ids, err));
    PITH__TRY(pith__arena_alloc(&ctx->arena, tokens.count, sizeof *nats, &nats, err));
    for (size_t i = 0; i < tokens.count; i++) {
        ids[i] = tokens.items[i].id;
    }
    PITH__TRY(read_and_score(ctx, &pieces, ids, tokens.count, nats, &scores->forwarded, err));
    PITH__TRY(
        pith__alloc(&scores->mem, tokens.count, sizeof *scores->tokens, &scores->tokens, err));
    scores->count = tokens.count;
    for (size_t i = 0; i < tokens.count; i++) {
        scores->tokens[i] =
            (pith_token_score){tokens.items[i].start, tokens.items[i].end, ids[i], nats[i]};
    }
    return PITH_OK;
}

pith_status pith_score_after(pith_ctx *ctx, const pith_piece *prompt, size_t count,
                             const char *text, size_t size, pith_scores **out, pith_error *err)
{
    const pith_allocator *mem = &ctx->model->mem;
    pith_scores *scores = NULL;
    *out = NULL;
    PITH__TRY(pith__alloc_zero(mem, 1, sizeof *scores, &scores, err));
    scores->mem = *mem;
    const pith_status status = score_after(ctx, prompt, count, text, size, scores, err);
    pith__arena_reset(&ctx->arena);
    if (status != PITH_OK) {
        pith_scores_free(scores);
        return status;
    }
    *out = scores;
    return PITH_OK;
}
