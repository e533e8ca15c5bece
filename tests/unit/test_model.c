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
    const pith__forward_outputs outputs = {out->targets, out->nll, out->hidden, out->logits};
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
        const pith__sequence part = {ids + from, steps[s + 1] - from, from, &kv};
        run_nll(&f, &part, 1, ids + 1 + from, parts + from);
    }
    assert_int_equal(kv.length, TOKENS);
    pith__kv_truncate(&kv, 100);
    const pith__sequence again = {ids + 100, 50, 100, &kv};
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
    const pith__sequence sequence = {ids, count, position, kv};
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
        const pith__sequence more = {ids + TOKENS, 19, kv.length, &kv};
        const pith__sequence same = {ids + TOKENS, 19, kv.length, &expected};
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
    const pith__sequence after_all = {ids + TOKENS, 19, TOKENS - END + START, &kv};
    run_nll(&f, &after_all, 1, ids + TOKENS + 1, whole);
    pith__kv_truncate(&kv, TOKENS);
    pith__kv_remove(&kv, START, END);
    cache_read(&f, &gap, ids, START, 0);
    cache_read(&f, &gap, ids + END, TOKENS - END, END);
    const pith__sequence after = {ids + TOKENS, 19, kv.length, &kv};
    const pith__sequence after_gap = {ids + TOKENS, 19, gap.length, &gap};
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

/* ---- allocation failures ------------------------------------------------------------------- */

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
        const pith__sequence sequence = {ids, 3, 0, &kv};
        const pith__forward_outputs outputs = {.targets = ids + 1, .nll = nll};
        status = pith__model_forward(&model, &ctx, &sequence, 1, &outputs, NULL);
        assert_int_equal(kv.length, status == PITH_OK ? 3 : 0);
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
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
