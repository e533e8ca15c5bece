/*
 * test_grad_golden.c: losses and gradients against values of independent implementations
 * (float64 PyTorch; tests/golden/train), for the uses that training makes of a pass: plain and
 * masked cross-entropy, soft prompts, LoRA, gist tokens, key-value slots, embedding connectors.
 *
 * Of h_other only llama_untied can be run: qwen2, qwen3 and gpt2 are other architectures. g_*
 * (optimiser, schedules, clipping) belong to the tests of lib/train.
 */
#include "gold_fixture.h"

/* ---- comparing ----------------------------------------------------------------------------- */

/* Norm, sum and some values of one gradient. */
static void compare_summary(worst *w, const json_t *summary, const float *got, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)got[i];
    }
    const double norm = gold_number(summary, "norm");
    keep_worst(&w->gradient, fabs(sqrt(dot(got, got, count)) - norm) / norm);
    /* an error of a share e of the norm, spread evenly, moves the sum by at most e norm sqrt(n) */
    keep_worst(&w->gradient,
               fabs(sum - gold_number(summary, "sum")) / (norm * sqrt((double)count)));
    const json_t *index = json_object_get(summary, "index");
    const json_t *value = json_object_get(summary, "value");
    const size_t n = json_array_size(index);
    assert_in_range(n, 1, 64);
    double off = 0.0;
    double size = 0.0;
    for (size_t i = 0; i < n; i++) {
        const size_t at = (size_t)json_integer_value(json_array_get(index, i));
        const double expected = json_number_value(json_array_get(value, i));
        assert_true(at < count);
        off += ((double)got[at] - expected) * ((double)got[at] - expected);
        size += expected * expected;
    }
    /* a handful of small values says little: measured against the typical size if that is more */
    const double typical = norm * sqrt((double)n / (double)count);
    keep_worst(&w->gradient, sqrt(off) / fmax(sqrt(size), typical));
    w->arrays++;
}

/* Every tensor of the model against its summary, and whole where there is an array. */
static void compare_weights(worst *w, const gold *g, const json_t *grads, const trainable *t)
{
    size_t compared = 0;
    for (size_t i = 0; i < t->weights.n_items; i++) {
        const pith__weight *weight = &t->weights.items[i];
        const float *got = t->gradients + weight->at;
        const size_t count = weight_count(weight);
        const json_t *summary = json_object_get(grads, weight->name);
        if (summary == NULL) {
            fail_msg("no summary of %s", weight->name);
        }
        compare_summary(w, summary, got, count);
        compared++;
        char name[80];
        (void)snprintf(name, sizeof name, "grad.%s", weight->name);
        if (g != NULL && pith__gguf_find_tensor(&g->arrays, name) != NULL) {
            worst_gradient(w, got, gold_array(g, name, count), count);
        }
    }
    assert_int_equal(compared, json_object_size(grads));
}

/* Logits of one row of hidden states. */
static void compare_logits(worst *w, const trainable *t, const float *hidden, const float *expected)
{
    float logits[VOCABULARY];
    pith_error err = {0};
    const pith__rows row = {.count = 1, .width = WIDTH, .f32 = hidden};
    assert_int_equal(t->model.head.rows, VOCABULARY);
    assert_ok(t->model.ops->linear(&t->ctx, &t->model.head, &row, logits, &err), err);
    keep_worst(&w->logit, largest_difference(logits, expected, VOCABULARY));
}

/* ---- a: cross-entropy ---------------------------------------------------------------------------- */

/* Mean cross-entropy of all predictions in `ids`, gradients of all weights. */
static double plain_cross_entropy(const trainable *t, const uint32_t *ids, size_t rows,
                                  bool recompute)
{
    const pith__arena_mark mark = pith__arena_save(t->ctx.arena);
    float *d_hidden = calloc(rows * WIDTH, sizeof *d_hidden);
    row_range range;
    const pith__pass_input input = {.rows = rows, .ids = ids, .recompute = recompute};
    pith__pass *pass = pass_run(&t->model, &t->ctx, &input);
    pith__loss loss = mean_loss(&t->model, &t->ctx, pith__pass_hidden(pass), 0, rows, &range);
    loss.d_hidden = d_hidden;
    loss.sink = trainable_sink(t);
    const double value = loss_cross_entropy(&loss, ids + 1);
    pass_back(pass, &(pith__pass_gradients){.d_hidden = d_hidden, .sink = trainable_sink(t)});
    pith__arena_restore(t->ctx.arena, mark);
    free(d_hidden);
    return value;
}

static void a_cross_entropy(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, "a_ce");
    worst w = {0};
    uint32_t ids[ROWS_MAX];
    const size_t rows = gold_ids(b.gold.part, "ids", ids, 0) - 1;
    worst_loss(&w, plain_cross_entropy(&b.base, ids, rows, false),
               gold_number(b.gold.part, "loss"));
    compare_weights(&w, &b.gold, json_object_get(b.gold.part, "grads"), &b.base);
    const json_t *listed = json_object_get(b.gold.part, "embd_rows");
    const size_t n = json_array_size(listed);
    const float *expected = gold_array(&b.gold, "grad.token_embd.rows", n * WIDTH);
    const size_t at = weight_named(&b.base.weights, "token_embd.weight")->at;
    for (size_t i = 0; i < n; i++) {
        const size_t row = (size_t)json_integer_value(json_array_get(listed, i));
        worst_gradient(&w, b.base.gradients + at + row * WIDTH, expected + i * WIDTH, WIDTH);
    }
    worst_report("a_ce", &w);
    bench_close(&b);
}

static void a_recomputed_is_the_same_bytes(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, "a_ce");
    uint32_t ids[ROWS_MAX];
    const size_t rows = gold_ids(b.gold.part, "ids", ids, 0) - 1;
    const size_t bytes = b.base.weights.count * sizeof(float);
    float *first = malloc(bytes);
    const double kept = plain_cross_entropy(&b.base, ids, rows, false);
    memcpy(first, b.base.gradients, bytes);
    trainable_zero(&b.base);
    const double recomputed = plain_cross_entropy(&b.base, ids, rows, true);
    assert_memory_equal(&kept, &recomputed, sizeof kept);
    assert_memory_equal(first, b.base.gradients, bytes);
    assert_true(dot(first, first, b.base.weights.count) > 1.0);
    free(first);
    bench_close(&b);
}

/* The loss on the last targets alone, down to the embeddings that went in. */
static void a_masked_cross_entropy(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, "a_masked");
    worst w = {0};
    uint32_t ids[ROWS_MAX];
    const size_t rows = gold_ids(b.gold.part, "ids", ids, 0) - 1;
    const size_t last = gold_size(b.gold.part, "last_n");
    float *d_hidden = calloc(rows * WIDTH, sizeof *d_hidden);
    float *d_embeddings = calloc(rows * WIDTH, sizeof *d_embeddings);
    row_range range;
    pith__pass *pass =
        pass_run(&b.base.model, &b.base.ctx, &(pith__pass_input){.rows = rows, .ids = ids});
    pith__loss loss =
        mean_loss(&b.base.model, &b.base.ctx, pith__pass_hidden(pass), rows - last, last, &range);
    loss.d_hidden = d_hidden;
    worst_loss(&w, loss_cross_entropy(&loss, ids + 1 + rows - last),
               gold_number(b.gold.part, "loss"));
    pass_back(pass, &(pith__pass_gradients){.d_hidden = d_hidden, .d_embeddings = d_embeddings});
    worst_gradient(&w, d_embeddings, gold_array(&b.gold, "grad.input_embeddings", rows * WIDTH),
                   rows * WIDTH);
    worst_report("a_masked", &w);
    free(d_hidden);
    free(d_embeddings);
    bench_close(&b);
}

/* ---- b: a soft prompt learns from a teacher ---------------------------------------------------------- */

typedef struct soft {
    bench bench;
    worst worst;
    size_t m;       /* rows of the soft prompt */
    size_t n;       /* tokens of y */
    size_t context; /* rows of the teacher before y */
    uint32_t teacher_ids[ROWS_MAX];
    uint32_t student_ids[ROWS_MAX]; /* y, after m rows that are given */
    float embeddings[ROWS_MAX * WIDTH];
    float teacher[ROWS_MAX * WIDTH]; /* its hidden states at y's positions */
} soft;

static void soft_open(soft *s)
{
    bench_open(&s->bench, "b_soft");
    const json_t *part = s->bench.gold.part;
    s->m = gold_size(part, "m");
    s->teacher_ids[0] = (uint32_t)golden_integer(s->bench.gold.root, "bos");
    s->context = gold_ids(part, "context", s->teacher_ids, 1);
    const size_t rows = gold_ids(part, "y", s->teacher_ids, s->context);
    s->n = rows - s->context;
    for (size_t i = 0; i < s->m; i++) {
        s->student_ids[i] = PITH__NO_ID;
    }
    memcpy(s->student_ids + s->m, s->teacher_ids + s->context, s->n * sizeof *s->student_ids);
    memcpy(s->embeddings, gold_array(&s->bench.gold, "soft", s->m * WIDTH),
           s->m * WIDTH * sizeof *s->embeddings);
    const trainable *base = &s->bench.base;
    const pith__pass *pass = pass_run(&base->model, &base->ctx,
                                      &(pith__pass_input){.rows = rows, .ids = s->teacher_ids});
    memcpy(s->teacher, pith__pass_hidden(pass) + s->context * WIDTH,
           s->n * WIDTH * sizeof *s->teacher);
    const float *logits = gold_array(&s->bench.gold, "teacher_logits_first2", 2 * VOCABULARY);
    compare_logits(&s->worst, base, s->teacher, logits);
    compare_logits(&s->worst, base, s->teacher + WIDTH, logits + VOCABULARY);
}

/* `soft_kl`: a divergence to the teacher at all of y; else cross-entropy of y after its first. */
static void soft_check(soft *s, const char *name, bool soft_kl, pith__kl_direction direction,
                       float temperature)
{
    const trainable *base = &s->bench.base;
    const size_t rows = s->m + s->n;
    float d_hidden[ROWS_MAX * WIDTH] = {0};
    float d_embeddings[ROWS_MAX * WIDTH];
    row_range range;
    pith_error err = {0};
    double value = 0.0;
    pith__pass *pass = pass_run(
        &base->model, &base->ctx,
        &(pith__pass_input){.rows = rows, .ids = s->student_ids, .embeddings = s->embeddings});
    const float *hidden = pith__pass_hidden(pass);
    const size_t n = soft_kl ? s->n : s->n - 1;
    pith__loss loss = mean_loss(&base->model, &base->ctx, hidden, s->m, n, &range);
    loss.d_hidden = d_hidden;
    if (soft_kl) {
        assert_ok(
            pith__loss_kl(&loss, &base->model, s->teacher, direction, temperature, &value, &err),
            err);
    } else {
        value = loss_cross_entropy(&loss, s->student_ids + s->m + 1);
    }
    worst_loss(&s->worst, value, gold_number(s->bench.gold.part, name));
    pass_back(pass, &(pith__pass_gradients){.d_hidden = d_hidden, .d_embeddings = d_embeddings});
    char array[32];
    (void)snprintf(array, sizeof array, "grad.%s", name);
    worst_gradient(&s->worst, d_embeddings, gold_array(&s->bench.gold, array, s->m * WIDTH),
                   s->m * WIDTH);
}

static void b_soft_prompt(void **state)
{
    (void)state;
    soft *s = calloc(1, sizeof *s);
    assert_non_null(s);
    soft_open(s);
    soft_check(s, "forward_kl", true, PITH__KL_FORWARD, 1.0f);
    soft_check(s, "reverse_kl", true, PITH__KL_REVERSE, 1.0f);
    soft_check(s, "forward_kl_t2", true, PITH__KL_FORWARD, 2.0f);
    soft_check(s, "ce", false, PITH__KL_FORWARD, 1.0f);
    assert_frozen(&s->bench.base);
    worst_report("b_soft", &s->worst);
    bench_close(&s->bench);
    free(s);
}

/* The soft prompt lives in a vector of its own: a sink of it leaves the base alone. */
static void b_the_base_is_frozen(void **state)
{
    (void)state;
    soft *s = calloc(1, sizeof *s);
    assert_non_null(s);
    soft_open(s);
    float gradients[ROWS_MAX * WIDTH] = {0};
    float d_hidden[ROWS_MAX * WIDTH] = {0};
    const trainable *base = &s->bench.base;
    const pith__sink sink = {s->embeddings, gradients, s->m * WIDTH};
    row_range range;
    pith__pass *pass =
        pass_run(&base->model, &base->ctx,
                 &(pith__pass_input){
                     .rows = s->m + s->n, .ids = s->student_ids, .embeddings = s->embeddings});
    pith__loss loss =
        mean_loss(&base->model, &base->ctx, pith__pass_hidden(pass), s->m, s->n - 1, &range);
    loss.d_hidden = d_hidden;
    loss.sink = sink;
    assert_true(loss_cross_entropy(&loss, s->student_ids + s->m + 1) > 1.0);
    pass_back(pass, &(pith__pass_gradients){.d_hidden = d_hidden, .sink = sink});
    for (size_t i = 0; i < ROWS_MAX * WIDTH; i++) {
        assert_true(gradients[i] == 0.0f);
    }
    assert_frozen(base);
    bench_close(&s->bench);
    free(s);
}

/* ---- c: LoRA ------------------------------------------------------------------------------------------- */

/* Factors on attn_q and attn_v, from a reference file. */
typedef struct adapter {
    pith__weights weights;
    float *gradients;
    pith__lora lora;
} adapter;

static void adapter_open(adapter *a, const gold *g, const pith__model_config *config)
{
    pith_error err = {0};
    pith__weights_init(&a->weights, &pith__allocator_default);
    assert_ok(pith__lora_layout(config, (uint32_t)golden_integer(g->part, "r"),
                                (1u << PITH__MATRIX_Q) | (1u << PITH__MATRIX_V), &a->weights, &err),
              err);
    assert_ok(pith__weights_allocate(&a->weights, &err), err);
    assert_int_equal(a->weights.n_items, 4 * LAYERS);
    for (size_t i = 0; i < a->weights.n_items; i++) {
        const pith__weight *weight = &a->weights.items[i];
        memcpy(a->weights.values + weight->at, gold_array(g, weight->name, weight_count(weight)),
               weight_count(weight) * sizeof(float));
    }
    const float alpha = (float)gold_number(g->part, "alpha");
    assert_ok(
        pith__lora_of(config, &a->weights, alpha, 0.0f, &pith__allocator_default, &a->lora, &err),
        err);
    assert_int_equal(a->lora.rank, golden_integer(g->part, "r"));
    a->gradients = calloc(a->weights.count, sizeof *a->gradients);
    assert_non_null(a->gradients);
}

static void adapter_close(adapter *a)
{
    pith__lora_deinit(&a->lora);
    pith__weights_deinit(&a->weights);
    free(a->gradients);
}

static pith__sink adapter_sink(const adapter *a)
{
    return (pith__sink){a->weights.values, a->gradients, a->weights.count};
}

/* Gradients of the factors against arrays "grad.PREFIX...". */
static void adapter_compare(worst *w, const adapter *a, const gold *g, const char *prefix)
{
    for (size_t i = 0; i < a->weights.n_items; i++) {
        const pith__weight *weight = &a->weights.items[i];
        char name[128];
        (void)snprintf(name, sizeof name, "grad.%s%s", prefix, weight->name);
        const size_t count = weight_count(weight);
        worst_gradient(w, a->gradients + weight->at, gold_array(g, name, count), count);
    }
}

/* Mean cross-entropy of ids[1 ..]; gradients of the factors if there are any. */
static double adapted_cross_entropy(const trainable *base, const adapter *a, const uint32_t *ids,
                                    size_t rows, float *hidden)
{
    float d_hidden[ROWS_MAX * WIDTH] = {0};
    row_range range;
    pith__pass *pass = pass_run(
        &base->model, &base->ctx,
        &(pith__pass_input){.rows = rows, .ids = ids, .lora = a == NULL ? NULL : &a->lora});
    memcpy(hidden, pith__pass_hidden(pass), rows * WIDTH * sizeof *hidden);
    pith__loss loss = mean_loss(&base->model, &base->ctx, hidden, 0, rows, &range);
    loss.d_hidden = d_hidden;
    const double value = loss_cross_entropy(&loss, ids + 1);
    if (a != NULL) {
        pass_back(pass, &(pith__pass_gradients){.d_hidden = d_hidden, .sink = adapter_sink(a)});
    }
    return value;
}

static void c_lora(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, "c_lora");
    const json_t *part = b.gold.part;
    adapter a;
    adapter_open(&a, &b.gold, &b.base.model.config);
    worst w = {0};
    uint32_t ids[ROWS_MAX];
    float plain[ROWS_MAX * WIDTH];
    float hidden[ROWS_MAX * WIDTH];
    const size_t rows = gold_ids(part, "ids", ids, 0) - 1;
    worst_loss(&w, adapted_cross_entropy(&b.base, &a, ids, rows, hidden),
               gold_number(part, "loss"));
    adapter_compare(&w, &a, &b.gold, "");
    worst_loss(&w, adapted_cross_entropy(&b.base, NULL, ids, rows, plain),
               gold_number(part, "loss_without_lora"));
    assert_true(relative_error(hidden, plain, rows * WIDTH) > 1e-2);
    /* B = 0: the base; A then gets no gradient, B does */
    for (size_t i = 0; i < a.weights.n_items; i++) {
        const pith__weight *weight = &a.weights.items[i];
        if (strstr(weight->name, ".lora_b") != NULL) {
            memset(a.weights.values + weight->at, 0, weight_count(weight) * sizeof(float));
        }
    }
    memset(a.gradients, 0, a.weights.count * sizeof *a.gradients);
    (void)adapted_cross_entropy(&b.base, &a, ids, rows, hidden);
    assert_true(largest_difference(hidden, plain, rows * WIDTH) == 0.0);
    for (size_t i = 0; i < a.weights.n_items; i++) {
        const pith__weight *weight = &a.weights.items[i];
        const float *got = a.gradients + weight->at;
        const double size = dot(got, got, weight_count(weight));
        assert_true((size > 0.0) == (strstr(weight->name, ".lora_b") != NULL));
    }
    assert_frozen(&b.base);
    worst_report("c_lora", &w);
    adapter_close(&a);
    bench_close(&b);
}

/* ---- d: gist tokens ------------------------------------------------------------------------------------- */

typedef struct gist {
    bench bench;
    worst worst;
    size_t rows; /* all ids, the last predicts nothing */
    size_t k;
    size_t first, last;      /* rows of the gist tokens */
    uint32_t ids[ROWS_MAX];  /* as listed: the gist's id is one past the vocabulary */
    uint32_t open[ROWS_MAX]; /* with PITH__NO_ID in its place */
    float embeddings[ROWS_MAX * WIDTH];
    uint8_t matrix[ROWS_MAX * ROWS_MAX];
} gist;

static void gist_open(gist *g)
{
    bench_open(&g->bench, "d_gist");
    const json_t *part = g->bench.gold.part;
    const uint32_t id = (uint32_t)golden_integer(part, "gist_id");
    assert_int_equal(id, VOCABULARY);
    g->rows = gold_ids(part, "ids", g->ids, 0);
    g->k = gold_size(part, "k");
    g->first = gold_size(part, "first_gist");
    g->last = gold_size(part, "last_gist");
    const float *row = gold_array(&g->bench.gold, "gist_row", WIDTH);
    for (size_t i = 0; i < g->rows; i++) {
        assert_int_equal(g->ids[i] == id, i >= g->first && i <= g->last);
        g->open[i] = g->ids[i] == id ? PITH__NO_ID : g->ids[i];
        memcpy(g->embeddings + i * WIDTH, row, WIDTH * sizeof *row);
    }
    const float *mask = gold_array(&g->bench.gold, "mask", g->rows * g->rows);
    for (size_t i = 0; i < g->rows * g->rows; i++) {
        g->matrix[i] = mask[i] != 0.0f;
    }
}

static pith__pass *gist_run(const gist *g, pith__mask mask)
{
    return pass_run(
        &g->bench.base.model, &g->bench.base.ctx,
        &(pith__pass_input){
            .rows = g->rows, .ids = g->open, .embeddings = g->embeddings, .mask = mask});
}

static pith__mask gist_rule(const gist *g)
{
    return (pith__mask){.rule = PITH__MASK_GIST, .gist_first = g->first, .gist_last = g->last};
}

/* Mean loss of what rows `first` .. predict, d_hidden or NULL. */
static double gist_loss(const gist *g, const float *hidden, size_t first, size_t count,
                        const uint32_t *targets, float *d_hidden)
{
    row_range range;
    const trainable *base = &g->bench.base;
    pith__loss loss = mean_loss(&base->model, &base->ctx, hidden, first, count, &range);
    loss.d_hidden = d_hidden;
    if (d_hidden != NULL) {
        loss.sink = trainable_sink(base);
    }
    return loss_cross_entropy(&loss, targets);
}

/* Loss, all weights, the row that both gist tokens share. The head has no entry for the gist. */
static void gist_gradients(gist *g, pith__mask mask, float *d_embeddings)
{
    const trainable *base = &g->bench.base;
    float d_hidden[ROWS_MAX * WIDTH] = {0};
    trainable_zero(base);
    pith__pass *pass = gist_run(g, mask);
    const size_t predictions = g->rows - 1 - g->last;
    const double loss =
        gist_loss(g, pith__pass_hidden(pass), g->last, predictions, g->ids + g->last + 1, d_hidden);
    worst_loss(&g->worst, loss, gold_number(g->bench.gold.part, "loss"));
    compare_logits(&g->worst, base, pith__pass_hidden(pass) + (g->rows - 1) * WIDTH,
                   gold_array(&g->bench.gold, "logits_masked_last", VOCABULARY));
    pass_back(pass, &(pith__pass_gradients){.d_hidden = d_hidden,
                                            .sink = trainable_sink(base),
                                            .d_embeddings = d_embeddings});
}

static void d_gist(void **state)
{
    (void)state;
    gist *g = calloc(1, sizeof *g);
    float *d_embeddings = calloc(ROWS_MAX * WIDTH, sizeof *d_embeddings);
    assert_non_null(g);
    assert_non_null(d_embeddings);
    gist_open(g);
    const json_t *part = g->bench.gold.part;
    gist_gradients(g, gist_rule(g), d_embeddings);
    compare_weights(&g->worst, NULL, json_object_get(part, "grads"), &g->bench.base);
    float sum[WIDTH];
    for (size_t i = 0; i < WIDTH; i++) {
        sum[i] = d_embeddings[g->first * WIDTH + i] + d_embeddings[g->last * WIDTH + i];
    }
    worst_gradient(&g->worst, sum, gold_array(&g->bench.gold, "grad.gist_row", WIDTH), WIDTH);
    /* not masked */
    const pith__pass *pass = gist_run(g, (pith__mask){.rule = PITH__MASK_CAUSAL});
    worst_loss(&g->worst,
               gist_loss(g, pith__pass_hidden(pass), g->last, g->rows - 1 - g->last,
                         g->ids + g->last + 1, NULL),
               gold_number(part, "loss_plain_causal"));
    worst_report("d_gist", &g->worst);
    bench_close(&g->bench);
    free(d_embeddings);
    free(g);
}

/* The rule, and the same mask as a matrix. */
static void d_rule_and_matrix_agree(void **state)
{
    (void)state;
    gist *g = calloc(1, sizeof *g);
    float *by_rule = calloc(ROWS_MAX * WIDTH, sizeof *by_rule);
    float *by_matrix = calloc(ROWS_MAX * WIDTH, sizeof *by_matrix);
    assert_non_null(g);
    assert_non_null(by_rule);
    assert_non_null(by_matrix);
    gist_open(g);
    const trainable *base = &g->bench.base;
    float *weights = malloc(base->weights.count * sizeof *weights);
    assert_non_null(weights);
    gist_gradients(g, gist_rule(g), by_rule);
    memcpy(weights, base->gradients, base->weights.count * sizeof *weights);
    gist_gradients(g, (pith__mask){.rule = PITH__MASK_MATRIX, .matrix = g->matrix}, by_matrix);
    const double inputs = relative_error(by_matrix, by_rule, g->rows * WIDTH);
    const double all = relative_error(base->gradients, weights, base->weights.count);
    print_message("d_gist         rule and matrix differ by %.1e (inputs), %.1e (weights)\n",
                  inputs, all);
    assert_true(inputs < 1e-6);
    assert_true(all < 1e-6);
    bench_close(&g->bench);
    free(weights);
    free(by_rule);
    free(by_matrix);
    free(g);
}

/* What remains of the prompt: keys and values of the gist tokens, (layers, k, KV). */
typedef struct gist_cache {
    float k[LAYERS * ROWS_MAX * KV];
    float v[LAYERS * ROWS_MAX * KV];
    pith__prefix prefix;
} gist_cache;

/* Keys and values of rows [first, first + count) of a pass as a prefix. */
static void cache_rows(gist_cache *cache, const pith__pass *pass, size_t first, size_t count)
{
    const size_t size = count * KV;
    for (size_t layer = 0; layer < LAYERS; layer++) {
        memcpy(cache->k + layer * size, pith__pass_keys(pass, layer) + first * KV,
               size * sizeof(float));
        memcpy(cache->v + layer * size, pith__pass_values(pass, layer) + first * KV,
               size * sizeof(float));
    }
    cache->prefix = (pith__prefix){.count = count, .k = cache->k, .v = cache->v};
}

/* `prefix`: "gist" for arrays gist_k.0 and so on. */
static void cache_compare(worst *w, const gist_cache *cache, const gold *g, const char *prefix)
{
    const size_t size = cache->prefix.count * KV;
    for (size_t layer = 0; layer < LAYERS; layer++) {
        char name[32];
        (void)snprintf(name, sizeof name, "%s_k.%zu", prefix, layer);
        keep_worst(&w->logit,
                   largest_difference(cache->k + layer * size, gold_array(g, name, size), size));
        (void)snprintf(name, sizeof name, "%s_v.%zu", prefix, layer);
        keep_worst(&w->logit,
                   largest_difference(cache->v + layer * size, gold_array(g, name, size), size));
    }
}

/* The rest after the prefix, its first token at position `from`. Hidden states of the rest. */
static const float *gist_rest(gist *g, const gist_cache *cache, size_t from, const char *loss,
                              const char *logits)
{
    const trainable *base = &g->bench.base;
    const size_t rest = g->rows - g->last - 1;
    uint32_t positions[ROWS_MAX];
    for (size_t i = 0; i < rest; i++) {
        positions[i] = (uint32_t)(from + i);
    }
    const pith__pass *pass = pass_run(&base->model, &base->ctx,
                                      &(pith__pass_input){.rows = rest,
                                                          .ids = g->ids + g->last + 1,
                                                          .positions = positions,
                                                          .prefix = &cache->prefix});
    const float *hidden = pith__pass_hidden(pass);
    worst_loss(&g->worst, gist_loss(g, hidden, 0, rest - 1, g->ids + g->last + 2, NULL),
               gold_number(g->bench.gold.part, loss));
    compare_logits(&g->worst, base, hidden + (rest - 1) * WIDTH,
                   gold_array(&g->bench.gold, logits, VOCABULARY));
    return hidden;
}

static void d_cached_gist(void **state)
{
    (void)state;
    gist *g = calloc(1, sizeof *g);
    gist_cache *cache = calloc(1, sizeof *cache);
    assert_non_null(g);
    assert_non_null(cache);
    gist_open(g);
    const trainable *base = &g->bench.base;
    const float *masked = pith__pass_hidden(gist_run(g, gist_rule(g)));
    const pith__pass *prompt = pass_run(
        &base->model, &base->ctx,
        &(pith__pass_input){.rows = g->last + 1, .ids = g->open, .embeddings = g->embeddings});
    cache_rows(cache, prompt, g->first, g->k);
    cache_compare(&g->worst, cache, &g->bench.gold, "gist");
    const float *cached =
        gist_rest(g, cache, g->last + 1, "loss_cached_next", "logits_cached_last");
    const double difference =
        largest_difference(masked + (g->last + 1) * WIDTH, cached, (g->rows - g->last - 1) * WIDTH);
    print_message("d_gist         masked and cached hidden states differ by %.1e\n", difference);
    assert_true(difference < 1e-5);
    (void)gist_rest(g, cache, g->k, "loss_cached_next_pos_from_k", "logits_cached_last_pos_from_k");
    g->worst.arrays++; /* no gradient here */
    worst_report("d_gist cached", &g->worst);
    bench_close(&g->bench);
    free(cache);
    free(g);
}

/* A vocabulary that has grown by the gist: looked up, it is what given rows are. */
static void d_grown_embedding(void **state)
{
    (void)state;
    gist *g = calloc(1, sizeof *g);
    assert_non_null(g);
    gist_open(g);
    const trainable *base = &g->bench.base;
    pith__model_config config = base->model.config;
    config.vocabulary++;
    trainable grown;
    pith_error err = {0};
    pith__weights_init(&grown.weights, &pith__allocator_default);
    assert_ok(pith__grad_layout(&config, true, &grown.weights, &err), err);
    trainable_finish(&grown, &config, 2);
    for (size_t i = 0; i < base->weights.n_items; i++) {
        const pith__weight *from = &base->weights.items[i];
        memcpy(grown.weights.values + weight_named(&grown.weights, from->name)->at,
               base->weights.values + from->at, weight_count(from) * sizeof(float));
    }
    const size_t row = weight_named(&grown.weights, "token_embd.weight")->at + VOCABULARY * WIDTH;
    memcpy(grown.weights.values + row, g->embeddings, WIDTH * sizeof(float));
    const pith__pass_input input = {.rows = g->rows, .ids = g->ids, .mask = gist_rule(g)};
    pith__pass *pass = pass_run(&grown.model, &grown.ctx, &input);
    const float *hidden = pith__pass_hidden(pass);
    assert_memory_equal(hidden, pith__pass_hidden(gist_run(g, gist_rule(g))),
                        g->rows * WIDTH * sizeof(float));
    /* d loss / d hidden from the head without the gist, so that both have the same gradient */
    float *d_hidden = calloc(g->rows * WIDTH, sizeof *d_hidden);
    assert_non_null(d_hidden);
    (void)gist_loss(g, hidden, g->last, g->rows - 1 - g->last, g->ids + g->last + 1, d_hidden);
    pass_back(pass, &(pith__pass_gradients){.d_hidden = d_hidden, .sink = trainable_sink(&grown)});
    worst_gradient(&g->worst, grown.gradients + row,
                   gold_array(&g->bench.gold, "grad.gist_row", WIDTH), WIDTH);
    worst_report("d_gist grown", &g->worst);
    free(d_hidden);
    trainable_close(&grown);
    bench_close(&g->bench);
    free(g);
}

/* ---- e: 500xCompressor: keys and values of slots ------------------------------------------------------- */

typedef struct slots {
    bench bench;
    adapter adapter;
    worst worst;
    size_t text; /* tokens */
    size_t m;    /* slots */
    uint32_t encoder_ids[ROWS_MAX];
    uint32_t decoder_ids[ROWS_MAX + 1]; /* BOS, text, EOS */
    float embeddings[ROWS_MAX * WIDTH];
    gist_cache cache;
    float d_k[LAYERS * ROWS_MAX * KV]; /* (layers, m, KV) */
    float d_v[LAYERS * ROWS_MAX * KV];
    float rows_k[LAYERS * ROWS_MAX * KV]; /* (layers, text + m, KV) */
    float rows_v[LAYERS * ROWS_MAX * KV];
} slots;

static void slots_open(slots *s)
{
    bench_open(&s->bench, "e_500x");
    const json_t *part = s->bench.gold.part;
    adapter_open(&s->adapter, &s->bench.gold, &s->bench.base.model.config);
    s->m = gold_size(part, "m");
    s->text = gold_ids(part, "text", s->encoder_ids, 0);
    s->decoder_ids[0] = (uint32_t)golden_integer(s->bench.gold.root, "bos");
    (void)gold_ids(part, "text", s->decoder_ids, 1);
    s->decoder_ids[s->text + 1] = (uint32_t)golden_integer(s->bench.gold.root, "eos");
    for (size_t i = 0; i < s->m; i++) {
        s->encoder_ids[s->text + i] = PITH__NO_ID;
    }
    memcpy(s->embeddings + s->text * WIDTH, gold_array(&s->bench.gold, "slots", s->m * WIDTH),
           s->m * WIDTH * sizeof(float));
}

/* The text again from the slots. Fills d_k and d_v. */
static void slots_decode(slots *s, const char *mode)
{
    const trainable *base = &s->bench.base;
    const json_t *expected = json_object_get(s->bench.gold.part, mode);
    const size_t rows = s->text + 1;
    float d_hidden[ROWS_MAX * WIDTH] = {0};
    uint32_t positions[ROWS_MAX];
    row_range range;
    for (size_t i = 0; i < rows; i++) {
        positions[i] = (uint32_t)(gold_size(expected, "first_position") + i);
    }
    pith__pass *pass = pass_run(&base->model, &base->ctx,
                                &(pith__pass_input){.rows = rows,
                                                    .ids = s->decoder_ids,
                                                    .positions = positions,
                                                    .prefix = &s->cache.prefix});
    const float *hidden = pith__pass_hidden(pass);
    pith__loss loss = mean_loss(&base->model, &base->ctx, hidden, 0, rows, &range);
    loss.d_hidden = d_hidden;
    worst_loss(&s->worst, loss_cross_entropy(&loss, s->decoder_ids + 1),
               gold_number(expected, "loss"));
    char name[48];
    (void)snprintf(name, sizeof name, "%s.logits_last", mode);
    compare_logits(&s->worst, base, hidden + (rows - 1) * WIDTH,
                   gold_array(&s->bench.gold, name, VOCABULARY));
    pass_back(pass, &(pith__pass_gradients){
                        .d_hidden = d_hidden, .d_prefix_keys = s->d_k, .d_prefix_values = s->d_v});
}

/* Gradients of the slots' keys and values among those of all rows of the encoder. */
static void slots_scatter(slots *s)
{
    const size_t rows = s->text + s->m;
    memset(s->rows_k, 0, sizeof s->rows_k);
    memset(s->rows_v, 0, sizeof s->rows_v);
    for (size_t layer = 0; layer < LAYERS; layer++) {
        const size_t to = (layer * rows + s->text) * KV;
        memcpy(s->rows_k + to, s->d_k + layer * s->m * KV, s->m * KV * sizeof(float));
        memcpy(s->rows_v + to, s->d_v + layer * s->m * KV, s->m * KV * sizeof(float));
    }
}

/* Only keys and values of the last layer are used: its queries have no part in the loss. */
static void slots_assert_zero(const slots *s)
{
    const char *const unused[] = {"blk.1.attn_q.weight.lora_a", "blk.1.attn_q.weight.lora_b"};
    for (size_t i = 0; i < 2; i++) {
        const pith__weight *weight = weight_named(&s->adapter.weights, unused[i]);
        for (size_t j = 0; j < weight_count(weight); j++) {
            assert_true(s->adapter.gradients[weight->at + j] == 0.0f);
        }
    }
}

static void slots_check(slots *s, const char *mode)
{
    const trainable *base = &s->bench.base;
    const size_t rows = s->text + s->m;
    float d_embeddings[ROWS_MAX * WIDTH];
    pith__pass *encoder = pass_run(&base->model, &base->ctx,
                                   &(pith__pass_input){.rows = rows,
                                                       .ids = s->encoder_ids,
                                                       .embeddings = s->embeddings,
                                                       .lora = &s->adapter.lora});
    cache_rows(&s->cache, encoder, s->text, s->m);
    cache_compare(&s->worst, &s->cache, &s->bench.gold, "slot");
    slots_decode(s, mode);
    slots_scatter(s);
    memset(s->adapter.gradients, 0, s->adapter.weights.count * sizeof(float));
    pass_back(encoder, &(pith__pass_gradients){.d_keys = s->rows_k,
                                               .d_values = s->rows_v,
                                               .sink = adapter_sink(&s->adapter),
                                               .d_embeddings = d_embeddings});
    char name[48];
    (void)snprintf(name, sizeof name, "%s.", mode);
    adapter_compare(&s->worst, &s->adapter, &s->bench.gold, name);
    slots_assert_zero(s);
    (void)snprintf(name, sizeof name, "grad.%s.slots", mode);
    worst_gradient(&s->worst, d_embeddings + s->text * WIDTH,
                   gold_array(&s->bench.gold, name, s->m * WIDTH), s->m * WIDTH);
    assert_frozen(base);
}

static void e_slots(void **state)
{
    (void)state;
    slots *s = calloc(1, sizeof *s);
    assert_non_null(s);
    slots_open(s);
    slots_check(s, "continue");
    slots_check(s, "release");
    worst_report("e_500x", &s->worst);
    adapter_close(&s->adapter);
    bench_close(&s->bench);
    free(s);
}

/* ---- f: SelfCP: hidden states through a connector ------------------------------------------------------- */

typedef struct connector {
    bench bench;
    worst worst;
    size_t n;       /* slots */
    size_t prompt;  /* tokens */
    size_t segment; /* tokens */
    size_t target;  /* tokens */
    uint32_t encoder_ids[ROWS_MAX];
    uint32_t decoder_ids[ROWS_MAX];
    float encoder_rows[ROWS_MAX * WIDTH];
    float decoder_rows[ROWS_MAX * WIDTH];
    float h[ROWS_MAX * WIDTH];      /* (n, d) hidden states at the slots */
    float linear[ROWS_MAX * WIDTH]; /* (n, d) W h + b */
    float d_z[ROWS_MAX * WIDTH];
    float d_h[ROWS_MAX * WIDTH];
} connector;

static size_t first_slot(const connector *c)
{
    return c->prompt + 1 + c->segment;
}

static void connector_open(connector *c)
{
    bench_open(&c->bench, "f_selfcp");
    const gold *g = &c->bench.gold;
    const float *tag = gold_array(g, "tag", WIDTH);
    const float *slot = gold_array(g, "slot", WIDTH);
    c->n = gold_size(g->part, "n");
    /* encoder: prompt, tag, segment, slots */
    c->prompt = gold_ids(g->part, "prompt", c->encoder_ids, 0);
    c->encoder_ids[c->prompt] = PITH__NO_ID;
    memcpy(c->encoder_rows + c->prompt * WIDTH, tag, WIDTH * sizeof(float));
    c->segment = gold_ids(g->part, "segment", c->encoder_ids, c->prompt + 1) - c->prompt - 1;
    for (size_t i = 0; i < c->n; i++) {
        c->encoder_ids[first_slot(c) + i] = PITH__NO_ID;
        memcpy(c->encoder_rows + (first_slot(c) + i) * WIDTH, slot, WIDTH * sizeof(float));
    }
    /* decoder: BOS, z, prompt, target */
    c->decoder_ids[0] = (uint32_t)golden_integer(g->root, "bos");
    for (size_t i = 0; i < c->n; i++) {
        c->decoder_ids[1 + i] = PITH__NO_ID;
    }
    const size_t target = gold_ids(g->part, "prompt", c->decoder_ids, 1 + c->n);
    c->target = gold_ids(g->part, "target", c->decoder_ids, target) - target;
}

static pith__connector connector_of(const gold *g)
{
    return (pith__connector){.width = WIDTH,
                             .matrix = gold_array(g, "W", WIDTH * WIDTH),
                             .bias = gold_array(g, "b", WIDTH),
                             .gain = gold_array(g, "gamma", WIDTH),
                             .shift = gold_array(g, "beta", WIDTH),
                             .eps = (float)gold_number(g->part, "layer_norm_eps")};
}

/* z = LayerNorm(W h + b), into the decoder's rows. */
static void connector_forward(connector *c)
{
    const trainable *base = &c->bench.base;
    const pith__connector of = connector_of(&c->bench.gold);
    pith_error err = {0};
    assert_ok(pith__connector_forward(&of, base->model.ops, &base->ctx, c->h, c->n, c->linear,
                                      c->decoder_rows + WIDTH, &err),
              err);
    keep_worst(&c->worst.logit,
               largest_difference(c->decoder_rows + WIDTH,
                                  gold_array(&c->bench.gold, "z", c->n * WIDTH), c->n * WIDTH));
}

static void connector_decode(connector *c)
{
    const trainable *base = &c->bench.base;
    const size_t rows = 1 + c->n + c->prompt + c->target - 1;
    float d_hidden[ROWS_MAX * WIDTH] = {0};
    float d_rows[ROWS_MAX * WIDTH];
    row_range range;
    pith__pass *pass = pass_run(
        &base->model, &base->ctx,
        &(pith__pass_input){.rows = rows, .ids = c->decoder_ids, .embeddings = c->decoder_rows});
    pith__loss loss = mean_loss(&base->model, &base->ctx, pith__pass_hidden(pass), rows - c->target,
                                c->target, &range);
    loss.d_hidden = d_hidden;
    worst_loss(&c->worst, loss_cross_entropy(&loss, c->decoder_ids + rows - c->target + 1),
               gold_number(c->bench.gold.part, "loss"));
    pass_back(pass, &(pith__pass_gradients){.d_hidden = d_hidden, .d_embeddings = d_rows});
    memcpy(c->d_z, d_rows + WIDTH, c->n * WIDTH * sizeof(float));
}

/* From d_z to d_h, comparing what one part of the connector gets: nothing else is in the sink. */
static void connector_back(connector *c, const float *part, size_t count, const char *name)
{
    const gold *g = &c->bench.gold;
    const trainable *base = &c->bench.base;
    const pith__connector of = connector_of(g);
    float *gradient = calloc(count, sizeof *gradient);
    assert_non_null(gradient);
    const pith__sink sink = {part, gradient, count};
    pith_error err = {0};
    assert_ok(pith__connector_backward(&of, base->model.ops, &base->ctx, c->h, c->linear, c->d_z,
                                       c->n, &sink, c->d_h, &err),
              err);
    worst_gradient(&c->worst, gradient, gold_array(g, name, count), count);
    free(gradient);
}

static void connector_parts_back(connector *c)
{
    const pith__connector of = connector_of(&c->bench.gold);
    connector_back(c, of.gain, WIDTH, "grad.gamma");
    connector_back(c, of.shift, WIDTH, "grad.beta");
    connector_back(c, of.bias, WIDTH, "grad.b");
    connector_back(c, of.matrix, (size_t)WIDTH * WIDTH, "grad.W");
}

static void f_connector(void **state)
{
    (void)state;
    connector *c = calloc(1, sizeof *c);
    assert_non_null(c);
    connector_open(c);
    const gold *g = &c->bench.gold;
    const trainable *base = &c->bench.base;
    const size_t rows = first_slot(c) + c->n;
    pith__pass *encoder = pass_run(
        &base->model, &base->ctx,
        &(pith__pass_input){.rows = rows, .ids = c->encoder_ids, .embeddings = c->encoder_rows});
    memcpy(c->h, pith__pass_hidden(encoder) + first_slot(c) * WIDTH, c->n * WIDTH * sizeof(float));
    keep_worst(
        &c->worst.logit,
        largest_difference(c->h, gold_array(g, "encoder_hidden", c->n * WIDTH), c->n * WIDTH));
    connector_forward(c);
    connector_decode(c);
    connector_parts_back(c);
    float d_hidden[ROWS_MAX * WIDTH] = {0};
    float d_rows[ROWS_MAX * WIDTH];
    memcpy(d_hidden + first_slot(c) * WIDTH, c->d_h, c->n * WIDTH * sizeof(float));
    pass_back(encoder, &(pith__pass_gradients){.d_hidden = d_hidden, .d_embeddings = d_rows});
    worst_gradient(&c->worst, d_rows + c->prompt * WIDTH, gold_array(g, "grad.tag", WIDTH), WIDTH);
    float d_slot[WIDTH] = {0};
    for (size_t i = 0; i < c->n * WIDTH; i++) {
        d_slot[i % WIDTH] += d_rows[first_slot(c) * WIDTH + i];
    }
    worst_gradient(&c->worst, d_slot, gold_array(g, "grad.slot", WIDTH), WIDTH);
    assert_frozen(base);
    worst_report("f_selfcp", &c->worst);
    bench_close(&c->bench);
    free(c);
}

/* ---- h: a head of its own ---------------------------------------------------------------------------------- */

static void h_untied(void **state)
{
    (void)state;
    fixture file;
    trainable base;
    base_open(&file, &base, "llama_untied", false);
    json_t *root = golden_load(test_path("golden", "train/train.json"));
    const json_t *part = json_object_get(json_object_get(root, "h_other"), "llama_untied");
    worst w = {0};
    uint32_t ids[ROWS_MAX];
    const size_t rows = gold_ids(part, "ids", ids, 0) - 1;
    worst_loss(&w, plain_cross_entropy(&base, ids, rows, false), gold_number(part, "loss"));
    compare_weights(&w, NULL, json_object_get(part, "grads"), &base);
    worst_report("h_other untied", &w);
    json_decref(root);
    trainable_close(&base);
    fixture_close(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cross_entropy),
        cmocka_unit_test(a_recomputed_is_the_same_bytes),
        cmocka_unit_test(a_masked_cross_entropy),
        cmocka_unit_test(b_soft_prompt),
        cmocka_unit_test(b_the_base_is_frozen),
        cmocka_unit_test(c_lora),
        cmocka_unit_test(d_gist),
        cmocka_unit_test(d_rule_and_matrix_agree),
        cmocka_unit_test(d_cached_gist),
        cmocka_unit_test(d_grown_embedding),
        cmocka_unit_test(e_slots),
        cmocka_unit_test(f_connector),
        cmocka_unit_test(h_untied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
