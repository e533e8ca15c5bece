/*
 * render.c: heat maps of pith.h, forwarded to lib/hard once the units are checked.
 */
#include "api/api.h"

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
                             bool color, pith_write_fn write, void *user, pith_error *err)
{
    PITH__TRY(check_units(units, count, size, err));
    const pith__source source = {.text = text, .size = size};
    const pith__units all = as_units(units, count);
    return pith__render_ansi(&source, &all, color, write, user, &pith__allocator_default, err);
}

pith_status pith_render_html(const char *text, size_t size, const pith_unit *units, size_t count,
                             const pith_stats *stats, const char *title, pith_write_fn write,
                             void *user, pith_error *err)
{
    PITH__TRY(check_units(units, count, size, err));
    const pith__source source = {.text = text, .size = size};
    const pith__units all = as_units(units, count);
    const pith__page page = {.title = title, .stats = stats};
    return pith__render_html(&source, &all, &page, write, user, &pith__allocator_default, err);
}
