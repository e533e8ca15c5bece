/*
 * markdown_inline.c: Markdown within a paragraph: code spans, links and images, and the markers
 * that are joined with a word.
 *
 * Linear in the text: see find_last_runs() for backticks, MOST_PARENTHESES for links.
 */
#include "structure/structure_internal.h"

#include <string.h>

enum {
    MOST_BACKTICKS = 32,   /* of a code span; a longer run is taken for decoration */
    MOST_PARENTHESES = 32, /* in one another in a destination, as other parsers have it; so no byte
                              is looked at for more than that many links */
    SHORTEST_SCHEME = 2,
    LONGEST_SCHEME = 32,
    LONGEST_JOINED = 256 /* bytes; a longer run without white space is no word */
};

#define NOWHERE SIZE_MAX

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static bool is_alnum(char byte)
{
    const char lower = (char)(byte | 0x20);
    return (lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9');
}

static bool is_one_of(char byte, const char *list)
{
    return byte != '\0' && strchr(list, byte) != NULL;
}

/* True for a backslash that takes the meaning from what follows. */
static bool is_escape(const char *text, size_t at, size_t end)
{
    return text[at] == '\\' && at + 1 < end && !is_alnum(text[at + 1]) && !is_space(text[at + 1]) &&
           (unsigned char)text[at + 1] < 0x80;
}

static size_t skip_space(const char *text, size_t at, size_t end)
{
    while (at < end && is_space(text[at])) {
        at++;
    }
    return at;
}

/* ---- code spans ---------------------------------------------------------------------------------------- */

static size_t skip_backticks(const char *text, size_t at, size_t end)
{
    while (at < end && text[at] == '`') {
        at++;
    }
    return at;
}

/* Where each length of a run of backticks begins last: without it, every run would look for one. */
static void find_last_runs(const char *text, size_t start, size_t end,
                           size_t last[MOST_BACKTICKS + 1])
{
    memset(last, 0, (MOST_BACKTICKS + 1) * sizeof last[0]);
    while (start < end) {
        const char *found = memchr(text + start, '`', end - start);
        if (found == NULL) {
            return;
        }
        const size_t run = (size_t)(found - text);
        start = skip_backticks(text, run, end);
        if (start - run <= MOST_BACKTICKS) {
            last[start - run] = run;
        }
    }
}

/* The end of the code span that the run of backticks at `at` opens, or of the run. */
static size_t skip_code(const char *text, size_t at, size_t end, const size_t *last, bool *is_code)
{
    const size_t rest = skip_backticks(text, at, end);
    const size_t length = rest - at;
    *is_code = length <= MOST_BACKTICKS && last[length] >= rest;
    if (!*is_code) {
        return rest;
    }
    for (size_t run = rest;; run++) {
        if (text[run] == '`') {
            const size_t run_end = skip_backticks(text, run, end);
            if (run_end - run == length) {
                return run_end;
            }
            run = run_end - 1;
        }
    }
}

/* ---- links ---------------------------------------------------------------------------------------------- */

/* The end of "<scheme:...>" or "<name@host>" at `at`, or `at`. */
static size_t skip_autolink(const char *text, size_t at, size_t end)
{
    size_t scheme = at + 1;
    while (scheme < end && (is_alnum(text[scheme]) || is_one_of(text[scheme], "+.-"))) {
        scheme++;
    }
    const size_t length = scheme - at - 1;
    const bool has_scheme = length >= SHORTEST_SCHEME && length <= LONGEST_SCHEME && scheme < end &&
                            text[scheme] == ':';
    bool has_sign = false;
    for (size_t i = at + 1; i < end && !is_space(text[i]) && text[i] != '<'; i++) {
        if (text[i] == '>') {
            return has_scheme || has_sign ? i + 1 : at;
        }
        has_sign = has_sign || (text[i] == '@' && i > at + 1 && i + 1 < end && text[i + 1] != '>');
    }
    return at;
}

/* The end of a destination, or NOWHERE. */
static size_t skip_destination(const char *text, size_t at, size_t end)
{
    size_t depth = 0;
    if (at < end && text[at] == '<') {
        for (at++; at < end && text[at] != '>'; at++) {
            at += is_escape(text, at, end);
            if (is_one_of(text[at], "<\n\r")) {
                return NOWHERE;
            }
        }
        return at < end ? at + 1 : NOWHERE;
    }
    for (; at < end && (unsigned char)text[at] > ' '; at++) {
        if (is_escape(text, at, end)) {
            at++;
        } else if (text[at] == '(') {
            if (++depth > MOST_PARENTHESES) {
                return NOWHERE;
            }
        } else if (text[at] == ')' && depth-- == 0) {
            return at;
        }
    }
    return depth == 0 ? at : NOWHERE;
}

/* The end of a title in "", '' or () at `at`; `at` if there is none. */
static size_t skip_title(const char *text, size_t at, size_t end)
{
    if (at == end || !is_one_of(text[at], "\"'(")) {
        return at;
    }
    char close = text[at];
    if (close == '(') {
        close = ')';
    }
    for (size_t i = at + 1; i < end; i++) {
        if (is_escape(text, i, end)) {
            i++;
        } else if (text[i] == close) {
            return i + 1;
        } else if (text[i] == '(' && close == ')') {
            break;
        }
    }
    return at;
}

/* The end of "(destination "title")" or "[label]" at `at`, or NOWHERE. */
static size_t skip_target(const char *text, size_t at, size_t end)
{
    if (at < end && text[at] == '(') {
        const size_t destination = skip_destination(text, skip_space(text, at + 1, end), end);
        if (destination == NOWHERE) {
            return NOWHERE;
        }
        const size_t title = skip_space(text, destination, end);
        const size_t close = skip_space(text, skip_title(text, title, end), end);
        return close < end && text[close] == ')' ? close + 1 : NOWHERE;
    }
    if (at < end && text[at] == '[') {
        size_t close = at + 1;
        while (close < end && !is_one_of(text[close], "[]\n\r")) {
            close++;
        }
        return close < end && text[close] == ']' ? close + 1 : NOWHERE;
    }
    return NOWHERE;
}

/* Adds a link; atoms within it become part of it. */
static pith_status push_link(pith__markdown *md, size_t start, size_t end)
{
    while (md->atoms.count > 0 && md->atoms.items[md->atoms.count - 1].start >= start) {
        md->atoms.count--;
    }
    return pith__spans_push(&md->atoms, md->mem, start, end, PITH__SPAN_WORD, md->err);
}

/* The ']' at `at`; *next is where to go on. */
static pith_status close_bracket(pith__markdown *md, size_t at, size_t end, size_t *next)
{
    const char *text = md->text;
    *next = at + 1;
    if (md->bracket_count == 0) {
        return PITH_OK;
    }
    const size_t open = md->brackets[--md->bracket_count];
    const size_t target = skip_target(text, at + 1, end);
    /* "a[i][j]" is no reference, nor is "[][j]" */
    const bool is_reference = at + 1 < end && text[at + 1] == '[';
    const bool is_image = open > 0 && text[open - 1] == '!';
    if (target == NOWHERE ||
        (is_reference && (open + 1 == at || (open > 0 && is_alnum(text[open - 1]))))) {
        return PITH_OK;
    }
    md->is_evident = md->is_evident || !is_reference;
    *next = target;
    return push_link(md, open - is_image, target);
}

static pith_status open_bracket(pith__markdown *md, size_t at)
{
    PITH__TRY(pith__grow(md->mem, &md->brackets, &md->bracket_capacity, md->bracket_count + 1,
                         sizeof *md->brackets, md->err));
    md->brackets[md->bracket_count++] = at;
    return PITH_OK;
}

/* One step of the paragraph, from `at` to *next. */
static pith_status read_inline(pith__markdown *md, size_t at, size_t end, const size_t *last,
                               size_t *next)
{
    const char *text = md->text;
    bool is_atom = false;
    *next = at + 1;
    switch (text[at]) {
    case '\\':
        *next += is_escape(text, at, end);
        return PITH_OK;
    case '[':
        return open_bracket(md, at);
    case ']':
        return close_bracket(md, at, end, next);
    case '`':
        *next = skip_code(text, at, end, last, &is_atom);
        break;
    case '<':
        *next = skip_autolink(text, at, end);
        is_atom = *next > at;
        *next += !is_atom;
        break;
    default:
        break;
    }
    return is_atom ? pith__spans_push(&md->atoms, md->mem, at, *next, PITH__SPAN_WORD, md->err)
                   : PITH_OK;
}

pith_status pith__markdown_inline(pith__markdown *md, size_t start, size_t end)
{
    size_t last[MOST_BACKTICKS + 1];
    find_last_runs(md->text, start, end, last);
    md->bracket_count = 0;
    for (size_t at = start; at < end;) {
        PITH__TRY(read_inline(md, at, end, last, &at));
    }
    return PITH_OK;
}

/* ---- markers ------------------------------------------------------------------------------------------ */

/* Goes through the text and its atoms. */
typedef struct joiner {
    const pith__markdown *md;
    pith__structure *out;
    size_t next_atom; /* index of the first atom that is still to come */
    pith__span group; /* what hangs together so far */
    bool has_group;
    bool is_atom; /* an atom is part of it */
} joiner;

static pith_status flush(joiner *j)
{
    const pith__span *g = &j->group;
    const pith__markdown *md = j->md;
    if (!j->has_group) {
        return PITH_OK;
    }
    j->has_group = false;
    if (j->is_atom) {
        return pith__spans_push(&j->out->atoms, md->mem, g->start, g->end, PITH__SPAN_WORD,
                                md->err);
    }
    if (g->end - g->start > LONGEST_JOINED) {
        return PITH_OK;
    }
    return pith__spans_push(&j->out->joined, md->mem, g->start, g->end, PITH__SPAN_WORD, md->err);
}

/* Adds [start, end) to what it shares bytes with; starts never go down. */
static pith_status join(joiner *j, size_t start, size_t end, bool is_atom)
{
    const bool is_long = !j->is_atom && j->group.end - j->group.start > LONGEST_JOINED;
    if (j->has_group && start < j->group.end && !is_long) {
        j->group.end = end > j->group.end ? end : j->group.end;
        j->is_atom = j->is_atom || is_atom;
        return PITH_OK;
    }
    PITH__TRY(flush(j));
    j->group = (pith__span){start, end, PITH__SPAN_WORD};
    j->has_group = true;
    j->is_atom = is_atom;
    return PITH_OK;
}

static size_t atom_start(const joiner *j)
{
    const pith__spans *atoms = &j->md->atoms;
    return j->next_atom < atoms->count ? atoms->items[j->next_atom].start : j->md->size;
}

static bool is_marker(const pith__markdown *md, size_t at)
{
    const char byte = md->text[at];
    return byte == '*' || byte == '_' ||
           (byte == '~' && ((at > 0 && md->text[at - 1] == '~') ||
                            (at + 1 < md->size && md->text[at + 1] == '~')));
}

static size_t skip_markers(const joiner *j, size_t at)
{
    const size_t end = atom_start(j);
    while (at < end && is_marker(j->md, at)) {
        at++;
    }
    return at;
}

/* The end of the word at `at`: white space, markers and atoms end it, and letters that are words. */
static size_t skip_word(const joiner *j, size_t at)
{
    const pith__markdown *md = j->md;
    const size_t start = at;
    const size_t end = atom_start(j);
    while (at < end && !is_space(md->text[at]) && !is_marker(md, at)) {
        uint32_t code_point = 0;
        const size_t length =
            is_escape(md->text, at, end) ? 2 : pith__utf8_decode(md->text, end, at, &code_point);
        if (pith__is_unspaced(code_point)) {
            return at > start ? at : at + length;
        }
        at += length;
    }
    return at;
}

/* The end of what a marker before `at` belongs to, the first byte if that is an atom; else `at`. */
static size_t skip_partner(const joiner *j, size_t at)
{
    if (at == j->md->size) {
        return at;
    }
    if (at == atom_start(j)) {
        return at + 1;
    }
    const size_t markers = skip_markers(j, at);
    return markers > at ? markers : skip_word(j, at);
}

/* The markers that the line at *at begins with; *at moves behind them. */
static pith_status join_prefix(joiner *j, size_t *at)
{
    const pith__markdown *md = j->md;
    const size_t end = pith__markdown_line_end(md->text, md->size, *at);
    const pith__line_prefix prefix = pith__markdown_prefix(md->text, *at, end);
    if (prefix.content > atom_start(j) || prefix.end == prefix.start) {
        return PITH_OK;
    }
    *at = prefix.content;
    const size_t partner = prefix.content < end ? skip_partner(j, prefix.content) : prefix.end;
    return partner - prefix.start > 1 ? join(j, prefix.start, partner, false) : PITH_OK;
}

/* What stands beside a run of markers. */
typedef enum side { SIDE_SPACE = 0, SIDE_PUNCTUATION, SIDE_WORD } side;

static side classify(uint32_t code_point)
{
    static const struct {
        uint32_t first;
        uint32_t last;
    } punctuation[] = {{'!', '/'},       {':', '@'},       {'[', '`'},       {'{', '~'},
                       {0xa1, 0xa9},     {0xab, 0xb1},     {0xb6, 0xb8},     {0xbb, 0xbf},
                       {0x2010, 0x2027}, {0x2030, 0x205e}, {0x3001, 0x3003}, {0x3008, 0x301f},
                       {0xff01, 0xff0f}, {0xff1a, 0xff20}, {0xff3b, 0xff40}, {0xff5b, 0xff65}};
    for (size_t i = 0; i < sizeof punctuation / sizeof punctuation[0]; i++) {
        if (code_point >= punctuation[i].first && code_point <= punctuation[i].last) {
            return SIDE_PUNCTUATION;
        }
    }
    return SIDE_WORD;
}

/* What ends at `at`, `word` being where that begins, or NOWHERE. */
static side look_back(const joiner *j, size_t at, size_t word)
{
    const pith__markdown *md = j->md;
    uint32_t code_point = 0;
    if (word == NOWHERE) {
        return SIDE_SPACE;
    }
    (void)pith__utf8_decode_before(md->text, md->size, at, &code_point);
    const bool is_atom = j->next_atom > 0 && md->atoms.items[j->next_atom - 1].end == at;
    return is_atom ? SIDE_WORD : classify(code_point);
}

static side look_ahead(const joiner *j, size_t at)
{
    const pith__markdown *md = j->md;
    uint32_t code_point = 0;
    if (at == md->size || is_space(md->text[at])) {
        return SIDE_SPACE;
    }
    (void)pith__utf8_decode(md->text, md->size, at, &code_point);
    return at == atom_start(j) ? SIDE_WORD : classify(code_point);
}

/*
 * A run of markers at *at, or a word; *word is where the word begins that ends at *at, or NOWHERE.
 * A run is joined with the word after it if it may open emphasis by the rules of CommonMark, and
 * with the one before it if it may close some.
 */
static pith_status join_run(joiner *j, size_t *at, size_t *word)
{
    const size_t start = *at;
    const size_t run = skip_markers(j, start);
    if (run == start) {
        *at = skip_word(j, start);
        *word = start;
        return PITH_OK;
    }
    const side before = look_back(j, start, *word);
    const side after = look_ahead(j, run);
    const bool opens = after != SIDE_SPACE && (after == SIDE_WORD || before != SIDE_WORD);
    const bool closes = before != SIDE_SPACE && (before == SIDE_WORD || after != SIDE_WORD);
    const size_t from = closes ? *word : start;
    const size_t to = opens ? skip_partner(j, run) : run;
    *at = run;
    *word = NOWHERE;
    return opens || closes ? join(j, from, to, false) : PITH_OK;
}

pith_status pith__markdown_join(const pith__markdown *md, pith__structure *out)
{
    joiner j = {.md = md, .out = out};
    size_t word = NOWHERE;
    bool is_line_start = true;
    for (size_t at = 0; at < md->size;) {
        if (at == atom_start(&j)) {
            const pith__span *atom = &md->atoms.items[j.next_atom++];
            PITH__TRY(join(&j, atom->start, atom->end, true));
            at = atom->end;
            is_line_start = is_one_of(md->text[at - 1], "\n\r");
            word = is_line_start ? NOWHERE : atom->start;
        } else if (is_line_start) {
            is_line_start = false;
            PITH__TRY(join_prefix(&j, &at));
        } else if (is_space(md->text[at])) {
            is_line_start = is_one_of(md->text[at], "\n\r");
            word = NOWHERE;
            at++;
        } else {
            PITH__TRY(join_run(&j, &at, &word));
        }
    }
    return flush(&j);
}
