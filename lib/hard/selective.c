/*
 * selective.c: Selective Context as its paper has it: units above a percentile of
 * self-information, or enough of them to hold a share of all of it.
 */
#include "hard/hard_internal.h"

#include <math.h>

pith_status pith__select_percentile(const pith__hard_source *source, pith__units *units,
                                    double share, pith__arena *arena, pith__kept *out,
                                    pith_error *err)
{
    *out = (pith__kept){0};
    double *values = NULL;
    PITH__TRY(pith__arena_alloc(arena, units->count, sizeof *values, &values, err));
    size_t known = 0;
    for (size_t i = 0; i < units->count; i++) {
        if (!isnan(units->items[i].nats)) {
            values[known++] = (double)units->items[i].nats;
        }
    }
    pith__sort_values(values, known);
    const double threshold = pith__quantile(values, known, share);
    for (size_t i = 0; i < units->count; i++) {
        pith_unit *unit = &units->items[i];
        const bool below = (double)unit->nats < threshold; /* false if either is NaN */
        unit->kept = unit->is_protected || !below;
    }
    PITH__TRY(pith__kept_render(source, units, arena, out, err));
    out->threshold = threshold;
    return PITH_OK;
}

static double known_nats(float nats)
{
    return isnan(nats) ? 0.0 : (double)nats;
}

pith_status pith__select_mass(const pith__hard_source *source, pith__units *units, double mass,
                              pith__arena *arena, pith__kept *out, pith_error *err)
{
    *out = (pith__kept){0};
    pith__ranked *ranked = NULL;
    size_t count = 0;
    PITH__TRY(pith__units_rank(units, arena, &ranked, &count, err));

    double held = 0.0;
    for (size_t i = 0; i < units->count; i++) {
        pith_unit *unit = &units->items[i];
        unit->kept = unit->is_protected;
        held += unit->is_protected ? known_nats(unit->nats) : 0.0;
    }
    /* added up in the order of the selection: a mass of 1 is then reached exactly */
    double total = held;
    for (size_t i = 0; i < count; i++) {
        total += known_nats(ranked[i].key);
    }
    double threshold = (double)NAN;
    for (size_t i = 0; i < count; i++) {
        const float nats = ranked[i].key;
        if (!isnan(nats) && held >= mass * total) {
            break;
        }
        units->items[ranked[i].index].kept = true;
        held += known_nats(nats);
        threshold = (double)nats;
    }
    PITH__TRY(pith__kept_render(source, units, arena, out, err));
    out->threshold = threshold;
    return PITH_OK;
}
