/*
 * sentences.c: splitting a text into sentences, line by line.
 *
 * ICU finds the ends, with the abbreviations CLDR lists for English. What it
 * still gets wrong most often, a few more abbreviations and initials, is
 * mended here.
 */
#include "text/chars.h"
#include "text/icu.h"
#include "text/text.h"

#include <string.h>
#include <unicode/uchar.h>

/* The longest abbreviation below has fewer letters and full stops. */
enum { LONGEST_ABBREVIATION = 8 };

/* No sentence ends after these. */
static const char *const abbreviations[] = {
    "Mr",  "Mrs",  "Ms",  "Mx",   "Messrs", "Dr",   "Prof", "Rev",  "Hon",    "Gen", "Col",
    "Maj", "Capt", "Lt",  "Sgt",  "Cpl",    "Gov",  "Sen",  "Rep",  "Pres",   "St",  "Mt",
    "Ft",  "Sr",   "Fr",  "Bros", "vs",     "viz",  "cf",   "Cf",   "approx", "e.g", "i.e",
    "E.g", "I.e",  "eg",  "ie",   "Fig",    "Figs", "fig",  "figs", "Eq",     "Eqs", "eq",
    "Sec", "Ch",   "Vol", "vol",  "Dept",   "Univ", "esp",
};

/* The same, but only before a number: "No. 5", "pp. 3-9", "Jan. 7". */
static const char *const before_number[] = {
    "No",  "no",  "Nos", "nos", "Nr",  "p",   "pp",  "Art",  "Tab", "ca",  "c",   "al",
    "Jan", "Feb", "Mar", "Apr", "Jun", "Jul", "Aug", "Sept", "Sep", "Oct", "Nov", "Dec",
};

typedef struct sentence_cutter {
    const char *text;
    size_t size;
    const pith_allocator *mem;
    pith__spans *out;
    size_t cut; /* where the last span ended */
    pith__breaker breaker;
} sentence_cutter;

static bool is_listed(const char *word, size_t size, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(list[i]) == size && memcmp(list[i], word, size) == 0) {
            return true;
        }
    }
    return false;
}

/* Where the letters and full stops that end at `end` begin, looking back a few bytes. */
static size_t find_abbreviation(const sentence_cutter *cut, size_t start, size_t end)
{
    size_t at = end;
    while (at > start && end - at <= LONGEST_ABBREVIATION) {
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode_before(cut->text, cut->size, at, &code_point);
        if (code_point != '.' && !pith__char_is_word(code_point)) {
            break;
        }
        at -= length;
    }
    return at;
}

/* "J" of "J. Smith": one capital letter, but not the word "I". */
static bool is_initial(const char *word, size_t size)
{
    uint32_t code_point = 0;
    return size > 0 && pith__utf8_decode(word, size, 0, &code_point) == size &&
           code_point != PITH__UTF8_INVALID && u_isupper((UChar32)code_point) && code_point != 'I';
}

/* True if the sentence [start, end) does not end there, though ICU says so: `next` follows. */
static bool is_abbreviated(const sentence_cutter *cut, size_t start, size_t end, size_t next)
{
    if (end - start < 2 || cut->text[end - 1] != '.') {
        return false;
    }
    const size_t at = find_abbreviation(cut, start, end - 1);
    const char *word = cut->text + at;
    const size_t length = end - 1 - at;
    if (is_listed(word, length, abbreviations, sizeof abbreviations / sizeof abbreviations[0])) {
        return true;
    }
    uint32_t follower = 0;
    (void)pith__utf8_decode(cut->text, cut->size, next, &follower);
    if (pith__char_is_digit(follower)) {
        return is_listed(word, length, before_number,
                         sizeof before_number / sizeof before_number[0]);
    }
    return is_initial(word, length);
}

/* Ends a span at `end`, unless that is inside a grapheme cluster. */
static pith_status cut_at(sentence_cutter *cut, size_t end, pith__span_kind kind, pith_error *err)
{
    if (end == cut->cut || (end < cut->size && pith__char_joins(cut->text, cut->size, end))) {
        return PITH_OK;
    }
    const size_t start = cut->cut;
    cut->cut = end;
    return pith__spans_push(cut->out, cut->mem, start, end, kind, err);
}

/* Cuts the sentences of a line [start, end), which ends where a cluster does. */
static pith_status cut_line(sentence_cutter *cut, size_t start, size_t end, pith_error *err)
{
    PITH__TRY(pith__breaker_start(&cut->breaker, cut->text, start, end, err));
    size_t sentence = start;
    size_t next = 0;
    while ((next = pith__breaker_next(&cut->breaker)) != PITH__BREAKER_DONE) {
        const size_t stop = next - pith__space_length_before(cut->text, cut->size, sentence, next);
        if (next < end && is_abbreviated(cut, sentence, stop, next)) {
            continue;
        }
        PITH__TRY(cut_at(cut, stop, PITH__SPAN_WORD, err));
        sentence = next;
    }
    return cut_at(cut, end, PITH__SPAN_WORD, err);
}

/* The end of the line that begins at `at`: its first line break, or the end of the text. */
static size_t find_line_end(const sentence_cutter *cut, size_t at)
{
    while (at < cut->size) {
        const unsigned char byte = (unsigned char)cut->text[at];
        if (byte >= 0x80) {
            uint32_t code_point = 0;
            const size_t length = pith__utf8_decode(cut->text, cut->size, at, &code_point);
            if (pith__char_space(code_point) == PITH__SPAN_BREAK) {
                return at;
            }
            at += length;
        } else if (byte >= '\n' && byte <= '\r') {
            return at;
        } else {
            at++;
        }
    }
    return at;
}

/* Where the white space that begins at `at` ends, less a last character that a mark sits on. */
static size_t find_space_end(const sentence_cutter *cut, size_t at)
{
    size_t end = at + pith__space_length(cut->text, cut->size, at, NULL);
    if (end > at && end < cut->size && pith__char_joins(cut->text, cut->size, end)) {
        uint32_t ignored = 0;
        end -= pith__utf8_decode_before(cut->text, cut->size, end, &ignored);
    }
    return end;
}

/* Where the white space at the end of a line begins, less a first one that a character binds. */
static size_t find_content_end(const sentence_cutter *cut, size_t start, size_t end)
{
    const size_t space = pith__space_length_before(cut->text, cut->size, start, end);
    const size_t at = end - space;
    if (space > 0 && pith__char_joins(cut->text, cut->size, at)) {
        uint32_t ignored = 0;
        return at + pith__utf8_decode(cut->text, cut->size, at, &ignored);
    }
    return at;
}

static pith_status cut_sentences(sentence_cutter *cut, pith_error *err)
{
    while (cut->cut < cut->size) {
        bool has_break = false;
        const size_t at = cut->cut;
        const size_t space = pith__space_length(cut->text, cut->size, at, &has_break);
        if (has_break || at + space == cut->size) {
            const size_t end = at + space == cut->size ? cut->size : find_space_end(cut, at);
            const pith__span_kind kind = has_break ? PITH__SPAN_BREAK : PITH__SPAN_SPACE;
            PITH__TRY(cut_at(cut, end, kind, err));
            continue;
        }
        const size_t start = at + space;
        const size_t line_end = find_line_end(cut, start);
        const size_t end = find_content_end(cut, start, line_end);
        PITH__TRY(cut_line(cut, start, end, err));
    }
    return PITH_OK;
}

pith_status pith__text_sentences(const char *text, size_t size, const pith_allocator *mem,
                                 pith__spans *out, pith_error *err)
{
    *out = (pith__spans){0};
    sentence_cutter cut = {.text = text,
                           .size = size,
                           .mem = mem,
                           .out = out,
                           .breaker = PITH__BREAKER(UBRK_SENTENCE, "en@ss=standard")};
    const pith_status status = cut_sentences(&cut, err);
    pith__breaker_close(&cut.breaker);
    if (status != PITH_OK) {
        pith__spans_deinit(out, mem);
    }
    return status;
}
