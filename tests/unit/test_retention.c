/*
 * test_retention.c: what memory retains: every row against a computation of its own, which texts are
 * taken, how answers are written, and what is refused.
 */
#include "compressor_model.h"
#include "run_fixture.h"

#include "metric/metric.h"
#include "train/compressor.h"
#include "train/retention.h"

#include <jansson.h>

static const pith_allocator *const mem = &pith__allocator_default;
static pith_error err;

/* ---- fixture ------------------------------------------------------------------------------------ */

/* The compressors' format. */
#define LEARNED "Q: {question}\nA: {answer}"

enum { LENGTH = 12, SLOTS = 4, TEXTS = 3, QUESTIONS = 3, EVERY = 8, ANSWER_TOKENS = 6 };

/* A folder with documents, questions, and compressors for the model of tests/golden. */
typedef struct world {
    folder folder;
    char model[4096];
    char documents[160], questions[160];
    char compressors[3][160]; /* by pith__compressor_method */
    const char *paths[3];
    const char *question_paths[1];
    pith__train_source sources[1];
    pith__retention_settings settings; /* of one length and number of slots; no way is chosen */
    uint32_t lengths[2];
    uint32_t slots[3];
} world;

static world w;

/* That of the compressors, if there is none. */
static void write_compressor(pith__compressor_method method, const char *name, const char *format)
{
    pith_model *model = compressor_open_model(PITH_PRECISION_F32);
    pith__compressor_about about = compressor_about(model, method);
    pith__buf data;
    if (format != NULL) {
        (void)snprintf(about.format, sizeof about.format, "%s", format);
    }
    compressor_file(&about, model, &data);
    folder_write(&w.folder, name, data.data, data.size);
    pith__buf_deinit(&data);
    pith_model_free(model);
}

static const char questions[] =
    "{\"context\": \"the red fox sees the old owl near the lake and eats.\", \"question\": \"Who "
    "sees the owl?\", \"answer\": \"red fox\", \"shorter\": [\"fox sees owl at a lake\"]}\n"
    "\n"
    "{\"context\": \"a grey wolf has gone far from the hill to the new moon tree.\", \"question\": "
    "\"Where is the wolf?\", \"answer\": \"far from the hill\", \"shorter\": [\"wolf far\"]}\n"
    "{\"context\": \"blue crow and gold hare.\", \"question\": \"What is gold?\", \"answer\": "
    "\"hare\", \"shorter\": [\"\"]}\n";

static int set_up(void **state)
{
    (void)state;
    folder_make(&w.folder);
    run_write_documents(&w.folder, "animals.txt", 200, 3);
    folder_write(&w.folder, "questions.jsonl", questions, strlen(questions));
    (void)snprintf(w.model, sizeof w.model, "%s", test_path("golden", "models/llama_gqa.gguf"));
    (void)snprintf(w.documents, sizeof w.documents, "%s/animals.txt", w.folder.path);
    (void)snprintf(w.questions, sizeof w.questions, "%s/questions.jsonl", w.folder.path);
    for (int i = 0; i < 3; i++) {
        const char *name = pith__compressor_method_name((pith__compressor_method)i);
        write_compressor((pith__compressor_method)i, name, NULL);
        (void)snprintf(w.compressors[i], sizeof w.compressors[i], "%s/%s", w.folder.path, name);
        w.paths[i] = w.compressors[i];
    }
    w.sources[0] = (pith__train_source){w.documents, 1.0};
    w.question_paths[0] = w.questions;
    w.lengths[0] = LENGTH;
    w.slots[0] = SLOTS;
    w.settings = (pith__retention_settings){.model = w.model,
                                            .sources = w.sources,
                                            .held_out_every = EVERY,
                                            .lengths = w.lengths,
                                            .n_lengths = 1,
                                            .slots = w.slots,
                                            .n_slots = 1,
                                            .texts = TEXTS,
                                            .max_tokens = ANSWER_TOKENS,
                                            .threads = 2,
                                            .seed = 5};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove(&w.folder);
    return 0;
}

static pith__retention_settings of_texts(void)
{
    pith__retention_settings s = w.settings;
    s.n_sources = 1;
    return s;
}

/* All lines: nothing is held out. */
static pith__retention_settings of_questions(void)
{
    pith__retention_settings s = w.settings;
    s.held_out_every = 0;
    s.questions = w.question_paths;
    s.n_questions = 1;
    return s;
}

typedef struct table {
    pith__arena arena;
    pith__retained *rows;
    size_t count;
} table;

static table run(const pith__retention_settings *settings)
{
    table t = {.count = 0};
    pith__arena_init(&t.arena, mem);
    assert_ok(pith__train_retention(settings, mem, &t.arena, &t.rows, &t.count, &err), err);
    return t;
}

static pith_status run_badly(const pith__retention_settings *settings)
{
    table t = {.count = 7};
    pith__arena_init(&t.arena, mem);
    const pith_status status =
        pith__train_retention(settings, mem, &t.arena, &t.rows, &t.count, &err);
    assert_true(status == PITH_OK || (t.rows == NULL && t.count == 0));
    pith__arena_deinit(&t.arena);
    return status;
}

static void close_table(table *t)
{
    pith__arena_deinit(&t->arena);
}

/* ---- a computation of its own ---------------------------------------------------------------------- */

/* The model and the texts that the recipe takes. */
typedef struct bench {
    pith__file file;
    pith__gguf gguf;
    pith__tokenizer *tokenizer;
    pith__model model;
    pith__arena arena;
    uint32_t bos, eos;
    pith__retention_list *lists;
    size_t n_lists;
} bench;

static void bench_open(bench *b, const pith__retention_settings *s)
{
    *b = (bench){.n_lists = 0};
    assert_ok(pith__file_open(s->model, &b->file, &err), err);
    assert_ok(pith__gguf_parse(b->file.data, b->file.size, mem, &b->gguf, &err), err);
    assert_ok(pith__tokenizer_from_gguf(&b->gguf, mem, &b->tokenizer, &err), err);
    assert_ok(pith__model_load(&b->gguf, PITH_PRECISION_F32, mem, &b->model, &err), err);
    pith__arena_init(&b->arena, mem);
    b->bos = pith__tokenizer_bos(b->tokenizer);
    b->eos = pith__document_end(b->tokenizer);
    assert_ok(pith__retention_read(s, b->tokenizer, b->model.config.context, &b->arena, &b->lists,
                                   &b->n_lists, &err),
              err);
}

static void bench_close(bench *b)
{
    pith__arena_deinit(&b->arena);
    pith__model_deinit(&b->model);
    pith__tokenizer_free(b->tokenizer);
    pith__gguf_deinit(&b->gguf);
    pith__file_close(&b->file);
}

enum { ROWS = 512, WIDTH = 64 };

/* One sequence, put together piece by piece, and read in one pass. */
typedef struct script {
    uint32_t ids[ROWS];
    float rows[ROWS][WIDTH];
    uint32_t targets[ROWS];
    size_t count;
    pith__kv kv; /* what stands before it */
    size_t position;
} script;

static script paper;

static script *blank(const bench *b)
{
    memset(&paper, 0, sizeof paper);
    pith__kv_init(&paper.kv, &b->model, mem);
    return &paper;
}

static void add_ids(script *s, const uint32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        s->ids[s->count] = ids[i];
        s->targets[s->count++] = PITH__NO_TARGET;
    }
}

static void add_rows(script *s, const float *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        memcpy(s->rows[s->count], rows + i * WIDTH, sizeof s->rows[0]);
        s->ids[s->count] = PITH__NO_ID;
        s->targets[s->count++] = PITH__NO_TARGET;
    }
}

/* Every row from the last one on predicts one of the ids. */
static void add_targets(script *s, const uint32_t *ids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        s->targets[s->count - 1] = ids[i];
        add_ids(s, &ids[i], 1);
    }
}

/* Mean nats of the targets. */
static double read_script(bench *b, script *s)
{
    float nll[ROWS];
    double sum = 0.0;
    double count = 0.0;
    const pith__tensor_ctx ctx = {1, &b->arena};
    const pith__sequence sequence = {.ids = s->ids,
                                     .count = s->count,
                                     .position = s->position,
                                     .kv = &s->kv,
                                     .embeddings = &s->rows[0][0]};
    const pith__forward_outputs outputs = {.targets = s->targets, .nll = nll};
    assert_ok(pith__model_forward(&b->model, &ctx, &sequence, 1, &outputs, &err), err);
    for (size_t i = 0; i < s->count; i++) {
        if (s->targets[i] != PITH__NO_TARGET) {
            sum += (double)nll[i];
            count += 1.0;
        }
    }
    pith__kv_deinit(&s->kv);
    return sum / count;
}

/* What stands behind the memory. */
static double finish(bench *b, script *s, const pith__retention_list *list, size_t i)
{
    const pith__retention_text *text = &list->items[i];
    if (list->task == PITH__TASK_REPEAT) {
        add_ids(s, &b->bos, 1);
        add_targets(s, text->source.ids, text->source.count);
    } else {
        add_ids(s, text->prompt, text->n_prompt);
        add_targets(s, text->answer, text->n_answer);
    }
    return read_script(b, s);
}

/* After words, with BOS before them; without words a question has BOS all the same. */
static double after_words(bench *b, const pith__retention_list *list, size_t i, const uint32_t *ids,
                          size_t count)
{
    script *s = blank(b);
    if (count > 0 || list->task == PITH__TASK_ANSWER) {
        add_ids(s, &b->bos, 1);
    }
    add_ids(s, ids, count);
    return finish(b, s, list, i);
}

/* After a capsule. */
static double after_capsule(bench *b, const pith__retention_list *list, size_t i,
                            const pith__capsule *c)
{
    script *s = blank(b);
    if (c->bos) {
        add_ids(s, &b->bos, 1);
    }
    if (c->kind == PITH__CAPSULE_EMBEDDINGS) {
        add_rows(s, c->embeddings, c->slots);
    } else {
        assert_false(c->bos);
        assert_ok(
            pith__kv_append(&s->kv, &b->model, c->keys, c->values, c->positions, c->slots, &err),
            err);
        s->position = c->advance;
    }
    return finish(b, s, list, i);
}

typedef struct mean {
    double values[16];
    size_t count;
} mean;

static void add(mean *m, double value)
{
    m->values[m->count++] = value;
}

static double mean_of(const mean *m)
{
    double sum = 0.0;
    for (size_t i = 0; i < m->count; i++) {
        sum += m->values[i];
    }
    return sum / (double)m->count;
}

static double error_of(const mean *m)
{
    double squares = 0.0;
    for (size_t i = 0; i < m->count; i++) {
        squares += (m->values[i] - mean_of(m)) * (m->values[i] - mean_of(m));
    }
    return sqrt(squares / (double)(m->count - 1) / (double)m->count);
}

static void check_nll(const pith__retained *row, const mean *m)
{
    assert_int_equal(row->count, m->count);
    if (!(fabs(row->nll - mean_of(m)) < 2e-5) || !(fabs(row->nll_error - error_of(m)) < 2e-5)) {
        fail_msg("way %s: %f +- %f, not %f +- %f", pith__retention_way_name(row->way), row->nll,
                 row->nll_error, mean_of(m), error_of(m));
    }
}

/* A capsule of a text by the program's own way to make it: pith_compressor. */
static pith__capsule *capsule_of(const bench *b, int method, const pith__retention_text *text,
                                 const pith__retention_text *asked, uint32_t slots)
{
    compressor_fixture f;
    compressor_open(&f, (pith__compressor_method)method, NULL);
    const bool is_asked = asked != NULL && method == PITH__COMPRESSOR_SELFCP;
    const pith__compress_input input = {
        .compressor = &f.compressor->compressor,
        .encoder = method == PITH__COMPRESSOR_SELFCP ? &f.model->weights : &f.compressor->encoder,
        .threads = 1,
        .query = is_asked ? asked->prompt : NULL,
        .n_query = is_asked ? asked->n_prompt : 0,
        .ids = text->source.ids,
        .count = text->source.count,
        .slots = slots,
        .padding = b->eos};
    pith__capsule *capsule = NULL;
    assert_ok(pith__compress(&input, mem, &capsule, &err), err);
    compressor_close(&f);
    return capsule;
}

/* ---- texts to repeat ------------------------------------------------------------------------------- */

static void words_are_read_instead(void **state)
{
    (void)state;
    static const pith__retention_way ways[] = {PITH__WAY_FULL, PITH__WAY_NONE, PITH__WAY_TRUNCATED,
                                               PITH__WAY_LAST};
    static const uint32_t slots[] = {LENGTH, 0, SLOTS, SLOTS};
    pith__retention_settings s = of_texts();
    bench b;
    bench_open(&b, &s);
    for (size_t k = 0; k < 4; k++) {
        s.ways[ways[k]] = true;
    }
    table t = run(&s);
    assert_int_equal(t.count, 4);
    assert_int_equal(b.n_lists, 1);
    for (size_t k = 0; k < 4; k++) {
        const pith__retained *row = &t.rows[k];
        mean nll = {.count = 0};
        mean bytes = {.count = 0};
        for (size_t i = 0; i < TEXTS; i++) {
            const pith__wording *all = &b.lists->items[i].source;
            const size_t first = ways[k] == PITH__WAY_LAST ? all->count - SLOTS : 0;
            const pith__wording words = pith__wording_part(*all, first, slots[k]);
            assert_int_equal(all->count, LENGTH);
            add(&nll, after_words(&b, b.lists, i, words.ids, words.count));
            add(&bytes, (double)pith__wording_text(words).size);
        }
        assert_int_equal(row->way, ways[k]);
        assert_int_equal(row->task, PITH__TASK_REPEAT);
        assert_int_equal(row->length, LENGTH);
        assert_int_equal(row->slots, slots[k]);
        assert_int_equal(row->without, UINT32_MAX);
        assert_true(row->compressor == SIZE_MAX && row->method[0] == '\0');
        assert_true(fabs(row->source_tokens - LENGTH) < 1e-12);
        assert_true(fabs(row->stored_bytes - mean_of(&bytes)) < 1e-9);
        assert_true(isnan(row->rouge_l) && isnan(row->bleu) && isnan(row->exact) && isnan(row->f1));
        check_nll(row, &nll);
    }
    close_table(&t);
    bench_close(&b);
}

static void means_are_read_instead(void **state)
{
    (void)state;
    static const pith__pool pools[] = {PITH__POOL_HIDDEN, PITH__POOL_EMBEDDINGS};
    pith__retention_settings s = of_texts();
    bench b;
    bench_open(&b, &s);
    s.ways[PITH__WAY_MEAN_KV] = s.ways[PITH__WAY_MEAN_HIDDEN] = true;
    s.ways[PITH__WAY_MEAN_EMBEDDINGS] = true;
    table t = run(&s);
    assert_int_equal(t.count, 3);
    /* BOS comes first: keys and values have no part in a pass of one piece */
    for (size_t k = 0; k < 2; k++) {
        mean nll = {.count = 0};
        for (size_t i = 0; i < TEXTS; i++) {
            const pith__wording *words = &b.lists->items[i].source;
            pith__capsule *capsule = NULL;
            assert_ok(pith__compress_mean(&b.model, 1, pools[k], b.bos, words->ids, words->count,
                                          SLOTS, mem, &capsule, &err),
                      err);
            add(&nll, after_capsule(&b, b.lists, i, capsule));
            pith__capsule_free(capsule);
        }
        check_nll(&t.rows[1 + k], &nll);
    }
    const double kv_numbers =
        2.0 * b.model.config.layers * SLOTS * b.model.config.kv_heads * b.model.config.head_dim;
    assert_int_equal(t.rows[0].way, PITH__WAY_MEAN_KV);
    assert_true(isfinite(t.rows[0].nll) && fabs(t.rows[0].stored_bytes - 2.0 * kv_numbers) < 1e-9);
    assert_true(fabs(t.rows[1].stored_bytes - 2.0 * SLOTS * WIDTH) < 1e-9);
    close_table(&t);
    bench_close(&b);
}

static void memories_are_read_instead(void **state)
{
    (void)state;
    pith__retention_settings s = of_texts();
    bench b;
    bench_open(&b, &s);
    s.compressors = w.paths;
    s.n_compressors = 3;
    s.ways[PITH__WAY_COMPRESSOR] = s.ways[PITH__WAY_SHUFFLED] = true;
    table t = run(&s);
    assert_int_equal(t.count, 6);
    for (size_t k = 0; k < 6; k++) {
        const int method = (int)(k % 3);
        const size_t shift = k < 3 ? 0 : 1;
        mean nll = {.count = 0};
        for (size_t i = 0; i < TEXTS; i++) {
            pith__capsule *capsule =
                capsule_of(&b, method, &b.lists->items[(i + shift) % TEXTS], NULL, SLOTS);
            add(&nll, after_capsule(&b, b.lists, i, capsule));
            pith__capsule_free(capsule);
        }
        assert_int_equal(t.rows[k].way, k < 3 ? PITH__WAY_COMPRESSOR : PITH__WAY_SHUFFLED);
        assert_int_equal(t.rows[k].compressor, method);
        assert_string_equal(t.rows[k].method,
                            pith__compressor_method_name((pith__compressor_method)method));
        assert_int_equal(t.rows[k].slots, SLOTS);
        check_nll(&t.rows[k], &nll);
    }
    close_table(&t);
    bench_close(&b);
}

/* ---- slots left out ---------------------------------------------------------------------------------- */

/* Slot 0 or 1 of two: keys and values of the other one alone, its embedding twice. */
static double without(bench *b, size_t i, pith__capsule *c, uint32_t slot)
{
    const size_t other = 1 - slot;
    if (c->kind == PITH__CAPSULE_EMBEDDINGS) {
        memcpy(c->embeddings + (size_t)slot * WIDTH, c->embeddings + other * WIDTH,
               WIDTH * sizeof *c->embeddings);
        return after_capsule(b, b->lists, i, c);
    }
    const size_t width = c->width * sizeof *c->keys;
    for (size_t layer = 0; layer < c->layers; layer++) { /* layers of one slot lie closer */
        memmove(c->keys + layer * c->width, c->keys + (2 * layer + other) * c->width, width);
        memmove(c->values + layer * c->width, c->values + (2 * layer + other) * c->width, width);
    }
    c->positions[0] = c->positions[other];
    c->slots = 1;
    const double nll = after_capsule(b, b->lists, i, c);
    c->slots = 2; /* as it was made */
    return nll;
}

static void slots_are_left_out(void **state)
{
    (void)state;
    pith__retention_settings s = of_texts();
    bench b;
    bench_open(&b, &s);
    w.slots[0] = 2;
    s.compressors = w.paths;
    s.n_compressors = 3;
    s.ablates = s.generates = true;
    s.ways[PITH__WAY_COMPRESSOR] = s.ways[PITH__WAY_MEAN_HIDDEN] = true;
    table t = run(&s);
    assert_int_equal(t.count, 1 + 3 * 3);
    for (size_t k = 1; k < t.count; k++) {
        const uint32_t slot = k % 3 == 1 ? UINT32_MAX : (uint32_t)((k + 1) % 3);
        mean nll = {.count = 0};
        assert_int_equal(t.rows[k].without, slot);
        assert_true(isnan(t.rows[k].rouge_l) == (slot != UINT32_MAX));
        for (size_t i = 0; i < TEXTS && slot != UINT32_MAX; i++) {
            pith__capsule *c = capsule_of(&b, (int)((k - 1) / 3), &b.lists->items[i], NULL, 2);
            add(&nll, without(&b, i, c, slot));
            pith__capsule_free(c);
        }
        if (slot != UINT32_MAX) {
            check_nll(&t.rows[k], &nll);
        }
    }
    close_table(&t);
    w.slots[0] = 1; /* nothing would be left */
    t = run(&s);
    assert_int_equal(t.count, 1 + 3);
    close_table(&t);
    w.slots[0] = SLOTS;
    bench_close(&b);
}

/* ---- questions ----------------------------------------------------------------------------------------- */

static void questions_are_answered(void **state)
{
    (void)state;
    w.lengths[0] = 24;
    pith__retention_settings s = of_questions();
    s.compressors = w.paths;
    s.n_compressors = 3;
    for (int i = 0; i < PITH__WAYS; i++) {
        s.ways[i] = i == PITH__WAY_FULL || i == PITH__WAY_NONE || i == PITH__WAY_GIVEN ||
                    i >= PITH__WAY_COMPRESSOR;
    }
    bench b;
    s.format = LEARNED;
    bench_open(&b, &s);
    s.format = NULL; /* questions are put as the compressors learned them */
    table t = run(&s);
    assert_int_equal(t.count, 3 + 6);
    assert_int_equal(b.n_lists, 1);
    const pith__retention_list *list = b.lists;
    for (size_t k = 0; k < t.count; k++) {
        const int method = (int)(k % 3);
        mean nll = {.count = 0};
        assert_int_equal(t.rows[k].task, PITH__TASK_ANSWER);
        assert_int_equal(t.rows[k].length, 24);
        for (size_t i = 0; i < QUESTIONS; i++) {
            const pith__retention_text *text = &list->items[i];
            if (k >= 3) {
                const size_t other = k < 6 ? i : (i + 1) % QUESTIONS;
                pith__capsule *c = capsule_of(&b, method, &list->items[other], text, SLOTS);
                add(&nll, after_capsule(&b, list, i, c));
                pith__capsule_free(c);
                continue;
            }
            const pith__wording words = k == 0   ? text->source
                                        : k == 1 ? pith__wording_part(text->source, 0, 0)
                                                 : text->shorter[0];
            add(&nll, after_words(&b, list, i, words.ids, words.count));
        }
        check_nll(&t.rows[k], &nll);
    }
    assert_true(list->items[0].shorter[0].count == SLOTS && list->items[2].shorter[0].count == 0);
    close_table(&t);
    w.lengths[0] = LENGTH;
    bench_close(&b);
}

static void questions_are_put_as_they_were_learned(void **state)
{
    (void)state;
    static const char *const formats[] = {LEARNED, "Q: {question}\nA: {answer}.", ""};
    pith__retention_settings s = of_questions();
    const char *own = w.paths[1];
    char other[160];
    w.lengths[0] = 24;
    s.compressors = w.paths;
    s.n_compressors = 2;
    s.ways[PITH__WAY_FULL] = true;
    for (size_t i = 0; i < 3; i++) {
        write_compressor(PITH__COMPRESSOR_ICAE, "other", formats[i]);
        (void)snprintf(other, sizeof other, "%s", folder_path(&w.folder, "other"));
        w.paths[1] = other;
        s.format = NULL;
        assert_int_equal(run_badly(&s), i == 1 ? PITH_E_MISMATCH : PITH_OK);
        if (i == 1) {
            assert_non_null(strstr(err.message, "\"Q: {question}\\nA: {answer}\""));
            assert_non_null(strstr(err.message, "\"Q: {question}\\nA: {answer}.\""));
            assert_non_null(strstr(err.message, other));
        }
        s.format = LEARNED;
        assert_int_equal(run_badly(&s), i == 1 ? PITH_E_MISMATCH : PITH_OK);
        s.format = "{question} {answer}";
        assert_int_equal(run_badly(&s), PITH_E_MISMATCH);
        assert_non_null(strstr(err.message, "\"{question} {answer}\""));
        assert_non_null(strstr(err.message, w.paths[0]));
    }
    s.compressors = w.paths + 1; /* it learned none: any will do */
    s.n_compressors = 1;
    assert_int_equal(run_badly(&s), PITH_OK);
    w.paths[1] = own;
    s = of_texts(); /* nothing is asked */
    s.compressors = w.paths;
    s.n_compressors = 1;
    s.format = "{question} {answer}";
    s.ways[PITH__WAY_FULL] = true;
    assert_int_equal(run_badly(&s), PITH_OK);
    w.lengths[0] = LENGTH;
}

/* The ids of a text by itself. */
static size_t encode(const bench *b, const char *text, uint32_t *ids)
{
    pith__tokens tokens = {0};
    assert_ok(pith__tokenizer_encode(b->tokenizer, text, strlen(text), false, mem, &tokens, &err),
              err);
    const size_t count = tokens.count;
    for (size_t i = 0; i < count; i++) {
        ids[i] = tokens.items[i].id;
    }
    pith__tokens_deinit(&tokens, mem);
    return count;
}

static void a_question_becomes_prompt_and_answer(void **state)
{
    (void)state;
    uint32_t ids[64];
    w.lengths[0] = 24;
    pith__retention_settings s = of_questions();
    bench b;
    bench_open(&b, &s);
    const pith__retention_text *text = &b.lists->items[2];
    size_t count = encode(&b, "\nQuestion: What is gold?\nAnswer: hare", ids);
    assert_int_equal(text->n_prompt + text->n_answer, count + 1);
    assert_memory_equal(text->prompt, ids, text->n_prompt * sizeof *ids);
    assert_memory_equal(text->answer, ids + text->n_prompt, (text->n_answer - 1) * sizeof *ids);
    assert_int_equal(text->answer[text->n_answer - 1], b.eos);
    /* a blank before the answer belongs to it, as it does in training */
    count = encode(&b, "\nQuestion: What is gold?\nAnswer:", ids);
    assert_int_equal(text->n_prompt, count);
    assert_memory_equal(text->prompt, ids, count * sizeof *ids);
    assert_int_equal(text->wanted.size, 4);
    assert_memory_equal(text->wanted.data, "hare", 4);
    assert_int_equal(text->behind.size, 0);
    bench_close(&b);
    /* what stands behind it is learned with it */
    s.format = "Q {question}? {answer}.\nend";
    bench_open(&b, &s);
    text = &b.lists->items[2];
    count = encode(&b, "Q What is gold?? hare.\nend", ids);
    assert_int_equal(text->n_prompt + text->n_answer, count + 1);
    assert_memory_equal(text->answer, ids + text->n_prompt, (text->n_answer - 1) * sizeof *ids);
    assert_int_equal(text->answer[text->n_answer - 1], b.eos);
    assert_int_equal(text->wanted.size, 4);
    assert_true(text->behind.size == 1 && text->behind.data[0] == '.');
    bench_close(&b);
    w.lengths[0] = LENGTH;
}

static bool holds(pith__token_text text, pith__token_text part)
{
    for (size_t i = 0; i + part.size <= text.size; i++) {
        if (memcmp(text.data + i, part.data, part.size) == 0) {
            return true;
        }
    }
    return false;
}

static bool contains(pith__token_text text, const char *part)
{
    return holds(text, (pith__token_text){part, strlen(part)});
}

/* Words 0 .. 99, and a number that does or does not stand among them. */
static void write_contexts(void)
{
    static const int answers[] = {2, 50, 98, 777};
    FILE *file = fopen(folder_path(&w.folder, "questions.jsonl"), "wb");
    assert_non_null(file);
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        (void)fputs("{\"context\": \"", file);
        for (int k = 0; k < 100; k++) {
            (void)fprintf(file, "%sw%d", k == 0 ? "" : " ", k);
        }
        (void)fprintf(file, "\", \"question\": \"?\", \"answer\": \"w%d\"}\n", answers[i]);
    }
    assert_int_equal(fclose(file), 0);
}

static void long_contexts_are_cut_around_the_answer(void **state)
{
    (void)state;
    pith__retention_settings s = of_questions();
    bench b;
    s.texts = 4;
    w.lengths[0] = 30;
    write_contexts();
    bench_open(&b, &s);
    assert_int_equal(b.lists->count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(b.lists->items[i].source.count, 30);
    }
    pith__token_text texts[4];
    for (size_t i = 0; i < 4; i++) {
        texts[i] = pith__wording_text(b.lists->items[i].source);
    }
    assert_true(contains(texts[0], "w0 ") && contains(texts[0], " w2 "));
    assert_true(contains(texts[1], " w49 w50 w51 ") && !contains(texts[1], "w0 "));
    assert_true(contains(texts[2], " w98 w99") && !contains(texts[2], "w50"));
    assert_true(contains(texts[3], "w0 w1 "));
    bench_close(&b);
    w.lengths[0] = LENGTH;
    folder_write(&w.folder, "questions.jsonl", questions, strlen(questions));
}

/* ---- lines to repeat -------------------------------------------------------------------------------------- */

static void lines_are_repeated_too(void **state)
{
    (void)state;
    static const char lines[] =
        "{\"context\": \"the red fox sees the old owl near the lake and eats at night\", "
        "\"shorter\": [\"fox sees\"]}\n"
        "{\"context\": \"a crow and a hare have gone to the hill to see the moon\", \"shorter\": "
        "[\"a crow and a hare have gone\"]}\n";
    folder_write(&w.folder, "questions.jsonl", lines, strlen(lines));
    pith__retention_settings s = of_questions();
    s.generates = true;
    s.ways[PITH__WAY_GIVEN] = true;
    bench b;
    bench_open(&b, &s);
    table t = run(&s);
    assert_int_equal(t.count, 1);
    assert_int_equal(t.rows[0].task, PITH__TASK_REPEAT);
    mean nll = {.count = 0};
    mean exact = {.count = 0};
    mean rouge = {.count = 0};
    for (size_t i = 0; i < 2; i++) {
        const pith__retention_text *text = &b.lists->items[i];
        const pith__token_text got = pith__wording_text(text->shorter[0]);
        const pith__token_text all = pith__wording_text(text->source);
        const pith__text_pair pair = {got.data, got.size, all.data, all.size};
        pith__rouge r;
        size_t right = 0;
        while (right < text->shorter[0].count &&
               text->shorter[0].ids[right] == text->source.ids[right]) {
            right++;
        }
        assert_ok(pith__rouge_l(&pair, false, mem, &r, &err), err);
        add(&rouge, r.f);
        add(&exact, (double)right / LENGTH);
        add(&nll, after_words(&b, b.lists, i, text->shorter[0].ids, text->shorter[0].count));
    }
    check_nll(&t.rows[0], &nll);
    assert_true(exact.values[0] < 0.01 && exact.values[1] > 0.1); /* the second begins the text */
    assert_true(fabs(t.rows[0].exact - mean_of(&exact)) < 1e-12);
    assert_true(fabs(t.rows[0].rouge_l - mean_of(&rouge)) < 1e-12 && mean_of(&rouge) > 0.2);
    close_table(&t);
    bench_close(&b);
    folder_write(&w.folder, "questions.jsonl", questions, strlen(questions));
}

/* ---- what is written ---------------------------------------------------------------------------------------- */

/* The likeliest token after all of a script's rows. */
static uint32_t likeliest(bench *b, const uint32_t *ids, size_t count)
{
    static float logits[RUN_VOCABULARY];
    const pith__tensor_ctx ctx = {1, &b->arena};
    const pith__sequence sequence = {.ids = ids, .count = count};
    const pith__forward_outputs outputs = {.last_logits = logits};
    assert_ok(pith__model_forward(&b->model, &ctx, &sequence, 1, &outputs, &err), err);
    uint32_t best = 0;
    for (uint32_t v = 1; v < b->model.config.vocabulary; v++) {
        best = logits[v] > logits[best] ? v : best;
    }
    return best;
}

/* Up to `most` tokens behind `ids` (count), and their text. */
static size_t write_greedily(bench *b, uint32_t *ids, size_t count, size_t most, char *text)
{
    size_t size = 0;
    size_t written = 0;
    for (; written < most; written++) {
        const char *bytes = NULL;
        size_t length = 0;
        ids[count] = likeliest(b, ids, count);
        if (ids[count] == b->eos) {
            break;
        }
        assert_ok(pith__tokenizer_bytes(b->tokenizer, ids[count++], &bytes, &length, &err), err);
        memcpy(text + size, bytes, length);
        size += length;
    }
    text[size] = '\0';
    return written;
}

static void check_written(const pith__retained *row, const mean *rouge, const mean *bleu,
                          const mean *exact)
{
    assert_true(fabs(row->rouge_l - mean_of(rouge)) < 1e-12);
    assert_true(fabs(row->rouge_l_error - error_of(rouge)) < 1e-12);
    assert_true(fabs(row->bleu - mean_of(bleu)) < 1e-12);
    assert_true(fabs(row->exact - mean_of(exact)) < 1e-12);
}

/* An answer up to what stands behind it; how many there were. */
static size_t cuts;

static void cut_behind(char *written, pith__token_text behind)
{
    char mark[16] = "";
    assert_true(behind.size < sizeof mark);
    memcpy(mark, behind.data, behind.size);
    char *at = behind.size == 0 ? NULL : strstr(written, mark);
    if (at != NULL) {
        *at = '\0';
        cuts++;
    }
}

/* [BOS, words,] lead, and what the model writes then, against what it should. */
static void judge_writing(bench *b, const pith__retention_list *list, const pith__wording *words,
                          size_t i, mean sums[4])
{
    const pith__retention_text *text = &list->items[i];
    const bool repeats = list->task == PITH__TASK_REPEAT;
    uint32_t ids[256];
    char written[2048];
    size_t count = 0;
    if (words->count > 0 || !repeats) {
        ids[count++] = b->bos;
    }
    memcpy(ids + count, words->ids, words->count * sizeof *ids);
    count += words->count;
    memcpy(ids + count, repeats ? &b->bos : text->prompt,
           (repeats ? 1 : text->n_prompt) * sizeof *ids);
    count += repeats ? 1 : text->n_prompt;
    const size_t most = repeats ? text->source.count : ANSWER_TOKENS;
    const size_t n = write_greedily(b, ids, count, most, written);
    if (!repeats) {
        written[strcspn(written, "\n")] = '\0';
        assert_true(n == most || text->behind.size == 0); /* the model goes on */
        cut_behind(written, text->behind);
    }
    const pith__token_text wanted = repeats ? pith__wording_text(text->source) : text->wanted;
    const pith__text_pair pair = {written, strlen(written), wanted.data, wanted.size};
    pith__rouge rouge;
    double bleu = 0.0;
    double f1 = 0.0;
    bool exact = false;
    size_t right = 0;
    while (repeats && right < n && ids[count + right] == text->source.ids[right]) {
        right++;
    }
    assert_ok(pith__rouge_l(&pair, false, mem, &rouge, &err), err);
    assert_ok(pith__bleu(&pair, true, mem, &bleu, &err), err);
    assert_ok(pith__answer_f1(&pair, mem, &f1, &err), err);
    assert_ok(pith__answer_exact(&pair, mem, &exact, &err), err);
    add(&sums[0], rouge.f);
    add(&sums[1], bleu);
    add(&sums[2], repeats ? (double)right / (double)text->source.count : (double)exact);
    add(&sums[3], f1);
}

/* A small model that has learned the animals' text writes their words. Made once. */
static void write_model(char path[512])
{
    run_paths paths;
    (void)snprintf(path, 512, "%s/tiny.gguf", w.folder.path);
    if (!folder_has(&w.folder, "tiny.gguf")) {
        run_write_vocabulary(&w.folder, "animals.txt", "vocabulary.gguf", RUN_VOCABULARY);
        const pith__base_settings s = run_base(&w.folder, 60, "tiny.gguf", NULL, &paths);
        assert_ok(run_train(s, NULL, &err), err);
    }
}

static void check_writing(const char *model, const char *format)
{
    pith__retention_settings s = of_questions();
    s.model = model;
    s.n_sources = 1;
    s.generates = true;
    s.format = format;
    s.ways[PITH__WAY_FULL] = s.ways[PITH__WAY_NONE] = s.ways[PITH__WAY_TRUNCATED] = true;
    bench b;
    bench_open(&b, &s);
    table t = run(&s);
    assert_int_equal(t.count, 6);
    assert_int_equal(b.n_lists, 2);
    double found = 0.0;
    for (size_t k = 0; k < 6; k++) {
        const pith__retention_list *list = &b.lists[k / 3];
        mean sums[4] = {{.count = 0}};
        if (k == 2) { /* what is read is what is written */
            assert_true(fabs(t.rows[k].exact - (double)SLOTS / LENGTH) < 1e-12);
            assert_true(t.rows[k].rouge_l > 0.3 && t.rows[k].bleu > 0.0 && isnan(t.rows[k].f1));
            continue;
        }
        for (size_t i = 0; i < list->count; i++) {
            const pith__wording *all = &list->items[i].source;
            const size_t count = k % 3 == 0 ? all->count : k % 3 == 1 ? 0 : SLOTS;
            const pith__wording words = pith__wording_part(*all, 0, count);
            judge_writing(&b, list, &words, i, sums);
        }
        check_written(&t.rows[k], &sums[0], &sums[1], &sums[2]);
        assert_true(k < 3 ? isnan(t.rows[k].f1) : fabs(t.rows[k].f1 - mean_of(&sums[3])) < 1e-12);
        found += t.rows[k].rouge_l;
    }
    assert_true(found > 0.0); /* words were written that should be */
    close_table(&t);
    bench_close(&b);
}

static void texts_and_answers_are_written(void **state)
{
    (void)state;
    char path[512];
    write_model(path);
    check_writing(path, "{question} {answer}");
    assert_int_equal(cuts, 0);
    check_writing(path, "{question} {answer} far");
    assert_true(cuts > 0);
}

static void answers_end_where_the_format_goes_on(void **state)
{
    (void)state;
    static const struct {
        const char *written, *behind, *open, *ended;
    } cases[] = {{"fox", "", "fox", "fox"},
                 {"", ".", "", ""},
                 {"fox", ".", "fox", "fox"},
                 {"fox", "foxes", "fox", "fox"},
                 {"fox.", ".", "fox", "fox"},
                 {"Mr. Fox.", ".", "Mr", "Mr. Fox"},
                 {"fox <end> and <end>", " <end>", "fox", "fox <end> and"},
                 {"red fox ", " ", "red fox ", "red fox "}};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        const bool ended = i % 2 == 1;
        const pith__token_text written = {cases[i / 2].written, strlen(cases[i / 2].written)};
        const pith__token_text behind = {cases[i / 2].behind, strlen(cases[i / 2].behind)};
        const char *wanted = ended ? cases[i / 2].ended : cases[i / 2].open;
        const pith__token_text got = pith__retention_answer(written, behind, ended);
        assert_int_equal(got.size, strlen(wanted));
        assert_memory_equal(got.data, wanted, got.size);
    }
}

/* ---- which texts, how many rows ------------------------------------------------------------------------------ */

static void texts_are_held_out(void **state)
{
    (void)state;
    pith__retention_settings s = of_texts();
    s.texts = 8;
    bench b;
    bench_open(&b, &s);
    pith__source source;
    assert_ok(pith__source_open(w.documents, 1.0, EVERY, mem, &source, &err), err);
    assert_true(source.n_held_out > 10);
    assert_int_equal(b.lists->count, 8);
    size_t last = 0;
    for (size_t i = 0; i < 8; i++) {
        const pith__token_text text = pith__wording_text(b.lists->items[i].source);
        size_t d = last; /* the files' order, one from each stretch */
        for (; d < source.n_held_out; d++) {
            const pith__document *at = &source.held_out[d];
            const char *data = (const char *)source.file.data + at->start;
            if (holds((pith__token_text){data, at->end - at->start}, text)) {
                break;
            }
        }
        assert_true(d < source.n_held_out);
        last = d + 1;
    }
    pith__source_close(&source);
    /* another seed takes others; the same one the same */
    bench other;
    bench_open(&other, &s);
    assert_memory_equal(b.lists->items[0].source.ids, other.lists->items[0].source.ids,
                        LENGTH * sizeof(uint32_t));
    bench_close(&other);
    s.seed = 6;
    bench_open(&other, &s);
    size_t same = 0;
    for (size_t i = 0; i < 8; i++) {
        same += memcmp(b.lists->items[i].source.ids, other.lists->items[i].source.ids,
                       LENGTH * sizeof(uint32_t)) == 0;
    }
    assert_true(same < 8);
    bench_close(&other);
    bench_close(&b);
}

/* Contexts, each with questions; every second copy of a line has its members in another order. */
static void write_questions(size_t contexts, size_t of_each)
{
    FILE *file = fopen(folder_path(&w.folder, "questions.jsonl"), "wb");
    assert_non_null(file);
    for (size_t i = 0; i < contexts * of_each; i++) {
        const size_t c = i % contexts;
        (void)fprintf(file,
                      i < contexts
                          ? "{\"context\": \"fox %zu\", \"question\": \"%zu\", \"answer\": \"a\"}\n"
                          : "{\"answer\": \"a\", \"context\": \"f\\u006fx %zu\", \"question\": "
                            "\"%zu\"}\n",
                      c, i);
    }
    assert_int_equal(fclose(file), 0);
}

/* All questions of a context are on one side, and training takes no other side than this recipe. */
static void contexts_are_held_out_with_all_their_questions(void **state)
{
    (void)state;
    enum { CONTEXTS = 60, OF_EACH = 3 };
    bool held_out[CONTEXTS] = {false};
    pith__arena arena;
    pith__pair_file ours;
    pith__pair_set theirs;
    write_questions(CONTEXTS, OF_EACH);
    pith__arena_init(&arena, mem);
    assert_ok(pith__pair_lines_open(w.questions, pith__retention_members, PITH__RETENTION_MEMBERS,
                                    4, mem, &ours, &err),
              err);
    assert_int_equal(ours.n_held_out % OF_EACH, 0);
    assert_in_range(ours.n_held_out, OF_EACH * CONTEXTS / 8, OF_EACH * CONTEXTS / 2);
    for (size_t i = 0; i < ours.n_held_out;
         i++) { /* in the file's order: a context's first comes first */
        pith__token_text texts[PITH__RETENTION_MEMBERS];
        assert_ok(pith__pair_texts(&ours, ours.held_out[i], pith__retention_members,
                                   PITH__RETENTION_MEMBERS, &arena, texts, &err),
                  err);
        const size_t c = strtoul(texts[PITH__RETENTION_CONTEXT].data + 4, NULL, 10);
        assert_true(c < CONTEXTS && held_out[c] == (i >= ours.n_held_out / OF_EACH));
        held_out[c] = true;
    }
    const char *paths[] = {w.questions};
    assert_ok(pith__pair_set_open(paths, 1, pith__question_members, PITH__QUESTION_MEMBERS, 4, mem,
                                  &theirs, &err),
              err);
    assert_int_equal(theirs.files->n_held_out, ours.n_held_out);
    assert_memory_equal(theirs.files->held_out, ours.held_out,
                        ours.n_held_out * sizeof *ours.held_out);
    pith__pair_set_close(&theirs);
    pith__pair_file_close(&ours);
    pith__arena_deinit(&arena);
    folder_write(&w.folder, "questions.jsonl", questions, strlen(questions));
}

/* Nothing is trained, so nothing has to be left for it. */
static void all_lines_may_be_held_out(void **state)
{
    (void)state;
    pith__retention_settings s = of_questions();
    s.held_out_every = 1;
    s.ways[PITH__WAY_NONE] = true;
    table t = run(&s);
    assert_int_equal(t.count, 1);
    assert_int_equal(t.rows[0].count, QUESTIONS);
    close_table(&t);
    const char *paths[] = {w.questions};
    pith__pair_set set;
    assert_status(pith__pair_set_open(paths, 1, pith__retention_members, PITH__RETENTION_MEMBERS, 1,
                                      mem, &set, &err),
                  PITH_E_CORRUPT);
    assert_non_null(strstr(err.message, "train on"));
}

static bool count_event(void *user, const pith__train_event *event)
{
    size_t *left = user;
    assert_int_equal(event->kind, PITH__TRAIN_EVALUATION);
    assert_true(event->source != NULL && isfinite(event->loss));
    return --*left > 0;
}

static void rows_are_those_that_can_be_had(void **state)
{
    (void)state;
    pith__retention_settings s = of_texts();
    size_t left = 1000;
    w.lengths[0] = 4;
    w.lengths[1] = 48; /* two windows */
    w.slots[0] = 2;
    w.slots[1] = 4;
    w.slots[2] = 8;
    s.n_lengths = 2;
    s.n_slots = 3;
    s.texts = 2;
    s.compressors = w.paths;
    s.n_compressors = 3;
    s.event = count_event;
    s.event_user = &left;
    for (int i = 0; i < PITH__WAYS; i++) {
        s.ways[i] = true;
    }
    table t = run(&s);
    /* of 4 tokens: two words of FULL and NONE, 2 slots for five ways, compressors and shuffled ones */
    const size_t of_four = 2 + 5 + 3 * 2;
    /* of 48: each of two windows has half: all methods make 2, 4, 8 */
    const size_t of_many = 2 + 5 * 3 + 3 * 3 * 2;
    assert_int_equal(t.count, of_four + of_many);
    assert_int_equal(1000 - left, t.count);
    for (size_t i = 0; i < t.count; i++) {
        assert_true(t.rows[i].way == PITH__WAY_FULL || t.rows[i].slots < t.rows[i].length);
        assert_true(t.rows[i].length == (i < of_four ? 4u : 48u));
        assert_int_equal(t.rows[i].count, 2);
    }
    close_table(&t);
    w.slots[2] = 16; /* more than two windows can have, but for selfcp; and 3 cannot be halved */
    w.slots[1] = 3;
    t = run(&s);
    size_t compressed = 0;
    for (size_t i = 0; i < t.count; i++) {
        compressed += t.rows[i].way == PITH__WAY_COMPRESSOR && t.rows[i].length == 48;
    }
    assert_int_equal(compressed, 3 + 0 + 1);
    close_table(&t);
    left = 3;
    assert_int_equal(run_badly(&s), PITH_E_CANCELLED);
    w.lengths[0] = LENGTH;
    w.slots[0] = SLOTS;
}

/* ---- through pith.h ----------------------------------------------------------------------------------------- */

typedef struct value {
    const char *name, *text;
} value;

static pith_training *training_of(const value *values)
{
    pith_training *training = NULL;
    assert_ok(pith_training_new("retention", NULL, &training, &err), err);
    for (; values->name != NULL; values++) {
        assert_ok(pith_training_set(training, values->name, values->text, &err), err);
    }
    return training;
}

static bool take(void *user, const char *data, size_t size)
{
    return pith__buf_append(user, data, size, NULL) == PITH_OK;
}

/* The table with so many threads. */
static void run_training(const char *threads, pith__buf *out)
{
    const value values[] = {{"data", w.documents},
                            {"questions", w.questions},
                            {"model", w.model},
                            {"compressor", w.compressors[0]},
                            {"compressor", w.compressors[2]},
                            {"length", "12"},
                            {"length", "20"},
                            {"slots", "4"},
                            {"slots", "2"},
                            {"texts", "3"},
                            {"held-out-every", "0"},
                            {"max-tokens", "5"},
                            {"seed", "3"},
                            {"ablate", "true"},
                            {"threads", threads},
                            {NULL, NULL}};
    pith_training *training = training_of(values);
    pith__buf_init(out, mem, SIZE_MAX);
    pith_training_set_write(training, take, out);
    assert_ok(pith_training_run(training, &err), err);
    pith_training_free(training);
}

static const json_t *find_row(const json_t *rows, const char *task, const char *way)
{
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        if (strcmp(json_string_value(json_object_get(row, "task")), task) == 0 &&
            strcmp(json_string_value(json_object_get(row, "way")), way) == 0) {
            return row;
        }
    }
    fail_msg("no row %s %s", task, way);
    return NULL;
}

static void threads_do_not_matter(void **state)
{
    (void)state;
    pith__buf tables[3];
    run_training("1", &tables[0]);
    run_training("2", &tables[1]);
    run_training("5", &tables[2]);
    assert_string_equal(tables[0].data, tables[1].data);
    assert_string_equal(tables[0].data, tables[2].data);
    json_error_t problem;
    json_t *root = json_loads(tables[0].data, 0, &problem);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "model")), w.model);
    const json_t *rows = json_object_get(root, "rows");
    /* two lengths and the questions: full, none; five ways without a compressor and two with, two
     * numbers each; ablations of two texts' lengths, 4 + 2 slots, two compressors */
    const size_t plain = 2 + 2 * (5 + 2 * 2);
    assert_int_equal(json_array_size(rows), 3 * plain + (size_t)2 * 2 * (4 + 2));
    const json_t *row = find_row(rows, "answer", "compressor");
    assert_string_equal(json_string_value(json_object_get(row, "method")), "500x");
    assert_string_equal(json_string_value(json_object_get(row, "compressor")), w.compressors[0]);
    assert_int_equal(json_integer_value(json_object_get(row, "count")), 3);
    assert_true(json_is_null(json_object_get(row, "without")));
    assert_true(json_is_number(json_object_get(row, "f1")));
    row = find_row(rows, "repeat", "full");
    assert_true(json_is_null(json_object_get(row, "f1")));
    assert_true(json_is_null(json_object_get(row, "retention")));
    assert_true(json_is_null(json_object_get(row, "method")));
    assert_true(json_is_number(json_object_get(row, "rouge_l_error")));
    json_decref(root);
    for (size_t i = 0; i < 3; i++) {
        pith__buf_deinit(&tables[i]);
    }
}

/* Whatever the trained model answers after the context is 100 %. */
static void retention_is_a_share_of_full(void **state)
{
    (void)state;
    char path[512];
    static const char lines[] =
        "{\"context\": \"fox and owl\", \"question\": \"fox\", \"answer\": \"and fox sees bear "
        "eats "
        "wolf has crow far hare near mole old newt new red moon blue lake grey hill gold tree\"}\n";
    write_model(path);
    folder_write(&w.folder, "questions.jsonl", lines, strlen(lines));
    const char *table_path = folder_path(&w.folder, "table.json");
    const value values[] = {{"questions", w.questions},
                            {"model", path},
                            {"held-out-every", "0"},
                            {"way", "full"},
                            {"way", "none"},
                            {"way", "truncated"},
                            {"slots", "2"},
                            {"template", "{question} {answer}"},
                            {"output", table_path},
                            {NULL, NULL}};
    pith_training *training = training_of(values);
    assert_ok(pith_training_run(training, &err), err);
    pith_training_free(training);
    json_error_t problem;
    json_t *root = json_load_file(table_path, 0, &problem);
    const json_t *rows = json_object_get(root, "rows");
    assert_int_equal(json_array_size(rows), 3);
    const json_t *full = find_row(rows, "answer", "full");
    const double best = json_number_value(json_object_get(full, "f1"));
    assert_true(best > 0.0);
    assert_true(fabs(json_number_value(json_object_get(full, "retention")) - 100.0) < 1e-6);
    const json_t *none = find_row(rows, "answer", "none");
    const double share = 100.0 * json_number_value(json_object_get(none, "f1")) / best;
    assert_true(fabs(json_number_value(json_object_get(none, "retention")) - share) < 1e-6);
    assert_true(json_is_null(json_object_get(none, "f1_error"))); /* of one */
    json_decref(root);
    folder_write(&w.folder, "questions.jsonl", questions, strlen(questions));
}

static void parameters_are_checked(void **state)
{
    (void)state;
    static const char *const bad[][2] = {{"slots", "0"},       {"slots", "4x"},   {"slots", ""},
                                         {"length", "-1"},     {"length", "1e3"}, {"way", "half"},
                                         {"length", "9999999"}};
    const value none[] = {{NULL, NULL}};
    pith_training *training = training_of(none);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_status(pith_training_set(training, bad[i][0], bad[i][1], &err), PITH_E_ARGUMENT);
        assert_non_null(strstr(err.message, bad[i][0]));
    }
    assert_status(pith_training_run(training, &err), PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, "questions"));
    assert_ok(pith_training_set(training, "data", w.documents, &err), err);
    assert_ok(pith_training_set(training, "compressor", w.compressors[0], &err), err);
    assert_ok(pith_training_set(training, "output", w.compressors[0], &err), err);
    assert_status(pith_training_run(training, &err), PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, "compressor"));
    pith_training_free(training);
}

/* ---- what is refused --------------------------------------------------------------------------------------- */

static void settings_are_checked(void **state)
{
    (void)state;
    pith__retention_settings s = of_texts();
    s.ways[PITH__WAY_NONE] = true;
    s.texts = 0;
    assert_int_equal(run_badly(&s), PITH_E_ARGUMENT);
    s = of_texts();
    s.n_lengths = 0;
    assert_int_equal(run_badly(&s), PITH_E_ARGUMENT);
    s = of_texts();
    s.model = NULL;
    assert_int_equal(run_badly(&s), PITH_E_ARGUMENT);
    s = of_texts();
    s.model = w.documents;
    assert_int_equal(run_badly(&s), PITH_E_CORRUPT);
    s = of_texts();
    s.n_sources = 0;
    assert_int_equal(run_badly(&s), PITH_E_ARGUMENT);
    s = of_texts();
    s.held_out_every = 1000000000;
    assert_int_equal(run_badly(&s), PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, "held out"));
    s = of_questions();
    s.format = "{answer} {question}";
    assert_int_equal(run_badly(&s), PITH_E_ARGUMENT);
    s = of_questions();
    s.generates = true;
    s.max_tokens = 0;
    assert_int_equal(run_badly(&s), PITH_E_ARGUMENT);
    s = of_texts();
    w.slots[0] = 0;
    assert_int_equal(run_badly(&s), PITH_E_ARGUMENT);
    w.slots[0] = SLOTS;
    w.lengths[0] = 1024; /* 2 (1024 + 1) tokens: the model sees 2048 */
    assert_int_equal(run_badly(&s), PITH_E_CONTEXT);
    w.lengths[0] = LENGTH;
}

static void compressors_are_checked(void **state)
{
    (void)state;
    pith__retention_settings s = of_texts();
    char path[512];
    s.compressors = w.paths;
    s.n_compressors = 1;
    s.ways[PITH__WAY_COMPRESSOR] = true;
    w.slots[0] = COMPRESSOR_SLOTS + 1;
    assert_int_equal(run_badly(&s), PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, w.paths[0]));
    w.slots[0] = SLOTS;
    write_model(path);
    s.model = path;
    assert_int_equal(run_badly(&s), PITH_E_MISMATCH);
    assert_non_null(strstr(err.message, w.paths[0]));
    s.model = w.model;
    w.paths[0] = w.model;
    assert_int_equal(run_badly(&s), PITH_E_UNSUPPORTED);
    w.paths[0] = "/nowhere";
    assert_int_equal(run_badly(&s), PITH_E_IO);
    w.paths[0] = w.compressors[0];
}

static void lines_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        pith_status status;
        const char *says;
    } bad[] = {
        {"{\"context\": \"a\", \"question\": \"b\"}", PITH_E_CORRUPT, "line 2"},
        {"{\"context\": \"a\", \"answer\": \"b\"}", PITH_E_CORRUPT, "line 2"},
        {"{\"context\": \"\", \"question\": \"a\", \"answer\": \"b\"}", PITH_E_CORRUPT, "empty"},
        {"{\"question\": \"a\", \"answer\": \"b\"}", PITH_E_CORRUPT, "context"},
        {"{\"context\": \"a\", \"question\": \"a\", \"answer\": \"b\"}", PITH_E_CORRUPT, "shorter"},
        {"{\"context\": \"a\", \"question\": \"a\", \"answer\": \"b\", \"shorter\": [\"x\", "
         "\"y\"]}",
         PITH_E_CORRUPT, "array of 1 strings"},
        {"{\"context\": \"a\", \"question\": \"a\", \"answer\": \"b\", \"shorter\": [1]}",
         PITH_E_CORRUPT, "array of 1 strings"},
        {"{\"context\": ", PITH_E_SYNTAX, "line 2"},
    };
    pith__retention_settings s = of_questions();
    s.ways[PITH__WAY_GIVEN] = true;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char file[512];
        (void)snprintf(file, sizeof file,
                       "{\"context\": \"a\", \"question\": \"a\", \"answer\": \"b\", \"shorter\": "
                       "[\"x\"]}\n%s\n",
                       bad[i].line);
        folder_write(&w.folder, "questions.jsonl", file, strlen(file));
        const pith_status status = run_badly(&s);
        if (status != bad[i].status || strstr(err.message, bad[i].says) == NULL) {
            fail_msg("%s: %s: %s", bad[i].line, pith_status_name(status), err.message);
        }
    }
    folder_write(&w.folder, "questions.jsonl", questions, strlen(questions));
}

/* A context so long that question and answer have no room behind it. */
static void questions_must_fit(void **state)
{
    (void)state;
    pith__retention_settings s = of_questions();
    FILE *file = fopen(folder_path(&w.folder, "questions.jsonl"), "wb");
    assert_non_null(file);
    (void)fputs("{\"context\": \"", file);
    for (int k = 0; k < 2100; k++) {
        (void)fputs("1 ", file);
    }
    (void)fputs("\", \"question\": \"a\", \"answer\": \"b\"}\n", file);
    assert_int_equal(fclose(file), 0);
    s.ways[PITH__WAY_NONE] = true;
    w.lengths[0] = 2046;
    assert_int_equal(run_badly(&s), PITH_E_CONTEXT);
    w.lengths[0] = 40;
    assert_int_equal(run_badly(&s), PITH_OK);
    w.lengths[0] = LENGTH;
    folder_write(&w.folder, "questions.jsonl", questions, strlen(questions));
}

static pith_status sweep_body(const pith_allocator *allocator, void *user)
{
    const pith__retention_settings *s = user;
    pith__arena arena;
    pith__retained *rows = NULL;
    size_t count = 0;
    pith__arena_init(&arena, allocator);
    const pith_status status = pith__train_retention(s, allocator, &arena, &rows, &count, &err);
    pith__arena_deinit(&arena);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    static const char line[] = "{\"context\": \"red fox\", \"question\": \"Who?\", \"answer\": "
                               "\"fox\", \"shorter\": [\"fox\"]}\n";
    folder_write(&w.folder, "questions.jsonl", line, strlen(line));
    pith__retention_settings s = of_questions();
    s.threads = 1;
    s.texts = 1;
    s.generates = true;
    s.max_tokens = 1;
    w.slots[0] = 1;
    s.ways[PITH__WAY_GIVEN] = s.ways[PITH__WAY_COMPRESSOR] = true;
    s.compressors = w.paths;
    s.n_compressors = 1;
    test_sweep(sweep_body, &s);
    w.slots[0] = SLOTS;
    folder_write(&w.folder, "questions.jsonl", questions, strlen(questions));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_read_instead),
        cmocka_unit_test(means_are_read_instead),
        cmocka_unit_test(memories_are_read_instead),
        cmocka_unit_test(slots_are_left_out),
        cmocka_unit_test(questions_are_answered),
        cmocka_unit_test(questions_are_put_as_they_were_learned),
        cmocka_unit_test(a_question_becomes_prompt_and_answer),
        cmocka_unit_test(long_contexts_are_cut_around_the_answer),
        cmocka_unit_test(lines_are_repeated_too),
        cmocka_unit_test(texts_and_answers_are_written),
        cmocka_unit_test(answers_end_where_the_format_goes_on),
        cmocka_unit_test(texts_are_held_out),
        cmocka_unit_test(contexts_are_held_out_with_all_their_questions),
        cmocka_unit_test(all_lines_may_be_held_out),
        cmocka_unit_test(rows_are_those_that_can_be_had),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(retention_is_a_share_of_full),
        cmocka_unit_test(parameters_are_checked),
        cmocka_unit_test(settings_are_checked),
        cmocka_unit_test(compressors_are_checked),
        cmocka_unit_test(lines_are_checked),
        cmocka_unit_test(questions_must_fit),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("retention", tests, set_up, tear_down);
}
