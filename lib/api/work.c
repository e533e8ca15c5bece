/*
 * work.c: the working text: readings of several parts laid out in the order of the output.
 */
#include "api/prompt.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct layout {
    pith_ctx *ctx;
    pith_allocator mem;
    const pith__prompt *prompt;
    char *text;
    pith__work *work;
    size_t cuts_capacity;
    size_t edges_capacity;
    pith_error *err;
} layout;

static pith_status push_cut(layout *l, size_t offset)
{
    pith__work *w = l->work;
    if (w->cut_count > 0 && w->cuts[w->cut_count - 1] == offset) {
        return PITH_OK;
    }
    PITH__TRY(pith__grow(&l->mem, &w->cuts, &l->cuts_capacity, w->cut_count + 1, sizeof *w->cuts,
                         l->err));
    w->cuts[w->cut_count++] = offset;
    return PITH_OK;
}

static pith_status copy_spans(layout *l, const pith__spans *from, size_t base, pith__spans *to)
{
    for (size_t i = 0; i < from->count; i++) {
        PITH__TRY(pith__spans_push(to, &l->mem, base + from->items[i].start,
                                   base + from->items[i].end, from->items[i].kind, l->err));
    }
    return PITH_OK;
}

static int compare_sizes(const void *left, const void *right)
{
    const size_t a = *(const size_t *)left;
    const size_t b = *(const size_t *)right;
    return a < b ? -1 : a > b;
}

/* The ends of tags, segments and atoms. */
static pith_status cut_inside(layout *l, const pith__reading *part, size_t base)
{
    size_t *all = NULL;
    size_t count = 0;
    const size_t most = part->cuts.count + 2 * (part->segments.count + part->atoms.count);
    PITH__TRY(pith__arena_alloc(&l->ctx->arena, most, sizeof *all, &all, l->err));
    for (size_t i = 0; i < part->cuts.count; i++) {
        all[count++] = base + part->cuts.items[i].start;
    }
    for (size_t i = 0; i < part->segments.count; i++) {
        all[count++] = base + part->segments.items[i].start;
        all[count++] = base + part->segments.items[i].end;
    }
    for (size_t i = 0; i < part->atoms.count; i++) {
        all[count++] = base + part->atoms.items[i].start;
        all[count++] = base + part->atoms.items[i].end;
    }
    qsort(all, count, sizeof *all, compare_sizes);
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(push_cut(l, all[i]));
    }
    return PITH_OK;
}

static pith_status copy_segments(layout *l, const pith__reading *part, size_t base, double rate)
{
    pith__segments *to = &l->work->segments;
    for (size_t i = 0; i < part->segments.count; i++) {
        const pith__segment *s = &part->segments.items[i];
        PITH__TRY(pith__grow(&l->mem, &to->items, &to->capacity, to->count + 1, sizeof *to->items,
                             l->err));
        to->items[to->count++] =
            (pith__segment){base + s->start, base + s->end, isnan(s->rate) ? rate : s->rate};
    }
    return PITH_OK;
}

static pith_status copy_edges(layout *l, const pith__reading *part, size_t base)
{
    pith__work *w = l->work;
    PITH__TRY(pith__grow(&l->mem, &w->edges, &l->edges_capacity, w->edge_count + part->edges.count,
                         sizeof *w->edges, l->err));
    for (size_t i = 0; i < part->edges.count; i++) {
        w->edges[w->edge_count++] = base + part->edges.items[i].start;
    }
    return PITH_OK;
}

static pith_status copy_map(layout *l, const pith__text_map *map, size_t base)
{
    for (size_t i = 0; i + 1 < map->count; i++) {
        const pith__map_piece *p = &map->pieces[i];
        PITH__TRY(
            pith__text_map_push(&l->work->map, &l->mem, base + p->clean, p->start, p->end, l->err));
    }
    return PITH_OK;
}

/*
 * The empty line before part `next`; the first of the source has none, and takes that of the part
 * which comes first here, so that no byte of the source is used twice.
 */
static pith_status add_joiner(layout *l, const pith__reading *next)
{
    pith__work *w = l->work;
    const pith__reading *first = &l->prompt->parts[w->places[0].part];
    const size_t start = (next->start > 0 ? next->start : first->start) - PITH__JOINER_SIZE;
    PITH__TRY(
        pith__text_map_push(&w->map, &l->mem, w->size, start, start + PITH__JOINER_SIZE, l->err));
    PITH__TRY(push_cut(l, w->size));
    memcpy(l->text + w->size, l->prompt->source + start, PITH__JOINER_SIZE);
    w->size += PITH__JOINER_SIZE;
    return push_cut(l, w->size);
}

static pith_status add_part(layout *l, size_t index, double rate)
{
    pith__work *w = l->work;
    const pith__reading *part = &l->prompt->parts[index];
    if (part->size == 0) {
        return PITH_OK;
    }
    if (w->place_count > 0) {
        PITH__TRY(add_joiner(l, part));
    }
    const size_t base = w->size;
    memcpy(l->text + base, part->text, part->size);
    w->size += part->size;
    w->places[w->place_count++] = (pith__place){index, base, w->size, rate};
    w->is_local = w->is_local || part->is_local;
    PITH__TRY(copy_map(l, &part->map, base));
    PITH__TRY(copy_segments(l, part, base, rate));
    PITH__TRY(copy_spans(l, &part->fixed, base, &w->fixed));
    PITH__TRY(copy_spans(l, &part->by_rule, base, &w->by_rule));
    PITH__TRY(copy_spans(l, &part->atoms, base, &w->atoms));
    PITH__TRY(copy_spans(l, &part->joined, base, &w->joined));
    PITH__TRY(copy_edges(l, part, base));
    return cut_inside(l, part, base);
}

pith_status pith__work_build(pith_ctx *ctx, const pith__prompt *prompt, const size_t *order,
                             const double *rates, size_t count, pith__work *out, pith_error *err)
{
    layout l = {.ctx = ctx,
                .mem = pith__arena_allocator(&ctx->arena),
                .prompt = prompt,
                .work = out,
                .err = err};
    *out = (pith__work){0};
    PITH__TRY(pith__arena_alloc(&ctx->arena, prompt->size + 1, 1, &l.text, err));
    PITH__TRY(pith__arena_alloc(&ctx->arena, count, sizeof *out->places, &out->places, err));
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(add_part(&l, order[i], rates[i]));
    }
    l.text[out->size] = '\0';
    out->text = l.text;
    const size_t last = out->map.count > 0 ? out->map.pieces[out->map.count - 1].end : 0;
    return pith__text_map_push(&out->map, &l.mem, out->size, last, last, err);
}
