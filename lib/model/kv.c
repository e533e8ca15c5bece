/*
 * kv.c: the key-value cache of one sequence.
 */
#include "model/model.h"

#include "model/kv.h"

#include <string.h>

void pith__kv_init(pith__kv *kv, const pith__model *model, const pith_allocator *mem)
{
    *kv = (pith__kv){.mem = *mem,
                     .layers = model->config.layers,
                     .width = (size_t)model->config.kv_heads * model->config.head_dim};
}

static size_t plane_size(const pith__kv *kv)
{
    return kv->width * sizeof(float);
}

void pith__kv_deinit(pith__kv *kv)
{
    pith__free(&kv->mem, kv->k, kv->capacity * kv->layers, plane_size(kv));
    pith__free(&kv->mem, kv->v, kv->capacity * kv->layers, plane_size(kv));
    *kv = (pith__kv){.mem = kv->mem, .layers = kv->layers, .width = kv->width};
}

void pith__kv_truncate(pith__kv *kv, size_t length)
{
    kv->length = length < kv->length ? length : kv->length;
}

void pith__kv_remove(pith__kv *kv, size_t start, size_t end)
{
    const size_t stop = end < kv->length ? end : kv->length;
    if (start >= stop) {
        return;
    }
    const size_t moved = (kv->length - stop) * plane_size(kv);
    for (size_t layer = 0; layer < kv->layers && moved > 0; layer++) {
        float *keys = pith__kv_keys(kv, layer);
        float *values = pith__kv_values(kv, layer);
        memmove(keys + start * kv->width, keys + stop * kv->width, moved);
        memmove(values + start * kv->width, values + stop * kv->width, moved);
    }
    kv->length -= stop - start;
}

pith_status pith__kv_reserve(pith__kv *kv, size_t tokens, pith_error *err)
{
    const size_t need = kv->length + tokens;
    if (need <= kv->capacity) {
        return PITH_OK;
    }
    const size_t capacity = need + need / 2;
    pith__kv grown = *kv;
    grown.capacity = capacity;
    PITH__TRY(pith__alloc(&kv->mem, capacity * kv->layers, plane_size(kv), &grown.k, err));
    const pith_status status =
        pith__alloc(&kv->mem, capacity * kv->layers, plane_size(kv), &grown.v, err);
    if (status != PITH_OK) {
        pith__free(&kv->mem, grown.k, capacity * kv->layers, plane_size(kv));
        return status;
    }
    const size_t held = kv->length * plane_size(kv);
    for (size_t layer = 0; layer < kv->layers && held > 0; layer++) {
        memcpy(pith__kv_keys(&grown, layer), pith__kv_keys(kv, layer), held);
        memcpy(pith__kv_values(&grown, layer), pith__kv_values(kv, layer), held);
    }
    pith__kv_deinit(kv);
    *kv = grown;
    return PITH_OK;
}

float *pith__kv_keys(const pith__kv *kv, size_t layer)
{
    return kv->k + layer * kv->capacity * kv->width;
}

float *pith__kv_values(const pith__kv *kv, size_t layer)
{
    return kv->v + layer * kv->capacity * kv->width;
}

/* ---- tokens that come from elsewhere ---------------------------------------------------------- */

typedef void (*rotate_fn)(const pith__tensor_ctx *ctx, float *x, size_t rows, size_t heads,
                          size_t head_dim, size_t pairs, const float *cos, const float *sin);

/* The angles of `count` positions. Released with the arena. */
typedef struct angles {
    pith__arena arena;
    float *cos; /* (count, rope_pairs) */
    float *sin;
} angles;

static pith_status angles_of(const pith__model *model, const pith_allocator *mem,
                             const uint32_t *positions, size_t count, angles *out, pith_error *err)
{
    const size_t bytes = model->config.rope_pairs * sizeof(float);
    pith__arena_init(&out->arena, mem);
    pith_status status = pith__arena_alloc(&out->arena, count, bytes, &out->cos, err);
    if (status == PITH_OK) {
        status = pith__arena_alloc(&out->arena, count, bytes, &out->sin, err);
    }
    if (status == PITH_OK) {
        status = pith__model_rope(model, &out->arena, positions, count, out->cos, out->sin, err);
    }
    if (status != PITH_OK) {
        pith__arena_deinit(&out->arena);
    }
    return status;
}

/* Turns keys (count, width) by the angles, forth or back. */
static void turn(const pith__model *model, angles *by, rotate_fn rotate, size_t count, float *keys)
{
    const pith__model_config *c = &model->config;
    const pith__tensor_ctx one = {1, &by->arena};
    rotate(&one, keys, count, c->kv_heads, c->head_dim, c->rope_pairs, by->cos, by->sin);
}

pith_status pith__kv_append(pith__kv *kv, const pith__model *model, const float *keys,
                            const float *values, const uint32_t *positions, size_t count,
                            pith_error *err)
{
    const uint32_t context = model->config.context;
    if (count > context || kv->length > context - count) {
        return pith__fail(err, PITH_E_CONTEXT, "%zu tokens and %zu more, the model's context is %u",
                          kv->length, count, context);
    }
    for (size_t i = 0; i < count; i++) {
        if (positions[i] >= context) {
            return pith__fail(err, PITH_E_CONTEXT, "position %u, the model's context is %u",
                              positions[i], context);
        }
    }
    if (count == 0) {
        return PITH_OK;
    }
    angles by;
    PITH__TRY(pith__kv_reserve(kv, count, err));
    PITH__TRY(angles_of(model, &kv->mem, positions, count, &by, err));
    const size_t first = kv->length * kv->width;
    const size_t size = count * kv->width;
    for (size_t layer = 0; layer < kv->layers; layer++) {
        float *k = pith__kv_keys(kv, layer) + first;
        memcpy(k, keys + layer * size, size * sizeof *k);
        turn(model, &by, model->ops->rope, count, k);
        memcpy(pith__kv_values(kv, layer) + first, values + layer * size, size * sizeof *k);
    }
    kv->length += count;
    pith__arena_deinit(&by.arena);
    return PITH_OK;
}

pith_status pith__kv_extract(const pith__kv *kv, const pith__model *model, size_t first,
                             size_t count, const uint32_t *positions, float *keys, float *values,
                             pith_error *err)
{
    if (count == 0) {
        return PITH_OK;
    }
    angles by;
    PITH__TRY(angles_of(model, &kv->mem, positions, count, &by, err));
    const size_t at = first * kv->width;
    const size_t size = count * kv->width;
    for (size_t layer = 0; layer < kv->layers; layer++) {
        float *k = keys + layer * size;
        memcpy(k, pith__kv_keys(kv, layer) + at, size * sizeof *k);
        turn(model, &by, model->ops->rope_back, count, k);
        memcpy(values + layer * size, pith__kv_values(kv, layer) + at, size * sizeof *k);
    }
    pith__arena_deinit(&by.arena);
    return PITH_OK;
}
