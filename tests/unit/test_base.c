/*
 * test_base.c: errors, memory, buffers, threads and files.
 */
#include "base/base.h"

#include "test.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB ((size_t)1024 * 1024)

/* ---- errors ------------------------------------------------------------------------ */

static void an_error_carries_status_message_and_offset(void **state)
{
    (void)state;
    pith_error err = {0};
    assert_int_equal(pith__fail(&err, PITH_E_IO, "cannot read \"%s\" (%d)", "a", 7), PITH_E_IO);
    assert_int_equal(err.status, PITH_E_IO);
    assert_true(err.offset == PITH_NO_OFFSET);
    assert_string_equal(err.message, "cannot read \"a\" (7)");

    assert_int_equal(pith__fail_at(&err, PITH_E_UTF8, 42, "byte %02x", 0xffu), PITH_E_UTF8);
    assert_int_equal(err.status, PITH_E_UTF8);
    assert_int_equal(err.offset, 42);
    assert_string_equal(err.message, "byte ff");

    assert_int_equal(pith__fail(NULL, PITH_E_MEMORY, "%d", 1), PITH_E_MEMORY);
    assert_int_equal(pith__fail_at(NULL, PITH_E_CORRUPT, 1, "%d", 1), PITH_E_CORRUPT);
}

static void a_message_is_one_line(void **state)
{
    (void)state;
    pith_error err = {0};
    (void)pith__fail(&err, PITH_E_IO, "one\ntwo\r\n%s", "\x01three\t\x1b[31m\xc3\xa9");
    assert_string_equal(err.message, "one two   three  [31m\xc3\xa9");
}

static void a_long_message_is_cut(void **state)
{
    (void)state;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    pith_error err = {0};
    (void)pith__fail(&err, PITH_E_IO, "%s", text);
    assert_int_equal(strlen(err.message), sizeof err.message - 1);
    (void)pith__fail(&err, PITH_E_IO, "short");
    assert_string_equal(err.message, "short");
}

static pith_status count_calls(int *calls, pith_status status)
{
    ++*calls;
    return status;
}

static pith_status try_both(int *calls, pith_status first)
{
    PITH__TRY(count_calls(calls, first));
    PITH__TRY(count_calls(calls, PITH_OK));
    return PITH_E_INTERNAL;
}

static void try_returns_the_first_failure(void **state)
{
    (void)state;
    int calls = 0;
    assert_int_equal(try_both(&calls, PITH_E_RANGE), PITH_E_RANGE);
    assert_int_equal(calls, 1);
    assert_int_equal(try_both(&calls, PITH_OK), PITH_E_INTERNAL);
    assert_int_equal(calls, 3);
}

/* ---- statuses ---------------------------------------------------------------------- */

typedef struct status_row {
    pith_status status;
    int code;
    int exit_code;
    const char *name;
    const char *text;
} status_row;

static const status_row STATUSES[] = {
#define X(name, code, exit_code, text) {PITH_##name, code, exit_code, #name, text},
    PITH_STATUS_MAP(X)
#undef X
};

#define N_STATUSES (sizeof STATUSES / sizeof STATUSES[0])

static void every_status_has_name_text_and_exit_code(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_STATUSES; i++) {
        const status_row *row = &STATUSES[i];
        assert_int_equal((int)row->status, row->code);
        assert_string_equal(pith_status_name(row->status), row->name);
        assert_string_equal(pith_status_text(row->status), row->text);
        assert_int_equal(pith_status_exit_code(row->status), row->exit_code);
        assert_true(strlen(row->text) > 5);
        assert_true((row->exit_code >= 2 && row->exit_code <= 5) || row->exit_code == 70);
        for (size_t j = 0; j < i; j++) {
            assert_true(row->code > STATUSES[j].code);
        }
    }
    assert_string_equal(pith_status_name(PITH_OK), "OK");
    assert_string_equal(pith_status_text(PITH_OK), "success");
    assert_int_equal(pith_status_exit_code(PITH_OK), 0);
}

/* Numbers are permanent: a list of our own, so that the map cannot be renumbered by mistake. */
static void status_numbers_are_permanent(void **state)
{
    (void)state;
    assert_int_equal(PITH_E_ARGUMENT, 1);
    assert_int_equal(PITH_E_RANGE, 2);
    assert_int_equal(PITH_E_BUDGET, 3);
    assert_int_equal(PITH_E_CANCELLED, 4);
    assert_int_equal(PITH_E_UTF8, 20);
    assert_int_equal(PITH_E_CORRUPT, 21);
    assert_int_equal(PITH_E_MISMATCH, 22);
    assert_int_equal(PITH_E_UNSUPPORTED, 23);
    assert_int_equal(PITH_E_SYNTAX, 24);
    assert_int_equal(PITH_E_MEMORY, 40);
    assert_int_equal(PITH_E_IO, 41);
    assert_int_equal(PITH_E_CONTEXT, 42);
    assert_int_equal(PITH_E_BACKEND, 43);
    assert_int_equal(PITH_E_INTERNAL, 60);
}

static void unknown_statuses_are_answered(void **state)
{
    (void)state;
    const pith_status unknown = (pith_status)61;
    assert_string_equal(pith_status_name(unknown), "unknown");
    assert_string_equal(pith_status_text(unknown), "unknown status");
    assert_int_equal(pith_status_exit_code(unknown), 70);
}

static void the_version_is_that_of_the_header(void **state)
{
    (void)state;
    char expected[32];
    (void)snprintf(expected, sizeof expected, "%d.%d.%d", PITH_VERSION_MAJOR, PITH_VERSION_MINOR,
                   PITH_VERSION_PATCH);
    assert_string_equal(pith_version(), expected);
}

/* ---- allocation -------------------------------------------------------------------- */

/* Counts like test_memory, and fills what it gives so that missing zeros show. */
static void *dirty_realloc(void *user, void *ptr, size_t old_size, size_t new_size)
{
    unsigned char *block = test_memory_realloc(user, ptr, old_size, new_size);
    if (block != NULL && new_size > old_size) {
        memset(block + old_size, 0xa5, new_size - old_size);
    }
    return block;
}

static void alloc_gives_what_free_takes_back(void **state)
{
    (void)state;
    test_memory memory = {0};
    const pith_allocator mem = {&memory, dirty_realloc};
    pith_error err = {0};
    uint32_t *words = NULL;
    unsigned char *nothing = NULL;
    assert_ok(pith__alloc_zero(&mem, 1000, sizeof *words, &words, &err), err);
    assert_int_equal(memory.live, 4000);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(words[i], 0);
    }
    assert_ok(pith__alloc(&mem, 0, sizeof *words, &nothing, &err), err);
    assert_non_null(nothing);
    *nothing = 1;
    pith__free(&mem, words, 1000, sizeof *words);
    pith__free(&mem, nothing, 0, sizeof *words);
    pith__free(&mem, NULL, 1000, sizeof *words);
    assert_int_equal(memory.live, 0);
    assert_int_equal(memory.mistakes, 0);
}

static void a_product_that_overflows_is_refused(void **state)
{
    (void)state;
    test_memory memory = {0};
    const pith_allocator mem = test_memory_allocator(&memory);
    pith_error err = {0};
    char here = 0;
    char *ptr = &here;
    assert_status(pith__alloc(&mem, SIZE_MAX / 2, 3, &ptr, &err), PITH_E_MEMORY);
    assert_null(ptr);
    assert_int_equal(err.status, PITH_E_MEMORY);
    ptr = &here;
    assert_status(pith__alloc_zero(&mem, SIZE_MAX, 2, &ptr, &err), PITH_E_MEMORY);
    assert_null(ptr);
    assert_int_equal(memory.count, 0);
}

static void the_default_allocator_works(void **state)
{
    (void)state;
    pith_error err = {0};
    char *text = NULL;
    assert_ok(pith__alloc(&pith__allocator_default, 6, 1, &text, &err), err);
    memcpy(text, "hello", 6);
    const pith_allocator *mem = &pith__allocator_default;
    text = mem->realloc(mem->user, text, 6, 60000);
    assert_non_null(text);
    assert_string_equal(text, "hello");
    assert_null(mem->realloc(mem->user, text, 60000, 0));
    assert_null(mem->realloc(mem->user, NULL, 0, 0));
}

static void grow_keeps_items_and_rarely_allocates(void **state)
{
    (void)state;
    test_memory memory = {0};
    const pith_allocator mem = test_memory_allocator(&memory);
    pith_error err = {0};
    uint32_t *items = NULL;
    size_t capacity = 0;
    assert_ok(pith__grow(&mem, &items, &capacity, 0, sizeof *items, &err), err);
    assert_null(items);
    for (uint32_t i = 0; i < 100000; i++) {
        assert_ok(pith__grow(&mem, &items, &capacity, i + 1, sizeof *items, &err), err);
        assert_true(capacity > i);
        items[i] = i;
    }
    for (uint32_t i = 0; i < 100000; i++) {
        assert_int_equal(items[i], i);
    }
    assert_true(memory.count < 20);
    assert_true(capacity <= 200000);
    pith__free(&mem, items, capacity, sizeof *items);
    assert_int_equal(memory.live, 0);
    assert_int_equal(memory.mistakes, 0);
}

static void a_failed_grow_changes_nothing(void **state)
{
    (void)state;
    test_memory memory = {0};
    const pith_allocator mem = test_memory_allocator(&memory);
    pith_error err = {0};
    uint64_t *items = NULL;
    size_t capacity = 0;
    assert_ok(pith__grow(&mem, &items, &capacity, 10, sizeof *items, &err), err);
    const uint64_t *before = items;
    const size_t held = capacity;
    items[9] = 99;
    assert_status(pith__grow(&mem, &items, &capacity, SIZE_MAX / 4, sizeof *items, &err),
                  PITH_E_MEMORY);
    memory.fail_from = memory.count + 1;
    assert_status(pith__grow(&mem, &items, &capacity, held + 1, sizeof *items, &err),
                  PITH_E_MEMORY);
    assert_ptr_equal(items, before);
    assert_int_equal(capacity, held);
    assert_int_equal(items[9], 99);
    pith__free(&mem, items, capacity, sizeof *items);
    assert_int_equal(memory.live, 0);
}

/* ---- arena ------------------------------------------------------------------------- */

static void arena_blocks_are_aligned_and_apart(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    static unsigned char *blocks[COUNT];
    static size_t sizes[COUNT];
    test_memory memory = {0};
    const pith_allocator mem = test_memory_allocator(&memory);
    pith__arena arena;
    pith_error err = {0};
    uint64_t seed = 1;
    size_t total = 0;
    pith__arena_init(&arena, &mem);
    for (size_t i = 0; i < COUNT; i++) {
        /* mostly small, some larger than a block of the arena */
        sizes[i] = test_random_below(&seed, i % 100 == 0 ? 600000 : 2000);
        assert_ok(pith__arena_alloc(&arena, sizes[i], 1, &blocks[i], &err), err);
        assert_int_equal((uintptr_t)blocks[i] % 64, 0);
        memset(blocks[i], (int)(i % 251), sizes[i]);
        total += sizes[i];
    }
    assert_true(arena.used_total >= total);
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j < sizes[i]; j++) {
            assert_int_equal(blocks[i][j], i % 251);
        }
    }
    pith__arena_deinit(&arena);
    assert_int_equal(memory.live, 0);
    assert_int_equal(memory.mistakes, 0);
    assert_int_equal(arena.used_total, 0);
    pith__arena_deinit(&arena);
}

static void arena_zeros_what_was_used_before(void **state)
{
    (void)state;
    test_memory memory = {0};
    const pith_allocator mem = {&memory, dirty_realloc};
    pith__arena arena;
    pith_error err = {0};
    unsigned char *bytes = NULL;
    pith__arena_init(&arena, &mem);
    assert_ok(pith__arena_alloc(&arena, 1000, 1, &bytes, &err), err);
    memset(bytes, 0xff, 1000);
    pith__arena_reset(&arena);
    assert_ok(pith__arena_alloc_zero(&arena, 250, 8, &bytes, &err), err);
    for (size_t i = 0; i < 2000; i++) {
        assert_int_equal(bytes[i], 0);
    }
    pith__arena_deinit(&arena);
    assert_int_equal(memory.live, 0);
}

static void nothing_still_has_an_address_of_its_own(void **state)
{
    (void)state;
    pith__arena arena;
    pith_error err = {0};
    void *a = NULL;
    void *b = NULL;
    pith__arena_init(&arena, &pith__allocator_default);
    assert_ok(pith__arena_alloc(&arena, 0, 8, &a, &err), err);
    assert_ok(pith__arena_alloc(&arena, 8, 0, &b, &err), err);
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    pith__arena_deinit(&arena);
}

static void arena_overflow_is_refused(void **state)
{
    (void)state;
    test_memory memory = {0};
    const pith_allocator mem = test_memory_allocator(&memory);
    pith__arena arena;
    pith_error err = {0};
    pith__arena_init(&arena, &mem);
    const size_t bad[][2] = {{SIZE_MAX, 2},
                             {SIZE_MAX / 8 + 1, 8},
                             {SIZE_MAX, 1},
                             {SIZE_MAX - 62, 1},
                             {SIZE_MAX - 63, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char here = 0;
        char *ptr = &here;
        assert_status(pith__arena_alloc(&arena, bad[i][0], bad[i][1], &ptr, &err), PITH_E_MEMORY);
        assert_null(ptr);
        ptr = &here;
        assert_status(pith__arena_alloc_zero(&arena, bad[i][0], bad[i][1], &ptr, &err),
                      PITH_E_MEMORY);
        assert_null(ptr);
    }
    assert_int_equal(memory.count, 0);
    assert_int_equal(arena.used_total, 0);
    pith__arena_deinit(&arena);
}

static void reset_keeps_the_largest_block_up_to_64_mib(void **state)
{
    (void)state;
    const size_t sizes[] = {MIB, 8 * MIB, 100 * MIB, 2 * MIB};
    test_memory memory = {0};
    const pith_allocator mem = test_memory_allocator(&memory);
    pith__arena arena;
    pith_error err = {0};
    char *ptr = NULL;
    pith__arena_init(&arena, &mem);
    pith__arena_reset(&arena);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        assert_ok(pith__arena_alloc(&arena, sizes[i], 1, &ptr, &err), err);
    }
    assert_true(arena.used_total >= 111 * MIB);
    pith__arena_reset(&arena);
    assert_int_equal(arena.used_total, 0);
    assert_true(memory.live >= 8 * MIB && memory.live < 9 * MIB);
    const size_t count = memory.count;
    assert_ok(pith__arena_alloc(&arena, 8 * MIB, 1, &ptr, &err), err);
    assert_int_equal(memory.count, count);
    pith__arena_reset(&arena);
    pith__arena_reset(&arena);
    assert_true(memory.live >= 8 * MIB && memory.live < 9 * MIB);
    pith__arena_deinit(&arena);

    pith__arena_init(&arena, &mem);
    assert_ok(pith__arena_alloc(&arena, 65 * MIB, 1, &ptr, &err), err);
    pith__arena_reset(&arena);
    assert_int_equal(memory.live, 0);
    pith__arena_deinit(&arena);
    assert_int_equal(memory.mistakes, 0);
}

/* Marks at `depth` levels, each with small and large scratch; what is older must survive. */
static void nest(pith__arena *arena, const test_memory *memory, size_t depth)
{
    pith_error err = {0};
    unsigned char *kept = NULL;
    unsigned char *first = NULL;
    unsigned char *again = NULL;
    assert_ok(pith__arena_alloc(arena, 100, 1, &kept, &err), err);
    memset(kept, (int)depth, 100);
    const size_t used = arena->used_total;
    const size_t live = memory->live;
    const pith__arena_mark mark = pith__arena_save(arena);
    for (size_t round = 0; round < 2; round++) {
        unsigned char *large = NULL;
        assert_ok(pith__arena_alloc(arena, 100, 1, round == 0 ? &first : &again, &err), err);
        assert_ok(pith__arena_alloc(arena, 300000, 1, &large, &err), err);
        memset(large, 0xee, 300000);
        if (depth > 0) {
            nest(arena, memory, depth - 1);
        }
        pith__arena_restore(arena, mark);
        assert_int_equal(arena->used_total, used);
        assert_int_equal(memory->live, live);
    }
    assert_ptr_equal(first, again);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(kept[i], depth);
    }
}

static void marks_nest(void **state)
{
    (void)state;
    test_memory memory = {0};
    const pith_allocator mem = test_memory_allocator(&memory);
    pith__arena arena;
    pith__arena_init(&arena, &mem);
    nest(&arena, &memory, 4);
    pith__arena_deinit(&arena);
    assert_int_equal(memory.live, 0);
    assert_int_equal(memory.mistakes, 0);
}

static void a_mark_of_an_empty_arena_releases_everything(void **state)
{
    (void)state;
    test_memory memory = {0};
    const pith_allocator mem = test_memory_allocator(&memory);
    pith__arena arena;
    pith_error err = {0};
    char *ptr = NULL;
    pith__arena_init(&arena, &mem);
    const pith__arena_mark mark = pith__arena_save(&arena);
    assert_ok(pith__arena_alloc(&arena, MIB, 1, &ptr, &err), err);
    pith__arena_restore(&arena, mark);
    assert_int_equal(memory.live, 0);
    assert_int_equal(arena.used_total, 0);
    assert_ok(pith__arena_alloc(&arena, 10, 1, &ptr, &err), err);
    pith__arena_deinit(&arena);
    assert_int_equal(memory.live, 0);
}

/* Grows two arrays by turns, so that neither is always the newest piece. */
static void an_arena_serves_as_an_allocator(void **state)
{
    (void)state;
    enum { COUNT = 40000 };
    test_memory memory = {0};
    const pith_allocator base = test_memory_allocator(&memory);
    pith__arena arena;
    pith__arena_init(&arena, &base);
    const pith_allocator mem = pith__arena_allocator(&arena);
    pith_error err = {0};
    pith__buf buf;
    uint32_t *items = NULL;
    size_t capacity = 0;
    pith__buf_init(&buf, &mem, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        const char letter = (char)('a' + i % 26);
        assert_ok(pith__buf_append(&buf, &letter, 1, &err), err);
        assert_ok(pith__grow(&mem, &items, &capacity, i + 1, sizeof *items, &err), err);
        items[i] = i;
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_int_equal(items[i], i);
        assert_int_equal(buf.data[i], 'a' + i % 26);
    }
    assert_int_equal((uintptr_t)items % 64, 0);
    pith__buf_deinit(&buf);
    pith__free(&mem, items, capacity, sizeof *items);
    pith__arena_deinit(&arena);
    assert_int_equal(memory.live, 0);
    assert_int_equal(memory.mistakes, 0);
}

static void the_newest_piece_grows_in_place(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    const pith_allocator mem = pith__arena_allocator(&arena);
    char *older = mem.realloc(mem.user, NULL, 0, 100);
    char *newest = mem.realloc(mem.user, NULL, 0, 100);
    assert_non_null(older);
    assert_non_null(newest);
    memset(older, 'o', 100);
    memset(newest, 'n', 100);
    assert_ptr_equal(mem.realloc(mem.user, newest, 100, 5000), newest);
    assert_ptr_equal(mem.realloc(mem.user, newest, 5000, 3000), newest);
    char *next = mem.realloc(mem.user, NULL, 0, 10);
    assert_true(next >= newest + 3000); /* and what it gave back is used again */
    assert_true(next < newest + 5000);
    assert_ptr_equal(mem.realloc(mem.user, older, 100, 50), older);
    char *moved = mem.realloc(mem.user, older, 100, 200);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, older);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(moved[i], 'o');
        assert_int_equal(newest[i], 'n');
    }
    assert_null(mem.realloc(mem.user, moved, 200, SIZE_MAX));
    assert_null(mem.realloc(mem.user, moved, 200, SIZE_MAX - 70));
    assert_int_equal(moved[99], 'o');
    assert_null(mem.realloc(mem.user, moved, 200, 0));
    assert_ptr_equal(mem.realloc(mem.user, NULL, 0, 64), moved);
    assert_null(mem.realloc(mem.user, older, 100, 0));
    pith__arena_deinit(&arena);
}

/* ---- buffer ------------------------------------------------------------------------ */

static void a_buffer_holds_what_was_appended(void **state)
{
    (void)state;
    enum { ROUNDS = 2000, MAX = ROUNDS * 40 };
    static char expected[MAX + 1];
    size_t size = 0;
    test_memory memory = {0};
    const pith_allocator mem = {&memory, dirty_realloc};
    pith__buf buf;
    pith_error err = {0};
    uint64_t seed = 2;
    pith__buf_init(&buf, &mem, MAX);
    for (size_t i = 0; i < ROUNDS; i++) {
        char piece[40];
        const size_t length = test_random_below(&seed, sizeof piece);
        memset(piece, (int)('a' + i % 26), length);
        memcpy(expected + size, piece, length);
        size += length;
        assert_ok(pith__buf_append(&buf, piece, length, &err), err);
        assert_int_equal(buf.size, size);
        assert_int_equal(buf.data[size], '\0');
    }
    assert_memory_equal(buf.data, expected, size);
    assert_true(memory.count < 30);
    pith__buf_deinit(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.size, 0);
    assert_ok(pith__buf_append_text(&buf, "used again", &err), err);
    assert_string_equal(buf.data, "used again");
    pith__buf_deinit(&buf);
    pith__buf_deinit(&buf);
    assert_int_equal(memory.live, 0);
    assert_int_equal(memory.mistakes, 0);
}

static void a_buffer_stops_at_its_maximum(void **state)
{
    (void)state;
    test_memory memory = {0};
    const pith_allocator mem = test_memory_allocator(&memory);
    pith__buf buf;
    pith_error err = {0};
    pith__buf_init(&buf, &mem, 10);
    assert_ok(pith__buf_append_text(&buf, "0123456", &err), err);
    assert_status(pith__buf_append_text(&buf, "abcd", &err), PITH_E_MEMORY);
    assert_string_equal(buf.data, "0123456");
    assert_int_equal(buf.size, 7);
    assert_status(pith__buf_printf(&buf, &err, "%04d", 12), PITH_E_MEMORY);
    assert_string_equal(buf.data, "0123456");
    assert_status(pith__buf_reserve(&buf, SIZE_MAX, &err), PITH_E_MEMORY);
    assert_ok(pith__buf_append_text(&buf, "789", &err), err);
    assert_string_equal(buf.data, "0123456789");
    assert_ok(pith__buf_append(&buf, NULL, 0, &err), err);
    assert_status(pith__buf_append(&buf, "x", 1, &err), PITH_E_MEMORY);
    assert_string_equal(buf.data, "0123456789");
    pith__buf_deinit(&buf);

    pith__buf_init(&buf, &mem, 0);
    assert_status(pith__buf_append(&buf, "x", 1, &err), PITH_E_MEMORY);
    assert_ok(pith__buf_append_text(&buf, "", &err), err);
    pith__buf_deinit(&buf);
    pith__buf_init(&buf, &mem, SIZE_MAX);
    assert_status(pith__buf_reserve(&buf, SIZE_MAX, &err), PITH_E_MEMORY);
    assert_ok(pith__buf_append_text(&buf, "unbounded", &err), err);
    pith__buf_deinit(&buf);
    assert_int_equal(memory.live, 0);
}

static void a_failed_append_leaves_the_buffer_as_it_was(void **state)
{
    (void)state;
    test_memory memory = {0};
    const pith_allocator mem = test_memory_allocator(&memory);
    pith__buf buf;
    pith_error err = {0};
    char text[500];
    memset(text, 'x', sizeof text);
    pith__buf_init(&buf, &mem, 1000);
    assert_ok(pith__buf_append_text(&buf, "before", &err), err);
    memory.fail_from = memory.count + 1;
    assert_status(pith__buf_append(&buf, text, sizeof text, &err), PITH_E_MEMORY);
    assert_status(pith__buf_printf(&buf, &err, "%500d", 1), PITH_E_MEMORY);
    assert_int_equal(buf.size, 6);
    assert_string_equal(buf.data, "before");
    memory.fail_from = 0;
    assert_ok(pith__buf_append(&buf, text, sizeof text, &err), err);
    assert_int_equal(buf.size, 506);
    pith__buf_deinit(&buf);
    assert_int_equal(memory.live, 0);
}

static void printf_appends_formatted_text(void **state)
{
    (void)state;
    pith__buf buf;
    pith_error err = {0};
    pith__buf_init(&buf, &pith__allocator_default, 100000);
    assert_ok(pith__buf_printf(&buf, &err, "%s", ""), err);
    assert_string_equal(buf.data, "");
    for (int i = 0; i < 1000; i++) {
        assert_ok(pith__buf_printf(&buf, &err, "%s=%d;", "key", i), err);
    }
    assert_int_equal(buf.size, 10 * 6 + 90 * 7 + 900 * 8);
    assert_int_equal(strlen(buf.data), buf.size);
    assert_memory_equal(buf.data, "key=0;key=1;", 12);
    assert_string_equal(buf.data + buf.size - 8, "key=999;");
    pith__buf_deinit(&buf);
}

static void reserved_room_is_text_already(void **state)
{
    (void)state;
    test_memory memory = {0};
    const pith_allocator mem = {&memory, dirty_realloc};
    pith__buf buf;
    pith_error err = {0};
    pith__buf_init(&buf, &mem, 1000);
    assert_ok(pith__buf_reserve(&buf, 100, &err), err);
    assert_int_equal(buf.size, 0);
    assert_true(buf.capacity > 100);
    assert_string_equal(buf.data, "");
    const size_t count = memory.count;
    for (size_t i = 0; i < 100; i++) {
        assert_ok(pith__buf_append(&buf, "x", 1, &err), err);
    }
    assert_int_equal(memory.count, count);
    pith__buf_deinit(&buf);
}

/* ---- log --------------------------------------------------------------------------- */

typedef struct heard {
    size_t count;
    pith_log_level level;
    char message[1024];
} heard;

static void hear(void *user, pith_log_level level, const char *message)
{
    heard *h = user;
    h->count++;
    h->level = level;
    (void)snprintf(h->message, sizeof h->message, "%s", message);
}

static void the_log_reaches_its_reader(void **state)
{
    (void)state;
    heard h = {0};
    const pith__log log = {hear, &h};
    const pith__log silent = {NULL, &h};
    pith__log_print(&silent, PITH_LOG_WARNING, "%d", 1);
    assert_int_equal(h.count, 0);
    pith__log_print(&log, PITH_LOG_WARNING, "%d of %s", 1, "two");
    assert_int_equal(h.count, 1);
    assert_int_equal(h.level, PITH_LOG_WARNING);
    assert_string_equal(h.message, "1 of two");
    pith__log_print(&log, PITH_LOG_DEBUG, "%2000d", 5);
    assert_int_equal(h.count, 2);
    assert_int_equal(h.level, PITH_LOG_DEBUG);
    assert_int_equal(strlen(h.message), 511);
}

/* ---- threads ----------------------------------------------------------------------- */

#define JOBS_MAX    3000
#define WORKERS_MAX 64

typedef struct jobs {
    unsigned threads;
    atomic_int seen[JOBS_MAX];
    atomic_bool busy[WORKERS_MAX];
    atomic_int mistakes;
} jobs;

/* Counts its index; two calls at a time with the same worker are a mistake. */
static void mark_job(void *user, size_t index, unsigned worker)
{
    jobs *j = user;
    if (index >= JOBS_MAX || worker >= (j->threads == 0 ? 1 : j->threads) ||
        atomic_exchange(&j->busy[worker], true)) {
        atomic_fetch_add(&j->mistakes, 1);
        return;
    }
    atomic_fetch_add(&j->seen[index], 1);
    atomic_store(&j->busy[worker], false);
}

static void every_index_runs_exactly_once(void **state)
{
    (void)state;
    static jobs j;
    const size_t counts[] = {0, 1, 2, 3, 7, 8, 9, 100, JOBS_MAX};
    for (unsigned threads = 0; threads <= 9; threads++) {
        j.threads = threads == 9 ? WORKERS_MAX : threads;
        for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
            for (size_t i = 0; i < JOBS_MAX; i++) {
                atomic_store(&j.seen[i], 0);
            }
            pith__parallel(j.threads, counts[c], mark_job, &j);
            assert_int_equal(atomic_load(&j.mistakes), 0);
            for (size_t i = 0; i < JOBS_MAX; i++) {
                assert_int_equal(atomic_load(&j.seen[i]), i < counts[c] ? 1 : 0);
            }
        }
    }
}

static void run_inner(void *user, size_t index, unsigned worker)
{
    (void)worker;
    jobs *all = user;
    pith__parallel(4, 100, mark_job, &all[index]);
}

static void parallel_work_may_nest(void **state)
{
    (void)state;
    static jobs all[4];
    for (size_t i = 0; i < 4; i++) {
        all[i].threads = 4;
    }
    pith__parallel(2, 4, run_inner, all);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(atomic_load(&all[i].mistakes), 0);
        for (size_t k = 0; k < 100; k++) {
            assert_int_equal(atomic_load(&all[i].seen[k]), 1);
        }
    }
}

static void there_is_a_processor_and_time_passes(void **state)
{
    (void)state;
    assert_true(pith__threads_available() >= 1);
    double last = pith__seconds();
    const double start = last;
    while (last - start < 1e-3) {
        const double now = pith__seconds();
        assert_true(now >= last);
        last = now;
    }
}

/* ---- files ------------------------------------------------------------------------- */

typedef struct folder {
    char path[64];
    char file[128];
} folder;

static void folder_make(folder *f, const char *name)
{
    (void)snprintf(f->path, sizeof f->path, "/tmp/pith-base-XXXXXX");
    assert_non_null(mkdtemp(f->path));
    (void)snprintf(f->file, sizeof f->file, "%s/%s", f->path, name);
}

static void folder_remove(folder *f)
{
    (void)unlink(f->file);
    assert_int_equal(rmdir(f->path), 0);
}

static void write_file(const char *path, const char *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void a_file_is_mapped_whole(void **state)
{
    (void)state;
    static const char data[] = "line\n\0binary\xff";
    folder f;
    pith__file file;
    pith_error err = {0};
    folder_make(&f, "ordinary");
    write_file(f.file, data, sizeof data);
    assert_ok(pith__file_open(f.file, &file, &err), err);
    assert_int_equal(file.size, sizeof data);
    assert_memory_equal(file.data, data, sizeof data);
    pith__file_close(&file);
    assert_null(file.data);
    assert_int_equal(file.size, 0);
    pith__file_close(&file);
    folder_remove(&f);
}

static void an_empty_file_is_no_error(void **state)
{
    (void)state;
    folder f;
    pith__file file = {(const unsigned char *)"", 1};
    pith_error err = {0};
    folder_make(&f, "empty");
    write_file(f.file, "", 0);
    assert_ok(pith__file_open(f.file, &file, &err), err);
    assert_null(file.data);
    assert_int_equal(file.size, 0);
    pith__file_close(&file);
    folder_remove(&f);
}

static void expect_io_error(const char *path, const char *reason)
{
    pith__file file = {(const unsigned char *)"", 1};
    pith_error err = {0};
    assert_status(pith__file_open(path, &file, &err), PITH_E_IO);
    assert_null(file.data);
    assert_int_equal(file.size, 0);
    assert_int_equal(err.status, PITH_E_IO);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, reason));
}

static void what_is_no_file_is_refused_with_a_reason(void **state)
{
    (void)state;
    folder f;
    folder_make(&f, "pipe");
    expect_io_error(f.file, "No such file");
    expect_io_error(f.path, "Is a directory");
    assert_int_equal(mkfifo(f.file, 0600), 0);
    expect_io_error(f.file, "cannot open"); /* and does not wait for a writer */
    expect_io_error("/dev/null", "cannot open");
    folder_remove(&f);
}

static int open_descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        count += fcntl(fd, F_GETFD) != -1;
    }
    return count;
}

static void no_descriptor_stays_open(void **state)
{
    (void)state;
    folder f;
    pith__file file;
    pith_error err = {0};
    folder_make(&f, "ordinary");
    write_file(f.file, "x", 1);
    const int before = open_descriptors();
    assert_ok(pith__file_open(f.file, &file, &err), err);
    assert_int_equal(open_descriptors(), before);
    assert_status(pith__file_open(f.path, &(pith__file){0}, &err), PITH_E_IO);
    assert_int_equal(open_descriptors(), before);
    assert_memory_equal(file.data, "x", 1);
    pith__file_close(&file);
    folder_remove(&f);
}

/* ---- allocation failures ----------------------------------------------------------- */

static pith_status use_arena(const pith_allocator *mem, void *user)
{
    (void)user;
    pith__arena arena;
    pith__arena_init(&arena, mem);
    pith_status status = PITH_OK;
    for (size_t i = 0; i < 5 && status == PITH_OK; i++) {
        const pith__arena_mark mark = pith__arena_save(&arena);
        const size_t used = arena.used_total;
        unsigned char *bytes = NULL;
        status = pith__arena_alloc_zero(&arena, 100000, i + 1, &bytes, NULL);
        assert_true((bytes != NULL) == (status == PITH_OK));
        if (i % 2 == 1) {
            pith__arena_restore(&arena, mark);
        }
        assert_true(status == PITH_OK || arena.used_total == used);
    }
    pith__arena_deinit(&arena);
    return status;
}

static pith_status use_buffer(const pith_allocator *mem, void *user)
{
    (void)user;
    pith__buf buf;
    uint32_t *items = NULL;
    size_t capacity = 0;
    pith_status status = PITH_OK;
    pith__buf_init(&buf, mem, 100000);
    for (size_t i = 0; i < 200 && status == PITH_OK; i++) {
        status = pith__buf_printf(&buf, NULL, "%zu ", i);
        if (status == PITH_OK) {
            status = pith__grow(mem, &items, &capacity, i * 10, sizeof *items, NULL);
        }
    }
    pith__buf_deinit(&buf);
    pith__free(mem, items, capacity, sizeof *items);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    test_sweep(use_arena, NULL);
    test_sweep(use_buffer, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_carries_status_message_and_offset),
        cmocka_unit_test(a_message_is_one_line),
        cmocka_unit_test(a_long_message_is_cut),
        cmocka_unit_test(try_returns_the_first_failure),
        cmocka_unit_test(every_status_has_name_text_and_exit_code),
        cmocka_unit_test(status_numbers_are_permanent),
        cmocka_unit_test(unknown_statuses_are_answered),
        cmocka_unit_test(the_version_is_that_of_the_header),
        cmocka_unit_test(alloc_gives_what_free_takes_back),
        cmocka_unit_test(a_product_that_overflows_is_refused),
        cmocka_unit_test(the_default_allocator_works),
        cmocka_unit_test(grow_keeps_items_and_rarely_allocates),
        cmocka_unit_test(a_failed_grow_changes_nothing),
        cmocka_unit_test(arena_blocks_are_aligned_and_apart),
        cmocka_unit_test(arena_zeros_what_was_used_before),
        cmocka_unit_test(nothing_still_has_an_address_of_its_own),
        cmocka_unit_test(arena_overflow_is_refused),
        cmocka_unit_test(reset_keeps_the_largest_block_up_to_64_mib),
        cmocka_unit_test(marks_nest),
        cmocka_unit_test(a_mark_of_an_empty_arena_releases_everything),
        cmocka_unit_test(an_arena_serves_as_an_allocator),
        cmocka_unit_test(the_newest_piece_grows_in_place),
        cmocka_unit_test(a_buffer_holds_what_was_appended),
        cmocka_unit_test(a_buffer_stops_at_its_maximum),
        cmocka_unit_test(a_failed_append_leaves_the_buffer_as_it_was),
        cmocka_unit_test(printf_appends_formatted_text),
        cmocka_unit_test(reserved_room_is_text_already),
        cmocka_unit_test(the_log_reaches_its_reader),
        cmocka_unit_test(every_index_runs_exactly_once),
        cmocka_unit_test(parallel_work_may_nest),
        cmocka_unit_test(there_is_a_processor_and_time_passes),
        cmocka_unit_test(a_file_is_mapped_whole),
        cmocka_unit_test(an_empty_file_is_no_error),
        cmocka_unit_test(what_is_no_file_is_refused_with_a_reason),
        cmocka_unit_test(no_descriptor_stays_open),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
