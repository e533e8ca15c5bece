/*
 * sources.h: the task "hidden sources": a text is written by up to three sources, one of each kind,
 * one after the other; then a question names a kind, and its source goes on. Who has read the text
 * knows how.
 *
 * Every kind has symbols of its own and 32 sources. A source is a hidden Markov model: two states,
 * between which it changes now and then, and in each of them three symbols that it likes. So it
 * takes some symbols to know one from the other, and no single symbol tells.
 */
#ifndef PITH_SOURCES_H
#define PITH_SOURCES_H

#include "learner.h"

enum {
    SOURCES_KINDS = 3,
    SOURCES_SYMBOLS = 16, /* of a kind: ids 0 .. 15, 16 .. 31, 32 .. 47 */
    SOURCES_OF_KIND = 32,
    SOURCES_STATES = 2,
    SOURCES_LIKED = 3,
    SOURCES_ASK = 48, /* and the two after it: how does the source of this kind go on? */
    SOURCES_BEGIN = 51,
    SOURCES_GO = 52,      /* the text has ended and the question was put before it: go on */
    SOURCES_CONTEXT = 48, /* tokens at most */
    SOURCES_ANSWER = 4    /* symbols of a continuation */
};

typedef struct sources {
    uint8_t liked[SOURCES_KINDS][SOURCES_OF_KIND][SOURCES_STATES][SOURCES_LIKED];
} sources;

static inline void sources_draw(sources *s, uint64_t seed)
{
    uint8_t all[SOURCES_SYMBOLS];
    for (size_t i = 0; i < (size_t)SOURCES_KINDS * SOURCES_OF_KIND * SOURCES_STATES; i++) {
        uint8_t *liked = &s->liked[0][0][0][0] + i * SOURCES_LIKED;
        for (size_t j = 0; j < SOURCES_SYMBOLS; j++) {
            all[j] = (uint8_t)j;
        }
        for (size_t j = 0; j < SOURCES_LIKED; j++) {
            const size_t taken = j + test_random_below(&seed, SOURCES_SYMBOLS - j);
            liked[j] = all[taken];
            all[taken] = all[j];
        }
    }
}

/* ids (count) of one source. The state changes two times in five; one symbol in ten is any. */
static inline void sources_write(const sources *s, size_t kind, size_t source, uint32_t *ids,
                                 size_t count, uint64_t *random)
{
    size_t state = test_random_below(random, SOURCES_STATES);
    for (size_t i = 0; i < count; i++) {
        state = random_unit(random) < 0.4 ? 1 - state : state;
        const size_t symbol =
            random_unit(random) < 0.9
                ? s->liked[kind][source][state][test_random_below(random, SOURCES_LIKED)]
                : test_random_below(random, SOURCES_SYMBOLS);
        ids[i] = (uint32_t)(kind * SOURCES_SYMBOLS + symbol);
    }
}

/* ---- texts ----------------------------------------------------------------------------------- */

/* What several sources have written, a stretch each, and how the one asked about goes on. */
typedef struct source_text {
    size_t stretches;
    size_t kind[SOURCES_KINDS];
    size_t source[SOURCES_KINDS];
    size_t ends[SOURCES_KINDS]; /* of the stretches, in ids */
    size_t count;
    uint32_t ids[SOURCES_CONTEXT];
    uint32_t question; /* SOURCES_ASK + kind */
    uint32_t answer[SOURCES_ANSWER];
} source_text;

/* Another question, and its answer. */
static inline void source_text_ask(source_text *t, const sources *s, uint64_t *random)
{
    const size_t asked = test_random_below(random, t->stretches);
    t->question = (uint32_t)(SOURCES_ASK + t->kind[asked]);
    sources_write(s, t->kind[asked], t->source[asked], t->answer, SOURCES_ANSWER, random);
}

static inline void source_text_draw(source_text *t, const sources *s, size_t stretches,
                                    size_t count, uint64_t *random)
{
    size_t kinds[SOURCES_KINDS] = {0, 1, 2};
    size_t at = 0;
    assert_in_range(stretches, 1, SOURCES_KINDS);
    assert_in_range(count, stretches, SOURCES_CONTEXT);
    t->stretches = stretches;
    t->count = count;
    for (size_t i = 0; i < stretches; i++) {
        const size_t taken = i + test_random_below(random, SOURCES_KINDS - i);
        t->kind[i] = kinds[taken];
        kinds[taken] = kinds[i];
        t->source[i] = test_random_below(random, SOURCES_OF_KIND);
        t->ends[i] = (i + 1) * count / stretches;
        sources_write(s, t->kind[i], t->source[i], t->ids + at, t->ends[i] - at, random);
        at = t->ends[i];
    }
    source_text_ask(t, s, random);
}

/* ---- the model that reads -------------------------------------------------------------------- */

static inline size_t sources_add_ids(batch *b, const uint32_t *ids, size_t count, size_t position,
                                     size_t first)
{
    for (size_t i = 0; i < count; i++) {
        batch_add(b, ids[i], position++, first);
    }
    return position;
}

/* "begin text", the whole of it or, as often, an excerpt, which may be empty. */
static inline size_t sources_add_context(batch *b, const source_text *t, size_t position,
                                         size_t first, uint64_t *random)
{
    size_t from = 0;
    size_t to = t->count;
    size_t stretch = 0;
    if (test_random_below(random, 2) == 0) {
        to = test_random_below(random, t->count + 1);
        from = test_random_below(random, to + 1);
    }
    batch_add(b, SOURCES_BEGIN, position++, first);
    for (size_t i = from; i < to; i++) {
        while (i >= t->ends[stretch]) {
            stretch++;
        }
        batch_add(b, t->ids[i], position++, first);
        if (i + 1 < to && i + 1 < t->ends[stretch]) {
            batch_want(b, t->ids[i + 1], 0.5);
        }
    }
    return position;
}

/*
 * The first `count` symbols of the answer. What was added last wants the first one, with a weight
 * of its own: later ones follow from those before them too.
 */
static inline size_t sources_add_answer(batch *b, const source_text *t, size_t count,
                                        double first_weight, size_t position, size_t first)
{
    for (size_t i = 0; i < count; i++) {
        batch_want(b, t->answer[i], i == 0 ? first_weight : 1.0);
        batch_add(b, t->answer[i], position++, first);
    }
    return position;
}

/* A text for the base model, either way round: "ask begin text go answer", or "begin text" and four
 * times "ask answer". */
static inline void sources_add_lesson(batch *b, const sources *s, source_text *t, uint64_t *random)
{
    const size_t at = b->rows;
    size_t position = 0;
    if (test_random_below(random, 2) == 0) {
        batch_add(b, t->question, position++, at);
        position = sources_add_context(b, t, position, at, random);
        batch_add(b, SOURCES_GO, position++, at);
        (void)sources_add_answer(b, t, SOURCES_ANSWER, 3.0, position, at);
        return;
    }
    position = sources_add_context(b, t, position, at, random);
    for (size_t i = 0; i < 4; i++) {
        batch_add(b, t->question, position++, at);
        position = sources_add_answer(b, t, 2, 1.0, position, at);
        source_text_ask(t, s, random);
    }
}

/* A model that reads 4 to 48 tokens of one to three sources and knows how they go on. */
static inline void sources_base(trainable *t, const sources *s, uint64_t steps, uint64_t seed)
{
    const pith__schedule schedule = {
        .kind = PITH__SCHEDULE_WSD, .warm_up = 30, .total = steps, .decay = steps / 2};
    uint64_t random = seed * 1000;
    pith__optimizer optimizer;
    batch *b = batch_new();
    learner_open(t, seed);
    learner_optimizer(&t->weights, 4e-3, &optimizer);
    for (uint64_t step = 0; step < steps; step++) {
        batch_clear(b);
        for (size_t i = 0; i < 32; i++) {
            source_text text;
            const size_t stretches = 1 + test_random_below(&random, SOURCES_KINDS);
            const size_t least = 4 * stretches;
            const size_t more = test_random_below(&random, SOURCES_CONTEXT - least + 1);
            source_text_draw(&text, s, stretches, least + more, &random);
            sources_add_lesson(b, s, &text, &random);
        }
        (void)learner_step(t, &optimizer, b, pith__schedule_at(&schedule, step + 1));
    }
    pith__optimizer_deinit(&optimizer);
    free(b);
}

#endif /* PITH_SOURCES_H */
