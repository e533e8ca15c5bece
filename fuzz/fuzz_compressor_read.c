/*
 * fuzz_compressor_read.c: any bytes as a compressor. What loads must be whole, can be saved again,
 * and its LoRA can be taken for the model; nothing may take more memory than a small multiple of the
 * file.
 */
#include "limited.h"

#include "grad/pass.h"
#include "soft/soft.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The model that the seeds are for. */
static const pith__model_config config = {.layers = 2,
                                          .width = 4,
                                          .heads = 2,
                                          .kv_heads = 1,
                                          .head_dim = 2,
                                          .ff = 6,
                                          .vocabulary = 10,
                                          .context = 64,
                                          .rope_pairs = 1};

/* ---- what loads ---------------------------------------------------------------------------------- */

static void check_about(const pith__compressor_about *about, size_t record_size)
{
    FUZZ_CHECK(pith__compressor_check(&about->shape, config.context, NULL) == PITH_OK);
    FUZZ_CHECK(strlen(about->base_sha256) == PITH__SHA256_SIZE - 1);
    FUZZ_CHECK(strlen(about->name) < sizeof about->name);
    FUZZ_CHECK(strlen(about->format) < sizeof about->format);
    FUZZ_CHECK(record_size >= 2 && about->record[0] == '{');
    FUZZ_CHECK(memchr(about->record, '\0', record_size) == NULL);
}

static void check_weights(const pith__compressor_about *about, const pith__weights *weights)
{
    pith__compressor compressor = {0};
    for (size_t i = 0; i < weights->count; i++) {
        FUZZ_CHECK(isfinite(weights->values[i]));
    }
    FUZZ_CHECK(pith__compressor_of(&about->shape, &config, weights, about->alpha, 0.0f,
                                   &pith__allocator_default, &compressor, NULL) == PITH_OK);
    FUZZ_CHECK((compressor.lora.rank > 0) == (about->shape.method != PITH__COMPRESSOR_SELFCP));
    pith__compressor_deinit(&compressor);
}

static void save_again(const pith__compressor_about *about, const pith__weights *weights)
{
    pith__compressor_about copy = *about;
    pith__gguf_writer writer;
    pith__arena arena;
    copy.record = "{}"; /* that of the file does not end in NUL */
    pith__gguf_writer_init(&writer, &pith__allocator_default);
    pith__arena_init(&arena, &pith__allocator_default);
    FUZZ_CHECK(pith__compressor_add(&copy, &config, weights, false, &arena, &writer, NULL) ==
               PITH_OK);
    pith__arena_deinit(&arena);
    pith__gguf_writer_deinit(&writer);
}

/* ---- adapters -------------------------------------------------------------------------------------- */

/* All that is LoRA is found, and there is nothing else. */
static void take_lora(pith__adapter *adapter)
{
    for (unsigned layer = 0; layer < config.layers; layer++) {
        for (pith__block_matrix m = 0; m < PITH__BLOCK_MATRICES; m++) {
            char name[PITH__WEIGHT_NAME_SIZE];
            pith__adapter_pair pair;
            (void)snprintf(name, sizeof name, "blk.%u.%s.weight", layer,
                           pith__block_matrix_name(m));
            const size_t rows = pith__block_matrix_rows(&config, m);
            const size_t cols = pith__block_matrix_cols(&config, m);
            FUZZ_CHECK(pith__adapter_find(adapter, name, rows, cols, &pair, NULL) == PITH_OK);
        }
    }
    FUZZ_CHECK(pith__adapter_check_used(adapter, NULL) == PITH_OK);
}

/* `method` of a compressor that loads, or NULL. */
static void open_adapter(const pith__gguf *gguf, const pith__compressor_method *method)
{
    pith__adapter adapter = {0};
    const pith_status status =
        pith__adapter_open_compressor(gguf, &pith__allocator_default, &adapter, NULL);
    if (method != NULL && *method != PITH__COMPRESSOR_SELFCP) {
        FUZZ_CHECK(status == PITH_OK);
        take_lora(&adapter);
    }
    if (status == PITH_OK) { /* then it is none by itself */
        pith__adapter other = {0};
        FUZZ_CHECK(pith__adapter_open(gguf, &pith__allocator_default, &other, NULL) ==
                   PITH_E_UNSUPPORTED);
    }
    pith__adapter_close(&adapter);
}

/* ---- a file ---------------------------------------------------------------------------------------- */

static void load(const pith__gguf *gguf, size_t size)
{
    limited memory = {.limit = 32 * size + 32768}; /* 29 tensors of this model are laid out first */
    const pith_allocator mem = {&memory, limited_realloc};
    pith__weights weights;
    pith__compressor_about about;
    size_t record_size = 0;
    pith__weights_init(&weights, &mem);
    const pith_status status =
        pith__compressor_load(gguf, &config, NULL, &weights, &about, &record_size, NULL);
    if (status == PITH_OK) {
        check_about(&about, record_size);
        check_weights(&about, &weights);
        save_again(&about, &weights);
    } else {
        FUZZ_CHECK(status == PITH_E_CORRUPT || status == PITH_E_UNSUPPORTED ||
                   status == PITH_E_MISMATCH);
    }
    open_adapter(gguf, status == PITH_OK ? &about.shape.method : NULL);
    pith__weights_deinit(&weights);
    FUZZ_CHECK(memory.live == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) /* NOLINT(*-identifier-naming) */
{
    pith__gguf gguf = {0};
    if (pith__gguf_parse(data, size, &pith__allocator_default, &gguf, NULL) == PITH_OK) {
        load(&gguf, size);
    }
    pith__gguf_deinit(&gguf);
    return 0;
}
