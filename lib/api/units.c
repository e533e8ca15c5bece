/*
 * units.c: modes pith and paper of Selective Context, mode pith of LLMLingua:
 *
 *     readings -> contexts that stay -> working text -> self-information -> units -> selection
 */
#include "api/prompt.h"

#include <math.h>
#include <string.h>

/* The largest share of the budget that a piece of structure may take. */
#define ATOM_SHARE 0.5

typedef struct job {
    pith_ctx *ctx;
    pith_allocator mem; /* the arena as an allocator */
    const pith__prompt *prompt;
    pith__lingua_options options;
    pith__lm_adapter *lm;
    bool is_lingua;
    size_t *order; /* (count) parts in the order of the output */
    double *rates; /* (count) of order[i] */
    size_t count;
    double *scores; /* (parts) of the ranker; NULL: not ranked */
    size_t *places; /* (parts) */
    size_t budget;  /* SIZE_MAX: none */
    pith__work work;
    pith__scored scored;
    pith__units units;
    pith__kept kept;
    pith_error *err;
} job;

/* ---- the budget --------------------------------------------------------------------------------- */

/* The share `rate` of `tokens`, never above: 0.29 of 100 is 29 in spite of binary fractions. */
static double share_of(double rate, size_t tokens)
{
    return floor(rate * (double)tokens + 1e-9);
}

/* Tokens that the segments of a part give up, each by its own rate. */
static pith_status given_up(job *j, const pith__reading *part, double *out)
{
    *out = 0.0;
    for (size_t i = 0; i < part->segments.count; i++) {
        const pith__segment *s = &part->segments.items[i];
        const double rate = isnan(s->rate) ? j->ctx->params.rate : s->rate;
        size_t tokens = 0;
        PITH__TRY(pith__count(j->ctx, part->text + s->start, s->end - s->start, &tokens, j->err));
        *out += (double)tokens - share_of(rate, tokens);
    }
    return PITH_OK;
}

static bool has_local_part(const pith__prompt *prompt)
{
    for (size_t i = 0; i < prompt->count; i++) {
        if (prompt->parts[i].is_local) {
            return true;
        }
    }
    return false;
}

/*
 * A rate is a share of the whole prompt. Where a context has rates of its own (JSON, chat, tags),
 * it is one of that context's segments only, and instruction and question do not count in it.
 */
static pith_status find_budget(job *j)
{
    const pith__params *p = &j->ctx->params;
    if (p->target_tokens >= 0.0) {
        j->budget = (size_t)p->target_tokens;
        return PITH_OK;
    }
    size_t in_contexts = 0;
    for (size_t i = 0; i < j->prompt->context_count; i++) {
        in_contexts += j->prompt->parts[j->prompt->contexts[i]].tokens;
    }
    if (in_contexts == 0) {
        j->budget = j->prompt->tokens; /* there is nothing to take a share of */
        return PITH_OK;
    }
    const bool is_local = has_local_part(j->prompt);
    size_t plain = j->prompt->tokens;
    double local = 0.0;
    for (size_t i = 0; i < j->prompt->count && is_local; i++) {
        const pith__reading *part = &j->prompt->parts[i];
        double less = 0.0;
        if (part->is_local) {
            PITH__TRY(given_up(j, part, &less));
        }
        if (part->is_local || part->role != PITH_CONTEXT) {
            const bool is_out = part->role == PITH_QUESTION && !p->concate_question;
            plain -= part->tokens < plain ? part->tokens : plain;
            /* segments counted one by one may have more tokens than the part that they make */
            local += is_out ? 0.0 : fmax((double)part->tokens - less, 0.0);
        }
    }
    j->budget = (size_t)(share_of(p->rate, plain) + local);
    return PITH_OK;
}

/* ---- which contexts stay -------------------------------------------------------------------------- */

static pith_status init_order(job *j)
{
    const size_t parts = j->prompt->count;
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, parts, sizeof *j->order, &j->order, j->err));
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, parts, sizeof *j->rates, &j->rates, j->err));
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, parts, sizeof *j->places, &j->places, j->err));
    for (size_t i = 0; i < parts; i++) {
        j->places[i] = SIZE_MAX;
    }
    return PITH_OK;
}

static void put(job *j, size_t part, double rate)
{
    j->places[part] = j->count;
    j->order[j->count] = part;
    j->rates[j->count++] = rate;
}

/* Tokens of the budget that are left for the contexts. */
static double room_for_contexts(const job *j)
{
    const pith__prompt *prompt = j->prompt;
    double room = (double)j->budget;
    if (prompt->instruction != PITH__NO_PART) {
        room -= (double)prompt->parts[prompt->instruction].tokens;
    }
    if (prompt->question != PITH__NO_PART && j->ctx->params.concate_question) {
        room -= (double)prompt->parts[prompt->question].tokens;
    }
    return room > 0.0 ? room : 0.0;
}

static double clamp_rate(double rate)
{
    return rate < 0.0 ? 0.0 : rate > 1.0 ? 1.0 : rate;
}

/* Contexts `kept` (indices of prompt->contexts), with `change` on top of the rate they have in common. */
static void put_contexts(job *j, const size_t *kept, const double *change, size_t count)
{
    double tokens = 0.0;
    for (size_t i = 0; i < count; i++) {
        tokens += (double)j->prompt->parts[j->prompt->contexts[kept[i]]].tokens;
    }
    const double rate = tokens > 0.0 ? room_for_contexts(j) / tokens : 1.0;
    for (size_t i = 0; i < count; i++) {
        const size_t part = j->prompt->contexts[kept[i]];
        const double own = j->prompt->parts[part].is_local ? j->ctx->params.rate : rate;
        put(j, part, clamp_rate(own + (change != NULL ? change[i] : 0.0)));
    }
}

static pith_status put_all_contexts(job *j)
{
    size_t *all = NULL;
    const size_t count = j->prompt->context_count;
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, count, sizeof *all, &all, j->err));
    for (size_t i = 0; i < count; i++) {
        all[i] = i;
    }
    put_contexts(j, all, NULL, count);
    return PITH_OK;
}

static pith_status rank_contexts(job *j, pith__ranking *out)
{
    const pith__prompt *prompt = j->prompt;
    PITH__TRY(pith__rank_contexts(j->ctx, j->lm, prompt, &j->options, out, j->err));
    return pith__prompt_spread(j->ctx, prompt, out->scores, &j->scores, j->err);
}

/* Puts the contexts into their order; `drops` those beyond what is wanted of the best. */
static pith_status put_ranked_contexts(job *j, const pith__ranking *ranking, bool drops)
{
    const pith__prompt *prompt = j->prompt;
    const size_t count = prompt->context_count;
    pith__coarse coarse;
    size_t *lengths = NULL;
    bool *forced = NULL;
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, count, sizeof *lengths, &lengths, j->err));
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, count, sizeof *forced, &forced, j->err));
    for (size_t i = 0; i < count; i++) {
        const pith__reading *part = &prompt->parts[prompt->contexts[i]];
        lengths[i] = part->tokens;
        forced[i] = part->by_rule.count > 0 || /* protected text is inviolate */
                    (j->options.strict_preserve_uncompressed && part->has_uncompressed);
    }
    const bool fits = j->budget >= prompt->tokens;
    const double room = drops && !fits ? room_for_contexts(j) : (double)INFINITY;
    const pith__coarse_input input = {ranking, lengths, forced, room};
    PITH__TRY(pith__lingua_coarse(&j->options, &input, &j->ctx->arena, &coarse, j->err));
    put_contexts(j, coarse.kept, coarse.change, coarse.count);
    return PITH_OK;
}

static pith_status choose_contexts(job *j)
{
    const pith__prompt *prompt = j->prompt;
    PITH__TRY(init_order(j));
    if (prompt->instruction != PITH__NO_PART) {
        put(j, prompt->instruction, 1.0);
    }
    const bool several = j->is_lingua && prompt->context_count > 1;
    const bool shortens = j->budget < prompt->tokens;
    const bool limits = j->options.force_context_number >= 0.0;
    const bool drops =
        (shortens || limits) && j->options.use_context_level_filter && !has_local_part(prompt);
    if (several && (shortens || limits || j->options.reorder_context != PITH__REORDER_ORIGINAL)) {
        pith__ranking ranking;
        PITH__TRY(rank_contexts(j, &ranking));
        PITH__TRY(put_ranked_contexts(j, &ranking, drops));
    } else {
        PITH__TRY(put_all_contexts(j));
    }
    if (prompt->question != PITH__NO_PART && j->ctx->params.concate_question) {
        put(j, prompt->question, 1.0);
    }
    return PITH_OK;
}

/*
 * A table or a block of code that would take most of the budget by itself is better shortened
 * line by line than lost.
 */
static void release_large_atoms(job *j)
{
    pith__spans *atoms = &j->work.atoms;
    const double tokens_per_byte =
        j->prompt->size > 0 ? (double)j->prompt->tokens / (double)j->prompt->size : 0.0;
    size_t count = 0;
    for (size_t i = 0; i < atoms->count; i++) {
        const double tokens =
            (double)(atoms->items[i].end - atoms->items[i].start) * tokens_per_byte;
        if (tokens <= ATOM_SHARE * (double)j->budget) {
            atoms->items[count++] = atoms->items[i];
        }
    }
    atoms->count = count;
}

/* ---- units ------------------------------------------------------------------------------------------ */

/* What is kept or dropped as a whole; without a token level, what the filters work on. */
static pith__level level_of(const job *j)
{
    if (j->is_lingua && !j->options.use_token_level_filter) {
        return PITH__LEVEL_SENTENCE;
    }
    return (pith__level)j->ctx->params.level;
}

static pith_status split(job *j, pith__spans *out)
{
    const char *text = j->work.text;
    const size_t size = j->work.size;
    if (j->is_lingua && !j->options.use_token_level_filter &&
        !j->options.use_sentence_level_filter) {
        for (size_t i = 0; i < j->work.place_count; i++) {
            const pith__place *place = &j->work.places[i];
            PITH__TRY(
                pith__spans_push(out, &j->mem, place->start, place->end, PITH__SPAN_WORD, j->err));
        }
        return PITH_OK;
    }
    switch (level_of(j)) {
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

/* Longer runs of digits are no numbers that anybody reads. */
#define NUMBER_MAX ((size_t)64)

/* Half a number is a wrong number, so tokens that share one are one unit. */
static pith_status join_numbers(job *j, pith__graphemes *graphemes)
{
    pith__protect *numbers = NULL;
    pith__spans spans = {NULL, 0, 0};
    PITH__TRY(pith__protect_new(&j->mem, PITH__PROTECT_NUMBERS, &numbers, j->err));
    const pith_status status =
        pith__protect_apply(numbers, j->work.text, j->work.size, &j->mem, &spans, j->err);
    pith__protect_free(numbers);
    for (size_t i = 0; i < spans.count; i++) {
        if (spans.items[i].end - spans.items[i].start <= NUMBER_MAX) {
            pith__graphemes_join(graphemes, spans.items[i].start, spans.items[i].end);
        }
    }
    return status;
}

/* Characters, and what else is never cut. */
static pith_status find_characters(job *j, pith__graphemes *out)
{
    const pith__work *w = &j->work;
    PITH__TRY(pith__text_graphemes(w->text, w->size, &j->mem, out, j->err));
    if (level_of(j) == PITH__LEVEL_TOKEN) {
        PITH__TRY(join_numbers(j, out));
    }
    for (size_t i = 0; i < w->joined.count; i++) {
        pith__graphemes_join(out, w->joined.items[i].start, w->joined.items[i].end);
    }
    for (size_t i = 0; i < w->atoms.count; i++) {
        pith__graphemes_join(out, w->atoms.items[i].start, w->atoms.items[i].end);
    }
    return PITH_OK;
}

static pith_status build_units(job *j, const pith__hard_source *clean, const pith__spans *spans)
{
    const pith__unit_input input = {.tokens = j->scored.tokens,
                                    .token_count = j->scored.count,
                                    .spans = spans->items,
                                    .span_count = spans->count,
                                    .cuts = j->work.cuts,
                                    .cut_count = j->work.cut_count,
                                    .protect = j->work.fixed.items,
                                    .protect_count = j->work.fixed.count,
                                    .aggregate = aggregate_of(&j->ctx->params)};
    return pith__units_build(clean, &input, &j->ctx->arena, &j->units, j->err);
}

/* ---- self-information ----------------------------------------------------------------------------------- */

static pith_status score_plainly(job *j)
{
    pith__spans sentences = {NULL, 0, 0};
    const bool by_sentence = j->ctx->params.score_by == 1;
    if (by_sentence) {
        PITH__TRY(pith__text_sentences(j->work.text, j->work.size, &j->mem, &sentences, j->err));
    }
    return pith__score_text(j->ctx, j->work.text, j->work.size, by_sentence ? &sentences : NULL,
                            &j->scored, j->err);
}

/* BOS, then what the method reads before the text: the question, or instruction and question. */
static pith_status read_prefix(job *j, uint32_t **ids, size_t *count)
{
    const pith__lm *lm = &j->lm->lm;
    const pith__prompt *prompt = j->prompt;
    pith__buf text;
    pith__lm_tokens tokens;
    pith__buf_init(&text, &j->mem, SIZE_MAX);
    if (j->options.condition_prefix) {
        const pith__lingua_text question = pith__prompt_text(prompt, prompt->question);
        const pith__lingua_text instruction = pith__prompt_text(prompt, prompt->instruction);
        PITH__TRY(pith__buf_append(&text, question.text, question.size, j->err));
        if (j->options.add_instruction && instruction.size > 0) {
            PITH__TRY(pith__buf_append_text(&text, PITH__JOINER, j->err));
            PITH__TRY(pith__buf_append(&text, instruction.text, instruction.size, j->err));
        }
        PITH__TRY(pith__buf_append_text(&text, PITH__JOINER, j->err));
    }
    PITH__TRY(lm->tokenize(lm->user, text.data, text.size, &j->ctx->arena, &tokens, j->err));
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, tokens.count + 1, sizeof **ids, ids, j->err));
    *count = 0;
    if (lm->bos != PITH__LM_NONE) {
        (*ids)[(*count)++] = lm->bos;
    }
    for (size_t i = 0; i < tokens.count; i++) {
        (*ids)[(*count)++] = tokens.items[i].id;
    }
    return PITH_OK;
}

/* Of every token: its unit, whether it stays in any case, and the rate around it. */
typedef struct around {
    uint32_t *ids;
    size_t *unit_of;
    bool *is_fixed;
    float *rates;
} around;

static pith_status look_around(job *j, around *a)
{
    const pith__work *w = &j->work;
    const size_t count = j->scored.count;
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, count, sizeof *a->ids, &a->ids, j->err));
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, count, sizeof *a->unit_of, &a->unit_of, j->err));
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, count, sizeof *a->is_fixed, &a->is_fixed, j->err));
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, count, sizeof *a->rates, &a->rates, j->err));
    size_t unit = 0;
    size_t segment = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t start = j->scored.tokens[i].start;
        while (unit + 1 < j->units.count && j->units.items[unit].end <= start) {
            unit++;
        }
        while (segment < w->segments.count && w->segments.items[segment].end <= start) {
            segment++;
        }
        const bool inside =
            segment < w->segments.count && w->segments.items[segment].start <= start;
        a->ids[i] = j->scored.tokens[i].id;
        a->unit_of[i] = unit;
        a->is_fixed[i] = j->units.items[unit].is_protected;
        a->rates[i] = inside ? (float)w->segments.items[segment].rate : 1.0F;
    }
    return PITH_OK;
}

/* Every window given what was kept of those before. */
static pith_status score_iteratively(job *j)
{
    around a;
    uint32_t *prefix = NULL;
    size_t prefix_count = 0;
    float *nats = NULL;
    PITH__TRY(look_around(j, &a));
    PITH__TRY(read_prefix(j, &prefix, &prefix_count));
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, j->scored.count, sizeof *nats, &nats, j->err));
    const pith__iterate_input input = {.ids = a.ids,
                                       .count = j->scored.count,
                                       .unit_of = a.unit_of,
                                       .is_fixed = a.is_fixed,
                                       .rates = a.rates,
                                       .prefix = prefix,
                                       .prefix_count = prefix_count,
                                       .window = j->options.iterative_size,
                                       .aggregate = aggregate_of(&j->ctx->params)};
    PITH__TRY(pith__lingua_iterate(&j->lm->lm, 0, &input, &j->ctx->arena, nats, j->err));
    for (size_t i = 0; i < j->scored.count; i++) {
        j->scored.tokens[i].nats = nats[i];
    }
    return PITH_OK;
}

static pith_status tokenize(job *j)
{
    pith__lm_tokens tokens;
    PITH__TRY(j->lm->lm.tokenize(j->lm->lm.user, j->work.text, j->work.size, &j->ctx->arena,
                                 &tokens, j->err));
    j->scored = (pith__scored){.tokens = tokens.items, .count = tokens.count};
    j->lm->total = j->lm->done + tokens.count;
    return PITH_OK;
}

static pith_status score_units(job *j, pith__hard_source *clean)
{
    pith__graphemes *graphemes = NULL;
    pith__spans spans = {NULL, 0, 0};
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, 1, sizeof *graphemes, &graphemes, j->err));
    PITH__TRY(find_characters(j, graphemes));
    PITH__TRY(split(j, &spans));
    *clean = (pith__hard_source){.text = j->work.text,
                                 .size = j->work.size,
                                 .graphemes = graphemes,
                                 .protect = j->work.fixed.items,
                                 .protect_count = j->work.fixed.count,
                                 .edges = j->work.edges,
                                 .edge_count = j->work.edge_count};
    if (j->is_lingua) {
        PITH__TRY(tokenize(j));
        PITH__TRY(build_units(j, clean, &spans)); /* windows end between units */
        PITH__TRY(score_iteratively(j));
    } else {
        PITH__TRY(score_plainly(j));
    }
    return build_units(j, clean, &spans);
}

/* ---- selection ------------------------------------------------------------------------------------------- */

static pith_status count_tokens(void *user, const char *text, size_t size, size_t *count,
                                pith_error *err)
{
    return pith__count(user, text, size, count, err);
}

static pith_status keep_protected(job *j, const pith__hard_source *clean)
{
    for (size_t i = 0; i < j->units.count; i++) {
        j->units.items[i].kept = j->units.items[i].is_protected;
    }
    return pith__kept_render(clean, &j->units, &j->ctx->arena, &j->kept, j->err);
}

static pith_status select_budget(job *j, const pith__hard_source *clean)
{
    const pith__counter counter = {count_tokens, j->ctx};
    pith__arena *arena = &j->ctx->arena;
    const pith_status status =
        pith__select_budget(clean, &j->units, &counter, j->budget, arena, &j->kept, j->err);
    /* rates of segments cannot ask for less than what is around the segments */
    if (status == PITH_E_BUDGET && j->work.is_local && j->ctx->params.target_tokens < 0.0) {
        PITH__TRY(keep_protected(j, clean));
        PITH__TRY(pith__count(j->ctx, j->kept.text, j->kept.size, &j->budget, j->err));
        return PITH_OK;
    }
    return status;
}

/* Without the white space around it. */
static pith__span trimmed(const char *text, const pith__span *span)
{
    pith__span out = *span;
    while (out.start < out.end && strchr(" \t\r\n", text[out.start]) != NULL) {
        out.start++;
    }
    while (out.end > out.start && strchr(" \t\r\n", text[out.end - 1]) != NULL) {
        out.end--;
    }
    return out;
}

/* A unit without the white space around it, which words bring along. */
static pith__span words_of(const job *j, size_t unit)
{
    const pith_unit *u = &j->units.items[unit];
    const pith__span all = {u->start, u->end, PITH__SPAN_WORD};
    return trimmed(j->work.text, &all);
}

/* Whether anything but white space is kept of the units from `*unit` on whose words begin before
 * `end`. */
static bool is_kept_before(const job *j, size_t *unit, size_t end)
{
    bool found = false;
    for (; *unit < j->units.count; ++*unit) {
        const pith__span words = words_of(j, *unit);
        if (words.start >= end) {
            break;
        }
        found = found || (j->units.items[*unit].kept && words.end > words.start);
    }
    return found;
}

/* Drops the units of a span, of which `unit` is the first, and the white space before them; false
 * if none of them was kept. */
static bool give_up(job *j, const pith__span *span, size_t unit)
{
    bool found = false;
    for (; unit < j->units.count; unit++) {
        const pith__span words = words_of(j, unit);
        if (words.start >= span->end) {
            break;
        }
        if (words.start >= span->start && words.end <= span->end) {
            found = found || j->units.items[unit].kept;
            j->units.items[unit].kept = false;
            j->units.items[unit].is_protected = false;
        }
    }
    return found;
}

/* Drops protected text that follows its like. It and what could come between are last from now on. */
static bool give_up_repeated(job *j, float *keys)
{
    const pith__spans *kept = &j->work.by_rule;
    const char *text = j->work.text;
    bool found = false;
    size_t unit = 0;
    size_t behind = 0; /* the first unit behind the span before */
    for (size_t i = 0, last = 0; i < kept->count; i++) {
        const pith__span a = trimmed(text, &kept->items[last]);
        const pith__span b = trimmed(text, &kept->items[i]);
        const bool between = is_kept_before(j, &unit, b.start);
        const bool same = i > 0 && !between && a.end - a.start == b.end - b.start &&
                          memcmp(text + a.start, text + b.start, b.end - b.start) == 0;
        const size_t first = unit;
        (void)is_kept_before(j, &unit, b.end);
        if (same) {
            found = give_up(j, &b, first) || found;
            for (size_t k = behind; k < unit; k++) {
                keys[k] = -INFINITY;
            }
        } else {
            last = i;
        }
        behind = unit;
    }
    return found;
}

/*
 * Text that a keep option asked for and that would follow its like in the output, with nothing
 * but white space between, stays once. The tokens it took go to other units.
 */
static pith_status drop_repeated(job *j, const pith__hard_source *clean)
{
    float *keys = NULL;
    PITH__TRY(pith__arena_alloc(&j->ctx->arena, j->units.count, sizeof *keys, &keys, j->err));
    for (size_t i = 0; i < j->units.count; i++) {
        keys[i] = j->units.keys != NULL ? j->units.keys[i] : j->units.items[i].nats;
    }
    if (!give_up_repeated(j, keys)) {
        return PITH_OK;
    }
    j->units.keys = keys;
    PITH__TRY(select_budget(j, clean));
    /* with room for all of it, it came back */
    return give_up_repeated(j, keys)
               ? pith__kept_render(clean, &j->units, &j->ctx->arena, &j->kept, j->err)
               : PITH_OK;
}

/* Which places have a byte in the output. */
static pith_status find_kept_places(job *j, bool **out)
{
    const pith__work *w = &j->work;
    PITH__TRY(pith__arena_alloc_zero(&j->ctx->arena, w->place_count, sizeof **out, out, j->err));
    size_t range = 0;
    for (size_t i = 0; i < w->place_count; i++) {
        while (range < j->kept.range_count && j->kept.ranges[range].end <= w->places[i].start) {
            range++;
        }
        (*out)[i] = range < j->kept.range_count && j->kept.ranges[range].start < w->places[i].end;
    }
    return PITH_OK;
}

/* An empty line stands between two parts of which something is left, not before or after them all. */
static pith_status drop_loose_joiners(job *j, const pith__hard_source *clean)
{
    const pith__place *places = j->work.places;
    const size_t count = j->work.place_count;
    bool *is_kept = NULL;
    PITH__TRY(find_kept_places(j, &is_kept));
    size_t first = 0;
    size_t last = count;
    bool found = false;
    while (first < count && !is_kept[first]) {
        first++;
    }
    while (last > first && !is_kept[last - 1]) {
        last--;
    }
    for (size_t i = 0, place = 0; i < j->units.count; i++) {
        pith_unit *unit = &j->units.items[i];
        while (place + 1 < count && places[place + 1].start <= unit->start) {
            place++;
        }
        const bool is_joiner = place + 1 < count && unit->start >= places[place].end;
        if (is_joiner && (place < first || place + 1 >= last)) {
            found = found || unit->kept;
            unit->kept = false;
        }
    }
    return found ? pith__kept_render(clean, &j->units, &j->ctx->arena, &j->kept, j->err) : PITH_OK;
}

static pith_status select_units(job *j, const pith__hard_source *clean)
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
    const pith__keys_input keys = {.prompt = j->prompt,
                                   .work = &j->work,
                                   .scored = &j->scored,
                                   .options = j->is_lingua ? &j->options : NULL,
                                   .lm = &j->lm->lm,
                                   .scores = j->scores,
                                   .room = room_for_contexts(j)};
    PITH__TRY(pith__keys_build(j->ctx, &keys, &j->units, j->err));
    PITH__TRY(select_budget(j, clean));
    return p->drop_consecutive ? drop_repeated(j, clean) : PITH_OK;
}

/* ---- all of it -------------------------------------------------------------------------------------------- */

static pith_status run(job *j)
{
    const pith__params *p = &j->ctx->params;
    pith__hard_source clean;
    PITH__TRY(find_budget(j));
    PITH__TRY(choose_contexts(j));
    PITH__TRY(pith__work_build(j->ctx, j->prompt, j->order, j->rates, j->count, &j->work, j->err));
    release_large_atoms(j);
    PITH__TRY(score_units(j, &clean));
    PITH__TRY(select_units(j, &clean));
    PITH__TRY(drop_loose_joiners(j, &clean));
    if (p->mode != PITH__MODE_PITH || p->percentile >= 0.0) {
        j->budget = SIZE_MAX;
    }
    return PITH_OK;
}

pith_status pith__compress_units(pith_ctx *ctx, const pith__prompt *prompt, pith_result *result,
                                 pith_error *err)
{
    pith__lm_adapter lm;
    job j = {.ctx = ctx,
             .mem = pith__arena_allocator(&ctx->arena),
             .prompt = prompt,
             .lm = &lm,
             .is_lingua = ctx->params.method != PITH__METHOD_SELECTIVE,
             .err = err};
    PITH__TRY(pith__lingua_read_options(ctx, prompt->question != PITH__NO_PART, &j.options, err));
    pith__lm_adapter_init(&lm, ctx);
    const pith_status status = run(&j);
    pith__lm_adapter_deinit(&lm);
    PITH__TRY(status);
    const pith__outcome outcome = {.text = j.kept.text,
                                   .size = j.kept.size,
                                   .map = &j.work.map,
                                   .ranges = j.kept.ranges,
                                   .range_count = j.kept.range_count,
                                   .units = j.units.items,
                                   .unit_count = j.units.count,
                                   .scores = j.scores,
                                   .places = j.places,
                                   .stats = {.source_tokens = prompt->tokens,
                                             .budget_tokens = j.budget,
                                             .scored_tokens = j.scored.count,
                                             .forward_tokens = j.scored.forwarded + lm.forwarded,
                                             .score_seconds = j.scored.seconds + lm.seconds}};
    return pith__result_fill(ctx, prompt, &outcome, result, err);
}
