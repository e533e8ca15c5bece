/*
 * probe.c: how fast oneDNN multiplies on its own: what our rates are measured against.
 */
#include "tensor/gemm.h"
#include "tensor/tensor.h"

#include <math.h>

static pith_status measure(bool int8, const pith__gemm *shape, unsigned repeat, pith__arena *arena,
                           double *seconds, pith_error *err)
{
    const size_t element = int8 ? sizeof(int8_t) : sizeof(float);
    void *a = NULL;
    void *b = NULL;
    void *c = NULL;
    PITH__TRY(pith__arena_alloc_zero(arena, shape->m, shape->k * element, &a, err));
    PITH__TRY(pith__arena_alloc_zero(arena, shape->n, shape->k * element, &b, err));
    PITH__TRY(pith__arena_alloc_zero(arena, shape->m, shape->n * sizeof(float), &c, err));
    *seconds = HUGE_VAL;
    for (unsigned i = 0; i <= repeat; i++) { /* the first run compiles the kernel */
        const double start = pith__seconds();
        const bool ok = int8 ? pith__gemm_int8(shape, a, b, c) : pith__gemm_f32(shape, a, b, c);
        const double taken = pith__seconds() - start;
        if (!ok) {
            return pith__fail(err, PITH_E_BACKEND, "oneDNN refused a product");
        }
        if (i > 0 && taken < *seconds) {
            *seconds = taken;
        }
    }
    return PITH_OK;
}

pith_status pith__tensor_gemm_seconds(bool int8, size_t rows, size_t outputs, size_t inputs,
                                      unsigned repeat, pith__arena *arena, double *seconds,
                                      pith_error *err)
{
    const pith__gemm shape = {.m = rows,
                              .n = outputs,
                              .k = inputs,
                              .lda = inputs,
                              .ldb = inputs,
                              .ldc = outputs,
                              .transpose_b = true,
                              .alpha = 1.0f};
    const pith__arena_mark mark = pith__arena_save(arena);
    const pith_status status = measure(int8, &shape, repeat, arena, seconds, err);
    pith__arena_restore(arena, mark);
    return status;
}
