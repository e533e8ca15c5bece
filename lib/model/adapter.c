/*
 * adapter.c: LoRA adapters in the layout of llama.cpp (its convert_lora_to_gguf.py and
 * llama-adapter.cpp), and the hash that ties ours to their model.
 */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define SUFFIX_SIZE 7 /* ".lora_a" */

/* "blk.N.attn_q.weight.lora_a" and the like are far below it. */
#define NAME_SIZE 128

/* What else a compressor is made of. */
#define COMPRESSOR_PREFIX "compressor."

/* ---- keys ----------------------------------------------------------------------------------- */

static pith_status expect_string(const pith__gguf *gguf, const char *key, const char *expected,
                                 pith_status otherwise, pith_error *err)
{
    pith__gguf_string value = {NULL, 0};
    PITH__TRY(pith__gguf_get_string_or(gguf, key, "", &value, err));
    if (!pith__gguf_string_equal(value, expected)) {
        char printable[48];
        return pith__fail(err, otherwise, "%s is \"%s\", that of a LoRA adapter for us is \"%s\"",
                          key, pith__gguf_printable(value, printable, sizeof printable), expected);
    }
    return PITH_OK;
}

/* `type` is "adapter" or "compressor". */
static pith_status check_type(const pith__gguf *gguf, const char *type, pith_error *err)
{
    pith__gguf_string found = {NULL, 0};
    PITH__TRY(pith__gguf_get_string_or(gguf, "general.type", "", &found, err));
    if (pith__gguf_string_equal(found, "compressor") && strcmp(type, "adapter") == 0) {
        return pith__fail(err, PITH_E_UNSUPPORTED,
                          "this is a compressor, which works beside the untouched model, and no "
                          "adapter");
    }
    return expect_string(gguf, "general.type", type, PITH_E_UNSUPPORTED, err);
}

static pith_status read_keys(pith__adapter *adapter, const char *type, pith_error *err)
{
    const pith__gguf *gguf = adapter->gguf;
    PITH__TRY(check_type(gguf, type, err));
    PITH__TRY(expect_string(gguf, "adapter.type", "lora", PITH_E_UNSUPPORTED, err));
    PITH__TRY(expect_string(gguf, "general.architecture", "llama", PITH_E_MISMATCH, err));
    if (pith__gguf_find(gguf, "adapter.alora.invocation_tokens") != NULL) {
        return pith__fail(err, PITH_E_UNSUPPORTED,
                          "an adapter that begins at invocation tokens: not supported");
    }
    PITH__TRY(pith__gguf_get_f32_or(gguf, "adapter.lora.alpha", 0.0f, &adapter->alpha, err));
    if (!isfinite(adapter->alpha)) {
        return pith__fail(err, PITH_E_CORRUPT, "adapter.lora.alpha is no finite number");
    }
    return PITH_OK;
}

pith_status pith__adapter_check_base(const pith__adapter *adapter, const char *sha256,
                                     pith_error *err)
{
    pith__gguf_string made_for = {NULL, 0};
    PITH__TRY(pith__gguf_get_string_or(adapter->gguf, PITH__ADAPTER_BASE, sha256, &made_for, err));
    if (!pith__gguf_string_equal(made_for, sha256)) {
        char printable[PITH__SHA256_SIZE];
        return pith__fail(err, PITH_E_MISMATCH,
                          "the adapter was made for the model with SHA-256 %s, this one has %s",
                          pith__gguf_printable(made_for, printable, sizeof printable), sha256);
    }
    return PITH_OK;
}

/* ---- tensors -------------------------------------------------------------------------------- */

/* The tensor whose name is `stem` with `suffix`; NULL if there is none. */
static const pith__gguf_tensor *find_factor(const pith__gguf *gguf, pith__gguf_string stem,
                                            const char *suffix)
{
    char name[NAME_SIZE];
    if (stem.size >= sizeof name - SUFFIX_SIZE) {
        return NULL;
    }
    (void)snprintf(name, sizeof name, "%.*s%s", (int)stem.size, stem.data, suffix);
    return pith__gguf_find_tensor(gguf, name);
}

static pith_status refuse_tensor(const pith__gguf_tensor *tensor, pith_status status,
                                 const char *reason, pith_error *err)
{
    char printable[80];
    return pith__fail_at(err, status, tensor->offset, "tensor %s: %s",
                         pith__gguf_printable(tensor->name, printable, sizeof printable), reason);
}

static bool is_readable(const pith__gguf_tensor *tensor)
{
    const pith__gguf_codec *codec = pith__gguf_codec_of(tensor->type);
    return codec != NULL && codec->dequantize != NULL && tensor->type != PITH__GGUF_TYPE_I8;
}

/* Every tensor is half of a pair whose halves fit each other. */
static pith_status check_tensor(const pith__gguf *gguf, const pith__gguf_tensor *tensor,
                                pith_error *err)
{
    const pith__gguf_string name = tensor->name;
    const bool is_a = pith__gguf_string_ends_with(name, ".lora_a");
    if (!is_a && !pith__gguf_string_ends_with(name, ".lora_b")) {
        return refuse_tensor(tensor, PITH_E_UNSUPPORTED, "no factor of a LoRA adapter", err);
    }
    const pith__gguf_string stem = {name.data, name.size - SUFFIX_SIZE};
    if (pith__gguf_string_equal(stem, "token_embd.weight")) {
        return refuse_tensor(tensor, PITH_E_UNSUPPORTED, "embeddings cannot be adapted", err);
    }
    const pith__gguf_tensor *other = find_factor(gguf, stem, is_a ? ".lora_b" : ".lora_a");
    if (other == NULL) {
        return refuse_tensor(tensor, PITH_E_CORRUPT, "the other factor is missing", err);
    }
    if (tensor->dims[2] != 1 || tensor->dims[3] != 1 || !is_readable(tensor)) {
        return refuse_tensor(tensor, PITH_E_UNSUPPORTED, "no matrix of numbers we can read", err);
    }
    if (is_a && tensor->dims[1] != other->dims[0]) {
        return refuse_tensor(tensor, PITH_E_CORRUPT, "the two factors differ in rank", err);
    }
    return PITH_OK;
}

static bool is_of_compressor(pith__gguf_string name)
{
    const size_t size = sizeof COMPRESSOR_PREFIX - 1;
    return name.size >= size && memcmp(name.data, COMPRESSOR_PREFIX, size) == 0;
}

/* Takes the factors; what a compressor has besides them counts as used. */
static pith_status take_tensors(pith__adapter *adapter, bool of_compressor, pith_error *err)
{
    const pith__gguf *gguf = adapter->gguf;
    size_t factors = 0;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        if (of_compressor && is_of_compressor(gguf->tensors[i].name)) {
            adapter->used[i] = true;
        } else {
            PITH__TRY(check_tensor(gguf, &gguf->tensors[i], err));
            factors++;
        }
    }
    return factors > 0 ? PITH_OK : pith__fail(err, PITH_E_CORRUPT, "the adapter has no tensors");
}

static pith_status open_as(const pith__gguf *gguf, const char *type, const pith_allocator *mem,
                           pith__adapter *out, pith_error *err)
{
    *out = (pith__adapter){.mem = *mem, .gguf = gguf};
    pith_status status = read_keys(out, type, err);
    if (status == PITH_OK) {
        status = pith__alloc_zero(mem, gguf->n_tensors, sizeof *out->used, &out->used, err);
    }
    if (status == PITH_OK) {
        status = take_tensors(out, strcmp(type, "compressor") == 0, err);
    }
    if (status != PITH_OK) {
        pith__adapter_close(out);
    }
    return status;
}

pith_status pith__adapter_open(const pith__gguf *gguf, const pith_allocator *mem,
                               pith__adapter *out, pith_error *err)
{
    return open_as(gguf, "adapter", mem, out, err);
}

pith_status pith__adapter_open_compressor(const pith__gguf *gguf, const pith_allocator *mem,
                                          pith__adapter *out, pith_error *err)
{
    return open_as(gguf, "compressor", mem, out, err);
}

void pith__adapter_close(pith__adapter *adapter)
{
    if (adapter->gguf != NULL) {
        pith__free(&adapter->mem, adapter->used, adapter->gguf->n_tensors, sizeof *adapter->used);
    }
    *adapter = (pith__adapter){0};
}

static pith_status check_shape(const pith__gguf_tensor *tensor, const char *side, uint64_t found,
                               size_t expected, pith_error *err)
{
    if (found == expected) {
        return PITH_OK;
    }
    char printable[80];
    return pith__fail_at(err, PITH_E_MISMATCH, tensor->offset,
                         "tensor %s has %llu %s, this model's matrix %zu: an adapter of another "
                         "model",
                         pith__gguf_printable(tensor->name, printable, sizeof printable),
                         (unsigned long long)found, side, expected);
}

pith_status pith__adapter_find(pith__adapter *adapter, const char *name, size_t rows, size_t cols,
                               pith__adapter_pair *out, pith_error *err)
{
    const pith__gguf *gguf = adapter->gguf;
    const pith__gguf_string stem = {name, strlen(name)};
    const pith__gguf_tensor *a = find_factor(gguf, stem, ".lora_a");
    const pith__gguf_tensor *b = find_factor(gguf, stem, ".lora_b");
    *out = (pith__adapter_pair){0};
    if (a == NULL || b == NULL) { /* both: the adapter is open */
        return PITH_OK;
    }
    PITH__TRY(check_shape(a, "inputs", a->dims[0], cols, err));
    PITH__TRY(check_shape(b, "outputs", b->dims[1], rows, err));
    adapter->used[a - gguf->tensors] = true;
    adapter->used[b - gguf->tensors] = true;
    const size_t rank = (size_t)a->dims[1];
    *out = (pith__adapter_pair){
        .a = a,
        .b = b,
        .rank = rank,
        .scale = adapter->alpha == 0.0f ? 1.0f : adapter->alpha / (float)rank,
    };
    return PITH_OK;
}

pith_status pith__adapter_check_used(const pith__adapter *adapter, pith_error *err)
{
    for (size_t i = 0; i < adapter->gguf->n_tensors; i++) {
        if (!adapter->used[i]) {
            return refuse_tensor(&adapter->gguf->tensors[i], PITH_E_MISMATCH,
                                 "this model has no such matrix: an adapter of another model", err);
        }
    }
    return PITH_OK;
}

/* ---- adding ---------------------------------------------------------------------------------- */

static pith_status expand(const pith__gguf_tensor *tensor, pith__arena *arena, const float **out,
                          pith_error *err)
{
    const size_t count = (size_t)tensor->elements;
    float *values = NULL;
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *values, &values, err));
    PITH__TRY(pith__gguf_dequantize(tensor->type, tensor->data, values, count, err));
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i])) {
            return refuse_tensor(tensor, PITH_E_CORRUPT, "holds what is no finite number", err);
        }
    }
    *out = values;
    return PITH_OK;
}

pith_status pith__delta_of(const pith__adapter_pair *pair, pith__arena *arena, pith__delta *out,
                           pith_error *err)
{
    *out = (pith__delta){.rank = pair->rank,
                         .rows = (size_t)pair->b->dims[1],
                         .cols = (size_t)pair->a->dims[0],
                         .scale = pair->scale};
    PITH__TRY(expand(pair->a, arena, &out->a, err));
    return expand(pair->b, arena, &out->b, err);
}

void pith__delta_add(const pith__delta *delta, size_t row, float *values)
{
    for (size_t k = 0; k < delta->rank; k++) {
        const float factor = delta->scale * delta->b[row * delta->rank + k];
        const float *a = delta->a + k * delta->cols;
        for (size_t i = 0; i < delta->cols; i++) {
            values[i] += factor * a[i];
        }
    }
}
