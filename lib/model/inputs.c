/*
 * inputs.c: what a pass starts from: embeddings of ids and the angles of positions.
 */
#include "model/model.h"

#include <math.h>

pith_status pith__model_embedding(const pith__model *model, uint32_t id, float *out,
                                  pith_error *err)
{
    const pith__gguf_tensor *tensor = &model->embedding;
    const size_t width = model->config.width;
    const size_t row_bytes = tensor->size / (size_t)tensor->dims[1];
    PITH__TRY(pith__gguf_dequantize(tensor->type, tensor->data + id * row_bytes, out, width, err));
    for (size_t j = 0; model->embedding_scale != NULL && j < width; j++) {
        out[j] *= model->embedding_scale[id];
    }
    return PITH_OK;
}

/* scale * base^(-2i / dims) / factor[i], in double before rounding. */
static double frequency_of(const pith__model *model, size_t pair)
{
    const pith__model_config *c = &model->config;
    const double frequency = pow((double)c->rope_base, -(double)pair / (double)c->rope_pairs);
    const double factor = model->rope_factors == NULL ? 1.0 : (double)model->rope_factors[pair];
    return (double)c->rope_scale * frequency / factor;
}

pith_status pith__model_rope(const pith__model *model, pith__arena *scratch,
                             const uint32_t *positions, size_t rows, float *cosines, float *sines,
                             pith_error *err)
{
    const size_t pairs = model->config.rope_pairs;
    const pith__arena_mark mark = pith__arena_save(scratch);
    double *frequencies = NULL;
    PITH__TRY(pith__arena_alloc(scratch, pairs, sizeof *frequencies, &frequencies, err));
    for (size_t i = 0; i < pairs; i++) {
        frequencies[i] = frequency_of(model, i);
    }
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < pairs; i++) {
            const double angle = (double)positions[r] * frequencies[i];
            cosines[r * pairs + i] = (float)cos(angle);
            sines[r * pairs + i] = (float)sin(angle);
        }
    }
    pith__arena_restore(scratch, mark);
    return PITH_OK;
}
