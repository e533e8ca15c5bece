/*
 * hard_random.h: random texts with random units, scores, cuts and protection, and what must hold
 * for every selection from them, written from the documentation.
 */
#ifndef PITH_HARD_RANDOM_H
#define PITH_HARD_RANDOM_H

#include "test.h"

#include "hard/hard.h"

#include <math.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- counting -------------------------------------------------------------------- */

typedef struct counting {
    bool words; /* else bytes / 4, rounded up */
    size_t calls;
    size_t bytes;
} counting;

static pith_status count(void *user, const char *text, size_t size, size_t *out, pith_error *error)
{
    (void)error;
    counting *how = user;
    how->calls++;
    how->bytes += size;
    if (!how->words) {
        *out = (size + 3) / 4;
        return PITH_OK;
    }
    bool inside = false;
    for (size_t i = 0; i < size; i++) {
        const bool space = text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r');
        *out += !space && !inside;
        inside = !space;
    }
    return PITH_OK;
}

/* ---- ranges ------------------------------------------------------------------------ */

static void check_ranges(const pith__hard_source *source, const pith__kept *kept)
{
    size_t at = 0;
    for (size_t i = 0; i < kept->range_count; i++) {
        const pith_range range = kept->ranges[i];
        assert_true(range.start < range.end && range.end <= source->size);
        assert_true(i == 0 || range.start > kept->ranges[i - 1].end);
        const size_t size = range.end - range.start;
        assert_true(at + size <= kept->size);
        assert_memory_equal(kept->text + at, source->text + range.start, size);
        at += size;
    }
    assert_int_equal(at, kept->size);
    assert_int_equal(kept->text[kept->size], '\0');
}

/* ---- random texts --------------------------------------------------------------------------------- */

enum { TEXT_MAX = 1024, LIST_MAX = TEXT_MAX + 1 };

typedef struct random_case {
    char text[TEXT_MAX];
    pith__hard_source source;
    pith__graphemes graphemes;
    pith_token_score tokens[LIST_MAX];
    pith__span spans[LIST_MAX];
    size_t cuts[16];
    pith__span protect[16];
    pith__unit_input input;
    counting how;
    size_t budget;
} random_case;

/* Text of words, CJK, clusters, odd white space and bytes that are no UTF-8. */
static void random_text(random_case *c, uint64_t *seed)
{
    static const char *const pieces[] = {"word",
                                         "a",
                                         "I",
                                         "compress",
                                         ".",
                                         ",",
                                         "42",
                                         " ",
                                         " ",
                                         " ",
                                         " ",
                                         "  ",
                                         "\t",
                                         "\n",
                                         "\n\n",
                                         "\r\n",
                                         "\r",
                                         "\xe6\xbc\xa2",
                                         "\xe5\xad\x97",
                                         "\xe3\x80\x80",
                                         "\xe3\x80\x82",
                                         "\xc2\xa0",
                                         "e\xcc\x81",
                                         "\xcc\x88",
                                         "\xf0\x9f\x98\x80",
                                         "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7",
                                         "\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa",
                                         "\xff",
                                         "\xe2\x82",
                                         "\xd8\x80",
                                         "\xe2\x80\xa8"};
    const size_t limit = test_random_below(seed, test_random_below(seed, 8) == 0 ? TEXT_MAX : 96);
    size_t size = 0;
    for (;;) {
        const char *piece = pieces[test_random_below(seed, COUNT(pieces))];
        if (size + strlen(piece) > limit) {
            break;
        }
        memcpy(c->text + size, piece, strlen(piece));
        size += strlen(piece);
    }
    c->source = (pith__hard_source){.text = c->text, .size = size};
}

static float random_nats(uint64_t *seed)
{
    return test_random_below(seed, 12) == 0 ? NAN : (float)test_random_below(seed, 40) / 4.0F;
}

/* Ascending offsets in [0, size]; returns how many. */
static size_t random_offsets(uint64_t *seed, size_t size, size_t mean, size_t max, size_t *out)
{
    size_t n = 0;
    for (size_t at = test_random_below(seed, mean); at <= size && n < max;
         at += 1 + test_random_below(seed, mean)) {
        out[n++] = at;
    }
    return n;
}

static void random_lists(random_case *c, uint64_t *seed)
{
    size_t offsets[LIST_MAX];
    size_t n = random_offsets(seed, c->source.size, 7, LIST_MAX, offsets);
    for (size_t i = 0; i + 1 < n; i++) {
        c->tokens[i] = (pith_token_score){offsets[i], offsets[i + 1], 0, random_nats(seed)};
    }
    c->input = (pith__unit_input){.tokens = c->tokens, .token_count = n > 0 ? n - 1 : 0};
    c->input.aggregate = (pith__aggregate)test_random_below(seed, 3);
    if (test_random_below(seed, 2) == 0) {
        n = random_offsets(seed, c->source.size, 12, LIST_MAX, offsets);
        for (size_t i = 0; i + 1 < n; i++) {
            c->spans[i] = (pith__span){offsets[i], offsets[i + 1], PITH__SPAN_WORD};
        }
        c->input.spans = c->spans;
        c->input.span_count = n > 0 ? n - 1 : 0;
    }
    if (test_random_below(seed, 3) == 0) {
        n = random_offsets(seed, c->source.size, 60, COUNT(c->cuts), c->cuts);
        c->input.cuts = c->cuts;
        for (size_t i = 0; i < n; i++) { /* tags and code fences never split a character */
            if (pith__utf8_is_boundary(c->text, c->source.size, c->cuts[i])) {
                c->cuts[c->input.cut_count++] = c->cuts[i];
            }
        }
    }
    if (test_random_below(seed, 2) == 0) {
        n = random_offsets(seed, c->source.size, 50, COUNT(c->protect), offsets);
        for (size_t i = 0; i + 1 < n; i += 2) {
            c->protect[i / 2] = (pith__span){offsets[i], offsets[i + 1], PITH__SPAN_WORD};
        }
        c->input.protect = c->protect;
        c->input.protect_count = n / 2;
    }
}

static void random_case_init(random_case *c, uint64_t *seed)
{
    pith_error err;
    memset(c, 0, sizeof *c);
    random_text(c, seed);
    random_lists(c, seed);
    if (test_random_below(seed, 4) > 0) {
        assert_ok(pith__text_graphemes(c->text, c->source.size, &pith__allocator_default,
                                       &c->graphemes, &err),
                  err);
        c->source.graphemes = &c->graphemes;
    }
    c->how.words = test_random_below(seed, 2) == 0;
    c->budget = test_random_below(seed, 1 + c->source.size / (test_random_below(seed, 8) + 1));
}

static bool is_cut(const random_case *c, size_t offset)
{
    for (size_t i = 0; i < c->input.cut_count; i++) {
        if (c->input.cuts[i] == offset) {
            return true;
        }
    }
    return false;
}

/* Written from the documentation, not from the library. */
static bool whole(const random_case *c, size_t offset)
{
    return c->source.graphemes == NULL ? pith__utf8_is_boundary(c->text, c->source.size, offset)
                                       : pith__graphemes_is_boundary(&c->graphemes, offset);
}

static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0xa0 || c == 0x2028 || c == 0x3000;
}

static void check_units(const random_case *c, const pith__units *units)
{
    size_t at = 0;
    size_t tokens = 0;
    for (size_t i = 0; i < units->count; i++) {
        const pith_unit *unit = &units->items[i];
        assert_int_equal(unit->start, at);
        assert_true(unit->end > at);
        assert_true(whole(c, unit->end) || is_cut(c, unit->end));
        at = unit->end;
        tokens += unit->tokens;
        bool touches = false;
        for (size_t p = 0; p < c->input.protect_count; p++) {
            const pith__span *span = &c->input.protect[p];
            touches = touches || (span->start < unit->end && span->end > unit->start);
        }
        assert_int_equal(unit->is_protected, touches);
    }
    assert_int_equal(at, c->source.size);
    assert_int_equal(tokens, c->input.token_count);
}

/* Between two ranges: white space in the output wherever the dropped text had some. */
static void check_no_fused_words(const random_case *c, const pith__kept *kept)
{
    for (size_t i = 0; i + 1 < kept->range_count; i++) {
        const size_t from = kept->ranges[i].end;
        const size_t to = kept->ranges[i + 1].start;
        uint32_t before = 0;
        uint32_t after = 0;
        (void)pith__utf8_decode_before(c->text, c->source.size, from, &before);
        (void)pith__utf8_decode(c->text, c->source.size, to, &after);
        bool dropped_space = false;
        for (size_t at = from; at < to;) {
            uint32_t code_point = 0;
            const size_t length = pith__utf8_decode(c->text, c->source.size, at, &code_point);
            const bool alone = whole(c, at) && whole(c, at + length) && at + length <= to;
            dropped_space = dropped_space || (is_space(code_point) && alone);
            at += length;
        }
        assert_true(!dropped_space || is_space(before) || is_space(after));
    }
}

static void check_kept(const random_case *c, const pith__units *units, const pith__kept *kept)
{
    check_ranges(&c->source, kept);
    for (size_t i = 0; i < kept->range_count; i++) {
        const pith_range range = kept->ranges[i];
        assert_true(whole(c, range.start) || is_cut(c, range.start));
        assert_true(whole(c, range.end) || is_cut(c, range.end));
    }
    size_t range = 0;
    for (size_t i = 0; i < units->count; i++) {
        const pith_unit *unit = &units->items[i];
        while (range < kept->range_count && kept->ranges[range].end < unit->end) {
            range++;
        }
        if (unit->is_protected) {
            assert_true(unit->kept && range < kept->range_count);
            assert_true(kept->ranges[range].start <= unit->start);
        }
    }
    check_no_fused_words(c, kept);
}

/* What the rule alone gives: the longest prefix of the ranking that fits, by trying them all. */
static size_t best_prefix_tokens(random_case *c, pith__units *units, pith__arena *arena)
{
    pith_error err;
    size_t best = 0;
    bool done = false;
    for (size_t i = 0; i < units->count; i++) {
        units->items[i].kept = units->items[i].is_protected;
    }
    while (!done) {
        pith__kept kept;
        pith_unit *next = NULL;
        for (size_t i = 0; i < units->count; i++) {
            pith_unit *unit = &units->items[i];
            const bool better = next == NULL || (!isnan(next->nats) &&
                                                 (isnan(unit->nats) || unit->nats > next->nats));
            if (!unit->kept && better) {
                next = unit;
            }
        }
        done = next == NULL;
        if (!done) {
            next->kept = true;
            bool *flags = calloc(units->count, sizeof *flags);
            assert_non_null(flags);
            for (size_t i = 0; i < units->count; i++) {
                flags[i] = units->items[i].kept;
            }
            assert_ok(pith__kept_render(&c->source, units, arena, &kept, &err), err);
            for (size_t i = 0; i < units->count; i++) {
                units->items[i].kept = flags[i];
            }
            free(flags);
            size_t tokens = 0;
            assert_ok(count(&c->how, kept.text, kept.size, &tokens, &err), err);
            done = tokens > c->budget;
            best = done ? best : tokens;
        }
    }
    return best;
}

static void check_budget(random_case *c, pith__units *units, pith__arena *arena)
{
    pith_error err;
    const pith__counter counter = {count, &c->how};
    pith__kept kept;
    const pith_status status =
        pith__select_budget(&c->source, units, &counter, c->budget, arena, &kept, &err);
    if (status != PITH_OK) {
        assert_int_equal(status, PITH_E_BUDGET);
        for (size_t i = 0; i < units->count; i++) {
            units->items[i].kept = units->items[i].is_protected;
        }
        assert_ok(pith__kept_render(&c->source, units, arena, &kept, &err), err);
        size_t tokens = 0;
        assert_ok(count(&c->how, kept.text, kept.size, &tokens, &err), err);
        assert_true(tokens > c->budget);
        return;
    }
    size_t tokens = 0;
    size_t all = 0;
    assert_ok(count(&c->how, kept.text, kept.size, &tokens, &err), err);
    assert_ok(count(&c->how, c->text, c->source.size, &all, &err), err);
    assert_int_equal(tokens, kept.tokens);
    assert_true(tokens <= c->budget);
    check_kept(c, units, &kept);
    if (c->budget >= all) {
        assert_int_equal(kept.size, c->source.size);
    }

    pith__kept again;
    assert_ok(pith__kept_render(&c->source, units, arena, &again, &err), err);
    assert_int_equal(again.size, kept.size);
    assert_memory_equal(again.text, kept.text, kept.size);
    assert_ok(pith__select_budget(&c->source, units, &counter, c->budget, arena, &again, &err),
              err);
    assert_int_equal(again.size, kept.size);
    assert_memory_equal(again.text, kept.text, kept.size);
    /* the counts are monotone here but for white space at the ends, worth one token at most */
    assert_true(kept.tokens + 1 >= best_prefix_tokens(c, units, arena));
}

#endif /* PITH_HARD_RANDOM_H */
