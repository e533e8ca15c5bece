/*
 * vector.h: how the element-wise loops of this folder are compiled.
 */
#ifndef PITH_VECTOR_H
#define PITH_VECTOR_H

#include "base/base.h"

/*
 * gcc compiles the marked function once for each kind of processor and picks at
 * start-up. Not under sanitizers, which instrument code that runs before they do.
 */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && !defined(PITH_SANITIZED)
#define PITH__VECTOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define PITH__VECTOR
#endif

/* Sum of exp(x[i] - shift), and the exponentials themselves in y (may be x). */
float pith__vector_exp_sum(const float *x, float shift, size_t count, float *y);

/* The same sum without storing. */
float pith__vector_exp_sum_only(const float *x, float shift, size_t count);

/* Largest element that is a number; -INFINITY if there is none. */
float pith__vector_max(const float *x, size_t count);

/* x[i] *= factor. */
void pith__vector_scale(float *x, float factor, size_t count);

/* In place: 32-bit integers become floats, x[j] = (float)integer[j] * row_scale * scale[j]. */
void pith__vector_rescale(float *x, float row_scale, const float *scale, size_t count);

/* y[i] = x[i] * factor * weight[i]. */
void pith__vector_scale_by(const float *x, float factor, const float *weight, size_t count,
                           float *y);

float pith__vector_sum_squares(const float *x, size_t count);

/* Largest |x[i]|; NaN if one of them is. */
float pith__vector_max_abs(const float *x, size_t count);

/* i8[i] = round(x[i] * factor), ties to even, bounded to +-127; NaN becomes -127. */
void pith__vector_to_int8(const float *x, float factor, size_t count, int8_t *i8);

void pith__vector_swiglu(float *gate, const float *up, size_t count);

void pith__vector_add(float *x, const float *y, size_t count);

/* Rotates `pairs` neighbouring pairs of x in place. */
void pith__vector_rotate(float *x, const float *cos, const float *sin, size_t pairs);

#endif /* PITH_VECTOR_H */
