/*
 * compressor_file.c: compressors as GGUF files; docs/compressor.md describes the format.
 *
 * Apart from general.type and the tensors "compressor.*", a file with LoRA is laid out like an adapter,
 * so that pith__adapter_open_compressor() can add the factors to the model.
 */
#include "soft/capsule.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VERSION = 1, LABEL_BYTES = 64 };

#define KEY(name) "pith.compressor." name

const char *pith__slot_layout_name(pith__slot_layout layout)
{
    return layout == PITH__SLOTS_END ? "end" : "uniform";
}

const char *pith__compressor_position_mode(const pith__compressor_shape *shape)
{
    if (shape->method != PITH__COMPRESSOR_500X) {
        return "compact";
    }
    return shape->mode == PITH__SLOTS_RELEASE ? "release" : "continue";
}

static bool has_lora(const pith__compressor_shape *shape)
{
    return shape->method != PITH__COMPRESSOR_SELFCP;
}

static bool is_sha256(const char *text)
{
    return strspn(text, "0123456789abcdef") == PITH__SHA256_SIZE - 1 &&
           text[PITH__SHA256_SIZE - 1] == '\0';
}

/* Of factor A in the first block, which tells rank and matrices of all. */
static void first_factor(pith__block_matrix matrix, char name[PITH__WEIGHT_NAME_SIZE])
{
    (void)snprintf(name, PITH__WEIGHT_NAME_SIZE, "blk.0.%s.weight.lora_a",
                   pith__block_matrix_name(matrix));
}

/* ---- saving: what may be saved ------------------------------------------------------------------- */

static pith_status check_about(const pith__compressor_about *about,
                               const pith__model_config *config, pith_error *err)
{
    PITH__TRY(pith__compressor_check(&about->shape, config->context, err));
    if (has_lora(&about->shape) && (!isfinite(about->alpha) || about->alpha == 0.0f)) {
        return pith__fail(err, PITH_E_ARGUMENT, "LoRA's alpha is %g", (double)about->alpha);
    }
    if (about->conditional && has_lora(&about->shape)) {
        return pith__fail(err, PITH_E_ARGUMENT, "only method selfcp reads a question first");
    }
    if (!is_sha256(about->base_sha256)) {
        return pith__fail(err, PITH_E_ARGUMENT, "a compressor is bound to a model file's SHA-256");
    }
    return pith__capsule_check_record(about->record, strlen(about->record), PITH_E_ARGUMENT, err);
}

/* `weights` are those of `expected` and no others. */
static pith_status check_same(const pith__weights *expected, const pith__weights *weights,
                              pith_error *err)
{
    for (size_t i = 0; i < expected->n_items; i++) {
        const pith__weight *wanted = &expected->items[i];
        const pith__weight *found = pith__weights_find(weights, wanted->name);
        if (found == NULL || found->rows != wanted->rows || found->cols != wanted->cols) {
            return pith__fail(err, PITH_E_ARGUMENT, "%s is not there as (%zu, %zu)", wanted->name,
                              wanted->rows, wanted->cols);
        }
    }
    if (weights->n_items != expected->n_items) {
        return pith__fail(err, PITH_E_ARGUMENT, "%zu tensors, such a compressor has %zu",
                          weights->n_items, expected->n_items);
    }
    return PITH_OK;
}

static pith_status check_weights(const pith__compressor_shape *shape,
                                 const pith__model_config *config, const pith__weights *weights,
                                 pith_error *err)
{
    unsigned matrices = 0;
    size_t rank = 0;
    for (pith__block_matrix m = 0; m < PITH__BLOCK_MATRICES; m++) {
        char name[PITH__WEIGHT_NAME_SIZE];
        first_factor(m, name);
        const pith__weight *a = pith__weights_find(weights, name);
        matrices |= a == NULL ? 0 : 1u << m;
        rank = a == NULL ? rank : a->rows;
    }
    pith__weights expected;
    pith__weights_init(&expected, &weights->mem);
    pith_status status =
        pith__compressor_layout(shape, config, (uint32_t)rank, matrices, &expected, err);
    if (status == PITH_OK) {
        status = check_same(&expected, weights, err);
    }
    pith__weights_deinit(&expected);
    return status;
}

/* ---- saving -------------------------------------------------------------------------------------- */

static pith_status add_text(pith__gguf_writer *writer, const char *key, const char *text,
                            pith_error *err)
{
    return pith__gguf_writer_add_string(writer, key, text, strlen(text), err);
}

static pith_status add_texts(pith__gguf_writer *w, const pith__compressor_about *about,
                             pith_error *err)
{
    const pith__compressor_shape *shape = &about->shape;
    PITH__TRY(add_text(w, "general.type", "compressor", err));
    PITH__TRY(add_text(w, "general.architecture", "llama", err));
    PITH__TRY(add_text(w, "general.name", about->name, err));
    if (has_lora(shape)) {
        PITH__TRY(add_text(w, "adapter.type", "lora", err));
        PITH__TRY(pith__gguf_writer_add_f32(w, "adapter.lora.alpha", about->alpha, err));
    }
    PITH__TRY(add_text(w, PITH__ADAPTER_BASE, about->base_sha256, err));
    PITH__TRY(pith__gguf_writer_add_u32(w, KEY("version"), VERSION, err));
    PITH__TRY(add_text(w, KEY("method"), pith__compressor_method_name(shape->method), err));
    PITH__TRY(add_text(w, KEY("layout"), pith__slot_layout_name(shape->layout), err));
    PITH__TRY(add_text(w, KEY("position_mode"), pith__compressor_position_mode(shape), err));
    PITH__TRY(add_text(w, KEY("format"), about->format, err));
    return add_text(w, KEY("record"), about->record, err);
}

static pith_status add_numbers(pith__gguf_writer *w, const pith__compressor_about *about,
                               pith_error *err)
{
    const pith__compressor_shape *shape = &about->shape;
    PITH__TRY(pith__gguf_writer_add_u32(w, KEY("slots"), shape->slots, err));
    PITH__TRY(pith__gguf_writer_add_bool(w, KEY("elastic"), shape->elastic, err));
    PITH__TRY(pith__gguf_writer_add_u32(w, KEY("ratio"), shape->ratio, err));
    PITH__TRY(pith__gguf_writer_add_u32(w, KEY("window"), shape->window, err));
    PITH__TRY(pith__gguf_writer_add_bool(w, KEY("pads"), shape->pads, err));
    PITH__TRY(pith__gguf_writer_add_bool(w, KEY("has_norm"), shape->has_norm, err));
    return pith__gguf_writer_add_bool(w, KEY("conditional"), about->conditional, err);
}

static pith_status add_tensor(pith__gguf_writer *writer, const pith__weight *weight,
                              const float *values, bool half, pith__arena *arena, pith_error *err)
{
    const size_t count = weight->rows * weight->cols;
    const bool vector = weight->kind == PITH__WEIGHT_VECTOR;
    const bool narrow = half && !vector;
    uint16_t *narrowed = NULL;
    PITH__TRY(pith__capsule_check_numbers(values, count, narrow ? PITH__F16_END : INFINITY,
                                          weight->name, PITH_E_RANGE, err));
    if (narrow) {
        PITH__TRY(pith__arena_alloc(arena, count, sizeof *narrowed, &narrowed, err));
        PITH__TRY(pith__gguf_quantize(PITH__GGUF_TYPE_F16, values, narrowed, count, err));
    }
    const pith__gguf_tensor tensor = {.name = {weight->name, strlen(weight->name)},
                                      .n_dims = vector ? 1 : 2,
                                      .dims = {weight->cols, weight->rows, 1, 1},
                                      .type = narrow ? PITH__GGUF_TYPE_F16 : PITH__GGUF_TYPE_F32,
                                      .data = narrow ? (const unsigned char *)narrowed
                                                     : (const unsigned char *)values};
    return pith__gguf_writer_add_tensor(writer, &tensor, err);
}

pith_status pith__compressor_add(const pith__compressor_about *about,
                                 const pith__model_config *config, const pith__weights *weights,
                                 bool half, pith__arena *arena, pith__gguf_writer *writer,
                                 pith_error *err)
{
    PITH__TRY(check_about(about, config, err));
    PITH__TRY(check_weights(&about->shape, config, weights, err));
    PITH__TRY(add_texts(writer, about, err));
    PITH__TRY(add_numbers(writer, about, err));
    for (size_t i = 0; i < weights->n_items; i++) {
        const pith__weight *weight = &weights->items[i];
        PITH__TRY(add_tensor(writer, weight, weights->values + weight->at, half, arena, err));
    }
    return PITH_OK;
}

/* ---- loading: keys ------------------------------------------------------------------------------- */

typedef struct loading {
    pith__capsule_in in; /* the file, as the readers of keys want it; borrowed */
    const pith__gguf *gguf;
    const pith__model_config *config; /* NULL: the keys alone are looked at */
    pith__weights *weights;
    pith__compressor_about *about;
    pith_error *err;
} loading;

/* A text of fewer than `size` bytes. */
static pith_status read_text(const loading *l, const char *key, char *out, size_t size)
{
    pith__gguf_string found = {NULL, 0};
    PITH__TRY(pith__gguf_get_string(l->gguf, key, &found, l->err));
    return pith__capsule_in_copy(&l->in, key, found, out, size);
}

/* A compressor of a version we know. */
static pith_status read_type(const loading *l)
{
    pith__gguf_string type = {NULL, 0};
    PITH__TRY(pith__gguf_get_string_or(l->gguf, "general.type", "", &type, l->err));
    if (pith__gguf_string_equal(type, "model") || type.size == 0) { /* older models do not say it */
        return pith__fail(l->err, PITH_E_UNSUPPORTED,
                          "a model, no compressor: general.type is not \"compressor\"");
    }
    if (!pith__gguf_string_equal(type, "compressor")) {
        char label[LABEL_BYTES];
        return pith__fail(l->err, PITH_E_UNSUPPORTED,
                          "general.type is \"%s\", that of a compressor is \"compressor\"",
                          pith__gguf_printable(type, label, sizeof label));
    }
    uint32_t version = 0;
    PITH__TRY(pith__gguf_get_u32(l->gguf, KEY("version"), &version, l->err));
    if (version != VERSION) {
        return pith__fail(l->err, version == 0 ? PITH_E_CORRUPT : PITH_E_UNSUPPORTED,
                          "a compressor of version %" PRIu32 ", version %d is what is known here",
                          version, VERSION);
    }
    return pith__capsule_in_expect(&l->in, "general.architecture", "llama");
}

static pith_status read_base(const loading *l, const char *expected)
{
    char *found = l->about->base_sha256;
    PITH__TRY(read_text(l, PITH__ADAPTER_BASE, found, sizeof l->about->base_sha256));
    if (!is_sha256(found)) {
        return pith__fail(l->err, PITH_E_CORRUPT, "%s is no SHA-256 in hexadecimal",
                          PITH__ADAPTER_BASE);
    }
    if (expected != NULL && strcmp(found, expected) != 0) {
        return pith__fail(l->err, PITH_E_MISMATCH,
                          "the compressor was made for the model with SHA-256 %s, this one has %s",
                          found, expected);
    }
    return PITH_OK;
}

static pith_status read_method(const loading *l)
{
    pith__compressor_shape *shape = &l->about->shape;
    pith__gguf_string found = {NULL, 0};
    PITH__TRY(pith__gguf_get_string(l->gguf, KEY("method"), &found, l->err));
    for (int i = PITH__COMPRESSOR_500X; i <= PITH__COMPRESSOR_SELFCP; i++) {
        shape->method = (pith__compressor_method)i;
        if (pith__gguf_string_equal(found, pith__compressor_method_name(shape->method))) {
            return PITH_OK;
        }
    }
    char label[LABEL_BYTES];
    return pith__fail(l->err, PITH_E_UNSUPPORTED, "%s is \"%s\", which is not known here",
                      KEY("method"), pith__gguf_printable(found, label, sizeof label));
}

/* Layout and mode: one of two each, and the mode of embeddings one of one. */
static pith_status read_places(const loading *l)
{
    pith__compressor_shape *shape = &l->about->shape;
    pith__gguf_string found = {NULL, 0};
    PITH__TRY(pith__gguf_get_string(l->gguf, KEY("layout"), &found, l->err));
    shape->layout = PITH__SLOTS_END;
    if (!pith__gguf_string_equal(found, pith__slot_layout_name(PITH__SLOTS_END))) {
        shape->layout = PITH__SLOTS_UNIFORM;
        PITH__TRY(pith__capsule_in_expect(&l->in, KEY("layout"),
                                          pith__slot_layout_name(PITH__SLOTS_UNIFORM)));
    }
    PITH__TRY(pith__gguf_get_string(l->gguf, KEY("position_mode"), &found, l->err));
    shape->mode = PITH__SLOTS_RELEASE;
    if (!pith__gguf_string_equal(found, "release")) {
        shape->mode = PITH__SLOTS_CONTINUE;
        return pith__capsule_in_expect(&l->in, KEY("position_mode"),
                                       pith__compressor_position_mode(shape));
    }
    return PITH_OK;
}

static pith_status read_numbers(const loading *l)
{
    pith__compressor_shape *shape = &l->about->shape;
    PITH__TRY(pith__gguf_get_u32(l->gguf, KEY("slots"), &shape->slots, l->err));
    PITH__TRY(pith__gguf_get_bool(l->gguf, KEY("elastic"), &shape->elastic, l->err));
    PITH__TRY(pith__gguf_get_u32(l->gguf, KEY("ratio"), &shape->ratio, l->err));
    PITH__TRY(pith__gguf_get_u32(l->gguf, KEY("window"), &shape->window, l->err));
    PITH__TRY(pith__gguf_get_bool(l->gguf, KEY("pads"), &shape->pads, l->err));
    PITH__TRY(pith__gguf_get_bool(l->gguf, KEY("has_norm"), &shape->has_norm, l->err));
    PITH__TRY(pith__gguf_get_bool(l->gguf, KEY("conditional"), &l->about->conditional, l->err));
    if (l->about->conditional && has_lora(shape)) {
        return pith__fail(l->err, PITH_E_CORRUPT, "method %s reads no question first",
                          pith__compressor_method_name(shape->method));
    }
    return PITH_OK;
}

/* What cannot be is the file's fault; what is too long for this model, another model's. */
static pith_status check_shape(const loading *l)
{
    pith_error reason = {0};
    if (pith__compressor_check(&l->about->shape, UINT32_MAX, &reason) != PITH_OK) {
        return pith__fail(l->err, PITH_E_CORRUPT, "%s", reason.message);
    }
    if (l->config != NULL &&
        pith__compressor_check(&l->about->shape, l->config->context, &reason) != PITH_OK) {
        return pith__fail(l->err, PITH_E_MISMATCH, "%s", reason.message);
    }
    return PITH_OK;
}

static pith_status read_alpha(const loading *l)
{
    if (!has_lora(&l->about->shape)) {
        return PITH_OK;
    }
    float *alpha = &l->about->alpha;
    PITH__TRY(pith__capsule_in_expect(&l->in, "adapter.type", "lora"));
    PITH__TRY(pith__gguf_get_f32(l->gguf, "adapter.lora.alpha", alpha, l->err));
    if (!isfinite(*alpha) || *alpha == 0.0f) {
        return pith__fail(l->err, PITH_E_CORRUPT, "adapter.lora.alpha is %g", (double)*alpha);
    }
    return PITH_OK;
}

static pith_status read_record(const loading *l, size_t *size)
{
    pith__gguf_string record = {NULL, 0};
    PITH__TRY(pith__gguf_get_string(l->gguf, KEY("record"), &record, l->err));
    PITH__TRY(pith__capsule_check_record(record.data, record.size, PITH_E_CORRUPT, l->err));
    l->about->record = record.data;
    *size = record.size;
    return PITH_OK;
}

static pith_status read_keys(const loading *l, const char *base_sha256, size_t *record_size)
{
    PITH__TRY(read_type(l));
    PITH__TRY(read_base(l, base_sha256));
    PITH__TRY(read_method(l));
    PITH__TRY(read_places(l));
    PITH__TRY(read_numbers(l));
    PITH__TRY(check_shape(l));
    PITH__TRY(read_alpha(l));
    PITH__TRY(read_text(l, "general.name", l->about->name, sizeof l->about->name));
    PITH__TRY(read_text(l, KEY("format"), l->about->format, sizeof l->about->format));
    return read_record(l, record_size);
}

pith_status pith__compressor_read_about(const pith__gguf *gguf, pith__compressor_about *about,
                                        size_t *record_size, pith_error *err)
{
    const loading l = {.in = {.gguf = *gguf, .err = err}, .gguf = gguf, .about = about, .err = err};
    *about = (pith__compressor_about){.record = NULL};
    *record_size = 0;
    return read_keys(&l, NULL, record_size);
}

/* ---- loading: tensors ---------------------------------------------------------------------------- */

/* Names and shapes that a file with such keys has, for this model. */
static pith_status lay_out(const loading *l)
{
    unsigned matrices = 0;
    uint64_t rank = 0;
    for (pith__block_matrix m = 0; m < PITH__BLOCK_MATRICES; m++) {
        char name[PITH__WEIGHT_NAME_SIZE];
        first_factor(m, name);
        const pith__gguf_tensor *a = pith__gguf_find_tensor(l->gguf, name);
        matrices |= a == NULL ? 0 : 1u << m;
        rank = a == NULL ? rank : a->dims[1];
    }
    pith_error reason = {0};
    const pith_status status = pith__compressor_layout(
        &l->about->shape, l->config, rank > UINT32_MAX ? UINT32_MAX : (uint32_t)rank, matrices,
        l->weights, &reason);
    if (status == PITH_OK) {
        return PITH_OK;
    }
    return pith__fail(l->err, status == PITH_E_ARGUMENT ? PITH_E_CORRUPT : status, "%s",
                      reason.message);
}

static pith_status check_tensor(const loading *l, const pith__weight *weight)
{
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(l->gguf, weight->name);
    if (tensor == NULL) {
        (void)pith__fail(l->err, PITH_E_CORRUPT, "tensor %s is missing", weight->name);
        return PITH_E_CORRUPT;
    }
    if (tensor->dims[0] != weight->cols || tensor->dims[1] != weight->rows ||
        tensor->dims[2] != 1 || tensor->dims[3] != 1) {
        return pith__fail_at(
            l->err, PITH_E_MISMATCH, tensor->info_offset,
            "tensor %s is (%" PRIu64 ", %" PRIu64 "), for this model it would be (%zu, %zu)",
            weight->name, tensor->dims[1], tensor->dims[0], weight->rows, weight->cols);
    }
    const bool vector = weight->kind == PITH__WEIGHT_VECTOR;
    if (tensor->type != PITH__GGUF_TYPE_F32 && (vector || tensor->type != PITH__GGUF_TYPE_F16)) {
        return pith__fail_at(l->err, PITH_E_UNSUPPORTED, tensor->info_offset,
                             "tensor %s has numbers of type %s", weight->name,
                             pith__gguf_codec_of(tensor->type)->name);
    }
    return PITH_OK;
}

static bool is_known(const pith__weights *weights, pith__gguf_string name)
{
    for (size_t i = 0; i < weights->n_items; i++) {
        if (pith__gguf_string_equal(name, weights->items[i].name)) {
            return true;
        }
    }
    return false;
}

/* Every tensor is there and none besides: now the sizes are bounded by that of the file. */
static pith_status check_tensors(const loading *l)
{
    for (size_t i = 0; i < l->weights->n_items; i++) {
        PITH__TRY(check_tensor(l, &l->weights->items[i]));
    }
    for (size_t i = 0; i < l->gguf->n_tensors; i++) {
        const pith__gguf_tensor *tensor = &l->gguf->tensors[i];
        if (!is_known(l->weights, tensor->name)) {
            char label[LABEL_BYTES];
            return pith__fail_at(l->err, PITH_E_CORRUPT, tensor->info_offset,
                                 "tensor %s is none of such a compressor",
                                 pith__gguf_printable(tensor->name, label, sizeof label));
        }
    }
    return PITH_OK;
}

static pith_status fill(const loading *l)
{
    for (size_t i = 0; i < l->weights->n_items; i++) {
        const pith__weight *weight = &l->weights->items[i];
        const pith__gguf_tensor *tensor = pith__gguf_find_tensor(l->gguf, weight->name);
        const size_t count = weight->rows * weight->cols;
        float *values = l->weights->values + weight->at;
        if (tensor != NULL) { /* check_tensors() has seen it */
            PITH__TRY(pith__gguf_dequantize(tensor->type, tensor->data, values, count, l->err));
        }
        PITH__TRY(pith__capsule_check_numbers(values, count, INFINITY, weight->name, PITH_E_CORRUPT,
                                              l->err));
    }
    return PITH_OK;
}

pith_status pith__compressor_load(const pith__gguf *gguf, const pith__model_config *config,
                                  const char *base_sha256, pith__weights *weights,
                                  pith__compressor_about *about, size_t *record_size,
                                  pith_error *err)
{
    const loading l = {.in = {.gguf = *gguf, .err = err},
                       .gguf = gguf,
                       .config = config,
                       .weights = weights,
                       .about = about,
                       .err = err};
    *about = (pith__compressor_about){.record = NULL};
    *record_size = 0;
    PITH__TRY(read_keys(&l, base_sha256, record_size));
    PITH__TRY(lay_out(&l));
    PITH__TRY(check_tensors(&l));
    PITH__TRY(pith__weights_allocate(weights, err));
    return fill(&l);
}
