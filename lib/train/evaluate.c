/*
 * evaluate.c: what a model makes of documents, with all the context it can have.
 *
 * held_out.c does the same for a model in training, in pieces without overlap, over several
 * processes: faster, and good enough to compare two steps of one run.
 */
#include "score/score.h"
#include "train/run.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Ids that are scored in one call: enough for all threads, little enough for memory. */
#define BATCH_IDS ((size_t)1 << 16)

typedef struct evaluator {
    const pith__evaluate_settings *settings;
    pith_allocator mem;
    pith__vocabulary vocabulary; /* the model file */
    pith__model model;
    pith__score_options options;
    uint32_t end; /* the id that a document's last token predicts */
    double started;
    pith__arena arena; /* of one batch */
} evaluator;

/* ---- which documents ------------------------------------------------------------------------ */

typedef struct selection {
    const pith__source *source;
    const pith__document *documents;
    size_t count;
} selection;

/* From the first on, as many as it takes. */
static selection choose_documents(const evaluator *e, const pith__source *source)
{
    const bool all = e->settings->held_out_every == 0;
    const size_t available = all ? source->n_training : source->n_held_out;
    selection chosen = {.source = source, .documents = all ? source->training : source->held_out};
    for (uint64_t bytes = 0;
         chosen.count < available && (e->settings->bytes == 0 || bytes < e->settings->bytes);) {
        const pith__document *document = &chosen.documents[chosen.count++];
        bytes += document->end - document->start;
    }
    return chosen;
}

static const char *text_of(const pith__source *source, const pith__document *document)
{
    return (const char *)source->file.data + document->start;
}

static pith_status write_documents(const evaluator *e, const selection *chosen, pith_error *err)
{
    static const char end[] = "\n" PITH__DOCUMENT_END "\n";
    char path[4096];
    pith__new_file file;
    if (snprintf(path, sizeof path, "%s/%s.txt", e->settings->folder, chosen->source->name) >=
        (int)sizeof path) {
        return pith__fail(err, PITH_E_ARGUMENT, "a path is too long: \"%.60s\"",
                          e->settings->folder);
    }
    PITH__TRY(pith__new_file_open(path, &file, err));
    for (size_t i = 0; i < chosen->count; i++) { /* a write that fails is told by the commit */
        const pith__document *document = &chosen->documents[i];
        (void)pith__new_file_write(&file, text_of(chosen->source, document),
                                   document->end - document->start);
        (void)pith__new_file_write(&file, end, sizeof end - 1);
    }
    return pith__new_file_commit(&file, err);
}

/* ---- reading them ---------------------------------------------------------------------------- */

/* Documents that are scored together, each without knowledge of the others. */
typedef struct batch {
    uint32_t *ids;
    size_t n_ids, ids_capacity;
    pith__score_range *ranges;
    size_t n_ranges, ranges_capacity;
} batch;

/* The tokens of a document and its end. */
static pith_status add_document(evaluator *e, batch *b, const char *text, size_t size,
                                pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&e->arena);
    pith__tokens tokens = {0};
    PITH__TRY(
        pith__tokenizer_encode(e->vocabulary.tokenizer, text, size, false, &mem, &tokens, err));
    PITH__TRY(pith__grow(&mem, &b->ids, &b->ids_capacity, b->n_ids + tokens.count + 1,
                         sizeof *b->ids, err));
    PITH__TRY(
        pith__grow(&mem, &b->ranges, &b->ranges_capacity, b->n_ranges + 1, sizeof *b->ranges, err));
    b->ranges[b->n_ranges++] = (pith__score_range){b->n_ids, tokens.count + 1};
    for (size_t i = 0; i < tokens.count; i++) {
        b->ids[b->n_ids++] = tokens.items[i].id;
    }
    b->ids[b->n_ids++] = e->end;
    return PITH_OK;
}

/* Documents from number `first` on, as many as make a batch; *out is added to. */
static pith_status read_batch(evaluator *e, const selection *chosen, size_t first,
                              pith__evaluation *out, pith_error *err)
{
    batch b = {0};
    pith__arena_reset(&e->arena);
    for (size_t i = first; i < chosen->count && b.n_ids < BATCH_IDS; i++) {
        const pith__document *document = &chosen->documents[i];
        const size_t size = document->end - document->start;
        PITH__TRY(add_document(e, &b, text_of(chosen->source, document), size, err));
        out->bytes += size;
    }
    float *nats = NULL;
    PITH__TRY(pith__arena_alloc(&e->arena, b.n_ids, sizeof *nats, &nats, err));
    const pith__tensor_ctx ctx = {e->settings->threads, &e->arena};
    const pith__score_input input = {b.ids, b.n_ids, b.ranges, b.n_ranges};
    PITH__TRY(pith__score_run(&e->model, &ctx, &e->options, &input, nats, NULL, err));
    for (size_t i = 0; i < b.n_ids; i++) {
        out->nats += (double)nats[i];
    }
    out->documents += b.n_ranges;
    out->tokens += b.n_ids;
    return PITH_OK;
}

static pith_status read_source(evaluator *e, const pith__source *source, pith__evaluation *out,
                               pith_error *err)
{
    const selection chosen = choose_documents(e, source);
    memcpy(out->source, source->name, sizeof out->source);
    if (e->settings->folder != NULL) {
        PITH__TRY(write_documents(e, &chosen, err));
    }
    while (out->documents < chosen.count) {
        PITH__TRY(read_batch(e, &chosen, (size_t)out->documents, out, err));
    }
    return PITH_OK;
}

/* ---- all sources ------------------------------------------------------------------------------ */

static pith_status report(const evaluator *e, const pith__evaluation *one, const char *source,
                          pith_error *err)
{
    const pith__train_event event = {
        .kind = PITH__TRAIN_EVALUATION,
        .source = source,
        .tokens = one->tokens,
        .loss = one->tokens == 0 ? (double)NAN : one->nats / (double)one->tokens,
        .bits_per_byte = one->bytes == 0 ? (double)NAN : one->nats / log(2.0) / (double)one->bytes,
        .smooth_loss = (double)NAN,
        .norm = (double)NAN,
        .multiplier = (double)NAN,
        .tokens_per_second = (double)NAN,
        .seconds_left = (double)NAN,
        .seconds = pith__seconds() - e->started};
    if (e->settings->event != NULL && !e->settings->event(e->settings->event_user, &event)) {
        return pith__fail(err, PITH_E_CANCELLED, "stopped by the caller");
    }
    return PITH_OK;
}

static pith_status run_source(evaluator *e, size_t index, pith__evaluation *out, pith_error *err)
{
    pith__source source;
    PITH__TRY(pith__source_open(e->settings->sources[index].path, 1.0, e->settings->held_out_every,
                                &e->mem, &source, err));
    const pith_status status = read_source(e, &source, out, err);
    pith__source_close(&source);
    return status == PITH_OK ? report(e, out, out->source, err) : status;
}

static pith_status make_folder(const char *path, pith_error *err)
{
    struct stat info;
    if (mkdir(path, 0777) == 0 ||
        (errno == EEXIST && stat(path, &info) == 0 && S_ISDIR(info.st_mode))) {
        return PITH_OK;
    }
    char reason[128] = "unknown reason";
    (void)strerror_r(errno, reason, sizeof reason);
    return pith__fail(err, PITH_E_IO, "cannot make the folder \"%s\": %s", path, reason);
}

/* Tokens that the model is not likely to have been trained on are not read at once. */
#define LENGTH_MAX 2048u

static pith_status open_model(evaluator *e, pith_error *err)
{
    const pith__evaluate_settings *s = e->settings;
    PITH__TRY(pith__vocabulary_open(s->model, &e->mem, &e->vocabulary, err));
    PITH__TRY(pith__model_load(&e->vocabulary.gguf, PITH_PRECISION_F32, &e->mem, &e->model, err));
    const pith__model_config *c = &e->model.config;
    const pith__tokenizer *tokenizer = e->vocabulary.tokenizer;
    const uint32_t bos = pith__tokenizer_bos(tokenizer);
    if (pith__tokenizer_size(tokenizer) > c->vocabulary) {
        return pith__fail(err, PITH_E_CORRUPT, "the tokenizer has %u tokens, the model %u",
                          pith__tokenizer_size(tokenizer), c->vocabulary);
    }
    if (bos == PITH__TOKEN_NONE) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "the vocabulary names no BOS: nothing predicts a document's first token");
    }
    const size_t most = c->context < LENGTH_MAX ? c->context : LENGTH_MAX;
    const size_t window = s->length == 0 ? most : s->length;
    e->end = pith__document_end(tokenizer);
    e->options = (pith__score_options){.bos = bos, .window = window, .overlap = window / 4};
    return PITH_OK;
}

static pith_status evaluate(evaluator *e, pith__evaluation *out, pith_error *err)
{
    const size_t n = e->settings->n_sources;
    if (n == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "no data to read");
    }
    PITH__TRY(open_model(e, err));
    if (e->settings->folder != NULL) {
        PITH__TRY(make_folder(e->settings->folder, err));
    }
    for (size_t i = 0; i < n; i++) {
        PITH__TRY(run_source(e, i, &out[i], err));
        out[n].documents += out[i].documents;
        out[n].bytes += out[i].bytes;
        out[n].tokens += out[i].tokens;
        out[n].nats += out[i].nats;
    }
    return report(e, &out[n], NULL, err);
}

pith_status pith__train_evaluate(const pith__evaluate_settings *settings, const pith_allocator *mem,
                                 pith__evaluation *out, pith_error *err)
{
    evaluator e = {.settings = settings, .mem = *mem, .started = pith__seconds()};
    memset(out, 0, (settings->n_sources + 1) * sizeof *out);
    pith__arena_init(&e.arena, mem);
    const pith_status status = evaluate(&e, out, err);
    pith__arena_deinit(&e.arena);
    pith__model_deinit(&e.model);
    pith__vocabulary_close(&e.vocabulary);
    return status;
}
