/*
 * coarse.c: the budget controller: which contexts stay, in which order, and how their rates differ.
 */
#include "lingua/lingua_internal.h"

#include <math.h>
#include <stdlib.h>

typedef struct selection {
    const pith__lingua_options *options;
    const pith__coarse_input *input;
    const pith__lingua_rules *rules;
    size_t count;  /* contexts there are */
    bool *used;    /* (count) */
    size_t *order; /* what is kept, best first */
    size_t n_order;
} selection;

double pith__lingua_change_budget(const pith__budget_change *change, double budget)
{
    switch (change->op) {
    case '*':
        return budget * change->value;
    case '/':
        return budget / change->value;
    case '-':
        return budget - change->value;
    default:
        return budget + change->value;
    }
}

static void use(selection *s, size_t index)
{
    if (!s->used[index]) {
        s->used[index] = true;
        s->order[s->n_order++] = index;
    }
}

static void use_forced(selection *s)
{
    for (size_t i = 0; i < s->options->force_context_count; i++) {
        if (s->options->force_context_ids[i] < s->count) {
            use(s, s->options->force_context_ids[i]);
        }
    }
    for (size_t i = 0; i < s->count && s->input->forced != NULL; i++) {
        if (s->input->forced[i]) {
            use(s, i);
        }
    }
}

/* The release's loop: what is taken is taken before the test. */
static void take_as_released(selection *s, double budget)
{
    for (size_t r = 0; r < s->count; r++) {
        const size_t index = s->input->ranking->order[r];
        budget -= (double)s->input->lengths[index];
        use(s, index);
        /* it compares force_context_number with the length of a list that is still empty */
        if (budget < 0.0 || s->options->force_context_number == 0.0) {
            break;
        }
    }
}

/* Algorithm 1 of LLMLingua: append while what is there fits. */
static void take_while_fits(selection *s, double budget)
{
    const double most = s->options->force_context_number;
    for (size_t i = 0; i < s->n_order; i++) {
        budget -= (double)s->input->lengths[s->order[i]];
    }
    for (size_t r = 0; r < s->count; r++) {
        const size_t index = s->input->ranking->order[r];
        if (budget < 0.0 || (most >= 0.0 && (double)s->n_order >= most)) {
            break;
        }
        if (!s->used[index]) {
            budget -= (double)s->input->lengths[index];
            use(s, index);
        }
    }
    s->n_order = 0;
    for (size_t r = 0; r < s->count; r++) { /* forced ones too stand where they rank */
        if (s->used[s->input->ranking->order[r]]) {
            s->order[s->n_order++] = s->input->ranking->order[r];
        }
    }
}

/* What rank r of those kept gains or loses. */
static double change_at(const selection *s, size_t r)
{
    const double delta = fabs(s->options->dynamic_context_compression_ratio);
    const double kept = (double)s->n_order;
    if (s->n_order < 2) { /* the papers' formula would raise the only context above the rate */
        return 0.0;
    }
    return s->rules->change_is_even ? (kept - 1.0 - 2.0 * (double)r) * (delta / (kept - 1.0))
                                    : delta * (1.0 - 2.0 * (double)r / kept);
}

static int compare_sizes(const void *left, const void *right)
{
    const size_t a = *(const size_t *)left;
    const size_t b = *(const size_t *)right;
    return a < b ? -1 : a > b;
}

static void reorder(const selection *s, size_t *kept)
{
    const size_t count = s->n_order;
    const bool two_stage = s->options->reorder_context == PITH__REORDER_TWO_STAGE;
    for (size_t r = 0; r < count; r++) {
        const size_t place = !two_stage ? r : r % 2 == 0 ? r / 2 : count - 1 - r / 2;
        kept[place] = s->order[r];
    }
    if (s->options->reorder_context == PITH__REORDER_ORIGINAL) {
        qsort(kept, count, sizeof *kept, compare_sizes);
    }
}

pith_status pith__lingua_coarse(const pith__lingua_options *options,
                                const pith__coarse_input *input, pith__arena *arena,
                                pith__coarse *out, pith_error *err)
{
    *out = (pith__coarse){0};
    selection s = {.options = options,
                   .input = input,
                   .rules = pith__lingua_rules_of(options->mode),
                   .count = input->ranking->count};
    double *change_of = NULL;
    PITH__TRY(pith__arena_alloc_zero(arena, s.count, sizeof *s.used, &s.used, err));
    PITH__TRY(pith__arena_alloc(arena, s.count, sizeof *s.order, &s.order, err));
    PITH__TRY(pith__arena_alloc(arena, s.count, sizeof *change_of, &change_of, err));
    PITH__TRY(pith__arena_alloc(arena, s.count, sizeof *out->kept, &out->kept, err));
    PITH__TRY(pith__arena_alloc(arena, s.count, sizeof *out->change, &out->change, err));
    const double least = s.rules->negative_is_100 ? 100.0 : 0.0;
    const double budget = pith__lingua_change_budget(&options->context_budget,
                                                     input->budget < 0.0 ? least : input->budget);
    use_forced(&s);
    if (s.rules->forced_come_first) {
        take_as_released(&s, budget);
    } else {
        take_while_fits(&s, budget);
    }
    for (size_t r = 0; r < s.n_order; r++) {
        change_of[s.order[r]] = change_at(&s, r);
    }
    reorder(&s, out->kept);
    for (size_t i = 0; i < s.n_order; i++) {
        out->change[i] = change_of[out->kept[i]];
    }
    out->count = s.n_order;
    return PITH_OK;
}
