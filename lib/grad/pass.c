/*
 * pass.c: the forward pass of training.
 *
 *     h = embeddings
 *     per layer:  h += O attention(rope(Q n), rope(K n), V n)   with n = norm(h)
 *                 h += D (silu(G n) * U n)                      with n = norm(h)
 *     hidden = norm(h)
 */
#include "grad/pass.h"

#include <math.h>
#include <string.h>

float *pith__sink_of(const pith__sink *sink, const float *tensor)
{
    const uintptr_t at = (uintptr_t)tensor;
    const uintptr_t first = (uintptr_t)sink->values;
    if (sink->gradients == NULL || at < first || at >= first + sink->count * sizeof(float)) {
        return NULL;
    }
    return sink->gradients + (at - first) / sizeof(float);
}

/* ---- masks --------------------------------------------------------------------------------- */

static pith_status gist_intervals(const pith__mask *mask, size_t rows, uint32_t *first,
                                  uint32_t *end, pith_error *err)
{
    if (mask->gist_first > mask->gist_last || mask->gist_last >= rows) {
        return pith__fail(err, PITH_E_ARGUMENT, "gist tokens from row %zu to %zu of %zu",
                          mask->gist_first, mask->gist_last, rows);
    }
    const size_t visible = mask->rule == PITH__MASK_GIST ? mask->gist_first : mask->gist_last + 1;
    for (size_t i = 0; i < rows; i++) {
        first[i] = i > mask->gist_last ? (uint32_t)visible : 0;
        end[i] = (uint32_t)(i + 1);
    }
    return PITH_OK;
}

static pith_status given_intervals(const pith__mask *mask, size_t rows, uint32_t *first,
                                   uint32_t *end, pith_error *err)
{
    if (mask->first == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "mask rule FIRST without the first rows");
    }
    for (size_t i = 0; i < rows; i++) {
        if (mask->first[i] > i) {
            return pith__fail(err, PITH_E_ARGUMENT, "row %zu is to see rows from %u on", i,
                              mask->first[i]);
        }
        first[i] = mask->first[i];
        end[i] = (uint32_t)(i + 1);
    }
    return PITH_OK;
}

pith_status pith__mask_intervals(const pith__mask *mask, size_t rows, uint32_t *first,
                                 uint32_t *end, pith_error *err)
{
    if (mask->rule == PITH__MASK_GIST || mask->rule == PITH__MASK_GIST_NEGATIVE) {
        return gist_intervals(mask, rows, first, end, err);
    }
    if (mask->rule == PITH__MASK_FIRST) {
        return given_intervals(mask, rows, first, end, err);
    }
    const bool packed = mask->rule == PITH__MASK_DOCUMENTS;
    if (packed ? mask->documents == NULL : mask->rule != PITH__MASK_CAUSAL) {
        return pith__fail(err, PITH_E_ARGUMENT, "mask rule %d lacks what it needs",
                          (int)mask->rule);
    }
    size_t start = 0;
    for (size_t i = 0; i < rows; i++) {
        if (packed && i > 0 && mask->documents[i] != mask->documents[i - 1]) {
            start = i;
        }
        first[i] = (uint32_t)start;
        end[i] = (uint32_t)(i + 1);
    }
    return PITH_OK;
}

/* The whole prefix and a later range: two intervals, for which there are only matrices. */
static pith_status prefix_matrix(pith__pass *p, pith_error *err)
{
    uint8_t *matrix = NULL;
    PITH__TRY(pith__arena_alloc_zero(p->ctx->arena, p->in.rows, p->keys, &matrix, err));
    for (size_t r = 0; r < p->in.rows; r++) {
        uint8_t *row = matrix + r * p->keys;
        memset(row, 1, p->prefix);
        memset(row + p->prefix + p->first[r], 1, p->end[r] - p->first[r]);
    }
    p->matrix = matrix;
    return PITH_OK;
}

static pith_status place_mask(pith__pass *p, pith_error *err)
{
    const pith__mask *mask = &p->in.mask;
    if (mask->rule == PITH__MASK_MATRIX) {
        p->matrix = mask->matrix;
        return PITH_OK;
    }
    PITH__TRY(pith__mask_intervals(mask, p->in.rows, p->first, p->end, err));
    if (p->prefix != 0 && mask->rule != PITH__MASK_CAUSAL) {
        return prefix_matrix(p, err);
    }
    for (size_t r = 0; r < p->in.rows; r++) {
        p->end[r] += (uint32_t)p->prefix;
    }
    return PITH_OK;
}

/* ---- setting up ----------------------------------------------------------------------------- */

static pith_status check(const pith__model *model, const pith__pass_input *in, pith_error *err)
{
    if (model->precision != PITH_PRECISION_F32) {
        return pith__fail(err, PITH_E_ARGUMENT, "training needs a model in f32");
    }
    const size_t prefix = in->prefix == NULL ? 0 : in->prefix->count;
    if (in->rows == 0 || in->rows + prefix > UINT32_MAX) {
        return pith__fail(err, PITH_E_ARGUMENT, "a pass over %zu rows", in->rows);
    }
    if (in->mask.rule == PITH__MASK_MATRIX && in->mask.matrix == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "mask rule MATRIX without a matrix");
    }
    if (in->lora != NULL && in->lora->layers != model->config.layers) {
        return pith__fail(err, PITH_E_ARGUMENT, "an adapter of %u layers for a model of %u",
                          in->lora->layers, model->config.layers);
    }
    for (size_t r = 0; r < in->rows; r++) {
        const uint32_t id = in->ids == NULL ? PITH__NO_ID : in->ids[r];
        if (id == PITH__NO_ID ? in->embeddings == NULL : id >= model->config.vocabulary) {
            return pith__fail(err, PITH_E_ARGUMENT, "row %zu: id %u of %u, or no embedding", r, id,
                              model->config.vocabulary);
        }
    }
    return PITH_OK;
}

/* Arrays of one layer but `x`, which every layer has. */
static pith_status allocate_layer(const pith__pass *p, pith__layer_kept *kept, pith_error *err)
{
    const pith__model_config *c = &p->model->config;
    const size_t h = (size_t)c->heads * c->head_dim;
    const size_t k = (size_t)c->kv_heads * c->head_dim;
    const struct {
        float **out;
        size_t rows, width;
    } arrays[] = {
        {&kept->n1, p->in.rows, c->width},
        {&kept->q, p->in.rows, h},
        {&kept->k, p->keys, k},
        {&kept->v, p->keys, k},
        {&kept->mixed, p->in.rows, h},
        {&kept->lse, p->in.rows, c->heads},
        {&kept->mid, p->in.rows, c->width},
        {&kept->n2, p->in.rows, c->width},
        {&kept->gate, p->in.rows, c->ff},
        {&kept->up, p->in.rows, c->ff},
        {&kept->act, p->in.rows, c->ff},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        PITH__TRY(pith__arena_alloc(p->ctx->arena, arrays[i].rows, arrays[i].width * sizeof(float),
                                    arrays[i].out, err));
    }
    return PITH_OK;
}

static pith_status allocate(pith__pass *p, pith_error *err)
{
    const pith__model_config *c = &p->model->config;
    pith__arena *arena = p->ctx->arena;
    const size_t row = c->width * sizeof(float);
    const size_t angles = c->rope_pairs * sizeof(float);
    PITH__TRY(pith__arena_alloc(arena, p->in.rows, sizeof *p->first, &p->first, err));
    PITH__TRY(pith__arena_alloc(arena, p->in.rows, sizeof *p->end, &p->end, err));
    PITH__TRY(pith__arena_alloc(arena, p->in.rows, angles, &p->cos, err));
    PITH__TRY(pith__arena_alloc(arena, p->in.rows, angles, &p->sin, err));
    PITH__TRY(pith__arena_alloc(arena, p->in.rows, row, &p->last, err));
    PITH__TRY(pith__arena_alloc(arena, p->in.rows, row, &p->hidden, err));
    PITH__TRY(pith__arena_alloc_zero(arena, c->layers, sizeof *p->layers, &p->layers, err));
    for (size_t l = 0; l < c->layers; l++) {
        if (l == 0 || !p->in.recompute) {
            PITH__TRY(allocate_layer(p, &p->layers[l], err));
        } else {
            p->layers[l] = p->layers[0];
        }
        PITH__TRY(pith__arena_alloc(arena, p->in.rows, row, &p->layers[l].x, err));
    }
    return PITH_OK;
}

static pith_status place_inputs(pith__pass *p, pith_error *err)
{
    const pith__model_config *c = &p->model->config;
    const pith__pass_input *in = &p->in;
    uint32_t *counted = NULL;
    const uint32_t *positions = in->positions;
    if (positions == NULL) {
        PITH__TRY(pith__arena_alloc(p->ctx->arena, in->rows, sizeof *counted, &counted, err));
        for (size_t r = 0; r < in->rows; r++) {
            counted[r] = (uint32_t)r;
        }
        positions = counted;
    }
    PITH__TRY(pith__model_rope(p->model, p->ctx->arena, positions, in->rows, p->cos, p->sin, err));
    for (size_t r = 0; r < in->rows; r++) {
        float *row = p->layers[0].x + r * c->width;
        if (in->ids != NULL && in->ids[r] != PITH__NO_ID) {
            PITH__TRY(pith__model_embedding(p->model, in->ids[r], row, err));
        } else {
            memcpy(row, in->embeddings + r * c->width, c->width * sizeof *row);
        }
    }
    return place_mask(p, err);
}

/* ---- layers ----------------------------------------------------------------------------------- */

pith__masked_attention pith__pass_attention(const pith__pass *p, size_t l)
{
    const pith__model_config *c = &p->model->config;
    const pith__layer_kept *kept = &p->layers[l];
    return (pith__masked_attention){
        .heads = c->heads,
        .kv_heads = c->kv_heads,
        .head_dim = c->head_dim,
        .scale = 1.0f / sqrtf((float)c->head_dim),
        .rows = p->in.rows,
        .keys = p->keys,
        .q = kept->q,
        .k = kept->k,
        .v = kept->v,
        .first = p->first,
        .end = p->end,
        .matrix = p->matrix,
        .out = kept->mixed,
        .lse = kept->lse,
    };
}

static void place_prefix(pith__pass *p, size_t l)
{
    if (p->prefix == 0) {
        return;
    }
    const size_t count = p->prefix * p->model->config.kv_heads * (size_t)p->model->config.head_dim;
    memcpy(p->layers[l].k, p->in.prefix->k + l * count, count * sizeof(float));
    memcpy(p->layers[l].v, p->in.prefix->v + l * count, count * sizeof(float));
}

pith_status pith__layer_forward(pith__pass *p, size_t l, float *y, pith_error *err)
{
    const pith__model_config *c = &p->model->config;
    const pith__tensor_ops *ops = p->model->ops;
    const pith__layer *layer = &p->model->layers[l];
    const pith__layer_kept *kept = &p->layers[l];
    const size_t rows = p->in.rows;
    const size_t own = p->prefix * c->kv_heads * (size_t)c->head_dim; /* where own keys start */

    ops->rms_norm(p->ctx, kept->x, layer->attn_norm, rows, c->width, c->norm_eps, kept->n1);
    PITH__TRY(pith__linear_forward(p, l, PITH__MATRIX_Q, kept->n1, false, kept->q, err));
    PITH__TRY(pith__linear_forward(p, l, PITH__MATRIX_K, kept->n1, false, kept->k + own, err));
    PITH__TRY(pith__linear_forward(p, l, PITH__MATRIX_V, kept->n1, false, kept->v + own, err));
    ops->rope(p->ctx, kept->q, rows, c->heads, c->head_dim, c->rope_pairs, p->cos, p->sin);
    ops->rope(p->ctx, kept->k + own, rows, c->kv_heads, c->head_dim, c->rope_pairs, p->cos, p->sin);
    place_prefix(p, l);
    const pith__masked_attention attention = pith__pass_attention(p, l);
    PITH__TRY(ops->masked_attention(p->ctx, &attention, err));
    memcpy(kept->mid, kept->x, rows * c->width * sizeof(float));
    PITH__TRY(pith__linear_forward(p, l, PITH__MATRIX_O, kept->mixed, true, kept->mid, err));

    ops->rms_norm(p->ctx, kept->mid, layer->ffn_norm, rows, c->width, c->norm_eps, kept->n2);
    PITH__TRY(pith__linear_forward(p, l, PITH__MATRIX_GATE, kept->n2, false, kept->gate, err));
    PITH__TRY(pith__linear_forward(p, l, PITH__MATRIX_UP, kept->n2, false, kept->up, err));
    ops->swiglu_to(p->ctx, kept->gate, kept->up, rows * c->ff, kept->act);
    memcpy(y, kept->mid, rows * c->width * sizeof(float));
    return pith__linear_forward(p, l, PITH__MATRIX_DOWN, kept->act, true, y, err);
}

static pith_status run(pith__pass *p, pith_error *err)
{
    const pith__model_config *c = &p->model->config;
    PITH__TRY(allocate(p, err));
    PITH__TRY(place_inputs(p, err));
    for (size_t l = 0; l < c->layers; l++) {
        float *next = l + 1 < c->layers ? p->layers[l + 1].x : p->last;
        PITH__TRY(pith__layer_forward(p, l, next, err));
    }
    p->model->ops->rms_norm(p->ctx, p->last, p->model->output_norm, p->in.rows, c->width,
                            c->norm_eps, p->hidden);
    return PITH_OK;
}

pith_status pith__pass_forward(const pith__model *model, const pith__tensor_ctx *ctx,
                               const pith__pass_input *input, pith__pass **out, pith_error *err)
{
    *out = NULL;
    PITH__TRY(check(model, input, err));
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    pith__pass *p = NULL;
    PITH__TRY(pith__arena_alloc_zero(ctx->arena, 1, sizeof *p, &p, err));
    p->model = model;
    p->ctx = ctx;
    p->in = *input;
    p->prefix = input->prefix == NULL ? 0 : input->prefix->count;
    p->keys = p->prefix + input->rows;
    const pith_status status = run(p, err);
    if (status != PITH_OK) {
        pith__arena_restore(ctx->arena, mark);
        return status;
    }
    *out = p;
    return PITH_OK;
}

size_t pith__pass_bytes(const pith__model_config *config, size_t rows, size_t prefix,
                        bool recompute)
{
    const size_t d = config->width;
    const size_t h = (size_t)config->heads * config->head_dim;
    const size_t k = (size_t)config->kv_heads * config->head_dim;
    const size_t layer = rows * (3 * d + 2 * h + config->heads + 3 * (size_t)config->ff) +
                         2 * (prefix + rows) * k; /* without its input */
    const size_t kept =
        (recompute ? layer : layer * config->layers) + rows * d * (config->layers + 2);
    const size_t back = rows * (3 * d + 2 * h + config->ff) + 2 * (prefix + rows) * k;
    const size_t block = pith__loss_block_rows(config->vocabulary);
    const size_t head = (block < rows ? block : rows) * (2 * (size_t)config->vocabulary + d);
    const size_t scores = (size_t)3 * 128 * (prefix + rows); /* of a block of queries */
    return (kept + back + head + scores + rows * 2 * config->rope_pairs) * sizeof(float) +
           (256 * ((size_t)config->layers + 8)) * 16;
}

const float *pith__pass_hidden(const pith__pass *pass)
{
    return pass->hidden;
}

static size_t own_keys(const pith__pass *pass)
{
    const pith__model_config *c = &pass->model->config;
    return pass->prefix * c->kv_heads * (size_t)c->head_dim;
}

const float *pith__pass_keys(const pith__pass *pass, size_t layer)
{
    return pass->layers[layer].k + own_keys(pass);
}

const float *pith__pass_values(const pith__pass *pass, size_t layer)
{
    return pass->layers[layer].v + own_keys(pass);
}
