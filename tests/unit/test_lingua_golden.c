/*
 * test_lingua_golden.c: mode official against what the released LLMLingua decided with the same
 * model: every token, threshold, rank and context.
 */
#include "golden_json.h"
#include "lingua/lingua.h"
#include "model_fixture.h"
#include "score/score.h"
#include "token/token.h"

#include <math.h>

/* ---- the model behind pith__lm ------------------------------------------------------------------ */

typedef struct golden_lm {
    fixture f;
    pith__tokenizer *tokenizer;
    pith__stream streams[PITH__LM_STREAMS];
    size_t context;
} golden_lm;

static pith_status lm_tokenize(void *user, const char *text, size_t size, pith__arena *arena,
                               pith__lm_tokens *out, pith_error *err)
{
    const golden_lm *g = user;
    pith__tokens tokens = {0};
    pith_status status = pith__tokenizer_encode(g->tokenizer, text, size, false,
                                                &pith__allocator_default, &tokens, err);
    if (status == PITH_OK) {
        status = pith__arena_alloc(arena, tokens.count, sizeof *out->items, &out->items, err);
    }
    out->count = status == PITH_OK ? tokens.count : 0;
    for (size_t i = 0; i < out->count; i++) {
        const pith__token *t = &tokens.items[i];
        out->items[i] = (pith_token_score){t->start, t->end, t->id, NAN};
    }
    pith__tokens_deinit(&tokens, &pith__allocator_default);
    return status;
}

static pith_status lm_nll(void *user, const uint32_t *ids, size_t n_ids,
                          const pith__lm_range *ranges, size_t n_ranges, bool bos, float *nats,
                          pith_error *err)
{
    golden_lm *g = user;
    pith__score_range *score_ranges = calloc(n_ranges, sizeof *score_ranges);
    assert_non_null(score_ranges);
    for (size_t i = 0; i < n_ranges; i++) {
        score_ranges[i] = (pith__score_range){ranges[i].first, ranges[i].count};
    }
    const pith__score_options options = {.bos = bos ? pith__tokenizer_bos(g->tokenizer)
                                                    : PITH__NO_TARGET,
                                         .window = g->context,
                                         .overlap = g->context / 4};
    const pith__score_input input = {ids, n_ids, score_ranges, n_ranges};
    const pith_status status =
        pith__score_run(&g->f.model, &g->f.ctx, &options, &input, nats, NULL, err);
    free(score_ranges);
    return status;
}

static pith_status lm_extend(void *user, unsigned stream, const uint32_t *ids,
                             const uint32_t *targets, size_t count, float *nll, pith_error *err)
{
    golden_lm *g = user;
    assert_true(pith__stream_length(&g->streams[stream]) + count <= g->context);
    return pith__stream_extend(&g->streams[stream], ids, targets, count, nll, err);
}

static size_t lm_length(void *user, unsigned stream)
{
    golden_lm *g = user;
    return pith__stream_length(&g->streams[stream]);
}

static void lm_truncate(void *user, unsigned stream, size_t length)
{
    golden_lm *g = user;
    pith__stream_truncate(&g->streams[stream], length);
}

static void lm_remove(void *user, unsigned stream, size_t start, size_t end)
{
    golden_lm *g = user;
    pith__stream_remove(&g->streams[stream], start, end);
}

static void golden_open(golden_lm *g)
{
    pith_error err = {0};
    fixture_open(&g->f, "boot-ckpt", PITH_PRECISION_F32, 2);
    assert_ok(pith__tokenizer_from_gguf(&g->f.gguf, &pith__allocator_default, &g->tokenizer, &err),
              err);
    for (size_t i = 0; i < PITH__LM_STREAMS; i++) {
        pith__stream_init(&g->streams[i], &g->f.model, 2, &pith__allocator_default);
    }
}

static void golden_close(golden_lm *g)
{
    for (size_t i = 0; i < PITH__LM_STREAMS; i++) {
        pith__stream_deinit(&g->streams[i]);
    }
    pith__tokenizer_free(g->tokenizer);
    fixture_close(&g->f);
}

static pith__lm golden_callbacks(golden_lm *g, const json_t *item)
{
    g->context = (size_t)golden_integer(item, "max_position_embeddings");
    const bool adds_bos = json_is_true(json_object_get(item, "tokenizer_adds_bos"));
    return (pith__lm){g,         g->context,  pith__tokenizer_bos(g->tokenizer),
                      adds_bos,  lm_tokenize, lm_nll,
                      lm_extend, lm_length,   lm_truncate,
                      lm_remove};
}

/* ---- arguments ---------------------------------------------------------------------------------- */

static double number_of(const json_t *args, const char *key, double by_default)
{
    const json_t *value = json_object_get(args, key);
    return value == NULL ? by_default : json_number_value(value);
}

static bool flag_of(const json_t *args, const char *key, bool by_default)
{
    const json_t *value = json_object_get(args, key);
    return value == NULL ? by_default : json_is_true(value);
}

static const char *string_of(const json_t *args, const char *key, const char *by_default)
{
    const json_t *value = json_object_get(args, key);
    return value == NULL ? by_default : json_string_value(value);
}

static pith__lingua_text text_of(const char *text)
{
    return (pith__lingua_text){text[0] == '\0' ? NULL : text, strlen(text)};
}

static pith__rank_method rank_method_of(const char *name)
{
    assert_true(strcmp(name, "llmlingua") == 0 || strcmp(name, "longllmlingua") == 0);
    return name[1] == 'l' ? PITH__RANK_LLMLINGUA : PITH__RANK_LONGLLMLINGUA;
}

static pith__reorder reorder_of(const char *name)
{
    return name[0] == 'o'   ? PITH__REORDER_ORIGINAL
           : name[0] == 's' ? PITH__REORDER_SORT
                            : PITH__REORDER_TWO_STAGE;
}

static pith__lingua_options options_of(const json_t *args, size_t *forced)
{
    const char *condition = string_of(args, "condition_in_question", "none");
    const char *budget = string_of(args, "context_budget", "+100");
    const json_t *ids = json_object_get(args, "force_context_ids");
    for (size_t i = 0; i < json_array_size(ids); i++) {
        forced[i] = (size_t)json_integer_value(json_array_get(ids, i));
    }
    return (pith__lingua_options){
        .mode = PITH__LINGUA_OFFICIAL,
        .rate = number_of(args, "rate", 0.5),
        .target_token = number_of(args, "target_token", -1.0),
        .iterative_size = (size_t)number_of(args, "iterative_size", 200.0),
        .force_context_ids = forced,
        .force_context_count = json_array_size(ids),
        .force_context_number = number_of(args, "force_context_number", -1.0),
        .use_context_level_filter = flag_of(args, "use_context_level_filter", true),
        .use_sentence_level_filter = flag_of(args, "use_sentence_level_filter", false),
        .use_token_level_filter = flag_of(args, "use_token_level_filter", true),
        .keep_split = flag_of(args, "keep_split", false),
        .keep_first_sentence = (size_t)number_of(args, "keep_first_sentence", 0.0),
        .keep_last_sentence = (size_t)number_of(args, "keep_last_sentence", 0.0),
        .keep_sentence_number = (size_t)number_of(args, "keep_sentence_number", 0.0),
        .high_priority_bonus = number_of(args, "high_priority_bonus", 100.0),
        .context_budget = {budget[0], strtod(budget + 1, NULL)},
        .token_budget_ratio = number_of(args, "token_budget_ratio", 1.4),
        .condition = condition[0] == 'a'   ? PITH__CONDITION_AFTER
                     : condition[0] == 'b' ? PITH__CONDITION_BEFORE
                                           : PITH__CONDITION_NONE,
        .condition_prefix = strstr(condition, "_condition") != NULL,
        .condition_compare = flag_of(args, "condition_compare", false),
        .reorder_context = reorder_of(string_of(args, "reorder_context", "original")),
        .dynamic_context_compression_ratio =
            number_of(args, "dynamic_context_compression_ratio", 0.0),
        .add_instruction = flag_of(args, "add_instruction", false),
        .rank_method = rank_method_of(string_of(args, "rank_method", "llmlingua")),
        .concate_question = flag_of(args, "concate_question", true),
        .strict_preserve_uncompressed = flag_of(args, "strict_preserve_uncompressed", true),
        .regex_sentences = true,
    };
}

/* ---- contexts ----------------------------------------------------------------------------------- */

#define MAX_CONTEXTS 8
#define MAX_SEGMENTS 128

typedef struct context_data {
    pith__lingua_context contexts[MAX_CONTEXTS];
    pith__lingua_segment segments[MAX_CONTEXTS][MAX_SEGMENTS];
    char *clean[MAX_CONTEXTS];
    size_t count;
    bool structured;
} context_data;

/* A context that is all "<llmlingua, rate=R, compress=C>text</llmlingua>", as those of the cases. */
static void strip_tags(context_data *d, size_t index)
{
    const char *at = d->contexts[index].tagged.text;
    char *clean = d->clean[index] = calloc(d->contexts[index].tagged.size + 1, 1);
    assert_non_null(clean);
    size_t size = 0;
    size_t count = 0;
    while (at != NULL && *at != '\0') {
        const char *close = strchr(at, '>');
        const char *stop = close == NULL ? NULL : strstr(close, "</llmlingua>");
        if (close == NULL || stop == NULL || strncmp(at, "<llmlingua", 10) != 0) {
            fail_msg("bad tag at \"%.40s\"", at);
            return;
        }
        const char *rate = strstr(at, "rate=");
        const char *compress = strstr(at, "compress=");
        const size_t length = (size_t)(stop - close - 1);
        memcpy(clean + size, close + 1, length);
        assert_true(count < MAX_SEGMENTS);
        d->segments[index][count++] = (pith__lingua_segment){
            .start = size,
            .end = size + length,
            .rate = rate != NULL && rate < close ? strtod(rate + 5, NULL) : (double)NAN,
            .compress = compress == NULL || compress > close || compress[9] == 'T'};
        size += length;
        at = stop + strlen("</llmlingua>");
    }
    d->contexts[index].clean = (pith__lingua_text){clean, size};
    d->contexts[index].segments = d->segments[index];
    d->contexts[index].segment_count = count;
}

static void contexts_open(context_data *d, const json_t *item, const json_t *args)
{
    const json_t *list = json_object_get(args, "context");
    d->count = json_array_size(list);
    d->structured = strcmp(string_of(item, "function", ""), "structured_compress_prompt") == 0;
    assert_true(d->count <= MAX_CONTEXTS);
    for (size_t i = 0; i < d->count; i++) {
        const pith__lingua_text text = text_of(json_string_value(json_array_get(list, i)));
        d->contexts[i] = (pith__lingua_context){.clean = text, .tagged = text};
        if (d->structured) {
            strip_tags(d, i);
        }
    }
}

static void contexts_close(context_data *d)
{
    for (size_t i = 0; i < d->count; i++) {
        free(d->clean[i]);
    }
}

/* ---- comparing ---------------------------------------------------------------------------------- */

static size_t token_count(golden_lm *g, const char *text, size_t size)
{
    size_t count = 0;
    pith_error err = {0};
    assert_ok(
        pith__tokenizer_count(g->tokenizer, text, size, &pith__allocator_default, &count, &err),
        err);
    return count;
}

/* The share of tokens that are kept here and there, or dropped here and there. */
static double compare_kept(const json_t *trace, const pith__lingua_trace *got)
{
    const json_t *ids = json_object_get(trace, "input_ids");
    const json_t *kept = json_object_get(trace, "kept");
    assert_int_equal(got->count, json_array_size(ids));
    assert_int_equal(got->start, golden_integer(trace, "start"));
    for (size_t i = 0; i < got->count; i++) {
        assert_int_equal(got->ids[i], json_integer_value(json_array_get(ids, i)));
    }
    if (kept == NULL) {
        return 1.0;
    }
    size_t next = 0;
    size_t equal = 0;
    for (size_t i = 0; i < got->count; i++) {
        const json_t *at = json_array_get(kept, next);
        const bool expected = at != NULL && (size_t)json_integer_value(at) == i;
        next += expected;
        equal += expected == got->kept[i];
    }
    assert_int_equal(next, json_array_size(kept));
    return (double)equal / (double)got->count;
}

static void compare_thresholds(const json_t *trace, const pith__lingua_trace *got)
{
    const json_t *list = json_object_get(trace, "thresholds");
    assert_int_equal(got->threshold_count, json_array_size(list));
    for (size_t i = 0; i < got->threshold_count; i++) {
        const json_t *value = json_object_get(json_array_get(list, i), "value");
        if (json_is_null(value)) {
            assert_true(isinf(got->thresholds[i]) && got->thresholds[i] < 0.0);
        } else if (!(fabs(got->thresholds[i] - json_number_value(value)) <= 2e-3)) {
            fail_msg("threshold %zu is %.9g, expected %.9g", i, got->thresholds[i],
                     json_number_value(value));
        }
    }
}

static void compare_contexts(const json_t *trace, const pith__lingua_output *got, size_t count,
                             pith__condition condition)
{
    const json_t *used = json_object_get(trace, "contexts_used");
    assert_int_equal(got->scores != NULL, used != NULL);
    for (size_t c = 0; c < count; c++) {
        size_t place = used == NULL ? c : SIZE_MAX;
        for (size_t i = 0; i < json_array_size(used); i++) {
            place = (size_t)json_integer_value(json_array_get(used, i)) == c ? i : place;
        }
        assert_int_equal(got->places[c], place);
    }
    const json_t *ranks = json_array_get(json_object_get(trace, "ranks"), 0);
    for (size_t r = 0; got->scores != NULL && r < json_array_size(ranks); r++) {
        const json_t *rank = json_array_get(ranks, r);
        const json_int_t index = json_integer_value(json_array_get(rank, 0));
        const double expected = json_number_value(json_array_get(rank, 1));
        const double score =
            condition == PITH__CONDITION_NONE ? got->scores[index] : -got->scores[index];
        assert_true(fabs(score - expected) <= 1e-3);
    }
}

/* The text that went into the token level, or came out without it. */
static void compare_sentences(golden_lm *g, const json_t *trace, const pith__lingua_output *got)
{
    const json_t *list = json_object_get(trace, "after_sentence_filter");
    if (list == NULL) {
        return;
    }
    pith_error err = {0};
    pith__buf expected;
    pith__buf working;
    pith__buf_init(&expected, &pith__allocator_default, SIZE_MAX);
    pith__buf_init(&working, &pith__allocator_default, SIZE_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        assert_ok(pith__buf_append_text(&expected, i > 0 ? "\n\n" : "", &err), err);
        const json_t *text = json_array_get(list, i);
        assert_ok(
            pith__buf_append(&expected, json_string_value(text), json_string_length(text), &err),
            err);
    }
    for (size_t i = got->trace.start; i < got->trace.count; i++) {
        const char *bytes = NULL;
        size_t size = 0;
        assert_ok(pith__tokenizer_bytes(g->tokenizer, got->trace.ids[i], &bytes, &size, &err), err);
        assert_ok(pith__buf_append(&working, bytes, size, &err), err);
    }
    const bool tokens = got->trace.count > 0;
    assert_string_equal(tokens ? working.data : got->text, expected.data);
    pith__buf_deinit(&expected);
    pith__buf_deinit(&working);
}

/* coarse.c alone on the ranks of the release: contexts and their dynamic ratio. */
static void compare_dynamic_ratio(golden_lm *g, const pith__lm *lm, const json_t *item,
                                  const pith__lingua_options *options,
                                  const pith__lingua_prompt *prompt)
{
    const json_t *trace = json_object_get(item, "trace");
    const json_t *expected = json_object_get(trace, "dynamic_ratio");
    if (expected == NULL) {
        return;
    }
    pith_error err = {0};
    const size_t special = lm->adds_bos ? 1 : 0;
    size_t lengths[MAX_CONTEXTS];
    size_t order[MAX_CONTEXTS];
    double scores[MAX_CONTEXTS] = {0};
    bool forced[MAX_CONTEXTS] = {false};
    double total = 0.0;
    const json_t *ranks = json_array_get(json_object_get(trace, "ranks"), 0);
    for (size_t i = 0; i < prompt->count; i++) {
        const pith__lingua_context *c = &prompt->contexts[i];
        order[i] = (size_t)json_integer_value(json_array_get(json_array_get(ranks, i), 0));
        lengths[i] = special + token_count(g, c->clean.text, c->clean.size);
        total += (double)(special + token_count(g, c->tagged.text, c->tagged.size));
        for (size_t s = 0; s < c->segment_count; s++) {
            forced[i] = forced[i] || !c->segments[s].compress;
        }
    }
    const double instruction =
        (double)(special + token_count(g, prompt->instruction.text, prompt->instruction.size));
    const double question =
        (double)(special + token_count(g, prompt->question.text, prompt->question.size));
    const double by_rate = (instruction + question + total) * options->rate - instruction -
                           (options->concate_question ? question : 0.0);
    const pith__ranking ranking = {order, scores, prompt->count};
    const pith__coarse_input input = {
        &ranking, lengths, forced, options->target_token >= 0.0 ? options->target_token : by_rate};
    pith__coarse got = {0};
    assert_ok(pith__lingua_coarse(options, &input, &g->f.arena, &got, &err), err);
    assert_int_equal(got.count, json_array_size(expected));
    for (size_t i = 0; i < got.count; i++) {
        assert_true(fabs(got.change[i] - json_number_value(json_array_get(expected, i))) <= 1e-9);
    }
}

/* ---- provenance --------------------------------------------------------------------------------- */

static pith__lingua_text part_of(const pith__lingua_prompt *prompt, size_t part)
{
    return part == PITH__LINGUA_INSTRUCTION ? prompt->instruction
           : part == PITH__LINGUA_QUESTION  ? prompt->question
                                            : prompt->contexts[part].clean;
}

/* The output is its pieces in order, with nothing but "\n\n" and U+FFFD in between. */
static void check_pieces(const pith__lingua_prompt *prompt, const pith__lingua_output *out)
{
    size_t at = 0;
    for (size_t i = 0; i <= out->piece_count; i++) {
        const bool last = i == out->piece_count;
        const pith__lingua_text part =
            last ? (pith__lingua_text){"", 0} : part_of(prompt, out->pieces[i].part);
        const size_t start = last ? 0 : out->pieces[i].start;
        const size_t size = last ? 0 : out->pieces[i].end - start;
        assert_true(last || (start < out->pieces[i].end && out->pieces[i].end <= part.size));
        while (last ? at < out->size
                    : at + size > out->size ||
                          memcmp(out->text + at, part.text + start, size) != 0) {
            const bool replaced =
                out->size - at >= 3 && memcmp(out->text + at, "\xEF\xBF\xBD", 3) == 0;
            assert_true(at < out->size && (replaced || out->text[at] == '\n'));
            at += replaced ? 3 : 1;
        }
        at += size;
    }
    assert_int_equal(at, out->size);
    for (size_t i = 0; i < out->unit_count; i++) {
        const pith__lingua_unit *u = &out->units[i];
        assert_true(u->unit.start < u->unit.end && u->unit.end <= part_of(prompt, u->part).size);
    }
}

/* ---- the cases ---------------------------------------------------------------------------------- */

static void run_case(golden_lm *g, const json_t *item, size_t *exact)
{
    pith_error err = {0};
    const json_t *args = json_object_get(item, "args");
    const json_t *trace = json_object_get(item, "trace");
    const char *name = string_of(item, "name", "");
    context_data *d = calloc(1, sizeof *d);
    assert_non_null(d);
    contexts_open(d, item, args);
    size_t forced[MAX_CONTEXTS];
    const pith__lingua_options options = options_of(args, forced);
    const pith__lm lm = golden_callbacks(g, item);
    const pith__lingua_prompt prompt = {
        .instruction = text_of(string_of(args, "instruction", "")),
        .question = text_of(string_of(args, "question", "")),
        .contexts = d->contexts,
        .count = d->count,
        .structured = d->structured,
    };
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    pith__lingua_output out = {0};
    assert_ok(pith__lingua_compress(&lm, &options, &prompt, &arena, &out, &err), err);

    const bool tokens = json_object_get(trace, "input_ids") != NULL;
    const double equal = tokens ? compare_kept(trace, &out.trace) : 1.0;
    const json_t *output = json_object_get(item, "output");
    const bool same = out.size == json_string_length(output) &&
                      memcmp(out.text, json_string_value(output), out.size) == 0;
    print_message("%-30s %7.3f %% equal, %s\n", name, 100.0 * equal, same ? "EXACT" : "differs");
    assert_true(equal >= 0.99);
    assert_true(same || equal < 1.0);
    *exact += same;

    const bool long_method = options.rank_method == PITH__RANK_LONGLLMLINGUA;
    const bool is_none = options.condition == PITH__CONDITION_NONE;
    const pith__condition condition = !long_method ? PITH__CONDITION_NONE
                                      : is_none    ? PITH__CONDITION_AFTER
                                                   : options.condition;
    compare_contexts(trace, &out, d->count, condition);
    compare_sentences(g, trace, &out);
    compare_dynamic_ratio(g, &lm, item, &options, &prompt);
    if (tokens) {
        compare_thresholds(trace, &out.trace);
    }
    if (same) {
        assert_int_equal(token_count(g, out.text, out.size),
                         golden_integer(item, "compressed_tokens"));
    }
    check_pieces(&prompt, &out);
    pith__arena_deinit(&arena);
    contexts_close(d);
    free(d);
}

static void official_cases(void **state)
{
    (void)state;
    require_shared();
    golden_lm g = {0};
    golden_open(&g);
    json_t *root = golden_load(test_path("shared", "golden/llmlingua/cases.json"));
    const json_t *cases = json_object_get(root, "cases");
    size_t exact = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *item = json_array_get(cases, i);
        run_case(&g, item, &exact);
    }
    print_message("%zu of %zu cases exact\n", exact, json_array_size(cases));
    json_decref(root);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(official_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
