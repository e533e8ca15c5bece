/*
 * encode.c: pith_encode: a text into a capsule, by one pass (GIST; the mean of what a model makes of
 * the text; compressors: encode_compressor.c) or by training (CC, which is recipe cc:
 * training_soft.c).
 */
#include "api/api.h"
#include "api/training.h"

#include <stdio.h>
#include <string.h>

/* A record is short, but for the text that follows the gist tokens, or a query. */
#define RECORD_MAX ((size_t)1 << 24)

/* Slots of a mean, unless it is said. */
#define MEAN_SLOTS 16

/* ---- what all capsules say ------------------------------------------------------------------ */

static pith_status write_record(const pith_model *model, const pith__capsule *capsule,
                                const char *more, pith__buf *out, pith_error *err)
{
    PITH__TRY(pith__buf_printf(out, err,
                               "{\"method\": \"%s\", \"pith\": \"%s\", \"slots\": %u, \"model\": ",
                               capsule->method, pith_version(), capsule->slots));
    PITH__TRY(pith__train_log_string(out, model->name, err));
    PITH__TRY(pith__buf_append_text(out, more, err));
    return pith__buf_append_text(out, "}", err);
}

pith_status pith__encode_finish(const pith_ctx *ctx, const char *text, size_t size,
                                const char *more, pith__capsule *capsule, pith_error *err)
{
    const pith_model *model = ctx->model;
    pith__buf record;
    capsule->source_bytes = size;
    pith__sha256_of(text, size, capsule->source_sha256);
    pith__model_binding(model, &capsule->binding);
    pith__buf_init(&record, &model->mem, RECORD_MAX);
    pith_status status = write_record(model, capsule, more, &record, err);
    if (status == PITH_OK) {
        status = pith__capsule_set_record(capsule, record.data, record.size, err);
    }
    pith__buf_deinit(&record);
    return status;
}

/* ---- GIST ---------------------------------------------------------------------------------- */

/* BOS, and the text between what the model was trained to read around it. */
static pith_status gist_ids(pith_ctx *ctx, const char *text, size_t size, uint32_t **ids,
                            size_t *count, pith_error *err)
{
    const pith_model *model = ctx->model;
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    const uint32_t bos = pith__tokenizer_bos(model->tokenizer.tokenizer);
    pith__buf joined;
    uint32_t *plain = NULL;
    size_t n = 0;
    pith__buf_init(&joined, &mem, SIZE_MAX);
    PITH__TRY(pith__buf_append(&joined, model->gist.prefix.data, model->gist.prefix.size, err));
    PITH__TRY(pith__buf_append(&joined, text, size, err));
    PITH__TRY(pith__buf_append(&joined, model->gist.middle.data, model->gist.middle.size, err));
    PITH__TRY(pith__encode_ids(ctx, joined.data, joined.size, &plain, &n, err));
    PITH__TRY(pith__arena_alloc(&ctx->arena, n + 1, sizeof **ids, ids, err));
    *count = 0;
    if (bos != PITH__TOKEN_NONE) {
        (*ids)[(*count)++] = bos;
    }
    memcpy(*ids + *count, plain, n * sizeof **ids);
    *count += n;
    return PITH_OK;
}

/* The embedding of the gist token. */
static pith_status gist_row(pith_ctx *ctx, const float **out, pith_error *err)
{
    const pith_model *model = ctx->model;
    float *row = NULL;
    *out = model->gist.row;
    if (model->gist.row != NULL) {
        return PITH_OK;
    }
    PITH__TRY(pith__arena_alloc(&ctx->arena, model->weights.config.width, sizeof *row, &row, err));
    *out = row;
    return pith__model_embedding(&model->weights, model->gist.token, row, err);
}

/* The record says what is to follow the capsule. */
static pith_status finish_gist(pith_ctx *ctx, const char *text, size_t size, pith__capsule *capsule,
                               pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    pith__buf more;
    pith__buf_init(&more, &mem, RECORD_MAX);
    PITH__TRY(pith__buf_append_text(&more, ", \"suffix\": ", err));
    PITH__TRY(pith__train_log_string(&more, ctx->model->gist.suffix.data, err));
    return pith__encode_finish(ctx, text, size, more.data, capsule, err);
}

static pith_status encode_gist(pith_ctx *ctx, const char *text, size_t size, pith__capsule **out,
                               pith_error *err)
{
    const pith_model *model = ctx->model;
    const uint32_t trained = model->gist.slots;
    uint32_t *ids = NULL;
    const float *row = NULL;
    size_t count = 0;
    size_t tokens = 0;
    if (trained == 0) {
        return pith__fail(err, PITH_E_UNSUPPORTED,
                          "the model was not trained to gist: recipe gist does that, and method cc "
                          "takes any model");
    }
    const uint32_t slots = ctx->params.slots < 0.0 ? trained : (uint32_t)ctx->params.slots;
    PITH__TRY(gist_ids(ctx, text, size, &ids, &count, err));
    PITH__TRY(gist_row(ctx, &row, err));
    PITH__TRY(
        pith__tokenizer_count(model->tokenizer.tokenizer, text, size, &model->mem, &tokens, err));
    PITH__TRY(pith__gist_encode(&model->weights, pith__thread_count(ctx), ids, count, row, slots,
                                &model->mem, out, err));
    (*out)->source_tokens = tokens; /* without what stands around it */
    return finish_gist(ctx, text, size, *out, err);
}

/* ---- mean --------------------------------------------------------------------------------------- */

static pith_status encode_mean(pith_ctx *ctx, const char *text, size_t size, pith__capsule **out,
                               pith_error *err)
{
    const pith_model *model = ctx->model;
    const double slots = ctx->params.slots;
    char pool[PITH_VALUE_SIZE];
    char more[PITH_VALUE_SIZE + 16];
    uint32_t *ids = NULL;
    size_t count = 0;
    PITH__TRY(pith__params_get(&ctx->params, "pool", pool, sizeof pool, err));
    PITH__TRY(pith__encode_ids(ctx, text, size, &ids, &count, err));
    PITH__TRY(
        pith__compress_mean(&model->weights, pith__thread_count(ctx), (pith__pool)ctx->params.pool,
                            pith__tokenizer_bos(model->tokenizer.tokenizer), ids, count,
                            slots < 0.0 ? MEAN_SLOTS : (uint32_t)slots, &model->mem, out, err));
    (void)snprintf(more, sizeof more, ", \"pool\": \"%s\"", pool);
    return pith__encode_finish(ctx, text, size, more, *out, err);
}

/* ---- pith_encode ---------------------------------------------------------------------------------- */

static pith_status check_params(const pith__params *p, pith_error *err)
{
    const bool has_query = p->query != NULL && p->query[0] != '\0';
    if (p->method < PITH__METHOD_CC) {
        char method[PITH_VALUE_SIZE];
        PITH__TRY(pith__params_get(p, "method", method, sizeof method, err));
        return pith__fail(err, PITH_E_ARGUMENT,
                          "method: %s makes texts shorter; cc, gist, mean and those with a "
                          "compressor make capsules",
                          method);
    }
    if (p->method != PITH__METHOD_SELFCP && (has_query || p->ratio >= 0.0)) {
        return pith__fail(err, PITH_E_ARGUMENT, "%s: for method selfcp only",
                          has_query ? "query" : "ratio");
    }
    if (p->slots >= 0.0 && p->ratio >= 0.0) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "slots and ratio are both given: either says how many slots there are");
    }
    return PITH_OK;
}

static pith_status encode(pith_ctx *ctx, const char *text, size_t size, pith__capsule **out,
                          pith_error *err)
{
    const int method = ctx->params.method;
    PITH__TRY(check_params(&ctx->params, err));
    if (size == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "the text is empty: there is nothing to encode");
    }
    PITH__TRY(pith__check_text(ctx, text, size, err));
    if (method == PITH__METHOD_GIST) {
        return encode_gist(ctx, text, size, out, err);
    }
    if (method == PITH__METHOD_MEAN) {
        return encode_mean(ctx, text, size, out, err);
    }
    return method == PITH__METHOD_CC ? pith__encode_cc(ctx, text, size, out, err)
                                     : pith__encode_compressed(ctx, text, size, out, err);
}

pith_status pith_encode(pith_ctx *ctx, const char *text, size_t size, pith_capsule **out,
                        pith_error *err)
{
    pith__capsule *capsule = NULL;
    *out = NULL;
    const pith_status status = encode(ctx, text, size, &capsule, err);
    pith__arena_reset(&ctx->arena);
    if (status != PITH_OK) {
        pith__capsule_free(capsule);
        return status;
    }
    return pith__capsule_wrap(&capsule, out, err);
}
