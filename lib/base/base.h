/*
 * base.h: what every module stands on: errors, memory, buffers, threads, files.
 *
 * Knows nothing about text or models. Depends on the C library, OpenMP and libsodium.
 */
#ifndef PITH_BASE_H
#define PITH_BASE_H

#include "pith/pith.h"

#include <locale.h>
#include <stdarg.h>

/* ---- errors ------------------------------------------------------------- */

#if defined(__GNUC__)
#define PITH__PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define PITH__PRINTF(format_index, first)
#endif

/* Fills *err (may be NULL) and returns `status`, so that callers can `return pith__fail(...)`. */
pith_status pith__fail(pith_error *err, pith_status status, const char *format, ...)
    PITH__PRINTF(3, 4);

/* The same, pointing at byte `offset` of the input. */
pith_status pith__fail_at(pith_error *err, pith_status status, size_t offset, const char *format,
                          ...) PITH__PRINTF(4, 5);

/* Hands an error up to the caller. For functions that have nothing to release. */
#define PITH__TRY(call)                  \
    do {                                 \
        const pith_status try_ = (call); \
        if (try_ != PITH_OK) {           \
            return try_;                 \
        }                                \
    } while (0)

/* ---- memory ------------------------------------------------------------- */

/* malloc, realloc and free behind the callback. */
extern const pith_allocator pith__allocator_default;

/*
 * count * size bytes, uninitialised; *out is NULL on failure. A product that
 * overflows is E_MEMORY too. Zero bytes give a non-NULL pointer of one byte.
 */
PITH_NODISCARD pith_status pith__alloc(const pith_allocator *mem, size_t count, size_t size,
                                       void *out, pith_error *err);

/* The same, all bytes zero. `out` is the address of a pointer of any type. */
PITH_NODISCARD pith_status pith__alloc_zero(const pith_allocator *mem, size_t count, size_t size,
                                            void *out, pith_error *err);

/* Releases what pith__alloc(mem, count, size) gave. Accepts NULL. */
void pith__free(const pith_allocator *mem, void *ptr, size_t count, size_t size);

/*
 * Arena: many allocations, one release. Pointers are aligned to 64 bytes and
 * valid until reset or deinit. Not thread safe.
 */
typedef struct pith__arena_block pith__arena_block;

typedef struct pith__arena {
    pith_allocator mem;
    pith__arena_block *blocks; /* newest first */
    size_t used_total;         /* bytes handed out since the last reset */
} pith__arena;

typedef struct pith__arena_mark {
    pith__arena_block *block;
    size_t used;
    size_t used_total;
} pith__arena_mark;

void pith__arena_init(pith__arena *arena, const pith_allocator *mem);
void pith__arena_deinit(pith__arena *arena);

/* Forgets everything, keeps one block of at most 64 MiB for the next call. */
void pith__arena_reset(pith__arena *arena);

/* count * size bytes, uninitialised. Overflow and exhaustion are E_MEMORY. `out` as in pith__alloc(). */
PITH_NODISCARD pith_status pith__arena_alloc(pith__arena *arena, size_t count, size_t size,
                                             void *out, pith_error *err);
PITH_NODISCARD pith_status pith__arena_alloc_zero(pith__arena *arena, size_t count, size_t size,
                                                  void *out, pith_error *err);

/* Takes one block with room for `bytes` in one piece, so that what comes next needs no other. */
PITH_NODISCARD pith_status pith__arena_reserve(pith__arena *arena, size_t bytes, pith_error *err);

/* Scratch space inside a call: everything allocated after the mark is released together. */
pith__arena_mark pith__arena_save(const pith__arena *arena);
void pith__arena_restore(pith__arena *arena, pith__arena_mark mark);

/*
 * The arena as an allocator, for code that wants one: what is released comes back
 * only with the arena, save for the newest piece, which can grow and shrink in place. As with
 * everything in an arena, what grew after a mark is gone when the mark is restored.
 */
pith_allocator pith__arena_allocator(pith__arena *arena);

/*
 * Buffer: bytes that grow up to a maximum fixed at the start. The data is
 * always followed by a NUL that `size` does not count. A failed append leaves
 * the buffer as it was.
 */
typedef struct pith__buf {
    pith_allocator mem;
    char *data; /* NULL until the first append or reserve */
    size_t size;
    size_t capacity;
    size_t max;
} pith__buf;

void pith__buf_init(pith__buf *buf, const pith_allocator *mem, size_t max);
void pith__buf_deinit(pith__buf *buf);

/* E_MEMORY also when the maximum would be exceeded. */
PITH_NODISCARD pith_status pith__buf_append(pith__buf *buf, const void *data, size_t size,
                                            pith_error *err);
PITH_NODISCARD pith_status pith__buf_append_text(pith__buf *buf, const char *text, pith_error *err);
PITH_NODISCARD pith_status pith__buf_printf(pith__buf *buf, pith_error *err, const char *format,
                                            ...) PITH__PRINTF(3, 4);

/* Makes room for `size` more bytes without writing them. */
PITH_NODISCARD pith_status pith__buf_reserve(pith__buf *buf, size_t size, pith_error *err);

/*
 * Grows a typed array to hold at least `need` items; doubles, so appending is
 * amortised O(1). *capacity counts items. Released with pith__free(mem, *array, *capacity, size).
 */
PITH_NODISCARD pith_status pith__grow(const pith_allocator *mem, void *array, size_t *capacity,
                                      size_t need, size_t size, pith_error *err);

/* ---- hash --------------------------------------------------------------- */

/* A SHA-256 (FIPS 180-4) as lower-case hexadecimal text, the final NUL included. */
#define PITH__SHA256_SIZE 65

/* The same as bytes. */
#define PITH__SHA256_BYTES 32

/* One in the making. May be copied. */
typedef struct pith__sha256 {
    unsigned char state[112];
} pith__sha256;

void pith__sha256_init(pith__sha256 *hash);

/* `data` may be NULL if size is 0. */
void pith__sha256_add(pith__sha256 *hash, const void *data, size_t size);

/* Of everything added so far; more may follow. */
void pith__sha256_text(const pith__sha256 *hash, char text[PITH__SHA256_SIZE]);
void pith__sha256_bytes(const pith__sha256 *hash, unsigned char bytes[PITH__SHA256_BYTES]);

/* All of it at once. */
void pith__sha256_of(const void *data, size_t size, char text[PITH__SHA256_SIZE]);

/* ---- log ---------------------------------------------------------------- */

typedef struct pith__log {
    pith_log_fn write; /* NULL: silent */
    void *user;
} pith__log;

void pith__log_print(const pith__log *log, pith_log_level level, const char *format, ...)
    PITH__PRINTF(3, 4);

/* ---- threads ------------------------------------------------------------ */

/* `worker` < threads tells concurrent calls apart, for scratch memory. */
typedef void (*pith__parallel_fn)(void *user, size_t index, unsigned worker);

/*
 * Calls fn(user, i, worker) for i = 0 .. count-1 on up to `threads` threads and
 * waits. Which worker runs which index is not defined: results must not depend
 * on it.
 */
void pith__parallel(unsigned threads, size_t count, pith__parallel_fn fn, void *user);

/* Processors this process may run on, at least 1. */
unsigned pith__threads_available(void);

/* ---- files, locale, time ------------------------------------------------- */

/* A whole file, read-only. */
typedef struct pith__file {
    const unsigned char *data; /* NULL if size is 0 */
    size_t size;
} pith__file;

/* Maps `path`. E_IO names the path and the reason; a folder is E_IO too. */
PITH_NODISCARD pith_status pith__file_open(const char *path, pith__file *out, pith_error *err);
void pith__file_close(pith__file *file);

/*
 * A file that appears at `path` whole or not at all: written beside it under another name,
 * brought to the disk and renamed by commit, removed by abort.
 */
typedef struct pith__new_file {
    char path[4096];
    char temporary[4096 + 40];
    int descriptor; /* -1: closed */
    int failed;     /* errno of the first write that failed; 0: none */
} pith__new_file;

/* E_IO names the path and the reason; E_ARGUMENT: a path that is too long. */
PITH_NODISCARD pith_status pith__new_file_open(const char *path, pith__new_file *out,
                                               pith_error *err);

/* A pith_write_fn whose `user` is the pith__new_file. */
bool pith__new_file_write(void *user, const char *data, size_t size);

/* E_IO, also for a write that failed before; nothing is left behind then. */
PITH_NODISCARD pith_status pith__new_file_commit(pith__new_file *file, pith_error *err);

/* Accepts a file that is committed, or all zero with descriptor -1. */
void pith__new_file_abort(pith__new_file *file);

/*
 * Puts this thread into the C locale until pith__locale_leave(): the program may have set one in
 * which 0.5 is written "0,5", and neither our parameters nor our output follow it.
 */
locale_t pith__locale_enter(void);
void pith__locale_leave(locale_t before);

/* Seconds of a clock that never goes back. */
double pith__seconds(void);

#endif /* PITH_BASE_H */
