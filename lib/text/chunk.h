/*
 * chunk.h: base noun phrases of a tagged English sentence, by rules.
 *
 * Shared by phrases of raw text, the tagger's evaluation and its tests.
 */
#ifndef PITH_TEXT_CHUNK_H
#define PITH_TEXT_CHUNK_H

#include "text/tagger.h"

/* A word as the tagger sees it: clitics are words of their own ("do", "n't"). Borrowed. */
typedef struct pith__chunk_word {
    const char *text;
    size_t size;
    uint8_t tag; /* pith__tag */
    bool spaced; /* white space before it */
} pith__chunk_word;

/* Where a word stands with respect to the noun phrases. */
enum { PITH__CHUNK_OUTSIDE = 0, PITH__CHUNK_BEGIN = 1, PITH__CHUNK_INSIDE = 2 };

/* Writes one of the above for each of the `count` words of a sentence. O(count). */
void pith__chunk_mark(const pith__chunk_word *words, size_t count, uint8_t *marks);

#endif /* PITH_TEXT_CHUNK_H */
