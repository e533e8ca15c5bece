/*
 * score.h: self-information of every token, -ln p(token | what precedes it).
 *
 * A sequence longer than the model's context is read in overlapping windows:
 * each window after the first begins `overlap` tokens before the first token it
 * scores, so every token is scored exactly once and none, but those at the very
 * start, with less than `overlap` tokens of context. Nothing is dropped.
 */
#ifndef PITH_SCORE_H
#define PITH_SCORE_H

#include "model/model.h"

/* ids [first, first + count) of one text; scored without knowledge of its neighbours. */
typedef struct pith__score_range {
    size_t first;
    size_t count;
} pith__score_range;

typedef struct pith__score_options {
    uint32_t bos;  /* id put before every window, or PITH__NO_TARGET: the first token is then NaN */
    size_t window; /* tokens per window, BOS included; at least 2, at most the context */
    size_t overlap;            /* tokens of context that a window repeats, below window - 1; without
                                  BOS at least 1 */
    pith_progress_fn progress; /* stage "score", in ids; or NULL */
    void *progress_user;
} pith__score_options;

/* What is scored; borrowed. */
typedef struct pith__score_input {
    const uint32_t *ids;
    size_t n_ids;
    const pith__score_range *ranges; /* ascending, disjoint, within the ids */
    size_t n_ranges;
} pith__score_input;

/*
 * nats[i] (n_ids) receives the self-information of ids[i]; NaN for ids outside all
 * ranges. *forwarded (may be NULL) receives the number of tokens the model runs over.
 *
 * Which windows go through the model together depends on the ranges alone, so the
 * result does not depend on the number of threads. With several threads, memory is
 * taken from several threads at once.
 *
 * Fails with E_ARGUMENT, E_CANCELLED, or like pith__model_forward().
 */
PITH_NODISCARD pith_status pith__score_run(const pith__model *model, const pith__tensor_ctx *ctx,
                                           const pith__score_options *options,
                                           const pith__score_input *text, float *nats,
                                           size_t *forwarded, pith_error *err);

/* ---- streams (stream.c) --------------------------------------------------------------- */

/*
 * A sequence that grows, and from which tokens can be taken out: what iterative methods read.
 * One thread at a time.
 */
typedef struct pith__stream {
    const pith__model *model;
    unsigned threads;    /* inside one step */
    pith__arena scratch; /* of one step */
    pith__kv kv;
    size_t forwarded; /* tokens the model ran over so far */
} pith__stream;

/* Memory: `mem`, which is copied. */
void pith__stream_init(pith__stream *stream, const pith__model *model, unsigned threads,
                       const pith_allocator *mem);
void pith__stream_deinit(pith__stream *stream);

/*
 * Appends `count` ids. nats[i] receives -ln p(targets[i] | everything up to ids[i]), NaN where
 * targets[i] is PITH__NO_TARGET. Fails like pith__model_forward(): E_CONTEXT if the stream would
 * exceed the model's context; the stream is then as it was.
 */
PITH_NODISCARD pith_status pith__stream_extend(pith__stream *stream, const uint32_t *ids,
                                               const uint32_t *targets, size_t count, float *nats,
                                               pith_error *err);

size_t pith__stream_length(const pith__stream *stream);

/* Forgets everything from `length` on. */
void pith__stream_truncate(pith__stream *stream, size_t length);

/* Takes out tokens [start, end), cut to the length. What follows keeps the positions at which it was read. */
void pith__stream_remove(pith__stream *stream, size_t start, size_t end);

#endif /* PITH_SCORE_H */
