/*
 * bits.h: one bit per byte of a text.
 */
#ifndef PITH_TEXT_BITS_H
#define PITH_TEXT_BITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PITH__BITS_PER_WORD = 64 };

/* Words that `count` bits take, never 0. */
static inline size_t pith__bits_words(size_t count)
{
    return count / PITH__BITS_PER_WORD + 1;
}

static inline bool pith__bits_test(const uint64_t *bits, size_t index)
{
    return (bits[index / PITH__BITS_PER_WORD] >> (index % PITH__BITS_PER_WORD) & 1U) != 0;
}

/* Sets bits [start, end) to `on`, a word at a time. */
static inline void pith__bits_fill(uint64_t *bits, size_t start, size_t end, bool on)
{
    while (start < end) {
        const size_t shift = start % PITH__BITS_PER_WORD;
        const size_t room = PITH__BITS_PER_WORD - shift;
        const size_t count = end - start < room ? end - start : room;
        const uint64_t mask = (UINT64_MAX >> (PITH__BITS_PER_WORD - count)) << shift;
        uint64_t *word = &bits[start / PITH__BITS_PER_WORD];
        *word = on ? *word | mask : *word & ~mask;
        start += count;
    }
}

#endif /* PITH_TEXT_BITS_H */
