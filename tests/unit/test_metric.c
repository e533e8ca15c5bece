/*
 * test_metric.c: ROUGE, BLEU, F1 and exact match against reference values, and where they are undefined.
 */
#include "golden_json.h"

#include "metric/metric_internal.h"

#include <math.h>

static pith_error err;

/* Reference values have nine digits. */
#define TOLERANCE 1e-6

static json_t *load(void)
{
    return golden_load(test_path("golden", "metrics/metrics.json"));
}

static pith__text_pair pair_of(const char *candidate, const char *reference)
{
    return (pith__text_pair){candidate, strlen(candidate), reference, strlen(reference)};
}

/* ---- ROUGE -------------------------------------------------------------------- */

static void check_rouge(const pith__rouge *rouge, const json_t *expected, size_t index)
{
    const double values[] = {rouge->precision, rouge->recall, rouge->f};
    assert_int_equal(json_array_size(expected), 3);
    for (size_t i = 0; i < 3; i++) {
        const double value = json_number_value(json_array_get(expected, i));
        if (!(fabs(values[i] - value) < TOLERANCE)) {
            fail_msg("pair %zu, value %zu: %.9f, not %.9f", index, i, values[i], value);
        }
    }
}

static void check_pair(const pith__text_pair *pair, bool stem, const json_t *expected, size_t index)
{
    pith__rouge rouge;
    assert_ok(pith__rouge_n(pair, 1, stem, &pith__allocator_default, &rouge, &err), err);
    check_rouge(&rouge, json_object_get(expected, "rouge1"), index);
    assert_ok(pith__rouge_n(pair, 2, stem, &pith__allocator_default, &rouge, &err), err);
    check_rouge(&rouge, json_object_get(expected, "rouge2"), index);
    assert_ok(pith__rouge_l(pair, stem, &pith__allocator_default, &rouge, &err), err);
    check_rouge(&rouge, json_object_get(expected, "rougeL"), index);
    assert_ok(pith__rouge_lsum(pair, stem, &pith__allocator_default, &rouge, &err), err);
    check_rouge(&rouge, json_object_get(expected, "rougeLsum"), index);
}

static void rouge_of_reference_pairs(void **state)
{
    (void)state;
    json_t *root = load();
    const json_t *pairs = json_object_get(root, "pairs");
    assert_int_equal(json_array_size(pairs), 30);
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const json_t *item = json_array_get(pairs, i);
        const json_t *rouge = json_object_get(item, "rouge");
        const pith__text_pair pair = pair_of(json_string_value(json_object_get(item, "candidate")),
                                             json_string_value(json_object_get(item, "reference")));
        check_pair(&pair, false, json_object_get(rouge, "plain"), i);
        check_pair(&pair, true, json_object_get(rouge, "stem"), i);
    }
    json_decref(root);
}

static void check_f(double f, double expected)
{
    assert_true(fabs(f - expected) < 1e-12);
}

/* Worked by hand. */
static void rouge_counts_sequences(void **state)
{
    (void)state;
    const pith__text_pair pair = pair_of("a b a b a", "a b a c");
    pith__rouge rouge;
    assert_ok(pith__rouge_n(&pair, 1, false, &pith__allocator_default, &rouge, &err), err);
    check_f(rouge.precision, 3.0 / 5.0);
    check_f(rouge.recall, 3.0 / 4.0);
    check_f(rouge.f, 6.0 / 9.0);
    /* ab ba ab ba and ab ba ac */
    assert_ok(pith__rouge_n(&pair, 2, false, &pith__allocator_default, &rouge, &err), err);
    check_f(rouge.precision, 2.0 / 4.0);
    check_f(rouge.recall, 2.0 / 3.0);
    /* aba bab aba and aba bac */
    assert_ok(pith__rouge_n(&pair, 3, false, &pith__allocator_default, &rouge, &err), err);
    check_f(rouge.precision, 1.0 / 3.0);
    check_f(rouge.recall, 1.0 / 2.0);
    assert_ok(pith__rouge_n(&pair, 5, false, &pith__allocator_default, &rouge, &err), err);
    check_f(rouge.f, 0.0);
    assert_ok(pith__rouge_n(&pair, UINT32_MAX, false, &pith__allocator_default, &rouge, &err), err);
    check_f(rouge.f, 0.0);
    assert_status(pith__rouge_n(&pair, 0, false, &pith__allocator_default, &rouge, &err),
                  PITH_E_ARGUMENT);
}

/* The example of section 3.2 of Lin 2004: one line against two, whose union is w1 w2 w3 w5. */
static void lines_are_united(void **state)
{
    (void)state;
    const pith__text_pair pair = pair_of("w1 w3 w8 w9 w5\n\n--\nw1 w2 w6 w7 w8", "w1 w2 w3 w4 w5");
    pith__rouge rouge;
    assert_ok(pith__rouge_lsum(&pair, false, &pith__allocator_default, &rouge, &err), err);
    check_f(rouge.recall, 4.0 / 5.0);
    check_f(rouge.precision, 4.0 / 10.0);
    assert_ok(pith__rouge_l(&pair, false, &pith__allocator_default, &rouge, &err), err);
    check_f(rouge.recall, 3.0 / 5.0);
}

/* Of several subsequences as long, that which rouge_score takes: here the two lines take both a's. */
static void equals_are_chosen_as_in_rouge_score(void **state)
{
    (void)state;
    const pith__text_pair pair = pair_of("a b\nb a", "a a");
    pith__rouge rouge;
    assert_ok(pith__rouge_lsum(&pair, false, &pith__allocator_default, &rouge, &err), err);
    check_f(rouge.recall, 2.0 / 2.0);
    check_f(rouge.precision, 2.0 / 4.0);
}

/* The plain recursion, for texts of a few letters. */
static size_t lcs_of(const char *a, const char *b)
{
    if (*a == '\0' || *b == '\0') {
        return 0;
    }
    if (*a == *b) {
        return 1 + lcs_of(a + 1, b + 1);
    }
    const size_t left = lcs_of(a + 1, b);
    const size_t right = lcs_of(a, b + 1);
    return left > right ? left : right;
}

static void spread(const char *letters, char *words)
{
    for (; *letters != '\0'; letters++) {
        *words++ = *letters;
        *words++ = ' ';
    }
    *words = '\0';
}

static void random_subsequences(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (size_t round = 0; round < 300; round++) {
        char letters[2][9];
        char words[2][18];
        for (size_t side = 0; side < 2; side++) {
            const size_t size = 1 + test_random_below(&seed, 8);
            for (size_t i = 0; i < size; i++) {
                letters[side][i] = (char)('a' + test_random_below(&seed, 3));
            }
            letters[side][size] = '\0';
            spread(letters[side], words[side]);
        }
        const pith__text_pair pair = pair_of(words[0], words[1]);
        const double lcs = (double)lcs_of(letters[0], letters[1]);
        pith__rouge rouge;
        assert_ok(pith__rouge_l(&pair, true, &pith__allocator_default, &rouge, &err), err);
        check_f(rouge.precision, lcs / (double)strlen(letters[0]));
        check_f(rouge.recall, lcs / (double)strlen(letters[1]));
    }
}

static void letters_are_folded(void **state)
{
    (void)state;
    /* the sign for Kelvin is a capital k; letters of other scripts part words */
    const pith__text_pair pair = pair_of("THE \xe2\x84\xaa"
                                         "elvin na\xc3\xafve",
                                         "the kelvin na ve");
    pith__rouge rouge;
    assert_ok(pith__rouge_n(&pair, 1, false, &pith__allocator_default, &rouge, &err), err);
    check_f(rouge.f, 1.0);
}

static void nothing_scores_nothing(void **state)
{
    (void)state;
    const pith__text_pair pairs[] = {
        {NULL, 0, NULL, 0}, pair_of("...", "\n\n"), pair_of("", "a word"), pair_of("a word", "?")};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        pith__rouge rouge = {1.0, 1.0, 1.0};
        assert_ok(pith__rouge_n(&pairs[i], 1, true, &pith__allocator_default, &rouge, &err), err);
        check_f(rouge.precision + rouge.recall + rouge.f, 0.0);
        assert_ok(pith__rouge_l(&pairs[i], true, &pith__allocator_default, &rouge, &err), err);
        check_f(rouge.precision + rouge.recall + rouge.f, 0.0);
        assert_ok(pith__rouge_lsum(&pairs[i], true, &pith__allocator_default, &rouge, &err), err);
        check_f(rouge.precision + rouge.recall + rouge.f, 0.0);
    }
}

/* ---- BLEU ------------------------------------------------------------------------- */

static double bleu_of(const char *candidate, const char *reference, bool smooth)
{
    const pith__text_pair pair = pair_of(candidate, reference);
    double bleu = -1.0;
    assert_ok(pith__bleu(&pair, smooth, &pith__allocator_default, &bleu, &err), err);
    return bleu;
}

static void bleu_of_reference_pairs(void **state)
{
    (void)state;
    json_t *root = load();
    const json_t *pairs = json_object_get(root, "pairs");
    size_t compared = 0;
    for (size_t i = 0; i < json_array_size(pairs); i++) {
        const json_t *item = json_array_get(pairs, i);
        const json_t *expected = json_object_get(item, "bleu");
        if (expected == NULL) { /* it was of several references */
            continue;
        }
        compared++;
        for (size_t smooth = 0; smooth < 2; smooth++) {
            const double value = json_number_value(json_array_get(expected, smooth));
            const double bleu =
                bleu_of(json_string_value(json_object_get(item, "candidate")),
                        json_string_value(json_object_get(item, "reference")), smooth == 1);
            if (!(fabs(bleu - value) < TOLERANCE)) {
                fail_msg("pair %zu: %.9f, not %.9f", i, bleu, value);
            }
        }
    }
    assert_int_equal(compared, 23);
    json_decref(root);
}

/* Worked by hand. */
static void bleu_counts_sequences(void **state)
{
    (void)state;
    check_f(bleu_of("a b c d", "a b c d", false), 1.0);
    check_f(bleu_of(" a\tb\nc\xc2\xa0"
                    "d ",
                    "a b c d", false),
            1.0);                                       /* any white space */
    check_f(bleu_of("A b c d", "a b c d", false), 0.0); /* case counts: no four are common */
    /* 3 of 4, 2 of 3, 1 of 2, none of 1 */
    check_f(bleu_of("A b c d", "a b c d", true), pow(0.75 * 2.0 / 3.0 * 0.5 * 0.1, 0.25));
    /* a word is found as often as the reference has it: 2 of 5, ... */
    check_f(bleu_of("a a a a a", "a a b", true),
            pow(2.0 / 5.0 * 1.0 / 4.0 * 0.1 / 3.0 * 0.1 / 2.0, 0.25));
    /* all of it, but of 4 words for 6: a penalty of exp(1 - 6/4) */
    check_f(bleu_of("a b c d", "a b c d e f", false), exp(-0.5));
    /* three words have no sequence of four: as if one had not been found */
    check_f(bleu_of("a b c", "a b c", true), pow(0.1, 0.25));
    check_f(bleu_of("a b c", "a b c", false), 0.0);
}

static void bleu_of_nothing_is_nothing(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"", ""}, {"", "a"}, {"a", ""}, {"a b", "c d"}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        check_f(bleu_of(pairs[i][0], pairs[i][1], true), 0.0);
        check_f(bleu_of(pairs[i][0], pairs[i][1], false), 0.0);
    }
    const pith__text_pair none = {NULL, 0, NULL, 0};
    double bleu = 1.0;
    assert_ok(pith__bleu(&none, true, &pith__allocator_default, &bleu, &err), err);
    check_f(bleu, 0.0);
}

/* ---- stems ----------------------------------------------------------------------- */

static void check_stem(const pith__stemmer *stemmer, const char *word, const char *expected)
{
    char stem[PITH__STEM_SIZE + 1];
    size_t size = 0;
    assert_ok(pith__stem(stemmer, word, strlen(word), stem, &size, &err), err);
    stem[size] = '\0';
    if (strcmp(stem, expected) != 0) {
        fail_msg("the stem of %s is %s, not %s", word, stem, expected);
    }
}

static void stems_of_reference_words(void **state)
{
    (void)state;
    json_t *root = load();
    const json_t *words = json_object_get(root, "stems");
    pith__stemmer stemmer;
    assert_true(json_array_size(words) > 200);
    assert_ok(pith__stemmer_open(&stemmer, &err), err);
    for (size_t i = 0; i < json_array_size(words); i++) {
        const json_t *word = json_array_get(words, i);
        check_stem(&stemmer, json_string_value(json_array_get(word, 0)),
                   json_string_value(json_array_get(word, 1)));
    }
    pith__stemmer_close(&stemmer);
    json_decref(root);
}

/* Where the later release differs from the algorithm as published, which the comment has. */
static void stems_of_the_later_release(void **state)
{
    (void)state;
    static const char *const words[][2] = {
        {"using", "use"},            /* us */
        {"useful", "use"},           /* us */
        {"eyed", "eye"},             /* ei */
        {"adding", "ad"},            /* ad: no e where the consonant was doubled */
        {"flying", "fli"},           /* fly */
        {"flies", "fli"},            /* fli */
        {"enjoying", "enjoy"},       /* enjoi */
        {"babyness", "baby"},        /* baby: only the end of a word has its y changed */
        {"dies", "die"},             /* di */
        {"died", "die"},             /* di */
        {"skies", "sky"},            /* ski */
        {"possibly", "possibl"},     /* possibli */
        {"hopefully", "hope"},       /* hopefulli */
        {"conditionally", "condit"}, /* condition */
        {"apologies", "apolog"},     /* apologi */
        {"rallied", "ralli"},        /* ralli: too short a stem for -al */
        {"assemblies", "assembl"},   /* assembli */
        {"trekking", "trek"},        /* trekk in libstemmer, trek as published */
        {"falling", "fall"},         /* fall */
    };
    pith__stemmer stemmer;
    assert_ok(pith__stemmer_open(&stemmer, &err), err);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        check_stem(&stemmer, words[i][0], words[i][1]);
    }
    pith__stemmer_close(&stemmer);
}

/* Any letters, up to the longest word: a stem that is no longer, and nothing is read beyond. */
static void any_word_has_a_stem(void **state)
{
    (void)state;
    static const char letters[] = "aeiouyylbsdinge0";
    uint64_t seed = 9;
    pith__stemmer stemmer;
    assert_ok(pith__stemmer_open(&stemmer, &err), err);
    for (size_t round = 0; round < 3000; round++) {
        const size_t size = round < 10 ? PITH__STEM_SIZE : test_random_below(&seed, 12);
        char *word = malloc(size == 0 ? 1 : size);
        char stem[PITH__STEM_SIZE];
        size_t stem_size = 0;
        assert_non_null(word);
        for (size_t i = 0; i < size; i++) {
            word[i] = letters[test_random_below(&seed, sizeof letters - 1)];
        }
        assert_ok(pith__stem(&stemmer, word, size, stem, &stem_size, &err), err);
        assert_true(stem_size <= size + 1 && stem_size <= PITH__STEM_SIZE);
        free(word);
    }
    char stem[PITH__STEM_SIZE];
    size_t size = 0;
    static const char longer[PITH__STEM_SIZE + 1] = {'a'};
    assert_status(pith__stem(&stemmer, longer, sizeof longer, stem, &size, &err), PITH_E_ARGUMENT);
    pith__stemmer_close(&stemmer);
}

/* ---- answers ------------------------------------------------------------------------ */

static void answers_of_reference_pairs(void **state)
{
    (void)state;
    json_t *root = load();
    const json_t *answers = json_object_get(root, "answers");
    assert_int_equal(json_array_size(answers), 16);
    for (size_t i = 0; i < json_array_size(answers); i++) {
        const json_t *item = json_array_get(answers, i);
        const json_t *golds = json_object_get(item, "golds");
        double best = 0.0;
        bool is_exact = false;
        for (size_t g = 0; g < json_array_size(golds); g++) {
            const pith__text_pair pair = pair_of(json_string_value(json_object_get(item, "pred")),
                                                 json_string_value(json_array_get(golds, g)));
            double f1 = 0.0;
            bool exact = false;
            assert_ok(pith__answer_f1(&pair, &pith__allocator_default, &f1, &err), err);
            assert_ok(pith__answer_exact(&pair, &pith__allocator_default, &exact, &err), err);
            best = f1 > best ? f1 : best;
            is_exact = is_exact || exact;
        }
        assert_true(fabs(best - json_number_value(json_object_get(item, "f1"))) < TOLERANCE);
        assert_true(is_exact == (json_number_value(json_object_get(item, "em")) > 0.5));
    }
    json_decref(root);
}

static void answers_are_normalised(void **state)
{
    (void)state;
    static const struct {
        const char *candidate;
        const char *reference;
        bool is_same;
    } cases[] = {
        {"\xc3\x89TUDE", "\xc3\xa9tude", true}, /* letters beyond ASCII */
        {"\xe2\x80\x9cthe\xe2\x80\x9d x", "\xe2\x80\x9c \xe2\x80\x9d x",
         true},                               /* in curly quotes */
        {"th\xc3\xa9 x", "x", false},         /* not an article */
        {"a\xc3\xa9 x", "\xc3\xa9 x", false}, /* nor part of a word */
        {"th-e x", "x", true},                /* punctuation goes first */
        {"x\xc2\xa0y", "x y", true},          /* a blank that does not break */
        {"one two", "onetwo", false},
        {"two one", "one two", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const pith__text_pair pair = pair_of(cases[i].candidate, cases[i].reference);
        bool exact = !cases[i].is_same;
        assert_ok(pith__answer_exact(&pair, &pith__allocator_default, &exact, &err), err);
        if (exact != cases[i].is_same) {
            fail_msg("case %zu", i);
        }
    }
}

/* ---- both ------------------------------------------------------------------------------ */

static void any_bytes_have_a_score(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (size_t round = 0; round < 500; round++) {
        char text[2][40];
        size_t size[2];
        for (size_t side = 0; side < 2; side++) {
            size[side] = test_random_below(&seed, sizeof text[side] + 1);
            for (size_t i = 0; i < size[side]; i++) {
                text[side][i] = (char)test_random_below(&seed, round % 2 == 0 ? 256 : 128);
            }
        }
        const pith__text_pair pair = {text[0], size[0], text[1], size[1]};
        pith__rouge rouge;
        double f1 = 0.0;
        bool exact = false;
        assert_ok(pith__rouge_n(&pair, 2, true, &pith__allocator_default, &rouge, &err), err);
        assert_true(rouge.f >= 0.0 && rouge.f <= 1.0);
        assert_ok(pith__rouge_lsum(&pair, true, &pith__allocator_default, &rouge, &err), err);
        assert_true(rouge.f >= 0.0 && rouge.f <= 1.0);
        double bleu = -1.0;
        assert_ok(pith__bleu(&pair, round % 3 == 0, &pith__allocator_default, &bleu, &err), err);
        assert_true(bleu >= 0.0 && bleu <= 1.0);
        assert_ok(pith__answer_f1(&pair, &pith__allocator_default, &f1, &err), err);
        assert_ok(pith__answer_exact(&pair, &pith__allocator_default, &exact, &err), err);
        assert_true(f1 >= 0.0 && f1 <= 1.0 && (!exact || f1 > 0.99));
    }
}

static pith_status sweep_body(const pith_allocator *mem, void *user)
{
    const pith__text_pair pair = pair_of("running lines\nof a text", "runs a line\nof the text");
    pith__rouge rouge;
    bool exact = false;
    (void)user;
    PITH__TRY(pith__rouge_n(&pair, 2, true, mem, &rouge, &err));
    PITH__TRY(pith__rouge_lsum(&pair, true, mem, &rouge, &err));
    PITH__TRY(pith__bleu(&pair, true, mem, &rouge.f, &err));
    PITH__TRY(pith__answer_f1(&pair, mem, &rouge.f, &err));
    return pith__answer_exact(&pair, mem, &exact, &err);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    test_sweep(sweep_body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rouge_of_reference_pairs),
        cmocka_unit_test(rouge_counts_sequences),
        cmocka_unit_test(lines_are_united),
        cmocka_unit_test(equals_are_chosen_as_in_rouge_score),
        cmocka_unit_test(random_subsequences),
        cmocka_unit_test(letters_are_folded),
        cmocka_unit_test(nothing_scores_nothing),
        cmocka_unit_test(bleu_of_reference_pairs),
        cmocka_unit_test(bleu_counts_sequences),
        cmocka_unit_test(bleu_of_nothing_is_nothing),
        cmocka_unit_test(stems_of_reference_words),
        cmocka_unit_test(stems_of_the_later_release),
        cmocka_unit_test(any_word_has_a_stem),
        cmocka_unit_test(answers_of_reference_pairs),
        cmocka_unit_test(answers_are_normalised),
        cmocka_unit_test(any_bytes_have_a_score),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("metric", tests, NULL, NULL);
}
