/*
 * random.c: random numbers that are a function of where they are used.
 *
 * Seed and stream are mixed into a key; the numbers of a stream are those of SplitMix64 started at
 * that key, read in any order, and finished a second time. SplitMix64 alone passes BigCrush; its
 * known weakness are states that differ by little, which the mixed key and the second
 * finaliser take away. Within a stream no number repeats before 2^64 of them: draws are
 * without replacement from all 64-bit numbers, which nothing here comes near to noticing.
 * Not for secrets.
 */
#include "base/mix.h"
#include "train/train.h"

static const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15); /* 2^64 over the golden ratio, odd */

uint64_t pith__random(uint64_t seed, uint64_t stream, uint64_t counter)
{
    /* bijective in each argument; the sums keep 0, which the finaliser maps to itself, away */
    const uint64_t key = pith__mix64(pith__mix64(seed + golden) + stream + golden);
    return pith__mix64(pith__mix64(key + (counter + 1) * golden) + golden);
}

double pith__random_unit(uint64_t seed, uint64_t stream, uint64_t counter)
{
    return (double)(pith__random(seed, stream, counter) >> 11) * 0x1p-53;
}

/* Fisher-Yates; modulo is biased by less than count / 2^64. */
void pith__shuffle(size_t *order, size_t count, uint64_t key, uint64_t stream)
{
    for (size_t i = 0; i < count; i++) {
        order[i] = i;
    }
    for (size_t i = count; i > 1; i--) {
        const size_t other = (size_t)(pith__random(key, stream, i) % i);
        const size_t swapped = order[i - 1];
        order[i - 1] = order[other];
        order[other] = swapped;
    }
}

/* ---- decks -------------------------------------------------------------------------------------- */

pith_status pith__deck_init(pith__deck *deck, size_t count, const pith_allocator *mem,
                            pith_error *err)
{
    *deck = (pith__deck){.mem = *mem, .count = count};
    return pith__alloc(mem, count, sizeof *deck->order, &deck->order, err);
}

void pith__deck_deinit(pith__deck *deck)
{
    if (deck->order != NULL) {
        pith__free(&deck->mem, deck->order, deck->count, sizeof *deck->order);
    }
    *deck = (pith__deck){0};
}

size_t pith__deck_at(pith__deck *deck, uint64_t seed, uint64_t stream, uint64_t n)
{
    const uint64_t epoch = n / deck->count;
    if (!deck->has_order || deck->epoch != epoch) {
        pith__shuffle(deck->order, deck->count, pith__random(seed, stream, epoch), stream);
        deck->has_order = true;
        deck->epoch = epoch;
    }
    return deck->order[n % deck->count];
}
