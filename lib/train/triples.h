/*
 * triples.h: instructions with their inputs and outputs: as texts, as ids, and as samples that a
 * model learns to gist by (Mu, Li & Goodman 2023).
 */
#ifndef PITH_TRIPLES_H
#define PITH_TRIPLES_H

#include "train/pairs.h"

/* ---- texts --------------------------------------------------------------------------------- */

/*
 * "Instruction: {instruction}\n", then the gist tokens, then "\nInput: {input}\nOutput:" and
 * " {output}". An empty input has no line: the suffix is "\nOutput:" then.
 */
#define PITH__GIST_PREFIX_TEXT "Instruction: "
#define PITH__GIST_MIDDLE_TEXT "\n"
#define PITH__GIST_SUFFIX_TEXT "\nInput: {input}\nOutput:"

enum { PITH__TRIPLE_MEMBERS = 3 };
extern const pith__pair_member pith__triple_members[PITH__TRIPLE_MEMBERS];

typedef struct pith__triple {
    pith__token_text instruction;
    pith__token_text input; /* may be empty, like the others */
    pith__token_text output;
} pith__triple;

/* A line of a file that was opened with pith__triple_members; the texts lie in `arena`. */
PITH_NODISCARD pith_status pith__triple_read(const pith__pair_file *file, pith__pair line,
                                             pith__arena *arena, pith__triple *out,
                                             pith_error *err);

/*
 * Appends `suffix` to `out`, {input} replaced. If the input is empty, the line that holds {input}
 * is left out, with the line break before it. E_ARGUMENT: there is no {input}; E_MEMORY.
 */
PITH_NODISCARD pith_status pith__gist_suffix(const char *suffix, pith__token_text input,
                                             pith__buf *out, pith_error *err);

/* ---- keywords (keyword.c) ------------------------------------------------------------------- */

/* Strings and a number for each. */
typedef struct pith__counts {
    pith__arena arena;
    struct pith__count *items; /* (capacity), a power of two, at most half full */
    size_t used, capacity;
} pith__counts;

/*
 * How many texts have a word, for one word to stand for a text by TF-IDF. Words are those of
 * pith__text_terms(): case folded.
 */
typedef struct pith__keywords {
    pith_allocator mem;
    pith__counts texts; /* seen so far: copies do not count */
    pith__counts words; /* texts that have each */
} pith__keywords;

void pith__keywords_init(pith__keywords *keywords, const pith_allocator *mem);
void pith__keywords_deinit(pith__keywords *keywords); /* accepts an all-zero one */

/* One more text. Fails like pith__text_terms(). */
PITH_NODISCARD pith_status pith__keywords_add(pith__keywords *keywords, pith__token_text text,
                                              pith_error *err);

/*
 * The word of `text` with the largest tf * idf, the first one of equals: tf is how often it is in
 * the text, idf = ln((1 + N) / (1 + df)) + 1, with df of N texts that have it. Empty for a text
 * without words. The word lies in `arena`.
 */
PITH_NODISCARD pith_status pith__keyword_of(const pith__keywords *keywords, pith__token_text text,
                                            pith__arena *arena, pith__token_text *out,
                                            pith_error *err);

/* ---- ids -------------------------------------------------------------------------------------- */

/* How a triple becomes ids. */
typedef struct pith__triple_form {
    const pith__tokenizer *tokenizer; /* that names BOS */
    pith__gist_condition condition;
    uint32_t slots;                 /* gist tokens: 0 for TFIDF */
    size_t length;                  /* rows of a sample, at most */
    const pith__keywords *keywords; /* for TFIDF */
} pith__triple_form;

/* The form of a condition with `slots` gist tokens where it does not say otherwise. */
pith__triple_form pith__triple_form_of(const pith__tokenizer *tokenizer,
                                       pith__gist_condition condition, uint32_t slots,
                                       size_t length, const pith__keywords *keywords);

typedef struct pith__triple_ids {
    const uint32_t *text; /* (n_text) BOS, prefix, instruction or its keyword, middle */
    size_t n_text;
    const uint32_t *suffix; /* (n_suffix) as it is tokenised behind a gist token */
    size_t n_suffix;
    const uint32_t *output; /* (n_output) as it is tokenised behind the suffix */
    size_t n_output;
    bool ends; /* the whole output is there: the document's end follows */
} pith__triple_ids;

/*
 * The ids lie in `arena`. What does not fit form->length loses the end of its input, then that of
 * its output, then, if there is no room for a token of the output, that of its instruction.
 * E_ARGUMENT: there is no room even so. E_MEMORY.
 */
PITH_NODISCARD pith_status pith__triple_encode(const pith__triple_form *form,
                                               const pith__triple *triple, pith__arena *arena,
                                               pith__triple_ids *out, pith_error *err);

/*
 * Text, gist tokens (PITH__NO_ID), suffix and output as a sample that predicts output and end.
 * `first` (length) receives the rows seen first and becomes the sample's.
 */
void pith__triple_sample(const pith__triple_form *form, const pith__triple_ids *ids,
                         pith__sample *sample, uint32_t *first);

#endif /* PITH_TRIPLES_H */
