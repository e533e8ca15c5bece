/*
 * inspect.h: what pith_inspect() says of certain files before it lists keys and tensors.
 */
#ifndef PITH_API_INSPECT_H
#define PITH_API_INSPECT_H

#include "api/api.h"

#include <jansson.h>

/* Text of whoever made the file, on one line: nothing in it may speak to a terminal. E_MEMORY. */
PITH_NODISCARD pith_status pith__inspect_foreign(pith__buf *out, const char *text, size_t size,
                                                 pith_error *err);

/* "  name       hash" or none. E_MEMORY. */
PITH_NODISCARD pith_status pith__inspect_hash(pith__buf *out, const char *name, const char *sha256,
                                              pith_error *err);

/* A hash; null for none. NULL: no memory. */
json_t *pith__inspect_json_hash(const char *sha256);

/* "f16". Static storage. */
const char *pith__inspect_stored_as(const pith__capsule *capsule);

/* What a position mode means. Static storage. */
const char *pith__inspect_position_mode(const char *mode);

/* A compressor (inspect_compressor.c): the keys of an open file, as text and as JSON. */
typedef struct pith__inspect_compressor {
    pith__compressor_about about;
    size_t record_size;
} pith__inspect_compressor;

PITH_NODISCARD pith_status pith__inspect_compressor_text(const pith__inspect_compressor *c,
                                                         pith__buf *out, pith_error *err);

/* NULL: no memory. */
json_t *pith__inspect_compressor_json(const pith__inspect_compressor *c);

/* A bank (inspect_bank.c), which has entries. */
PITH_NODISCARD pith_status pith__inspect_bank_text(const pith__bank *bank, pith__buf *out,
                                                   pith_error *err);
json_t *pith__inspect_bank_json(const pith__bank *bank);

#endif /* PITH_API_INSPECT_H */
