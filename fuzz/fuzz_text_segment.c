/*
 * fuzz_text_segment.c: any bytes as a text. Words and sentences must partition it without splitting
 * a grapheme cluster; protected ranges and the maps of edited texts must lie within it.
 */
#include "fuzz.h"

#include "text/text.h"

static const pith_allocator *const mem = &pith__allocator_default;

static void check_partition(pith__spans *spans, size_t size, const pith__graphemes *graphemes)
{
    size_t at = 0;
    for (size_t i = 0; i < spans->count; i++) {
        FUZZ_CHECK(spans->items[i].start == at && spans->items[i].end > at);
        FUZZ_CHECK(pith__graphemes_is_boundary(graphemes, at));
        at = spans->items[i].end;
    }
    FUZZ_CHECK(at == size);
    pith__spans_deinit(spans, mem);
}

static void check_splits(const char *text, size_t size)
{
    pith__graphemes graphemes;
    pith__spans spans;
    FUZZ_CHECK(pith__text_graphemes(text, size, mem, &graphemes, NULL) == PITH_OK);
    for (size_t at = 0; at <= size; at++) {
        FUZZ_CHECK(!pith__graphemes_is_boundary(&graphemes, at) ||
                   pith__utf8_is_boundary(text, size, at));
    }
    FUZZ_CHECK(pith__text_words(text, size, mem, &spans, NULL) == PITH_OK);
    check_partition(&spans, size, &graphemes);
    FUZZ_CHECK(pith__text_sentences(text, size, mem, &spans, NULL) == PITH_OK);
    check_partition(&spans, size, &graphemes);
    pith__graphemes_deinit(&graphemes, mem);
}

static void check_map(const pith__text_map *map, size_t clean_size, size_t size)
{
    size_t last = 0;
    for (size_t at = 0; at < clean_size; at++) {
        const size_t start = pith__text_map_start(map, at);
        const size_t end = pith__text_map_end(map, at + 1);
        FUZZ_CHECK(start >= last && end > start && end <= size);
        last = end;
    }
}

static void check_ranges(const pith__spans *spans, size_t size)
{
    for (size_t i = 0; i < spans->count; i++) {
        FUZZ_CHECK(spans->items[i].start < spans->items[i].end && spans->items[i].end <= size);
        FUZZ_CHECK(i == 0 || spans->items[i].start > spans->items[i - 1].end);
    }
}

static void check_protected(const char *text, size_t size)
{
    static pith__protect *protect;
    if (protect == NULL) {
        FUZZ_CHECK(!pith__protect_new(mem, 7, &protect, NULL));
        FUZZ_CHECK(!pith__protect_add_literal(protect, "aba", 3, NULL));
        FUZZ_CHECK(!pith__protect_add_regex(protect, "[A-Z]+\\p{P}?", 12, NULL));
    }
    pith__spans spans;
    FUZZ_CHECK(pith__protect_apply(protect, text, size, mem, &spans, NULL) == PITH_OK);
    check_ranges(&spans, size);
    pith__spans_deinit(&spans, mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) /* NOLINT(*-identifier-naming) */
{
    static const char *const names[] = {"k", "keep"};
    const char *text = (const char *)data;
    pith__official official;
    pith__tagged tagged;
    check_splits(text, size);
    check_protected(text, size);
    FUZZ_CHECK(pith__official_split(text, size, mem, &official, NULL) == PITH_OK);
    check_map(&official.map, official.size, size);
    check_ranges(&official.sentences, official.size);
    pith__official_deinit(&official, mem);
    if (pith__tags_strip(text, size, names, 2, mem, &tagged, NULL) == PITH_OK) {
        check_map(&tagged.map, tagged.size, size);
        check_ranges(&tagged.kept, tagged.size);
    }
    pith__tagged_deinit(&tagged, mem);
    return 0;
}
