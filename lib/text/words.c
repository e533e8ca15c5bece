/*
 * words.c: splitting a text into words, punctuation and line breaks.
 *
 * White space and punctuation make the words of most scripts; ICU is asked for
 * those it has dictionaries for, and for runs too long to be words.
 */
#include "text/chars.h"
#include "text/icu.h"
#include "text/text.h"

#include <string.h>
#include <unicode/uchar.h>
#include <unicode/uscript.h>

enum {
    /* English words and numbers stay below 64 bytes; what is longer is a path, a link or data. */
    LONGEST_RUN = 64,
    /* Longer than any word; short enough that dropping a piece of data is a fine-grained choice. */
    LONGEST_PIECE = 256
};

typedef struct cutter {
    const char *text;
    size_t size;
    const pith_allocator *mem;
    pith__spans *out;
    size_t cut; /* where the last span ended */
    pith__breaker words;
    pith__breaker clusters;
} cutter;

/* What a run between white space is made of. */
typedef struct run {
    size_t start;
    size_t end;
    bool needs_dictionary;
} run;

/* ---- characters --------------------------------------------------------------- */

/* '$', '&', '@', '_' and the slashes belong to names and amounts more often than to a sentence. */
static bool is_punctuation(uint32_t code_point)
{
    if (code_point < 0x80) {
        return code_point > ' ' && code_point < 0x7f && !pith__char_is_word(code_point) &&
               strchr("$&@_/\\", (int)code_point) == NULL;
    }
    return code_point != PITH__UTF8_INVALID && u_ispunct((UChar32)code_point);
}

/* True for characters of scripts that are written without spaces. */
static bool has_dictionary(uint32_t code_point)
{
    if (code_point < 0xe00 || code_point == PITH__UTF8_INVALID) {
        return false;
    }
    if (u_getIntPropertyValue((UChar32)code_point, UCHAR_LINE_BREAK) == U_LB_COMPLEX_CONTEXT) {
        return true;
    }
    UErrorCode code = U_ZERO_ERROR;
    const UScriptCode script = uscript_getScript((UChar32)code_point, &code);
    return script == USCRIPT_HAN || script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA;
}

/* Regional indicators; two of them are a flag. */
static bool is_flag_letter(uint32_t code_point)
{
    return code_point >= 0x1f1e6 && code_point <= 0x1f1ff;
}

static uint32_t char_at(const cutter *cut, size_t at)
{
    uint32_t code_point = 0;
    if (at < cut->size) {
        (void)pith__utf8_decode(cut->text, cut->size, at, &code_point);
    }
    return code_point;
}

static uint32_t char_before(const cutter *cut, size_t at)
{
    uint32_t code_point = 0;
    (void)pith__utf8_decode_before(cut->text, cut->size, at, &code_point);
    return code_point;
}

/* The end of the run of one repeated punctuation character at `at`, or `at` if there is none. */
static size_t skip_punctuation(const cutter *cut, size_t at, size_t end)
{
    uint32_t first = 0;
    const size_t length = pith__utf8_decode(cut->text, cut->size, at, &first);
    if (!is_punctuation(first)) {
        return at;
    }
    at += length;
    while (end - at >= length && memcmp(cut->text + at, cut->text + at - length, length) == 0) {
        at += length;
    }
    return at;
}

/* ---- cutting ------------------------------------------------------------------- */

/*
 * True if `at`, where the last span ended, lies between the two letters of a
 * flag. ICU's words and clusters pair the letters differently when a mark sits
 * on one; the last span begins where a cluster does, so counting from there is
 * enough.
 */
static bool splits_flag(const cutter *cut, size_t at)
{
    if (!is_flag_letter(char_at(cut, at))) {
        return false;
    }
    const size_t from = cut->out->items[cut->out->count - 1].start;
    bool odd = false;
    for (size_t i = at; i > from; odd = !odd) {
        uint32_t code_point = 0;
        i -= pith__utf8_decode_before(cut->text, cut->size, i, &code_point);
        if (!is_flag_letter(code_point)) {
            break;
        }
    }
    return odd;
}

/* Ends a span at `end`; one that would begin inside a grapheme cluster joins the span before it. */
static pith_status cut_at(cutter *cut, size_t end, pith__span_kind kind, pith_error *err)
{
    const size_t start = cut->cut;
    if (end == start) {
        return PITH_OK;
    }
    cut->cut = end;
    if (start > 0 && (pith__char_joins(cut->text, cut->size, start) || splits_flag(cut, start))) {
        cut->out->items[cut->out->count - 1].end = end;
        return PITH_OK;
    }
    return pith__spans_push(cut->out, cut->mem, start, end, kind, err);
}

/* Cuts [start, end) so that its pieces are short; white space before `start` goes with the first. */
static pith_status cut_short(cutter *cut, size_t start, size_t end, pith__span_kind kind,
                             pith_error *err)
{
    if (end - start > LONGEST_PIECE) {
        PITH__TRY(pith__breaker_start(&cut->clusters, cut->text, start, end, err));
        size_t piece = start;
        size_t last = start;
        size_t next = 0;
        while ((next = pith__breaker_next(&cut->clusters)) != PITH__BREAKER_DONE) {
            if (next - piece > LONGEST_PIECE && last > piece) {
                PITH__TRY(cut_at(cut, last, kind, err));
                piece = last;
            }
            last = next;
        }
    }
    return cut_at(cut, end, kind, err);
}

/* Cuts [start, end), which holds no white space, at ICU's word boundaries. */
static pith_status cut_by_icu(cutter *cut, size_t start, size_t end, pith_error *err)
{
    PITH__TRY(pith__breaker_start(&cut->words, cut->text, start, end, err));
    size_t skip = start;
    size_t next = 0;
    while ((next = pith__breaker_next(&cut->words)) != PITH__BREAKER_DONE) {
        if (next <= skip) {
            continue; /* equal punctuation that was taken together */
        }
        const size_t repeated = skip_punctuation(cut, skip, end);
        const pith__span_kind kind = repeated >= next ? PITH__SPAN_PUNCTUATION : PITH__SPAN_WORD;
        const size_t piece_end = repeated > next ? repeated : next;
        PITH__TRY(cut_short(cut, skip, piece_end, kind, err));
        skip = piece_end;
    }
    return PITH_OK;
}

/* ---- runs between white space ---------------------------------------------------- */

/* The run that begins at `start`, which is no white space. */
static run find_run(const cutter *cut, size_t start)
{
    run found = {start, start, false};
    while (found.end < cut->size) {
        const unsigned char byte = (unsigned char)cut->text[found.end];
        if (byte > ' ' && byte < 0x80) {
            found.end++;
            continue;
        }
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode(cut->text, cut->size, found.end, &code_point);
        if (pith__char_space(code_point) != PITH__SPAN_WORD) {
            break;
        }
        found.needs_dictionary = found.needs_dictionary || has_dictionary(code_point);
        found.end += length;
    }
    return found;
}

/* True if the punctuation [start, end) gives the word after it a meaning: -5, .5, #1, --all. */
static bool is_sign(const cutter *cut, size_t start, size_t end, size_t limit)
{
    const char *sign = cut->text + start;
    const bool may_be = (end - start == 1 && strchr("-+.#", sign[0]) != NULL) ||
                        (end - start == 2 && sign[0] == '-');
    return may_be && end < limit && pith__char_is_word(char_at(cut, end));
}

/* Brackets of one kind that are open at the end of [start, end) less those closed: >= 0 means that
 * a closing one at the end has its partner inside. */
typedef struct balance {
    ptrdiff_t round;
    ptrdiff_t square;
    ptrdiff_t curly;
} balance;

static ptrdiff_t *bracket_count(balance *brackets, char bracket)
{
    switch (bracket) {
    case '(':
    case ')':
        return &brackets->round;
    case '[':
    case ']':
        return &brackets->square;
    case '{':
    case '}':
        return &brackets->curly;
    default:
        return NULL;
    }
}

static void count_bracket(balance *brackets, char byte, ptrdiff_t step)
{
    ptrdiff_t *count = bracket_count(brackets, byte);
    if (count != NULL) {
        *count += byte == '(' || byte == '[' || byte == '{' ? step : -step;
    }
}

/* Where the punctuation at the end of [start, end) begins that does not belong to the word. */
static size_t find_tail(const cutter *cut, size_t start, size_t end)
{
    if (start == end || !is_punctuation(char_before(cut, end))) {
        return end;
    }
    balance brackets = {0, 0, 0};
    for (size_t i = start; i < end; i++) {
        count_bracket(&brackets, cut->text[i], 1);
    }
    size_t tail = end;
    while (tail > start) {
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode_before(cut->text, cut->size, tail, &code_point);
        const char byte = cut->text[tail - 1];
        const ptrdiff_t *open = bracket_count(&brackets, byte);
        if (!is_punctuation(code_point) ||
            (open != NULL && *open >= 0 && strchr(")]}", byte) != NULL) ||
            (byte == '%' && tail - length > start &&
             pith__char_is_digit(char_before(cut, tail - length)))) {
            break;
        }
        count_bracket(&brackets, byte, -1);
        tail -= length;
    }
    return tail;
}

/* Cuts a run: punctuation before it, the word, punctuation after it. */
static pith_status cut_run(cutter *cut, const run *found, pith_error *err)
{
    if (found->needs_dictionary) {
        return cut_by_icu(cut, found->start, found->end, err);
    }
    size_t head = found->start;
    while (head < found->end) {
        const size_t next = skip_punctuation(cut, head, found->end);
        if (next == head || is_sign(cut, head, next, found->end) ||
            (next < cut->size && pith__char_joins(cut->text, cut->size, next))) {
            break;
        }
        PITH__TRY(cut_short(cut, head, next, PITH__SPAN_PUNCTUATION, err));
        head = next;
    }
    size_t tail = find_tail(cut, head, found->end);
    if (tail - head > LONGEST_RUN) {
        PITH__TRY(cut_by_icu(cut, head, tail, err));
    } else if (tail > head) {
        PITH__TRY(cut_at(cut, tail, PITH__SPAN_WORD, err));
    }
    while (tail < found->end) {
        const size_t next = skip_punctuation(cut, tail, found->end);
        PITH__TRY(cut_short(cut, tail, next, PITH__SPAN_PUNCTUATION, err));
        tail = next;
    }
    return PITH_OK;
}

/*
 * Cuts off the white space [at, end) if it is a span of its own. A last
 * character that a combining mark sits on stays with the mark.
 */
static pith_status cut_space(cutter *cut, size_t end, bool has_break, pith_error *err)
{
    if (!has_break && end < cut->size) {
        return PITH_OK;
    }
    if (end < cut->size && pith__char_joins(cut->text, cut->size, end)) {
        uint32_t ignored = 0;
        end -= pith__utf8_decode_before(cut->text, cut->size, end, &ignored);
    }
    return cut_at(cut, end, has_break ? PITH__SPAN_BREAK : PITH__SPAN_SPACE, err);
}

static pith_status cut_words(cutter *cut, pith_error *err)
{
    size_t at = 0;
    while (at < cut->size) {
        bool has_break = false;
        const size_t space = pith__space_length(cut->text, cut->size, at, &has_break);
        at += space;
        if (space > 0) {
            PITH__TRY(cut_space(cut, at, has_break, err));
        }
        if (at < cut->size) {
            const run found = find_run(cut, at);
            PITH__TRY(cut_run(cut, &found, err));
            at = found.end;
        }
    }
    return PITH_OK;
}

pith_status pith__text_words(const char *text, size_t size, const pith_allocator *mem,
                             pith__spans *out, pith_error *err)
{
    *out = (pith__spans){0};
    cutter cut = {.text = text,
                  .size = size,
                  .mem = mem,
                  .out = out,
                  .words = PITH__BREAKER(UBRK_WORD, ""),
                  .clusters = PITH__BREAKER(UBRK_CHARACTER, "")};
    const pith_status status = cut_words(&cut, err);
    pith__breaker_close(&cut.words);
    pith__breaker_close(&cut.clusters);
    if (status != PITH_OK) {
        pith__spans_deinit(out, mem);
    }
    return status;
}
