/*
 * metric.h: how near a text comes to another one: ROUGE (Lin 2004), BLEU, F1 and exact match of answers
 * (SQuAD, Rajpurkar et al. 2016). Texts are UTF-8 of a size; results are shares from 0 to 1.
 *
 * The functions fail with E_MEMORY, with E_RANGE for texts of 2 GiB, and with E_BACKEND if ICU does.
 */
#ifndef PITH_METRIC_H
#define PITH_METRIC_H

#include "base/base.h"

typedef struct pith__text_pair {
    const char *candidate;
    size_t candidate_size;
    const char *reference;
    size_t reference_size;
} pith__text_pair;

typedef struct pith__rouge {
    double precision;
    double recall;
    double f;
} pith__rouge;

/*
 * Words as Google's rouge_score cuts them: lower case, runs of ASCII letters and digits; with `stem`,
 * words above three letters by Porter's stemmer. Two empty texts score 0. E_ARGUMENT: n is 0.
 */
PITH_NODISCARD pith_status pith__rouge_n(const pith__text_pair *pair, unsigned n, bool stem,
                                         const pith_allocator *mem, pith__rouge *out,
                                         pith_error *err);
PITH_NODISCARD pith_status pith__rouge_l(const pith__text_pair *pair, bool stem,
                                         const pith_allocator *mem, pith__rouge *out,
                                         pith_error *err);

/*
 * Of lines: the union of the longest common subsequences (rougeLsum). Memory, here and above: an
 * eighth of the product of the numbers of words, in bytes.
 */
PITH_NODISCARD pith_status pith__rouge_lsum(const pith__text_pair *pair, bool stem,
                                            const pith_allocator *mem, pith__rouge *out,
                                            pith_error *err);

/*
 * BLEU of one sentence against one reference (Papineni et al. 2002), words between white space, case
 * kept: n-grams up to 4, equal weights, brevity penalty; `smooth`: a share of 0 counts as 0.1 / (its
 * n-grams), NLTK's method 1, which is 500xCompressor's. Texts without a word in common score 0 either
 * way. E_MEMORY.
 */
PITH_NODISCARD pith_status pith__bleu(const pith__text_pair *pair, bool smooth,
                                      const pith_allocator *mem, double *out, pith_error *err);

/*
 * After SQuAD's normalisation: lower case, no ASCII punctuation, no a, an, the, single blanks. Where
 * one of the two has no word left F1 is 1 if both have none, else 0 (the script of SQuAD 2.0).
 */
PITH_NODISCARD pith_status pith__answer_f1(const pith__text_pair *pair, const pith_allocator *mem,
                                           double *out, pith_error *err);
PITH_NODISCARD pith_status pith__answer_exact(const pith__text_pair *pair,
                                              const pith_allocator *mem, bool *out,
                                              pith_error *err);

#endif /* PITH_METRIC_H */
