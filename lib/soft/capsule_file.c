/*
 * capsule_file.c: capsules as GGUF files; docs/capsule.md describes the format.
 *
 * The checksum is the SHA-256 of the whole file with its own 32 bytes as 0. As the last tensor, it
 * is the end of the file, in this version and in all to come: damage is told from a later version.
 */
#include "soft/capsule.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    VERSION = 1,
    PART_NAME = 40, /* "blk.4294967295.values.scale" */
    LABEL_BYTES = 64
};

#define KEY(name) "pith.capsule." name

/* Numbers from here on become infinite in half precision. */
#define F16_END 65520.0f

/* ---- what files are made of ------------------------------------------------------------------ */

static const char *kind_name(pith__capsule_kind kind)
{
    return kind == PITH__CAPSULE_KV ? "kv" : "embeddings";
}

static pith__gguf_type tensor_type(pith__capsule_type type)
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

/* "embeddings", "blk.3.keys" and so on, and `suffix`. */
static void part_name(const pith__capsule *capsule, size_t index, const char *suffix,
                      char name[PART_NAME])
{
    if (capsule->kind == PITH__CAPSULE_KV) {
        (void)snprintf(name, PART_NAME, "blk.%zu.%s%s", index / 2,
                       index % 2 == 0 ? "keys" : "values", suffix);
    } else {
        (void)snprintf(name, PART_NAME, "embeddings%s", suffix);
    }
}

/* The texts of a capsule, but for its kind and its record. */
#define N_TEXTS 6

typedef struct text_field {
    const char *key;
    char *text; /* in the capsule */
    size_t size;
} text_field;

static void text_fields(pith__capsule *c, text_field fields[N_TEXTS])
{
    fields[0] = (text_field){KEY("method"), c->method, sizeof c->method};
    fields[1] = (text_field){KEY("source.sha256"), c->source_sha256, sizeof c->source_sha256};
    fields[2] = (text_field){KEY("position_mode"), c->position_mode, sizeof c->position_mode};
    fields[3] = (text_field){KEY("model_sha256"), c->binding.model, sizeof c->binding.model};
    fields[4] =
        (text_field){KEY("tokenizer_sha256"), c->binding.tokenizer, sizeof c->binding.tokenizer};
    fields[5] = (text_field){KEY("adapter_sha256"), c->binding.adapter, sizeof c->binding.adapter};
}

static bool add_to_hash(void *user, const char *data, size_t size)
{
    pith__sha256_add(user, data, size);
    return true;
}

/* ---- saving ---------------------------------------------------------------------------------- */

typedef struct saving {
    const pith__capsule *capsule;
    pith__capsule_type type;
    pith__gguf_writer writer;
    pith__arena arena; /* converted numbers, until the file is written */
    pith_error *err;
} saving;

static pith_status add_text(saving *s, const char *key, const char *text)
{
    return pith__gguf_writer_add_string(&s->writer, key, text, strlen(text), s->err);
}

static pith_status add_texts(saving *s)
{
    pith__capsule copy = *s->capsule;
    text_field fields[N_TEXTS];
    text_fields(&copy, fields);
    PITH__TRY(add_text(s, "general.type", "capsule"));
    PITH__TRY(add_text(s, "general.architecture", "llama"));
    PITH__TRY(pith__gguf_writer_add_u32(&s->writer, KEY("version"), VERSION, s->err));
    PITH__TRY(add_text(s, KEY("kind"), kind_name(copy.kind)));
    for (size_t i = 0; i < N_TEXTS; i++) {
        PITH__TRY(add_text(s, fields[i].key, fields[i].text));
    }
    if (copy.kind == PITH__CAPSULE_KV) {
        PITH__TRY(add_text(s, KEY("rotation"), "none"));
    }
    return pith__gguf_writer_add_string(&s->writer, KEY("record"), copy.record, copy.record_size,
                                        s->err);
}

static pith_status add_numbers(saving *s)
{
    const pith__capsule *c = s->capsule;
    pith__gguf_writer *w = &s->writer;
    int32_t *positions = NULL;
    PITH__TRY(pith__gguf_writer_add_u32(w, KEY("slots"), c->slots, s->err));
    PITH__TRY(pith__gguf_writer_add_u32(w, KEY("layers"), c->layers, s->err));
    PITH__TRY(pith__gguf_writer_add_u32(w, KEY("width"), c->width, s->err));
    PITH__TRY(pith__gguf_writer_add_u64(w, KEY("source.bytes"), c->source_bytes, s->err));
    PITH__TRY(pith__gguf_writer_add_u64(w, KEY("source.tokens"), c->source_tokens, s->err));
    PITH__TRY(pith__gguf_writer_add_u32(w, KEY("advance"), c->advance, s->err));
    PITH__TRY(pith__gguf_writer_add_bool(w, KEY("bos"), c->bos, s->err));
    PITH__TRY(pith__arena_alloc(&s->arena, c->slots, sizeof *positions, &positions, s->err));
    for (uint32_t i = 0; i < c->slots; i++) {
        positions[i] = (int32_t)c->positions[i];
    }
    return pith__gguf_writer_add_i32s(w, KEY("positions"), positions, c->slots, s->err);
}

/* `data` is borrowed until the file is written. */
static pith_status add_tensor(saving *s, const char *name, pith__gguf_type type, uint32_t n_dims,
                              uint64_t cols, uint64_t rows, const void *data)
{
    const pith__gguf_tensor tensor = {.name = {name, strlen(name)},
                                      .n_dims = n_dims,
                                      .dims = {cols, rows, 1, 1},
                                      .type = type,
                                      .data = data};
    return pith__gguf_writer_add_tensor(&s->writer, &tensor, s->err);
}

/* All numbers are finite, and below `end` in size. */
static pith_status check_numbers(const float *numbers, size_t count, float end, const char *name,
                                 pith_status broken, pith_error *err)
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

/* Rows as they are in models: NAME in 8 bits, NAME.scale with a scale for each. */
static pith_status add_int8(saving *s, size_t part, const char *name, const float *numbers)
{
    const size_t rows = s->capsule->slots;
    const size_t width = s->capsule->width;
    char scale_name[PART_NAME];
    int8_t *i8 = NULL;
    float *scale = NULL;
    PITH__TRY(pith__arena_alloc(&s->arena, rows, width, &i8, s->err));
    PITH__TRY(pith__arena_alloc(&s->arena, rows, sizeof *scale, &scale, s->err));
    for (size_t r = 0; r < rows; r++) {
        const float *row = numbers + r * width;
        scale[r] = pith__tensor_quantize_weights(row, width, INT8_MAX, i8 + r * width);
        const float largest = scale[r] * (float)INT8_MAX; /* may round up to infinity */
        PITH__TRY(check_numbers(&largest, 1, INFINITY, name, PITH_E_RANGE, s->err));
    }
    part_name(s->capsule, part, ".scale", scale_name);
    PITH__TRY(add_tensor(s, name, PITH__GGUF_TYPE_I8, 2, width, rows, i8));
    return add_tensor(s, scale_name, PITH__GGUF_TYPE_F32, 1, rows, 1, scale);
}

static pith_status add_f16(saving *s, const char *name, const float *numbers)
{
    const size_t rows = s->capsule->slots;
    const size_t width = s->capsule->width;
    uint16_t *half = NULL;
    PITH__TRY(check_numbers(numbers, rows * width, F16_END, name, PITH_E_RANGE, s->err));
    PITH__TRY(pith__arena_alloc(&s->arena, rows * width, sizeof *half, &half, s->err));
    PITH__TRY(pith__gguf_quantize(PITH__GGUF_TYPE_F16, numbers, half, rows * width, s->err));
    return add_tensor(s, name, PITH__GGUF_TYPE_F16, 2, width, rows, half);
}

static pith_status add_part(saving *s, size_t index)
{
    const pith__capsule *c = s->capsule;
    const float *numbers = pith__capsule_part(c, index);
    char name[PART_NAME];
    part_name(c, index, "", name);
    PITH__TRY(
        check_numbers(numbers, (size_t)c->slots * c->width, INFINITY, name, PITH_E_RANGE, s->err));
    switch (s->type) {
    case PITH__CAPSULE_F16:
        return add_f16(s, name, numbers);
    case PITH__CAPSULE_INT8:
        return add_int8(s, index, name, numbers);
    case PITH__CAPSULE_F32:
        break;
    }
    return add_tensor(s, name, PITH__GGUF_TYPE_F32, 2, c->width, c->slots, numbers);
}

static pith_status save(saving *s, const char *path)
{
    unsigned char checksum[PITH__SHA256_BYTES] = {0};
    PITH__TRY(pith__capsule_validate(s->capsule, PITH_E_ARGUMENT, s->err));
    PITH__TRY(add_texts(s));
    PITH__TRY(add_numbers(s));
    for (size_t i = 0; i < pith__capsule_parts(s->capsule); i++) {
        PITH__TRY(add_part(s, i));
    }
    PITH__TRY(add_tensor(s, "checksum", PITH__GGUF_TYPE_I8, 1, PITH__SHA256_BYTES, 1, checksum));
    pith__sha256 hash;
    pith__sha256_init(&hash);
    PITH__TRY(pith__gguf_writer_write(&s->writer, add_to_hash, &hash, s->err));
    pith__sha256_bytes(&hash, checksum); /* the writer looks at it when it writes */
    return pith__gguf_writer_save(&s->writer, path, s->err);
}

pith_status pith__capsule_save(const pith__capsule *capsule, pith__capsule_type type,
                               const char *path, pith_error *err)
{
    saving s = {.capsule = capsule, .type = type, .err = err};
    pith__gguf_writer_init(&s.writer, &capsule->mem);
    pith__arena_init(&s.arena, &capsule->mem);
    const pith_status status = save(&s, path);
    pith__arena_deinit(&s.arena);
    pith__gguf_writer_deinit(&s.writer);
    return status;
}

/* ---- parsing: the file as a whole -------------------------------------------------------------- */

typedef struct parsing {
    const unsigned char *data;
    size_t size;
    pith__gguf gguf;
    pith__capsule *capsule; /* what was found so far; its memory only once all sizes are known */
    pith_error *err;
} parsing;

static bool is_intact(const parsing *p)
{
    static const unsigned char zeros[PITH__SHA256_BYTES];
    unsigned char expected[PITH__SHA256_BYTES];
    if (p->size < PITH__SHA256_BYTES) {
        return false;
    }
    pith__sha256 hash;
    const size_t at = p->size - PITH__SHA256_BYTES;
    pith__sha256_init(&hash);
    pith__sha256_add(&hash, p->data, at);
    pith__sha256_add(&hash, zeros, sizeof zeros);
    pith__sha256_bytes(&hash, expected);
    return memcmp(expected, p->data + at, PITH__SHA256_BYTES) == 0;
}

/* A key of this text; a missing one is another text. */
static bool has_text(const pith__gguf *gguf, const char *key, const char *text)
{
    const pith__gguf_kv *kv = pith__gguf_find(gguf, key);
    return kv != NULL && kv->type == PITH__GGUF_VALUE_STRING &&
           pith__gguf_string_equal(kv->value.string, text);
}

/*
 * The tables, if this is an intact capsule of a version we know. What is damaged is E_CORRUPT,
 * whatever else it looks like by now.
 */
static pith_status open_tables(parsing *p, const pith_allocator *mem)
{
    const pith_status status = pith__gguf_parse(p->data, p->size, mem, &p->gguf, p->err);
    if (status == PITH_E_MEMORY || status == PITH_E_CORRUPT) {
        return status;
    }
    if (status == PITH_OK && !has_text(&p->gguf, "general.type", "capsule")) {
        return pith__fail(p->err, PITH_E_CORRUPT, "this GGUF file is no capsule");
    }
    if (!is_intact(p)) {
        return pith__fail(p->err, PITH_E_CORRUPT,
                          "the capsule is damaged or truncated: its checksum is another");
    }
    if (status != PITH_OK) {
        return status;
    }
    uint32_t version = 0;
    PITH__TRY(pith__gguf_get_u32(&p->gguf, KEY("version"), &version, p->err));
    if (version != VERSION) {
        return pith__fail(p->err, version == 0 ? PITH_E_CORRUPT : PITH_E_UNSUPPORTED,
                          "a capsule of version %" PRIu32 ", version %d is what is known here",
                          version, VERSION);
    }
    return PITH_OK;
}

/* ---- parsing: keys ----------------------------------------------------------------------------- */

static pith_status read_text(const parsing *p, const char *key, char *out, size_t size)
{
    pith__gguf_string found = {NULL, 0};
    PITH__TRY(pith__gguf_get_string(&p->gguf, key, &found, p->err));
    if (found.size >= size || (found.size > 0 && memchr(found.data, '\0', found.size) != NULL)) {
        return pith__fail_at(p->err, PITH_E_CORRUPT, pith__gguf_find(&p->gguf, key)->offset,
                             "metadata key '%s' is no text of up to %zu bytes", key, size - 1);
    }
    if (found.size > 0) {
        memcpy(out, found.data, found.size);
    }
    out[found.size] = '\0';
    return PITH_OK;
}

/* The text of `key` is the only one we know. */
static pith_status expect_text(const parsing *p, const char *key, const char *expected)
{
    pith__gguf_string found = {NULL, 0};
    PITH__TRY(pith__gguf_get_string(&p->gguf, key, &found, p->err));
    if (!pith__gguf_string_equal(found, expected)) {
        char label[LABEL_BYTES];
        return pith__fail(p->err, PITH_E_UNSUPPORTED, "%s is \"%s\", not \"%s\"", key,
                          pith__gguf_printable(found, label, sizeof label), expected);
    }
    return PITH_OK;
}

static pith_status read_kind(const parsing *p)
{
    PITH__TRY(expect_text(p, "general.architecture", "llama"));
    if (has_text(&p->gguf, KEY("kind"), "kv")) {
        p->capsule->kind = PITH__CAPSULE_KV;
        return expect_text(p, KEY("rotation"), "none");
    }
    p->capsule->kind = PITH__CAPSULE_EMBEDDINGS;
    return expect_text(p, KEY("kind"), "embeddings");
}

static pith_status read_keys(const parsing *p)
{
    const pith__gguf *gguf = &p->gguf;
    pith__capsule *c = p->capsule;
    text_field fields[N_TEXTS];
    text_fields(c, fields);
    PITH__TRY(read_kind(p));
    for (size_t i = 0; i < N_TEXTS; i++) {
        PITH__TRY(read_text(p, fields[i].key, fields[i].text, fields[i].size));
    }
    PITH__TRY(pith__gguf_get_u32(gguf, KEY("slots"), &c->slots, p->err));
    PITH__TRY(pith__gguf_get_u32(gguf, KEY("layers"), &c->layers, p->err));
    PITH__TRY(pith__gguf_get_u32(gguf, KEY("width"), &c->width, p->err));
    PITH__TRY(pith__gguf_get_u64(gguf, KEY("source.bytes"), &c->source_bytes, p->err));
    PITH__TRY(pith__gguf_get_u64(gguf, KEY("source.tokens"), &c->source_tokens, p->err));
    PITH__TRY(pith__gguf_get_u32(gguf, KEY("advance"), &c->advance, p->err));
    return pith__gguf_get_bool(gguf, KEY("bos"), &c->bos, p->err);
}

static pith_status read_positions(const parsing *p, pith__capsule *capsule)
{
    pith__gguf_array array;
    PITH__TRY(
        pith__gguf_get_array(&p->gguf, KEY("positions"), PITH__GGUF_VALUE_I32, &array, p->err));
    if (array.count != capsule->slots) {
        return pith__fail(p->err, PITH_E_CORRUPT,
                          "a capsule of %" PRIu32 " slots with %zu positions", capsule->slots,
                          array.count);
    }
    for (size_t i = 0; i < array.count; i++) {
        const int32_t position = pith__gguf_array_i32(&array, i);
        if (position < 0) {
            return pith__fail(p->err, PITH_E_CORRUPT, "slot %zu has position %" PRId32, i,
                              position);
        }
        capsule->positions[i] = (uint32_t)position;
    }
    return PITH_OK;
}

static pith_status read_record(const parsing *p, pith__capsule *capsule)
{
    pith__gguf_string record = {NULL, 0};
    PITH__TRY(pith__gguf_get_string(&p->gguf, KEY("record"), &record, p->err));
    return pith__capsule_set_record(capsule, record.data, record.size, p->err);
}

/* ---- parsing: tensors -------------------------------------------------------------------------- */

/* The tensor of this name, type and shape; NULL, and *p->err says so: the file is corrupt. */
static const pith__gguf_tensor *find(const parsing *p, const char *name, pith__gguf_type type,
                                     uint64_t cols, uint64_t rows)
{
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(&p->gguf, name);
    if (tensor == NULL) {
        (void)pith__fail(p->err, PITH_E_CORRUPT, "tensor %s is missing", name);
        return NULL;
    }
    if (tensor->type != type || tensor->dims[0] != cols || tensor->dims[1] != rows ||
        tensor->dims[2] != 1 || tensor->dims[3] != 1) {
        (void)pith__fail_at(p->err, PITH_E_CORRUPT, tensor->info_offset,
                            "tensor %s has another type or shape than the capsule", name);
        return NULL;
    }
    return tensor;
}

static const pith__gguf_tensor *find_part(const parsing *p, const pith__capsule *capsule,
                                          size_t index)
{
    char name[PART_NAME];
    part_name(capsule, index, "", name);
    return find(p, name, tensor_type(capsule->type), capsule->width, capsule->slots);
}

static const pith__gguf_tensor *find_scale(const parsing *p, const pith__capsule *capsule,
                                           size_t index)
{
    char name[PART_NAME];
    part_name(capsule, index, ".scale", name);
    return find(p, name, PITH__GGUF_TYPE_F32, capsule->slots, 1);
}

/* The first tensor tells the type, which is that of all. */
static pith_status read_type(const parsing *p)
{
    char name[PART_NAME];
    part_name(p->capsule, 0, "", name);
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(&p->gguf, name);
    if (tensor == NULL) {
        (void)pith__fail(p->err, PITH_E_CORRUPT, "tensor %s is missing", name);
        return PITH_E_CORRUPT;
    }
    for (int type = PITH__CAPSULE_F32; type <= PITH__CAPSULE_INT8; type++) {
        p->capsule->type = (pith__capsule_type)type;
        if (tensor->type == tensor_type(p->capsule->type)) {
            return PITH_OK;
        }
    }
    return pith__fail_at(p->err, PITH_E_UNSUPPORTED, tensor->info_offset,
                         "a capsule with numbers of type %s",
                         pith__gguf_codec_of(tensor->type)->name);
}

/* Every tensor is there and none besides: now the sizes are bounded by that of the file. */
static pith_status check_tensors(const parsing *p)
{
    const pith__capsule *c = p->capsule;
    const bool int8 = c->type == PITH__CAPSULE_INT8;
    const size_t parts = pith__capsule_parts(c);
    const pith__gguf_tensor *checksum =
        find(p, "checksum", PITH__GGUF_TYPE_I8, PITH__SHA256_BYTES, 1);
    if (checksum == NULL) {
        return PITH_E_CORRUPT;
    }
    if (checksum->offset != p->size - PITH__SHA256_BYTES) {
        return pith__fail_at(p->err, PITH_E_CORRUPT, checksum->offset,
                             "the checksum is not at the end of the file");
    }
    if (p->gguf.n_tensors != (int8 ? 2 : 1) * parts + 1) {
        return pith__fail(p->err, PITH_E_CORRUPT,
                          "a capsule of %" PRIu32 " layers does not have %zu tensors", c->layers,
                          p->gguf.n_tensors);
    }
    for (size_t i = 0; i < parts; i++) {
        if (find_part(p, c, i) == NULL || (int8 && find_scale(p, c, i) == NULL)) {
            return PITH_E_CORRUPT;
        }
    }
    return PITH_OK;
}

/* numbers (slots, width) *= scales (slots), which need not be aligned. */
static void scale_rows(const pith__capsule *capsule, const unsigned char *scales, float *numbers)
{
    for (size_t r = 0; r < capsule->slots; r++) {
        float scale = 0.0f;
        memcpy(&scale, scales + r * sizeof scale, sizeof scale);
        for (size_t i = 0; i < capsule->width; i++) {
            numbers[r * capsule->width + i] *= scale;
        }
    }
}

static pith_status read_part(const parsing *p, const pith__capsule *capsule, size_t index)
{
    const pith__gguf_tensor *tensor = find_part(p, capsule, index);
    const size_t count = (size_t)capsule->slots * capsule->width;
    float *numbers = pith__capsule_part(capsule, index);
    if (tensor == NULL) {
        return PITH_E_CORRUPT;
    }
    PITH__TRY(pith__gguf_dequantize(tensor->type, tensor->data, numbers, count, p->err));
    if (capsule->type == PITH__CAPSULE_INT8) {
        const pith__gguf_tensor *scale = find_scale(p, capsule, index);
        if (scale == NULL) {
            return PITH_E_CORRUPT;
        }
        scale_rows(capsule, scale->data, numbers);
    }
    char name[PART_NAME];
    part_name(capsule, index, "", name);
    return check_numbers(numbers, count, INFINITY, name, PITH_E_CORRUPT, p->err);
}

/* ---- parsing: the capsule ------------------------------------------------------------------------ */

/* `capsule` has the right sizes and nothing else yet. */
static pith_status fill(const parsing *p, pith__capsule *capsule)
{
    const pith__capsule *found = p->capsule;
    capsule->type = found->type;
    capsule->source_bytes = found->source_bytes;
    capsule->source_tokens = found->source_tokens;
    memcpy(capsule->source_sha256, found->source_sha256, sizeof capsule->source_sha256);
    memcpy(capsule->position_mode, found->position_mode, sizeof capsule->position_mode);
    capsule->advance = found->advance;
    capsule->bos = found->bos;
    capsule->binding = found->binding;
    PITH__TRY(read_positions(p, capsule));
    PITH__TRY(read_record(p, capsule));
    PITH__TRY(pith__capsule_validate(capsule, PITH_E_CORRUPT, p->err));
    for (size_t i = 0; i < pith__capsule_parts(capsule); i++) {
        PITH__TRY(read_part(p, capsule, i));
    }
    return PITH_OK;
}

static pith_status read_all(parsing *p, const pith_allocator *mem, pith__capsule **out)
{
    const pith__capsule *c = p->capsule;
    PITH__TRY(open_tables(p, mem));
    PITH__TRY(read_keys(p));
    PITH__TRY(
        pith__capsule_check_sizes(c->kind, c->slots, c->layers, c->width, PITH_E_CORRUPT, p->err));
    PITH__TRY(pith__capsule_check_method(c->method, PITH_E_CORRUPT, p->err));
    PITH__TRY(read_type(p));
    PITH__TRY(check_tensors(p));
    pith__capsule *capsule = NULL;
    PITH__TRY(pith__capsule_new(c->kind, c->method, c->slots, c->layers, c->width, mem, &capsule,
                                p->err));
    capsule->layers = c->layers; /* validated below: embeddings have none */
    const pith_status status = fill(p, capsule);
    if (status != PITH_OK) {
        pith__capsule_free(capsule);
        return status;
    }
    *out = capsule;
    return PITH_OK;
}

pith_status pith__capsule_parse(const void *data, size_t size, const pith_allocator *mem,
                                pith__capsule **out, pith_error *err)
{
    pith__capsule found = {0};
    parsing p = {.data = data, .size = size, .capsule = &found, .err = err};
    *out = NULL;
    const pith_status status = read_all(&p, mem, out);
    pith__gguf_deinit(&p.gguf);
    return status;
}

pith_status pith__capsule_open(const char *path, const pith_allocator *mem, pith__capsule **out,
                               pith_error *err)
{
    pith__file file;
    *out = NULL;
    PITH__TRY(pith__file_open(path, &file, err));
    const pith_status status = pith__capsule_parse(file.data, file.size, mem, out, err);
    pith__file_close(&file);
    return status;
}
