/*
 * test_capsule_read.c: capsules in the place of texts: what a model says after one is what it says
 * in a pass over everything, in which the text is masked; and what that saves.
 */
#include "capsule_fixture.h"
#include "grad_fixture.h"

static const pith_allocator *const memory = &pith__allocator_default;

/* Largest difference of logits in f32. Reached: 1.2e-5. */
#define TOLERANCE 1e-4

enum { ROWS_MAX = 64, SEGMENTS_MAX = 8 };

/* ---- a model ------------------------------------------------------------------------------------ */

/* A random model twice: for reading, and for passes with masks. */
typedef struct bench {
    fixture file;
    trainable base;
    float *row; /* (d) the gist token's embedding */
} bench;

static void bench_open(bench *b, const char *name, bool tied)
{
    fixture_open(&b->file, name, PITH_PRECISION_F32, 2);
    trainable_copy(&b->base, &b->file.model, tied, 2);
    const size_t width = b->file.model.config.width;
    b->row = calloc(width, sizeof *b->row);
    assert_non_null(b->row);
    fill_normal(b->row, width, 0.05, 9);
}

static void bench_close(bench *b)
{
    free(b->row);
    trainable_close(&b->base);
    fixture_close(&b->file);
}

static pith__capsule *encode(const bench *b, const uint32_t *ids, size_t count, uint32_t slots)
{
    pith__capsule *capsule = NULL;
    pith_error err = {0};
    assert_ok(
        pith__gist_encode(&b->file.model, 2, ids, count, b->row, slots, memory, &capsule, &err),
        err);
    return capsule;
}

/* The same capsule after it was a file. */
static pith__capsule *through_file(pith__capsule *capsule, pith__capsule_type type)
{
    bytes file = bytes_of(capsule, type);
    pith__capsule *again = NULL;
    pith_error err = {0};
    assert_ok(pith__capsule_parse(file.data, file.size, memory, &again, &err), err);
    bytes_free(&file);
    pith__capsule_free(capsule);
    return again;
}

/* ---- a prompt ------------------------------------------------------------------------------------- */

/* A text; with slots, one that a capsule stands for. */
typedef struct segment {
    size_t text; /* ids */
    uint32_t slots;
} segment;

/* All of it as rows of one pass. */
typedef struct prompt {
    segment segments[SEGMENTS_MAX];
    size_t n_segments;
    size_t rows;
    uint32_t ids[ROWS_MAX]; /* PITH__NO_ID: a slot */
    size_t of[ROWS_MAX];    /* segment of a row */
    uint8_t matrix[ROWS_MAX * ROWS_MAX];
} prompt;

/* A text sees what is before it, of a capsule's segment the slots; a capsule's segment sees itself. */
static bool is_seen(const prompt *p, size_t query, size_t key)
{
    const bool same = p->of[query] == p->of[key];
    const bool alone = p->segments[p->of[query]].slots > 0;
    const bool hidden = p->segments[p->of[key]].slots > 0 && p->ids[key] != PITH__NO_ID;
    return key <= query && (same || (!alone && !hidden));
}

static prompt prompt_of(const bench *b, const segment *segments, size_t n_segments, uint64_t seed)
{
    prompt p = {.n_segments = n_segments};
    for (size_t s = 0; s < n_segments; s++) {
        p.segments[s] = segments[s];
        const size_t rows = segments[s].text + segments[s].slots;
        assert_true(p.rows + rows <= ROWS_MAX);
        random_ids(&b->file, p.ids + p.rows, segments[s].text, seed + s);
        for (size_t i = 0; i < rows; i++) {
            p.of[p.rows + i] = s;
            p.ids[p.rows + i] = i < segments[s].text ? p.ids[p.rows + i] : PITH__NO_ID;
        }
        p.rows += rows;
    }
    for (size_t i = 0; i < p.rows * p.rows; i++) {
        p.matrix[i] = is_seen(&p, i / p.rows, i % p.rows);
    }
    return p;
}

/* Logits (rows, vocabulary) of one pass under a mask; free() them. */
static float *logits_of_pass(const bench *b, const prompt *p, const pith__mask *mask)
{
    const trainable *base = &b->base;
    const size_t width = base->model.config.width;
    const size_t vocabulary = base->model.config.vocabulary;
    float *embeddings = calloc(p->rows * width, sizeof *embeddings);
    float *logits = calloc(p->rows * vocabulary, sizeof *logits);
    assert_non_null(embeddings);
    assert_non_null(logits);
    for (size_t r = 0; r < p->rows; r++) {
        memcpy(embeddings + r * width, b->row, width * sizeof *embeddings);
    }
    const pith__arena_mark mark = pith__arena_save(base->ctx.arena);
    const pith__pass *pass =
        pass_run(&base->model, &base->ctx,
                 &(pith__pass_input){
                     .rows = p->rows, .ids = p->ids, .embeddings = embeddings, .mask = *mask});
    const pith__rows hidden = {.count = p->rows, .width = width, .f32 = pith__pass_hidden(pass)};
    pith_error err = {0};
    assert_ok(base->model.ops->linear(&base->ctx, &base->model.head, &hidden, logits, &err), err);
    pith__arena_restore(base->ctx.arena, mark);
    free(embeddings);
    return logits;
}

static float *masked_logits(const bench *b, const prompt *p)
{
    return logits_of_pass(b, p, &(pith__mask){.rule = PITH__MASK_MATRIX, .matrix = p->matrix});
}

/* What becomes of a capsule between making and reading it. */
typedef enum storage { KEPT, AS_F32, AS_F16, AS_INT8 } storage;

static void read_capsule(const bench *b, pith__reader *reader, const uint32_t *ids,
                         const segment *s, storage stored)
{
    static const pith__capsule_type types[] = {
        [AS_F32] = PITH__CAPSULE_F32, [AS_F16] = PITH__CAPSULE_F16, [AS_INT8] = PITH__CAPSULE_INT8};
    pith__capsule *capsule = encode(b, ids, s->text, s->slots);
    if (stored != KEPT) {
        capsule = through_file(capsule, types[stored]);
    }
    const size_t position = reader->position;
    pith_error err = {0};
    assert_ok(pith__capsule_read(capsule, reader, &err), err);
    assert_int_equal(reader->position, position + s->text + s->slots);
    assert_null(pith__reader_logits(reader));
    pith__capsule_free(capsule);
}

/* Reads segment by segment; the largest difference to `expected` at all rows of plain texts. */
static double largest_error(const bench *b, const prompt *p, const float *expected, storage stored)
{
    const size_t vocabulary = b->file.model.config.vocabulary;
    pith__reader reader = {0};
    pith_error err = {0};
    double worst = 0.0;
    assert_ok(pith__reader_init(&reader, &b->file.model, 2, memory, &err), err);
    for (size_t s = 0, at = 0; s < p->n_segments; s++) {
        const segment *seg = &p->segments[s];
        if (seg->slots > 0) {
            read_capsule(b, &reader, p->ids + at, seg, stored);
        }
        for (size_t i = 0; seg->slots == 0 && i < seg->text; i++) {
            assert_ok(pith__reader_ids(&reader, p->ids + at + i, 1, NULL, &err), err);
            keep_worst(&worst, largest_difference(pith__reader_logits(&reader),
                                                  expected + (at + i) * vocabulary, vocabulary));
        }
        at += seg->text + seg->slots;
    }
    pith__reader_deinit(&reader);
    return worst;
}

/* ---- gist: cached is masked -------------------------------------------------------------------------- */

/* An instruction, gist tokens and an input, as in training. */
static void check_gist(const char *model, bool tied, uint32_t slots)
{
    bench b;
    bench_open(&b, model, tied);
    const segment segments[] = {{11, slots}, {9, 0}};
    const prompt p = prompt_of(&b, segments, 2, 70 + slots);
    const pith__mask rule = {
        .rule = PITH__MASK_GIST, .gist_first = 11, .gist_last = 11 + slots - 1};
    float *masked = logits_of_pass(&b, &p, &rule);
    float *causal = logits_of_pass(&b, &p, &(pith__mask){.rule = PITH__MASK_CAUSAL});
    const double worst = largest_error(&b, &p, masked, KEPT);
    print_message("%s, %u slots: logits within %.1e\n", model, slots, worst);
    assert_true(worst <= TOLERANCE);
    assert_true(largest_error(&b, &p, masked, AS_F32) == worst);        /* nothing was lost */
    assert_true(largest_error(&b, &p, causal, KEPT) > 100 * TOLERANCE); /* the mask matters */
    free(causal);
    free(masked);
    bench_close(&b);
}

static void a_cached_gist_is_a_masked_pass(void **state)
{
    (void)state;
    check_gist("llama_gqa", true, 1);
    check_gist("llama_gqa", true, 3);
    check_gist("llama_untied", false, 2);
}

/* Wherever it is put, keys are as far from each other as they were. */
static void a_capsule_may_stand_after_other_text(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, "llama_gqa", true);
    static const segment segments[] = {{7, 0}, {12, 3}, {8, 0}};
    const prompt p = prompt_of(&b, segments, 3, 80);
    float *expected = masked_logits(&b, &p);
    assert_true(largest_error(&b, &p, expected, KEPT) <= TOLERANCE);
    assert_true(largest_error(&b, &p, expected, AS_F32) <= TOLERANCE);
    free(expected);
    bench_close(&b);
}

/* Each was made alone: what follows sees the slots of all, and they do not see each other. */
static void capsules_compose(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, "llama_gqa", true);
    static const segment segments[] = {{9, 2}, {4, 0}, {6, 1}, {10, 3}, {7, 0}};
    prompt p = prompt_of(&b, segments, 5, 90);
    float *expected = masked_logits(&b, &p);
    assert_true(largest_error(&b, &p, expected, AS_F32) <= TOLERANCE);
    /* if the slot of the second capsule saw one of the first, that would show */
    const size_t first_slot = 9;
    const size_t second_slot = 9 + 2 + 4 + 6;
    assert_int_equal(p.ids[second_slot], PITH__NO_ID);
    p.matrix[second_slot * p.rows + first_slot] = 1;
    float *other = masked_logits(&b, &p);
    assert_true(largest_error(&b, &p, other, AS_F32) > TOLERANCE);
    free(other);
    free(expected);
    bench_close(&b);
}

/* The logits after ids 1, 2, the capsules and ids 3, 4; free() them. */
static float *logits_after(const bench *b, const pith__capsule *const *capsules, size_t count,
                           size_t *position)
{
    static const uint32_t ids[] = {1, 2, 3, 4};
    const size_t vocabulary = b->file.model.config.vocabulary;
    float *logits = calloc(vocabulary, sizeof *logits);
    pith__reader reader = {0};
    pith_error err = {0};
    assert_non_null(logits);
    assert_ok(pith__reader_init(&reader, &b->file.model, 2, memory, &err), err);
    assert_ok(pith__reader_ids(&reader, ids, 2, NULL, &err), err);
    for (size_t i = 0; i < count; i++) {
        assert_ok(pith__capsule_read(capsules[i], &reader, &err), err);
    }
    assert_ok(pith__reader_ids(&reader, ids + 2, 2, NULL, &err), err);
    memcpy(logits, pith__reader_logits(&reader), vocabulary * sizeof *logits);
    *position = reader.position;
    pith__reader_deinit(&reader);
    return logits;
}

/* What is joined is read as if one after the other, and the order matters. */
static void joined_is_one_after_the_other(void **state)
{
    (void)state;
    static const char *const modes[] = {"continue", "release"};
    bench b;
    bench_open(&b, "llama_gqa", true);
    const size_t vocabulary = b.file.model.config.vocabulary;
    uint32_t ids[16];
    random_ids(&b.file, ids, 16, 7);
    pith__capsule *pair[] = {encode(&b, ids, 9, 2), encode(&b, ids + 9, 7, 3)};
    const pith__capsule *const forth[] = {pair[0], pair[1]};
    const pith__capsule *const back[] = {pair[1], pair[0]};
    for (size_t m = 0; m < 2; m++) {
        for (size_t i = 0; i < 2; i++) {
            memcpy(pair[i]->position_mode, modes[m], strlen(modes[m]) + 1);
            pair[i]->advance = m == 0 ? pair[i]->advance : pair[i]->slots;
        }
        size_t positions[3];
        pith__capsule *joined = NULL;
        pith_error err = {0};
        assert_ok(pith__capsule_join(forth, 2, memory, &joined, &err), err);
        float *expected = logits_after(&b, forth, 2, &positions[0]);
        float *got = logits_after(&b, (const pith__capsule *const *)&joined, 1, &positions[1]);
        float *other = logits_after(&b, back, 2, &positions[2]);
        assert_int_equal(positions[0], m == 0 ? 2 + 11 + 10 + 2 : 2 + 2 + 3 + 2);
        assert_int_equal(positions[1], positions[0]);
        assert_true(largest_difference(got, expected, vocabulary) == 0.0);
        assert_true(largest_difference(other, expected, vocabulary) > TOLERANCE);
        free(other);
        free(got);
        free(expected);
        pith__capsule_free(joined);
    }
    pith__capsule_free(pair[1]);
    pith__capsule_free(pair[0]);
    bench_close(&b);
}

/* Slots behind the model's last position are refused, and the reader stays where it was. */
static void released_slots_stay_in_the_context(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, "llama_gqa", true);
    const pith__model *model = &b.file.model;
    const uint32_t context = model->config.context;
    static const uint32_t ids[] = {1, 2, 3, 4, 5};
    pith__capsule *c = encode(&b, ids, 5, 2);
    pith__reader reader = {0};
    pith_error err = {0};
    memcpy(c->position_mode, "release", sizeof "release");
    c->advance = 2;
    assert_ok(pith__reader_init(&reader, model, 1, memory, &err), err);
    assert_ok(pith__reader_ids(&reader, ids, 3, NULL, &err), err);
    c->positions[1] = context - 3;
    assert_status(pith__capsule_read(c, &reader, &err), PITH_E_CONTEXT);
    c->positions[1] = INT32_MAX;
    assert_status(pith__capsule_read(c, &reader, &err), PITH_E_CONTEXT);
    assert_int_equal(reader.position, 3);
    assert_int_equal(reader.kv.length, 3);
    assert_non_null(pith__reader_logits(&reader));
    c->positions[1] = context - 4; /* the last there is */
    assert_ok(pith__capsule_read(c, &reader, &err), err);
    assert_int_equal(reader.position, 5);
    assert_int_equal(reader.kv.length, 5);
    assert_ok(pith__reader_ids(&reader, ids, 1, NULL, &err), err);
    pith__reader_deinit(&reader);
    pith__capsule_free(c);
    bench_close(&b);
}

/* In fewer bits it says nearly the same: logits have a root mean square of 2.4. */
static void small_types_stay_close(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, "llama_gqa", true);
    static const segment segments[] = {{11, 4}, {9, 0}};
    const prompt p = prompt_of(&b, segments, 2, 100);
    float *expected = masked_logits(&b, &p);
    const double f16 = largest_error(&b, &p, expected, AS_F16);
    const double int8 = largest_error(&b, &p, expected, AS_INT8);
    print_message("logits within %.1e (f16), %.1e (int8)\n", f16, int8);
    assert_true(f16 <= 1e-2);
    assert_true(int8 <= 0.15);
    assert_true(f16 < int8);
    free(expected);
    bench_close(&b);
}

/* ---- making one -------------------------------------------------------------------------------------- */

static void a_gist_capsule_describes_itself(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, "llama_gqa", true);
    const pith__model_config *config = &b.file.model.config;
    uint32_t ids[9];
    random_ids(&b.file, ids, 9, 5);
    pith__capsule *c = encode(&b, ids, 9, 2);
    assert_int_equal(c->kind, PITH__CAPSULE_KV);
    assert_string_equal(c->method, "gist");
    assert_string_equal(c->position_mode, "continue");
    assert_int_equal(c->slots, 2);
    assert_int_equal(c->layers, config->layers);
    assert_int_equal(c->width, config->kv_heads * config->head_dim);
    assert_int_equal(c->positions[0], 9);
    assert_int_equal(c->positions[1], 10);
    assert_int_equal(c->advance, 11);
    assert_int_equal(c->source_tokens, 9);
    assert_false(c->bos);
    pith__capsule_free(c);
    bench_close(&b);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, "llama_gqa", true);
    const pith__model *model = &b.file.model;
    const uint32_t context = model->config.context;
    uint32_t *ids = calloc(context + 1, sizeof *ids);
    assert_non_null(ids);
    pith__capsule *c = NULL;
    pith_error err = {0};
    assert_status(pith__gist_encode(model, 1, ids, 0, b.row, 1, memory, &c, &err), PITH_E_ARGUMENT);
    assert_status(pith__gist_encode(model, 1, ids, 3, b.row, 0, memory, &c, &err), PITH_E_ARGUMENT);
    assert_status(pith__gist_encode(model, 1, ids, context, b.row, 1, memory, &c, &err),
                  PITH_E_CONTEXT);
    assert_status(pith__gist_encode(model, 1, ids, 3, b.row, context - 2, memory, &c, &err),
                  PITH_E_CONTEXT);
    assert_status(pith__gist_encode(model, 1, ids, 3, b.row, UINT32_MAX, memory, &c, &err),
                  PITH_E_CONTEXT);
    ids[1] = model->config.vocabulary;
    assert_status(pith__gist_encode(model, 1, ids, 3, b.row, 1, memory, &c, &err), PITH_E_ARGUMENT);
    assert_null(c);
    free(ids);
    bench_close(&b);
}

static pith_status encode_once(const pith_allocator *mem, void *user)
{
    const bench *b = user;
    static const uint32_t ids[] = {1, 2, 3, 4};
    pith__capsule *c = NULL;
    const pith_status status =
        pith__gist_encode(&b->file.model, 1, ids, 4, b->row, 2, mem, &c, NULL);
    assert_int_equal(status == PITH_OK, c != NULL);
    pith__capsule_free(c);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, "llama_gqa", true);
    test_sweep(encode_once, &b);
    bench_close(&b);
}

/* ---- embeddings ----------------------------------------------------------------------------------------- */

/* A soft prompt before a text, and behind another: rows like any, in a causal pass. */
static void embeddings_are_read_as_rows(void **state)
{
    (void)state;
    bench b;
    bench_open(&b, "llama_gqa", true);
    const pith__model *model = &b.file.model;
    const size_t vocabulary = model->config.vocabulary;
    const segment segments[] = {{5, 0}, {0, 3}, {6, 0}};
    const prompt p = prompt_of(&b, segments, 3, 110);
    float *expected = logits_of_pass(&b, &p, &(pith__mask){.rule = PITH__MASK_CAUSAL});
    pith__capsule *c = NULL;
    pith__reader reader = {0};
    pith_error err = {0};
    assert_ok(pith__capsule_new(PITH__CAPSULE_EMBEDDINGS, "cc", 3, 0, model->config.width, memory,
                                &c, &err),
              err);
    for (size_t i = 0; i < 3; i++) {
        memcpy(c->embeddings + i * c->width, b.row, c->width * sizeof *b.row);
    }
    c = through_file(c, PITH__CAPSULE_F32);
    assert_ok(pith__reader_init(&reader, model, 2, memory, &err), err);
    assert_ok(pith__reader_ids(&reader, p.ids, 5, NULL, &err), err);
    c->positions[2] = 3; /* would not be honoured */
    c->advance = 4;
    assert_status(pith__capsule_read(c, &reader, &err), PITH_E_UNSUPPORTED);
    assert_int_equal(reader.position, 5);
    c->positions[2] = 2;
    c->advance = 3;
    assert_ok(pith__capsule_read(c, &reader, &err), err);
    assert_int_equal(reader.position, 8);
    assert_ok(pith__reader_ids(&reader, p.ids + 8, 6, NULL, &err), err);
    assert_true(largest_difference(pith__reader_logits(&reader), expected + 13 * vocabulary,
                                   vocabulary) <= TOLERANCE);
    pith__reader_deinit(&reader);
    pith__capsule_free(c);
    free(expected);
    bench_close(&b);
}

/* ---- what it costs ----------------------------------------------------------------------------------------- */

static void operations_follow_the_formula(void **state)
{
    (void)state;
    static const pith__model_config small = {.layers = 3,
                                             .width = 4,
                                             .heads = 2,
                                             .kv_heads = 1,
                                             .head_dim = 2,
                                             .ff = 6,
                                             .vocabulary = 10};
    /* S = 2, A = 5: embedding and head 160 each; a layer 192 + 80 + 60 + 80 + 64 + 288 = 764 */
    assert_true(pith__cost_flops(&small, 2, 3) == 160.0 + 3.0 * 764.0 + 160.0);
    assert_true(pith__cost_flops(&small, 0, 3) == 0.0);
    /* keys and values of 3 layers, 1 * 2 numbers each */
    assert_int_equal(pith__cost_kv_bytes(&small, 7, 2), 3 * 2 * 2 * 7 * 2);
}

/*
 * Figures of the gist paper's release for LLaMA-7B, means over 252 prompts: 914.7 GFLOPs for
 * instruction and input, 552.5 after a cached gist token, 39.6 % less; 0.11 % less than after the
 * cached instruction of about 26 tokens; 1.05 MB of keys and values per token in f32. Both means are
 * those of about 68 and 41 tokens.
 */
static void costs_are_those_of_the_paper(void **state)
{
    (void)state;
    static const pith__model_config llama = {.layers = 32,
                                             .width = 4096,
                                             .heads = 32,
                                             .kv_heads = 32,
                                             .head_dim = 128,
                                             .ff = 11008,
                                             .vocabulary = 32000};
    assert_true(pith__cost_flops(&llama, 1, 0) == 13476826112.0);
    const double full = pith__cost_flops(&llama, 68, 0);
    const double gist = pith__cost_flops(&llama, 41, 1);
    const double cached = pith__cost_flops(&llama, 41, 27);
    assert_true(fabs(full / 914.7e9 - 1.0) < 0.01);
    assert_true(fabs(gist / 552.5e9 - 1.0) < 0.01);
    assert_true(fabs((1.0 - gist / full) - 0.396) < 0.005);
    assert_true(fabs((1.0 - gist / cached) - 0.0011) < 0.0002);
    assert_int_equal(pith__cost_kv_bytes(&llama, 1, 4), 1048576);
    assert_int_equal(pith__cost_kv_bytes(&llama, 26, 4) / pith__cost_kv_bytes(&llama, 1, 4), 26);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cached_gist_is_a_masked_pass),
        cmocka_unit_test(a_capsule_may_stand_after_other_text),
        cmocka_unit_test(capsules_compose),
        cmocka_unit_test(joined_is_one_after_the_other),
        cmocka_unit_test(released_slots_stay_in_the_context),
        cmocka_unit_test(small_types_stay_close),
        cmocka_unit_test(a_gist_capsule_describes_itself),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(embeddings_are_read_as_rows),
        cmocka_unit_test(operations_follow_the_formula),
        cmocka_unit_test(costs_are_those_of_the_paper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
