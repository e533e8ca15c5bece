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
