/*
 * binding.c: what a model is to capsules: the hashes that they name, and how it was trained to gist.
 */
#include "api/api.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* ---- hashes ------------------------------------------------------------------------------ */

enum { UNKNOWN, BEING_WRITTEN, KNOWN };

/* A model does not change, and what is known of it is the same for all threads. */
struct pith__hashes {
    atomic_int state;
    char model[PITH__SHA256_SIZE];
    char tokenizer[PITH__SHA256_SIZE];
};

pith_status pith__hashes_new(const pith_allocator *mem, struct pith__hashes **out, pith_error *err)
{
    PITH__TRY(pith__alloc_zero(mem, 1, sizeof **out, out, err));
    atomic_init(&(*out)->state, UNKNOWN);
    return PITH_OK;
}

void pith__hashes_free(const pith_allocator *mem, struct pith__hashes *hashes)
{
    pith__free(mem, hashes, 1, sizeof *hashes);
}

void pith__model_binding(const pith_model *model, pith__binding *out)
{
    struct pith__hashes *hashes = model->hashes;
    int expected = UNKNOWN;
    memcpy(out->adapter, model->adapter_sha256, sizeof out->adapter);
    if (atomic_load_explicit(&hashes->state, memory_order_acquire) == KNOWN) {
        memcpy(out->model, hashes->model, sizeof out->model);
        memcpy(out->tokenizer, hashes->tokenizer, sizeof out->tokenizer);
        return;
    }
    /* threads that come here together all do the work; one of them keeps it */
    pith__sha256_of(model->data, model->size, out->model);
    pith__tokenizer_sha256(model->tokenizer.tokenizer, out->tokenizer);
    if (atomic_compare_exchange_strong(&hashes->state, &expected, BEING_WRITTEN)) {
        memcpy(hashes->model, out->model, sizeof out->model);
        memcpy(hashes->tokenizer, out->tokenizer, sizeof out->tokenizer);
        atomic_store_explicit(&hashes->state, KNOWN, memory_order_release);
    }
}

/* ---- gist --------------------------------------------------------------------------------- */

static pith_status copy_text(const pith__gguf *gguf, const char *key, const pith_allocator *mem,
                             pith__buf *out, pith_error *err)
{
    pith__gguf_string text = {NULL, 0};
    pith__buf_init(out, mem, SIZE_MAX);
    PITH__TRY(pith__gguf_get_string_or(gguf, key, "", &text, err));
    return pith__buf_append(out, text.data, text.size, err);
}

static pith_status copy_row(const pith__gguf *gguf, const pith__model_config *config,
                            const pith_allocator *mem, pith__gist_keys *out, pith_error *err)
{
    pith__gguf_array row = {.count = 0};
    PITH__TRY(pith__gguf_get_array(gguf, PITH__GIST_ROW, PITH__GGUF_VALUE_F32, &row, err));
    if (row.count != config->width) {
        (void)pith__fail(err, PITH_E_CORRUPT, PITH__GIST_ROW " has %zu numbers, the model's are %u",
                         row.count, config->width);
        return PITH_E_CORRUPT;
    }
    PITH__TRY(pith__alloc(mem, row.count, sizeof *out->row, &out->row, err));
    out->row_size = row.count;
    for (size_t i = 0; i < row.count; i++) {
        out->row[i] = pith__gguf_array_f32(&row, i);
        if (!isfinite(out->row[i])) {
            return pith__fail(err, PITH_E_CORRUPT, PITH__GIST_ROW ": number %zu is not finite", i);
        }
    }
    return PITH_OK;
}

pith_status pith__gist_keys_read(const pith__gguf *gguf, const pith__model_config *config,
                                 const pith_allocator *mem, pith__gist_keys *out, pith_error *err)
{
    if (pith__gguf_find(gguf, PITH__GIST_SLOTS) == NULL) {
        return PITH_OK;
    }
    PITH__TRY(pith__gguf_get_u32(gguf, PITH__GIST_SLOTS, &out->slots, err));
    if (out->slots == 0 || out->slots >= config->context) {
        return pith__fail(err, PITH_E_CORRUPT, PITH__GIST_SLOTS ": %u is outside 1 to %u",
                          out->slots, config->context - 1);
    }
    if (pith__gguf_find(gguf, PITH__GIST_ROW) != NULL) {
        PITH__TRY(copy_row(gguf, config, mem, out, err));
    } else {
        PITH__TRY(pith__gguf_get_u32(gguf, PITH__GIST_TOKEN, &out->token, err));
        if (out->token >= config->vocabulary) {
            return pith__fail(err, PITH_E_CORRUPT, PITH__GIST_TOKEN ": there is no token %u",
                              out->token);
        }
    }
    PITH__TRY(copy_text(gguf, PITH__GIST_PREFIX, mem, &out->prefix, err));
    PITH__TRY(copy_text(gguf, PITH__GIST_MIDDLE, mem, &out->middle, err));
    return copy_text(gguf, PITH__GIST_SUFFIX, mem, &out->suffix, err);
}

void pith__gist_keys_deinit(pith__gist_keys *keys, const pith_allocator *mem)
{
    pith__free(mem, keys->row, keys->row_size, sizeof *keys->row);
    pith__buf_deinit(&keys->prefix);
    pith__buf_deinit(&keys->middle);
    pith__buf_deinit(&keys->suffix);
    *keys = (pith__gist_keys){.slots = 0};
}
