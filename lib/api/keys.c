/*
 * keys.c: what units are ranked by where their nats alone do not say what should stay.
 *
 * Where parts of the text have rates of their own, nats cannot be compared across them. A unit's
 * key is then ln(rate / q), with q the share of its segment's tokens that stand before it in the
 * order of nats: with every key above 0 kept, each segment keeps just its rate, and moving that
 * bound shortens or lengthens all of them in proportion until the budget is met.
 */
#include "api/prompt.h"

#include <math.h>
#include <stdlib.h>

/* Structure and preferred sentences come before all plain text. */
#define SENTENCE_BONUS  100.0F
#define STRUCTURE_BONUS 10000.0F

typedef struct ranked {
    size_t unit;
    size_t segment;
    float nats;
} ranked;

/* By segment; in it unknown nats first, then larger ones, then the earlier unit. */
static int compare_ranked(const void *left, const void *right)
{
    const ranked *a = left;
    const ranked *b = right;
    if (a->segment != b->segment) {
        return a->segment < b->segment ? -1 : 1;
    }
    if (isnan(a->nats) != isnan(b->nats)) {
        return isnan(a->nats) ? -1 : 1;
    }
    if (a->nats != b->nats && !isnan(a->nats)) {
        return a->nats > b->nats ? -1 : 1;
    }
    return a->unit < b->unit ? -1 : a->unit > b->unit;
}

/* Units in segments and not protected, with the segment each is in. */
static size_t gather(const pith__work *work, const pith__units *units, ranked *out)
{
    size_t count = 0;
    size_t segment = 0;
    for (size_t i = 0; i < units->count; i++) {
        const pith_unit *unit = &units->items[i];
        while (segment < work->segments.count && work->segments.items[segment].end <= unit->start) {
            segment++;
        }
        if (segment < work->segments.count && work->segments.items[segment].start <= unit->start &&
            !unit->is_protected) {
            out[count++] = (ranked){i, segment, unit->nats};
        }
    }
    return count;
}

/* White space and the like has no token of its own; it must weigh something all the same. */
static double weight_of(const pith_unit *unit)
{
    return unit->tokens > 0 ? (double)unit->tokens : 0.25;
}

/* Units [first, end) of one segment, best first. */
static void rank_segment(const pith__units *units, const ranked *all, size_t first, size_t end,
                         double rate, float *keys)
{
    double total = 0.0;
    for (size_t i = first; i < end; i++) {
        total += weight_of(&units->items[all[i].unit]);
    }
    double before = 0.0;
    for (size_t i = first; i < end; i++) {
        const double weight = weight_of(&units->items[all[i].unit]);
        const double q = (before + weight / 2.0) / total;
        keys[all[i].unit] = (float)log(rate / q);
        before += weight;
    }
}

static pith_status keys_by_rate(pith_ctx *ctx, const pith__work *work, const pith__units *units,
                                float *keys, pith_error *err)
{
    ranked *all = NULL;
    PITH__TRY(pith__arena_alloc(&ctx->arena, units->count, sizeof *all, &all, err));
    const size_t count = gather(work, units, all);
    qsort(all, count, sizeof *all, compare_ranked);
    for (size_t first = 0; first < count;) {
        size_t end = first;
        while (end < count && all[end].segment == all[first].segment) {
            end++;
        }
        rank_segment(units, all, first, end, work->segments.items[all[first].segment].rate, keys);
        first = end;
    }
    return PITH_OK;
}

static bool has_rates(const pith__work *work)
{
    if (work->is_local) {
        return true;
    }
    for (size_t i = 1; i < work->segments.count; i++) {
        if (fabs(work->segments.items[i].rate - work->segments.items[0].rate) > 1e-12) {
            return true;
        }
    }
    return false;
}

/* Units that share a byte with one of the spans gain `bonus`. */
static void prefer_spans(const pith__units *units, const pith__spans *spans, float bonus,
                         float *keys)
{
    size_t next = 0;
    for (size_t i = 0; i < units->count; i++) {
        while (next < spans->count && spans->items[next].end <= units->items[i].start) {
            next++;
        }
        if (next < spans->count && spans->items[next].start < units->items[i].end) {
            keys[i] += bonus;
        }
    }
}

/* Preferred sentences gain, those that the filter dropped lose. */
static void prefer_sentences(const pith__units *units, const pith__sentences *sentences,
                             float *keys)
{
    size_t next = 0;
    for (size_t i = 0; i < units->count; i++) {
        while (next < sentences->count && sentences->items[next].end <= units->items[i].start) {
            next++;
        }
        if (next < sentences->count && sentences->items[next].start < units->items[i].end) {
            keys[i] += sentences->items[next].preferred ? SENTENCE_BONUS : 0.0F;
            keys[i] -= sentences->items[next].dropped ? STRUCTURE_BONUS : 0.0F;
        }
    }
}

static bool wants_sentences(const pith__lingua_options *options)
{
    return options != NULL &&
           (options->use_sentence_level_filter || options->keep_first_sentence > 0 ||
            options->keep_last_sentence > 0 || options->keep_sentence_number > 0);
}

pith_status pith__keys_build(pith_ctx *ctx, const pith__keys_input *input, pith__units *units,
                             pith_error *err)
{
    const pith__work *work = input->work;
    const bool by_rate = has_rates(work);
    const bool by_sentence = wants_sentences(input->options);
    pith__sentences sentences;
    float *keys = NULL;
    units->keys = NULL;
    if (!by_rate && !by_sentence && work->atoms.count == 0) {
        return PITH_OK;
    }
    PITH__TRY(pith__arena_alloc(&ctx->arena, units->count, sizeof *keys, &keys, err));
    for (size_t i = 0; i < units->count; i++) {
        keys[i] = by_rate ? 0.0F : units->items[i].nats;
    }
    if (by_rate) {
        PITH__TRY(keys_by_rate(ctx, work, units, keys, err));
    }
    if (by_sentence) {
        const double room = input->room * input->options->token_budget_ratio;
        PITH__TRY(pith__sentences_find(ctx, input->prompt, work, input->scored, &sentences, err));
        PITH__TRY(pith__sentences_choose(ctx, input->options, room, &sentences, err));
        prefer_sentences(units, &sentences, keys);
    }
    prefer_spans(units, &work->atoms, STRUCTURE_BONUS, keys);
    units->keys = keys;
    return PITH_OK;
}
