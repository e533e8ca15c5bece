/*
 * numbers.c: the protection rule for numbers.
 */
#include "text/bits.h"
#include "text/chars.h"
#include "text/rules.h"
#include "text/text.h"

#include <string.h>
#include <unicode/uchar.h>

#define NOWHERE SIZE_MAX

static bool is_currency(uint32_t code_point)
{
    return code_point == '$' || (code_point >= 0x80 && code_point != PITH__UTF8_INVALID &&
                                 u_charType((UChar32)code_point) == U_CURRENCY_SYMBOL);
}

/* Minus, plus, plus-minus, number and approximation signs; the full stop of ".5". */
static bool is_sign(uint32_t code_point)
{
    return code_point == '-' || code_point == '+' || code_point == '.' || code_point == '#' ||
           code_point == '~' || code_point == 0xb1 || code_point == 0x2212;
}

/* What may stand between two numbers that are one: 1,000.5, 10:30, 3/4, 10%-20%, 1990–1995. */
static bool is_joiner(uint32_t code_point)
{
    return code_point == '.' || code_point == ',' || code_point == ':' || code_point == '/' ||
           code_point == '-' || code_point == '%' || code_point == '+' || code_point == 0x2212 ||
           code_point == 0x2013 || is_currency(code_point);
}

static bool is_unit(uint32_t code_point)
{
    return code_point == '%' || code_point == 0x2030 || code_point == 0xb0 ||
           is_currency(code_point);
}

/* Where the signs and currencies that stand before `at` begin. */
static size_t extend_left(const char *text, size_t size, size_t at)
{
    size_t signs = at;
    size_t currency = at;
    while (signs > 0) {
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode_before(text, size, signs, &code_point);
        if (is_currency(code_point)) {
            currency = currency == signs ? signs - length : currency;
        } else if (!is_sign(code_point)) {
            /* in "COVID-19" and "US$5" the hyphen is no sign, but the dollar is a dollar */
            return pith__char_is_word(code_point) ? currency : signs;
        }
        signs -= length;
    }
    return signs;
}

static size_t extend_right(const char *text, size_t size, size_t at)
{
    while (at < size) {
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode(text, size, at, &code_point);
        if (!is_unit(code_point)) {
            break;
        }
        at += length;
    }
    return at;
}

/* The end of the word at `at`, or `at` if there is none. */
static size_t skip_word(const char *text, size_t size, size_t at, bool *has_digit)
{
    *has_digit = false;
    while (at < size) {
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode(text, size, at, &code_point);
        if (!pith__char_is_word(code_point)) {
            break;
        }
        *has_digit = *has_digit || pith__char_is_digit(code_point);
        at += length;
    }
    return at;
}

void pith__rule_numbers(const char *text, size_t size, uint64_t *bits)
{
    size_t joined = NOWHERE; /* end of the last number, if only joiners stand since */
    for (size_t at = 0; at < size;) {
        bool has_digit = false;
        const size_t end = skip_word(text, size, at, &has_digit);
        if (has_digit) {
            const size_t start = joined == NOWHERE ? extend_left(text, size, at) : joined;
            pith__bits_fill(bits, start, extend_right(text, size, end), true);
            joined = end;
        } else if (end > at) {
            joined = NOWHERE;
        }
        at = end;
        if (at < size) {
            uint32_t code_point = 0;
            at += pith__utf8_decode(text, size, at, &code_point);
            joined = is_joiner(code_point) ? joined : NOWHERE;
        }
    }
}
