/*
 * test_align.c: pairs from files, and tuning to completions: which tokens are learned, that it
 * helps, adapters, stopping and going on.
 */
#include "run_fixture.h"

#include "train/pairs.h"

static const pith_allocator *const mem = &pith__allocator_default;

/* ---- files of pairs --------------------------------------------------------------------------- */

static const pith__pair_format plain = {
    .prompt_key = "prompt", .completion_key = "completion", .text = "{prompt}{completion}"};

/* What lines become; a string with its size, for there may be a NUL in it. */
typedef struct wanted {
    const char *text;
    size_t size;
    size_t completion; /* where it starts */
    size_t bytes;
} wanted;

#define WANTED(prompt, completion)                                            \
    {                                                                         \
        prompt completion, sizeof(prompt completion) - 1, sizeof(prompt) - 1, \
            sizeof(completion) - 1                                            \
    }

static void expect_pairs(const folder *f, const char *name, const pith__pair_format *format,
                         const wanted *pairs, size_t count)
{
    pith_error err = {0};
    pith__pair_file file;
    pith__arena arena;
    pith__arena_init(&arena, mem);
    assert_ok(pith__pair_file_open(folder_path(f, name), format, 0, mem, &file, &err), err);
    assert_int_equal(file.n_training, count);
    assert_int_equal(file.n_held_out, 0);
    for (size_t i = 0; i < count; i++) {
        const char *text = NULL;
        size_t size = 0;
        size_t completion = 0;
        size_t bytes = 0;
        assert_ok(pith__pair_text(&file, file.training[i], format, &arena, &text, &size,
                                  &completion, &bytes, &err),
                  err);
        assert_int_equal(size, pairs[i].size);
        assert_memory_equal(text, pairs[i].text, size);
        assert_int_equal(completion, pairs[i].completion);
        assert_int_equal(bytes, pairs[i].bytes);
    }
    pith__pair_file_close(&file);
    pith__arena_deinit(&arena);
}

static void write_text(const folder *f, const char *name, const char *text)
{
    folder_write(f, name, text, strlen(text));
}

static void lines_become_pairs(void **state)
{
    const folder *f = *state;
    write_text(f, "pairs.jsonl",
               "{\"prompt\": \"one\", \"completion\": \"two\"}\n"
               "\n"
               " \t\r\n"
               "{\"completion\":\"after\",\"other\":[1,{\"prompt\":2}],\"prompt\":\"before\"}\r\n"
               "{\"prompt\": \"caf\\u00e9 \\ud83e\\udd8a\", \"completion\": \"a\\n\\\"b\\\"\"}\n"
               "{\"prompt\": \"x\\u0000y\", \"completion\": \"\\u0000\"}\n"
               "{\"prompt\": \"\", \"completion\": \"\"}\n"
               "{\"prompt\": \"one\", \"completion\": \"two\"}\n"
               "{\"prompt\": \"{completion}\", \"completion\": \"{prompt}\"}");
    static const wanted pairs[] = {
        WANTED("one", "two"),
        WANTED("before", "after"),
        WANTED("caf\xc3\xa9 \xf0\x9f\xa6\x8a", "a\n\"b\""),
        WANTED("x\0y", "\0"),
        WANTED("", ""),
        WANTED("one", "two"), /* copies stay */
        WANTED("{completion}", "{prompt}"),
    };
    expect_pairs(f, "pairs.jsonl", &plain, pairs, sizeof pairs / sizeof pairs[0]);
    /* other names, and text around them */
    const pith__pair_format other = {
        .prompt_key = "q", .completion_key = "a", .text = "<{prompt}> -> {completion}!"};
    write_text(f, "other.jsonl", "{\"q\": \"Q\", \"a\": \"A\", \"prompt\": 3}");
    const wanted one = {"<Q> -> A!", 9, 7, 1};
    expect_pairs(f, "other.jsonl", &other, &one, 1);
}

static void a_format_has_both_places_once(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        pith_status status;
    } cases[] = {
        {"{prompt}{completion}", PITH_OK},
        {"{{prompt}} {completion", PITH_E_ARGUMENT},
        {"{{prompt}} {completion}}", PITH_OK},
        {"", PITH_E_ARGUMENT},
        {"{prompt}", PITH_E_ARGUMENT},
        {"{completion}", PITH_E_ARGUMENT},
        {"{completion}{prompt}", PITH_E_ARGUMENT},
        {"{prompt}{prompt}{completion}", PITH_E_ARGUMENT},
        {"{prompt}{completion}{completion}", PITH_E_ARGUMENT},
        {"{prompt}{completion}{prompt}", PITH_E_ARGUMENT},
        {NULL, PITH_E_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const pith__pair_format format = {
            .prompt_key = "prompt", .completion_key = "completion", .text = cases[i].text};
        assert_status(pith__pair_format_check(&format, NULL), cases[i].status);
    }
    pith__pair_format places = plain; /* of other names */
    places.prompt_place = "<in>";
    places.completion_place = "<out>";
    assert_status(pith__pair_format_check(&places, NULL), PITH_E_ARGUMENT);
    places.text = "{prompt}: <in><out>";
    assert_status(pith__pair_format_check(&places, NULL), PITH_OK);
    const pith__pair_format no_key = {.completion_key = "completion", .text = plain.text};
    assert_status(pith__pair_format_check(&no_key, NULL), PITH_E_ARGUMENT);
}

static void lines_that_are_no_pairs_are_told_by_number(void **state)
{
    const folder *f = *state;
    static const struct {
        const char *line;
        pith_status status;
        const char *says;
    } cases[] = {
        {"{\"prompt\": \"a\", \"completion\": \"b\"", PITH_E_SYNTAX, "line 3: "},
        {"{\"prompt\": \"a\", \"completion\": \"b\"} x", PITH_E_SYNTAX, "line 3: "},
        {"{\"prompt\": \"a\", \"completion\": \"\xff\"}", PITH_E_SYNTAX, "line 3: "},
        {"{\"prompt\": \"a\", \"completion\": \"\\ud800\"}", PITH_E_SYNTAX, "line 3: "},
        {"{\"prompt\": \"a\", \"prompt\": \"a\", \"completion\": \"b\"}", PITH_E_SYNTAX,
         "line 3: "},
        {"\"text\"", PITH_E_SYNTAX, "line 3: "},
        {"[\"prompt\", \"completion\"]", PITH_E_CORRUPT, "line 3: not a JSON object"},
        {"{\"prompt\": \"a\"}", PITH_E_CORRUPT, "line 3: no strings \"prompt\" and \"completion\""},
        {"{\"prompt\": 1, \"completion\": \"b\"}", PITH_E_CORRUPT, "line 3: no strings"},
        {"{\"prompt\": \"a\", \"completion\": null}", PITH_E_CORRUPT, "line 3: no strings"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        static const char good[] = "{\"prompt\": \"a\", \"completion\": \"b\"}\n\n";
        char text[256];
        pith__pair_file file;
        pith_error err = {0};
        (void)snprintf(text, sizeof text, "%s%s\n%s", good, cases[i].line, good);
        write_text(f, "bad.jsonl", text);
        const pith_status status =
            pith__pair_file_open(folder_path(f, "bad.jsonl"), &plain, 0, mem, &file, &err);
        if (status != cases[i].status || strstr(err.message, cases[i].says) == NULL ||
            strstr(err.message, "bad.jsonl") == NULL) {
            fail_msg("case %zu: %s: %s", i, pith_status_name(status), err.message);
        }
        assert_int_equal(err.offset, sizeof good - 1);
    }
    pith__pair_file file;
    static const char *const empty[] = {"", "\n\n", " \r\n"};
    for (size_t i = 0; i < 3; i++) {
        write_text(f, "bad.jsonl", empty[i]);
        assert_status(
            pith__pair_file_open(folder_path(f, "bad.jsonl"), &plain, 0, mem, &file, NULL),
            PITH_E_CORRUPT);
    }
    folder_write(f, "bad.jsonl", "\0\n", 2); /* white space is not whatever ends a string */
    assert_status(pith__pair_file_open(folder_path(f, "bad.jsonl"), &plain, 0, mem, &file, NULL),
                  PITH_E_SYNTAX);
    assert_status(pith__pair_file_open(folder_path(f, "no-such-file"), &plain, 0, mem, &file, NULL),
                  PITH_E_IO);
}

/* One in `every`, by its bytes alone: copies are together, and a file's order is kept. */
static void lines_are_held_out_by_their_bytes(void **state)
{
    const folder *f = *state;
    enum { LINES = 300 };
    pith_error err = {0};
    pith__pair_file file;
    FILE *out = fopen(folder_path(f, "many.jsonl"), "wb");
    assert_non_null(out);
    for (int i = 0; i < 2 * LINES; i++) {
        (void)fprintf(out, "{\"prompt\": \"%d\", \"completion\": \"x\"}\n", i % LINES);
    }
    assert_int_equal(fclose(out), 0);
    assert_ok(pith__pair_file_open(folder_path(f, "many.jsonl"), &plain, 4, mem, &file, &err), err);
    assert_int_equal(file.n_training + file.n_held_out, 2 * LINES);
    assert_true(file.n_held_out % 2 == 0);
    assert_in_range(file.n_held_out, 2 * LINES / 8, 2 * LINES / 2);
    for (size_t i = 0; i < file.n_held_out / 2; i++) {
        const pith__pair one = file.held_out[i];
        const pith__pair copy = file.held_out[i + file.n_held_out / 2];
        assert_int_equal(one.end - one.start, copy.end - copy.start);
        assert_memory_equal(file.file.data + one.start, file.file.data + copy.start,
                            one.end - one.start);
    }
    assert_string_equal(file.name, "many");
    pith__pair_file_close(&file);
}

/* ---- a model to tune --------------------------------------------------------------------------- */

/* base.gguf, which has learned the text. */
static int make_folder(void **state)
{
    folder *f = malloc(sizeof *f);
    assert_non_null(f);
    *state = f;
    run_folder(f);
    run_paths paths;
    pith_error err = {0};
    pith__base_settings s = run_base(f, 80, "base.gguf", NULL, &paths);
    s.run.optimizer = run_optimizer(PITH__OPTIMIZER_MUON);
    s.run.length = 64;
    assert_ok(run_train(s, NULL, &err), err);
    return 0;
}

static int remove_folder(void **state)
{
    folder_remove(*state);
    free(*state);
    return 0;
}

#define FORMAT "{prompt} has {completion}."

enum { THINGS = 8 };

/* The word in the middle says what it has; the words around it say nothing. */
static void write_things(const folder *f, const char *name, size_t count, uint64_t seed)
{
    FILE *file = fopen(folder_path(f, name), "wb");
    assert_non_null(file);
    for (size_t i = 0; i < count; i++) {
        const size_t thing = test_random_below(&seed, THINGS);
        (void)fprintf(file, "{\"prompt\": \"%s %s %s\", \"completion\": \"%s\"}\n",
                      run_words[test_random_below(&seed, WORDS)], run_words[thing],
                      run_words[test_random_below(&seed, WORDS)],
                      run_words[THINGS + (5 * thing + 3) % THINGS]);
    }
    assert_int_equal(fclose(file), 0);
}

typedef struct align_paths {
    char pairs[2][160];
    char model[160], output[160], adapter[160], checkpoint[160];
    const char *files[2];
} align_paths;

#define ALL_MATRICES ((1u << PITH__BLOCK_MATRICES) - 1)

/* Of a run on `pairs` that writes out.gguf; with a rank, adapter.gguf too. */
static pith__align_settings align_settings(const folder *f, const char *pairs, uint64_t steps,
                                           uint32_t rank, align_paths *paths)
{
    (void)snprintf(paths->pairs[0], sizeof paths->pairs[0], "%s/%s", f->path, pairs);
    (void)snprintf(paths->pairs[1], sizeof paths->pairs[1], "%s/others.jsonl", f->path);
    (void)snprintf(paths->model, sizeof paths->model, "%s/base.gguf", f->path);
    (void)snprintf(paths->output, sizeof paths->output, "%s/out.gguf", f->path);
    (void)snprintf(paths->adapter, sizeof paths->adapter, "%s/adapter.gguf", f->path);
    (void)snprintf(paths->checkpoint, sizeof paths->checkpoint, "%s/run", f->path);
    paths->files[0] = paths->pairs[0];
    paths->files[1] = paths->pairs[1];
    pith__align_settings s = {
        .run = run_settings(steps),
        .pairs = paths->files,
        .n_pairs = 1,
        .prompt_key = "prompt",
        .completion_key = "completion",
        .format = FORMAT,
        .epochs = 1.0,
        .model = paths->model,
        .lora = {.rank = rank, .alpha = 16.0, .dropout = 0.0, .matrices = ALL_MATRICES},
        .name = "aligned",
        .output = paths->output,
        .adapter = rank == 0 ? NULL : paths->adapter,
        .type = PITH__WEIGHT_F32};
    s.run.batch = 8;
    return s;
}

static pith_status align(pith__align_settings s, run_events *events, pith_error *err)
{
    if (events != NULL) {
        s.run.event = run_take_event;
        s.run.event_user = events;
    }
    return pith__train_align(&s, mem, err);
}

static void align_ok(const pith__align_settings *s, run_events *events)
{
    pith_error err = {0};
    if (events != NULL) {
        *events = (run_events){.stops = false};
    }
    assert_ok(align(*s, events, &err), err);
}

/* ---- the same by hand --------------------------------------------------------------------------- */

typedef struct reader {
    run_file file;
    pith__tokenizer *tokenizer;
    pith__model model;
    pith__arena arena;
} reader;

/* A model, with an adapter if `adapter` is not NULL. */
static void reader_open(reader *r, const folder *f, const char *model, const char *adapter)
{
    pith_error err = {0};
    run_open(f, model, &r->file);
    pith__arena_init(&r->arena, mem);
    assert_ok(pith__tokenizer_from_gguf(&r->file.gguf, mem, &r->tokenizer, &err), err);
    run_load(f, &r->file, adapter, &r->model);
}

static void reader_close(reader *r)
{
    pith__arena_deinit(&r->arena);
    pith__model_deinit(&r->model);
    pith__tokenizer_free(r->tokenizer);
    run_close(&r->file);
}

/*
 * Nats of the tokens of `text` that end behind its first `completion` bytes, and of EOS, with at
 * most `length` predictions; *tokens receives how many there are.
 */
static double nats_by_hand(reader *r, const char *text, size_t size, size_t completion,
                           size_t length, size_t *tokens)
{
    enum { MAX = 256 };
    uint32_t ids[MAX];
    float nll[MAX];
    pith__tokens list = {0};
    pith_error err = {0};
    double sum = 0.0;
    assert_ok(pith__tokenizer_encode(r->tokenizer, text, size, false, mem, &list, &err), err);
    assert_true(list.count + 2 < MAX);
    const size_t left_out = list.count + 1 > length ? list.count + 1 - length : 0;
    const size_t count = list.count + 1 - left_out;
    ids[0] = pith__tokenizer_bos(r->tokenizer);
    for (size_t i = left_out; i < list.count; i++) {
        ids[i - left_out + 1] = list.items[i].id;
    }
    ids[count] = pith__tokenizer_eos(r->tokenizer);
    const pith__tensor_ctx ctx = {1, &r->arena};
    const pith__sequence sequence = {.ids = ids, .count = count};
    const pith__forward_outputs outputs = {.targets = ids + 1, .nll = nll};
    assert_ok(pith__model_forward(&r->model, &ctx, &sequence, 1, &outputs, &err), err);
    *tokens = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t at = left_out + i;
        if (at == list.count || list.items[at].end > completion) {
            sum += (double)nll[i];
            (*tokens)++;
        }
    }
    pith__tokens_deinit(&list, mem);
    return sum;
}

/* Mean over all pairs of a file, held out or not; *tokens receives their number. */
static double file_by_hand(reader *r, const folder *f, const char *name,
                           const pith__pair_format *format, size_t length, size_t *tokens,
                           uint64_t *bytes)
{
    pith_error err = {0};
    pith__pair_file file;
    double sum = 0.0;
    *tokens = 0;
    *bytes = 0;
    assert_ok(pith__pair_file_open(folder_path(f, name), format, 0, mem, &file, &err), err);
    for (size_t i = 0; i < file.n_training; i++) {
        const char *text = NULL;
        size_t size = 0;
        size_t completion = 0;
        size_t own_bytes = 0;
        size_t own = 0;
        pith__arena arena;
        pith__arena_init(&arena, mem);
        assert_ok(pith__pair_text(&file, file.training[i], format, &arena, &text, &size,
                                  &completion, &own_bytes, &err),
                  err);
        sum += nats_by_hand(r, text, size, completion, length, &own);
        pith__arena_deinit(&arena);
        *tokens += own;
        *bytes += own_bytes;
    }
    pith__pair_file_close(&file);
    return sum / (double)*tokens;
}

/* ---- what is learned ------------------------------------------------------------------------------ */

static const char various[] =
    "{\"prompt\": \"the old fox\", \"completion\": \"red and blue\"}\n"
    "{\"prompt\": \"a\", \"completion\": \"\"}\n"
    "{\"prompt\": \"\", \"completion\": \"moon\"}\n"
    "{\"prompt\": \"\", \"completion\": \"\"}\n"
    "{\"prompt\": \"x\\u0000y \\u00e9\", \"completion\": \"\\u0000 tree\"}\n";

/* One update over all pairs: its loss, from before the update, is that of the model by hand. */
static void expect_first_loss(const folder *f, const char *name, const char *format, size_t pairs,
                              size_t length)
{
    static run_events e;
    align_paths paths;
    reader r;
    size_t tokens = 0;
    uint64_t bytes = 0;
    const pith__pair_format used = {
        .prompt_key = "prompt", .completion_key = "completion", .text = format};
    pith__align_settings s = align_settings(f, name, 1, 0, &paths);
    s.run.batch = pairs;
    s.run.held_out_every = 0;
    s.run.length = length;
    s.format = format;
    align_ok(&s, &e);
    reader_open(&r, f, "base.gguf", NULL);
    const double loss = file_by_hand(&r, f, name, &used, length, &tokens, &bytes);
    reader_close(&r);
    const pith__train_event step = run_last(&e, PITH__TRAIN_STEP, NULL);
    assert_int_equal(step.tokens, tokens);
    if (!(fabs(step.loss - loss) < 1e-5 * loss)) {
        fail_msg("format %s, length %zu: loss %g, by hand %g", format, length, step.loss, loss);
    }
}

static void completions_and_their_ends_are_learned(void **state)
{
    const folder *f = *state;
    static const char *const formats[] = {"{prompt}{completion}", "{prompt} {completion}", FORMAT,
                                          "Q: {prompt}\nA: {completion}\nno more\n"};
    write_text(f, "various.jsonl", various);
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        expect_first_loss(f, "various.jsonl", formats[i], 5, 100);
    }
}

static void long_prompts_lose_their_beginning(void **state)
{
    const folder *f = *state;
    static run_events e;
    align_paths paths;
    write_text(f, "various.jsonl", various);
    for (size_t length = 1; length < 14; length += 3) {
        expect_first_loss(f, "various.jsonl", FORMAT, 5, length);
    }
    /* what is left out has no part in it */
    double losses[3];
    static const char *const prompts[] = {"fox owl bear wolf red blue grey gold",
                                          "moon lake hill tree red blue grey gold",
                                          "fox owl bear wolf red blue grey red"};
    for (size_t i = 0; i < 3; i++) {
        char line[128];
        (void)snprintf(line, sizeof line, "{\"prompt\": \"%s\", \"completion\": \"moon\"}\n",
                       prompts[i]);
        write_text(f, "long.jsonl", line);
        pith__align_settings s = align_settings(f, "long.jsonl", 1, 0, &paths);
        s.run.length = 6;
        s.run.batch = 1;
        s.run.held_out_every = 0;
        align_ok(&s, &e);
        losses[i] = run_last(&e, PITH__TRAIN_STEP, NULL).loss;
    }
    assert_true(losses[0] == losses[1]);
    assert_true(losses[0] != losses[2]);
}

/* ---- that it helps ---------------------------------------------------------------------------------- */

/*
 * Held-out completions: from more than a random guess of the eight costs to less than `share` of
 * it. Of the three tokens that are learned, two are known: the stop and the end.
 */
static void expect_learned(const pith__align_settings *s, const char *what, double share)
{
    static run_events e;
    const double guess = log(THINGS) / 3.0;
    pith__align_settings still = *s;
    still.run.steps = 1;
    still.run.optimizer.rate = 0.0;
    align_ok(&still, &e);
    const double before = run_last(&e, PITH__TRAIN_EVALUATION, "things").loss;
    align_ok(s, &e);
    const double after = run_last(&e, PITH__TRAIN_EVALUATION, "things").loss;
    print_message("%s: held out %.3f nats per token, then %.4f (a guess: %.3f)\n", what, before,
                  after, guess);
    assert_true(before > guess);
    assert_true(after < share * guess);
}

static void all_weights_learn_what_things_have(void **state)
{
    const folder *f = *state;
    align_paths paths;
    reader r;
    write_things(f, "things.jsonl", 400, 3);
    const pith__align_settings s = align_settings(f, "things.jsonl", 150, 0, &paths);
    expect_learned(&s, "all weights", 0.1);
    /* the file that was written is the model that was judged */
    static const char known[] = "old bear far has ";
    const char *const answer = run_words[THINGS + (5 * 2 + 3) % THINGS];
    char text[64];
    size_t tokens = 0;
    (void)snprintf(text, sizeof text, "%s%s.", known, answer);
    reader_open(&r, f, "out.gguf", NULL);
    const double nats = nats_by_hand(&r, text, strlen(text), sizeof known - 1, 100, &tokens);
    assert_true(nats / (double)tokens < 0.1);
    reader_close(&r);
}

static void an_adapter_learns_what_things_have(void **state)
{
    const folder *f = *state;
    align_paths paths;
    write_things(f, "things.jsonl", 400, 3);
    pith__align_settings s = align_settings(f, "things.jsonl", 160, 8, &paths);
    s.run.optimizer.rate = 0.01;
    s.run.batch = 16;
    expect_learned(&s, "rank 8", 0.5); /* embeddings and norms stay: so do the largest logits */
}

static void held_out_pairs_are_what_is_asked_for(void **state)
{
    const folder *f = *state;
    static run_events e;
    align_paths paths;
    write_things(f, "things.jsonl", 200, 3);
    write_things(f, "others.jsonl", 100, 4);
    pith__align_settings s = align_settings(f, "things.jsonl", 1, 0, &paths);
    s.n_pairs = 2;
    s.run.optimizer.rate = 0.0;
    align_ok(&s, &e);
    /* the held-out lines of both, as files of their own */
    static const char *const names[] = {"things", "others"};
    reader r;
    double nats = 0.0;
    size_t all_tokens = 0;
    uint64_t all_bytes = 0;
    const pith__pair_format format = {
        .prompt_key = "prompt", .completion_key = "completion", .text = FORMAT};
    reader_open(&r, f, "base.gguf", NULL);
    for (size_t i = 0; i < 2; i++) {
        pith__pair_file file;
        pith_error err = {0};
        size_t tokens = 0;
        uint64_t bytes = 0;
        assert_ok(pith__pair_file_open(paths.pairs[i], &format, 8, mem, &file, &err), err);
        assert_true(file.n_held_out > 3);
        FILE *out = fopen(folder_path(f, "held.jsonl"), "wb");
        assert_non_null(out);
        for (size_t k = 0; k < file.n_held_out; k++) {
            (void)fwrite(file.file.data + file.held_out[k].start, 1,
                         file.held_out[k].end - file.held_out[k].start, out);
            (void)fputc('\n', out);
        }
        assert_int_equal(fclose(out), 0);
        pith__pair_file_close(&file);
        const double loss = file_by_hand(&r, f, "held.jsonl", &format, 100, &tokens, &bytes);
        const pith__train_event one = run_last(&e, PITH__TRAIN_EVALUATION, names[i]);
        assert_true(fabs(one.loss - loss) < 1e-5 * loss);
        const double bits = loss * (double)tokens / log(2.0) / (double)bytes;
        assert_true(fabs(one.bits_per_byte - bits) < 1e-5 * bits);
        nats += loss * (double)tokens;
        all_tokens += tokens;
        all_bytes += bytes;
    }
    reader_close(&r);
    const pith__train_event all = run_last(&e, PITH__TRAIN_EVALUATION, "all");
    assert_true(fabs(all.loss - nats / (double)all_tokens) < 1e-5 * all.loss);
    assert_true(fabs(all.bits_per_byte - nats / log(2.0) / (double)all_bytes) <
                1e-5 * all.bits_per_byte);
    /* some bytes are at least one pair, and not all of them */
    const double things = run_last(&e, PITH__TRAIN_EVALUATION, "things").loss;
    s.run.evaluate_bytes = 1;
    align_ok(&s, &e);
    assert_true(run_last(&e, PITH__TRAIN_EVALUATION, "things").loss != things);
    assert_int_equal(e.of[PITH__TRAIN_EVALUATION], 3);
    s.run.held_out_every = 0;
    align_ok(&s, &e);
    assert_int_equal(e.of[PITH__TRAIN_EVALUATION], 0);
}

/* ---- results ------------------------------------------------------------------------------------------ */

static const unsigned char *data_of(const run_file *file, const char *name, size_t *size)
{
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(&file->gguf, name);
    if (tensor == NULL) {
        fail_msg("no tensor %s", name);
        return NULL;
    }
    *size = tensor->size;
    return tensor->data;
}

static bool same_tensor(const run_file *a, const run_file *b, const char *name)
{
    size_t sizes[2] = {0, 0};
    const unsigned char *one = data_of(a, name, &sizes[0]);
    const unsigned char *other = data_of(b, name, &sizes[1]);
    return sizes[0] == sizes[1] && memcmp(one, other, sizes[0]) == 0;
}

/* What an adapter does not touch is as it was; with it, the base is what was written merged. */
static void an_adapter_and_its_merge_are_the_same(void **state)
{
    const folder *f = *state;
    align_paths paths;
    pith_error err = {0};
    run_file base;
    run_file out;
    run_file adapter;
    write_things(f, "things.jsonl", 100, 3);
    pith__align_settings s = align_settings(f, "things.jsonl", 10, 4, &paths);
    s.lora.matrices = 1u << PITH__MATRIX_Q | 1u << PITH__MATRIX_DOWN;
    s.name = NULL;
    align_ok(&s, NULL);
    run_open(f, "base.gguf", &base);
    run_open(f, "out.gguf", &out);
    run_open(f, "adapter.gguf", &adapter);
    assert_int_equal(base.gguf.n_tensors, out.gguf.n_tensors);
    assert_int_equal(adapter.gguf.n_tensors, 2 * 2 * 2);
    for (size_t i = 0; i < base.gguf.n_tensors; i++) {
        char text[64];
        (void)pith__gguf_printable(base.gguf.tensors[i].name, text, sizeof text);
        const bool adapted = strstr(text, "attn_q") != NULL || strstr(text, "ffn_down") != NULL;
        assert_int_equal(same_tensor(&base, &out, text), !adapted);
    }
    /* in use: added to the base when it is loaded */
    static const char text[] = "old bear far has red.";
    reader merged;
    reader adapted;
    size_t tokens = 0;
    reader_open(&merged, f, "out.gguf", NULL);
    reader_open(&adapted, f, "base.gguf", "adapter.gguf");
    const double one = nats_by_hand(&merged, text, sizeof text - 1, 0, 100, &tokens);
    const double other = nats_by_hand(&adapted, text, sizeof text - 1, 0, 100, &tokens);
    assert_true(fabs(one - other) < 1e-6 * one);
    /* in training: the same factors, merged again */
    pith__weights factors;
    pith__weights weights;
    pith__lora lora;
    float alpha = 0.0f;
    char sha256[PITH__SHA256_SIZE];
    reader plain_base;
    reader_open(&plain_base, f, "base.gguf", NULL);
    pith__sha256_of(base.file.data, base.file.size, sha256);
    pith__weights_init(&factors, mem);
    pith__weights_init(&weights, mem);
    const pith__model_config *config = &plain_base.model.config;
    assert_ok(pith__lora_load(&adapter.gguf, config, sha256, &factors, &alpha, &err), err);
    assert_true((double)alpha == 16.0);
    assert_ok(pith__lora_of(config, &factors, alpha, 0.0f, mem, &lora, &err), err);
    assert_ok(pith__grad_layout(config, true, &weights, &err), err);
    assert_ok(pith__weights_allocate(&weights, &err), err);
    assert_ok(pith__grad_copy(&plain_base.model, &weights, &err), err);
    assert_ok(pith__grad_merge(&lora, &weights, &err), err);
    for (size_t i = 0; i < weights.n_items; i++) {
        size_t size = 0;
        const unsigned char *data = data_of(&out, weights.items[i].name, &size);
        assert_int_equal(size, weights.items[i].rows * weights.items[i].cols * sizeof(float));
        assert_memory_equal(data, weights.values + weights.items[i].at, size);
    }
    /* not for another file */
    pith__weights other_factors;
    pith__weights_init(&other_factors, mem);
    sha256[0] = sha256[0] == '0' ? '1' : '0';
    assert_status(pith__lora_load(&adapter.gguf, config, sha256, &other_factors, &alpha, NULL),
                  PITH_E_MISMATCH);
    pith__weights_deinit(&other_factors);
    pith__lora_deinit(&lora);
    pith__weights_deinit(&factors);
    pith__weights_deinit(&weights);
    reader_close(&plain_base);
    reader_close(&merged);
    reader_close(&adapted);
    run_close(&base);
    run_close(&out);
    run_close(&adapter);
}

/* Copied, not learned: a head of its own, int8 and all. */
static void models_of_all_kinds_come_out_as_they_were(void **state)
{
    const folder *f = *state;
    static const char *const names[] = {"llama_gqa", "llama_untied"};
    align_paths paths;
    write_things(f, "things.jsonl", 20, 3);
    for (size_t i = 0; i < 2; i++) {
        char name[64];
        size_t size = 0;
        (void)snprintf(name, sizeof name, "models/%s.gguf", names[i]);
        char *data = test_read_file(test_path("golden", name), &size);
        folder_write(f, "golden.gguf", data, size);
        free(data);
        pith__align_settings s = align_settings(f, "things.jsonl", 1, 0, &paths);
        (void)snprintf(paths.model, sizeof paths.model, "%s/golden.gguf", f->path);
        s.run.optimizer.rate = 0.0;
        align_ok(&s, NULL);
        assert_true(run_difference(f, "golden.gguf", "out.gguf") == 0.0);
        /* stored as int8, an adapter is learned for what is stored */
        s.type = PITH__WEIGHT_INT8;
        align_ok(&s, NULL);
        assert_int_equal(rename(paths.output, folder_path(f, "golden.gguf")), 0);
        s = align_settings(f, "things.jsonl", 2, 2, &paths);
        (void)snprintf(paths.model, sizeof paths.model, "%s/golden.gguf", f->path);
        align_ok(&s, NULL);
        reader merged;
        reader adapted;
        size_t tokens = 0;
        reader_open(&merged, f, "out.gguf", NULL);
        reader_open(&adapted, f, "golden.gguf", "adapter.gguf");
        const double one = nats_by_hand(&merged, "old bear", 8, 0, 100, &tokens);
        const double other = nats_by_hand(&adapted, "old bear", 8, 0, 100, &tokens);
        assert_true(fabs(one - other) < 1e-5 * one);
        reader_close(&merged);
        reader_close(&adapted);
    }
}

/* ---- steps, order, dropout --------------------------------------------------------------------------------- */

static void epochs_become_steps(void **state)
{
    const folder *f = *state;
    static const struct {
        double epochs;
        size_t batch;
        uint64_t steps;
    } cases[] = {
        {1.0, 4, 5}, {2.0, 4, 10}, {1.5, 4, 8}, {1.0, 7, 3}, {0.01, 7, 1}, {3.0, 100, 1},
    };
    static run_events e;
    align_paths paths;
    write_things(f, "things.jsonl", 20, 3);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pith__align_settings s = align_settings(f, "things.jsonl", 0, 0, &paths);
        s.epochs = cases[i].epochs;
        s.run.batch = cases[i].batch;
        s.run.held_out_every = 0;
        s.run.schedule = (pith__schedule){.kind = PITH__SCHEDULE_LINEAR};
        align_ok(&s, &e);
        assert_int_equal(e.of[PITH__TRAIN_STEP], cases[i].steps);
        assert_int_equal(e.all[0].steps, cases[i].steps);
        const double last = run_last(&e, PITH__TRAIN_STEP, NULL).multiplier;
        assert_true(fabs(last - 1.0 / (double)cases[i].steps) < 1e-12);
    }
    const double none[] = {0.0, -1.0, (double)NAN, (double)INFINITY, 1e300};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        pith__align_settings s = align_settings(f, "things.jsonl", 0, 0, &paths);
        s.epochs = none[i];
        assert_status(align(s, NULL, NULL), PITH_E_ARGUMENT);
    }
}

/* Pairs with 1, 2, ... tokens to learn tell by that which one was read. */
static void every_epoch_has_every_pair_in_an_order_of_its_own(void **state)
{
    const folder *f = *state;
    enum { PAIRS = 12, EPOCHS = 3 };
    static run_events e;
    align_paths paths;
    FILE *files[2] = {fopen(folder_path(f, "things.jsonl"), "wb"),
                      fopen(folder_path(f, "others.jsonl"), "wb")};
    for (size_t i = 0; i < PAIRS; i++) {
        FILE *file = files[i % 2];
        assert_non_null(file);
        (void)fputs("{\"prompt\": \"old\", \"completion\": \"", file);
        for (size_t k = 0; k < i; k++) {
            (void)fputs("! ", file); /* a token each, and one more in between */
        }
        (void)fputs("\"}\n", file);
    }
    assert_int_equal(fclose(files[0]), 0);
    assert_int_equal(fclose(files[1]), 0);
    pith__align_settings s = align_settings(f, "things.jsonl", PAIRS * EPOCHS, 0, &paths);
    s.n_pairs = 2;
    s.run.batch = 1;
    s.run.held_out_every = 0;
    align_ok(&s, &e);
    uint64_t lengths[EPOCHS][PAIRS];
    uint64_t tokens = 0;
    size_t step = 0;
    for (size_t i = 0; i < e.count; i++) {
        if (e.all[i].kind == PITH__TRAIN_STEP) {
            lengths[step / PAIRS][step % PAIRS] = e.all[i].tokens - tokens;
            tokens = e.all[i].tokens;
            step++;
        }
    }
    assert_int_equal(step, PAIRS * EPOCHS);
    for (size_t epoch = 0; epoch < EPOCHS; epoch++) {
        for (size_t i = 0; i < PAIRS; i++) {
            size_t here = 0;
            for (size_t k = 0; k < PAIRS; k++) {
                here += lengths[epoch][k] == lengths[0][i];
            }
            assert_int_equal(here, 1);
        }
        if (epoch > 0) {
            assert_memory_not_equal(lengths[epoch], lengths[epoch - 1], sizeof lengths[0]);
        }
    }
    /* several at a time are the same ones: an epoch and a half is half an epoch into the second */
    uint64_t expected = 0;
    for (size_t i = 0; i < PAIRS + PAIRS / 2; i++) {
        expected += lengths[i / PAIRS][i % PAIRS];
    }
    s.run.steps = 6;
    s.run.batch = 3;
    align_ok(&s, &e);
    assert_int_equal(run_last(&e, PITH__TRAIN_END, NULL).tokens, expected);
}

/* Where a sample is learned does not matter, dropout included. */
static void dropout_belongs_to_the_sample(void **state)
{
    const folder *f = *state;
    static const struct {
        size_t lanes, micro_batch;
        unsigned threads;
        double dropout, difference; /* at most; else more than 100 times it */
    } cases[] = {
        {1, 1, 1, 0.3, 0.0},   {1, 4, 1, 0.3, 0.0},   {4, 1, 2, 0.3, 1e-5},
        {8, 64, 3, 0.3, 1e-5}, {1, 1, 1, 0.0, -1e-5}, {1, 1, 1, 0.31, -1e-5},
    };
    align_paths paths;
    write_things(f, "things.jsonl", 100, 3);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pith__align_settings s = align_settings(f, "things.jsonl", 3, 4, &paths);
        s.lora.dropout = cases[i].dropout;
        s.run.lanes = cases[i].lanes;
        s.run.micro_batch = cases[i].micro_batch;
        s.run.threads = cases[i].threads;
        align_ok(&s, NULL);
        if (i == 0) {
            folder_copy(f, "adapter.gguf", "one.gguf");
        }
        const double difference = run_difference(f, "one.gguf", "adapter.gguf");
        print_message("lanes %zu, micro-batch %zu, dropout %g: %.2g\n", cases[i].lanes,
                      cases[i].micro_batch, cases[i].dropout, difference);
        if (cases[i].difference >= 0.0) {
            assert_true(difference <= cases[i].difference);
        } else {
            assert_true(difference > -100.0 * cases[i].difference);
        }
    }
}

/* Two equal pairs in one update have holes of their own: else a batch of them would be as one. */
static void neighbours_have_other_dropout(void **state)
{
    const folder *f = *state;
    align_paths paths;
    write_text(f, "two.jsonl",
               "{\"prompt\": \"old\", \"completion\": \"new\"}\n"
               "{\"prompt\": \"old\", \"completion\": \"new\"}\n");
    for (int round = 0; round < 2; round++) {
        for (size_t batch = 1; batch <= 2; batch++) {
            pith__align_settings s = align_settings(f, "two.jsonl", 1, 4, &paths);
            s.run.batch = batch;
            s.run.lanes = 1;
            s.run.held_out_every = 0;
            s.run.optimizer.clip = 0.0;
            s.run.schedule.kind = PITH__SCHEDULE_CONSTANT;
            s.lora.dropout = round == 0 ? 0.0 : 0.5;
            align_ok(&s, NULL);
            folder_copy(f, "adapter.gguf", batch == 1 ? "one.gguf" : "both.gguf");
        }
        const double difference = run_difference(f, "one.gguf", "both.gguf");
        print_message("dropout %d: %.2g\n", round, difference);
        assert_true(round == 0 ? difference < 1e-5 : difference > 1e-2);
    }
}

/* The same pair again and again, nothing learned: with dropout, the gradient is another every time. */
static void every_update_has_other_dropout(void **state)
{
    const folder *f = *state;
    static run_events e;
    align_paths paths;
    write_text(f, "two.jsonl", "{\"prompt\": \"old\", \"completion\": \"new\"}\n");
    for (int round = 0; round < 2; round++) {
        pith__align_settings s = align_settings(f, "two.jsonl", 3, 4, &paths);
        s.run.batch = 1;
        s.run.held_out_every = 0;
        s.run.optimizer.rate = 0.0;
        s.lora.dropout = round == 0 ? 0.0 : 0.5;
        align_ok(&s, &e);
        assert_int_equal(e.of[PITH__TRAIN_STEP], 3);
        for (size_t i = 2; i <= 3; i++) { /* e.all[0] is START */
            assert_true((e.all[i].norm == e.all[i - 1].norm) == (round == 0));
        }
    }
}

/* ---- stopping and going on ------------------------------------------------------------------------------------ */

static void a_run_that_was_stopped_gives_the_same_bytes(void **state)
{
    const folder *f = *state;
    static run_events e;
    align_paths paths;
    pith_error err = {0};
    write_things(f, "things.jsonl", 60, 3);
    for (uint32_t rank = 0; rank <= 4; rank += 4) {
        pith__align_settings s = align_settings(f, "things.jsonl", 16, rank, &paths);
        s.lora.dropout = 0.25;
        s.run.micro_batch = 4;
        align_ok(&s, NULL);
        folder_copy(f, "out.gguf", "straight.gguf");
        if (rank > 0) {
            folder_copy(f, "adapter.gguf", "factors.gguf");
        }
        for (uint64_t stop = 1; stop <= 16; stop += 5) {
            (void)unlink(paths.output);
            (void)unlink(paths.adapter);
            (void)unlink(paths.checkpoint);
            s.run.checkpoint = paths.checkpoint;
            s.run.resume = true;
            e = (run_events){.stops = true, .stop_kind = PITH__TRAIN_STEP, .stop_step = stop};
            assert_status(align(s, &e, &err), PITH_E_CANCELLED);
            assert_false(folder_has(f, "out.gguf") || folder_has(f, "adapter.gguf"));
            align_ok(&s, &e);
            assert_int_equal(e.all[0].step, stop);
            assert_true(folder_same(f, "out.gguf", "straight.gguf"));
            assert_true(rank == 0 || folder_same(f, "adapter.gguf", "factors.gguf"));
        }
        /* another run's */
        enum { ALPHA, RANK, FORMAT_OF, KEYS, PAIRS, MODEL, SEED, CASES };
        write_text(f, "new.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\", \"x\": \"c\"}");
        folder_copy(f, "straight.gguf", "new.gguf");
        for (int i = rank == 0 ? FORMAT_OF : ALPHA; i < CASES; i++) {
            pith__align_settings other = s;
            char path[160];
            const char *const files[] = {path};
            other.lora.alpha += i == ALPHA ? 1.0 : 0.0;
            other.lora.rank += i == RANK;
            other.run.seed += i == SEED;
            other.format = i == FORMAT_OF ? "{prompt}{completion}" : s.format;
            if (i == KEYS || i == PAIRS) { /* keys: of another file, too */
                (void)snprintf(path, sizeof path, "%s/new.jsonl", f->path);
                other.run.held_out_every = 0;
                other.completion_key = i == KEYS ? "x" : s.completion_key;
                other.pairs = files;
            }
            if (i == MODEL) {
                (void)snprintf(path, sizeof path, "%s/new.gguf", f->path);
                other.model = path;
            }
            const pith_status status = align(other, NULL, &err);
            if (status != PITH_E_MISMATCH) {
                fail_msg("case %d: %s: %s", i, pith_status_name(status), err.message);
            }
        }
        (void)unlink(paths.checkpoint);
    }
}

/* ---- what goes wrong -------------------------------------------------------------------------------------------- */

static void settings_that_make_no_sense(void **state)
{
    const folder *f = *state;
    align_paths paths;
    pith_error err = {0};
    enum {
        PAIRS,
        FORMAT_OF,
        KEY,
        BATCH,
        LENGTH,
        LANES,
        CONTEXT,
        ADAPTER,
        RANK,
        MATRICES,
        NO_MATRICES,
        ALPHA,
        NO_ALPHA,
        DROPOUT,
        NO_DROPOUT,
        RATE,
        CASES
    };
    write_things(f, "things.jsonl", 20, 3);
    for (int i = 0; i < CASES; i++) {
        pith__align_settings s = align_settings(f, "things.jsonl", 1, i == ADAPTER ? 0 : 4, &paths);
        s.adapter = paths.adapter;
        s.n_pairs = i == PAIRS ? 0 : 1;
        s.format = i == FORMAT_OF ? "{prompt}" : s.format;
        s.prompt_key = i == KEY ? NULL : s.prompt_key;
        s.run.batch = i == BATCH ? 0 : s.run.batch;
        s.run.length = i == LENGTH ? 0 : i == CONTEXT ? 129 : s.run.length;
        s.run.lanes = i == LANES ? 0 : s.run.lanes;
        s.lora.rank = i == RANK ? 33 : s.lora.rank; /* of width 32 */
        s.lora.matrices = i == MATRICES ? ALL_MATRICES + 1 : i == NO_MATRICES ? 0 : ALL_MATRICES;
        s.lora.alpha = i == ALPHA ? 0.0 : i == NO_ALPHA ? (double)NAN : s.lora.alpha;
        s.lora.dropout = i == DROPOUT ? 1.0 : i == NO_DROPOUT ? (double)NAN : 0.0;
        s.run.optimizer.rate = i == RATE ? (double)NAN : s.run.optimizer.rate;
        const pith_status status = align(s, NULL, &err);
        if (status != PITH_E_ARGUMENT) {
            fail_msg("case %d: %s: %s", i, pith_status_name(status), err.message);
        }
    }
    pith__align_settings s = align_settings(f, "things.jsonl", 1, 0, &paths);
    s.model = "/tmp/pith-no-such-file";
    assert_status(align(s, NULL, NULL), PITH_E_IO);
    s.model = paths.pairs[0];
    assert_status(align(s, NULL, NULL), PITH_E_CORRUPT);
    s = align_settings(f, "no-such-file.jsonl", 1, 0, &paths);
    assert_status(align(s, NULL, NULL), PITH_E_IO);
    assert_false(folder_has(f, "out.gguf") || folder_has(f, "adapter.gguf"));
}

static int clean_folder(void **state)
{
    const folder *f = *state;
    static const char *const left[] = {
        "out.gguf",     "adapter.gguf", "run",           "one.gguf",     "both.gguf", "golden.gguf",
        "things.jsonl", "others.jsonl", "straight.gguf", "factors.gguf", "new.jsonl", "new.gguf"};
    for (size_t i = 0; i < sizeof left / sizeof left[0]; i++) {
        (void)unlink(folder_path(f, left[i]));
    }
    return 0;
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

static pith_status sweep(const pith_allocator *memory, void *user)
{
    const folder *f = user;
    align_paths paths;
    pith__align_settings s = align_settings(f, "things.jsonl", 2, 4, &paths);
    s.run.threads = 1; /* the allocator of the sweep is one thread's */
    s.run.batch = 2;
    s.run.evaluate_bytes = 1;
    s.lora.dropout = 0.1;
    s.type = PITH__WEIGHT_INT8;
    s.run.checkpoint = paths.checkpoint;
    s.run.resume = true;
    (void)unlink(paths.checkpoint);
    return pith__train_align(&s, memory, NULL);
}

static void no_memory(void **state)
{
    folder *f = *state;
    write_things(f, "things.jsonl", 20, 3);
    run_sweep(sweep, f);
    assert_true(folder_has(f, "out.gguf") && folder_has(f, "adapter.gguf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_become_pairs),
        cmocka_unit_test(a_format_has_both_places_once),
        cmocka_unit_test(lines_that_are_no_pairs_are_told_by_number),
        cmocka_unit_test(lines_are_held_out_by_their_bytes),
        cmocka_unit_test_teardown(completions_and_their_ends_are_learned, clean_folder),
        cmocka_unit_test_teardown(long_prompts_lose_their_beginning, clean_folder),
        cmocka_unit_test_teardown(all_weights_learn_what_things_have, clean_folder),
        cmocka_unit_test_teardown(an_adapter_learns_what_things_have, clean_folder),
        cmocka_unit_test_teardown(held_out_pairs_are_what_is_asked_for, clean_folder),
        cmocka_unit_test_teardown(an_adapter_and_its_merge_are_the_same, clean_folder),
        cmocka_unit_test_teardown(models_of_all_kinds_come_out_as_they_were, clean_folder),
        cmocka_unit_test_teardown(epochs_become_steps, clean_folder),
        cmocka_unit_test_teardown(every_epoch_has_every_pair_in_an_order_of_its_own, clean_folder),
        cmocka_unit_test_teardown(dropout_belongs_to_the_sample, clean_folder),
        cmocka_unit_test_teardown(neighbours_have_other_dropout, clean_folder),
        cmocka_unit_test_teardown(every_update_has_other_dropout, clean_folder),
        cmocka_unit_test_teardown(a_run_that_was_stopped_gives_the_same_bytes, clean_folder),
        cmocka_unit_test_teardown(settings_that_make_no_sense, clean_folder),
        cmocka_unit_test_teardown(no_memory, clean_folder),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
