/*
 * test_evaluate.c: bits of held-out documents: which ones, every token once, the windows.
 */
#include "train/train.h"

#include "model_fixture.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DOCUMENTS = 40, EVERY = 3, LENGTH = 32, IDS_MAX = 1024 };

/* ---- a source -------------------------------------------------------------------------------- */

typedef struct corpus {
    char folder[64];
    char path[96];
    char short_path[96];
    char out[96]; /* the folder of what was read */
} corpus;

/* Words, `size` bytes or so: some documents fit in a window, some take several. */
static void write_document(FILE *file, size_t size, uint64_t seed)
{
    static const char *const words[] = {"the ",    "model ", "reads ",      "a ",
                                        "line.\n", "42 ",    "caf\xc3\xa9 "};
    for (size_t written = 0; written < size;) {
        const char *word = words[test_random_below(&seed, sizeof words / sizeof words[0])];
        (void)fputs(word, file);
        written += strlen(word);
    }
    (void)fprintf(file, "%s\n%s\n", "end", PITH__DOCUMENT_END);
}

static void corpus_make(corpus *c)
{
    (void)snprintf(c->folder, sizeof c->folder, "/tmp/pith-evaluate-XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    (void)snprintf(c->path, sizeof c->path, "%s/words.txt", c->folder);
    (void)snprintf(c->short_path, sizeof c->short_path, "%s/short.txt", c->folder);
    (void)snprintf(c->out, sizeof c->out, "%s/out", c->folder);
    FILE *file = fopen(c->path, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < DOCUMENTS; i++) {
        write_document(file, 1 + 37 * i % 400, i + 1);
    }
    assert_int_equal(fclose(file), 0);
    file = fopen(c->short_path, "wb");
    assert_non_null(file);
    for (size_t i = 0; i < 12; i++) {
        write_document(file, 20, i + 100);
    }
    assert_int_equal(fclose(file), 0);
}

static void corpus_remove(corpus *c)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/words.txt", c->out);
    (void)unlink(path);
    (void)snprintf(path, sizeof path, "%s/short.txt", c->out);
    (void)unlink(path);
    (void)rmdir(c->out);
    (void)unlink(c->path);
    (void)unlink(c->short_path);
    assert_int_equal(rmdir(c->folder), 0);
}

static char model_path[4096];

static pith__evaluate_settings settings_for(const pith__train_source *sources, size_t count)
{
    (void)snprintf(model_path, sizeof model_path, "%s",
                   test_path("golden", "models/llama_gqa.gguf"));
    return (pith__evaluate_settings){.sources = sources,
                                     .n_sources = count,
                                     .model = model_path,
                                     .held_out_every = EVERY,
                                     .length = LENGTH,
                                     .threads = 2};
}

/* ---- the same, by hand ------------------------------------------------------------------------- */

/*
 * Nats of a document, one window after the other: BOS and tokens, of which a window after the first
 * repeats a quarter.
 */
static double nats_by_hand(fixture *f, const pith__tokenizer *tokenizer, const char *text,
                           size_t size, size_t length, uint64_t *tokens)
{
    uint32_t ids[IDS_MAX];
    float nll[LENGTH * 4];
    pith__tokens list = {0};
    pith_error err = {0};
    double sum = 0.0;
    assert_ok(
        pith__tokenizer_encode(tokenizer, text, size, false, &pith__allocator_default, &list, &err),
        err);
    assert_true(list.count + 1 < IDS_MAX && length <= LENGTH * 4);
    const size_t count = list.count + 1;
    for (size_t i = 0; i < list.count; i++) {
        ids[i] = list.items[i].id;
    }
    ids[list.count] = pith__tokenizer_eos(tokenizer);
    pith__tokens_deinit(&list, &pith__allocator_default);
    *tokens += count;
    for (size_t scored = 0; scored < count;) {
        const size_t begin = scored == 0 ? 0 : scored - length / 4;
        const size_t end = count - begin < length ? count : begin + length;
        uint32_t inputs[LENGTH * 4];
        inputs[0] = pith__tokenizer_bos(tokenizer);
        memcpy(inputs + 1, ids + begin, (end - begin - 1) * sizeof *ids);
        const pith__sequence sequence = {.ids = inputs, .count = end - begin};
        const pith__forward_outputs outputs = {.targets = ids + begin, .nll = nll};
        assert_ok(pith__model_forward(&f->model, &f->ctx, &sequence, 1, &outputs, &err), err);
        for (; scored < end; scored++) {
            sum += (double)nll[scored - begin];
        }
    }
    return sum;
}

static void expect_source(const pith__evaluation *got, const char *path, const char *name,
                          uint32_t every, size_t length, pith__evaluation *all)
{
    fixture f;
    pith__source source;
    pith__tokenizer *tokenizer = NULL;
    pith_error err = {0};
    pith__evaluation expected = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    assert_ok(pith__tokenizer_from_gguf(&f.gguf, &pith__allocator_default, &tokenizer, &err), err);
    assert_ok(pith__source_open(path, 1.0, every, &pith__allocator_default, &source, &err), err);
    const pith__document *documents = every == 0 ? source.training : source.held_out;
    expected.documents = every == 0 ? source.n_training : source.n_held_out;
    for (size_t i = 0; i < expected.documents; i++) {
        const size_t size = documents[i].end - documents[i].start;
        expected.bytes += size;
        expected.nats +=
            nats_by_hand(&f, tokenizer, (const char *)source.file.data + documents[i].start, size,
                         length, &expected.tokens);
    }
    assert_string_equal(got->source, name);
    assert_true(expected.documents > 0);
    assert_int_equal(got->documents, expected.documents);
    assert_int_equal(got->bytes, expected.bytes);
    assert_int_equal(got->tokens, expected.tokens);
    assert_true(fabs(got->nats - expected.nats) < 1e-5 * expected.nats);
    all->documents += got->documents;
    all->bytes += got->bytes;
    all->tokens += got->tokens;
    all->nats += got->nats;
    pith__source_close(&source);
    pith__tokenizer_free(tokenizer);
    fixture_close(&f);
}

/* ---- tests ----------------------------------------------------------------------------------- */

typedef struct events {
    size_t count;
    size_t stop_after; /* 0: never */
    double bits_per_byte[4];
    char source[4][16];
} events;

static bool take_event(void *user, const pith__train_event *event)
{
    events *e = user;
    assert_int_equal(event->kind, PITH__TRAIN_EVALUATION);
    assert_true(e->count < 4);
    e->bits_per_byte[e->count] = event->bits_per_byte;
    (void)snprintf(e->source[e->count], sizeof e->source[0], "%s",
                   event->source == NULL ? "all" : event->source);
    e->count++;
    return e->count != e->stop_after;
}

static void every_token_once_with_its_context(void **state)
{
    (void)state;
    corpus c;
    events e = {0};
    pith_error err = {0};
    pith__evaluation out[3];
    pith__evaluation all = {0};
    corpus_make(&c);
    const pith__train_source sources[] = {{c.path, 1.0}, {c.short_path, 1.0}};
    pith__evaluate_settings s = settings_for(sources, 2);
    s.event = take_event;
    s.event_user = &e;
    assert_ok(pith__train_evaluate(&s, &pith__allocator_default, out, &err), err);
    expect_source(&out[0], c.path, "words", EVERY, LENGTH, &all);
    expect_source(&out[1], c.short_path, "short", EVERY, LENGTH, &all);
    assert_string_equal(out[2].source, "");
    assert_int_equal(out[2].documents, all.documents);
    assert_int_equal(out[2].bytes, all.bytes);
    assert_int_equal(out[2].tokens, all.tokens);
    assert_true(fabs(out[2].nats - all.nats) < 1e-9 * all.nats);
    assert_int_equal(e.count, 3);
    assert_string_equal(e.source[0], "words");
    assert_string_equal(e.source[1], "short");
    assert_string_equal(e.source[2], "all");
    for (size_t i = 0; i < 3; i++) {
        const double expected = out[i].nats / log(2.0) / (double)out[i].bytes;
        assert_true(fabs(e.bits_per_byte[i] - expected) < 1e-9);
    }
    /* nothing held out: all of the file; another window gives other numbers */
    s = settings_for(sources, 1);
    s.held_out_every = 0;
    s.length = 4 * LENGTH;
    assert_ok(pith__train_evaluate(&s, &pith__allocator_default, out, &err), err);
    assert_int_equal(out[0].documents, DOCUMENTS);
    expect_source(&out[0], c.path, "words", 0, (size_t)4 * LENGTH, &all);
    corpus_remove(&c);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    corpus c;
    pith_error err = {0};
    pith__evaluation one[2];
    pith__evaluation three[2];
    corpus_make(&c);
    const pith__train_source source = {c.path, 1.0};
    pith__evaluate_settings s = settings_for(&source, 1);
    s.threads = 1;
    assert_ok(pith__train_evaluate(&s, &pith__allocator_default, one, &err), err);
    s.threads = 3;
    assert_ok(pith__train_evaluate(&s, &pith__allocator_default, three, &err), err);
    assert_true(one[1].nats == three[1].nats);
    corpus_remove(&c);
}

static void documents_go_into_a_folder(void **state)
{
    (void)state;
    corpus c;
    pith_error err = {0};
    pith__evaluation out[3];
    pith__source source;
    char path[128];
    corpus_make(&c);
    const pith__train_source sources[] = {{c.path, 1.0}, {c.short_path, 1.0}};
    pith__evaluate_settings s = settings_for(sources, 2);
    s.folder = c.out;
    for (size_t round = 0; round < 2; round++) { /* the second time it is there */
        assert_ok(pith__train_evaluate(&s, &pith__allocator_default, out, &err), err);
    }
    (void)snprintf(path, sizeof path, "%s/words.txt", c.out);
    assert_ok(pith__source_open(path, 1.0, 0, &pith__allocator_default, &source, &err), err);
    assert_int_equal(source.n_training, out[0].documents);
    uint64_t bytes = 0;
    for (size_t i = 0; i < source.n_training; i++) {
        bytes += source.training[i].end - source.training[i].start;
    }
    assert_int_equal(bytes, out[0].bytes);
    assert_int_equal(source.file.size, bytes + source.n_training * strlen("\n<|endoftext|>\n"));
    pith__source_close(&source);
    /* what was held out is held out again */
    assert_status(pith__source_open(path, 1.0, EVERY, &pith__allocator_default, &source, &err),
                  PITH_E_CORRUPT);
    s.folder = c.path; /* a file */
    assert_status(pith__train_evaluate(&s, &pith__allocator_default, out, &err), PITH_E_IO);
    corpus_remove(&c);
}

static void some_bytes_are_at_least_a_document(void **state)
{
    (void)state;
    corpus c;
    pith_error err = {0};
    pith__evaluation out[2];
    corpus_make(&c);
    const pith__train_source source = {c.path, 1.0};
    pith__evaluate_settings s = settings_for(&source, 1);
    assert_ok(pith__train_evaluate(&s, &pith__allocator_default, out, &err), err);
    const pith__evaluation whole = out[1];
    s.bytes = 1;
    assert_ok(pith__train_evaluate(&s, &pith__allocator_default, out, &err), err);
    assert_int_equal(out[1].documents, 1);
    s.bytes = whole.bytes / 2;
    assert_ok(pith__train_evaluate(&s, &pith__allocator_default, out, &err), err);
    assert_true(out[1].documents > 1 && out[1].documents < whole.documents);
    assert_true(out[1].bytes >= s.bytes);
    s.bytes = whole.bytes;
    assert_ok(pith__train_evaluate(&s, &pith__allocator_default, out, &err), err);
    assert_true(out[1].nats == whole.nats);
    corpus_remove(&c);
}

static void what_is_refused(void **state)
{
    (void)state;
    corpus c;
    pith_error err = {0};
    pith__evaluation out[3];
    corpus_make(&c);
    const pith__train_source sources[] = {{c.path, 1.0}, {"/tmp/pith-no-such-file", 1.0}};
    pith__evaluate_settings s = settings_for(sources, 2);
    assert_status(pith__train_evaluate(&s, &pith__allocator_default, out, &err), PITH_E_IO);
    s = settings_for(sources, 0);
    assert_status(pith__train_evaluate(&s, &pith__allocator_default, out, &err), PITH_E_ARGUMENT);
    s = settings_for(sources, 1);
    s.model = NULL;
    assert_status(pith__train_evaluate(&s, &pith__allocator_default, out, &err), PITH_E_ARGUMENT);
    s.model = c.path;
    assert_status(pith__train_evaluate(&s, &pith__allocator_default, out, &err), PITH_E_CORRUPT);
    s = settings_for(sources, 1);
    s.length = 1 << 20; /* above the context */
    assert_status(pith__train_evaluate(&s, &pith__allocator_default, out, &err), PITH_E_ARGUMENT);
    events e = {.stop_after = 1};
    s = settings_for(sources, 1);
    s.event = take_event;
    s.event_user = &e;
    assert_status(pith__train_evaluate(&s, &pith__allocator_default, out, &err), PITH_E_CANCELLED);
    corpus_remove(&c);
}

static pith_status sweep(const pith_allocator *mem, void *user)
{
    const corpus *c = user;
    const pith__train_source source = {c->short_path, 1.0};
    pith__evaluate_settings s = settings_for(&source, 1);
    pith__evaluation out[2];
    s.threads = 1;
    s.folder = c->out;
    return pith__train_evaluate(&s, mem, out, NULL);
}

static void no_memory(void **state)
{
    (void)state;
    corpus c;
    corpus_make(&c);
    test_sweep(sweep, &c);
    corpus_remove(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_token_once_with_its_context),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(documents_go_into_a_folder),
        cmocka_unit_test(some_bytes_are_at_least_a_document),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
