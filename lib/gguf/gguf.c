/*
 * gguf.c: reads the tables of a GGUF file and checks everything that they claim.
 *
 * Layout: magic, version, two counts, metadata (key, type, value), tensor table (name,
 * dims, type, relative offset), padding, tensor data.
 */
#include "gguf/gguf.h"

#include <stdlib.h>
#include <string.h>

enum {
    VERSION_MIN = 2,
    VERSION_MAX = 3,
    ALIGNMENT_DEFAULT = 32,
    DIMS_MAX = 4,
    KV_BYTES_MIN = 8 + 4 + 1,         /* empty key, type, one byte of value */
    TENSOR_BYTES_MIN = 8 + 4 + 4 + 8, /* empty name, no dims, type, offset */
    LABEL_BYTES = 64                  /* of a key or name inside a message */
};

/* ---- bytes -------------------------------------------------------------------- */

typedef struct reader {
    const unsigned char *data;
    size_t size;
    size_t at; /* <= size */
    pith_error *err;
} reader;

static size_t bytes_left(const reader *in)
{
    return in->size - in->at;
}

static pith_status skip(reader *in, size_t size, const char *what)
{
    if (size > bytes_left(in)) {
        return pith__fail_at(in->err, PITH_E_CORRUPT, in->at, "the file ends inside %s", what);
    }
    in->at += size;
    return PITH_OK;
}

/* The last bytes that were skipped. */
static const unsigned char *skipped(const reader *in, size_t size)
{
    return in->data + in->at - size;
}

static pith_status read_u32(reader *in, const char *what, uint32_t *out)
{
    PITH__TRY(skip(in, sizeof *out, what));
    memcpy(out, skipped(in, sizeof *out), sizeof *out);
    return PITH_OK;
}

static pith_status read_u64(reader *in, const char *what, uint64_t *out)
{
    PITH__TRY(skip(in, sizeof *out, what));
    memcpy(out, skipped(in, sizeof *out), sizeof *out);
    return PITH_OK;
}

/* A number of things of at least `item_size` bytes each that must still follow. */
static pith_status read_count(reader *in, const char *what, size_t item_size, size_t *out)
{
    const size_t at = in->at;
    uint64_t count = 0;
    PITH__TRY(read_u64(in, what, &count));
    if (count > bytes_left(in) / item_size) {
        return pith__fail_at(in->err, PITH_E_CORRUPT, at, "%s: %llu do not fit into the file", what,
                             (unsigned long long)count);
    }
    *out = (size_t)count;
    return PITH_OK;
}

static pith_status read_string(reader *in, const char *what, pith__gguf_string *out)
{
    const size_t at = in->at;
    uint64_t size = 0;
    PITH__TRY(read_u64(in, what, &size));
    if (size > bytes_left(in)) {
        return pith__fail_at(in->err, PITH_E_CORRUPT, at, "%s of %llu bytes exceeds the file", what,
                             (unsigned long long)size);
    }
    *out = (pith__gguf_string){(const char *)in->data + in->at, (size_t)size};
    in->at += (size_t)size;
    return PITH_OK;
}

/* ---- order ---------------------------------------------------------------------- */

/* Equal ones keep the order of the file, so that an error points at the second. */
static int compare_items(const pith__gguf_index *a, const pith__gguf_index *b)
{
    return (a->item > b->item) - (a->item < b->item);
}

static int compare_names(const void *a, const void *b)
{
    const pith__gguf_index *left = a;
    const pith__gguf_index *right = b;
    const int order = pith__gguf_string_compare(left->name, right->name);
    return order != 0 ? order : compare_items(left, right);
}

static int compare_offsets(const void *a, const void *b)
{
    const pith__gguf_index *left = a;
    const pith__gguf_index *right = b;
    const int order = (left->offset > right->offset) - (left->offset < right->offset);
    return order != 0 ? order : compare_items(left, right);
}

static int compare_wanted(const void *wanted, const void *entry)
{
    const pith__gguf_string *name = wanted;
    const pith__gguf_index *index = entry;
    return pith__gguf_string_compare(*name, index->name);
}

/* Sorts by name. The first entry whose name an earlier one has, or NULL. */
static const pith__gguf_index *sort_names(pith__gguf_index *index, size_t count)
{
    qsort(index, count, sizeof index[0], compare_names);
    for (size_t i = 1; i < count; i++) {
        if (pith__gguf_string_compare(index[i - 1].name, index[i].name) == 0) {
            return &index[i];
        }
    }
    return NULL;
}

static const pith__gguf_index *find_name(const pith__gguf_index *index, size_t count,
                                         const char *name)
{
    const pith__gguf_string wanted = {name, strlen(name)};
    return count == 0 ? NULL : bsearch(&wanted, index, count, sizeof index[0], compare_wanted);
}

/* ---- metadata -------------------------------------------------------------------- */

/* The last `count` bytes that were skipped. */
static pith_status check_bools(const reader *in, size_t count)
{
    for (size_t at = in->at - count; at < in->at; at++) {
        if (in->data[at] > 1) {
            return pith__fail_at(in->err, PITH_E_CORRUPT, at,
                                 "a truth value of %u, neither 0 nor 1", in->data[at]);
        }
    }
    return PITH_OK;
}

static pith_status read_elements(reader *in, pith__gguf_array *out)
{
    if (out->type == PITH__GGUF_VALUE_STRING) {
        for (size_t i = 0; i < out->count; i++) {
            pith__gguf_string ignored = {NULL, 0};
            PITH__TRY(read_string(in, "a string of an array", &ignored));
        }
        return PITH_OK;
    }
    /* no overflow: read_count() made sure that the elements fit */
    PITH__TRY(skip(in, out->count * pith__gguf_value_type_size(out->type), "an array"));
    return out->type == PITH__GGUF_VALUE_BOOL ? check_bools(in, out->count) : PITH_OK;
}

static pith_status read_array(reader *in, pith__gguf_array *out)
{
    const size_t at = in->at;
    uint32_t type = 0;
    PITH__TRY(read_u32(in, "the type of an array", &type));
    out->type = (pith__gguf_value_type)type;
    size_t item_size = pith__gguf_value_type_size(out->type);
    if (out->type == PITH__GGUF_VALUE_STRING) {
        item_size = 8;
    }
    if (out->type == PITH__GGUF_VALUE_ARRAY) {
        return pith__fail_at(in->err, PITH_E_UNSUPPORTED, at, "arrays of arrays are not supported");
    }
    if (item_size == 0) {
        return pith__fail_at(in->err, PITH_E_CORRUPT, at, "array of unknown type %u", type);
    }
    PITH__TRY(read_count(in, "elements of an array", item_size, &out->count));
    out->data = in->data + in->at;
    PITH__TRY(read_elements(in, out));
    out->size = (size_t)(in->data + in->at - out->data);
    return PITH_OK;
}

static pith_status read_scalar(reader *in, pith__gguf_kv *kv)
{
    const size_t size = pith__gguf_value_type_size(kv->type);
    if (size == 0) {
        return pith__fail_at(in->err, PITH_E_CORRUPT, in->at - 4, "value of unknown type %u",
                             (unsigned)kv->type);
    }
    PITH__TRY(skip(in, size, "a value"));
    if (kv->type == PITH__GGUF_VALUE_BOOL) {
        PITH__TRY(check_bools(in, 1));
    }
    const pith__gguf_array one = {kv->type, 1, skipped(in, size), size};
    kv->value = pith__gguf_array_scalar(&one, 0).value;
    return PITH_OK;
}

static pith_status read_kv(reader *in, pith__gguf_kv *kv)
{
    PITH__TRY(read_string(in, "a key", &kv->key));
    uint32_t type = 0;
    PITH__TRY(read_u32(in, "the type of a value", &type));
    kv->type = (pith__gguf_value_type)type;
    kv->offset = in->at;
    if (kv->type == PITH__GGUF_VALUE_STRING) {
        PITH__TRY(read_string(in, "a string", &kv->value.string));
    } else if (kv->type == PITH__GGUF_VALUE_ARRAY) {
        PITH__TRY(read_array(in, &kv->value.array));
    } else {
        PITH__TRY(read_scalar(in, kv));
    }
    kv->raw = in->data + kv->offset;
    kv->raw_size = in->at - kv->offset;
    return PITH_OK;
}

static pith_status index_kvs(const reader *in, pith__gguf *gguf)
{
    for (size_t i = 0; i < gguf->n_kvs; i++) {
        const pith__gguf_kv *kv = &gguf->kvs[i];
        gguf->kvs_by_key[i] = (pith__gguf_index){kv->key, kv->offset, i};
    }
    const pith__gguf_index *twin = sort_names(gguf->kvs_by_key, gguf->n_kvs);
    if (twin != NULL) {
        char label[LABEL_BYTES];
        return pith__fail_at(in->err, PITH_E_CORRUPT, twin->offset, "key '%s' occurs twice",
                             pith__gguf_printable(twin->name, label, sizeof label));
    }
    return PITH_OK;
}

static pith_status read_metadata(reader *in, pith__gguf *gguf)
{
    for (size_t i = 0; i < gguf->n_kvs; i++) {
        PITH__TRY(read_kv(in, &gguf->kvs[i]));
    }
    PITH__TRY(index_kvs(in, gguf));
    gguf->alignment = ALIGNMENT_DEFAULT;
    const pith__gguf_kv *kv = pith__gguf_find(gguf, "general.alignment");
    if (kv == NULL) {
        return PITH_OK;
    }
    const uint64_t alignment = kv->type == PITH__GGUF_VALUE_U32 ? kv->value.u : 0;
    if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
        return pith__fail_at(in->err, PITH_E_CORRUPT, kv->offset,
                             "general.alignment is no u32 power of two");
    }
    gguf->alignment = (uint32_t)alignment;
    return PITH_OK;
}

/* ---- tensors --------------------------------------------------------------------- */

static pith_status fail_tensor(const reader *in, const pith__gguf_tensor *tensor,
                               const char *problem)
{
    char label[LABEL_BYTES];
    return pith__fail_at(in->err, PITH_E_CORRUPT, tensor->info_offset, "tensor '%s': %s",
                         pith__gguf_printable(tensor->name, label, sizeof label), problem);
}

static pith_status read_dims(reader *in, pith__gguf_tensor *tensor)
{
    PITH__TRY(read_u32(in, "the dimensions of a tensor", &tensor->n_dims));
    if (tensor->n_dims > DIMS_MAX) {
        return fail_tensor(in, tensor, "more than 4 dimensions");
    }
    tensor->elements = 1;
    for (size_t i = 0; i < DIMS_MAX; i++) {
        tensor->dims[i] = 1;
        if (i < tensor->n_dims) {
            PITH__TRY(read_u64(in, "the dimensions of a tensor", &tensor->dims[i]));
        }
        if (tensor->dims[i] == 0) {
            return fail_tensor(in, tensor, "a dimension of 0");
        }
        if (__builtin_mul_overflow(tensor->elements, tensor->dims[i], &tensor->elements)) {
            return fail_tensor(in, tensor, "more than 2^64 elements");
        }
    }
    return PITH_OK;
}

/* Size of the data from type and dims. */
static pith_status measure_tensor(const reader *in, pith__gguf_tensor *tensor)
{
    const pith__gguf_codec *codec = pith__gguf_codec_of(tensor->type);
    if (codec == NULL) {
        char label[LABEL_BYTES];
        return pith__fail_at(
            in->err, PITH_E_UNSUPPORTED, tensor->info_offset, "tensor '%s' has the unknown type %u",
            pith__gguf_printable(tensor->name, label, sizeof label), (unsigned)tensor->type);
    }
    if (tensor->dims[0] % codec->block_elements != 0) {
        return fail_tensor(in, tensor, "rows are not whole blocks of its type");
    }
    if (__builtin_mul_overflow(tensor->elements / codec->block_elements, codec->block_bytes,
                               &tensor->size)) {
        return fail_tensor(in, tensor, "more than 2^64 bytes");
    }
    return PITH_OK;
}

/* Leaves the offset relative to the data section. */
static pith_status read_tensor(reader *in, uint32_t alignment, pith__gguf_tensor *tensor)
{
    tensor->info_offset = in->at;
    PITH__TRY(read_string(in, "the name of a tensor", &tensor->name));
    PITH__TRY(read_dims(in, tensor));
    uint32_t type = 0;
    PITH__TRY(read_u32(in, "the type of a tensor", &type));
    tensor->type = (pith__gguf_type)type;
    PITH__TRY(measure_tensor(in, tensor));
    uint64_t offset = 0;
    PITH__TRY(read_u64(in, "the offset of a tensor", &offset));
    if (offset % alignment != 0) {
        return fail_tensor(in, tensor, "its data is not aligned");
    }
    if (offset > in->size) {
        return fail_tensor(in, tensor, "its data begins beyond the file");
    }
    tensor->offset = (size_t)offset;
    return PITH_OK;
}

/* Turns relative offsets into pointers, given the first byte of the data section. */
static pith_status place_tensor(const reader *in, size_t base, pith__gguf_tensor *tensor)
{
    size_t end = 0;
    if (__builtin_add_overflow(tensor->offset, base, &tensor->offset) ||
        __builtin_add_overflow(tensor->offset, tensor->size, &end) || end > in->size) {
        return fail_tensor(in, tensor, "its data reaches beyond the file");
    }
    tensor->data = in->data + tensor->offset;
    return PITH_OK;
}

static pith_status check_overlap(const reader *in, pith__gguf *gguf)
{
    pith__gguf_index *index = gguf->tensors_by_name; /* sorted by name afterwards */
    qsort(index, gguf->n_tensors, sizeof index[0], compare_offsets);
    for (size_t i = 1; i < gguf->n_tensors; i++) {
        const pith__gguf_tensor *before = &gguf->tensors[index[i - 1].item];
        const pith__gguf_tensor *tensor = &gguf->tensors[index[i].item];
        if (tensor->offset - before->offset < before->size) {
            return fail_tensor(in, tensor, "its data overlaps another tensor");
        }
    }
    return PITH_OK;
}

static pith_status index_tensors(const reader *in, pith__gguf *gguf)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const pith__gguf_tensor *tensor = &gguf->tensors[i];
        gguf->tensors_by_name[i] = (pith__gguf_index){tensor->name, tensor->offset, i};
    }
    PITH__TRY(check_overlap(in, gguf));
    const pith__gguf_index *twin = sort_names(gguf->tensors_by_name, gguf->n_tensors);
    return twin == NULL ? PITH_OK
                        : fail_tensor(in, &gguf->tensors[twin->item], "the name occurs twice");
}

static pith_status read_tensors(reader *in, pith__gguf *gguf)
{
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        PITH__TRY(read_tensor(in, gguf->alignment, &gguf->tensors[i]));
    }
    /* a file without tensors may end without padding */
    const size_t padding = (gguf->alignment - in->at % gguf->alignment) % gguf->alignment;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        PITH__TRY(place_tensor(in, in->at + padding, &gguf->tensors[i]));
    }
    return index_tensors(in, gguf);
}

/* ---- the file -------------------------------------------------------------------- */

static pith_status read_version(reader *in, pith__gguf *gguf)
{
    PITH__TRY(skip(in, 4, "the magic number"));
    if (memcmp(skipped(in, 4), "GGUF", 4) != 0) {
        return pith__fail_at(in->err, PITH_E_CORRUPT, 0, "not a GGUF file");
    }
    PITH__TRY(read_u32(in, "the version", &gguf->version));
    if (gguf->version >= VERSION_MIN && gguf->version <= VERSION_MAX) {
        return PITH_OK;
    }
    if (gguf->version != 0 && (gguf->version & 0xffffU) == 0) {
        return pith__fail_at(in->err, PITH_E_UNSUPPORTED, 4, "big-endian GGUF is not supported");
    }
    return pith__fail_at(in->err, PITH_E_UNSUPPORTED, 4, "GGUF version %u is not supported",
                         gguf->version);
}

static pith_status read_tables(reader *in, pith__gguf *gguf)
{
    PITH__TRY(read_version(in, gguf));
    size_t n_tensors = 0;
    size_t n_kvs = 0;
    PITH__TRY(read_count(in, "tensors", TENSOR_BYTES_MIN, &n_tensors));
    PITH__TRY(read_count(in, "metadata entries", KV_BYTES_MIN, &n_kvs));
    gguf->n_kvs = n_kvs;
    gguf->n_tensors = n_tensors;
    const pith_allocator *mem = &gguf->mem;
    PITH__TRY(pith__alloc_zero(mem, n_kvs, sizeof gguf->kvs[0], &gguf->kvs, in->err));
    PITH__TRY(pith__alloc(mem, n_kvs, sizeof gguf->kvs_by_key[0], &gguf->kvs_by_key, in->err));
    PITH__TRY(read_metadata(in, gguf));
    PITH__TRY(pith__alloc_zero(mem, n_tensors, sizeof gguf->tensors[0], &gguf->tensors, in->err));
    PITH__TRY(pith__alloc(mem, n_tensors, sizeof gguf->tensors_by_name[0], &gguf->tensors_by_name,
                          in->err));
    return read_tensors(in, gguf);
}

pith_status pith__gguf_parse(const void *data, size_t size, const pith_allocator *mem,
                             pith__gguf *out, pith_error *err)
{
    *out = (pith__gguf){.mem = *mem};
    reader in = {data, size, 0, err};
    const pith_status status = read_tables(&in, out);
    if (status != PITH_OK) {
        pith__gguf_deinit(out);
    }
    return status;
}

void pith__gguf_deinit(pith__gguf *gguf)
{
    if (gguf == NULL) {
        return;
    }
    const pith_allocator *mem = &gguf->mem;
    pith__free(mem, gguf->kvs, gguf->n_kvs, sizeof gguf->kvs[0]);
    pith__free(mem, gguf->kvs_by_key, gguf->n_kvs, sizeof gguf->kvs_by_key[0]);
    pith__free(mem, gguf->tensors, gguf->n_tensors, sizeof gguf->tensors[0]);
    pith__free(mem, gguf->tensors_by_name, gguf->n_tensors, sizeof gguf->tensors_by_name[0]);
    *gguf = (pith__gguf){.version = 0};
}

const pith__gguf_kv *pith__gguf_find(const pith__gguf *gguf, const char *key)
{
    const pith__gguf_index *found = find_name(gguf->kvs_by_key, gguf->n_kvs, key);
    return found == NULL ? NULL : &gguf->kvs[found->item];
}

const pith__gguf_tensor *pith__gguf_find_tensor(const pith__gguf *gguf, const char *name)
{
    const pith__gguf_index *found = find_name(gguf->tensors_by_name, gguf->n_tensors, name);
    return found == NULL ? NULL : &gguf->tensors[found->item];
}
