/*
 * keyword.c: one word for a text, by TF-IDF.
 */
#include "text/text.h"
#include "train/run.h"
#include "train/triples.h"

#include <math.h>
#include <string.h>

/* ---- strings and numbers -------------------------------------------------------------------- */

typedef struct pith__count {
    const char *data; /* NULL: free */
    size_t size;
    uint64_t hash;
    uint64_t count;
    uint64_t last; /* text that was counted last */
} pith__count;

static void counts_init(pith__counts *counts, const pith_allocator *mem)
{
    *counts = (pith__counts){0};
    pith__arena_init(&counts->arena, mem);
}

static void counts_deinit(pith__counts *counts)
{
    if (counts->items != NULL) {
        pith__free(&counts->arena.mem, counts->items, counts->capacity, sizeof *counts->items);
    }
    pith__arena_deinit(&counts->arena);
}

/* Where a string is, or would be; there is always a free place. */
static pith__count *place_of(const pith__counts *counts, const char *data, size_t size,
                             uint64_t hash)
{
    size_t i = (size_t)(hash ^ (hash >> 32)) & (counts->capacity - 1);
    for (;; i = (i + 1) & (counts->capacity - 1)) {
        pith__count *at = &counts->items[i];
        if (at->data == NULL || (at->hash == hash && at->size == size &&
                                 (size == 0 || memcmp(at->data, data, size) == 0))) {
            return at;
        }
    }
}

static pith_status counts_grow(pith__counts *counts, pith_error *err)
{
    pith__counts grown = *counts;
    grown.capacity = counts->capacity == 0 ? 64 : 2 * counts->capacity;
    PITH__TRY(pith__alloc_zero(&counts->arena.mem, grown.capacity, sizeof *grown.items,
                               &grown.items, err));
    for (size_t i = 0; i < counts->capacity; i++) {
        const pith__count *from = &counts->items[i];
        if (from->data != NULL) {
            *place_of(&grown, from->data, from->size, from->hash) = *from;
        }
    }
    if (counts->items != NULL) {
        pith__free(&counts->arena.mem, counts->items, counts->capacity, sizeof *counts->items);
    }
    *counts = grown;
    return PITH_OK;
}

/* The entry of a string, which is made if there is none. */
static pith_status counts_get(pith__counts *counts, const char *data, size_t size,
                              pith__count **out, pith_error *err)
{
    if (2 * (counts->used + 1) > counts->capacity) {
        PITH__TRY(counts_grow(counts, err));
    }
    const uint64_t hash = pith__fingerprint(PITH__FINGERPRINT_START, data, size);
    pith__count *at = place_of(counts, data, size, hash);
    if (at->data == NULL) {
        char *copy = NULL;
        PITH__TRY(pith__arena_alloc(&counts->arena, size, 1, &copy, err));
        if (size > 0) {
            memcpy(copy, data, size);
        }
        *at = (pith__count){.data = copy, .size = size, .hash = hash};
        counts->used++;
    }
    *out = at;
    return PITH_OK;
}

/* The number of a string; 0 if it was never met. */
static uint64_t counts_find(const pith__counts *counts, const char *data, size_t size)
{
    if (counts->capacity == 0) {
        return 0;
    }
    return place_of(counts, data, size, pith__fingerprint(PITH__FINGERPRINT_START, data, size))
        ->count;
}

/* ---- keywords ----------------------------------------------------------------------------------- */

void pith__keywords_init(pith__keywords *keywords, const pith_allocator *mem)
{
    keywords->mem = *mem;
    counts_init(&keywords->texts, mem);
    counts_init(&keywords->words, mem);
}

void pith__keywords_deinit(pith__keywords *keywords)
{
    if (keywords->mem.realloc != NULL) {
        counts_deinit(&keywords->texts);
        counts_deinit(&keywords->words);
    }
    *keywords = (pith__keywords){0};
}

/* Every word of text number `number` counts once. */
static pith_status count_words(pith__keywords *keywords, const pith__terms *terms, uint64_t number,
                               pith_error *err)
{
    for (size_t i = 0; i < terms->spans.count; i++) {
        const pith__span *span = &terms->spans.items[i];
        pith__count *word = NULL;
        PITH__TRY(counts_get(&keywords->words, terms->text + span->start, span->end - span->start,
                             &word, err));
        word->count += word->last != number;
        word->last = number;
    }
    return PITH_OK;
}

pith_status pith__keywords_add(pith__keywords *keywords, pith__token_text text, pith_error *err)
{
    pith__count *seen = NULL;
    pith__terms terms;
    PITH__TRY(counts_get(&keywords->texts, text.data, text.size, &seen, err));
    if (seen->count > 0) {
        return PITH_OK;
    }
    seen->count = 1;
    PITH__TRY(pith__text_terms(text.data, text.size, &keywords->mem, &terms, err));
    const pith_status status = count_words(keywords, &terms, keywords->texts.used, err);
    pith__terms_deinit(&terms, &keywords->mem);
    return status;
}

static pith_status find_keyword(const pith__keywords *keywords, const pith__terms *terms,
                                pith__counts *own, pith__token_text *out, pith_error *err)
{
    for (size_t i = 0; i < terms->spans.count; i++) {
        const pith__span *span = &terms->spans.items[i];
        pith__count *word = NULL;
        PITH__TRY(counts_get(own, terms->text + span->start, span->end - span->start, &word, err));
        word->count++;
    }
    const double texts = (double)keywords->texts.used;
    double best = 0.0; /* every word has more */
    for (size_t i = 0; i < terms->spans.count; i++) {
        const pith__span *span = &terms->spans.items[i];
        const pith__token_text word = {terms->text + span->start, span->end - span->start};
        const double with = (double)counts_find(&keywords->words, word.data, word.size);
        const double weight = (double)counts_find(own, word.data, word.size) *
                              (log((1.0 + texts) / (1.0 + with)) + 1.0);
        if (weight > best) {
            best = weight;
            *out = word;
        }
    }
    return PITH_OK;
}

pith_status pith__keyword_of(const pith__keywords *keywords, pith__token_text text,
                             pith__arena *arena, pith__token_text *out, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(arena);
    pith__counts own; /* of this text */
    pith__terms terms;
    *out = (pith__token_text){"", 0};
    PITH__TRY(pith__text_terms(text.data, text.size, &mem, &terms, err));
    counts_init(&own, &keywords->mem);
    const pith_status status = find_keyword(keywords, &terms, &own, out, err);
    counts_deinit(&own);
    return status;
}
