/*
 * test_token.c: the tokenizers against reference ids, and on hostile input.
 */
#include "test.h"

#include "token/token.h"
#include "token/token_internal.h"

#include <jansson.h>

static const pith_allocator *const mem = &pith__allocator_default;

/* ---- helpers ---------------------------------------------------------------- */

static pith__tokenizer *open_gguf(const char *folder, const char *name)
{
    pith_error err;
    pith__file file;
    pith__gguf gguf;
    pith__tokenizer *tokenizer = NULL;
    assert_ok(pith__file_open(test_path(folder, name), &file, &err), err);
    assert_ok(pith__gguf_parse(file.data, file.size, mem, &gguf, &err), err);
    assert_ok(pith__tokenizer_from_gguf(&gguf, mem, &tokenizer, &err), err);
    pith__gguf_deinit(&gguf);
    pith__file_close(&file); /* the tokenizer must not need it any more */
    return tokenizer;
}

static json_t *open_json(const char *folder, const char *name)
{
    json_error_t err;
    json_t *root = json_load_file(test_path(folder, name), 0, &err);
    if (root == NULL) {
        fail_msg("%s, line %d: %s", name, err.line, err.text);
    }
    return root;
}

static pith__tokens encode(const pith__tokenizer *tokenizer, const char *text, size_t size,
                           bool parse_special)
{
    pith_error err;
    pith__tokens tokens = {NULL, 0, 0};
    assert_ok(pith__tokenizer_encode(tokenizer, text, size, parse_special, mem, &tokens, &err),
              err);
    return tokens;
}

/* Tokens must follow each other without gaps, spell the text, and be counted right. */
static void check_partition(const pith__tokenizer *tokenizer, const char *text, size_t size)
{
    pith_error err;
    pith__tokens tokens = encode(tokenizer, text, size, false);
    size_t at = 0;
    for (size_t i = 0; i < tokens.count; i++) {
        const pith__token token = tokens.items[i];
        const char *bytes = NULL;
        size_t length = 0;
        assert_ok(pith__tokenizer_bytes(tokenizer, token.id, &bytes, &length, &err), err);
        assert_int_equal(token.start, at);
        assert_int_equal(token.end - token.start, length);
        assert_true(length > 0);
        assert_memory_equal(bytes, text + at, length);
        at = token.end;
    }
    assert_int_equal(at, size);
    size_t count = 0;
    assert_ok(pith__tokenizer_count(tokenizer, text, size, mem, &count, &err), err);
    assert_int_equal(count, tokens.count);
    pith__tokens_deinit(&tokens, mem);
}

static void check_ids(const pith__tokenizer *tokenizer, const char *text, size_t size,
                      bool parse_special, const json_t *ids)
{
    pith__tokens tokens = encode(tokenizer, text, size, parse_special);
    bool same = tokens.count == json_array_size(ids);
    for (size_t i = 0; same && i < tokens.count; i++) {
        same = (json_int_t)tokens.items[i].id == json_integer_value(json_array_get(ids, i));
    }
    if (!same) {
        fail_msg("wrong ids for \"%.*s\"", (int)size, text);
    }
    pith__tokens_deinit(&tokens, mem);
}

/* ---- reference ids ----------------------------------------------------------- */

/* Compares every string of golden/tokenizers with the ids for one vocabulary. */
static void check_golden(const pith__tokenizer *tokenizer, const char *folder,
                         const char *strings_name, const char *ids_name)
{
    json_t *inputs = open_json(folder, strings_name);
    json_t *expected = open_json(folder, ids_name);
    const json_t *strings = json_object_get(inputs, "strings");
    const json_t *cases = json_object_get(expected, "cases");
    assert_true(json_array_size(cases) >= 60);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        const size_t index = (size_t)json_integer_value(json_object_get(one, "i"));
        const json_t *string = json_object_get(json_array_get(strings, index), "text");
        const char *text = json_string_value(string);
        const size_t size = json_string_length(string);
        const json_t *ids = json_object_get(one, "ids");
        const json_t *special = json_object_get(one, "parse_special_ids");
        check_ids(tokenizer, text, size, false, ids);
        if (special != NULL) {
            check_ids(tokenizer, text, size, true, special);
        }
        check_partition(tokenizer, text, size);
    }
    json_decref(inputs);
    json_decref(expected);
}

static void test_golden_gpt2_pattern(void **state)
{
    (void)state;
    pith__tokenizer *tokenizer = open_gguf("golden", "models/llama_gqa.gguf");
    check_golden(tokenizer, "golden", "tokenizers/strings.json", "tokenizers/llama_gqa.ids.json");
    pith__tokenizer_free(tokenizer);
}

static void test_golden_llama3_pattern(void **state)
{
    (void)state;
    pith__tokenizer *tokenizer = open_gguf("golden", "models/llama_untied.gguf");
    check_golden(tokenizer, "golden", "tokenizers/strings.json",
                 "tokenizers/llama_untied.ids.json");
    pith__tokenizer_free(tokenizer);
}

static void test_golden_qwen2_pattern(void **state)
{
    (void)state;
    require_shared();
    pith__tokenizer *tokenizer = open_gguf("shared", "golden/models/qwen2.gguf");
    check_golden(tokenizer, "shared", "golden/tokenizers/strings.json",
                 "golden/tokenizers/qwen2.ids.json");
    pith__tokenizer_free(tokenizer);
}

static void test_golden_gpt2_vocabulary(void **state)
{
    (void)state;
    require_shared();
    pith__tokenizer *tokenizer = open_gguf("shared", "vocabs/ggml-vocab-gpt-2.gguf");
    check_golden(tokenizer, "shared", "golden/tokenizers/strings.json",
                 "golden/tokenizers/gpt-2.ids.json");
    assert_int_equal(pith__tokenizer_size(tokenizer), 50257);
    pith__tokenizer_free(tokenizer);
}

/* Every text that a reference forward pass was made of. */
static void check_model_cases(const char *model, const char *values)
{
    pith__tokenizer *tokenizer = open_gguf("golden", model);
    json_t *root = open_json("golden", values);
    const json_t *cases = json_object_get(root, "cases");
    assert_true(json_array_size(cases) > 0);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        const json_t *text = json_object_get(one, "text");
        check_ids(tokenizer, json_string_value(text), json_string_length(text), false,
                  json_object_get(one, "ids"));
    }
    json_decref(root);
    pith__tokenizer_free(tokenizer);
}

static void test_golden_models(void **state)
{
    (void)state;
    check_model_cases("models/boot-ckpt.gguf", "models/boot-ckpt.json");
    check_model_cases("models/llama_gqa.gguf", "models/llama_gqa.json");
    check_model_cases("models/llama_untied.gguf", "models/llama_untied.json");
}

/* Strings and lines of ids as llama.cpp keeps them: returns how many there were. */
static size_t check_vectors(const pith__tokenizer *tokenizer)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    size_t size = 0;
    char *input = test_read_file(test_path("shared", "vocabs/ggml-vocab-gpt-2.gguf.inp"), &size);
    char *output = test_read_file(test_path("shared", "vocabs/ggml-vocab-gpt-2.gguf.out"), &size);
    size_t checked = 0;
    const char *ids = output;
    for (char *text = input, *end; (end = strstr(text, separator)) != NULL; checked++) {
        pith__tokens tokens = encode(tokenizer, text, (size_t)(end - text), false);
        for (size_t i = 0; i < tokens.count; i++) {
            char *after = NULL;
            assert_int_equal(tokens.items[i].id, strtoul(ids, &after, 10));
            assert_ptr_not_equal(after, ids);
            ids = after;
        }
        ids += strspn(ids, " ");
        assert_int_equal(*ids, '\n');
        ids++;
        pith__tokens_deinit(&tokens, mem);
        text = end + sizeof separator - 1;
    }
    free(input);
    free(output);
    return checked;
}

static void test_vectors_gpt2(void **state)
{
    (void)state;
    require_shared();
    pith__tokenizer *tokenizer = open_gguf("shared", "vocabs/ggml-vocab-gpt-2.gguf");
    assert_true(check_vectors(tokenizer) > 40);
    pith__tokenizer_free(tokenizer);
}

/* ---- tiktoken files ----------------------------------------------------------- */

static void append_base64(pith__buf *buf, const char *bytes, size_t size)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    pith_error err;
    for (size_t i = 0; i < size; i += 3) {
        uint32_t bits = 0;
        for (size_t j = 0; j < 3; j++) {
            bits = bits << 8 | (i + j < size ? (unsigned char)bytes[i + j] : 0u);
        }
        char out[4] = {'=', '=', '=', '='};
        for (size_t j = 0; j < 4 && i + j <= size; j++) {
            out[j] = alphabet[bits >> (18 - 6 * j) & 63];
        }
        assert_ok(pith__buf_append(buf, out, 4, &err), err);
    }
}

/* The ids of GPT-2 are its ranks: bytes first, then what each merge makes. */
static pith__buf ranks_of(const pith__tokenizer *tokenizer)
{
    pith_error err;
    pith__buf buf;
    pith__buf_init(&buf, mem, SIZE_MAX);
    for (uint32_t id = 0; id < pith__tokenizer_size(tokenizer); id++) {
        const char *bytes = NULL;
        size_t size = 0;
        if (!pith__tokenizer_is_special(tokenizer, id)) {
            assert_ok(pith__tokenizer_bytes(tokenizer, id, &bytes, &size, &err), err);
            append_base64(&buf, bytes, size);
            assert_ok(pith__buf_printf(&buf, &err, " %u\n", id), err);
        }
    }
    return buf;
}

static void test_ranks_equal_gguf(void **state)
{
    (void)state;
    require_shared();
    pith_error err;
    pith__tokenizer *gguf = open_gguf("shared", "vocabs/ggml-vocab-gpt-2.gguf");
    pith__buf buf = ranks_of(gguf);
    pith__tokenizer *ranks = NULL;
    assert_ok(
        pith__tokenizer_from_ranks(buf.data, buf.size, "r50k_base.tiktoken", mem, &ranks, &err),
        err);
    assert_true(check_vectors(ranks) > 40);
    check_golden(ranks, "shared", "golden/tokenizers/strings.json",
                 "golden/tokenizers/gpt-2.ids.json");
    assert_int_equal(pith__tokenizer_size(ranks), 50256);
    assert_int_equal(pith__tokenizer_bos(ranks), PITH__TOKEN_NONE);
    assert_int_equal(pith__tokenizer_eos(ranks), PITH__TOKEN_NONE);
    assert_false(pith__tokenizer_adds_bos(ranks));
    pith__buf_deinit(&buf);
    pith__tokenizer_free(ranks);
    pith__tokenizer_free(gguf);
}

/* All bytes, then the given tokens, in a rank file. */
static pith__buf small_ranks(const char *const *tokens, size_t count)
{
    pith_error err;
    pith__buf buf;
    pith__buf_init(&buf, mem, SIZE_MAX);
    for (unsigned i = 0; i < 256 + count; i++) {
        const char byte = (char)(unsigned char)i;
        const char *bytes = i < 256 ? &byte : tokens[i - 256];
        append_base64(&buf, bytes, i < 256 ? 1 : strlen(bytes));
        assert_ok(pith__buf_printf(&buf, &err, " %u\n", i), err);
    }
    return buf;
}

static pith__tokenizer *open_ranks(const pith__buf *buf, const char *name)
{
    pith_error err;
    pith__tokenizer *tokenizer = NULL;
    assert_ok(pith__tokenizer_from_ranks(buf->data, buf->size, name, mem, &tokenizer, &err), err);
    return tokenizer;
}

static void test_ranks_merge_lowest_first(void **state)
{
    (void)state;
    const char *const tokens[] = {"bc", "ab", "abc", "aa"};
    pith__buf buf = small_ranks(tokens, 4);
    pith__tokenizer *tokenizer = open_ranks(&buf, "gpt2");
    const struct {
        const char *text;
        uint32_t ids[3];
        size_t count;
    } cases[] = {
        {"abcd", {258, 'd'}, 2}, /* bc, which then meets a */
        {"abc", {258}, 1},
        {"aabd", {'a', 257, 'd'}, 3}, /* ab has a lower rank than aa */
        {"aaa", {259, 'a'}, 2},       /* leftmost of equals */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pith__tokens out = encode(tokenizer, cases[i].text, strlen(cases[i].text), false);
        assert_int_equal(out.count, cases[i].count);
        for (size_t j = 0; j < out.count; j++) {
            assert_int_equal(out.items[j].id, cases[i].ids[j]);
        }
        pith__tokens_deinit(&out, mem);
    }
    pith__tokenizer_free(tokenizer);
    pith__buf_deinit(&buf);
}

static void check_bad_ranks(const char *text, pith_status status, size_t offset)
{
    pith_error err;
    pith__tokenizer *tokenizer = NULL;
    assert_status(pith__tokenizer_from_ranks(text, strlen(text), "gpt2", mem, &tokenizer, &err),
                  status);
    assert_null(tokenizer);
    assert_int_equal(err.offset, offset);
}

static void test_ranks_damaged(void **state)
{
    (void)state;
    check_bad_ranks("", PITH_E_CORRUPT, PITH_NO_OFFSET); /* no byte tokens */
    check_bad_ranks("AA== 0\n", PITH_E_CORRUPT, PITH_NO_OFFSET);
    check_bad_ranks("AA== 0\nAQ==\n", PITH_E_CORRUPT, 7);
    check_bad_ranks("AA== 0\nAQ== \n", PITH_E_CORRUPT, 7);
    check_bad_ranks("AA== 0\nAQ== x\n", PITH_E_CORRUPT, 7);
    check_bad_ranks("AA== 0\nAQ== -1\n", PITH_E_CORRUPT, 7);
    check_bad_ranks("AA== 0\nA=Q= 1\n", PITH_E_CORRUPT, 7);
    check_bad_ranks("AA== 0\nAQ= 1\n", PITH_E_CORRUPT, 7);
    check_bad_ranks("AA== 0\n==== 1\n", PITH_E_CORRUPT, 7);
    check_bad_ranks("AA== 0\n 1\n", PITH_E_CORRUPT, 7);
    check_bad_ranks("AA== 0\nAQ== 0\n", PITH_E_CORRUPT, 7); /* rank twice */
    check_bad_ranks("AA== 0\nAA== 1\n", PITH_E_CORRUPT, 7); /* token twice */
    check_bad_ranks("AA== 4000000000\n", PITH_E_CORRUPT, 0);
    check_bad_ranks("AA== 99999999999999999999999999\n", PITH_E_CORRUPT, 0);

    char longest[3000];
    memset(longest, 'A', sizeof longest);
    memcpy(longest + sizeof longest - 4, " 0\n", 4);
    check_bad_ranks(longest, PITH_E_UNSUPPORTED, 0);

    pith_error err;
    pith__tokenizer *tokenizer = NULL;
    assert_status(pith__tokenizer_from_ranks("AA== 0\n", 7, "words.txt", mem, &tokenizer, &err),
                  PITH_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "words.txt"));
}

/* ---- patterns ------------------------------------------------------------------ */

/* `pieces` are the expected pieces, separated by '|'. */
static void check_pieces(const char *name, const char *text, const char *pieces)
{
    pith_error err;
    pith__pattern pattern;
    pith__splitter splitter;
    assert_ok(pith__pattern_init(&pattern, pith__pattern_of_ranks(name), &err), err);
    assert_ok(pith__splitter_init(&splitter, &pattern, &err), err);
    pith__splitter_start(&splitter, text, 0, strlen(text));
    for (;;) {
        size_t start = 0;
        size_t end = 0;
        assert_ok(pith__splitter_next(&splitter, &start, &end, &err), err);
        const size_t length = strcspn(pieces, "|");
        if (end - start != length || memcmp(text + start, pieces, length) != 0) {
            fail_msg("%s: piece \"%.*s\", expected \"%s\"", name, (int)(end - start), text + start,
                     pieces);
        }
        if (start == end) {
            break;
        }
        pieces += length;
        pieces += *pieces == '|';
    }
    assert_int_equal(*pieces, '\0');
    pith__splitter_deinit(&splitter);
    pith__pattern_deinit(&pattern);
}

static void test_patterns(void **state)
{
    (void)state;
    check_pieces("gpt2", "Hello  world's 12345!\n\n x", "Hello| | world|'s| 12345|!|\n\n| x");
    check_pieces("gpt2", "I'LL don't \xc3\xa9t\xc3\xa9", "I|'|LL| don|'t| \xc3\xa9t\xc3\xa9");
    check_pieces("cl100k", "Hello  world's 12345!\n\n x", "Hello| | world|'s| |123|45|!\n\n| x");
    check_pieces("cl100k", "I'LL (word)\t\tend  \n  ", "I|'LL| (|word|)|\t|\tend|  \n|  ");
    check_pieces("o200k", "HelloWorld's camelCase XMLFile I'LL",
                 "Hello|World's| camel|Case| XMLFile| I'LL");
    check_pieces("o200k", "12345 a/b //\n/ \xe6\x97\xa5\xe6\x9c\xac",
                 "123|45| a|/b| //\n/| \xe6\x97\xa5\xe6\x9c\xac");
    /* U+180E is no white space, U+3000 is */
    check_pieces("gpt2", "a \xe1\xa0\x8e b", "a| \xe1\xa0\x8e| b");
    check_pieces("gpt2", "a\xe3\x80\x80 b", "a|\xe3\x80\x80| b");
    /* an ill-formed byte stands alone, and what surrounds it does not see it */
    check_pieces("gpt2",
                 "ab\xff"
                 "cd  \xe4\xb8 ef",
                 "ab|\xff|cd|  |\xe4|\xb8| ef");
    check_pieces("o200k", "", "");
}

/* ---- hostile text --------------------------------------------------------------- */

static const char *const fragments[] = {
    "the",
    " quick",
    "Brown",
    "fox's",
    " 'll",
    "12",
    "3",
    "\n",
    "\r\n",
    "\t",
    "  ",
    "    ",
    "!?",
    "...",
    "\xc3\xa9",
    "e\xcc\x81",
    "\xe6\x97\xa5",
    "\xe6\x9c\xac\xe8\xaa\x9e",
    "\xf0\x9f\x98\x80",
    "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x91\xa7",
    "\xd7\xa9\xd7\x9c",
    "\xe0\xa4\xa8\xe0\xa5\x8d",
    "\xff",
    "\xc3",
    "\xe4\xb8",
    "\xed\xa0\x80",
    "\xc0\xaf",
    "\x80",
    "\xf4\x90\x80\x80",
    "<|endoftext|>",
    "<s>",
    "\xe1\xa0\x8e",
    "\xe3\x80\x80",
    "\xc2\xa0",
    "\xc5\xbf",
    "_",
    "A",
    "a",
};

/* A text of pieces from above, some of them repeated many times. */
static size_t random_text(uint64_t *seed, char *out, size_t max)
{
    const size_t parts = test_random_below(seed, 12);
    size_t size = 0;
    for (size_t i = 0; i < parts; i++) {
        const size_t which = test_random_below(seed, sizeof fragments / sizeof fragments[0]);
        const size_t length = strlen(fragments[which]);
        size_t times = 1;
        if (test_random_below(seed, 8) == 0) {
            times = test_random_below(seed, 150);
        }
        for (; times > 0 && size + length <= max; times--) {
            memcpy(out + size, fragments[which], length);
            size += length;
        }
    }
    return size;
}

static void check_random(const pith__tokenizer *tokenizer, uint64_t seed)
{
    char text[4096];
    for (int i = 0; i < 2000; i++) {
        const size_t size = random_text(&seed, text, sizeof text);
        check_partition(tokenizer, text, size);
    }
}

static void test_random_texts(void **state)
{
    (void)state;
    const char *const models[] = {"models/llama_gqa.gguf", "models/llama_untied.gguf",
                                  "models/boot-ckpt.gguf"};
    for (size_t i = 0; i < 3; i++) {
        pith__tokenizer *tokenizer = open_gguf("golden", models[i]);
        check_random(tokenizer, i);
        pith__tokenizer_free(tokenizer);
    }
    const char *const tokens[] = {"th", "the", " the", "  ", "    ", "\xe6\x97", "\xff\xff"};
    pith__buf buf = small_ranks(tokens, sizeof tokens / sizeof tokens[0]);
    pith__tokenizer *tokenizer = open_ranks(&buf, "o200k_base");
    check_random(tokenizer, 7);
    pith__tokenizer_free(tokenizer);
    pith__buf_deinit(&buf);
}

/* One piece of a megabyte must take a moment, not minutes, and no limit of PCRE2 may show. */
static void test_long_runs(void **state)
{
    (void)state;
    const char *const runs[] = {"a",  " ",  "\n",  "7",    "!?",        "\xe6\x97\xa5",
                                "A",  "aB", " \n", "\xff", "e\xcc\x81", "\xe2\x80\x8d",
                                "the"};
    const char *const tokens[] = {"aa", "aaaa", "  ", "th", "the", "thethe"};
    pith__buf buf = small_ranks(tokens, sizeof tokens / sizeof tokens[0]);
    pith__tokenizer *tokenizers[] = {open_gguf("golden", "models/boot-ckpt.gguf"),
                                     open_gguf("golden", "models/llama_gqa.gguf"),
                                     open_gguf("golden", "models/llama_untied.gguf"),
                                     open_ranks(&buf, "cl100k"), open_ranks(&buf, "o200k")};
    char *text = malloc(1000000);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        const size_t length = strlen(runs[i]);
        const size_t size = 1000000 / length * length;
        for (size_t j = 0; j < size; j++) {
            text[j] = runs[i][j % length];
        }
        for (size_t j = 0; j < sizeof tokenizers / sizeof tokenizers[0]; j++) {
            check_partition(tokenizers[j], text, size);
        }
    }
    free(text);
    for (size_t j = 0; j < sizeof tokenizers / sizeof tokenizers[0]; j++) {
        pith__tokenizer_free(tokenizers[j]);
    }
    pith__buf_deinit(&buf);
}

/* ---- long pieces against the definition -------------------------------------------- */

/* Merges as the definition says: look at all pairs, take the lowest rank, the leftmost one. */
static size_t merge_by_definition(const pith__tokenizer *tokenizer, uint32_t *ids, size_t count)
{
    const pith__merges *merges = &tokenizer->merges;
    for (;;) {
        const pith__merge *best = NULL;
        size_t best_at = 0;
        for (size_t i = 0; i + 1 < count; i++) {
            for (size_t j = 0; j < merges->slot_count; j++) {
                const pith__merge *merge = &merges->slots[j];
                if (merge->left == ids[i] && merge->right == ids[i + 1] &&
                    (best == NULL || merge->rank < best->rank)) {
                    best = merge;
                    best_at = i;
                }
            }
        }
        if (best == NULL) {
            return count;
        }
        ids[best_at] = best->merged;
        count--;
        memmove(&ids[best_at + 1], &ids[best_at + 2], (count - best_at - 1) * sizeof *ids);
    }
}

static void test_merging_by_definition(void **state)
{
    (void)state;
    const char *const tokens[] = {"ab",  "ba",  "aa",   "aba", "abab", "bb",
                                  "bab", "cab", "abba", "ca",  "cc",   "ccab"};
    pith__buf buf = small_ranks(tokens, sizeof tokens / sizeof tokens[0]);
    pith__tokenizer *tokenizer = open_ranks(&buf, "gpt2");
    uint64_t seed = 11;
    for (int round = 0; round < 400; round++) {
        char text[120];
        uint32_t ids[120];
        const size_t size = 1 + test_random_below(&seed, sizeof text - 1);
        for (size_t i = 0; i < size; i++) {
            text[i] = "abc"[test_random_below(&seed, 3)];
            ids[i] = (unsigned char)text[i];
        }
        pith__tokens out = encode(tokenizer, text, size, false);
        if (out.count > 1) { /* otherwise the piece may have been taken whole */
            const size_t count = merge_by_definition(tokenizer, ids, size);
            assert_int_equal(out.count, count);
            for (size_t i = 0; i < count; i++) {
                assert_int_equal(out.items[i].id, ids[i]);
            }
        }
        pith__tokens_deinit(&out, mem);
    }
    pith__tokenizer_free(tokenizer);
    pith__buf_deinit(&buf);
}

/* ---- vocabularies made here ---------------------------------------------------------- */

typedef struct vocabulary {
    const char *model; /* NULL: the key is left out */
    const char *pre;
    const char *extra[8]; /* tokens after the 256 bytes, up to NULL */
    int32_t extra_types[8];
    const char *merges[4]; /* up to NULL */
    bool no_merges;        /* leave the key out */
    bool no_types;
    bool short_types;
    unsigned missing_byte; /* 1 + byte value that gets no token; 0: none */
    uint32_t bos;          /* PITH__TOKEN_NONE: left out */
} vocabulary;

/* Byte letters as GGUF spells them. */
static size_t spell_byte(unsigned byte, char *out)
{
    unsigned code = byte;
    const bool printable =
        (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte != 0xad);
    if (!printable) {
        code = byte <= 0x20 ? 0x100 + byte : byte <= 0xa0 ? 0x121 + byte - 0x7f : 0x143;
    }
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    out[0] = (char)(unsigned char)(0xc0 | code >> 6);
    out[1] = (char)(unsigned char)(0x80 | (code & 0x3f));
    return 2;
}

static bool append_to_buf(void *user, const char *data, size_t size)
{
    return pith__buf_append(user, data, size, NULL) == PITH_OK;
}

static void add_arrays(pith__gguf_writer *writer, const vocabulary *spec)
{
    pith_error err;
    char letters[256][2];
    pith__gguf_string tokens[264];
    pith__gguf_string merges[4];
    int32_t types[264];
    size_t count = 0;
    for (unsigned i = 0; i < 256; i++) {
        const size_t size = spell_byte(i, letters[i]);
        if (i + 1 != spec->missing_byte) {
            types[count] = 1;
            tokens[count++] = (pith__gguf_string){letters[i], size};
        }
    }
    for (size_t i = 0; i < 8 && spec->extra[i] != NULL; i++) {
        types[count] = spec->extra_types[i];
        tokens[count++] = (pith__gguf_string){spec->extra[i], strlen(spec->extra[i])};
    }
    size_t merge_count = 0;
    while (merge_count < 4 && spec->merges[merge_count] != NULL) {
        const char *merge = spec->merges[merge_count];
        merges[merge_count++] = (pith__gguf_string){merge, strlen(merge)};
    }
    assert_ok(pith__gguf_writer_add_strings(writer, "tokenizer.ggml.tokens", tokens, count, &err),
              err);
    if (!spec->no_types) {
        assert_ok(pith__gguf_writer_add_i32s(writer, "tokenizer.ggml.token_type", types,
                                             count - spec->short_types, &err),
                  err);
    }
    if (!spec->no_merges) {
        assert_ok(pith__gguf_writer_add_strings(writer, "tokenizer.ggml.merges", merges,
                                                merge_count, &err),
                  err);
    }
}

static pith__buf write_vocabulary(const vocabulary *spec)
{
    pith_error err;
    pith__gguf_writer writer;
    pith__buf buf;
    pith__buf_init(&buf, mem, SIZE_MAX);
    pith__gguf_writer_init(&writer, mem);
    if (spec->model != NULL) {
        assert_ok(pith__gguf_writer_add_string(&writer, "tokenizer.ggml.model", spec->model,
                                               strlen(spec->model), &err),
                  err);
    }
    if (spec->pre != NULL) {
        assert_ok(pith__gguf_writer_add_string(&writer, "tokenizer.ggml.pre", spec->pre,
                                               strlen(spec->pre), &err),
                  err);
    }
    add_arrays(&writer, spec);
    if (spec->bos != PITH__TOKEN_NONE) {
        assert_ok(
            pith__gguf_writer_add_u32(&writer, "tokenizer.ggml.bos_token_id", spec->bos, &err),
            err);
        assert_ok(pith__gguf_writer_add_bool(&writer, "tokenizer.ggml.add_bos_token", true, &err),
                  err);
    }
    assert_ok(pith__gguf_writer_write(&writer, append_to_buf, &buf, &err), err);
    pith__gguf_writer_deinit(&writer);
    return buf;
}

static pith_status open_vocabulary(const vocabulary *spec, pith__tokenizer **out, pith_error *err)
{
    pith__gguf gguf;
    pith__buf buf = write_vocabulary(spec);
    assert_ok(pith__gguf_parse(buf.data, buf.size, mem, &gguf, err), *err);
    const pith_status status = pith__tokenizer_from_gguf(&gguf, mem, out, err);
    pith__gguf_deinit(&gguf);
    pith__buf_deinit(&buf);
    return status;
}

/* Ids: 0-255 bytes, then the extra tokens. */
static const vocabulary healthy = {
    .model = "gpt2",
    .pre = "gpt-2",
    .extra = {"th", "the", "<s>", "<user>", "<s>>", "<pad>", "\xc4\xa0the"},
    .extra_types = {1, 1, 3, 4, 3, 5, 1},
    .merges = {"t h", "th e", "\xc4\xa0 the"},
    .bos = 258,
};

static void test_special_tokens(void **state)
{
    (void)state;
    pith_error err;
    pith__tokenizer *tokenizer = NULL;
    assert_ok(open_vocabulary(&healthy, &tokenizer, &err), err);
    assert_int_equal(pith__tokenizer_bos(tokenizer), 258);
    assert_int_equal(pith__tokenizer_eos(tokenizer), PITH__TOKEN_NONE);
    assert_true(pith__tokenizer_adds_bos(tokenizer));
    assert_true(pith__tokenizer_is_special(tokenizer, 258));
    assert_false(pith__tokenizer_is_special(tokenizer, 257));
    assert_false(pith__tokenizer_is_special(tokenizer, 259)); /* user-defined */
    assert_false(pith__tokenizer_is_special(tokenizer, 100000));
    const char *bytes = NULL;
    size_t size = 0;
    assert_status(pith__tokenizer_bytes(tokenizer, 263, &bytes, &size, &err), PITH_E_RANGE);
    assert_null(bytes);

    const char text[] = "<s>>the <user> the<s><pad>";
    pith__tokens tokens = encode(tokenizer, text, strlen(text), true);
    const uint32_t parsed[] = {260, 257, 0, 259, 262, 258, 0, 0, 0, 0, 0};
    assert_int_equal(tokens.count, 11);
    for (size_t i = 0; i < 11; i++) {
        if (parsed[i] != 0) {
            assert_int_equal(tokens.items[i].id, parsed[i]);
        }
    }
    pith__tokens_deinit(&tokens, mem);

    tokens = encode(tokenizer, text, strlen(text), false); /* only <user> is recognised */
    size_t user = 0;
    for (size_t i = 0; i < tokens.count; i++) {
        user += tokens.items[i].id == 259;
        assert_false(pith__tokenizer_is_special(tokenizer, tokens.items[i].id));
    }
    assert_int_equal(user, 1);
    assert_int_equal(tokens.count, 4 + 1 + 1 + 1 + 1 + 3 + 5);
    pith__tokens_deinit(&tokens, mem);
    check_partition(tokenizer, text, strlen(text));

    /* what is appended comes after what was there; an empty text adds nothing, NULL will do */
    tokens = encode(tokenizer, "the", 3, false);
    assert_ok(pith__tokenizer_encode(tokenizer, NULL, 0, true, mem, &tokens, &err), err);
    assert_ok(pith__tokenizer_encode(tokenizer, "th", 2, true, mem, &tokens, &err), err);
    assert_int_equal(tokens.count, 2);
    assert_int_equal(tokens.items[0].id, 257);
    assert_int_equal(tokens.items[1].id, 256);
    assert_int_equal(tokens.items[1].start, 0);
    pith__tokens_deinit(&tokens, mem);
    pith__tokenizer_free(tokenizer);
}

static void check_refused(const vocabulary *spec, pith_status status, const char *word)
{
    pith_error err;
    pith__tokenizer *tokenizer = NULL;
    assert_status(open_vocabulary(spec, &tokenizer, &err), status);
    assert_null(tokenizer);
    if (strstr(err.message, word) == NULL) {
        fail_msg("\"%s\" does not mention \"%s\"", err.message, word);
    }
}

static void test_gguf_damaged(void **state)
{
    (void)state;
    vocabulary spec = healthy;
    spec.model = NULL;
    check_refused(&spec, PITH_E_CORRUPT, "tokenizer.ggml.model");
    spec.model = "bert";
    check_refused(&spec, PITH_E_UNSUPPORTED, "\"bert\"");
    spec = healthy;
    spec.pre = "klingon";
    check_refused(&spec, PITH_E_UNSUPPORTED, "\"klingon\"");
    spec = healthy;
    spec.no_merges = true;
    check_refused(&spec, PITH_E_CORRUPT, "tokenizer.ggml.merges");
    spec = healthy;
    spec.short_types = true;
    check_refused(&spec, PITH_E_CORRUPT, "262 token types");
    spec = healthy;
    spec.missing_byte = 1 + 0x80;
    check_refused(&spec, PITH_E_CORRUPT, "0x80");
    spec = healthy;
    spec.bos = 263;
    check_refused(&spec, PITH_E_CORRUPT, "263");
    const char *const merges[] = {"th", "t  h", "t q", "q zz", " th", "th ", "t \xe2\x82\xac", ""};
    for (size_t i = 0; i < sizeof merges / sizeof merges[0]; i++) {
        spec = healthy;
        spec.merges[1] = merges[i];
        check_refused(&spec, PITH_E_CORRUPT, "merge 1");
    }
    const char *const tokens[] = {"t h", "", "\xff", "\xc4", "\xe2\x82\xac", "\xc5\x84", "\x7f"};
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        spec = healthy;
        spec.extra[3] = tokens[i];
        spec.extra_types[3] = 1;
        check_refused(&spec, PITH_E_CORRUPT, "token 259");
    }
    spec = healthy;
    spec.extra[1] = "th";
    check_refused(&spec, PITH_E_CORRUPT, "256 and 257");
}

static void test_gguf_defaults(void **state)
{
    (void)state;
    pith_error err;
    pith__tokenizer *tokenizer = NULL;
    vocabulary spec = {.model = "gpt2",
                       .extra = {"th"},
                       .merges = {"t h", "t h"}, /* the second one changes nothing */
                       .no_types = true,
                       .bos = PITH__TOKEN_NONE};
    assert_ok(open_vocabulary(&spec, &tokenizer, &err), err);
    assert_int_equal(pith__tokenizer_bos(tokenizer), PITH__TOKEN_NONE);
    assert_false(pith__tokenizer_adds_bos(tokenizer));
    assert_int_equal(pith__tokenizer_size(tokenizer), 257);
    pith__tokens tokens = encode(tokenizer, "thth", 4, true);
    assert_int_equal(tokens.count, 2);
    pith__tokens_deinit(&tokens, mem);
    pith__tokenizer_free(tokenizer);
}

/* ---- what a tokenizer is ---------------------------------------------------------------- */

/* Values that a script of its own computed from the files, as token_hash.c describes it. */
static void test_sha256_golden(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"models/llama_gqa.gguf",
         "c6d123778a0a9f3fa25195fda38942f408d912794717b92d5fb47853fc7d9ca9"},
        {"models/boot-ckpt.gguf",
         "12f9a04da07524216043de68f5c774cc9e9af96ecbaaf9d9917913902163710b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char sha256[PITH__SHA256_SIZE];
        pith__tokenizer *tokenizer = open_gguf("golden", cases[i][0]);
        pith__tokenizer_sha256(tokenizer, sha256);
        assert_string_equal(sha256, cases[i][1]);
        pith__tokenizer_free(tokenizer);
    }
}

static void hash_vocabulary(const vocabulary *spec, char sha256[PITH__SHA256_SIZE])
{
    pith_error err;
    pith__tokenizer *tokenizer = NULL;
    assert_ok(open_vocabulary(spec, &tokenizer, &err), err);
    pith__tokenizer_sha256(tokenizer, sha256);
    pith__tokenizer_free(tokenizer);
}

static void test_sha256_of_changes(void **state)
{
    (void)state;
    char hashes[12][PITH__SHA256_SIZE];
    size_t count = 0;
    vocabulary spec = healthy;
    hash_vocabulary(&spec, hashes[count++]);
    spec.merges[0] = "th e"; /* the other order */
    spec.merges[1] = "t h";
    hash_vocabulary(&spec, hashes[count++]);
    spec = healthy;
    spec.merges[2] = NULL;
    hash_vocabulary(&spec, hashes[count++]);
    spec = healthy;
    spec.extra[2] = "<t>"; /* another spelling */
    hash_vocabulary(&spec, hashes[count++]);
    spec = healthy;
    spec.extra_types[3] = 3; /* control, not user-defined */
    hash_vocabulary(&spec, hashes[count++]);
    spec = healthy;
    spec.bos = 257;
    hash_vocabulary(&spec, hashes[count++]);
    spec.bos = PITH__TOKEN_NONE;
    hash_vocabulary(&spec, hashes[count++]);
    spec = healthy;
    spec.pre = "qwen2";
    hash_vocabulary(&spec, hashes[count++]);
    spec.pre = "llama3";
    hash_vocabulary(&spec, hashes[count++]);
    spec.pre = "dbrx"; /* the same pattern, but merges decide */
    hash_vocabulary(&spec, hashes[count++]);
    spec = healthy;
    spec.extra[0] = "the"; /* two ids exchanged */
    spec.extra[1] = "th";
    hash_vocabulary(&spec, hashes[count++]);
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(hashes[i], hashes[j]);
        }
    }
}

static void test_sha256_of_equals(void **state)
{
    (void)state;
    char expected[PITH__SHA256_SIZE];
    char got[PITH__SHA256_SIZE];
    vocabulary spec = healthy;
    hash_vocabulary(&spec, expected);
    spec.merges[3] = "t h"; /* a second time: changes nothing */
    hash_vocabulary(&spec, got);
    assert_string_equal(got, expected);
    spec = healthy;
    spec.pre = NULL; /* means what "gpt-2" does */
    hash_vocabulary(&spec, got);
    assert_string_equal(got, expected);

    const char *const tokens[] = {"bc", "ab", "abc"};
    pith__buf ranks = small_ranks(tokens, 3);
    pith__tokenizer *tokenizer = open_ranks(&ranks, "gpt2");
    pith__tokenizer_sha256(tokenizer, expected);
    pith__tokenizer_free(tokenizer);
    char *first = strchr(ranks.data, '\n') + 1; /* the first line comes last instead */
    const size_t line = (size_t)(first - ranks.data);
    char moved[64];
    memcpy(moved, ranks.data, line);
    memmove(ranks.data, first, ranks.size - line);
    memcpy(ranks.data + ranks.size - line, moved, line);
    tokenizer = open_ranks(&ranks, "r50k");
    pith__tokenizer_sha256(tokenizer, got);
    assert_string_equal(got, expected);
    pith__tokenizer_free(tokenizer);
    tokenizer = open_ranks(&ranks, "cl100k");
    pith__tokenizer_sha256(tokenizer, got);
    assert_string_not_equal(got, expected);
    pith__tokenizer_free(tokenizer);
    pith__buf_deinit(&ranks);
    const char *const others[] = {"ab", "bc", "abc"};
    ranks = small_ranks(others, 3);
    tokenizer = open_ranks(&ranks, "gpt2");
    pith__tokenizer_sha256(tokenizer, got);
    assert_string_not_equal(got, expected);
    pith__tokenizer_free(tokenizer);
    pith__buf_deinit(&ranks);
}

static void test_find(void **state)
{
    (void)state;
    pith_error err;
    pith__tokenizer *tokenizer = NULL;
    vocabulary spec = healthy;
    spec.extra[7] = "<s>"; /* a piece of text that is spelled like a control token */
    spec.extra_types[7] = 1;
    assert_ok(open_vocabulary(&spec, &tokenizer, &err), err);
    const struct {
        const char *text;
        uint32_t id;
    } cases[] = {
        {"the", 257},
        {" the", 262},
        {"<s>", 258},
        {"<user>", 259},
        {"<s>>", 260},
        {"t", 't'},
        {"thee", PITH__TOKEN_NONE},
        {"<pad>", PITH__TOKEN_NONE},
        {"", PITH__TOKEN_NONE},
        {"<use", PITH__TOKEN_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(pith__tokenizer_find(tokenizer, cases[i].text, strlen(cases[i].text)),
                         cases[i].id);
    }
    assert_int_equal(pith__tokenizer_find(tokenizer, NULL, 0), PITH__TOKEN_NONE);
    pith__tokenizer_free(tokenizer);
    const char *const tokens[] = {"bc", "a\n"};
    pith__buf ranks = small_ranks(tokens, 2);
    tokenizer = open_ranks(&ranks, "gpt2");
    assert_int_equal(pith__tokenizer_find(tokenizer, "bc", 2), 256);
    assert_int_equal(pith__tokenizer_find(tokenizer, "a\n", 2), 257);
    assert_int_equal(pith__tokenizer_find(tokenizer, "\0", 1), 0);
    assert_int_equal(pith__tokenizer_find(tokenizer, "bcd", 3), PITH__TOKEN_NONE);
    pith__tokenizer_free(tokenizer);
    pith__buf_deinit(&ranks);
}

/* ---- memory -------------------------------------------------------------------------- */

static pith_status use_tokenizer(const pith__tokenizer *tokenizer, const pith_allocator *sweep_mem)
{
    char text[600];
    memset(text, 't', sizeof text);
    memcpy(text, "the <user> \xff 123 ", 16);
    size_t count = 0;
    pith__tokens tokens = {NULL, 0, 0};
    pith_status status =
        pith__tokenizer_count(tokenizer, text, sizeof text, sweep_mem, &count, NULL);
    if (status == PITH_OK) {
        status =
            pith__tokenizer_encode(tokenizer, text, sizeof text, true, sweep_mem, &tokens, NULL);
    }
    if (status == PITH_OK) {
        assert_int_equal(tokens.count, count);
    } else {
        assert_int_equal(tokens.count, 0);
    }
    pith__tokens_deinit(&tokens, sweep_mem);
    return status;
}

static pith_status sweep_gguf(const pith_allocator *sweep_mem, void *user)
{
    const pith__gguf *gguf = user;
    pith__tokenizer *tokenizer = NULL;
    PITH__TRY(pith__tokenizer_from_gguf(gguf, sweep_mem, &tokenizer, NULL));
    const pith_status status = use_tokenizer(tokenizer, sweep_mem);
    pith__tokenizer_free(tokenizer);
    return status;
}

static pith_status sweep_ranks(const pith_allocator *sweep_mem, void *user)
{
    const pith__buf *buf = user;
    pith__tokenizer *tokenizer = NULL;
    PITH__TRY(
        pith__tokenizer_from_ranks(buf->data, buf->size, "cl100k", sweep_mem, &tokenizer, NULL));
    const pith_status status = use_tokenizer(tokenizer, sweep_mem);
    pith__tokenizer_free(tokenizer);
    return status;
}

static void test_allocation_sweep(void **state)
{
    (void)state;
    pith_error err;
    pith__gguf gguf;
    pith__buf file = write_vocabulary(&healthy);
    assert_ok(pith__gguf_parse(file.data, file.size, mem, &gguf, &err), err);
    test_sweep(sweep_gguf, &gguf);
    pith__gguf_deinit(&gguf);
    pith__buf_deinit(&file);

    const char *const tokens[] = {"tt", "tttt", "the", "th"};
    pith__buf ranks = small_ranks(tokens, 4);
    test_sweep(sweep_ranks, &ranks);
    pith__buf_deinit(&ranks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_gpt2_pattern),
        cmocka_unit_test(test_golden_llama3_pattern),
        cmocka_unit_test(test_golden_qwen2_pattern),
        cmocka_unit_test(test_golden_gpt2_vocabulary),
        cmocka_unit_test(test_golden_models),
        cmocka_unit_test(test_vectors_gpt2),
        cmocka_unit_test(test_ranks_equal_gguf),
        cmocka_unit_test(test_ranks_merge_lowest_first),
        cmocka_unit_test(test_ranks_damaged),
        cmocka_unit_test(test_patterns),
        cmocka_unit_test(test_random_texts),
        cmocka_unit_test(test_long_runs),
        cmocka_unit_test(test_merging_by_definition),
        cmocka_unit_test(test_special_tokens),
        cmocka_unit_test(test_gguf_damaged),
        cmocka_unit_test(test_gguf_defaults),
        cmocka_unit_test(test_sha256_golden),
        cmocka_unit_test(test_sha256_of_changes),
        cmocka_unit_test(test_sha256_of_equals),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_allocation_sweep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
