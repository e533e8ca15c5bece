/*
 * learn.c: samples, and the loss and gradient of several of them in one pass.
 */
#include "train/run.h"

#include <string.h>

/* ids, targets, documents and positions of one sample lie one after the other. */
#define ARRAYS 4

pith_status pith__samples_new(size_t count, size_t length, const pith_allocator *mem,
                              pith__sample **out, pith_error *err)
{
    *out = NULL;
    uint32_t *numbers = NULL;
    size_t total = 0;
    if (count == 0 || length > UINT32_MAX ||
        __builtin_mul_overflow(count, ARRAYS * length, &total)) {
        return pith__fail(err, PITH_E_ARGUMENT, "%zu samples of %zu tokens", count, length);
    }
    PITH__TRY(pith__alloc(mem, total, sizeof *numbers, &numbers, err));
    const pith_status status = pith__alloc(mem, count, sizeof **out, out, err);
    if (status != PITH_OK) {
        pith__free(mem, numbers, total, sizeof *numbers);
        return status;
    }
    for (size_t i = 0; i < count; i++) {
        uint32_t *at = numbers + i * ARRAYS * length;
        (*out)[i] = (pith__sample){.length = length,
                                   .ids = at,
                                   .targets = at + length,
                                   .documents = at + 2 * length,
                                   .positions = at + 3 * length};
    }
    return PITH_OK;
}

void pith__samples_free(pith__sample *samples, size_t count, size_t length,
                        const pith_allocator *mem)
{
    if (samples != NULL) {
        pith__free(mem, samples[0].ids, count * ARRAYS * length, sizeof *samples[0].ids);
        pith__free(mem, samples, count, sizeof *samples);
    }
}

/* Several samples as one pass: documents of different samples must not be taken for one. */
typedef struct joined {
    size_t rows;
    uint32_t *ids, *positions, *documents;
    uint32_t *targets, *chosen; /* (n) ids to predict, and the rows that do */
    float *weight;              /* (n) */
    size_t n;
} joined;

static pith_status allocate_joined(pith__arena *arena, size_t rows, joined *out, pith_error *err)
{
    *out = (joined){.rows = rows};
    uint32_t **const arrays[] = {&out->ids, &out->positions, &out->documents, &out->targets,
                                 &out->chosen};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        PITH__TRY(pith__arena_alloc(arena, rows, sizeof(uint32_t), arrays[i], err));
    }
    return pith__arena_alloc(arena, rows, sizeof *out->weight, &out->weight, err);
}

static void join_sample(joined *out, const pith__sample *sample, size_t at, uint32_t document)
{
    memcpy(out->ids + at, sample->ids, sample->length * sizeof *out->ids);
    memcpy(out->positions + at, sample->positions, sample->length * sizeof *out->positions);
    for (size_t i = 0; i < sample->length; i++) {
        out->documents[at + i] = document + sample->documents[i];
        if (sample->targets[i] != PITH__NO_TARGET) {
            out->chosen[out->n] = (uint32_t)(at + i);
            out->weight[out->n] = 1.0f;
            out->targets[out->n++] = sample->targets[i];
        }
    }
}

static pith_status join(const pith__learner *learner, const size_t *numbers, size_t n,
                        pith__arena *arena, joined *out, pith_error *err)
{
    size_t rows = 0;
    for (size_t i = 0; i < n; i++) {
        rows += learner->samples[numbers[i]].length;
    }
    PITH__TRY(allocate_joined(arena, rows, out, err));
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const pith__sample *sample = &learner->samples[numbers[i]];
        join_sample(out, sample, at, at == 0 ? 0 : out->documents[at - 1] + 1);
        at += sample->length;
    }
    return PITH_OK;
}

static pith_status learn_joined(const pith__learner *learner, const pith__tensor_ctx *ctx,
                                const joined *in, double *loss, pith_error *err)
{
    const pith__pass_input input = {
        .rows = in->rows,
        .ids = in->ids,
        .positions = in->positions,
        .mask = {.rule = PITH__MASK_DOCUMENTS, .documents = in->documents},
        .lora = learner->lora,
        .dropout_seed = learner->dropout_seed,
        .recompute = learner->recompute};
    pith__pass *pass = NULL;
    PITH__TRY(pith__pass_forward(learner->model, ctx, &input, &pass, err));
    float *d_hidden = NULL;
    if (learner->sink.gradients != NULL) {
        PITH__TRY(pith__arena_alloc_zero(
            ctx->arena, in->rows, learner->model->config.width * sizeof *d_hidden, &d_hidden, err));
    }
    const pith__loss spec = {.model = learner->model,
                             .ctx = ctx,
                             .hidden = pith__pass_hidden(pass),
                             .n = in->n,
                             .rows = in->chosen,
                             .weight = in->weight,
                             .d_hidden = d_hidden,
                             .sink = learner->sink};
    double sum = 0.0;
    PITH__TRY(pith__loss_cross_entropy(&spec, in->targets, &sum, err));
    *loss += sum;
    return d_hidden == NULL
               ? PITH_OK
               : pith__pass_backward(
                     pass, &(pith__pass_gradients){.d_hidden = d_hidden, .sink = learner->sink},
                     err);
}

pith_status pith__learn(const pith__learner *learner, const pith__tensor_ctx *ctx,
                        const size_t *numbers, size_t n, double *loss, uint64_t *tokens,
                        pith_error *err)
{
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    joined in;
    pith_status status = join(learner, numbers, n, ctx->arena, &in, err);
    if (status == PITH_OK) {
        status = learn_joined(learner, ctx, &in, loss, err);
        *tokens += in.n;
    }
    pith__arena_restore(ctx->arena, mark);
    return status;
}

size_t pith__learn_bytes(const pith__model_config *config, size_t rows, bool recompute)
{
    return pith__pass_bytes(config, rows, 0, recompute) +
           rows * ((size_t)config->width + 8) * sizeof(float);
}
