/*
 * test_api.c: the promises of pith.h, through pith.h alone: the released method
 * reproduced, budgets kept, nothing protected lost, nothing invented, any input
 * survived.
 */
#include "test.h"

#include "golden_json.h"

#include <locale.h>
#include <math.h>

static pith_model *open_model(const char *path, pith_precision precision)
{
    pith_error err = {0};
    pith_model *model = NULL;
    const pith_model_options options = {.struct_size = sizeof options, .precision = precision};
    assert_ok(pith_model_open(path, &options, &model, &err), err);
    return model;
}

static pith_ctx *new_ctx(const pith_model *model)
{
    pith_error err = {0};
    pith_ctx *ctx = NULL;
    assert_ok(pith_ctx_new(model, &ctx, &err), err);
    return ctx;
}

static void set(pith_ctx *ctx, const char *name, const char *value)
{
    pith_error err = {0};
    assert_ok(pith_ctx_set(ctx, name, value, &err), err);
}

static void set_number(pith_ctx *ctx, const char *name, double value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%.17g", value);
    set(ctx, name, text);
}

/* ---- Selective Context as released -------------------------------------------------------- */

static void official_run(pith_ctx *ctx, const char *text, size_t size, const json_t *run)
{
    pith_error err = {0};
    pith_result *result = NULL;
    const char *level = json_string_value(json_object_get(run, "level"));
    const char *expected = json_string_value(json_object_get(run, "output"));
    pith_ctx_reset(ctx);
    set(ctx, "mode", "official");
    set(ctx, "level", strcmp(level, "sent") == 0 ? "sentence" : level);
    set_number(ctx, "percentile", 100.0 * json_number_value(json_object_get(run, "reduce_ratio")));
    assert_ok(pith_compress(ctx, text, size, &result, &err), err);
    if (strcmp(pith_result_text(result), expected) != 0) {
        fail_msg("level %s, ratio %.2f:\n  got      \"%s\"\n  expected \"%s\"", level,
                 json_number_value(json_object_get(run, "reduce_ratio")), pith_result_text(result),
                 expected);
    }
    pith_result_free(result);
}

/* Every run of the reference: text to text, through our tokenizer, engine, and selection. */
static void official_mode_reproduces_the_release(void **state)
{
    (void)state;
    require_shared();
    json_t *root = golden_load(test_path("shared", "golden/selective_context/cases.json"));
    pith_model *model =
        open_model(test_path("golden", "models/boot-ckpt.gguf"), PITH_PRECISION_F32);
    pith_ctx *ctx = new_ctx(model);
    size_t runs = 0;
    size_t i = 0;
    json_t *entry = NULL;
    json_array_foreach(json_object_get(root, "cases"), i, entry)
    {
        const json_t *text = json_object_get(entry, "text");
        size_t k = 0;
        json_t *run = NULL;
        json_array_foreach(json_object_get(entry, "runs"), k, run)
        {
            official_run(ctx, json_string_value(text), json_string_length(text), run);
            runs++;
        }
    }
    print_message("%zu reference runs reproduced to the byte\n", runs);
    assert_true(runs >= 50);
    pith_ctx_free(ctx);
    pith_model_free(model);
    json_decref(root);
}

/* ---- properties over random texts ------------------------------------------------------------ */

/* Pieces that random texts are made of; the last ones are ill-formed UTF-8. */
static const char *const pieces[] = {
    "the ",
    "quick ",
    "brown fox ",
    "don't ",
    "3.14 ",
    "$42 ",
    "\n",
    "\n\n",
    "  ",
    "\t",
    "state-of-the-art ",
    "https://a.b/c?d=1 ",
    "名前は",
    "日本語。",
    "한국어 ",
    "ภาษาไทย ",
    "Ünïcödé ",
    "e\xcc\x81 ",
    "👩‍👩‍👧 ",
    "🇩🇪🇫🇷",
    "😀",
    "...",
    "!? ",
    "{\"a\": [1, 2]} ",
    "`code` ",
    "(x) ",
    "\r\n",
    "KEEPME ",
    "a",
    "\xe2\x80\x8b",
    "I went home. ",
    "Yes! ",
    "\xff",
    "\xc3",
    "\xe2\x82",
    "\xed\xa0\x80",
};
#define PIECES     (sizeof pieces / sizeof pieces[0])
#define ILL_FORMED 4

static size_t random_text(uint64_t *seed, bool ill_formed, char *out, size_t capacity)
{
    const size_t kinds = ill_formed ? PIECES : PIECES - ILL_FORMED;
    const size_t count = test_random_below(seed, 60);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        const char *piece = pieces[test_random_below(seed, kinds)];
        const size_t length = strlen(piece);
        if (size + length < capacity) {
            memcpy(out + size, piece, length);
            size += length;
        }
    }
    return size;
}

static size_t count_of(const char *text, size_t size, const char *word)
{
    size_t count = 0;
    const size_t length = strlen(word);
    for (size_t i = 0; i + length <= size; i++) {
        count += memcmp(text + i, word, length) == 0;
    }
    return count;
}

/* The text is exactly its ranges of the input, which ascend and do not touch. */
static void check_ranges(const char *text, size_t size, const pith_result *result)
{
    size_t count = 0;
    const pith_range *ranges = pith_result_ranges(result, &count);
    const char *at = pith_result_text(result);
    size_t end = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(ranges[i].start < ranges[i].end);
        assert_true(i == 0 ? true : ranges[i].start > end);
        end = ranges[i].end;
        assert_true(end <= size);
        assert_memory_equal(at, text + ranges[i].start, end - ranges[i].start);
        at += end - ranges[i].start;
    }
    assert_ptr_equal(at, pith_result_text(result) + pith_result_size(result));
    assert_int_equal(*at, '\0');
}

/* Units ascend, are disjoint, and are kept if protected. */
static void check_units(size_t size, const pith_result *result)
{
    size_t count = 0;
    const pith_unit *units = pith_result_units(result, &count);
    size_t end = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(units[i].start >= end && units[i].end >= units[i].start);
        assert_true(units[i].kept || !units[i].is_protected);
        end = units[i].end;
    }
    assert_true(end <= size);
}

static void check_budget(const pith_result *result, double rate)
{
    const pith_stats stats = pith_result_stats(result);
    assert_true(stats.kept_tokens <= stats.budget_tokens);
    assert_true((double)stats.kept_tokens <= rate * (double)stats.source_tokens + 1e-6);
}

typedef struct property_totals {
    size_t cases;
    size_t over_protected; /* protected text alone was over the budget */
} property_totals;

static void property_case(pith_ctx *ctx, uint64_t *seed, property_totals *totals)
{
    static const char *const levels[] = {"token", "word", "phrase", "sentence"};
    static const double rates[] = {0.0, 0.1, 0.2, 0.5, 0.8, 1.0};
    char text[2048];
    const bool ill_formed = test_random_below(seed, 4) == 0;
    const bool keeps = test_random_below(seed, 3) == 0;
    const double rate = rates[test_random_below(seed, 6)];
    const size_t size = random_text(seed, ill_formed, text, sizeof text);
    pith_ctx_reset(ctx);
    set(ctx, "level", levels[test_random_below(seed, 4)]);
    set(ctx, "invalid-utf8", "keep");
    set_number(ctx, "rate", rate);
    if (keeps) {
        set(ctx, "keep", "KEEPME");
        set(ctx, "keep-regex", "[0-9]+");
    }
    pith_error err = {0};
    pith_result *one = NULL;
    pith_result *two = NULL;
    set(ctx, "threads", "1");
    const pith_status status = pith_compress(ctx, text, size, &one, &err);
    totals->cases++;
    if (status == PITH_E_BUDGET && keeps) {
        assert_null(one);
        totals->over_protected++;
        return;
    }
    assert_ok(status, err);
    check_ranges(text, size, one);
    check_units(size, one);
    check_budget(one, rate);
    const char *kept = pith_result_text(one);
    if (keeps) {
        assert_int_equal(count_of(kept, pith_result_size(one), "KEEPME"),
                         count_of(text, size, "KEEPME"));
        assert_int_equal(count_of(kept, pith_result_size(one), "42"), count_of(text, size, "42"));
    }
    if (rate == 1.0) {
        assert_int_equal(pith_result_size(one), size);
    }
    set(ctx, "threads", "2");
    assert_ok(pith_compress(ctx, text, size, &two, &err), err);
    assert_int_equal(pith_result_size(two), pith_result_size(one));
    assert_memory_equal(kept, pith_result_text(two), pith_result_size(one));
    pith_result_free(one);
    pith_result_free(two);
}

static void properties_hold_on_random_texts(void **state)
{
    (void)state;
    pith_model *model =
        open_model(test_path("golden", "models/llama_gqa.gguf"), PITH_PRECISION_AUTO);
    pith_ctx *ctx = new_ctx(model);
    property_totals totals = {0, 0};
    uint64_t seed = 20261121;
    for (size_t i = 0; i < 1500; i++) {
        property_case(ctx, &seed, &totals);
    }
    print_message("%zu random texts, %zu with too much protected\n", totals.cases,
                  totals.over_protected);
    assert_true(totals.over_protected > 10 && totals.over_protected < totals.cases / 2);
    pith_ctx_free(ctx);
    pith_model_free(model);
}

/* One word of a megabyte, and of less in other scripts: no going over, no end of time. */
static void large_words_are_fine(void **state)
{
    (void)state;
    static const char *const letters[] = {"a", "日", "😀", "\xff"};
    pith_model *model =
        open_model(test_path("golden", "models/llama_gqa.gguf"), PITH_PRECISION_AUTO);
    pith_ctx *ctx = new_ctx(model);
    const size_t most = 1000000;
    char *text = malloc(most);
    assert_non_null(text);
    for (size_t k = 0; k < 4; k++) {
        const size_t length = strlen(letters[k]);
        const size_t size = k == 0 ? most : most / 10;
        const size_t used = size / length * length;
        for (size_t i = 0; i < used; i++) {
            text[i] = letters[k][i % length];
        }
        pith_error err = {0};
        pith_result *result = NULL;
        pith_ctx_reset(ctx);
        set(ctx, "invalid-utf8", "keep");
        set(ctx, "rate", "0.3");
        set(ctx, "ctx-size", "64");
        set(ctx, "threads", "1");
        assert_ok(pith_compress(ctx, text, used, &result, &err), err);
        check_ranges(text, used, result);
        check_budget(result, 0.3);
        assert_true(pith_result_size(result) > used / 10);
        pith_result *again = NULL;
        set(ctx, "threads", "2");
        assert_ok(pith_compress(ctx, text, used, &again, &err), err);
        assert_int_equal(pith_result_size(again), pith_result_size(result));
        assert_memory_equal(pith_result_text(again), pith_result_text(result),
                            pith_result_size(result));
        pith_result_free(again);
        pith_result_free(result);
    }
    free(text);
    pith_ctx_free(ctx);
    pith_model_free(model);
}

/* ---- tags, modes, parameters -------------------------------------------------------------------- */

static void tags_are_removed_and_their_text_kept(void **state)
{
    (void)state;
    static const char text[] = "Drop this if you like. <hold>Keep  exactly\nthis</hold> and drop "
                               "this again, it is only filler. <hold>X</hold>";
    pith_model *model =
        open_model(test_path("golden", "models/llama_gqa.gguf"), PITH_PRECISION_AUTO);
    pith_ctx *ctx = new_ctx(model);
    pith_error err = {0};
    static const char *const levels[] = {"token", "word", "phrase", "sentence"};
    for (size_t i = 0; i < 4; i++) {
        pith_result *result = NULL;
        pith_ctx_reset(ctx);
        set(ctx, "level", levels[i]);
        set(ctx, "keep-tag", "hold");
        set(ctx, "rate", "0.6");
        assert_ok(pith_compress(ctx, text, sizeof text - 1, &result, &err), err);
        check_ranges(text, sizeof text - 1, result);
        check_units(sizeof text - 1, result);
        assert_non_null(strstr(pith_result_text(result), "Keep  exactly\nthis"));
        assert_non_null(strstr(pith_result_text(result), "X"));
        assert_null(strstr(pith_result_text(result), "hold"));
        pith_result_free(result);
    }
    pith_result *none = NULL;
    assert_status(pith_compress(ctx, "a <hold> b", 10, &none, &err), PITH_E_SYNTAX);
    assert_int_equal(err.offset, 2);
    assert_null(none);
    pith_ctx_free(ctx);
    pith_model_free(model);
}

static void budgets_are_exact_in_the_tokens_asked_for(void **state)
{
    (void)state;
    pith_model *model = open_model(NULL, PITH_PRECISION_AUTO);
    pith_ctx *ctx = new_ctx(model);
    pith_error err = {0};
    pith_tokenizer *counter = NULL;
    size_t size = 0;
    char *text = test_read_file(PITH_TEST_DATA "/plain.txt", &size);
    assert_ok(
        pith_tokenizer_open(test_path("golden", "models/llama_untied.gguf"), NULL, &counter, &err),
        err);
    pith_ctx_set_counter(ctx, counter);
    size_t total = 0;
    assert_ok(pith_tokenizer_count(counter, text, size, &total, &err), err);
    for (size_t target = 0; target < total + 50; target += 37) {
        pith_result *result = NULL;
        size_t counted = 0;
        set_number(ctx, "target-tokens", (double)target);
        assert_ok(pith_compress(ctx, text, size, &result, &err), err);
        assert_ok(pith_tokenizer_count(counter, pith_result_text(result), pith_result_size(result),
                                       &counted, &err),
                  err);
        const pith_stats stats = pith_result_stats(result);
        assert_int_equal(stats.kept_tokens, counted);
        assert_int_equal(stats.source_tokens, total);
        assert_true(counted <= target);
        if (target < total) {
            assert_true(counted + 3 >= target); /* a word of this text has at most so many left */
        } else {
            assert_int_equal(pith_result_size(result), size);
        }
        pith_result_free(result);
    }
    free(text);
    pith_tokenizer_free(counter);
    pith_ctx_free(ctx);
    pith_model_free(model);
}

static void paper_mode_keeps_the_mass_asked_for(void **state)
{
    (void)state;
    pith_model *model = open_model(NULL, PITH_PRECISION_AUTO);
    pith_ctx *ctx = new_ctx(model);
    pith_error err = {0};
    size_t size = 0;
    char *text = test_read_file(PITH_TEST_DATA "/plain.txt", &size);
    set(ctx, "mode", "paper");
    set(ctx, "rate", "0.7");
    pith_result *result = NULL;
    assert_ok(pith_compress(ctx, text, size, &result, &err), err);
    size_t count = 0;
    const pith_unit *units = pith_result_units(result, &count);
    double kept = 0.0;
    double total = 0.0;
    double least = HUGE_VAL;
    for (size_t i = 0; i < count; i++) {
        const double nats = (double)units[i].nats;
        total += nats;
        kept += units[i].kept ? nats : 0.0;
        least = units[i].kept && nats < least ? nats : least;
    }
    assert_true(kept >= 0.7 * total - 1e-3);
    assert_true(kept - least < 0.7 * total + 1e-3); /* the smallest such set */
    pith_result_free(result);
    set(ctx, "target-tokens", "100");
    assert_status(pith_compress(ctx, text, size, &result, &err), PITH_E_ARGUMENT);
    free(text);
    pith_ctx_free(ctx);
    pith_model_free(model);
}

static void every_parameter_checks_its_value(void **state)
{
    (void)state;
    pith_model *model =
        open_model(test_path("golden", "models/llama_gqa.gguf"), PITH_PRECISION_AUTO);
    pith_ctx *ctx = new_ctx(model);
    pith_error err = {0};
    assert_true(pith_param_count() > 10);
    assert_null(pith_param_at(pith_param_count()));
    for (size_t i = 0; i < pith_param_count(); i++) {
        const pith_param_info *info = pith_param_at(i);
        assert_true(strlen(info->help) > 20);
        if (info->type != PITH_PARAM_LIST) {
            const bool is_any = strcmp(info->name, "query") == 0; /* text makes sense */
            assert_status(pith_ctx_set(ctx, info->name, is_any ? "\xff" : "nonsense", &err),
                          is_any ? PITH_E_UTF8 : PITH_E_ARGUMENT);
            assert_non_null(strstr(err.message, info->name));
        }
        if (info->type == PITH_PARAM_INT || info->type == PITH_PARAM_FLOAT) {
            assert_status(pith_ctx_set(ctx, info->name, "-1", &err), PITH_E_RANGE);
            assert_status(pith_ctx_set(ctx, info->name, "1e300", &err), PITH_E_RANGE);
            assert_status(pith_ctx_set(ctx, info->name, "nan", &err), PITH_E_ARGUMENT);
            assert_status(pith_ctx_set(ctx, info->name, "", &err), PITH_E_ARGUMENT);
        }
        if (info->default_value[0] != '\0') {
            set(ctx, info->name, info->default_value);
        }
        char value[PITH_VALUE_SIZE];
        if (info->type == PITH_PARAM_LIST) {
            assert_status(pith_ctx_get(ctx, info->name, value, sizeof value, &err),
                          PITH_E_ARGUMENT);
        } else {
            assert_ok(pith_ctx_get(ctx, info->name, value, sizeof value, &err), err);
            assert_string_equal(value, info->default_value);
        }
    }
    char value[PITH_VALUE_SIZE];
    set(ctx, "rate", "0.1234567890123");
    assert_ok(pith_ctx_get(ctx, "rate", value, sizeof value, &err), err);
    assert_string_equal(value, "0.1234567890123");
    assert_status(pith_ctx_get(ctx, "rate", value, 4, &err), PITH_E_RANGE);
    assert_string_equal(value, "");
    assert_status(pith_ctx_get(ctx, "no-such", value, sizeof value, &err), PITH_E_ARGUMENT);
    assert_status(pith_ctx_set(ctx, "threads", "1.5", &err), PITH_E_ARGUMENT);
    assert_status(pith_ctx_set(ctx, "keep-regex", "a(b", &err), PITH_E_SYNTAX);
    assert_status(pith_ctx_set(ctx, "keep-tag", "a b", &err), PITH_E_ARGUMENT);
    assert_status(pith_ctx_set(ctx, "no-such", "1", &err), PITH_E_ARGUMENT);
    set(ctx, "mode", "budget");
    assert_ok(pith_ctx_get(ctx, "mode", value, sizeof value, &err), err);
    assert_string_equal(value, "pith");
    pith_ctx_free(ctx);
    pith_model_free(model);
}

/*
 * Bug: numbers were read with the program's locale. Where that has a decimal comma, the default
 * rate of 0.5 was refused: an assertion in one build, a rate of 0 in another.
 */
static void a_decimal_comma_changes_nothing(void **state)
{
    (void)state;
    static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE", "fr_FR.UTF-8"};
    locale_t comma = (locale_t)0;
    for (size_t i = 0; i < 4 && comma == (locale_t)0; i++) {
        comma = newlocale(LC_ALL_MASK, names[i], (locale_t)0);
    }
    if (comma == (locale_t)0) {
        print_message("no locale with a decimal comma is installed\n");
        skip();
    }
    const locale_t before = uselocale(comma);
    pith_model *model =
        open_model(test_path("golden", "models/llama_gqa.gguf"), PITH_PRECISION_AUTO);
    pith_ctx *ctx = new_ctx(model);
    pith_error err = {0};
    set(ctx, "rate", "0.25");
    char value[PITH_VALUE_SIZE];
    assert_ok(pith_ctx_get(ctx, "rate", value, sizeof value, &err), err);
    assert_string_equal(value, "0.25");
    assert_status(pith_ctx_set(ctx, "rate", "0,25", &err), PITH_E_ARGUMENT);
    assert_int_equal(localeconv()->decimal_point[0], ',');
    pith_ctx_free(ctx);
    pith_model_free(model);
    (void)uselocale(before);
    freelocale(comma);
}

/* ---- inputs at the edges ---------------------------------------------------------------------------- */

static void edges_of_the_input(void **state)
{
    (void)state;
    static const char *const modes[] = {"pith", "paper", "official"};
    static const char *const levels[] = {"token", "word", "phrase", "sentence"};
    static const char *const texts[] = {"", "a", " ", "\n", "word", "   \n  ", "\xf0\x9f\x98\x80"};
    pith_model *model =
        open_model(test_path("golden", "models/llama_gqa.gguf"), PITH_PRECISION_AUTO);
    pith_ctx *ctx = new_ctx(model);
    for (size_t m = 0; m < 3 * 4 * 7; m++) {
        pith_error err = {0};
        pith_result *result = NULL;
        pith_scores *scores = NULL;
        const char *text = texts[m / 12];
        pith_ctx_reset(ctx);
        set(ctx, "mode", modes[m % 3]);
        set(ctx, "level", levels[m / 3 % 4]);
        assert_ok(pith_compress(ctx, text, strlen(text), &result, &err), err);
        assert_true(pith_result_size(result) <= strlen(text));
        assert_ok(pith_score(ctx, text, strlen(text), &scores, &err), err);
        pith_result_free(result);
        pith_scores_free(scores);
    }
    pith_error err = {0};
    pith_result *result = NULL;
    assert_status(pith_compress(ctx, "good \xc3( bad", 11, &result, &err), PITH_E_UTF8);
    assert_int_equal(err.offset, 5);
    pith_result_free(NULL);
    pith_scores_free(NULL);
    pith_tokenizer_free(NULL);
    pith_model_free(NULL);
    pith_ctx_free(NULL);
    pith_ctx_free(ctx);
    pith_model_free(model);
}

static void files_that_are_no_models(void **state)
{
    pith_model *none = NULL;
    const pith_model_options odd = {.struct_size = sizeof odd, .precision = (pith_precision)9};
    assert_status(pith_model_open(NULL, &odd, &none, NULL), PITH_E_ARGUMENT);
    assert_null(none);
    (void)state;
    pith_error err = {0};
    pith_model *model = NULL;
    assert_status(pith_model_open("/no/such/file", NULL, &model, &err), PITH_E_IO);
    assert_status(pith_model_open_memory("GGUF", 4, NULL, &model, &err), PITH_E_CORRUPT);
    assert_status(pith_model_open_memory("", 0, NULL, &model, &err), PITH_E_CORRUPT);
    assert_status(pith_model_open(PITH_TEST_DATA "/plain.txt", NULL, &model, &err), PITH_E_CORRUPT);
    assert_null(model);
    pith_model_options options = {.struct_size = 1};
    assert_status(pith_model_open(NULL, &options, &model, &err), PITH_E_ARGUMENT);
    options.struct_size = sizeof options + 8;
    assert_status(pith_model_open(NULL, &options, &model, &err), PITH_E_ARGUMENT);
    options.struct_size = sizeof options.struct_size; /* of a header that knew no options yet */
    options.precision = (pith_precision)77;
    assert_ok(pith_model_open(NULL, &options, &model, &err), err);
    size_t count = 0;
    assert_ok(pith_tokenizer_count(pith_model_tokenizer(model), "hello world", 11, &count, &err),
              err);
    assert_true(count >= 2 && count <= 11);
    pith_model_free(model);
    model = NULL;
}

static void scores_cover_the_text_once(void **state)
{
    (void)state;
    pith_model *model = open_model(NULL, PITH_PRECISION_AUTO);
    pith_ctx *ctx = new_ctx(model);
    pith_error err = {0};
    size_t size = 0;
    char *text = test_read_file(PITH_TEST_DATA "/plain.txt", &size);
    for (size_t by = 0; by < 2; by++) {
        pith_scores *scores = NULL;
        set(ctx, "score-by", by == 0 ? "text" : "sentence");
        assert_ok(pith_score(ctx, text, size, &scores, &err), err);
        size_t count = 0;
        const pith_token_score *tokens = pith_scores_tokens(scores, &count);
        size_t end = 0;
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(tokens[i].start, end);
            assert_true(tokens[i].nats >= 0.0f);
            end = tokens[i].end;
        }
        assert_int_equal(end, size);
        assert_true(pith_scores_forwarded(scores) >= count);
        pith_scores_free(scores);
    }
    free(text);
    pith_ctx_free(ctx);
    pith_model_free(model);
}

static bool stop_at_once(void *user, const char *stage, size_t done, size_t total)
{
    size_t *calls = user;
    (*calls)++;
    assert_string_equal(stage, "score");
    assert_true(done <= total);
    return false;
}

static void progress_can_stop_a_call(void **state)
{
    (void)state;
    pith_model *model =
        open_model(test_path("golden", "models/llama_gqa.gguf"), PITH_PRECISION_AUTO);
    pith_ctx *ctx = new_ctx(model);
    pith_error err = {0};
    pith_result *result = NULL;
    size_t calls = 0;
    char *text = malloc(50000);
    memset(text, 'x', 50000);
    pith_ctx_set_progress(ctx, stop_at_once, &calls);
    assert_status(pith_compress(ctx, text, 50000, &result, &err), PITH_E_CANCELLED);
    assert_int_equal(calls, 1);
    pith_ctx_set_progress(ctx, NULL, NULL);
    assert_ok(pith_compress(ctx, text, 500, &result, &err), err);
    pith_result_free(result);
    free(text);
    pith_ctx_free(ctx);
    pith_model_free(model);
}

/* ---- allocation failures -------------------------------------------------------------------------------- */

static pith_status whole_call(const pith_allocator *mem, void *user)
{
    const pith_model_options options = {.struct_size = sizeof options, .allocator = mem};
    pith_model *model = NULL;
    pith_ctx *ctx = NULL;
    pith_result *result = NULL;
    static const char text[] = "The first sentence is here. <k>KEEP</k> the second, 42 of them!";
    pith_status status = pith_model_open(user, &options, &model, NULL);
    if (status == PITH_OK) {
        status = pith_ctx_new(model, &ctx, NULL);
    }
    static const char *const values[][2] = {
        {"keep", "sentence"}, {"keep-regex", "4."}, {"keep-tag", "k"},
        {"level", "phrase"},  {"rate", "0.8"},      {"threads", "1"},
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0] && status == PITH_OK; i++) {
        status = pith_ctx_set(ctx, values[i][0], values[i][1], NULL);
    }
    if (status == PITH_OK) {
        status = pith_compress(ctx, text, sizeof text - 1, &result, NULL);
    }
    pith_result_free(result);
    pith_ctx_free(ctx);
    pith_model_free(model);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char path[4096];
    (void)snprintf(path, sizeof path, "%s", test_path("golden", "models/llama_gqa.gguf"));
    test_sweep(whole_call, path);
}

/* `test_api PATTERN` runs only the tests of that name, `test_api -PATTERN` all others. */
int main(int argc, char **argv)
{
    if (argc > 1 && argv[1][0] == '-') {
        cmocka_set_skip_filter(argv[1] + 1);
    } else if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(official_mode_reproduces_the_release),
        cmocka_unit_test(properties_hold_on_random_texts),
        cmocka_unit_test(large_words_are_fine),
        cmocka_unit_test(tags_are_removed_and_their_text_kept),
        cmocka_unit_test(budgets_are_exact_in_the_tokens_asked_for),
        cmocka_unit_test(paper_mode_keeps_the_mass_asked_for),
        cmocka_unit_test(every_parameter_checks_its_value),
        cmocka_unit_test(a_decimal_comma_changes_nothing),
        cmocka_unit_test(edges_of_the_input),
        cmocka_unit_test(files_that_are_no_models),
        cmocka_unit_test(scores_cover_the_text_once),
        cmocka_unit_test(progress_can_stop_a_call),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
