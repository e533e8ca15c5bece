/*
 * lingua_tags.c: taking <llmlingua, rate=0.5, compress=False>...</llmlingua> out of a text.
 */
#include "structure/structure_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OPENING "<llmlingua"
#define CLOSING "</llmlingua>"

enum { LONGEST_NUMBER = 32, LONGEST_SHOWN = 32 };

/* A tag found in the source. */
typedef struct tag {
    size_t start; /* of its '<' */
    size_t end;
    bool closes;
    bool has_rate;
    bool has_compress;
    bool compress;
    double rate; /* NaN: not said */
} tag;

typedef struct stripper {
    const char *text;
    size_t size;
    const pith_allocator *mem;
    pith__lingua_tags *out;
    tag open;
    bool is_open;
    size_t from;   /* offset in the clean text of the last tag */
    size_t copied; /* source bytes done */
    pith_error *err;
} stripper;

/* ---- tags -------------------------------------------------------------------------------------------- */

static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static char to_lower(char byte)
{
    if (byte >= 'A' && byte <= 'Z') {
        return (char)(byte | 0x20);
    }
    return byte;
}

static bool starts_with(const stripper *s, size_t at, const char *prefix)
{
    const size_t length = strlen(prefix);
    return s->size - at >= length && memcmp(s->text + at, prefix, length) == 0;
}

/* True if [start, end) reads `word`, in any case. */
static bool is_word(const stripper *s, size_t start, size_t end, const char *word)
{
    for (; start < end && to_lower(s->text[start]) == *word && *word != '\0'; word++) {
        start++;
    }
    return start == end && *word == '\0';
}

/* The first tag at or after `at`; attributes are not read yet, `end` is where they begin. */
static bool find_tag(const stripper *s, size_t at, tag *found)
{
    while (at < s->size) {
        const char *bracket = memchr(s->text + at, '<', s->size - at);
        if (bracket == NULL) {
            return false;
        }
        at = (size_t)(bracket - s->text);
        const size_t end = at + sizeof OPENING - 1;
        *found = (tag){.start = at, .compress = true, .rate = (double)NAN};
        if (starts_with(s, at, CLOSING)) {
            found->end = at + sizeof CLOSING - 1;
            found->closes = true;
            return true;
        }
        /* "<llmlinguistics>" is another word */
        if (starts_with(s, at, OPENING) && (end == s->size || is_space(s->text[end]) ||
                                            s->text[end] == ',' || s->text[end] == '>')) {
            found->end = end;
            return true;
        }
        at++;
    }
    return false;
}

/* ---- attributes ---------------------------------------------------------------------------------------- */

/* The end of a name or value at `at`. */
static size_t skip_item(const stripper *s, size_t at)
{
    while (at < s->size && !is_space(s->text[at]) && strchr(",=<>", s->text[at]) == NULL) {
        at++;
    }
    return at;
}

static size_t skip_space(const stripper *s, size_t at)
{
    while (at < s->size && is_space(s->text[at])) {
        at++;
    }
    return at;
}

static pith_status fail_at(const stripper *s, size_t start, size_t end, const char *what)
{
    size_t shown = end - start < LONGEST_SHOWN ? end - start : LONGEST_SHOWN;
    while (!pith__utf8_is_boundary(s->text, s->size, start + shown)) {
        shown--;
    }
    return pith__fail_at(s->err, PITH_E_SYNTAX, start, OPENING ">: \"%.*s\" is %s", (int)shown,
                         s->text + start, what);
}

/* Digits, with a point or not, from 0 to 1. */
static pith_status read_rate(const stripper *s, size_t start, size_t end, tag *found)
{
    char digits[LONGEST_NUMBER];
    const size_t length = end - start;
    if (found->has_rate) {
        return fail_at(s, start, end, "a second rate");
    }
    if (length == 0 || length >= sizeof digits) {
        return fail_at(s, start, end, "not a rate");
    }
    memcpy(digits, s->text + start, length);
    digits[length] = '\0';
    const char *point = memchr(digits, '.', length);
    const size_t whole = strspn(digits, "0123456789");
    const size_t rest = point == NULL ? 0 : strspn(point + 1, "0123456789");
    if (whole + rest == 0 || whole + rest + (point != NULL) != length) {
        return fail_at(s, start, end, "not a rate");
    }
    const locale_t before = pith__locale_enter();
    found->rate = strtod(digits, NULL);
    pith__locale_leave(before);
    found->has_rate = true;
    return found->rate <= 1.0 ? PITH_OK : fail_at(s, start, end, "a rate above 1");
}

static pith_status read_compress(const stripper *s, size_t start, size_t end, tag *found)
{
    if (found->has_compress) {
        return fail_at(s, start, end, "a second word on compress");
    }
    found->has_compress = true;
    found->compress = is_word(s, start, end, "true");
    if (!found->compress && !is_word(s, start, end, "false")) {
        return fail_at(s, start, end, "neither True nor False");
    }
    return PITH_OK;
}

/* "name = value" at *at, which moves behind it. */
static pith_status read_attribute(const stripper *s, size_t *at, tag *found)
{
    const size_t name = *at;
    const size_t name_end = skip_item(s, name);
    const size_t equals = skip_space(s, name_end);
    const bool is_rate = is_word(s, name, name_end, "rate");
    if (!is_rate && !is_word(s, name, name_end, "compress")) {
        return fail_at(s, name, name_end > name ? name_end : name + 1, "no attribute of it");
    }
    if (equals == s->size || s->text[equals] != '=') {
        return fail_at(s, name, name_end, "without a value");
    }
    const size_t value = skip_space(s, equals + 1);
    *at = skip_item(s, value);
    if (*at == s->size) {
        return PITH_OK; /* the tag has no end, which is said of all of it */
    }
    return is_rate ? read_rate(s, value, *at, found) : read_compress(s, value, *at, found);
}

/* Reads on to the '>' of an opening tag. */
static pith_status read_attributes(const stripper *s, tag *found)
{
    size_t at = found->end;
    for (;;) {
        while (at < s->size && (is_space(s->text[at]) || s->text[at] == ',')) {
            at++;
        }
        if (at == s->size) {
            return pith__fail_at(s->err, PITH_E_SYNTAX, found->start, OPENING " without its '>'");
        }
        if (s->text[at] == '>') {
            found->end = at + 1;
            return PITH_OK;
        }
        PITH__TRY(read_attribute(s, &at, found));
    }
}

/* ---- text ---------------------------------------------------------------------------------------------- */

/* Copies the source up to `end`, which a tag or the end of the text follows. */
static pith_status copy_until(stripper *s, size_t end)
{
    pith__lingua_tags *out = s->out;
    const size_t length = end - s->copied;
    if (length == 0) {
        return PITH_OK;
    }
    PITH__TRY(pith__text_map_push(&out->map, s->mem, out->size, s->copied, end, s->err));
    memcpy(out->owned + out->size, s->text + s->copied, length);
    out->size += length;
    return PITH_OK;
}

/* Notes the clean text since the last tag. */
static pith_status note_text(stripper *s)
{
    pith__spans *fixed = &s->out->fixed;
    const size_t end = s->out->size;
    if (s->is_open && s->open.compress) {
        return pith__segments_push(&s->out->segments, s->mem, s->from, end, s->open.rate, s->err);
    }
    if (s->from == end) {
        return PITH_OK;
    }
    if (fixed->count > 0 && fixed->items[fixed->count - 1].end == s->from) {
        fixed->items[fixed->count - 1].end = end;
        return PITH_OK;
    }
    return pith__spans_push(fixed, s->mem, s->from, end, PITH__SPAN_WORD, s->err);
}

static pith_status turn(stripper *s, const tag *found)
{
    if (found->closes != s->is_open) {
        return s->is_open
                   ? pith__fail_at(s->err, PITH_E_SYNTAX, found->start,
                                   OPENING "> inside " OPENING ">, which is open since byte %zu",
                                   s->open.start)
                   : pith__fail_at(s->err, PITH_E_SYNTAX, found->start,
                                   CLOSING " without a " OPENING "> before it");
    }
    s->is_open = !found->closes;
    s->open = *found;
    return PITH_OK;
}

/* Goes through the tags, of which `found` is the first. */
static pith_status strip(stripper *s, tag found)
{
    do {
        PITH__TRY(found.closes ? PITH_OK : read_attributes(s, &found));
        PITH__TRY(copy_until(s, found.start));
        PITH__TRY(note_text(s));
        PITH__TRY(turn(s, &found));
        s->from = s->out->size;
        s->copied = found.end;
    } while (find_tag(s, s->copied, &found));
    if (s->is_open) {
        return pith__fail_at(s->err, PITH_E_SYNTAX, s->open.start, OPENING "> is never closed");
    }
    PITH__TRY(copy_until(s, s->size));
    PITH__TRY(note_text(s));
    return pith__text_map_push(&s->out->map, s->mem, s->out->size, s->size, s->size, s->err);
}

pith_status pith__lingua_tags_strip(const char *text, size_t size, const pith_allocator *mem,
                                    pith__lingua_tags *out, pith_error *err)
{
    *out = (pith__lingua_tags){.text = text, .size = size};
    stripper s = {.text = text, .size = size, .mem = mem, .out = out, .err = err};
    tag found = {0};
    if (!find_tag(&s, 0, &found)) {
        return PITH_OK;
    }
    pith_status status = pith__alloc(mem, size, 1, &out->owned, err);
    if (status == PITH_OK) {
        out->owned_size = size;
        out->text = out->owned;
        out->size = 0;
        out->tagged = true;
        status = strip(&s, found);
    }
    if (status != PITH_OK) {
        pith__lingua_tags_deinit(out, mem);
    }
    return status;
}

void pith__lingua_tags_deinit(pith__lingua_tags *tags, const pith_allocator *mem)
{
    if (tags != NULL) {
        pith__free(mem, tags->owned, tags->owned_size, 1);
        pith__text_map_deinit(&tags->map, mem);
        pith__free(mem, tags->segments.items, tags->segments.capacity,
                   sizeof *tags->segments.items);
        pith__spans_deinit(&tags->fixed, mem);
        *tags = (pith__lingua_tags){0};
    }
}
