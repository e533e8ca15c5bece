/*
 * compressor_model.h: compressors with random weights for a model of tests/golden/models, as files in
 * memory: they make capsules at once, if no good ones.
 */
#ifndef PITH_COMPRESSOR_MODEL_H
#define PITH_COMPRESSOR_MODEL_H

#include "api/api.h"

#include "test.h"

enum { COMPRESSOR_WINDOW = 24, COMPRESSOR_SLOTS = 4, COMPRESSOR_RATIO = 6 };

static inline bool compressor_take(void *user, const char *data, size_t size)
{
    return pith__buf_append(user, data, size, NULL) == PITH_OK;
}

/* What a small compressor of this method says of itself. */
static inline pith__compressor_about compressor_about(const pith_model *model,
                                                      pith__compressor_method method)
{
    const bool is_selfcp = method == PITH__COMPRESSOR_SELFCP;
    pith__binding binding;
    pith__compressor_about about = {.shape = {.method = method,
                                              .slots = is_selfcp ? 0 : COMPRESSOR_SLOTS,
                                              .elastic = true,
                                              .ratio = is_selfcp ? COMPRESSOR_RATIO : 0,
                                              .layout = PITH__SLOTS_UNIFORM,
                                              .mode = PITH__SLOTS_CONTINUE,
                                              .window = COMPRESSOR_WINDOW,
                                              .has_norm = is_selfcp},
                                    .alpha = 4.0f,
                                    .name = "tiny",
                                    .format = "Q: {question}\nA: {answer}",
                                    .conditional = is_selfcp,
                                    .record = "{\"steps\": 3}"};
    pith__model_binding(model, &binding);
    memcpy(about.base_sha256, binding.model, sizeof about.base_sha256);
    return about;
}

/* All that such a compressor has learned, from -0.1 to 0.1; pith__weights_deinit(). */
static inline void compressor_weights(const pith__compressor_about *about, const pith_model *model,
                                      uint64_t seed, pith__weights *out)
{
    const unsigned matrices = (1u << PITH__MATRIX_Q) | (1u << PITH__MATRIX_V);
    pith_error err = {0};
    pith__weights_init(out, &pith__allocator_default);
    assert_ok(
        pith__compressor_layout(&about->shape, &model->weights.config, 2, matrices, out, &err),
        err);
    assert_ok(pith__weights_allocate(out, &err), err);
    for (size_t i = 0; i < out->n_items; i++) {
        const pith__weight *weight = &out->items[i];
        for (size_t k = 0; k < weight->rows * weight->cols; k++) {
            out->values[weight->at + k] =
                ((float)test_random_below(&seed, 2001) - 1000.0f) / 10000.0f;
        }
    }
}

/* Its file as bytes; pith__buf_deinit(). */
static inline void compressor_file(const pith__compressor_about *about, const pith_model *model,
                                   pith__buf *out)
{
    pith__weights weights;
    pith__arena arena;
    pith__gguf_writer writer;
    pith_error err = {0};
    compressor_weights(about, model, 5, &weights);
    pith__arena_init(&arena, &pith__allocator_default);
    pith__gguf_writer_init(&writer, &pith__allocator_default);
    pith__buf_init(out, &pith__allocator_default, SIZE_MAX);
    assert_ok(
        pith__compressor_add(about, &model->weights.config, &weights, false, &arena, &writer, &err),
        err);
    assert_ok(pith__gguf_writer_write(&writer, compressor_take, out, &err), err);
    pith__gguf_writer_deinit(&writer);
    pith__arena_deinit(&arena);
    pith__weights_deinit(&weights);
}

/* ---- through pith.h ------------------------------------------------------------------------ */

typedef struct compressor_fixture {
    pith_model *model;
    pith__buf data; /* of the compressor */
    pith_compressor *compressor;
    pith_ctx *ctx; /* which has it */
} compressor_fixture;

static inline pith_model *compressor_open_model(pith_precision precision)
{
    const pith_model_options options = {.struct_size = sizeof options, .precision = precision};
    pith_error err = {0};
    pith_model *model = NULL;
    assert_ok(pith_model_open(test_path("golden", "models/llama_gqa.gguf"), &options, &model, &err),
              err);
    return model;
}

/* `change` may make another compressor of it; NULL: it stays as it is. */
static inline void compressor_open(compressor_fixture *f, pith__compressor_method method,
                                   void (*change)(pith__compressor_about *about))
{
    pith_error err = {0};
    f->model = compressor_open_model(PITH_PRECISION_F32);
    pith__compressor_about about = compressor_about(f->model, method);
    if (change != NULL) {
        change(&about);
    }
    compressor_file(&about, f->model, &f->data);
    assert_ok(
        pith_compressor_open_memory(f->data.data, f->data.size, f->model, &f->compressor, &err),
        err);
    assert_ok(pith_ctx_new(f->model, &f->ctx, &err), err);
    assert_ok(pith_ctx_set(f->ctx, "threads", "1", &err), err);
    assert_ok(pith_ctx_set_compressor(f->ctx, f->compressor, &err), err);
}

static inline void compressor_close(compressor_fixture *f)
{
    pith_ctx_free(f->ctx);
    pith_compressor_free(f->compressor);
    pith__buf_deinit(&f->data);
    pith_model_free(f->model);
}

static inline void compressor_set(const compressor_fixture *f, const char *name, const char *value)
{
    pith_error err = {0};
    assert_ok(pith_ctx_set(f->ctx, name, value, &err), err);
}

static inline pith_capsule *compressor_encode(const compressor_fixture *f, const char *text)
{
    pith_error err = {0};
    pith_capsule *capsule = NULL;
    assert_ok(pith_encode(f->ctx, text, strlen(text), &capsule, &err), err);
    return capsule;
}

#endif /* PITH_COMPRESSOR_MODEL_H */
