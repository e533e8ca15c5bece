/*
 * icu.h: ICU's break iterators and status codes, translated for the rest of lib/text.
 */
#ifndef PITH_TEXT_ICU_H
#define PITH_TEXT_ICU_H

#include "base/base.h"

#include <unicode/ubrk.h>
#include <unicode/utext.h>

/* Turns a failure of ICU while it did `what` into ours: E_MEMORY, else E_BACKEND. */
pith_status pith__icu_fail(UErrorCode code, const char *what, pith_error *err);

/* Points `view` at the bytes. E_RANGE above 2 GiB, as far as ICU can count; E_MEMORY. */
PITH_NODISCARD pith_status pith__icu_view(UText *view, const char *text, size_t size,
                                          pith_error *err);

/* A break iterator that is opened the first time it is needed, because that takes a while. */
typedef struct pith__breaker {
    UBreakIteratorType type;
    const char *locale; /* may carry keywords, "en@ss=standard" */
    UBreakIterator *iterator;
    UText view;
    size_t base; /* added to what ICU counts */
} pith__breaker;

/* Initialises one; nothing is opened yet. */
#define PITH__BREAKER(type, locale)                  \
    {                                                \
        (type), (locale), NULL, UTEXT_INITIALIZER, 0 \
    }

/* Returned after the last boundary. */
#define PITH__BREAKER_DONE SIZE_MAX

/* Walks the boundaries of bytes [start, end) of `text`; `start` itself is not reported. */
PITH_NODISCARD pith_status pith__breaker_start(pith__breaker *breaker, const char *text,
                                               size_t start, size_t end, pith_error *err);

/* The next boundary, counted from the start of the text; `end` last, then PITH__BREAKER_DONE. */
size_t pith__breaker_next(pith__breaker *breaker);

/* Also for one that was never started. */
void pith__breaker_close(pith__breaker *breaker);

#endif /* PITH_TEXT_ICU_H */
