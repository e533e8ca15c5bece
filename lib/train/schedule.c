/*
 * schedule.c: how the learning rate goes up and down.
 */
#include "train/train.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

/* What is left of the steps after the first `from`, as a share: 1 at `from`, 0 at `total`. */
static double share_left(uint64_t from, uint64_t total, uint64_t step)
{
    return (double)(total - step) / (double)(total - from);
}

/* Decay that would begin during the warm-up begins, and is shortened to begin, at its end. */
static double wsd(const pith__schedule *s, uint64_t step)
{
    const uint64_t after_warm_up = s->total - s->warm_up;
    const uint64_t decay = s->decay < after_warm_up ? s->decay : after_warm_up;
    const uint64_t start = s->total - decay;
    return step < start ? 1.0 : share_left(start, s->total, step);
}

double pith__schedule_at(const pith__schedule *schedule, uint64_t step)
{
    const pith__schedule *s = schedule;
    if (s->kind != PITH__SCHEDULE_CONSTANT && step >= s->total) {
        return 0.0;
    }
    if (step < s->warm_up) {
        return (double)step / (double)s->warm_up;
    }
    /* warm_up <= step, and step < total where the rate falls: no difference below is 0 */
    switch (s->kind) {
    case PITH__SCHEDULE_LINEAR:
        return share_left(s->warm_up, s->total, step);
    case PITH__SCHEDULE_COSINE:
        return 0.5 * (1.0 + cos(pi * (1.0 - share_left(s->warm_up, s->total, step))));
    case PITH__SCHEDULE_WSD:
        return wsd(s, step);
    case PITH__SCHEDULE_CONSTANT:
        break;
    }
    return 1.0;
}
