/*
 * buf.c: a growing byte buffer with a maximum size.
 */
#include "base/base.h"

#include <stdio.h>
#include <string.h>

void pith__buf_init(pith__buf *buf, const pith_allocator *mem, size_t max)
{
    *buf = (pith__buf){.mem = *mem, .max = max};
}

void pith__buf_deinit(pith__buf *buf)
{
    pith__free(&buf->mem, buf->data, buf->capacity, 1);
    *buf = (pith__buf){.mem = buf->mem, .max = buf->max};
}

pith_status pith__buf_reserve(pith__buf *buf, size_t size, pith_error *err)
{
    size_t need = 0;
    if (__builtin_add_overflow(buf->size, size, &need) || need > buf->max || need == SIZE_MAX) {
        return pith__fail(err, PITH_E_MEMORY, "buffer of %zu bytes cannot take %zu more", buf->size,
                          size);
    }
    PITH__TRY(pith__grow(&buf->mem, &buf->data, &buf->capacity, need + 1, 1, err));
    buf->data[buf->size] = '\0';
    return PITH_OK;
}

pith_status pith__buf_append(pith__buf *buf, const void *data, size_t size, pith_error *err)
{
    PITH__TRY(pith__buf_reserve(buf, size, err));
    if (size > 0) {
        memcpy(buf->data + buf->size, data, size);
    }
    buf->size += size;
    buf->data[buf->size] = '\0';
    return PITH_OK;
}

pith_status pith__buf_append_text(pith__buf *buf, const char *text, pith_error *err)
{
    return pith__buf_append(buf, text, strlen(text), err);
}

pith_status pith__buf_printf(pith__buf *buf, pith_error *err, const char *format, ...)
{
    va_list args;
    const locale_t before = pith__locale_enter();
    va_start(args, format);
    const int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    pith__locale_leave(before);
    if (length < 0) {
        return pith__fail(err, PITH_E_INTERNAL, "cannot format \"%s\"", format);
    }
    PITH__TRY(pith__buf_reserve(buf, (size_t)length, err));
    const locale_t again = pith__locale_enter();
    va_start(args, format);
    (void)vsnprintf(buf->data + buf->size, (size_t)length + 1, format, args);
    va_end(args);
    pith__locale_leave(again);
    buf->size += (size_t)length;
    return PITH_OK;
}
