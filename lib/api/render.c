/*
 * render.c: heat maps of pith.h, forwarded to lib/hard and lib/render once the units are checked.
 */
#include "api/api.h"

#include "render/render.h"

/* Item `index` of a list must begin at or after *end, where the one before it ended. */
static pith_status check_next(const char *what, size_t index, pith_range range, size_t size,
                              size_t *end, pith_error *err)
{
    if (range.start < *end || range.end < range.start || range.end > size) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "%s %zu, bytes %zu to %zu: %ss must be ascending and within the text of "
                          "%zu bytes",
                          what, index, range.start, range.end, what, size);
    }
    *end = range.end;
    return PITH_OK;
}

static pith_status check(const pith_unit *units, size_t count, const pith__kept *output,
                         size_t size, pith_error *err)
{
    size_t end = 0;
    for (size_t i = 0; i < count; i++) {
        const pith_range range = {units[i].start, units[i].end};
        PITH__TRY(check_next("unit", i, range, size, &end, err));
    }
    end = 0;
    for (size_t i = 0; i < output->range_count; i++) {
        PITH__TRY(check_next("range", i, output->ranges[i], size, &end, err));
    }
    return PITH_OK;
}

static pith__kept as_output(const pith_range *ranges, size_t count)
{
    return (pith__kept){.ranges = ranges, .range_count = ranges == NULL ? 0 : count};
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
    const pith__kept output = as_output(ranges, range_count);
    PITH__TRY(check(units, count, &output, size, err));
    const pith__hard_source source = {.text = text, .size = size};
    const pith__units all = as_units(units, count);
    return pith__render_ansi(&source, &all, ranges == NULL ? NULL : &output, color, write, user,
                             &pith__allocator_default, err);
}

pith_status pith_render_html(const char *text, size_t size, const pith_unit *units, size_t count,
                             const pith_range *ranges, size_t range_count, const pith_stats *stats,
                             const char *title, pith_write_fn write, void *user, pith_error *err)
{
    const pith__kept output = as_output(ranges, range_count);
    PITH__TRY(check(units, count, &output, size, err));
    const pith__hard_source source = {.text = text, .size = size};
    const pith__units all = as_units(units, count);
    const pith__page page = {.title = title, .stats = stats};
    return pith__render_html(&source, &all, ranges == NULL ? NULL : &output, &page, write, user,
                             &pith__allocator_default, err);
}

/* ---- recall --------------------------------------------------------------------------------- */

static pith_status check_tokens(const pith__recall_map *map, pith_error *err)
{
    size_t end = 0;
    for (size_t i = 0; i < map->count; i++) {
        const pith_range range = {map->tokens[i].start, map->tokens[i].end};
        PITH__TRY(check_next("token", i, range, map->size, &end, err));
    }
    return PITH_OK;
}

pith_status pith_render_recall_ansi(const char *text, size_t size, const pith_recall *tokens,
                                    size_t count, bool color, pith_write_fn write, void *user,
                                    pith_error *err)
{
    const pith__recall_map map = {text, size, tokens, count};
    PITH__TRY(check_tokens(&map, err));
    return pith__render_recall_ansi(&map, color, write, user, err);
}

pith_status pith_render_recall_html(const char *text, size_t size, const pith_recall *tokens,
                                    size_t count, const char *title, pith_write_fn write,
                                    void *user, pith_error *err)
{
    const pith__recall_map map = {text, size, tokens, count};
    PITH__TRY(check_tokens(&map, err));
    return pith__render_recall_html(&map, title, write, user, err);
}
