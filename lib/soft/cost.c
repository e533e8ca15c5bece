/*
 * cost.c: what reading costs: operations by the formula of the gist paper's release, bytes of a cache.
 */
#include "soft/soft.h"

double pith__cost_flops(const pith__model_config *config, size_t fresh, size_t cached)
{
    const double s = (double)fresh;
    const double a = s + (double)cached;
    const double v = (double)config->vocabulary;
    const double d = (double)config->width;
    const double h = (double)config->heads;
    const double embedding = 2.0 * s * v * d;
    const double projections = 6.0 * s * d * d + 2.0 * s * d * d;
    const double attention = 2.0 * s * a * d + 3.0 * h * s * a + 2.0 * s * a * d;
    const double feed_forward = 6.0 * s * d * (double)config->ff;
    const double logits = 2.0 * s * d * v;
    const double layer = projections + attention + feed_forward;
    return embedding + (double)config->layers * layer + logits;
}

uint64_t pith__cost_kv_bytes(const pith__model_config *config, size_t tokens, size_t number_bytes)
{
    const uint64_t numbers = (uint64_t)config->layers * config->kv_heads * config->head_dim * 2;
    return numbers * tokens * number_bytes;
}
