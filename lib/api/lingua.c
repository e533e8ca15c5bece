/*
 * lingua.c: parameters as lib/lingua takes them; ranking; modes official and paper.
 */
#include "api/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- options ------------------------------------------------------------------------------------ */

static bool is_long(const pith__params *p)
{
    if (p->rank_method != 0) {
        return p->rank_method - 1 == PITH__RANK_LONGLLMLINGUA;
    }
    return p->method == PITH__METHOD_LONGLLMLINGUA;
}

/* The release's rules for condition_in_question, its quirk included: comparing comes first, and
 * "none_condition" is not "none". The other modes do what these rules mean. */
static void read_condition(const pith__params *p, pith__lingua_options *o)
{
    const bool official = p->mode == PITH__MODE_OFFICIAL;
    const bool question_aware =
        is_long(p) || (!official && p->method == PITH__METHOD_LONGLLMLINGUA);
    int condition = p->condition == 0 ? 0 : (p->condition - 1) % 3;
    bool prefix = p->condition > 3;
    if (p->condition == 0 && !official && question_aware) {
        condition = PITH__CONDITION_AFTER;
        prefix = true;
    }
    o->condition_compare =
        p->condition_compare == 2 ||
        (p->condition_compare == 0 && p->mode == PITH__MODE_PAPER && question_aware);
    const bool was_none = condition == PITH__CONDITION_NONE && !prefix;
    prefix = prefix || o->condition_compare;
    if (!question_aware) {
        condition = PITH__CONDITION_NONE;
    } else if (condition == PITH__CONDITION_NONE &&
               (!official || (was_none && !o->condition_compare))) {
        condition = PITH__CONDITION_AFTER;
    }
    o->condition = (pith__condition)condition;
    o->condition_prefix = prefix;
}

static pith__rank_method read_rank_method(const pith__params *p, bool has_question)
{
    if (p->rank_method != 0) {
        return (pith__rank_method)(p->rank_method - 1);
    }
    if (p->mode == PITH__MODE_PITH && has_question) {
        return PITH__RANK_BM25;
    }
    return is_long(p) ? PITH__RANK_LONGLLMLINGUA : PITH__RANK_LLMLINGUA;
}

/* Perplexity says little about which context will be asked for, so without a question mode pith
 * drops only what would be shortened to less than a quarter. */
static pith__budget_change read_context_budget(const pith__params *p, bool has_question)
{
    static const pith__budget_change by_mode[] = {[PITH__MODE_PITH] = {'*', 2.0},
                                                  [PITH__MODE_PAPER] = {'*', 2.0},
                                                  [PITH__MODE_OFFICIAL] = {'+', 100.0}};
    pith__budget_change change = by_mode[p->mode];
    if (p->mode == PITH__MODE_PITH && !has_question) {
        change.value = 4.0;
    }
    if (p->context_budget != NULL && p->context_budget[0] != '\0') {
        (void)pith__params_budget_change(p->context_budget, &change); /* checked when it was set */
    }
    return change;
}

static double or_default(double value, double by_default)
{
    return value < 0.0 ? by_default : value;
}

static pith_status read_forced(pith_ctx *ctx, pith__lingua_options *o, pith_error *err)
{
    const pith__texts *entries = &ctx->params.force_context_ids;
    size_t *ids = NULL;
    PITH__TRY(pith__arena_alloc(&ctx->arena, entries->count, sizeof *ids, &ids, err));
    for (size_t i = 0; i < entries->count; i++) {
        ids[i] = (size_t)strtoul(entries->items[i], NULL, 10);
    }
    o->force_context_ids = ids;
    o->force_context_count = entries->count;
    return PITH_OK;
}

pith_status pith__lingua_read_options(pith_ctx *ctx, bool has_question, pith__lingua_options *out,
                                      pith_error *err)
{
    const pith__params *p = &ctx->params;
    const bool paper = p->mode == PITH__MODE_PAPER;
    const bool dynamic = p->method == PITH__METHOD_LONGLLMLINGUA && paper;
    *out = (pith__lingua_options){
        .mode = p->mode == PITH__MODE_OFFICIAL ? PITH__LINGUA_OFFICIAL : PITH__LINGUA_PAPER,
        .rate = p->rate,
        .target_token = p->target_tokens,
        .iterative_size = (size_t)or_default(p->iterative_size, paper ? 100.0 : 200.0),
        .force_context_number = p->force_context_number,
        .use_context_level_filter = p->use_context_level_filter,
        .use_sentence_level_filter = p->use_sentence_level_filter,
        .use_token_level_filter = p->use_token_level_filter,
        .keep_split = p->keep_split,
        .keep_first_sentence = (size_t)p->keep_first_sentence,
        .keep_last_sentence = (size_t)p->keep_last_sentence,
        .keep_sentence_number = (size_t)p->keep_sentence_number,
        .high_priority_bonus = p->high_priority_bonus,
        .context_budget = read_context_budget(p, has_question),
        .token_budget_ratio = p->token_budget_ratio,
        .reorder_context = p->reorder_context == 0 ? PITH__REORDER_ORIGINAL
                                                   : (pith__reorder)(p->reorder_context - 1),
        .dynamic_context_compression_ratio = or_default(p->dynamic_ratio, dynamic ? 0.3 : 0.0),
        .add_instruction = p->add_instruction,
        .rank_method = read_rank_method(p, has_question),
        .concate_question = p->concate_question,
        .strict_preserve_uncompressed = p->strict_preserve_uncompressed,
        .tau_ins = p->tau_ins,
        .tau_que = p->tau_que,
        .seed = (uint64_t)p->seed};
    read_condition(p, out);
    return read_forced(ctx, out, err);
}

/* ---- modes official and paper ------------------------------------------------------------------------ */

typedef struct job {
    pith_ctx *ctx;
    const pith__prompt *prompt;
    pith_allocator mem;
    pith__work all; /* every part in the order given: what offsets are mapped through */
    size_t *bases;  /* (parts) where it stands in `all` */
    pith__lingua_prompt parts;
    pith__lingua_output output;
    pith_error *err;
} job;

/* Tags stand between segments; what stands in none is not compressed. */
static pith_status read_segments(job *j, const pith__reading *part, pith__lingua_context *out)
{
    pith__lingua_segment *all = NULL;
    size_t count = 0;
    size_t at = 0;
    PITH__TRY(
        pith__arena_alloc(&j->ctx->arena, 2 * part->segments.count + 1, sizeof *all, &all, j->err));
    for (size_t i = 0; i <= part->segments.count; i++) {
        const pith__segment *s = i < part->segments.count ? &part->segments.items[i] : NULL;
        const size_t stop = s != NULL ? s->start : part->size;
        if (stop > at) {
            all[count++] = (pith__lingua_segment){at, stop, (double)NAN, false};
        }
        if (s != NULL) {
            all[count++] = (pith__lingua_segment){s->start, s->end, s->rate, true};
            at = s->end;
        }
    }
    out->segments = all;
    out->segment_count = count;
    return PITH_OK;
}

static pith_status make_prompt(job *j)
{
    const pith__prompt *prompt = j->prompt;
    pith__lingua_context *contexts = NULL;
    PITH__TRY(pith__arena_alloc_zero(&j->ctx->arena, prompt->context_count, sizeof *contexts,
                                     &contexts, j->err));
    for (size_t i = 0; i < prompt->context_count; i++) {
        const size_t index = prompt->contexts[i];
        const pith__reading *part = &prompt->parts[index];
        contexts[i].clean = (pith__lingua_text){part->text, part->size};
        contexts[i].tagged =
            (pith__lingua_text){prompt->source + part->start, part->end - part->start};
        j->parts.structured = j->parts.structured || part->is_local;
    }
    for (size_t i = 0; i < prompt->context_count && j->parts.structured; i++) {
        PITH__TRY(read_segments(j, &prompt->parts[prompt->contexts[i]], &contexts[i]));
    }
    j->parts.instruction = pith__prompt_text(prompt, prompt->instruction);
    j->parts.question = pith__prompt_text(prompt, prompt->question);
    j->parts.contexts = contexts;
    j->parts.count = prompt->context_count;
    return PITH_OK;
}

static pith_status lay_out(job *j)
{
    const size_t count = j->prompt->count;
    size_t *order = NULL;
    double *rates = NULL;
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, count, sizeof *order, &order, j->err));
    PITH__TRY(pith__arena_alloc_zero(&j->ctx->arena, count, sizeof *rates, &rates, j->err));
    PITH__TRY(pith__arena_alloc_zero(&j->ctx->arena, count, sizeof *j->bases, &j->bases, j->err));
    for (size_t i = 0; i < count; i++) {
        order[i] = i;
    }
    PITH__TRY(pith__work_build(j->ctx, j->prompt, order, rates, count, &j->all, j->err));
    for (size_t i = 0; i < j->all.place_count; i++) {
        j->bases[j->all.places[i].part] = j->all.places[i].start;
    }
    return PITH_OK;
}

static size_t part_of(const job *j, size_t part)
{
    if (part == PITH__LINGUA_INSTRUCTION) {
        return j->prompt->instruction;
    }
    return part == PITH__LINGUA_QUESTION ? j->prompt->question : j->prompt->contexts[part];
}

static pith_status make_ranges(job *j, pith_range **out)
{
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, j->output.piece_count, sizeof **out, out, j->err));
    for (size_t i = 0; i < j->output.piece_count; i++) {
        const pith__lingua_piece *piece = &j->output.pieces[i];
        const size_t base = j->bases[part_of(j, piece->part)];
        (*out)[i] = (pith_range){base + piece->start, base + piece->end};
    }
    return PITH_OK;
}

typedef struct unit_list {
    pith_unit *items;
    size_t count;
    size_t capacity;
} unit_list;

/* Text that no token stands for: kept or dropped before the token level, range by range. */
static pith_status fill_gap(job *j, unit_list *units, const pith_range *kept, size_t kept_count,
                            size_t start, size_t end, size_t *next)
{
    while (start < end) {
        while (*next < kept_count && kept[*next].end <= start) {
            ++*next;
        }
        const bool has = *next < kept_count && kept[*next].start < end;
        const bool inside = has && kept[*next].start <= start;
        size_t stop = inside ? kept[*next].end : has ? kept[*next].start : end;
        stop = stop < end ? stop : end;
        PITH__TRY(pith__grow(&j->mem, &units->items, &units->capacity, units->count + 1,
                             sizeof *units->items, j->err));
        units->items[units->count++] = (pith_unit){
            .start = start, .end = stop, .nats = NAN, .kept = inside, .is_protected = inside};
        start = stop;
    }
    return PITH_OK;
}

/* The judged tokens in the order of the source, and units for all text between them. */
static pith_status make_units(job *j, const pith_range *ranges, unit_list *out)
{
    const size_t judged_count = j->output.unit_count;
    const size_t kept_count = j->output.piece_count;
    pith_unit *judged = NULL;
    pith_range *kept = NULL;
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, judged_count, sizeof *judged, &judged, j->err));
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, kept_count, sizeof *kept, &kept, j->err));
    for (size_t i = 0; i < judged_count; i++) {
        const size_t base = j->bases[part_of(j, j->output.units[i].part)];
        judged[i] = j->output.units[i].unit;
        judged[i].start += base;
        judged[i].end += base;
    }
    for (size_t i = 0; i < kept_count; i++) {
        kept[i] = ranges[i];
    }
    pith__sort_units(judged, judged_count);
    pith__sort_ranges(kept, kept_count);
    size_t at = 0;
    size_t next = 0;
    for (size_t i = 0; i < judged_count; i++) {
        PITH__TRY(fill_gap(j, out, kept, kept_count, at, judged[i].start, &next));
        PITH__TRY(pith__grow(&j->mem, &out->items, &out->capacity, out->count + 1,
                             sizeof *out->items, j->err));
        out->items[out->count++] = judged[i];
        at = judged[i].end > at ? judged[i].end : at;
    }
    return fill_gap(j, out, kept, kept_count, at, j->all.size, &next);
}

/* Instruction, contexts as they were ordered, question; whatever is empty stands nowhere. */
static pith_status make_places(job *j, size_t **out)
{
    const pith__prompt *prompt = j->prompt;
    size_t contexts = 0;
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, prompt->count, sizeof **out, out, j->err));
    const size_t first = prompt->instruction != PITH__NO_PART ? 1 : 0;
    for (size_t i = 0; i < prompt->context_count; i++) {
        const size_t place = j->output.places[i];
        contexts += place != SIZE_MAX;
        (*out)[prompt->contexts[i]] = place == SIZE_MAX ? SIZE_MAX : first + place;
    }
    if (prompt->instruction != PITH__NO_PART) {
        (*out)[prompt->instruction] = 0;
    }
    if (prompt->question != PITH__NO_PART) {
        (*out)[prompt->question] = j->ctx->params.concate_question ? first + contexts : SIZE_MAX;
    }
    return PITH_OK;
}

static pith_status check(const pith_ctx *ctx, const pith__prompt *prompt, pith_error *err)
{
    if (pith__params_keep(&ctx->params)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "the keep options, drop-consecutive and json-rate need mode pith");
    }
    if (prompt->context_count == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "there is no context to compress");
    }
    return PITH_OK;
}

/* What came of it, still in the arena. */
static pith_status hand_over(job *j, const pith__lm_adapter *lm, pith__outcome *out)
{
    pith_range *ranges = NULL;
    unit_list units = {NULL, 0, 0};
    double *scores = NULL;
    size_t *places = NULL;
    PITH__TRY(make_ranges(j, &ranges));
    PITH__TRY(make_units(j, ranges, &units));
    if (j->output.scores != NULL) {
        PITH__TRY(pith__prompt_spread(j->ctx, j->prompt, j->output.scores, &scores, j->err));
    }
    PITH__TRY(make_places(j, &places));
    *out = (pith__outcome){.text = j->output.text,
                           .size = j->output.size,
                           .map = &j->all.map,
                           .ranges = ranges,
                           .range_count = j->output.piece_count,
                           .units = units.items,
                           .unit_count = units.count,
                           .has_all_units = true,
                           .scores = scores,
                           .places = places,
                           .stats = {.source_tokens = j->prompt->tokens,
                                     .budget_tokens = SIZE_MAX,
                                     .scored_tokens = j->output.scored,
                                     .forward_tokens = lm->forwarded,
                                     .score_seconds = lm->seconds}};
    return PITH_OK;
}

pith_status pith__compress_lingua(pith_ctx *ctx, const pith__prompt *prompt, pith_result *result,
                                  pith_error *err)
{
    job j = {.ctx = ctx, .prompt = prompt, .mem = pith__arena_allocator(&ctx->arena), .err = err};
    pith__lingua_options options;
    pith__lm_adapter lm;
    pith__outcome outcome;
    PITH__TRY(check(ctx, prompt, err));
    PITH__TRY(pith__lingua_read_options(ctx, prompt->question != PITH__NO_PART, &options, err));
    PITH__TRY(lay_out(&j));
    PITH__TRY(make_prompt(&j));
    pith__lm_adapter_init(&lm, ctx);
    const pith_status status =
        pith__lingua_compress(&lm.lm, &options, &j.parts, &ctx->arena, &j.output, err);
    pith__lm_adapter_deinit(&lm);
    PITH__TRY(status);
    PITH__TRY(hand_over(&j, &lm, &outcome));
    return pith__result_fill(ctx, prompt, &outcome, result, err);
}

/* ---- pith_rank, pith_recover --------------------------------------------------------------------------- */

pith_status pith__check_question(const pith_ctx *ctx, const pith__prompt *prompt, pith_error *err)
{
    return ctx->params.method != PITH__METHOD_LONGLLMLINGUA || prompt->question != PITH__NO_PART
               ? PITH_OK
               : pith__fail(err, PITH_E_ARGUMENT, "method longllmlingua needs a question");
}

pith_status pith__rank_contexts(pith_ctx *ctx, pith__lm_adapter *lm, const pith__prompt *prompt,
                                const pith__lingua_options *options, pith__ranking *out,
                                pith_error *err)
{
    pith__lingua_text *texts = NULL;
    const pith__lingua_text query = pith__prompt_text(prompt, prompt->question);
    PITH__TRY(pith__arena_alloc(&ctx->arena, prompt->context_count, sizeof *texts, &texts, err));
    for (size_t i = 0; i < prompt->context_count; i++) {
        texts[i] = pith__prompt_text(prompt, prompt->contexts[i]);
    }
    PITH__TRY(pith__lingua_rank(&lm->lm, options, texts, prompt->context_count, &query, true,
                                &ctx->arena, out, err));
    const bool links = ctx->params.mode == PITH__MODE_PITH &&
                       ctx->params.method == PITH__METHOD_LONGLLMLINGUA &&
                       options->rank_method == PITH__RANK_BM25;
    return links ? pith__lingua_link(texts, &ctx->arena, out, err) : PITH_OK;
}

static pith_status rank(pith_ctx *ctx, const pith_part *parts, size_t count, size_t *order,
                        double *scores, pith_error *err)
{
    pith__prompt prompt;
    pith__lingua_options options;
    pith__ranking ranking;
    pith__lm_adapter lm;
    PITH__TRY(pith__check_method(&ctx->params, err));
    PITH__TRY(pith__prompt_join(ctx, parts, count, &prompt, err));
    PITH__TRY(pith__check_question(ctx, &prompt, err));
    PITH__TRY(pith__prompt_read(ctx, &prompt, err));
    PITH__TRY(pith__lingua_read_options(ctx, prompt.question != PITH__NO_PART, &options, err));
    pith__lm_adapter_init(&lm, ctx);
    const pith_status status = pith__rank_contexts(ctx, &lm, &prompt, &options, &ranking, err);
    pith__lm_adapter_deinit(&lm);
    PITH__TRY(status);
    for (size_t i = 0; i < ranking.count; i++) {
        order[i] = prompt.contexts[ranking.order[i]];
        if (scores != NULL) {
            scores[i] = ranking.scores[ranking.order[i]];
        }
    }
    return PITH_OK;
}

pith_status pith_rank(pith_ctx *ctx, const pith_part *parts, size_t count, size_t *order,
                      double *scores, pith_error *err)
{
    const pith_status status = rank(ctx, parts, count, order, scores, err);
    pith__arena_reset(&ctx->arena);
    return status;
}
