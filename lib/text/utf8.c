/*
 * utf8.c: reading UTF-8 that may be broken.
 */
#include "text/text.h"

#include <assert.h>
#include <string.h>

/* The high bit of each of eight bytes: set in every byte that is not ASCII. */
#define HIGH_BITS UINT64_C(0x8080808080808080)

/* The first offset >= `at` whose byte is not ASCII, or `size`. */
static size_t skip_ascii(const char *text, size_t size, size_t at)
{
    while (size - at >= sizeof(uint64_t)) {
        uint64_t eight = 0;
        memcpy(&eight, text + at, sizeof eight);
        if ((eight & HIGH_BITS) != 0) {
            break;
        }
        at += sizeof eight;
    }
    while (at < size && (unsigned char)text[at] < 0x80) {
        at++;
    }
    return at;
}

/* Bytes that a sequence with this first byte has, or 0 if none starts so. */
static size_t announced_length(unsigned lead)
{
    if (lead < 0x80) {
        return 1;
    }
    if (lead < 0xc2 || lead > 0xf4) {
        return 0; /* a continuation byte, an overlong form, or above U+10FFFF */
    }
    return lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

/* The second byte also rules out overlong forms, surrogates and what is above U+10FFFF. */
static bool is_second(unsigned lead, unsigned second)
{
    switch (lead) {
    case 0xe0:
        return second >= 0xa0 && second <= 0xbf;
    case 0xed:
        return second >= 0x80 && second <= 0x9f;
    case 0xf0:
        return second >= 0x90 && second <= 0xbf;
    case 0xf4:
        return second >= 0x80 && second <= 0x8f;
    default:
        return second >= 0x80 && second <= 0xbf;
    }
}

size_t pith__utf8_decode(const char *text, size_t size, size_t offset, uint32_t *code_point)
{
    assert(offset < size);
    const unsigned char *bytes = (const unsigned char *)text + offset;
    const size_t length = announced_length(bytes[0]);
    *code_point = bytes[0];
    if (length == 1) {
        return 1;
    }
    if (length == 0 || length > size - offset || !is_second(bytes[0], bytes[1])) {
        *code_point = PITH__UTF8_INVALID;
        return 1;
    }
    uint32_t value = bytes[0] & (0x7fU >> length);
    value = value << 6 | (bytes[1] & 0x3fU);
    for (size_t i = 2; i < length; i++) {
        if ((bytes[i] & 0xc0U) != 0x80) {
            *code_point = PITH__UTF8_INVALID;
            return 1;
        }
        value = value << 6 | (bytes[i] & 0x3fU);
    }
    *code_point = value;
    return length;
}

size_t pith__utf8_decode_before(const char *text, size_t size, size_t offset, uint32_t *code_point)
{
    assert(offset > 0 && offset <= size);
    for (size_t back = 1; back <= 4 && back <= offset; back++) {
        if (((unsigned char)text[offset - back] & 0xc0U) != 0x80) {
            if (pith__utf8_decode(text, size, offset - back, code_point) == back) {
                return back;
            }
            break;
        }
    }
    *code_point = PITH__UTF8_INVALID;
    return 1;
}

bool pith__utf8_is_boundary(const char *text, size_t size, size_t offset)
{
    if (offset == 0 || offset >= size || ((unsigned char)text[offset] & 0xc0U) != 0x80) {
        return true;
    }
    for (size_t back = 1; back <= 3 && back <= offset; back++) {
        if (((unsigned char)text[offset - back] & 0xc0U) != 0x80) {
            uint32_t ignored = 0;
            return pith__utf8_decode(text, size, offset - back, &ignored) <= back;
        }
    }
    return true;
}

size_t pith__utf8_unfinished(const char *text, size_t size)
{
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        const unsigned char *bytes = (const unsigned char *)text + size - back;
        if ((bytes[0] & 0xc0U) != 0x80) {
            const bool fits = back < 2 || is_second(bytes[0], bytes[1]);
            return fits && announced_length(bytes[0]) > back ? back : 0;
        }
    }
    return 0;
}

bool pith__utf8_check(const char *text, size_t size, size_t *bad_offset)
{
    size_t at = 0;
    while ((at = skip_ascii(text, size, at)) < size) {
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode(text, size, at, &code_point);
        if (code_point == PITH__UTF8_INVALID) {
            if (bad_offset != NULL) {
                *bad_offset = at;
            }
            return false;
        }
        at += length;
    }
    return true;
}
