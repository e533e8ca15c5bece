/*
 * grad_fixture.h: models whose weights may change, and what tests of passes have in common.
 */
#ifndef PITH_GRAD_FIXTURE_H
#define PITH_GRAD_FIXTURE_H

#include "grad/grad.h"

#include "model_fixture.h"

#include <math.h>

/* ---- numbers ----------------------------------------------------------------------------- */

static inline double random_unit(uint64_t *seed)
{
    return (double)(test_random(seed) >> 11) * 0x1p-53;
}

/* Normal, by Box and Muller. */
static inline double random_normal(uint64_t *seed)
{
    const double radius = sqrt(-2.0 * log(1.0 - random_unit(seed)));
    return radius * cos(6.283185307179586 * random_unit(seed));
}

static inline void fill_normal(float *out, size_t count, double deviation, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)(deviation * random_normal(&seed));
    }
}

static inline double dot(const float *a, const float *b, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

/* ||got - expected|| / ||expected||; what is not a number counts as far off. */
static inline double relative_error(const float *got, const float *expected, size_t count)
{
    double off = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double difference = (double)got[i] - (double)expected[i];
        off += difference * difference;
    }
    const double norm = sqrt(dot(expected, expected, count));
    const double error = norm > 0.0 ? sqrt(off) / norm : sqrt(off);
    return isfinite(error) ? error : HUGE_VAL;
}

static inline double largest_difference(const float *a, const float *b, size_t count)
{
    double worst = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double difference = fabs((double)a[i] - (double)b[i]);
        worst = difference <= worst ? worst : difference;
        worst = isfinite(difference) ? worst : HUGE_VAL;
    }
    return worst;
}

static inline void keep_worst(double *worst, double value)
{
    *worst = value <= *worst ? *worst : value; /* a NaN is kept */
}

/* ---- models ------------------------------------------------------------------------------- */

/* A model over a vector of weights, and the gradient that goes with it. */
typedef struct trainable {
    pith__weights weights;
    float *gradients; /* (weights.count), 0 */
    pith__model model;
    pith__arena arena;
    pith__tensor_ctx ctx;
} trainable;

/* For weights that are laid out: memory for them, the model and the gradient. */
static inline void trainable_finish(trainable *t, const pith__model_config *config,
                                    unsigned threads)
{
    pith_error err = {0};
    assert_ok(pith__weights_allocate(&t->weights, &err), err);
    assert_ok(pith__grad_model(config, &t->weights, &pith__allocator_default, &t->model, &err),
              err);
    t->gradients = calloc(t->weights.count, sizeof *t->gradients);
    assert_non_null(t->gradients);
    pith__arena_init(&t->arena, &pith__allocator_default);
    t->ctx = (pith__tensor_ctx){threads, &t->arena};
}

/* A copy of a loaded model. */
static inline void trainable_copy(trainable *t, const pith__model *from, bool tied,
                                  unsigned threads)
{
    pith_error err = {0};
    pith__weights_init(&t->weights, &pith__allocator_default);
    assert_ok(pith__grad_layout(&from->config, tied, &t->weights, &err), err);
    trainable_finish(t, &from->config, threads);
    assert_ok(pith__grad_copy(from, &t->weights, &err), err);
}

static inline void trainable_close(trainable *t)
{
    pith__arena_deinit(&t->arena);
    pith__model_deinit(&t->model);
    free(t->gradients);
    pith__weights_deinit(&t->weights);
}

static inline pith__sink trainable_sink(const trainable *t)
{
    return (pith__sink){t->weights.values, t->gradients, t->weights.count};
}

static inline void trainable_zero(const trainable *t)
{
    memset(t->gradients, 0, t->weights.count * sizeof *t->gradients);
}

static inline const pith__weight *weight_named(const pith__weights *weights, const char *name)
{
    const pith__weight *weight = pith__weights_find(weights, name);
    if (weight == NULL) {
        fail_msg("no tensor %s", name);
    }
    return weight;
}

static inline size_t weight_count(const pith__weight *weight)
{
    return weight->rows * weight->cols;
}

/* ---- passes --------------------------------------------------------------------------------- */

static inline size_t kv_width(const pith__model_config *config)
{
    return (size_t)config->kv_heads * config->head_dim;
}

static inline pith__pass *pass_run(const pith__model *model, const pith__tensor_ctx *ctx,
                                   const pith__pass_input *input)
{
    pith_error err = {0};
    pith__pass *pass = NULL;
    assert_ok(pith__pass_forward(model, ctx, input, &pass, &err), err);
    assert_non_null(pass);
    return pass;
}

static inline void pass_back(pith__pass *pass, const pith__pass_gradients *gradients)
{
    pith_error err = {0};
    assert_ok(pith__pass_backward(pass, gradients, &err), err);
}

/* Rows [first, first + count) of a loss, all of one weight. */
typedef struct row_range {
    uint32_t rows[512];
    float weight[512];
} row_range;

static inline const row_range *row_range_of(row_range *range, size_t first, size_t count,
                                            double weight)
{
    assert_true(count <= sizeof range->rows / sizeof range->rows[0]);
    for (size_t i = 0; i < count; i++) {
        range->rows[i] = (uint32_t)(first + i);
        range->weight[i] = (float)weight;
    }
    return range;
}

/*
 * The mean loss of `count` rows from `first` on; d_hidden (or NULL) and the sink are added to.
 * The range must live as long as the result.
 */
static inline pith__loss mean_loss(const pith__model *model, const pith__tensor_ctx *ctx,
                                   const float *hidden, size_t first, size_t count,
                                   row_range *range)
{
    (void)row_range_of(range, first, count, 1.0 / (double)count);
    return (pith__loss){.model = model,
                        .ctx = ctx,
                        .hidden = hidden,
                        .n = count,
                        .rows = range->rows,
                        .weight = range->weight};
}

static inline double loss_cross_entropy(const pith__loss *loss, const uint32_t *targets)
{
    pith_error err = {0};
    double value = (double)NAN;
    assert_ok(pith__loss_cross_entropy(loss, targets, &value, &err), err);
    return value;
}

#endif /* PITH_GRAD_FIXTURE_H */
