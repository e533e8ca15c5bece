/*
 * structure.c: which format a text has.
 */
#include "structure/structure_internal.h"

#include <math.h>
#include <string.h>

pith_status pith__segments_push(pith__segments *segments, const pith_allocator *mem, size_t start,
                                size_t end, double rate, pith_error *err)
{
    if (start == end) {
        return PITH_OK;
    }
    PITH__TRY(pith__grow(mem, &segments->items, &segments->capacity, segments->count + 1,
                         sizeof *segments->items, err));
    segments->items[segments->count++] = (pith__segment){start, end, rate};
    return PITH_OK;
}

static void free_segments(pith__segments *segments, const pith_allocator *mem)
{
    pith__free(mem, segments->items, segments->capacity, sizeof *segments->items);
}

bool pith__is_unspaced(uint32_t code_point)
{
    static const struct {
        uint32_t first;
        uint32_t last;
    } blocks[] = {
        {0x0e01, 0x0eff},   /* Thai, Lao */
        {0x1000, 0x109f},   /* Burmese */
        {0x1780, 0x17ff},   /* Khmer */
        {0x3005, 0x3007},   /* iteration mark, closing mark, zero */
        {0x3041, 0x30ff},   /* Kana */
        {0x31f0, 0x31ff},   /* Kana for Ainu */
        {0x3400, 0x4dbf},   /* Han */
        {0x4e00, 0x9fff},   /* Han */
        {0xf900, 0xfaff},   /* Han */
        {0xff66, 0xff9f},   /* halfwidth Kana */
        {0x20000, 0x3ffff}, /* Han */
    };
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        if (code_point <= blocks[i].last) {
            return code_point >= blocks[i].first;
        }
    }
    return false;
}

/* ---- formats ---------------------------------------------------------------------------------------- */

/* What a format needs to be read; `out` is empty. */
typedef struct reader {
    const char *text;
    size_t size;
    const pith__structure_options *options;
    const pith_allocator *mem;
    pith__structure *out;
    pith_error *err;
} reader;

static pith_status read_text(const reader *r, pith__format format)
{
    r->out->format = format;
    return pith__segments_push(&r->out->segments, r->mem, 0, r->size, (double)NAN, r->err);
}

static pith_status read_json(const reader *r, const pith__json *doc)
{
    r->out->format = PITH__FORMAT_JSON;
    r->out->is_local = true;
    return pith__json_read(doc, r->options, r->mem, r->out, r->err);
}

static pith_status read_chat(const reader *r, const pith__json *doc, size_t messages)
{
    r->out->format = PITH__FORMAT_CHAT;
    r->out->is_local = true;
    return pith__chat_read(doc, messages, r->options->keep_turns, r->mem, r->out, r->err);
}

/* JSON or CHAT by request. */
static pith_status read_requested(const reader *r)
{
    pith__json doc;
    PITH__TRY(pith__json_parse(r->text, r->size, r->mem, &doc, r->err));
    pith_status status = PITH_OK;
    if (r->options->format == PITH__FORMAT_JSON) {
        status = read_json(r, &doc);
    } else {
        size_t bad = 0;
        const size_t messages = pith__chat_find(&doc, &bad);
        status = messages == PITH__JSON_NONE
                     ? pith__fail_at(r->err, PITH_E_SYNTAX, bad, "not a list of chat messages")
                     : read_chat(r, &doc, messages);
    }
    pith__json_deinit(&doc, r->mem);
    return status;
}

/* Reads CHAT or JSON if the text is that; leaves format AUTO if it is not. */
static pith_status try_json(const reader *r)
{
    size_t at = 0;
    while (at < r->size && strchr(" \t\r\n", r->text[at]) != NULL && r->text[at] != '\0') {
        at++;
    }
    if (at == r->size || (r->text[at] != '{' && r->text[at] != '[')) {
        return PITH_OK;
    }
    pith__json doc;
    pith_error why;
    pith_status status = pith__json_parse(r->text, r->size, r->mem, &doc, &why);
    if (status != PITH_OK) {
        return status == PITH_E_MEMORY ? pith__fail(r->err, status, "%s", why.message) : PITH_OK;
    }
    size_t bad = 0;
    const size_t messages = pith__chat_find(&doc, &bad);
    if (messages != PITH__JSON_NONE && pith__chat_is_evident(&doc, messages)) {
        status = read_chat(r, &doc, messages);
    } else if (pith__json_is_document(&doc)) {
        status = read_json(r, &doc);
    }
    pith__json_deinit(&doc, r->mem);
    return status;
}

static pith_status read_auto(const reader *r)
{
    PITH__TRY(try_json(r));
    if (r->out->format != PITH__FORMAT_AUTO) {
        return PITH_OK;
    }
    bool is_evident = false;
    PITH__TRY(pith__markdown_read(r->text, r->size, r->mem, r->out, &is_evident, r->err));
    if (!is_evident) {
        pith__structure_deinit(r->out, r->mem);
    }
    return read_text(r, is_evident ? PITH__FORMAT_MARKDOWN : PITH__FORMAT_TEXT);
}

static pith_status read_format(const reader *r)
{
    switch (r->options->format) {
    case PITH__FORMAT_AUTO:
        return read_auto(r);
    case PITH__FORMAT_TEXT:
        return read_text(r, PITH__FORMAT_TEXT);
    case PITH__FORMAT_MARKDOWN:
        PITH__TRY(pith__markdown_read(r->text, r->size, r->mem, r->out, NULL, r->err));
        return read_text(r, PITH__FORMAT_MARKDOWN);
    case PITH__FORMAT_JSON:
    case PITH__FORMAT_CHAT:
        return read_requested(r);
    }
    return pith__fail(r->err, PITH_E_ARGUMENT, "there is no format %d", (int)r->options->format);
}

pith_status pith__structure_read(const char *text, size_t size,
                                 const pith__structure_options *options, const pith_allocator *mem,
                                 pith__structure *out, pith_error *err)
{
    *out = (pith__structure){.format = PITH__FORMAT_AUTO};
    const reader r = {text, size, options, mem, out, err};
    const pith_status status = read_format(&r);
    if (status != PITH_OK) {
        pith__structure_deinit(out, mem);
    }
    return status;
}

void pith__structure_deinit(pith__structure *structure, const pith_allocator *mem)
{
    if (structure != NULL) {
        free_segments(&structure->segments, mem);
        pith__spans_deinit(&structure->atoms, mem);
        pith__spans_deinit(&structure->joined, mem);
        *structure = (pith__structure){.format = PITH__FORMAT_AUTO};
    }
}
