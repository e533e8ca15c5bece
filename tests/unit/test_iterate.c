/*
 * Iterative scoring against its definition, on a language model made of arithmetic: what it says
 * of a token depends on everything before it, so a token too many or too few in the past shows.
 */
#include "lingua/lingua.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST 4096

typedef struct toy {
    pith__lm lm;
    uint32_t ids[MOST];
    size_t length;
    size_t forwarded;
    size_t longest;
} toy;

/* All of the past in one number, so that order and length count. */
static float toy_nll(const uint32_t *past, size_t count, uint32_t target)
{
    uint64_t hash = 1469598103934665603ULL;
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ past[i]) * 1099511628211ULL;
    }
    hash = (hash ^ (target + 77U)) * 1099511628211ULL;
    return (float)(hash >> 44) / 65536.0F;
}

static pith_status toy_extend(void *user, unsigned stream, const uint32_t *ids,
                              const uint32_t *targets, size_t count, float *nll, pith_error *err)
{
    toy *t = user;
    assert_int_equal(stream, 0);
    if (t->length + count > t->lm.context) {
        return pith__fail(err, PITH_E_CONTEXT, "too long");
    }
    for (size_t i = 0; i < count; i++) {
        t->ids[t->length++] = ids[i];
        nll[i] = targets[i] == PITH__LM_NONE ? NAN : toy_nll(t->ids, t->length, targets[i]);
    }
    t->forwarded += count;
    t->longest = t->length > t->longest ? t->length : t->longest;
    return PITH_OK;
}

static size_t toy_length(void *user, unsigned stream)
{
    (void)stream;
    return ((toy *)user)->length;
}

static void toy_truncate(void *user, unsigned stream, size_t length)
{
    toy *t = user;
    (void)stream;
    t->length = length < t->length ? length : t->length;
}

static void toy_init(toy *t, size_t context)
{
    *t = (toy){.lm = {.user = t,
                      .context = context,
                      .bos = 1,
                      .extend = toy_extend,
                      .length = toy_length,
                      .truncate = toy_truncate}};
}

/* ---- the definition ------------------------------------------------------------------------------ */

typedef struct picked {
    double value;
    size_t first;
    size_t count;
} picked;

static int compare_picked(const void *left, const void *right)
{
    const picked *a = left;
    const picked *b = right;
    if (a->value != b->value) {
        return a->value > b->value ? -1 : 1;
    }
    return a->first < b->first ? -1 : a->first > b->first;
}

/* Mean nats, every window judged after prefix and kept text; no stream, no cache. */
static void define(const pith__iterate_input *in, float *nats)
{
    static uint32_t past[MOST];
    static picked units[MOST];
    size_t past_count = in->prefix_count;
    memcpy(past, in->prefix, past_count * sizeof *past);
    for (size_t begin = 0; begin < in->count;) {
        size_t end = begin + in->window;
        if (end >= in->count) {
            end = in->count;
        } else {
            while (in->unit_of[end] == in->unit_of[end - 1]) {
                end--; /* units of these tests fit into a window */
            }
        }
        const size_t before = past_count;
        double room = 0.0;
        for (size_t i = begin; i < end; i++) {
            nats[i] = toy_nll(past, past_count, in->ids[i]);
            past[past_count++] = in->ids[i];
            room += (double)in->rates[i];
        }
        past_count = before;
        bool keep[MOST] = {false};
        size_t count = 0;
        for (size_t i = begin; i < end;) {
            picked unit = {0.0, i, 0};
            bool fixed = false;
            for (; i < end && in->unit_of[i] == in->unit_of[unit.first]; i++) {
                unit.value += (double)nats[i];
                unit.count++;
                fixed = fixed || in->is_fixed[i];
            }
            unit.value /= (double)unit.count;
            if (fixed) {
                room -= (double)unit.count;
                memset(keep + unit.first - begin, 1, unit.count);
            } else {
                units[count++] = unit;
            }
        }
        qsort(units, count, sizeof *units, compare_picked);
        for (size_t i = 0; i < count; i++) {
            if ((double)units[i].count <= room + 1e-6) {
                room -= (double)units[i].count;
                memset(keep + units[i].first - begin, 1, units[i].count);
            }
        }
        for (size_t i = begin; i < end; i++) {
            if (keep[i - begin]) {
                past[past_count++] = in->ids[i];
            }
        }
        begin = end;
    }
}

/* ---- tests --------------------------------------------------------------------------------------------- */

typedef struct example {
    uint32_t ids[MOST];
    size_t unit_of[MOST];
    bool is_fixed[MOST];
    float rates[MOST];
    uint32_t prefix[8];
    pith__iterate_input input;
} example;

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525U + 1013904223U;
    return *state >> 8;
}

static void make_example(example *e, uint32_t seed, size_t count, size_t window,
                         size_t longest_unit)
{
    uint32_t state = seed;
    size_t unit = 0;
    size_t left = 0;
    const float rate = (float)(next_random(&state) % 11) / 10.0F;
    for (size_t i = 0; i < count; i++) {
        if (left == 0) {
            unit++;
            left = 1 + next_random(&state) % longest_unit;
        }
        left--;
        e->ids[i] = 10 + next_random(&state) % 50;
        e->unit_of[i] = unit;
        e->is_fixed[i] = next_random(&state) % 20 == 0;
        e->rates[i] = rate;
    }
    for (size_t i = 0; i < 8; i++) {
        e->prefix[i] = (uint32_t)i + 1;
    }
    e->input = (pith__iterate_input){.ids = e->ids,
                                     .count = count,
                                     .unit_of = e->unit_of,
                                     .is_fixed = e->is_fixed,
                                     .rates = e->rates,
                                     .prefix = e->prefix,
                                     .prefix_count = 1 + seed % 8,
                                     .window = window,
                                     .aggregate = PITH__AGGREGATE_MEAN};
}

static void test_matches_the_definition(void **state)
{
    (void)state;
    static example e;
    static toy t;
    static float nats[MOST];
    static float expected[MOST];
    pith__arena arena;
    pith_error err;
    pith__arena_init(&arena, &pith__allocator_default);
    for (uint32_t seed = 0; seed < 200; seed++) {
        const size_t count = 1 + seed * 3;
        make_example(&e, seed, count, 5 + seed % 40, 1 + seed % 5);
        toy_init(&t, MOST);
        assert_ok(pith__lingua_iterate(&t.lm, 0, &e.input, &arena, nats, &err), err);
        define(&e.input, expected);
        for (size_t i = 0; i < count; i++) {
            assert_float_equal(nats[i], expected[i], 0.0F);
        }
        /* once as part of a window, at most once more as kept text, once per window to go on from */
        assert_true(t.forwarded <= 2 * count + e.input.prefix_count + count / 5 + 1);
    }
    pith__arena_deinit(&arena);
}

/* At rate 1 nothing is dropped and nothing is read twice but the token to go on from. */
static void test_reads_once_what_it_keeps(void **state)
{
    (void)state;
    static example e;
    static toy t;
    static float nats[MOST];
    pith__arena arena;
    pith_error err;
    pith__arena_init(&arena, &pith__allocator_default);
    make_example(&e, 3, 1000, 100, 1);
    for (size_t i = 0; i < 1000; i++) {
        e.rates[i] = 1.0F;
    }
    toy_init(&t, MOST);
    assert_ok(pith__lingua_iterate(&t.lm, 0, &e.input, &arena, nats, &err), err);
    assert_true(t.forwarded <= 1000 + e.input.prefix_count + 10);
    pith__arena_deinit(&arena);
}

/* Texts, prefixes, windows and units larger than the context: never beyond it, never stuck. */
static void test_stays_in_the_context(void **state)
{
    (void)state;
    static example e;
    static toy t;
    static float nats[MOST];
    pith__arena arena;
    pith_error err;
    pith__arena_init(&arena, &pith__allocator_default);
    for (uint32_t seed = 0; seed < 60; seed++) {
        const size_t context = 8 + seed * 2;
        make_example(&e, seed, 2000, 1 + seed * 4, 1 + seed % 30);
        toy_init(&t, context);
        assert_ok(pith__lingua_iterate(&t.lm, 0, &e.input, &arena, nats, &err), err);
        for (size_t i = 0; i < 2000; i++) {
            assert_true(nats[i] >= 0.0F);
        }
        assert_true(t.longest <= context);
        assert_true(t.forwarded <= 20000);
    }
    toy_init(&t, 7);
    assert_int_equal(pith__lingua_iterate(&t.lm, 0, &e.input, &arena, nats, &err), PITH_E_CONTEXT);
    pith__arena_deinit(&arena);
}

/* Without prefix and BOS nothing precedes the first token. */
static void test_first_token_is_unknown(void **state)
{
    (void)state;
    static example e;
    static toy t;
    static float nats[MOST];
    pith__arena arena;
    pith_error err;
    pith__arena_init(&arena, &pith__allocator_default);
    make_example(&e, 9, 100, 10, 1);
    e.rates[0] = 10.0F; /* so that the first window keeps something */
    e.input.prefix_count = 0;
    toy_init(&t, MOST);
    assert_ok(pith__lingua_iterate(&t.lm, 0, &e.input, &arena, nats, &err), err);
    assert_true(!(nats[0] >= 0.0F));
    for (size_t i = 1; i < 100; i++) {
        assert_true(nats[i] >= 0.0F);
    }
    e.input.count = 0;
    assert_ok(pith__lingua_iterate(&t.lm, 0, &e.input, &arena, nats, &err), err);
    pith__arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches_the_definition),
        cmocka_unit_test(test_reads_once_what_it_keeps),
        cmocka_unit_test(test_stays_in_the_context),
        cmocka_unit_test(test_first_token_is_unknown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
