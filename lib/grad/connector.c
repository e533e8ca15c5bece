/*
 * connector.c: a linear layer and a LayerNorm behind the model, and their way back.
 */
#include "grad/grad.h"

#include <string.h>

pith_status pith__connector_forward(const pith__connector *connector, const pith__tensor_ops *ops,
                                    const pith__tensor_ctx *ctx, const float *h, size_t n,
                                    float *linear, float *z, pith_error *err)
{
    const size_t d = connector->width;
    float *y = linear != NULL ? linear : z;
    for (size_t r = 0; r < n; r++) {
        memcpy(y + r * d, connector->bias, d * sizeof *y);
    }
    if (n > 0) {
        const pith__product shape = {
            .m = n, .n = d, .k = d, .transpose_b = true, .alpha = 1.0f, .beta = 1.0f};
        PITH__TRY(ops->product(ctx, &shape, h, connector->matrix, y, err));
    }
    if (connector->gain != NULL) {
        ops->layer_norm(ctx, y, connector->gain, connector->shift, n, d, connector->eps, z);
    } else if (y != z) {
        memcpy(z, y, n * d * sizeof *z);
    }
    return PITH_OK;
}

/* From d_z to the gradient of W h + b, which is d_z itself without a norm. */
static pith_status norm_back(const pith__connector *connector, const pith__tensor_ops *ops,
                             const pith__tensor_ctx *ctx, const float *linear, const float *d_z,
                             size_t n, const pith__sink *sink, const float **out, pith_error *err)
{
    *out = d_z;
    if (connector->gain == NULL) {
        return PITH_OK;
    }
    float *d_linear = NULL;
    PITH__TRY(
        pith__arena_alloc_zero(ctx->arena, n, connector->width * sizeof *d_linear, &d_linear, err));
    *out = d_linear;
    return ops->layer_norm_back(ctx, linear, connector->gain, d_z, n, connector->width,
                                connector->eps, d_linear, pith__sink_of(sink, connector->gain),
                                pith__sink_of(sink, connector->shift), err);
}

static pith_status back(const pith__connector *connector, const pith__tensor_ops *ops,
                        const pith__tensor_ctx *ctx, const float *h, const float *linear,
                        const float *d_z, size_t n, const pith__sink *sink, float *d_h,
                        pith_error *err)
{
    const size_t d = connector->width;
    const float *d_linear = NULL;
    PITH__TRY(norm_back(connector, ops, ctx, linear, d_z, n, sink, &d_linear, err));
    float *d_bias = pith__sink_of(sink, connector->bias);
    for (size_t r = 0; d_bias != NULL && r < n; r++) {
        ops->add(ctx, d_bias, d_linear + r * d, d);
    }
    float *d_matrix = pith__sink_of(sink, connector->matrix);
    if (d_matrix != NULL) {
        const pith__product outer = {
            .m = d, .n = d, .k = n, .transpose_a = true, .alpha = 1.0f, .beta = 1.0f};
        PITH__TRY(ops->product(ctx, &outer, d_linear, h, d_matrix, err));
    }
    const pith__product through = {.m = n, .n = d, .k = d, .alpha = 1.0f};
    return ops->product(ctx, &through, d_linear, connector->matrix, d_h, err);
}

pith_status pith__connector_backward(const pith__connector *connector, const pith__tensor_ops *ops,
                                     const pith__tensor_ctx *ctx, const float *h,
                                     const float *linear, const float *d_z, size_t n,
                                     const pith__sink *sink, float *d_h, pith_error *err)
{
    if (n == 0) {
        return PITH_OK;
    }
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    const pith_status status = back(connector, ops, ctx, h, linear, d_z, n, sink, d_h, err);
    pith__arena_restore(ctx->arena, mark);
    return status;
}
