/*
 * tagger.h: the part of speech of every word of an English sentence.
 *
 * A greedy averaged perceptron: left to right, the two tags already given are features of the
 * next. Weights are int8 and compiled in; all arithmetic is on integers, so tags do not depend on
 * the machine. Nothing here allocates.
 */
#ifndef PITH_TEXT_TAGGER_H
#define PITH_TEXT_TAGGER_H

#include "base/base.h"

/* Universal part-of-speech tags. The order is part of the weights file: never change it. */
#define PITH__TAG_MAP(X) \
    X(ADJ)               \
    X(ADP)               \
    X(ADV)               \
    X(AUX)               \
    X(CCONJ)             \
    X(DET)               \
    X(INTJ)              \
    X(NOUN)              \
    X(NUM)               \
    X(PART)              \
    X(PRON)              \
    X(PROPN)             \
    X(PUNCT)             \
    X(SCONJ)             \
    X(SYM)               \
    X(VERB)              \
    X(X)

typedef enum pith__tag {
#define X(name) PITH__TAG_##name,
    PITH__TAG_MAP(X)
#undef X
        PITH__TAG_COUNT,
    PITH__TAG_NONE = PITH__TAG_COUNT /* outside the sentence */
} pith__tag;

/* "ADJ" and so on; "?" for a number that is no tag. Static storage. */
const char *pith__tag_name(unsigned tag);

/* ---- weights -------------------------------------------------------------- */

/*
 * A weights file, borrowed. After a header of PITH__TAGGER_HEADER bytes (magic, version, number
 * of tags, log2 of the number of buckets, size of the records; all uint32 little endian) come
 * `1 << bucket_bits` + 1 offsets into the records (uint32), then the records. A record is the
 * fingerprint of a feature (uint16), the number n of its weights (uint8), and n pairs of a tag
 * (uint8) and a weight (int8). Feature h stands in bucket h >> (64 - bucket_bits) with fingerprint
 * h & 0xffff.
 */
typedef struct pith__tagger {
    const unsigned char *offsets;
    const unsigned char *records;
    size_t records_size;
    unsigned bucket_bits;
} pith__tagger;

#define PITH__TAGGER_MAGIC       UINT32_C(0x47544850) /* "PHTG" */
#define PITH__TAGGER_VERSION     UINT32_C(1)
#define PITH__TAGGER_HEADER      ((size_t)20)
#define PITH__TAGGER_BUCKET_BITS 15u

/*
 * Opens weights in memory, which must outlive *out. E_CORRUPT if the header does not fit the
 * size or this version; damaged records give wrong tags, never a read outside `data`.
 */
PITH_NODISCARD pith_status pith__tagger_open(const void *data, size_t size, pith__tagger *out,
                                             pith_error *err);

/* The weights that are compiled in. */
PITH_NODISCARD pith_status pith__tagger_open_builtin(pith__tagger *out, pith_error *err);

/* ---- words ---------------------------------------------------------------- */

#define PITH__TAGGER_PREFIXES 4u
#define PITH__TAGGER_SUFFIXES 5u

/* What the features need to know of one word, as hashes. */
typedef struct pith__tag_word {
    uint64_t form;  /* as written; digits count as 0, a curly apostrophe as a straight one */
    uint64_t lower; /* the same without ASCII capitals */
    uint64_t prefix[PITH__TAGGER_PREFIXES]; /* 1, 2 ... bytes of the lower-cased word */
    uint64_t suffix[PITH__TAGGER_SUFFIXES];
    uint64_t shape;   /* classes of characters with runs collapsed: "Xx", "0-x" */
    uint64_t lexicon; /* the tags that the word had in the training data, 0 if it is not known */
    unsigned best;    /* the most frequent of them, PITH__TAG_NONE if it is not known */
} pith__tag_word;

/* Describes any bytes; O(size). Without a tagger (NULL) no word is known. */
void pith__tagger_describe(const pith__tagger *tagger, const char *word, size_t size,
                           pith__tag_word *out);

/* The key under which the lexicon holds a word as it is written. For the trainer. */
uint64_t pith__tagger_lexicon_key(const char *word, size_t size);

/* ---- tagging -------------------------------------------------------------- */

#define PITH__TAGGER_FEATURES 64u

/*
 * The features of words[i] in a sentence of `count` words, of which the words before i have
 * tags. Returns how many (<= PITH__TAGGER_FEATURES) it wrote. The trainer learns from this very
 * function.
 */
size_t pith__tagger_features(const pith__tag_word *words, size_t count, size_t i,
                             const uint8_t *tags, uint64_t *features);

/* Writes the tag of each of the `count` words of one sentence. */
void pith__tagger_tag(const pith__tagger *tagger, const pith__tag_word *words, size_t count,
                      uint8_t *tags);

#endif /* PITH_TEXT_TAGGER_H */
