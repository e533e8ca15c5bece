/*
 * gguf.h: the GGUF container (versions 2 and 3, little-endian): a parser that
 * borrows a buffer and never does I/O, the block codecs of tensor data, and a writer.
 */
#ifndef PITH_GGUF_H
#define PITH_GGUF_H

#include "base/base.h"

/* ---- tensor types and their codecs --------------------------------------- */

/* Numbers as they stand in files. */
typedef enum pith__gguf_type {
    PITH__GGUF_TYPE_F32 = 0,
    PITH__GGUF_TYPE_F16 = 1,
    PITH__GGUF_TYPE_Q4_0 = 2,
    PITH__GGUF_TYPE_Q4_1 = 3,
    PITH__GGUF_TYPE_Q5_0 = 6,
    PITH__GGUF_TYPE_Q5_1 = 7,
    PITH__GGUF_TYPE_Q8_0 = 8,
    PITH__GGUF_TYPE_Q8_1 = 9,
    PITH__GGUF_TYPE_Q2_K = 10,
    PITH__GGUF_TYPE_Q3_K = 11,
    PITH__GGUF_TYPE_Q4_K = 12,
    PITH__GGUF_TYPE_Q5_K = 13,
    PITH__GGUF_TYPE_Q6_K = 14,
    PITH__GGUF_TYPE_Q8_K = 15,
    PITH__GGUF_TYPE_IQ2_XXS = 16,
    PITH__GGUF_TYPE_IQ2_XS = 17,
    PITH__GGUF_TYPE_IQ3_XXS = 18,
    PITH__GGUF_TYPE_IQ1_S = 19,
    PITH__GGUF_TYPE_IQ4_NL = 20,
    PITH__GGUF_TYPE_IQ3_S = 21,
    PITH__GGUF_TYPE_IQ2_S = 22,
    PITH__GGUF_TYPE_IQ4_XS = 23,
    PITH__GGUF_TYPE_I8 = 24,
    PITH__GGUF_TYPE_I16 = 25,
    PITH__GGUF_TYPE_I32 = 26,
    PITH__GGUF_TYPE_I64 = 27,
    PITH__GGUF_TYPE_F64 = 28,
    PITH__GGUF_TYPE_IQ1_M = 29,
    PITH__GGUF_TYPE_BF16 = 30,
    PITH__GGUF_TYPE_TQ1_0 = 34,
    PITH__GGUF_TYPE_TQ2_0 = 35,
    PITH__GGUF_TYPE_MXFP4 = 39,
    PITH__GGUF_TYPE_NVFP4 = 40
} pith__gguf_type;

/* How one type is stored. Rows are cut into blocks of `block_elements` values. */
typedef struct pith__gguf_codec {
    const char *name; /* "Q8_0" */
    size_t block_elements;
    size_t block_bytes;
    /* `blocks` whole blocks, no alignment needed; NULL: we can list this type but not read it */
    void (*dequantize)(const unsigned char *src, float *dst, size_t blocks);
    /* NULL: we cannot write it */
    void (*quantize)(const float *src, unsigned char *dst, size_t blocks);
    float limit; /* quantize takes finite values up to this magnitude; 0: any float */
} pith__gguf_codec;

/* Entry of the table, static storage; NULL for a number that is no type we know. */
const pith__gguf_codec *pith__gguf_codec_of(pith__gguf_type type);

/* Bytes of a row of `elements` values. E_ARGUMENT: unknown type, or not whole blocks; E_RANGE: overflow. */
PITH_NODISCARD pith_status pith__gguf_row_size(pith__gguf_type type, uint64_t elements,
                                               size_t *bytes, pith_error *err);

/*
 * Expands `elements` values, a multiple of the block size, to floats. `src` needs
 * no alignment. E_UNSUPPORTED names a type that has no decoder.
 */
PITH_NODISCARD pith_status pith__gguf_dequantize(pith__gguf_type type, const void *src, float *dst,
                                                 size_t elements, pith_error *err);

/*
 * The inverse, rounding to nearest, for F32, F16, BF16, Q8_0 and Q5_0. Also fails
 * with E_ARGUMENT if a value is not finite or too large for the scale of a block.
 */
PITH_NODISCARD pith_status pith__gguf_quantize(pith__gguf_type type, const float *src, void *dst,
                                               size_t elements, pith_error *err);

/* IEEE half precision and bfloat16. To nearest even; infinities and NaN are kept. */
float pith__gguf_f16_to_f32(uint16_t half);
uint16_t pith__gguf_f32_to_f16(float value);
float pith__gguf_bf16_to_f32(uint16_t half);
uint16_t pith__gguf_f32_to_bf16(float value);

/* ---- a parsed file -------------------------------------------------------- */

/* Types of metadata values, numbers as they stand in files. */
typedef enum pith__gguf_value_type {
    PITH__GGUF_VALUE_U8 = 0,
    PITH__GGUF_VALUE_I8 = 1,
    PITH__GGUF_VALUE_U16 = 2,
    PITH__GGUF_VALUE_I16 = 3,
    PITH__GGUF_VALUE_U32 = 4,
    PITH__GGUF_VALUE_I32 = 5,
    PITH__GGUF_VALUE_F32 = 6,
    PITH__GGUF_VALUE_BOOL = 7,
    PITH__GGUF_VALUE_STRING = 8,
    PITH__GGUF_VALUE_ARRAY = 9,
    PITH__GGUF_VALUE_U64 = 10,
    PITH__GGUF_VALUE_I64 = 11,
    PITH__GGUF_VALUE_F64 = 12
} pith__gguf_value_type;

/* "u32", "array" and so on; "unknown" for any other number. Static storage. */
const char *pith__gguf_value_type_name(pith__gguf_value_type type);

/* Bytes of a scalar; 0 for STRING, ARRAY and unknown numbers. */
size_t pith__gguf_value_type_size(pith__gguf_value_type type);

/* Bytes inside the file: not NUL-terminated, any byte may occur, UTF-8 is not checked. */
typedef struct pith__gguf_string {
    const char *data;
    size_t size;
} pith__gguf_string;

/* Elements one after the other, not aligned. Read them with the functions below. */
typedef struct pith__gguf_array {
    pith__gguf_value_type type; /* of the elements, never ARRAY */
    size_t count;
    const unsigned char *data;
    size_t size; /* bytes */
} pith__gguf_array;

typedef struct pith__gguf_kv {
    pith__gguf_string key;
    pith__gguf_value_type type;
    union {
        uint64_t u; /* U8 U16 U32 U64 */
        int64_t i;  /* I8 I16 I32 I64 */
        double f;   /* F32 F64 */
        bool b;
        pith__gguf_string string;
        pith__gguf_array array;
    } value;
    const unsigned char *raw; /* the value as it stands in the file, without its type */
    size_t raw_size;
    size_t offset; /* of the value in the file */
} pith__gguf_kv;

typedef struct pith__gguf_tensor {
    pith__gguf_string name;
    uint32_t n_dims;  /* 0 (a scalar) to 4 */
    uint64_t dims[4]; /* dims[0] is contiguous; 1 beyond n_dims, never 0 */
    pith__gguf_type type;
    const unsigned char *data; /* in the parsed buffer, aligned relative to its start */
    size_t size;               /* bytes */
    uint64_t elements;
    size_t offset;      /* of the data in the file */
    size_t info_offset; /* of its entry in the table, for messages */
} pith__gguf_tensor;

/* Where to find a key or a tensor by name. */
typedef struct pith__gguf_index {
    pith__gguf_string name;
    size_t offset; /* of the value or the data in the file */
    size_t item;   /* in `kvs` or `tensors` */
} pith__gguf_index;

typedef struct pith__gguf {
    uint32_t version;
    uint32_t alignment; /* of tensor data: general.alignment or 32 */
    pith__gguf_kv *kvs; /* in file order */
    size_t n_kvs;
    pith__gguf_tensor *tensors; /* in file order */
    size_t n_tensors;
    pith__gguf_index *kvs_by_key; /* n_kvs, sorted by name, for the find functions */
    pith__gguf_index *tensors_by_name;
    pith_allocator mem;
} pith__gguf;

/*
 * Reads the tables of a GGUF file that lies at data[0 .. size). The buffer is
 * borrowed: it must stay unchanged until pith__gguf_deinit(). Takes memory for the
 * tables only, at most a small multiple of the bytes they take in the file.
 *
 * Everything is checked here, so that readers of *out need no bounds checks: counts,
 * lengths, types, duplicate keys and names, and that the data of every tensor lies
 * inside the file, aligned, overlapping no other.
 *
 * Fails with E_CORRUPT, E_UNSUPPORTED (version 1, big-endian, nested arrays, unknown
 * tensor types), both with the offset, or E_MEMORY; *out is then all zero.
 */
PITH_NODISCARD pith_status pith__gguf_parse(const void *data, size_t size,
                                            const pith_allocator *mem, pith__gguf *out,
                                            pith_error *err);

/* Releases the tables. Accepts NULL and an all-zero struct. */
void pith__gguf_deinit(pith__gguf *gguf);

/* NULL if there is none. O(log n). */
const pith__gguf_kv *pith__gguf_find(const pith__gguf *gguf, const char *key);
const pith__gguf_tensor *pith__gguf_find_tensor(const pith__gguf *gguf, const char *name);

bool pith__gguf_string_equal(pith__gguf_string string, const char *text);
bool pith__gguf_string_ends_with(pith__gguf_string string, const char *suffix);

/* Order of the bytes, a prefix first: < 0, 0 or > 0. */
int pith__gguf_string_compare(pith__gguf_string a, pith__gguf_string b);

/*
 * Copies a string for a message: bytes that are not printable ASCII become '?', a
 * long one ends in "...". `size` > 3 counts the final NUL. Returns `out`.
 */
const char *pith__gguf_printable(pith__gguf_string string, char *out, size_t size);

/* ---- typed metadata ------------------------------------------------------- */

/*
 * A missing key is E_CORRUPT and named in the message; so is a value of another type
 * or one that does not fit, with its offset. u32 and u64 take any integer
 * type, f32 takes both float types (NaN and infinity pass). On failure *out is 0, false
 * or empty.
 */
PITH_NODISCARD pith_status pith__gguf_get_u32(const pith__gguf *gguf, const char *key,
                                              uint32_t *out, pith_error *err);
PITH_NODISCARD pith_status pith__gguf_get_u64(const pith__gguf *gguf, const char *key,
                                              uint64_t *out, pith_error *err);
PITH_NODISCARD pith_status pith__gguf_get_f32(const pith__gguf *gguf, const char *key, float *out,
                                              pith_error *err);
PITH_NODISCARD pith_status pith__gguf_get_bool(const pith__gguf *gguf, const char *key, bool *out,
                                               pith_error *err);
PITH_NODISCARD pith_status pith__gguf_get_string(const pith__gguf *gguf, const char *key,
                                                 pith__gguf_string *out, pith_error *err);
PITH_NODISCARD pith_status pith__gguf_get_array(const pith__gguf *gguf, const char *key,
                                                pith__gguf_value_type element_type,
                                                pith__gguf_array *out, pith_error *err);

/* The same, but a missing key gives `otherwise`; a wrong type is still an error. */
PITH_NODISCARD pith_status pith__gguf_get_u32_or(const pith__gguf *gguf, const char *key,
                                                 uint32_t otherwise, uint32_t *out,
                                                 pith_error *err);
PITH_NODISCARD pith_status pith__gguf_get_f32_or(const pith__gguf *gguf, const char *key,
                                                 float otherwise, float *out, pith_error *err);
PITH_NODISCARD pith_status pith__gguf_get_bool_or(const pith__gguf *gguf, const char *key,
                                                  bool otherwise, bool *out, pith_error *err);
/* `otherwise` is borrowed, NUL-terminated. */
PITH_NODISCARD pith_status pith__gguf_get_string_or(const pith__gguf *gguf, const char *key,
                                                    const char *otherwise, pith__gguf_string *out,
                                                    pith_error *err);
/* A missing key gives an array of `element_type` with count 0 and data NULL. */
PITH_NODISCARD pith_status pith__gguf_get_array_or_empty(const pith__gguf *gguf, const char *key,
                                                         pith__gguf_value_type element_type,
                                                         pith__gguf_array *out, pith_error *err);

/* Element `index` < count of an array of exactly this type. O(1). */
float pith__gguf_array_f32(const pith__gguf_array *array, size_t index);
int32_t pith__gguf_array_i32(const pith__gguf_array *array, size_t index);
uint32_t pith__gguf_array_u32(const pith__gguf_array *array, size_t index);

/* Element `index` of an array of scalars; the result is a kv without key, for printing. */
pith__gguf_kv pith__gguf_array_scalar(const pith__gguf_array *array, size_t index);

/*
 * Strings of an array one by one (they have different lengths, so there is no index):
 *
 *     pith__gguf_strings it = pith__gguf_strings_of(&array);
 *     for (pith__gguf_string s; pith__gguf_strings_next(&it, &s);) ...
 */
typedef struct pith__gguf_strings {
    const unsigned char *next;
    size_t left; /* strings not yet returned */
} pith__gguf_strings;

/* `array` holds strings. */
pith__gguf_strings pith__gguf_strings_of(const pith__gguf_array *array);

/* False, and *out empty, at the end. */
bool pith__gguf_strings_next(pith__gguf_strings *strings, pith__gguf_string *out);

/* ---- writer --------------------------------------------------------------- */

/* A tensor to be written. */
typedef struct pith__gguf_writer_tensor {
    size_t name_at; /* of the name in `names` */
    size_t name_size;
    uint32_t n_dims;
    uint64_t dims[4];
    pith__gguf_type type;
    const void *data; /* borrowed */
    size_t size;      /* bytes */
} pith__gguf_writer_tensor;

/* Position of a key in the metadata. */
typedef struct pith__gguf_writer_key {
    size_t at;
    size_t size;
} pith__gguf_writer_key;

/*
 * Collects metadata and tensors, then writes a version 3 file. Keys and tensors keep
 * the order in which they were added. Keys, names and values are copied; tensor data
 * is borrowed until the file is written.
 */
typedef struct pith__gguf_writer {
    pith_allocator mem;
    uint32_t alignment;
    pith__buf metadata; /* as in the file */
    pith__gguf_writer_key *keys;
    size_t n_keys, keys_capacity;
    pith__buf names;
    pith__gguf_writer_tensor *tensors;
    size_t n_tensors, tensors_capacity;
} pith__gguf_writer;

void pith__gguf_writer_init(pith__gguf_writer *writer, const pith_allocator *mem);
void pith__gguf_writer_deinit(pith__gguf_writer *writer);

/*
 * Each adds one key; after a failure the writer is as before. E_ARGUMENT: a key of more
 * than 65535 bytes. "general.alignment" also sets the alignment: E_ARGUMENT unless it is
 * a u32 and a power of two. E_MEMORY.
 */
PITH_NODISCARD pith_status pith__gguf_writer_add_u32(pith__gguf_writer *writer, const char *key,
                                                     uint32_t value, pith_error *err);
PITH_NODISCARD pith_status pith__gguf_writer_add_i32(pith__gguf_writer *writer, const char *key,
                                                     int32_t value, pith_error *err);
PITH_NODISCARD pith_status pith__gguf_writer_add_u64(pith__gguf_writer *writer, const char *key,
                                                     uint64_t value, pith_error *err);
PITH_NODISCARD pith_status pith__gguf_writer_add_f32(pith__gguf_writer *writer, const char *key,
                                                     float value, pith_error *err);
PITH_NODISCARD pith_status pith__gguf_writer_add_bool(pith__gguf_writer *writer, const char *key,
                                                      bool value, pith_error *err);
PITH_NODISCARD pith_status pith__gguf_writer_add_string(pith__gguf_writer *writer, const char *key,
                                                        const char *data, size_t size,
                                                        pith_error *err);
/* Arrays; `values` may be NULL if count is 0. */
PITH_NODISCARD pith_status pith__gguf_writer_add_strings(pith__gguf_writer *writer, const char *key,
                                                         const pith__gguf_string *values,
                                                         size_t count, pith_error *err);
PITH_NODISCARD pith_status pith__gguf_writer_add_i32s(pith__gguf_writer *writer, const char *key,
                                                      const int32_t *values, size_t count,
                                                      pith_error *err);
PITH_NODISCARD pith_status pith__gguf_writer_add_u64s(pith__gguf_writer *writer, const char *key,
                                                      const uint64_t *values, size_t count,
                                                      pith_error *err);
PITH_NODISCARD pith_status pith__gguf_writer_add_f32s(pith__gguf_writer *writer, const char *key,
                                                      const float *values, size_t count,
                                                      pith_error *err);

/* Copies key and value of a parsed file, whatever the type. */
PITH_NODISCARD pith_status pith__gguf_writer_add_kv(pith__gguf_writer *writer,
                                                    const pith__gguf_kv *kv, pith_error *err);

/*
 * Adds a tensor given by name, n_dims, dims, type and data; the other members are not
 * looked at, so one of a parsed file can be passed on. The name is copied, the data, as
 * pith__gguf_quantize() gives it, borrowed. E_ARGUMENT: a name of more than 63 bytes (other
 * tools refuse it), more than 4 dims, one that is 0, an unknown type, rows that are not
 * whole blocks. Also E_RANGE (size overflows) and E_MEMORY.
 */
PITH_NODISCARD pith_status pith__gguf_writer_add_tensor(pith__gguf_writer *writer,
                                                        const pith__gguf_tensor *tensor,
                                                        pith_error *err);

/*
 * Hands the whole file to `write`, piece by piece and in order. E_ARGUMENT, before
 * anything is written, if a key or a tensor name occurs twice; E_IO if `write`
 * returns false; E_MEMORY. May be called again.
 */
PITH_NODISCARD pith_status pith__gguf_writer_write(const pith__gguf_writer *writer,
                                                   pith_write_fn write, void *user,
                                                   pith_error *err);

/* The same into a file that appears at `path` whole or not at all; see pith__new_file. */
PITH_NODISCARD pith_status pith__gguf_writer_save(const pith__gguf_writer *writer, const char *path,
                                                  pith_error *err);

#endif /* PITH_GGUF_H */
