/*
 * test_passages.c: excerpts of documents, and the samples that compressors are trained with, made of
 * them: what is compressed, what is read, what is predicted.
 */
#include "run_fixture.h"

#include "train/compressor.h"

static const pith_allocator *const mem = &pith__allocator_default;

/* ---- passages -------------------------------------------------------------------------------- */

typedef struct shelf {
    pith__source sources[2];
    pith__vocabulary vocabulary;
    pith__passages passages;
    pith__arena arena;
} shelf;

static void open_shelf(const folder *f, shelf *s)
{
    static const char *const names[] = {"animals.txt", "more.txt"};
    static const double weights[] = {3.0, 1.0};
    pith_error err = {0};
    for (size_t i = 0; i < 2; i++) {
        assert_ok(
            pith__source_open(folder_path(f, names[i]), weights[i], 8, mem, &s->sources[i], &err),
            err);
    }
    assert_ok(pith__vocabulary_open(folder_path(f, "vocabulary.gguf"), mem, &s->vocabulary, &err),
              err);
    assert_ok(pith__passages_init(s->sources, 2, s->vocabulary.tokenizer, mem, &s->passages, &err),
              err);
    pith__arena_init(&s->arena, mem);
}

static void close_shelf(shelf *s)
{
    pith__arena_deinit(&s->arena);
    pith__passages_deinit(&s->passages);
    pith__vocabulary_close(&s->vocabulary);
    pith__source_close(&s->sources[0]);
    pith__source_close(&s->sources[1]);
}

/* The bytes of ids, NUL-terminated. */
static const char *spell(shelf *s, const uint32_t *ids, size_t count)
{
    pith__buf out;
    const pith_allocator arena = pith__arena_allocator(&s->arena);
    pith_error err = {0};
    pith__buf_init(&out, &arena, SIZE_MAX / 2);
    assert_ok(pith__buf_append_text(&out, "", &err), err);
    for (size_t i = 0; i < count; i++) {
        const char *bytes = NULL;
        size_t size = 0;
        assert_ok(pith__tokenizer_bytes(s->vocabulary.tokenizer, ids[i], &bytes, &size, &err), err);
        assert_ok(pith__buf_append(&out, bytes, size, &err), err);
    }
    return out.data;
}

/* Where `text` stands in one of the documents; NULL: nowhere. */
static const pith__document *find_in(const pith__source *source, const pith__document *documents,
                                     size_t count, const char *text, size_t *at)
{
    const size_t size = strlen(text);
    for (size_t i = 0; i < count; i++) {
        for (size_t k = documents[i].start; k + size <= documents[i].end; k++) {
            if (memcmp(source->file.data + k, text, size) == 0) {
                *at = k;
                return &documents[i];
            }
        }
    }
    return NULL;
}

static void passages_are_stretches_of_documents(void **state)
{
    enum { PASSAGES = 300, LENGTH = 12 };
    shelf s;
    pith_error err = {0};
    size_t from_first = 0;
    size_t ended = 0;
    size_t started = 0;
    open_shelf(*state, &s);
    for (uint64_t n = 0; n < PASSAGES; n++) {
        pith__passage p;
        const size_t next = n % 3 == 0 ? LENGTH : 0;
        assert_ok(pith__passages_draw(&s.passages, 5, n, LENGTH, next, &s.arena, &p, &err), err);
        assert_in_range(p.count, 1, LENGTH);
        assert_true(p.n_next <= next);
        const char *text = spell(&s, p.ids, p.count + p.n_next); /* next stands behind ids */
        assert_ptr_equal(p.next, p.ids + p.count);
        assert_int_equal(strlen(text), p.bytes + p.next_bytes);
        size_t at = 0;
        const pith__source *source = &s.sources[0];
        const pith__document *d = find_in(source, source->training, source->n_training, text, &at);
        if (d == NULL) {
            source = &s.sources[1];
            d = find_in(source, source->training, source->n_training, text, &at);
        } else {
            from_first++;
        }
        assert_non_null(d);
        const bool begins = d != NULL && at == d->start;
        const unsigned char before = source->file.data[at];
        assert_true(begins || before == ' ' || before == '\n');
        if (p.ends) {
            assert_true(p.count + p.n_next <= LENGTH + next);
        }
        ended += p.ends;
        started += begins;
    }
    assert_in_range(from_first, PASSAGES * 6 / 10, PASSAGES * 9 / 10); /* 3 to 1 */
    assert_in_range(ended, 1, PASSAGES - 1);
    assert_in_range(started, 1, PASSAGES - 1);
    close_shelf(&s);
}

static void passages_are_functions_of_seed_and_number(void **state)
{
    enum { PASSAGES = 40 };
    shelf s;
    pith_error err = {0};
    size_t differ = 0;
    open_shelf(*state, &s);
    for (uint64_t n = 0; n < PASSAGES; n++) {
        pith__passage p[3];
        const uint64_t others = PASSAGES - 1 - n;
        pith__passage ignored;
        assert_ok(pith__passages_draw(&s.passages, 1, n, 9, 9, &s.arena, &p[0], &err), err);
        assert_ok(pith__passages_draw(&s.passages, 1, others, 7, 0, &s.arena, &ignored, &err), err);
        assert_ok(pith__passages_draw(&s.passages, 1, n, 9, 9, &s.arena, &p[1], &err), err);
        assert_ok(pith__passages_draw(&s.passages, 2, n, 9, 9, &s.arena, &p[2], &err), err);
        assert_int_equal(p[0].count, p[1].count);
        assert_int_equal(p[0].n_next, p[1].n_next);
        assert_int_equal(p[0].ends, p[1].ends);
        assert_memory_equal(p[0].ids, p[1].ids, p[0].count * sizeof *p[0].ids);
        differ += p[0].count != p[2].count ||
                  memcmp(p[0].ids, p[2].ids, p[0].count * sizeof *p[0].ids) != 0;
    }
    assert_true(differ > PASSAGES / 2);
    close_shelf(&s);
}

static void held_out_passages_are_spread_and_of_held_out_documents(void **state)
{
    enum { PASSAGES = 8 };
    shelf s;
    pith_error err = {0};
    open_shelf(*state, &s);
    for (size_t i = 0; i < PASSAGES; i++) {
        pith__passage p;
        bool found = false;
        size_t at = 0;
        assert_ok(
            pith__passages_held_out(&s.passages, i, PASSAGES, 40, 0, &s.arena, &p, &found, &err),
            err);
        assert_true(found);
        const pith__source *source = &s.sources[i % 2];
        const char *text = spell(&s, p.ids, p.count);
        assert_non_null(find_in(source, source->held_out, source->n_held_out, text, &at));
        assert_null(find_in(source, source->training, source->n_training, text, &at));
    }
    close_shelf(&s);
}

/* One document in two megabytes: if all of it were tokenised this would take minutes. */
static void long_documents_are_not_tokenised_as_a_whole(void **state)
{
    const folder *f = *state;
    static const char line[] = "the fox sees the old moon and eats far near the lake\n";
    enum { LINES = 40000 };
    pith_error err = {0};
    shelf s;
    open_shelf(f, &s);
    char *text = malloc(LINES * (sizeof line - 1));
    assert_non_null(text);
    for (size_t i = 0; i < LINES; i++) {
        memcpy(text + i * (sizeof line - 1), line, sizeof line - 1);
    }
    folder_write(f, "long.txt", text, LINES * (sizeof line - 1));
    free(text);
    pith__source source;
    pith__passages passages;
    test_memory memory = {0};
    const pith_allocator counted = test_memory_allocator(&memory);
    pith__arena arena;
    assert_ok(pith__source_open(folder_path(f, "long.txt"), 1.0, 0, mem, &source, &err), err);
    assert_ok(pith__passages_init(&source, 1, s.vocabulary.tokenizer, mem, &passages, &err), err);
    pith__arena_init(&arena, &counted);
    size_t last = 0;
    for (uint64_t n = 0; n < 200; n++) {
        pith__passage p;
        assert_ok(pith__passages_draw(&passages, 3, n, 16, 16, &arena, &p, &err), err);
        assert_int_equal(p.count, 16);
        last += p.ends;
        assert_true(memory.live < 1000000);
        pith__arena_reset(&arena);
    }
    assert_true(last < 20);
    pith__arena_deinit(&arena);
    pith__passages_deinit(&passages);
    pith__source_close(&source);
    close_shelf(&s);
}

static void sources_need_weights(void **state)
{
    shelf s;
    pith_error err = {0};
    pith__passages passages;
    const pith__tokenizer *tokenizer = NULL;
    open_shelf(*state, &s);
    tokenizer = s.vocabulary.tokenizer;
    s.sources[0].weight = s.sources[1].weight = 0.0;
    assert_status(pith__passages_init(s.sources, 2, tokenizer, mem, &passages, &err),
                  PITH_E_ARGUMENT);
    s.sources[1].weight = -1.0;
    assert_status(pith__passages_init(s.sources, 2, tokenizer, mem, &passages, &err),
                  PITH_E_ARGUMENT);
    assert_status(pith__passages_init(s.sources, 0, tokenizer, mem, &passages, &err),
                  PITH_E_ARGUMENT);
    close_shelf(&s);
}

/* ---- exercises ------------------------------------------------------------------------------- */

#define BOS  1
#define END  2
#define NONE PITH__NO_TARGET

static const uint32_t text_ids[] = {10, 11, 12, 13, 14, 15, 16, 17, 18, 19};
static const uint32_t other_ids[] = {50, 51, 52, 53, 54, 55};
static const uint32_t asked_ids[] = {30, 31};
static const uint32_t told_ids[] = {40, 41, 42};
static const uint32_t bos_id = BOS;

static const pith__compressor_shape shapes[] = {
    [PITH__COMPRESSOR_500X] = {.method = PITH__COMPRESSOR_500X,
                               .slots = 4,
                               .elastic = true,
                               .window = 10},
    [PITH__COMPRESSOR_ICAE] = {.method = PITH__COMPRESSOR_ICAE, .slots = 4, .window = 4},
    [PITH__COMPRESSOR_SELFCP] = {
        .method = PITH__COMPRESSOR_SELFCP, .elastic = true, .ratio = 2, .window = 10}};

static pith__exercise exercise_of(pith__exercise_task task)
{
    return (pith__exercise){.task = task,
                            .text = text_ids,
                            .n_text = 10,
                            .text_ends = true,
                            .asked = asked_ids,
                            .n_asked = task == PITH__EXERCISE_ANSWER ? 2 : 0,
                            .told = told_ids,
                            .n_told = 3,
                            .told_ends = true};
}

static pith__exercise_form form_of(pith__compressor_method method, pith__strategy strategy)
{
    return (pith__exercise_form){
        .shape = &shapes[method], .bos = &bos_id, .end = END, .strategy = strategy, .fold = 1};
}

/*
 * A sample in words: segments as "[ids:slots]", "+" before one that carries, "?" before one that reads
 * the question; then pieces: "m0" is the memory of segment 0, "m0>40" one that predicts 40, ids
 * stand with what they predict, "10>11", or alone.
 */
static void describe(const pith__memory_sample *s, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_segments; i++) {
        const pith__memory_segment *g = &s->segments[i];
        n +=
            (size_t)snprintf(out + n, size - n, "%s%s[%u-%u:%u] ", g->carries ? "+" : "",
                             g->n_before > 0 ? "?" : "", g->ids[0], g->ids[g->count - 1], g->slots);
    }
    for (size_t i = 0; i < s->n_pieces; i++) {
        const pith__memory_piece *p = &s->pieces[i];
        if (p->ids == NULL) {
            n += (size_t)snprintf(out + n, size - n, "m%zu", p->segment);
            n += p->last_target == NONE
                     ? (size_t)snprintf(out + n, size - n, " ")
                     : (size_t)snprintf(out + n, size - n, ">%u ", p->last_target);
            continue;
        }
        for (size_t k = 0; k < p->count; k++) {
            const uint32_t target = p->targets == NULL ? NONE : p->targets[k];
            n += target == NONE ? (size_t)snprintf(out + n, size - n, "%u ", p->ids[k])
                                : (size_t)snprintf(out + n, size - n, "%u>%u ", p->ids[k], target);
        }
    }
    out[n - 1] = '\0';
}

typedef struct sample_case {
    pith__compressor_method method;
    pith__strategy strategy;
    pith__exercise_task task;
    enum { OWN, OTHER, NOTHING } memory;
    bool compares;
    const char *expected;
} sample_case;

#define X500   PITH__COMPRESSOR_500X
#define ICAE   PITH__COMPRESSOR_ICAE
#define SELFCP PITH__COMPRESSOR_SELFCP
#define ALL    PITH__STRATEGY_LINEAR
#define SAY    PITH__EXERCISE_REPEAT
#define GO_ON  PITH__EXERCISE_CONTINUE
#define ANSWER PITH__EXERCISE_ANSWER

static const sample_case cases[] = {
    {X500, ALL, SAY, OWN, false,
     "[10-19:4] m0 1>10 10>11 11>12 12>13 13>14 14>15 15>16 16>17 17>18 18>19 19>2"},
    {X500, ALL, SAY, OTHER, true,
     "[50-55:4] m0 1>10 10>11 11>12 12>13 13>14 14>15 15>16 16>17 17>18 18>19 19>2"},
    {X500, ALL, SAY, NOTHING, true,
     "1>10 10>11 11>12 12>13 13>14 14>15 15>16 16>17 17>18 18>19 19>2"},
    {X500, ALL, GO_ON, OWN, false, "[10-19:4] m0 40>41 41>42 42>2"},
    {X500, ALL, GO_ON, NOTHING, true, "1 40>41 41>42 42>2"},
    {X500, ALL, ANSWER, NOTHING, true, "1 30 31>40 40>41 41>42 42>2"},
    {X500, ALL, ANSWER, OWN, false, "[10-19:4] m0 30 31>40 40>41 41>42 42>2"},
    {ICAE, ALL, ANSWER, OWN, false,
     "[10-12:4] [13-15:4] [16-19:4] m0 m1 m2 30 31>40 40>41 41>42 42>2"},
    {ICAE, ALL, GO_ON, OWN, false, "[10-12:4] [13-15:4] [16-19:4] m0 m1 m2>40 40>41 41>42 42>2"},
    {ICAE, ALL, GO_ON, OWN, true, "[10-12:4] [13-15:4] [16-19:4] m0 m1 m2 40>41 41>42 42>2"},
    {SELFCP, ALL, GO_ON, OWN, false, "[10-19:5] 1 m0>40 40>41 41>42 42>2"},
    {SELFCP, ALL, GO_ON, NOTHING, false, "1>40 40>41 41>42 42>2"},
    {SELFCP, ALL, GO_ON, NOTHING, true, "1 40>41 41>42 42>2"},
    {SELFCP, ALL, ANSWER, OWN, false, "?[10-19:5] 1 m0 30 31>40 40>41 41>42 42>2"},
    {SELFCP, PITH__STRATEGY_FORMER, GO_ON, OWN, true,
     "[10-14:2] 1 m0 15 16 17 18 19>40 40>41 41>42 42>2"},
    {SELFCP, PITH__STRATEGY_FORMER, GO_ON, NOTHING, true, "1 15 16 17 18 19>40 40>41 41>42 42>2"},
    {SELFCP, PITH__STRATEGY_FORMER, GO_ON, OTHER, true,
     "[50-52:1] 1 m0 15 16 17 18 19>40 40>41 41>42 42>2"},
    {SELFCP, PITH__STRATEGY_FORMER, SAY, OWN, false,
     "[10-14:2] 1 m0 15 16 17 18 19 1>10 10>11 11>12 12>13 13>14"},
    {SELFCP, PITH__STRATEGY_LATTER, SAY, OWN, false,
     "[15-19:2] 1 10 11 12 13 14 m0 1>15 15>16 16>17 17>18 18>19 19>2"},
    {SELFCP, PITH__STRATEGY_LATTER, GO_ON, OWN, false,
     "[15-19:2] 1 10 11 12 13 14 m0>40 40>41 41>42 42>2"},
    {SELFCP, PITH__STRATEGY_CONCATENATED, ANSWER, OWN, false,
     "?[10-14:2] +?[15-19:2] 1 m0 m1 30 31>40 40>41 41>42 42>2"},
    {SELFCP, PITH__STRATEGY_RECURSIVE, ANSWER, OWN, false,
     "?[10-14:2] +?[15-19:2] 1 m1 30 31>40 40>41 41>42 42>2"}};

static void samples_read_and_say_what_they_should(void **state)
{
    (void)state;
    pith__arena arena;
    pith__arena_init(&arena, mem);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const sample_case *c = &cases[i];
        const pith__exercise own = exercise_of(c->task);
        pith__exercise other = own;
        other.text = other_ids;
        other.n_text = 6;
        pith__exercise_form form = form_of(c->method, c->strategy);
        form.conditional = c->method == SELFCP;
        form.compares = c->compares;
        pith__memory_sample sample;
        pith_error err = {0};
        char said[512];
        assert_ok(pith__exercise_sample(&form, &own,
                                        c->memory == OWN     ? &own
                                        : c->memory == OTHER ? &other
                                                             : NULL,
                                        &arena, &sample, &err),
                  err);
        describe(&sample, said, sizeof said);
        if (strcmp(said, c->expected) != 0) {
            fail_msg("case %zu: %s\nexpected: %s", i, said, c->expected);
        }
    }
    pith__arena_deinit(&arena);
}

/* A text that does not end is not followed by an end. */
static void ends_are_said_where_there_are_some(void **state)
{
    (void)state;
    pith__arena arena;
    pith_error err = {0};
    pith__memory_sample sample;
    char said[512];
    pith__arena_init(&arena, mem);
    pith__exercise e = exercise_of(SAY);
    e.text_ends = false;
    e.n_text = 3;
    const pith__exercise_form form = form_of(X500, ALL);
    assert_ok(pith__exercise_sample(&form, &e, &e, &arena, &sample, &err), err);
    describe(&sample, said, sizeof said);
    assert_string_equal(said, "[10-12:4] m0 1>10 10>11 11>12");
    e = exercise_of(ANSWER);
    e.n_told = 1;
    e.told_ends = false;
    assert_ok(pith__exercise_sample(&form, &e, &e, &arena, &sample, &err), err);
    describe(&sample, said, sizeof said);
    assert_string_equal(said, "[10-19:4] m0 30 31>40");
    e.n_told = 0;
    e.told_ends = true; /* an empty answer */
    assert_ok(pith__exercise_sample(&form, &e, &e, &arena, &sample, &err), err);
    describe(&sample, said, sizeof said);
    assert_string_equal(said, "[10-19:4] m0 30 31>2");
    e = exercise_of(SAY);
    e.n_text = 1; /* nothing to halve */
    const pith__exercise_form former = form_of(SELFCP, PITH__STRATEGY_FORMER);
    assert_ok(pith__exercise_sample(&former, &e, &e, &arena, &sample, &err), err);
    describe(&sample, said, sizeof said);
    assert_string_equal(said, "[10-10:1] 1 m0 1>10 10>2");
    pith__arena_deinit(&arena);
}

static void folds_halve_the_slots(void **state)
{
    (void)state;
    pith__arena arena;
    pith_error err = {0};
    pith__arena_init(&arena, mem);
    assert_int_equal(pith__exercise_folds(&shapes[X500], 10), 3);   /* 4, 2, 1 */
    assert_int_equal(pith__exercise_folds(&shapes[ICAE], 10), 1);   /* not elastic */
    assert_int_equal(pith__exercise_folds(&shapes[SELFCP], 10), 3); /* 5, 2, 1 */
    assert_int_equal(pith__exercise_folds(&shapes[SELFCP], 1), 1);
    const pith__exercise e = exercise_of(SAY);
    for (unsigned fold = 0; fold < 3; fold++) {
        static const uint32_t slots[][3] = {{4, 2, 1}, {5, 2, 1}};
        for (size_t k = 0; k < 2; k++) {
            pith__exercise_form form = form_of(k == 0 ? X500 : SELFCP, ALL);
            pith__memory_sample sample;
            form.fold = 1U << fold;
            assert_ok(pith__exercise_sample(&form, &e, &e, &arena, &sample, &err), err);
            assert_int_equal(sample.segments[0].slots, slots[k][fold]);
            uint32_t used = 0;
            assert_ok(pith__compressor_slots_of(form.shape, 10, slots[k][fold], &used, &err), err);
            assert_int_equal(used, slots[k][fold]); /* what use allows */
        }
    }
    pith__arena_deinit(&arena);
}

/* ---- main ------------------------------------------------------------------------------------ */

static folder shared_folder;

static int set_up(void **state)
{
    run_folder(&shared_folder);
    *state = &shared_folder;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove(&shared_folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passages_are_stretches_of_documents),
        cmocka_unit_test(passages_are_functions_of_seed_and_number),
        cmocka_unit_test(held_out_passages_are_spread_and_of_held_out_documents),
        cmocka_unit_test(long_documents_are_not_tokenised_as_a_whole),
        cmocka_unit_test(sources_need_weights),
        cmocka_unit_test(samples_read_and_say_what_they_should),
        cmocka_unit_test(ends_are_said_where_there_are_some),
        cmocka_unit_test(folds_halve_the_slots),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
