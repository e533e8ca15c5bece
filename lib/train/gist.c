/*
 * gist.c: instruction tuning under a mask, so that an instruction becomes the keys and values of a
 * few tokens (Mu, Li & Goodman 2023), with the controls.
 */
#include "train/gist.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_TOKEN "<|gist|>"

/* The row's name among what an adapter learns. */
#define ROW_NAME "gist.row"

const char *pith__gist_condition_name(pith__gist_condition condition)
{
    static const char *const names[] = {[PITH__GIST_GIST] = "gist",
                                        [PITH__GIST_POSITIVE] = "positive",
                                        [PITH__GIST_NEGATIVE] = "negative",
                                        [PITH__GIST_TFIDF] = "tfidf"};
    return names[condition];
}

static const char *token_name(const pith__gist *g)
{
    return g->settings->token == NULL ? DEFAULT_TOKEN : g->settings->token;
}

/* ---- samples ---------------------------------------------------------------------------------- */

pith_status pith__gist_triple(pith__gist *gist, const pith__pair_file *file, pith__pair line,
                              pith__triple *triple, pith__triple_ids *ids, pith_error *err)
{
    PITH__TRY(pith__triple_read(file, line, &gist->scratch, triple, err));
    return pith__triple_encode(&gist->form, triple, &gist->scratch, ids, err);
}

static pith_status fetch_one(pith__gist *g, uint64_t n, size_t i, pith_error *err)
{
    const pith__pair_file *file = NULL;
    const pith__pair line = pith__pair_set_at(&g->data, g->run_settings.seed, n, &file);
    const pith__arena_mark mark = pith__arena_save(&g->scratch);
    pith__triple triple;
    pith__triple_ids ids;
    const pith_status status = pith__gist_triple(g, file, line, &triple, &ids, err);
    if (status == PITH_OK) {
        pith__triple_sample(&g->form, &ids, &g->samples[i], g->seen + i * g->form.length);
    }
    pith__arena_restore(&g->scratch, mark);
    return status;
}

static pith_status fetch(void *user, uint64_t first, size_t count, pith_error *err)
{
    pith__gist *g = user;
    g->first = first;
    pith__gist_place_row(g);
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(fetch_one(g, first + i, i, err));
    }
    return PITH_OK;
}

static pith_status learn(void *user, const pith__tensor_ctx *ctx, const size_t *samples, size_t n,
                         float *gradient, double *loss, uint64_t *tokens, pith_error *err)
{
    const pith__gist *g = user;
    pith__learner learner = pith__tuned_learner(&g->tuned, &g->run_settings, g->samples,
                                                g->first + samples[0], gradient);
    learner.row = g->row;
    return pith__learn(&learner, ctx, samples, n, loss, tokens, err);
}

/* After the last step all is judged once more, with outputs: see run_condition(). */
static pith_status evaluate(void *user, pith_error *err)
{
    pith__gist *g = user;
    return g->run.state.step == g->run_settings.steps ? PITH_OK : pith__gist_judge(g, false, err);
}

/* ---- data --------------------------------------------------------------------------------------- */

static pith_status open_tests(pith__gist *g, pith_error *err)
{
    const pith__gist_settings *s = g->settings;
    PITH__TRY(pith__alloc_zero(&g->mem, s->n_tests, sizeof *g->tests, &g->tests, err));
    for (; g->n_tests < s->n_tests; g->n_tests++) {
        PITH__TRY(pith__pair_lines_open(s->tests[g->n_tests], pith__triple_members,
                                        PITH__TRIPLE_MEMBERS, 0, &g->mem, &g->tests[g->n_tests],
                                        err));
    }
    return PITH_OK;
}

static pith_status count_instructions(pith__gist *g, const pith__pair_file *file, pith_error *err)
{
    for (size_t i = 0; i < file->n_training; i++) {
        const pith__arena_mark mark = pith__arena_save(&g->scratch);
        pith__triple triple;
        pith_status status = pith__triple_read(file, file->training[i], &g->scratch, &triple, err);
        if (status == PITH_OK) {
            status = pith__keywords_add(&g->keywords, triple.instruction, err);
        }
        pith__arena_restore(&g->scratch, mark);
        PITH__TRY(status);
    }
    return PITH_OK;
}

static pith_status count_words(pith__gist *g, pith_error *err)
{
    bool wanted = false;
    for (size_t i = 0; i < g->settings->n_conditions; i++) {
        wanted = wanted || g->settings->conditions[i] == PITH__GIST_TFIDF;
    }
    for (size_t i = 0; wanted && i < g->data.n_files; i++) {
        PITH__TRY(count_instructions(g, &g->data.files[i], err));
    }
    return PITH_OK;
}

static pith_status check(const pith__gist_settings *s, pith_error *err)
{
    if (s->n_conditions == 0 || s->slots == 0 || s->model == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "%s",
                          s->model == NULL       ? "a model to tune is needed"
                          : s->n_conditions == 0 ? "no condition to train"
                                                 : "gisting needs at least one gist token");
    }
    for (size_t i = 0; i < s->n_conditions; i++) {
        if ((unsigned)s->conditions[i] > PITH__GIST_TFIDF) {
            return pith__fail(err, PITH_E_ARGUMENT, "condition %d", (int)s->conditions[i]);
        }
    }
    if (s->generate > 0 && s->max_tokens == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "outputs of at most 0 tokens");
    }
    return pith__tuned_check(&s->lora, s->adapter, err);
}

static pith_status open_data(pith__gist *g, pith_error *err)
{
    const pith__gist_settings *s = g->settings;
    PITH__TRY(check(s, err));
    PITH__TRY(pith__pair_set_open(s->triples, s->n_triples, pith__triple_members,
                                  PITH__TRIPLE_MEMBERS, s->run.held_out_every, &g->mem, &g->data,
                                  err));
    PITH__TRY(open_tests(g, err));
    return count_words(g, err);
}

/* ---- model ---------------------------------------------------------------------------------------- */

static pith_status find_token(pith__gist *g, pith_error *err)
{
    const char *name = token_name(g);
    const pith__tokenizer *tokenizer = g->tuned.base.tokenizer;
    g->token = pith__tokenizer_find(tokenizer, name, strlen(name));
    g->is_added = g->token == PITH__TOKEN_NONE;
    if (g->is_added) {
        g->token = pith__tokenizer_size(tokenizer);
        return name[0] != '\0' ? PITH_OK
                               : pith__fail(err, PITH_E_ARGUMENT, "the gist token has no name");
    }
    if (!pith__tokenizer_is_special(tokenizer, g->token) ||
        g->token == pith__tokenizer_bos(tokenizer) || g->token == pith__document_end(tokenizer)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "\"%.60s\" is a token that texts have: it cannot be the gist token",
                          name);
    }
    return PITH_OK;
}

/* Row `token` of a table becomes the mean of all others that a token has. */
static void set_mean(const pith__gist *g, const char *name)
{
    const pith__weights *weights = &g->tuned.weights;
    const pith__weight *table = pith__weights_find(weights, name);
    if (table == NULL) { /* a tied head */
        return;
    }
    float *values = weights->values + table->at;
    const size_t tokens = pith__tokenizer_size(g->tuned.base.tokenizer);
    for (size_t i = 0; i < table->cols; i++) {
        double sum = 0.0;
        for (size_t r = 0; r < tokens; r++) {
            sum += r == g->token ? 0.0 : (double)values[r * table->cols + i];
        }
        const size_t others = g->is_added ? tokens : tokens - 1;
        values[g->token * table->cols + i] = (float)(sum / (double)others);
    }
}

static float *table_row(const pith__gist *g)
{
    const pith__weights *weights = &g->tuned.weights;
    const pith__weight *table = pith__weights_find(weights, "token_embd.weight");
    return table == NULL ? NULL : weights->values + table->at + g->token * table->cols;
}

void pith__gist_place_row(pith__gist *gist)
{
    float *row = table_row(gist);
    if (row != NULL && row != gist->row) {
        memcpy(row, gist->row, gist->tuned.config.width * sizeof *row);
    }
}

static pith_status make_model(pith__gist *g, pith_error *err)
{
    const pith__gist_settings *s = g->settings;
    PITH__TRY(pith__tuned_open(&g->tuned, s->model, &g->mem, err));
    PITH__TRY(find_token(g, err));
    PITH__TRY(pith__tuned_load(&g->tuned, g->token + 1, err));
    set_mean(g, "token_embd.weight");
    set_mean(g, "output.weight");
    g->row = table_row(g);
    if (s->lora.rank == 0) {
        return PITH_OK;
    }
    PITH__TRY(pith__tuned_adapt(&g->tuned, &s->lora, s->run.seed, ROW_NAME, err));
    const pith__weight *row = pith__weights_find(&g->tuned.factors, ROW_NAME);
    if (row == NULL || g->row == NULL) {
        return pith__fail(err, PITH_E_INTERNAL, "the gist token has no row");
    }
    float *values = g->tuned.factors.values + row->at;
    memcpy(values, g->row, row->cols * sizeof *values);
    g->row = values;
    return PITH_OK;
}

/* ---- results ---------------------------------------------------------------------------------------- */

/* Only of a model that was masked: the others' gist tokens hold nothing. */
static pith_status add_keys(const pith__gist *g, pith__gguf_writer *writer, pith_error *err)
{
    const struct {
        const char *key, *text;
    } texts[] = {{PITH__GIST_PREFIX, PITH__GIST_PREFIX_TEXT},
                 {PITH__GIST_MIDDLE, PITH__GIST_MIDDLE_TEXT},
                 {PITH__GIST_SUFFIX, PITH__GIST_SUFFIX_TEXT}};
    if (g->form.condition != PITH__GIST_GIST) {
        return PITH_OK;
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        PITH__TRY(pith__gguf_writer_add_string(writer, texts[i].key, texts[i].text,
                                               strlen(texts[i].text), err));
    }
    return pith__gguf_writer_add_u32(writer, PITH__GIST_SLOTS, g->form.slots, err);
}

/* For the base model, which does not know the token: its row is a key of the file. */
static pith_status write_adapter(const pith__gist *g, pith__gguf_writer *writer, pith_error *err)
{
    const pith__gist_settings *s = g->settings;
    const pith__tuned *t = &g->tuned;
    char sha256[PITH__SHA256_SIZE];
    pith__tuned_sha256(t, sha256);
    PITH__TRY(
        pith__lora_add(&t->lora, &t->config, s->name == NULL ? "" : s->name, sha256, writer, err));
    PITH__TRY(add_keys(g, writer, err));
    if (g->form.condition == PITH__GIST_GIST) {
        PITH__TRY(pith__gguf_writer_add_f32s(writer, PITH__GIST_ROW, g->row, t->config.width, err));
    }
    return pith__gguf_writer_save(writer, s->adapter, err);
}

static pith_status write_model(const pith__gist *g, pith__gguf_writer *writer, pith_error *err)
{
    const pith__gist_settings *s = g->settings;
    const pith__tuned *t = &g->tuned;
    const pith__exported model = {.name = s->name,
                                  .config = &t->config,
                                  .weights = &t->weights,
                                  .vocabulary = &t->base.gguf,
                                  .token = g->is_added ? token_name(g) : NULL,
                                  .type = s->type};
    pith__arena arena;
    pith__arena_init(&arena, &g->mem);
    pith_status status = pith__export_add(&model, &arena, writer, err);
    if (status == PITH_OK) {
        status = add_keys(g, writer, err);
    }
    if (status == PITH_OK && g->form.condition == PITH__GIST_GIST) {
        status = pith__gguf_writer_add_u32(writer, PITH__GIST_TOKEN, g->token, err);
    }
    if (status == PITH_OK) {
        status = pith__gguf_writer_save(writer, s->output, err);
    }
    pith__arena_deinit(&arena);
    return status;
}

static pith_status write_file(const pith__gist *g, const char *path,
                              pith_status (*write)(const pith__gist *g, pith__gguf_writer *writer,
                                                   pith_error *err),
                              pith_error *err)
{
    pith__gguf_writer writer;
    if (path == NULL || g->run.ranks.rank != 0) {
        return PITH_OK;
    }
    pith__gguf_writer_init(&writer, &g->mem);
    const pith_status status = write(g, &writer, err);
    pith__gguf_writer_deinit(&writer);
    return status;
}

static pith_status write_results(const pith__gist *g, pith_error *err)
{
    PITH__TRY(write_file(g, g->settings->adapter, write_adapter, err));
    return write_file(g, g->settings->output, write_model, err);
}

/* ---- conditions --------------------------------------------------------------------------------------- */

/* As in recipe align: what is learned must be the same. */
static void fingerprint(const pith__gist *g, char *out, size_t size)
{
    uint64_t hash = PITH__FINGERPRINT_START;
    const pith__run_settings *s = &g->run_settings;
    const float alpha = g->tuned.has_lora ? g->tuned.lora.alpha : 0.0f;
    const uint32_t numbers[] = {(uint32_t)g->form.condition, g->form.slots, g->token};
    hash = pith__fingerprint(hash, &s->seed, sizeof s->seed);
    hash = pith__fingerprint(hash, &s->held_out_every, sizeof s->held_out_every);
    hash = pith__fingerprint(hash, &alpha, sizeof alpha);
    hash = pith__fingerprint(hash, numbers, sizeof numbers);
    hash = pith__fingerprint_text(
        hash, PITH__GIST_PREFIX_TEXT PITH__GIST_MIDDLE_TEXT PITH__GIST_SUFFIX_TEXT);
    hash = pith__pair_set_fingerprint(&g->data, hash);
    hash = pith__fingerprint(hash, g->tuned.base.file.data, g->tuned.base.file.size);
    (void)snprintf(out, size, "gist-%016llx", (unsigned long long)hash);
}

/* Settings of the run of condition `number`: its checkpoint has a name of its own. */
static pith_status settle(pith__gist *g, size_t number, pith_error *err)
{
    const pith__gist_settings *s = g->settings;
    PITH__TRY(pith__tuned_run_settings(&s->run, s->epochs, g->data.deck.count, &s->lora,
                                       g->tuned.config.context, &g->run_settings, err));
    if (s->run.checkpoint == NULL || number == 0) {
        return PITH_OK;
    }
    const int size =
        snprintf(g->checkpoint, sizeof g->checkpoint, "%s.%zu", s->run.checkpoint, number);
    if (size < 0 || (size_t)size >= sizeof g->checkpoint) {
        return pith__fail(err, PITH_E_ARGUMENT, "the checkpoint's path is too long");
    }
    g->run_settings.checkpoint = g->checkpoint;
    return PITH_OK;
}

static pith_status set_up(pith__gist *g, size_t number, pith_error *err)
{
    const pith__run_settings *s = &g->run_settings;
    char hash[64];
    PITH__TRY(make_model(g, err));
    PITH__TRY(settle(g, number, err));
    g->form = pith__triple_form_of(g->tuned.base.tokenizer, g->settings->conditions[number],
                                   g->settings->slots, s->length, &g->keywords);
    PITH__TRY(pith__samples_new(s->batch, s->length, &g->mem, &g->samples, err));
    PITH__TRY(pith__alloc(&g->mem, s->batch, s->length * sizeof *g->seen, &g->seen, err));
    fingerprint(g, hash, sizeof hash);
    PITH__TRY(pith__run_init(s, g->tuned.learned, hash, &g->mem, &g->run, err));
    g->run.recipe = (pith__recipe){
        .user = g,
        .fetch = fetch,
        .learn = learn,
        .evaluate = evaluate,
        .lane_bytes = pith__learn_bytes(&g->tuned.config, pith__run_rows(s), s->recompute)};
    return PITH_OK;
}

/*
 * A run that its checkpoint says is done is judged and written again. What is judged is what is
 * written: the adapter in the weights, the row in its table.
 */
static pith_status run_condition(pith__gist *g, size_t number, pith_error *err)
{
    PITH__TRY(pith__ranks_agree(set_up(g, number, err), err));
    PITH__TRY(pith__run_train(&g->run, err));
    PITH__TRY(pith__ranks_agree(pith__tuned_merge(&g->tuned, err), err));
    PITH__TRY(pith__gist_judge(g, true, err));
    return number != 0 ? PITH_OK : pith__ranks_agree(write_results(g, err), err);
}

static void close_condition(pith__gist *g)
{
    const pith__run_settings *s = &g->run_settings;
    pith__run_deinit(&g->run);
    pith__samples_free(g->samples, s->batch, s->length, &g->mem);
    pith__free(&g->mem, g->seen, s->batch, s->length * sizeof *g->seen);
    pith__tuned_close(&g->tuned);
    g->samples = NULL;
    g->seen = NULL;
    g->row = NULL;
}

static pith_status train(pith__gist *g, pith__gist_score *scores, pith_error *err)
{
    PITH__TRY(pith__ranks_agree(open_data(g, err), err));
    for (size_t i = 0; i < g->settings->n_conditions; i++) {
        g->scores = scores + i * (g->settings->n_tests + 1);
        const pith_status status = run_condition(g, i, err);
        close_condition(g);
        PITH__TRY(status);
    }
    return PITH_OK;
}

pith_status pith__train_gist(const pith__gist_settings *settings, const pith_allocator *mem,
                             pith__gist_score *scores, pith_error *err)
{
    pith__gist g = {.settings = settings, .mem = *mem};
    pith__arena_init(&g.scratch, mem);
    pith__keywords_init(&g.keywords, mem);
    const pith_status status = train(&g, scores, err);
    for (size_t i = 0; i < g.n_tests; i++) {
        pith__pair_file_close(&g.tests[i]);
    }
    pith__free(mem, g.tests, settings->n_tests, sizeof *g.tests);
    pith__pair_set_close(&g.data);
    pith__keywords_deinit(&g.keywords);
    pith__arena_deinit(&g.scratch);
    return status;
}
