/*
 * test_train_compressor.c: training to compress: that memory comes to hold the text, that a run is
 * reproducible, and what is refused.
 */
#include "run_fixture.h"

#include "train/memory.h"

static const pith_allocator *const mem = &pith__allocator_default;

#define ALL_MATRICES ((1u << PITH__BLOCK_MATRICES) - 1)
#define FORMAT       " {question} {answer}"

/* ---- text ------------------------------------------------------------------------------------ */

/* Documents of ten words that are all one of two: what they are is all there is to know. */
static void write_words(const folder *f, const char *name, size_t documents, uint64_t seed)
{
    FILE *file = fopen(folder_path(f, name), "wb");
    assert_non_null(file);
    for (size_t d = 0; d < documents; d++) {
        const size_t pair[2] = {test_random_below(&seed, WORDS), test_random_below(&seed, WORDS)};
        for (size_t w = 0; w < 10; w++) {
            (void)fprintf(file, " %s", run_words[pair[test_random_below(&seed, 2)]]);
        }
        (void)fputs("\n" PITH__DOCUMENT_END "\n", file);
    }
    assert_int_equal(fclose(file), 0);
}

/* A context of two words in turn; the first one asks for the second. */
static void write_questions(const folder *f, const char *name, size_t lines, uint64_t seed)
{
    FILE *file = fopen(folder_path(f, name), "wb");
    assert_non_null(file);
    for (size_t i = 0; i < lines; i++) {
        const char *a = run_words[test_random_below(&seed, WORDS)];
        const char *b = run_words[test_random_below(&seed, WORDS)];
        (void)fprintf(file,
                      "{\"context\": \" %s %s %s %s\", \"question\": \"%s\", \"answer\": \"%s\"}\n",
                      a, b, a, b, a, b);
    }
    assert_int_equal(fclose(file), 0);
}

/* Removes what a test has left there. */
static void clean(const folder *f)
{
    static const char *const names[] = {"whole.gguf", "parts.gguf", "run.checkpoint", "one.gguf",
                                        "two.gguf",   "c.gguf",     "a.gguf",         "b.gguf",
                                        "swept.gguf", "empty.jsonl"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)unlink(folder_path(f, names[i]));
    }
}

/* ---- settings -------------------------------------------------------------------------------- */

/* What lasts as long as settings that point to it. */
typedef struct paths {
    char text[160], model[160], output[160], checkpoint[160], questions[160], start[160];
    pith__train_source source;
    const char *question_files[1];
} paths;

static void join(const folder *f, const char *name, char out[160])
{
    (void)snprintf(out, 160, "%s/%s", f->path, name == NULL ? "" : name);
}

static pith__compressor_shape shape_of(pith__compressor_method method)
{
    const bool selfcp = method == PITH__COMPRESSOR_SELFCP;
    return (pith__compressor_shape){.method = method,
                                    .slots = selfcp ? 0 : 4,
                                    .elastic = selfcp,
                                    .ratio = selfcp ? 3 : 0,
                                    .window = 16,
                                    .has_norm = selfcp};
}

/* Of a run on "animals.txt" with the model "base.gguf" that writes `output`, unless it is NULL. */
static pith__compressor_settings settings_of(const folder *f, pith__compressor_method method,
                                             uint64_t steps, const char *output, paths *p)
{
    join(f, "words.txt", p->text);
    join(f, "base.gguf", p->model);
    join(f, output, p->output);
    p->source = (pith__train_source){p->text, 1.0};
    pith__compressor_settings s = {
        .run = run_settings(steps),
        .model = p->model,
        .shape = shape_of(method),
        .lora = {.rank = 8, .alpha = 16.0, .matrices = ALL_MATRICES},
        .sources = &p->source,
        .n_sources = 1,
        .shortest = 6,
        .format = FORMAT,
        .held_out = 8,
        .name = "tiny",
        .output = output == NULL ? NULL : p->output,
    };
    if (method == PITH__COMPRESSOR_SELFCP) {
        s.lora = (pith__lora_settings){0};
    }
    s.run.length = 16;
    s.run.optimizer.rate = 0.01;
    s.run.optimizer.decay = 0.0;
    return s;
}

static void add_questions(const folder *f, pith__compressor_settings *s, paths *p)
{
    join(f, "questions.jsonl", p->questions);
    p->question_files[0] = p->questions;
    s->questions = p->question_files;
    s->n_questions = 1;
    s->question_share = 0.5;
}

static pith_status train(pith__compressor_settings s, run_events *events, pith_error *err)
{
    if (events != NULL) {
        s.run.event = run_take_event;
        s.run.event_user = events;
    }
    return pith__train_compressor(&s, mem, err);
}

static double loss_of(const run_events *events, const char *source)
{
    return run_last(events, PITH__TRAIN_EVALUATION, source).loss;
}

static bool has_event(const run_events *events, const char *source)
{
    for (size_t i = 0; i < events->count; i++) {
        if (events->all[i].kind == PITH__TRAIN_EVALUATION &&
            strcmp(events->sources[i], source) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- learning -------------------------------------------------------------------------------- */

/*
 * Loss alone can fall because slots are a soft prompt: what counts is that a text's own memory is
 * better than another's.
 */
static void memory_comes_to_hold_the_text(void **state)
{
    static const struct {
        pith__compressor_method method;
        double shuffled, none; /* nats that its own memory is better, at least */
    } cases[] = {{PITH__COMPRESSOR_500X, 0.2, 0.05},
                 {PITH__COMPRESSOR_ICAE, 0.2, 0.05},
                 {PITH__COMPRESSOR_SELFCP, 0.2, 0.05}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        paths p;
        run_events events = {0};
        pith_error err = {0};
        pith__compressor_settings s = settings_of(*state, cases[i].method, 60, NULL, &p);
        s.run.batch = 16;
        s.held_out = 16;
        assert_ok(train(s, &events, &err), err);
        const double own = loss_of(&events, "repeat");
        const double shuffled = loss_of(&events, "repeat shuffled");
        const double none = loss_of(&events, "repeat none");
        assert_true(fabs(loss_of(&events, "all") - own) < 1e-12);
        if (!(own < shuffled - cases[i].shuffled && own < none - cases[i].none)) {
            fail_msg("%s: own %.3f, shuffled %.3f, none %.3f",
                     pith__compressor_method_name(cases[i].method), own, shuffled, none);
        }
    }
}

/* What asks does not tell the answer, the context does. */
static void questions_are_answered_from_memory(void **state)
{
    static const pith__compressor_method methods[] = {PITH__COMPRESSOR_500X,
                                                      PITH__COMPRESSOR_SELFCP};
    for (size_t i = 0; i < 2; i++) {
        paths p;
        run_events events = {0};
        pith_error err = {0};
        pith__compressor_settings s = settings_of(*state, methods[i], 80, NULL, &p);
        add_questions(*state, &s, &p);
        s.n_sources = 0;
        s.conditional = methods[i] == PITH__COMPRESSOR_SELFCP;
        s.run.batch = 16;
        s.held_out = 16;
        assert_ok(train(s, &events, &err), err);
        const double own = loss_of(&events, "answer");
        const double shuffled = loss_of(&events, "answer shuffled");
        if (!(own < shuffled - 0.1)) {
            fail_msg("%s: own %.3f, shuffled %.3f", pith__compressor_method_name(methods[i]), own,
                     shuffled);
        }
        assert_false(has_event(&events, "repeat"));
    }
}

/* ---- the same bytes -------------------------------------------------------------------------- */

static void a_run_that_goes_on_ends_with_the_same_bytes(void **state)
{
    static const pith__compressor_method methods[] = {PITH__COMPRESSOR_500X,
                                                      PITH__COMPRESSOR_SELFCP};
    const folder *f = *state;
    for (size_t i = 0; i < 2; i++) {
        paths p;
        pith_error err = {0};
        pith__compressor_settings s = settings_of(f, methods[i], 8, "whole.gguf", &p);
        add_questions(f, &s, &p);
        s.shape.elastic = true;
        s.continuation = 0.3;
        s.lora.dropout = s.lora.rank > 0 ? 0.1 : 0.0;
        assert_ok(train(s, NULL, &err), err);
        join(f, "run.checkpoint", p.checkpoint);
        join(f, "parts.gguf", p.output);
        s.run.checkpoint = p.checkpoint;
        s.run.resume = true;
        run_events events = {.stops = true, .stop_kind = PITH__TRAIN_STEP, .stop_step = 3};
        assert_status(train(s, &events, &err), PITH_E_CANCELLED);
        assert_int_not_equal(access(p.output, F_OK), 0);
        assert_ok(train(s, NULL, &err), err);
        assert_true(folder_same(f, "whole.gguf", "parts.gguf"));
        assert_int_equal(unlink(p.output), 0); /* all is done: it is only written again */
        run_events last = {0};
        assert_ok(train(s, &last, &err), err);
        assert_int_equal(last.of[PITH__TRAIN_STEP], 0);
        assert_true(folder_same(f, "whole.gguf", "parts.gguf"));
        s.continuation = 0.5;
        assert_status(train(s, NULL, &err), PITH_E_MISMATCH); /* another run's checkpoint */
        clean(f);
    }
}

static void threads_change_nothing(void **state)
{
    const folder *f = *state;
    paths one;
    paths other;
    pith_error err = {0};
    pith__compressor_settings s = settings_of(f, PITH__COMPRESSOR_500X, 4, "one.gguf", &one);
    s.run.threads = 1;
    assert_ok(train(s, NULL, &err), err);
    s = settings_of(f, PITH__COMPRESSOR_500X, 4, "two.gguf", &other);
    s.run.threads = 3;
    assert_ok(train(s, NULL, &err), err);
    assert_true(folder_same(f, "one.gguf", "two.gguf"));
    clean(f);
}

/* Samples of one pass do not see each other. */
static void packing_changes_little(void **state)
{
    double losses[2];
    for (size_t i = 0; i < 2; i++) {
        paths p;
        run_events events = {0};
        pith_error err = {0};
        pith__compressor_settings s = settings_of(*state, PITH__COMPRESSOR_500X, 4, NULL, &p);
        s.run.micro_batch = i == 0 ? 1 : 2;
        s.run.batch = 8;
        assert_ok(train(s, &events, &err), err);
        losses[i] = loss_of(&events, "repeat");
    }
    assert_true(fabs(losses[0] - losses[1]) < 1e-4);
}

/* ---- kinds of runs --------------------------------------------------------------------------- */

static void every_strategy_is_trained_and_judged(void **state)
{
    static const char *const names[] = {
        "repeat",         "repeat shuffled", "repeat none",    "repeat by 12", "repeat former",
        "repeat latter",  "repeat concate",  "repeat recursi", "continue",     "continue forme",
        "continue latte", "answer",          "answer shuffle", "answer former"};
    paths p;
    run_events events = {0};
    pith_error err = {0};
    pith__compressor_settings s = settings_of(*state, PITH__COMPRESSOR_SELFCP, 12, NULL, &p);
    add_questions(*state, &s, &p);
    s.mix = (pith__selfcp_mix){0.25, 0.25, 0.1, 0.2, 0.2};
    s.continuation = 0.5;
    s.conditional = true;
    s.run.batch = 8;
    assert_ok(train(s, &events, &err), err);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bool found = false;
        for (size_t k = 0; k < events.count && !found; k++) {
            found = strncmp(events.sources[k], names[i], strlen(names[i])) == 0 &&
                    isfinite(events.all[k].loss) && events.all[k].loss > 0.0;
        }
        if (!found) {
            fail_msg("no figure \"%s\"", names[i]);
        }
    }
    /* the half that is read as it is tells of the other one */
    assert_true(loss_of(&events, "continue former") < loss_of(&events, "continue none"));
}

/* A text above the window, pads, slots at the end, the release's positions, and fewer slots. */
static void other_shapes_train(void **state)
{
    const struct {
        pith__compressor_method method;
        uint32_t window;
        pith__slot_layout layout;
        pith__slot_mode mode;
        bool pads, elastic;
    } cases[] = {{PITH__COMPRESSOR_500X, 7, PITH__SLOTS_UNIFORM, PITH__SLOTS_CONTINUE, false, true},
                 {PITH__COMPRESSOR_500X, 16, PITH__SLOTS_END, PITH__SLOTS_RELEASE, true, false},
                 {PITH__COMPRESSOR_500X, 7, PITH__SLOTS_END, PITH__SLOTS_CONTINUE, true, false},
                 {PITH__COMPRESSOR_ICAE, 7, PITH__SLOTS_END, PITH__SLOTS_CONTINUE, true, true},
                 {PITH__COMPRESSOR_SELFCP, 7, PITH__SLOTS_END, PITH__SLOTS_CONTINUE, false, true}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        paths p;
        run_events events = {0};
        pith_error err = {0};
        pith__compressor_settings s = settings_of(*state, cases[i].method, 12, NULL, &p);
        s.shape.window = cases[i].window;
        s.shape.layout = cases[i].layout;
        s.shape.mode = cases[i].mode;
        s.shape.pads = cases[i].pads;
        s.shape.elastic = cases[i].elastic;
        s.shape.has_norm = false;
        s.slot_deviation = 1.0;
        s.run.batch = 8;
        assert_ok(train(s, &events, &err), err);
        assert_true(loss_of(&events, "repeat") < 6.0);
        if (cases[i].elastic && cases[i].method != PITH__COMPRESSOR_SELFCP) {
            assert_true(isfinite(loss_of(&events, "repeat 1")));
        }
    }
}

/* ---- files ----------------------------------------------------------------------------------- */

static void what_is_written_can_be_loaded_and_gone_on_from(void **state)
{
    const folder *f = *state;
    paths p;
    paths next;
    run_file file;
    run_file model;
    run_events events = {0};
    pith_error err = {0};
    pith__compressor_settings s = settings_of(f, PITH__COMPRESSOR_500X, 6, "c.gguf", &p);
    add_questions(f, &s, &p);
    assert_ok(train(s, &events, &err), err);
    /* the file says what it is */
    char sha256[PITH__SHA256_SIZE];
    pith__model loaded;
    pith__weights weights;
    pith__compressor_about about;
    pith__compressor compressor;
    size_t record_size = 0;
    run_open(f, "c.gguf", &file);
    run_open(f, "base.gguf", &model);
    pith__sha256_of(model.file.data, model.file.size, sha256);
    run_load(f, &model, NULL, &loaded);
    pith__weights_init(&weights, mem);
    assert_ok(pith__compressor_load(&file.gguf, &loaded.config, sha256, &weights, &about,
                                    &record_size, &err),
              err);
    assert_int_equal(about.shape.slots, 4);
    assert_int_equal(about.shape.window, 16);
    assert_string_equal(about.format, FORMAT);
    assert_string_equal(about.name, "tiny");
    assert_ok(pith__compressor_of(&about.shape, &loaded.config, &weights, about.alpha, 0.0f, mem,
                                  &compressor, &err),
              err);
    char record[2048];
    assert_in_range(record_size, 100, sizeof record - 1);
    memcpy(record, about.record, record_size);
    record[record_size] = '\0';
    assert_non_null(strstr(record, "\"steps\": 6, "));
    assert_non_null(strstr(record, "\"texts\": {\"words.txt\": 1}"));
    assert_non_null(strstr(record, "\"questions\": [\"questions.jsonl\"]"));
    assert_non_null(strstr(record, "\"repeat shuffled\": "));
    assert_null(strstr(record, f->path)); /* nobody's folders */
    pith__compressor_deinit(&compressor);
    pith__weights_deinit(&weights);
    pith__model_deinit(&loaded);
    run_close(&model);
    run_close(&file);
    /* with a rate of 0 it stays what it was; rank and alpha are the file's */
    run_events again = {0};
    s = settings_of(f, PITH__COMPRESSOR_500X, 1, NULL, &next);
    add_questions(f, &s, &next);
    join(f, "c.gguf", next.start);
    s.start = next.start;
    s.run.optimizer.rate = 0.0;
    s.lora = (pith__lora_settings){.rank = 2, .alpha = 1.0, .matrices = 1};
    assert_ok(train(s, &again, &err), err);
    assert_true(fabs(loss_of(&again, "repeat") - loss_of(&events, "repeat")) < 1e-9);
    /* another shape is refused */
    s.shape.slots = 5;
    assert_status(train(s, NULL, &err), PITH_E_MISMATCH);
    assert_non_null(strstr(err.message, "slots 4"));
    s.shape = shape_of(PITH__COMPRESSOR_ICAE);
    assert_status(train(s, NULL, &err), PITH_E_MISMATCH);
    clean(f);
}

static void a_long_name_loses_its_end(void **state)
{
    const folder *f = *state;
    paths p;
    run_file file;
    pith__compressor_about about;
    size_t record_size = 0;
    pith_error err = {0};
    char name[80];
    memset(name, 'n', 62);
    (void)snprintf(name + 62, sizeof name - 62, "\xc3\xa9 and more"); /* from byte 62 to 63 */
    pith__compressor_settings s = settings_of(f, PITH__COMPRESSOR_SELFCP, 1, "c.gguf", &p);
    s.name = name;
    assert_ok(train(s, NULL, &err), err);
    run_open(f, "c.gguf", &file);
    assert_ok(pith__compressor_read_about(&file.gguf, &about, &record_size, &err), err);
    assert_int_equal(strlen(about.name), 62);
    assert_memory_equal(about.name, name, 62);
    run_close(&file);
    clean(f);
}

static void a_model_in_memory_is_as_good_as_a_file(void **state)
{
    const folder *f = *state;
    paths p;
    size_t size = 0;
    pith_error err = {0};
    pith__compressor_settings s = settings_of(f, PITH__COMPRESSOR_ICAE, 2, "a.gguf", &p);
    assert_ok(train(s, NULL, &err), err);
    char *data = test_read_file(p.model, &size);
    join(f, "b.gguf", p.output);
    s.model = NULL;
    s.data = data;
    s.data_size = size;
    assert_ok(train(s, NULL, &err), err);
    assert_true(folder_same(f, "a.gguf", "b.gguf"));
    free(data);
    s.data = NULL;
    assert_status(train(s, NULL, &err), PITH_E_ARGUMENT);
    clean(f);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static pith_status refused(const folder *f, pith__compressor_method method,
                           void (*spoil)(pith__compressor_settings *s), pith_error *err)
{
    paths p;
    pith__compressor_settings s = settings_of(f, method, 1, "never.gguf", &p);
    add_questions(f, &s, &p);
    spoil(&s);
    const pith_status status = train(s, NULL, err);
    assert_int_not_equal(access(p.output, F_OK), 0);
    return status;
}

static void no_data(pith__compressor_settings *s)
{
    s->n_sources = s->n_questions = 0;
}

static void long_window(pith__compressor_settings *s)
{
    s->shape.window = 126; /* with 4 slots above 128 */
}

static void long_text(pith__compressor_settings *s)
{
    s->run.length = 80; /* memory takes 80 positions, the text 81 */
}

static void long_halves(pith__compressor_settings *s)
{
    s->run.length = 100; /* half of it stands raw before 101 tokens to repeat */
    s->mix.former = 1.0;
}

static void shortest_above_length(pith__compressor_settings *s)
{
    s->shortest = 17;
}

static void no_share(pith__compressor_settings *s)
{
    s->continuation = 1.5;
}

static void bad_mix(pith__compressor_settings *s)
{
    s->mix.former = -1.0;
}

static void other_mix(pith__compressor_settings *s)
{
    s->mix.former = 1.0;
}

static void conditional(pith__compressor_settings *s)
{
    s->conditional = 1.0;
}

static void no_rank(pith__compressor_settings *s)
{
    s->lora.rank = 0;
}

static void no_slots(pith__compressor_settings *s)
{
    s->shape.slots = 0;
}

static void bad_format(pith__compressor_settings *s)
{
    s->format = "{answer} {question}";
}

static void long_format(pith__compressor_settings *s)
{
    static char text[300];
    memset(text, 'x', sizeof text - 1);
    memcpy(text, "{question}{answer}", 18);
    s->format = text;
}

static void bad_deviation(pith__compressor_settings *s)
{
    s->slot_deviation = (double)NAN;
}

static void no_file(pith__compressor_settings *s)
{
    s->start = "/nowhere/x.gguf";
}

static void settings_that_make_no_sense_are_refused(void **state)
{
    static const struct {
        pith__compressor_method method;
        void (*spoil)(pith__compressor_settings *s);
        pith_status status;
        const char *says;
    } cases[] = {
        {PITH__COMPRESSOR_500X, no_data, PITH_E_ARGUMENT, "neither texts nor questions"},
        {PITH__COMPRESSOR_500X, long_window, PITH_E_ARGUMENT, "a window of 126 tokens"},
        {PITH__COMPRESSOR_500X, long_text, PITH_E_ARGUMENT, "the model's context is 128"},
        {PITH__COMPRESSOR_SELFCP, long_halves, PITH_E_ARGUMENT, "the model's context is 128"},
        {PITH__COMPRESSOR_500X, shortest_above_length, PITH_E_ARGUMENT, "texts of 17 to 16"},
        {PITH__COMPRESSOR_500X, no_share, PITH_E_ARGUMENT, "continuations 1.5"},
        {PITH__COMPRESSOR_SELFCP, bad_mix, PITH_E_ARGUMENT, "former has weight -1"},
        {PITH__COMPRESSOR_500X, other_mix, PITH_E_ARGUMENT, "for method selfcp"},
        {PITH__COMPRESSOR_ICAE, conditional, PITH_E_ARGUMENT, "only by method selfcp"},
        {PITH__COMPRESSOR_500X, no_rank, PITH_E_ARGUMENT, "a rank above 0"},
        {PITH__COMPRESSOR_500X, no_slots, PITH_E_ARGUMENT, "0 slots"},
        {PITH__COMPRESSOR_500X, bad_format, PITH_E_ARGUMENT, "{question} and then {answer}"},
        {PITH__COMPRESSOR_500X, long_format, PITH_E_ARGUMENT, "299 bytes"},
        {PITH__COMPRESSOR_500X, bad_deviation, PITH_E_ARGUMENT, "deviation"},
        {PITH__COMPRESSOR_500X, no_file, PITH_E_IO, "nowhere"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pith_error err = {0};
        const pith_status status = refused(*state, cases[i].method, cases[i].spoil, &err);
        if (status != cases[i].status || strstr(err.message, cases[i].says) == NULL) {
            fail_msg("case %zu: %s: %s", i, pith_status_name(status), err.message);
        }
    }
}

static void a_context_must_not_be_empty(void **state)
{
    static const char line[] = "{\"context\": \"\", \"question\": \"a\", \"answer\": \"b\"}\n";
    const folder *f = *state;
    paths p;
    pith_error err = {0};
    pith__compressor_settings s = settings_of(f, PITH__COMPRESSOR_500X, 1, NULL, &p);
    add_questions(f, &s, &p);
    folder_write(f, "empty.jsonl", line, sizeof line - 1);
    join(f, "empty.jsonl", p.questions);
    s.n_sources = 0;
    s.run.held_out_every = 0;
    assert_status(train(s, NULL, &err), PITH_E_CORRUPT);
    assert_non_null(strstr(err.message, "line 1: the context is empty"));
    clean(f);
}

typedef struct sweep {
    pith__compressor_settings settings;
} sweep;

static pith_status train_with(const pith_allocator *allocator, void *user)
{
    const sweep *s = user;
    pith_error err = {0};
    return pith__train_compressor(&s->settings, allocator, &err);
}

static void no_memory_is_an_error_and_no_leak(void **state)
{
    static const pith__compressor_method methods[] = {PITH__COMPRESSOR_500X,
                                                      PITH__COMPRESSOR_SELFCP};
    for (size_t i = 0; i < 2; i++) {
        paths p;
        sweep s = {settings_of(*state, methods[i], 1, "swept.gguf", &p)};
        add_questions(*state, &s.settings, &p);
        s.settings.run.threads = 1; /* one allocation after the other */
        s.settings.run.batch = 2;
        s.settings.run.held_out_every = 20;
        s.settings.held_out = 6;
        s.settings.continuation = 0.5;
        run_sweep(train_with, &s);
    }
    clean(*state);
}

/* ---- main ------------------------------------------------------------------------------------ */

static folder shared_folder;

static int set_up(void **state)
{
    run_paths base;
    char words[160];
    pith_error err = {0};
    run_folder(&shared_folder);
    write_words(&shared_folder, "words.txt", 400, 3);
    write_questions(&shared_folder, "questions.jsonl", 400, 4);
    pith__base_settings s = run_base(&shared_folder, 200, "base.gguf", NULL, &base);
    join(&shared_folder, "words.txt", words);
    base.sources[0].path = words;
    assert_ok(run_train(s, NULL, &err), err);
    *state = &shared_folder;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove(&shared_folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_comes_to_hold_the_text),
        cmocka_unit_test(questions_are_answered_from_memory),
        cmocka_unit_test(a_run_that_goes_on_ends_with_the_same_bytes),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(packing_changes_little),
        cmocka_unit_test(every_strategy_is_trained_and_judged),
        cmocka_unit_test(other_shapes_train),
        cmocka_unit_test(what_is_written_can_be_loaded_and_gone_on_from),
        cmocka_unit_test(a_long_name_loses_its_end),
        cmocka_unit_test(a_model_in_memory_is_as_good_as_a_file),
        cmocka_unit_test(settings_that_make_no_sense_are_refused),
        cmocka_unit_test(a_context_must_not_be_empty),
        cmocka_unit_test(no_memory_is_an_error_and_no_leak),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
