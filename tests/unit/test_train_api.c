/*
 * test_train_api.c: pith_training through pith.h alone: parameters, what is refused before the
 * work begins, events, and runs that stop and go on.
 */
#include "test.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const recipes[] = {"tokenizer", "base", "align", "cc",     "distill",
                                      "gist",      "500x", "icae",  "selfcp", "evaluate"};
#define RECIPES (sizeof recipes / sizeof recipes[0])

/* ---- files ----------------------------------------------------------------------------- */

static char folder[64];

/* Paths that are used in one expression must have different slots. */
static const char *in_folder(const char *name)
{
    static char paths[64][128];
    static size_t next;
    char *path = paths[next++ % 64];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static const char *const file_names[] = {
    "text",      "more",   "pairs",  "tok.gguf", "a.gguf",  "b.gguf",  "log",
    "plot",      "a.ckpt", "b.ckpt", "table",    "ad.gguf", "context", "triples",
    "questions", "log.2",  "log.3",  "log.4",    "plot.2",  "plot.3",  "plot.4"};

/* Forty short documents. */
static void write_data(const char *path, const char *word)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < 40; i++) {
        (void)fprintf(file, "Number %d: the %s sat on the mat and said %d times that it was so.\n",
                      i, word, 7 * i);
        (void)fprintf(file, "<|endoftext|>\n");
    }
    assert_int_equal(fclose(file), 0);
}

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/pith-training-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    write_data(in_folder("text"), "cat");
    write_data(in_folder("more"), "dog");
    FILE *file = fopen(in_folder("pairs"), "wb");
    assert_non_null(file);
    for (int i = 0; i < 30; i++) {
        (void)fprintf(file, "{\"prompt\": \"%d plus one is \", \"completion\": \"%d\"}\n", i,
                      i + 1);
    }
    assert_int_equal(fclose(file), 0);
    file = fopen(in_folder("context"), "wb");
    assert_non_null(file);
    (void)fputs("The cat sat.", file);
    assert_int_equal(fclose(file), 0);
    file = fopen(in_folder("triples"), "wb");
    assert_non_null(file);
    for (int i = 0; i < 8; i++) {
        (void)fprintf(file, "{\"instruction\": \"a%d\", \"input\": \"\", \"output\": \"b\"}\n", i);
    }
    assert_int_equal(fclose(file), 0);
    file = fopen(in_folder("questions"), "wb");
    assert_non_null(file);
    for (int i = 0; i < 8; i++) {
        (void)fprintf(file, "{\"context\": \"c%d\", \"question\": \"a\", \"answer\": \"b\"}\n", i);
    }
    return fclose(file);
}

static int remove_folder(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof file_names / sizeof file_names[0]; i++) {
        (void)remove(in_folder(file_names[i]));
    }
    (void)remove(in_folder("held/text.txt"));
    (void)remove(in_folder("held"));
    return rmdir(folder); /* fails if something was left behind */
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void assert_same_file(const char *a, const char *b)
{
    size_t a_size = 0;
    size_t b_size = 0;
    char *a_text = test_read_file(a, &a_size);
    char *b_text = test_read_file(b, &b_size);
    assert_int_equal(a_size, b_size);
    assert_memory_equal(a_text, b_text, a_size);
    free(a_text);
    free(b_text);
}

/* ---- trainings ---------------------------------------------------------------------------- */

static void set(pith_training *training, const char *name, const char *value)
{
    pith_error err = {0};
    assert_ok(pith_training_set(training, name, value, &err), err);
}

/* Pairs of names and values, up to a NULL. */
static void set_all(pith_training *training, const char *const *values)
{
    for (; *values != NULL; values += 2) {
        set(training, values[0], values[1]);
    }
}

static pith_training *new_training(const char *recipe, const char *const *values)
{
    pith_error err = {0};
    pith_training *training = NULL;
    assert_ok(pith_training_new(recipe, NULL, &training, &err), err);
    set(training, "threads", "1");
    set_all(training, values);
    return training;
}

/* The vocabulary that other tests need. */
static void make_tokenizer(void)
{
    if (!exists(in_folder("tok.gguf"))) {
        pith_error err = {0};
        pith_training *training = new_training(
            "tokenizer",
            (const char *const[]){"data", in_folder("text"), "data", in_folder("more"), "output",
                                  in_folder("tok.gguf"), "vocab-size", "300", NULL});
        assert_ok(pith_training_run(training, &err), err);
        pith_training_free(training);
    }
}

/* A tiny model on the text, without its output. */
static pith_training *new_base(void)
{
    make_tokenizer();
    return new_training("base", (const char *const[]){"data",
                                                      in_folder("text"),
                                                      "tokenizer",
                                                      in_folder("tok.gguf"),
                                                      "held-out-every",
                                                      "8",
                                                      "layers",
                                                      "1",
                                                      "width",
                                                      "16",
                                                      "heads",
                                                      "2",
                                                      "length",
                                                      "24",
                                                      "batch-size",
                                                      "3",
                                                      "steps",
                                                      "12",
                                                      "evaluate-every",
                                                      "5",
                                                      "checkpoint-every",
                                                      "4",
                                                      "name",
                                                      "tiny",
                                                      NULL});
}

/* A model that others can start from. */
static void make_model(void)
{
    if (!exists(in_folder("a.gguf"))) {
        pith_error err = {0};
        pith_training *training = new_base();
        set(training, "output", in_folder("a.gguf"));
        assert_ok(pith_training_run(training, &err), err);
        pith_training_free(training);
    }
}

/* ---- parameters ------------------------------------------------------------------------------ */

static void recipes_are_known_by_name(void **state)
{
    (void)state;
    pith_error err = {0};
    pith_training *training = (pith_training *)(uintptr_t)1;
    assert_status(pith_training_new("bases", NULL, &training, &err), PITH_E_ARGUMENT);
    assert_null(training);
    assert_non_null(strstr(err.message, "\"bases\""));
    assert_int_equal(pith_training_param_count("bases"), 0);
    assert_null(pith_training_param_at("bases", 0));
    pith_training_free(NULL);
    for (size_t i = 0; i < RECIPES; i++) {
        assert_ok(pith_training_new(recipes[i], NULL, &training, &err), err);
        assert_null(pith_training_param_at(recipes[i], pith_training_param_count(recipes[i])));
        pith_training_free(training);
    }
}

/* What does not belong to the type is refused, whatever the parameter. */
static void check_refusals(pith_training *training, const pith_param_info *info)
{
    pith_error err = {0};
    const bool is_number = info->type == PITH_PARAM_INT || info->type == PITH_PARAM_FLOAT;
    if (is_number || info->type == PITH_PARAM_ENUM || info->type == PITH_PARAM_FLAG) {
        assert_status(pith_training_set(training, info->name, "nonsense", &err), PITH_E_ARGUMENT);
        assert_non_null(strstr(err.message, info->name));
    }
    if (is_number) {
        assert_status(pith_training_set(training, info->name, "-1", &err), PITH_E_RANGE);
        assert_status(pith_training_set(training, info->name, "1e300", &err), PITH_E_RANGE);
        assert_non_null(strstr(err.message, info->name));
        assert_status(pith_training_set(training, info->name, "nan", &err), PITH_E_ARGUMENT);
    }
}

static void every_parameter_checks_its_value(void **state)
{
    (void)state;
    char value[PITH_VALUE_SIZE];
    pith_error err = {0};
    for (size_t r = 0; r < RECIPES; r++) {
        pith_training *training = NULL;
        assert_ok(pith_training_new(recipes[r], NULL, &training, &err), err);
        assert_true(pith_training_param_count(recipes[r]) >= 7);
        for (size_t i = 0; i < pith_training_param_count(recipes[r]); i++) {
            const pith_param_info *info = pith_training_param_at(recipes[r], i);
            assert_true(strlen(info->help) > 15);
            for (size_t k = 0; k < i; k++) {
                assert_string_not_equal(pith_training_param_at(recipes[r], k)->name, info->name);
            }
            check_refusals(training, info);
            if (info->type == PITH_PARAM_LIST) {
                assert_status(pith_training_get(training, info->name, value, sizeof value, &err),
                              PITH_E_ARGUMENT);
                continue;
            }
            assert_ok(pith_training_get(training, info->name, value, sizeof value, &err), err);
            assert_string_equal(value, info->default_value);
            if (info->default_value[0] != '\0') {
                set(training, info->name, info->default_value);
            }
        }
        pith_training_free(training);
    }
}

static void values_are_kept(void **state)
{
    (void)state;
    pith_error err = {0};
    char path[3000];
    char value[4096];
    memset(path, 'x', sizeof path);
    path[sizeof path - 1] = '\0';
    pith_training *training = new_training("base", (const char *const[]){NULL});
    set(training, "output", "a.gguf");
    set(training, "output", path); /* the last one counts */
    assert_ok(pith_training_get(training, "output", value, sizeof value, &err), err);
    assert_string_equal(value, path);
    assert_status(pith_training_get(training, "output", value, PITH_VALUE_SIZE, &err),
                  PITH_E_RANGE);
    assert_string_equal(value, "");
    set(training, "batch_size", "7"); /* as Python spells it */
    assert_ok(pith_training_get(training, "batch-size", value, sizeof value, &err), err);
    assert_string_equal(value, "7");
    set(training, "tied", "no");
    assert_ok(pith_training_get(training, "tied", value, sizeof value, &err), err);
    assert_string_equal(value, "false");
    assert_status(pith_training_set(training, "vocab-size", "300", &err), PITH_E_ARGUMENT);
    assert_status(pith_training_get(training, "pairs", value, sizeof value, &err), PITH_E_ARGUMENT);
    pith_training_free(training);
}

static void assert_value(const pith_training *training, const char *name, const char *expected)
{
    pith_error err = {0};
    char value[PITH_VALUE_SIZE];
    assert_ok(pith_training_get(training, name, value, sizeof value, &err), err);
    assert_string_equal(value, expected);
}

static void a_mode_sets_what_the_release_does(void **state)
{
    (void)state;
    pith_training *training =
        new_training("cc", (const char *const[]){"lr", "0.5", "mode", "official", NULL});
    assert_value(training, "kl", "reverse");
    assert_value(training, "init", "vocabulary");
    assert_value(training, "no-bos", "true");
    assert_value(training, "first-token", "false");
    assert_value(training, "lr", "0.1");
    assert_value(training, "batch-size", "1");
    assert_value(training, "warm-up", "0");
    assert_value(training, "beta2", "0.999");
    set(training, "kl", "forward"); /* what is set afterwards counts */
    assert_value(training, "kl", "forward");
    assert_value(training, "mode", "official");
    set(training, "mode", "pith");
    assert_value(training, "init", "chunks");
    assert_value(training, "lr", "0.01");
    assert_value(training, "batch-size", "8");
    assert_value(training, "warm-up", "");
    pith_training_free(training);
}

/* The compressors' modes: what is not theirs is left alone. */
static void compressors_have_modes(void **state)
{
    (void)state;
    static const struct {
        const char *recipe, *name, *official, *ours;
    } cases[] = {{"500x", "layout", "end", "uniform"},
                 {"500x", "position-mode", "release", "continue"},
                 {"500x", "pad", "true", "false"},
                 {"500x", "slot-deviation", "1", "0"},
                 {"500x", "lora-rank", "64", "64"},
                 {"500x", "lora-alpha", "32", "64"},
                 {"500x", "lora-dropout", "0.05", "0"},
                 {"500x", "lr", "0.0001", "0.002"},
                 {"500x", "schedule", "constant", "cosine"},
                 {"icae", "layout", "end", "uniform"},
                 {"icae", "lora-rank", "128", "64"},
                 {"icae", "continuation", "0.5", "0.5"},
                 {"selfcp", "layout", "end", "end"},
                 {"selfcp", "lr", "5e-05", "0.001"},
                 {"selfcp", "beta2", "0.999", "0.95"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pith_training *training = new_training(cases[i].recipe, (const char *const[]){NULL});
        assert_value(training, cases[i].name, cases[i].ours);
        set(training, "mode", "official");
        assert_value(training, cases[i].name, cases[i].official);
        set(training, "mode", "pith");
        assert_value(training, cases[i].name, cases[i].ours);
        pith_training_free(training);
    }
}

static void entries_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *recipe, *name, *value;
        pith_status status;
    } cases[] = {
        {"base", "data", "", PITH_E_ARGUMENT},
        {"base", "data", "=2", PITH_E_ARGUMENT},
        {"base", "data", "a=0", PITH_E_RANGE},
        {"base", "data", "a=-1", PITH_E_RANGE},
        {"base", "data", "a=1e999", PITH_E_RANGE},
        {"base", "data", "a=b", PITH_OK}, /* the name of a file */
        {"base", "data", "a=", PITH_OK},
        {"base", "data", "a=2=0.5", PITH_OK},
        {"tokenizer", "special", "", PITH_E_ARGUMENT},
        {"align", "lora-matrices", "attn_q", PITH_OK},
        {"align", "lora-matrices", "all", PITH_OK},
        {"align", "lora-matrices", "q", PITH_E_ARGUMENT},
        {"align", "schedule", "wsd", PITH_E_ARGUMENT},
        {"gist", "condition", "negative", PITH_OK},
        {"gist", "condition", "none", PITH_E_ARGUMENT},
        {"gist", "gist-token", "", PITH_E_ARGUMENT},
        {"cc", "mode", "paper", PITH_E_ARGUMENT},
        {"selfcp", "strategy", "former", PITH_OK},
        {"selfcp", "strategy", "former=2,latter,linear=0.5", PITH_OK},
        {"selfcp", "strategy", "release", PITH_OK},
        {"selfcp", "strategy", "release=2", PITH_E_ARGUMENT},
        {"selfcp", "strategy", "", PITH_E_ARGUMENT},
        {"selfcp", "strategy", "former,", PITH_E_ARGUMENT},
        {"selfcp", "strategy", "later=1", PITH_E_ARGUMENT},
        {"selfcp", "strategy", "former=0", PITH_E_RANGE},
        {"selfcp", "strategy", "former=x", PITH_E_RANGE},
        {"selfcp", "slots", "4", PITH_E_ARGUMENT},
        {"icae", "position-mode", "release", PITH_E_ARGUMENT},
        {"500x", "layout", "middle", PITH_E_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pith_error err = {0};
        pith_training *training = NULL;
        assert_ok(pith_training_new(cases[i].recipe, NULL, &training, &err), err);
        assert_status(pith_training_set(training, cases[i].name, cases[i].value, &err),
                      cases[i].status);
        assert_true(cases[i].status == PITH_OK || strstr(err.message, cases[i].name) != NULL);
        pith_training_free(training);
    }
}

static pith_status life_body(const pith_allocator *mem, void *user)
{
    pith_training *training = NULL;
    pith_status status = pith_training_new(user, mem, &training, NULL);
    for (size_t i = 0; status == PITH_OK && i < pith_training_param_count(user); i++) {
        const pith_param_info *info = pith_training_param_at(user, i);
        char most[32];
        (void)snprintf(most, sizeof most, "%.17g", info->max);
        const char *value = info->default_value[0] != '\0' ? info->default_value : most;
        status = pith_training_set(training, info->name, value, NULL);
        if (status == PITH_OK) {
            status = pith_training_set(training, info->name, value, NULL);
        }
    }
    pith_training_free(training);
    return status;
}

static void no_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    for (size_t i = 0; i < RECIPES; i++) {
        char recipe[16];
        (void)snprintf(recipe, sizeof recipe, "%s", recipes[i]);
        test_sweep(life_body, recipe);
    }
}

/* ---- refused before the work begins ------------------------------------------------------------ */

/* The run fails, and says which parameter is to blame. */
static void refuse(const char *recipe, pith_status expected, const char *part,
                   const char *const *values)
{
    pith_error err = {0};
    pith_training *training = new_training(recipe, values);
    const pith_status status = pith_training_run(training, &err);
    assert_int_equal(err.status, status);
    if (status != expected) {
        fail_msg("%s: %s, expected %s about \"%s\"", pith_status_name(status), err.message,
                 pith_status_name(expected), part);
    }
    if (strstr(err.message, part) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.message, part);
    }
    pith_training_free(training);
}

#define VALUES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void what_is_missing_is_named(void **state)
{
    (void)state;
    const char *text = in_folder("text");
    const char *out = in_folder("b.gguf");
    const char *gguf = in_folder("tok.gguf"); /* is opened before the rest is asked for */
    make_tokenizer();
    refuse("tokenizer", PITH_E_ARGUMENT, "data: a file", VALUES("output", out));
    refuse("tokenizer", PITH_E_ARGUMENT, "output: a file", VALUES("data", text));
    refuse("base", PITH_E_ARGUMENT, "data: a file", VALUES("output", out));
    refuse("base", PITH_E_ARGUMENT, "tokenizer: a file", VALUES("data", text, "output", out));
    refuse("align", PITH_E_ARGUMENT, "pairs: a file", VALUES("output", out));
    refuse("align", PITH_E_ARGUMENT, "model: a file", VALUES("pairs", text, "output", out));
    refuse("align", PITH_E_ARGUMENT, "output: a file", VALUES("pairs", text, "model", gguf));
    refuse("align", PITH_E_ARGUMENT,
           "adapter:", VALUES("pairs", text, "model", gguf, "adapter", out));
    refuse("500x", PITH_E_ARGUMENT, "data, questions: a file", VALUES("output", out));
    refuse("selfcp", PITH_E_ARGUMENT, "output: a file", VALUES("data", text));
    refuse("icae", PITH_E_RANGE, "shortest: 9 is outside",
           VALUES("data", text, "output", out, "length", "8", "shortest", "9"));
    refuse("500x", PITH_E_CORRUPT,
           "init-from: ", VALUES("data", text, "output", out, "init-from", text));
    refuse("500x", PITH_E_ARGUMENT, "is the questions already",
           VALUES("questions", text, "output", text));
    refuse("evaluate", PITH_E_ARGUMENT, "data: a file", VALUES("model", gguf));
    refuse("evaluate", PITH_E_ARGUMENT, "model: a file", VALUES("data", text));
    assert_false(exists(out));
}

static void files_are_checked_first(void **state)
{
    (void)state;
    const char *text = in_folder("text");
    const char *tok = in_folder("tok.gguf");
    make_tokenizer();
    refuse("tokenizer", PITH_E_IO, "output: ", VALUES("data", text, "output", "/nowhere/x"));
    refuse("tokenizer", PITH_E_IO, "is a folder", VALUES("data", text, "output", folder));
    refuse("tokenizer", PITH_E_ARGUMENT, "is the data already",
           VALUES("data", text, "output", text));
    refuse("tokenizer", PITH_E_IO, "/nowhere/text",
           VALUES("data", "/nowhere/text", "output", in_folder("b.gguf")));
    refuse("base", PITH_E_IO, "checkpoint: ",
           VALUES("data", text, "tokenizer", tok, "output", in_folder("b.gguf"), "checkpoint",
                  "/nowhere/x"));
    refuse("base", PITH_E_IO, "/nowhere/log",
           VALUES("data", text, "tokenizer", tok, "output", in_folder("b.gguf"), "layers", "1",
                  "width", "16", "heads", "1", "log", "/nowhere/log"));
    refuse("base", PITH_E_ARGUMENT, "plot: ",
           VALUES("data", text, "tokenizer", tok, "output", in_folder("b.gguf"), "plot",
                  in_folder("b.gguf")));
    refuse("base", PITH_E_CORRUPT, "", /* no GGUF file */
           VALUES("data", text, "tokenizer", text, "output", in_folder("b.gguf")));
    assert_false(exists(in_folder("b.gguf")));
}

static void shapes_that_do_not_fit_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *second, *second_value;
        pith_status status;
    } cases[] = {
        {"heads", "3", "width", "32", PITH_E_RANGE},
        {"kv-heads", "3", "heads", "4", PITH_E_RANGE},
        {"head-dim", "7", "width", "32", PITH_E_RANGE},
        {"context", "100", "length", "200", PITH_E_RANGE},
        {"warm-up", "30", "steps", "20", PITH_E_RANGE},
        {"decay-steps", "30", "steps", "20", PITH_E_RANGE},
    };
    make_tokenizer();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        refuse("base", cases[i].status, cases[i].name,
               VALUES("data", in_folder("text"), "tokenizer", in_folder("tok.gguf"), "output",
                      in_folder("b.gguf"), cases[i].name, cases[i].value, cases[i].second,
                      cases[i].second_value));
    }
    make_model();
    refuse("base", PITH_E_ARGUMENT, "layers: 2",
           VALUES("data", in_folder("text"), "init-from", in_folder("a.gguf"), "length", "24",
                  "output", in_folder("b.gguf"), "layers", "2"));
    refuse("align", PITH_E_RANGE, "length: 25",
           VALUES("pairs", in_folder("pairs"), "model", in_folder("a.gguf"), "length", "25",
                  "output", in_folder("b.gguf")));
    refuse("align", PITH_E_ARGUMENT, "template: ",
           VALUES("pairs", in_folder("pairs"), "model", in_folder("a.gguf"), "template",
                  "{completion}{prompt}", "output", in_folder("b.gguf")));
}

/* ---- runs ----------------------------------------------------------------------------------------- */

typedef struct witness {
    uint64_t step;
    uint64_t stop_at; /* 0: never */
    size_t starts, steps, evaluations, totals, checkpoints, ends;
    double first_loss, last_loss;
} witness;

static bool watch(void *user, const pith_training_event *e)
{
    witness *w = user;
    assert_int_equal(e->struct_size, sizeof *e);
    switch (e->kind) {
    case PITH_TRAINING_START:
        w->starts++;
        w->step = e->step;
        return true;
    case PITH_TRAINING_STEP:
        w->steps++;
        assert_int_equal(e->step, w->step + 1);
        assert_int_equal(e->steps, 12);
        assert_true(e->loss > 0.0 && e->norm > 0.0 && e->seconds > 0.0);
        w->step = e->step;
        w->first_loss = e->step == 1 ? e->loss : w->first_loss;
        w->last_loss = e->loss;
        break;
    case PITH_TRAINING_EVALUATION:
        w->evaluations++;
        w->totals += e->source == NULL;
        assert_int_equal(e->step, w->step);
        assert_true(e->source == NULL || strcmp(e->source, "text") == 0);
        assert_true(e->loss > 0.0 && e->bits_per_byte > 0.0);
        break;
    case PITH_TRAINING_CHECKPOINT:
        w->checkpoints++;
        break;
    case PITH_TRAINING_END:
        w->ends++;
        assert_int_equal(w->step, 12);
        break;
    case PITH_TRAINING_PREPARE:
    default:
        fail_msg("event %d of recipe base", (int)e->kind);
    }
    return w->stop_at == 0 || w->step < w->stop_at;
}

static void a_run_reports_what_it_does(void **state)
{
    (void)state;
    pith_error err = {0};
    witness w = {0};
    size_t size = 0;
    pith_training *training = new_base();
    set(training, "output", in_folder("a.gguf"));
    set(training, "checkpoint", in_folder("a.ckpt"));
    set(training, "log", in_folder("log"));
    set(training, "plot", in_folder("plot"));
    set(training, "lr", "0.01");
    pith_training_set_event(training, watch, &w);
    assert_ok(pith_training_run(training, &err), err);
    pith_training_free(training);
    assert_int_equal(w.starts, 1);
    assert_int_equal(w.steps, 12);
    assert_int_equal(w.totals, 3); /* after 5, 10 and 12 */
    assert_int_equal(w.evaluations, 6);
    assert_int_equal(w.checkpoints, 3); /* after 4, 8 and 12 */
    assert_int_equal(w.ends, 1);
    assert_true(w.last_loss < w.first_loss - 0.1);
    char *log = test_read_file(in_folder("log"), &size);
    size_t lines = 0;
    for (size_t i = 0; i < size; i++) {
        lines += log[i] == '\n';
    }
    assert_int_equal(lines, 12 + 6);
    free(log);
    char *plot = test_read_file(in_folder("plot"), &size);
    assert_non_null(strstr(plot, "<title>tiny"));
    free(plot);
    pith_model *model = NULL;
    assert_ok(pith_model_open(in_folder("a.gguf"), NULL, &model, &err), err);
    const pith_model_info info = pith_model_describe(model);
    assert_string_equal(info.name, "tiny");
    assert_int_equal(info.layers, 1);
    assert_int_equal(info.width, 16);
    assert_int_equal(info.context, 24);
    assert_int_equal(info.vocabulary, 300);
    pith_model_free(model);
}

/* Stopped twice, with other threads each time, and the bytes are those of a run without a stop. */
static void a_run_goes_on_where_it_was_stopped(void **state)
{
    (void)state;
    static const char *const optimizers[] = {"adamw", "muon"};
    for (size_t i = 0; i < 2; i++) {
        pith_error err = {0};
        witness whole = {0};
        pith_training *training = new_base();
        set(training, "optimizer", optimizers[i]);
        set(training, "output", in_folder("a.gguf"));
        pith_training_set_event(training, watch, &whole);
        assert_ok(pith_training_run(training, &err), err);
        (void)remove(in_folder("b.gguf"));
        (void)remove(in_folder("b.ckpt"));
        witness w = {.stop_at = 3};
        set(training, "output", in_folder("b.gguf"));
        set(training, "checkpoint", in_folder("b.ckpt"));
        pith_training_set_event(training, watch, &w);
        assert_status(pith_training_run(training, &err), PITH_E_CANCELLED);
        assert_int_equal(w.steps, 3);
        assert_true(exists(in_folder("b.ckpt")));
        assert_false(exists(in_folder("b.gguf")));
        w = (witness){.stop_at = 10};
        set(training, "threads", "2");
        assert_status(pith_training_run(training, &err), PITH_E_CANCELLED);
        assert_int_equal(w.steps, 7);
        w = (witness){.stop_at = 0};
        assert_ok(pith_training_run(training, &err), err);
        assert_int_equal(w.steps, 2);
        assert_true(w.last_loss == whole.last_loss);
        assert_same_file(in_folder("a.gguf"), in_folder("b.gguf"));
        set(training, "resume", "false");
        w = (witness){.stop_at = 0};
        assert_ok(pith_training_run(training, &err), err);
        assert_int_equal(w.steps, 12); /* from the beginning */
        assert_same_file(in_folder("a.gguf"), in_folder("b.gguf"));
        pith_training_free(training);
    }
}

/* What an event cannot write ends the run with that error, and what is done is saved. */
static void a_full_disk_stops_the_run(void **state)
{
    (void)state;
    if (access("/dev/full", W_OK) != 0) {
        skip();
    }
    pith_error err = {0};
    pith_training *training = new_base();
    (void)remove(in_folder("b.ckpt"));
    (void)remove(in_folder("b.gguf"));
    set(training, "output", in_folder("b.gguf"));
    set(training, "checkpoint", in_folder("b.ckpt"));
    set(training, "log", "/dev/full");
    assert_status(pith_training_run(training, &err), PITH_E_IO);
    assert_non_null(strstr(err.message, "/dev/full"));
    assert_true(exists(in_folder("b.ckpt")));
    assert_false(exists(in_folder("b.gguf")));
    pith_training_free(training);
}

/* With a model to go on from, its shape and its vocabulary are taken. */
static void a_run_starts_from_a_model(void **state)
{
    (void)state;
    pith_error err = {0};
    witness from_nothing = {0};
    witness from_model = {0};
    make_tokenizer();
    pith_training *training = new_base();
    set(training, "output", in_folder("a.gguf"));
    set(training, "lr", "0.01");
    pith_training_set_event(training, watch, &from_nothing);
    assert_ok(pith_training_run(training, &err), err);
    pith_training_free(training);
    training =
        new_training("base", VALUES("data", in_folder("text"), "init-from", in_folder("a.gguf"),
                                    "output", in_folder("b.gguf"), "length", "24", "batch-size",
                                    "3", "steps", "12", "type", "int8"));
    pith_training_set_event(training, watch, &from_model);
    assert_ok(pith_training_run(training, &err), err);
    pith_training_free(training);
    assert_true(from_model.first_loss < from_nothing.first_loss - 0.1);
    pith_model *model = NULL;
    assert_ok(pith_model_open(in_folder("b.gguf"), NULL, &model, &err), err);
    assert_string_equal(pith_model_describe(model).name, "b"); /* of the file */
    assert_int_equal(pith_model_describe(model).width, 16);
    pith_model_free(model);
}

static void an_adapter_is_written_alone(void **state)
{
    (void)state;
    pith_error err = {0};
    make_model();
    pith_training *training = new_training(
        "align", VALUES("pairs", in_folder("pairs"), "model", in_folder("a.gguf"), "adapter",
                        in_folder("ad.gguf"), "lora-rank", "2", "lora-matrices", "attn_q",
                        "lora-matrices", "ffn_up", "epochs", "1"));
    assert_ok(pith_training_run(training, &err), err);
    pith_training_free(training);
    pith_model *model = NULL;
    const pith_model_options options = {.struct_size = sizeof options,
                                        .lora = in_folder("ad.gguf")};
    assert_ok(pith_model_open(in_folder("a.gguf"), &options, &model, &err), err);
    pith_model_free(model);
}

static bool append(void *user, const char *data, size_t size)
{
    char *text = user;
    (void)strncat(text, data, size);
    return true;
}

static bool refuse_all(void *user, const char *data, size_t size)
{
    (void)user;
    (void)data;
    (void)size;
    return false;
}

static void an_evaluation_is_a_table(void **state)
{
    (void)state;
    pith_error err = {0};
    char text[4096] = "";
    size_t size = 0;
    struct stat info;
    make_model();
    pith_training *training =
        new_training("evaluate", VALUES("data", in_folder("text"), "data", in_folder("more"),
                                        "model", in_folder("a.gguf"), "held-out-every", "0"));
    pith_training_set_write(training, append, text);
    assert_ok(pith_training_run(training, &err), err);
    assert_non_null(strstr(text, "{\"source\": \"text\", \"documents\": 40, "));
    assert_non_null(strstr(text, "{\"source\": \"more\", \"documents\": 40, "));
    assert_non_null(strstr(text, "\"all\": {\"documents\": 80, "));
    set(training, "output", in_folder("table"));
    set(training, "held-out-dir", in_folder("held"));
    set(training, "held-out-every", "8");
    text[0] = '\0';
    assert_status(pith_training_run(training, &err), PITH_OK);
    assert_string_equal(text, ""); /* it went to the file */
    char *table = test_read_file(in_folder("table"), &size);
    assert_non_null(strstr(table, "\"held_out_every\": 8,"));
    free(table);
    assert_int_equal(stat(in_folder("held/text.txt"), &info), 0);
    (void)remove(in_folder("held/more.txt"));
    set(training, "output", "");
    pith_training_set_write(training, refuse_all, NULL);
    assert_status(pith_training_run(training, &err), PITH_E_IO);
    (void)remove(in_folder("held/more.txt"));
    pith_training_free(training);
}

/* A whole run, as short as it can be. */
typedef struct short_run {
    const char *recipe;
    const char *const *values; /* as for set_all() */
} short_run;

static pith_status run_body(const pith_allocator *mem, void *user)
{
    const short_run *run = user;
    pith_training *training = NULL;
    pith_status status = pith_training_new(run->recipe, mem, &training, NULL);
    for (const char *const *v = run->values; *v != NULL && status == PITH_OK; v += 2) {
        status = pith_training_set(training, v[0], v[1], NULL);
    }
    if (status == PITH_OK) {
        status = pith_training_run(training, NULL);
    }
    pith_training_free(training);
    return status;
}

/* Events so far; `stops` at the first PREPARE. */
typedef struct preparation {
    size_t prepared, others;
    bool stops;
} preparation;

static bool watch_preparation(void *user, const pith_training_event *e)
{
    preparation *p = user;
    if (e->kind != PITH_TRAINING_PREPARE) {
        p->others++;
        return true;
    }
    p->prepared++;
    assert_int_equal(p->others, 0);
    assert_true(e->step > 0 && e->step <= e->steps);
    return !p->stops;
}

static void continuations_are_told_and_can_be_stopped(void **state)
{
    (void)state;
    make_model();
    pith_error err;
    for (int stops = 0; stops < 2; stops++) {
        preparation p = {.stops = stops == 1};
        pith_training *training =
            new_training("cc", VALUES("context", in_folder("context"), "model", in_folder("a.gguf"),
                                      "output", in_folder("b.gguf"), "steps", "1", "continuations",
                                      "4", "length", "4", "slots", "1", "threads", "1"));
        pith_training_set_event(training, watch_preparation, &p);
        const pith_status status = pith_training_run(training, &err);
        assert_int_equal(status, p.stops ? PITH_E_CANCELLED : PITH_OK);
        assert_true(p.stops ? p.prepared == 1 && p.others == 0 : p.prepared > 0 && p.others > 0);
        pith_training_free(training);
    }
}

static void a_run_without_memory_leaks_nothing(void **state)
{
    (void)state;
    make_model();
    const char *text = in_folder("text");
    const char *model = in_folder("a.gguf");
    const char *out = in_folder("b.gguf");
    const short_run runs[] = {
        {"tokenizer", VALUES("data", text, "output", out, "vocab-size", "260", "threads", "1")},
        {"base",
         VALUES("data", text, "output", out, "tokenizer", model, "steps", "1", "layers", "1",
                "width", "16", "heads", "2", "length", "8", "batch-size", "1", "threads", "1",
                "held-out-every", "0", "log", in_folder("log"), "resume", "false")},
        {"align",
         VALUES("pairs", in_folder("pairs"), "output", out, "model", model, "steps", "1",
                "batch-size", "1", "threads", "1", "held-out-every", "0", "lora-rank", "2")},
        {"cc", VALUES("context", in_folder("context"), "model", model, "output", out, "steps", "1",
                      "continuations", "1", "length", "4", "batch-size", "1", "slots", "1",
                      "threads", "1", "log", in_folder("log"), "plot", in_folder("plot"))},
        {"distill", VALUES("context", in_folder("context"), "data", text, "model", model, "output",
                           out, "steps", "1", "continuations", "1", "length", "4", "batch-size",
                           "1", "lora-rank", "1", "threads", "1")},
        {"gist", VALUES("data", in_folder("triples"), "test", in_folder("triples"), "model", model,
                        "output", out, "report", in_folder("table"), "steps", "1", "batch-size",
                        "1", "slots", "1", "controls", "true", "generate", "1", "max-tokens", "1",
                        "length", "23", "held-out-every", "4", "threads", "1", "log",
                        in_folder("log"), "plot", in_folder("plot"))},
        {"500x", VALUES("data", text, "questions", in_folder("questions"), "model", model, "output",
                        out, "steps", "1", "length", "4", "slots", "1", "batch-size", "1",
                        "lora-rank", "1", "held-out", "1", "held-out-every", "4", "threads", "1",
                        "elastic", "true", "log", in_folder("log"), "plot", in_folder("plot"))},
        {"icae",
         VALUES("mode", "official", "questions", in_folder("questions"), "model", model, "output",
                out, "epochs", "0.1", "length", "4", "slots", "2", "batch-size", "1", "lora-rank",
                "1", "held-out", "1", "held-out-every", "4", "threads", "1")},
        {"selfcp", VALUES("data", text, "model", model, "output", out, "steps", "1", "length", "4",
                          "ratio", "2", "batch-size", "1", "held-out", "1", "held-out-every", "8",
                          "threads", "1", "strategy", "former,latter=2")},
        {"evaluate", VALUES("data", text, "model", model, "evaluate-bytes", "1", "threads", "1",
                            "output", in_folder("table"), "held-out-every", "8")},
    };
    for (size_t i = 0; i < RECIPES; i++) {
        short_run run = runs[i];
        test_sweep(run_body, &run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recipes_are_known_by_name),
        cmocka_unit_test(every_parameter_checks_its_value),
        cmocka_unit_test(values_are_kept),
        cmocka_unit_test(a_mode_sets_what_the_release_does),
        cmocka_unit_test(compressors_have_modes),
        cmocka_unit_test(entries_are_checked),
        cmocka_unit_test(no_memory_is_an_error_and_no_leak),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(files_are_checked_first),
        cmocka_unit_test(shapes_that_do_not_fit_are_named),
        cmocka_unit_test(a_run_reports_what_it_does),
        cmocka_unit_test(a_run_goes_on_where_it_was_stopped),
        cmocka_unit_test(a_full_disk_stops_the_run),
        cmocka_unit_test(a_run_starts_from_a_model),
        cmocka_unit_test(an_adapter_is_written_alone),
        cmocka_unit_test(an_evaluation_is_a_table),
        cmocka_unit_test(continuations_are_told_and_can_be_stopped),
        cmocka_unit_test(a_run_without_memory_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
