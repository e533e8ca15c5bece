/*
 * test_tensor.c: every operation of the CPU table against a naive one in double
 * precision (integers where they must be exact), on awkward shapes, and with the
 * same bytes for any number of threads.
 */
#include "tensor/tensor.h"
#include "tensor/vector.h"

#include "test.h"

#include <float.h>
#include <math.h>
#include <signal.h>
#include <sys/time.h>

/* Half the distance from 1 to the next float: the largest relative error of one rounding. */
#define ROUNDING (0.5 * (double)FLT_EPSILON)

static const unsigned THREADS[] = {1, 2, 3, 7};

#define N_THREADS (sizeof THREADS / sizeof THREADS[0])

/* ---- helpers ----------------------------------------------------------------------- */

/* Uniform in [-1, 1). */
static float random_float(uint64_t *seed)
{
    return (float)((double)(test_random(seed) >> 40) / (double)(1 << 23) - 1.0);
}

static float *random_floats(size_t count, uint64_t *seed)
{
    float *values = calloc(count + 1, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        values[i] = random_float(seed);
    }
    return values;
}

static float *copy_floats(const float *values, size_t count)
{
    float *copy = calloc(count + 1, sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, values, count * sizeof *copy);
    return copy;
}

/* Floats with a guard behind them: oneDNN's generated code is out of ASan's sight. */
#define GUARD       64
#define GUARD_VALUE 12345.678f

static float *guarded_new(size_t count)
{
    float *values = calloc(count + GUARD, sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        values[i] = GUARD_VALUE;
    }
    for (size_t i = 0; i < GUARD; i++) {
        values[count + i] = GUARD_VALUE;
    }
    return values;
}

static void guarded_check(const float *values, size_t count)
{
    for (size_t i = 0; i < GUARD; i++) {
        assert_true(values[count + i] == GUARD_VALUE);
    }
}

static void assert_near(float got, double expected, double bound)
{
    if (!(fabs((double)got - expected) <= bound)) {
        fail_msg("got %.9g, expected %.9g within %.3g", (double)got, expected, bound);
    }
}

static double dot(const float *a, const float *b, size_t count, double *magnitude)
{
    double sum = 0.0;
    *magnitude = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double product = (double)a[i] * (double)b[i];
        sum += product;
        *magnitude += fabs(product);
    }
    return sum;
}

static void tensor_open(pith__tensor_ctx *ctx, pith__arena *arena)
{
    pith__arena_init(arena, &pith__allocator_default);
    *ctx = (pith__tensor_ctx){.threads = 1, .arena = arena};
}

/* ---- linear, f32 ------------------------------------------------------------------- */

typedef struct dims {
    size_t m; /* tokens */
    size_t n; /* outputs */
    size_t k; /* inputs */
} dims;

static const dims SHAPES[] = {
    {1, 1, 1},   {1, 8, 8},     {1, 13, 31},  {2, 1, 64},     {3, 33, 17},   {5, 2, 3},
    {7, 16, 5},  {16, 48, 100}, {31, 7, 200}, {33, 64, 64},   {64, 100, 33}, {255, 3, 9},
    {256, 8, 4}, {257, 1, 1},   {257, 9, 40}, {300, 65, 7},   {300, 40, 96}, {520, 12, 11},
    {1, 769, 9}, {3, 768, 33},  {2, 2000, 5}, {257, 1537, 3},
};

#define N_SHAPES (sizeof SHAPES / sizeof SHAPES[0])

/* Runs a linear layer on every number of threads; gives the values, the same for all. */
static float *linear_run(const pith__matrix *w, const pith__rows *x)
{
    const pith__tensor_ops *ops = pith__tensor_cpu();
    pith__arena arena;
    pith__tensor_ctx ctx;
    pith_error err = {0};
    tensor_open(&ctx, &arena);
    const size_t count = x->count * w->rows;
    float *first = guarded_new(count);
    for (size_t t = 0; t < N_THREADS; t++) {
        ctx.threads = THREADS[t];
        float *y = guarded_new(count);
        assert_ok(ops->linear(&ctx, w, x, y, &err), err);
        guarded_check(y, count);
        if (t == 0) {
            memcpy(first, y, count * sizeof *y);
        }
        assert_memory_equal(first, y, count * sizeof *y);
        free(y);
    }
    pith__arena_deinit(&arena);
    return first;
}

static void linear_f32_is_a_matrix_product(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (size_t s = 0; s < N_SHAPES; s++) {
        const dims size = SHAPES[s];
        float *x = random_floats(size.m * size.k, &seed);
        float *w = random_floats(size.n * size.k, &seed);
        const pith__matrix matrix = {.rows = size.n, .cols = size.k, .f32 = w};
        const pith__rows rows = {.count = size.m, .width = size.k, .f32 = x};
        float *y = linear_run(&matrix, &rows);
        for (size_t i = 0; i < size.m * size.n; i++) {
            double magnitude = 0.0;
            const double expected =
                dot(x + i / size.n * size.k, w + i % size.n * size.k, size.k, &magnitude);
            assert_near(y[i], expected, (double)(size.k + 2) * ROUNDING * magnitude);
        }
        free(x);
        free(w);
        free(y);
    }
}

/* ---- linear, int8 ------------------------------------------------------------------ */

/* How the integers are chosen: what saturates is large values of one sign in a row. */
typedef enum filling {
    FILL_RANDOM,
    FILL_EXTREME,
    FILL_HIGH,
    FILL_LOW,
    FILL_TURNS,
    FILLINGS
} filling;

static int8_t fill_value(filling how, int limit, size_t index, uint64_t *seed)
{
    switch (how) {
    case FILL_RANDOM:
        return (int8_t)((int)test_random_below(seed, 2 * (size_t)limit + 1) - limit);
    case FILL_EXTREME:
        return (int8_t)(test_random_below(seed, 2) == 0 ? limit : -limit);
    case FILL_LOW:
        return (int8_t)-limit;
    case FILL_TURNS:
        return (int8_t)(index % 2 == 0 ? limit : -limit);
    case FILL_HIGH:
    case FILLINGS:
        break;
    }
    return (int8_t)limit;
}

static int8_t *fill(filling how, int limit, size_t count, uint64_t *seed)
{
    int8_t *values = calloc(count + 1, 1);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        values[i] = fill_value(how, limit, i, seed);
    }
    return values;
}

static float *random_scales(size_t count, uint64_t *seed)
{
    float *scales = random_floats(count, seed);
    for (size_t i = 0; i < count; i++) {
        scales[i] = 0.001f + 0.01f * fabsf(scales[i]);
    }
    return scales;
}

static int32_t integer_dot(const int8_t *a, const int8_t *b, size_t count)
{
    int32_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

static void check_int8(dims size, filling activations, filling weights, uint64_t *seed)
{
    const int limit = pith__tensor_cpu()->weight_limit();
    int8_t *x = fill(activations, 127, size.m * size.k, seed);
    int8_t *w = fill(weights, limit, size.n * size.k, seed);
    float *x_scale = random_scales(size.m, seed);
    float *w_scale = random_scales(size.n, seed);
    const pith__matrix matrix = {.rows = size.n, .cols = size.k, .i8 = w, .scale = w_scale};
    const pith__rows rows = {.count = size.m, .width = size.k, .i8 = x, .scale = x_scale};
    float *y = linear_run(&matrix, &rows);
    for (size_t i = 0; i < size.m * size.n; i++) {
        const size_t r = i / size.n;
        const size_t c = i % size.n;
        const int32_t sum = integer_dot(x + r * size.k, w + c * size.k, size.k);
        const float expected = (float)sum * (x_scale[r] * w_scale[c]);
        if (y[i] != expected) {
            fail_msg("(%zu, %zu, %zu), filling %d and %d: %.9g, exact is %.9g", size.m, size.n,
                     size.k, (int)activations, (int)weights, (double)y[i], (double)expected);
        }
    }
    free(x);
    free(w);
    free(x_scale);
    free(w_scale);
    free(y);
}

static void linear_int8_is_exact_up_to_the_limit(void **state)
{
    (void)state;
    const dims more[] = {{1, 96, 768}, {1, 1, 4096}, {16, 32, 576}, {40, 24, 1000}, {4, 260, 129}};
    uint64_t seed = 2;
    print_message("int8 weights reach %d on this processor\n", pith__tensor_cpu()->weight_limit());
    for (filling a = FILL_RANDOM; a < FILLINGS; a++) {
        for (filling w = FILL_RANDOM; w < FILLINGS; w++) {
            for (size_t s = 0; s < N_SHAPES; s++) {
                check_int8(SHAPES[s], a, w, &seed);
            }
            for (size_t s = 0; s < sizeof more / sizeof more[0]; s++) {
                check_int8(more[s], a, w, &seed);
            }
        }
    }
}

static void the_weight_limit_is_one_of_two(void **state)
{
    (void)state;
    const int limit = pith__tensor_cpu()->weight_limit();
    assert_true(limit == 63 || limit == 127);
    assert_int_equal(pith__tensor_cpu()->weight_limit(), limit);
    assert_non_null(pith__tensor_cpu()->name);
}

/* ---- quantising -------------------------------------------------------------------- */

/* i8 * scale is within half a step of x, and the largest value reaches `limit`. */
static void check_quantized(const float *x, size_t width, const int8_t *i8, float scale, int limit)
{
    double max = 0.0;
    int reached = 0;
    for (size_t j = 0; j < width; j++) {
        max = fmax(max, fabs((double)x[j]));
        reached = abs(i8[j]) > reached ? abs(i8[j]) : reached;
    }
    assert_near(scale, max / limit, ROUNDING * max / limit);
    assert_int_equal(reached, max > 0.0 ? limit : 0);
    for (size_t j = 0; j < width && max > 0.0; j++) {
        const double exact = (double)x[j] * limit / max;
        assert_true(fabs(exact - (double)i8[j]) <= 0.5 + 1e-4);
    }
}

static void rows_are_quantized_to_the_nearest(void **state)
{
    (void)state;
    const dims sizes[] = {{1, 0, 1}, {1, 0, 9}, {3, 0, 64}, {33, 0, 31}, {300, 0, 100}};
    const pith__tensor_ops *ops = pith__tensor_cpu();
    uint64_t seed = 3;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const size_t rows = sizes[s].m;
        const size_t width = sizes[s].k;
        float *x = random_floats(rows * width, &seed);
        for (size_t i = 0; i < rows * width; i++) {
            const size_t r = i / width;
            x[i] = r % 5 == 4 ? 0.0f : ldexpf(x[i], (int)(r % 80) - 40);
        }
        int8_t *first = calloc(rows * width, 1);
        float *first_scale = calloc(rows, sizeof *first_scale);
        for (size_t t = 0; t < N_THREADS; t++) {
            const pith__tensor_ctx ctx = {.threads = THREADS[t]};
            int8_t *i8 = calloc(rows * width, 1);
            float *scale = calloc(rows, sizeof *scale);
            ops->quantize_rows(&ctx, x, rows, width, i8, scale);
            if (t == 0) {
                memcpy(first, i8, rows * width);
                memcpy(first_scale, scale, rows * sizeof *scale);
            }
            assert_memory_equal(first, i8, rows * width);
            assert_memory_equal(first_scale, scale, rows * sizeof *scale);
            free(i8);
            free(scale);
        }
        for (size_t r = 0; r < rows; r++) {
            check_quantized(x + r * width, width, first + r * width, first_scale[r], 127);
        }
        free(first);
        free(first_scale);
        free(x);
    }
}

static void weights_are_quantized_to_the_limit(void **state)
{
    (void)state;
    uint64_t seed = 4;
    const int limits[] = {63, 127};
    for (size_t l = 0; l < 2; l++) {
        for (size_t width = 1; width < 70; width++) {
            float *row = random_floats(width, &seed);
            int8_t i8[70];
            const float scale = pith__tensor_quantize_weights(row, width, limits[l], i8);
            check_quantized(row, width, i8, scale, limits[l]);
            free(row);
        }
    }
}

static void halves_go_to_the_even_neighbour(void **state)
{
    (void)state;
    const float x[] = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f, -126.5f, 0.0f};
    const int8_t expected[] = {127, 0, 2, 2, 0, -2, -2, 126, -126, 0};
    const pith__tensor_ctx ctx = {.threads = 1};
    int8_t i8[10];
    float scale = 0.0f;
    pith__tensor_cpu()->quantize_rows(&ctx, x, 1, 10, i8, &scale);
    assert_memory_equal(i8, expected, sizeof i8);
    assert_true(scale == 1.0f);
}

/* 127 / max overflows for such rows; their values must become 0, not anything else. */
static void rows_near_nothing_become_nothing(void **state)
{
    (void)state;
    const float sizes[] = {FLT_TRUE_MIN, 1e-44f, 1e-40f, FLT_MIN, 1e-37f};
    const pith__tensor_ctx ctx = {.threads = 1};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const float x[] = {0.0f, sizes[s], -sizes[s], 0.0f, 0.5f * sizes[s]};
        int8_t i8[5];
        float scale = 1.0f;
        pith__tensor_cpu()->quantize_rows(&ctx, x, 1, 5, i8, &scale);
        for (size_t i = 0; i < 5; i++) {
            assert_true(fabsf((float)i8[i] * scale - x[i]) <= sizes[s]);
        }
        assert_int_equal(i8[0], 0);
    }
}

/* The squares of such values are infinite; they themselves are as good as any. */
static void huge_rows_are_rows(void **state)
{
    (void)state;
    const float sizes[] = {1e19f, 1e20f, 1e30f, FLT_MAX};
    const pith__tensor_ctx ctx = {.threads = 1};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const float x[] = {0.0f, sizes[s], -sizes[s], 1.0f, 0.5f * sizes[s], -0.25f * sizes[s]};
        int8_t i8[6];
        float scale = 0.0f;
        pith__tensor_cpu()->quantize_rows(&ctx, x, 1, 6, i8, &scale);
        check_quantized(x, 6, i8, scale, 127);
    }
}

/* What is not a number must neither be undefined behaviour nor pass for one. */
static void damaged_rows_stay_visible(void **state)
{
    (void)state;
    enum { WIDTH = 40 };
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    const pith__tensor_ctx ctx = {.threads = 1};
    for (size_t b = 0; b < sizeof bad / sizeof bad[0]; b++) {
        for (size_t where = 0; where <= WIDTH; where++) {
            float x[WIDTH];
            int8_t i8[WIDTH];
            float scale = 0.0f;
            for (size_t j = 0; j < WIDTH; j++) {
                /* one bad value, or nothing but bad values */
                x[j] = j == where || where == WIDTH ? bad[b] : (float)j;
            }
            pith__tensor_cpu()->quantize_rows(&ctx, x, 1, WIDTH, i8, &scale);
            assert_true(!isfinite(scale));
            for (size_t j = 0; j < WIDTH; j++) {
                assert_true(i8[j] >= -127);
            }
            assert_true(!isfinite(pith__tensor_quantize_weights(x, WIDTH, 63, i8)));
            for (size_t j = 0; j < WIDTH; j++) {
                assert_true(i8[j] >= -127);
            }
        }
    }
}

/* ---- norm, rotation ---------------------------------------------------------------- */

static void check_rms_norm(size_t rows, size_t width, float eps, uint64_t *seed)
{
    const pith__tensor_ops *ops = pith__tensor_cpu();
    float *x = random_floats(rows * width, seed);
    float *weight = random_floats(width, seed);
    memset(x, 0, width * sizeof *x); /* the first row: only eps keeps it finite */
    float *first = guarded_new(rows * width);
    for (size_t t = 0; t < N_THREADS; t++) {
        const pith__tensor_ctx ctx = {.threads = THREADS[t]};
        float *y = guarded_new(rows * width);
        float *in_place = copy_floats(x, rows * width);
        ops->rms_norm(&ctx, x, weight, rows, width, eps, y);
        guarded_check(y, rows * width);
        if (t == 0) {
            memcpy(first, y, rows * width * sizeof *y);
        }
        assert_memory_equal(first, y, rows * width * sizeof *y);
        ops->rms_norm(&ctx, in_place, weight, rows, width, eps, in_place);
        assert_memory_equal(first, in_place, rows * width * sizeof *y);
        free(y);
        free(in_place);
    }
    for (size_t r = 0; r < rows; r++) {
        double square = 0.0;
        const double sum = dot(x + r * width, x + r * width, width, &square);
        const double factor = 1.0 / sqrt(sum / (double)width + (double)eps);
        for (size_t j = 0; j < width; j++) {
            const double expected = (double)x[r * width + j] * factor * (double)weight[j];
            assert_near(first[r * width + j], expected,
                        ((double)width + 8.0) * ROUNDING * fabs(expected));
        }
    }
    free(x);
    free(weight);
    free(first);
}

static void rms_norm_divides_by_the_root_mean_square(void **state)
{
    (void)state;
    uint64_t seed = 5;
    const dims sizes[] = {{1, 0, 1},  {1, 0, 64},   {2, 0, 33},   {31, 0, 9},
                          {32, 0, 8}, {33, 0, 100}, {300, 0, 48}, {300, 0, 1}};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        check_rms_norm(sizes[s].m, sizes[s].k, 1e-5f, &seed);
        check_rms_norm(sizes[s].m, sizes[s].k, 0.5f, &seed);
    }
}

typedef struct rope_shape {
    size_t rows;
    size_t heads;
    size_t head_dim;
    size_t pairs;
} rope_shape;

static void check_rope(rope_shape s, uint64_t *seed)
{
    const pith__tensor_ops *ops = pith__tensor_cpu();
    const size_t count = s.rows * s.heads * s.head_dim;
    float *x = random_floats(count, seed);
    float *cosines = random_floats(s.rows * s.pairs, seed);
    float *sines = random_floats(s.rows * s.pairs, seed);
    float *first = copy_floats(x, count);
    for (size_t t = 0; t < N_THREADS; t++) {
        const pith__tensor_ctx ctx = {.threads = THREADS[t]};
        float *y = guarded_new(count);
        memcpy(y, x, count * sizeof *y);
        ops->rope(&ctx, y, s.rows, s.heads, s.head_dim, s.pairs, cosines, sines);
        guarded_check(y, count);
        if (t == 0) {
            memcpy(first, y, count * sizeof *y);
        }
        assert_memory_equal(first, y, count * sizeof *y);
        free(y);
    }
    for (size_t i = 0; i < count; i++) {
        const size_t r = i / (s.heads * s.head_dim);
        const size_t pair = i % s.head_dim / 2;
        if (pair >= s.pairs) {
            assert_true(first[i] == x[i]); /* what is not rotated is not touched */
            continue;
        }
        const double c = (double)cosines[r * s.pairs + pair];
        const double n = (double)sines[r * s.pairs + pair];
        const bool odd = i % s.head_dim % 2 == 1;
        const double self = (double)x[i];
        const double other = odd ? (double)x[i - 1] : -(double)x[i + 1];
        assert_near(first[i], self * c + other * n,
                    3.0 * ROUNDING * (fabs(self * c) + fabs(other * n)));
    }
    free(x);
    free(cosines);
    free(sines);
    free(first);
}

static void rope_rotates_neighbouring_pairs(void **state)
{
    (void)state;
    const rope_shape shapes[] = {{1, 1, 2, 1},   {1, 3, 8, 4},  {5, 2, 16, 3}, {33, 4, 32, 16},
                                 {100, 1, 7, 3}, {2, 2, 10, 0}, {300, 2, 6, 3}};
    uint64_t seed = 6;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        check_rope(shapes[s], &seed);
    }
}

/* ---- attention --------------------------------------------------------------------- */

#define SPANS_MAX 5

/* A pass over several spans whose rows lie apart: one row before each belongs to nobody. */
typedef struct attention_case {
    size_t heads;
    size_t kv_heads;
    size_t head_dim;
    size_t n_spans;
    size_t counts[SPANS_MAX];
    size_t pasts[SPANS_MAX];
    float sharpness; /* of the queries: large makes the softmax peaked */
} attention_case;

typedef struct attention_data {
    attention_case shape;
    size_t rows;
    float *q;
    float *k[SPANS_MAX];
    float *v[SPANS_MAX];
    pith__attention_span spans[SPANS_MAX];
} attention_data;

static void attention_make(attention_data *d, const attention_case *shape, uint64_t *seed)
{
    const size_t width = shape->kv_heads * shape->head_dim;
    *d = (attention_data){.shape = *shape};
    for (size_t s = 0; s < shape->n_spans; s++) {
        const size_t keys = shape->pasts[s] + shape->counts[s];
        d->k[s] = random_floats(keys * width, seed);
        d->v[s] = random_floats(keys * width, seed);
        d->spans[s] = (pith__attention_span){.first = d->rows + 1,
                                             .count = shape->counts[s],
                                             .past = shape->pasts[s],
                                             .k = d->k[s],
                                             .v = d->v[s]};
        d->rows += 1 + shape->counts[s];
    }
    d->q = random_floats(d->rows * shape->heads * shape->head_dim, seed);
    for (size_t i = 0; i < d->rows * shape->heads * shape->head_dim; i++) {
        d->q[i] *= shape->sharpness;
    }
}

static void attention_free(attention_data *d)
{
    for (size_t s = 0; s < d->shape.n_spans; s++) {
        free(d->k[s]);
        free(d->v[s]);
    }
    free(d->q);
}

/* out (rows, heads * head_dim), guarded. */
static float *attention_run(const attention_data *d, unsigned threads)
{
    const attention_case *shape = &d->shape;
    const size_t count = d->rows * shape->heads * shape->head_dim;
    pith__arena arena;
    pith__tensor_ctx ctx;
    pith_error err = {0};
    tensor_open(&ctx, &arena);
    ctx.threads = threads;
    float *out = guarded_new(count);
    const pith__attention attention = {.heads = shape->heads,
                                       .kv_heads = shape->kv_heads,
                                       .head_dim = shape->head_dim,
                                       .scale = 1.0f / sqrtf((float)shape->head_dim),
                                       .q = d->q,
                                       .out = out,
                                       .spans = d->spans,
                                       .n_spans = shape->n_spans};
    assert_ok(pith__tensor_cpu()->attention(&ctx, &attention, &err), err);
    guarded_check(out, count);
    assert_int_equal(arena.used_total, 0);
    pith__arena_deinit(&arena);
    return out;
}

/* One query of one head, as the definition says it. */
static void naive_attention(const attention_data *d, size_t span, size_t query, size_t head,
                            double *out)
{
    const attention_case *shape = &d->shape;
    const size_t dim = shape->head_dim;
    const size_t width = shape->kv_heads * dim;
    const size_t offset = head / (shape->heads / shape->kv_heads) * dim;
    const size_t visible = shape->pasts[span] + query + 1;
    const float *q = d->q + ((d->spans[span].first + query) * shape->heads + head) * dim;
    double *weights = calloc(visible, sizeof *weights);
    assert_non_null(weights);
    double max = -HUGE_VAL;
    double sum = 0.0;
    double ignored = 0.0;
    for (size_t j = 0; j < visible; j++) {
        weights[j] = dot(q, d->k[span] + j * width + offset, dim, &ignored) / sqrt((double)dim);
        max = fmax(max, weights[j]);
    }
    memset(out, 0, dim * sizeof *out);
    for (size_t j = 0; j < visible; j++) {
        weights[j] = exp(weights[j] - max);
        sum += weights[j];
    }
    for (size_t j = 0; j < visible; j++) {
        for (size_t i = 0; i < dim; i++) {
            out[i] += weights[j] / sum * (double)d->v[span][j * width + offset + i];
        }
    }
    free(weights);
}

static const attention_case ATTENTION[] = {
    {1, 1, 1, 1, {1}, {0}, 1.0f},
    {1, 1, 8, 1, {5}, {0}, 1.0f},
    {4, 2, 16, 3, {65, 0, 9}, {0, 4, 30}, 1.0f},
    {6, 2, 5, 4, {64, 1, 130, 63}, {3, 100, 0, 1}, 4.0f},
    {6, 1, 33, 2, {7, 70}, {70, 0}, 1.0f},
    {3, 3, 64, 1, {200}, {57}, 30.0f},
    {2, 2, 4, 5, {1, 1, 1, 0, 2}, {0, 1, 0, 0, 0}, 1000.0f},
};

#define N_ATTENTION (sizeof ATTENTION / sizeof ATTENTION[0])

static void attention_is_a_causal_softmax(void **state)
{
    (void)state;
    uint64_t seed = 7;
    for (size_t c = 0; c < N_ATTENTION; c++) {
        const attention_case *shape = &ATTENTION[c];
        const size_t dim = shape->head_dim;
        attention_data d;
        attention_make(&d, shape, &seed);
        float *out = attention_run(&d, 1);
        double *expected = calloc(dim, sizeof *expected);
        assert_non_null(expected);
        /* an error of the scores, which grow with sharpness, becomes one of the weights */
        const double bound = 4e-6 + 3e-7 * (double)shape->sharpness;
        for (size_t s = 0; s < shape->n_spans; s++) {
            for (size_t i = 0; i < shape->counts[s] * shape->heads; i++) {
                const size_t query = i / shape->heads;
                const size_t head = i % shape->heads;
                naive_attention(&d, s, query, head, expected);
                const float *got = out + ((d.spans[s].first + query) * shape->heads + head) * dim;
                for (size_t j = 0; j < dim; j++) {
                    assert_near(got[j], expected[j], bound);
                }
            }
            const float *outside = out + (d.spans[s].first - 1) * shape->heads * dim;
            for (size_t j = 0; j < shape->heads * dim; j++) {
                assert_true(outside[j] == GUARD_VALUE);
            }
        }
        free(expected);
        free(out);
        attention_free(&d);
    }
}

static void attention_does_not_depend_on_threads(void **state)
{
    (void)state;
    uint64_t seed = 8;
    for (size_t c = 0; c < N_ATTENTION; c++) {
        attention_data d;
        attention_make(&d, &ATTENTION[c], &seed);
        float *one = attention_run(&d, 1);
        for (size_t t = 1; t < N_THREADS; t++) {
            float *more = attention_run(&d, THREADS[t]);
            assert_memory_equal(one, more, d.rows * d.shape.heads * d.shape.head_dim * sizeof *one);
            free(more);
        }
        free(one);
        attention_free(&d);
    }
}

static void later_keys_have_no_influence(void **state)
{
    (void)state;
    uint64_t seed = 9;
    const attention_case shape = {4, 2, 16, 2, {150, 20}, {10, 0}, 2.0f};
    const size_t changes[] = {1, 30, 63, 64, 65, 100, 149};
    const size_t row = shape.heads * shape.head_dim;
    const size_t width = shape.kv_heads * shape.head_dim;
    for (size_t c = 0; c < sizeof changes / sizeof changes[0]; c++) {
        attention_data d;
        attention_make(&d, &shape, &seed);
        float *before = attention_run(&d, 1);
        for (size_t i = (10 + changes[c]) * width; i < 160 * width; i++) {
            d.k[0][i] = 50.0f * random_float(&seed);
            d.v[0][i] = 1e6f * random_float(&seed);
        }
        float *after = attention_run(&d, 1);
        assert_memory_equal(before, after, (1 + changes[c]) * row * sizeof *after);
        assert_memory_equal(before + 151 * row, after + 151 * row, 21 * row * sizeof *after);
        const float *seen = after + (1 + changes[c]) * row;
        assert_true(memcmp(before + (1 + changes[c]) * row, seen, row * sizeof *after) != 0);
        free(before);
        free(after);
        attention_free(&d);
    }
}

/* ---- element by element ------------------------------------------------------------ */

/* Two whole blocks and a little more. */
#define MANY ((size_t)65536 * 2 + 13)

static void swiglu_gates(void **state)
{
    (void)state;
    const pith__tensor_ops *ops = pith__tensor_cpu();
    const size_t counts[] = {0, 1, 7, 8, 9, 100, MANY};
    const float corners[] = {0.0f, -0.0f, 100.0f, -100.0f, 88.0f, -88.0f, 87.5f, -87.5f, 1e-30f};
    uint64_t seed = 10;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        const size_t count = counts[c];
        float *gate = random_floats(count, &seed);
        float *up = random_floats(count, &seed);
        for (size_t i = 0; i < count; i++) {
            const float range = i % 3 == 0 ? 100.0f : 5.0f;
            gate[i] = i < 9 ? corners[i] : gate[i] * range;
        }
        float *first = copy_floats(gate, count);
        for (size_t t = 0; t < N_THREADS; t++) {
            const pith__tensor_ctx ctx = {.threads = THREADS[t]};
            float *y = guarded_new(count);
            memcpy(y, gate, count * sizeof *y);
            ops->swiglu(&ctx, y, up, count);
            guarded_check(y, count);
            if (t == 0) {
                memcpy(first, y, count * sizeof *y);
            }
            assert_memory_equal(first, y, count * sizeof *y);
            free(y);
        }
        for (size_t i = 0; i < count; i++) {
            const double g = (double)gate[i];
            const double expected = g / (1.0 + exp(-g)) * (double)up[i];
            assert_near(first[i], expected, 6e-7 * fabs(expected) + 1e-35);
        }
        free(gate);
        free(up);
        free(first);
    }
}

static void swiglu_of_what_is_no_number_is_none(void **state)
{
    (void)state;
    const pith__tensor_ctx ctx = {.threads = 1};
    float gate[] = {INFINITY, -INFINITY, NAN, -NAN, 1.0f, 1.0f};
    const float up[] = {2.0f, 2.0f, 2.0f, 2.0f, NAN, -INFINITY};
    pith__tensor_cpu()->swiglu(&ctx, gate, up, 6);
    assert_true(gate[0] == INFINITY);
    for (size_t i = 1; i < 6; i++) {
        assert_true(!isfinite(gate[i]));
    }
}

static void add_adds(void **state)
{
    (void)state;
    const size_t counts[] = {0, 1, 7, 8, 9, 100, MANY};
    uint64_t seed = 11;
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        const size_t count = counts[c];
        float *x = random_floats(count, &seed);
        float *y = random_floats(count, &seed);
        for (size_t t = 0; t < N_THREADS; t++) {
            const pith__tensor_ctx ctx = {.threads = THREADS[t]};
            float *sum = guarded_new(count);
            memcpy(sum, x, count * sizeof *sum);
            pith__tensor_cpu()->add(&ctx, sum, y, count);
            guarded_check(sum, count);
            for (size_t i = 0; i < count; i++) {
                assert_true(sum[i] == x[i] + y[i]);
            }
            free(sum);
        }
        free(x);
        free(y);
    }
}

/* ---- exponential ------------------------------------------------------------------- */

#define EXP_COUNT 1000003

static void the_exponential_is_accurate(void **state)
{
    (void)state;
    static float x[EXP_COUNT];
    static float y[EXP_COUNT];
    double worst = 0.0;
    float where = 0.0f;
    for (size_t i = 0; i < EXP_COUNT; i++) {
        x[i] = (float)(-87.0 + 175.0 * (double)i / (EXP_COUNT - 1));
    }
    (void)pith__vector_exp_sum(x, 0.0f, EXP_COUNT, y);
    for (size_t i = 0; i < EXP_COUNT; i++) {
        const double exact = exp((double)x[i]);
        const double error = fabs((double)y[i] - exact) / exact;
        where = error > worst ? x[i] : where;
        worst = error > worst ? error : worst;
    }
    print_message("exp: relative error at most %.2e, at %.6f\n", worst, (double)where);
    assert_true(x[0] == -87.0f && x[EXP_COUNT - 1] == 88.0f);
    assert_true(worst <= 3e-7);
}

static void the_exponential_is_exact_at_zero_and_bounded_below(void **state)
{
    (void)state;
    const float x[] = {0.0f, -0.0f, -87.0f, -88.0f, -1e30f, -INFINITY, NAN, -NAN};
    float y[8];
    float sum = 0.0f;
    (void)pith__vector_exp_sum(x, 0.0f, 8, y);
    assert_true(y[0] == 1.0f);
    assert_true(y[1] == 1.0f);
    for (size_t i = 2; i < 8; i++) {
        assert_near(y[i], exp(-87.0), 1e-6 * exp(-87.0));
    }
    sum = pith__vector_exp_sum_only(x, 0.0f, 8);
    assert_near(sum, 2.0, 1e-6);
}

static void sums_of_exponentials_agree(void **state)
{
    (void)state;
    uint64_t seed = 12;
    for (size_t count = 1; count < 600; count += 1 + count / 9) {
        float *x = random_floats(count, &seed);
        float *y = guarded_new(count);
        double expected = 0.0;
        for (size_t i = 0; i < count; i++) {
            x[i] *= 10.0f;
            expected += exp((double)x[i] - 3.0);
        }
        const float stored = pith__vector_exp_sum(x, 3.0f, count, y);
        guarded_check(y, count);
        assert_near(stored, expected, 2e-6 * expected);
        assert_near(pith__vector_exp_sum_only(x, 3.0f, count), expected, 2e-6 * expected);
        const float in_place = pith__vector_exp_sum(x, 3.0f, count, x);
        assert_true(in_place == stored);
        assert_memory_equal(x, y, count * sizeof *x);
        free(x);
        free(y);
    }
}

static void the_largest_is_found_among_what_is_no_number(void **state)
{
    (void)state;
    for (size_t count = 1; count < 70; count++) {
        float x[70];
        for (size_t where = 0; where < count; where++) {
            for (size_t i = 0; i < count; i++) {
                x[i] = i == where ? 2.0f : NAN;
            }
            assert_true(pith__vector_max(x, count) == 2.0f);
            for (size_t i = 0; i < count; i++) {
                x[i] = i == where ? -1.0f : -2.0f - (float)i;
            }
            assert_true(pith__vector_max(x, count) == -1.0f);
        }
    }
}

/* ---- head -------------------------------------------------------------------------- */

typedef struct head_case {
    size_t rows;
    size_t vocabulary;
    size_t width;
    float spread; /* logits reach about +-spread */
} head_case;

static const head_case HEADS[] = {
    {1, 1, 1, 1.0f},    {1, 2, 3, 5.0f},      {3, 511, 16, 1.0f},    {3, 512, 16, 10.0f},
    {3, 513, 9, 10.0f}, {300, 1000, 8, 3.0f}, {5, 1537, 33, 80.0f},  {257, 700, 1, 80.0f},
    {2, 8192, 3, 9.0f}, {3, 8193, 5, 30.0f},  {258, 17000, 2, 2.0f},
};

#define N_HEADS (sizeof HEADS / sizeof HEADS[0])

/* The values for every number of threads, which must agree. */
static float *head_run(const pith__matrix *w, const pith__rows *x, const uint32_t *targets)
{
    pith__arena arena;
    pith__tensor_ctx ctx;
    pith_error err = {0};
    tensor_open(&ctx, &arena);
    float *first = guarded_new(x->count);
    for (size_t t = 0; t < N_THREADS; t++) {
        ctx.threads = THREADS[t];
        float *nll = guarded_new(x->count);
        assert_ok(pith__tensor_cpu()->head_nll(&ctx, w, x, targets, nll, &err), err);
        guarded_check(nll, x->count);
        assert_int_equal(arena.used_total, 0);
        if (t == 0) {
            memcpy(first, nll, x->count * sizeof *nll);
        }
        assert_memory_equal(first, nll, x->count * sizeof *nll);
        free(nll);
    }
    pith__arena_deinit(&arena);
    return first;
}

static double naive_nll(const double *logits, size_t count, size_t target)
{
    double max = -HUGE_VAL;
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        max = fmax(max, logits[i]);
    }
    for (size_t i = 0; i < count; i++) {
        sum += exp(logits[i] - max);
    }
    return max + log(sum) - logits[target];
}

static uint32_t *random_targets(const head_case *h, uint64_t *seed)
{
    uint32_t *targets = calloc(h->rows, sizeof *targets);
    assert_non_null(targets);
    for (size_t r = 0; r < h->rows; r++) {
        targets[r] = (uint32_t)test_random_below(seed, h->vocabulary);
    }
    targets[0] = (uint32_t)h->vocabulary - 1;
    return targets;
}

static void check_head_f32(const head_case *h, uint64_t *seed)
{
    float *x = random_floats(h->rows * h->width, seed);
    float *w = random_floats(h->vocabulary * h->width, seed);
    for (size_t i = 0; i < h->vocabulary * h->width; i++) {
        w[i] *= h->spread;
    }
    uint32_t *targets = random_targets(h, seed);
    double *logits = calloc(h->vocabulary, sizeof *logits);
    assert_non_null(logits);
    const pith__matrix matrix = {.rows = h->vocabulary, .cols = h->width, .f32 = w};
    const pith__rows rows = {.count = h->rows, .width = h->width, .f32 = x};
    float *nll = head_run(&matrix, &rows, targets);
    for (size_t r = 0; r < h->rows; r++) {
        double largest = 0.0;
        for (size_t v = 0; v < h->vocabulary; v++) {
            double magnitude = 0.0;
            logits[v] = dot(x + r * h->width, w + v * h->width, h->width, &magnitude);
            largest = fmax(largest, magnitude);
        }
        const double bound = 2e-6 + 2.0 * (double)(h->width + 4) * ROUNDING * largest;
        assert_near(nll[r], naive_nll(logits, h->vocabulary, targets[r]), bound);
        assert_true(nll[r] >= 0.0f);
    }
    free(x);
    free(w);
    free(targets);
    free(logits);
    free(nll);
}

static void check_head_int8(const head_case *h, uint64_t *seed)
{
    int8_t *x = fill(FILL_RANDOM, 127, h->rows * h->width, seed);
    int8_t *w =
        fill(FILL_EXTREME, pith__tensor_cpu()->weight_limit(), h->vocabulary * h->width, seed);
    float *x_scale = random_scales(h->rows, seed);
    float *w_scale = random_scales(h->vocabulary, seed);
    uint32_t *targets = random_targets(h, seed);
    double *logits = calloc(h->vocabulary, sizeof *logits);
    assert_non_null(logits);
    const pith__matrix matrix = {
        .rows = h->vocabulary, .cols = h->width, .i8 = w, .scale = w_scale};
    const pith__rows rows = {.count = h->rows, .width = h->width, .i8 = x, .scale = x_scale};
    float *nll = head_run(&matrix, &rows, targets);
    for (size_t r = 0; r < h->rows; r++) {
        for (size_t v = 0; v < h->vocabulary; v++) {
            const int32_t sum = integer_dot(x + r * h->width, w + v * h->width, h->width);
            logits[v] = (double)((float)sum * (x_scale[r] * w_scale[v]));
        }
        const double expected = naive_nll(logits, h->vocabulary, targets[r]);
        assert_near(nll[r], expected, 2e-6 + 3.0 * ROUNDING * fabs(expected));
    }
    free(x);
    free(w);
    free(x_scale);
    free(w_scale);
    free(targets);
    free(logits);
    free(nll);
}

static void head_nll_is_that_of_the_full_softmax(void **state)
{
    (void)state;
    uint64_t seed = 13;
    for (size_t c = 0; c < N_HEADS; c++) {
        check_head_f32(&HEADS[c], &seed);
        check_head_int8(&HEADS[c], &seed);
    }
}

/* One entry far above all others, in the first, some middle and the last block of the vocabulary. */
static void one_logit_may_dominate(void **state)
{
    (void)state;
    enum { VOCABULARY = 17000 };
    static float w[VOCABULARY];
    const size_t peaks[] = {0, 511, 700, 5666, 5667, 9000, VOCABULARY - 1};
    const float x[] = {1.0f, 1.0f};
    const pith__matrix matrix = {.rows = VOCABULARY, .cols = 1, .f32 = w};
    const pith__rows rows = {.count = 2, .width = 1, .f32 = x};
    for (size_t p = 0; p < sizeof peaks / sizeof peaks[0]; p++) {
        for (size_t v = 0; v < VOCABULARY; v++) {
            w[v] = v == peaks[p] ? 80.0f : -80.0f;
        }
        const uint32_t targets[] = {(uint32_t)peaks[p], 600};
        float *nll = head_run(&matrix, &rows, targets);
        assert_true(nll[0] == 0.0f);
        assert_true(nll[1] == 160.0f);
        free(nll);
        for (size_t v = 0; v < VOCABULARY; v++) {
            w[v] = -80.0f; /* all alike, and far below zero */
        }
        nll = head_run(&matrix, &rows, targets);
        assert_near(nll[0], log(VOCABULARY), 2e-6);
        free(nll);
    }
}

/* Whatever a damaged model gives: no undefined behaviour, and a target that is no number shows. */
static void damaged_logits_stay_visible(void **state)
{
    (void)state;
    enum { VOCABULARY = 600 };
    static float w[VOCABULARY];
    const float bad[] = {NAN, INFINITY, -INFINITY};
    const float x[] = {1.0f};
    const uint32_t targets[] = {5};
    const pith__matrix matrix = {.rows = VOCABULARY, .cols = 1, .f32 = w};
    const pith__rows rows = {.count = 1, .width = 1, .f32 = x};
    for (size_t b = 0; b < sizeof bad / sizeof bad[0]; b++) {
        const size_t places[] = {0, 5, 299, 300, VOCABULARY - 1, VOCABULARY};
        for (size_t p = 0; p < sizeof places / sizeof places[0]; p++) {
            for (size_t v = 0; v < VOCABULARY; v++) {
                w[v] = v == places[p] || places[p] == VOCABULARY ? bad[b] : 1.0f;
            }
            float *nll = head_run(&matrix, &rows, targets);
            assert_true(isfinite(nll[0]) ? places[p] != 5 && places[p] != VOCABULARY : true);
            free(nll);
        }
    }
}

/* ---- probe ------------------------------------------------------------------------- */

static void the_probe_takes_time_and_gives_its_memory_back(void **state)
{
    (void)state;
    pith__arena arena;
    pith_error err = {0};
    pith__arena_init(&arena, &pith__allocator_default);
    for (size_t form = 0; form < 2; form++) {
        double small = 0.0;
        double large = 0.0;
        assert_ok(pith__tensor_gemm_seconds(form == 1, 1, 8, 8, 5, &arena, &small, &err), err);
        assert_ok(pith__tensor_gemm_seconds(form == 1, 256, 512, 512, 3, &arena, &large, &err),
                  err);
        assert_true(small > 0.0);
        assert_true(large > small && large < 60.0);
        assert_int_equal(arena.used_total, 0);
        assert_status(
            pith__tensor_gemm_seconds(form == 1, SIZE_MAX / 4, 8, 8, 1, &arena, &large, &err),
            PITH_E_MEMORY);
    }
    pith__arena_deinit(&arena);
}

/* ---- allocation failures ----------------------------------------------------------- */

static pith_status use_scratch(const pith_allocator *mem, void *user)
{
    const attention_data *d = user;
    const attention_case *shape = &d->shape;
    const pith__tensor_ops *ops = pith__tensor_cpu();
    pith__arena arena;
    pith__arena_init(&arena, mem);
    const pith__tensor_ctx ctx = {.threads = 2, .arena = &arena};
    float *out = guarded_new(d->rows * shape->heads * shape->head_dim);
    const pith__attention attention = {.heads = shape->heads,
                                       .kv_heads = shape->kv_heads,
                                       .head_dim = shape->head_dim,
                                       .scale = 1.0f,
                                       .q = d->q,
                                       .out = out,
                                       .spans = d->spans,
                                       .n_spans = shape->n_spans};
    pith_status status = ops->attention(&ctx, &attention, NULL);
    if (status == PITH_OK) {
        const float values[] = {0.5f, 1.0f, 2.0f};
        const uint32_t targets[] = {1, 2};
        float nll[2];
        const pith__matrix w = {.rows = 3, .cols = 1, .f32 = values};
        const pith__rows x = {.count = 2, .width = 1, .f32 = values};
        status = ops->head_nll(&ctx, &w, &x, targets, nll, NULL);
    }
    if (status == PITH_OK) {
        double seconds = 0.0;
        status = pith__tensor_gemm_seconds(true, 2, 3, 4, 1, &arena, &seconds, NULL);
    }
    assert_int_equal(arena.used_total, 0);
    pith__arena_deinit(&arena);
    free(out);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    uint64_t seed = 14;
    attention_data d;
    attention_make(&d, &ATTENTION[3], &seed);
    test_sweep(use_scratch, &d);
    attention_free(&d);
}

/* ---- signals ---------------------------------------------------------------------------- */

static volatile sig_atomic_t alarms;

static void count_alarm(int number)
{
    (void)number;
    char frame[512]; /* a handler of some size */
    memset(frame, 0x55, sizeof frame);
    alarms += frame[alarms & 511] == 0x55;
}

/* A handler on the thread's own stack, twice a millisecond, while products run. */
static void products_survive_signals(void **state)
{
    (void)state;
    enum { SIDE = 100, PRODUCTS = 4000 };
    const pith__product shape = {.m = SIDE, .n = SIDE, .k = SIDE, .alpha = 1.0f};
    float *const a = calloc(SIDE * SIDE, sizeof *a);
    float *const b = calloc(SIDE * SIDE, sizeof *b);
    float *const c = calloc(SIDE * SIDE, sizeof *c);
    assert_true(a != NULL && b != NULL && c != NULL);
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        a[i] = 1.0f;
        b[i] = 2.0f;
    }
    const pith__tensor_ctx ctx = {.threads = 1};
    struct sigaction before;
    struct sigaction action = {.sa_handler = count_alarm, .sa_flags = SA_RESTART};
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    const struct itimerval every = {{0, 500}, {0, 500}};
    const struct itimerval never = {{0, 0}, {0, 0}};
    assert_int_equal(setitimer(ITIMER_REAL, &every, NULL), 0);
    for (int i = 0; i < PRODUCTS || alarms < 20; i++) {
        pith_error err;
        assert_ok(pith__tensor_cpu()->product(&ctx, &shape, a, b, c, &err), err);
        void *block = malloc(256); /* the allocator notices what was overwritten */
        free(block);
    }
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
    for (size_t i = 0; i < SIDE * SIDE; i++) {
        assert_true(c[i] == 2.0f * SIDE);
    }
    free(c);
    free(b);
    free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_f32_is_a_matrix_product),
        cmocka_unit_test(linear_int8_is_exact_up_to_the_limit),
        cmocka_unit_test(the_weight_limit_is_one_of_two),
        cmocka_unit_test(rows_are_quantized_to_the_nearest),
        cmocka_unit_test(weights_are_quantized_to_the_limit),
        cmocka_unit_test(halves_go_to_the_even_neighbour),
        cmocka_unit_test(rows_near_nothing_become_nothing),
        cmocka_unit_test(huge_rows_are_rows),
        cmocka_unit_test(damaged_rows_stay_visible),
        cmocka_unit_test(rms_norm_divides_by_the_root_mean_square),
        cmocka_unit_test(rope_rotates_neighbouring_pairs),
        cmocka_unit_test(attention_is_a_causal_softmax),
        cmocka_unit_test(attention_does_not_depend_on_threads),
        cmocka_unit_test(later_keys_have_no_influence),
        cmocka_unit_test(swiglu_gates),
        cmocka_unit_test(swiglu_of_what_is_no_number_is_none),
        cmocka_unit_test(add_adds),
        cmocka_unit_test(the_exponential_is_accurate),
        cmocka_unit_test(the_exponential_is_exact_at_zero_and_bounded_below),
        cmocka_unit_test(sums_of_exponentials_agree),
        cmocka_unit_test(the_largest_is_found_among_what_is_no_number),
        cmocka_unit_test(head_nll_is_that_of_the_full_softmax),
        cmocka_unit_test(one_logit_may_dominate),
        cmocka_unit_test(damaged_logits_stay_visible),
        cmocka_unit_test(the_probe_takes_time_and_gives_its_memory_back),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(products_survive_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
