/*
 * capsule_write.c: capsules as GGUF files; docs/capsule.md describes the format.
 *
 * The checksum is the SHA-256 of the whole file with its own 32 bytes as 0. As the last tensor, it
 * is the end of the file, in this version and in all to come: damage is told from a later version.
 */
#include "soft/capsule.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define KEY(name) "pith.capsule." name

const pith__capsule_format pith__capsule_format_one = {"capsule", "capsule", KEY("version"), 1};

/* ---- what files are made of ------------------------------------------------------------------ */

pith__gguf_type pith__capsule_tensor_type(pith__capsule_type type)
{
    switch (type) {
    case PITH__CAPSULE_F16:
        return PITH__GGUF_TYPE_F16;
    case PITH__CAPSULE_INT8:
        return PITH__GGUF_TYPE_I8;
    case PITH__CAPSULE_F32:
        break;
    }
    return PITH__GGUF_TYPE_F32;
}

void pith__capsule_part_name(const pith__capsule *capsule, const char *prefix, size_t index,
                             const char *suffix, char name[PITH__CAPSULE_PART])
{
    if (capsule->kind == PITH__CAPSULE_KV) {
        (void)snprintf(name, PITH__CAPSULE_PART, "%sblk.%zu.%s%s", prefix, index / 2,
                       index % 2 == 0 ? "keys" : "values", suffix);
    } else {
        (void)snprintf(name, PITH__CAPSULE_PART, "%sembeddings%s", prefix, suffix);
    }
}

void pith__capsule_texts(pith__capsule *capsule, pith__capsule_text fields[PITH__CAPSULE_TEXTS])
{
    pith__binding *to = &capsule->binding;
    fields[0] = (pith__capsule_text){KEY("method"), capsule->method, sizeof capsule->method, true};
    fields[1] = (pith__capsule_text){KEY("source.sha256"), capsule->source_sha256,
                                     sizeof capsule->source_sha256, false};
    fields[2] = (pith__capsule_text){KEY("position_mode"), capsule->position_mode,
                                     sizeof capsule->position_mode, false};
    fields[3] = (pith__capsule_text){KEY("model_sha256"), to->model, sizeof to->model, true};
    fields[4] =
        (pith__capsule_text){KEY("tokenizer_sha256"), to->tokenizer, sizeof to->tokenizer, true};
    fields[5] = (pith__capsule_text){KEY("adapter_sha256"), to->adapter, sizeof to->adapter, true};
}

pith_status pith__capsule_check_numbers(const float *numbers, size_t count, float end,
                                        const char *name, pith_status broken, pith_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(numbers[i]) < end)) {
            return pith__fail(err, broken, "tensor %s: number %zu is %g, %s", name, i,
                              (double)numbers[i],
                              isfinite(numbers[i]) ? "too large for its type" : "not finite");
        }
    }
    return PITH_OK;
}

/* ---- any file ------------------------------------------------------------------------------------ */

void pith__capsule_out_init(pith__capsule_out *out, pith__capsule_type type,
                            const pith_allocator *mem, pith_error *err)
{
    out->type = type;
    out->err = err;
    pith__gguf_writer_init(&out->writer, mem);
    pith__arena_init(&out->arena, mem);
}

void pith__capsule_out_deinit(pith__capsule_out *out)
{
    pith__arena_deinit(&out->arena);
    pith__gguf_writer_deinit(&out->writer);
}

pith_status pith__capsule_out_text(pith__capsule_out *out, const char *key, const char *text)
{
    return pith__gguf_writer_add_string(&out->writer, key, text, strlen(text), out->err);
}

pith_status pith__capsule_out_begin(pith__capsule_out *out, const pith__capsule_format *format)
{
    PITH__TRY(pith__capsule_out_text(out, "general.type", format->type));
    PITH__TRY(pith__capsule_out_text(out, "general.architecture", "llama"));
    return pith__gguf_writer_add_u32(&out->writer, format->version_key, format->version, out->err);
}

pith_status pith__capsule_out_texts(pith__capsule_out *out, const pith__capsule *capsule,
                                    bool shared)
{
    pith__capsule copy = *capsule;
    pith__capsule_text fields[PITH__CAPSULE_TEXTS];
    pith__capsule_texts(&copy, fields);
    for (size_t i = 0; i < PITH__CAPSULE_TEXTS; i++) {
        if (!shared || fields[i].shared) {
            PITH__TRY(pith__capsule_out_text(out, fields[i].key, fields[i].text));
        }
    }
    return PITH_OK;
}

/* `data` is borrowed until the file is written. */
static pith_status add_tensor(pith__capsule_out *out, const char *name, pith__gguf_type type,
                              uint32_t n_dims, uint64_t cols, uint64_t rows, const void *data)
{
    const pith__gguf_tensor tensor = {.name = {name, strlen(name)},
                                      .n_dims = n_dims,
                                      .dims = {cols, rows, 1, 1},
                                      .type = type,
                                      .data = data};
    return pith__gguf_writer_add_tensor(&out->writer, &tensor, out->err);
}

static bool add_to_hash(void *user, const char *data, size_t size)
{
    pith__sha256_add(user, data, size);
    return true;
}

/* An array (slots, width) of a capsule, and the names it has in the file. */
typedef struct part {
    size_t rows, width;
    const float *numbers;
    char name[PITH__CAPSULE_PART];
    char scale[PITH__CAPSULE_PART];
} part;

/* Rows as they are in models: NAME in 8 bits, NAME.scale with a scale for each. */
static pith_status add_int8(pith__capsule_out *out, const part *p)
{
    int8_t *i8 = NULL;
    float *scale = NULL;
    PITH__TRY(pith__arena_alloc(&out->arena, p->rows, p->width, &i8, out->err));
    PITH__TRY(pith__arena_alloc(&out->arena, p->rows, sizeof *scale, &scale, out->err));
    for (size_t r = 0; r < p->rows; r++) {
        const float *row = p->numbers + r * p->width;
        scale[r] = pith__tensor_quantize_weights(row, p->width, INT8_MAX, i8 + r * p->width);
        const float largest = scale[r] * (float)INT8_MAX; /* may round up to infinity */
        PITH__TRY(
            pith__capsule_check_numbers(&largest, 1, INFINITY, p->name, PITH_E_RANGE, out->err));
    }
    PITH__TRY(add_tensor(out, p->name, PITH__GGUF_TYPE_I8, 2, p->width, p->rows, i8));
    return add_tensor(out, p->scale, PITH__GGUF_TYPE_F32, 1, p->rows, 1, scale);
}

static pith_status add_f16(pith__capsule_out *out, const part *p)
{
    const size_t count = p->rows * p->width;
    uint16_t *half = NULL;
    PITH__TRY(pith__capsule_check_numbers(p->numbers, count, PITH__F16_END, p->name, PITH_E_RANGE,
                                          out->err));
    PITH__TRY(pith__arena_alloc(&out->arena, count, sizeof *half, &half, out->err));
    PITH__TRY(pith__gguf_quantize(PITH__GGUF_TYPE_F16, p->numbers, half, count, out->err));
    return add_tensor(out, p->name, PITH__GGUF_TYPE_F16, 2, p->width, p->rows, half);
}

static pith_status add_part(pith__capsule_out *out, const char *prefix,
                            const pith__capsule *capsule, size_t index)
{
    part p = {.rows = capsule->slots,
              .width = capsule->width,
              .numbers = pith__capsule_part(capsule, index)};
    pith__capsule_part_name(capsule, prefix, index, "", p.name);
    pith__capsule_part_name(capsule, prefix, index, ".scale", p.scale);
    PITH__TRY(pith__capsule_check_numbers(p.numbers, p.rows * p.width, INFINITY, p.name,
                                          PITH_E_RANGE, out->err));
    switch (out->type) {
    case PITH__CAPSULE_F16:
        return add_f16(out, &p);
    case PITH__CAPSULE_INT8:
        return add_int8(out, &p);
    case PITH__CAPSULE_F32:
        break;
    }
    return add_tensor(out, p.name, PITH__GGUF_TYPE_F32, 2, p.width, p.rows, p.numbers);
}

pith_status pith__capsule_out_numbers(pith__capsule_out *out, const char *prefix,
                                      const pith__capsule *capsule)
{
    for (size_t i = 0; i < pith__capsule_parts(capsule); i++) {
        PITH__TRY(add_part(out, prefix, capsule, i));
    }
    return PITH_OK;
}

pith_status pith__capsule_out_save(pith__capsule_out *out, const char *path)
{
    unsigned char checksum[PITH__SHA256_BYTES] = {0};
    PITH__TRY(add_tensor(out, "checksum", PITH__GGUF_TYPE_I8, 1, PITH__SHA256_BYTES, 1, checksum));
    pith__sha256 hash;
    pith__sha256_init(&hash);
    PITH__TRY(pith__gguf_writer_write(&out->writer, add_to_hash, &hash, out->err));
    pith__sha256_bytes(&hash, checksum); /* the writer looks at it when it writes */
    return pith__gguf_writer_save(&out->writer, path, out->err);
}

/* ---- one capsule --------------------------------------------------------------------------------- */

static pith_status add_texts(pith__capsule_out *out, const pith__capsule *c)
{
    const bool kv = c->kind == PITH__CAPSULE_KV;
    PITH__TRY(pith__capsule_out_text(out, KEY("kind"), kv ? "kv" : "embeddings"));
    PITH__TRY(pith__capsule_out_texts(out, c, false));
    if (kv) {
        PITH__TRY(pith__capsule_out_text(out, KEY("rotation"), "none"));
    }
    return pith__gguf_writer_add_string(&out->writer, KEY("record"), c->record, c->record_size,
                                        out->err);
}

static pith_status add_sizes(pith__capsule_out *out, const pith__capsule *c)
{
    pith__gguf_writer *w = &out->writer;
    int32_t *positions = NULL;
    PITH__TRY(pith__gguf_writer_add_u32(w, KEY("slots"), c->slots, out->err));
    PITH__TRY(pith__gguf_writer_add_u32(w, KEY("layers"), c->layers, out->err));
    PITH__TRY(pith__gguf_writer_add_u32(w, KEY("width"), c->width, out->err));
    PITH__TRY(pith__gguf_writer_add_u64(w, KEY("source.bytes"), c->source_bytes, out->err));
    PITH__TRY(pith__gguf_writer_add_u64(w, KEY("source.tokens"), c->source_tokens, out->err));
    PITH__TRY(pith__gguf_writer_add_u32(w, KEY("advance"), c->advance, out->err));
    PITH__TRY(pith__gguf_writer_add_bool(w, KEY("bos"), c->bos, out->err));
    PITH__TRY(pith__arena_alloc(&out->arena, c->slots, sizeof *positions, &positions, out->err));
    for (uint32_t i = 0; i < c->slots; i++) {
        positions[i] = (int32_t)c->positions[i];
    }
    return pith__gguf_writer_add_i32s(w, KEY("positions"), positions, c->slots, out->err);
}

static pith_status save(pith__capsule_out *out, const pith__capsule *capsule, const char *path)
{
    PITH__TRY(pith__capsule_validate(capsule, PITH_E_ARGUMENT, out->err));
    PITH__TRY(pith__capsule_out_begin(out, &pith__capsule_format_one));
    PITH__TRY(add_texts(out, capsule));
    PITH__TRY(add_sizes(out, capsule));
    PITH__TRY(pith__capsule_out_numbers(out, "", capsule));
    return pith__capsule_out_save(out, path);
}

pith_status pith__capsule_save(const pith__capsule *capsule, pith__capsule_type type,
                               const char *path, pith_error *err)
{
    pith__capsule_out out;
    pith__capsule_out_init(&out, type, &capsule->mem, err);
    const pith_status status = save(&out, capsule, path);
    pith__capsule_out_deinit(&out);
    return status;
}
