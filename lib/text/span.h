/*
 * span.h: byte ranges of a text and growing lists of them, what every splitter hands back.
 */
#ifndef PITH_TEXT_SPAN_H
#define PITH_TEXT_SPAN_H

#include "base/base.h"

/* What stands in a span. */
typedef enum pith__span_kind {
    PITH__SPAN_WORD = 0,    /* a word; also a sentence, a phrase, a range: plain text */
    PITH__SPAN_PUNCTUATION, /* one punctuation character, repeated or not */
    PITH__SPAN_SPACE,       /* white space without a line break */
    PITH__SPAN_BREAK        /* white space with a line break in it */
} pith__span_kind;

/* Bytes [start, end) of a text. */
typedef struct pith__span {
    size_t start;
    size_t end;
    pith__span_kind kind;
} pith__span;

/* Spans in the order of the text. All zero is an empty list; released with pith__spans_deinit(). */
typedef struct pith__spans {
    pith__span *items; /* NULL while capacity is 0 */
    size_t count;
    size_t capacity; /* in items */
} pith__spans;

/* Appends [start, end), also an empty one. E_MEMORY leaves the list as it was. */
PITH_NODISCARD pith_status pith__spans_push(pith__spans *spans, const pith_allocator *mem,
                                            size_t start, size_t end, pith__span_kind kind,
                                            pith_error *err);

/* Releases the items, taken from `mem`, and leaves an empty list. Accepts NULL. */
void pith__spans_deinit(pith__spans *spans, const pith_allocator *mem);

#endif /* PITH_TEXT_SPAN_H */
