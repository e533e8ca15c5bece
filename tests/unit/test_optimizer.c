/*
 * test_optimizer.c: AdamW and clipping against reference values, Muon against the
 * formulas of its paper in double precision and what they promise.
 */
#include "golden_json.h"
#include "train/muon.h"
#include "train_fixture.h"

static const pith_allocator *const default_memory = &pith__allocator_default;

/* ---- helpers ------------------------------------------------------------------------ */

/* Weights, optimiser and a place to compute in, for one test. */
typedef struct fixture {
    pith__weights weights;
    pith__optimizer optimizer;
    pith__arena arena;
    pith__tensor_ctx ctx;
    float *gradient; /* (weights.count), 0 */
} fixture;

/* The weights of f must be there. */
static void start(fixture *f, const pith__optimizer_settings *settings, unsigned threads)
{
    pith_error err = {.status = PITH_OK};
    assert_ok(pith__optimizer_init(settings, &f->weights, &f->optimizer, &err), err);
    pith__arena_init(&f->arena, default_memory);
    f->ctx = (pith__tensor_ctx){threads, &f->arena};
    f->gradient = calloc(f->weights.count, sizeof *f->gradient);
    assert_non_null(f->gradient);
}

static void stop(fixture *f)
{
    free(f->gradient);
    pith__arena_deinit(&f->arena);
    pith__optimizer_deinit(&f->optimizer);
    pith__weights_deinit(&f->weights);
}

/* All kinds of tensors. */
static void start_mixed(fixture *f, const pith__optimizer_settings *settings, unsigned threads)
{
    pith_error err = {.status = PITH_OK};
    assert_ok(train_weights(default_memory, &f->weights, &err), err);
    start(f, settings, threads);
}

/* One tensor, random. */
static void start_single(fixture *f, const pith__optimizer_settings *settings,
                         pith__weight_kind kind, size_t rows, size_t cols)
{
    pith_error err = {.status = PITH_OK};
    pith__weights_init(&f->weights, default_memory);
    assert_ok(pith__weights_add(&f->weights, "w", kind, rows, cols, &err), err);
    assert_ok(pith__weights_allocate(&f->weights, &err), err);
    train_fill(7, rows * cols, f->weights.values);
    start(f, settings, 1);
}

/* Returns the norm. */
static double step(fixture *f, double scale, double multiplier)
{
    pith_error err = {.status = PITH_OK};
    double norm = -1;
    assert_ok(
        pith__optimizer_step(&f->optimizer, &f->ctx, f->gradient, scale, multiplier, &norm, &err),
        err);
    return norm;
}

static float *copy_of(const float *x, size_t count)
{
    float *copy = malloc(count * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, x, count * sizeof *copy);
    return copy;
}

static void assert_near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance)) {
        fail_msg("%.9g is not %.9g within %g", found, expected, tolerance);
    }
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) {
        fail_msg("no number \"%s\"", key);
    }
    return json_number_value(value);
}

static size_t load(const json_t *array, float *out, size_t room)
{
    const size_t count = json_array_size(array);
    assert_in_range(count, 1, room);
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)json_number_value(json_array_get(array, i));
    }
    return count;
}

static void assert_array(const float *found, const json_t *expected, double relative,
                         double absolute)
{
    for (size_t i = 0; i < json_array_size(expected); i++) {
        const double value = json_number_value(json_array_get(expected, i));
        assert_near((double)found[i], value, fabs(value) * relative + absolute);
    }
}

/* ---- AdamW ------------------------------------------------------------------------------ */

/*
 * beta is a float, so that 1 - beta is off by up to 2^-24 / (1 - beta): 6e-5 of v for
 * beta2 = 0.999. The bias correction has the same error, which leaves the update.
 */
static void follow_trajectory(const json_t *reference)
{
    const double rate = number(reference, "lr");
    const pith__optimizer_settings settings = {.kind = PITH__OPTIMIZER_ADAMW,
                                               .rate = rate,
                                               .beta1 = number(reference, "beta1"),
                                               .beta2 = number(reference, "beta2"),
                                               .eps = number(reference, "eps"),
                                               .decay = number(reference, "weight_decay")};
    const json_t *p0 = json_object_get(reference, "p0");
    fixture f;
    start_single(&f, &settings, PITH__WEIGHT_MATRIX, 1, json_array_size(p0));
    (void)load(p0, f.weights.values, f.weights.count);
    const json_t *steps = json_object_get(reference, "steps");
    assert_true(json_array_size(steps) > 1);
    for (size_t i = 0; i < json_array_size(steps); i++) {
        const json_t *expected = json_array_get(steps, i);
        (void)load(json_object_get(expected, "grad"), f.gradient, f.weights.count);
        (void)step(&f, 1, number(expected, "lr") / rate);
        assert_array(f.weights.values, json_object_get(expected, "p"), 3e-7, 1e-7);
        assert_array(f.optimizer.m, json_object_get(expected, "m"), 1e-6, 1e-7);
        assert_array(f.optimizer.v, json_object_get(expected, "v"), 6e-5, 1e-10);
    }
    assert_int_equal(f.optimizer.step, json_array_size(steps));
    stop(&f);
}

static void adamw_follows_the_reference(void **state)
{
    (void)state;
    json_t *root = golden_load(test_path("golden", "train/train.json"));
    const json_t *trajectories = json_object_get(root, "g_adamw");
    assert_int_equal(json_array_size(trajectories), 3);
    for (size_t i = 0; i < json_array_size(trajectories); i++) {
        follow_trajectory(json_array_get(trajectories, i));
    }
    json_decref(root);
}

/* With beta1 = 0 the first moment is the gradient as it was used. */
static void clip_once(const json_t *reference, float factor, double scale)
{
    pith__optimizer_settings settings = train_settings(PITH__OPTIMIZER_ADAMW);
    settings.beta1 = 0;
    settings.clip = number(reference, "max_norm");
    const json_t *before = json_object_get(reference, "before");
    const json_t *after = json_object_get(reference, "after");
    fixture f;
    pith_error err = {.status = PITH_OK};
    pith__weights_init(&f.weights, default_memory);
    for (size_t i = 0; i < json_array_size(before); i++) {
        const char name[] = {(char)('a' + (char)i), '\0'};
        const size_t size = json_array_size(json_array_get(before, i));
        assert_ok(pith__weights_add(&f.weights, name, PITH__WEIGHT_VECTOR, 1, size, &err), err);
    }
    assert_ok(pith__weights_allocate(&f.weights, &err), err);
    start(&f, &settings, 1);
    for (size_t i = 0; i < f.weights.n_items; i++) {
        (void)load(json_array_get(before, i), f.gradient + f.weights.items[i].at,
                   f.weights.items[i].cols);
    }
    for (size_t i = 0; i < f.weights.count; i++) {
        f.gradient[i] *= factor;
    }
    assert_near(step(&f, scale, 1), number(reference, "total_norm"), 1e-6);
    for (size_t i = 0; i < f.weights.n_items; i++) {
        assert_array(f.optimizer.m + f.weights.items[i].at, json_array_get(after, i), 1e-6, 1e-9);
    }
    stop(&f);
}

static void clipping_follows_the_reference(void **state)
{
    (void)state;
    json_t *root = golden_load(test_path("golden", "train/train.json"));
    const json_t *reference = json_object_get(root, "g_clip");
    assert_non_null(reference);
    clip_once(reference, 1, 1);
    clip_once(reference, 8, 0.125);
    clip_once(reference, 0.25F, 4);
    json_decref(root);
}

/* Below the limit, and without one, the gradient stays as it is. */
static void a_small_gradient_is_not_clipped(void **state)
{
    (void)state;
    const double clips[] = {0, 5.0001, 4.9999};
    for (size_t i = 0; i < 3; i++) {
        pith__optimizer_settings settings = train_settings(PITH__OPTIMIZER_ADAMW);
        settings.beta1 = 0;
        settings.clip = clips[i];
        fixture f;
        start_single(&f, &settings, PITH__WEIGHT_VECTOR, 1, 2);
        f.gradient[0] = 3;
        f.gradient[1] = -4;
        assert_near(step(&f, 1, 1), 5, 1e-12);
        assert_int_equal(f.optimizer.m[0] == 3 && f.optimizer.m[1] == -4, i < 2);
        stop(&f);
    }
}

/* Without a gradient only decay moves a weight. */
static void without_gradient_only_decay_moves(void **state)
{
    (void)state;
    const pith__optimizer_kind kinds[] = {PITH__OPTIMIZER_ADAMW, PITH__OPTIMIZER_MUON};
    for (size_t k = 0; k < 2; k++) {
        pith__optimizer_settings settings = train_settings(kinds[k]);
        settings.muon_rate = settings.rate / 2;
        fixture f;
        start_mixed(&f, &settings, 1);
        float *before = copy_of(f.weights.values, f.weights.count);
        assert_true(step(&f, 1, 0.5) == 0);
        for (size_t i = 0; i < f.weights.n_items; i++) {
            const pith__weight *item = &f.weights.items[i];
            const bool muon = k == 1 && item->kind == PITH__WEIGHT_MATRIX;
            const double rate = 0.5 * (muon ? settings.muon_rate : settings.rate);
            const double keep = item->kind == PITH__WEIGHT_VECTOR ? 1 : 1 - rate * settings.decay;
            for (size_t j = item->at; j < item->at + item->rows * item->cols; j++) {
                assert_near((double)f.weights.values[j], keep * (double)before[j], 4e-7);
            }
        }
        assert_int_equal(f.optimizer.step, 1);
        free(before);
        stop(&f);
    }
}

/* ---- what is not a number ----------------------------------------------------------------- */

static void assert_refused(fixture *f, size_t at, float value, double scale)
{
    const size_t size = f->weights.count * sizeof(float);
    float *values = copy_of(f->weights.values, f->weights.count);
    float *m = copy_of(f->optimizer.m, f->weights.count);
    float *v = copy_of(f->optimizer.v, f->weights.count);
    const uint64_t steps = f->optimizer.step;
    f->gradient[at] = value;
    const double norm = step(f, scale, 1);
    assert_true(isnan(norm) || isinf(norm));
    assert_memory_equal(f->weights.values, values, size);
    assert_memory_equal(f->optimizer.m, m, size);
    assert_memory_equal(f->optimizer.v, v, size);
    assert_int_equal(f->optimizer.step, steps);
    free(values);
    free(m);
    free(v);
}

static void what_is_no_number_changes_nothing(void **state)
{
    (void)state;
    const pith__optimizer_kind kinds[] = {PITH__OPTIMIZER_ADAMW, PITH__OPTIMIZER_MUON};
    for (size_t k = 0; k < 2; k++) {
        const pith__optimizer_settings settings = train_settings(kinds[k]);
        fixture f;
        start_mixed(&f, &settings, 2);
        train_gradient(&f.weights, 1, f.gradient);
        (void)step(&f, 1, 1);
        for (size_t i = 0; i < f.weights.n_items; i++) {
            const size_t at = f.weights.items[i].at + 3;
            train_gradient(&f.weights, 2, f.gradient);
            assert_refused(&f, at, NAN, 1);
            assert_refused(&f, at, -INFINITY, 1);
        }
        train_gradient(&f.weights, 2, f.gradient);
        assert_refused(&f, 0, 1, (double)NAN);
        assert_true(isfinite(step(&f, 1, 1)));
        assert_int_equal(f.optimizer.step, 2);
        stop(&f);
    }
}

/* ---- Muon ------------------------------------------------------------------------------------ */

/* c (m, n) = a (m, k) b (k, n). */
static void multiply(size_t m, size_t n, size_t k, const double *a, const double *b, double *c)
{
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t l = 0; l < k; l++) {
                sum += a[i * k + l] * b[l * n + j];
            }
            c[i * n + j] = sum;
        }
    }
}

static void transpose(size_t rows, size_t cols, const double *x, double *out)
{
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++) {
            out[j * rows + i] = x[i * cols + j];
        }
    }
}

enum { SIDE = 80 }; /* of the largest matrix below */

/* The iteration as it is published: always on a wide matrix. */
static void reference_orthogonalise(size_t rows, size_t cols, double *x)
{
    static double y[SIDE * SIDE], turned[SIDE * SIDE], gram[SIDE * SIDE], square[SIDE * SIDE];
    if (rows > cols) {
        static double wide[SIDE * SIDE];
        transpose(rows, cols, x, wide);
        reference_orthogonalise(cols, rows, wide);
        transpose(cols, rows, wide, x);
        return;
    }
    double norm = 0;
    for (size_t i = 0; i < rows * cols; i++) {
        norm += x[i] * x[i];
    }
    for (size_t i = 0; i < rows * cols; i++) {
        x[i] /= sqrt(norm);
    }
    for (int round = 0; round < 5; round++) {
        transpose(rows, cols, x, turned);
        multiply(rows, rows, cols, x, turned, gram);
        multiply(rows, rows, rows, gram, gram, square);
        for (size_t i = 0; i < rows * rows; i++) {
            gram[i] = -4.7750 * gram[i] + 2.0315 * square[i];
        }
        multiply(rows, cols, rows, gram, x, y);
        for (size_t i = 0; i < rows * cols; i++) {
            x[i] = 3.4445 * x[i] + y[i];
        }
    }
}

/* Eigenvalues of a symmetric matrix, to its diagonal, by Jacobi's rotations. */
static void diagonalise(size_t n, double *a)
{
    for (size_t round = 0; round < 30; round++) {
        for (size_t p = 0; p < n; p++) {
            for (size_t q = p + 1; q < n; q++) {
                const double angle = 0.5 * atan2(2 * a[p * n + q], a[p * n + p] - a[q * n + q]);
                const double c = cos(angle);
                const double s = sin(angle);
                for (size_t i = 0; i < n; i++) {
                    const double x = a[i * n + p];
                    const double y = a[i * n + q];
                    a[i * n + p] = c * x + s * y;
                    a[i * n + q] = c * y - s * x;
                }
                for (size_t i = 0; i < n; i++) {
                    const double x = a[p * n + i];
                    const double y = a[q * n + i];
                    a[p * n + i] = c * x + s * y;
                    a[q * n + i] = c * y - s * x;
                }
            }
        }
    }
}

/* Smallest and largest singular value of x (rows, cols). */
static void singular_values(size_t rows, size_t cols, const double *x, double *low, double *high)
{
    static double turned[SIDE * SIDE], gram[SIDE * SIDE];
    transpose(rows, cols, x, turned);
    const size_t side = rows < cols ? rows : cols;
    if (rows < cols) {
        multiply(rows, rows, cols, x, turned, gram);
    } else {
        multiply(cols, cols, rows, turned, x, gram);
    }
    diagonalise(side, gram);
    *low = (double)INFINITY;
    *high = 0;
    for (size_t i = 0; i < side; i++) {
        const double value = sqrt(fabs(gram[i * side + i]));
        *low = value < *low ? value : *low;
        *high = value > *high ? value : *high;
    }
}

/* x is replaced. */
static void orthogonalise(size_t rows, size_t cols, float *x)
{
    pith_error err = {.status = PITH_OK};
    pith__arena arena;
    pith__arena_init(&arena, default_memory);
    const pith__tensor_ctx ctx = {1, &arena};
    pith__muon_scratch scratch;
    const size_t count = rows * cols;
    assert_ok(pith__muon_reserve(count, rows < cols ? rows : cols, &arena, &scratch, &err), err);
    memcpy(scratch.x, x, count * sizeof *x);
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    assert_ok(
        pith__muon_orthogonalise(pith__tensor_cpu(), &ctx, rows, cols, sqrt(sum), &scratch, &err),
        err);
    memcpy(x, scratch.x, count * sizeof *x);
    pith__arena_deinit(&arena);
}

static const struct {
    size_t rows, cols;
    double low; /* singular values of a random matrix end up above this */
} shapes[] = {{16, 64, 0.67}, {64, 16, 0.67}, {20, 70, 0.67}, {1, 80, 0.67},
              {80, 1, 0.67},  {1, 1, 0.67},   {37, 37, 0},    {48, 47, 0}};

static void newton_schulz_makes_orthogonal(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        static float x[SIDE * SIDE];
        static double reference[SIDE * SIDE], result[SIDE * SIDE];
        const size_t count = shapes[i].rows * shapes[i].cols;
        train_fill(i + 1, count, x);
        for (size_t j = 0; j < count; j++) {
            reference[j] = (double)x[j];
        }
        reference_orthogonalise(shapes[i].rows, shapes[i].cols, reference);
        orthogonalise(shapes[i].rows, shapes[i].cols, x);
        for (size_t j = 0; j < count; j++) {
            result[j] = (double)x[j];
            assert_near(result[j], reference[j], 2e-5);
        }
        double low = 0;
        double high = 0;
        singular_values(shapes[i].rows, shapes[i].cols, result, &low, &high);
        if (low < shapes[i].low || high < 0.67 || high > 1.21) {
            fail_msg("%zu x %zu: singular values from %g to %g", shapes[i].rows, shapes[i].cols,
                     low, high);
        }
    }
}

/* The same direction for a gradient of any size. */
static void the_size_of_a_momentum_does_not_matter(void **state)
{
    (void)state;
    float once[12 * 5];
    float tiny[12 * 5];
    float huge[12 * 5];
    train_fill(3, 60, once);
    for (size_t i = 0; i < 60; i++) {
        tiny[i] = once[i] * 0x1p-110F;
        huge[i] = once[i] * 0x1p+110F;
    }
    orthogonalise(12, 5, once);
    orthogonalise(12, 5, tiny);
    orthogonalise(12, 5, huge);
    for (size_t i = 0; i < 60; i++) {
        assert_near((double)tiny[i], (double)once[i], 1e-6);
        assert_near((double)huge[i], (double)once[i], 1e-6);
    }
    float zero[12 * 5] = {0};
    float least[12 * 5] = {0};
    least[7] = 0x1p-149F;
    orthogonalise(12, 5, zero);
    orthogonalise(12, 5, least);
    for (size_t i = 0; i < 60; i++) {
        assert_true(zero[i] == 0 && least[i] == 0);
    }
}

/* Two steps, with Nesterov's momentum, clipping and decay, in double. */
static void follow_muon(size_t rows, size_t cols)
{
    const pith__optimizer_settings settings = train_settings(PITH__OPTIMIZER_MUON);
    static double value[SIDE * SIDE], momentum[SIDE * SIDE], u[SIDE * SIDE];
    const size_t count = rows * cols;
    fixture f;
    start_single(&f, &settings, PITH__WEIGHT_MATRIX, rows, cols);
    for (size_t i = 0; i < count; i++) {
        value[i] = (double)f.weights.values[i];
        momentum[i] = 0;
    }
    for (int round = 0; round < 2; round++) {
        train_gradient(&f.weights, (uint64_t)round + 5, f.gradient);
        const double scale = 0.25;
        const double norm = step(&f, scale, 0.5);
        assert_true(norm > settings.clip);
        for (size_t i = 0; i < count; i++) {
            const double g = (double)f.gradient[i] * scale * settings.clip / norm;
            momentum[i] = settings.momentum * momentum[i] + g;
            u[i] = g + settings.momentum * momentum[i];
        }
        reference_orthogonalise(rows, cols, u);
        const double rate = settings.muon_rate * 0.5;
        const double size = 0.2 * sqrt((double)(rows > cols ? rows : cols));
        for (size_t i = 0; i < count; i++) {
            value[i] -= rate * (size * u[i] + settings.decay * value[i]);
            assert_near((double)f.weights.values[i], value[i], 2e-6);
            assert_near((double)f.optimizer.m[i], momentum[i], 1e-6);
            assert_true(f.optimizer.v[i] == 0);
        }
    }
    stop(&f);
}

static void muon_follows_its_formulas(void **state)
{
    (void)state;
    follow_muon(16, 64);
    follow_muon(64, 16);
    follow_muon(24, 24);
}

/* Root mean square of an update of rate 1. */
static double update_rms(size_t rows, size_t cols)
{
    pith__optimizer_settings settings = train_settings(PITH__OPTIMIZER_MUON);
    settings.muon_rate = 1;
    settings.decay = 0;
    fixture f;
    start_single(&f, &settings, PITH__WEIGHT_MATRIX, rows, cols);
    float *before = copy_of(f.weights.values, f.weights.count);
    train_gradient(&f.weights, 1, f.gradient);
    (void)step(&f, 1, 1);
    double sum = 0;
    for (size_t i = 0; i < rows * cols; i++) {
        const double d = (double)f.weights.values[i] - (double)before[i];
        sum += d * d;
    }
    free(before);
    stop(&f);
    return sqrt(sum / (double)(rows * cols));
}

static void updates_of_muon_have_the_size_of_adamw_s(void **state)
{
    (void)state;
    assert_near(update_rms(16, 64), 0.2, 0.04);
    assert_near(update_rms(64, 16), 0.2, 0.04);
    assert_near(update_rms(64, 64), 0.2, 0.04);
    assert_near(update_rms(3, 300), 0.2, 0.06); /* three singular values, all about the same */
}

/* Embeddings and vectors go by AdamW, with its rate, whatever the matrices do. */
static void muon_is_for_matrices_alone(void **state)
{
    (void)state;
    pith__optimizer_settings settings = train_settings(PITH__OPTIMIZER_ADAMW);
    settings.muon_rate = 0.5;
    fixture adamw;
    start_mixed(&adamw, &settings, 1);
    settings.kind = PITH__OPTIMIZER_MUON;
    fixture muon;
    start_mixed(&muon, &settings, 1);
    for (uint64_t round = 0; round < 3; round++) {
        train_gradient(&adamw.weights, round, adamw.gradient);
        train_gradient(&muon.weights, round, muon.gradient);
        assert_true(step(&adamw, 1, 1) == step(&muon, 1, 1));
    }
    for (size_t i = 0; i < adamw.weights.n_items; i++) {
        const pith__weight *item = &adamw.weights.items[i];
        const size_t size = item->rows * item->cols * sizeof(float);
        const int order =
            memcmp(adamw.weights.values + item->at, muon.weights.values + item->at, size);
        assert_int_equal(order != 0, item->kind == PITH__WEIGHT_MATRIX);
    }
    stop(&adamw);
    stop(&muon);
}

/* ---- both -------------------------------------------------------------------------------------- */

/* The padding between tensors never becomes anything but 0. */
static void assert_padding(const fixture *f)
{
    for (size_t i = 0; i < f->weights.n_items; i++) {
        const pith__weight *item = &f->weights.items[i];
        const size_t next =
            i + 1 < f->weights.n_items ? f->weights.items[i + 1].at : f->weights.count;
        for (size_t j = item->at + item->rows * item->cols; j < next; j++) {
            assert_true(f->weights.values[j] == 0 && f->optimizer.m[j] == 0);
        }
    }
}

static void any_number_of_threads_gives_the_same_bytes(void **state)
{
    (void)state;
    const pith__optimizer_kind kinds[] = {PITH__OPTIMIZER_ADAMW, PITH__OPTIMIZER_MUON};
    for (size_t k = 0; k < 2; k++) {
        const pith__optimizer_settings settings = train_settings(kinds[k]);
        fixture f[3];
        for (unsigned i = 0; i < 3; i++) {
            start_mixed(&f[i], &settings, i + 1);
            for (uint64_t round = 0; round < 4; round++) {
                train_gradient(&f[i].weights, round, f[i].gradient);
                (void)step(&f[i], 0.5, 1);
            }
            const size_t size = f[i].weights.count * sizeof(float);
            assert_memory_equal(f[i].weights.values, f[0].weights.values, size);
            assert_memory_equal(f[i].optimizer.m, f[0].optimizer.m, size);
            assert_memory_equal(f[i].optimizer.v, f[0].optimizer.v, size);
            assert_padding(&f[i]);
        }
        for (unsigned i = 0; i < 3; i++) {
            stop(&f[i]);
        }
    }
}

/* Half the squared distance to a target; its gradient is written. */
static double distance(fixture *f, const float *target)
{
    double sum = 0;
    for (size_t i = 0; i < f->weights.count; i++) {
        f->gradient[i] = f->weights.values[i] - target[i];
        sum += 0.5 * (double)f->gradient[i] * (double)f->gradient[i];
    }
    return sum;
}

static void a_quadratic_is_minimised(void **state)
{
    (void)state;
    const pith__optimizer_kind kinds[] = {PITH__OPTIMIZER_ADAMW, PITH__OPTIMIZER_MUON};
    for (size_t k = 0; k < 2; k++) {
        pith__optimizer_settings settings = train_settings(kinds[k]);
        settings.rate = 0.05;
        settings.muon_rate = 0.2;
        settings.decay = 0;
        fixture f;
        start_mixed(&f, &settings, 1);
        float *target = malloc(f.weights.count * sizeof *target);
        assert_non_null(target);
        train_gradient(&f.weights, 99, target);
        const double first = distance(&f, target);
        const int steps = 400;
        for (int i = 0; i < steps; i++) {
            (void)distance(&f, target);
            (void)step(&f, 1, 1 - (double)i / steps);
        }
        const double last = distance(&f, target);
        if (!(last < first * 1e-4)) {
            fail_msg("%s: from %g to %g", k == 0 ? "AdamW" : "Muon", first, last);
        }
        free(target);
        stop(&f);
    }
}

static void wrong_settings_are_refused(void **state)
{
    (void)state;
    pith_error err = {.status = PITH_OK};
    pith__weights weights;
    assert_ok(train_weights(default_memory, &weights, &err), err);
    const pith__optimizer_settings good = train_settings(PITH__OPTIMIZER_MUON);
    pith__optimizer_settings bad[] = {good, good, good, good, good, good, good, good, good};
    bad[0].beta1 = 1;
    bad[1].beta2 = -0.1;
    bad[2].momentum = (double)NAN;
    bad[3].rate = -1;
    bad[4].muon_rate = (double)INFINITY;
    bad[5].decay = -1e-9;
    bad[6].clip = (double)NAN;
    bad[7].eps = 0;
    bad[8].eps = 1e-60; /* nothing, as a float */
    pith__optimizer optimizer;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_status(pith__optimizer_init(&bad[i], &weights, &optimizer, &err), PITH_E_ARGUMENT);
        pith__optimizer_deinit(&optimizer);
    }
    pith__weights empty;
    pith__weights_init(&empty, default_memory);
    assert_ok(pith__weights_add(&empty, "w", PITH__WEIGHT_MATRIX, 2, 2, &err), err);
    assert_status(pith__optimizer_init(&good, &empty, &optimizer, &err), PITH_E_ARGUMENT);
    pith__weights_deinit(&empty);
    pith__weights_deinit(&weights);
}

/* ---- memory -------------------------------------------------------------------------------------- */

static pith_status step_with(const pith_allocator *mem, pith__optimizer *optimizer)
{
    pith__weights *weights = optimizer->weights;
    float *gradient = malloc(weights->count * sizeof *gradient);
    float *before = copy_of(weights->values, weights->count);
    assert_non_null(gradient);
    train_gradient(weights, 1, gradient);
    pith__arena arena;
    pith__arena_init(&arena, mem);
    const pith__tensor_ctx ctx = {2, &arena};
    double norm = 0;
    const pith_status status = pith__optimizer_step(optimizer, &ctx, gradient, 1, 1, &norm, NULL);
    const int changed = memcmp(before, weights->values, weights->count * sizeof *before) != 0;
    assert_int_equal(changed, status == PITH_OK);
    assert_int_equal(optimizer->step, status == PITH_OK ? 1 : 0);
    for (size_t i = 0; status != PITH_OK && i < weights->count; i++) {
        assert_true(optimizer->m[i] == 0 && optimizer->v[i] == 0);
    }
    pith__arena_deinit(&arena);
    free(gradient);
    free(before);
    return status;
}

static pith_status whole_step(const pith_allocator *mem, void *user)
{
    pith__weights weights;
    pith_status status = train_weights(mem, &weights, NULL);
    if (status == PITH_OK) {
        const pith__optimizer_settings settings = train_settings(*(pith__optimizer_kind *)user);
        pith__optimizer optimizer;
        status = pith__optimizer_init(&settings, &weights, &optimizer, NULL);
        if (status == PITH_OK) {
            status = step_with(mem, &optimizer);
        }
        pith__optimizer_deinit(&optimizer);
    }
    pith__weights_deinit(&weights);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    pith__optimizer_kind kind = PITH__OPTIMIZER_ADAMW;
    test_sweep(whole_step, &kind);
    kind = PITH__OPTIMIZER_MUON;
    test_sweep(whole_step, &kind);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_follows_the_reference),
        cmocka_unit_test(clipping_follows_the_reference),
        cmocka_unit_test(a_small_gradient_is_not_clipped),
        cmocka_unit_test(without_gradient_only_decay_moves),
        cmocka_unit_test(what_is_no_number_changes_nothing),
        cmocka_unit_test(the_size_of_a_momentum_does_not_matter),
        cmocka_unit_test(newton_schulz_makes_orthogonal),
        cmocka_unit_test(muon_follows_its_formulas),
        cmocka_unit_test(updates_of_muon_have_the_size_of_adamw_s),
        cmocka_unit_test(muon_is_for_matrices_alone),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bytes),
        cmocka_unit_test(a_quadratic_is_minimised),
        cmocka_unit_test(wrong_settings_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
