/*
 * pass.h: what the files of this folder share.
 */
#ifndef PITH_PASS_H
#define PITH_PASS_H

#include "grad/grad.h"

/* What the backward pass of one layer needs. H = heads * head_dim, K = kv_heads * head_dim. */
typedef struct pith__layer_kept {
    float *x;     /* (rows, d) input */
    float *n1;    /* (rows, d) its norm */
    float *q;     /* (rows, H) rotated */
    float *k;     /* (prefix + rows, K) rotated */
    float *v;     /* (prefix + rows, K) */
    float *mixed; /* (rows, H) what attention gave */
    float *lse;   /* (heads, rows) */
    float *mid;   /* (rows, d) x + O mixed */
    float *n2;    /* (rows, d) its norm */
    float *gate;  /* (rows, ff) */
    float *up;    /* (rows, ff) */
    float *act;   /* (rows, ff) silu(gate) * up */
} pith__layer_kept;

struct pith__pass {
    const pith__model *model;
    const pith__tensor_ctx *ctx;
    pith__pass_input in;
    size_t prefix;            /* tokens */
    size_t keys;              /* prefix + rows */
    uint32_t *first, *end;    /* (rows) keys that are seen, unless there is a matrix */
    const uint8_t *matrix;    /* (rows, keys), or NULL */
    float *cos, *sin;         /* (rows, rope_pairs) */
    pith__layer_kept *layers; /* (layers); with recompute all but x are one layer's */
    float *last;              /* (rows, d) output of the last layer */
    float *hidden;            /* (rows, d) its norm */
};

size_t pith__block_matrix_rows(const pith__model_config *config, pith__block_matrix matrix);
size_t pith__block_matrix_cols(const pith__model_config *config, pith__block_matrix matrix);

/* Rows [first, end) that each of the rows sees. E_ARGUMENT: a matrix, or a rule that does not fit. */
PITH_NODISCARD pith_status pith__mask_intervals(const pith__mask *mask, size_t rows,
                                                uint32_t *first, uint32_t *end, pith_error *err);

/* y = or (add) += W x + adapter; x (rows, inputs), y (rows, outputs). */
PITH_NODISCARD pith_status pith__linear_forward(pith__pass *p, size_t layer, pith__block_matrix m,
                                                const float *x, bool add, float *y,
                                                pith_error *err);

/* dx = or (add) += W^T dy + adapter's; gradients of weights and factors that lie in the sink. */
PITH_NODISCARD pith_status pith__linear_backward(pith__pass *p, size_t layer, pith__block_matrix m,
                                                 const float *x, const float *dy, bool add,
                                                 float *dx, const pith__sink *sink,
                                                 pith_error *err);

/* What attention of layer `l` works on. */
pith__masked_attention pith__pass_attention(const pith__pass *p, size_t l);

/* Rows whose logits exist at once. */
size_t pith__loss_block_rows(size_t vocabulary);

/* From layers[l].x to the next layer's input `y`, keeping what the way back needs. */
PITH_NODISCARD pith_status pith__layer_forward(pith__pass *p, size_t l, float *y, pith_error *err);

#endif /* PITH_PASS_H */
