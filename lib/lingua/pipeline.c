/*
 * pipeline.c: compress_prompt() of the release and the method of the papers: budgets, contexts,
 * sentences, then tokens.
 */
#include "lingua/lingua_internal.h"

#include <math.h>
#include <string.h>

#define JOINER      "\n\n"
#define JOINER_SIZE 2

/* The release's token id of a line break, which it is in LLaMA's vocabulary. */
#define RELEASED_SPLIT 13

typedef struct pipeline {
    const pith__lm *lm;
    const pith__lingua_rules *rules;
    pith__lingua_options options; /* as they act together */
    pith__lingua_prompt prompt;   /* `contexts` with the segments that count */
    pith__arena *arena;
    pith__lingua_output *out;
    /* budget, in tokens */
    size_t *lengths; /* (prompt.count) without tags */
    double total;    /* of all contexts; for the release with tags */
    size_t instruction;
    size_t question;
    double budget;       /* for contexts */
    double segment_rate; /* of a segment that has none */
    double leftover;     /* what the contexts leave, a share of instruction and question */
    /* contexts that are left, in the order of the output */
    size_t *kept;
    double *change; /* of their rates */
    size_t count;
    pith__sentences sentences;
    size_t sentence; /* the next one for the working text */
    bool by_sentences;
    bool prefixed;
    pith__working working;
    bool *forced; /* (tokens) by keep_split; NULL: none */
    bool *split;
} pipeline;

static double clamp(double value)
{
    return value < 0.0 ? 0.0 : value > 1.0 ? 1.0 : value;
}

/* ---- options ------------------------------------------------------------------------------------- */

static pith_status check(const pith__lingua_options *options, const pith__lingua_prompt *prompt,
                         const pith__lingua_rules *rules, pith_error *err)
{
    if (!(options->rate >= 0.0 && options->rate <= 1.0)) {
        return pith__fail(err, PITH_E_ARGUMENT, "rate %g is not within 0..1", options->rate);
    }
    if (options->iterative_size == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "iterative-size is 0");
    }
    if (prompt->question.size > 0) {
        return PITH_OK;
    }
    if (options->rank_method == PITH__RANK_LONGLLMLINGUA) {
        return pith__fail(err, PITH_E_ARGUMENT, "rank-method longllmlingua needs a question");
    }
    if (options->condition_compare && rules->compresses_ends) {
        return pith__fail(err, PITH_E_ARGUMENT, "condition-compare needs a question");
    }
    return PITH_OK;
}

/* What options imply of one another. */
static void settle_condition(pipeline *p)
{
    pith__lingua_options *o = &p->options;
    o->condition_prefix = o->condition_prefix || o->condition_compare;
    /* once "_condition" is appended, "none" is not what the release looks for */
    const bool is_none = o->condition == PITH__CONDITION_NONE &&
                         !(p->rules->prefix_hides_none && o->condition_prefix);
    if (o->rank_method == PITH__RANK_LONGLLMLINGUA && is_none) {
        o->condition = PITH__CONDITION_AFTER;
    } else if (o->rank_method == PITH__RANK_LLMLINGUA && p->rules->ignores_condition) {
        o->condition = PITH__CONDITION_NONE;
    }
    const bool empty = p->rules->compresses_ends && p->prompt.question.size == 0;
    p->prefixed = o->condition_prefix && !empty;
}

static pith_status settle_contexts(pipeline *p, pith_error *err)
{
    const size_t count = p->prompt.count;
    const bool tags = p->prompt.structured || !p->rules->tags_need_structured;
    pith__lingua_context *contexts = NULL;
    PITH__TRY(pith__arena_alloc(p->arena, count, sizeof *contexts, &contexts, err));
    for (size_t i = 0; i < count; i++) {
        contexts[i] = p->prompt.contexts[i];
        if (!tags) {
            contexts[i].segments = NULL;
        }
        if (contexts[i].segments == NULL) {
            contexts[i].segment_count = 0;
        }
    }
    p->prompt.contexts = contexts;
    return PITH_OK;
}

/* ---- budgets ------------------------------------------------------------------------------------- */

static pith_status measure(pipeline *p, pith_error *err)
{
    const size_t specials = p->rules->counts_specials ? pith__lingua_specials(p->lm) : 0;
    const bool tagged = p->rules->tags_need_structured && p->prompt.structured;
    PITH__TRY(pith__arena_alloc(p->arena, p->prompt.count, sizeof *p->lengths, &p->lengths, err));
    p->total = 0.0;
    for (size_t i = 0; i < p->prompt.count; i++) {
        const pith__lingua_context *context = &p->prompt.contexts[i];
        PITH__TRY(pith__lingua_length(p->lm, &context->clean, p->arena, &p->lengths[i], err));
        p->lengths[i] += specials;
        size_t length = p->lengths[i];
        if (tagged) {
            PITH__TRY(pith__lingua_length(p->lm, &context->tagged, p->arena, &length, err));
            length += specials;
        }
        p->total += (double)length;
    }
    PITH__TRY(pith__lingua_length(p->lm, &p->prompt.instruction, p->arena, &p->instruction, err));
    PITH__TRY(pith__lingua_length(p->lm, &p->prompt.question, p->arena, &p->question, err));
    p->instruction += specials;
    p->question += specials;
    return PITH_OK;
}

static void release_budget(pipeline *p)
{
    const double contexts = p->total;
    const double instruction = (double)p->instruction;
    const double question = (double)p->question;
    p->segment_rate = p->options.rate;
    if (p->options.target_token >= 0.0) {
        p->budget = p->options.target_token;
        p->segment_rate = contexts > 0.0 ? p->budget / contexts : 1.0;
        return;
    }
    p->budget = (instruction + question + contexts) * p->options.rate - instruction -
                (p->options.concate_question ? question : 0.0);
}

/* Section 4.1: what instruction and question do not take; beyond what the contexts have, too. */
static void paper_budget(pipeline *p)
{
    const double ends = (double)p->instruction + (double)p->question;
    const double all = p->total + ends;
    double share = p->options.rate;
    if (p->options.target_token >= 0.0) {
        share = all > 0.0 ? clamp(p->options.target_token / all) : 1.0;
    }
    p->segment_rate = share;
    p->budget = share * all - p->options.tau_ins * (double)p->instruction -
                p->options.tau_que * (double)p->question;
}

/* Delta tau: what k * tau_dems * L_dems is more than the contexts that are left. */
static void paper_leftover(pipeline *p)
{
    double spent = 0.0;
    for (size_t i = 0; i < p->count; i++) {
        spent += (double)p->lengths[p->kept[i]];
    }
    const double budget = p->budget < 0.0 ? 0.0 : p->budget;
    const double left = pith__lingua_change_budget(&p->options.context_budget, budget) - spent;
    const size_t ends = p->instruction + p->question;
    p->leftover = left > 0.0 && ends > 0 ? left / (double)ends : 0.0;
}

static pith_status find_budget(pipeline *p, pith_error *err)
{
    PITH__TRY(measure(p, err));
    if (!p->rules->compresses_ends) {
        release_budget(p);
        return PITH_OK;
    }
    if (!p->options.concate_question) {
        p->question = 0; /* only ever a condition */
    }
    paper_budget(p);
    return PITH_OK;
}

/* ---- contexts ------------------------------------------------------------------------------------ */

static bool *find_preserved(const pipeline *p, bool *preserved)
{
    for (size_t i = 0; i < p->prompt.count; i++) {
        const pith__lingua_context *context = &p->prompt.contexts[i];
        for (size_t s = 0; s < context->segment_count; s++) {
            preserved[i] = preserved[i] || !context->segments[s].compress;
        }
    }
    return preserved;
}

static pith_status rank_contexts(pipeline *p, pith__ranking *ranking, pith_error *err)
{
    pith__lingua_text *texts = NULL;
    PITH__TRY(pith__arena_alloc(p->arena, p->prompt.count, sizeof *texts, &texts, err));
    for (size_t i = 0; i < p->prompt.count; i++) {
        texts[i] = p->prompt.contexts[i].clean;
    }
    PITH__TRY(pith__lingua_rank(p->lm, &p->options, texts, p->prompt.count, &p->prompt.question,
                                true, p->arena, ranking, err));
    p->out->scores = ranking->scores;
    return PITH_OK;
}

static pith_status filter_contexts(pipeline *p, pith_error *err)
{
    bool *preserved = NULL;
    pith__ranking ranking = {0};
    pith__coarse coarse = {0};
    PITH__TRY(rank_contexts(p, &ranking, err));
    PITH__TRY(
        pith__arena_alloc_zero(p->arena, p->prompt.count, sizeof *preserved, &preserved, err));
    const pith__coarse_input input = {
        .ranking = &ranking,
        .lengths = p->lengths,
        .forced = p->options.strict_preserve_uncompressed ? find_preserved(p, preserved) : NULL,
        .budget = p->budget};
    PITH__TRY(pith__lingua_coarse(&p->options, &input, p->arena, &coarse, err));
    p->kept = coarse.kept;
    p->change = coarse.change;
    p->count = coarse.count;
    return PITH_OK;
}

static pith_status choose_contexts(pipeline *p, pith_error *err)
{
    size_t *places = NULL;
    if (p->prompt.count > 1 && p->options.use_context_level_filter) {
        PITH__TRY(filter_contexts(p, err));
    } else {
        p->count = p->prompt.count;
        PITH__TRY(pith__arena_alloc(p->arena, p->count, sizeof *p->kept, &p->kept, err));
        PITH__TRY(pith__arena_alloc_zero(p->arena, p->count, sizeof *p->change, &p->change, err));
        for (size_t i = 0; i < p->count; i++) {
            p->kept[i] = i;
        }
    }
    PITH__TRY(pith__arena_alloc(p->arena, p->prompt.count, sizeof *places, &places, err));
    for (size_t i = 0; i < p->prompt.count; i++) {
        places[i] = SIZE_MAX;
    }
    for (size_t i = 0; i < p->count; i++) {
        places[p->kept[i]] = i;
    }
    p->out->places = places;
    if (p->rules->compresses_ends) {
        paper_leftover(p);
    }
    return PITH_OK;
}

static pith_status choose_sentences(pipeline *p, pith_error *err)
{
    p->by_sentences = p->options.use_sentence_level_filter;
    if (!p->by_sentences) {
        return PITH_OK;
    }
    return pith__lingua_sentences(p->lm, &p->options, &p->prompt, p->kept, p->count, p->budget,
                                  p->arena, &p->sentences, err);
}

/* ---- the working text ---------------------------------------------------------------------------- */

/* Bytes [start, end) of a context, cut where its segments are. */
static void add_segments(pipeline *p, size_t part, size_t start, size_t end)
{
    const pith__lingua_context *context = &p->prompt.contexts[part];
    const char *text = context->clean.text;
    if (context->segment_count == 0) {
        pith__working_add(
            &p->working, text + start, end - start,
            (pith__stretch){.part = part, .start = start, .rate = (double)NAN, .compress = true});
        return;
    }
    for (size_t s = pith__lingua_segment_at(context, start);
         s < context->segment_count && context->segments[s].start < end; s++) {
        const pith__lingua_segment *segment = &context->segments[s];
        const size_t from = start > segment->start ? start : segment->start;
        const size_t to = end < segment->end ? end : segment->end;
        if (from < to) {
            pith__working_add(&p->working, text + from, to - from,
                              (pith__stretch){.part = part,
                                              .start = from,
                                              .rate = segment->rate,
                                              .compress = segment->compress});
        }
    }
}

static void add_context(pipeline *p, size_t place)
{
    const size_t part = p->kept[place];
    if (p->prompt.contexts[part].clean.size == 0) {
        return;
    }
    if (!p->by_sentences) {
        add_segments(p, part, 0, p->prompt.contexts[part].clean.size);
        return;
    }
    const pith__sentences *all = &p->sentences;
    while (p->sentence < all->count && all->items[p->sentence].place < place) {
        p->sentence++;
    }
    for (; p->sentence < all->count && all->items[p->sentence].place == place; p->sentence++) {
        const pith__sentence *sentence = &all->items[p->sentence];
        if (sentence->kept) {
            add_segments(p, part, sentence->start, sentence->end);
        }
    }
}

/* "\n\n" behind what is there; in the release it belongs to the last segment. */
static void add_joiner(pipeline *p)
{
    const pith__working *w = &p->working;
    pith__stretch joiner = {
        .part = PITH__LINGUA_NOWHERE, .rate = (double)NAN, .compress = p->rules->joiners_are_text};
    if (w->stretch_count > 0 && p->rules->joiners_are_text) {
        joiner.rate = w->stretches[w->stretch_count - 1].rate;
        joiner.compress = w->stretches[w->stretch_count - 1].compress;
    }
    pith__working_add(&p->working, JOINER, JOINER_SIZE, joiner);
}

static void add_end(pipeline *p, size_t part, const pith__lingua_text *text)
{
    pith__working_add(&p->working, text->text, text->size,
                      (pith__stretch){.part = part, .rate = (double)NAN, .compress = true});
}

/* Every context with "\n\n" between them, whether anything is left of them or not. */
static void fill_as_released(pipeline *p)
{
    for (size_t i = 0; i < p->count; i++) {
        if (i > 0) {
            add_joiner(p);
        }
        add_context(p, i);
    }
}

/* Takes away a joiner that nothing followed. */
static void add_part(pipeline *p, size_t place)
{
    pith__working *w = &p->working;
    const pith__working before = *w;
    if (w->size > w->prefix) {
        add_joiner(p);
    }
    const size_t joined = w->size;
    if (place == PITH__LINGUA_INSTRUCTION) {
        add_end(p, place, &p->prompt.instruction);
    } else if (place == PITH__LINGUA_QUESTION) {
        add_end(p, place, &p->prompt.question);
    } else {
        add_context(p, place);
    }
    if (w->size == joined) {
        *w = before;
    }
}

static void fill_by_parts(pipeline *p)
{
    add_part(p, PITH__LINGUA_INSTRUCTION);
    for (size_t i = 0; i < p->count; i++) {
        add_part(p, i);
    }
    if (p->options.concate_question) {
        add_part(p, PITH__LINGUA_QUESTION);
    }
}

static pith_status build_working(pipeline *p, pith_error *err)
{
    pith__lingua_text prefix = {0};
    if (p->prefixed) {
        PITH__TRY(pith__working_prefix(p->lm, &p->options, &p->prompt, p->arena, &prefix, err));
    }
    size_t size = prefix.size + p->prompt.instruction.size + p->prompt.question.size +
                  (p->count + 2) * JOINER_SIZE;
    size_t stretches = 2 * p->count + 5 + p->sentences.count;
    for (size_t i = 0; i < p->count; i++) {
        const pith__lingua_context *context = &p->prompt.contexts[p->kept[i]];
        stretches += context->segment_count;
        if (__builtin_add_overflow(size, context->clean.size, &size)) {
            return pith__fail(err, PITH_E_MEMORY, "the contexts do not fit in memory");
        }
    }
    PITH__TRY(pith__working_init(&p->working, size, stretches, p->arena, err));
    if (prefix.size > 0) {
        pith__working_add(&p->working, prefix.text, prefix.size,
                          (pith__stretch){.part = PITH__LINGUA_NOWHERE, .rate = (double)NAN});
    }
    p->working.prefix = p->working.size;
    if (p->rules->compresses_ends) {
        fill_by_parts(p);
    } else {
        fill_as_released(p);
    }
    return PITH_OK;
}

/* ---- schedules ----------------------------------------------------------------------------------- */

/* get_dynamic_compression_ratio(): tokens of the contexts and of "\n\n" behind each. */
static pith_status schedule_contexts(pipeline *p, pith__schedule *schedule, pith_error *err)
{
    size_t *lengths = NULL;
    double *rates = NULL;
    PITH__TRY(pith__arena_alloc(p->arena, p->count, sizeof *lengths, &lengths, err));
    PITH__TRY(pith__arena_alloc(p->arena, p->count, sizeof *rates, &rates, err));
    double total = 0.0;
    const pith__working *w = &p->working;
    for (size_t i = 0, s = 0; i < p->count; i++) {
        while (s < w->stretch_count && w->stretches[s].at < w->prefix) {
            s++;
        }
        const size_t start = s < w->stretch_count ? w->stretches[s].at : w->size;
        while (s < w->stretch_count && w->stretches[s].part == p->kept[i]) {
            s++;
        }
        const size_t end = s < w->stretch_count ? w->stretches[s].at : w->size;
        const pith__lingua_text text = {w->text + start, end - start};
        PITH__TRY(pith__lingua_length(p->lm, &text, p->arena, &lengths[i], err));
        lengths[i] += JOINER_SIZE;
        total += (double)lengths[i];
        s++; /* the joiner */
    }
    const double tau = p->budget / (total + 1.0);
    for (size_t i = 0; i < p->count; i++) {
        rates[i] = clamp(tau + p->change[i]);
    }
    return pith__schedule_by_context(lengths, rates, p->count, p->options.iterative_size, p->arena,
                                     schedule, err);
}

/*
 * What every token adds to the text decoded so far, in characters, as the release finds out:
 * decoding it behind two tokens, and those two alone.
 */
static void count_characters(const pith__working *w, size_t *bounds)
{
    bounds[0] = 0;
    for (size_t i = w->start; i < w->count; i++) {
        const size_t first = i - w->start < 2 ? w->start : i - 2;
        const size_t start = w->spans[first].start;
        const size_t before =
            i == first ? 0 : pith__lingua_characters(w->text + start, w->spans[i].start - start);
        const size_t with = pith__lingua_characters(w->text + start, w->spans[i].end - start);
        bounds[i - w->start + 1] = bounds[i - w->start] + (with > before ? with - before : 0);
    }
}

static void count_bytes(const pith__working *w, size_t *bounds)
{
    for (size_t i = w->start; i < w->count; i++) {
        bounds[i - w->start] = w->spans[i].start - w->prefix;
        bounds[i - w->start + 1] = w->spans[i].end - w->prefix;
    }
}

/* Tokens that a context's share of the budget is spent on. */
static double context_tokens(const pipeline *p)
{
    const pith__working *w = &p->working;
    double tokens = 0.0;
    for (size_t i = w->start, s = 0; i < w->count; i++) {
        while (w->spans[i].start >= w->stretches[s].at + w->stretches[s].size) {
            s++;
        }
        tokens += w->stretches[s].part < p->prompt.count ? 1.0 : 0.0;
    }
    return tokens;
}

/* The papers' rates: tau_ins and tau_que with what is left over, tau_dems with the dynamic ratio. */
static double rate_of_part(const pipeline *p, const pith__stretch *stretch, double tau)
{
    if (stretch->part == PITH__LINGUA_INSTRUCTION) {
        return clamp(p->options.tau_ins + p->leftover);
    }
    if (stretch->part == PITH__LINGUA_QUESTION) {
        return clamp(p->options.tau_que + p->leftover);
    }
    if (stretch->part == PITH__LINGUA_NOWHERE) {
        return 1.0;
    }
    return clamp(tau + p->change[p->out->places[stretch->part]]);
}

/* The stretches behind the prefix, in characters or bytes. */
static pith_status rate_stretches(const pipeline *p, pith__rated **out, size_t *count,
                                  pith_error *err)
{
    const pith__working *w = &p->working;
    const bool by_part = p->rules->compresses_ends;
    const double tokens = by_part ? context_tokens(p) : 0.0;
    /* of what is left, so that it comes out at tau_dems of what there was */
    const double tau = tokens > 0.0 ? clamp(p->budget / tokens) : 0.0;
    pith__rated *rated = NULL;
    PITH__TRY(pith__arena_alloc(p->arena, w->stretch_count, sizeof *rated, &rated, err));
    *count = 0;
    for (size_t s = 0; s < w->stretch_count; s++) {
        const pith__stretch *stretch = &w->stretches[s];
        if (stretch->at < w->prefix) {
            continue;
        }
        const double own = by_part ? rate_of_part(p, stretch, tau) : p->segment_rate;
        rated[(*count)++] = (pith__rated){
            .length = p->rules->splits_characters
                          ? pith__lingua_characters(w->text + stretch->at, stretch->size)
                          : stretch->size,
            .rate = !stretch->compress     ? 1.0
                    : isnan(stretch->rate) ? own
                                           : stretch->rate,
            .compress = stretch->compress,
        };
    }
    *out = rated;
    return PITH_OK;
}

/* Marks the last token of every part (with the "\n\n" behind it), and those that share a character. */
static pith_status find_borders(const pipeline *p, bool **ends, bool **joined, pith_error *err)
{
    const pith__working *w = &p->working;
    PITH__TRY(pith__arena_alloc_zero(p->arena, w->count, sizeof **ends, ends, err));
    PITH__TRY(pith__arena_alloc_zero(p->arena, w->count, sizeof **joined, joined, err));
    for (size_t i = w->start, s = 0; i < w->count; i++) {
        while (w->spans[i].start >= w->stretches[s].at + w->stretches[s].size) {
            s++;
        }
        (*ends)[i] = w->stretches[s].part == PITH__LINGUA_NOWHERE &&
                     w->spans[i].end == w->stretches[s].at + w->stretches[s].size;
        (*joined)[i] = !pith__utf8_is_boundary(w->text, w->size, w->spans[i].start);
    }
    return PITH_OK;
}

/* Tokens that share a character have the largest of their rates: what is not to be compressed wins. */
static void join_rates(const bool *joined, size_t count, double *rates)
{
    for (size_t i = 0; i < count && joined != NULL;) {
        double largest = rates[i];
        size_t last = i + 1;
        for (; last < count && joined[last]; last++) {
            largest = rates[last] > largest ? rates[last] : largest;
        }
        for (; i < last; i++) {
            rates[i] = largest;
        }
    }
}

static pith_status schedule_tokens(pipeline *p, const bool *ends, const bool *joined,
                                   pith__schedule *schedule, pith_error *err)
{
    const pith__working *w = &p->working;
    const size_t count = w->count - w->start;
    pith__rated *rated = NULL;
    size_t rated_count = 0;
    size_t *bounds = NULL;
    double *rates = NULL;
    PITH__TRY(rate_stretches(p, &rated, &rated_count, err));
    PITH__TRY(pith__arena_alloc_zero(p->arena, count + 1, sizeof *bounds, &bounds, err));
    PITH__TRY(pith__arena_alloc(p->arena, count, sizeof *rates, &rates, err));
    if (p->rules->splits_characters) {
        count_characters(w, bounds);
    } else {
        count_bytes(w, bounds);
    }
    pith__schedule_rates(rated, rated_count, bounds, count, rates);
    join_rates(joined == NULL ? NULL : joined + w->start, count, rates);
    const pith__schedule_input input = {.rates = rates,
                                        .ends = ends == NULL ? NULL : ends + w->start,
                                        .joined = joined == NULL ? NULL : joined + w->start,
                                        .count = count,
                                        .size = p->options.iterative_size,
                                        .reads_size = p->rules->skips_tail};
    return pith__schedule_by_token(&input, p->arena, schedule, err);
}

/* ---- tokens -------------------------------------------------------------------------------------- */

/* A line break that is a token of its own. */
static bool is_split(const pipeline *p, size_t i)
{
    const pith__working *w = &p->working;
    if (p->rules->splits_by_id) {
        return w->ids[i] == RELEASED_SPLIT;
    }
    for (size_t at = w->spans[i].start; at < w->spans[i].end; at++) {
        if (w->text[at] != '\n') {
            return false;
        }
    }
    return w->spans[i].start < w->spans[i].end;
}

static pith_status find_splits(pipeline *p, pith_error *err)
{
    const pith__working *w = &p->working;
    if (!p->options.keep_split) {
        return PITH_OK;
    }
    PITH__TRY(pith__arena_alloc(p->arena, w->count, sizeof *p->split, &p->split, err));
    PITH__TRY(pith__arena_alloc(p->arena, w->count, sizeof *p->forced, &p->forced, err));
    for (size_t i = 0; i < w->count; i++) {
        p->split[i] = is_split(p, i);
    }
    for (size_t i = 0; i < w->count; i++) {
        const bool before = i > 0 && p->split[i - 1];
        const bool after = i + 1 < w->count && p->split[i + 1];
        const bool several = !p->rules->splits_by_id && w->spans[i].end - w->spans[i].start > 1;
        p->forced[i] = p->split[i] && (before || after || several);
    }
    return PITH_OK;
}

static pith_status judge_tokens(pipeline *p, pith__itpc_output *tokens, pith_error *err)
{
    bool *ends = NULL;
    bool *joined = NULL;
    pith__schedule schedule = {0};
    PITH__TRY(pith__working_tokenize(p->lm, p->rules, &p->working, p->arena, err));
    if (!p->rules->splits_characters) {
        PITH__TRY(find_borders(p, &ends, &joined, err));
    }
    const bool by_token = p->prompt.structured || p->rules->compresses_ends;
    PITH__TRY(by_token ? schedule_tokens(p, ends, joined, &schedule, err)
                       : schedule_contexts(p, &schedule, err));
    PITH__TRY(find_splits(p, err));
    const pith__itpc_input input = {.ids = p->working.ids,
                                    .count = p->working.count,
                                    .start = p->working.start,
                                    .bos = p->working.bos,
                                    .compare = p->options.condition_compare,
                                    .forced = p->forced,
                                    .split = p->split,
                                    .joined = joined,
                                    .schedule = &schedule};
    return pith__itpc_run(p->lm, p->rules, &input, p->arena, tokens, err);
}

/* ---- all of it ----------------------------------------------------------------------------------- */

static pith_status run(pipeline *p, pith_error *err)
{
    PITH__TRY(settle_contexts(p, err));
    settle_condition(p);
    PITH__TRY(find_budget(p, err));
    PITH__TRY(choose_contexts(p, err));
    PITH__TRY(choose_sentences(p, err));
    PITH__TRY(build_working(p, err));
    pith__itpc_output tokens = {0};
    const bool by_token = p->options.use_token_level_filter && p->working.size > p->working.prefix;
    if (by_token) {
        PITH__TRY(judge_tokens(p, &tokens, err));
    }
    const pith__render_input input = {.rules = p->rules,
                                      .options = &p->options,
                                      .prompt = &p->prompt,
                                      .working = &p->working,
                                      .tokens = by_token ? &tokens : NULL,
                                      .forced = p->forced};
    return pith__lingua_render(&input, p->arena, p->out, err);
}

pith_status pith__lingua_compress(const pith__lm *lm, const pith__lingua_options *options,
                                  const pith__lingua_prompt *prompt, pith__arena *arena,
                                  pith__lingua_output *out, pith_error *err)
{
    *out = (pith__lingua_output){0};
    pipeline p = {.lm = lm,
                  .rules = pith__lingua_rules_of(options->mode),
                  .options = *options,
                  .prompt = *prompt,
                  .arena = arena,
                  .out = out};
    PITH__TRY(check(options, prompt, p.rules, err));
    const pith_status status = run(&p, err);
    if (status != PITH_OK) {
        *out = (pith__lingua_output){0};
    }
    return status;
}
