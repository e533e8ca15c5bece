/*
 * protect.c: which bytes of a text must be kept.
 *
 * Every rule sets bits, one per byte; the ranges are read off at the end. So
 * rules may overlap in any way, and their order does not matter.
 */
#include "text/bits.h"
#include "text/icu.h"
#include "text/rules.h"
#include "text/text.h"

#include <string.h>
#include <unicode/uregex.h>

enum {
    /* Patterns are typed by people; ICU counts their characters in 32 bits. */
    LONGEST_PATTERN = 1 << 16,
    /* What a backtracking match may hold, in bytes. ICU's own default is 8 MB, which "(a|b)*"
     * uses up on 200 kB of text. */
    STACK_LIMIT = 64 << 20,
    /* A pattern may take STEPS_FREE ticks, and one more per BYTES_PER_TICK of text. ICU's tick is
     * 10,000 steps of its matcher, about a millisecond; patterns without nested repetition need
     * fewer than ten steps per byte. Steps, not seconds, so that the outcome is reproducible. */
    TICKS_FREE = 2000,
    BYTES_PER_TICK = 256
};

/* A literal with the table of Knuth, Morris and Pratt: borders[i] is the length of the longest
 * proper prefix of the first i + 1 bytes that is also their suffix. */
typedef struct literal {
    char *bytes;
    size_t *borders;
    size_t size;
} literal;

typedef struct regex {
    URegularExpression *compiled;
} regex;

struct pith__protect {
    pith_allocator mem;
    unsigned rules;
    literal *literals;
    size_t literal_count;
    size_t literal_capacity;
    regex *patterns;
    size_t pattern_count;
    size_t pattern_capacity;
};

/* ---- compiling ------------------------------------------------------------------ */

pith_status pith__protect_new(const pith_allocator *mem, unsigned rules, pith__protect **out,
                              pith_error *err)
{
    PITH__TRY(pith__alloc_zero(mem, 1, sizeof **out, out, err));
    (*out)->mem = *mem;
    (*out)->rules = rules;
    return PITH_OK;
}

static void free_literal(const pith_allocator *mem, literal *item)
{
    pith__free(mem, item->bytes, item->size, 1);
    pith__free(mem, item->borders, item->size, sizeof *item->borders);
}

void pith__protect_free(pith__protect *protect)
{
    if (protect == NULL) {
        return;
    }
    const pith_allocator mem = protect->mem;
    for (size_t i = 0; i < protect->literal_count; i++) {
        free_literal(&mem, &protect->literals[i]);
    }
    for (size_t i = 0; i < protect->pattern_count; i++) {
        uregex_close(protect->patterns[i].compiled);
    }
    pith__free(&mem, protect->literals, protect->literal_capacity, sizeof *protect->literals);
    pith__free(&mem, protect->patterns, protect->pattern_capacity, sizeof *protect->patterns);
    pith__free(&mem, protect, 1, sizeof *protect);
}

static void find_borders(literal *item)
{
    size_t border = 0;
    item->borders[0] = 0;
    for (size_t i = 1; i < item->size; i++) {
        while (border > 0 && item->bytes[i] != item->bytes[border]) {
            border = item->borders[border - 1];
        }
        border += item->bytes[i] == item->bytes[border];
        item->borders[i] = border;
    }
}

pith_status pith__protect_add_literal(pith__protect *protect, const char *bytes, size_t size,
                                      pith_error *err)
{
    if (size == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "an empty text cannot be protected");
    }
    const pith_allocator *mem = &protect->mem;
    literal item = {NULL, NULL, size};
    pith_status status = pith__grow(mem, &protect->literals, &protect->literal_capacity,
                                    protect->literal_count + 1, sizeof item, err);
    if (status == PITH_OK) {
        status = pith__alloc(mem, size, 1, &item.bytes, err);
    }
    if (status == PITH_OK) {
        status = pith__alloc(mem, size, sizeof *item.borders, &item.borders, err);
    }
    if (status != PITH_OK) {
        free_literal(mem, &item);
        return status;
    }
    memcpy(item.bytes, bytes, size);
    find_borders(&item);
    protect->literals[protect->literal_count++] = item;
    return PITH_OK;
}

/* Byte of the pattern that ICU means, which counts lines and, in a line, characters it has read. */
static size_t find_parse_error(const char *pattern, size_t size, const UParseError *where)
{
    int32_t lines = 1;
    int32_t chars = 0;
    uint32_t before = 0;
    for (size_t at = 0; at < size;) {
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode(pattern, size, at, &code_point);
        if (code_point == '\r' || code_point == 0x85 || code_point == 0x2028 ||
            (code_point == '\n' && before != '\r')) {
            lines++;
            chars = 0;
        } else if (code_point != '\n') {
            chars++;
        }
        if (lines == where->line && chars >= where->offset) {
            return at;
        }
        before = code_point;
        at += length;
    }
    return size;
}

/* "U_REGEX_MISMATCHED_PAREN" as "mismatched paren". */
static const char *readable(UErrorCode code, char *out, size_t capacity)
{
    static const char prefix[] = "U_REGEX_";
    const char *name = u_errorName(code);
    const size_t skip = strncmp(name, prefix, sizeof prefix - 1) == 0 ? sizeof prefix - 1 : 0;
    size_t size = 0;
    for (const char *c = name + skip; *c != '\0' && size + 1 < capacity; c++) {
        char shown = *c;
        if (shown == '_') {
            shown = ' ';
        } else if (shown >= 'A' && shown <= 'Z') {
            shown = (char)(shown - 'A' + 'a');
        }
        out[size++] = shown;
    }
    out[size] = '\0';
    return out;
}

static pith_status open_pattern(const char *pattern, size_t size, URegularExpression **out,
                                pith_error *err)
{
    UText view = UTEXT_INITIALIZER;
    PITH__TRY(pith__icu_view(&view, pattern, size, err));
    UParseError where = {.line = 0, .offset = 0};
    UErrorCode code = U_ZERO_ERROR;
    *out = uregex_openUText(&view, 0, &where, &code);
    (void)utext_close(&view);
    if (U_SUCCESS(code)) {
        uregex_setStackLimit(*out, STACK_LIMIT, &code);
    }
    if (U_SUCCESS(code)) {
        return PITH_OK;
    }
    uregex_close(*out);
    *out = NULL;
    if (code < U_REGEX_ERROR_START || code >= U_REGEX_ERROR_LIMIT) {
        return pith__icu_fail(code, "compile a regular expression", err);
    }
    char reason[64];
    return pith__fail_at(err, PITH_E_SYNTAX, find_parse_error(pattern, size, &where),
                         "regular expression: %s", readable(code, reason, sizeof reason));
}

pith_status pith__protect_add_regex(pith__protect *protect, const char *pattern, size_t size,
                                    pith_error *err)
{
    if (size == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "an empty regular expression protects nothing");
    }
    if (size > LONGEST_PATTERN) {
        return pith__fail(err, PITH_E_RANGE, "regular expression of %zu bytes, at most %d", size,
                          LONGEST_PATTERN);
    }
    size_t bad = 0;
    if (!pith__utf8_check(pattern, size, &bad)) {
        return pith__fail_at(err, PITH_E_UTF8, bad, "regular expression: not valid UTF-8");
    }
    PITH__TRY(pith__grow(&protect->mem, &protect->patterns, &protect->pattern_capacity,
                         protect->pattern_count + 1, sizeof *protect->patterns, err));
    regex item = {NULL};
    PITH__TRY(open_pattern(pattern, size, &item.compiled, err));
    protect->patterns[protect->pattern_count++] = item;
    return PITH_OK;
}

/* ---- applying --------------------------------------------------------------------- */

/* Overlapping occurrences are collected into one range first, so that each byte is set once. */
static void keep_literal(const literal *item, const char *text, size_t size, uint64_t *bits)
{
    size_t matched = 0;
    size_t start = 0;
    size_t end = 0;
    for (size_t at = 0; at < size; at++) {
        if (matched == 0) {
            const char *first = memchr(text + at, item->bytes[0], size - at);
            if (first == NULL) {
                break;
            }
            at = (size_t)(first - text);
        }
        while (matched > 0 && text[at] != item->bytes[matched]) {
            matched = item->borders[matched - 1];
        }
        matched += text[at] == item->bytes[matched];
        if (matched == item->size) {
            const size_t found = at + 1 - item->size;
            if (found >= end) {
                pith__bits_fill(bits, start, end, true);
                start = found;
            }
            end = at + 1;
            matched = item->borders[matched - 1];
        }
    }
    pith__bits_fill(bits, start, end, true);
}

/* Ticks that a pattern has taken and may take on one text. */
typedef struct meter {
    size_t *ticks;
    size_t limit;
} meter;

/* ICU also passes the steps, but only those of the search that is under way. */
static UBool count_tick(const void *context, int32_t steps)
{
    (void)steps;
    const meter *count = context;
    return (UBool)(++*count->ticks <= count->limit);
}

static pith_status regex_fail(UErrorCode code, size_t index, pith_error *err)
{
    if (code == U_REGEX_STOPPED_BY_CALLER || code == U_REGEX_TIME_OUT) {
        return pith__fail(err, PITH_E_RANGE,
                          "regular expression %zu takes too many steps on this text", index + 1);
    }
    if (code == U_REGEX_STACK_OVERFLOW) {
        return pith__fail(err, PITH_E_RANGE,
                          "regular expression %zu backtracks over too much of this text",
                          index + 1);
    }
    return pith__icu_fail(code, "match a regular expression", err);
}

static pith_status keep_matches(const pith__protect *protect, size_t index, UText *view,
                                size_t size, uint64_t *bits, pith_error *err)
{
    URegularExpression *pattern = protect->patterns[index].compiled;
    size_t ticks = 0;
    const meter count = {&ticks, TICKS_FREE + size / BYTES_PER_TICK};
    UErrorCode code = U_ZERO_ERROR;
    uregex_setMatchCallback(pattern, count_tick, &count, &code);
    uregex_setUText(pattern, view, &code);
    while (uregex_findNext(pattern, &code) && U_SUCCESS(code)) {
        const int64_t start = uregex_start64(pattern, 0, &code);
        const int64_t end = uregex_end64(pattern, 0, &code);
        if (U_SUCCESS(code)) {
            pith__bits_fill(bits, (size_t)start, (size_t)end, true);
        }
    }
    return U_FAILURE(code) ? regex_fail(code, index, err) : PITH_OK;
}

static pith_status keep_all_matches(const pith__protect *protect, const char *text, size_t size,
                                    uint64_t *bits, pith_error *err)
{
    if (protect->pattern_count == 0) {
        return PITH_OK;
    }
    UText view = UTEXT_INITIALIZER;
    pith_status status = pith__icu_view(&view, text, size, err);
    for (size_t i = 0; i < protect->pattern_count && status == PITH_OK; i++) {
        status = keep_matches(protect, i, &view, size, bits, err);
    }
    (void)utext_close(&view);
    return status;
}

static pith_status apply(const pith__protect *protect, const char *text, size_t size,
                         uint64_t *bits, pith_error *err)
{
    if ((protect->rules & PITH__PROTECT_NUMBERS) != 0) {
        pith__rule_numbers(text, size, bits);
    }
    if ((protect->rules & PITH__PROTECT_LINKS) != 0) {
        pith__rule_links(text, size, bits);
    }
    if ((protect->rules & PITH__PROTECT_CODE) != 0) {
        pith__rule_code(text, size, bits);
    }
    for (size_t i = 0; i < protect->literal_count; i++) {
        keep_literal(&protect->literals[i], text, size, bits);
    }
    return keep_all_matches(protect, text, size, bits, err);
}

/* Reads the ranges off the bits. */
static pith_status collect(const uint64_t *bits, size_t size, const pith_allocator *mem,
                           pith__spans *out, pith_error *err)
{
    for (size_t at = 0; at < size;) {
        if (bits[at / PITH__BITS_PER_WORD] == 0) {
            at += PITH__BITS_PER_WORD - at % PITH__BITS_PER_WORD;
            continue;
        }
        const size_t start = at;
        while (at < size && pith__bits_test(bits, at)) {
            at++;
        }
        if (at > start) {
            PITH__TRY(pith__spans_push(out, mem, start, at, PITH__SPAN_WORD, err));
        }
        at++;
    }
    return PITH_OK;
}

pith_status pith__protect_apply(pith__protect *protect, const char *text, size_t size,
                                const pith_allocator *mem, pith__spans *out, pith_error *err)
{
    *out = (pith__spans){0};
    const bool has_rules =
        protect->rules != 0 || protect->literal_count > 0 || protect->pattern_count > 0;
    if (size == 0 || !has_rules) {
        return PITH_OK;
    }
    uint64_t *bits = NULL;
    PITH__TRY(pith__alloc_zero(mem, pith__bits_words(size), sizeof *bits, &bits, err));
    pith_status status = apply(protect, text, size, bits, err);
    if (status == PITH_OK) {
        status = collect(bits, size, mem, out, err);
    }
    pith__free(mem, bits, pith__bits_words(size), sizeof *bits);
    if (status != PITH_OK) {
        pith__spans_deinit(out, mem);
    }
    return status;
}
