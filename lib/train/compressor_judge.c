/*
 * compressor_judge.c: how well held-out texts are repeated and gone on with, and held-out questions
 * answered, from memory; beside it from the memory of another text, and from none.
 */
#include "train/compressor.h"
#include "train/distill.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Whose memory is read. */
typedef enum whose { OWN, SHUFFLED, NONE } whose;

typedef struct judge_job {
    const pith__training_compressor *job;
    const pith__exercise *exercises; /* (count) */
    size_t count;
    pith__exercise_form form;
    whose memory;
    size_t pack;      /* exercises of a pass */
    double *nats;     /* (passes) */
    uint64_t *tokens; /* (passes) */
} judge_job;

/* The next exercise that has another text; NULL: there is none. */
static const pith__exercise *another(const judge_job *j, size_t index)
{
    const pith__exercise *own = &j->exercises[index];
    for (size_t i = 1; i < j->count; i++) {
        const pith__exercise *other = &j->exercises[(index + i) % j->count];
        if (other->n_text != own->n_text ||
            memcmp(other->text, own->text, own->n_text * sizeof *own->text) != 0) {
            return other;
        }
    }
    return NULL;
}

/* ---- one pass ------------------------------------------------------------------------------------ */

static pith_status judge_pass(const judge_job *j, const pith__tensor_ctx *ctx, size_t index,
                              pith_error *err)
{
    const size_t first = index * j->pack;
    const size_t n = j->count - first < j->pack ? j->count - first : j->pack;
    const pith__memory_learner learner = pith__training_compressor_learner(j->job, 0, NULL);
    pith__memory_sample *samples = NULL;
    PITH__TRY(pith__arena_reserve(ctx->arena, pith__training_compressor_bytes(j->job, n), err));
    PITH__TRY(pith__arena_alloc(ctx->arena, n, sizeof *samples, &samples, err));
    for (size_t i = 0; i < n; i++) {
        const pith__exercise *own = &j->exercises[first + i];
        const pith__exercise *memory = j->memory == OWN        ? own
                                       : j->memory == SHUFFLED ? another(j, first + i)
                                                               : NULL;
        PITH__TRY(pith__exercise_sample(&j->form, own, memory, ctx->arena, &samples[i], err));
    }
    return pith__memory_learn(&learner, ctx, samples, n, &j->nats[index], &j->tokens[index], NULL,
                              err);
}

/* A pith__each_fn: this process's share of the passes. */
static pith_status judge_one(void *user, const pith__tensor_ctx *ctx, size_t index, pith_error *err)
{
    const judge_job *j = user;
    const pith__ranks ranks = j->job->run.ranks;
    return index % (size_t)ranks.count == (size_t)ranks.rank ? judge_pass(j, ctx, index, err)
                                                             : PITH_OK;
}

static pith_status judge_share(judge_job *j, pith__arena *arena, double totals[2], pith_error *err)
{
    const pith__training_compressor *job = j->job;
    const size_t passes = (j->count + j->pack - 1) / j->pack;
    PITH__TRY(pith__arena_alloc_zero(arena, passes, sizeof *j->nats, &j->nats, err));
    PITH__TRY(pith__arena_alloc_zero(arena, passes, sizeof *j->tokens, &j->tokens, err));
    PITH__TRY(pith__each(job->run_settings.threads, passes, judge_one, j, &job->mem, err));
    for (size_t i = 0; i < passes; i++) {
        totals[0] += j->nats[i];
        totals[1] += (double)j->tokens[i];
    }
    return PITH_OK;
}

static pith_status judge_all(judge_job *j, pith__evaluation *out, pith_error *err)
{
    double totals[2] = {0.0, 0.0};
    pith__arena arena;
    pith__arena_init(&arena, &j->job->mem);
    const pith_status status = judge_share(j, &arena, totals, err);
    pith__arena_deinit(&arena);
    PITH__TRY(pith__ranks_agree(status, err));
    PITH__TRY(pith__ranks_sum_f64(totals, 2, err));
    *out =
        (pith__evaluation){.documents = j->count, .nats = totals[0], .tokens = (uint64_t)totals[1]};
    for (size_t i = 0; i < j->count; i++) {
        out->bytes += j->exercises[i].bytes;
    }
    return isfinite(out->nats) ? PITH_OK
                               : pith__fail(err, PITH_E_RANGE, "the loss is not a number any more");
}

/* ---- conditions ------------------------------------------------------------------------------------ */

/* How held-out exercises of a task are judged. */
typedef struct condition {
    pith__strategy strategy;
    unsigned folds;
    whose memory;
    bool unconditional; /* although questions may be read first */
} condition;

static pith_status add_figure(pith__training_compressor *job, pith__exercise_task task, condition c,
                              const char *name, pith_error *err)
{
    const pith__compressor_settings *s = job->settings;
    judge_job j = {.job = job,
                   .exercises = job->exercises.held_out[task],
                   .count = job->exercises.n_held_out[task],
                   .form = {.shape = &s->shape,
                            .bos = &job->exercises.bos,
                            .end = job->exercises.end,
                            .conditional = s->conditional > 0.0 && !c.unconditional,
                            .strategy = c.strategy,
                            .fold = 1U << c.folds,
                            .compares = true},
                   .memory = c.memory,
                   .pack = pith__run_pack(&job->run_settings)};
    if (j.count == 0 || job->n_figures == PITH__FIGURES ||
        (c.memory == SHUFFLED && another(&j, 0) == NULL)) { /* all are of one text */
        return PITH_OK;
    }
    pith__figure *figure = &job->figures[job->n_figures];
    (void)snprintf(figure->name, sizeof figure->name, "%s%s", pith__exercise_task_name(task), name);
    PITH__TRY(judge_all(&j, &figure->nats, err));
    job->n_figures++;
    if (c.strategy != PITH__STRATEGY_FORMER && c.strategy != PITH__STRATEGY_LATTER) {
        return pith__run_report_held_out(&job->run, &figure->nats, figure->name, err);
    }
    const double tokens = figure->nats.tokens == 0 ? 1.0 : (double)figure->nats.tokens;
    return pith__run_report(&job->run,
                            (pith__train_event){.kind = PITH__TRAIN_EVALUATION,
                                                .source = figure->name,
                                                .loss = figure->nats.nats / tokens,
                                                .bits_per_byte = (double)NAN}, /* of a half */
                            err);
}

/* A quarter of the slots, and one, or as few as there can be. */
static pith_status judge_fewer(pith__training_compressor *job, pith__exercise_task task,
                               pith_error *err)
{
    const pith__compressor_settings *s = job->settings;
    const bool selfcp = s->shape.method == PITH__COMPRESSOR_SELFCP;
    const unsigned most = pith__exercise_folds(&s->shape, s->run.length) - 1;
    const unsigned folds[] = {2, most};
    char name[32];
    for (size_t i = most > 2 ? 0 : 1; most > 0 && i < 2; i++) {
        if (selfcp) {
            (void)snprintf(name, sizeof name, " by %u", s->shape.ratio << folds[i]);
        } else {
            (void)snprintf(name, sizeof name, " %u", s->shape.slots >> folds[i]);
        }
        PITH__TRY(add_figure(job, task, (condition){.folds = folds[i]}, name, err));
    }
    return PITH_OK;
}

/* Of those that leave a part of the text as it is, also without the rest. */
static pith_status judge_strategies(pith__training_compressor *job, pith__exercise_task task,
                                    pith_error *err)
{
    char name[32];
    for (pith__strategy i = PITH__STRATEGY_FORMER; i < PITH__STRATEGIES; i++) {
        if (pith__strategy_weight(&job->settings->mix, i) == 0.0) {
            continue;
        }
        (void)snprintf(name, sizeof name, " %s", pith__strategy_name(i));
        PITH__TRY(add_figure(job, task, (condition){.strategy = i}, name, err));
        if (i == PITH__STRATEGY_FORMER || i == PITH__STRATEGY_LATTER) {
            (void)snprintf(name, sizeof name, " %s none", pith__strategy_name(i));
            PITH__TRY(add_figure(job, task, (condition){.strategy = i, .memory = NONE}, name, err));
        }
    }
    return PITH_OK;
}

/* Some questions are read before the context, and some are not. */
static bool mixes_conditions(const pith__compressor_settings *settings)
{
    return settings->conditional > 0.0 && settings->conditional < 1.0;
}

static void add_to_all(const pith__figure *figure, pith__evaluation *all)
{
    all->documents += figure->nats.documents;
    all->bytes += figure->nats.bytes;
    all->tokens += figure->nats.tokens;
    all->nats += figure->nats.nats;
}

pith_status pith__training_compressor_judge(pith__training_compressor *job, pith_error *err)
{
    pith__evaluation all = {0};
    job->n_figures = 0;
    for (pith__exercise_task task = 0; task < PITH__EXERCISE_TASKS; task++) {
        const size_t first = job->n_figures;
        PITH__TRY(add_figure(job, task, (condition){.memory = OWN}, "", err));
        if (job->n_figures == first) {
            continue;
        }
        add_to_all(&job->figures[first], &all);
        PITH__TRY(add_figure(job, task, (condition){.memory = SHUFFLED}, " shuffled", err));
        PITH__TRY(add_figure(job, task, (condition){.memory = NONE}, " none", err));
        if (task == PITH__EXERCISE_ANSWER && mixes_conditions(job->settings)) {
            PITH__TRY(
                add_figure(job, task, (condition){.unconditional = true}, " unconditional", err));
        }
        PITH__TRY(judge_fewer(job, task, err));
        PITH__TRY(judge_strategies(job, task, err));
    }
    job->judged_at = job->run.state.step;
    return all.tokens == 0 ? PITH_OK : pith__run_report_held_out(&job->run, &all, NULL, err);
}
