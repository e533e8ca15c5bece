/*
 * memory.c: the only file of the library that calls malloc, realloc and free.
 */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

static void *default_realloc(void *user, void *ptr, size_t old_size, size_t new_size)
{
    (void)user;
    (void)old_size;
    if (new_size == 0) {
        free(ptr);
        return NULL;
    }
    return realloc(ptr, new_size);
}

const pith_allocator pith__allocator_default = {NULL, default_realloc};

/* Zero items still take one byte, so that NULL always means failure. */
static bool byte_count(size_t count, size_t size, size_t *bytes)
{
    if (__builtin_mul_overflow(count, size, bytes)) {
        return false;
    }
    *bytes += *bytes == 0;
    return true;
}

/* `out` is the address of some T *; copying its bytes keeps the aliasing rules. */
static void store_pointer(void *out, void *ptr)
{
    memcpy(out, &ptr, sizeof ptr);
}

pith_status pith__alloc(const pith_allocator *mem, size_t count, size_t size, void *out,
                        pith_error *err)
{
    store_pointer(out, NULL);
    size_t bytes = 0;
    void *ptr = NULL;
    if (byte_count(count, size, &bytes)) {
        ptr = mem->realloc(mem->user, NULL, 0, bytes);
    }
    if (ptr == NULL) {
        return pith__fail(err, PITH_E_MEMORY, "out of memory: %zu items of %zu bytes", count, size);
    }
    store_pointer(out, ptr);
    return PITH_OK;
}

pith_status pith__alloc_zero(const pith_allocator *mem, size_t count, size_t size, void *out,
                             pith_error *err)
{
    PITH__TRY(pith__alloc(mem, count, size, out, err));
    void *ptr = NULL;
    memcpy(&ptr, out, sizeof ptr);
    memset(ptr, 0, count * size);
    return PITH_OK;
}

void pith__free(const pith_allocator *mem, void *ptr, size_t count, size_t size)
{
    size_t bytes = 0;
    if (ptr != NULL && byte_count(count, size, &bytes)) {
        (void)mem->realloc(mem->user, ptr, bytes, 0);
    }
}

pith_status pith__grow(const pith_allocator *mem, void *array, size_t *capacity, size_t need,
                       size_t size, pith_error *err)
{
    if (need <= *capacity) {
        return PITH_OK;
    }
    void *old = NULL;
    memcpy(&old, array, sizeof old);
    size_t wanted = *capacity < 8 ? 8 : *capacity;
    while (wanted < need) {
        wanted = wanted > SIZE_MAX / 2 ? need : wanted * 2;
    }
    size_t bytes = 0;
    size_t old_bytes = 0;
    void *ptr = NULL;
    if (byte_count(wanted, size, &bytes) && byte_count(*capacity, size, &old_bytes)) {
        ptr = mem->realloc(mem->user, old, old == NULL ? 0 : old_bytes, bytes);
    }
    if (ptr == NULL) {
        return pith__fail(err, PITH_E_MEMORY, "out of memory: %zu items of %zu bytes", wanted,
                          size);
    }
    store_pointer(array, ptr);
    *capacity = wanted;
    return PITH_OK;
}
