/*
 * rank_random.c: a random order, the baseline that other rankers must beat.
 */
#include "base/mix.h"
#include "lingua/rank_internal.h"

pith_status pith__rank_random(const pith__rank_input *input, double *scores, pith_error *err)
{
    (void)err;
    uint64_t state = input->options->seed;
    for (size_t i = 0; i < input->count; i++) {
        scores[i] = (double)(pith__splitmix64(&state) >> 11) * 0x1p-53; /* in [0, 1), exactly */
    }
    return PITH_OK;
}
