/*
 * forward.c: one pass over a batch of independent sequences.
 *
 *     h = embedding(ids)
 *     per block:  h += O attention(rope(Q n), rope(K n), V n)   with n = norm(h)
 *                 h += D (silu(G n) * U n)                      with n = norm(h)
 *     outputs from norm(h)
 */
#include "model/kv.h"
#include "model/model.h"

#include <math.h>
#include <string.h>

/* Multiply-adds of a pass from which threads inside it pay: about 0.2 s of one core. */
#define WORK_FOR_THREADS 1e10

/* Everything one call works on. Shapes in rows = tokens of the whole batch. */
typedef struct pass {
    const pith__model *model;
    const pith__tensor_ctx *ctx;
    const pith__sequence *sequences;
    size_t n_sequences;
    size_t rows;
    pith_error *err;

    float *h;      /* (rows, d) the residual stream */
    float *normed; /* (rows, d) */
    float *q;      /* (rows, heads * head_dim) */
    float *k;      /* (rows, kv_heads * head_dim) */
    float *v;      /* the same */
    float *mixed;  /* (rows, heads * head_dim) attention's result */
    float *gate;   /* (rows, ff) */
    float *up;     /* (rows, ff) */
    float *delta;  /* (rows, d) what a half block adds to h */
    float *cos;    /* (rows, rope_pairs) */
    float *sin;    /* the same */
    int8_t *i8;    /* (rows, widest input) int8 form of the input at hand */
    float *scale;  /* (rows) */
    pith__attention_span *spans;
} pass;

static size_t q_width(const pith__model *model)
{
    return (size_t)model->config.heads * model->config.head_dim;
}

static size_t kv_width(const pith__model *model)
{
    return (size_t)model->config.kv_heads * model->config.head_dim;
}

static size_t past_of(const pith__sequence *sequence)
{
    return sequence->kv == NULL ? 0 : sequence->kv->length;
}

static uint32_t id_of(const pith__sequence *sequence, size_t index)
{
    return sequence->ids == NULL ? PITH__NO_ID : sequence->ids[index];
}

static size_t position_of(const pith__sequence *sequence, size_t index)
{
    return sequence->positions == NULL ? sequence->position + index : sequence->positions[index];
}

static pith_status check_sequence(const pass *p, const pith__sequence *sequence)
{
    const pith__model_config *c = &p->model->config;
    if (sequence->count + past_of(sequence) > c->context) {
        return pith__fail(p->err, PITH_E_CONTEXT, "%zu tokens, the model's context is %u",
                          sequence->count + past_of(sequence), c->context);
    }
    for (size_t i = 0; i < sequence->count; i++) {
        const uint32_t id = id_of(sequence, i);
        if (id == PITH__NO_ID && sequence->embeddings == NULL) {
            return pith__fail(p->err, PITH_E_ARGUMENT, "row %zu has neither id nor embedding", i);
        }
        if (id != PITH__NO_ID && id >= c->vocabulary) {
            return pith__fail(p->err, PITH_E_ARGUMENT, "token id %u, the vocabulary has %u", id,
                              c->vocabulary);
        }
        if (position_of(sequence, i) >= c->context) {
            return pith__fail(p->err, PITH_E_CONTEXT, "position %zu, the model's context is %u",
                              position_of(sequence, i), c->context);
        }
    }
    return PITH_OK;
}

static pith_status check(pass *p, const pith__forward_outputs *outputs)
{
    const pith__model_config *c = &p->model->config;
    for (size_t s = 0; s < p->n_sequences; s++) {
        if (outputs->last_logits != NULL && p->sequences[s].count == 0) {
            return pith__fail(p->err, PITH_E_ARGUMENT, "sequence %zu has no last row", s);
        }
        PITH__TRY(check_sequence(p, &p->sequences[s]));
        p->rows += p->sequences[s].count;
    }
    for (size_t r = 0; outputs->nll != NULL && r < p->rows; r++) {
        if (outputs->targets[r] != PITH__NO_TARGET && outputs->targets[r] >= c->vocabulary) {
            return pith__fail(p->err, PITH_E_ARGUMENT, "target id %u, the vocabulary has %u",
                              outputs->targets[r], c->vocabulary);
        }
    }
    return PITH_OK;
}

static pith_status allocate(pass *p)
{
    const pith__model *model = p->model;
    const pith__model_config *c = &model->config;
    const size_t q = q_width(model);
    const size_t kv = kv_width(model);
    size_t widest = c->width > c->ff ? c->width : c->ff;
    widest = q > widest ? q : widest;
    const struct {
        float **out;
        size_t width;
    } arrays[] = {
        {&p->h, c->width},
        {&p->normed, c->width},
        {&p->q, q},
        {&p->k, kv},
        {&p->v, kv},
        {&p->mixed, q},
        {&p->gate, c->ff},
        {&p->up, c->ff},
        {&p->delta, c->width},
        {&p->cos, c->rope_pairs},
        {&p->sin, c->rope_pairs},
        {&p->scale, 1},
    };
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        PITH__TRY(pith__arena_alloc(p->ctx->arena, p->rows, arrays[i].width * sizeof(float),
                                    arrays[i].out, p->err));
    }
    PITH__TRY(
        pith__arena_alloc(p->ctx->arena, p->n_sequences, sizeof *p->spans, &p->spans, p->err));
    return pith__arena_alloc(p->ctx->arena, p->rows, widest, &p->i8, p->err);
}

/* ---- inputs --------------------------------------------------------------------------- */

static pith_status embed(pass *p)
{
    const size_t width = p->model->config.width;
    float *out = p->h;
    for (size_t s = 0; s < p->n_sequences; s++) {
        const pith__sequence *sequence = &p->sequences[s];
        for (size_t i = 0; i < sequence->count; i++, out += width) {
            const uint32_t id = id_of(sequence, i);
            if (id == PITH__NO_ID) {
                memcpy(out, sequence->embeddings + i * width, width * sizeof *out);
            } else {
                PITH__TRY(pith__model_embedding(p->model, id, out, p->err));
            }
        }
    }
    return PITH_OK;
}

static pith_status rope_tables(pass *p)
{
    uint32_t *positions = NULL;
    PITH__TRY(pith__arena_alloc(p->ctx->arena, p->rows, sizeof *positions, &positions, p->err));
    size_t row = 0;
    for (size_t s = 0; s < p->n_sequences; s++) {
        for (size_t t = 0; t < p->sequences[s].count; t++) {
            positions[row++] = (uint32_t)position_of(&p->sequences[s], t);
        }
    }
    return pith__model_rope(p->model, p->ctx->arena, positions, p->rows, p->cos, p->sin, p->err);
}

/* ---- blocks ------------------------------------------------------------------------------ */

/* The input of linear layers, in int8 as well when the weights are. */
static pith__rows prepare(pass *p, const float *x, size_t rows, size_t width)
{
    pith__rows in = {.count = rows, .width = width, .f32 = x};
    if (p->model->precision == PITH_PRECISION_INT8) {
        p->model->ops->quantize_rows(p->ctx, x, rows, width, p->i8, p->scale);
        in.i8 = p->i8;
        in.scale = p->scale;
    }
    return in;
}

static pith_status linear(pass *p, const pith__matrix *w, const pith__rows *x, float *y)
{
    return p->model->ops->linear(p->ctx, w, x, y, p->err);
}

/* Appends the batch's keys and values to the caches and points every span at its own. */
static void place_keys(pass *p, size_t layer)
{
    const size_t width = kv_width(p->model);
    size_t first = 0;
    for (size_t s = 0; s < p->n_sequences; s++) {
        const pith__sequence *sequence = &p->sequences[s];
        pith__attention_span *span = &p->spans[s];
        *span = (pith__attention_span){.first = first,
                                       .count = sequence->count,
                                       .past = past_of(sequence),
                                       .k = p->k + first * width,
                                       .v = p->v + first * width};
        if (sequence->kv != NULL && sequence->count > 0) {
            float *keys = pith__kv_keys(sequence->kv, layer);
            float *values = pith__kv_values(sequence->kv, layer);
            const size_t bytes = sequence->count * width * sizeof(float);
            memcpy(keys + span->past * width, span->k, bytes);
            memcpy(values + span->past * width, span->v, bytes);
            span->k = keys;
            span->v = values;
        }
        first += sequence->count;
    }
}

static pith_status attention_half(pass *p, const pith__layer *layer, size_t index)
{
    const pith__model_config *c = &p->model->config;
    const pith__tensor_ops *ops = p->model->ops;
    ops->rms_norm(p->ctx, p->h, layer->attn_norm, p->rows, c->width, c->norm_eps, p->normed);
    const pith__rows in = prepare(p, p->normed, p->rows, c->width);
    PITH__TRY(linear(p, &layer->q, &in, p->q));
    PITH__TRY(linear(p, &layer->k, &in, p->k));
    PITH__TRY(linear(p, &layer->v, &in, p->v));
    ops->rope(p->ctx, p->q, p->rows, c->heads, c->head_dim, c->rope_pairs, p->cos, p->sin);
    ops->rope(p->ctx, p->k, p->rows, c->kv_heads, c->head_dim, c->rope_pairs, p->cos, p->sin);
    place_keys(p, index);
    const pith__attention attention = {.heads = c->heads,
                                       .kv_heads = c->kv_heads,
                                       .head_dim = c->head_dim,
                                       .scale = 1.0f / sqrtf((float)c->head_dim),
                                       .q = p->q,
                                       .out = p->mixed,
                                       .spans = p->spans,
                                       .n_spans = p->n_sequences};
    PITH__TRY(ops->attention(p->ctx, &attention, p->err));
    const pith__rows mixed = prepare(p, p->mixed, p->rows, q_width(p->model));
    PITH__TRY(linear(p, &layer->o, &mixed, p->delta));
    ops->add(p->ctx, p->h, p->delta, p->rows * c->width);
    return PITH_OK;
}

static pith_status feed_forward_half(pass *p, const pith__layer *layer)
{
    const pith__model_config *c = &p->model->config;
    const pith__tensor_ops *ops = p->model->ops;
    ops->rms_norm(p->ctx, p->h, layer->ffn_norm, p->rows, c->width, c->norm_eps, p->normed);
    const pith__rows in = prepare(p, p->normed, p->rows, c->width);
    PITH__TRY(linear(p, &layer->gate, &in, p->gate));
    PITH__TRY(linear(p, &layer->up, &in, p->up));
    ops->swiglu(p->ctx, p->gate, p->up, p->rows * c->ff);
    const pith__rows inner = prepare(p, p->gate, p->rows, c->ff);
    PITH__TRY(linear(p, &layer->down, &inner, p->delta));
    ops->add(p->ctx, p->h, p->delta, p->rows * c->width);
    return PITH_OK;
}

/* ---- outputs ------------------------------------------------------------------------------ */

/*
 * The head over the rows that have a target. They are moved to the front of
 * `normed` first, so that rows which only serve as context cost nothing.
 */
static pith_status write_nll(pass *p, const pith__forward_outputs *outputs)
{
    const size_t width = p->model->config.width;
    uint32_t *targets = NULL;
    float *nll = NULL;
    PITH__TRY(pith__arena_alloc(p->ctx->arena, p->rows, sizeof *targets, &targets, p->err));
    PITH__TRY(pith__arena_alloc(p->ctx->arena, p->rows, sizeof *nll, &nll, p->err));
    size_t count = 0;
    for (size_t r = 0; r < p->rows; r++) {
        if (outputs->targets[r] != PITH__NO_TARGET) {
            targets[count] = outputs->targets[r];
            memmove(p->normed + count * width, p->normed + r * width, width * sizeof(float));
            count++;
        }
    }
    if (count > 0) {
        const pith__rows in = prepare(p, p->normed, count, width);
        PITH__TRY(p->model->ops->head_nll(p->ctx, &p->model->head, &in, targets, nll, p->err));
    }
    count = 0;
    for (size_t r = 0; r < p->rows; r++) {
        const bool wanted = outputs->targets[r] != PITH__NO_TARGET;
        outputs->nll[r] = wanted ? nll[count++] : NAN;
        if (wanted && !isfinite(outputs->nll[r])) {
            return pith__fail(p->err, PITH_E_CORRUPT, "the model's prediction is not a number");
        }
    }
    return PITH_OK;
}

/*
 * The head over one row. A product of another shape may add in another order, so whoever wants a
 * row's logits gets them here: they are the same bits whatever else the pass computes.
 */
static pith_status write_row(pass *p, size_t row, float *logits)
{
    const size_t width = p->model->config.width;
    const pith__rows in = prepare(p, p->normed + row * width, 1, width);
    return linear(p, &p->model->head, &in, logits);
}

static pith_status write_logits(pass *p, const pith__forward_outputs *outputs)
{
    const size_t vocabulary = p->model->config.vocabulary;
    for (size_t r = 0; outputs->logits != NULL && r < p->rows; r++) {
        PITH__TRY(write_row(p, r, outputs->logits + r * vocabulary));
    }
    for (size_t s = 0, end = 0; outputs->last_logits != NULL && s < p->n_sequences; s++) {
        end += p->sequences[s].count;
        PITH__TRY(write_row(p, end - 1, outputs->last_logits + s * vocabulary));
    }
    return PITH_OK;
}

static pith_status write_outputs(pass *p, const pith__forward_outputs *outputs)
{
    const pith__model_config *c = &p->model->config;
    if (outputs->nll == NULL && outputs->hidden == NULL && outputs->logits == NULL &&
        outputs->last_logits == NULL) {
        return PITH_OK;
    }
    p->model->ops->rms_norm(p->ctx, p->h, p->model->output_norm, p->rows, c->width, c->norm_eps,
                            p->normed);
    if (outputs->hidden != NULL) {
        memcpy(outputs->hidden, p->normed, p->rows * c->width * sizeof(float));
    }
    PITH__TRY(write_logits(p, outputs));
    return outputs->nll == NULL ? PITH_OK : write_nll(p, outputs);
}

static pith_status run(pass *p, const pith__forward_outputs *outputs)
{
    PITH__TRY(allocate(p));
    for (size_t s = 0; s < p->n_sequences; s++) {
        if (p->sequences[s].kv != NULL) {
            PITH__TRY(pith__kv_reserve(p->sequences[s].kv, p->sequences[s].count, p->err));
        }
    }
    PITH__TRY(embed(p));
    PITH__TRY(rope_tables(p));
    for (size_t i = 0; i < p->model->config.layers; i++) {
        PITH__TRY(attention_half(p, &p->model->layers[i], i));
        PITH__TRY(feed_forward_half(p, &p->model->layers[i]));
    }
    return write_outputs(p, outputs);
}

pith_status pith__model_forward(const pith__model *model, const pith__tensor_ctx *ctx,
                                const pith__sequence *sequences, size_t n_sequences,
                                const pith__forward_outputs *outputs, pith_error *err)
{
    pass p = {
        .model = model, .ctx = ctx, .sequences = sequences, .n_sequences = n_sequences, .err = err};
    PITH__TRY(check(&p, outputs));
    if (p.rows == 0) {
        return PITH_OK;
    }
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    const pith_status status = run(&p, outputs);
    pith__arena_restore(ctx->arena, mark);
    for (size_t s = 0; status == PITH_OK && s < n_sequences; s++) {
        if (sequences[s].kv != NULL) {
            sequences[s].kv->length += sequences[s].count;
        }
    }
    return status;
}

unsigned pith__model_threads(const pith__model *model, size_t rows, unsigned threads)
{
    const bool pays = (double)model->parameters * (double)rows >= WORK_FOR_THREADS;
    return pays && threads > 1 ? threads : 1;
}
