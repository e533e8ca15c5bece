/*
 * model_fixture.h: a model of tests/golden/models, open, with what a forward pass needs.
 */
#ifndef PITH_MODEL_FIXTURE_H
#define PITH_MODEL_FIXTURE_H

#include "model/model.h"

#include "test.h"

typedef struct fixture {
    pith__file file;
    pith__gguf gguf;
    pith__model model;
    pith__arena arena;
    pith__tensor_ctx ctx;
} fixture;

static inline void fixture_open(fixture *f, const char *name, pith_precision precision,
                                unsigned threads)
{
    pith_error err = {0};
    char relative[64];
    (void)snprintf(relative, sizeof relative, "models/%s.gguf", name);
    assert_ok(pith__file_open(test_path("golden", relative), &f->file, &err), err);
    assert_ok(
        pith__gguf_parse(f->file.data, f->file.size, &pith__allocator_default, &f->gguf, &err),
        err);
    assert_ok(pith__model_load(&f->gguf, precision, &pith__allocator_default, &f->model, &err),
              err);
    pith__arena_init(&f->arena, &pith__allocator_default);
    f->ctx = (pith__tensor_ctx){threads, &f->arena};
}

static inline void fixture_close(fixture *f)
{
    pith__arena_deinit(&f->arena);
    pith__model_deinit(&f->model);
    pith__gguf_deinit(&f->gguf);
    pith__file_close(&f->file);
}

static inline void random_ids(const fixture *f, uint32_t *ids, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        ids[i] = (uint32_t)test_random_below(&seed, f->model.config.vocabulary);
    }
}

#endif /* PITH_MODEL_FIXTURE_H */
