/*
 * muon.c: Nesterov momentum, made orthogonal by a Newton-Schulz iteration.
 */
#include "train/muon.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum {
    ITERATIONS = 5,
    LANES = 8 /* sums that a vector unit can carry side by side */
};

/* x -> a x + b x^3 + c x^5, steep at 0, so that five times suffice (Jordan 2024). */
static const float poly_a = 3.4445f;
static const float poly_b = -4.7750f;
static const float poly_c = 2.0315f;

/* Root mean square of an update of rate 1: what AdamW's usually is (Liu et al. 2025). */
static const double update_rms = 0.2;

pith_status pith__muon_reserve(size_t elements, size_t side, pith__arena *arena,
                               pith__muon_scratch *out, pith_error *err)
{
    size_t square = 0;
    if (__builtin_mul_overflow(side, side, &square)) {
        return pith__fail(err, PITH_E_MEMORY, "out of memory: a square of side %zu", side);
    }
    *out = (pith__muon_scratch){NULL, NULL, NULL, NULL};
    PITH__TRY(pith__arena_alloc(arena, elements, sizeof *out->x, &out->x, err));
    PITH__TRY(pith__arena_alloc(arena, elements, sizeof *out->y, &out->y, err));
    PITH__TRY(pith__arena_alloc(arena, square, sizeof *out->gram, &out->gram, err));
    return pith__arena_alloc(arena, square, sizeof *out->poly, &out->poly, err);
}

/* x <- a x + b (x x^T) x + c (x x^T)^2 x, with the Gram matrix on the smaller side. */
static pith_status iterate(const pith__tensor_ops *ops, const pith__tensor_ctx *ctx, size_t rows,
                           size_t cols, pith__muon_scratch *scratch, pith_error *err)
{
    const bool tall = rows > cols;
    const size_t side = tall ? cols : rows;
    const pith__product gram = {.m = side,
                                .n = side,
                                .k = tall ? rows : cols,
                                .transpose_a = tall,
                                .transpose_b = !tall,
                                .alpha = 1};
    PITH__TRY(ops->product(ctx, &gram, scratch->x, scratch->x, scratch->gram, err));
    memcpy(scratch->poly, scratch->gram, side * side * sizeof *scratch->poly);
    const pith__product square = {.m = side, .n = side, .k = side, .alpha = poly_c, .beta = poly_b};
    PITH__TRY(ops->product(ctx, &square, scratch->gram, scratch->gram, scratch->poly, err));
    for (size_t i = 0; i < side; i++) {
        scratch->poly[i * side + i] += poly_a;
    }
    const pith__product apply = {.m = rows, .n = cols, .k = side, .alpha = 1};
    const float *left = tall ? scratch->x : scratch->poly;
    const float *right = tall ? scratch->poly : scratch->x;
    PITH__TRY(ops->product(ctx, &apply, left, right, scratch->y, err));
    float *before = scratch->x;
    scratch->x = scratch->y;
    scratch->y = before;
    return PITH_OK;
}

pith_status pith__muon_orthogonalise(const pith__tensor_ops *ops, const pith__tensor_ctx *ctx,
                                     size_t rows, size_t cols, double norm,
                                     pith__muon_scratch *scratch, pith_error *err)
{
    const size_t count = rows * cols;
    if (norm < (double)FLT_MIN) { /* below it, 1 / norm is no float */
        memset(scratch->x, 0, count * sizeof *scratch->x);
        return PITH_OK;
    }
    const float inverse = (float)(1 / norm);
    for (size_t i = 0; i < count; i++) {
        scratch->x[i] *= inverse;
    }
    for (int i = 0; i < ITERATIONS; i++) {
        PITH__TRY(iterate(ops, ctx, rows, cols, scratch, err));
    }
    return PITH_OK;
}

/* Adds the gradient to the momentum and writes Nesterov's look ahead to u. Returns the sum of u^2. */
static double accumulate(const pith__muon *muon, const float *gradient, size_t count,
                         float *momentum, float *u)
{
    const float beta = muon->momentum;
    const float scale = muon->gradient_scale;
    double sums[LANES] = {0};
    for (size_t start = 0; start < count; start += LANES) {
        const size_t lanes = count - start < LANES ? count - start : LANES;
        for (size_t lane = 0; lane < lanes; lane++) {
            const size_t i = start + lane;
            const float g = scale * gradient[i];
            momentum[i] = beta * momentum[i] + g;
            u[i] = g + beta * momentum[i];
            sums[lane] += (double)u[i] * (double)u[i];
        }
    }
    double sum = 0;
    for (size_t lane = 0; lane < LANES; lane++) {
        sum += sums[lane];
    }
    return sum;
}

pith_status pith__muon_update(const pith__muon *muon, const pith__tensor_ctx *ctx, size_t rows,
                              size_t cols, const float *gradient, float *value, float *momentum,
                              pith__muon_scratch *scratch, pith_error *err)
{
    const size_t count = rows * cols;
    const double norm = sqrt(accumulate(muon, gradient, count, momentum, scratch->x));
    PITH__TRY(pith__muon_orthogonalise(muon->ops, ctx, rows, cols, norm, scratch, err));
    const size_t larger = rows > cols ? rows : cols;
    const float step = (float)((double)muon->rate * update_rms * sqrt((double)larger));
    const float keep = 1 - muon->rate * muon->decay;
    for (size_t i = 0; i < count; i++) {
        value[i] = keep * value[i] - step * scratch->x[i];
    }
    return PITH_OK;
}
