/*
 * gguf_writer.c: collects metadata and tensors and writes a GGUF file, version 3.
 */
#include "gguf/gguf.h"

#include <stdlib.h>
#include <string.h>

enum {
    VERSION = 3,
    ALIGNMENT_DEFAULT = 32,
    KEY_BYTES_MAX = 65535, /* limit of the format */
    NAME_BYTES_MAX = 63,   /* limit of other readers */
    DIMS_MAX = 4,
    LABEL_BYTES = 64 /* of a key or name inside a message */
};

void pith__gguf_writer_init(pith__gguf_writer *writer, const pith_allocator *mem)
{
    *writer = (pith__gguf_writer){.mem = *mem, .alignment = ALIGNMENT_DEFAULT};
    pith__buf_init(&writer->metadata, mem, SIZE_MAX / 2);
    pith__buf_init(&writer->names, mem, SIZE_MAX / 2);
}

void pith__gguf_writer_deinit(pith__gguf_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    const pith_allocator mem = writer->mem;
    pith__buf_deinit(&writer->metadata);
    pith__buf_deinit(&writer->names);
    pith__free(&mem, writer->keys, writer->keys_capacity, sizeof writer->keys[0]);
    pith__free(&mem, writer->tensors, writer->tensors_capacity, sizeof writer->tensors[0]);
    pith__gguf_writer_init(writer, &mem);
}

/* ---- metadata ------------------------------------------------------------------- */

static pith__gguf_string string_of(const char *text)
{
    return (pith__gguf_string){text, strlen(text)};
}

static pith_status append_u32(pith__buf *buf, uint32_t value, pith_error *err)
{
    return pith__buf_append(buf, &value, sizeof value, err);
}

static pith_status append_u64(pith__buf *buf, uint64_t value, pith_error *err)
{
    return pith__buf_append(buf, &value, sizeof value, err);
}

static pith_status append_string(pith__buf *buf, pith__gguf_string string, pith_error *err)
{
    PITH__TRY(append_u64(buf, string.size, err));
    return pith__buf_append(buf, string.data, string.size, err);
}

/* Key and type of an entry, which counts once end_entry() is called. */
static pith_status begin_entry(pith__gguf_writer *writer, pith__gguf_string key,
                               pith__gguf_value_type type, pith_error *err)
{
    if (key.size > KEY_BYTES_MAX) {
        return pith__fail(err, PITH_E_ARGUMENT, "a key of %zu bytes is too long", key.size);
    }
    if (type != PITH__GGUF_VALUE_U32 && pith__gguf_string_equal(key, "general.alignment")) {
        return pith__fail(err, PITH_E_ARGUMENT, "general.alignment is not u32");
    }
    PITH__TRY(pith__grow(&writer->mem, &writer->keys, &writer->keys_capacity, writer->n_keys + 1,
                         sizeof writer->keys[0], err));
    PITH__TRY(append_u64(&writer->metadata, key.size, err));
    writer->keys[writer->n_keys] = (pith__gguf_writer_key){writer->metadata.size, key.size};
    PITH__TRY(pith__buf_append(&writer->metadata, key.data, key.size, err));
    return append_u32(&writer->metadata, (uint32_t)type, err);
}

/* Takes the entry that began at byte `start`, or takes it back if `status` is an error. */
static pith_status end_entry(pith__gguf_writer *writer, size_t start, pith_status status)
{
    if (status == PITH_OK) {
        writer->n_keys++;
    } else {
        writer->metadata.size = start;
    }
    return status;
}

static pith_status append_raw(pith__gguf_writer *writer, pith__gguf_string key,
                              pith__gguf_value_type type, const void *value, size_t size,
                              pith_error *err)
{
    PITH__TRY(begin_entry(writer, key, type, err));
    return pith__buf_append(&writer->metadata, value, size, err);
}

/* A value as it stands in the file. */
static pith_status add_raw(pith__gguf_writer *writer, pith__gguf_string key,
                           pith__gguf_value_type type, const void *value, size_t size,
                           pith_error *err)
{
    const size_t start = writer->metadata.size;
    return end_entry(writer, start, append_raw(writer, key, type, value, size, err));
}

static pith_status add_u32(pith__gguf_writer *writer, pith__gguf_string key, uint32_t value,
                           pith_error *err)
{
    const bool is_alignment = pith__gguf_string_equal(key, "general.alignment");
    if (is_alignment && (value == 0 || (value & (value - 1)) != 0)) {
        return pith__fail(err, PITH_E_ARGUMENT, "alignment %u is no power of two", value);
    }
    PITH__TRY(add_raw(writer, key, PITH__GGUF_VALUE_U32, &value, sizeof value, err));
    writer->alignment = is_alignment ? value : writer->alignment;
    return PITH_OK;
}

pith_status pith__gguf_writer_add_u32(pith__gguf_writer *writer, const char *key, uint32_t value,
                                      pith_error *err)
{
    return add_u32(writer, string_of(key), value, err);
}

pith_status pith__gguf_writer_add_i32(pith__gguf_writer *writer, const char *key, int32_t value,
                                      pith_error *err)
{
    return add_raw(writer, string_of(key), PITH__GGUF_VALUE_I32, &value, sizeof value, err);
}

pith_status pith__gguf_writer_add_u64(pith__gguf_writer *writer, const char *key, uint64_t value,
                                      pith_error *err)
{
    return add_raw(writer, string_of(key), PITH__GGUF_VALUE_U64, &value, sizeof value, err);
}

pith_status pith__gguf_writer_add_f32(pith__gguf_writer *writer, const char *key, float value,
                                      pith_error *err)
{
    return add_raw(writer, string_of(key), PITH__GGUF_VALUE_F32, &value, sizeof value, err);
}

pith_status pith__gguf_writer_add_bool(pith__gguf_writer *writer, const char *key, bool value,
                                       pith_error *err)
{
    const unsigned char byte = value ? 1 : 0;
    return add_raw(writer, string_of(key), PITH__GGUF_VALUE_BOOL, &byte, 1, err);
}

static pith_status append_text(pith__gguf_writer *writer, const char *key, pith__gguf_string value,
                               pith_error *err)
{
    PITH__TRY(begin_entry(writer, string_of(key), PITH__GGUF_VALUE_STRING, err));
    return append_string(&writer->metadata, value, err);
}

pith_status pith__gguf_writer_add_string(pith__gguf_writer *writer, const char *key,
                                         const char *data, size_t size, pith_error *err)
{
    const size_t start = writer->metadata.size;
    const pith__gguf_string value = {data, size};
    return end_entry(writer, start, append_text(writer, key, value, err));
}

static pith_status begin_array(pith__gguf_writer *writer, const char *key,
                               pith__gguf_value_type element_type, size_t count, pith_error *err)
{
    PITH__TRY(begin_entry(writer, string_of(key), PITH__GGUF_VALUE_ARRAY, err));
    PITH__TRY(append_u32(&writer->metadata, (uint32_t)element_type, err));
    return append_u64(&writer->metadata, count, err);
}

static pith_status append_strings(pith__gguf_writer *writer, const char *key,
                                  const pith__gguf_string *values, size_t count, pith_error *err)
{
    PITH__TRY(begin_array(writer, key, PITH__GGUF_VALUE_STRING, count, err));
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(append_string(&writer->metadata, values[i], err));
    }
    return PITH_OK;
}

pith_status pith__gguf_writer_add_strings(pith__gguf_writer *writer, const char *key,
                                          const pith__gguf_string *values, size_t count,
                                          pith_error *err)
{
    const size_t start = writer->metadata.size;
    return end_entry(writer, start, append_strings(writer, key, values, count, err));
}

static pith_status append_numbers(pith__gguf_writer *writer, const char *key,
                                  pith__gguf_value_type element_type, const void *values,
                                  size_t count, pith_error *err)
{
    size_t size = 0;
    if (__builtin_mul_overflow(count, pith__gguf_value_type_size(element_type), &size)) {
        return pith__fail(err, PITH_E_MEMORY, "an array of %zu values is too long", count);
    }
    PITH__TRY(begin_array(writer, key, element_type, count, err));
    return pith__buf_append(&writer->metadata, values, size, err);
}

pith_status pith__gguf_writer_add_i32s(pith__gguf_writer *writer, const char *key,
                                       const int32_t *values, size_t count, pith_error *err)
{
    const size_t start = writer->metadata.size;
    return end_entry(writer, start,
                     append_numbers(writer, key, PITH__GGUF_VALUE_I32, values, count, err));
}

pith_status pith__gguf_writer_add_u64s(pith__gguf_writer *writer, const char *key,
                                       const uint64_t *values, size_t count, pith_error *err)
{
    const size_t start = writer->metadata.size;
    return end_entry(writer, start,
                     append_numbers(writer, key, PITH__GGUF_VALUE_U64, values, count, err));
}

pith_status pith__gguf_writer_add_f32s(pith__gguf_writer *writer, const char *key,
                                       const float *values, size_t count, pith_error *err)
{
    const size_t start = writer->metadata.size;
    return end_entry(writer, start,
                     append_numbers(writer, key, PITH__GGUF_VALUE_F32, values, count, err));
}

pith_status pith__gguf_writer_add_kv(pith__gguf_writer *writer, const pith__gguf_kv *kv,
                                     pith_error *err)
{
    if (kv->type == PITH__GGUF_VALUE_U32) {
        return add_u32(writer, kv->key, (uint32_t)kv->value.u, err);
    }
    return add_raw(writer, kv->key, kv->type, kv->raw, kv->raw_size, err);
}

/* ---- tensors --------------------------------------------------------------------- */

static pith_status measure(const pith__gguf_tensor *tensor, pith__gguf_writer_tensor *out,
                           pith_error *err)
{
    *out = (pith__gguf_writer_tensor){
        .n_dims = tensor->n_dims, .dims = {1, 1, 1, 1}, .type = tensor->type, .data = tensor->data};
    if (tensor->name.size > NAME_BYTES_MAX || tensor->n_dims > DIMS_MAX) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "a tensor with a name of %zu bytes and %u dimensions cannot be written",
                          tensor->name.size, tensor->n_dims);
    }
    uint64_t rows = 1;
    bool overflow = false;
    for (size_t i = 0; i < tensor->n_dims; i++) {
        out->dims[i] = tensor->dims[i];
        overflow = overflow || (i > 0 && __builtin_mul_overflow(rows, tensor->dims[i], &rows));
    }
    size_t row_size = 0;
    PITH__TRY(pith__gguf_row_size(tensor->type, out->dims[0], &row_size, err));
    if (overflow || __builtin_mul_overflow(row_size, rows, &out->size)) {
        return pith__fail(err, PITH_E_RANGE, "a tensor is too large");
    }
    if (out->size == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "a tensor has a dimension of 0");
    }
    return PITH_OK;
}

pith_status pith__gguf_writer_add_tensor(pith__gguf_writer *writer, const pith__gguf_tensor *tensor,
                                         pith_error *err)
{
    pith__gguf_writer_tensor entry;
    PITH__TRY(measure(tensor, &entry, err));
    PITH__TRY(pith__grow(&writer->mem, &writer->tensors, &writer->tensors_capacity,
                         writer->n_tensors + 1, sizeof writer->tensors[0], err));
    entry.name_at = writer->names.size;
    entry.name_size = tensor->name.size;
    PITH__TRY(pith__buf_append(&writer->names, tensor->name.data, tensor->name.size, err));
    writer->tensors[writer->n_tensors++] = entry;
    return PITH_OK;
}

static pith__gguf_string name_of(const pith__gguf_writer *writer,
                                 const pith__gguf_writer_tensor *tensor)
{
    return (pith__gguf_string){writer->names.data + tensor->name_at, tensor->name_size};
}

/* ---- the file -------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    const pith__gguf_string *left = a;
    const pith__gguf_string *right = b;
    return pith__gguf_string_compare(*left, *right);
}

/* Sorts `strings`. */
static pith_status check_unique(pith__gguf_string *strings, size_t count, const char *what,
                                pith_error *err)
{
    qsort(strings, count, sizeof strings[0], compare);
    for (size_t i = 1; i < count; i++) {
        if (compare(&strings[i - 1], &strings[i]) == 0) {
            char label[LABEL_BYTES];
            return pith__fail(err, PITH_E_ARGUMENT, "%s '%s' was added twice", what,
                              pith__gguf_printable(strings[i], label, sizeof label));
        }
    }
    return PITH_OK;
}

static pith_status check_duplicates(const pith__gguf_writer *writer, pith_error *err)
{
    const size_t count = writer->n_keys > writer->n_tensors ? writer->n_keys : writer->n_tensors;
    pith__gguf_string *strings = NULL;
    PITH__TRY(pith__alloc(&writer->mem, count, sizeof strings[0], &strings, err));
    for (size_t i = 0; i < writer->n_keys; i++) {
        strings[i] =
            (pith__gguf_string){writer->metadata.data + writer->keys[i].at, writer->keys[i].size};
    }
    pith_status status = check_unique(strings, writer->n_keys, "key", err);
    if (status == PITH_OK) {
        for (size_t i = 0; i < writer->n_tensors; i++) {
            strings[i] = name_of(writer, &writer->tensors[i]);
        }
        status = check_unique(strings, writer->n_tensors, "tensor", err);
    }
    pith__free(&writer->mem, strings, count, sizeof strings[0]);
    return status;
}

/* Bytes from `size` to the next multiple of the alignment. */
static size_t padding_after(const pith__gguf_writer *writer, size_t size)
{
    return (writer->alignment - size % writer->alignment) % writer->alignment;
}

/* Everything before the tensor data, without the padding. */
static pith_status append_head(const pith__gguf_writer *writer, pith__buf *head, pith_error *err)
{
    PITH__TRY(pith__buf_append(head, "GGUF", 4, err));
    PITH__TRY(append_u32(head, VERSION, err));
    PITH__TRY(append_u64(head, writer->n_tensors, err));
    PITH__TRY(append_u64(head, writer->n_keys, err));
    PITH__TRY(pith__buf_append(head, writer->metadata.data, writer->metadata.size, err));
    size_t offset = 0;
    for (size_t i = 0; i < writer->n_tensors; i++) {
        const pith__gguf_writer_tensor *tensor = &writer->tensors[i];
        PITH__TRY(append_string(head, name_of(writer, tensor), err));
        PITH__TRY(append_u32(head, tensor->n_dims, err));
        PITH__TRY(
            pith__buf_append(head, tensor->dims, tensor->n_dims * sizeof tensor->dims[0], err));
        PITH__TRY(append_u32(head, (uint32_t)tensor->type, err));
        PITH__TRY(append_u64(head, offset, err));
        const size_t padding = padding_after(writer, tensor->size);
        if (__builtin_add_overflow(offset, tensor->size, &offset) ||
            __builtin_add_overflow(offset, padding, &offset)) {
            return pith__fail(err, PITH_E_RANGE, "the tensors are too large for one file");
        }
    }
    return PITH_OK;
}

/* Writes `data` and zeros up to the next multiple of the alignment. */
static pith_status write_padded(const pith__gguf_writer *writer, const void *data, size_t size,
                                pith_write_fn write, void *user, pith_error *err)
{
    static const char zeros[256];
    bool written = write(user, data, size);
    for (size_t left = padding_after(writer, size); written && left > 0;) {
        const size_t piece = left < sizeof zeros ? left : sizeof zeros;
        written = write(user, zeros, piece);
        left -= piece;
    }
    return written ? PITH_OK : pith__fail(err, PITH_E_IO, "the file could not be written");
}

pith_status pith__gguf_writer_write(const pith__gguf_writer *writer, pith_write_fn write,
                                    void *user, pith_error *err)
{
    PITH__TRY(check_duplicates(writer, err));
    pith__buf head;
    pith__buf_init(&head, &writer->mem, SIZE_MAX / 2);
    pith_status status = append_head(writer, &head, err);
    if (status == PITH_OK) {
        status = write_padded(writer, head.data, head.size, write, user, err);
    }
    for (size_t i = 0; status == PITH_OK && i < writer->n_tensors; i++) {
        const pith__gguf_writer_tensor *tensor = &writer->tensors[i];
        status = write_padded(writer, tensor->data, tensor->size, write, user, err);
    }
    pith__buf_deinit(&head);
    return status;
}

pith_status pith__gguf_writer_save(const pith__gguf_writer *writer, const char *path,
                                   pith_error *err)
{
    pith__new_file file;
    PITH__TRY(pith__new_file_open(path, &file, err));
    const pith_status status = pith__gguf_writer_write(writer, pith__new_file_write, &file, err);
    if (status != PITH_OK && file.failed == 0) {
        pith__new_file_abort(&file);
        return status;
    }
    return pith__new_file_commit(&file, err); /* knows why a write failed */
}
