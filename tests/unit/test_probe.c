/*
 * test_probe.c: a text after its context, after a capsule and after nothing, on small models.
 */
#include "model_fixture.h"

#include "soft/soft.h"

#include <math.h>

#define COUNT 24
#define BOS   0

static pith_error err;

/* A model, a context of random ids, and a capsule for it. */
typedef struct world {
    fixture f;
    uint32_t ids[COUNT];
    pith__capsule *capsule;
    pith__probe probe;
    float nats[PITH__PROBE_WAYS][COUNT];
    float score[COUNT];
} world;

/* Embeddings of the context itself (slots = COUNT), or of its first `slots` tokens. */
static void world_open(world *w, const char *model, uint32_t slots, uint64_t seed)
{
    fixture_open(&w->f, model, PITH_PRECISION_F32, 1);
    random_ids(&w->f, w->ids, COUNT, seed);
    const uint32_t width = w->f.model.config.width;
    assert_ok(pith__capsule_new(PITH__CAPSULE_EMBEDDINGS, "cc", slots, 0, width,
                                &pith__allocator_default, &w->capsule, &err),
              err);
    w->capsule->bos = true;
    for (uint32_t i = 0; i < slots; i++) {
        assert_ok(pith__model_embedding(&w->f.model, w->ids[i],
                                        w->capsule->embeddings + (size_t)i * width, &err),
                  err);
    }
    w->probe = (pith__probe){.model = &w->f.model,
                             .threads = 1,
                             .mem = &pith__allocator_default,
                             .bos = BOS,
                             .context = w->ids,
                             .count = COUNT,
                             .capsule = w->capsule};
}

static void world_close(world *w)
{
    pith__capsule_free(w->capsule);
    fixture_close(&w->f);
}

static float *const *ways(world *w)
{
    static float *list[PITH__PROBE_WAYS];
    for (size_t i = 0; i < PITH__PROBE_WAYS; i++) {
        list[i] = w->nats[i];
    }
    return list;
}

static void recall(world *w, const uint32_t *trigger, size_t n_trigger, double epsilon)
{
    assert_ok(pith__probe_recall(&w->probe, trigger, n_trigger, epsilon, ways(w), w->score, &err),
              err);
}

/* Mean of the scores that are numbers, *scored of them; all of them lie within [0, 1]. */
static double mean_score(const world *w, size_t *scored)
{
    double sum = 0.0;
    *scored = 0;
    for (size_t i = 0; i < COUNT; i++) {
        if (!isnan(w->score[i])) {
            assert_true(w->score[i] >= 0.0F && w->score[i] <= 1.0F);
            sum += (double)w->score[i];
            ++*scored;
        }
    }
    assert_true(*scored > 0);
    return sum / (double)*scored;
}

/* nats (n) of `ids` (n) behind `before` (n_before), in one pass. */
static void nats_in_one_pass(world *w, const uint32_t *before, size_t n_before, const uint32_t *ids,
                             size_t n, float *nats)
{
    uint32_t all[2 * COUNT + 4];
    uint32_t targets[2 * COUNT + 4];
    float nll[2 * COUNT + 4];
    memcpy(all, before, n_before * sizeof *all);
    memcpy(all + n_before, ids, n * sizeof *all);
    for (size_t i = 0; i < n_before + n; i++) {
        targets[i] = i + 1 < n_before + n ? all[i + 1] : PITH__NO_TARGET;
    }
    const pith__sequence sequence = {.ids = all, .count = n_before + n};
    const pith__forward_outputs outputs = {.targets = targets, .nll = nll};
    assert_ok(pith__model_forward(&w->f.model, &w->f.ctx, &sequence, 1, &outputs, &err), err);
    memcpy(nats, nll + n_before - 1, n * sizeof *nats);
}

static void check_near(const float *a, const float *b, size_t n, double tolerance)
{
    for (size_t i = 0; i < n; i++) {
        if (!(fabs((double)a[i] - (double)b[i]) < tolerance)) {
            fail_msg("number %zu is %f, not %f", i, (double)a[i], (double)b[i]);
        }
    }
}

/* ---- nats ------------------------------------------------------------------------------- */

static void three_ways_are_three_prompts(void **state)
{
    (void)state;
    world w;
    enum { SLOTS = 5, TEXT = 7 };
    static const uint32_t text[TEXT] = {3, 1, 4, 1, 5, 9, 2};
    world_open(&w, "llama_gqa", SLOTS, 1);
    uint32_t before[COUNT + 1] = {BOS};
    float expected[TEXT];
    memcpy(before + 1, w.ids, sizeof w.ids);
    assert_ok(pith__probe_nats(&w.probe, text, TEXT, ways(&w), &err), err);
    nats_in_one_pass(&w, before, COUNT + 1, text, TEXT, expected);
    check_near(w.nats[PITH__PROBE_HARD], expected, TEXT, 1e-4);
    nats_in_one_pass(&w, before, 1, text, TEXT, expected);
    check_near(w.nats[PITH__PROBE_NONE], expected, TEXT, 1e-4);
    nats_in_one_pass(&w, before, SLOTS + 1, text, TEXT, expected);
    check_near(w.nats[PITH__PROBE_SOFT], expected, TEXT, 1e-4);
    /* a capsule that has seen BOS, or does without */
    w.capsule->bos = false;
    assert_ok(pith__probe_nats(&w.probe, text, TEXT, ways(&w), &err), err);
    nats_in_one_pass(&w, before + 1, SLOTS, text, TEXT, expected);
    check_near(w.nats[PITH__PROBE_SOFT], expected, TEXT, 1e-4);
    world_close(&w);
}

static void without_bos_the_first_is_unknown(void **state)
{
    (void)state;
    world w;
    static const uint32_t text[] = {7, 8};
    world_open(&w, "llama_gqa", COUNT, 2);
    w.probe.bos = PITH__NO_ID;
    assert_ok(pith__probe_nats(&w.probe, text, 2, ways(&w), &err), err);
    assert_true(isnan(w.nats[PITH__PROBE_NONE][0]));
    assert_true(!isnan(w.nats[PITH__PROBE_NONE][1]));
    assert_true(!isnan(w.nats[PITH__PROBE_HARD][0]));
    assert_true(!isnan(w.nats[PITH__PROBE_SOFT][0]));
    /* and so is a score that hangs on it */
    recall(&w, NULL, 0, 0.0);
    assert_true(isnan(w.score[0]));
    world_close(&w);
}

static void what_does_not_fit_is_said(void **state)
{
    (void)state;
    world w;
    world_open(&w, "llama_gqa", COUNT, 3);
    const size_t context = w.f.model.config.context;
    uint32_t *text = calloc(context, sizeof *text);
    float *nats = malloc(PITH__PROBE_WAYS * context * sizeof *nats);
    assert_non_null(text);
    assert_non_null(nats);
    float *const list[PITH__PROBE_WAYS] = {nats, nats + context, nats + 2 * context};
    const size_t room = context - COUNT - 1;
    assert_ok(pith__probe_nats(&w.probe, text, room, list, &err), err);
    assert_status(pith__probe_nats(&w.probe, text, room + 1, list, &err), PITH_E_CONTEXT);
    assert_status(pith__probe_recall(&w.probe, text, room - COUNT + 1, 0.0, list, w.score, &err),
                  PITH_E_CONTEXT);
    assert_status(pith__probe_nats(&w.probe, text, SIZE_MAX, list, &err), PITH_E_CONTEXT);
    /* a capsule whose text took more places than it has tokens here */
    const pith__model_config *config = &w.f.model.config;
    pith__capsule *far = NULL;
    assert_ok(pith__capsule_new(PITH__CAPSULE_KV, "gist", 1, config->layers,
                                config->kv_heads * config->head_dim, &pith__allocator_default, &far,
                                &err),
              err);
    memcpy(far->position_mode, "continue", sizeof "continue");
    far->advance = (uint32_t)context - 2;
    w.probe.capsule = far;
    assert_ok(pith__probe_nats(&w.probe, text, 2, list, &err), err);
    assert_true(isnan(list[PITH__PROBE_SOFT][0])); /* key-values expect nothing */
    assert_status(pith__probe_nats(&w.probe, text, 3, list, &err), PITH_E_CONTEXT);
    pith__capsule_free(far);
    free(nats);
    free(text);
    world_close(&w);
}

/* ---- recall ----------------------------------------------------------------------------- */

static void the_context_itself_is_recalled(void **state)
{
    (void)state;
    world w;
    static const uint32_t trigger[] = {17, 4, 200};
    size_t scored = 0;
    world_open(&w, "llama_gqa", COUNT, 4);
    recall(&w, trigger, 3, 1e-7);
    check_near(w.nats[PITH__PROBE_SOFT], w.nats[PITH__PROBE_HARD], COUNT, 1e-5);
    assert_true(mean_score(&w, &scored) > 0.999);
    assert_true(scored > COUNT / 2);
    /* the nats are those of the context behind context and trigger */
    uint32_t before[1 + COUNT + 3] = {BOS};
    float expected[COUNT];
    memcpy(before + 1, w.ids, sizeof w.ids);
    memcpy(before + 1 + COUNT, trigger, sizeof trigger);
    nats_in_one_pass(&w, before, 1 + COUNT + 3, w.ids, COUNT, expected);
    check_near(w.nats[PITH__PROBE_HARD], expected, COUNT, 1e-4);
    world_close(&w);
}

/* The built-in model, which has learned to repeat, seen from the folder of the reference models. */
#define TRAINED "../../../models/builtin"

/* Mean score of the tokens [first, last). */
static double mean_of(const world *w, size_t first, size_t last)
{
    world part = *w;
    size_t scored = 0;
    for (size_t i = 0; i < COUNT; i++) {
        part.score[i] = i < first || i >= last ? NAN : w->score[i];
    }
    return mean_score(&part, &scored);
}

static void what_is_missing_is_not_recalled(void **state)
{
    (void)state;
    world w;
    size_t scored = 0;
    static const uint32_t trigger[] = {201, 202};
    for (uint64_t seed = 1; seed <= 3; seed++) {
        world_open(&w, TRAINED, COUNT, seed);
        const size_t width = w.f.model.config.width;
        recall(&w, trigger, 2, 1e-3);
        assert_true(mean_score(&w, &scored) > 0.999);
        assert_true(scored >= COUNT / 3);
        /* the second half is gone */
        memset(w.capsule->embeddings + COUNT / 2 * width, 0,
               COUNT / 2 * width * sizeof *w.capsule->embeddings);
        recall(&w, trigger, 2, 1e-3);
        assert_true(mean_of(&w, 0, COUNT / 2) > 0.3);
        assert_true(mean_of(&w, COUNT / 2, COUNT) < 0.1);
        /* and now all of it */
        memset(w.capsule->embeddings, 0, COUNT / 2 * width * sizeof *w.capsule->embeddings);
        recall(&w, trigger, 2, 1e-3);
        assert_true(mean_score(&w, &scored) < 0.01);
        world_close(&w);
    }
}

static void small_gains_have_no_score(void **state)
{
    (void)state;
    world w;
    static const uint32_t trigger[] = {17, 4, 200};
    world_open(&w, "llama_gqa", 3, 6);
    recall(&w, trigger, 3, 0.0);
    double largest = 0.0;
    for (size_t i = 0; i < COUNT; i++) {
        const double gain = fabs(exp(-(double)w.nats[PITH__PROBE_HARD][i]) -
                                 exp(-(double)w.nats[PITH__PROBE_NONE][i]));
        assert_true(!isnan(w.score[i]));
        largest = gain > largest ? gain : largest;
    }
    recall(&w, trigger, 3, 0.5 * largest);
    for (size_t i = 0; i < COUNT; i++) {
        const double hard = exp(-(double)w.nats[PITH__PROBE_HARD][i]);
        const double soft = exp(-(double)w.nats[PITH__PROBE_SOFT][i]);
        const double none = exp(-(double)w.nats[PITH__PROBE_NONE][i]);
        if (fabs(hard - none) < 0.5 * largest) {
            assert_true(isnan(w.score[i]));
        } else {
            const double share = fmin(fmax((soft - none) / (hard - none), 0.0), 1.0);
            assert_true(fabs((double)w.score[i] - share) < 1e-6);
        }
    }
    recall(&w, trigger, 3, 1.1);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(isnan(w.score[i]));
    }
    world_close(&w);
}

/* ---- memory ------------------------------------------------------------------------------ */

static pith_status sweep_body(const pith_allocator *mem, void *user)
{
    world *w = user;
    static const uint32_t trigger[] = {1};
    w->probe.mem = mem;
    return pith__probe_recall(&w->probe, trigger, 1, 0.0, ways(w), w->score, &err);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    world w;
    world_open(&w, "llama_gqa", 2, 7);
    test_sweep(sweep_body, &w);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_ways_are_three_prompts),
        cmocka_unit_test(without_bos_the_first_is_unknown),
        cmocka_unit_test(what_does_not_fit_is_said),
        cmocka_unit_test(the_context_itself_is_recalled),
        cmocka_unit_test(what_is_missing_is_not_recalled),
        cmocka_unit_test(small_gains_have_no_score),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
