/*
 * test_sample.c: drawing a token, and what attributes add to its score, against numbers worked out
 * by hand and references that are written as the definitions are.
 */
#include "generate/generate.h"

#include "test.h"

#include <math.h>

#define NOT_A_NUMBER ((double)NAN)

static const pith__sampling plain = {
    .temperature = 1.0, .top_p = 1.0, .repetition_penalty = 1.0, .seed = 7};

/* ---- helpers ------------------------------------------------------------------------------- */

#define VOCABULARY_MAX 64

static pith_status try_draw(const pith__sampling *sampling, const double *scores, size_t count,
                            uint64_t counter, uint32_t *id)
{
    pith__arena arena;
    double copy[VOCABULARY_MAX];
    pith__arena_init(&arena, &pith__allocator_default);
    memcpy(copy, scores, count * sizeof *copy);
    const pith_status status =
        pith__sample_token(sampling, copy, count, NULL, 0, counter, &arena, id, NULL);
    pith__arena_deinit(&arena);
    return status;
}

static uint32_t draw(const pith__sampling *sampling, const double *scores, size_t count,
                     uint64_t counter)
{
    uint32_t id = UINT32_MAX;
    assert_int_equal(try_draw(sampling, scores, count, counter, &id), PITH_OK);
    assert_true(id < count);
    return id;
}

/* Which ids come up in many draws: bit i for id i. */
static uint64_t drawn(const pith__sampling *sampling, const double *scores, size_t count)
{
    uint64_t set = 0;
    for (uint64_t i = 0; i < 600; i++) {
        set |= UINT64_C(1) << draw(sampling, scores, count, i);
    }
    return set;
}

/* ---- drawing --------------------------------------------------------------------------------- */

static void greedy_takes_the_best_and_the_first_of_equals(void **state)
{
    (void)state;
    const double scores[] = {-1.0, 3.0, 0.5, 3.0, -HUGE_VAL, 2.0};
    pith__sampling sampling = plain;
    sampling.temperature = 0.0;
    sampling.top_k = 3; /* nothing else matters */
    sampling.top_p = 0.1;
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(draw(&sampling, scores, 6, i), 1);
    }
    sampling.temperature = 5e-324; /* the smallest there is: no overflow, equal ones share */
    sampling.top_k = 0;
    sampling.top_p = 1.0;
    assert_int_equal(drawn(&sampling, scores, 6), 1u << 1 | 1u << 3);
    const double far[] = {-1e308, 1e308, 0.0, -HUGE_VAL};
    sampling.temperature = 1e-300;
    assert_int_equal(drawn(&sampling, far, 4), 1u << 1);
    sampling.temperature = 1e300;
    assert_int_equal(drawn(&sampling, scores, 6), 0x2f); /* all but what is impossible */
}

static void what_is_no_number_is_not_drawn(void **state)
{
    (void)state;
    const double some[] = {NOT_A_NUMBER, -HUGE_VAL, -3.0, NOT_A_NUMBER, -1e300};
    const double none[] = {NOT_A_NUMBER, -HUGE_VAL, NOT_A_NUMBER};
    const double beyond[] = {0.0, HUGE_VAL, 1.0, HUGE_VAL};
    pith__sampling sampling = plain;
    uint32_t id = 0;
    for (size_t i = 0; i < 2; i++) {
        sampling.temperature = (double)i;
        assert_int_equal(drawn(&sampling, some, 5), 1u << 2);
        assert_int_equal(try_draw(&sampling, none, 3, 0, &id), PITH_E_CORRUPT);
        assert_int_equal(try_draw(&sampling, none, 0, 0, &id), PITH_E_CORRUPT);
    }
    assert_int_equal(drawn(&sampling, beyond, 4), 1u << 1 | 1u << 3);
}

/* Pearson's statistic of 20,000 draws stays below the 99.9 % point of chi-square, 7 degrees. */
static void draws_follow_the_distribution(void **state)
{
    (void)state;
    enum { IDS = 8, DRAWS = 20000 };
    const double scores[IDS] = {0.0, 1.0, -0.5, 2.0, 0.3, -3.0, 1.5, -1.0};
    const double temperatures[] = {1.0, 0.7, 1.9};
    for (size_t t = 0; t < 3; t++) {
        pith__sampling sampling = plain;
        sampling.temperature = temperatures[t];
        sampling.seed = 11 + t;
        size_t counts[IDS] = {0};
        double total = 0.0;
        double statistic = 0.0;
        for (uint64_t i = 0; i < DRAWS; i++) {
            counts[draw(&sampling, scores, IDS, i)]++;
        }
        for (size_t v = 0; v < IDS; v++) {
            total += exp(scores[v] / temperatures[t]);
        }
        for (size_t v = 0; v < IDS; v++) {
            const double expected = exp(scores[v] / temperatures[t]) / total * DRAWS;
            const double off = (double)counts[v] - expected;
            statistic += off * off / expected;
        }
        print_message("temperature %.1f: chi-square %.1f\n", temperatures[t], statistic);
        assert_true(statistic < 24.32);
        assert_true(statistic > 0.0);
    }
}

static void a_draw_depends_on_seed_and_counter_alone(void **state)
{
    (void)state;
    const double scores[16] = {0.0};
    pith__sampling sampling = plain;
    pith__sampling other = plain;
    other.seed = plain.seed + 1;
    size_t same_seed = 0;
    size_t same_counter = 0;
    for (uint64_t i = 0; i < 1600; i++) {
        const uint32_t id = draw(&sampling, scores, 16, i);
        assert_int_equal(draw(&sampling, scores, 16, i), id);
        same_seed += draw(&sampling, scores, 16, i + 1) == id;
        same_counter += draw(&other, scores, 16, i) == id;
    }
    assert_in_range(same_seed, 60, 140); /* 100 by chance */
    assert_in_range(same_counter, 60, 140);
}

/* ---- who may be drawn -------------------------------------------------------------------------- */

/* Probabilities as scores, in an order that is not theirs. */
static const double shares[] = {0.1, 0.4, 0.2, 0.3};

static uint64_t drawn_of_shares(size_t top_k, double top_p, double min_p, double temperature)
{
    double scores[4];
    for (size_t i = 0; i < 4; i++) {
        scores[i] = log(shares[i]) + 5.0;
    }
    pith__sampling sampling = plain;
    sampling.top_k = top_k;
    sampling.top_p = top_p;
    sampling.min_p = min_p;
    sampling.temperature = temperature;
    return drawn(&sampling, scores, 4);
}

static void bounds_by_hand(void **state)
{
    (void)state;
    enum { TENTH = 1, FOUR = 2, TWO = 4, THREE = 8 };
    assert_int_equal(drawn_of_shares(0, 1.0, 0.0, 1.0), TENTH | FOUR | TWO | THREE);
    assert_int_equal(drawn_of_shares(1, 1.0, 0.0, 1.0), FOUR);
    assert_int_equal(drawn_of_shares(3, 1.0, 0.0, 1.0), FOUR | THREE | TWO);
    assert_int_equal(drawn_of_shares(99, 1.0, 0.0, 1.0), TENTH | FOUR | TWO | THREE);
    assert_int_equal(drawn_of_shares(0, 0.39, 0.0, 1.0), FOUR);
    assert_int_equal(drawn_of_shares(0, 0.41, 0.0, 1.0), FOUR | THREE); /* the crossing one stays */
    assert_int_equal(drawn_of_shares(0, 0.69, 0.0, 1.0), FOUR | THREE);
    assert_int_equal(drawn_of_shares(0, 0.71, 0.0, 1.0), FOUR | THREE | TWO);
    assert_int_equal(drawn_of_shares(0, 1e-9, 0.0, 1.0), FOUR);
    /* min-p is a share of the likeliest one's */
    assert_int_equal(drawn_of_shares(0, 1.0, 0.24, 1.0), TENTH | FOUR | TWO | THREE);
    assert_int_equal(drawn_of_shares(0, 1.0, 0.26, 1.0), FOUR | TWO | THREE);
    assert_int_equal(drawn_of_shares(0, 1.0, 0.76, 1.0), FOUR);
    assert_int_equal(drawn_of_shares(0, 1.0, 1.0, 1.0), FOUR);
    /* top-p counts what top-k left: 0.4 of 0.7 is above a half, 0.4 of 1 is not */
    assert_int_equal(drawn_of_shares(0, 0.5, 0.0, 1.0), FOUR | THREE);
    assert_int_equal(drawn_of_shares(2, 0.5, 0.0, 1.0), FOUR);
    /* temperature comes before both: at 0.5 the shares are 0.16, 0.09, 0.04, 0.01 of 0.3 */
    assert_int_equal(drawn_of_shares(0, 0.5, 0.0, 0.5), FOUR);
    assert_int_equal(drawn_of_shares(0, 1.0, 0.26, 0.5), FOUR | THREE);
    assert_int_equal(drawn_of_shares(0, 1.0, 0.24, 0.5), FOUR | THREE | TWO);
}

static void equals_stay_by_their_ids(void **state)
{
    (void)state;
    const double scores[] = {0.0, 1.0, 1.0, 0.0, 1.0, 1.0};
    pith__sampling sampling = plain;
    sampling.top_k = 2;
    assert_int_equal(drawn(&sampling, scores, 6), 1u << 1 | 1u << 2);
    sampling.top_k = 5;
    assert_int_equal(drawn(&sampling, scores, 6), 1u << 0 | 1u << 1 | 1u << 2 | 1u << 4 | 1u << 5);
    sampling.top_k = 4;
    sampling.top_p = 0.45;
    assert_int_equal(drawn(&sampling, scores, 6), 1u << 1 | 1u << 2);
}

/* The definitions, one after the other, on a sorted copy: p[i] of id i, 0 for those left out. */
static void reference(const pith__sampling *s, const double *scores, size_t count, double *p)
{
    size_t order[VOCABULARY_MAX];
    double max = -HUGE_VAL;
    double total = 0.0;
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && scores[order[at - 1]] < scores[i]; at--) {
            order[at] = order[at - 1];
        }
        order[at] = i;
        max = fmax(max, scores[i]);
    }
    size_t kept = s->top_k == 0 || s->top_k > count ? count : s->top_k;
    for (size_t i = 0; i < kept; i++) {
        total += exp((scores[order[i]] - max) / s->temperature);
    }
    double sum = 0.0;
    size_t inside = 0;
    while (inside < kept && (inside == 0 || sum / total < s->top_p)) {
        sum += exp((scores[order[inside++]] - max) / s->temperature);
    }
    memset(p, 0, count * sizeof *p);
    total = 0.0;
    for (size_t i = 0; i < inside; i++) {
        const double weight = exp((scores[order[i]] - max) / s->temperature);
        p[order[i]] = weight < s->min_p ? 0.0 : weight;
        total += p[order[i]];
    }
    for (size_t i = 0; i < count; i++) {
        p[i] /= total;
    }
}

static void draws_agree_with_the_reference(void **state)
{
    (void)state;
    enum { IDS = 40, DRAWS = 400 };
    uint64_t random = 5;
    for (size_t round = 0; round < 60; round++) {
        double scores[IDS];
        double p[IDS];
        size_t counts[IDS] = {0};
        for (size_t i = 0; i < IDS; i++) {
            scores[i] = (double)test_random_below(&random, 1000) / 150.0;
        }
        const pith__sampling sampling = {
            .temperature = 0.3 + (double)test_random_below(&random, 20) / 10.0,
            .top_k = round % 3 == 0 ? 0 : 1 + test_random_below(&random, IDS + 5),
            .top_p = round % 4 == 0 ? 1.0 : 0.05 + (double)test_random_below(&random, 90) / 100.0,
            .min_p = round % 2 == 0 ? 0.0 : (double)test_random_below(&random, 70) / 100.0,
            .repetition_penalty = 1.0,
            .seed = round};
        reference(&sampling, scores, IDS, p);
        for (uint64_t i = 0; i < DRAWS; i++) {
            counts[draw(&sampling, scores, IDS, i)]++;
        }
        for (size_t v = 0; v < IDS; v++) {
            const double expected = p[v] * DRAWS;
            assert_true(p[v] > 0.0 || counts[v] == 0);
            assert_true(fabs((double)counts[v] - expected) <= 5.0 * sqrt(expected) + 3.0);
        }
    }
}

/* ---- penalty -------------------------------------------------------------------------------------- */

static void penalty_by_hand(void **state)
{
    (void)state;
    const uint32_t history[] = {3, 0, 1, 1, 0, 4, 99};
    static const struct {
        size_t window;
        double penalty;
        double scores[5];
        uint32_t best;
    } cases[] = {
        {0, 2.0, {1.0, -2.0, 1.5, -4.0, 0.0}, 2}, /* each id once, however often it is there */
        {0, 1.0, {2.0, -1.0, 1.5, -2.0, 0.0}, 0},
        {2, 2.0, {2.0, -1.0, 1.5, -2.0, 0.0}, 0}, /* the last two: 4, and one that is none */
        {3, 4.0, {0.5, -1.0, 1.5, -2.0, 0.0}, 2},
        {100, 0.5, {4.0, -0.5, 1.5, -1.0, 0.0}, 0}, /* below 1 it invites */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double scores[] = {2.0, -1.0, 1.5, -2.0, 0.0};
        uint32_t id = 99;
        pith__arena arena;
        pith_error err = {0};
        pith__sampling sampling = plain;
        sampling.temperature = 0.0;
        sampling.repetition_penalty = cases[i].penalty;
        sampling.repetition_window = cases[i].window;
        pith__arena_init(&arena, &pith__allocator_default);
        assert_ok(pith__sample_token(&sampling, scores, 5, history, 7, 0, &arena, &id, &err), err);
        assert_int_equal(id, cases[i].best);
        for (size_t v = 0; v < 5; v++) {
            assert_true(scores[v] == cases[i].scores[v]);
        }
        assert_int_equal(arena.used_total, 0);
        pith__arena_deinit(&arena);
    }
}

static void bad_settings_are_named(void **state)
{
    (void)state;
    const double no = NOT_A_NUMBER;
    const struct {
        double temperature, top_p, min_p, penalty;
        const char *word;
    } cases[] = {
        {-0.1, 1.0, 0.0, 1.0, "temperature"},
        {no, 1.0, 0.0, 1.0, "temperature"},
        {HUGE_VAL, 1.0, 0.0, 1.0, "temperature"},
        {1.0, 0.0, 0.0, 1.0, "top-p"},
        {1.0, 1.1, 0.0, 1.0, "top-p"},
        {1.0, no, 0.0, 1.0, "top-p"},
        {1.0, 1.0, -0.1, 1.0, "min-p"},
        {1.0, 1.0, 1.1, 1.0, "min-p"},
        {1.0, 1.0, no, 1.0, "min-p"},
        {1.0, 1.0, 0.0, 0.0, "penalty"},
        {1.0, 1.0, 0.0, -1.0, "penalty"},
        {1.0, 1.0, 0.0, HUGE_VAL, "penalty"},
        {1.0, 1.0, 0.0, no, "penalty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pith_error err = {0};
        const pith__sampling sampling = {.temperature = cases[i].temperature,
                                         .top_p = cases[i].top_p,
                                         .min_p = cases[i].min_p,
                                         .repetition_penalty = cases[i].penalty};
        assert_status(pith__sampling_check(&sampling, &err), PITH_E_ARGUMENT);
        assert_non_null(strstr(err.message, cases[i].word));
    }
    assert_int_equal(pith__sampling_check(&plain, NULL), PITH_OK);
}

static pith_status sweep_draw(const pith_allocator *mem, void *user)
{
    (void)user;
    const uint32_t history[] = {1, 2};
    double scores[VOCABULARY_MAX] = {0.0};
    uint32_t id = 0;
    pith__arena arena;
    pith__sampling sampling = plain;
    sampling.repetition_penalty = 1.3;
    sampling.top_p = 0.5;
    pith__arena_init(&arena, mem);
    const pith_status status =
        pith__sample_token(&sampling, scores, VOCABULARY_MAX, history, 2, 0, &arena, &id, NULL);
    pith__arena_deinit(&arena);
    return status;
}

static void drawing_survives_failing_allocations(void **state)
{
    (void)state;
    test_sweep(sweep_draw, NULL);
}

/* ---- contrast ------------------------------------------------------------------------------------- */

#define IDS 12

typedef struct views {
    float base[IDS];
    float toward[IDS];
    float away[IDS];
} views;

static views random_views(uint64_t seed)
{
    views v;
    for (size_t i = 0; i < IDS; i++) {
        v.base[i] = (float)test_random_below(&seed, 2000) / 200.0f - 5.0f;
        v.toward[i] = (float)test_random_below(&seed, 2000) / 300.0f - 3.0f;
        v.away[i] = (float)test_random_below(&seed, 2000) / 300.0f;
    }
    return v;
}

static void log_softmax_by_hand(void **state)
{
    (void)state;
    const float logits[] = {logf(1.0f), logf(2.0f), logf(5.0f), -INFINITY};
    const float shifted[] = {1000.0f, 1000.0f};
    double out[4];
    pith__log_softmax(logits, 4, out);
    assert_true(fabs(out[0] - log(0.125)) < 1e-6);
    assert_true(fabs(out[1] - log(0.25)) < 1e-6);
    assert_true(fabs(out[2] - log(0.625)) < 1e-6);
    assert_true(out[3] == -HUGE_VAL);
    assert_true(fabs(pith__log_sum_exp(logits, 4) - log(8.0)) < 1e-6);
    assert_true(fabs(pith__log_sum_exp(shifted, 2) - 1000.0 - log(2.0)) < 1e-12);
    const float broken[] = {0.0f, NAN};
    assert_true(isnan(pith__log_sum_exp(broken, 2)));
}

static void attributes_that_say_nothing_add_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        const views v = random_views(seed);
        double expected[IDS];
        double got[IDS];
        float copy[IDS];
        memcpy(copy, v.toward, sizeof copy);
        pith__log_softmax(v.base, IDS, expected);
        const pith__contrast silent[] = {
            {.toward = v.toward, .away = v.away, .omega = 0.0, .tau = 1.0},
            {.toward = v.toward, .away = copy, .omega = 3.7, .tau = 0.3},
            {.toward = v.toward, .away = copy, .omega = -2.0, .tau = 11.0},
        };
        pith__contrast_mix(v.base, NULL, 0, IDS, got);
        assert_memory_equal(got, expected, sizeof got);
        for (size_t i = 0; i < 3; i++) {
            pith__contrast_mix(v.base, &silent[i], 1, IDS, got);
            assert_memory_equal(got, expected, sizeof got);
        }
        pith__contrast_mix(v.base, silent, 3, IDS, got);
        assert_memory_equal(got, expected, sizeof got);
        pith__contrast speaks = silent[0];
        speaks.omega = 1e-3;
        pith__contrast_mix(v.base, &speaks, 1, IDS, got);
        assert_memory_not_equal(got, expected, sizeof got);
    }
}

/* The formula of the paper as it is written, up to the constant. */
static void contrast_is_the_formula(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const views v = random_views(seed);
        const views w = random_views(seed + 100);
        const pith__contrast attributes[] = {
            {.toward = v.toward, .away = v.away, .omega = 1.5, .tau = 0.7},
            {.toward = w.toward, .away = w.away, .omega = -0.4, .tau = 2.0}};
        double base[IDS];
        double plus[2][IDS];
        double minus[2][IDS];
        double got[IDS];
        pith__log_softmax(v.base, IDS, base);
        for (size_t a = 0; a < 2; a++) {
            pith__log_softmax(attributes[a].toward, IDS, plus[a]);
            pith__log_softmax(attributes[a].away, IDS, minus[a]);
        }
        pith__contrast_mix(v.base, attributes, 2, IDS, got);
        for (size_t i = 0; i < IDS; i++) {
            double expected = base[i];
            for (size_t a = 0; a < 2; a++) {
                const double p = pow(exp(plus[a][i]), attributes[a].tau);
                const double q = pow(exp(minus[a][i]), attributes[a].tau);
                expected += attributes[a].omega * (log(p / (p + q)) + log(2.0));
            }
            assert_true(fabs(got[i] - expected) < 1e-12);
        }
    }
}

/* Expected ln p(a|x,v) under the mixture. */
static double attribute_of(const views *v, double omega, bool swapped)
{
    double scores[IDS];
    double plus[IDS];
    double minus[IDS];
    double total = 0.0;
    double sum = 0.0;
    const pith__contrast attribute = {.toward = swapped ? v->away : v->toward,
                                      .away = swapped ? v->toward : v->away,
                                      .omega = omega,
                                      .tau = 1.0};
    pith__contrast_mix(v->base, &attribute, 1, IDS, scores);
    pith__log_softmax(v->toward, IDS, plus);
    pith__log_softmax(v->away, IDS, minus);
    for (size_t i = 0; i < IDS; i++) {
        total += exp(scores[i]);
        sum -= exp(scores[i]) * log1p(exp(minus[i] - plus[i]));
    }
    return sum / total;
}

static void more_weight_gives_more_of_the_attribute(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        const views v = random_views(seed);
        double before = -HUGE_VAL;
        for (int step = -4; step <= 8; step++) {
            const double now = attribute_of(&v, (double)step / 2.0, false);
            assert_true(now > before);
            before = now;
        }
        assert_true(attribute_of(&v, 1.0, true) < attribute_of(&v, 0.0, false));
        assert_true(attribute_of(&v, 2.0, true) < attribute_of(&v, 1.0, true));
    }
}

/* ln p(a|v) and ln p(not a|v), with one difference between them: tau (ln p+ - ln p-). */
static void swapping_turns_the_attribute_round(void **state)
{
    (void)state;
    const views v = random_views(3);
    double plus[IDS];
    double minus[IDS];
    double there[IDS] = {0.0};
    double back[IDS] = {0.0};
    const pith__contrast forth = {.toward = v.toward, .away = v.away, .omega = 1.0, .tau = 2.0};
    const pith__contrast swapped = {.toward = v.away, .away = v.toward, .omega = 1.0, .tau = 2.0};
    pith__contrast_add(&forth, 1, IDS, there);
    pith__contrast_add(&swapped, 1, IDS, back);
    pith__log_softmax(v.toward, IDS, plus);
    pith__log_softmax(v.away, IDS, minus);
    for (size_t i = 0; i < IDS; i++) {
        assert_true(fabs(there[i] - back[i] - 2.0 * (plus[i] - minus[i])) < 1e-12);
    }
}

static void the_impossible_stays_in_bounds(void **state)
{
    (void)state;
    const float base[] = {0.0f, 0.0f, 0.0f, 0.0f};
    const float toward[] = {0.0f, -INFINITY, -INFINITY, 3.0f};
    const float away[] = {0.0f, 0.0f, -INFINITY, -INFINITY};
    double scores[4] = {0.0};
    const pith__contrast attribute = {.toward = toward, .away = away, .omega = 1.0, .tau = 1e300};
    pith__contrast_mix(base, &attribute, 1, 4, scores);
    assert_true(scores[1] == -HUGE_VAL);             /* only the opposite allows it */
    assert_true(scores[2] == -log(4.0));             /* neither does: nothing is said */
    assert_true(fabs(scores[3] - log(0.5)) < 1e-12); /* p(a|v) = 1, ln 2 above the middle */
    for (size_t i = 0; i < 4; i++) {
        assert_true(!isnan(scores[i]));
    }
    assert_int_equal(drawn(&plain, scores, 4) & 1u << 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_takes_the_best_and_the_first_of_equals),
        cmocka_unit_test(what_is_no_number_is_not_drawn),
        cmocka_unit_test(draws_follow_the_distribution),
        cmocka_unit_test(a_draw_depends_on_seed_and_counter_alone),
        cmocka_unit_test(bounds_by_hand),
        cmocka_unit_test(equals_stay_by_their_ids),
        cmocka_unit_test(draws_agree_with_the_reference),
        cmocka_unit_test(penalty_by_hand),
        cmocka_unit_test(bad_settings_are_named),
        cmocka_unit_test(drawing_survives_failing_allocations),
        cmocka_unit_test(log_softmax_by_hand),
        cmocka_unit_test(attributes_that_say_nothing_add_nothing),
        cmocka_unit_test(contrast_is_the_formula),
        cmocka_unit_test(more_weight_gives_more_of_the_attribute),
        cmocka_unit_test(swapping_turns_the_attribute_round),
        cmocka_unit_test(the_impossible_stays_in_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
