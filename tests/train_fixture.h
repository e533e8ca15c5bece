/*
 * train_fixture.h: a few weights of every kind and shape, and an optimiser for them.
 */
#ifndef PITH_TRAIN_FIXTURE_H
#define PITH_TRAIN_FIXTURE_H

#include "test.h"
#include "train/train.h"

#include <math.h>

/* Roughly normal with standard deviation 1: the sum of four uniform numbers. */
static inline float train_normal(uint64_t *random)
{
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        sum += (double)(test_random(random) >> 11) / 9007199254740992.0;
    }
    return (float)((sum - 2) * sqrt(3));
}

static inline void train_fill(uint64_t seed, size_t count, float *out)
{
    for (size_t i = 0; i < count; i++) {
        out[i] = train_normal(&seed);
    }
}

static inline pith__optimizer_settings train_settings(pith__optimizer_kind kind)
{
    return (pith__optimizer_settings){.kind = kind,
                                      .rate = 0.02,
                                      .muon_rate = 0.02,
                                      .beta1 = 0.9,
                                      .beta2 = 0.95,
                                      .eps = 1e-8,
                                      .momentum = 0.95,
                                      .decay = 0.1,
                                      .clip = 1};
}

/* Five tensors; values are random. Released with pith__weights_deinit(), whatever is returned. */
static inline pith_status train_weights(const pith_allocator *mem, pith__weights *weights,
                                        pith_error *err)
{
    pith__weights_init(weights, mem);
    PITH__TRY(pith__weights_add(weights, "token_embd.weight", PITH__WEIGHT_EMBEDDING, 30, 12, err));
    PITH__TRY(pith__weights_add(weights, "norm.weight", PITH__WEIGHT_VECTOR, 1, 12, err));
    PITH__TRY(pith__weights_add(weights, "wide.weight", PITH__WEIGHT_MATRIX, 12, 40, err));
    PITH__TRY(pith__weights_add(weights, "tall.weight", PITH__WEIGHT_MATRIX, 41, 12, err));
    PITH__TRY(pith__weights_add(weights, "square.weight", PITH__WEIGHT_MATRIX, 13, 13, err));
    PITH__TRY(pith__weights_allocate(weights, err));
    for (size_t i = 0; i < weights->n_items; i++) {
        const pith__weight *item = &weights->items[i];
        train_fill(i + 1, item->rows * item->cols, weights->values + item->at);
    }
    return PITH_OK;
}

/* A gradient of that form, its padding 0. */
static inline void train_gradient(const pith__weights *weights, uint64_t seed, float *out)
{
    memset(out, 0, weights->count * sizeof *out);
    for (size_t i = 0; i < weights->n_items; i++) {
        const pith__weight *item = &weights->items[i];
        train_fill(seed * 100 + i, item->rows * item->cols, out + item->at);
    }
}

#endif /* PITH_TRAIN_FIXTURE_H */
