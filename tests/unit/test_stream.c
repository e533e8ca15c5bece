/*
 * test_stream.c: random numbers, files of documents, mixtures of them, and schedules.
 */
#include "golden_json.h"
#include "test.h"

#include "train/train.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

static const pith_allocator *const mem = &pith__allocator_default;

/* ---- random numbers ------------------------------------------------------------------ */

/* Computed once with big integers: runs must go on under any later version. */
static void random_numbers_stay_what_they_are(void **state)
{
    (void)state;
    assert_true(pith__random(0, 0, 0) == UINT64_C(0x2130748aaac80268));
    assert_true(pith__random(1, 2, 3) == UINT64_C(0xf3a13036f33803b1));
    assert_true(pith__random(UINT64_MAX, UINT64_MAX, UINT64_MAX) == UINT64_C(0x5ddfa6bd9f61d4cc));
}

/* Draw number i along one of the three arguments. */
static double unit_along(int axis, uint64_t i)
{
    return pith__random_unit(axis == 0 ? i : 11, axis == 1 ? i : 12, axis == 2 ? i : 13);
}

static void random_units_are_spread_evenly(void **state)
{
    (void)state;
    for (int axis = 0; axis < 3; axis++) {
        unsigned bins[256] = {0};
        for (uint64_t i = 0; i < 65536; i++) {
            const double u = unit_along(axis, i);
            assert_true(u >= 0.0 && u < 1.0);
            bins[(size_t)(u * 256.0)]++;
        }
        double chi = 0.0;
        for (size_t b = 0; b < 256; b++) {
            chi += ((double)bins[b] - 256.0) * ((double)bins[b] - 256.0) / 256.0;
        }
        /* 255 degrees of freedom: deviation 22.6; as bad as too far from even is too close to it */
        assert_true(chi > 255.0 - 4.0 * 22.6 && chi < 255.0 + 4.0 * 22.6);
    }
}

static void neighbouring_random_numbers_are_unrelated(void **state)
{
    (void)state;
    for (int axis = 0; axis < 3; axis++) {
        for (uint64_t lag = 1; lag <= 4; lag++) {
            double sum = 0.0;
            for (uint64_t i = 0; i < 65536; i++) {
                sum += (unit_along(axis, i) - 0.5) * (unit_along(axis, i + lag) - 0.5);
            }
            const double correlation = sum / 65536.0 * 12.0;
            assert_true(fabs(correlation) < 4.0 / 256.0);
        }
    }
}

static int bits_of(uint64_t x)
{
    int count = 0;
    for (; x != 0; x &= x - 1) {
        count++;
    }
    return count;
}

static void every_input_bit_flips_half_of_the_output(void **state)
{
    (void)state;
    for (int axis = 0; axis < 3; axis++) {
        for (int bit = 0; bit < 64; bit++) {
            int flipped = 0;
            for (uint64_t i = 0; i < 1024; i++) {
                const uint64_t flip = UINT64_C(1) << bit;
                const uint64_t a = pith__random(i, i + 1, i + 2);
                const uint64_t b =
                    pith__random(axis == 0 ? i ^ flip : i, axis == 1 ? (i + 1) ^ flip : i + 1,
                                 axis == 2 ? (i + 2) ^ flip : i + 2);
                flipped += bits_of(a ^ b);
            }
            /* binomial: 32 of 64 a time, deviation 4; of the mean of 1,024 times 0.125 */
            assert_true(fabs((double)flipped / 1024.0 - 32.0) < 5.0 * 0.125);
        }
    }
}

/* ---- schedules ------------------------------------------------------------------------- */

static void schedules_are_those_of_transformers(void **state)
{
    (void)state;
    json_t *root = golden_load(test_path("golden", "train/train.json"));
    const json_t *cases = json_object_get(root, "g_schedules");
    assert_true(json_array_size(cases) >= 6);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *one = json_array_get(cases, i);
        const json_t *multiplier = json_object_get(one, "multiplier");
        const char *kind = json_string_value(json_object_get(one, "kind"));
        assert_non_null(kind);
        const pith__schedule schedule = {
            .kind = strcmp(kind, "cosine") == 0 ? PITH__SCHEDULE_COSINE : PITH__SCHEDULE_LINEAR,
            .warm_up = (uint64_t)golden_integer(one, "warmup"),
            .total = (uint64_t)golden_integer(one, "total")};
        assert_int_equal(json_array_size(multiplier), schedule.total + 1);
        for (size_t step = 0; step < json_array_size(multiplier); step++) {
            const double expected = json_number_value(json_array_get(multiplier, step));
            assert_true(fabs(pith__schedule_at(&schedule, step) - expected) < 1e-8);
        }
    }
    json_decref(root);
}

/* Steps 0 .. count-1. */
static void check_schedule(pith__schedule schedule, const double *expected, size_t count)
{
    for (size_t step = 0; step < count; step++) {
        const double actual = pith__schedule_at(&schedule, step);
        if (!(fabs(actual - expected[step]) < 1e-12)) {
            fail_msg("kind %d, step %d: %g, expected %g", (int)schedule.kind, (int)step, actual,
                     expected[step]);
        }
    }
}

static void schedules_have_their_shapes(void **state)
{
    (void)state;
    check_schedule((pith__schedule){PITH__SCHEDULE_CONSTANT, 2, 4, 0},
                   (const double[]){0, 0.5, 1, 1, 1, 1, 1}, 7);
    check_schedule((pith__schedule){PITH__SCHEDULE_WSD, 2, 10, 4},
                   (const double[]){0, 0.5, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0}, 13);
    check_schedule((pith__schedule){PITH__SCHEDULE_WSD, 0, 3, 0}, (const double[]){1, 1, 1, 0, 0},
                   5);
    /* no room for all of the decay: it begins where the warm-up ends */
    check_schedule((pith__schedule){PITH__SCHEDULE_WSD, 2, 6, 100},
                   (const double[]){0, 0.5, 1, 0.75, 0.5, 0.25, 0, 0}, 8);
}

static void schedules_survive_odd_settings(void **state)
{
    (void)state;
    static const pith__schedule_kind falling[] = {PITH__SCHEDULE_LINEAR, PITH__SCHEDULE_COSINE,
                                                  PITH__SCHEDULE_WSD};
    for (size_t i = 0; i < 3; i++) {
        const pith__schedule_kind kind = falling[i];
        check_schedule((pith__schedule){kind, 0, 0, 0}, (const double[]){0, 0, 0}, 3);
        check_schedule((pith__schedule){kind, 4, 0, 2}, (const double[]){0, 0, 0, 0, 0, 0}, 6);
        check_schedule((pith__schedule){kind, 4, 2, 2}, (const double[]){0, 0.25, 0, 0, 0, 0}, 6);
        check_schedule((pith__schedule){kind, 2, 2, 2}, (const double[]){0, 0.5, 0, 0}, 4);
        const pith__schedule endless = {kind, 10, UINT64_MAX, UINT64_MAX};
        assert_true(pith__schedule_at(&endless, 10) == 1.0);
        assert_true(pith__schedule_at(&endless, UINT64_MAX) == 0.0);
    }
    check_schedule((pith__schedule){PITH__SCHEDULE_CONSTANT, 0, 0, 0}, (const double[]){1, 1}, 2);
}

/* ---- files of documents ---------------------------------------------------------------- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/pith-stream-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

/* Opens a source that reads `data`; the file is gone when this returns. */
static pith_status open_bytes(const char *name, const void *data, size_t size, double weight,
                              uint32_t held_out_every, const pith_allocator *from,
                              pith__source *out, pith_error *err)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    const pith_status status = pith__source_open(path, weight, held_out_every, from, out, err);
    assert_int_equal(unlink(path), 0);
    return status;
}

static pith__source open_text(const char *text, uint32_t held_out_every)
{
    pith_error err = {0};
    pith__source source;
    assert_ok(open_bytes("text.txt", text, strlen(text), 1.0, held_out_every, mem, &source, &err),
              err);
    return source;
}

static void check_document(const pith__source *source, size_t i, const char *expected)
{
    assert_true(i < source->n_training);
    const pith__document *d = &source->training[i];
    assert_int_equal(d->end - d->start, strlen(expected));
    assert_memory_equal(source->file.data + d->start, expected, strlen(expected));
}

/* `expected` ends with NULL. */
static void check_documents(const char *text, const char *const *expected)
{
    pith__source source = open_text(text, 0);
    size_t count = 0;
    for (; expected[count] != NULL; count++) {
        check_document(&source, count, expected[count]);
    }
    assert_int_equal(source.n_training, count);
    assert_int_equal(source.n_held_out, 0);
    pith__source_close(&source);
    pith__source_close(&source); /* closed is closed */
}

static void documents_end_at_separators(void **state)
{
    (void)state;
    static const char *const two[] = {"one\ntwo", "three", NULL};
    check_documents("one\ntwo\n<|endoftext|>\nthree\n<|endoftext|>\n", two);
    check_documents("one\ntwo\n<|endoftext|>\nthree\n<|endoftext|>", two);
    check_documents("one\ntwo\n<|endoftext|>\nthree\n", two);
    check_documents("one\ntwo\n<|endoftext|>\nthree", two);
}

static void line_ends_may_be_crlf(void **state)
{
    (void)state;
    static const char *const two[] = {"one\r\ntwo", "three", NULL};
    check_documents("one\r\ntwo\r\n<|endoftext|>\r\nthree\r\n<|endoftext|>\r\n", two);
    check_documents("one\r\ntwo\r\n<|endoftext|>\r\nthree\r\n", two);
    check_documents("one\r\ntwo\n<|endoftext|>\nthree\r\n<|endoftext|>", two);
}

static void empty_documents_are_left_out(void **state)
{
    (void)state;
    check_documents("<|endoftext|>\n\n<|endoftext|>\na\n<|endoftext|>\n<|endoftext|>\r\n\r\n"
                    "<|endoftext|>\nb\n<|endoftext|>\n\n",
                    (const char *const[]){"a", "b", NULL});
    /* more than one line break is text */
    check_documents("\n\n<|endoftext|>\n\r\r\n", (const char *const[]){"\n", "\r", NULL});
}

static void a_separator_inside_a_line_is_text(void **state)
{
    (void)state;
    static const char text[] = "a <|endoftext|>\n<|endoftext|> b\n <|endoftext|>\n<|endoftext|>\t\n"
                               "<|endoftext|\n<|endoftext|><|endoftext|>\n<|ENDOFTEXT|>\n"
                               "<|endoftext|>\r\r\nz";
    check_documents(text, (const char *const[]){text, NULL});
}

static void what_cannot_be_trained_on_is_refused(void **state)
{
    (void)state;
    static const char *const empty[] = {"", "\n", "<|endoftext|>", "<|endoftext|>\n\r\n"};
    pith_error err = {0};
    pith__source source;
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        assert_status(open_bytes("e.txt", empty[i], strlen(empty[i]), 1.0, 0, mem, &source, &err),
                      PITH_E_CORRUPT);
        assert_non_null(strstr(err.message, "e.txt"));
        pith__source_close(&source); /* a failed open leaves a closed source */
    }
    assert_status(open_bytes("e.txt", "text", 4, 1.0, 1, mem, &source, &err), PITH_E_CORRUPT);
    assert_status(pith__source_open("/nonexistent/e.txt", 1.0, 0, mem, &source, &err), PITH_E_IO);
    assert_status(pith__source_open(folder, 1.0, 0, mem, &source, &err), PITH_E_IO);
    pith__source_close(&source);
}

static void check_name(const char *file, const char *expected)
{
    pith_error err = {0};
    pith__source source;
    assert_ok(open_bytes(file, "text", 4, 2.5, 0, mem, &source, &err), err);
    assert_string_equal(source.name, expected);
    assert_true(source.weight == 2.5);
    pith__source_close(&source);
}

static void sources_are_named_after_their_files(void **state)
{
    (void)state;
    check_name("wiki_en.txt", "wiki_en");
    check_name("wiki.en.txt", "wiki.en");
    check_name("wiki", "wiki");
    check_name(".wiki", ".wiki");
    /* 63 bytes at most, and no part of a character: 62 letters, then two bytes that are one */
    char name[80];
    char expected[80];
    (void)snprintf(name, sizeof name, "%062d\xc3\xa9.txt", 0);
    (void)snprintf(expected, sizeof expected, "%062d", 0);
    check_name(name, expected);
    (void)snprintf(name, sizeof name, "%070d", 0);
    (void)snprintf(expected, sizeof expected, "%063d", 0);
    check_name(name, expected);
}

/* N of "document N". */
static int number_of(const pith__source *source, const pith__document *d)
{
    char text[32] = "";
    const size_t prefix = strlen("document ");
    const size_t size = d->end - d->start;
    assert_true(size > prefix && size < sizeof text);
    memcpy(text, source->file.data + d->start, size);
    char *end = NULL;
    const long number = strtol(text + prefix, &end, 10);
    assert_int_equal(*end, '\0');
    return (int)number;
}

/* The numbers were computed from the hash's definition with big integers. */
static void the_hash_of_documents_stays_what_it_is(void **state)
{
    (void)state;
    static const int held[] = {13, 20, 21, 30, 49, 64, 70, 82, 83, 87, 96};
    const size_t n_held = sizeof held / sizeof held[0];
    pith__buf text;
    pith_error err = {0};
    pith__buf_init(&text, mem, 1 << 20);
    for (int i = 0; i < 100; i++) {
        assert_ok(pith__buf_printf(&text, &err, "document %d\n<|endoftext|>\n", i), err);
    }
    pith__source source = open_text(text.data, 10);
    assert_int_equal(source.n_held_out, n_held);
    assert_int_equal(source.n_training, 100 - n_held);
    for (size_t i = 0; i < n_held; i++) {
        assert_int_equal(number_of(&source, &source.held_out[i]), held[i]);
    }
    pith__source_close(&source);
    pith__buf_deinit(&text);
}

static void the_held_out_share_is_fair(void **state)
{
    (void)state;
    static const uint32_t every[] = {2, 7, 16, 100};
    const double documents = 20000.0;
    pith__buf text;
    pith_error err = {0};
    pith__buf_init(&text, mem, 1 << 22);
    for (int i = 0; i < (int)documents; i++) {
        assert_ok(pith__buf_printf(&text, &err, "%d\n<|endoftext|>\n", i), err);
    }
    for (size_t i = 0; i < sizeof every / sizeof every[0]; i++) {
        pith__source source = open_text(text.data, every[i]);
        const double share = 1.0 / (double)every[i];
        const double deviation = sqrt(documents * share * (1.0 - share));
        assert_true(fabs((double)source.n_held_out - documents * share) < 4.0 * deviation);
        assert_true((double)(source.n_held_out + source.n_training) == documents);
        pith__source_close(&source);
    }
    pith__buf_deinit(&text);
}

/* Whether "document N" is in one of the parts, and in no other. */
static bool is_held_out(const pith__source *source, const char *document)
{
    const unsigned char *data = source->file.data;
    size_t found[2] = {0, 0};
    for (size_t i = 0; i < source->n_training + source->n_held_out; i++) {
        const bool held = i >= source->n_training;
        const pith__document *d =
            held ? &source->held_out[i - source->n_training] : &source->training[i];
        found[held] += d->end - d->start == strlen(document) &&
                       memcmp(data + d->start, document, d->end - d->start) == 0;
    }
    assert_int_equal(found[0] + found[1], 1);
    return found[1] == 1;
}

/* At the start of one file, behind the last separator of another. */
static void the_side_depends_on_the_document_alone(void **state)
{
    (void)state;
    size_t sides[2] = {0, 0};
    for (int i = 0; i < 60; i++) {
        char document[32];
        char text[256];
        (void)snprintf(document, sizeof document, "document %d", i);
        /* of the two others one is trained on, so that there is a source */
        (void)snprintf(text, sizeof text, "%s\r\n<|endoftext|>\r\na\n<|endoftext|>\nb\n", document);
        pith__source first = open_text(text, 2);
        (void)snprintf(text, sizeof text, "a\n<|endoftext|>\nb\n<|endoftext|>\n%s", document);
        pith__source last = open_text(text, 2);
        assert_int_not_equal(is_held_out(&first, "a"), is_held_out(&first, "b"));
        assert_int_equal(is_held_out(&first, document), is_held_out(&last, document));
        sides[is_held_out(&first, document)]++;
        pith__source_close(&first);
        pith__source_close(&last);
    }
    assert_true(sides[0] > 10 && sides[1] > 10);
}

static void copies_are_left_out(void **state)
{
    (void)state;
    check_documents("a\n<|endoftext|>\nb\n<|endoftext|>\r\na\r\n<|endoftext|>\na a\n"
                    "<|endoftext|>\nb\n<|endoftext|>\nA\n<|endoftext|>\na",
                    (const char *const[]){"a", "b", "a a", "A", NULL});
}

/* "document 0" to "document COUNT - 1", then all of them once more from the last to the first. */
static pith__buf there_and_back(int count)
{
    pith_error err = {0};
    pith__buf text;
    pith__buf_init(&text, mem, 1 << 22);
    for (int i = 0; i < 2 * count; i++) {
        assert_ok(pith__buf_printf(&text, &err, "document %d\n<|endoftext|>\n",
                                   i < count ? i : 2 * count - 1 - i),
                  err);
    }
    return text;
}

/* So many that they have to be remembered in larger and larger tables; the first ones are kept. */
static void copies_are_found_among_many(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    pith__buf text = there_and_back(COUNT);
    for (uint32_t every = 0; every <= 5; every += 5) {
        pith__source source = open_text(text.data, every);
        size_t held = 0;
        assert_int_equal(source.n_training + source.n_held_out, COUNT);
        assert_int_equal(source.n_held_out > 0, every > 0);
        for (int i = 0; i < COUNT; i++) {
            if (held < source.n_held_out && number_of(&source, &source.held_out[held]) == i) {
                held++;
            } else {
                assert_int_equal(number_of(&source, &source.training[(size_t)i - held]), i);
            }
        }
        assert_int_equal(held, source.n_held_out);
        pith__source_close(&source);
    }
    pith__buf_deinit(&text);
}

static pith_status open_and_close(const pith_allocator *from, void *user)
{
    const pith__buf *text = user;
    pith_error err = {0};
    pith__source source;
    const pith_status status =
        open_bytes("sweep.txt", text->data, text->size, 1.0, 4, from, &source, &err);
    pith__source_close(&source);
    return status;
}

static void opening_survives_lack_of_memory(void **state)
{
    (void)state;
    pith__buf text = there_and_back(1500);
    test_sweep(open_and_close, &text);
    pith__buf_deinit(&text);
}

enum { SLICE = 256 * 1024 };

/* ---- mixtures: what they are made of --------------------------------------------------- */

static pith__tokenizer *open_tokenizer(const char *model)
{
    pith_error err = {0};
    pith__file file;
    pith__gguf gguf;
    pith__tokenizer *tokenizer = NULL;
    assert_ok(pith__file_open(test_path("golden", model), &file, &err), err);
    assert_ok(pith__gguf_parse(file.data, file.size, mem, &gguf, &err), err);
    assert_ok(pith__tokenizer_from_gguf(&gguf, mem, &tokenizer, &err), err);
    pith__gguf_deinit(&gguf);
    pith__file_close(&file);
    return tokenizer;
}

/* BOS and EOS are the same token. */
static pith__tokenizer *open_boot(void)
{
    return open_tokenizer("models/boot-ckpt.gguf");
}

static void add(pith__buf *text, const char *bytes, size_t size)
{
    pith_error err = {0};
    assert_ok(pith__buf_append(text, bytes, size, &err), err);
}

static void add_text(pith__buf *text, const char *bytes)
{
    add(text, bytes, strlen(bytes));
}

static void end_document(pith__buf *text)
{
    add_text(text, "\n<|endoftext|>\n");
}

/* About `size` bytes of words in lines. */
static void add_words(pith__buf *text, size_t size, uint64_t *random)
{
    static const char *const words[] = {"the",     " cat", " sat\n", " on",  " a",
                                        " mat.\n", " 42",  " \t",    "\n\n", " \xc3\xa9t\xc3\xa9",
                                        " x = y;", " Dog", "'s",     " end", " <|endoftext|>",
                                        "\r\n"};
    for (const size_t end = text->size + size; text->size < end;) {
        add_text(text, words[test_random_below(random, sizeof words / sizeof words[0])]);
    }
    add_text(text, " last");
}

static pith__source open_buf(pith__buf *text, const char *name, double weight)
{
    pith_error err = {0};
    pith__source source;
    assert_ok(open_bytes(name, text->data, text->size, weight, 0, mem, &source, &err), err);
    pith__buf_deinit(text);
    return source;
}

/* Documents that differ, of all kinds: short, long, of one byte, no UTF-8. */
static pith__source open_varied(double weight)
{
    pith__buf text;
    uint64_t random = 1;
    pith__buf_init(&text, mem, 1 << 24);
    for (int i = 0; i < 30; i++) {
        pith_error err = {0};
        assert_ok(pith__buf_printf(&text, &err, "Document %d:", i), err);
        add_words(&text, test_random_below(&random, 2000), &random);
        end_document(&text);
    }
    add_text(&text, "x");
    end_document(&text);
    add_text(&text, "bad \xff\xfe\x80 bytes \xe2\x82\n\xf0\x9f");
    end_document(&text);
    add(&text, "nul \0 byte", 10);
    end_document(&text);
    add_words(&text, 700000, &random);
    end_document(&text);
    return open_buf(&text, "varied.txt", weight);
}

static pith__source open_short(double weight, int documents)
{
    pith__buf text;
    pith__buf_init(&text, mem, 1 << 20);
    for (int i = 0; i < documents; i++) {
        pith_error err = {0};
        assert_ok(pith__buf_printf(&text, &err, "%d short words", i), err);
        end_document(&text);
    }
    return open_buf(&text, "short.txt", weight);
}

/* ---- mixtures: one source's stream ----------------------------------------------------- */

/* Samples put behind each other. */
typedef struct stream {
    size_t length; /* of a sample */
    size_t count;  /* tokens */
    uint32_t *ids, *targets, *documents, *positions;
} stream;

static stream stream_make(size_t length, size_t samples)
{
    const size_t count = length * samples;
    stream s = {.length = length, .count = count};
    s.ids = malloc(4 * count * sizeof *s.ids);
    assert_non_null(s.ids);
    memset(s.ids, 0xee, 4 * count * sizeof *s.ids);
    s.targets = s.ids + count;
    s.documents = s.ids + 2 * count;
    s.positions = s.ids + 3 * count;
    return s;
}

static pith__sample stream_sample(const stream *s, size_t i)
{
    const size_t at = i * s->length;
    return (pith__sample){.length = s->length,
                          .ids = s->ids + at,
                          .targets = s->targets + at,
                          .documents = s->documents + at,
                          .positions = s->positions + at};
}

/* Samples n, n + 1, ... until the stream is full. */
static void stream_fill(stream *s, pith__mixture *mixture, uint64_t n)
{
    pith_error err = {0};
    for (size_t i = 0; i < s->count / s->length; i++) {
        pith__sample sample = stream_sample(s, i);
        assert_ok(pith__mixture_next(mixture, n + i, &sample, &err), err);
    }
}

static stream stream_read(const pith__source *source, const pith__tokenizer *tokenizer,
                          uint64_t seed, size_t length, size_t samples)
{
    pith_error err = {0};
    pith__mixture mixture;
    stream s = stream_make(length, samples);
    assert_ok(pith__mixture_init(source, 1, tokenizer, seed, mem, &mixture, &err), err);
    stream_fill(&s, &mixture, 0);
    pith__mixture_deinit(&mixture);
    pith__mixture_deinit(&mixture); /* once more does no harm */
    return s;
}

static void check_same(const stream *a, const stream *b)
{
    assert_int_equal(a->count, b->count);
    assert_memory_equal(a->ids, b->ids, 4 * a->count * sizeof *a->ids);
}

/*
 * Everything but the ids follows from the ids: BOS is in no text. The target of the very last
 * token is not known here.
 */
static void check_rest(const stream *s, const pith__tokenizer *tokenizer)
{
    const uint32_t bos = pith__tokenizer_bos(tokenizer);
    uint32_t document = 0;
    uint32_t position = 0;
    for (size_t i = 0; i < s->count; i++) {
        if (i % s->length == 0) {
            document = 0;
            position = 0;
        } else if (s->ids[i] == bos) {
            document++;
            position = 0;
        }
        assert_int_equal(s->documents[i], document);
        assert_int_equal(s->positions[i], position++);
        if (i + 1 < s->count) {
            const bool ends = s->ids[i + 1] == bos;
            assert_int_equal(s->targets[i], ends ? pith__tokenizer_eos(tokenizer) : s->ids[i + 1]);
        }
    }
}

/* The bytes that ids[0, count) stand for. */
static pith__buf spell(const pith__tokenizer *tokenizer, const uint32_t *ids, size_t count)
{
    pith_error err = {0};
    pith__buf out;
    pith__buf_init(&out, mem, 1 << 24);
    for (size_t i = 0; i < count; i++) {
        const char *bytes = NULL;
        size_t size = 0;
        assert_ok(pith__tokenizer_bytes(tokenizer, ids[i], &bytes, &size, &err), err);
        add(&out, bytes, size);
    }
    return out;
}

static void check_ids(const pith__tokenizer *tokenizer, const char *text, size_t size,
                      const uint32_t *ids, size_t count)
{
    pith_error err = {0};
    pith__tokens tokens = {NULL, 0, 0};
    assert_ok(pith__tokenizer_encode(tokenizer, text, size, false, mem, &tokens, &err), err);
    assert_int_equal(tokens.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(tokens.items[i].id, ids[i]);
    }
    pith__tokens_deinit(&tokens, mem);
}

/* Which document ids[0, count) are; documents of one slice must be tokenised as a whole. */
static size_t identify(const pith__source *source, const pith__tokenizer *tokenizer,
                       const uint32_t *ids, size_t count)
{
    pith__buf bytes = spell(tokenizer, ids, count);
    size_t found = source->n_training;
    for (size_t i = 0; i < source->n_training; i++) {
        const pith__document *d = &source->training[i];
        const char *text = (const char *)source->file.data + d->start;
        const size_t size = d->end - d->start;
        if (size == bytes.size && memcmp(text, bytes.data, size) == 0) {
            found = i;
            if (size <= SLICE) {
                check_ids(tokenizer, text, size, ids, count);
            }
        }
    }
    pith__buf_deinit(&bytes);
    return found;
}

/* The documents of the stream in their order; the last one, which may be cut, is left out. */
static size_t list_documents(const stream *s, const pith__source *source,
                             const pith__tokenizer *tokenizer, size_t *out, size_t max)
{
    const uint32_t bos = pith__tokenizer_bos(tokenizer);
    size_t count = 0;
    size_t start = 0;
    assert_int_equal(s->ids[0], bos);
    for (size_t i = 1; i < s->count; i++) {
        if (s->ids[i] == bos) {
            assert_true(count < max);
            out[count] = identify(source, tokenizer, s->ids + start + 1, i - start - 1);
            assert_true(out[count] < source->n_training);
            count++;
            start = i;
        }
    }
    return count;
}

static void check_permutation(const size_t *order, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t seen = 0;
        for (size_t j = 0; j < count; j++) {
            seen += order[j] == i;
        }
        assert_int_equal(seen, 1);
    }
}

static void check_epochs(const char *model)
{
    enum { MAX = 1000 };
    pith__tokenizer *tokenizer = open_tokenizer(model);
    pith__source source = open_varied(1.0);
    size_t order[MAX];
    stream s = stream_read(&source, tokenizer, 5, 1009, 1200);
    check_rest(&s, tokenizer);
    const size_t count = list_documents(&s, &source, tokenizer, order, MAX);
    const size_t epochs = count / source.n_training;
    assert_true(epochs >= 2);
    for (size_t e = 0; e < epochs; e++) {
        check_permutation(order + e * source.n_training, source.n_training);
    }
    assert_memory_not_equal(order, order + source.n_training, source.n_training * sizeof *order);
    free(s.ids);
    pith__source_close(&source);
    pith__tokenizer_free(tokenizer);
}

static void every_document_comes_once_an_epoch(void **state)
{
    (void)state;
    check_epochs("models/boot-ckpt.gguf");
}

/* This vocabulary names an EOS of its own: that is what the last token predicts. */
static void eos_is_predicted_where_there_is_one(void **state)
{
    (void)state;
    pith__tokenizer *tokenizer = open_tokenizer("models/llama_untied.gguf");
    assert_int_not_equal(pith__tokenizer_eos(tokenizer), pith__tokenizer_bos(tokenizer));
    pith__tokenizer_free(tokenizer);
    check_epochs("models/llama_untied.gguf");
}

/* For the stream itself it makes no difference how it is cut into samples. */
static void the_length_of_samples_changes_nothing_else(void **state)
{
    (void)state;
    pith__tokenizer *tokenizer = open_boot();
    pith__source source = open_varied(1.0);
    stream whole = stream_read(&source, tokenizer, 3, 6000, 1);
    static const size_t lengths[] = {1, 2, 3, 8, 100};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        stream s = stream_read(&source, tokenizer, 3, lengths[i], 6000 / lengths[i]);
        check_rest(&s, tokenizer);
        assert_memory_equal(s.ids, whole.ids, s.count * sizeof *s.ids);
        assert_memory_equal(s.targets, whole.targets, s.count * sizeof *s.targets);
        free(s.ids);
    }
    free(whole.ids);
    pith__source_close(&source);
    pith__tokenizer_free(tokenizer);
}

static void a_single_short_document_repeats(void **state)
{
    (void)state;
    pith__tokenizer *tokenizer = open_boot();
    pith__source source = open_short(1.0, 1);
    const char *text = (const char *)source.file.data;
    const uint32_t bos = pith__tokenizer_bos(tokenizer);
    stream s = stream_read(&source, tokenizer, 9, 100, 3);
    check_rest(&s, tokenizer);
    size_t period = 1;
    while (s.ids[period] != bos) {
        period++;
    }
    check_ids(tokenizer, text, strlen("0 short words"), s.ids + 1, period - 1);
    for (size_t i = 0; i + period < s.count; i++) {
        assert_int_equal(s.ids[i + period], s.ids[i]);
    }
    /* so does the place: the epoch counts the repetitions */
    pith_error err = {0};
    pith__mixture mixture;
    assert_ok(pith__mixture_init(&source, 1, tokenizer, 9, mem, &mixture, &err), err);
    stream_fill(&s, &mixture, 0);
    assert_int_equal(mixture.places[0].epoch, s.count / period);
    assert_int_equal(mixture.places[0].index, 0);
    assert_int_equal(mixture.places[0].token, s.count % period);
    pith__mixture_deinit(&mixture);
    free(s.ids);
    pith__source_close(&source);
    pith__tokenizer_free(tokenizer);
}

/* ---- mixtures: documents longer than a slice ------------------------------------------- */

/* The document's tokens must be those of its parts, which end at cuts[0 .. n-1]. */
static void check_slices(pith__buf *text, const size_t *cuts, size_t n)
{
    pith_error err = {0};
    pith__tokenizer *tokenizer = open_boot();
    const uint32_t bos = pith__tokenizer_bos(tokenizer);
    pith__tokens tokens = {NULL, 0, 0};
    for (size_t i = 0, start = 0; i < n; start = cuts[i++]) {
        assert_ok(pith__tokenizer_encode(tokenizer, text->data + start, cuts[i] - start, false, mem,
                                         &tokens, &err),
                  err);
    }
    assert_int_equal(cuts[n - 1], text->size);
    pith__source source = open_buf(text, "long.txt", 1.0);
    stream s = stream_read(&source, tokenizer, 4, 1000, 2 * tokens.count / 1000 + 3);
    check_rest(&s, tokenizer);
    for (size_t i = 0; i < s.count; i++) {
        const size_t item = i % (tokens.count + 1);
        assert_int_equal(s.ids[i], item == 0 ? bos : tokens.items[item - 1].id);
    }
    free(s.ids);
    pith__tokens_deinit(&tokens, mem);
    pith__source_close(&source);
    pith__tokenizer_free(tokenizer);
}

static void long_documents_are_cut_behind_lines(void **state)
{
    (void)state;
    pith__buf text;
    size_t cuts[4];
    pith__buf_init(&text, mem, 1 << 24);
    for (size_t i = 0; i < 4; i++) {
        for (size_t end = text.size + 200000; text.size < end;) {
            add_text(&text, "some words ");
        }
        add_text(&text, i < 3 ? "\n\n" : "."); /* one token, if it is not cut */
        cuts[i] = text.size;
    }
    check_slices(&text, cuts, 4);
}

static void lines_that_are_too_long_are_cut_between_characters(void **state)
{
    (void)state;
    pith__buf text;
    pith__buf_init(&text, mem, 1 << 24);
    add_text(&text, "xx");
    while (text.size < 600000) {
        add_text(&text, "\xe2\x82\xac ab"); /* six bytes; the slice ends in the first three */
    }
    size_t cuts[] = {SLICE, 0, text.size};
    for (size_t i = 0; i < 2; i++) {
        cuts[i] = (i == 0 ? 0 : cuts[0]) + SLICE;
        while (((unsigned char)text.data[cuts[i]] & 0xc0) == 0x80) {
            cuts[i]--;
        }
    }
    assert_int_not_equal(cuts[0], SLICE); /* the text was made for it */
    check_slices(&text, cuts, 3);
}

static void long_documents_need_not_be_text(void **state)
{
    (void)state;
    pith__buf text;
    pith__buf_init(&text, mem, 1 << 24);
    while (text.size < SLICE + 1000) {
        add_text(&text, "\x80\x80\x80\x80\x80\x80\x80\x80");
    }
    const size_t cuts[] = {SLICE, text.size};
    check_slices(&text, cuts, 2);
}

/* ---- mixtures: several sources --------------------------------------------------------- */

enum { SOURCES = 3 };

static void open_three(pith__source sources[SOURCES])
{
    sources[0] = open_short(5.0, 100);
    sources[1] = open_varied(3.0);
    sources[2] = open_short(2.0, 3);
}

static void close_three(pith__source sources[SOURCES])
{
    for (size_t i = 0; i < SOURCES; i++) {
        pith__source_close(&sources[i]);
    }
}

/* Which source sample n came from: the one whose place moved. */
static size_t next_source(pith__mixture *mixture, uint64_t n, pith__sample *sample)
{
    pith_error err = {0};
    pith__stream_place before[SOURCES];
    memcpy(before, mixture->places, sizeof before);
    assert_ok(pith__mixture_next(mixture, n, sample, &err), err);
    size_t moved = SOURCES;
    for (size_t i = 0; i < SOURCES; i++) {
        if (memcmp(&before[i], &mixture->places[i], sizeof before[i]) != 0) {
            assert_int_equal(moved, SOURCES);
            moved = i;
        }
    }
    assert_true(moved < SOURCES);
    return moved;
}

static void sources_get_their_shares(void **state)
{
    (void)state;
    static const size_t first[] = {1, 0, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 2, 0, 1, 1};
    const size_t samples = 20000;
    pith_error err = {0};
    pith__tokenizer *tokenizer = open_boot();
    pith__source sources[SOURCES];
    pith__mixture mixture;
    stream s = stream_make(3, 1);
    pith__sample sample = stream_sample(&s, 0);
    size_t counts[SOURCES] = {0};
    open_three(sources);
    assert_ok(pith__mixture_init(sources, SOURCES, tokenizer, 7, mem, &mixture, &err), err);
    for (size_t n = 0; n < samples; n++) {
        const size_t source = next_source(&mixture, n, &sample);
        counts[source]++;
        if (n < sizeof first / sizeof first[0]) {
            assert_int_equal(source, first[n]); /* computed from the definition */
        }
    }
    for (size_t i = 0; i < SOURCES; i++) {
        const double share = sources[i].weight / 10.0;
        const double deviation = sqrt((double)samples * share * (1.0 - share));
        assert_true(fabs((double)counts[i] - (double)samples * share) < 4.0 * deviation);
    }
    pith__mixture_deinit(&mixture);
    free(s.ids);
    close_three(sources);
    pith__tokenizer_free(tokenizer);
}

/* Computed from the definition with big integers: places in checkpoints must keep their meaning. */
static void orders_stay_what_they_are(void **state)
{
    (void)state;
    static const size_t expected[] = {4, 9, 1, 3, 6, 0, 8, 2, 7, 5, 4, 3, 5, 7, 2, 1, 9, 8, 6, 0};
    pith__tokenizer *tokenizer = open_boot();
    pith__source source = open_short(1.0, 10);
    size_t order[200];
    stream s = stream_read(&source, tokenizer, 7, 50, 10);
    assert_true(list_documents(&s, &source, tokenizer, order, 200) >= 20);
    assert_memory_equal(order, expected, sizeof expected);
    free(s.ids);
    pith__source_close(&source);
    pith__tokenizer_free(tokenizer);
}

static void seeds_and_sources_have_orders_of_their_own(void **state)
{
    (void)state;
    pith__tokenizer *tokenizer = open_boot();
    pith__source source = open_short(1.0, 50);
    stream a = stream_read(&source, tokenizer, 1, 100, 1);
    stream again = stream_read(&source, tokenizer, 1, 100, 1);
    stream other = stream_read(&source, tokenizer, 2, 100, 1);
    check_same(&a, &again);
    assert_memory_not_equal(a.ids, other.ids, 100 * sizeof *a.ids);
    /* the same file twice */
    pith_error err = {0};
    const pith__source twins[] = {source, source};
    pith__mixture mixture;
    assert_ok(pith__mixture_init(twins, 2, tokenizer, 1, mem, &mixture, &err), err);
    for (uint64_t n = 0; mixture.places[1].index == 0; n++) {
        pith__sample sample = stream_sample(&other, 0);
        assert_ok(pith__mixture_next(&mixture, n, &sample, &err), err);
    }
    assert_memory_not_equal(a.ids, other.ids, 100 * sizeof *a.ids);
    pith__mixture_deinit(&mixture);
    free(a.ids);
    free(again.ids);
    free(other.ids);
    pith__source_close(&source);
    pith__tokenizer_free(tokenizer);
}

/* ---- mixtures: going on ----------------------------------------------------------------- */

/* Returns the token at which source 1 was left. */
static uint64_t check_resume(const pith__source *sources, const pith__tokenizer *tokenizer,
                             size_t length, size_t before, size_t after)
{
    pith_error err = {0};
    pith__mixture first;
    pith__mixture second;
    stream skipped = stream_make(length, before);
    stream a = stream_make(length, after);
    stream b = stream_make(length, after);
    assert_ok(pith__mixture_init(sources, SOURCES, tokenizer, 21, mem, &first, &err), err);
    assert_ok(pith__mixture_init(sources, SOURCES, tokenizer, 21, mem, &second, &err), err);
    stream_fill(&skipped, &first, 0);
    const uint64_t left = first.places[1].token;
    memcpy(second.places, first.places, SOURCES * sizeof *first.places);
    stream_fill(&a, &first, before);
    stream_fill(&b, &second, before);
    check_same(&a, &b);
    assert_memory_equal(first.places, second.places, SOURCES * sizeof *first.places);
    /* back to the start, with caches full of something else */
    memset(second.places, 0, SOURCES * sizeof *second.places);
    stream c = stream_make(length, before);
    stream_fill(&c, &second, 0);
    check_same(&skipped, &c);
    pith__mixture_deinit(&first);
    pith__mixture_deinit(&second);
    free(skipped.ids);
    free(a.ids);
    free(b.ids);
    free(c.ids);
    return left;
}

/* Tokens of what open_varied() has last: 700,000 bytes in slices of 262,144. */
static double count_longest(const pith__source *source, const pith__tokenizer *tokenizer)
{
    pith_error err = {0};
    size_t count = 0;
    const pith__document *d = &source->training[source->n_training - 1];
    assert_in_range(d->end - d->start, 700000, 700100);
    assert_ok(pith__tokenizer_count(tokenizer, (const char *)source->file.data + d->start,
                                    d->end - d->start, mem, &count, &err),
              err);
    return (double)count;
}

static void a_resumed_stream_goes_on(void **state)
{
    (void)state;
    pith__tokenizer *tokenizer = open_boot();
    pith__source sources[SOURCES];
    open_three(sources);
    (void)check_resume(sources, tokenizer, 97, 50, 30);
    (void)check_resume(sources, tokenizer, 97, 1, 30);
    (void)check_resume(sources, tokenizer, 1, 333, 200);
    /* one stop at least must be in each of the long document's three slices */
    sources[1].weight = 50.0;
    const double tokens = count_longest(&sources[1], tokenizer);
    unsigned seen = 0;
    for (size_t before = 10; before <= 120; before += 10) {
        const double share = (double)check_resume(sources, tokenizer, 5000, before, 10) / tokens;
        seen |= share > 0.10 && share < 0.35 ? 1u : 0u;
        seen |= share > 0.40 && share < 0.70 ? 2u : 0u;
        seen |= share > 0.80 ? 4u : 0u;
    }
    assert_int_equal(seen, 7);
    close_three(sources);
    pith__tokenizer_free(tokenizer);
}

/* All slices of a long document, back and forth, within one mixture. */
static void places_may_be_set_at_any_time(void **state)
{
    (void)state;
    enum { SAMPLES = 130, LENGTH = 4000 };
    pith_error err = {0};
    pith__tokenizer *tokenizer = open_boot();
    pith__source source = open_varied(1.0);
    pith__mixture mixture;
    pith__stream_place places[SAMPLES];
    stream s = stream_make(LENGTH, SAMPLES);
    stream one = stream_make(LENGTH, 1);
    pith__sample sample = stream_sample(&one, 0);
    assert_ok(pith__mixture_init(&source, 1, tokenizer, 5, mem, &mixture, &err), err);
    uint64_t furthest = 0;
    for (size_t i = 0; i < SAMPLES; i++) {
        pith__sample next = stream_sample(&s, i);
        places[i] = mixture.places[0];
        furthest = places[i].token > furthest ? places[i].token : furthest;
        assert_ok(pith__mixture_next(&mixture, i, &next, &err), err);
    }
    assert_true((double)furthest > 0.8 * count_longest(&source, tokenizer)); /* in slice 3 */
    uint64_t random = 6;
    for (size_t i = 0; i < 60; i++) {
        const size_t n = test_random_below(&random, SAMPLES);
        mixture.places[0] = places[n];
        assert_ok(pith__mixture_next(&mixture, n, &sample, &err), err);
        assert_memory_equal(sample.ids, s.ids + n * LENGTH, LENGTH * sizeof *s.ids);
        assert_memory_equal(sample.targets, s.targets + n * LENGTH, LENGTH * sizeof *s.ids);
    }
    pith__mixture_deinit(&mixture);
    free(s.ids);
    free(one.ids);
    pith__source_close(&source);
    pith__tokenizer_free(tokenizer);
}

static void check_bad_place(pith__mixture *mixture, pith__stream_place place)
{
    pith_error err = {0};
    stream s = stream_make(10, 1);
    pith__sample sample = stream_sample(&s, 0);
    mixture->places[0] = place;
    assert_status(pith__mixture_next(mixture, 0, &sample, &err), PITH_E_MISMATCH);
    assert_non_null(strstr(err.message, "short"));
    assert_memory_equal(&mixture->places[0], &place, sizeof place);
    mixture->places[0] = (pith__stream_place){0, 0, 0};
    assert_ok(pith__mixture_next(mixture, 0, &sample, &err), err);
    free(s.ids);
}

/* A checkpoint of other data. */
static void places_that_do_not_exist_are_a_mismatch(void **state)
{
    (void)state;
    pith_error err = {0};
    pith__tokenizer *tokenizer = open_boot();
    pith__source source = open_short(1.0, 4);
    pith__mixture mixture;
    assert_ok(pith__mixture_init(&source, 1, tokenizer, 5, mem, &mixture, &err), err);
    check_bad_place(&mixture, (pith__stream_place){0, 4, 0});
    check_bad_place(&mixture, (pith__stream_place){0, UINT64_MAX, 0});
    check_bad_place(&mixture, (pith__stream_place){0, 0, 100});
    check_bad_place(&mixture, (pith__stream_place){3, 2, UINT64_MAX});
    pith__mixture_deinit(&mixture);
    pith__source_close(&source);
    pith__tokenizer_free(tokenizer);
}

/* ---- mixtures: failures ------------------------------------------------------------------- */

/* All 256 bytes, and no names for special tokens. */
static pith__tokenizer *open_plain(void)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    pith_error err = {0};
    pith__buf text;
    pith__tokenizer *tokenizer = NULL;
    pith__buf_init(&text, mem, 1 << 16);
    for (unsigned i = 0; i < 256; i++) {
        assert_ok(
            pith__buf_printf(&text, &err, "%c%c== %u\n", digits[i >> 2], digits[(i & 3) << 4], i),
            err);
    }
    assert_ok(pith__tokenizer_from_ranks(text.data, text.size, "gpt2", mem, &tokenizer, &err), err);
    pith__buf_deinit(&text);
    return tokenizer;
}

static void check_refused(const pith__source *sources, size_t n, const pith__tokenizer *tokenizer)
{
    pith_error err = {0};
    pith__mixture mixture;
    assert_status(pith__mixture_init(sources, n, tokenizer, 0, mem, &mixture, &err),
                  PITH_E_ARGUMENT);
    pith__mixture_deinit(&mixture);
}

static void bad_mixtures_are_refused(void **state)
{
    (void)state;
    pith__tokenizer *tokenizer = open_boot();
    pith__source sources[2] = {open_short(1.0, 4), open_short(1.0, 4)};
    const double bad[] = {0.0, -1.0, (double)NAN, (double)INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sources[1].weight = bad[i];
        check_refused(sources, 2, tokenizer);
    }
    sources[0].weight = 1.7e308; /* the sum of them is not a number any more */
    sources[1].weight = 1.7e308;
    check_refused(sources, 2, tokenizer);
    check_refused(sources, 0, tokenizer);
    pith__tokenizer *plain = open_plain();
    if (pith__tokenizer_bos(plain) == PITH__TOKEN_NONE) {
        check_refused(sources, 1, plain);
    } else {
        fail_msg("a rank file of bytes names a BOS");
    }
    pith__tokenizer_free(plain);
    pith__source_close(&sources[0]);
    pith__source_close(&sources[1]);
    pith__tokenizer_free(tokenizer);
}

typedef struct sweep {
    const pith__source *sources;
    const pith__tokenizer *tokenizer;
} sweep;

static pith_status mix_a_little(const pith_allocator *from, void *user)
{
    const sweep *s = user;
    pith_error err = {0};
    pith__mixture mixture;
    stream out = stream_make(200, 1);
    pith__sample sample = stream_sample(&out, 0);
    pith_status status =
        pith__mixture_init(s->sources, SOURCES, s->tokenizer, 1, from, &mixture, &err);
    for (uint64_t n = 0; status == PITH_OK && n < 20; n++) {
        status = pith__mixture_next(&mixture, n, &sample, &err);
    }
    pith__mixture_deinit(&mixture);
    free(out.ids);
    return status;
}

static void mixing_survives_lack_of_memory(void **state)
{
    (void)state;
    pith__tokenizer *tokenizer = open_boot();
    pith__source sources[SOURCES];
    open_three(sources);
    sweep s = {sources, tokenizer};
    test_sweep(mix_a_little, &s);
    close_three(sources);
    pith__tokenizer_free(tokenizer);
}

/* A sample that failed can be asked for again. */
static void check_failures(const pith__source *source, size_t length, size_t samples, size_t least)
{
    pith_error err = {0};
    pith__tokenizer *tokenizer = open_boot();
    stream expected = stream_read(source, tokenizer, 2, length, samples);
    stream s = stream_make(length, samples);
    test_memory memory = {0};
    const pith_allocator from = test_memory_allocator(&memory);
    pith__mixture mixture;
    size_t failed = 0;
    assert_ok(pith__mixture_init(source, 1, tokenizer, 2, &from, &mixture, &err), err);
    for (size_t i = 0; i < samples; i++) {
        pith__sample sample = stream_sample(&s, i);
        memory.fail_from = memory.count + 1 + i % 4;
        const pith_status status = pith__mixture_next(&mixture, i, &sample, &err);
        memory.fail_from = 0;
        if (status != PITH_OK) {
            assert_int_equal(status, PITH_E_MEMORY);
            failed++;
            assert_ok(pith__mixture_next(&mixture, i, &sample, &err), err);
        }
    }
    assert_true(failed >= least);
    check_same(&expected, &s);
    pith__mixture_deinit(&mixture);
    assert_int_equal(memory.live, 0);
    assert_int_equal(memory.mistakes, 0);
    free(expected.ids);
    free(s.ids);
    pith__tokenizer_free(tokenizer);
}

static void a_failed_sample_uses_nothing_up(void **state)
{
    (void)state;
    pith__source varied = open_varied(1.0);
    pith__source tiny = open_short(1.0, 20);
    check_failures(&varied, 100, 2000, 20);
    check_failures(&tiny, 1, 500, 20); /* every document begins a sample */
    pith__source_close(&varied);
    pith__source_close(&tiny);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_numbers_stay_what_they_are),
        cmocka_unit_test(random_units_are_spread_evenly),
        cmocka_unit_test(neighbouring_random_numbers_are_unrelated),
        cmocka_unit_test(every_input_bit_flips_half_of_the_output),
        cmocka_unit_test(schedules_are_those_of_transformers),
        cmocka_unit_test(schedules_have_their_shapes),
        cmocka_unit_test(schedules_survive_odd_settings),
        cmocka_unit_test(documents_end_at_separators),
        cmocka_unit_test(line_ends_may_be_crlf),
        cmocka_unit_test(empty_documents_are_left_out),
        cmocka_unit_test(a_separator_inside_a_line_is_text),
        cmocka_unit_test(what_cannot_be_trained_on_is_refused),
        cmocka_unit_test(sources_are_named_after_their_files),
        cmocka_unit_test(the_hash_of_documents_stays_what_it_is),
        cmocka_unit_test(the_held_out_share_is_fair),
        cmocka_unit_test(the_side_depends_on_the_document_alone),
        cmocka_unit_test(copies_are_left_out),
        cmocka_unit_test(copies_are_found_among_many),
        cmocka_unit_test(opening_survives_lack_of_memory),
        cmocka_unit_test(every_document_comes_once_an_epoch),
        cmocka_unit_test(eos_is_predicted_where_there_is_one),
        cmocka_unit_test(the_length_of_samples_changes_nothing_else),
        cmocka_unit_test(a_single_short_document_repeats),
        cmocka_unit_test(long_documents_are_cut_behind_lines),
        cmocka_unit_test(lines_that_are_too_long_are_cut_between_characters),
        cmocka_unit_test(long_documents_need_not_be_text),
        cmocka_unit_test(sources_get_their_shares),
        cmocka_unit_test(orders_stay_what_they_are),
        cmocka_unit_test(seeds_and_sources_have_orders_of_their_own),
        cmocka_unit_test(a_resumed_stream_goes_on),
        cmocka_unit_test(places_may_be_set_at_any_time),
        cmocka_unit_test(places_that_do_not_exist_are_a_mismatch),
        cmocka_unit_test(bad_mixtures_are_refused),
        cmocka_unit_test(mixing_survives_lack_of_memory),
        cmocka_unit_test(a_failed_sample_uses_nothing_up),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
