/*
 * kv.h: what the forward pass needs of a cache beyond model.h.
 */
#ifndef PITH_KV_H
#define PITH_KV_H

#include "model/model.h"

/* Room for `tokens` more; what is held stays. Fails with E_MEMORY. */
PITH_NODISCARD pith_status pith__kv_reserve(pith__kv *kv, size_t tokens, pith_error *err);

/* (capacity, width) of one layer. */
float *pith__kv_keys(const pith__kv *kv, size_t layer);
float *pith__kv_values(const pith__kv *kv, size_t layer);

#endif /* PITH_KV_H */
