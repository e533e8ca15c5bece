/*
 * arena.c: blocks of memory that are handed out front to back and released together.
 */
#include "base/base.h"

#include <assert.h>
#include <string.h>

/* Wide enough for any vector load; a multiple of every type's alignment. */
#define ALIGNMENT 64u

/* Small enough not to matter for a short prompt, large enough that a long one needs few blocks. */
#define BLOCK_SIZE ((size_t)256 * 1024)

/* What a reset keeps: enough for the usual prompt, without holding on to the largest ever seen. */
#define KEEP_MAX ((size_t)64 * 1024 * 1024)

struct pith__arena_block {
    struct pith__arena_block *next; /* older */
    size_t capacity;                /* bytes from `base` on */
    size_t used;
    size_t base; /* offset of the first aligned byte */
};

static unsigned char *block_bytes(pith__arena_block *block)
{
    return (unsigned char *)block + block->base;
}

static void block_free(pith__arena *arena, pith__arena_block *block)
{
    pith__free(&arena->mem, block, 1, sizeof *block + ALIGNMENT + block->capacity);
}

static pith_status block_new(pith__arena *arena, size_t capacity, pith_error *err)
{
    size_t bytes = 0;
    if (__builtin_add_overflow(capacity, sizeof(pith__arena_block) + ALIGNMENT, &bytes)) {
        return pith__fail(err, PITH_E_MEMORY, "out of memory: %zu bytes", capacity);
    }
    pith__arena_block *block = NULL;
    PITH__TRY(pith__alloc(&arena->mem, 1, bytes, &block, err));
    const uintptr_t start = (uintptr_t)block + sizeof *block;
    const uintptr_t aligned = (start + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
    *block = (pith__arena_block){
        .next = arena->blocks, .capacity = capacity, .base = (size_t)(aligned - (uintptr_t)block)};
    arena->blocks = block;
    return PITH_OK;
}

void pith__arena_init(pith__arena *arena, const pith_allocator *mem)
{
    *arena = (pith__arena){.mem = *mem};
}

void pith__arena_deinit(pith__arena *arena)
{
    while (arena->blocks != NULL) {
        pith__arena_block *next = arena->blocks->next;
        block_free(arena, arena->blocks);
        arena->blocks = next;
    }
    arena->used_total = 0;
}

void pith__arena_reset(pith__arena *arena)
{
    pith__arena_block *keep = NULL;
    while (arena->blocks != NULL) {
        pith__arena_block *block = arena->blocks;
        arena->blocks = block->next;
        const bool better = keep == NULL || block->capacity > keep->capacity;
        if (block->capacity <= KEEP_MAX && better) {
            if (keep != NULL) {
                block_free(arena, keep);
            }
            keep = block;
        } else {
            block_free(arena, block);
        }
    }
    if (keep != NULL) {
        keep->next = NULL;
        keep->used = 0;
        arena->blocks = keep;
    }
    arena->used_total = 0;
}

pith_status pith__arena_reserve(pith__arena *arena, size_t bytes, pith_error *err)
{
    const pith__arena_block *block = arena->blocks;
    return block != NULL && block->capacity - block->used >= bytes ? PITH_OK
                                                                   : block_new(arena, bytes, err);
}

pith_status pith__arena_alloc(pith__arena *arena, size_t count, size_t size, void *out,
                              pith_error *err)
{
    void *ptr = NULL;
    memcpy(out, &ptr, sizeof ptr);
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, ALIGNMENT - 1, &bytes)) {
        return pith__fail(err, PITH_E_MEMORY, "out of memory: %zu items of %zu bytes", count, size);
    }
    bytes &= ~(size_t)(ALIGNMENT - 1);
    bytes += bytes == 0 ? ALIGNMENT : 0;
    if (arena->blocks == NULL || arena->blocks->capacity - arena->blocks->used < bytes) {
        PITH__TRY(block_new(arena, bytes > BLOCK_SIZE ? bytes : BLOCK_SIZE, err));
    }
    assert(arena->blocks != NULL);
    ptr = block_bytes(arena->blocks) + arena->blocks->used;
    arena->blocks->used += bytes;
    arena->used_total += bytes;
    memcpy(out, &ptr, sizeof ptr);
    return PITH_OK;
}

pith_status pith__arena_alloc_zero(pith__arena *arena, size_t count, size_t size, void *out,
                                   pith_error *err)
{
    PITH__TRY(pith__arena_alloc(arena, count, size, out, err));
    void *ptr = NULL;
    memcpy(&ptr, out, sizeof ptr);
    memset(ptr, 0, count * size);
    return PITH_OK;
}

pith__arena_mark pith__arena_save(const pith__arena *arena)
{
    return (pith__arena_mark){.block = arena->blocks,
                              .used = arena->blocks == NULL ? 0 : arena->blocks->used,
                              .used_total = arena->used_total};
}

void pith__arena_restore(pith__arena *arena, pith__arena_mark mark)
{
    while (arena->blocks != mark.block) {
        pith__arena_block *next = arena->blocks->next;
        block_free(arena, arena->blocks);
        arena->blocks = next;
    }
    if (arena->blocks != NULL) {
        arena->blocks->used = mark.used;
    }
    arena->used_total = mark.used_total;
}

static size_t rounded(size_t size)
{
    return (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

/* True if `ptr`, of `size` bytes, is what was handed out last. */
static bool is_newest(pith__arena *arena, const void *ptr, size_t size)
{
    pith__arena_block *block = arena->blocks;
    return block != NULL && block->used >= rounded(size) &&
           (const unsigned char *)ptr == block_bytes(block) + block->used - rounded(size);
}

static void *arena_realloc(void *user, void *ptr, size_t old_size, size_t new_size)
{
    pith__arena *arena = user;
    if (ptr != NULL && is_newest(arena, ptr, old_size)) {
        pith__arena_block *block = arena->blocks;
        const size_t before = block->used - rounded(old_size);
        if (new_size <= block->capacity - before && rounded(new_size) <= block->capacity - before) {
            block->used = before + rounded(new_size);
            return new_size == 0 ? NULL : ptr;
        }
    }
    if (new_size == 0 || new_size <= old_size) {
        return new_size == 0 ? NULL : ptr;
    }
    void *fresh = NULL;
    if (pith__arena_alloc(arena, new_size, 1, &fresh, NULL) != PITH_OK) {
        return NULL;
    }
    if (ptr != NULL) {
        memcpy(fresh, ptr, old_size);
    }
    return fresh;
}

pith_allocator pith__arena_allocator(pith__arena *arena)
{
    return (pith_allocator){arena, arena_realloc};
}
