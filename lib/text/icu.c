/*
 * icu.c: ICU's break iterators and status codes, translated for the rest of lib/text.
 */
#include "text/icu.h"

pith_status pith__icu_fail(UErrorCode code, const char *what, pith_error *err)
{
    if (code == U_MEMORY_ALLOCATION_ERROR) {
        return pith__fail(err, PITH_E_MEMORY, "out of memory while ICU tried to %s", what);
    }
    return pith__fail(err, PITH_E_BACKEND, "ICU cannot %s: %s", what, u_errorName(code));
}

pith_status pith__icu_view(UText *view, const char *text, size_t size, pith_error *err)
{
    if (size > INT32_MAX) {
        return pith__fail(err, PITH_E_RANGE, "%zu bytes in one piece, at most %d are supported",
                          size, INT32_MAX);
    }
    UErrorCode code = U_ZERO_ERROR;
    (void)utext_openUTF8(view, size == 0 ? "" : text, (int64_t)size, &code);
    return U_FAILURE(code) ? pith__icu_fail(code, "read a text", err) : PITH_OK;
}

pith_status pith__breaker_start(pith__breaker *breaker, const char *text, size_t start, size_t end,
                                pith_error *err)
{
    UErrorCode code = U_ZERO_ERROR;
    if (breaker->iterator == NULL) {
        breaker->iterator = ubrk_open(breaker->type, breaker->locale, NULL, 0, &code);
        if (U_FAILURE(code)) {
            return pith__icu_fail(code, "open its break rules", err);
        }
    }
    PITH__TRY(pith__icu_view(&breaker->view, text + start, end - start, err));
    ubrk_setUText(breaker->iterator, &breaker->view, &code);
    if (U_FAILURE(code)) {
        return pith__icu_fail(code, "break a text", err);
    }
    breaker->base = start;
    return PITH_OK;
}

size_t pith__breaker_next(pith__breaker *breaker)
{
    const int32_t next = ubrk_next(breaker->iterator);
    return next == UBRK_DONE ? PITH__BREAKER_DONE : breaker->base + (size_t)next;
}

void pith__breaker_close(pith__breaker *breaker)
{
    if (breaker->iterator != NULL) {
        ubrk_close(breaker->iterator);
        breaker->iterator = NULL;
    }
    (void)utext_close(&breaker->view);
}
