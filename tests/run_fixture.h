/*
 * run_fixture.h: a folder with a small text, a vocabulary learned from it, and the settings of
 * a small model that learns it in seconds.
 */
#ifndef PITH_RUN_FIXTURE_H
#define PITH_RUN_FIXTURE_H

#include "test.h"
#include "train/train.h"

#include <dirent.h>
#include <math.h>
#include <unistd.h>

/* ---- a folder ------------------------------------------------------------------------------- */

typedef struct folder {
    char path[64];
} folder;

/* In memory, if possible: what is written is brought to the disk, which takes its time. */
static inline void folder_make(folder *f)
{
    (void)snprintf(f->path, sizeof f->path, "%s/pith-run-XXXXXX",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(f->path));
}

/* "<folder>/<name>", valid for the next 15 calls. */
static inline const char *folder_path(const folder *f, const char *name)
{
    static char paths[16][512];
    static size_t next;
    char *path = paths[next++ % 16];
    (void)snprintf(path, sizeof paths[0], "%s/%s", f->path, name);
    return path;
}

static inline void folder_remove(const folder *f)
{
    DIR *dir = opendir(f->path);
    assert_non_null(dir);
    for (const struct dirent *entry = NULL; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] != '.') {
            assert_int_equal(unlink(folder_path(f, entry->d_name)), 0);
        }
    }
    (void)closedir(dir);
    assert_int_equal(rmdir(f->path), 0);
}

static inline bool folder_has(const folder *f, const char *name)
{
    return access(folder_path(f, name), F_OK) == 0;
}

static inline size_t folder_count(const folder *f)
{
    size_t count = 0;
    DIR *dir = opendir(f->path);
    assert_non_null(dir);
    for (const struct dirent *entry = NULL; (entry = readdir(dir)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(dir);
    return count;
}

static inline void folder_write(const folder *f, const char *name, const void *data, size_t size)
{
    FILE *file = fopen(folder_path(f, name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static inline void folder_copy(const folder *f, const char *from, const char *to)
{
    size_t size = 0;
    char *data = test_read_file(folder_path(f, from), &size);
    folder_write(f, to, data, size);
    free(data);
}

static inline bool folder_same(const folder *f, const char *a, const char *b)
{
    size_t size[2] = {0, 0};
    char *data[2] = {test_read_file(folder_path(f, a), &size[0]),
                     test_read_file(folder_path(f, b), &size[1])};
    const bool same = size[0] == size[1] && memcmp(data[0], data[1], size[0]) == 0;
    free(data[0]);
    free(data[1]);
    return same;
}

/* ---- text ----------------------------------------------------------------------------------- */

enum { WORDS = 24 };

static const char *const run_words[WORDS] = {
    "fox", "owl",  "bear", "wolf", "crow", "hare", "mole", "newt", "red",  "blue", "grey", "gold",
    "and", "sees", "eats", "has",  "far",  "near", "old",  "new",  "moon", "lake", "hill", "tree"};

/*
 * Sentences in which each word has two that may follow it: a unigram model needs log 24 nats for a
 * word, one that looks back log 2.
 */
static inline void run_write_documents(const folder *f, const char *name, size_t documents,
                                       uint64_t seed)
{
    FILE *file = fopen(folder_path(f, name), "wb");
    assert_non_null(file);
    for (size_t d = 0; d < documents; d++) {
        for (size_t s = 2 + test_random_below(&seed, 4); s > 0; s--) {
            size_t word = test_random_below(&seed, WORDS);
            for (size_t w = 5 + test_random_below(&seed, 8); w > 0; w--) {
                (void)fprintf(file, "%s%s", run_words[word], w > 1 ? " " : ".\n");
                word = (3 * word + 1 + 5 * test_random_below(&seed, 2)) % WORDS;
            }
        }
        (void)fputs(PITH__DOCUMENT_END "\n", file);
    }
    assert_int_equal(fclose(file), 0);
}

enum { RUN_VOCABULARY = 320 };

/* Learns a vocabulary of `size` entries from the text. */
static inline void run_write_vocabulary(const folder *f, const char *text, const char *name,
                                        uint32_t size)
{
    static const char *const specials[] = {PITH__DOCUMENT_END};
    const pith_allocator *mem = &pith__allocator_default;
    const pith__bpe_settings settings = {
        .size = size, .pre = "gpt-2", .specials = specials, .n_specials = 1, .threads = 1};
    pith_error err = {0};
    pith__source source;
    pith__gguf_writer writer;
    pith__new_file file;
    assert_ok(pith__source_open(folder_path(f, text), 1.0, 0, mem, &source, &err), err);
    pith__gguf_writer_init(&writer, mem);
    assert_ok(pith__bpe_train(&source, 1, &settings, mem, &writer, &err), err);
    assert_ok(pith__new_file_open(folder_path(f, name), &file, &err), err);
    assert_ok(pith__gguf_writer_write(&writer, pith__new_file_write, &file, &err), err);
    assert_ok(pith__new_file_commit(&file, &err), err);
    pith__gguf_writer_deinit(&writer);
    pith__source_close(&source);
}

/* The folder of most tests: two texts and a vocabulary. */
static inline void run_folder(folder *f)
{
    folder_make(f);
    run_write_documents(f, "animals.txt", 160, 1);
    run_write_documents(f, "more.txt", 40, 2);
    run_write_vocabulary(f, "animals.txt", "vocabulary.gguf", RUN_VOCABULARY);
}

/* Removes what a test has left there. */
static inline void run_clean(const folder *f)
{
    DIR *dir = opendir(f->path);
    assert_non_null(dir);
    for (const struct dirent *entry = NULL; (entry = readdir(dir)) != NULL;) {
        const char *name = entry->d_name;
        if (name[0] != '.' && strcmp(name, "animals.txt") != 0 && strcmp(name, "more.txt") != 0 &&
            strcmp(name, "vocabulary.gguf") != 0) {
            (void)unlink(folder_path(f, name));
        }
    }
    (void)closedir(dir);
}

/* ---- events --------------------------------------------------------------------------------- */

enum { RUN_EVENTS = 1024, RUN_KINDS = PITH__TRAIN_END + 1 };

typedef struct run_events {
    pith__train_event all[RUN_EVENTS];
    char sources[RUN_EVENTS][16]; /* "all" where there is none */
    size_t count;
    size_t of[RUN_KINDS];
    bool stops; /* at the first event of this kind with this step or a later one */
    pith__train_event_kind stop_kind;
    uint64_t stop_step;
} run_events;

static inline bool run_take_event(void *user, const pith__train_event *event)
{
    run_events *e = user;
    if (e->count < RUN_EVENTS) { /* no assertion: it would leave the library by a jump */
        e->all[e->count] = *event;
        (void)snprintf(e->sources[e->count], sizeof e->sources[0], "%s",
                       event->source == NULL ? "all" : event->source);
        e->count++;
    }
    e->of[event->kind]++;
    return !(e->stops && event->kind == e->stop_kind && event->step >= e->stop_step);
}

/* The last event of a kind, and for evaluations of this source. */
static inline pith__train_event run_last(const run_events *e, pith__train_event_kind kind,
                                         const char *source)
{
    for (size_t i = e->count; i-- > 0;) {
        if (e->all[i].kind == kind && (source == NULL || strcmp(e->sources[i], source) == 0)) {
            return e->all[i];
        }
    }
    fail_msg("no event of kind %d", (int)kind);
    return (pith__train_event){.kind = kind};
}

/* ---- settings --------------------------------------------------------------------------------- */

static inline pith__optimizer_settings run_optimizer(pith__optimizer_kind kind)
{
    return (pith__optimizer_settings){.kind = kind,
                                      .rate = 0.02,
                                      .muon_rate = 0.02,
                                      .beta1 = 0.9,
                                      .beta2 = 0.95,
                                      .eps = 1e-8,
                                      .momentum = 0.95,
                                      .decay = 0.01,
                                      .clip = 1.0};
}

static inline pith__run_settings run_settings(uint64_t steps)
{
    return (pith__run_settings){
        .steps = steps,
        .batch = 4,
        .micro_batch = 1,
        .lanes = 2,
        .length = 32,
        .seed = 7,
        .threads = 2,
        .held_out_every = 8,
        .schedule = {.kind = PITH__SCHEDULE_COSINE, .warm_up = steps / 8, .total = steps},
        .optimizer = run_optimizer(PITH__OPTIMIZER_ADAMW)};
}

static inline pith__model_config run_config(void)
{
    return (pith__model_config){.layers = 2,
                                .width = 32,
                                .heads = 4,
                                .kv_heads = 2,
                                .head_dim = 8,
                                .ff = 64,
                                .context = 128,
                                .rope_pairs = 4,
                                .rope_base = 10000.0f,
                                .rope_scale = 1.0f,
                                .norm_eps = 1e-5f};
}

/* What lasts as long as settings that point to it. */
typedef struct run_paths {
    char texts[2][160];
    char vocabulary[160], output[160], checkpoint[160];
    pith__train_source sources[2];
} run_paths;

/* Of a run on "animals.txt" that writes `output` and, if not NULL, `checkpoint`, and resumes. */
static inline pith__base_settings run_base(const folder *f, uint64_t steps, const char *output,
                                           const char *checkpoint, run_paths *paths)
{
    (void)snprintf(paths->texts[0], sizeof paths->texts[0], "%s/animals.txt", f->path);
    (void)snprintf(paths->texts[1], sizeof paths->texts[1], "%s/more.txt", f->path);
    (void)snprintf(paths->vocabulary, sizeof paths->vocabulary, "%s/vocabulary.gguf", f->path);
    (void)snprintf(paths->output, sizeof paths->output, "%s/%s", f->path, output);
    (void)snprintf(paths->checkpoint, sizeof paths->checkpoint, "%s/%s", f->path,
                   checkpoint == NULL ? "" : checkpoint);
    paths->sources[0] = (pith__train_source){paths->texts[0], 1.0};
    paths->sources[1] = (pith__train_source){paths->texts[1], 0.5};
    pith__base_settings s = {.run = run_settings(steps),
                             .sources = paths->sources,
                             .n_sources = 1,
                             .tokenizer = paths->vocabulary,
                             .config = run_config(),
                             .tied = true,
                             .name = "tiny",
                             .output = paths->output,
                             .type = PITH__WEIGHT_F32};
    s.run.checkpoint = checkpoint == NULL ? NULL : paths->checkpoint;
    s.run.resume = checkpoint != NULL;
    return s;
}

/* Trains, with events if `events` is not NULL. */
static inline pith_status run_train(pith__base_settings s, run_events *events, pith_error *err)
{
    if (events != NULL) {
        s.run.event = run_take_event;
        s.run.event_user = events;
    }
    return pith__train_base(&s, &pith__allocator_default, err);
}

/* ---- results --------------------------------------------------------------------------------- */

typedef struct run_file {
    pith__file file;
    pith__gguf gguf;
} run_file;

static inline void run_open(const folder *f, const char *name, run_file *out)
{
    pith_error err = {0};
    assert_ok(pith__file_open(folder_path(f, name), &out->file, &err), err);
    assert_ok(pith__gguf_parse(out->file.data, out->file.size, &pith__allocator_default, &out->gguf,
                               &err),
              err);
}

static inline void run_close(run_file *file)
{
    pith__gguf_deinit(&file->gguf);
    pith__file_close(&file->file);
}

/* The model of an open file, in floats, with an adapter if `adapter` is not NULL. */
static inline void run_load(const folder *f, const run_file *file, const char *adapter,
                            pith__model *out)
{
    const pith_allocator *mem = &pith__allocator_default;
    pith_error err = {0};
    if (adapter == NULL) {
        assert_ok(pith__model_load(&file->gguf, PITH_PRECISION_F32, mem, out, &err), err);
        return;
    }
    run_file factors;
    pith__adapter opened;
    run_open(f, adapter, &factors);
    assert_ok(pith__adapter_open(&factors.gguf, mem, &opened, &err), err);
    assert_ok(pith__model_load_adapted(&file->gguf, &opened, PITH_PRECISION_F32, mem, out, &err),
              err);
    pith__adapter_close(&opened);
    run_close(&factors);
}

/* As floats; free() them. */
static inline float *run_values(const pith__gguf_tensor *tensor)
{
    pith_error err = {0};
    const size_t count = (size_t)tensor->elements;
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    assert_ok(pith__gguf_dequantize(tensor->type, tensor->data, values, count, &err), err);
    return values;
}

/* The difference of two tensors by the norm of the first. */
static inline double run_tensor_difference(const pith__gguf_tensor *a, const pith__gguf_tensor *b)
{
    float *one = run_values(a);
    float *other = run_values(b);
    double norm = 0.0;
    double difference = 0.0;
    for (size_t i = 0; i < a->elements; i++) {
        const double d = (double)one[i] - (double)other[i];
        norm += (double)one[i] * (double)one[i];
        difference += d * d;
    }
    free(one);
    free(other);
    return sqrt(difference / norm);
}

/* The largest difference between a tensor of one file and that of the other. */
static inline double run_difference(const folder *f, const char *a, const char *b)
{
    run_file files[2];
    double largest = 0.0;
    run_open(f, a, &files[0]);
    run_open(f, b, &files[1]);
    assert_int_equal(files[0].gguf.n_tensors, files[1].gguf.n_tensors);
    for (size_t i = 0; i < files[0].gguf.n_tensors; i++) {
        char name[80];
        const pith__gguf_tensor *one = &files[0].gguf.tensors[i];
        (void)pith__gguf_printable(one->name, name, sizeof name);
        const pith__gguf_tensor *other = pith__gguf_find_tensor(&files[1].gguf, name);
        assert_non_null(other);
        assert_int_equal(one->elements, other->elements);
        const double difference = run_tensor_difference(one, other);
        largest = difference > largest || isnan(difference) ? difference : largest;
    }
    run_close(&files[0]);
    run_close(&files[1]);
    return largest;
}

/* Nats per token of the held-out part of a text, as pith__train_evaluate() finds them. */
static inline pith__evaluation run_judge(const folder *f, const char *model, const char *text)
{
    pith_error err = {0};
    pith__evaluation out[2];
    char paths[2][160];
    (void)snprintf(paths[0], sizeof paths[0], "%s/%s", f->path, model);
    (void)snprintf(paths[1], sizeof paths[1], "%s/%s", f->path, text);
    const pith__train_source source = {paths[1], 1.0};
    const pith__evaluate_settings s = {
        .sources = &source, .n_sources = 1, .model = paths[0], .held_out_every = 8, .threads = 2};
    assert_ok(pith__train_evaluate(&s, &pith__allocator_default, out, &err), err);
    return out[0];
}

/* ---- memory ---------------------------------------------------------------------------------- */

/*
 * test_sweep() for bodies that take long: every allocation that fails of the first 16, then one in
 * ever more.
 */
static inline void run_sweep(pith_status (*body)(const pith_allocator *mem, void *user), void *user)
{
    for (size_t n = 1; n < 100000; n += 1 + n / 16) {
        test_memory memory = {.fail_from = n};
        const pith_allocator mem = test_memory_allocator(&memory);
        const pith_status status = body(&mem, user);
        assert_int_equal(memory.live, 0);
        assert_int_equal(memory.mistakes, 0);
        if (status == PITH_OK) {
            assert_true(n > 100); /* else nothing was swept */
            return;
        }
        assert_int_equal(status, PITH_E_MEMORY);
    }
    fail_msg("the body never succeeded");
}

#endif /* PITH_RUN_FIXTURE_H */
