/*
 * test_backward.c: the training operations of the CPU table. Gradients against finite
 * differences of the forward operation, values against naive ones in double
 * precision, and the same bytes for any number of threads.
 */
#include "tensor/tensor.h"

#include "golden_json.h"
#include "test.h"

#include <float.h>
#include <math.h>

static const unsigned THREADS[] = {1, 2, 3, 7};

#define N_THREADS (sizeof THREADS / sizeof THREADS[0])

/* ---- helpers ----------------------------------------------------------------------- */

/* Uniform in [-1, 1), a multiple of 2^-23: what we add to it below stays exact. */
static float random_float(uint64_t *seed)
{
    return (float)((double)(test_random(seed) >> 40) / (double)(1 << 23) - 1.0);
}

static float *new_floats(size_t count, float value)
{
    float *values = calloc(count + 1, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        values[i] = value;
    }
    return values;
}

static float *random_floats(size_t count, uint64_t *seed)
{
    float *values = new_floats(count, 0.0f);
    for (size_t i = 0; i < count; i++) {
        values[i] = random_float(seed);
    }
    return values;
}

static float *copy_floats(const float *values, size_t count)
{
    float *copy = new_floats(count, 0.0f);
    memcpy(copy, values, count * sizeof *copy);
    return copy;
}

static double *new_doubles(size_t count)
{
    double *values = calloc(count + 1, sizeof *values);
    assert_non_null(values);
    return values;
}

static void assert_near(float got, double expected, double bound)
{
    if (!(fabs((double)got - expected) <= bound)) {
        fail_msg("got %.9g, expected %.9g within %.3g", (double)got, expected, bound);
    }
}

/* Every element within `bound` of the largest. */
static void assert_all_near(const float *got, const double *expected, size_t count, double bound)
{
    double largest = 0.0;
    for (size_t i = 0; i < count; i++) {
        largest = fmax(largest, fabs(expected[i]));
    }
    for (size_t i = 0; i < count; i++) {
        assert_near(got[i], expected[i], bound * largest);
    }
}

static double weighted_sum(const float *x, const float *weight, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)x[i] * (double)weight[i];
    }
    return sum;
}

static void tensor_open(pith__tensor_ctx *ctx, pith__arena *arena)
{
    pith__arena_init(arena, &pith__allocator_default);
    *ctx = (pith__tensor_ctx){.threads = 1, .arena = arena};
}

/* ---- finite differences -------------------------------------------------------------- */

/* What a loss looks at; each operation uses what it needs. */
typedef struct scene {
    const pith__tensor_ops *ops;
    pith__tensor_ctx ctx;
    pith__arena arena;
    uint64_t seed;
    size_t rows;
    size_t width;
    float *x;
    float *weight;
    float *bias;
    float *y;
    float *dy; /* the loss is the sum of dy * y, or of dy * the losses of the rows */
    float *loss;
    float *teacher;
    uint32_t *targets;
    size_t k;
    float temperature;
    bool reverse;
    pith__masked_attention attention;
    pith__product product;
} scene;

static void scene_open(scene *s, size_t rows, size_t width, uint64_t seed)
{
    const size_t count = rows * width;
    *s = (scene){.ops = pith__tensor_cpu(), .seed = seed, .rows = rows, .width = width};
    tensor_open(&s->ctx, &s->arena);
    s->x = random_floats(count, &s->seed);
    s->weight = random_floats(count, &s->seed);
    s->bias = random_floats(count, &s->seed);
    s->y = random_floats(count, &s->seed);
    s->dy = random_floats(count, &s->seed);
    s->loss = random_floats(rows, &s->seed);
    s->teacher = random_floats(count, &s->seed);
    s->targets = calloc(count + 1, sizeof *s->targets);
    assert_non_null(s->targets);
}

static void scene_close(scene *s)
{
    free(s->x);
    free(s->weight);
    free(s->bias);
    free(s->y);
    free(s->dy);
    free(s->loss);
    free(s->teacher);
    free(s->targets);
    pith__arena_deinit(&s->arena);
}

typedef double (*loss_fn)(scene *s);

/*
 * The largest difference between `gradient` and a five-point difference quotient of the
 * loss, as a share of the largest gradient. Prints it; fails if it exceeds `bound`.
 * Five points (error h^4 f^(5) / 30) allow steps large enough for the rounding of a
 * float to be small beside them.
 */
static void assert_gradient(const char *what, loss_fn loss, scene *s, float *x,
                            const float *gradient, size_t count, double bound)
{
    const float h = 0.0625f;
    double worst = 0.0;
    double largest = 0.0;
    for (size_t i = 0; i < count; i++) {
        const float before = x[i];
        double f[4];
        for (int j = 0; j < 4; j++) {
            x[i] = before + h * (float)(j < 2 ? j - 2 : j - 1);
            f[j] = loss(s);
        }
        x[i] = before;
        const double slope = (8.0 * (f[2] - f[1]) - (f[3] - f[0])) / (12.0 * (double)h);
        worst = fmax(worst, fabs(slope - (double)gradient[i]));
        largest = fmax(largest, fabs((double)gradient[i]));
        assert_true(isfinite(gradient[i]));
    }
    assert_true(largest > 0.0);
    print_message("gradient of %-28s worst relative error %.1e\n", what, worst / largest);
    if (!(worst <= bound * largest)) {
        fail_msg("%s: %.3g exceeds %.3g", what, worst / largest, bound);
    }
}

/* ---- product ------------------------------------------------------------------------- */

static const pith__product PRODUCTS[] = {
    {.m = 1, .n = 1, .k = 1, .alpha = 1.0f},
    {.m = 3, .n = 5, .k = 7, .alpha = 2.0f},
    {.m = 17, .n = 1, .k = 33, .alpha = 1.0f, .beta = 1.0f},
    {.m = 1, .n = 65, .k = 9, .alpha = -0.5f, .beta = 0.25f},
    {.m = 64, .n = 48, .k = 100, .alpha = 1.0f},
    {.m = 513, .n = 3, .k = 4, .alpha = 1.0f, .beta = 1.0f},
    {.m = 2, .n = 1025, .k = 3, .alpha = 1.0f},
    {.m = 600, .n = 1100, .k = 2, .alpha = 1.0f, .beta = -1.0f},
    {.m = 31, .n = 29, .k = 515, .alpha = 0.125f, .beta = 1.0f},
    {.m = 5, .n = 6, .k = 0, .alpha = 1.0f, .beta = 2.0f},
    {.m = 5, .n = 6, .k = 0, .alpha = 1.0f},
    {.m = 0, .n = 6, .k = 3, .alpha = 1.0f},
    {.m = 4, .n = 0, .k = 3, .alpha = 1.0f},
};

static void product_check(const pith__product *p, const float *a, const float *b,
                          const float *before, const float *c)
{
    for (size_t i = 0; i < p->m; i++) {
        for (size_t j = 0; j < p->n; j++) {
            double sum = 0.0;
            double magnitude = 0.0;
            for (size_t l = 0; l < p->k; l++) {
                const double x = (double)a[p->transpose_a ? l * p->m + i : i * p->k + l];
                const double y = (double)b[p->transpose_b ? j * p->k + l : l * p->n + j];
                sum += x * y;
                magnitude += fabs(x * y);
            }
            const double old = p->beta == 0.0f ? 0.0 : (double)(p->beta * before[i * p->n + j]);
            const double bound = (double)FLT_EPSILON * ((double)(p->k + 4) * magnitude + fabs(old));
            assert_near(c[i * p->n + j], (double)p->alpha * sum + old, bound);
        }
    }
}

static void product_run(const pith__product *p, uint64_t *seed)
{
    const pith__tensor_ops *ops = pith__tensor_cpu();
    pith__arena arena;
    pith__tensor_ctx ctx;
    pith_error err = {0};
    tensor_open(&ctx, &arena);
    const size_t count = p->m * p->n;
    float *a = random_floats(p->m * p->k, seed);
    float *b = random_floats(p->k * p->n, seed);
    float *before = p->beta == 0.0f ? new_floats(count, NAN) : random_floats(count, seed);
    float *first = NULL;
    for (size_t t = 0; t < N_THREADS; t++) {
        float *c = copy_floats(before, count);
        ctx.threads = THREADS[t];
        assert_ok(ops->product(&ctx, p, a, b, c, &err), err);
        if (first == NULL) {
            first = copy_floats(c, count);
            product_check(p, a, b, before, c);
        }
        assert_memory_equal(first, c, count * sizeof *c);
        free(c);
    }
    free(a);
    free(b);
    free(before);
    free(first);
    pith__arena_deinit(&arena);
}

static void product_multiplies_in_every_orientation(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (size_t i = 0; i < sizeof PRODUCTS / sizeof PRODUCTS[0]; i++) {
        for (int orientation = 0; orientation < 4; orientation++) {
            pith__product p = PRODUCTS[i];
            p.transpose_a = (orientation & 1) != 0;
            p.transpose_b = (orientation & 2) != 0;
            product_run(&p, &seed);
        }
    }
}

/* y (rows, width) = x (rows, 5) weight (width, 5)^T */
static double product_loss(scene *s)
{
    pith_error err = {0};
    const pith__product p = {
        .m = s->rows, .n = s->width, .k = 5, .transpose_b = true, .alpha = 1.0f};
    assert_ok(s->ops->product(&s->ctx, &p, s->x, s->weight, s->y, &err), err);
    return weighted_sum(s->y, s->dy, s->rows * s->width);
}

static void product_has_products_for_gradients(void **state)
{
    (void)state;
    scene s;
    pith_error err = {0};
    scene_open(&s, 6, 9, 2);
    float *dx = new_floats(6 * 5, 0.0f);
    float *dw = new_floats(9 * 5, 0.0f);
    const pith__product to_x = {.m = 6, .n = 5, .k = 9, .alpha = 1.0f, .beta = 1.0f};
    const pith__product to_w = {
        .m = 9, .n = 5, .k = 6, .transpose_a = true, .alpha = 1.0f, .beta = 1.0f};
    assert_ok(s.ops->product(&s.ctx, &to_x, s.dy, s.weight, dx, &err), err);
    assert_ok(s.ops->product(&s.ctx, &to_w, s.dy, s.x, dw, &err), err);
    assert_gradient("product: x", product_loss, &s, s.x, dx, 6 * 5, 2e-5);
    assert_gradient("product: weight", product_loss, &s, s.weight, dw, 9 * 5, 2e-5);
    free(dx);
    free(dw);
    scene_close(&s);
}

/* ---- norms --------------------------------------------------------------------------- */

#define EPS 1e-3f

static double rms_norm_loss(scene *s)
{
    s->ops->rms_norm(&s->ctx, s->x, s->weight, s->rows, s->width, EPS, s->y);
    return weighted_sum(s->y, s->dy, s->rows * s->width);
}

static double layer_norm_loss(scene *s)
{
    s->ops->layer_norm(&s->ctx, s->x, s->weight, s->bias, s->rows, s->width, EPS, s->y);
    return weighted_sum(s->y, s->dy, s->rows * s->width);
}

/* The gradients of a norm, added to `before` in each array; NULL where none is wanted. */
typedef struct norm_gradients {
    float *dx;
    float *dweight;
    float *dbias;
} norm_gradients;

static norm_gradients norm_back(scene *s, bool centred, unsigned threads, float before,
                                bool weights)
{
    pith_error err = {0};
    norm_gradients g = {.dx = new_floats(s->rows * s->width, before)};
    if (weights) {
        g.dweight = new_floats(s->width, before);
        g.dbias = new_floats(s->width, before);
    }
    s->ctx.threads = threads;
    if (centred) {
        assert_ok(s->ops->layer_norm_back(&s->ctx, s->x, s->weight, s->dy, s->rows, s->width, EPS,
                                          g.dx, g.dweight, g.dbias, &err),
                  err);
    } else {
        assert_ok(s->ops->rms_norm_back(&s->ctx, s->x, s->weight, s->dy, s->rows, s->width, EPS,
                                        g.dx, g.dweight, &err),
                  err);
    }
    return g;
}

static void norm_free(norm_gradients *g)
{
    free(g->dx);
    free(g->dweight);
    free(g->dbias);
}

static void norms_have_gradients(void **state)
{
    (void)state;
    scene s;
    scene_open(&s, 5, 37, 3);
    norm_gradients g = norm_back(&s, false, 1, 0.0f, true);
    assert_gradient("rms_norm: x", rms_norm_loss, &s, s.x, g.dx, 5 * 37, 5e-5);
    assert_gradient("rms_norm: weight", rms_norm_loss, &s, s.weight, g.dweight, 37, 2e-5);
    norm_free(&g);
    g = norm_back(&s, true, 1, 0.0f, true);
    assert_gradient("layer_norm: x", layer_norm_loss, &s, s.x, g.dx, 5 * 37, 5e-5);
    assert_gradient("layer_norm: weight", layer_norm_loss, &s, s.weight, g.dweight, 37, 2e-5);
    assert_gradient("layer_norm: bias", layer_norm_loss, &s, s.bias, g.dbias, 37, 2e-5);
    norm_free(&g);
    scene_close(&s);
}

static void layer_norm_is_centred_and_scaled(void **state)
{
    (void)state;
    scene s;
    scene_open(&s, 70, 33, 4);
    for (size_t i = 0; i < s.width; i++) {
        s.x[i] += 1000.0f; /* far from 0: the variance must be taken around the mean */
    }
    (void)layer_norm_loss(&s);
    double *expected = new_doubles(s.rows * s.width);
    for (size_t r = 0; r < s.rows; r++) {
        const float *x = s.x + r * s.width;
        double mean = 0.0;
        double variance = 0.0;
        for (size_t i = 0; i < s.width; i++) {
            mean += (double)x[i] / (double)s.width;
        }
        for (size_t i = 0; i < s.width; i++) {
            variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)s.width;
        }
        for (size_t i = 0; i < s.width; i++) {
            expected[r * s.width + i] =
                ((double)x[i] - mean) / sqrt(variance + (double)EPS) * (double)s.weight[i] +
                (double)s.bias[i];
        }
    }
    assert_all_near(s.y, expected, s.width,
                    5e-4); /* a float near 1000 has 13 bits after the point */
    assert_all_near(s.y + s.width, expected + s.width, (s.rows - 1) * s.width, 2e-6);
    float *in_place = copy_floats(s.x, s.rows * s.width);
    s.ctx.threads = 3;
    s.ops->layer_norm(&s.ctx, in_place, s.weight, s.bias, s.rows, s.width, EPS, in_place);
    assert_memory_equal(in_place, s.y, s.rows * s.width * sizeof *in_place);
    free(in_place);
    free(expected);
    scene_close(&s);
}

static void norm_gradients_are_added_and_the_same_on_any_threads(void **state)
{
    (void)state;
    for (int centred = 0; centred < 2; centred++) {
        scene s;
        scene_open(&s, 300, 19, 5); /* three blocks of rows */
        norm_gradients zero = norm_back(&s, centred != 0, 1, 0.0f, true);
        norm_gradients two = norm_back(&s, centred != 0, 1, 2.0f, true);
        norm_gradients alone = norm_back(&s, centred != 0, 1, 0.0f, false);
        assert_memory_equal(alone.dx, zero.dx, 300 * 19 * sizeof *zero.dx);
        for (size_t i = 0; i < 300 * 19; i++) {
            assert_near(two.dx[i], 2.0 + (double)zero.dx[i], 1e-5);
        }
        for (size_t i = 0; i < 19; i++) {
            double sum = 0.0;
            for (size_t r = 0; r < 300; r++) {
                sum += (double)s.dy[r * 19 + i];
            }
            assert_near(two.dweight[i], 2.0 + (double)zero.dweight[i], 1e-4);
            assert_near(two.dbias[i], 2.0 + (centred != 0 ? sum : 0.0), 1e-4);
        }
        for (size_t t = 1; t < N_THREADS; t++) {
            norm_gradients other = norm_back(&s, centred != 0, THREADS[t], 0.0f, true);
            assert_memory_equal(other.dx, zero.dx, 300 * 19 * sizeof *zero.dx);
            assert_memory_equal(other.dweight, zero.dweight, 19 * sizeof *zero.dx);
            assert_memory_equal(other.dbias, zero.dbias, 19 * sizeof *zero.dx);
            norm_free(&other);
        }
        norm_free(&zero);
        norm_free(&two);
        norm_free(&alone);
        scene_close(&s);
    }
}

/* ---- SwiGLU and rotary positions ------------------------------------------------------ */

static double swiglu_loss(scene *s)
{
    s->ops->swiglu_to(&s->ctx, s->x, s->weight, s->rows * s->width, s->y);
    return weighted_sum(s->y, s->dy, s->rows * s->width);
}

static void swiglu_has_gradients(void **state)
{
    (void)state;
    scene s;
    scene_open(&s, 7, 31, 6);
    const size_t count = 7 * 31;
    for (size_t i = 0; i < count; i++) {
        s.x[i] *= 4.0f;
    }
    float *gate = copy_floats(s.x, count);
    float *up = copy_floats(s.weight, count);
    s.ops->swiglu_back(&s.ctx, gate, up, s.dy, count);
    assert_gradient("swiglu: gate", swiglu_loss, &s, s.x, gate, count, 2e-5);
    assert_gradient("swiglu: up", swiglu_loss, &s, s.weight, up, count, 2e-5);
    free(gate);
    free(up);
    scene_close(&s);
}

static void swiglu_to_gives_what_swiglu_does(void **state)
{
    (void)state;
    scene s;
    scene_open(&s, 200, 800, 7); /* three blocks of elements */
    const size_t count = 200 * 800;
    float *gate = copy_floats(s.x, count);
    s.ops->swiglu(&s.ctx, gate, s.weight, count);
    s.ops->swiglu_to(&s.ctx, s.x, s.weight, count, s.y);
    for (size_t i = 0; i < count; i++) {
        assert_near(s.y[i], (double)gate[i], 4.0 * (double)FLT_EPSILON * fabs((double)gate[i]));
    }
    s.ops->swiglu_back(&s.ctx, s.teacher, s.bias, s.dy, count);
    scene other;
    scene_open(&other, 200, 800, 7);
    other.ctx.threads = 3;
    other.ops->swiglu_to(&other.ctx, other.x, other.weight, count, other.y);
    other.ops->swiglu_back(&other.ctx, other.teacher, other.bias, other.dy, count);
    assert_memory_equal(s.y, other.y, count * sizeof *s.y);
    assert_memory_equal(s.teacher, other.teacher, count * sizeof *s.y);
    assert_memory_equal(s.bias, other.bias, count * sizeof *s.y);
    scene_close(&s);
    scene_close(&other);
    free(gate);
}

/* Far from 0 the gate is open or shut, and nothing overflows on the way. */
static void swiglu_saturates(void **state)
{
    (void)state;
    const pith__tensor_ops *ops = pith__tensor_cpu();
    const pith__tensor_ctx ctx = {.threads = 1};
    float gate[4] = {200.0f, -200.0f, 1e30f, -1e30f};
    float up[4] = {3.0f, 3.0f, 3.0f, 3.0f};
    const float dy[4] = {1.0f, 1.0f, 1.0f, 1.0f};
    float y[4];
    ops->swiglu_to(&ctx, gate, up, 4, y);
    assert_near(y[0], 600.0, 1e-4);
    assert_near(y[1], 0.0, 1e-30);
    ops->swiglu_back(&ctx, gate, up, dy, 4);
    assert_near(gate[0], 3.0, 1e-5);
    assert_near(gate[1], 0.0, 1e-30);
    assert_near(gate[2], 3.0, 1e-5);
    assert_true(isfinite(gate[3]));
    assert_near(up[0], 200.0, 1e-4);
}

#define ROPE_HEADS 3
#define ROPE_DIM   10
#define ROPE_PAIRS 4

static void rope_angles(size_t rows, float *cosines, float *sines)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < ROPE_PAIRS; i++) {
            cosines[r * ROPE_PAIRS + i] = cosf((float)r / (float)(i + 1));
            sines[r * ROPE_PAIRS + i] = sinf((float)r / (float)(i + 1));
        }
    }
}

static double rope_loss(scene *s)
{
    memcpy(s->y, s->x, s->rows * s->width * sizeof *s->y);
    s->ops->rope(&s->ctx, s->y, s->rows, ROPE_HEADS, ROPE_DIM, ROPE_PAIRS, s->weight, s->bias);
    return weighted_sum(s->y, s->dy, s->rows * s->width);
}

static void rope_back_is_the_transpose_and_the_inverse(void **state)
{
    (void)state;
    scene s;
    const size_t rows = 70;
    const size_t count = rows * ROPE_HEADS * ROPE_DIM;
    scene_open(&s, rows, ROPE_HEADS * ROPE_DIM, 8);
    rope_angles(rows, s.weight, s.bias);
    float *dx = copy_floats(s.dy, count);
    s.ops->rope_back(&s.ctx, dx, rows, ROPE_HEADS, ROPE_DIM, ROPE_PAIRS, s.weight, s.bias);
    assert_gradient("rope: x", rope_loss, &s, s.x, dx, count, 2e-5);
    (void)rope_loss(&s);
    s.ctx.threads = 3;
    s.ops->rope_back(&s.ctx, s.y, rows, ROPE_HEADS, ROPE_DIM, ROPE_PAIRS, s.weight, s.bias);
    for (size_t i = 0; i < count; i++) {
        assert_near(s.y[i], (double)s.x[i], 4.0 * (double)FLT_EPSILON);
    }
    s.ops->rope_back(&s.ctx, s.dy, rows, ROPE_HEADS, ROPE_DIM, ROPE_PAIRS, s.weight, s.bias);
    assert_memory_equal(s.dy, dx, count * sizeof *dx);
    free(dx);
    scene_close(&s);
}

/* ---- masked attention ----------------------------------------------------------------- */

typedef enum mask_kind {
    SEE_CAUSAL,
    SEE_DOCUMENTS,
    SEE_GIST,
    SEE_GIST_NEGATIVE,
    SEE_BLIND,
    SEE_MATRIX
} mask_kind;

typedef struct mask_case {
    mask_kind kind;
    size_t rows, keys;
    size_t heads, kv_heads, head_dim;
} mask_case;

static const mask_case MASKS[] = {
    {SEE_CAUSAL, 1, 1, 1, 1, 1},        {SEE_CAUSAL, 9, 9, 2, 2, 8},
    {SEE_CAUSAL, 128, 128, 4, 2, 16},   {SEE_CAUSAL, 129, 129, 3, 1, 7},
    {SEE_CAUSAL, 300, 317, 6, 2, 16},   {SEE_CAUSAL, 5, 140, 4, 4, 64},
    {SEE_DOCUMENTS, 290, 290, 4, 2, 8}, {SEE_GIST, 150, 150, 2, 1, 16},
    {SEE_GIST, 40, 45, 2, 2, 8},        {SEE_GIST_NEGATIVE, 200, 203, 2, 1, 8},
    {SEE_BLIND, 300, 300, 2, 1, 8},     {SEE_BLIND, 20, 20, 2, 2, 4},
    {SEE_MATRIX, 33, 50, 4, 2, 8},      {SEE_MATRIX, 270, 270, 2, 1, 16},
    {SEE_CAUSAL, 0, 3, 2, 1, 4},
};

#define N_MASKS (sizeof MASKS / sizeof MASKS[0])

static bool sees(const mask_case *c, size_t i, size_t j)
{
    const size_t past = c->keys - c->rows;
    const bool causal = j <= past + i;
    const size_t gist = c->rows / 2; /* three rows of gists from here */
    switch (c->kind) {
    case SEE_CAUSAL:
        return causal;
    case SEE_DOCUMENTS:
        return causal && i / 37 == j / 37;
    case SEE_GIST:
        return causal && (i < gist + 3 || j >= past + gist);
    case SEE_GIST_NEGATIVE:
        return causal && (i < gist + 3 || j >= past + gist + 3);
    case SEE_BLIND:
        return causal && i >= c->rows * 2 / 3 && i % 7 != 0;
    case SEE_MATRIX:
        break;
    }
    return i % 5 != 3 && (i * 31 + j * 17) % 11 < 4;
}

/* A case, its arrays, and what naive arithmetic in double makes of it. */
typedef struct attention_scene {
    const mask_case *mask;
    pith__masked_attention a;
    float *q, *k, *v, *d_out;
    uint8_t *matrix;
    uint32_t *first, *end;
    double *out, *lse, *dq, *dk, *dv;
} attention_scene;

static size_t q_size(const mask_case *c)
{
    return c->rows * c->heads * c->head_dim;
}

static size_t kv_size(const mask_case *c)
{
    return c->keys * c->kv_heads * c->head_dim;
}

static void attention_mask(attention_scene *s)
{
    const mask_case *c = s->mask;
    for (size_t i = 0; i < c->rows; i++) {
        bool before = true;
        for (size_t j = 0; j < c->keys; j++) {
            const bool seen = sees(c, i, j);
            s->matrix[i * c->keys + j] = seen ? (uint8_t)(1 + j % 3) : 0;
            if (seen && before) {
                s->first[i] = (uint32_t)j;
                before = false;
            }
            s->end[i] = seen ? (uint32_t)j + 1 : s->end[i];
        }
    }
}

static void attention_open(attention_scene *s, const mask_case *c, uint64_t seed)
{
    *s = (attention_scene){.mask = c};
    s->q = random_floats(q_size(c), &seed);
    s->k = random_floats(kv_size(c), &seed);
    s->v = random_floats(kv_size(c), &seed);
    s->d_out = random_floats(q_size(c), &seed);
    s->matrix = calloc(c->rows * c->keys + 1, 1);
    s->first = calloc(c->rows + 1, sizeof *s->first);
    s->end = calloc(c->rows + 1, sizeof *s->end);
    assert_true(s->matrix != NULL && s->first != NULL && s->end != NULL);
    attention_mask(s);
    s->out = new_doubles(q_size(c));
    s->lse = new_doubles(c->heads * c->rows);
    s->dq = new_doubles(q_size(c));
    s->dk = new_doubles(kv_size(c));
    s->dv = new_doubles(kv_size(c));
    s->a = (pith__masked_attention){.heads = c->heads,
                                    .kv_heads = c->kv_heads,
                                    .head_dim = c->head_dim,
                                    .scale = 1.5f / sqrtf((float)c->head_dim),
                                    .rows = c->rows,
                                    .keys = c->keys,
                                    .q = s->q,
                                    .k = s->k,
                                    .v = s->v,
                                    .first = s->first,
                                    .end = s->end};
}

static void attention_close(attention_scene *s)
{
    free(s->q);
    free(s->k);
    free(s->v);
    free(s->d_out);
    free(s->matrix);
    free(s->first);
    free(s->end);
    free(s->out);
    free(s->lse);
    free(s->dq);
    free(s->dk);
    free(s->dv);
}

static double dot(const float *x, const float *y, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)x[i] * (double)y[i];
    }
    return sum;
}

/* p (keys): the probabilities of one query of one head; 0 where it does not look. */
static void naive_probabilities(attention_scene *s, size_t h, size_t i, double *p)
{
    const mask_case *c = s->mask;
    const size_t kv = h / (c->heads / c->kv_heads);
    const float *q = s->q + (i * c->heads + h) * c->head_dim;
    double sum = 0.0;
    for (size_t j = 0; j < c->keys; j++) {
        const float *k = s->k + (j * c->kv_heads + kv) * c->head_dim;
        p[j] = sees(c, i, j) ? exp((double)s->a.scale * dot(q, k, c->head_dim)) : 0.0;
        sum += p[j];
    }
    s->lse[h * c->rows + i] = log(sum);
    for (size_t j = 0; j < c->keys && sum > 0.0; j++) {
        p[j] /= sum;
    }
}

static void naive_query(attention_scene *s, size_t h, size_t i, double *p)
{
    const mask_case *c = s->mask;
    const size_t d = c->head_dim;
    const size_t kv = h / (c->heads / c->kv_heads);
    const size_t at = (i * c->heads + h) * d;
    double mean = 0.0;
    naive_probabilities(s, h, i, p);
    for (size_t j = 0; j < c->keys; j++) {
        const size_t key = (j * c->kv_heads + kv) * d;
        mean += p[j] * dot(s->d_out + at, s->v + key, d);
        for (size_t l = 0; l < d; l++) {
            s->out[at + l] += p[j] * (double)s->v[key + l];
            s->dv[key + l] += p[j] * (double)s->d_out[at + l];
        }
    }
    for (size_t j = 0; j < c->keys; j++) {
        const size_t key = (j * c->kv_heads + kv) * d;
        const double ds = p[j] * (dot(s->d_out + at, s->v + key, d) - mean) * (double)s->a.scale;
        for (size_t l = 0; l < d; l++) {
            s->dq[at + l] += ds * (double)s->k[key + l];
            s->dk[key + l] += ds * (double)s->q[at + l];
        }
    }
}

static void naive_attention(attention_scene *s)
{
    double *p = new_doubles(s->mask->keys);
    for (size_t h = 0; h < s->mask->heads; h++) {
        for (size_t i = 0; i < s->mask->rows; i++) {
            naive_query(s, h, i, p);
        }
    }
    free(p);
}

typedef struct attention_result {
    float *out, *lse, *dq, *dk, *dv;
} attention_result;

static void result_free(attention_result *r)
{
    free(r->out);
    free(r->lse);
    free(r->dq);
    free(r->dk);
    free(r->dv);
}

/* All arrays hold NaN before: they must be written, not added to. */
static attention_result attention_run(attention_scene *s, bool matrix, unsigned threads)
{
    const mask_case *c = s->mask;
    const pith__tensor_ops *ops = pith__tensor_cpu();
    pith_error err = {0};
    pith__arena arena;
    pith__tensor_ctx ctx;
    tensor_open(&ctx, &arena);
    ctx.threads = threads;
    attention_result r = {.out = new_floats(q_size(c), NAN),
                          .lse = new_floats(c->heads * c->rows, NAN),
                          .dq = new_floats(q_size(c), NAN),
                          .dk = new_floats(kv_size(c), NAN),
                          .dv = new_floats(kv_size(c), NAN)};
    const pith__masked_attention_back back = {s->d_out, r.dq, r.dk, r.dv};
    s->a.out = r.out;
    s->a.lse = r.lse;
    s->a.matrix = matrix ? s->matrix : NULL;
    assert_ok(ops->masked_attention(&ctx, &s->a, &err), err);
    assert_ok(ops->masked_attention_back(&ctx, &s->a, &back, &err), err);
    assert_int_equal(arena.used_total, 0);
    pith__arena_deinit(&arena);
    return r;
}

static void attention_check(const attention_scene *s, const attention_result *r)
{
    const mask_case *c = s->mask;
    for (size_t i = 0; i < c->heads * c->rows; i++) {
        if (isinf(s->lse[i])) {
            assert_true(r->lse[i] == -INFINITY);
        } else {
            assert_near(r->lse[i], s->lse[i], 2e-6 * fmax(1.0, fabs(s->lse[i])));
        }
    }
    assert_all_near(r->out, s->out, q_size(c), 2e-6);
    assert_all_near(r->dv, s->dv, kv_size(c), 3e-6);
    assert_all_near(r->dq, s->dq, q_size(c), 5e-6);
    assert_all_near(r->dk, s->dk, kv_size(c), 5e-6);
}

static void masked_attention_is_that_of_naive_arithmetic(void **state)
{
    (void)state;
    for (size_t m = 0; m < N_MASKS; m++) {
        attention_scene s;
        attention_open(&s, &MASKS[m], 20 + m);
        naive_attention(&s);
        for (int matrix = MASKS[m].kind == SEE_MATRIX; matrix < 2; matrix++) {
            attention_result r = attention_run(&s, matrix != 0, 1);
            attention_check(&s, &r);
            result_free(&r);
        }
        attention_close(&s);
    }
}

static void masked_attention_does_not_depend_on_threads(void **state)
{
    (void)state;
    for (size_t m = 0; m < N_MASKS; m++) {
        const mask_case *c = &MASKS[m];
        attention_scene s;
        attention_open(&s, c, 50 + m);
        attention_result one = attention_run(&s, c->kind == SEE_MATRIX, 1);
        for (size_t t = 1; t < N_THREADS; t++) {
            attention_result r = attention_run(&s, c->kind == SEE_MATRIX, THREADS[t]);
            assert_memory_equal(r.out, one.out, q_size(c) * sizeof(float));
            assert_memory_equal(r.lse, one.lse, c->heads * c->rows * sizeof(float));
            assert_memory_equal(r.dq, one.dq, q_size(c) * sizeof(float));
            assert_memory_equal(r.dk, one.dk, kv_size(c) * sizeof(float));
            assert_memory_equal(r.dv, one.dv, kv_size(c) * sizeof(float));
            result_free(&r);
        }
        result_free(&one);
        attention_close(&s);
    }
}

/* What the two passes of the library have in common: a causal mask. */
static void masked_attention_agrees_with_attention(void **state)
{
    (void)state;
    const mask_case *c = &MASKS[4];
    attention_scene s;
    attention_open(&s, c, 80);
    attention_result r = attention_run(&s, false, 1);
    float *out = new_floats(q_size(c), NAN);
    pith_error err = {0};
    pith__arena arena;
    pith__tensor_ctx ctx;
    tensor_open(&ctx, &arena);
    const pith__attention_span span = {
        .count = c->rows, .past = c->keys - c->rows, .k = s.k, .v = s.v};
    const pith__attention attention = {.heads = c->heads,
                                       .kv_heads = c->kv_heads,
                                       .head_dim = c->head_dim,
                                       .scale = s.a.scale,
                                       .q = s.q,
                                       .out = out,
                                       .spans = &span,
                                       .n_spans = 1};
    assert_ok(pith__tensor_cpu()->attention(&ctx, &attention, &err), err);
    for (size_t i = 0; i < q_size(c); i++) {
        assert_near(r.out[i], (double)out[i], 1e-6);
    }
    free(out);
    result_free(&r);
    attention_close(&s);
    pith__arena_deinit(&arena);
}

static double attention_loss(scene *s)
{
    pith_error err = {0};
    const pith__masked_attention *a = &s->attention;
    assert_ok(s->ops->masked_attention(&s->ctx, a, &err), err);
    return weighted_sum(a->out, s->dy, a->rows * a->heads * a->head_dim);
}

static void masked_attention_has_gradients(void **state)
{
    (void)state;
    static const mask_case CASES[] = {{SEE_GIST, 20, 23, 4, 2, 6}, {SEE_MATRIX, 17, 25, 2, 1, 5}};
    for (size_t m = 0; m < 2; m++) {
        const mask_case *c = &CASES[m];
        attention_scene at;
        attention_open(&at, c, 90 + m);
        attention_result r = attention_run(&at, c->kind == SEE_MATRIX, 1);
        scene s = {.ops = pith__tensor_cpu(), .attention = at.a, .dy = at.d_out};
        tensor_open(&s.ctx, &s.arena);
        assert_gradient(m == 0 ? "attention, gist: q" : "attention, matrix: q", attention_loss, &s,
                        at.q, r.dq, q_size(c), 5e-5);
        assert_gradient(m == 0 ? "attention, gist: k" : "attention, matrix: k", attention_loss, &s,
                        at.k, r.dk, kv_size(c), 5e-5);
        assert_gradient(m == 0 ? "attention, gist: v" : "attention, matrix: v", attention_loss, &s,
                        at.v, r.dv, kv_size(c), 2e-5);
        pith__arena_deinit(&s.arena);
        result_free(&r);
        attention_close(&at);
    }
}

/* ---- losses ---------------------------------------------------------------------------- */

typedef enum loss_kind { LOSS_CE, LOSS_KL, LOSS_KL_REVERSE, LOSS_KL_TOP, LOSSES } loss_kind;

static const char *const LOSS_NAMES[LOSSES] = {"cross_entropy", "kl forward", "kl reverse",
                                               "kl_top"};

/* y becomes the gradient; weight holds those of the rows, bias the teacher's top. */
static void loss_run(scene *s, loss_kind kind, bool keep)
{
    const size_t count = s->rows * s->width;
    float *loss = keep ? s->loss : NULL;
    float *teacher = copy_floats(s->teacher, count);
    memcpy(s->y, s->x, count * sizeof *s->y);
    if (kind == LOSS_CE) {
        s->ops->cross_entropy(&s->ctx, s->y, s->rows, s->width, s->targets, s->weight, loss);
    } else if (kind == LOSS_KL_TOP) {
        s->ops->kl_top(&s->ctx, s->y, s->rows, s->width, s->k, s->targets, s->bias, s->weight,
                       loss);
    } else {
        s->ops->kl_divergence(&s->ctx, s->y, teacher, s->rows, s->width, s->temperature,
                              kind == LOSS_KL_REVERSE, s->weight, loss);
    }
    free(teacher);
}

static double log_sum_exp(const float *x, size_t width, double temperature)
{
    double max = -(double)INFINITY;
    double sum = 0.0;
    for (size_t i = 0; i < width; i++) {
        max = fmax(max, (double)x[i] / temperature);
    }
    for (size_t i = 0; i < width; i++) {
        sum += exp((double)x[i] / temperature - max);
    }
    return max + log(sum);
}

/* k ids per row, all different, with the probabilities the teacher gives them. */
static void scene_take_top(scene *s, size_t k)
{
    s->k = k;
    for (size_t r = 0; r < s->rows; r++) {
        const double norm = log_sum_exp(s->teacher + r * s->width, s->width, 1.0);
        for (size_t i = 0; i < k; i++) {
            const size_t id = (i * 7 + r) % s->width; /* 7 does not divide our widths */
            s->targets[r * k + i] = (uint32_t)id;
            s->bias[r * k + i] = (float)exp((double)s->teacher[r * s->width + id] - norm);
        }
    }
}

static void loss_scene(scene *s, loss_kind kind, size_t rows, size_t width, uint64_t seed)
{
    scene_open(s, rows, width, seed);
    s->temperature = 1.0f;
    for (size_t i = 0; i < rows * width; i++) {
        s->x[i] *= 4.0f;
        s->teacher[i] *= 4.0f;
    }
    for (size_t r = 0; r < rows; r++) {
        s->targets[r] = (uint32_t)test_random_below(&s->seed, width);
    }
    if (kind == LOSS_KL_TOP) {
        scene_take_top(s, width / 3);
    }
}

/* Of one row in double; gradient (width) of the weighted loss. */
static double naive_cross_entropy(const scene *s, size_t r, double *gradient)
{
    const float *x = s->x + r * s->width;
    const double norm = log_sum_exp(x, s->width, 1.0);
    for (size_t i = 0; i < s->width; i++) {
        const double q = exp((double)x[i] - norm);
        gradient[i] = (double)s->weight[r] * (q - (i == s->targets[r] ? 1.0 : 0.0));
    }
    return norm - (double)x[s->targets[r]];
}

static double naive_kl(const scene *s, bool reverse, size_t r, double *gradient)
{
    const double t = (double)s->temperature;
    const float *x = s->x + r * s->width;
    const float *y = s->teacher + r * s->width;
    const double norm_x = log_sum_exp(x, s->width, t);
    const double norm_y = log_sum_exp(y, s->width, t);
    double loss = 0.0;
    for (size_t i = 0; i < s->width; i++) {
        const double log_q = (double)x[i] / t - norm_x;
        const double log_p = (double)y[i] / t - norm_y;
        loss += reverse ? exp(log_q) * (log_q - log_p) : exp(log_p) * (log_p - log_q);
    }
    for (size_t i = 0; i < s->width; i++) {
        const double log_q = (double)x[i] / t - norm_x;
        const double log_p = (double)y[i] / t - norm_y;
        gradient[i] = (double)s->weight[r] * t *
                      (reverse ? exp(log_q) * (log_q - log_p - loss) : exp(log_q) - exp(log_p));
    }
    return t * t * loss;
}

static double naive_kl_top(const scene *s, size_t r, double *gradient)
{
    const float *x = s->x + r * s->width;
    const uint32_t *ids = s->targets + r * s->k;
    const float *p = s->bias + r * s->k;
    const double norm = log_sum_exp(x, s->width, 1.0);
    double loss = 0.0;
    double p_rest = 1.0;
    double q_rest = 0.0;
    for (size_t i = 0; i < s->width; i++) {
        gradient[i] = exp((double)x[i] - norm);
        q_rest += gradient[i];
    }
    for (size_t i = 0; i < s->k; i++) {
        loss += (double)p[i] * (log((double)p[i]) - ((double)x[ids[i]] - norm));
        p_rest -= (double)p[i];
        q_rest -= exp((double)x[ids[i]] - norm);
    }
    for (size_t i = 0; i < s->width; i++) {
        bool top = false;
        double p_top = 0.0;
        for (size_t j = 0; j < s->k; j++) {
            p_top = ids[j] == i ? (double)p[j] : p_top;
            top = top || ids[j] == i;
        }
        gradient[i] = (double)s->weight[r] *
                      (top ? gradient[i] - p_top : gradient[i] * (1.0 - p_rest / q_rest));
    }
    return loss + p_rest * log(p_rest / q_rest);
}

static double naive_loss(const scene *s, loss_kind kind, size_t r, double *gradient)
{
    if (kind == LOSS_CE) {
        return naive_cross_entropy(s, r, gradient);
    }
    if (kind == LOSS_KL_TOP) {
        return naive_kl_top(s, r, gradient);
    }
    return naive_kl(s, kind == LOSS_KL_REVERSE, r, gradient);
}

static void losses_are_those_of_naive_arithmetic(void **state)
{
    (void)state;
    static const size_t WIDTHS[] = {2, 3, 5, 36, 1000, 5000};
    for (int kind = 0; kind < LOSSES; kind++) {
        for (size_t w = 0; w < sizeof WIDTHS / sizeof WIDTHS[0]; w++) {
            scene s;
            loss_scene(&s, (loss_kind)kind, 11, WIDTHS[w], 100 + w);
            s.temperature = w % 2 == 0 ? 1.0f : 2.0f;
            loss_run(&s, (loss_kind)kind, true);
            double *gradient = new_doubles(WIDTHS[w]);
            for (size_t r = 0; r < s.rows; r++) {
                const double loss = naive_loss(&s, (loss_kind)kind, r, gradient);
                assert_near(s.loss[r], loss, 2e-6 * fmax(1.0, fabs(loss)));
                for (size_t i = 0; i < s.width; i++) {
                    assert_near(s.y[r * s.width + i], gradient[i],
                                4e-6 * fabs(gradient[i]) + 1e-6 * fabs((double)s.weight[r]));
                }
            }
            free(gradient);
            scene_close(&s);
        }
    }
}

static double cross_entropy_loss(scene *s)
{
    loss_run(s, LOSS_CE, true);
    return weighted_sum(s->loss, s->weight, s->rows);
}

static double kl_loss(scene *s)
{
    loss_run(s, s->reverse ? LOSS_KL_REVERSE : LOSS_KL, true);
    return weighted_sum(s->loss, s->weight, s->rows);
}

static double kl_top_loss(scene *s)
{
    loss_run(s, LOSS_KL_TOP, true);
    return weighted_sum(s->loss, s->weight, s->rows);
}

static void losses_have_gradients(void **state)
{
    (void)state;
    static const loss_fn FUNCTIONS[LOSSES] = {cross_entropy_loss, kl_loss, kl_loss, kl_top_loss};
    for (int kind = 0; kind < LOSSES; kind++) {
        scene s;
        loss_scene(&s, (loss_kind)kind, 3, 19, 120);
        s.temperature = 2.0f;
        s.reverse = kind == LOSS_KL_REVERSE;
        loss_run(&s, (loss_kind)kind, true);
        float *gradient = copy_floats(s.y, 3 * 19);
        assert_gradient(LOSS_NAMES[kind], FUNCTIONS[kind], &s, s.x, gradient, 3 * 19, 1e-4);
        free(gradient);
        scene_close(&s);
    }
}

static void losses_do_not_depend_on_threads_or_on_being_wanted(void **state)
{
    (void)state;
    for (int kind = 0; kind < LOSSES; kind++) {
        scene s;
        loss_scene(&s, (loss_kind)kind, 50, 61, 130);
        const size_t count = 50 * 61;
        for (size_t r = 0; r < s.rows; r += 9) {
            s.weight[r] = 0.0f;
        }
        loss_run(&s, (loss_kind)kind, true);
        float *gradient = copy_floats(s.y, count);
        float *loss = copy_floats(s.loss, s.rows);
        for (size_t t = 0; t < N_THREADS; t++) {
            s.ctx.threads = THREADS[t];
            loss_run(&s, (loss_kind)kind, t % 2 == 0);
            assert_memory_equal(s.y, gradient, count * sizeof *gradient);
            assert_memory_equal(s.loss, loss, s.rows * sizeof *loss);
        }
        for (size_t r = 0; r < s.rows; r += 9) {
            for (size_t i = 0; i < s.width; i++) {
                assert_true(s.y[r * s.width + i] == 0.0f);
            }
        }
        free(gradient);
        free(loss);
        scene_close(&s);
    }
}

static void kl_of_equals_is_zero_and_its_directions_differ(void **state)
{
    (void)state;
    scene s;
    loss_scene(&s, LOSS_KL, 6, 300, 140);
    for (size_t r = 0; r < s.rows; r++) {
        s.weight[r] = 1.0f;
    }
    loss_run(&s, LOSS_KL, true);
    float *forward = copy_floats(s.loss, s.rows);
    loss_run(&s, LOSS_KL_REVERSE, true);
    for (size_t r = 0; r < s.rows; r++) {
        assert_true(forward[r] > 0.1f && s.loss[r] > 0.1f);
        assert_true(fabsf(forward[r] - s.loss[r]) > 1e-3f);
    }
    memcpy(s.teacher, s.x, s.rows * s.width * sizeof *s.x);
    scene_take_top(&s, 10);
    for (int kind = LOSS_KL; kind < LOSSES; kind++) {
        loss_run(&s, (loss_kind)kind, true);
        for (size_t r = 0; r < s.rows; r++) {
            assert_near(s.loss[r], 0.0, 1e-6);
        }
        for (size_t i = 0; i < s.rows * s.width; i++) {
            assert_near(s.y[i], 0.0, 1e-7);
        }
    }
    free(forward);
    scene_close(&s);
}

/* Far-apart logits: no exponential overflows, and losses are what they must be. */
static void extreme_logits_have_finite_losses(void **state)
{
    (void)state;
    const pith__tensor_ops *ops = pith__tensor_cpu();
    const pith__tensor_ctx ctx = {.threads = 1};
    const float weight[1] = {1.0f};
    const uint32_t target[1] = {1};
    const uint32_t ids[2] = {0, 1};
    const float top[2] = {0.5f, 0.25f};
    float loss[1];
    float x[4] = {500.0f, -500.0f, 0.0f, 1.0f};
    float teacher[4] = {-40.0f, 40.0f, 0.0f, 1.0f};

    ops->cross_entropy(&ctx, x, 1, 4, target, weight, loss);
    assert_near(loss[0], 1000.0, 1e-3);
    assert_near(x[0], 1.0, 1e-6);
    assert_near(x[1], -1.0, 1e-6);

    float y[4] = {40.0f, -40.0f, 0.0f, 1.0f};
    ops->kl_divergence(&ctx, y, teacher, 1, 4, 1.0f, false, weight, loss);
    assert_near(loss[0], 80.0, 1e-3);
    assert_near(y[0], 1.0, 1e-6);
    assert_near(y[1], -1.0, 1e-6);

    float z[4] = {500.0f, 500.0f, -500.0f, -500.0f};
    ops->kl_top(&ctx, z, 1, 4, 2, ids, top, weight, loss);
    assert_true(isfinite(loss[0]) && loss[0] > 10.0f);
    assert_near(z[0], 0.0, 1e-6);
    assert_near(z[1], 0.25, 1e-6);
    assert_near(z[2], -0.125, 1e-6); /* their share of the 1/4 that is missing */
    assert_near(z[3], -0.125, 1e-6);
}

/* NaN in the hidden states makes a row of NaN: its loss and gradient must not look sound. */
static void damaged_rows_stay_visible(void **state)
{
    (void)state;
    for (int kind = 0; kind < LOSSES; kind++) {
        scene s;
        loss_scene(&s, (loss_kind)kind, 2, 12, 150);
        for (size_t i = 0; i < s.width; i++) {
            s.x[i] = NAN;
        }
        loss_run(&s, (loss_kind)kind, true);
        assert_true(isnan(s.loss[0]) && isfinite(s.loss[1]));
        for (size_t i = 0; i < s.width; i++) {
            assert_true(isnan(s.y[i]) && isfinite(s.y[s.width + i]));
        }
        s.weight[0] = 0.0f;
        loss_run(&s, (loss_kind)kind, true);
        assert_true(s.y[0] == 0.0f);
        scene_close(&s);
    }
}

/* A teacher known in full is the ordinary divergence. */
static void kl_top_of_everything_is_kl(void **state)
{
    (void)state;
    scene s;
    loss_scene(&s, LOSS_KL, 4, 9, 160);
    loss_run(&s, LOSS_KL, true);
    float *loss = copy_floats(s.loss, s.rows);
    float *gradient = copy_floats(s.y, 4 * 9);
    scene_take_top(&s, 9);
    loss_run(&s, LOSS_KL_TOP, true);
    for (size_t r = 0; r < s.rows; r++) {
        assert_near(s.loss[r], (double)loss[r], 2e-6);
    }
    for (size_t i = 0; i < 4 * 9; i++) {
        assert_near(s.y[i], (double)gradient[i], 1e-6);
    }
    free(loss);
    free(gradient);
    scene_close(&s);
}

/* ---- optimiser ------------------------------------------------------------------------- */

#define ADAMW_MOST 64

static double golden_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) {
        fail_msg("no number \"%s\"", key);
    }
    return json_number_value(value);
}

static size_t golden_floats(const json_t *object, const char *key, float *out)
{
    const json_t *array = json_object_get(object, key);
    const size_t count = json_array_size(array);
    assert_true(count > 0 && count <= ADAMW_MOST);
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)json_number_value(json_array_get(array, i));
    }
    return count;
}

/* Within `bound` of the value, or of `least` if that is more. */
static void golden_compare(const json_t *object, const char *key, const float *got, double bound,
                           double least)
{
    float expected[ADAMW_MOST];
    const size_t count = golden_floats(object, key, expected);
    for (size_t i = 0; i < count; i++) {
        assert_near(got[i], (double)expected[i], bound * fmax(least, fabs((double)expected[i])));
    }
}

/* The gradient comes multiplied by `inflation`, which the step is told to undo. */
static void adamw_follow(const json_t *run, float inflation)
{
    const pith__tensor_ops *ops = pith__tensor_cpu();
    const pith__tensor_ctx ctx = {.threads = 1};
    const json_t *steps = json_object_get(run, "steps");
    float value[ADAMW_MOST];
    float gradient[ADAMW_MOST];
    float m[ADAMW_MOST] = {0.0f};
    float v[ADAMW_MOST] = {0.0f};
    const size_t count = golden_floats(run, "p0", value);
    const double beta1 = golden_number(run, "beta1");
    const double beta2 = golden_number(run, "beta2");
    assert_true(json_array_size(steps) > 0);
    for (size_t t = 0; t < json_array_size(steps); t++) {
        const json_t *step = json_array_get(steps, t);
        assert_int_equal(golden_floats(step, "grad", gradient), count);
        for (size_t i = 0; i < count; i++) {
            gradient[i] *= inflation;
        }
        const pith__adamw adamw = {.rate = (float)golden_number(step, "lr"),
                                   .beta1 = (float)beta1,
                                   .beta2 = (float)beta2,
                                   .eps = (float)golden_number(run, "eps"),
                                   .decay = (float)golden_number(run, "weight_decay"),
                                   .correction1 = (float)(1.0 - pow(beta1, (double)t + 1.0)),
                                   .correction2 = (float)(1.0 - pow(beta2, (double)t + 1.0)),
                                   .gradient_scale = 1.0f / inflation};
        ops->adamw(&ctx, &adamw, gradient, count, value, m, v);
        golden_compare(step, "p", value, 1e-6, 1.0); /* steps of 0.05 may cancel */
        golden_compare(step, "m", m, 1e-6, 0.1);
        golden_compare(step, "v", v, 3e-5,
                       1e-3); /* 1 - 0.999 has 2^-24 / 0.001 of error in a float */
    }
}

static void adamw_follows_the_reference(void **state)
{
    (void)state;
    json_t *root = golden_load(test_path("golden", "train/train.json"));
    const json_t *runs = json_object_get(root, "g_adamw");
    assert_true(json_array_size(runs) > 0);
    for (size_t i = 0; i < json_array_size(runs); i++) {
        adamw_follow(json_array_get(runs, i), 1.0f);
        adamw_follow(json_array_get(runs, i), 8.0f);
    }
    json_decref(root);
}

static void adamw_does_not_depend_on_threads(void **state)
{
    (void)state;
    const pith__tensor_ops *ops = pith__tensor_cpu();
    const size_t count = 200001;
    const size_t size = count * sizeof(float);
    const pith__adamw step = {0.1f, 0.9f, 0.99f, 1e-8f, 0.1f, 0.1f, 0.01f, 0.5f};
    uint64_t seed = 170;
    float *gradient = random_floats(count, &seed);
    float *start = random_floats(count, &seed);
    float *first = copy_floats(start, count);
    for (size_t t = 0; t < N_THREADS; t++) {
        const pith__tensor_ctx ctx = {.threads = THREADS[t]};
        float *value = copy_floats(start, count);
        float *m = new_floats(count, 0.0f);
        float *v = new_floats(count, 0.0f);
        ops->adamw(&ctx, &step, gradient, count, value, m, v);
        if (t == 0) {
            memcpy(first, value, size);
            assert_memory_not_equal(first, start, size);
        }
        assert_memory_equal(first, value, size);
        free(value);
        free(m);
        free(v);
    }
    free(gradient);
    free(start);
    free(first);
}

static void squares_are_summed_in_double(void **state)
{
    (void)state;
    static const size_t COUNTS[] = {0, 1, 17, 65536, 65537, 300000};
    const pith__tensor_ops *ops = pith__tensor_cpu();
    pith_error err = {0};
    pith__arena arena;
    pith__tensor_ctx ctx;
    tensor_open(&ctx, &arena);
    uint64_t seed = 180;
    for (size_t c = 0; c < sizeof COUNTS / sizeof COUNTS[0]; c++) {
        float *x = random_floats(COUNTS[c], &seed);
        if (COUNTS[c] > 1) {
            x[1] = 1e25f; /* its square is none of float */
        }
        double first = 0.0;
        for (size_t t = 0; t < N_THREADS; t++) {
            double sum = -1.0;
            ctx.threads = THREADS[t];
            assert_ok(ops->sum_squares(&ctx, x, COUNTS[c], &sum, &err), err);
            first = t == 0 ? sum : first;
            assert_memory_equal(&sum, &first, sizeof sum);
        }
        const double expected = weighted_sum(x, x, COUNTS[c]);
        assert_true(fabs(first - expected) <= 1e-12 * expected);
        assert_int_equal(arena.used_total, 0);
        free(x);
    }
    pith__arena_deinit(&arena);
}

/* ---- running out of memory --------------------------------------------------------------- */

typedef struct sweep_scene {
    scene *s;
    attention_scene *attention;
    attention_result *result;
} sweep_scene;

static pith_status run_all(const pith__tensor_ctx *ctx, const sweep_scene *sweep)
{
    scene *s = sweep->s;
    const pith__masked_attention *a = &sweep->attention->a;
    attention_result *r = sweep->result;
    const pith__masked_attention_back back = {sweep->attention->d_out, r->dq, r->dk, r->dv};
    double sum = 0.0;
    pith_error err = {0};
    PITH__TRY(s->ops->masked_attention(ctx, a, &err));
    PITH__TRY(s->ops->masked_attention_back(ctx, a, &back, &err));
    PITH__TRY(s->ops->rms_norm_back(ctx, s->x, s->weight, s->dy, s->rows, s->width, EPS, s->y,
                                    s->bias, &err));
    PITH__TRY(s->ops->layer_norm_back(ctx, s->x, s->weight, s->dy, s->rows, s->width, EPS, s->y,
                                      s->bias, s->teacher, &err));
    return s->ops->sum_squares(ctx, s->x, s->rows * s->width, &sum, &err);
}

/* An operation that gives back all it took makes the next one ask the allocator anew. */
static pith_status sweep_body(const pith_allocator *mem, void *user)
{
    pith__arena arena;
    pith__arena_init(&arena, mem);
    const pith__tensor_ctx ctx = {.threads = 2, .arena = &arena};
    const pith_status status = run_all(&ctx, user);
    assert_int_equal(arena.used_total, 0);
    pith__arena_deinit(&arena);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    scene s;
    attention_scene at;
    scene_open(&s, 1, 70000, 190); /* each array larger than what an arena takes at once */
    attention_open(&at, &MASKS[4], 191);
    attention_result result = attention_run(&at, false, 1);
    sweep_scene sweep = {&s, &at, &result};
    test_sweep(sweep_body, &sweep);
    result_free(&result);
    attention_close(&at);
    scene_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(product_multiplies_in_every_orientation),
        cmocka_unit_test(product_has_products_for_gradients),
        cmocka_unit_test(norms_have_gradients),
        cmocka_unit_test(layer_norm_is_centred_and_scaled),
        cmocka_unit_test(norm_gradients_are_added_and_the_same_on_any_threads),
        cmocka_unit_test(swiglu_has_gradients),
        cmocka_unit_test(swiglu_to_gives_what_swiglu_does),
        cmocka_unit_test(swiglu_saturates),
        cmocka_unit_test(rope_back_is_the_transpose_and_the_inverse),
        cmocka_unit_test(masked_attention_is_that_of_naive_arithmetic),
        cmocka_unit_test(masked_attention_does_not_depend_on_threads),
        cmocka_unit_test(masked_attention_agrees_with_attention),
        cmocka_unit_test(masked_attention_has_gradients),
        cmocka_unit_test(losses_are_those_of_naive_arithmetic),
        cmocka_unit_test(losses_have_gradients),
        cmocka_unit_test(losses_do_not_depend_on_threads_or_on_being_wanted),
        cmocka_unit_test(kl_of_equals_is_zero_and_its_directions_differ),
        cmocka_unit_test(extreme_logits_have_finite_losses),
        cmocka_unit_test(damaged_rows_stay_visible),
        cmocka_unit_test(kl_top_of_everything_is_kl),
        cmocka_unit_test(adamw_follows_the_reference),
        cmocka_unit_test(adamw_does_not_depend_on_threads),
        cmocka_unit_test(squares_are_summed_in_double),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
