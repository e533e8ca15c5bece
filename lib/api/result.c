/*
 * result.c: pith_result: what came of a compression, in offsets of the source.
 */
#include "api/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- ranges ----------------------------------------------------------------------------------- */

static pith_status append_range(pith_result *r, size_t start, size_t end, pith_error *err)
{
    if (r->n_ranges > 0 && r->ranges[r->n_ranges - 1].end == start) {
        r->ranges[r->n_ranges - 1].end = end;
        return PITH_OK;
    }
    PITH__TRY(pith__grow(&r->mem, &r->ranges, &r->ranges_capacity, r->n_ranges + 1,
                         sizeof *r->ranges, err));
    r->ranges[r->n_ranges++] = (pith_range){start, end};
    return PITH_OK;
}

/* Cut wherever the working text leaves something of the source out. */
static pith_status map_ranges(const pith__outcome *o, pith_result *r, pith_error *err)
{
    const pith__text_map *map = o->map;
    size_t piece = 0;
    for (size_t i = 0; i < o->range_count; i++) {
        size_t start = o->ranges[i].start;
        const size_t end = o->ranges[i].end;
        while (start < end) {
            while (piece + 1 < map->count && map->pieces[piece + 1].clean <= start) {
                piece++;
            }
            const bool is_cut = piece + 1 < map->count && map->pieces[piece + 1].clean < end;
            const size_t stop = is_cut ? map->pieces[piece + 1].clean : end;
            PITH__TRY(append_range(r, pith__text_map_start(map, start),
                                   pith__text_map_end(map, stop), err));
            start = stop;
        }
    }
    return PITH_OK;
}

/* ---- units ------------------------------------------------------------------------------------- */

static pith_status append_unit(pith_result *r, const pith_unit *unit, pith_error *err)
{
    PITH__TRY(
        pith__grow(&r->mem, &r->units, &r->units_capacity, r->n_units + 1, sizeof *r->units, err));
    r->units[r->n_units++] = *unit;
    return PITH_OK;
}

static int compare_units(const void *left, const void *right)
{
    const pith_unit *a = left;
    const pith_unit *b = right;
    if (a->start != b->start) {
        return a->start < b->start ? -1 : 1;
    }
    return a->end < b->end ? -1 : a->end > b->end;
}

void pith__sort_units(pith_unit *units, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        if (units[i].start < units[i - 1].start) { /* most often they are in order */
            qsort(units, count, sizeof *units, compare_units);
            return;
        }
    }
}

static pith_status map_units(const pith__prompt *prompt, const pith__outcome *o, pith_result *r,
                             pith_error *err)
{
    for (size_t i = 0; i < o->unit_count; i++) {
        pith_unit unit = o->units[i];
        if (unit.end > unit.start) {
            unit.start = pith__text_map_start(o->map, o->units[i].start);
            unit.end = pith__text_map_end(o->map, o->units[i].end);
        }
        PITH__TRY(append_unit(r, &unit, err));
    }
    for (size_t i = 0; o->places != NULL && i < prompt->count; i++) {
        const pith__reading *part = &prompt->parts[i];
        if (o->places[i] == SIZE_MAX && part->end > part->start && !o->has_all_units) {
            const pith_unit whole = {.start = part->start, .end = part->end, .nats = NAN};
            PITH__TRY(append_unit(r, &whole, err));
        }
    }
    pith__sort_units(r->units, r->n_units); /* contexts may have been reordered */
    for (size_t i = 0; i < r->n_units; i++) {
        r->stats.units_kept += r->units[i].kept;
        r->stats.units_protected += r->units[i].is_protected;
    }
    r->stats.units = r->n_units;
    return PITH_OK;
}

/* ---- parts -------------------------------------------------------------------------------------- */

static int compare_ranges(const void *left, const void *right)
{
    const pith_range *a = left;
    const pith_range *b = right;
    if (a->start != b->start) {
        return a->start < b->start ? -1 : 1;
    }
    return a->end < b->end ? -1 : a->end > b->end;
}

void pith__sort_ranges(pith_range *ranges, size_t count)
{
    qsort(ranges, count, sizeof *ranges, compare_ranges);
}

/* The ranges in the order of the source. */
static pith_status sort_ranges(pith_ctx *ctx, const pith_result *r, pith_range **out,
                               pith_error *err)
{
    PITH__TRY(pith__arena_alloc(&ctx->arena, r->n_ranges, sizeof **out, out, err));
    for (size_t i = 0; i < r->n_ranges; i++) {
        (*out)[i] = r->ranges[i];
    }
    pith__sort_ranges(*out, r->n_ranges);
    return PITH_OK;
}

/* Tokens of what sorted ranges, from *next on, keep of a part; parts are asked for in order. */
static pith_status count_kept(pith_ctx *ctx, const pith_result *r, const pith_range *ranges,
                              size_t *next, pith_part_stats *part, bool *is_kept, pith_error *err)
{
    pith__buf kept;
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    pith__buf_init(&kept, &mem, SIZE_MAX);
    while (*next < r->n_ranges && ranges[*next].end <= part->start) {
        ++*next;
    }
    for (size_t i = *next; i < r->n_ranges && ranges[i].start < part->end; i++) {
        const size_t from = ranges[i].start > part->start ? ranges[i].start : part->start;
        const size_t to = ranges[i].end < part->end ? ranges[i].end : part->end;
        PITH__TRY(pith__buf_append(&kept, r->source + from, to - from, err));
    }
    *is_kept = kept.size > 0;
    return pith__count(ctx, kept.data, kept.size, &part->kept_tokens, err);
}

/* Parts of which nothing is in the output have no place, those behind them move up. */
static pith_status close_ranks(pith_ctx *ctx, const bool *is_kept, pith_result *r, pith_error *err)
{
    size_t *moved = NULL;
    size_t place = 0;
    PITH__TRY(pith__arena_alloc_zero(&ctx->arena, r->n_parts, sizeof *moved, &moved, err));
    for (size_t i = 0; i < r->n_parts; i++) {
        pith_part_stats *part = &r->parts[i];
        part->place = is_kept[i] ? part->place : SIZE_MAX;
        if (part->place < r->n_parts) {
            moved[part->place] = 1;
        }
    }
    for (size_t i = 0; i < r->n_parts; i++) {
        const size_t here = moved[i];
        moved[i] = place;
        place += here;
    }
    for (size_t i = 0; i < r->n_parts; i++) {
        pith_part_stats *part = &r->parts[i];
        part->place = part->place < r->n_parts ? moved[part->place] : SIZE_MAX;
    }
    return PITH_OK;
}

static pith_status fill_parts(pith_ctx *ctx, const pith__prompt *prompt, const pith__outcome *o,
                              pith_result *r, pith_error *err)
{
    pith_range *ranges = NULL;
    bool *is_kept = NULL;
    size_t next = 0;
    PITH__TRY(pith__alloc_zero(&r->mem, prompt->count, sizeof *r->parts, &r->parts, err));
    r->n_parts = prompt->count;
    PITH__TRY(sort_ranges(ctx, r, &ranges, err));
    PITH__TRY(pith__arena_alloc(&ctx->arena, prompt->count, sizeof *is_kept, &is_kept, err));
    for (size_t i = 0; i < prompt->count; i++) {
        const pith__reading *part = &prompt->parts[i];
        pith_part_stats *stats = &r->parts[i];
        *stats = (pith_part_stats){.role = part->role,
                                   .start = part->start,
                                   .end = part->end,
                                   .source_tokens = part->tokens,
                                   .score = o->scores != NULL ? o->scores[i] : (double)NAN,
                                   .place = o->places != NULL ? o->places[i] : i};
        if (prompt->count == 1) {
            stats->source_tokens = r->stats.source_tokens;
            stats->kept_tokens = r->stats.kept_tokens;
            is_kept[0] = r->n_ranges > 0;
            continue;
        }
        const pith__arena_mark mark = pith__arena_save(&ctx->arena);
        const pith_status status = count_kept(ctx, r, ranges, &next, stats, &is_kept[i], err);
        pith__arena_restore(&ctx->arena, mark);
        PITH__TRY(status);
    }
    return close_ranks(ctx, is_kept, r, err);
}

/* ---- all of it ------------------------------------------------------------------------------------ */

static pith_status copy_text(const pith_allocator *mem, const char *text, size_t size, char **out,
                             pith_error *err)
{
    PITH__TRY(pith__alloc(mem, size + 1, 1, out, err));
    if (size > 0) {
        memcpy(*out, text, size);
    }
    (*out)[size] = '\0';
    return PITH_OK;
}

pith_status pith__result_fill(pith_ctx *ctx, const pith__prompt *prompt,
                              const pith__outcome *outcome, pith_result *result, pith_error *err)
{
    result->stats = outcome->stats;
    result->size = outcome->size;
    result->source_size = prompt->size;
    PITH__TRY(copy_text(&result->mem, outcome->text, outcome->size, &result->text, err));
    PITH__TRY(copy_text(&result->mem, prompt->source, prompt->size, &result->source, err));
    PITH__TRY(pith__count(ctx, result->text, result->size, &result->stats.kept_tokens, err));
    PITH__TRY(map_ranges(outcome, result, err));
    PITH__TRY(map_units(prompt, outcome, result, err));
    return fill_parts(ctx, prompt, outcome, result, err);
}

void pith_result_free(pith_result *result)
{
    if (result == NULL) {
        return;
    }
    const pith_allocator mem = result->mem;
    pith__free(&mem, result->source, result->source_size + 1, 1);
    pith__free(&mem, result->text, result->size + 1, 1);
    pith__free(&mem, result->ranges, result->ranges_capacity, sizeof *result->ranges);
    pith__free(&mem, result->units, result->units_capacity, sizeof *result->units);
    pith__free(&mem, result->parts, result->n_parts, sizeof *result->parts);
    pith__free(&mem, result, 1, sizeof *result);
}

const char *pith_result_text(const pith_result *result)
{
    return result->text;
}

size_t pith_result_size(const pith_result *result)
{
    return result->size;
}

const char *pith_result_source(const pith_result *result, size_t *size)
{
    *size = result->source_size;
    return result->source;
}

const pith_range *pith_result_ranges(const pith_result *result, size_t *count)
{
    *count = result->n_ranges;
    return result->ranges;
}

const pith_unit *pith_result_units(const pith_result *result, size_t *count)
{
    *count = result->n_units;
    return result->units;
}

const pith_part_stats *pith_result_parts(const pith_result *result, size_t *count)
{
    *count = result->n_parts;
    return result->parts;
}

pith_stats pith_result_stats(const pith_result *result)
{
    return result->stats;
}
