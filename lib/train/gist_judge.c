/*
 * gist_judge.c: how a model that gists does on what it has not learned: nats of the outputs, and
 * outputs of its own, made the way they are made in use.
 */
#include "generate/generate.h"
#include "metric/metric.h"
#include "train/gist.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- splits ------------------------------------------------------------------------------------- */

/* Split 0 is what is held out of the training files, the others are the test files. */
static size_t split_count(const pith__gist *g, size_t split)
{
    if (split > 0) {
        return g->tests[split - 1].n_training;
    }
    size_t count = 0;
    for (size_t i = 0; i < g->data.n_files; i++) {
        count += g->data.files[i].n_held_out;
    }
    return count;
}

/* Line number `i` of a split, below its count. */
static pith__pair split_line(const pith__gist *g, size_t split, size_t i,
                             const pith__pair_file **file)
{
    if (split > 0) {
        *file = &g->tests[split - 1];
        return (*file)->training[i];
    }
    *file = g->data.files;
    while (i >= (*file)->n_held_out) {
        i -= (*file)++->n_held_out;
    }
    return (*file)->held_out[i];
}

/* Whether number `i` is this process's. */
static bool is_ours(const pith__gist *g, size_t i)
{
    return i % (size_t)g->run.ranks.count == (size_t)g->run.ranks.rank;
}

/* ---- nats --------------------------------------------------------------------------------------- */

static pith_status add_nats(pith__gist *g, const pith__pair_file *file, pith__pair line, bool ours,
                            pith__evaluation *out, pith_error *err)
{
    const pith__tensor_ctx ctx = {.threads = g->run_settings.threads, .arena = &g->run.arenas[0]};
    const size_t number = 0;
    pith__triple triple;
    pith__triple_ids ids;
    PITH__TRY(pith__gist_triple(g, file, line, &triple, &ids, err));
    out->documents++;
    out->bytes += triple.output.size;
    if (!ours) {
        return PITH_OK;
    }
    pith__learner learner = pith__tuned_learner(&g->tuned, &g->run_settings, g->samples, 0, NULL);
    learner.row = g->row;
    pith__triple_sample(&g->form, &ids, &g->samples[0], g->seen);
    return pith__learn(&learner, &ctx, &number, 1, &out->nats, &out->tokens, err);
}

/* This process's share; triples and bytes are counted over all. */
static pith_status read_share(pith__gist *g, size_t split, pith__evaluation *out, pith_error *err)
{
    const uint64_t most = g->run_settings.evaluate_bytes;
    const size_t count = split_count(g, split);
    for (size_t i = 0; i < count && (most == 0 || out->bytes < most); i++) {
        const pith__pair_file *file = NULL;
        const pith__pair line = split_line(g, split, i, &file);
        const pith__arena_mark mark = pith__arena_save(&g->scratch);
        const pith_status status = add_nats(g, file, line, is_ours(g, i), out, err);
        pith__arena_restore(&g->scratch, mark);
        PITH__TRY(status);
    }
    return PITH_OK;
}

static pith_status judge_nats(pith__gist *g, size_t split, pith__evaluation *out, pith_error *err)
{
    *out = (pith__evaluation){0};
    PITH__TRY(pith__ranks_agree(read_share(g, split, out, err), err));
    double totals[2] = {out->nats, (double)out->tokens};
    PITH__TRY(pith__ranks_sum_f64(totals, 2, err));
    out->nats = totals[0];
    out->tokens = (uint64_t)totals[1];
    return PITH_OK;
}

/* ---- outputs --------------------------------------------------------------------------------------- */

/* The model as it is used, and what its outputs come to. */
typedef struct writer {
    pith__gist *gist;
    pith__model model;  /* a view of what was trained */
    pith__buf text;     /* of the output at hand */
    pith_error trouble; /* of the buffer */
    bool has_ended;     /* with BOS, where the tokenizer names no EOS */
    double rouge;       /* sums of this process's share */
    double exact;
    double count;
} writer;

/*
 * The vocabulary is that of the tokenizer, for nothing else can be spelled: a gist token that was
 * added is never written.
 */
static void writer_init(writer *w, pith__gist *g)
{
    *w = (writer){.gist = g, .model = g->tuned.model};
    w->model.config.vocabulary = pith__tokenizer_size(g->tuned.base.tokenizer);
    w->model.head.rows = w->model.config.vocabulary;
    pith__buf_init(&w->text, &g->mem, SIZE_MAX / 2);
}

static bool take_text(void *user, const pith__written *token)
{
    writer *w = user;
    w->has_ended = token->id == pith__document_end(w->gist->tuned.base.tokenizer);
    return !w->has_ended &&
           pith__buf_append(&w->text, token->bytes, token->size, &w->trouble) == PITH_OK;
}

static pith_status read_capsule(const writer *w, const pith__triple_ids *ids, pith__reader *reader,
                                pith_error *err)
{
    const pith__gist *g = w->gist;
    pith__capsule *capsule = NULL;
    PITH__TRY(pith__gist_encode(&w->model, g->run_settings.threads, ids->text, ids->n_text, g->row,
                                g->form.slots, &g->mem, &capsule, err));
    const pith_status status = pith__capsule_read(capsule, reader, err);
    pith__capsule_free(capsule);
    return status;
}

/*
 * All but the output, as the condition has it. The negative control's suffix sees nothing before it,
 * and rotation knows only distances: where it stands does not matter, so it stands at 0.
 */
static pith_status read_prompt(const writer *w, const pith__triple_ids *ids, pith__reader *reader,
                               pith_error *err)
{
    const pith__gist *g = w->gist;
    switch (g->form.condition) {
    case PITH__GIST_GIST:
        PITH__TRY(read_capsule(w, ids, reader, err));
        break;
    case PITH__GIST_POSITIVE:
        PITH__TRY(pith__reader_ids(reader, ids->text, ids->n_text, NULL, err));
        PITH__TRY(pith__reader_embeddings(reader, g->row, g->form.slots, err));
        break;
    case PITH__GIST_TFIDF:
        PITH__TRY(pith__reader_ids(reader, ids->text, ids->n_text, NULL, err));
        break;
    case PITH__GIST_NEGATIVE:
        break;
    }
    return pith__reader_ids(reader, ids->suffix, ids->n_suffix, NULL, err);
}

static pith_status write_output(writer *w, const pith__triple_ids *ids, pith__reader *reader,
                                pith_error *err)
{
    const pith__gist *g = w->gist;
    const pith__generate_settings settings = {.sampling = {.top_p = 1.0, .repetition_penalty = 1.0},
                                              .max_tokens = g->settings->max_tokens,
                                              .written = take_text,
                                              .written_user = w};
    pith__stop_reason reason = PITH__STOP_LENGTH;
    size_t count = 0;
    w->text.size = 0;
    w->trouble = (pith_error){.status = PITH_OK};
    w->has_ended = false;
    PITH__TRY(read_prompt(w, ids, reader, err));
    const pith_status status = pith__generate(reader, NULL, 0, g->tuned.base.tokenizer, &settings,
                                              &g->mem, &reason, &count, err);
    if (w->trouble.status != PITH_OK) {
        return pith__fail(err, w->trouble.status, "%s", w->trouble.message);
    }
    return w->has_ended ? PITH_OK : status;
}

static pith__token_text trim(const char *data, size_t size)
{
    static const char blanks[] = " \t\r\n";
    while (size > 0 && memchr(blanks, data[size - 1], sizeof blanks - 1) != NULL) {
        size--;
    }
    while (size > 0 && memchr(blanks, data[0], sizeof blanks - 1) != NULL) {
        data++;
        size--;
    }
    return (pith__token_text){data, size};
}

static pith_status compare(writer *w, const pith__triple *triple, pith_error *err)
{
    const pith__token_text got = trim(w->text.size == 0 ? "" : w->text.data, w->text.size);
    const pith__token_text wanted = trim(triple->output.data, triple->output.size);
    const pith__text_pair pair = {got.data, got.size, wanted.data, wanted.size};
    pith__rouge rouge;
    PITH__TRY(pith__rouge_lsum(&pair, true, &w->gist->mem, &rouge, err));
    w->rouge += rouge.f;
    w->exact += got.size == wanted.size && memcmp(got.data, wanted.data, got.size) == 0 ? 1.0 : 0.0;
    w->count += 1.0;
    return PITH_OK;
}

static pith_status judge_one(writer *w, size_t split, size_t i, pith_error *err)
{
    pith__gist *g = w->gist;
    const pith__pair_file *file = NULL;
    const pith__pair line = split_line(g, split, i, &file);
    pith__triple triple;
    pith__triple_ids ids;
    pith__reader reader = {0};
    PITH__TRY(pith__gist_triple(g, file, line, &triple, &ids, err));
    pith_status status =
        pith__reader_init(&reader, &w->model, g->run_settings.threads, &g->mem, err);
    if (status == PITH_OK) {
        status = write_output(w, &ids, &reader, err);
    }
    pith__reader_deinit(&reader);
    return status == PITH_OK ? compare(w, &triple, err) : status;
}

/* Lines are often sorted by task: those that are taken lie evenly over all of them. */
static pith_status write_share(writer *w, size_t split, pith_error *err)
{
    pith__gist *g = w->gist;
    const size_t count = split_count(g, split);
    const size_t most = g->settings->generate < count ? g->settings->generate : count;
    for (size_t i = 0; i < most; i++) {
        if (!is_ours(g, i)) {
            continue;
        }
        const pith__arena_mark mark = pith__arena_save(&g->scratch);
        const pith_status status = judge_one(w, split, i * count / most, err);
        pith__arena_restore(&g->scratch, mark);
        PITH__TRY(status);
    }
    return PITH_OK;
}

static pith_status judge_outputs(writer *w, size_t split, pith__gist_score *score, pith_error *err)
{
    w->rouge = w->exact = w->count = 0.0;
    PITH__TRY(pith__ranks_agree(write_share(w, split, err), err));
    double totals[3] = {w->rouge, w->exact, w->count};
    PITH__TRY(pith__ranks_sum_f64(totals, 3, err));
    if (totals[2] > 0.0) {
        score->rouge_l = totals[0] / totals[2];
        score->exact = totals[1] / totals[2];
    }
    return PITH_OK;
}

/* ---- all of it --------------------------------------------------------------------------------------- */

static pith_status judge_split(pith__gist *g, size_t split, writer *w, pith_error *err)
{
    pith__gist_score *score = &g->scores[split];
    const char *name = split == 0 ? "seen" : g->tests[split - 1].name;
    char source[sizeof score->split + 16];
    pith__evaluation nats;
    PITH__TRY(judge_nats(g, split, &nats, err));
    *score = (pith__gist_score){.condition = g->form.condition,
                                .triples = nats.documents,
                                .tokens = nats.tokens,
                                .nats = nats.nats,
                                .rouge_l = (double)NAN,
                                .exact = (double)NAN};
    (void)snprintf(score->split, sizeof score->split, "%s", name);
    if (w != NULL) {
        PITH__TRY(judge_outputs(w, split, score, err));
    }
    (void)snprintf(source, sizeof source, "%s %s", pith__gist_condition_name(g->form.condition),
                   score->split);
    return nats.documents == 0 ? PITH_OK : pith__run_report_held_out(&g->run, &nats, source, err);
}

pith_status pith__gist_judge(pith__gist *gist, bool generates, pith_error *err)
{
    const bool writes = generates && gist->settings->generate > 0;
    writer w;
    pith__gist_place_row(gist);
    writer_init(&w, gist);
    pith_status status = PITH_OK;
    for (size_t i = 0; i <= gist->n_tests && status == PITH_OK; i++) {
        status = judge_split(gist, i, writes ? &w : NULL, err);
    }
    pith__buf_deinit(&w.text);
    return status;
}
