/*
 * heat.c: what the two heat maps share: classes of self-information, and stretches of text that look
 * alike.
 */
#include "hard/hard_internal.h"

#include <math.h>
#include <string.h>

/* ---- what there is to show -------------------------------------------------- */

static pith_status collect_nats(pith__heat *heat, pith_error *err)
{
    PITH__TRY(pith__alloc(&heat->mem, heat->units->count, sizeof *heat->nats, &heat->nats, err));
    for (size_t i = 0; i < heat->units->count; i++) {
        if (!isnan(heat->units->items[i].nats)) {
            heat->nats[heat->known++] = (double)heat->units->items[i].nats;
        }
    }
    pith__sort_values(heat->nats, heat->known);
    for (size_t i = 0; i < PITH__HEAT_CLASSES - 1; i++) {
        const double share = (double)(i + 1) / PITH__HEAT_CLASSES;
        heat->cuts[i] = pith__quantile(heat->nats, heat->known, share);
    }
    return PITH_OK;
}

static pith_status copy_ranges(pith__heat *heat, const pith__kept *kept, pith_error *err)
{
    const size_t count = kept->range_count;
    PITH__TRY(pith__alloc(&heat->mem, count, sizeof *heat->ranges, &heat->ranges, err));
    heat->range_count = count;
    if (count > 0) {
        memcpy(heat->ranges, kept->ranges, count * sizeof *heat->ranges);
    }
    return PITH_OK;
}

static pith_status collect_ranges(pith__heat *heat, pith_error *err)
{
    const pith__extent extent = pith__kept_extent(heat->source, heat->units);
    pith__kept_sink need = {0};
    pith__kept_walk(heat->source, heat->units, &extent, &need);
    PITH__TRY(pith__alloc(&heat->mem, need.range_count, sizeof *heat->ranges, &heat->ranges, err));
    heat->range_count = need.range_count;
    pith__kept_sink sink = {.ranges = heat->ranges};
    pith__kept_walk(heat->source, heat->units, &extent, &sink);
    return PITH_OK;
}

pith_status pith__heat_init(pith__heat *heat, const pith__hard_source *source,
                            const pith__units *units, const pith__kept *kept,
                            const pith_allocator *mem, pith_error *err)
{
    *heat = (pith__heat){.source = source, .units = units, .mem = *mem};
    PITH__TRY(collect_nats(heat, err));
    const pith_status status =
        kept == NULL ? collect_ranges(heat, err) : copy_ranges(heat, kept, err);
    if (status != PITH_OK) {
        pith__heat_deinit(heat);
    }
    return status;
}

void pith__heat_deinit(pith__heat *heat)
{
    pith__free(&heat->mem, heat->nats, heat->units->count, sizeof *heat->nats);
    pith__free(&heat->mem, heat->ranges, heat->range_count, sizeof *heat->ranges);
    heat->nats = NULL;
    heat->ranges = NULL;
}

int pith__heat_class(const pith__heat *heat, float nats)
{
    if (isnan(nats)) {
        return -1;
    }
    int level = 0;
    while (level < PITH__HEAT_CLASSES - 1 && (double)nats > heat->cuts[level]) {
        level++;
    }
    return level;
}

bool pith__heat_next(pith__heat_walk *segments, pith__heat_run *out)
{
    const pith__heat *heat = segments->heat;
    const size_t at = segments->at;
    if (at >= heat->source->size) {
        return false;
    }
    *out = (pith__heat_run){.start = at, .end = heat->source->size};
    const pith__units *units = heat->units;
    while (segments->unit < units->count && units->items[segments->unit].end <= at) {
        segments->unit++;
    }
    if (segments->unit < units->count) {
        const pith_unit *unit = &units->items[segments->unit];
        out->unit = unit->start <= at ? unit : NULL;
        out->end = unit->start <= at ? unit->end : unit->start;
    }
    while (segments->range < heat->range_count && heat->ranges[segments->range].end <= at) {
        segments->range++;
    }
    if (segments->range < heat->range_count) {
        const pith_range *range = &heat->ranges[segments->range];
        out->in_output = range->start <= at;
        const size_t end = out->in_output ? range->end : range->start;
        out->end = end < out->end ? end : out->end;
    }
    segments->at = out->end;
    return true;
}
