/*
 * compressing.h: a compressor that learns for a frozen model, and what the model says of a text it
 * knows by its capsule alone.
 */
#ifndef PITH_COMPRESSING_H
#define PITH_COMPRESSING_H

#include "soft/soft.h"
#include "train/memory.h"

#include "learner.h"

/* Every matrix of a block has an adapter: with those of queries and values alone, as in the papers,
 * so small a model learns slowly (test_learn_500x: .86 where it has 1.00 with all seven). */
#define COMPRESSING_MATRICES ((1U << PITH__BLOCK_MATRICES) - 1)

/* Whether figures are wanted that no test is judged by, of every seed. */
static inline bool compressing_wants_all(void)
{
    return getenv("PITH_LEARN_ALL") != NULL; /* NOLINT(concurrency-mt-unsafe): one thread */
}

/* ---- what learns ------------------------------------------------------------------------------ */

typedef struct compressing {
    trainable *base; /* borrowed; frozen */
    pith__weights weights;
    float *gradients; /* (weights.count) */
    pith__compressor compressor;
    pith__optimizer optimizer;
} compressing;

/* Slot rows are as large as embeddings are, and differ from the start. */
static inline void compressing_open(compressing *c, trainable *base,
                                    const pith__compressor_shape *shape, uint32_t rank, double rate,
                                    uint64_t seed)
{
    const pith__model_config *config = &base->model.config;
    pith_error err = {0};
    *c = (compressing){.base = base};
    pith__weights_init(&c->weights, mem);
    assert_ok(pith__compressor_layout(shape, config, rank, COMPRESSING_MATRICES, &c->weights, &err),
              err);
    assert_ok(pith__weights_allocate(&c->weights, &err), err);
    pith__lora_initialise(&c->weights, seed);
    const pith__weight *slots = weight_named(&c->weights, PITH__COMPRESSOR_SLOTS);
    fill_normal(c->weights.values + slots->at, weight_count(slots), 1.0, seed);
    assert_ok(pith__compressor_of(shape, config, &c->weights, (float)rank, 0.0f, mem,
                                  &c->compressor, &err),
              err);
    c->gradients = calloc(c->weights.count, sizeof *c->gradients);
    assert_non_null(c->gradients);
    learner_optimizer(&c->weights, rate, &c->optimizer);
}

static inline void compressing_close(compressing *c)
{
    pith__optimizer_deinit(&c->optimizer);
    pith__compressor_deinit(&c->compressor);
    pith__weights_deinit(&c->weights);
    free(c->gradients);
}

/* One update; the mean loss before it, in nats per target. */
static inline double compressing_step(compressing *c, const pith__memory_sample *samples, size_t n,
                                      double multiplier)
{
    const pith__memory_learner learner = {
        .model = &c->base->model,
        .compressor = &c->compressor,
        .sink = {c->weights.values, c->gradients, c->weights.count}};
    pith_error err = {0};
    double loss = 0.0;
    double norm = 0.0;
    uint64_t tokens = 0;
    memset(c->gradients, 0, c->weights.count * sizeof *c->gradients);
    assert_ok(pith__memory_learn(&learner, &c->base->ctx, samples, n, &loss, &tokens, NULL, &err),
              err);
    pith__arena_reset(&c->base->arena);
    assert_ok(pith__optimizer_step(&c->optimizer, &c->base->ctx, c->gradients, 1.0 / (double)tokens,
                                   multiplier, &norm, &err),
              err);
    return loss / (double)tokens;
}

/* ---- what has learned, in use ------------------------------------------------------------------ */

/* A copy of the frozen model with the adapter in its weights. */
static inline void compressing_encoder(const compressing *c, trainable *encoder)
{
    pith_error err = {0};
    learner_copy(encoder, c->base);
    assert_ok(pith__grad_merge(&c->compressor.lora, &encoder->weights, &err), err);
}

static inline pith__capsule *compressing_capsule(const compressing *c, const trainable *encoder,
                                                 const uint32_t *ids, size_t count, uint32_t slots)
{
    const pith__compress_input input = {.compressor = &c->compressor,
                                        .encoder = &encoder->model,
                                        .threads = 1,
                                        .ids = ids,
                                        .count = count,
                                        .slots = slots};
    pith_error err = {0};
    pith__capsule *capsule = NULL;
    assert_ok(pith__compress(&input, mem, &capsule, &err), err);
    assert_int_equal(capsule->slots, slots);
    return capsule;
}

/* A reader of the frozen model that has read a capsule, or (count) ids if it is NULL, or nothing. */
static inline void compressing_reader(const trainable *base, const pith__capsule *capsule,
                                      const uint32_t *ids, size_t count, pith__reader *reader)
{
    pith_error err = {0};
    assert_ok(pith__reader_init(reader, &base->model, 1, mem, &err), err);
    if (capsule != NULL) {
        assert_ok(pith__capsule_read(capsule, reader, &err), err);
    } else if (count > 0) {
        assert_ok(pith__reader_ids(reader, ids, count, NULL, &err), err);
    }
}

#endif /* PITH_COMPRESSING_H */
