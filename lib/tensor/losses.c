/*
 * losses.c: cross-entropy and Kullback-Leibler divergences, each with its gradient in
 * place of the logits.
 */
#include "tensor/tensor_internal.h"
#include "tensor/vector.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Rows per block: each has a vocabulary's worth of logits. */
#define LOSS_ROWS 8

/* Terms added up in float before they go to a double. */
#define TERMS 512

typedef struct loss_job {
    float *logits;
    float *teacher;
    size_t rows;
    size_t width;
    const uint32_t *targets; /* of kl_top: the ids, (rows, k) */
    size_t k;
    const float *probabilities;
    float temperature;
    bool reverse;
    const float *weight;
    float *loss; /* or NULL */
    void (*row)(const struct loss_job *job, size_t row);
} loss_job;

static void loss_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    const loss_job *job = user;
    const part rows = part_at(job->rows, LOSS_ROWS, index);
    for (size_t r = rows.first; r < rows.first + rows.count; r++) {
        if (job->weight[r] != 0.0f || job->loss != NULL) {
            job->row(job, r);
        }
        if (job->weight[r] == 0.0f) { /* not what a damaged row would leave */
            memset(job->logits + r * job->width, 0, job->width * sizeof *job->logits);
        }
    }
}

static void run(const pith__tensor_ctx *ctx, loss_job *job)
{
    pith__parallel(ctx->threads, part_count(job->rows, LOSS_ROWS), loss_part, job);
}

/* No: none of the logits is a number, or one is infinite. */
static bool has_largest(float max)
{
    return max > -FLT_MAX && max <= FLT_MAX;
}

/*
 * x[i] becomes exp(x[i] - max); gives their sum. That is NaN, so that the damage shows, if
 * there is no largest logit.
 */
static double exponentials(float *x, float max, size_t width)
{
    double sum = has_largest(max) ? 0.0 : (double)NAN;
    for (size_t i = 0; i < width; i += TERMS) {
        const size_t count = width - i < TERMS ? width - i : TERMS;
        sum += (double)pith__vector_exp_sum(x + i, max, count, x + i);
    }
    return sum;
}

/* ---- cross-entropy ------------------------------------------------------------------- */

static void cross_entropy_row(const loss_job *job, size_t row)
{
    float *x = job->logits + row * job->width;
    const uint32_t target = job->targets[row];
    const float weight = job->weight[row];
    const float max = pith__vector_max(x, job->width);
    const float logit = x[target];
    const double sum = exponentials(x, max, job->width);
    if (job->loss != NULL) {
        job->loss[row] = (float)(log(sum) - ((double)logit - (double)max));
    }
    pith__vector_scale(x, (float)((double)weight / sum), job->width);
    x[target] -= weight;
}

void pith__cpu_cross_entropy(const pith__tensor_ctx *ctx, float *logits, size_t rows, size_t width,
                             const uint32_t *targets, const float *weight, float *loss)
{
    loss_job job = {.logits = logits,
                    .rows = rows,
                    .width = width,
                    .targets = targets,
                    .weight = weight,
                    .loss = loss,
                    .row = cross_entropy_row};
    run(ctx, &job);
}

/* ---- Kullback-Leibler divergence ----------------------------------------------------- */

/* Of a whole row, in double; see vector.h for what they are. */
static void kl_sums(const loss_job *job, float *student, float *teacher, double sums[3])
{
    const pith__vector_kl kl = {.student_max = pith__vector_max(student, job->width),
                                .teacher_max = pith__vector_max(teacher, job->width),
                                .inverse = 1.0f / job->temperature};
    if (!has_largest(kl.student_max) || !has_largest(kl.teacher_max)) {
        sums[0] = (double)NAN; /* see exponentials() */
    }
    for (size_t i = 0; i < job->width; i += TERMS) {
        const size_t count = job->width - i < TERMS ? job->width - i : TERMS;
        float some[3];
        (job->reverse ? pith__vector_kl_reverse : pith__vector_kl_forward)(&kl, count, student + i,
                                                                           teacher + i, some);
        for (size_t j = 0; j < 3; j++) {
            sums[j] += (double)some[j];
        }
    }
}

/*
 * With q the student's, p the teacher's probabilities, both of logits / T:
 *   forward: d / d logit = T (q - p)
 *   reverse: d / d logit = T q (ln q/p - KL)
 * and ln q/p - KL is the difference of the exponents less its mean under q: the two
 * normalisers cancel.
 */
static void kl_row(const loss_job *job, size_t row)
{
    float *student = job->logits + row * job->width;
    float *teacher = job->teacher + row * job->width;
    double sums[3] = {0.0, 0.0, 0.0};
    kl_sums(job, student, teacher, sums);
    const double t = (double)job->temperature;
    const double gain = t * (double)job->weight[row];
    const double mean = sums[2] / (job->reverse ? sums[0] : sums[1]);
    const double normalisers = log(sums[0]) - log(sums[1]);
    if (job->loss != NULL) {
        job->loss[row] = (float)(t * t * (job->reverse ? mean - normalisers : mean + normalisers));
    }
    if (job->reverse) {
        pith__vector_multiply_from(student, (float)(gain / sums[0]), teacher, (float)mean,
                                   job->width);
    } else {
        pith__vector_blend(student, (float)(gain / sums[0]), (float)(-gain / sums[1]), teacher,
                           job->width);
    }
}

void pith__cpu_kl_divergence(const pith__tensor_ctx *ctx, float *logits, float *teacher,
                             size_t rows, size_t width, float temperature, bool reverse,
                             const float *weight, float *loss)
{
    loss_job job = {.logits = logits,
                    .teacher = teacher,
                    .rows = rows,
                    .width = width,
                    .temperature = temperature,
                    .reverse = reverse,
                    .weight = weight,
                    .loss = loss,
                    .row = kl_row};
    run(ctx, &job);
}

/* ---- the same with a teacher known at its top ---------------------------------------- */

static double sum_positive(const float *x, size_t width)
{
    double sum = 0.0;
    for (size_t i = 0; i < width; i += TERMS) {
        const size_t count = width - i < TERMS ? width - i : TERMS;
        sum += (double)pith__vector_sum_positive(x + i, count);
    }
    return sum;
}

/* Sum of p; *cross is that of p (ln p - x). */
static double top_of_teacher(const float *x, float max, const uint32_t *ids, const float *p,
                             size_t k, double *cross)
{
    double sum = 0.0;
    *cross = 0.0;
    for (size_t i = 0; i < k; i++) {
        const double value = (double)p[i];
        sum += value;
        if (value > 0.0) {
            *cross += value * (log(value) - ((double)x[ids[i]] - (double)max));
        }
    }
    return sum;
}

/*
 * With s = sum of all exponentials, u of those outside the ids, p_rest = 1 - sum p:
 *   d / d logit = q - p for an id, q (1 - p_rest / q_rest) = e (1 / s - p_rest / u) for others.
 * u is summed by itself: 1 - sum q would lose it. The ids' exponentials change their
 * sign meanwhile, so that they can be told apart without memory for them.
 */
static void kl_top_row(const loss_job *job, size_t row)
{
    float *x = job->logits + row * job->width;
    const uint32_t *ids = job->targets + row * job->k;
    const float *p = job->probabilities + row * job->k;
    const double weight = (double)job->weight[row];
    const float max = pith__vector_max(x, job->width);
    double loss = 0.0;
    const double top = top_of_teacher(x, max, ids, p, job->k, &loss);
    const double p_rest = top < 1.0 ? 1.0 - top : 0.0;

    const double all = exponentials(x, max, job->width);
    double top_sum = 0.0;
    for (size_t i = 0; i < job->k; i++) {
        top_sum += (double)x[ids[i]];
        x[ids[i]] = -x[ids[i]];
    }
    const double rest_sum = sum_positive(x, job->width);
    const double sum = isnan(all) ? all : top_sum + rest_sum;
    const bool rest = rest_sum > 0.0 && p_rest > 0.0;
    if (job->loss != NULL) {
        loss += rest ? p_rest * (log(p_rest) - log(rest_sum)) : 0.0;
        job->loss[row] = (float)(loss + (top + p_rest) * log(sum));
    }
    double rest_gain = weight * (1.0 / sum - (rest ? p_rest / rest_sum : 0.0));
    if (rest_gain < -(double)FLT_MAX) { /* all but one of exp(-87) */
        rest_gain = -(double)FLT_MAX;
    }
    pith__vector_scale_signs(x, (float)rest_gain, (float)(-weight / sum), job->width);
    for (size_t i = 0; i < job->k; i++) {
        x[ids[i]] -= (float)(weight * (double)p[i]);
    }
}

void pith__cpu_kl_top(const pith__tensor_ctx *ctx, float *logits, size_t rows, size_t width,
                      size_t k, const uint32_t *ids, const float *probabilities,
                      const float *weight, float *loss)
{
    loss_job job = {.logits = logits,
                    .rows = rows,
                    .width = width,
                    .targets = ids,
                    .k = k,
                    .probabilities = probabilities,
                    .weight = weight,
                    .loss = loss,
                    .row = kl_top_row};
    run(ctx, &job);
}
