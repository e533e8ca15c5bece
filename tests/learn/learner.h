/*
 * learner.h: a model small enough to learn something in seconds, what it learns from, and the rule
 * by which a learning test passes.
 */
#ifndef PITH_LEARNER_H
#define PITH_LEARNER_H

#include "train/train.h"

#include "grad_fixture.h"

static const pith_allocator *const mem = &pith__allocator_default;

/* ---- the gate ------------------------------------------------------------------------------- */

/* Prints its figures; whether they are good enough. What must hold for any seed it asserts. */
typedef bool (*learner_trial)(uint64_t seed);

/* Two of three seeds: what is learned hangs on the start a little, and must not hang on luck. */
static inline void learner_gate(learner_trial trial)
{
    size_t passed = 0;
    size_t failed = 0;
    for (uint64_t seed = 1; passed < 2 && failed < 2; seed++) {
        const bool good = trial(seed);
        passed += good ? 1 : 0;
        failed += good ? 0 : 1;
        print_message("seed %u: %s\n", (unsigned)seed, good ? "passed" : "FAILED");
    }
    assert_int_equal(passed, 2);
}

/* ---- the model ------------------------------------------------------------------------------ */

enum { LEARNER_WIDTH = 64, LEARNER_VOCABULARY = 70 };

/*
 * 150,720 parameters. The angles of RoPE fall from 1 to 1/14 per token only: texts are short, and
 * with the usual base of 10,000 most pairs of a head of 16 numbers cannot tell neighbours apart.
 * (Gist tokens, which differ in nothing but their places, then mix up two of four memories for
 * 2,500 steps and more.)
 */
static inline pith__model_config learner_config(void)
{
    return (pith__model_config){.layers = 3,
                                .width = LEARNER_WIDTH,
                                .heads = 4,
                                .kv_heads = 4,
                                .head_dim = 16,
                                .ff = 160,
                                .vocabulary = LEARNER_VOCABULARY,
                                .context = 128,
                                .rope_pairs = 8,
                                .rope_base = 20.0f,
                                .rope_scale = 1.0f,
                                .norm_eps = 1e-5f};
}

static inline float *learner_embeddings(const trainable *t)
{
    return t->weights.values + weight_named(&t->weights, "token_embd.weight")->at;
}

/*
 * Random weights. Embeddings have a deviation of 1, not the usual 0.02: a step of AdamW is as large
 * for small numbers as for large ones, and a rate that suits the matrices would throw small rows
 * about.
 */
static inline void learner_open(trainable *t, uint64_t seed)
{
    const pith__model_config config = learner_config();
    pith_error err = {0};
    pith__weights_init(&t->weights, mem);
    assert_ok(pith__grad_layout(&config, false, &t->weights, &err), err);
    trainable_finish(t, &config, 1);
    pith__grad_initialise(&config, &t->weights, seed);
    float *rows = learner_embeddings(t);
    for (size_t i = 0; i < (size_t)LEARNER_VOCABULARY * LEARNER_WIDTH; i++) {
        rows[i] *= 50.0f;
    }
}

static inline void learner_copy(trainable *t, const trainable *from)
{
    trainable_copy(t, &from->model, false, 1);
}

static inline void learner_optimizer(pith__weights *weights, double rate, pith__optimizer *out)
{
    const pith__optimizer_settings settings = {.kind = PITH__OPTIMIZER_ADAMW,
                                               .rate = rate,
                                               .beta1 = 0.9,
                                               .beta2 = 0.99,
                                               .eps = 1e-8,
                                               .clip = 1.0};
    pith_error err = {0};
    assert_ok(pith__optimizer_init(&settings, weights, out, &err), err);
}

/* ---- batches -------------------------------------------------------------------------------- */

enum { BATCH_ROWS = 4096 };

/* Texts side by side in one pass: each row sees those from first[row] to itself. */
typedef struct batch {
    size_t rows;
    uint32_t ids[BATCH_ROWS];
    uint32_t positions[BATCH_ROWS];
    uint32_t first[BATCH_ROWS];
    size_t n; /* predictions that count */
    uint32_t chosen[BATCH_ROWS];
    uint32_t targets[BATCH_ROWS];
    float weight[BATCH_ROWS];
    float losses[BATCH_ROWS]; /* after a pass */
} batch;

static inline batch *batch_new(void)
{
    batch *b = calloc(1, sizeof *b);
    assert_non_null(b);
    return b;
}

static inline void batch_clear(batch *b)
{
    b->rows = 0;
    b->n = 0;
}

static inline void batch_add(batch *b, uint32_t id, size_t position, size_t first)
{
    assert_true(b->rows < BATCH_ROWS);
    b->ids[b->rows] = id;
    b->positions[b->rows] = (uint32_t)position;
    b->first[b->rows] = (uint32_t)first;
    b->rows++;
}

/* The row added last is to predict `target`. */
static inline void batch_want(batch *b, uint32_t target, double weight)
{
    b->chosen[b->n] = (uint32_t)(b->rows - 1);
    b->targets[b->n] = target;
    b->weight[b->n] = (float)weight;
    b->n++;
}

static inline pith__pass *batch_pass(const trainable *t, const batch *b)
{
    const pith__pass_input input = {.rows = b->rows,
                                    .ids = b->ids,
                                    .positions = b->positions,
                                    .mask = {.rule = PITH__MASK_FIRST, .first = b->first}};
    return pass_run(&t->model, &t->ctx, &input);
}

/* One update; the mean loss before it. */
static inline double learner_step(trainable *t, pith__optimizer *optimizer, const batch *b,
                                  double multiplier)
{
    pith_error err = {0};
    double loss = 0.0;
    double norm = 0.0;
    float *d_hidden = NULL;
    trainable_zero(t);
    pith__pass *pass = batch_pass(t, b);
    assert_ok(pith__arena_alloc_zero(&t->arena, b->rows, LEARNER_WIDTH * sizeof *d_hidden,
                                     &d_hidden, &err),
              err);
    const pith__loss spec = {.model = &t->model,
                             .ctx = &t->ctx,
                             .hidden = pith__pass_hidden(pass),
                             .n = b->n,
                             .rows = b->chosen,
                             .weight = b->weight,
                             .d_hidden = d_hidden,
                             .sink = trainable_sink(t)};
    assert_ok(pith__loss_cross_entropy(&spec, b->targets, &loss, &err), err);
    pass_back(pass, &(pith__pass_gradients){.d_hidden = d_hidden, .sink = trainable_sink(t)});
    pith__arena_reset(&t->arena);
    assert_ok(pith__optimizer_step(optimizer, &t->ctx, t->gradients, 1.0 / (double)b->n, multiplier,
                                   &norm, &err),
              err);
    return loss / (double)b->n;
}

/* ---- what a model says ---------------------------------------------------------------------- */

/* How questions were answered. */
typedef struct answers {
    size_t asked;
    size_t right;
    double nats; /* of the right answers, summed */
} answers;

static inline double answers_share(const answers *a)
{
    return (double)a->right / (double)a->asked;
}

static inline double answers_nll(const answers *a)
{
    return a->nats / (double)a->asked;
}

static inline void answers_add(answers *a, const float *logits, uint32_t target)
{
    double all[LEARNER_VOCABULARY];
    size_t best = 0;
    pith__log_softmax(logits, LEARNER_VOCABULARY, all);
    for (size_t v = 1; v < LEARNER_VOCABULARY; v++) {
        best = logits[v] > logits[best] ? v : best;
    }
    a->asked++;
    a->right += best == target ? 1 : 0;
    a->nats -= all[target];
}

/* The wanted predictions of a batch; logits (n, vocabulary), or NULL. */
static inline void batch_ask(trainable *t, const batch *b, float *logits, answers *out)
{
    const float *head = t->model.head.f32;
    pith__pass *pass = batch_pass(t, b);
    for (size_t i = 0; i < b->n; i++) {
        float row[LEARNER_VOCABULARY];
        const float *hidden = pith__pass_hidden(pass) + (size_t)b->chosen[i] * LEARNER_WIDTH;
        for (size_t v = 0; v < LEARNER_VOCABULARY; v++) {
            row[v] = (float)dot(hidden, head + v * LEARNER_WIDTH, LEARNER_WIDTH);
        }
        answers_add(out, row, b->targets[i]);
        if (logits != NULL) {
            memcpy(logits + i * LEARNER_VOCABULARY, row, sizeof row);
        }
    }
    pith__arena_reset(&t->arena);
}

#endif /* PITH_LEARNER_H */
