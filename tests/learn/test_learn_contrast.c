/*
 * test_learn_contrast.c: contrastive conditioning (Wingate, Shoeybi & Sorensen 2022, section 5): a
 * model has learned texts in two styles and takes the style of a text from what it has read of
 * it. It writes on from one symbol, weighed by two contexts that it has never seen: one in style A,
 * one in style B.
 *
 * The more weight, the more steps are A's; contexts exchanged, the fewer. No weight, and two
 * contexts that are the same, change nothing: not a bit.
 */
#include "learner.h"

enum {
    SYMBOLS = 16,
    STYLES = 2,
    DOCUMENT = 40, /* symbols */
    TEXTS = 32,    /* of an update */
    STEPS = 450,
    CONTEXT = 24,
    WRITTEN = 16, /* symbols of a text */
    WRITINGS = 64 /* texts, each after contexts of its own */
};

/* ---- styles --------------------------------------------------------------------------------- */

/* A text goes on by its style's two steps four times in five, else by the other style's. */
static const uint32_t style_steps[STYLES][2] = {{1, 2}, {5, 9}};

static void write_style(size_t style, uint32_t *ids, size_t count, uint64_t *random)
{
    ids[0] = (uint32_t)test_random_below(random, SYMBOLS);
    for (size_t i = 1; i < count; i++) {
        const bool strays = test_random_below(random, 5) == 0;
        const uint32_t *steps = style_steps[strays ? 1 - style : style];
        ids[i] = (ids[i - 1] + steps[test_random_below(random, 2)]) % SYMBOLS;
    }
}

static bool is_step_of(size_t style, uint32_t from, uint32_t to)
{
    const uint32_t step = (to + SYMBOLS - from) % SYMBOLS;
    return step == style_steps[style][0] || step == style_steps[style][1];
}

/* Next symbols, each document by itself, half of them in each style. */
static void learn(trainable *t, uint64_t seed)
{
    const pith__schedule schedule = {
        .kind = PITH__SCHEDULE_WSD, .warm_up = 30, .total = STEPS, .decay = STEPS / 2};
    uint64_t random = seed * 1000;
    pith__optimizer optimizer;
    batch *b = batch_new();
    learner_open(t, seed);
    learner_optimizer(&t->weights, 2e-3, &optimizer);
    for (uint64_t step = 0; step < STEPS; step++) {
        batch_clear(b);
        for (size_t i = 0; i < TEXTS; i++) {
            uint32_t ids[DOCUMENT];
            const size_t at = b->rows;
            write_style(i % STYLES, ids, DOCUMENT, &random);
            for (size_t p = 0; p + 1 < DOCUMENT; p++) {
                batch_add(b, ids[p], p, at);
                batch_want(b, ids[p + 1], 1.0);
            }
        }
        (void)learner_step(t, &optimizer, b, pith__schedule_at(&schedule, step + 1));
    }
    pith__optimizer_deinit(&optimizer);
    free(b);
}

/* ---- writing -------------------------------------------------------------------------------- */

/* Every byte is a token: symbols are written as they are. */
static pith__tokenizer *tokenizer_of_bytes(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char ranks[256 * 10];
    size_t size = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        size += (size_t)snprintf(ranks + size, sizeof ranks - size, "%c%c== %u\n",
                                 digits[byte >> 2], digits[(byte & 3) << 4], byte);
    }
    pith_error err = {0};
    pith__tokenizer *tokenizer = NULL;
    assert_ok(pith__tokenizer_from_ranks(ranks, size, "gpt2", mem, &tokenizer, &err), err);
    return tokenizer;
}

/* What was written after one prompt. */
typedef struct writing {
    size_t count;
    uint32_t ids[WRITTEN];
    double logprobs[WRITTEN];
} writing;

static bool take_token(void *user, const pith__written *token)
{
    writing *w = user;
    if (token->id != PITH__TOKEN_NONE && w->count < WRITTEN) {
        w->ids[w->count] = token->id;
        w->logprobs[w->count] = token->logprob;
        w->count++;
    }
    return true;
}

typedef struct setting {
    const trainable *t;
    const pith__tokenizer *tokenizer;
    size_t toward, away; /* styles of the contexts */
    double omega;
    bool plain; /* no contexts at all */
} setting;

static void open_reader(const setting *s, const uint32_t *context, size_t count, uint32_t prompt,
                        pith__reader *reader)
{
    pith_error err = {0};
    assert_ok(pith__reader_init(reader, &s->t->model, 1, mem, &err), err);
    assert_ok(pith__reader_ids(reader, context, count, NULL, &err), err);
    assert_ok(pith__reader_ids(reader, &prompt, 1, NULL, &err), err);
}

/* Text number `index`: contexts, prompt and sampling are functions of it and the seed. */
static uint32_t write_one(const setting *s, uint64_t seed, size_t index, writing *out)
{
    uint64_t random = seed * 1000 + 500 + index;
    uint32_t contexts[STYLES][CONTEXT];
    for (size_t style = 0; style < STYLES; style++) {
        write_style(style, contexts[style], CONTEXT, &random);
    }
    const uint32_t prompt = (uint32_t)test_random_below(&random, SYMBOLS);
    pith__reader readers[3];
    open_reader(s, NULL, 0, prompt, &readers[0]);
    open_reader(s, contexts[s->toward], CONTEXT, prompt, &readers[1]);
    open_reader(s, contexts[s->away], CONTEXT, prompt, &readers[2]);
    const pith__stream_pair pair = {
        .toward = &readers[1], .away = &readers[2], .omega = s->omega, .tau = 1.0};
    const pith__generate_settings settings = {.sampling = {.temperature = 1.0,
                                                           .top_p = 1.0,
                                                           .repetition_penalty = 1.0,
                                                           .seed = test_random(&random)},
                                              .max_tokens = WRITTEN,
                                              .ignore_end = true,
                                              .written = take_token,
                                              .written_user = out};
    pith_error err = {0};
    pith__stop_reason reason = PITH__STOP_END;
    size_t count = 0;
    *out = (writing){.count = 0};
    assert_ok(pith__generate(&readers[0], &pair, s->plain ? 0 : 1, s->tokenizer, &settings, mem,
                             &reason, &count, &err),
              err);
    assert_int_equal(count, WRITTEN);
    for (size_t i = 0; i < 3; i++) {
        pith__reader_deinit(&readers[i]);
    }
    return prompt;
}

/* All texts; the share of their steps that are A's. */
static double write_all(const setting *s, uint64_t seed, writing *out)
{
    size_t steps = 0;
    for (size_t i = 0; i < WRITINGS; i++) {
        uint32_t last = write_one(s, seed, i, &out[i]);
        for (size_t j = 0; j < WRITTEN; j++) {
            steps += is_step_of(0, last, out[i].ids[j]) ? 1 : 0;
            last = out[i].ids[j];
        }
    }
    return (double)steps / ((double)WRITINGS * WRITTEN);
}

/* ---- one seed ------------------------------------------------------------------------------- */

/* Shares of A's steps at these weights, with contexts as they are and exchanged. */
enum { WEIGHTS = 3 };
static const double weights[WEIGHTS] = {0.0, 1.0, 2.0};

/* What a weight of 0 and equal contexts must not change, they do not change in a single bit. */
static void identities_hold(const setting *plain, uint64_t seed)
{
    static writing base[WRITINGS];
    static writing other[WRITINGS];
    setting s = *plain;
    (void)write_all(plain, seed, base);
    s.plain = false;
    s.omega = 0.0;
    (void)write_all(&s, seed, other);
    assert_memory_equal(base, other, sizeof base);
    s.omega = 2.0;
    s.away = s.toward;
    (void)write_all(&s, seed, other);
    assert_memory_equal(base, other, sizeof base);
}

static bool trial(uint64_t seed)
{
    static writing written[WRITINGS];
    trainable t;
    pith__tokenizer *tokenizer = tokenizer_of_bytes();
    double share[WEIGHTS];
    double exchanged[WEIGHTS];
    bool ok = true;
    learn(&t, seed);
    const setting plain = {.t = &t, .tokenizer = tokenizer, .toward = 0, .away = 1, .plain = true};
    identities_hold(&plain, seed);
    for (size_t i = 0; i < WEIGHTS; i++) {
        setting s = plain;
        s.plain = false;
        s.omega = weights[i];
        share[i] = write_all(&s, seed, written);
        s.toward = 1;
        s.away = 0;
        exchanged[i] = write_all(&s, seed, written);
        ok = ok && (i == 0 || (share[i] > share[i - 1] && exchanged[i] < exchanged[i - 1]));
    }
    print_message("seed %u: share of A's steps at omega 0, 1, 2: %.3f %.3f %.3f, "
                  "contexts exchanged: %.3f %.3f %.3f\n",
                  (unsigned)seed, share[0], share[1], share[2], exchanged[0], exchanged[1],
                  exchanged[2]);
    pith__tokenizer_free(tokenizer);
    trainable_close(&t);
    return ok;
}

static void contexts_weigh_the_style(void **state)
{
    (void)state;
    learner_gate(trial);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(contexts_weigh_the_style)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
