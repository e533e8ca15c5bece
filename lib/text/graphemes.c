/*
 * graphemes.c: where grapheme clusters begin.
 *
 * Between two characters that have no say in cluster building there is always
 * a boundary. That settles most text in most languages without ICU, which gets
 * only the stretches around the others: combining marks, Hangul, flags, emoji.
 */
#include "text/bits.h"
#include "text/icu.h"
#include "text/text.h"

#include <assert.h>
#include <string.h>
#include <unicode/uchar.h>

#define NO_STRETCH SIZE_MAX

typedef struct cluster_finder {
    const char *text;
    size_t size;
    uint64_t *bits;
    pith__breaker breaker;
} cluster_finder;

/* True for a character that joins neither another such one nor what stands before it. */
static bool is_plain(uint32_t code_point)
{
    if (code_point < 0x300) {
        return true;
    }
    switch (u_getIntPropertyValue((UChar32)code_point, UCHAR_GRAPHEME_CLUSTER_BREAK)) {
    case U_GCB_OTHER:
    case U_GCB_CONTROL:
        return true;
    default:
        return false;
    }
}

static void join_line_ends(cluster_finder *finder)
{
    size_t at = 1;
    while (at < finder->size) {
        const char *feed = memchr(finder->text + at, '\n', finder->size - at);
        if (feed == NULL) {
            return;
        }
        at = (size_t)(feed - finder->text);
        if (feed[-1] == '\r') {
            pith__bits_fill(finder->bits, at, at + 1, false);
        }
        at++;
    }
}

static pith_status ask_icu(cluster_finder *finder, size_t start, size_t end, pith_error *err)
{
    PITH__TRY(pith__breaker_start(&finder->breaker, finder->text, start, end, err));
    size_t from = start;
    size_t to = 0;
    while ((to = pith__breaker_next(&finder->breaker)) != PITH__BREAKER_DONE) {
        pith__bits_fill(finder->bits, from + 1, to, false);
        from = to;
    }
    return PITH_OK;
}

static pith_status join_clusters(cluster_finder *finder, pith_error *err)
{
    size_t stretch = NO_STRETCH; /* where the stretch for ICU began */
    size_t before = NO_STRETCH;  /* the character before, if well-formed */
    bool plain_before = true;
    for (size_t at = 0; at < finder->size;) {
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode(finder->text, finder->size, at, &code_point);
        const bool broken = code_point == PITH__UTF8_INVALID;
        const bool plain = broken || is_plain(code_point);
        pith__bits_fill(finder->bits, at + 1, at + length, false);
        if (stretch != NO_STRETCH && (broken || (plain && plain_before))) {
            PITH__TRY(ask_icu(finder, stretch, at, err));
            stretch = NO_STRETCH;
        } else if (stretch == NO_STRETCH && !plain) {
            stretch = before == NO_STRETCH ? at : before;
        }
        plain_before = plain;
        before = broken ? NO_STRETCH : at;
        at += length;
    }
    return stretch == NO_STRETCH ? PITH_OK : ask_icu(finder, stretch, finder->size, err);
}

static bool is_ascii(const char *text, size_t size)
{
    unsigned char any = 0;
    for (size_t i = 0; i < size; i++) {
        any |= (unsigned char)text[i];
    }
    return any < 0x80;
}

pith_status pith__text_graphemes(const char *text, size_t size, const pith_allocator *mem,
                                 pith__graphemes *out, pith_error *err)
{
    *out = (pith__graphemes){0};
    const size_t words = pith__bits_words(size);
    PITH__TRY(pith__alloc(mem, words, sizeof *out->bits, &out->bits, err));
    out->words = words;
    out->size = size;
    pith__bits_fill(out->bits, 0, words * PITH__BITS_PER_WORD, true);

    cluster_finder finder = {text, size, out->bits, PITH__BREAKER(UBRK_CHARACTER, "")};
    pith_status status = PITH_OK;
    if (!is_ascii(text, size)) {
        status = join_clusters(&finder, err);
    }
    join_line_ends(&finder);
    pith__breaker_close(&finder.breaker);
    if (status != PITH_OK) {
        pith__graphemes_deinit(out, mem);
    }
    return status;
}

void pith__graphemes_deinit(pith__graphemes *graphemes, const pith_allocator *mem)
{
    if (graphemes != NULL) {
        pith__free(mem, graphemes->bits, graphemes->words, sizeof *graphemes->bits);
        *graphemes = (pith__graphemes){0};
    }
}

void pith__graphemes_join(pith__graphemes *graphemes, size_t start, size_t end)
{
    pith__bits_fill(graphemes->bits, start + 1, end, false);
}

bool pith__graphemes_is_boundary(const pith__graphemes *graphemes, size_t offset)
{
    assert(offset <= graphemes->size);
    return offset == graphemes->size || pith__bits_test(graphemes->bits, offset);
}

size_t pith__graphemes_floor(const pith__graphemes *graphemes, size_t offset)
{
    assert(offset <= graphemes->size);
    const unsigned above = PITH__BITS_PER_WORD - 1 - offset % PITH__BITS_PER_WORD;
    size_t word = offset / PITH__BITS_PER_WORD;
    uint64_t bits = graphemes->bits[word] << above >> above;
    while (bits == 0) { /* ends: bit 0 is set */
        bits = graphemes->bits[--word];
    }
    const unsigned top = PITH__BITS_PER_WORD - 1 - (unsigned)__builtin_clzll(bits);
    return word * PITH__BITS_PER_WORD + top;
}

size_t pith__graphemes_ceil(const pith__graphemes *graphemes, size_t offset)
{
    assert(offset <= graphemes->size);
    const unsigned below = offset % PITH__BITS_PER_WORD;
    size_t word = offset / PITH__BITS_PER_WORD;
    uint64_t bits = graphemes->bits[word] >> below << below;
    while (bits == 0) { /* ends: the bit at the end of the text is set */
        bits = graphemes->bits[++word];
    }
    return word * PITH__BITS_PER_WORD + (unsigned)__builtin_ctzll(bits);
}
