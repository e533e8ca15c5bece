/*
 * markdown.c: the blocks of Markdown: CommonMark's, with the tables of GitHub and front matter.
 *
 * Closer to how prompts are written than to the letter where the two differ: fences may be
 * indented, a setext heading has one line, and a line that is one unknown tag, "<context>", is an
 * atom by itself, where CommonMark takes all up to the next empty line for HTML.
 */
#include "structure/structure_internal.h"

#include <string.h>

enum {
    LEAST_FENCE = 3, /* backticks or tildes */
    LEAST_BREAK = 3,
    LEAST_UNDERLINE = 2, /* of a setext heading; CommonMark's "-" alone is rather an empty item */
    MOST_HASHES = 6,
    MOST_INDENT = 3, /* of headings, HTML and definitions; more is code */
    MOST_DIGITS = 9, /* of a list number */
    LONGEST_NAME = 16
};

/* [start, end) and its line break, up to `next`. */
typedef struct line {
    size_t start;
    size_t end;
    size_t next;
    pith__line_prefix prefix;
} line;

typedef enum state {
    IN_TEXT = 0,
    IN_FENCE,
    IN_TABLE,
    IN_HTML,    /* up to an empty line */
    IN_COMMENT, /* up to "-->" */
    IN_RAW      /* up to "</name" */
} state;

typedef struct blocks {
    pith__markdown md;
    state state;
    size_t block;     /* where the open fence or HTML block begins */
    size_t paragraph; /* where the open paragraph begins */
    size_t lines;     /* of it */
    line previous;    /* the last of them */
    char list;        /* the marker of the list that may go on, or 0 */
    char fence;       /* '`' or '~' */
    size_t fence_length;
    bool fence_is_quoted;
    char name[LONGEST_NAME]; /* IN_RAW */
} blocks;

/* ---- lines ---------------------------------------------------------------------------------------- */

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t';
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static char to_lower(char byte)
{
    if (byte >= 'A' && byte <= 'Z') {
        return (char)(byte | 0x20);
    }
    return byte;
}

static bool is_alpha(char byte)
{
    return to_lower(byte) >= 'a' && to_lower(byte) <= 'z';
}

static size_t skip_blanks(const char *text, size_t at, size_t end)
{
    while (at < end && is_blank(text[at])) {
        at++;
    }
    return at;
}

static size_t skip_run(const char *text, size_t at, size_t end, char byte)
{
    while (at < end && text[at] == byte) {
        at++;
    }
    return at;
}

/* Where the blanks at the end of [start, end) begin. */
static size_t trim(const char *text, size_t start, size_t end)
{
    while (end > start && is_blank(text[end - 1])) {
        end--;
    }
    return end;
}

size_t pith__markdown_line_end(const char *text, size_t size, size_t at)
{
    while (at < size && text[at] != '\n' && text[at] != '\r') {
        at++;
    }
    return at;
}

static line read_line(const char *text, size_t size, size_t at)
{
    line l = {.start = at, .end = pith__markdown_line_end(text, size, at)};
    l.next = l.end < size ? l.end + 1 : size;
    if (l.next < size && text[l.end] == '\r' && text[l.next] == '\n') {
        l.next++;
    }
    l.prefix = pith__markdown_prefix(text, l.start, l.end);
    return l;
}

/* ---- markers ---------------------------------------------------------------------------------------- */

/* The end of a list marker at `at`, with its kind in *list, or `at`. */
static size_t skip_list_marker(const char *text, size_t at, size_t end, char *list)
{
    size_t marker = at;
    if (text[at] == '-' || text[at] == '*' || text[at] == '+') {
        marker = at + 1;
    } else {
        while (marker < end && is_digit(text[marker]) && marker - at < MOST_DIGITS) {
            marker++;
        }
        const bool is_number =
            marker > at && marker < end && (text[marker] == '.' || text[marker] == ')');
        marker = is_number ? marker + 1 : at;
    }
    if (marker == at || (marker < end && !is_blank(text[marker]))) {
        return at;
    }
    *list = text[marker - 1];
    return marker;
}

/* The end of "[ ]", "[x]" (a task) or "[^name]:" (a footnote) at `at`, or `at`. */
static size_t skip_box(const char *text, size_t at, size_t end, bool in_list)
{
    if (end - at < 3 || text[at] != '[') {
        return at;
    }
    if (text[at + 1] == '^') {
        size_t close = at + 2;
        while (close < end && text[close] != ']' && text[close] != '[' && !is_blank(text[close])) {
            close++;
        }
        const bool is_footnote =
            close > at + 2 && end - close > 1 && text[close] == ']' && text[close + 1] == ':';
        return is_footnote ? close + 2 : at;
    }
    const bool is_task = in_list && (text[at + 1] == ' ' || to_lower(text[at + 1]) == 'x') &&
                         text[at + 2] == ']' && (end - at == 3 || is_blank(text[at + 3]));
    return is_task ? at + 3 : at;
}

pith__line_prefix pith__markdown_prefix(const char *text, size_t start, size_t end)
{
    pith__line_prefix prefix = {0};
    size_t at = skip_blanks(text, start, end);
    prefix.indent = at - start;
    prefix.start = at;
    prefix.end = at;
    while (at < end) {
        size_t marker = at;
        if (text[at] == '>') {
            prefix.is_quoted = true;
            marker++;
        } else {
            marker = skip_list_marker(text, at, end, &prefix.list);
        }
        if (marker == at) {
            break;
        }
        prefix.end = marker;
        at = skip_blanks(text, marker, end);
    }
    const size_t box = at < end ? skip_box(text, at, end, prefix.list != 0) : at;
    if (box > at) {
        prefix.end = box;
        at = skip_blanks(text, box, end);
    }
    prefix.content = at;
    return prefix;
}

/* ---- paragraphs ------------------------------------------------------------------------------------ */

/* Ends the paragraph before `stop`; the next one begins at `next`. */
static pith_status end_paragraph(blocks *b, size_t stop, size_t next)
{
    const size_t start = b->paragraph;
    b->paragraph = next;
    b->lines = 0;
    return start < stop ? pith__markdown_inline(&b->md, start, stop) : PITH_OK;
}

static pith_status push_atom(blocks *b, size_t start, size_t end)
{
    return pith__spans_push(&b->md.atoms, b->md.mem, start, end, PITH__SPAN_WORD, b->md.err);
}

/* The lines [start, end) as an atom. */
static pith_status take_lines(blocks *b, size_t start, size_t end)
{
    PITH__TRY(end_paragraph(b, start, end));
    return push_atom(b, start, end);
}

/* ---- fences ------------------------------------------------------------------------------------------ */

static bool open_fence(blocks *b, const line *l)
{
    const char *text = b->md.text;
    const size_t at = l->prefix.content;
    if (at == l->end || (text[at] != '`' && text[at] != '~')) {
        return false;
    }
    const size_t rest = skip_run(text, at, l->end, text[at]);
    /* "```a```" is a code span: a fence of backticks has none after it */
    if (rest - at < LEAST_FENCE ||
        (text[at] == '`' && memchr(text + rest, '`', l->end - rest) != NULL)) {
        return false;
    }
    b->fence = text[at];
    b->fence_length = rest - at;
    b->fence_is_quoted = l->prefix.is_quoted;
    return true;
}

static bool closes_fence(const blocks *b, const line *l)
{
    const char *text = b->md.text;
    size_t at = skip_blanks(text, l->start, l->end);
    while (b->fence_is_quoted && at < l->end && text[at] == '>') {
        at = skip_blanks(text, at + 1, l->end);
    }
    const size_t rest = skip_run(text, at, l->end, b->fence);
    return rest - at >= b->fence_length && skip_blanks(text, rest, l->end) == l->end;
}

/* ---- headings, definitions --------------------------------------------------------------------------- */

static bool is_heading(const blocks *b, const line *l)
{
    const size_t at = l->prefix.content;
    const size_t rest = skip_run(b->md.text, at, l->end, '#');
    return l->prefix.indent <= MOST_INDENT && rest > at && rest - at <= MOST_HASHES &&
           (rest == l->end || is_blank(b->md.text[rest]));
}

/* A row of "=" or "-" under a paragraph of one line without markers. */
static bool is_underline(const blocks *b, const line *l)
{
    const char *text = b->md.text;
    const size_t at = l->prefix.start;
    if (b->lines != 1 || b->previous.prefix.end > b->previous.prefix.start ||
        l->prefix.indent > MOST_INDENT || (text[at] != '=' && text[at] != '-')) {
        return false;
    }
    const size_t rest = skip_run(text, at, l->end, text[at]);
    return rest - at >= LEAST_UNDERLINE && skip_blanks(text, rest, l->end) == l->end;
}

/* A line of nothing but one of "-*_=", three or more: a break between paragraphs. */
static bool is_break(const blocks *b, const line *l)
{
    const char *text = b->md.text;
    const size_t at = l->prefix.content;
    const size_t rest = skip_run(text, at, l->end, text[at]);
    return rest - at >= LEAST_BREAK && strchr("-*_=", text[at]) != NULL && text[at] != '\0' &&
           skip_blanks(text, rest, l->end) == l->end;
}

/* "[label]: destination" */
static bool is_definition(const blocks *b, const line *l)
{
    const char *text = b->md.text;
    const size_t at = l->prefix.content;
    if (l->prefix.indent > MOST_INDENT || text[at] != '[') {
        return false;
    }
    size_t close = at + 1;
    while (close < l->end && text[close] != ']' && text[close] != '[') {
        close += text[close] == '\\' ? 2 : 1;
    }
    return close < l->end && close > at + 1 && text[close] == ']' && l->end - close > 2 &&
           text[close + 1] == ':' && skip_blanks(text, close + 2, l->end) < l->end;
}

/* ---- tables ---------------------------------------------------------------------------------------------- */

/* The cells of a row, [*start, *end) being what is between its outer bars. */
static size_t count_cells(const char *text, size_t start, size_t end)
{
    end = trim(text, start, end);
    start = start < end && text[start] == '|' ? start + 1 : start;
    size_t cells = 1;
    for (size_t at = start; at < end; at++) {
        if (text[at] == '\\') {
            at++;
        } else if (text[at] == '|' && at + 1 < end) {
            cells++;
        }
    }
    return cells;
}

/* The cells of the row that rules a table, "|---|:-:|", or 0 if the line is none. */
static size_t count_rules(const char *text, const line *l)
{
    const size_t end = trim(text, l->prefix.content, l->end);
    size_t at = l->prefix.content;
    size_t cells = 0;
    bool has_bar = at < end && text[at] == '|';
    at += has_bar;
    while (at < end) {
        at = skip_blanks(text, at, end);
        at += at < end && text[at] == ':';
        const size_t dashes = skip_run(text, at, end, '-');
        if (dashes == at) {
            return 0;
        }
        at = dashes + (dashes < end && text[dashes] == ':');
        at = skip_blanks(text, at, end);
        if (at < end && text[at] != '|') {
            return 0;
        }
        has_bar = has_bar || at < end;
        at++;
        cells++;
    }
    return has_bar ? cells : 0;
}

static bool rules_table(const blocks *b, const line *l)
{
    const size_t cells = count_rules(b->md.text, l);
    return cells > 0 && b->lines > 0 &&
           count_cells(b->md.text, b->previous.prefix.content, b->previous.end) == cells;
}

static bool is_row(const blocks *b, const line *l)
{
    const size_t at = l->prefix.content;
    return l->prefix.list == 0 && !is_heading(b, l) &&
           memchr(b->md.text + at, '|', l->end - at) != NULL;
}

/* ---- HTML -------------------------------------------------------------------------------------------------- */

static bool is_listed(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* Elements that are blocks. */
static bool is_block_name(const char *name)
{
    static const char *const names[] = {
        "address", "article",  "aside",    "blockquote", "body",     "caption", "center",
        "col",     "dd",       "details",  "dialog",     "dir",      "div",     "dl",
        "dt",      "fieldset", "figure",   "figcaption", "footer",   "form",    "frame",
        "h1",      "h2",       "h3",       "h4",         "h5",       "h6",      "head",
        "header",  "hr",       "html",     "iframe",     "legend",   "li",      "link",
        "main",    "menu",     "nav",      "ol",         "optgroup", "option",  "p",
        "param",   "section",  "search",   "summary",    "table",    "tbody",   "td",
        "tfoot",   "th",       "thead",    "title",      "tr",       "track",   "ul",
        "base",    "basefont", "colgroup", "frameset",   "noframes"};
    return is_listed(name, names, sizeof names / sizeof names[0]);
}

/* Elements whose text is no Markdown, empty lines or not. */
static bool is_raw_name(const char *name)
{
    static const char *const names[] = {"pre", "script", "style", "textarea"};
    return is_listed(name, names, sizeof names / sizeof names[0]);
}

static bool is_name_byte(char byte, bool is_first)
{
    const bool is_sign = byte == '-' || byte == '_' || byte == '.' || byte == ':';
    return is_alpha(byte) || (!is_first && (is_digit(byte) || is_sign));
}

/* The name of the tag whose '<' is at `at`, in lower case; false if there is none. */
static bool read_name(const char *text, size_t at, size_t end, char name[LONGEST_NAME])
{
    size_t length = 0;
    at++;
    if (at < end && text[at] == '/') {
        at++;
    }
    for (; at < end && is_name_byte(text[at], length == 0); at++) {
        if (length < LONGEST_NAME - 1) {
            name[length++] = to_lower(text[at]);
        }
    }
    name[length] = '\0';
    const bool is_over = at == end || is_blank(text[at]) || text[at] == '>' || text[at] == '/';
    return length > 0 && is_over;
}

/* True if the line is one tag and nothing else. */
static bool is_lone_tag(const char *text, const line *l)
{
    const size_t at = l->prefix.content + 1;
    const char *close = memchr(text + at, '>', l->end - at);
    return close != NULL && memchr(text + at, '<', l->end - at) == NULL &&
           skip_blanks(text, (size_t)(close - text) + 1, l->end) == l->end;
}

/* True if `needle` (lower case) stands in [at, end). */
static bool has(const char *text, size_t at, size_t end, const char *needle)
{
    const size_t length = strlen(needle);
    for (; at < end && end - at >= length; at++) {
        size_t same = 0;
        while (same < length && to_lower(text[at + same]) == needle[same]) {
            same++;
        }
        if (same == length) {
            return true;
        }
    }
    return false;
}

/* True if an open HTML block ends with this line. */
static bool ends_html(const blocks *b, const line *l, size_t from)
{
    char closing[LONGEST_NAME + 2] = "</";
    switch (b->state) {
    case IN_COMMENT:
        return has(b->md.text, from, l->end, "-->");
    case IN_RAW:
        memcpy(closing + 2, b->name, sizeof b->name);
        return has(b->md.text, from, l->end, closing);
    case IN_TEXT:
    case IN_FENCE:
    case IN_TABLE:
    case IN_HTML:
        break;
    }
    return false;
}

/* The state that a line of HTML opens, or IN_TEXT. */
static state open_html(blocks *b, const line *l)
{
    const char *text = b->md.text;
    const size_t at = l->prefix.content;
    if (l->prefix.indent > MOST_INDENT || at == l->end || text[at] != '<') {
        return IN_TEXT;
    }
    if (l->end - at >= 4 && memcmp(text + at, "<!--", 4) == 0) {
        return IN_COMMENT;
    }
    if (l->end - at > 2 && text[at + 1] == '!' && is_alpha(text[at + 2])) {
        return IN_HTML; /* <!DOCTYPE html> */
    }
    if (!read_name(text, at, l->end, b->name)) {
        return IN_TEXT;
    }
    if (is_raw_name(b->name) && text[at + 1] != '/') {
        return IN_RAW;
    }
    return is_block_name(b->name) ? IN_HTML : IN_TEXT;
}

/* ---- blocks -------------------------------------------------------------------------------------------------- */

/* Opens a block that goes on over the lines to come. */
static pith_status open_block(blocks *b, const line *l, state opened)
{
    PITH__TRY(end_paragraph(b, l->start, l->start));
    b->state = opened;
    b->block = l->start;
    return PITH_OK;
}

/* Closes it before `end`. */
static pith_status close_block(blocks *b, size_t end)
{
    b->state = IN_TEXT;
    b->paragraph = end;
    return push_atom(b, b->block, end);
}

/*
 * Two items with nothing but their own text between them are evidence, unless they look like the
 * lines of this comment: programs are not Markdown.
 */
static void note_list(blocks *b, const line *l)
{
    const bool is_comment = l->prefix.list == '*' && l->prefix.indent % 2 == 1;
    if (l->prefix.list != 0 && !is_comment) {
        b->md.is_evident = b->md.is_evident || b->list == l->prefix.list;
        b->list = l->prefix.list;
    } else if (b->lines == 0 && l->prefix.indent == 0) {
        b->list = 0;
    }
}

/* A line that is an atom or opens one; *found is false if it is neither. */
static pith_status begin_special(blocks *b, const line *l, bool *found)
{
    *found = true;
    if (open_fence(b, l)) {
        b->md.is_evident = true;
        return open_block(b, l, IN_FENCE);
    }
    if (is_heading(b, l)) {
        b->md.is_evident = true;
        return take_lines(b, l->start, l->next);
    }
    if (rules_table(b, l)) {
        const size_t head = b->previous.start;
        b->md.is_evident = true;
        PITH__TRY(take_lines(b, head, l->next));
        b->state = IN_TABLE;
        return PITH_OK;
    }
    if (is_underline(b, l)) {
        b->lines = 0;
        return take_lines(b, b->paragraph, l->next);
    }
    const state html = open_html(b, l);
    if (html != IN_TEXT) {
        PITH__TRY(open_block(b, l, html));
        const size_t inside = l->prefix.content + (html == IN_COMMENT ? 4 : 1);
        return ends_html(b, l, inside) ? close_block(b, l->next) : PITH_OK;
    }
    char name[LONGEST_NAME];
    const bool is_tag = l->prefix.indent <= MOST_INDENT && b->md.text[l->prefix.content] == '<' &&
                        read_name(b->md.text, l->prefix.content, l->end, name) &&
                        is_lone_tag(b->md.text, l);
    if (is_tag || is_definition(b, l)) {
        return take_lines(b, l->start, l->next);
    }
    *found = false;
    return PITH_OK;
}

static pith_status read_text_line(blocks *b, const line *l)
{
    if (l->prefix.content == l->end) {
        return end_paragraph(b, l->start, l->next);
    }
    bool found = false;
    PITH__TRY(begin_special(b, l, &found));
    if (found) {
        return PITH_OK;
    }
    if (is_break(b, l)) {
        return end_paragraph(b, l->start, l->next);
    }
    if (l->prefix.list != 0) {
        PITH__TRY(end_paragraph(b, l->start, l->start));
    }
    note_list(b, l);
    b->lines++;
    b->previous = *l;
    return PITH_OK;
}

static pith_status read_block_line(blocks *b, const line *l)
{
    switch (b->state) {
    case IN_TEXT:
        break;
    case IN_FENCE:
        if (b->fence_is_quoted && !l->prefix.is_quoted) {
            PITH__TRY(close_block(b, l->start));
            break;
        }
        return closes_fence(b, l) ? close_block(b, l->next) : PITH_OK;
    case IN_TABLE:
        if (is_row(b, l)) {
            return take_lines(b, l->start, l->next);
        }
        b->state = IN_TEXT;
        break;
    case IN_HTML:
        if (l->prefix.content < l->end) {
            return PITH_OK;
        }
        PITH__TRY(close_block(b, l->start));
        break;
    case IN_COMMENT:
    case IN_RAW:
        return ends_html(b, l, l->start) ? close_block(b, l->next) : PITH_OK;
    }
    return read_text_line(b, l);
}

/* The end of the front matter, "---" up to "---" or "...", or 0. */
static size_t find_front_matter(const char *text, size_t size)
{
    for (size_t at = 0; at < size;) {
        const line l = read_line(text, size, at);
        const size_t length = trim(text, l.start, l.end) - l.start;
        const bool is_rule = length == 3 && memcmp(text + l.start, "---", 3) == 0;
        const bool is_dots = length == 3 && memcmp(text + l.start, "...", 3) == 0;
        if (at == 0 ? !is_rule : is_rule || is_dots) {
            return at == 0 ? 0 : l.next;
        }
        at = l.next;
    }
    return 0;
}

static pith_status read_blocks(blocks *b)
{
    pith__markdown *md = &b->md;
    const size_t front = find_front_matter(md->text, md->size);
    if (front > 0) {
        PITH__TRY(take_lines(b, 0, front));
    }
    for (size_t at = front; at < md->size;) {
        const line l = read_line(md->text, md->size, at);
        PITH__TRY(read_block_line(b, &l));
        at = l.next;
    }
    if (b->state == IN_TEXT || b->state == IN_TABLE) {
        return end_paragraph(b, md->size, md->size);
    }
    return close_block(b, md->size);
}

pith_status pith__markdown_read(const char *text, size_t size, const pith_allocator *mem,
                                pith__structure *out, bool *is_evident, pith_error *err)
{
    blocks b = {.md = {.text = text, .size = size, .mem = mem, .err = err}};
    pith_status status = read_blocks(&b);
    if (status == PITH_OK) {
        status = pith__markdown_join(&b.md, out);
    }
    if (is_evident != NULL) {
        *is_evident = b.md.is_evident;
    }
    pith__spans_deinit(&b.md.atoms, mem);
    pith__free(mem, b.md.brackets, b.md.bracket_capacity, sizeof *b.md.brackets);
    return status;
}
