/*
 * metric_internal.h: what the files of this folder share: words, their stems, and how many two texts
 * have in common.
 */
#ifndef PITH_METRIC_INTERNAL_H
#define PITH_METRIC_INTERNAL_H

#include "metric/metric.h"

/* ---- stems (stem.c) ------------------------------------------------------------------------- */

/* Not thread safe. All zero: closed. */
typedef struct pith__stemmer {
    struct sb_stemmer *porter;
} pith__stemmer;

PITH_NODISCARD pith_status pith__stemmer_open(pith__stemmer *stemmer, pith_error *err);
void pith__stemmer_close(pith__stemmer *stemmer);

/* Room for a word and its stem; longer words are their own stems. */
#define PITH__STEM_SIZE 256

/*
 * The stem of a word of ASCII letters and digits in lower case, by Porter's algorithm with the changes
 * of his later release, as NLTK and so Google's rouge_score have it. *stem_size <= PITH__STEM_SIZE,
 * no NUL. E_ARGUMENT: `size` is above PITH__STEM_SIZE; E_MEMORY.
 */
PITH_NODISCARD pith_status pith__stem(const pith__stemmer *stemmer, const char *word, size_t size,
                                      char stem[PITH__STEM_SIZE], size_t *stem_size,
                                      pith_error *err);

/* ---- words as numbers (words.c) --------------------------------------------------------------- */

typedef struct pith__metric_word {
    const char *text; /* not NUL-terminated */
    size_t size;
    size_t line; /* of the text, from 0 */
} pith__metric_word;

/* Of one text, in its order; in an arena. */
typedef struct pith__metric_words {
    pith__metric_word *items;
    size_t count;
} pith__metric_words;

/* Two texts as numbers below `kinds`, equal ones for equal words; in an arena. */
typedef struct pith__metric_ids {
    uint32_t *candidate; /* (candidate_count) */
    size_t candidate_count;
    uint32_t *reference; /* (reference_count) */
    size_t reference_count;
    size_t kinds;
} pith__metric_ids;

/* Pieces of `text` between white space, `line` 0; they look into it. E_MEMORY. */
PITH_NODISCARD pith_status pith__metric_split(const char *text, size_t size, pith__arena *arena,
                                              pith__metric_words *out, pith_error *err);

/* E_MEMORY; E_RANGE: more than 2^32 - 1 words. */
PITH_NODISCARD pith_status pith__metric_number(const pith__metric_words *candidate,
                                               const pith__metric_words *reference,
                                               pith__arena *arena, pith__metric_ids *out,
                                               pith_error *err);

/* The same for sequences of `n` > 0 words, of which a text has count - n + 1, or none. */
PITH_NODISCARD pith_status pith__metric_number_grams(const pith__metric_ids *words, size_t n,
                                                     pith__arena *arena, pith__metric_ids *out,
                                                     pith_error *err);

/* How many numbers both have, each as often as in the text that has it less often. E_MEMORY. */
PITH_NODISCARD pith_status pith__metric_common(const pith__metric_ids *ids, pith__arena *arena,
                                               size_t *common, pith_error *err);

/* Shares of what is common; an empty text gives 0. */
pith__rouge pith__metric_shares(size_t common, size_t candidate_count, size_t reference_count);

#endif /* PITH_METRIC_INTERNAL_H */
