/*
 * code.c: the protection rule for Markdown code: fences and code spans.
 */
#include "text/bits.h"
#include "text/rules.h"

#include <stdbool.h>
#include <string.h>

enum {
    LEAST_FENCE = 3,     /* backticks or tildes of a fence */
    MOST_INDENT = 3,     /* spaces before it */
    MOST_BACKTICKS = 32, /* of a code span; a longer run is taken for decoration */
    MOST_DIGITS = 9      /* of a list number */
};

/* A line [start, end) of the text; `next` is where the line after it begins. */
typedef struct line {
    const char *text;
    size_t start;
    size_t end;
    size_t next;
} line;

typedef struct fence {
    char mark;     /* '`' or '~' */
    size_t length; /* 0: no fence */
} fence;

static line read_line(const char *text, size_t size, size_t at)
{
    line found = {text, at, at, at};
    while (found.end < size && text[found.end] != '\n' && text[found.end] != '\r') {
        found.end++;
    }
    found.next = found.end < size ? found.end + 1 : size;
    if (found.next < size && text[found.end] == '\r' && text[found.next] == '\n') {
        found.next++;
    }
    return found;
}

static size_t skip(const line *from, size_t at, char byte)
{
    while (at < from->end && from->text[at] == byte) {
        at++;
    }
    return at;
}

static size_t skip_blanks(const line *from, size_t at)
{
    while (at < from->end && (from->text[at] == ' ' || from->text[at] == '\t')) {
        at++;
    }
    return at;
}

/* The fence that the line is; *rest is where its marks end. */
static fence read_fence(const line *from, size_t *rest)
{
    const fence none = {'\0', 0};
    const size_t at = skip(from, from->start, ' ');
    if (at - from->start > MOST_INDENT || at == from->end) {
        return none;
    }
    const char mark = from->text[at];
    if (mark != '`' && mark != '~') {
        return none;
    }
    *rest = skip(from, at, mark);
    return *rest - at < LEAST_FENCE ? none : (fence){mark, *rest - at};
}

static fence read_opening(const line *from)
{
    size_t rest = 0;
    fence found = read_fence(from, &rest);
    /* "```a```" is a code span: a fence of backticks has none after it */
    if (found.mark == '`' && memchr(from->text + rest, '`', from->end - rest) != NULL) {
        found.length = 0;
    }
    return found;
}

static bool closes(const line *from, fence open)
{
    size_t rest = 0;
    const fence found = read_fence(from, &rest);
    return found.length >= open.length && found.mark == open.mark &&
           skip_blanks(from, rest) == from->end;
}

/* True if the line begins a heading, a list item or a table row: code spans do not reach over it. */
static bool begins_block(const line *from)
{
    const size_t at = skip_blanks(from, from->start);
    if (at == from->end || from->text[at] == '|') {
        return true;
    }
    size_t marker = skip(from, at, '#');
    if (from->text[at] == '-' || from->text[at] == '+' || from->text[at] == '*') {
        marker = at + 1;
    }
    if (marker == at) {
        while (marker < from->end && marker - at < MOST_DIGITS && from->text[marker] >= '0' &&
               from->text[marker] <= '9') {
            marker++;
        }
        const bool is_number = marker > at && marker < from->end &&
                               (from->text[marker] == '.' || from->text[marker] == ')');
        marker = is_number ? marker + 1 : at;
    }
    return marker > at && (marker == from->end || from->text[marker] == ' ');
}

/* Notes where each length of a run of backticks occurs last in [start, end). */
static void find_last_runs(const char *text, size_t start, size_t end,
                           size_t last[MOST_BACKTICKS + 1])
{
    memset(last, 0, (MOST_BACKTICKS + 1) * sizeof last[0]);
    for (size_t at = start; at < end; at++) {
        const size_t run = at;
        while (at < end && text[at] == '`') {
            at++;
        }
        if (at > run && at - run <= MOST_BACKTICKS) {
            last[at - run] = run;
        }
    }
}

/* The end of the run of backticks at `at`. */
static size_t skip_backticks(const char *text, size_t end, size_t at)
{
    while (at < end && text[at] == '`') {
        at++;
    }
    return at;
}

/* The end of the next run of exactly `length` backticks, which is known to be there. */
static size_t find_closing(const char *text, size_t end, size_t at, size_t length)
{
    for (;;) {
        while (at < end && text[at] != '`') {
            at++;
        }
        const size_t run = at;
        at = skip_backticks(text, end, at);
        if (at - run == length || at == end) {
            return at;
        }
    }
}

/* Keeps the code spans of a paragraph. */
static void keep_spans(const char *text, size_t start, size_t end, uint64_t *bits)
{
    if (start == end || memchr(text + start, '`', end - start) == NULL) {
        return;
    }
    size_t last[MOST_BACKTICKS + 1];
    find_last_runs(text, start, end, last);
    for (size_t at = start; at < end;) {
        if (text[at] == '\\') {
            at += 2; /* an escaped backtick opens nothing */
            continue;
        }
        const size_t run_end = skip_backticks(text, end, at);
        const size_t length = run_end - at;
        if (length == 0) {
            at++;
        } else if (length <= MOST_BACKTICKS && last[length] >= run_end) {
            const size_t closing = find_closing(text, end, run_end, length);
            pith__bits_fill(bits, at, closing, true);
            at = closing;
        } else {
            at = run_end;
        }
    }
}

void pith__rule_code(const char *text, size_t size, uint64_t *bits)
{
    fence open = {'\0', 0};
    size_t paragraph = 0;
    for (size_t at = 0; at < size;) {
        const line current = read_line(text, size, at);
        at = current.next;
        if (open.length > 0) {
            pith__bits_fill(bits, current.start, current.next, true);
            open.length = closes(&current, open) ? 0 : open.length;
            paragraph = current.next;
            continue;
        }
        open = read_opening(&current);
        if (open.length > 0 || begins_block(&current)) {
            keep_spans(text, paragraph, current.start, bits);
            paragraph = current.start;
        }
        if (open.length > 0) {
            pith__bits_fill(bits, current.start, current.next, true);
        }
    }
    keep_spans(text, open.length > 0 ? size : paragraph, size, bits);
}
