/*
 * optimizer.c: one update of all weights: AdamW (Loshchilov & Hutter 2019), or Muon for the
 * matrices and AdamW for the rest.
 */
#include "train/muon.h"
#include "train/train.h"

#include <math.h>

/* ---- life ------------------------------------------------------------------------- */

static bool is_share(double x)
{
    return x >= 0 && x < 1;
}

static bool is_amount(double x)
{
    return x >= 0 && isfinite(x);
}

static pith_status check_settings(const pith__optimizer_settings *s, pith_error *err)
{
    if (!is_share(s->beta1) || !is_share(s->beta2) || !is_share(s->momentum)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "beta1 %g, beta2 %g and momentum %g must be in [0, 1)", s->beta1,
                          s->beta2, s->momentum);
    }
    if (!is_amount(s->rate) || !is_amount(s->muon_rate) || !is_amount(s->decay) ||
        !is_amount(s->clip)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "rates %g and %g, decay %g and clip %g must not be negative", s->rate,
                          s->muon_rate, s->decay, s->clip);
    }
    if ((float)s->eps <= 0 || !is_amount(s->eps)) { /* 0 / 0 for a weight without gradient */
        return pith__fail(err, PITH_E_ARGUMENT, "eps %g must be positive", s->eps);
    }
    return PITH_OK;
}

pith_status pith__optimizer_init(const pith__optimizer_settings *settings, pith__weights *weights,
                                 pith__optimizer *out, pith_error *err)
{
    *out = (pith__optimizer){.settings = *settings, .weights = weights};
    PITH__TRY(check_settings(settings, err));
    if (weights->values == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "the weights have no values yet");
    }
    const pith_allocator *mem = &weights->mem;
    PITH__TRY(pith__alloc_zero(mem, weights->count, sizeof *out->m, &out->m, err));
    const pith_status status = pith__alloc_zero(mem, weights->count, sizeof *out->v, &out->v, err);
    if (status != PITH_OK) {
        pith__optimizer_deinit(out);
    }
    return status;
}

void pith__optimizer_deinit(pith__optimizer *optimizer)
{
    if (optimizer->weights == NULL) {
        return;
    }
    const pith_allocator *mem = &optimizer->weights->mem;
    const size_t count = optimizer->weights->count;
    pith__free(mem, optimizer->m, count, sizeof *optimizer->m);
    pith__free(mem, optimizer->v, count, sizeof *optimizer->v);
    optimizer->m = NULL;
    optimizer->v = NULL;
}

/* ---- one update --------------------------------------------------------------------- */

/* What all tensors of one update share. */
typedef struct update {
    pith__optimizer *optimizer;
    const pith__tensor_ops *ops;
    const pith__tensor_ctx *ctx;
    const float *gradient;
    double factor;     /* of the gradient: scale and clipping in one */
    double multiplier; /* of the rates */
} update;

static bool by_muon(const pith__optimizer *optimizer, const pith__weight *item)
{
    return optimizer->settings.kind == PITH__OPTIMIZER_MUON && item->kind == PITH__WEIGHT_MATRIX;
}

/* 1 - beta^step for the beta that the update, in floats, works with. */
static float correction(double beta, uint64_t step)
{
    return (float)(1 - pow((double)(float)beta, (double)step));
}

static void step_adamw(const update *u)
{
    const pith__optimizer *optimizer = u->optimizer;
    const pith__optimizer_settings *s = &optimizer->settings;
    const pith__weights *weights = optimizer->weights;
    pith__adamw adamw = {.rate = (float)(s->rate * u->multiplier),
                         .beta1 = (float)s->beta1,
                         .beta2 = (float)s->beta2,
                         .eps = (float)s->eps,
                         .correction1 = correction(s->beta1, optimizer->step + 1),
                         .correction2 = correction(s->beta2, optimizer->step + 1),
                         .gradient_scale = (float)u->factor};
    for (size_t i = 0; i < weights->n_items; i++) {
        const pith__weight *item = &weights->items[i];
        if (!by_muon(optimizer, item)) {
            adamw.decay = item->kind == PITH__WEIGHT_VECTOR ? 0 : (float)s->decay;
            u->ops->adamw(u->ctx, &adamw, u->gradient + item->at, item->rows * item->cols,
                          weights->values + item->at, optimizer->m + item->at,
                          optimizer->v + item->at);
        }
    }
}

/* One thread's part of the matrices. */
typedef struct muon_worker {
    pith__arena arena;
    pith__tensor_ctx ctx;
    pith__muon_scratch scratch;
    pith_status status;
    pith_error error;
} muon_worker;

typedef struct muon_job {
    const update *update;
    pith__muon muon;
    size_t *matrices; /* (n_matrices) items */
    size_t n_matrices;
    size_t elements; /* of the largest */
    size_t side;     /* the largest smaller side */
    muon_worker *workers;
    unsigned n_workers;
} muon_job;

static pith_status find_matrices(muon_job *job, pith_error *err)
{
    const pith__optimizer *optimizer = job->update->optimizer;
    const pith__weights *weights = optimizer->weights;
    PITH__TRY(pith__arena_alloc(job->update->ctx->arena, weights->n_items, sizeof *job->matrices,
                                &job->matrices, err));
    for (size_t i = 0; i < weights->n_items; i++) {
        const pith__weight *item = &weights->items[i];
        if (by_muon(optimizer, item)) {
            const size_t count = item->rows * item->cols;
            const size_t side = item->rows < item->cols ? item->rows : item->cols;
            job->elements = count > job->elements ? count : job->elements;
            job->side = side > job->side ? side : job->side;
            job->matrices[job->n_matrices++] = i;
        }
    }
    return PITH_OK;
}

/* All memory is taken before anything changes. */
static pith_status reserve_muon(muon_job *job, pith_error *err)
{
    const pith__tensor_ctx *ctx = job->update->ctx;
    PITH__TRY(find_matrices(job, err));
    job->n_workers = ctx->threads < job->n_matrices ? ctx->threads : (unsigned)job->n_matrices;
    job->n_workers = job->n_workers == 0 ? 1 : job->n_workers;
    PITH__TRY(pith__arena_alloc_zero(ctx->arena, job->n_workers, sizeof *job->workers,
                                     &job->workers, err));
    for (unsigned i = 0; i < job->n_workers; i++) {
        muon_worker *worker = &job->workers[i];
        pith__arena_init(&worker->arena, &ctx->arena->mem);
        worker->ctx = (pith__tensor_ctx){1, &worker->arena};
        PITH__TRY(pith__muon_reserve(job->elements, job->side, ctx->arena, &worker->scratch, err));
    }
    return PITH_OK;
}

static void step_matrix(void *user, size_t index, unsigned thread)
{
    const muon_job *job = user;
    muon_worker *worker = &job->workers[thread];
    const pith__optimizer *optimizer = job->update->optimizer;
    const pith__weight *item = &optimizer->weights->items[job->matrices[index]];
    if (worker->status != PITH_OK) {
        return;
    }
    worker->status =
        pith__muon_update(&job->muon, &worker->ctx, item->rows, item->cols,
                          job->update->gradient + item->at, optimizer->weights->values + item->at,
                          optimizer->m + item->at, &worker->scratch, &worker->error);
}

/* Matrices do not depend on each other: each is one thread's from beginning to end. */
static pith_status step_muon(muon_job *job, pith_error *err)
{
    const update *u = job->update;
    const pith__optimizer_settings *s = &u->optimizer->settings;
    job->muon = (pith__muon){.ops = u->ops,
                             .momentum = (float)s->momentum,
                             .rate = (float)(s->muon_rate * u->multiplier),
                             .decay = (float)s->decay,
                             .gradient_scale = (float)u->factor};
    pith__parallel(job->n_workers, job->n_matrices, step_matrix, job);
    pith_status status = PITH_OK;
    for (unsigned i = 0; i < job->n_workers; i++) {
        muon_worker *worker = &job->workers[i];
        pith__arena_deinit(&worker->arena);
        if (status == PITH_OK && worker->status != PITH_OK) {
            status = pith__fail(err, worker->status, "%s", worker->error.message);
        }
    }
    return status;
}

static pith_status step_all(const update *u, pith_error *err)
{
    const pith__arena_mark mark = pith__arena_save(u->ctx->arena);
    muon_job job = {.update = u};
    pith_status status = PITH_OK;
    if (u->optimizer->settings.kind == PITH__OPTIMIZER_MUON) {
        status = reserve_muon(&job, err);
        if (status == PITH_OK) {
            status = step_muon(&job, err);
        }
    }
    if (status == PITH_OK) {
        step_adamw(u);
    }
    pith__arena_restore(u->ctx->arena, mark);
    return status;
}

pith_status pith__optimizer_step(pith__optimizer *optimizer, const pith__tensor_ctx *ctx,
                                 float *gradient, double scale, double multiplier, double *norm,
                                 pith_error *err)
{
    const pith__tensor_ops *ops = pith__tensor_cpu();
    *norm = (double)NAN;
    double squares = 0;
    PITH__TRY(ops->sum_squares(ctx, gradient, optimizer->weights->count, &squares, err));
    *norm = fabs(scale) * sqrt(squares);
    if (!isfinite(*norm)) {
        return PITH_OK;
    }
    const double clip = optimizer->settings.clip;
    const double shrink = clip > 0 && *norm > clip ? clip / *norm : 1;
    const update u = {.optimizer = optimizer,
                      .ops = ops,
                      .ctx = ctx,
                      .gradient = gradient,
                      .factor = scale * shrink,
                      .multiplier = multiplier};
    PITH__TRY(step_all(&u, err));
    optimizer->step++;
    return PITH_OK;
}
