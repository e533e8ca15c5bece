/*
 * api.h: what the files that implement pith.h share.
 */
#ifndef PITH_API_H
#define PITH_API_H

#include "hard/hard.h"
#include "model/model.h"
#include "score/score.h"
#include "text/text.h"
#include "token/token.h"

struct pith_tokenizer {
    pith_allocator mem;
    pith__tokenizer *tokenizer;
};

struct pith_model {
    pith_allocator mem;
    pith__log log;
    pith__file file; /* mapped; empty for a model in memory */
    pith__gguf gguf;
    pith__model weights;
    pith_tokenizer tokenizer;
    char name[128];
};

/* ---- parameters (params.c) -------------------------------------------------------- */

typedef enum pith__level {
    PITH__LEVEL_TOKEN = 0,
    PITH__LEVEL_WORD,
    PITH__LEVEL_PHRASE,
    PITH__LEVEL_SENTENCE
} pith__level;

typedef enum pith__mode { PITH__MODE_PITH = 0, PITH__MODE_PAPER, PITH__MODE_OFFICIAL } pith__mode;

/* "auto" of the parameter "aggregate"; the others are pith__aggregate. */
#define PITH__AGGREGATE_AUTO 3

/* A list parameter's entries, NUL-terminated, in the order given. */
typedef struct pith__texts {
    char **items;
    size_t count;
    size_t capacity;
} pith__texts;

/* Values of all parameters. A number that was not given is negative. */
typedef struct pith__params {
    int method;
    int level;        /* pith__level */
    int mode;         /* pith__mode */
    int aggregate;    /* pith__aggregate or PITH__AGGREGATE_AUTO */
    int score_by;     /* 0: the whole text, 1: every sentence alone */
    int invalid_utf8; /* 0: refuse, 1: keep */
    double rate;
    double target_tokens;
    double percentile;
    double ctx_size;
    double overlap;
    double threads;
    bool keep_digits;
    bool keep_links;
    bool keep_code;
    pith__texts keep;
    pith__texts keep_regex;
    pith__texts keep_tag;
} pith__params;

void pith__params_init(pith__params *params);
void pith__params_deinit(pith__params *params, const pith_allocator *mem);

/* One value from text; see pith_ctx_set(). Nothing changes on failure. */
PITH_NODISCARD pith_status pith__params_set(pith__params *params, const pith_allocator *mem,
                                            const char *name, const char *value, pith_error *err);

/* One value as text; see pith_ctx_get(). */
PITH_NODISCARD pith_status pith__params_get(const pith__params *params, const char *name,
                                            char *value, size_t size, pith_error *err);

/* ---- context ------------------------------------------------------------------------ */

struct pith_ctx {
    const pith_model *model;
    const pith_tokenizer *counter; /* whose tokens the budget is in; never NULL */
    pith__params params;
    pith__protect *protect; /* compiled from params; NULL: not yet, or nothing to keep */
    pith__arena arena;      /* everything of one call */
    pith_progress_fn progress;
    void *progress_user;
};

/* ---- one call ------------------------------------------------------------------------ */

/* The tokens of a text and their self-information. In the context's arena. */
typedef struct pith__scored {
    pith_token_score *tokens;
    size_t count;
    size_t forwarded;
    double seconds;
} pith__scored;

/* Refuses ill-formed UTF-8 unless the parameters allow it. */
PITH_NODISCARD pith_status pith__check_text(const pith_ctx *ctx, const char *text, size_t size,
                                            pith_error *err);

/*
 * Scores `text`. `pieces`: ranges that are tokenised and scored each on its own,
 * ascending; tokens have offsets of `text`. NULL: the text as one piece.
 */
PITH_NODISCARD pith_status pith__score_text(pith_ctx *ctx, const char *text, size_t size,
                                            const pith__spans *pieces, pith__scored *out,
                                            pith_error *err);

#endif /* PITH_API_H */
