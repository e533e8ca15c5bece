/*
 * test_bank_api.c: banks through pith.h, and one capsule of several.
 */
#include "base/base.h"

#include "test.h"

#include <unistd.h>

static const char *const TEXTS[] = {"The quick brown fox jumps over the lazy dog.",
                                    "Rain fell on the quiet town all night long.", "It is 2026."};

enum { N_TEXTS = 3 };

/* The tiny model and a capsule of embeddings for each text. */
typedef struct fixture {
    pith_model *model;
    pith_ctx *ctx;
    pith_capsule *capsules[N_TEXTS];
} fixture;

static pith_capsule *encode(pith_ctx *ctx, const char *text, const char *pool)
{
    pith_capsule *capsule = NULL;
    pith_error err = {0};
    assert_ok(pith_ctx_set(ctx, "method", "mean", &err), err);
    assert_ok(pith_ctx_set(ctx, "pool", pool, &err), err);
    assert_ok(pith_ctx_set(ctx, "slots", "2", &err), err);
    assert_ok(pith_encode(ctx, text, strlen(text), &capsule, &err), err);
    return capsule;
}

static void fixture_open(fixture *f)
{
    pith_error err = {0};
    *f = (fixture){.model = NULL};
    assert_ok(pith_model_open(test_path("golden", "models/llama_gqa.gguf"), NULL, &f->model, &err),
              err);
    assert_ok(pith_ctx_new(f->model, &f->ctx, &err), err);
    for (size_t i = 0; i < N_TEXTS; i++) {
        f->capsules[i] = encode(f->ctx, TEXTS[i], "hidden");
    }
}

static void fixture_close(fixture *f)
{
    for (size_t i = 0; i < N_TEXTS; i++) {
        pith_capsule_free(f->capsules[i]);
    }
    pith_ctx_free(f->ctx);
    pith_model_free(f->model);
}

static pith_bank *bank_of(const fixture *f)
{
    static const char *const names[] = {"fox", "rain", "year"};
    pith_bank *bank = NULL;
    pith_error err = {0};
    assert_ok(pith_bank_new(NULL, &bank, &err), err);
    for (size_t i = 0; i < N_TEXTS; i++) {
        assert_ok(pith_bank_add(bank, names[i], f->capsules[i], &err), err);
    }
    return bank;
}

/* For one file that is about to be removed. */
static const char *scratch_path(void)
{
    static char path[64];
    (void)snprintf(path, sizeof path, "/tmp/pith-bank-%ld", (long)getpid());
    return path;
}

static void assert_same(const pith_capsule *a, const pith_capsule *b)
{
    const pith_capsule_info one = pith_capsule_describe(a);
    const pith_capsule_info other = pith_capsule_describe(b);
    assert_string_equal(one.method, other.method);
    assert_string_equal(one.kind, other.kind);
    assert_int_equal(one.slots, other.slots);
    assert_int_equal(one.source_bytes, other.source_bytes);
    assert_int_equal(one.source_tokens, other.source_tokens);
    assert_string_equal(one.source_sha256, other.source_sha256);
    assert_string_equal(one.model_sha256, other.model_sha256);
    assert_string_equal(one.record, other.record);
    assert_int_equal(one.bos, other.bos);
}

/* ---- banks ------------------------------------------------------------------------------------- */

static void a_bank_keeps_copies(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f);
    pith_bank *bank = bank_of(&f);
    pith_error err = {0};
    pith_capsule *copy = NULL;
    assert_int_equal(pith_bank_count(bank), N_TEXTS);
    assert_string_equal(pith_bank_name(bank, 1), "rain");
    assert_null(pith_bank_name(bank, N_TEXTS));
    assert_ok(pith_bank_capsule(bank, 2, NULL, &copy, &err), err);
    assert_same(copy, f.capsules[2]);
    assert_ok(pith_capsule_check(copy, f.model, &err), err);
    assert_status(pith_bank_add(bank, "rain", copy, &err), PITH_E_ARGUMENT);
    assert_status(pith_bank_add(bank, "", copy, &err), PITH_E_ARGUMENT);
    assert_int_equal(pith_bank_count(bank), N_TEXTS);
    pith_bank_free(bank);
    assert_same(copy, f.capsules[2]); /* still there */
    pith_capsule_free(copy);
    pith_bank_free(NULL);
    fixture_close(&f);
}

static void what_does_not_belong_is_refused(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f);
    pith_bank *bank = bank_of(&f);
    pith_error err = {0};
    size_t order[1];
    size_t found = 9;
    pith_capsule *none = f.capsules[0];
    pith_capsule *kv = encode(f.ctx, TEXTS[0], "kv");
    pith_capsule *other = NULL;
    assert_ok(
        pith_capsule_open(test_path("golden", "capsules/embeddings-int8.gguf"), NULL, &other, &err),
        err);
    assert_status(pith_bank_add(bank, "kv", kv, &err), PITH_E_ARGUMENT);
    assert_status(pith_bank_add(bank, "other", other, &err), PITH_E_MISMATCH);
    assert_status(pith_bank_find(bank, other, 1, order, NULL, &found, &err), PITH_E_MISMATCH);
    assert_int_equal(found, 0);
    assert_status(pith_bank_capsule(bank, N_TEXTS, NULL, &none, &err), PITH_E_ARGUMENT);
    assert_null(none);
    assert_status(pith_bank_save(bank, (pith_capsule_type)9, scratch_path(), &err),
                  PITH_E_ARGUMENT);
    pith_capsule_free(other);
    pith_capsule_free(kv);
    pith_bank_free(bank);
    fixture_close(&f);
}

static void a_saved_bank_finds_the_same(void **state)
{
    (void)state;
    static const pith_capsule_type types[] = {PITH_CAPSULE_F32, PITH_CAPSULE_F16,
                                              PITH_CAPSULE_INT8};
    fixture f;
    fixture_open(&f);
    pith_bank *bank = bank_of(&f);
    pith_error err = {0};
    size_t order[N_TEXTS];
    double scores[N_TEXTS];
    size_t found = 0;
    assert_ok(pith_bank_find(bank, f.capsules[1], N_TEXTS, order, scores, &found, &err), err);
    assert_int_equal(found, N_TEXTS);
    assert_true(scores[0] >= scores[1] && scores[1] >= scores[2] && scores[0] > scores[2]);
    for (size_t t = 0; t < 3; t++) {
        pith_bank *again = NULL;
        size_t order_again[N_TEXTS] = {0};
        double scores_again[N_TEXTS];
        assert_ok(pith_bank_save(bank, types[t], scratch_path(), &err), err);
        assert_ok(pith_bank_open(scratch_path(), NULL, &again, &err), err);
        assert_int_equal(unlink(scratch_path()), 0);
        assert_int_equal(pith_bank_count(again), N_TEXTS);
        assert_string_equal(pith_bank_name(again, 2), "year");
        assert_ok(pith_bank_find(again, f.capsules[1], 2, order_again, scores_again, &found, &err),
                  err);
        assert_int_equal(found, 2);
        assert_true(t > 0 || (order_again[0] == order[0] && scores_again[1] == scores[1]));
        assert_true(scores_again[0] > 0.9 * scores[0] && scores_again[0] < 1.1 * scores[0]);
        pith_bank_free(again);
    }
    pith_bank_free(bank);
    fixture_close(&f);
}

static void files_that_are_no_banks_are_refused(void **state)
{
    (void)state;
    pith_bank *bank = NULL;
    pith_error err = {0};
    assert_status(pith_bank_open("/nowhere/at/all", NULL, &bank, &err), PITH_E_IO);
    assert_null(bank);
    assert_status(
        pith_bank_open(test_path("golden", "capsules/embeddings-int8.gguf"), NULL, &bank, &err),
        PITH_E_CORRUPT);
    assert_null(bank);
    assert_ok(pith_bank_new(NULL, &bank, &err), err);
    assert_status(pith_bank_save(bank, PITH_CAPSULE_F16, scratch_path(), &err), PITH_E_ARGUMENT);
    assert_null(pith_bank_name(bank, 0));
    pith_bank_free(bank);
}

/* ---- one of several ------------------------------------------------------------------------------ */

static void capsules_are_joined(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f);
    pith_error err = {0};
    pith_capsule *joined = f.capsules[0];
    pith_capsule *kv = encode(f.ctx, TEXTS[0], "kv");
    assert_ok(
        pith_capsule_join((const pith_capsule *const *)f.capsules, N_TEXTS, NULL, &joined, &err),
        err);
    const pith_capsule_info info = pith_capsule_describe(joined);
    assert_int_equal(info.slots, 2 * N_TEXTS);
    assert_int_equal(info.advance, 2 * N_TEXTS);
    assert_int_equal(info.source_bytes, strlen(TEXTS[0]) + strlen(TEXTS[1]) + strlen(TEXTS[2]));
    assert_string_equal(info.source_sha256, "");
    assert_string_equal(info.record, "{}");
    assert_ok(pith_capsule_check(joined, f.model, &err), err);
    const pith_piece pieces[] = {{.capsule = joined}};
    pith_scores *scores = NULL;
    assert_ok(pith_score_after(f.ctx, pieces, 1, TEXTS[2], strlen(TEXTS[2]), &scores, &err), err);
    pith_scores_free(scores);
    pith_capsule_free(joined);
    const pith_capsule *const mixed[] = {f.capsules[0], kv};
    assert_status(pith_capsule_join(mixed, 2, NULL, &joined, &err), PITH_E_MISMATCH);
    assert_null(joined);
    assert_status(pith_capsule_join(mixed, 0, NULL, &joined, &err), PITH_E_ARGUMENT);
    pith_capsule_free(kv);
    fixture_close(&f);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

static pith_status use_bank(const pith_allocator *mem, const fixture *f, pith_bank *bank)
{
    size_t order[2];
    size_t found = 0;
    pith_capsule *pair[2] = {NULL, NULL};
    pith_capsule *joined = NULL;
    pith_status status = pith_bank_add(bank, "a", f->capsules[0], NULL);
    if (status == PITH_OK) {
        status = pith_bank_add(bank, "b", f->capsules[1], NULL);
    }
    if (status == PITH_OK) {
        status = pith_bank_find(bank, f->capsules[2], 2, order, NULL, &found, NULL);
    }
    for (size_t i = 0; status == PITH_OK && i < found; i++) {
        status = pith_bank_capsule(bank, order[i], mem, &pair[i], NULL);
    }
    if (status == PITH_OK) {
        status = pith_capsule_join((const pith_capsule *const *)pair, 2, mem, &joined, NULL);
    }
    if (status == PITH_OK) {
        status = pith_bank_save(bank, PITH_CAPSULE_F16, scratch_path(), NULL);
    }
    pith_capsule_free(joined);
    pith_capsule_free(pair[0]);
    pith_capsule_free(pair[1]);
    return status;
}

static pith_status make_and_use(const pith_allocator *mem, void *user)
{
    pith_bank *bank = NULL;
    pith_bank *again = NULL;
    PITH__TRY(pith_bank_new(mem, &bank, NULL));
    pith_status status = use_bank(mem, user, bank);
    pith_bank_free(bank);
    if (status == PITH_OK) {
        status = pith_bank_open(scratch_path(), mem, &again, NULL);
    }
    pith_bank_free(again);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f);
    test_sweep(make_and_use, &f);
    (void)unlink(scratch_path());
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bank_keeps_copies),
        cmocka_unit_test(what_does_not_belong_is_refused),
        cmocka_unit_test(a_saved_bank_finds_the_same),
        cmocka_unit_test(files_that_are_no_banks_are_refused),
        cmocka_unit_test(capsules_are_joined),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
