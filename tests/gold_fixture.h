/*
 * gold_fixture.h: losses and gradients of independent implementations (float64 PyTorch;
 * tests/golden/train), and how far off the library's are.
 */
#ifndef PITH_GOLD_FIXTURE_H
#define PITH_GOLD_FIXTURE_H

#include "golden_json.h"
#include "grad_fixture.h"

/* Float32 against float64. The references' own note allows 1e-4 and 1e-3. */
#define LOSS_TOLERANCE     5e-6
#define GRADIENT_TOLERANCE 2e-5
#define LOGIT_TOLERANCE    5e-5

enum {
    WIDTH = 64,
    VOCABULARY = 1024,
    KV = 32, /* kv_heads * head_dim of llama_gqa */
    LAYERS = 2,
    ROWS_MAX = 96
};

/* ---- reference values ---------------------------------------------------------------------- */

typedef struct gold {
    json_t *root;
    const json_t *part; /* of the root, borrowed */
    pith__file file;
    pith__gguf arrays;
} gold;

static inline void gold_open(gold *g, const char *name)
{
    char path[64];
    pith_error err = {0};
    memset(g, 0, sizeof *g);
    g->root = golden_load(test_path("golden", "train/train.json"));
    g->part = json_object_get(g->root, name);
    assert_non_null(g->part);
    (void)snprintf(path, sizeof path, "train/%s.gguf", name);
    assert_ok(pith__file_open(test_path("golden", path), &g->file, &err), err);
    assert_ok(
        pith__gguf_parse(g->file.data, g->file.size, &pith__allocator_default, &g->arrays, &err),
        err);
}

static inline void gold_close(gold *g)
{
    pith__gguf_deinit(&g->arrays);
    pith__file_close(&g->file);
    json_decref(g->root);
}

static inline const float *gold_array(const gold *g, const char *name, size_t count)
{
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(&g->arrays, name);
    if (tensor == NULL || tensor->type != PITH__GGUF_TYPE_F32 || tensor->elements != count ||
        (uintptr_t)tensor->data % sizeof(float) != 0) {
        fail_msg("no array %s of %zu floats", name, count);
        return NULL;
    }
    return (const float *)(const void *)tensor->data;
}

static inline double gold_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) {
        fail_msg("no number \"%s\"", key);
    }
    return json_number_value(value);
}

static inline size_t gold_size(const json_t *object, const char *key)
{
    const int64_t value = golden_integer(object, key);
    assert_true(value >= 0);
    return (size_t)value;
}

/* Appends the ids of a list; returns the new count. */
static inline size_t gold_ids(const json_t *object, const char *key, uint32_t *ids, size_t count)
{
    const json_t *list = json_object_get(object, key);
    assert_true(json_array_size(list) > 0);
    assert_true(count + json_array_size(list) <= ROWS_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        ids[count++] = (uint32_t)json_integer_value(json_array_get(list, i));
    }
    return count;
}

/* ---- comparing -------------------------------------------------------------------------------- */

typedef struct worst {
    double loss;     /* absolute, nats */
    double gradient; /* relative, in the Euclidean norm */
    double logit;    /* absolute */
    size_t arrays;   /* compared */
} worst;

static inline void worst_loss(worst *w, double got, double expected)
{
    keep_worst(&w->loss, fabs(got - expected));
}

static inline void worst_gradient(worst *w, const float *got, const float *expected, size_t count)
{
    keep_worst(&w->gradient, relative_error(got, expected, count));
    w->arrays++;
}

static inline void worst_report(const char *name, const worst *w)
{
    print_message("%-14s worst: loss %.1e, gradient %.1e (%zu arrays), logits and states %.1e\n",
                  name, w->loss, w->gradient, w->arrays, w->logit);
    assert_true(w->loss < LOSS_TOLERANCE);
    assert_true(w->gradient < GRADIENT_TOLERANCE);
    assert_true(w->logit < LOGIT_TOLERANCE);
    assert_true(w->arrays > 0);
}

/* ---- models ----------------------------------------------------------------------------------- */

/* Base and reference together. */
typedef struct bench {
    fixture file;
    trainable base;
    gold gold;
} bench;

static inline void base_open(fixture *file, trainable *base, const char *name, bool tied)
{
    fixture_open(file, name, PITH_PRECISION_F32, 2);
    assert_int_equal(file->model.config.width, WIDTH);
    assert_int_equal(file->model.config.vocabulary, VOCABULARY);
    assert_int_equal(file->model.config.layers, LAYERS);
    trainable_copy(base, &file->model, tied, 2);
}

static inline void bench_open(bench *b, const char *part)
{
    base_open(&b->file, &b->base, "llama_gqa", true);
    assert_int_equal(kv_width(&b->base.model.config), KV);
    gold_open(&b->gold, part);
}

static inline void bench_close(bench *b)
{
    gold_close(&b->gold);
    trainable_close(&b->base);
    fixture_close(&b->file);
}

/* No gradient of the frozen base: nothing was written where it would go. */
static inline void assert_frozen(const trainable *base)
{
    for (size_t i = 0; i < base->weights.count; i++) {
        assert_true(base->gradients[i] == 0.0f);
    }
}

#endif /* PITH_GOLD_FIXTURE_H */
