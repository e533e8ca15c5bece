/*
 * fuzz_structure_read.c: any bytes as JSON, chat, Markdown, and text with the tags of LLMLingua.
 * The first bytes choose options and what is removed. Lists must be sound, and JSON must stay JSON,
 * with the same keys and the same values outside of segments, when parts of segments are removed.
 */
#include "fuzz.h"

#include "structure/structure.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER = 3 };

static const pith_allocator *const mem = &pith__allocator_default;

static void check_spans(const pith__spans *spans, size_t size, size_t longest)
{
    size_t at = 0;
    for (size_t i = 0; i < spans->count; i++) {
        const pith__span *span = &spans->items[i];
        FUZZ_CHECK(span->start >= at && span->end > span->start);
        FUZZ_CHECK(span->end - span->start <= longest);
        at = span->end;
    }
    FUZZ_CHECK(at <= size);
}

static void check_segments(const pith__segments *segments, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < segments->count; i++) {
        const pith__segment *s = &segments->items[i];
        FUZZ_CHECK(s->start >= at && s->end > s->start);
        FUZZ_CHECK(s->rate != s->rate || (s->rate >= 0.0 && s->rate <= 1.0)); /* NaN or a share */
        at = s->end;
    }
    FUZZ_CHECK(at <= size);
}

static void check_structure(const pith__structure *s, size_t size)
{
    FUZZ_CHECK(s->format != PITH__FORMAT_AUTO);
    FUZZ_CHECK(s->is_local == (s->format == PITH__FORMAT_JSON || s->format == PITH__FORMAT_CHAT));
    check_segments(&s->segments, size);
    check_spans(&s->atoms, size, SIZE_MAX);
    check_spans(&s->joined, size, 256);
    size_t atom = 0;
    for (size_t i = 0; i < s->joined.count; i++) {
        while (atom < s->atoms.count && s->atoms.items[atom].end <= s->joined.items[i].start) {
            atom++;
        }
        FUZZ_CHECK(atom == s->atoms.count || s->atoms.items[atom].start >= s->joined.items[i].end);
    }
    if (!s->is_local) {
        FUZZ_CHECK(s->segments.count == (size > 0));
        FUZZ_CHECK(size == 0 || s->segments.items[0].end == size);
    }
}

/* Copies the text without some whole characters of its segments. */
static size_t remove_some(const char *text, size_t size, const pith__structure *s, uint32_t seed,
                          char *out)
{
    size_t count = 0;
    size_t segment = 0;
    size_t joined = 0;
    for (size_t at = 0; at < size;) {
        uint32_t code_point = 0;
        size_t length = pith__utf8_decode(text, size, at, &code_point);
        while (joined < s->joined.count && s->joined.items[joined].end <= at) {
            joined++;
        }
        if (joined < s->joined.count && s->joined.items[joined].start == at) {
            length = s->joined.items[joined].end - at;
        }
        while (segment < s->segments.count && s->segments.items[segment].end <= at) {
            segment++;
        }
        seed = seed * 1664525U + 1013904223U;
        const bool is_free = segment < s->segments.count && s->segments.items[segment].start <= at;
        if (!is_free || (seed >> 24) % 3 == 0) {
            memcpy(out + count, text + at, length);
            count += length;
        }
        at += length;
    }
    return count;
}

/* Strings aside, the same values under the same keys. */
static bool same_shape(json_t *a, json_t *b)
{
    bool same = json_typeof(a) == json_typeof(b);
    if (same && json_is_array(a)) {
        same = json_array_size(a) == json_array_size(b);
        for (size_t i = 0; same && i < json_array_size(a); i++) {
            same = same_shape(json_array_get(a, i), json_array_get(b, i));
        }
        return same;
    }
    if (same && json_is_object(a)) {
        const char *key = NULL;
        json_t *value = NULL;
        same = json_object_size(a) == json_object_size(b);
        json_object_foreach(a, key, value)
        {
            json_t *other = json_object_get(b, key);
            same = same && other != NULL && same_shape(value, other);
        }
        return same;
    }
    return same && (json_is_string(a) || json_equal(a, b));
}

/* What remains of JSON is JSON, by our scanner and, if that takes the original, by jansson. */
static void check_removal(const char *text, size_t size, const pith__structure *s,
                          const pith__structure_options *options, uint32_t seed)
{
    const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    const pith__structure_options again = {.format = s->format,
                                           .keys = options->keys,
                                           .key_count = options->key_count,
                                           .keep_turns = options->keep_turns};
    pith__structure rest;
    char *shorter = malloc(size + 1);
    FUZZ_CHECK(shorter != NULL);
    const size_t count = remove_some(text, size, s, seed, shorter);
    FUZZ_CHECK(pith__structure_read(shorter, count, &again, mem, &rest, NULL) == PITH_OK);
    FUZZ_CHECK(rest.format == s->format);
    pith__structure_deinit(&rest, mem);
    json_t *before = json_loadb(text, size, flags, NULL);
    if (before != NULL) {
        json_t *after = json_loadb(shorter, count, flags, NULL);
        FUZZ_CHECK(after != NULL && same_shape(before, after));
        json_decref(after);
        json_decref(before);
    }
    free(shorter);
}

static void check_format(const char *text, size_t size, const pith__structure_options *options,
                         uint32_t seed)
{
    pith__structure s;
    pith_error err;
    const pith_status status = pith__structure_read(text, size, options, mem, &s, &err);
    if (status != PITH_OK) {
        FUZZ_CHECK(options->format == PITH__FORMAT_JSON || options->format == PITH__FORMAT_CHAT);
        FUZZ_CHECK(status == PITH_E_SYNTAX || status == PITH_E_UNSUPPORTED);
        FUZZ_CHECK(err.offset <= size && s.segments.items == NULL && s.joined.items == NULL);
        return;
    }
    FUZZ_CHECK(options->format == PITH__FORMAT_AUTO || options->format == s.format);
    check_structure(&s, size);
    if (s.is_local) {
        check_removal(text, size, &s, options, seed);
    }
    pith__structure_deinit(&s, mem);
}

/* Segments and what is fixed are the whole clean text, and the map leads to its bytes. */
static void check_tags(const char *text, size_t size)
{
    pith__lingua_tags tags;
    pith_error err;
    const pith_status status = pith__lingua_tags_strip(text, size, mem, &tags, &err);
    FUZZ_CHECK(status == PITH_OK || (status == PITH_E_SYNTAX && err.offset < size));
    check_segments(&tags.segments, tags.size);
    check_spans(&tags.fixed, tags.size, SIZE_MAX);
    size_t covered = 0;
    for (size_t i = 0; i < tags.segments.count; i++) {
        covered += tags.segments.items[i].end - tags.segments.items[i].start;
    }
    for (size_t i = 0; i < tags.fixed.count; i++) {
        covered += tags.fixed.items[i].end - tags.fixed.items[i].start;
    }
    FUZZ_CHECK(covered == (tags.tagged ? tags.size : 0));
    size_t last = 0;
    for (size_t at = 0; at < tags.size; at++) {
        const size_t start = pith__text_map_start(&tags.map, at);
        FUZZ_CHECK(start >= last && start < size && text[start] == tags.text[at]);
        last = start + 1;
        FUZZ_CHECK(pith__text_map_end(&tags.map, at + 1) == last);
    }
    pith__lingua_tags_deinit(&tags, mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) /* NOLINT(*-identifier-naming) */
{
    static const pith__key_rate keys[] = {{"a", 0.5}, {"b", 1.0}, {"a.b", 0.25}, {"text", 0.0}};
    if (size < HEADER) {
        return 0;
    }
    const char *text = (const char *)data + HEADER;
    const size_t text_size = size - HEADER;
    pith__structure_options options = {
        .keys = keys, .key_count = data[0] % 5, .keep_turns = data[1] % 4};
    const uint32_t seed = data[2] * 2654435761U;
    for (int format = PITH__FORMAT_AUTO; format <= PITH__FORMAT_CHAT; format++) {
        options.format = (pith__format)format;
        check_format(text, text_size, &options, seed);
    }
    check_tags(text, text_size);
    return 0;
}
