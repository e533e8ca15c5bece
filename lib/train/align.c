/*
 * align.c: tuning a small model to the answers of a large one (LLMLingua, Jiang et al. 2023,
 * section 3.3: "distribution alignment"): cross-entropy of completions, given their prompts.
 */
#include "train/pairs.h"
#include "train/tuned.h"

#include <stdio.h>
#include <string.h>

typedef struct align {
    const pith__align_settings *settings;
    pith__run_settings run_settings; /* with the steps filled in */
    pith_allocator mem;
    pith__pair_format format;
    pith__pair_set pairs;
    pith__tuned tuned;
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
    const pith__tokenizer *tokenizer = a->tuned.base.tokenizer;
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
        status =
            pith__tokenizer_encode(a->tuned.base.tokenizer, text, size, false, &mem, &tokens, err);
    }
    if (status == PITH_OK) {
        fill_sample(a, &tokens, completion, sample);
    }
    pith__arena_restore(&a->scratch, mark);
    return status;
}

static pith_status fetch(void *user, uint64_t first, size_t count, pith_error *err)
{
    align *a = user;
    a->first = first;
    for (size_t i = 0; i < count; i++) {
        const pith__pair_file *file = NULL;
        const pith__pair pair =
            pith__pair_set_at(&a->pairs, a->run_settings.seed, first + i, &file);
        size_t bytes = 0;
        PITH__TRY(pair_sample(a, file, pair, &a->samples[i], &bytes, err));
    }
    return PITH_OK;
}

static pith_status learn(void *user, const pith__tensor_ctx *ctx, const size_t *samples, size_t n,
                         float *gradient, double *loss, uint64_t *tokens, pith_error *err)
{
    const align *a = user;
    const pith__learner learner = pith__tuned_learner(&a->tuned, &a->run_settings, a->samples,
                                                      a->first + samples[0], gradient);
    return pith__learn(&learner, ctx, samples, n, loss, tokens, err);
}

/* ---- evaluation ------------------------------------------------------------------------------------ */

/* This rank's share of the pairs; documents and bytes are counted over all. */
static pith_status read_share(align *a, const pith__pair_file *file, pith__evaluation *out,
                              pith_error *err)
{
    const uint64_t most = a->run_settings.evaluate_bytes;
    const pith__ranks ranks = a->run.ranks;
    const pith__learner learner =
        pith__tuned_learner(&a->tuned, &a->run_settings, a->samples, 0, NULL);
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
    for (size_t i = 0; i < a->pairs.n_files; i++) {
        pith__evaluation one;
        PITH__TRY(evaluate_file(a, &a->pairs.files[i], &one, err));
        all.bytes += one.bytes;
        all.tokens += one.tokens;
        all.nats += one.nats;
        if (one.documents > 0) {
            PITH__TRY(pith__run_report_held_out(&a->run, &one, a->pairs.files[i].name, err));
        }
    }
    return all.tokens == 0 ? PITH_OK : pith__run_report_held_out(&a->run, &all, NULL, err);
}

/* ---- setting up -------------------------------------------------------------------------------------- */

static pith_status open_pairs(align *a, pith_error *err)
{
    const pith__align_settings *s = a->settings;
    a->format = (pith__pair_format){
        .prompt_key = s->prompt_key, .completion_key = s->completion_key, .text = s->format};
    PITH__TRY(pith__pair_format_check(&a->format, err));
    return pith__pairs_open(s->pairs, s->n_pairs, &a->format, s->run.held_out_every, &a->mem,
                            &a->pairs, err);
}

static pith_status make_model(align *a, pith_error *err)
{
    const pith__align_settings *s = a->settings;
    PITH__TRY(pith__tuned_check(&s->lora, s->adapter, err));
    PITH__TRY(pith__tuned_open(&a->tuned, s->model, &a->mem, err));
    PITH__TRY(pith__tuned_load(&a->tuned, 0, err));
    return s->lora.rank == 0 ? PITH_OK
                             : pith__tuned_adapt(&a->tuned, &s->lora, s->run.seed, NULL, err);
}

/* A run may go on with another schedule, batch or dropout; what is learned must be the same. */
static void fingerprint(const align *a, char *out, size_t size)
{
    uint64_t hash = PITH__FINGERPRINT_START;
    const pith__run_settings *s = &a->run_settings;
    const float alpha = a->tuned.has_lora ? a->tuned.lora.alpha : 0.0f;
    hash = pith__fingerprint(hash, &s->seed, sizeof s->seed);
    hash = pith__fingerprint(hash, &s->held_out_every, sizeof s->held_out_every);
    hash = pith__fingerprint(hash, &alpha, sizeof alpha);
    hash = pith__fingerprint_text(hash, a->format.text);
    hash = pith__fingerprint_text(hash, a->format.prompt_key);
    hash = pith__fingerprint_text(hash, a->format.completion_key);
    hash = pith__pair_set_fingerprint(&a->pairs, hash);
    hash = pith__fingerprint(hash, a->tuned.base.file.data, a->tuned.base.file.size);
    (void)snprintf(out, size, "align-%016llx", (unsigned long long)hash);
}

/* ---- results ---------------------------------------------------------------------------------------- */

/* The adapter alone, bound to the file it was trained on. */
static pith_status write_adapter(const align *a, pith_error *err)
{
    const pith__align_settings *s = a->settings;
    char sha256[PITH__SHA256_SIZE];
    pith__tuned_sha256(&a->tuned, sha256);
    return pith__lora_save(&a->tuned.lora, &a->tuned.config, s->name == NULL ? "" : s->name, sha256,
                           s->adapter, err);
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
    PITH__TRY(pith__tuned_merge(&a->tuned, err));
    return pith__export_model(s->output, s->name, &a->tuned.config, &a->tuned.weights,
                              &a->tuned.base.gguf, s->type, &a->mem, err);
}

/* ---- life -------------------------------------------------------------------------------------------- */

static pith_status set_up(align *a, pith_error *err)
{
    const pith__run_settings *s = &a->run_settings;
    char hash[64];
    PITH__TRY(open_pairs(a, err));
    PITH__TRY(make_model(a, err));
    PITH__TRY(pith__tuned_run_settings(&a->settings->run, a->settings->epochs, a->pairs.deck.count,
                                       &a->settings->lora, a->tuned.config.context,
                                       &a->run_settings, err));
    PITH__TRY(pith__samples_new(s->batch, s->length, &a->mem, &a->samples, err));
    fingerprint(a, hash, sizeof hash);
    PITH__TRY(pith__run_init(s, a->tuned.learned, hash, &a->mem, &a->run, err));
    a->run.recipe = (pith__recipe){
        .user = a,
        .fetch = fetch,
        .learn = learn,
        .evaluate = evaluate,
        .lane_bytes = pith__learn_bytes(&a->tuned.config, pith__run_rows(s), s->recompute)};
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
    pith__tuned_close(&a->tuned);
    pith__pair_set_close(&a->pairs);
    pith__arena_deinit(&a->scratch);
}

pith_status pith__train_align(const pith__align_settings *settings, const pith_allocator *mem,
                              pith_error *err)
{
    align a = {.settings = settings, .mem = *mem};
    pith__arena_init(&a.scratch, mem);
    const pith_status status = train(&a, err);
    deinit(&a);
    return status;
}
