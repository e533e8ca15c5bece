/*
 * gemm.c: matrix products through oneDNN.
 */
#include "tensor/gemm.h"

#include <dnnl.h>
#include <omp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

/* What a call changes of its thread, to be put back. */
typedef struct hold {
    int threads;
    sigset_t signals;
} hold;

/*
 * oneDNN takes all threads of OpenMP unless it is called from a parallel region, and cuts sums in
 * another place then. The setting belongs to the calling thread alone.
 *
 * Its kernels for AVX-512 (2.6.3) do not keep the stack pointer on the stack: a signal handler
 * that runs while one works, on the same stack, destroys other memory. Signals therefore wait
 * until the product is done, save those that the product itself could raise.
 */
static hold enter(void)
{
    static const int raised_here[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    hold h = {.threads = omp_get_max_threads()};
    sigset_t waiting;
    (void)sigfillset(&waiting);
    for (size_t i = 0; i < sizeof raised_here / sizeof raised_here[0]; i++) {
        (void)sigdelset(&waiting, raised_here[i]);
    }
    (void)pthread_sigmask(SIG_SETMASK, &waiting, &h.signals);
    omp_set_num_threads(1);
    return h;
}

static void leave(const hold *h)
{
    omp_set_num_threads(h->threads);
    (void)pthread_sigmask(SIG_SETMASK, &h->signals, NULL);
}

bool pith__gemm_f32(const pith__gemm *shape, const float *a, const float *b, float *c)
{
    const hold held = enter();
    const dnnl_status_t status = dnnl_sgemm(
        shape->transpose_a ? 'T' : 'N', shape->transpose_b ? 'T' : 'N', (dnnl_dim_t)shape->m,
        (dnnl_dim_t)shape->n, (dnnl_dim_t)shape->k, shape->alpha, a, (dnnl_dim_t)shape->lda, b,
        (dnnl_dim_t)shape->ldb, shape->beta, c, (dnnl_dim_t)shape->ldc);
    leave(&held);
    return status == dnnl_success;
}

bool pith__gemm_int8(const pith__gemm *shape, const int8_t *a, const int8_t *b, int32_t *c)
{
    const int32_t no_offset = 0;
    const hold held = enter();
    const dnnl_status_t status =
        dnnl_gemm_s8s8s32('N', 'T', 'F', (dnnl_dim_t)shape->m, (dnnl_dim_t)shape->n,
                          (dnnl_dim_t)shape->k, 1.0f, a, (dnnl_dim_t)shape->lda, 0, b,
                          (dnnl_dim_t)shape->ldb, 0, 0.0f, c, (dnnl_dim_t)shape->ldc, &no_offset);
    leave(&held);
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
