/*
 * gemm_once.c: the least a program can do that uses oneDNN: one product of two 64 x 64
 * matrices. What starting pith is measured against (startup.c).
 */
#include <dnnl.h>

int main(void)
{
    static float a[64 * 64];
    static float b[64 * 64];
    static float c[64 * 64];
    return dnnl_sgemm('N', 'N', 64, 64, 64, 1.0f, a, 64, b, 64, 0.0f, c, 64) != dnnl_success;
}
