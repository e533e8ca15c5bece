/*
 * test_run.c: training from scratch: that it learns, that nothing but what should changes the
 * result, stopping and going on, what is written, what is refused.
 */
#include "run_fixture.h"

static const pith_allocator *const mem = &pith__allocator_default;

static int make_folder(void **state)
{
    folder *f = malloc(sizeof *f);
    assert_non_null(f);
    *state = f;
    run_folder(f);
    return 0;
}

static int clean_folder(void **state)
{
    run_clean(*state);
    return 0;
}

static int remove_folder(void **state)
{
    folder_remove(*state);
    free(*state);
    return 0;
}

static void train_ok(const pith__base_settings *s, run_events *events)
{
    pith_error err = {0};
    if (events != NULL) {
        *events = (run_events){.stops = false};
    }
    assert_ok(run_train(*s, events, &err), err);
}

/* ---- learning ------------------------------------------------------------------------------- */

/*
 * Nats per token of the best model that does not look back, on the held-out tokens of a text:
 * their own distribution.
 */
static double unigram_entropy(const folder *f, const char *text)
{
    pith_error err = {0};
    pith__source source;
    run_file vocabulary;
    pith__tokenizer *tokenizer = NULL;
    static size_t counts[RUN_VOCABULARY];
    size_t total = 0;
    memset(counts, 0, sizeof counts);
    run_open(f, "vocabulary.gguf", &vocabulary);
    assert_ok(pith__tokenizer_from_gguf(&vocabulary.gguf, mem, &tokenizer, &err), err);
    assert_ok(pith__source_open(folder_path(f, text), 1.0, 8, mem, &source, &err), err);
    for (size_t d = 0; d < source.n_held_out; d++) {
        pith__tokens tokens = {0};
        const pith__document *document = &source.held_out[d];
        assert_ok(
            pith__tokenizer_encode(tokenizer, (const char *)source.file.data + document->start,
                                   document->end - document->start, false, mem, &tokens, &err),
            err);
        for (size_t i = 0; i < tokens.count; i++) {
            counts[tokens.items[i].id]++;
        }
        counts[pith__tokenizer_eos(tokenizer)]++;
        total += tokens.count + 1;
        pith__tokens_deinit(&tokens, mem);
    }
    double entropy = 0.0;
    for (size_t i = 0; i < RUN_VOCABULARY; i++) {
        const double share = (double)counts[i] / (double)total;
        entropy -= counts[i] == 0 ? 0.0 : share * log(share);
    }
    pith__source_close(&source);
    pith__tokenizer_free(tokenizer);
    run_close(&vocabulary);
    return entropy;
}

/* Held out: less than half of what any model needs that does not look back. */
static void what_follows_what_is_learned(void **state)
{
    const folder *f = *state;
    static run_events e;
    run_paths paths;
    for (int kind = PITH__OPTIMIZER_ADAMW; kind <= PITH__OPTIMIZER_MUON; kind++) {
        const uint64_t steps = kind == PITH__OPTIMIZER_MUON ? 80 : 200;
        pith__base_settings s = run_base(f, steps, "learned.gguf", NULL, &paths);
        s.run.length = 128;
        s.run.optimizer = run_optimizer((pith__optimizer_kind)kind);
        train_ok(&s, &e);
        const double unigram = unigram_entropy(f, "animals.txt");
        const double first = e.all[1].loss;
        const pith__train_event last = run_last(&e, PITH__TRAIN_EVALUATION, "all");
        const pith__evaluation judged = run_judge(f, "learned.gguf", "animals.txt");
        print_message("kind %d: first loss %.4f, held out %.4f, unigram %.4f nats per token\n",
                      kind, first, last.loss, unigram);
        /* a random model knows nothing */
        assert_int_equal(e.all[1].kind, PITH__TRAIN_STEP);
        assert_true(fabs(first - log(RUN_VOCABULARY)) < 0.5);
        assert_true(last.loss < 0.5 * unigram);
        /* documents that fit into a sample are read as a finished model is judged */
        assert_true(fabs(judged.nats / (double)judged.tokens - last.loss) < 1e-4 * last.loss);
        assert_true(fabs(judged.nats / log(2.0) / (double)judged.bytes - last.bits_per_byte) <
                    1e-4 * last.bits_per_byte);
    }
}

/* ---- the same bytes --------------------------------------------------------------------------- */

static void threads_change_nothing(void **state)
{
    const folder *f = *state;
    run_paths paths;
    for (unsigned threads = 1; threads <= 3; threads++) {
        pith__base_settings s =
            run_base(f, 6, threads == 1 ? "one.gguf" : "other.gguf", NULL, &paths);
        s.run.optimizer = run_optimizer(PITH__OPTIMIZER_MUON);
        s.run.lanes = 4;
        s.run.threads = threads;
        train_ok(&s, NULL);
        assert_true(threads == 1 || folder_same(f, "one.gguf", "other.gguf"));
    }
}

/* Sums in another order: after three updates, equal to rounding. */
#define ROUNDING 1e-5

static void lanes_and_packing_change_roundings(void **state)
{
    const folder *f = *state;
    static const struct {
        size_t lanes, micro_batch;
        bool recompute;
        bool same_bytes;
    } cases[] = {
        {1, 1, true, true},         {4, 1, false, false},        {2, 1, false, false},
        {1, 2, false, false},       {1, 4, true, false},         {2, SIZE_MAX, false, false},
        {1, SIZE_MAX, true, false}, {SIZE_MAX, 3, false, false},
    };
    run_paths paths;
    pith__base_settings s = run_base(f, 3, "one.gguf", NULL, &paths);
    s.run.lanes = 1;
    train_ok(&s, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        s = run_base(f, 3, "other.gguf", NULL, &paths);
        s.run.lanes = cases[i].lanes;
        s.run.micro_batch = cases[i].micro_batch;
        s.run.recompute = cases[i].recompute;
        train_ok(&s, NULL);
        const double difference = run_difference(f, "one.gguf", "other.gguf");
        print_message("lanes %zu, micro-batch %zu: %.2g\n", cases[i].lanes, cases[i].micro_batch,
                      difference);
        assert_true(difference < ROUNDING);
        assert_true(!cases[i].same_bytes || folder_same(f, "one.gguf", "other.gguf"));
    }
    /* more lanes than samples are as many as samples */
    folder_copy(f, "other.gguf", "many.gguf");
    s = run_base(f, 3, "other.gguf", NULL, &paths);
    s.run.lanes = s.run.batch;
    train_ok(&s, NULL);
    assert_true(folder_same(f, "many.gguf", "other.gguf"));
}

/* What is not rounding is seen: the seed, and one sample more. */
static void other_settings_are_other_weights(void **state)
{
    const folder *f = *state;
    run_paths paths;
    pith__base_settings s = run_base(f, 3, "one.gguf", NULL, &paths);
    train_ok(&s, NULL);
    s = run_base(f, 3, "other.gguf", NULL, &paths);
    s.run.batch = 5;
    train_ok(&s, NULL);
    assert_true(run_difference(f, "one.gguf", "other.gguf") > 100 * ROUNDING);
    s = run_base(f, 3, "other.gguf", NULL, &paths);
    s.run.seed++;
    train_ok(&s, NULL);
    assert_true(run_difference(f, "one.gguf", "other.gguf") > 100 * ROUNDING);
}

/* ---- stopping and going on ---------------------------------------------------------------------- */

/* Two sources, everything that has a place in the data, all kinds of events. */
static pith__base_settings long_run(const folder *f, const char *output, const char *checkpoint,
                                    pith__optimizer_kind kind, run_paths *paths)
{
    pith__base_settings s = run_base(f, 20, output, checkpoint, paths);
    s.n_sources = 2;
    s.run.optimizer = run_optimizer(kind);
    s.run.checkpoint_every = 5;
    s.run.evaluate_every = 8;
    s.run.evaluate_bytes = 500;
    return s;
}

static void a_run_that_was_stopped_gives_the_same_bytes(void **state)
{
    const folder *f = *state;
    static const struct {
        pith__train_event_kind kind;
        uint64_t step;
        uint64_t saved; /* the step of the checkpoint; 0: there is none */
    } stops[] = {
        {PITH__TRAIN_START, 0, 0},        {PITH__TRAIN_STEP, 1, 1},
        {PITH__TRAIN_STEP, 10, 10},       {PITH__TRAIN_EVALUATION, 8, 8},
        {PITH__TRAIN_CHECKPOINT, 5, 5},   {PITH__TRAIN_STEP, 20, 20},
        {PITH__TRAIN_CHECKPOINT, 20, 20}, {PITH__TRAIN_END, 20, 20},
    };
    static run_events e;
    run_paths paths;
    for (int kind = PITH__OPTIMIZER_ADAMW; kind <= PITH__OPTIMIZER_MUON; kind++) {
        pith__base_settings s =
            long_run(f, "straight.gguf", NULL, (pith__optimizer_kind)kind, &paths);
        train_ok(&s, &e);
        const double loss = run_last(&e, PITH__TRAIN_END, NULL).smooth_loss;
        const uint64_t tokens = run_last(&e, PITH__TRAIN_END, NULL).tokens;
        for (size_t i = 0; i < sizeof stops / sizeof stops[0]; i++) {
            pith_error err = {0};
            s = long_run(f, "stopped.gguf", "run", (pith__optimizer_kind)kind, &paths);
            e = (run_events){.stops = true, .stop_kind = stops[i].kind, .stop_step = stops[i].step};
            assert_status(run_train(s, &e, &err), PITH_E_CANCELLED);
            assert_false(folder_has(f, "stopped.gguf"));
            assert_int_equal(folder_has(f, "run"), stops[i].saved != 0);
            train_ok(&s, &e);
            assert_int_equal(e.all[0].kind, PITH__TRAIN_START);
            assert_int_equal(e.all[0].step, stops[i].saved);
            assert_true(folder_same(f, "straight.gguf", "stopped.gguf"));
            assert_true(run_last(&e, PITH__TRAIN_END, NULL).smooth_loss == loss);
            assert_int_equal(run_last(&e, PITH__TRAIN_END, NULL).tokens, tokens);
            assert_int_equal(unlink(folder_path(f, "run")), 0);
            assert_int_equal(unlink(folder_path(f, "stopped.gguf")), 0);
        }
    }
}

/* Keeps the checkpoint of step 5: what a crash after it leaves behind. */
static bool keep_checkpoint(void *user, const pith__train_event *event)
{
    const folder *f = user;
    if (event->kind == PITH__TRAIN_CHECKPOINT && event->step == 5) {
        (void)rename(folder_path(f, "run"), folder_path(f, "kept"));
    }
    return true;
}

static void a_run_that_crashed_gives_the_same_bytes(void **state)
{
    const folder *f = *state;
    run_paths paths;
    pith_error err = {0};
    pith__base_settings s = long_run(f, "straight.gguf", "run", PITH__OPTIMIZER_MUON, &paths);
    s.run.event = keep_checkpoint;
    s.run.event_user = (void *)(uintptr_t)f;
    assert_ok(run_train(s, NULL, &err), err);
    s = long_run(f, "crashed.gguf", "kept", PITH__OPTIMIZER_MUON, &paths);
    s.run.threads = 1; /* another machine */
    train_ok(&s, NULL);
    assert_true(folder_same(f, "straight.gguf", "crashed.gguf"));
    /* only the times differ, so that a finished run can be repeated from its last checkpoint */
    s = long_run(f, "again.gguf", "run", PITH__OPTIMIZER_MUON, &paths);
    static run_events e;
    train_ok(&s, &e);
    assert_int_equal(e.of[PITH__TRAIN_STEP], 0);
    assert_true(folder_same(f, "straight.gguf", "again.gguf"));
    /* unless nobody wants to go on */
    s.run.resume = false;
    train_ok(&s, &e);
    assert_int_equal(e.of[PITH__TRAIN_STEP], 20);
    assert_true(folder_same(f, "straight.gguf", "again.gguf"));
}

/* Fewer steps than are done: nothing to do, and nothing wrong with it. */
static void a_run_may_go_on_with_other_numbers(void **state)
{
    const folder *f = *state;
    static run_events e;
    run_paths paths;
    pith__base_settings s = run_base(f, 6, "one.gguf", "run", &paths);
    train_ok(&s, NULL);
    s = run_base(f, 4, "other.gguf", "run", &paths);
    train_ok(&s, &e);
    assert_int_equal(e.of[PITH__TRAIN_STEP], 0);
    assert_true(e.all[0].seconds_left == 0.0);
    assert_true(folder_same(f, "one.gguf", "other.gguf"));
    s = run_base(f, 9, "other.gguf", "run", &paths);
    s.run.batch = 7;
    s.run.lanes = 3;
    s.run.length = 16;
    s.run.schedule.kind = PITH__SCHEDULE_LINEAR;
    s.run.optimizer.rate = 0.001;
    train_ok(&s, &e);
    assert_int_equal(e.of[PITH__TRAIN_STEP], 3);
    assert_int_equal(run_last(&e, PITH__TRAIN_END, NULL).tokens, 6 * 4 * 32 + 3 * 7 * 16);
}

static void other_runs_are_told_apart(void **state)
{
    const folder *f = *state;
    run_paths paths;
    pith_error err = {0};
    size_t size = 0;
    pith__base_settings s = run_base(f, 3, "one.gguf", "run", &paths);
    train_ok(&s, NULL);
    char *before = test_read_file(folder_path(f, "run"), &size);
    enum { SEED, TEXT, HEADS, BASE, HELD_OUT, SOURCES, VOCABULARY, KIND, WIDTH, TIED, CASES };
    for (int i = 0; i < CASES; i++) {
        s = run_base(f, 3, "other.gguf", "run", &paths);
        s.run.seed += i == SEED;
        s.run.held_out_every += i == HELD_OUT;
        s.n_sources += i == SOURCES;
        s.config.ff += i == WIDTH;
        s.tied = i != TIED;
        if (i == TEXT) { /* of the same name and size */
            size_t length = 0;
            char *text = test_read_file(paths.texts[0], &length);
            folder_copy(f, "animals.txt", "animals.old");
            *strstr(text, "fox") = 'b';
            folder_write(f, "animals.txt", text, length);
            free(text);
        } else if (i == HEADS) { /* the same tensors */
            s.config.heads = 2;
            s.config.kv_heads = 1;
            s.config.head_dim = 16;
            s.config.rope_pairs = 8;
        } else if (i == BASE) {
            s.config.rope_base = 500.0f;
        } else if (i == VOCABULARY) {
            run_write_vocabulary(f, "more.txt", "small.gguf", 300);
            (void)snprintf(paths.vocabulary, sizeof paths.vocabulary, "%s/small.gguf", f->path);
        } else if (i == KIND) {
            s.run.optimizer.kind = PITH__OPTIMIZER_MUON;
        }
        const pith_status status = run_train(s, NULL, &err);
        if (status != PITH_E_MISMATCH) {
            fail_msg("case %d: %s: %s", i, pith_status_name(status), err.message);
        }
        if (i == TEXT) {
            assert_int_equal(rename(folder_path(f, "animals.old"), folder_path(f, "animals.txt")),
                             0);
        }
    }
    assert_false(folder_has(f, "other.gguf"));
    size_t again = 0;
    char *after = test_read_file(folder_path(f, "run"), &again);
    assert_int_equal(size, again);
    assert_memory_equal(before, after, size);
    /* damage */
    after[size / 2] = (char)(after[size / 2] ^ 1);
    folder_write(f, "run", after, size);
    s = run_base(f, 3, "other.gguf", "run", &paths);
    assert_status(run_train(s, NULL, &err), PITH_E_CORRUPT);
    free(before);
    free(after);
}

/* ---- events -------------------------------------------------------------------------------------- */

static void events_tell_what_happens(void **state)
{
    const folder *f = *state;
    static run_events e;
    run_paths paths;
    pith__base_settings s = long_run(f, "one.gguf", "run", PITH__OPTIMIZER_ADAMW, &paths);
    s.run.schedule = (pith__schedule){PITH__SCHEDULE_LINEAR, 4, 20, 0};
    train_ok(&s, &e);
    assert_int_equal(e.of[PITH__TRAIN_START], 1);
    assert_int_equal(e.of[PITH__TRAIN_STEP], 20);
    assert_int_equal(e.of[PITH__TRAIN_EVALUATION], 3 * 3); /* steps 8, 16, 20 of three */
    assert_int_equal(e.of[PITH__TRAIN_CHECKPOINT], 4);
    assert_int_equal(e.of[PITH__TRAIN_END], 1);
    double smooth = 0.0;
    uint64_t step = 0;
    for (size_t i = 0; i < e.count; i++) {
        const pith__train_event *one = &e.all[i];
        assert_int_equal(one->steps, 20);
        assert_int_equal(one->tokens, one->step * 4 * 32);
        assert_true(one->seconds >= 0.0 && one->seconds_left >= 0.0);
        if (one->kind == PITH__TRAIN_STEP) {
            assert_int_equal(one->step, ++step);
            assert_true(one->loss > 0.0 && one->norm > 0.0 && one->tokens_per_second > 0.0);
            const double multiplier =
                step <= 4 ? (double)(step - 1) / 4.0 : (double)(21 - step) / 16.0;
            assert_true(fabs(one->multiplier - multiplier) < 1e-12);
            smooth = step == 1 ? one->loss : 0.98 * smooth + 0.02 * one->loss;
        }
        assert_true(fabs(one->smooth_loss - smooth) < 1e-12);
        assert_int_equal(one->step, step);
    }
    /* evaluations: each source, then all of them: before the checkpoint of the same step */
    static const char *const names[] = {"animals", "more", "all"};
    for (size_t i = 0, k = 0; i < e.count; i++) {
        if (e.all[i].kind == PITH__TRAIN_EVALUATION) {
            assert_string_equal(e.sources[i], names[k % 3]);
            const uint64_t steps[] = {8, 16, 20};
            assert_int_equal(e.all[i].step, steps[k++ / 3]);
        }
    }
    assert_int_equal(e.all[e.count - 1].kind, PITH__TRAIN_END);
    assert_int_equal(e.all[e.count - 2].kind, PITH__TRAIN_CHECKPOINT);
    assert_int_equal(e.all[e.count - 3].kind, PITH__TRAIN_EVALUATION);
}

/* BOS, tokens and EOS of a document, cut into pieces of `length` predictions: nats of all. */
static double pieces_by_hand(const pith__model *model, const uint32_t *ids, size_t predictions,
                             size_t length)
{
    pith__arena arena;
    double sum = 0.0;
    pith__arena_init(&arena, mem);
    const pith__tensor_ctx ctx = {1, &arena};
    for (size_t first = 0; first < predictions; first += length) {
        pith_error err = {0};
        float nll[128];
        const size_t count = predictions - first < length ? predictions - first : length;
        const pith__sequence sequence = {.ids = ids + first, .count = count};
        const pith__forward_outputs outputs = {.targets = ids + first + 1, .nll = nll};
        assert_true(count <= 128);
        assert_ok(pith__model_forward(model, &ctx, &sequence, 1, &outputs, &err), err);
        for (size_t i = 0; i < count; i++) {
            sum += (double)nll[i];
        }
    }
    pith__arena_deinit(&arena);
    return sum;
}

/* Nats per token of the held-out documents of a text. */
static double cut_by_hand(const folder *f, const char *name, const char *text, size_t length)
{
    pith_error err = {0};
    pith__source source;
    run_file file;
    pith__tokenizer *tokenizer = NULL;
    pith__model model;
    double nats = 0.0;
    size_t predictions = 0;
    run_open(f, name, &file);
    assert_ok(pith__tokenizer_from_gguf(&file.gguf, mem, &tokenizer, &err), err);
    assert_ok(pith__model_load(&file.gguf, PITH_PRECISION_F32, mem, &model, &err), err);
    assert_ok(pith__source_open(folder_path(f, text), 1.0, 8, mem, &source, &err), err);
    for (size_t d = 0; d < source.n_held_out; d++) {
        uint32_t ids[512] = {pith__tokenizer_bos(tokenizer)};
        pith__tokens tokens = {0};
        const pith__document *document = &source.held_out[d];
        assert_ok(
            pith__tokenizer_encode(tokenizer, (const char *)source.file.data + document->start,
                                   document->end - document->start, false, mem, &tokens, &err),
            err);
        assert_true(tokens.count + 2 <= 512);
        for (size_t i = 0; i < tokens.count; i++) {
            ids[i + 1] = tokens.items[i].id;
        }
        ids[tokens.count + 1] = pith__tokenizer_eos(tokenizer);
        nats += pieces_by_hand(&model, ids, tokens.count + 1, length);
        predictions += tokens.count + 1;
        pith__tokens_deinit(&tokens, mem);
    }
    pith__source_close(&source);
    pith__model_deinit(&model);
    pith__tokenizer_free(tokenizer);
    run_close(&file);
    return nats / (double)predictions;
}

/* The sums of all are those of the sources together; `bytes` says how much is read. */
static void held_out_text_is_what_is_asked_for(void **state)
{
    const folder *f = *state;
    static run_events e;
    run_paths paths;
    pith__base_settings s = run_base(f, 2, "one.gguf", NULL, &paths);
    s.n_sources = 2;
    s.run.length = 128;
    train_ok(&s, &e);
    const pith__evaluation parts[] = {run_judge(f, "one.gguf", "animals.txt"),
                                      run_judge(f, "one.gguf", "more.txt")};
    const double nats = parts[0].nats + parts[1].nats;
    const pith__train_event all = run_last(&e, PITH__TRAIN_EVALUATION, "all");
    const double loss = nats / (double)(parts[0].tokens + parts[1].tokens);
    const double bits = nats / log(2.0) / (double)(parts[0].bytes + parts[1].bytes);
    assert_true(fabs(all.loss - loss) < 1e-5 * loss);
    assert_true(fabs(all.bits_per_byte - bits) < 1e-5 * bits);
    /* of the same model: cut into samples, a document has less to look back at */
    char from[160];
    (void)snprintf(from, sizeof from, "%s/one.gguf", f->path);
    s = run_base(f, 1, "other.gguf", NULL, &paths);
    s.n_sources = 2;
    s.start = from;
    s.run.optimizer.rate = 0.0;
    s.run.length = 16;
    train_ok(&s, &e);
    const double cut = run_last(&e, PITH__TRAIN_EVALUATION, "all").loss;
    assert_true(fabs(cut - loss) > 1e-4 * loss);
    const double one = run_last(&e, PITH__TRAIN_EVALUATION, "animals").loss;
    assert_true(fabs(one - cut_by_hand(f, "one.gguf", "animals.txt", 16)) < 1e-5 * one);
    /* a little is at least a document */
    s.run.evaluate_bytes = 1;
    train_ok(&s, &e);
    assert_int_equal(e.of[PITH__TRAIN_EVALUATION], 3);
    assert_true(run_last(&e, PITH__TRAIN_EVALUATION, "all").loss != cut);
    /* nothing held out: nothing to report */
    s.run.held_out_every = 0;
    train_ok(&s, &e);
    assert_int_equal(e.of[PITH__TRAIN_EVALUATION], 0);
}

/* ---- results --------------------------------------------------------------------------------------- */

static void every_type_can_be_loaded(void **state)
{
    const folder *f = *state;
    static const struct {
        const char *name;
        pith__weight_type type;
        pith__gguf_type stored;
        size_t tensors;
        double tolerance; /* of the loss */
    } types[] = {
        {"f32.gguf", PITH__WEIGHT_F32, PITH__GGUF_TYPE_F32, 2 + 2 * 9, 1e-6},
        {"f16.gguf", PITH__WEIGHT_F16, PITH__GGUF_TYPE_F16, 2 + 2 * 9, 1e-3},
        {"int8.gguf", PITH__WEIGHT_INT8, PITH__GGUF_TYPE_I8, 2 + 2 * 9 + 1 + 2 * 7, 1e-2},
    };
    static run_events e;
    run_paths paths;
    char from[160];
    (void)snprintf(from, sizeof from, "%s/learned.gguf", f->path);
    pith__base_settings s = run_base(f, 80, "learned.gguf", NULL, &paths);
    s.run.optimizer = run_optimizer(PITH__OPTIMIZER_MUON);
    s.run.length = 128;
    train_ok(&s, NULL);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        s = run_base(f, 1, types[i].name, NULL, &paths); /* the same weights, stored otherwise */
        s.start = from;
        s.run.length = 128;
        s.run.optimizer.rate = 0.0;
        s.type = types[i].type;
        train_ok(&s, &e);
        const double wanted = run_last(&e, PITH__TRAIN_EVALUATION, "all").loss;
        const pith__evaluation judged = run_judge(f, types[i].name, "animals.txt");
        const double loss = judged.nats / (double)judged.tokens;
        print_message("%s: %.6f nats per token, in training %.6f\n", types[i].name, loss, wanted);
        assert_true(fabs(loss - wanted) < types[i].tolerance * wanted);
        run_file file;
        run_open(f, types[i].name, &file);
        assert_int_equal(file.gguf.n_tensors, types[i].tensors);
        const char *const matrices[] = {"token_embd.weight", "blk.1.ffn_down.weight"};
        for (size_t k = 0; k < 2; k++) {
            const pith__gguf_tensor *tensor = pith__gguf_find_tensor(&file.gguf, matrices[k]);
            assert_non_null(tensor);
            assert_int_equal(tensor->type, types[i].stored);
        }
        const pith__gguf_tensor *norm =
            pith__gguf_find_tensor(&file.gguf, "blk.0.attn_norm.weight");
        assert_non_null(norm);
        assert_int_equal(norm->type, PITH__GGUF_TYPE_F32);
        for (int precision = PITH_PRECISION_F32; precision <= PITH_PRECISION_INT8; precision++) {
            pith__model model;
            pith_error err = {0};
            assert_ok(pith__model_load(&file.gguf, (pith_precision)precision, mem, &model, &err),
                      err);
            assert_int_equal(model.config.context, 128);
            assert_int_equal(model.config.kv_heads, 2);
            pith__model_deinit(&model);
        }
        run_close(&file);
    }
}

static void a_model_can_be_the_start_of_another(void **state)
{
    const folder *f = *state;
    run_paths paths;
    char from[160];
    (void)snprintf(from, sizeof from, "%s/first.gguf", f->path);
    pith__base_settings s = run_base(f, 4, "first.gguf", NULL, &paths);
    train_ok(&s, NULL);
    /* at rate 0, what comes out is what went in */
    s = run_base(f, 2, "second.gguf", NULL, &paths);
    s.start = from;
    s.run.seed = 1234;
    s.run.optimizer.rate = 0.0;
    train_ok(&s, NULL);
    assert_true(run_difference(f, "first.gguf", "second.gguf") == 0.0);
    /* an output matrix of its own begins as the embedding */
    s.tied = false;
    train_ok(&s, NULL);
    run_file files[2];
    run_open(f, "first.gguf", &files[0]);
    run_open(f, "second.gguf", &files[1]);
    const pith__gguf_tensor *embedding =
        pith__gguf_find_tensor(&files[0].gguf, "token_embd.weight");
    const pith__gguf_tensor *head = pith__gguf_find_tensor(&files[1].gguf, "output.weight");
    assert_non_null(embedding);
    assert_non_null(head);
    assert_int_equal(head->size, embedding->size);
    assert_memory_equal(head->data, embedding->data, embedding->size);
    run_close(&files[0]);
    run_close(&files[1]);
}

static void a_start_of_another_shape_is_refused(void **state)
{
    const folder *f = *state;
    run_paths paths;
    pith_error err = {0};
    char from[160];
    (void)snprintf(from, sizeof from, "%s/first.gguf", f->path);
    pith__base_settings s = run_base(f, 1, "first.gguf", NULL, &paths);
    train_ok(&s, NULL);
    const pith__model_config *c = &s.config;
    pith__model_config shapes[6];
    for (size_t i = 0; i < 6; i++) {
        shapes[i] = *c;
    }
    shapes[0].layers = 1;
    shapes[1].layers = 3; /* of which the third would stay 0 */
    shapes[2].width = 40;
    shapes[3].ff = 96;
    shapes[4].heads = 2; /* the same tensors */
    shapes[4].kv_heads = 1;
    shapes[4].head_dim = 16;
    shapes[4].rope_pairs = 8;
    shapes[5].rope_pairs = 2;
    for (size_t i = 0; i < 6; i++) {
        s = run_base(f, 1, "second.gguf", NULL, &paths);
        s.start = from;
        s.config = shapes[i];
        assert_status(run_train(s, NULL, &err), PITH_E_MISMATCH);
    }
    s = run_base(f, 1, "second.gguf", NULL, &paths);
    s.start = from;
    run_write_vocabulary(f, "more.txt", "small.gguf", 300);
    (void)snprintf(paths.vocabulary, sizeof paths.vocabulary, "%s/small.gguf", f->path);
    assert_status(run_train(s, NULL, &err), PITH_E_MISMATCH);
    assert_non_null(strstr(err.message, "300"));
    s.start = paths.texts[0];
    assert_status(run_train(s, NULL, &err), PITH_E_CORRUPT);
    s.start = paths.vocabulary; /* a vocabulary, no model */
    assert_true(run_train(s, NULL, &err) != PITH_OK);
    assert_false(folder_has(f, "second.gguf"));
}

/* ---- what goes wrong ---------------------------------------------------------------------------------- */

static void settings_that_make_no_sense(void **state)
{
    const folder *f = *state;
    run_paths paths;
    pith_error err = {0};
    enum {
        STEPS,
        BATCH,
        LANES,
        LENGTH,
        MICRO,
        CONTEXT,
        SOURCES,
        WEIGHT,
        KV_HEADS,
        HEADS,
        LAYERS,
        WIDTH,
        FF,
        PAIRS,
        LARGE,
        SHORT,
        EPS,
        ROPE,
        BETA,
        RATE,
        VOCABULARY,
        CASES
    };
    for (int i = 0; i < CASES; i++) {
        pith__base_settings s = run_base(f, 2, "none.gguf", "run", &paths);
        pith__model_config *c = &s.config;
        s.run.steps -= i == STEPS ? 2 : 0;
        s.run.batch = i == BATCH ? 0 : s.run.batch;
        s.run.lanes = i == LANES ? 0 : s.run.lanes;
        s.run.length = i == LENGTH ? 0 : i == CONTEXT ? 129 : s.run.length;
        s.run.micro_batch = i == MICRO ? 0 : s.run.micro_batch;
        s.n_sources = i == SOURCES ? 0 : s.n_sources;
        paths.sources[0].weight = i == WEIGHT ? 0.0 : 1.0;
        c->kv_heads = i == KV_HEADS ? 3 : c->kv_heads; /* of 4 heads */
        c->heads = i == HEADS ? 0 : c->heads;
        c->layers = i == LAYERS ? 0 : i == LARGE ? 5000 : c->layers;
        c->width = i == WIDTH ? 0 : c->width;
        c->ff = i == FF ? UINT32_MAX : c->ff;
        c->rope_pairs = i == PAIRS ? UINT32_MAX / 2 + 2 : c->rope_pairs;
        c->context = i == SHORT ? 1 : c->context;
        c->norm_eps = i == EPS ? NAN : c->norm_eps;
        c->rope_base = i == ROPE ? 0.0f : c->rope_base;
        s.run.optimizer.beta1 = i == BETA ? 1.0 : s.run.optimizer.beta1;
        s.run.optimizer.rate = i == RATE ? -1.0 : s.run.optimizer.rate;
        s.tokenizer = i == VOCABULARY ? NULL : s.tokenizer;
        const pith_status status = run_train(s, NULL, &err);
        if (status != PITH_E_ARGUMENT) {
            fail_msg("case %d: %s: %s", i, pith_status_name(status), err.message);
        }
    }
    assert_false(folder_has(f, "none.gguf"));
    assert_false(folder_has(f, "run"));
}

static void files_that_are_not_there(void **state)
{
    const folder *f = *state;
    run_paths paths;
    pith_error err = {0};
    const size_t files = folder_count(f);
    pith__base_settings s = run_base(f, 2, "none.gguf", NULL, &paths);
    s.tokenizer = "/tmp/pith-no-such-file";
    assert_status(run_train(s, NULL, &err), PITH_E_IO);
    assert_non_null(strstr(err.message, "pith-no-such-file"));
    s.tokenizer = paths.texts[0];
    assert_status(run_train(s, NULL, &err), PITH_E_CORRUPT);
    s = run_base(f, 2, "none.gguf", NULL, &paths);
    s.n_sources = 2;
    paths.sources[1].path = "/tmp/pith-no-such-file";
    assert_status(run_train(s, NULL, &err), PITH_E_IO);
    s = run_base(f, 2, "none.gguf", NULL, &paths);
    s.start = "/tmp/pith-no-such-file";
    assert_status(run_train(s, NULL, &err), PITH_E_IO);
    /* folders that are not there: a checkpoint is missed when it is due, a result at the end */
    s = run_base(f, 2, "no-such-folder/none.gguf", NULL, &paths);
    assert_status(run_train(s, NULL, &err), PITH_E_IO);
    s = run_base(f, 2, "none.gguf", "no-such-folder/run", &paths);
    assert_status(run_train(s, NULL, &err), PITH_E_IO);
    /* nor when a run is stopped: there is nothing to go on from, and that is what is told */
    static run_events e;
    e = (run_events){.stops = true, .stop_kind = PITH__TRAIN_STEP, .stop_step = 1};
    assert_status(run_train(s, &e, &err), PITH_E_IO);
    assert_non_null(strstr(err.message, "no-such-folder"));
    assert_int_equal(folder_count(f), files);
}

static void a_loss_that_is_no_number(void **state)
{
    const folder *f = *state;
    static run_events e;
    run_paths paths;
    pith_error err = {0};
    const size_t files = folder_count(f);
    static const struct {
        double rate;
        uint64_t steps;
    } cases[] = {
        {1e30, 5}, /* the next loss is none */
        {1e38, 1}, /* the last update: there is no next loss */
        {1e38, 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pith__base_settings s = run_base(f, cases[i].steps, "none.gguf", NULL, &paths);
        s.run.schedule.kind = PITH__SCHEDULE_CONSTANT;
        s.run.optimizer.rate = cases[i].rate;
        s.run.optimizer.decay = 10.0;
        e = (run_events){.stops = false};
        const pith_status status = run_train(s, &e, &err);
        if (status != PITH_E_RANGE) {
            fail_msg("case %zu: %s: %s", i, pith_status_name(status), err.message);
        }
        assert_non_null(strstr(err.message, "learning rate"));
        assert_int_equal(e.of[PITH__TRAIN_END], 0);
    }
    assert_int_equal(folder_count(f), files); /* no result, no checkpoint, nothing half written */
    /* a checkpoint never holds what is no number: the one before stays, and can be gone on from */
    pith__base_settings s = run_base(f, 2, "one.gguf", "run", &paths);
    train_ok(&s, NULL);
    s = run_base(f, 9, "none.gguf", "run", &paths);
    s.run.schedule.kind = PITH__SCHEDULE_CONSTANT;
    s.run.checkpoint_every = 1;
    s.run.optimizer.rate = 1e38;
    s.run.optimizer.decay = 10.0;
    assert_status(run_train(s, NULL, &err), PITH_E_RANGE);
    s = run_base(f, 4, "none.gguf", "run", &paths);
    train_ok(&s, &e);
    assert_int_equal(e.all[0].step, 2);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static pith_status sweep(const pith_allocator *memory, void *user)
{
    const folder *f = user;
    run_paths paths;
    char from[160];
    (void)snprintf(from, sizeof from, "%s/first.gguf", f->path);
    pith__base_settings s = run_base(f, 2, "swept.gguf", "run", &paths);
    s.n_sources = 2;
    s.start = from;
    s.run.threads = 1; /* the allocator of the sweep is one thread's */
    s.run.length = 16;
    s.run.evaluate_bytes = 100;
    s.run.checkpoint_every = 1;
    s.run.optimizer = run_optimizer(PITH__OPTIMIZER_MUON);
    s.type = PITH__WEIGHT_INT8;
    (void)unlink(paths.output);
    (void)unlink(paths.checkpoint);
    return pith__train_base(&s, memory, NULL);
}

static void no_memory(void **state)
{
    folder *f = *state;
    run_paths paths;
    pith__base_settings s = run_base(f, 1, "first.gguf", NULL, &paths);
    train_ok(&s, NULL);
    run_sweep(sweep, f);
    assert_true(folder_has(f, "swept.gguf"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_follows_what_is_learned, clean_folder),
        cmocka_unit_test_teardown(threads_change_nothing, clean_folder),
        cmocka_unit_test_teardown(lanes_and_packing_change_roundings, clean_folder),
        cmocka_unit_test_teardown(other_settings_are_other_weights, clean_folder),
        cmocka_unit_test_teardown(a_run_that_was_stopped_gives_the_same_bytes, clean_folder),
        cmocka_unit_test_teardown(a_run_that_crashed_gives_the_same_bytes, clean_folder),
        cmocka_unit_test_teardown(a_run_may_go_on_with_other_numbers, clean_folder),
        cmocka_unit_test_teardown(other_runs_are_told_apart, clean_folder),
        cmocka_unit_test_teardown(events_tell_what_happens, clean_folder),
        cmocka_unit_test_teardown(held_out_text_is_what_is_asked_for, clean_folder),
        cmocka_unit_test_teardown(every_type_can_be_loaded, clean_folder),
        cmocka_unit_test_teardown(a_model_can_be_the_start_of_another, clean_folder),
        cmocka_unit_test_teardown(a_start_of_another_shape_is_refused, clean_folder),
        cmocka_unit_test_teardown(settings_that_make_no_sense, clean_folder),
        cmocka_unit_test_teardown(files_that_are_not_there, clean_folder),
        cmocka_unit_test_teardown(a_loss_that_is_no_number, clean_folder),
        cmocka_unit_test_teardown(no_memory, clean_folder),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
