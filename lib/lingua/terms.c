/*
 * terms.c: words as a search compares them.
 */
#include "lingua/terms.h"

#include <string.h>

static const char *const function_words[] = {
    "a",   "an",   "are",  "did",  "do",    "does",  "how", "in",   "is",    "of",  "the",
    "was", "were", "what", "when", "where", "which", "who", "whom", "whose", "why", NULL};

bool pith__lingua_term_in(const pith__lingua_text *term, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strlen(*words) == term->size && memcmp(*words, term->text, term->size) == 0) {
            return true;
        }
    }
    return false;
}

bool pith__lingua_same_term(const pith__lingua_text *a, const pith__lingua_text *b)
{
    return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

/*
 * The size of the word without an English plural ending; "ies" becomes "y" in place. The rules of
 * Harman's S stemmer (How effective is suffixing?, JASIS 1991), of which two do the same.
 */
static size_t fold_plural(char *bytes, size_t size)
{
    if (size < 4 || bytes[size - 1] != 's') {
        return size;
    }
    const char second = bytes[size - 2];
    const char fourth = bytes[size - 4];
    if (second == 'e' && bytes[size - 3] == 'i' && fourth != 'a' && fourth != 'e') {
        bytes[size - 3] = 'y';
        return size - 2;
    }
    return second == 'u' || second == 's' ? size : size - 1;
}

pith_status pith__lingua_split_terms(const pith__lingua_text *text, bool skip_function_words,
                                     pith__arena *arena, pith__lingua_terms *out, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(arena);
    pith__terms terms;
    *out = (pith__lingua_terms){NULL, 0};
    PITH__TRY(pith__text_terms(text->text, text->size, &mem, &terms, err));
    PITH__TRY(pith__arena_alloc(arena, terms.spans.count, sizeof *out->items, &out->items, err));
    for (size_t i = 0; i < terms.spans.count; i++) {
        char *bytes = terms.text + terms.spans.items[i].start;
        const pith__lingua_text whole = {bytes,
                                         terms.spans.items[i].end - terms.spans.items[i].start};
        if (!skip_function_words || !pith__lingua_term_in(&whole, function_words)) {
            out->items[out->count++] = (pith__lingua_text){bytes, fold_plural(bytes, whole.size)};
        }
    }
    return PITH_OK;
}
