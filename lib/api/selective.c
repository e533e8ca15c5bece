/*
 * selective.c: Selective Context in mode official: sentence by sentence, white space normalised
 * first, neither protection nor a budget.
 */
#include "api/prompt.h"

typedef struct job {
    pith_ctx *ctx;
    pith_allocator mem; /* the arena as an allocator */
    pith__scored scored;
    pith_error *err;
} job;

/* " word" by " word": the release's units with words in place of spaCy's noun chunks. */
static pith_status split_at_spaces(job *j, const char *text, size_t size, pith__spans *out)
{
    size_t start = 0;
    for (size_t i = 1; i <= size; i++) {
        if (i == size || text[i] == ' ') {
            PITH__TRY(pith__grow(&j->mem, &out->items, &out->capacity, out->count + 1,
                                 sizeof *out->items, j->err));
            out->items[out->count++] = (pith__span){.start = start, .end = i};
            start = i;
        }
    }
    return PITH_OK;
}

static pith_status official_sentence(job *j, const pith__official *official, size_t index,
                                     size_t *token, pith__official_sentence *out)
{
    const pith__span *sentence = &official->sentences.items[index];
    const char *text = official->text + sentence->start;
    const size_t size = sentence->end - sentence->start;
    const size_t first = *token;
    while (*token < j->scored.count && j->scored.tokens[*token].start < sentence->end) {
        j->scored.tokens[*token].start -= sentence->start;
        j->scored.tokens[*token].end -= sentence->start;
        (*token)++;
    }
    *out = (pith__official_sentence){.tokens = j->scored.tokens + first,
                                     .token_count = *token - first};
    pith__spans units = {NULL, 0, 0};
    if (j->ctx->params.level == PITH__LEVEL_WORD) {
        PITH__TRY(split_at_spaces(j, text, size, &units));
    } else if (j->ctx->params.level == PITH__LEVEL_PHRASE) {
        PITH__TRY(pith__text_phrases(text, size, &j->mem, &units, j->err));
    }
    out->units = units.items;
    out->unit_count = units.count;
    return PITH_OK;
}

static pith_status check(const pith_ctx *ctx, const pith__prompt *prompt, pith_error *err)
{
    if (pith__params_keep(&ctx->params)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "mode official protects nothing: leave the keep options out");
    }
    if (prompt->count != 1 || prompt->context_count != 1) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "method selective in mode official takes one context alone");
    }
    return PITH_OK;
}

static pith_status select_units(job *j, const pith__hard_source *source, pith__units *units,
                                pith__kept *kept)
{
    static const pith__official_level levels[] = {PITH__OFFICIAL_TOKEN, PITH__OFFICIAL_UNIT,
                                                  PITH__OFFICIAL_UNIT, PITH__OFFICIAL_SENTENCE};
    const pith__params *p = &j->ctx->params;
    pith__official official;
    pith__official_sentence *sentences = NULL;
    PITH__TRY(pith__official_split(source->text, source->size, &j->mem, &official, j->err));
    PITH__TRY(pith__score_text(j->ctx, official.text, official.size, &official.sentences,
                               &j->scored, j->err));
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, official.sentences.count, sizeof *sentences,
                                &sentences, j->err));
    size_t token = 0;
    for (size_t i = 0; i < official.sentences.count; i++) {
        PITH__TRY(official_sentence(j, &official, i, &token, &sentences[i]));
    }
    const pith__official_input input = {.official = &official,
                                        .sentences = sentences,
                                        .level = levels[p->level],
                                        .share = p->percentile >= 0.0 ? p->percentile / 100.0
                                                                      : 1.0 - p->rate};
    return pith__select_official(source, &input, &j->ctx->arena, units, kept, j->err);
}

pith_status pith__compress_selective_official(pith_ctx *ctx, const pith__prompt *prompt,
                                              pith_result *result, pith_error *err)
{
    job j = {.ctx = ctx, .mem = pith__arena_allocator(&ctx->arena), .err = err};
    const pith__hard_source source = {.text = prompt->source, .size = prompt->size};
    const pith__text_map same = {NULL, 0, 0};
    pith__units units;
    pith__kept kept;
    size_t source_tokens = 0;
    PITH__TRY(check(ctx, prompt, err));
    PITH__TRY(pith__count(ctx, source.text, source.size, &source_tokens, err));
    PITH__TRY(select_units(&j, &source, &units, &kept));
    const pith__outcome outcome = {.text = kept.text,
                                   .size = kept.size,
                                   .map = &same,
                                   .ranges = kept.ranges,
                                   .range_count = kept.range_count,
                                   .units = units.items,
                                   .unit_count = units.count,
                                   .stats = {.source_tokens = source_tokens,
                                             .budget_tokens = SIZE_MAX,
                                             .scored_tokens = j.scored.count,
                                             .forward_tokens = j.scored.forwarded,
                                             .score_seconds = j.scored.seconds}};
    return pith__result_fill(ctx, prompt, &outcome, result, err);
}
