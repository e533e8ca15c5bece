/*
 * export.c: finished models as GGUF files, and the vocabularies they share.
 */
#include "train/run.h"

#include <stdio.h>
#include <string.h>

/* ---- vocabularies ----------------------------------------------------------------------------- */

pith_status pith__vocabulary_open(const char *path, const pith_allocator *mem,
                                  pith__vocabulary *out, pith_error *err)
{
    *out = (pith__vocabulary){0};
    if (path == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "a tokenizer is needed");
    }
    pith_status status = pith__file_open(path, &out->file, err);
    if (status == PITH_OK) {
        status = pith__gguf_parse(out->file.data, out->file.size, mem, &out->gguf, err);
    }
    if (status == PITH_OK) {
        status = pith__tokenizer_from_gguf(&out->gguf, mem, &out->tokenizer, err);
    }
    if (status != PITH_OK) {
        pith__vocabulary_close(out);
    }
    return status;
}

void pith__vocabulary_close(pith__vocabulary *vocabulary)
{
    pith__tokenizer_free(vocabulary->tokenizer);
    pith__gguf_deinit(&vocabulary->gguf);
    pith__file_close(&vocabulary->file);
    memset(vocabulary, 0, sizeof *vocabulary);
}

uint32_t pith__document_end(const pith__tokenizer *tokenizer)
{
    const uint32_t eos = pith__tokenizer_eos(tokenizer);
    return eos == PITH__TOKEN_NONE ? pith__tokenizer_bos(tokenizer) : eos;
}

/* ---- models ------------------------------------------------------------------------------------- */

typedef struct exporter {
    pith__gguf_writer *writer;
    pith__arena *arena; /* converted tensors, until the file is written */
    pith_error *err;
} exporter;

static pith_status add_config(exporter *e, const char *name, const pith__model_config *c)
{
    pith__gguf_writer *w = e->writer;
    const struct {
        const char *key;
        uint32_t value;
    } sizes[] = {
        {"llama.block_count", c->layers},
        {"llama.context_length", c->context},
        {"llama.embedding_length", c->width},
        {"llama.feed_forward_length", c->ff},
        {"llama.attention.head_count", c->heads},
        {"llama.attention.head_count_kv", c->kv_heads},
        {"llama.attention.key_length", c->head_dim},
        {"llama.attention.value_length", c->head_dim},
        {"llama.rope.dimension_count", 2 * c->rope_pairs},
        {"llama.vocab_size", c->vocabulary},
    };
    PITH__TRY(pith__gguf_writer_add_string(w, "general.architecture", "llama", 5, e->err));
    PITH__TRY(pith__gguf_writer_add_string(w, "general.name", name, strlen(name), e->err));
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        PITH__TRY(pith__gguf_writer_add_u32(w, sizes[i].key, sizes[i].value, e->err));
    }
    PITH__TRY(pith__gguf_writer_add_f32(w, "llama.rope.freq_base", c->rope_base, e->err));
    if (c->rope_scale != 1.0f) {
        PITH__TRY(pith__gguf_writer_add_string(w, "llama.rope.scaling.type", "linear", 6, e->err));
        PITH__TRY(pith__gguf_writer_add_f32(w, "llama.rope.scaling.factor", 1.0f / c->rope_scale,
                                            e->err));
    }
    return pith__gguf_writer_add_f32(w, "llama.attention.layer_norm_rms_epsilon", c->norm_eps,
                                     e->err);
}

/* Values of tokenizer.ggml.token_type. */
enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3 };

#define TOKENS "tokenizer.ggml.tokens"
#define TYPES  "tokenizer.ggml.token_type"
#define SCORES "tokenizer.ggml.scores"

static pith_status add_tokens(exporter *e, const pith__gguf_array *tokens, const char *more)
{
    pith__gguf_string *texts = NULL;
    PITH__TRY(pith__arena_alloc(e->arena, tokens->count + 1, sizeof *texts, &texts, e->err));
    pith__gguf_strings strings = pith__gguf_strings_of(tokens);
    for (size_t i = 0; pith__gguf_strings_next(&strings, &texts[i]); i++) {
    }
    texts[tokens->count] = (pith__gguf_string){more, strlen(more)};
    return pith__gguf_writer_add_strings(e->writer, TOKENS, texts, tokens->count + 1, e->err);
}

/* A file without types has normal tokens only. */
static pith_status add_types(exporter *e, const pith__gguf *vocabulary, size_t count)
{
    pith__gguf_array types;
    int32_t *values = NULL;
    PITH__TRY(
        pith__gguf_get_array_or_empty(vocabulary, TYPES, PITH__GGUF_VALUE_I32, &types, e->err));
    PITH__TRY(pith__arena_alloc(e->arena, count + 1, sizeof *values, &values, e->err));
    for (size_t i = 0; i < count; i++) {
        values[i] = i < types.count ? pith__gguf_array_i32(&types, i) : TYPE_NORMAL;
    }
    values[count] = TYPE_CONTROL;
    return pith__gguf_writer_add_i32s(e->writer, TYPES, values, count + 1, e->err);
}

static pith_status add_scores(exporter *e, const pith__gguf *vocabulary, size_t count)
{
    pith__gguf_array scores;
    float *values = NULL;
    PITH__TRY(
        pith__gguf_get_array_or_empty(vocabulary, SCORES, PITH__GGUF_VALUE_F32, &scores, e->err));
    if (scores.count == 0) {
        return PITH_OK;
    }
    PITH__TRY(pith__arena_alloc(e->arena, count + 1, sizeof *values, &values, e->err));
    for (size_t i = 0; i <= count; i++) {
        values[i] = i < scores.count ? pith__gguf_array_f32(&scores, i) : 0.0f;
    }
    return pith__gguf_writer_add_f32s(e->writer, SCORES, values, count + 1, e->err);
}

/* The arrays with an entry per token, made longer by a control token. */
static pith_status add_grown(exporter *e, const pith__gguf *vocabulary, const char *more)
{
    pith__gguf_array tokens;
    PITH__TRY(pith__gguf_get_array(vocabulary, TOKENS, PITH__GGUF_VALUE_STRING, &tokens, e->err));
    PITH__TRY(add_tokens(e, &tokens, more));
    PITH__TRY(add_types(e, vocabulary, tokens.count));
    return add_scores(e, vocabulary, tokens.count);
}

static bool is_per_token(pith__gguf_string key)
{
    return pith__gguf_string_equal(key, TOKENS) || pith__gguf_string_equal(key, TYPES) ||
           pith__gguf_string_equal(key, SCORES);
}

static pith_status add_vocabulary(exporter *e, const pith__gguf *vocabulary, const char *more)
{
    static const char prefix[] = "tokenizer.";
    for (size_t i = 0; i < vocabulary->n_kvs; i++) {
        const pith__gguf_kv *kv = &vocabulary->kvs[i];
        if (kv->key.size > sizeof prefix - 1 &&
            memcmp(kv->key.data, prefix, sizeof prefix - 1) == 0 &&
            (more == NULL || !is_per_token(kv->key))) {
            PITH__TRY(pith__gguf_writer_add_kv(e->writer, kv, e->err));
        }
    }
    return more == NULL ? PITH_OK : add_grown(e, vocabulary, more);
}

static pith_status add_tensor(exporter *e, const char *name, const pith__weight *weight,
                              pith__gguf_type type, const void *data)
{
    const pith__gguf_tensor tensor = {.name = {name, strlen(name)},
                                      .n_dims = weight->rows == 1 ? 1 : 2,
                                      .dims = {weight->cols, weight->rows, 1, 1},
                                      .type = type,
                                      .data = data};
    return pith__gguf_writer_add_tensor(e->writer, &tensor, e->err);
}

/* NAME.weight as int8 rows, NAME.scale with their scales. */
static pith_status add_int8(exporter *e, const pith__weight *weight, const float *values)
{
    int8_t *i8 = NULL;
    float *scale = NULL;
    PITH__TRY(pith__arena_alloc(e->arena, weight->rows, weight->cols, &i8, e->err));
    PITH__TRY(pith__arena_alloc(e->arena, weight->rows, sizeof *scale, &scale, e->err));
    for (size_t r = 0; r < weight->rows; r++) {
        scale[r] = pith__tensor_quantize_weights(values + r * weight->cols, weight->cols, 127,
                                                 i8 + r * weight->cols);
    }
    char name[PITH__WEIGHT_NAME_SIZE + sizeof ".scale"];
    const size_t stem = strlen(weight->name) - (sizeof ".weight" - 1);
    (void)snprintf(name, sizeof name, "%.*s.scale", (int)stem, weight->name);
    const pith__weight scales = {.rows = 1, .cols = weight->rows};
    PITH__TRY(add_tensor(e, weight->name, weight, PITH__GGUF_TYPE_I8, i8));
    return add_tensor(e, name, &scales, PITH__GGUF_TYPE_F32, scale);
}

static pith_status add_f16(exporter *e, const pith__weight *weight, const float *values)
{
    const size_t count = weight->rows * weight->cols;
    uint16_t *half = NULL;
    PITH__TRY(pith__arena_alloc(e->arena, count, sizeof *half, &half, e->err));
    PITH__TRY(pith__gguf_quantize(PITH__GGUF_TYPE_F16, values, half, count, e->err));
    return add_tensor(e, weight->name, weight, PITH__GGUF_TYPE_F16, half);
}

static pith_status add_weights(exporter *e, const pith__weights *weights, pith__weight_type type)
{
    for (size_t i = 0; i < weights->n_items; i++) {
        const pith__weight *weight = &weights->items[i];
        const float *values = weights->values + weight->at;
        const bool plain = weight->kind == PITH__WEIGHT_VECTOR || type == PITH__WEIGHT_F32;
        PITH__TRY(plain ? add_tensor(e, weight->name, weight, PITH__GGUF_TYPE_F32, values)
                  : type == PITH__WEIGHT_F16 ? add_f16(e, weight, values)
                                             : add_int8(e, weight, values));
    }
    return PITH_OK;
}

pith_status pith__export_add(const pith__exported *model, pith__arena *arena,
                             pith__gguf_writer *writer, pith_error *err)
{
    exporter e = {writer, arena, err};
    PITH__TRY(add_config(&e, model->name == NULL ? "" : model->name, model->config));
    PITH__TRY(add_vocabulary(&e, model->vocabulary, model->token));
    return add_weights(&e, model->weights, model->type);
}

pith_status pith__export_model(const char *path, const char *name, const pith__model_config *config,
                               const pith__weights *weights, const pith__gguf *vocabulary,
                               pith__weight_type type, const pith_allocator *mem, pith_error *err)
{
    const pith__exported model = {
        .name = name, .config = config, .weights = weights, .vocabulary = vocabulary, .type = type};
    pith__gguf_writer writer;
    pith__arena arena;
    pith__gguf_writer_init(&writer, mem);
    pith__arena_init(&arena, mem);
    pith_status status = pith__export_add(&model, &arena, &writer, err);
    if (status == PITH_OK) {
        status = pith__gguf_writer_save(&writer, path, err);
    }
    pith__arena_deinit(&arena);
    pith__gguf_writer_deinit(&writer);
    return status;
}
