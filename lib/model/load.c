/*
 * load.c: configuration and weights from a GGUF file.
 */
#include "model/model.h"

#include <stdio.h>
#include <string.h>

/* Bounds no real model comes near; they keep every product of sizes within 64 bits. */
#define LAYERS_MAX  4096u
#define WIDTH_MAX   (1u << 20)
#define CONTEXT_MAX (1u << 24)

/* Elements up to which one thread converts a matrix: a few milliseconds. */
#define CONVERT_ALONE ((size_t)1 << 22)

typedef struct loader {
    const pith__gguf *gguf;
    pith__adapter *adapter; /* or NULL */
    pith__model *model;
    pith_error *err;
} loader;

/* ---- configuration ------------------------------------------------------------------ */

static pith_status check_range(const loader *l, const char *key, uint32_t value, uint32_t max)
{
    if (value >= 1 && value <= max) {
        return PITH_OK;
    }
    return pith__fail(l->err, PITH_E_CORRUPT, "%s is %u, expected 1 to %u", key, value, max);
}

static pith_status get_size(const loader *l, const char *key, uint32_t max, uint32_t *out)
{
    PITH__TRY(pith__gguf_get_u32(l->gguf, key, out, l->err));
    return check_range(l, key, *out, max);
}

static pith_status get_size_or(const loader *l, const char *key, uint32_t max, uint32_t otherwise,
                               uint32_t *out)
{
    PITH__TRY(pith__gguf_get_u32_or(l->gguf, key, otherwise, out, l->err));
    return check_range(l, key, *out, max);
}

/* Files that are taken for models are mostly other ones of ours; old models do not say what they are. */
static pith_status check_type(const loader *l)
{
    static const struct {
        const char *type, *message;
    } others[] = {
        {"compressor", "a compressor, no model: it works beside the one it was made for "
                       "(--compressor)"},
        {"adapter", "a LoRA adapter, no model: it is added to one when that is opened (--lora)"},
        {"capsule", "a capsule, no model: it stands in the place of a text (--capsule)"},
        {"capsules", "a bank of capsules, no model"}};
    pith__gguf_string type = {NULL, 0};
    PITH__TRY(pith__gguf_get_string_or(l->gguf, "general.type", "model", &type, l->err));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (pith__gguf_string_equal(type, others[i].type)) {
            return pith__fail(l->err, PITH_E_UNSUPPORTED, "%s", others[i].message);
        }
    }
    if (!pith__gguf_string_equal(type, "model")) {
        char printable[48];
        return pith__fail(l->err, PITH_E_UNSUPPORTED,
                          "general.type is \"%s\", that of a model is \"model\"",
                          pith__gguf_printable(type, printable, sizeof printable));
    }
    return PITH_OK;
}

static pith_status check_architecture(const loader *l)
{
    pith__gguf_string name = {NULL, 0};
    PITH__TRY(pith__gguf_get_string(l->gguf, "general.architecture", &name, l->err));
    if (!pith__gguf_string_equal(name, "llama")) {
        char printable[48];
        return pith__fail(l->err, PITH_E_UNSUPPORTED, "architecture \"%s\": only llama can be run",
                          pith__gguf_printable(name, printable, sizeof printable));
    }
    return PITH_OK;
}

static pith_status read_rope(const loader *l, pith__model_config *c)
{
    uint32_t dims = 0;
    PITH__TRY(get_size_or(l, "llama.rope.dimension_count", c->head_dim, c->head_dim, &dims));
    c->rope_pairs = dims / 2;
    PITH__TRY(
        pith__gguf_get_f32_or(l->gguf, "llama.rope.freq_base", 10000.0f, &c->rope_base, l->err));
    pith__gguf_string scaling = {NULL, 0};
    PITH__TRY(
        pith__gguf_get_string_or(l->gguf, "llama.rope.scaling.type", "none", &scaling, l->err));
    float factor = 1.0f;
    if (pith__gguf_string_equal(scaling, "linear")) {
        PITH__TRY(pith__gguf_get_f32(l->gguf, "llama.rope.scaling.factor", &factor, l->err));
    } else if (!pith__gguf_string_equal(scaling, "none")) {
        char printable[32];
        return pith__fail(l->err, PITH_E_UNSUPPORTED, "RoPE scaling \"%s\" is not supported",
                          pith__gguf_printable(scaling, printable, sizeof printable));
    }
    if (!(factor > 0.0f) || !(c->rope_base > 0.0f)) {
        return pith__fail(l->err, PITH_E_CORRUPT, "RoPE base and scaling factor must be positive");
    }
    c->rope_scale = 1.0f / factor;
    return PITH_OK;
}

static pith_status read_config(const loader *l)
{
    pith__model_config *c = &l->model->config;
    PITH__TRY(check_type(l));
    PITH__TRY(check_architecture(l));
    PITH__TRY(get_size(l, "llama.block_count", LAYERS_MAX, &c->layers));
    PITH__TRY(get_size(l, "llama.embedding_length", WIDTH_MAX, &c->width));
    PITH__TRY(get_size(l, "llama.feed_forward_length", WIDTH_MAX, &c->ff));
    PITH__TRY(get_size(l, "llama.context_length", CONTEXT_MAX, &c->context));
    if (c->context < 2) {
        return pith__fail(l->err, PITH_E_UNSUPPORTED,
                          "llama.context_length is 1: nothing to predict");
    }
    PITH__TRY(get_size(l, "llama.attention.head_count", c->width, &c->heads));
    PITH__TRY(get_size_or(l, "llama.attention.head_count_kv", c->heads, c->heads, &c->kv_heads));
    PITH__TRY(
        get_size_or(l, "llama.attention.key_length", WIDTH_MAX, c->width / c->heads, &c->head_dim));
    PITH__TRY(pith__gguf_get_f32(l->gguf, "llama.attention.layer_norm_rms_epsilon", &c->norm_eps,
                                 l->err));
    uint32_t value_dim = 0;
    PITH__TRY(pith__gguf_get_u32_or(l->gguf, "llama.attention.value_length", c->head_dim,
                                    &value_dim, l->err));
    if (c->heads % c->kv_heads != 0 || value_dim != c->head_dim) {
        return pith__fail(l->err, PITH_E_UNSUPPORTED,
                          "%u heads over %u key heads, key size %u, value size %u: not supported",
                          c->heads, c->kv_heads, c->head_dim, value_dim);
    }
    if (!(c->norm_eps >= 0.0f)) {
        return pith__fail(l->err, PITH_E_CORRUPT, "RMSNorm epsilon is negative or not a number");
    }
    return read_rope(l, c);
}

/* ---- tensors --------------------------------------------------------------------------- */

/* The tensor `name` of shape (rows, cols), or (cols) if rows is 0. */
static pith_status find_tensor(const loader *l, const char *name, size_t rows, size_t cols,
                               const pith__gguf_tensor **out)
{
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(l->gguf, name);
    *out = tensor;
    if (tensor == NULL) {
        return pith__fail(l->err, PITH_E_CORRUPT, "tensor %s is missing", name);
    }
    const size_t expected_rows = rows == 0 ? 1 : rows;
    if (tensor->dims[0] != cols || tensor->dims[1] != expected_rows || tensor->dims[2] != 1 ||
        tensor->dims[3] != 1) {
        return pith__fail_at(l->err, PITH_E_CORRUPT, tensor->offset,
                             "tensor %s is (%llu, %llu), expected (%zu, %zu)", name,
                             (unsigned long long)tensor->dims[1],
                             (unsigned long long)tensor->dims[0], expected_rows, cols);
    }
    return PITH_OK;
}

static bool aligned_f32(const pith__gguf_tensor *tensor)
{
    return tensor->type == PITH__GGUF_TYPE_F32 && (uintptr_t)tensor->data % sizeof(float) == 0;
}

/* A tensor as floats: where it lies if it is F32, else expanded. */
static pith_status load_floats(const loader *l, const char *name, size_t rows, size_t cols,
                               const float **out)
{
    const pith__gguf_tensor *tensor = NULL;
    PITH__TRY(find_tensor(l, name, rows, cols, &tensor));
    l->model->weight_bytes += (size_t)tensor->elements * sizeof(float);
    if (tensor->type == PITH__GGUF_TYPE_I8) {
        return pith__fail_at(l->err, PITH_E_UNSUPPORTED, tensor->offset,
                             "tensor %s: a vector in int8 has no scale", name);
    }
    if (aligned_f32(tensor)) {
        *out = (const float *)(const void *)tensor->data;
        return PITH_OK;
    }
    float *values = NULL;
    PITH__TRY(pith__arena_alloc(&l->model->weights, (size_t)tensor->elements, sizeof *values,
                                &values, l->err));
    *out = values;
    return pith__gguf_dequantize(tensor->type, tensor->data, values, (size_t)tensor->elements,
                                 l->err);
}

/* NAME.scale beside an I8 tensor NAME.weight; NULL for every other type. */
static pith_status load_scale(const loader *l, const pith__gguf_tensor *tensor, const char *stem,
                              const float **out)
{
    *out = NULL;
    if (tensor->type != PITH__GGUF_TYPE_I8) {
        return PITH_OK;
    }
    char name[96];
    (void)snprintf(name, sizeof name, "%s.scale", stem);
    return load_floats(l, name, 0, (size_t)tensor->dims[1], out);
}

/* Row `row` of a stored matrix as floats. */
static pith_status expand_row(const pith__gguf_tensor *tensor, const float *scale, size_t row,
                              float *out, pith_error *err)
{
    const size_t cols = (size_t)tensor->dims[0];
    const size_t row_bytes = tensor->size / (size_t)tensor->dims[1];
    PITH__TRY(pith__gguf_dequantize(tensor->type, tensor->data + row * row_bytes, out, cols, err));
    for (size_t i = 0; scale != NULL && i < cols; i++) {
        out[i] *= scale[row];
    }
    return PITH_OK;
}

typedef struct convert_job {
    const pith__gguf_tensor *tensor;
    const float *scale;
    const pith__delta *delta; /* or NULL */
    float *f32;               /* one of the two forms is wanted */
    int8_t *i8;
    float *i8_scale;
    float *scratch; /* (workers, cols), for int8 */
    int limit;
} convert_job;

static void convert_row(void *user, size_t row, unsigned worker)
{
    convert_job *job = user;
    const size_t cols = (size_t)job->tensor->dims[0];
    float *values = job->f32 != NULL ? job->f32 + row * cols : job->scratch + worker * cols;
    if (expand_row(job->tensor, job->scale, row, values, NULL) != PITH_OK) {
        return; /* convert() has looked at the type: it does not happen */
    }
    if (job->delta != NULL) {
        pith__delta_add(job->delta, row, values);
    }
    if (job->i8 != NULL) {
        job->i8_scale[row] =
            pith__tensor_quantize_weights(values, cols, job->limit, job->i8 + row * cols);
    }
}

static pith_status convert(const loader *l, convert_job *job, pith__matrix *out)
{
    pith__arena *arena = &l->model->weights;
    const size_t rows = out->rows;
    const size_t cols = out->cols;
    const pith__gguf_codec *codec = pith__gguf_codec_of(job->tensor->type);
    if (codec == NULL || codec->dequantize == NULL) {
        return pith__fail_at(l->err, PITH_E_UNSUPPORTED, job->tensor->offset,
                             "tensor type %s cannot be read", codec == NULL ? "?" : codec->name);
    }
    /* waking threads for a small matrix costs more than converting it */
    const unsigned threads = rows * cols < CONVERT_ALONE ? 1 : pith__threads_available();
    if (l->model->precision == PITH_PRECISION_F32) {
        PITH__TRY(pith__arena_alloc(arena, rows, cols * sizeof *job->f32, &job->f32, l->err));
        pith__parallel(threads, rows, convert_row, job);
        out->f32 = job->f32;
        l->model->weight_bytes += rows * cols * sizeof(float);
        return PITH_OK;
    }
    PITH__TRY(pith__arena_alloc(arena, rows, cols, &job->i8, l->err));
    PITH__TRY(pith__arena_alloc(arena, rows, sizeof *job->i8_scale, &job->i8_scale, l->err));
    PITH__TRY(pith__alloc(&arena->mem, threads, cols * sizeof(float), &job->scratch, l->err));
    pith__parallel(threads, rows, convert_row, job);
    pith__free(&arena->mem, job->scratch, threads, cols * sizeof(float));
    out->i8 = job->i8;
    out->scale = job->i8_scale;
    l->model->weight_bytes += rows * (cols + sizeof(float));
    return PITH_OK;
}

/* The same for W + scale B A. */
static pith_status convert_adapted(const loader *l, convert_job *job,
                                   const pith__adapter_pair *pair, pith__matrix *out)
{
    pith__arena factors;
    pith__delta delta = {0};
    pith__arena_init(&factors, &l->model->weights.mem);
    pith_status status = pith__delta_of(pair, &factors, &delta, l->err);
    if (status == PITH_OK) {
        job->delta = &delta;
        status = convert(l, job, out);
    }
    pith__arena_deinit(&factors);
    return status;
}

/* The matrix `stem`.weight of shape (rows, cols) in the model's precision. */
static pith_status load_matrix(const loader *l, const char *stem, size_t rows, size_t cols,
                               pith__matrix *out)
{
    char name[96];
    (void)snprintf(name, sizeof name, "%s.weight", stem);
    const pith__gguf_tensor *tensor = NULL;
    const float *scale = NULL;
    PITH__TRY(find_tensor(l, name, rows, cols, &tensor));
    PITH__TRY(load_scale(l, tensor, stem, &scale));
    *out = (pith__matrix){.rows = rows, .cols = cols};
    l->model->parameters += tensor->elements;
    const bool f32 = l->model->precision == PITH_PRECISION_F32;
    const int limit = f32 ? 0 : l->model->ops->weight_limit();
    convert_job job = {.tensor = tensor, .scale = scale, .limit = limit};
    pith__adapter_pair pair = {0};
    if (l->adapter != NULL) {
        PITH__TRY(pith__adapter_find(l->adapter, name, rows, cols, &pair, l->err));
    }
    if (pair.a != NULL) {
        return convert_adapted(l, &job, &pair, out);
    }
    if (f32 && aligned_f32(tensor)) {
        out->f32 = (const float *)(const void *)tensor->data;
        l->model->weight_bytes += tensor->size;
        return PITH_OK;
    }
    if (!f32 && tensor->type == PITH__GGUF_TYPE_I8 && limit == 127) {
        out->i8 = (const int8_t *)tensor->data;
        out->scale = scale;
        l->model->weight_bytes += tensor->size;
        return PITH_OK;
    }
    return convert(l, &job, out);
}

static pith_status load_layer(const loader *l, uint32_t index, pith__layer *out)
{
    const pith__model_config *c = &l->model->config;
    const size_t q_width = (size_t)c->heads * c->head_dim;
    const size_t kv_width = (size_t)c->kv_heads * c->head_dim;
    const struct {
        const char *name;
        size_t rows, cols;
        pith__matrix *out;
    } matrices[] = {
        {"attn_q", q_width, c->width, &out->q},    {"attn_k", kv_width, c->width, &out->k},
        {"attn_v", kv_width, c->width, &out->v},   {"attn_output", c->width, q_width, &out->o},
        {"ffn_gate", c->ff, c->width, &out->gate}, {"ffn_up", c->ff, c->width, &out->up},
        {"ffn_down", c->width, c->ff, &out->down},
    };
    char name[64];
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) {
        (void)snprintf(name, sizeof name, "blk.%u.%s", index, matrices[i].name);
        PITH__TRY(load_matrix(l, name, matrices[i].rows, matrices[i].cols, matrices[i].out));
    }
    (void)snprintf(name, sizeof name, "blk.%u.attn_norm.weight", index);
    PITH__TRY(load_floats(l, name, 0, c->width, &out->attn_norm));
    (void)snprintf(name, sizeof name, "blk.%u.ffn_norm.weight", index);
    PITH__TRY(load_floats(l, name, 0, c->width, &out->ffn_norm));
    l->model->parameters += 2 * (uint64_t)c->width;
    return PITH_OK;
}

static pith_status load_embedding(const loader *l)
{
    pith__model *model = l->model;
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(l->gguf, "token_embd.weight");
    if (tensor == NULL || tensor->dims[1] > UINT32_MAX - 1) {
        return pith__fail(l->err, PITH_E_CORRUPT,
                          "tensor token_embd.weight is missing or too long");
    }
    model->config.vocabulary = (uint32_t)tensor->dims[1];
    PITH__TRY(find_tensor(l, "token_embd.weight", model->config.vocabulary, model->config.width,
                          &tensor));
    const pith__gguf_codec *codec = pith__gguf_codec_of(tensor->type);
    if (codec == NULL || codec->dequantize == NULL) {
        return pith__fail_at(l->err, PITH_E_UNSUPPORTED, tensor->offset,
                             "token_embd.weight: tensor type %s cannot be read",
                             codec == NULL ? "?" : codec->name);
    }
    model->embedding = *tensor;
    return load_scale(l, tensor, "token_embd", &model->embedding_scale);
}

/* Some llama files have biases; the forward pass does not, so their scores would be wrong. */
static pith_status refuse_biases(const loader *l)
{
    for (size_t i = 0; i < l->gguf->n_tensors; i++) {
        const pith__gguf_string name = l->gguf->tensors[i].name;
        if (pith__gguf_string_ends_with(name, ".bias")) {
            char printable[64];
            return pith__fail_at(l->err, PITH_E_UNSUPPORTED, l->gguf->tensors[i].offset,
                                 "tensor %s: biases are not supported",
                                 pith__gguf_printable(name, printable, sizeof printable));
        }
    }
    return PITH_OK;
}

static pith_status load_weights(const loader *l)
{
    pith__model *model = l->model;
    const pith__model_config *c = &model->config;
    PITH__TRY(refuse_biases(l));
    PITH__TRY(load_embedding(l));
    PITH__TRY(pith__arena_alloc_zero(&model->weights, c->layers, sizeof *model->layers,
                                     &model->layers, l->err));
    for (uint32_t i = 0; i < c->layers; i++) {
        PITH__TRY(load_layer(l, i, &model->layers[i]));
    }
    PITH__TRY(load_floats(l, "output_norm.weight", 0, c->width, &model->output_norm));
    model->parameters += c->width;
    if (pith__gguf_find_tensor(l->gguf, "rope_freqs.weight") != NULL) {
        PITH__TRY(load_floats(l, "rope_freqs.weight", 0, c->rope_pairs, &model->rope_factors));
    }
    const bool separate = pith__gguf_find_tensor(l->gguf, "output.weight") != NULL;
    if (separate) {
        model->parameters += model->embedding.elements;
    }
    PITH__TRY(
        load_matrix(l, separate ? "output" : "token_embd", c->vocabulary, c->width, &model->head));
    /* rows of the embedding are read as they are stored; only a tied head in that form is the same */
    const void *head = model->head.f32 != NULL ? (const void *)model->head.f32 : model->head.i8;
    model->weight_bytes += head == model->embedding.data ? 0 : model->embedding.size;
    return PITH_OK;
}

pith_status pith__model_load_adapted(const pith__gguf *gguf, pith__adapter *adapter,
                                     pith_precision precision, const pith_allocator *mem,
                                     pith__model *out, pith_error *err)
{
    *out = (pith__model){.ops = pith__tensor_cpu(),
                         .precision = precision == PITH_PRECISION_F32 ? PITH_PRECISION_F32
                                                                      : PITH_PRECISION_INT8};
    pith__arena_init(&out->weights, mem);
    const loader l = {.gguf = gguf, .adapter = adapter, .model = out, .err = err};
    pith_status status = read_config(&l);
    if (status == PITH_OK) {
        status = load_weights(&l);
    }
    if (status == PITH_OK && adapter != NULL) {
        status = pith__adapter_check_used(adapter, err);
    }
    if (status != PITH_OK) {
        pith__model_deinit(out);
    }
    return status;
}

pith_status pith__model_load(const pith__gguf *gguf, pith_precision precision,
                             const pith_allocator *mem, pith__model *out, pith_error *err)
{
    return pith__model_load_adapted(gguf, NULL, precision, mem, out, err);
}

void pith__model_deinit(pith__model *model)
{
    if (model->ops != NULL) {
        pith__arena_deinit(&model->weights);
    }
    memset(model, 0, sizeof *model);
}
