/*
 * test_lm.c: the model as LLMLingua's methods see it, against the tokenizer, pith_score() and the
 * streams that it stands on.
 */
#include "api/api.h"

#include "test.h"

#include <math.h>

static const char TEXT[] =
    "Prompt compression drops what a reader can guess. The meeting of 14 May was moved to room "
    "2.07, and Mrs Okafor will bring the keys; nobody else needs to come. Caf\xc3\xa9 au lait!";
#define TEXT_SIZE (sizeof TEXT - 1)

typedef struct fixture {
    pith_model *model;
    pith_ctx *ctx;
    pith__arena arena;
    pith__lm_adapter adapter;
    pith__lm_tokens tokens; /* of TEXT */
    uint32_t *ids;
} fixture;

/* The built-in model; a parameter may be set. */
static void fixture_open(fixture *f, const char *name, const char *value)
{
    pith_error err = {0};
    assert_ok(pith_model_open(NULL, NULL, &f->model, &err), err);
    assert_ok(pith_ctx_new(f->model, &f->ctx, &err), err);
    assert_ok(pith_ctx_set(f->ctx, "threads", "1", &err), err);
    if (name != NULL) {
        assert_ok(pith_ctx_set(f->ctx, name, value, &err), err);
    }
    pith__arena_init(&f->arena, &pith__allocator_default);
    pith__lm_adapter_init(&f->adapter, f->ctx);
    const pith__lm *lm = &f->adapter.lm;
    assert_ok(lm->tokenize(lm->user, TEXT, TEXT_SIZE, &f->arena, &f->tokens, &err), err);
    assert_true(f->tokens.count > 30);
    f->ids = calloc(f->tokens.count, sizeof *f->ids);
    assert_non_null(f->ids);
    for (size_t i = 0; i < f->tokens.count; i++) {
        f->ids[i] = f->tokens.items[i].id;
    }
}

static void fixture_close(fixture *f)
{
    pith__lm_adapter_deinit(&f->adapter);
    pith__arena_deinit(&f->arena);
    pith_ctx_free(f->ctx);
    pith_model_free(f->model);
    free(f->ids);
}

/* ---- tokens -------------------------------------------------------------------------- */

static void tokens_are_those_of_the_tokenizer(void **state)
{
    (void)state;
    fixture f = {0};
    pith_error err = {0};
    pith_scores *scores = NULL;
    size_t count = 0;
    fixture_open(&f, NULL, NULL);
    const pith__lm *lm = &f.adapter.lm;
    assert_ok(pith_score(f.ctx, TEXT, TEXT_SIZE, &scores, &err), err);
    const pith_token_score *expected = pith_scores_tokens(scores, &count);
    assert_int_equal(f.tokens.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(f.tokens.items[i].id, expected[i].id);
        assert_int_equal(f.tokens.items[i].start, expected[i].start);
        assert_int_equal(f.tokens.items[i].end, expected[i].end);
        assert_true(isnan(f.tokens.items[i].nats));
    }
    pith__lm_tokens tokens = {NULL, 7};
    assert_ok(lm->tokenize(lm->user, NULL, 0, &f.arena, &tokens, &err), err);
    assert_int_equal(tokens.count, 0);
    assert_ok(lm->tokenize(lm->user, "a\xff", 2, &f.arena, &tokens, &err), err);
    assert_int_equal(tokens.count, 2);
    assert_int_equal(tokens.items[1].end, 2);
    assert_int_equal(lm->bos, pith__tokenizer_bos(f.model->tokenizer.tokenizer));
    assert_int_equal(lm->adds_bos, pith__tokenizer_adds_bos(f.model->tokenizer.tokenizer));
    assert_int_equal(lm->context, pith_model_describe(f.model).context);
    pith_scores_free(scores);
    fixture_close(&f);
}

/* ---- sequences at once ----------------------------------------------------------------- */

static void nll_is_what_pith_score_says(void **state)
{
    (void)state;
    fixture f = {0};
    pith_error err = {0};
    pith_scores *scores = NULL;
    size_t count = 0;
    fixture_open(&f, NULL, NULL);
    const pith__lm *lm = &f.adapter.lm;
    float *nats = calloc(f.tokens.count, sizeof *nats);
    assert_non_null(nats);
    assert_ok(pith_score(f.ctx, TEXT, TEXT_SIZE, &scores, &err), err);
    const pith_token_score *expected = pith_scores_tokens(scores, &count);
    const pith__lm_range whole = {0, count};
    assert_ok(lm->nll(lm->user, f.ids, count, &whole, 1, true, nats, &err), err);
    for (size_t i = 0; i < count; i++) {
        assert_true(nats[i] == expected[i].nats);
    }
    assert_int_equal(f.adapter.forwarded, pith_scores_forwarded(scores));
    assert_true(f.adapter.seconds > 0.0);
    const size_t before = f.adapter.forwarded;
    assert_ok(lm->nll(lm->user, f.ids, count, &whole, 1, false, nats, &err), err);
    assert_int_equal(f.adapter.forwarded, before + count - 1);
    assert_true(isnan(nats[0]));
    double difference = 0.0; /* BOS must make one */
    for (size_t i = 1; i < count; i++) {
        assert_true(isfinite(nats[i]));
        difference = fmax(difference, fabs((double)(nats[i] - expected[i].nats)));
    }
    assert_true(difference > 1e-3);
    const pith__lm_range two[] = {{0, 10}, {12, 5}};
    assert_ok(lm->nll(lm->user, f.ids, count, two, 2, true, nats, &err), err);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(isnan(nats[i]) == 0, i < 10 || (i >= 12 && i < 17));
        assert_true(i >= 10 || fabsf(nats[i] - expected[i].nats) < 0.05f);
    }
    assert_ok(lm->nll(lm->user, f.ids, count, NULL, 0, true, nats, &err), err);
    assert_true(isnan(nats[0]));
    pith_scores_free(scores);
    free(nats);
    fixture_close(&f);
}

static void nll_reads_long_ranges_in_windows(void **state)
{
    (void)state;
    fixture f = {0};
    pith_error err = {0};
    fixture_open(&f, "ctx-size", "16");
    const pith__lm *lm = &f.adapter.lm;
    const size_t count = f.tokens.count;
    float *nats = calloc(count, sizeof *nats);
    assert_non_null(nats);
    const pith__lm_range whole = {0, count};
    assert_int_equal(lm->context, 16);
    assert_ok(lm->nll(lm->user, f.ids, count, &whole, 1, false, nats, &err), err);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(isnan(nats[i]) != 0, i == 0);
    }
    assert_true(f.adapter.forwarded > count);
    assert_ok(pith_ctx_set(f.ctx, "ctx-size", "100000", &err), err);
    assert_status(lm->nll(lm->user, f.ids, count, &whole, 1, true, nats, &err), PITH_E_RANGE);
    free(nats);
    fixture_close(&f);
}

/* ---- streams ---------------------------------------------------------------------------- */

static void streams_grow_side_by_side(void **state)
{
    (void)state;
    fixture f = {0};
    pith_error err = {0};
    fixture_open(&f, NULL, NULL);
    const pith__lm *lm = &f.adapter.lm;
    const size_t count = f.tokens.count - 1;
    float *got = calloc(count, sizeof *got);
    float *other = calloc(count, sizeof *other);
    float *expected = calloc(count, sizeof *expected);
    assert_true(got != NULL && other != NULL && expected != NULL);
    pith__stream stream;
    pith__stream_init(&stream, &f.model->weights, 1, &pith__allocator_default);
    const size_t cut = 17;
    assert_ok(pith__stream_extend(&stream, f.ids, f.ids + 1, cut, expected, &err), err);
    assert_ok(pith__stream_extend(&stream, f.ids + cut, f.ids + cut + 1, count - cut,
                                  expected + cut, &err),
              err);
    assert_int_equal(lm->length(lm->user, 0), 0);
    lm->truncate(lm->user, 1, 0); /* nothing there yet */
    lm->remove(lm->user, 1, 0, 5);
    assert_ok(lm->extend(lm->user, 0, f.ids, f.ids + 1, cut, got, &err), err);
    assert_ok(lm->extend(lm->user, 1, f.ids + 3, f.ids + 4, count - 3, other, &err), err);
    assert_ok(lm->extend(lm->user, 0, f.ids + cut, f.ids + cut + 1, count - cut, got + cut, &err),
              err);
    assert_memory_equal(got, expected, count * sizeof *got);
    assert_int_equal(lm->length(lm->user, 0), count);
    assert_int_equal(lm->length(lm->user, 1), count - 3);
    assert_int_equal(f.adapter.forwarded, 2 * count - 3);
    lm->truncate(lm->user, 0, cut + 3);
    assert_int_equal(lm->length(lm->user, 0), cut + 3);
    lm->remove(lm->user, 0, 2, 5);
    assert_int_equal(lm->length(lm->user, 0), cut);
    assert_int_equal(lm->length(lm->user, 1), count - 3);
    pith__stream_truncate(&stream, cut + 3);
    pith__stream_remove(&stream, 2, 5);
    assert_ok(pith__stream_extend(&stream, f.ids + 20, f.ids + 21, 5, expected, &err), err);
    assert_ok(lm->extend(lm->user, 0, f.ids + 20, f.ids + 21, 5, got, &err), err);
    assert_memory_equal(got, expected, 5 * sizeof *got);
    pith__stream_deinit(&stream);
    free(expected);
    free(other);
    free(got);
    fixture_close(&f);
}

static void a_stream_ends_at_ctx_size(void **state)
{
    (void)state;
    fixture f = {0};
    pith_error err = {0};
    float nats[30];
    fixture_open(&f, "ctx-size", "20");
    const pith__lm *lm = &f.adapter.lm;
    assert_int_equal(lm->context, 20);
    assert_status(lm->extend(lm->user, 0, f.ids, f.ids + 1, 21, nats, &err), PITH_E_CONTEXT);
    assert_int_equal(lm->length(lm->user, 0), 0);
    assert_ok(lm->extend(lm->user, 0, f.ids, f.ids + 1, 15, nats, &err), err);
    assert_status(lm->extend(lm->user, 0, f.ids, f.ids + 1, 6, nats, &err), PITH_E_CONTEXT);
    assert_int_equal(lm->length(lm->user, 0), 15);
    assert_int_equal(f.adapter.forwarded, 15);
    assert_ok(lm->extend(lm->user, 0, f.ids + 15, f.ids + 16, 5, nats, &err), err);
    assert_ok(lm->extend(lm->user, 0, f.ids, f.ids, 0, nats, &err), err);
    fixture_close(&f);
}

/* ---- progress ------------------------------------------------------------------------------ */

typedef struct watcher {
    size_t calls;
    size_t stop_at; /* the call that returns false; 0: none */
    size_t done;
    size_t total;
} watcher;

static bool watch(void *user, const char *stage, size_t done, size_t total)
{
    watcher *w = user;
    assert_string_equal(stage, "score");
    assert_true(done >= w->done && done <= total);
    w->calls++;
    w->done = done;
    w->total = total;
    return w->calls != w->stop_at;
}

static void progress_is_reported_and_can_stop(void **state)
{
    (void)state;
    fixture f = {0};
    pith_error err = {0};
    watcher w = {0};
    float nats[40];
    fixture_open(&f, NULL, NULL);
    const pith__lm *lm = &f.adapter.lm;
    const pith__lm_range range = {5, 20};
    pith_ctx_set_progress(f.ctx, watch, &w);
    f.adapter.total = 50;
    assert_ok(lm->nll(lm->user, f.ids, 30, &range, 1, true, nats, &err), err);
    assert_int_equal(w.calls, 1);
    assert_int_equal(w.done, 20);
    assert_int_equal(w.total, 50);
    assert_ok(lm->extend(lm->user, 0, f.ids, f.ids + 1, 25, nats, &err), err);
    assert_int_equal(w.done, 45);
    assert_int_equal(w.total, 50);
    assert_ok(lm->extend(lm->user, 1, f.ids, f.ids + 1, 25, nats, &err), err);
    assert_int_equal(w.calls, 3);
    assert_int_equal(w.done, 70); /* more than the caller knew of */
    assert_int_equal(w.total, 70);
    w.stop_at = 4;
    assert_status(lm->extend(lm->user, 1, f.ids, f.ids + 1, 2, nats, &err), PITH_E_CANCELLED);
    assert_int_equal(err.status, PITH_E_CANCELLED);
    w.stop_at = 5;
    assert_status(lm->nll(lm->user, f.ids, 30, &range, 1, true, nats, &err), PITH_E_CANCELLED);
    assert_int_equal(w.calls, 5);
    fixture_close(&f);
}

/* One call that takes several passes reports in between, on top of what was done before. */
static void a_long_call_reports_in_between(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    fixture f = {0};
    pith_error err = {0};
    watcher w = {0};
    static uint32_t ids[COUNT];
    static float nats[COUNT];
    fixture_open(&f, NULL, NULL);
    const pith__lm *lm = &f.adapter.lm;
    const pith__lm_range range = {0, COUNT};
    for (size_t i = 0; i < COUNT; i++) {
        ids[i] = f.ids[i % f.tokens.count];
    }
    pith_ctx_set_progress(f.ctx, watch, &w);
    f.adapter.done = 100;
    w.done = 101;
    assert_ok(lm->nll(lm->user, ids, COUNT, &range, 1, true, nats, &err), err);
    assert_true(w.calls > 2);
    assert_int_equal(w.done, COUNT + 100);
    w.stop_at = w.calls + 1;
    assert_status(lm->nll(lm->user, ids, COUNT, &range, 1, true, nats, &err), PITH_E_CANCELLED);
    assert_int_equal(w.calls, w.stop_at);
    fixture_close(&f);
}

/* ---- allocation failures --------------------------------------------------------------------- */

static pith_status use_all(pith__lm_adapter *adapter, pith__arena *arena)
{
    const pith__lm *lm = &adapter->lm;
    pith__lm_tokens tokens;
    uint32_t ids[64];
    float nats[64];
    PITH__TRY(lm->tokenize(lm->user, TEXT, TEXT_SIZE, arena, &tokens, NULL));
    const size_t count = tokens.count < 64 ? tokens.count : 64;
    for (size_t i = 0; i < count; i++) {
        ids[i] = tokens.items[i].id;
    }
    const pith__lm_range range = {0, count};
    PITH__TRY(lm->nll(lm->user, ids, count, &range, 1, true, nats, NULL));
    PITH__TRY(lm->extend(lm->user, 0, ids, ids, 20, nats, NULL));
    PITH__TRY(lm->extend(lm->user, 1, ids, ids, 10, nats, NULL));
    return lm->extend(lm->user, 0, ids, ids, 20, nats, NULL);
}

static pith_status whole_use(const pith_allocator *mem, void *user)
{
    pith_model model = *(const pith_model *)user; /* shares its weights, not its memory */
    pith_ctx *ctx = NULL;
    model.mem = *mem;
    PITH__TRY(pith_ctx_new(&model, &ctx, NULL));
    ctx->params.threads = 1;
    pith__arena arena;
    pith__lm_adapter adapter;
    pith__arena_init(&arena, mem);
    pith__lm_adapter_init(&adapter, ctx);
    const pith_status status = use_all(&adapter, &arena);
    pith__lm_adapter_deinit(&adapter);
    pith__arena_deinit(&arena);
    pith_ctx_free(ctx);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    pith_error err = {0};
    pith_model *model = NULL;
    assert_ok(pith_model_open(NULL, NULL, &model, &err), err);
    test_sweep(whole_use, model);
    pith_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_those_of_the_tokenizer),
        cmocka_unit_test(nll_is_what_pith_score_says),
        cmocka_unit_test(nll_reads_long_ranges_in_windows),
        cmocka_unit_test(streams_grow_side_by_side),
        cmocka_unit_test(a_stream_ends_at_ctx_size),
        cmocka_unit_test(progress_is_reported_and_can_stop),
        cmocka_unit_test(a_long_call_reports_in_between),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
