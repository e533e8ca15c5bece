/*
 * gemm.h: matrix products, the one file that talks to oneDNN behind it.
 *
 * One call runs on one thread: callers cut the work into blocks themselves, so
 * that the result does not depend on the number of threads.
 */
#ifndef PITH_GEMM_H
#define PITH_GEMM_H

#include "base/base.h"

/* c (m, n) = alpha op(a) op(b) + beta c; op(a) is (m, k), op(b) (k, n). */
typedef struct pith__gemm {
    size_t m, n, k;
    size_t lda, ldb, ldc; /* elements from one row, as it is stored, to the next */
    bool transpose_a;     /* a is stored as (k, m) */
    bool transpose_b;     /* b is stored as (n, k) */
    float alpha;
    float beta; /* 0: c is not read */
} pith__gemm;

bool pith__gemm_f32(const pith__gemm *shape, const float *a, const float *b, float *c);

/* c (m, n) = a (m, k) * b (n, k)^T in 32-bit integers, whatever the other members say. */
bool pith__gemm_int8(const pith__gemm *shape, const int8_t *a, const int8_t *b, int32_t *c);

/* See weight_limit in tensor.h. Measured once per process. */
int pith__gemm_int8_limit(void);

#endif /* PITH_GEMM_H */
