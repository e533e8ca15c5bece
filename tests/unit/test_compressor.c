/*
 * test_compressor.c: compressors in files: what is saved comes back, every key and tensor is
 * needed and checked, and a compressor is not taken for an adapter or the other way round.
 *
 *     test_compressor write FOLDER
 *
 * writes the seeds of fuzz/corpus/compressor_read to a folder instead.
 */
#include "compressor_fixture.h"

#include <math.h>

static const pith_allocator *const memory = &pith__allocator_default;

/* A model whose compressors are some hundred bytes. */
static const pith__model_config CONFIG = {.layers = 2,
                                          .width = 4,
                                          .heads = 2,
                                          .kv_heads = 1,
                                          .head_dim = 2,
                                          .ff = 6,
                                          .vocabulary = 10,
                                          .context = 64,
                                          .rope_pairs = 1};

enum { X500 = 0, RELEASED = 1, ICAE = 2, SELFCP = 4, LINEAR = 5 }; /* in SHAPES */

static bytes sample_file(size_t shape, bool half)
{
    made m = made_of(&SHAPES[shape], &CONFIG, 1);
    const bytes file = made_bytes(&m, &CONFIG, half);
    made_close(&m);
    return file;
}

/* `part` (or NULL) stands in the message. */
static void assert_refused(const bytes *file, const pith__model_config *config,
                           const char *base_sha256, pith_status expected, const char *part)
{
    made m;
    pith_error err = {0};
    const pith_status status = made_load(&m, file, config, base_sha256, memory, &err);
    if (status != expected || (part != NULL && strstr(err.message, part) == NULL)) {
        fail_msg("%s: \"%s\", expected %s and \"%s\"", pith_status_name(status), err.message,
                 pith_status_name(expected), part == NULL ? "" : part);
    }
    assert_true(err.message[0] != '\0');
    assert_true(err.offset == PITH_NO_OFFSET || err.offset <= file->size);
}

/* ---- saving and loading ------------------------------------------------------------------------ */

static void assert_same_shape(const pith__compressor_shape *a, const pith__compressor_shape *b)
{
    assert_int_equal(a->method, b->method);
    assert_int_equal(a->slots, b->slots);
    assert_int_equal(a->elastic, b->elastic);
    assert_int_equal(a->ratio, b->ratio);
    assert_int_equal(a->layout, b->layout);
    assert_int_equal(a->mode, b->mode);
    assert_int_equal(a->window, b->window);
    assert_int_equal(a->pads, b->pads);
    assert_int_equal(a->has_norm, b->has_norm);
}

static void assert_same_about(const pith__compressor_about *a, const pith__compressor_about *b)
{
    assert_same_shape(&a->shape, &b->shape);
    assert_true(a->alpha == b->alpha);
    assert_string_equal(a->base_sha256, b->base_sha256);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->format, b->format);
    assert_int_equal(a->conditional, b->conditional);
}

/* Tensors in the same order; with `half`, matrices as near as F16 is, and not the same. */
static void assert_same_weights(const pith__weights *got, const pith__weights *expected, bool half)
{
    size_t differ = 0;
    assert_int_equal(got->n_items, expected->n_items);
    for (size_t i = 0; i < got->n_items; i++) {
        const pith__weight *a = &got->items[i];
        const pith__weight *b = &expected->items[i];
        const float *x = got->values + a->at;
        const float *y = expected->values + b->at;
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->kind, b->kind);
        assert_int_equal(a->rows, b->rows);
        assert_int_equal(a->cols, b->cols);
        for (size_t j = 0; j < weight_count(a); j++) {
            const bool same = memcmp(&x[j], &y[j], sizeof(float)) == 0;
            assert_true(same || (half && a->kind != PITH__WEIGHT_VECTOR));
            assert_true(fabsf(x[j] - y[j]) <= 0x1p-11f * fabsf(y[j]) + 0x1p-25f);
            differ += !same;
        }
    }
    assert_true(half == (differ > 0));
}

static void what_is_saved_is_loaded(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SHAPES; i++) {
        for (int half = 0; half <= 1; half++) {
            made saved = made_of(&SHAPES[i], &CONFIG, i + 1);
            made loaded;
            pith_error err = {0};
            bytes file = made_bytes(&saved, &CONFIG, half == 1);
            assert_ok(made_load(&loaded, &file, &CONFIG, saved.about.base_sha256, memory, &err),
                      err);
            assert_same_about(&loaded.about, &saved.about);
            assert_same_weights(&loaded.weights, &saved.weights, half == 1);
            made_close(&loaded);
            assert_ok(made_load(&loaded, &file, &CONFIG, NULL, memory, &err), err);
            made_close(&loaded);
            bytes_free(&file);
            made_close(&saved);
        }
    }
}

static void the_record_is_in_the_file(void **state)
{
    (void)state;
    bytes file = sample_file(ICAE, false);
    pith__gguf gguf;
    pith__weights weights;
    pith__compressor_about about;
    pith_error err = {0};
    size_t size = 0;
    pith__weights_init(&weights, memory);
    assert_ok(pith__gguf_parse(file.data, file.size, memory, &gguf, &err), err);
    assert_ok(pith__compressor_load(&gguf, &CONFIG, NULL, &weights, &about, &size, &err), err);
    assert_int_equal(size, strlen("{\"steps\": 7}"));
    assert_memory_equal(about.record, "{\"steps\": 7}", size);
    assert_true((const unsigned char *)about.record > file.data &&
                (const unsigned char *)about.record + size < file.data + file.size);
    pith__weights_deinit(&weights);
    pith__gguf_deinit(&gguf);
    bytes_free(&file);
}

static void assert_key(const pith__gguf *gguf, const char *key, const char *expected)
{
    pith__gguf_string value = {NULL, 0};
    pith_error err = {0};
    assert_ok(pith__gguf_get_string(gguf, key, &value, &err), err);
    assert_true(pith__gguf_string_equal(value, expected));
}

/* As docs/compressor.md has it. */
static void a_file_has_these_keys(void **state)
{
    (void)state;
    static const char *const modes[] = {
        [X500] = "continue", [RELEASED] = "release", [ICAE] = "compact",
        [3] = "compact",     [SELFCP] = "compact",   [LINEAR] = "compact"};
    static const size_t tensors[] = {13, 13, 13, 13, 5, 3};
    for (size_t i = 0; i < N_SHAPES; i++) {
        const bool selfcp = SHAPES[i].method == PITH__COMPRESSOR_SELFCP;
        bytes file = sample_file(i, false);
        pith__gguf gguf;
        pith_error err = {0};
        assert_ok(pith__gguf_parse(file.data, file.size, memory, &gguf, &err), err);
        assert_key(&gguf, "general.type", "compressor");
        assert_key(&gguf, "general.architecture", "llama");
        assert_key(&gguf, "pith.compressor.method", pith__compressor_method_name(SHAPES[i].method));
        assert_key(&gguf, "pith.compressor.position_mode", modes[i]);
        assert_key(&gguf, "pith.compressor.layout",
                   SHAPES[i].layout == PITH__SLOTS_END ? "end" : "uniform");
        assert_int_equal(pith__gguf_find(&gguf, "adapter.type") != NULL, !selfcp);
        assert_int_equal(gguf.n_kvs, selfcp ? 17 : 19);
        assert_int_equal(gguf.n_tensors, tensors[i]);
        pith__gguf_deinit(&gguf);
        bytes_free(&file);
    }
}

/* ---- what is not taken ------------------------------------------------------------------------- */

static void another_model_is_refused(void **state)
{
    (void)state;
    char model[PITH__SHA256_SIZE];
    char other[PITH__SHA256_SIZE];
    pith__sha256_of("model", 5, model);
    pith__sha256_of("other", 5, other);
    for (size_t i = 0; i < N_SHAPES; i++) {
        bytes file = sample_file(i, false);
        pith__model_config config = CONFIG;
        assert_refused(&file, &config, other, PITH_E_MISMATCH, model);
        assert_refused(&file, &config, other, PITH_E_MISMATCH, other);
        config.width = 8;
        assert_refused(&file, &config, NULL, PITH_E_MISMATCH, "for this model it would be");
        config = CONFIG;
        config.context = 22;
        assert_refused(&file, &config, NULL, PITH_E_MISMATCH, "context is 22");
        bytes_free(&file);
    }
    bytes file = sample_file(X500, false);
    pith__model_config config = CONFIG;
    config.layers = 3;
    assert_refused(&file, &config, NULL, PITH_E_CORRUPT, "blk.2.attn_q.weight.lora_a is missing");
    config.layers = 1;
    assert_refused(&file, &config, NULL, PITH_E_CORRUPT, "blk.1.attn_q.weight.lora_a is none");
    bytes_free(&file);
}

/* A value in place of another of the same size; text values follow 8 bytes of length. */
typedef struct patch {
    size_t shape;
    bytes_what what;
    const char *name;
    size_t skip;
    const char *with;
    size_t size;
    pith_status expected;
    const char *part; /* of the message */
} patch;

#define P(name)  "pith.compressor." name
#define U32_MAX  "\xff\xff\xff\xff"
#define BAD      PITH_E_CORRUPT
#define UNKNOWN  PITH_E_UNSUPPORTED
#define MISMATCH PITH_E_MISMATCH

static const patch PATCHES[] = {
    {X500, AT_VALUE, "general.type", 8, "decompress", 10, UNKNOWN, "decompress"},
    {X500, AT_VALUE, "general.architecture", 8, "gpt-2", 5, UNKNOWN, "gpt-2"},
    {X500, AT_VALUE, "general.name", 8, "s\0", 2, BAD, "general.name"},
    {X500, AT_VALUE, "adapter.type", 8, "loha", 4, UNKNOWN, "loha"},
    {X500, AT_VALUE, "adapter.lora.alpha", 0, "\0\0\0\0", 4, BAD, "alpha is 0"},
    {X500, AT_VALUE, "adapter.lora.alpha", 0, "\0\0\xc0\x7f", 4, BAD, "alpha"},
    {X500, AT_VALUE, "adapter.lora.alpha", 0, "\0\0\x80\x7f", 4, BAD, "alpha"},
    {X500, AT_VALUE, "pith.adapter.base_sha256", 8, "G", 1, BAD, "SHA-256"},
    {X500, AT_VALUE, "pith.adapter.base_sha256", 8, "\0", 1, BAD, "base_sha256"},
    {X500, AT_VALUE, P("version"), 0, "\2\0\0\0", 4, UNKNOWN, "version 2"},
    {X500, AT_VALUE, P("version"), 0, "\0\0\0\0", 4, BAD, "version 0"},
    {X500, AT_VALUE, P("method"), 8, "501x", 4, UNKNOWN, "501x"},
    {X500, AT_VALUE, P("method"), 8, "icae", 4, UNKNOWN, "continue"},
    {ICAE, AT_VALUE, P("method"), 8, "500x", 4, UNKNOWN, "compact"},
    {X500, AT_VALUE, P("layout"), 8, "uniforn", 7, UNKNOWN, "uniforn"},
    {X500, AT_VALUE, P("position_mode"), 8, "teleport", 8, UNKNOWN, "teleport"},
    {ICAE, AT_VALUE, P("position_mode"), 8, "release", 7, BAD, "release"},
    {X500, AT_VALUE, P("slots"), 0, "\0\0\0\0", 4, BAD, "0 slots"},
    {X500, AT_VALUE, P("slots"), 0, "\5\0\0\0", 4, MISMATCH, "compressor.slots"},
    {X500, AT_VALUE, P("slots"), 0, "\x40\0\0\0", 4, MISMATCH, "64 slots"},
    {X500, AT_VALUE, P("slots"), 0, U32_MAX, 4, BAD, "slots"},
    {SELFCP, AT_VALUE, P("slots"), 0, "\1\0\0\0", 4, BAD, "1 slots"},
    {X500, AT_VALUE, P("ratio"), 0, "\1\0\0\0", 4, BAD, "1 tokens per slot"},
    {SELFCP, AT_VALUE, P("ratio"), 0, "\0\0\0\0", 4, BAD, "0 tokens per slot"},
    {X500, AT_VALUE, P("elastic"), 0, "\2", 1, BAD, NULL},
    {X500, AT_VALUE, P("window"), 0, "\0\0\0\0", 4, BAD, "window of 0"},
    {X500, AT_VALUE, P("window"), 0, "\x40\0\0\0", 4, MISMATCH, "window of 64"},
    {X500, AT_VALUE, P("window"), 0, U32_MAX, 4, BAD, "window"},
    {SELFCP, AT_VALUE, P("pads"), 0, "\1", 1, BAD, "padding"},
    {X500, AT_VALUE, P("has_norm"), 0, "\1", 1, BAD, "norm"},
    {LINEAR, AT_VALUE, P("has_norm"), 0, "\1", 1, BAD, "compressor.norm.weight is missing"},
    {SELFCP, AT_VALUE, P("has_norm"), 0, "\0", 1, BAD, "compressor.norm.weight is none"},
    {X500, AT_VALUE, P("conditional"), 0, "\1", 1, BAD, "question"},
    {X500, AT_VALUE, P("format"), 10, "\0", 1, BAD, P("format")},
    {X500, AT_VALUE, P("record"), 8, "[", 1, BAD, "record"},
    {X500, AT_VALUE, P("record"), 12, "\0", 1, BAD, "record"},
    {X500, AT_NAME, "compressor.slots", 0, "x", 1, BAD, "compressor.slots is missing"},
    {X500, AT_NAME, "blk.0.attn_q.weight.lora_a", 0, "x", 1, BAD, NULL},
    {X500, AT_NAME, "blk.1.ffn_down.weight.lora_b", 0, "x", 1, BAD, "ffn_down.weight.lora_b"},
    {SELFCP, AT_NAME, "compressor.tags", 0, "x", 1, BAD, "compressor.tags is missing"},
    /* after the name: 4 bytes number of dimensions, 8 for each, 4 type */
    {X500, AT_NAME, "compressor.slots", 16 + 20, "\x1a", 1, UNKNOWN, "I32"},
    {X500, AT_NAME, "compressor.slots", 16 + 12, "\3", 1, MISMATCH, "(3, 4)"},
    {SELFCP, AT_NAME, "compressor.connector.bias", 25 + 12, "\1", 1, UNKNOWN, "F16"},
    {X500, AT_TENSOR, "compressor.slots", 8, "\0\0\xc0\x7f", 4, BAD, "compressor.slots: number 2"},
    {X500, AT_TENSOR, "blk.1.attn_v.weight.lora_b", 0, "\0\0\x80\xff", 4, BAD, "attn_v"},
    {SELFCP, AT_TENSOR, "compressor.norm.bias", 12, "\0\0\x80\x7f", 4, BAD, "compressor.norm.bias"},
};

static void every_value_is_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof PATCHES / sizeof PATCHES[0]; i++) {
        const patch *p = &PATCHES[i];
        bytes file = sample_file(p->shape, false);
        const size_t at = bytes_find(&file, p->what, p->name) + p->skip;
        assert_true(at + p->size <= file.size);
        memcpy(file.data + at, p->with, p->size);
        assert_refused(&file, &CONFIG, NULL, p->expected, p->part);
        bytes_free(&file);
    }
}

/* The file without a key, without a tensor, with one more tensor. */
static bytes edited(const bytes *file, size_t without_key, size_t without_tensor,
                    const pith__gguf_tensor *more)
{
    pith__gguf gguf;
    pith__gguf_writer writer;
    pith_error err = {0};
    assert_ok(pith__gguf_parse(file->data, file->size, memory, &gguf, &err), err);
    pith__gguf_writer_init(&writer, memory);
    for (size_t i = 0; i < gguf.n_kvs; i++) {
        if (i != without_key) {
            assert_ok(pith__gguf_writer_add_kv(&writer, &gguf.kvs[i], &err), err);
        }
    }
    for (size_t i = 0; i < gguf.n_tensors; i++) {
        if (i != without_tensor) {
            assert_ok(pith__gguf_writer_add_tensor(&writer, &gguf.tensors[i], &err), err);
        }
    }
    if (more != NULL) {
        assert_ok(pith__gguf_writer_add_tensor(&writer, more, &err), err);
    }
    const bytes result = bytes_written(&writer);
    pith__gguf_writer_deinit(&writer);
    pith__gguf_deinit(&gguf);
    return result;
}

static size_t count_of(const bytes *file, bool keys)
{
    pith__gguf gguf;
    pith_error err = {0};
    assert_ok(pith__gguf_parse(file->data, file->size, memory, &gguf, &err), err);
    const size_t count = keys ? gguf.n_kvs : gguf.n_tensors;
    pith__gguf_deinit(&gguf);
    return count;
}

static void every_key_and_tensor_is_needed(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SHAPES; i++) {
        bytes file = sample_file(i, false);
        const size_t keys = count_of(&file, true);
        const size_t tensors = count_of(&file, false);
        for (size_t k = 0; k < keys; k++) { /* the first says what it is */
            bytes without = edited(&file, k, SIZE_MAX, NULL);
            assert_refused(&without, &CONFIG, NULL, k == 0 ? PITH_E_UNSUPPORTED : PITH_E_CORRUPT,
                           NULL);
            bytes_free(&without);
        }
        for (size_t t = 0; t < tensors; t++) {
            bytes without = edited(&file, SIZE_MAX, t, NULL);
            assert_refused(&without, &CONFIG, NULL, PITH_E_CORRUPT, NULL);
            bytes_free(&without);
        }
        bytes same = edited(&file, SIZE_MAX, SIZE_MAX, NULL); /* it was what was left out */
        made m;
        pith_error err = {0};
        assert_ok(made_load(&m, &same, &CONFIG, NULL, memory, &err), err);
        made_close(&m);
        bytes_free(&same);
        bytes_free(&file);
    }
}

static void other_tensors_are_refused(void **state)
{
    (void)state;
    static const float numbers[8] = {0};
    static const char *const names[] = {"compressor.more", "blk.0.attn_o.weight.lora_a",
                                        "blk.0.attn_q.bias", "token_embd.weight"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const pith__gguf_tensor more = {.name = {names[i], strlen(names[i])},
                                        .n_dims = 2,
                                        .dims = {4, 2, 1, 1},
                                        .type = PITH__GGUF_TYPE_F32,
                                        .data = (const unsigned char *)numbers};
        bytes file = sample_file(X500, false);
        bytes with = edited(&file, SIZE_MAX, SIZE_MAX, &more);
        assert_refused(&with, &CONFIG, NULL, PITH_E_CORRUPT, names[i]);
        bytes_free(&with);
        bytes_free(&file);
    }
}

/* ---- damage -------------------------------------------------------------------------------------- */

/* Loads, and all numbers are finite, or fails as it should. Returns whether it loads. */
static bool is_clean(const bytes *file)
{
    made m;
    pith_error err = {0};
    const pith_status status = made_load(&m, file, &CONFIG, NULL, memory, &err);
    if (status != PITH_OK) {
        if (status != PITH_E_CORRUPT && status != PITH_E_UNSUPPORTED && status != PITH_E_MISMATCH) {
            fail_msg("%s: %s", pith_status_name(status), err.message);
        }
        return false;
    }
    for (size_t i = 0; i < m.weights.count; i++) {
        assert_true(isfinite(m.weights.values[i]));
    }
    made_close(&m);
    return true;
}

static void every_flipped_bit(void **state)
{
    (void)state;
    static const size_t shapes[] = {X500, SELFCP};
    for (size_t i = 0; i < 2; i++) {
        bytes file = sample_file(shapes[i], i == 0);
        size_t loaded = 0;
        for (size_t bit = 0; bit < 8 * file.size; bit++) {
            const unsigned char mask = (unsigned char)(1u << bit % 8);
            file.data[bit / 8] ^= mask;
            loaded += is_clean(&file);
            file.data[bit / 8] ^= mask;
        }
        assert_true(loaded > 0 && loaded < 8 * file.size); /* a weight or a name may be another */
        assert_true(is_clean(&file));
        bytes_free(&file);
    }
}

static void every_truncation(void **state)
{
    (void)state;
    static const size_t shapes[] = {X500, SELFCP};
    for (size_t i = 0; i < 2; i++) {
        bytes file = sample_file(shapes[i], false);
        pith__gguf gguf;
        pith_error err = {0};
        assert_ok(pith__gguf_parse(file.data, file.size, memory, &gguf, &err), err);
        const pith__gguf_tensor *last = &gguf.tensors[gguf.n_tensors - 1];
        const size_t end = last->offset + last->size; /* padding may follow */
        pith__gguf_deinit(&gguf);
        for (size_t size = 0; size < end; size++) {
            bytes part = bytes_copy(file.data, size);
            assert_refused(&part, &CONFIG, NULL, PITH_E_CORRUPT, NULL);
            bytes_free(&part);
        }
        bytes_free(&file);
    }
}

/* ---- what cannot be saved ------------------------------------------------------------------------ */

static void assert_not_saved(const made *m, bool half, pith_status expected, const char *part)
{
    pith_error err = {0};
    pith__gguf_writer writer;
    pith__arena arena;
    pith__gguf_writer_init(&writer, memory);
    pith__arena_init(&arena, memory);
    assert_status(
        pith__compressor_add(&m->about, &CONFIG, &m->weights, half, &arena, &writer, &err),
        expected);
    if (strstr(err.message, part) == NULL) {
        fail_msg("\"%s\" has no \"%s\"", err.message, part);
    }
    pith__arena_deinit(&arena);
    pith__gguf_writer_deinit(&writer);
}

static void numbers_that_cannot_be_saved(void **state)
{
    (void)state;
    made m = made_of(&SHAPES[X500], &CONFIG, 1);
    float *slots = m.weights.values + weight_named(&m.weights, PITH__COMPRESSOR_SLOTS)->at;
    slots[1] = NAN;
    assert_not_saved(&m, false, PITH_E_RANGE, "compressor.slots: number 1");
    assert_not_saved(&m, true, PITH_E_RANGE, "compressor.slots: number 1");
    slots[1] = 65520.0f;
    assert_not_saved(&m, true, PITH_E_RANGE, "too large");
    bytes file = made_bytes(&m, &CONFIG, false); /* F32 holds it */
    assert_true(is_clean(&file));
    bytes_free(&file);
    made_close(&m);
}

static void what_does_not_go_together_is_not_saved(void **state)
{
    (void)state;
    made m = made_of(&SHAPES[X500], &CONFIG, 1);
    const pith__compressor_about good = m.about;
    m.about.shape.window = 64;
    assert_not_saved(&m, false, PITH_E_ARGUMENT, "window");
    m.about = good;
    m.about.shape.slots = 5;
    assert_not_saved(&m, false, PITH_E_ARGUMENT, "compressor.slots");
    m.about = good;
    m.about.alpha = 0.0f;
    assert_not_saved(&m, false, PITH_E_ARGUMENT, "alpha");
    m.about = good;
    m.about.conditional = true;
    assert_not_saved(&m, false, PITH_E_ARGUMENT, "question");
    m.about = good;
    m.about.base_sha256[0] = '\0';
    assert_not_saved(&m, false, PITH_E_ARGUMENT, "SHA-256");
    m.about = good;
    m.about.record = "steps";
    assert_not_saved(&m, false, PITH_E_ARGUMENT, "record");
    m.about = good;
    m.about.shape = SHAPES[SELFCP]; /* of which there is nothing, but of another method */
    assert_not_saved(&m, false, PITH_E_ARGUMENT, PITH__COMPRESSOR_MATRIX);
    m.about = good;
    pith_error err = {0};
    assert_ok(pith__weights_add(&m.weights, "more", PITH__WEIGHT_VECTOR, 1, 4, &err), err);
    m.weights.count -= 16; /* laid out only: memory is for the others */
    assert_not_saved(&m, false, PITH_E_ARGUMENT, "14 tensors");
    made_close(&m);
}

/* ---- adapters ------------------------------------------------------------------------------------ */

static void a_compressor_is_no_adapter(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_SHAPES; i++) {
        bytes file = sample_file(i, false);
        pith__gguf gguf;
        pith__adapter adapter;
        pith__weights weights;
        pith_error err = {0};
        float alpha = 0.0f;
        assert_ok(pith__gguf_parse(file.data, file.size, memory, &gguf, &err), err);
        assert_status(pith__adapter_open(&gguf, memory, &adapter, &err), PITH_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, "is a compressor"));
        pith__weights_init(&weights, memory);
        assert_status(pith__lora_load(&gguf, &CONFIG, NULL, &weights, &alpha, &err),
                      PITH_E_UNSUPPORTED);
        assert_non_null(strstr(err.message, "is a compressor"));
        pith__weights_deinit(&weights);
        pith__gguf_deinit(&gguf);
        bytes_free(&file);
    }
}

static bytes adapter_file(const made *m)
{
    pith__gguf_writer writer;
    pith_error err = {0};
    pith__gguf_writer_init(&writer, memory);
    assert_ok(pith__lora_add(&m->compressor.lora, &CONFIG, "a", NULL, &writer, &err), err);
    const bytes file = bytes_written(&writer);
    pith__gguf_writer_deinit(&writer);
    return file;
}

static void an_adapter_is_no_compressor(void **state)
{
    (void)state;
    made m = made_of(&SHAPES[X500], &CONFIG, 1);
    bytes file = adapter_file(&m);
    assert_refused(&file, &CONFIG, NULL, PITH_E_UNSUPPORTED, "\"adapter\"");
    pith__gguf gguf;
    pith__adapter adapter;
    pith_error err = {0};
    assert_ok(pith__gguf_parse(file.data, file.size, memory, &gguf, &err), err);
    assert_status(pith__adapter_open_compressor(&gguf, memory, &adapter, &err), PITH_E_UNSUPPORTED);
    assert_ok(pith__adapter_open(&gguf, memory, &adapter, &err), err);
    pith__adapter_close(&adapter);
    pith__gguf_deinit(&gguf);
    bytes_free(&file);
    made_close(&m);
}

/* The factors are found, the rest is left alone, and the file knows its model. */
static void the_adapter_of_a_compressor(void **state)
{
    (void)state;
    bytes file = sample_file(X500, true);
    pith__gguf gguf;
    pith__adapter adapter;
    pith__adapter_pair pair;
    pith_error err = {0};
    char model[PITH__SHA256_SIZE];
    pith__sha256_of("model", 5, model);
    assert_ok(pith__gguf_parse(file.data, file.size, memory, &gguf, &err), err);
    assert_ok(pith__adapter_open_compressor(&gguf, memory, &adapter, &err), err);
    assert_ok(pith__adapter_check_base(&adapter, model, &err), err);
    assert_status(pith__adapter_check_used(&adapter, &err), PITH_E_MISMATCH);
    for (size_t layer = 0; layer < 2; layer++) {
        static const pith__block_matrix matrices[] = {PITH__MATRIX_Q, PITH__MATRIX_V,
                                                      PITH__MATRIX_DOWN};
        static const size_t shapes[][2] = {{4, 4}, {2, 4}, {4, 6}};
        for (size_t i = 0; i < 3; i++) {
            char name[64];
            (void)snprintf(name, sizeof name, "blk.%zu.%s.weight", layer,
                           pith__block_matrix_name(matrices[i]));
            assert_ok(pith__adapter_find(&adapter, name, shapes[i][0], shapes[i][1], &pair, &err),
                      err);
            assert_non_null(pair.a);
            assert_true(pair.scale == 1.5f);
        }
    }
    assert_ok(pith__adapter_check_used(&adapter, &err), err);
    pith__adapter_close(&adapter);
    pith__gguf_deinit(&gguf);
    bytes_free(&file);
    file = sample_file(SELFCP, false); /* has none */
    assert_ok(pith__gguf_parse(file.data, file.size, memory, &gguf, &err), err);
    assert_status(pith__adapter_open_compressor(&gguf, memory, &adapter, &err), PITH_E_UNSUPPORTED);
    pith__gguf_deinit(&gguf);
    bytes_free(&file);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

static pith_status save_and_load(const pith_allocator *mem, void *user)
{
    const made *m = user;
    pith__gguf_writer writer;
    pith__arena arena;
    made loaded;
    pith__gguf_writer_init(&writer, mem);
    pith__arena_init(&arena, mem);
    pith_status status =
        pith__compressor_add(&m->about, &CONFIG, &m->weights, true, &arena, &writer, NULL);
    pith__buf buf;
    pith__buf_init(&buf, memory, SIZE_MAX / 4);
    if (status == PITH_OK) {
        status = pith__gguf_writer_write(&writer, bytes_append, &buf, NULL);
    }
    if (status == PITH_OK) {
        const bytes file = {(unsigned char *)buf.data, buf.size};
        status = made_load(&loaded, &file, &CONFIG, NULL, mem, NULL);
    }
    pith__buf_deinit(&buf);
    if (status == PITH_OK) {
        made_close(&loaded);
    }
    pith__arena_deinit(&arena);
    pith__gguf_writer_deinit(&writer);
    return status;
}

static void memory_runs_out(void **state)
{
    (void)state;
    static const size_t shapes[] = {X500, SELFCP};
    for (size_t i = 0; i < 2; i++) {
        made m = made_of(&SHAPES[shapes[i]], &CONFIG, 1);
        test_sweep(save_and_load, &m);
        made_close(&m);
    }
}

/* ---- seeds ----------------------------------------------------------------------------------------- */

static void write_seed(const char *folder, const char *name, bytes file)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s.gguf", folder, name);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file.data, 1, file.size, out), file.size);
    assert_int_equal(fclose(out), 0);
    bytes_free(&file);
}

/* A sample with another number for this key. */
static bytes seed_with(const char *key, uint32_t value)
{
    bytes file = sample_file(X500, false);
    memcpy(file.data + bytes_find(&file, AT_VALUE, key), &value, sizeof value);
    return file;
}

static int write_seeds(const char *folder)
{
    bytes whole = sample_file(SELFCP, false);
    write_seed(folder, "500x", sample_file(X500, false));
    write_seed(folder, "500x-release", sample_file(RELEASED, true));
    write_seed(folder, "icae-half", sample_file(ICAE, true));
    write_seed(folder, "selfcp", sample_file(SELFCP, false));
    write_seed(folder, "selfcp-linear", sample_file(LINEAR, true));
    write_seed(folder, "version-2", seed_with("pith.compressor.version", 2));
    write_seed(folder, "huge-slots", seed_with("pith.compressor.slots", UINT32_MAX / 2));
    write_seed(folder, "missing-tensor", edited(&whole, SIZE_MAX, 1, NULL));
    bytes_free(&whole);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "write") == 0) {
        return write_seeds(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_saved_is_loaded),
        cmocka_unit_test(the_record_is_in_the_file),
        cmocka_unit_test(a_file_has_these_keys),
        cmocka_unit_test(another_model_is_refused),
        cmocka_unit_test(every_value_is_checked),
        cmocka_unit_test(every_key_and_tensor_is_needed),
        cmocka_unit_test(other_tensors_are_refused),
        cmocka_unit_test(every_flipped_bit),
        cmocka_unit_test(every_truncation),
        cmocka_unit_test(numbers_that_cannot_be_saved),
        cmocka_unit_test(what_does_not_go_together_is_not_saved),
        cmocka_unit_test(a_compressor_is_no_adapter),
        cmocka_unit_test(an_adapter_is_no_compressor),
        cmocka_unit_test(the_adapter_of_a_compressor),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
