/*
 * compressor.c: recipes 500x, icae and selfcp: what puts any text into slots for a model that stays as
 * it is (Li, Su & Collier 2024; Ge et al. 2023; Gao, Cao & Li 2024).
 */
#include "train/compressor.h"

#include "train/tuned.h"

#include <stdio.h>
#include <string.h>

/* ---- updates ----------------------------------------------------------------------------------- */

pith__memory_learner pith__training_compressor_learner(const pith__training_compressor *job,
                                                       uint64_t sample, float *gradient)
{
    pith__memory_learner learner = {
        .model = &job->base.model, .compressor = &job->compressor, .padding = job->exercises.end};
    if (gradient != NULL) {
        learner.dropout_seed = pith__dropout_seed(job->run_settings.seed, sample);
        learner.sink = (pith__sink){job->learned.values, gradient, job->learned.count};
        learner.recompute = job->run_settings.recompute;
    }
    return learner;
}

size_t pith__training_compressor_bytes(const pith__training_compressor *job, size_t samples)
{
    const pith__exercise_rows *rows = &job->exercises.rows;
    return pith__memory_bytes(&job->base.model.config, samples * rows->encoder,
                              samples * rows->decoder, samples * rows->slots,
                              job->run_settings.recompute &&
                                  job->settings->shape.method != PITH__COMPRESSOR_500X);
}

static pith_status fetch(void *user, uint64_t first, size_t count, pith_error *err)
{
    pith__training_compressor *job = user;
    pith__arena_reset(&job->batch);
    job->first = first;
    PITH__TRY(pith__arena_alloc(&job->batch, count, sizeof *job->samples, &job->samples, err));
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(
            pith__exercises_draw(&job->exercises, first + i, &job->batch, &job->samples[i], err));
    }
    return PITH_OK;
}

static pith_status learn(void *user, const pith__tensor_ctx *ctx, const size_t *samples, size_t n,
                         float *gradient, double *loss, uint64_t *tokens, pith_error *err)
{
    const pith__training_compressor *job = user;
    const pith__memory_learner learner =
        pith__training_compressor_learner(job, job->first + samples[0], gradient);
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    pith__memory_sample *chosen = NULL;
    pith_status status = pith__arena_alloc(ctx->arena, n, sizeof *chosen, &chosen, err);
    for (size_t i = 0; i < n && status == PITH_OK; i++) {
        chosen[i] = job->samples[samples[i]];
    }
    if (status == PITH_OK) {
        status = pith__memory_learn(&learner, ctx, chosen, n, loss, tokens, NULL, err);
    }
    pith__arena_restore(ctx->arena, mark);
    return status;
}

static pith_status evaluate(void *user, pith_error *err)
{
    return pith__training_compressor_judge(user, err);
}

/* ---- setting up -------------------------------------------------------------------------------- */

static pith_status open_model(pith__training_compressor *job, pith_error *err)
{
    const pith__compressor_settings *s = job->settings;
    PITH__TRY(pith__frozen_open(s->model, s->data, s->data_size, &job->mem, &job->base, err));
    if (s->shape.pads && pith__tokenizer_eos(job->base.tokenizer) == PITH__TOKEN_NONE) {
        return pith__fail(err, PITH_E_UNSUPPORTED,
                          "texts are to be padded with EOS: the model names no such token");
    }
    return pith__tokenizer_bos(job->base.tokenizer) != PITH__TOKEN_NONE
               ? PITH_OK
               : pith__fail(err, PITH_E_UNSUPPORTED, "the model names no BOS token");
}

/* What must be the same in a run that goes on, besides the tensors' shapes. */
static void fingerprint(const pith__training_compressor *job, char *out, size_t size)
{
    const pith__compressor_settings *s = job->settings;
    const pith__compressor_shape *shape = &s->shape;
    const double numbers[] = {(double)job->alpha,  s->lora.dropout,  s->continuation,
                              s->question_share,   s->mix.former,    s->mix.latter,
                              s->mix.concatenated, s->mix.recursive, s->mix.linear,
                              s->conditional};
    const uint64_t sizes[] = {(uint64_t)shape->method,
                              shape->slots,
                              shape->elastic,
                              shape->ratio,
                              (uint64_t)shape->layout,
                              (uint64_t)shape->mode,
                              shape->window,
                              shape->pads,
                              shape->has_norm,
                              s->run.length,
                              s->run.seed,
                              s->run.held_out_every,
                              s->shortest};
    uint64_t hash = PITH__FINGERPRINT_START;
    hash = pith__fingerprint(hash, numbers, sizeof numbers);
    hash = pith__fingerprint(hash, sizes, sizeof sizes);
    if (s->n_questions > 0) {
        hash = pith__fingerprint_text(hash, s->format);
    }
    hash = pith__exercises_fingerprint(&job->exercises, hash);
    hash = pith__fingerprint_text(hash, job->base.sha256);
    (void)snprintf(out, size, "%s-%016llx", pith__compressor_method_name(shape->method),
                   (unsigned long long)hash);
}

static pith_status check(const pith__training_compressor *job, pith_error *err)
{
    const pith__compressor_settings *s = job->settings;
    PITH__TRY(pith__exercises_check(s, err));
    if (s->n_questions > 0 && strlen(s->format) >= sizeof((pith__compressor_about *)NULL)->format) {
        return pith__fail(err, PITH_E_ARGUMENT, "the format of questions has %zu bytes",
                          strlen(s->format));
    }
    if (s->shape.method == PITH__COMPRESSOR_SELFCP) {
        return PITH_OK;
    }
    if (!(s->slot_deviation >= 0.0 && s->slot_deviation <= 1e6)) {
        return pith__fail(err, PITH_E_ARGUMENT, "slots with a deviation of %g", s->slot_deviation);
    }
    return s->lora.rank == 0 ? pith__fail(err, PITH_E_ARGUMENT, "the encoder needs a rank above 0")
                             : pith__tuned_check(&s->lora, NULL, err);
}

static pith_status set_up(pith__training_compressor *job, pith_error *err)
{
    const pith__compressor_settings *s = job->settings;
    const pith__lora_settings lora =
        s->shape.method == PITH__COMPRESSOR_SELFCP ? (pith__lora_settings){0} : s->lora;
    char hash[64];
    PITH__TRY(check(job, err));
    PITH__TRY(open_model(job, err));
    PITH__TRY(pith__compressor_check(&s->shape, job->base.model.config.context, err));
    PITH__TRY(pith__exercises_open(s, job->base.tokenizer, job->base.model.config.context,
                                   &job->mem, &job->exercises, err));
    PITH__TRY(pith__tuned_run_settings(&s->run, s->epochs, pith__exercises_epoch(&job->exercises),
                                       &lora, job->base.model.config.context, &job->run_settings,
                                       err));
    PITH__TRY(pith__training_compressor_start(job, err));
    fingerprint(job, hash, sizeof hash);
    PITH__TRY(pith__run_init(&job->run_settings, &job->learned, hash, &job->mem, &job->run, err));
    job->run.recipe = (pith__recipe){
        .user = job,
        .fetch = fetch,
        .learn = learn,
        .evaluate = evaluate,
        .lane_bytes = pith__training_compressor_bytes(job, pith__run_pack(&job->run_settings))};
    return PITH_OK;
}

/* ---- life ---------------------------------------------------------------------------------------- */

static pith_status train(pith__training_compressor *job, pith_error *err)
{
    PITH__TRY(pith__ranks_agree(set_up(job, err), err));
    PITH__TRY(pith__run_train(&job->run, err));
    if (job->n_figures == 0 || job->judged_at != job->run.state.step) { /* all was done before */
        PITH__TRY(pith__training_compressor_judge(job, err));
    }
    return pith__ranks_agree(pith__training_compressor_write(job, err), err);
}

static void deinit(pith__training_compressor *job)
{
    pith__run_deinit(&job->run);
    pith__arena_deinit(&job->batch);
    pith__compressor_deinit(&job->compressor);
    pith__weights_deinit(&job->learned);
    pith__exercises_close(&job->exercises);
    pith__frozen_close(&job->base);
}

pith_status pith__train_compressor(const pith__compressor_settings *settings,
                                   const pith_allocator *mem, pith_error *err)
{
    pith__training_compressor job = {.settings = settings, .mem = *mem};
    pith__arena_init(&job.batch, mem);
    pith__weights_init(&job.learned, mem);
    const pith_status status = train(&job, err);
    deinit(&job);
    return status;
}
