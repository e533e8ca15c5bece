/*
 * compress.c: pith_compress: from a text and parameters to a shorter text.
 *
 *     tags out -> tokens -> self-information -> units -> selection -> result
 *
 * Selection works on the text without tags ("clean"); the last step maps its
 * offsets back to the source. Mode "official" goes its own way: it normalises
 * white space first and has neither protection nor a budget.
 */
#include "api/api.h"

#include <string.h>

struct pith_result {
    pith_allocator mem;
    char *text;
    size_t size;
    pith_range *ranges;
    size_t n_ranges;
    size_t ranges_capacity;
    pith_unit *units;
    size_t n_units;
    pith_stats stats;
};

/* What one call works on; everything lies in the context's arena. */
typedef struct job {
    pith_ctx *ctx;
    pith_allocator mem; /* the arena as an allocator */
    const char *source;
    size_t source_size;
    pith__tagged tagged; /* the clean text */
    pith__scored scored;
    pith__units units; /* of the clean text; in mode official of the source */
    pith__kept kept;
    size_t source_tokens; /* counted */
    size_t budget;        /* SIZE_MAX: none */
    pith_error *err;
} job;

/* ---- counting ------------------------------------------------------------------------------- */

static pith_status count_tokens(void *user, const char *text, size_t size, size_t *count,
                                pith_error *err)
{
    const job *j = user;
    return pith_tokenizer_count(j->ctx->counter, text, size, count, err);
}

/* ---- protection --------------------------------------------------------------------------------- */

static pith_status compile_rules(pith_ctx *ctx, pith_error *err)
{
    const pith__params *p = &ctx->params;
    const unsigned rules = (p->keep_digits ? (unsigned)PITH__PROTECT_NUMBERS : 0U) |
                           (p->keep_links ? (unsigned)PITH__PROTECT_LINKS : 0U) |
                           (p->keep_code ? (unsigned)PITH__PROTECT_CODE : 0U);
    if (ctx->protect != NULL || (rules == 0 && p->keep.count + p->keep_regex.count == 0)) {
        return PITH_OK;
    }
    pith__protect *protect = NULL;
    PITH__TRY(pith__protect_new(&ctx->model->mem, rules, &protect, err));
    pith_status status = PITH_OK;
    for (size_t i = 0; i < p->keep.count && status == PITH_OK; i++) {
        status =
            pith__protect_add_literal(protect, p->keep.items[i], strlen(p->keep.items[i]), err);
    }
    for (size_t i = 0; i < p->keep_regex.count && status == PITH_OK; i++) {
        status = pith__protect_add_regex(protect, p->keep_regex.items[i],
                                         strlen(p->keep_regex.items[i]), err);
    }
    if (status != PITH_OK) {
        pith__protect_free(protect);
        return status;
    }
    ctx->protect = protect;
    return PITH_OK;
}

/* Union of two ascending lists of disjoint spans, disjoint again. */
static pith_status merge_spans(job *j, const pith__spans *a, const pith__spans *b, pith__spans *out)
{
    pith__span *items = NULL;
    PITH__TRY(
        pith__arena_alloc(&j->ctx->arena, a->count + b->count, sizeof *items, &items, j->err));
    size_t count = 0;
    size_t ia = 0;
    size_t ib = 0;
    while (ia < a->count || ib < b->count) {
        const bool take_a =
            ib == b->count || (ia < a->count && a->items[ia].start <= b->items[ib].start);
        const pith__span next = take_a ? a->items[ia++] : b->items[ib++];
        if (count > 0 && next.start <= items[count - 1].end) {
            const size_t end = items[count - 1].end;
            items[count - 1].end = next.end > end ? next.end : end;
        } else {
            items[count++] = next;
        }
    }
    *out = (pith__spans){items, count, a->count + b->count};
    return PITH_OK;
}

static pith_status find_protected(job *j, pith__spans *out)
{
    pith__spans matches = {NULL, 0, 0};
    PITH__TRY(compile_rules(j->ctx, j->err));
    if (j->ctx->protect != NULL) {
        PITH__TRY(pith__protect_apply(j->ctx->protect, j->tagged.text, j->tagged.size, &j->mem,
                                      &matches, j->err));
    }
    return merge_spans(j, &j->tagged.kept, &matches, out);
}

/* ---- units --------------------------------------------------------------------------------------- */

static pith_status split(job *j, const char *text, size_t size, pith__spans *out)
{
    switch ((pith__level)j->ctx->params.level) {
    case PITH__LEVEL_TOKEN:
        return PITH_OK; /* no spans: the units are the tokens */
    case PITH__LEVEL_WORD:
        return pith__text_words(text, size, &j->mem, out, j->err);
    case PITH__LEVEL_PHRASE:
        return pith__text_phrases(text, size, &j->mem, out, j->err);
    case PITH__LEVEL_SENTENCE:
        return pith__text_sentences(text, size, &j->mem, out, j->err);
    }
    return pith__fail(j->err, PITH_E_INTERNAL, "level %d", j->ctx->params.level);
}

static pith__aggregate aggregate_of(const pith__params *p)
{
    if (p->aggregate != PITH__AGGREGATE_AUTO) {
        return (pith__aggregate)p->aggregate;
    }
    return p->mode == PITH__MODE_PAPER ? PITH__AGGREGATE_SUM : PITH__AGGREGATE_MEAN;
}

static pith_status score(job *j)
{
    pith__spans sentences = {NULL, 0, 0};
    const bool by_sentence = j->ctx->params.score_by == 1;
    if (by_sentence) {
        PITH__TRY(
            pith__text_sentences(j->tagged.text, j->tagged.size, &j->mem, &sentences, j->err));
    }
    return pith__score_text(j->ctx, j->tagged.text, j->tagged.size, by_sentence ? &sentences : NULL,
                            &j->scored, j->err);
}

/* Also tells `clean` what is protected. */
static pith_status build_units(job *j, pith__source *clean)
{
    pith__spans spans = {NULL, 0, 0};
    pith__spans protect = {NULL, 0, 0};
    size_t *cuts = NULL;
    const size_t n_cuts = j->tagged.boundary.count;
    PITH__TRY(split(j, clean->text, clean->size, &spans));
    PITH__TRY(find_protected(j, &protect));
    clean->protect = protect.items;
    clean->protect_count = protect.count;
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, n_cuts, sizeof *cuts, &cuts, j->err));
    for (size_t i = 0; i < n_cuts; i++) {
        cuts[i] = j->tagged.boundary.items[i].start;
    }
    const pith__unit_input input = {.tokens = j->scored.tokens,
                                    .token_count = j->scored.count,
                                    .spans = spans.items,
                                    .span_count = spans.count,
                                    .cuts = cuts,
                                    .cut_count = n_cuts,
                                    .protect = protect.items,
                                    .protect_count = protect.count,
                                    .aggregate = aggregate_of(&j->ctx->params)};
    return pith__units_build(clean, &input, &j->ctx->arena, &j->units, j->err);
}

/* ---- modes pith and paper --------------------------------------------------------------------------- */

static size_t budget_of(const job *j)
{
    const pith__params *p = &j->ctx->params;
    if (p->target_tokens >= 0.0) {
        return (size_t)p->target_tokens;
    }
    return (size_t)(p->rate * (double)j->source_tokens + 1e-9); /* 0.29 of 100 is 29 */
}

static pith_status select_units(job *j, const pith__source *clean)
{
    const pith__params *p = &j->ctx->params;
    pith__arena *arena = &j->ctx->arena;
    if (p->percentile >= 0.0) {
        return pith__select_percentile(clean, &j->units, p->percentile / 100.0, arena, &j->kept,
                                       j->err);
    }
    if (p->mode == PITH__MODE_PAPER) {
        return pith__select_mass(clean, &j->units, p->rate, arena, &j->kept, j->err);
    }
    const pith__counter counter = {count_tokens, j};
    j->budget = budget_of(j);
    return pith__select_budget(clean, &j->units, &counter, j->budget, arena, &j->kept, j->err);
}

/* Longer runs of digits are no numbers that anybody reads. */
#define NUMBER_MAX ((size_t)64)

/* Half a number is a wrong number, so tokens that share one are one unit. */
static pith_status join_numbers(job *j, const pith__source *clean, pith__graphemes *graphemes)
{
    pith__protect *numbers = NULL;
    pith__spans spans = {NULL, 0, 0};
    PITH__TRY(pith__protect_new(&j->mem, PITH__PROTECT_NUMBERS, &numbers, j->err));
    const pith_status status =
        pith__protect_apply(numbers, clean->text, clean->size, &j->mem, &spans, j->err);
    pith__protect_free(numbers);
    for (size_t i = 0; i < spans.count; i++) {
        if (spans.items[i].end - spans.items[i].start <= NUMBER_MAX) {
            pith__graphemes_join(graphemes, spans.items[i].start, spans.items[i].end);
        }
    }
    return status;
}

static pith_status compress_units(job *j)
{
    pith__graphemes graphemes;
    pith__source clean = {.text = j->tagged.text, .size = j->tagged.size};
    PITH__TRY(count_tokens(j, clean.text, clean.size, &j->source_tokens, j->err));
    PITH__TRY(score(j));
    PITH__TRY(pith__text_graphemes(clean.text, clean.size, &j->mem, &graphemes, j->err));
    if (j->ctx->params.level == PITH__LEVEL_TOKEN) {
        PITH__TRY(join_numbers(j, &clean, &graphemes));
    }
    clean.graphemes = &graphemes;
    PITH__TRY(build_units(j, &clean));
    return select_units(j, &clean);
}

/* ---- mode official ------------------------------------------------------------------------------------ */

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

static pith_status check_official(const job *j)
{
    const pith__params *p = &j->ctx->params;
    const bool keeps = p->keep.count + p->keep_regex.count + p->keep_tag.count > 0 ||
                       p->keep_digits || p->keep_links || p->keep_code;
    if (keeps) {
        return pith__fail(j->err, PITH_E_ARGUMENT,
                          "mode official protects nothing: leave the keep options out");
    }
    return PITH_OK;
}

static pith_status compress_official(job *j)
{
    static const pith__official_level levels[] = {PITH__OFFICIAL_TOKEN, PITH__OFFICIAL_UNIT,
                                                  PITH__OFFICIAL_UNIT, PITH__OFFICIAL_SENTENCE};
    const pith__params *p = &j->ctx->params;
    pith__official official;
    pith__official_sentence *sentences = NULL;
    PITH__TRY(check_official(j));
    PITH__TRY(count_tokens(j, j->source, j->source_size, &j->source_tokens, j->err));
    PITH__TRY(pith__official_split(j->source, j->source_size, &j->mem, &official, j->err));
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
    const pith__source source = {.text = j->source, .size = j->source_size};
    return pith__select_official(&source, &input, &j->ctx->arena, &j->units, &j->kept, j->err);
}

/* ---- the result ------------------------------------------------------------------------------------------ */

static pith_status append_range(job *j, pith_result *r, size_t start, size_t end)
{
    if (r->n_ranges > 0 && r->ranges[r->n_ranges - 1].end == start) {
        r->ranges[r->n_ranges - 1].end = end;
        return PITH_OK;
    }
    PITH__TRY(pith__grow(&r->mem, &r->ranges, &r->ranges_capacity, r->n_ranges + 1,
                         sizeof *r->ranges, j->err));
    r->ranges[r->n_ranges++] = (pith_range){start, end};
    return PITH_OK;
}

/* Ranges of the clean text as ranges of the source: cut wherever a tag stood. */
static pith_status map_ranges(job *j, pith_result *r)
{
    const pith__spans *cuts = &j->tagged.boundary;
    size_t cut = 0;
    for (size_t i = 0; i < j->kept.range_count; i++) {
        size_t start = j->kept.ranges[i].start;
        const size_t end = j->kept.ranges[i].end;
        while (start < end) {
            while (cut < cuts->count && cuts->items[cut].start <= start) {
                cut++;
            }
            const bool is_cut = cut < cuts->count && cuts->items[cut].start < end;
            const size_t stop = is_cut ? cuts->items[cut].start : end;
            PITH__TRY(append_range(j, r, pith__text_map_start(&j->tagged.map, start),
                                   pith__text_map_end(&j->tagged.map, stop)));
            start = stop;
        }
    }
    return PITH_OK;
}

static pith_status copy_units(job *j, pith_result *r)
{
    PITH__TRY(pith__alloc(&r->mem, j->units.count, sizeof *r->units, &r->units, j->err));
    r->n_units = j->units.count;
    r->stats.units = j->units.count;
    for (size_t i = 0; i < j->units.count; i++) {
        pith_unit unit = j->units.items[i];
        if (unit.end > unit.start) {
            unit.start = pith__text_map_start(&j->tagged.map, unit.start);
            unit.end = pith__text_map_end(&j->tagged.map, j->units.items[i].end);
        }
        r->units[i] = unit;
        r->stats.units_kept += unit.kept;
        r->stats.units_protected += unit.is_protected;
    }
    return PITH_OK;
}

static pith_status fill_result(job *j, pith_result *r)
{
    PITH__TRY(pith__alloc(&r->mem, j->kept.size + 1, 1, &r->text, j->err));
    r->size = j->kept.size;
    memcpy(r->text, j->kept.text, j->kept.size + 1);
    PITH__TRY(map_ranges(j, r));
    PITH__TRY(copy_units(j, r));
    r->stats.source_tokens = j->source_tokens;
    r->stats.budget_tokens = j->budget;
    r->stats.scored_tokens = j->scored.count;
    r->stats.forward_tokens = j->scored.forwarded;
    r->stats.score_seconds = j->scored.seconds;
    return count_tokens(j, r->text, r->size, &r->stats.kept_tokens, j->err);
}

static pith_status check_params(const pith_ctx *ctx, pith_error *err)
{
    const pith__params *p = &ctx->params;
    if (p->mode != PITH__MODE_PITH && p->target_tokens >= 0.0) {
        return pith__fail(
            err, PITH_E_ARGUMENT,
            "target-tokens: only mode pith has a token budget; use rate or percentile");
    }
    return PITH_OK;
}

static pith_status compress(pith_ctx *ctx, const char *text, size_t size, pith_result *result,
                            pith_error *err)
{
    job j = {.ctx = ctx,
             .mem = pith__arena_allocator(&ctx->arena),
             .source = text,
             .source_size = size,
             .budget = SIZE_MAX,
             .err = err};
    const double start = pith__seconds();
    const pith__params *p = &ctx->params;
    PITH__TRY(check_params(ctx, err));
    PITH__TRY(pith__check_text(ctx, text, size, err));
    if (p->mode == PITH__MODE_OFFICIAL) {
        PITH__TRY(compress_official(&j));
    } else {
        PITH__TRY(pith__tags_strip(text, size, (const char *const *)p->keep_tag.items,
                                   p->keep_tag.count, &j.mem, &j.tagged, err));
        PITH__TRY(compress_units(&j));
    }
    PITH__TRY(fill_result(&j, result));
    result->stats.select_seconds = pith__seconds() - start - j.scored.seconds;
    return PITH_OK;
}

pith_status pith_compress(pith_ctx *ctx, const char *text, size_t size, pith_result **out,
                          pith_error *err)
{
    const pith_allocator *mem = &ctx->model->mem;
    pith_result *result = NULL;
    *out = NULL;
    PITH__TRY(pith__alloc_zero(mem, 1, sizeof *result, &result, err));
    result->mem = *mem;
    const pith_status status = compress(ctx, text, size, result, err);
    pith__arena_reset(&ctx->arena);
    if (status != PITH_OK) {
        pith_result_free(result);
        return status;
    }
    *out = result;
    return PITH_OK;
}

void pith_result_free(pith_result *result)
{
    if (result == NULL) {
        return;
    }
    const pith_allocator mem = result->mem;
    pith__free(&mem, result->text, result->size + 1, 1);
    pith__free(&mem, result->ranges, result->ranges_capacity, sizeof *result->ranges);
    pith__free(&mem, result->units, result->n_units, sizeof *result->units);
    pith__free(&mem, result, 1, sizeof *result);
}

const char *pith_result_text(const pith_result *result)
{
    return result->text;
}

size_t pith_result_size(const pith_result *result)
{
    return result->size;
}

const pith_range *pith_result_ranges(const pith_result *result, size_t *count)
{
    *count = result->n_ranges;
    return result->ranges;
}

const pith_unit *pith_result_units(const pith_result *result, size_t *count)
{
    *count = result->n_units;
    return result->units;
}

pith_stats pith_result_stats(const pith_result *result)
{
    return result->stats;
}
