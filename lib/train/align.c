/*
 * align.c: tuning a small model to the answers of a large one (LLMLingua, Jiang et al. 2023,
 * section 3.3: "distribution alignment"): cross-entropy of completions, given their prompts.
 */
#include "train/pairs.h"
#include "train/run.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Streams of random numbers. */
#define STREAM_OF_ORDER   UINT64_C(0x70616972)
#define STREAM_OF_DROPOUT UINT64_C(0x64726f706f7574)

typedef struct align {
    const pith__align_settings *settings;
    pith__run_settings run_settings; /* with the steps filled in */
    pith_allocator mem;
    pith__pair_format format;
    pith__pair_file *files;
    size_t n_files; /* open ones */
    size_t n_pairs; /* to train on, of all files */
    size_t *order;  /* (n_pairs) of `epoch` */
    uint64_t order_epoch;
    bool has_order;
    pith__vocabulary base; /* the model file */
    pith__model_config config;
    pith__weights weights;  /* of the model */
    pith__weights factors;  /* of the adapter */
    pith__weights *learned; /* one of the two */
    pith__model model;
    pith__lora lora;
    bool has_lora;
    pith__sample *samples; /* (batch) */
    uint64_t first;        /* number of samples[0] in the run */
    pith__arena scratch;   /* of one pair's text and tokens */
    pith__run run;
} align;

/* ---- samples ------------------------------------------------------------------------------------- */

/* BOS, the tokens and EOS as a sample of at most `most` tokens that predicts the completion. */
static void fill_sample(const align *a, const pith__tokens *tokens, size_t completion,
                        pith__sample *sample)
{
    const size_t most = a->run_settings.length;
    const pith__tokenizer *tokenizer = a->base.tokenizer;
    const uint32_t bos = pith__tokenizer_bos(tokenizer);
    const uint32_t last = pith__document_end(tokenizer);
    const size_t left = tokens->count + 1 > most ? tokens->count + 1 - most : 0; /* left out */
    sample->length = tokens->count + 1 - left;
    for (size_t i = 0; i < sample->length; i++) {
        const size_t at = left + i; /* of the token to predict; at - 1 is the one at hand */
        const bool end = at == tokens->count;
        const bool learned = end || tokens->items[at].end > completion;
        sample->ids[i] = i == 0 ? bos : tokens->items[at - 1].id;
        sample->targets[i] = !learned ? PITH__NO_TARGET : end ? last : tokens->items[at].id;
        sample->documents[i] = 0;
        sample->positions[i] = (uint32_t)i;
    }
}

static pith_status pair_sample(align *a, const pith__pair_file *file, pith__pair pair,
                               pith__sample *sample, size_t *bytes, pith_error *err)
{
    const pith__arena_mark mark = pith__arena_save(&a->scratch);
    const pith_allocator mem = pith__arena_allocator(&a->scratch);
    const char *text = NULL;
    size_t size = 0;
    size_t completion = 0;
    pith__tokens tokens = {0};
    pith_status status =
        pith__pair_text(file, pair, &a->format, &a->scratch, &text, &size, &completion, bytes, err);
    if (status == PITH_OK) {
        status = pith__tokenizer_encode(a->base.tokenizer, text, size, false, &mem, &tokens, err);
    }
    if (status == PITH_OK) {
        fill_sample(a, &tokens, completion, sample);
    }
    pith__arena_restore(&a->scratch, mark);
    return status;
}

/* Over the pairs of all files. */
static void need_order(align *a, uint64_t epoch)
{
    if (a->has_order && a->order_epoch == epoch) {
        return;
    }
    const uint64_t key = pith__random(a->run_settings.seed, STREAM_OF_ORDER, epoch);
    pith__shuffle(a->order, a->n_pairs, key, STREAM_OF_ORDER);
    a->has_order = true;
    a->order_epoch = epoch;
}

static pith_status fetch(void *user, uint64_t first, size_t count, pith_error *err)
{
    align *a = user;
    a->first = first;
    for (size_t i = 0; i < count; i++) {
        need_order(a, (first + i) / a->n_pairs);
        size_t number = a->order[(first + i) % a->n_pairs];
        size_t f = 0;
        while (number >= a->files[f].n_training) {
            number -= a->files[f++].n_training;
        }
        size_t bytes = 0;
        PITH__TRY(pair_sample(a, &a->files[f], a->files[f].training[number], &a->samples[i], &bytes,
                              err));
    }
    return PITH_OK;
}

/* Not 0, which means none. A pass has one seed: with dropout it has one sample. */
static uint64_t dropout_seed(const align *a, size_t sample)
{
    const uint64_t seed = pith__random(a->run_settings.seed, STREAM_OF_DROPOUT, a->first + sample);
    return seed == 0 ? 1 : seed;
}

static pith_status learn(void *user, const pith__tensor_ctx *ctx, const size_t *samples, size_t n,
                         float *gradient, double *loss, uint64_t *tokens, pith_error *err)
{
    const align *a = user;
    const pith__learner learner = {.model = &a->model,
                                   .lora = a->has_lora ? &a->lora : NULL,
                                   .dropout_seed = dropout_seed(a, samples[0]),
                                   .samples = a->samples,
                                   .sink = {a->learned->values, gradient, a->learned->count},
                                   .recompute = a->run_settings.recompute};
    return pith__learn(&learner, ctx, samples, n, loss, tokens, err);
}

/* ---- evaluation ------------------------------------------------------------------------------------ */

/* This rank's share of the pairs; documents and bytes are counted over all. */
static pith_status read_share(align *a, const pith__pair_file *file, pith__evaluation *out,
                              pith_error *err)
{
    const uint64_t most = a->run_settings.evaluate_bytes;
    const pith__ranks ranks = a->run.ranks;
    const pith__learner learner = {
        .model = &a->model, .lora = a->has_lora ? &a->lora : NULL, .samples = a->samples};
    const pith__tensor_ctx ctx = {.threads = a->run_settings.threads, .arena = &a->run.arenas[0]};
    const size_t number = 0;
    for (size_t i = 0; i < file->n_held_out && (most == 0 || out->bytes < most); i++) {
        size_t bytes = 0;
        PITH__TRY(pair_sample(a, file, file->held_out[i], &a->samples[0], &bytes, err));
        if (i % (size_t)ranks.count == (size_t)ranks.rank) {
            PITH__TRY(pith__learn(&learner, &ctx, &number, 1, &out->nats, &out->tokens, err));
        }
        out->bytes += bytes;
        out->documents++;
    }
    return PITH_OK;
}

static pith_status evaluate_file(align *a, const pith__pair_file *file, pith__evaluation *out,
                                 pith_error *err)
{
    *out = (pith__evaluation){0};
    PITH__TRY(pith__ranks_agree(read_share(a, file, out, err), err));
    double totals[2] = {out->nats, (double)out->tokens};
    PITH__TRY(pith__ranks_sum_f64(totals, 2, err));
    out->nats = totals[0];
    out->tokens = (uint64_t)totals[1];
    return PITH_OK;
}

static pith_status evaluate(void *user, pith_error *err)
{
    align *a = user;
    pith__evaluation all = {0};
    for (size_t i = 0; i < a->n_files; i++) {
        pith__evaluation one;
        PITH__TRY(evaluate_file(a, &a->files[i], &one, err));
        all.bytes += one.bytes;
        all.tokens += one.tokens;
        all.nats += one.nats;
        if (one.documents > 0) {
            PITH__TRY(pith__run_report_held_out(&a->run, &one, a->files[i].name, err));
        }
    }
    return all.tokens == 0 ? PITH_OK : pith__run_report_held_out(&a->run, &all, NULL, err);
}

/* ---- setting up -------------------------------------------------------------------------------------- */

static pith_status open_pairs(align *a, pith_error *err)
{
    const pith__align_settings *s = a->settings;
    a->format = (pith__pair_format){s->prompt_key, s->completion_key, s->format};
    PITH__TRY(pith__pair_format_check(&a->format, err));
    if (s->n_pairs == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "no pairs to train on");
    }
    PITH__TRY(pith__alloc_zero(&a->mem, s->n_pairs, sizeof *a->files, &a->files, err));
    for (; a->n_files < s->n_pairs; a->n_files++) {
        PITH__TRY(pith__pair_file_open(s->pairs[a->n_files], &a->format, s->run.held_out_every,
                                       &a->mem, &a->files[a->n_files], err));
        a->n_pairs += a->files[a->n_files].n_training;
    }
    return pith__alloc(&a->mem, a->n_pairs, sizeof *a->order, &a->order, err);
}

/* The model's weights, copied into a vector of our own. */
static pith_status copy_model(align *a, pith_error *err)
{
    pith__model model;
    PITH__TRY(pith__model_load(&a->base.gguf, PITH_PRECISION_F32, &a->mem, &model, err));
    a->config = model.config;
    const bool tied = pith__gguf_find_tensor(&a->base.gguf, "output.weight") == NULL;
    pith_status status =
        model.rope_factors == NULL
            ? PITH_OK
            : pith__fail(err, PITH_E_UNSUPPORTED, "a model with rope_freqs.weight cannot be tuned");
    if (status == PITH_OK) {
        status = pith__grad_layout(&a->config, tied, &a->weights, err);
    }
    if (status == PITH_OK) {
        status = pith__weights_allocate(&a->weights, err);
    }
    if (status == PITH_OK) {
        status = pith__grad_copy(&model, &a->weights, err);
    }
    pith__model_deinit(&model);
    return status;
}

/* The rank and the matrices are looked at where they are used. */
static pith_status check_lora(const pith__align_settings *s, pith_error *err)
{
    const pith__lora_settings *lora = &s->lora;
    if (lora->rank == 0) {
        return s->adapter == NULL
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

static pith_status check_vocabulary(const align *a, pith_error *err)
{
    const pith__tokenizer *tokenizer = a->base.tokenizer;
    if (pith__tokenizer_bos(tokenizer) == PITH__TOKEN_NONE) {
        return pith__fail(err, PITH_E_UNSUPPORTED, "%s names no BOS token", a->settings->model);
    }
    if (pith__tokenizer_size(tokenizer) > a->config.vocabulary) {
        return pith__fail(err, PITH_E_CORRUPT, "the tokenizer has %u tokens, the model %u",
                          pith__tokenizer_size(tokenizer), a->config.vocabulary);
    }
    return PITH_OK;
}

static pith_status make_adapter(align *a, pith_error *err)
{
    const pith__lora_settings *lora = &a->settings->lora;
    a->learned = &a->factors;
    PITH__TRY(pith__lora_layout(&a->config, lora->rank, lora->matrices, &a->factors, err));
    PITH__TRY(pith__weights_allocate(&a->factors, err));
    pith__lora_initialise(&a->factors, a->settings->run.seed);
    PITH__TRY(pith__lora_of(&a->config, &a->factors, (float)lora->alpha, (float)lora->dropout,
                            &a->mem, &a->lora, err));
    a->has_lora = true;
    return PITH_OK;
}

static pith_status make_model(align *a, pith_error *err)
{
    PITH__TRY(check_lora(a->settings, err));
    PITH__TRY(pith__vocabulary_open(a->settings->model, &a->mem, &a->base, err));
    PITH__TRY(copy_model(a, err));
    PITH__TRY(check_vocabulary(a, err));
    PITH__TRY(pith__grad_model(&a->config, &a->weights, &a->mem, &a->model, err));
    a->learned = &a->weights;
    return a->settings->lora.rank == 0 ? PITH_OK : make_adapter(a, err);
}

/* Steps of the epochs, at most; far more than anybody waits for. */
#define STEPS_MAX 1e15

/* As many steps as the epochs take, if no number is given. */
static pith_status count_steps(align *a, pith_error *err)
{
    pith__run_settings *run = &a->run_settings;
    *run = a->settings->run;
    if (run->steps == 0) {
        const double epochs = a->settings->epochs;
        const double batch = run->batch == 0 ? 1.0 : (double)run->batch; /* refused below */
        const double steps = ceil(epochs * (double)a->n_pairs / batch);
        if (!(epochs > 0.0 && steps < STEPS_MAX)) {
            return pith__fail(err, PITH_E_ARGUMENT, "%g epochs of %zu pairs", epochs, a->n_pairs);
        }
        run->steps = steps < 1.0 ? 1 : (uint64_t)steps;
        run->schedule.total = run->steps;
        if (run->schedule.warm_up > run->steps / 10) {
            run->schedule.warm_up = run->steps / 10; /* the rate is 0 at the first step of one */
        }
    }
    if (a->has_lora && a->lora.dropout > 0.0f && run->micro_batch > 1) {
        run->micro_batch = 1; /* see dropout_seed() */
    }
    return pith__run_check(run, a->config.context, err);
}

static uint64_t add_text(uint64_t hash, const char *text)
{
    return pith__fingerprint(hash, text, strlen(text) + 1);
}

/* A run may go on with another schedule, batch or dropout; what is learned must be the same. */
static void fingerprint(const align *a, char *out, size_t size)
{
    uint64_t hash = PITH__FINGERPRINT_START;
    const pith__run_settings *s = &a->run_settings;
    const float alpha = a->has_lora ? a->lora.alpha : 0.0f;
    hash = pith__fingerprint(hash, &s->seed, sizeof s->seed);
    hash = pith__fingerprint(hash, &s->held_out_every, sizeof s->held_out_every);
    hash = pith__fingerprint(hash, &alpha, sizeof alpha);
    hash = add_text(hash, a->format.text);
    hash = add_text(hash, a->format.prompt_key);
    hash = add_text(hash, a->format.completion_key);
    for (size_t i = 0; i < a->n_files; i++) {
        const pith__file *file = &a->files[i].file;
        hash = pith__fingerprint(hash, &file->size, sizeof file->size);
        hash = pith__fingerprint(hash, file->data, file->size);
    }
    hash = pith__fingerprint(hash, a->base.file.data, a->base.file.size);
    (void)snprintf(out, size, "align-%016llx", (unsigned long long)hash);
}

/* ---- results ---------------------------------------------------------------------------------------- */

/* The adapter alone, bound to the file it was trained on. */
static pith_status write_adapter(const align *a, pith_error *err)
{
    const pith__align_settings *s = a->settings;
    char sha256[PITH__SHA256_SIZE];
    pith__sha256_of(a->base.file.data, a->base.file.size, sha256);
    return pith__lora_save(&a->lora, &a->config, s->name == NULL ? "" : s->name, sha256, s->adapter,
                           err);
}

static pith_status write_results(align *a, pith_error *err)
{
    const pith__align_settings *s = a->settings;
    if (a->run.ranks.rank != 0) {
        return PITH_OK;
    }
    if (s->adapter != NULL) {
        PITH__TRY(write_adapter(a, err));
    }
    if (s->output == NULL) {
        return PITH_OK;
    }
    if (a->has_lora) {
        PITH__TRY(pith__grad_merge(&a->lora, &a->weights, err));
    }
    return pith__export_model(s->output, s->name, &a->config, &a->weights, &a->base.gguf, s->type,
                              &a->mem, err);
}

/* ---- life -------------------------------------------------------------------------------------------- */

static pith_status set_up(align *a, pith_error *err)
{
    const pith__run_settings *s = &a->run_settings;
    char hash[64];
    PITH__TRY(open_pairs(a, err));
    PITH__TRY(make_model(a, err));
    PITH__TRY(count_steps(a, err));
    PITH__TRY(pith__samples_new(s->batch, s->length, &a->mem, &a->samples, err));
    fingerprint(a, hash, sizeof hash);
    PITH__TRY(pith__run_init(s, a->learned, hash, &a->mem, &a->run, err));
    a->run.recipe = (pith__recipe){
        .user = a,
        .fetch = fetch,
        .learn = learn,
        .evaluate = evaluate,
        .lane_bytes = pith__learn_bytes(&a->config, pith__run_rows(s), s->recompute)};
    return PITH_OK;
}

static pith_status train(align *a, pith_error *err)
{
    PITH__TRY(pith__ranks_agree(set_up(a, err), err));
    PITH__TRY(pith__run_train(&a->run, err));
    return pith__ranks_agree(write_results(a, err), err);
}

static void deinit(align *a)
{
    pith__run_deinit(&a->run);
    pith__samples_free(a->samples, a->run_settings.batch, a->run_settings.length, &a->mem);
    pith__lora_deinit(&a->lora);
    pith__model_deinit(&a->model);
    pith__weights_deinit(&a->factors);
    pith__weights_deinit(&a->weights);
    pith__vocabulary_close(&a->base);
    pith__free(&a->mem, a->order, a->n_pairs, sizeof *a->order);
    for (size_t i = 0; i < a->n_files; i++) {
        pith__pair_file_close(&a->files[i]);
    }
    pith__free(&a->mem, a->files, a->settings->n_pairs, sizeof *a->files);
    pith__arena_deinit(&a->scratch);
}

pith_status pith__train_align(const pith__align_settings *settings, const pith_allocator *mem,
                              pith_error *err)
{
    align a = {.settings = settings, .mem = *mem};
    pith__weights_init(&a.weights, mem);
    pith__weights_init(&a.factors, mem);
    pith__arena_init(&a.scratch, mem);
    const pith_status status = train(&a, err);
    deinit(&a);
    return status;
}
