/*
 * masked.c: attention under any mask, forward and backward.
 *
 * A block of queries looks at one range of keys, from the first that one of them
 * sees to the last: whole blocks of a causal or block-diagonal mask are never
 * computed. Backward computes the probabilities anew from the log-sum-exp, as
 * FlashAttention does (Dao et al. 2022, section 3.1 and appendix B.2).
 */
#include "tensor/gemm.h"
#include "tensor/tensor_internal.h"
#include "tensor/vector.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* Queries per block: fewer compute less that a causal mask hides, more make better products. */
#define QUERIES 64

typedef struct masked_job {
    const pith__masked_attention *a;
    const pith__masked_attention_back *back;
    part *seen;     /* (rows) keys from the first to the last that a query sees */
    float *scratch; /* (workers, scratch_size) */
    size_t scratch_size;
    atomic_bool failed;
} masked_job;

/* ---- masks --------------------------------------------------------------------------- */

static part seen_by(const pith__masked_attention *a, size_t row)
{
    if (a->matrix == NULL) {
        const size_t first = a->first[row];
        return (part){first, a->end[row] > first ? a->end[row] - first : 0};
    }
    const uint8_t *mask = a->matrix + row * a->keys;
    size_t end = a->keys;
    while (end > 0 && mask[end - 1] == 0) {
        end--;
    }
    size_t first = 0;
    while (first < end && mask[first] == 0) {
        first++;
    }
    return (part){first, end - first};
}

/* Keys that a block of queries needs: none if none of them sees any. */
static part keys_of(const masked_job *job, part queries)
{
    size_t first = SIZE_MAX;
    size_t end = 0;
    for (size_t r = queries.first; r < queries.first + queries.count; r++) {
        const part seen = job->seen[r];
        if (seen.count != 0) {
            first = seen.first < first ? seen.first : first;
            end = seen.first + seen.count > end ? seen.first + seen.count : end;
        }
    }
    return end == 0 ? (part){0, 0} : (part){first, end - first};
}

/* The scores a query sees; those of its block's keys that it does not become 0. */
static float *visible(float *scores, part keys, part seen)
{
    if (seen.count == 0) {
        memset(scores, 0, keys.count * sizeof *scores);
        return scores;
    }
    const size_t before = seen.first - keys.first;
    const size_t to = before + seen.count;
    memset(scores, 0, before * sizeof *scores);
    memset(scores + to, 0, (keys.count - to) * sizeof *scores);
    return scores + before;
}

/* Sets what a matrix hides among the scores from the first to the last a query sees. */
static void hide(const masked_job *job, size_t row, float value, float *scores)
{
    const pith__masked_attention *a = job->a;
    if (a->matrix != NULL) {
        const part seen = job->seen[row];
        pith__vector_hide(scores, a->matrix + row * a->keys + seen.first, value, seen.count);
    }
}

/* ---- where things are ---------------------------------------------------------------- */

typedef struct masked_block {
    part queries;
    part keys;
    size_t q_stride;
    size_t kv_stride;
    size_t q_at; /* of the first query's head in q, out and their gradients */
    size_t k_at; /* of the first key's head in k, v and theirs */
} masked_block;

static masked_block block_at(const masked_job *job, size_t head, size_t index)
{
    const pith__masked_attention *a = job->a;
    masked_block block = {.queries = part_at(a->rows, QUERIES, index),
                          .q_stride = a->heads * a->head_dim,
                          .kv_stride = a->kv_heads * a->head_dim};
    const size_t kv_head = head / (a->heads / a->kv_heads);
    block.keys = keys_of(job, block.queries);
    block.q_at = block.queries.first * block.q_stride + head * a->head_dim;
    block.k_at = block.keys.first * block.kv_stride + kv_head * a->head_dim;
    return block;
}

/* Sets `count` rows of one head to 0. */
static void clear_head(float *x, size_t count, size_t stride, size_t head_dim)
{
    for (size_t r = 0; r < count; r++) {
        memset(x + r * stride, 0, head_dim * sizeof *x);
    }
}

/* scores (queries, keys) = alpha x y^T: x like q, y like k. */
static bool dot_heads(const masked_job *job, const masked_block *block, float alpha, const float *x,
                      const float *y, float *scores)
{
    const pith__gemm shape = {.m = block->queries.count,
                              .n = block->keys.count,
                              .k = job->a->head_dim,
                              .lda = block->q_stride,
                              .ldb = block->kv_stride,
                              .ldc = block->keys.count,
                              .transpose_b = true,
                              .alpha = alpha};
    return pith__gemm_f32(&shape, x + block->q_at, y + block->k_at, scores);
}

/* x = scores y: x like q, y like k. */
static bool mix_keys(const masked_job *job, const masked_block *block, const float *scores,
                     const float *y, float *x)
{
    const pith__gemm shape = {.m = block->queries.count,
                              .n = job->a->head_dim,
                              .k = block->keys.count,
                              .lda = block->keys.count,
                              .ldb = block->kv_stride,
                              .ldc = block->q_stride,
                              .alpha = 1.0f};
    return pith__gemm_f32(&shape, scores, y + block->k_at, x + block->q_at);
}

/* y += scores^T x: x like q, y like k. */
static bool add_queries(const masked_job *job, const masked_block *block, const float *scores,
                        const float *x, float *y)
{
    const pith__gemm shape = {.m = block->keys.count,
                              .n = job->a->head_dim,
                              .k = block->queries.count,
                              .lda = block->keys.count,
                              .ldb = block->q_stride,
                              .ldc = block->kv_stride,
                              .transpose_a = true,
                              .alpha = 1.0f,
                              .beta = 1.0f};
    return pith__gemm_f32(&shape, scores, x + block->q_at, y + block->k_at);
}

/* ---- forward ------------------------------------------------------------------------- */

/* Scores become probabilities; gives the log-sum-exp. */
static float softmax_row(const masked_job *job, part keys, size_t row, float *scores)
{
    const part seen = job->seen[row];
    float *x = visible(scores, keys, seen);
    if (seen.count == 0) {
        return -INFINITY;
    }
    hide(job, row, -INFINITY, x);
    const float max = pith__vector_max(x, seen.count);
    const float sum = pith__vector_exp_sum(x, max, seen.count, x);
    hide(job, row, 0.0f, x); /* what they gave the sum, exp(-87) at most, is nothing */
    pith__vector_scale(x, 1.0f / sum, seen.count);
    return max + logf(sum);
}

static bool attend(const masked_job *job, size_t head, size_t index, float *scores)
{
    const pith__masked_attention *a = job->a;
    const masked_block block = block_at(job, head, index);
    float *lse = a->lse + head * a->rows + block.queries.first;
    const size_t keys = block.keys.count;
    if (keys == 0) {
        clear_head(a->out + block.q_at, block.queries.count, block.q_stride, a->head_dim);
    } else if (!dot_heads(job, &block, a->scale, a->q, a->k, scores)) {
        return false;
    }
    for (size_t i = 0; i < block.queries.count; i++) {
        lse[i] = softmax_row(job, block.keys, block.queries.first + i, scores + i * keys);
    }
    return keys == 0 || mix_keys(job, &block, scores, a->v, a->out);
}

static void attention_part(void *user, size_t index, unsigned worker)
{
    masked_job *job = user;
    const size_t heads = job->a->heads;
    if (!attend(job, index % heads, index / heads, job->scratch + worker * job->scratch_size)) {
        atomic_store(&job->failed, true);
    }
}

/* ---- backward ------------------------------------------------------------------------ */

/* Scores become probabilities again. */
static void probabilities_row(const masked_job *job, part keys, size_t row, float lse,
                              float *scores)
{
    const part seen = job->seen[row];
    float *x = visible(scores, keys, seen);
    if (seen.count != 0) {
        hide(job, row, -INFINITY, x); /* they may be far above the log-sum-exp */
        (void)pith__vector_exp_sum(x, lse, seen.count, x);
        hide(job, row, 0.0f, x);
    }
}

/*
 * From d loss / d probabilities to d loss / d (q k): p (dp - sum p dp) scale. The sum
 * is d_out * out, which needs no probabilities (FlashAttention, appendix B.2).
 */
static void softmax_back(const masked_job *job, const masked_block *block, const float *p,
                         float *dp)
{
    const pith__masked_attention *a = job->a;
    const size_t keys = block->keys.count;
    for (size_t i = 0; i < block->queries.count; i++) {
        const part seen = job->seen[block->queries.first + i];
        const size_t at = block->q_at + i * block->q_stride;
        const float mean = pith__vector_dot(job->back->d_out + at, a->out + at, a->head_dim);
        float *x = visible(dp + i * keys, block->keys, seen);
        pith__vector_softmax_back(p + i * keys + (x - (dp + i * keys)), mean, a->scale, seen.count,
                                  x);
    }
}

static bool attend_back(const masked_job *job, size_t head, size_t index, float *p)
{
    const pith__masked_attention *a = job->a;
    const pith__masked_attention_back *back = job->back;
    const masked_block block = block_at(job, head, index);
    const size_t keys = block.keys.count;
    float *dp = p + block.queries.count * keys;
    if (keys == 0) {
        clear_head(back->dq + block.q_at, block.queries.count, block.q_stride, a->head_dim);
        return true;
    }
    if (!dot_heads(job, &block, a->scale, a->q, a->k, p)) {
        return false;
    }
    for (size_t i = 0; i < block.queries.count; i++) {
        const size_t row = block.queries.first + i;
        probabilities_row(job, block.keys, row, a->lse[head * a->rows + row], p + i * keys);
    }
    if (!dot_heads(job, &block, 1.0f, back->d_out, a->v, dp)) {
        return false;
    }
    softmax_back(job, &block, p, dp);
    return add_queries(job, &block, p, back->d_out, back->dv) &&
           add_queries(job, &block, dp, a->q, back->dk) &&
           mix_keys(job, &block, dp, a->k, back->dq);
}

/* One key head: the query heads and blocks that add to it come in order. */
static void attention_back_part(void *user, size_t kv_head, unsigned worker)
{
    masked_job *job = user;
    const pith__masked_attention *a = job->a;
    const size_t group = a->heads / a->kv_heads;
    const size_t stride = a->kv_heads * a->head_dim;
    float *scratch = job->scratch + worker * job->scratch_size;
    clear_head(job->back->dk + kv_head * a->head_dim, a->keys, stride, a->head_dim);
    clear_head(job->back->dv + kv_head * a->head_dim, a->keys, stride, a->head_dim);
    for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++) {
        for (size_t block = 0; block < part_count(a->rows, QUERIES); block++) {
            if (!attend_back(job, head, block, scratch)) {
                atomic_store(&job->failed, true);
                return;
            }
        }
    }
}

/* ---- both ---------------------------------------------------------------------------- */

/* Runs `parts` parts, each with room for `arrays` blocks of scores. */
static pith_status run(const pith__tensor_ctx *ctx, masked_job *job, size_t parts, size_t arrays,
                       pith__parallel_fn fn, pith_error *err)
{
    const pith__masked_attention *a = job->a;
    PITH__TRY(pith__arena_alloc(ctx->arena, a->rows, sizeof *job->seen, &job->seen, err));
    for (size_t r = 0; r < a->rows; r++) {
        job->seen[r] = seen_by(a, r);
    }
    size_t most = 0;
    for (size_t b = 0; b < part_count(a->rows, QUERIES); b++) {
        const size_t keys = keys_of(job, part_at(a->rows, QUERIES, b)).count;
        most = keys > most ? keys : most;
    }
    job->scratch_size = arrays * QUERIES * most;
    PITH__TRY(pith__arena_alloc(ctx->arena, worker_count(ctx, parts) * job->scratch_size,
                                sizeof *job->scratch, &job->scratch, err));
    pith__parallel(ctx->threads, parts, fn, job);
    if (atomic_load(&job->failed)) {
        return pith__fail(err, PITH_E_BACKEND, "oneDNN refused a product of the attention");
    }
    return PITH_OK;
}

pith_status pith__cpu_masked_attention(const pith__tensor_ctx *ctx,
                                       const pith__masked_attention *attention, pith_error *err)
{
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    masked_job job = {.a = attention};
    const size_t parts = part_count(attention->rows, QUERIES) * attention->heads;
    const pith_status status = run(ctx, &job, parts, 1, attention_part, err);
    pith__arena_restore(ctx->arena, mark);
    return status;
}

pith_status pith__cpu_masked_attention_back(const pith__tensor_ctx *ctx,
                                            const pith__masked_attention *attention,
                                            const pith__masked_attention_back *back,
                                            pith_error *err)
{
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    masked_job job = {.a = attention, .back = back};
    const pith_status status = run(ctx, &job, attention->kv_heads, 2, attention_back_part, err);
    pith__arena_restore(ctx->arena, mark);
    return status;
}
