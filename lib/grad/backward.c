/*
 * backward.c: the way back: gradients of one pass, layer by layer from the top.
 *
 * `dx` is the gradient of the residual stream: each half of a layer adds what
 * went through it and passes the rest on.
 */
#include "grad/pass.h"

#include <string.h>

typedef struct back {
    pith__pass *p;
    const pith__pass_gradients *g;
    float *dx;     /* (rows, d) */
    float *dn;     /* (rows, d) gradient of a norm's output */
    float *dwide;  /* (rows, ff) gradient of the feed-forward's inside */
    float *dmixed; /* (rows, H) */
    float *dq;     /* (rows, H) */
    float *dk;     /* (prefix + rows, K) */
    float *dv;     /* (prefix + rows, K) */
} back;

static pith_status allocate(back *b, pith_error *err)
{
    const pith__pass *p = b->p;
    const pith__model_config *c = &p->model->config;
    const size_t h = (size_t)c->heads * c->head_dim;
    const size_t k = (size_t)c->kv_heads * c->head_dim;
    const struct {
        float **out;
        size_t rows, width;
    } arrays[] = {
        {&b->dx, p->in.rows, c->width}, {&b->dn, p->in.rows, c->width},
        {&b->dwide, p->in.rows, c->ff}, {&b->dmixed, p->in.rows, h},
        {&b->dq, p->in.rows, h},        {&b->dk, p->keys, k},
        {&b->dv, p->keys, k},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        PITH__TRY(pith__arena_alloc(p->ctx->arena, arrays[i].rows, arrays[i].width * sizeof(float),
                                    arrays[i].out, err));
    }
    return PITH_OK;
}

/* dx += through y = norm(x) with dy = b->dn. */
static pith_status norm_back(const back *b, const float *x, const float *weight, pith_error *err)
{
    const pith__pass *p = b->p;
    const pith__model_config *c = &p->model->config;
    return p->model->ops->rms_norm_back(p->ctx, x, weight, b->dn, p->in.rows, c->width, c->norm_eps,
                                        b->dx, pith__sink_of(&b->g->sink, weight), err);
}

static pith_status feed_forward_back(back *b, size_t l, pith_error *err)
{
    pith__pass *p = b->p;
    const pith__sink *sink = &b->g->sink;
    const pith__layer_kept *kept = &p->layers[l];
    PITH__TRY(pith__linear_backward(p, l, PITH__MATRIX_DOWN, kept->act, b->dx, false, b->dwide,
                                    sink, err));
    p->model->ops->swiglu_back(p->ctx, kept->gate, kept->up, b->dwide,
                               p->in.rows * p->model->config.ff);
    PITH__TRY(pith__linear_backward(p, l, PITH__MATRIX_GATE, kept->n2, kept->gate, false, b->dn,
                                    sink, err));
    PITH__TRY(
        pith__linear_backward(p, l, PITH__MATRIX_UP, kept->n2, kept->up, true, b->dn, sink, err));
    return norm_back(b, kept->mid, p->model->layers[l].ffn_norm, err);
}

/* Gradients of keys and values: the prefix's go out, those that come from outside come in. */
static void exchange_keys(back *b, size_t l)
{
    const pith__pass *p = b->p;
    const pith__pass_gradients *g = b->g;
    const size_t width = (size_t)p->model->config.kv_heads * p->model->config.head_dim;
    const size_t before = p->prefix * width;
    const size_t own = p->in.rows * width;
    if (g->d_prefix_keys != NULL) {
        memcpy(g->d_prefix_keys + l * before, b->dk, before * sizeof(float));
    }
    if (g->d_prefix_values != NULL) {
        memcpy(g->d_prefix_values + l * before, b->dv, before * sizeof(float));
    }
    if (g->d_keys != NULL) {
        p->model->ops->add(p->ctx, b->dk + before, g->d_keys + l * own, own);
    }
    if (g->d_values != NULL) {
        p->model->ops->add(p->ctx, b->dv + before, g->d_values + l * own, own);
    }
}

static pith_status attention_back(back *b, size_t l, pith_error *err)
{
    pith__pass *p = b->p;
    const pith__model_config *c = &p->model->config;
    const pith__tensor_ops *ops = p->model->ops;
    const pith__sink *sink = &b->g->sink;
    const pith__layer_kept *kept = &p->layers[l];
    const size_t own = p->prefix * c->kv_heads * (size_t)c->head_dim;
    PITH__TRY(pith__linear_backward(p, l, PITH__MATRIX_O, kept->mixed, b->dx, false, b->dmixed,
                                    sink, err));
    const pith__masked_attention attention = pith__pass_attention(p, l);
    const pith__masked_attention_back gradients = {
        .d_out = b->dmixed, .dq = b->dq, .dk = b->dk, .dv = b->dv};
    PITH__TRY(ops->masked_attention_back(p->ctx, &attention, &gradients, err));
    exchange_keys(b, l);
    ops->rope_back(p->ctx, b->dq, p->in.rows, c->heads, c->head_dim, c->rope_pairs, p->cos, p->sin);
    ops->rope_back(p->ctx, b->dk + own, p->in.rows, c->kv_heads, c->head_dim, c->rope_pairs, p->cos,
                   p->sin);
    PITH__TRY(
        pith__linear_backward(p, l, PITH__MATRIX_Q, kept->n1, b->dq, false, b->dn, sink, err));
    PITH__TRY(
        pith__linear_backward(p, l, PITH__MATRIX_K, kept->n1, b->dk + own, true, b->dn, sink, err));
    PITH__TRY(
        pith__linear_backward(p, l, PITH__MATRIX_V, kept->n1, b->dv + own, true, b->dn, sink, err));
    return norm_back(b, kept->x, p->model->layers[l].attn_norm, err);
}

/* What the forward pass kept of a layer is used up: with `recompute` it is made again first. */
static pith_status layer_back(back *b, size_t l, pith_error *err)
{
    if (b->p->in.recompute) {
        PITH__TRY(pith__layer_forward(b->p, l, b->p->last, err)); /* `last` has served already */
    }
    PITH__TRY(feed_forward_back(b, l, err));
    return attention_back(b, l, err);
}

static pith_status hidden_back(back *b, pith_error *err)
{
    const pith__pass *p = b->p;
    const size_t count = p->in.rows * p->model->config.width;
    memset(b->dx, 0, count * sizeof *b->dx);
    if (b->g->d_hidden == NULL) {
        return PITH_OK;
    }
    memcpy(b->dn, b->g->d_hidden, count * sizeof *b->dn);
    return norm_back(b, p->last, p->model->output_norm, err);
}

static void embeddings_back(const back *b)
{
    const pith__pass *p = b->p;
    const size_t d = p->model->config.width;
    if (b->g->d_embeddings != NULL) {
        memcpy(b->g->d_embeddings, b->dx, p->in.rows * d * sizeof *b->dx);
    }
    const pith__gguf_tensor *table = &p->model->embedding;
    float *into = table->type != PITH__GGUF_TYPE_F32
                      ? NULL
                      : pith__sink_of(&b->g->sink, (const float *)(const void *)table->data);
    for (size_t r = 0; into != NULL && p->in.ids != NULL && r < p->in.rows; r++) {
        if (p->in.ids[r] != PITH__NO_ID) {
            p->model->ops->add(p->ctx, into + p->in.ids[r] * d, b->dx + r * d, d);
        }
    }
}

static pith_status run(back *b, pith_error *err)
{
    PITH__TRY(allocate(b, err));
    PITH__TRY(hidden_back(b, err));
    for (size_t l = b->p->model->config.layers; l-- > 0;) {
        PITH__TRY(layer_back(b, l, err));
    }
    embeddings_back(b);
    return PITH_OK;
}

pith_status pith__pass_backward(pith__pass *pass, const pith__pass_gradients *gradients,
                                pith_error *err)
{
    back b = {.p = pass, .g = gradients};
    const pith__arena_mark mark = pith__arena_save(pass->ctx->arena);
    const pith_status status = run(&b, err);
    pith__arena_restore(pass->ctx->arena, mark);
    return status;
}
