/*
 * capsule.h: what the files of this folder know of a capsule beyond soft.h.
 */
#ifndef PITH_CAPSULE_H
#define PITH_CAPSULE_H

#include "soft/soft.h"

/* Fails with `broken` unless a capsule may have these sizes. */
PITH_NODISCARD pith_status pith__capsule_check_sizes(pith__capsule_kind kind, uint32_t slots,
                                                     uint32_t layers, uint32_t width,
                                                     pith_status broken, pith_error *err);

/* Up to PITH__CAPSULE_NAME - 1 printable characters, blanks apart; not empty. */
PITH_NODISCARD pith_status pith__capsule_check_method(const char *method, pith_status broken,
                                                      pith_error *err);

/*
 * Fails with `broken` unless everything but the numbers is as a file may have it, and with
 * E_UNSUPPORTED for places that cannot be honoured: an unknown mode, or embeddings that do not
 * stand one after the other with the text right behind them.
 */
PITH_NODISCARD pith_status pith__capsule_validate(const pith__capsule *capsule, pith_status broken,
                                                  pith_error *err);

/* Arrays (slots, width) it is made of: one, or keys and values of every layer. */
size_t pith__capsule_parts(const pith__capsule *capsule);

/* Part `index` < parts; of a layer first the keys, then the values. */
float *pith__capsule_part(const pith__capsule *capsule, size_t index);

#endif /* PITH_CAPSULE_H */
