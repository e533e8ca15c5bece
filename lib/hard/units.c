/*
 * units.c: cuts a text into the pieces that are kept or dropped as a whole, and sums up what is
 * known about the tokens in each.
 */
#include "hard/hard_internal.h"

#include <math.h>

/* ---- checking what came in ------------------------------------------------- */

/* Spans, tokens and ranges alike: each begins where the last one ended or later. */
static bool follows(size_t start, size_t end, size_t last, size_t size)
{
    return start >= last && end >= start && end <= size;
}

static pith_status check_tokens(const pith__unit_input *input, size_t size, pith_error *err)
{
    size_t last = 0;
    for (size_t i = 0; i < input->token_count; i++) {
        const pith_token_score *token = &input->tokens[i];
        if (!follows(token->start, token->end, last, size)) {
            return pith__fail_at(err, PITH_E_ARGUMENT, token->start,
                                 "token %zu [%zu, %zu) overlaps the last one or leaves the text", i,
                                 token->start, token->end);
        }
        last = token->end;
    }
    return PITH_OK;
}

static pith_status check_spans(const pith__span *spans, size_t count, const char *what, size_t size,
                               pith_error *err)
{
    size_t last = 0;
    for (size_t i = 0; i < count; i++) {
        if (!follows(spans[i].start, spans[i].end, last, size)) {
            return pith__fail_at(err, PITH_E_ARGUMENT, spans[i].start,
                                 "%s %zu [%zu, %zu) overlaps the last one or leaves the text", what,
                                 i, spans[i].start, spans[i].end);
        }
        last = spans[i].end;
    }
    return PITH_OK;
}

static pith_status check_cuts(const pith__unit_input *input, size_t size, pith_error *err)
{
    size_t last = 0;
    for (size_t i = 0; i < input->cut_count; i++) {
        if (input->cuts[i] < last || input->cuts[i] > size) {
            return pith__fail_at(err, PITH_E_ARGUMENT, input->cuts[i],
                                 "cut %zu at %zu is out of order or outside the text", i,
                                 input->cuts[i]);
        }
        last = input->cuts[i];
    }
    return PITH_OK;
}

/* ---- where units end --------------------------------------------------------- */

/* Walks over all places where a unit may end, in order. */
typedef struct walker {
    const pith__hard_source *source;
    const pith__unit_input *input;
    size_t edge; /* next start (even) or end (odd) of a span, or of a token if there are no spans */
    size_t cut;
} walker;

bool pith__hard_is_boundary(const pith__hard_source *source, size_t offset)
{
    return source->graphemes != NULL ? pith__graphemes_is_boundary(source->graphemes, offset)
                                     : pith__utf8_is_boundary(source->text, source->size, offset);
}

static size_t edge_count(const pith__unit_input *input)
{
    return 2 * (input->span_count > 0 ? input->span_count : input->token_count);
}

static size_t edge_at(const pith__unit_input *input, size_t edge)
{
    if (input->span_count > 0) {
        const pith__span *span = &input->spans[edge / 2];
        return edge % 2 == 0 ? span->start : span->end;
    }
    const pith_token_score *token = &input->tokens[edge / 2];
    return edge % 2 == 0 ? token->start : token->end;
}

/* The end of the unit that starts at `start` < size. Cuts win over characters: they are ASCII. */
static size_t walker_next(walker *walk, size_t start)
{
    const pith__unit_input *input = walk->input;
    size_t end = walk->source->size;
    while (walk->cut < input->cut_count && input->cuts[walk->cut] <= start) {
        walk->cut++;
    }
    if (walk->cut < input->cut_count) {
        end = input->cuts[walk->cut];
    }
    for (; walk->edge < edge_count(input); walk->edge++) {
        const size_t offset = edge_at(input, walk->edge);
        if (offset >= end) {
            break;
        }
        if (offset > start && pith__hard_is_boundary(walk->source, offset)) {
            return offset;
        }
    }
    return end;
}

/* At least as many as there will be units: an upper bound that is exact without cuts and gaps. */
static size_t unit_count_max(const pith__hard_source *source, const pith__unit_input *input)
{
    size_t count = 1 + input->cut_count;
    size_t last = 0;
    for (size_t edge = 0; edge < edge_count(input); edge++) {
        const size_t offset = edge_at(input, edge);
        count += offset > last && offset < source->size;
        last = offset;
    }
    return count;
}

/* ---- what is known about a unit ---------------------------------------------- */

typedef struct tally {
    double weight;   /* sum of w over known tokens */
    double weighted; /* sum of w * nats */
    double most;
} tally;

static void tally_add(tally *sum, const pith_unit *unit, const pith_token_score *token)
{
    if (isnan(token->nats)) {
        return;
    }
    const size_t from = token->start > unit->start ? token->start : unit->start;
    const size_t to = token->end < unit->end ? token->end : unit->end;
    const size_t length = token->end - token->start;
    const double weight = length == 0 ? 1.0 : (double)(to - from) / (double)length;
    const double nats = (double)token->nats;
    sum->most = sum->weight == 0.0 || nats > sum->most ? nats : sum->most;
    sum->weight += weight;
    sum->weighted += weight * nats;
}

static float tally_result(const tally *sum, pith__aggregate aggregate)
{
    if (sum->weight == 0.0) {
        return NAN;
    }
    switch (aggregate) {
    case PITH__AGGREGATE_SUM:
        return (float)sum->weighted;
    case PITH__AGGREGATE_MAX:
        return (float)sum->most;
    case PITH__AGGREGATE_MEAN:
        break;
    }
    return (float)(sum->weighted / sum->weight);
}

/* Both lists ascend, so one pass does; a token is looked at once per unit that it touches. */
static void score_units(pith__units *units, const pith__unit_input *input)
{
    size_t first = 0;
    for (size_t i = 0; i < units->count; i++) {
        pith_unit *unit = &units->items[i];
        while (first < input->token_count && input->tokens[first].end <= unit->start &&
               input->tokens[first].start < unit->start) {
            first++;
        }
        tally sum = {0};
        for (size_t t = first; t < input->token_count; t++) {
            const pith_token_score *token = &input->tokens[t];
            if (token->start >= unit->end) {
                break;
            }
            unit->tokens += token->start >= unit->start;
            tally_add(&sum, unit, token);
        }
        unit->nats = tally_result(&sum, input->aggregate);
    }
}

static void protect_units(pith__units *units, const pith__unit_input *input)
{
    size_t next = 0;
    for (size_t i = 0; i < units->count; i++) {
        pith_unit *unit = &units->items[i];
        for (; next < input->protect_count; next++) {
            const pith__span *span = &input->protect[next];
            if (span->end > unit->start && span->end > span->start) {
                unit->is_protected = span->start < unit->end;
                break;
            }
        }
    }
}

pith_status pith__units_build(const pith__hard_source *source, const pith__unit_input *input,
                              pith__arena *arena, pith__units *out, pith_error *err)
{
    *out = (pith__units){0};
    PITH__TRY(check_tokens(input, source->size, err));
    PITH__TRY(check_spans(input->spans, input->span_count, "span", source->size, err));
    PITH__TRY(
        check_spans(input->protect, input->protect_count, "protected range", source->size, err));
    PITH__TRY(check_cuts(input, source->size, err));
    if (source->size == 0) {
        return PITH_OK;
    }

    pith__units units = {0};
    PITH__TRY(pith__arena_alloc(arena, unit_count_max(source, input), sizeof *units.items,
                                &units.items, err));
    walker walk = {.source = source, .input = input};
    for (size_t start = 0; start < source->size;) {
        const size_t end = walker_next(&walk, start);
        units.items[units.count++] = (pith_unit){.start = start, .end = end, .nats = NAN};
        start = end;
    }
    score_units(&units, input);
    protect_units(&units, input);
    *out = units;
    return PITH_OK;
}
