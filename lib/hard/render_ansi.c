/*
 * render_ansi.c: the heat map for a terminal, in 256 colours or in plain text.
 *
 * The text may be anybody's: no control character of it but line feed and tab reaches the terminal.
 */
#include "hard/hard_internal.h"

/* Backgrounds of the colour cube from dark violet to bright yellow, each lighter than the last. */
static const char *const heat_styles[PITH__HEAT_CLASSES] = {
    "38;5;231;48;5;53", "38;5;231;48;5;54", "38;5;231;48;5;24", "38;5;16;48;5;30",
    "38;5;16;48;5;36",  "38;5;16;48;5;41",  "38;5;16;48;5;113", "38;5;16;48;5;148",
    "38;5;16;48;5;184", "38;5;16;48;5;226",
};

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

static void begin_style(painter *p, int style)
{
    if (!p->color) {
        pith__out_text(&p->out, style == STYLE_NONE ? "" : "[-");
        return;
    }
    if (style == STYLE_NONE) {
        return;
    }
    if (style == STYLE_DROPPED || style == STYLE_OUTSIDE) {
        pith__out_text(&p->out, style == STYLE_DROPPED ? "\x1b[2;9m" : "\x1b[2m");
        return;
    }
    const bool is_protected = style >= STYLE_PROTECTED + STYLE_NONE;
    const int level = is_protected ? style - STYLE_PROTECTED : style;
    pith__out_text(&p->out, is_protected ? "\x1b[1" : "\x1b[");
    pith__out_text(&p->out, is_protected && level >= 0 ? ";" : "");
    pith__out_text(&p->out, level >= 0 ? heat_styles[level] : "");
    pith__out_text(&p->out, "m");
}

static void end_style(painter *p, int style)
{
    if (style != STYLE_NONE) {
        pith__out_text(&p->out, p->color ? "\x1b[0m" : "-]");
    }
}

static void put_hex(pith__out *out, const char *before, uint32_t number, int digits)
{
    pith__out_text(out, before);
    while (digits-- > 0) {
        pith__out_bytes(out, &"0123456789abcdef"[number >> (4 * digits) & 15], 1);
    }
}

/* Colours end before a line feed: a terminal would paint the rest of the line with them. */
static void paint(painter *p, const pith__heat_run *segment, int style)
{
    const pith__source *source = p->heat->source;
    for (size_t at = segment->start; at < segment->end;) {
        uint32_t c = 0;
        size_t size = 0;
        const pith__look look = pith__look_at(source, at, segment->end, &size, &c);
        switch (look) {
        case PITH__LOOK_PLAIN:
            if (c == '\n' && p->color) {
                end_style(p, style);
                pith__out_text(&p->out, "\n");
                begin_style(p, style);
            } else {
                pith__out_bytes(&p->out, source->text + at, size);
            }
            break;
        case PITH__LOOK_SKIP:
            break;
        case PITH__LOOK_PICTURE:
            pith__out_picture(&p->out, c);
            break;
        case PITH__LOOK_CODE:
            put_hex(&p->out, "\\u", c, 4);
            break;
        case PITH__LOOK_INVALID:
            put_hex(&p->out, "\\x", (unsigned char)source->text[at], 2);
            break;
        }
        at += size;
    }
}

pith_status pith__render_ansi(const pith__source *source, const pith__units *units,
                              const pith__kept *kept, bool color, pith_write_fn write, void *user,
                              const pith_allocator *mem, pith_error *err)
{
    pith__heat heat;
    PITH__TRY(pith__heat_init(&heat, source, units, kept, mem, err));
    painter p = {.out = {.write = write, .user = user}, .heat = &heat, .color = color};
    pith__heat_walk segments = {.heat = &heat};
    pith__heat_run segment;
    int style = STYLE_NONE;
    while (pith__heat_next(&segments, &segment)) {
        int next = style_of(&p, &segment);
        next = !color && next == STYLE_OUTSIDE ? STYLE_DROPPED : next;
        if (next != style) {
            end_style(&p, style);
            begin_style(&p, next);
            style = next;
        }
        paint(&p, &segment, style);
    }
    end_style(&p, style);
    pith__heat_deinit(&heat);
    return pith__out_finish(&p.out, err);
}
