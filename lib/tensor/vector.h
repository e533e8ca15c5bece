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

/* Largest element that is a number; at most -FLT_MAX if there is none (compilers differ). */
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

/* ---- training ------------------------------------------------------------------------ */

float pith__vector_sum(const float *x, size_t count);

/* Sum of the elements above 0. */
float pith__vector_sum_positive(const float *x, size_t count);

float pith__vector_dot(const float *x, const float *y, size_t count);

/* Sum of (x[i] - shift)^2. */
float pith__vector_sum_squares_from(const float *x, float shift, size_t count);

/* Sum of x[i]^2, added up in double. */
double pith__vector_sum_squares_double(const float *x, size_t count);

/* Sum of (x[i] - shift) * y[i] * z[i]. */
float pith__vector_dot3(const float *x, float shift, const float *y, const float *z, size_t count);

/* y[i] = (x[i] - shift) * factor * weight[i] + bias[i]. */
void pith__vector_normalise(const float *x, float shift, float factor, const float *weight,
                            const float *bias, size_t count, float *y);

/* dx[i] += gain * weight[i] * dy[i] + slope * (x[i] - shift) + offset. */
void pith__vector_norm_back(const float *x, const float *weight, const float *dy,
                            const float factors[4], size_t count, float *dx);

/* dweight[i] += gain * (x[i] - shift) * dy[i]. */
void pith__vector_norm_back_weight(const float *x, const float *dy, const float factors[4],
                                   size_t count, float *dweight);

/* What the factors above are. */
enum { NORM_SHIFT, NORM_GAIN, NORM_SLOPE, NORM_OFFSET };

/* y[i] = silu(gate[i]) * up[i]. */
void pith__vector_swiglu_to(const float *gate, const float *up, size_t count, float *y);

/* gate and up become their own gradients. */
void pith__vector_swiglu_back(float *gate, float *up, const float *dy, size_t count);

/* The rotation by the opposite angles. */
void pith__vector_rotate_back(float *x, const float *cos, const float *sin, size_t pairs);

/* x[i] = value where mask[i] is 0. */
void pith__vector_hide(float *x, const uint8_t *mask, float value, size_t count);

/* dp[i] = p[i] * (dp[i] - mean) * scale. */
void pith__vector_softmax_back(const float *p, float mean, float scale, size_t count, float *dp);

/* Two rows of logits and how they become exponents, (x[i] - max) * inverse. */
typedef struct pith__vector_kl {
    float student_max;
    float teacher_max;
    float inverse; /* of the temperature */
} pith__vector_kl;

/*
 * sums: of exp(student), of exp(teacher), of exp(teacher) * (teacher - student), exponents
 * meant. The rows become the two exponentials.
 */
void pith__vector_kl_forward(const pith__vector_kl *kl, size_t count, float *student,
                             float *teacher, float sums[3]);

/*
 * sums: of exp(student), of exp(teacher), of exp(student) * (student - teacher). student becomes
 * its exponential, teacher the difference.
 */
void pith__vector_kl_reverse(const pith__vector_kl *kl, size_t count, float *student,
                             float *teacher, float sums[3]);

/* x[i] = a * x[i] + b * y[i]. */
void pith__vector_blend(float *x, float a, float b, const float *y, size_t count);

/* x[i] = factor * x[i] * (y[i] - shift). */
void pith__vector_multiply_from(float *x, float factor, const float *y, float shift, size_t count);

/* x[i] *= positive above 0, negative elsewhere. */
void pith__vector_scale_signs(float *x, float positive, float negative, size_t count);

/* A pith__adamw, see tensor.h, with what is the same for all elements computed. */
typedef struct pith__vector_adamw {
    float scale;             /* of the gradient */
    float beta1, beta1_rest; /* 1 - beta1 */
    float beta2, beta2_rest;
    float keep;  /* 1 - rate * decay */
    float rate1; /* rate / correction1 */
    float root2; /* 1 / sqrt(correction2) */
    float eps;
} pith__vector_adamw;

void pith__vector_adamw_step(const pith__vector_adamw *step, const float *gradient, size_t count,
                             float *value, float *m, float *v);

#endif /* PITH_VECTOR_H */
