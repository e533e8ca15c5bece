/*
 * test.h: the one file that includes cmocka, and what our tests share.
 */
#ifndef PITH_TEST_H
#define PITH_TEST_H

#include "pith/pith.h"

/* cmocka wants these four first */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Fails the test with the library's own words. */
#define assert_ok(call, err)                                                            \
    do {                                                                                \
        const pith_status ok_status_ = (call);                                          \
        if (ok_status_ != PITH_OK) {                                                    \
            fail_msg("%s: %s: %s", #call, pith_status_name(ok_status_), (err).message); \
        }                                                                               \
    } while (0)

#define assert_status(call, expected)                                            \
    do {                                                                         \
        const pith_status is_status_ = (call);                                   \
        if (is_status_ != (expected)) {                                          \
            fail_msg("%s: %s, expected %s", #call, pith_status_name(is_status_), \
                     pith_status_name(expected));                                \
        }                                                                        \
    } while (0)

/* ---- allocation sweep ---------------------------------------------------- */

/* An allocator that counts live bytes and can fail the n-th allocation from now on. */
typedef struct test_memory {
    size_t live;      /* bytes */
    size_t count;     /* allocations and growing resizes so far */
    size_t fail_from; /* the first call that fails, counted from 1; 0: never */
    size_t mistakes;  /* releases with a wrong old_size */
} test_memory;

/* Every block is preceded by its size, so that a wrong old_size is noticed. */
static inline void *test_memory_realloc(void *user, void *ptr, size_t old_size, size_t new_size)
{
    test_memory *memory = user;
    unsigned char *block = ptr == NULL ? NULL : (unsigned char *)ptr - 16;
    if (block != NULL) {
        size_t recorded = 0;
        memcpy(&recorded, block, sizeof recorded);
        memory->mistakes += recorded != old_size;
        old_size = recorded;
    }
    if (new_size == 0) {
        memory->live -= block == NULL ? 0 : old_size;
        free(block);
        return NULL;
    }
    memory->count++;
    if (memory->fail_from != 0 && memory->count >= memory->fail_from) {
        return NULL;
    }
    unsigned char *grown = realloc(block, new_size + 16);
    if (grown == NULL) {
        return NULL;
    }
    memcpy(grown, &new_size, sizeof new_size);
    memory->live += new_size - (block == NULL ? 0 : old_size);
    return grown + 16;
}

static inline pith_allocator test_memory_allocator(test_memory *memory)
{
    return (pith_allocator){memory, test_memory_realloc};
}

/*
 * Runs `body` with the 1st, 2nd, 3rd ... allocation failing until it succeeds.
 * The body must release everything itself, return the status it met, and get
 * PITH_E_MEMORY from every failed run.
 */
static inline void test_sweep(pith_status (*body)(const pith_allocator *mem, void *user),
                              void *user)
{
    for (size_t n = 1; n < 100000; n++) {
        test_memory memory = {.fail_from = n};
        const pith_allocator mem = test_memory_allocator(&memory);
        const pith_status status = body(&mem, user);
        assert_int_equal(memory.live, 0);
        assert_int_equal(memory.mistakes, 0);
        if (status == PITH_OK) {
            return;
        }
        assert_int_equal(status, PITH_E_MEMORY);
    }
    fail_msg("the body never succeeded");
}

/* ---- files ---------------------------------------------------------------- */

/* The folder of reference data that is not part of the repository, or NULL. */
static inline const char *test_shared(void)
{
    const char *path = getenv("PITH_SHARED");
    return path == NULL || path[0] == '\0' ? NULL : path;
}

/* Skips the running test, with a reason, unless the reference data is at hand. */
#define require_shared()                                        \
    do {                                                        \
        if (test_shared() == NULL) {                            \
            print_message("skipped: PITH_SHARED is not set\n"); \
            skip();                                             \
        }                                                       \
    } while (0)

/* Reads a whole file, NUL-terminated; free() it. Fails the test if it cannot. */
static inline char *test_read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fail_msg("cannot open %s", path);
        return NULL;
    }
    (void)fseek(file, 0, SEEK_END);
    const long length = ftell(file);
    (void)fseek(file, 0, SEEK_SET);
    char *data = malloc((size_t)length + 1);
    assert_non_null(data);
    *size = fread(data, 1, (size_t)length, file);
    assert_int_equal(*size, length);
    data[*size] = '\0';
    (void)fclose(file);
    return data;
}

/* "<folder>/<name>" in a static buffer; folder is "golden" (tests/golden) or "shared". */
static inline const char *test_path(const char *folder, const char *name)
{
    static char path[4096];
    const char *root = strcmp(folder, "shared") == 0 ? test_shared() : PITH_TEST_GOLDEN;
    (void)snprintf(path, sizeof path, "%s/%s", root == NULL ? "." : root, name);
    return path;
}

/* ---- random numbers --------------------------------------------------------- */

/* splitmix64: the same sequence everywhere. */
static inline uint64_t test_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Uniform in [0, bound), bound > 0. */
static inline size_t test_random_below(uint64_t *state, size_t bound)
{
    return (size_t)(test_random(state) % bound);
}

#endif /* PITH_TEST_H */
