/*
 * ppl.c: mean NLL of texts, alone or together with a query.
 */
#include "lingua/lingua_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* A sequence for the model, of which the tokens from `judged` on count. */
typedef struct reading {
    pith__lm_range range;
    size_t judged; /* index into the ids */
    size_t text;
} reading;

typedef struct batch {
    const pith__lm *lm;
    pith__condition condition;
    bool official;
    bool bos;
    pith__lm_tokens query;
    pith__lm_tokens *texts; /* OFFICIAL: of the string that holds the query too */
    size_t *judged;         /* (count) OFFICIAL: the first token of texts[i] that counts */
    size_t count;
    uint32_t *ids;
    size_t n_ids;
    reading *readings;
    size_t n_readings;
} batch;

/* ---- tokens -------------------------------------------------------------------------------------- */

static pith_status join(const pith__lingua_text *first, const pith__lingua_text *second,
                        pith__arena *arena, pith__lingua_text *out, pith_error *err)
{
    char *text = NULL;
    size_t size = 0;
    if (__builtin_add_overflow(first->size, second->size, &size)) {
        return pith__fail(err, PITH_E_MEMORY, "a text and its query do not fit in memory");
    }
    PITH__TRY(pith__arena_alloc(arena, size, 1, &text, err));
    if (first->size > 0) {
        memcpy(text, first->text, first->size);
    }
    if (second->size > 0) {
        memcpy(text + first->size, second->text, second->size);
    }
    *out = (pith__lingua_text){text, size};
    return PITH_OK;
}

pith_status pith__lingua_length(const pith__lm *lm, const pith__lingua_text *text,
                                pith__arena *arena, size_t *count, pith_error *err)
{
    const pith__arena_mark mark = pith__arena_save(arena);
    pith__lm_tokens tokens = {0};
    const pith_status status = lm->tokenize(lm->user, text->text, text->size, arena, &tokens, err);
    pith__arena_restore(arena, mark);
    *count = tokens.count;
    return status;
}

/* The release's loss[len(tokens of the first) - 1:], its losses cut at the context. */
static void official_cut(batch *b, size_t i, size_t first_tokens)
{
    const size_t specials = b->bos ? 1 : 0;
    const size_t room = b->lm->context > specials ? b->lm->context - specials : 0;
    if (b->texts[i].count > room) {
        b->texts[i].count = room;
    }
    const size_t offset = b->bos ? 0 : 1; /* the first loss is of this token */
    const size_t losses = b->texts[i].count > offset ? b->texts[i].count - offset : 0;
    const int64_t bound =
        b->condition == PITH__CONDITION_NONE ? 0 : (int64_t)(first_tokens + specials) - 1;
    b->judged[i] = pith__slice_bound(bound, losses) + offset;
}

static pith_status tokenize_official(batch *b, const pith__lingua_text *texts,
                                     const pith__lingua_text *query, pith__arena *arena,
                                     pith_error *err)
{
    const bool before = b->condition == PITH__CONDITION_BEFORE;
    for (size_t i = 0; i < b->count; i++) {
        pith__lingua_text whole = texts[i];
        size_t first_tokens = 0;
        if (b->condition != PITH__CONDITION_NONE) {
            const pith__lingua_text *first = before ? query : &texts[i];
            PITH__TRY(pith__lingua_length(b->lm, first, arena, &first_tokens, err));
            PITH__TRY(join(first, before ? &texts[i] : query, arena, &whole, err));
        }
        PITH__TRY(b->lm->tokenize(b->lm->user, whole.text, whole.size, arena, &b->texts[i], err));
        official_cut(b, i, first_tokens);
    }
    return PITH_OK;
}

static pith_status tokenize_apart(batch *b, const pith__lingua_text *texts,
                                  const pith__lingua_text *query, pith__arena *arena,
                                  pith_error *err)
{
    for (size_t i = 0; i < b->count; i++) {
        PITH__TRY(
            b->lm->tokenize(b->lm->user, texts[i].text, texts[i].size, arena, &b->texts[i], err));
    }
    if (b->condition == PITH__CONDITION_NONE) {
        return PITH_OK;
    }
    PITH__TRY(b->lm->tokenize(b->lm->user, query->text, query->size, arena, &b->query, err));
    const size_t most = b->lm->context / 2;
    if (b->query.count > most) {
        b->query.items += b->query.count - most;
        b->query.count = most;
    }
    return PITH_OK;
}

/* ---- sequences ----------------------------------------------------------------------------------- */

/* Into how many pieces a text of `tokens` goes so that each leaves room for the query. */
static size_t piece_count(const batch *b, size_t tokens)
{
    if (b->official || b->condition == PITH__CONDITION_NONE) {
        return 1;
    }
    const size_t taken = b->query.count + (b->bos ? 1 : 0);
    const size_t room = b->lm->context > taken ? b->lm->context - taken : 1;
    return tokens <= room ? 1 : (tokens - 1) / room + 1;
}

static void append(batch *b, const pith_token_score *tokens, size_t count)
{
    for (size_t t = 0; t < count; t++) {
        b->ids[b->n_ids++] = tokens[t].id;
    }
}

static void read_piece(batch *b, size_t text, size_t start, size_t end)
{
    reading r = {.range = {b->n_ids, 0}, .text = text};
    if (b->condition == PITH__CONDITION_BEFORE) {
        append(b, b->query.items, b->query.count);
        r.judged = b->n_ids;
    }
    append(b, b->texts[text].items + start, end - start);
    if (b->official) {
        r.judged = r.range.first + b->judged[text];
    } else if (b->condition == PITH__CONDITION_NONE) {
        r.judged = r.range.first;
    } else if (b->condition == PITH__CONDITION_AFTER) {
        r.judged = b->n_ids;
        append(b, b->query.items, b->query.count);
    }
    r.range.count = b->n_ids - r.range.first;
    if (r.range.count > 0) {
        b->readings[b->n_readings++] = r;
    }
}

static pith_status lay_out(batch *b, pith__arena *arena, pith_error *err)
{
    size_t pieces = 0;
    size_t ids = 0;
    for (size_t i = 0; i < b->count; i++) {
        const size_t parts = piece_count(b, b->texts[i].count);
        size_t queries = 0;
        if (__builtin_mul_overflow(parts, b->query.count, &queries) ||
            __builtin_add_overflow(ids, queries, &ids) ||
            __builtin_add_overflow(ids, b->texts[i].count, &ids)) {
            return pith__fail(err, PITH_E_MEMORY, "texts with their query do not fit in memory");
        }
        pieces += parts;
    }
    PITH__TRY(pith__arena_alloc(arena, ids, sizeof *b->ids, &b->ids, err));
    PITH__TRY(pith__arena_alloc(arena, pieces, sizeof *b->readings, &b->readings, err));
    for (size_t i = 0; i < b->count; i++) {
        const size_t tokens = b->texts[i].count;
        const size_t parts = piece_count(b, tokens);
        size_t start = 0;
        for (size_t p = 0; p < parts; p++) {
            const size_t end = start + (tokens - start) / (parts - p);
            read_piece(b, i, start, end);
            start = end;
        }
    }
    assert(b->n_ids <= ids && b->n_readings <= pieces);
    return PITH_OK;
}

/* ---- means --------------------------------------------------------------------------------------- */

/* Without BOS nothing is known of the first token of a sequence. */
static double mean_of(const float *nats, size_t start, size_t end)
{
    double sum = 0.0;
    size_t known = 0;
    for (size_t i = start; i < end; i++) {
        if (!isnan(nats[i])) {
            sum += (double)nats[i];
            known++;
        }
    }
    return known == 0 ? (double)NAN : sum / (double)known;
}

static pith_status judge(const batch *b, pith__arena *arena, double *mean_nll, pith_error *err)
{
    pith__lm_range *ranges = NULL;
    float *nats = NULL;
    PITH__TRY(pith__arena_alloc(arena, b->n_readings, sizeof *ranges, &ranges, err));
    PITH__TRY(pith__arena_alloc(arena, b->n_ids, sizeof *nats, &nats, err));
    for (size_t r = 0; r < b->n_readings; r++) {
        ranges[r] = b->readings[r].range;
    }
    if (b->n_readings > 0) {
        PITH__TRY(
            b->lm->nll(b->lm->user, b->ids, b->n_ids, ranges, b->n_readings, b->bos, nats, err));
    }
    for (size_t r = 0; r < b->n_readings; r++) {
        const reading *from = &b->readings[r];
        const double mean = mean_of(nats, from->judged, from->range.first + from->range.count);
        double *least = &mean_nll[from->text];
        if (isnan(*least) || mean < *least) {
            *least = mean;
        }
    }
    return PITH_OK;
}

static pith_status run(batch *b, const pith__lingua_text *texts, const pith__lingua_text *query,
                       pith__arena *arena, double *mean_nll, pith_error *err)
{
    PITH__TRY(pith__arena_alloc_zero(arena, b->count, sizeof *b->texts, &b->texts, err));
    PITH__TRY(pith__arena_alloc_zero(arena, b->count, sizeof *b->judged, &b->judged, err));
    PITH__TRY(b->official ? tokenize_official(b, texts, query, arena, err)
                          : tokenize_apart(b, texts, query, arena, err));
    PITH__TRY(lay_out(b, arena, err));
    return judge(b, arena, mean_nll, err);
}

pith_status pith__lingua_condition_ppl(const pith__lm *lm, const pith__lingua_options *options,
                                       const pith__lingua_text *texts, size_t count,
                                       const pith__lingua_text *query, pith__condition condition,
                                       pith__arena *arena, double *mean_nll, pith_error *err)
{
    const bool official = options->mode == PITH__LINGUA_OFFICIAL;
    batch b = {
        .lm = lm,
        .condition = condition,
        .official = official,
        .bos = official ? pith__lingua_specials(lm) > 0 : lm->bos != PITH__LM_NONE,
        .count = count,
    };
    for (size_t i = 0; i < count; i++) {
        mean_nll[i] = (double)NAN;
    }
    if (count == 0) {
        return PITH_OK;
    }
    const pith__arena_mark mark = pith__arena_save(arena);
    const pith_status status = run(&b, texts, query, arena, mean_nll, err);
    pith__arena_restore(arena, mark);
    return status;
}
