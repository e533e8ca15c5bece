/*
 * gguf_codec.c: tensor types: their names and sizes, and the conversion of blocks to floats and back.
 *
 * A new type needs its two functions and one line of the table at the end.
 */
#include "gguf/gguf.h"

#include <math.h>
#include <string.h>

/* Multi-byte values are read with memcpy, so the host has to order bytes as the file does. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian hosts are not supported");

/* ---- half precision ------------------------------------------------------ */

static uint32_t bits_of(float value)
{
    uint32_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* A mask in place of a branch: compilers move computations into branches, then cannot vectorise. */
static uint32_t select_bits(bool condition, uint32_t yes, uint32_t no)
{
    const uint32_t mask = 0U - (uint32_t)condition;
    return (yes & mask) | (no & ~mask);
}

/*
 * Both conversions compute every case and select, so that loops over them become
 * vector code. They never form a subnormal float: results do not depend on whether
 * another library switched those off.
 */
static float half_to_float(uint16_t half)
{
    const uint32_t magnitude = half & 0x7fffU;
    const uint32_t sign = (uint32_t)(half & 0x8000U) << 16;
    const uint32_t special = magnitude >= 0x7c00U ? 0x7f800000U : 0U;
    const uint32_t normal = ((magnitude << 13) + (112U << 23)) | special;
    /* below 2^-14 the fraction counts steps of 2^-24, which a float holds exactly */
    const uint32_t tiny = bits_of((float)(int32_t)magnitude * 0x1p-24F);
    return float_of(sign | select_bits(magnitude < 0x0400U, tiny, normal));
}

static uint16_t float_to_half(float value)
{
    const uint32_t bits = bits_of(value);
    const uint32_t sign = (bits >> 16) & 0x8000U;
    const uint32_t magnitude = bits & 0x7fffffffU;
    /* a carry out of the fraction moves into the exponent, as it should */
    const uint32_t normal = ((magnitude + 0xfffU + ((magnitude >> 13) & 1U)) >> 13) - (112U << 10);
    /* the last bit of floats in [0.5, 1) is 2^-24, so the addition rounds to steps of that */
    const uint32_t tiny = bits_of(float_of(magnitude) + 0.5F) - bits_of(0.5F);
    const uint32_t nan = 0x7e00U | ((magnitude >> 13) & 0x3ffU);
    uint32_t half = select_bits(magnitude < 0x38800000U, tiny, normal);
    half = select_bits(magnitude >= 0x477ff000U, 0x7c00U, half); /* 65520 and more: infinity */
    half = select_bits(magnitude > 0x7f800000U, nan, half);
    return (uint16_t)(sign | half);
}

static float brain_to_float(uint16_t half)
{
    return float_of((uint32_t)half << 16);
}

static uint16_t float_to_brain(float value)
{
    const uint32_t bits = bits_of(value);
    const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
    const uint32_t nan = (bits >> 16) | 0x40U;
    return (uint16_t)((bits & 0x7fffffffU) > 0x7f800000U ? nan : rounded);
}

float pith__gguf_f16_to_f32(uint16_t half)
{
    return half_to_float(half);
}

uint16_t pith__gguf_f32_to_f16(float value)
{
    return float_to_half(value);
}

float pith__gguf_bf16_to_f32(uint16_t half)
{
    return brain_to_float(half);
}

uint16_t pith__gguf_f32_to_bf16(float value)
{
    return float_to_brain(value);
}

static uint16_t load_u16(const unsigned char *src)
{
    uint16_t value = 0;
    memcpy(&value, src, sizeof value);
    return value;
}

static void store_u16(unsigned char *dst, uint16_t value)
{
    memcpy(dst, &value, sizeof value);
}

/* ---- types of one element per block --------------------------------------- */

static void dequantize_f32(const unsigned char *src, float *dst, size_t blocks)
{
    memcpy(dst, src, blocks * sizeof *dst);
}

static void quantize_f32(const float *src, unsigned char *dst, size_t blocks)
{
    memcpy(dst, src, blocks * sizeof *src);
}

static void dequantize_f16(const unsigned char *src, float *dst, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        dst[i] = half_to_float(load_u16(src + 2 * i));
    }
}

static void quantize_f16(const float *src, unsigned char *dst, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        store_u16(dst + 2 * i, float_to_half(src[i]));
    }
}

static void dequantize_bf16(const unsigned char *src, float *dst, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        dst[i] = brain_to_float(load_u16(src + 2 * i));
    }
}

static void quantize_bf16(const float *src, unsigned char *dst, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        store_u16(dst + 2 * i, float_to_brain(src[i]));
    }
}

static void dequantize_i8(const unsigned char *src, float *dst, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        dst[i] = (float)(int8_t)src[i];
    }
}

static void dequantize_i32(const unsigned char *src, float *dst, size_t blocks)
{
    for (size_t i = 0; i < blocks; i++) {
        int32_t value = 0;
        memcpy(&value, src + sizeof value * i, sizeof value);
        dst[i] = (float)value;
    }
}

/* ---- blocks of 32 with one scale ------------------------------------------- */

enum { BLOCK = 32 };

/* The value of largest magnitude, with its sign; the first of several. */
static float extreme_of(const float *values)
{
    float extreme = values[0];
    for (size_t i = 1; i < BLOCK; i++) {
        extreme = fabsf(values[i]) > fabsf(extreme) ? values[i] : extreme;
    }
    return extreme;
}

/*
 * Stores `scale` and returns what to multiply values with. A scale that rounds to zero
 * gives 0: its inverse might be infinite, and the block decodes to zeros anyway.
 */
static float store_scale(unsigned char *dst, float scale)
{
    const uint16_t half = float_to_half(scale);
    store_u16(dst, half);
    return (half & 0x7fffU) == 0 ? 0.0F : 1.0F / scale;
}

/* Q8_0: half scale d, 32 signed bytes q; value d * q. */
enum { Q8_0_BYTES = 2 + BLOCK };

static void dequantize_q8_0(const unsigned char *src, float *dst, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++) {
        const float scale = half_to_float(load_u16(src));
        for (size_t i = 0; i < BLOCK; i++) {
            dst[i] = scale * (float)(int8_t)src[2 + i];
        }
        src += Q8_0_BYTES;
        dst += BLOCK;
    }
}

static void quantize_q8_0(const float *src, unsigned char *dst, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++) {
        const float inverse = store_scale(dst, fabsf(extreme_of(src)) / 127.0F);
        for (size_t i = 0; i < BLOCK; i++) {
            dst[2 + i] = (unsigned char)(int8_t)roundf(src[i] * inverse);
        }
        src += BLOCK;
        dst += Q8_0_BYTES;
    }
}

/*
 * Q5_0: half scale d, 32 fifth bits (bit i of a little-endian word belongs to value i),
 * 16 bytes with the lower four bits of values i (low half) and i + 16 (high half);
 * value d * (q - 16).
 */
enum { Q5_0_BYTES = 2 + 4 + BLOCK / 2 };

static void dequantize_q5_0(const unsigned char *src, float *dst, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++) {
        const float scale = half_to_float(load_u16(src));
        uint32_t fifth = 0;
        memcpy(&fifth, src + 2, sizeof fifth);
        for (size_t i = 0; i < BLOCK / 2; i++) {
            const uint32_t pair = src[6 + i];
            const uint32_t low = (pair & 15U) | (((fifth >> i) & 1U) << 4);
            const uint32_t high = (pair >> 4) | (((fifth >> (i + 16)) & 1U) << 4);
            dst[i] = scale * (float)((int32_t)low - 16);
            dst[i + 16] = scale * (float)((int32_t)high - 16);
        }
        src += Q5_0_BYTES;
        dst += BLOCK;
    }
}

/* -16 .. 15 as 0 .. 31. The extreme value lands on -16; its negative would be 16. */
static uint32_t level_q5(float scaled)
{
    const uint32_t level = (uint32_t)(scaled + 16.5F);
    return level > 31 ? 31 : level;
}

static void quantize_q5_0(const float *src, unsigned char *dst, size_t blocks)
{
    for (size_t b = 0; b < blocks; b++) {
        const float inverse = store_scale(dst, extreme_of(src) / -16.0F);
        uint32_t fifth = 0;
        for (size_t i = 0; i < BLOCK / 2; i++) {
            const uint32_t low = level_q5(src[i] * inverse);
            const uint32_t high = level_q5(src[i + 16] * inverse);
            fifth |= (low >> 4) << i | (high >> 4) << (i + 16);
            dst[6 + i] = (unsigned char)((low & 15U) | (high & 15U) << 4);
        }
        memcpy(dst + 2, &fifth, sizeof fifth);
        src += BLOCK;
        dst += Q5_0_BYTES;
    }
}

/* ---- the table --------------------------------------------------------------- */

#define HALF_MAX 65504.0F

/* Indexed by the number in the file; numbers without a name were withdrawn from the format. */
static const pith__gguf_codec codecs[] = {
    [PITH__GGUF_TYPE_F32] = {"F32", 1, 4, dequantize_f32, quantize_f32, 0},
    [PITH__GGUF_TYPE_F16] = {"F16", 1, 2, dequantize_f16, quantize_f16, 0},
    [PITH__GGUF_TYPE_Q4_0] = {"Q4_0", 32, 18, NULL, NULL, 0},
    [PITH__GGUF_TYPE_Q4_1] = {"Q4_1", 32, 20, NULL, NULL, 0},
    [PITH__GGUF_TYPE_Q5_0] = {"Q5_0", 32, 22, dequantize_q5_0, quantize_q5_0, HALF_MAX * 16},
    [PITH__GGUF_TYPE_Q5_1] = {"Q5_1", 32, 24, NULL, NULL, 0},
    [PITH__GGUF_TYPE_Q8_0] = {"Q8_0", 32, 34, dequantize_q8_0, quantize_q8_0, HALF_MAX * 127},
    [PITH__GGUF_TYPE_Q8_1] = {"Q8_1", 32, 36, NULL, NULL, 0},
    [PITH__GGUF_TYPE_Q2_K] = {"Q2_K", 256, 84, NULL, NULL, 0},
    [PITH__GGUF_TYPE_Q3_K] = {"Q3_K", 256, 110, NULL, NULL, 0},
    [PITH__GGUF_TYPE_Q4_K] = {"Q4_K", 256, 144, NULL, NULL, 0},
    [PITH__GGUF_TYPE_Q5_K] = {"Q5_K", 256, 176, NULL, NULL, 0},
    [PITH__GGUF_TYPE_Q6_K] = {"Q6_K", 256, 210, NULL, NULL, 0},
    [PITH__GGUF_TYPE_Q8_K] = {"Q8_K", 256, 292, NULL, NULL, 0},
    [PITH__GGUF_TYPE_IQ2_XXS] = {"IQ2_XXS", 256, 66, NULL, NULL, 0},
    [PITH__GGUF_TYPE_IQ2_XS] = {"IQ2_XS", 256, 74, NULL, NULL, 0},
    [PITH__GGUF_TYPE_IQ3_XXS] = {"IQ3_XXS", 256, 98, NULL, NULL, 0},
    [PITH__GGUF_TYPE_IQ1_S] = {"IQ1_S", 256, 50, NULL, NULL, 0},
    [PITH__GGUF_TYPE_IQ4_NL] = {"IQ4_NL", 32, 18, NULL, NULL, 0},
    [PITH__GGUF_TYPE_IQ3_S] = {"IQ3_S", 256, 110, NULL, NULL, 0},
    [PITH__GGUF_TYPE_IQ2_S] = {"IQ2_S", 256, 82, NULL, NULL, 0},
    [PITH__GGUF_TYPE_IQ4_XS] = {"IQ4_XS", 256, 136, NULL, NULL, 0},
    [PITH__GGUF_TYPE_I8] = {"I8", 1, 1, dequantize_i8, NULL, 0},
    [PITH__GGUF_TYPE_I16] = {"I16", 1, 2, NULL, NULL, 0},
    [PITH__GGUF_TYPE_I32] = {"I32", 1, 4, dequantize_i32, NULL, 0},
    [PITH__GGUF_TYPE_I64] = {"I64", 1, 8, NULL, NULL, 0},
    [PITH__GGUF_TYPE_F64] = {"F64", 1, 8, NULL, NULL, 0},
    [PITH__GGUF_TYPE_IQ1_M] = {"IQ1_M", 256, 56, NULL, NULL, 0},
    [PITH__GGUF_TYPE_BF16] = {"BF16", 1, 2, dequantize_bf16, quantize_bf16, 0},
    [PITH__GGUF_TYPE_TQ1_0] = {"TQ1_0", 256, 54, NULL, NULL, 0},
    [PITH__GGUF_TYPE_TQ2_0] = {"TQ2_0", 256, 66, NULL, NULL, 0},
    [PITH__GGUF_TYPE_MXFP4] = {"MXFP4", 32, 17, NULL, NULL, 0},
    [PITH__GGUF_TYPE_NVFP4] = {"NVFP4", 64, 36, NULL, NULL, 0},
};

const pith__gguf_codec *pith__gguf_codec_of(pith__gguf_type type)
{
    const size_t index = (size_t)type;
    if (index >= sizeof codecs / sizeof codecs[0] || codecs[index].name == NULL) {
        return NULL;
    }
    return &codecs[index];
}

pith_status pith__gguf_row_size(pith__gguf_type type, uint64_t elements, size_t *bytes,
                                pith_error *err)
{
    *bytes = 0;
    const pith__gguf_codec *codec = pith__gguf_codec_of(type);
    if (codec == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "unknown tensor type %u", (unsigned)type);
    }
    if (elements % codec->block_elements != 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "%llu values are not whole %s blocks of %zu",
                          (unsigned long long)elements, codec->name, codec->block_elements);
    }
    if (__builtin_mul_overflow(elements / codec->block_elements, codec->block_bytes, bytes)) {
        *bytes = 0;
        return pith__fail(err, PITH_E_RANGE, "%llu %s values are too many",
                          (unsigned long long)elements, codec->name);
    }
    return PITH_OK;
}

pith_status pith__gguf_dequantize(pith__gguf_type type, const void *src, float *dst,
                                  size_t elements, pith_error *err)
{
    size_t bytes = 0;
    PITH__TRY(pith__gguf_row_size(type, elements, &bytes, err));
    const pith__gguf_codec *codec = &codecs[type];
    if (codec->dequantize == NULL) {
        return pith__fail(err, PITH_E_UNSUPPORTED, "tensor type %s cannot be read", codec->name);
    }
    if (elements > 0) {
        codec->dequantize(src, dst, elements / codec->block_elements);
    }
    return PITH_OK;
}

static pith_status check_limit(const pith__gguf_codec *codec, const float *values, size_t count,
                               pith_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(values[i]) <= codec->limit)) {
            return pith__fail(err, PITH_E_ARGUMENT, "value %zu, %g, cannot be stored as %s", i,
                              (double)values[i], codec->name);
        }
    }
    return PITH_OK;
}

pith_status pith__gguf_quantize(pith__gguf_type type, const float *src, void *dst, size_t elements,
                                pith_error *err)
{
    size_t bytes = 0;
    PITH__TRY(pith__gguf_row_size(type, elements, &bytes, err));
    const pith__gguf_codec *codec = &codecs[type];
    if (codec->quantize == NULL) {
        return pith__fail(err, PITH_E_UNSUPPORTED, "tensor type %s cannot be written", codec->name);
    }
    if (codec->limit > 0) {
        PITH__TRY(check_limit(codec, src, elements, err));
    }
    if (elements > 0) {
        codec->quantize(src, dst, elements / codec->block_elements);
    }
    return PITH_OK;
}
