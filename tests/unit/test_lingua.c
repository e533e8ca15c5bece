/*
 * test_lingua.c: the parts of LLMLingua with numbers written by hand, and the whole of it with a
 * toy model: modes official and paper.
 */
#include "lingua/lingua_internal.h"

#include "lingua_toy.h"

static pith__lingua_text text_of(const char *text)
{
    return (pith__lingua_text){text[0] == '\0' ? NULL : text, strlen(text)};
}

static pith__lingua_options options_of(pith__lingua_mode mode, double rate, size_t size)
{
    const bool official = mode == PITH__LINGUA_OFFICIAL;
    return (pith__lingua_options){
        .mode = mode,
        .rate = rate,
        .target_token = -1.0,
        .iterative_size = size,
        .force_context_number = -1.0,
        .use_context_level_filter = true,
        .use_token_level_filter = true,
        .high_priority_bonus = 100.0,
        .context_budget =
            official ? (pith__budget_change){'+', 100.0} : (pith__budget_change){'*', 2.0},
        .token_budget_ratio = 1.4,
        .concate_question = true,
        .strict_preserve_uncompressed = true,
        .tau_ins = 0.85,
        .tau_que = 0.9,
        .regex_sentences = true,
    };
}

/* ---- Python's arithmetic ------------------------------------------------------------------------ */

static void slice_bounds(void **state)
{
    (void)state;
    assert_int_equal(pith__slice_bound(3, 5), 3);
    assert_int_equal(pith__slice_bound(9, 5), 5);
    assert_int_equal(pith__slice_bound(-2, 5), 3);
    assert_int_equal(pith__slice_bound(-5, 5), 0);
    assert_int_equal(pith__slice_bound(-9, 5), 0);
    assert_int_equal(pith__slice_bound(INT64_MIN, 5), 0);
    assert_int_equal(pith__slice_bound(0, 0), 0);
}

/* bytes.decode("utf-8", errors="replace"): how many characters. */
static void decoded_characters(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t characters;
    } cases[] = {
        {"", 0},
        {"abc", 3},
        {"\xE6\x97\xA5\xF0\x9F\x98\x80", 2},
        {"\xE6\x97", 1}, /* a beginning */
        {"\x97\xA5", 2}, /* an end */
        {"\xE6\x97"
         "a",
         2},
        {"\xF0\x9F\x98\xE6", 2},
        {"\xC0\xAF", 2},         /* overlong */
        {"\xED\xA0\x80", 3},     /* a surrogate */
        {"\xF4\x90\x80\x80", 4}, /* beyond U+10FFFF */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(pith__lingua_characters(cases[i].bytes, strlen(cases[i].bytes)),
                         cases[i].characters);
    }
}

/* ---- thresholds and masks ------------------------------------------------------------------------ */

static float threshold(const float *values, size_t count, double rate, bool official)
{
    float pool[16];
    memcpy(pool, values, count * sizeof *values);
    return official ? pith__itpc_threshold(pool, count, rate)
                    : pith__itpc_quantile(pool, count, rate);
}

static void release_threshold(void **state)
{
    (void)state;
    const float values[] = {3, 1, 4, 1.5F, 5, 9, 2, 6, 5.5F, 3.5F};
    assert_true(isinf(threshold(values, 10, 1.0, true)));
    /* int(10 * 0.5) - 1 = 4: the fifth largest, so that four are above it */
    assert_true(threshold(values, 10, 0.5, true) == 4.0F);
    assert_true(threshold(values, 10, 0.99, true) == 1.5F); /* int(9.9) - 1 = 8 */
    assert_true(threshold(values, 10, 0.0, true) == 9.0F);
    assert_true(threshold(values, 10, 1.7, true) == 1.0F); /* beyond the end */
    const float unknown[] = {10000, 2, 10000, 3};
    assert_true(threshold(unknown, 4, 0.5, true) == 3.0F);
    assert_true(isinf(threshold(values, 0, 0.5, true)));
}

static void paper_quantile(void **state)
{
    (void)state;
    const float values[] = {3, 1, 4, 1.5F, 5, 9, 2, 6, 5.5F, 3.5F};
    assert_true(threshold(values, 10, 0.5, false) == 3.5F); /* 9 6 5.5 5 4 are above */
    assert_true(threshold(values, 10, 0.0, false) == 9.0F);
    assert_true(threshold(values, 10, 0.04, false) == 9.0F); /* round(0.4) = 0 */
    assert_true(threshold(values, 10, 0.06, false) == 6.0F);
    assert_true(isinf(threshold(values, 10, 0.96, false)));
    assert_true(isinf(threshold(values, 0, 0.5, false)));
    const float ties[] = {2, 2, 2, 2, 1, 3};
    assert_true(threshold(ties, 6, 0.3, false) ==
                2.0F); /* of 2: one above or five: one is closer */
    assert_true(threshold(ties, 6, 0.5, false) == 1.0F); /* of 3: as close, so rather more */
    assert_true(threshold(ties, 6, 0.67, false) == 1.0F);
}

/* Against sorting. */
static void thresholds_of_random_pools(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (size_t run = 0; run < 2000; run++) {
        float values[16];
        float sorted[16];
        const size_t count = 1 + test_random_below(&seed, 16);
        for (size_t i = 0; i < count; i++) {
            values[i] = (float)test_random_below(&seed, run % 2 == 0 ? 6 : 1000);
            size_t at = i;
            for (; at > 0 && sorted[at - 1] < values[i]; at--) {
                sorted[at] = sorted[at - 1];
            }
            sorted[at] = values[i];
        }
        const size_t keep = test_random_below(&seed, count);
        const double rate = (double)keep / (double)count;
        const float exclusive = threshold(values, count, rate, false);
        size_t kept = 0;
        for (size_t i = 0; i < count; i++) {
            kept += values[i] > exclusive;
        }
        const size_t wanted = (size_t)round(rate * (double)count);
        if (kept != wanted) { /* only where equal values stand on both sides */
            assert_true(wanted > 0 && sorted[wanted - 1] == sorted[wanted]);
        }
        const double place = floor((double)count * rate) - 1.0;
        assert_true(threshold(values, count, rate, true) ==
                    sorted[place < 0.0 ? 0 : (size_t)place]);
    }
}

static void assert_extent(int64_t end, size_t size, size_t length, size_t low, size_t high)
{
    size_t got_low = 0;
    size_t got_high = 0;
    pith__itpc_extent(end, size, length, &got_low, &got_high);
    assert_int_equal(got_low, low);
    assert_int_equal(got_high, high);
}

/* What mask[end:] = 1, mask[:end - size] = 1 leave open. */
static void mask_extents(void **state)
{
    (void)state;
    assert_extent(199, 199, 447, 0, 199);
    assert_extent(262, 199, 510, 63, 262);
    assert_extent(500, 199, 447, 301, 447);
    /* 90 tokens and a window of 200: 90 - 200 + 92 = -18; 72 may go, which is why it is shortened */
    assert_extent(-18, 92, 90, 0, 72);
    /* 150 tokens: 150 - 200 + 152 = 102, from -50 = 100 on */
    assert_extent(102, 152, 150, 100, 102);
    /* 4 tokens: -190 */
    assert_extent(-190, 6, 4, 0, 0);
    assert_extent(10, 20, 100, 90, 90);
}

/* ---- schedules ----------------------------------------------------------------------------------- */

/* "5@0.5 5@0.25 | 10@0.25 |" */
static void describe(const pith__schedule *schedule, char *out, size_t room)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t w = 0; w < schedule->window_count; w++) {
        const pith__window *window = &schedule->windows[w];
        for (size_t r = window->first; r < window->first + window->count; r++) {
            at += (size_t)snprintf(out + at, room - at, "%zu@%g ", schedule->runs[r].count,
                                   schedule->runs[r].rate);
        }
        at += (size_t)snprintf(out + at, room - at, "/%zu ", window->size);
    }
}

static void assert_by_context(const size_t *lengths, const double *rates, size_t count,
                              const char *expected)
{
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    pith_error err = {0};
    pith__schedule schedule = {0};
    char got[512];
    assert_ok(pith__schedule_by_context(lengths, rates, count, 10, &arena, &schedule, &err), err);
    describe(&schedule, got, sizeof got);
    assert_string_equal(got, expected);
    pith__arena_deinit(&arena);
}

static void schedule_of_contexts(void **state)
{
    (void)state;
    const double rates[] = {0.5, 0.25, 1.0};
    assert_by_context((size_t[]){4, 12, 25}, rates, 3,
                      "4@0.5 5@0.25 /10 7@0.25 3@1 /10 10@1 /10 10@1 /10 2@1 /10 ");
    assert_by_context((size_t[]){3}, rates, 1, "3@0.5 /10 ");
    assert_by_context((size_t[]){9}, rates, 1, "9@0.5 /10 ");
    /* a remainder of exactly one window stays open, and the next context begins with nothing */
    assert_by_context((size_t[]){19}, rates, 1, "9@0.5 /10 10@0.5 /10 ");
    assert_by_context((size_t[]){19, 3}, rates, 2, "9@0.5 /10 10@0.5 0@0.25 /10 3@0.25 /10 ");
    assert_by_context(NULL, NULL, 0, "");
}

static void schedule_of_tokens(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    pith_error err = {0};
    pith__schedule schedule = {0};
    char got[256];
    const double rates[] = {1, 1, 0.5, 0.5, 0.5, 0.5, 1, 0.2, 0.2};
    pith__schedule_input input = {.rates = rates, .count = 9, .size = 4, .reads_size = true};
    assert_ok(pith__schedule_by_token(&input, &arena, &schedule, &err), err);
    describe(&schedule, got, sizeof got);
    assert_string_equal(got, "2@1 2@0.5 /4 2@0.5 1@1 1@0.2 /4 1@0.2 /4 ");

    const bool ends[] = {false, false, true, false, false, false, false, false, false};
    const bool joined[] = {false, false, false, false, false, false, false, true, true};
    input = (pith__schedule_input){
        .rates = rates, .ends = ends, .joined = joined, .count = 9, .size = 4};
    assert_ok(pith__schedule_by_token(&input, &arena, &schedule, &err), err);
    describe(&schedule, got, sizeof got);
    assert_string_equal(got, "2@1 1@0.5 /3 3@0.5 3@1 /6 ");
    pith__arena_deinit(&arena);
}

static void rates_of_tokens(void **state)
{
    (void)state;
    const pith__rated stretches[] = {
        {3, 0.5, true}, {0, 0.1, true}, {2, 1.0, false}, {4, 0.8, true}, {4, 0.3, true}};
    /*                          0..2 | 2..3 | 3..3 | 2..4-like | 5 | 5..10 | 10..12 | 13 */
    const size_t bounds[] = {0, 2, 3, 3, 5, 8, 10, 13, 13, 20};
    const double expected[] = {0.5, 0.5, 1.0, 1.0, 0.8, 0.3, 0.3, 0.3, 0.3};
    double got[9];
    pith__schedule_rates(stretches, 5, bounds, 9, got);
    for (size_t i = 0; i < 9; i++) {
        assert_true(got[i] == expected[i]);
    }
    const size_t across[] = {2, 4, 6};
    pith__schedule_rates(stretches, 5, across, 2, got);
    assert_true(got[0] == 1.0 && got[1] == 1.0); /* what is not to be compressed wins */
}

/* ---- contexts ------------------------------------------------------------------------------------ */

typedef struct coarse_case {
    pith__lingua_options options;
    double budget;
    const bool *forced;
} coarse_case;

/* Five contexts of 10, 20, 30, 40, 50 tokens, ranked 2 0 4 1 3. "2 0 4 / 0.3 0 -0.3" */
static void assert_coarse(const coarse_case *c, const char *expected)
{
    size_t order[] = {2, 0, 4, 1, 3};
    double scores[] = {4, 2, 5, 1, 3};
    const size_t lengths[] = {10, 20, 30, 40, 50};
    const pith__ranking ranking = {order, scores, 5};
    const pith__coarse_input input = {&ranking, lengths, c->forced, c->budget};
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    pith_error err = {0};
    pith__coarse got = {0};
    assert_ok(pith__lingua_coarse(&c->options, &input, &arena, &got, &err), err);
    char text[128];
    size_t at = 0;
    for (size_t i = 0; i < got.count; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, "%zu ", got.kept[i]);
    }
    at += (size_t)snprintf(text + at, sizeof text - at, "/");
    for (size_t i = 0; i < got.count; i++) {
        at += (size_t)snprintf(text + at, sizeof text - at, " %.3g", got.change[i] + 0.0);
    }
    assert_string_equal(text, expected);
    pith__arena_deinit(&arena);
}

static coarse_case coarse_of(pith__lingua_mode mode, char op, double value, double budget)
{
    coarse_case c = {.options = options_of(mode, 0.5, 10), .budget = budget};
    c.options.context_budget = (pith__budget_change){op, value};
    return c;
}

static void contexts_as_released(void **state)
{
    (void)state;
    coarse_case c = coarse_of(PITH__LINGUA_OFFICIAL, '+', 0, 40);
    assert_coarse(&c, "0 2 4 / 0 0 0"); /* 30 + 10 leave nothing, which is not less than nothing */
    c.budget = 39;
    assert_coarse(&c, "0 2 / 0 0");
    c = coarse_of(PITH__LINGUA_OFFICIAL, '-', 200, 40);
    assert_coarse(&c, "2 / 0");                       /* one at least */
    c = coarse_of(PITH__LINGUA_OFFICIAL, '/', 2, -1); /* 100 / 2 */
    assert_coarse(&c, "0 2 4 / 0 0 0");
    c = coarse_of(PITH__LINGUA_OFFICIAL, '*', 2, 45);
    c.options.reorder_context = PITH__REORDER_SORT;
    c.options.dynamic_context_compression_ratio = 0.3;
    assert_coarse(&c, "2 0 4 1 / 0.3 0.1 -0.1 -0.3");
    c.options.reorder_context = PITH__REORDER_TWO_STAGE;
    assert_coarse(&c, "2 4 1 0 / 0.3 -0.1 -0.3 0.1");
    c.options.reorder_context = PITH__REORDER_ORIGINAL;
    assert_coarse(&c, "0 1 2 4 / 0.1 -0.3 0.3 -0.1");
}

static void forced_contexts_as_released(void **state)
{
    (void)state;
    const size_t ids[] = {3, 7, 3}; /* there is no 7 */
    const bool forced[] = {false, true, false, false, false};
    coarse_case c = coarse_of(PITH__LINGUA_OFFICIAL, '+', 0, 35);
    c.options.reorder_context = PITH__REORDER_SORT;
    c.options.dynamic_context_compression_ratio = 0.3;
    c.options.force_context_ids = ids;
    c.options.force_context_count = 3;
    c.forced = forced;
    /* first in line, and not paid for */
    assert_coarse(&c, "3 1 2 0 / 0.3 0.1 -0.1 -0.3");
    c.options.force_context_number = 1; /* does nothing */
    assert_coarse(&c, "3 1 2 0 / 0.3 0.1 -0.1 -0.3");
    c.options.force_context_number = 0;
    assert_coarse(&c, "3 1 2 / 0.3 0 -0.3");
}

static void contexts_as_published(void **state)
{
    (void)state;
    coarse_case c = coarse_of(PITH__LINGUA_PAPER, '*', 2, 20);
    assert_coarse(&c, "0 2 4 / 0 0 0"); /* Algorithm 1: 30, 40, then one more */
    c.budget = -5;
    assert_coarse(&c, "2 / 0");
    c.budget = 20;
    c.options.reorder_context = PITH__REORDER_SORT;
    c.options.dynamic_context_compression_ratio = 0.3;
    assert_coarse(&c, "2 0 4 / 0.3 0.1 -0.1"); /* 1 - 2I/3 */
    c.options.force_context_number = 2;
    assert_coarse(&c, "2 0 / 0.3 0");
    c.options.force_context_number = 1;
    assert_coarse(&c, "2 / 0");
    const size_t ids[] = {3};
    c.options.force_context_number = -1;
    c.options.force_context_ids = ids;
    c.options.force_context_count = 1;
    c.budget = 30;
    assert_coarse(&c, "2 3 / 0.3 0"); /* 60 - 40 - 30: full, and 3 stands where it ranks */
    c.budget = 10;
    assert_coarse(&c, "3 / 0");
}

/* ---- sentences ----------------------------------------------------------------------------------- */

static void assert_split(const char *text, bool regex, const char *const *expected, size_t count)
{
    pith__spans spans = {0};
    pith_error err = {0};
    const pith__lingua_text input = text_of(text);
    assert_ok(pith__lingua_split(&input, regex, &pith__allocator_default, &spans, &err), err);
    assert_int_equal(spans.count, count);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(spans.items[i].start, at);
        at = spans.items[i].end;
        assert_int_equal(at - spans.items[i].start, strlen(expected[i]));
        assert_memory_equal(text + spans.items[i].start, expected[i], strlen(expected[i]));
    }
    assert_int_equal(at, strlen(text));
    pith__spans_deinit(&spans, &pith__allocator_default);
}

static void sentences_split(void **state)
{
    (void)state;
    const char *regex[] = {"One 1.5 two.. ", "(\"Three!\")\n\n", "four?\"x ", "five. "};
    assert_split("One 1.5 two.. (\"Three!\")\n\nfour?\"x five. ", true,
                 (const char *[]){regex[0], regex[1], "four?\"x five. "}, 3);
    assert_split("", true, NULL, 0);
    assert_split(" \n", true, (const char *[]){" \n"}, 1);
    assert_split("Mr. A. B", true, (const char *[]){"Mr. ", "A. ", "B"}, 3);
    assert_split(" Mr. Smith went.  He left.\n\nA heading\nText. ", false,
                 (const char *[]){" Mr. Smith went.  ", "He left.\n\n", "A heading\n", "Text. "},
                 4);
    assert_split("", false, NULL, 0);
    assert_split(" \n ", false, (const char *[]){" \n "}, 1);
}

/* ---- perplexity ---------------------------------------------------------------------------------- */

/* Mean loss of tokens [from, count) of `text`, each after those before it. */
static double mean_loss(const char *text, size_t from, bool bos)
{
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    pith_error err = {0};
    pith__lm_tokens tokens = {0};
    assert_ok(toy_tokenize(NULL, text, strlen(text), &arena, &tokens, &err), err);
    uint32_t ids[128] = {TOY_BOS};
    size_t count = bos ? 1 : 0;
    double sum = 0.0;
    size_t judged = 0;
    for (size_t i = 0; i < tokens.count; i++) {
        if (i >= from && count > 0) {
            sum += (double)toy_loss(ids, count, tokens.items[i].id);
            judged++;
        }
        ids[count++] = tokens.items[i].id;
    }
    pith__arena_deinit(&arena);
    return sum / (double)judged;
}

static double condition_ppl(pith__lingua_mode mode, size_t context, bool adds_bos, const char *text,
                            const char *query, pith__condition condition)
{
    toy_lm toy = {0};
    const pith__lm lm = toy_open(&toy, context, TOY_BOS, adds_bos);
    const pith__lingua_options options = options_of(mode, 0.5, 10);
    const pith__lingua_text texts[] = {text_of("other"), text_of(text), text_of("")};
    const pith__lingua_text question = text_of(query);
    double nll[3];
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    pith_error err = {0};
    assert_ok(pith__lingua_condition_ppl(&lm, &options, texts, 3, &question, condition, &arena, nll,
                                         &err),
              err);
    assert_int_equal(toy.calls, 1);
    assert_int_equal(arena.used_total, 0);
    pith__arena_deinit(&arena);
    toy_close(&toy);
    return nll[1];
}

static void assert_near(double got, double expected)
{
    if (!(fabs(got - expected) <= 1e-9)) {
        fail_msg("%.12g, expected %.12g", got, expected);
    }
}

/* Tokens are three bytes: "abcdefgh" has three, and behind it the question's boundaries move. */
static void perplexity_as_released(void **state)
{
    (void)state;
    const pith__lingua_mode mode = PITH__LINGUA_OFFICIAL;
    const pith__condition none = PITH__CONDITION_NONE;
    const pith__condition before = PITH__CONDITION_BEFORE;
    const pith__condition after = PITH__CONDITION_AFTER;
    assert_near(condition_ppl(mode, 99, false, "abcdefgh", "Why?", none),
                mean_loss("abcdefgh", 0, false));
    assert_near(condition_ppl(mode, 99, true, "abcdefgh", "Why?", none),
                mean_loss("abcdefgh", 0, true));
    /* loss[len - 1:] begins at the token after the first part's last; BOS counts on both sides */
    assert_near(condition_ppl(mode, 99, false, "abcdefgh", "Why?", after),
                mean_loss("abcdefghWhy?", 3, false));
    assert_near(condition_ppl(mode, 99, true, "abcdefgh", "Why?", after),
                mean_loss("abcdefghWhy?", 3, true));
    assert_near(condition_ppl(mode, 99, false, "abcdefgh", "Why?", before),
                mean_loss("Why?abcdefgh", 2, false));
    /* four tokens fit; the question begins with the fourth */
    assert_near(condition_ppl(mode, 4, false, "abcdefghi", "Why?", after),
                mean_loss("abcdefghiWhy", 3, false));
    assert_true(isnan(condition_ppl(mode, 3, false, "abcdefghi", "Why?", after)));
    /* an empty question: loss[-1:] is the last one */
    assert_near(condition_ppl(mode, 99, false, "abcdefgh", "", before),
                mean_loss("abcdefgh", 2, false));
}

static void perplexity_in_pieces(void **state)
{
    (void)state;
    const pith__lingua_mode mode = PITH__LINGUA_PAPER;
    assert_near(condition_ppl(mode, 99, false, "abcdef", "Why", PITH__CONDITION_NONE),
                mean_loss("abcdef", 0, true));
    assert_near(condition_ppl(mode, 99, false, "abcdef", "Why", PITH__CONDITION_AFTER),
                mean_loss("abcdefWhy", 2, true));
    /* context 4: BOS, the question, and at most two tokens of the text at a time, of five */
    assert_near(condition_ppl(mode, 4, false, "abcdefghijklmno", "Why", PITH__CONDITION_AFTER),
                fmin(mean_loss("abcWhy", 1, true),
                     fmin(mean_loss("defghiWhy", 2, true), mean_loss("jklmnoWhy", 2, true))));
    assert_near(condition_ppl(mode, 4, false, "abcdefghijkl", "Why", PITH__CONDITION_BEFORE),
                fmin(mean_loss("Whyabcdef", 1, true), mean_loss("Whyghijkl", 1, true)));
}

/* ---- the whole release -------------------------------------------------------------------------- */

#define RIVER                                                                                  \
    "The river runs north. It meets the sea at Mayport! Ships come in? They do, \"often.\" A " \
    "light\n\nstands on the bank. Nobody lives there now; it was built in 1859.\nThe keeper "  \
    "left. His dog stayed. "
#define BREAD                                                                                \
    "Bread needs flour, water, salt and time. Knead it well. Let it rest for an hour.\n\n\n" \
    "Then bake it.\n\nEat. "
#define LETTERS                                                                                    \
    "Stra\303\237e, na\303\257ve, "                                                                \
    "\346\227\245\346\234\254\350\252\236\343\201\256\346\226\207\347\253\240\343\201\247\343\201" \
    "\231\343\200\202\360\237\230\200\360\237\230\200 "                                            \
    "\316\225\316\273\316\273\316\267\316\275\316\271\316\272\316\254 \320\270 "                   \
    "\321\200\321\203\321\201\321\201\320\272\320\270\320\271. "

#define LINES "one\ntwo\nthree\n\nfour\nfive\nsix\n\n\nseven\neight\nnine\nten\neleven\ntwelve\n"

typedef struct release_case {
    const char *name;
    const char *contexts[2];
    const char *instruction;
    const char *question;
    const char *expected;
    size_t context;
    size_t size;
    double target; /* 0: by the rate */
    double rate;
    double dynamic;
    pith__budget_change budget;
    pith__condition condition;
    pith__reorder reorder;
    bool adds_bos;
    bool keep_split;
    bool is_long;
    bool compare;
    bool prefix;
    bool sentences;
} release_case;

/* Expected: a transcription of the release into Python lists, with the toy model. */
static const release_case release_cases[] = {
    {.name = "keep_split",
     .context = 64,
     .adds_bos = false,
     .rate = 0.5,
     .size = 20,
     .keep_split = true,
     .contexts = {LINES LINES},
     .expected =
         "two\n\n\nfouesix\n\n\n\neig\ntwe\ntwothr\n\ne\n\n\neneight\nnine\nten\neleven\ntwelve\n"},
    {.name = "broken characters",
     .context = 400,
     .adds_bos = false,
     .rate = 0.5,
     .size = 16,
     .contexts = {LETTERS LETTERS LETTERS},
     .expected =
         "Stra\303\237e, , "
         "\346\252\236\343\226\207\347\253\240\343\201\247\343\201\231\343\200\202\360\237\230\200"
         "\357\277\275 \316\267\316\275 \321\200\320\272\320\270\320\271. Stra\303\237eve, "
         "\346\227\245\346\234\254\350\252\236\343\201\207\347\253\240\343\201\247\343\201\202\357"
         "\277\275\316\273\316\273\316\267\316\275\357\277\275\316\254 \320\270 "
         "\357\277\275\320\270\357\277\275e,"
         "\346\234\254\350\252\236\343\201\231\343\200\202\357\277\275\357\277\275\316\267\316\275"
         "\316\271\316\272\316\254 \320\270 "
         "\321\200\321\203\321\201\321\201\320\272\320\270\320\271. "},
    {.name = "short text, negative bounds",
     .context = 400,
     .adds_bos = false,
     .rate = 0.3,
     .size = 33,
     .contexts = {"Shorter than one window, yet judged in part."},
     .expected = "rteudgt."},
    {.name = "short text behind a prefix",
     .context = 400,
     .adds_bos = false,
     .rate = 0.5,
     .size = 53,
     .question = "And why is that?",
     .prefix = true,
     .contexts = {"Shorter than one window, yet judged in part."},
     .expected = "ow, yet judged in part.\n\nAnd why is that?"},
    {.name = "a prefix that runs into the text",
     .context = 400,
     .adds_bos = false,
     .rate = 0.7,
     .size = 12,
     .question = "Where is the sea?",
     .prefix = true,
     .contexts = {"|" RIVER},
     .expected = "nds on the bank. Ndy lives there now; it wbui185\nThe keeper left. His dog "
                 "stayed. \n\nWhere is the sea?"},
    {.name = "the cache overflows",
     .context = 64,
     .adds_bos = true,
     .rate = 0.9,
     .size = 10,
     .contexts = {RIVER BREAD RIVER},
     .expected =
         "The river runs north. meets the sea at port! Ships comTheo, \"often.\" ight\n\nstands on "
         "the bank. Nobody lives there now; it was built 185\nThe keeper left. His dog std. Bread "
         "needs floter, salt and t. Knead iell. Let it rest for an hour.\n\n\nn bake.Eat. The "
         "river runs north. meets the sea at M! Shipome in? They do, \" light\n\nstands on the "
         "bankobody es there nowbuilt in 1859.\n keepeeft. His dog stayed. "},
    {.name = "contrastive, the cache overflows",
     .context = 64,
     .adds_bos = false,
     .rate = 0.9,
     .size = 12,
     .question = "Where is the sea?",
     .is_long = true,
     .compare = true,
     .budget = {'*', 2},
     .dynamic = 0.3,
     .reorder = PITH__REORDER_TWO_STAGE,
     .contexts = {RIVER, BREAD},
     .expected =
         "Bread needs flour, water, salt and time. Knead it well. Let it rest for an "
         "hour.\n\n\nThen bake it.\n\nEat. \n\n rins north. Itetse sat porShips come iTheo, A "
         "lightstandsankobody lives ; ias lt in 185The keeper l stayed. \n\nWhere is the sea?"},
    {.name = "a prefix that is too long",
     .context = 150,
     .adds_bos = false,
     .target = 9,
     .rate = 0.5,
     .size = 10,
     .instruction = "Answer.",
     .question = BREAD BREAD BREAD BREAD BREAD,
     .is_long = true,
     .condition = PITH__CONDITION_BEFORE,
     .prefix = true,
     .budget = {'+', 100},
     .contexts = {"The river runs north. It meets the sea at Mayport!"},
     .expected =
         "Answer.\n\nThe rinorth. Itets the sea at Mayport!\n\n" BREAD BREAD BREAD BREAD BREAD},
    {.name = "sentences, bonus",
     .context = 400,
     .adds_bos = true,
     .rate = 0.3,
     .size = 10,
     .question = "Where is the sea?",
     .is_long = true,
     .condition = PITH__CONDITION_BEFORE,
     .sentences = true,
     .budget = {'+', 20},
     .contexts = {RIVER, BREAD},
     .expected = "It mee set Mayportheyen.\" A li\n one bankobothet wbuiin 1859.\n\n\n\n\nWhere is "
                 "the sea?"},
    {.name = "the name of BOS",
     .context = 400,
     .adds_bos = false,
     .rate = 0.7,
     .size = 10,
     .contexts = {RIVER "<s> A <s>B<s> C."},
     .expected = "The ri runs nor meets thea at Mayt! ps comn? They do, \"of.\" ight\nstands on "
                 "the bank. Nlives re nowt was bui1859.\n keeper left stayed.  A BC."},
};

static const char *or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

static void assert_release(const release_case *c)
{
    toy_lm toy = {0};
    const pith__lm lm = toy_open(&toy, c->context, TOY_BOS, c->adds_bos);
    pith__lingua_options options = options_of(PITH__LINGUA_OFFICIAL, c->rate, c->size);
    options.target_token = c->target > 0.0 ? c->target : -1.0;
    options.keep_split = c->keep_split;
    options.rank_method = c->is_long ? PITH__RANK_LONGLLMLINGUA : PITH__RANK_LLMLINGUA;
    options.condition_compare = c->compare;
    options.condition_prefix = c->prefix;
    options.condition = c->condition;
    options.reorder_context = c->reorder;
    options.dynamic_context_compression_ratio = c->dynamic;
    options.context_budget = c->budget;
    options.add_instruction = c->instruction != NULL;
    options.use_sentence_level_filter = c->sentences;
    options.keep_first_sentence = c->sentences ? 1 : 0;
    options.keep_last_sentence = c->sentences ? 2 : 0;
    options.keep_sentence_number = c->sentences ? 1 : 0;
    pith__lingua_context contexts[2] = {0};
    size_t count = 0;
    for (; count < 2 && c->contexts[count] != NULL; count++) {
        contexts[count].clean = text_of(c->contexts[count]);
        contexts[count].tagged = contexts[count].clean;
    }
    const pith__lingua_prompt prompt = {.instruction = text_of(or_empty(c->instruction)),
                                        .question = text_of(or_empty(c->question)),
                                        .contexts = contexts,
                                        .count = count};
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    pith_error err = {0};
    pith__lingua_output out = {0};
    assert_ok(pith__lingua_compress(&lm, &options, &prompt, &arena, &out, &err), err);
    if (strcmp(out.text, c->expected) != 0) {
        fail_msg("%s:\n%s\nexpected:\n%s", c->name, out.text, c->expected);
    }
    pith__arena_deinit(&arena);
    toy_close(&toy);
}

static void as_released(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof release_cases / sizeof release_cases[0]; i++) {
        assert_release(&release_cases[i]);
    }
}

/* ---- the papers ---------------------------------------------------------------------------------- */

typedef struct trial {
    toy_lm toy;
    pith__lm lm;
    pith__arena arena;
    pith__lingua_options options;
    pith__lingua_context contexts[4];
    pith__lingua_prompt prompt;
    pith__lingua_output out;
} trial;

static void trial_open(trial *t, pith__lingua_mode mode, size_t context, double rate, size_t size)
{
    *t = (trial){.options = options_of(mode, rate, size)};
    t->lm = toy_open(&t->toy, context, TOY_BOS, false);
    pith__arena_init(&t->arena, &pith__allocator_default);
    t->prompt.contexts = t->contexts;
}

static void trial_add(trial *t, const char *text)
{
    t->contexts[t->prompt.count].clean = text_of(text);
    t->contexts[t->prompt.count++].tagged = text_of(text);
}

static void trial_run(trial *t)
{
    pith_error err = {0};
    assert_ok(pith__lingua_compress(&t->lm, &t->options, &t->prompt, &t->arena, &t->out, &err),
              err);
}

static void trial_close(trial *t)
{
    pith__arena_deinit(&t->arena);
    toy_close(&t->toy);
}

static pith__lingua_text part_of(const trial *t, size_t part)
{
    return part == PITH__LINGUA_INSTRUCTION ? t->prompt.instruction
           : part == PITH__LINGUA_QUESTION  ? t->prompt.question
                                            : t->contexts[part].clean;
}

/* The text is its pieces, with "\n\n" where the part changes. */
static void check_pieces(const trial *t)
{
    size_t at = 0;
    for (size_t i = 0; i < t->out.piece_count; i++) {
        const pith__lingua_piece *piece = &t->out.pieces[i];
        if (i > 0 && piece->part != piece[-1].part) {
            assert_memory_equal(t->out.text + at, "\n\n", 2);
            at += 2;
        } else if (i > 0) {
            assert_true(piece[-1].end < piece->start);
        }
        const size_t size = piece->end - piece->start;
        assert_true(piece->start < piece->end && piece->end <= part_of(t, piece->part).size);
        assert_memory_equal(t->out.text + at, part_of(t, piece->part).text + piece->start, size);
        at += size;
    }
    assert_int_equal(at, t->out.size);
}

static size_t kept_of(const trial *t, size_t part, size_t *judged)
{
    size_t kept = 0;
    *judged = 0;
    for (size_t i = 0; i < t->out.unit_count; i++) {
        const pith__lingua_unit *u = &t->out.units[i];
        if (u->part == part) {
            kept += u->unit.kept ? u->unit.tokens : 0;
            *judged += u->unit.tokens;
        }
    }
    return kept;
}

/* 30 bytes, ten tokens */
#define TEN "abc def ghi jkl mno pqr stu v."
/* 120 bytes, forty tokens */
#define FORTY                                                               \
    "One two three four five six seven eight nine ten eleven twelve thirte" \
    "en fourteen fifteen sixteen seventeen eighteen nine"

static void assert_shares(double rate, size_t instruction, size_t context, size_t question)
{
    trial t;
    trial_open(&t, PITH__LINGUA_PAPER, 400, rate, 20);
    trial_add(&t, FORTY);
    t.prompt.instruction = text_of(TEN);
    t.prompt.question = text_of("Who, what and when, or where?!");
    trial_run(&t);
    check_pieces(&t);
    size_t judged = 0;
    assert_int_equal(kept_of(&t, PITH__LINGUA_INSTRUCTION, &judged), instruction);
    assert_int_equal(judged, 10);
    assert_int_equal(kept_of(&t, 0, &judged), context);
    assert_int_equal(judged, 40);
    assert_int_equal(kept_of(&t, PITH__LINGUA_QUESTION, &judged), question);
    assert_int_equal(judged, 10);
    trial_close(&t);
}

/* 60 tokens; instruction and question take 8.5 + 9 of the budget. */
static void papers_shares(void **state)
{
    (void)state;
    assert_shares(0.5, 9, 12, 9);   /* (30 - 17.5) / 40 = 0.3125: 6.25 of each window of 20 */
    assert_shares(0.8, 10, 30, 10); /* 0.7625; 2 * 30.5 - 40 are left over for both ends */
    assert_shares(0.29, 9, 0, 9);   /* 17.4: nothing left for the contexts */
    assert_shares(1.0, 10, 40, 10);
}

/* A part that is dropped as a whole leaves no "\n\n" behind. */
static void papers_empty_part(void **state)
{
    (void)state;
    trial t;
    trial_open(&t, PITH__LINGUA_PAPER, 400, 0.5, 20);
    trial_add(&t, FORTY);
    t.prompt.instruction = text_of(TEN);
    t.options.tau_ins = 0.0;
    t.options.context_budget = (pith__budget_change){'*', 0.0}; /* nothing is left over */
    trial_run(&t);
    check_pieces(&t);
    assert_int_equal(t.out.pieces[0].part, 0);
    assert_true(t.out.text[0] != '\n');
    trial_close(&t);
}

static void papers_target(void **state)
{
    (void)state;
    trial t;
    trial_open(&t, PITH__LINGUA_PAPER, 400, 0.9, 20);
    trial_add(&t, FORTY);
    t.options.target_token = 10;
    trial_run(&t);
    size_t judged = 0;
    assert_int_equal(kept_of(&t, 0, &judged), 10);
    assert_int_equal(t.out.scored, 40);
    trial_close(&t);
}

/* Ranked contexts: a budget of 2 * 24 takes two of three; their rate makes up for the third. */
static void papers_contexts(void **state)
{
    (void)state;
    trial t;
    trial_open(&t, PITH__LINGUA_PAPER, 400, 0.2, 20);
    trial_add(&t, FORTY);
    trial_add(&t, "Some other words of just the same count, forty tokens of three letters each; "
                  "they are about nothing whatsoever in full i");
    trial_add(&t, "A third one, which like its elders has one hundred and twenty bytes in all, no "
                  "more and no less than are wanted for this");
    trial_run(&t);
    check_pieces(&t);
    size_t total = 0;
    size_t dropped = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t judged = 0;
        const size_t kept = kept_of(&t, i, &judged);
        total += kept;
        dropped += t.out.places[i] == SIZE_MAX;
        assert_int_equal(judged, t.out.places[i] == SIZE_MAX ? 0 : 40);
        assert_int_equal(kept, t.out.places[i] == SIZE_MAX ? 0 : 12); /* 24 / 80 of 20, twice */
    }
    assert_int_equal(dropped, 1);
    assert_int_equal(total, 24);
    trial_close(&t);
}

/* ---- the papers' token level, worked out again ---------------------------------------------------- */

typedef struct reader {
    uint32_t ids[512];
    size_t count;
} reader;

/* Of all values to exceed, the one that comes closest to the wanted number; more rather than less. */
static void choose(const float *values, size_t count, size_t wanted, bool *keep)
{
    size_t best = SIZE_MAX;
    size_t best_kept = 0;
    float limit = 0.0F;
    for (size_t c = 0; c <= count; c++) {
        const float candidate = c < count ? values[c] : -INFINITY;
        size_t kept = 0;
        for (size_t i = 0; i < count; i++) {
            kept += values[i] > candidate;
        }
        const size_t off = kept > wanted ? kept - wanted : wanted - kept;
        if (off < best || (off == best && kept > best_kept)) {
            best = off;
            best_kept = kept;
            limit = candidate;
        }
    }
    for (size_t i = 0; i < count; i++) {
        keep[i] = values[i] > limit;
    }
}

static void read_tokens(reader *r, const char *text)
{
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    pith_error err = {0};
    pith__lm_tokens tokens = {0};
    assert_ok(toy_tokenize(NULL, text, strlen(text), &arena, &tokens, &err), err);
    for (size_t i = 0; i < tokens.count; i++) {
        r->ids[r->count++] = tokens.items[i].id;
    }
    pith__arena_deinit(&arena);
}

/* How tokens are judged: windows of `size` behind what was kept, of which as many are forgotten as
 * the context demands; with a question, by what it changes. */
typedef struct simulation {
    const char *text;
    const char *question; /* or NULL */
    double rate;
    size_t size;
    size_t context;
} simulation;

/* Losses of `count` tokens behind those of the reader, which it then has forgotten again. */
static void read_behind(reader *r, const uint32_t *ids, size_t count, float *losses)
{
    for (size_t i = 0; i < count; i++) {
        losses[i] = toy_loss(r->ids, r->count, ids[i]);
        r->ids[r->count++] = ids[i];
    }
    r->count -= count;
}

static void forget(reader *r, size_t start, size_t count)
{
    memmove(r->ids + start, r->ids + start + count, (r->count - start - count) * sizeof *r->ids);
    r->count -= count;
}

static void simulate(const simulation *s, const reader *tokens, bool *kept)
{
    reader behind = {.ids = {TOY_BOS}, .count = 1};
    reader alone = behind;
    if (s->question != NULL) {
        read_tokens(&behind, s->question);
    }
    const size_t start = behind.count;
    for (size_t first = 0; first < tokens->count; first += s->size) {
        const size_t left = tokens->count - first;
        const size_t count = left < s->size ? left : s->size;
        if (behind.count + count > s->context) {
            const size_t over = behind.count + count - s->context;
            forget(&behind, start + 10, over);
            forget(&alone, 1 + 10, over);
        }
        float values[64];
        float without[64];
        read_behind(&behind, tokens->ids + first, count, values);
        read_behind(&alone, tokens->ids + first, count, without);
        for (size_t i = 0; i < count && s->question != NULL; i++) {
            values[i] = without[i] - values[i];
        }
        choose(values, count, (size_t)round(s->rate * (double)count), kept + first);
        for (size_t i = first; i < first + count; i++) {
            if (kept[i]) {
                behind.ids[behind.count++] = tokens->ids[i];
                alone.ids[alone.count++] = tokens->ids[i];
            }
        }
    }
}

static void assert_simulated(const char *text, const char *question, double rate, size_t size,
                             size_t context)
{
    trial t;
    trial_open(&t, PITH__LINGUA_PAPER, context, rate, size);
    trial_add(&t, text);
    t.prompt.question = text_of(or_empty(question));
    t.options.condition_compare = question != NULL;
    t.options.concate_question = false;
    trial_run(&t);
    char prefix[256];
    (void)snprintf(prefix, sizeof prefix, "%s\n\n", or_empty(question));
    const simulation s = {text, question == NULL ? NULL : prefix, rate, size, context};
    bool expected[512] = {false};
    reader tokens = {0};
    read_tokens(&tokens, text);
    simulate(&s, &tokens, expected);
    const pith__lingua_trace *trace = &t.out.trace;
    assert_int_equal(trace->count - trace->start, tokens.count);
    for (size_t i = 0; i < tokens.count; i++) {
        assert_int_equal(trace->kept[trace->start + i], expected[i]);
    }
    check_pieces(&t);
    trial_close(&t);
}

static void papers_token_level(void **state)
{
    (void)state;
    static const double rates[] = {0.0, 0.1, 0.33, 0.5, 0.75, 0.9, 1.0};
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        assert_simulated(RIVER BREAD RIVER, NULL, rates[i], 10, 4000);
        assert_simulated(RIVER BREAD, NULL, rates[i], 7, 4000);
        assert_simulated(FORTY, NULL, rates[i], 1, 4000);
        assert_simulated(RIVER BREAD RIVER, "Where is the sea?", rates[i], 10, 4000);
        assert_simulated(RIVER BREAD, "Why not?", rates[i], 13, 4000);
    }
}

/* Nothing predicts the first token where there is no BOS. */
static void papers_without_bos(void **state)
{
    (void)state;
    for (size_t compare = 0; compare < 2; compare++) {
        trial t;
        trial_open(&t, PITH__LINGUA_PAPER, 400, 0.0, 10);
        t.lm.bos = PITH__LM_NONE;
        trial_add(&t, FORTY);
        if (compare == 1) {
            t.prompt.question = text_of("Why?");
            t.options.condition_compare = true;
            t.options.concate_question = false;
        }
        trial_run(&t);
        assert_string_equal(t.out.text, "One");
        assert_true(isnan(t.out.units[0].unit.nats));
        trial_close(&t);
    }
}

/* A cache of 64 tokens for a text of 240. */
static void papers_overflow(void **state)
{
    (void)state;
    for (size_t i = 0; i < 10; i++) {
        const double rate = 0.5 + 0.05 * (double)i;
        assert_simulated(RIVER BREAD RIVER BREAD RIVER, NULL, rate, 10, 64);
        assert_simulated(RIVER BREAD RIVER BREAD RIVER, "Where is the sea?", rate, 10, 64);
    }
}

static void papers_keep_characters(void **state)
{
    (void)state;
    for (size_t i = 0; i < 60; i++) {
        trial t;
        trial_open(&t, PITH__LINGUA_PAPER, 400, (double)(i % 10) / 10.0, 2 + i / 10);
        if (i % 3 == 0) {
            t.lm.bos = PITH__LM_NONE;
        }
        t.options.keep_split = i % 2 == 0;
        trial_add(&t, "\360\237\230\200\360\237\230\200\n\n" LETTERS LETTERS "\n\n");
        trial_add(&t, LETTERS);
        trial_run(&t);
        size_t bad = 0;
        assert_true(pith__utf8_check(t.out.text, t.out.size, &bad));
        check_pieces(&t);
        if (t.options.keep_split && t.out.places[0] == 0) {
            assert_non_null(strstr(t.out.text, "\n\n"));
        }
        trial_close(&t);
    }
}

static void papers_segments(void **state)
{
    (void)state;
    const char *text = "Keep this as it is. Shorten this a lot, it goes on and on and on. Half of "
                       "what stands here may go.";
    const pith__lingua_segment segments[] = {
        {0, 20, (double)NAN, false}, {20, 66, 0.1, true}, {66, 98, (double)NAN, true}};
    trial t;
    trial_open(&t, PITH__LINGUA_PAPER, 400, 0.5, 50);
    trial_add(&t, text);
    t.contexts[0].segments = segments;
    t.contexts[0].segment_count = 3;
    trial_run(&t);
    check_pieces(&t);
    assert_memory_equal(t.out.text, text, 20);
    size_t kept[3] = {0};
    for (size_t i = 0; i < t.out.unit_count; i++) {
        const pith_unit *unit = &t.out.units[i].unit;
        const size_t segment = unit->start < 20 ? 0 : unit->start < 66 ? 1 : 2;
        kept[segment] += unit->kept ? unit->tokens : 0;
        if (segment == 0) {
            assert_true(unit->is_protected && unit->kept);
        }
    }
    /* 6 tokens and one across the border; 15; 11: round(1.5) and round(5.5) */
    assert_int_equal(kept[0], 7);
    assert_int_equal(kept[1], 2);
    assert_int_equal(kept[2], 6);
    trial_close(&t);
}

/* ---- both ----------------------------------------------------------------------------------------- */

/* Both ends stay as they are; what is left of contexts of white space alone is nothing. */
static void nothing_to_do(void **state)
{
    (void)state;
    for (size_t count = 0; count < 3; count++) {
        for (int mode = 0; mode < 2; mode++) {
            trial t;
            trial_open(&t, (pith__lingua_mode)mode, 400, 1.0, 10);
            for (size_t i = 0; i < count; i++) {
                trial_add(&t, mode == 0 && i == 0 ? " \n" : "");
            }
            trial_run(&t);
            assert_int_equal(t.out.size, 0);
            assert_string_equal(t.out.text, "");
            t.prompt.instruction = text_of("Do it.");
            t.prompt.question = text_of("Why?");
            trial_run(&t);
            assert_string_equal(t.out.text, "Do it.\n\nWhy?");
            check_pieces(&t);
            trial_close(&t);
        }
    }
}

static void without_token_level(void **state)
{
    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        trial t;
        trial_open(&t, (pith__lingua_mode)mode, 400, 0.5, 10);
        trial_add(&t, "<s>First.");
        trial_add(&t, "Second.");
        t.prompt.instruction = text_of("Do it.");
        t.prompt.question = text_of("Why?");
        t.options.use_token_level_filter = false;
        t.options.use_context_level_filter = false;
        t.options.condition_prefix = true;
        trial_run(&t);
        assert_string_equal(t.out.text, "Do it.\n\n<s>First.\n\nSecond.\n\nWhy?");
        check_pieces(&t);
        assert_null(t.out.scores);
        assert_int_equal(t.out.unit_count, 0);
        assert_int_equal(t.toy.forwarded, 0);
        trial_close(&t);
    }
}

static void refusals(void **state)
{
    (void)state;
    trial t;
    pith_error err = {0};
    trial_open(&t, PITH__LINGUA_OFFICIAL, 40, 0.5, 10);
    trial_add(&t, RIVER BREAD);
    const pith__lingua_options good = t.options;
    t.options.rank_method = PITH__RANK_LONGLLMLINGUA;
    assert_status(pith__lingua_compress(&t.lm, &t.options, &t.prompt, &t.arena, &t.out, &err),
                  PITH_E_ARGUMENT);
    t.options = good;
    t.options.rate = 1.5;
    assert_status(pith__lingua_compress(&t.lm, &t.options, &t.prompt, &t.arena, &t.out, &err),
                  PITH_E_ARGUMENT);
    t.options.rate = (double)NAN;
    assert_status(pith__lingua_compress(&t.lm, &t.options, &t.prompt, &t.arena, &t.out, &err),
                  PITH_E_ARGUMENT);
    t.options = good;
    t.options.iterative_size = 0;
    assert_status(pith__lingua_compress(&t.lm, &t.options, &t.prompt, &t.arena, &t.out, &err),
                  PITH_E_ARGUMENT);
    t.options = good;
    t.options.iterative_size = 30; /* the second window is read from the start */
    t.options.rate = 0.9;
    assert_status(pith__lingua_compress(&t.lm, &t.options, &t.prompt, &t.arena, &t.out, &err),
                  PITH_E_CONTEXT);
    t.options.mode = PITH__LINGUA_PAPER;
    t.options.iterative_size = 50;
    assert_status(pith__lingua_compress(&t.lm, &t.options, &t.prompt, &t.arena, &t.out, &err),
                  PITH_E_CONTEXT);
    assert_null(t.out.text);
    t.options.condition_compare = true;
    assert_status(pith__lingua_compress(&t.lm, &t.options, &t.prompt, &t.arena, &t.out, &err),
                  PITH_E_ARGUMENT);
    trial_close(&t);
}

/* Everything at once. */
static void trial_fill(trial *t)
{
    static const pith__lingua_segment segments[] = {{0, 20, (double)NAN, false},
                                                    {20, 100, 0.3, true}};
    trial_add(t, RIVER);
    trial_add(t, BREAD);
    trial_add(t, LETTERS LETTERS);
    t->contexts[1].clean.size = 100;
    t->contexts[1].segments = segments;
    t->contexts[1].segment_count = 2;
    t->prompt.structured = true;
    t->prompt.instruction = text_of("Answer.");
    t->prompt.question = text_of("Where is the sea?");
    t->options.rank_method = PITH__RANK_LONGLLMLINGUA;
    t->options.condition_compare = true;
    t->options.keep_split = true;
    t->options.use_sentence_level_filter = true;
    t->options.keep_first_sentence = 1;
    t->options.reorder_context = PITH__REORDER_SORT;
    t->options.dynamic_context_compression_ratio = 0.2;
}

/* Whichever call of the model fails, its error comes out, and nothing else. */
static void model_failures(void **state)
{
    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        size_t failed = 0;
        pith_status status = PITH_E_BACKEND;
        for (size_t n = 1; status != PITH_OK; n++) {
            trial t;
            trial_open(&t, (pith__lingua_mode)mode, 100, 0.5, 10);
            trial_fill(&t);
            t.toy.fail_at = n;
            t.lm.user = &t.toy;
            pith_error err = {0};
            status = pith__lingua_compress(&t.lm, &t.options, &t.prompt, &t.arena, &t.out, &err);
            assert_true(status == PITH_OK || status == PITH_E_BACKEND);
            assert_int_equal(t.out.text == NULL, status != PITH_OK);
            failed += status != PITH_OK;
            trial_close(&t);
        }
        assert_true(failed > 8);
    }
}

static pith_status sweep_body(const pith_allocator *mem, void *user)
{
    trial t;
    trial_open(&t, *(const pith__lingua_mode *)user, 100, 0.5, 10);
    trial_fill(&t);
    pith__arena_init(&t.arena, mem);
    pith_error err = {0};
    const pith_status status =
        pith__lingua_compress(&t.lm, &t.options, &t.prompt, &t.arena, &t.out, &err);
    trial_close(&t);
    return status;
}

static void no_memory(void **state)
{
    (void)state;
    for (int mode = 0; mode < 2; mode++) {
        pith__lingua_mode which = (pith__lingua_mode)mode;
        test_sweep(sweep_body, &which);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slice_bounds),
        cmocka_unit_test(decoded_characters),
        cmocka_unit_test(release_threshold),
        cmocka_unit_test(paper_quantile),
        cmocka_unit_test(thresholds_of_random_pools),
        cmocka_unit_test(mask_extents),
        cmocka_unit_test(schedule_of_contexts),
        cmocka_unit_test(schedule_of_tokens),
        cmocka_unit_test(rates_of_tokens),
        cmocka_unit_test(contexts_as_released),
        cmocka_unit_test(forced_contexts_as_released),
        cmocka_unit_test(contexts_as_published),
        cmocka_unit_test(sentences_split),
        cmocka_unit_test(perplexity_as_released),
        cmocka_unit_test(perplexity_in_pieces),
        cmocka_unit_test(as_released),
        cmocka_unit_test(papers_shares),
        cmocka_unit_test(papers_empty_part),
        cmocka_unit_test(papers_target),
        cmocka_unit_test(papers_contexts),
        cmocka_unit_test(papers_token_level),
        cmocka_unit_test(papers_without_bos),
        cmocka_unit_test(papers_overflow),
        cmocka_unit_test(papers_keep_characters),
        cmocka_unit_test(papers_segments),
        cmocka_unit_test(nothing_to_do),
        cmocka_unit_test(without_token_level),
        cmocka_unit_test(refusals),
        cmocka_unit_test(model_failures),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
