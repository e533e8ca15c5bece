/*
 * words.c: words as numbers, so that comparing them is cheap, and what two texts have in common.
 */
#include "metric/metric_internal.h"

#include "text/chars.h"

#include <stdlib.h>
#include <string.h>

/* ---- words --------------------------------------------------------------------------------------- */

/* Each but the last has at least a byte of white space behind. */
pith_status pith__metric_split(const char *text, size_t size, pith__arena *arena,
                               pith__metric_words *out, pith_error *err)
{
    PITH__TRY(pith__arena_alloc(arena, size / 2 + 1, sizeof *out->items, &out->items, err));
    out->count = 0;
    size_t start = 0;
    for (size_t at = 0; at <= size;) {
        const size_t space = at < size ? pith__space_length(text, size, at, NULL) : 0;
        if (space == 0 && at < size) {
            at++;
            continue;
        }
        if (at > start) {
            out->items[out->count++] =
                (pith__metric_word){.text = text + start, .size = at - start};
        }
        at += space == 0 ? 1 : space;
        start = at;
    }
    return PITH_OK;
}

/* ---- numbering --------------------------------------------------------------------------------- */

typedef struct word_place {
    const pith__metric_word *word;
    uint32_t *id; /* where its number goes */
} word_place;

static int compare_words(const void *left, const void *right)
{
    const pith__metric_word *a = ((const word_place *)left)->word;
    const pith__metric_word *b = ((const word_place *)right)->word;
    const size_t shorter = a->size < b->size ? a->size : b->size;
    const int order = shorter == 0 ? 0 : memcmp(a->text, b->text, shorter);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

typedef struct pair_place {
    uint64_t pair; /* number of what precedes the last word, number of that word */
    uint32_t *id;
} pair_place;

static int compare_pairs(const void *left, const void *right)
{
    const uint64_t a = ((const pair_place *)left)->pair;
    const uint64_t b = ((const pair_place *)right)->pair;
    return (a > b) - (a < b);
}

/* Room for the numbers of both texts; counts are there already. */
static pith_status allocate(pith__metric_ids *ids, pith__arena *arena, pith_error *err)
{
    const size_t count = ids->candidate_count + ids->reference_count;
    if (count < ids->candidate_count || count > UINT32_MAX) {
        return pith__fail(err, PITH_E_RANGE, "texts of %zu and %zu words", ids->candidate_count,
                          ids->reference_count);
    }
    PITH__TRY(pith__arena_alloc(arena, ids->candidate_count, sizeof *ids->candidate,
                                &ids->candidate, err));
    return pith__arena_alloc(arena, ids->reference_count, sizeof *ids->reference, &ids->reference,
                             err);
}

pith_status pith__metric_number(const pith__metric_words *candidate,
                                const pith__metric_words *reference, pith__arena *arena,
                                pith__metric_ids *out, pith_error *err)
{
    *out = (pith__metric_ids){.candidate_count = candidate->count,
                              .reference_count = reference->count};
    PITH__TRY(allocate(out, arena, err));
    const size_t count = candidate->count + reference->count;
    word_place *places = NULL;
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *places, &places, err));
    for (size_t i = 0; i < candidate->count; i++) {
        places[i] = (word_place){&candidate->items[i], &out->candidate[i]};
    }
    for (size_t i = 0; i < reference->count; i++) {
        places[candidate->count + i] = (word_place){&reference->items[i], &out->reference[i]};
    }
    qsort(places, count, sizeof *places, compare_words);
    for (size_t i = 0; i < count; i++) {
        out->kinds += i == 0 || compare_words(&places[i - 1], &places[i]) != 0;
        *places[i].id = (uint32_t)(out->kinds - 1);
    }
    return PITH_OK;
}

static size_t grams(size_t count, size_t n)
{
    return count < n ? 0 : count - n + 1;
}

/* One word more: out->X[i] is the number of (shorter->X[i], words->X[i + n - 1]). */
static pith_status number_longer(const pith__metric_ids *words, const pith__metric_ids *shorter,
                                 size_t n, pith__arena *arena, pith__metric_ids *out,
                                 pith_error *err)
{
    *out = (pith__metric_ids){.candidate_count = grams(words->candidate_count, n),
                              .reference_count = grams(words->reference_count, n)};
    PITH__TRY(allocate(out, arena, err));
    const size_t count = out->candidate_count + out->reference_count;
    pair_place *places = NULL;
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *places, &places, err));
    pair_place *place = places;
    for (size_t i = 0; i < out->candidate_count; i++) {
        const uint64_t pair = (uint64_t)shorter->candidate[i] << 32 | words->candidate[i + n - 1];
        *place++ = (pair_place){pair, &out->candidate[i]};
    }
    for (size_t i = 0; i < out->reference_count; i++) {
        const uint64_t pair = (uint64_t)shorter->reference[i] << 32 | words->reference[i + n - 1];
        *place++ = (pair_place){pair, &out->reference[i]};
    }
    qsort(places, count, sizeof *places, compare_pairs);
    for (size_t i = 0; i < count; i++) {
        out->kinds += i == 0 || places[i - 1].pair != places[i].pair;
        *places[i].id = (uint32_t)(out->kinds - 1);
    }
    return PITH_OK;
}

pith_status pith__metric_number_grams(const pith__metric_ids *words, size_t n, pith__arena *arena,
                                      pith__metric_ids *out, pith_error *err)
{
    *out = *words;
    /* no text has longer sequences than words: what is beyond that is as empty */
    for (size_t length = 2; length <= n && out->candidate_count + out->reference_count > 0;
         length++) {
        const pith__metric_ids shorter = *out;
        PITH__TRY(number_longer(words, &shorter, length, arena, out, err));
    }
    return PITH_OK;
}

/* ---- what is common ------------------------------------------------------------------------------ */

pith_status pith__metric_common(const pith__metric_ids *ids, pith__arena *arena, size_t *common,
                                pith_error *err)
{
    size_t *left = NULL; /* of each kind, in the reference */
    *common = 0;
    PITH__TRY(pith__arena_alloc_zero(arena, ids->kinds, sizeof *left, &left, err));
    for (size_t i = 0; i < ids->reference_count; i++) {
        left[ids->reference[i]]++;
    }
    for (size_t i = 0; i < ids->candidate_count; i++) {
        size_t *count = &left[ids->candidate[i]];
        *common += *count > 0;
        *count -= *count > 0;
    }
    return PITH_OK;
}

pith__rouge pith__metric_shares(size_t common, size_t candidate_count, size_t reference_count)
{
    pith__rouge out = {0};
    if (common > 0) {
        out.precision = (double)common / (double)candidate_count;
        out.recall = (double)common / (double)reference_count;
        out.f = 2.0 * out.precision * out.recall / (out.precision + out.recall);
    }
    return out;
}
