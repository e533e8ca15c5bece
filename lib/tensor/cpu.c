/*
 * cpu.c: the operations of tensor.h on the processor: the table, and those of a forward pass.
 */
#include "tensor/gemm.h"
#include "tensor/tensor_internal.h"
#include "tensor/vector.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdatomic.h>

/*
 * Rows per block of a matrix product. Each block packs the weights anew, which
 * costs about 1/16 of the time at 256 rows and 1/4 at 64; fewer blocks leave
 * threads idle on short prompts.
 */
#define GEMM_ROWS 256

/*
 * Outputs per block of a matrix product, so that a few rows keep several threads busy too. Each
 * block packs the activations anew, which costs at most 4 % at 100 rows.
 */
#define GEMM_COLUMNS 768

/* Vocabulary entries per block of the head: 256 rows of them are 512 KiB of logits. */
#define HEAD_COLUMNS 512

/* Vocabulary entries that one thread walks through, block by block. */
#define HEAD_STRETCH 8192

/* Queries per block of attention; the scores of a block are this times the keys. */
#define ATTENTION_ROWS 64

/* ---- linear ---------------------------------------------------------------- */

/* y (rows, columns) = x[first row ...] times rows [column, column + columns) of w, as floats. */
static bool multiply(const pith__matrix *w, part columns, const pith__rows *x, part rows, float *y,
                     size_t y_stride)
{
    const pith__gemm shape = {.m = rows.count,
                              .n = columns.count,
                              .k = w->cols,
                              .lda = x->width,
                              .ldb = w->cols,
                              .ldc = y_stride,
                              .transpose_b = true,
                              .alpha = 1.0f};
    const size_t x_first = rows.first * x->width;
    const size_t w_first = columns.first * w->cols;
    if (w->f32 != NULL) {
        return pith__gemm_f32(&shape, x->f32 + x_first, w->f32 + w_first, y);
    }
    /* The integers are written where the floats will be: one array, no copy. */
    if (!pith__gemm_int8(&shape, x->i8 + x_first, w->i8 + w_first, (int32_t *)(void *)y)) {
        return false;
    }
    for (size_t r = 0; r < rows.count; r++) {
        pith__vector_rescale(y + r * y_stride, x->scale[rows.first + r], w->scale + columns.first,
                             columns.count);
    }
    return true;
}

typedef struct linear_job {
    const pith__matrix *w;
    const pith__rows *x;
    float *y;
    size_t column_parts;
    atomic_bool failed;
} linear_job;

static void linear_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    linear_job *job = user;
    const part rows = part_at(job->x->count, GEMM_ROWS, index / job->column_parts);
    const part columns = part_at(job->w->rows, GEMM_COLUMNS, index % job->column_parts);
    float *y = job->y + rows.first * job->w->rows + columns.first;
    if (!multiply(job->w, columns, job->x, rows, y, job->w->rows)) {
        atomic_store(&job->failed, true);
    }
}

static pith_status linear(const pith__tensor_ctx *ctx, const pith__matrix *w, const pith__rows *x,
                          float *y, pith_error *err)
{
    assert(w->cols == x->width);
    linear_job job = {.w = w, .x = x, .y = y, .column_parts = part_count(w->rows, GEMM_COLUMNS)};
    pith__parallel(ctx->threads, part_count(x->count, GEMM_ROWS) * job.column_parts, linear_part,
                   &job);
    if (atomic_load(&job.failed)) {
        return pith__fail(err, PITH_E_BACKEND,
                          "oneDNN refused a product of (%zu, %zu) and (%zu, %zu)", x->count,
                          x->width, w->rows, w->cols);
    }
    return PITH_OK;
}

/* ---- row-wise and element-wise operations ------------------------------------- */

typedef struct rows_job {
    const float *x;
    float *y;
    size_t rows;
    size_t width;
    const float *weight;
    float eps;
    int8_t *i8;
    float *scale;
    size_t heads;
    size_t head_dim;
    size_t pairs;
    const float *cos;
    const float *sin;
} rows_job;

/*
 * The scale of a row and the factor that takes it to integers up to `limit`.
 * Rows that reach no further than 1.5e-36 become zero: their factor might not be
 * finite. A row that holds something that is no finite number gets no finite
 * scale either, so that damage shows in whatever is computed from it.
 */
static float int8_scale(const float *x, size_t width, int limit, float *factor)
{
    const float max = pith__vector_max_abs(x, width);
    *factor = 0.0f;
    if (max < (float)limit * FLT_MIN) {
        return 0.0f;
    }
    *factor = isfinite(max) ? (float)limit / max : 0.0f;
    return max / (float)limit;
}

static void quantize_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    const rows_job *job = user;
    const part rows = part_at(job->rows, ROWS, index);
    for (size_t r = rows.first; r < rows.first + rows.count; r++) {
        const float *x = job->x + r * job->width;
        float factor = 0.0f;
        job->scale[r] = int8_scale(x, job->width, 127, &factor);
        pith__vector_to_int8(x, factor, job->width, job->i8 + r * job->width);
    }
}

static void quantize_rows(const pith__tensor_ctx *ctx, const float *x, size_t rows, size_t width,
                          int8_t *i8, float *scale)
{
    rows_job job = {.x = x, .rows = rows, .width = width, .i8 = i8, .scale = scale};
    pith__parallel(ctx->threads, part_count(rows, ROWS), quantize_part, &job);
}

static void rms_norm_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    const rows_job *job = user;
    const part rows = part_at(job->rows, ROWS, index);
    for (size_t r = rows.first; r < rows.first + rows.count; r++) {
        const float *x = job->x + r * job->width;
        const float mean = pith__vector_sum_squares(x, job->width) / (float)job->width;
        pith__vector_scale_by(x, 1.0f / sqrtf(mean + job->eps), job->weight, job->width,
                              job->y + r * job->width);
    }
}

static void rms_norm(const pith__tensor_ctx *ctx, const float *x, const float *weight, size_t rows,
                     size_t width, float eps, float *y)
{
    rows_job job = {.x = x, .y = y, .rows = rows, .width = width, .weight = weight, .eps = eps};
    pith__parallel(ctx->threads, part_count(rows, ROWS), rms_norm_part, &job);
}

static void rope_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    const rows_job *job = user;
    const part rows = part_at(job->rows, ROWS, index);
    for (size_t r = rows.first; r < rows.first + rows.count; r++) {
        for (size_t h = 0; h < job->heads; h++) {
            pith__vector_rotate(job->y + (r * job->heads + h) * job->head_dim,
                                job->cos + r * job->pairs, job->sin + r * job->pairs, job->pairs);
        }
    }
}

static void rope(const pith__tensor_ctx *ctx, float *x, size_t rows, size_t heads, size_t head_dim,
                 size_t pairs, const float *cos, const float *sin)
{
    rows_job job = {.y = x,
                    .rows = rows,
                    .heads = heads,
                    .head_dim = head_dim,
                    .pairs = pairs,
                    .cos = cos,
                    .sin = sin};
    pith__parallel(ctx->threads, part_count(rows, ROWS), rope_part, &job);
}

typedef struct elements_job {
    float *x;
    const float *y;
    size_t count;
    void (*fn)(float *x, const float *y, size_t count);
} elements_job;

static void elements_part(void *user, size_t index, unsigned worker)
{
    (void)worker;
    const elements_job *job = user;
    const part range = part_at(job->count, ELEMENTS, index);
    job->fn(job->x + range.first, job->y + range.first, range.count);
}

static void swiglu(const pith__tensor_ctx *ctx, float *gate, const float *up, size_t count)
{
    elements_job job = {gate, up, count, pith__vector_swiglu};
    pith__parallel(ctx->threads, part_count(count, ELEMENTS), elements_part, &job);
}

static void add(const pith__tensor_ctx *ctx, float *x, const float *y, size_t count)
{
    elements_job job = {x, y, count, pith__vector_add};
    pith__parallel(ctx->threads, part_count(count, ELEMENTS), elements_part, &job);
}

/* ---- attention ------------------------------------------------------------------- */

typedef struct attention_job {
    const pith__attention *attention;
    const size_t *first_part; /* (n_spans + 1): parts before each span, per head */
    float *scratch;           /* (workers, ATTENTION_ROWS * most keys) */
    size_t scratch_size;
    atomic_bool failed;
} attention_job;

/* Softmax over the keys each query may see; the others get weight 0. */
static void softmax_causal(float *scores, size_t queries, size_t keys, size_t first_visible)
{
    for (size_t i = 0; i < queries; i++) {
        float *row = scores + i * keys;
        const size_t visible = first_visible + i;
        const float max = pith__vector_max(row, visible);
        const float sum = pith__vector_exp_sum(row, max, visible, row);
        pith__vector_scale(row, 1.0f / sum, visible);
        for (size_t j = visible; j < keys; j++) {
            row[j] = 0.0f;
        }
    }
}

static bool attend(const pith__attention *a, const pith__attention_span *span, size_t head,
                   part queries, float *scores)
{
    const size_t q_stride = a->heads * a->head_dim;
    const size_t kv_stride = a->kv_heads * a->head_dim;
    const size_t kv_first = head / (a->heads / a->kv_heads) * a->head_dim;
    const size_t q_first = (span->first + queries.first) * q_stride + head * a->head_dim;
    const size_t keys = span->past + queries.first + queries.count;
    const pith__gemm dot = {.m = queries.count,
                            .n = keys,
                            .k = a->head_dim,
                            .lda = q_stride,
                            .ldb = kv_stride,
                            .ldc = keys,
                            .transpose_b = true,
                            .alpha = a->scale};
    const pith__gemm mix = {.m = queries.count,
                            .n = a->head_dim,
                            .k = keys,
                            .lda = keys,
                            .ldb = kv_stride,
                            .ldc = q_stride,
                            .alpha = 1.0f};
    if (!pith__gemm_f32(&dot, a->q + q_first, span->k + kv_first, scores)) {
        return false;
    }
    softmax_causal(scores, queries.count, keys, span->past + queries.first + 1);
    return pith__gemm_f32(&mix, scores, span->v + kv_first, a->out + q_first);
}

static void attention_part(void *user, size_t index, unsigned worker)
{
    attention_job *job = user;
    const pith__attention *a = job->attention;
    const size_t head = index % a->heads;
    const size_t block = index / a->heads;
    size_t s = 0;
    while (job->first_part[s + 1] <= block) {
        s++;
    }
    const pith__attention_span *span = &a->spans[s];
    const part queries = part_at(span->count, ATTENTION_ROWS, block - job->first_part[s]);
    float *scores = job->scratch + worker * job->scratch_size;
    if (!attend(a, span, head, queries, scores)) {
        atomic_store(&job->failed, true);
    }
}

static pith_status attention(const pith__tensor_ctx *ctx, const pith__attention *a, pith_error *err)
{
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    attention_job job = {.attention = a};
    size_t *first_part = NULL;
    PITH__TRY(pith__arena_alloc(ctx->arena, a->n_spans + 1, sizeof *first_part, &first_part, err));
    size_t most_keys = 0;
    size_t parts = 0;
    for (size_t s = 0; s < a->n_spans; s++) {
        const size_t keys = a->spans[s].past + a->spans[s].count;
        most_keys = keys > most_keys ? keys : most_keys;
        first_part[s] = parts;
        parts += part_count(a->spans[s].count, ATTENTION_ROWS);
    }
    first_part[a->n_spans] = parts;
    job.first_part = first_part;
    job.scratch_size = most_keys * ATTENTION_ROWS;
    const size_t workers = worker_count(ctx, parts * a->heads);
    pith_status status = pith__arena_alloc(ctx->arena, workers * job.scratch_size,
                                           sizeof *job.scratch, &job.scratch, err);
    if (status == PITH_OK) {
        pith__parallel(ctx->threads, parts * a->heads, attention_part, &job);
        if (atomic_load(&job.failed)) {
            status = pith__fail(err, PITH_E_BACKEND, "oneDNN refused an attention product");
        }
    }
    pith__arena_restore(ctx->arena, mark);
    return status;
}

/* ---- head ------------------------------------------------------------------------- */

typedef struct head_job {
    const pith__matrix *w;
    const pith__rows *x;
    const uint32_t *targets;
    float *nll;
    size_t stretches; /* of the vocabulary */
    float *scratch;   /* (workers, GEMM_ROWS, HEAD_COLUMNS) logits */
    float *maxima;    /* (stretches, rows) largest logit so far */
    double *sums;     /* (stretches, rows) sum of exp(logit - maximum) so far */
    atomic_bool failed;
} head_job;

/* Takes one row's logits of one vocabulary block into a running log-sum-exp (Milakov & Gimelshein 2018). */
static void head_update(head_job *job, size_t row, size_t stretch, const float *logits,
                        part columns)
{
    float *maximum = &job->maxima[stretch * job->x->count + row];
    double *sum = &job->sums[stretch * job->x->count + row];
    const float max = pith__vector_max(logits, columns.count);
    if (max > *maximum) {
        *sum *= exp((double)*maximum - (double)max);
        *maximum = max;
    }
    *sum += (double)pith__vector_exp_sum_only(logits, *maximum, columns.count);
    const size_t target = job->targets[row];
    if (target >= columns.first && target < columns.first + columns.count) {
        job->nll[row] = logits[target - columns.first];
    }
}

static void head_part(void *user, size_t index, unsigned worker)
{
    head_job *job = user;
    const size_t stretch = index % job->stretches;
    const part rows = part_at(job->x->count, GEMM_ROWS, index / job->stretches);
    const part all = part_at(job->w->rows, HEAD_STRETCH, stretch);
    float *logits = job->scratch + (size_t)worker * GEMM_ROWS * HEAD_COLUMNS;
    for (size_t r = rows.first; r < rows.first + rows.count; r++) {
        job->maxima[stretch * job->x->count + r] = -INFINITY;
        job->sums[stretch * job->x->count + r] = 0.0;
    }
    for (size_t block = 0; block < part_count(all.count, HEAD_COLUMNS); block++) {
        part columns = part_at(all.count, HEAD_COLUMNS, block);
        columns.first += all.first;
        if (!multiply(job->w, columns, job->x, rows, logits, columns.count)) {
            atomic_store(&job->failed, true);
            return;
        }
        for (size_t r = 0; r < rows.count; r++) {
            head_update(job, rows.first + r, stretch, logits + r * columns.count, columns);
        }
    }
}

/* From the target's logit to its NLL, with the sums of all stretches put together. */
static void head_finish(const head_job *job, size_t row)
{
    float max = -INFINITY;
    double sum = 0.0;
    for (size_t s = 0; s < job->stretches; s++) {
        max = fmaxf(max, job->maxima[s * job->x->count + row]);
    }
    for (size_t s = 0; s < job->stretches; s++) {
        const size_t at = s * job->x->count + row;
        sum += job->sums[at] * exp((double)job->maxima[at] - (double)max);
    }
    job->nll[row] = (float)((double)max + log(sum) - (double)job->nll[row]);
}

static pith_status run_head(const pith__tensor_ctx *ctx, head_job *job, pith_error *err)
{
    const size_t rows = job->x->count;
    const size_t parts = part_count(rows, GEMM_ROWS) * job->stretches;
    PITH__TRY(pith__arena_alloc(ctx->arena, worker_count(ctx, parts) * GEMM_ROWS * HEAD_COLUMNS,
                                sizeof *job->scratch, &job->scratch, err));
    PITH__TRY(pith__arena_alloc(ctx->arena, job->stretches * rows, sizeof *job->maxima,
                                &job->maxima, err));
    PITH__TRY(
        pith__arena_alloc(ctx->arena, job->stretches * rows, sizeof *job->sums, &job->sums, err));
    pith__parallel(ctx->threads, parts, head_part, job);
    if (atomic_load(&job->failed)) {
        return pith__fail(err, PITH_E_BACKEND, "oneDNN refused a product of the head");
    }
    for (size_t r = 0; r < rows; r++) {
        head_finish(job, r);
    }
    return PITH_OK;
}

static pith_status head_nll(const pith__tensor_ctx *ctx, const pith__matrix *w, const pith__rows *x,
                            const uint32_t *targets, float *nll, pith_error *err)
{
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    head_job job = {.w = w,
                    .x = x,
                    .targets = targets,
                    .nll = nll,
                    .stretches = part_count(w->rows, HEAD_STRETCH)};
    const pith_status status = run_head(ctx, &job, err);
    pith__arena_restore(ctx->arena, mark);
    return status;
}

/* ---- table --------------------------------------------------------------------------- */

float pith__tensor_quantize_weights(const float *row, size_t width, int limit, int8_t *i8)
{
    float factor = 0.0f;
    const float scale = int8_scale(row, width, limit, &factor);
    pith__vector_to_int8(row, factor, width, i8);
    return scale;
}

const pith__tensor_ops *pith__tensor_cpu(void)
{
    static const pith__tensor_ops ops = {
        .name = "cpu",
        .weight_limit = pith__gemm_int8_limit,
        .linear = linear,
        .quantize_rows = quantize_rows,
        .rms_norm = rms_norm,
        .rope = rope,
        .attention = attention,
        .swiglu = swiglu,
        .add = add,
        .head_nll = head_nll,
        .product = pith__cpu_product,
        .rms_norm_back = pith__cpu_rms_norm_back,
        .layer_norm = pith__cpu_layer_norm,
        .layer_norm_back = pith__cpu_layer_norm_back,
        .swiglu_to = pith__cpu_swiglu_to,
        .swiglu_back = pith__cpu_swiglu_back,
        .rope_back = pith__cpu_rope_back,
        .masked_attention = pith__cpu_masked_attention,
        .masked_attention_back = pith__cpu_masked_attention_back,
        .cross_entropy = pith__cpu_cross_entropy,
        .kl_divergence = pith__cpu_kl_divergence,
        .kl_top = pith__cpu_kl_top,
        .adamw = pith__cpu_adamw,
        .sum_squares = pith__cpu_sum_squares,
    };
    return &ops;
}
