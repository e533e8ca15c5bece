/*
 * score_internal.h: what the files of this folder share.
 */
#ifndef PITH_SCORE_INTERNAL_H
#define PITH_SCORE_INTERNAL_H

#include "score/score.h"

/* Multiply-adds of a pass from which threads inside it pay: about 0.2 s of one core. */
#define PITH__WORK_FOR_THREADS 1e10

/* Threads that a pass over `rows` tokens is worth, at most `threads` and at least 1. */
static inline unsigned pith__score_threads(const pith__model *model, size_t rows, unsigned threads)
{
    const bool pays = (double)model->parameters * (double)rows >= PITH__WORK_FOR_THREADS;
    return pays && threads > 1 ? threads : 1;
}

#endif /* PITH_SCORE_INTERNAL_H */
