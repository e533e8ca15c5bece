/*
 * test_distill.c: one context into a soft prompt or an adapter: that the loss and its gradient are what
 * they are said to be, that what must not matter does not, that it learns, and what comes out.
 */
#include "grad_fixture.h"
#include "run_fixture.h"

#include "golden_json.h"
#include "train/distill.h"

static const pith_allocator *const mem = &pith__allocator_default;

enum {
    WIDTH = 64, /* of llama_gqa */
    VOCABULARY = 1024,
    CONTEXT = 24,
    LISTS = 6,
    LIST_MAX = 12,
    SLOTS = 4,
    ROWS_MAX = 96
};

/* ---- texts and settings ---------------------------------------------------------------------- */

/* A context, and continuations of several lengths. */
typedef struct texts {
    uint32_t context[CONTEXT];
    uint32_t ids[2 * LISTS * LIST_MAX];
    size_t starts[2 * LISTS + 1];
} texts;

static void random_texts(texts *t, const fixture *f, uint64_t seed)
{
    random_ids(f, t->context, CONTEXT, seed);
    random_ids(f, t->ids, sizeof t->ids / sizeof t->ids[0], seed + 1);
    t->starts[0] = 0;
    for (size_t i = 0; i < (size_t)2 * LISTS; i++) {
        t->starts[i + 1] = t->starts[i] + 1 + 5 * i % LIST_MAX;
    }
}

static pith__id_lists lists_of(const texts *t, size_t first, size_t count)
{
    return (pith__id_lists){.ids = t->ids, .starts = t->starts + first, .count = count};
}

/* All training lists in one update, at rate 0: nothing changes. */
static pith__distill_settings settings_of(const fixture *f, const texts *t)
{
    pith__distill_settings s = {
        .run = run_settings(1),
        .model = &f->model,
        .bos = 1,
        .context = t->context,
        .n_context = CONTEXT,
        .training = lists_of(t, 0, LISTS),
        .held_out = lists_of(t, LISTS, LISTS),
        .first_token = true,
        .slots = SLOTS,
        .lora = {.rank = 4, .alpha = 8.0, .matrices = (1u << PITH__BLOCK_MATRICES) - 1}};
    s.run.batch = LISTS;
    s.run.length = LIST_MAX;
    s.run.optimizer.rate = 0.0;
    s.run.optimizer.decay = 0.0;
    return s;
}

static pith__distill_report distill(const pith__distill_settings *s, pith__weights *learned)
{
    pith_error err = {0};
    pith__distill_report report;
    pith__weights_init(learned, mem);
    assert_ok(pith__distill(s, mem, learned, &report, &err), err);
    return report;
}

/* Where what is learned does not matter. */
static pith__distill_report report_of(const pith__distill_settings *s)
{
    pith__weights learned;
    const pith__distill_report report = distill(s, &learned);
    pith__weights_deinit(&learned);
    return report;
}

/* ---- the same by hand ------------------------------------------------------------------------ */

/* A student, and what it is compared with the teacher on. */
typedef struct hand {
    const pith__distill_settings *s;
    pith__id_lists lists;
    const float *rows; /* (m, d) */
    size_t m;
    const pith__lora *lora;
    bool first_token;
    pith__kl_direction direction;
    size_t predictions; /* out */
} hand;

/* Hidden states of [BOS], ids, rows and x: one plain pass over all of it. Returns its rows. */
static size_t hidden_by_hand(const hand *h, const uint32_t *ids, size_t count, const float *rows,
                             size_t m, size_t list, const pith__lora *lora, float *hidden)
{
    uint32_t all[ROWS_MAX];
    float embeddings[ROWS_MAX * WIDTH] = {0};
    const size_t length = h->lists.starts[list + 1] - h->lists.starts[list];
    const size_t width = h->s->model->config.width;
    size_t n = 0;
    assert_true(1 + count + m + length <= ROWS_MAX);
    assert_true(width <= WIDTH);
    if (h->s->bos != PITH__NO_ID) {
        all[n++] = h->s->bos;
    }
    for (size_t i = 0; i < count; i++) {
        all[n++] = ids[i];
    }
    for (size_t i = 0; i < m; i++) {
        memcpy(embeddings + n * width, rows + i * width, width * sizeof *rows);
        all[n++] = PITH__NO_ID;
    }
    for (size_t i = 0; i < length; i++) {
        all[n++] = h->lists.ids[h->lists.starts[list] + i];
    }
    pith__arena arena;
    pith__arena_init(&arena, mem);
    const pith__tensor_ctx ctx = {1, &arena};
    const pith__pass_input input = {.rows = n, .ids = all, .embeddings = embeddings, .lora = lora};
    const pith__pass *pass = pass_run(h->s->model, &ctx, &input);
    memcpy(hidden, pith__pass_hidden(pass), n * width * sizeof *hidden);
    pith__arena_deinit(&arena);
    return n;
}

/* ln softmax of one row's logits, in double. */
static void log_probabilities(const pith__model *model, const float *hidden, double *out)
{
    const size_t width = model->config.width;
    const size_t vocabulary = model->config.vocabulary;
    double sum = 0.0;
    for (size_t v = 0; v < vocabulary; v++) {
        out[v] = dot(model->head.f32 + v * width, hidden, width);
        sum += exp(out[v]);
    }
    for (size_t v = 0; v < vocabulary; v++) {
        out[v] -= log(sum);
    }
}

static double divergence(const double *p, const double *q, size_t count)
{
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += exp(p[i]) * (p[i] - q[i]);
    }
    return sum;
}

/* Nats per prediction, by the words of train.h. */
static double kl_by_hand(hand *h)
{
    static float teacher[ROWS_MAX * WIDTH], student[ROWS_MAX * WIDTH];
    static double p[VOCABULARY], q[VOCABULARY];
    const pith__model *model = h->s->model;
    const size_t width = model->config.width;
    double sum = 0.0;
    assert_true(model->config.vocabulary <= VOCABULARY);
    h->predictions = 0;
    for (size_t i = 0; i < h->lists.count; i++) {
        const size_t length = h->lists.starts[i + 1] - h->lists.starts[i];
        const size_t a =
            hidden_by_hand(h, h->s->context, h->s->n_context, NULL, 0, i, NULL, teacher);
        const size_t b = hidden_by_hand(h, NULL, 0, h->rows, h->m, i, h->lora, student);
        for (size_t back = 1; back <= length + (h->first_token ? 1 : 0); back++) {
            log_probabilities(model, teacher + (a - back) * width, p);
            log_probabilities(model, student + (b - back) * width, q);
            sum += h->direction == PITH__KL_FORWARD ? divergence(p, q, model->config.vocabulary)
                                                    : divergence(q, p, model->config.vocabulary);
            h->predictions++;
        }
    }
    return sum / (double)h->predictions;
}

/* ---- checkpoints as a way in and out --------------------------------------------------------- */

/* A run's checkpoint with a soft prompt of these sizes. */
typedef struct saved {
    pith__weights weights;
    pith__optimizer optimizer;
    pith__run_state state;
} saved;

static void saved_open(saved *c, const pith__distill_settings *s, const char *path)
{
    pith_error err = {0};
    *c = (saved){.state = {.step = 0}};
    pith__weights_init(&c->weights, mem);
    assert_ok(pith__weights_add(&c->weights, "soft_prompt", PITH__WEIGHT_EMBEDDING, s->slots,
                                s->model->config.width, &err),
              err);
    assert_ok(pith__weights_allocate(&c->weights, &err), err);
    assert_ok(pith__optimizer_init(&s->run.optimizer, &c->weights, &c->optimizer, &err), err);
    assert_ok(pith__checkpoint_load(path, &c->state, &c->optimizer, NULL, 0, &err), err);
}

static void saved_close(saved *c)
{
    pith__optimizer_deinit(&c->optimizer);
    pith__weights_deinit(&c->weights);
}

/* The gradient of one update is the first moment then. */
static void keep_gradient(pith__distill_settings *s, const char *path)
{
    s->run.checkpoint = path;
    s->run.optimizer.beta1 = 0.0;
    s->run.optimizer.clip = 0.0;
}

/* ---- the loss -------------------------------------------------------------------------------- */

typedef struct gqa {
    fixture f;
    texts t;
    pith__distill_settings s;
} gqa;

static void gqa_open(gqa *g)
{
    fixture_open(&g->f, "llama_gqa", PITH_PRECISION_F32, 1);
    assert_int_equal(g->f.model.config.width, WIDTH);
    assert_int_equal(g->f.model.config.vocabulary, VOCABULARY);
    random_texts(&g->t, &g->f, 5);
    g->s = settings_of(&g->f, &g->t);
}

/* What an update of all training lists says its loss was, per prediction. */
static pith__train_event first_step(pith__distill_settings s)
{
    static run_events e;
    e = (run_events){.stops = false};
    s.run.event = run_take_event;
    s.run.event_user = &e;
    (void)report_of(&s);
    return run_last(&e, PITH__TRAIN_STEP, NULL);
}

/*
 * The teacher reads the context once and each continuation behind its keys and values; by hand it is
 * one plain pass over all of it. Lists are packed, split into lanes, and of several lengths.
 */
static void losses_are_those_of_plain_passes(void **state)
{
    (void)state;
    gqa g;
    gqa_open(&g);
    double worst = 0.0;
    for (unsigned kind = 0; kind < 16; kind++) {
        g.s.bos = (kind & 1u) != 0 ? 1 : PITH__NO_ID;
        g.s.first_token = (kind & 2u) != 0;
        g.s.direction = (kind & 4u) != 0 ? PITH__KL_REVERSE : PITH__KL_FORWARD;
        g.s.into = (kind & 8u) != 0 ? PITH__DISTILL_LORA : PITH__DISTILL_SOFT_PROMPT;
        g.s.run.micro_batch = 1 + kind % 3;
        const bool bos = g.s.bos != PITH__NO_ID;
        const bool soft = g.s.into == PITH__DISTILL_SOFT_PROMPT;
        pith__weights learned;
        const pith__distill_report report = distill(&g.s, &learned);
        const pith__train_event step = first_step(g.s);
        hand h = {.s = &g.s, .lists = g.s.training, .direction = g.s.direction};
        h.rows = soft ? learned.values : NULL; /* an adapter changes nothing at first */
        h.m = soft ? SLOTS : 0;
        h.first_token = g.s.first_token && (bos || soft);
        keep_worst(&worst, fabs(step.loss - kl_by_hand(&h)));
        assert_int_equal(step.tokens, h.predictions);
        /* the report: forward, of what is held out, and with no first token that one of them lacks */
        h.lists = g.s.held_out;
        h.direction = PITH__KL_FORWARD;
        h.first_token = g.s.first_token && bos;
        keep_worst(&worst, fabs(report.kl - kl_by_hand(&h)));
        assert_int_equal(report.tokens, h.predictions);
        assert_true(report.kl == report.kl_start); /* at rate 0 */
        h.rows = NULL;
        h.m = 0;
        const double kl_none = kl_by_hand(&h);
        assert_true(kl_none > 0.01);
        keep_worst(&worst, fabs(report.kl_none - kl_none));
        pith__weights_deinit(&learned);
    }
    print_message("worst difference %.1e nats\n", worst);
    assert_true(worst < 1e-5);
    fixture_close(&g.f);
}

/* The context itself, as rows: a student that reads the same as the teacher. */
static void the_contexts_embeddings_have_no_divergence(void **state)
{
    (void)state;
    gqa g;
    gqa_open(&g);
    g.s.slots = CONTEXT;
    for (unsigned kind = 0; kind < 4; kind++) {
        g.s.bos = (kind & 1u) != 0 ? 1 : PITH__NO_ID;
        g.s.direction = (kind & 2u) != 0 ? PITH__KL_REVERSE : PITH__KL_FORWARD;
        const pith__distill_report report = report_of(&g.s);
        assert_true(fabs(report.kl_start) < 1e-5);
        assert_true(fabs(first_step(g.s).loss) < 1e-5);
        assert_true(report.kl_none > 0.01);
    }
    fixture_close(&g.f);
}

static void both_directions_differ(void **state)
{
    (void)state;
    gqa g;
    gqa_open(&g);
    const double forward = first_step(g.s).loss;
    g.s.direction = PITH__KL_REVERSE;
    const double reverse = first_step(g.s).loss;
    assert_true(forward > 0.0 && reverse > 0.0);
    assert_true(fabs(forward - reverse) > 0.001 * forward);
    fixture_close(&g.f);
}

/* Rows of a soft prompt before the first step. */
static void a_soft_prompt_starts_as_chunks_or_words(void **state)
{
    (void)state;
    gqa g;
    gqa_open(&g);
    static const size_t slots[] = {1, 5, CONTEXT - 1, CONTEXT, CONTEXT + 7};
    float row[WIDTH];
    float expected[WIDTH];
    pith_error err = {0};
    for (size_t k = 0; k < sizeof slots / sizeof slots[0]; k++) {
        pith__weights learned;
        const size_t m = g.s.slots = slots[k];
        (void)distill(&g.s, &learned);
        assert_int_equal(learned.items[0].rows, m);
        for (size_t i = 0; i < m; i++) {
            const size_t first = i * CONTEXT / m;
            size_t end = (i + 1) * CONTEXT / m;
            end = end > first ? end : first + 1;
            memset(expected, 0, sizeof expected);
            for (size_t t = first; t < end; t++) {
                assert_ok(pith__model_embedding(&g.f.model, g.t.context[t], row, &err), err);
                for (size_t j = 0; j < WIDTH; j++) {
                    expected[j] += row[j] / (float)(end - first);
                }
            }
            assert_true(relative_error(learned.values + i * WIDTH, expected, WIDTH) < 1e-6);
        }
        pith__weights_deinit(&learned);
    }
    g.s.start = PITH__SOFT_START_VOCABULARY;
    g.s.slots = 8;
    pith__weights learned[2];
    (void)distill(&g.s, &learned[0]);
    g.s.run.seed++;
    (void)distill(&g.s, &learned[1]);
    for (size_t i = 0; i < 8; i++) {
        bool found = false;
        for (uint32_t v = 0; v < VOCABULARY && !found; v++) {
            assert_ok(pith__model_embedding(&g.f.model, v, row, &err), err);
            found = largest_difference(row, learned[0].values + i * WIDTH, WIDTH) == 0.0;
        }
        assert_true(found);
    }
    assert_memory_not_equal(learned[0].values, learned[1].values, sizeof row);
    pith__weights_deinit(&learned[0]);
    pith__weights_deinit(&learned[1]);
    fixture_close(&g.f);
}

/* ---- the gradient ---------------------------------------------------------------------------- */

/* Against central differences of the loss by hand, in directions of random signs. */
static void check_gradient(gqa *g, const folder *f)
{
    enum { COUNT = SLOTS * WIDTH, DIRECTIONS = 4 };
    float rows[COUNT];
    float moved[COUNT];
    saved c;
    pith__weights learned;
    const char *path = folder_path(f, "run");
    const double step = 2e-3;
    keep_gradient(&g->s, path);
    (void)distill(&g->s, &learned);
    memcpy(rows, learned.values, sizeof rows);
    saved_open(&c, &g->s, path);
    hand h = {.s = &g->s,
              .lists = g->s.training,
              .rows = moved,
              .m = SLOTS,
              .first_token = g->s.first_token,
              .direction = g->s.direction};
    const double norm = sqrt(dot(c.optimizer.m, c.optimizer.m, COUNT));
    uint64_t seed = 3;
    assert_true(norm > 1e-3);
    for (size_t k = 0; k < DIRECTIONS; k++) {
        float signs[COUNT];
        double loss[2];
        for (size_t i = 0; i < COUNT; i++) { /* all of them, then each row alone */
            signs[i] = k > 0 && i / WIDTH != k ? 0.0f : test_random(&seed) % 2 == 0 ? 1.0f : -1.0f;
        }
        for (size_t side = 0; side < 2; side++) {
            for (size_t i = 0; i < COUNT; i++) {
                moved[i] = rows[i] + (float)(side == 0 ? step : -step) * signs[i];
            }
            loss[side] = kl_by_hand(&h);
        }
        const double slope = (loss[0] - loss[1]) / (2.0 * step);
        const double error = fabs(slope - dot(c.optimizer.m, signs, COUNT)) / norm;
        if (!(error < 5e-3)) {
            fail_msg("direction %zu: slope %g, gradient %g, norm %g", k, slope,
                     dot(c.optimizer.m, signs, COUNT), norm);
        }
    }
    saved_close(&c);
    pith__weights_deinit(&learned);
    assert_int_equal(unlink(path), 0);
}

static void gradients_are_those_of_the_loss(void **state)
{
    (void)state;
    gqa g;
    folder f;
    folder_make(&f);
    gqa_open(&g);
    for (unsigned kind = 0; kind < 4; kind++) {
        g.s.direction = (kind & 1u) != 0 ? PITH__KL_REVERSE : PITH__KL_FORWARD;
        g.s.bos = (kind & 2u) != 0 ? 1 : PITH__NO_ID;
        g.s.run.micro_batch = 1 + kind;
        g.s.run.recompute = kind == 3;
        check_gradient(&g, &f);
    }
    folder_remove(&f);
    fixture_close(&g.f);
}

/* ---- reference values ------------------------------------------------------------------------ */

static size_t golden_ids(const json_t *object, const char *key, uint32_t *ids, size_t count)
{
    const json_t *list = json_object_get(object, key);
    assert_in_range(json_array_size(list), 1, ROWS_MAX - count);
    for (size_t i = 0; i < json_array_size(list); i++) {
        ids[count++] = (uint32_t)json_integer_value(json_array_get(list, i));
    }
    return count;
}

static const float *golden_floats(const run_file *file, const char *name, size_t count)
{
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(&file->gguf, name);
    if (tensor == NULL || tensor->type != PITH__GGUF_TYPE_F32 || tensor->elements != count) {
        fail_msg("no array %s of %zu floats", name, count);
        return NULL;
    }
    return (const float *)(const void *)tensor->data;
}

/* One update from the reference's soft prompt, which goes in and comes out by a checkpoint. */
static void check_golden(const pith__distill_settings *settings, const folder *f,
                         const run_file *arrays, const json_t *part)
{
    pith__distill_settings s = *settings;
    const bool reverse = s.direction == PITH__KL_REVERSE;
    const size_t count = s.slots * WIDTH;
    const char *path = folder_path(f, "run");
    saved c;
    pith_error err = {0};
    keep_gradient(&s, path);
    (void)report_of(&s);
    saved_open(&c, &s, path);
    memcpy(c.weights.values, golden_floats(arrays, "soft", count), count * sizeof(float));
    memset(c.optimizer.m, 0, count * sizeof(float));
    memset(c.optimizer.v, 0, count * sizeof(float));
    c.optimizer.step = 0;
    c.state.step = 0;
    c.state.samples = 0;
    assert_ok(pith__checkpoint_save(path, &c.state, &c.optimizer, NULL, 0, &err), err);
    saved_close(&c);
    s.run.resume = true;
    const double loss = first_step(s).loss;
    saved_open(&c, &s, path);
    const char *name = reverse ? "reverse_kl" : "forward_kl";
    assert_true(fabs(loss - json_number_value(json_object_get(part, name))) < 5e-6);
    const float *gradient =
        golden_floats(arrays, reverse ? "grad.reverse_kl" : "grad.forward_kl", count);
    assert_true(relative_error(c.optimizer.m, gradient, count) < 2e-5);
    saved_close(&c);
    assert_int_equal(unlink(path), 0);
}

/* The reference's teacher has BOS and its student has none: BOS is the context's first token here. */
static void an_update_is_that_of_the_reference(void **state)
{
    (void)state;
    uint32_t context[ROWS_MAX];
    uint32_t y[ROWS_MAX];
    pith_error err = {0};
    run_file arrays;
    folder f;
    gqa g;
    folder_make(&f);
    gqa_open(&g);
    json_t *root = golden_load(test_path("golden", "train/train.json"));
    const json_t *part = json_object_get(root, "b_soft");
    assert_ok(pith__file_open(test_path("golden", "train/b_soft.gguf"), &arrays.file, &err), err);
    assert_ok(pith__gguf_parse(arrays.file.data, arrays.file.size, mem, &arrays.gguf, &err), err);
    context[0] = (uint32_t)golden_integer(root, "bos");
    g.s.context = context;
    g.s.n_context = golden_ids(part, "context", context, 1);
    const size_t starts[2] = {0, golden_ids(part, "y", y, 0)};
    g.s.training = (pith__id_lists){y, starts, 1};
    g.s.held_out = (pith__id_lists){.count = 0};
    g.s.bos = PITH__NO_ID;
    g.s.first_token = false;
    g.s.slots = (size_t)golden_integer(part, "m");
    g.s.run.batch = 1;
    g.s.run.length = starts[1];
    for (int reverse = 0; reverse < 2; reverse++) {
        g.s.direction = reverse != 0 ? PITH__KL_REVERSE : PITH__KL_FORWARD;
        check_golden(&g.s, &f, &arrays, part);
    }
    run_close(&arrays);
    json_decref(root);
    fixture_close(&g.f);
    folder_remove(&f);
}

/* ---- what must not matter -------------------------------------------------------------------- */

static void threads_do_not_matter(void **state)
{
    (void)state;
    gqa g;
    gqa_open(&g);
    g.s.run.steps = g.s.run.schedule.total = 5;
    g.s.run.batch = 4;
    g.s.run.lanes = 3;
    g.s.run.optimizer.rate = 0.01;
    for (int into = 0; into < 2; into++) {
        pith__weights learned[2];
        pith__distill_report reports[2];
        g.s.into = into == 0 ? PITH__DISTILL_SOFT_PROMPT : PITH__DISTILL_LORA;
        g.s.run.threads = 1;
        reports[0] = distill(&g.s, &learned[0]);
        g.s.run.threads = 4;
        reports[1] = distill(&g.s, &learned[1]);
        assert_memory_equal(learned[0].values, learned[1].values, learned[0].count * sizeof(float));
        assert_true(reports[0].kl == reports[1].kl && reports[0].kl_none == reports[1].kl_none);
        assert_true(reports[0].kl != reports[0].kl_start);
        pith__weights_deinit(&learned[0]);
        pith__weights_deinit(&learned[1]);
    }
    fixture_close(&g.f);
}

/* At rate 0 the losses of an epoch's updates make up that of all lists; the order is new for each. */
static void every_continuation_is_learned_once_an_epoch(void **state)
{
    enum { STEPS = LISTS / 2, EPOCHS = 4 };
    (void)state;
    static run_events e;
    gqa g;
    gqa_open(&g);
    const pith__train_event all = first_step(g.s);
    double first[EPOCHS] = {0.0};
    e = (run_events){.stops = false};
    g.s.run.steps = (uint64_t)EPOCHS * STEPS;
    g.s.run.batch = 2;
    g.s.run.event = run_take_event;
    g.s.run.event_user = &e;
    (void)report_of(&g.s);
    size_t step = 0;
    uint64_t tokens = 0;
    double nats = 0.0;
    for (size_t i = 0; i < e.count; i++) {
        if (e.all[i].kind != PITH__TRAIN_STEP) {
            continue;
        }
        if (step % STEPS == 0) {
            first[step / STEPS] = e.all[i].loss;
            nats = 0.0;
        }
        nats += e.all[i].loss * (double)(e.all[i].tokens - tokens);
        tokens = e.all[i].tokens;
        if (++step % STEPS == 0) {
            assert_int_equal(tokens, step / STEPS * all.tokens);
            assert_true(fabs(nats / (double)all.tokens - all.loss) < 1e-6);
        }
    }
    assert_int_equal(step, EPOCHS * STEPS);
    assert_true(first[0] != first[1] || first[1] != first[2] || first[2] != first[3]);
    fixture_close(&g.f);
}

/* Stopped after five of twelve steps; the lists are shuffled anew in the third and the fifth. */
static void check_resume(pith__distill_settings s, const folder *f)
{
    static run_events e;
    pith__weights learned[3];
    pith__distill_report reports[3];
    pith_error err = {0};
    s.run.checkpoint = folder_path(f, "whole");
    reports[0] = distill(&s, &learned[0]);
    s.run.checkpoint = folder_path(f, "parts");
    s.run.resume = true;
    e = (run_events){.stops = true, .stop_kind = PITH__TRAIN_STEP, .stop_step = 5};
    s.run.event = run_take_event;
    s.run.event_user = &e;
    pith__weights_init(&learned[1], mem);
    assert_status(pith__distill(&s, mem, &learned[1], &reports[1], &err), PITH_E_CANCELLED);
    pith__weights_deinit(&learned[1]);
    s.run.event = NULL;
    reports[1] = distill(&s, &learned[1]);
    reports[2] = distill(&s, &learned[2]); /* there is nothing left to do */
    for (size_t i = 1; i < 3; i++) {
        assert_memory_equal(learned[0].values, learned[i].values, learned[0].count * sizeof(float));
        assert_true(reports[0].kl == reports[i].kl && reports[0].kl_start == reports[i].kl_start &&
                    reports[0].kl_none == reports[i].kl_none);
    }
    /* what it was made of is not to change */
    s.first_token = !s.first_token;
    pith__weights other;
    pith__weights_init(&other, mem);
    assert_status(pith__distill(&s, mem, &other, NULL, &err), PITH_E_MISMATCH);
    pith__weights_deinit(&other);
    for (size_t i = 0; i < 3; i++) {
        pith__weights_deinit(&learned[i]);
    }
    assert_int_equal(unlink(folder_path(f, "whole")), 0);
    assert_int_equal(unlink(folder_path(f, "parts")), 0);
}

static void a_resumed_run_is_one_that_was_not_stopped(void **state)
{
    (void)state;
    gqa g;
    folder f;
    folder_make(&f);
    gqa_open(&g);
    g.s.run.steps = g.s.run.schedule.total = 12;
    g.s.run.batch = 3;
    g.s.run.optimizer.rate = 0.01;
    check_resume(g.s, &f);
    g.s.into = PITH__DISTILL_LORA;
    g.s.lora.dropout = 0.2;
    g.s.run.micro_batch = 3;
    check_resume(g.s, &f);
    /* samples are not packed, whatever that is: a pass has one dropout */
    pith__weights learned[2];
    (void)distill(&g.s, &learned[0]);
    g.s.run.micro_batch = 1;
    (void)distill(&g.s, &learned[1]);
    assert_memory_equal(learned[0].values, learned[1].values, learned[0].count * sizeof(float));
    pith__weights_deinit(&learned[0]);
    pith__weights_deinit(&learned[1]);
    folder_remove(&f);
    fixture_close(&g.f);
}

static void fingerprints_tell_runs_apart(void **state)
{
    (void)state;
    gqa g;
    folder f;
    folder_make(&f);
    gqa_open(&g);
    g.s.run.checkpoint = folder_path(&f, "run");
    (void)report_of(&g.s);
    g.s.run.resume = true;
    g.s.run.steps = 2; /* this may change */
    (void)report_of(&g.s);
    for (int change = 0; change < 7; change++) {
        pith__distill_settings s = g.s;
        uint32_t context[CONTEXT];
        memcpy(context, g.t.context, sizeof context);
        context[3] ^= 1u;
        s.direction = change == 0 ? PITH__KL_REVERSE : s.direction;
        s.bos = change == 1 ? 2 : s.bos;
        s.context = change == 2 ? context : s.context;
        s.training.count -= change == 3 ? 1 : 0;
        s.start = change == 4 ? PITH__SOFT_START_VOCABULARY : s.start;
        s.run.seed += change == 5 ? 1 : 0;
        s.fingerprint = change == 6 ? "another model" : s.fingerprint;
        pith__weights learned;
        pith__weights_init(&learned, mem);
        assert_status(pith__distill(&s, mem, &learned, NULL, NULL), PITH_E_MISMATCH);
        pith__weights_deinit(&learned);
    }
    folder_remove(&f);
    fixture_close(&g.f);
}

static void nothing_held_out_is_judged_by_training(void **state)
{
    (void)state;
    static run_events e;
    gqa g;
    gqa_open(&g);
    e = (run_events){.stops = false};
    g.s.run.event = run_take_event;
    g.s.run.event_user = &e;
    const pith__distill_report with = report_of(&g.s);
    /* what it is compared with comes first, then what it starts from */
    assert_int_equal(e.all[0].kind, PITH__TRAIN_START);
    assert_string_equal(e.sources[1], "no context");
    assert_true(e.all[1].loss == with.kl_none);
    assert_string_equal(e.sources[2], "held out");
    assert_true(e.all[2].loss == with.kl_start);
    assert_true(run_last(&e, PITH__TRAIN_EVALUATION, "held out").loss == with.kl);
    e = (run_events){.stops = false};
    g.s.held_out = (pith__id_lists){.count = 0};
    const pith__distill_report without = report_of(&g.s);
    assert_true(run_last(&e, PITH__TRAIN_EVALUATION, "training").loss == without.kl);
    /* everything is learned in one update, and the loss before it is forward, too */
    assert_true(fabs(run_last(&e, PITH__TRAIN_STEP, NULL).loss - without.kl_start) < 1e-6);
    assert_true(fabs(with.kl_start - without.kl_start) > 1e-4);
    fixture_close(&g.f);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void expect_refusal(const pith__distill_settings *s, pith_status status, const char *says)
{
    pith__weights learned;
    pith_error err = {0};
    pith__weights_init(&learned, mem);
    const pith_status got = pith__distill(s, mem, &learned, NULL, &err);
    if (got != status || strstr(err.message, says) == NULL) {
        fail_msg("%s: %s, expected %s: %s", pith_status_name(got), err.message,
                 pith_status_name(status), says);
    }
    pith__weights_deinit(&learned);
}

static void settings_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    gqa g;
    gqa_open(&g);
    pith__distill_settings s = g.s;
    s.slots = 0;
    expect_refusal(&s, PITH_E_ARGUMENT, "at least 1 slot");
    s = g.s;
    s.into = PITH__DISTILL_LORA;
    s.lora.rank = 0;
    expect_refusal(&s, PITH_E_ARGUMENT, "rank above 0");
    s.lora.rank = 4;
    s.lora.alpha = 0.0;
    expect_refusal(&s, PITH_E_ARGUMENT, "alpha 0");
    s = g.s;
    s.n_context = 0;
    expect_refusal(&s, PITH_E_ARGUMENT, "context has no tokens");
    s = g.s;
    s.training.count = 0;
    expect_refusal(&s, PITH_E_ARGUMENT, "no continuations to learn from");
    s = g.s;
    s.run.length = LIST_MAX - 2;
    expect_refusal(&s, PITH_E_ARGUMENT, "a continuation of 12 tokens, the length is 10");
    s = g.s;
    s.run.batch = 0;
    expect_refusal(&s, PITH_E_ARGUMENT, "batch 0");
    s = g.s;
    s.slots = 2037; /* 1 + 2037 + 12 = 2050, the model's context is 2048 */
    expect_refusal(&s, PITH_E_CONTEXT, "2037 tokens and continuations of up to 12");
    s = g.s;
    s.bos = VOCABULARY;
    expect_refusal(&s, PITH_E_ARGUMENT, "token id 1024");
    uint32_t *ids = calloc(2048, sizeof *ids);
    s = g.s;
    s.context = ids;
    s.n_context = 2040;
    expect_refusal(&s, PITH_E_CONTEXT, "2040 tokens");
    s.n_context = 8;
    ids[7] = PITH__NO_ID;
    expect_refusal(&s, PITH_E_ARGUMENT, "token id");
    free(ids);
    fixture int8;
    fixture_open(&int8, "llama_gqa", PITH_PRECISION_INT8, 1);
    s = g.s;
    s.model = &int8.model;
    expect_refusal(&s, PITH_E_ARGUMENT, "f32");
    fixture_close(&int8);
    fixture_close(&g.f);
}

/* Lists without a token are no harm. */
static void empty_continuations_are_passed_over(void **state)
{
    (void)state;
    gqa g;
    gqa_open(&g);
    const size_t starts[] = {0, 0, 7, 7, 7, 12};
    g.s.training = (pith__id_lists){g.t.ids, starts, 5};
    g.s.held_out = (pith__id_lists){.count = 0};
    g.s.run.batch = 5;
    for (unsigned kind = 0; kind < 4; kind++) {
        g.s.bos = (kind & 1u) != 0 ? 1 : PITH__NO_ID;
        g.s.into = (kind & 2u) != 0 ? PITH__DISTILL_LORA : PITH__DISTILL_SOFT_PROMPT;
        const bool soft = g.s.into == PITH__DISTILL_SOFT_PROMPT;
        g.s.run.micro_batch = 1 + kind;
        const pith__train_event step = first_step(g.s);
        assert_int_equal(step.tokens, 12 + (soft || kind == 3 ? 5 : 0));
        assert_true(isfinite(step.loss));
    }
    fixture_close(&g.f);
}

/* ---- a model to which contexts matter -------------------------------------------------------- */

enum { SET = 4, TINY_CONTEXT = 32 };

/* Documents of few words each: which ones, only what was read can tell. */
static void write_sets(const folder *f, const char *name, size_t documents, uint64_t seed)
{
    FILE *file = fopen(folder_path(f, name), "wb");
    assert_non_null(file);
    for (size_t d = 0; d < documents; d++) {
        size_t set[SET];
        for (size_t i = 0; i < SET; i++) {
            set[i] = test_random_below(&seed, WORDS);
        }
        for (size_t w = 0; w < 56; w++) {
            (void)fprintf(file, " %s", run_words[set[test_random_below(&seed, SET)]]);
        }
        (void)fputs("\n" PITH__DOCUMENT_END "\n", file);
    }
    assert_int_equal(fclose(file), 0);
}

static const char context_text[] =
    " moon hare gold hare lake lake moon gold hare gold moon lake gold moon hare lake"
    " gold gold moon hare lake gold hare moon";

/* base.gguf, which has learned sets.txt, and context.txt. */
static int make_folder(void **state)
{
    folder *f = malloc(sizeof *f);
    assert_non_null(f);
    *state = f;
    folder_make(f);
    write_sets(f, "animals.txt", 600, 1);
    run_write_vocabulary(f, "animals.txt", "vocabulary.gguf", RUN_VOCABULARY);
    run_paths paths;
    pith_error err = {0};
    pith__base_settings s = run_base(f, 150, "base.gguf", NULL, &paths);
    s.run.optimizer = run_optimizer(PITH__OPTIMIZER_MUON);
    s.run.length = 64;
    assert_ok(run_train(s, NULL, &err), err);
    folder_write(f, "context.txt", context_text, sizeof context_text - 1);
    return 0;
}

static int remove_folder(void **state)
{
    folder_remove(*state);
    free(*state);
    return 0;
}

typedef struct tiny {
    run_file file;
    pith__tokenizer *tokenizer;
    pith__model model;
    pith__arena arena;
    uint32_t context[64];
    size_t n_context;
} tiny;

static void tiny_open(tiny *t, const folder *f)
{
    pith_error err = {0};
    pith__tokens tokens = {0};
    run_open(f, "base.gguf", &t->file);
    pith__arena_init(&t->arena, mem);
    assert_ok(pith__tokenizer_from_gguf(&t->file.gguf, mem, &t->tokenizer, &err), err);
    assert_ok(pith__model_load(&t->file.gguf, PITH_PRECISION_F32, mem, &t->model, &err), err);
    assert_ok(pith__tokenizer_encode(t->tokenizer, context_text, sizeof context_text - 1, false,
                                     mem, &tokens, &err),
              err);
    assert_in_range(tokens.count, 16, 64);
    for (size_t i = 0; i < tokens.count; i++) {
        t->context[i] = tokens.items[i].id;
    }
    t->n_context = tokens.count;
    pith__tokens_deinit(&tokens, mem);
}

static void tiny_close(tiny *t)
{
    pith__arena_deinit(&t->arena);
    pith__model_deinit(&t->model);
    pith__tokenizer_free(t->tokenizer);
    run_close(&t->file);
}

/* ---- imagining ------------------------------------------------------------------------------- */

static pith__imagine_settings imagining(const tiny *t, size_t count, size_t length)
{
    return (pith__imagine_settings){.model = &t->model,
                                    .threads = 1,
                                    .bos = 0,
                                    .context = t->context,
                                    .n_context = t->n_context,
                                    .count = count,
                                    .length = length,
                                    .temperature = 1.0,
                                    .seed = 1,
                                    .end = PITH__NO_ID};
}

static pith__id_lists imagine(tiny *t, unsigned threads, size_t count, size_t length,
                              double temperature, uint64_t seed, uint32_t end)
{
    pith_error err = {0};
    pith__id_lists out;
    pith__imagine_settings settings = imagining(t, count, length);
    settings.threads = threads;
    settings.temperature = temperature;
    settings.seed = seed;
    settings.end = end;
    assert_ok(pith__distill_imagine(&settings, &t->arena, &out, &err), err);
    assert_int_equal(out.count, count);
    return out;
}

static bool same_lists(const pith__id_lists *a, const pith__id_lists *b, size_t count)
{
    return memcmp(a->starts, b->starts, (count + 1) * sizeof *a->starts) == 0 &&
           memcmp(a->ids, b->ids, a->starts[count] * sizeof *a->ids) == 0;
}

/* More than a batch of them. */
static void the_same_is_imagined_again(void **state)
{
    enum { COUNT = 70, LENGTH = 9 };
    tiny t;
    tiny_open(&t, *state);
    const pith__id_lists first = imagine(&t, 1, COUNT, LENGTH, 1.0, 5, PITH__NO_ID);
    const pith__id_lists again = imagine(&t, 4, COUNT, LENGTH, 1.0, 5, PITH__NO_ID);
    const pith__id_lists other = imagine(&t, 4, COUNT, LENGTH, 1.0, 6, PITH__NO_ID);
    const pith__id_lists longer = imagine(&t, 4, COUNT + 9, LENGTH + 3, 1.0, 5, PITH__NO_ID);
    assert_int_equal(first.starts[COUNT], COUNT * LENGTH);
    assert_true(same_lists(&first, &again, COUNT));
    assert_false(same_lists(&first, &other, COUNT));
    size_t same = 0;
    for (size_t i = 0; i < COUNT; i++) { /* a batch of another size may round another way */
        same += memcmp(first.ids + i * LENGTH, longer.ids + i * (LENGTH + 3),
                       LENGTH * sizeof *first.ids) == 0;
    }
    assert_true(same >= COUNT - 1);
    tiny_close(&t);
}

/* ln softmax(logits / temperature) after each of [BOS], context and list `i`, in one plain pass. */
static void expectations(tiny *t, const pith__id_lists *lists, size_t i, double temperature,
                         double (*out)[VOCABULARY])
{
    static uint32_t ids[128];
    static float hidden[128 * WIDTH];
    const size_t length = lists->starts[i + 1] - lists->starts[i];
    const size_t count = 1 + t->n_context + length;
    const size_t width = t->model.config.width;
    pith_error err = {0};
    assert_true(count <= 128 && width <= WIDTH);
    ids[0] = 0;
    memcpy(ids + 1, t->context, t->n_context * sizeof *ids);
    memcpy(ids + 1 + t->n_context, lists->ids + lists->starts[i], length * sizeof *ids);
    const pith__arena_mark mark = pith__arena_save(&t->arena);
    const pith__tensor_ctx ctx = {1, &t->arena};
    const pith__sequence sequence = {.ids = ids, .count = count};
    const pith__forward_outputs outputs = {.hidden = hidden};
    assert_ok(pith__model_forward(&t->model, &ctx, &sequence, 1, &outputs, &err), err);
    pith__arena_restore(&t->arena, mark);
    for (size_t k = 0; k <= length; k++) {
        float *row = hidden + (t->n_context + k) * width;
        for (size_t j = 0; j < width; j++) {
            row[j] = (float)((double)row[j] / temperature);
        }
        log_probabilities(&t->model, row, out[k]);
    }
}

/*
 * -ln p of what is drawn has the entropy as its mean, at every place: the sum of the differences,
 * by its deviation, is normal.
 */
static double surprise(tiny *t, const pith__id_lists *lists, double temperature)
{
    static double p[16][VOCABULARY];
    double sum = 0.0;
    double variance = 0.0;
    for (size_t i = 0; i < lists->count; i++) {
        expectations(t, lists, i, temperature, p);
        for (size_t k = 0; k < lists->starts[i + 1] - lists->starts[i]; k++) {
            double entropy = 0.0;
            double square = 0.0;
            for (size_t v = 0; v < t->model.config.vocabulary; v++) {
                entropy -= exp(p[k][v]) * p[k][v];
                square += exp(p[k][v]) * p[k][v] * p[k][v];
            }
            sum += -p[k][lists->ids[lists->starts[i] + k]] - entropy;
            variance += square - entropy * entropy;
        }
    }
    return sum / sqrt(variance);
}

static void what_is_imagined_follows_the_model(void **state)
{
    enum { COUNT = 3000, SOME = 200, LENGTH = 12 };
    static double p[16][VOCABULARY];
    tiny t;
    tiny_open(&t, *state);
    const pith__id_lists lists = imagine(&t, 2, SOME, LENGTH, 1.0, 9, PITH__NO_ID);
    const pith__id_lists cool = imagine(&t, 2, SOME, LENGTH, 0.5, 9, PITH__NO_ID);
    assert_true(fabs(surprise(&t, &lists, 1.0)) < 4.0);
    assert_true(fabs(surprise(&t, &cool, 0.5)) < 4.0);
    assert_true(fabs(surprise(&t, &cool, 1.0)) > 8.0); /* it would be noticed */
    /* how often a first token is each of the likelier ones */
    const pith__id_lists many = imagine(&t, 2, COUNT, 1, 1.0, 10, PITH__NO_ID);
    size_t counts[VOCABULARY] = {0};
    size_t likely = 0;
    expectations(&t, &many, 0, 1.0, p);
    for (size_t i = 0; i < COUNT; i++) {
        counts[many.ids[i]]++;
    }
    for (size_t v = 0; v < t.model.config.vocabulary; v++) {
        const double expected = COUNT * exp(p[0][v]);
        const double deviation = sqrt(expected * (1.0 - exp(p[0][v])));
        if (expected > 20.0) {
            assert_true(fabs((double)counts[v] - expected) < 4.5 * deviation);
            likely++;
        }
    }
    assert_true(likely >= SET);
    tiny_close(&t);
}

/* At temperature 0 all are the likeliest; a list stops before what ends it. */
static void a_list_stops_at_its_end(void **state)
{
    enum { COUNT = 40, LENGTH = 10 };
    static double p[16][VOCABULARY];
    tiny t;
    tiny_open(&t, *state);
    const pith__id_lists greedy = imagine(&t, 1, 2, LENGTH, 0.0, 1, PITH__NO_ID);
    assert_memory_equal(greedy.ids, greedy.ids + LENGTH, LENGTH * sizeof *greedy.ids);
    expectations(&t, &greedy, 0, 1.0, p);
    for (size_t k = 0; k < LENGTH; k++) {
        for (size_t v = 0; v < t.model.config.vocabulary; v++) {
            assert_true(p[k][v] <= p[k][greedy.ids[k]] + 1e-5);
        }
    }
    const pith__id_lists all = imagine(&t, 1, COUNT, LENGTH, 1.0, 2, PITH__NO_ID);
    const uint32_t end = all.ids[0];
    const pith__id_lists cut = imagine(&t, 1, COUNT, LENGTH, 1.0, 2, end);
    size_t shorter = 0;
    assert_int_equal(cut.starts[1], 0); /* the first one is empty */
    for (size_t i = 0; i < COUNT; i++) {
        const size_t length = cut.starts[i + 1] - cut.starts[i];
        const uint32_t *whole = all.ids + i * LENGTH;
        assert_memory_equal(cut.ids + cut.starts[i], whole, length * sizeof *whole);
        assert_true(length == LENGTH || whole[length] == end);
        shorter += length < LENGTH;
    }
    assert_in_range(shorter, 2, COUNT);
    pith__id_lists none;
    pith__imagine_settings settings = imagining(&t, 1, 110);
    assert_status(pith__distill_imagine(&settings, &t.arena, &none, NULL), PITH_E_CONTEXT);
    settings = imagining(&t, 1, 10);
    settings.n_context = 0;
    assert_status(pith__distill_imagine(&settings, &t.arena, &none, NULL), PITH_E_ARGUMENT);
    settings = imagining(&t, 1, 10);
    settings.temperature = -1.0;
    assert_status(pith__distill_imagine(&settings, &t.arena, &none, NULL), PITH_E_ARGUMENT);
    tiny_close(&t);
}

/* What was told of how far it is. */
typedef struct heard {
    size_t calls;
    size_t last;
    size_t total;
    size_t most; /* calls; the next one stops */
} heard;

static bool take_progress(void *user, const char *stage, size_t done, size_t total)
{
    heard *t = user;
    assert_string_equal(stage, "imagine");
    assert_true(done > t->last && done <= total);
    t->last = done;
    t->total = total;
    return ++t->calls <= t->most;
}

/* Lists that end early count as if they were whole, so that all of it is told. */
static void imagining_is_told_and_stopped(void **state)
{
    enum { COUNT = 70, LENGTH = 9 };
    tiny t;
    tiny_open(&t, *state);
    const pith__id_lists all = imagine(&t, 1, COUNT, LENGTH, 1.0, 1, PITH__NO_ID);
    pith__id_lists out;
    pith_error err = {0};
    for (unsigned threads = 1; threads <= 2; threads++) {
        heard all_of_it = {.most = SIZE_MAX};
        pith__imagine_settings settings = imagining(&t, COUNT, LENGTH);
        settings.threads = threads;
        settings.end = all.ids[5];
        settings.progress = take_progress;
        settings.progress_user = &all_of_it;
        assert_ok(pith__distill_imagine(&settings, &t.arena, &out, &err), err);
        assert_int_equal(all_of_it.total, COUNT * LENGTH);
        assert_true(threads > 1 || all_of_it.last == all_of_it.total);
        heard a_bit = {.most = 1};
        settings.progress_user = &a_bit;
        const pith_status status = pith__distill_imagine(&settings, &t.arena, &out, &err);
        /* of several threads only the caller's is told, and it may be given no work */
        assert_int_equal(a_bit.calls, threads == 1 ? 2 : a_bit.calls);
        assert_int_equal(status, a_bit.calls > 1 ? PITH_E_CANCELLED : PITH_OK);
        assert_int_equal(out.count, a_bit.calls > 1 ? 0 : COUNT);
    }
    tiny_close(&t);
}

/* ---- learning -------------------------------------------------------------------------------- */

/* A soft prompt or an adapter for the context, learned from what the model imagines. */
static pith__distill_settings tiny_settings(tiny *t)
{
    enum { COUNT = 48, HELD_OUT = 16, LENGTH = 8 };
    const pith__id_lists all = imagine(t, 2, COUNT + HELD_OUT, LENGTH, 1.0, 3, PITH__NO_ID);
    pith__distill_settings s = {
        .run = run_settings(150),
        .model = &t->model,
        .bos = 0,
        .context = t->context,
        .n_context = t->n_context,
        .training = {all.ids, all.starts, COUNT},
        .held_out = {all.ids, all.starts + COUNT, HELD_OUT},
        .first_token = true,
        .slots = SLOTS,
        .lora = {.rank = 4, .alpha = 8.0, .matrices = (1u << PITH__BLOCK_MATRICES) - 1}};
    s.run.length = LENGTH;
    s.run.batch = 8;
    s.run.optimizer.decay = 0.0;
    s.run.optimizer.rate = 0.03;
    return s;
}

static void a_few_rows_learn_to_stand_for_the_context(void **state)
{
    tiny t;
    tiny_open(&t, *state);
    pith__distill_settings s = tiny_settings(&t);
    for (int reverse = 0; reverse < 2; reverse++) {
        s.direction = reverse != 0 ? PITH__KL_REVERSE : PITH__KL_FORWARD;
        const pith__distill_report report = report_of(&s);
        print_message("%s: none %.3f, at first %.3f, at last %.4f nats\n",
                      reverse != 0 ? "reverse" : "forward", report.kl_none, report.kl_start,
                      report.kl);
        assert_true(report.kl_none > 0.2);
        assert_true(report.kl < 0.1 * report.kl_none);
        assert_true(report.kl < 0.5 * report.kl_start);
        assert_int_equal(report.tokens, 16 * 9);
        assert_true(report.seconds > 0.0);
    }
    /* from random words, and with Muon, which takes AdamW for rows */
    s.start = PITH__SOFT_START_VOCABULARY;
    s.run.optimizer.kind = PITH__OPTIMIZER_MUON;
    const pith__distill_report report = report_of(&s);
    print_message("from random words: at first %.3f, at last %.4f nats\n", report.kl_start,
                  report.kl);
    assert_true(report.kl < 0.5 * report.kl_none);
    assert_true(report.kl < 0.1 * report.kl_start);
    tiny_close(&t);
}

static void an_adapter_learns_to_stand_for_the_context(void **state)
{
    tiny t;
    tiny_open(&t, *state);
    pith__distill_settings s = tiny_settings(&t);
    s.into = PITH__DISTILL_LORA;
    s.run.optimizer.rate = 0.01;
    pith__weights learned;
    pith__lora lora;
    pith_error err = {0};
    const pith__distill_report report = distill(&s, &learned);
    print_message("adapter: none %.3f, at last %.4f nats\n", report.kl_none, report.kl);
    assert_true(fabs(report.kl_start - report.kl_none) < 1e-9);
    assert_true(report.kl < 0.1 * report.kl_none);
    assert_ok(pith__lora_of(&t.model.config, &learned, 8.0f, 0.0f, mem, &lora, &err), err);
    hand h = {.s = &s, .lists = s.held_out, .lora = &lora, .first_token = true};
    assert_true(fabs(kl_by_hand(&h) - report.kl) < 1e-5);
    pith__lora_deinit(&lora);
    pith__weights_deinit(&learned);
    tiny_close(&t);
}

/* ---- excerpts -------------------------------------------------------------------------------- */

enum { NUMBERED = 16 };

/* Document d is made of its own word, so that one can see where a continuation is from. */
static void write_numbered(const folder *f, const char *name, size_t documents, size_t words)
{
    FILE *file = fopen(folder_path(f, name), "wb");
    assert_non_null(file);
    for (size_t d = 0; d < documents; d++) {
        for (size_t w = 0; w < words; w++) {
            (void)fprintf(file, "%s%s", w == 0 ? "" : " ", run_words[d]);
        }
        (void)fputs("\n" PITH__DOCUMENT_END "\n", file);
    }
    assert_int_equal(fclose(file), 0);
}

/* Bits of the words that the lists are from; ends of words count as nothing. */
static unsigned words_of(const tiny *t, const pith__id_lists *lists)
{
    unsigned found = 0;
    for (size_t i = 0; i < lists->count; i++) {
        char text[256] = "";
        size_t size = 0;
        for (size_t k = lists->starts[i]; k < lists->starts[i + 1]; k++) {
            const char *bytes = NULL;
            size_t n = 0;
            pith_error err = {0};
            assert_ok(pith__tokenizer_bytes(t->tokenizer, lists->ids[k], &bytes, &n, &err), err);
            assert_true(size + n + 1 < sizeof text);
            memcpy(text + size, bytes, n);
            size += n;
        }
        text[size] = '\0';
        for (unsigned w = 0; w < NUMBERED; w++) {
            found |= strstr(text, run_words[w]) != NULL ? 1u << w : 0;
        }
    }
    return found;
}

static void excerpts_ok(const pith__excerpts *s, tiny *t, pith__id_lists lists[2])
{
    pith_error err = {0};
    assert_ok(pith__distill_excerpts(s, &t->arena, &lists[0], &lists[1], &err), err);
    assert_int_equal(lists[0].count, s->count);
    assert_int_equal(lists[1].count, s->n_held_out);
    for (size_t k = 0; k < 2; k++) {
        for (size_t i = 0; i < lists[k].count; i++) {
            assert_in_range(lists[k].starts[i + 1] - lists[k].starts[i], 1, s->length);
        }
    }
}

static void excerpts_are_from_other_documents_than_those_held_out(void **state)
{
    const folder *f = *state;
    tiny t;
    tiny_open(&t, f);
    write_numbered(f, "numbered.txt", NUMBERED, 200);
    char path[160];
    char other[160];
    (void)snprintf(path, sizeof path, "%s", folder_path(f, "numbered.txt"));
    (void)snprintf(other, sizeof other, "%s", folder_path(f, "animals.txt"));
    const pith__train_source sources[2] = {{path, 1.0}, {other, 0.0}};
    pith__excerpts s = {.tokenizer = t.tokenizer,
                        .sources = sources,
                        .n_sources = 2,
                        .count = 300,
                        .n_held_out = 60,
                        .length = 12,
                        .seed = 4};
    pith__id_lists lists[2];
    pith__id_lists again[2];
    excerpts_ok(&s, &t, lists);
    const unsigned learned = words_of(&t, &lists[0]);
    const unsigned held_out = words_of(&t, &lists[1]);
    assert_int_equal(learned & held_out, 0);
    assert_int_equal(learned | held_out, (1u << NUMBERED) - 1); /* and none of weight 0 */
    assert_int_equal(__builtin_popcount(held_out), 1);          /* a tenth of 16 */
    assert_int_equal(lists[0].starts[300], 300 * 12);
    excerpts_ok(&s, &t, again);
    assert_true(same_lists(&lists[0], &again[0], 300) && same_lists(&lists[1], &again[1], 60));
    s.seed++;
    excerpts_ok(&s, &t, again);
    assert_false(same_lists(&lists[0], &again[0], 300));
    /* a single document lends its end; a word is too little */
    folder_write(f, "numbered.txt",
                 "one fox one fox one fox one fox one fox one fox one fox two owl", 63);
    s.n_sources = 1;
    excerpts_ok(&s, &t, lists);
    folder_write(f, "numbered.txt", "fox", 3);
    pith_error err = {0};
    assert_status(pith__distill_excerpts(&s, &t.arena, &lists[0], &lists[1], &err),
                  PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, "too little text"));
    const pith__train_source none = {other, 0.0};
    s.sources = &none;
    assert_status(pith__distill_excerpts(&s, &t.arena, &lists[0], &lists[1], &err),
                  PITH_E_ARGUMENT);
    assert_int_equal(unlink(path), 0);
    tiny_close(&t);
}

/* ---- from files to files --------------------------------------------------------------------- */

typedef struct condense_paths {
    char model[160], context[160], output[160], documents[160];
    pith__train_source source;
} condense_paths;

static pith__condense_settings condense_settings(const folder *f, condense_paths *p)
{
    (void)snprintf(p->model, sizeof p->model, "%s/base.gguf", f->path);
    (void)snprintf(p->context, sizeof p->context, "%s/context.txt", f->path);
    (void)snprintf(p->output, sizeof p->output, "%s/out.gguf", f->path);
    (void)snprintf(p->documents, sizeof p->documents, "%s/animals.txt", f->path);
    p->source = (pith__train_source){p->documents, 1.0};
    pith__condense_settings s = {
        .distill = {.run = run_settings(60),
                    .first_token = true,
                    .slots = SLOTS,
                    .lora = {.rank = 4,
                             .alpha = 8.0,
                             .matrices = (1u << PITH__BLOCK_MATRICES) - 1}},
        .model = p->model,
        .context = p->context,
        .continuations = 40,
        .temperature = 1.0,
        .output = p->output,
        .name = "condensed",
        .type = PITH__CAPSULE_F32};
    s.distill.run.length = 8;
    s.distill.run.batch = 8;
    s.distill.run.schedule.total = 1; /* filled in */
    s.distill.run.optimizer.rate = 0.03;
    s.distill.run.optimizer.decay = 0.0;
    return s;
}

static pith__distill_report condense(const pith__condense_settings *s, pith__capsule **capsule)
{
    pith_error err = {0};
    pith__distill_report report;
    assert_ok(pith__train_condense(s, mem, capsule, &report, &err), err);
    return report;
}

/* What a reader expects now. */
static void expected_by(const pith__reader *reader, double *out)
{
    const float *logits = pith__reader_logits(reader);
    assert_non_null(logits);
    pith__log_softmax(logits, reader->model->config.vocabulary, out);
}

/* KL(teacher || capsule) per prediction, with two readers side by side. */
static double kl_of_readers(tiny *t, const pith__capsule *capsule, const pith__id_lists *lists)
{
    static double p[VOCABULARY], q[VOCABULARY];
    pith_error err = {0};
    pith__reader teacher;
    pith__reader student;
    const uint32_t bos = 0;
    double sum = 0.0;
    size_t n = 0;
    assert_ok(pith__reader_init(&teacher, &t->model, 1, mem, &err), err);
    assert_ok(pith__reader_init(&student, &t->model, 1, mem, &err), err);
    if (capsule->bos) {
        assert_ok(pith__reader_ids(&teacher, &bos, 1, NULL, &err), err);
        assert_ok(pith__reader_ids(&student, &bos, 1, NULL, &err), err);
    }
    assert_ok(pith__reader_ids(&teacher, t->context, t->n_context - 1, NULL, &err), err);
    const pith__reader_mark marks[2] = {pith__reader_save(&teacher), pith__reader_save(&student)};
    for (size_t i = 0; i < lists->count; i++) {
        assert_ok(pith__reader_ids(&teacher, t->context + t->n_context - 1, 1, NULL, &err), err);
        assert_ok(pith__capsule_read(capsule, &student, &err), err);
        for (size_t k = lists->starts[i]; k <= lists->starts[i + 1]; k++) {
            expected_by(&teacher, p);
            expected_by(&student, q);
            sum += divergence(p, q, t->model.config.vocabulary);
            n++;
            if (k < lists->starts[i + 1]) {
                assert_ok(pith__reader_ids(&teacher, lists->ids + k, 1, NULL, &err), err);
                assert_ok(pith__reader_ids(&student, lists->ids + k, 1, NULL, &err), err);
            }
        }
        pith__reader_restore(&teacher, marks[0]);
        pith__reader_restore(&student, marks[1]);
    }
    pith__reader_deinit(&teacher);
    pith__reader_deinit(&student);
    return sum / (double)n;
}

/* A word of the record, or a number of it. */
static void expect_record(const json_t *record, const char *key, const char *text)
{
    const json_t *value = json_object_get(record, key);
    char number[32] = "";
    if (json_is_number(value)) {
        (void)snprintf(number, sizeof number, "%.9g", json_number_value(value));
    }
    const char *got = json_is_string(value) ? json_string_value(value) : number;
    if (strcmp(got, text) != 0) {
        fail_msg("record: %s is \"%s\", expected \"%s\"", key, got, text);
    }
}

static json_t *record_of(const pith__capsule *capsule)
{
    json_error_t reason;
    json_t *record = json_loadb(capsule->record, capsule->record_size, 0, &reason);
    assert_true(json_is_object(record));
    return record;
}

static void check_capsule(const pith__capsule *c, const tiny *t, const pith__distill_report *report)
{
    char hash[PITH__SHA256_SIZE];
    pith_error err = {0};
    pith__binding binding = {.adapter = ""};
    pith__sha256_of(t->file.file.data, t->file.file.size, binding.model);
    pith__tokenizer_sha256(t->tokenizer, binding.tokenizer);
    assert_ok(pith__capsule_check(c, &t->model.config, &binding, &err), err);
    assert_int_equal(c->kind, PITH__CAPSULE_EMBEDDINGS);
    assert_string_equal(c->method, "cc");
    assert_string_equal(c->position_mode, "compact");
    assert_int_equal(c->slots, SLOTS);
    assert_int_equal(c->advance, SLOTS);
    assert_int_equal(c->source_bytes, sizeof context_text - 1);
    assert_int_equal(c->source_tokens, t->n_context);
    pith__sha256_of(context_text, sizeof context_text - 1, hash);
    assert_string_equal(c->source_sha256, hash);
    json_t *record = record_of(c);
    const json_t *told = json_object_get(record, "report");
    assert_true(fabs(json_number_value(json_object_get(told, "kl")) - report->kl) <
                1e-8 * report->kl);
    assert_true(json_number_value(json_object_get(told, "kl_none")) > report->kl);
    expect_record(record, "method", "cc");
    expect_record(record, "steps", "60");
    expect_record(record, "rate", "0.03");
    expect_record(record, "batch", "8");
    expect_record(record, "continuations", "40");
    expect_record(record, "held_out", "8");
    json_decref(record);
}

/* The lists are what pith__train_condense() imagines. */
static void a_text_becomes_a_capsule(void **state)
{
    const folder *f = *state;
    tiny t;
    condense_paths paths;
    pith_error err = {0};
    tiny_open(&t, f);
    pith__condense_settings s = condense_settings(f, &paths);
    const pith__distill_report report = condense(&s, NULL);
    assert_true(report.kl < 0.3 * report.kl_none);
    pith__capsule *c = NULL;
    assert_ok(pith__capsule_open(paths.output, mem, &c, &err), err);
    assert_true(c->bos);
    check_capsule(c, &t, &report);
    json_t *record = record_of(c);
    expect_record(record, "kl", "forward");
    expect_record(record, "start", "chunks");
    expect_record(record, "from", "imagined");
    expect_record(record, "temperature", "1");
    json_decref(record);
    const pith__id_lists all = imagine(&t, 1, 48, 8, 1.0, s.distill.run.seed, 0);
    const pith__id_lists held_out = {all.ids, all.starts + 40, 8};
    const double kl = kl_of_readers(&t, c, &held_out);
    print_message("report %.6f, readers %.6f nats\n", report.kl, kl);
    assert_true(fabs(kl - report.kl) < 1e-5);
    /* once more, from memory into memory: the same numbers */
    pith__capsule *same = NULL;
    s.model = NULL;
    s.data = t.file.file.data;
    s.data_size = t.file.file.size;
    s.context = NULL;
    s.text = context_text;
    s.text_size = sizeof context_text - 1;
    s.output = NULL;
    s.distill.run.threads = 1;
    (void)condense(&s, &same);
    assert_non_null(same);
    assert_memory_equal(c->embeddings, same->embeddings,
                        (size_t)SLOTS * t.model.config.width * sizeof(float));
    assert_int_equal(c->record_size, same->record_size);
    assert_memory_equal(c->record, same->record, c->record_size);
    pith__capsule_free(same);
    pith__capsule_free(c);
    assert_int_equal(unlink(paths.output), 0);
    tiny_close(&t);
}

/* With all that is not the default: continuations from a file, reverse, from words, without BOS. */
static void documents_can_be_learned_from(void **state)
{
    const folder *f = *state;
    tiny t;
    condense_paths paths;
    pith__capsule *c = NULL;
    tiny_open(&t, f);
    pith__condense_settings s = condense_settings(f, &paths);
    s.sources = &paths.source;
    s.n_sources = 1;
    s.temperature = 0.0; /* of no interest */
    s.no_bos = true;
    s.distill.direction = PITH__KL_REVERSE;
    s.distill.start = PITH__SOFT_START_VOCABULARY;
    s.type = PITH__CAPSULE_F16;
    const pith__distill_report report = condense(&s, &c);
    assert_non_null(c);
    assert_false(c->bos);
    assert_true(report.kl < report.kl_start);
    assert_in_range(report.tokens, 8 * 6, 8 * 8); /* no BOS: no first tokens */
    check_capsule(c, &t, &report);
    json_t *record = record_of(c);
    expect_record(record, "kl", "reverse");
    expect_record(record, "start", "vocabulary");
    const json_t *from = json_object_get(record, "from");
    assert_int_equal(json_array_size(from), 1);
    assert_string_equal(json_string_value(json_array_get(from, 0)), "animals.txt");
    assert_null(json_object_get(record, "temperature"));
    json_decref(record);
    pith__capsule_free(c);
    pith_error err = {0};
    assert_ok(pith__capsule_open(paths.output, mem, &c, &err), err);
    assert_int_equal(c->type, PITH__CAPSULE_F16);
    pith__capsule_free(c);
    assert_int_equal(unlink(paths.output), 0);
    tiny_close(&t);
}

static void a_text_becomes_an_adapter(void **state)
{
    const folder *f = *state;
    tiny t;
    condense_paths paths;
    run_file file;
    pith__adapter opened;
    pith__model adapted;
    char sha256[PITH__SHA256_SIZE];
    pith_error err = {0};
    tiny_open(&t, f);
    pith__condense_settings s = condense_settings(f, &paths);
    s.distill.into = PITH__DISTILL_LORA;
    s.distill.run.optimizer.rate = 0.01;
    pith__capsule *capsule = NULL;
    const pith__distill_report report = condense(&s, &capsule);
    assert_null(capsule);
    assert_true(report.kl < 0.5 * report.kl_none);
    run_open(f, "out.gguf", &file);
    assert_ok(pith__adapter_open(&file.gguf, mem, &opened, &err), err);
    pith__sha256_of(t.file.file.data, t.file.file.size, sha256);
    assert_ok(pith__adapter_check_base(&opened, sha256, &err), err);
    assert_ok(
        pith__model_load_adapted(&t.file.gguf, &opened, PITH_PRECISION_F32, mem, &adapted, &err),
        err);
    /* a model that has the adapter in it, without context, says what the teacher says with it */
    static double p[16][VOCABULARY], q[16][VOCABULARY];
    const pith__id_lists all = imagine(&t, 1, 48, 8, 1.0, s.distill.run.seed, 0);
    double sum = 0.0;
    for (size_t i = 40; i < 48; i++) {
        const size_t n_context = t.n_context;
        expectations(&t, &all, i, 1.0, p);
        tiny without = t;
        without.model = adapted;
        without.n_context = 0;
        expectations(&without, &all, i, 1.0, q);
        t.arena = without.arena;
        assert_int_equal(t.n_context, n_context);
        for (size_t k = 0; k <= all.starts[i + 1] - all.starts[i]; k++) {
            sum += divergence(p[k], q[k], t.model.config.vocabulary);
        }
    }
    assert_true(fabs(sum / (double)report.tokens - report.kl) < 1e-5);
    pith__model_deinit(&adapted);
    pith__adapter_close(&opened);
    run_close(&file);
    assert_int_equal(unlink(paths.output), 0);
    tiny_close(&t);
}

static void what_cannot_be_condensed_is_told_before_it_takes_long(void **state)
{
    const folder *f = *state;
    condense_paths paths;
    static char words[4000];
    for (int what = 0; what < 11; what++) {
        static const struct {
            pith_status status;
            const char *says;
        } expected[] = {
            {PITH_E_ARGUMENT, "no file for the capsule"},
            {PITH_E_ARGUMENT, "no file for the adapter"},
            {PITH_E_ARGUMENT, "0 slots"},
            {PITH_E_ARGUMENT, "rank above 0"},
            {PITH_E_ARGUMENT, "0 continuations"},
            {PITH_E_ARGUMENT, "temperature 0"},
            {PITH_E_ARGUMENT, "a model is needed"},
            {PITH_E_ARGUMENT, "context to condense is empty"},
            {PITH_E_CONTEXT, "the model's context is 128"},
            {PITH_E_IO, "no-such-file"},
            {PITH_E_ARGUMENT, "batch 0"},
        };
        pith__condense_settings s = condense_settings(f, &paths);
        s.output = what < 2 ? NULL : s.output;
        s.distill.into = what == 1 || what == 3 ? PITH__DISTILL_LORA : PITH__DISTILL_SOFT_PROMPT;
        s.distill.slots = what == 2 ? 0 : s.distill.slots;
        s.distill.lora.rank = what == 3 ? 0 : 4;
        s.continuations = what == 4 ? 0 : s.continuations;
        s.temperature = what == 5 ? 0.0 : 1.0;
        s.model = what == 6 ? NULL : s.model;
        s.context = what == 7 || what == 8 ? NULL : what == 9 ? "/no-such-file" : s.context;
        memset(words, 'q', sizeof words);
        s.text = what == 8 ? words : NULL;
        s.text_size = what == 8 ? sizeof words : 0;
        s.distill.run.batch = what == 10 ? 0 : s.distill.run.batch;
        pith_error err = {0};
        const pith_status status = pith__train_condense(&s, mem, NULL, NULL, &err);
        if (status != expected[what].status || strstr(err.message, expected[what].says) == NULL) {
            fail_msg("case %d: %s: %s", what, pith_status_name(status), err.message);
        }
        assert_false(folder_has(f, "out.gguf"));
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

static pith_status condense_with(const pith_allocator *allocator, void *user)
{
    pith__capsule *capsule = NULL;
    const pith_status status = pith__train_condense(user, allocator, &capsule, NULL, NULL);
    assert_true((status == PITH_OK && ((pith__condense_settings *)user)->distill.into ==
                                          PITH__DISTILL_SOFT_PROMPT) == (capsule != NULL));
    pith__capsule_free(capsule);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    const folder *f = *state;
    condense_paths paths;
    pith__condense_settings s = condense_settings(f, &paths);
    s.distill.run.steps = 2;
    s.distill.run.threads = 1;
    s.continuations = 8;
    run_sweep(condense_with, &s);
    s.distill.into = PITH__DISTILL_LORA;
    s.sources = &paths.source;
    s.n_sources = 1;
    run_sweep(condense_with, &s);
    assert_int_equal(unlink(paths.output), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_those_of_plain_passes),
        cmocka_unit_test(the_contexts_embeddings_have_no_divergence),
        cmocka_unit_test(both_directions_differ),
        cmocka_unit_test(a_soft_prompt_starts_as_chunks_or_words),
        cmocka_unit_test(gradients_are_those_of_the_loss),
        cmocka_unit_test(an_update_is_that_of_the_reference),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(every_continuation_is_learned_once_an_epoch),
        cmocka_unit_test(a_resumed_run_is_one_that_was_not_stopped),
        cmocka_unit_test(fingerprints_tell_runs_apart),
        cmocka_unit_test(nothing_held_out_is_judged_by_training),
        cmocka_unit_test(settings_that_make_no_sense_are_refused),
        cmocka_unit_test(empty_continuations_are_passed_over),
    };
    const struct CMUnitTest in_folder[] = {
        cmocka_unit_test(the_same_is_imagined_again),
        cmocka_unit_test(imagining_is_told_and_stopped),
        cmocka_unit_test(what_is_imagined_follows_the_model),
        cmocka_unit_test(a_list_stops_at_its_end),
        cmocka_unit_test(a_few_rows_learn_to_stand_for_the_context),
        cmocka_unit_test(an_adapter_learns_to_stand_for_the_context),
        cmocka_unit_test(excerpts_are_from_other_documents_than_those_held_out),
        cmocka_unit_test(a_text_becomes_a_capsule),
        cmocka_unit_test(documents_can_be_learned_from),
        cmocka_unit_test(a_text_becomes_an_adapter),
        cmocka_unit_test(what_cannot_be_condensed_is_told_before_it_takes_long),
        cmocka_unit_test(every_allocation_may_fail),
    };
    const int failed = cmocka_run_group_tests_name("distill", tests, NULL, NULL);
    return failed + cmocka_run_group_tests_name("condense", in_folder, make_folder, remove_folder);
}
