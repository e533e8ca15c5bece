/*
 * official.c: how the released Selective Context normalises a text and cuts it into sentences.
 *
 * A regular expression of Python, `(?<!\w\.\w.)(?<![A-Z][a-z]\.)(?<=\.|\?)\s`,
 * written out by hand; its oddities are the point.
 */
#include "text/text.h"

#include <unicode/uchar.h>

/* Python's \s for str, which has four control characters more than Unicode's White_Space. */
static bool is_space(uint32_t code_point)
{
    if (code_point < 0x80) {
        return code_point == ' ' || (code_point >= '\t' && code_point <= '\r') ||
               (code_point >= 0x1c && code_point <= 0x1f);
    }
    return code_point != PITH__UTF8_INVALID && u_isUWhiteSpace((UChar32)code_point);
}

/* Python's \w for str: letters, '_', and whatever has a numeric value; no marks. */
static bool is_word(uint32_t code_point)
{
    if (code_point == '_') {
        return true;
    }
    return code_point != PITH__UTF8_INVALID &&
           (U_GET_GC_MASK((UChar32)code_point) & (U_GC_L_MASK | U_GC_N_MASK)) != 0;
}

typedef struct normaliser {
    const char *text;
    size_t size;
    const pith_allocator *mem;
    pith__official *out;
} normaliser;

/* Bytes of the white space at `at`. */
static size_t space_length(const normaliser *work, size_t at)
{
    size_t end = at;
    while (end < work->size) {
        uint32_t code_point = 0;
        const size_t length = pith__utf8_decode(work->text, work->size, end, &code_point);
        if (!is_space(code_point)) {
            break;
        }
        end += length;
    }
    return end - at;
}

/* Copies the text; a piece of the map ends wherever several bytes become one space. */
static pith_status normalise(normaliser *work, pith_error *err)
{
    pith__official *out = work->out;
    pith__text_map *map = &out->map;
    size_t piece = 0; /* where the bytes copied as they are began, in the source */
    size_t piece_clean = 0;
    for (size_t at = 0; at < work->size;) {
        const size_t space = space_length(work, at);
        if (space > 1) {
            if (at > piece) {
                PITH__TRY(pith__text_map_push(map, work->mem, piece_clean, piece, at, err));
            }
            PITH__TRY(pith__text_map_push(map, work->mem, out->size, at, at + space, err));
            piece = at + space;
            piece_clean = out->size + 1;
        }
        const char byte = work->text[at];
        out->text[out->size++] = (char)(space > 0 ? ' ' : byte);
        at += space > 0 ? space : 1;
    }
    if (map->count == 0) {
        return PITH_OK;
    }
    if (work->size > piece) {
        PITH__TRY(pith__text_map_push(map, work->mem, piece_clean, piece, work->size, err));
    }
    return pith__text_map_push(map, work->mem, out->size, work->size, work->size, err);
}

/* (?<!\w\.\w.): true if a word character, a full stop, a word character and any other precede. */
static bool follows_dotted(const pith__official *out, size_t at)
{
    uint32_t code_point = 0;
    size_t before = at - 1; /* the full stop or question mark */
    if (before < 3) {
        return false;
    }
    before -= pith__utf8_decode_before(out->text, out->size, before, &code_point);
    if (!is_word(code_point) || before < 2 || out->text[before - 1] != '.') {
        return false;
    }
    (void)pith__utf8_decode_before(out->text, out->size, before - 1, &code_point);
    return is_word(code_point);
}

/* (?<![A-Z][a-z]\.): true after "Mr." and its like. */
static bool follows_title(const pith__official *out, size_t at)
{
    const char *end = out->text + at;
    return at >= 3 && end[-1] == '.' && end[-2] >= 'a' && end[-2] <= 'z' && end[-3] >= 'A' &&
           end[-3] <= 'Z';
}

static bool splits_at(const pith__official *out, size_t at)
{
    return out->text[at] == ' ' && at > 0 &&
           (out->text[at - 1] == '.' || out->text[at - 1] == '?') && !follows_dotted(out, at) &&
           !follows_title(out, at);
}

/* The piece [start, end) between two splits, stripped; nothing if that leaves nothing. */
static pith_status push_sentence(normaliser *work, size_t start, size_t end, pith_error *err)
{
    const char *text = work->out->text;
    while (start < end && text[start] == ' ') {
        start++;
    }
    while (end > start && text[end - 1] == ' ') {
        end--;
    }
    return start == end ? PITH_OK
                        : pith__spans_push(&work->out->sentences, work->mem, start, end,
                                           PITH__SPAN_WORD, err);
}

static pith_status split(normaliser *work, pith_error *err)
{
    size_t start = 0;
    for (size_t at = 0; at < work->out->size; at++) {
        if (splits_at(work->out, at)) {
            PITH__TRY(push_sentence(work, start, at, err));
            start = at + 1;
        }
    }
    return push_sentence(work, start, work->out->size, err);
}

pith_status pith__official_split(const char *text, size_t size, const pith_allocator *mem,
                                 pith__official *out, pith_error *err)
{
    *out = (pith__official){0};
    PITH__TRY(pith__alloc(mem, size, 1, &out->text, err));
    out->capacity = size;
    normaliser work = {text, size, mem, out};
    pith_status status = normalise(&work, err);
    if (status == PITH_OK) {
        status = split(&work, err);
    }
    if (status != PITH_OK) {
        pith__official_deinit(out, mem);
    }
    return status;
}

void pith__official_deinit(pith__official *official, const pith_allocator *mem)
{
    if (official != NULL) {
        pith__free(mem, official->text, official->capacity, 1);
        pith__text_map_deinit(&official->map, mem);
        pith__spans_deinit(&official->sentences, mem);
        *official = (pith__official){0};
    }
}
