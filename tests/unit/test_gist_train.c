/*
 * test_gist_train.c: triples from files, the samples they become, and training to gist: that it is
 * what is used later, that instructions arrive, adapters, added tokens, stopping and going on.
 */
#include "run_fixture.h"

#include "train/run.h"
#include "train/triples.h"

#include <dirent.h>

static const pith_allocator *const mem = &pith__allocator_default;

#define ALL_MATRICES ((1u << PITH__BLOCK_MATRICES) - 1)

static void write_text(const folder *f, const char *name, const char *text)
{
    folder_write(f, name, text, strlen(text));
}

static pith__token_text text_of(const char *text)
{
    return (pith__token_text){text, strlen(text)};
}

static pith__triple triple_of(const char *instruction, const char *input, const char *output)
{
    return (pith__triple){text_of(instruction), text_of(input), text_of(output)};
}

/* ---- files ----------------------------------------------------------------------------------- */

static pith_status open_triples(const folder *f, const char *name, pith__pair_file *out,
                                pith_error *err)
{
    return pith__pair_lines_open(folder_path(f, name), pith__triple_members, PITH__TRIPLE_MEMBERS,
                                 0, mem, out, err);
}

static void assert_text(pith__token_text text, const char *expected, size_t size)
{
    assert_int_equal(text.size, size);
    assert_memory_equal(text.data, expected, size);
}

static void lines_become_triples(void **state)
{
    const folder *f = *state;
    pith_error err = {0};
    pith__pair_file file;
    pith__arena arena;
    pith__triple triples[5];
    write_text(f, "t.jsonl",
               "{\"instruction\": \"one\", \"input\": \"two\", \"output\": \"three\"}\n"
               "\n"
               "{\"output\": \"c\", \"x\": 1, \"instruction\": \"a\"}\r\n"
               "{\"instruction\": \"a\", \"input\": \"\", \"output\": \"\"}\n"
               "{\"instruction\": \"\", \"input\": \"{input}\", \"output\": \"caf\\u00e9\"}\n"
               "{\"instruction\": \"x\\u0000y\", \"output\": \"z\"}");
    assert_ok(open_triples(f, "t.jsonl", &file, &err), err);
    assert_int_equal(file.n_training, 5);
    pith__arena_init(&arena, mem);
    for (size_t i = 0; i < 5; i++) {
        assert_ok(pith__triple_read(&file, file.training[i], &arena, &triples[i], &err), err);
    }
    assert_text(triples[0].instruction, "one", 3);
    assert_text(triples[0].input, "two", 3);
    assert_text(triples[0].output, "three", 5);
    assert_text(triples[1].instruction, "a", 1);
    assert_text(triples[1].input, "", 0);
    assert_text(triples[1].output, "c", 1);
    assert_text(triples[2].input, "", 0);
    assert_text(triples[2].output, "", 0);
    assert_text(triples[3].input, "{input}", 7);
    assert_text(triples[3].output, "caf\xc3\xa9", 5);
    assert_text(triples[4].instruction, "x\0y", 3);
    pith__arena_deinit(&arena);
    pith__pair_file_close(&file);
}

static void lines_that_are_no_triples_are_told_by_number(void **state)
{
    const folder *f = *state;
    static const struct {
        const char *line;
        pith_status status;
        const char *says;
    } cases[] = {
        {"{\"instruction\": \"a\", \"output\": \"b\"", PITH_E_SYNTAX, "line 2: "},
        {"[]", PITH_E_CORRUPT, "line 2: not a JSON object"},
        {"{\"instruction\": \"a\"}", PITH_E_CORRUPT,
         "line 2: no strings \"instruction\" and \"output\""},
        {"{\"input\": \"a\", \"output\": \"b\"}", PITH_E_CORRUPT, "line 2: no strings"},
        {"{\"instruction\": \"a\", \"input\": null, \"output\": \"b\"}", PITH_E_CORRUPT,
         "line 2: \"input\" is no string"},
        {"{\"instruction\": \"a\", \"input\": 3, \"output\": \"b\"}", PITH_E_CORRUPT,
         "line 2: \"input\" is no string"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static const char good[] = "{\"instruction\": \"a\", \"output\": \"b\"}\n";
        char text[256];
        pith__pair_file file;
        pith_error err = {0};
        (void)snprintf(text, sizeof text, "%s%s\n%s", good, cases[i].line, good);
        write_text(f, "bad.jsonl", text);
        const pith_status status = open_triples(f, "bad.jsonl", &file, &err);
        if (status != cases[i].status || strstr(err.message, cases[i].says) == NULL ||
            strstr(err.message, "bad.jsonl") == NULL) {
            fail_msg("case %zu: %s: %s", i, pith_status_name(status), err.message);
        }
        assert_int_equal(err.offset, sizeof good - 1);
    }
}

static void an_empty_input_has_no_line(void **state)
{
    (void)state;
    static const struct {
        const char *suffix, *input, *expected;
    } cases[] = {
        {PITH__GIST_SUFFIX_TEXT, "fox", "\nInput: fox\nOutput:"},
        {PITH__GIST_SUFFIX_TEXT, "a\nb", "\nInput: a\nb\nOutput:"},
        {PITH__GIST_SUFFIX_TEXT, "{input}", "\nInput: {input}\nOutput:"},
        {PITH__GIST_SUFFIX_TEXT, "", "\nOutput:"},
        {"{input}", "x", "x"},
        {"{input}", "", ""},
        {"In {input} out\nA:", "", "\nA:"},
        {"1\nIn {input}", "", "1"},
        {"1\n\n{input}\n\n2", "", "1\n\n\n2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pith__buf out;
        pith_error err = {0};
        pith__buf_init(&out, mem, 1024);
        assert_ok(pith__gist_suffix(cases[i].suffix, text_of(cases[i].input), &out, &err), err);
        assert_string_equal(out.data, cases[i].expected);
        pith__buf_deinit(&out);
    }
    pith__buf out;
    pith__buf_init(&out, mem, 1024);
    assert_status(pith__gist_suffix("no place", text_of("x"), &out, NULL), PITH_E_ARGUMENT);
    pith__buf_deinit(&out);
}

/* ---- keywords ----------------------------------------------------------------------------------- */

static void keyword_is(const pith__keywords *keywords, const char *text, const char *expected)
{
    pith__arena arena;
    pith__token_text word;
    pith_error err = {0};
    pith__arena_init(&arena, mem);
    assert_ok(pith__keyword_of(keywords, text_of(text), &arena, &word, &err), err);
    if (word.size != strlen(expected) || memcmp(word.data, expected, word.size) != 0) {
        fail_msg("\"%s\": %.*s, expected %s", text, (int)word.size, word.data, expected);
    }
    pith__arena_deinit(&arena);
}

/*
 * Four texts, one of them twice. df: write 3, a 3, poem 2, story 1, the 1, about 1, fox 1, count 1,
 * words 1. idf = ln(5 / (1 + df)) + 1: 1.223 for 3, 1.511 for 2, 1.916 for 1, 2.609 for 0.
 */
static void keywords_are_those_of_the_formula(void **state)
{
    (void)state;
    static const char *const texts[] = {"Write a poem.", "Write a story", "Write a poem.",
                                        "write a POEM about a fox", "Count the words!"};
    pith__keywords keywords;
    pith_error err = {0};
    pith__keywords_init(&keywords, mem);
    keyword_is(&keywords, "Nothing is known", "nothing"); /* all alike: the first one */
    for (size_t i = 0; i < 5; i++) {
        assert_ok(pith__keywords_add(&keywords, text_of(texts[i]), &err), err);
    }
    keyword_is(&keywords, "Write a poem.", "poem");        /* 1.223 1.223 1.511 */
    keyword_is(&keywords, "Write a story", "story");       /* 1.223 1.223 1.916 */
    keyword_is(&keywords, "a fox and a hare", "and");      /* 2.446 1.916 2.609 2.446 2.609 */
    keyword_is(&keywords, "Count the words!", "count");    /* 1.916 each: the first */
    keyword_is(&keywords, "poem story poem", "poem");      /* 3.022 1.916 */
    keyword_is(&keywords, "write write a story", "write"); /* 2.446 1.223 1.916 */
    keyword_is(&keywords, "a write", "a"); /* 1.223 each: that a text has "a" twice is nothing */
    keyword_is(&keywords, "Write a \xc3\x89tude", "\xc3\xa9tude"); /* case of all scripts */
    keyword_is(&keywords, "...", "");
    keyword_is(&keywords, "", "");
    pith__keywords_deinit(&keywords);
    pith__keywords none = {.mem = {0}};
    pith__keywords_deinit(&none);
}

/* Words of many texts, more than fit into the first table. */
static void many_words_are_counted(void **state)
{
    (void)state;
    pith__keywords keywords;
    pith_error err = {0};
    char text[64];
    pith__keywords_init(&keywords, mem);
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(text, sizeof text, "w%u n%u m%u all", i, i / 10, i / 100);
        assert_ok(pith__keywords_add(&keywords, text_of(text), &err), err);
    }
    keyword_is(&keywords, "all m3 n33 w333", "w333");
    keyword_is(&keywords, "all m3 n33", "n33");
    keyword_is(&keywords, "all m3", "m3");
    keyword_is(&keywords, "all new", "new");
    pith__keywords_deinit(&keywords);
}

/* ---- a model to tune ---------------------------------------------------------------------------- */

enum { THINGS = 8, GIST_VOCABULARY = 340, LENGTH = 64 };

/* Texts with all the words of triples, of which nothing follows from the others. */
static void write_texts(const folder *f, const char *name, size_t documents, uint64_t seed)
{
    FILE *file = fopen(folder_path(f, name), "wb");
    assert_non_null(file);
    for (size_t d = 0; d < documents; d++) {
        (void)fprintf(file, "Instruction: %s please\n\nInput: %s %s\nOutput: %s\n%s\n",
                      run_words[test_random_below(&seed, WORDS)],
                      run_words[test_random_below(&seed, WORDS)],
                      run_words[test_random_below(&seed, WORDS)],
                      run_words[test_random_below(&seed, WORDS)], PITH__DOCUMENT_END);
    }
    assert_int_equal(fclose(file), 0);
}

/* base.gguf, which has learned the texts. */
static int make_folder(void **state)
{
    folder *f = malloc(sizeof *f);
    assert_non_null(f);
    *state = f;
    folder_make(f);
    write_texts(f, "animals.txt", 300, 1);
    run_write_vocabulary(f, "animals.txt", "vocabulary.gguf", GIST_VOCABULARY);
    run_paths paths;
    pith_error err = {0};
    pith__base_settings s = run_base(f, 60, "base.gguf", NULL, &paths);
    s.run.optimizer = run_optimizer(PITH__OPTIMIZER_MUON);
    s.run.length = LENGTH;
    assert_ok(run_train(s, NULL, &err), err);
    return 0;
}

static int remove_folder(void **state)
{
    folder_remove(*state);
    free(*state);
    return 0;
}

static int clean_folder(void **state)
{
    const folder *f = *state;
    DIR *dir = opendir(f->path);
    assert_non_null(dir);
    for (const struct dirent *entry = NULL; (entry = readdir(dir)) != NULL;) {
        const char *name = entry->d_name;
        if (name[0] != '.' && strcmp(name, "animals.txt") != 0 &&
            strcmp(name, "vocabulary.gguf") != 0 && strcmp(name, "base.gguf") != 0) {
            (void)unlink(folder_path(f, name));
        }
    }
    (void)closedir(dir);
    return 0;
}

/* A file with a model or only a vocabulary. */
typedef struct opened {
    run_file file;
    pith__tokenizer *tokenizer;
    pith__model model;
} opened;

static void tokenizer_open(opened *o, const folder *f, const char *name)
{
    pith_error err = {0};
    *o = (opened){.tokenizer = NULL};
    run_open(f, name, &o->file);
    assert_ok(pith__tokenizer_from_gguf(&o->file.gguf, mem, &o->tokenizer, &err), err);
}

/* With an adapter if `adapter` is not NULL. */
static void model_open(opened *o, const folder *f, const char *name, const char *adapter)
{
    tokenizer_open(o, f, name);
    run_load(f, &o->file, adapter, &o->model);
}

static void opened_close(opened *o)
{
    pith__model_deinit(&o->model);
    pith__tokenizer_free(o->tokenizer);
    run_close(&o->file);
}

/* ---- samples --------------------------------------------------------------------------------------- */

enum { IDS_MAX = 512 };

/* Ids that grow. */
typedef struct id_list {
    uint32_t ids[IDS_MAX];
    size_t count;
} id_list;

static void put(id_list *list, uint32_t id)
{
    assert_true(list->count < IDS_MAX);
    list->ids[list->count++] = id;
}

/* The tokens of a text that end behind byte `from`. */
static void put_text(id_list *list, const opened *o, const char *text, size_t from)
{
    pith__tokens tokens = {0};
    pith_error err = {0};
    assert_ok(pith__tokenizer_encode(o->tokenizer, text, strlen(text), false, mem, &tokens, &err),
              err);
    for (size_t i = 0; i < tokens.count; i++) {
        if (tokens.items[i].end > from) {
            put(list, tokens.items[i].id);
        }
    }
    pith__tokens_deinit(&tokens, mem);
}

/* A sample with room for what tests need. */
typedef struct made {
    pith__arena arena;
    pith__triple_ids ids;
    pith__sample sample;
    uint32_t numbers[4][IDS_MAX];
    uint32_t first[IDS_MAX];
} made;

static pith_status make(made *m, const pith__triple_form *form, pith__triple triple)
{
    pith_error err = {0};
    memset(m, 0, sizeof *m);
    pith__arena_init(&m->arena, mem);
    assert_true(form->length < IDS_MAX);
    const pith_status status = pith__triple_encode(form, &triple, &m->arena, &m->ids, &err);
    if (status == PITH_OK) {
        m->sample = (pith__sample){.length = form->length,
                                   .ids = m->numbers[0],
                                   .targets = m->numbers[1],
                                   .documents = m->numbers[2],
                                   .positions = m->numbers[3]};
        pith__triple_sample(form, &m->ids, &m->sample, m->first);
    }
    return status;
}

static void make_ok(made *m, const pith__triple_form *form, pith__triple triple)
{
    const pith_status status = make(m, form, triple);
    if (status != PITH_OK) {
        fail_msg("no sample of %zu tokens: %s", form->length, pith_status_name(status));
    }
}

/* Everything of a sample whose ids are `all`, output and end from `output` on. */
static void expect_sample(const made *m, const pith__triple_form *form, const id_list *all,
                          size_t text, size_t output)
{
    const size_t last = text + form->slots - 1; /* gist token; looked at if there is one */
    assert_int_equal(m->sample.length, all->count - 1);
    for (size_t i = 0; i + 1 < all->count; i++) {
        assert_int_equal(m->sample.ids[i], all->ids[i]);
        assert_int_equal(m->sample.positions[i], i);
        assert_int_equal(m->sample.targets[i], i + 1 < output ? PITH__NO_TARGET : all->ids[i + 1]);
        const bool after = form->slots > 0 && i > last;
        const size_t seen = after && form->condition == PITH__GIST_GIST       ? text
                            : after && form->condition == PITH__GIST_NEGATIVE ? last + 1
                                                                              : 0;
        assert_int_equal(m->sample.first[i], seen);
    }
}

/* The words put together by hand, for every condition, with and without an input. */
static void samples_are_what_they_should_be(void **state)
{
    const folder *f = *state;
    static const char *const inputs[] = {"fox owl", ""};
    static const char *const rests[] = {"\nInput: fox owl\nOutput:", "\nOutput:"};
    opened o;
    pith__keywords keywords;
    pith_error err = {0};
    tokenizer_open(&o, f, "vocabulary.gguf");
    pith__keywords_init(&keywords, mem);
    assert_ok(pith__keywords_add(&keywords, text_of("Write please"), &err), err);
    for (int condition = PITH__GIST_GIST; condition <= PITH__GIST_TFIDF; condition++) {
        for (size_t i = 0; i < 4; i++) {
            const char *input = inputs[i % 2];
            const char *output = i < 2 ? "red moon" : "";
            const pith__triple_form form = pith__triple_form_of(
                o.tokenizer, (pith__gist_condition)condition, 3, 200, &keywords);
            char joined[128];
            id_list all = {.count = 0};
            made m;
            assert_int_equal(form.slots, condition == PITH__GIST_TFIDF      ? 0
                                         : condition == PITH__GIST_POSITIVE ? 1
                                                                            : 3);
            put(&all, pith__tokenizer_bos(o.tokenizer));
            if (condition == PITH__GIST_TFIDF) { /* "grey", a token with the blank before it */
                put_text(&all, &o, "Instruction: grey", 0);
                put_text(&all, &o, "\n", 0);
            } else {
                put_text(&all, &o, "Instruction: Grey please\n", 0);
            }
            const size_t text = all.count;
            for (size_t k = 0; k < form.slots; k++) {
                put(&all, PITH__NO_ID);
            }
            put_text(&all, &o, rests[i % 2], 0);
            const size_t start = all.count;
            (void)snprintf(joined, sizeof joined, "%s %s", rests[i % 2], output);
            put_text(&all, &o, joined, strlen(rests[i % 2]));
            put(&all, pith__tokenizer_eos(o.tokenizer));
            make_ok(&m, &form, triple_of("Grey please", input, output));
            expect_sample(&m, &form, &all, text, start);
            assert_int_equal(m.ids.n_text, text);
            assert_true(m.ids.ends);
            pith__arena_deinit(&m.arena);
        }
    }
    pith__keywords_deinit(&keywords);
    opened_close(&o);
}

/* Of a keyword of several tokens only the first is there. */
static void a_keyword_is_one_token(void **state)
{
    const folder *f = *state;
    opened o;
    made m;
    pith__keywords keywords;
    id_list all = {.count = 0};
    tokenizer_open(&o, f, "vocabulary.gguf");
    pith__keywords_init(&keywords, mem);
    const pith__triple_form form =
        pith__triple_form_of(o.tokenizer, PITH__GIST_TFIDF, 1, 100, &keywords);
    put_text(&all, &o, "Instruction: xylophonequartz", strlen("Instruction: "));
    assert_true(all.count > 1);
    const uint32_t first = all.ids[0];
    all.count = 0;
    put(&all, pith__tokenizer_bos(o.tokenizer));
    put_text(&all, &o, "Instruction:", 0);
    put(&all, first);
    put_text(&all, &o, "\n", 0);
    make_ok(&m, &form, triple_of("Xylophonequartz", "", "x"));
    /* whether the blank is a token of its own is the vocabulary's business */
    assert_int_equal(m.ids.text[m.ids.n_text - 2], first);
    assert_int_equal(m.ids.text[m.ids.n_text - 1], all.ids[all.count - 1]);
    assert_in_range(m.ids.n_text, all.count, all.count + 1);
    pith__arena_deinit(&m.arena);
    make_ok(&m, &form, triple_of("!?", "", "x")); /* no word */
    all.count = 0;
    put(&all, pith__tokenizer_bos(o.tokenizer));
    put_text(&all, &o, "Instruction: ", 0);
    put_text(&all, &o, "\n", 0);
    assert_int_equal(m.ids.n_text, all.count);
    assert_memory_equal(m.ids.text, all.ids, all.count * sizeof all.ids[0]);
    pith__arena_deinit(&m.arena);
    pith__keywords_deinit(&keywords);
    opened_close(&o);
}

#define TYPE_USER 4 /* of tokenizer.ggml.token_type: found in any text */

/* A copy of a vocabulary with one more token. */
static void write_grown(const folder *f, const char *from, const char *to, const char *token,
                        int32_t type)
{
    enum { MAX = 1024 };
    static pith__gguf_string tokens[MAX];
    static int32_t types[MAX];
    pith_error err = {0};
    run_file file;
    pith__gguf_array array;
    pith__gguf_writer writer;
    size_t count = 0;
    run_open(f, from, &file);
    pith__gguf_writer_init(&writer, mem);
    assert_ok(pith__gguf_get_array(&file.gguf, "tokenizer.ggml.tokens", PITH__GGUF_VALUE_STRING,
                                   &array, &err),
              err);
    assert_true(array.count + 1 < MAX);
    pith__gguf_strings strings = pith__gguf_strings_of(&array);
    while (pith__gguf_strings_next(&strings, &tokens[count])) {
        count++;
    }
    assert_ok(pith__gguf_get_array(&file.gguf, "tokenizer.ggml.token_type", PITH__GGUF_VALUE_I32,
                                   &array, &err),
              err);
    for (size_t i = 0; i < count; i++) {
        types[i] = pith__gguf_array_i32(&array, i);
    }
    tokens[count] = (pith__gguf_string){token, strlen(token)};
    types[count++] = type;
    for (size_t i = 0; i < file.gguf.n_kvs; i++) {
        const pith__gguf_kv *kv = &file.gguf.kvs[i];
        if (!pith__gguf_string_equal(kv->key, "tokenizer.ggml.tokens") &&
            !pith__gguf_string_equal(kv->key, "tokenizer.ggml.token_type")) {
            assert_ok(pith__gguf_writer_add_kv(&writer, kv, &err), err);
        }
    }
    assert_ok(pith__gguf_writer_add_strings(&writer, "tokenizer.ggml.tokens", tokens, count, &err),
              err);
    assert_ok(pith__gguf_writer_add_i32s(&writer, "tokenizer.ggml.token_type", types, count, &err),
              err);
    assert_ok(pith__gguf_writer_save(&writer, folder_path(f, to), &err), err);
    pith__gguf_writer_deinit(&writer);
    run_close(&file);
}

/* A token that reaches from the suffix into the output: each is tokenised for itself then. */
static void what_is_learned_follows_what_is_given(void **state)
{
    const folder *f = *state;
    static const char *const outputs[] = {"red", "blue"};
    opened o;
    write_grown(f, "vocabulary.gguf", "user.gguf", ": red", TYPE_USER);
    tokenizer_open(&o, f, "user.gguf");
    const pith__triple_form form = pith__triple_form_of(o.tokenizer, PITH__GIST_GIST, 1, 100, NULL);
    for (size_t i = 0; i < 2; i++) {
        id_list joined = {.count = 0};
        id_list suffix = {.count = 0};
        id_list output = {.count = 0};
        char text[64];
        made m;
        put_text(&suffix, &o, "\nOutput:", 0);
        (void)snprintf(text, sizeof text, "\nOutput: %s", outputs[i]);
        put_text(&joined, &o, text, 0);
        (void)snprintf(text, sizeof text, " %s", outputs[i]);
        put_text(&output, &o, text, 0);
        const bool same = joined.count >= suffix.count &&
                          memcmp(joined.ids, suffix.ids, suffix.count * sizeof suffix.ids[0]) == 0;
        assert_int_equal(same, i == 1);
        make_ok(&m, &form, triple_of("old", "", outputs[i]));
        assert_int_equal(m.ids.n_suffix, suffix.count);
        assert_memory_equal(m.ids.suffix, suffix.ids, suffix.count * sizeof suffix.ids[0]);
        assert_int_equal(m.ids.n_output, output.count);
        assert_memory_equal(m.ids.output, output.ids, output.count * sizeof output.ids[0]);
        pith__arena_deinit(&m.arena);
    }
    opened_close(&o);
}

static size_t text_bytes(const opened *o, const uint32_t *ids, size_t count, char *out)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        const char *bytes = NULL;
        size_t more = 0;
        pith_error err = {0};
        assert_ok(pith__tokenizer_bytes(o->tokenizer, ids[i], &bytes, &more, &err), err);
        memcpy(out + size, bytes, more);
        size += more;
    }
    out[size] = '\0';
    return size;
}

/* Every length: the input's end goes first, then the output's, then the instruction's. */
static void long_triples_lose_their_ends(void **state)
{
    const folder *f = *state;
    static const char instruction[] = "old grey fox";
    static const char input[] = "caf\xc3\xa9 \xf0\x9f\xa6\x8a red blue moon tree";
    static const char output[] = "lake hill owl";
    opened o;
    made m;
    tokenizer_open(&o, f, "vocabulary.gguf");
    pith__triple_form form = pith__triple_form_of(o.tokenizer, PITH__GIST_GIST, 2, 300, NULL);
    make_ok(&m, &form, triple_of(instruction, input, output));
    const size_t whole = m.sample.length;
    const size_t text = m.ids.n_text;
    const size_t outputs = m.ids.n_output;
    pith__arena_deinit(&m.arena);
    make_ok(&m, &form, triple_of(instruction, "", output));
    const size_t bare = m.sample.length; /* without input */
    const size_t around = m.ids.n_suffix + form.slots;
    pith__arena_deinit(&m.arena);
    size_t shortest = sizeof input;
    for (form.length = whole + 1; form.length > around; form.length--) {
        char read[512];
        make_ok(&m, &form, triple_of(instruction, input, output));
        assert_true(m.sample.length <= form.length);
        assert_true(m.sample.length == whole || m.sample.length + 8 > form.length);
        assert_int_equal(m.ids.ends, form.length >= bare);
        assert_int_equal(m.sample.targets[m.sample.length - 1] == pith__tokenizer_eos(o.tokenizer),
                         m.ids.ends);
        assert_int_equal(m.ids.n_output, m.ids.ends ? outputs
                                         : form.length > text + around
                                             ? form.length - text - around + 1
                                             : 1);
        assert_int_equal(m.ids.n_text, m.ids.n_text == text ? text : form.length - around);
        /* what is left of the input is its beginning */
        (void)text_bytes(&o, m.ids.suffix, m.ids.n_suffix, read);
        size_t left = 0;
        if (strcmp(read, "\nOutput:") != 0) {
            left = strlen(read) - strlen("\nInput: \nOutput:");
            assert_memory_equal(read + strlen("\nInput: "), input, left);
            assert_true(left == sizeof input - 1 || ((unsigned char)input[left] & 0xc0u) != 0x80);
        }
        assert_true(left <= shortest);
        shortest = left;
        assert_int_equal(left == sizeof input - 1, form.length >= whole);
        pith__arena_deinit(&m.arena);
    }
    assert_int_equal(shortest, 0);
    for (; form.length > 0; form.length--) {
        assert_status(make(&m, &form, triple_of(instruction, input, output)), PITH_E_ARGUMENT);
        pith__arena_deinit(&m.arena);
    }
    opened_close(&o);
}

/* ---- learning ---------------------------------------------------------------------------------------- */

/* Weights and a row beside them, and three samples of different conditions. */
typedef struct lesson {
    pith__weights weights;
    pith__model model;
    float *row;
    made samples[3];
    pith__sample list[3];
    pith__arena arena;
} lesson;

static void lesson_open(lesson *l, const opened *base, const opened *o)
{
    static const pith__gist_condition conditions[] = {PITH__GIST_GIST, PITH__GIST_NEGATIVE,
                                                      PITH__GIST_POSITIVE};
    pith_error err = {0};
    uint64_t seed = 5;
    pith__weights_init(&l->weights, mem);
    pith__arena_init(&l->arena, mem);
    assert_ok(pith__grad_layout(&base->model.config, true, &l->weights, &err), err);
    assert_ok(pith__weights_add(&l->weights, "row", PITH__WEIGHT_EMBEDDING, 1,
                                base->model.config.width, &err),
              err);
    assert_ok(pith__weights_allocate(&l->weights, &err), err);
    assert_ok(pith__grad_copy(&base->model, &l->weights, &err), err);
    assert_ok(pith__grad_model(&base->model.config, &l->weights, mem, &l->model, &err), err);
    l->row = l->weights.values + pith__weights_find(&l->weights, "row")->at;
    for (size_t i = 0; i < base->model.config.width; i++) {
        l->row[i] = (float)test_random_below(&seed, 1000) / 2000.0f - 0.25f;
    }
    for (size_t i = 0; i < 3; i++) {
        const pith__triple_form form =
            pith__triple_form_of(o->tokenizer, conditions[i], 2, 100, NULL);
        make_ok(&l->samples[i], &form,
                triple_of(run_words[i], i == 1 ? "" : run_words[i + 3], run_words[i + 6]));
        l->list[i] = l->samples[i].sample;
    }
}

static void lesson_close(lesson *l)
{
    for (size_t i = 0; i < 3; i++) {
        pith__arena_deinit(&l->samples[i].arena);
    }
    pith__arena_deinit(&l->arena);
    pith__model_deinit(&l->model);
    pith__weights_deinit(&l->weights);
}

/* The loss of some samples in one pass; adds the gradient if it is not NULL. */
static double lesson_loss(lesson *l, const size_t *numbers, size_t n, float *gradient)
{
    pith_error err = {0};
    double loss = 0.0;
    uint64_t tokens = 0;
    pith__learner learner = {.model = &l->model, .samples = l->list, .row = l->row};
    if (gradient != NULL) {
        learner.sink = (pith__sink){l->weights.values, gradient, l->weights.count};
    }
    const pith__tensor_ctx ctx = {1, &l->arena};
    assert_ok(pith__learn(&learner, &ctx, numbers, n, &loss, &tokens, &err), err);
    assert_true(tokens > 0);
    return loss;
}

/* The slope along a direction, by two losses, against the gradient. */
static void expect_slope(lesson *l, const float *gradient, size_t at, size_t count, double step)
{
    static const size_t numbers[] = {0, 1, 2};
    float *values = l->weights.values + at;
    double norm = 0.0;
    for (size_t i = 0; i < count; i++) {
        norm += (double)gradient[at + i] * (double)gradient[at + i];
    }
    norm = sqrt(norm);
    float *kept = malloc(count * sizeof *kept);
    assert_non_null(kept);
    assert_true(norm > 1e-3);
    memcpy(kept, values, count * sizeof *kept);
    double losses[2];
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < count; i++) {
            const double direction = (double)gradient[at + i] / norm;
            values[i] = (float)((double)kept[i] + (side == 0 ? step : -step) * direction);
        }
        losses[side] = lesson_loss(l, numbers, 3, NULL);
    }
    memcpy(values, kept, count * sizeof *kept);
    free(kept);
    const double slope = (losses[0] - losses[1]) / (2.0 * step);
    print_message("slope %.5f, gradient %.5f\n", slope, norm);
    assert_true(fabs(slope - norm) < 0.01 * norm);
}

static void gradients_of_samples_are_slopes(void **state)
{
    const folder *f = *state;
    static const size_t numbers[] = {0, 1, 2};
    opened base;
    lesson *l = calloc(1, sizeof *l);
    assert_non_null(l);
    model_open(&base, f, "base.gguf", NULL);
    lesson_open(l, &base, &base);
    float *packed = calloc(l->weights.count, sizeof *packed);
    float *alone = calloc(l->weights.count, sizeof *alone);
    assert_non_null(packed);
    assert_non_null(alone);
    const double loss = lesson_loss(l, numbers, 3, packed);
    double sum = 0.0;
    for (size_t i = 0; i < 3; i++) {
        sum += lesson_loss(l, &numbers[i], 1, alone);
    }
    assert_true(fabs(loss - sum) < 1e-5 * sum);
    double largest = 0.0;
    for (size_t i = 0; i < l->weights.count; i++) {
        largest = fmax(largest, fabs((double)packed[i] - (double)alone[i]));
    }
    assert_true(largest < 1e-5);
    const pith__weight *row = pith__weights_find(&l->weights, "row");
    const pith__weight *table = pith__weights_find(&l->weights, "token_embd.weight");
    const pith__weight *key = pith__weights_find(&l->weights, "blk.0.attn_k.weight");
    expect_slope(l, packed, row->at, row->cols, 1e-2);
    expect_slope(l, packed, table->at, table->rows * table->cols, 1e-2);
    expect_slope(l, packed, key->at, key->rows * key->cols, 1e-2);
    free(packed);
    free(alone);
    lesson_close(l);
    free(l);
    opened_close(&base);
}

/* ---- runs ------------------------------------------------------------------------------------------------ */

typedef struct gist_paths {
    char triples[2][160], tests[2][160];
    char model[160], output[160], adapter[160], checkpoint[160];
    const char *triple_files[2];
    const char *test_files[2];
} gist_paths;

static const pith__gist_condition only_gist[] = {PITH__GIST_GIST};

/* Of a run on triples.jsonl that is judged by test.jsonl, too, and writes out.gguf. */
static pith__gist_settings gist_settings(const folder *f, uint64_t steps, uint32_t rank,
                                         gist_paths *paths)
{
    (void)snprintf(paths->triples[0], sizeof paths->triples[0], "%s/triples.jsonl", f->path);
    (void)snprintf(paths->triples[1], sizeof paths->triples[1], "%s/more.jsonl", f->path);
    (void)snprintf(paths->tests[0], sizeof paths->tests[0], "%s/test.jsonl", f->path);
    (void)snprintf(paths->tests[1], sizeof paths->tests[1], "%s/other.jsonl", f->path);
    (void)snprintf(paths->model, sizeof paths->model, "%s/base.gguf", f->path);
    (void)snprintf(paths->output, sizeof paths->output, "%s/out.gguf", f->path);
    (void)snprintf(paths->adapter, sizeof paths->adapter, "%s/adapter.gguf", f->path);
    (void)snprintf(paths->checkpoint, sizeof paths->checkpoint, "%s/run", f->path);
    for (size_t i = 0; i < 2; i++) {
        paths->triple_files[i] = paths->triples[i];
        paths->test_files[i] = paths->tests[i];
    }
    pith__gist_settings s = {
        .run = run_settings(steps),
        .triples = paths->triple_files,
        .n_triples = 1,
        .tests = paths->test_files,
        .n_tests = 1,
        .epochs = 1.0,
        .model = paths->model,
        .slots = 2,
        .conditions = only_gist,
        .n_conditions = 1,
        .max_tokens = 8,
        .lora = {.rank = rank, .alpha = 16.0, .dropout = 0.0, .matrices = ALL_MATRICES},
        .name = "gisted",
        .output = paths->output,
        .adapter = rank == 0 ? NULL : paths->adapter,
        .type = PITH__WEIGHT_F32};
    s.run.batch = 8;
    s.run.length = LENGTH;
    return s;
}

static pith_status train_gist(pith__gist_settings s, pith__gist_score *scores, run_events *events,
                              pith_error *err)
{
    if (events != NULL) {
        s.run.event = run_take_event;
        s.run.event_user = events;
    }
    return pith__train_gist(&s, mem, scores, err);
}

static void train_ok(const pith__gist_settings *s, pith__gist_score *scores, run_events *events)
{
    pith_error err = {0};
    if (events != NULL) {
        *events = (run_events){.stops = false};
    }
    assert_ok(train_gist(*s, scores, events, &err), err);
}

/* "red please" wants one word, "blue please" another; the input says nothing. */
static void write_choices(const folder *f, const char *name, size_t count, uint64_t seed)
{
    FILE *file = fopen(folder_path(f, name), "wb");
    assert_non_null(file);
    for (size_t i = 0; i < count; i++) {
        const bool red = test_random_below(&seed, 2) == 0;
        (void)fprintf(
            file, "{\"instruction\": \"%s please\", \"input\": \"%s %s\", \"output\": \"%s\"}\n",
            red ? "red" : "blue", run_words[test_random_below(&seed, WORDS)],
            run_words[test_random_below(&seed, WORDS)], red ? "moon" : "tree");
    }
    assert_int_equal(fclose(file), 0);
}

static const char various[] =
    "{\"instruction\": \"red please\", \"input\": \"fox\", \"output\": \"moon\"}\n"
    "{\"instruction\": \"old owl and bear\", \"input\": \"\", \"output\": \"\"}\n"
    "{\"instruction\": \"\", \"input\": \"a\\nb\", \"output\": \"grey  wolf\\n\"}\n"
    "{\"instruction\": \"caf\\u00e9\", \"output\": \"x\\u0000y \\ud83e\\udd8a\"}\n";

enum { VARIOUS = 4 };

/* ---- the same by hand --------------------------------------------------------------------------------------- */

/* The row that stands for gist tokens, of an adapter or of a model. */
static void read_row(const opened *o, const folder *f, const char *adapter, float *row)
{
    const uint32_t width = o->model.config.width;
    pith_error err = {0};
    if (adapter == NULL) {
        uint32_t token = 0;
        assert_ok(pith__gguf_get_u32(&o->file.gguf, PITH__GIST_TOKEN, &token, &err), err);
        assert_ok(pith__model_embedding(&o->model, token, row, &err), err);
        return;
    }
    run_file file;
    pith__gguf_array array;
    run_open(f, adapter, &file);
    assert_ok(pith__gguf_get_array(&file.gguf, PITH__GIST_ROW, PITH__GGUF_VALUE_F32, &array, &err),
              err);
    assert_int_equal(array.count, width);
    for (size_t i = 0; i < width; i++) {
        row[i] = pith__gguf_array_f32(&array, i);
    }
    run_close(&file);
}

/* A reader that has read all but the output, from capsules where the condition has them. */
static void read_prompt(pith__reader *reader, const opened *o, const float *row,
                        const pith__triple_form *form, const pith__triple_ids *ids)
{
    pith_error err = {0};
    assert_ok(pith__reader_init(reader, &o->model, 1, mem, &err), err);
    if (form->condition == PITH__GIST_GIST) {
        pith__capsule *capsule = NULL;
        assert_ok(pith__gist_encode(&o->model, 1, ids->text, ids->n_text, row, form->slots, mem,
                                    &capsule, &err),
                  err);
        assert_ok(pith__capsule_read(capsule, reader, &err), err);
        assert_int_equal(reader->kv.length, form->slots);
        assert_int_equal(reader->position, ids->n_text + form->slots);
        pith__capsule_free(capsule);
    } else if (form->condition != PITH__GIST_NEGATIVE) {
        assert_ok(pith__reader_ids(reader, ids->text, ids->n_text, NULL, &err), err);
        for (size_t i = 0; i < form->slots; i++) {
            assert_ok(pith__reader_embeddings(reader, row, 1, &err), err);
        }
    }
    assert_ok(pith__reader_ids(reader, ids->suffix, ids->n_suffix, NULL, &err), err);
}

/* Nats of output and end as they are in use. */
static double nats_in_use(const opened *o, const float *row, const pith__triple_form *form,
                          const pith__triple_ids *ids, size_t *tokens)
{
    float nats[IDS_MAX];
    uint32_t rest[IDS_MAX];
    pith_error err = {0};
    pith__reader reader;
    const size_t count = ids->n_output + (ids->ends ? 1 : 0);
    read_prompt(&reader, o, row, form, ids);
    memcpy(rest, ids->output, ids->n_output * sizeof *rest);
    rest[ids->n_output] = pith__tokenizer_eos(o->tokenizer);
    assert_ok(pith__reader_ids(&reader, rest, count, nats, &err), err);
    pith__reader_deinit(&reader);
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)nats[i];
    }
    *tokens = count;
    return sum;
}

/* The same over a file of triples. */
static double file_in_use(const folder *f, const char *model, const char *adapter,
                          const char *triples, pith__triple_form form, size_t *tokens)
{
    opened o;
    pith__pair_file file;
    pith__arena arena;
    pith_error err = {0};
    float row[256];
    double sum = 0.0;
    model_open(&o, f, model, adapter);
    read_row(&o, f, adapter, row);
    assert_ok(open_triples(f, triples, &file, &err), err);
    pith__arena_init(&arena, mem);
    form.tokenizer = o.tokenizer;
    *tokens = 0;
    for (size_t i = 0; i < file.n_training; i++) {
        pith__triple triple;
        pith__triple_ids ids;
        size_t own = 0;
        assert_ok(pith__triple_read(&file, file.training[i], &arena, &triple, &err), err);
        assert_ok(pith__triple_encode(&form, &triple, &arena, &ids, &err), err);
        sum += nats_in_use(&o, row, &form, &ids, &own);
        *tokens += own;
    }
    pith__arena_deinit(&arena);
    pith__pair_file_close(&file);
    opened_close(&o);
    return sum;
}

/* ---- masked is cached ------------------------------------------------------------------------------------------ */

/*
 * What training judges, under a mask, is what the written files give from a cache: all weights, and
 * an adapter.
 */
static void masked_is_cached(void **state)
{
    const folder *f = *state;
    gist_paths paths;
    write_choices(f, "triples.jsonl", 40, 3);
    write_text(f, "test.jsonl", various);
    for (uint32_t rank = 0; rank <= 4; rank += 4) {
        for (uint32_t slots = 1; slots <= 3; slots++) {
            pith__gist_score scores[2];
            size_t tokens = 0;
            pith__gist_settings s = gist_settings(f, 6, rank, &paths);
            s.slots = slots;
            s.run.micro_batch = 4;
            train_ok(&s, scores, NULL);
            const pith__triple_form form =
                pith__triple_form_of(NULL, PITH__GIST_GIST, slots, LENGTH, NULL);
            const double nats = file_in_use(f, "out.gguf", NULL, "test.jsonl", form, &tokens);
            print_message("rank %u, %u slots: masked %.6f, cached %.6f nats of %zu tokens\n", rank,
                          slots, scores[1].nats, nats, tokens);
            assert_int_equal(scores[1].tokens, tokens);
            assert_int_equal(scores[1].triples, VARIOUS);
            assert_string_equal(scores[1].split, "test");
            assert_true(fabs(scores[1].nats - nats) < 1e-4 * (double)tokens);
            if (rank > 0) { /* without the token's own entry, all others are a little likelier */
                const double adapted =
                    file_in_use(f, "base.gguf", "adapter.gguf", "test.jsonl", form, &tokens);
                assert_true(adapted < nats + 1e-4 * (double)tokens);
                assert_true(adapted > nats - 0.02 * (double)tokens);
            }
        }
    }
}

/* The other conditions from the same file: what each may look at, it does, and nothing else. */
static void every_condition_sees_what_it_should(void **state)
{
    const folder *f = *state;
    static const pith__gist_condition conditions[] = {PITH__GIST_GIST, PITH__GIST_POSITIVE,
                                                      PITH__GIST_NEGATIVE, PITH__GIST_TFIDF};
    gist_paths paths;
    pith__gist_score scores[8];
    pith__keywords keywords;
    pith_error err = {0};
    write_choices(f, "triples.jsonl", 40, 3);
    write_text(f, "test.jsonl", various);
    pith__gist_settings s = gist_settings(f, 1, 0, &paths);
    s.run.optimizer.rate = 0.0; /* one model for all */
    s.conditions = conditions;
    s.n_conditions = 4;
    train_ok(&s, scores, NULL);
    pith__keywords_init(&keywords, mem);
    assert_ok(pith__keywords_add(&keywords, text_of("red please"), &err), err);
    assert_ok(pith__keywords_add(&keywords, text_of("blue please"), &err), err);
    for (size_t i = 0; i < 4; i++) {
        size_t tokens = 0;
        const pith__triple_form form =
            pith__triple_form_of(NULL, conditions[i], 2, LENGTH, &keywords);
        const double nats = file_in_use(f, "out.gguf", NULL, "test.jsonl", form, &tokens);
        const pith__gist_score *score = &scores[2 * i + 1];
        print_message("condition %d: %.6f, by hand %.6f\n", (int)conditions[i], score->nats, nats);
        assert_int_equal(score->condition, conditions[i]);
        assert_int_equal(score->tokens, tokens);
        assert_true(fabs(score->nats - nats) < 1e-4 * (double)tokens);
        assert_true(isnan(score->rouge_l) && isnan(score->exact));
        for (size_t k = 0; k < i; k++) {
            assert_true(fabs(score->nats - scores[2 * k + 1].nats) > 1e-3);
        }
    }
    pith__keywords_deinit(&keywords);
}

/* ---- that it helps ------------------------------------------------------------------------------------------------ */

/* Nats of a held-out output: 0 if the instruction arrives, ln 2 if it does not. */
static void expect_learned(const pith__gist_settings *s, const pith__gist_score *scores)
{
    for (size_t i = 0; i < 2 * s->n_conditions; i++) {
        const pith__gist_score *score = &scores[i];
        const double nats = score->nats / (double)score->triples;
        const bool arrives = score->condition != PITH__GIST_NEGATIVE;
        print_message("condition %d, %s: %.4f nats per output, exact %.2f, ROUGE-L %.2f\n",
                      (int)score->condition, score->split, nats, score->exact, score->rouge_l);
        assert_true(score->triples > 8);
        assert_true(arrives ? nats < 0.1 : nats > 0.8 * log(2.0) && nats < 1.0);
        assert_true(arrives ? score->exact == 1.0 : score->exact > 0.1 && score->exact < 0.9);
        assert_true(score->rouge_l == score->exact); /* of one word */
    }
}

static void instructions_arrive(void **state)
{
    const folder *f = *state;
    static const pith__gist_condition conditions[] = {PITH__GIST_GIST, PITH__GIST_NEGATIVE,
                                                      PITH__GIST_POSITIVE, PITH__GIST_TFIDF};
    static run_events e;
    gist_paths paths;
    pith__gist_score scores[8];
    write_choices(f, "triples.jsonl", 160, 3);
    write_choices(f, "test.jsonl", 24, 4);
    pith__gist_settings s = gist_settings(f, 80, 0, &paths);
    s.conditions = conditions;
    s.n_conditions = 4;
    s.generate = 16;
    train_ok(&s, scores, &e);
    expect_learned(&s, scores);
    /* as events, of all conditions */
    assert_int_equal(e.of[PITH__TRAIN_START], 4);
    assert_int_equal(e.of[PITH__TRAIN_END], 4);
    assert_int_equal(e.of[PITH__TRAIN_EVALUATION], 8);
    static const char *const sources[] = {"gist seen",     "gist test",     "negative seen",
                                          "negative test", "positive seen", "positive test",
                                          "tfidf seen",    "tfidf test"};
    for (size_t i = 0; i < 8; i++) {
        const pith__train_event one = run_last(&e, PITH__TRAIN_EVALUATION, sources[i]);
        assert_true(fabs(one.loss - scores[i].nats / (double)scores[i].tokens) < 1e-12);
        const double bits = scores[i].nats / log(2.0) / (4.0 * (double)scores[i].triples);
        assert_true(fabs(one.bits_per_byte - bits) < 1e-9); /* "moon" and "tree" have four */
    }
}

static void instructions_arrive_with_an_adapter(void **state)
{
    const folder *f = *state;
    static const pith__gist_condition conditions[] = {PITH__GIST_GIST, PITH__GIST_NEGATIVE};
    gist_paths paths;
    pith__gist_score scores[4];
    write_choices(f, "triples.jsonl", 160, 3);
    write_choices(f, "test.jsonl", 24, 4);
    pith__gist_settings s = gist_settings(f, 160, 8, &paths);
    s.run.optimizer.rate = 0.005;
    s.conditions = conditions;
    s.n_conditions = 2;
    s.generate = 16;
    train_ok(&s, scores, NULL);
    for (size_t i = 0; i < 2; i++) { /* embeddings stay, and so do the largest logits */
        const double gist = scores[i].nats / (double)scores[i].triples;
        const double none = scores[2 + i].nats / (double)scores[i].triples;
        print_message("%s: gist %.4f nats per output, negative %.4f; exact %.2f and %.2f\n",
                      scores[i].split, gist, none, scores[i].exact, scores[2 + i].exact);
        assert_true(gist < none - 0.4 * log(2.0));
        assert_true(scores[i].exact == 1.0);
        assert_true(scores[2 + i].exact < 0.9);
    }
}

/* One condition after the other is as each alone; what is written is the first one's. */
static void conditions_do_not_know_each_other(void **state)
{
    const folder *f = *state;
    static const pith__gist_condition both[] = {PITH__GIST_GIST, PITH__GIST_NEGATIVE};
    gist_paths paths;
    write_choices(f, "triples.jsonl", 40, 3);
    write_text(f, "test.jsonl", various);
    for (uint32_t rank = 0; rank <= 2; rank += 2) {
        pith__gist_score together[4];
        pith__gist_score alone[2];
        pith__gist_settings s = gist_settings(f, 5, rank, &paths);
        s.generate = 2;
        s.conditions = both;
        s.n_conditions = 2;
        train_ok(&s, together, NULL);
        folder_copy(f, "out.gguf", "together.gguf");
        for (size_t i = 0; i < 2; i++) {
            s.conditions = &both[i];
            s.n_conditions = 1;
            train_ok(&s, alone, NULL);
            assert_int_equal(folder_same(f, "out.gguf", "together.gguf"), i == 0);
            for (size_t k = 0; k < 2; k++) {
                assert_true(alone[k].nats == together[2 * i + k].nats);
                assert_true(alone[k].rouge_l == together[2 * i + k].rouge_l);
            }
        }
    }
}

/* ---- results ------------------------------------------------------------------------------------------------------- */

static uint32_t get_u32(const run_file *file, const char *key)
{
    uint32_t value = 0;
    pith_error err = {0};
    assert_ok(pith__gguf_get_u32(&file->gguf, key, &value, &err), err);
    return value;
}

static void text_is(const run_file *file, const char *key, const char *expected)
{
    pith__gguf_string value;
    pith_error err = {0};
    assert_ok(pith__gguf_get_string(&file->gguf, key, &value, &err), err);
    assert_true(pith__gguf_string_equal(value, expected));
}

static void expect_texts(const run_file *file, uint32_t slots)
{
    text_is(file, PITH__GIST_PREFIX, "Instruction: ");
    text_is(file, PITH__GIST_MIDDLE, "\n");
    text_is(file, PITH__GIST_SUFFIX, "\nInput: {input}\nOutput:");
    assert_int_equal(get_u32(file, PITH__GIST_SLOTS), slots);
}

/* The last row of a table is the mean of the others. */
static void expect_mean_row(const run_file *file, const char *name)
{
    const pith__gguf_tensor *table = pith__gguf_find_tensor(&file->gguf, name);
    assert_non_null(table);
    const size_t width = (size_t)table->dims[0];
    const size_t rows = (size_t)table->dims[1];
    float *values = run_values(table);
    for (size_t i = 0; i < width; i++) {
        double sum = 0.0;
        for (size_t r = 0; r + 1 < rows; r++) {
            sum += (double)values[r * width + i];
        }
        const double mean = sum / (double)(rows - 1);
        assert_true(fabs((double)values[(rows - 1) * width + i] - mean) < 1e-6);
    }
    free(values);
}

/* A token of its own: in the vocabulary, never in a text, the last row of every table. */
static void an_added_token_is_written(void **state)
{
    const folder *f = *state;
    static const char *const names[] = {"base.gguf", "llama_gqa", "llama_untied"};
    static const char text[] = "red <|gist|> fox";
    gist_paths paths;
    pith__gist_score scores[2];
    write_choices(f, "triples.jsonl", 20, 3);
    write_text(f, "test.jsonl", various);
    for (size_t i = 0; i < 3; i++) {
        opened o;
        opened before;
        pith_error err = {0};
        pith__gist_settings s = gist_settings(f, 1, 0, &paths);
        s.run.optimizer.rate = 0.0;
        if (i > 0) {
            char name[64];
            size_t size = 0;
            (void)snprintf(name, sizeof name, "models/%s.gguf", names[i]);
            char *data = test_read_file(test_path("golden", name), &size);
            folder_write(f, "golden.gguf", data, size);
            free(data);
            (void)snprintf(paths.model, sizeof paths.model, "%s/golden.gguf", f->path);
        }
        train_ok(&s, scores, NULL);
        tokenizer_open(&before, f, i == 0 ? "base.gguf" : "golden.gguf");
        model_open(&o, f, "out.gguf", NULL);
        const uint32_t token = pith__tokenizer_size(before.tokenizer);
        assert_int_equal(pith__tokenizer_size(o.tokenizer), token + 1);
        assert_int_equal(o.model.config.vocabulary, token + 1);
        assert_int_equal(get_u32(&o.file, PITH__GIST_TOKEN), token);
        expect_texts(&o.file, 2);
        expect_mean_row(&o.file, "token_embd.weight");
        assert_int_equal(pith__gguf_find_tensor(&o.file.gguf, "output.weight") != NULL, i == 2);
        if (i == 2) {
            expect_mean_row(&o.file, "output.weight");
        }
        assert_int_equal(pith__tokenizer_find(o.tokenizer, "<|gist|>", 8), token);
        assert_true(pith__tokenizer_is_special(o.tokenizer, token));
        assert_int_equal(pith__tokenizer_bos(o.tokenizer), pith__tokenizer_bos(before.tokenizer));
        pith__tokens as_text = {0};
        pith__tokens as_token = {0};
        pith__tokens was = {0};
        assert_ok(
            pith__tokenizer_encode(o.tokenizer, text, strlen(text), false, mem, &as_text, &err),
            err);
        assert_ok(
            pith__tokenizer_encode(before.tokenizer, text, strlen(text), false, mem, &was, &err),
            err);
        assert_ok(
            pith__tokenizer_encode(o.tokenizer, text, strlen(text), true, mem, &as_token, &err),
            err);
        assert_int_equal(as_text.count, was.count);
        bool has_token = false;
        for (size_t k = 0; k < as_text.count; k++) {
            assert_int_equal(as_text.items[k].id, was.items[k].id);
        }
        for (size_t k = 0; k < as_token.count; k++) {
            has_token = has_token || as_token.items[k].id == token;
        }
        assert_true(has_token);
        pith__tokens_deinit(&as_text, mem);
        pith__tokens_deinit(&as_token, mem);
        pith__tokens_deinit(&was, mem);
        opened_close(&o);
        opened_close(&before);
        /* stored in eight bits it is a model still */
        s.type = PITH__WEIGHT_INT8;
        train_ok(&s, scores, NULL);
        model_open(&o, f, "out.gguf", NULL);
        opened_close(&o);
    }
}

/* The second time around the token is there; and its row learns as any other. */
static void a_token_that_is_there_is_taken(void **state)
{
    const folder *f = *state;
    gist_paths paths;
    pith__gist_score scores[2];
    pith_error err = {0};
    run_file file;
    write_choices(f, "triples.jsonl", 40, 3);
    write_text(f, "test.jsonl", various);
    pith__gist_settings s = gist_settings(f, 3, 0, &paths);
    train_ok(&s, scores, NULL);
    folder_copy(f, "out.gguf", "first.gguf");
    (void)snprintf(paths.model, sizeof paths.model, "%s/first.gguf", f->path);
    s.slots = 1;
    for (int round = 0; round < 2; round++) {
        size_t tokens = 0;
        s.lora.rank = round == 0 ? 0 : 2;
        train_ok(&s, scores, NULL);
        run_open(f, "out.gguf", &file);
        const pith__gguf_tensor *table = pith__gguf_find_tensor(&file.gguf, "token_embd.weight");
        assert_non_null(table);
        assert_int_equal(table->dims[1], GIST_VOCABULARY + 1);
        assert_int_equal(get_u32(&file, PITH__GIST_TOKEN), GIST_VOCABULARY);
        expect_texts(&file, 1);
        run_close(&file);
        const pith__triple_form form = pith__triple_form_of(NULL, PITH__GIST_GIST, 1, LENGTH, NULL);
        const double nats = file_in_use(f, "out.gguf", NULL, "test.jsonl", form, &tokens);
        assert_true(fabs(scores[1].nats - nats) < 1e-4 * (double)tokens);
    }
    /* another name is another token */
    s.lora.rank = 0;
    s.token = "<|other|>";
    train_ok(&s, scores, NULL);
    run_open(f, "out.gguf", &file);
    assert_int_equal(get_u32(&file, PITH__GIST_TOKEN), GIST_VOCABULARY + 1);
    run_close(&file);
    /* but not one that texts have, or that ends them */
    static const char *const bad[] = {" moon", "moon", "a", PITH__DOCUMENT_END, ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        opened o;
        tokenizer_open(&o, f, "base.gguf");
        const bool known =
            pith__tokenizer_find(o.tokenizer, bad[i], strlen(bad[i])) != PITH__TOKEN_NONE;
        opened_close(&o);
        s.token = bad[i];
        assert_status(train_gist(s, scores, NULL, &err),
                      known || bad[i][0] == '\0' ? PITH_E_ARGUMENT : PITH_OK);
    }
}

/* Rows that no token has: the gist takes the first of them. */
static void spare_rows_are_used(void **state)
{
    const folder *f = *state;
    gist_paths paths;
    pith__gist_score scores[2];
    pith_error err = {0};
    opened base;
    write_choices(f, "triples.jsonl", 40, 3);
    write_text(f, "test.jsonl", various);
    /* the base model with three more rows than tokens */
    pith__weights weights;
    model_open(&base, f, "base.gguf", NULL);
    pith__model_config config = base.model.config;
    config.vocabulary += 3;
    pith__weights_init(&weights, mem);
    assert_ok(pith__grad_layout(&config, true, &weights, &err), err);
    assert_ok(pith__weights_allocate(&weights, &err), err);
    for (size_t i = 0; i < weights.n_items; i++) {
        const pith__gguf_tensor *tensor =
            pith__gguf_find_tensor(&base.file.gguf, weights.items[i].name);
        assert_non_null(tensor);
        memcpy(weights.values + weights.items[i].at, tensor->data, tensor->size);
    }
    assert_ok(pith__export_model(folder_path(f, "padded.gguf"), "padded", &config, &weights,
                                 &base.file.gguf, PITH__WEIGHT_F32, mem, &err),
              err);
    pith__weights_deinit(&weights);
    opened_close(&base);
    pith__gist_settings s = gist_settings(f, 3, 0, &paths);
    (void)snprintf(paths.model, sizeof paths.model, "%s/padded.gguf", f->path);
    s.generate = 2;
    train_ok(&s, scores, NULL);
    opened o;
    model_open(&o, f, "out.gguf", NULL);
    assert_int_equal(o.model.config.vocabulary, GIST_VOCABULARY + 3);
    assert_int_equal(pith__tokenizer_size(o.tokenizer), GIST_VOCABULARY + 1);
    assert_int_equal(get_u32(&o.file, PITH__GIST_TOKEN), GIST_VOCABULARY);
    opened_close(&o);
}

/* For any program that reads adapters: pairs of factors, and keys that it need not know. */
static void an_adapter_has_its_row(void **state)
{
    const folder *f = *state;
    gist_paths paths;
    pith__gist_score scores[2];
    run_file adapter;
    run_file base;
    pith_error err = {0};
    write_choices(f, "triples.jsonl", 40, 3);
    write_text(f, "test.jsonl", various);
    pith__gist_settings s = gist_settings(f, 4, 4, &paths);
    s.lora.matrices = 1u << PITH__MATRIX_Q | 1u << PITH__MATRIX_DOWN;
    train_ok(&s, scores, NULL);
    run_open(f, "adapter.gguf", &adapter);
    run_open(f, "base.gguf", &base);
    expect_texts(&adapter, 2);
    text_is(&adapter, "general.type", "adapter");
    text_is(&adapter, "adapter.type", "lora");
    char sha256[PITH__SHA256_SIZE];
    pith__sha256_of(base.file.data, base.file.size, sha256);
    text_is(&adapter, PITH__ADAPTER_BASE, sha256);
    assert_int_equal(adapter.gguf.n_tensors, 2 * 2 * 2);
    /* the row has learned, and is the one of the merged model */
    pith__gguf_array row;
    opened merged;
    float own[64];
    uint32_t token = 0;
    assert_ok(pith__gguf_get_array(&adapter.gguf, PITH__GIST_ROW, PITH__GGUF_VALUE_F32, &row, &err),
              err);
    model_open(&merged, f, "out.gguf", NULL);
    assert_int_equal(row.count, merged.model.config.width);
    token = get_u32(&merged.file, PITH__GIST_TOKEN);
    assert_ok(pith__model_embedding(&merged.model, token, own, &err), err);
    float *table = run_values(pith__gguf_find_tensor(&base.gguf, "token_embd.weight"));
    double moved = 0.0;
    for (size_t i = 0; i < row.count; i++) {
        double mean = 0.0;
        for (size_t r = 0; r < GIST_VOCABULARY; r++) {
            mean += (double)table[r * row.count + i] / GIST_VOCABULARY;
        }
        moved += fabs((double)own[i] - mean);
        assert_true(own[i] == pith__gguf_array_f32(&row, i));
    }
    assert_true(moved > 1e-3);
    free(table);
    /* what is in use is the same: the logits of all tokens but the gist's */
    opened adapted;
    model_open(&adapted, f, "base.gguf", "adapter.gguf");
    const pith__triple_form form =
        pith__triple_form_of(merged.tokenizer, PITH__GIST_GIST, 2, LENGTH, NULL);
    pith__reader readers[2];
    made m;
    make_ok(&m, &form, triple_of("red please", "fox", "moon"));
    read_prompt(&readers[0], &merged, own, &form, &m.ids);
    read_prompt(&readers[1], &adapted, own, &form, &m.ids);
    for (size_t v = 0; v < GIST_VOCABULARY; v++) {
        assert_true(fabs((double)pith__reader_logits(&readers[0])[v] -
                         (double)pith__reader_logits(&readers[1])[v]) < 1e-4);
    }
    pith__reader_deinit(&readers[0]);
    pith__reader_deinit(&readers[1]);
    pith__arena_deinit(&m.arena);
    opened_close(&merged);
    opened_close(&adapted);
    run_close(&adapter);
    run_close(&base);
}

/* A control holds nothing in its gist tokens: nobody is to encode with it. */
static void controls_have_no_keys(void **state)
{
    const folder *f = *state;
    static const pith__gist_condition negative[] = {PITH__GIST_NEGATIVE};
    gist_paths paths;
    pith__gist_score scores[2];
    run_file file;
    write_choices(f, "triples.jsonl", 20, 3);
    write_text(f, "test.jsonl", various);
    pith__gist_settings s = gist_settings(f, 1, 2, &paths);
    s.conditions = negative;
    train_ok(&s, scores, NULL);
    static const char *const names[] = {"out.gguf", "adapter.gguf"};
    for (size_t i = 0; i < 2; i++) {
        run_open(f, names[i], &file);
        for (size_t k = 0; k < file.gguf.n_kvs; k++) {
            assert_true(file.gguf.kvs[k].key.size < 10 ||
                        memcmp(file.gguf.kvs[k].key.data, "pith.gist.", 10) != 0);
        }
        run_close(&file);
    }
}

/* ---- what is judged --------------------------------------------------------------------------------------------- */

static void splits_are_what_is_held_out(void **state)
{
    const folder *f = *state;
    static run_events e;
    gist_paths paths;
    pith__gist_score scores[3];
    pith__pair_file files[2];
    pith_error err = {0};
    write_choices(f, "triples.jsonl", 60, 3);
    write_choices(f, "more.jsonl", 40, 5);
    write_text(f, "test.jsonl", various);
    write_choices(f, "other.jsonl", 10, 6);
    pith__gist_settings s = gist_settings(f, 4, 0, &paths);
    s.n_triples = 2;
    s.n_tests = 2;
    s.run.evaluate_every = 2;
    s.generate = 3;
    train_ok(&s, scores, &e);
    size_t held_out = 0;
    for (size_t i = 0; i < 2; i++) {
        assert_ok(pith__pair_lines_open(paths.triples[i], pith__triple_members,
                                        PITH__TRIPLE_MEMBERS, 8, mem, &files[i], &err),
                  err);
        held_out += files[i].n_held_out;
        pith__pair_file_close(&files[i]);
    }
    assert_string_equal(scores[0].split, "seen");
    assert_string_equal(scores[1].split, "test");
    assert_string_equal(scores[2].split, "other");
    assert_int_equal(scores[0].triples, held_out);
    assert_int_equal(scores[1].triples, VARIOUS);
    assert_int_equal(scores[2].triples, 10);
    for (size_t i = 0; i < 3; i++) { /* a share of three */
        assert_true(scores[i].exact >= 0.0 && scores[i].exact <= 1.0);
        assert_true(fabs(scores[i].exact * 3.0 - floor(scores[i].exact * 3.0 + 0.5)) < 1e-9);
        assert_true(scores[i].rouge_l >= 0.0 && scores[i].rouge_l <= 1.0);
    }
    assert_int_equal(e.of[PITH__TRAIN_EVALUATION], 2 * 3);
    /* some bytes are at least one triple, and not all of them */
    s.run.evaluate_bytes = 1;
    train_ok(&s, scores, NULL);
    assert_int_equal(scores[0].triples, 1);
    assert_int_equal(scores[2].triples, 1);
    /* nothing held out */
    s.run.held_out_every = 0;
    s.n_tests = 0;
    train_ok(&s, scores, &e);
    assert_int_equal(scores[0].triples, 0);
    assert_int_equal(scores[0].tokens, 0);
    assert_true(isnan(scores[0].rouge_l) && isnan(scores[0].exact));
    assert_int_equal(e.of[PITH__TRAIN_EVALUATION], 0);
}

/* ---- stopping and going on ------------------------------------------------------------------------------------ */

static bool same_scores(const pith__gist_score *a, const pith__gist_score *b, size_t count)
{
    bool same = true;
    for (size_t i = 0; i < count; i++) {
        same = same && a[i].nats == b[i].nats && a[i].rouge_l == b[i].rouge_l &&
               a[i].tokens == b[i].tokens && a[i].condition == b[i].condition;
    }
    return same;
}

static void forget(const folder *f)
{
    static const char *const names[] = {"out.gguf", "adapter.gguf", "run", "run.1"};
    for (size_t i = 0; i < 4; i++) {
        (void)unlink(folder_path(f, names[i]));
    }
}

static void a_run_that_was_stopped_gives_the_same_bytes(void **state)
{
    const folder *f = *state;
    static const pith__gist_condition both[] = {PITH__GIST_GIST, PITH__GIST_POSITIVE};
    static run_events e;
    gist_paths paths;
    pith_error err = {0};
    pith__gist_score straight[4];
    pith__gist_score scores[4];
    write_choices(f, "triples.jsonl", 60, 3);
    write_choices(f, "test.jsonl", 6, 4);
    for (uint32_t rank = 0; rank <= 2; rank += 2) {
        pith__gist_settings s = gist_settings(f, 6, rank, &paths);
        s.lora.dropout = 0.25;
        s.run.micro_batch = 4;
        s.conditions = both;
        s.n_conditions = 2;
        s.generate = 4;
        train_ok(&s, straight, NULL);
        folder_copy(f, "out.gguf", "straight.gguf");
        s.run.checkpoint = paths.checkpoint;
        s.run.resume = true;
        for (uint64_t stop = 1; stop <= 6; stop += 2) {
            forget(f);
            e = (run_events){.stops = true, .stop_kind = PITH__TRAIN_STEP, .stop_step = stop};
            assert_status(train_gist(s, scores, &e, &err), PITH_E_CANCELLED);
            assert_false(folder_has(f, "out.gguf"));
            assert_true(folder_has(f, "run") && !folder_has(f, "run.1"));
            train_ok(&s, scores, &e);
            assert_int_equal(e.all[0].step, stop);
            assert_true(folder_same(f, "out.gguf", "straight.gguf"));
            assert_true(same_scores(straight, scores, 4));
            assert_true(folder_has(f, "run") && folder_has(f, "run.1"));
        }
        /* the second condition alone is to be done */
        (void)unlink(folder_path(f, "run.1"));
        (void)unlink(paths.output);
        train_ok(&s, scores, &e);
        assert_int_equal(e.of[PITH__TRAIN_STEP], 6);
        assert_int_equal(e.all[0].step, 6);
        assert_true(folder_same(f, "out.gguf", "straight.gguf"));
        assert_true(same_scores(straight, scores, 4));
        /* all is done: it is judged and written again */
        (void)unlink(paths.output);
        train_ok(&s, scores, &e);
        assert_int_equal(e.of[PITH__TRAIN_STEP], 0);
        assert_int_equal(e.of[PITH__TRAIN_EVALUATION], 4);
        assert_true(folder_same(f, "out.gguf", "straight.gguf"));
        assert_true(same_scores(straight, scores, 4));
        /* another run's */
        enum { SLOTS, CONDITION, SEED, DATA, MODEL, CASES };
        static const pith__gist_condition negative[] = {PITH__GIST_NEGATIVE};
        for (int i = 0; i < CASES; i++) {
            pith__gist_settings other = s;
            char path[160];
            const char *const files[] = {path};
            other.n_conditions = 1;
            other.slots += i == SLOTS;
            other.conditions = i == CONDITION ? negative : s.conditions;
            other.run.seed += i == SEED;
            if (i == DATA) {
                (void)snprintf(path, sizeof path, "%s/test.jsonl", f->path);
                other.triples = files;
            }
            if (i == MODEL) {
                (void)snprintf(path, sizeof path, "%s/straight.gguf", f->path);
                other.model = path;
            }
            const pith_status status = train_gist(other, scores, NULL, &err);
            if (status != PITH_E_MISMATCH) {
                fail_msg("case %d: %s: %s", i, pith_status_name(status), err.message);
            }
        }
        forget(f);
    }
}

/* ---- what goes wrong ---------------------------------------------------------------------------------------------- */

static void settings_that_make_no_sense(void **state)
{
    const folder *f = *state;
    gist_paths paths;
    pith__gist_score scores[2];
    pith_error err = {0};
    enum {
        NO_TRIPLES,
        NO_CONDITION,
        A_CONDITION,
        NO_SLOTS,
        MANY_SLOTS,
        NO_MODEL,
        NO_OUTPUT,
        NO_RANK,
        RANK,
        ALPHA,
        DROPOUT,
        BATCH,
        LONG,
        EPOCHS,
        CHECKPOINT,
        CASES
    };
    static const pith__gist_condition none[] = {(pith__gist_condition)17};
    static const pith__gist_condition both[] = {PITH__GIST_GIST, PITH__GIST_GIST};
    static char long_path[5000];
    memset(long_path, 'x', sizeof long_path - 1);
    write_choices(f, "triples.jsonl", 20, 3);
    write_text(f, "test.jsonl", various);
    for (int i = 0; i < CASES; i++) {
        pith__gist_settings s = gist_settings(f, 1, i == NO_RANK ? 0 : 4, &paths);
        s.adapter = paths.adapter;
        s.n_triples = i == NO_TRIPLES ? 0 : 1;
        s.n_conditions = i == NO_CONDITION ? 0 : 1;
        s.conditions = i == A_CONDITION ? none : s.conditions;
        s.slots = i == NO_SLOTS ? 0 : i == MANY_SLOTS ? LENGTH : s.slots;
        s.model = i == NO_MODEL ? NULL : s.model;
        s.generate = i == NO_OUTPUT ? 1 : 0;
        s.max_tokens = i == NO_OUTPUT ? 0 : 8;
        s.lora.rank = i == RANK ? 33 : s.lora.rank; /* of width 32 */
        s.lora.alpha = i == ALPHA ? 0.0 : s.lora.alpha;
        s.lora.dropout = i == DROPOUT ? 1.0 : 0.0;
        s.run.batch = i == BATCH ? 0 : s.run.batch;
        s.run.length = i == LONG ? 129 : s.run.length;
        s.run.steps = i == EPOCHS ? 0 : 1;
        s.epochs = i == EPOCHS ? 0.0 : 1.0;
        if (i == CHECKPOINT) { /* that of the second condition is one too many */
            s.conditions = both;
            s.n_conditions = 2;
            s.run.checkpoint = long_path;
        }
        pith__gist_score many[4];
        const pith_status status = train_gist(s, many, NULL, &err);
        if (status != PITH_E_ARGUMENT) {
            fail_msg("case %d: %s: %s", i, pith_status_name(status), err.message);
        }
        assert_true(strlen(err.message) > 0);
    }
    pith__gist_settings s = gist_settings(f, 1, 0, &paths);
    s.model = "/tmp/pith-no-such-file";
    assert_status(train_gist(s, scores, NULL, NULL), PITH_E_IO);
    s = gist_settings(f, 1, 0, &paths);
    (void)snprintf(paths.tests[0], sizeof paths.tests[0], "%s/no-such-file", f->path);
    assert_status(train_gist(s, scores, NULL, NULL), PITH_E_IO);
    write_text(f, "triples.jsonl", "{\"instruction\": 1}");
    s = gist_settings(f, 1, 0, &paths);
    assert_status(train_gist(s, scores, NULL, &err), PITH_E_CORRUPT);
    assert_non_null(strstr(err.message, "triples.jsonl, line 1"));
    assert_false(folder_has(f, "out.gguf") || folder_has(f, "adapter.gguf"));
}

/* Epochs are counted in triples, over all files. */
static void epochs_become_steps(void **state)
{
    const folder *f = *state;
    static run_events e;
    gist_paths paths;
    pith__gist_score scores[1];
    write_choices(f, "triples.jsonl", 14, 3);
    write_choices(f, "more.jsonl", 6, 5);
    pith__gist_settings s = gist_settings(f, 0, 0, &paths);
    s.n_triples = 2;
    s.n_tests = 0;
    s.epochs = 1.5;
    s.run.held_out_every = 0;
    s.run.schedule = (pith__schedule){.kind = PITH__SCHEDULE_LINEAR};
    train_ok(&s, scores, &e);
    assert_int_equal(e.of[PITH__TRAIN_STEP], 4); /* 30 triples, 8 at a time */
}

/* ---- memory ------------------------------------------------------------------------------------------------------- */

static pith_status sweep(const pith_allocator *memory, void *user)
{
    const folder *f = user;
    static const pith__gist_condition conditions[] = {PITH__GIST_GIST, PITH__GIST_TFIDF};
    gist_paths paths;
    pith__gist_score scores[4];
    pith__gist_settings s = gist_settings(f, 2, 2, &paths);
    s.run.threads = 1; /* the allocator of the sweep is one thread's */
    s.run.batch = 2;
    s.run.evaluate_bytes = 1;
    s.run.evaluate_every = 1;
    s.conditions = conditions;
    s.n_conditions = 2;
    s.generate = 1;
    s.max_tokens = 2;
    s.lora.dropout = 0.1;
    s.type = PITH__WEIGHT_INT8;
    return pith__train_gist(&s, memory, scores, NULL);
}

static void no_memory(void **state)
{
    folder *f = *state;
    write_choices(f, "triples.jsonl", 20, 3);
    write_text(f, "test.jsonl", various);
    run_sweep(sweep, f);
    assert_true(folder_has(f, "out.gguf") && folder_has(f, "adapter.gguf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(lines_become_triples, clean_folder),
        cmocka_unit_test_teardown(lines_that_are_no_triples_are_told_by_number, clean_folder),
        cmocka_unit_test(an_empty_input_has_no_line),
        cmocka_unit_test(keywords_are_those_of_the_formula),
        cmocka_unit_test(many_words_are_counted),
        cmocka_unit_test(samples_are_what_they_should_be),
        cmocka_unit_test(a_keyword_is_one_token),
        cmocka_unit_test_teardown(what_is_learned_follows_what_is_given, clean_folder),
        cmocka_unit_test(long_triples_lose_their_ends),
        cmocka_unit_test(gradients_of_samples_are_slopes),
        cmocka_unit_test_teardown(masked_is_cached, clean_folder),
        cmocka_unit_test_teardown(every_condition_sees_what_it_should, clean_folder),
        cmocka_unit_test_teardown(instructions_arrive, clean_folder),
        cmocka_unit_test_teardown(instructions_arrive_with_an_adapter, clean_folder),
        cmocka_unit_test_teardown(conditions_do_not_know_each_other, clean_folder),
        cmocka_unit_test_teardown(an_added_token_is_written, clean_folder),
        cmocka_unit_test_teardown(a_token_that_is_there_is_taken, clean_folder),
        cmocka_unit_test_teardown(spare_rows_are_used, clean_folder),
        cmocka_unit_test_teardown(an_adapter_has_its_row, clean_folder),
        cmocka_unit_test_teardown(controls_have_no_keys, clean_folder),
        cmocka_unit_test_teardown(splits_are_what_is_held_out, clean_folder),
        cmocka_unit_test_teardown(a_run_that_was_stopped_gives_the_same_bytes, clean_folder),
        cmocka_unit_test_teardown(epochs_become_steps, clean_folder),
        cmocka_unit_test_teardown(settings_that_make_no_sense, clean_folder),
        cmocka_unit_test_teardown(no_memory, clean_folder),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
