/*
 * gguf_values.c: metadata of a parsed file as C values. Bounds were checked by the parser.
 */
#include "gguf/gguf.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} value_types[] = {
    [PITH__GGUF_VALUE_U8] = {"u8", 1},         [PITH__GGUF_VALUE_I8] = {"i8", 1},
    [PITH__GGUF_VALUE_U16] = {"u16", 2},       [PITH__GGUF_VALUE_I16] = {"i16", 2},
    [PITH__GGUF_VALUE_U32] = {"u32", 4},       [PITH__GGUF_VALUE_I32] = {"i32", 4},
    [PITH__GGUF_VALUE_F32] = {"f32", 4},       [PITH__GGUF_VALUE_BOOL] = {"bool", 1},
    [PITH__GGUF_VALUE_STRING] = {"string", 0}, [PITH__GGUF_VALUE_ARRAY] = {"array", 0},
    [PITH__GGUF_VALUE_U64] = {"u64", 8},       [PITH__GGUF_VALUE_I64] = {"i64", 8},
    [PITH__GGUF_VALUE_F64] = {"f64", 8},
};

static bool is_value_type(pith__gguf_value_type type)
{
    return (size_t)type < sizeof value_types / sizeof value_types[0];
}

const char *pith__gguf_value_type_name(pith__gguf_value_type type)
{
    return is_value_type(type) ? value_types[type].name : "unknown";
}

size_t pith__gguf_value_type_size(pith__gguf_value_type type)
{
    return is_value_type(type) ? value_types[type].size : 0;
}

/* ---- strings ------------------------------------------------------------------------ */

bool pith__gguf_string_equal(pith__gguf_string string, const char *text)
{
    return string.size == strlen(text) &&
           (string.size == 0 || memcmp(string.data, text, string.size) == 0);
}

bool pith__gguf_string_ends_with(pith__gguf_string string, const char *suffix)
{
    const size_t size = strlen(suffix);
    return string.size >= size &&
           (size == 0 || memcmp(string.data + string.size - size, suffix, size) == 0);
}

int pith__gguf_string_compare(pith__gguf_string a, pith__gguf_string b)
{
    const size_t size = a.size < b.size ? a.size : b.size;
    const int order = size == 0 ? 0 : memcmp(a.data, b.data, size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

const char *pith__gguf_printable(pith__gguf_string string, char *out, size_t size)
{
    assert(size > 3);
    const size_t fits = string.size < size ? string.size : size - 4;
    for (size_t i = 0; i < fits; i++) {
        const char c = string.data[i];
        out[i] = '?';
        if (c >= 0x20 && c < 0x7f) {
            out[i] = c;
        }
    }
    memcpy(out + fits, fits < string.size ? "..." : "", fits < string.size ? 4 : 1);
    return out;
}

/* ---- arrays ------------------------------------------------------------------------- */

float pith__gguf_array_f32(const pith__gguf_array *array, size_t index)
{
    assert(array->type == PITH__GGUF_VALUE_F32 && index < array->count);
    float value = 0;
    memcpy(&value, array->data + index * sizeof value, sizeof value);
    return value;
}

int32_t pith__gguf_array_i32(const pith__gguf_array *array, size_t index)
{
    assert(array->type == PITH__GGUF_VALUE_I32 && index < array->count);
    int32_t value = 0;
    memcpy(&value, array->data + index * sizeof value, sizeof value);
    return value;
}

uint32_t pith__gguf_array_u32(const pith__gguf_array *array, size_t index)
{
    assert(array->type == PITH__GGUF_VALUE_U32 && index < array->count);
    uint32_t value = 0;
    memcpy(&value, array->data + index * sizeof value, sizeof value);
    return value;
}

/* `size` little-endian bytes. */
static uint64_t load_unsigned(const unsigned char *src, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++) {
        value |= (uint64_t)src[i] << (8 * i);
    }
    return value;
}

/* The same in two's complement. */
static int64_t load_signed(const unsigned char *src, size_t size)
{
    const uint64_t sign = UINT64_C(1) << (8 * size - 1);
    const uint64_t value = load_unsigned(src, size);
    return (int64_t)((value ^ sign) - sign);
}

static double load_f64(const unsigned char *src)
{
    double value = 0;
    memcpy(&value, src, sizeof value);
    return value;
}

static double load_f32(const unsigned char *src)
{
    float value = 0;
    memcpy(&value, src, sizeof value);
    return (double)value;
}

pith__gguf_kv pith__gguf_array_scalar(const pith__gguf_array *array, size_t index)
{
    const size_t size = pith__gguf_value_type_size(array->type);
    assert(size > 0 && index < array->count);
    const unsigned char *src = array->data + index * size;
    pith__gguf_kv kv = {.type = array->type, .raw = src, .raw_size = size};
    switch (array->type) {
    case PITH__GGUF_VALUE_U8:
    case PITH__GGUF_VALUE_U16:
    case PITH__GGUF_VALUE_U32:
    case PITH__GGUF_VALUE_U64:
        kv.value.u = load_unsigned(src, size);
        break;
    case PITH__GGUF_VALUE_I8:
    case PITH__GGUF_VALUE_I16:
    case PITH__GGUF_VALUE_I32:
    case PITH__GGUF_VALUE_I64:
        kv.value.i = load_signed(src, size);
        break;
    case PITH__GGUF_VALUE_F32:
        kv.value.f = load_f32(src);
        break;
    case PITH__GGUF_VALUE_F64:
        kv.value.f = load_f64(src);
        break;
    case PITH__GGUF_VALUE_BOOL:
        kv.value.b = src[0] != 0;
        break;
    case PITH__GGUF_VALUE_STRING:
    case PITH__GGUF_VALUE_ARRAY:
        break;
    }
    return kv;
}

pith__gguf_strings pith__gguf_strings_of(const pith__gguf_array *array)
{
    assert(array->type == PITH__GGUF_VALUE_STRING);
    return (pith__gguf_strings){array->data, array->count};
}

bool pith__gguf_strings_next(pith__gguf_strings *strings, pith__gguf_string *out)
{
    *out = (pith__gguf_string){NULL, 0};
    if (strings->left == 0) {
        return false;
    }
    const size_t size = (size_t)load_unsigned(strings->next, 8);
    *out = (pith__gguf_string){(const char *)strings->next + 8, size};
    strings->next += 8 + size;
    strings->left--;
    return true;
}

/* ---- typed metadata ------------------------------------------------------------------- */

static pith_status fail_missing(const char *key, pith_error *err)
{
    return pith__fail(err, PITH_E_CORRUPT, "metadata key '%s' is missing", key);
}

static pith_status fail_type(const pith__gguf_kv *kv, const char *key, const char *wanted,
                             pith_error *err)
{
    return pith__fail_at(err, PITH_E_CORRUPT, kv->offset, "metadata key '%s' is %s, expected %s",
                         key, pith__gguf_value_type_name(kv->type), wanted);
}

static pith_status read_u64(const pith__gguf_kv *kv, const char *key, uint64_t *out,
                            pith_error *err)
{
    const bool is_unsigned = kv->type == PITH__GGUF_VALUE_U8 || kv->type == PITH__GGUF_VALUE_U16 ||
                             kv->type == PITH__GGUF_VALUE_U32 || kv->type == PITH__GGUF_VALUE_U64;
    const bool is_signed = kv->type == PITH__GGUF_VALUE_I8 || kv->type == PITH__GGUF_VALUE_I16 ||
                           kv->type == PITH__GGUF_VALUE_I32 || kv->type == PITH__GGUF_VALUE_I64;
    if (!is_unsigned && !is_signed) {
        return fail_type(kv, key, "an integer", err);
    }
    if (is_signed && kv->value.i < 0) {
        return pith__fail_at(err, PITH_E_CORRUPT, kv->offset, "metadata key '%s' is negative", key);
    }
    *out = is_signed ? (uint64_t)kv->value.i : kv->value.u;
    return PITH_OK;
}

static pith_status read_u32(const pith__gguf_kv *kv, const char *key, uint32_t *out,
                            pith_error *err)
{
    uint64_t value = 0;
    PITH__TRY(read_u64(kv, key, &value, err));
    if (value > UINT32_MAX) {
        return pith__fail_at(err, PITH_E_CORRUPT, kv->offset,
                             "metadata key '%s' is %llu, beyond 32 bits", key,
                             (unsigned long long)value);
    }
    *out = (uint32_t)value;
    return PITH_OK;
}

static pith_status read_f32(const pith__gguf_kv *kv, const char *key, float *out, pith_error *err)
{
    if (kv->type != PITH__GGUF_VALUE_F32 && kv->type != PITH__GGUF_VALUE_F64) {
        return fail_type(kv, key, "a float", err);
    }
    if (isfinite(kv->value.f) && fabs(kv->value.f) > (double)FLT_MAX) {
        return pith__fail_at(err, PITH_E_CORRUPT, kv->offset,
                             "metadata key '%s' is %g, beyond 32-bit floats", key, kv->value.f);
    }
    *out = (float)kv->value.f;
    return PITH_OK;
}

static pith_status read_bool(const pith__gguf_kv *kv, const char *key, bool *out, pith_error *err)
{
    if (kv->type != PITH__GGUF_VALUE_BOOL) {
        return fail_type(kv, key, "bool", err);
    }
    *out = kv->value.b;
    return PITH_OK;
}

static pith_status read_string(const pith__gguf_kv *kv, const char *key, pith__gguf_string *out,
                               pith_error *err)
{
    if (kv->type != PITH__GGUF_VALUE_STRING) {
        return fail_type(kv, key, "string", err);
    }
    *out = kv->value.string;
    return PITH_OK;
}

static pith_status read_array(const pith__gguf_kv *kv, const char *key,
                              pith__gguf_value_type element_type, pith__gguf_array *out,
                              pith_error *err)
{
    if (kv->type != PITH__GGUF_VALUE_ARRAY) {
        return fail_type(kv, key, "array", err);
    }
    if (kv->value.array.type != element_type) {
        return pith__fail_at(err, PITH_E_CORRUPT, kv->offset,
                             "metadata key '%s' is an array of %s, expected %s", key,
                             pith__gguf_value_type_name(kv->value.array.type),
                             pith__gguf_value_type_name(element_type));
    }
    *out = kv->value.array;
    return PITH_OK;
}

pith_status pith__gguf_get_u32(const pith__gguf *gguf, const char *key, uint32_t *out,
                               pith_error *err)
{
    *out = 0;
    const pith__gguf_kv *kv = pith__gguf_find(gguf, key);
    return kv == NULL ? fail_missing(key, err) : read_u32(kv, key, out, err);
}

pith_status pith__gguf_get_u64(const pith__gguf *gguf, const char *key, uint64_t *out,
                               pith_error *err)
{
    *out = 0;
    const pith__gguf_kv *kv = pith__gguf_find(gguf, key);
    return kv == NULL ? fail_missing(key, err) : read_u64(kv, key, out, err);
}

pith_status pith__gguf_get_f32(const pith__gguf *gguf, const char *key, float *out, pith_error *err)
{
    *out = 0;
    const pith__gguf_kv *kv = pith__gguf_find(gguf, key);
    return kv == NULL ? fail_missing(key, err) : read_f32(kv, key, out, err);
}

pith_status pith__gguf_get_bool(const pith__gguf *gguf, const char *key, bool *out, pith_error *err)
{
    *out = false;
    const pith__gguf_kv *kv = pith__gguf_find(gguf, key);
    return kv == NULL ? fail_missing(key, err) : read_bool(kv, key, out, err);
}

pith_status pith__gguf_get_string(const pith__gguf *gguf, const char *key, pith__gguf_string *out,
                                  pith_error *err)
{
    *out = (pith__gguf_string){NULL, 0};
    const pith__gguf_kv *kv = pith__gguf_find(gguf, key);
    return kv == NULL ? fail_missing(key, err) : read_string(kv, key, out, err);
}

pith_status pith__gguf_get_array(const pith__gguf *gguf, const char *key,
                                 pith__gguf_value_type element_type, pith__gguf_array *out,
                                 pith_error *err)
{
    *out = (pith__gguf_array){.type = element_type};
    const pith__gguf_kv *kv = pith__gguf_find(gguf, key);
    return kv == NULL ? fail_missing(key, err) : read_array(kv, key, element_type, out, err);
}

pith_status pith__gguf_get_u32_or(const pith__gguf *gguf, const char *key, uint32_t otherwise,
                                  uint32_t *out, pith_error *err)
{
    *out = otherwise;
    return pith__gguf_find(gguf, key) == NULL ? PITH_OK : pith__gguf_get_u32(gguf, key, out, err);
}

pith_status pith__gguf_get_f32_or(const pith__gguf *gguf, const char *key, float otherwise,
                                  float *out, pith_error *err)
{
    *out = otherwise;
    return pith__gguf_find(gguf, key) == NULL ? PITH_OK : pith__gguf_get_f32(gguf, key, out, err);
}

pith_status pith__gguf_get_bool_or(const pith__gguf *gguf, const char *key, bool otherwise,
                                   bool *out, pith_error *err)
{
    *out = otherwise;
    return pith__gguf_find(gguf, key) == NULL ? PITH_OK : pith__gguf_get_bool(gguf, key, out, err);
}

pith_status pith__gguf_get_string_or(const pith__gguf *gguf, const char *key, const char *otherwise,
                                     pith__gguf_string *out, pith_error *err)
{
    *out = (pith__gguf_string){otherwise, strlen(otherwise)};
    return pith__gguf_find(gguf, key) == NULL ? PITH_OK
                                              : pith__gguf_get_string(gguf, key, out, err);
}

pith_status pith__gguf_get_array_or_empty(const pith__gguf *gguf, const char *key,
                                          pith__gguf_value_type element_type, pith__gguf_array *out,
                                          pith_error *err)
{
    *out = (pith__gguf_array){.type = element_type};
    return pith__gguf_find(gguf, key) == NULL
               ? PITH_OK
               : pith__gguf_get_array(gguf, key, element_type, out, err);
}
