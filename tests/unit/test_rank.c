/*
 * test_rank.c: lib/lingua's rankers and the recovery of a response; lib/text's terms. Expected
 * numbers come from the formulas named beside them, computed in Python.
 */
#include "test.h"

#include "lingua/lingua.h"

#include <math.h>

static const pith_allocator *const mem = &pith__allocator_default;

/* A text from a string literal or variable. */
static pith__lingua_text text_of(const char *text)
{
    return (pith__lingua_text){text, strlen(text)};
}

/* ---- a model without a model ------------------------------------------------------------- */

/* What a token is. */
typedef enum toy_kind {
    TOY_SPLIT = 0, /* a word, or a single space */
    TOY_LEADING,   /* a word with the space before it, as in GPT-2 */
    TOY_DUMMY, /* the same, and the first word has the id that it has after a space, as in Llama */
    TOY_BYTES  /* a byte */
} toy_kind;

typedef struct toy {
    toy_kind kind;
    bool fails;
    size_t calls; /* of nll */
} toy;

/* FNV-1a, 16 bits of it. */
static uint32_t toy_id(const char *bytes, size_t size, bool after_space)
{
    uint32_t hash = UINT32_C(2166136261);
    if (after_space) {
        hash = (hash ^ (uint32_t)' ') * UINT32_C(16777619);
    }
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char)bytes[i]) * UINT32_C(16777619);
    }
    return hash & 0xffff;
}

static size_t toy_token_end(const toy *t, const char *text, size_t size, size_t start)
{
    size_t end = start;
    if (t->kind == TOY_BYTES) {
        return start + 1;
    }
    if (t->kind != TOY_SPLIT && text[end] == ' ' && end + 1 < size && text[end + 1] != ' ') {
        end++;
    }
    if (text[end] == ' ') {
        return end + 1;
    }
    while (end < size && text[end] != ' ') {
        end++;
    }
    return end;
}

static pith_status toy_tokenize(void *user, const char *text, size_t size, pith__arena *arena,
                                pith__lm_tokens *out, pith_error *err)
{
    const toy *t = user;
    *out = (pith__lm_tokens){0};
    PITH__TRY(pith__arena_alloc(arena, size, sizeof *out->items, &out->items, err));
    for (size_t at = 0; at < size;) {
        const size_t end = toy_token_end(t, text, size, at);
        const bool dummy = t->kind == TOY_DUMMY && at == 0 && text[0] != ' ';
        const uint32_t id =
            t->kind == TOY_BYTES ? (unsigned char)text[at] : toy_id(text + at, end - at, dummy);
        out->items[out->count++] = (pith_token_score){at, end, id, NAN};
        at = end;
    }
    return PITH_OK;
}

/* ((31 * id before + id) mod 997) / 100: any function of both will do. */
static pith_status toy_nll(void *user, const uint32_t *ids, size_t n_ids,
                           const pith__lm_range *ranges, size_t n_ranges, bool bos, float *nats,
                           pith_error *err)
{
    toy *t = user;
    t->calls++;
    assert_false(bos); /* it has none */
    if (t->fails) {
        return pith__fail(err, PITH_E_BACKEND, "the toy fails");
    }
    for (size_t i = 0; i < n_ids; i++) {
        nats[i] = NAN;
    }
    for (size_t r = 0; r < n_ranges; r++) {
        for (size_t i = ranges[r].first + 1; i < ranges[r].first + ranges[r].count; i++) {
            nats[i] = (float)((ids[i - 1] * 31 + ids[i]) % 997) / 100.0F;
        }
    }
    return PITH_OK;
}

static pith__lm toy_lm(toy *t)
{
    return (pith__lm){.user = t,
                      .context = 100000,
                      .bos = PITH__LM_NONE,
                      .tokenize = toy_tokenize,
                      .nll = toy_nll};
}

/* ---- helpers ----------------------------------------------------------------------------- */

#define COUNT_MAX 16

typedef struct rank_case {
    pith__rank_method method;
    pith__lingua_mode mode;
    pith__condition condition;
    bool restrictive;
    uint64_t seed;
} rank_case;

typedef struct rank_result {
    size_t order[COUNT_MAX];
    double scores[COUNT_MAX];
} rank_result;

static pith_status rank_with(const pith_allocator *allocator, const rank_case *how,
                             const char *const *texts, size_t count, const char *query,
                             rank_result *out, pith_error *err)
{
    toy t = {.kind = TOY_LEADING};
    const pith__lm lm = toy_lm(&t);
    const bool needs_model = how->method == PITH__RANK_LLMLINGUA ||
                             how->method == PITH__RANK_LONGLLMLINGUA ||
                             how->method == PITH__RANK_HYBRID;
    const pith__lingua_options options = {.mode = how->mode,
                                          .condition = how->condition,
                                          .rank_method = how->method,
                                          .seed = how->seed};
    pith__lingua_text list[COUNT_MAX];
    assert_true(count <= COUNT_MAX);
    for (size_t i = 0; i < count; i++) {
        list[i] = text_of(texts[i]);
        list[i].text = list[i].size == 0 ? NULL : list[i].text;
    }
    const pith__lingua_text question = text_of(query);
    pith__arena arena;
    pith__arena_init(&arena, allocator);
    pith__ranking ranking;
    const pith_status status =
        pith__lingua_rank(needs_model ? &lm : NULL, &options, list, count, &question,
                          how->restrictive, &arena, &ranking, err);
    if (status == PITH_OK) {
        assert_int_equal(ranking.count, count);
        memcpy(out->order, ranking.order, count * sizeof *ranking.order);
        memcpy(out->scores, ranking.scores, count * sizeof *ranking.scores);
        /* two lists stay, each rounded up to the arena's alignment of 64 */
        assert_int_equal(arena.used_total, 2 * (count == 0 ? 64 : (count * 8 + 63) / 64 * 64));
    } else {
        assert_null(ranking.order);
        assert_null(ranking.scores);
    }
    pith__arena_deinit(&arena);
    return status;
}

static rank_result ranked(const rank_case *how, const char *const *texts, size_t count,
                          const char *query)
{
    rank_result out = {{0}, {0}};
    pith_error err;
    assert_ok(rank_with(mem, how, texts, count, query, &out, &err), err);
    return out;
}

static void assert_scores(const rank_result *result, const double *expected, size_t count,
                          double tolerance)
{
    for (size_t i = 0; i < count; i++) {
        if (isnan(expected[i])) {
            assert_true(isnan(result->scores[i]));
        } else if (!(fabs(result->scores[i] - expected[i]) <= tolerance)) {
            fail_msg("score %zu: %.17g, expected %.17g", i, result->scores[i], expected[i]);
        }
    }
}

static void assert_order(const rank_result *result, const size_t *expected, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(result->order[i], expected[i]);
    }
}

/* ---- BM25 -------------------------------------------------------------------------------- */

static const char *const official_texts[] = {"the cat sat on the mat", "the dog sat  on the log",
                                             "", "a cat and a dog and a cat",
                                             "Zo\303\253 na\303\257ve caf\303\251 the the the"};

/*
 * rank_bm25's BM25Okapi on text.split(" "): idf = ln(N - n + 0.5) - ln(n + 0.5), 0.25 of the mean
 * where negative; sum of idf * f * 2.5 / (f + 1.5 * (0.25 + 0.75 * length / mean length)).
 */
static void test_bm25_official(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        double scores[5];
    } cases[] = {
        {"the cat",
         {0.5686688088357403, 0.22978194449234893, 0.0, 0.4224763509145275, 0.28453992249271864}},
        {"dog  dog caf\303\251",
         {0.0, 0.9073408627987765, 0.5337803187192047, 0.56414506738886, 1.0643994492286186}},
        {"", {0.0, 0.30244695426625884, 0.5337803187192047, 0.0, 0.0}},
        {"cat", {0.32599386247037937, 0.0, 0.0, 0.4224763509145275, 0.0}},
        {"unknown words", {0.0, 0.0, 0.0, 0.0, 0.0}},
    };
    const rank_case how = {.method = PITH__RANK_BM25};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const rank_result result = ranked(&how, official_texts, 5, cases[i].query);
        assert_scores(&result, cases[i].scores, 5, 1e-15);
    }
    const rank_result one = ranked(&how, (const char *const[]){"one two"}, 1, "two");
    assert_scores(&one, (const double[]){-0.2746530721670274}, 1, 1e-15);
    const rank_result empty = ranked(&how, (const char *const[]){""}, 1, "");
    assert_scores(&empty, (const double[]){-0.2746530721670274}, 1, 1e-15);

    /* in half of the texts: an IDF of 0 is not negative */
    const rank_result half = ranked(&how, (const char *const[]){"x y", "x z"}, 2, "x y w");
    assert_scores(&half, (const double[]){-0.13411982603617503, -0.13411982603617503}, 2, 1e-15);

    rank_result order = ranked(&how, official_texts, 5, "dog  dog caf\303\251");
    assert_order(&order, (const size_t[]){4, 1, 3, 2, 0}, 5);
    order = ranked(&how, official_texts, 5, "unknown words");
    assert_order(&order, (const size_t[]){0, 1, 2, 3, 4}, 5);
    order = ranked(&how, official_texts, 5, "cat"); /* ties behind the two */
    assert_order(&order, (const size_t[]){3, 0, 1, 2, 4}, 5);
}

/* The same with idf = ln(1 + (N - n + 0.5) / (n + 0.5)) on folded words, see rank_bm25.c. */
static void test_bm25_folded(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "The cats sat on the mat.", "A Dog's house: DOGS, (dog) and e-mail!", "",
        "Studies of cities; bus stops", "ZO\303\213'S caf\303\251 in Stra\303\237e"};
    static const struct {
        const char *query;
        double scores[5];
    } cases[] = {
        {"What is the cat?", {1.2718296891008172, 0.0, 0.0, 0.0, 0.0}},
        {"dog houses", {0.0, 2.94474292394748, 0.0, 0.0, 0.0}},
        {"study the city", {0.0, 0.0, 0.0, 2.772588722239781, 0.0}},
        {"zo\303\253 Caf\303\251 STRASSE stra\303\237e", {0.0, 0.0, 0.0, 0.0, 4.1588830833596715}},
        {"who is the", {1.860797800160927, 0.0, 0.0, 0.0, 0.0}}, /* nothing else to go by */
        {"buses bus", {0.0, 0.0, 0.0, 1.3862943611198906, 0.0}},
        {"e-mail", {0.0, 2.038668178117486, 0.0, 0.0, 0.0}},
        {"?!", {0.0, 0.0, 0.0, 0.0, 0.0}},
        {"", {0.0, 0.0, 0.0, 0.0, 0.0}},
    };
    const rank_case how = {.method = PITH__RANK_BM25, .mode = PITH__LINGUA_PAPER};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const rank_result result = ranked(&how, texts, 5, cases[i].query);
        assert_scores(&result, cases[i].scores, 5, 1e-15);
    }
    const rank_result blank = ranked(&how, (const char *const[]){"", " .", ""}, 3, "cat");
    assert_scores(&blank, (const double[]){0.0, 0.0, 0.0}, 3, 0.0);
    assert_order(&blank, (const size_t[]){0, 1, 2}, 3);
}

/* Plural endings as in Harman's S stemmer: which queries find which words. */
static void test_bm25_plurals(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        const char *query;
        bool found;
    } cases[] = {
        {"cities", "city", true},
        {"cities", "citie", false},
        {"boys", "boy", true},
        {"trees", "tree", true},
        {"shoes", "shoe", true},
        {"horses", "horse", true},
        {"glass", "glas", false},
        {"bus", "bu", false},
        {"gas", "ga", false},
        {"laddies", "laddy", true},
        {"zaies", "zay", false},
        {"zaies", "zaie", true},
        {"zeies", "zeie", true},
        {"ties", "tie", false},
        {"1990s", "1990", true},
        {"status", "statu", false},
        {"caf\303\251s", "caf\303\251", true},
    };
    const rank_case how = {.method = PITH__RANK_BM25, .mode = PITH__LINGUA_PAPER};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const rank_result result = ranked(&how, &cases[i].word, 1, cases[i].query);
        if ((result.scores[0] > 0.0) != cases[i].found) {
            fail_msg("\"%s\" for \"%s\": %g", cases[i].word, cases[i].query, result.scores[0]);
        }
    }
}

/* ---- gzip -------------------------------------------------------------------------------- */

/* "w1156 w0 w4 ...": words with the squares of random numbers. */
static char *random_words(size_t size, uint64_t seed)
{
    char *text = malloc(size + 16);
    assert_non_null(text);
    for (size_t used = 0; used < size;) {
        const unsigned value = (unsigned)test_random_below(&seed, 50);
        used += (size_t)snprintf(text + used, 16, "w%u ", value * value);
    }
    text[size] = '\0';
    return text;
}

/* len(gzip.compress(...)) of Python 3.11, zlib 1.2.13: of a text, the query, "text query". */
typedef struct gzip_sizes {
    double text;
    double query;
    double joined;
} gzip_sizes;

static void assert_ncd(const char *const *texts, size_t count, const char *query,
                       const gzip_sizes *sizes)
{
    const rank_case how = {.method = PITH__RANK_GZIP};
    const rank_result result = ranked(&how, texts, count, query);
    double expected[COUNT_MAX];
    for (size_t i = 0; i < count; i++) {
        const gzip_sizes *s = &sizes[i];
        expected[i] = -(s->joined - fmin(s->text, s->query)) / fmax(s->text, s->query);
    }
    assert_scores(&result, expected, count, 0.0);
}

static void test_gzip(void **state)
{
    (void)state;
    char cafes[20 * 20 + 1];
    cafes[0] = '\0';
    for (int i = 0; i < 20; i++) {
        strcat(cafes, "Zo\303\253 na\303\257ve caf\303\251 ");
    }
    char *large = random_words(100000, 1);
    char *query = random_words(70000, 3);
    const char *const texts[] = {
        "",    "a",  "the cat sat on the mat", "the dog sat on the log, the dog sat on the log",
        cafes, large};
    assert_ncd(texts, 6, "where did the cat sit?",
               (const gzip_sizes[]){{20, 42, 43},
                                    {21, 42, 44},
                                    {39, 42, 55},
                                    {45, 42, 63},
                                    {44, 42, 65},
                                    {22110, 42, 22160}});
    assert_ncd(texts, 6, "",
               (const gzip_sizes[]){{20, 20, 21},
                                    {21, 20, 22},
                                    {39, 20, 39},
                                    {45, 20, 46},
                                    {44, 20, 45},
                                    {22110, 20, 22111}});
    assert_ncd(texts, 6, query,
               (const gzip_sizes[]){{20, 15742, 15743},
                                    {21, 15742, 15747},
                                    {39, 15742, 15784},
                                    {45, 15742, 15794},
                                    {44, 15742, 15799},
                                    {22110, 15742, 36917}});
    const rank_case how = {.method = PITH__RANK_GZIP};
    const rank_result result = ranked(&how, texts, 6, "where did the cat sit?");
    assert_order(&result, (const size_t[]){2, 3, 4, 0, 1, 5}, 6); /* two of 23/42 */
    free(large);
    free(query);
}

/* ---- random ------------------------------------------------------------------------------ */

static void test_random_order(void **state)
{
    (void)state;
    static const char *const texts[] = {"a", "b", "c", "d", "e"};
    rank_case how = {.method = PITH__RANK_RANDOM};
    /* the upper 53 bits of splitmix64(0), (42) */
    rank_result result = ranked(&how, texts, 5, "");
    assert_scores(&result,
                  (const double[]){0.8833108082136426, 0.43152799704850997, 0.026433771592597743,
                                   0.9708819781538285, 0.10634669156721244},
                  5, 0.0);
    assert_order(&result, (const size_t[]){3, 0, 1, 4, 2}, 5);
    how.seed = 42;
    result = ranked(&how, texts, 5, "any");
    assert_scores(&result,
                  (const double[]){0.7415648787718233, 0.1599103928769201, 0.27860113025513866,
                                   0.34419071652363753, 0.03803016854024621},
                  5, 0.0);
    assert_order(&result, (const size_t[]){0, 3, 2, 1, 4}, 5);
}

/* ---- perplexity -------------------------------------------------------------------------- */

static const char *const ppl_texts[] = {"the cat sat on the mat", "the dog sat on the log",
                                        "a cat and a dog", "every good boy does fine", ""};

static const char ppl_query[] = "where is the cat?";

/* Mean of the toy's nats: of the text, of the text behind the query, of the query behind it. */
static void test_perplexity(void **state)
{
    (void)state;
    static const struct {
        pith__lingua_mode mode;
        pith__condition condition;
        bool restrictive;
        double scores[4];
        size_t order[4];
    } cases[] = {
        {PITH__LINGUA_OFFICIAL,
         PITH__CONDITION_NONE,
         true,
         {4.216, 4.808, 6.2375, 4.005},
         {2, 1, 0, 3}},
        {PITH__LINGUA_PAPER,
         PITH__CONDITION_NONE,
         false,
         {4.216, 4.808, 6.2375, 4.005},
         {2, 1, 0, 3}},
        {PITH__LINGUA_OFFICIAL,
         PITH__CONDITION_BEFORE,
         true,
         {-4.27, -4.862, -6.5, -4.935},
         {0, 1, 3, 2}},
        {PITH__LINGUA_OFFICIAL,
         PITH__CONDITION_BEFORE,
         false,
         {-5.538, -4.136, -7.58, -5.4},
         {1, 3, 0, 2}},
        {PITH__LINGUA_PAPER,
         PITH__CONDITION_BEFORE,
         true,
         {-4.49333333, -4.98666667, -5.844, -3.768},
         {3, 0, 1, 2}},
        {PITH__LINGUA_PAPER,
         PITH__CONDITION_BEFORE,
         false,
         {-5.02333333, -5.51666667, -6.48, -4.404},
         {3, 0, 1, 2}},
        {PITH__LINGUA_OFFICIAL,
         PITH__CONDITION_AFTER,
         true,
         {-4.45466667, -4.398, -4.38933333, -4.404},
         {2, 1, 3, 0}},
        {PITH__LINGUA_OFFICIAL,
         PITH__CONDITION_AFTER,
         false,
         {-3.05, -2.76666667, -2.72333333, -2.79666667},
         {2, 1, 3, 0}},
        {PITH__LINGUA_PAPER,
         PITH__CONDITION_AFTER,
         true,
         {-4.441875, -4.67625, -4.556875, -4.571875},
         {0, 2, 3, 1}},
        {PITH__LINGUA_PAPER,
         PITH__CONDITION_AFTER,
         false,
         {-3.35, -4.2875, -3.81, -3.87},
         {0, 2, 3, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rank_case how = {.mode = cases[i].mode,
                         .condition = cases[i].condition,
                         .restrictive = cases[i].restrictive};
        how.method = PITH__RANK_LLMLINGUA;
        rank_result result = ranked(&how, ppl_texts, 4, ppl_query);
        assert_scores(&result, cases[i].scores, 4, 1e-6);
        assert_order(&result, cases[i].order, 4);
        how.method = PITH__RANK_LONGLLMLINGUA;
        result = ranked(&how, ppl_texts, 4, ppl_query);
        assert_scores(&result, cases[i].scores, 4, 1e-6);
    }
}

/* Without BOS a text of one token has no loss at all, like an empty one: NaN, and last. */
static void test_perplexity_nan(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "a cat and a dog", "word", "every good boy does fine",
                                        "", "a cat and a dog"};
    rank_case how = {.method = PITH__RANK_LLMLINGUA};
    const double none[] = {(double)NAN, 6.2375, (double)NAN, 4.005, (double)NAN, 6.2375};
    rank_result result = ranked(&how, texts, 6, "");
    assert_scores(&result, none, 6, 1e-6);
    assert_order(&result, (const size_t[]){1, 5, 3, 0, 2, 4}, 6);
    how = (rank_case){.method = PITH__RANK_LONGLLMLINGUA,
                      .mode = PITH__LINGUA_PAPER,
                      .condition = PITH__CONDITION_AFTER};
    result = ranked(&how, texts, 6, ""); /* no query to judge */
    assert_order(&result, (const size_t[]){0, 1, 2, 3, 4, 5}, 6);
    for (size_t i = 0; i < 6; i++) {
        assert_true(isnan(result.scores[i]));
    }
}

/* ---- hybrid ------------------------------------------------------------------------------ */

/* 1/(60 + rank by BM25) + 1/(60 + rank by the query's NLL behind the text); ties share a rank. */
static void test_hybrid(void **state)
{
    (void)state;
    rank_case how = {.method = PITH__RANK_HYBRID,
                     .condition = PITH__CONDITION_BEFORE, /* has no say */
                     .restrictive = true};
    rank_result result = ranked(&how, ppl_texts, 5, ppl_query);
    assert_scores(&result,
                  (const double[]){0.03177805800756621, 0.032266458495966696, 0.03200204813108039,
                                   0.03149801587301587, 0.032266458495966696},
                  5, 1e-15);
    assert_order(&result, (const size_t[]){1, 4, 2, 0, 3}, 5);
    how.mode = PITH__LINGUA_PAPER;
    result = ranked(&how, ppl_texts, 5, ppl_query);
    assert_scores(&result,
                  (const double[]){0.03252247488101534, 0.03125763125763126, 0.032266458495966696,
                                   0.03149801587301587, 0.03200204813108039},
                  5, 1e-15);
    result = ranked(&how, ppl_texts, 5, ""); /* the texts' own perplexity alone */
    assert_scores(&result, (const double[]){4.216, 4.808, 6.2375, 4.005, (double)NAN}, 5, 1e-6);
    assert_order(&result, (const size_t[]){2, 1, 0, 3, 4}, 5);
}

/* ---- all methods ------------------------------------------------------------------------- */

static void test_none_and_one(void **state)
{
    (void)state;
    for (int method = PITH__RANK_LLMLINGUA; method <= PITH__RANK_HYBRID; method++) {
        for (int mode = PITH__LINGUA_OFFICIAL; mode <= PITH__LINGUA_PAPER; mode++) {
            const rank_case how = {.method = (pith__rank_method)method,
                                   .mode = (pith__lingua_mode)mode,
                                   .condition = PITH__CONDITION_AFTER};
            (void)ranked(&how, NULL, 0, "cat");
            const rank_result one = ranked(&how, ppl_texts, 1, "the cat");
            assert_int_equal(one.order[0], 0);
            assert_true(one.scores[0] == one.scores[0]);
        }
    }
}

static void test_model_fails(void **state)
{
    (void)state;
    toy t = {.fails = true};
    const pith__lm lm = toy_lm(&t);
    const pith__lingua_options options = {.rank_method = PITH__RANK_HYBRID};
    const pith__lingua_text text = text_of("a b c");
    pith__arena arena;
    pith__arena_init(&arena, mem);
    pith__ranking ranking;
    pith_error err;
    assert_status(pith__lingua_rank(&lm, &options, &text, 1, &text, true, &arena, &ranking, &err),
                  PITH_E_BACKEND);
    assert_string_equal(err.message, "the toy fails");
    assert_null(ranking.order);
    assert_int_equal(t.calls, 1);
    pith__arena_deinit(&arena);
}

static pith_status sweep_rank(const pith_allocator *allocator, void *user)
{
    rank_result result;
    return rank_with(allocator, user, official_texts, 5, ppl_query, &result, NULL);
}

static void test_rank_sweep(void **state)
{
    (void)state;
    for (int method = PITH__RANK_LLMLINGUA; method <= PITH__RANK_HYBRID; method++) {
        for (int mode = PITH__LINGUA_OFFICIAL; mode <= PITH__LINGUA_PAPER; mode++) {
            rank_case how = {.method = (pith__rank_method)method,
                             .mode = (pith__lingua_mode)mode,
                             .condition = PITH__CONDITION_AFTER,
                             .restrictive = true};
            test_sweep(sweep_rank, &how);
        }
    }
}

/* ---- terms ------------------------------------------------------------------------------- */

static void assert_terms(const char *text, const char *expected)
{
    pith__terms terms;
    pith_error err;
    assert_ok(pith__text_terms(text, strlen(text), mem, &terms, &err), err);
    char line[1024];
    size_t used = 0;
    for (size_t i = 0; i < terms.spans.count; i++) {
        const pith__span *span = &terms.spans.items[i];
        assert_true(span->start < span->end && span->end <= terms.capacity);
        assert_true(used + (span->end - span->start) + 2 < sizeof line);
        if (i > 0) {
            line[used++] = '|';
        }
        memcpy(line + used, terms.text + span->start, span->end - span->start);
        used += span->end - span->start;
    }
    line[used] = '\0';
    assert_string_equal(line, expected);
    pith__terms_deinit(&terms, mem);
    assert_null(terms.text);
}

static void test_terms(void **state)
{
    (void)state;
    assert_terms("", "");
    assert_terms(" .\n!", "");
    assert_terms("Don't STOP\342\200\224the e-mail's 3.14, x_Y! f(x)",
                 "don|t|stop|the|e|mail|s|3|14|x_y|f|x");
    assert_terms("\xff"
                 "A\xff"
                 "b\xc3",
                 "a|b");
    assert_terms("\346\210\221\347\210\261\345\214\227\344\272\254",
                 "\346\210\221|\347\210\261|\345\214\227\344\272\254");
    /* status C and S of CaseFolding.txt; two bytes become three, three two, and one stays whole */
    assert_terms("\303\200\303\211 \316\243\316\277\317\202 \320\237\320\240", /* ÀÉ Σος ПР */
                 "\303\240\303\251|\317\203\316\277\317\203|\320\277\321\200");
    assert_terms("\310\272\310\272 \342\204\246 \341\272\236 \304\260",
                 "\342\261\245\342\261\245|\317\211|\303\237|\304\260");
}

/* No character outgrows the room for it, and none is lost. */
static void test_terms_all(void **state)
{
    (void)state;
    for (uint32_t c = 0x80; c < 0x110000; c++) {
        if (c >= 0xd800 && c < 0xe000) {
            continue;
        }
        char text[8];
        size_t size = 0;
        if (c < 0x800) {
            text[size++] = (char)(unsigned char)(0xc0 | c >> 6);
        } else if (c < 0x10000) {
            text[size++] = (char)(unsigned char)(0xe0 | c >> 12);
            text[size++] = (char)(unsigned char)(0x80 | (c >> 6 & 0x3f));
        } else {
            text[size++] = (char)(unsigned char)(0xf0 | c >> 18);
            text[size++] = (char)(unsigned char)(0x80 | (c >> 12 & 0x3f));
            text[size++] = (char)(unsigned char)(0x80 | (c >> 6 & 0x3f));
        }
        text[size++] = (char)(unsigned char)(0x80 | (c & 0x3f));
        pith__terms terms;
        pith_error err;
        assert_ok(pith__text_terms(text, size, mem, &terms, &err), err);
        assert_true(terms.spans.count <= 1);
        if (terms.spans.count == 1) {
            assert_true(terms.spans.items[0].end <= terms.capacity);
            assert_true(pith__utf8_check(terms.text, terms.spans.items[0].end, NULL));
        }
        pith__terms_deinit(&terms, mem);
    }
}

static pith_status sweep_terms(const pith_allocator *allocator, void *user)
{
    (void)user;
    static const char text[] = "Don't stop the e-mail, a b c d e f g h i j k l m n o p q r s t";
    pith__terms terms;
    const pith_status status = pith__text_terms(text, sizeof text - 1, allocator, &terms, NULL);
    if (status != PITH_OK) {
        assert_null(terms.text);
        assert_int_equal(terms.spans.count, 0);
    }
    pith__terms_deinit(&terms, allocator);
    return status;
}

static void test_terms_sweep(void **state)
{
    (void)state;
    test_sweep(sweep_terms, NULL);
}

/* ---- recovery ---------------------------------------------------------------------------- */

/* free() it. */
static char *recovered(toy_kind kind, const char *original, const char *compressed,
                       const char *response)
{
    toy t = {.kind = kind};
    const pith__lm lm = toy_lm(&t);
    const pith__lingua_text texts[] = {text_of(original), text_of(compressed), text_of(response)};
    pith__arena arena;
    pith__arena_init(&arena, mem);
    pith__buf out;
    pith__buf_init(&out, mem, SIZE_MAX - 1);
    pith_error err;
    assert_ok(pith__buf_append_text(&out, ">", &err), err); /* it appends */
    assert_ok(pith__lingua_recover(&lm, &texts[0], &texts[1], &texts[2], &out, &arena, &err), err);
    assert_int_equal(out.data[0], '>');
    assert_int_equal(strlen(out.data), out.size);
    char *copy = malloc(out.size);
    assert_non_null(copy);
    memcpy(copy, out.data + 1, out.size);
    pith__buf_deinit(&out);
    pith__arena_deinit(&arena);
    return copy;
}

static void assert_recovered(toy_kind kind, const char *original, const char *compressed,
                             const char *response, const char *expected)
{
    char *text = recovered(kind, original, compressed, response);
    assert_string_equal(text, expected);
    free(text);
}

#define ORIGINAL                                                                             \
    "On Monday the old cat, which was very hungry, sat on the warm mat near the door and "   \
    "the cat slept until the dog \342\200\224 na\303\257ve but kind \342\200\224 came home " \
    "at five o'clock"
#define COMPRESSED \
    "Monday cat, hungry, sat mat door cat slept until dog na\303\257ve came home five o'clock"

/* Expected: the release's recover() with these tokens, computed in Python. */
static void test_recover(void **state)
{
    (void)state;
    static const char *const cases[][4] = {
        {ORIGINAL, COMPRESSED, "cat, hungry, sat mat",
         "cat, which was very hungry, sat on the warm mat"},
        {ORIGINAL, COMPRESSED, "The cat, hungry, sat mat.",
         "The cat, which was very hungry, sat mat."},
        {ORIGINAL, COMPRESSED, "home five o'clock", "home at five o'clock"},
        {ORIGINAL, COMPRESSED, "dog na\303\257ve came home",
         "dog \342\200\224 na\303\257ve but kind \342\200\224 came home"},
        {ORIGINAL, COMPRESSED, "nothing here", "nothing here"},
        {ORIGINAL, COMPRESSED, "door cat slept until dog", "door and the cat slept until the dog"},
        {ORIGINAL, COMPRESSED, "", ""},
        {ORIGINAL, COMPRESSED, "cat  cat", "cat  cat"},
        {ORIGINAL, COMPRESSED, " cat", " cat"},
        {ORIGINAL, COMPRESSED, "cat ", "cat "},
        {"", "a b", "a b", "a b"},
        {"a x b", "", "a b", "a b"},
        {"a b c", "a c", "a c", "a b c"},
        {"a 1 2 3 4 b", "a b", "a b", "a 1 2 3 4 b"},
        {"a 1 2 3 4 5 b a 1 b", "a b", "a b", "a 1 b"},
        {"a 1 2 3 4 b c", "a b c", "a b c", "a 1 2 3 4 b c"},
        {"x b c", "a b c", "a b c", "a b c"}, /* begins with a token that is nowhere */
        {"a x a b c", "a b c", "a b c d", "a b c d"},
        {"concatenate cats", "cat", "cat", "cat"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_recovered(TOY_SPLIT, cases[i][0], cases[i][1], cases[i][2], cases[i][3]);
    }
}

/* Where tokens carry the space before them: a phrase is found in the middle of the original. */
static void test_recover_spaces(void **state)
{
    (void)state;
    for (toy_kind kind = TOY_LEADING; kind <= TOY_DUMMY; kind++) {
        assert_recovered(kind, ORIGINAL, COMPRESSED, "cat, hungry, sat mat",
                         "cat, which was very hungry, sat on the warm mat");
        assert_recovered(kind, ORIGINAL, COMPRESSED, "So: home five o'clock, yes",
                         "So: home at five o'clock, yes"); /* "o'clock," is not compressed's */
        assert_recovered(kind, ORIGINAL, COMPRESSED, "So: home five o'clock .",
                         "So: home at five o'clock .");
        assert_recovered(kind, "old cat sat old dog", "cat old dog", "cat old dog",
                         "cat sat old dog");
        assert_recovered(kind, "cat sat", "cat sat", "cat  cat sat",
                         "cat cat sat"); /* "cat " stands in compressed, but no token is a space */
        assert_recovered(kind, " cat sat", "cat sat", "a cat sat", "a cat sat");
    }
}

/* A stretch that would begin or end inside a character is extended to all of it. */
static void test_recover_characters(void **state)
{
    (void)state;
    /* bytes C3 A9 and C3 A8: the phrase begins with the second byte of the first */
    assert_recovered(TOY_BYTES, "x\303\251-b", "\251b \303", "\251b", "\303\251-b");
    assert_recovered(TOY_BYTES, "a-\303\251x", "a\303", "a\303", "a-\303\251");
    /* ill-formed bytes are characters of their own */
    assert_recovered(TOY_BYTES, "a-\377x", "a\377", "a\377", "a-\377");
}

/* What recover() of the release does, without any index, and with either tokenization. */
static bool stands_in(const char *text, const char *start, size_t size)
{
    for (size_t at = 0; at + size <= strlen(text); at++) {
        if (memcmp(text + at, start, size) == 0) {
            return true;
        }
    }
    return false;
}

typedef struct slow_match {
    size_t start; /* bytes of the original */
    size_t end;
    size_t span; /* tokens */
    size_t missing;
} slow_match;

static void slow_find(toy *t, pith__arena *arena, const char *original, const char *phrase,
                      slow_match *best)
{
    pith__lm_tokens all = {0};
    pith__lm_tokens q = {0};
    assert_int_equal(toy_tokenize(t, original, strlen(original), arena, &all, NULL), PITH_OK);
    assert_int_equal(toy_tokenize(t, phrase, strlen(phrase), arena, &q, NULL), PITH_OK);
    for (size_t p = 0; p < all.count && q.count > 0; p++) {
        if (all.items[p].id != q.items[0].id) {
            continue;
        }
        size_t last = p;
        size_t found = 1;
        for (size_t x = 1; x < q.count; x++) {
            size_t next = last + 1;
            while (next < all.count && all.items[next].id != q.items[x].id) {
                next++;
            }
            if (next < all.count && next - last <= 10) {
                found++;
                last = next;
            }
        }
        const slow_match match = {all.items[p].start, all.items[last].end, last - p + 1,
                                  q.count - found};
        if (match.missing < best->missing ||
            (match.missing == best->missing && match.span < best->span)) {
            *best = match;
        }
    }
}

static void slow_recover(toy_kind kind, const char *original, const char *compressed,
                         const char *response, char *out)
{
    toy t = {.kind = kind};
    pith__arena arena;
    pith__arena_init(&arena, mem);
    const char *at = response;
    out[0] = '\0';
    for (;;) {
        const char *end = at + strcspn(at, " ");
        const bool runs = stands_in(compressed, at, (size_t)(end - at));
        while (runs && *end != '\0') {
            const char *next = end + 1 + strcspn(end + 1, " ");
            if (!stands_in(compressed, at, (size_t)(next - at))) {
                break;
            }
            end = next;
        }
        char phrase[256] = " ";
        strncat(phrase, at, (size_t)(end - at));
        slow_match best = {0, 0, SIZE_MAX, SIZE_MAX};
        if (runs) {
            slow_find(&t, &arena, original, phrase + 1, &best);
            if (kind == TOY_LEADING && phrase[1] != ' ' && phrase[1] != '\0') {
                slow_find(&t, &arena, original, phrase, &best);
            }
        }
        if (best.missing == SIZE_MAX) {
            strcat(out, phrase + 1);
        } else {
            best.start += original[best.start] == ' ' && phrase[1] != ' ';
            strncat(out, original + best.start, best.end - best.start);
        }
        if (*end == '\0') {
            break;
        }
        strcat(out, " ");
        at = end + 1;
    }
    pith__arena_deinit(&arena);
}

static void random_line(uint64_t *seed, size_t words, char *line)
{
    static const char *const atoms[] = {"a", "b", "ab", "ba", "aba", "c", "\303\251", "", "bb"};
    const size_t count = test_random_below(seed, words + 1);
    line[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        strcat(line, i == 0 ? "" : " ");
        /* mostly short lists of words, so that stretches repeat */
        const size_t few = 3 + test_random_below(seed, 7);
        strcat(line, atoms[test_random_below(seed, few < 9 ? few : 9)]);
    }
}

static void test_recover_random(void **state)
{
    (void)state;
    uint64_t seed = 7;
    size_t changed = 0;
    for (size_t i = 0; i < 20000; i++) {
        char original[512];
        char compressed[512];
        char response[512];
        char expected[8192];
        random_line(&seed, 40, original);
        random_line(&seed, 20, compressed);
        random_line(&seed, 12, response);
        const toy_kind kind = i % 2 == 0 ? TOY_SPLIT : TOY_LEADING;
        slow_recover(kind, original, compressed, response, expected);
        char *text = recovered(kind, original, compressed, response);
        if (strcmp(text, expected) != 0) {
            fail_msg("\"%s\", \"%s\", \"%s\": \"%s\", expected \"%s\"", original, compressed,
                     response, text, expected);
        }
        changed += strcmp(text, response) != 0;
        free(text);
    }
    assert_true(changed > 2000);
}

/* As large as a prompt gets; linear in it, or this would not end. */
static void test_recover_large(void **state)
{
    (void)state;
    enum { WORDS = 100000, STEP = 3, FROM = 30000, TO = 33000 };
    char *original = malloc(WORDS * 8);
    char *compressed = malloc(WORDS * 8);
    char *response = malloc(WORDS * 8);
    char *expected = malloc(WORDS * 8);
    size_t used[4] = {0};
    for (size_t i = 0; i < WORDS; i++) {
        used[0] += (size_t)sprintf(original + used[0], "w%zu ", i);
        if (i % STEP == 0) {
            used[1] += (size_t)sprintf(compressed + used[1], "w%zu ", i);
        }
        if (i % STEP == 0 && i >= FROM && i <= TO) {
            used[2] += (size_t)sprintf(response + used[2], i < TO ? "w%zu " : "w%zu", i);
        }
        if (i >= FROM && i <= TO) {
            used[3] += (size_t)sprintf(expected + used[3], i < TO ? "w%zu " : "w%zu", i);
        }
    }
    assert_recovered(TOY_LEADING, original, compressed, response, expected);
    /* the same word everywhere; words that stand nowhere, against much text */
    for (size_t i = 0; i < WORDS; i++) {
        memcpy(original + 2 * i, "a ", 3);
        memcpy(compressed + 2 * i, i % 2 == 0 ? "a " : "b ", 3);
        memcpy(response + 2 * i, i % 2 == 0 ? "c " : "a ", 3);
    }
    assert_recovered(TOY_LEADING, original, compressed, response, response);
    free(original);
    free(compressed);
    free(response);
    free(expected);
}

static pith_status sweep_recover(const pith_allocator *allocator, void *user)
{
    (void)user;
    toy t = {.kind = TOY_LEADING};
    const pith__lm lm = toy_lm(&t);
    const pith__lingua_text texts[] = {text_of(ORIGINAL), text_of(COMPRESSED),
                                       text_of("Then cat, hungry, sat mat. Then home five ...")};
    pith__arena arena;
    pith__arena_init(&arena, allocator);
    pith__buf out;
    pith__buf_init(&out, allocator, SIZE_MAX - 1);
    pith_status status = pith__buf_append_text(&out, "x", NULL);
    if (status == PITH_OK) {
        status = pith__lingua_recover(&lm, &texts[0], &texts[1], &texts[2], &out, &arena, NULL);
        assert_int_equal(strlen(out.data), out.size);
        if (status != PITH_OK) {
            assert_int_equal(out.size, 1);
        }
    }
    pith__buf_deinit(&out);
    pith__arena_deinit(&arena);
    return status;
}

static void test_recover_sweep(void **state)
{
    (void)state;
    test_sweep(sweep_recover, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bm25_official),
        cmocka_unit_test(test_bm25_folded),
        cmocka_unit_test(test_bm25_plurals),
        cmocka_unit_test(test_gzip),
        cmocka_unit_test(test_random_order),
        cmocka_unit_test(test_perplexity),
        cmocka_unit_test(test_perplexity_nan),
        cmocka_unit_test(test_hybrid),
        cmocka_unit_test(test_none_and_one),
        cmocka_unit_test(test_model_fails),
        cmocka_unit_test(test_rank_sweep),
        cmocka_unit_test(test_terms),
        cmocka_unit_test(test_terms_all),
        cmocka_unit_test(test_terms_sweep),
        cmocka_unit_test(test_recover),
        cmocka_unit_test(test_recover_spaces),
        cmocka_unit_test(test_recover_characters),
        cmocka_unit_test(test_recover_random),
        cmocka_unit_test(test_recover_large),
        cmocka_unit_test(test_recover_sweep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
