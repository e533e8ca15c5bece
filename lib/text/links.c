/*
 * links.c: the protection rule for URLs and e-mail addresses.
 */
#include "text/bits.h"
#include "text/chars.h"
#include "text/rules.h"
#include "text/text.h"

#include <string.h>
#include <unicode/uchar.h>

static bool is_alpha(char byte)
{
    const char lower = (char)(byte | 0x20);
    return lower >= 'a' && lower <= 'z';
}

static bool is_alnum(char byte)
{
    return is_alpha(byte) || (byte >= '0' && byte <= '9');
}

static bool is_one_of(char byte, const char *list)
{
    return byte != '\0' && strchr(list, byte) != NULL;
}

/* True for a character that no link goes on with, wherever it stands. */
static bool ends_link(uint32_t code_point)
{
    if (code_point < 0x80) {
        return code_point <= ' ' || code_point == 0x7f || is_one_of((char)code_point, "<>\"`|\\^");
    }
    return code_point == PITH__UTF8_INVALID || pith__char_space(code_point) != PITH__SPAN_WORD ||
           u_ispunct((UChar32)code_point);
}

/* The end of a link whose host begins at `at`: a bracket that it did not open is not part of it. */
static size_t find_link_end(const char *text, size_t size, size_t at)
{
    size_t depth[3] = {0, 0, 0};
    const size_t start = at;
    while (at < size) {
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode(text, size, at, &code_point);
        if (ends_link(code_point)) {
            break;
        }
        const char *opening = length == 1 ? strchr("([{", text[at]) : NULL;
        const char *closing = length == 1 ? strchr(")]}", text[at]) : NULL;
        if (opening != NULL) {
            depth[strlen(opening) - 1]++;
        } else if (closing != NULL && depth[strlen(closing) - 1]-- == 0) {
            break;
        }
        at += length;
    }
    while (at > start && is_one_of(text[at - 1], ".,;:!?'*_~([{")) {
        at--;
    }
    return at;
}

/* A link with a scheme whose "://" is at `colon`; returns its end, or `colon` if there is none. */
static size_t keep_url(const char *text, size_t size, size_t colon, uint64_t *bits)
{
    if (size - colon < 3 || memcmp(text + colon, "://", 3) != 0) {
        return colon;
    }
    size_t start = colon;
    while (start > 0 && (is_alnum(text[start - 1]) || is_one_of(text[start - 1], "+-."))) {
        start--;
    }
    while (start < colon && !is_alpha(text[start])) {
        start++;
    }
    const size_t end = find_link_end(text, size, colon + 3);
    if (colon - start < 2 || end == colon + 3) {
        return colon;
    }
    pith__bits_fill(bits, start, end, true);
    return end;
}

/* "www." at `at`; returns the link's end, or `at` if there is none. */
static size_t keep_www(const char *text, size_t size, size_t at, uint64_t *bits)
{
    static const char prefix[] = "www.";
    const size_t length = sizeof prefix - 1;
    if (size - at <= length || (at > 0 && is_alnum(text[at - 1])) || !is_alnum(text[at + length])) {
        return at;
    }
    for (size_t i = 0; i < length; i++) {
        const char byte = text[at + i];
        if ((is_alpha(byte) ? (char)(byte | 0x20) : byte) != prefix[i]) {
            return at;
        }
    }
    const size_t end = find_link_end(text, size, at + length);
    pith__bits_fill(bits, at, end, true);
    return end;
}

/* True if the host name [start, end) has a dot and, after the last one, two letters or more. */
static bool is_host(const char *text, size_t start, size_t end)
{
    size_t label = end;
    while (label > start && is_alpha(text[label - 1])) {
        label--;
    }
    return end - label >= 2 && label > start + 1 && text[label - 1] == '.';
}

/* An address around the '@' at `sign`; returns its end, or `sign` if there is none. */
static size_t keep_address(const char *text, size_t size, size_t sign, uint64_t *bits)
{
    size_t start = sign;
    while (start > 0 && (is_alnum(text[start - 1]) || is_one_of(text[start - 1], "._%+-"))) {
        start--;
    }
    while (start < sign && !is_alnum(text[start]) && text[start] != '_') {
        start++;
    }
    size_t end = sign + 1;
    while (end < size && (is_alnum(text[end]) || is_one_of(text[end], ".-"))) {
        end++;
    }
    while (end > sign + 1 && !is_alnum(text[end - 1])) {
        end--;
    }
    if (start == sign || !is_host(text, sign + 1, end)) {
        return sign;
    }
    pith__bits_fill(bits, start, end, true);
    return end;
}

void pith__rule_links(const char *text, size_t size, uint64_t *bits)
{
    for (size_t at = 0; at < size;) {
        size_t end = at;
        switch (text[at]) {
        case ':':
            end = keep_url(text, size, at, bits);
            break;
        case 'w':
        case 'W':
            end = keep_www(text, size, at, bits);
            break;
        case '@':
            end = keep_address(text, size, at, bits);
            break;
        default:
            break;
        }
        at = end > at ? end : at + 1;
    }
}
