/*
 * lora.c: low-rank adapters (Hu et al. 2021): layout, and both directions of one product.
 */
#include "base/mix.h"
#include "grad/pass.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static void factor_name(char *name, size_t layer, pith__block_matrix matrix, char which)
{
    (void)snprintf(name, PITH__WEIGHT_NAME_SIZE, "blk.%zu.%s.weight.lora_%c", layer,
                   pith__block_matrix_name(matrix), which);
}

pith_status pith__lora_layout(const pith__model_config *config, uint32_t rank, unsigned matrices,
                              pith__weights *weights, pith_error *err)
{
    if (rank == 0 || rank > config->width) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "LoRA's rank is %u, expected 1 to %u, the model's width", rank,
                          config->width);
    }
    if (matrices == 0 || matrices >= 1u << PITH__BLOCK_MATRICES) {
        return pith__fail(err, PITH_E_ARGUMENT, "LoRA for no matrix, or for more than there are");
    }
    char name[PITH__WEIGHT_NAME_SIZE];
    for (size_t l = 0; l < config->layers; l++) {
        for (pith__block_matrix m = 0; m < PITH__BLOCK_MATRICES; m++) {
            if ((matrices & 1u << m) == 0) {
                continue;
            }
            factor_name(name, l, m, 'a');
            PITH__TRY(pith__weights_add(weights, name, PITH__WEIGHT_MATRIX, rank,
                                        pith__block_matrix_cols(config, m), err));
            factor_name(name, l, m, 'b');
            PITH__TRY(pith__weights_add(weights, name, PITH__WEIGHT_MATRIX,
                                        pith__block_matrix_rows(config, m), rank, err));
        }
    }
    return PITH_OK;
}

/* Finds the factors of one matrix; both or neither. */
static pith_status find_pair(const pith__model_config *config, const pith__weights *weights,
                             size_t layer, pith__block_matrix m, pith__lora *lora, pith_error *err)
{
    char name[PITH__WEIGHT_NAME_SIZE];
    factor_name(name, layer, m, 'a');
    const pith__weight *a = pith__weights_find(weights, name);
    factor_name(name, layer, m, 'b');
    const pith__weight *b = pith__weights_find(weights, name);
    if (a == NULL && b == NULL) {
        return PITH_OK;
    }
    if (a != NULL && lora->rank == 0) {
        lora->rank = (uint32_t)a->rows;
    }
    if (a == NULL || b == NULL || a->rows != lora->rank || b->cols != lora->rank ||
        a->cols != pith__block_matrix_cols(config, m) ||
        b->rows != pith__block_matrix_rows(config, m)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "adapter of blk.%zu.%s: a factor is missing or has another shape", layer,
                          pith__block_matrix_name(m));
    }
    lora->pairs[layer * PITH__BLOCK_MATRICES + m] =
        (pith__lora_pair){weights->values + a->at, weights->values + b->at};
    return PITH_OK;
}

pith_status pith__lora_of(const pith__model_config *config, const pith__weights *weights,
                          float alpha, float dropout, const pith_allocator *mem, pith__lora *out,
                          pith_error *err)
{
    *out = (pith__lora){.mem = *mem, .layers = config->layers, .alpha = alpha, .dropout = dropout};
    PITH__TRY(pith__alloc_zero(mem, (size_t)config->layers * PITH__BLOCK_MATRICES,
                               sizeof *out->pairs, &out->pairs, err));
    pith_status status = PITH_OK;
    for (size_t l = 0; l < config->layers && status == PITH_OK; l++) {
        for (pith__block_matrix m = 0; m < PITH__BLOCK_MATRICES && status == PITH_OK; m++) {
            status = find_pair(config, weights, l, m, out, err);
        }
    }
    if (status == PITH_OK && out->rank == 0) {
        status = pith__fail(err, PITH_E_ARGUMENT, "there is no adapter among the tensors");
    }
    if (status != PITH_OK) {
        pith__lora_deinit(out);
    }
    return status;
}

void pith__lora_deinit(pith__lora *lora)
{
    if (lora->pairs != NULL) {
        pith__free(&lora->mem, lora->pairs, (size_t)lora->layers * PITH__BLOCK_MATRICES,
                   sizeof *lora->pairs);
    }
    memset(lora, 0, sizeof *lora);
}

static bool ends_with(const char *text, const char *suffix)
{
    const size_t size = strlen(text);
    const size_t tail = strlen(suffix);
    return size >= tail && strcmp(text + size - tail, suffix) == 0;
}

void pith__lora_initialise(pith__weights *weights, uint64_t seed)
{
    uint64_t state = seed;
    for (size_t i = 0; i < weights->n_items; i++) {
        const pith__weight *w = &weights->items[i];
        float *values = weights->values + w->at;
        if (ends_with(w->name, ".lora_a")) {
            pith__fill_normal(values, w->rows * w->cols, 1.0 / sqrt((double)w->cols), &state);
        } else if (ends_with(w->name, ".lora_b")) {
            memset(values, 0, w->rows * w->cols * sizeof *values);
        }
    }
}

/* ---- one product with its adapter ----------------------------------------------------------- */

/* The factors of a matrix; `a` is NULL if it has none. */
static const pith__lora_pair *pair_at(const pith__lora *lora, size_t layer, pith__block_matrix m)
{
    return &lora->pairs[layer * PITH__BLOCK_MATRICES + m];
}

static bool is_adapted(const pith__pass *p, size_t layer, pith__block_matrix m)
{
    return p->in.lora != NULL && pair_at(p->in.lora, layer, m)->a != NULL;
}

/* The multipliers (0 or 1 / (1 - dropout)) of one matrix's inputs: the same going back as going forth. */
static void drop(const pith__pass *p, size_t layer, pith__block_matrix m, size_t count, float *x)
{
    const float keep = 1.0f - p->in.lora->dropout;
    const uint64_t threshold = (uint64_t)((double)keep * 0x1p32);
    const uint64_t key =
        p->in.dropout_seed ^ (layer * PITH__BLOCK_MATRICES + m + 1) * 0x9e3779b97f4a7c15u;
    for (size_t i = 0; i < count; i++) {
        uint64_t state = key + i * 0xd1342543de82ef95u;
        const bool kept = pith__splitmix64(&state) >> 32 < threshold;
        x[i] = kept ? x[i] / keep : 0.0f;
    }
}

static bool drops(const pith__pass *p)
{
    return p->in.lora->dropout > 0.0f && p->in.dropout_seed != 0;
}

/* x itself or, with dropout, a copy with holes, which lives until the arena is restored. */
static pith_status dropped_input(pith__pass *p, size_t layer, pith__block_matrix m, const float *x,
                                 size_t count, const float **out, pith_error *err)
{
    *out = x;
    if (!drops(p)) {
        return PITH_OK;
    }
    float *copy = NULL;
    PITH__TRY(pith__arena_alloc(p->ctx->arena, count, sizeof *copy, &copy, err));
    memcpy(copy, x, count * sizeof *copy);
    drop(p, layer, m, count, copy);
    *out = copy;
    return PITH_OK;
}

static pith_status product(const pith__pass *p, pith__product shape, const float *a, const float *b,
                           float *c, pith_error *err)
{
    return p->model->ops->product(p->ctx, &shape, a, b, c, err);
}

/* t (rows, rank) = dropout(x) A^T; *out and the input it was made from live in the arena. */
static pith_status inner(pith__pass *p, size_t layer, pith__block_matrix m, const float *x,
                         size_t inputs, const float **dropped, float **out, pith_error *err)
{
    const pith__lora_pair *pair = pair_at(p->in.lora, layer, m);
    const size_t rank = p->in.lora->rank;
    PITH__TRY(dropped_input(p, layer, m, x, p->in.rows * inputs, dropped, err));
    PITH__TRY(pith__arena_alloc(p->ctx->arena, p->in.rows * rank, sizeof **out, out, err));
    return product(p,
                   (pith__product){
                       .m = p->in.rows, .n = rank, .k = inputs, .transpose_b = true, .alpha = 1.0f},
                   *dropped, pair->a, *out, err);
}

static pith_status adapt(pith__pass *p, size_t layer, pith__block_matrix m, const pith__matrix *w,
                         const float *x, float *y, pith_error *err)
{
    const pith__lora *lora = p->in.lora;
    const float *dropped = NULL;
    float *t = NULL;
    PITH__TRY(inner(p, layer, m, x, w->cols, &dropped, &t, err));
    return product(p,
                   (pith__product){.m = p->in.rows,
                                   .n = w->rows,
                                   .k = lora->rank,
                                   .transpose_b = true,
                                   .alpha = lora->alpha / (float)lora->rank,
                                   .beta = 1.0f},
                   t, pair_at(lora, layer, m)->b, y, err);
}

pith_status pith__linear_forward(pith__pass *p, size_t layer, pith__block_matrix m, const float *x,
                                 bool add, float *y, pith_error *err)
{
    const pith__matrix *w = pith__block_matrix_of(&p->model->layers[layer], m);
    PITH__TRY(product(p,
                      (pith__product){.m = p->in.rows,
                                      .n = w->rows,
                                      .k = w->cols,
                                      .transpose_b = true,
                                      .alpha = 1.0f,
                                      .beta = add ? 1.0f : 0.0f},
                      x, w->f32, y, err));
    if (!is_adapted(p, layer, m)) {
        return PITH_OK;
    }
    const pith__arena_mark mark = pith__arena_save(p->ctx->arena);
    const pith_status status = adapt(p, layer, m, w, x, y, err);
    pith__arena_restore(p->ctx->arena, mark);
    return status;
}

/* dw += dy^T x, (outputs, inputs). */
static pith_status outer(const pith__pass *p, const float *dy, size_t outputs, const float *x,
                         size_t inputs, float alpha, float *dw, pith_error *err)
{
    return product(p,
                   (pith__product){.m = outputs,
                                   .n = inputs,
                                   .k = p->in.rows,
                                   .transpose_a = true,
                                   .alpha = alpha,
                                   .beta = 1.0f},
                   dy, x, dw, err);
}

/* The adapter's part: dB += s dy^T t, dt = s dy B, dA += dt^T dropout(x), dx += dropout(dt A). */
static pith_status adapt_back(pith__pass *p, size_t layer, pith__block_matrix m,
                              const pith__matrix *w, const float *x, const float *dy, float *dx,
                              const pith__sink *sink, pith_error *err)
{
    const pith__lora *lora = p->in.lora;
    const pith__lora_pair *pair = pair_at(p->in.lora, layer, m);
    const float scale = lora->alpha / (float)lora->rank;
    const float *dropped = NULL;
    float *t = NULL;
    PITH__TRY(inner(p, layer, m, x, w->cols, &dropped, &t, err));
    float *d_b = pith__sink_of(sink, pair->b);
    if (d_b != NULL) {
        PITH__TRY(outer(p, dy, w->rows, t, lora->rank, scale, d_b, err));
    }
    PITH__TRY(
        product(p, (pith__product){.m = p->in.rows, .n = lora->rank, .k = w->rows, .alpha = scale},
                dy, pair->b, t, err));
    float *d_a = pith__sink_of(sink, pair->a);
    if (d_a != NULL) {
        PITH__TRY(outer(p, t, lora->rank, dropped, w->cols, 1.0f, d_a, err));
    }
    const bool holes = drops(p);
    float *into = dx;
    if (holes) {
        PITH__TRY(pith__arena_alloc(p->ctx->arena, p->in.rows * w->cols, sizeof *into, &into, err));
    }
    PITH__TRY(product(p,
                      (pith__product){.m = p->in.rows,
                                      .n = w->cols,
                                      .k = lora->rank,
                                      .alpha = 1.0f,
                                      .beta = holes ? 0.0f : 1.0f},
                      t, pair->a, into, err));
    if (holes) {
        drop(p, layer, m, p->in.rows * w->cols, into);
        p->model->ops->add(p->ctx, dx, into, p->in.rows * w->cols);
    }
    return PITH_OK;
}

pith_status pith__linear_backward(pith__pass *p, size_t layer, pith__block_matrix m, const float *x,
                                  const float *dy, bool add, float *dx, const pith__sink *sink,
                                  pith_error *err)
{
    const pith__matrix *w = pith__block_matrix_of(&p->model->layers[layer], m);
    float *dw = pith__sink_of(sink, w->f32);
    if (dw != NULL) {
        PITH__TRY(outer(p, dy, w->rows, x, w->cols, 1.0f, dw, err));
    }
    PITH__TRY(product(
        p,
        (pith__product){
            .m = p->in.rows, .n = w->cols, .k = w->rows, .alpha = 1.0f, .beta = add ? 1.0f : 0.0f},
        dy, w->f32, dx, err));
    if (!is_adapted(p, layer, m)) {
        return PITH_OK;
    }
    const pith__arena_mark mark = pith__arena_save(p->ctx->arena);
    const pith_status status = adapt_back(p, layer, m, w, x, dy, dx, sink, err);
    pith__arena_restore(p->ctx->arena, mark);
    return status;
}
