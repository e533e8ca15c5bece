/*
 * retention_judge.c: one text on one way: nats, and what the model writes beside what it should.
 */
#include "train/retention.h"

#include "metric/metric.h"

#include <math.h>
#include <string.h>

/* ---- what is written ---------------------------------------------------------------------------- */

/* What the model writes on from a reader. */
typedef struct writer {
    const pith__retention *retention;
    uint32_t *ids; /* (room) */
    size_t count, room;
    pith__buf text;
    pith_error trouble; /* of the buffer */
    bool has_ended;
} writer;

/* A pith__written_fn. Where the tokenizer names no end, BOS is one that the generator does not know. */
static bool take_token(void *user, const pith__written *token)
{
    writer *w = user;
    const uint32_t end = w->retention->end;
    w->has_ended = w->has_ended || token->id == end;
    if (!w->has_ended && token->id != PITH__TOKEN_NONE && w->count < w->room) {
        w->ids[w->count++] = token->id;
    }
    if (pith__buf_append(&w->text, token->bytes, token->size, &w->trouble) != PITH_OK) {
        return false;
    }
    return token->id != end || end == pith__tokenizer_eos(w->retention->base.tokenizer);
}

static pith_status write_on(writer *w, pith__reader *reader, bool one_line, pith_error *err)
{
    static const char *const line_break[] = {"\n"};
    const pith__retention *r = w->retention;
    const pith__generate_settings settings = {.sampling = {.top_p = 1.0, .repetition_penalty = 1.0},
                                              .max_tokens = w->room,
                                              .stops = line_break,
                                              .n_stops = one_line ? 1 : 0,
                                              .written = take_token,
                                              .written_user = w};
    pith__stop_reason reason = PITH__STOP_LENGTH;
    size_t count = 0;
    const pith_status status = pith__generate(reader, NULL, 0, r->base.tokenizer, &settings,
                                              &r->mem, &reason, &count, err);
    if (w->trouble.status != PITH_OK) {
        return pith__fail(err, w->trouble.status, "%s", w->trouble.message);
    }
    return status == PITH_E_CANCELLED && w->has_ended ? PITH_OK : status;
}

/* Tokens that are right before the first mistake, as a share of all. */
static double right_share(const uint32_t *ids, size_t count, const pith__wording *wanted)
{
    size_t right = 0;
    while (right < count && right < wanted->count && ids[right] == wanted->ids[right]) {
        right++;
    }
    return (double)right / (double)wanted->count;
}

static pith_status compare(const pith__retention_case *c, const pith__retention_text *text,
                           const uint32_t *ids, size_t count, pith__token_text written,
                           pith__retention_measures *out, pith_error *err)
{
    const pith_allocator *mem = &c->retention->mem;
    const bool repeats = c->list->task == PITH__TASK_REPEAT;
    const pith__token_text wanted = repeats ? pith__wording_text(text->source) : text->wanted;
    const pith__text_pair pair = {written.data, written.size, wanted.data, wanted.size};
    pith__rouge rouge;
    bool exact = false;
    PITH__TRY(pith__rouge_l(&pair, false, mem, &rouge, err));
    out->of[PITH__MEASURE_ROUGE_L] = rouge.f;
    PITH__TRY(pith__bleu(&pair, true, mem, &out->of[PITH__MEASURE_BLEU], err));
    if (repeats) {
        out->of[PITH__MEASURE_EXACT] = right_share(ids, count, &text->source);
        return PITH_OK;
    }
    PITH__TRY(pith__answer_f1(&pair, mem, &out->of[PITH__MEASURE_F1], err));
    PITH__TRY(pith__answer_exact(&pair, mem, &exact, err));
    out->of[PITH__MEASURE_EXACT] = exact ? 1.0 : 0.0;
    return PITH_OK;
}

/* No measure looks at blanks, and they stand anywhere in an answer. */
static bool is_blank(pith__token_text text)
{
    size_t i = 0;
    while (i < text.size && (text.data[i] == ' ' || text.data[i] == '\t')) {
        i++;
    }
    return i == text.size;
}

pith__token_text pith__retention_answer(pith__token_text written, pith__token_text behind,
                                        bool has_ended)
{
    const size_t most = written.size < behind.size ? 0 : written.size - behind.size + 1;
    if (is_blank(behind)) {
        return written;
    }
    for (size_t i = 0; i < most; i++) {
        const size_t at = has_ended ? most - 1 - i : i;
        if (memcmp(written.data + at, behind.data, behind.size) == 0) {
            return (pith__token_text){written.data, at};
        }
    }
    return written;
}

static pith_status write_and_compare(const pith__retention_case *c,
                                     const pith__retention_text *text, pith__reader *reader,
                                     pith__arena *arena, pith__retention_measures *out,
                                     pith_error *err)
{
    const pith__retention *r = c->retention;
    const bool repeats = c->list->task == PITH__TASK_REPEAT;
    writer own = {.retention = r, .room = repeats ? text->source.count : r->settings->max_tokens};
    PITH__TRY(pith__arena_alloc(arena, own.room, sizeof *own.ids, &own.ids, err));
    pith__buf_init(&own.text, &r->mem, SIZE_MAX / 2);
    pith_status status = write_on(&own, reader, !repeats, err);
    if (status == PITH_OK) {
        pith__token_text written = {own.text.size == 0 ? "" : own.text.data, own.text.size};
        written = repeats ? written : pith__retention_answer(written, text->behind, own.has_ended);
        status = compare(c, text, own.ids, own.count, written, out, err);
    }
    pith__buf_deinit(&own.text);
    return status;
}

/* ---- one text on one way ---------------------------------------------------------------------------- */

/* What is read between memory and what is judged. */
typedef struct lead {
    const uint32_t *ids; /* (count) at least one */
    size_t count;
} lead;

/* A question begins with BOS where nothing stands before it. */
static pith_status lead_of(const pith__retention_case *c, const pith__retention_text *text,
                           const pith__reader *reader, pith__arena *arena, lead *out,
                           pith_error *err)
{
    uint32_t *ids = NULL;
    if (c->list->task == PITH__TASK_REPEAT) {
        *out = (lead){&c->retention->bos, 1};
        return PITH_OK;
    }
    *out = (lead){text->prompt, text->n_prompt};
    if (reader->kv.length == 0) {
        PITH__TRY(pith__arena_alloc(arena, text->n_prompt + 1, sizeof *ids, &ids, err));
        ids[0] = c->retention->bos;
        memcpy(ids + 1, text->prompt, text->n_prompt * sizeof *ids);
        *out = (lead){ids, text->n_prompt + 1};
    }
    return PITH_OK;
}

static double mean_nats(const float *nats, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)nats[i];
    }
    return sum / (double)count;
}

/* The reader stands behind the memory. */
static pith_status judge(const pith__retention_case *c, const pith__retention_text *text,
                         bool writes, pith__reader *reader, pith__arena *arena,
                         pith__retention_measures *out, pith_error *err)
{
    const bool repeats = c->list->task == PITH__TASK_REPEAT;
    const uint32_t *targets = repeats ? text->source.ids : text->answer;
    const size_t count = repeats ? text->source.count : text->n_answer;
    lead before;
    float *nats = NULL;
    PITH__TRY(lead_of(c, text, reader, arena, &before, err));
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *nats, &nats, err));
    PITH__TRY(pith__reader_ids(reader, before.ids, before.count - 1, NULL, err));
    const pith__reader_mark mark = pith__reader_save(reader);
    const uint32_t *last = before.ids + before.count - 1;
    PITH__TRY(pith__reader_ids(reader, last, 1, NULL, err));
    PITH__TRY(pith__reader_ids(reader, targets, count, nats, err));
    out->of[PITH__MEASURE_NLL] = mean_nats(nats, count);
    if (!writes) {
        return PITH_OK;
    }
    pith__reader_restore(reader, mark);
    PITH__TRY(pith__reader_ids(reader, last, 1, NULL, err));
    return write_and_compare(c, text, reader, arena, out, err);
}

/* Words that were read can be given back as they are: that needs no model. */
static bool is_copied(const pith__retention_case *c)
{
    return c->list->task == PITH__TASK_REPEAT &&
           (c->way == PITH__WAY_TRUNCATED || c->way == PITH__WAY_LAST || c->way == PITH__WAY_GIVEN);
}

static pith_status measure(const pith__retention_case *c, const pith__retention_text *text,
                           const pith__retention_memory *memory, bool writes, pith__arena *arena,
                           pith__retention_measures *out, pith_error *err)
{
    const pith__retention *r = c->retention;
    const pith__wording *words = &memory->words;
    const bool copied = is_copied(c);
    pith__reader reader = {0};
    PITH__TRY(pith__reader_init(&reader, &r->base.model, 1, &r->mem, err));
    pith_status status = pith__retention_recall(r, memory, &reader, err);
    if (status == PITH_OK) {
        status = judge(c, text, writes && !copied, &reader, arena, out, err);
    }
    pith__reader_deinit(&reader);
    PITH__TRY(status);
    out->of[PITH__MEASURE_SOURCE] = (double)text->source.count;
    out->of[PITH__MEASURE_STORED] =
        (double)(memory->capsule != NULL ? pith__capsule_bytes(memory->capsule, PITH__CAPSULE_F16)
                                         : pith__wording_text(*words).size);
    return writes && copied
               ? compare(c, text, words->ids, words->count, pith__wording_text(*words), out, err)
               : PITH_OK;
}

/* Without each of the capsule's slots in turn: out (count). */
static pith_status measure_ablated(const pith__retention_case *c, const pith__retention_text *text,
                                   const pith__capsule *capsule, size_t count, pith__arena *arena,
                                   pith__retention_measures *out, pith_error *err)
{
    for (uint32_t slot = 0; slot < count && slot < capsule->slots && capsule->slots > 1; slot++) {
        pith__retention_memory memory = {.capsule = NULL};
        PITH__TRY(pith__retention_without(capsule, slot, &c->retention->mem, &memory.capsule, err));
        const pith_status status = measure(c, text, &memory, false, arena, &out[slot], err);
        pith__capsule_free(memory.capsule);
        PITH__TRY(status);
    }
    return PITH_OK;
}

pith_status pith__retention_measure(const pith__retention_case *c, size_t index, size_t variants,
                                    pith__arena *arena, pith__retention_measures *out,
                                    pith_error *err)
{
    const pith__retention_text *text = &c->list->items[index];
    pith__retention_memory memory;
    for (size_t i = 0; i < variants * PITH__MEASURES; i++) {
        out[i / PITH__MEASURES].of[i % PITH__MEASURES] = (double)NAN;
    }
    if (c->way == PITH__WAY_GIVEN && text->shorter == NULL) {
        return PITH_OK;
    }
    PITH__TRY(pith__retention_remember(c, index, &memory, err));
    const bool writes = c->retention->settings->generates;
    pith_status status = measure(c, text, &memory, writes, arena, out, err);
    if (status == PITH_OK && memory.capsule != NULL) {
        status = measure_ablated(c, text, memory.capsule, variants - 1, arena, out + 1, err);
    }
    pith__capsule_free(memory.capsule);
    return status;
}
