/*
 * gist_model.h: a model of tests/golden/models with the keys of one that was trained to gist, which
 * makes capsules at once, if no good ones.
 */
#ifndef PITH_GIST_MODEL_H
#define PITH_GIST_MODEL_H

#include "soft/soft.h"

#include "test.h"

enum { GIST_SLOTS = 3, GIST_TOKEN = 7 };

typedef struct gist_keys {
    uint32_t slots;
    uint32_t token;
    size_t row; /* numbers of a row in the place of the token; 0: none */
} gist_keys;

static inline bool gist_take(void *user, const char *data, size_t size)
{
    return pith__buf_append(user, data, size, NULL) == PITH_OK;
}

static inline void gist_add_keys(pith__gguf_writer *writer, const gist_keys *keys)
{
    static const char *const texts[][2] = {{PITH__GIST_PREFIX, "Do: "},
                                           {PITH__GIST_MIDDLE, "\n"},
                                           {PITH__GIST_SUFFIX, "\nWith: {input}\n"}};
    pith_error err = {0};
    assert_ok(pith__gguf_writer_add_u32(writer, PITH__GIST_SLOTS, keys->slots, &err), err);
    if (keys->row > 0) {
        float *row = calloc(keys->row, sizeof *row);
        assert_non_null(row);
        assert_ok(pith__gguf_writer_add_f32s(writer, PITH__GIST_ROW, row, keys->row, &err), err);
        free(row);
    } else {
        assert_ok(pith__gguf_writer_add_u32(writer, PITH__GIST_TOKEN, keys->token, &err), err);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_ok(pith__gguf_writer_add_string(writer, texts[i][0], texts[i][1],
                                               strlen(texts[i][1]), &err),
                  err);
    }
}

/* The bytes of llama_gqa.gguf with these keys; to be released with pith__buf_deinit(). */
static inline void gist_model(const gist_keys *keys, pith__buf *out)
{
    pith_error err = {0};
    size_t size = 0;
    char *data = test_read_file(test_path("golden", "models/llama_gqa.gguf"), &size);
    pith__gguf gguf;
    pith__gguf_writer writer;
    pith__buf_init(out, &pith__allocator_default, SIZE_MAX);
    pith__gguf_writer_init(&writer, &pith__allocator_default);
    assert_ok(pith__gguf_parse(data, size, &pith__allocator_default, &gguf, &err), err);
    for (size_t i = 0; i < gguf.n_kvs; i++) {
        assert_ok(pith__gguf_writer_add_kv(&writer, &gguf.kvs[i], &err), err);
    }
    gist_add_keys(&writer, keys);
    for (size_t i = 0; i < gguf.n_tensors; i++) {
        assert_ok(pith__gguf_writer_add_tensor(&writer, &gguf.tensors[i], &err), err);
    }
    assert_ok(pith__gguf_writer_write(&writer, gist_take, out, &err), err);
    pith__gguf_writer_deinit(&writer);
    pith__gguf_deinit(&gguf);
    free(data);
}

/* ---- through pith.h ------------------------------------------------------------------------ */

typedef struct gist_fixture {
    pith__buf data; /* of the model */
    pith_model *model;
    pith_ctx *ctx;
} gist_fixture;

static inline void gist_open(gist_fixture *f)
{
    const gist_keys keys = {.slots = GIST_SLOTS, .token = GIST_TOKEN};
    const pith_model_options options = {.struct_size = sizeof options,
                                        .precision = PITH_PRECISION_F32};
    pith_error err = {0};
    gist_model(&keys, &f->data);
    assert_ok(pith_model_open_memory(f->data.data, f->data.size, &options, &f->model, &err), err);
    assert_ok(pith_ctx_new(f->model, &f->ctx, &err), err);
    assert_ok(pith_ctx_set(f->ctx, "threads", "1", &err), err);
}

static inline void gist_close(gist_fixture *f)
{
    pith_ctx_free(f->ctx);
    pith_model_free(f->model);
    pith__buf_deinit(&f->data);
}

static inline void gist_set(const gist_fixture *f, const char *name, const char *value)
{
    pith_error err = {0};
    assert_ok(pith_ctx_set(f->ctx, name, value, &err), err);
}

static inline pith_capsule *gist_encode(const gist_fixture *f, const char *text)
{
    pith_error err = {0};
    pith_capsule *capsule = NULL;
    gist_set(f, "method", "gist");
    assert_ok(pith_encode(f->ctx, text, strlen(text), &capsule, &err), err);
    return capsule;
}

#endif /* PITH_GIST_MODEL_H */
