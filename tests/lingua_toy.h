/*
 * lingua_toy.h: a language model of a few lines for tests of lib/lingua: tokens are up to three
 * bytes, a line break is id 13 (or one token with a '|' behind it), and how surprising a token is
 * depends on the three before it and on how many there are. Multiples of 1/128 nats, so that sums
 * and differences are exact.
 */
#ifndef PITH_LINGUA_TOY_H
#define PITH_LINGUA_TOY_H

#include "lingua/lingua.h"

#include "test.h"

#include <math.h>

#define TOY_BOS 0

typedef struct toy_stream {
    uint32_t *ids;
    size_t length;
    size_t capacity;
} toy_stream;

typedef struct toy_lm {
    toy_stream streams[PITH__LM_STREAMS];
    size_t context;
    size_t forwarded;
    size_t fail_at; /* this call of nll or extend fails, counted from 1; 0: none */
    size_t calls;
} toy_lm;

static inline uint32_t toy_mix(uint32_t hash, uint32_t value)
{
    return (hash ^ value) * UINT32_C(16777619);
}

static inline uint32_t toy_id(const char *bytes, size_t size)
{
    if (size == 1 && bytes[0] == '\n') {
        return 13;
    }
    uint32_t hash = UINT32_C(2166136261);
    for (size_t i = 0; i < size; i++) {
        hash = toy_mix(hash, (unsigned char)bytes[i]);
    }
    return 20 + (hash >> 8) % 4000;
}

/* -ln p(target | ids) */
static inline float toy_loss(const uint32_t *ids, size_t count, uint32_t target)
{
    uint32_t hash = UINT32_C(2166136261);
    for (size_t i = count < 3 ? 0 : count - 3; i < count; i++) {
        hash = toy_mix(hash, ids[i]);
    }
    hash = toy_mix(hash, (uint32_t)(count % 7));
    hash = toy_mix(hash, target);
    return (float)((hash >> 8) % 1024) / 128.0F;
}

static inline pith_status toy_tokenize(void *user, const char *text, size_t size,
                                       pith__arena *arena, pith__lm_tokens *out, pith_error *err)
{
    (void)user;
    *out = (pith__lm_tokens){0};
    PITH__TRY(pith__arena_alloc(arena, size, sizeof *out->items, &out->items, err));
    for (size_t start = 0; start < size;) {
        const bool is_break = text[start] == '\n';
        size_t end = start + (is_break && start + 1 < size && text[start + 1] == '|' ? 2 : 1);
        while (!is_break && end < size && end - start < 3 && text[end] != '\n') {
            end++;
        }
        out->items[out->count++] =
            (pith_token_score){start, end, toy_id(text + start, end - start), NAN};
        start = end;
    }
    return PITH_OK;
}

static inline pith_status toy_failure(toy_lm *toy, pith_error *err)
{
    toy->calls++;
    return toy->calls == toy->fail_at ? pith__fail(err, PITH_E_BACKEND, "toy") : PITH_OK;
}

static inline pith_status toy_nll(void *user, const uint32_t *ids, size_t n_ids,
                                  const pith__lm_range *ranges, size_t n_ranges, bool bos,
                                  float *nats, pith_error *err)
{
    toy_lm *toy = user;
    PITH__TRY(toy_failure(toy, err));
    for (size_t i = 0; i < n_ids; i++) {
        nats[i] = NAN;
    }
    for (size_t r = 0; r < n_ranges; r++) {
        const size_t count = ranges[r].count;
        uint32_t *sequence = calloc(count + 1, sizeof *sequence);
        assert_non_null(sequence);
        assert_true(ranges[r].first + count <= n_ids);
        size_t length = 0;
        if (bos) {
            sequence[length++] = TOY_BOS;
        }
        toy->forwarded += count + length;
        for (size_t i = ranges[r].first; i < ranges[r].first + count; i++) {
            if (length > 0) {
                nats[i] = toy_loss(sequence, length, ids[i]);
            }
            sequence[length++] = ids[i];
        }
        free(sequence);
    }
    return PITH_OK;
}

static inline pith_status toy_extend(void *user, unsigned stream, const uint32_t *ids,
                                     const uint32_t *targets, size_t count, float *nll,
                                     pith_error *err)
{
    toy_lm *toy = user;
    toy_stream *s = &toy->streams[stream];
    PITH__TRY(toy_failure(toy, err));
    assert_true(s->length + count <= toy->context);
    if (s->length + count > s->capacity) {
        s->capacity = 2 * (s->length + count);
        s->ids = realloc(s->ids, s->capacity * sizeof *s->ids);
        assert_non_null(s->ids);
    }
    toy->forwarded += count;
    for (size_t i = 0; i < count; i++) {
        s->ids[s->length++] = ids[i];
        nll[i] = targets[i] == PITH__LM_NONE ? NAN : toy_loss(s->ids, s->length, targets[i]);
    }
    return PITH_OK;
}

static inline size_t toy_length(void *user, unsigned stream)
{
    const toy_lm *toy = user;
    return toy->streams[stream].length;
}

static inline void toy_truncate(void *user, unsigned stream, size_t length)
{
    toy_lm *toy = user;
    toy_stream *s = &toy->streams[stream];
    s->length = length < s->length ? length : s->length;
}

static inline void toy_remove(void *user, unsigned stream, size_t start, size_t end)
{
    toy_lm *toy = user;
    toy_stream *s = &toy->streams[stream];
    end = end < s->length ? end : s->length;
    if (start < end) {
        memmove(s->ids + start, s->ids + end, (s->length - end) * sizeof *s->ids);
        s->length -= end - start;
    }
}

/* `toy` must be all zero at first; toy_close() it. */
static inline pith__lm toy_open(toy_lm *toy, size_t context, uint32_t bos, bool adds_bos)
{
    toy->context = context;
    return (pith__lm){.user = toy,
                      .context = context,
                      .bos = bos,
                      .adds_bos = adds_bos,
                      .tokenize = toy_tokenize,
                      .nll = toy_nll,
                      .extend = toy_extend,
                      .length = toy_length,
                      .truncate = toy_truncate,
                      .remove = toy_remove};
}

static inline void toy_close(toy_lm *toy)
{
    for (size_t i = 0; i < PITH__LM_STREAMS; i++) {
        free(toy->streams[i].ids);
    }
    *toy = (toy_lm){0};
}

#endif /* PITH_LINGUA_TOY_H */
