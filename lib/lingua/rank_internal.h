/*
 * rank_internal.h: what the rankers share.
 */
#ifndef PITH_RANK_INTERNAL_H
#define PITH_RANK_INTERNAL_H

#include "lingua/lingua.h"

/* The arguments of pith__lingua_rank(); count > 0. */
typedef struct pith__rank_input {
    const pith__lm *lm;
    const pith__lingua_options *options;
    const pith__lingua_text *texts;
    size_t count;
    const pith__lingua_text *query;
    bool restrictive;
    pith__arena *arena; /* for scratch that the caller of the ranker forgets */
} pith__rank_input;

/* scores[i] (count) of texts[i]: larger is better, NaN is worst. */
typedef pith_status (*pith__ranker)(const pith__rank_input *input, double *scores, pith_error *err);

PITH_NODISCARD pith_status pith__rank_bm25(const pith__rank_input *input, double *scores,
                                           pith_error *err);
PITH_NODISCARD pith_status pith__rank_gzip(const pith__rank_input *input, double *scores,
                                           pith_error *err);
PITH_NODISCARD pith_status pith__rank_random(const pith__rank_input *input, double *scores,
                                             pith_error *err);

#endif /* PITH_RANK_INTERNAL_H */
