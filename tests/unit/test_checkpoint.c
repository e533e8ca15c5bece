/*
 * test_checkpoint.c: what is saved comes back bit by bit, damage is noticed and changes
 * nothing, and the old file is there until the new one is.
 */
#include "gguf/gguf.h"
#include "train_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const pith_allocator *const default_memory = &pith__allocator_default;

enum { N_PLACES = 3 };

/* ---- a run -------------------------------------------------------------------------- */

typedef struct run {
    pith__weights weights;
    pith__optimizer optimizer;
    pith__run_state state;
    pith__stream_place places[N_PLACES];
} run;

/* A run whose every number is a function of the seed. */
static pith_status run_start(const pith_allocator *mem, uint64_t seed, run *r)
{
    memset(r, 0, sizeof *r);
    const pith__optimizer_settings settings = train_settings(PITH__OPTIMIZER_MUON);
    pith_status status = train_weights(mem, &r->weights, NULL);
    if (status == PITH_OK) {
        status = pith__optimizer_init(&settings, &r->weights, &r->optimizer, NULL);
    }
    if (status != PITH_OK) {
        return status;
    }
    train_fill(seed, r->weights.count, r->weights.values);
    train_fill(seed + 1, r->weights.count, r->optimizer.m);
    train_fill(seed + 2, r->weights.count, r->optimizer.v);
    r->optimizer.step = test_random(&seed);
    r->state = (pith__run_state){.step = test_random(&seed),
                                 .samples = test_random(&seed),
                                 .tokens = test_random(&seed),
                                 .seconds = 1.0 / (double)(seed >> 8),
                                 .loss = (double)NAN,
                                 .fingerprint = "0123456789abcdef"};
    for (size_t i = 0; i < N_PLACES; i++) {
        r->places[i] = (pith__stream_place){test_random(&seed), test_random(&seed), seed + i};
    }
    return PITH_OK;
}

static void run_stop(run *r)
{
    pith__optimizer_deinit(&r->optimizer);
    pith__weights_deinit(&r->weights);
}

static pith_status run_save(const run *r, const char *path, pith_error *err)
{
    return pith__checkpoint_save(path, &r->state, &r->optimizer, r->places, N_PLACES, err);
}

static pith_status run_load(run *r, const char *path, pith_error *err)
{
    return pith__checkpoint_load(path, &r->state, &r->optimizer, r->places, N_PLACES, err);
}

static void assert_same_run(const run *a, const run *b)
{
    const size_t size = a->weights.count * sizeof(float);
    assert_memory_equal(a->weights.values, b->weights.values, size);
    assert_memory_equal(a->optimizer.m, b->optimizer.m, size);
    assert_memory_equal(a->optimizer.v, b->optimizer.v, size);
    assert_memory_equal(a->places, b->places, sizeof a->places);
    assert_int_equal(a->optimizer.step, b->optimizer.step);
    assert_int_equal(a->state.step, b->state.step);
    assert_int_equal(a->state.samples, b->state.samples);
    assert_int_equal(a->state.tokens, b->state.tokens);
    assert_memory_equal(&a->state.seconds, &b->state.seconds, sizeof(double));
    assert_memory_equal(&a->state.loss, &b->state.loss, sizeof(double));
    assert_string_equal(a->state.fingerprint, b->state.fingerprint);
}

/* ---- a folder ------------------------------------------------------------------------- */

/* One run that is saved, one to load into, and two alike that nothing is done to. */
typedef struct fixture {
    char folder[64];
    char path[96];
    char beside[128]; /* where the file is written before it is moved */
    run saved, saved_before;
    run loaded, loaded_before;
} fixture;

static int fixture_start(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    /* in memory, if possible: what is written is brought to the disk, which takes its time */
    (void)snprintf(f->folder, sizeof f->folder, "%s/pith-checkpoint-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(f->folder));
    (void)snprintf(f->path, sizeof f->path, "%s/run", f->folder);
    (void)snprintf(f->beside, sizeof f->beside, "%s/run.%ld-0.new", f->folder, (long)getpid());
    assert_status(run_start(default_memory, 10, &f->saved), PITH_OK);
    assert_status(run_start(default_memory, 10, &f->saved_before), PITH_OK);
    assert_status(run_start(default_memory, 20, &f->loaded), PITH_OK);
    assert_status(run_start(default_memory, 20, &f->loaded_before), PITH_OK);
    *state = f;
    return 0;
}

static int fixture_stop(void **state)
{
    fixture *f = *state;
    (void)unlink(f->path);
    (void)unlink(f->beside);
    (void)rmdir(f->beside);
    assert_int_equal(rmdir(f->folder), 0);
    run_stop(&f->saved);
    run_stop(&f->saved_before);
    run_stop(&f->loaded);
    run_stop(&f->loaded_before);
    free(f);
    return 0;
}

static void save(fixture *f)
{
    pith_error err = {.status = PITH_OK};
    assert_ok(run_save(&f->saved, f->path, &err), err);
    assert_same_run(&f->saved, &f->saved_before);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Loading what is at f->path fails, and leaves everything as it was. */
static void assert_refused(fixture *f, pith_status expected, const char *what)
{
    pith_error err = {.status = PITH_OK};
    const pith_status status = run_load(&f->loaded, f->path, &err);
    if (status != expected || err.status != expected) {
        fail_msg("%s: %s (%s), expected %s", what, pith_status_name(status), err.message,
                 pith_status_name(expected));
    }
    assert_same_run(&f->loaded, &f->loaded_before);
}

/* The file at f->path is what was saved. */
static void assert_loads(fixture *f)
{
    pith_error err = {.status = PITH_OK};
    assert_ok(run_load(&f->loaded, f->path, &err), err);
    assert_same_run(&f->loaded, &f->saved);
}

/* Files of the folder. */
static size_t count_files(const fixture *f)
{
    DIR *folder = opendir(f->folder);
    assert_non_null(folder);
    size_t count = 0;
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        count += entry->d_name[0] != '.';
    }
    assert_int_equal(closedir(folder), 0);
    return count;
}

/* ---- there and back --------------------------------------------------------------------- */

static void what_is_saved_comes_back(void **state)
{
    fixture *f = *state;
    save(f);
    assert_loads(f);
    assert_int_equal(count_files(f), 1);
}

static void saving_twice_gives_the_same_bytes(void **state)
{
    fixture *f = *state;
    save(f);
    size_t sizes[2] = {0, 0};
    char *first = test_read_file(f->path, &sizes[0]);
    save(f);
    char *second = test_read_file(f->path, &sizes[1]);
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(first, second, sizes[0]);
    free(first);
    free(second);
}

static void a_run_without_streams_can_be_saved(void **state)
{
    fixture *f = *state;
    pith_error err = {.status = PITH_OK};
    assert_ok(pith__checkpoint_save(f->path, &f->saved.state, &f->saved.optimizer, NULL, 0, &err),
              err);
    assert_refused(f, PITH_E_MISMATCH, "streams that are not there");
    assert_ok(pith__checkpoint_load(f->path, &f->loaded.state, &f->loaded.optimizer, NULL, 0, &err),
              err);
    memcpy(f->loaded.places, f->saved.places, sizeof f->saved.places);
    assert_same_run(&f->loaded, &f->saved);
}

static void relative_paths_work(void **state)
{
    fixture *f = *state;
    char before[4096];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(f->folder), 0);
    pith_error err = {.status = PITH_OK};
    const pith_status saved = run_save(&f->saved, "run", &err);
    assert_int_equal(chdir(before), 0);
    assert_ok(saved, err);
    assert_loads(f);
}

/* Training goes on with the same bytes. */
static void a_resumed_run_goes_on(void **state)
{
    fixture *f = *state;
    f->saved.optimizer.step = 12;
    f->saved_before.optimizer.step = 12;
    for (size_t i = 0; i < f->saved.weights.count; i++) { /* second moments are not negative */
        f->saved.optimizer.v[i] = fabsf(f->saved.optimizer.v[i]);
        f->saved_before.optimizer.v[i] = f->saved.optimizer.v[i];
    }
    save(f);
    assert_loads(f);
    run *runs[] = {&f->saved, &f->loaded};
    float *gradient = malloc(f->saved.weights.count * sizeof *gradient);
    assert_non_null(gradient);
    for (size_t i = 0; i < 2; i++) {
        pith__arena arena;
        pith__arena_init(&arena, default_memory);
        const pith__tensor_ctx ctx = {1, &arena};
        for (uint64_t round = 0; round < 3; round++) {
            double norm = 0;
            train_gradient(&runs[i]->weights, round, gradient);
            assert_status(
                pith__optimizer_step(&runs[i]->optimizer, &ctx, gradient, 1, 1, &norm, NULL),
                PITH_OK);
        }
        pith__arena_deinit(&arena);
    }
    free(gradient);
    assert_int_equal(f->saved.optimizer.step, 15);
    assert_same_run(&f->saved, &f->loaded);
}

/* ---- other runs ---------------------------------------------------------------------------- */

static void another_fingerprint_is_a_mismatch(void **state)
{
    fixture *f = *state;
    save(f);
    (void)snprintf(f->loaded.state.fingerprint, sizeof f->loaded.state.fingerprint, "fedcba98");
    f->loaded_before.state = f->loaded.state;
    assert_refused(f, PITH_E_MISMATCH, "another fingerprint");
    pith_error err = {.status = PITH_OK};
    assert_status(run_load(&f->loaded, f->path, &err), PITH_E_MISMATCH);
    assert_non_null(strstr(err.message, "fingerprint"));
    assert_non_null(strstr(err.message, "0123456789abcdef"));
    assert_non_null(strstr(err.message, "fedcba98"));
    f->loaded.state.fingerprint[0] = '\0';
    assert_loads(f);
}

static void long_fingerprints_fit(void **state)
{
    fixture *f = *state;
    memset(f->saved.state.fingerprint, 'a', sizeof f->saved.state.fingerprint - 1);
    f->saved_before.state = f->saved.state;
    save(f);
    f->loaded.state.fingerprint[0] = '\0';
    assert_loads(f);
}

static void another_optimizer_is_a_mismatch(void **state)
{
    fixture *f = *state;
    save(f);
    f->loaded.optimizer.settings.kind = PITH__OPTIMIZER_ADAMW;
    assert_refused(f, PITH_E_MISMATCH, "another optimiser");
}

static void other_streams_are_a_mismatch(void **state)
{
    fixture *f = *state;
    save(f);
    for (size_t n = 0; n < N_PLACES; n++) {
        assert_status(pith__checkpoint_load(f->path, &f->loaded.state, &f->loaded.optimizer,
                                            f->loaded.places, n, NULL),
                      PITH_E_MISMATCH);
        assert_same_run(&f->loaded, &f->loaded_before);
    }
}

static void other_tensors_are_a_mismatch(void **state)
{
    fixture *f = *state;
    save(f);
    pith__weight *item = &f->loaded.weights.items[2];
    const pith__weight before = *item;
    item->name[0] = 'x';
    assert_refused(f, PITH_E_MISMATCH, "another name");
    pith_error err = {.status = PITH_OK};
    assert_status(run_load(&f->loaded, f->path, &err), PITH_E_MISMATCH);
    assert_non_null(strstr(err.message, "wide.weight"));
    assert_non_null(strstr(err.message, "xide.weight"));
    *item = before;
    item->kind = PITH__WEIGHT_EMBEDDING;
    assert_refused(f, PITH_E_MISMATCH, "another kind");
    *item = before;
    item->rows = before.cols;
    item->cols = before.rows;
    assert_refused(f, PITH_E_MISMATCH, "another shape");
    *item = before;
    item->at += 16;
    assert_refused(f, PITH_E_MISMATCH, "another place");
    *item = before;
    f->loaded.weights.n_items--;
    assert_refused(f, PITH_E_MISMATCH, "a tensor less");
    f->loaded.weights.n_items++;
    assert_loads(f);
}

/* ---- damage --------------------------------------------------------------------------------- */

static void truncated_files_are_corrupt(void **state)
{
    fixture *f = *state;
    save(f);
    size_t size = 0;
    char *data = test_read_file(f->path, &size);
    for (size_t length = 0; length < size;
         length += length < 3000 || length + 200 > size ? 1 : 37) {
        write_file(f->path, data, length);
        assert_refused(f, PITH_E_CORRUPT, "truncated");
    }
    char *longer = calloc(1, size + 64);
    assert_non_null(longer);
    memcpy(longer, data, size);
    for (size_t more = 1; more <= 64; more++) {
        write_file(f->path, longer, size + more);
        assert_refused(f, PITH_E_CORRUPT, "too long");
    }
    write_file(f->path, data, size);
    assert_loads(f);
    free(longer);
    free(data);
}

static void every_flipped_bit_is_noticed(void **state)
{
    fixture *f = *state;
    save(f);
    size_t size = 0;
    char *data = test_read_file(f->path, &size);
    uint64_t random = 1;
    for (size_t at = 0; at < size; at++) {
        if (at > 2000 && at + 64 < size && test_random_below(&random, 16) != 0) {
            continue;
        }
        const char before = data[at];
        data[at] = (char)(before ^ (1 << test_random_below(&random, 8)));
        write_file(f->path, data, size);
        assert_refused(f, PITH_E_CORRUPT, "a flipped bit");
        data[at] = before;
    }
    free(data);
}

/* As documented in checkpoint.c: over the whole file, its own eight bytes taken as 0. */
static void sign(char *data, size_t size)
{
    assert_int_equal(size % 32, 0);
    assert_true(size >= 32);
    memset(data + size - 32, 0, 32);
    uint64_t hash = 0;
    for (size_t at = 0; at < size; at += 8) {
        uint64_t word = 0;
        memcpy(&word, data + at, sizeof word);
        hash ^= word;
        hash *= UINT64_C(0x9e3779b97f4a7c15);
        hash ^= hash >> 32;
    }
    memcpy(data + size - 32, &hash, sizeof hash);
}

/* Bytes before the vectors. */
static size_t head_size(const char *data, size_t size)
{
    pith__gguf gguf;
    assert_status(pith__gguf_parse(data, size, default_memory, &gguf, NULL), PITH_OK);
    const size_t head = gguf.tensors[0].offset;
    pith__gguf_deinit(&gguf);
    return head;
}

/* The checksum is right, what it is of is not. */
static void signed_nonsense_is_refused(void **state)
{
    fixture *f = *state;
    save(f);
    size_t size = 0;
    char *data = test_read_file(f->path, &size);
    char *copy = test_read_file(f->path, &size);
    sign(copy, size);
    assert_memory_equal(copy, data, size);
    uint64_t random = 2;
    size_t refused = 0;
    const size_t head = head_size(data, size);
    for (size_t at = 0; at < head; at++) {
        memcpy(copy, data, size);
        copy[at] = (char)(copy[at] ^ (1 << test_random_below(&random, 8)));
        sign(copy, size);
        write_file(f->path, copy, size);
        const pith_status status = run_load(&f->loaded, f->path, NULL);
        if (status != PITH_OK) {
            assert_true(status == PITH_E_CORRUPT || status == PITH_E_MISMATCH);
            assert_same_run(&f->loaded, &f->loaded_before);
            refused++;
            continue;
        }
        run_stop(&f->loaded); /* the counters may be anything */
        assert_status(run_start(default_memory, 20, &f->loaded), PITH_OK);
    }
    /* all but the counters, the padding, and tensors that change places */
    assert_true(refused > head - 150);
    free(copy);
    free(data);
}

/* One change to a file that is a checkpoint otherwise. */
typedef struct change {
    const char *key;    /* of metadata: left out, or another text */
    const char *text;   /* NULL: left out */
    const char *tensor; /* left out, or changed as follows */
    uint32_t n_dims;    /* 0: left out */
    uint64_t dims[2];
    pith__gguf_type type;
    pith_status expected;
} change;

static bool write_to_buf(void *user, const char *data, size_t size)
{
    return pith__buf_append(user, data, size, NULL) == PITH_OK;
}

static void copy_metadata(const pith__gguf *from, const change *c, pith__gguf_writer *writer)
{
    for (size_t i = 0; i < from->n_kvs; i++) {
        const pith__gguf_kv *kv = &from->kvs[i];
        if (c->key == NULL || !pith__gguf_string_equal(kv->key, c->key)) {
            assert_status(pith__gguf_writer_add_kv(writer, kv, NULL), PITH_OK);
        } else if (c->text != NULL) {
            assert_status(
                pith__gguf_writer_add_string(writer, c->key, c->text, strlen(c->text), NULL),
                PITH_OK);
        }
    }
}

static void copy_tensors(const pith__gguf *from, const change *c, pith__gguf_writer *writer)
{
    static const unsigned char zeros[65536];
    for (size_t i = 0; i < from->n_tensors; i++) {
        pith__gguf_tensor tensor = from->tensors[i];
        if (c->tensor != NULL && pith__gguf_string_equal(tensor.name, c->tensor)) {
            if (c->n_dims == 0) {
                continue;
            }
            tensor.n_dims = c->n_dims;
            memcpy(tensor.dims, c->dims, sizeof c->dims);
            tensor.type = c->type;
            tensor.data = zeros;
        }
        assert_status(pith__gguf_writer_add_tensor(writer, &tensor, NULL), PITH_OK);
    }
}

static void write_changed(const pith__gguf *from, const change *c, const char *path)
{
    pith__gguf_writer writer;
    pith__gguf_writer_init(&writer, default_memory);
    pith__buf out;
    pith__buf_init(&out, default_memory, SIZE_MAX / 2);
    copy_metadata(from, c, &writer);
    copy_tensors(from, c, &writer);
    assert_status(pith__gguf_writer_write(&writer, write_to_buf, &out, NULL), PITH_OK);
    sign(out.data, out.size);
    write_file(path, out.data, out.size);
    pith__buf_deinit(&out);
    pith__gguf_writer_deinit(&writer);
}

#define KEY(name) "pith.checkpoint." name

static void every_size_and_type_is_checked(void **state)
{
    fixture *f = *state;
    save(f);
    const uint64_t count = f->saved.weights.count;
    const change changes[] = {
        {.key = "general.type", .expected = PITH_E_CORRUPT},
        {.key = "general.type", .text = "model", .expected = PITH_E_CORRUPT},
        {.key = KEY("version"), .expected = PITH_E_CORRUPT},
        {.key = KEY("version"), .text = "1", .expected = PITH_E_CORRUPT},
        {.key = KEY("fingerprint"), .expected = PITH_E_CORRUPT},
        {.key = KEY("fingerprint"), .text = "", .expected = PITH_E_MISMATCH},
        {.key = KEY("fingerprint"),
         .text = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0",
         .expected = PITH_E_CORRUPT},
        {.key = KEY("step"), .expected = PITH_E_CORRUPT},
        {.key = KEY("samples"), .expected = PITH_E_CORRUPT},
        {.key = KEY("tokens"), .expected = PITH_E_CORRUPT},
        {.key = KEY("seconds"), .expected = PITH_E_CORRUPT},
        {.key = KEY("loss"), .text = "1.5", .expected = PITH_E_CORRUPT},
        {.key = KEY("optimizer"), .expected = PITH_E_CORRUPT},
        {.key = KEY("optimizer"), .text = "adamw", .expected = PITH_E_MISMATCH},
        {.key = KEY("optimizer_step"), .expected = PITH_E_CORRUPT},
        {.key = KEY("weights"), .expected = PITH_E_CORRUPT},
        {.key = KEY("weights"), .text = "all", .expected = PITH_E_CORRUPT},
        {.tensor = "values", .expected = PITH_E_CORRUPT},
        {.tensor = "values", .n_dims = 1, .dims = {count - 1, 1}, .expected = PITH_E_CORRUPT},
        {.tensor = "m", .n_dims = 1, .dims = {count + 1, 1}, .expected = PITH_E_CORRUPT},
        {.tensor = "v", .n_dims = 2, .dims = {count, 2}, .expected = PITH_E_CORRUPT},
        {.tensor = "v",
         .n_dims = 1,
         .dims = {count, 1},
         .type = PITH__GGUF_TYPE_F16,
         .expected = PITH_E_CORRUPT},
        {.tensor = "places", .expected = PITH_E_MISMATCH},
        {.tensor = "places",
         .n_dims = 2,
         .dims = {3, 2},
         .type = PITH__GGUF_TYPE_I64,
         .expected = PITH_E_MISMATCH},
        {.tensor = "places",
         .n_dims = 2,
         .dims = {2, 3},
         .type = PITH__GGUF_TYPE_I64,
         .expected = PITH_E_CORRUPT},
        {.tensor = "places",
         .n_dims = 2,
         .dims = {3, 3},
         .type = PITH__GGUF_TYPE_F32,
         .expected = PITH_E_CORRUPT},
        {.expected = PITH_OK},
    };
    size_t size = 0;
    char *data = test_read_file(f->path, &size);
    pith__gguf gguf;
    assert_status(pith__gguf_parse(data, size, default_memory, &gguf, NULL), PITH_OK);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        const change *c = &changes[i];
        write_changed(&gguf, c, f->path);
        if (c->expected != PITH_OK) {
            assert_refused(f, c->expected, c->key == NULL ? c->tensor : c->key);
        } else {
            assert_loads(f);
        }
    }
    pith__gguf_deinit(&gguf);
    free(data);
}

static void other_files_are_corrupt(void **state)
{
    fixture *f = *state;
    size_t size = 0;
    char *model = test_read_file(test_path("golden", "models/llama_gqa.gguf"), &size);
    write_file(f->path, model, size);
    assert_refused(f, PITH_E_CORRUPT, "a model");
    free(model);
    write_file(f->path, "", 0);
    assert_refused(f, PITH_E_CORRUPT, "an empty file");
    assert_int_equal(unlink(f->path), 0);
    assert_refused(f, PITH_E_IO, "no file");
}

/* ---- saving that fails ------------------------------------------------------------------------ */

/* The limit on the size of files stands for a disk that is full. */
static void a_full_disk_leaves_the_old_one(void **state)
{
    fixture *f = *state;
    save(f);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*const handler)(int) = signal(SIGXFSZ, SIG_IGN);
    const struct rlimit small = {512, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    pith_error err = {.status = PITH_OK};
    const pith_status status = run_save(&f->loaded, f->path, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
    assert_int_equal(status, PITH_E_IO);
    assert_non_null(strstr(err.message, f->folder));
    assert_loads(f);
    assert_int_equal(count_files(f), 1);
}

static void a_folder_that_is_locked_leaves_the_old_one(void **state)
{
    fixture *f = *state;
    if (geteuid() == 0) {
        print_message("skipped: nothing is locked for root\n");
        skip();
    }
    save(f);
    assert_int_equal(chmod(f->folder, 0500), 0);
    pith_error err = {.status = PITH_OK};
    const pith_status status = run_save(&f->loaded, f->path, &err);
    assert_int_equal(chmod(f->folder, 0700), 0);
    assert_int_equal(status, PITH_E_IO);
    assert_loads(f);
}

static void what_cannot_be_replaced_stays(void **state)
{
    fixture *f = *state;
    assert_int_equal(mkdir(f->path, 0700), 0);
    pith_error err = {.status = PITH_OK};
    assert_status(run_save(&f->saved, f->path, &err), PITH_E_IO);
    assert_int_equal(count_files(f), 1);
    assert_int_equal(rmdir(f->path), 0);
    assert_status(run_save(&f->saved, "/tmp/pith-no-such-folder/run", &err), PITH_E_IO);
}

/* What a crash in the middle of saving leaves behind is no trouble. */
static void half_a_file_beside_is_left_alone(void **state)
{
    fixture *f = *state;
    save(f);
    write_file(f->beside, "half", 4);
    assert_loads(f);
    save(f);
    assert_loads(f);
    assert_int_equal(count_files(f), 2);
}

/* ---- memory ------------------------------------------------------------------------------------ */

static pith_status only_save(const pith_allocator *mem, void *user)
{
    const fixture *f = user;
    run r;
    pith_status status = run_start(mem, 10, &r);
    if (status == PITH_OK) {
        status = run_save(&r, f->path, NULL);
    }
    run_stop(&r);
    return status;
}

static pith_status only_load(const pith_allocator *mem, void *user)
{
    const fixture *f = user;
    run r;
    pith_status status = run_start(mem, 20, &r);
    if (status == PITH_OK) {
        status = run_load(&r, f->path, NULL);
        assert_same_run(&r, status == PITH_OK ? &f->saved : &f->loaded);
    }
    run_stop(&r);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    fixture *f = *state;
    test_sweep(only_save, f);
    test_sweep(only_load, f);
    assert_loads(f);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, fixture_start, fixture_stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(what_is_saved_comes_back),
        WITH_FOLDER(saving_twice_gives_the_same_bytes),
        WITH_FOLDER(a_run_without_streams_can_be_saved),
        WITH_FOLDER(relative_paths_work),
        WITH_FOLDER(a_resumed_run_goes_on),
        WITH_FOLDER(another_fingerprint_is_a_mismatch),
        WITH_FOLDER(long_fingerprints_fit),
        WITH_FOLDER(another_optimizer_is_a_mismatch),
        WITH_FOLDER(other_streams_are_a_mismatch),
        WITH_FOLDER(other_tensors_are_a_mismatch),
        WITH_FOLDER(truncated_files_are_corrupt),
        WITH_FOLDER(every_flipped_bit_is_noticed),
        WITH_FOLDER(signed_nonsense_is_refused),
        WITH_FOLDER(every_size_and_type_is_checked),
        WITH_FOLDER(other_files_are_corrupt),
        WITH_FOLDER(a_full_disk_leaves_the_old_one),
        WITH_FOLDER(a_folder_that_is_locked_leaves_the_old_one),
        WITH_FOLDER(what_cannot_be_replaced_stays),
        WITH_FOLDER(half_a_file_beside_is_left_alone),
        WITH_FOLDER(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
