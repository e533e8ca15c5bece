/*
 * html.c: the frame of a page of HTML that needs nothing else, and text that is safe on it.
 */
#include "render/render.h"

#include <string.h>

/* The style sheet: colours of a light page, a scale, colours of a dark page, a scale, rules. */
static const char light_colors[] =
    ":root{color-scheme:light dark;--page:#fdfcf9;--ink:#1c1b19;--soft:#6a6965;--line:#e2dfd6;"
    "--card:#f6f4ee;--keep:#1f6feb;--bar:#e0763a;--rest:#b9b5ab;";

static const char dark_colors[] =
    "}\n@media(prefers-color-scheme:dark){:root{--page:#1b1a18;--ink:#f2f0ea;--soft:#9b9992;"
    "--line:#37352f;--card:#24231f;--keep:#79b0ff;--bar:#d9743c;--rest:#5d5a53;";

static const char rules[] =
    "}}\n*{box-sizing:border-box}\n"
    "body{margin:0 auto;padding:2.5rem 1.25rem 4rem;max-width:58rem;background:var(--page);"
    "color:var(--ink);font:1rem/1.6 system-ui,sans-serif}\n"
    "h1{margin:0;font-size:1.6rem;line-height:1.25;letter-spacing:-.01em;overflow-wrap:anywhere}\n"
    "header p{margin:.25rem 0 0;color:var(--soft)}\n"
    "dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:1px;"
    "margin:1.5rem 0;border:1px solid var(--line);border-radius:.6rem;overflow:hidden;"
    "background:var(--line)}\n"
    "dl div{padding:.7rem .9rem;background:var(--card)}\n"
    "dt{font-size:.8rem;color:var(--soft)}\n"
    "dd{margin:0;font-size:1.15rem;font-variant-numeric:tabular-nums}\n"
    "figure{margin:0 0 1.5rem}\n"
    "figcaption{margin-bottom:.4rem;font-size:.85rem;color:var(--soft)}\n"
    "svg{display:block;width:100%;height:5.5rem;border-bottom:1px solid var(--line)}\n"
    ".bk{fill:var(--bar)}.bd{fill:var(--rest)}\n"
    ".axis{display:flex;justify-content:space-between}\n"
    ".axis,.scale{font-size:.75rem;color:var(--soft);font-variant-numeric:tabular-nums}\n"
    ".scale{display:flex;margin:.8rem 0 0;padding:0;list-style:none;color:var(--ink)}\n"
    ".scale li{flex:1;padding:.2rem 0;text-align:center;border:1px solid var(--line);"
    "border-width:1px 0}\n"
    ".key{display:flex;flex-wrap:wrap;gap:.4rem 1.4rem;align-items:center;margin:0 0 1rem;"
    "font-size:.9rem;color:var(--soft)}\n"
    "label{cursor:pointer}\n"
    "main{padding:1.25rem;border:1px solid var(--line);border-radius:.6rem;white-space:pre-wrap;"
    "overflow-wrap:anywhere;tab-size:4}\n"
    ".b{content-visibility:auto;contain-intrinsic-size:auto 60rem}\n"
    "main span{border-radius:.15rem}\n"
    "del,.o{color:var(--soft)}\n"
    "del{text-decoration:line-through;text-decoration-thickness:1px}\n"
    ".o{font-style:italic}\n"
    ".p{box-shadow:inset 0 -2px var(--keep)}\n"
    "#hide:checked~main del,#hide:checked~main .o{display:none}\n"
    ".q0{background:var(--q0)}.q1{background:var(--q1)}.q2{background:var(--q2)}"
    ".q3{background:var(--q3)}.q4{background:var(--q4)}.q5{background:var(--q5)}"
    ".q6{background:var(--q6)}.q7{background:var(--q7)}.q8{background:var(--q8)}"
    ".q9{background:var(--q9)}\n"
    "@media print{body{max-width:none;padding:0}main{border:0;padding:0}}\n";

/* ---- text ------------------------------------------------------------------------ */

/* HTML knows no control characters, and no code points that Unicode calls noncharacters. */
static bool is_noncharacter(uint32_t c)
{
    return (c >= 0xFDD0 && c <= 0xFDEF) || (c & 0xFFFE) == 0xFFFE;
}

static const char *entity_of(uint32_t c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return is_noncharacter(c) ? "\xef\xbf\xbd" : NULL;
    }
}

void pith__html_text(pith__out *out, const pith__shown *shown)
{
    for (size_t at = shown->start; at < shown->end;) {
        uint32_t c = 0;
        size_t size = 0;
        const char *entity = NULL;
        switch (pith__look_at(shown, at, &size, &c)) {
        case PITH__LOOK_PLAIN:
            entity = entity_of(c);
            if (entity == NULL) {
                pith__out_bytes(out, shown->text + at, size);
            } else {
                pith__out_text(out, entity);
            }
            break;
        case PITH__LOOK_SKIP:
            break;
        case PITH__LOOK_PICTURE:
            pith__out_picture(out, c);
            break;
        case PITH__LOOK_CODE:
            pith__out_hex(out, "\\u", c, 4);
            break;
        case PITH__LOOK_INVALID:
            pith__out_text(out, "\xef\xbf\xbd");
            break;
        }
        at += size;
    }
}

static void put_string(pith__out *out, const char *text)
{
    const size_t size = strlen(text);
    const pith__shown shown = {text, size, 0, size};
    pith__html_text(out, &shown);
}

/* ---- page -------------------------------------------------------------------------- */

void pith__html_begin(pith__out *out, const char *title, const char *subtitle,
                      const pith__html_scale *scale)
{
    pith__out_text(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
                        "<title>");
    put_string(out, title);
    pith__out_text(out, "</title>\n<style>\n");
    pith__out_text(out, light_colors);
    pith__out_text(out, scale->light);
    pith__out_text(out, dark_colors);
    pith__out_text(out, scale->dark);
    pith__out_text(out, rules);
    pith__out_text(out, scale->rules);
    pith__out_text(out, "</style>\n</head>\n<body>\n<header>\n<h1>");
    put_string(out, title);
    pith__out_text(out, "</h1>\n<p>");
    pith__out_text(out, subtitle);
    pith__out_text(out, "</p>\n<dl>\n");
}

void pith__html_begin_fact(pith__out *out, const char *name)
{
    pith__out_text(out, "<div><dt>");
    pith__out_text(out, name);
    pith__out_text(out, "</dt><dd>");
}

void pith__html_end_fact(pith__out *out)
{
    pith__out_text(out, "</dd></div>\n");
}

void pith__html_end_facts(pith__out *out)
{
    pith__out_text(out, "</dl>\n</header>\n");
}

void pith__html_end(pith__out *out)
{
    pith__out_text(out, "</body>\n</html>\n");
}
