/*
 * What speaks of a question, and documents that documents name: against values worked out by hand
 * from the formulas in focus.c and link.c.
 */
#include "lingua/lingua.h"
#include "test.h"

#include <math.h>

static pith__arena arena;

#define assert_near(value, expected, tolerance)                                     \
    do {                                                                            \
        const double near_value_ = (value);                                         \
        const double near_expected_ = (expected);                                   \
        if (!(fabs(near_value_ - near_expected_) <= (tolerance))) {                 \
            fail_msg("%s is %g, expected %g", #value, near_value_, near_expected_); \
        }                                                                           \
    } while (0)

static int setup(void **state)
{
    (void)state;
    pith__arena_init(&arena, &pith__allocator_default);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    pith__arena_deinit(&arena);
    return 0;
}

static pith__lingua_text as_text(const char *text)
{
    return (pith__lingua_text){text, strlen(text)};
}

/* One document, its sentences given as strings one behind the other, units are words. */
typedef struct example {
    char text[1024];
    pith__focus_sentence sentences[8];
    size_t sentence_count;
    pith__focus_unit units[128];
    size_t unit_count;
    double documents[8];
    float keys[128];
} example;

static void add_sentence(example *e, const char *sentence, size_t document, size_t *token)
{
    const size_t start = strlen(e->text);
    (void)snprintf(e->text + start, sizeof e->text - start, "%s", sentence);
    const size_t end = strlen(e->text);
    for (size_t at = start; at < end;) {
        size_t stop = at + 1;
        while (stop < end && e->text[stop] != ' ') {
            stop++;
        }
        e->units[e->unit_count++] =
            (pith__focus_unit){at, stop, e->sentence_count, (*token)++, 1, 0.0F};
        at = stop;
    }
    e->sentences[e->sentence_count++] = (pith__focus_sentence){start, end, document};
}

static pith_status focus(example *e, const char *question, pith_error *err)
{
    const pith__focus_input input = {.text = e->text,
                                     .size = strlen(e->text),
                                     .sentences = e->sentences,
                                     .sentence_count = e->sentence_count,
                                     .documents = e->documents,
                                     .document_count = 8,
                                     .units = e->units,
                                     .unit_count = e->unit_count,
                                     .question = as_text(question)};
    return pith__lingua_focus(NULL, &input, &arena, e->keys, err);
}

static double key_of(const example *e, const char *word)
{
    for (size_t i = 0; i < e->unit_count; i++) {
        const pith__focus_unit *u = &e->units[i];
        if (u->end - u->start == strlen(word) &&
            memcmp(e->text + u->start, word, strlen(word)) == 0) {
            return (double)e->keys[i];
        }
    }
    fail_msg("no unit \"%s\"", word);
    return 0.0;
}

static void test_formula(void **state)
{
    (void)state;
    example e = {.documents = {1.0, 0.25}};
    size_t token = 0;
    pith_error err;
    add_sentence(&e, "green rivers flow far", 0, &token);
    add_sentence(&e, "old Paris sleeps", 0, &token);
    add_sentence(&e, "nothing here fits", 1, &token);
    assert_ok(focus(&e, "who swims in rivers", &err), err);
    /* S: only the first sentence has a term of the question, so 1; D as given, twice. idf of
     * "river": ln(1 + (3 - 1 + 0.5) / 1.5), the only term met, so P = exp(-gap / 8), gap counted
     * from the end of " rivers" (token 1) to the unit. */
    assert_near(key_of(&e, " rivers"), 1.0 + 2.0 + 0.15, 1e-5);
    assert_near(key_of(&e, "green"), 1.0 + 2.0 + 0.15, 1e-5);
    assert_near(key_of(&e, " far"), 1.0 + 2.0 + 0.15 * exp(-1.0 / 8.0), 1e-5);
    /* who: a name, so a sentence with one and the name in it gain */
    assert_near(key_of(&e, "old"), 2.0 + 0.4 + 0.15 * exp(-2.0 / 8.0), 1e-5);
    assert_near(key_of(&e, " Paris"), 2.0 + 0.4 + 0.25 + 0.15 * exp(-3.0 / 8.0), 1e-5);
    /* another document, so no nearness */
    assert_near(key_of(&e, " here"), 2.0 * 0.25, 1e-5);
}

static void test_nats_and_punctuation(void **state)
{
    (void)state;
    example e = {.documents = {0.0}};
    size_t token = 0;
    pith_error err;
    add_sentence(&e, "some words --- end", 0, &token);
    e.units[0].nats = 10.0F;
    e.units[1].nats = 900.0F;
    e.units[3].nats = NAN;
    assert_ok(focus(&e, "unrelated", &err), err);
    assert_near((double)e.keys[0], 0.02, 1e-6);
    assert_near((double)e.keys[1], 0.04, 1e-6);
    assert_near((double)e.keys[2], -0.05, 1e-6);
    assert_near((double)e.keys[3], 0.0, 1e-6);
}

static void assert_kind(const char *question, const char *text, const char *word, bool expected)
{
    example e = {.documents = {0.0}};
    size_t token = 0;
    pith_error err;
    add_sentence(&e, text, 0, &token);
    assert_ok(focus(&e, question, &err), err);
    if ((key_of(&e, word) > 0.45) != expected) {
        fail_msg("%s: \"%s\" in \"%s\"", question, word, text);
    }
}

static void test_kinds(void **state)
{
    (void)state;
    assert_kind("How many apples?", "we ate 12 today", " 12", true);
    assert_kind("How many apples?", "we ate twelve today", " twelve", true);
    assert_kind("How many apples?", "we ate quietly today", " quietly", false);
    assert_kind("what percentage failed", "about 7% did", " 7%", true);
    assert_kind("When did it end?", "so closed in November then", " November", true);
    assert_kind("which year was it", "so was 1999 then", " 1999", true);
    assert_kind("which city was it", "so was Rome then", " Rome", true);
    assert_kind("which city was it", "so was dull then", " dull", false);
    /* a name that the question has itself: sentence and nearness, no more */
    example e = {.documents = {0.0}};
    size_t token = 0;
    pith_error err;
    add_sentence(&e, "they left Rome twice", 0, &token);
    assert_ok(focus(&e, "Who saw ROME?", &err), err);
    assert_near(key_of(&e, " Rome"), 1.15, 1e-5);
    assert_kind("Who was it?", "they met \xc3\x89mile twice", " \xc3\x89mile", true);
    assert_kind("Explain the law.", "they met Rome in 1999", " Rome", false);
}

static void test_degenerate(void **state)
{
    (void)state;
    example e = {.documents = {1.0}};
    size_t token = 0;
    pith_error err;
    assert_ok(focus(&e, "who", &err), err);
    add_sentence(&e, "who is who", 0, &token);
    e.units[1].sentence = SIZE_MAX;
    assert_ok(focus(&e, "", &err), err);
    assert_near((double)e.keys[0], 2.0, 1e-6);
    assert_near((double)e.keys[1], 0.0, 0.0);
    assert_ok(focus(&e, "who is", &err), err); /* nothing but function words: all of them count */
    assert_true(e.keys[0] > 2.9F);
}

/* ---- links ------------------------------------------------------------------------------------------------ */

static void test_links(void **state)
{
    (void)state;
    const pith__lingua_text texts[] = {
        as_text("Big Film (1994)\nBig Film was directed by Tim Burton in Ohio."),
        as_text("Tim Burton (artist)\nHe was born in Burbank."), as_text("Ohio\nA state."),
        as_text("Tim Burton"), /* all title: no title */
        as_text("Burton Tim\nAnother order.")};
    double scores[] = {4.0, 0.5, 0.0, 0.0, 1.0};
    size_t order[] = {0, 4, 1, 2, 3};
    pith__ranking ranking = {order, scores, 5};
    pith_error err;
    assert_ok(pith__lingua_link(texts, &arena, &ranking, &err), err);
    const double expected[] = {4.0, 0.5 + 2.0, 2.0, 0.0, 1.0};
    const size_t expected_order[] = {0, 1, 2, 4, 3};
    for (size_t i = 0; i < 5; i++) {
        assert_near(scores[i], expected[i], 1e-12);
        assert_int_equal(order[i], expected_order[i]);
    }
}

static pith_status sweep_body(const pith_allocator *mem, void *user)
{
    (void)user;
    pith__arena scratch;
    pith__arena_init(&scratch, mem);
    const pith__lingua_text texts[] = {as_text("A title\nnames B title here."),
                                       as_text("B title\nsays 3.")};
    double scores[] = {1.0, 0.0};
    size_t order[] = {0, 1};
    pith__ranking ranking = {order, scores, 2};
    pith_status status = pith__lingua_link(texts, &scratch, &ranking, NULL);
    if (status == PITH_OK) {
        example e = {.documents = {1.0}};
        size_t token = 0;
        add_sentence(&e, "the answer is 42 here", 0, &token);
        const pith__focus_input input = {.text = e.text,
                                         .size = strlen(e.text),
                                         .sentences = e.sentences,
                                         .sentence_count = 1,
                                         .documents = e.documents,
                                         .document_count = 1,
                                         .units = e.units,
                                         .unit_count = e.unit_count,
                                         .question = as_text("how many answers")};
        status = pith__lingua_focus(NULL, &input, &scratch, e.keys, NULL);
    }
    pith__arena_deinit(&scratch);
    return status;
}

static void test_allocations(void **state)
{
    (void)state;
    test_sweep(sweep_body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_formula, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nats_and_punctuation, setup, teardown),
        cmocka_unit_test_setup_teardown(test_kinds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_degenerate, setup, teardown),
        cmocka_unit_test_setup_teardown(test_links, setup, teardown),
        cmocka_unit_test(test_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
