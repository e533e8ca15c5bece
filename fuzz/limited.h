/*
 * limited.h: an allocator that notices when more is taken than a file may cost, and what is left.
 */
#ifndef PITH_FUZZ_LIMITED_H
#define PITH_FUZZ_LIMITED_H

#include "fuzz.h"

#include "pith/pith.h"

#include <stdlib.h>

typedef struct limited {
    size_t live;
    size_t limit;
} limited;

static inline void *limited_realloc(void *user, void *ptr, size_t old_size, size_t new_size)
{
    limited *memory = user;
    memory->live += new_size - old_size;
    FUZZ_CHECK(memory->live <= memory->limit);
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, new_size);
}

#endif /* PITH_FUZZ_LIMITED_H */
