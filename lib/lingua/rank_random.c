/*
 * rank_random.c: a random order, the baseline that other rankers must beat.
 */
#include "lingua/rank_internal.h"

/* splitmix64 (Steele, Lea, Flood 2014): the same numbers everywhere, any seed is a good one. */
static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

pith_status pith__rank_random(const pith__rank_input *input, double *scores, pith_error *err)
{
    (void)err;
    uint64_t state = input->options->seed;
    for (size_t i = 0; i < input->count; i++) {
        scores[i] = (double)(next_random(&state) >> 11) * 0x1p-53; /* in [0, 1), exactly */
    }
    return PITH_OK;
}
