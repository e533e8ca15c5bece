/*
 * frozen.h: a model file that is read and not changed: a path, or a file in memory.
 */
#ifndef PITH_FROZEN_H
#define PITH_FROZEN_H

#include "model/model.h"
#include "token/token.h"

typedef struct pith__frozen {
    bool is_mapped; /* `file` was opened here */
    pith__file file;
    pith__gguf gguf;
    pith__tokenizer *tokenizer;
    pith__model model; /* precision F32 */
    char sha256[PITH__SHA256_SIZE];
} pith__frozen;

/*
 * `path`, or, if it is NULL, the `size` bytes at `data`, which are borrowed. *out is all zero on entry, and
 * is to be closed also after a failure: E_ARGUMENT (neither is given), E_IO, E_CORRUPT, E_UNSUPPORTED,
 * E_MEMORY.
 */
PITH_NODISCARD pith_status pith__frozen_open(const char *path, const void *data, size_t size,
                                             const pith_allocator *mem, pith__frozen *out,
                                             pith_error *err);
void pith__frozen_close(pith__frozen *frozen); /* accepts an all-zero one */

#endif /* PITH_FROZEN_H */
