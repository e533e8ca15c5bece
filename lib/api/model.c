/*
 * model.c: pith_model and pith_tokenizer: opening, describing, releasing.
 */
#include "api/api.h"
#include "api/builtin.h"

#include <assert.h>
#include <string.h>

/* ---- model ------------------------------------------------------------------------------ */

/* An empty model as the options, copied to *o with what they lack, ask for it. */
static pith_status new_model(const pith_model_options *options, pith_model **out,
                             pith_model_options *o, pith_error *err)
{
    *o = (pith_model_options){.struct_size = sizeof *o};
    if (options != NULL) {
        if (options->struct_size < sizeof o->struct_size || options->struct_size > sizeof *o) {
            (void)pith__fail(err, PITH_E_ARGUMENT,
                             "pith_model_options: struct_size is %zu, not at most %zu",
                             options->struct_size, sizeof *o);
            return PITH_E_ARGUMENT;
        }
        const size_t lora = offsetof(pith_model_options, lora);
        const bool has_lora = options->struct_size >= lora + sizeof o->lora;
        memcpy(o, options, options->struct_size < lora || has_lora ? options->struct_size : lora);
    }
    if (o->precision > PITH_PRECISION_INT8) {
        (void)pith__fail(err, PITH_E_ARGUMENT, "pith_model_options: no precision %d",
                         (int)o->precision);
        return PITH_E_ARGUMENT;
    }
    const pith_allocator *mem = o->allocator == NULL ? &pith__allocator_default : o->allocator;
    PITH__TRY(pith__alloc_zero(mem, 1, sizeof **out, out, err));
    (*out)->mem = *mem;
    (*out)->tokenizer.mem = *mem;
    (*out)->log = (pith__log){o->log, o->log_user};
    return pith__hashes_new(mem, &(*out)->hashes, err);
}

static void copy_name(pith_model *model)
{
    pith__gguf_string name = {"", 0};
    if (pith__gguf_get_string_or(&model->gguf, "general.name", "", &name, NULL) == PITH_OK &&
        name.size > 0) {
        (void)pith__gguf_printable(name, model->name, sizeof model->name);
    }
}

/* ---- adapter ----------------------------------------------------------------------------- */

typedef struct adapter_file {
    pith__file file;
    pith__gguf gguf;
    pith__adapter adapter;
} adapter_file;

static void close_adapter(adapter_file *a)
{
    pith__adapter_close(&a->adapter);
    pith__gguf_deinit(&a->gguf);
    pith__file_close(&a->file);
}

static pith_status open_adapter(const char *path, const pith_allocator *mem, adapter_file *out,
                                pith_error *err)
{
    *out = (adapter_file){0};
    pith_error reason;
    pith_status status = pith__file_open(path, &out->file, &reason);
    if (status == PITH_OK) {
        status = pith__gguf_parse(out->file.data, out->file.size, mem, &out->gguf, &reason);
    }
    if (status == PITH_OK) {
        status = pith__adapter_open(&out->gguf, mem, &out->adapter, &reason);
    }
    if (status != PITH_OK) { /* the offset would be one of another file than the caller's */
        close_adapter(out);
        (void)pith__fail(err, status, "adapter \"%.80s\": %s", path, reason.message);
    }
    return status;
}

/* Adds the adapter if it was made for this file or does not say for which it was. */
static pith_status load_adapted(pith_model *model, const void *data, size_t size,
                                pith__adapter *adapter, pith_precision precision, pith_error *err)
{
    if (pith__gguf_find(adapter->gguf, PITH__ADAPTER_BASE) != NULL) {
        char sha256[PITH__SHA256_SIZE];
        pith__sha256_of(data, size, sha256);
        PITH__TRY(pith__adapter_check_base(adapter, sha256, err));
    }
    return pith__model_load_adapted(&model->gguf, adapter, precision, &model->mem, &model->weights,
                                    err);
}

static pith_status load_weights(pith_model *model, const void *data, size_t size,
                                const pith_model_options *o, pith_error *err)
{
    if (o->lora == NULL) {
        return pith__model_load(&model->gguf, o->precision, &model->mem, &model->weights, err);
    }
    adapter_file a;
    PITH__TRY(open_adapter(o->lora, &model->mem, &a, err));
    pith_status status = load_adapted(model, data, size, &a.adapter, o->precision, err);
    if (status == PITH_OK) { /* the file is closed afterwards */
        pith__sha256_of(a.file.data, a.file.size, model->adapter_sha256);
        status =
            pith__gist_keys_read(&a.gguf, &model->weights.config, &model->mem, &model->gist, err);
    }
    close_adapter(&a);
    return status;
}

/* ---- opening ----------------------------------------------------------------------------- */

static pith_status load(pith_model *model, const void *data, size_t size,
                        const pith_model_options *o, pith_error *err)
{
    model->data = data;
    model->size = size;
    PITH__TRY(pith__gguf_parse(data, size, &model->mem, &model->gguf, err));
    PITH__TRY(load_weights(model, data, size, o, err));
    PITH__TRY(
        pith__tokenizer_from_gguf(&model->gguf, &model->mem, &model->tokenizer.tokenizer, err));
    const uint32_t tokens = pith__tokenizer_size(model->tokenizer.tokenizer);
    if (tokens > model->weights.config.vocabulary) {
        return pith__fail(err, PITH_E_CORRUPT, "the tokenizer has %u tokens, the model %u", tokens,
                          model->weights.config.vocabulary);
    }
    if (model->gist.slots == 0) { /* the adapter has not said */
        PITH__TRY(pith__gist_keys_read(&model->gguf, &model->weights.config, &model->mem,
                                       &model->gist, err));
    }
    copy_name(model);
    if (model->weights.precision == PITH_PRECISION_INT8 &&
        model->weights.ops->weight_limit() < 127) {
        pith__log_print(&model->log, PITH_LOG_INFO,
                        "this processor adds int8 products in 16 bits: weights have 7 bits");
    }
    return PITH_OK;
}

pith_status pith_model_open_memory(const void *data, size_t size, const pith_model_options *options,
                                   pith_model **out, pith_error *err)
{
    pith_model *model = NULL;
    *out = NULL;
    pith_model_options o;
    pith_status status = new_model(options, &model, &o, err);
    if (status == PITH_OK) {
        assert(model != NULL);
        status = load(model, data, size, &o, err);
    }
    if (status != PITH_OK) {
        pith_model_free(model);
        return status;
    }
    *out = model;
    return PITH_OK;
}

pith_status pith_model_open(const char *path, const pith_model_options *options, pith_model **out,
                            pith_error *err)
{
    *out = NULL;
    if (path == NULL) {
        const size_t size = (size_t)(pith__builtin_model_end - pith__builtin_model);
        return pith_model_open_memory(pith__builtin_model, size, options, out, err);
    }
    pith__file file = {NULL, 0};
    PITH__TRY(pith__file_open(path, &file, err));
    const pith_status status = pith_model_open_memory(file.data, file.size, options, out, err);
    if (status != PITH_OK) {
        pith__file_close(&file);
        return status;
    }
    (*out)->file = file;
    return PITH_OK;
}

void pith_model_free(pith_model *model)
{
    if (model == NULL) {
        return;
    }
    pith__tokenizer_free(model->tokenizer.tokenizer);
    pith__gist_keys_deinit(&model->gist, &model->mem);
    pith__hashes_free(&model->mem, model->hashes);
    pith__model_deinit(&model->weights);
    pith__gguf_deinit(&model->gguf);
    pith__file_close(&model->file);
    const pith_allocator mem = model->mem;
    pith__free(&mem, model, 1, sizeof *model);
}

pith_model_info pith_model_describe(const pith_model *model)
{
    const pith__model_config *c = &model->weights.config;
    return (pith_model_info){.name = model->name,
                             .architecture = "llama",
                             .parameters = model->weights.parameters,
                             .weight_bytes = model->weights.weight_bytes,
                             .context = c->context,
                             .vocabulary = c->vocabulary,
                             .layers = c->layers,
                             .width = c->width,
                             .precision = model->weights.precision};
}

/* ---- counting tokenizer ---------------------------------------------------------------------- */

static pith_status load_tokenizer(pith_tokenizer *tokenizer, const pith__file *file,
                                  const char *path, pith_error *err)
{
    if (file->size < 4 || memcmp(file->data, "GGUF", 4) != 0) {
        const char *name = strrchr(path, '/');
        return pith__tokenizer_from_ranks(file->data, file->size, name == NULL ? path : name + 1,
                                          &tokenizer->mem, &tokenizer->tokenizer, err);
    }
    pith__gguf gguf = {0};
    PITH__TRY(pith__gguf_parse(file->data, file->size, &tokenizer->mem, &gguf, err));
    const pith_status status =
        pith__tokenizer_from_gguf(&gguf, &tokenizer->mem, &tokenizer->tokenizer, err);
    pith__gguf_deinit(&gguf);
    return status;
}

pith_status pith_tokenizer_open(const char *path, const pith_allocator *allocator,
                                pith_tokenizer **out, pith_error *err)
{
    const pith_allocator *mem = allocator == NULL ? &pith__allocator_default : allocator;
    pith_tokenizer *tokenizer = NULL;
    pith__file file = {NULL, 0};
    *out = NULL;
    PITH__TRY(pith__file_open(path, &file, err));
    pith_status status = pith__alloc_zero(mem, 1, sizeof *tokenizer, &tokenizer, err);
    if (status == PITH_OK) {
        tokenizer->mem = *mem;
        status = load_tokenizer(tokenizer, &file, path, err);
    }
    pith__file_close(&file);
    if (status != PITH_OK) {
        pith_tokenizer_free(tokenizer);
        return status;
    }
    *out = tokenizer;
    return PITH_OK;
}

void pith_tokenizer_free(pith_tokenizer *tokenizer)
{
    if (tokenizer == NULL) {
        return;
    }
    pith__tokenizer_free(tokenizer->tokenizer);
    const pith_allocator mem = tokenizer->mem;
    pith__free(&mem, tokenizer, 1, sizeof *tokenizer);
}

const pith_tokenizer *pith_model_tokenizer(const pith_model *model)
{
    return &model->tokenizer;
}

pith_status pith_tokenizer_count(const pith_tokenizer *tokenizer, const char *text, size_t size,
                                 size_t *count, pith_error *err)
{
    return pith__tokenizer_count(tokenizer->tokenizer, text, size, &tokenizer->mem, count, err);
}
