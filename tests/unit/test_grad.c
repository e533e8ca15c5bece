/*
 * test_grad.c: training passes on small random models of several shapes: against a plain
 * reference in double and its finite differences, against lib/model, and against themselves
 * where they must agree.
 */
#include "grad_reference.h"

/* Gradients in float against finite differences in double, and against those in float. */
#define GRADIENT_TOLERANCE 1e-5
#define DROPOUT_TOLERANCE  5e-3
#define DROPOUT_STEP       2e-3

enum { MASKS = 6, DIRECTIONS = 3 };

/* All six rules by name. */
static const char *const mask_names[MASKS] = {"causal",    "gist",  "negative",
                                              "documents", "first", "matrix"};

/* ---- groups of what has a gradient ----------------------------------------------------------- */

/* Weights whose name contains `part`, or a range of the point that is no weight. */
typedef struct group {
    const char *name;
    const char *part; /* NULL: the range */
    bool lora;        /* of an adapter */
    int range;        /* 0: input rows, 1: keys of the prefix, 2: its values */
} group;

static const group groups[] = {
    {"embedding", "token_embd.", false, 0},
    {"head", ".output.weight", false, 0},
    {"norms", "_norm.", false, 0},
    {"q", "attn_q.", false, 0},
    {"k", "attn_k.", false, 0},
    {"v", "attn_v.", false, 0},
    {"o", "attn_output.", false, 0},
    {"gate", "ffn_gate.", false, 0},
    {"up", "ffn_up.", false, 0},
    {"down", "ffn_down.", false, 0},
    {"q lora a", "attn_q.", true, 0},
    {"q lora b", "attn_q.", true, 1},
    {"k lora a", "attn_k.", true, 0},
    {"k lora b", "attn_k.", true, 1},
    {"v lora a", "attn_v.", true, 0},
    {"v lora b", "attn_v.", true, 1},
    {"o lora a", "attn_output.", true, 0},
    {"o lora b", "attn_output.", true, 1},
    {"gate lora a", "ffn_gate.", true, 0},
    {"gate lora b", "ffn_gate.", true, 1},
    {"up lora a", "ffn_up.", true, 0},
    {"up lora b", "ffn_up.", true, 1},
    {"down lora a", "ffn_down.", true, 0},
    {"down lora b", "ffn_down.", true, 1},
    {"input rows", NULL, false, 0},
    {"prefix keys", NULL, false, 1},
    {"prefix values", NULL, false, 2},
};

enum { GROUPS = sizeof groups / sizeof groups[0] };

static bool name_in_group(const char *name, const group *g)
{
    const char *suffix = g->range == 0 ? ".lora_a" : ".lora_b";
    const bool lora = strstr(name, ".lora_") != NULL;
    if (g->part[0] == '.') {
        return strcmp(name, g->part + 1) == 0;
    }
    return strstr(name, g->part) != NULL && lora == g->lora &&
           (!lora || strstr(name, suffix) != NULL);
}

/* Marks what belongs to a group; returns how many numbers that are. */
static size_t group_mark(const problem *p, const group *g, uint8_t *marks)
{
    memset(marks, 0, p->count);
    const size_t range_at[] = {p->nudge_at, p->keys_at, p->values_at, p->count};
    if (g->part == NULL) {
        const size_t size = range_at[g->range + 1] - range_at[g->range];
        memset(marks + range_at[g->range], 1, size);
        return size;
    }
    size_t size = 0;
    for (size_t i = 0; i < p->t.weights.n_items; i++) {
        const pith__weight *w = &p->t.weights.items[i];
        if (name_in_group(w->name, g)) {
            memset(marks + w->at, 1, weight_count(w));
            size += weight_count(w);
        }
    }
    return size;
}

typedef struct table {
    double error[GROUPS][MASKS]; /* worst of all shapes and directions; < 0: nothing measured */
} table;

static void table_clear(table *t)
{
    for (size_t i = 0; i < (size_t)GROUPS * MASKS; i++) {
        t->error[i / MASKS][i % MASKS] = -1.0;
    }
}

static double table_print(const table *t, const char *title)
{
    double worst = 0.0;
    print_message("%-15s", title);
    for (size_t m = 0; m < MASKS; m++) {
        print_message(" %9s", mask_names[m]);
    }
    print_message("\n");
    for (size_t g = 0; g < GROUPS; g++) {
        print_message("%-15s", groups[g].name);
        for (size_t m = 0; m < MASKS; m++) {
            assert_true(t->error[g][m] >= 0.0);
            keep_worst(&worst, t->error[g][m]);
            print_message(" %9.1e", t->error[g][m]);
        }
        print_message("\n");
    }
    return worst;
}

/* ---- finite differences ------------------------------------------------------------------------- */

/* Fills one column of a table for one problem under the mask it has. */
static void measure(const problem *p, const float *gradient, loss_at loss, void *user, double step,
                    uint64_t seed, table *t, size_t column)
{
    double *point = malloc(p->count * sizeof *point);
    uint8_t *marks = malloc(p->count);
    int8_t *direction = malloc(p->count);
    assert_non_null(point);
    assert_non_null(marks);
    assert_non_null(direction);
    memcpy(point, p->point, p->count * sizeof *point);
    for (size_t g = 0; g < GROUPS; g++) {
        const size_t size = group_mark(p, &groups[g], marks);
        for (size_t k = 0; size > 0 && k < DIRECTIONS; k++) {
            for (size_t i = 0; i < p->count; i++) {
                direction[i] = (int8_t)(marks[i] == 0 ? 0 : test_random(&seed) >> 63 ? 1 : -1);
            }
            const double there = slope(loss, user, point, p->point, direction, p->count, step);
            keep_worst(&t->error[g][column], direction_error(there, gradient, direction, p->count));
        }
    }
    free(point);
    free(marks);
    free(direction);
}

static double loss_of_reference(void *user, const double *point)
{
    return reference_run(user, point);
}

/* The forward pass against the reference: the worst difference of what comes out. */
static double forward_error(const problem *p, const reference *f)
{
    const size_t width = kv_width(&p->config);
    const size_t own = PROBLEM_ROWS * width;
    const pith__arena_mark mark = pith__arena_save(p->t.ctx.arena);
    const pith__pass *pass = pass_run(&p->t.model, &p->t.ctx, &p->input);
    double worst = 0.0;
    for (size_t i = 0; i < PROBLEM_ROWS * p->config.width; i++) {
        keep_worst(&worst, fabs((double)pith__pass_hidden(pass)[i] - f->hidden[i]));
    }
    for (size_t l = 0; l < p->config.layers; l++) {
        const size_t at = (l * (p->prefix.count + PROBLEM_ROWS) + p->prefix.count) * width;
        for (size_t i = 0; i < own; i++) {
            keep_worst(&worst, fabs((double)pith__pass_keys(pass, l)[i] - f->k[at + i]));
            keep_worst(&worst, fabs((double)pith__pass_values(pass, l)[i] - f->v[at + i]));
        }
    }
    pith__arena_restore(p->t.ctx.arena, mark);
    return worst;
}

static void gradients_are_slopes(void **state)
{
    (void)state;
    table t;
    table_clear(&t);
    double forward = 0.0;
    double losses = 0.0;
    for (size_t s = 0; s < SHAPES; s++) {
        problem p;
        problem_open(&p, &shapes[s], PROBLEM_PREFIX, 0.0f, 100 * s + 1);
        float *gradient = malloc(p.count * sizeof *gradient);
        assert_non_null(gradient);
        for (size_t m = 0; m < MASKS; m++) {
            reference f;
            problem_mask(&p, (pith__mask_rule)m);
            reference_open(&f, &p);
            const double expected = reference_run(&f, p.point);
            keep_worst(&losses, fabs(problem_run(&p, gradient) - expected));
            keep_worst(&forward, forward_error(&p, &f));
            measure(&p, gradient, loss_of_reference, &f, 1e-6, 7 * s + m, &t, m);
            reference_close(&f);
        }
        free(gradient);
        problem_close(&p);
    }
    const double worst = table_print(&t, "group");
    print_message("worst of %d shapes: gradient %.1e, loss %.1e, forward %.1e\n", (int)SHAPES,
                  worst, losses, forward);
    assert_true(worst < GRADIENT_TOLERANCE);
    assert_true(losses < 1e-5);
    assert_true(forward < 2e-5);
}

/* Without a prefix, without positions and without an adapter. */
static void plain_gradients_are_slopes(void **state)
{
    (void)state;
    double worst = 0.0;
    for (size_t s = 0; s < SHAPES; s++) {
        problem p;
        table t;
        table_clear(&t);
        problem_open(&p, &shapes[s], 0, 0.0f, 100 * s + 2);
        p.input.lora = NULL;
        p.input.positions = NULL;
        for (uint32_t r = 0; r < PROBLEM_ROWS; r++) {
            p.positions[r] = r; /* for the reference */
        }
        float *gradient = malloc(p.count * sizeof *gradient);
        assert_non_null(gradient);
        for (size_t m = 0; m < MASKS; m++) {
            reference f;
            problem_mask(&p, (pith__mask_rule)m);
            reference_open(&f, &p);
            assert_true(fabs(problem_run(&p, gradient) - reference_run(&f, p.point)) < 1e-5);
            measure(&p, gradient, loss_of_reference, &f, 1e-6, 9 * s + m, &t, m);
            reference_close(&f);
        }
        for (size_t i = 0; i < (size_t)GROUPS * MASKS; i++) {
            keep_worst(&worst, t.error[i / MASKS][i % MASKS]);
        }
        /* factors that are not used get nothing */
        for (size_t i = 0; i < p.t.weights.n_items; i++) {
            const pith__weight *w = &p.t.weights.items[i];
            const double size = dot(gradient + w->at, gradient + w->at, weight_count(w));
            assert_true((strstr(w->name, ".lora_") == NULL) == (size > 0.0));
        }
        free(gradient);
        problem_close(&p);
    }
    print_message("no prefix, positions, adapter: gradient %.1e\n", worst);
    assert_true(worst < GRADIENT_TOLERANCE);
}

/* ---- dropout ----------------------------------------------------------------------------------------- */

/* A problem whose own floats are moved, and the rows that input rows are moved from. */
typedef struct moved {
    problem *p;
    const float *rows;
} moved;

static double loss_of_library(void *user, const double *point)
{
    const moved *m = user;
    const problem *p = m->p;
    for (size_t i = 0; i < p->t.weights.count; i++) {
        p->t.weights.values[i] = (float)point[i];
    }
    for (size_t i = 0; i < p->values_at - p->keys_at; i++) {
        p->prefix_k[i] = (float)point[p->keys_at + i];
        p->prefix_v[i] = (float)point[p->values_at + i];
    }
    for (size_t i = 0; i < PROBLEM_ROWS * p->config.width; i++) {
        p->embeddings[i] = (float)((double)m->rows[i] + point[p->nudge_at + i]);
    }
    return problem_run(p, NULL);
}

/*
 * What is dropped is the library's secret, so the slopes are its own, in float. All rows are
 * given here: the loss then depends on the table through the head alone.
 */
static void gradients_are_slopes_with_dropout(void **state)
{
    (void)state;
    table t;
    table_clear(&t);
    for (size_t s = 0; s < SHAPES; s++) {
        problem p;
        problem_open(&p, &shapes[s], PROBLEM_PREFIX, 0.3f, 100 * s + 3);
        p.input.ids = NULL;
        p.input.dropout_seed = 77 + s;
        float *rows = problem_floats(PROBLEM_ROWS * p.config.width, 0.5, 5);
        float *gradient = malloc(p.count * sizeof *gradient);
        assert_non_null(gradient);
        for (size_t m = 0; m < MASKS; m++) {
            moved at = {&p, rows};
            problem_mask(&p, (pith__mask_rule)m);
            (void)loss_of_library(&at, p.point);
            (void)problem_run(&p, gradient);
            measure(&p, gradient, loss_of_library, &at, DROPOUT_STEP, 11 * s + m, &t, m);
        }
        free(rows);
        free(gradient);
        problem_close(&p);
    }
    const double worst = table_print(&t, "with dropout");
    assert_true(worst < DROPOUT_TOLERANCE);
}

/* An adapter on V of one layer that adds dropout(x) itself to the values. */
static void dropout_open(problem *p, float dropout)
{
    pith_error err = {0};
    const uint32_t d = shapes[0].config.width;
    problem_open(p, &shapes[0], 0, 0.0f, 4);
    pith__lora_deinit(&p->lora);
    trainable_close(&p->t);
    pith__weights_init(&p->t.weights, &pith__allocator_default);
    assert_ok(pith__grad_layout(&p->config, true, &p->t.weights, &err), err);
    assert_ok(pith__lora_layout(&p->config, d, 1u << PITH__MATRIX_V, &p->t.weights, &err), err);
    trainable_finish(&p->t, &p->config, 1);
    pith__grad_initialise(&p->config, &p->t.weights, 9);
    const pith__weight *a = weight_named(&p->t.weights, "blk.0.attn_v.weight.lora_a");
    const pith__weight *b = weight_named(&p->t.weights, "blk.0.attn_v.weight.lora_b");
    memset(p->t.weights.values + a->at, 0, weight_count(a) * sizeof(float));
    memset(p->t.weights.values + b->at, 0, weight_count(b) * sizeof(float));
    for (size_t i = 0; i < d; i++) {
        p->t.weights.values[a->at + i * d + i] = 1.0f;
    }
    for (size_t i = 0; i < b->rows; i++) {
        p->t.weights.values[b->at + i * d + i] = 1.0f;
    }
    assert_ok(pith__lora_of(&p->config, &p->t.weights, (float)d, dropout, &pith__allocator_default,
                            &p->lora, &err),
              err);
    p->input.lora = &p->lora;
}

/* The values of layer 0, copied. */
static void dropout_values(const problem *p, float *out)
{
    const pith__arena_mark mark = pith__arena_save(p->t.ctx.arena);
    const pith__pass *pass = pass_run(&p->t.model, &p->t.ctx, &p->input);
    memcpy(out, pith__pass_values(pass, 0), PROBLEM_ROWS * kv_width(&p->config) * sizeof *out);
    pith__arena_restore(p->t.ctx.arena, mark);
}

static void dropout_drops_its_share(void **state)
{
    (void)state;
    problem p;
    dropout_open(&p, 0.3f);
    enum { COUNT = PROBLEM_ROWS * 12, SEEDS = 50 };
    assert_int_equal(kv_width(&p.config), 12);
    float without[COUNT];
    float whole[COUNT];
    float some[COUNT];
    float before[COUNT] = {0};
    size_t dropped = 0;
    p.input.lora = NULL;
    dropout_values(&p, without);
    p.input.lora = &p.lora;
    p.input.dropout_seed = 0;
    dropout_values(&p, whole);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        p.input.dropout_seed = seed;
        dropout_values(&p, some);
        assert_memory_not_equal(some, before, sizeof some);
        memcpy(before, some, sizeof some);
        for (size_t i = 0; i < COUNT; i++) {
            const double x = (double)whole[i] - (double)without[i];
            const double y = (double)some[i] - (double)without[i];
            const bool zero = fabs(y) < 1e-6;
            assert_true(zero || fabs(y - x / 0.7) < 1e-5);
            dropped += zero && fabs(x) > 1e-3;
        }
    }
    const double share = (double)dropped / (COUNT * SEEDS);
    print_message("dropout of 0.3: %.4f dropped\n", share);
    assert_true(fabs(share - 0.3) < 0.03); /* some entries are 0 by themselves */
    problem_close(&p);
}

/* ---- agreement --------------------------------------------------------------------------------------- */

/* Hidden states and predictions of pith__model_forward() against those of a pass. */
static void compare_with_model(const pith__model *model, const pith__tensor_ctx *ctx, size_t rows,
                               double *worst_hidden, double *worst_nll)
{
    uint64_t seed = 21;
    const size_t d = model->config.width;
    uint32_t *ids = calloc(rows + 1, sizeof *ids);
    float *hidden = calloc(rows * d, sizeof *hidden);
    float *nll = calloc(rows, sizeof *nll);
    float *losses = calloc(rows, sizeof *losses);
    row_range range;
    pith_error err = {0};
    for (size_t i = 0; i <= rows; i++) {
        ids[i] = (uint32_t)test_random_below(&seed, model->config.vocabulary);
    }
    const pith__sequence sequence = {.ids = ids, .count = rows};
    const pith__forward_outputs outputs = {.targets = ids + 1, .nll = nll, .hidden = hidden};
    assert_ok(pith__model_forward(model, ctx, &sequence, 1, &outputs, &err), err);
    const pith__pass *pass = pass_run(model, ctx, &(pith__pass_input){.rows = rows, .ids = ids});
    pith__loss loss = mean_loss(model, ctx, pith__pass_hidden(pass), 0, rows, &range);
    loss.losses = losses;
    const double mean = loss_cross_entropy(&loss, ids + 1);
    double expected = 0.0;
    for (size_t i = 0; i < rows; i++) {
        expected += (double)nll[i] / (double)rows;
    }
    keep_worst(worst_hidden, largest_difference(pith__pass_hidden(pass), hidden, rows * d));
    keep_worst(worst_nll, largest_difference(losses, nll, rows));
    keep_worst(worst_nll, fabs(mean - expected));
    free(ids);
    free(hidden);
    free(nll);
    free(losses);
}

static void a_causal_pass_is_the_models(void **state)
{
    (void)state;
    double hidden = 0.0;
    double nll = 0.0;
    for (size_t s = 0; s < SHAPES; s++) {
        problem p;
        problem_open(&p, &shapes[s], 0, 0.0f, s + 31);
        compare_with_model(&p.t.model, &p.t.ctx, 40, &hidden, &nll);
        problem_close(&p);
    }
    fixture f;
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 2);
    compare_with_model(&f.model, &f.ctx, 300, &hidden, &nll);
    trainable copy;
    trainable_copy(&copy, &f.model, true, 2);
    compare_with_model(&copy.model, &copy.ctx, 300, &hidden, &nll);
    trainable_close(&copy);
    fixture_close(&f);
    print_message("pass and model differ: hidden %.1e, nll %.1e\n", hidden, nll);
    assert_true(hidden < 1e-5);
    assert_true(nll < 1e-5);
}

/* Adds up the gradients of all weights for a loss that is linear in the hidden states. */
static void linear_loss(const problem *p, const pith__pass_input *input, const float *d_hidden,
                        float *gradient, float *hidden)
{
    const pith__arena_mark mark = pith__arena_save(p->t.ctx.arena);
    pith__pass *pass = pass_run(&p->t.model, &p->t.ctx, input);
    memcpy(hidden, pith__pass_hidden(pass), input->rows * p->config.width * sizeof *hidden);
    pass_back(pass,
              &(pith__pass_gradients){.d_hidden = d_hidden,
                                      .sink = {p->t.weights.values, gradient, p->t.weights.count}});
    pith__arena_restore(p->t.ctx.arena, mark);
}

static void packed_documents_are_separate(void **state)
{
    (void)state;
    static const size_t starts[] = {0, 3, 7, 9, PROBLEM_ROWS}; /* as in problem_rows() */
    double hidden = 0.0;
    double gradients = 0.0;
    for (size_t s = 0; s < SHAPES; s++) {
        problem p;
        problem_open(&p, &shapes[s], 0, 0.0f, 100 * s + 5);
        problem_mask(&p, PITH__MASK_DOCUMENTS);
        const size_t d = p.config.width;
        float *packed = calloc(p.t.weights.count, sizeof *packed);
        float *separate = calloc(p.t.weights.count, sizeof *separate);
        float *packed_hidden = calloc(PROBLEM_ROWS * d, sizeof *packed_hidden);
        float *separate_hidden = calloc(PROBLEM_ROWS * d, sizeof *separate_hidden);
        for (size_t k = 0; k < 4; k++) {
            for (size_t r = starts[k]; r < starts[k + 1]; r++) {
                p.positions[r] = (uint32_t)(r - starts[k]);
            }
        }
        linear_loss(&p, &p.input, p.c_hidden, packed, packed_hidden);
        for (size_t k = 0; k < 4; k++) {
            const pith__pass_input one = {.rows = starts[k + 1] - starts[k],
                                          .ids = p.ids + starts[k],
                                          .embeddings = p.embeddings + starts[k] * d,
                                          .lora = &p.lora};
            linear_loss(&p, &one, p.c_hidden + starts[k] * d, separate,
                        separate_hidden + starts[k] * d);
        }
        keep_worst(&hidden, largest_difference(packed_hidden, separate_hidden, PROBLEM_ROWS * d));
        keep_worst(&gradients, relative_error(packed, separate, p.t.weights.count));
        free(packed);
        free(separate);
        free(packed_hidden);
        free(separate_hidden);
        problem_close(&p);
    }
    print_message("packed and separate differ: hidden %.1e, gradient %.1e\n", hidden, gradients);
    assert_true(hidden < 1e-5);
    assert_true(gradients < 1e-5);
}

/* A pass in two halves, the first one's keys and values the second one's prefix. */
typedef struct halves {
    size_t first; /* rows of the first half */
    float *k;     /* (layers, first, K) */
    float *v;
    float *d_k;
    float *d_v;
} halves;

static void halves_keep(halves *h, const problem *p, const pith__pass *pass)
{
    const size_t size = h->first * kv_width(&p->config);
    for (size_t l = 0; l < p->config.layers; l++) {
        memcpy(h->k + l * size, pith__pass_keys(pass, l), size * sizeof *h->k);
        memcpy(h->v + l * size, pith__pass_values(pass, l), size * sizeof *h->v);
    }
}

/* Gradients of all weights through both halves; hidden states of both. */
static void halves_run(halves *h, const problem *p, float *gradient, float *hidden)
{
    const size_t d = p->config.width;
    const size_t rest = PROBLEM_ROWS - h->first;
    const pith__sink sink = {p->t.weights.values, gradient, p->t.weights.count};
    pith__pass_input one = p->input;
    one.rows = h->first;
    pith__pass *before = pass_run(&p->t.model, &p->t.ctx, &one);
    halves_keep(h, p, before);
    const pith__prefix prefix = {h->first, h->k, h->v};
    const pith__pass_input two = {.rows = rest,
                                  .ids = p->ids + h->first,
                                  .embeddings = p->embeddings + h->first * d,
                                  .positions = p->positions + h->first,
                                  .prefix = &prefix,
                                  .lora = &p->lora};
    pith__pass *after = pass_run(&p->t.model, &p->t.ctx, &two);
    memcpy(hidden, pith__pass_hidden(before), h->first * d * sizeof *hidden);
    memcpy(hidden + h->first * d, pith__pass_hidden(after), rest * d * sizeof *hidden);
    pass_back(after, &(pith__pass_gradients){.d_hidden = p->c_hidden + h->first * d,
                                             .sink = sink,
                                             .d_prefix_keys = h->d_k,
                                             .d_prefix_values = h->d_v});
    pass_back(before,
              &(pith__pass_gradients){
                  .d_hidden = p->c_hidden, .d_keys = h->d_k, .d_values = h->d_v, .sink = sink});
}

static void a_prefix_is_the_first_half(void **state)
{
    (void)state;
    double hidden = 0.0;
    double gradients = 0.0;
    for (size_t s = 0; s < SHAPES; s++) {
        problem p;
        problem_open(&p, &shapes[s], 0, 0.0f, 100 * s + 6);
        const size_t d = p.config.width;
        const size_t size = p.config.layers * PROBLEM_ROWS * kv_width(&p.config);
        halves h = {.first = 5,
                    .k = calloc(size, sizeof(float)),
                    .v = calloc(size, sizeof(float)),
                    .d_k = calloc(size, sizeof(float)),
                    .d_v = calloc(size, sizeof(float))};
        float *whole = calloc(p.t.weights.count, sizeof *whole);
        float *cut = calloc(p.t.weights.count, sizeof *cut);
        float *whole_hidden = calloc(PROBLEM_ROWS * d, sizeof *whole_hidden);
        float *cut_hidden = calloc(PROBLEM_ROWS * d, sizeof *cut_hidden);
        linear_loss(&p, &p.input, p.c_hidden, whole, whole_hidden);
        halves_run(&h, &p, cut, cut_hidden);
        keep_worst(&hidden, largest_difference(whole_hidden, cut_hidden, PROBLEM_ROWS * d));
        keep_worst(&gradients, relative_error(cut, whole, p.t.weights.count));
        float *const arrays[] = {h.k, h.v, h.d_k, h.d_v, whole, cut, whole_hidden, cut_hidden};
        for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
            free(arrays[i]);
        }
        problem_close(&p);
    }
    print_message("prefix and whole differ: hidden %.1e, gradient %.1e\n", hidden, gradients);
    assert_true(hidden < 1e-5);
    assert_true(gradients < 1e-5);
}

/* A rule and the same as a matrix. */
static void rules_are_matrices(void **state)
{
    (void)state;
    double worst = 0.0;
    for (size_t prefix = 0; prefix <= PROBLEM_PREFIX; prefix += PROBLEM_PREFIX) {
        problem p;
        problem_open(&p, &shapes[0], prefix, 0.0f, 7);
        float *by_rule = malloc(p.count * sizeof *by_rule);
        float *by_matrix = malloc(p.count * sizeof *by_matrix);
        for (size_t m = 0; m + 1 < MASKS; m++) {
            const size_t keys = prefix + PROBLEM_ROWS;
            problem_mask(&p, (pith__mask_rule)m);
            const double a = problem_run(&p, by_rule);
            for (size_t i = 0; i < PROBLEM_ROWS * keys; i++) {
                p.matrix[i] = (uint8_t)(i % keys < prefix ||
                                        rule_sees(&p.input.mask, i / keys, i % keys - prefix));
            }
            problem_mask(&p, PITH__MASK_MATRIX);
            const double b = problem_run(&p, by_matrix);
            keep_worst(&worst, fabs(a - b));
            keep_worst(&worst, relative_error(by_matrix, by_rule, p.count));
        }
        free(by_rule);
        free(by_matrix);
        problem_close(&p);
    }
    print_message("rules and matrices differ by %.1e\n", worst);
    assert_true(worst < 1e-6);
}

/* Each of the other rules as the rows that are seen first: the same bytes, with a prefix and without. */
static void first_rows_are_any_rule(void **state)
{
    (void)state;
    for (size_t prefix = 0; prefix <= PROBLEM_PREFIX; prefix += PROBLEM_PREFIX) {
        problem p;
        problem_open(&p, &shapes[0], prefix, 0.0f, 8);
        float *by_rule = malloc(p.count * sizeof *by_rule);
        float *by_rows = malloc(p.count * sizeof *by_rows);
        assert_non_null(by_rule);
        assert_non_null(by_rows);
        for (size_t m = 0; m < PITH__MASK_FIRST; m++) {
            problem_mask(&p, (pith__mask_rule)m);
            const double a = problem_run(&p, by_rule);
            for (size_t r = 0; r < PROBLEM_ROWS; r++) {
                p.first[r] = 0;
                while (!rule_sees(&p.input.mask, r, p.first[r])) {
                    p.first[r]++;
                }
            }
            problem_mask(&p, PITH__MASK_FIRST);
            const double b = problem_run(&p, by_rows);
            const double difference = largest_difference(by_rows, by_rule, p.count);
            const bool exact = prefix == 0 || m != PITH__MASK_CAUSAL; /* that one needs no matrix */
            print_message("prefix %zu, %s: loss %.1e, gradient %.1e\n", prefix, mask_names[m],
                          fabs(a - b), difference);
            assert_true(exact ? difference == 0.0 : difference < 1e-5);
            assert_true(exact ? a == b : fabs(a - b) < 1e-5);
        }
        free(by_rule);
        free(by_rows);
        problem_close(&p);
    }
}

/* Rows of a packed sample, and the gist tokens within it. */
typedef struct packed_gist {
    pith__mask_rule rule;
    size_t start, end;
    size_t gist_first, gist_last;
} packed_gist;

static void packed_gists_are_each_alone(void **state)
{
    (void)state;
    static const packed_gist samples[] = {{PITH__MASK_GIST, 0, 5, 2, 3},
                                          {PITH__MASK_GIST_NEGATIVE, 5, 9, 1, 1},
                                          {PITH__MASK_GIST, 9, PROBLEM_ROWS, 1, 2}};
    double hidden = 0.0;
    double gradients = 0.0;
    for (size_t s = 0; s < SHAPES; s++) {
        problem p;
        problem_open(&p, &shapes[s], 0, 0.0f, 100 * s + 9);
        const size_t d = p.config.width;
        float *packed = calloc(p.t.weights.count, sizeof *packed);
        float *alone = calloc(p.t.weights.count, sizeof *alone);
        float *packed_hidden = calloc(PROBLEM_ROWS * d, sizeof *packed_hidden);
        float *alone_hidden = calloc(PROBLEM_ROWS * d, sizeof *alone_hidden);
        for (size_t k = 0; k < 3; k++) {
            const packed_gist *one = &samples[k];
            pith__pass_input input = {.rows = one->end - one->start,
                                      .ids = p.ids + one->start,
                                      .embeddings = p.embeddings + one->start * d,
                                      .mask = {.rule = one->rule,
                                               .gist_first = one->gist_first,
                                               .gist_last = one->gist_last,
                                               .documents = p.documents},
                                      .lora = &p.lora};
            memset(p.documents, 0, sizeof p.documents);
            for (size_t r = 0; r < input.rows; r++) {
                size_t seen = 0;
                while (!rule_sees(&input.mask, r, seen)) {
                    seen++;
                }
                p.positions[one->start + r] = (uint32_t)r;
                p.first[one->start + r] = (uint32_t)(one->start + seen);
            }
            linear_loss(&p, &input, p.c_hidden + one->start * d, alone,
                        alone_hidden + one->start * d);
        }
        problem_mask(&p, PITH__MASK_FIRST);
        linear_loss(&p, &p.input, p.c_hidden, packed, packed_hidden);
        keep_worst(&hidden, largest_difference(packed_hidden, alone_hidden, PROBLEM_ROWS * d));
        keep_worst(&gradients, relative_error(packed, alone, p.t.weights.count));
        free(packed);
        free(alone);
        free(packed_hidden);
        free(alone_hidden);
        problem_close(&p);
    }
    print_message("packed gists and each alone differ: hidden %.1e, gradient %.1e\n", hidden,
                  gradients);
    assert_true(hidden < 1e-5);
    assert_true(gradients < 1e-5);
}

/* ---- more rows than attention takes at a time ---------------------------------------------- */

enum { LONG_ROWS = 300, LONG_FIRST = 130, LONG_GIST = 140 };

/* A trained model's gradient for a loss that is linear in the hidden states. */
typedef struct long_pass {
    fixture file;
    trainable t;
    uint32_t ids[LONG_ROWS];
    uint32_t documents[LONG_ROWS];
    uint32_t first[LONG_ROWS];
    uint8_t matrix[LONG_ROWS * LONG_ROWS];
    float *d_hidden; /* (rows, d) */
    float *hidden;   /* (rows, d) */
} long_pass;

static void long_open(long_pass *l)
{
    uint64_t seed = 8;
    fixture_open(&l->file, "llama_gqa", PITH_PRECISION_F32, 2);
    trainable_copy(&l->t, &l->file.model, true, 2);
    for (size_t i = 0; i < LONG_ROWS; i++) {
        l->ids[i] = (uint32_t)test_random_below(&seed, l->t.model.config.vocabulary);
        l->documents[i] = (uint32_t)(i / 90);
        l->first[i] = (uint32_t)test_random_below(&seed, i + 1);
    }
    l->d_hidden = problem_floats(LONG_ROWS * l->t.model.config.width, 0.01, 9);
    l->hidden = problem_floats(LONG_ROWS * l->t.model.config.width, 0.0, 10);
}

static void long_close(long_pass *l)
{
    free(l->d_hidden);
    free(l->hidden);
    trainable_close(&l->t);
    fixture_close(&l->file);
}

/* Into t.gradients and hidden. */
static void long_run(long_pass *l, pith__mask_rule rule)
{
    const pith__arena_mark mark = pith__arena_save(&l->t.arena);
    const pith__pass_input input = {.rows = LONG_ROWS,
                                    .ids = l->ids,
                                    .mask = {.rule = rule,
                                             .gist_first = LONG_GIST,
                                             .gist_last = LONG_GIST + 7,
                                             .documents = l->documents,
                                             .first = l->first,
                                             .matrix = l->matrix}};
    trainable_zero(&l->t);
    pith__pass *pass = pass_run(&l->t.model, &l->t.ctx, &input);
    memcpy(l->hidden, pith__pass_hidden(pass),
           LONG_ROWS * l->t.model.config.width * sizeof *l->hidden);
    pass_back(pass,
              &(pith__pass_gradients){.d_hidden = l->d_hidden, .sink = trainable_sink(&l->t)});
    pith__arena_restore(&l->t.arena, mark);
}

static void long_rules_are_matrices(void **state)
{
    (void)state;
    double worst = 0.0;
    long_pass *l = calloc(1, sizeof *l);
    assert_non_null(l);
    long_open(l);
    const size_t count = l->t.weights.count;
    const size_t width = LONG_ROWS * l->t.model.config.width;
    float *gradient = malloc(count * sizeof *gradient);
    float *hidden = malloc(width * sizeof *hidden);
    assert_non_null(gradient);
    assert_non_null(hidden);
    for (size_t m = 0; m + 1 < MASKS; m++) {
        const pith__mask mask = {.rule = (pith__mask_rule)m,
                                 .gist_first = LONG_GIST,
                                 .gist_last = LONG_GIST + 7,
                                 .documents = l->documents,
                                 .first = l->first};
        for (size_t i = 0; i < (size_t)LONG_ROWS * LONG_ROWS; i++) {
            l->matrix[i] = (uint8_t)rule_sees(&mask, i / LONG_ROWS, i % LONG_ROWS);
        }
        long_run(l, mask.rule);
        memcpy(gradient, l->t.gradients, count * sizeof *gradient);
        memcpy(hidden, l->hidden, width * sizeof *hidden);
        long_run(l, PITH__MASK_MATRIX);
        keep_worst(&worst, largest_difference(l->hidden, hidden, width));
        keep_worst(&worst, relative_error(l->t.gradients, gradient, count));
    }
    print_message("%d rows: rules and matrices differ by %.1e\n", (int)LONG_ROWS, worst);
    assert_true(worst < 1e-5);
    free(gradient);
    free(hidden);
    long_close(l);
    free(l);
}

/* Half the rows as a prefix of the other half, forth and back. */
static void long_halves(long_pass *l, size_t layers, size_t size, float *keys[4])
{
    const size_t d = l->t.model.config.width;
    uint32_t positions[LONG_ROWS];
    for (uint32_t i = 0; i < LONG_ROWS; i++) {
        positions[i] = i;
    }
    const pith__pass_input one = {.rows = LONG_FIRST, .ids = l->ids};
    pith__pass *before = pass_run(&l->t.model, &l->t.ctx, &one);
    for (size_t i = 0; i < layers; i++) {
        memcpy(keys[0] + i * size, pith__pass_keys(before, i), size * sizeof(float));
        memcpy(keys[1] + i * size, pith__pass_values(before, i), size * sizeof(float));
    }
    const pith__prefix prefix = {LONG_FIRST, keys[0], keys[1]};
    const pith__pass_input two = {.rows = LONG_ROWS - LONG_FIRST,
                                  .ids = l->ids + LONG_FIRST,
                                  .positions = positions + LONG_FIRST,
                                  .prefix = &prefix};
    pith__pass *after = pass_run(&l->t.model, &l->t.ctx, &two);
    memcpy(l->hidden, pith__pass_hidden(before), LONG_FIRST * d * sizeof *l->hidden);
    memcpy(l->hidden + LONG_FIRST * d, pith__pass_hidden(after),
           (LONG_ROWS - LONG_FIRST) * d * sizeof *l->hidden);
    pass_back(after, &(pith__pass_gradients){.d_hidden = l->d_hidden + LONG_FIRST * d,
                                             .sink = trainable_sink(&l->t),
                                             .d_prefix_keys = keys[2],
                                             .d_prefix_values = keys[3]});
    pass_back(before, &(pith__pass_gradients){.d_hidden = l->d_hidden,
                                              .d_keys = keys[2],
                                              .d_values = keys[3],
                                              .sink = trainable_sink(&l->t)});
}

static void a_long_prefix_is_the_first_half(void **state)
{
    (void)state;
    long_pass *l = calloc(1, sizeof *l);
    assert_non_null(l);
    long_open(l);
    const size_t count = l->t.weights.count;
    const size_t width = LONG_ROWS * l->t.model.config.width;
    const size_t size = LONG_FIRST * kv_width(&l->t.model.config);
    float *gradient = malloc(count * sizeof *gradient);
    float *hidden = malloc(width * sizeof *hidden);
    assert_non_null(gradient);
    assert_non_null(hidden);
    float *keys[4];
    for (size_t i = 0; i < 4; i++) {
        keys[i] = problem_floats(l->t.model.config.layers * size, 0.0, 1);
    }
    long_run(l, PITH__MASK_CAUSAL);
    memcpy(gradient, l->t.gradients, count * sizeof *gradient);
    memcpy(hidden, l->hidden, width * sizeof *hidden);
    trainable_zero(&l->t);
    long_halves(l, l->t.model.config.layers, size, keys);
    const double states = largest_difference(l->hidden, hidden, width);
    const double gradients = relative_error(l->t.gradients, gradient, count);
    print_message("%d rows: prefix and whole differ: hidden %.1e, gradient %.1e\n", (int)LONG_ROWS,
                  states, gradients);
    assert_true(states < 1e-5);
    assert_true(gradients < 1e-5);
    for (size_t i = 0; i < 4; i++) {
        free(keys[i]);
    }
    free(gradient);
    free(hidden);
    long_close(l);
    free(l);
}

/* ---- the same bytes ------------------------------------------------------------------------------------- */

/* A trained model with an adapter on everything. */
typedef struct adapted {
    trainable t;
    pith__lora lora;
} adapted;

static void adapted_open(adapted *a, const pith__weights *from, const pith__model_config *config,
                         unsigned threads)
{
    pith_error err = {0};
    pith__weights *weights = &a->t.weights;
    pith__weights_init(weights, &pith__allocator_default);
    assert_ok(pith__grad_layout(config, true, weights, &err), err);
    assert_ok(pith__lora_layout(config, 4, (1u << PITH__BLOCK_MATRICES) - 1, weights, &err), err);
    trainable_finish(&a->t, config, threads);
    for (size_t i = 0; i < weights->n_items; i++) {
        const pith__weight *to = &weights->items[i];
        const pith__weight *source = pith__weights_find(from, to->name);
        if (source == NULL) {
            fill_normal(weights->values + to->at, weight_count(to), 0.1, i);
        } else {
            memcpy(weights->values + to->at, from->values + source->at,
                   weight_count(to) * sizeof(float));
        }
    }
    assert_ok(pith__lora_of(config, weights, 8.0f, 0.2f, &pith__allocator_default, &a->lora, &err),
              err);
}

/* All that a step gives: hidden states, then the gradient. free() it. */
static float *adapted_step(adapted *a, bool recompute, size_t *count)
{
    uint64_t seed = 8;
    uint32_t ids[LONG_ROWS + 1];
    uint32_t documents[LONG_ROWS + 1];
    row_range range;
    trainable *t = &a->t;
    const size_t hidden_count = (size_t)LONG_ROWS * t->model.config.width;
    *count = hidden_count + t->weights.count;
    for (size_t i = 0; i <= LONG_ROWS; i++) {
        ids[i] = (uint32_t)test_random_below(&seed, t->model.config.vocabulary);
        documents[i] = (uint32_t)(i / 170);
    }
    float *out = calloc(*count, sizeof *out);
    float *d_hidden = calloc(hidden_count, sizeof *d_hidden);
    assert_non_null(out);
    assert_non_null(d_hidden);
    const pith__pass_input input = {.rows = LONG_ROWS,
                                    .ids = ids,
                                    .mask = {.rule = PITH__MASK_DOCUMENTS, .documents = documents},
                                    .lora = &a->lora,
                                    .dropout_seed = 5,
                                    .recompute = recompute};
    pith__pass *pass = pass_run(&t->model, &t->ctx, &input);
    memcpy(out, pith__pass_hidden(pass), hidden_count * sizeof *out);
    pith__loss loss = mean_loss(&t->model, &t->ctx, out, 0, LONG_ROWS, &range);
    loss.d_hidden = d_hidden;
    loss.sink = trainable_sink(t);
    assert_true(loss_cross_entropy(&loss, ids + 1) > 1.0);
    pass_back(pass, &(pith__pass_gradients){.d_hidden = d_hidden, .sink = trainable_sink(t)});
    memcpy(out + hidden_count, t->gradients, t->weights.count * sizeof *out);
    free(d_hidden);
    return out;
}

static float *long_step(const trainable *base, unsigned threads, bool recompute, size_t *count)
{
    adapted a;
    adapted_open(&a, &base->weights, &base->model.config, threads);
    float *out = adapted_step(&a, recompute, count);
    pith__lora_deinit(&a.lora);
    trainable_close(&a.t);
    return out;
}

static void same_bytes_with_threads_and_recomputed(void **state)
{
    (void)state;
    fixture f;
    trainable base;
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    trainable_copy(&base, &f.model, true, 1);
    size_t count = 0;
    float *first = long_step(&base, 1, false, &count);
    assert_true(dot(first, first, count) > 1.0);
    const struct {
        unsigned threads;
        bool recompute;
    } others[] = {{3, false}, {1, true}, {3, true}};
    for (size_t i = 0; i < 3; i++) {
        size_t again_count = 0;
        float *again = long_step(&base, others[i].threads, others[i].recompute, &again_count);
        assert_int_equal(again_count, count);
        assert_memory_equal(again, first, count * sizeof *first);
        free(again);
    }
    free(first);
    trainable_close(&base);
    fixture_close(&f);
}

/* Every shape, mask and output, small enough to compare all of it. */
static void recomputed_is_the_same_bytes(void **state)
{
    (void)state;
    for (size_t s = 0; s < SHAPES; s++) {
        problem p;
        problem_open(&p, &shapes[s], PROBLEM_PREFIX, 0.4f, 100 * s + 8);
        p.input.dropout_seed = 3;
        float *kept = malloc(p.count * sizeof *kept);
        float *recomputed = malloc(p.count * sizeof *recomputed);
        for (size_t m = 0; m < MASKS; m++) {
            problem_mask(&p, (pith__mask_rule)m);
            p.input.recompute = false;
            (void)problem_run(&p, kept);
            p.input.recompute = true;
            (void)problem_run(&p, recomputed);
            assert_memory_equal(kept, recomputed, p.count * sizeof *kept);
        }
        free(kept);
        free(recomputed);
        problem_close(&p);
    }
}

/* A sink of a part of the vector gets what one of all of it gets there, and adds to what is there. */
static void a_sink_of_a_part(void **state)
{
    (void)state;
    problem p;
    problem_open(&p, &shapes[1], 0, 0.0f, 9);
    const size_t count = p.t.weights.count;
    float *all = calloc(count, sizeof *all);
    float *some = calloc(count, sizeof *some);
    float *hidden = calloc(PROBLEM_ROWS * p.config.width, sizeof *hidden);
    linear_loss(&p, &p.input, p.c_hidden, all, hidden);
    const pith__weight *first = weight_named(&p.t.weights, "blk.1.attn_norm.weight");
    const pith__weight *behind = weight_named(&p.t.weights, "blk.1.ffn_up.weight");
    const size_t from = first->at;
    const size_t to = behind->at;
    for (size_t i = 0; i < count; i++) {
        some[i] = 1.0f;
    }
    pith__pass *pass = pass_run(&p.t.model, &p.t.ctx, &p.input);
    pass_back(pass,
              &(pith__pass_gradients){.d_hidden = p.c_hidden,
                                      .sink = {p.t.weights.values + from, some + from, to - from}});
    size_t changed = 0;
    for (size_t i = 0; i < count; i++) {
        if (i >= from && i < to) {
            assert_true(fabs((double)some[i] - 1.0 - (double)all[i]) < 1e-6);
            changed += some[i] != 1.0f;
        } else {
            assert_true(some[i] == 1.0f);
        }
    }
    assert_true(changed > (to - from) / 2);
    free(all);
    free(some);
    free(hidden);
    problem_close(&p);
}

/* ---- what is refused --------------------------------------------------------------------------------------- */

static void assert_refused(const problem *p, const pith__pass_input *input)
{
    pith__pass *pass = NULL;
    pith_error err = {0};
    const pith__arena_mark mark = pith__arena_save(p->t.ctx.arena);
    assert_status(pith__pass_forward(&p->t.model, &p->t.ctx, input, &pass, &err), PITH_E_ARGUMENT);
    assert_null(pass);
    assert_true(strlen(err.message) > 0);
    assert_int_equal(p->t.arena.used_total, mark.used_total);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    problem p;
    problem_open(&p, &shapes[0], PROBLEM_PREFIX, 0.0f, 61);
    pith__pass_input input = p.input;
    for (size_t rule = PITH__MASK_GIST; rule <= PITH__MASK_GIST_NEGATIVE; rule++) {
        input.mask = (pith__mask){.rule = (pith__mask_rule)rule, .gist_first = 5, .gist_last = 4};
        assert_refused(&p, &input);
        input.mask.gist_last = PROBLEM_ROWS;
        assert_refused(&p, &input);
        input.mask.gist_last = SIZE_MAX;
        assert_refused(&p, &input);
    }
    input.mask = (pith__mask){.rule = PITH__MASK_MATRIX};
    assert_refused(&p, &input);
    input.mask = (pith__mask){.rule = PITH__MASK_DOCUMENTS};
    assert_refused(&p, &input);
    input.mask = (pith__mask){.rule = PITH__MASK_FIRST};
    assert_refused(&p, &input);
    for (uint32_t late = 0; late < PROBLEM_ROWS; late += PROBLEM_ROWS - 1) {
        uint32_t first[PROBLEM_ROWS] = {0};
        first[late] = late + 1;
        input.mask.first = first;
        assert_refused(&p, &input);
    }
    input = p.input;
    input.embeddings = NULL; /* some rows have no id */
    assert_refused(&p, &input);
    input.ids = NULL;
    assert_refused(&p, &input);
    input = p.input;
    p.ids[3] = p.config.vocabulary;
    assert_refused(&p, &input);
    p.ids[3] = UINT32_MAX - 1;
    assert_refused(&p, &input);
    problem_close(&p);
}

/* ---- memory ------------------------------------------------------------------------------------------------- */

/* All of a training step with memory of one allocator. */
typedef struct step {
    pith__weights weights;
    pith__model model;
    pith__lora lora;
    pith__arena arena;
    float *gradients; /* of a size known beforehand */
    bool recompute;
} step;

static pith_status step_losses(const step *s, const pith__tensor_ctx *ctx, const pith__pass *pass,
                               float *d_hidden, const pith__sink *sink)
{
    static const uint32_t rows[] = {1, 2, 5};
    static const uint32_t targets[] = {3, 1, 0};
    static const float weight[] = {0.5f, 0.25f, 0.25f};
    static const float probabilities[] = {0.5f, 0.25f, 0.75f};
    const pith__loss loss = {.model = &s->model,
                             .ctx = ctx,
                             .hidden = pith__pass_hidden(pass),
                             .n = 3,
                             .rows = rows,
                             .weight = weight,
                             .d_hidden = d_hidden,
                             .sink = *sink};
    double value = 0.0;
    PITH__TRY(pith__loss_cross_entropy(&loss, targets, &value, NULL));
    PITH__TRY(pith__loss_kl(&loss, &s->model, pith__pass_hidden(pass), PITH__KL_REVERSE, 2.0f,
                            &value, NULL));
    return pith__loss_kl_top(&loss, 1, targets, probabilities, &value, NULL);
}

static pith_status step_run(step *s, const pith_allocator *mem)
{
    const pith__model_config *c = &shapes[0].config;
    static const uint32_t ids[] = {3, 1, 4, 1, 5, 9, 2};
    static const uint32_t first[] = {0, 1, 0, 2, 4, 3, 0};
    static const float prefix_values[2 * 2 * 12];
    static const uint8_t matrix[7 * 9] = {1, 1, 1};
    const pith__prefix prefix = {2, prefix_values, prefix_values};
    float d_hidden[7 * 24] = {0};
    PITH__TRY(pith__grad_layout(c, true, &s->weights, NULL));
    PITH__TRY(pith__lora_layout(c, 2, 3, &s->weights, NULL));
    PITH__TRY(pith__weights_allocate(&s->weights, NULL));
    pith__grad_initialise(c, &s->weights, 1);
    PITH__TRY(pith__grad_model(c, &s->weights, mem, &s->model, NULL));
    PITH__TRY(pith__lora_of(c, &s->weights, 1.0f, 0.5f, mem, &s->lora, NULL));
    const pith__tensor_ctx ctx = {2, &s->arena};
    const pith__sink sink = {s->weights.values, s->gradients, s->weights.count};
    for (size_t rule = 0; rule < MASKS; rule++) {
        const pith__pass_input input = {.rows = 7,
                                        .ids = ids,
                                        .mask = {.rule = (pith__mask_rule)rule,
                                                 .gist_first = 2,
                                                 .gist_last = 3,
                                                 .documents = ids,
                                                 .first = first,
                                                 .matrix = matrix},
                                        .prefix = &prefix,
                                        .lora = &s->lora,
                                        .dropout_seed = 1,
                                        .recompute = s->recompute};
        pith__pass *pass = NULL;
        PITH__TRY(pith__pass_forward(&s->model, &ctx, &input, &pass, NULL));
        PITH__TRY(step_losses(s, &ctx, pass, d_hidden, &sink));
        const pith__pass_gradients gradients = {.d_hidden = d_hidden, .sink = sink};
        PITH__TRY(pith__pass_backward(pass, &gradients, NULL));
    }
    return PITH_OK;
}

static pith_status step_body(const pith_allocator *mem, void *user)
{
    step s = {.recompute = *(const bool *)user};
    s.gradients = calloc(20000, sizeof *s.gradients);
    assert_non_null(s.gradients);
    pith__weights_init(&s.weights, mem);
    pith__arena_init(&s.arena, mem);
    const pith_status status = step_run(&s, mem);
    assert_true(s.weights.count < 20000);
    pith__arena_deinit(&s.arena);
    pith__lora_deinit(&s.lora);
    pith__model_deinit(&s.model);
    pith__weights_deinit(&s.weights);
    free(s.gradients);
    return status;
}

static void memory_runs_out(void **state)
{
    (void)state;
    for (int recompute = 0; recompute < 2; recompute++) {
        bool flag = recompute != 0;
        test_sweep(step_body, &flag);
    }
}

/* A pass gives back nothing that it did not take: after the mark is restored, all is as before. */
static void a_step_leaves_the_arena_as_it_was(void **state)
{
    (void)state;
    problem p;
    problem_open(&p, &shapes[2], PROBLEM_PREFIX, 0.2f, 71);
    float *gradient = malloc(p.count * sizeof *gradient);
    (void)problem_run(&p, gradient);
    const size_t used = p.t.arena.used_total;
    (void)problem_run(&p, gradient);
    assert_int_equal(p.t.arena.used_total, used);
    const pith__arena_mark mark = pith__arena_save(&p.t.arena);
    pith__pass *pass = pass_run(&p.t.model, &p.t.ctx, &p.input);
    const size_t kept = p.t.arena.used_total;
    pass_back(pass, &(pith__pass_gradients){.d_hidden = p.c_hidden});
    assert_int_equal(p.t.arena.used_total, kept);
    pith__arena_restore(&p.t.arena, mark);
    free(gradient);
    problem_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(plain_gradients_are_slopes),
        cmocka_unit_test(gradients_are_slopes_with_dropout),
        cmocka_unit_test(dropout_drops_its_share),
        cmocka_unit_test(a_causal_pass_is_the_models),
        cmocka_unit_test(packed_documents_are_separate),
        cmocka_unit_test(a_prefix_is_the_first_half),
        cmocka_unit_test(rules_are_matrices),
        cmocka_unit_test(first_rows_are_any_rule),
        cmocka_unit_test(packed_gists_are_each_alone),
        cmocka_unit_test(long_rules_are_matrices),
        cmocka_unit_test(a_long_prefix_is_the_first_half),
        cmocka_unit_test(same_bytes_with_threads_and_recomputed),
        cmocka_unit_test(recomputed_is_the_same_bytes),
        cmocka_unit_test(a_sink_of_a_part),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(memory_runs_out),
        cmocka_unit_test(a_step_leaves_the_arena_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
