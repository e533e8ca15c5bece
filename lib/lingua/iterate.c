/*
 * iterate.c: self-information given the compressed past: LLMLingua's iterative token-level
 * prompt compression (section 3.2, equations 4 and 5) as mode pith runs it.
 *
 * The stream holds the prefix and what was kept of the windows before. A window is appended, its
 * tokens are judged, and it is taken off again; what was kept of it goes in front of the next one,
 * in the same step. The kept tokens at its very beginning need not be read again: nothing that was
 * dropped stands before them.
 */
#include "lingua/lingua.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Units of one window: tokens [first, first + count) of the input. */
typedef struct candidate {
    double value;
    size_t first;
    size_t count;
} candidate;

typedef struct iteration {
    const pith__lm *lm;
    unsigned stream;
    const pith__iterate_input *input;
    size_t window;       /* tokens judged at once */
    size_t prefix_count; /* of the prefix's tokens, cut to a quarter of the context */
    uint32_t *past;      /* prefix, then all that was kept so far */
    size_t past_count;
    size_t pending; /* so many of the last of `past` are not in the stream yet */
    uint32_t *ids;  /* (context) of one step */
    uint32_t *targets;
    float *nll;
    candidate *candidates; /* (window) */
    bool *keep;            /* (window) */
} iteration;

/* ---- one step through the model ------------------------------------------------------------- */

/* Makes room for the window: forgets all but the prefix and the newest half of what fits. */
static void make_room(iteration *it, size_t window)
{
    const pith__lm *lm = it->lm;
    const size_t length = lm->length(lm->user, it->stream);
    if (length + it->pending + window <= lm->context) {
        return;
    }
    const size_t kept = it->past_count - it->prefix_count;
    const size_t fits = (lm->context - it->prefix_count - window) / 2;
    const size_t keep = kept < fits ? kept : fits;
    memmove(it->past + it->prefix_count, it->past + it->past_count - keep, keep * sizeof *it->past);
    it->past_count = it->prefix_count + keep;
    it->pending = it->past_count;
    lm->truncate(lm->user, it->stream, 0);
}

/* Without a token in front of the window nothing predicts its first one. */
static void need_one_pending(iteration *it)
{
    const pith__lm *lm = it->lm;
    if (it->pending == 0 && it->past_count > 0) {
        lm->truncate(lm->user, it->stream, lm->length(lm->user, it->stream) - 1);
        it->pending = 1;
    }
}

/* Reads what is pending and tokens [begin, end); the stream then ends with both. */
static pith_status read_window(iteration *it, size_t begin, size_t end, float *nats,
                               pith_error *err)
{
    const size_t window = end - begin;
    make_room(it, window);
    need_one_pending(it);
    const size_t pending = it->pending;
    memcpy(it->ids, it->past + it->past_count - pending, pending * sizeof *it->ids);
    memcpy(it->ids + pending, it->input->ids + begin, window * sizeof *it->ids);
    for (size_t i = 0; i < pending + window; i++) {
        const bool judged = i + 1 >= pending && i + 1 < pending + window;
        it->targets[i] = judged ? it->ids[i + 1] : PITH__LM_NONE;
    }
    PITH__TRY(it->lm->extend(it->lm->user, it->stream, it->ids, it->targets, pending + window,
                             it->nll, err));
    it->pending = 0;
    for (size_t i = 0; i < window; i++) {
        nats[begin + i] = pending + i == 0 ? NAN : it->nll[pending + i - 1];
    }
    return PITH_OK;
}

/* ---- what stays of a window --------------------------------------------------------------------- */

/* More nats first; unknown ones before all, as nothing speaks against them. */
static int compare_candidates(const void *left, const void *right)
{
    const candidate *a = left;
    const candidate *b = right;
    if (isnan(a->value) != isnan(b->value)) {
        return isnan(a->value) ? -1 : 1;
    }
    if (a->value != b->value && !isnan(a->value)) {
        return a->value > b->value ? -1 : 1;
    }
    return a->first < b->first ? -1 : a->first > b->first;
}

static double value_of(const iteration *it, const float *nats, size_t first, size_t count)
{
    double sum = 0.0;
    double most = -(double)INFINITY;
    size_t known = 0;
    for (size_t i = first; i < first + count; i++) {
        if (!isnan(nats[i])) {
            sum += (double)nats[i];
            most = fmax(most, (double)nats[i]);
            known++;
        }
    }
    if (known == 0) {
        return (double)NAN;
    }
    switch (it->input->aggregate) {
    case PITH__AGGREGATE_SUM:
        return sum;
    case PITH__AGGREGATE_MAX:
        return most;
    case PITH__AGGREGATE_MEAN:
        break;
    }
    return sum / (double)known;
}

/* The units that compete; `keep` of all others is set. Returns their number. */
static size_t find_candidates(iteration *it, size_t begin, size_t end, const float *nats,
                              double *room)
{
    const pith__iterate_input *input = it->input;
    size_t count = 0;
    *room = 0.0;
    for (size_t first = begin; first < end;) {
        size_t last = first;
        bool fixed = false;
        for (; last < end && input->unit_of[last] == input->unit_of[first]; last++) {
            fixed = fixed || input->is_fixed[last];
            *room += (double)input->rates[last];
        }
        memset(it->keep + (first - begin), fixed, (last - first) * sizeof *it->keep);
        if (fixed) {
            *room -= (double)(last - first);
        } else {
            it->candidates[count++] =
                (candidate){value_of(it, nats, first, last - first), first, last - first};
        }
        first = last;
    }
    return count;
}

static void choose(iteration *it, size_t begin, size_t end, const float *nats)
{
    double room = 0.0;
    const size_t count = find_candidates(it, begin, end, nats, &room);
    qsort(it->candidates, count, sizeof *it->candidates, compare_candidates);
    for (size_t i = 0; i < count; i++) {
        const candidate *c = &it->candidates[i];
        if ((double)c->count <= room + 1e-6) {
            room -= (double)c->count;
            memset(it->keep + (c->first - begin), true, c->count * sizeof *it->keep);
        }
    }
}

/* The stream loses the window but for the kept tokens it begins with; the others become pending. */
static void settle(iteration *it, size_t begin, size_t end)
{
    const pith__lm *lm = it->lm;
    const size_t window = end - begin;
    size_t lead = 0;
    while (lead < window && it->keep[lead]) {
        lead++;
    }
    lm->truncate(lm->user, it->stream, lm->length(lm->user, it->stream) - (window - lead));
    for (size_t i = 0; i < window; i++) {
        if (it->keep[i]) {
            it->past[it->past_count++] = it->input->ids[begin + i];
            it->pending += i >= lead;
        }
    }
}

/* ---- windows ---------------------------------------------------------------------------------------- */

/* Where the window from `begin` ends: between units, unless one alone is larger than a window. */
static size_t window_end(const iteration *it, size_t begin)
{
    const pith__iterate_input *input = it->input;
    const size_t limit = input->count - begin < it->window ? input->count : begin + it->window;
    if (limit == input->count) {
        return limit;
    }
    size_t end = limit;
    while (end > begin && input->unit_of[end] == input->unit_of[end - 1]) {
        end--;
    }
    return end > begin ? end : limit;
}

static pith_status prepare(iteration *it, pith__arena *arena, pith_error *err)
{
    const pith__iterate_input *input = it->input;
    const size_t context = it->lm->context;
    if (context < 8 || input->window == 0) {
        (void)pith__fail(err, PITH_E_CONTEXT,
                         "a context of %zu tokens and windows of %zu leave nothing to read",
                         context, input->window);
        return PITH_E_CONTEXT;
    }
    it->window = input->window < context / 2 ? input->window : context / 2;
    it->prefix_count = input->prefix_count < context / 4 ? input->prefix_count : context / 4;
    PITH__TRY(pith__arena_alloc(arena, it->prefix_count + input->count, sizeof *it->past, &it->past,
                                err));
    PITH__TRY(pith__arena_alloc(arena, context, sizeof *it->ids, &it->ids, err));
    PITH__TRY(pith__arena_alloc(arena, context, sizeof *it->targets, &it->targets, err));
    PITH__TRY(pith__arena_alloc(arena, context, sizeof *it->nll, &it->nll, err));
    PITH__TRY(pith__arena_alloc(arena, it->window, sizeof *it->candidates, &it->candidates, err));
    PITH__TRY(pith__arena_alloc(arena, it->window, sizeof *it->keep, &it->keep, err));
    if (it->prefix_count > 0) {
        memcpy(it->past, input->prefix, it->prefix_count * sizeof *it->past);
    }
    it->past_count = it->prefix_count;
    it->pending = it->prefix_count;
    it->lm->truncate(it->lm->user, it->stream, 0);
    return PITH_OK;
}

pith_status pith__lingua_iterate(const pith__lm *lm, unsigned stream,
                                 const pith__iterate_input *input, pith__arena *arena, float *nats,
                                 pith_error *err)
{
    iteration it = {.lm = lm, .stream = stream, .input = input};
    const pith__arena_mark mark = pith__arena_save(arena);
    pith_status status = prepare(&it, arena, err);
    for (size_t begin = 0; begin < input->count && status == PITH_OK;) {
        const size_t end = window_end(&it, begin);
        status = read_window(&it, begin, end, nats, err);
        if (status == PITH_OK) {
            choose(&it, begin, end, nats);
            settle(&it, begin, end);
        }
        begin = end;
    }
    pith__arena_restore(arena, mark);
    return status;
}
