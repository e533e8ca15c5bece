/*
 * out.c: buffered output of renderings, and numbers in it.
 */
#include "render/render.h"

#include <math.h>
#include <string.h>

static void flush(pith__out *out)
{
    if (out->size > 0 && !out->failed) {
        out->failed = !out->write(out->user, out->data, out->size);
    }
    out->size = 0;
}

void pith__out_bytes(pith__out *out, const char *data, size_t size)
{
    while (size > 0) {
        const size_t room = sizeof out->data - out->size;
        const size_t part = size < room ? size : room;
        memcpy(out->data + out->size, data, part);
        out->size += part;
        data += part;
        size -= part;
        if (out->size == sizeof out->data) {
            flush(out);
        }
    }
}

void pith__out_text(pith__out *out, const char *text)
{
    pith__out_bytes(out, text, strlen(text));
}

void pith__out_number(pith__out *out, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    pith__out_bytes(out, digits + at, sizeof digits - at);
}

void pith__out_fixed(pith__out *out, double value, unsigned decimals)
{
    if (isnan(value)) {
        pith__out_text(out, "?");
        return;
    }
    if (value < 0.0) {
        pith__out_text(out, "-");
        value = -value;
    }
    uint64_t unit = 1;
    for (unsigned i = 0; i < decimals; i++) {
        unit *= 10;
    }
    const double scaled = round(value * (double)unit);
    if (scaled >= 1e18) {
        pith__out_text(out, "\xe2\x88\x9e");
        return;
    }
    const uint64_t number = (uint64_t)scaled;
    pith__out_number(out, number / unit);
    if (decimals > 0) {
        pith__out_text(out, ".");
    }
    for (uint64_t place = unit / 10; place > 0; place /= 10) {
        pith__out_number(out, number / place % 10);
    }
}

pith_status pith__out_finish(pith__out *out, pith_error *err)
{
    flush(out);
    return out->failed ? pith__fail(err, PITH_E_IO, "the output callback stopped the rendering")
                       : PITH_OK;
}
