/*
 * tagger_ud.h: a treebank in memory, noun chunks by its trees, and scores against them.
 *
 * For tests/unit/test_tagger.c and tools/train_tagger.c, so that both measure the same thing.
 */
#ifndef PITH_TAGGER_UD_H
#define PITH_TAGGER_UD_H

#include "text/chunk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct ud_word {
    char form[64]; /* longer ones are cut: they are addresses */
    char relation[24];
    size_t head; /* index in the sentence, SIZE_MAX for the root */
    unsigned tag;
    bool spaced; /* white space before it */
    pith__tag_word described;
} ud_word;

typedef struct ud_corpus {
    ud_word *words;
    size_t count;
    size_t capacity;
    size_t *ends; /* of each sentence, in words */
    size_t sentences;
    size_t sentences_capacity;
} ud_corpus;

static inline void *ud_grow(void *array, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity) {
        return array;
    }
    *capacity = 2 * need + 64;
    void *grown = realloc(array, *capacity * size);
    if (grown == NULL) {
        (void)fprintf(stderr, "out of memory\n");
        _Exit(1);
    }
    return grown;
}

static inline void ud_free(ud_corpus *c)
{
    free(c->words);
    free(c->ends);
    *c = (ud_corpus){0};
}

static inline size_t ud_start(const ud_corpus *c, size_t sentence)
{
    return sentence == 0 ? 0 : c->ends[sentence - 1];
}

static inline void ud_end_sentence(ud_corpus *c)
{
    if (c->count > ud_start(c, c->sentences)) {
        c->ends = ud_grow(c->ends, &c->sentences_capacity, c->sentences + 1, sizeof *c->ends);
        c->ends[c->sentences++] = c->count;
    }
}

static inline unsigned ud_tag(const char *name)
{
    unsigned tag = 0;
    while (tag < PITH__TAG_COUNT && strcmp(pith__tag_name(tag), name) != 0) {
        tag++;
    }
    return tag;
}

/* Splits at tabs in place; returns the number of fields, at most 6. */
static inline size_t ud_fields(char *line, char **fields)
{
    size_t n = 0;
    line[strcspn(line, "\n")] = '\0';
    for (char *at = line; at != NULL && n < 6; n++) {
        fields[n] = at;
        at = strchr(at, '\t');
        if (at != NULL) {
            *at++ = '\0';
        }
    }
    return n;
}

/* As much of `text` as fits. */
static inline void ud_copy(char *out, size_t size, const char *text)
{
    const size_t length = strlen(text);
    const size_t kept = length < size ? length : size - 1;
    memcpy(out, text, kept);
    out[kept] = '\0';
}

/* Words with form, UPOS, XPOS, head, relation, space-after; an empty line after each sentence.
 * False if a line is not of that kind. */
static inline bool ud_read(FILE *file, ud_corpus *c)
{
    char line[4096];
    bool spaced = true;
    *c = (ud_corpus){0};
    while (fgets(line, sizeof line, file) != NULL) {
        char *fields[6];
        if (line[0] == '\n') {
            ud_end_sentence(c);
            continue;
        }
        const unsigned tag = ud_fields(line, fields) == 6 ? ud_tag(fields[1]) : PITH__TAG_NONE;
        if (tag == PITH__TAG_NONE) {
            return false;
        }
        c->words = ud_grow(c->words, &c->capacity, c->count + 1, sizeof *c->words);
        ud_word *w = &c->words[c->count++];
        const unsigned long head = strtoul(fields[3], NULL, 10);
        *w = (ud_word){.tag = tag, .head = head == 0 ? SIZE_MAX : head - 1, .spaced = spaced};
        spaced = strcmp(fields[5], "0") != 0;
        ud_copy(w->form, sizeof w->form, fields[0]);
        ud_copy(w->relation, sizeof w->relation, fields[4]);
    }
    ud_end_sentence(c);
    return true;
}

/* ---- tags ----------------------------------------------------------------------- */

static inline void ud_describe(ud_corpus *c, const pith__tagger *tagger)
{
    for (size_t i = 0; i < c->count; i++) {
        pith__tagger_describe(tagger, c->words[i].form, strlen(c->words[i].form),
                              &c->words[i].described);
    }
}

#define UD_SENTENCE_MAX 1024u /* words; the longest sentence of EWT has 160 */

/* Tags sentence `s` into tags[UD_SENTENCE_MAX]; the words must have been described. Returns its
 * length. */
static inline size_t ud_tag_sentence(const ud_corpus *c, const pith__tagger *tagger, size_t s,
                                     uint8_t *tags)
{
    pith__tag_word described[UD_SENTENCE_MAX];
    const size_t start = ud_start(c, s);
    size_t count = c->ends[s] - start;
    count = count < UD_SENTENCE_MAX ? count : UD_SENTENCE_MAX;
    for (size_t i = 0; i < count; i++) {
        described[i] = c->words[start + i].described;
    }
    pith__tagger_tag(tagger, described, count, tags);
    return count;
}

/* Share of words that get their gold tag. */
static inline double ud_accuracy(ud_corpus *c, const pith__tagger *tagger)
{
    size_t right = 0;
    ud_describe(c, tagger);
    for (size_t s = 0; s < c->sentences; s++) {
        uint8_t tags[UD_SENTENCE_MAX];
        const size_t count = ud_tag_sentence(c, tagger, s, tags);
        for (size_t i = 0; i < count; i++) {
            right += tags[i] == c->words[ud_start(c, s) + i].tag;
        }
    }
    return c->count == 0 ? 0 : (double)right / (double)c->count;
}

/* ---- noun chunks by the trees ------------------------------------------------------ */

static inline bool ud_is_one_of(const char *text, const char *const *list)
{
    while (*list != NULL && strcmp(*list, text) != 0) {
        list++;
    }
    return *list != NULL;
}

/* Relations of a word that stands before a noun and belongs to its phrase. */
static inline bool ud_is_modifier(const char *relation)
{
    static const char *const list[] = {"det",      "det:predet",    "amod",      "compound",
                                       "nummod",   "nmod:poss",     "nmod:desc", "flat",
                                       "goeswith", "nmod:unmarked", NULL};
    return ud_is_one_of(relation, list);
}

/* A noun in a role of its own: what it is conjoined to counts, for it shares that one's role. */
static inline bool ud_is_head(const ud_word *sentence, size_t i)
{
    static const char *const not_a_role[] = {
        "det",      "det:predet", "amod",  "compound", "nummod",     "nmod:poss", "flat",
        "goeswith", "fixed",      "case",  "mark",     "cc",         "advmod",    "aux",
        "cop",      "discourse",  "punct", "expl",     "reparandum", NULL};
    if (sentence[i].tag != PITH__TAG_NOUN && sentence[i].tag != PITH__TAG_PROPN &&
        sentence[i].tag != PITH__TAG_PRON) {
        return false;
    }
    for (size_t steps = 0; strcmp(sentence[i].relation, "conj") == 0 && steps < 100; steps++) {
        i = sentence[i].head;
    }
    if (strcmp(sentence[i].relation, "nmod:desc") == 0 ||
        strcmp(sentence[i].relation, "nmod:unmarked") == 0) {
        return sentence[i].head < i;
    }
    return !ud_is_one_of(sentence[i].relation, not_a_role);
}

/* True if `i` < head belongs to the phrase: below a modifier of the head, or that modifier. */
static inline bool ud_belongs(const ud_word *sentence, size_t i, size_t head)
{
    if (sentence[i].tag == PITH__TAG_PUNCT && strcmp(sentence[i].form, "-") != 0) {
        return false;
    }
    size_t at = i;
    for (size_t steps = 0; at != SIZE_MAX && steps < 100; steps++) {
        if (sentence[at].head == head) {
            if (sentence[at].tag == PITH__TAG_PUNCT) {
                return true;
            }
            return at < head && ud_is_modifier(sentence[at].relation);
        }
        at = sentence[at].head;
    }
    return false;
}

/* The end of a name that begins at `head`: "Jennifer M. Anderson", "al-Sadr". */
static inline size_t ud_flat_end(const ud_word *sentence, size_t count, size_t head)
{
    size_t end = head + 1;
    for (size_t i = end; i < count; i++) {
        if (sentence[i].head == head && strcmp(sentence[i].relation, "flat") == 0) {
            end = i + 1;
        } else if (strcmp(sentence[i].form, "-") != 0) {
            break;
        }
    }
    return end;
}

/* Marks the noun chunks of a sentence by its tree, as pith__chunk_mark() does by rules. */
static inline void ud_mark(const ud_word *sentence, size_t count, uint8_t *marks)
{
    memset(marks, PITH__CHUNK_OUTSIDE, count);
    size_t free_from = 0;
    for (size_t i = 0; i < count; i++) {
        if (!ud_is_head(sentence, i)) {
            continue;
        }
        size_t start = i;
        while (start > free_from && ud_belongs(sentence, start - 1, i)) {
            start--;
        }
        while (start < i && sentence[start].tag == PITH__TAG_PUNCT) {
            start++; /* a hyphen that hangs */
        }
        const size_t end = ud_flat_end(sentence, count, i);
        if (i < free_from) {
            continue;
        }
        memset(marks + start, PITH__CHUNK_INSIDE, end - start);
        marks[start] = PITH__CHUNK_BEGIN;
        free_from = end;
    }
}

/* ---- scores of chunks ------------------------------------------------------------------ */

typedef struct ud_chunks {
    size_t expected;
    size_t found;
    size_t right; /* the same first and last word */
} ud_chunks;

static inline size_t ud_chunk_end(const uint8_t *marks, size_t count, size_t start)
{
    size_t end = start + 1;
    while (end < count && marks[end] == PITH__CHUNK_INSIDE) {
        end++;
    }
    return end;
}

/* Counts chunks of at least `length_min` words. */
static inline void ud_compare(const uint8_t *expected, const uint8_t *found, size_t count,
                              size_t length_min, ud_chunks *out)
{
    for (size_t i = 0; i < count; i++) {
        const size_t end_expected = ud_chunk_end(expected, count, i);
        const size_t end_found = ud_chunk_end(found, count, i);
        const bool is_expected = expected[i] == PITH__CHUNK_BEGIN && end_expected - i >= length_min;
        const bool is_found = found[i] == PITH__CHUNK_BEGIN && end_found - i >= length_min;
        out->expected += is_expected;
        out->found += is_found;
        out->right += is_expected && is_found && end_expected == end_found;
    }
}

/* Scores the rules on the whole corpus, on gold tags if `tagger` is NULL. */
static inline ud_chunks ud_score_chunks(ud_corpus *c, const pith__tagger *tagger, size_t length_min)
{
    ud_chunks out = {0};
    if (tagger != NULL) {
        ud_describe(c, tagger);
    }
    for (size_t s = 0; s < c->sentences; s++) {
        uint8_t tags[UD_SENTENCE_MAX];
        uint8_t expected[UD_SENTENCE_MAX];
        uint8_t found[UD_SENTENCE_MAX];
        pith__chunk_word words[UD_SENTENCE_MAX];
        const ud_word *sentence = &c->words[ud_start(c, s)];
        size_t count = c->ends[s] - ud_start(c, s);
        count = count < UD_SENTENCE_MAX ? count : UD_SENTENCE_MAX;
        if (tagger != NULL) {
            count = ud_tag_sentence(c, tagger, s, tags);
        }
        for (size_t i = 0; i < count; i++) {
            words[i] =
                (pith__chunk_word){.text = sentence[i].form,
                                   .size = strlen(sentence[i].form),
                                   .tag = tagger != NULL ? tags[i] : (uint8_t)sentence[i].tag,
                                   .spaced = sentence[i].spaced};
        }
        ud_mark(sentence, count, expected);
        pith__chunk_mark(words, count, found);
        ud_compare(expected, found, count, length_min, &out);
    }
    return out;
}

static inline double ud_f1(ud_chunks c)
{
    return c.expected + c.found == 0 ? 1 : 2.0 * (double)c.right / (double)(c.expected + c.found);
}

#endif /* PITH_TAGGER_UD_H */
