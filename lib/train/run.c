/*
 * run.c: the training loop: samples to lanes, gradients together, one update, and the
 * book-keeping around it.
 *
 * A lane is a gradient of its own, filled by one thread at a time. Lanes are summed in
 * order, so the result depends on their number, never on the threads.
 */
#include "train/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Weight of a new value in running means: about 50 steps. */
#define SMOOTHING 0.02

uint64_t pith__fingerprint(uint64_t hash, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

uint64_t pith__fingerprint_text(uint64_t hash, const char *text)
{
    return pith__fingerprint(hash, text, strlen(text) + 1);
}

/* ---- life ---------------------------------------------------------------------------------- */

/* Samples of one pass, at most: more rows make no product faster. */
#define PACK_MAX ((size_t)64)

pith_status pith__run_check(const pith__run_settings *s, uint32_t context, pith_error *err)
{
    if (s->steps == 0 || s->batch == 0 || s->lanes == 0 || s->length == 0 || s->micro_batch == 0) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "steps %llu, batch %zu, lanes %zu, length %zu, micro-batch %zu: none may "
                          "be 0",
                          (unsigned long long)s->steps, s->batch, s->lanes, s->length,
                          s->micro_batch);
    }
    if (s->length > context) {
        return pith__fail(err, PITH_E_ARGUMENT, "samples of %zu tokens, the model's context is %u",
                          s->length, context);
    }
    return PITH_OK;
}

size_t pith__run_pack(const pith__run_settings *settings)
{
    const size_t most = settings->batch < PACK_MAX ? settings->batch : PACK_MAX;
    return settings->micro_batch < most ? settings->micro_batch : most;
}

size_t pith__run_rows(const pith__run_settings *settings)
{
    return settings->length * pith__run_pack(settings);
}

/* A lane without a sample adds nothing: there are not more of them than samples of this rank. */
static size_t lanes_of(const pith__run_settings *s, pith__ranks ranks)
{
    const size_t count = (size_t)ranks.count;
    const size_t most = s->batch / count + (s->batch % count != 0);
    return s->lanes < most ? s->lanes : most;
}

pith_status pith__run_init(const pith__run_settings *settings, pith__weights *weights,
                           const char *fingerprint, const pith_allocator *mem, pith__run *out,
                           pith_error *err)
{
    const pith__ranks ranks = pith__ranks_get();
    *out = (pith__run){.settings = settings,
                       .mem = *mem,
                       .ranks = ranks,
                       .weights = weights,
                       .lanes = lanes_of(settings, ranks)};
    (void)snprintf(out->state.fingerprint, sizeof out->state.fingerprint, "%s", fingerprint);
    pith_status status = pith__alloc_zero(mem, out->lanes, sizeof(float *), &out->gradients, err);
    if (status == PITH_OK) {
        status = pith__alloc_zero(mem, out->lanes, sizeof *out->arenas, &out->arenas, err);
    }
    for (size_t i = 0; i < out->lanes && status == PITH_OK; i++) {
        pith__arena_init(&out->arenas[i], mem);
        status = pith__alloc(mem, weights->count, sizeof(float), &out->gradients[i], err);
    }
    if (status == PITH_OK) {
        status = pith__optimizer_init(&settings->optimizer, weights, &out->optimizer, err);
    }
    if (status != PITH_OK) {
        pith__run_deinit(out);
    }
    return status;
}

void pith__run_deinit(pith__run *run)
{
    for (size_t i = 0; run->gradients != NULL && i < run->lanes; i++) {
        pith__free(&run->mem, run->gradients[i], run->weights->count, sizeof(float));
    }
    for (size_t i = 0; run->arenas != NULL && i < run->lanes; i++) {
        pith__arena_deinit(&run->arenas[i]);
    }
    pith__free(&run->mem, run->gradients, run->lanes, sizeof(float *));
    pith__free(&run->mem, run->arenas, run->lanes, sizeof *run->arenas);
    pith__optimizer_deinit(&run->optimizer);
    memset(run, 0, sizeof *run);
}

/* ---- events --------------------------------------------------------------------------------- */

/* Seconds that the rest takes at this speed; 0 if there is none, or no speed yet. */
static double seconds_left(const pith__run *run)
{
    const pith__run_state *state = &run->state;
    if (run->speed <= 0.0 || state->step == 0 || state->step >= run->settings->steps) {
        return 0.0;
    }
    const double per_step = (double)state->tokens / (double)state->step;
    return (double)(run->settings->steps - state->step) * per_step / run->speed;
}

pith_status pith__run_report(const pith__run *run, pith__train_event event, pith_error *err)
{
    const pith__run_settings *s = run->settings;
    event.step = run->state.step;
    event.steps = s->steps;
    event.tokens = run->state.tokens;
    event.smooth_loss = run->state.loss;
    event.seconds = run->state.seconds;
    event.tokens_per_second = run->speed;
    event.seconds_left = seconds_left(run);
    double stops = s->event == NULL || s->event(s->event_user, &event) ? 0.0 : 1.0;
    PITH__TRY(pith__ranks_sum_f64(&stops, 1, err)); /* all stop if one is told to */
    return stops == 0.0 ? PITH_OK
                        : pith__fail(err, PITH_E_CANCELLED, "stopped at step %llu",
                                     (unsigned long long)run->state.step);
}

pith_status pith__run_report_held_out(const pith__run *run, const pith__evaluation *held_out,
                                      const char *source, pith_error *err)
{
    const double tokens = held_out->tokens == 0 ? 1.0 : (double)held_out->tokens;
    const double bytes = held_out->bytes == 0 ? 1.0 : (double)held_out->bytes;
    return pith__run_report(run,
                            (pith__train_event){.kind = PITH__TRAIN_EVALUATION,
                                                .source = source,
                                                .loss = held_out->nats / tokens,
                                                .bits_per_byte = held_out->nats / log(2.0) / bytes},
                            err);
}

/* ---- one update ------------------------------------------------------------------------------ */

typedef struct lane_job {
    pith__run *run;
    double *losses;     /* (lanes) */
    uint64_t *tokens;   /* (lanes) */
    pith_error *errors; /* (lanes) */
} lane_job;

/* The samples of one lane: every `lanes`-th of those that are this rank's. */
static pith_status learn_lane(const lane_job *job, size_t lane, pith_error *err)
{
    pith__run *run = job->run;
    const pith__run_settings *s = run->settings;
    const pith__tensor_ctx ctx = {.threads = 1, .arena = &run->arenas[lane]};
    const size_t ranks = (size_t)run->ranks.count;
    const size_t stride = ranks * run->lanes; /* less than the batch and the ranks together */
    const size_t most = pith__run_pack(s);
    size_t samples[PACK_MAX];
    size_t n = 0;
    memset(run->gradients[lane], 0, run->weights->count * sizeof(float));
    for (size_t i = (size_t)run->ranks.rank + lane * ranks; i < s->batch; i += stride) {
        samples[n++] = i;
        if (n == most || s->batch - i <= stride) {
            PITH__TRY(run->recipe.learn(run->recipe.user, &ctx, samples, n, run->gradients[lane],
                                        &job->losses[lane], &job->tokens[lane], err));
            n = 0;
        }
    }
    return PITH_OK;
}

static void lane_part(void *user, size_t lane, unsigned worker)
{
    (void)worker;
    lane_job *job = user;
    job->errors[lane].status = learn_lane(job, lane, &job->errors[lane]);
}

/* Floats that one thread sums at a time. */
#define SUM_BLOCK ((size_t)1 << 16)

static void sum_part(void *user, size_t block, unsigned worker)
{
    (void)worker;
    pith__run *run = user;
    const size_t first = block * SUM_BLOCK;
    const size_t left = run->weights->count - first;
    const pith__tensor_ctx ctx = {.threads = 1, .arena = NULL};
    for (size_t lane = 1; lane < run->lanes; lane++) {
        pith__tensor_cpu()->add(&ctx, run->gradients[0] + first, run->gradients[lane] + first,
                                left < SUM_BLOCK ? left : SUM_BLOCK);
    }
}

/* The first error of the lanes, in *err. */
static pith_status lane_status(const lane_job *job, size_t lanes, pith_error *err)
{
    for (size_t i = 0; i < lanes; i++) {
        if (job->errors[i].status != PITH_OK) {
            if (err != NULL) {
                *err = job->errors[i];
            }
            return job->errors[i].status;
        }
    }
    return PITH_OK;
}

/* The gradient of all lanes and ranks in the first lane's place; totals = {loss, tokens}. */
static pith_status learn(pith__run *run, lane_job *job, double totals[2], pith_error *err)
{
    const unsigned threads = run->settings->threads;
    pith__parallel(threads, run->lanes, lane_part, job);
    PITH__TRY(pith__ranks_agree(lane_status(job, run->lanes, err), err));
    for (size_t i = 0; i < run->lanes; i++) {
        totals[0] += job->losses[i];
        totals[1] += (double)job->tokens[i];
    }
    pith__parallel(threads, (run->weights->count + SUM_BLOCK - 1) / SUM_BLOCK, sum_part, run);
    PITH__TRY(pith__ranks_sum_f64(totals, 2, err));
    return pith__ranks_sum_f32(run->gradients[0], run->weights->count, err);
}

static pith_status fail_diverged(const pith__run *run, pith_error *err)
{
    return pith__fail(err, PITH_E_RANGE,
                      "the loss is not a number any more at step %llu: lower the learning rate",
                      (unsigned long long)run->state.step);
}

static pith_status update(pith__run *run, const double totals[2], double *norm, double *multiplier,
                          pith_error *err)
{
    const pith__run_settings *s = run->settings;
    const pith__tensor_ctx ctx = {.threads = s->threads, .arena = &run->arenas[0]};
    *multiplier = pith__schedule_at(&s->schedule, run->state.step);
    const pith_status status =
        pith__optimizer_step(&run->optimizer, &ctx, run->gradients[0],
                             totals[1] > 0.0 ? 1.0 / totals[1] : 0.0, *multiplier, norm, err);
    PITH__TRY(pith__ranks_agree(status, err));
    return isfinite(*norm) && isfinite(totals[0]) ? PITH_OK : fail_diverged(run, err);
}

/* What is judged, kept or handed out must be numbers: the last update may have spoilt them. */
static pith_status check_weights(const pith__run *run, pith_error *err)
{
    const pith__tensor_ctx ctx = {.threads = run->settings->threads, .arena = &run->arenas[0]};
    double squares = 0.0; /* of floats: only infinities and NaN make it infinite or NaN */
    PITH__TRY(pith__tensor_cpu()->sum_squares(&ctx, run->weights->values, run->weights->count,
                                              &squares, err));
    return isfinite(squares) ? PITH_OK : fail_diverged(run, err);
}

static void count(pith__run *run, const double totals[2], double seconds)
{
    pith__run_state *state = &run->state;
    const double loss = totals[1] > 0.0 ? totals[0] / totals[1] : 0.0;
    const double speed = seconds > 0.0 ? totals[1] / seconds : 0.0;
    state->loss = state->step == 0 ? loss : state->loss + SMOOTHING * (loss - state->loss);
    run->speed = run->speed == 0.0 ? speed : run->speed + SMOOTHING * (speed - run->speed);
    state->step++;
    state->samples += run->settings->batch;
    state->tokens += (uint64_t)totals[1];
    state->seconds += seconds;
}

static pith_status step(pith__run *run, lane_job *job, pith_error *err)
{
    const double start = pith__seconds();
    const pith__recipe *recipe = &run->recipe;
    memset(job->losses, 0, run->lanes * sizeof *job->losses);
    memset(job->tokens, 0, run->lanes * sizeof *job->tokens);
    PITH__TRY(pith__ranks_agree(
        recipe->fetch(recipe->user, run->state.samples, run->settings->batch, err), err));
    double totals[2] = {0.0, 0.0};
    double norm = 0.0;
    double multiplier = 0.0;
    PITH__TRY(learn(run, job, totals, err));
    PITH__TRY(update(run, totals, &norm, &multiplier, err));
    count(run, totals, pith__seconds() - start);
    return pith__run_report(run,
                            (pith__train_event){.kind = PITH__TRAIN_STEP,
                                                .loss = totals[1] > 0.0 ? totals[0] / totals[1] : 0,
                                                .norm = norm,
                                                .multiplier = multiplier},
                            err);
}

/* ---- the loop ---------------------------------------------------------------------------------- */

static pith_status save_by_first(pith__run *run, pith_error *err)
{
    PITH__TRY(check_weights(run, err));
    return run->ranks.rank != 0
               ? PITH_OK
               : pith__checkpoint_save(run->settings->checkpoint, &run->state, &run->optimizer,
                                       run->recipe.places, run->recipe.n_places, err);
}

static pith_status save(pith__run *run, pith_error *err)
{
    if (run->settings->checkpoint == NULL) {
        return PITH_OK;
    }
    PITH__TRY(pith__ranks_agree(save_by_first(run, err), err));
    return pith__run_report(run, (pith__train_event){.kind = PITH__TRAIN_CHECKPOINT}, err);
}

static bool due(uint64_t every, uint64_t step)
{
    return every > 0 && step % every == 0;
}

/* An update and, if it is time, a look at held-out text. */
static pith_status advance(pith__run *run, lane_job *job, pith_error *err)
{
    const pith__run_settings *s = run->settings;
    PITH__TRY(step(run, job, err));
    if (run->state.step < s->steps && !due(s->evaluate_every, run->state.step)) {
        return PITH_OK;
    }
    PITH__TRY(pith__ranks_agree(check_weights(run, err), err));
    return run->recipe.evaluate(run->recipe.user, err);
}

/* Keeps what is done so far. `status`, why the run stops, stays unless that goes wrong. */
static pith_status stop(pith__run *run, pith_status status, pith_error *err)
{
    pith_error problem = {.status = PITH_OK};
    const pith_status saving = save(run, &problem);
    if (saving == PITH_OK || saving == PITH_E_CANCELLED) { /* told to stop twice */
        return status;
    }
    if (err != NULL) {
        *err = problem;
    }
    return saving;
}

static pith_status loop(pith__run *run, lane_job *job, pith_error *err)
{
    const pith__run_settings *s = run->settings;
    uint64_t saved = run->state.step;
    PITH__TRY(pith__run_report(run, (pith__train_event){.kind = PITH__TRAIN_START}, err));
    while (run->state.step < s->steps) {
        pith_status status = advance(run, job, err);
        if (status == PITH_E_CANCELLED && saved < run->state.step) {
            status = stop(run, status, err);
        }
        PITH__TRY(status);
        if (run->state.step == s->steps || due(s->checkpoint_every, run->state.step)) {
            PITH__TRY(save(run, err));
            saved = run->state.step;
        }
    }
    return pith__run_report(run, (pith__train_event){.kind = PITH__TRAIN_END}, err);
}

static pith_status resume(pith__run *run, pith_error *err)
{
    const pith__run_settings *s = run->settings;
    if (!s->resume || s->checkpoint == NULL || access(s->checkpoint, F_OK) != 0) {
        return PITH_OK;
    }
    return pith__checkpoint_load(s->checkpoint, &run->state, &run->optimizer, run->recipe.places,
                                 run->recipe.n_places, err);
}

/* What may fail in one process alone. */
static pith_status get_ready(pith__run *run, pith__arena *arena, lane_job *job, pith_error *err)
{
    PITH__TRY(resume(run, err));
    for (size_t i = 0; i < run->lanes; i++) {
        PITH__TRY(pith__arena_reserve(&run->arenas[i], run->recipe.lane_bytes, err));
    }
    PITH__TRY(pith__arena_alloc(arena, run->lanes, sizeof *job->losses, &job->losses, err));
    PITH__TRY(pith__arena_alloc(arena, run->lanes, sizeof *job->tokens, &job->tokens, err));
    return pith__arena_alloc_zero(arena, run->lanes, sizeof *job->errors, &job->errors, err);
}

/* Processes that started from other data, settings, weights or places would learn nonsense together. */
static pith_status check_ranks(const pith__run *run, pith_error *err)
{
    const pith__run_settings *s = run->settings;
    const double count = (double)run->ranks.count;
    if (run->ranks.count == 1) {
        return PITH_OK;
    }
    char text[160];
    (void)snprintf(text, sizeof text, "%llu %llu %llu %zu %llu %llu %d",
                   (unsigned long long)run->state.step, (unsigned long long)run->state.samples,
                   (unsigned long long)s->steps, s->batch, (unsigned long long)s->evaluate_every,
                   (unsigned long long)s->checkpoint_every, s->checkpoint != NULL);
    uint64_t hash = pith__fingerprint(PITH__FINGERPRINT_START, text, strlen(text));
    hash = pith__fingerprint(hash, run->state.fingerprint, strlen(run->state.fingerprint));
    hash = pith__fingerprint(hash, run->weights->values, run->weights->count * sizeof(float));
    hash = pith__fingerprint(hash, run->recipe.places,
                             run->recipe.n_places * sizeof *run->recipe.places);
    const double own[2] = {(double)(hash >> 32), (double)(hash & UINT32_MAX)};
    double sums[2] = {own[0], own[1]};
    PITH__TRY(pith__ranks_sum_f64(sums, 2, err));
    const bool same = sums[0] == own[0] * count && sums[1] == own[1] * count;
    return pith__ranks_agree(
        same ? PITH_OK
             : pith__fail(err, PITH_E_MISMATCH,
                          "the processes of the run differ in data, settings or checkpoint"),
        err);
}

pith_status pith__run_train(pith__run *run, pith_error *err)
{
    pith__arena arena;
    pith__arena_init(&arena, &run->mem);
    lane_job job = {.run = run};
    pith_status status = get_ready(run, &arena, &job, err);
    const pith_status agreed = pith__ranks_agree(status, err);
    status = status == PITH_OK ? agreed : status;
    if (status == PITH_OK) {
        status = check_ranks(run, err);
    }
    if (status == PITH_OK) {
        status = loop(run, &job, err);
    }
    pith__arena_deinit(&arena);
    return status;
}
