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
