/*
 * compressor.c: pith_compressor: what was trained to put texts into slots, open beside its model.
 */
#include "api/api.h"

#include <string.h>

_Static_assert(PITH__METHOD_500X + PITH__COMPRESSOR_ICAE == PITH__METHOD_ICAE &&
                   PITH__METHOD_500X + PITH__COMPRESSOR_SELFCP == PITH__METHOD_SELFCP,
               "methods of compressors stand in one order");

/* ---- opening ----------------------------------------------------------------------------- */

/* Files that are taken for compressors are mostly other ones of ours. */
static pith_status check_type(const pith__gguf *gguf, pith_error *err)
{
    pith__gguf_string type = {NULL, 0};
    PITH__TRY(pith__gguf_get_string_or(gguf, "general.type", "", &type, err));
    if (pith__gguf_string_equal(type, "adapter")) {
        return pith__fail(err, PITH_E_UNSUPPORTED,
                          "a LoRA adapter, no compressor: it is added to a model when that is "
                          "opened (--lora)");
    }
    if (pith__gguf_string_equal(type, "capsule")) {
        return pith__fail(err, PITH_E_UNSUPPORTED,
                          "a capsule, no compressor: it stands in the place of a text");
    }
    return PITH_OK;
}

static pith_status copy_record(pith_compressor *c, size_t size, pith_error *err)
{
    const char *record = size == 0 ? "{}" : c->about.record;
    pith__buf_init(&c->record, &c->mem, SIZE_MAX);
    PITH__TRY(pith__buf_append(&c->record, record, size == 0 ? strlen(record) : size, err));
    c->about.record = c->record.data;
    return PITH_OK;
}

/* The model with the file's adapter in it. */
static pith_status load_encoder(pith_compressor *c, const pith__gguf *gguf, pith_error *err)
{
    const pith_model *model = c->model;
    pith__adapter adapter;
    if (c->compressor.lora.rank == 0) {
        return PITH_OK;
    }
    PITH__TRY(pith__adapter_open_compressor(gguf, &c->mem, &adapter, err));
    const pith_status status = pith__model_load_adapted(
        &model->gguf, &adapter, model->weights.precision, &c->mem, &c->encoder, err);
    pith__adapter_close(&adapter);
    return status;
}

static pith_status load(pith_compressor *c, const pith__gguf *gguf, pith_error *err)
{
    const pith__model_config *config = &c->model->weights.config;
    pith__binding binding;
    size_t record_size = 0;
    pith__model_binding(c->model, &binding);
    PITH__TRY(check_type(gguf, err));
    PITH__TRY(pith__compressor_load(gguf, config, binding.model, &c->weights, &c->about,
                                    &record_size, err));
    PITH__TRY(copy_record(c, record_size, err));
    PITH__TRY(pith__compressor_of(&c->about.shape, config, &c->weights, c->about.alpha, 0.0f,
                                  &c->mem, &c->compressor, err));
    if (c->about.shape.pads &&
        pith__tokenizer_eos(c->model->tokenizer.tokenizer) == PITH__TOKEN_NONE) {
        return pith__fail(err, PITH_E_UNSUPPORTED,
                          "the compressor pads with the end of a text, and the model has none");
    }
    return load_encoder(c, gguf, err);
}

static pith_status parse_and_load(pith_compressor *c, const void *data, size_t size,
                                  pith_error *err)
{
    pith__gguf gguf = {0};
    PITH__TRY(pith__gguf_parse(data, size, &c->mem, &gguf, err));
    const pith_status status = load(c, &gguf, err);
    pith__gguf_deinit(&gguf);
    return status;
}

pith_status pith_compressor_open_memory(const void *data, size_t size, const pith_model *model,
                                        pith_compressor **out, pith_error *err)
{
    pith_compressor *c = NULL;
    *out = NULL;
    if (model->adapter_sha256[0] != '\0') {
        return pith__fail(err, PITH_E_UNSUPPORTED,
                          "compressors are for models without an adapter: what they write is read "
                          "by the weights as they are in the file");
    }
    PITH__TRY(pith__alloc_zero(&model->mem, 1, sizeof *c, &c, err));
    c->mem = model->mem;
    c->model = model;
    pith__weights_init(&c->weights, &c->mem);
    const pith_status status = parse_and_load(c, data, size, err);
    if (status != PITH_OK) {
        pith_compressor_free(c);
        return status;
    }
    pith__sha256_of(data, size, c->sha256);
    *out = c;
    return PITH_OK;
}

pith_status pith_compressor_open(const char *path, const pith_model *model, pith_compressor **out,
                                 pith_error *err)
{
    pith__file file = {NULL, 0};
    *out = NULL;
    PITH__TRY(pith__file_open(path, &file, err));
    const pith_status status = pith_compressor_open_memory(file.data, file.size, model, out, err);
    pith__file_close(&file);
    return status;
}

void pith_compressor_free(pith_compressor *compressor)
{
    if (compressor == NULL) {
        return;
    }
    const pith_allocator mem = compressor->mem;
    pith__model_deinit(&compressor->encoder);
    pith__compressor_deinit(&compressor->compressor);
    pith__weights_deinit(&compressor->weights);
    pith__buf_deinit(&compressor->record);
    pith__free(&mem, compressor, 1, sizeof *compressor);
}

/* ---- describing ------------------------------------------------------------------------------- */

static uint64_t count_parameters(const pith__weights *weights)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < weights->n_items; i++) {
        sum += (uint64_t)weights->items[i].rows * weights->items[i].cols;
    }
    return sum;
}

pith_compressor_info pith_compressor_describe(const pith_compressor *compressor)
{
    const pith__compressor_about *about = &compressor->about;
    const pith__compressor_shape *shape = &about->shape;
    return (pith_compressor_info){
        .struct_size = sizeof(pith_compressor_info),
        .method = pith__compressor_method_name(shape->method),
        .name = about->name,
        .slots = shape->slots,
        .elastic = shape->elastic,
        .ratio = shape->ratio,
        .window = shape->window,
        .layout = pith__slot_layout_name(shape->layout),
        .position_mode = pith__compressor_position_mode(shape),
        .format = about->format,
        .conditional = about->conditional,
        .parameters = count_parameters(&compressor->weights),
        .record = about->record,
    };
}

/* ---- using ------------------------------------------------------------------------------------- */

pith_status pith_ctx_set_compressor(pith_ctx *ctx, const pith_compressor *compressor,
                                    pith_error *err)
{
    if (compressor == NULL) {
        ctx->compressor = NULL;
        return PITH_OK;
    }
    if (compressor->model != ctx->model) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "the compressor was opened for another model than the context's");
    }
    PITH__TRY(pith_ctx_set(ctx, "method",
                           pith__compressor_method_name(compressor->about.shape.method), err));
    ctx->compressor = compressor;
    return PITH_OK;
}
