/*
 * recall.c: the heat map of a recall: what a capsule gives back of its text (CC:
 * yellow what it knows, violet what is forgotten).
 */
#include "render/render.h"

#include "text/text.h"

#include <math.h>
#include <string.h>

/* ---- what there is to show -------------------------------------------------------------- */

/* Tokens that are shown as one, or text between tokens (count 0). Never empty. */
typedef struct recall_piece {
    size_t start;
    size_t end;
    const pith_recall *tokens;
    size_t count;
} recall_piece;

/* Walks over all of the text. All zero but for `map`: at the beginning. */
typedef struct piece_walk {
    const pith__recall_map *map;
    size_t at;
    size_t token;
} piece_walk;

/* False at the end of the text. */
static bool next_piece(piece_walk *walk, recall_piece *out)
{
    const pith__recall_map *map = walk->map;
    while (walk->token < map->count && map->tokens[walk->token].end <= walk->at) {
        walk->token++;
    }
    if (walk->at >= map->size) {
        return false;
    }
    *out = (recall_piece){.start = walk->at, .end = map->size, .tokens = map->tokens + walk->token};
    size_t next = walk->token;
    if (next < map->count && map->tokens[next].start > walk->at) {
        out->end = map->tokens[next].start;
    } else if (next < map->count) {
        out->end = map->tokens[next++].end;
        while (!pith__utf8_is_boundary(map->text, map->size, out->end) && next < map->count &&
               map->tokens[next].start == out->end) {
            out->end = map->tokens[next++].end;
        }
    }
    out->count = next - walk->token;
    walk->token = next;
    walk->at = out->end;
    return true;
}

/* Of the scores that are numbers, *known of them; NaN if there is none. */
static double mean_score(const pith_recall *tokens, size_t count, size_t *known)
{
    double sum = 0.0;
    *known = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isnan(tokens[i].score)) {
            sum += fmin(fmax((double)tokens[i].score, 0.0), 1.0);
            ++*known;
        }
    }
    return *known == 0 ? (double)NAN : sum / (double)*known;
}

/* 0 to 9 for tenths of the score; -1 for none. */
static int level_of(const recall_piece *piece)
{
    size_t known = 0;
    const double score = mean_score(piece->tokens, piece->count, &known);
    if (known == 0) {
        return -1;
    }
    const int level = (int)(score * PITH__HEAT_CLASSES);
    return level < PITH__HEAT_CLASSES ? level : PITH__HEAT_CLASSES - 1;
}

/* ---- terminal ----------------------------------------------------------------------------- */

/* Without colours what is forgotten stands in brackets, and the rest is like any other text. */
static pith__marks marks_of(int level, bool color)
{
    if (color) {
        return pith__terminal_heat(level, false);
    }
    return level >= 0 && level < PITH__HEAT_CLASSES / 2 ? pith__terminal_brackets()
                                                        : pith__terminal_plain();
}

pith_status pith__render_recall_ansi(const pith__recall_map *map, bool color, pith_write_fn write,
                                     void *user, pith_error *err)
{
    pith__out out = {.write = write, .user = user};
    piece_walk walk = {.map = map};
    recall_piece piece;
    pith__marks marks = pith__terminal_plain();
    while (next_piece(&walk, &piece)) {
        const pith__marks next = marks_of(level_of(&piece), color);
        if (strcmp(next.on, marks.on) != 0) {
            pith__out_text(&out, marks.off);
            pith__out_text(&out, next.on);
            marks = next;
        }
        const pith__shown shown = {map->text, map->size, piece.start, piece.end};
        pith__terminal_text(&out, &shown, color ? &marks : NULL);
    }
    pith__out_text(&out, marks.off);
    return pith__out_finish(&out, err);
}

/* ---- page ----------------------------------------------------------------------------------- */

/*
 * From dark violet to yellow in equal steps of OKLCH lightness, the same on a light and a dark page;
 * white or black text on every step has a contrast of at least 4.5 to 1.
 */
#define COLORS                                                          \
    "--q0:#3c046d;--q1:#3c298c;--q2:#2e47a6;--q3:#0167b3;--q4:#0086a9;" \
    "--q5:#02a39c;--q6:#1fbf80;--q7:#84cf69;--q8:#c5db5b;--q9:#f8e961"

static const pith__html_scale scale = {.light = COLORS,
                                       .dark = COLORS,
                                       .rules = ".q0,.q1,.q2,.q3{color:#fff}\n"
                                                ".q4,.q5,.q6,.q7,.q8,.q9{color:#111}\n"};

static void put_fact(pith__out *out, const char *name, double value, unsigned decimals)
{
    pith__html_begin_fact(out, name);
    pith__out_fixed(out, value, decimals);
    pith__html_end_fact(out);
}

/* Means over all tokens whose three nats are known. */
static void put_nats(pith__out *out, const pith__recall_map *map)
{
    double hard = 0.0;
    double soft = 0.0;
    double none = 0.0;
    size_t known = 0;
    for (size_t i = 0; i < map->count; i++) {
        const pith_recall *token = &map->tokens[i];
        if (!isnan(token->hard) && !isnan(token->soft) && !isnan(token->none)) {
            hard += (double)token->hard;
            soft += (double)token->soft;
            none += (double)token->none;
            known++;
        }
    }
    if (known > 0) {
        put_fact(out, "Nats after the text", hard / (double)known, 2);
        put_fact(out, "After the capsule", soft / (double)known, 2);
        put_fact(out, "After neither", none / (double)known, 2);
    }
}

static void put_facts(pith__out *out, const pith__recall_map *map)
{
    size_t known = 0;
    const double mean = mean_score(map->tokens, map->count, &known);
    put_fact(out, "Tokens", (double)map->count, 0);
    put_fact(out, "With a score", (double)known, 0);
    put_fact(out, "Mean score", mean, 3);
    put_nats(out, map);
    pith__html_end_facts(out);
}

static void put_legend(pith__out *out)
{
    pith__out_text(out, "<figure>\n<figcaption>Score: how much of what the text itself adds to a "
                        "token's probability the capsule adds too</figcaption>\n"
                        "<ol class=\"scale\" aria-label=\"Colours: tenths of the score\">");
    for (unsigned i = 0; i < PITH__HEAT_CLASSES; i++) {
        pith__out_text(out, "<li class=\"q");
        pith__out_number(out, i);
        pith__out_text(out, "\">");
        pith__out_fixed(out, (double)i / PITH__HEAT_CLASSES, 1);
        pith__out_text(out, i + 1 < PITH__HEAT_CLASSES ? "</li>" : " to 1</li>");
    }
    pith__out_text(out,
                   "</ol>\n</figure>\n<p class=\"key\"><span class=\"q0\">forgotten</span>"
                   "<span class=\"q9\">known</span><span>no score: the text does not help</span>"
                   "<span>Hold the pointer over a token for its probabilities.</span></p>\n");
}

static void put_probability(pith__out *out, const char *name, float nats)
{
    pith__out_text(out, name);
    pith__out_fixed(out, exp(-(double)nats), 4);
}

static void put_values(pith__out *out, const recall_piece *piece)
{
    pith__out_text(out, " title=\"");
    for (size_t i = 0; i < piece->count; i++) {
        const pith_recall *token = &piece->tokens[i];
        pith__out_text(out, i == 0 ? "score " : "; score ");
        if (isnan(token->score)) {
            pith__out_text(out, "none");
        } else {
            pith__out_fixed(out, (double)token->score, 2);
        }
        put_probability(out, "; after the text ", token->hard);
        put_probability(out, ", the capsule ", token->soft);
        put_probability(out, ", neither ", token->none);
    }
    pith__out_text(out, "\"");
}

static void put_piece(pith__out *out, const pith__recall_map *map, const recall_piece *piece)
{
    const int level = level_of(piece);
    if (piece->count > 0) {
        pith__out_text(out, "<span");
        if (level >= 0) {
            pith__out_text(out, " class=\"q");
            pith__out_number(out, (uint64_t)level);
            pith__out_text(out, "\"");
        }
        put_values(out, piece);
        pith__out_text(out, ">");
    }
    const pith__shown shown = {map->text, map->size, piece->start, piece->end};
    pith__html_text(out, &shown);
    pith__out_text(out, piece->count > 0 ? "</span>" : "");
}

pith_status pith__render_recall_html(const pith__recall_map *map, const char *title,
                                     pith_write_fn write, void *user, pith_error *err)
{
    pith__out out = {.write = write, .user = user};
    const bool is_named = title != NULL && title[0] != '\0';
    pith__html_begin(&out, is_named ? title : "pith recall map",
                     "What the capsule gives back of its text, token by token", &scale);
    put_facts(&out, map);
    put_legend(&out);
    pith__out_text(&out, "<main dir=\"auto\">");
    piece_walk walk = {.map = map};
    recall_piece piece;
    while (next_piece(&walk, &piece)) {
        put_piece(&out, map, &piece);
    }
    pith__out_text(&out, "</main>\n");
    pith__html_end(&out);
    return pith__out_finish(&out, err);
}
