/*
 * distill.c: one context into something smaller (CC: Wingate, Shoeybi & Sorensen 2022, section 3;
 * context distillation: Askell et al. 2021, Snell et al. 2022).
 *
 * What is compared: the predictions made at every token of a continuation, so what follows its
 * last token is one of them, and what its first token is predicted from is not. That one, with
 * `first_token`, is made at the row before the continuation: the context's last token for the
 * teacher; the last row of the soft prompt, else BOS, for the student. A student that has no such
 * row, which takes both no BOS and no soft prompt, is not asked for it. So that all numbers of the
 * report are over the same predictions, and one of them is of a student without context, first
 * tokens count there only if there is a BOS.
 */
#include "train/distill.h"

#include "model/kv.h"
#include "train/run.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A stream of random numbers. */
#define STREAM_OF_ORDER UINT64_C(0x6c6573736f6e73)

typedef struct distill {
    pith__pupil pupil;
    const pith__parameters *set;
    pith__run_settings run_settings;
    pith__lessons training, held_out;
    pith__deck deck; /* of the lists to learn from */
    size_t *numbers; /* (batch) lists of the update */
    uint64_t first;  /* number of its first sample in the run */
    pith__distill_report *report;
    uint64_t judged_at; /* step that report->kl is of */
    pith__run run;
} distill;

/* ---- small things ---------------------------------------------------------------------------- */

typedef struct each_job {
    pith__each_fn fn;
    void *user;
    const pith_allocator *mem;
    pith_error *errors; /* (count) */
} each_job;

static void each_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    const each_job *job = user;
    pith__arena arena;
    pith__arena_init(&arena, job->mem);
    const pith__tensor_ctx ctx = {.threads = 1, .arena = &arena};
    job->errors[index].status = job->fn(job->user, &ctx, index, &job->errors[index]);
    pith__arena_deinit(&arena);
}

pith_status pith__each(unsigned threads, size_t count, pith__each_fn fn, void *user,
                       const pith_allocator *mem, pith_error *err)
{
    each_job job = {.fn = fn, .user = user, .mem = mem};
    PITH__TRY(pith__alloc_zero(mem, count, sizeof *job.errors, &job.errors, err));
    pith__parallel(threads, count, each_part, &job);
    pith_status status = PITH_OK;
    for (size_t i = 0; i < count && status == PITH_OK; i++) {
        status = job.errors[i].status;
        if (status != PITH_OK && err != NULL) {
            *err = job.errors[i];
        }
    }
    pith__free(mem, job.errors, count, sizeof *job.errors);
    return status;
}

pith_status pith__distill_fits(const pith__model *model, uint32_t bos, const char *what,
                               size_t before, size_t after, pith_error *err)
{
    const size_t most = model->config.context;
    const size_t first = bos == PITH__NO_ID ? 0 : 1;
    if (before <= most && after <= most && first + before + after <= most) {
        return PITH_OK;
    }
    return pith__fail(err, PITH_E_CONTEXT,
                      "%s of %zu tokens and continuations of up to %zu%s: the model's context is "
                      "%zu",
                      what, before, after, first == 0 ? "" : ", with BOS", most);
}

static size_t all_tokens(const pith__id_lists *lists)
{
    return lists->count == 0 ? 0 : lists->starts[lists->count] - lists->starts[0];
}

static size_t longest(const pith__id_lists *lists)
{
    size_t most = 0;
    for (size_t i = 0; i < lists->count; i++) {
        const size_t count = pith__list_count(lists, i);
        most = count > most ? count : most;
    }
    return most;
}

/* ---- the teacher ----------------------------------------------------------------------------- */

/* The context, read once: keys and values for all continuations. */
typedef struct teacher {
    distill *d;
    pith__kv kv;
    pith__prefix prefix;
    pith__arena arena;
    size_t n_training; /* lists before those held out */
} teacher;

/* Keys and values without the room that the cache has behind them. */
static pith_status take_prefix(teacher *t, pith_error *err)
{
    const pith__kv *kv = &t->kv;
    const size_t count = kv->length * kv->width;
    float *k = NULL;
    float *v = NULL;
    PITH__TRY(pith__arena_alloc(&t->arena, kv->layers, count * sizeof *k, &k, err));
    PITH__TRY(pith__arena_alloc(&t->arena, kv->layers, count * sizeof *v, &v, err));
    for (size_t l = 0; l < kv->layers; l++) {
        memcpy(k + l * count, pith__kv_keys(kv, l), count * sizeof *k);
        memcpy(v + l * count, pith__kv_values(kv, l), count * sizeof *v);
    }
    t->prefix = (pith__prefix){.count = kv->length, .k = k, .v = v};
    return PITH_OK;
}

static pith_status read_context(teacher *t, pith_error *err)
{
    distill *d = t->d;
    const pith__distill_settings *s = d->pupil.settings;
    const size_t count = d->pupil.before + s->n_context;
    uint32_t *ids = NULL;
    float *hidden = NULL;
    PITH__TRY(pith__arena_alloc(&t->arena, count, sizeof *ids, &ids, err));
    PITH__TRY(pith__arena_alloc(&t->arena, count, d->pupil.width * sizeof *hidden, &hidden, err));
    ids[0] = s->bos; /* overwritten if there is none */
    memcpy(ids + d->pupil.before, s->context, s->n_context * sizeof *ids);
    const unsigned threads = pith__model_threads(d->pupil.model, count, d->run_settings.threads);
    const pith__tensor_ctx ctx = {.threads = threads, .arena = &t->arena};
    const pith__sequence sequence = {.ids = ids, .count = count, .kv = &t->kv};
    const pith__forward_outputs outputs = {.hidden = hidden};
    PITH__TRY(pith__model_forward(d->pupil.model, &ctx, &sequence, 1, &outputs, err));
    memcpy(d->pupil.last, hidden + (count - 1) * d->pupil.width, d->pupil.width * sizeof *hidden);
    return take_prefix(t, err);
}

/* The teacher's hidden states at one continuation. */
static pith_status teach_one(void *user, const pith__tensor_ctx *ctx, size_t index, pith_error *err)
{
    const teacher *t = user;
    const distill *d = t->d;
    const pith__lessons *to = index < t->n_training ? &d->training : &d->held_out;
    const size_t i = index < t->n_training ? index : index - t->n_training;
    const size_t count = pith__list_count(&to->lists, i);
    if (count == 0) {
        return PITH_OK;
    }
    uint32_t *positions = NULL;
    pith__pass *pass = NULL;
    PITH__TRY(pith__arena_reserve(
        ctx->arena, pith__pass_bytes(&d->pupil.model->config, count, t->prefix.count, true), err));
    PITH__TRY(pith__arena_alloc(ctx->arena, count, sizeof *positions, &positions, err));
    for (size_t r = 0; r < count; r++) {
        positions[r] = (uint32_t)(t->prefix.count + r);
    }
    const pith__pass_input input = {.rows = count,
                                    .ids = pith__list_ids(&to->lists, i),
                                    .positions = positions,
                                    .mask = {.rule = PITH__MASK_CAUSAL},
                                    .prefix = &t->prefix,
                                    .recompute = true}; /* there is no way back */
    PITH__TRY(pith__pass_forward(d->pupil.model, ctx, &input, &pass, err));
    memcpy(to->hidden + (to->lists.starts[i] - to->lists.starts[0]) * d->pupil.width,
           pith__pass_hidden(pass), count * d->pupil.width * sizeof(float));
    return PITH_OK;
}

static pith_status teach_all(teacher *t, pith_error *err)
{
    distill *d = t->d;
    const size_t row = d->pupil.width * sizeof(float);
    PITH__TRY(pith__arena_alloc(d->pupil.kept, 1, row, &d->pupil.last, err));
    PITH__TRY(pith__arena_alloc(d->pupil.kept, all_tokens(&d->training.lists), row,
                                &d->training.hidden, err));
    PITH__TRY(pith__arena_alloc(d->pupil.kept, all_tokens(&d->held_out.lists), row,
                                &d->held_out.hidden, err));
    PITH__TRY(read_context(t, err));
    return pith__each(d->run_settings.threads, t->n_training + d->held_out.lists.count, teach_one,
                      t, d->pupil.mem, err);
}

static pith_status teach(distill *d, pith_error *err)
{
    teacher t = {.d = d, .n_training = d->training.lists.count};
    pith__kv_init(&t.kv, d->pupil.model, d->pupil.mem);
    pith__arena_init(&t.arena, d->pupil.mem);
    const pith_status status = teach_all(&t, err);
    pith__arena_deinit(&t.arena);
    pith__kv_deinit(&t.kv);
    return status;
}

/* ---- judging --------------------------------------------------------------------------------- */

typedef struct judge_job {
    const distill *d;
    pith__question question;
    double *nats;     /* (lists) */
    uint64_t *tokens; /* (lists) */
} judge_job;

/* This process's share of the lists. */
static pith_status judge_one(void *user, const pith__tensor_ctx *ctx, size_t index, pith_error *err)
{
    const judge_job *job = user;
    const distill *d = job->d;
    if (index % (size_t)d->run.ranks.count != (size_t)d->run.ranks.rank) {
        return PITH_OK;
    }
    const size_t rows = pith__pupil_rows(&d->pupil, job->question.set) +
                        pith__list_count(&job->question.from->lists, index);
    PITH__TRY(pith__arena_reserve(ctx->arena, pith__pupil_bytes(&d->pupil, rows), err));
    return pith__pupil_ask(&d->pupil, &job->question, ctx, &index, 1, NULL, &job->nats[index],
                           &job->tokens[index], err);
}

static pith_status judge_all(judge_job *job, double totals[2], pith__arena *arena, pith_error *err)
{
    const distill *d = job->d;
    const size_t count = job->question.from->lists.count;
    PITH__TRY(pith__arena_alloc_zero(arena, count, sizeof *job->nats, &job->nats, err));
    PITH__TRY(pith__arena_alloc_zero(arena, count, sizeof *job->tokens, &job->tokens, err));
    PITH__TRY(pith__each(d->run_settings.threads, count, judge_one, job, d->pupil.mem, err));
    for (size_t i = 0; i < count; i++) {
        totals[0] += job->nats[i];
        totals[1] += (double)job->tokens[i];
    }
    return PITH_OK;
}

/* What is held out, or else what is learned. */
static const pith__lessons *judged(const distill *d)
{
    return d->held_out.lists.count > 0 ? &d->held_out : &d->training;
}

/* KL(teacher || student) per prediction. */
static pith_status judge(distill *d, const pith__parameters *set, double *kl, pith_error *err)
{
    judge_job job = {
        .d = d,
        .question = {.set = set,
                     .from = judged(d),
                     .first_token = d->pupil.settings->first_token && d->pupil.before > 0,
                     .direction = PITH__KL_FORWARD}};
    double totals[2] = {0.0, 0.0};
    pith__arena arena;
    pith__arena_init(&arena, d->pupil.mem);
    const pith_status status = judge_all(&job, totals, &arena, err);
    pith__arena_deinit(&arena);
    PITH__TRY(pith__ranks_agree(status, err));
    PITH__TRY(pith__ranks_sum_f64(totals, 2, err));
    d->report->tokens = (uint64_t)totals[1];
    *kl = totals[1] > 0.0 ? totals[0] / totals[1] : 0.0;
    return isfinite(*kl) ? PITH_OK
                         : pith__fail(err, PITH_E_RANGE,
                                      "the divergence from the teacher is not a "
                                      "number");
}

static const char *judged_name(const distill *d)
{
    return d->held_out.lists.count > 0 ? "held out" : "training";
}

static pith_status evaluate(void *user, pith_error *err)
{
    distill *d = user;
    PITH__TRY(judge(d, d->set, &d->report->kl, err));
    d->judged_at = d->run.state.step;
    return pith__run_report(&d->run,
                            (pith__train_event){.kind = PITH__TRAIN_EVALUATION,
                                                .source = judged_name(d),
                                                .loss = d->report->kl,
                                                .bits_per_byte = (double)NAN},
                            err);
}

/* ---- training -------------------------------------------------------------------------------- */

static pith_status fetch(void *user, uint64_t first, size_t count, pith_error *err)
{
    (void)err;
    distill *d = user;
    d->first = first;
    const uint64_t seed = d->pupil.settings->run.seed;
    for (size_t i = 0; i < count; i++) {
        d->numbers[i] = pith__deck_at(&d->deck, seed, STREAM_OF_ORDER, first + i);
    }
    return PITH_OK;
}

static pith_status learn(void *user, const pith__tensor_ctx *ctx, const size_t *samples, size_t n,
                         float *gradient, double *loss, uint64_t *tokens, pith_error *err)
{
    const distill *d = user;
    const pith__distill_settings *s = d->pupil.settings;
    const pith__question q = {
        .set = d->set,
        .from = &d->training,
        .first_token = s->first_token && pith__pupil_rows(&d->pupil, d->set) > 0,
        .direction = s->direction,
        .dropout_seed = pith__dropout_seed(s->run.seed, d->first + samples[0])};
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    size_t *numbers = NULL;
    pith_status status = pith__arena_alloc(ctx->arena, n, sizeof *numbers, &numbers, err);
    for (size_t i = 0; i < n && status == PITH_OK; i++) {
        numbers[i] = d->numbers[samples[i]];
    }
    if (status == PITH_OK) {
        status = pith__pupil_ask(&d->pupil, &q, ctx, numbers, n, gradient, loss, tokens, err);
    }
    pith__arena_restore(ctx->arena, mark);
    return status;
}

/* ---- events ---------------------------------------------------------------------------------- */

static bool tell(const distill *d, const pith__train_event *start, const char *source, double kl)
{
    pith__train_event event = *start;
    event.kind = PITH__TRAIN_EVALUATION;
    event.source = source;
    event.loss = kl;
    event.bits_per_byte = (double)NAN;
    return d->pupil.settings->run.event(d->pupil.settings->run.event_user, &event);
}

/* Hands events on; what they are to be compared with follows the first one. */
static bool take_event(void *user, const pith__train_event *event)
{
    const distill *d = user;
    bool goes_on = d->pupil.settings->run.event(d->pupil.settings->run.event_user, event);
    if (goes_on && event->kind == PITH__TRAIN_START) {
        goes_on = tell(d, event, "no context", d->report->kl_none);
        if (goes_on && event->step == 0) {
            goes_on = tell(d, event, judged_name(d), d->report->kl_start);
        }
    }
    return goes_on;
}

/* ---- setting up ------------------------------------------------------------------------------ */

static pith_status check_ids(const pith__model *model, const uint32_t *ids, size_t count,
                             pith_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (ids[i] >= model->config.vocabulary) {
            return pith__fail(err, PITH_E_ARGUMENT, "token id %u, the vocabulary has %u", ids[i],
                              model->config.vocabulary);
        }
    }
    return PITH_OK;
}

static pith_status check_texts(const distill *d, pith_error *err)
{
    const pith__distill_settings *s = d->pupil.settings;
    const size_t most[2] = {longest(&s->training), longest(&s->held_out)};
    const size_t most_of_all = most[0] > most[1] ? most[0] : most[1];
    if (s->n_context == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "the context has no tokens");
    }
    if (most[0] == 0 || (s->held_out.count > 0 && most[1] == 0)) {
        return pith__fail(err, PITH_E_ARGUMENT, "there are no continuations to %s",
                          most[0] == 0 ? "learn from" : "judge by");
    }
    if (most_of_all > s->run.length) {
        return pith__fail(err, PITH_E_ARGUMENT, "a continuation of %zu tokens, the length is %zu",
                          most_of_all, s->run.length);
    }
    PITH__TRY(
        pith__distill_fits(d->pupil.model, s->bos, "a context", s->n_context, most_of_all, err));
    PITH__TRY(pith__distill_fits(d->pupil.model, s->bos, "a soft prompt", d->set->rows(s),
                                 most_of_all, err));
    PITH__TRY(check_ids(d->pupil.model, &s->bos, d->pupil.before, err));
    PITH__TRY(check_ids(d->pupil.model, s->context, s->n_context, err));
    PITH__TRY(
        check_ids(d->pupil.model, pith__list_ids(&s->training, 0), all_tokens(&s->training), err));
    return s->held_out.count == 0 ? PITH_OK
                                  : check_ids(d->pupil.model, pith__list_ids(&s->held_out, 0),
                                              all_tokens(&s->held_out), err);
}

static pith_status check(const distill *d, pith_error *err)
{
    const pith__distill_settings *s = d->pupil.settings;
    if (d->pupil.model->precision != PITH_PRECISION_F32) {
        return pith__fail(err, PITH_E_ARGUMENT, "training needs a model in f32");
    }
    if (d->pupil.learned->n_items != 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "there are weights already where to learn");
    }
    if (s->into == PITH__DISTILL_SOFT_PROMPT && s->slots == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "a soft prompt needs at least 1 slot");
    }
    if (s->into == PITH__DISTILL_LORA && s->lora.rank == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "an adapter needs a rank above 0");
    }
    PITH__TRY(pith__run_check(&s->run, d->pupil.model->config.context, err));
    return check_texts(d, err);
}

static uint64_t add_number(uint64_t hash, uint64_t number)
{
    return pith__fingerprint(hash, &number, sizeof number);
}

/* A run may go on with another schedule, batch, dropout or other held-out texts. */
static void fingerprint(const distill *d, char *out, size_t size)
{
    const pith__distill_settings *s = d->pupil.settings;
    const pith__id_lists *lists = &s->training;
    const double alpha = s->into == PITH__DISTILL_LORA ? s->lora.alpha : 0.0;
    const char *data = s->fingerprint == NULL ? "" : s->fingerprint;
    uint64_t hash = PITH__FINGERPRINT_START;
    hash = add_number(hash, s->run.seed);
    hash = add_number(hash, (uint64_t)s->into);
    hash = add_number(hash, s->slots);
    hash = add_number(hash, (uint64_t)s->start);
    hash = add_number(hash, (uint64_t)s->direction);
    hash = add_number(hash, s->first_token ? 1 : 0);
    hash = add_number(hash, s->bos);
    hash = pith__fingerprint(hash, &alpha, sizeof alpha);
    hash = add_number(hash, s->n_context);
    hash = pith__fingerprint(hash, s->context, s->n_context * sizeof *s->context);
    for (size_t i = 0; i < lists->count; i++) {
        hash = add_number(hash, pith__list_count(lists, i));
        hash = pith__fingerprint(hash, pith__list_ids(lists, i),
                                 pith__list_count(lists, i) * sizeof *lists->ids);
    }
    hash = pith__fingerprint(hash, data, strlen(data));
    (void)snprintf(out, size, "distill-%016llx", (unsigned long long)hash);
}

/* What to train with: the settings, and what follows from them. */
static void settle(distill *d)
{
    const pith__distill_settings *s = d->pupil.settings;
    pith__run_settings *run = &d->run_settings;
    *run = s->run;
    run->threads = run->threads == 0 ? 1 : run->threads;
    run->event = s->run.event == NULL ? NULL : take_event;
    run->event_user = d;
    if (s->into == PITH__DISTILL_LORA && s->lora.dropout > 0.0) {
        run->micro_batch =
            run->micro_batch > 1 ? 1 : run->micro_batch; /* see pith__dropout_seed() */
    }
}

static pith_status set_up(distill *d, pith_error *err)
{
    const pith__run_settings *s = &d->run_settings;
    char hash[64];
    PITH__TRY(check(d, err));
    settle(d);
    PITH__TRY(pith__deck_init(&d->deck, d->training.lists.count, d->pupil.mem, err));
    PITH__TRY(pith__arena_alloc(d->pupil.kept, s->batch, sizeof *d->numbers, &d->numbers, err));
    PITH__TRY(d->set->make(&d->pupil, err));
    PITH__TRY(teach(d, err));
    fingerprint(d, hash, sizeof hash);
    PITH__TRY(pith__run_init(s, d->pupil.learned, hash, d->pupil.mem, &d->run, err));
    const size_t rows =
        pith__run_rows(s) / s->length * (pith__pupil_rows(&d->pupil, d->set) + s->length);
    d->run.recipe = (pith__recipe){.user = d,
                                   .fetch = fetch,
                                   .learn = learn,
                                   .evaluate = evaluate,
                                   .lane_bytes = pith__pupil_bytes(&d->pupil, rows)};
    return PITH_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

static pith_status train(distill *d, pith_error *err)
{
    pith__distill_report *report = d->report;
    PITH__TRY(pith__ranks_agree(set_up(d, err), err));
    PITH__TRY(judge(d, &pith__parameters_none, &report->kl_none, err));
    PITH__TRY(judge(d, d->set, &report->kl_start, err));
    report->kl = report->kl_start;
    PITH__TRY(pith__run_train(&d->run, err));
    report->seconds = d->run.state.seconds;
    /* a run that was complete already has judged nothing */
    return d->judged_at == d->run.state.step ? PITH_OK : judge(d, d->set, &report->kl, err);
}

pith_status pith__distill(const pith__distill_settings *settings, const pith_allocator *mem,
                          pith__weights *learned, pith__distill_report *report, pith_error *err)
{
    pith__distill_report own;
    pith__arena kept;
    distill d = {.pupil = {.settings = settings,
                           .mem = mem,
                           .model = settings->model,
                           .width = settings->model->config.width,
                           .before = settings->bos == PITH__NO_ID ? 0 : 1,
                           .kept = &kept,
                           .learned = learned},
                 .set = settings->into == PITH__DISTILL_LORA ? &pith__parameters_lora
                                                             : &pith__parameters_soft_prompt,
                 .training = {.lists = settings->training},
                 .held_out = {.lists = settings->held_out},
                 .report = report == NULL ? &own : report};
    *d.report = (pith__distill_report){0};
    pith__arena_init(&kept, mem);
    const pith_status status = train(&d, err);
    pith__run_deinit(&d.run);
    pith__deck_deinit(&d.deck);
    pith__lora_deinit(&d.pupil.lora);
    pith__arena_deinit(&kept);
    return status;
}
