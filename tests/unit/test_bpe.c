/*
 * test_bpe.c: vocabularies learned from text: against merges worked out by hand and against a
 * reference that counts everything anew for each merge.
 */
#include "test.h"

#include "token/token_internal.h"
#include "train/train.h"

static const pith_allocator *const mem = &pith__allocator_default;

static const char *const specials[] = {"<|endoftext|>", "<|pad|>", "<|gist|>", "<|sep|>"};
#define SPECIALS 4u
#define FIRST    (SPECIALS + 256u) /* the first entry that is learned */

/* ---- helpers ---------------------------------------------------------------- */

/* Documents in memory, as pith__source_open() has those of a file. */
typedef struct corpus {
    pith__source source;
    char *text;
    size_t size;
    pith__document documents[256];
} corpus;

static void corpus_init(corpus *c, size_t capacity)
{
    *c = (corpus){.source = {.weight = 1, .mem = *mem}};
    c->text = malloc(capacity);
    assert_non_null(c->text);
    c->source.training = c->documents;
}

/* Appends `times` times `text` as one document. */
static void corpus_add(corpus *c, const char *text, size_t size, size_t times)
{
    const size_t start = c->size;
    for (size_t i = 0; i < times; i++) {
        memcpy(c->text + c->size, text, size);
        c->size += size;
    }
    assert_true(c->source.n_training < sizeof c->documents / sizeof c->documents[0]);
    c->documents[c->source.n_training++] = (pith__document){start, c->size};
    c->source.file = (pith__file){(const unsigned char *)c->text, c->size};
}

static corpus corpus_of(const char *const *texts, size_t n)
{
    corpus c;
    corpus_init(&c, 1 << 20);
    for (size_t i = 0; i < n; i++) {
        corpus_add(&c, texts[i], strlen(texts[i]), 1);
    }
    c.source.training = NULL; /* the array moves with `c`: set where it is used */
    return c;
}

static pith__bpe_settings settings_of(uint32_t size, const char *pre)
{
    return (pith__bpe_settings){
        .size = size, .pre = pre, .specials = specials, .n_specials = SPECIALS, .threads = 1};
}

/* A trained vocabulary: its file, parsed, and the tokenizer of it. */
typedef struct trained {
    pith__buf file;
    pith__gguf gguf;
    pith__tokenizer *tokenizer;
} trained;

static bool append(void *user, const char *data, size_t size)
{
    return pith__buf_append(user, data, size, NULL) == PITH_OK;
}

static pith_status train_status(const pith__source *sources, size_t n,
                                const pith__bpe_settings *settings)
{
    pith_error err;
    pith__gguf_writer writer;
    pith__gguf_writer_init(&writer, mem);
    const pith_status status = pith__bpe_train(sources, n, settings, mem, &writer, &err);
    assert_true(status == PITH_OK || writer.n_keys == 0);
    pith__gguf_writer_deinit(&writer);
    return status;
}

static void train_sources(const pith__source *sources, size_t n, const pith__bpe_settings *settings,
                          trained *out)
{
    pith_error err;
    pith__gguf_writer writer;
    pith__gguf_writer_init(&writer, mem);
    assert_ok(pith__bpe_train(sources, n, settings, mem, &writer, &err), err);
    pith__buf_init(&out->file, mem, SIZE_MAX / 2);
    assert_ok(pith__gguf_writer_write(&writer, append, &out->file, &err), err);
    pith__gguf_writer_deinit(&writer);
    assert_ok(pith__gguf_parse((const unsigned char *)out->file.data, out->file.size, mem,
                               &out->gguf, &err),
              err);
    assert_ok(pith__tokenizer_from_gguf(&out->gguf, mem, &out->tokenizer, &err), err);
}

static void train(corpus *c, const pith__bpe_settings *settings, trained *out)
{
    c->source.training = c->documents;
    train_sources(&c->source, 1, settings, out);
}

static void trained_deinit(trained *t)
{
    pith__tokenizer_free(t->tokenizer);
    pith__gguf_deinit(&t->gguf);
    pith__buf_deinit(&t->file);
}

static pith__gguf_strings strings_of(const trained *t, const char *key, size_t *count)
{
    pith_error err;
    pith__gguf_array array;
    assert_ok(pith__gguf_get_array(&t->gguf, key, PITH__GGUF_VALUE_STRING, &array, &err), err);
    *count = array.count;
    return pith__gguf_strings_of(&array);
}

static void check_merges(const trained *t, const char *const *expected, size_t n)
{
    size_t count = 0;
    pith__gguf_strings merges = strings_of(t, "tokenizer.ggml.merges", &count);
    assert_int_equal(count, n);
    pith__gguf_string merge;
    for (size_t i = 0; i < n; i++) {
        assert_true(pith__gguf_strings_next(&merges, &merge));
        if (!pith__gguf_string_equal(merge, expected[i])) {
            fail_msg("merge %zu is \"%.*s\", not \"%s\"", i, (int)merge.size, merge.data,
                     expected[i]);
        }
    }
}

/* The texts teach exactly these merges, and none beyond them. */
static void check_taught(const char *const *texts, size_t n_texts, const char *const *expected,
                         size_t n)
{
    corpus c = corpus_of(texts, n_texts);
    c.source.training = c.documents;
    trained t;
    pith__bpe_settings settings = settings_of((uint32_t)(FIRST + n), "gpt-2");
    train(&c, &settings, &t);
    check_merges(&t, expected, n);
    trained_deinit(&t);
    settings.size++;
    assert_status(train_status(&c.source, 1, &settings), PITH_E_ARGUMENT);
    free(c.text);
}

/* True if a token has exactly these bytes. */
static bool has_token(const trained *t, const char *bytes)
{
    return pith__vocab_find(&t->tokenizer->vocab, bytes, strlen(bytes)) != PITH__TOKEN_NONE;
}

static size_t count_tokens(const trained *t, const char *text, size_t size)
{
    pith_error err;
    size_t count = 0;
    assert_ok(pith__tokenizer_count(t->tokenizer, text, size, mem, &count, &err), err);
    return count;
}

static corpus corpus_of_file(const char *name)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/%s", PITH_TEST_DATA, name);
    size_t size = 0;
    char *text = test_read_file(path, &size);
    corpus c = {.source = {.weight = 1, .mem = *mem}, .text = text};
    c.source.file = (pith__file){(const unsigned char *)text, size};
    c.size = size;
    c.documents[0] = (pith__document){0, size};
    c.source.n_training = 1;
    return c;
}

/* ---- by hand ------------------------------------------------------------------ */

/*
 * Pieces: "ab" 1, " ab" 2, " cd" 3. (c,d), (a,b) and (Ġ,c) occur 3 times: the space comes
 * first, and again as "Ġc"; then (a,b); at last (Ġ,ab), twice.
 */
static void by_hand(void **state)
{
    (void)state;
    const char *const texts[] = {"ab ab ab cd cd cd"};
    const char *const merges[] = {"Ġ c", "Ġc d", "a b", "Ġ ab"};
    check_taught(texts, 1, merges, 4);
}

/* More frequent pairs go first, whatever their bytes; copies of a document count as often. */
static void frequent_first(void **state)
{
    (void)state;
    const char *const texts[] = {"ab", "xy", "xy", "mn", "mn", "mn"};
    const char *const merges[] = {"m n", "x y", "a b"};
    check_taught(texts, 6, merges, 3);
}

static void ties(void **state)
{
    (void)state;
    const char *const right[] = {"xz", "xy"}; /* the left symbols are the same */
    const char *const right_merges[] = {"x y", "x z"};
    check_taught(right, 2, right_merges, 2);

    const char *const left[] = {"ab", "abc", "ax"}; /* "a" is the beginning of "ab" */
    const char *const left_merges[] = {"a b", "a x", "ab c"};
    check_taught(left, 3, left_merges, 3);

    const char *const bytes[] = {"\xc3\xa9", "zz"}; /* 0xc3 comes after 'z' */
    const char *const bytes_merges[] = {"z z", "Ã ©"};
    check_taught(bytes, 2, bytes_merges, 2);
}

/* (a,a), merged from the left in "aaaaa": aa aa a. Then "a" comes before "aa". */
static void overlapping(void **state)
{
    (void)state;
    const char *const texts[] = {"aaaaa"};
    const char *const merges[] = {"a a", "aa a", "aa aaa"};
    check_taught(texts, 1, merges, 3);

    /* (a,a) at three places, (b,c) at two: counting places that do not overlap would be a tie */
    const char *const more[] = {"aaaa", "bc", "bc"};
    const char *const more_merges[] = {"a a", "b c", "aa aa"};
    check_taught(more, 3, more_merges, 3);
}

/*
 * 10,000 signs are nine pieces of 1,024 and one of 784 = 512 + 256 + 16. Ten doublings; then,
 * of the two pairs of the rest, (256,16), as 256 signs are the beginning of 512; then (512,272).
 */
static void long_piece(void **state)
{
    (void)state;
    char *text = malloc(10001);
    assert_non_null(text);
    memset(text, '=', 10000);
    text[10000] = '\0';
    const char *const texts[] = {text};
    corpus c = corpus_of(texts, 1);
    pith__bpe_settings settings = settings_of(FIRST + 12, "gpt-2");
    trained t;
    train(&c, &settings, &t);
    static const size_t sizes[] = {2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 272, 784};
    for (uint32_t i = 0; i < 12; i++) {
        pith_error err;
        const char *bytes = NULL;
        size_t size = 0;
        assert_ok(pith__tokenizer_bytes(t.tokenizer, FIRST + i, &bytes, &size, &err), err);
        assert_int_equal(size, sizes[i]);
    }
    assert_int_equal(count_tokens(&t, text, 10000), 10);
    trained_deinit(&t);
    settings.size++;
    c.source.training = c.documents;
    assert_status(train_status(&c.source, 1, &settings), PITH_E_ARGUMENT);
    free(c.text);
    free(text);
}

/* Ill-formed bytes are pieces by themselves: no pair holds one of them. */
static void ill_formed(void **state)
{
    (void)state;
    const char *const texts[] = {"\xff\xff\xff\xff", "a\xc3", "a\xc3", "\xe4\xb8", "ab"};
    const char *const merges[] = {"a b"};
    check_taught(texts, 5, merges, 1);
}

/* ---- against counting anew ------------------------------------------------------ */

#define NAIVE_TOKENS 1024

/* Every piece as often as it occurs, and the symbols by their bytes. */
typedef struct naive {
    uint32_t *symbols; /* of all pieces, 0 after each, otherwise a symbol plus 1 */
    size_t count;
    char bytes[NAIVE_TOKENS][64]; /* the pieces here hold no NUL */
    size_t n_tokens;
    uint32_t merges[NAIVE_TOKENS][2];
    size_t n_merges;
    uint32_t (*pairs)[NAIVE_TOKENS];
} naive;

static uint32_t naive_token(naive *n, const char *bytes)
{
    for (size_t i = 0; i < n->n_tokens; i++) {
        if (strcmp(n->bytes[i], bytes) == 0) {
            return (uint32_t)i;
        }
    }
    assert_true(n->n_tokens < NAIVE_TOKENS);
    assert_true(strlen(bytes) < sizeof n->bytes[0]);
    memcpy(n->bytes[n->n_tokens], bytes, strlen(bytes) + 1);
    return (uint32_t)n->n_tokens++;
}

static void naive_init(naive *n, const corpus *c, const char *pre)
{
    pith_error err;
    pith__pattern pattern;
    pith__splitter splitter;
    const pith__gguf_string name = {pre, strlen(pre)};
    assert_ok(pith__pattern_init(&pattern, pith__pattern_of_gguf(name), &err), err);
    assert_ok(pith__splitter_init(&splitter, &pattern, &err), err);
    n->symbols = calloc(2 * c->size + 1, sizeof *n->symbols);
    n->pairs = calloc(NAIVE_TOKENS, sizeof *n->pairs);
    assert_non_null(n->symbols);
    assert_non_null(n->pairs);
    for (int i = 1; i < 256; i++) {
        const char byte[] = {(char)(unsigned char)i, '\0'};
        (void)naive_token(n, byte);
    }
    for (size_t i = 0; i < c->source.n_training; i++) {
        size_t start = 0;
        size_t end = 0;
        pith__splitter_start(&splitter, c->text, c->documents[i].start, c->documents[i].end);
        do {
            assert_ok(pith__splitter_next(&splitter, &start, &end, &err), err);
            for (size_t k = start; k < end; k++) {
                const char byte[] = {c->text[k], '\0'};
                n->symbols[n->count++] = naive_token(n, byte) + 1;
            }
            n->symbols[n->count++] = 0;
        } while (start < end);
    }
    pith__splitter_deinit(&splitter);
    pith__pattern_deinit(&pattern);
}

static void naive_deinit(naive *n)
{
    free(n->symbols);
    free(n->pairs);
    free(n);
}

/* Counts every pair, then picks the best one; false if there is none. */
static bool naive_best(naive *n, uint32_t *left, uint32_t *right)
{
    memset(n->pairs, 0, n->n_tokens * sizeof *n->pairs);
    for (size_t i = 0; i + 1 < n->count; i++) {
        if (n->symbols[i] != 0 && n->symbols[i + 1] != 0) {
            n->pairs[n->symbols[i] - 1][n->symbols[i + 1] - 1]++;
        }
    }
    uint32_t best = 0;
    for (uint32_t a = 0; a < n->n_tokens; a++) {
        for (uint32_t b = 0; b < n->n_tokens; b++) {
            const uint32_t count = n->pairs[a][b];
            int order = best == 0 ? 0 : strcmp(n->bytes[a], n->bytes[*left]);
            order = best == 0 || order != 0 ? order : strcmp(n->bytes[b], n->bytes[*right]);
            if (count > best || (count == best && count > 0 && order < 0)) {
                best = count;
                *left = a;
                *right = b;
            }
        }
    }
    return best > 0;
}

static bool naive_merge(naive *n)
{
    uint32_t left = 0;
    uint32_t right = 0;
    if (!naive_best(n, &left, &right)) {
        return false;
    }
    char joined[128];
    (void)snprintf(joined, sizeof joined, "%s%s", n->bytes[left], n->bytes[right]);
    const uint32_t merged = (uint32_t)n->n_tokens;
    assert_int_equal(naive_token(n, joined), merged); /* no bytes become a token twice */
    size_t count = 0;
    for (size_t i = 0; i < n->count; i++) {
        const bool here = n->symbols[i] == left + 1 && n->symbols[i + 1] == right + 1;
        n->symbols[count++] = here ? merged + 1 : n->symbols[i];
        i += here;
    }
    n->symbols[count] = 0;
    n->count = count;
    assert_true(n->n_merges < NAIVE_TOKENS);
    n->merges[n->n_merges][0] = left;
    n->merges[n->n_merges][1] = right;
    n->n_merges++;
    return true;
}

static void check_same(const naive *n, const trained *t)
{
    size_t count = 0;
    pith__gguf_strings merges = strings_of(t, "tokenizer.ggml.merges", &count);
    assert_int_equal(count, n->n_merges);
    pith__gguf_string merge;
    for (size_t i = 0; pith__gguf_strings_next(&merges, &merge); i++) {
        char expected[512];
        const char *left = n->bytes[n->merges[i][0]];
        const char *right = n->bytes[n->merges[i][1]];
        size_t size = pith__token_spell(left, strlen(left), expected);
        expected[size++] = ' ';
        size += pith__token_spell(right, strlen(right), expected + size);
        expected[size] = '\0';
        if (!pith__gguf_string_equal(merge, expected)) {
            fail_msg("merge %zu is \"%.*s\", not \"%s\"", i, (int)merge.size, merge.data, expected);
        }
    }
}

/* Up to `new_tokens`, or all there are. */
static void compare_naive(corpus *c, const char *pre, size_t new_tokens)
{
    naive *n = calloc(1, sizeof *n);
    assert_non_null(n);
    naive_init(n, c, pre);
    while (n->n_tokens < 255 + new_tokens && naive_merge(n)) {
    }
    trained t;
    const pith__bpe_settings settings =
        settings_of((uint32_t)(SPECIALS + 1 + n->n_tokens), pre); /* the NUL byte too */
    train(c, &settings, &t);
    check_same(n, &t);
    trained_deinit(&t);
    naive_deinit(n);
}

static void naive_on_text(void **state)
{
    (void)state;
    corpus c = corpus_of_file("plain.txt");
    compare_naive(&c, "gpt-2", 300);
    compare_naive(&c, "llama-bpe", 300);
    free(c.text);
    c = corpus_of_file("symbols.txt");
    compare_naive(&c, "llama-bpe", 700); /* to the end */
    free(c.text);
}

/* Few letters: long runs, pairs that overlap, many ties. */
static void naive_on_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        uint64_t random = seed;
        const size_t letters = 1 + test_random_below(&random, 4);
        corpus c;
        corpus_init(&c, 4096);
        for (size_t i = 0; i < 12; i++) {
            char text[40];
            const size_t size = 1 + test_random_below(&random, sizeof text - 1);
            for (size_t k = 0; k < size; k++) {
                text[k] = (char)('a' + (char)test_random_below(&random, letters));
            }
            corpus_add(&c, text, size, 1);
        }
        compare_naive(&c, "gpt-2", 500);
        free(c.text);
    }
}

/* ---- the vocabulary ---------------------------------------------------------------- */

static void round_trip(const trained *t, const char *text, size_t size)
{
    pith_error err;
    pith__tokens tokens = {NULL, 0, 0};
    assert_ok(pith__tokenizer_encode(t->tokenizer, text, size, false, mem, &tokens, &err), err);
    char *decoded = malloc(size + 1);
    assert_non_null(decoded);
    size_t used = 0;
    for (size_t i = 0; i < tokens.count; i++) {
        const char *bytes = NULL;
        size_t length = 0;
        assert_true(tokens.items[i].id >= SPECIALS);
        assert_ok(pith__tokenizer_bytes(t->tokenizer, tokens.items[i].id, &bytes, &length, &err),
                  err);
        assert_true(length <= size - used);
        memcpy(decoded + used, bytes, length);
        used += length;
    }
    assert_int_equal(used, size);
    assert_memory_equal(decoded, text, size);
    free(decoded);
    pith__tokens_deinit(&tokens, mem);
}

static void round_trips(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "The lighthouse keeper's lamp,  and 1868 masons.\n\n\tdone\r\n",
        "Zażółć gęślą jaźń — über 数千年前，人们开始 書く こと 한국어",
        "👩‍👩‍👧‍👦 🏳️‍🌈 e\xcc\x81 \xe2\x80\x8b",
        "\xff\xfe cut \xe4\xb8 off \xc3\x28 \xf0\x9f\x98 \xed\xa0\x80 \xc0\xaf",
        "<|endoftext|> is <|sep|>arated <|nothing|>",
    };
    char bytes[512];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)(unsigned char)(i * 7);
    }
    corpus c = corpus_of_file("plain.txt");
    static const char *const patterns[] = {"gpt-2", "llama-bpe", "qwen2", "gpt-4o"};
    for (size_t p = 0; p < sizeof patterns / sizeof patterns[0]; p++) {
        trained t;
        const pith__bpe_settings settings = settings_of(600, patterns[p]);
        train(&c, &settings, &t);
        assert_int_equal(pith__tokenizer_size(t.tokenizer), 600);
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            round_trip(&t, texts[i], strlen(texts[i]));
        }
        round_trip(&t, bytes, sizeof bytes);
        round_trip(&t, c.text, c.size);
        trained_deinit(&t);
    }
    free(c.text);
}

/* A smaller vocabulary is the beginning of a larger one, and never takes fewer tokens. */
static void more_merges(void **state)
{
    (void)state;
    corpus c = corpus_of_file("plain.txt");
    static const char foreign[] = "Another text, with other words than the island's lighthouse.";
    static const uint32_t sizes[] = {FIRST, FIRST + 1, 280, 300, 350, 450, 600, 700};
    trained last;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        trained t;
        const pith__bpe_settings settings = settings_of(sizes[i], "gpt-2");
        train(&c, &settings, &t);
        if (i == 0) {
            assert_int_equal(count_tokens(&t, c.text, c.size), c.size);
        } else {
            assert_true(count_tokens(&t, c.text, c.size) < count_tokens(&last, c.text, c.size));
            assert_true(count_tokens(&t, foreign, sizeof foreign - 1) <=
                        count_tokens(&last, foreign, sizeof foreign - 1));
            size_t count = 0;
            pith__gguf_strings all = strings_of(&t, "tokenizer.ggml.tokens", &count);
            pith__gguf_strings some = strings_of(&last, "tokenizer.ggml.tokens", &count);
            pith__gguf_string x;
            pith__gguf_string y;
            while (pith__gguf_strings_next(&some, &y)) {
                assert_true(pith__gguf_strings_next(&all, &x));
                assert_int_equal(pith__gguf_string_compare(x, y), 0);
            }
            trained_deinit(&last);
        }
        last = t;
    }
    trained_deinit(&last);
    free(c.text);
}

static void metadata(void **state)
{
    (void)state;
    corpus c = corpus_of_file("plain.txt");
    trained t;
    const pith__bpe_settings settings = settings_of(400, "llama-bpe");
    train(&c, &settings, &t);
    pith_error err;
    pith__gguf_string text;
    assert_ok(pith__gguf_get_string(&t.gguf, "tokenizer.ggml.model", &text, &err), err);
    assert_true(pith__gguf_string_equal(text, "gpt2"));
    assert_ok(pith__gguf_get_string(&t.gguf, "tokenizer.ggml.pre", &text, &err), err);
    assert_true(pith__gguf_string_equal(text, "llama-bpe"));
    pith__gguf_array types;
    assert_ok(pith__gguf_get_array(&t.gguf, "tokenizer.ggml.token_type", PITH__GGUF_VALUE_I32,
                                   &types, &err),
              err);
    assert_int_equal(types.count, 400);
    size_t count = 0;
    pith__gguf_strings tokens = strings_of(&t, "tokenizer.ggml.tokens", &count);
    assert_int_equal(count, 400);
    for (size_t i = 0; pith__gguf_strings_next(&tokens, &text); i++) {
        assert_int_equal(pith__gguf_array_i32(&types, i), i < SPECIALS ? 3 : 1);
        if (i < SPECIALS) {
            assert_true(pith__gguf_string_equal(text, specials[i]));
        }
    }
    (void)strings_of(&t, "tokenizer.ggml.merges", &count);
    assert_int_equal(count, 400 - FIRST);
    assert_int_equal(pith__tokenizer_bos(t.tokenizer), 0);
    assert_int_equal(pith__tokenizer_eos(t.tokenizer), 0);
    assert_true(pith__tokenizer_adds_bos(t.tokenizer));
    trained_deinit(&t);
    free(c.text);
}

/* Numbers that the bytes have in GPT-2's own vocabulary. */
static void order_of_bytes(void **state)
{
    (void)state;
    static const struct {
        char byte;
        uint32_t id;
    } known[] = {{'!', 0},      {'A', 32},     {'~', 93},     {'\xa1', 94}, {'\xac', 105},
                 {'\xae', 106}, {'\xff', 187}, {'\0', 188},   {'\t', 197},  {'\n', 198},
                 {' ', 220},    {'\x7f', 221}, {'\xa0', 254}, {'\xad', 255}};
    corpus c = corpus_of_file("plain.txt");
    trained t;
    const pith__bpe_settings settings = settings_of(FIRST, "gpt-2");
    train(&c, &settings, &t);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        assert_int_equal(pith__vocab_find(&t.tokenizer->vocab, &known[i].byte, 1),
                         SPECIALS + known[i].id);
    }
    trained_deinit(&t);
    free(c.text);
}

static void special_tokens(void **state)
{
    (void)state;
    const char *const texts[] = {"<|sep|><|sep|> <|sep|>", "<|pad|>", "sep gist pad endoftext"};
    corpus c = corpus_of(texts, 3);
    trained t;
    const pith__bpe_settings settings = settings_of(FIRST + 20, "gpt-2");
    train(&c, &settings, &t);
    round_trip(&t, c.text, c.size); /* ids of plain text are SPECIALS and above */
    pith_error err;
    pith__tokens tokens = {NULL, 0, 0};
    static const char spelled[] = "<|endoftext|><|pad|><|gist|><|sep|>";
    assert_ok(
        pith__tokenizer_encode(t.tokenizer, spelled, sizeof spelled - 1, true, mem, &tokens, &err),
        err);
    assert_int_equal(tokens.count, SPECIALS);
    for (uint32_t i = 0; i < SPECIALS; i++) {
        assert_int_equal(tokens.items[i].id, i);
        assert_true(pith__tokenizer_is_special(t.tokenizer, i));
    }
    assert_false(pith__tokenizer_is_special(t.tokenizer, SPECIALS));
    pith__tokens_deinit(&tokens, mem);
    trained_deinit(&t);
    free(c.text);
}

/* ---- what is read --------------------------------------------------------------------- */

/* The same bytes for any number of threads and any order of the documents. */
static void threads(void **state)
{
    (void)state;
    corpus c;
    corpus_init(&c, 1 << 21);
    uint64_t random = 7;
    for (size_t i = 0; i < 200; i++) {
        char text[8000];                           /* long enough for every thread to get some */
        for (size_t k = 0; k < sizeof text; k++) { /* words of up to 4 letters, some much rarer */
            const size_t letter = test_random_below(&random, 1 + test_random_below(&random, 12));
            text[k] = "abcdefghi kl"[k % 5 == 0 ? 9 : letter];
        }
        corpus_add(&c, text, sizeof text, 1);
    }
    trained one;
    pith__bpe_settings settings = settings_of(1000, "gpt-2");
    train(&c, &settings, &one);
    for (unsigned n = 2; n <= 4; n++) {
        trained other;
        settings.threads = n;
        train(&c, &settings, &other);
        assert_int_equal(other.file.size, one.file.size);
        assert_memory_equal(other.file.data, one.file.data, one.file.size);
        trained_deinit(&other);
    }
    for (size_t i = 0; i < 100; i++) {
        const pith__document document = c.documents[i];
        c.documents[i] = c.documents[199 - i];
        c.documents[199 - i] = document;
    }
    trained turned;
    train(&c, &settings, &turned);
    assert_int_equal(turned.file.size, one.file.size);
    assert_memory_equal(turned.file.data, one.file.data, one.file.size);
    trained_deinit(&turned);
    trained_deinit(&one);
    free(c.text);
}

/* Of 20,000 bytes a long document gets no more than a short one: 51 documents, 392 bytes each. */
static void long_documents(void **state)
{
    (void)state;
    corpus c;
    corpus_init(&c, 1 << 20);
    corpus_add(&c, " zq", 3, 70000);
    for (size_t i = 0; i < 50; i++) {
        corpus_add(&c, " ab", 3, 133);
    }
    pith__bpe_settings settings = settings_of(FIRST + 2, "gpt-2");
    trained t;
    train(&c, &settings, &t); /* all of it */
    assert_true(has_token(&t, " zq"));
    assert_false(has_token(&t, " ab"));
    trained_deinit(&t);
    settings.max_bytes = 20000;
    train(&c, &settings, &t);
    assert_true(has_token(&t, " ab"));
    assert_false(has_token(&t, " zq"));
    trained_deinit(&t);
    free(c.text);
}

/* A tenth of a document is read all over it: 24 parts of 10,000 bytes, each with its own word. */
static void spread(void **state)
{
    (void)state;
    corpus c;
    corpus_init(&c, 1 << 20);
    for (int letter = 'a'; letter < 'a' + 24; letter++) {
        const char word[] = {' ', (char)letter, (char)(letter + 1)};
        corpus_add(&c, word, sizeof word, 3333);
    }
    c.documents[0].end = c.size; /* one document */
    c.source.n_training = 1;
    pith__bpe_settings settings = settings_of(FIRST + 12, "gpt-2");
    settings.max_bytes = c.size / 10;
    trained t;
    train(&c, &settings, &t);
    size_t found = 0;
    for (int letter = 'a'; letter < 'a' + 24; letter++) {
        const char word[] = {' ', (char)letter, (char)(letter + 1), '\0'};
        found += has_token(&t, word);
    }
    assert_true(found >= 5); /* of six stretches, one of which may lie on a border */
    trained_deinit(&t);
    free(c.text);
}

/* Two sources of the same size, read in proportion to their weights. */
static void weights(void **state)
{
    (void)state;
    corpus c[2];
    for (size_t i = 0; i < 2; i++) {
        corpus_init(&c[i], 1 << 18);
        corpus_add(&c[i], i == 0 ? " ab" : " zq", 3, 30000);
    }
    for (size_t heavy = 0; heavy < 2; heavy++) {
        pith__source sources[2] = {c[0].source, c[1].source};
        sources[0].training = c[0].documents;
        sources[1].training = c[1].documents;
        sources[heavy].weight = 9;
        pith__bpe_settings settings = settings_of(FIRST + 2, "gpt-2");
        settings.max_bytes = 50000;
        trained t;
        train_sources(sources, 2, &settings, &t);
        assert_int_equal(has_token(&t, " ab"), heavy == 0);
        assert_int_equal(has_token(&t, " zq"), heavy == 1);
        trained_deinit(&t);
        sources[heavy].weight = 0;
        assert_status(train_status(sources, 2, &settings), PITH_E_ARGUMENT);
    }
    free(c[0].text);
    free(c[1].text);
}

/* What is held out is not looked at. */
static void held_out(void **state)
{
    (void)state;
    corpus c;
    corpus_init(&c, 1 << 18);
    corpus_add(&c, " ab", 3, 10);
    corpus_add(&c, " zq", 3, 1000);
    c.source.n_training = 1;
    c.source.held_out = &c.documents[1];
    c.source.n_held_out = 1;
    const pith__bpe_settings settings = settings_of(FIRST + 2, "gpt-2");
    trained t;
    train(&c, &settings, &t);
    assert_true(has_token(&t, " ab"));
    trained_deinit(&t);
    const pith__bpe_settings more = settings_of(FIRST + 3, "gpt-2");
    assert_status(train_status(&c.source, 1, &more), PITH_E_ARGUMENT);
    free(c.text);
}

/* ---- failures ------------------------------------------------------------------------ */

static void wrong_settings(void **state)
{
    (void)state;
    corpus c = corpus_of_file("plain.txt");
    c.source.training = c.documents;
    pith__bpe_settings settings = settings_of(FIRST - 1, "gpt-2");
    assert_status(train_status(&c.source, 1, &settings), PITH_E_ARGUMENT);
    settings.size = 0;
    assert_status(train_status(&c.source, 1, &settings), PITH_E_ARGUMENT);
    settings.size = UINT32_MAX; /* too little text */
    assert_status(train_status(&c.source, 1, &settings), PITH_E_ARGUMENT);
    settings.size = 500;
    settings.max_bytes = 3;
    assert_status(train_status(&c.source, 1, &settings), PITH_E_ARGUMENT);
    settings.max_bytes = UINT64_MAX;
    assert_status(train_status(&c.source, 1, &settings), PITH_OK);
    assert_status(train_status(&c.source, 0, &settings), PITH_E_ARGUMENT);
    settings.pre = "no such pattern";
    assert_status(train_status(&c.source, 1, &settings), PITH_E_ARGUMENT);
    settings.pre = "gpt-2";
    settings.n_specials = 0;
    assert_status(train_status(&c.source, 1, &settings), PITH_E_ARGUMENT);
    static const char *const wrong[][2] = {
        {"<s>", ""}, {"<s>", "<s>"}, {"<s>", "A"}, {"<s>", "Ġthe"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        settings.specials = wrong[i];
        settings.n_specials = 2;
        assert_status(train_status(&c.source, 1, &settings), PITH_E_ARGUMENT);
    }
    free(c.text);
}

static pith_status sweep_body(const pith_allocator *sweep_mem, void *user)
{
    const pith__source *source = user;
    pith__bpe_settings settings = settings_of(420, "llama-bpe");
    settings.max_bytes = 2000;
    pith_error err;
    pith__gguf_writer writer;
    pith__gguf_writer_init(&writer, sweep_mem);
    const pith_status status = pith__bpe_train(source, 1, &settings, sweep_mem, &writer, &err);
    pith__gguf_writer_deinit(&writer);
    return status;
}

static void memory_sweep(void **state)
{
    (void)state;
    corpus c = corpus_of_file("plain.txt");
    c.source.training = c.documents;
    test_sweep(sweep_body, &c.source);
    free(c.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand),        cmocka_unit_test(frequent_first),
        cmocka_unit_test(ties),           cmocka_unit_test(overlapping),
        cmocka_unit_test(long_piece),     cmocka_unit_test(ill_formed),
        cmocka_unit_test(naive_on_text),  cmocka_unit_test(naive_on_random),
        cmocka_unit_test(round_trips),    cmocka_unit_test(more_merges),
        cmocka_unit_test(metadata),       cmocka_unit_test(order_of_bytes),
        cmocka_unit_test(special_tokens), cmocka_unit_test(threads),
        cmocka_unit_test(long_documents), cmocka_unit_test(spread),
        cmocka_unit_test(weights),        cmocka_unit_test(held_out),
        cmocka_unit_test(wrong_settings), cmocka_unit_test(memory_sweep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
