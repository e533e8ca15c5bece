/*
 * test_score.c: windows and batches against what single forward passes and
 * independent implementations (tests/golden/models) give.
 */
#include "model/kv.h"
#include "score/score.h"

#include "test.h"

#include "golden_json.h"
#include "model_fixture.h"

#include <math.h>
#include <pthread.h>

/* Float32 against float64, and batches of other shapes against each other. */
#define TOLERANCE 2e-4

static uint32_t *new_random_ids(const fixture *f, size_t count, uint64_t seed)
{
    uint32_t *ids = calloc(count + 1, sizeof *ids);
    assert_non_null(ids);
    random_ids(f, ids, count, seed);
    return ids;
}

/* A text of ids with what is wanted of it, and what came of it. */
typedef struct scored {
    const uint32_t *ids;
    size_t count;
    float *nats;
    size_t forwarded;
} scored;

static void score_ranges(fixture *f, const pith__score_options *options, scored *s,
                         const pith__score_range *ranges, size_t n_ranges)
{
    pith_error err = {0};
    free(s->nats);
    s->nats = calloc(s->count + 1, sizeof *s->nats);
    assert_non_null(s->nats);
    s->forwarded = SIZE_MAX;
    const pith__score_input input = {s->ids, s->count, ranges, n_ranges};
    assert_ok(pith__score_run(&f->model, &f->ctx, options, &input, s->nats, &s->forwarded, &err),
              err);
    assert_int_equal(f->arena.used_total, 0);
}

/* The same with the whole text as the one range. */
static void score_whole(fixture *f, const pith__score_options *options, scored *s)
{
    const pith__score_range range = {0, s->count};
    score_ranges(f, options, s, &range, 1);
}

/* NLL of ids[end - 1] after [bos] ids[begin, end - 1): a forward pass of its own. */
static float direct(fixture *f, uint32_t bos, const uint32_t *ids, size_t begin, size_t end)
{
    const size_t count = end - begin;
    const size_t shift = bos == PITH__NO_TARGET ? 0 : 1;
    const size_t rows = count - 1 + shift;
    pith_error err = {0};
    uint32_t *input = calloc(rows + 1, sizeof *input);
    uint32_t *targets = calloc(rows + 1, sizeof *targets);
    float *nll = calloc(rows + 1, sizeof *nll);
    assert_true(input != NULL && targets != NULL && nll != NULL);
    input[0] = bos;
    memcpy(input + shift, ids + begin, (count - 1) * sizeof *ids);
    for (size_t r = 0; r < rows; r++) {
        targets[r] = r + 1 == rows ? ids[end - 1] : PITH__NO_TARGET;
    }
    const pith__sequence sequence = {.ids = input, .count = rows};
    const pith__forward_outputs outputs = {.targets = targets, .nll = nll};
    assert_ok(pith__model_forward(&f->model, &f->ctx, &sequence, 1, &outputs, &err), err);
    const float value = nll[rows - 1];
    free(input);
    free(targets);
    free(nll);
    return value;
}

static void assert_near(float got, double expected, size_t position)
{
    if (!(fabs((double)got - expected) < TOLERANCE)) {
        fail_msg("token %zu: %.7g, expected %.7g", position, (double)got, expected);
    }
}

/* ---- golden values ----------------------------------------------------------------- */

/* Runs every entry of a list, all in one call, each a range of its own after BOS. */
static void check_golden(const char *name, const char *list, const char *values)
{
    fixture f = {0};
    fixture_open(&f, name, PITH_PRECISION_F32, 1);
    char relative[64];
    (void)snprintf(relative, sizeof relative, "models/%s.json", name);
    json_t *root = golden_load(test_path("golden", relative));
    const json_t *entries = json_object_get(root, list);
    const size_t n_ranges = json_array_size(entries);
    assert_true(n_ranges > 1);
    pith__score_range *ranges = calloc(n_ranges, sizeof *ranges);
    uint32_t *ids = NULL;
    size_t count = 0;
    for (size_t s = 0; s < n_ranges; s++) {
        const json_t *entry_ids = json_object_get(json_array_get(entries, s), "ids");
        ranges[s] = (pith__score_range){count, json_array_size(entry_ids)};
        ids = realloc(ids, (count + ranges[s].count + 1) * sizeof *ids);
        assert_non_null(ids);
        for (size_t i = 0; i < ranges[s].count; i++, count++) {
            ids[count] = (uint32_t)json_integer_value(json_array_get(entry_ids, i));
        }
    }
    const pith__score_options options = {.bos = (uint32_t)golden_integer(root, "bos"),
                                         .window = f.model.config.context,
                                         .overlap = 1};
    scored got = {.ids = ids, .count = count};
    score_ranges(&f, &options, &got, ranges, n_ranges);
    assert_int_equal(got.forwarded, count);
    double worst = 0.0;
    for (size_t s = 0; s < n_ranges; s++) {
        const json_t *nll = json_object_get(json_array_get(entries, s), values);
        assert_int_equal(json_array_size(nll), ranges[s].count);
        for (size_t i = 0; i < ranges[s].count; i++) {
            const double expected = json_number_value(json_array_get(nll, i));
            const size_t position = ranges[s].first + i;
            assert_near(got.nats[position], expected, position);
            worst = fmax(worst, fabs((double)got.nats[position] - expected));
        }
    }
    print_message("%s: %zu texts, %zu tokens, worst difference %.1e\n", name, n_ranges, count,
                  worst);
    free(got.nats);
    free(ids);
    free(ranges);
    json_decref(root);
    fixture_close(&f);
}

static void sentences_are_scored_alone(void **state)
{
    (void)state;
    check_golden("llama_gqa", "sentencewise", "nll");
    check_golden("llama_untied", "sentencewise", "nll");
}

static void texts_of_the_checkpoint_agree(void **state)
{
    (void)state;
    check_golden("boot-ckpt", "cases", "bos_nll");
}

/* ---- windows ----------------------------------------------------------------------- */

static void one_window_is_one_pass(void **state)
{
    (void)state;
    enum { COUNT = 120 };
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    uint32_t *ids = new_random_ids(&f, COUNT, 1);
    const uint32_t starts[] = {1, PITH__NO_TARGET};
    const size_t windows[] = {COUNT, COUNT + 1, f.model.config.context};
    for (size_t b = 0; b < 2; b++) {
        for (size_t w = 0; w < 3; w++) {
            const pith__score_options options = {
                .bos = starts[b], .window = windows[w], .overlap = 10};
            scored got = {.ids = ids, .count = COUNT};
            score_whole(&f, &options, &got);
            assert_int_equal(got.forwarded, COUNT - b);
            for (size_t i = b; i < COUNT; i++) {
                assert_near(got.nats[i], (double)direct(&f, starts[b], ids, 0, i + 1), i);
            }
            assert_true(b == 0 || isnan(got.nats[0]));
            free(got.nats);
        }
    }
    free(ids);
    fixture_close(&f);
}

typedef struct window_case {
    size_t count;
    size_t window;
    size_t overlap;
    bool bos;
} window_case;

/*
 * Where the window of token i begins, and how many tokens windows read together:
 * the first scores `window` tokens, every later one `window - overlap` new ones.
 * Without BOS the overlap is at least the one token that predicts the next.
 */
static size_t window_begin(const window_case *c, size_t overlap, size_t i)
{
    const size_t step = c->window - overlap;
    return i < c->window ? 0 : ((i - c->window) / step + 1) * step;
}

static size_t tokens_read(const window_case *c, size_t overlap)
{
    size_t read = 0;
    for (size_t begin = 0; begin + overlap < c->count || begin == 0; begin += c->window - overlap) {
        const size_t left = c->count - begin;
        read += (left < c->window ? left : c->window) - (c->bos ? 0 : 1);
    }
    return read;
}

static void check_windows(fixture *f, const window_case *c)
{
    const uint32_t bos = c->bos ? 1 : PITH__NO_TARGET;
    const size_t overlap = !c->bos && c->overlap == 0 ? 1 : c->overlap;
    uint32_t *ids = new_random_ids(f, c->count, c->window);
    const pith__score_options options = {.bos = bos, .window = c->window, .overlap = c->overlap};
    scored got = {.ids = ids, .count = c->count};
    score_whole(f, &options, &got);
    for (size_t i = 0; i < c->count; i++) {
        if (i == 0 && !c->bos) {
            assert_true(isnan(got.nats[0]));
            continue;
        }
        const size_t begin = window_begin(c, overlap, i);
        assert_true(i - begin >= overlap || begin == 0);
        assert_near(got.nats[i], (double)direct(f, bos, ids, begin, i + 1), i);
    }
    assert_int_equal(got.forwarded, tokens_read(c, overlap));
    free(got.nats);
    free(ids);
}

static void every_token_is_scored_in_its_window(void **state)
{
    (void)state;
    const window_case cases[] = {{100, 10, 3, true},  {100, 10, 3, false}, {100, 10, 8, true},
                                 {100, 10, 8, false}, {100, 10, 0, true},  {100, 10, 0, false},
                                 {20, 2, 0, true},    {20, 2, 0, false},   {21, 3, 1, true},
                                 {21, 3, 1, false},   {11, 10, 4, true},   {10, 10, 4, true},
                                 {9, 10, 4, true},    {16, 10, 4, true},   {17, 10, 4, true},
                                 {1, 2, 0, true},     {1, 2, 0, false},    {2, 2, 0, false},
                                 {160, 64, 16, true}, {161, 64, 62, true}, {150, 64, 62, false}};
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        check_windows(&f, &cases[c]);
    }
    fixture_close(&f);
}

/* If the context made no difference, the test above could not fail. */
static void the_window_matters(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    uint32_t *ids = new_random_ids(&f, COUNT, 10);
    size_t differ = 0;
    for (size_t i = 20; i < COUNT; i++) {
        const float near = direct(&f, 1, ids, i - 5, i + 1);
        const float nearer = direct(&f, 1, ids, i - 4, i + 1);
        differ += fabsf(near - nearer) > 10.0f * (float)TOLERANCE;
    }
    assert_true(differ > (COUNT - 20) * 9 / 10);
    free(ids);
    fixture_close(&f);
}

/* ---- batches ----------------------------------------------------------------------- */

/* Ranges of 0 to `longest` ids, the last one longer, gaps between them; gives the ids in them. */
static size_t make_ranges(pith__score_range *ranges, size_t n, size_t longest, size_t *count)
{
    uint64_t seed = 5;
    size_t covered = 0;
    *count = 0;
    for (size_t i = 0; i < n; i++) {
        *count += test_random_below(&seed, 3);
        const size_t size = i + 1 == n ? longest + 6 : test_random_below(&seed, longest + 1);
        ranges[i] = (pith__score_range){*count, size};
        *count += ranges[i].count;
        covered += ranges[i].count;
    }
    *count += 2;
    return covered;
}

static void check_batch(size_t n_ranges, size_t longest, uint32_t bos)
{
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    pith__score_range *ranges = calloc(n_ranges, sizeof *ranges);
    assert_non_null(ranges);
    size_t count = 0;
    const size_t covered = make_ranges(ranges, n_ranges, longest, &count);
    uint32_t *ids = new_random_ids(&f, count, 6);
    const pith__score_options options = {.bos = bos, .window = 16, .overlap = 4};
    scored all = {.ids = ids, .count = count};
    score_ranges(&f, &options, &all, ranges, n_ranges);
    float *alone = calloc(count, sizeof *alone);
    assert_non_null(alone);
    for (size_t i = 0; i < count; i++) {
        alone[i] = NAN;
    }
    size_t forwarded = 0;
    for (size_t r = 0; r < n_ranges; r++) {
        scored one = {.ids = ids + ranges[r].first, .count = ranges[r].count};
        score_whole(&f, &options, &one);
        memcpy(alone + ranges[r].first, one.nats, one.count * sizeof *one.nats);
        forwarded += one.forwarded;
        free(one.nats);
    }
    size_t numbers = 0;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(isnan(all.nats[i]) != 0, isnan(alone[i]) != 0);
        if (!isnan(alone[i])) {
            assert_near(all.nats[i], (double)alone[i], i);
            numbers++;
        }
    }
    size_t without = 0; /* the first of every range that has no BOS before it */
    for (size_t r = 0; r < n_ranges; r++) {
        without += bos == PITH__NO_TARGET && ranges[r].count > 0;
    }
    assert_int_equal(numbers, covered - without);
    assert_int_equal(all.forwarded, forwarded);
    free(alone);
    free(all.nats);
    free(ids);
    free(ranges);
    fixture_close(&f);
}

static void a_batch_gives_what_one_by_one_gives(void **state)
{
    (void)state;
    check_batch(1500, 5, 1);
    check_batch(1500, 5, PITH__NO_TARGET);
    check_batch(100, 60, 1);
    check_batch(2500, 1, 1);
    check_batch(2500, 1, PITH__NO_TARGET); /* windows without a row to compute */
}

static void nothing_is_asked_and_nothing_is_done(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    const uint32_t ids[] = {5, 6};
    const pith__score_options options = {.bos = 1, .window = 16, .overlap = 4};
    scored got = {.ids = ids, .count = 2};
    score_ranges(&f, &options, &got, NULL, 0);
    assert_int_equal(got.forwarded, 0);
    assert_true(isnan(got.nats[0]) && isnan(got.nats[1]));
    got.count = 0;
    score_whole(&f, &options, &got);
    assert_int_equal(got.forwarded, 0);
    free(got.nats);
    fixture_close(&f);
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    enum { COUNT = 1500 };
    const pith_precision precisions[] = {PITH_PRECISION_F32, PITH_PRECISION_INT8};
    const size_t windows[] = {100, 2000}; /* the second is more than a pass usually takes */
    for (size_t p = 0; p < 2; p++) {
        fixture f = {0};
        fixture_open(&f, "boot-ckpt", precisions[p], 1);
        uint32_t *ids = new_random_ids(&f, COUNT, 7);
        for (size_t w = 0; w < 2; w++) {
            const pith__score_options options = {.bos = 0, .window = windows[w], .overlap = 20};
            scored one = {.ids = ids, .count = COUNT};
            f.ctx.threads = 1;
            score_whole(&f, &options, &one);
            for (unsigned threads = 2; threads <= 4; threads++) {
                scored more = {.ids = ids, .count = COUNT};
                f.ctx.threads = threads;
                score_whole(&f, &options, &more);
                assert_memory_equal(one.nats, more.nats, COUNT * sizeof *one.nats);
                assert_int_equal(one.forwarded, more.forwarded);
                free(more.nats);
            }
            free(one.nats);
        }
        free(ids);
        fixture_close(&f);
    }
}

/* ---- progress, refusals ------------------------------------------------------------ */

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
    assert_true(done > w->done && done <= total);
    w->calls++;
    w->done = done;
    w->total = total;
    return w->calls != w->stop_at;
}

static void progress_moves_on_and_can_stop(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_INT8, 1);
    pith_error err = {0};
    uint32_t *ids = new_random_ids(&f, COUNT, 8);
    float *nats = calloc(COUNT, sizeof *nats);
    assert_non_null(nats);
    const pith__score_range range = {0, COUNT};
    const pith__score_input input = {ids, COUNT, &range, 1};
    watcher w = {0};
    pith__score_options options = {
        .bos = 1, .window = 64, .overlap = 16, .progress = watch, .progress_user = &w};
    size_t whole = 0;
    assert_ok(pith__score_run(&f.model, &f.ctx, &options, &input, nats, &whole, &err), err);
    assert_true(w.calls >= 3);
    assert_int_equal(w.total, COUNT);
    for (size_t stop = 1; stop <= 3; stop++) {
        size_t forwarded = 0;
        w = (watcher){.stop_at = stop};
        assert_status(pith__score_run(&f.model, &f.ctx, &options, &input, nats, &forwarded, &err),
                      PITH_E_CANCELLED);
        assert_int_equal(err.status, PITH_E_CANCELLED);
        assert_int_equal(w.calls, stop);
        assert_true(forwarded > 0 && forwarded < whole);
        /* what was reported as done is done, the rest is not */
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(isnan(nats[i]) == 0, i < w.done);
        }
        assert_int_equal(f.arena.used_total, 0);
    }
    free(ids);
    free(nats);
    fixture_close(&f);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    const size_t context = f.model.config.context;
    const size_t bad[][2] = {
        {0, 0},   {1, 0}, {SIZE_MAX, 0},  {context + 1, 0},   {10, 9},       {10, 10},
        {10, 11}, {2, 1}, {10, SIZE_MAX}, {10, SIZE_MAX - 1}, {0, SIZE_MAX}, {1, SIZE_MAX}};
    uint32_t ids[] = {1, 2, 3};
    float nats[3];
    const pith__score_range range = {0, 3};
    const pith__score_input input = {ids, 3, &range, 1};
    pith_error err = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const pith__score_options options = {.bos = 1, .window = bad[i][0], .overlap = bad[i][1]};
        err.message[0] = '\0';
        assert_status(pith__score_run(&f.model, &f.ctx, &options, &input, nats, NULL, &err),
                      PITH_E_ARGUMENT);
        assert_non_null(strstr(err.message, "window"));
    }
    const pith__score_options good = {.bos = 1, .window = context, .overlap = context - 2};
    assert_ok(pith__score_run(&f.model, &f.ctx, &good, &input, nats, NULL, &err), err);
    ids[1] = f.model.config.vocabulary;
    assert_status(pith__score_run(&f.model, &f.ctx, &good, &input, nats, NULL, &err),
                  PITH_E_ARGUMENT);
    assert_int_equal(f.arena.used_total, 0);
    fixture_close(&f);
}

/* Passes run in any order then, but the call stops and what it reports still grows. */
static void several_threads_can_be_stopped(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_INT8, 1);
    pith_error err = {0};
    uint32_t *ids = new_random_ids(&f, COUNT, 9);
    float *nats = calloc(COUNT, sizeof *nats);
    assert_non_null(nats);
    const pith__score_range range = {0, COUNT};
    const pith__score_input input = {ids, COUNT, &range, 1};
    watcher w = {.stop_at = 2};
    const pith__score_options options = {
        .bos = 1, .window = 64, .overlap = 16, .progress = watch, .progress_user = &w};
    f.ctx.threads = 3;
    size_t forwarded = 0;
    const pith_status status =
        pith__score_run(&f.model, &f.ctx, &options, &input, nats, &forwarded, &err);
    /* a calling thread that got fewer than two passes has not been asked twice */
    assert_int_equal(status, w.calls == 2 ? PITH_E_CANCELLED : PITH_OK);
    assert_int_equal(f.arena.used_total, 0);
    size_t numbers = 0;
    for (size_t i = 0; i < COUNT; i++) {
        numbers += isnan(nats[i]) == 0;
    }
    assert_true(status == PITH_OK ? numbers == COUNT : numbers < COUNT && numbers >= w.done);
    free(ids);
    free(nats);
    fixture_close(&f);
}

/* A model whose weights are no numbers must not give scores, in either precision. */
static void a_damaged_model_gives_no_scores(void **state)
{
    (void)state;
    const pith_precision precisions[] = {PITH_PRECISION_F32, PITH_PRECISION_INT8};
    for (size_t p = 0; p < 2; p++) {
        fixture f = {0};
        fixture_open(&f, "llama_gqa", precisions[p], 1);
        float *norm = calloc(f.model.config.width, sizeof *norm);
        assert_non_null(norm);
        for (size_t i = 0; i < f.model.config.width; i++) {
            norm[i] = i == 3 ? NAN : 1.0f;
        }
        const uint32_t ids[] = {5, 6, 7};
        float nats[3];
        const pith__score_range range = {0, 3};
        const pith__score_input input = {ids, 3, &range, 1};
        const pith__score_options options = {.bos = 1, .window = 16, .overlap = 4};
        const float **places[] = {&f.model.layers[0].attn_norm, &f.model.layers[1].ffn_norm,
                                  &f.model.output_norm};
        for (size_t i = 0; i < 3; i++) {
            const float *good = *places[i];
            *places[i] = norm;
            assert_status(pith__score_run(&f.model, &f.ctx, &options, &input, nats, NULL, NULL),
                          PITH_E_CORRUPT);
            *places[i] = good;
        }
        free(norm);
        fixture_close(&f);
    }
}

/* ---- streams ----------------------------------------------------------------------- */

/* Extends by ids [from, to); each predicts the next. */
static void extend(pith__stream *stream, const uint32_t *ids, size_t from, size_t to, float *nats)
{
    pith_error err = {0};
    assert_ok(pith__stream_extend(stream, ids + from, ids + from + 1, to - from, nats + from, &err),
              err);
}

/* nats[i] of `count` ids in pieces of 1 to `longest`, or always of `longest`. */
static void extend_in_pieces(pith__stream *stream, const uint32_t *ids, size_t count,
                             size_t longest, uint64_t *seed, float *nats)
{
    for (size_t from = 0; from < count;) {
        const size_t size = seed == NULL ? longest : 1 + test_random_below(seed, longest);
        const size_t to = count - from < size ? count : from + size;
        extend(stream, ids, from, to, nats);
        from = to;
        assert_int_equal(pith__stream_length(stream), from);
        assert_int_equal(stream->scratch.used_total, 0);
    }
}

/* The largest and the mean difference between a stream in pieces and one pass. */
static void compare_pieces(const char *name, pith_precision precision, size_t longest,
                           uint64_t *seed, double *largest, double *mean)
{
    enum { COUNT = 448 };
    fixture f = {0};
    float nats[COUNT];
    fixture_open(&f, name, precision, 1);
    uint32_t *ids = new_random_ids(&f, COUNT + 1, 11);
    const pith__score_options options = {.bos = PITH__NO_TARGET, .window = COUNT + 1, .overlap = 1};
    scored whole = {.ids = ids, .count = COUNT + 1};
    score_whole(&f, &options, &whole);
    pith__stream stream;
    pith__stream_init(&stream, &f.model, 1, &pith__allocator_default);
    extend_in_pieces(&stream, ids, COUNT, longest, seed, nats);
    assert_int_equal(stream.forwarded, COUNT);
    *largest = 0.0;
    *mean = 0.0;
    for (size_t i = 0; i < COUNT; i++) {
        const double difference = fabs((double)nats[i] - (double)whole.nats[i + 1]);
        *largest = fmax(*largest, difference);
        *mean += difference / COUNT;
    }
    pith__stream_deinit(&stream);
    free(whole.nats);
    free(ids);
    fixture_close(&f);
}

static void pieces_give_what_one_pass_gives(void **state)
{
    (void)state;
    const char *const names[] = {"llama_gqa", "llama_untied", "boot-ckpt"};
    const size_t longest[] = {1, 7, 64, 100, 300};
    uint64_t seed = 12;
    double worst = 0.0;
    double worst_mean = 0.0;
    for (size_t n = 0; n < 3; n++) {
        for (size_t l = 0; l < 5; l++) {
            double largest = 0.0;
            double mean = 0.0;
            compare_pieces(names[n], PITH_PRECISION_F32, longest[l], &seed, &largest, &mean);
            assert_true(largest < 1e-4);
            worst = fmax(worst, largest);
        }
    }
    print_message("pieces against one pass, f32: %.1e at most\n", worst);
    /*
     * The int8 products are exact, but attention is not, whose sums depend on how the queries are
     * cut; where that moves an activation across a rounding boundary, more follows.
     */
    worst = 0.0;
    for (size_t l = 0; l < 5; l++) {
        double largest = 0.0;
        double mean = 0.0;
        compare_pieces("boot-ckpt", PITH_PRECISION_INT8, longest[l], &seed, &largest, &mean);
        worst = fmax(worst, largest);
        worst_mean = fmax(worst_mean, mean);
    }
    print_message("pieces against one pass, int8: %.1e at most, %.1e on average\n", worst,
                  worst_mean);
    assert_true(worst < 0.3);
    assert_true(worst_mean < 0.02); /* that of int8 against f32 is 0.025 */
    double largest = 0.0;
    double mean = 0.0;
    compare_pieces("boot-ckpt", PITH_PRECISION_INT8, 128, NULL, &largest, &mean);
    assert_true(largest == 0.0); /* cut as attention cuts by itself */
}

/* The same steps after truncation give the same bytes as in a stream that saw nothing else. */
static void truncation_leaves_no_trace(void **state)
{
    (void)state;
    enum { COUNT = 200, KEPT = 77 };
    const pith_precision precisions[] = {PITH_PRECISION_F32, PITH_PRECISION_INT8};
    for (size_t p = 0; p < 2; p++) {
        fixture f = {0};
        float fresh[COUNT];
        float again[COUNT];
        pith__stream stream;
        fixture_open(&f, "boot-ckpt", precisions[p], 1);
        uint32_t *ids = new_random_ids(&f, COUNT + 1, 13);
        uint32_t *others = new_random_ids(&f, COUNT + 1, 14);
        pith__stream_init(&stream, &f.model, 1, &pith__allocator_default);
        extend(&stream, ids, 0, KEPT, fresh);
        extend(&stream, ids, KEPT, COUNT, fresh);
        pith__stream_truncate(&stream, 0);
        assert_int_equal(pith__stream_length(&stream), 0);
        extend(&stream, ids, 0, KEPT, again);
        extend(&stream, others, KEPT, KEPT + 100, again);
        extend(&stream, others, KEPT + 100, KEPT + 120, again);
        pith__stream_truncate(&stream, KEPT + 500); /* more than there is */
        assert_int_equal(pith__stream_length(&stream), KEPT + 120);
        pith__stream_truncate(&stream, KEPT);
        assert_int_equal(pith__stream_length(&stream), KEPT);
        extend(&stream, ids, KEPT, COUNT, again);
        assert_memory_equal(fresh, again, sizeof fresh);
        assert_int_equal(stream.forwarded, COUNT + KEPT + 120 + (COUNT - KEPT));
        pith__stream_deinit(&stream);
        free(others);
        free(ids);
        fixture_close(&f);
    }
}

/* After a removal, new tokens see the rest of the cache, and their positions go on from its length. */
static void removal_is_a_cache_without_the_tokens(void **state)
{
    (void)state;
    enum { COUNT = 120, START = 30, END = 75, MORE = 40 };
    fixture f = {0};
    float nats[COUNT + MORE];
    float expected[MORE];
    pith_error err = {0};
    pith__stream stream;
    pith__kv kv;
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    uint32_t *ids = new_random_ids(&f, COUNT + MORE + 1, 15);
    pith__stream_init(&stream, &f.model, 1, &pith__allocator_default);
    extend(&stream, ids, 0, COUNT, nats);
    pith__kv_init(&kv, &f.model, &pith__allocator_default);
    assert_ok(pith__kv_reserve(&kv, COUNT, &err), err);
    for (size_t layer = 0; layer < kv.layers; layer++) {
        for (size_t t = 0; t < COUNT - (END - START); t++) {
            const size_t from = t < START ? t : t + (END - START);
            memcpy(pith__kv_keys(&kv, layer) + t * kv.width,
                   pith__kv_keys(&stream.kv, layer) + from * kv.width, kv.width * sizeof(float));
            memcpy(pith__kv_values(&kv, layer) + t * kv.width,
                   pith__kv_values(&stream.kv, layer) + from * kv.width, kv.width * sizeof(float));
        }
    }
    kv.length = COUNT - (END - START);
    const pith__sequence sequence = {
        .ids = ids + COUNT, .count = MORE, .position = kv.length, .kv = &kv};
    const pith__forward_outputs outputs = {.targets = ids + COUNT + 1, .nll = expected};
    assert_ok(pith__model_forward(&f.model, &f.ctx, &sequence, 1, &outputs, &err), err);
    pith__stream_remove(&stream, END, START);
    pith__stream_remove(&stream, COUNT, COUNT + 5);
    assert_int_equal(pith__stream_length(&stream), COUNT);
    pith__stream_remove(&stream, START, END);
    assert_int_equal(pith__stream_length(&stream), COUNT - (END - START));
    extend(&stream, ids, COUNT, COUNT + MORE, nats);
    assert_memory_equal(nats + COUNT, expected, sizeof expected);
    /* at the end it is a truncation */
    pith__stream_remove(&stream, START, SIZE_MAX);
    assert_int_equal(pith__stream_length(&stream), START);
    float fresh[COUNT + MORE];
    extend(&stream, ids, START, COUNT, nats);
    pith__stream_truncate(&stream, 0);
    extend(&stream, ids, 0, START, fresh);
    extend(&stream, ids, START, COUNT, fresh);
    assert_memory_equal(nats + START, fresh + START, (COUNT - START) * sizeof *nats);
    pith__kv_deinit(&kv);
    pith__stream_deinit(&stream);
    free(ids);
    fixture_close(&f);
}

static void a_refused_step_changes_nothing(void **state)
{
    (void)state;
    fixture f = {0};
    pith_error err = {0};
    pith__stream stream;
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    f.model.config.context = 100;
    const size_t context = f.model.config.context;
    uint32_t *ids = new_random_ids(&f, context + 1, 16);
    float *expected = calloc(context, sizeof *expected);
    float *nats = calloc(context, sizeof *nats);
    assert_true(expected != NULL && nats != NULL);
    pith__stream_init(&stream, &f.model, 1, &pith__allocator_default);
    extend(&stream, ids, 0, context - 10, expected);
    extend(&stream, ids, context - 10, context, expected);
    pith__stream_truncate(&stream, 0);
    assert_status(pith__stream_extend(&stream, ids, ids + 1, context + 1, nats, &err),
                  PITH_E_CONTEXT);
    assert_int_equal(pith__stream_length(&stream), 0);
    extend(&stream, ids, 0, context - 10, nats);
    const size_t forwarded = stream.forwarded;
    assert_status(pith__stream_extend(&stream, ids, ids + 1, 11, nats + context - 10, &err),
                  PITH_E_CONTEXT);
    assert_int_equal(err.status, PITH_E_CONTEXT);
    const uint32_t bad = f.model.config.vocabulary;
    assert_status(pith__stream_extend(&stream, &bad, ids, 1, nats + context - 10, &err),
                  PITH_E_ARGUMENT);
    assert_status(pith__stream_extend(&stream, ids, &bad, 1, nats + context - 10, &err),
                  PITH_E_ARGUMENT);
    assert_int_equal(pith__stream_length(&stream), context - 10);
    assert_int_equal(stream.forwarded, forwarded);
    extend(&stream, ids, context - 10, context, nats);
    assert_memory_equal(nats, expected, context * sizeof *nats);
    assert_ok(pith__stream_extend(&stream, ids, ids, 0, nats, &err), err); /* nothing still fits */
    pith__stream_deinit(&stream);
    free(nats);
    free(expected);
    free(ids);
    fixture_close(&f);
}

static void only_asked_targets_have_numbers(void **state)
{
    (void)state;
    enum { COUNT = 50 };
    fixture f = {0};
    float all[COUNT];
    float some[COUNT];
    uint32_t targets[COUNT];
    pith_error err = {0};
    pith__stream stream;
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    uint32_t *ids = new_random_ids(&f, COUNT + 1, 17);
    pith__stream_init(&stream, &f.model, 1, &pith__allocator_default);
    extend(&stream, ids, 0, COUNT, all);
    pith__stream_truncate(&stream, 0);
    for (size_t i = 0; i < COUNT; i++) {
        targets[i] = i >= 20 && i % 2 == 0 ? ids[i + 1] : PITH__NO_TARGET;
    }
    assert_ok(pith__stream_extend(&stream, ids, targets, COUNT, some, &err), err);
    for (size_t i = 0; i < COUNT; i++) {
        if (targets[i] == PITH__NO_TARGET) {
            assert_true(isnan(some[i]));
        } else {
            assert_near(some[i], (double)all[i], i);
        }
    }
    pith__stream_deinit(&stream);
    free(ids);
    fixture_close(&f);
}

/* ---- allocation failures ----------------------------------------------------------------- */

/* Several threads take memory at once; the counting allocator of test.h is made for one. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *locked_realloc(void *user, void *ptr, size_t old_size, size_t new_size)
{
    const pith_allocator *mem = user;
    (void)pthread_mutex_lock(&lock);
    void *moved = mem->realloc(mem->user, ptr, old_size, new_size);
    (void)pthread_mutex_unlock(&lock);
    return moved;
}

static pith_status score_with(const pith_allocator *mem, void *user)
{
    fixture *f = user;
    enum { COUNT = 1300 }; /* some passes */
    static uint32_t ids[COUNT];
    static float nats[COUNT];
    pith__arena arena;
    pith_error err = {0};
    pith_allocator counting = *mem;
    const pith_allocator locked = {&counting, locked_realloc};
    pith__arena_init(&arena, &locked);
    const pith__tensor_ctx ctx = {f->ctx.threads, &arena};
    for (uint32_t i = 0; i < COUNT; i++) {
        ids[i] = i % f->model.config.vocabulary;
    }
    const pith__score_range ranges[] = {{0, 900}, {900, 10}, {910, COUNT - 910}};
    const pith__score_options options = {.bos = 1, .window = 64, .overlap = 4};
    const pith__score_input input = {ids, COUNT, ranges, 3};
    const pith_status status = pith__score_run(&f->model, &ctx, &options, &input, nats, NULL, &err);
    assert_int_equal(status, err.status);
    assert_int_equal(arena.used_total, 0);
    pith__arena_deinit(&arena);
    return status;
}

/* Two steps and what lies between them; a step that fails must leave the stream as it was. */
static pith_status stream_with(const pith_allocator *mem, void *user)
{
    const fixture *f = user;
    enum { COUNT = 90, MORE = 80 };
    uint32_t ids[COUNT + MORE];
    float nats[COUNT + MORE];
    pith_error err = {0};
    pith__stream stream;
    for (uint32_t i = 0; i < COUNT + MORE; i++) {
        ids[i] = i;
    }
    pith__stream_init(&stream, &f->model, 1, mem);
    pith_status status = pith__stream_extend(&stream, ids, ids, COUNT, nats, &err);
    assert_int_equal(pith__stream_length(&stream), status == PITH_OK ? COUNT : 0);
    if (status == PITH_OK) {
        pith__stream_remove(&stream, 10, 20);
        status = pith__stream_extend(&stream, ids + COUNT, ids, MORE, nats, &err);
        assert_int_equal(pith__stream_length(&stream),
                         status == PITH_OK ? COUNT - 10 + MORE : COUNT - 10);
    }
    assert_int_equal(status, err.status);
    assert_int_equal(stream.scratch.used_total, 0);
    pith__stream_deinit(&stream);
    return status;
}

static void every_allocation_of_a_stream_may_fail(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_INT8, 1);
    test_sweep(stream_with, &f);
    fixture_close(&f);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_INT8, 1);
    for (unsigned threads = 1; threads <= 3; threads += 2) {
        f.ctx.threads = threads;
        test_sweep(score_with, &f);
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentences_are_scored_alone),
        cmocka_unit_test(texts_of_the_checkpoint_agree),
        cmocka_unit_test(one_window_is_one_pass),
        cmocka_unit_test(every_token_is_scored_in_its_window),
        cmocka_unit_test(the_window_matters),
        cmocka_unit_test(a_batch_gives_what_one_by_one_gives),
        cmocka_unit_test(nothing_is_asked_and_nothing_is_done),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(progress_moves_on_and_can_stop),
        cmocka_unit_test(several_threads_can_be_stopped),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(a_damaged_model_gives_no_scores),
        cmocka_unit_test(pieces_give_what_one_pass_gives),
        cmocka_unit_test(truncation_leaves_no_trace),
        cmocka_unit_test(removal_is_a_cache_without_the_tokens),
        cmocka_unit_test(a_refused_step_changes_nothing),
        cmocka_unit_test(only_asked_targets_have_numbers),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_allocation_of_a_stream_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
