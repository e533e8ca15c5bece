/*
 * loss.c: losses on hidden states, a block of rows at a time.
 */
#include "grad/pass.h"

#include <string.h>

/*
 * Logits of a block: 16 MiB of floats at most, and at most 512 rows: more rows make the head's
 * products no faster.
 */
#define BLOCK_FLOATS ((size_t)4 << 20)
#define BLOCK_ROWS   ((size_t)512)

/* What happens to the logits of a block. */
typedef struct kind {
    const uint32_t *targets;    /* cross-entropy */
    const pith__model *teacher; /* KL */
    const float *teacher_hidden;
    pith__kl_direction direction;
    float temperature;
    size_t k; /* KL of the k likeliest */
    const uint32_t *ids;
    const float *probabilities;
} kind;

typedef struct block {
    size_t first, rows;
    float *hidden;  /* (rows, d) gathered */
    float *logits;  /* (rows, vocabulary), then their gradient */
    float *teacher; /* the same, for KL */
    float *losses;  /* (rows) */
} block;

static pith_status head(const pith__loss *loss, const pith__model *model, const float *hidden,
                        size_t rows, float *logits, pith_error *err)
{
    const pith__product shape = {.m = rows,
                                 .n = model->head.rows,
                                 .k = model->head.cols,
                                 .transpose_b = true,
                                 .alpha = 1.0f};
    return model->ops->product(loss->ctx, &shape, hidden, model->head.f32, logits, err);
}

static pith_status apply(const pith__loss *loss, const kind *rule, const block *b, pith_error *err)
{
    const pith__tensor_ops *ops = loss->model->ops;
    const size_t width = loss->model->head.rows;
    const float *weight = loss->weight + b->first;
    if (rule->targets != NULL) {
        ops->cross_entropy(loss->ctx, b->logits, b->rows, width, rule->targets + b->first, weight,
                           b->losses);
        return PITH_OK;
    }
    if (rule->teacher == NULL) {
        const size_t at = b->first * rule->k;
        ops->kl_top(loss->ctx, b->logits, b->rows, width, rule->k, rule->ids + at,
                    rule->probabilities + at, weight, b->losses);
        return PITH_OK;
    }
    const float *hidden = rule->teacher_hidden + b->first * rule->teacher->head.cols;
    PITH__TRY(head(loss, rule->teacher, hidden, b->rows, b->teacher, err));
    ops->kl_divergence(loss->ctx, b->logits, b->teacher, b->rows, width, rule->temperature,
                       rule->direction == PITH__KL_REVERSE, weight, b->losses);
    return PITH_OK;
}

/* From the logits' gradient to the head's and the hidden states'. `hidden` becomes scratch. */
static pith_status block_back(const pith__loss *loss, const block *b, pith_error *err)
{
    const pith__model *model = loss->model;
    const size_t d = model->head.cols;
    float *d_head = pith__sink_of(&loss->sink, model->head.f32);
    if (d_head != NULL) {
        const pith__product outer = {.m = model->head.rows,
                                     .n = d,
                                     .k = b->rows,
                                     .transpose_a = true,
                                     .alpha = 1.0f,
                                     .beta = 1.0f};
        PITH__TRY(model->ops->product(loss->ctx, &outer, b->logits, b->hidden, d_head, err));
    }
    const pith__product inner = {.m = b->rows, .n = d, .k = model->head.rows, .alpha = 1.0f};
    PITH__TRY(model->ops->product(loss->ctx, &inner, b->logits, model->head.f32, b->hidden, err));
    for (size_t r = 0; r < b->rows; r++) {
        model->ops->add(loss->ctx, loss->d_hidden + loss->rows[b->first + r] * d, b->hidden + r * d,
                        d);
    }
    return PITH_OK;
}

static pith_status run_block(const pith__loss *loss, const kind *rule, const block *b, double *sum,
                             pith_error *err)
{
    const size_t d = loss->model->head.cols;
    for (size_t r = 0; r < b->rows; r++) {
        memcpy(b->hidden + r * d, loss->hidden + loss->rows[b->first + r] * d,
               d * sizeof *b->hidden);
    }
    PITH__TRY(head(loss, loss->model, b->hidden, b->rows, b->logits, err));
    PITH__TRY(apply(loss, rule, b, err));
    for (size_t r = 0; r < b->rows; r++) {
        *sum += (double)loss->weight[b->first + r] * (double)b->losses[r];
    }
    if (loss->losses != NULL) {
        memcpy(loss->losses + b->first, b->losses, b->rows * sizeof *b->losses);
    }
    return loss->d_hidden == NULL ? PITH_OK : block_back(loss, b, err);
}

size_t pith__loss_block_rows(size_t vocabulary)
{
    const size_t most = BLOCK_FLOATS / vocabulary;
    return most < 16 ? 16 : most < BLOCK_ROWS ? most : BLOCK_ROWS;
}

static pith_status run_blocks(const pith__loss *loss, const kind *rule, double *out,
                              pith_error *err)
{
    pith__arena *arena = loss->ctx->arena;
    const size_t width = loss->model->head.rows;
    size_t most = pith__loss_block_rows(width);
    most = most < loss->n ? most : loss->n;
    block b = {0};
    PITH__TRY(
        pith__arena_alloc(arena, most * loss->model->head.cols, sizeof(float), &b.hidden, err));
    PITH__TRY(pith__arena_alloc(arena, most * width, sizeof(float), &b.logits, err));
    PITH__TRY(pith__arena_alloc(arena, most, sizeof(float), &b.losses, err));
    if (rule->teacher != NULL) {
        PITH__TRY(pith__arena_alloc(arena, most * width, sizeof(float), &b.teacher, err));
    }
    for (; b.first < loss->n; b.first += most) {
        b.rows = loss->n - b.first < most ? loss->n - b.first : most;
        PITH__TRY(run_block(loss, rule, &b, out, err));
    }
    return PITH_OK;
}

static pith_status run(const pith__loss *loss, const kind *rule, double *out, pith_error *err)
{
    *out = 0.0;
    if (loss->n == 0) {
        return PITH_OK;
    }
    const pith__arena_mark mark = pith__arena_save(loss->ctx->arena);
    const pith_status status = run_blocks(loss, rule, out, err);
    pith__arena_restore(loss->ctx->arena, mark);
    return status;
}

pith_status pith__loss_cross_entropy(const pith__loss *loss, const uint32_t *targets, double *out,
                                     pith_error *err)
{
    for (size_t r = 0; r < loss->n; r++) {
        if (targets[r] >= loss->model->config.vocabulary) {
            return pith__fail(err, PITH_E_ARGUMENT, "target id %u, the vocabulary has %u",
                              targets[r], loss->model->config.vocabulary);
        }
    }
    return run(loss, &(kind){.targets = targets}, out, err);
}

pith_status pith__loss_kl(const pith__loss *loss, const pith__model *teacher,
                          const float *teacher_hidden, pith__kl_direction direction,
                          float temperature, double *out, pith_error *err)
{
    if (teacher->head.rows != loss->model->head.rows || teacher->precision != PITH_PRECISION_F32 ||
        !(temperature > 0.0f)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "a teacher of %zu entries for a student of %zu, temperature %g",
                          teacher->head.rows, loss->model->head.rows, (double)temperature);
    }
    return run(loss,
               &(kind){.teacher = teacher,
                       .teacher_hidden = teacher_hidden,
                       .direction = direction,
                       .temperature = temperature},
               out, err);
}

pith_status pith__loss_kl_top(const pith__loss *loss, size_t k, const uint32_t *ids,
                              const float *probabilities, double *out, pith_error *err)
{
    if (k == 0 || k >= loss->model->config.vocabulary) {
        return pith__fail(err, PITH_E_ARGUMENT, "%zu entries of a vocabulary of %u", k,
                          loss->model->config.vocabulary);
    }
    for (size_t i = 0; i < loss->n * k; i++) {
        if (ids[i] >= loss->model->config.vocabulary) {
            return pith__fail(err, PITH_E_ARGUMENT, "id %u, the vocabulary has %u", ids[i],
                              loss->model->config.vocabulary);
        }
    }
    return run(loss, &(kind){.k = k, .ids = ids, .probabilities = probabilities}, out, err);
}

void pith__loss_hidden(const pith__loss *loss, size_t width, const float *wanted, double *out)
{
    *out = 0.0;
    for (size_t r = 0; r < loss->n; r++) {
        const size_t at = loss->rows[r] * width;
        double sum = 0.0;
        for (size_t j = 0; j < width; j++) {
            const float difference = loss->hidden[at + j] - wanted[r * width + j];
            sum += (double)difference * (double)difference;
            if (loss->d_hidden != NULL) {
                loss->d_hidden[at + j] += 2.0f * loss->weight[r] * difference / (float)width;
            }
        }
        const double mean = sum / (double)width;
        *out += (double)loss->weight[r] * mean;
        if (loss->losses != NULL) {
            loss->losses[r] = (float)mean;
        }
    }
}
