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
static const pith__html_scale scale = {
    .light = "--q0:#fcfaf1;--q1:#f7f2de;--q2:#f5e8ca;--q3:#f4ddb6;--q4:#f4d2a3;"
             "--q5:#f5c691;--q6:#f6b880;--q7:#f7ab71;--q8:#f99c64;--q9:#f98d5a",
    .dark = "--q0:#23221b;--q1:#2d281b;--q2:#382e1a;--q3:#443319;--q4:#513818;"
            "--q5:#5f3c17;--q6:#6d4018;--q7:#7b431c;--q8:#8a4622;--q9:#99482b",
    .rules = ""};

typedef struct page {
    pith__out out;
    const pith__heat *heat;
    const pith__page *head;
} page;

static void put(page *p, const char *text)
{
    pith__out_text(&p->out, text);
}

/* ---- head -------------------------------------------------------------------------- */

static const char *title_of(const page *p)
{
    const char *title = p->head->title;
    return title == NULL || title[0] == '\0' ? "pith heat map" : title;
}

static void put_change(page *p, const char *name, size_t from, size_t to)
{
    pith__html_begin_fact(&p->out, name);
    pith__out_number(&p->out, from);
    put(p, " \xe2\x86\x92 ");
    pith__out_number(&p->out, to);
    pith__html_end_fact(&p->out);
}

static void put_percent(page *p, const char *name, size_t part, size_t whole)
{
    pith__html_begin_fact(&p->out, name);
    pith__out_fixed(&p->out, whole == 0 ? 100.0 : 100.0 * (double)part / (double)whole, 1);
    put(p, " %");
    pith__html_end_fact(&p->out);
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
        pith__html_begin_fact(&p->out, "Protected units");
        pith__out_number(&p->out, is_protected);
        pith__html_end_fact(&p->out);
    }
}

static void put_stats(page *p, const pith_stats *stats)
{
    put_change(p, "Tokens", stats->source_tokens, stats->kept_tokens);
    put_percent(p, "Rate", stats->kept_tokens, stats->source_tokens);
    if (stats->budget_tokens != SIZE_MAX) {
        pith__html_begin_fact(&p->out, "Budget in tokens");
        pith__out_number(&p->out, stats->budget_tokens);
        pith__html_end_fact(&p->out);
    }
    put_unit_facts(p);
    pith__html_begin_fact(&p->out, "Time");
    pith__out_fixed(&p->out, stats->score_seconds + stats->select_seconds, 2);
    put(p, " s");
    pith__html_end_fact(&p->out);
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
    pith__html_begin(&p->out, title_of(p),
                     "What was kept and what was dropped, coloured by self-information", &scale);
    if (p->head->stats != NULL) {
        put_stats(p, p->head->stats);
    } else {
        put_bytes_facts(p);
    }
    pith__html_end_facts(&p->out);
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
    const pith__hard_source *source = p->heat->source;
    const pith__shown shown = {source->text, source->size, segment->start, segment->end};
    pith__html_text(&p->out, &shown);
    put(p, end);
}

static void put_main(page *p)
{
    const pith__hard_source *source = p->heat->source;
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

pith_status pith__render_html(const pith__hard_source *source, const pith__units *units,
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
    pith__html_end(&p.out);
    pith__heat_deinit(&heat);
    return pith__out_finish(&p.out, err);
}
