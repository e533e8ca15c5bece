/*
 * weights.c: named tensors in one vector, and models made of them.
 */
#include "base/mix.h"
#include "grad/pass.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Floats between the starts of tensors are multiples of this: 64 bytes, a cache line. */
#define ALIGNMENT ((size_t)16)

void pith__weights_init(pith__weights *weights, const pith_allocator *mem)
{
    *weights = (pith__weights){.mem = *mem};
}

void pith__weights_deinit(pith__weights *weights)
{
    if (weights->mem.realloc != NULL) {
        pith__free(&weights->mem, weights->items, weights->items_capacity, sizeof *weights->items);
        pith__free(&weights->mem, weights->values, weights->count, sizeof *weights->values);
    }
    memset(weights, 0, sizeof *weights);
}

const pith__weight *pith__weights_find(const pith__weights *weights, const char *name)
{
    for (size_t i = 0; i < weights->n_items; i++) {
        if (strcmp(weights->items[i].name, name) == 0) {
            return &weights->items[i];
        }
    }
    return NULL;
}

pith_status pith__weights_add(pith__weights *weights, const char *name, pith__weight_kind kind,
                              size_t rows, size_t cols, pith_error *err)
{
    if (strlen(name) >= PITH__WEIGHT_NAME_SIZE || pith__weights_find(weights, name) != NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "tensor name %.80s is too long, or taken", name);
    }
    size_t size = 0;
    if (__builtin_mul_overflow(rows, cols, &size) ||
        size > SIZE_MAX / sizeof(float) - weights->count - ALIGNMENT) {
        return pith__fail(err, PITH_E_MEMORY, "tensor %s is too large", name);
    }
    PITH__TRY(pith__grow(&weights->mem, &weights->items, &weights->items_capacity,
                         weights->n_items + 1, sizeof *weights->items, err));
    pith__weight *weight = &weights->items[weights->n_items++];
    *weight = (pith__weight){.kind = kind, .rows = rows, .cols = cols, .at = weights->count};
    (void)snprintf(weight->name, sizeof weight->name, "%s", name);
    weights->count += (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return PITH_OK;
}

pith_status pith__weights_allocate(pith__weights *weights, pith_error *err)
{
    return pith__alloc_zero(&weights->mem, weights->count, sizeof *weights->values,
                            &weights->values, err);
}

/* ---- models ------------------------------------------------------------------------------ */

size_t pith__block_matrix_rows(const pith__model_config *config, pith__block_matrix matrix)
{
    const size_t heads = (size_t)config->heads * config->head_dim;
    const size_t kv_heads = (size_t)config->kv_heads * config->head_dim;
    const size_t rows[PITH__BLOCK_MATRICES] = {heads,      kv_heads,   kv_heads,     config->width,
                                               config->ff, config->ff, config->width};
    return rows[matrix];
}

size_t pith__block_matrix_cols(const pith__model_config *config, pith__block_matrix matrix)
{
    const size_t heads = (size_t)config->heads * config->head_dim;
    const size_t cols[PITH__BLOCK_MATRICES] = {config->width, config->width, config->width, heads,
                                               config->width, config->width, config->ff};
    return cols[matrix];
}

const char *pith__block_matrix_name(pith__block_matrix matrix)
{
    static const char *const names[PITH__BLOCK_MATRICES] = {
        "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down",
    };
    return names[matrix];
}

const pith__matrix *pith__block_matrix_of(const pith__layer *layer, pith__block_matrix matrix)
{
    const pith__matrix *const matrices[PITH__BLOCK_MATRICES] = {
        &layer->q, &layer->k, &layer->v, &layer->o, &layer->gate, &layer->up, &layer->down,
    };
    return matrices[matrix];
}

static pith__matrix *matrix_slot(pith__layer *layer, pith__block_matrix matrix)
{
    pith__matrix *const slots[PITH__BLOCK_MATRICES] = {
        &layer->q, &layer->k, &layer->v, &layer->o, &layer->gate, &layer->up, &layer->down,
    };
    return slots[matrix];
}

static void block_name(char *name, size_t layer, const char *stem)
{
    (void)snprintf(name, PITH__WEIGHT_NAME_SIZE, "blk.%zu.%s.weight", layer, stem);
}

pith_status pith__grad_layout(const pith__model_config *config, bool tied, pith__weights *weights,
                              pith_error *err)
{
    const size_t d = config->width;
    char name[PITH__WEIGHT_NAME_SIZE];
    PITH__TRY(pith__weights_add(weights, "token_embd.weight", PITH__WEIGHT_EMBEDDING,
                                config->vocabulary, d, err));
    for (size_t l = 0; l < config->layers; l++) {
        block_name(name, l, "attn_norm");
        PITH__TRY(pith__weights_add(weights, name, PITH__WEIGHT_VECTOR, 1, d, err));
        block_name(name, l, "ffn_norm");
        PITH__TRY(pith__weights_add(weights, name, PITH__WEIGHT_VECTOR, 1, d, err));
        for (pith__block_matrix m = 0; m < PITH__BLOCK_MATRICES; m++) {
            block_name(name, l, pith__block_matrix_name(m));
            PITH__TRY(pith__weights_add(weights, name, PITH__WEIGHT_MATRIX,
                                        pith__block_matrix_rows(config, m),
                                        pith__block_matrix_cols(config, m), err));
        }
    }
    PITH__TRY(pith__weights_add(weights, "output_norm.weight", PITH__WEIGHT_VECTOR, 1, d, err));
    return tied ? PITH_OK
                : pith__weights_add(weights, "output.weight", PITH__WEIGHT_EMBEDDING,
                                    config->vocabulary, d, err);
}

/* The values of tensor `name`, which must have this shape. */
static pith_status values_of(const pith__weights *weights, const char *name, size_t rows,
                             size_t cols, const float **out, pith_error *err)
{
    const pith__weight *weight = pith__weights_find(weights, name);
    if (weight == NULL || weight->rows != rows || weight->cols != cols) {
        (void)pith__fail(err, PITH_E_ARGUMENT, "tensor %s is missing or not (%zu, %zu)", name, rows,
                         cols);
        return PITH_E_ARGUMENT;
    }
    *out = weights->values + weight->at;
    return PITH_OK;
}

static pith_status view_layer(const pith__weights *weights, const pith__model_config *c, size_t l,
                              pith__layer *layer, pith_error *err)
{
    char name[PITH__WEIGHT_NAME_SIZE];
    block_name(name, l, "attn_norm");
    PITH__TRY(values_of(weights, name, 1, c->width, &layer->attn_norm, err));
    block_name(name, l, "ffn_norm");
    PITH__TRY(values_of(weights, name, 1, c->width, &layer->ffn_norm, err));
    for (pith__block_matrix m = 0; m < PITH__BLOCK_MATRICES; m++) {
        pith__matrix *matrix = matrix_slot(layer, m);
        *matrix = (pith__matrix){.rows = pith__block_matrix_rows(c, m),
                                 .cols = pith__block_matrix_cols(c, m)};
        block_name(name, l, pith__block_matrix_name(m));
        PITH__TRY(values_of(weights, name, matrix->rows, matrix->cols, &matrix->f32, err));
    }
    return PITH_OK;
}

static pith_status view_model(const pith__weights *weights, pith__model *model, pith_error *err)
{
    const pith__model_config *c = &model->config;
    const float *embedding = NULL;
    PITH__TRY(values_of(weights, "token_embd.weight", c->vocabulary, c->width, &embedding, err));
    model->embedding =
        (pith__gguf_tensor){.name = {"token_embd.weight", sizeof "token_embd.weight" - 1},
                            .n_dims = 2,
                            .dims = {c->width, c->vocabulary, 1, 1},
                            .type = PITH__GGUF_TYPE_F32,
                            .data = (const unsigned char *)embedding,
                            .size = (size_t)c->vocabulary * c->width * sizeof(float),
                            .elements = (uint64_t)c->vocabulary * c->width};
    model->head = (pith__matrix){.rows = c->vocabulary, .cols = c->width, .f32 = embedding};
    if (pith__weights_find(weights, "output.weight") != NULL) {
        PITH__TRY(
            values_of(weights, "output.weight", c->vocabulary, c->width, &model->head.f32, err));
    }
    PITH__TRY(values_of(weights, "output_norm.weight", 1, c->width, &model->output_norm, err));
    PITH__TRY(pith__arena_alloc_zero(&model->weights, c->layers, sizeof *model->layers,
                                     &model->layers, err));
    for (size_t l = 0; l < c->layers; l++) {
        PITH__TRY(view_layer(weights, c, l, &model->layers[l], err));
    }
    for (size_t i = 0; i < weights->n_items; i++) {
        model->parameters += weights->items[i].rows * weights->items[i].cols;
    }
    model->weight_bytes = weights->count * sizeof(float);
    return PITH_OK;
}

pith_status pith__grad_model(const pith__model_config *config, const pith__weights *weights,
                             const pith_allocator *mem, pith__model *out, pith_error *err)
{
    *out = (pith__model){
        .config = *config, .ops = pith__tensor_cpu(), .precision = PITH_PRECISION_F32};
    pith__arena_init(&out->weights, mem);
    const pith_status status = view_model(weights, out, err);
    if (status != PITH_OK) {
        pith__model_deinit(out);
    }
    return status;
}

/* ---- values --------------------------------------------------------------------------------- */

/*
 * About normal: the sum of 12 uniform numbers less 6, with tails that end at 6. Adding is exact
 * arithmetic on every machine, which logarithms and cosines are not.
 */
static float random_normal(uint64_t *state)
{
    double sum = -6.0;
    for (int i = 0; i < 12; i++) {
        sum += (double)(pith__splitmix64(state) >> 11) * 0x1p-53;
    }
    return (float)sum;
}

void pith__fill_normal(float *values, size_t count, double deviation, uint64_t *state)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = random_normal(state) * (float)deviation;
    }
}

/* Tensors whose output is added to the residual stream. */
static bool writes_residual(const char *name)
{
    return strstr(name, ".attn_output.") != NULL || strstr(name, ".ffn_down.") != NULL;
}

void pith__grad_initialise(const pith__model_config *config, pith__weights *weights, uint64_t seed)
{
    uint64_t state = seed;
    for (size_t i = 0; i < weights->n_items; i++) {
        const pith__weight *w = &weights->items[i];
        float *values = weights->values + w->at;
        const size_t count = w->rows * w->cols;
        double deviation = w->kind == PITH__WEIGHT_EMBEDDING ? 0.02 : 1.0 / sqrt((double)w->cols);
        if (writes_residual(w->name)) {
            deviation /= sqrt(2.0 * (double)config->layers);
        }
        if (w->kind == PITH__WEIGHT_VECTOR) {
            for (size_t j = 0; j < count; j++) {
                values[j] = 1.0f;
            }
        } else {
            pith__fill_normal(values, count, deviation, &state);
        }
    }
}

static void copy_values(const float *from, size_t count, const float *to, const pith__weights *into)
{
    memcpy(into->values + (to - into->values), from, count * sizeof *from);
}

static void copy_matrix(const pith__matrix *from, const pith__matrix *to, const pith__weights *into)
{
    copy_values(from->f32, from->rows * from->cols, to->f32, into);
}

static pith_status copy_model(const pith__model *from, const pith__model *to,
                              const pith__weights *into, pith_error *err)
{
    const pith__model_config *c = &from->config;
    const float *table = (const float *)(const void *)to->embedding.data;
    const bool tied = to->head.f32 == table;
    for (size_t id = 0; id < c->vocabulary; id++) {
        const size_t row = (size_t)(table - into->values) + id * c->width;
        PITH__TRY(pith__model_embedding(from, (uint32_t)id, into->values + row, err));
        if (tied && memcmp(into->values + row, from->head.f32 + id * c->width,
                           c->width * sizeof(float)) != 0) {
            return pith__fail(err, PITH_E_ARGUMENT, "the model has a head of its own");
        }
    }
    if (!tied) {
        copy_matrix(&from->head, &to->head, into);
    }
    copy_values(from->output_norm, c->width, to->output_norm, into);
    for (size_t l = 0; l < c->layers; l++) {
        copy_values(from->layers[l].attn_norm, c->width, to->layers[l].attn_norm, into);
        copy_values(from->layers[l].ffn_norm, c->width, to->layers[l].ffn_norm, into);
        for (pith__block_matrix m = 0; m < PITH__BLOCK_MATRICES; m++) {
            copy_matrix(pith__block_matrix_of(&from->layers[l], m),
                        pith__block_matrix_of(&to->layers[l], m), into);
        }
    }
    return PITH_OK;
}

pith_status pith__grad_copy(const pith__model *from, pith__weights *weights, pith_error *err)
{
    if (from->precision != PITH_PRECISION_F32) {
        return pith__fail(err, PITH_E_ARGUMENT, "a model to be trained must be opened in f32");
    }
    if (from->rope_factors != NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "a model with rope_freqs.weight cannot be trained");
    }
    pith__model to;
    PITH__TRY(pith__grad_model(&from->config, weights, &weights->mem, &to, err));
    const pith_status status = copy_model(from, &to, weights, err);
    pith__model_deinit(&to);
    return status;
}
