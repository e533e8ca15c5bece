/*
 * order.c: which unit comes first, and which value stands at a given share of all.
 */
#include "hard/hard_internal.h"

#include <math.h>
#include <stdlib.h>

static int compare_ranked(const void *left, const void *right)
{
    const pith__ranked *a = left;
    const pith__ranked *b = right;
    const bool a_unknown = isnan(a->key);
    const bool b_unknown = isnan(b->key);
    if (a_unknown != b_unknown) {
        return a_unknown ? -1 : 1;
    }
    if (a->key > b->key) {
        return -1;
    }
    if (a->key < b->key) {
        return 1;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

pith_status pith__units_rank(const pith__units *units, pith__arena *arena, pith__ranked **out,
                             size_t *count, pith_error *err)
{
    *count = 0;
    pith__ranked *ranked = NULL;
    PITH__TRY(pith__arena_alloc(arena, units->count, sizeof *ranked, &ranked, err));
    for (size_t i = 0; i < units->count; i++) {
        const bool never = units->keys != NULL && isinf(units->keys[i]) && units->keys[i] < 0.0F;
        if (!units->items[i].is_protected && !never) {
            ranked[(*count)++] = (pith__ranked){
                .key = units->keys != NULL ? units->keys[i] : units->items[i].nats, .index = i};
        }
    }
    qsort(ranked, *count, sizeof *ranked, compare_ranked);
    *out = ranked;
    return PITH_OK;
}

static int compare_values(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

void pith__sort_values(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare_values);
}

double pith__quantile(const double *sorted, size_t count, double share)
{
    if (count == 0) {
        return (double)NAN;
    }
    /* numpy is given a percentage and divides it by 100 again */
    const double position = (double)(count - 1) * (share * 100.0 / 100.0);
    const double below = floor(position);
    const double part = position - below;
    size_t index = (size_t)below;
    index = index < count - 1 ? index : count - 1;
    const double low = sorted[index];
    const double high = sorted[index + 1 < count ? index + 1 : index];
    const double step = high - low;
    /* from the nearer end, so that the result never leaves [low, high] */
    return part < 0.5 ? low + step * part : high - step * (1.0 - part);
}
