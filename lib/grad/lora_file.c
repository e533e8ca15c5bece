/*
 * lora_file.c: adapters to and from GGUF files, and into the weights they belong to.
 */
#include "grad/pass.h"

#include <stdio.h>
#include <string.h>

/* "blk.N.attn_q.weight" */
static void matrix_name(char *name, size_t layer, pith__block_matrix matrix)
{
    (void)snprintf(name, PITH__WEIGHT_NAME_SIZE, "blk.%zu.%s.weight", layer,
                   pith__block_matrix_name(matrix));
}

#define FACTOR_NAME_SIZE (PITH__WEIGHT_NAME_SIZE + 8)

static void factor_name(char name[FACTOR_NAME_SIZE], const char *stem, const char *suffix)
{
    (void)snprintf(name, FACTOR_NAME_SIZE, "%s%s", stem, suffix);
}

/* ---- saving --------------------------------------------------------------------------------- */

static pith_status add_text(pith__gguf_writer *writer, const char *key, const char *text,
                            pith_error *err)
{
    return pith__gguf_writer_add_string(writer, key, text, strlen(text), err);
}

static pith_status add_keys(pith__gguf_writer *writer, const pith__lora *lora, const char *name,
                            const char *base_sha256, pith_error *err)
{
    PITH__TRY(add_text(writer, "general.type", "adapter", err));
    PITH__TRY(add_text(writer, "general.architecture", "llama", err));
    PITH__TRY(add_text(writer, "general.name", name, err));
    PITH__TRY(add_text(writer, "adapter.type", "lora", err));
    PITH__TRY(pith__gguf_writer_add_f32(writer, "adapter.lora.alpha", lora->alpha, err));
    return base_sha256 == NULL ? PITH_OK : add_text(writer, PITH__ADAPTER_BASE, base_sha256, err);
}

static pith_status add_factor(pith__gguf_writer *writer, const char *stem, const char *suffix,
                              const float *values, size_t rows, size_t cols, pith_error *err)
{
    char name[FACTOR_NAME_SIZE];
    factor_name(name, stem, suffix);
    const pith__gguf_tensor tensor = {.name = {name, strlen(name)},
                                      .n_dims = 2,
                                      .dims = {cols, rows, 1, 1},
                                      .type = PITH__GGUF_TYPE_F32,
                                      .data = (const unsigned char *)values};
    return pith__gguf_writer_add_tensor(writer, &tensor, err);
}

static pith_status add_pairs(pith__gguf_writer *writer, const pith__lora *lora,
                             const pith__model_config *config, pith_error *err)
{
    char stem[PITH__WEIGHT_NAME_SIZE];
    for (size_t l = 0; l < lora->layers; l++) {
        for (pith__block_matrix m = 0; m < PITH__BLOCK_MATRICES; m++) {
            const pith__lora_pair *pair = &lora->pairs[l * PITH__BLOCK_MATRICES + m];
            if (pair->a == NULL) {
                continue;
            }
            matrix_name(stem, l, m);
            PITH__TRY(add_factor(writer, stem, ".lora_a", pair->a, lora->rank,
                                 pith__block_matrix_cols(config, m), err));
            PITH__TRY(add_factor(writer, stem, ".lora_b", pair->b,
                                 pith__block_matrix_rows(config, m), lora->rank, err));
        }
    }
    return PITH_OK;
}

pith_status pith__lora_add(const pith__lora *lora, const pith__model_config *config,
                           const char *name, const char *base_sha256, pith__gguf_writer *writer,
                           pith_error *err)
{
    PITH__TRY(add_keys(writer, lora, name, base_sha256, err));
    return add_pairs(writer, lora, config, err);
}

pith_status pith__lora_save(const pith__lora *lora, const pith__model_config *config,
                            const char *name, const char *base_sha256, const char *path,
                            pith_error *err)
{
    pith__gguf_writer writer;
    pith__gguf_writer_init(&writer, &lora->mem);
    pith_status status = pith__lora_add(lora, config, name, base_sha256, &writer, err);
    if (status == PITH_OK) {
        status = pith__gguf_writer_save(&writer, path, err);
    }
    pith__gguf_writer_deinit(&writer);
    return status;
}

/* ---- loading -------------------------------------------------------------------------------- */

typedef struct reader {
    pith__adapter adapter;
    const pith__model_config *config;
    pith__weights *weights;
    pith__arena scratch; /* of one pair */
    size_t rank;         /* 0: not known yet */
    pith_error *err;
} reader;

/* What is to be done with the pair of a matrix called `stem`. */
typedef pith_status (*pair_fn)(reader *r, const char *stem, const pith__adapter_pair *pair);

static pith_status for_each_pair(reader *r, pair_fn fn)
{
    char stem[PITH__WEIGHT_NAME_SIZE];
    for (size_t l = 0; l < r->config->layers; l++) {
        for (pith__block_matrix m = 0; m < PITH__BLOCK_MATRICES; m++) {
            pith__adapter_pair pair = {0};
            matrix_name(stem, l, m);
            PITH__TRY(pith__adapter_find(&r->adapter, stem, pith__block_matrix_rows(r->config, m),
                                         pith__block_matrix_cols(r->config, m), &pair, r->err));
            if (pair.a != NULL) {
                PITH__TRY(fn(r, stem, &pair));
            }
        }
    }
    return PITH_OK;
}

static pith_status lay_out(reader *r, const char *stem, const pith__adapter_pair *pair)
{
    if (r->rank != 0 && pair->rank != r->rank) {
        return pith__fail(r->err, PITH_E_UNSUPPORTED,
                          "the adapter of %s has rank %zu, one before it %zu: training wants one "
                          "rank for all",
                          stem, pair->rank, r->rank);
    }
    r->rank = pair->rank;
    char name[FACTOR_NAME_SIZE];
    factor_name(name, stem, ".lora_a");
    PITH__TRY(pith__weights_add(r->weights, name, PITH__WEIGHT_MATRIX, pair->rank,
                                (size_t)pair->a->dims[0], r->err));
    factor_name(name, stem, ".lora_b");
    return pith__weights_add(r->weights, name, PITH__WEIGHT_MATRIX, (size_t)pair->b->dims[1],
                             pair->rank, r->err);
}

static void fill_factor(reader *r, const char *stem, const char *suffix, const float *values)
{
    char name[FACTOR_NAME_SIZE];
    factor_name(name, stem, suffix);
    const pith__weight *weight = pith__weights_find(r->weights, name);
    if (weight != NULL) { /* lay_out() has added it */
        memcpy(r->weights->values + weight->at, values,
               weight->rows * weight->cols * sizeof *values);
    }
}

static pith_status fill(reader *r, const char *stem, const pith__adapter_pair *pair)
{
    pith__delta delta = {0};
    pith__arena_reset(&r->scratch);
    PITH__TRY(pith__delta_of(pair, &r->scratch, &delta, r->err));
    fill_factor(r, stem, ".lora_a", delta.a);
    fill_factor(r, stem, ".lora_b", delta.b);
    return PITH_OK;
}

static pith_status read_adapter(reader *r, const char *base_sha256, float *alpha)
{
    if (base_sha256 != NULL) {
        PITH__TRY(pith__adapter_check_base(&r->adapter, base_sha256, r->err));
    }
    PITH__TRY(for_each_pair(r, lay_out));
    PITH__TRY(pith__adapter_check_used(&r->adapter, r->err));
    PITH__TRY(pith__weights_allocate(r->weights, r->err));
    PITH__TRY(for_each_pair(r, fill));
    *alpha = r->adapter.alpha == 0.0f ? (float)r->rank : r->adapter.alpha;
    return PITH_OK;
}

pith_status pith__lora_load(const pith__gguf *gguf, const pith__model_config *config,
                            const char *base_sha256, pith__weights *weights, float *alpha,
                            pith_error *err)
{
    reader r = {.config = config, .weights = weights, .err = err};
    *alpha = 0.0f;
    PITH__TRY(pith__adapter_open(gguf, &weights->mem, &r.adapter, err));
    pith__arena_init(&r.scratch, &weights->mem);
    const pith_status status = read_adapter(&r, base_sha256, alpha);
    pith__arena_deinit(&r.scratch);
    pith__adapter_close(&r.adapter);
    return status;
}

/* ---- merging -------------------------------------------------------------------------------- */

/* Multiplications up to which one thread adds an adapter to a matrix. */
#define MERGE_ALONE ((size_t)1 << 22)

typedef struct merge_job {
    const pith__delta *delta;
    float *values; /* (rows, cols) */
} merge_job;

static void merge_row(void *user, size_t row, unsigned worker)
{
    const merge_job *job = user;
    (void)worker;
    pith__delta_add(job->delta, row, job->values + row * job->delta->cols);
}

static pith_status merge_pair(const pith__lora *lora, size_t layer, pith__block_matrix m,
                              const pith__weights *base, pith_error *err)
{
    const pith__lora_pair *pair = &lora->pairs[layer * PITH__BLOCK_MATRICES + m];
    if (pair->a == NULL) {
        return PITH_OK;
    }
    char name[PITH__WEIGHT_NAME_SIZE];
    matrix_name(name, layer, m);
    const pith__weight *weight = pith__weights_find(base, name);
    if (weight == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "%s: an adapter of a matrix that is not there",
                          name);
    }
    const pith__delta delta = {.rank = lora->rank,
                               .rows = weight->rows,
                               .cols = weight->cols,
                               .scale = lora->alpha / (float)lora->rank,
                               .a = pair->a,
                               .b = pair->b};
    merge_job job = {&delta, base->values + weight->at};
    const bool alone = delta.rank * delta.rows * delta.cols < MERGE_ALONE;
    pith__parallel(alone ? 1 : pith__threads_available(), weight->rows, merge_row, &job);
    return PITH_OK;
}

pith_status pith__grad_merge(const pith__lora *lora, pith__weights *base, pith_error *err)
{
    for (size_t l = 0; l < lora->layers; l++) {
        for (pith__block_matrix m = 0; m < PITH__BLOCK_MATRICES; m++) {
            PITH__TRY(merge_pair(lora, l, m, base, err));
        }
    }
    return PITH_OK;
}
