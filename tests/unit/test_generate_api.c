/*
 * test_generate_api.c: writing on from texts and capsules, scoring after them, and recall, through
 * pith.h.
 */
#include "test.h"

#include "gist_model.h"

#include <math.h>

static const char source[] = "The quick brown fox jumps over the lazy dog.";

static pith_piece text_piece(const char *text)
{
    return (pith_piece){.text = text, .size = strlen(text)};
}

static pith_generation *generate(const gist_fixture *f, const pith_piece *pieces, size_t count)
{
    pith_error err = {0};
    pith_generation *generation = NULL;
    assert_ok(pith_generate(f->ctx, pieces, count, NULL, 0, NULL, NULL, &generation, &err), err);
    return generation;
}

static void assert_same_text(const pith_generation *a, const pith_generation *b)
{
    size_t a_size = 0;
    size_t b_size = 0;
    const char *one = pith_generation_text(a, &a_size);
    const char *other = pith_generation_text(b, &b_size);
    assert_int_equal(a_size, b_size);
    assert_memory_equal(one, other, a_size);
    assert_int_equal(pith_generation_describe(a).tokens, pith_generation_describe(b).tokens);
}

static bool same_ids(const pith_generation *a, const pith_generation *b)
{
    size_t a_count = 0;
    size_t b_count = 0;
    const pith_generated_token *one = pith_generation_tokens(a, &a_count);
    const pith_generated_token *other = pith_generation_tokens(b, &b_count);
    bool same = a_count == b_count;
    for (size_t i = 0; same && i < a_count; i++) {
        same = one[i].id == other[i].id;
    }
    return same;
}

/* ---- what is written -------------------------------------------------------------------------- */

typedef struct taken {
    char text[4096];
    size_t size;
    size_t calls;
    size_t most; /* calls; the next one stops */
} taken;

static bool take(void *user, const pith_generated_token *token)
{
    taken *t = user;
    assert_true(t->size + token->size < sizeof t->text);
    memcpy(t->text + t->size, token->text, token->size);
    t->size += token->size;
    return ++t->calls <= t->most;
}

static void text_is_its_tokens_and_what_was_streamed(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_error err = {0};
    pith_generation *generation = NULL;
    taken t = {.most = SIZE_MAX};
    const pith_piece prompt = text_piece(source);
    gist_set(&f, "max-tokens", "20");
    gist_set(&f, "ignore-eos", "true");
    assert_ok(pith_generate(f.ctx, &prompt, 1, NULL, 0, take, &t, &generation, &err), err);
    size_t size = 0;
    size_t count = 0;
    size_t at = 0;
    const char *text = pith_generation_text(generation, &size);
    const pith_generated_token *tokens = pith_generation_tokens(generation, &count);
    assert_int_equal(count, 20);
    for (size_t i = 0; i < count; i++) {
        assert_true(at + tokens[i].size <= size);
        assert_memory_equal(tokens[i].text, text + at, tokens[i].size);
        assert_true(tokens[i].logprob <= 0.0f);
        at += tokens[i].size;
    }
    assert_int_equal(at, size);
    assert_int_equal(text[size], '\0');
    assert_int_equal(t.size, size);
    assert_memory_equal(t.text, text, size);
    const pith_generation_stats stats = pith_generation_describe(generation);
    assert_int_equal(stats.tokens, 20);
    assert_string_equal(stats.stop, "length");
    pith_generation_free(generation);
    gist_close(&f);
}

static void log_probabilities_are_those_of_scoring(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_error err = {0};
    pith_scores *scores = NULL;
    const pith_piece prompt = text_piece(source);
    gist_set(&f, "max-tokens", "12");
    gist_set(&f, "temperature", "0.7");
    pith_generation *generation = generate(&f, &prompt, 1);
    size_t size = 0;
    size_t written = 0;
    size_t count = 0;
    size_t compared = 0;
    const char *text = pith_generation_text(generation, &size);
    const pith_generated_token *tokens = pith_generation_tokens(generation, &written);
    assert_ok(pith_ctx_set(f.ctx, "invalid-utf8", "keep", &err), err);
    assert_ok(pith_score_after(f.ctx, &prompt, 1, text, size, &scores, &err), err);
    const pith_token_score *scored = pith_scores_tokens(scores, &count);
    /* as long as the text is cut into the tokens it was written in */
    for (size_t i = 0; i < written && i < count && scored[i].id == tokens[i].id; i++) {
        assert_float_equal(scored[i].nats, -tokens[i].logprob, 1e-3);
        compared++;
    }
    assert_true(compared > 0);
    pith_scores_free(scores);
    pith_generation_free(generation);
    gist_close(&f);
}

static void the_same_prompt_has_the_same_answer(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    const pith_piece prompt = text_piece(source);
    const pith_piece pieces[] = {text_piece("The quick"), text_piece(""),
                                 text_piece(" brown fox jumps over the lazy dog.")};
    gist_set(&f, "max-tokens", "16");
    pith_generation *greedy = generate(&f, &prompt, 1);
    pith_generation *parts = generate(&f, pieces, 3);
    if (pith_generation_describe(greedy).prompt_tokens ==
        pith_generation_describe(parts).prompt_tokens) { /* cut at the same places */
        assert_true(same_ids(greedy, parts));
    }
    gist_set(&f, "temperature", "1");
    gist_set(&f, "seed", "4");
    pith_generation *one = generate(&f, &prompt, 1);
    gist_set(&f, "threads", "2");
    pith_generation *two = generate(&f, &prompt, 1);
    gist_set(&f, "seed", "5");
    pith_generation *other = generate(&f, &prompt, 1);
    gist_set(&f, "top-k", "1");
    pith_generation *first = generate(&f, &prompt, 1);
    assert_same_text(one, two);
    assert_false(same_ids(one, other));
    assert_true(same_ids(first, greedy));
    pith_generation_free(greedy);
    pith_generation_free(parts);
    pith_generation_free(one);
    pith_generation_free(two);
    pith_generation_free(other);
    pith_generation_free(first);
    gist_close(&f);
}

static void stop_strings_end_the_text_before_them(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    const pith_piece prompt = text_piece(source);
    char stop[4] = "";
    gist_set(&f, "max-tokens", "30");
    gist_set(&f, "ignore-eos", "true");
    gist_set(&f, "invalid-utf8", "keep");
    pith_generation *whole = generate(&f, &prompt, 1);
    size_t size = 0;
    const char *text = pith_generation_text(whole, &size);
    assert_true(size > 12);
    memcpy(stop, text + 9, 3);
    const size_t place = (size_t)(strstr(text, stop) - text);
    gist_set(&f, "stop", "no such text will be written");
    gist_set(&f, "stop", stop);
    pith_generation *cut = generate(&f, &prompt, 1);
    size_t cut_size = 0;
    const char *cut_text = pith_generation_text(cut, &cut_size);
    assert_int_equal(cut_size, place);
    assert_memory_equal(cut_text, text, cut_size);
    assert_string_equal(pith_generation_describe(cut).stop, "stop");
    pith_generation_free(whole);
    pith_generation_free(cut);
    gist_close(&f);
}

static bool never(void *user, const char *stage, size_t done, size_t total)
{
    (void)user;
    assert_string_equal(stage, "generate");
    assert_true(done <= total);
    return false;
}

static void callers_can_stop(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_error err = {0};
    pith_generation *generation = NULL;
    taken t = {.most = 2};
    const pith_piece prompt = text_piece(source);
    gist_set(&f, "ignore-eos", "true");
    assert_status(pith_generate(f.ctx, &prompt, 1, NULL, 0, take, &t, &generation, &err),
                  PITH_E_CANCELLED);
    assert_int_equal(t.calls, 3);
    assert_null(generation);
    pith_ctx_set_progress(f.ctx, never, NULL);
    assert_status(pith_generate(f.ctx, &prompt, 1, NULL, 0, NULL, NULL, &generation, &err),
                  PITH_E_CANCELLED);
    assert_null(generation);
    pith_ctx_set_progress(f.ctx, NULL, NULL);
    gist_set(&f, "max-tokens", "0");
    generation = generate(&f, &prompt, 1);
    size_t size = 1;
    assert_string_equal(pith_generation_text(generation, &size), "");
    assert_int_equal(size, 0);
    pith_generation_free(generation);
    gist_close(&f);
}

/* ---- prompts ------------------------------------------------------------------------------------ */

static void bos_comes_first_unless_a_capsule_has_seen_it(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_error err = {0};
    size_t tokens = 0;
    pith_capsule *capsule = gist_encode(&f, source);
    const pith_capsule_info info = pith_capsule_describe(capsule);
    const pith_piece after = text_piece(" And so it goes.");
    const pith_piece slots = {.capsule = capsule};
    const pith_piece capsule_first[] = {text_piece(""), slots, after};
    const pith_piece text_first[] = {after, slots, after};
    assert_ok(
        pith_tokenizer_count(pith_model_tokenizer(f.model), after.text, after.size, &tokens, &err),
        err);
    gist_set(&f, "max-tokens", "2");
    pith_generation *one = generate(&f, capsule_first, 3);
    pith_generation *two = generate(&f, text_first, 3);
    pith_generation *three = generate(&f, NULL, 0);
    assert_int_equal(pith_generation_describe(one).prompt_tokens, GIST_SLOTS + tokens);
    assert_int_equal(pith_generation_describe(one).prompt_positions, info.advance + tokens);
    assert_int_equal(pith_generation_describe(two).prompt_tokens, 1 + GIST_SLOTS + 2 * tokens);
    assert_int_equal(pith_generation_describe(three).prompt_tokens, 1);
    pith_generation_free(one);
    pith_generation_free(two);
    pith_generation_free(three);
    pith_generation *none = NULL;
    assert_status(pith_generate(f.ctx, &slots, 1, NULL, 0, NULL, NULL, &none, &err),
                  PITH_E_ARGUMENT);
    assert_null(none);
    pith_capsule_free(capsule);
    gist_close(&f);
}

/* A capsule's slots are what a pass over its text with the gist tokens leaves there: a model that
 * could see the slots alone would score what follows in the same way (tests of lib/soft); here, that
 * they count at all. */
static void capsules_change_what_is_expected(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_error err = {0};
    pith_capsule *fox = gist_encode(&f, source);
    pith_capsule *other = gist_encode(&f, "Wash the dishes before nine o'clock!");
    pith_scores *scores[3] = {NULL};
    const pith_piece prompts[3][2] = {{{.capsule = fox}, text_piece("\n")},
                                      {{.capsule = other}, text_piece("\n")},
                                      {text_piece("\n"), text_piece("")}};
    double nats[3] = {0.0, 0.0, 0.0};
    for (size_t i = 0; i < 3; i++) {
        size_t count = 0;
        assert_ok(
            pith_score_after(f.ctx, prompts[i], 2, source, sizeof source - 1, &scores[i], &err),
            err);
        const pith_token_score *tokens = pith_scores_tokens(scores[i], &count);
        size_t end = 0;
        for (size_t k = 0; k < count; k++) {
            assert_int_equal(tokens[k].start, end);
            end = tokens[k].end;
            assert_true(tokens[k].nats >= 0.0f);
            nats[i] += (double)tokens[k].nats;
        }
        assert_int_equal(end, sizeof source - 1);
        pith_scores_free(scores[i]);
    }
    assert_true(fabs(nats[0] - nats[1]) > 1e-3);
    assert_true(fabs(nats[0] - nats[2]) > 1e-3);
    pith_capsule_free(fox);
    pith_capsule_free(other);
    gist_close(&f);
}

static void scoring_after_nothing_is_scoring(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_error err = {0};
    pith_scores *plain = NULL;
    pith_scores *after = NULL;
    size_t count = 0;
    size_t same = 0;
    assert_ok(pith_score(f.ctx, source, sizeof source - 1, &plain, &err), err);
    assert_ok(pith_score_after(f.ctx, NULL, 0, source, sizeof source - 1, &after, &err), err);
    const pith_token_score *a = pith_scores_tokens(plain, &count);
    const pith_token_score *b = pith_scores_tokens(after, &same);
    assert_int_equal(count, same);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(a[i].id, b[i].id);
        assert_float_equal(a[i].nats, b[i].nats, 1e-4);
    }
    pith_scores_free(plain);
    pith_scores_free(after);
    assert_ok(pith_score_after(f.ctx, NULL, 0, "", 0, &after, &err), err);
    (void)pith_scores_tokens(after, &count);
    assert_int_equal(count, 0);
    pith_scores_free(after);
    gist_close(&f);
}

static void what_cannot_be_read_is_refused(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_error err = {0};
    pith_generation *none = NULL;
    pith_scores *scores = NULL;
    pith_model *other = NULL;
    pith_ctx *ctx = NULL;
    const uint32_t context = pith_model_describe(f.model).context;
    const size_t size = (size_t)context * 16;
    char *text = malloc(size);
    char number[16];
    assert_non_null(text);
    for (size_t i = 0; i < size; i++) {
        text[i] = (char)('a' + i * i % 23);
    }
    const pith_piece big = {.text = text, .size = size};
    const pith_piece bad = {.text = "a\xff", .size = 2};
    const pith_piece good = text_piece("a");
    (void)snprintf(number, sizeof number, " %u", context);
    assert_status(pith_generate(f.ctx, &big, 1, NULL, 0, NULL, NULL, &none, &err), PITH_E_CONTEXT);
    assert_non_null(strstr(err.message, number));
    assert_status(pith_score_after(f.ctx, &good, 1, text, size, &scores, &err), PITH_E_CONTEXT);
    assert_non_null(strstr(err.message, number));
    free(text);
    assert_status(pith_generate(f.ctx, &bad, 1, NULL, 0, NULL, NULL, &none, &err), PITH_E_UTF8);
    assert_int_equal(err.offset, 1);
    assert_status(pith_score_after(f.ctx, &good, 1, "\xff", 1, &scores, &err), PITH_E_UTF8);
    pith_capsule *capsule = gist_encode(&f, source);
    const pith_piece pieces[] = {{.capsule = capsule}, good};
    assert_ok(pith_model_open(NULL, NULL, &other, &err), err);
    assert_ok(pith_ctx_new(other, &ctx, &err), err);
    assert_status(pith_generate(ctx, pieces, 2, NULL, 0, NULL, NULL, &none, &err), PITH_E_MISMATCH);
    const pith_attribute of_other = {.away = pieces, .n_away = 1, .omega = 1.0, .tau = 1.0};
    assert_status(pith_generate(ctx, &good, 1, &of_other, 1, NULL, NULL, &none, &err),
                  PITH_E_MISMATCH);
    assert_null(none);
    assert_null(scores);
    pith_ctx_free(ctx);
    pith_model_free(other);
    pith_capsule_free(capsule);
    gist_close(&f);
}

/* ---- attributes ----------------------------------------------------------------------------------- */

static pith_generation *contrast(const gist_fixture *f, const char *toward, const char *away,
                                 double omega)
{
    pith_error err = {0};
    pith_generation *generation = NULL;
    const pith_piece prompt = text_piece("The dog");
    const pith_piece plus = text_piece(toward);
    const pith_piece minus = text_piece(away);
    const pith_attribute a = {
        .toward = &plus, .n_toward = 1, .away = &minus, .n_away = 1, .omega = omega, .tau = 1.0};
    assert_ok(pith_generate(f->ctx, &prompt, 1, &a, 1, NULL, NULL, &generation, &err), err);
    return generation;
}

static void attributes_that_say_nothing_change_nothing(void **state)
{
    (void)state;
    static const char other[] = "Wash the dishes before nine o'clock!";
    gist_fixture f;
    gist_open(&f);
    const pith_piece prompt = text_piece("The dog");
    gist_set(&f, "max-tokens", "24");
    gist_set(&f, "temperature", "1");
    pith_generation *plain = generate(&f, &prompt, 1);
    pith_generation *weightless = contrast(&f, source, other, 0.0);
    pith_generation *equal = contrast(&f, source, source, 3.0);
    pith_generation *moved = contrast(&f, source, other, 40.0);
    pith_generation *turned = contrast(&f, other, source, 40.0);
    assert_true(same_ids(plain, weightless));
    assert_true(same_ids(plain, equal));
    assert_false(same_ids(plain, moved));
    assert_false(same_ids(moved, turned));
    pith_generation_free(plain);
    pith_generation_free(weightless);
    pith_generation_free(equal);
    pith_generation_free(moved);
    pith_generation_free(turned);
    gist_close(&f);
}

static void wrong_attributes_are_refused(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_error err = {0};
    pith_generation *none = NULL;
    const pith_piece prompt = text_piece("The dog");
    static const double wrong[][2] = {{1.0, 0.0}, {1.0, -1.0}, {(double)NAN, 1.0}, {1.0, HUGE_VAL}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const pith_attribute a = {.omega = wrong[i][0], .tau = wrong[i][1]};
        assert_status(pith_generate(f.ctx, &prompt, 1, &a, 1, NULL, NULL, &none, &err),
                      PITH_E_ARGUMENT);
        assert_non_null(strstr(err.message, "attribute 0"));
        assert_null(none);
    }
    gist_close(&f);
}

/* ---- recall ------------------------------------------------------------------------------------------ */

static void recall_is_a_share_of_what_the_text_is_worth(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_error err = {0};
    pith_recalls *recalls = NULL;
    pith_capsule *capsule = gist_encode(&f, source);
    assert_ok(pith_probe_recall(f.ctx, capsule, source, sizeof source - 1, NULL, &recalls, &err),
              err);
    size_t count = 0;
    size_t end = 0;
    size_t scored = 0;
    double sum = 0.0;
    const pith_recall *tokens = pith_recalls_tokens(recalls, &count);
    for (size_t i = 0; i < count; i++) {
        const pith_recall *t = &tokens[i];
        assert_int_equal(t->start, end);
        end = t->end;
        assert_true(t->hard >= 0.0f && t->soft >= 0.0f && t->none >= 0.0f);
        const double worth = exp(-(double)t->hard) - exp(-(double)t->none);
        if (isnan(t->score)) {
            assert_true(fabs(worth) < 2e-3);
            continue;
        }
        const double kept = (exp(-(double)t->soft) - exp(-(double)t->none)) / worth;
        assert_float_equal(t->score, fmin(fmax(kept, 0.0), 1.0), 1e-2);
        sum += (double)t->score;
        scored++;
    }
    assert_int_equal(end, sizeof source - 1);
    if (scored > 0) {
        assert_true(fabs(pith_recalls_mean(recalls) - sum / (double)scored) < 1e-6);
    }
    pith_recalls_free(recalls);
    recalls = NULL;
    assert_status(pith_probe_recall(f.ctx, capsule, "Other.", 6, NULL, &recalls, &err),
                  PITH_E_MISMATCH);
    assert_null(recalls);
    pith_capsule_free(capsule);
    gist_close(&f);
}

/* ---- memory ------------------------------------------------------------------------------------------- */

typedef struct sweep {
    const gist_fixture *f;
    const pith_capsule *capsule;
} sweep;

static pith_status all_calls(pith_ctx *ctx, const sweep *s)
{
    const pith_piece pieces[] = {{.capsule = s->capsule}, text_piece("\nThe dog")};
    const pith_piece toward = text_piece("Cats.");
    const pith_attribute a = {.toward = &toward, .n_toward = 1, .omega = 1.0, .tau = 1.0};
    pith_generation *generation = NULL;
    pith_scores *scores = NULL;
    pith_recalls *recalls = NULL;
    pith_status status = pith_generate(ctx, pieces, 2, &a, 1, NULL, NULL, &generation, NULL);
    if (status == PITH_OK) {
        status = pith_score_after(ctx, pieces, 2, "runs", 4, &scores, NULL);
    }
    if (status == PITH_OK) {
        status =
            pith_probe_recall(ctx, s->capsule, source, sizeof source - 1, "Again:", &recalls, NULL);
    }
    pith_generation_free(generation);
    pith_scores_free(scores);
    pith_recalls_free(recalls);
    return status;
}

static pith_status whole_way(const pith_allocator *mem, void *user)
{
    static const char *const values[][2] = {{"threads", "1"},
                                            {"max-tokens", "3"},
                                            {"temperature", "1"},
                                            {"repetition-penalty", "1.1"},
                                            {"stop", "zzz"}};
    const sweep *s = user;
    const pith_model_options options = {.struct_size = sizeof options, .allocator = mem};
    pith_model *model = NULL;
    pith_ctx *ctx = NULL;
    pith_status status =
        pith_model_open_memory(s->f->data.data, s->f->data.size, &options, &model, NULL);
    if (status == PITH_OK) {
        status = pith_ctx_new(model, &ctx, NULL);
    }
    for (size_t i = 0; status == PITH_OK && i < sizeof values / sizeof values[0]; i++) {
        status = pith_ctx_set(ctx, values[i][0], values[i][1], NULL);
    }
    if (status == PITH_OK) {
        status = all_calls(ctx, s);
    }
    pith_ctx_free(ctx);
    pith_model_free(model);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_capsule *capsule = gist_encode(&f, source);
    sweep s = {&f, capsule};
    test_sweep(whole_way, &s);
    pith_capsule_free(capsule);
    gist_close(&f);
    pith_generation_free(NULL);
    pith_recalls_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_its_tokens_and_what_was_streamed),
        cmocka_unit_test(log_probabilities_are_those_of_scoring),
        cmocka_unit_test(the_same_prompt_has_the_same_answer),
        cmocka_unit_test(stop_strings_end_the_text_before_them),
        cmocka_unit_test(callers_can_stop),
        cmocka_unit_test(bos_comes_first_unless_a_capsule_has_seen_it),
        cmocka_unit_test(capsules_change_what_is_expected),
        cmocka_unit_test(scoring_after_nothing_is_scoring),
        cmocka_unit_test(what_cannot_be_read_is_refused),
        cmocka_unit_test(attributes_that_say_nothing_change_nothing),
        cmocka_unit_test(wrong_attributes_are_refused),
        cmocka_unit_test(recall_is_a_share_of_what_the_text_is_worth),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
