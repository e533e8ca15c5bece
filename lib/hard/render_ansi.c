/*
 * render_ansi.c: the heat map for a terminal, in 256 colours or in plain text.
 */
#include "hard/hard_internal.h"

/* How a stretch looks; 0 to 9 are classes of heat. */
enum {
    STYLE_NONE = -1,     /* as the terminal has it */
    STYLE_DROPPED = -2,  /* dim, struck through */
    STYLE_OUTSIDE = -3,  /* dim */
    STYLE_PROTECTED = 16 /* added to STYLE_NONE or a class: bold */
};

typedef struct painter {
    pith__out out;
    const pith__heat *heat;
    bool color;
} painter;

static int style_of(const painter *p, const pith__heat_run *segment)
{
    if (segment->unit == NULL) {
        return segment->in_output ? STYLE_NONE : STYLE_OUTSIDE;
    }
    if (!segment->in_output) {
        return STYLE_DROPPED;
    }
    if (!segment->unit->kept || !p->color) {
        return STYLE_NONE;
    }
    const int level = pith__heat_class(p->heat, segment->unit->nats);
    return segment->unit->is_protected ? level + STYLE_PROTECTED : level;
}

static pith__marks marks_of(const painter *p, int style)
{
    if (style == STYLE_NONE) {
        return pith__terminal_plain();
    }
    if (!p->color) {
        return pith__terminal_brackets();
    }
    switch (style) {
    case STYLE_DROPPED:
        return (pith__marks){.on = "\x1b[2;9m", .off = "\x1b[0m"};
    case STYLE_OUTSIDE:
        return (pith__marks){.on = "\x1b[2m", .off = "\x1b[0m"};
    default:
        break;
    }
    const bool is_protected = style >= STYLE_PROTECTED + STYLE_NONE;
    return pith__terminal_heat(is_protected ? style - STYLE_PROTECTED : style, is_protected);
}

pith_status pith__render_ansi(const pith__hard_source *source, const pith__units *units,
                              const pith__kept *kept, bool color, pith_write_fn write, void *user,
                              const pith_allocator *mem, pith_error *err)
{
    pith__heat heat;
    PITH__TRY(pith__heat_init(&heat, source, units, kept, mem, err));
    painter p = {.out = {.write = write, .user = user}, .heat = &heat, .color = color};
    pith__heat_walk segments = {.heat = &heat};
    pith__heat_run segment;
    int style = STYLE_NONE;
    pith__marks marks = marks_of(&p, style);
    while (pith__heat_next(&segments, &segment)) {
        int next = style_of(&p, &segment);
        next = !color && next == STYLE_OUTSIDE ? STYLE_DROPPED : next;
        if (next != style) {
            pith__out_text(&p.out, marks.off);
            marks = marks_of(&p, next);
            pith__out_text(&p.out, marks.on);
            style = next;
        }
        const pith__shown shown = {source->text, source->size, segment.start, segment.end};
        pith__terminal_text(&p.out, &shown, color ? &marks : NULL);
    }
    pith__out_text(&p.out, marks.off);
    pith__heat_deinit(&heat);
    return pith__out_finish(&p.out, err);
}
