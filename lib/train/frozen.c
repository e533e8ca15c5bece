/*
 * frozen.c: a model file that is read and not changed.
 */
#include "train/frozen.h"

pith_status pith__frozen_open(const char *path, const void *data, size_t size,
                              const pith_allocator *mem, pith__frozen *out, pith_error *err)
{
    if (path != NULL) {
        PITH__TRY(pith__file_open(path, &out->file, err));
        out->is_mapped = true;
    } else if (data != NULL) {
        out->file = (pith__file){.data = data, .size = size};
    } else {
        return pith__fail(err, PITH_E_ARGUMENT, "a model is needed");
    }
    PITH__TRY(pith__gguf_parse(out->file.data, out->file.size, mem, &out->gguf, err));
    PITH__TRY(pith__tokenizer_from_gguf(&out->gguf, mem, &out->tokenizer, err));
    PITH__TRY(pith__model_load(&out->gguf, PITH_PRECISION_F32, mem, &out->model, err));
    pith__sha256_of(out->file.data, out->file.size, out->sha256);
    const uint32_t tokens = pith__tokenizer_size(out->tokenizer);
    return tokens <= out->model.config.vocabulary
               ? PITH_OK
               : pith__fail(err, PITH_E_CORRUPT, "the tokenizer has %u tokens, the model %u",
                            tokens, out->model.config.vocabulary);
}

void pith__frozen_close(pith__frozen *frozen)
{
    pith__model_deinit(&frozen->model);
    pith__tokenizer_free(frozen->tokenizer);
    pith__gguf_deinit(&frozen->gguf);
    if (frozen->is_mapped) {
        pith__file_close(&frozen->file);
    }
}
