/*
 * keys.c: what units are ranked by where their nats alone do not say what should stay.
 *
 * Where parts of the text have rates of their own, nats cannot be compared across them. A unit's
 * key is then ln(rate / q), with q the share of its segment's tokens that stand before it in the
 * order of nats: with every key above 0 kept, each segment keeps just its rate, and moving that
 * bound shortens or lengthens all of them in proportion until the budget is met.
 */
#include "api/prompt.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

/* Structure and preferred sentences come before all plain text. */
#define SENTENCE_BONUS  100.0F
#define STRUCTURE_BONUS 10000.0F

/* What a name, a number, and having a word at all are worth. */
#define NAME_NATS    5.0F
#define NUMBER_NATS  8.0F
#define NO_WORD_NATS 5.0F

typedef struct ranked {
    size_t unit;
    size_t segment;
    float value;
} ranked;

/* By segment; in it unknown values first, then larger ones, then the earlier unit. */
static int compare_ranked(const void *left, const void *right)
{
    const ranked *a = left;
    const ranked *b = right;
    if (a->segment != b->segment) {
        return a->segment < b->segment ? -1 : 1;
    }
    if (isnan(a->value) != isnan(b->value)) {
        return isnan(a->value) ? -1 : 1;
    }
    if (a->value != b->value && !isnan(a->value)) {
        return a->value > b->value ? -1 : 1;
    }
    return a->unit < b->unit ? -1 : a->unit > b->unit;
}

/* Units in segments and not protected, with the segment each is in. */
static size_t gather(const pith__work *work, const pith__units *units, const float *values,
                     ranked *out)
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
            out[count++] = (ranked){i, segment, values[i]};
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
    bool first_word = true;
    for (size_t i = first; i < end; i++) {
        const double weight = weight_of(&units->items[all[i].unit]);
        const double q = (before + weight / 2.0) / total;
        keys[all[i].unit] = (float)log(rate / q);
        if (first_word && rate > 0.0 && units->items[all[i].unit].tokens > 0) {
            /* an empty message or value says something else than a short one */
            keys[all[i].unit] += SENTENCE_BONUS;
            first_word = false;
        }
        before += weight;
    }
}

/* Turns values into keys that respect the rates of segments. */
static pith_status keys_by_rate(pith_ctx *ctx, const pith__work *work, const pith__units *units,
                                float *keys, pith_error *err)
{
    ranked *all = NULL;
    PITH__TRY(pith__arena_alloc(&ctx->arena, units->count, sizeof *all, &all, err));
    const size_t count = gather(work, units, keys, all);
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

/* ---- values ---------------------------------------------------------------------------------------- */

/* The sentence each unit begins in, its tokens and the sum of their nats. */
static pith_status describe_units(pith_ctx *ctx, const pith__keys_input *input,
                                  const pith__units *units, const pith__sentences *sentences,
                                  pith__focus_unit **out, pith_error *err)
{
    const pith__scored *scored = input->scored;
    size_t sentence = 0;
    size_t token = 0;
    PITH__TRY(pith__arena_alloc(&ctx->arena, units->count, sizeof **out, out, err));
    for (size_t i = 0; i < units->count; i++) {
        const pith_unit *unit = &units->items[i];
        while (sentence < sentences->count && sentences->items[sentence].end <= unit->start) {
            sentence++;
        }
        while (token < scored->count && scored->tokens[token].start < unit->start) {
            token++;
        }
        const bool inside =
            sentence < sentences->count && sentences->items[sentence].start < unit->end;
        pith__focus_unit described = {.start = unit->start,
                                      .end = unit->end,
                                      .sentence = inside ? sentence : SIZE_MAX,
                                      .token = token,
                                      .nats = 0.0F};
        for (; token < scored->count && scored->tokens[token].start < unit->end; token++) {
            described.tokens++;
            described.nats += isnan(scored->tokens[token].nats) ? 0.0F : scored->tokens[token].nats;
        }
        (*out)[i] = described;
    }
    return PITH_OK;
}

/* Relevance of the documents at work->places, 0..1. */
static pith_status find_documents(pith_ctx *ctx, const pith__keys_input *input, double **out,
                                  pith_error *err)
{
    const pith__work *work = input->work;
    double most = -DBL_MAX;
    double least = 0.0; /* of BM25, which says something by itself */
    PITH__TRY(pith__arena_alloc(&ctx->arena, work->place_count, sizeof **out, out, err));
    for (size_t i = 0; i < work->place_count; i++) {
        const double score =
            input->scores != NULL ? input->scores[work->places[i].part] : (double)NAN;
        (*out)[i] = score;
        most = score > most ? score : most;
        least = score < least ? score : least;
    }
    for (size_t i = 0; i < work->place_count; i++) {
        const bool known = !isnan((*out)[i]) && most > least;
        (*out)[i] = known ? ((*out)[i] - least) / (most - least) : 0.0;
    }
    return PITH_OK;
}

/* By what a unit has to do with the question. */
static pith_status value_by_question(pith_ctx *ctx, const pith__keys_input *input,
                                     const pith__focus_unit *described, size_t count,
                                     const pith__sentences *sentences, float *values,
                                     pith_error *err)
{
    pith__focus_sentence *all = NULL;
    double *documents = NULL;
    PITH__TRY(pith__arena_alloc(&ctx->arena, sentences->count, sizeof *all, &all, err));
    for (size_t i = 0; i < sentences->count; i++) {
        const pith__sentence *s = &sentences->items[i];
        all[i] = (pith__focus_sentence){s->start, s->end, s->place};
    }
    PITH__TRY(find_documents(ctx, input, &documents, err));
    const pith__focus_input focus = {.text = input->work->text,
                                     .size = input->work->size,
                                     .sentences = all,
                                     .sentence_count = sentences->count,
                                     .documents = documents,
                                     .document_count = input->work->place_count,
                                     .units = described,
                                     .unit_count = count,
                                     .question =
                                         pith__prompt_text(input->prompt, input->prompt->question)};
    return pith__lingua_focus(input->lm, &focus, &ctx->arena, values, err);
}

/*
 * By self-information, with names and numbers before the rest: a reader can put articles and
 * endings back, and guess how a sentence goes on, but not who it was or how many. The square root
 * lies between the sum, which favours long units, and the mean, which ignores that half a phrase
 * is of no use.
 */
static void value_by_salience(const pith__keys_input *input, const pith__focus_unit *described,
                              size_t count, const pith__sentences *sentences, float *values)
{
    for (size_t i = 0; i < count; i++) {
        const pith__focus_unit *unit = &described[i];
        const char *text = input->work->text;
        const pith__sentence *sentence =
            unit->sentence != SIZE_MAX ? &sentences->items[unit->sentence] : NULL;
        const bool begins = sentence != NULL && unit->start <= sentence->start;
        const unsigned shape =
            pith__text_shape(text + unit->start, unit->end - unit->start, begins);
        values[i] = unit->tokens > 0 ? unit->nats / sqrtf((float)unit->tokens) : 0.0F;
        values[i] += (shape & PITH__SHAPE_CAPITAL) != 0 ? NAME_NATS : 0.0F;
        values[i] += (shape & PITH__SHAPE_DIGIT) != 0 ? NUMBER_NATS : 0.0F;
        values[i] -= (shape & PITH__SHAPE_WORD) == 0 ? NO_WORD_NATS : 0.0F;
    }
}

static bool values_by_question(const pith_ctx *ctx, const pith__keys_input *input)
{
    return input->options != NULL && ctx->params.method == PITH__METHOD_LONGLLMLINGUA &&
           input->prompt->question != PITH__NO_PART;
}

static bool values_by_salience(const pith_ctx *ctx, const pith__keys_input *input)
{
    return input->options != NULL && ctx->params.prefer_names &&
           ctx->params.aggregate == PITH__AGGREGATE_AUTO;
}

/* ---- all of it -------------------------------------------------------------------------------------- */

static pith_status build(pith_ctx *ctx, const pith__keys_input *input, const pith__units *units,
                         float *keys, pith_error *err)
{
    const pith__work *work = input->work;
    pith__sentences sentences = {NULL, 0, 0};
    pith__focus_unit *described = NULL;
    const bool by_question = values_by_question(ctx, input);
    const bool by_salience = values_by_salience(ctx, input);
    if (by_question || by_salience || wants_sentences(input->options)) {
        PITH__TRY(pith__sentences_find(ctx, input->prompt, work, input->scored, &sentences, err));
    }
    if (by_question || by_salience) {
        PITH__TRY(describe_units(ctx, input, units, &sentences, &described, err));
    }
    if (by_question) {
        PITH__TRY(value_by_question(ctx, input, described, units->count, &sentences, keys, err));
    } else if (by_salience) {
        value_by_salience(input, described, units->count, &sentences, keys);
    } else {
        for (size_t i = 0; i < units->count; i++) {
            keys[i] = units->items[i].nats;
        }
    }
    if (has_rates(work)) {
        PITH__TRY(keys_by_rate(ctx, work, units, keys, err));
    }
    if (wants_sentences(input->options)) {
        const double room = input->room * input->options->token_budget_ratio;
        PITH__TRY(pith__sentences_choose(ctx, input->options, room, &sentences, err));
        prefer_sentences(units, &sentences, keys);
    }
    prefer_spans(units, &work->atoms, STRUCTURE_BONUS, keys);
    return PITH_OK;
}

pith_status pith__keys_build(pith_ctx *ctx, const pith__keys_input *input, pith__units *units,
                             pith_error *err)
{
    float *keys = NULL;
    units->keys = NULL;
    if (input->options == NULL && !has_rates(input->work) && input->work->atoms.count == 0) {
        return PITH_OK;
    }
    PITH__TRY(pith__arena_alloc(&ctx->arena, units->count, sizeof *keys, &keys, err));
    PITH__TRY(build(ctx, input, units, keys, err));
    units->keys = keys;
    return PITH_OK;
}
