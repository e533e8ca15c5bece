/*
 * hard.h: from numbers to a shorter text: units, their self-information, which of them stay, and
 * what that looks like.
 *
 * Knows no model and no tokenizer: scores come in as numbers, counting as a callback. Everything
 * that a function here hands out lies in the caller's arena. Offsets and sizes are bytes, of the
 * source text unless said otherwise; self-information is in nats, NaN where it is unknown.
 */
#ifndef PITH_HARD_HARD_H
#define PITH_HARD_HARD_H

#include "base/base.h"
#include "text/text.h"

/* ---- the text ------------------------------------------------------------- */

/* What is being shortened; borrowed. Any bytes, NULL if size is 0. */
typedef struct pith__hard_source {
    const char *text;
    size_t size;
    const pith__graphemes *graphemes; /* where a unit may begin; NULL: at every code point */
    const pith__span *protect; /* bytes that stay in any case: ascending, disjoint. NULL: of a */
    size_t protect_count;      /*   protected unit all bytes stay */
    const size_t *edges; /* ascending offsets where strings of JSON begin and end: no white space */
    size_t edge_count;   /*   stays for what was dropped there. NULL: none */
} pith__hard_source;

/* ---- units (units.c) ------------------------------------------------------- */

/* How the nats of the tokens in a unit become the nats of the unit. */
typedef enum pith__aggregate {
    PITH__AGGREGATE_MEAN = 0, /* per token */
    PITH__AGGREGATE_SUM = 1,
    PITH__AGGREGATE_MAX = 2
} pith__aggregate;

/* Ascending and disjoint; in an arena. */
typedef struct pith__units {
    pith_unit *items; /* NULL if count is 0 */
    size_t count;
    const float *keys; /* (count) what pith__select_budget() ranks them by, more is better; minus
                          infinity: never kept, even if there is room. NULL: their nats */
} pith__units;

/* Every list is ascending and within the source; a list whose count is 0 may be NULL. */
typedef struct pith__unit_input {
    const pith_token_score *tokens; /* not overlapping; nats NaN: unknown, left out */
    size_t token_count;
    const pith__span *spans; /* what the units are; with a count of 0 they are the tokens */
    size_t span_count;
    const size_t *cuts; /* offsets that no unit reaches across: where tags stood, code fences */
    size_t cut_count;
    const pith__span *protect; /* a unit that shares a byte with one of these is protected */
    size_t protect_count;
    pith__aggregate aggregate;
} pith__unit_input;

/*
 * Makes the units of `source`; together they are the whole text. From tokens: a
 * token each, merged where they share a character. From spans: a span each.
 * Bytes that no span (token) names are units of their own, and a cut ends a
 * unit in either case.
 *
 * A token that reaches over several units counts in each by its share of
 * bytes w: the sum adds w*nats, the mean is sum(w*nats)/sum(w), the maximum
 * takes nats. A unit without any known token has NaN. `tokens` of a unit are
 * those that start in it. `kept` is false.
 *
 * Fails with E_ARGUMENT if a list is not as promised, and with E_MEMORY.
 */
PITH_NODISCARD pith_status pith__units_build(const pith__hard_source *source,
                                             const pith__unit_input *input, pith__arena *arena,
                                             pith__units *out, pith_error *err);

/* ---- the kept text (kept.c) -------------------------------------------------- */

/* A shorter text, and the bytes of the source it is made of. In an arena. */
typedef struct pith__kept {
    const char *text; /* NUL-terminated, never NULL */
    size_t size;
    const pith_range *ranges; /* ascending, not touching; NULL if range_count is 0 */
    size_t range_count;
    size_t tokens;    /* by the counter; SIZE_MAX where nothing was counted */
    double threshold; /* in nats; NaN where there is none */
} pith__kept;

/*
 * The text of the units whose `kept` is set, by the glue rule:
 *
 * - Where units between two kept ones were dropped and a line break with them,
 *   lines stay apart: the first empty line among them stays, or else the first
 *   line break, unless the output has one there anyway, and white space at the
 *   start of what follows goes.
 * - Where white space without a line break was dropped and neither neighbouring
 *   byte of the output is white space, its first character stays, so that words
 *   never fuse.
 * - At an edge of the source white space does not stay for what was dropped, and what follows
 *   loses its own: {"a": "b c"} may become {"a": "c"}, not {"a": " c"}.
 * - Where no white space was dropped and two words or numbers would fuse, the
 *   first character of the dropped text that belongs to no word stays ("f(x)"
 *   may become "f(x" but not "fx"); between two digits any first character.
 *   Parts of one word, which only level token drops, close up.
 * - A unit of white space alone that follows a dropped one counts as dropped
 *   here, unless it is protected: it would pile up with what stays anyway.
 * - Where units before the first kept one (after the last one) were dropped,
 *   its leading (trailing) white space without line breaks goes too. A unit that
 *   this empties gets `kept` false.
 * - White space that is protected itself never goes.
 *
 * So the text is a subsequence of the source, and rendering what is kept again
 * gives the same bytes. Fails with E_MEMORY.
 */
PITH_NODISCARD pith_status pith__kept_render(const pith__hard_source *source,
                                             const pith__units *units, pith__arena *arena,
                                             pith__kept *out, pith_error *err);

/* ---- under a budget (budget.c) ------------------------------------------------- */

/* Counts the tokens of `text`. A failure ends the selection and is handed up. */
typedef pith_status (*pith__count_fn)(void *user, const char *text, size_t size, size_t *count,
                                      pith_error *err);

typedef struct pith__counter {
    pith__count_fn count;
    void *user;
} pith__counter;

/*
 * Keeps all protected units and the most informative others (unknown keys
 * first, then larger keys first, then the earlier one) as long as the rendered
 * text counts at most `budget`; then fills what room is left with later units
 * that fit. Sets `kept`, and renders as pith__kept_render() does. A budget
 * that the whole text fits in keeps everything.
 *
 * The counter is called about 10 to 30 times with a whole candidate text,
 * whatever the number of units, and some hundred times with a few words.
 *
 * Fails with E_BUDGET if the protected units alone count more, with E_MEMORY,
 * and as the counter does.
 */
PITH_NODISCARD pith_status pith__select_budget(const pith__hard_source *source, pith__units *units,
                                               const pith__counter *counter, size_t budget,
                                               pith__arena *arena, pith__kept *out,
                                               pith_error *err);

/* ---- Selective Context (selective.c) ------------------------------------------- */

/*
 * Keeps the units whose nats reach the percentile: at least the `share`
 * quantile (0..1, linear interpolation) of all known nats. Unknown and protected
 * units are kept in any case. The paper sums tokens, so build the units with
 * PITH__AGGREGATE_SUM for it. Sets `kept` and renders. Fails with E_MEMORY.
 */
PITH_NODISCARD pith_status pith__select_percentile(const pith__hard_source *source,
                                                   pith__units *units, double share,
                                                   pith__arena *arena, pith__kept *out,
                                                   pith_error *err);

/*
 * Keeps the smallest set of most informative units that together hold at least
 * the share `mass` (0..1) of all known nats. Unknown and protected units are
 * kept in any case; protected ones count towards the mass first. Sets `kept`
 * and renders. Fails with E_MEMORY.
 */
PITH_NODISCARD pith_status pith__select_mass(const pith__hard_source *source, pith__units *units,
                                             double mass, pith__arena *arena, pith__kept *out,
                                             pith_error *err);

typedef enum pith__official_level {
    PITH__OFFICIAL_TOKEN = 0,
    PITH__OFFICIAL_UNIT = 1, /* words or phrases */
    PITH__OFFICIAL_SENTENCE = 2
} pith__official_level;

/* Sentence i of pith__official; all offsets count from the start of the sentence. */
typedef struct pith__official_sentence {
    const pith_token_score *tokens; /* together exactly the sentence */
    size_t token_count;
    const pith__span *units; /* level UNIT only: together exactly the sentence; a word has the */
    size_t unit_count;       /*   space in front of it, as in " word" */
} pith__official_sentence;

typedef struct pith__official_input {
    const pith__official *official;           /* the source normalised and split */
    const pith__official_sentence *sentences; /* official->sentences.count of them */
    pith__official_level level;
    double share; /* of units to drop, 0..1 */
} pith__official_input;

/*
 * What the released Selective Context does, to the byte: a unit's nats are the
 * mean over its tokens, tokens given to units by the release's own walk over
 * characters; all units of the text whose nats are below the `share` quantile
 * (numpy.nanpercentile(..., 100 * share)) go; the rest is joined with nothing
 * (TOKEN: sentences touch; UNIT: the first unit of every sentence but the first
 * brings a space) or with a space even for a dropped one (SENTENCE).
 *
 * One difference: where tokens share a character the release prints U+FFFD for
 * each; here they are one unit at level TOKEN, and the character counts for the
 * last of them at level UNIT.
 *
 * source  what was normalised; only its text is read
 * units   receives all units, in source offsets, `kept` set
 * out     receives the text. A space of it that stands for other white space of
 *         the source is in `ranges` if that white space begins with a space;
 *         otherwise it is in none
 *
 * Fails with E_ARGUMENT if a sentence is not as promised, and with E_MEMORY.
 */
PITH_NODISCARD pith_status pith__select_official(const pith__hard_source *source,
                                                 const pith__official_input *input,
                                                 pith__arena *arena, pith__units *units,
                                                 pith__kept *out, pith_error *err);

/* ---- heat maps (render_ansi.c, render_html.c) ------------------------------------- */

/*
 * pith_render_ansi() of pith.h. `kept`: its ranges are the output; NULL: they are worked out by the
 * glue rule. Memory: `mem`, released before return.
 */
PITH_NODISCARD pith_status pith__render_ansi(const pith__hard_source *source,
                                             const pith__units *units, const pith__kept *kept,
                                             bool color, pith_write_fn write, void *user,
                                             const pith_allocator *mem, pith_error *err);

/* What the head of the page says; every field may be NULL. */
typedef struct pith__page {
    const char *title;
    const pith_stats *stats;
} pith__page;

/* pith_render_html() of pith.h; `kept` as above. Memory: `mem`, released before return. */
PITH_NODISCARD pith_status pith__render_html(const pith__hard_source *source,
                                             const pith__units *units, const pith__kept *kept,
                                             const pith__page *head, pith_write_fn write,
                                             void *user, const pith_allocator *mem,
                                             pith_error *err);

#endif /* PITH_HARD_HARD_H */
