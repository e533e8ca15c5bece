/*
 * chars.c: the character classes that the splitters and rules of lib/text share.
 */
#include "text/chars.h"

#include "text/text.h"

#include <unicode/uchar.h>

pith__span_kind pith__char_space(uint32_t code_point)
{
    switch (code_point) {
    case '\n':
    case '\v':
    case '\f':
    case '\r':
    case 0x85:
    case 0x2028:
    case 0x2029:
        return PITH__SPAN_BREAK;
    case ' ':
    case '\t':
    case 0xa0:
    case 0x1680:
    case 0x202f:
    case 0x205f:
    case 0x3000:
        return PITH__SPAN_SPACE;
    default:
        return code_point >= 0x2000 && code_point <= 0x200a ? PITH__SPAN_SPACE : PITH__SPAN_WORD;
    }
}

size_t pith__space_length(const char *text, size_t size, size_t at, bool *has_break)
{
    bool broken = false;
    size_t end = at;
    while (end < size) {
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode(text, size, end, &code_point);
        const pith__span_kind kind = pith__char_space(code_point);
        if (kind == PITH__SPAN_WORD) {
            break;
        }
        broken = broken || kind == PITH__SPAN_BREAK;
        end += length;
    }
    if (has_break != NULL) {
        *has_break = broken;
    }
    return end - at;
}

size_t pith__space_length_before(const char *text, size_t size, size_t start, size_t end)
{
    size_t at = end;
    while (at > start) {
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode_before(text, size, at, &code_point);
        if (pith__char_space(code_point) == PITH__SPAN_WORD) {
            break;
        }
        at -= length;
    }
    return end - at;
}

bool pith__char_is_word(uint32_t code_point)
{
    if (code_point < 0x80) {
        const uint32_t lower = code_point | 0x20U;
        return (lower >= 'a' && lower <= 'z') || (code_point >= '0' && code_point <= '9') ||
               code_point == '_';
    }
    return code_point != PITH__UTF8_INVALID &&
           (U_GET_GC_MASK((UChar32)code_point) & (U_GC_L_MASK | U_GC_M_MASK | U_GC_N_MASK)) != 0;
}

bool pith__char_is_digit(uint32_t code_point)
{
    if (code_point < 0x80) {
        return code_point >= '0' && code_point <= '9';
    }
    return code_point != PITH__UTF8_INVALID &&
           (U_GET_GC_MASK((UChar32)code_point) & U_GC_N_MASK) != 0;
}

static int cluster_class(uint32_t code_point)
{
    return code_point == PITH__UTF8_INVALID
               ? U_GCB_CONTROL
               : u_getIntPropertyValue((UChar32)code_point, UCHAR_GRAPHEME_CLUSTER_BREAK);
}

static bool is_control(int class)
{
    return class == U_GCB_CONTROL || class == U_GCB_LF || class == U_GCB_CR;
}

/* Whether two parts of a Hangul syllable belong together. */
static bool joins_hangul(int left, int right)
{
    switch (left) {
    case U_GCB_L:
        return right == U_GCB_L || right == U_GCB_V || right == U_GCB_LV || right == U_GCB_LVT;
    case U_GCB_LV:
    case U_GCB_V:
        return right == U_GCB_V || right == U_GCB_T;
    case U_GCB_LVT:
    case U_GCB_T:
        return right == U_GCB_T;
    default:
        return false;
    }
}

bool pith__char_joins(const char *text, size_t size, size_t at)
{
    if ((unsigned char)text[at - 1] < 0x80 && (unsigned char)text[at] < 0x80) {
        return text[at - 1] == '\r' && text[at] == '\n';
    }
    uint32_t before = 0;
    uint32_t after = 0;
    (void)pith__utf8_decode_before(text, size, at, &before);
    (void)pith__utf8_decode(text, size, at, &after);
    const int left = cluster_class(before);
    const int right = cluster_class(after);
    if (is_control(left) || is_control(right)) {
        return false;
    }
    return right == U_GCB_EXTEND || right == U_GCB_ZWJ || right == U_GCB_SPACING_MARK ||
           left == U_GCB_PREPEND || joins_hangul(left, right) ||
           (left == U_GCB_ZWJ && u_hasBinaryProperty((UChar32)after, UCHAR_EXTENDED_PICTOGRAPHIC));
}
