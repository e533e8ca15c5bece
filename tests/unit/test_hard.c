/*
 * test_hard.c: units, the glue rule, budgets and Selective Context, on numbers written by hand,
 * on random ones, and on the outputs of the released Selective Context.
 */
#include "test.h"

#include "hard_official.h"
#include "hard_random.h"

static pith_error err;

/* ---- helpers ------------------------------------------------------------------ */

static pith__hard_source source_of(const char *text)
{
    return (pith__hard_source){.text = text, .size = strlen(text)};
}

/* Tokens of these lengths side by side; returns where the last one ends. */
static size_t make_tokens(const size_t *lengths, const float *nats, size_t count,
                          pith_token_score *tokens)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        tokens[i] = (pith_token_score){.start = at, .end = at + lengths[i], .nats = nats[i]};
        at += lengths[i];
    }
    return at;
}

/* A text and its units from "+a|-b|!c": kept, dropped, kept and protected. One nat, one token each. */
static pith__units make_units(const char *pieces, char *text, pith_unit *items)
{
    pith__units units = {.items = items};
    size_t size = 0;
    for (const char *at = pieces; *at != '\0';) {
        pith_unit unit = {.start = size, .tokens = 1, .nats = 1.0F};
        unit.kept = *at != '-';
        unit.is_protected = *at == '!';
        for (at++; *at != '\0' && *at != '|'; at++) {
            text[size++] = *at;
        }
        at += *at == '|';
        unit.end = size;
        items[units.count++] = unit;
    }
    text[size] = '\0';
    return units;
}

/* ---- units ------------------------------------------------------------------------ */

static void units_are_tokens_merged_to_characters(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    /* the euro sign (3 bytes) is split by two tokens */
    const pith__hard_source source = source_of("ab\xe2\x82\xac!");
    pith_token_score tokens[4];
    (void)make_tokens((size_t[]){2, 2, 1, 1}, (float[]){1, 2, 4, NAN}, 4, tokens);
    const pith__unit_input input = {.tokens = tokens, .token_count = 4};
    pith__units units;
    assert_ok(pith__units_build(&source, &input, &arena, &units, &err), err);
    assert_int_equal(units.count, 3);
    assert_int_equal(units.items[1].start, 2);
    assert_int_equal(units.items[1].end, 5);
    assert_int_equal(units.items[1].tokens, 2);
    assert_true(units.items[0].nats == 1.0F);
    assert_true(units.items[1].nats == 3.0F);
    assert_true(isnan(units.items[2].nats));
    assert_false(units.items[0].kept || units.items[0].is_protected);
    pith__arena_deinit(&arena);
}

static void units_keep_grapheme_clusters_whole(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    /* x, e + combining acute, family emoji of two joined, y */
    const pith__hard_source bare =
        source_of("xe\xcc\x81\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7y");
    pith__graphemes graphemes;
    assert_ok(
        pith__text_graphemes(bare.text, bare.size, &pith__allocator_default, &graphemes, &err),
        err);
    const pith__hard_source source = {
        .text = bare.text, .size = bare.size, .graphemes = &graphemes};
    pith_token_score tokens[6];
    (void)make_tokens((size_t[]){2, 2, 4, 3, 4, 1}, (float[]){1, 2, 3, 4, 5, 6}, 6, tokens);
    const pith__unit_input input = {.tokens = tokens, .token_count = 6};
    pith__units units;
    assert_ok(pith__units_build(&source, &input, &arena, &units, &err), err);
    assert_int_equal(units.count, 3);
    assert_int_equal(units.items[0].end, 4);
    assert_int_equal(units.items[1].end, 15);
    assert_true(units.items[1].nats == 4.0F);
    assert_ok(pith__units_build(&bare, &input, &arena, &units, &err), err);
    assert_int_equal(units.count, 6);
    pith__graphemes_deinit(&graphemes, &pith__allocator_default);
    pith__arena_deinit(&arena);
}

static void units_share_tokens_by_bytes(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    const pith__hard_source source = source_of("aaaabbbbcc");
    /* the middle token has 3 of its 4 bytes in the first unit; the last token is unknown */
    pith_token_score tokens[3];
    (void)make_tokens((size_t[]){3, 4, 3}, (float[]){2, 8, NAN}, 3, tokens);
    const pith__span spans[] = {{0, 6, 0}, {6, 8, 0}, {8, 10, 0}};
    pith__unit_input input = {
        .tokens = tokens, .token_count = 3, .spans = spans, .span_count = COUNT(spans)};
    const float expected[3][2] = {{(2.0F + 6.0F) / 1.75F, 8.0F}, {8.0F, 2.0F}, {8.0F, 8.0F}};
    for (unsigned how = 0; how < 3; how++) {
        input.aggregate = (pith__aggregate)how;
        pith__units units;
        assert_ok(pith__units_build(&source, &input, &arena, &units, &err), err);
        assert_int_equal(units.count, 3);
        assert_float_equal(units.items[0].nats, expected[how][0], 1e-6);
        assert_float_equal(units.items[1].nats, expected[how][1], 1e-6);
        assert_true(isnan(units.items[2].nats));
        assert_int_equal(units.items[0].tokens, 2);
        assert_int_equal(units.items[1].tokens, 1);
        assert_int_equal(units.items[2].tokens, 0);
    }
    pith__arena_deinit(&arena);
}

static void units_end_at_cuts_and_cover_gaps(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    const pith__hard_source source = source_of("0123456789");
    const pith__span spans[] = {{1, 4, 0}, {4, 9, 0}};
    const size_t cuts[] = {0, 2, 2, 4, 7, 10};
    const pith__span protect[] = {{3, 3, 0}, {6, 7, 0}, {8, 10, 0}};
    const pith__unit_input input = {.spans = spans,
                                    .span_count = COUNT(spans),
                                    .cuts = cuts,
                                    .cut_count = COUNT(cuts),
                                    .protect = protect,
                                    .protect_count = COUNT(protect)};
    pith__units units;
    assert_ok(pith__units_build(&source, &input, &arena, &units, &err), err);
    const size_t ends[] = {1, 2, 4, 7, 9, 10};
    const bool is_protected[] = {false, false, false, true, true, true};
    assert_int_equal(units.count, COUNT(ends));
    for (size_t i = 0; i < COUNT(ends); i++) {
        assert_int_equal(units.items[i].end, ends[i]);
        assert_int_equal(units.items[i].is_protected, is_protected[i]);
        assert_true(isnan(units.items[i].nats));
    }
    pith__arena_deinit(&arena);
}

static void units_refuse_lists_that_are_out_of_order(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    const pith__hard_source source = source_of("0123456789");
    const pith_token_score tokens[] = {{0, 4, 0, 1}, {3, 5, 0, 1}};
    const pith__span spans[] = {{4, 6, 0}, {6, 11, 0}};
    const size_t cuts[] = {5, 4};
    const pith__unit_input inputs[] = {{.tokens = tokens, .token_count = 2},
                                       {.spans = spans, .span_count = 2},
                                       {.protect = spans, .protect_count = 2},
                                       {.cuts = cuts, .cut_count = 2}};
    for (size_t i = 0; i < COUNT(inputs); i++) {
        pith__units units;
        assert_status(pith__units_build(&source, &inputs[i], &arena, &units, &err),
                      PITH_E_ARGUMENT);
        assert_null(units.items);
    }
    pith__arena_deinit(&arena);
}

static void units_of_nothing(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    const pith__hard_source source = {.text = NULL, .size = 0};
    const pith__unit_input input = {0};
    pith__units units;
    assert_ok(pith__units_build(&source, &input, &arena, &units, &err), err);
    assert_int_equal(units.count, 0);
    pith__kept kept;
    assert_ok(pith__kept_render(&source, &units, &arena, &kept, &err), err);
    assert_string_equal(kept.text, "");
    assert_ok(pith__select_percentile(&source, &units, 0.5, &arena, &kept, &err), err);
    assert_ok(pith__select_mass(&source, &units, 0.5, &arena, &kept, &err), err);
    assert_int_equal(kept.size, 0);
    pith__arena_deinit(&arena);
}

/* ---- the glue rule ------------------------------------------------------------------- */

static void glue_rule(void **state)
{
    (void)state;
    const struct {
        const char *pieces;
        const char *expected;
    } cases[] = {
        {"+one|+ two|+ three", "one two three"},
        {"+one|- two|+ three", "one three"},
        {"+one |-two |+three", "one three"},
        {"+one|-- a|+three", "one three"},
        {"+one|-,|+two", "one,two"},
        {"+one|-x|+two", "onetwo"},
        {"+one|-x-y|+two", "one-two"},
        {"+1958|-\xe5\xb9\xb4|+12", "1958\xe5\xb9\xb4"
                                    "12"},
        {"+10|-x|+20", "10x20"},
        {"+\xe6\x97\xa5|-\xe3\x80\x81|+\xe6\x9c\xac", "\xe6\x97\xa5\xe6\x9c\xac"},
        {"+a(|-x|+b", "a(b"},
        {"+one|- a\n  b|+two", "one\ntwo"},
        {"+one|- a \r\n b|+two", "one\r\ntwo"},
        {"+one |- a\nb|+two", "one \ntwo"},
        {"+one|- a\nb|+ two", "one\ntwo"},
        {"+one|- a\nb|! two", "one\n two"},
        {"+one|-\n\n|+two", "one\n\ntwo"},
        {"+one|-\n\n\n|- x|+ two", "one\n\ntwo"},
        {"+one\n|- a|-\n|+two", "one\ntwo"},
        {"+one|- a|-\n|- b|+\ntwo", "one\ntwo"},
        {"+one|- a|- b\nc|+two", "one\ntwo"},
        {"-a|+ two|+ three", "two three"},
        {"-a|+\t two", "two"},
        {"-a|+ \n two", "\n two"},
        {"-a|! two", " two"},
        {"-a|+  |+ b|+ c", "b c"},
        {"+ a|+ b|- c", " a b"},
        {"+a|+b |- c", "ab"},
        {"+a|!b |- c", "ab "},
        {"+a|+b\n|- c", "ab\n"},
        {"+a|+b|+ |- c|-d", "ab"},
        {"-a|+ |-b", ""},
        {"-a|-b", ""},
        /* an empty line is one in whichever units it lies, and wins over line breaks before it */
        {"+one|-\n|-\n|+two", "one\n\ntwo"},
        {"+one|-\n \n|+two", "one\n \ntwo"},
        {"+one|- a\nb\n\nc|+two", "one\n\ntwo"},
        {"+one|- a\n|+ \ntwo", "one\ntwo"},
        /* white space alone does not pile up after dropped text */
        {"+one|+\n\n|-a|+\n\n|-b|+\n\n|+two", "one\n\ntwo"},
        {"+one|+\n\n|-a.|+ two", "one\n\ntwo"},
        {"+one|- a|+ |- b|+ |+two", "one two"},
        {"+one|- a|!\n\n|- b|+two", "one\n\ntwo"},
        {"+a|-\xe3\x80\x80|+b", "a\xe3\x80\x80"
                                "b"},
        {"+a\xc2\xa0|- x|+b", "a\xc2\xa0"
                              "b"},
        {"-x|+\xe3\x80\x80y|-z", "y"},
        {"", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        pith__arena arena;
        pith__arena_init(&arena, &pith__allocator_default);
        char text[128];
        pith_unit items[16];
        const pith__units units = make_units(cases[i].pieces, text, items);
        const pith__hard_source source = source_of(text);
        pith__kept kept;
        assert_ok(pith__kept_render(&source, &units, &arena, &kept, &err), err);
        assert_string_equal(kept.text, cases[i].expected);
        check_ranges(&source, &kept);
        pith__kept again;
        assert_ok(pith__kept_render(&source, &units, &arena, &again, &err), err);
        assert_string_equal(again.text, cases[i].expected);
        pith__arena_deinit(&arena);
    }
}

/* Where it is known which bytes are protected, the white space before them is like any other. */
static void glue_trims_around_what_is_protected(void **state)
{
    (void)state;
    const struct {
        const char *pieces;
        pith__span protect;
        const char *expected;
    } cases[] = {
        {"-a|! 42", {2, 4, PITH__SPAN_WORD}, "42"},
        {"-a|! 42", {1, 4, PITH__SPAN_WORD}, " 42"},
        {"+one|- a\nb|! 42", {8, 10, PITH__SPAN_WORD}, "one\n42"},
        {"+one|- a\nb|! 42", {7, 9, PITH__SPAN_WORD}, "one\n 42"},
        {"!42 |-a", {0, 2, PITH__SPAN_WORD}, "42"},
        {"!42 |-a", {0, 3, PITH__SPAN_WORD}, "42 "},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        pith__arena arena;
        pith__arena_init(&arena, &pith__allocator_default);
        char text[128];
        pith_unit items[16];
        const pith__units units = make_units(cases[i].pieces, text, items);
        pith__hard_source source = source_of(text);
        source.protect = &cases[i].protect;
        source.protect_count = 1;
        pith__kept kept;
        assert_ok(pith__kept_render(&source, &units, &arena, &kept, &err), err);
        assert_string_equal(kept.text, cases[i].expected);
        pith__arena_deinit(&arena);
    }
}

static void glue_never_takes_half_a_cluster(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    /* the only white space of the gap carries a combining mark; so does the one in front */
    char text[128];
    pith_unit items[16];
    const pith__units units = make_units("-x|+ \xcc\x81"
                                         "a|-b \xcc\x81"
                                         "c|+d",
                                         text, items);
    const pith__hard_source bare = source_of(text);
    pith__graphemes graphemes;
    assert_ok(
        pith__text_graphemes(bare.text, bare.size, &pith__allocator_default, &graphemes, &err),
        err);
    const pith__hard_source source = {
        .text = bare.text, .size = bare.size, .graphemes = &graphemes};
    pith__kept kept;
    assert_ok(pith__kept_render(&source, &units, &arena, &kept, &err), err);
    assert_string_equal(kept.text, " \xcc\x81"
                                   "ad");
    pith__graphemes_deinit(&graphemes, &pith__allocator_default);
    pith__arena_deinit(&arena);
}

static void emptied_units_are_not_kept(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    char text[64];
    pith_unit items[8];
    const pith__units units = make_units("-a|+ |+b|+\t|-c", text, items);
    const pith__hard_source source = source_of(text);
    pith__kept kept;
    assert_ok(pith__kept_render(&source, &units, &arena, &kept, &err), err);
    assert_string_equal(kept.text, "b");
    const bool expected[] = {false, false, true, false, false};
    for (size_t i = 0; i < COUNT(expected); i++) {
        assert_int_equal(units.items[i].kept, expected[i]);
    }
    pith__arena_deinit(&arena);
}

/* ---- budgets ----------------------------------------------------------------------------- */

static pith_status count_fails(void *user, const char *text, size_t size, size_t *out,
                               pith_error *error)
{
    (void)text;
    (void)size;
    size_t *left = user;
    *out = 100;
    if (*left == 0) {
        return pith__fail(error, PITH_E_CANCELLED, "stopped");
    }
    --*left;
    return PITH_OK;
}

static void set_nats(pith__units *units, const float *nats)
{
    for (size_t i = 0; i < units->count; i++) {
        units->items[i].nats = nats[i];
    }
}

static void budget_takes_the_most_informative(void **state)
{
    (void)state;
    const struct {
        size_t budget;
        const char *expected;
        double threshold;
    } cases[] = {
        {0, "", (double)NAN}, {1, "c", (double)NAN}, {2, "c e", 5},        {3, "b c e", 4},
        {4, "b c d e", 4},    {5, "a b c d e", 1},   {99, "a b c d e", 1},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        pith__arena arena;
        pith__arena_init(&arena, &pith__allocator_default);
        char text[64];
        pith_unit items[8];
        pith__units units = make_units("-a|- b|- c|- d|- e", text, items);
        set_nats(&units, (float[]){1, 4, NAN, 4, 5});
        const pith__hard_source source = source_of(text);
        counting how = {.words = true};
        const pith__counter counter = {count, &how};
        pith__kept kept;
        assert_ok(
            pith__select_budget(&source, &units, &counter, cases[i].budget, &arena, &kept, &err),
            err);
        assert_string_equal(kept.text, cases[i].expected);
        assert_int_equal(kept.tokens, cases[i].budget < 5 ? cases[i].budget : 5);
        assert_true(isnan(cases[i].threshold) ? isnan(kept.threshold)
                                              : kept.threshold == cases[i].threshold);
        pith__arena_deinit(&arena);
    }
}

static void budget_fills_what_is_left(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    char text[64];
    pith_unit items[8];
    /* after the first sentence (2 words) the second (3) does not fit in 4, the third and fourth do */
    pith__units units = make_units("-one two.|- three four five.|- six.|- seven.", text, items);
    set_nats(&units, (float[]){9, 8, 7, 6});
    const pith__hard_source source = source_of(text);
    counting how = {.words = true};
    const pith__counter counter = {count, &how};
    pith__kept kept;
    assert_ok(pith__select_budget(&source, &units, &counter, 4, &arena, &kept, &err), err);
    assert_string_equal(kept.text, "one two. six. seven.");
    assert_int_equal(kept.tokens, 4);
    assert_true(kept.threshold == 9.0);
    pith__arena_deinit(&arena);
}

/* Kept units so far apart that the cost of a small one is found without its neighbours. */
static void budget_fills_far_from_everything(void **state)
{
    (void)state;
    enum { UNITS = 4000, SIZE = 40000 };
    static const char small[9] = {' ', 'x'};
    static const char large[9] = {' ', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'};
    char *text = malloc(SIZE);
    pith_unit *items = malloc(UNITS * sizeof *items);
    assert_non_null(text);
    assert_non_null(items);
    uint64_t seed = 3;
    size_t size = 0;
    for (size_t i = 0; i < UNITS; i++) {
        const bool is_small = i % 10 == 0;
        const size_t length = is_small ? 2 : 9;
        const float nats = (float)(1 + test_random_below(&seed, 1000000));
        memcpy(text + size, is_small ? small : large, sizeof large);
        items[i] = (pith_unit){
            .start = size, .end = size + length, .nats = is_small ? 0.5F : nats, .tokens = 1};
        size += length;
    }
    const pith__hard_source source = {.text = text, .size = size};
    pith__units units = {items, UNITS, NULL};
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    counting how = {.words = false};
    const pith__counter counter = {count, &how};
    pith__kept kept;
    assert_ok(pith__select_budget(&source, &units, &counter, 42, &arena, &kept, &err), err);
    /* 18 units of nine bytes are 41 tokens, 19 are 43: only small ones bring it to 42 */
    assert_int_equal(kept.tokens, 42);
    assert_in_range(kept.size, 165, 168);
    check_ranges(&source, &kept);
    pith__arena_deinit(&arena);
    free(items);
    free(text);
}

static void budget_keeps_the_protected(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    char text[64];
    pith_unit items[8];
    pith__units units = make_units("-a|! b |- c|! d|- e", text, items);
    set_nats(&units, (float[]){9, 0, 9, 0, 9});
    const pith__hard_source source = source_of(text);
    counting how = {.words = true};
    const pith__counter counter = {count, &how};
    pith__kept kept;
    assert_ok(pith__select_budget(&source, &units, &counter, 2, &arena, &kept, &err), err);
    assert_string_equal(kept.text, " b  d");
    assert_status(pith__select_budget(&source, &units, &counter, 1, &arena, &kept, &err),
                  PITH_E_BUDGET);
    assert_non_null(strstr(err.message, "2 tokens"));
    assert_non_null(strstr(err.message, "budget is 1"));
    assert_null(kept.text);
    pith__arena_deinit(&arena);
}

static void budget_hands_up_the_counter(void **state)
{
    (void)state;
    for (size_t left = 0; left < 3; left++) {
        pith__arena arena;
        pith__arena_init(&arena, &pith__allocator_default);
        char text[64];
        pith_unit items[8];
        pith__units units = make_units("-a|- b|- c|- d|- e", text, items);
        const pith__hard_source source = source_of(text);
        size_t calls = left;
        const pith__counter counter = {count_fails, &calls};
        pith__kept kept;
        const pith_status status =
            pith__select_budget(&source, &units, &counter, left == 2 ? 99 : 1, &arena, &kept, &err);
        assert_int_equal(status, left == 2 ? PITH_E_BUDGET : PITH_E_CANCELLED);
        pith__arena_deinit(&arena);
    }
}

/* 300,000 units of six bytes: few full counts, the budget met to the token. */
static void budget_of_a_long_text(void **state)
{
    (void)state;
    enum { UNITS = 300000, SIZE = 6 };
    char *text = malloc((size_t)UNITS * SIZE);
    pith_unit *items = malloc(UNITS * sizeof *items);
    assert_non_null(text);
    assert_non_null(items);
    uint64_t seed = 7;
    for (size_t i = 0; i < UNITS; i++) {
        memcpy(text + i * SIZE, " words", SIZE);
        items[i] = (pith_unit){.start = i * SIZE,
                               .end = (i + 1) * SIZE,
                               .nats = (float)test_random_below(&seed, 1000000) / 1e5F,
                               .tokens = 1};
    }
    const pith__hard_source source = {.text = text, .size = (size_t)UNITS * SIZE};
    pith__units units = {items, UNITS, NULL};
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    counting how = {.words = true};
    const pith__counter counter = {count, &how};
    pith__kept kept;
    assert_ok(pith__select_budget(&source, &units, &counter, 100001, &arena, &kept, &err), err);
    assert_int_equal(kept.tokens, 100001);
    check_ranges(&source, &kept);
    assert_true(how.bytes < (size_t)20 * UNITS * SIZE);
    pith__arena_deinit(&arena);
    free(items);
    free(text);
}

/* ---- percentile and mass --------------------------------------------------------------------- */

static void percentile_by_interpolation(void **state)
{
    (void)state;
    const struct {
        double share;
        double threshold;
        const char *expected;
    } cases[] = {
        {0.0, 1.0, "a b c d e f"}, {0.25, 2.0, "a b d e f"}, {0.5, 3.0, "a b d f"},
        {0.6, 3.4, "a b f"},       {1.0, 5.0, "a b f"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        pith__arena arena;
        pith__arena_init(&arena, &pith__allocator_default);
        char text[64];
        pith_unit items[8];
        /* a is unknown, b protected */
        pith__units units = make_units("-a|! b|- c|- d|- e|- f", text, items);
        set_nats(&units, (float[]){NAN, 4, 1, 3, 2, 5});
        const pith__hard_source source = source_of(text);
        pith__kept kept;
        assert_ok(pith__select_percentile(&source, &units, cases[i].share, &arena, &kept, &err),
                  err);
        assert_float_equal(kept.threshold, cases[i].threshold, 1e-12);
        assert_string_equal(kept.text, cases[i].expected);
        pith__arena_deinit(&arena);
    }
}

static void mass_takes_the_smallest_set(void **state)
{
    (void)state;
    const struct {
        double mass;
        const char *expected;
    } cases[] = {
        /* total 15: protected b holds 4 */
        {0.0, "a b"},      {0.26, "a b"},       {0.27, "a b f"},      {0.6, "a b f"},
        {0.61, "a b d f"}, {0.81, "a b d e f"}, {1.0, "a b c d e f"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        pith__arena arena;
        pith__arena_init(&arena, &pith__allocator_default);
        char text[64];
        pith_unit items[8];
        pith__units units = make_units("-a|! b|- c|- d|- e|- f", text, items);
        set_nats(&units, (float[]){NAN, 4, 1, 3, 2, 5});
        const pith__hard_source source = source_of(text);
        pith__kept kept;
        assert_ok(pith__select_mass(&source, &units, cases[i].mass, &arena, &kept, &err), err);
        assert_string_equal(kept.text, cases[i].expected);
        pith__arena_deinit(&arena);
    }
}

/* ---- the release: by hand ------------------------------------------------------------------------ */

/* "One two?  Three." in tokens that do not respect words; the sentence break is a tab. */
static void official_by_hand(void **state)
{
    (void)state;
    const pith__hard_source source = source_of(" One\n two?\tThree.");
    pith__official official;
    assert_ok(
        pith__official_split(source.text, source.size, &pith__allocator_default, &official, &err),
        err);
    assert_int_equal(official.sentences.count, 2);
    /* "One", " ", "tw", "o?" | "Thr", "ee", "." */
    pith_token_score first[4];
    pith_token_score second[3];
    (void)make_tokens((size_t[]){3, 1, 2, 2}, (float[]){4, 7, 1, 3}, 4, first);
    (void)make_tokens((size_t[]){3, 2, 1}, (float[]){6, 2, 1}, 3, second);
    const pith__span first_units[] = {{0, 3, 0}, {3, 7, 0}, {7, 8, 0}};
    const pith__span second_units[] = {{0, 1, 0}, {1, 2, 0}, {2, 3, 0}, {3, 6, 0}};
    const pith__official_sentence sentences[] = {{first, 4, first_units, 3},
                                                 {second, 3, second_units, 4}};
    const struct {
        pith__official_level level;
        double share;
        const char *expected;
        size_t ranges;
        double nats[8];
    } cases[] = {
        /* "o?" ends beyond " two": half of it for " two", half for "?"; the lone " " is left out */
        {PITH__OFFICIAL_UNIT, 0.0, "One two? Three.", 3, {4, (1 + 1.5) / 2, 1.5, 2, 2, 2, 1.5}},
        {PITH__OFFICIAL_UNIT, 0.5, "One Thr", 2, {4, 1.25, 1.5, 2, 2, 2, 1.5}},
        {PITH__OFFICIAL_TOKEN, 0.0, "One two?Three.", 3, {4, 7, 1, 3, 6, 2, 1}},
        {PITH__OFFICIAL_TOKEN, 0.5, "One o?Thr", 3, {4, 7, 1, 3, 6, 2, 1}},
        {PITH__OFFICIAL_SENTENCE, 0.0, "One two? Three.", 3, {3.75, 3}},
        {PITH__OFFICIAL_SENTENCE, 0.5, "One two? ", 2, {3.75, 3}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        pith__arena arena;
        pith__arena_init(&arena, &pith__allocator_default);
        const pith__official_input input = {&official, sentences, cases[i].level, cases[i].share};
        pith__units units;
        pith__kept kept;
        assert_ok(pith__select_official(&source, &input, &arena, &units, &kept, &err), err);
        for (size_t u = 0; u < units.count; u++) {
            assert_float_equal(units.items[u].nats, cases[i].nats[u], 1e-6);
        }
        assert_string_equal(kept.text, cases[i].expected);
        assert_int_equal(kept.range_count, cases[i].ranges);
        pith__arena_deinit(&arena);
    }
    pith__official_deinit(&official, &pith__allocator_default);
}

static void official_of_nothing_and_of_damage(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    const pith__hard_source source = source_of("Ab.");
    pith__span sentence = {0, 3, PITH__SPAN_WORD};
    char text[] = "Ab.";
    pith__official official = {.text = text, .size = 3};
    pith_token_score tokens[2];
    (void)make_tokens((size_t[]){1, 1}, (float[]){1, 2}, 2, tokens);
    const pith__span units[] = {{0, 2, 0}};
    const pith__official_sentence given = {tokens, 2, units, 1};
    pith__official_input input = {&official, &given, PITH__OFFICIAL_UNIT, 0.5};
    pith__units out;
    pith__kept kept;
    assert_ok(pith__select_official(&source, &input, &arena, &out, &kept, &err), err);
    assert_int_equal(out.count, 0);
    assert_string_equal(kept.text, "");
    assert_true(isnan(kept.threshold));

    official.sentences = (pith__spans){&sentence, 1, 1};
    assert_status(pith__select_official(&source, &input, &arena, &out, &kept, &err),
                  PITH_E_ARGUMENT); /* tokens too short */
    sentence.end = 2;
    tokens[1].nats = NAN;
    assert_ok(pith__select_official(&source, &input, &arena, &out, &kept, &err), err);
    assert_string_equal(kept.text, "Ab"); /* NaN stays */
    input.sentences =
        &(pith__official_sentence){tokens, 2, &(pith__span){0, 1, PITH__SPAN_WORD}, 1};
    assert_status(pith__select_official(&source, &input, &arena, &out, &kept, &err),
                  PITH_E_ARGUMENT); /* units too short */
    input.sentences =
        &(pith__official_sentence){tokens, 2, &(pith__span){1, 2, PITH__SPAN_WORD}, 1};
    assert_status(pith__select_official(&source, &input, &arena, &out, &kept, &err),
                  PITH_E_ARGUMENT); /* units too late */
    input.sentences = &given;
    tokens[1].start = 0;
    assert_status(pith__select_official(&source, &input, &arena, &out, &kept, &err),
                  PITH_E_ARGUMENT); /* tokens overlap */
    tokens[1].start = 1;
    sentence.end = 4;
    assert_status(pith__select_official(&source, &input, &arena, &out, &kept, &err),
                  PITH_E_ARGUMENT);
    pith__arena_deinit(&arena);
}

/* No space between two sentences to map the joiner to, and a character shared by two tokens. */
static void official_joins_what_touches(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    char text[] = "\xc3\xa9.B.";
    const pith__hard_source source = source_of(text);
    pith__span spans[] = {{0, 3, PITH__SPAN_WORD}, {3, 5, PITH__SPAN_WORD}};
    pith__official official = {.text = text, .size = 5, .sentences = {spans, 2, 2}};
    pith_token_score tokens[5];
    (void)make_tokens((size_t[]){1, 1, 1}, (float[]){1, 3, 4}, 3, tokens);
    (void)make_tokens((size_t[]){1, 1}, (float[]){9, 1}, 2, tokens + 3);
    const pith__official_sentence sentences[] = {{tokens, 3, NULL, 0}, {tokens + 3, 2, NULL, 0}};
    pith__official_input input = {&official, sentences, PITH__OFFICIAL_SENTENCE, 0.0};
    pith__units units;
    pith__kept kept;
    assert_ok(pith__select_official(&source, &input, &arena, &units, &kept, &err), err);
    assert_string_equal(kept.text, "\xc3\xa9. B.");
    input.level = PITH__OFFICIAL_TOKEN;
    input.share = 0.4; /* of 2, 4, 9, 1: 2.4 */
    assert_ok(pith__select_official(&source, &input, &arena, &units, &kept, &err), err);
    assert_int_equal(units.count, 4);
    assert_int_equal(units.items[0].tokens, 2);
    assert_true(units.items[0].nats == 2.0F);
    assert_string_equal(kept.text, ".B");
    pith__arena_deinit(&arena);
}

/* ---- the release: its own outputs, and random texts ------------------------------ */

static void official_reproduces_the_release(void **state)
{
    (void)state;
    require_shared();
    size_t size = 0;
    char *model = test_read_file(test_path("shared", "golden/models/boot-ckpt.gguf"), &size);
    pith__gguf gguf;
    assert_ok(pith__gguf_parse(model, size, &pith__allocator_default, &gguf, &err), err);
    pith__tokenizer *tokenizer = NULL;
    assert_ok(pith__tokenizer_from_gguf(&gguf, &pith__allocator_default, &tokenizer, &err), err);

    json_t *root = golden_load(test_path("shared", "golden/selective_context/cases.json"));
    const json_t *cases = json_object_get(root, "cases");
    size_t runs = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        golden g = {0};
        golden_open(&g, json_array_get(cases, i), tokenizer);
        const json_t *list = json_object_get(g.object, "runs");
        for (size_t k = 0; k < json_array_size(list); k++, runs++) {
            golden_run(&g, json_array_get(list, k));
        }
        golden_close(&g);
    }
    print_message("%zu runs of the release reproduced\n", runs);
    assert_true(runs >= 100);
    json_decref(root);
    pith__tokenizer_free(tokenizer);
    pith__gguf_deinit(&gguf);
    free(model);
}

static void random_properties(void **state)
{
    (void)state;
    uint64_t seed = 2026;
    random_case *c = calloc(1, sizeof *c);
    assert_non_null(c);
    for (size_t round = 0; round < 4000; round++) {
        random_case_init(c, &seed);
        pith__arena arena;
        pith__arena_init(&arena, &pith__allocator_default);
        pith__units units;
        assert_ok(pith__units_build(&c->source, &c->input, &arena, &units, &err), err);
        check_units(c, &units);
        check_budget(c, &units, &arena);
        const double share = (double)test_random_below(&seed, 101) / 100.0;
        pith__kept kept;
        assert_ok(pith__select_percentile(&c->source, &units, share, &arena, &kept, &err), err);
        check_kept(c, &units, &kept);
        assert_ok(pith__select_mass(&c->source, &units, share, &arena, &kept, &err), err);
        check_kept(c, &units, &kept);
        pith__graphemes_deinit(&c->graphemes, &pith__allocator_default);
        pith__arena_deinit(&arena);
    }
    free(c);
}

/* ---- allocations ------------------------------------------------------------------------------------ */

static pith_status sweep_body(const pith_allocator *mem, void *user)
{
    random_case *c = user;
    pith__arena arena;
    pith__arena_init(&arena, mem);
    pith__units units;
    pith__kept kept;
    counting how = {.words = true};
    const pith__counter counter = {count, &how};
    pith_status status = pith__units_build(&c->source, &c->input, &arena, &units, &err);
    /* one block holds them all: ask for a new one every time */
    char *block = NULL;
    const pith_status filled = pith__arena_alloc(&arena, (size_t)256 * 1024 - 64, 1, &block, &err);
    status = status == PITH_OK ? filled : status;
    if (status == PITH_OK) {
        status = pith__select_budget(&c->source, &units, &counter, 8, &arena, &kept, &err);
    }
    if (status == PITH_OK) {
        status = pith__arena_alloc(&arena, (size_t)256 * 1024 - 64, 1, &block, &err);
    }
    if (status == PITH_OK) {
        status = pith__select_percentile(&c->source, &units, 0.5, &arena, &kept, &err);
    }
    if (status == PITH_OK) {
        status = pith__arena_alloc(&arena, (size_t)256 * 1024 - 64, 1, &block, &err);
    }
    if (status == PITH_OK) {
        status = pith__select_mass(&c->source, &units, 0.5, &arena, &kept, &err);
    }
    pith__arena_deinit(&arena);
    return status;
}

static pith_status sweep_official(const pith_allocator *mem, void *user)
{
    const char *text = user;
    const pith__hard_source source = source_of(text);
    pith__official official;
    PITH__TRY(pith__official_split(source.text, source.size, mem, &official, &err));
    const size_t size = official.sentences.items[0].end - official.sentences.items[0].start;
    const pith_token_score token = {0, size, 0, 1.0F};
    const pith__span unit = {0, size, PITH__SPAN_WORD};
    const pith__official_sentence sentence = {&token, 1, &unit, 1};
    pith__arena arena;
    pith__arena_init(&arena, mem);
    pith_status status = PITH_OK;
    for (unsigned level = 0; level < 3 && status == PITH_OK; level++) {
        const pith__official_input input = {&official, &sentence, (pith__official_level)level, 0.5};
        pith__units units;
        pith__kept kept;
        status = pith__select_official(&source, &input, &arena, &units, &kept, &err);
    }
    pith__arena_deinit(&arena);
    pith__official_deinit(&official, mem);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    random_case *c = calloc(1, sizeof *c);
    assert_non_null(c);
    uint64_t seed = 5;
    random_text(c, &seed);
    memcpy(c->text, "some words to be dropped, and some to be kept", 46);
    c->source.size = 45;
    random_lists(c, &seed);
    c->input.protect_count = 0;
    test_sweep(sweep_body, c);
    free(c);
    char text[] = "One sentence.";
    test_sweep(sweep_official, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_are_tokens_merged_to_characters),
        cmocka_unit_test(units_keep_grapheme_clusters_whole),
        cmocka_unit_test(units_share_tokens_by_bytes),
        cmocka_unit_test(units_end_at_cuts_and_cover_gaps),
        cmocka_unit_test(units_refuse_lists_that_are_out_of_order),
        cmocka_unit_test(units_of_nothing),
        cmocka_unit_test(glue_rule),
        cmocka_unit_test(glue_trims_around_what_is_protected),
        cmocka_unit_test(glue_never_takes_half_a_cluster),
        cmocka_unit_test(emptied_units_are_not_kept),
        cmocka_unit_test(budget_takes_the_most_informative),
        cmocka_unit_test(budget_fills_what_is_left),
        cmocka_unit_test(budget_fills_far_from_everything),
        cmocka_unit_test(budget_keeps_the_protected),
        cmocka_unit_test(budget_hands_up_the_counter),
        cmocka_unit_test(budget_of_a_long_text),
        cmocka_unit_test(percentile_by_interpolation),
        cmocka_unit_test(mass_takes_the_smallest_set),
        cmocka_unit_test(official_by_hand),
        cmocka_unit_test(official_of_nothing_and_of_damage),
        cmocka_unit_test(official_joins_what_touches),
        cmocka_unit_test(official_reproduces_the_release),
        cmocka_unit_test(random_properties),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("hard", tests, NULL, NULL);
}
