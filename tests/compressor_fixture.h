/*
 * compressor_fixture.h: compressors of every shape, with random tensors, and their files as bytes.
 */
#ifndef PITH_COMPRESSOR_FIXTURE_H
#define PITH_COMPRESSOR_FIXTURE_H

#include "capsule_fixture.h"
#include "grad_fixture.h"

/* Of all methods and both values of every member. */
static const pith__compressor_shape SHAPES[] = {
    {.method = PITH__COMPRESSOR_500X,
     .slots = 4,
     .elastic = true,
     .layout = PITH__SLOTS_UNIFORM,
     .mode = PITH__SLOTS_CONTINUE,
     .window = 20},
    {.method = PITH__COMPRESSOR_500X,
     .slots = 4,
     .layout = PITH__SLOTS_END,
     .mode = PITH__SLOTS_RELEASE,
     .window = 20,
     .pads = true},
    {.method = PITH__COMPRESSOR_ICAE,
     .slots = 3,
     .elastic = true,
     .layout = PITH__SLOTS_END,
     .window = 20},
    {.method = PITH__COMPRESSOR_ICAE,
     .slots = 3,
     .layout = PITH__SLOTS_UNIFORM,
     .window = 20,
     .pads = true},
    {.method = PITH__COMPRESSOR_SELFCP,
     .elastic = true,
     .ratio = 4,
     .layout = PITH__SLOTS_END,
     .window = 20,
     .has_norm = true},
    {.method = PITH__COMPRESSOR_SELFCP,
     .elastic = true,
     .ratio = 5,
     .layout = PITH__SLOTS_UNIFORM,
     .window = 20},
};

enum { N_SHAPES = sizeof SHAPES / sizeof SHAPES[0] };

typedef struct made {
    pith__compressor_about about;
    pith__weights weights;
    pith__compressor compressor;
} made;

/* A view of what is in the weights by now. */
static inline void made_view(made *m, const pith__model_config *config)
{
    pith_error err = {0};
    assert_ok(pith__compressor_of(&m->about.shape, config, &m->weights, m->about.alpha, 0.0f,
                                  &pith__allocator_default, &m->compressor, &err),
              err);
}

/* LoRA has rank 2, on three matrices. */
static inline made made_of(const pith__compressor_shape *shape, const pith__model_config *config,
                           uint64_t seed)
{
    const unsigned matrices = 1u << PITH__MATRIX_Q | 1u << PITH__MATRIX_V | 1u << PITH__MATRIX_DOWN;
    const bool selfcp = shape->method == PITH__COMPRESSOR_SELFCP;
    made m = {.about = {.shape = *shape,
                        .alpha = selfcp ? 0.0f : 3.0f,
                        .name = "sample",
                        .format = "Q: {question}\nA: {answer}",
                        .conditional = selfcp && shape->has_norm,
                        .record = "{\"steps\": 7}"}};
    pith_error err = {0};
    pith__sha256_of("model", 5, m.about.base_sha256);
    pith__weights_init(&m.weights, &pith__allocator_default);
    assert_ok(pith__compressor_layout(shape, config, 2, matrices, &m.weights, &err), err);
    assert_ok(pith__weights_allocate(&m.weights, &err), err);
    for (size_t i = 0; i < m.weights.n_items; i++) {
        const pith__weight *weight = &m.weights.items[i];
        fill_normal(m.weights.values + weight->at, weight_count(weight), 0.3, seed + i);
    }
    made_view(&m, config);
    return m;
}

static inline void made_close(made *m)
{
    pith__compressor_deinit(&m->compressor);
    pith__weights_deinit(&m->weights);
}

static inline bool bytes_append(void *user, const char *data, size_t size)
{
    return pith__buf_append(user, data, size, NULL) == PITH_OK;
}

/* What a writer has. */
static inline bytes bytes_written(const pith__gguf_writer *writer)
{
    pith_error err = {0};
    pith__buf buf;
    pith__buf_init(&buf, &pith__allocator_default, SIZE_MAX / 4);
    assert_ok(pith__gguf_writer_write(writer, bytes_append, &buf, &err), err);
    const bytes file = bytes_copy(buf.data, buf.size);
    pith__buf_deinit(&buf);
    return file;
}

static inline bytes made_bytes(const made *m, const pith__model_config *config, bool half)
{
    pith_error err = {0};
    pith__gguf_writer writer;
    pith__arena arena;
    pith__gguf_writer_init(&writer, &pith__allocator_default);
    pith__arena_init(&arena, &pith__allocator_default);
    assert_ok(pith__compressor_add(&m->about, config, &m->weights, half, &arena, &writer, &err),
              err);
    const bytes file = bytes_written(&writer);
    pith__arena_deinit(&arena);
    pith__gguf_writer_deinit(&writer);
    return file;
}

/* A compressor from a file. The record is left out: it would point into the file. */
static inline pith_status made_load(made *m, const bytes *file, const pith__model_config *config,
                                    const char *base_sha256, const pith_allocator *mem,
                                    pith_error *err)
{
    pith__gguf gguf = {0};
    size_t record_size = 0;
    *m = (made){0};
    pith__weights_init(&m->weights, mem);
    pith_status status = pith__gguf_parse(file->data, file->size, mem, &gguf, err);
    if (status == PITH_OK) {
        status = pith__compressor_load(&gguf, config, base_sha256, &m->weights, &m->about,
                                       &record_size, err);
    }
    if (status == PITH_OK) {
        status = pith__compressor_of(&m->about.shape, config, &m->weights, m->about.alpha, 0.0f,
                                     mem, &m->compressor, err);
    }
    m->about.record = NULL;
    pith__gguf_deinit(&gguf);
    if (status != PITH_OK) {
        made_close(m);
    }
    return status;
}

#endif /* PITH_COMPRESSOR_FIXTURE_H */
