/*
 * answer.c: how right a short answer is, as SQuAD's evaluation script has it.
 */
#include "metric/metric_internal.h"

#include "text/chars.h"
#include "text/text.h"

#include <string.h>

static bool is_punctuation(char c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
}

static void remove_punctuation(pith__buf *text)
{
    size_t size = 0;
    for (size_t i = 0; i < text->size; i++) {
        if (!is_punctuation(text->data[i])) {
            text->data[size++] = text->data[i];
        }
    }
    text->size = size;
}

/* An article goes where it is a word, which white space need not show: "the" in curly quotes. */
static bool is_article(const char *text, size_t size)
{
    return (size == 1 && text[0] == 'a') || (size == 2 && memcmp(text, "an", 2) == 0) ||
           (size == 3 && memcmp(text, "the", 3) == 0);
}

static void blank_articles(pith__buf *text)
{
    size_t start = 0; /* of the word at hand */
    for (size_t at = 0; at <= text->size;) {
        uint32_t code_point = 0;
        const size_t next = at < text->size
                                ? at + pith__utf8_decode(text->data, text->size, at, &code_point)
                                : at + 1;
        if (at == text->size || !pith__char_is_word(code_point)) {
            if (is_article(text->data + start, at - start)) {
                memset(text->data + start, ' ', at - start);
            }
            start = next;
        }
        at = next;
    }
}

static pith_status normalise(const char *text, size_t size, pith__arena *arena,
                             pith__metric_words *out, pith_error *err)
{
    pith__buf buf;
    const pith_allocator mem = pith__arena_allocator(arena);
    pith__buf_init(&buf, &mem, SIZE_MAX);
    PITH__TRY(pith__text_lower(text, size, &buf, err));
    remove_punctuation(&buf);
    blank_articles(&buf);
    return pith__metric_split(buf.data, buf.size, arena, out, err);
}

static pith_status number(const pith__text_pair *pair, pith__arena *arena, pith__metric_ids *out,
                          pith_error *err)
{
    pith__metric_words candidate;
    pith__metric_words reference;
    PITH__TRY(normalise(pair->candidate, pair->candidate_size, arena, &candidate, err));
    PITH__TRY(normalise(pair->reference, pair->reference_size, arena, &reference, err));
    return pith__metric_number(&candidate, &reference, arena, out, err);
}

/* Equal word by word, so equal as texts. */
static bool is_same(const pith__metric_ids *ids)
{
    return ids->candidate_count == ids->reference_count &&
           (ids->candidate_count == 0 ||
            memcmp(ids->candidate, ids->reference, ids->candidate_count * sizeof *ids->candidate) ==
                0);
}

static pith_status f1_in(const pith__text_pair *pair, pith__arena *arena, double *out,
                         pith_error *err)
{
    pith__metric_ids ids;
    size_t common = 0;
    PITH__TRY(number(pair, arena, &ids, err));
    PITH__TRY(pith__metric_common(&ids, arena, &common, err));
    *out = ids.candidate_count == 0 && ids.reference_count == 0
               ? 1.0
               : pith__metric_shares(common, ids.candidate_count, ids.reference_count).f;
    return PITH_OK;
}

pith_status pith__answer_f1(const pith__text_pair *pair, const pith_allocator *mem, double *out,
                            pith_error *err)
{
    *out = 0.0;
    pith__arena arena;
    pith__arena_init(&arena, mem);
    const pith_status status = f1_in(pair, &arena, out, err);
    pith__arena_deinit(&arena);
    return status;
}

pith_status pith__answer_exact(const pith__text_pair *pair, const pith_allocator *mem, bool *out,
                               pith_error *err)
{
    pith__arena arena;
    pith__metric_ids ids;
    *out = false;
    pith__arena_init(&arena, mem);
    const pith_status status = number(pair, &arena, &ids, err);
    if (status == PITH_OK) {
        *out = is_same(&ids);
    }
    pith__arena_deinit(&arena);
    return status;
}
