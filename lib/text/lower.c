/*
 * lower.c: lower case, by ICU.
 */
#include "text/icu.h"
#include "text/text.h"

#include <unicode/ucasemap.h>

/* Appends what fits; *need is what it takes. */
static pith_status append_lower(const UCaseMap *map, const char *text, size_t size, pith__buf *out,
                                size_t *need, pith_error *err)
{
    const size_t room = out->capacity - out->size - 1;
    const int32_t limit = room > INT32_MAX ? INT32_MAX : (int32_t)room;
    UErrorCode code = U_ZERO_ERROR;
    const int32_t length =
        ucasemap_utf8ToLower(map, out->data + out->size, limit, text, (int32_t)size, &code);
    if (code != U_BUFFER_OVERFLOW_ERROR && U_FAILURE(code)) {
        return pith__icu_fail(code, "make a text lower case", err);
    }
    *need = (size_t)length;
    return PITH_OK;
}

static pith_status append_all(const UCaseMap *map, const char *text, size_t size, pith__buf *out,
                              pith_error *err)
{
    size_t need = size;
    size_t room = 0;
    do { /* a second time for the rare text that becomes longer */
        room = need;
        PITH__TRY(pith__buf_reserve(out, room, err));
        PITH__TRY(append_lower(map, text, size, out, &need, err));
    } while (need > room);
    out->size += need;
    out->data[out->size] = '\0';
    return PITH_OK;
}

pith_status pith__text_lower(const char *text, size_t size, pith__buf *out, pith_error *err)
{
    if (size > INT32_MAX) {
        return pith__fail(err, PITH_E_RANGE, "%zu bytes in one piece, at most %d are supported",
                          size, INT32_MAX);
    }
    UErrorCode code = U_ZERO_ERROR;
    UCaseMap *map = ucasemap_open("", 0, &code); /* the root locale: the same on every machine */
    if (U_FAILURE(code)) {
        return pith__icu_fail(code, "open its case mapping", err);
    }
    const pith_status status = append_all(map, size == 0 ? "" : text, size, out, err);
    ucasemap_close(map);
    return status;
}
