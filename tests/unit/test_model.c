/*
 * test_model.c: the forward pass against values of independent implementations
 * (float64 PyTorch; tests/golden/models), and against itself where it must agree.
 */
#include "model/kv.h"
#include "model/model.h"

#include "test.h"

#include "golden_json.h"
#include "model_fixture.h"

#include <math.h>

/* Float32 against float64; what the reference itself measured for float32 is 2.7e-5. */
#define TOLERANCE 2e-4

/* ---- golden values ------------------------------------------------------------------- */

/* What one forward pass over [bos] ids gives, everything at once. */
typedef struct forward {
    size_t rows;
    uint32_t *ids;
    uint32_t *targets;
    float *nll;
    float *hidden;
    float *logits;
} forward;

static void forward_run(fixture *f, const json_t *ids, int64_t bos, forward *out)
{
    const size_t count = json_array_size(ids);
    const size_t shift = bos >= 0 ? 1 : 0;
    pith_error err = {0};
    out->rows = count + shift;
    out->ids = calloc(out->rows + 1, sizeof *out->ids);
    out->targets = calloc(out->rows + 1, sizeof *out->targets);
    out->nll = calloc(out->rows + 1, sizeof *out->nll);
    out->hidden = calloc(out->rows + 1, f->model.config.width * sizeof *out->hidden);
    out->logits = calloc(out->rows + 1, f->model.config.vocabulary * sizeof *out->logits);
    if (bos >= 0) {
        out->ids[0] = (uint32_t)bos;
    }
    for (size_t i = 0; i < count; i++) {
        out->ids[i + shift] = (uint32_t)json_integer_value(json_array_get(ids, i));
    }
    for (size_t r = 0; r < out->rows; r++) {
        out->targets[r] = r + 1 < out->rows ? out->ids[r + 1] : PITH__NO_TARGET;
    }
    const pith__sequence sequence = {.ids = out->ids, .count = out->rows};
    const pith__forward_outputs outputs = {
        .targets = out->targets, .nll = out->nll, .hidden = out->hidden, .logits = out->logits};
    assert_ok(pith__model_forward(&f->model, &f->ctx, &sequence, 1, &outputs, &err), err);
}

static void forward_free(forward *out)
{
    free(out->ids);
    free(out->targets);
    free(out->nll);
    free(out->hidden);
    free(out->logits);
}

/* Reference lists begin with null for the first token; ours with the second token's value. */
static void compare_nll(const json_t *expected, const forward *got, double *worst)
{
    for (size_t i = 1; i < json_array_size(expected); i++) {
        const double value = json_number_value(json_array_get(expected, i));
        const double difference = fabs(value - (double)got->nll[i - 1]);
        *worst = difference > *worst ? difference : *worst;
    }
}

/* The logits of one row at the ids that the reference ranks highest. */
static void compare_row(const fixture *f, const json_t *entry, size_t row, const forward *got,
                        double *worst)
{
    const float *logits = got->logits + row * f->model.config.vocabulary;
    const json_t *ids = json_object_get(entry, "ids");
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const size_t id = (size_t)json_integer_value(json_array_get(ids, i));
        const double value = json_number_value(json_array_get(json_object_get(entry, "logits"), i));
        const double difference = fabs(value - (double)logits[id]);
        *worst = difference > *worst ? difference : *worst;
    }
}

static void compare_top(const fixture *f, const json_t *expected, const forward *got, double *worst)
{
    size_t index = 0;
    json_t *entry = NULL;
    json_array_foreach(expected, index, entry)
    {
        compare_row(f, entry, (size_t)golden_integer(entry, "pos"), got, worst);
    }
}

static void compare_hidden(const fixture *f, const json_t *expected, const forward *got,
                           double *worst)
{
    size_t index = 0;
    json_t *entry = NULL;
    json_array_foreach(expected, index, entry)
    {
        const size_t row = (size_t)golden_integer(entry, "pos");
        const json_t *h = json_object_get(entry, "h");
        assert_int_equal(json_array_size(h), f->model.config.width);
        for (size_t i = 0; i < json_array_size(h); i++) {
            const double difference = fabs(json_number_value(json_array_get(h, i)) -
                                           (double)got->hidden[row * json_array_size(h) + i]);
            *worst = difference > *worst ? difference : *worst;
        }
    }
}

static void check_golden(const char *name)
{
    fixture f = {0};
    fixture_open(&f, name, PITH_PRECISION_F32, 1);
    char relative[64];
    (void)snprintf(relative, sizeof relative, "models/%s.json", name);
    json_t *root = golden_load(test_path("golden", relative));
    const int64_t bos = golden_integer(root, "bos");
    double nll = 0.0;
    double logits = 0.0;
    double hidden = 0.0;
    size_t cases = 0;
    size_t index = 0;
    json_t *entry = NULL;
    json_array_foreach(json_object_get(root, "cases"), index, entry)
    {
        const json_t *ids = json_object_get(entry, "ids");
        if (json_array_size(ids) == 0) {
            continue;
        }
        forward got;
        forward_run(&f, ids, -1, &got);
        compare_nll(json_object_get(entry, "nll"), &got, &nll);
        compare_top(&f, json_object_get(entry, "top5"), &got, &logits);
        compare_hidden(&f, json_object_get(entry, "hidden"), &got, &hidden);
        forward_free(&got);
        forward_run(&f, ids, bos, &got);
        const json_t *bos_nll = json_object_get(entry, "bos_nll");
        /* boot-ckpt lists one value per id, the others one more, null, for BOS itself */
        const bool whole = json_is_null(json_array_get(bos_nll, 0));
        for (size_t i = whole ? 1 : 0; i < json_array_size(bos_nll); i++) {
            const double value = json_number_value(json_array_get(bos_nll, i));
            const double difference = fabs(value - (double)got.nll[i - (whole ? 1 : 0)]);
            nll = difference > nll ? difference : nll;
        }
        compare_top(&f, json_object_get(entry, "bos_top5"), &got, &logits);
        compare_row(&f, json_object_get(entry, "top5_last"), got.rows - 1, &got, &logits);
        forward_free(&got);
        cases++;
    }
    print_message("%s: %zu cases, worst difference: nll %.1e, logits %.1e, hidden %.1e\n", name,
                  cases, nll, logits, hidden);
    assert_true(cases > 5);
    assert_true(nll < TOLERANCE);
    assert_true(logits < TOLERANCE);
    assert_true(hidden < TOLERANCE);
    json_decref(root);
    fixture_close(&f);
}

static void golden_llama_gqa(void **state)
{
    (void)state;
    check_golden("llama_gqa");
}

static void golden_llama_untied(void **state)
{
    (void)state;
    check_golden("llama_untied");
}

static void golden_boot_checkpoint(void **state)
{
    (void)state;
    check_golden("boot-ckpt");
}

/* ---- agreement with itself --------------------------------------------------------------- */

#define TOKENS 150

static void run_nll(fixture *f, const pith__sequence *sequences, size_t n, const uint32_t *targets,
                    float *nll)
{
    pith_error err = {0};
    const pith__forward_outputs outputs = {.targets = targets, .nll = nll};
    assert_ok(pith__model_forward(&f->model, &f->ctx, sequences, n, &outputs, &err), err);
}

static void cache_gives_what_one_pass_gives(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    uint32_t ids[TOKENS + 1];
    float whole[TOKENS];
    float parts[TOKENS];
    random_ids(&f, ids, TOKENS + 1, 1);
    const pith__sequence all = {.ids = ids, .count = TOKENS};
    run_nll(&f, &all, 1, ids + 1, whole);

    pith__kv kv;
    pith__kv_init(&kv, &f.model, &pith__allocator_default);
    const size_t steps[] = {0, 1, 2, 40, 41, 120, TOKENS};
    for (size_t s = 0; s + 1 < sizeof steps / sizeof steps[0]; s++) {
        const size_t from = steps[s];
        const pith__sequence part = {
            .ids = ids + from, .count = steps[s + 1] - from, .position = from, .kv = &kv};
        run_nll(&f, &part, 1, ids + 1 + from, parts + from);
    }
    assert_int_equal(kv.length, TOKENS);
    pith__kv_truncate(&kv, 100);
    const pith__sequence again = {.ids = ids + 100, .count = 50, .position = 100, .kv = &kv};
    run_nll(&f, &again, 1, ids + 101, parts + 100);
    for (size_t i = 0; i < TOKENS; i++) {
        assert_true(fabsf(whole[i] - parts[i]) < 1e-4f);
    }
    pith__kv_deinit(&kv);
    fixture_close(&f);
}

static void sequences_of_a_batch_do_not_see_each_other(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    uint32_t ids[TOKENS + 1];
    float alone[TOKENS];
    float together[TOKENS];
    random_ids(&f, ids, TOKENS + 1, 2);
    const pith__sequence batch[] = {{.ids = ids, .count = 70},
                                    {.ids = ids + 70, .count = 1},
                                    {.ids = ids + 71, .count = TOKENS - 71}};
    run_nll(&f, batch, 3, ids + 1, together);
    for (size_t s = 0, row = 0; s < 3; row += batch[s].count, s++) {
        run_nll(&f, &batch[s], 1, ids + 1 + row, alone + row);
    }
    for (size_t i = 0; i < TOKENS; i++) {
        assert_true(fabsf(alone[i] - together[i]) < 1e-4f);
    }
    fixture_close(&f);
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    const pith_precision precisions[] = {PITH_PRECISION_F32, PITH_PRECISION_INT8};
    for (size_t p = 0; p < 2; p++) {
        fixture f = {0};
        fixture_open(&f, "boot-ckpt", precisions[p], 1);
        enum { ROWS = 600 };
        uint32_t ids[ROWS + 1];
        float one[ROWS];
        float more[ROWS];
        random_ids(&f, ids, ROWS + 1, 3);
        const pith__sequence batch[] = {{.ids = ids, .count = 511},
                                        {.ids = ids + 511, .count = ROWS - 511}};
        run_nll(&f, batch, 2, ids + 1, one);
        for (unsigned threads = 2; threads <= 5; threads++) {
            f.ctx.threads = threads;
            run_nll(&f, batch, 2, ids + 1, more);
            assert_memory_equal(one, more, sizeof one);
        }
        fixture_close(&f);
    }
}

static void int8_is_close_to_f32(void **state)
{
    (void)state;
    fixture f = {0};
    fixture g = {0};
    fixture_open(&f, "boot-ckpt", PITH_PRECISION_F32, 1);
    fixture_open(&g, "boot-ckpt", PITH_PRECISION_INT8, 1);
    json_t *root = golden_load(test_path("golden", "models/boot-ckpt.json"));
    double sum = 0.0;
    double count = 0.0;
    size_t index = 0;
    json_t *entry = NULL;
    json_array_foreach(json_object_get(root, "cases"), index, entry)
    {
        forward a;
        forward b;
        forward_run(&f, json_object_get(entry, "ids"), 0, &a);
        forward_run(&g, json_object_get(entry, "ids"), 0, &b);
        for (size_t i = 0; i + 1 < a.rows; i++) {
            sum += fabs((double)a.nll[i] - (double)b.nll[i]);
            count += 1.0;
        }
        forward_free(&a);
        forward_free(&b);
    }
    print_message("int8 against f32: mean difference %.4f nats over %.0f tokens\n", sum / count,
                  count);
    assert_true(sum / count < 0.05); /* llama.cpp's int8 activations: 0.06 at worst */
    assert_true(sum / count > 0.0);  /* a path that is f32 after all would be found here */
    json_decref(root);
    fixture_close(&g);
    fixture_close(&f);
}

static void only_wanted_rows_are_predicted(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_untied", PITH_PRECISION_F32, 1);
    uint32_t ids[TOKENS + 1];
    uint32_t targets[TOKENS];
    float all[TOKENS];
    float some[TOKENS];
    random_ids(&f, ids, TOKENS + 1, 4);
    const pith__sequence sequence = {.ids = ids, .count = TOKENS};
    run_nll(&f, &sequence, 1, ids + 1, all);
    for (size_t i = 0; i < TOKENS; i++) {
        targets[i] = i % 3 == 0 ? ids[i + 1] : PITH__NO_TARGET;
    }
    run_nll(&f, &sequence, 1, targets, some);
    for (size_t i = 0; i < TOKENS; i++) {
        assert_true(i % 3 == 0 ? fabsf(all[i] - some[i]) < 1e-4f : isnan(some[i]));
    }
    fixture_close(&f);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    pith_error err = {0};
    uint32_t ids[] = {1, 2, 1024};
    float nll[3];
    const pith__forward_outputs outputs = {.targets = ids, .nll = nll};
    pith__sequence sequence = {.ids = ids, .count = 3};
    assert_status(pith__model_forward(&f.model, &f.ctx, &sequence, 1, &outputs, &err),
                  PITH_E_ARGUMENT);
    sequence.count = 2;
    const uint32_t targets[] = {5000, 1};
    const pith__forward_outputs bad_targets = {.targets = targets, .nll = nll};
    assert_status(pith__model_forward(&f.model, &f.ctx, &sequence, 1, &bad_targets, &err),
                  PITH_E_ARGUMENT);
    uint32_t *many = calloc(f.model.config.context + 1, sizeof *many);
    sequence = (pith__sequence){.ids = many, .count = f.model.config.context + 1};
    const pith__forward_outputs nothing = {0};
    assert_status(pith__model_forward(&f.model, &f.ctx, &sequence, 1, &nothing, &err),
                  PITH_E_CONTEXT);
    free(many);
    fixture_close(&f);
}

/* ---- removal from a cache ------------------------------------------------------------------ */

static void cache_read(fixture *f, pith__kv *kv, const uint32_t *ids, size_t count, size_t position)
{
    pith_error err = {0};
    const pith__forward_outputs nothing = {0};
    const pith__sequence sequence = {.ids = ids, .count = count, .position = position, .kv = kv};
    assert_ok(pith__model_forward(&f->model, &f->ctx, &sequence, 1, &nothing, &err), err);
}

/* A second cache with the tokens of `from` outside [start, end), copied one by one. */
static void copy_without(const fixture *f, const pith__kv *from, size_t start, size_t end,
                         pith__kv *to)
{
    pith_error err = {0};
    pith__kv_init(to, &f->model, &pith__allocator_default);
    assert_ok(pith__kv_reserve(to, from->length + 3, &err), err);
    for (size_t t = 0; t < from->length; t++) {
        if (t >= start && t < end) {
            continue;
        }
        for (size_t layer = 0; layer < from->layers; layer++) {
            memcpy(pith__kv_keys(to, layer) + to->length * to->width,
                   pith__kv_keys(from, layer) + t * from->width, to->width * sizeof(float));
            memcpy(pith__kv_values(to, layer) + to->length * to->width,
                   pith__kv_values(from, layer) + t * from->width, to->width * sizeof(float));
        }
        to->length++;
    }
}

static void assert_same_cache(const pith__kv *a, const pith__kv *b)
{
    assert_int_equal(a->length, b->length);
    const size_t bytes = a->length * a->width * sizeof(float);
    for (size_t layer = 0; layer < a->layers && bytes > 0; layer++) {
        assert_memory_equal(pith__kv_keys(a, layer), pith__kv_keys(b, layer), bytes);
        assert_memory_equal(pith__kv_values(a, layer), pith__kv_values(b, layer), bytes);
    }
}

static void removed_tokens_are_gone_and_the_others_stay(void **state)
{
    (void)state;
    const size_t ranges[][2] = {{0, 0},
                                {5, 5},
                                {0, 1},
                                {0, TOKENS},
                                {40, 41},
                                {40, 90},
                                {TOKENS - 1, TOKENS},
                                {100, 1000},
                                {TOKENS, 1000},
                                {500, 1000},
                                {90, 40},
                                {0, SIZE_MAX},
                                {SIZE_MAX, SIZE_MAX}};
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    uint32_t ids[TOKENS + 20];
    random_ids(&f, ids, TOKENS + 20, 5);
    for (size_t r = 0; r < sizeof ranges / sizeof ranges[0]; r++) {
        pith__kv kv;
        pith__kv expected;
        float got[20];
        float wanted[20];
        pith__kv_init(&kv, &f.model, &pith__allocator_default);
        cache_read(&f, &kv, ids, TOKENS, 0);
        copy_without(&f, &kv, ranges[r][0], ranges[r][1], &expected);
        pith__kv_remove(&kv, ranges[r][0], ranges[r][1]);
        assert_same_cache(&kv, &expected);
        const pith__sequence more = {
            .ids = ids + TOKENS, .count = 19, .position = kv.length, .kv = &kv};
        const pith__sequence same = {
            .ids = ids + TOKENS, .count = 19, .position = kv.length, .kv = &expected};
        run_nll(&f, &more, 1, ids + TOKENS + 1, got);
        run_nll(&f, &same, 1, ids + TOKENS + 1, wanted);
        assert_memory_equal(got, wanted, 19 * sizeof *got);
        pith__kv_deinit(&kv);
        pith__kv_deinit(&expected);
    }
    fixture_close(&f);
}

/*
 * In a model of one layer, keys and values are those of the token and its position alone: taking
 * out a stretch leaves what reading the rest would have given, with a gap in the positions.
 */
static void one_layer_knows_nothing_of_what_was_removed(void **state)
{
    (void)state;
    enum { START = 50, END = 90 };
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    const uint32_t layers = f.model.config.layers;
    uint32_t ids[TOKENS + 20];
    float got[20];
    float expected[20];
    float whole[20];
    pith__kv kv;
    pith__kv gap;
    random_ids(&f, ids, TOKENS + 20, 6);
    f.model.config.layers = 1;
    pith__kv_init(&kv, &f.model, &pith__allocator_default);
    pith__kv_init(&gap, &f.model, &pith__allocator_default);
    cache_read(&f, &kv, ids, TOKENS, 0);
    const pith__sequence after_all = {
        .ids = ids + TOKENS, .count = 19, .position = TOKENS - END + START, .kv = &kv};
    run_nll(&f, &after_all, 1, ids + TOKENS + 1, whole);
    pith__kv_truncate(&kv, TOKENS);
    pith__kv_remove(&kv, START, END);
    cache_read(&f, &gap, ids, START, 0);
    cache_read(&f, &gap, ids + END, TOKENS - END, END);
    const pith__sequence after = {
        .ids = ids + TOKENS, .count = 19, .position = kv.length, .kv = &kv};
    const pith__sequence after_gap = {
        .ids = ids + TOKENS, .count = 19, .position = gap.length, .kv = &gap};
    run_nll(&f, &after, 1, ids + TOKENS + 1, got);
    run_nll(&f, &after_gap, 1, ids + TOKENS + 1, expected);
    size_t differ = 0;
    for (size_t i = 0; i < 19; i++) {
        assert_true(fabsf(got[i] - expected[i]) < 1e-4f);
        differ += fabsf(got[i] - whole[i]) > 1e-3f;
    }
    assert_true(differ > 10); /* else what was removed would not matter */
    pith__kv_deinit(&kv);
    pith__kv_deinit(&gap);
    f.model.config.layers = layers;
    fixture_close(&f);
}

/* ---- rows from elsewhere ------------------------------------------------------------------------ */

/* Every second row, or all of them without ids, is given as its token's embedding. */
static void embeddings_are_what_ids_stand_for(void **state)
{
    (void)state;
    const pith_precision precisions[] = {PITH_PRECISION_F32, PITH_PRECISION_INT8};
    for (size_t p = 0; p < 2; p++) {
        fixture f = {0};
        fixture_open(&f, "boot-ckpt", precisions[p], 1);
        enum { ROWS = 70 };
        const size_t width = f.model.config.width;
        pith_error err = {0};
        uint32_t ids[ROWS + 1];
        uint32_t open[ROWS];
        float expected[ROWS];
        float nll[ROWS];
        float *rows = calloc(ROWS * width, sizeof *rows);
        random_ids(&f, ids, ROWS + 1, 7);
        for (size_t i = 0; i < ROWS; i++) {
            open[i] = i % 2 == 0 ? PITH__NO_ID : ids[i];
            assert_ok(pith__model_embedding(&f.model, ids[i], rows + i * width, &err), err);
        }
        const pith__sequence plain = {.ids = ids, .count = ROWS};
        const pith__sequence mixed = {.ids = open, .count = ROWS, .embeddings = rows};
        const pith__sequence given = {.count = ROWS, .embeddings = rows};
        run_nll(&f, &plain, 1, ids + 1, expected);
        run_nll(&f, &mixed, 1, ids + 1, nll);
        assert_memory_equal(nll, expected, sizeof nll);
        run_nll(&f, &given, 1, ids + 1, nll);
        assert_memory_equal(nll, expected, sizeof nll);
        rows[0] += 0.5f;
        run_nll(&f, &given, 1, ids + 1, nll);
        assert_memory_not_equal(nll, expected, sizeof nll);
        free(rows);
        fixture_close(&f);
    }
}

static void positions_are_relative(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    uint32_t ids[TOKENS + 1];
    uint32_t positions[TOKENS];
    float expected[TOKENS];
    float nll[TOKENS];
    random_ids(&f, ids, TOKENS + 1, 8);
    const pith__sequence plain = {.ids = ids, .count = TOKENS};
    const pith__sequence placed = {.ids = ids, .count = TOKENS, .positions = positions};
    run_nll(&f, &plain, 1, ids + 1, expected);
    for (uint32_t i = 0; i < TOKENS; i++) {
        positions[i] = i;
    }
    run_nll(&f, &placed, 1, ids + 1, nll);
    assert_memory_equal(nll, expected, sizeof nll);
    for (size_t i = 0; i < TOKENS; i++) {
        positions[i] += 1800;
    }
    run_nll(&f, &placed, 1, ids + 1, nll);
    for (size_t i = 0; i < TOKENS; i++) {
        assert_true(fabsf(nll[i] - expected[i]) < 1e-3f);
    }
    for (uint32_t i = 0; i < TOKENS; i++) { /* other distances are another text */
        positions[i] = 3 * i;
    }
    run_nll(&f, &placed, 1, ids + 1, nll);
    size_t differ = 0;
    for (size_t i = 0; i < TOKENS; i++) {
        differ += fabsf(nll[i] - expected[i]) > 1e-2f;
    }
    assert_true(differ > TOKENS / 4);
    fixture_close(&f);
}

static void last_logits_are_the_last_of_all(void **state)
{
    (void)state;
    const pith_precision precisions[] = {PITH_PRECISION_F32, PITH_PRECISION_INT8};
    const char *const names[] = {"llama_untied", "boot-ckpt"};
    for (size_t p = 0; p < 4; p++) {
        fixture f = {0};
        fixture_open(&f, names[p / 2], precisions[p % 2], 1 + (unsigned)p);
        enum { ROWS = 300, LAST_0 = 299, LAST_1 = 300, LAST_2 = 319, TOTAL = 320 };
        const size_t vocabulary = f.model.config.vocabulary;
        const size_t bytes = vocabulary * sizeof(float);
        pith_error err = {0};
        uint32_t ids[TOTAL];
        float *logits = malloc(TOTAL * bytes);
        float *last = malloc(3 * bytes);
        float *alone = malloc(3 * bytes);
        assert_true(logits != NULL && last != NULL && alone != NULL);
        random_ids(&f, ids, TOTAL, 9);
        const pith__sequence batch[] = {{.ids = ids, .count = ROWS},
                                        {.ids = ids + ROWS, .count = 1},
                                        {.ids = ids + ROWS + 1, .count = TOTAL - ROWS - 1}};
        const pith__forward_outputs both = {.logits = logits, .last_logits = last};
        const pith__forward_outputs one = {.last_logits = alone};
        assert_ok(pith__model_forward(&f.model, &f.ctx, batch, 3, &both, &err), err);
        assert_ok(pith__model_forward(&f.model, &f.ctx, batch, 3, &one, &err), err);
        assert_memory_equal(last, alone, 3 * bytes);
        assert_memory_equal(last, logits + LAST_0 * vocabulary, bytes);
        assert_memory_equal(last + vocabulary, logits + LAST_1 * vocabulary, bytes);
        assert_memory_equal(last + 2 * vocabulary, logits + LAST_2 * vocabulary, bytes);
        free(alone);
        free(last);
        free(logits);
        fixture_close(&f);
    }
}

static void rows_from_nowhere_are_refused(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    const uint32_t context = f.model.config.context;
    pith_error err = {0};
    pith__kv kv;
    const uint32_t ids[] = {1, PITH__NO_ID, 2};
    const uint32_t far[] = {0, context, 1};
    float *last = calloc(2 * (size_t)f.model.config.vocabulary, sizeof *last);
    const pith__forward_outputs outputs = {.last_logits = last};
    const pith__sequence bad[] = {{.ids = ids, .count = 3},
                                  {.count = 1},
                                  {.ids = ids, .count = 1, .positions = far + 1},
                                  {.ids = ids, .count = 1, .position = context},
                                  {.ids = ids, .count = 1, .position = SIZE_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        pith__sequence sequence = bad[i];
        pith__kv_init(&kv, &f.model, &pith__allocator_default);
        sequence.kv = &kv;
        assert_status(pith__model_forward(&f.model, &f.ctx, &sequence, 1, &outputs, &err),
                      i < 2 ? PITH_E_ARGUMENT : PITH_E_CONTEXT);
        assert_int_equal(kv.length, 0);
        pith__kv_deinit(&kv);
    }
    const pith__sequence empty[] = {{.ids = ids, .count = 1}, {.count = 0}};
    assert_status(pith__model_forward(&f.model, &f.ctx, empty, 2, &outputs, &err), PITH_E_ARGUMENT);
    const pith__sequence end = {.ids = ids, .count = 1, .position = context - 1};
    assert_ok(pith__model_forward(&f.model, &f.ctx, &end, 1, &outputs, &err), err);
    free(last);
    fixture_close(&f);
}

/* ---- keys without their rotation ----------------------------------------------------------------- */

enum { TAKEN = 33 };

/* Keys and values of tokens 40 .. 40 + TAKEN out of one cache and into another. */
static void check_extract(fixture *f)
{
    const size_t width = (size_t)f->model.config.kv_heads * f->model.config.head_dim;
    const size_t numbers = f->model.config.layers * TAKEN * width;
    pith_error err = {0};
    uint32_t ids[TOKENS];
    uint32_t positions[TAKEN];
    float *keys = calloc(numbers, sizeof *keys);
    float *values = calloc(numbers, sizeof *values);
    float *again = calloc(numbers, sizeof *again);
    pith__kv from;
    pith__kv to;
    random_ids(f, ids, TOKENS, 10);
    pith__kv_init(&from, &f->model, &pith__allocator_default);
    pith__kv_init(&to, &f->model, &pith__allocator_default);
    cache_read(f, &from, ids, TOKENS, 500);
    for (uint32_t i = 0; i < TAKEN; i++) {
        positions[i] = 540 + i;
    }
    assert_ok(pith__kv_extract(&from, &f->model, 40, TAKEN, positions, keys, values, &err), err);
    cache_read(f, &to, ids, 3, 0);
    assert_ok(pith__kv_append(&to, &f->model, keys, values, positions, TAKEN, &err), err);
    assert_int_equal(to.length, 3 + TAKEN);
    for (size_t layer = 0; layer < from.layers; layer++) {
        const float *there = pith__kv_keys(&from, layer) + 40 * width;
        const float *here = pith__kv_keys(&to, layer) + 3 * width;
        const float *bare = keys + layer * TAKEN * width;
        float turned = 0.0f;
        for (size_t i = 0; i < TAKEN * width; i++) {
            assert_true(fabsf(there[i] - here[i]) < 1e-5f);
            turned = fmaxf(turned, fabsf(there[i] - bare[i]));
        }
        assert_true(turned > 0.1f); /* else there was nothing to undo */
        assert_memory_equal(pith__kv_values(&to, layer) + 3 * width,
                            pith__kv_values(&from, layer) + 40 * width,
                            TAKEN * width * sizeof(float));
    }
    /* a token at position 0 is not turned at all */
    memset(positions, 0, sizeof positions);
    pith__kv_truncate(&to, 3);
    assert_ok(pith__kv_append(&to, &f->model, keys, values, positions, TAKEN, &err), err);
    assert_ok(pith__kv_extract(&to, &f->model, 3, TAKEN, positions, again, values, &err), err);
    assert_memory_equal(again, keys, numbers * sizeof *keys);
    assert_memory_equal(pith__kv_keys(&to, 0) + 3 * width, keys, TAKEN * width * sizeof *keys);
    assert_ok(pith__kv_append(&to, &f->model, NULL, NULL, NULL, 0, &err), err);
    assert_ok(pith__kv_extract(&to, &f->model, 5, 0, NULL, NULL, NULL, &err), err);
    pith__kv_deinit(&to);
    pith__kv_deinit(&from);
    free(again);
    free(values);
    free(keys);
}

static void keys_lose_and_regain_their_rotation(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    check_extract(&f);
    f.model.config.rope_pairs = 5; /* the rest of a head is not turned */
    check_extract(&f);
    f.model.config.rope_pairs = 8;
    fixture_close(&f);
}

static void slots_beyond_the_context_are_refused(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    const size_t width = (size_t)f.model.config.kv_heads * f.model.config.head_dim;
    const size_t context = f.model.config.context;
    uint32_t *positions = calloc(context, sizeof *positions);
    float *numbers = calloc(f.model.config.layers * context * width, sizeof *numbers);
    pith_error err = {0};
    pith__kv kv;
    const uint32_t id = 3;
    pith__kv_init(&kv, &f.model, &pith__allocator_default);
    cache_read(&f, &kv, &id, 1, 0);
    assert_status(pith__kv_append(&kv, &f.model, numbers, numbers, positions, context, &err),
                  PITH_E_CONTEXT);
    assert_status(pith__kv_append(&kv, &f.model, numbers, numbers, positions, SIZE_MAX, &err),
                  PITH_E_CONTEXT);
    positions[2] = (uint32_t)context;
    assert_status(pith__kv_append(&kv, &f.model, numbers, numbers, positions, 3, &err),
                  PITH_E_CONTEXT);
    assert_int_equal(kv.length, 1);
    positions[2] = (uint32_t)context - 1;
    assert_ok(pith__kv_append(&kv, &f.model, numbers, numbers, positions, context - 1, &err), err);
    assert_int_equal(kv.length, context);
    pith__kv_deinit(&kv);
    free(numbers);
    free(positions);
    fixture_close(&f);
}

/* ---- allocation failures ------------------------------------------------------------------- */

/* Takes two tokens out of a cache of three and appends them to it. */
static pith_status move_tokens(const pith__model *model, pith__kv *kv)
{
    float keys[2 * 2 * 32];
    float values[2 * 2 * 32];
    const uint32_t positions[] = {1, 2};
    PITH__TRY(pith__kv_extract(kv, model, 1, 2, positions, keys, values, NULL));
    const pith_status status = pith__kv_append(kv, model, keys, values, positions, 2, NULL);
    assert_int_equal(kv->length, status == PITH_OK ? 5 : 3);
    return status;
}

static pith_status load_and_run(const pith_allocator *mem, void *user)
{
    const pith__file *file = user;
    pith__gguf gguf = {0};
    pith__model model = {0};
    pith_status status = pith__gguf_parse(file->data, file->size, mem, &gguf, NULL);
    if (status != PITH_OK) {
        return status;
    }
    status = pith__model_load(&gguf, PITH_PRECISION_INT8, mem, &model, NULL);
    if (status == PITH_OK) {
        pith__arena arena;
        pith__kv kv;
        pith__arena_init(&arena, mem);
        pith__kv_init(&kv, &model, mem);
        const uint32_t ids[] = {5, 6, 7, 8};
        float nll[3];
        const pith__tensor_ctx ctx = {1, &arena};
        const pith__sequence sequence = {.ids = ids, .count = 3, .position = 0, .kv = &kv};
        const pith__forward_outputs outputs = {.targets = ids + 1, .nll = nll};
        status = pith__model_forward(&model, &ctx, &sequence, 1, &outputs, NULL);
        assert_int_equal(kv.length, status == PITH_OK ? 3 : 0);
        if (status == PITH_OK) {
            status = move_tokens(&model, &kv);
        }
        pith__kv_deinit(&kv);
        pith__arena_deinit(&arena);
    }
    pith__model_deinit(&model);
    pith__gguf_deinit(&gguf);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    pith__file file;
    pith_error err = {0};
    assert_ok(pith__file_open(test_path("golden", "models/llama_gqa.gguf"), &file, &err), err);
    test_sweep(load_and_run, &file);
    pith__file_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_llama_gqa),
        cmocka_unit_test(golden_llama_untied),
        cmocka_unit_test(golden_boot_checkpoint),
        cmocka_unit_test(cache_gives_what_one_pass_gives),
        cmocka_unit_test(sequences_of_a_batch_do_not_see_each_other),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(int8_is_close_to_f32),
        cmocka_unit_test(only_wanted_rows_are_predicted),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(removed_tokens_are_gone_and_the_others_stay),
        cmocka_unit_test(one_layer_knows_nothing_of_what_was_removed),
        cmocka_unit_test(embeddings_are_what_ids_stand_for),
        cmocka_unit_test(positions_are_relative),
        cmocka_unit_test(last_logits_are_the_last_of_all),
        cmocka_unit_test(rows_from_nowhere_are_refused),
        cmocka_unit_test(keys_lose_and_regain_their_rotation),
        cmocka_unit_test(slots_beyond_the_context_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
