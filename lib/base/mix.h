/*
 * mix.h: SplitMix64 and its finaliser, behind random numbers and the hash of documents.
 */
#ifndef PITH_MIX_H
#define PITH_MIX_H

#include <stdint.h>

/* The output function of SplitMix64 (Steele, Lea & Flood 2014; constants: Stafford's variant 13). */
static inline uint64_t pith__mix64(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* SplitMix64: the same numbers everywhere, any first state is a good one. Advances *state. */
static inline uint64_t pith__splitmix64(uint64_t *state)
{
    return pith__mix64(*state += UINT64_C(0x9e3779b97f4a7c15));
}

#endif /* PITH_MIX_H */
