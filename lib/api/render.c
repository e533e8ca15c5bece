/*
 * render.c: heat maps of pith.h, forwarded to lib/hard once the units are checked.
 */
#include "api/api.h"

static pith_status check_ranges(const pith_range *ranges, size_t count, size_t size,
                                pith_error *err)
{
    size_t end = 0;
    for (size_t i = 0; ranges != NULL && i < count; i++) {
        if (ranges[i].start < end || ranges[i].end < ranges[i].start || ranges[i].end > size) {
            return pith__fail(err, PITH_E_ARGUMENT,
                              "range %zu, bytes %zu to %zu: ranges must be ascending and within "
                              "the text of %zu bytes",
                              i, ranges[i].start, ranges[i].end, size);
        }
        end = ranges[i].end;
    }
    return PITH_OK;
}

static pith_status check_units(const pith_unit *units, size_t count, size_t size, pith_error *err)
{
    size_t end = 0;
    for (size_t i = 0; i < count; i++) {
        if (units[i].start < end || units[i].end < units[i].start || units[i].end > size) {
            return pith__fail(err, PITH_E_ARGUMENT,
                              "unit %zu, bytes %zu to %zu: units must be ascending and within the "
                              "text of %zu bytes",
                              i, units[i].start, units[i].end, size);
        }
        end = units[i].end;
    }
    return PITH_OK;
}

/* The renderers read units only; the struct they take is the one that selection fills. */
static pith__units as_units(const pith_unit *units, size_t count)
{
    return (pith__units){.items = (pith_unit *)(uintptr_t)units, .count = count};
}

pith_status pith_render_ansi(const char *text, size_t size, const pith_unit *units, size_t count,
                             const pith_range *ranges, size_t range_count, bool color,
                             pith_write_fn write, void *user, pith_error *err)
{
    PITH__TRY(check_units(units, count, size, err));
    PITH__TRY(check_ranges(ranges, range_count, size, err));
    const pith__source source = {.text = text, .size = size};
    const pith__units all = as_units(units, count);
    const pith__kept kept = {.ranges = ranges, .range_count = range_count};
    const pith__kept *output = ranges == NULL ? NULL : &kept;
    return pith__render_ansi(&source, &all, output, color, write, user, &pith__allocator_default,
                             err);
}

pith_status pith_render_html(const char *text, size_t size, const pith_unit *units, size_t count,
                             const pith_range *ranges, size_t range_count, const pith_stats *stats,
                             const char *title, pith_write_fn write, void *user, pith_error *err)
{
    PITH__TRY(check_units(units, count, size, err));
    PITH__TRY(check_ranges(ranges, range_count, size, err));
    const pith__source source = {.text = text, .size = size};
    const pith__units all = as_units(units, count);
    const pith__kept kept = {.ranges = ranges, .range_count = range_count};
    const pith__kept *output = ranges == NULL ? NULL : &kept;
    const pith__page page = {.title = title, .stats = stats};
    return pith__render_html(&source, &all, output, &page, write, user, &pith__allocator_default,
                             err);
}
