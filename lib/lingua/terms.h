/*
 * terms.h: words as a search compares them: case folded, without an English plural ending.
 */
#ifndef PITH_LINGUA_TERMS_H
#define PITH_LINGUA_TERMS_H

#include "lingua/lingua.h"

typedef struct pith__lingua_terms {
    pith__lingua_text *items; /* none empty */
    size_t count;
} pith__lingua_terms;

/* The terms of `text` in its order, with or without the function words of English questions. */
PITH_NODISCARD pith_status pith__lingua_split_terms(const pith__lingua_text *text,
                                                    bool skip_function_words, pith__arena *arena,
                                                    pith__lingua_terms *out, pith_error *err);

/* True if `term` is one of `words`, a list that ends with NULL. */
bool pith__lingua_term_in(const pith__lingua_text *term, const char *const *words);

bool pith__lingua_same_term(const pith__lingua_text *a, const pith__lingua_text *b);

#endif /* PITH_LINGUA_TERMS_H */
