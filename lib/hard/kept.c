/*
 * kept.c: the text that kept units make, by the glue rule.
 *
 * One walk over the units serves everybody: it hands each piece of the output to a sink that
 * copies bytes, notes ranges, or only counts. Trimming at the two ends is decided before the walk,
 * so that the walk itself never takes anything back.
 */
#include "hard/hard_internal.h"
#include "text/chars.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- white space -------------------------------------------------------------- */

/* The white-space character at `offset` and its end, "\r\n" being one; PITH__SPAN_WORD if it is none. */
static pith__span_kind space_at(const pith__hard_source *source, size_t offset, size_t limit,
                                size_t *end)
{
    uint32_t c = 0;
    *end = offset + pith__utf8_decode(source->text, source->size, offset, &c);
    if (c == '\r' && *end < limit && source->text[*end] == '\n') {
        ++*end;
    }
    return *end <= limit ? pith__char_space(c) : PITH__SPAN_WORD;
}

static pith__span_kind space_first(const pith__hard_source *source, pith_range range)
{
    size_t end = 0;
    return space_at(source, range.start, range.end, &end);
}

static pith__span_kind space_last(const pith__hard_source *source, pith_range range)
{
    uint32_t c = 0;
    const size_t length = pith__utf8_decode_before(source->text, source->size, range.end, &c);
    return length <= range.end - range.start ? pith__char_space(c) : PITH__SPAN_WORD;
}

/* ---- the two ends ---------------------------------------------------------------- */

/* True if the byte at `offset` of `unit` is protected itself, or may be. */
static bool must_stay(const pith__hard_source *source, const pith_unit *unit, size_t offset)
{
    if (!unit->is_protected || source->protect == NULL) {
        return unit->is_protected;
    }
    size_t low = 0; /* the spans before it end at or before the offset */
    size_t high = source->protect_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (source->protect[middle].end <= offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < source->protect_count && source->protect[low].start <= offset;
}

/* `range` lies in `unit`. */
static size_t trim_start(const pith__hard_source *source, const pith_unit *unit, pith_range range)
{
    size_t start = range.start;
    for (size_t at = range.start; at < range.end;) {
        size_t end = 0;
        if (space_at(source, at, range.end, &end) != PITH__SPAN_SPACE ||
            must_stay(source, unit, at)) {
            break;
        }
        at = end;
        /* a space with a combining mark on it stays */
        start = pith__hard_is_boundary(source, at) ? at : start;
    }
    return start;
}

static size_t trim_end(const pith__hard_source *source, const pith_unit *unit, pith_range range)
{
    size_t end = range.end;
    for (size_t at = range.end; at > range.start;) {
        uint32_t c = 0;
        const size_t length = pith__utf8_decode_before(source->text, source->size, at, &c);
        if (length > at - range.start || pith__char_space(c) != PITH__SPAN_SPACE ||
            must_stay(source, unit, at - length)) {
            break;
        }
        at -= length;
        end = pith__hard_is_boundary(source, at) ? at : end;
    }
    return end;
}

pith__extent pith__kept_extent(const pith__hard_source *source, const pith__units *units)
{
    pith__extent extent = {.last = units->count, .end = SIZE_MAX};
    bool dropped = false;
    for (; extent.first < units->count; extent.first++) {
        const pith_unit *unit = &units->items[extent.first];
        if (unit->kept) {
            const pith_range range = {unit->start, unit->end};
            extent.start = dropped ? trim_start(source, unit, range) : unit->start;
            if (extent.start < unit->end) {
                break;
            }
        }
        dropped = true;
    }
    dropped = false;
    for (; extent.last > extent.first; extent.last--) {
        const pith_unit *unit = &units->items[extent.last - 1];
        if (unit->kept) {
            const pith_range range = {unit->start, unit->end};
            extent.end = dropped ? trim_end(source, unit, range) : unit->end;
            if (extent.end > unit->start) {
                break;
            }
        }
        dropped = true;
    }
    return extent;
}

/* ---- the walk ---------------------------------------------------------------------- */

/* What dropped text leaves behind; the stronger stays. */
typedef enum gap_kind { GAP_NOTHING, GAP_SPACE, GAP_BREAK, GAP_EMPTY_LINE } gap_kind;

/* What was dropped since the last kept unit, and the white space that may stand for it. */
typedef struct gap {
    bool is_open; /* something was dropped */
    gap_kind kind;
    pith_range space;
    pith_range line;      /* the last line break and the white space after it; empty: none yet */
    pith_range first;     /* the first character */
    pith_range separator; /* the first that is neither white space nor of a word; empty: none yet */
} gap;

/* True for what reads as one word or number when two of it meet: digits, and letters of scripts
 * that put spaces between words (not Thai to Burmese, not Han and Kana). */
static bool is_fusible(uint32_t c)
{
    const bool has_spaces = c < 0xe00 || (c >= 0x10a0 && c < 0x1780) ||
                            (c >= 0x1e00 && c < 0x2e80) || (c >= 0xac00 && c < 0xd7b0);
    return c != PITH__UTF8_INVALID && pith__char_is_word(c) &&
           (has_spaces || pith__char_is_digit(c));
}

/* What stands for dropped text without white space: its first separator where words or numbers
 * would fuse, any first character between two digits, else nothing. */
static pith_range separator_of(const pith__hard_source *source, const gap *between, size_t before,
                               size_t after)
{
    uint32_t left = 0;
    uint32_t right = 0;
    (void)pith__utf8_decode_before(source->text, source->size, before, &left);
    (void)pith__utf8_decode(source->text, source->size, after, &right);
    if (!is_fusible(left) || !is_fusible(right)) {
        return (pith_range){0, 0};
    }
    if (between->separator.end > between->separator.start) {
        return between->separator;
    }
    const bool digits = pith__char_is_digit(left) && pith__char_is_digit(right);
    return digits ? between->first : (pith_range){0, 0};
}

/* White space that is a character by itself. A line break that only such parts from the one before
 * ends an empty line, in whichever units the two are. */
static void gap_take(gap *between, pith__span_kind white, pith_range range)
{
    const bool goes_on = between->line.end == range.start && between->line.end > 0;
    if (white == PITH__SPAN_SPACE) {
        between->line.end = goes_on ? range.end : between->line.end;
    }
    if (white == PITH__SPAN_SPACE && between->kind < GAP_SPACE) {
        between->kind = GAP_SPACE;
        between->space = range;
    }
    if (white == PITH__SPAN_BREAK) {
        const gap_kind kind = goes_on ? GAP_EMPTY_LINE : GAP_BREAK;
        between->line = (pith_range){goes_on ? between->line.start : range.start, range.end};
        between->space = kind > between->kind ? between->line : between->space;
        between->kind = kind > between->kind ? kind : between->kind;
    }
}

/* Any character by itself that may have to keep two words apart. */
static void gap_note(gap *between, const pith__hard_source *source, pith_range range)
{
    uint32_t c = 0;
    (void)pith__utf8_decode(source->text, source->size, range.start, &c);
    if (between->first.end == 0) {
        between->first = range;
    }
    if (between->separator.end == 0 && c != PITH__UTF8_INVALID && !pith__char_is_word(c) &&
        pith__char_space(c) == PITH__SPAN_WORD) {
        between->separator = range;
    }
}

static void gap_add(gap *between, const pith__hard_source *source, const pith_unit *unit)
{
    between->is_open = true;
    for (size_t at = unit->start; at < unit->end && between->kind < GAP_EMPTY_LINE;) {
        size_t end = 0;
        const pith__span_kind white = space_at(source, at, unit->end, &end);
        if (pith__hard_is_boundary(source, at) && pith__hard_is_boundary(source, end)) {
            gap_take(between, white, (pith_range){at, end});
            gap_note(between, source, (pith_range){at, end});
        }
        at = end;
    }
}

/* White space that nobody asked for, after dropped text, is part of the gap: it would pile up. */
static bool joins_gap(const gap *between, const pith__hard_source *source, const pith_unit *unit)
{
    if (!between->is_open || unit->is_protected) {
        return false;
    }
    for (size_t at = unit->start; at < unit->end;) {
        size_t end = 0;
        if (space_at(source, at, unit->end, &end) == PITH__SPAN_WORD) {
            return false;
        }
        at = end;
    }
    return true;
}

/* True if a string of JSON begins or ends at `offset`. */
static bool is_edge(const pith__hard_source *source, size_t offset)
{
    size_t low = 0; /* the edges before it are smaller */
    size_t high = source->edge_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (source->edges[middle] < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < source->edge_count && source->edges[low] == offset;
}

/* Puts what must stay of a gap in front of `range`, which loses its white space at a new line. */
static void glue(pith__kept_sink *sink, const pith__hard_source *source, const gap *between,
                 const pith_unit *unit, pith_range *range)
{
    const pith__span_kind before = space_last(source, sink->last);
    const bool at_start = is_edge(source, sink->last.end);
    const bool at_end = is_edge(source, range->start);
    if (between->kind >= GAP_BREAK || before == PITH__SPAN_BREAK || at_start) {
        range->start = trim_start(source, unit, *range);
    }
    if (at_start || at_end) {
        return;
    }
    const bool is_empty = range->start == range->end;
    const pith__span_kind after = is_empty ? PITH__SPAN_WORD : space_first(source, *range);
    const bool at_word = before == PITH__SPAN_WORD && after == PITH__SPAN_WORD;
    const bool at_line = before != PITH__SPAN_BREAK && after != PITH__SPAN_BREAK;
    if (between->kind >= GAP_BREAK ? at_line : between->kind == GAP_SPACE && at_word) {
        pith__kept_sink_add(sink, source, between->space);
    } else if (between->kind == GAP_NOTHING && !is_empty) {
        const pith_range separator = separator_of(source, between, sink->last.end, range->start);
        if (separator.end > separator.start) {
            pith__kept_sink_add(sink, source, separator);
        }
    }
}

void pith__kept_sink_add(pith__kept_sink *sink, const pith__hard_source *source, pith_range range)
{
    const size_t size = range.end - range.start;
    if (sink->text != NULL) {
        memcpy(sink->text + sink->size, source->text + range.start, size);
    }
    sink->size += size;
    if (sink->range_count > 0 && sink->last.end == range.start) {
        sink->last.end = range.end;
    } else {
        sink->range_count++;
        sink->last = range;
    }
    if (sink->ranges != NULL) {
        sink->ranges[sink->range_count - 1] = sink->last;
    }
}

static pith_range clip(const pith_unit *unit, const pith__extent *extent)
{
    return (pith_range){unit->start > extent->start ? unit->start : extent->start,
                        unit->end < extent->end ? unit->end : extent->end};
}

void pith__kept_walk(const pith__hard_source *source, const pith__units *units,
                     const pith__extent *extent, pith__kept_sink *sink)
{
    gap between = {0};
    for (size_t i = extent->first; i < extent->last; i++) {
        const pith_unit *unit = &units->items[i];
        if (!unit->kept || joins_gap(&between, source, unit)) {
            if (sink->range_count > 0) {
                gap_add(&between, source, unit);
            }
            continue;
        }
        pith_range range = clip(unit, extent);
        if (between.is_open) {
            glue(sink, source, &between, unit, &range);
            between = (gap){0};
        }
        if (range.start < range.end) {
            pith__kept_sink_add(sink, source, range);
        }
    }
}

pith_status pith__kept_render(const pith__hard_source *source, const pith__units *units,
                              pith__arena *arena, pith__kept *out, pith_error *err)
{
    *out = (pith__kept){0};
    const pith__extent extent = pith__kept_extent(source, units);
    pith__kept_sink need = {0};
    pith__kept_walk(source, units, &extent, &need);

    pith__kept_sink sink = {0};
    PITH__TRY(pith__arena_alloc(arena, need.size + 1, 1, &sink.text, err));
    if (need.range_count > 0) {
        PITH__TRY(
            pith__arena_alloc(arena, need.range_count, sizeof *sink.ranges, &sink.ranges, err));
    }
    pith__kept_walk(source, units, &extent, &sink);
    assert(sink.size == need.size && sink.range_count == need.range_count);
    sink.text[sink.size] = '\0';
    for (size_t i = 0; i < units->count; i++) {
        units->items[i].kept &= i >= extent.first && i < extent.last;
    }
    *out = (pith__kept){.text = sink.text,
                        .size = sink.size,
                        .ranges = sink.ranges,
                        .range_count = sink.range_count,
                        .tokens = SIZE_MAX,
                        .threshold = (double)NAN};
    return PITH_OK;
}
