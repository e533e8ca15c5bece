/*
 * test_grad_losses.c: losses on hidden states against the same in double and its finite
 * differences, and where they must agree with each other.
 */
#include "grad_reference.h"

/* Gradients in float against finite differences in double. */
#define GRADIENT_TOLERANCE 1e-5

enum { LOSS_ROWS = 40, LOSS_CHOSEN = 31, LOSS_WIDTH = 20, LOSS_VOCABULARY = 37 };

/* Losses of random hidden states under the head of a random model. */
typedef struct losses {
    problem p;       /* for its models' heads */
    problem teacher; /* another */
    float *hidden;   /* (rows, d) */
    float *wanted;   /* (chosen, d) */
    uint32_t rows[LOSS_CHOSEN];
    uint32_t targets[LOSS_CHOSEN];
    float weight[LOSS_CHOSEN];
    size_t k;
    uint32_t ids[LOSS_CHOSEN * LOSS_VOCABULARY];
    float probabilities[LOSS_CHOSEN * LOSS_VOCABULARY];
} losses;

static void losses_open(losses *l)
{
    uint64_t seed = 17;
    memset(l, 0, sizeof *l);
    problem_open(&l->p, &shapes[1], 0, 0.0f, 41);
    problem_open(&l->teacher, &shapes[1], 0, 0.0f, 43);
    assert_int_equal(l->p.config.width, LOSS_WIDTH);
    assert_int_equal(l->p.config.vocabulary, LOSS_VOCABULARY);
    l->hidden = problem_floats(LOSS_ROWS * LOSS_WIDTH, 1.0, 42);
    l->wanted = problem_floats(LOSS_CHOSEN * LOSS_WIDTH, 1.0, 44);
    for (size_t i = 0; i < LOSS_CHOSEN; i++) {
        l->rows[i] = (uint32_t)((i * 7 + 3) % LOSS_ROWS);
        l->targets[i] = (uint32_t)test_random_below(&seed, LOSS_VOCABULARY);
        l->weight[i] = (float)(0.1 + 0.3 * random_unit(&seed));
    }
}

static void losses_close(losses *l)
{
    problem_close(&l->p);
    problem_close(&l->teacher);
    free(l->hidden);
    free(l->wanted);
}

static const float *head_of(const problem *p)
{
    return p->t.weights.values + weight_named(&p->t.weights, "output.weight")->at;
}

/* ln softmax(head x / temperature), (vocabulary). */
static void log_probabilities(const double *head, const double *x, double temperature, double *out)
{
    double sum = 0.0;
    for (size_t v = 0; v < LOSS_VOCABULARY; v++) {
        out[v] = 0.0;
        reference_product(head + v * LOSS_WIDTH, 1, LOSS_WIDTH, 1.0 / temperature, x, &out[v]);
        sum += exp(out[v]);
    }
    for (size_t v = 0; v < LOSS_VOCABULARY; v++) {
        out[v] -= log(sum);
    }
}

static void doubles_of(const float *from, size_t count, double *to)
{
    for (size_t i = 0; i < count; i++) {
        to[i] = (double)from[i];
    }
}

/* The teacher's of chosen row i. */
static void teacher_log_probabilities(const losses *l, size_t i, double temperature, double *out)
{
    double head[LOSS_VOCABULARY * LOSS_WIDTH];
    double x[LOSS_WIDTH];
    doubles_of(head_of(&l->teacher), (size_t)LOSS_VOCABULARY * LOSS_WIDTH, head);
    doubles_of(l->wanted + i * LOSS_WIDTH, LOSS_WIDTH, x);
    log_probabilities(head, x, temperature, out);
}

/* The k likeliest entries of every row, by the teacher. */
static void losses_top(losses *l, size_t k)
{
    l->k = k;
    for (size_t i = 0; i < LOSS_CHOSEN; i++) {
        double log_p[LOSS_VOCABULARY];
        teacher_log_probabilities(l, i, 1.0, log_p);
        for (size_t j = 0; j < k; j++) {
            size_t best = 0;
            for (size_t v = 1; v < LOSS_VOCABULARY; v++) {
                best = log_p[v] > log_p[best] ? v : best;
            }
            l->ids[i * k + j] = (uint32_t)best;
            l->probabilities[i * k + j] = (float)exp(log_p[best]);
            log_p[best] = -HUGE_VAL;
        }
    }
}

typedef enum loss_kind {
    LOSS_CROSS_ENTROPY,
    LOSS_KL_FORWARD,
    LOSS_KL_REVERSE,
    LOSS_KL_TOP,
    LOSS_HIDDEN
} loss_kind;

typedef struct loss_case {
    const char *name;
    loss_kind kind;
    float temperature;
    size_t k;
} loss_case;

/* Of one chosen row in double; `student` ln probabilities at the case's temperature. */
static double loss_of_row(const losses *l, const loss_case *c, size_t i, const double *student,
                          const double *x)
{
    double teacher[LOSS_VOCABULARY];
    double sum = 0.0;
    teacher_log_probabilities(l, i, (double)c->temperature, teacher);
    if (c->kind == LOSS_CROSS_ENTROPY) {
        return -student[l->targets[i]];
    }
    if (c->kind == LOSS_HIDDEN) {
        for (size_t j = 0; j < LOSS_WIDTH; j++) {
            const double off = x[j] - (double)l->wanted[i * LOSS_WIDTH + j];
            sum += off * off / LOSS_WIDTH;
        }
        return sum;
    }
    if (c->kind == LOSS_KL_TOP) {
        double p_rest = 1.0;
        double q_rest = 1.0;
        for (size_t j = 0; j < l->k; j++) {
            const double p = (double)l->probabilities[i * l->k + j];
            const double log_q = student[l->ids[i * l->k + j]];
            sum += p * (log(p) - log_q);
            p_rest -= p;
            q_rest -= exp(log_q);
        }
        return sum + p_rest * log(p_rest / q_rest);
    }
    for (size_t v = 0; v < LOSS_VOCABULARY; v++) {
        sum += c->kind == LOSS_KL_REVERSE ? exp(student[v]) * (student[v] - teacher[v])
                                          : exp(teacher[v]) * (teacher[v] - student[v]);
    }
    return sum * (double)c->temperature * (double)c->temperature;
}

typedef struct loss_point {
    const losses *l;
    const loss_case *c;
} loss_point;

/* Point: the head, then the hidden states. */
static double loss_of_point(void *user, const double *point)
{
    const loss_point *at = user;
    const double *hidden = point + (size_t)LOSS_VOCABULARY * LOSS_WIDTH;
    double sum = 0.0;
    for (size_t i = 0; i < LOSS_CHOSEN; i++) {
        double student[LOSS_VOCABULARY];
        const double *x = hidden + (size_t)at->l->rows[i] * LOSS_WIDTH;
        log_probabilities(point, x, (double)at->c->temperature, student);
        sum += (double)at->l->weight[i] * loss_of_row(at->l, at->c, i, student, x);
    }
    return sum;
}

static double loss_run(const losses *l, const loss_case *c, const pith__loss *loss)
{
    pith_error err = {0};
    double value = (double)NAN;
    const pith__model *teacher = &l->teacher.t.model;
    switch (c->kind) {
    case LOSS_CROSS_ENTROPY:
        assert_ok(pith__loss_cross_entropy(loss, l->targets, &value, &err), err);
        break;
    case LOSS_KL_FORWARD:
        assert_ok(
            pith__loss_kl(loss, teacher, l->wanted, PITH__KL_FORWARD, c->temperature, &value, &err),
            err);
        break;
    case LOSS_KL_REVERSE:
        assert_ok(
            pith__loss_kl(loss, teacher, l->wanted, PITH__KL_REVERSE, c->temperature, &value, &err),
            err);
        break;
    case LOSS_KL_TOP:
        assert_ok(pith__loss_kl_top(loss, l->k, l->ids, l->probabilities, &value, &err), err);
        break;
    case LOSS_HIDDEN:
    default:
        pith__loss_hidden(loss, LOSS_WIDTH, l->wanted, &value);
        break;
    }
    return value;
}

static pith__loss loss_for(const losses *l, float *d_hidden, float *d_head, float *each)
{
    const size_t count = (size_t)LOSS_VOCABULARY * LOSS_WIDTH;
    return (pith__loss){.model = &l->p.t.model,
                        .ctx = &l->p.t.ctx,
                        .hidden = l->hidden,
                        .n = LOSS_CHOSEN,
                        .rows = l->rows,
                        .weight = l->weight,
                        .d_hidden = d_hidden,
                        .sink = {head_of(&l->p), d_head, d_head == NULL ? 0 : count},
                        .losses = each};
}

/* Slopes of head and hidden states. */
static double loss_slopes(const losses *l, const loss_case *c, const float *gradient)
{
    enum { HEAD = LOSS_VOCABULARY * LOSS_WIDTH, COUNT = HEAD + LOSS_ROWS * LOSS_WIDTH };
    double base[COUNT];
    double point[COUNT];
    int8_t direction[COUNT];
    uint64_t seed = 12;
    double worst = 0.0;
    loss_point at = {l, c};
    doubles_of(head_of(&l->p), HEAD, base);
    doubles_of(l->hidden, COUNT - HEAD, base + HEAD);
    for (size_t k = 0; k < 8; k++) {
        for (size_t i = 0; i < COUNT; i++) {
            const bool head = k % 2 == 0 && c->kind != LOSS_HIDDEN;
            direction[i] = (int8_t)((i < HEAD) == head ? test_random(&seed) >> 63 ? 1 : -1 : 0);
        }
        const double there = slope(loss_of_point, &at, point, base, direction, COUNT, 1e-5);
        keep_worst(&worst, direction_error(there, gradient, direction, COUNT));
    }
    return worst;
}

/* Each row's own, the value alone, and that gradients are added to what is there. */
static void loss_outputs(const losses *l, const loss_case *c, double value, const float *d_hidden)
{
    float each[LOSS_CHOSEN];
    float again[LOSS_ROWS * LOSS_WIDTH];
    for (size_t j = 0; j < LOSS_ROWS * LOSS_WIDTH; j++) {
        again[j] = 1.0f;
    }
    const pith__loss more = loss_for(l, again, NULL, NULL);
    (void)loss_run(l, c, &more);
    for (size_t j = 0; j < LOSS_ROWS * LOSS_WIDTH; j++) {
        assert_true(fabs((double)again[j] - 1.0 - (double)d_hidden[j]) < 1e-6);
    }
    double sum = 0.0;
    const pith__loss only = loss_for(l, NULL, NULL, each);
    assert_true(loss_run(l, c, &only) == value);
    for (size_t r = 0; r < LOSS_CHOSEN; r++) {
        sum += (double)l->weight[r] * (double)each[r];
    }
    assert_true(fabs(sum - value) < 1e-6 * fabs(value));
}

static void losses_and_their_gradients(void **state)
{
    (void)state;
    static const loss_case cases[] = {
        {"cross-entropy", LOSS_CROSS_ENTROPY, 1.0f, 0},
        {"forward KL", LOSS_KL_FORWARD, 1.0f, 0},
        {"forward KL, T 2", LOSS_KL_FORWARD, 2.0f, 0},
        {"forward KL, T 0.7", LOSS_KL_FORWARD, 0.7f, 0},
        {"reverse KL", LOSS_KL_REVERSE, 1.0f, 0},
        {"reverse KL, T 2", LOSS_KL_REVERSE, 2.0f, 0},
        {"KL of top 1", LOSS_KL_TOP, 1.0f, 1},
        {"KL of top 8", LOSS_KL_TOP, 1.0f, 8},
        {"KL of top 36", LOSS_KL_TOP, 1.0f, 36},
        {"hidden states", LOSS_HIDDEN, 1.0f, 0},
    };
    enum { HEAD = LOSS_VOCABULARY * LOSS_WIDTH, COUNT = HEAD + LOSS_ROWS * LOSS_WIDTH };
    losses l;
    losses_open(&l);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float gradient[COUNT] = {0};
        double point[COUNT];
        losses_top(&l, cases[i].k);
        const pith__loss loss = loss_for(&l, gradient + HEAD, gradient, NULL);
        const double value = loss_run(&l, &cases[i], &loss);
        doubles_of(head_of(&l.p), HEAD, point);
        doubles_of(l.hidden, COUNT - HEAD, point + HEAD);
        const double expected = loss_of_point(&(loss_point){&l, &cases[i]}, point);
        const double off = fabs(value - expected) / fabs(expected);
        const double slopes = loss_slopes(&l, &cases[i], gradient);
        print_message("%-18s value %.1e, gradient %.1e\n", cases[i].name, off, slopes);
        assert_true(off < 2e-6);
        assert_true(slopes < GRADIENT_TOLERANCE);
        loss_outputs(&l, &cases[i], value, gradient + HEAD);
    }
    losses_close(&l);
}

static void a_model_agrees_with_itself(void **state)
{
    (void)state;
    static const float temperatures[] = {0.5f, 1.0f, 3.0f};
    losses l;
    losses_open(&l);
    float chosen[LOSS_CHOSEN * LOSS_WIDTH];
    for (size_t i = 0; i < LOSS_CHOSEN; i++) {
        memcpy(chosen + i * LOSS_WIDTH, l.hidden + (size_t)l.rows[i] * LOSS_WIDTH,
               LOSS_WIDTH * sizeof *chosen);
    }
    for (size_t i = 0; i < 6; i++) {
        pith_error err = {0};
        double value = (double)NAN;
        float d_hidden[LOSS_ROWS * LOSS_WIDTH] = {0};
        float d_head[LOSS_VOCABULARY * LOSS_WIDTH] = {0};
        const pith__loss loss = loss_for(&l, d_hidden, d_head, NULL);
        assert_ok(pith__loss_kl(&loss, &l.p.t.model, chosen,
                                i % 2 == 0 ? PITH__KL_FORWARD : PITH__KL_REVERSE,
                                temperatures[i / 2], &value, &err),
                  err);
        assert_true(fabs(value) < 1e-5);
        assert_true(dot(d_hidden, d_hidden, (size_t)LOSS_ROWS * LOSS_WIDTH) < 1e-12);
        assert_true(dot(d_head, d_head, (size_t)LOSS_VOCABULARY * LOSS_WIDTH) < 1e-12);
    }
    losses_close(&l);
}

/* With all but one entry named, the top is all there is. */
static void the_top_of_a_teacher_is_the_teacher(void **state)
{
    (void)state;
    static const loss_case full = {"", LOSS_KL_FORWARD, 1.0f, 0};
    static const loss_case top = {"", LOSS_KL_TOP, 1.0f, LOSS_VOCABULARY - 1};
    losses l;
    losses_open(&l);
    losses_top(&l, top.k);
    float by_full[LOSS_ROWS * LOSS_WIDTH] = {0};
    float by_top[LOSS_ROWS * LOSS_WIDTH] = {0};
    const pith__loss a = loss_for(&l, by_full, NULL, NULL);
    const pith__loss b = loss_for(&l, by_top, NULL, NULL);
    const double value = loss_run(&l, &full, &a);
    const double of_top = loss_run(&l, &top, &b);
    const double off = relative_error(by_top, by_full, (size_t)LOSS_ROWS * LOSS_WIDTH);
    print_message("top and full KL differ by %.1e, gradients by %.1e\n",
                  fabs(value - of_top) / value, off);
    assert_true(fabs(value - of_top) < 1e-5 * value);
    assert_true(off < 1e-4);
    /* fewer entries say less */
    losses_top(&l, 4);
    const pith__loss c = loss_for(&l, NULL, NULL, NULL);
    const double of_few = loss_run(&l, &(loss_case){"", LOSS_KL_TOP, 1.0f, 4}, &c);
    assert_true(of_few > 0.0 && of_few < value);
    losses_close(&l);
}

/* More rows than are looked at together, and none. */
static void losses_of_many_rows(void **state)
{
    (void)state;
    enum { MANY = 1300 };
    problem p;
    problem_open(&p, &shapes[0], 0, 0.0f, 51);
    const size_t d = p.config.width;
    uint64_t seed = 3;
    float *hidden = problem_floats(MANY * d, 1.0, 52);
    float *at_once = calloc(MANY * d, sizeof *at_once);
    float *one_by_one = calloc(MANY * d, sizeof *one_by_one);
    uint32_t *rows = malloc(MANY * sizeof *rows);
    uint32_t *targets = malloc(MANY * sizeof *targets);
    float *weight = malloc(MANY * sizeof *weight);
    for (size_t i = 0; i < MANY; i++) {
        rows[i] = (uint32_t)(MANY - 1 - i);
        targets[i] = (uint32_t)test_random_below(&seed, p.config.vocabulary);
        weight[i] = (float)random_unit(&seed);
    }
    pith__loss loss = {.model = &p.t.model,
                       .ctx = &p.t.ctx,
                       .hidden = hidden,
                       .n = MANY,
                       .rows = rows,
                       .weight = weight,
                       .d_hidden = at_once};
    const double value = loss_cross_entropy(&loss, targets);
    double sum = 0.0;
    loss.d_hidden = one_by_one;
    loss.n = 1;
    for (size_t i = 0; i < MANY; i++, loss.rows++, loss.weight++) {
        sum += loss_cross_entropy(&loss, targets + i);
    }
    assert_true(fabs(value - sum) < 1e-6 * sum);
    assert_true(relative_error(at_once, one_by_one, MANY * d) < 1e-5);
    loss.n = 0;
    assert_true(loss_cross_entropy(&loss, targets) == 0.0);
    free(hidden);
    free(at_once);
    free(one_by_one);
    free(rows);
    free(targets);
    free(weight);
    problem_close(&p);
}

static void losses_refuse_nonsense(void **state)
{
    (void)state;
    losses l;
    pith_error err = {0};
    double value = 0.0;
    losses_open(&l);
    const pith__loss loss = loss_for(&l, NULL, NULL, NULL);
    l.targets[7] = LOSS_VOCABULARY;
    assert_status(pith__loss_cross_entropy(&loss, l.targets, &value, &err), PITH_E_ARGUMENT);
    losses_top(&l, 3);
    l.ids[LOSS_CHOSEN * 3 - 1] = LOSS_VOCABULARY;
    assert_status(pith__loss_kl_top(&loss, l.k, l.ids, l.probabilities, &value, &err),
                  PITH_E_ARGUMENT);
    problem other;
    problem_open(&other, &shapes[0], 0, 0.0f, 1);
    assert_status(
        pith__loss_kl(&loss, &other.t.model, l.wanted, PITH__KL_FORWARD, 1.0f, &value, &err),
        PITH_E_ARGUMENT);
    problem_close(&other);
    losses_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_and_their_gradients),
        cmocka_unit_test(a_model_agrees_with_itself),
        cmocka_unit_test(the_top_of_a_teacher_is_the_teacher),
        cmocka_unit_test(losses_of_many_rows),
        cmocka_unit_test(losses_refuse_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
