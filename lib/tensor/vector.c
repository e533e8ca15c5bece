/*
 * vector.c: the element-wise loops, in plain C that the compiler vectorises.
 *
 * `omp simd reduction` lets a sum be split over the lanes of a register: its
 * order then depends on the kind of processor, never on the threads.
 */
#include "tensor/vector.h"

#include <math.h>
#include <string.h>

/* Integers where floats are: what a GEMM left there, or the floats' own bits. */
typedef int32_t int32_alias __attribute__((may_alias));

/*
 * exp(x) for x <= 88, relative error below 3e-7: 2^n * p(r), n = round(x / ln 2),
 * |r| <= ln 2 / 2. ln 2 is split in two so that n * ln 2 is exact enough to subtract
 * (Cody and Waite); the polynomial is the Taylor series to the sixth power, whose
 * remainder at -ln 2 / 2 is 1.7e-7 of the result, about one step of a float.
 * Below -87 the result would be subnormal: it becomes exp(-87), 1.6e-38, which no
 * sum of ours can see.
 */
static inline float exp_fast(float x)
{
    const float log2e = 1.44269504f;
    const float ln2_high = 0.693359375f;
    const float ln2_low = -2.12194440e-4f;
    const float shift = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */

    x = x > -87.0f ? x : -87.0f; /* NaN, which a damaged model can give, too */
    const float n = (x * log2e + shift) - shift;
    const float r = (x - n * ln2_high) - n * ln2_low;
    float p = 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    const uint32_t bits = (uint32_t)((int32_t)n + 127) << 23;
    float power = 0.0f;
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

PITH__VECTOR float pith__vector_exp_sum(const float *x, float shift, size_t count, float *y)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++) {
        const float e = exp_fast(x[i] - shift);
        y[i] = e;
        sum += e;
    }
    return sum;
}

PITH__VECTOR float pith__vector_exp_sum_only(const float *x, float shift, size_t count)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++) {
        sum += exp_fast(x[i] - shift);
    }
    return sum;
}

PITH__VECTOR float pith__vector_max(const float *x, size_t count)
{
    float max = -INFINITY; /* not x[0], which may be NaN */
#pragma omp simd reduction(max : max)
    for (size_t i = 0; i < count; i++) {
        max = x[i] > max ? x[i] : max;
    }
    return max;
}

PITH__VECTOR float pith__vector_max_abs(const float *x, size_t count)
{
    const int32_alias *bits = (const int32_alias *)x;
    int32_t max = 0; /* without their sign, floats are ordered like their bits, NaN the largest */
#pragma omp simd reduction(max : max)
    for (size_t i = 0; i < count; i++) {
        const int32_t a = bits[i] & INT32_MAX;
        max = a > max ? a : max;
    }
    float result = 0.0f;
    memcpy(&result, &max, sizeof result);
    return result;
}

PITH__VECTOR float pith__vector_sum_squares(const float *x, size_t count)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++) {
        sum += x[i] * x[i];
    }
    return sum;
}

PITH__VECTOR void pith__vector_scale(float *x, float factor, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        x[i] *= factor;
    }
}

PITH__VECTOR void pith__vector_scale_by(const float *x, float factor, const float *weight,
                                        size_t count, float *y)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        y[i] = x[i] * factor * weight[i];
    }
}

PITH__VECTOR void pith__vector_rescale(float *x, float row_scale, const float *scale, size_t count)
{
    const int32_alias *integers = (const int32_alias *)x;
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)integers[i] * (row_scale * scale[i]);
    }
}

PITH__VECTOR void pith__vector_to_int8(const float *x, float factor, size_t count, int8_t *i8)
{
    const float shift = 12582912.0f; /* rounds to nearest, ties to even, as in exp_fast() */
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        const float rounded = (x[i] * factor + shift) - shift;
        const float low = rounded > -127.0f ? rounded : -127.0f; /* NaN too */
        i8[i] = (int8_t)(int32_t)(low < 127.0f ? low : 127.0f);
    }
}

PITH__VECTOR void pith__vector_swiglu(float *gate, const float *up, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        const float g = gate[i];
        const float bounded = -g > 88.0f ? 88.0f : -g;
        gate[i] = g / (1.0f + exp_fast(bounded)) * up[i];
    }
}

PITH__VECTOR void pith__vector_add(float *x, const float *y, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        x[i] += y[i];
    }
}

PITH__VECTOR void pith__vector_rotate(float *x, const float *cos, const float *sin, size_t pairs)
{
#pragma omp simd
    for (size_t i = 0; i < pairs; i++) {
        const float a = x[2 * i];
        const float b = x[2 * i + 1];
        x[2 * i] = a * cos[i] - b * sin[i];
        x[2 * i + 1] = a * sin[i] + b * cos[i];
    }
}

/* ---- training ------------------------------------------------------------------------ */

PITH__VECTOR float pith__vector_sum(const float *x, size_t count)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++) {
        sum += x[i];
    }
    return sum;
}

PITH__VECTOR float pith__vector_sum_positive(const float *x, size_t count)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++) {
        sum += x[i] > 0.0f ? x[i] : 0.0f;
    }
    return sum;
}

PITH__VECTOR float pith__vector_dot(const float *x, const float *y, size_t count)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++) {
        sum += x[i] * y[i];
    }
    return sum;
}

PITH__VECTOR float pith__vector_sum_squares_from(const float *x, float shift, size_t count)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++) {
        sum += (x[i] - shift) * (x[i] - shift);
    }
    return sum;
}

PITH__VECTOR double pith__vector_sum_squares_double(const float *x, size_t count)
{
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sum;
}

PITH__VECTOR float pith__vector_dot3(const float *x, float shift, const float *y, const float *z,
                                     size_t count)
{
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < count; i++) {
        sum += (x[i] - shift) * (y[i] * z[i]);
    }
    return sum;
}

PITH__VECTOR void pith__vector_normalise(const float *x, float shift, float factor,
                                         const float *weight, const float *bias, size_t count,
                                         float *y)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        y[i] = (x[i] - shift) * factor * weight[i] + bias[i];
    }
}

PITH__VECTOR void pith__vector_norm_back(const float *x, const float *weight, const float *dy,
                                         const float factors[4], size_t count, float *dx)
{
    const float shift = factors[NORM_SHIFT];
    const float gain = factors[NORM_GAIN];
    const float slope = factors[NORM_SLOPE];
    const float offset = factors[NORM_OFFSET];
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        dx[i] += gain * (weight[i] * dy[i]) + (slope * (x[i] - shift) + offset);
    }
}

PITH__VECTOR void pith__vector_norm_back_weight(const float *x, const float *dy,
                                                const float factors[4], size_t count,
                                                float *dweight)
{
    const float shift = factors[NORM_SHIFT];
    const float gain = factors[NORM_GAIN];
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        dweight[i] += gain * (x[i] - shift) * dy[i];
    }
}

static inline float sigmoid_fast(float x)
{
    const float bounded = -x > 88.0f ? 88.0f : -x;
    return 1.0f / (1.0f + exp_fast(bounded));
}

PITH__VECTOR void pith__vector_swiglu_to(const float *gate, const float *up, size_t count, float *y)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        y[i] = gate[i] * sigmoid_fast(gate[i]) * up[i];
    }
}

PITH__VECTOR void pith__vector_swiglu_back(float *gate, float *up, const float *dy, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        const float g = gate[i];
        const float s = sigmoid_fast(g);
        gate[i] = dy[i] * up[i] * s * (1.0f + g * (1.0f - s));
        up[i] = dy[i] * g * s;
    }
}

PITH__VECTOR void pith__vector_rotate_back(float *x, const float *cos, const float *sin,
                                           size_t pairs)
{
#pragma omp simd
    for (size_t i = 0; i < pairs; i++) {
        const float a = x[2 * i];
        const float b = x[2 * i + 1];
        x[2 * i] = a * cos[i] + b * sin[i];
        x[2 * i + 1] = b * cos[i] - a * sin[i];
    }
}

PITH__VECTOR void pith__vector_hide(float *x, const uint8_t *mask, float value, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        x[i] = mask[i] != 0 ? x[i] : value;
    }
}

PITH__VECTOR void pith__vector_softmax_back(const float *p, float mean, float scale, size_t count,
                                            float *dp)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        dp[i] = p[i] * (dp[i] - mean) * scale;
    }
}

PITH__VECTOR void pith__vector_kl_forward(const pith__vector_kl *kl, size_t count, float *student,
                                          float *teacher, float sums[3])
{
    const pith__vector_kl of = *kl;
    float student_sum = 0.0f;
    float teacher_sum = 0.0f;
    float product = 0.0f;
#pragma omp simd reduction(+ : student_sum, teacher_sum, product)
    for (size_t i = 0; i < count; i++) {
        const float s = (student[i] - of.student_max) * of.inverse;
        const float t = (teacher[i] - of.teacher_max) * of.inverse;
        const float exp_s = exp_fast(s);
        const float exp_t = exp_fast(t);
        student_sum += exp_s;
        teacher_sum += exp_t;
        product += exp_t * (t - s);
        student[i] = exp_s;
        teacher[i] = exp_t;
    }
    sums[0] = student_sum;
    sums[1] = teacher_sum;
    sums[2] = product;
}

PITH__VECTOR void pith__vector_kl_reverse(const pith__vector_kl *kl, size_t count, float *student,
                                          float *teacher, float sums[3])
{
    const pith__vector_kl of = *kl;
    float student_sum = 0.0f;
    float teacher_sum = 0.0f;
    float product = 0.0f;
#pragma omp simd reduction(+ : student_sum, teacher_sum, product)
    for (size_t i = 0; i < count; i++) {
        const float s = (student[i] - of.student_max) * of.inverse;
        const float t = (teacher[i] - of.teacher_max) * of.inverse;
        const float exp_s = exp_fast(s);
        student_sum += exp_s;
        teacher_sum += exp_fast(t);
        product += exp_s * (s - t);
        student[i] = exp_s;
        teacher[i] = s - t;
    }
    sums[0] = student_sum;
    sums[1] = teacher_sum;
    sums[2] = product;
}

PITH__VECTOR void pith__vector_blend(float *x, float a, float b, const float *y, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        x[i] = a * x[i] + b * y[i];
    }
}

PITH__VECTOR void pith__vector_multiply_from(float *x, float factor, const float *y, float shift,
                                             size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        x[i] = factor * x[i] * (y[i] - shift);
    }
}

PITH__VECTOR void pith__vector_scale_signs(float *x, float positive, float negative, size_t count)
{
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        x[i] *= x[i] > 0.0f ? positive : negative;
    }
}

PITH__VECTOR void pith__vector_adamw_step(const pith__vector_adamw *step, const float *gradient,
                                          size_t count, float *value, float *m, float *v)
{
    const pith__vector_adamw s = *step;
#pragma omp simd
    for (size_t i = 0; i < count; i++) {
        const float g = gradient[i] * s.scale;
        const float mean = s.beta1 * m[i] + s.beta1_rest * g;
        const float square = s.beta2 * v[i] + s.beta2_rest * g * g;
        m[i] = mean;
        v[i] = square;
        value[i] = s.keep * value[i] - s.rate1 * mean / (sqrtf(square) * s.root2 + s.eps);
    }
}
