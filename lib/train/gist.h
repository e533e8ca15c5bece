/*
 * gist.h: what the files of recipe gist share.
 */
#ifndef PITH_GIST_H
#define PITH_GIST_H

#include "train/triples.h"
#include "train/tuned.h"

typedef struct pith__gist {
    const pith__gist_settings *settings;
    pith_allocator mem;
    pith__pair_set data;
    pith__pair_file *tests; /* (n_tests) open ones; all their lines are to judge by */
    size_t n_tests;
    pith__keywords keywords; /* of the training instructions, if a condition needs them */
    /* the condition at hand */
    pith__run_settings run_settings; /* with steps and checkpoint filled in */
    char checkpoint[4096];
    pith__tuned tuned;
    uint32_t token; /* the gist token */
    bool is_added;  /* it is the tokenizer's first id that is none */
    float *row;     /* (d) its embedding, where it learns */
    pith__triple_form form;
    pith__sample *samples; /* (batch) */
    uint32_t *seen;        /* (batch, length) rows seen first */
    uint64_t first;        /* number of samples[0] in the run */
    pith__arena scratch;   /* of one triple */
    pith__run run;
    pith__gist_score *scores; /* (n_tests + 1) */
} pith__gist;

/* A line as ids, in memory of `scratch`. */
PITH_NODISCARD pith_status pith__gist_triple(pith__gist *gist, const pith__pair_file *file,
                                             pith__pair line, pith__triple *triple,
                                             pith__triple_ids *ids, pith_error *err);

/* The model reads the learned row where it looks up the token's: for an adapter, a copy. */
void pith__gist_place_row(pith__gist *gist);

/*
 * Fills in the scores and reports them, as nats per token. With `generates`, outputs are written, too:
 * from a reader that has read a capsule, as in use.
 */
PITH_NODISCARD pith_status pith__gist_judge(pith__gist *gist, bool generates, pith_error *err);

#endif /* PITH_GIST_H */
