/*
 * capsule_fixture.h: small capsules, and their files as bytes that can be changed and sealed again.
 */
#ifndef PITH_CAPSULE_FIXTURE_H
#define PITH_CAPSULE_FIXTURE_H

#include "soft/soft.h"

#include "test.h"

#include <unistd.h>

/* ---- capsules --------------------------------------------------------------------------------- */

/* Multiples of 1/64 from -0.78 to 0.78: exact in f32 and f16. */
static inline void sample_fill(float *numbers, size_t count, size_t salt)
{
    for (size_t i = 0; i < count; i++) {
        numbers[i] = (float)((int)((i * 37 + salt * 11) % 101) - 50) / 64.0f;
    }
}

/* 2 slots of embeddings of width 6, or of keys and values of 2 layers of width 4; no field is 0. */
static inline pith_status sample_new(pith__capsule_kind kind, const pith_allocator *mem,
                                     pith__capsule **out, pith_error *err)
{
    static const char record[] = "{\"steps\": 100, \"name\": \"\xc3\xa9\"}";
    const bool kv = kind == PITH__CAPSULE_KV;
    PITH__TRY(
        pith__capsule_new(kind, kv ? "gist" : "cc", 2, kv ? 2 : 0, kv ? 4 : 6, mem, out, err));
    pith__capsule *capsule = *out;
    if (kv) {
        sample_fill(capsule->keys, (size_t)2 * 2 * 4, 1);
        sample_fill(capsule->values, (size_t)2 * 2 * 4, 2);
        (void)snprintf(capsule->position_mode, sizeof capsule->position_mode, "continue");
        capsule->positions[0] = 5;
        capsule->positions[1] = 7;
        capsule->advance = 9;
    } else {
        sample_fill(capsule->embeddings, (size_t)2 * 6, 3);
    }
    capsule->source_bytes = UINT64_C(5000000000);
    capsule->source_tokens = UINT64_C(6000000000);
    capsule->bos = true;
    pith__sha256_of("source", 6, capsule->source_sha256);
    pith__sha256_of("model", 5, capsule->binding.model);
    pith__sha256_of("tokenizer", 9, capsule->binding.tokenizer);
    pith__sha256_of("adapter", 7, capsule->binding.adapter);
    const pith_status status = pith__capsule_set_record(capsule, record, sizeof record - 1, err);
    if (status != PITH_OK) {
        pith__capsule_free(capsule);
        *out = NULL;
    }
    return status;
}

static inline pith__capsule *sample(pith__capsule_kind kind)
{
    pith__capsule *capsule = NULL;
    pith_error err = {0};
    assert_ok(sample_new(kind, &pith__allocator_default, &capsule, &err), err);
    return capsule;
}

/* ---- files as bytes ------------------------------------------------------------------------------ */

typedef struct bytes {
    unsigned char *data; /* of exactly this size, so that a sanitizer sees the first byte beyond */
    size_t size;
} bytes;

static inline bytes bytes_copy(const void *data, size_t size)
{
    bytes copy = {malloc(size == 0 ? 1 : size), size};
    assert_non_null(copy.data);
    memcpy(copy.data, data, size);
    return copy;
}

static inline void bytes_free(bytes *file)
{
    free(file->data);
    *file = (bytes){NULL, 0};
}

/* A path for one file that is about to be read and removed; in memory, if possible. */
static inline const char *scratch_path(void)
{
    static char path[96];
    (void)snprintf(path, sizeof path, "%s/pith-capsule-%ld",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", (long)getpid());
    return path;
}

/* What pith__capsule_save() writes. */
static inline bytes bytes_of(const pith__capsule *capsule, pith__capsule_type type)
{
    pith_error err = {0};
    assert_ok(pith__capsule_save(capsule, type, scratch_path(), &err), err);
    size_t size = 0;
    char *data = test_read_file(scratch_path(), &size);
    const bytes file = bytes_copy(data, size);
    free(data);
    (void)unlink(scratch_path());
    return file;
}

static inline bytes sample_bytes(pith__capsule_kind kind, pith__capsule_type type)
{
    pith__capsule *capsule = sample(kind);
    const bytes file = bytes_of(capsule, type);
    pith__capsule_free(capsule);
    return file;
}

/* Puts the right checksum to the end, whatever was changed before it. */
static inline void bytes_seal(bytes *file)
{
    assert_true(file->size >= PITH__SHA256_BYTES);
    unsigned char *end = file->data + file->size - PITH__SHA256_BYTES;
    pith__sha256 hash;
    memset(end, 0, PITH__SHA256_BYTES);
    pith__sha256_init(&hash);
    pith__sha256_add(&hash, file->data, file->size);
    pith__sha256_bytes(&hash, end);
}

/* Offsets in a file that can be parsed: of a value, of a key, of a tensor's data, of its name. */
typedef enum bytes_what { AT_VALUE, AT_KEY, AT_TENSOR, AT_NAME } bytes_what;

static inline size_t bytes_find(const bytes *file, bytes_what what, const char *name)
{
    pith__gguf gguf;
    pith_error err = {0};
    assert_ok(pith__gguf_parse(file->data, file->size, &pith__allocator_default, &gguf, &err), err);
    const pith__gguf_kv *kv = pith__gguf_find(&gguf, name);
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(&gguf, name);
    size_t at = 0;
    if (what == AT_VALUE || what == AT_KEY) {
        assert_non_null(kv);
        at = what == AT_VALUE ? kv->offset
                              : (size_t)((const unsigned char *)kv->key.data - file->data);
    } else {
        assert_non_null(tensor);
        at = what == AT_TENSOR ? tensor->offset
                               : (size_t)((const unsigned char *)tensor->name.data - file->data);
    }
    pith__gguf_deinit(&gguf);
    return at;
}

/* Overwrites `size` bytes at `skip` bytes after what is named, and seals. */
static inline void bytes_patch(bytes *file, bytes_what what, const char *name, size_t skip,
                               const void *with, size_t size)
{
    const size_t at = bytes_find(file, what, name) + skip;
    assert_true(at + size <= file->size);
    memcpy(file->data + at, with, size);
    bytes_seal(file);
}

static inline void bytes_patch_u32(bytes *file, const char *key, uint32_t value)
{
    bytes_patch(file, AT_VALUE, key, 0, &value, sizeof value);
}

#endif /* PITH_CAPSULE_FIXTURE_H */
