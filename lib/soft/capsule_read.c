/*
 * capsule_read.c: capsules from GGUF files: every key and tensor is checked before memory is taken for it.
 */
#include "soft/capsule.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { LABEL_BYTES = 64 };

#define KEY(name) "pith.capsule." name

/* ---- the file as a whole ------------------------------------------------------------------------- */

static bool is_intact(const pith__capsule_in *in)
{
    static const unsigned char zeros[PITH__SHA256_BYTES];
    unsigned char expected[PITH__SHA256_BYTES];
    if (in->size < PITH__SHA256_BYTES) {
        return false;
    }
    pith__sha256 hash;
    const size_t at = in->size - PITH__SHA256_BYTES;
    pith__sha256_init(&hash);
    pith__sha256_add(&hash, in->data, at);
    pith__sha256_add(&hash, zeros, sizeof zeros);
    pith__sha256_bytes(&hash, expected);
    return memcmp(expected, in->data + at, PITH__SHA256_BYTES) == 0;
}

/* A key of this text; a missing one is another text. */
static bool has_text(const pith__gguf *gguf, const char *key, const char *text)
{
    const pith__gguf_kv *kv = pith__gguf_find(gguf, key);
    return kv != NULL && kv->type == PITH__GGUF_VALUE_STRING &&
           pith__gguf_string_equal(kv->value.string, text);
}

pith_status pith__capsule_in_open(pith__capsule_in *in, const pith_allocator *mem,
                                  const pith__capsule_format *format)
{
    const pith_status status = pith__gguf_parse(in->data, in->size, mem, &in->gguf, in->err);
    if (status == PITH_E_MEMORY || status == PITH_E_CORRUPT) {
        return status;
    }
    if (status == PITH_OK && !has_text(&in->gguf, "general.type", format->type)) {
        return pith__fail(in->err, PITH_E_CORRUPT, "this GGUF file is no %s", format->noun);
    }
    if (!is_intact(in)) {
        return pith__fail(in->err, PITH_E_CORRUPT,
                          "the %s is damaged or truncated: its checksum is another", format->noun);
    }
    if (status != PITH_OK) {
        return status;
    }
    uint32_t version = 0;
    PITH__TRY(pith__gguf_get_u32(&in->gguf, format->version_key, &version, in->err));
    if (version != format->version) {
        return pith__fail(in->err, version == 0 ? PITH_E_CORRUPT : PITH_E_UNSUPPORTED,
                          "a %s of version %" PRIu32 ", version %" PRIu32 " is what is known here",
                          format->noun, version, format->version);
    }
    return PITH_OK;
}

/* ---- keys ---------------------------------------------------------------------------------------- */

pith_status pith__capsule_in_copy(const pith__capsule_in *in, const char *key,
                                  pith__gguf_string found, char *out, size_t size)
{
    if (found.size >= size || (found.size > 0 && memchr(found.data, '\0', found.size) != NULL)) {
        return pith__fail_at(in->err, PITH_E_CORRUPT, pith__gguf_find(&in->gguf, key)->offset,
                             "metadata key '%s' is no text of up to %zu bytes", key, size - 1);
    }
    if (found.size > 0) {
        memcpy(out, found.data, found.size);
    }
    out[found.size] = '\0';
    return PITH_OK;
}

pith_status pith__capsule_in_texts(const pith__capsule_in *in, pith__capsule *capsule, bool shared)
{
    pith__capsule_text fields[PITH__CAPSULE_TEXTS];
    pith__capsule_texts(capsule, fields);
    for (size_t i = 0; i < PITH__CAPSULE_TEXTS; i++) {
        if (!shared || fields[i].shared) {
            pith__gguf_string found = {NULL, 0};
            PITH__TRY(pith__gguf_get_string(&in->gguf, fields[i].key, &found, in->err));
            PITH__TRY(
                pith__capsule_in_copy(in, fields[i].key, found, fields[i].text, fields[i].size));
        }
    }
    return PITH_OK;
}

pith_status pith__capsule_in_expect(const pith__capsule_in *in, const char *key,
                                    const char *expected)
{
    pith__gguf_string found = {NULL, 0};
    PITH__TRY(pith__gguf_get_string(&in->gguf, key, &found, in->err));
    if (!pith__gguf_string_equal(found, expected)) {
        char label[LABEL_BYTES];
        return pith__fail(in->err, PITH_E_UNSUPPORTED, "%s is \"%s\", not \"%s\"", key,
                          pith__gguf_printable(found, label, sizeof label), expected);
    }
    return PITH_OK;
}

/* ---- tensors ------------------------------------------------------------------------------------- */

/* The tensor of this name, type and shape; NULL, and *in->err says so: the file is corrupt. */
static const pith__gguf_tensor *find(const pith__capsule_in *in, const char *name,
                                     pith__gguf_type type, uint64_t cols, uint64_t rows)
{
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(&in->gguf, name);
    if (tensor == NULL) {
        (void)pith__fail(in->err, PITH_E_CORRUPT, "tensor %s is missing", name);
        return NULL;
    }
    if (tensor->type != type || tensor->dims[0] != cols || tensor->dims[1] != rows ||
        tensor->dims[2] != 1 || tensor->dims[3] != 1) {
        (void)pith__fail_at(in->err, PITH_E_CORRUPT, tensor->info_offset,
                            "tensor %s has another type or shape than the capsule", name);
        return NULL;
    }
    return tensor;
}

static const pith__gguf_tensor *find_part(const pith__capsule_in *in, const char *prefix,
                                          const pith__capsule *capsule, size_t index)
{
    char name[PITH__CAPSULE_PART];
    pith__capsule_part_name(capsule, prefix, index, "", name);
    return find(in, name, pith__capsule_tensor_type(capsule->type), capsule->width, capsule->slots);
}

static const pith__gguf_tensor *find_scale(const pith__capsule_in *in, const char *prefix,
                                           const pith__capsule *capsule, size_t index)
{
    char name[PITH__CAPSULE_PART];
    pith__capsule_part_name(capsule, prefix, index, ".scale", name);
    return find(in, name, PITH__GGUF_TYPE_F32, capsule->slots, 1);
}

pith_status pith__capsule_in_type(const pith__capsule_in *in, const char *prefix,
                                  pith__capsule *capsule)
{
    char name[PITH__CAPSULE_PART];
    pith__capsule_part_name(capsule, prefix, 0, "", name);
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(&in->gguf, name);
    if (tensor == NULL) {
        (void)pith__fail(in->err, PITH_E_CORRUPT, "tensor %s is missing", name);
        return PITH_E_CORRUPT;
    }
    for (int type = PITH__CAPSULE_F32; type <= PITH__CAPSULE_INT8; type++) {
        capsule->type = (pith__capsule_type)type;
        if (tensor->type == pith__capsule_tensor_type(capsule->type)) {
            return PITH_OK;
        }
    }
    return pith__fail_at(in->err, PITH_E_UNSUPPORTED, tensor->info_offset,
                         "a capsule with numbers of type %s",
                         pith__gguf_codec_of(tensor->type)->name);
}

pith_status pith__capsule_in_check_end(const pith__capsule_in *in)
{
    const pith__gguf_tensor *checksum =
        find(in, "checksum", PITH__GGUF_TYPE_I8, PITH__SHA256_BYTES, 1);
    if (checksum == NULL) {
        return PITH_E_CORRUPT;
    }
    if (checksum->offset != in->size - PITH__SHA256_BYTES) {
        return pith__fail_at(in->err, PITH_E_CORRUPT, checksum->offset,
                             "the checksum is not at the end of the file");
    }
    return PITH_OK;
}

pith_status pith__capsule_in_check(const pith__capsule_in *in, const char *prefix,
                                   const pith__capsule *capsule)
{
    const bool int8 = capsule->type == PITH__CAPSULE_INT8;
    for (size_t i = 0; i < pith__capsule_parts(capsule); i++) {
        if (find_part(in, prefix, capsule, i) == NULL ||
            (int8 && find_scale(in, prefix, capsule, i) == NULL)) {
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

static pith_status read_part(const pith__capsule_in *in, const char *prefix,
                             const pith__capsule *capsule, size_t index)
{
    const pith__gguf_tensor *tensor = find_part(in, prefix, capsule, index);
    const size_t count = (size_t)capsule->slots * capsule->width;
    float *numbers = pith__capsule_part(capsule, index);
    if (tensor == NULL) {
        return PITH_E_CORRUPT;
    }
    PITH__TRY(pith__gguf_dequantize(tensor->type, tensor->data, numbers, count, in->err));
    if (capsule->type == PITH__CAPSULE_INT8) {
        const pith__gguf_tensor *scale = find_scale(in, prefix, capsule, index);
        if (scale == NULL) {
            return PITH_E_CORRUPT;
        }
        scale_rows(capsule, scale->data, numbers);
    }
    char name[PITH__CAPSULE_PART];
    pith__capsule_part_name(capsule, prefix, index, "", name);
    return pith__capsule_check_numbers(numbers, count, INFINITY, name, PITH_E_CORRUPT, in->err);
}

pith_status pith__capsule_in_numbers(const pith__capsule_in *in, const char *prefix,
                                     const pith__capsule *capsule)
{
    for (size_t i = 0; i < pith__capsule_parts(capsule); i++) {
        PITH__TRY(read_part(in, prefix, capsule, i));
    }
    return PITH_OK;
}

/* ---- one capsule ----------------------------------------------------------------------------------- */

static pith_status read_kind(const pith__capsule_in *in, pith__capsule *found)
{
    PITH__TRY(pith__capsule_in_expect(in, "general.architecture", "llama"));
    if (has_text(&in->gguf, KEY("kind"), "kv")) {
        found->kind = PITH__CAPSULE_KV;
        return pith__capsule_in_expect(in, KEY("rotation"), "none");
    }
    found->kind = PITH__CAPSULE_EMBEDDINGS;
    return pith__capsule_in_expect(in, KEY("kind"), "embeddings");
}

static pith_status read_keys(const pith__capsule_in *in, pith__capsule *found)
{
    const pith__gguf *gguf = &in->gguf;
    PITH__TRY(read_kind(in, found));
    PITH__TRY(pith__capsule_in_texts(in, found, false));
    PITH__TRY(pith__gguf_get_u32(gguf, KEY("slots"), &found->slots, in->err));
    PITH__TRY(pith__gguf_get_u32(gguf, KEY("layers"), &found->layers, in->err));
    PITH__TRY(pith__gguf_get_u32(gguf, KEY("width"), &found->width, in->err));
    PITH__TRY(pith__gguf_get_u64(gguf, KEY("source.bytes"), &found->source_bytes, in->err));
    PITH__TRY(pith__gguf_get_u64(gguf, KEY("source.tokens"), &found->source_tokens, in->err));
    PITH__TRY(pith__gguf_get_u32(gguf, KEY("advance"), &found->advance, in->err));
    return pith__gguf_get_bool(gguf, KEY("bos"), &found->bos, in->err);
}

static pith_status read_positions(const pith__capsule_in *in, pith__capsule *capsule)
{
    pith__gguf_array array;
    PITH__TRY(
        pith__gguf_get_array(&in->gguf, KEY("positions"), PITH__GGUF_VALUE_I32, &array, in->err));
    if (array.count != capsule->slots) {
        return pith__fail(in->err, PITH_E_CORRUPT,
                          "a capsule of %" PRIu32 " slots with %zu positions", capsule->slots,
                          array.count);
    }
    for (size_t i = 0; i < array.count; i++) {
        const int32_t position = pith__gguf_array_i32(&array, i);
        if (position < 0) {
            return pith__fail(in->err, PITH_E_CORRUPT, "slot %zu has position %" PRId32, i,
                              position);
        }
        capsule->positions[i] = (uint32_t)position;
    }
    return PITH_OK;
}

static pith_status read_record(const pith__capsule_in *in, pith__capsule *capsule)
{
    pith__gguf_string record = {NULL, 0};
    PITH__TRY(pith__gguf_get_string(&in->gguf, KEY("record"), &record, in->err));
    return pith__capsule_set_record(capsule, record.data, record.size, in->err);
}

/* `capsule` has the right sizes and nothing else yet. */
static pith_status fill(const pith__capsule_in *in, const pith__capsule *found,
                        pith__capsule *capsule)
{
    capsule->type = found->type;
    capsule->source_bytes = found->source_bytes;
    capsule->source_tokens = found->source_tokens;
    memcpy(capsule->source_sha256, found->source_sha256, sizeof capsule->source_sha256);
    memcpy(capsule->position_mode, found->position_mode, sizeof capsule->position_mode);
    capsule->advance = found->advance;
    capsule->bos = found->bos;
    capsule->binding = found->binding;
    PITH__TRY(read_positions(in, capsule));
    PITH__TRY(read_record(in, capsule));
    PITH__TRY(pith__capsule_validate(capsule, PITH_E_CORRUPT, in->err));
    return pith__capsule_in_numbers(in, "", capsule);
}

/* Sizes and tensors of what was found fit each other and the file. */
static pith_status check_found(const pith__capsule_in *in, pith__capsule *found)
{
    PITH__TRY(pith__capsule_check_sizes(found->kind, found->slots, found->layers, found->width,
                                        PITH_E_CORRUPT, in->err));
    PITH__TRY(pith__capsule_check_method(found->method, PITH_E_CORRUPT, in->err));
    PITH__TRY(pith__capsule_in_type(in, "", found));
    PITH__TRY(pith__capsule_in_check_end(in));
    const size_t each = found->type == PITH__CAPSULE_INT8 ? 2 : 1;
    if (in->gguf.n_tensors != each * pith__capsule_parts(found) + 1) {
        return pith__fail(in->err, PITH_E_CORRUPT,
                          "a capsule of %" PRIu32 " layers does not have %zu tensors",
                          found->layers, in->gguf.n_tensors);
    }
    return pith__capsule_in_check(in, "", found);
}

static pith_status read_all(pith__capsule_in *in, const pith_allocator *mem, pith__capsule **out)
{
    pith__capsule found = {0}; /* its memory only once all sizes are known */
    PITH__TRY(pith__capsule_in_open(in, mem, &pith__capsule_format_one));
    PITH__TRY(read_keys(in, &found));
    PITH__TRY(check_found(in, &found));
    pith__capsule *capsule = NULL;
    PITH__TRY(pith__capsule_new(found.kind, found.method, found.slots, found.layers, found.width,
                                mem, &capsule, in->err));
    capsule->layers = found.layers; /* validated below: embeddings have none */
    const pith_status status = fill(in, &found, capsule);
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
    pith__capsule_in in = {.data = data, .size = size, .err = err};
    *out = NULL;
    const pith_status status = read_all(&in, mem, out);
    pith__gguf_deinit(&in.gguf);
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
