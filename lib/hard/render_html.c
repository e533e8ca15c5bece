/*
 * render_html.c: the heat map as one page of HTML that needs nothing else.
 *
 * No script: what can be hidden is hidden by a checkbox and a rule of CSS. Colours are classes, so
 * that a unit costs some sixty bytes, and long texts are cut into blocks that a browser lays out
 * only when they come into view.
 */
#include "hard/hard_internal.h"

#include <math.h>
#include <string.h>

/* A new block at the next line break after so many units. */
#define BLOCK_UNITS 2000

/* Bars of the histogram, and the size of the drawing in its own units. */
#define BARS        ((size_t)48)
#define BAR_WIDTH   ((size_t)10)
#define BARS_HEIGHT ((size_t)100)

/*
 * Both scales go from the colour of the page to a warm one in equal steps of OKLCH lightness;
 * text on every step has a contrast of at least 5.5 to 1.
 */
static const char style_sheet[] =
    ":root{color-scheme:light dark;--page:#fdfcf9;--ink:#1c1b19;--soft:#6a6965;--line:#e2dfd6;"
    "--card:#f6f4ee;--keep:#1f6feb;--bar:#e0763a;--rest:#b9b5ab;"
    "--q0:#fcfaf1;--q1:#f7f2de;--q2:#f5e8ca;--q3:#f4ddb6;--q4:#f4d2a3;"
    "--q5:#f5c691;--q6:#f6b880;--q7:#f7ab71;--q8:#f99c64;--q9:#f98d5a}\n"
    "@media(prefers-color-scheme:dark){:root{--page:#1b1a18;--ink:#f2f0ea;--soft:#9b9992;"
    "--line:#37352f;--card:#24231f;--keep:#79b0ff;--bar:#d9743c;--rest:#5d5a53;"
    "--q0:#23221b;--q1:#2d281b;--q2:#382e1a;--q3:#443319;--q4:#513818;"
    "--q5:#5f3c17;--q6:#6d4018;--q7:#7b431c;--q8:#8a4622;--q9:#99482b}}\n"
    "*{box-sizing:border-box}\n"
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

typedef struct page {
    pith__out out;
    const pith__heat *heat;
    const pith__page *head;
} page;

static void put(page *p, const char *text)
{
    pith__out_text(&p->out, text);
}

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

static void put_code(page *p, uint32_t c)
{
    put(p, "\\u");
    for (unsigned shift = 16; shift > 0; shift -= 4) {
        pith__out_bytes(&p->out, &"0123456789abcdef"[c >> (shift - 4) & 15], 1);
    }
}

static void put_escaped(page *p, const pith__source *source, size_t start, size_t end)
{
    for (size_t at = start; at < end;) {
        uint32_t c = 0;
        size_t size = 0;
        const char *entity = NULL;
        switch (pith__look_at(source, at, end, &size, &c)) {
        case PITH__LOOK_PLAIN:
            entity = entity_of(c);
            if (entity == NULL) {
                pith__out_bytes(&p->out, source->text + at, size);
            } else {
                put(p, entity);
            }
            break;
        case PITH__LOOK_SKIP:
            break;
        case PITH__LOOK_PICTURE:
            pith__out_picture(&p->out, c);
            break;
        case PITH__LOOK_CODE:
            put_code(p, c);
            break;
        case PITH__LOOK_INVALID:
            put(p, "\xef\xbf\xbd");
            break;
        }
        at += size;
    }
}

static void put_text(page *p, const char *text)
{
    const pith__source source = {.text = text, .size = strlen(text)};
    put_escaped(p, &source, 0, source.size);
}

/* ---- head -------------------------------------------------------------------------- */

static const char *title_of(const page *p)
{
    const char *title = p->head->title;
    return title == NULL || title[0] == '\0' ? "pith heat map" : title;
}

static void begin_fact(page *p, const char *name)
{
    put(p, "<div><dt>");
    put(p, name);
    put(p, "</dt><dd>");
}

static void end_fact(page *p)
{
    put(p, "</dd></div>\n");
}

static void put_change(page *p, const char *name, size_t from, size_t to)
{
    begin_fact(p, name);
    pith__out_number(&p->out, from);
    put(p, " \xe2\x86\x92 ");
    pith__out_number(&p->out, to);
    end_fact(p);
}

static void put_percent(page *p, const char *name, size_t part, size_t whole)
{
    begin_fact(p, name);
    pith__out_fixed(&p->out, whole == 0 ? 100.0 : 100.0 * (double)part / (double)whole, 1);
    put(p, " %");
    end_fact(p);
}

static void put_unit_facts(page *p)
{
    const pith__units *units = p->heat->units;
    size_t kept = 0;
    size_t is_protected = 0;
    for (size_t i = 0; i < units->count; i++) {
        kept += units->items[i].kept;
        is_protected += units->items[i].is_protected;
    }
    put_change(p, "Units", units->count, kept);
    if (is_protected > 0) {
        begin_fact(p, "Protected units");
        pith__out_number(&p->out, is_protected);
        end_fact(p);
    }
}

static void put_stats(page *p, const pith_stats *stats)
{
    put_change(p, "Tokens", stats->source_tokens, stats->kept_tokens);
    put_percent(p, "Rate", stats->kept_tokens, stats->source_tokens);
    if (stats->budget_tokens != SIZE_MAX) {
        begin_fact(p, "Budget in tokens");
        pith__out_number(&p->out, stats->budget_tokens);
        end_fact(p);
    }
    put_unit_facts(p);
    begin_fact(p, "Time");
    pith__out_fixed(&p->out, stats->score_seconds + stats->select_seconds, 2);
    put(p, " s");
    end_fact(p);
}

static void put_bytes_facts(page *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->heat->range_count; i++) {
        kept += p->heat->ranges[i].end - p->heat->ranges[i].start;
    }
    put_change(p, "Bytes", p->heat->source->size, kept);
    put_percent(p, "Rate", kept, p->heat->source->size);
    put_unit_facts(p);
}

static void put_head(page *p)
{
    put(p, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
           "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
    put_text(p, title_of(p));
    put(p, "</title>\n<style>\n");
    put(p, style_sheet);
    put(p, "</style>\n</head>\n<body>\n<header>\n<h1>");
    put_text(p, title_of(p));
    put(p,
        "</h1>\n<p>What was kept and what was dropped, coloured by self-information</p>\n<dl>\n");
    if (p->head->stats != NULL) {
        put_stats(p, p->head->stats);
    } else {
        put_bytes_facts(p);
    }
    put(p, "</dl>\n</header>\n");
}

/* ---- histogram and scale -------------------------------------------------------------- */

typedef struct histogram {
    size_t kept[BARS];
    size_t dropped[BARS];
    size_t most;
    double low;
    double high; /* the last bar also holds what is above */
} histogram;

static size_t bar_of(const histogram *h, double nats)
{
    if (!(nats > h->low) || !(h->high > h->low)) {
        return 0;
    }
    const double share = (nats - h->low) / (h->high - h->low);
    return share < 1.0 ? (size_t)(share * (double)BARS) : BARS - 1;
}

/* The top half percent goes into the last bar, so that one outlier does not flatten the rest. */
static void histogram_fill(histogram *h, const pith__heat *heat)
{
    h->low = fmin(heat->nats[0], 0.0);
    h->high = pith__quantile(heat->nats, heat->known, 0.995);
    h->low = isfinite(h->low) ? h->low : 0.0;
    h->high = isfinite(h->high) && h->high > h->low ? h->high : h->low + 1.0;
    for (size_t i = 0; i < heat->units->count; i++) {
        const pith_unit *unit = &heat->units->items[i];
        if (!isnan(unit->nats)) {
            const size_t bar = bar_of(h, (double)unit->nats);
            h->kept[bar] += unit->kept;
            h->dropped[bar] += !unit->kept;
            const size_t sum = h->kept[bar] + h->dropped[bar];
            h->most = sum > h->most ? sum : h->most;
        }
    }
}

/* A bar is never shorter than one unit of the drawing, so that a single outlier can be seen. */
static size_t bar_height(const histogram *h, size_t count)
{
    const size_t height = (size_t)((double)count / (double)h->most * (double)BARS_HEIGHT);
    return count > 0 && height == 0 ? 1 : height;
}

static void put_bar(page *p, const char *class, size_t bar, size_t top, size_t height)
{
    if (height == 0) {
        return;
    }
    put(p, "<rect class=\"");
    put(p, class);
    put(p, "\" x=\"");
    pith__out_number(&p->out, bar * BAR_WIDTH);
    put(p, "\" y=\"");
    pith__out_number(&p->out, top);
    put(p, "\" width=\"");
    pith__out_number(&p->out, BAR_WIDTH - 1);
    put(p, "\" height=\"");
    pith__out_number(&p->out, height);
    put(p, "\"/>");
}

static void put_bars(page *p, const histogram *h)
{
    put(p, "<svg viewBox=\"0 0 ");
    pith__out_number(&p->out, BARS * BAR_WIDTH);
    put(p, " ");
    pith__out_number(&p->out, BARS_HEIGHT);
    put(p, "\" preserveAspectRatio=\"none\" role=\"img\" "
           "aria-label=\"Number of units by self-information\">");
    for (size_t bar = 0; bar < BARS; bar++) {
        const size_t all = bar_height(h, h->kept[bar] + h->dropped[bar]);
        const size_t kept = bar_height(h, h->kept[bar]);
        put_bar(p, "bk", bar, BARS_HEIGHT - kept, kept);
        put_bar(p, "bd", bar, BARS_HEIGHT - all, all - kept);
    }
    put(p, "</svg>\n<div class=\"axis\"><span>");
    pith__out_fixed(&p->out, h->low, 1);
    put(p, "</span><span>");
    pith__out_fixed(&p->out, h->high, 1);
    put(p, " nats and more</span></div>\n");
}

static void put_scale(page *p)
{
    put(p, "<ol class=\"scale\" aria-label=\"Colours: tenths of the units, by nats\">");
    for (size_t i = 0; i < PITH__HEAT_CLASSES; i++) {
        put(p, "<li class=\"q");
        pith__out_number(&p->out, i);
        put(p, i == 0 ? "\">\xe2\x89\xa4 " : "\">&gt; ");
        pith__out_fixed(&p->out, p->heat->cuts[i == 0 ? 0 : i - 1], 2);
        put(p, "</li>");
    }
    put(p, "</ol>\n");
}

static void put_figure(page *p)
{
    if (p->heat->known == 0) {
        return;
    }
    histogram h = {.most = 0};
    histogram_fill(&h, p->heat);
    put(p, "<figure>\n<figcaption>Units by self-information: kept (colour) and dropped (grey); "
           "below, the colour of each tenth in nats</figcaption>\n");
    put_bars(p, &h);
    put_scale(p);
    put(p, "</figure>\n");
}

/* ---- the text itself ---------------------------------------------------------------------- */

static void put_value(page *p, const pith_unit *unit, bool in_output)
{
    put(p, " title=\"");
    if (isnan(unit->nats)) {
        put(p, "unknown");
    } else {
        pith__out_fixed(&p->out, (double)unit->nats, 2);
        put(p, " nats");
    }
    put(p, ", ");
    pith__out_number(&p->out, unit->tokens);
    put(p, unit->tokens == 1 ? " token, " : " tokens, ");
    put(p, unit->is_protected ? "protected" : in_output ? "kept" : "dropped");
    put(p, "\">");
}

static void put_kept(page *p, const pith_unit *unit)
{
    const int level = pith__heat_class(p->heat, unit->nats);
    put(p, "<span");
    if (level >= 0 || unit->is_protected) {
        put(p, " class=\"");
        if (level >= 0) {
            put(p, "q");
            pith__out_number(&p->out, (uint64_t)level);
        }
        put(p, level >= 0 && unit->is_protected ? " p" : unit->is_protected ? "p" : "");
        put(p, "\"");
    }
    put_value(p, unit, true);
}

static void put_segment(page *p, const pith__heat_run *segment)
{
    const char *end = "";
    if (segment->unit == NULL && !segment->in_output) {
        put(p, "<span class=\"o\">");
        end = "</span>";
    } else if (segment->unit != NULL && !segment->in_output) {
        put(p, "<del");
        put_value(p, segment->unit, false);
        end = "</del>";
    } else if (segment->unit != NULL && segment->unit->kept) {
        put_kept(p, segment->unit);
        end = "</span>";
    }
    put_escaped(p, p->heat->source, segment->start, segment->end);
    put(p, end);
}

static void put_main(page *p)
{
    const pith__source *source = p->heat->source;
    pith__heat_walk segments = {.heat = p->heat};
    pith__heat_run segment;
    size_t since_block = 0;
    put(p, "<main dir=\"auto\"><div class=\"b\">");
    while (pith__heat_next(&segments, &segment)) {
        put_segment(p, &segment);
        since_block++;
        /* the line break ends the block's last line, so the page looks the same without blocks */
        if (since_block >= BLOCK_UNITS && source->text[segment.end - 1] == '\n' &&
            segment.end < source->size) {
            put(p, "</div><div class=\"b\">");
            since_block = 0;
        }
    }
    put(p, "</div></main>\n");
}

pith_status pith__render_html(const pith__source *source, const pith__units *units,
                              const pith__kept *kept, const pith__page *head, pith_write_fn write,
                              void *user, const pith_allocator *mem, pith_error *err)
{
    pith__heat heat;
    PITH__TRY(pith__heat_init(&heat, source, units, kept, mem, err));
    page p = {.out = {.write = write, .user = user}, .heat = &heat, .head = head};
    put_head(&p);
    put_figure(&p);
    put(&p,
        "<input type=\"checkbox\" id=\"hide\"> <label for=\"hide\">Hide what was dropped</label>\n"
        "<p class=\"key\"><span class=\"q9\">kept</span><del>dropped</del>"
        "<span class=\"p\">protected</span><span>Hold the pointer over a piece of text for "
        "its value.</span></p>\n");
    put_main(&p);
    put(&p, "</body>\n</html>\n");
    pith__heat_deinit(&heat);
    return pith__out_finish(&p.out, err);
}
