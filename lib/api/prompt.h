/*
 * prompt.h: a prompt on its way through pith_compress_parts().
 *
 *     parts -> source -> readings -> working text -> units -> kept ranges -> result
 *
 * The source is all parts as given. A reading is one part without its tags, and what of it is
 * protected, structure, or free to go. The working text is what may be in the output, in its
 * order: the instruction, the contexts that were not dropped whole, the question. Everything
 * lies in the context's arena.
 */
#ifndef PITH_API_PROMPT_H
#define PITH_API_PROMPT_H

#include "api/api.h"

/* What stands between two parts, of the source and of the output. */
#define PITH__JOINER      "\n\n"
#define PITH__JOINER_SIZE ((size_t)2)

/* ---- readings (prompt.c) --------------------------------------------------------------------- */

/* Offsets of the lists are bytes of `text`; all lists ascend and are disjoint. */
typedef struct pith__reading {
    pith_role role;
    size_t start; /* bytes [start, end) of the source, tags included */
    size_t end;
    const char *text; /* without tags */
    size_t size;
    pith__text_map map;      /* from `text` to the source; never without pieces */
    pith__segments segments; /* what may be shortened */
    pith__spans fixed;       /* what stays byte for byte: all that is in no segment, and by rule */
    pith__spans by_rule;     /* of `fixed`, what the keep options asked for */
    pith__spans atoms;       /* stays or goes whole, and rather stays */
    pith__spans joined;      /* is not cut */
    pith__spans cuts;        /* empty spans where tags stood */
    pith__spans edges;       /* empty spans where strings of JSON begin and end */
    bool is_local;           /* rates are shares of the segments, not of the whole */
    bool has_uncompressed;   /* tagged compress=False */
    size_t tokens;           /* counted */
} pith__reading;

#define PITH__NO_PART SIZE_MAX

typedef struct pith__prompt {
    const char *source; /* NUL-terminated */
    size_t size;
    pith__reading *parts;
    size_t count;
    size_t *contexts; /* indices of parts */
    size_t context_count;
    size_t instruction; /* index of a part, or PITH__NO_PART */
    size_t question;
    size_t tokens; /* counted: of all parts without their tags, as one text */
} pith__prompt;

/* E_ARGUMENT for a method that makes capsules (compress.c). */
PITH_NODISCARD pith_status pith__check_method(const pith__params *params, pith_error *err);

/* Joins the parts. Fails with E_ARGUMENT, E_UTF8, E_MEMORY. */
PITH_NODISCARD pith_status pith__prompt_join(pith_ctx *ctx, const pith_part *parts, size_t count,
                                             pith__prompt *out, pith_error *err);

/* Reads every part: tags, structure, protection. Error offsets are bytes of the source. */
PITH_NODISCARD pith_status pith__prompt_read(pith_ctx *ctx, pith__prompt *prompt, pith_error *err);

/* Values of prompt->contexts as values of all parts, NaN for the others; in the arena. */
PITH_NODISCARD pith_status pith__prompt_spread(pith_ctx *ctx, const pith__prompt *prompt,
                                               const double *values, double **out, pith_error *err);

/* A part that was read, without its tags, for the methods of lib/lingua; PITH__NO_PART: empty. */
pith__lingua_text pith__prompt_text(const pith__prompt *prompt, size_t part);

/* ---- the working text (work.c) ------------------------------------------------------------------- */

/* Where a part stands in the working text. */
typedef struct pith__place {
    size_t part;
    size_t start;
    size_t end;
    double rate; /* of its tokens to keep, where a segment says nothing else */
} pith__place;

/* Offsets of all lists are bytes of `text`. */
typedef struct pith__work {
    const char *text;
    size_t size;
    pith__text_map map; /* to the source */
    pith__place *places;
    size_t place_count;
    pith__segments segments; /* rates filled in */
    pith__spans fixed;
    pith__spans by_rule;
    pith__spans atoms;
    pith__spans joined;
    size_t *cuts; /* ascending: tags, parts, segments, atoms */
    size_t cut_count;
    size_t *edges; /* ascending: where strings of JSON begin and end */
    size_t edge_count;
    bool is_local; /* any of its parts is */
} pith__work;

/* Lays out the parts `order` (indices) with rates[i] for order[i]; empty ones are left out. */
PITH_NODISCARD pith_status pith__work_build(pith_ctx *ctx, const pith__prompt *prompt,
                                            const size_t *order, const double *rates, size_t count,
                                            pith__work *out, pith_error *err);

/* ---- methods llmlingua and longllmlingua (lingua.c) ---------------------------------------------- */

/* The parameters as the methods of lib/lingua take them. */
PITH_NODISCARD pith_status pith__lingua_read_options(pith_ctx *ctx, bool has_question,
                                                     pith__lingua_options *out, pith_error *err);

/* E_ARGUMENT if the method needs a question and there is none. */
PITH_NODISCARD pith_status pith__check_question(const pith_ctx *ctx, const pith__prompt *prompt,
                                                pith_error *err);

/* The contexts of a prompt that was read; indices in the ranking are those of prompt->contexts. */
PITH_NODISCARD pith_status pith__rank_contexts(pith_ctx *ctx, pith__lm_adapter *lm,
                                               const pith__prompt *prompt,
                                               const pith__lingua_options *options,
                                               pith__ranking *out, pith_error *err);

/* Modes official and paper. */
PITH_NODISCARD pith_status pith__compress_lingua(pith_ctx *ctx, const pith__prompt *prompt,
                                                 pith_result *result, pith_error *err);

/* ---- sentences (sentences.c) ----------------------------------------------------------------------- */

typedef struct pith__sentence {
    size_t start; /* bytes [start, end) of the working text, of one place */
    size_t end;
    size_t place;
    size_t tokens;  /* the scorer's */
    double nats;    /* mean over them; NaN: unknown */
    bool preferred; /* by keep-first-sentence and its like */
    bool dropped;   /* by the sentence filter: only if there is room in the end */
} pith__sentence;

typedef struct pith__sentences {
    pith__sentence *items; /* ascending */
    size_t count;
    size_t capacity;
} pith__sentences;

/* The sentences of all contexts. */
PITH_NODISCARD pith_status pith__sentences_find(pith_ctx *ctx, const pith__prompt *prompt,
                                                const pith__work *work, const pith__scored *scored,
                                                pith__sentences *out, pith_error *err);

/* Sets `preferred`, and with the sentence filter `dropped`: `room` tokens stay, and what crosses. */
PITH_NODISCARD pith_status pith__sentences_choose(pith_ctx *ctx,
                                                  const pith__lingua_options *options, double room,
                                                  pith__sentences *all, pith_error *err);

/* ---- what units are ranked by (keys.c) ----------------------------------------------------------------- */

typedef struct pith__keys_input {
    const pith__prompt *prompt;
    const pith__work *work;
    const pith__scored *scored;
    const pith__lingua_options *options; /* NULL: not a method of lib/lingua */
    const pith__lm *lm;
    const double *scores; /* (parts) of the ranker; NULL: not ranked */
    double room;          /* tokens of the budget for contexts */
} pith__keys_input;

/*
 * Keys for units whose nats alone do not say what should stay: structure before plain text,
 * preferred sentences, contexts and segments with rates of their own, sentences that speak of the
 * question. NULL in units->keys where nats do.
 */
PITH_NODISCARD pith_status pith__keys_build(pith_ctx *ctx, const pith__keys_input *input,
                                            pith__units *units, pith_error *err);

/* ---- results (result.c) -------------------------------------------------------------------------------- */

struct pith_result {
    pith_allocator mem;
    char *source;
    size_t source_size;
    char *text;
    size_t size;
    pith_range *ranges;
    size_t n_ranges;
    size_t ranges_capacity;
    pith_unit *units;
    size_t n_units;
    size_t units_capacity;
    pith_part_stats *parts;
    size_t n_parts;
    pith_stats stats;
};

/* What a pipeline hands over; offsets are bytes of the working text, lists in its order. */
typedef struct pith__outcome {
    const char *text; /* the output */
    size_t size;
    const pith__text_map *map; /* from the working text to the source */
    const pith_range *ranges;
    size_t range_count;
    const pith_unit *units;
    size_t unit_count;
    bool has_all_units;   /* also those of parts that were dropped whole */
    const double *scores; /* (parts) of the ranker, or NULL */
    const size_t *places; /* (parts) place in the output, SIZE_MAX: dropped; NULL: as given */
    pith_stats stats;     /* but for kept_tokens and the numbers of units */
} pith__outcome;

/*
 * Copies it all into `result`, offsets of the source now; counts what was kept, of the whole and
 * of every part; parts that were dropped whole become units.
 */
PITH_NODISCARD pith_status pith__result_fill(pith_ctx *ctx, const pith__prompt *prompt,
                                             const pith__outcome *outcome, pith_result *result,
                                             pith_error *err);

/* Selective Context in mode official (selective.c): one context alone. */
PITH_NODISCARD pith_status pith__compress_selective_official(pith_ctx *ctx,
                                                             const pith__prompt *prompt,
                                                             pith_result *result, pith_error *err);

/* Modes pith and, of Selective Context, paper: units under a budget (units.c). */
PITH_NODISCARD pith_status pith__compress_units(pith_ctx *ctx, const pith__prompt *prompt,
                                                pith_result *result, pith_error *err);

/* By their place, whatever order they came in. */
void pith__sort_ranges(pith_range *ranges, size_t count);
void pith__sort_units(pith_unit *units, size_t count);

/* True if units are selected (units.c); false for the modes that do so by themselves. */
bool pith__selects_units(const pith__params *params);

/* Tokens of `text` by the context's counter. */
PITH_NODISCARD pith_status pith__count(const pith_ctx *ctx, const char *text, size_t size,
                                       size_t *count, pith_error *err);

#endif /* PITH_API_PROMPT_H */
