/*
 * fuzz_capsule_read.c: any bytes as a capsule, as they are and with the right checksum. What parses
 * must be whole, and nothing may take more memory than a small multiple of the file.
 */
#include "limited.h"

#include "soft/soft.h"

#include <math.h>
#include <string.h>

/* ---- what parses --------------------------------------------------------------------------------- */

static void check_hash(const char *hash)
{
    FUZZ_CHECK(strlen(hash) == 0 || strlen(hash) == PITH__SHA256_SIZE - 1);
}

static void check_numbers(const float *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        FUZZ_CHECK(isfinite(numbers[i]));
    }
}

static void check_capsule(const pith__capsule *c)
{
    const bool kv = c->kind == PITH__CAPSULE_KV;
    const size_t numbers = (size_t)c->slots * c->width * (kv ? c->layers : 1);
    FUZZ_CHECK(numbers > 0 && (kv || c->layers == 0));
    FUZZ_CHECK(pith__capsule_bytes(c, PITH__CAPSULE_F32) == (kv ? 2 : 1) * numbers * sizeof(float));
    for (size_t i = 0; i < c->slots; i++) {
        FUZZ_CHECK(c->positions[i] < c->advance);
    }
    if (kv) {
        check_numbers(c->keys, numbers);
        check_numbers(c->values, numbers);
    } else {
        check_numbers(c->embeddings, numbers);
    }
    FUZZ_CHECK(strlen(c->method) > 0 && strlen(c->method) < sizeof c->method);
    FUZZ_CHECK(strlen(c->record) == c->record_size && c->record[0] == '{');
    check_hash(c->source_sha256);
    check_hash(c->binding.model);
    check_hash(c->binding.tokenizer);
    check_hash(c->binding.adapter);
    const pith__model_config config = {
        .layers = c->layers, .width = c->width, .kv_heads = 1, .head_dim = c->width};
    FUZZ_CHECK(pith__capsule_check(c, &config, &c->binding, NULL) == PITH_OK);
}

static void read_file(const uint8_t *data, size_t size)
{
    limited memory = {.limit = 32 * size + 4096};
    const pith_allocator mem = {&memory, limited_realloc};
    pith__capsule *capsule = NULL;
    const pith_status status = pith__capsule_parse(data, size, &mem, &capsule, NULL);
    FUZZ_CHECK((status == PITH_OK) == (capsule != NULL));
    if (capsule != NULL) {
        check_capsule(capsule);
    } else {
        FUZZ_CHECK(status == PITH_E_CORRUPT || status == PITH_E_UNSUPPORTED);
    }
    pith__capsule_free(capsule);
    FUZZ_CHECK(memory.live == 0);
}

/* ---- the checksum ---------------------------------------------------------------------------------- */

/* Puts the right checksum to the end: nobody finds it by chance. */
static void seal(uint8_t *data, size_t size)
{
    uint8_t *end = data + size - PITH__SHA256_BYTES;
    pith__sha256 hash;
    memset(end, 0, PITH__SHA256_BYTES);
    pith__sha256_init(&hash);
    pith__sha256_add(&hash, data, size);
    pith__sha256_bytes(&hash, end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) /* NOLINT(*-identifier-naming) */
{
    read_file(data, size);
    uint8_t *copy = size < PITH__SHA256_BYTES ? NULL : malloc(size);
    if (copy != NULL) {
        memcpy(copy, data, size);
        seal(copy, size);
        read_file(copy, size);
        free(copy);
    }
    return 0;
}
