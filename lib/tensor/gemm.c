/*
 * gemm.c: matrix products through oneDNN.
 */
#include "tensor/gemm.h"

#include <dnnl.h>
#include <omp.h>
#include <stdatomic.h>
#include <string.h>

/*
 * oneDNN takes all threads of OpenMP unless it is called from a parallel region,
 * and cuts sums in another place then. The setting belongs to the calling
 * thread alone.
 */
static int hold_one_thread(void)
{
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    return threads;
}

bool pith__gemm_f32(const pith__gemm *shape, const float *a, const float *b, float *c)
{
    const int threads = hold_one_thread();
    const dnnl_status_t status = dnnl_sgemm(
        shape->transpose_a ? 'T' : 'N', shape->transpose_b ? 'T' : 'N', (dnnl_dim_t)shape->m,
        (dnnl_dim_t)shape->n, (dnnl_dim_t)shape->k, shape->alpha, a, (dnnl_dim_t)shape->lda, b,
        (dnnl_dim_t)shape->ldb, shape->beta, c, (dnnl_dim_t)shape->ldc);
    omp_set_num_threads(threads);
    return status == dnnl_success;
}

bool pith__gemm_int8(const pith__gemm *shape, const int8_t *a, const int8_t *b, int32_t *c)
{
    const int32_t no_offset = 0;
    const int threads = hold_one_thread();
    const dnnl_status_t status =
        dnnl_gemm_s8s8s32('N', 'T', 'F', (dnnl_dim_t)shape->m, (dnnl_dim_t)shape->n,
                          (dnnl_dim_t)shape->k, 1.0f, a, (dnnl_dim_t)shape->lda, 0, b,
                          (dnnl_dim_t)shape->ldb, 0, 0.0f, c, (dnnl_dim_t)shape->ldc, &no_offset);
    omp_set_num_threads(threads);
    return status == dnnl_success;
}

/*
 * Processors without VNNI multiply int8 with an instruction that adds two
 * products in 16 bits and saturates: 127 * 255 * 2 (oneDNN shifts the
 * activations to unsigned) does not fit, 63 * 255 * 2 does. oneDNN says so in
 * its notes on int8 and leaves it to the caller. We ask the processor instead of
 * guessing from its name.
 */
#define PROBE 32

static bool products_are_exact(void)
{
    int8_t a[PROBE * PROBE];
    int8_t b[PROBE * PROBE];
    int32_t c[PROBE * PROBE];
    memset(a, 127, sizeof a);
    memset(b, 127, sizeof b);
    const pith__gemm shape = {
        .m = PROBE, .n = PROBE, .k = PROBE, .lda = PROBE, .ldb = PROBE, .ldc = PROBE};
    return pith__gemm_int8(&shape, a, b, c) && c[0] == PROBE * 127 * 127;
}

int pith__gemm_int8_limit(void)
{
    static atomic_int known; /* 0: not asked yet; racing threads find the same answer */
    int limit = atomic_load(&known);
    if (limit == 0) {
        limit = products_are_exact() ? 127 : 63;
        atomic_store(&known, limit);
    }
    return limit;
}
