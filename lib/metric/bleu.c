/*
 * bleu.c: BLEU of one sentence (Papineni et al. 2002), as NLTK's sentence_bleu computes it.
 */
#include "metric/metric_internal.h"

#include <math.h>

/* n-grams of up to so many words, all of the same weight. */
#define LONGEST 4

/* What a share of 0 counts as, in n-grams: method 1 of Chen & Cherry 2014, with NLTK's epsilon. */
#define EPSILON 0.1

/*
 * ln of the share of the candidate's n-grams that the reference has. A candidate of fewer words has none
 * of them, and counts as if it had one.
 */
static pith_status log_share(const pith__metric_ids *words, size_t n, bool smooth,
                             pith__arena *arena, double *out, pith_error *err)
{
    pith__metric_ids grams;
    size_t common = 0;
    PITH__TRY(pith__metric_number_grams(words, n, arena, &grams, err));
    PITH__TRY(pith__metric_common(&grams, arena, &common, err));
    const double all = grams.candidate_count == 0 ? 1.0 : (double)grams.candidate_count;
    const double found = common == 0 && smooth ? EPSILON : (double)common;
    *out = found > 0.0 ? log(found / all) : -(double)INFINITY;
    return PITH_OK;
}

static pith_status bleu(const pith__text_pair *pair, bool smooth, pith__arena *arena, double *out,
                        pith_error *err)
{
    pith__metric_words candidate;
    pith__metric_words reference;
    pith__metric_ids words;
    size_t common = 0;
    double sum = 0.0;
    PITH__TRY(pith__metric_split(pair->candidate, pair->candidate_size, arena, &candidate, err));
    PITH__TRY(pith__metric_split(pair->reference, pair->reference_size, arena, &reference, err));
    PITH__TRY(pith__metric_number(&candidate, &reference, arena, &words, err));
    PITH__TRY(pith__metric_common(&words, arena, &common, err));
    if (common == 0) { /* nothing to smooth: NLTK's rule */
        return PITH_OK;
    }
    for (size_t n = 1; n <= LONGEST; n++) {
        double share = 0.0;
        PITH__TRY(log_share(&words, n, smooth, arena, &share, err));
        sum += share / LONGEST;
    }
    const double missing = (double)reference.count / (double)candidate.count;
    *out = exp(sum + fmin(0.0, 1.0 - missing)); /* the brevity penalty is a factor of its own */
    return PITH_OK;
}

pith_status pith__bleu(const pith__text_pair *pair, bool smooth, const pith_allocator *mem,
                       double *out, pith_error *err)
{
    pith__arena arena;
    *out = 0.0;
    pith__arena_init(&arena, mem);
    const pith_status status = bleu(pair, smooth, &arena, out, err);
    pith__arena_deinit(&arena);
    return status;
}
