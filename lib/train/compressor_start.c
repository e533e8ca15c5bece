/*
 * compressor_start.c: what of a compressor learns, before the first step: random, or as a file has it.
 *
 * Sizes are the embedding table's, for what is learned is read by the same model in the place of
 * embeddings: the slot rows have its root mean square as deviation, the gain of SelfCP's norm is that
 * number (with 1, as LayerNorm begins, memory would be longer than any embedding by far: its rows
 * have norm sqrt(d)), the tags are its mean row. SelfCP's matrix is the identity, scaled to that
 * size where there is no norm: memory begins as the hidden state, which in models with tied tables is
 * an embedding of what comes next. The release has a random matrix as torch makes it.
 */
#include "train/compressor.h"

#include <math.h>
#include <string.h>

#define STREAM_OF_SLOTS UINT64_C(0x736c6f7473)

/* ---- random ------------------------------------------------------------------------------------ */

static float *tensor(const pith__training_compressor *job, const char *name)
{
    const pith__weight *weight = pith__weights_find(&job->learned, name);
    return weight == NULL ? NULL : job->learned.values + weight->at;
}

/* Root mean square of the embeddings, and their mean (d). */
static pith_status look_at_embeddings(pith__training_compressor *job, double *size, double *mean,
                                      pith_error *err)
{
    const pith__model_config *config = &job->base.model.config;
    const uint32_t rows = pith__tokenizer_size(job->base.tokenizer);
    float *row = NULL;
    double squares = 0.0;
    PITH__TRY(pith__arena_alloc(&job->batch, config->width, sizeof *row, &row, err));
    memset(mean, 0, config->width * sizeof *mean);
    for (uint32_t id = 0; id < rows; id++) {
        PITH__TRY(pith__model_embedding(&job->base.model, id, row, err));
        for (uint32_t i = 0; i < config->width; i++) {
            squares += (double)row[i] * (double)row[i];
            mean[i] += (double)row[i] / (double)rows;
        }
    }
    *size = sqrt(squares / (double)rows / (double)config->width);
    return PITH_OK;
}

static void start_slots(const pith__training_compressor *job, double size)
{
    const pith__compressor_settings *s = job->settings;
    const double deviation = s->slot_deviation > 0.0 ? s->slot_deviation : size;
    uint64_t state = pith__random(s->run.seed, STREAM_OF_SLOTS, 0);
    pith__fill_normal(tensor(job, PITH__COMPRESSOR_SLOTS),
                      (size_t)s->shape.slots * job->base.model.config.width, deviation, &state);
}

/* Root mean square of hidden states after the final norm, about: that of its weights. */
static double hidden_size(const pith__model *model)
{
    double squares = 0.0;
    for (uint32_t i = 0; i < model->config.width; i++) {
        squares += (double)model->output_norm[i] * (double)model->output_norm[i];
    }
    return sqrt(squares / (double)model->config.width);
}

static void start_connector(const pith__training_compressor *job, double size, const double *mean)
{
    const size_t d = job->base.model.config.width;
    const double hidden = hidden_size(&job->base.model);
    const bool has_norm = job->settings->shape.has_norm;
    const float diagonal = has_norm || hidden == 0.0 ? 1.0f : (float)(size / hidden);
    float *matrix = tensor(job, PITH__COMPRESSOR_MATRIX);
    float *gain = tensor(job, PITH__COMPRESSOR_GAIN);
    float *tags = tensor(job, PITH__COMPRESSOR_TAGS);
    for (size_t i = 0; i < d; i++) { /* everything else is 0 */
        matrix[i * d + i] = diagonal;
        tags[i] = tags[d + i] = (float)mean[i];
        if (gain != NULL) {
            gain[i] = (float)size;
        }
    }
}

static pith_status start_anew(pith__training_compressor *job, pith_error *err)
{
    const pith__compressor_settings *s = job->settings;
    double size = 0.0;
    double *mean = NULL;
    PITH__TRY(pith__compressor_layout(&s->shape, &job->base.model.config, s->lora.rank,
                                      s->lora.matrices, &job->learned, err));
    PITH__TRY(pith__weights_allocate(&job->learned, err));
    PITH__TRY(
        pith__arena_alloc(&job->batch, job->base.model.config.width, sizeof *mean, &mean, err));
    PITH__TRY(look_at_embeddings(job, &size, mean, err));
    job->alpha = (float)s->lora.alpha;
    if (s->shape.method == PITH__COMPRESSOR_SELFCP) {
        start_connector(job, size, mean);
        return PITH_OK;
    }
    pith__lora_initialise(&job->learned, s->run.seed);
    start_slots(job, size);
    return PITH_OK;
}

/* ---- from a file --------------------------------------------------------------------------------- */

/* Short texts first, all slots first: window and elasticity may be others than before. */
static pith_status check_shape(const pith__training_compressor *job,
                               const pith__compressor_shape *from, pith_error *err)
{
    const pith__compressor_shape *to = &job->settings->shape;
    const struct {
        const char *what;
        uint32_t from, to;
    } numbers[] = {{"slots", from->slots, to->slots},
                   {"ratio", from->ratio, to->ratio},
                   {"pad", from->pads, to->pads},
                   {"norm", from->has_norm, to->has_norm}};
    const struct {
        const char *what, *from, *to;
    } names[] = {
        {"method", pith__compressor_method_name(from->method),
         pith__compressor_method_name(to->method)},
        {"layout", pith__slot_layout_name(from->layout), pith__slot_layout_name(to->layout)},
        {"position-mode", pith__compressor_position_mode(from),
         pith__compressor_position_mode(to)}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i].from, names[i].to) != 0) {
            return pith__fail(err, PITH_E_MISMATCH, "\"%.60s\": %s %s, what is trained has %s",
                              job->settings->start, names[i].what, names[i].from, names[i].to);
        }
    }
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (numbers[i].from != numbers[i].to) {
            return pith__fail(err, PITH_E_MISMATCH, "\"%.60s\": %s %u, what is trained has %u",
                              job->settings->start, numbers[i].what, numbers[i].from,
                              numbers[i].to);
        }
    }
    return PITH_OK;
}

/* Rank, matrices and alpha are the file's. */
static pith_status go_on(pith__training_compressor *job, pith_error *err)
{
    pith__file file;
    pith__gguf gguf = {0};
    pith__compressor_about about = {0};
    size_t record_size = 0;
    PITH__TRY(pith__file_open(job->settings->start, &file, err));
    pith_status status = pith__gguf_parse(file.data, file.size, &job->mem, &gguf, err);
    if (status == PITH_OK) {
        status = pith__compressor_load(&gguf, &job->base.model.config, job->base.sha256,
                                       &job->learned, &about, &record_size, err);
    }
    if (status == PITH_OK) {
        status = check_shape(job, &about.shape, err);
    }
    job->alpha = about.alpha;
    pith__gguf_deinit(&gguf);
    pith__file_close(&file);
    return status;
}

pith_status pith__training_compressor_start(pith__training_compressor *job, pith_error *err)
{
    const pith__compressor_settings *s = job->settings;
    PITH__TRY(s->start == NULL ? start_anew(job, err) : go_on(job, err));
    return pith__compressor_of(&s->shape, &job->base.model.config, &job->learned, job->alpha,
                               (float)s->lora.dropout, &job->mem, &job->compressor, err);
}
