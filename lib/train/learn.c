/*
 * learn.c: samples, and the loss and gradient of several of them in one pass.
 */
#include "train/run.h"

#include <string.h>

#define STREAM_OF_DROPOUT UINT64_C(0x64726f706f7574)

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

/* Several samples as one pass: no row must see one of another sample. */
typedef struct joined {
    size_t rows;
    uint32_t *ids, *positions, *first;
    uint32_t *targets, *chosen; /* (n) ids to predict, and the rows that do */
    float *weight;              /* (n) */
    size_t n;
    float *embeddings;   /* (rows, d), looked at where there is no id; NULL: all have one */
    float *d_embeddings; /* the same; NULL: not wanted */
} joined;

static pith_status allocate_joined(const pith__learner *learner, pith__arena *arena, size_t rows,
                                   joined *out, pith_error *err)
{
    *out = (joined){.rows = rows};
    uint32_t **const arrays[] = {&out->ids, &out->positions, &out->first, &out->targets,
                                 &out->chosen};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        PITH__TRY(pith__arena_alloc(arena, rows, sizeof(uint32_t), arrays[i], err));
    }
    PITH__TRY(pith__arena_alloc(arena, rows, sizeof *out->weight, &out->weight, err));
    if (learner->row == NULL) {
        return PITH_OK;
    }
    const size_t size = learner->model->config.width * sizeof(float);
    PITH__TRY(pith__arena_alloc(arena, rows, size, &out->embeddings, err));
    return learner->sink.gradients == NULL
               ? PITH_OK
               : pith__arena_alloc(arena, rows, size, &out->d_embeddings, err);
}

/* Rows [at, at + length): the first row that each sees. */
static void join_mask(const joined *out, const pith__sample *sample, size_t at)
{
    size_t start = 0;
    for (size_t i = 0; i < sample->length; i++) {
        if (i > 0 && sample->first == NULL && sample->documents[i] != sample->documents[i - 1]) {
            start = i;
        }
        out->first[at + i] = (uint32_t)(at + (sample->first == NULL ? start : sample->first[i]));
    }
}

static void join_sample(const pith__learner *learner, joined *out, const pith__sample *sample,
                        size_t at)
{
    const size_t width = learner->model->config.width;
    memcpy(out->ids + at, sample->ids, sample->length * sizeof *out->ids);
    memcpy(out->positions + at, sample->positions, sample->length * sizeof *out->positions);
    join_mask(out, sample, at);
    for (size_t i = 0; i < sample->length; i++) {
        if (out->embeddings != NULL && sample->ids[i] == PITH__NO_ID) {
            memcpy(out->embeddings + (at + i) * width, learner->row, width * sizeof(float));
        }
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
    PITH__TRY(allocate_joined(learner, arena, rows, out, err));
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const pith__sample *sample = &learner->samples[numbers[i]];
        join_sample(learner, out, sample, at);
        at += sample->length;
    }
    return PITH_OK;
}

/* The rows without an id share one gradient. */
static void add_row_gradient(const pith__learner *learner, const pith__tensor_ctx *ctx,
                             const joined *in)
{
    const size_t width = learner->model->config.width;
    float *into = learner->sink.gradients + (learner->row - learner->sink.values);
    for (size_t r = 0; r < in->rows; r++) {
        if (in->ids[r] == PITH__NO_ID) {
            learner->model->ops->add(ctx, into, in->d_embeddings + r * width, width);
        }
    }
}

static pith_status learn_back(const pith__learner *learner, const pith__tensor_ctx *ctx,
                              const joined *in, pith__pass *pass, const float *d_hidden,
                              pith_error *err)
{
    PITH__TRY(pith__pass_backward(pass,
                                  &(pith__pass_gradients){.d_hidden = d_hidden,
                                                          .sink = learner->sink,
                                                          .d_embeddings = in->d_embeddings},
                                  err));
    if (in->d_embeddings != NULL) {
        add_row_gradient(learner, ctx, in);
    }
    return PITH_OK;
}

static pith_status learn_joined(const pith__learner *learner, const pith__tensor_ctx *ctx,
                                const joined *in, double *loss, pith_error *err)
{
    const pith__pass_input input = {.rows = in->rows,
                                    .ids = in->ids,
                                    .embeddings = in->embeddings,
                                    .positions = in->positions,
                                    .mask = {.rule = PITH__MASK_FIRST, .first = in->first},
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
    return d_hidden == NULL ? PITH_OK : learn_back(learner, ctx, in, pass, d_hidden, err);
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
           rows * (3 * (size_t)config->width + 8) * sizeof(float);
}

uint64_t pith__dropout_seed(uint64_t seed, uint64_t sample)
{
    const uint64_t drawn = pith__random(seed, STREAM_OF_DROPOUT, sample);
    return drawn == 0 ? 1 : drawn;
}
