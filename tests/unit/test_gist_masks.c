/*
 * test_gist_masks.c: who sees whom around gist tokens, against tables written by hand from the
 * rules of Mu, Li & Goodman 2023, and against the masks of training.
 */
#include "grad/pass.h"
#include "soft/soft.h"

#include "test.h"

/* ---- tables ----------------------------------------------------------------------------------- */

enum { ROWS_MAX = 6 };

/* A row for each query, '1' where it sees the key of that column. */
typedef struct table {
    const char *what;
    pith__gist_attention attention;
    pith__gist_condition condition;
    const char *rows[ROWS_MAX + 1]; /* up to the first NULL */
} table;

static void check_tables(const table *tables, size_t count, size_t first, size_t last)
{
    for (size_t t = 0; t < count; t++) {
        const size_t width = strlen(tables[t].rows[0]);
        for (size_t query = 0; tables[t].rows[query] != NULL; query++) {
            assert_int_equal(strlen(tables[t].rows[query]), width);
            for (size_t key = 0; key < width; key++) {
                const bool sees = pith__gist_sees(tables[t].attention, tables[t].condition, first,
                                                  last, query, key);
                if (sees != (tables[t].rows[query][key] == '1')) {
                    fail_msg("%s: query %zu, key %zu", tables[t].what, query, key);
                }
            }
        }
    }
}

#define N_TABLES(tables) (sizeof(tables) / sizeof(tables)[0])

/* a b c G d */
static void one_gist_token(void **state)
{
    (void)state;
    static const table tables[] = {
        {"decoder, gist",
         PITH__GIST_DECODER,
         PITH__GIST_GIST,
         {"10000", /* a */
          "11000", /* b */
          "11100", /* c */
          "11110", /* G */
          "00011" /* d: the gist and itself */}},
        {"decoder, negative",
         PITH__GIST_DECODER,
         PITH__GIST_NEGATIVE,
         {"10000", "11000", "11100", "11110", "00001"}},
        {"decoder, positive",
         PITH__GIST_DECODER,
         PITH__GIST_POSITIVE,
         {"10000", "11000", "11100", "11110", "11111"}},
        {"decoder, TF-IDF",
         PITH__GIST_DECODER,
         PITH__GIST_TFIDF,
         {"10000", "11000", "11100", "11110", "11111"}},
        {"encoder, gist",
         PITH__GIST_ENCODER,
         PITH__GIST_GIST,
         {"11110", "11110", "11110", "11110", "00011"}},
        {"encoder, negative",
         PITH__GIST_ENCODER,
         PITH__GIST_NEGATIVE,
         {"11110", "11110", "11110", "11110", "00001"}},
        {"encoder, positive",
         PITH__GIST_ENCODER,
         PITH__GIST_POSITIVE,
         {"11111", "11111", "11111", "11111", "11111"}},
        {"encoder, TF-IDF",
         PITH__GIST_ENCODER,
         PITH__GIST_TFIDF,
         {"11111", "11111", "11111", "11111", "11111"}},
        {"cross, gist", PITH__GIST_CROSS, PITH__GIST_GIST, {"00011", "00011", "00011"}},
        {"cross, negative", PITH__GIST_CROSS, PITH__GIST_NEGATIVE, {"00001", "00001", "00001"}},
        {"cross, positive", PITH__GIST_CROSS, PITH__GIST_POSITIVE, {"11111", "11111", "11111"}},
        {"cross, TF-IDF", PITH__GIST_CROSS, PITH__GIST_TFIDF, {"11111", "11111", "11111"}},
    };
    check_tables(tables, N_TABLES(tables), 3, 3);
}

/* a b G G d e */
static void two_gist_tokens(void **state)
{
    (void)state;
    static const table tables[] = {
        {"decoder, gist",
         PITH__GIST_DECODER,
         PITH__GIST_GIST,
         {"100000", /* a */
          "110000", /* b */
          "111000", /* G */
          "111100", /* G: the text and the gist before it */
          "001110", /* d: both gists and itself */
          "001111" /* e */}},
        {"decoder, negative",
         PITH__GIST_DECODER,
         PITH__GIST_NEGATIVE,
         {"100000", "110000", "111000", "111100", "000010", "000011"}},
        {"decoder, positive",
         PITH__GIST_DECODER,
         PITH__GIST_POSITIVE,
         {"100000", "110000", "111000", "111100", "111110", "111111"}},
        {"decoder, TF-IDF",
         PITH__GIST_DECODER,
         PITH__GIST_TFIDF,
         {"100000", "110000", "111000", "111100", "111110", "111111"}},
        {"encoder, gist",
         PITH__GIST_ENCODER,
         PITH__GIST_GIST,
         {"111100", "111100", "111100", "111100", "001111", "001111"}},
        {"encoder, negative",
         PITH__GIST_ENCODER,
         PITH__GIST_NEGATIVE,
         {"111100", "111100", "111100", "111100", "000011", "000011"}},
        {"encoder, positive",
         PITH__GIST_ENCODER,
         PITH__GIST_POSITIVE,
         {"111111", "111111", "111111", "111111", "111111", "111111"}},
        {"encoder, TF-IDF",
         PITH__GIST_ENCODER,
         PITH__GIST_TFIDF,
         {"111111", "111111", "111111", "111111", "111111", "111111"}},
        {"cross, gist", PITH__GIST_CROSS, PITH__GIST_GIST, {"001111", "001111"}},
        {"cross, negative", PITH__GIST_CROSS, PITH__GIST_NEGATIVE, {"000011", "000011"}},
        {"cross, positive", PITH__GIST_CROSS, PITH__GIST_POSITIVE, {"111111", "111111"}},
        {"cross, TF-IDF", PITH__GIST_CROSS, PITH__GIST_TFIDF, {"111111", "111111"}},
    };
    check_tables(tables, N_TABLES(tables), 2, 3);
}

/* G a: the gist is all there is before the text. */
static void nothing_before_the_gist(void **state)
{
    (void)state;
    static const table tables[] = {
        {"decoder, gist", PITH__GIST_DECODER, PITH__GIST_GIST, {"10", "11"}},
        {"decoder, negative", PITH__GIST_DECODER, PITH__GIST_NEGATIVE, {"10", "01"}},
        {"encoder, gist", PITH__GIST_ENCODER, PITH__GIST_GIST, {"10", "11"}},
        {"cross, negative", PITH__GIST_CROSS, PITH__GIST_NEGATIVE, {"01", "01"}},
    };
    check_tables(tables, N_TABLES(tables), 0, 0);
}

/* ---- the masks of training ---------------------------------------------------------------------- */

enum { LONG_ROWS = 40, CASES = 300 };

/* What the decoder's rows see is the interval that a mask of training gives them. */
static void check_intervals(pith__gist_condition condition, const pith__mask *mask, size_t first,
                            size_t last, size_t rows)
{
    uint32_t from[LONG_ROWS];
    uint32_t end[LONG_ROWS];
    pith_error err = {0};
    assert_ok(pith__mask_intervals(mask, rows, from, end, &err), err);
    for (size_t query = 0; query < rows; query++) {
        assert_int_equal(pith__gist_first_seen(condition, first, last, query), from[query]);
        for (size_t key = 0; key < rows; key++) {
            const bool sees =
                pith__gist_sees(PITH__GIST_DECODER, condition, first, last, query, key);
            assert_int_equal(sees, key >= from[query] && key < end[query]);
        }
    }
}

/* The same from what pith__gist_first_seen() says, as packed rows have it. */
static void check_first(pith__gist_condition condition, size_t first, size_t last, size_t rows)
{
    uint32_t seen[LONG_ROWS];
    for (size_t query = 0; query < rows; query++) {
        seen[query] = (uint32_t)pith__gist_first_seen(condition, first, last, query);
    }
    const pith__mask mask = {.rule = PITH__MASK_FIRST, .first = seen};
    check_intervals(condition, &mask, first, last, rows);
}

static void the_decoder_is_masked_as_in_training(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (size_t i = 0; i < CASES; i++) {
        const size_t rows = 1 + test_random_below(&seed, LONG_ROWS);
        const size_t last = test_random_below(&seed, rows);
        const size_t first = test_random_below(&seed, last + 1);
        const pith__mask gist = {.rule = PITH__MASK_GIST, .gist_first = first, .gist_last = last};
        const pith__mask negative = {
            .rule = PITH__MASK_GIST_NEGATIVE, .gist_first = first, .gist_last = last};
        const pith__mask causal = {.rule = PITH__MASK_CAUSAL};
        check_intervals(PITH__GIST_GIST, &gist, first, last, rows);
        check_intervals(PITH__GIST_NEGATIVE, &negative, first, last, rows);
        check_intervals(PITH__GIST_POSITIVE, &causal, first, last, rows);
        check_intervals(PITH__GIST_TFIDF, &causal, first, last, rows);
        for (int c = PITH__GIST_GIST; c <= PITH__GIST_TFIDF; c++) {
            check_first((pith__gist_condition)c, first, last, rows);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_gist_token),
        cmocka_unit_test(two_gist_tokens),
        cmocka_unit_test(nothing_before_the_gist),
        cmocka_unit_test(the_decoder_is_masked_as_in_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
