/*
 * dictionary.h: the task "fresh dictionary": pairs of a key and a value, new in every text, then
 * questions: key, what value? Nothing can be learned by heart, so whatever answers has read.
 */
#ifndef PITH_DICTIONARY_H
#define PITH_DICTIONARY_H

#include "learner.h"

enum {
    DICTIONARY_KEYS = 32, /* ids 0 .. 31 */
    DICTIONARY_VALUES = 32,
    DICTIONARY_QUERY = 64, /* "Q key value" */
    DICTIONARY_GIST = 66,
    DICTIONARY_PAIRS = 8 /* at most */
};

/* Keys differ, values differ: who knows only which values there are is right once in `pairs`. */
typedef struct dictionary {
    size_t pairs;
    uint32_t key[DICTIONARY_PAIRS];
    uint32_t value[DICTIONARY_PAIRS];
    /* in which they are asked about: each once, or an answer would stand before its question */
    size_t order[DICTIONARY_PAIRS];
} dictionary;

static inline void dictionary_shuffle(dictionary *d, uint64_t *random)
{
    for (size_t i = 0; i < d->pairs; i++) {
        d->order[i] = i;
    }
    for (size_t i = d->pairs; i > 1; i--) {
        const size_t j = test_random_below(random, i);
        const size_t taken = d->order[j];
        d->order[j] = d->order[i - 1];
        d->order[i - 1] = taken;
    }
}

/* `count` different numbers below 32, plus `offset`. */
static inline void dictionary_numbers(uint32_t *out, size_t count, uint32_t offset,
                                      uint64_t *random)
{
    uint32_t all[DICTIONARY_KEYS];
    for (uint32_t i = 0; i < DICTIONARY_KEYS; i++) {
        all[i] = offset + i;
    }
    for (size_t i = 0; i < count; i++) {
        const size_t j = i + test_random_below(random, DICTIONARY_KEYS - i);
        out[i] = all[j];
        all[j] = all[i];
    }
}

static inline void dictionary_draw(dictionary *d, size_t pairs, uint64_t *random)
{
    assert_in_range(pairs, 1, DICTIONARY_PAIRS);
    d->pairs = pairs;
    dictionary_numbers(d->key, pairs, 0, random);
    dictionary_numbers(d->value, pairs, DICTIONARY_KEYS, random);
    dictionary_shuffle(d, random);
}

/* ids (2 pairs): key value key value ... */
static inline size_t dictionary_context(const dictionary *d, uint32_t *ids)
{
    for (size_t i = 0; i < d->pairs; i++) {
        ids[2 * i] = d->key[i];
        ids[2 * i + 1] = d->value[i];
    }
    return 2 * d->pairs;
}

/* The context as rows; the first position after it. */
static inline size_t dictionary_add_context(batch *b, const dictionary *d)
{
    uint32_t ids[2 * DICTIONARY_PAIRS];
    const size_t at = b->rows;
    const size_t count = dictionary_context(d, ids);
    for (size_t i = 0; i < count; i++) {
        batch_add(b, ids[i], i, at);
    }
    return count;
}

/* The first `count` questions with their answers, which see rows from `first` on. */
static inline void dictionary_add_questions(batch *b, const dictionary *d, size_t count,
                                            size_t position, size_t first)
{
    for (size_t q = 0; q < count; q++) {
        const size_t pair = d->order[q];
        batch_add(b, DICTIONARY_QUERY, position++, first);
        batch_add(b, d->key[pair], position++, first);
        batch_want(b, d->value[pair], 1.0);
        if (q + 1 < count) {
            batch_add(b, d->value[pair], position++, first);
        }
    }
}

/* ---- the model that reads ------------------------------------------------------------------- */

/*
 * A text for the base model: a context, then questions and answers. A pair may be asked about
 * again: were each asked about once, the last answer would be the value that is left, and models
 * learn to count out values long before they learn to look one up. What else is in a continuation
 * (which keys may be asked about, that Q follows an answer) is learned by the way.
 *
 * Each value of the context also says which key stands before it. Heads that look one token back,
 * without which no pair can be found, are there after a hundred steps then, and the leap from
 * knowing the values to knowing the pairs follows at once, instead of after thousands.
 */
static inline void dictionary_add_lesson(batch *b, const dictionary *d, uint64_t *random)
{
    const size_t at = b->rows;
    size_t position = 0;
    for (size_t i = 0; i < d->pairs; i++) {
        batch_add(b, d->key[i], position++, at);
        batch_add(b, d->value[i], position++, at);
        batch_want(b, d->key[i], 1.0);
    }
    for (size_t q = 0; q < DICTIONARY_PAIRS; q++) {
        const size_t pair = test_random_below(random, d->pairs);
        if (q > 0) {
            batch_want(b, DICTIONARY_QUERY, 0.1);
        }
        batch_add(b, DICTIONARY_QUERY, position++, at);
        batch_want(b, d->key[pair], 0.1);
        batch_add(b, d->key[pair], position++, at);
        batch_want(b, d->value[pair], 1.0);
        batch_add(b, d->value[pair], position++, at);
    }
}

enum { BASE_TEXTS = 32 };

/* A model that reads 1 to 8 pairs and answers. */
static inline void dictionary_base(trainable *t, uint64_t steps, uint64_t seed)
{
    const pith__schedule schedule = {
        .kind = PITH__SCHEDULE_WSD, .warm_up = 30, .total = steps, .decay = steps / 2};
    uint64_t random = seed * 1000;
    pith__optimizer optimizer;
    batch *b = batch_new();
    learner_open(t, seed);
    learner_optimizer(&t->weights, 2e-3, &optimizer);
    for (uint64_t step = 0; step < steps; step++) {
        batch_clear(b);
        for (size_t i = 0; i < BASE_TEXTS; i++) {
            dictionary d;
            dictionary_draw(&d, 1 + test_random_below(&random, DICTIONARY_PAIRS), &random);
            dictionary_add_lesson(b, &d, &random);
        }
        (void)learner_step(t, &optimizer, b, pith__schedule_at(&schedule, step + 1));
    }
    pith__optimizer_deinit(&optimizer);
    free(b);
}

#endif /* PITH_DICTIONARY_H */
