/*
 * sentences.c: the sentences of the contexts in the working text, and which of them come first.
 */
#include "api/prompt.h"

#include <math.h>
#include <stdlib.h>

/* ---- finding them ------------------------------------------------------------------------------- */

static pith_status find_in(pith_ctx *ctx, const pith__work *work, size_t place,
                           pith__sentences *out, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    const pith__place *p = &work->places[place];
    pith__spans spans = {NULL, 0, 0};
    PITH__TRY(pith__text_sentences(work->text + p->start, p->end - p->start, &mem, &spans, err));
    for (size_t i = 0; i < spans.count; i++) {
        if (spans.items[i].kind == PITH__SPAN_BREAK) {
            continue;
        }
        PITH__TRY(
            pith__grow(&mem, &out->items, &out->capacity, out->count + 1, sizeof *out->items, err));
        out->items[out->count++] = (pith__sentence){.start = p->start + spans.items[i].start,
                                                    .end = p->start + spans.items[i].end,
                                                    .place = place};
    }
    return PITH_OK;
}

/* Tokens and mean nats, from the scorer's tokens. */
static void weigh(const pith__scored *scored, pith__sentences *sentences)
{
    size_t token = 0;
    for (size_t i = 0; i < sentences->count; i++) {
        pith__sentence *s = &sentences->items[i];
        double nats = 0.0;
        size_t known = 0;
        while (token < scored->count && scored->tokens[token].start < s->start) {
            token++;
        }
        for (; token < scored->count && scored->tokens[token].start < s->end; token++) {
            s->tokens++;
            if (!isnan(scored->tokens[token].nats)) {
                nats += (double)scored->tokens[token].nats;
                known++;
            }
        }
        s->nats = known > 0 ? nats / (double)known : (double)NAN;
    }
}

pith_status pith__sentences_find(pith_ctx *ctx, const pith__prompt *prompt, const pith__work *work,
                                 const pith__scored *scored, pith__sentences *out, pith_error *err)
{
    *out = (pith__sentences){NULL, 0, 0};
    for (size_t i = 0; i < work->place_count; i++) {
        if (prompt->parts[work->places[i].part].role == PITH_CONTEXT) {
            PITH__TRY(find_in(ctx, work, i, out, err));
        }
    }
    weigh(scored, out);
    return PITH_OK;
}

/* ---- which come first ------------------------------------------------------------------------------ */

typedef struct candidate {
    double nats;
    size_t index;
} candidate;

/* More nats first, unknown ones last, then the earlier one. */
static int compare_candidates(const void *left, const void *right)
{
    const candidate *a = left;
    const candidate *b = right;
    if (isnan(a->nats) != isnan(b->nats)) {
        return isnan(a->nats) ? 1 : -1;
    }
    if (a->nats != b->nats && !isnan(a->nats)) {
        return a->nats > b->nats ? -1 : 1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

/* The first, the last and the best sentences of one context: [first, end) of all. */
static void prefer_in(const pith__lingua_options *options, pith__sentences *all, size_t first,
                      size_t end, candidate *scratch)
{
    for (size_t i = first; i < end; i++) {
        pith__sentence *s = &all->items[i];
        s->preferred =
            i - first < options->keep_first_sentence || end - i <= options->keep_last_sentence;
        scratch[i - first] = (candidate){s->nats, i};
    }
    qsort(scratch, end - first, sizeof *scratch, compare_candidates);
    for (size_t i = 0; i < end - first && i < options->keep_sentence_number; i++) {
        all->items[scratch[i].index].preferred = true;
    }
}

/* Best first, until their tokens exceed `room`; preferred ones before all others. */
static void drop_beyond(const pith__lingua_options *options, pith__sentences *all, double room,
                        candidate *scratch)
{
    for (size_t i = 0; i < all->count; i++) {
        const pith__sentence *s = &all->items[i];
        const double bonus = s->preferred ? options->high_priority_bonus : 0.0;
        scratch[i] = (candidate){s->nats + bonus, i};
    }
    qsort(scratch, all->count, sizeof *scratch, compare_candidates);
    for (size_t i = 0; i < all->count; i++) {
        pith__sentence *s = &all->items[scratch[i].index];
        s->dropped = room < 0.0;
        room -= (double)s->tokens;
    }
}

pith_status pith__sentences_choose(pith_ctx *ctx, const pith__lingua_options *options, double room,
                                   pith__sentences *all, pith_error *err)
{
    candidate *scratch = NULL;
    PITH__TRY(pith__arena_alloc(&ctx->arena, all->count, sizeof *scratch, &scratch, err));
    for (size_t first = 0; first < all->count;) {
        size_t end = first;
        while (end < all->count && all->items[end].place == all->items[first].place) {
            end++;
        }
        prefer_in(options, all, first, end, scratch);
        first = end;
    }
    if (options->use_sentence_level_filter) {
        drop_beyond(options, all, room, scratch);
    }
    return PITH_OK;
}
