/*
 * bench.c: scoring a llama of a given shape with random weights, measured against
 * oneDNN's own rate on the same matrix shapes in the same run.
 */
#include "api/api.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- a random model as a GGUF file in memory ---------------------------------------------- */

typedef struct shape {
    const char *name; /* "" with a layer number in front for those of a block */
    uint32_t rows;
    uint32_t cols;
} shape;

typedef struct bench {
    pith_bench_options o;
    pith_allocator mem;
    pith__arena arena;
    pith__buf file;
    uint64_t random; /* state of the generator */
    pith_error *err;
} bench;

static uint64_t next_random(bench *b)
{
    b->random ^= b->random << 13; /* xorshift64 (Marsaglia 2003) */
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return b->random;
}

static pith_status add_floats(bench *b, pith__gguf_writer *writer, const char *name, size_t count,
                              float value)
{
    float *values = NULL;
    PITH__TRY(pith__arena_alloc(&b->arena, count, sizeof *values, &values, b->err));
    for (size_t i = 0; i < count; i++) {
        values[i] = value;
    }
    const pith__gguf_tensor tensor = {.name = {name, strlen(name)},
                                      .n_dims = 1,
                                      .dims = {count, 1, 1, 1},
                                      .type = PITH__GGUF_TYPE_F32,
                                      .data = (const unsigned char *)values};
    return pith__gguf_writer_add_tensor(writer, &tensor, b->err);
}

/* Uniform int8 weights; the scale keeps activations near 1 whatever the width. */
static pith_status add_matrix(bench *b, pith__gguf_writer *writer, const char *stem, size_t rows,
                              size_t cols)
{
    char name[64];
    int8_t *values = NULL;
    PITH__TRY(pith__arena_alloc(&b->arena, rows, cols, &values, b->err));
    for (size_t i = 0; i < rows * cols; i++) {
        values[i] = (int8_t)((int)(next_random(b) % 255) - 127);
    }
    (void)snprintf(name, sizeof name, "%s.weight", stem);
    const pith__gguf_tensor tensor = {.name = {name, strlen(name)},
                                      .n_dims = 2,
                                      .dims = {cols, rows, 1, 1},
                                      .type = PITH__GGUF_TYPE_I8,
                                      .data = (const unsigned char *)values};
    PITH__TRY(pith__gguf_writer_add_tensor(writer, &tensor, b->err));
    (void)snprintf(name, sizeof name, "%s.scale", stem);
    return add_floats(b, writer, name, rows, 1.0f / (73.0f * sqrtf((float)cols)));
}

#define BLOCK_MATRICES 7

/* The matrices of one block, then the embedding. */
static void matrix_shapes(const pith_bench_options *o, shape shapes[BLOCK_MATRICES + 1])
{
    const uint32_t kv = o->width / o->heads * o->kv_heads;
    const shape all[BLOCK_MATRICES + 1] = {
        {"attn_q", o->width, o->width}, {"attn_k", kv, o->width},
        {"attn_v", kv, o->width},       {"attn_output", o->width, o->width},
        {"ffn_gate", o->ff, o->width},  {"ffn_up", o->ff, o->width},
        {"ffn_down", o->width, o->ff},  {"token_embd", o->vocabulary, o->width},
    };
    memcpy(shapes, all, sizeof all);
}

static pith_status add_weights(bench *b, pith__gguf_writer *writer)
{
    shape shapes[BLOCK_MATRICES + 1];
    char name[48];
    matrix_shapes(&b->o, shapes);
    for (uint32_t layer = 0; layer < b->o.layers; layer++) {
        for (size_t i = 0; i < BLOCK_MATRICES; i++) {
            (void)snprintf(name, sizeof name, "blk.%u.%s", layer, shapes[i].name);
            PITH__TRY(add_matrix(b, writer, name, shapes[i].rows, shapes[i].cols));
        }
        (void)snprintf(name, sizeof name, "blk.%u.attn_norm.weight", layer);
        PITH__TRY(add_floats(b, writer, name, b->o.width, 1.0f));
        (void)snprintf(name, sizeof name, "blk.%u.ffn_norm.weight", layer);
        PITH__TRY(add_floats(b, writer, name, b->o.width, 1.0f));
    }
    PITH__TRY(add_floats(b, writer, "output_norm.weight", b->o.width, 1.0f));
    return add_matrix(b, writer, "token_embd", b->o.vocabulary, b->o.width);
}

static pith_status add_config(bench *b, pith__gguf_writer *writer)
{
    const struct {
        const char *key;
        uint32_t value;
    } sizes[] = {
        {"llama.block_count", b->o.layers},
        {"llama.context_length", b->o.window},
        {"llama.embedding_length", b->o.width},
        {"llama.feed_forward_length", b->o.ff},
        {"llama.attention.head_count", b->o.heads},
        {"llama.attention.head_count_kv", b->o.kv_heads},
    };
    PITH__TRY(pith__gguf_writer_add_string(writer, "general.architecture", "llama", 5, b->err));
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        PITH__TRY(pith__gguf_writer_add_u32(writer, sizes[i].key, sizes[i].value, b->err));
    }
    return pith__gguf_writer_add_f32(writer, "llama.attention.layer_norm_rms_epsilon", 1e-5f,
                                     b->err);
}

static bool write_buffer(void *user, const char *data, size_t size)
{
    return pith__buf_append(user, data, size, NULL) == PITH_OK;
}

static pith_status make_file(bench *b)
{
    pith__gguf_writer writer;
    pith__gguf_writer_init(&writer, &b->mem);
    pith_status status = add_config(b, &writer);
    if (status == PITH_OK) {
        status = add_weights(b, &writer);
    }
    if (status == PITH_OK) {
        status = pith__gguf_writer_write(&writer, write_buffer, &b->file, b->err);
    }
    pith__gguf_writer_deinit(&writer);
    pith__arena_reset(&b->arena);
    return status;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static pith_status score_seconds(bench *b, const pith__model *model, double *seconds,
                                 size_t *tokens)
{
    const pith_bench_options *o = &b->o;
    const pith__tensor_ctx ctx = {o->threads, &b->arena};
    const pith__score_options options = {
        .bos = 0, .window = o->window, .overlap = 0, .progress = NULL};
    const size_t n_ids = (size_t)o->window * o->windows;
    uint32_t *ids = NULL;
    float *nats = NULL;
    PITH__TRY(pith__arena_alloc(&b->arena, n_ids, sizeof *ids, &ids, b->err));
    PITH__TRY(pith__arena_alloc(&b->arena, n_ids, sizeof *nats, &nats, b->err));
    for (size_t i = 0; i < n_ids; i++) {
        ids[i] = (uint32_t)(next_random(b) % o->vocabulary);
    }
    const pith__score_range range = {0, n_ids};
    const pith__score_input text = {ids, n_ids, &range, 1};
    *seconds = HUGE_VAL;
    *tokens = n_ids;
    for (uint32_t i = 0; i <= o->repeat; i++) { /* the first run warms up */
        const double start = pith__seconds();
        PITH__TRY(pith__score_run(model, &ctx, &options, &text, nats, NULL, b->err));
        const double taken = pith__seconds() - start;
        if (i > 0 && taken < *seconds) {
            *seconds = taken;
        }
    }
    return PITH_OK;
}

/* Multiply-adds of the matrix products per token, head included, attention's own not. */
static double operations_per_token(const pith_bench_options *o)
{
    shape shapes[BLOCK_MATRICES + 1];
    double sum = 0.0;
    matrix_shapes(o, shapes);
    for (size_t i = 0; i <= BLOCK_MATRICES; i++) {
        const double times = i < BLOCK_MATRICES ? (double)o->layers : 1.0;
        sum += 2.0 * times * (double)shapes[i].rows * (double)shapes[i].cols;
    }
    return sum;
}

static pith_status gemm_seconds_per_token(bench *b, bool int8, double *out)
{
    shape shapes[BLOCK_MATRICES + 1];
    const size_t rows = b->o.window;
    matrix_shapes(&b->o, shapes);
    *out = 0.0;
    for (size_t i = 0; i <= BLOCK_MATRICES; i++) {
        double seconds = 0.0;
        PITH__TRY(pith__tensor_gemm_seconds(int8, rows, shapes[i].rows, shapes[i].cols, b->o.repeat,
                                            &b->arena, &seconds, b->err));
        const double times = i < BLOCK_MATRICES ? (double)b->o.layers : 1.0;
        *out += times * seconds / (double)rows;
    }
    return PITH_OK;
}

static pith_status measure(bench *b, const pith__gguf *gguf, pith_precision precision,
                           pith_bench_rate *rate, uint64_t *parameters)
{
    pith__model model;
    double seconds = 0.0;
    double gemm = 0.0;
    size_t tokens = 0;
    PITH__TRY(pith__model_load(gguf, precision, &b->mem, &model, b->err));
    pith_status status = score_seconds(b, &model, &seconds, &tokens);
    if (status == PITH_OK) {
        status = gemm_seconds_per_token(b, precision == PITH_PRECISION_INT8, &gemm);
    }
    if (status == PITH_OK) {
        const double operations = operations_per_token(&b->o);
        rate->tokens_per_second = (double)tokens / seconds;
        rate->model_gops = operations * rate->tokens_per_second / 1e9;
        rate->gemm_gops = (double)b->o.threads * operations / gemm / 1e9;
        rate->share = rate->model_gops / rate->gemm_gops;
        rate->weight_bytes = model.weight_bytes;
        *parameters = model.parameters;
    }
    pith__model_deinit(&model);
    pith__arena_reset(&b->arena);
    return status;
}

/* ---- options ------------------------------------------------------------------------------------- */

static void fill_defaults(pith_bench_options *o)
{
    const uint32_t heads = o->heads == 0 ? 12 : o->heads;
    const struct {
        uint32_t *field;
        uint32_t value;
    } defaults[] = {
        {&o->layers, 12}, {&o->width, 768},        {&o->heads, 12},   {&o->kv_heads, heads},
        {&o->ff, 2048},   {&o->vocabulary, 32000}, {&o->window, 512}, {&o->windows, 4},
        {&o->repeat, 3},  {&o->threads, 1},
    };
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        if (*defaults[i].field == 0) {
            *defaults[i].field = defaults[i].value;
        }
    }
}

static pith_status check_options(const pith_bench_options *o, pith_error *err)
{
    const bool divides = o->width % o->heads == 0 && o->heads % o->kv_heads == 0;
    const bool bounded = o->layers <= 256 && o->width <= 16384 && o->ff <= 65536 &&
                         o->vocabulary <= 1000000 && o->window >= 2 && o->window <= 65536 &&
                         o->windows <= 1024 && o->repeat <= 1000 && o->threads <= 1024;
    if (!divides || !bounded) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "bench: heads must divide the width and kv-heads the heads; at most 256 "
                          "layers, width 16384, ff 65536, vocabulary 1000000, window 65536");
    }
    return PITH_OK;
}

static pith_status run(bench *b, pith_bench_report *report)
{
    pith__gguf gguf = {0};
    PITH__TRY(make_file(b));
    PITH__TRY(pith__gguf_parse(b->file.data, b->file.size, &b->mem, &gguf, b->err));
    pith_status status = measure(b, &gguf, PITH_PRECISION_INT8, &report->int8, &report->parameters);
    if (status == PITH_OK) {
        status = measure(b, &gguf, PITH_PRECISION_F32, &report->f32, &report->parameters);
    }
    pith__gguf_deinit(&gguf);
    return status;
}

pith_status pith_bench(const pith_bench_options *options, pith_bench_report *report,
                       pith_error *err)
{
    *report = (pith_bench_report){0};
    if (options->struct_size != sizeof *options) {
        return pith__fail(err, PITH_E_ARGUMENT, "pith_bench_options: struct_size is %zu, not %zu",
                          options->struct_size, sizeof *options);
    }
    bench b = {.o = *options,
               .mem = pith__allocator_default,
               .random = UINT64_C(0x9e3779b97f4a7c15),
               .err = err};
    fill_defaults(&b.o);
    PITH__TRY(check_options(&b.o, err));
    pith__arena_init(&b.arena, &b.mem);
    pith__buf_init(&b.file, &b.mem, (size_t)1 << 36);
    const pith_status status = run(&b, report);
    pith__buf_deinit(&b.file);
    pith__arena_deinit(&b.arena);
    return status;
}
