/*
 * optimise.c: the optimiser's step and the norm of a gradient.
 */
#include "tensor/tensor_internal.h"
#include "tensor/vector.h"

#include <math.h>

typedef struct adamw_job {
    pith__vector_adamw step;
    const float *gradient;
    size_t count;
    float *value;
    float *m;
    float *v;
} adamw_job;

static void adamw_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    const adamw_job *job = user;
    const part range = part_at(job->count, ELEMENTS, index);
    pith__vector_adamw_step(&job->step, job->gradient + range.first, range.count,
                            job->value + range.first, job->m + range.first, job->v + range.first);
}

void pith__cpu_adamw(const pith__tensor_ctx *ctx, const pith__adamw *step, const float *gradient,
                     size_t count, float *value, float *m, float *v)
{
    adamw_job job = {.step = {.scale = step->gradient_scale,
                              .beta1 = step->beta1,
                              .beta1_rest = 1.0f - step->beta1,
                              .beta2 = step->beta2,
                              .beta2_rest = 1.0f - step->beta2,
                              .keep = 1.0f - step->rate * step->decay,
                              .rate1 = step->rate / step->correction1,
                              .root2 = 1.0f / sqrtf(step->correction2),
                              .eps = step->eps},
                     .gradient = gradient,
                     .count = count,
                     .value = value,
                     .m = m,
                     .v = v};
    pith__parallel(ctx->threads, part_count(count, ELEMENTS), adamw_part, &job);
}

typedef struct squares_job {
    const float *x;
    size_t count;
    double *sums; /* one per block */
} squares_job;

static void squares_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    const squares_job *job = user;
    const part range = part_at(job->count, ELEMENTS, index);
    job->sums[index] = pith__vector_sum_squares_double(job->x + range.first, range.count);
}

pith_status pith__cpu_sum_squares(const pith__tensor_ctx *ctx, const float *x, size_t count,
                                  double *out, pith_error *err)
{
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    squares_job job = {.x = x, .count = count};
    const size_t blocks = part_count(count, ELEMENTS);
    PITH__TRY(pith__arena_alloc(ctx->arena, blocks, sizeof *job.sums, &job.sums, err));
    pith__parallel(ctx->threads, blocks, squares_part, &job);
    double sum = 0.0;
    for (size_t b = 0; b < blocks; b++) {
        sum += job.sums[b];
    }
    *out = sum;
    pith__arena_restore(ctx->arena, mark);
    return PITH_OK;
}
