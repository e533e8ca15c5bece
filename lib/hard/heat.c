/*
 * heat.c: what the two heat maps share: classes of self-information, stretches of text that look
 * alike, buffered output, and characters that must not be shown as they are.
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

pith_status pith__heat_init(pith__heat *heat, const pith__source *source, const pith__units *units,
                            const pith__kept *kept, const pith_allocator *mem, pith_error *err)
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

/* ---- output -------------------------------------------------------------------- */

static void flush(pith__out *out)
{
    if (out->size > 0 && !out->failed) {
        out->failed = !out->write(out->user, out->data, out->size);
    }
    out->size = 0;
}

void pith__out_bytes(pith__out *out, const char *data, size_t size)
{
    while (size > 0) {
        const size_t room = sizeof out->data - out->size;
        const size_t part = size < room ? size : room;
        memcpy(out->data + out->size, data, part);
        out->size += part;
        data += part;
        size -= part;
        if (out->size == sizeof out->data) {
            flush(out);
        }
    }
}

void pith__out_text(pith__out *out, const char *text)
{
    pith__out_bytes(out, text, strlen(text));
}

void pith__out_number(pith__out *out, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    pith__out_bytes(out, digits + at, sizeof digits - at);
}

void pith__out_fixed(pith__out *out, double value, unsigned decimals)
{
    if (isnan(value)) {
        pith__out_text(out, "?");
        return;
    }
    if (value < 0.0) {
        pith__out_text(out, "-");
        value = -value;
    }
    uint64_t unit = 1;
    for (unsigned i = 0; i < decimals; i++) {
        unit *= 10;
    }
    const double scaled = round(value * (double)unit);
    if (scaled >= 1e18) {
        pith__out_text(out, "\xe2\x88\x9e");
        return;
    }
    const uint64_t number = (uint64_t)scaled;
    pith__out_number(out, number / unit);
    if (decimals > 0) {
        pith__out_text(out, ".");
    }
    for (uint64_t place = unit / 10; place > 0; place /= 10) {
        pith__out_number(out, number / place % 10);
    }
}

pith_status pith__out_finish(pith__out *out, pith_error *err)
{
    flush(out);
    return out->failed ? pith__fail(err, PITH_E_IO, "the output callback stopped the rendering")
                       : PITH_OK;
}

/* ---- characters ------------------------------------------------------------------ */

/* C1 controls, and those that turn the direction of what follows them. */
static bool is_hidden_control(uint32_t c)
{
    return (c >= 0x80 && c <= 0x9F) || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

pith__look pith__look_at(const pith__source *source, size_t at, size_t limit, size_t *size,
                         uint32_t *code_point)
{
    *size = pith__utf8_decode(source->text, source->size, at, code_point);
    if (*size > limit - at) {
        *size = 1;
        *code_point = PITH__UTF8_INVALID;
    }
    const uint32_t c = *code_point;
    if (c == PITH__UTF8_INVALID) {
        return PITH__LOOK_INVALID;
    }
    if (c == '\r' && at + 1 < source->size && source->text[at + 1] == '\n') {
        return PITH__LOOK_SKIP;
    }
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F) {
        return PITH__LOOK_PICTURE;
    }
    return is_hidden_control(c) ? PITH__LOOK_CODE : PITH__LOOK_PLAIN;
}

void pith__out_picture(pith__out *out, uint32_t code_point)
{
    const uint32_t low = code_point == 0x7F ? 0x21 : code_point;
    pith__out_bytes(out, (const char[]){'\xe2', '\x90', (char)(0x80 + low)}, 3);
}
