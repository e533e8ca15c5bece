/*
 * backward.c: matrix products of any orientation, and what gradients go through
 * between them: norms, SwiGLU, rotary positions.
 */
#include "tensor/gemm.h"
#include "tensor/tensor_internal.h"
#include "tensor/vector.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/*
 * Block of c that one call computes. Each block packs its part of a and b anew, which
 * costs less the larger it is; training has one sequence per thread to keep them busy.
 */
#define PRODUCT_ROWS    512
#define PRODUCT_COLUMNS 1024

/* Rows whose share of a weight's gradient is added up together, before the shares are. */
#define BACK_ROWS 128

/* ---- product ------------------------------------------------------------------------- */

typedef struct product_job {
    const pith__product *shape;
    const float *a;
    const float *b;
    float *c;
    size_t column_parts;
    atomic_bool failed;
} product_job;

static void product_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    product_job *job = user;
    const pith__product *shape = job->shape;
    const part rows = part_at(shape->m, PRODUCT_ROWS, index / job->column_parts);
    const part columns = part_at(shape->n, PRODUCT_COLUMNS, index % job->column_parts);
    const pith__gemm gemm = {.m = rows.count,
                             .n = columns.count,
                             .k = shape->k,
                             .lda = shape->transpose_a ? shape->m : shape->k,
                             .ldb = shape->transpose_b ? shape->k : shape->n,
                             .ldc = shape->n,
                             .transpose_a = shape->transpose_a,
                             .transpose_b = shape->transpose_b,
                             .alpha = shape->alpha,
                             .beta = shape->beta};
    const float *a = job->a + rows.first * (shape->transpose_a ? 1 : shape->k);
    const float *b = job->b + columns.first * (shape->transpose_b ? shape->k : 1);
    if (!pith__gemm_f32(&gemm, a, b, job->c + rows.first * shape->n + columns.first)) {
        atomic_store(&job->failed, true);
    }
}

/* A sum of no products. */
static void product_of_nothing(const pith__product *shape, float *c)
{
    if (shape->beta == 0.0f) {
        memset(c, 0, shape->m * shape->n * sizeof *c);
    } else {
        pith__vector_scale(c, shape->beta, shape->m * shape->n);
    }
}

pith_status pith__cpu_product(const pith__tensor_ctx *ctx, const pith__product *shape,
                              const float *a, const float *b, float *c, pith_error *err)
{
    if (shape->m == 0 || shape->n == 0) {
        return PITH_OK;
    }
    if (shape->k == 0) {
        product_of_nothing(shape, c);
        return PITH_OK;
    }
    product_job job = {.shape = shape,
                       .a = a,
                       .b = b,
                       .c = c,
                       .column_parts = part_count(shape->n, PRODUCT_COLUMNS)};
    pith__parallel(ctx->threads, part_count(shape->m, PRODUCT_ROWS) * job.column_parts,
                   product_part, &job);
    if (atomic_load(&job.failed)) {
        return pith__fail(err, PITH_E_BACKEND,
                          "oneDNN refused a product of (%zu, %zu) and (%zu, %zu)", shape->m,
                          shape->k, shape->k, shape->n);
    }
    return PITH_OK;
}

/* ---- norms --------------------------------------------------------------------------- */

/* Both norms: RMS norm is the one whose mean is taken to be 0. */
typedef struct norm_job {
    const float *x;
    const float *weight;
    const float *bias;
    const float *dy;
    size_t rows;
    size_t width;
    float eps;
    bool centred;
    float *y;
    float *dx;
    float *dweight; /* (blocks, width), or NULL */
    float *dbias;   /* the same */
} norm_job;

/* Mean of a row (or 0), and 1 / sqrt(mean square distance from it + eps). */
static float norm_factor(const norm_job *job, const float *x, float *mean)
{
    const float width = (float)job->width;
    *mean = job->centred ? pith__vector_sum(x, job->width) / width : 0.0f;
    return 1.0f / sqrtf(pith__vector_sum_squares_from(x, *mean, job->width) / width + job->eps);
}

static void layer_norm_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    const norm_job *job = user;
    const part rows = part_at(job->rows, ROWS, index);
    for (size_t r = rows.first; r < rows.first + rows.count; r++) {
        const float *x = job->x + r * job->width;
        float mean = 0.0f;
        const float factor = norm_factor(job, x, &mean);
        pith__vector_normalise(x, mean, factor, job->weight, job->bias, job->width,
                               job->y + r * job->width);
    }
}

void pith__cpu_layer_norm(const pith__tensor_ctx *ctx, const float *x, const float *weight,
                          const float *bias, size_t rows, size_t width, float eps, float *y)
{
    norm_job job = {.x = x,
                    .weight = weight,
                    .bias = bias,
                    .rows = rows,
                    .width = width,
                    .eps = eps,
                    .centred = true,
                    .y = y};
    pith__parallel(ctx->threads, part_count(rows, ROWS), layer_norm_part, &job);
}

/*
 * With c = x - mean, r = 1 / sqrt(mean(c^2) + eps), y = c r weight + bias and
 * g = weight dy:
 *   dx = r g - c r^3 mean(g c) - r mean(g), the last term only if there is a mean.
 */
static void norm_factors(const norm_job *job, const float *x, const float *dy, float factors[4])
{
    const float width = (float)job->width;
    float mean = 0.0f;
    const float r = norm_factor(job, x, &mean);
    const float along = pith__vector_dot3(x, mean, job->weight, dy, job->width) / width;
    factors[NORM_SHIFT] = mean;
    factors[NORM_GAIN] = r;
    factors[NORM_SLOPE] = -r * r * r * along;
    factors[NORM_OFFSET] =
        job->centred ? -r * pith__vector_dot(job->weight, dy, job->width) / width : 0.0f;
}

static void norm_back_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    const norm_job *job = user;
    const size_t width = job->width;
    const part rows = part_at(job->rows, BACK_ROWS, index);
    for (size_t r = rows.first; r < rows.first + rows.count; r++) {
        const float *x = job->x + r * width;
        const float *dy = job->dy + r * width;
        float factors[4];
        norm_factors(job, x, dy, factors);
        pith__vector_norm_back(x, job->weight, dy, factors, width, job->dx + r * width);
        if (job->dweight != NULL) {
            pith__vector_norm_back_weight(x, dy, factors, width, job->dweight + index * width);
        }
        if (job->dbias != NULL) {
            pith__vector_add(job->dbias + index * width, dy, width);
        }
    }
}

static void add_blocks(float *sum, const float *blocks, size_t n_blocks, size_t width)
{
    for (size_t b = 0; blocks != NULL && b < n_blocks; b++) {
        pith__vector_add(sum, blocks + b * width, width);
    }
}

static pith_status run_norm_back(const pith__tensor_ctx *ctx, norm_job *job, float *dweight,
                                 float *dbias, pith_error *err)
{
    const size_t blocks = part_count(job->rows, BACK_ROWS);
    if (dweight != NULL) {
        PITH__TRY(pith__arena_alloc_zero(ctx->arena, blocks * job->width, sizeof *job->dweight,
                                         &job->dweight, err));
    }
    if (dbias != NULL) {
        PITH__TRY(pith__arena_alloc_zero(ctx->arena, blocks * job->width, sizeof *job->dbias,
                                         &job->dbias, err));
    }
    pith__parallel(ctx->threads, blocks, norm_back_part, job);
    add_blocks(dweight, job->dweight, blocks, job->width);
    add_blocks(dbias, job->dbias, blocks, job->width);
    return PITH_OK;
}

static pith_status norm_back(const pith__tensor_ctx *ctx, norm_job *job, float *dweight,
                             float *dbias, pith_error *err)
{
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    const pith_status status = run_norm_back(ctx, job, dweight, dbias, err);
    pith__arena_restore(ctx->arena, mark);
    return status;
}

pith_status pith__cpu_rms_norm_back(const pith__tensor_ctx *ctx, const float *x,
                                    const float *weight, const float *dy, size_t rows, size_t width,
                                    float eps, float *dx, float *dweight, pith_error *err)
{
    norm_job job = {
        .x = x, .weight = weight, .dy = dy, .rows = rows, .width = width, .eps = eps, .dx = dx};
    return norm_back(ctx, &job, dweight, NULL, err);
}

pith_status pith__cpu_layer_norm_back(const pith__tensor_ctx *ctx, const float *x,
                                      const float *weight, const float *dy, size_t rows,
                                      size_t width, float eps, float *dx, float *dweight,
                                      float *dbias, pith_error *err)
{
    norm_job job = {.x = x,
                    .weight = weight,
                    .dy = dy,
                    .rows = rows,
                    .width = width,
                    .eps = eps,
                    .centred = true,
                    .dx = dx};
    return norm_back(ctx, &job, dweight, dbias, err);
}

/* ---- SwiGLU -------------------------------------------------------------------------- */

typedef struct swiglu_job {
    const float *gate;
    const float *up;
    float *gate_back; /* gate and up again, where they become gradients */
    float *up_back;
    const float *dy;
    float *y;
    size_t count;
} swiglu_job;

static void swiglu_to_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    const swiglu_job *job = user;
    const part range = part_at(job->count, ELEMENTS, index);
    pith__vector_swiglu_to(job->gate + range.first, job->up + range.first, range.count,
                           job->y + range.first);
}

void pith__cpu_swiglu_to(const pith__tensor_ctx *ctx, const float *gate, const float *up,
                         size_t count, float *y)
{
    swiglu_job job = {.gate = gate, .up = up, .y = y, .count = count};
    pith__parallel(ctx->threads, part_count(count, ELEMENTS), swiglu_to_part, &job);
}

static void swiglu_back_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    const swiglu_job *job = user;
    const part range = part_at(job->count, ELEMENTS, index);
    pith__vector_swiglu_back(job->gate_back + range.first, job->up_back + range.first,
                             job->dy + range.first, range.count);
}

void pith__cpu_swiglu_back(const pith__tensor_ctx *ctx, float *gate, float *up, const float *dy,
                           size_t count)
{
    swiglu_job job = {.gate_back = gate, .up_back = up, .dy = dy, .count = count};
    pith__parallel(ctx->threads, part_count(count, ELEMENTS), swiglu_back_part, &job);
}

/* ---- rotary positions ---------------------------------------------------------------- */

typedef struct rope_job {
    float *x;
    size_t rows;
    size_t heads;
    size_t head_dim;
    size_t pairs;
    const float *cos;
    const float *sin;
} rope_job;

static void rope_back_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    const rope_job *job = user;
    const part rows = part_at(job->rows, ROWS, index);
    for (size_t r = rows.first; r < rows.first + rows.count; r++) {
        for (size_t h = 0; h < job->heads; h++) {
            pith__vector_rotate_back(job->x + (r * job->heads + h) * job->head_dim,
                                     job->cos + r * job->pairs, job->sin + r * job->pairs,
                                     job->pairs);
        }
    }
}

void pith__cpu_rope_back(const pith__tensor_ctx *ctx, float *x, size_t rows, size_t heads,
                         size_t head_dim, size_t pairs, const float *cos, const float *sin)
{
    rope_job job = {x, rows, heads, head_dim, pairs, cos, sin};
    pith__parallel(ctx->threads, part_count(rows, ROWS), rope_back_part, &job);
}
