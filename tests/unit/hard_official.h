/*
 * hard_official.h: reference runs of the released Selective Context, read from their JSON and
 * compared with ours.
 */
#ifndef PITH_HARD_OFFICIAL_H
#define PITH_HARD_OFFICIAL_H

#include "golden_json.h"
#include "test.h"

#include "gguf/gguf.h"
#include "hard/hard.h"
#include "token/token.h"

typedef struct golden {
    pith__hard_source source;
    pith__official official;
    pith__official_sentence *sentences;
    const json_t *object;
} golden;

static double number_at(const json_t *array, size_t index)
{
    const json_t *value = json_array_get(array, index);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* Tokens of one sentence from ids; nats come from the list over the whole text. */
static size_t golden_tokens(const golden *g, size_t i, size_t first,
                            const pith__tokenizer *tokenizer)
{
    pith_error err;
    const json_t *ids = json_array_get(json_object_get(g->object, "token_ids"), i);
    const json_t *nats = json_object_get(g->object, "token_self_info");
    const size_t count_tokens = json_array_size(ids);
    pith_token_score *tokens = calloc(count_tokens + 1, sizeof *tokens);
    assert_non_null(tokens);
    size_t at = 0;
    for (size_t t = 0; t < count_tokens; t++) {
        const uint32_t id = (uint32_t)json_integer_value(json_array_get(ids, t));
        const char *bytes = NULL;
        size_t size = 0;
        assert_ok(pith__tokenizer_bytes(tokenizer, id, &bytes, &size, &err), err);
        tokens[t] = (pith_token_score){at, at + size, id, (float)number_at(nats, first + t)};
        at += size;
    }
    g->sentences[i].tokens = tokens;
    g->sentences[i].token_count = count_tokens;
    return first + count_tokens;
}

/* Word units of one sentence from the list over the whole text; the joiner in front is cut off. */
static size_t golden_words(const golden *g, size_t i, size_t first)
{
    const json_t *words = json_object_get(g->object, "word_units");
    const size_t size = g->official.sentences.items[i].end - g->official.sentences.items[i].start;
    pith__span *spans = calloc(size + 1, sizeof *spans);
    assert_non_null(spans);
    size_t count_words = 0;
    for (size_t at = 0; at < size; count_words++) {
        const json_t *word = json_array_get(words, first + count_words);
        const size_t joiner = i > 0 && count_words == 0;
        const size_t length = json_string_length(word) - joiner;
        spans[count_words] = (pith__span){at, at + length, PITH__SPAN_WORD};
        at += length;
    }
    g->sentences[i].units = spans;
    g->sentences[i].unit_count = count_words;
    return first + count_words;
}

static void golden_open(golden *g, const json_t *object, const pith__tokenizer *tokenizer)
{
    pith_error err;
    const json_t *text = json_object_get(object, "text");
    g->object = object;
    g->source =
        (pith__hard_source){.text = json_string_value(text), .size = json_string_length(text)};
    assert_ok(pith__official_split(g->source.text, g->source.size, &pith__allocator_default,
                                   &g->official, &err),
              err);
    const json_t *sentences = json_object_get(object, "sentences");
    assert_int_equal(g->official.sentences.count, json_array_size(sentences));
    g->sentences = calloc(g->official.sentences.count + 1, sizeof *g->sentences);
    assert_non_null(g->sentences);
    size_t token = 0;
    size_t word = 0;
    for (size_t i = 0; i < g->official.sentences.count; i++) {
        const pith__span *span = &g->official.sentences.items[i];
        const char *expected = json_string_value(json_array_get(sentences, i));
        assert_int_equal(span->end - span->start, strlen(expected));
        assert_memory_equal(g->official.text + span->start, expected, strlen(expected));
        token = golden_tokens(g, i, token, tokenizer);
        word = golden_words(g, i, word);
    }
    assert_int_equal(token, json_array_size(json_object_get(object, "token_self_info")));
    assert_int_equal(word, json_array_size(json_object_get(object, "word_units")));
}

static void golden_close(golden *g)
{
    for (size_t i = 0; i < g->official.sentences.count; i++) {
        union {
            const void *borrowed;
            void *owned;
        } tokens = {g->sentences[i].tokens}, units = {g->sentences[i].units};
        free(tokens.owned);
        free(units.owned);
    }
    free(g->sentences);
    pith__official_deinit(&g->official, &pith__allocator_default);
}

static void golden_run(const golden *g, const json_t *run)
{
    pith_error err;
    const char *name = json_string_value(json_object_get(run, "level"));
    const pith__official_level level = strcmp(name, "sent") == 0    ? PITH__OFFICIAL_SENTENCE
                                       : strcmp(name, "token") == 0 ? PITH__OFFICIAL_TOKEN
                                                                    : PITH__OFFICIAL_UNIT;
    const pith__official_input input = {&g->official, g->sentences, level,
                                        json_number_value(json_object_get(run, "reduce_ratio"))};
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    pith__units units;
    pith__kept kept;
    assert_ok(pith__select_official(&g->source, &input, &arena, &units, &kept, &err), err);
    assert_string_equal(kept.text, json_string_value(json_object_get(run, "output")));
    assert_float_equal(kept.threshold, json_number_value(json_object_get(run, "threshold")), 1e-6);

    const char *key = level == PITH__OFFICIAL_SENTENCE ? "sent_self_info"
                      : level == PITH__OFFICIAL_TOKEN  ? "token_self_info"
                                                       : "word_self_info";
    const json_t *nats = json_object_get(g->object, key);
    assert_int_equal(units.count, json_array_size(nats));
    int64_t masked = 0;
    for (size_t i = 0; i < units.count; i++) {
        const pith_unit *unit = &units.items[i];
        assert_float_equal(unit->nats, number_at(nats, i), 1e-5);
        assert_true(unit->end <= g->source.size && unit->start < unit->end);
        assert_true(i == 0 || unit->start >= units.items[i - 1].end);
        masked += !unit->kept;
    }
    assert_int_equal(masked, golden_integer(run, "n_masked"));
    for (size_t i = 0; i < kept.range_count; i++) {
        assert_true(kept.ranges[i].start < kept.ranges[i].end);
        assert_true(i == 0 || kept.ranges[i].start > kept.ranges[i - 1].end);
    }
    pith__arena_deinit(&arena);
}

#endif /* PITH_HARD_OFFICIAL_H */
