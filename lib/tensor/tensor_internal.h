/*
 * tensor_internal.h: what the files of the CPU backend share: how work is cut, and
 * the training operations that cpu.c puts into its table.
 */
#ifndef PITH_TENSOR_INTERNAL_H
#define PITH_TENSOR_INTERNAL_H

#include "tensor/tensor.h"

/* Elements per block of an element-wise operation: large against the cost of a thread switch. */
#define ELEMENTS 65536

/* Rows per block of a row-wise operation. */
#define ROWS 32

/* [first, first + count) of `total`, cut into blocks of even size, 1 to `block`. */
typedef struct part {
    size_t first;
    size_t count;
} part;

static inline size_t part_count(size_t total, size_t block)
{
    return (total + block - 1) / block;
}

static inline part part_at(size_t total, size_t block, size_t index)
{
    const size_t parts = part_count(total, block);
    const size_t size = (total + parts - 1) / parts;
    const size_t first = index * size;
    return (part){first, total - first < size ? total - first : size};
}

/* Workers that `parts` blocks of work can keep busy: scratch memory for more would be waste. */
static inline size_t worker_count(const pith__tensor_ctx *ctx, size_t parts)
{
    const size_t threads = ctx->threads == 0 ? 1 : ctx->threads;
    return threads < parts ? threads : parts;
}

/* ---- the operations of tensor.h under the same names, by file --------------------- */

/* backward.c */
pith_status pith__cpu_product(const pith__tensor_ctx *ctx, const pith__product *shape,
                              const float *a, const float *b, float *c, pith_error *err);
pith_status pith__cpu_rms_norm_back(const pith__tensor_ctx *ctx, const float *x,
                                    const float *weight, const float *dy, size_t rows, size_t width,
                                    float eps, float *dx, float *dweight, pith_error *err);
void pith__cpu_layer_norm(const pith__tensor_ctx *ctx, const float *x, const float *weight,
                          const float *bias, size_t rows, size_t width, float eps, float *y);
pith_status pith__cpu_layer_norm_back(const pith__tensor_ctx *ctx, const float *x,
                                      const float *weight, const float *dy, size_t rows,
                                      size_t width, float eps, float *dx, float *dweight,
                                      float *dbias, pith_error *err);
void pith__cpu_swiglu_to(const pith__tensor_ctx *ctx, const float *gate, const float *up,
                         size_t count, float *y);
void pith__cpu_swiglu_back(const pith__tensor_ctx *ctx, float *gate, float *up, const float *dy,
                           size_t count);
void pith__cpu_rope_back(const pith__tensor_ctx *ctx, float *x, size_t rows, size_t heads,
                         size_t head_dim, size_t pairs, const float *cos, const float *sin);

/* masked.c */
pith_status pith__cpu_masked_attention(const pith__tensor_ctx *ctx,
                                       const pith__masked_attention *attention, pith_error *err);
pith_status pith__cpu_masked_attention_back(const pith__tensor_ctx *ctx,
                                            const pith__masked_attention *attention,
                                            const pith__masked_attention_back *back,
                                            pith_error *err);

/* losses.c */
void pith__cpu_cross_entropy(const pith__tensor_ctx *ctx, float *logits, size_t rows, size_t width,
                             const uint32_t *targets, const float *weight, float *loss);
void pith__cpu_kl_divergence(const pith__tensor_ctx *ctx, float *logits, float *teacher,
                             size_t rows, size_t width, float temperature, bool reverse,
                             const float *weight, float *loss);
void pith__cpu_kl_top(const pith__tensor_ctx *ctx, float *logits, size_t rows, size_t width,
                      size_t k, const uint32_t *ids, const float *probabilities,
                      const float *weight, float *loss);

/* optimise.c */
void pith__cpu_adamw(const pith__tensor_ctx *ctx, const pith__adamw *step, const float *gradient,
                     size_t count, float *value, float *m, float *v);
pith_status pith__cpu_sum_squares(const pith__tensor_ctx *ctx, const float *x, size_t count,
                                  double *out, pith_error *err);

#endif /* PITH_TENSOR_INTERNAL_H */
