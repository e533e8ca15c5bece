/*
 * generate.c: token after token, and what of their text is final.
 */
#include "generate/generate.h"

#include "text/text.h"

#include <math.h>
#include <string.h>

/* One text while it is written. */
typedef struct writing {
    pith__reader *reader;
    const pith__stream_pair *pairs;
    size_t n_pairs;
    const pith__tokenizer *tokenizer;
    const pith__generate_settings *settings;
    const pith_allocator *mem;
    pith_error *err;
    size_t vocabulary;
    uint32_t end; /* EOS, or PITH__TOKEN_NONE */
    pith__arena arena;
    double *scores;            /* (vocabulary) */
    pith__contrast *contrasts; /* (n_pairs) */
    uint32_t *history;         /* ids of prompt and text, if the penalty wants to know them */
    size_t n_history;
    size_t history_capacity;
    pith__buf held; /* bytes that were drawn, but are not final */
    size_t count;
} writing;

/* ---- before the first token --------------------------------------------------------------------- */

static pith_status check_reader(const writing *w, const pith__reader *reader)
{
    if (pith__reader_logits(reader) == NULL) {
        return pith__fail(w->err, PITH_E_ARGUMENT, "nothing was read that can be written on from");
    }
    if (reader->model->config.vocabulary != w->vocabulary) {
        return pith__fail(w->err, PITH_E_ARGUMENT,
                          "an attribute of another vocabulary: %u, not %zu",
                          reader->model->config.vocabulary, w->vocabulary);
    }
    return PITH_OK;
}

static pith_status check(const writing *w)
{
    PITH__TRY(pith__sampling_check(&w->settings->sampling, w->err));
    PITH__TRY(check_reader(w, w->reader));
    for (size_t i = 0; i < w->n_pairs; i++) {
        const pith__stream_pair *pair = &w->pairs[i];
        if (!isfinite(pair->omega) || !isfinite(pair->tau) || pair->tau <= 0.0) {
            return pith__fail(w->err, PITH_E_ARGUMENT,
                              "an attribute of omega %g and tau %g; tau must be above 0",
                              pair->omega, pair->tau);
        }
        PITH__TRY(check_reader(w, pair->toward));
        PITH__TRY(check_reader(w, pair->away));
    }
    for (size_t i = 0; i < w->settings->n_stops; i++) {
        if (w->settings->stops[i][0] == '\0') {
            return pith__fail(w->err, PITH_E_ARGUMENT, "an empty stop string");
        }
    }
    return PITH_OK;
}

static pith_status remember(writing *w, const uint32_t *ids, size_t count)
{
    if (w->settings->sampling.repetition_penalty == 1.0 || count == 0) {
        return PITH_OK;
    }
    PITH__TRY(pith__grow(w->mem, &w->history, &w->history_capacity, w->n_history + count,
                         sizeof *w->history, w->err));
    memcpy(w->history + w->n_history, ids, count * sizeof *ids);
    w->n_history += count;
    return PITH_OK;
}

static pith_status prepare(writing *w)
{
    PITH__TRY(pith__arena_alloc(&w->arena, w->vocabulary, sizeof *w->scores, &w->scores, w->err));
    PITH__TRY(
        pith__arena_alloc(&w->arena, w->n_pairs, sizeof *w->contrasts, &w->contrasts, w->err));
    return remember(w, w->settings->history, w->settings->n_history);
}

/* ---- one token ------------------------------------------------------------------------------------ */

/* *all: logarithm of the sum of what a reader expects. */
static pith_status expect(const writing *w, const pith__reader *reader, double *all)
{
    *all = pith__log_sum_exp(pith__reader_logits(reader), w->vocabulary);
    return isfinite(*all)
               ? PITH_OK
               : pith__fail(w->err, PITH_E_CORRUPT, "the model's prediction is not a number");
}

static pith_status draw(writing *w, uint32_t *id, double *logprob)
{
    const float *logits = pith__reader_logits(w->reader);
    double all = 0.0;
    PITH__TRY(expect(w, w->reader, &all));
    for (size_t v = 0; v < w->vocabulary; v++) {
        w->scores[v] = (double)logits[v];
    }
    for (size_t i = 0; i < w->n_pairs; i++) {
        double unused = 0.0;
        PITH__TRY(expect(w, w->pairs[i].toward, &unused));
        PITH__TRY(expect(w, w->pairs[i].away, &unused));
        w->contrasts[i] = (pith__contrast){.toward = pith__reader_logits(w->pairs[i].toward),
                                           .away = pith__reader_logits(w->pairs[i].away),
                                           .omega = w->pairs[i].omega,
                                           .tau = w->pairs[i].tau};
    }
    pith__contrast_add(w->contrasts, w->n_pairs, w->vocabulary, w->scores);
    if (w->settings->ignore_end && w->end < w->vocabulary) {
        w->scores[w->end] = -HUGE_VAL;
    }
    PITH__TRY(pith__sample_token(&w->settings->sampling, w->scores, w->vocabulary, w->history,
                                 w->n_history, w->count, &w->arena, id, w->err));
    *logprob = (double)logits[*id] - all;
    return PITH_OK;
}

static bool has_room(const pith__reader *reader)
{
    const size_t context = reader->model->config.context;
    return reader->kv.length < context && reader->position < context;
}

/* Whether all readers can take one more token. */
static bool can_go_on(const writing *w)
{
    bool room = has_room(w->reader);
    for (size_t i = 0; i < w->n_pairs; i++) {
        room = room && has_room(w->pairs[i].toward) && has_room(w->pairs[i].away);
    }
    return room;
}

static pith_status read_token(writing *w, uint32_t id)
{
    PITH__TRY(pith__reader_ids(w->reader, &id, 1, NULL, w->err));
    for (size_t i = 0; i < w->n_pairs; i++) {
        PITH__TRY(pith__reader_ids(w->pairs[i].toward, &id, 1, NULL, w->err));
        PITH__TRY(pith__reader_ids(w->pairs[i].away, &id, 1, NULL, w->err));
    }
    return PITH_OK;
}

/* ---- text ------------------------------------------------------------------------------------------- */

/* Where the stop string begins whose last byte comes first, the longest of several; false: none. */
static bool find_stop(const writing *w, size_t *start)
{
    const char *text = w->held.data;
    for (size_t end = 1; end <= w->held.size; end++) {
        size_t longest = 0;
        for (size_t i = 0; i < w->settings->n_stops; i++) {
            const char *stop = w->settings->stops[i];
            const size_t size = strlen(stop);
            if (size <= end && size > longest && memcmp(text + end - size, stop, size) == 0) {
                longest = size;
            }
        }
        if (longest > 0) {
            *start = end - longest;
            return true;
        }
    }
    return false;
}

/* Whether the bytes begin one of the stop strings. */
static bool may_become_stop(const writing *w, const char *bytes, size_t size)
{
    for (size_t i = 0; i < w->settings->n_stops; i++) {
        if (strncmp(w->settings->stops[i], bytes, size) == 0) {
            return true;
        }
    }
    return false;
}

/* How many of the bytes that are held are final: not those that may yet become something else. */
static size_t final_size(const writing *w)
{
    const char *text = w->held.data;
    size_t size = 0;
    while (size < w->held.size && !may_become_stop(w, text + size, w->held.size - size)) {
        size++;
    }
    return size - pith__utf8_unfinished(text, size);
}

/* Hands a token, and the first `size` bytes that are held, to the caller. */
static pith_status hand_over(writing *w, uint32_t id, double logprob, size_t size)
{
    const pith__written token = {
        .id = id, .bytes = size == 0 ? "" : w->held.data, .size = size, .logprob = logprob};
    if (w->settings->written != NULL && !w->settings->written(w->settings->written_user, &token)) {
        return pith__fail(w->err, PITH_E_CANCELLED, "stopped by the caller while generating");
    }
    if (size > 0) {
        memmove(w->held.data, w->held.data + size, w->held.size - size);
        w->held.size -= size;
        w->held.data[w->held.size] = '\0';
    }
    return PITH_OK;
}

static pith_status put(writing *w, uint32_t id, double logprob, bool *stopped)
{
    const char *bytes = NULL;
    size_t size = 0;
    const bool is_text = id != w->end && id < pith__tokenizer_size(w->tokenizer) &&
                         !pith__tokenizer_is_special(w->tokenizer, id);
    if (is_text) {
        PITH__TRY(pith__tokenizer_bytes(w->tokenizer, id, &bytes, &size, w->err));
        PITH__TRY(pith__buf_append(&w->held, bytes, size, w->err));
    }
    size_t final = 0;
    *stopped = find_stop(w, &final);
    return hand_over(w, id, logprob, *stopped ? final : final_size(w));
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static pith_status write_on(writing *w, pith__stop_reason *reason)
{
    bool goes_on = w->count < w->settings->max_tokens;
    while (goes_on) {
        uint32_t id = 0;
        double logprob = 0.0;
        bool stopped = false;
        PITH__TRY(draw(w, &id, &logprob));
        w->count++;
        PITH__TRY(put(w, id, logprob, &stopped));
        if (stopped) {
            *reason = PITH__STOP_STRING;
            return PITH_OK;
        }
        if (id == w->end) {
            *reason = PITH__STOP_END;
            break;
        }
        goes_on = can_go_on(w);
        if (goes_on) {
            PITH__TRY(remember(w, &id, 1));
            PITH__TRY(read_token(w, id));
            goes_on = w->count < w->settings->max_tokens;
        }
    }
    return w->held.size == 0 ? PITH_OK : hand_over(w, PITH__TOKEN_NONE, 0.0, w->held.size);
}

pith_status pith__generate(pith__reader *reader, const pith__stream_pair *pairs, size_t n_pairs,
                           const pith__tokenizer *tokenizer,
                           const pith__generate_settings *settings, const pith_allocator *mem,
                           pith__stop_reason *reason, size_t *count, pith_error *err)
{
    writing w = {.reader = reader,
                 .pairs = pairs,
                 .n_pairs = n_pairs,
                 .tokenizer = tokenizer,
                 .settings = settings,
                 .mem = mem,
                 .err = err,
                 .vocabulary = reader->model->config.vocabulary,
                 .end = pith__tokenizer_eos(tokenizer)};
    *reason = PITH__STOP_LENGTH;
    *count = 0;
    PITH__TRY(check(&w));
    pith__arena_init(&w.arena, mem);
    pith__buf_init(&w.held, mem, SIZE_MAX);
    pith_status status = prepare(&w);
    if (status == PITH_OK) {
        status = write_on(&w, reason);
    }
    *count = w.count;
    pith__free(mem, w.history, w.history_capacity, sizeof *w.history);
    pith__buf_deinit(&w.held);
    pith__arena_deinit(&w.arena);
    return status;
}
