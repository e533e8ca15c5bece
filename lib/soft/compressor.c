/*
 * compressor.c: what a compressor is made of, and where its slots stand.
 */
#include "soft/soft.h"

#include <string.h>

const char *pith__compressor_method_name(pith__compressor_method method)
{
    static const char *const names[] = {[PITH__COMPRESSOR_500X] = "500x",
                                        [PITH__COMPRESSOR_ICAE] = "icae",
                                        [PITH__COMPRESSOR_SELFCP] = "selfcp"};
    return names[method];
}

static bool is_selfcp(const pith__compressor_shape *shape)
{
    return shape->method == PITH__COMPRESSOR_SELFCP;
}

/* ---- shapes ----------------------------------------------------------------------------------- */

static pith_status check_slots(const pith__compressor_shape *shape, uint32_t context,
                               pith_error *err)
{
    const uint32_t most =
        is_selfcp(shape) && shape->ratio > 0 ? shape->window / shape->ratio : shape->slots;
    if (is_selfcp(shape) ? shape->slots != 0 || shape->ratio == 0
                         : shape->slots == 0 || shape->ratio != 0) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "a compressor of method %s with %u slots and %u tokens per slot",
                          pith__compressor_method_name(shape->method), shape->slots, shape->ratio);
    }
    if (shape->window == 0 || shape->window >= context || most > context - shape->window) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "a window of %u tokens and %u slots, the model's context is %u",
                          shape->window, most, context);
    }
    return PITH_OK;
}

pith_status pith__compressor_check(const pith__compressor_shape *shape, uint32_t context,
                                   pith_error *err)
{
    if ((unsigned)shape->method > PITH__COMPRESSOR_SELFCP ||
        (unsigned)shape->layout > PITH__SLOTS_END || (unsigned)shape->mode > PITH__SLOTS_RELEASE) {
        return pith__fail(err, PITH_E_ARGUMENT, "method %d, layout %d, position mode %d",
                          (int)shape->method, (int)shape->layout, (int)shape->mode);
    }
    if (shape->mode == PITH__SLOTS_RELEASE && shape->method != PITH__COMPRESSOR_500X) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "position mode release is of keys and values: of method 500x");
    }
    if (is_selfcp(shape) ? shape->pads : shape->has_norm) {
        return pith__fail(err, PITH_E_ARGUMENT, "method %s has no %s",
                          pith__compressor_method_name(shape->method),
                          is_selfcp(shape) ? "padding" : "norm");
    }
    return check_slots(shape, context, err);
}

size_t pith__compressor_segments(const pith__compressor_shape *shape, size_t count)
{
    return count / shape->window + (count % shape->window != 0);
}

pith_status pith__compressor_slots_of(const pith__compressor_shape *shape, size_t count,
                                      uint32_t wanted, uint32_t *out, pith_error *err)
{
    *out = wanted;
    if (is_selfcp(shape)) {
        const size_t by_ratio = count / shape->ratio;
        if (wanted == 0) {
            *out = by_ratio == 0 ? 1 : (uint32_t)by_ratio;
        } else if (wanted > count) {
            *out = (uint32_t)count;
        }
        return PITH_OK;
    }
    if (wanted == 0) {
        *out = shape->slots;
    } else if (wanted > shape->slots || (wanted < shape->slots && !shape->elastic)) {
        return pith__fail(err, PITH_E_ARGUMENT, "%u slots, the compressor was trained with %s%u",
                          wanted, shape->elastic ? "1 to " : "", shape->slots);
    }
    return PITH_OK;
}

void pith__compressor_places(const pith__compressor_shape *shape, size_t count, uint32_t slots,
                             uint32_t *positions, uint32_t *advance)
{
    const bool spread = shape->layout == PITH__SLOTS_UNIFORM;
    for (uint32_t j = 0; j < slots; j++) {
        positions[j] = spread ? (uint32_t)((2 * (uint64_t)j + 1) * count / (2 * (uint64_t)slots))
                              : (uint32_t)(count + j);
    }
    if (shape->mode == PITH__SLOTS_RELEASE) {
        *advance = slots;
    } else {
        *advance = (uint32_t)(spread ? count : count + slots);
    }
}

/* ---- tensors ---------------------------------------------------------------------------------- */

static pith_status lay_out_connector(const pith__compressor_shape *shape, size_t width,
                                     pith__weights *weights, pith_error *err)
{
    PITH__TRY(pith__weights_add(weights, PITH__COMPRESSOR_MATRIX, PITH__WEIGHT_MATRIX, width, width,
                                err));
    PITH__TRY(
        pith__weights_add(weights, PITH__COMPRESSOR_BIAS, PITH__WEIGHT_VECTOR, 1, width, err));
    if (shape->has_norm) {
        PITH__TRY(
            pith__weights_add(weights, PITH__COMPRESSOR_GAIN, PITH__WEIGHT_VECTOR, 1, width, err));
        PITH__TRY(
            pith__weights_add(weights, PITH__COMPRESSOR_SHIFT, PITH__WEIGHT_VECTOR, 1, width, err));
    }
    return pith__weights_add(weights, PITH__COMPRESSOR_TAGS, PITH__WEIGHT_EMBEDDING, 2, width, err);
}

pith_status pith__compressor_layout(const pith__compressor_shape *shape,
                                    const pith__model_config *config, uint32_t rank,
                                    unsigned matrices, pith__weights *weights, pith_error *err)
{
    PITH__TRY(pith__compressor_check(shape, config->context, err));
    if (is_selfcp(shape)) {
        return lay_out_connector(shape, config->width, weights, err);
    }
    PITH__TRY(pith__lora_layout(config, rank, matrices, weights, err));
    return pith__weights_add(weights, PITH__COMPRESSOR_SLOTS, PITH__WEIGHT_EMBEDDING, shape->slots,
                             config->width, err);
}

static pith_status find(const pith__weights *weights, const char *name, size_t rows, size_t cols,
                        const float **out, pith_error *err)
{
    const pith__weight *weight = pith__weights_find(weights, name);
    if (weight == NULL || weight->rows != rows || weight->cols != cols) {
        return pith__fail(err, PITH_E_ARGUMENT, "%s is not there as (%zu, %zu)", name, rows, cols);
    }
    *out = weights->values + weight->at;
    return PITH_OK;
}

static pith_status find_connector(const pith__weights *weights, pith__compressor *out,
                                  pith_error *err)
{
    const size_t d = out->width;
    PITH__TRY(find(weights, PITH__COMPRESSOR_MATRIX, d, d, &out->matrix, err));
    PITH__TRY(find(weights, PITH__COMPRESSOR_BIAS, 1, d, &out->bias, err));
    if (out->shape.has_norm) {
        PITH__TRY(find(weights, PITH__COMPRESSOR_GAIN, 1, d, &out->gain, err));
        PITH__TRY(find(weights, PITH__COMPRESSOR_SHIFT, 1, d, &out->shift, err));
    }
    return find(weights, PITH__COMPRESSOR_TAGS, 2, d, &out->tags, err);
}

pith_status pith__compressor_of(const pith__compressor_shape *shape,
                                const pith__model_config *config, const pith__weights *weights,
                                float alpha, float dropout, const pith_allocator *mem,
                                pith__compressor *out, pith_error *err)
{
    *out = (pith__compressor){.shape = *shape, .width = config->width};
    PITH__TRY(pith__compressor_check(shape, config->context, err));
    if (is_selfcp(shape)) {
        return find_connector(weights, out, err);
    }
    PITH__TRY(find(weights, PITH__COMPRESSOR_SLOTS, shape->slots, config->width, &out->slots, err));
    return pith__lora_of(config, weights, alpha, dropout, mem, &out->lora, err);
}

void pith__compressor_deinit(pith__compressor *compressor)
{
    pith__lora_deinit(&compressor->lora);
    *compressor = (pith__compressor){0};
}
