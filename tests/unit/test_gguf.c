/*
 * test_gguf.c: the container and its codecs against reference files, themselves and damage.
 */
#include "gguf/gguf.h"
#include "test.h"

#include <float.h>
#include <math.h>

static const pith_allocator *const default_memory = &pith__allocator_default;

/* ---- helpers ------------------------------------------------------------------ */

static pith__gguf_string string_of(const char *text)
{
    return (pith__gguf_string){text, strlen(text)};
}

static bool write_to_buf(void *user, const char *data, size_t size)
{
    return pith__buf_append(user, data, size, NULL) == PITH_OK;
}

static const float sample_f32[8] = {1, -2, 3.5F, 0, 5, 6, 7, 1e-20F};
static unsigned char sample_q8[34];

/* The file whose layout test_sample_layout() spells out. */
static pith_status add_sample(pith__gguf_writer *writer)
{
    const pith__gguf_string strings[2] = {{"x", 1}, {"", 0}};
    const pith__gguf_tensor matrix = {.name = {"t", 1},
                                      .n_dims = 2,
                                      .dims = {4, 2},
                                      .type = PITH__GGUF_TYPE_F32,
                                      .data = (const unsigned char *)sample_f32};
    const pith__gguf_tensor row = {.name = {"u", 1},
                                   .n_dims = 1,
                                   .dims = {32},
                                   .type = PITH__GGUF_TYPE_Q8_0,
                                   .data = sample_q8};
    PITH__TRY(pith__gguf_writer_add_bool(writer, "a", true, NULL));
    PITH__TRY(pith__gguf_writer_add_strings(writer, "b", strings, 2, NULL));
    PITH__TRY(pith__gguf_writer_add_u32(writer, "general.alignment", 32, NULL));
    PITH__TRY(pith__gguf_writer_add_tensor(writer, &matrix, NULL));
    return pith__gguf_writer_add_tensor(writer, &row, NULL);
}

static pith_status write_sample(const pith_allocator *mem, pith__buf *out)
{
    for (size_t i = 0; i < sizeof sample_q8; i++) {
        sample_q8[i] = (unsigned char)i;
    }
    pith__buf_init(out, mem, SIZE_MAX / 2);
    pith__gguf_writer writer;
    pith__gguf_writer_init(&writer, mem);
    pith_error err = {.status = PITH_OK};
    pith_status status = add_sample(&writer);
    if (status == PITH_OK) {
        status = pith__gguf_writer_write(&writer, write_to_buf, out, &err);
        /* the callback of this test only fails for want of memory */
        status = status == PITH_E_IO ? PITH_E_MEMORY : status;
    }
    pith__gguf_writer_deinit(&writer);
    return status;
}

/* Looks at every byte that a parsed file promises; returns a number that depends on all. */
static uint64_t visit(const pith__gguf *gguf)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < gguf->n_kvs; i++) {
        const pith__gguf_kv *kv = &gguf->kvs[i];
        for (size_t k = 0; k < kv->raw_size; k++) {
            sum += kv->raw[k];
        }
        if (kv->type == PITH__GGUF_VALUE_ARRAY && kv->value.array.type == PITH__GGUF_VALUE_STRING) {
            pith__gguf_strings it = pith__gguf_strings_of(&kv->value.array);
            for (pith__gguf_string s; pith__gguf_strings_next(&it, &s);) {
                sum += s.size == 0 ? 1 : (unsigned char)s.data[s.size - 1];
            }
        }
    }
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        for (size_t k = 0; k < gguf->tensors[i].size; k++) {
            sum += gguf->tensors[i].data[k];
        }
    }
    return sum;
}

/* Parses a copy of exactly `size` bytes, so that a sanitizer notices the first byte too many. */
static pith_status parse_copy(const char *data, size_t size, pith_error *err)
{
    char *copy = malloc(size == 0 ? 1 : size);
    assert_non_null(copy);
    memcpy(copy, data, size);
    pith__gguf gguf;
    const pith_status status = pith__gguf_parse(copy, size, default_memory, &gguf, err);
    if (status == PITH_OK) {
        (void)visit(&gguf);
    } else {
        assert_null(gguf.kvs);
        assert_int_equal(gguf.n_tensors, 0);
    }
    pith__gguf_deinit(&gguf);
    free(copy);
    return status;
}

/* ---- numbers -------------------------------------------------------------------- */

/* Value of a finite half, from the definition. */
static double half_value(uint16_t half)
{
    const int exponent = (half >> 10) & 31;
    const int fraction = half & 1023;
    const double magnitude =
        exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
    return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

static void test_every_half(void **state)
{
    (void)state;
    for (uint32_t h = 0; h <= 0xffff; h++) {
        const uint16_t half = (uint16_t)h;
        const float value = pith__gguf_f16_to_f32(half);
        const uint16_t back = pith__gguf_f32_to_f16(value);
        if ((half & 0x7fff) > 0x7c00) {
            assert_true(isnan(value));
            assert_true((back & 0x7fff) > 0x7c00);
            assert_int_equal(back & 0x8000, half & 0x8000);
            continue;
        }
        if ((half & 0x7fff) == 0x7c00) {
            assert_true(isinf(value));
        } else {
            assert_true((double)value == half_value(half));
        }
        assert_int_equal(signbit(value) != 0, half >> 15);
        assert_int_equal(back, half);
    }
}

/* Between two neighbours: the middle goes to the even one, everything else to the nearer. */
static void test_half_rounding(void **state)
{
    (void)state;
    for (uint16_t half = 0; half <= 0x7bff; half++) {
        const float low = (float)half_value(half);
        const float high = half == 0x7bff ? 65536.0F : (float)half_value((uint16_t)(half + 1));
        const float middle = (low + high) / 2;
        const uint16_t even = (uint16_t)(half + (half & 1));
        assert_int_equal(pith__gguf_f32_to_f16(middle), even);
        assert_int_equal(pith__gguf_f32_to_f16(-middle), even | 0x8000);
        assert_int_equal(pith__gguf_f32_to_f16(nextafterf(middle, low)), half);
        assert_int_equal(pith__gguf_f32_to_f16(nextafterf(middle, high)), half + 1);
    }
    assert_int_equal(pith__gguf_f32_to_f16(FLT_MAX), 0x7c00);
    assert_int_equal(pith__gguf_f32_to_f16(FLT_TRUE_MIN), 0);
    assert_int_equal(pith__gguf_f32_to_f16(-INFINITY), 0xfc00);
}

static void test_every_brain(void **state)
{
    (void)state;
    for (uint32_t h = 0; h <= 0xffff; h++) {
        const uint16_t half = (uint16_t)h;
        const float value = pith__gguf_bf16_to_f32(half);
        const uint16_t back = pith__gguf_f32_to_bf16(value);
        if (isnan(value)) {
            assert_true((back & 0x7fff) > 0x7f80);
            continue;
        }
        assert_int_equal(back, half);
        if ((half & 0x7fff) >= 0x7f7f) {
            continue; /* no finite neighbour above */
        }
        const float next = pith__gguf_bf16_to_f32((uint16_t)(half + 1));
        const float middle = (float)(((double)value + (double)next) / 2);
        assert_int_equal(pith__gguf_f32_to_bf16(middle), half + (half & 1));
        assert_int_equal(pith__gguf_f32_to_bf16(nextafterf(middle, value)), half);
        assert_int_equal(pith__gguf_f32_to_bf16(nextafterf(middle, next)), half + 1);
    }
    assert_int_equal(pith__gguf_f32_to_bf16(FLT_MAX), 0x7f80);
}

/* ---- blocks ----------------------------------------------------------------------- */

enum { ROWS = 5, COLUMNS = 256, VALUES = ROWS * COLUMNS };

static const float *floats_of(const pith__gguf *gguf, const char *name)
{
    static float values[VALUES];
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(gguf, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->type, PITH__GGUF_TYPE_F32);
    assert_int_equal(tensor->elements, VALUES);
    memcpy(values, tensor->data, sizeof values);
    return values;
}

/* Compares one type; false if the library has no decoder for it. */
static bool check_reference_rows(const pith__gguf *gguf, const pith__gguf_tensor *rows,
                                 const char *type_name)
{
    static float values[VALUES];
    static unsigned char bytes[VALUES * 4];
    pith_error err;
    const pith__gguf_codec *codec = pith__gguf_codec_of(rows->type);
    assert_non_null(codec);
    assert_string_equal(codec->name, type_name);
    if (codec->dequantize == NULL) {
        assert_status(pith__gguf_dequantize(rows->type, rows->data, values, VALUES, &err),
                      PITH_E_UNSUPPORTED);
        return false;
    }
    assert_ok(pith__gguf_dequantize(rows->type, rows->data, values, VALUES, &err), err);
    char name[80];
    (void)snprintf(name, sizeof name, "dequant.%s", type_name);
    const float *expected = floats_of(gguf, name);
    for (size_t i = 0; i < VALUES; i++) {
        const float ulp = nextafterf(fabsf(expected[i]), INFINITY) - fabsf(expected[i]);
        if (!(fabsf(values[i] - expected[i]) <= ulp)) {
            fail_msg("%s, value %zu: %.9g, expected %.9g", type_name, i, (double)values[i],
                     (double)expected[i]);
        }
    }
    if (codec->quantize != NULL) {
        /* the reference encoder rounds as we do: the very same bytes */
        assert_ok(pith__gguf_quantize(rows->type, floats_of(gguf, "source"), bytes, VALUES, &err),
                  err);
        assert_memory_equal(bytes, rows->data, rows->size);
    }
    return true;
}

static void test_reference_blocks(void **state)
{
    (void)state;
    pith_error err;
    pith__file file;
    pith__gguf gguf;
    assert_ok(pith__file_open(test_path("golden", "quant/blocks.gguf"), &file, &err), err);
    assert_ok(pith__gguf_parse(file.data, file.size, default_memory, &gguf, &err), err);
    size_t decoded = 0;
    for (size_t i = 0; i < gguf.n_tensors; i++) {
        char name[64];
        (void)pith__gguf_printable(gguf.tensors[i].name, name, sizeof name);
        if (strncmp(name, "rows.", 5) == 0) {
            decoded += check_reference_rows(&gguf, &gguf.tensors[i], name + 5);
        }
    }
    assert_true(decoded >= 4);
    pith__gguf_deinit(&gguf);
    pith__file_close(&file);
}

/* Largest error that a type may make on one value of a block with this largest magnitude. */
static double error_bound(pith__gguf_type type, double value, double largest)
{
    /* a scale is a half: relative error 2^-11, or steps of 2^-24 where it is subnormal */
    switch ((int)type) {
    case PITH__GGUF_TYPE_F16:
        return fmax(fabs(value) * 0x1p-11, 0x1p-25);
    case PITH__GGUF_TYPE_BF16:
        return fmax(fabs(value) * 0x1p-8, (double)FLT_MIN);
    case PITH__GGUF_TYPE_Q8_0:
        return largest / 127 * 0.501 + fmax(largest * 0x1p-11, 127 * 0x1p-25);
    case PITH__GGUF_TYPE_Q5_0: /* the far end, +16 steps, becomes +15 */
        return largest / 16 * 1.001 + fmax(largest * 0x1p-11, 16 * 0x1p-25);
    default:
        return 0;
    }
}

static void check_round_trip(pith__gguf_type type, const float *values, size_t count)
{
    float back[64];
    unsigned char bytes[64 * 4];
    pith_error err;
    size_t size = 0;
    assert_ok(pith__gguf_row_size(type, count, &size, &err), err);
    assert_true(size <= sizeof bytes);
    assert_ok(pith__gguf_quantize(type, values, bytes, count, &err), err);
    assert_ok(pith__gguf_dequantize(type, bytes, back, count, &err), err);
    for (size_t start = 0; start < count; start += 32) {
        double largest = 0;
        for (size_t i = start; i < start + 32; i++) {
            largest = fmax(largest, fabs((double)values[i]));
        }
        for (size_t i = start; i < start + 32; i++) {
            const double bound = error_bound(type, (double)values[i], largest);
            if (!(fabs((double)back[i] - (double)values[i]) <= bound)) {
                fail_msg("%s: %.9g became %.9g, allowed %.9g", pith__gguf_codec_of(type)->name,
                         (double)values[i], (double)back[i], bound);
            }
        }
    }
}

static const pith__gguf_type written_types[] = {PITH__GGUF_TYPE_F32, PITH__GGUF_TYPE_F16,
                                                PITH__GGUF_TYPE_BF16, PITH__GGUF_TYPE_Q8_0,
                                                PITH__GGUF_TYPE_Q5_0};

static void test_quantize_error(void **state)
{
    (void)state;
    uint64_t seed = 7;
    float values[64];
    for (size_t round = 0; round < 2000; round++) {
        const double scale = ldexp(1, (int)test_random_below(&seed, 52) - 38);
        for (size_t i = 0; i < 64; i++) {
            const double unit = (double)(test_random(&seed) >> 11) * 0x1p-53;
            values[i] = (float)((2 * unit - 1) * scale);
        }
        for (size_t t = 0; t < sizeof written_types / sizeof written_types[0]; t++) {
            check_round_trip(written_types[t], values, 64);
        }
    }
}

static void test_quantize_edges(void **state)
{
    (void)state;
    float values[32] = {0};
    unsigned char bytes[32 * 4];
    pith_error err;
    const float tiny[] = {0, FLT_TRUE_MIN, 1e-40F, FLT_MIN, 1e-30F, 1e-9F};
    for (size_t t = 0; t < sizeof written_types / sizeof written_types[0]; t++) {
        const pith__gguf_type type = written_types[t];
        for (size_t i = 0; i < sizeof tiny / sizeof tiny[0]; i++) {
            values[3] = -tiny[i];
            check_round_trip(type, values, 32);
        }
        const float limit = pith__gguf_codec_of(type)->limit;
        values[3] = limit > 0 ? limit : 65504.0F;
        check_round_trip(type, values, 32);
        const float wrong[] = {nextafterf(limit, INFINITY), INFINITY, -INFINITY, NAN};
        for (size_t i = 0; limit > 0 && i < 4; i++) {
            values[3] = wrong[i];
            assert_status(pith__gguf_quantize(type, values, bytes, 32, &err), PITH_E_ARGUMENT);
            assert_non_null(strstr(err.message, "value 3"));
        }
        values[3] = 0;
    }
    assert_status(pith__gguf_quantize(PITH__GGUF_TYPE_Q8_0, values, bytes, 31, &err),
                  PITH_E_ARGUMENT);
    assert_status(pith__gguf_quantize(PITH__GGUF_TYPE_IQ4_XS, values, bytes, 0, &err),
                  PITH_E_UNSUPPORTED);
    assert_ok(pith__gguf_quantize(PITH__GGUF_TYPE_Q8_0, NULL, NULL, 0, &err), err);
    assert_ok(pith__gguf_dequantize(PITH__GGUF_TYPE_F32, NULL, NULL, 0, &err), err);
}

static void test_integers_and_sizes(void **state)
{
    (void)state;
    const int8_t bytes[4] = {0, -1, 127, -128};
    const int32_t words[3] = {0, INT32_MIN, 16777216};
    float values[4];
    pith_error err;
    assert_ok(pith__gguf_dequantize(PITH__GGUF_TYPE_I8, bytes, values, 4, &err), err);
    assert_true(values[1] == -1 && values[2] == 127 && values[3] == -128);
    assert_ok(pith__gguf_dequantize(PITH__GGUF_TYPE_I32, words, values, 3, &err), err);
    assert_true(values[1] == -2147483648.0F && values[2] == 16777216.0F);

    size_t size = 1;
    assert_ok(pith__gguf_row_size(PITH__GGUF_TYPE_Q6_K, 512, &size, &err), err);
    assert_int_equal(size, 420);
    assert_status(pith__gguf_row_size(PITH__GGUF_TYPE_F64, UINT64_MAX, &size, &err), PITH_E_RANGE);
    assert_int_equal(size, 0);
    assert_status(pith__gguf_row_size((pith__gguf_type)4, 32, &size, &err), PITH_E_ARGUMENT);
    assert_null(pith__gguf_codec_of((pith__gguf_type)4));
    assert_null(pith__gguf_codec_of((pith__gguf_type)UINT32_MAX));
}

/* ---- files -------------------------------------------------------------------------- */

static void test_sample_layout(void **state)
{
    (void)state;
    pith_error err;
    pith__buf file;
    pith__gguf gguf;
    assert_int_equal(write_sample(default_memory, &file), PITH_OK);
    assert_int_equal(file.size, 288);
    assert_memory_equal(file.data, "GGUF\3\0\0\0\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0", 24);
    assert_memory_equal(file.data + 24, "\1\0\0\0\0\0\0\0a\7\0\0\0\1", 14);
    assert_memory_equal(file.data + 38, "\1\0\0\0\0\0\0\0b\11\0\0\0\10\0\0\0\2\0\0\0\0\0\0\0", 25);
    assert_memory_equal(file.data + 154, "\1\0\0\0\0\0\0\0u\1\0\0\0\40\0\0\0\0\0\0\0\10\0\0\0", 25);
    assert_memory_equal(file.data + 179, "\40\0\0\0\0\0\0\0\0\0\0\0\0", 13);
    assert_memory_equal(file.data + 192, sample_f32, sizeof sample_f32);
    assert_memory_equal(file.data + 224, sample_q8, sizeof sample_q8);

    assert_ok(pith__gguf_parse(file.data, file.size, default_memory, &gguf, &err), err);
    assert_int_equal(gguf.version, 3);
    assert_int_equal(gguf.alignment, 32);
    assert_int_equal(gguf.n_kvs, 3);
    assert_int_equal(gguf.kvs[1].offset, 51);
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(&gguf, "u");
    assert_non_null(tensor);
    assert_int_equal(tensor->offset, 224);
    assert_int_equal(tensor->info_offset, 154);
    assert_int_equal(tensor->size, 34);
    assert_int_equal(tensor->dims[3], 1);
    assert_null(pith__gguf_find_tensor(&gguf, ""));
    assert_null(pith__gguf_find_tensor(&gguf, "tt"));
    assert_null(pith__gguf_find(&gguf, "c"));
    pith__gguf_deinit(&gguf);
    pith__buf_deinit(&file);
}

/* A parsed file, written again piece by piece, is the same file. */
static void check_copy(const char *name)
{
    pith_error err;
    pith__file file;
    pith__gguf gguf;
    pith__gguf_writer writer;
    pith__buf copy;
    assert_ok(pith__file_open(test_path("golden", name), &file, &err), err);
    assert_ok(pith__gguf_parse(file.data, file.size, default_memory, &gguf, &err), err);
    assert_int_not_equal(visit(&gguf), 0);
    pith__gguf_writer_init(&writer, default_memory);
    pith__buf_init(&copy, default_memory, SIZE_MAX / 2);
    for (size_t i = 0; i < gguf.n_kvs; i++) {
        assert_ok(pith__gguf_writer_add_kv(&writer, &gguf.kvs[i], &err), err);
    }
    for (size_t i = 0; i < gguf.n_tensors; i++) {
        assert_ok(pith__gguf_writer_add_tensor(&writer, &gguf.tensors[i], &err), err);
    }
    assert_ok(pith__gguf_writer_write(&writer, write_to_buf, &copy, &err), err);
    assert_int_equal(copy.size, file.size);
    assert_memory_equal(copy.data, file.data, file.size);
    pith__gguf_writer_deinit(&writer);
    pith__buf_deinit(&copy);
    pith__gguf_deinit(&gguf);
    pith__file_close(&file);
}

static void test_copy_models(void **state)
{
    (void)state;
    check_copy("models/llama_gqa.gguf");
    check_copy("models/llama_untied.gguf");
    check_copy("models/boot-ckpt.gguf");
    check_copy("quant/blocks.gguf");
}

static void test_model_metadata(void **state)
{
    (void)state;
    pith_error err;
    pith__file file;
    pith__gguf gguf;
    assert_ok(pith__file_open(test_path("golden", "models/boot-ckpt.gguf"), &file, &err), err);
    assert_ok(pith__gguf_parse(file.data, file.size, default_memory, &gguf, &err), err);
    pith__gguf_string architecture;
    assert_ok(pith__gguf_get_string(&gguf, "general.architecture", &architecture, &err), err);
    assert_true(pith__gguf_string_equal(architecture, "llama"));
    pith__gguf_array tokens;
    assert_ok(pith__gguf_get_array(&gguf, "tokenizer.ggml.tokens", PITH__GGUF_VALUE_STRING, &tokens,
                                   &err),
              err);
    assert_int_equal(tokens.count, 8192);
    size_t count = 0;
    pith__gguf_strings it = pith__gguf_strings_of(&tokens);
    for (pith__gguf_string token; pith__gguf_strings_next(&it, &token);) {
        assert_true(token.size > 0);
        count++;
    }
    assert_int_equal(count, 8192);
    assert_ptr_equal(it.next, tokens.data + tokens.size);
    const pith__gguf_tensor *embedding = pith__gguf_find_tensor(&gguf, "token_embd.weight");
    assert_non_null(embedding);
    assert_int_equal(embedding->type, PITH__GGUF_TYPE_Q5_0);
    assert_int_equal(embedding->dims[1], 8192);
    uint64_t parameters = 0;
    for (size_t i = 0; i < gguf.n_tensors; i++) {
        parameters += gguf.tensors[i].elements;
    }
    assert_true(parameters > 5040000 && parameters < 5060000);
    pith__gguf_deinit(&gguf);
    pith__file_close(&file);
}

/* ---- round trip of random metadata --------------------------------------------------- */

enum { RANDOM_KEYS = 60, RANDOM_MAX = 40 };

typedef struct random_entry {
    char key[32];
    pith__gguf_value_type type;
    pith__gguf_value_type element;
    uint64_t bits;
    size_t count;
    char text[RANDOM_MAX];
    int32_t words[RANDOM_MAX];
    float floats[RANDOM_MAX];
    pith__gguf_string strings[RANDOM_MAX];
} random_entry;

static void make_entry(random_entry *entry, size_t index, uint64_t *seed)
{
    static const pith__gguf_value_type types[] = {
        PITH__GGUF_VALUE_U32,  PITH__GGUF_VALUE_I32,    PITH__GGUF_VALUE_U64,  PITH__GGUF_VALUE_F32,
        PITH__GGUF_VALUE_BOOL, PITH__GGUF_VALUE_STRING, PITH__GGUF_VALUE_ARRAY};
    static const pith__gguf_value_type elements[] = {PITH__GGUF_VALUE_I32, PITH__GGUF_VALUE_F32,
                                                     PITH__GGUF_VALUE_STRING};
    (void)snprintf(entry->key, sizeof entry->key, "%c.%zu", (char)('a' + test_random(seed) % 26),
                   index);
    entry->type = types[test_random_below(seed, 7)];
    entry->element = elements[test_random_below(seed, 3)];
    entry->bits = test_random(seed);
    entry->count = test_random_below(seed, RANDOM_MAX);
    for (size_t i = 0; i < RANDOM_MAX; i++) {
        entry->text[i] = (char)(signed char)(test_random(seed) & 0x7f);
        entry->words[i] = (int32_t)(test_random(seed) >> 33) - (1 << 30);
        entry->floats[i] = (float)entry->words[i];
        const size_t begin = test_random_below(seed, RANDOM_MAX);
        entry->strings[i] =
            (pith__gguf_string){entry->text + begin, test_random_below(seed, RANDOM_MAX - begin)};
    }
}

static pith_status add_array(pith__gguf_writer *writer, const random_entry *entry, pith_error *err)
{
    if (entry->element == PITH__GGUF_VALUE_I32) {
        return pith__gguf_writer_add_i32s(writer, entry->key, entry->words, entry->count, err);
    }
    if (entry->element == PITH__GGUF_VALUE_F32) {
        return pith__gguf_writer_add_f32s(writer, entry->key, entry->floats, entry->count, err);
    }
    return pith__gguf_writer_add_strings(writer, entry->key, entry->strings, entry->count, err);
}

static pith_status add_entry(pith__gguf_writer *writer, const random_entry *entry, pith_error *err)
{
    switch ((int)entry->type) {
    case PITH__GGUF_VALUE_U32:
        return pith__gguf_writer_add_u32(writer, entry->key, (uint32_t)entry->bits, err);
    case PITH__GGUF_VALUE_I32:
        return pith__gguf_writer_add_i32(writer, entry->key, entry->words[0], err);
    case PITH__GGUF_VALUE_U64:
        return pith__gguf_writer_add_u64(writer, entry->key, entry->bits, err);
    case PITH__GGUF_VALUE_F32:
        return pith__gguf_writer_add_f32(writer, entry->key, entry->floats[0], err);
    case PITH__GGUF_VALUE_BOOL:
        return pith__gguf_writer_add_bool(writer, entry->key, (entry->bits & 1) != 0, err);
    case PITH__GGUF_VALUE_STRING:
        return pith__gguf_writer_add_string(writer, entry->key, entry->text, entry->count, err);
    default:
        return add_array(writer, entry, err);
    }
}

static void check_array(const pith__gguf *gguf, const random_entry *entry)
{
    pith_error err;
    pith__gguf_array array;
    assert_ok(pith__gguf_get_array(gguf, entry->key, entry->element, &array, &err), err);
    assert_int_equal(array.count, entry->count);
    pith__gguf_strings it = {NULL, 0};
    if (entry->element == PITH__GGUF_VALUE_STRING) {
        it = pith__gguf_strings_of(&array);
    }
    for (size_t i = 0; i < array.count; i++) {
        if (entry->element == PITH__GGUF_VALUE_I32) {
            assert_int_equal(pith__gguf_array_i32(&array, i), entry->words[i]);
            assert_true(pith__gguf_array_scalar(&array, i).value.i == entry->words[i]);
        } else if (entry->element == PITH__GGUF_VALUE_F32) {
            assert_true(pith__gguf_array_f32(&array, i) == entry->floats[i]);
        } else {
            pith__gguf_string string;
            assert_true(pith__gguf_strings_next(&it, &string));
            assert_int_equal(pith__gguf_string_compare(string, entry->strings[i]), 0);
        }
    }
    pith__gguf_string string;
    assert_false(pith__gguf_strings_next(&it, &string));
}

static void check_entry(const pith__gguf *gguf, const random_entry *entry)
{
    pith_error err;
    uint32_t u32 = 0;
    float f32 = 0;
    bool truth = false;
    pith__gguf_string string;
    const pith__gguf_kv *kv = pith__gguf_find(gguf, entry->key);
    assert_non_null(kv);
    assert_int_equal(kv->type, entry->type);
    switch ((int)entry->type) {
    case PITH__GGUF_VALUE_U32:
        assert_ok(pith__gguf_get_u32(gguf, entry->key, &u32, &err), err);
        assert_true(u32 == (uint32_t)entry->bits);
        break;
    case PITH__GGUF_VALUE_I32:
        assert_true(kv->value.i == entry->words[0]);
        break;
    case PITH__GGUF_VALUE_U64:
        assert_true(kv->value.u == entry->bits);
        break;
    case PITH__GGUF_VALUE_F32:
        assert_ok(pith__gguf_get_f32(gguf, entry->key, &f32, &err), err);
        assert_true(f32 == entry->floats[0]);
        break;
    case PITH__GGUF_VALUE_BOOL:
        assert_ok(pith__gguf_get_bool(gguf, entry->key, &truth, &err), err);
        assert_int_equal(truth, (entry->bits & 1) != 0);
        break;
    case PITH__GGUF_VALUE_STRING:
        assert_ok(pith__gguf_get_string(gguf, entry->key, &string, &err), err);
        assert_int_equal(string.size, entry->count);
        assert_memory_equal(string.data, entry->text, entry->count);
        break;
    default:
        check_array(gguf, entry);
    }
}

static void test_random_round_trip(void **state)
{
    (void)state;
    static random_entry entries[RANDOM_KEYS];
    uint64_t seed = 3;
    for (size_t round = 0; round < 30; round++) {
        pith_error err;
        pith__gguf_writer writer;
        pith__buf file;
        pith__gguf gguf;
        pith__gguf_writer_init(&writer, default_memory);
        pith__buf_init(&file, default_memory, SIZE_MAX / 2);
        const size_t count = test_random_below(&seed, RANDOM_KEYS + 1);
        for (size_t i = 0; i < count; i++) {
            make_entry(&entries[i], i, &seed);
            assert_ok(add_entry(&writer, &entries[i], &err), err);
        }
        assert_ok(pith__gguf_writer_write(&writer, write_to_buf, &file, &err), err);
        assert_ok(pith__gguf_parse(file.data, file.size, default_memory, &gguf, &err), err);
        assert_int_equal(gguf.n_kvs, count);
        for (size_t i = 0; i < count; i++) {
            assert_true(pith__gguf_string_equal(gguf.kvs[i].key, entries[i].key));
            check_entry(&gguf, &entries[i]);
        }
        pith__gguf_deinit(&gguf);
        pith__gguf_writer_deinit(&writer);
        pith__buf_deinit(&file);
    }
}

/* ---- getters ------------------------------------------------------------------------- */

/* A file with values of the types that no add function writes, and an empty list of f32. */
static void open_values(pith__buf *file, pith__gguf *gguf)
{
    const int8_t minus = -1;
    const uint8_t seven = 7;
    const double half = 0.5;
    const double huge = 1e300;
    const uint64_t wide = UINT64_C(1) << 32;
    const pith__gguf_kv kvs[] = {
        {.key = {"i8", 2}, .type = PITH__GGUF_VALUE_I8, .raw = (const void *)&minus, .raw_size = 1},
        {.key = {"u8", 2}, .type = PITH__GGUF_VALUE_U8, .raw = &seven, .raw_size = 1},
        {.key = {"f64", 3},
         .type = PITH__GGUF_VALUE_F64,
         .raw = (const void *)&half,
         .raw_size = 8},
        {.key = {"huge", 4},
         .type = PITH__GGUF_VALUE_F64,
         .raw = (const void *)&huge,
         .raw_size = 8},
        {.key = {"u64", 3},
         .type = PITH__GGUF_VALUE_U64,
         .raw = (const void *)&wide,
         .raw_size = 8},
    };
    pith_error err;
    pith__gguf_writer writer;
    pith__gguf_writer_init(&writer, default_memory);
    pith__buf_init(file, default_memory, SIZE_MAX / 2);
    for (size_t i = 0; i < sizeof kvs / sizeof kvs[0]; i++) {
        assert_ok(pith__gguf_writer_add_kv(&writer, &kvs[i], &err), err);
    }
    assert_ok(pith__gguf_writer_add_f32s(&writer, "list", NULL, 0, &err), err);
    assert_ok(pith__gguf_writer_write(&writer, write_to_buf, file, &err), err);
    assert_ok(pith__gguf_parse(file->data, file->size, default_memory, gguf, &err), err);
    pith__gguf_writer_deinit(&writer);
}

static void test_get_numbers(void **state)
{
    (void)state;
    pith_error err;
    pith__buf file;
    pith__gguf gguf;
    open_values(&file, &gguf);
    uint32_t u32 = 9;
    assert_ok(pith__gguf_get_u32(&gguf, "u8", &u32, &err), err);
    assert_int_equal(u32, 7);
    assert_status(pith__gguf_get_u32(&gguf, "i8", &u32, &err), PITH_E_CORRUPT);
    assert_int_equal(err.offset, pith__gguf_find(&gguf, "i8")->offset);
    assert_int_equal(u32, 0);
    assert_status(pith__gguf_get_u32(&gguf, "u64", &u32, &err), PITH_E_CORRUPT);
    assert_non_null(strstr(err.message, "'u64' is 4294967296"));
    assert_status(pith__gguf_get_u32(&gguf, "f64", &u32, &err), PITH_E_CORRUPT);
    assert_string_equal(err.message, "metadata key 'f64' is f64, expected an integer");
    assert_status(pith__gguf_get_u32(&gguf, "none", &u32, &err), PITH_E_CORRUPT);
    assert_string_equal(err.message, "metadata key 'none' is missing");
    uint64_t u64 = 9;
    assert_ok(pith__gguf_get_u64(&gguf, "u8", &u64, &err), err);
    assert_int_equal(u64, 7);
    assert_ok(pith__gguf_get_u64(&gguf, "u64", &u64, &err), err);
    assert_true(u64 > UINT32_MAX);
    assert_status(pith__gguf_get_u64(&gguf, "i8", &u64, &err), PITH_E_CORRUPT);
    assert_int_equal(u64, 0);
    assert_status(pith__gguf_get_u64(&gguf, "f64", &u64, &err), PITH_E_CORRUPT);
    assert_status(pith__gguf_get_u64(&gguf, "none", &u64, &err), PITH_E_CORRUPT);
    assert_ok(pith__gguf_get_u32_or(&gguf, "none", 5, &u32, &err), err);
    assert_int_equal(u32, 5);
    assert_status(pith__gguf_get_u32_or(&gguf, "f64", 5, &u32, &err), PITH_E_CORRUPT);

    float f32 = 1;
    assert_ok(pith__gguf_get_f32(&gguf, "f64", &f32, &err), err);
    assert_true(f32 == 0.5F);
    assert_status(pith__gguf_get_f32(&gguf, "huge", &f32, &err), PITH_E_CORRUPT);
    assert_status(pith__gguf_get_f32_or(&gguf, "u8", 2, &f32, &err), PITH_E_CORRUPT);
    assert_ok(pith__gguf_get_f32_or(&gguf, "none", 2, &f32, &err), err);
    assert_true(f32 == 2);
    pith__gguf_deinit(&gguf);
    pith__buf_deinit(&file);
}

static void test_get_others(void **state)
{
    (void)state;
    pith_error err;
    pith__buf file;
    pith__gguf gguf;
    open_values(&file, &gguf);
    bool truth = false;
    assert_ok(pith__gguf_get_bool_or(&gguf, "none", true, &truth, &err), err);
    assert_true(truth);
    assert_status(pith__gguf_get_bool(&gguf, "none", &truth, &err), PITH_E_CORRUPT);
    assert_status(pith__gguf_get_bool_or(&gguf, "u8", true, &truth, &err), PITH_E_CORRUPT);
    assert_false(truth);

    pith__gguf_string string;
    assert_ok(pith__gguf_get_string_or(&gguf, "none", "x", &string, &err), err);
    assert_true(pith__gguf_string_equal(string, "x"));
    assert_status(pith__gguf_get_string_or(&gguf, "u8", "x", &string, &err), PITH_E_CORRUPT);
    assert_status(pith__gguf_get_string(&gguf, "none", &string, &err), PITH_E_CORRUPT);
    assert_int_equal(string.size, 0);

    pith__gguf_array array;
    assert_ok(pith__gguf_get_array(&gguf, "list", PITH__GGUF_VALUE_F32, &array, &err), err);
    assert_int_equal(array.count, 0);
    assert_status(pith__gguf_get_array(&gguf, "list", PITH__GGUF_VALUE_I32, &array, &err),
                  PITH_E_CORRUPT);
    assert_string_equal(err.message, "metadata key 'list' is an array of f32, expected i32");
    assert_status(pith__gguf_get_array_or_empty(&gguf, "u8", PITH__GGUF_VALUE_I32, &array, &err),
                  PITH_E_CORRUPT);
    assert_ok(pith__gguf_get_array_or_empty(&gguf, "none", PITH__GGUF_VALUE_I32, &array, &err),
              err);
    assert_null(array.data);
    pith__gguf_deinit(&gguf);
    pith__buf_deinit(&file);
}

static void test_printable(void **state)
{
    (void)state;
    char out[8];
    assert_string_equal(pith__gguf_printable(string_of("a\n\xc3z"), out, sizeof out), "a??z");
    assert_string_equal(pith__gguf_printable(string_of("1234567"), out, sizeof out), "1234567");
    assert_string_equal(pith__gguf_printable(string_of("12345678"), out, sizeof out), "1234...");
    assert_string_equal(pith__gguf_printable((pith__gguf_string){NULL, 0}, out, sizeof out), "");
    assert_string_equal(pith__gguf_value_type_name((pith__gguf_value_type)13), "unknown");
}

/* ---- damage ---------------------------------------------------------------------------- */

typedef struct damage {
    size_t at; /* in the sample file */
    size_t width;
    uint64_t value;
    pith_status status;
    size_t offset;
    const char *message;
} damage;

static const damage damages[] = {
    {0, 1, 'X', PITH_E_CORRUPT, 0, "not a GGUF file"},
    {4, 4, 1, PITH_E_UNSUPPORTED, 4, "version 1"},
    {4, 4, 4, PITH_E_UNSUPPORTED, 4, "version 4"},
    {4, 4, 0x03000000, PITH_E_UNSUPPORTED, 4, "big-endian"},
    {8, 8, 12, PITH_E_CORRUPT, 8, "tensors: 12 do not fit"},
    {8, 8, UINT64_MAX, PITH_E_CORRUPT, 8, "do not fit"},
    {16, 8, 21, PITH_E_CORRUPT, 16, "metadata entries: 21 do not fit"},
    {24, 8, UINT64_MAX, PITH_E_CORRUPT, 24, "a key of"},
    {33, 4, 13, PITH_E_CORRUPT, 33, "unknown type 13"},
    {37, 1, 2, PITH_E_CORRUPT, 37, "truth value of 2"},
    {46, 1, 'a', PITH_E_CORRUPT, 51, "key 'a' occurs twice"},
    {51, 4, 9, PITH_E_UNSUPPORTED, 51, "arrays of arrays"},
    {51, 4, 13, PITH_E_CORRUPT, 51, "array of unknown type 13"},
    {55, 8, UINT64_C(1) << 61, PITH_E_CORRUPT, 55, "elements of an array"},
    {63, 8, 226, PITH_E_CORRUPT, 63, "string of an array of 226 bytes"},
    {105, 4, 5, PITH_E_CORRUPT, 109, "general.alignment"},
    {109, 4, 0, PITH_E_CORRUPT, 109, "general.alignment"},
    {109, 4, 33, PITH_E_CORRUPT, 109, "general.alignment"},
    {109, 4, 64, PITH_E_CORRUPT, 154, "tensor 'u': its data is not aligned"},
    {113, 8, 1000, PITH_E_CORRUPT, 113, "name of a tensor"},
    {122, 4, 5, PITH_E_CORRUPT, 113, "more than 4 dimensions"},
    {126, 8, 0, PITH_E_CORRUPT, 113, "dimension of 0"},
    {126, 8, UINT64_C(1) << 63, PITH_E_CORRUPT, 113, "2^64 elements"},
    {126, 8, UINT64_C(1) << 62, PITH_E_CORRUPT, 113, "2^64 bytes"},
    {126, 8, UINT64_C(1) << 40, PITH_E_CORRUPT, 113, "reaches beyond the file"},
    {142, 4, 4, PITH_E_UNSUPPORTED, 113, "unknown type 4"},
    {142, 4, UINT32_MAX, PITH_E_UNSUPPORTED, 113, "unknown type 4294967295"},
    {146, 8, 8, PITH_E_CORRUPT, 113, "not aligned"},
    {146, 8, UINT64_C(1) << 40, PITH_E_CORRUPT, 113, "begins beyond the file"},
    {162, 1, 't', PITH_E_CORRUPT, 154, "tensor 't': the name occurs twice"},
    {167, 8, 33, PITH_E_CORRUPT, 154, "whole blocks"},
    {167, 8, 128, PITH_E_CORRUPT, 154, "reaches beyond the file"},
    {179, 8, 0, PITH_E_CORRUPT, 154, "overlaps"},
    {179, 8, 96, PITH_E_CORRUPT, 154, "reaches beyond the file"},
};

static void test_damage(void **state)
{
    (void)state;
    pith__buf file;
    pith_error err;
    assert_int_equal(write_sample(default_memory, &file), PITH_OK);
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        const damage *d = &damages[i];
        char saved[8];
        memcpy(saved, file.data + d->at, d->width);
        memcpy(file.data + d->at, &d->value, d->width); /* little-endian: the low bytes */
        const pith_status status = parse_copy(file.data, file.size, &err);
        if (status != d->status || err.offset != d->offset ||
            strstr(err.message, d->message) == NULL) {
            fail_msg("case %zu: %s at %zu: %s, expected %s", i, pith_status_name(status),
                     err.offset, err.message, d->message);
        }
        memcpy(file.data + d->at, saved, d->width);
    }
    assert_ok(parse_copy(file.data, file.size, &err), err);
    file.data[4] = 2;
    assert_ok(parse_copy(file.data, file.size, &err), err);
    pith__buf_deinit(&file);
}

static void test_truncation(void **state)
{
    (void)state;
    pith__buf file;
    pith_error err;
    assert_int_equal(write_sample(default_memory, &file), PITH_OK);
    for (size_t size = 0; size <= file.size; size++) {
        /* nothing but the padding after the last tensor may be missing */
        if (size >= 224 + sizeof sample_q8) {
            assert_ok(parse_copy(file.data, size, &err), err);
        } else {
            assert_status(parse_copy(file.data, size, &err), PITH_E_CORRUPT);
            assert_true(err.offset <= size);
        }
    }
    pith__buf_deinit(&file);
}

static void test_flips(void **state)
{
    (void)state;
    pith__buf file;
    pith_error err;
    size_t refused = 0;
    assert_int_equal(write_sample(default_memory, &file), PITH_OK);
    for (size_t at = 0; at < file.size; at++) {
        const char saved = file.data[at];
        for (unsigned change = 1; change < 256; change++) {
            file.data[at] = (char)((unsigned char)saved ^ change);
            const pith_status status = parse_copy(file.data, file.size, &err);
            if (status != PITH_OK) {
                assert_true(status == PITH_E_CORRUPT || status == PITH_E_UNSUPPORTED);
                assert_true(err.offset <= file.size);
                refused++;
            }
        }
        file.data[at] = saved;
    }
    assert_true(refused > 10000);
    pith__buf_deinit(&file);
}

/* A table of a hundred thousand keys takes no quadratic time to check. */
static void test_many_keys(void **state)
{
    (void)state;
    pith_error err;
    pith__gguf_writer writer;
    pith__buf file;
    pith__gguf gguf;
    pith__gguf_writer_init(&writer, default_memory);
    pith__buf_init(&file, default_memory, SIZE_MAX / 2);
    char key[32];
    for (uint32_t i = 0; i < 100000; i++) {
        (void)snprintf(key, sizeof key, "key.%u", i * 7919U % 100000U);
        assert_ok(pith__gguf_writer_add_u32(&writer, key, i, &err), err);
    }
    assert_ok(pith__gguf_writer_write(&writer, write_to_buf, &file, &err), err);
    assert_ok(pith__gguf_parse(file.data, file.size, default_memory, &gguf, &err), err);
    for (uint32_t i = 0; i < 100000; i++) {
        uint32_t value = 0;
        (void)snprintf(key, sizeof key, "key.%u", i * 7919U % 100000U);
        assert_ok(pith__gguf_get_u32(&gguf, key, &value, &err), err);
        assert_int_equal(value, i);
    }
    pith__gguf_deinit(&gguf);
    pith__gguf_writer_deinit(&writer);
    pith__buf_deinit(&file);
}

/* ---- writer ------------------------------------------------------------------------------ */

static bool write_nothing(void *user, const char *data, size_t size)
{
    (void)user;
    (void)data;
    (void)size;
    return false;
}

static void test_writer_refuses(void **state)
{
    (void)state;
    pith_error err;
    pith__gguf_writer writer;
    pith__buf file;
    pith__gguf_writer_init(&writer, default_memory);
    pith__buf_init(&file, default_memory, SIZE_MAX / 2);
    assert_status(pith__gguf_writer_add_u32(&writer, "general.alignment", 48, &err),
                  PITH_E_ARGUMENT);
    assert_status(pith__gguf_writer_add_i32(&writer, "general.alignment", 32, &err),
                  PITH_E_ARGUMENT);
    static char long_name[65537];
    memset(long_name, 'k', sizeof long_name - 1);
    assert_status(pith__gguf_writer_add_u32(&writer, long_name, 1, &err), PITH_E_ARGUMENT);

    pith__gguf_tensor tensor = {.name = {long_name, 64},
                                .n_dims = 2,
                                .dims = {4, 2},
                                .type = PITH__GGUF_TYPE_F32,
                                .data = (const unsigned char *)sample_f32};
    assert_status(pith__gguf_writer_add_tensor(&writer, &tensor, &err), PITH_E_ARGUMENT);
    tensor.name.size = 63;
    tensor.n_dims = 5;
    assert_status(pith__gguf_writer_add_tensor(&writer, &tensor, &err), PITH_E_ARGUMENT);
    tensor.n_dims = 2;
    tensor.dims[1] = 0;
    assert_status(pith__gguf_writer_add_tensor(&writer, &tensor, &err), PITH_E_ARGUMENT);
    tensor.dims[1] = UINT64_MAX;
    assert_status(pith__gguf_writer_add_tensor(&writer, &tensor, &err), PITH_E_RANGE);
    tensor.dims[1] = 2;
    tensor.type = PITH__GGUF_TYPE_Q8_0;
    assert_status(pith__gguf_writer_add_tensor(&writer, &tensor, &err), PITH_E_ARGUMENT);
    tensor.type = PITH__GGUF_TYPE_F32;

    assert_ok(pith__gguf_writer_write(&writer, write_to_buf, &file, &err), err);
    assert_int_equal(file.size, 32); /* nothing was added */
    assert_ok(parse_copy(file.data, file.size, &err), err);
    assert_ok(pith__gguf_writer_add_tensor(&writer, &tensor, &err), err);
    assert_ok(pith__gguf_writer_add_tensor(&writer, &tensor, &err), err);
    assert_status(pith__gguf_writer_write(&writer, write_to_buf, &file, &err), PITH_E_ARGUMENT);
    pith__gguf_writer_deinit(&writer);
    assert_ok(pith__gguf_writer_add_bool(&writer, "twice", true, &err), err);
    assert_status(pith__gguf_writer_write(&writer, write_nothing, NULL, &err), PITH_E_IO);
    assert_ok(pith__gguf_writer_add_bool(&writer, "twice", true, &err), err);
    assert_status(pith__gguf_writer_write(&writer, write_to_buf, &file, &err), PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, "key 'twice'"));
    assert_int_equal(file.size, 32);
    pith__gguf_writer_deinit(&writer);
    pith__buf_deinit(&file);
}

/* Any alignment, and a scalar among the tensors. */
static void test_alignment(void **state)
{
    (void)state;
    for (uint32_t alignment = 1; alignment <= 4096; alignment *= 2) {
        pith_error err;
        pith__gguf_writer writer;
        pith__buf file;
        pith__gguf gguf;
        pith__gguf_writer_init(&writer, default_memory);
        pith__buf_init(&file, default_memory, SIZE_MAX / 2);
        pith__gguf_tensor tensor = {.name = {"scalar", 6},
                                    .type = PITH__GGUF_TYPE_F32,
                                    .data = (const unsigned char *)&sample_f32[2]};
        assert_ok(pith__gguf_writer_add_tensor(&writer, &tensor, &err), err);
        tensor = (pith__gguf_tensor){.name = {"row", 3},
                                     .n_dims = 1,
                                     .dims = {3},
                                     .type = PITH__GGUF_TYPE_F32,
                                     .data = (const unsigned char *)sample_f32};
        assert_ok(pith__gguf_writer_add_tensor(&writer, &tensor, &err), err);
        assert_ok(pith__gguf_writer_add_u32(&writer, "general.alignment", alignment, &err), err);
        assert_ok(pith__gguf_writer_write(&writer, write_to_buf, &file, &err), err);
        assert_int_equal(file.size % alignment, 0);
        assert_ok(pith__gguf_parse(file.data, file.size, default_memory, &gguf, &err), err);
        assert_int_equal(gguf.alignment, alignment);
        assert_int_equal(gguf.tensors[0].elements, 1);
        assert_memory_equal(gguf.tensors[0].data, &sample_f32[2], 4);
        assert_int_equal(gguf.tensors[1].offset % alignment, 0);
        assert_memory_equal(gguf.tensors[1].data, sample_f32, 12);
        pith__gguf_deinit(&gguf);
        pith__gguf_writer_deinit(&writer);
        pith__buf_deinit(&file);
    }
}

/* ---- memory ------------------------------------------------------------------------------ */

static pith_status write_and_parse(const pith_allocator *mem, void *user)
{
    (void)user;
    pith__buf file;
    pith__gguf gguf = {.version = 0};
    pith_status status = write_sample(mem, &file);
    if (status == PITH_OK) {
        status = pith__gguf_parse(file.data, file.size, mem, &gguf, NULL);
    }
    pith__gguf_deinit(&gguf);
    pith__buf_deinit(&file);
    return status;
}

static void test_memory_sweep(void **state)
{
    (void)state;
    test_sweep(write_and_parse, NULL);
    pith__gguf_deinit(NULL);
    pith__gguf_writer_deinit(NULL);
}

/* Adds a long list and a tensor; what fails for want of memory is tried again. */
static void write_with_retries(test_memory *memory, pith__buf *out)
{
    pith__gguf_string strings[50];
    for (size_t i = 0; i < 50; i++) {
        strings[i] = string_of("a string that makes the buffer grow now and then");
    }
    const pith__gguf_tensor tensor = {
        .name = {"row", 3}, .n_dims = 1, .dims = {8}, .data = (const unsigned char *)sample_f32};
    const pith_allocator mem = test_memory_allocator(memory);
    pith_error err;
    pith__gguf_writer writer;
    pith__gguf_writer_init(&writer, &mem);
    if (pith__gguf_writer_add_strings(&writer, "list", strings, 50, NULL) != PITH_OK) {
        memory->fail_from = 0;
        assert_ok(pith__gguf_writer_add_strings(&writer, "list", strings, 50, &err), err);
    }
    if (pith__gguf_writer_add_tensor(&writer, &tensor, NULL) != PITH_OK) {
        memory->fail_from = 0;
        assert_ok(pith__gguf_writer_add_tensor(&writer, &tensor, &err), err);
    }
    memory->fail_from = 0;
    assert_ok(pith__gguf_writer_write(&writer, write_to_buf, out, &err), err);
    pith__gguf_writer_deinit(&writer);
    assert_int_equal(memory->live, 0);
}

static void test_failed_add_changes_nothing(void **state)
{
    (void)state;
    pith__buf expected;
    pith__buf_init(&expected, default_memory, SIZE_MAX / 2);
    test_memory memory = {.fail_from = 0};
    write_with_retries(&memory, &expected);
    const size_t allocations = memory.count;
    assert_true(allocations > 5);
    for (size_t n = 1; n <= allocations; n++) {
        pith__buf file;
        pith__buf_init(&file, default_memory, SIZE_MAX / 2);
        memory = (test_memory){.fail_from = n};
        write_with_retries(&memory, &file);
        assert_int_equal(file.size, expected.size);
        assert_memory_equal(file.data, expected.data, expected.size);
        pith__buf_deinit(&file);
    }
    pith__buf_deinit(&expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_half),
        cmocka_unit_test(test_half_rounding),
        cmocka_unit_test(test_every_brain),
        cmocka_unit_test(test_reference_blocks),
        cmocka_unit_test(test_quantize_error),
        cmocka_unit_test(test_quantize_edges),
        cmocka_unit_test(test_integers_and_sizes),
        cmocka_unit_test(test_sample_layout),
        cmocka_unit_test(test_copy_models),
        cmocka_unit_test(test_model_metadata),
        cmocka_unit_test(test_random_round_trip),
        cmocka_unit_test(test_get_numbers),
        cmocka_unit_test(test_get_others),
        cmocka_unit_test(test_printable),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_truncation),
        cmocka_unit_test(test_flips),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_writer_refuses),
        cmocka_unit_test(test_alignment),
        cmocka_unit_test(test_memory_sweep),
        cmocka_unit_test(test_failed_add_changes_nothing),
    };
    return cmocka_run_group_tests_name("gguf", tests, NULL, NULL);
}
