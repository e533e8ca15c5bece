/*
 * distill.h: what the files of distillation share.
 */
#ifndef PITH_DISTILL_H
#define PITH_DISTILL_H

#include "train/train.h"

/* ---- small things ----------------------------------------------------------------------------- */

/* One of several pieces of work that do not depend on each other; ctx is of one thread. */
typedef pith_status (*pith__each_fn)(void *user, const pith__tensor_ctx *ctx, size_t index,
                                     pith_error *err);

/* fn(0 .. count - 1) on up to `threads` threads, each with its own arena; the first error there is. */
PITH_NODISCARD pith_status pith__each(unsigned threads, size_t count, pith__each_fn fn, void *user,
                                      const pith_allocator *mem, pith_error *err);

/* E_CONTEXT, with the numbers, unless `before` tokens and `after` more fit into the model. */
PITH_NODISCARD pith_status pith__distill_fits(const pith__model *model, uint32_t bos,
                                              const char *what, size_t before, size_t after,
                                              pith_error *err);

static inline size_t pith__list_count(const pith__id_lists *lists, size_t i)
{
    return lists->starts[i + 1] - lists->starts[i];
}

static inline const uint32_t *pith__list_ids(const pith__id_lists *lists, size_t i)
{
    return lists->ids + lists->starts[i];
}

/* ---- what learns ------------------------------------------------------------------------------ */

/* Continuations, and the teacher's hidden states at their tokens. */
typedef struct pith__lessons {
    pith__id_lists lists;
    float *hidden; /* (tokens of all lists, d) */
} pith__lessons;

/* The frozen model and the parameters that are to stand for the context. */
typedef struct pith__pupil {
    const pith__distill_settings *settings;
    const pith_allocator *mem;
    const pith__model *model;
    size_t width;      /* d */
    size_t before;     /* 1 with BOS, else 0 */
    pith__arena *kept; /* what lasts as long as this */
    float *last;       /* (d) the teacher's hidden state at the context's last token */
    pith__weights *learned;
    pith__lora lora; /* looks at `learned`; all zero: no adapter */
} pith__pupil;

/* Several continuations as one pass, each with what stands before it. */
typedef struct pith__student {
    size_t rows;
    uint32_t *ids, *positions, *documents; /* (rows) */
    float *embeddings;                     /* (rows, d), or NULL: no row is given */
    size_t n;                              /* predictions that are compared */
    uint32_t *chosen;                      /* (n) rows that make them */
    float *weight;                         /* (n) */
    float *teacher;                        /* (n, d) hidden states */
    pith__pass_input input;
    pith__pass_gradients gradients;
} pith__student;

/*
 * What can stand for the context. One more of them, such as keys and values that are put before
 * all rows (pith__prefix), is one more table: everything else is the same for all.
 */
typedef struct pith__parameters {
    /* Rows before each continuation whose embeddings are given; at least 1 makes room for them. */
    size_t (*rows)(const pith__distill_settings *settings);

    /* Lays out and allocates p->learned, as it is before the first step; checks its settings. */
    pith_status (*make)(pith__pupil *p, pith_error *err);

    /*
     * Fills in what the pass takes of the parameters, and `gradients` with what is wanted of the
     * way back besides what the sink gets. dropout_seed 0: none.
     */
    pith_status (*forward)(const pith__pupil *p, pith__arena *arena, uint64_t dropout_seed,
                           pith__student *out, pith_error *err);

    /* Adds what came back to `gradient` (learned->count); NULL: the sink has it all. */
    void (*back)(const pith__pupil *p, const pith__student *from, float *gradient);
} pith__parameters;

extern const pith__parameters pith__parameters_none; /* no context at all, to compare with */
extern const pith__parameters pith__parameters_soft_prompt;
extern const pith__parameters pith__parameters_lora;

/* Rows that stand before a continuation, BOS included. */
size_t pith__pupil_rows(const pith__pupil *p, const pith__parameters *set);

/* Arena of a pass over so many rows. */
size_t pith__pupil_bytes(const pith__pupil *p, size_t rows);

/* Which student is compared on what, and how. */
typedef struct pith__question {
    const pith__parameters *set;
    const pith__lessons *from;
    bool first_token; /* only if a row stands before a continuation */
    pith__kl_direction direction;
    uint64_t dropout_seed;
} pith__question;

/*
 * Compares lists numbers[0 .. n) in one pass: adds the divergence in nats to *nats, the predictions
 * to *tokens, the gradient to `gradient` unless it is NULL.
 */
PITH_NODISCARD pith_status pith__pupil_ask(const pith__pupil *p, const pith__question *q,
                                           const pith__tensor_ctx *ctx, const size_t *numbers,
                                           size_t n, float *gradient, double *nats,
                                           uint64_t *tokens, pith_error *err);

/* ---- continuations from documents (excerpts.c) --------------------------------------------------- */

typedef struct pith__excerpts {
    const pith__tokenizer *tokenizer;
    const pith__train_source *sources;
    size_t n_sources;
    size_t count;      /* to learn from */
    size_t n_held_out; /* from other documents */
    size_t length;     /* tokens, or as many as a document has */
    uint64_t seed;
} pith__excerpts;

/*
 * Sources are drawn by weight, their documents alike. A tenth of the documents of every source is
 * held out; of a source with only one, the end of it. Lists are owned by the arena. Fails like
 * pith__source_open(), and with E_ARGUMENT: weights that are none, too little text.
 */
PITH_NODISCARD pith_status pith__distill_excerpts(const pith__excerpts *settings,
                                                  pith__arena *arena, pith__id_lists *training,
                                                  pith__id_lists *held_out, pith_error *err);

#endif /* PITH_DISTILL_H */
