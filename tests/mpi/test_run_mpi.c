/*
 * test_run_mpi.c: training in two processes gives what one gives, and what goes wrong in one of
 * them ends both. Run by itself it makes the texts and what one process gives, in the
 * current folder; then, with mpirun, the rest.
 */
#include "run_fixture.h"

static const folder here = {"."};

static int rank_of_process;

static pith__base_settings base_settings(const char *output, const char *checkpoint,
                                         run_paths *paths)
{
    pith__base_settings s = run_base(&here, 8, output, checkpoint, paths);
    s.n_sources = 2;
    s.run.threads = 1;
    s.run.evaluate_every = 4;
    s.run.optimizer = run_optimizer(PITH__OPTIMIZER_MUON);
    return s;
}

static pith__align_settings align_settings(const char *output, const char *adapter)
{
    static const char *const pairs[] = {"pairs.jsonl"};
    pith__align_settings s = {.run = run_settings(8),
                              .pairs = pairs,
                              .n_pairs = 1,
                              .prompt_key = "prompt",
                              .completion_key = "completion",
                              .format = "{prompt} has {completion}.",
                              .model = "base.gguf",
                              .lora = {.rank = 4, .alpha = 8.0, .dropout = 0.2, .matrices = 0x7f},
                              .output = output,
                              .adapter = adapter};
    s.run.threads = 1;
    return s;
}

/* Of the base run, by the lanes of all processes together, and batch. */
static const struct {
    const char *name;
    size_t lanes, batch;
} references[] = {
    {"two.gguf", 2, 4}, {"four.gguf", 4, 8}, {"five.gguf", 2, 5}, {"lone.gguf", 1, 1}};

enum { REFERENCES = sizeof references / sizeof references[0] };

/* ---- one process ----------------------------------------------------------------------------- */

static void make_references(void **state)
{
    (void)state;
    run_paths paths;
    pith_error err = {0};
    run_clean(&here);
    run_write_documents(&here, "animals.txt", 160, 1);
    run_write_documents(&here, "more.txt", 40, 2);
    run_write_vocabulary(&here, "animals.txt", "vocabulary.gguf", RUN_VOCABULARY);
    for (size_t i = 0; i < REFERENCES; i++) {
        pith__base_settings s = base_settings(references[i].name, NULL, &paths);
        s.run.lanes = references[i].lanes;
        s.run.batch = references[i].batch;
        assert_ok(run_train(s, NULL, &err), err);
    }
    folder_copy(&here, "two.gguf", "base.gguf");
    FILE *file = fopen("pairs.jsonl", "wb");
    assert_non_null(file);
    uint64_t seed = 1;
    for (size_t i = 0; i < 80; i++) {
        (void)fprintf(file, "{\"prompt\": \"%s %s\", \"completion\": \"%s\"}\n",
                      run_words[test_random_below(&seed, WORDS)],
                      run_words[test_random_below(&seed, WORDS)], run_words[(5 * i) % WORDS]);
    }
    assert_int_equal(fclose(file), 0);
    static run_events e;
    pith__align_settings s = align_settings("aligned.gguf", "adapter.gguf");
    s.run.event = run_take_event;
    s.run.event_user = &e;
    assert_ok(pith__train_align(&s, &pith__allocator_default, &err), err);
    const double loss = run_last(&e, PITH__TRAIN_EVALUATION, "pairs").loss;
    folder_write(&here, "loss", &loss, sizeof loss);
}

/* ---- two processes ------------------------------------------------------------------------------- */

/* Ranks come to a test together, and find what the ones before have written. */
static int wait_for_all(void **state)
{
    (void)state;
    pith_error err = {0};
    assert_ok(pith__ranks_barrier(&err), err);
    return 0;
}

static void two_are_as_one(void **state)
{
    (void)state;
    static run_events e;
    run_paths paths;
    pith_error err = {0};
    for (size_t i = 0; i < REFERENCES; i++) {
        pith__base_settings s = base_settings("result.gguf", NULL, &paths);
        s.run.lanes = references[i].lanes == 4 ? 2 : 1;
        s.run.batch = references[i].batch;
        e = (run_events){.stops = false};
        assert_ok(run_train(s, &e, &err), err);
        assert_ok(pith__ranks_barrier(&err), err);
        const double difference = run_difference(&here, references[i].name, "result.gguf");
        print_message("%s: %.2g\n", references[i].name, difference);
        /* lanes of two processes and of one are summed alike, unless each process has several */
        assert_true(difference <= (references[i].lanes == 4 ? 1e-5 : 0.0));
        assert_int_equal(run_last(&e, PITH__TRAIN_END, NULL).tokens, 8 * 32 * references[i].batch);
        assert_ok(pith__ranks_barrier(&err), err);
    }
}

/* Each reads its share of the held-out documents: together they have the loss of all. */
static void shares_of_held_out_text_are_summed(void **state)
{
    (void)state;
    static run_events e;
    run_paths paths;
    pith_error err = {0};
    pith__base_settings s = base_settings("result.gguf", NULL, &paths);
    s.run.length = 128;
    s.run.steps = 2;
    e = (run_events){.stops = false};
    assert_ok(run_train(s, &e, &err), err);
    assert_ok(pith__ranks_barrier(&err), err);
    const pith__evaluation judged = run_judge(&here, "result.gguf", "animals.txt");
    const double loss = judged.nats / (double)judged.tokens;
    const double told = run_last(&e, PITH__TRAIN_EVALUATION, "animals").loss;
    assert_true(fabs(told - loss) < 1e-5 * loss);
}

static void one_that_stops_stops_all_and_they_go_on(void **state)
{
    (void)state;
    static run_events e;
    run_paths paths;
    pith_error err = {0};
    for (int stopper = 0; stopper < 2; stopper++) {
        pith__base_settings s = base_settings("result.gguf", "run", &paths);
        s.run.lanes = 1;
        e = (run_events){
            .stops = rank_of_process == stopper, .stop_kind = PITH__TRAIN_STEP, .stop_step = 3};
        assert_status(run_train(s, &e, &err), PITH_E_CANCELLED);
        e = (run_events){.stops = rank_of_process == stopper,
                         .stop_kind = PITH__TRAIN_EVALUATION,
                         .stop_step = 4};
        assert_status(run_train(s, &e, &err), PITH_E_CANCELLED);
        e = (run_events){.stops = false};
        assert_ok(run_train(s, &e, &err), err);
        assert_int_equal(e.all[0].step, 4);
        assert_ok(pith__ranks_barrier(&err), err);
        assert_true(folder_same(&here, "two.gguf", "result.gguf"));
        assert_ok(pith__ranks_barrier(&err), err);
        (void)unlink("run"); /* of the two, the second finds nothing */
    }
}

static void alignment_is_shared_too(void **state)
{
    (void)state;
    static run_events e;
    pith_error err = {0};
    pith__align_settings s = align_settings("result.gguf", "factors.gguf");
    s.run.lanes = 1;
    s.run.event = run_take_event;
    s.run.event_user = &e;
    e = (run_events){.stops = false};
    assert_ok(pith__train_align(&s, &pith__allocator_default, &err), err);
    assert_ok(pith__ranks_barrier(&err), err);
    assert_true(run_difference(&here, "adapter.gguf", "factors.gguf") == 0.0);
    assert_true(run_difference(&here, "aligned.gguf", "result.gguf") == 0.0);
    double loss = 0.0;
    FILE *file = fopen("loss", "rb");
    assert_non_null(file);
    assert_int_equal(fread(&loss, sizeof loss, 1, file), 1);
    (void)fclose(file);
    /* shares of the held-out pairs, too */
    assert_true(fabs(run_last(&e, PITH__TRAIN_EVALUATION, "pairs").loss - loss) < 1e-9 * loss);
}

/* ---- what goes wrong in one of them ------------------------------------------------------------------ */

typedef struct trouble {
    const char *what;
    int rank; /* where it is */
    pith_status
        status; /* what that rank says; the other says E_BACKEND, or the same if both see it */
    bool both;
} trouble;

enum { TOKENIZER, TEXT, OUTPUT, CHECKPOINT, BATCH, SEED, STEPS, DATA, SAVES, TROUBLES };

static const trouble troubles[TROUBLES] = {
    [TOKENIZER] = {"a vocabulary that is not there", 1, PITH_E_IO, false},
    [TEXT] = {"a text that is not there", 0, PITH_E_IO, false},
    [OUTPUT] = {"nowhere to write the result to", 0, PITH_E_IO, false},
    [CHECKPOINT] = {"nowhere to write the checkpoint to", 0, PITH_E_IO, false},
    [BATCH] = {"no batch", 1, PITH_E_ARGUMENT, false},
    [SEED] = {"another seed", 1, PITH_E_MISMATCH, true},
    [STEPS] = {"fewer steps", 1, PITH_E_MISMATCH, true},
    [DATA] = {"another text", 0, PITH_E_MISMATCH, true},
    [SAVES] = {"a checkpoint where the other has none", 0, PITH_E_MISMATCH, true},
};

static void trouble_in_one_ends_all(void **state)
{
    (void)state;
    run_paths paths;
    pith_error err = {0};
    if (rank_of_process == 0) {
        run_write_documents(&here, "other.txt", 40, 5);
    }
    for (int i = 0; i < TROUBLES; i++) {
        const bool mine = troubles[i].rank == rank_of_process;
        pith__base_settings s = base_settings("broken.gguf", NULL, &paths);
        s.tokenizer = i == TOKENIZER && mine ? "no-such-file" : s.tokenizer;
        paths.sources[1].path = i == TEXT && mine   ? "no-such-file"
                                : i == DATA && mine ? "other.txt"
                                                    : paths.sources[1].path;
        s.output = i == OUTPUT && mine ? "no-such-folder/result.gguf" : s.output;
        s.run.checkpoint = i == CHECKPOINT      ? (mine ? "no-such-folder/run" : "run")
                           : i == SAVES && mine ? "run"
                                                : NULL;
        s.run.checkpoint_every = 1;
        s.run.batch = i == BATCH && mine ? 0 : s.run.batch;
        s.run.seed += i == SEED && mine;
        s.run.steps -= i == STEPS && mine;
        const pith_status status = run_train(s, NULL, &err);
        const pith_status wanted = mine || troubles[i].both ? troubles[i].status : PITH_E_BACKEND;
        if (status != wanted) {
            fail_msg("%s: rank %d: %s: %s", troubles[i].what, rank_of_process,
                     pith_status_name(status), err.message);
        }
    }
    assert_ok(pith__ranks_barrier(&err), err);
    assert_false(folder_has(&here, "broken.gguf"));
}

/* Wherever memory ends in one process, all end; and in the end nothing is wrong. */
static void no_memory_in_one_ends_all(void **state)
{
    (void)state;
    pith_error err = {0};
    run_paths paths;
    for (int where = 0; where < 2; where++) {
        size_t runs = 0;
        double done = 0.0;
        for (size_t n = 1; done == 0.0; n += 1 + n / 4) {
            test_memory memory = {.fail_from = where == rank_of_process ? n : 0};
            const pith_allocator mem = test_memory_allocator(&memory);
            pith__base_settings s = base_settings("swept.gguf", "run", &paths);
            s.run.steps = 2;
            s.run.evaluate_every = 1;
            s.run.evaluate_bytes = 100;
            s.run.checkpoint_every = 1;
            s.run.resume = false;
            const pith_status status = pith__train_base(&s, &mem, &err);
            assert_int_equal(memory.live, 0);
            assert_int_equal(memory.mistakes, 0);
            double succeeded = status == PITH_OK ? 1.0 : 0.0;
            const bool own = status == PITH_OK;
            assert_true(own ||
                        status == (where == rank_of_process ? PITH_E_MEMORY : PITH_E_BACKEND));
            assert_ok(pith__ranks_sum_f64(&succeeded, 1, &err), err);
            assert_true(succeeded == (own ? 2.0 : 0.0)); /* both or none */
            done = succeeded;
            runs++;
        }
        print_message("rank %d: %zu runs\n", where, runs);
        assert_true(runs > 10);
    }
}

int main(void)
{
    const struct CMUnitTest one[] = {cmocka_unit_test(make_references)};
    const struct CMUnitTest two[] = {
        cmocka_unit_test_setup(two_are_as_one, wait_for_all),
        cmocka_unit_test_setup(shares_of_held_out_text_are_summed, wait_for_all),
        cmocka_unit_test_setup(one_that_stops_stops_all_and_they_go_on, wait_for_all),
        cmocka_unit_test_setup(alignment_is_shared_too, wait_for_all),
        cmocka_unit_test_setup(trouble_in_one_ends_all, wait_for_all),
        cmocka_unit_test_setup(no_memory_in_one_ends_all, wait_for_all),
    };
    const pith__ranks ranks = pith__ranks_get();
    rank_of_process = ranks.rank;
    return ranks.count == 1 ? cmocka_run_group_tests(one, NULL, NULL)
                            : cmocka_run_group_tests(two, NULL, NULL);
}
