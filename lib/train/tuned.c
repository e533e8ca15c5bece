/*
 * tuned.c: a model file that goes on learning.
 */
#include "train/tuned.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- settings ------------------------------------------------------------------------------------ */

/* Steps of the epochs, at most; far more than anybody waits for. */
#define STEPS_MAX 1e15

static pith_status count_steps(pith__run_settings *run, double epochs, size_t samples,
                               pith_error *err)
{
    const double batch = run->batch == 0 ? 1.0 : (double)run->batch; /* refused by the check */
    const double steps = ceil(epochs * (double)samples / batch);
    if (!(epochs > 0.0 && steps < STEPS_MAX)) {
        return pith__fail(err, PITH_E_ARGUMENT, "%g epochs of %zu samples", epochs, samples);
    }
    run->steps = steps < 1.0 ? 1 : (uint64_t)steps;
    run->schedule.total = run->steps;
    if (run->schedule.warm_up > run->steps / 10) {
        run->schedule.warm_up = run->steps / 10; /* the rate is 0 at the first step of one */
    }
    return PITH_OK;
}

pith_status pith__tuned_run_settings(const pith__run_settings *given, double epochs, size_t samples,
                                     const pith__lora_settings *lora, uint32_t context,
                                     pith__run_settings *out, pith_error *err)
{
    *out = *given;
    if (out->steps == 0) {
        PITH__TRY(count_steps(out, epochs, samples, err));
    }
    if (lora->rank > 0 && lora->dropout > 0.0 && out->micro_batch > 1) {
        out->micro_batch = 1; /* see pith__dropout_seed() */
    }
    return pith__run_check(out, context, err);
}

/* The rank and the matrices are looked at where they are used. */
pith_status pith__tuned_check(const pith__lora_settings *lora, const char *adapter, pith_error *err)
{
    if (lora->rank == 0) {
        return adapter == NULL
                   ? PITH_OK
                   : pith__fail(err, PITH_E_ARGUMENT, "an adapter needs a rank above 0");
    }
    if (!(lora->alpha > 0.0 && (double)(float)lora->alpha <= (double)FLT_MAX) ||
        !(lora->dropout >= 0.0 && (double)(float)lora->dropout < 1.0)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "alpha %g must be above 0, dropout %g from 0 to below 1", lora->alpha,
                          lora->dropout);
    }
    return PITH_OK;
}

/* ---- life ---------------------------------------------------------------------------------------- */

pith_status pith__tuned_open(pith__tuned *tuned, const char *path, const pith_allocator *mem,
                             pith_error *err)
{
    *tuned = (pith__tuned){.mem = *mem, .path = path};
    pith__weights_init(&tuned->weights, mem);
    pith__weights_init(&tuned->factors, mem);
    PITH__TRY(pith__vocabulary_open(path, mem, &tuned->base, err));
    if (pith__tokenizer_bos(tuned->base.tokenizer) == PITH__TOKEN_NONE) {
        pith__vocabulary_close(&tuned->base);
        return pith__fail(err, PITH_E_UNSUPPORTED, "%s names no BOS token", path);
    }
    return PITH_OK;
}

void pith__tuned_close(pith__tuned *tuned)
{
    pith__lora_deinit(&tuned->lora);
    pith__model_deinit(&tuned->model);
    pith__weights_deinit(&tuned->factors);
    pith__weights_deinit(&tuned->weights);
    pith__vocabulary_close(&tuned->base);
    *tuned = (pith__tuned){0};
}

/* ---- weights ------------------------------------------------------------------------------------- */

static pith_status lay_out(const pith__model_config *config, bool tied, const pith_allocator *mem,
                           pith__weights *out, pith_error *err)
{
    pith__weights_init(out, mem);
    PITH__TRY(pith__grad_layout(config, tied, out, err));
    return pith__weights_allocate(out, err);
}

static bool is_tied(const pith__weights *weights)
{
    return pith__weights_find(weights, "output.weight") == NULL;
}

/* Copies tensors of equal names, which have at least as many rows in `to`. */
static void copy_tensors(const pith__weights *from, const pith__weights *to)
{
    for (size_t i = 0; i < from->n_items; i++) {
        const pith__weight *source = &from->items[i];
        const pith__weight *target = pith__weights_find(to, source->name);
        if (target != NULL) {
            memcpy(to->values + target->at, from->values + source->at,
                   source->rows * source->cols * sizeof *to->values);
        }
    }
}

/* A longer vocabulary needs another layout. */
static pith_status grow(pith__tuned *tuned, uint32_t rows, pith_error *err)
{
    if (rows <= tuned->config.vocabulary) {
        return PITH_OK;
    }
    pith__weights grown;
    tuned->config.vocabulary = rows;
    const pith_status status =
        lay_out(&tuned->config, is_tied(&tuned->weights), &tuned->mem, &grown, err);
    if (status != PITH_OK) {
        pith__weights_deinit(&grown);
        return status;
    }
    copy_tensors(&tuned->weights, &grown);
    pith__weights_deinit(&tuned->weights);
    tuned->weights = grown;
    return PITH_OK;
}

static pith_status check_model(const pith__tuned *tuned, const pith__model *model, pith_error *err)
{
    const uint32_t tokens = pith__tokenizer_size(tuned->base.tokenizer);
    if (model->rope_factors != NULL) {
        return pith__fail(err, PITH_E_UNSUPPORTED,
                          "a model with rope_freqs.weight cannot be tuned");
    }
    if (tokens > model->config.vocabulary) {
        return pith__fail(err, PITH_E_CORRUPT, "the tokenizer has %u tokens, the model %u", tokens,
                          model->config.vocabulary);
    }
    return PITH_OK;
}

static pith_status copy_model(pith__tuned *tuned, pith_error *err)
{
    pith__model model;
    PITH__TRY(pith__model_load(&tuned->base.gguf, PITH_PRECISION_F32, &tuned->mem, &model, err));
    tuned->config = model.config;
    const bool tied = pith__gguf_find_tensor(&tuned->base.gguf, "output.weight") == NULL;
    pith_status status = check_model(tuned, &model, err);
    if (status == PITH_OK) {
        status = lay_out(&tuned->config, tied, &tuned->mem, &tuned->weights, err);
    }
    if (status == PITH_OK) {
        status = pith__grad_copy(&model, &tuned->weights, err);
    }
    pith__model_deinit(&model);
    return status;
}

pith_status pith__tuned_load(pith__tuned *tuned, uint32_t rows, pith_error *err)
{
    PITH__TRY(copy_model(tuned, err));
    PITH__TRY(grow(tuned, rows, err));
    tuned->learned = &tuned->weights;
    return pith__grad_model(&tuned->config, &tuned->weights, &tuned->mem, &tuned->model, err);
}

pith_status pith__tuned_adapt(pith__tuned *tuned, const pith__lora_settings *lora, uint64_t seed,
                              const char *beside, pith_error *err)
{
    pith__weights *factors = &tuned->factors;
    tuned->learned = factors;
    PITH__TRY(pith__lora_layout(&tuned->config, lora->rank, lora->matrices, factors, err));
    if (beside != NULL) {
        PITH__TRY(pith__weights_add(factors, beside, PITH__WEIGHT_EMBEDDING, 1, tuned->config.width,
                                    err));
    }
    PITH__TRY(pith__weights_allocate(factors, err));
    pith__lora_initialise(factors, seed);
    PITH__TRY(pith__lora_of(&tuned->config, factors, (float)lora->alpha, (float)lora->dropout,
                            &tuned->mem, &tuned->lora, err));
    tuned->has_lora = true;
    return PITH_OK;
}

pith_status pith__tuned_merge(pith__tuned *tuned, pith_error *err)
{
    if (!tuned->has_lora || tuned->is_merged) {
        return PITH_OK;
    }
    PITH__TRY(pith__grad_merge(&tuned->lora, &tuned->weights, err));
    tuned->is_merged = true;
    return PITH_OK;
}

/* ---- use ------------------------------------------------------------------------------------------ */

pith__learner pith__tuned_learner(const pith__tuned *tuned, const pith__run_settings *settings,
                                  const pith__sample *samples, uint64_t sample, float *gradient)
{
    const bool adapts = tuned->has_lora && !tuned->is_merged;
    pith__learner learner = {
        .model = &tuned->model, .lora = adapts ? &tuned->lora : NULL, .samples = samples};
    if (gradient != NULL) {
        learner.dropout_seed = pith__dropout_seed(settings->seed, sample);
        learner.sink = (pith__sink){tuned->learned->values, gradient, tuned->learned->count};
        learner.recompute = settings->recompute;
    }
    return learner;
}

void pith__tuned_sha256(const pith__tuned *tuned, char out[PITH__SHA256_SIZE])
{
    pith__sha256_of(tuned->base.file.data, tuned->base.file.size, out);
}
