/*
 * json.c: JSON as of RFC 8259 read into byte ranges, and which of its strings may be shortened.
 */
#include "structure/structure_internal.h"

#include <math.h>
#include <string.h>

enum {
    DEEPEST = 512,   /* arrays and objects in one another */
    WORD = 2,        /* what a word weighs, */
    UNSPACED = 1,    /* a letter of a script that writes without spaces, */
    PROSE = 4 * WORD /* and a string that is prose */
};

/* ---- scanning --------------------------------------------------------------------------------------- */

typedef struct parser {
    pith__json *doc;
    size_t at;
    size_t end; /* of the text, or of the line */
    size_t depth;
    const pith_allocator *mem;
    pith_error *err;
} parser;

static pith_status fail(const parser *p, const char *what)
{
    return pith__fail_at(p->err, PITH_E_SYNTAX, p->at, "JSON: %s", what);
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static void skip_space(parser *p)
{
    while (p->at < p->end && is_space(p->doc->text[p->at])) {
        p->at++;
    }
}

static bool take(parser *p, char byte)
{
    const bool found = p->at < p->end && p->doc->text[p->at] == byte;
    p->at += found;
    return found;
}

static size_t take_digits(parser *p)
{
    const size_t start = p->at;
    while (p->at < p->end && is_digit(p->doc->text[p->at])) {
        p->at++;
    }
    return p->at - start;
}

static pith_status push_node(parser *p, pith__json_kind kind, size_t start)
{
    pith__json *doc = p->doc;
    PITH__TRY(pith__grow(p->mem, &doc->nodes, &doc->capacity, doc->count + 1, sizeof *doc->nodes,
                         p->err));
    doc->nodes[doc->count] = (pith__json_node){kind, start, p->at, doc->count + 1};
    doc->count++;
    return PITH_OK;
}

/* The four hexadecimal digits at `at`, or UINT32_MAX. */
static uint32_t read_hex(const char *text, size_t end, size_t at)
{
    uint32_t value = 0;
    if (end - at < 4) {
        return UINT32_MAX;
    }
    for (size_t i = 0; i < 4; i++) {
        const char byte = text[at + i];
        const char lower = (char)(byte | 0x20);
        if (is_digit(byte)) {
            value = value * 16 + (uint32_t)(byte - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            value = value * 16 + (uint32_t)(lower - 'a') + 10;
        } else {
            return UINT32_MAX;
        }
    }
    return value;
}

/*
 * The length of the escape at `at`, a surrogate pair being one, and what it stands for; 0 if it is
 * none. The grammar of RFC 8259 has surrogates without a partner, so they are read too.
 */
static size_t read_escape(const char *text, size_t end, size_t at, uint32_t *code_point)
{
    static const char letters[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";
    if (end - at < 2) {
        return 0;
    }
    if (text[at + 1] != 'u') {
        const char *found = memchr(letters, text[at + 1], sizeof letters - 1);
        *code_point = found == NULL ? 0 : (unsigned char)meanings[found - letters];
        return found == NULL ? 0 : 2;
    }
    const uint32_t high = read_hex(text, end, at + 2);
    if (high == UINT32_MAX) {
        return 0;
    }
    *code_point = high;
    if (high < 0xd800 || high > 0xdbff || end - at < 8 || text[at + 6] != '\\' ||
        text[at + 7] != 'u') {
        return 6;
    }
    const uint32_t low = read_hex(text, end, at + 8);
    if (low < 0xdc00 || low > 0xdfff) {
        return 6;
    }
    *code_point = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    return 12;
}

static pith_status parse_string(parser *p)
{
    const char *text = p->doc->text;
    const size_t start = p->at;
    if (!take(p, '"')) {
        return fail(p, "expected a string");
    }
    while (p->at < p->end && text[p->at] != '"') {
        uint32_t code_point = 0;
        const size_t length = text[p->at] == '\\'
                                  ? read_escape(text, p->end, p->at, &code_point)
                                  : pith__utf8_decode(text, p->end, p->at, &code_point);
        if (length == 0) {
            return fail(p, "no such escape");
        }
        if (code_point == PITH__UTF8_INVALID) {
            return fail(p, "a string is not UTF-8");
        }
        if ((unsigned char)text[p->at] < 0x20) {
            return fail(p, "a control character in a string");
        }
        p->at += length;
    }
    if (!take(p, '"')) {
        p->at = start;
        return fail(p, "the string has no end");
    }
    return push_node(p, PITH__JSON_STRING, start);
}

static pith_status parse_number(parser *p)
{
    const size_t start = p->at;
    (void)take(p, '-');
    if (!take(p, '0') && take_digits(p) == 0) {
        return fail(p, "expected a value");
    }
    if (take(p, '.') && take_digits(p) == 0) {
        return fail(p, "expected digits after the point");
    }
    if (take(p, 'e') || take(p, 'E')) {
        if (!take(p, '+')) {
            (void)take(p, '-');
        }
        if (take_digits(p) == 0) {
            return fail(p, "expected digits in the exponent");
        }
    }
    return push_node(p, PITH__JSON_OTHER, start);
}

static pith_status parse_literal(parser *p, const char *literal)
{
    const size_t start = p->at;
    const size_t length = strlen(literal);
    if (p->end - p->at < length || memcmp(p->doc->text + p->at, literal, length) != 0) {
        return fail(p, "expected a value");
    }
    p->at += length;
    return push_node(p, PITH__JSON_OTHER, start);
}

static pith_status parse_container(parser *p);

/* A value and the white space around it. */
static pith_status parse_value(parser *p)
{
    skip_space(p);
    pith_status status = PITH_OK;
    switch (p->at < p->end ? p->doc->text[p->at] : '\0') {
    case '{':
    case '[':
        status = parse_container(p);
        break;
    case '"':
        status = parse_string(p);
        break;
    case 't':
        status = parse_literal(p, "true");
        break;
    case 'f':
        status = parse_literal(p, "false");
        break;
    case 'n':
        status = parse_literal(p, "null");
        break;
    default:
        status = parse_number(p);
        break;
    }
    skip_space(p);
    return status;
}

static pith_status parse_key(parser *p)
{
    skip_space(p);
    PITH__TRY(parse_string(p));
    skip_space(p);
    return take(p, ':') ? PITH_OK : fail(p, "expected ':'");
}

/* An array or object; at most DEEPEST calls of it are under way. */
static pith_status parse_container(parser *p)
{
    pith__json *doc = p->doc;
    const bool is_object = doc->text[p->at] == '{';
    const char closing = is_object ? '}' : ']';
    const size_t index = doc->count;
    if (p->depth == DEEPEST) {
        return pith__fail_at(p->err, PITH_E_UNSUPPORTED, p->at, "JSON: nests deeper than %d",
                             DEEPEST);
    }
    PITH__TRY(push_node(p, is_object ? PITH__JSON_OBJECT : PITH__JSON_ARRAY, p->at));
    p->at++;
    p->depth++;
    skip_space(p);
    if (!take(p, closing)) {
        do {
            PITH__TRY(is_object ? parse_key(p) : PITH_OK);
            PITH__TRY(parse_value(p));
        } while (take(p, ','));
        if (!take(p, closing)) {
            return fail(p, is_object ? "expected ',' or '}'" : "expected ',' or ']'");
        }
    }
    p->depth--;
    doc->nodes[index].end = p->at;
    doc->nodes[index].next = doc->count;
    return PITH_OK;
}

/* The bytes [start, end) as one value. */
static pith_status parse_whole(parser *p, size_t start, size_t end)
{
    p->at = start;
    p->end = end;
    p->depth = 0;
    PITH__TRY(parse_value(p));
    return p->at == end ? PITH_OK : fail(p, "expected nothing after the value");
}

/* A value on every line that is not blank; *values counts them. */
static pith_status parse_lines(parser *p, size_t size, size_t *values)
{
    const char *text = p->doc->text;
    *values = 0;
    for (size_t start = 0; start < size;) {
        const char *line_break = memchr(text + start, '\n', size - start);
        const size_t end = line_break == NULL ? size : (size_t)(line_break - text);
        size_t at = start;
        while (at < end && is_space(text[at])) {
            at++;
        }
        if (at < end) {
            PITH__TRY(parse_whole(p, at, end));
            ++*values;
        }
        start = end + 1;
    }
    return PITH_OK;
}

pith_status pith__json_parse(const char *text, size_t size, const pith_allocator *mem,
                             pith__json *out, pith_error *err)
{
    *out = (pith__json){.text = text};
    pith_error as_value;
    pith_error as_lines;
    parser p = {.doc = out, .mem = mem, .err = &as_value};
    pith_status status = parse_whole(&p, 0, size);
    const pith_error *why = &as_value;
    if (status == PITH_E_SYNTAX) {
        size_t values = 0;
        out->count = 0;
        p.err = &as_lines;
        const pith_status other = parse_lines(&p, size, &values);
        /* JSON Lines have a value on the first line at least; else the first reading says more */
        if (values > 0 || other == PITH_E_MEMORY) {
            status = other;
            why = &as_lines;
        }
    }
    if (status != PITH_OK) {
        pith__json_deinit(out, mem);
        return pith__fail_at(err, status, why->offset, "%s", why->message);
    }
    return PITH_OK;
}

void pith__json_deinit(pith__json *doc, const pith_allocator *mem)
{
    pith__free(mem, doc->nodes, doc->capacity, sizeof *doc->nodes);
    *doc = (pith__json){0};
}

/* ---- looking things up --------------------------------------------------------------------------------- */

bool pith__json_is_document(const pith__json *doc)
{
    for (size_t i = 0; i < doc->count; i = doc->nodes[i].next) {
        const pith__json_kind kind = doc->nodes[i].kind;
        if (kind != PITH__JSON_ARRAY && kind != PITH__JSON_OBJECT) {
            return false;
        }
    }
    return true;
}

static size_t encode_utf8(uint32_t code_point, char out[4])
{
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t length = 4;
    if (code_point < 0x80) {
        length = 1;
    } else if (code_point < 0x800) {
        length = 2;
    } else if (code_point < 0x10000) {
        length = 3;
    }
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code_point & 0x3f));
        code_point >>= 6;
    }
    out[0] = (char)(length == 1 ? code_point : first[length] | code_point);
    return length;
}

/* True if `key` goes on with the string at key[*at]; then *at is where that ends. */
static bool take_string(const pith__json *doc, const pith__json_node *string, const char *key,
                        size_t *at)
{
    for (size_t i = string->start + 1; i < string->end - 1;) {
        char bytes[4] = {doc->text[i]};
        size_t length = 1;
        if (bytes[0] == '\\') {
            uint32_t code_point = 0;
            i += read_escape(doc->text, string->end - 1, i, &code_point);
            length = encode_utf8(code_point, bytes);
        } else {
            i++;
        }
        /* no key has a NUL, but a string may */
        if (bytes[0] == '\0' || strncmp(key + *at, bytes, length) != 0) {
            return false;
        }
        *at += length;
    }
    return true;
}

bool pith__json_equals(const pith__json *doc, size_t node, const char *value)
{
    size_t at = 0;
    return doc->nodes[node].kind == PITH__JSON_STRING &&
           take_string(doc, &doc->nodes[node], value, &at) && value[at] == '\0';
}

size_t pith__json_member(const pith__json *doc, size_t object, const char *name)
{
    size_t found = PITH__JSON_NONE;
    const size_t end = doc->nodes[object].next;
    for (size_t key = object + 1; key < end; key = doc->nodes[key + 1].next) {
        if (pith__json_equals(doc, key, name)) {
            found = key + 1;
        }
    }
    return found;
}

/* ---- strings that may be shortened ------------------------------------------------------------------------ */

pith_status pith__json_add_string(const pith__json *doc, size_t node, double rate,
                                  const pith_allocator *mem, pith__structure *out, pith_error *err)
{
    const size_t start = doc->nodes[node].start + 1;
    const size_t end = doc->nodes[node].end - 1;
    PITH__TRY(pith__segments_push(&out->segments, mem, start, end, rate, err));
    for (size_t at = start; at < end;) {
        const char *found = memchr(doc->text + at, '\\', end - at);
        if (found == NULL) {
            break;
        }
        at = (size_t)(found - doc->text);
        uint32_t code_point = 0;
        const size_t length = read_escape(doc->text, end, at, &code_point);
        PITH__TRY(pith__spans_push(&out->joined, mem, at, at + length, PITH__SPAN_WORD, err));
        at += length;
    }
    return PITH_OK;
}

static bool is_letter(uint32_t code_point)
{
    const uint32_t lower = code_point | 0x20;
    return code_point >= 0x80 || (lower >= 'a' && lower <= 'z');
}

bool pith__json_is_prose(const pith__json *doc, size_t index)
{
    const pith__json_node *string = &doc->nodes[index];
    const size_t end = string->end - 1;
    size_t weight = 0;
    bool in_word = false; /* a letter was seen since the last white space */
    for (size_t at = string->start + 1; at < end && weight < PROSE;) {
        uint32_t code_point = 0;
        at += doc->text[at] == '\\' ? read_escape(doc->text, end, at, &code_point)
                                    : pith__utf8_decode(doc->text, end, at, &code_point);
        if (code_point <= ' ' || code_point == 0xa0 || code_point == 0x3000) {
            in_word = false;
        } else if (pith__is_unspaced(code_point)) {
            weight += UNSPACED;
        } else if (is_letter(code_point) && !in_word) {
            in_word = true;
            weight += WORD;
        }
    }
    return weight >= PROSE;
}

typedef struct walker {
    const pith__json *doc;
    const pith__structure_options *options;
    const pith_allocator *mem;
    pith__structure *out;
    pith_error *err;
    const pith__json_node *names[DEEPEST]; /* of the members around, outermost first */
} walker;

/* True if `key` is the name of the innermost of `depth` members, or the path to it. */
static bool fits(const walker *w, size_t depth, const char *key)
{
    size_t at = 0;
    if (take_string(w->doc, w->names[depth - 1], key, &at) && key[at] == '\0') {
        return true;
    }
    at = 0;
    for (size_t i = 0; i < depth; i++) {
        if ((i > 0 && key[at++] != '.') || !take_string(w->doc, w->names[i], key, &at)) {
            return false;
        }
    }
    return key[at] == '\0';
}

/* The number, from 1, of the last entry that fits the member or, that being `around`, one around it. */
static size_t find_entry(const walker *w, size_t depth, size_t around)
{
    size_t entry = w->options->key_count;
    while (entry > around && !fits(w, depth, w->options->keys[entry - 1].key)) {
        entry--;
    }
    return entry;
}

/* The strings in a value that lies in `depth` members, `entry` of the key rates being for it, or 0. */
static pith_status walk(walker *w, size_t index, size_t depth, size_t entry)
{
    const pith__json_node *node = &w->doc->nodes[index];
    const double rate = entry > 0 ? w->options->keys[entry - 1].rate : (double)NAN;
    switch (node->kind) {
    case PITH__JSON_STRING:
        if (entry > 0 ? rate >= 1.0 : !pith__json_is_prose(w->doc, index)) {
            return PITH_OK;
        }
        return pith__json_add_string(w->doc, index, rate, w->mem, w->out, w->err);
    case PITH__JSON_ARRAY:
        for (size_t i = index + 1; i < node->next; i = w->doc->nodes[i].next) {
            PITH__TRY(walk(w, i, depth, entry));
        }
        return PITH_OK;
    case PITH__JSON_OBJECT:
        for (size_t i = index + 1; i < node->next; i = w->doc->nodes[i + 1].next) {
            w->names[depth] = &w->doc->nodes[i];
            PITH__TRY(walk(w, i + 1, depth + 1, find_entry(w, depth + 1, entry)));
        }
        return PITH_OK;
    case PITH__JSON_OTHER:
        break;
    }
    return PITH_OK;
}

pith_status pith__json_read(const pith__json *doc, const pith__structure_options *options,
                            const pith_allocator *mem, pith__structure *out, pith_error *err)
{
    walker w = {.doc = doc, .options = options, .mem = mem, .out = out, .err = err};
    for (size_t i = 0; i < doc->count; i = doc->nodes[i].next) {
        PITH__TRY(walk(&w, i, 0, 0));
    }
    return PITH_OK;
}
