/*
 * mix.h: the 64-bit finaliser behind the random numbers and the hash of documents.
 */
#ifndef PITH_TRAIN_MIX_H
#define PITH_TRAIN_MIX_H

#include <stdint.h>

/* The output function of SplitMix64 (Steele, Lea & Flood 2014; constants: Stafford's variant 13). */
static inline uint64_t pith__mix64(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

#endif /* PITH_TRAIN_MIX_H */
