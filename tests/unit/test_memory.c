/*
 * test_memory.c: the graph of compressors, from a text through its slots to what the frozen model
 * predicts, and back: against values of independent implementations, against its own slopes, and
 * against itself where packing, memory and threads must not matter.
 */
#include "train/memory.h"

#include "gold_fixture.h"
#include "grad_reference.h"

/* ---- a compressor ---------------------------------------------------------------------------- */

typedef struct learned {
    pith__weights weights;
    float *gradients; /* (weights.count) */
    pith__compressor compressor;
} learned;

/* Laid out, all 0. */
static void learned_open(learned *l, const pith__compressor_shape *of,
                         const pith__model_config *config, uint32_t rank, unsigned matrices,
                         float alpha, float dropout)
{
    pith_error err = {0};
    pith__weights_init(&l->weights, &pith__allocator_default);
    assert_ok(pith__compressor_layout(of, config, rank, matrices, &l->weights, &err), err);
    assert_ok(pith__weights_allocate(&l->weights, &err), err);
    assert_ok(pith__compressor_of(of, config, &l->weights, alpha, dropout, &pith__allocator_default,
                                  &l->compressor, &err),
              err);
    l->gradients = calloc(l->weights.count, sizeof *l->gradients);
    assert_non_null(l->gradients);
}

static void learned_close(learned *l)
{
    pith__compressor_deinit(&l->compressor);
    pith__weights_deinit(&l->weights);
    free(l->gradients);
}

static pith__sink learned_sink(const learned *l)
{
    return (pith__sink){l->weights.values, l->gradients, l->weights.count};
}

static float *learned_values(const learned *l, const char *name)
{
    return l->weights.values + weight_named(&l->weights, name)->at;
}

static const float *learned_gradient(const learned *l, const char *name)
{
    return l->gradients + weight_named(&l->weights, name)->at;
}

/* ---- against independent implementations ------------------------------------------------------- */

/* Mean loss and mean gradients of one sample. */
static double gold_learn(const bench *b, learned *l, const pith__memory_sample *sample)
{
    const pith__memory_learner learner = {
        .model = &b->base.model, .compressor = &l->compressor, .sink = learned_sink(l)};
    double loss = 0.0;
    uint64_t tokens = 0;
    pith_error err = {0};
    memset(l->gradients, 0, l->weights.count * sizeof *l->gradients);
    assert_ok(pith__memory_learn(&learner, &b->base.ctx, sample, 1, &loss, &tokens, NULL, &err),
              err);
    assert_true(tokens > 0);
    for (size_t i = 0; i < l->weights.count; i++) {
        l->gradients[i] = (float)((double)l->gradients[i] / (double)tokens);
    }
    return loss / (double)tokens;
}

static void take(const learned *l, const gold *g, const char *name, const char *from, size_t row)
{
    const pith__weight *weight = weight_named(&l->weights, name);
    const size_t count = row == SIZE_MAX ? weight_count(weight) : weight->cols;
    memcpy(learned_values(l, name) + (row == SIZE_MAX ? 0 : row * weight->cols),
           gold_array(g, from, count), count * sizeof(float));
}

/* The text again from its slots: `decoded` are BOS, the text, EOS. */
static void check_500x(bench *b, pith__slot_mode mode, const char *name, worst *w)
{
    const gold *g = &b->gold;
    const pith__compressor_shape of = {.method = PITH__COMPRESSOR_500X,
                                       .slots = (uint32_t)gold_size(g->part, "m"),
                                       .layout = PITH__SLOTS_END,
                                       .mode = mode,
                                       .window = 64};
    uint32_t decoded[ROWS_MAX + 2];
    decoded[0] = (uint32_t)golden_integer(g->root, "bos");
    const size_t rows = gold_ids(g->part, "text", decoded, 1);
    decoded[rows] = (uint32_t)golden_integer(g->root, "eos");
    const pith__memory_segment segment = {.ids = decoded + 1, .count = rows - 1, .slots = of.slots};
    const pith__memory_piece pieces[] = {{.segment = 0},
                                         {.ids = decoded, .targets = decoded + 1, .count = rows}};
    learned l;
    learned_open(&l, &of, &b->base.model.config, (uint32_t)golden_integer(g->part, "r"),
                 (1u << PITH__MATRIX_Q) | (1u << PITH__MATRIX_V),
                 (float)gold_number(g->part, "alpha"), 0.0f);
    for (size_t i = 0; i < l.weights.n_items; i++) {
        const char *own = l.weights.items[i].name;
        const bool is_slots = strcmp(own, PITH__COMPRESSOR_SLOTS) == 0;
        take(&l, g, own, is_slots ? "slots" : own, SIZE_MAX);
    }
    worst_loss(w, gold_learn(b, &l, &(pith__memory_sample){&segment, 1, pieces, 2}),
               gold_number(json_object_get(g->part, name), "loss"));
    for (size_t i = 0; i < l.weights.n_items; i++) {
        const pith__weight *weight = &l.weights.items[i];
        const bool is_slots = strcmp(weight->name, PITH__COMPRESSOR_SLOTS) == 0;
        char array[128];
        (void)snprintf(array, sizeof array, "grad.%s.%s", name, is_slots ? "slots" : weight->name);
        worst_gradient(w, l.gradients + weight->at, gold_array(g, array, weight_count(weight)),
                       weight_count(weight));
    }
    learned_close(&l);
}

static void gold_500x(void **state)
{
    (void)state;
    bench b;
    worst w = {0};
    bench_open(&b, "e_500x");
    check_500x(&b, PITH__SLOTS_CONTINUE, "continue", &w);
    check_500x(&b, PITH__SLOTS_RELEASE, "release", &w);
    assert_frozen(&b.base);
    worst_report("e_500x", &w);
    bench_close(&b);
}

/* Arrays of the reference and the tensors (and rows of them) that they are. */
static const struct {
    const char *array;
    const char *tensor;
    size_t row;
} selfcp_arrays[] = {
    {"W", PITH__COMPRESSOR_MATRIX, SIZE_MAX},   {"b", PITH__COMPRESSOR_BIAS, SIZE_MAX},
    {"gamma", PITH__COMPRESSOR_GAIN, SIZE_MAX}, {"beta", PITH__COMPRESSOR_SHIFT, SIZE_MAX},
    {"tag", PITH__COMPRESSOR_TAGS, 0},          {"slot", PITH__COMPRESSOR_TAGS, 1},
};

enum { SELFCP_ARRAYS = sizeof selfcp_arrays / sizeof selfcp_arrays[0] };

/* BOS, memory, prompt, target; the segment was read after the prompt. */
static double selfcp_loss(const bench *b, learned *l, uint32_t slots)
{
    const gold *g = &b->gold;
    uint32_t bos = (uint32_t)golden_integer(g->root, "bos");
    uint32_t segment_ids[ROWS_MAX];
    uint32_t ids[ROWS_MAX];
    uint32_t targets[ROWS_MAX];
    const size_t segment_count = gold_ids(g->part, "segment", segment_ids, 0);
    const size_t prompt = gold_ids(g->part, "prompt", ids, 0);
    const size_t all = gold_ids(g->part, "target", ids, prompt);
    for (size_t i = 0; i + 1 < all; i++) {
        targets[i] = i + 1 < prompt ? PITH__NO_TARGET : ids[i + 1];
    }
    const pith__memory_segment segment = {.before = ids,
                                          .n_before = prompt,
                                          .ids = segment_ids,
                                          .count = segment_count,
                                          .slots = slots};
    const pith__memory_piece pieces[] = {{.ids = &bos, .count = 1},
                                         {.segment = 0, .last_target = PITH__NO_TARGET},
                                         {.ids = ids, .targets = targets, .count = all - 1}};
    return gold_learn(b, l, &(pith__memory_sample){&segment, 1, pieces, 3});
}

static void gold_selfcp(void **state)
{
    (void)state;
    bench b;
    worst w = {0};
    learned l;
    bench_open(&b, "f_selfcp");
    const gold *g = &b.gold;
    const pith__compressor_shape of = {.method = PITH__COMPRESSOR_SELFCP,
                                       .elastic = true,
                                       .ratio = 7,
                                       .layout = PITH__SLOTS_END,
                                       .window = 64,
                                       .has_norm = true};
    assert_true(fabs(gold_number(g->part, "layer_norm_eps") - (double)PITH__COMPRESSOR_EPS) < 1e-9);
    learned_open(&l, &of, &b.base.model.config, 0, 0, 0.0f, 0.0f);
    for (size_t i = 0; i < SELFCP_ARRAYS; i++) {
        take(&l, g, selfcp_arrays[i].tensor, selfcp_arrays[i].array, selfcp_arrays[i].row);
    }
    worst_loss(&w, selfcp_loss(&b, &l, (uint32_t)gold_size(g->part, "n")),
               gold_number(g->part, "loss"));
    for (size_t i = 0; i < SELFCP_ARRAYS; i++) {
        const pith__weight *weight = weight_named(&l.weights, selfcp_arrays[i].tensor);
        const bool whole = selfcp_arrays[i].row == SIZE_MAX;
        const size_t count = whole ? weight_count(weight) : weight->cols;
        char array[32];
        (void)snprintf(array, sizeof array, "grad.%s", selfcp_arrays[i].array);
        worst_gradient(&w,
                       learned_gradient(&l, selfcp_arrays[i].tensor) +
                           (whole ? 0 : selfcp_arrays[i].row * weight->cols),
                       gold_array(g, array, count), count);
    }
    assert_frozen(&b.base);
    worst_report("f_selfcp", &w);
    learned_close(&l);
    bench_close(&b);
}

/* ---- small compressors of every kind ----------------------------------------------------------------- */

typedef struct setup {
    const char *name;
    pith__compressor_shape shape;
} setup;

static const setup setups[] = {
    {"500x, spread", {.method = PITH__COMPRESSOR_500X, .slots = 4, .elastic = true, .window = 14}},
    {"500x, at the end",
     {.method = PITH__COMPRESSOR_500X,
      .slots = 4,
      .elastic = true,
      .layout = PITH__SLOTS_END,
      .window = 14}},
    {"500x, release",
     {.method = PITH__COMPRESSOR_500X,
      .slots = 4,
      .elastic = true,
      .layout = PITH__SLOTS_END,
      .mode = PITH__SLOTS_RELEASE,
      .window = 14,
      .pads = true}},
    {"500x, padded",
     {.method = PITH__COMPRESSOR_500X, .slots = 4, .elastic = true, .window = 14, .pads = true}},
    {"icae, spread", {.method = PITH__COMPRESSOR_ICAE, .slots = 4, .elastic = true, .window = 14}},
    {"icae, padded",
     {.method = PITH__COMPRESSOR_ICAE,
      .slots = 4,
      .elastic = true,
      .layout = PITH__SLOTS_END,
      .window = 14,
      .pads = true}},
    {"selfcp, spread",
     {.method = PITH__COMPRESSOR_SELFCP,
      .elastic = true,
      .ratio = 3,
      .window = 14,
      .has_norm = true}},
    {"selfcp, no norm",
     {.method = PITH__COMPRESSOR_SELFCP,
      .elastic = true,
      .ratio = 3,
      .layout = PITH__SLOTS_END,
      .window = 14}},
};

enum { SETUPS = sizeof setups / sizeof setups[0], PADDING = 2, RANK = 3 };

typedef struct world {
    const setup *setup;
    const shape *model;
    trainable base;
    learned learned;
    pith__memory_learner learner;
} world;

/* Far from what weights are at the start, so that every factor of a gradient counts. */
static void random_weights(const pith__weights *weights, uint64_t seed)
{
    for (size_t i = 0; i < weights->n_items; i++) {
        const pith__weight *w = &weights->items[i];
        const bool is_lora = strstr(w->name, ".lora_") != NULL;
        const double deviation = w->kind == PITH__WEIGHT_EMBEDDING ? 0.4
                                 : is_lora                         ? 0.15
                                                                   : 1.0 / sqrt((double)w->cols);
        for (size_t j = 0; j < weight_count(w); j++) {
            weights->values[w->at + j] =
                (float)(w->kind == PITH__WEIGHT_VECTOR ? 0.5 + random_unit(&seed)
                                                       : deviation * random_normal(&seed));
        }
    }
}

static void world_open(world *w, const setup *of, float dropout)
{
    const shape *model = &shapes[(size_t)(of - setups) % 2];
    pith_error err = {0};
    *w = (world){.setup = of, .model = model};
    pith__weights_init(&w->base.weights, &pith__allocator_default);
    assert_ok(pith__grad_layout(&model->config, model->tied, &w->base.weights, &err), err);
    trainable_finish(&w->base, &model->config, 1);
    random_weights(&w->base.weights, 11);
    learned_open(&w->learned, &of->shape, &model->config, RANK, (1u << PITH__BLOCK_MATRICES) - 1,
                 4.0f, dropout);
    random_weights(&w->learned.weights, 12);
    w->learner = (pith__memory_learner){.model = &w->base.model,
                                        .compressor = &w->learned.compressor,
                                        .padding = PADDING,
                                        .sink = learned_sink(&w->learned)};
}

static void world_close(world *w)
{
    learned_close(&w->learned);
    trainable_close(&w->base);
}

/* ---- samples -------------------------------------------------------------------------------------------- */

enum { SCENE_IDS = 96, SCENE_SEGMENTS = 3, SCENE_PIECES = 6 };

/* A sample with all that it points to. Stays where it is. */
typedef struct scene {
    uint32_t ids[SCENE_IDS];
    size_t used;
    uint64_t seed;
    pith__memory_segment segments[SCENE_SEGMENTS];
    size_t n_segments;
    pith__memory_piece pieces[SCENE_PIECES];
    size_t n_pieces;
} scene;

static pith__memory_sample scene_sample(const scene *s)
{
    return (pith__memory_sample){s->segments, s->n_segments, s->pieces, s->n_pieces};
}

/* Random ids, below the vocabulary of every shape. */
static uint32_t *draw(scene *s, size_t count)
{
    uint32_t *ids = s->ids + s->used;
    s->used += count;
    assert_true(s->used <= SCENE_IDS);
    for (size_t i = 0; i < count; i++) {
        ids[i] = (uint32_t)test_random_below(&s->seed, 29);
    }
    return ids;
}

static void add_segment(scene *s, size_t before, size_t count, uint32_t slots, bool carries)
{
    assert_true(s->n_segments < SCENE_SEGMENTS);
    s->segments[s->n_segments++] = (pith__memory_segment){.before = draw(s, before),
                                                          .n_before = before,
                                                          .ids = draw(s, count),
                                                          .count = count,
                                                          .slots = slots,
                                                          .carries = carries};
}

static void add_memory(scene *s, size_t segment, uint32_t last_target)
{
    assert_true(s->n_pieces < SCENE_PIECES);
    s->pieces[s->n_pieces++] = (pith__memory_piece){.segment = segment, .last_target = last_target};
}

/* Only the last `predicting` rows do. */
static void add_ids(scene *s, size_t count, size_t predicting)
{
    assert_true(s->n_pieces < SCENE_PIECES);
    const uint32_t *ids = draw(s, count);
    uint32_t *targets = draw(s, count);
    for (size_t i = 0; i + predicting < count; i++) {
        targets[i] = PITH__NO_TARGET;
    }
    s->pieces[s->n_pieces++] = (pith__memory_piece){
        .ids = ids, .targets = predicting == 0 ? NULL : targets, .count = count};
}

enum { VARIANTS = 5 };

static void make_kv(scene *s, size_t variant)
{
    switch (variant) {
    case 0: /* the plain case */
        add_segment(s, 0, 11, 3, false);
        add_memory(s, 0, 0);
        add_ids(s, 9, 7);
        break;
    case 1: /* two, the second first */
        add_segment(s, 0, 7, 2, false);
        add_segment(s, 0, 5, 4, false);
        add_memory(s, 1, 0);
        add_memory(s, 0, 0);
        add_ids(s, 3, 0);
        add_ids(s, 5, 5);
        break;
    case 2: /* no memory */
        add_ids(s, 5, 5);
        break;
    case 3: /* one that nobody reads */
        add_segment(s, 0, 4, 1, false);
        add_segment(s, 0, 6, 3, false);
        add_memory(s, 1, 0);
        add_ids(s, 8, 3);
        break;
    default: /* as short as can be */
        add_segment(s, 0, 1, 1, false);
        add_memory(s, 0, 0);
        add_ids(s, 1, 1);
        break;
    }
}

static void make_icae(scene *s, size_t variant)
{
    switch (variant) {
    case 0:
        add_segment(s, 0, 11, 3, false);
        add_memory(s, 0, 5);
        add_ids(s, 9, 7);
        break;
    case 1: /* among ids, one of them twice */
        add_segment(s, 0, 7, 2, false);
        add_segment(s, 0, 5, 4, false);
        add_ids(s, 3, 3);
        add_memory(s, 1, 7);
        add_ids(s, 2, 0);
        add_memory(s, 0, PITH__NO_TARGET);
        add_memory(s, 1, 4);
        add_ids(s, 4, 4);
        break;
    case 2:
        add_ids(s, 5, 5);
        break;
    case 3:
        add_segment(s, 0, 4, 1, false);
        add_segment(s, 0, 6, 3, false);
        add_memory(s, 1, PITH__NO_TARGET);
        add_ids(s, 8, 3);
        break;
    default: /* nothing but memory */
        add_segment(s, 0, 1, 1, false);
        add_memory(s, 0, 3);
        break;
    }
}

static void make_selfcp(scene *s, size_t variant)
{
    switch (variant) {
    case 0: /* former, conditional */
        add_segment(s, 4, 11, 3, false);
        add_ids(s, 1, 0);
        add_memory(s, 0, PITH__NO_TARGET);
        add_ids(s, 9, 7);
        break;
    case 1: /* latter */
        add_segment(s, 0, 7, 2, false);
        add_ids(s, 4, 2);
        add_memory(s, 0, 6);
        add_ids(s, 3, 3);
        break;
    case 2: /* recursive: the last memory alone */
        add_segment(s, 2, 6, 2, false);
        add_segment(s, 0, 5, 1, true);
        add_segment(s, 3, 7, 3, true);
        add_ids(s, 1, 0);
        add_memory(s, 2, 2);
        add_ids(s, 6, 6);
        break;
    case 3: /* concatenated */
        add_segment(s, 0, 6, 2, false);
        add_segment(s, 0, 5, 2, true);
        add_ids(s, 1, 0);
        add_memory(s, 0, PITH__NO_TARGET);
        add_memory(s, 1, PITH__NO_TARGET);
        add_ids(s, 5, 5);
        break;
    default: /* the first is read by nobody, the second by the third */
        add_segment(s, 0, 3, 1, false);
        add_segment(s, 1, 4, 2, false);
        add_segment(s, 0, 5, 1, true);
        add_memory(s, 2, 1);
        add_ids(s, 4, 4);
        break;
    }
}

static void scene_make(scene *s, const setup *of, size_t variant, uint64_t seed)
{
    *s = (scene){.seed = 1000 * seed + variant + 1};
    if (of->shape.method == PITH__COMPRESSOR_500X) {
        make_kv(s, variant);
    } else if (of->shape.method == PITH__COMPRESSOR_ICAE) {
        make_icae(s, variant);
    } else {
        make_selfcp(s, variant);
    }
}

typedef struct outcome {
    double loss;
    uint64_t tokens;
} outcome;

/* With gradients, which are set to 0 first, if the learner has a sink. losses may be NULL. */
static outcome learn(const world *w, const pith__memory_learner *learner,
                     const pith__memory_sample *samples, size_t n, float *losses)
{
    outcome out = {0};
    pith_error err = {0};
    const size_t before = w->base.arena.used_total;
    if (learner->sink.gradients != NULL) {
        memset(learner->sink.gradients, 0, learner->sink.count * sizeof(float));
    }
    assert_ok(
        pith__memory_learn(learner, &w->base.ctx, samples, n, &out.loss, &out.tokens, losses, &err),
        err);
    assert_int_equal(w->base.arena.used_total, before);
    return out;
}

/* ---- slopes ------------------------------------------------------------------------------------------------ */

#define SLOPE_STEP      4e-3
#define SLOPE_TOLERANCE 2e-3

/* What names of tensors contain; the LoRA factors of all matrices together. */
static const char *const slope_groups[] = {".lora_a",
                                           ".lora_b",
                                           PITH__COMPRESSOR_SLOTS,
                                           PITH__COMPRESSOR_MATRIX,
                                           PITH__COMPRESSOR_BIAS,
                                           PITH__COMPRESSOR_GAIN,
                                           PITH__COMPRESSOR_SHIFT,
                                           PITH__COMPRESSOR_TAGS};

enum { SLOPE_GROUPS = sizeof slope_groups / sizeof slope_groups[0], SLOPE_DIRECTIONS = 3 };

typedef struct slopes {
    const world *world;
    pith__memory_sample sample;
} slopes;

static double loss_there(void *user, const double *point)
{
    const slopes *s = user;
    const pith__weights *weights = &s->world->learned.weights;
    pith__memory_learner learner = s->world->learner;
    learner.sink = (pith__sink){0};
    for (size_t i = 0; i < weights->count; i++) {
        weights->values[i] = (float)point[i];
    }
    return learn(s->world, &learner, &s->sample, 1, NULL).loss;
}

/* Random signs in a group; false: the compressor has no such tensor. */
static bool draw_direction(const pith__weights *weights, const char *part, int8_t *direction,
                           uint64_t *seed)
{
    bool found = false;
    memset(direction, 0, weights->count);
    for (size_t i = 0; i < weights->n_items; i++) {
        const pith__weight *weight = &weights->items[i];
        const bool is_in = strstr(weight->name, part) != NULL;
        found = found || is_in;
        for (size_t j = 0; is_in && j < weight_count(weight); j++) {
            direction[weight->at + j] = (int8_t)(test_random(seed) >> 63 ? 1 : -1);
        }
    }
    return found;
}

/* The worst error of one sample's gradients. */
static double slope_error(slopes *s, uint64_t seed)
{
    const pith__weights *weights = &s->world->learned.weights;
    double *base = malloc(weights->count * sizeof *base);
    double *point = malloc(weights->count * sizeof *point);
    int8_t *direction = malloc(weights->count);
    assert_non_null(base);
    assert_non_null(point);
    assert_non_null(direction);
    double worst_error = 0.0;
    for (size_t i = 0; i < weights->count; i++) {
        point[i] = base[i] = (double)weights->values[i];
    }
    (void)learn(s->world, &s->world->learner, &s->sample, 1, NULL);
    for (size_t i = 0; i < (size_t)SLOPE_GROUPS * SLOPE_DIRECTIONS; i++) {
        if (draw_direction(weights, slope_groups[i % SLOPE_GROUPS], direction, &seed)) {
            const double there =
                slope(loss_there, s, point, base, direction, weights->count, SLOPE_STEP);
            keep_worst(&worst_error, direction_error(there, s->world->learned.gradients, direction,
                                                     weights->count));
        }
    }
    (void)loss_there(s, base); /* back to where it was */
    free(direction);
    free(point);
    free(base);
    return worst_error;
}

static void gradients_are_slopes(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        world w;
        world_open(&w, &setups[i], 0.0f);
        print_message("%-18s", setups[i].name);
        for (size_t variant = 0; variant < VARIANTS; variant++) {
            scene s;
            scene_make(&s, &setups[i], variant, i);
            slopes at = {&w, scene_sample(&s)};
            const double error = slope_error(&at, 31 * i + variant);
            print_message(" %.1e", error);
            assert_true(error < SLOPE_TOLERANCE);
        }
        print_message("\n");
        world_close(&w);
    }
}

/* ---- packing, memory --------------------------------------------------------------------------------------- */

enum { PACKED = 60 }; /* several passes of the frozen model, for keys and values */

typedef struct crowd {
    scene scenes[PACKED];
    pith__memory_sample samples[PACKED];
    float losses[PACKED * SCENE_IDS];
    float alone[PACKED * SCENE_IDS];
} crowd;

static crowd *crowd_new(const setup *of)
{
    crowd *c = calloc(1, sizeof *c);
    assert_non_null(c);
    for (size_t i = 0; i < PACKED; i++) {
        scene_make(&c->scenes[i], of, (i * 3 + i / VARIANTS) % VARIANTS, i);
        c->samples[i] = scene_sample(&c->scenes[i]);
    }
    return c;
}

static void packed_is_the_sum(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        world w;
        world_open(&w, &setups[i], 0.0f);
        crowd *c = crowd_new(&setups[i]);
        const size_t count = w.learned.weights.count;
        float *sum = calloc(count, sizeof *sum);
        assert_non_null(sum);
        outcome all = {0};
        for (size_t k = 0; k < PACKED; k++) {
            const outcome one = learn(&w, &w.learner, &c->samples[k], 1, c->alone + all.tokens);
            all.loss += one.loss;
            all.tokens += one.tokens;
            for (size_t j = 0; j < count; j++) {
                sum[j] += w.learned.gradients[j];
            }
        }
        const outcome packed = learn(&w, &w.learner, c->samples, PACKED, c->losses);
        const double loss = fabs(packed.loss - all.loss) / all.loss;
        const double gradient = relative_error(w.learned.gradients, sum, count);
        const double each = largest_difference(c->losses, c->alone, all.tokens);
        print_message("%-18s packed: loss %.1e, gradient %.1e, one target %.1e\n", setups[i].name,
                      loss, gradient, each);
        assert_int_equal(packed.tokens, all.tokens);
        assert_true(all.tokens > 200);
        assert_true(dot(sum, sum, count) > 1.0);
        assert_true(loss < 1e-5);
        assert_true(gradient < 1e-5);
        assert_true(each < 1e-4);
        free(sum);
        free(c);
        world_close(&w);
    }
}

/* Recomputing, leaving gradients away, and reserving the arena change nothing. */
static void memory_is_no_matter(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        world w;
        world_open(&w, &setups[i], 0.0f);
        crowd *c = crowd_new(&setups[i]);
        const size_t bytes = w.learned.weights.count * sizeof(float);
        float *kept = malloc(bytes);
        assert_non_null(kept);
        const outcome first = learn(&w, &w.learner, c->samples, VARIANTS, NULL);
        memcpy(kept, w.learned.gradients, bytes);
        pith__memory_learner learner = w.learner;
        learner.recompute = true;
        const outcome again = learn(&w, &learner, c->samples, VARIANTS, NULL);
        assert_memory_equal(&first.loss, &again.loss, sizeof first.loss);
        assert_memory_equal(kept, w.learned.gradients, bytes);
        learner.sink.gradients = NULL;
        const outcome loss_only = learn(&w, &learner, c->samples, VARIANTS, NULL);
        assert_memory_equal(&first.loss, &loss_only.loss, sizeof first.loss);
        assert_memory_equal(kept, w.learned.gradients, bytes);
        free(kept);
        free(c);
        world_close(&w);
    }
}

/* Rows and slots of samples all of whose segments are encoded. */
static void count_rows(const pith__compressor_shape *of, const crowd *c, size_t *encoder,
                       size_t *decoder, size_t *slots)
{
    for (size_t i = 0; i < PACKED; i++) {
        const scene *s = &c->scenes[i];
        for (size_t k = 0; k < s->n_segments; k++) {
            const pith__memory_segment *segment = &s->segments[k];
            *slots += segment->slots;
            *encoder += segment->n_before + 1 + segment->slots +
                        (of->pads ? of->window : segment->count) +
                        (segment->carries ? s->segments[k - 1].slots : 0);
        }
        for (size_t k = 0; k < s->n_pieces; k++) {
            const pith__memory_piece *piece = &s->pieces[k];
            *decoder += piece->ids != NULL ? piece->count : s->segments[piece->segment].slots;
        }
    }
}

static void reserved_memory_is_enough(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2 * (size_t)SETUPS; i++) {
        world w;
        world_open(&w, &setups[i / 2], 0.0f);
        crowd *c = crowd_new(&setups[i / 2]);
        test_memory memory = {0};
        const pith_allocator mem = test_memory_allocator(&memory);
        pith_error err = {0};
        size_t encoder = 0;
        size_t decoder = 0;
        size_t slots = 0;
        outcome out = {0};
        pith__arena arena;
        pith__arena_init(&arena, &mem);
        const pith__tensor_ctx ctx = {1, &arena};
        count_rows(&setups[i / 2].shape, c, &encoder, &decoder, &slots);
        w.learner.recompute = i % 2 == 1;
        const bool kv = setups[i / 2].shape.method == PITH__COMPRESSOR_500X;
        const size_t bytes = pith__memory_bytes(&w.base.model.config, encoder, decoder, slots,
                                                w.learner.recompute && !kv);
        assert_ok(pith__arena_reserve(&arena, bytes, &err), err);
        const size_t before = memory.count;
        assert_ok(pith__memory_learn(&w.learner, &ctx, c->samples, PACKED, &out.loss, &out.tokens,
                                     NULL, &err),
                  err);
        assert_int_equal(memory.count, before);
        pith__arena_deinit(&arena);
        free(c);
        world_close(&w);
    }
}

/* ---- what learns ---------------------------------------------------------------------------------------------- */

/* Every tensor alone in a sink gets what it gets among all, and nothing else is written. */
static void what_lies_in_the_sink_learns(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        world w;
        world_open(&w, &setups[i], 0.0f);
        crowd *c = crowd_new(&setups[i]);
        const pith__weights *weights = &w.learned.weights;
        const size_t base_bytes = w.base.weights.count * sizeof(float);
        float *base = malloc(base_bytes);
        assert_non_null(base);
        memcpy(base, w.base.weights.values, base_bytes);
        (void)learn(&w, &w.learner, c->samples, VARIANTS, NULL);
        for (size_t t = 0; t < weights->n_items; t++) {
            const pith__weight *weight = &weights->items[t];
            const size_t count = weight_count(weight);
            pith__memory_learner learner = w.learner;
            float *gradient = malloc(count * sizeof *gradient); /* guarded by the sanitizer */
            assert_non_null(gradient);
            learner.sink = (pith__sink){weights->values + weight->at, gradient, count};
            (void)learn(&w, &learner, c->samples, VARIANTS, NULL);
            assert_memory_equal(gradient, w.learned.gradients + weight->at,
                                count * sizeof *gradient);
            free(gradient);
        }
        assert_memory_equal(base, w.base.weights.values, base_bytes);
        assert_frozen(&w.base);
        free(base);
        free(c);
        world_close(&w);
    }
}

static void dropout_has_a_seed(void **state)
{
    (void)state;
    for (size_t i = 0; i < 6; i++) { /* those with an adapter */
        world plain;
        world w;
        scene s;
        world_open(&plain, &setups[i], 0.0f);
        world_open(&w, &setups[i], 0.3f);
        scene_make(&s, &setups[i], 0, 5);
        const pith__memory_sample sample = scene_sample(&s);
        pith__memory_learner learner = w.learner;
        const double off = learn(&w, &learner, &sample, 1, NULL).loss;
        assert_true(off == learn(&plain, &plain.learner, &sample, 1, NULL).loss);
        learner.dropout_seed = 5;
        const double on = learn(&w, &learner, &sample, 1, NULL).loss;
        assert_true(on != off);
        assert_true(on == learn(&w, &learner, &sample, 1, NULL).loss);
        learner.dropout_seed = 6;
        assert_true(on != learn(&w, &learner, &sample, 1, NULL).loss);
        world_close(&plain);
        world_close(&w);
    }
}

/* ---- trained as it is used ------------------------------------------------------------------------------------ */

enum { USED_TEXT = 25, USED_AFTER = 8, USED_BOS = 1 };

/* Nats of `after` as a capsule's reader gives them; the first is a number only behind embeddings. */
static void read_capsule(const world *w, const uint32_t *text, const uint32_t *after, float *nats)
{
    const bool adapted = w->learned.compressor.lora.rank > 0;
    pith_error err = {0};
    trainable encoder;
    pith__capsule *capsule = NULL;
    pith__reader reader;
    const uint32_t bos = USED_BOS;
    trainable_copy(
        &encoder, &w->base.model,
        w->base.model.head.f32 == (const float *)(const void *)w->base.model.embedding.data, 1);
    if (adapted) {
        assert_ok(pith__grad_merge(&w->learned.compressor.lora, &encoder.weights, &err), err);
    }
    const pith__compress_input input = {.compressor = &w->learned.compressor,
                                        .encoder = &encoder.model,
                                        .threads = 1,
                                        .ids = text,
                                        .count = USED_TEXT,
                                        .slots = 3,
                                        .padding = PADDING};
    assert_ok(pith__compress(&input, &pith__allocator_default, &capsule, &err), err);
    assert_ok(pith__reader_init(&reader, &w->base.model, 1, &pith__allocator_default, &err), err);
    if (capsule->bos) {
        assert_ok(pith__reader_ids(&reader, &bos, 1, NULL, &err), err);
    }
    assert_ok(pith__capsule_read(capsule, &reader, &err), err);
    assert_ok(pith__reader_ids(&reader, after, USED_AFTER, nats, &err), err);
    pith__reader_deinit(&reader);
    pith__capsule_free(capsule);
    trainable_close(&encoder);
}

/* Two segments of a text, read through a capsule and through the graph. */
static void trained_as_used(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        world w;
        world_open(&w, &setups[i], 0.0f);
        scene s = {.seed = 77};
        const uint32_t bos = USED_BOS;
        const uint32_t *text = draw(&s, USED_TEXT);
        const uint32_t *after = draw(&s, USED_AFTER);
        const size_t half = USED_TEXT / 2;
        const bool selfcp = setups[i].shape.method == PITH__COMPRESSOR_SELFCP;
        const bool kv = setups[i].shape.method == PITH__COMPRESSOR_500X;
        const pith__memory_segment segments[] = {
            {.ids = text, .count = half, .slots = 3},
            {.ids = text + half, .count = USED_TEXT - half, .slots = 3}};
        const pith__memory_piece pieces[] = {
            {.ids = &bos, .count = 1},
            {.segment = 0, .last_target = PITH__NO_TARGET},
            {.segment = 1, .last_target = after[0]},
            {.ids = after, .targets = after + 1, .count = USED_AFTER - 1}};
        const size_t skip = selfcp ? 0 : 1;
        const pith__memory_sample sample = {segments, 2, pieces + skip, 4 - skip};
        float nats[USED_AFTER];
        float losses[USED_AFTER];
        const outcome out = learn(&w, &w.learner, &sample, 1, losses);
        read_capsule(&w, text, after, nats);
        assert_int_equal(out.tokens, USED_AFTER - (kv ? 1 : 0));
        const double difference = largest_difference(losses, nats + (kv ? 1 : 0), out.tokens);
        print_message("%-18s graph and capsule differ by %.1e nats\n", setups[i].name, difference);
        assert_true(difference < 1e-4);
        world_close(&w);
    }
}

/* ---- the memory of a memory ------------------------------------------------------------------------------------- */

enum { CHAIN_ROWS = 64 };

/* Rows of a pass as they are read, one after the other. */
typedef struct chain {
    size_t count;
    uint32_t ids[CHAIN_ROWS];
    float rows[CHAIN_ROWS * 32];
} chain;

static void chain_ids(chain *c, const uint32_t *ids, size_t count)
{
    assert_true(c->count + count <= CHAIN_ROWS);
    memcpy(c->ids + c->count, ids, count * sizeof *ids);
    c->count += count;
}

static void chain_rows(chain *c, const float *rows, size_t count, size_t width)
{
    assert_true(c->count + count <= CHAIN_ROWS && width <= 32);
    memcpy(c->rows + c->count * width, rows, count * width * sizeof *rows);
    for (size_t i = 0; i < count; i++) {
        c->ids[c->count++] = PITH__NO_ID;
    }
}

static const float *chain_run(const world *w, const chain *c)
{
    return pith__pass_hidden(
        pass_run(&w->base.model, &w->base.ctx,
                 &(pith__pass_input){.rows = c->count, .ids = c->ids, .embeddings = c->rows}));
}

/* The memory of the last of three segments, each of which has read the one before: `z` (slots, d). */
static void chain_memory(const world *w, const scene *s, float *z)
{
    const pith__compressor *of = &w->learned.compressor;
    const size_t d = of->width;
    const pith__connector connector = {
        .width = d, .matrix = of->matrix, .bias = of->bias, .eps = PITH__COMPRESSOR_EPS};
    pith_error err = {0};
    for (size_t i = 0; i < s->n_segments; i++) {
        const pith__memory_segment *segment = &s->segments[i];
        chain c = {0};
        chain_ids(&c, segment->before, segment->n_before);
        chain_rows(&c, of->tags, 1, d);
        if (i > 0) {
            chain_rows(&c, z, segment[-1].slots, d);
        }
        chain_ids(&c, segment->ids, segment->count);
        const size_t first_slot = c.count;
        for (size_t j = 0; j < segment->slots; j++) {
            chain_rows(&c, of->tags + d, 1, d);
        }
        assert_ok(pith__connector_forward(&connector, w->base.model.ops, &w->base.ctx,
                                          chain_run(w, &c) + first_slot * d, segment->slots, NULL,
                                          z, &err),
                  err);
    }
}

/* With slots at the end all rows stand one after the other: no position is named here. */
static void a_chain_by_hand(void **state)
{
    (void)state;
    world w;
    scene s;
    world_open(&w, &setups[SETUPS - 1], 0.0f);
    scene_make(&s, &setups[SETUPS - 1], 2, 9);
    const size_t d = w.learned.compressor.width;
    const pith__memory_sample sample = scene_sample(&s);
    assert_int_equal(s.n_segments, 3);
    assert_int_equal(s.n_pieces, 3);
    const pith__memory_piece *bos = &s.pieces[0];
    const pith__memory_piece *memory = &s.pieces[1];
    const pith__memory_piece *rest = &s.pieces[2];
    const size_t slots = s.segments[2].slots;
    float z[8 * 32];
    chain_memory(&w, &s, z);
    chain c = {0};
    chain_ids(&c, bos->ids, bos->count);
    chain_rows(&c, z, slots, d);
    chain_ids(&c, rest->ids, rest->count);
    uint32_t targets[1 + SCENE_IDS];
    targets[0] = memory->last_target;
    memcpy(targets + 1, rest->targets, rest->count * sizeof *targets);
    row_range range;
    const pith__loss loss = mean_loss(&w.base.model, &w.base.ctx, chain_run(&w, &c),
                                      bos->count + slots - 1, rest->count + 1, &range);
    const double expected = loss_cross_entropy(&loss, targets) * (double)(rest->count + 1);
    const double got = learn(&w, &w.learner, &sample, 1, NULL).loss;
    print_message("a chain of three: %.1e nats of %.1f\n", fabs(got - expected), expected);
    assert_true(fabs(got - expected) < 1e-4);
    world_close(&w);
}

/* ---- errors ---------------------------------------------------------------------------------------------------- */

static void assert_refused(const world *w, const scene *s)
{
    const pith__memory_sample sample = scene_sample(s);
    const size_t before = w->base.arena.used_total;
    outcome out = {1.5, 7};
    pith_error err = {0};
    assert_status(pith__memory_learn(&w->learner, &w->base.ctx, &sample, 1, &out.loss, &out.tokens,
                                     NULL, &err),
                  PITH_E_ARGUMENT);
    assert_true(err.message[0] != '\0');
    assert_true(out.loss == 1.5);
    assert_int_equal(out.tokens, 7);
    assert_int_equal(w->base.arena.used_total, before);
}

/* What is wrong with any method. */
static void refuse_common(const world *w)
{
    scene s;
    scene good;
    scene_make(&good, w->setup, 0, 3);
    s = good;
    s.pieces[s.n_pieces - 2].segment = 1; /* the memory */
    assert_refused(w, &s);
    s = good;
    s.segments[0].slots = 0;
    assert_refused(w, &s);
    s = good;
    s.segments[0].count = 0;
    assert_refused(w, &s);
    s = good;
    s.segments[0].ids = NULL;
    assert_refused(w, &s);
    s = good;
    s.segments[0].carries = true;
    assert_refused(w, &s);
    s = good;
    add_ids(&s, 2, 2);
    s.ids[s.used - 1] = w->base.model.config.vocabulary; /* a target */
    assert_refused(w, &s);
    s = good;
    add_ids(&s, 2, 2);
    const uint32_t none = w->base.model.config.vocabulary;
    s.pieces[s.n_pieces - 1].ids = &none;
    s.pieces[s.n_pieces - 1].count = 1;
    assert_refused(w, &s);
}

static void mistakes_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        const pith__compressor_shape *of = &setups[i].shape;
        world w;
        scene s;
        world_open(&w, &setups[i], 0.0f);
        refuse_common(&w);
        if (of->method != PITH__COMPRESSOR_SELFCP) {
            scene_make(&s, &setups[i], 0, 3);
            s.segments[0].slots = of->slots + 1;
            assert_refused(&w, &s);
            scene_make(&s, &setups[i], 0, 3);
            s.segments[0].n_before = 1;
            assert_refused(&w, &s);
            scene_make(&s, &setups[i], 1, 3);
            s.segments[1].carries = true;
            assert_refused(&w, &s);
        }
        if (of->method == PITH__COMPRESSOR_500X) {
            scene_make(&s, &setups[i], 0, 3);
            add_memory(&s, 0, 0); /* after ids */
            assert_refused(&w, &s);
            scene_make(&s, &setups[i], 0, 3);
            s.n_pieces = 1;
            add_memory(&s, 0, 0); /* twice */
            add_ids(&s, 2, 2);
            assert_refused(&w, &s);
        }
        if (of->pads) {
            s = (scene){.seed = 3};
            add_segment(&s, 0, of->window + 1, 2, false);
            add_memory(&s, 0, 0);
            add_ids(&s, 2, 2);
            assert_refused(&w, &s);
        }
        world_close(&w);
    }
}

static void a_compressor_of_another_width(void **state)
{
    (void)state;
    world w;
    world other;
    scene s;
    world_open(&w, &setups[0], 0.0f);
    world_open(&other, &setups[1], 0.0f);
    scene_make(&s, &setups[0], 0, 3);
    w.learner.compressor = &other.learned.compressor;
    assert_refused(&w, &s);
    world_close(&w);
    world_close(&other);
}

/* No target, no sample: nothing to do. */
static void nothing_asked(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        world w;
        world_open(&w, &setups[i], 0.0f);
        scene s = {.seed = 4};
        add_segment(&s, 0, 5, 2, false);
        add_memory(&s, 0, PITH__NO_TARGET);
        add_ids(&s, 3, 0);
        const pith__memory_sample sample = scene_sample(&s);
        const outcome unasked = learn(&w, &w.learner, &sample, 1, NULL);
        assert_true(unasked.loss == 0.0 && unasked.tokens == 0);
        const outcome none = learn(&w, &w.learner, &sample, 0, NULL);
        assert_true(none.loss == 0.0 && none.tokens == 0);
        assert_true(dot(w.learned.gradients, w.learned.gradients, w.learned.weights.count) == 0.0);
        world_close(&w);
    }
}

typedef struct swept {
    world world;
    scene scenes[2];
} swept;

static pith_status learn_with(const pith_allocator *mem, void *user)
{
    const swept *s = user;
    pith__arena arena;
    pith__arena_init(&arena, mem);
    const pith__tensor_ctx ctx = {1, &arena};
    const pith__memory_sample samples[] = {scene_sample(&s->scenes[0]),
                                           scene_sample(&s->scenes[1])};
    outcome out = {0};
    const pith_status status =
        pith__memory_learn(&s->world.learner, &ctx, samples, 2, &out.loss, &out.tokens, NULL, NULL);
    pith__arena_deinit(&arena);
    return status;
}

static void memory_runs_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < SETUPS; i++) {
        swept *s = calloc(1, sizeof *s);
        assert_non_null(s);
        world_open(&s->world, &setups[i], 0.0f);
        scene_make(&s->scenes[0], &setups[i], 0, 1);
        scene_make(&s->scenes[1], &setups[i], 3, 2);
        test_sweep(learn_with, s);
        world_close(&s->world);
        free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gold_500x),
        cmocka_unit_test(gold_selfcp),
        cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(packed_is_the_sum),
        cmocka_unit_test(memory_is_no_matter),
        cmocka_unit_test(reserved_memory_is_enough),
        cmocka_unit_test(what_lies_in_the_sink_learns),
        cmocka_unit_test(dropout_has_a_seed),
        cmocka_unit_test(trained_as_used),
        cmocka_unit_test(a_chain_by_hand),
        cmocka_unit_test(mistakes_are_refused),
        cmocka_unit_test(a_compressor_of_another_width),
        cmocka_unit_test(nothing_asked),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
