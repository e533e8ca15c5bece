/*
 * grad_reference.h: the model once more, in double and as plain as can be, and what training
 * passes are compared with it on: a small random problem whose loss touches every output.
 *
 * Everything the loss depends on lies in one vector, a point:
 *
 *     weights and LoRA factors | added to the input rows | keys of the prefix | its values
 */
#ifndef PITH_GRAD_REFERENCE_H
#define PITH_GRAD_REFERENCE_H

#include "grad_fixture.h"

/* ---- problems ----------------------------------------------------------------------------- */

enum { PROBLEM_ROWS = 13, PROBLEM_PREFIX = 3, PROBLEM_CHOSEN = 9, PROBLEM_RANK = 3 };

typedef struct shape {
    const char *name;
    pith__model_config config;
    bool tied;
} shape;

/* Small, and as different as can be. */
static const shape shapes[] = {
    {"grouped",
     {.layers = 2,
      .width = 24,
      .heads = 4,
      .kv_heads = 2,
      .head_dim = 6,
      .ff = 20,
      .vocabulary = 29,
      .context = 256,
      .rope_pairs = 3,
      .rope_base = 10000.0f,
      .rope_scale = 1.0f,
      .norm_eps = 1e-5f},
     true},
    {"odd heads, untied",
     {.layers = 2,
      .width = 20,
      .heads = 3,
      .kv_heads = 1,
      .head_dim = 5,
      .ff = 31,
      .vocabulary = 37,
      .context = 256,
      .rope_pairs = 2,
      .rope_base = 500.0f,
      .rope_scale = 1.0f,
      .norm_eps = 1e-6f},
     false},
    {"few pairs",
     {.layers = 3,
      .width = 17,
      .heads = 2,
      .kv_heads = 2,
      .head_dim = 8,
      .ff = 24,
      .vocabulary = 23,
      .context = 256,
      .rope_pairs = 2,
      .rope_base = 10000.0f,
      .rope_scale = 0.5f,
      .norm_eps = 1e-3f},
     true},
    {"wide heads, untied",
     {.layers = 1,
      .width = 16,
      .heads = 6,
      .kv_heads = 3,
      .head_dim = 7,
      .ff = 9,
      .vocabulary = 41,
      .context = 256,
      .rope_pairs = 3,
      .rope_base = 1000.0f,
      .rope_scale = 1.0f,
      .norm_eps = 1e-5f},
     false},
};

enum { SHAPES = sizeof shapes / sizeof shapes[0] };

typedef struct problem {
    pith__model_config config;
    trainable t; /* weights and factors in one vector */
    pith__lora lora;
    pith__prefix prefix;
    pith__pass_input input;
    uint32_t ids[PROBLEM_ROWS];
    uint32_t positions[PROBLEM_ROWS];
    uint32_t documents[PROBLEM_ROWS];
    uint32_t first[PROBLEM_ROWS];
    uint8_t matrix[PROBLEM_ROWS * (PROBLEM_PREFIX + PROBLEM_ROWS)];
    float *embeddings; /* (rows, d) */
    float *prefix_k;   /* (layers, prefix, K) */
    float *prefix_v;
    /* the loss: cross-entropy of chosen rows, and linear in hidden states, keys and values */
    uint32_t rows[PROBLEM_CHOSEN];
    uint32_t targets[PROBLEM_CHOSEN];
    float weight[PROBLEM_CHOSEN];
    float *c_hidden; /* (rows, d) */
    float *c_keys;   /* (layers, rows, K) */
    float *c_values;
    /* the point */
    size_t nudge_at, keys_at, values_at, count;
    double *point;
} problem;

static inline float *problem_floats(size_t count, double deviation, uint64_t seed)
{
    float *values = malloc((count + 1) * sizeof *values);
    assert_non_null(values);
    fill_normal(values, count, deviation, seed);
    return values;
}

/* Weights far from what they are at the start, so that every factor of a gradient counts. */
static inline void problem_weights(problem *p, uint64_t seed)
{
    pith__grad_initialise(&p->config, &p->t.weights, seed);
    for (size_t i = 0; i < p->t.weights.n_items; i++) {
        const pith__weight *w = &p->t.weights.items[i];
        float *values = p->t.weights.values + w->at;
        for (size_t j = 0; j < weight_count(w); j++) {
            if (w->kind == PITH__WEIGHT_VECTOR) {
                values[j] = (float)(0.5 + random_unit(&seed));
            } else if (w->kind == PITH__WEIGHT_EMBEDDING) {
                values[j] = (float)(0.4 * random_normal(&seed));
            } else if (strstr(w->name, ".lora_") != NULL) {
                values[j] = (float)(0.15 * random_normal(&seed));
            }
        }
    }
}

/*
 * Documents of several lengths, one number twice; first rows that go up and down; positions with
 * gaps; a matrix of any kind.
 */
static inline void problem_rows(problem *p, uint64_t seed)
{
    static const uint32_t documents[PROBLEM_ROWS] = {4, 4, 4, 1, 1, 1, 1, 4, 4, 9, 9, 9, 9};
    static const uint32_t first[PROBLEM_ROWS] = {0, 0, 0, 2, 2, 0, 6, 6, 6, 8, 9, 6, 1};
    memcpy(p->documents, documents, sizeof documents);
    memcpy(p->first, first, sizeof first);
    for (size_t r = 0; r < PROBLEM_ROWS; r++) {
        p->ids[r] =
            r % 5 == 2 ? PITH__NO_ID : (uint32_t)test_random_below(&seed, p->config.vocabulary / 2);
        p->positions[r] = (uint32_t)(7 + r + 3 * (r / 4));
    }
    for (size_t i = 0; i < sizeof p->matrix; i++) {
        p->matrix[i] = (uint8_t)(test_random_below(&seed, 5) < 3);
    }
    /* one row sees nothing, one all, one the prefix alone */
    const size_t keys = PROBLEM_PREFIX + PROBLEM_ROWS;
    memset(p->matrix + 4 * keys, 0, keys);
    memset(p->matrix + 6 * keys, 2, keys);
    memset(p->matrix + 8 * keys + PROBLEM_PREFIX, 0, PROBLEM_ROWS);
    for (size_t i = 0; i < PROBLEM_CHOSEN; i++) {
        p->rows[i] =
            (uint32_t)(i * 5 % PROBLEM_ROWS); /* in no order, one left out here and there */
        p->targets[i] = (uint32_t)test_random_below(&seed, p->config.vocabulary);
        p->weight[i] = (float)(0.05 + 0.2 * random_unit(&seed));
    }
    p->weight[3] = 0.0f;
}

static inline void problem_point(problem *p)
{
    const size_t width = p->config.width;
    const size_t prefix = p->config.layers * p->prefix.count * kv_width(&p->config);
    p->nudge_at = p->t.weights.count;
    p->keys_at = p->nudge_at + PROBLEM_ROWS * width;
    p->values_at = p->keys_at + prefix;
    p->count = p->values_at + prefix;
    p->point = calloc(p->count, sizeof *p->point);
    assert_non_null(p->point);
    for (size_t i = 0; i < p->t.weights.count; i++) {
        p->point[i] = (double)p->t.weights.values[i];
    }
    for (size_t i = 0; i < prefix; i++) {
        p->point[p->keys_at + i] = (double)p->prefix_k[i];
        p->point[p->values_at + i] = (double)p->prefix_v[i];
    }
}

/* LoRA on all seven matrices; `prefix` tokens before the rows. */
static inline void problem_open(problem *p, const shape *of, size_t prefix, float dropout,
                                uint64_t seed)
{
    pith_error err = {0};
    memset(p, 0, sizeof *p);
    p->config = of->config;
    pith__weights_init(&p->t.weights, &pith__allocator_default);
    assert_ok(pith__grad_layout(&p->config, of->tied, &p->t.weights, &err), err);
    assert_ok(pith__lora_layout(&p->config, PROBLEM_RANK, (1u << PITH__BLOCK_MATRICES) - 1,
                                &p->t.weights, &err),
              err);
    trainable_finish(&p->t, &p->config, 1);
    problem_weights(p, seed);
    problem_rows(p, seed + 1);
    assert_ok(pith__lora_of(&p->config, &p->t.weights, 4.0f, dropout, &pith__allocator_default,
                            &p->lora, &err),
              err);
    const size_t width = PROBLEM_ROWS * p->config.width;
    const size_t own = p->config.layers * PROBLEM_ROWS * kv_width(&p->config);
    const size_t before = p->config.layers * prefix * kv_width(&p->config);
    p->embeddings = problem_floats(width, 0.5, seed + 2);
    p->prefix_k = problem_floats(before, 1.0, seed + 3);
    p->prefix_v = problem_floats(before, 1.0, seed + 4);
    p->c_hidden = problem_floats(width, 0.02, seed + 5);
    p->c_keys = problem_floats(own, 0.02, seed + 6);
    p->c_values = problem_floats(own, 0.02, seed + 7);
    p->prefix = (pith__prefix){prefix, p->prefix_k, p->prefix_v};
    p->input = (pith__pass_input){.rows = PROBLEM_ROWS,
                                  .ids = p->ids,
                                  .embeddings = p->embeddings,
                                  .positions = p->positions,
                                  .prefix = prefix == 0 ? NULL : &p->prefix,
                                  .lora = &p->lora};
    problem_point(p);
}

static inline void problem_close(problem *p)
{
    pith__lora_deinit(&p->lora);
    trainable_close(&p->t);
    free(p->embeddings);
    free(p->prefix_k);
    free(p->prefix_v);
    free(p->c_hidden);
    free(p->c_keys);
    free(p->c_values);
    free(p->point);
}

static inline void problem_mask(problem *p, pith__mask_rule rule)
{
    p->input.mask = (pith__mask){.rule = rule,
                                 .gist_first = 4,
                                 .gist_last = 6,
                                 .documents = p->documents,
                                 .first = p->first,
                                 .matrix = p->matrix};
}

/* ---- the library's answer -------------------------------------------------------------------- */

static inline double problem_sum(const problem *p, const pith__pass *pass, double cross_entropy)
{
    const size_t own = PROBLEM_ROWS * kv_width(&p->config);
    double sum =
        cross_entropy + dot(p->c_hidden, pith__pass_hidden(pass), PROBLEM_ROWS * p->config.width);
    for (size_t l = 0; l < p->config.layers; l++) {
        sum += dot(p->c_keys + l * own, pith__pass_keys(pass, l), own);
        sum += dot(p->c_values + l * own, pith__pass_values(pass, l), own);
    }
    return sum;
}

/*
 * The loss of the library's floats and, unless `gradient` is NULL, its gradient (count) by
 * every part of the point. With `recompute` keys and values are left out of the loss itself.
 */
static inline double problem_run(const problem *p, float *gradient)
{
    const size_t width = PROBLEM_ROWS * p->config.width;
    const pith__arena_mark mark = pith__arena_save(p->t.ctx.arena);
    pith__pass *pass = pass_run(&p->t.model, &p->t.ctx, &p->input);
    const pith__sink sink = {p->t.weights.values, gradient,
                             gradient == NULL ? 0 : p->t.weights.count};
    float *d_hidden = malloc(width * sizeof *d_hidden);
    assert_non_null(d_hidden);
    memcpy(d_hidden, p->c_hidden, width * sizeof *d_hidden);
    if (gradient != NULL) {
        memset(gradient, 0, p->count * sizeof *gradient);
    }
    const pith__loss loss = {.model = &p->t.model,
                             .ctx = &p->t.ctx,
                             .hidden = pith__pass_hidden(pass),
                             .n = PROBLEM_CHOSEN,
                             .rows = p->rows,
                             .weight = p->weight,
                             .d_hidden = gradient == NULL ? NULL : d_hidden,
                             .sink = sink};
    double sum = loss_cross_entropy(&loss, p->targets);
    if (!p->input.recompute) {
        sum = problem_sum(p, pass, sum);
    }
    if (gradient != NULL) {
        pass_back(pass, &(pith__pass_gradients){.d_hidden = d_hidden,
                                                .d_keys = p->c_keys,
                                                .d_values = p->c_values,
                                                .sink = sink,
                                                .d_embeddings = gradient + p->nudge_at,
                                                .d_prefix_keys = gradient + p->keys_at,
                                                .d_prefix_values = gradient + p->values_at});
    }
    pith__arena_restore(p->t.ctx.arena, mark);
    free(d_hidden);
    return sum;
}

/* ---- the reference's answer ------------------------------------------------------------------- */

typedef struct reference {
    const problem *p;
    const double *point;
    double *x; /* (rows, d) */
    double *n; /* (rows, d) */
    double *q; /* (rows, H) */
    double *k; /* (layers, prefix + rows, K) */
    double *v;
    double *mixed;  /* (rows, H) */
    double *gate;   /* (rows, ff) */
    double *up;     /* (rows, ff) */
    double *hidden; /* (rows, d) */
} reference;

static inline const double *reference_tensor(const reference *f, const char *name)
{
    return f->point + weight_named(&f->p->t.weights, name)->at;
}

static inline size_t reference_keys(const reference *f)
{
    return f->p->prefix.count + PROBLEM_ROWS;
}

/* out (outputs) += factor W x. */
static inline void reference_product(const double *w, size_t outputs, size_t inputs, double factor,
                                     const double *x, double *out)
{
    for (size_t o = 0; o < outputs; o++) {
        double sum = 0.0;
        for (size_t i = 0; i < inputs; i++) {
            sum += w[o * inputs + i] * x[i];
        }
        out[o] += factor * sum;
    }
}

/* y += (W + alpha / rank B A) x, row by row. */
static inline void reference_linear(const reference *f, size_t layer, const char *stem,
                                    const double *x, double *y)
{
    const pith__lora *lora = f->p->input.lora;
    char name[64];
    (void)snprintf(name, sizeof name, "blk.%zu.%s.weight", layer, stem);
    const pith__weight *w = weight_named(&f->p->t.weights, name);
    const double *weight = reference_tensor(f, name);
    (void)snprintf(name, sizeof name, "blk.%zu.%s.weight.lora_a", layer, stem);
    const double *a = reference_tensor(f, name);
    (void)snprintf(name, sizeof name, "blk.%zu.%s.weight.lora_b", layer, stem);
    const double *b = reference_tensor(f, name);
    for (size_t r = 0; r < PROBLEM_ROWS; r++) {
        double inner[PROBLEM_RANK] = {0.0};
        reference_product(weight, w->rows, w->cols, 1.0, x + r * w->cols, y + r * w->rows);
        if (lora != NULL) {
            reference_product(a, PROBLEM_RANK, w->cols, 1.0, x + r * w->cols, inner);
            reference_product(b, w->rows, PROBLEM_RANK, (double)lora->alpha / PROBLEM_RANK, inner,
                              y + r * w->rows);
        }
    }
}

static inline void reference_norm(const reference *f, const double *x, const char *name, double *y)
{
    const size_t d = f->p->config.width;
    const double *weight = reference_tensor(f, name);
    for (size_t r = 0; r < PROBLEM_ROWS; r++) {
        double squares = 0.0;
        for (size_t i = 0; i < d; i++) {
            squares += x[r * d + i] * x[r * d + i];
        }
        const double size = sqrt(squares / (double)d + (double)f->p->config.norm_eps);
        for (size_t i = 0; i < d; i++) {
            y[r * d + i] = x[r * d + i] / size * weight[i];
        }
    }
}

static inline void reference_rope(const reference *f, double *x, size_t heads)
{
    const pith__model_config *c = &f->p->config;
    for (size_t r = 0; r < PROBLEM_ROWS; r++) {
        for (size_t i = 0; i < heads * c->rope_pairs; i++) {
            const size_t pair = i % c->rope_pairs;
            double *at = x + (r * heads + i / c->rope_pairs) * c->head_dim + 2 * pair;
            const double angle = (double)f->p->positions[r] * (double)c->rope_scale *
                                 pow((double)c->rope_base, -(double)pair / (double)c->rope_pairs);
            const double even = at[0] * cos(angle) - at[1] * sin(angle);
            at[1] = at[0] * sin(angle) + at[1] * cos(angle);
            at[0] = even;
        }
    }
}

/* Whether row r sees row j, by the words of grad.h. */
static inline bool rule_sees(const pith__mask *mask, size_t r, size_t j)
{
    bool same = true;
    for (size_t i = j; i < r; i++) {
        same = same && mask->documents[i] == mask->documents[r];
    }
    const bool after = r > mask->gist_last;
    switch (mask->rule) {
    case PITH__MASK_GIST:
        return j <= r && (!after || j >= mask->gist_first);
    case PITH__MASK_GIST_NEGATIVE:
        return j <= r && (!after || j > mask->gist_last);
    case PITH__MASK_DOCUMENTS:
        return j <= r && same;
    case PITH__MASK_FIRST:
        return j <= r && j >= mask->first[r];
    case PITH__MASK_CAUSAL:
    case PITH__MASK_MATRIX:
    default:
        return j <= r;
    }
}

static inline bool reference_sees(const reference *f, size_t r, size_t key)
{
    const pith__mask *mask = &f->p->input.mask;
    if (mask->rule == PITH__MASK_MATRIX) {
        return mask->matrix[r * reference_keys(f) + key] != 0;
    }
    return key < f->p->prefix.count || rule_sees(mask, r, key - f->p->prefix.count);
}

static inline void reference_attend(const reference *f, size_t r, size_t head, const double *k,
                                    const double *v, double *out)
{
    const pith__model_config *c = &f->p->config;
    const size_t keys = reference_keys(f);
    const size_t at = head / (c->heads / c->kv_heads) * c->head_dim;
    const double *q = f->q + (r * c->heads + head) * c->head_dim;
    double total = 0.0;
    for (size_t j = 0; j < keys; j++) {
        if (!reference_sees(f, r, j)) {
            continue;
        }
        double score = 0.0;
        for (size_t i = 0; i < c->head_dim; i++) {
            score += q[i] * k[j * kv_width(c) + at + i];
        }
        const double weight = exp(score / sqrt((double)c->head_dim));
        total += weight;
        for (size_t i = 0; i < c->head_dim; i++) {
            out[i] += weight * v[j * kv_width(c) + at + i];
        }
    }
    for (size_t i = 0; total > 0.0 && i < c->head_dim; i++) {
        out[i] /= total;
    }
}

static inline void reference_attention_half(const reference *f, size_t layer)
{
    const problem *p = f->p;
    const pith__model_config *c = &p->config;
    const size_t width = kv_width(c);
    const size_t before = p->prefix.count * width;
    double *k = f->k + layer * reference_keys(f) * width;
    double *v = f->v + layer * reference_keys(f) * width;
    char name[64];
    (void)snprintf(name, sizeof name, "blk.%zu.attn_norm.weight", layer);
    reference_norm(f, f->x, name, f->n);
    memset(f->q, 0, PROBLEM_ROWS * c->heads * c->head_dim * sizeof *f->q);
    memset(f->mixed, 0, PROBLEM_ROWS * c->heads * c->head_dim * sizeof *f->mixed);
    memset(k, 0, reference_keys(f) * width * sizeof *k);
    memset(v, 0, reference_keys(f) * width * sizeof *v);
    memcpy(k, f->point + p->keys_at + layer * before, before * sizeof *k);
    memcpy(v, f->point + p->values_at + layer * before, before * sizeof *v);
    reference_linear(f, layer, "attn_q", f->n, f->q);
    reference_linear(f, layer, "attn_k", f->n, k + before);
    reference_linear(f, layer, "attn_v", f->n, v + before);
    reference_rope(f, f->q, c->heads);
    reference_rope(f, k + before, c->kv_heads);
    for (size_t i = 0; i < PROBLEM_ROWS * c->heads; i++) {
        reference_attend(f, i / c->heads, i % c->heads, k, v, f->mixed + i * c->head_dim);
    }
    reference_linear(f, layer, "attn_output", f->mixed, f->x);
}

static inline void reference_feed_forward_half(const reference *f, size_t layer)
{
    const size_t count = PROBLEM_ROWS * f->p->config.ff;
    char name[64];
    (void)snprintf(name, sizeof name, "blk.%zu.ffn_norm.weight", layer);
    reference_norm(f, f->x, name, f->n);
    memset(f->gate, 0, count * sizeof *f->gate);
    memset(f->up, 0, count * sizeof *f->up);
    reference_linear(f, layer, "ffn_gate", f->n, f->gate);
    reference_linear(f, layer, "ffn_up", f->n, f->up);
    for (size_t i = 0; i < count; i++) {
        f->gate[i] *= f->up[i] / (1.0 + exp(-f->gate[i]));
    }
    reference_linear(f, layer, "ffn_down", f->gate, f->x);
}

static inline void reference_inputs(const reference *f)
{
    const problem *p = f->p;
    const size_t d = p->config.width;
    const double *table = reference_tensor(f, "token_embd.weight");
    for (size_t i = 0; i < PROBLEM_ROWS * d; i++) {
        const uint32_t id = p->ids[i / d];
        f->x[i] = f->point[p->nudge_at + i] +
                  (id == PITH__NO_ID ? (double)p->embeddings[i] : table[id * d + i % d]);
    }
}

static inline double *reference_array(size_t count)
{
    double *array = calloc(count + 1, sizeof *array);
    assert_non_null(array);
    return array;
}

static inline void reference_open(reference *f, const problem *p)
{
    const pith__model_config *c = &p->config;
    memset(f, 0, sizeof *f);
    f->p = p;
    f->x = reference_array(PROBLEM_ROWS * c->width);
    f->n = reference_array(PROBLEM_ROWS * c->width);
    f->q = reference_array(PROBLEM_ROWS * c->heads * c->head_dim);
    f->mixed = reference_array(PROBLEM_ROWS * c->heads * c->head_dim);
    f->gate = reference_array(PROBLEM_ROWS * c->ff);
    f->up = reference_array(PROBLEM_ROWS * c->ff);
    f->hidden = reference_array(PROBLEM_ROWS * c->width);
    f->k = reference_array(c->layers * reference_keys(f) * kv_width(c));
    f->v = reference_array(c->layers * reference_keys(f) * kv_width(c));
}

static inline void reference_close(reference *f)
{
    double *arrays[] = {f->x, f->n, f->q, f->mixed, f->gate, f->up, f->hidden, f->k, f->v};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        free(arrays[i]);
    }
}

static inline double reference_cross_entropy(const double *head, size_t vocabulary, size_t d,
                                             const double *hidden, size_t target)
{
    double sum = 0.0;
    double wanted = 0.0;
    for (size_t v = 0; v < vocabulary; v++) {
        double logit = 0.0;
        reference_product(head + v * d, 1, d, 1.0, hidden, &logit);
        sum += exp(logit);
        wanted = v == target ? logit : wanted;
    }
    return log(sum) - wanted;
}

static inline double reference_dot(const float *a, const double *b, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)a[i] * b[i];
    }
    return sum;
}

/* The problem's loss at `point`; hidden states, keys and values stay in *f. */
static inline double reference_run(reference *f, const double *point)
{
    const problem *p = f->p;
    const size_t d = p->config.width;
    const size_t width = kv_width(&p->config);
    f->point = point;
    reference_inputs(f);
    for (size_t l = 0; l < p->config.layers; l++) {
        reference_attention_half(f, l);
        reference_feed_forward_half(f, l);
    }
    reference_norm(f, f->x, "output_norm.weight", f->hidden);
    const bool untied = pith__weights_find(&p->t.weights, "output.weight") != NULL;
    const double *head = reference_tensor(f, untied ? "output.weight" : "token_embd.weight");
    double loss = reference_dot(p->c_hidden, f->hidden, PROBLEM_ROWS * d);
    for (size_t i = 0; i < PROBLEM_CHOSEN; i++) {
        loss += (double)p->weight[i] * reference_cross_entropy(head, p->config.vocabulary, d,
                                                               f->hidden + p->rows[i] * d,
                                                               p->targets[i]);
    }
    for (size_t l = 0; l < p->config.layers; l++) {
        const size_t own = (l * reference_keys(f) + p->prefix.count) * width;
        const size_t at = l * PROBLEM_ROWS * width;
        loss += reference_dot(p->c_keys + at, f->k + own, PROBLEM_ROWS * width);
        loss += reference_dot(p->c_values + at, f->v + own, PROBLEM_ROWS * width);
    }
    return loss;
}

/* ---- finite differences ---------------------------------------------------------------------- */

/* The loss at a point; what is moved is moved back by the caller. */
typedef double (*loss_at)(void *user, const double *point);

/* Fourth-order central difference along `direction` (+-1 where marked, else 0). */
static inline double slope(loss_at loss, void *user, double *point, const double *base,
                           const int8_t *direction, size_t count, double step)
{
    static const double multiples[] = {1.0, -1.0, 2.0, -2.0};
    static const double factors[] = {8.0, -8.0, -1.0, 1.0};
    double sum = 0.0;
    for (size_t k = 0; k < 4; k++) {
        for (size_t i = 0; i < count; i++) {
            point[i] = base[i] + multiples[k] * step * direction[i];
        }
        sum += factors[k] * loss(user, point);
    }
    memcpy(point, base, count * sizeof *point);
    return sum / (12.0 * step);
}

/*
 * How far a gradient is off, as a share of its norm. Along a direction of random signs s
 * the error (g - true) s has the expected square ||g - true||^2: every element counts.
 */
static inline double direction_error(double slope_there, const float *gradient,
                                     const int8_t *direction, size_t count)
{
    double along = 0.0;
    double square = 0.0;
    for (size_t i = 0; i < count; i++) {
        if (direction[i] != 0) {
            along += (double)gradient[i] * direction[i];
            square += (double)gradient[i] * (double)gradient[i];
        }
    }
    const double error = fabs(slope_there - along) / (square > 0.0 ? sqrt(square) : 1.0);
    return isfinite(error) ? error : HUGE_VAL;
}

#endif /* PITH_GRAD_REFERENCE_H */
