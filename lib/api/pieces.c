/*
 * pieces.c: a prompt of texts and capsules, checked, as ids, and read.
 */
#include "api/api.h"

_Static_assert(PITH__TOKEN_NONE == PITH__NO_ID, "a tokenizer without BOS has prompts without it");

pith_status pith__encode_ids(pith_ctx *ctx, const char *text, size_t size, uint32_t **ids,
                             size_t *count, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    pith__tokens tokens = {NULL, 0, 0};
    PITH__TRY(pith__tokenizer_encode(ctx->model->tokenizer.tokenizer, text, size, false, &mem,
                                     &tokens, err));
    PITH__TRY(pith__arena_alloc(&ctx->arena, tokens.count, sizeof **ids, ids, err));
    for (size_t i = 0; i < tokens.count; i++) {
        (*ids)[i] = tokens.items[i].id;
    }
    *count = tokens.count;
    return PITH_OK;
}

/* Whether it changes what the model has read. */
static bool is_something(const pith_piece *piece)
{
    return piece->capsule != NULL || piece->size > 0;
}

/* BOS comes first, unless a capsule does that has seen it or does without. */
static uint32_t find_bos(const pith_ctx *ctx, const pith__read_pieces *pieces)
{
    const pith__capsule *first = pieces->count > 0 ? pieces->items[0].capsule : NULL;
    return first != NULL && !first->bos ? PITH__NO_ID
                                        : pith__tokenizer_bos(ctx->model->tokenizer.tokenizer);
}

static pith_status prepare_text(pith_ctx *ctx, const pith_piece *piece, pith__read_piece *out,
                                pith_error *err)
{
    uint32_t *ids = NULL;
    PITH__TRY(pith__check_text(ctx, piece->text, piece->size, err));
    PITH__TRY(pith__encode_ids(ctx, piece->text, piece->size, &ids, &out->count, err));
    out->ids = ids;
    return PITH_OK;
}

static pith_status add(pith_ctx *ctx, const pith_piece *piece, pith__read_pieces *out,
                       pith_error *err)
{
    pith__read_piece *item = &out->items[out->count];
    *item = (pith__read_piece){.ids = NULL};
    if (!is_something(piece)) {
        return PITH_OK;
    }
    if (piece->capsule != NULL) {
        PITH__TRY(pith_capsule_check(piece->capsule, ctx->model, err));
        item->capsule = piece->capsule->capsule;
        out->tokens += item->capsule->slots;
        out->positions += item->capsule->advance;
    } else {
        PITH__TRY(prepare_text(ctx, piece, item, err));
        out->tokens += item->count;
        out->positions += item->count;
    }
    out->count++;
    return PITH_OK;
}

static pith_status check_context(const pith_ctx *ctx, const pith__read_pieces *pieces,
                                 pith_error *err)
{
    const uint32_t context = ctx->model->weights.config.context;
    if (pieces->positions <= context && pieces->tokens <= context) {
        return PITH_OK;
    }
    return pith__fail(err, PITH_E_CONTEXT,
                      "the prompt takes %zu tokens in %zu positions, the model's context is %u",
                      pieces->tokens, pieces->positions, context);
}

pith_status pith__pieces_prepare(pith_ctx *ctx, const pith_piece *before, size_t n_before,
                                 const pith_piece *pieces, size_t count, pith__read_pieces *out,
                                 pith_error *err)
{
    *out = (pith__read_pieces){.count = 0, .ending = PITH__NO_ID};
    PITH__TRY(
        pith__arena_alloc(&ctx->arena, n_before + count, sizeof *out->items, &out->items, err));
    for (size_t i = 0; i < n_before; i++) {
        PITH__TRY(add(ctx, &before[i], out, err));
    }
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(add(ctx, &pieces[i], out, err));
    }
    out->bos = find_bos(ctx, out);
    out->tokens += out->bos != PITH__NO_ID;
    out->positions += out->bos != PITH__NO_ID;
    return check_context(ctx, out, err);
}

pith_status pith__pieces_end_with_bos(const pith_ctx *ctx, pith__read_pieces *pieces,
                                      pith_error *err)
{
    pieces->ending = pith__tokenizer_bos(ctx->model->tokenizer.tokenizer);
    if (pieces->ending == PITH__NO_ID) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "regenerate: the model has no BOS, after which a text could come back");
    }
    pieces->tokens++;
    pieces->positions++;
    return check_context(ctx, pieces, err);
}

pith_status pith__pieces_read(const pith__read_pieces *pieces, pith__reader *reader,
                              pith_error *err)
{
    if (pieces->bos != PITH__NO_ID) {
        PITH__TRY(pith__reader_ids(reader, &pieces->bos, 1, NULL, err));
    }
    for (size_t i = 0; i < pieces->count; i++) {
        const pith__read_piece *piece = &pieces->items[i];
        PITH__TRY(piece->capsule != NULL
                      ? pith__capsule_read(piece->capsule, reader, err)
                      : pith__reader_ids(reader, piece->ids, piece->count, NULL, err));
    }
    return pieces->ending == PITH__NO_ID ? PITH_OK
                                         : pith__reader_ids(reader, &pieces->ending, 1, NULL, err);
}
