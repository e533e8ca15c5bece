/*
 * test_learn_gist.c: a model learns to gist: four pairs, eight tokens, into four slots, and a
 * capsule of them answers as the masked pass does (Mu, Li & Goodman 2023, at a scale of seconds).
 *
 * What must not pass for it: truncation to as many tokens; a model trained behind the negative
 * control's mask; a capsule of another text; knowing which values there are but not whose (one in
 * four is right then, at ln 4 nats). Questions are asked one by one, each of a reader
 * that has read the capsule and nothing else: no answer to another one helps.
 */
#include "dictionary.h"

#include <math.h>

enum {
    PAIRS = 4,
    CONTEXT = 2 * PAIRS,
    SLOTS = 4,
    BASE_STEPS = 600,
    TEXTS = 32,        /* of an update */
    STEPS_MOST = 2000, /* before the rate falls */
    STEPS_DOWN = 150,  /* while it does */
    CHECK_EVERY = 50,  /* steps */
    HELD_OUT = 128,    /* dictionaries, each asked about all its pairs */
    QUESTIONS = HELD_OUT * PAIRS,
    QUESTION_ROWS = CONTEXT + SLOTS + 2
};

/* ---- texts ---------------------------------------------------------------------------------- */

/* Context, gist tokens and the first `questions`, under the mask of the condition. */
static void add_gist_text(batch *b, const dictionary *d, pith__gist_condition condition,
                          size_t questions)
{
    const size_t at = b->rows;
    size_t position = dictionary_add_context(b, d);
    for (size_t i = 0; i < SLOTS; i++) {
        batch_add(b, DICTIONARY_GIST, position++, at);
    }
    const size_t last = CONTEXT + SLOTS - 1;
    const size_t first = pith__gist_first_seen(condition, CONTEXT, last, last + 1);
    dictionary_add_questions(b, d, questions, position, at + first);
}

/* The last `count` tokens of the context, and the first question. */
static void add_plain_text(batch *b, const dictionary *d, size_t count)
{
    uint32_t ids[2 * DICTIONARY_PAIRS];
    const size_t at = b->rows;
    const size_t n = dictionary_context(d, ids);
    for (size_t i = 0; i < count; i++) {
        batch_add(b, ids[n - count + i], i, at);
    }
    dictionary_add_questions(b, d, 1, count, at);
}

/* Dictionaries that no training has seen: there are 7 * 10^11 of them. */
static void draw_held_out(dictionary *d, uint64_t seed)
{
    for (size_t i = 0; i < HELD_OUT; i++) {
        dictionary_draw(&d[i], PAIRS, &seed);
    }
}

/* ---- asking --------------------------------------------------------------------------------- */

typedef enum way {
    WAY_GIST,
    WAY_NEGATIVE,
    WAY_PLAIN /* the last `count` tokens, no gist tokens */
} way;

/* Every pair of the dictionaries is asked about. logits (QUESTIONS, vocabulary), or NULL. */
static answers ask_masked(trainable *t, const dictionary *held_out, way how, size_t count,
                          float *logits)
{
    answers out = {0, 0, 0.0};
    batch *b = batch_new();
    for (size_t i = 0; i < HELD_OUT; i++) {
        dictionary d = held_out[i];
        for (size_t pair = 0; pair < PAIRS; pair++) {
            d.order[0] = pair;
            if (how == WAY_PLAIN) {
                add_plain_text(b, &d, count);
            } else {
                add_gist_text(b, &d, how == WAY_GIST ? PITH__GIST_GIST : PITH__GIST_NEGATIVE, 1);
            }
        }
        if (b->rows + (size_t)PAIRS * QUESTION_ROWS > 1024 || i + 1 == HELD_OUT) {
            batch_ask(t, b, logits == NULL ? NULL : logits + out.asked * LEARNER_VOCABULARY, &out);
            batch_clear(b);
        }
    }
    free(b);
    return out;
}

/* All pairs of one dictionary, each asked about of a reader that has read the capsule alone. */
static void ask_capsule(const trainable *t, const pith__capsule *capsule, const dictionary *d,
                        float *logits, answers *out)
{
    pith_error err = {0};
    pith__reader reader;
    assert_ok(pith__reader_init(&reader, &t->model, 1, mem, &err), err);
    assert_ok(pith__capsule_read(capsule, &reader, &err), err);
    const pith__reader_mark mark = pith__reader_save(&reader);
    for (size_t pair = 0; pair < PAIRS; pair++) {
        const uint32_t question[] = {DICTIONARY_QUERY, d->key[pair]};
        pith__reader_restore(&reader, mark);
        assert_ok(pith__reader_ids(&reader, question, 2, NULL, &err), err);
        assert_int_equal(reader.kv.length, SLOTS + 2);
        const float *expected = pith__reader_logits(&reader);
        answers_add(out, expected, d->value[pair]);
        memcpy(logits + pair * LEARNER_VOCABULARY, expected, LEARNER_VOCABULARY * sizeof *logits);
    }
    pith__reader_deinit(&reader);
}

/* Through capsules: of each dictionary its own, or the next one's. */
static answers ask_cached(const trainable *t, const dictionary *held_out, bool own, float *logits)
{
    const float *row = learner_embeddings(t) + (size_t)DICTIONARY_GIST * LEARNER_WIDTH;
    answers out = {0, 0, 0.0};
    pith_error err = {0};
    for (size_t i = 0; i < HELD_OUT; i++) {
        uint32_t ids[2 * DICTIONARY_PAIRS];
        pith__capsule *capsule = NULL;
        const size_t n = dictionary_context(&held_out[own ? i : (i + 1) % HELD_OUT], ids);
        assert_ok(pith__gist_encode(&t->model, 1, ids, n, row, SLOTS, mem, &capsule, &err), err);
        ask_capsule(t, capsule, &held_out[i], logits + i * PAIRS * LEARNER_VOCABULARY, &out);
        pith__capsule_free(capsule);
    }
    return out;
}

/* ---- learning ------------------------------------------------------------------------------- */

/* The token's row, as the paper has it: the mean of all others. */
static void start_gist_row(const trainable *t)
{
    float *rows = learner_embeddings(t);
    for (size_t j = 0; j < LEARNER_WIDTH; j++) {
        double sum = 0.0;
        for (size_t v = 0; v < DICTIONARY_GIST; v++) {
            sum += (double)rows[v * LEARNER_WIDTH + j];
        }
        rows[(size_t)DICTIONARY_GIST * LEARNER_WIDTH + j] = (float)(sum / DICTIONARY_GIST);
    }
}

typedef struct lessons {
    trainable *t;
    pith__optimizer optimizer;
    pith__gist_condition condition;
    uint64_t random;
    batch *b;
} lessons;

static void learn_one(lessons *l, double multiplier)
{
    batch_clear(l->b);
    for (size_t i = 0; i < TEXTS; i++) {
        dictionary d;
        dictionary_draw(&d, PAIRS, &l->random);
        add_gist_text(l->b, &d, l->condition, PAIRS);
    }
    (void)learner_step(l->t, &l->optimizer, l->b, multiplier);
}

/* Whether most is known, by texts that are neither learned nor judged by. */
static bool knows(trainable *t, uint64_t seed)
{
    dictionary validation[HELD_OUT];
    draw_held_out(validation, seed + 2000000);
    const answers a = ask_masked(t, validation, WAY_GIST, 0, NULL);
    return answers_share(&a) >= 0.93;
}

/*
 * All weights learn, at a constant rate until the texts of validation are known, then at a falling
 * one; the negative control for as many steps as it took. Returns the former.
 */
static size_t learn(trainable *t, pith__gist_condition condition, size_t most, uint64_t seed)
{
    const pith__schedule down = {.kind = PITH__SCHEDULE_LINEAR, .total = STEPS_DOWN};
    lessons l = {.t = t, .condition = condition, .random = seed * 1000 + 1, .b = batch_new()};
    size_t steps = 0;
    bool done = false;
    start_gist_row(t);
    learner_optimizer(&t->weights, 1.5e-3, &l.optimizer);
    while (steps < most && !done) {
        learn_one(&l, steps < 30 ? (double)(steps + 1) / 30.0 : 1.0);
        steps++;
        done = condition == PITH__GIST_GIST && steps % CHECK_EVERY == 0 && knows(t, seed);
    }
    for (uint64_t i = 0; i < STEPS_DOWN; i++) {
        learn_one(&l, pith__schedule_at(&down, i));
    }
    pith__optimizer_deinit(&l.optimizer);
    free(l.b);
    return steps;
}

/* ---- one seed ------------------------------------------------------------------------------- */

/* The cached path and the masked pass are one function, whatever was learned. */
static double cached_is_masked(const float *cached, const float *masked)
{
    const double off = largest_difference(cached, masked, (size_t)QUESTIONS * LEARNER_VOCABULARY);
    assert_true(off <= 1e-4);
    return off;
}

typedef struct figures {
    answers full, truncated, none; /* of the model before it learned to gist */
    answers masked, cached, shuffled;
    answers negative;
    double off; /* cached from masked logits */
    size_t steps;
} figures;

static void measure_gist(trainable *t, const dictionary *held_out, figures *f)
{
    const size_t count = (size_t)QUESTIONS * LEARNER_VOCABULARY;
    float *masked = calloc(count, sizeof *masked);
    float *cached = calloc(count, sizeof *cached);
    assert_non_null(masked);
    assert_non_null(cached);
    f->masked = ask_masked(t, held_out, WAY_GIST, 0, masked);
    f->cached = ask_cached(t, held_out, true, cached);
    f->off = cached_is_masked(cached, masked);
    f->shuffled = ask_cached(t, held_out, false, cached);
    free(cached);
    free(masked);
}

static void print_answers(const char *name, const answers *a)
{
    print_message("  %-28s accuracy %.3f  nll %.3f\n", name, answers_share(a), answers_nll(a));
}

static void print_figures(uint64_t seed, const figures *f)
{
    print_message("seed %u: %u pairs into %u slots, %zu + %u steps, %zu held-out questions\n",
                  (unsigned)seed, PAIRS, SLOTS, f->steps, STEPS_DOWN, f->cached.asked);
    print_answers("gist, cached", &f->cached);
    print_answers("gist, masked", &f->masked);
    print_answers("gist, capsule of another", &f->shuffled);
    print_answers("negative control", &f->negative);
    print_answers("base, last 4 tokens", &f->truncated);
    print_answers("base, full context", &f->full);
    print_answers("base, no context", &f->none);
    print_message("  cached and masked logits differ by at most %.1e\n", f->off);
}

static bool is_good(const figures *f)
{
    const double gist = answers_share(&f->cached);
    return answers_share(&f->full) >= 0.90 && gist >= 0.80 &&
           gist >= answers_share(&f->truncated) + 0.20 && answers_share(&f->negative) <= 0.08 &&
           answers_share(&f->shuffled) <= 0.08 && answers_share(&f->none) <= 0.08 &&
           answers_nll(&f->cached) <= log(PAIRS) - 0.5;
}

static bool trial(uint64_t seed)
{
    trainable base;
    trainable gist;
    trainable negative;
    dictionary held_out[HELD_OUT];
    figures f = {.off = 0.0};
    draw_held_out(held_out, seed + 1000000);
    dictionary_base(&base, BASE_STEPS, seed);
    f.full = ask_masked(&base, held_out, WAY_PLAIN, CONTEXT, NULL);
    f.truncated = ask_masked(&base, held_out, WAY_PLAIN, SLOTS, NULL);
    f.none = ask_masked(&base, held_out, WAY_PLAIN, 0, NULL);
    learner_copy(&gist, &base);
    f.steps = learn(&gist, PITH__GIST_GIST, STEPS_MOST, seed);
    measure_gist(&gist, held_out, &f);
    learner_copy(&negative, &base);
    (void)learn(&negative, PITH__GIST_NEGATIVE, f.steps, seed);
    f.negative = ask_masked(&negative, held_out, WAY_NEGATIVE, 0, NULL);
    trainable_close(&negative);
    trainable_close(&gist);
    trainable_close(&base);
    print_figures(seed, &f);
    return is_good(&f);
}

static void gist_recalls_what_it_has_read(void **state)
{
    (void)state;
    learner_gate(trial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(gist_recalls_what_it_has_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
