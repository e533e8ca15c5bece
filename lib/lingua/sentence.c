/*
 * sentence.c: which sentences of the contexts stay.
 */
#include "lingua/lingua_internal.h"

#include <math.h>
#include <stdlib.h>

/* ---- splitting ----------------------------------------------------------------------------------- */

/* The first byte from `at` on that is no white space, or `size`. */
static size_t skip_space(const pith__lingua_text *text, size_t at)
{
    while (at < text->size) {
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode(text->text, text->size, at, &code_point);
        if (!pith__lingua_is_space(code_point)) {
            break;
        }
        at += length;
    }
    return at;
}

static bool is_one_of(char byte, const char *set)
{
    while (*set != '\0' && *set != byte) {
        set++;
    }
    return *set != '\0';
}

/*
 * Where the next sentence begins by the expression, or the size. A match cannot begin inside a run
 * of [.!?] that has none at its first byte: it would end at the same place.
 */
static size_t next_by_regex(const pith__lingua_text *text, size_t at)
{
    while (at < text->size) {
        if (!is_one_of(text->text[at], ".!?")) {
            at++;
            continue;
        }
        while (at < text->size && is_one_of(text->text[at], ".!?")) {
            at++;
        }
        while (at < text->size && is_one_of(text->text[at], "\"')]")) {
            at++;
        }
        const size_t begin = skip_space(text, at);
        if (begin > at) {
            return begin;
        }
    }
    return text->size;
}

static pith_status push(pith__spans *out, const pith_allocator *mem, size_t start, size_t end,
                        pith_error *err)
{
    return start == end ? PITH_OK : pith__spans_push(out, mem, start, end, PITH__SPAN_WORD, err);
}

static pith_status split_by_regex(const pith__lingua_text *text, const pith_allocator *mem,
                                  pith__spans *out, pith_error *err)
{
    size_t start = 0;
    for (size_t at = 0; at < text->size;) {
        at = next_by_regex(text, at);
        PITH__TRY(push(out, mem, start, at, err));
        start = at;
    }
    return PITH_OK;
}

static pith_status split_by_rules(const pith__lingua_text *text, const pith_allocator *mem,
                                  pith__spans *out, pith_error *err)
{
    pith__spans spans = {0};
    pith_status status = pith__text_sentences(text->text, text->size, mem, &spans, err);
    size_t start = 0;
    for (size_t i = 0; i < spans.count && status == PITH_OK; i++) {
        const size_t begin = skip_space(text, spans.items[i].start);
        if (begin < spans.items[i].end && start < begin && skip_space(text, start) < begin) {
            status = push(out, mem, start, begin, err);
            start = begin;
        }
    }
    if (status == PITH_OK) {
        status = push(out, mem, start, text->size, err);
    }
    pith__spans_deinit(&spans, mem);
    return status;
}

pith_status pith__lingua_split(const pith__lingua_text *text, bool regex, const pith_allocator *mem,
                               pith__spans *out, pith_error *err)
{
    return regex ? split_by_regex(text, mem, out, err) : split_by_rules(text, mem, out, err);
}

/* ---- ranking ------------------------------------------------------------------------------------- */

typedef struct filter {
    const pith__lm *lm;
    const pith__lingua_options *options;
    const pith__lingua_rules *rules;
    const pith__lingua_prompt *prompt;
    const size_t *kept; /* (count) contexts */
    size_t count;
    pith__arena *arena;
    pith__sentence *items;
    size_t n_items;
    double *scores; /* (n_items) larger is better; NaN is worst */
    size_t *order;  /* (n_items) */
} filter;

typedef struct entry {
    double score;
    size_t index;
} entry;

/* Best first, NaN last, equal ones in their order. */
static int compare_entries(const void *left, const void *right)
{
    const entry *a = left;
    const entry *b = right;
    if (isnan(a->score) != isnan(b->score)) {
        return isnan(a->score) ? 1 : -1;
    }
    if (a->score != b->score && !isnan(a->score)) {
        return a->score > b->score ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

/* Worst first for the release, which looks for the lowest perplexity, whatever that means. */
static int compare_reversed(const void *left, const void *right)
{
    const entry a = {-((const entry *)left)->score, ((const entry *)left)->index};
    const entry b = {-((const entry *)right)->score, ((const entry *)right)->index};
    return compare_entries(&a, &b);
}

/* Perplexity falls as the rank gets better, unless texts are ranked without a question. */
static bool nll_is_score(const filter *f)
{
    return f->options->condition == PITH__CONDITION_NONE;
}

static void prefer(const filter *f, size_t index)
{
    const double bonus = f->options->high_priority_bonus;
    const bool worse = f->rules->bonus_on_nll && !nll_is_score(f);
    f->scores[index] += worse ? -bonus : bonus;
}

/* The first and last of sentences [first, last), which are one context's or all. */
static void prefer_ends(const filter *f, size_t first, size_t last)
{
    const size_t count = last - first;
    const size_t head = f->options->keep_first_sentence;
    const size_t tail = f->options->keep_last_sentence;
    for (size_t i = 0; i < count && i < head; i++) {
        prefer(f, first + i);
    }
    for (size_t i = 0; i < count && i < tail; i++) {
        prefer(f, last - 1 - i);
    }
}

/* keep_sentence_number of sentences [first, last). */
static void prefer_some(const filter *f, entry *scratch, size_t first, size_t last)
{
    const size_t count = last - first;
    for (size_t i = 0; i < count; i++) {
        scratch[i] = (entry){f->scores[first + i], first + i};
    }
    const bool lowest_nll = f->rules->bonus_on_nll && nll_is_score(f);
    qsort(scratch, count, sizeof *scratch, lowest_nll ? compare_reversed : compare_entries);
    for (size_t i = 0; i < count && i < f->options->keep_sentence_number; i++) {
        prefer(f, scratch[i].index);
    }
}

static void prefer_all(const filter *f, entry *scratch)
{
    if (f->rules->sentences_as_one) {
        prefer_ends(f, 0, f->n_items);
    }
    for (size_t first = 0; first < f->n_items;) {
        size_t last = first;
        while (last < f->n_items && f->items[last].place == f->items[first].place) {
            last++;
        }
        if (!f->rules->sentences_as_one) {
            prefer_ends(f, first, last);
        }
        prefer_some(f, scratch, first, last);
        first = last;
    }
}

static const pith__lingua_context *context_at(const filter *f, size_t place)
{
    return &f->prompt->contexts[f->kept[place]];
}

static pith__lingua_text text_of(const filter *f, size_t i)
{
    const pith__sentence *s = &f->items[i];
    return (pith__lingua_text){context_at(f, s->place)->clean.text + s->start, s->end - s->start};
}

static pith_status rank(filter *f, pith_error *err)
{
    pith__lingua_text *texts = NULL;
    entry *entries = NULL;
    pith__ranking ranking = {0};
    PITH__TRY(pith__arena_alloc(f->arena, f->n_items, sizeof *texts, &texts, err));
    PITH__TRY(pith__arena_alloc(f->arena, f->n_items, sizeof *entries, &entries, err));
    for (size_t i = 0; i < f->n_items; i++) {
        texts[i] = text_of(f, i);
    }
    PITH__TRY(pith__lingua_rank(f->lm, f->options, texts, f->n_items, &f->prompt->question, false,
                                f->arena, &ranking, err));
    f->scores = ranking.scores;
    f->order = ranking.order;
    if (f->rules->bonus_on_nll && f->options->rank_method != PITH__RANK_LONGLLMLINGUA) {
        return PITH_OK;
    }
    prefer_all(f, entries);
    for (size_t i = 0; i < f->n_items; i++) {
        entries[i] = (entry){f->scores[i], i};
    }
    qsort(entries, f->n_items, sizeof *entries, compare_entries);
    for (size_t i = 0; i < f->n_items; i++) {
        f->order[i] = entries[i].index;
    }
    return PITH_OK;
}

/* ---- choosing ------------------------------------------------------------------------------------ */

static bool is_preserved(const filter *f, const pith__sentence *s)
{
    const pith__lingua_context *context = context_at(f, s->place);
    size_t i = pith__lingua_segment_at(context, s->start);
    for (; i < context->segment_count && context->segments[i].start < s->end; i++) {
        if (!context->segments[i].compress &&
            context->segments[i].start < context->segments[i].end) {
            return true;
        }
    }
    return false;
}

static pith_status choose(filter *f, double budget, pith_error *err)
{
    const size_t specials = f->rules->counts_specials ? pith__lingua_specials(f->lm) : 0;
    if (budget < 0.0) {
        budget = f->rules->negative_is_100 ? 100.0 : 0.0;
    }
    budget *= f->options->token_budget_ratio;
    for (size_t r = 0; r < f->n_items; r++) {
        const pith__lingua_text text = text_of(f, f->order[r]);
        size_t tokens = 0;
        PITH__TRY(pith__lingua_length(f->lm, &text, f->arena, &tokens, err));
        budget -= (double)(tokens + specials);
        f->items[f->order[r]].kept = true;
        if (budget < 0.0) {
            break;
        }
    }
    for (size_t i = 0; i < f->n_items; i++) {
        f->items[i].kept = f->items[i].kept || is_preserved(f, &f->items[i]);
    }
    return PITH_OK;
}

static pith_status split_all(filter *f, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(f->arena);
    pith__spans spans = {0};
    size_t *firsts = NULL; /* the first sentence of every context */
    PITH__TRY(pith__arena_alloc(f->arena, f->count, sizeof *firsts, &firsts, err));
    for (size_t c = 0; c < f->count; c++) {
        firsts[c] = spans.count;
        PITH__TRY(pith__lingua_split(&context_at(f, c)->clean, f->options->regex_sentences, &mem,
                                     &spans, err));
    }
    PITH__TRY(pith__arena_alloc(f->arena, spans.count, sizeof *f->items, &f->items, err));
    for (size_t c = 0; c < f->count; c++) {
        const size_t last = c + 1 < f->count ? firsts[c + 1] : spans.count;
        for (size_t i = firsts[c]; i < last && spans.items != NULL; i++) {
            f->items[i] = (pith__sentence){c, spans.items[i].start, spans.items[i].end, false};
        }
    }
    f->n_items = spans.count;
    return PITH_OK;
}

pith_status pith__lingua_sentences(const pith__lm *lm, const pith__lingua_options *options,
                                   const pith__lingua_prompt *prompt, const size_t *kept,
                                   size_t count, double budget, pith__arena *arena,
                                   pith__sentences *out, pith_error *err)
{
    *out = (pith__sentences){0};
    filter f = {.lm = lm,
                .options = options,
                .rules = pith__lingua_rules_of(options->mode),
                .prompt = prompt,
                .kept = kept,
                .count = count,
                .arena = arena};
    PITH__TRY(split_all(&f, err));
    if (f.n_items == 1) {
        f.items[0].kept = true;
    } else if (f.n_items > 1) {
        PITH__TRY(rank(&f, err));
        PITH__TRY(choose(&f, budget, err));
    }
    *out = (pith__sentences){f.items, f.n_items};
    return PITH_OK;
}
