/*
 * render.h: texts shown in a terminal and on a page of HTML: output in pieces, characters that must
 * not be shown as they are, what all heat maps share, and the heat map of a recall.
 *
 * The text may be anybody's: no control character of it but line feed and tab gets out.
 */
#ifndef PITH_RENDER_H
#define PITH_RENDER_H

#include "base/base.h"

/* ---- output (out.c) ------------------------------------------------------------- */

/* Output in pieces of a few kilobytes. After a failure nothing more is written. */
typedef struct pith__out {
    pith_write_fn write;
    void *user;
    size_t size;
    bool failed;
    char data[4096];
} pith__out;

void pith__out_bytes(pith__out *out, const char *data, size_t size);
void pith__out_text(pith__out *out, const char *text);
void pith__out_number(pith__out *out, uint64_t number);

/* `decimals` (0 to 6) digits after a point, whatever the locale. Infinity is U+221E, NaN "?". */
void pith__out_fixed(pith__out *out, double value, unsigned decimals);

/* Writes what is left. E_IO if the callback has refused anything. */
PITH_NODISCARD pith_status pith__out_finish(pith__out *out, pith_error *err);

/* ---- characters (look.c) ---------------------------------------------------------- */

/* How a character can be shown without harm to a terminal or a page. */
typedef enum pith__look {
    PITH__LOOK_PLAIN,   /* as it is */
    PITH__LOOK_SKIP,    /* not at all: a carriage return in front of a line feed */
    PITH__LOOK_PICTURE, /* a control character of ASCII, which U+2400 and its like stand for */
    PITH__LOOK_CODE,    /* another control or direction character, by number only */
    PITH__LOOK_INVALID  /* a byte that is no UTF-8 */
} pith__look;

/* A text and the stretch [start, end) of it that is shown. */
typedef struct pith__shown {
    const char *text;
    size_t size;
    size_t start;
    size_t end;
} pith__shown;

/*
 * Looks at the character at `at`, which is invalid if it reaches beyond the end of the stretch.
 * *size is its bytes, *code_point is PITH__UTF8_INVALID if invalid.
 */
pith__look pith__look_at(const pith__shown *shown, size_t at, size_t *size, uint32_t *code_point);

/* U+2400 and its like for an ASCII control character. */
void pith__out_picture(pith__out *out, uint32_t code_point);

/* `before`, and the number in `digits` hexadecimal digits. */
void pith__out_hex(pith__out *out, const char *before, uint32_t number, unsigned digits);

/* ---- terminal (terminal.c) ------------------------------------------------------------ */

/* Heat is shown in so many steps. */
#define PITH__HEAT_CLASSES 10

/* What is written before and after text of one look. */
typedef struct pith__marks {
    char on[40];
    const char *off;
} pith__marks;

/*
 * A step (0 to 9; -1: none) as a background of the 256 colours, from dark violet to bright yellow, each
 * lighter than the last, with black or white upon it.
 */
pith__marks pith__terminal_heat(int level, bool bold);

/* The same without colours, for what is not there any more: [-dropped-]. */
pith__marks pith__terminal_brackets(void);

/* Both empty: text as the terminal has it. */
pith__marks pith__terminal_plain(void);

/*
 * The stretch, safe for a terminal. With colours a line feed is put between the marks, because a
 * terminal would paint the rest of the line; without, `marks` is NULL.
 */
void pith__terminal_text(pith__out *out, const pith__shown *shown, const pith__marks *marks);

/* ---- pages (html.c) --------------------------------------------------------------------- */

/* Colours of the classes q0 to q9, as declarations of CSS. */
typedef struct pith__html_scale {
    const char *light; /* --q0 to --q9 */
    const char *dark;  /* the same on a dark page */
    const char *rules; /* further rules, or "" */
} pith__html_scale;

/* All before the facts: the head, and a header with title and subtitle whose <dl> is open. */
void pith__html_begin(pith__out *out, const char *title, const char *subtitle,
                      const pith__html_scale *scale);

/* A fact of the header: the value goes between the two calls. */
void pith__html_begin_fact(pith__out *out, const char *name);
void pith__html_end_fact(pith__out *out);
void pith__html_end_facts(pith__out *out);

void pith__html_end(pith__out *out);

/* The stretch with entities for what HTML reserves, safe for a page and for an attribute. */
void pith__html_text(pith__out *out, const pith__shown *shown);

/* ---- recall (recall.c) --------------------------------------------------------------------- */

/*
 * pith_render_recall_ansi() and _html() of pith.h. Tokens are ascending and within the text. Those
 * that share a character are shown as one, with the mean of their scores. Nothing is allocated.
 */
typedef struct pith__recall_map {
    const char *text;
    size_t size;
    const pith_recall *tokens;
    size_t count;
} pith__recall_map;

PITH_NODISCARD pith_status pith__render_recall_ansi(const pith__recall_map *map, bool color,
                                                    pith_write_fn write, void *user,
                                                    pith_error *err);
PITH_NODISCARD pith_status pith__render_recall_html(const pith__recall_map *map, const char *title,
                                                    pith_write_fn write, void *user,
                                                    pith_error *err);

#endif /* PITH_RENDER_H */
