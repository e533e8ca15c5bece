/*
 * base.c: a language model from scratch: next-token cross-entropy on a mixture of sources.
 */
#include "train/run.h"

#include <stdio.h>
#include <string.h>

typedef struct base {
    const pith__base_settings *settings;
    pith_allocator mem;
    pith__vocabulary vocabulary;
    pith__source *sources;
    size_t n_sources; /* open ones */
    pith__mixture mixture;
    pith__model_config config;
    pith__weights weights;
    pith__model model;     /* looks at weights */
    pith__sample *samples; /* (batch) of the update at hand */
    pith__run run;
} base;

/* ---- samples --------------------------------------------------------------------------------- */

static pith_status fetch(void *user, uint64_t first, size_t count, pith_error *err)
{
    base *b = user;
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(pith__mixture_next(&b->mixture, first + i, &b->samples[i], err));
    }
    return PITH_OK;
}

static pith_status learn(void *user, const pith__tensor_ctx *ctx, const size_t *samples, size_t n,
                         float *gradient, double *loss, uint64_t *tokens, pith_error *err)
{
    const base *b = user;
    const pith__learner learner = {.model = &b->model,
                                   .samples = b->samples,
                                   .sink = {b->weights.values, gradient, b->weights.count},
                                   .recompute = b->settings->run.recompute};
    return pith__learn(&learner, ctx, samples, n, loss, tokens, err);
}

/* ---- evaluation -------------------------------------------------------------------------------- */

static pith_status evaluate(void *user, pith_error *err)
{
    base *b = user;
    const pith__run_settings *s = &b->settings->run;
    pith__evaluation all = {0};
    for (size_t i = 0; i < b->n_sources; i++) {
        pith__evaluation one;
        PITH__TRY(pith__held_out(&b->model, b->vocabulary.tokenizer, &b->sources[i],
                                 s->evaluate_bytes, s->length, s->threads, &b->mem, &one, err));
        all.bytes += one.bytes;
        all.tokens += one.tokens;
        all.nats += one.nats;
        if (one.documents > 0) {
            PITH__TRY(pith__run_report_held_out(&b->run, &one, b->sources[i].name, err));
        }
    }
    return all.tokens == 0 ? PITH_OK : pith__run_report_held_out(&b->run, &all, NULL, err);
}

/* ---- setting up --------------------------------------------------------------------------------- */

static pith_status open_sources(base *b, pith_error *err)
{
    const pith__base_settings *s = b->settings;
    if (s->n_sources == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "no data to train on");
    }
    PITH__TRY(pith__alloc_zero(&b->mem, s->n_sources, sizeof *b->sources, &b->sources, err));
    for (; b->n_sources < s->n_sources; b->n_sources++) {
        PITH__TRY(pith__source_open(s->sources[b->n_sources].path, s->sources[b->n_sources].weight,
                                    s->run.held_out_every, &b->mem, &b->sources[b->n_sources],
                                    err));
    }
    return pith__mixture_init(b->sources, b->n_sources, b->vocabulary.tokenizer, s->run.seed,
                              &b->mem, &b->mixture, err);
}

/* As model/load.c has them: what is trained can be loaded. */
#define LAYERS_MAX  4096u
#define WIDTH_MAX   (1u << 20)
#define CONTEXT_MAX (1u << 24)

static bool is_size(uint32_t value, uint32_t most)
{
    return value >= 1 && value <= most;
}

static pith_status check_shape(const pith__model_config *c, pith_error *err)
{
    if (!is_size(c->layers, LAYERS_MAX) || !is_size(c->width, WIDTH_MAX) ||
        !is_size(c->ff, WIDTH_MAX) || !is_size(c->head_dim, WIDTH_MAX) ||
        !is_size(c->heads, c->width) || !is_size(c->kv_heads, c->heads) ||
        !is_size(c->rope_pairs, c->head_dim / 2) || !is_size(c->context, CONTEXT_MAX) ||
        c->context < 2 || c->heads % c->kv_heads != 0) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "a model of %u layers, width %u, %u heads of %u over %u, inside %u, "
                          "context %u: a size is 0 or too large, the heads are no multiple of the "
                          "key heads, or a head has no pairs to rotate",
                          c->layers, c->width, c->heads, c->head_dim, c->kv_heads, c->ff,
                          c->context);
    }
    if (!(c->norm_eps >= 0.0f) || !(c->rope_base > 0.0f) || !(c->rope_scale > 0.0f)) {
        return pith__fail(err, PITH_E_ARGUMENT, "norm eps %g, RoPE base %g, RoPE scale %g",
                          (double)c->norm_eps, (double)c->rope_base, (double)c->rope_scale);
    }
    return PITH_OK;
}

/* Tensors alone do not tell: four heads of 8 have the matrices of two of 16. */
static pith_status check_same_shape(const base *b, const pith__model_config *from, pith_error *err)
{
    const pith__model_config *c = &b->config;
    if (from->vocabulary != c->vocabulary || from->layers != c->layers || from->width != c->width ||
        from->ff != c->ff || from->heads != c->heads || from->kv_heads != c->kv_heads ||
        from->head_dim != c->head_dim || from->rope_pairs != c->rope_pairs) {
        return pith__fail(err, PITH_E_MISMATCH,
                          "%.60s has %u entries, %u layers, width %u, %u heads of %u over %u, "
                          "inside %u; what is trained: %u, %u, %u, %u of %u over %u, %u",
                          b->settings->start, from->vocabulary, from->layers, from->width,
                          from->heads, from->head_dim, from->kv_heads, from->ff, c->vocabulary,
                          c->layers, c->width, c->heads, c->head_dim, c->kv_heads, c->ff);
    }
    return PITH_OK;
}

/* Random weights, or those of another model of the same shape. */
static pith_status start(base *b, pith_error *err)
{
    const pith__base_settings *s = b->settings;
    if (s->start == NULL) {
        pith__grad_initialise(&b->config, &b->weights, s->run.seed);
        return PITH_OK;
    }
    pith__vocabulary from;
    pith__model model = {0};
    PITH__TRY(pith__vocabulary_open(s->start, &b->mem, &from, err));
    pith_status status = pith__model_load(&from.gguf, PITH_PRECISION_F32, &b->mem, &model, err);
    if (status == PITH_OK) {
        status = check_same_shape(b, &model.config, err);
    }
    if (status == PITH_OK) {
        status = pith__grad_copy(&model, &b->weights, err);
    }
    pith__model_deinit(&model);
    pith__vocabulary_close(&from);
    return status;
}

static pith_status make_model(base *b, pith_error *err)
{
    const pith__base_settings *s = b->settings;
    b->config = s->config;
    b->config.vocabulary = pith__tokenizer_size(b->vocabulary.tokenizer);
    PITH__TRY(check_shape(&b->config, err));
    PITH__TRY(pith__run_check(&s->run, b->config.context, err));
    PITH__TRY(pith__grad_layout(&b->config, s->tied, &b->weights, err));
    PITH__TRY(pith__weights_allocate(&b->weights, err));
    PITH__TRY(start(b, err));
    return pith__grad_model(&b->config, &b->weights, &b->mem, &b->model, err);
}

/*
 * A run may go on with another schedule, batch or share of its sources, but not with other text,
 * another vocabulary or another model. Of the model, the checkpoint itself knows the tensors.
 */
static void fingerprint(const base *b, char *out, size_t size)
{
    const pith__run_settings *s = &b->settings->run;
    const pith__model_config *c = &b->config;
    const uint32_t shape[] = {c->heads, c->kv_heads, c->head_dim, c->rope_pairs, s->held_out_every};
    const float numbers[] = {c->rope_base, c->rope_scale, c->norm_eps};
    uint64_t hash = PITH__FINGERPRINT_START;
    hash = pith__fingerprint(hash, &s->seed, sizeof s->seed);
    hash = pith__fingerprint(hash, shape, sizeof shape);
    hash = pith__fingerprint(hash, numbers, sizeof numbers);
    for (size_t i = 0; i < b->n_sources; i++) {
        const pith__file *file = &b->sources[i].file;
        hash = pith__fingerprint(hash, &file->size, sizeof file->size);
        hash = pith__fingerprint(hash, file->data, file->size);
    }
    hash = pith__fingerprint(hash, b->vocabulary.file.data, b->vocabulary.file.size);
    (void)snprintf(out, size, "base-%016llx", (unsigned long long)hash);
}

static pith_status set_up(base *b, pith_error *err)
{
    const pith__base_settings *s = b->settings;
    char hash[64];
    PITH__TRY(pith__vocabulary_open(s->tokenizer, &b->mem, &b->vocabulary, err));
    PITH__TRY(open_sources(b, err));
    PITH__TRY(make_model(b, err));
    PITH__TRY(pith__samples_new(s->run.batch, s->run.length, &b->mem, &b->samples, err));
    fingerprint(b, hash, sizeof hash);
    PITH__TRY(pith__run_init(&s->run, &b->weights, hash, &b->mem, &b->run, err));
    b->run.recipe = (pith__recipe){
        .user = b,
        .fetch = fetch,
        .learn = learn,
        .evaluate = evaluate,
        .places = b->mixture.places,
        .n_places = b->n_sources,
        .lane_bytes = pith__learn_bytes(&b->config, pith__run_rows(&s->run), s->run.recompute)};
    return PITH_OK;
}

static pith_status write_result(const base *b, pith_error *err)
{
    const pith__base_settings *s = b->settings;
    return b->run.ranks.rank != 0 || s->output == NULL
               ? PITH_OK
               : pith__export_model(s->output, s->name, &b->config, &b->weights,
                                    &b->vocabulary.gguf, s->type, &b->mem, err);
}

static pith_status train(base *b, pith_error *err)
{
    PITH__TRY(pith__ranks_agree(set_up(b, err), err));
    PITH__TRY(pith__run_train(&b->run, err));
    return pith__ranks_agree(write_result(b, err), err);
}

static void deinit(base *b)
{
    pith__run_deinit(&b->run);
    pith__samples_free(b->samples, b->settings->run.batch, b->settings->run.length, &b->mem);
    pith__model_deinit(&b->model);
    pith__weights_deinit(&b->weights);
    pith__mixture_deinit(&b->mixture);
    for (size_t i = 0; i < b->n_sources; i++) {
        pith__source_close(&b->sources[i]);
    }
    pith__free(&b->mem, b->sources, b->settings->n_sources, sizeof *b->sources);
    pith__vocabulary_close(&b->vocabulary);
}

pith_status pith__train_base(const pith__base_settings *settings, const pith_allocator *mem,
                             pith_error *err)
{
    base b = {.settings = settings, .mem = *mem};
    pith__weights_init(&b.weights, mem);
    const pith_status status = train(&b, err);
    deinit(&b);
    return status;
}
