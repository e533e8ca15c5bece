/*
 * contrast.c: contrastive conditioning: what attributes add to the expectation of the next token.
 */
#include "generate/generate.h"

#include <math.h>

static const double ln_2 = 0.69314718055994530942;

double pith__log_sum_exp(const float *logits, size_t vocabulary)
{
    float max = -INFINITY;
    for (size_t v = 0; v < vocabulary; v++) {
        if (isnan(logits[v])) {
            return (double)NAN;
        }
        max = logits[v] > max ? logits[v] : max;
    }
    if (isinf(max)) {
        return (double)max; /* nothing is possible, or something beyond measure */
    }
    double sum = 0.0;
    for (size_t v = 0; v < vocabulary; v++) {
        sum += exp((double)logits[v] - (double)max);
    }
    return (double)max + log(sum);
}

void pith__log_softmax(const float *logits, size_t vocabulary, double *out)
{
    const double all = pith__log_sum_exp(logits, vocabulary);
    for (size_t v = 0; v < vocabulary; v++) {
        out[v] = (double)logits[v] - all;
    }
}

/*
 * ln p(a|x,v) + ln 2, where `doubt` is tau (ln p- - ln p+): p(a|x,v) = 1 / (1 + exp(doubt)).
 * Doubt is not a number where neither context allows v: the attribute then says nothing.
 */
static double evidence(double doubt)
{
    if (doubt == 0.0 || isnan(doubt)) {
        return 0.0;
    }
    const double softplus = doubt > 0.0 ? doubt + log1p(exp(-doubt)) : log1p(exp(doubt));
    return ln_2 - softplus;
}

void pith__contrast_add(const pith__contrast *attributes, size_t n_attributes, size_t vocabulary,
                        double *scores)
{
    for (size_t a = 0; a < n_attributes; a++) {
        const pith__contrast *attribute = &attributes[a];
        if (attribute->omega == 0.0) {
            continue;
        }
        const double toward = pith__log_sum_exp(attribute->toward, vocabulary);
        const double away = pith__log_sum_exp(attribute->away, vocabulary);
        for (size_t v = 0; v < vocabulary; v++) {
            const double likely = (double)attribute->toward[v] - toward;
            const double unlikely = (double)attribute->away[v] - away;
            scores[v] += attribute->omega * evidence(attribute->tau * (unlikely - likely));
        }
    }
}

void pith__contrast_mix(const float *logits, const pith__contrast *attributes, size_t n_attributes,
                        size_t vocabulary, double *out)
{
    pith__log_softmax(logits, vocabulary, out);
    pith__contrast_add(attributes, n_attributes, vocabulary, out);
}
