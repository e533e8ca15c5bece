/*
 * tensor.h: the arithmetic of a transformer, one function per operation.
 *
 * Matrices are row-major float arrays. A "row" is one token. Every operation is
 * reached through a table of functions, so that another backend is another
 * table and lib/model does not change. The CPU table multiplies with oneDNN.
 *
 * Determinism: work is cut into blocks whose size depends on the shapes alone,
 * and every block is computed by one thread: the result is the same bytes for
 * any number of threads. It may differ between kinds of processors.
 */
#ifndef PITH_TENSOR_H
#define PITH_TENSOR_H

#include "base/base.h"

/*
 * Weights of a linear layer, y = W x, W (rows, cols). Exactly one of the two
 * forms is present. int8: W[i][j] = i8[i * cols + j] * scale[i].
 */
typedef struct pith__matrix {
    size_t rows; /* outputs */
    size_t cols; /* inputs */
    const float *f32;
    const int8_t *i8;
    const float *scale; /* (rows) */
} pith__matrix;

/* Rows of activations, with their int8 form where a matrix will ask for it. */
typedef struct pith__rows {
    size_t count;
    size_t width;
    const float *f32;   /* (count, width) */
    const int8_t *i8;   /* (count, width), or NULL */
    const float *scale; /* (count): f32[r] ~ i8[r] * scale[r] */
} pith__rows;

/* One sequence of an attention pass: `count` queries at the end of `past + count` keys. */
typedef struct pith__attention_span {
    size_t first;   /* row of the first query within q and out */
    size_t count;   /* queries */
    size_t past;    /* keys before the first query's own */
    const float *k; /* (past + count, kv_heads * head_dim) */
    const float *v; /* the same shape */
} pith__attention_span;

typedef struct pith__attention {
    size_t heads;
    size_t kv_heads; /* divides heads; query head h reads key head h / (heads / kv_heads) */
    size_t head_dim;
    float scale;    /* of the dot products, 1 / sqrt(head_dim) */
    const float *q; /* (rows, heads * head_dim) */
    float *out;     /* the same shape */
    const pith__attention_span *spans;
    size_t n_spans;
} pith__attention;

/* c = alpha op(a) op(b) + beta c, row-major; op(a) is (m, k), op(b) (k, n), c (m, n). */
typedef struct pith__product {
    size_t m, n, k;
    bool transpose_a; /* a is stored as (k, m) */
    bool transpose_b; /* b is stored as (n, k) */
    float alpha;
    float beta; /* 0: c is only written, and need not hold numbers before */
} pith__product;

/*
 * Attention under any mask, for training: what differs from pith__attention is
 * that the keys a query sees are given, and that there is a backward pass.
 * Query i sees key j if first[i] <= j < end[i] or, with a matrix, if
 * matrix[i * keys + j] is not 0. A query that sees nothing gives 0, its lse -INFINITY.
 */
typedef struct pith__masked_attention {
    size_t heads;
    size_t kv_heads; /* as above */
    size_t head_dim;
    float scale;
    size_t rows;           /* queries */
    size_t keys;           /* of a prefix, if there is one, then of the rows themselves */
    const float *q;        /* (rows, heads * head_dim) */
    const float *k;        /* (keys, kv_heads * head_dim) */
    const float *v;        /* the same */
    const uint32_t *first; /* (rows) */
    const uint32_t *end;   /* (rows), at most `keys` */
    const uint8_t *matrix; /* (rows, keys), or NULL; first and end are then not looked at */
    float *out;            /* (rows, heads * head_dim) */
    float *lse;            /* (heads, rows) log of the sum of exp(scale q k); backward reads it */
} pith__masked_attention;

/* d loss / d each array of a pith__masked_attention. dq, dk and dv are written, not added to. */
typedef struct pith__masked_attention_back {
    const float *d_out; /* (rows, heads * head_dim) */
    float *dq;          /* the same */
    float *dk;          /* (keys, kv_heads * head_dim) */
    float *dv;          /* the same */
} pith__masked_attention_back;

/* One step of AdamW (Loshchilov & Hutter 2019); bias corrections are 1 - beta^t. */
typedef struct pith__adamw {
    float rate;
    float beta1, beta2, eps;
    float decay; /* value -= rate * decay * value, before the step */
    float correction1, correction2;
    float gradient_scale; /* the gradient is multiplied by it first: clipping, averaging */
} pith__adamw;

/* Where the operations find threads and scratch memory. */
typedef struct pith__tensor_ctx {
    unsigned threads;
    pith__arena *arena; /* scratch is taken and given back within each call */
} pith__tensor_ctx;

typedef struct pith__tensor_ops {
    const char *name;

    /*
     * Largest |value| of int8 weights for which products are exact. 127 where
     * the processor adds int8 products in 32 bits, 63 where it adds pairs of
     * them in 16 bits with saturation.
     */
    int (*weight_limit)(void);

    /* y (x->count, w->rows) = x W^T. An int8 matrix reads x->i8. Fails with E_BACKEND. */
    pith_status (*linear)(const pith__tensor_ctx *ctx, const pith__matrix *w, const pith__rows *x,
                          float *y, pith_error *err);

    /*
     * i8, scale from x: scale[r] = max|x[r]| / 127, to nearest, ties to even. A row
     * with something that is no finite number gets a scale that is none either.
     */
    void (*quantize_rows)(const pith__tensor_ctx *ctx, const float *x, size_t rows, size_t width,
                          int8_t *i8, float *scale);

    /* y[r] = x[r] / sqrt(mean(x[r]^2) + eps) * weight; y may be x. */
    void (*rms_norm)(const pith__tensor_ctx *ctx, const float *x, const float *weight, size_t rows,
                     size_t width, float eps, float *y);

    /*
     * Rotates the pairs (2i, 2i+1) of every head in place, i < pairs.
     * cos, sin (rows, pairs); x (rows, heads * head_dim).
     */
    void (*rope)(const pith__tensor_ctx *ctx, float *x, size_t rows, size_t heads, size_t head_dim,
                 size_t pairs, const float *cos, const float *sin);

    /* Causal softmax attention. Fails with E_MEMORY or E_BACKEND. */
    pith_status (*attention)(const pith__tensor_ctx *ctx, const pith__attention *attention,
                             pith_error *err);

    /* gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i]. */
    void (*swiglu)(const pith__tensor_ctx *ctx, float *gate, const float *up, size_t count);

    /* x[i] += y[i]. */
    void (*add)(const pith__tensor_ctx *ctx, float *x, const float *y, size_t count);

    /*
     * nll[r] = log sum_j exp(W x[r])_j - (W x[r])_{targets[r]}, in nats. Walks the
     * vocabulary in blocks with an online log-sum-exp: the logits never exist as
     * a whole. targets[r] < w->rows. Fails with E_MEMORY or E_BACKEND.
     */
    pith_status (*head_nll)(const pith__tensor_ctx *ctx, const pith__matrix *w, const pith__rows *x,
                            const uint32_t *targets, float *nll, pith_error *err);

    /* ---- training: f32 only. `d` names d loss / d, "+=" what is added to. ---- */

    /* See pith__product. Fails with E_BACKEND. */
    pith_status (*product)(const pith__tensor_ctx *ctx, const pith__product *shape, const float *a,
                           const float *b, float *c, pith_error *err);

    /*
     * dx (rows, width) += , dweight (width) += or NULL. x and weight as in rms_norm.
     * dx must not be dy. Fails with E_MEMORY.
     */
    pith_status (*rms_norm_back)(const pith__tensor_ctx *ctx, const float *x, const float *weight,
                                 const float *dy, size_t rows, size_t width, float eps, float *dx,
                                 float *dweight, pith_error *err);

    /* y[r] = (x[r] - mean) / sqrt(variance + eps) * weight + bias; y may be x. */
    void (*layer_norm)(const pith__tensor_ctx *ctx, const float *x, const float *weight,
                       const float *bias, size_t rows, size_t width, float eps, float *y);

    /* dx += , dweight += , dbias += ; the last two may be NULL. Fails with E_MEMORY. */
    pith_status (*layer_norm_back)(const pith__tensor_ctx *ctx, const float *x, const float *weight,
                                   const float *dy, size_t rows, size_t width, float eps, float *dx,
                                   float *dweight, float *dbias, pith_error *err);

    /* y[i] = silu(gate[i]) * up[i], gate and up unchanged. */
    void (*swiglu_to)(const pith__tensor_ctx *ctx, const float *gate, const float *up, size_t count,
                      float *y);

    /* In place: gate becomes d gate, up becomes d up. */
    void (*swiglu_back)(const pith__tensor_ctx *ctx, float *gate, float *up, const float *dy,
                        size_t count);

    /* Undoes rope: its transpose, which is what gradients go through. Arguments as for rope. */
    void (*rope_back)(const pith__tensor_ctx *ctx, float *x, size_t rows, size_t heads,
                      size_t head_dim, size_t pairs, const float *cos, const float *sin);

    /* Both fail with E_MEMORY or E_BACKEND. */
    pith_status (*masked_attention)(const pith__tensor_ctx *ctx,
                                    const pith__masked_attention *attention, pith_error *err);
    pith_status (*masked_attention_back)(const pith__tensor_ctx *ctx,
                                         const pith__masked_attention *attention,
                                         const pith__masked_attention_back *back, pith_error *err);

    /*
     * Cross-entropy. loss[r] = -ln softmax(logits[r])[targets[r]], in nats; the logits
     * (rows, width) become weight[r] * d loss[r] / d logits[r]. loss may be NULL.
     */
    void (*cross_entropy)(const pith__tensor_ctx *ctx, float *logits, size_t rows, size_t width,
                          const uint32_t *targets, const float *weight, float *loss);

    /*
     * Kullback-Leibler divergence between softmax(logits / temperature) and the teacher's,
     * in nats, times temperature^2 (Hinton 2015). Forward: sum_v p_teacher ln(p_teacher /
     * p_student). Reverse: the two exchanged. The student's logits become weight[r] * d loss[r] /
     * d logits[r]; the teacher's are scratch afterwards. loss may be NULL.
     */
    void (*kl_divergence)(const pith__tensor_ctx *ctx, float *logits, float *teacher, size_t rows,
                          size_t width, float temperature, bool reverse, const float *weight,
                          float *loss);

    /*
     * Forward KL to a teacher of whom the k likeliest entries are known: the rest is one more entry
     * on both sides. ids, probabilities (rows, k), distinct ids per row, their sum below 1.
     */
    void (*kl_top)(const pith__tensor_ctx *ctx, float *logits, size_t rows, size_t width, size_t k,
                   const uint32_t *ids, const float *probabilities, const float *weight,
                   float *loss);

    /* value, m, v (count) in place. */
    void (*adamw)(const pith__tensor_ctx *ctx, const pith__adamw *step, const float *gradient,
                  size_t count, float *value, float *m, float *v);

    /* Sum of x[i]^2 in double, its order given by the count alone. Fails with E_MEMORY. */
    pith_status (*sum_squares)(const pith__tensor_ctx *ctx, const float *x, size_t count,
                               double *out, pith_error *err);
} pith__tensor_ops;

/* The CPU backend. Static storage. */
const pith__tensor_ops *pith__tensor_cpu(void);

/* Largest |w| of a row maps to `limit`; i8 (width), returns the scale. Zero rows get scale 0. */
float pith__tensor_quantize_weights(const float *row, size_t width, int limit, int8_t *i8);

/*
 * For benchmarks: seconds that oneDNN alone takes for y (rows, w->rows) = x W^T, the
 * fastest of `repeat` runs on one thread, in one call, on zeroed memory from
 * `arena`. `int8` chooses the form. Fails with E_MEMORY or E_BACKEND.
 */
PITH_NODISCARD pith_status pith__tensor_gemm_seconds(bool int8, size_t rows, size_t outputs,
                                                     size_t inputs, unsigned repeat,
                                                     pith__arena *arena, double *seconds,
                                                     pith_error *err);

#endif /* PITH_TENSOR_H */
