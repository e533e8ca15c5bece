/*
 * test_lora.c: adapters in files: the layout of llama.cpp, what is refused, and that an adapter
 * does the same whether it is added to the weights or runs beside them.
 *
 * Reference values of an adapter are in tests/golden/train (float64 PyTorch), under the names that
 * the layout has.
 */
#include "golden_json.h"
#include "grad_fixture.h"

#include <unistd.h>

/* The model of the tests: tests/golden/models/llama_gqa.gguf. */
enum { WIDTH = 64, KV = 32, VOCABULARY = 1024, ROWS_MAX = 96 };

/* ---- adapters in memory ------------------------------------------------------------------------ */

typedef struct factor {
    const char *name;
    uint64_t inputs; /* ne[0] */
    uint64_t outputs;
    pith__gguf_type type; /* F32 or F16 */
} factor;

typedef struct description {
    const char *type; /* general.type; "" and NAN: the key is not there */
    const char *adapter_type;
    const char *architecture;
    float alpha;
    const char *base; /* hash */
    bool activated;   /* has invocation tokens */
    float value;      /* NAN: random values, else every one */
    factor factors[6];
} description;

static const description plain = {.type = "adapter",
                                  .adapter_type = "lora",
                                  .architecture = "llama",
                                  .alpha = 8.0f,
                                  .base = "",
                                  .value = NAN,
                                  .factors = {
                                      {"blk.0.attn_q.weight.lora_a", WIDTH, 4, 0},
                                      {"blk.0.attn_q.weight.lora_b", 4, WIDTH, 0},
                                      {"blk.1.attn_v.weight.lora_a", WIDTH, 4, 0},
                                      {"blk.1.attn_v.weight.lora_b", 4, KV, 0},
                                  }};

static bool append(void *user, const char *data, size_t size)
{
    return pith__buf_append(user, data, size, NULL) == PITH_OK;
}

static void add_text(pith__gguf_writer *writer, const char *key, const char *text)
{
    pith_error err = {0};
    if (text[0] != '\0') {
        assert_ok(pith__gguf_writer_add_string(writer, key, text, strlen(text), &err), err);
    }
}

static void add_factor(pith__gguf_writer *writer, const factor *f, float value, uint64_t seed,
                       void *data)
{
    const size_t count = (size_t)(f->inputs * f->outputs);
    pith_error err = {0};
    float *values = calloc(count, sizeof *values);
    assert_non_null(values);
    fill_normal(values, count, 0.2, seed);
    for (size_t i = 0; !isnan(value) && i < count; i++) {
        values[i] = value;
    }
    assert_ok(pith__gguf_quantize(f->type, values, data, count, &err), err);
    free(values);
    assert_ok(
        pith__gguf_writer_add_tensor(writer,
                                     &(pith__gguf_tensor){.name = {f->name, strlen(f->name)},
                                                          .n_dims = 2,
                                                          .dims = {f->inputs, f->outputs, 1, 1},
                                                          .type = f->type,
                                                          .data = data},
                                     &err),
        err);
}

/* The file as bytes; released with pith__buf_deinit(). */
static void describe(const description *d, pith__buf *out)
{
    pith__gguf_writer writer;
    pith_error err = {0};
    void *data[6] = {NULL};
    pith__buf_init(out, &pith__allocator_default, (size_t)1 << 24);
    pith__gguf_writer_init(&writer, &pith__allocator_default);
    add_text(&writer, "general.type", d->type);
    add_text(&writer, "adapter.type", d->adapter_type);
    add_text(&writer, "general.architecture", d->architecture);
    add_text(&writer, PITH__ADAPTER_BASE, d->base);
    if (!isnan(d->alpha)) {
        assert_ok(pith__gguf_writer_add_f32(&writer, "adapter.lora.alpha", d->alpha, &err), err);
    }
    if (d->activated) {
        const int32_t tokens[] = {1, 2};
        assert_ok(
            pith__gguf_writer_add_i32s(&writer, "adapter.alora.invocation_tokens", tokens, 2, &err),
            err);
    }
    for (size_t i = 0; i < 6 && d->factors[i].name != NULL; i++) {
        data[i] = calloc((size_t)(d->factors[i].inputs * d->factors[i].outputs), sizeof(float));
        assert_non_null(data[i]);
        add_factor(&writer, &d->factors[i], d->value, i + 1, data[i]);
    }
    assert_ok(pith__gguf_writer_write(&writer, append, out, &err), err);
    pith__gguf_writer_deinit(&writer);
    for (size_t i = 0; i < 6; i++) {
        free(data[i]);
    }
}

/* Parses an adapter and loads the model with it. */
static pith_status load_with(const pith__gguf *base, const void *data, size_t size,
                             pith_precision precision, const pith_allocator *mem, pith__model *out,
                             pith_error *err)
{
    pith__gguf gguf = {0};
    pith__adapter adapter = {0};
    *out = (pith__model){0};
    pith_status status = pith__gguf_parse(data, size, mem, &gguf, err);
    if (status == PITH_OK) {
        status = pith__adapter_open(&gguf, mem, &adapter, err);
    }
    if (status == PITH_OK) {
        status = pith__model_load_adapted(base, &adapter, precision, mem, out, err);
    }
    pith__adapter_close(&adapter);
    pith__gguf_deinit(&gguf);
    return status;
}

/* ---- adapters that learn ------------------------------------------------------------------------ */

typedef struct learner {
    pith__weights weights;
    pith__lora lora;
} learner;

static void learner_close(learner *l)
{
    pith__lora_deinit(&l->lora);
    pith__weights_deinit(&l->weights);
}

/* All seven matrices of every layer, both factors random. */
static void learner_random(learner *l, const pith__model_config *config, uint32_t rank, float alpha)
{
    pith_error err = {0};
    pith__weights_init(&l->weights, &pith__allocator_default);
    assert_ok(pith__lora_layout(config, rank, (1u << PITH__BLOCK_MATRICES) - 1, &l->weights, &err),
              err);
    assert_ok(pith__weights_allocate(&l->weights, &err), err);
    for (size_t i = 0; i < l->weights.n_items; i++) {
        const pith__weight *weight = &l->weights.items[i];
        fill_normal(l->weights.values + weight->at, weight_count(weight), 0.1, i + 1);
    }
    assert_ok(
        pith__lora_of(config, &l->weights, alpha, 0.0f, &pith__allocator_default, &l->lora, &err),
        err);
}

static pith_status learner_load(learner *l, const pith__gguf *gguf,
                                const pith__model_config *config, const char *sha256,
                                pith_error *err)
{
    float alpha = 0.0f;
    *l = (learner){0};
    pith__weights_init(&l->weights, &pith__allocator_default);
    PITH__TRY(pith__lora_load(gguf, config, sha256, &l->weights, &alpha, err));
    return pith__lora_of(config, &l->weights, alpha, 0.0f, &pith__allocator_default, &l->lora, err);
}

/* ---- files -------------------------------------------------------------------------------------- */

typedef struct scratch {
    char folder[64];
    char path[80];
    pith__file file;
    pith__gguf gguf;
} scratch;

static void scratch_make(scratch *s)
{
    *s = (scratch){0};
    (void)snprintf(s->folder, sizeof s->folder, "/tmp/pith-lora-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    (void)snprintf(s->path, sizeof s->path, "%s/a.gguf", s->folder);
}

static void scratch_read(scratch *s)
{
    pith_error err = {0};
    assert_ok(pith__file_open(s->path, &s->file, &err), err);
    assert_ok(
        pith__gguf_parse(s->file.data, s->file.size, &pith__allocator_default, &s->gguf, &err),
        err);
}

static void scratch_write(const scratch *s, const pith__buf *data)
{
    FILE *file = fopen(s->path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data->data, 1, data->size, file), data->size);
    assert_int_equal(fclose(file), 0);
}

static void scratch_remove(scratch *s)
{
    pith__gguf_deinit(&s->gguf);
    pith__file_close(&s->file);
    (void)unlink(s->path);
    assert_int_equal(rmdir(s->folder), 0); /* and nothing else is in it */
}

/* ---- saving and loading ----------------------------------------------------------------------- */

static void assert_text(const pith__gguf *gguf, const char *key, const char *expected)
{
    pith__gguf_string value = {NULL, 0};
    pith_error err = {0};
    assert_ok(pith__gguf_get_string(gguf, key, &value, &err), err);
    assert_true(pith__gguf_string_equal(value, expected));
}

static void a_file_has_the_layout_of_llama_cpp(void **state)
{
    (void)state;
    fixture f;
    learner l;
    scratch s;
    pith_error err = {0};
    float alpha = 0.0f;
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    learner_random(&l, &f.model.config, 3, 6.0f);
    scratch_make(&s);
    assert_ok(pith__lora_save(&l.lora, &f.model.config, "test", "cafe", s.path, &err), err);
    scratch_read(&s);
    assert_text(&s.gguf, "general.type", "adapter");
    assert_text(&s.gguf, "adapter.type", "lora");
    assert_text(&s.gguf, "general.architecture", "llama");
    assert_text(&s.gguf, "general.name", "test");
    assert_text(&s.gguf, "pith.adapter.base_sha256", "cafe");
    assert_ok(pith__gguf_get_f32(&s.gguf, "adapter.lora.alpha", &alpha, &err), err);
    assert_true(alpha == 6.0f);
    assert_int_equal(s.gguf.n_tensors, 2 * 7 * 2);
    const pith__gguf_tensor *a = pith__gguf_find_tensor(&s.gguf, "blk.1.attn_k.weight.lora_a");
    const pith__gguf_tensor *b = pith__gguf_find_tensor(&s.gguf, "blk.1.attn_k.weight.lora_b");
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(a->dims[0], WIDTH); /* ne = [inputs, rank] */
    assert_int_equal(a->dims[1], 3);
    assert_int_equal(b->dims[0], 3); /* ne = [rank, outputs] */
    assert_int_equal(b->dims[1], KV);
    scratch_remove(&s);
    learner_close(&l);
    fixture_close(&f);
}

static void what_is_saved_is_loaded(void **state)
{
    (void)state;
    fixture f;
    learner saved;
    learner loaded;
    scratch s;
    pith_error err = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    learner_random(&saved, &f.model.config, 5, 2.5f);
    scratch_make(&s);
    assert_ok(pith__lora_save(&saved.lora, &f.model.config, "", NULL, s.path, &err), err);
    scratch_read(&s);
    assert_null(pith__gguf_find(&s.gguf, PITH__ADAPTER_BASE));
    assert_ok(learner_load(&loaded, &s.gguf, &f.model.config, "any", &err), err);
    assert_int_equal(loaded.lora.rank, 5);
    assert_true(loaded.lora.alpha == 2.5f);
    assert_int_equal(loaded.weights.n_items, saved.weights.n_items);
    for (size_t i = 0; i < saved.weights.n_items; i++) {
        const pith__weight *expected = &saved.weights.items[i];
        const pith__weight *got = &loaded.weights.items[i];
        assert_string_equal(got->name, expected->name); /* in the order of pith__lora_layout() */
        assert_int_equal(got->rows, expected->rows);
        assert_int_equal(got->cols, expected->cols);
        assert_memory_equal(loaded.weights.values + got->at, saved.weights.values + expected->at,
                            weight_count(expected) * sizeof(float));
    }
    learner_close(&loaded);
    scratch_remove(&s);
    learner_close(&saved);
    fixture_close(&f);
}

static void a_folder_that_is_not_there(void **state)
{
    (void)state;
    fixture f;
    learner l;
    pith_error err = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    learner_random(&l, &f.model.config, 2, 1.0f);
    assert_status(pith__lora_save(&l.lora, &f.model.config, "", NULL,
                                  "/tmp/pith-no-such-folder/a.gguf", &err),
                  PITH_E_IO);
    assert_non_null(strstr(err.message, "pith-no-such-folder"));
    learner_close(&l);
    fixture_close(&f);
}

/* ---- what it does ------------------------------------------------------------------------------ */

/* An adapter and its losses by an independent implementation. */
static void an_added_adapter_has_the_reference_loss(void **state)
{
    (void)state;
    fixture f;
    pith__file file;
    pith__gguf factors;
    pith__gguf_writer writer;
    pith__buf adapter;
    pith__model adapted;
    pith_error err = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 2);
    json_t *root = golden_load(test_path("golden", "train/train.json"));
    const json_t *part = json_object_get(root, "c_lora");
    assert_ok(pith__file_open(test_path("golden", "train/c_lora.gguf"), &file, &err), err);
    assert_ok(pith__gguf_parse(file.data, file.size, &pith__allocator_default, &factors, &err),
              err);

    pith__buf_init(&adapter, &pith__allocator_default, (size_t)1 << 24);
    pith__gguf_writer_init(&writer, &pith__allocator_default);
    add_text(&writer, "general.type", "adapter");
    add_text(&writer, "adapter.type", "lora");
    add_text(&writer, "general.architecture", "llama");
    const float alpha = (float)json_number_value(json_object_get(part, "alpha"));
    assert_ok(pith__gguf_writer_add_f32(&writer, "adapter.lora.alpha", alpha, &err), err);
    size_t count = 0;
    for (size_t i = 0; i < factors.n_tensors; i++) {
        const pith__gguf_string name = factors.tensors[i].name;
        if (name.size > 4 && memcmp(name.data, "blk.", 4) == 0) {
            assert_ok(pith__gguf_writer_add_tensor(&writer, &factors.tensors[i], &err), err);
            count++;
        }
    }
    assert_int_equal(count, 8);
    assert_ok(pith__gguf_writer_write(&writer, append, &adapter, &err), err);
    assert_ok(load_with(&f.gguf, adapter.data, adapter.size, PITH_PRECISION_F32,
                        &pith__allocator_default, &adapted, &err),
              err);

    const json_t *list = json_object_get(part, "ids");
    const size_t rows = json_array_size(list) - 1;
    uint32_t ids[ROWS_MAX];
    float nll[ROWS_MAX];
    assert_true(rows < ROWS_MAX);
    for (size_t i = 0; i <= rows; i++) {
        ids[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    }
    const pith__sequence sequence = {.ids = ids, .count = rows};
    const pith__forward_outputs outputs = {.targets = ids + 1, .nll = nll};
    const pith__model *const models[] = {&adapted, &f.model};
    const char *const keys[] = {"loss", "loss_without_lora"};
    for (size_t m = 0; m < 2; m++) {
        double sum = 0.0;
        assert_ok(pith__model_forward(models[m], &f.ctx, &sequence, 1, &outputs, &err), err);
        for (size_t i = 0; i < rows; i++) {
            sum += (double)nll[i];
        }
        const double expected = json_number_value(json_object_get(part, keys[m]));
        assert_true(fabs(sum / (double)rows - expected) < 1e-5);
    }
    pith__model_deinit(&adapted);
    pith__gguf_writer_deinit(&writer);
    pith__buf_deinit(&adapter);
    pith__gguf_deinit(&factors);
    pith__file_close(&file);
    json_decref(root);
    fixture_close(&f);
}

static void hidden_of(const pith__model *model, const pith__tensor_ctx *ctx, const uint32_t *ids,
                      const pith__lora *lora, float *out)
{
    pith__pass *pass =
        pass_run(model, ctx, &(pith__pass_input){.rows = ROWS_MAX, .ids = ids, .lora = lora});
    memcpy(out, pith__pass_hidden(pass), (size_t)ROWS_MAX * WIDTH * sizeof *out);
    pith__arena_reset(ctx->arena);
}

static void merged_and_beside_the_weights_are_the_same(void **state)
{
    (void)state;
    static float base[ROWS_MAX * WIDTH];
    static float beside[ROWS_MAX * WIDTH];
    static float merged[ROWS_MAX * WIDTH];
    fixture f;
    trainable t;
    learner l;
    uint32_t ids[ROWS_MAX];
    pith_error err = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 2);
    trainable_copy(&t, &f.model, true, 2);
    learner_random(&l, &f.model.config, 3, 6.0f);
    random_ids(&f, ids, ROWS_MAX, 7);
    hidden_of(&t.model, &t.ctx, ids, NULL, base);
    hidden_of(&t.model, &t.ctx, ids, &l.lora, beside);
    assert_ok(pith__grad_merge(&l.lora, &t.weights, &err), err);
    hidden_of(&t.model, &t.ctx, ids, NULL, merged);
    assert_true(relative_error(beside, base, ROWS_MAX * WIDTH) > 1e-2);
    assert_true(relative_error(merged, beside, ROWS_MAX * WIDTH) < 1e-5);
    /* the other way, to where it was */
    l.lora.alpha = -l.lora.alpha;
    assert_ok(pith__grad_merge(&l.lora, &t.weights, &err), err);
    hidden_of(&t.model, &t.ctx, ids, NULL, merged);
    assert_true(relative_error(merged, base, ROWS_MAX * WIDTH) < 1e-5);
    learner_close(&l);
    trainable_close(&t);
    fixture_close(&f);
}

static void a_merge_needs_its_matrices(void **state)
{
    (void)state;
    fixture f;
    learner l;
    pith_error err = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    learner_random(&l, &f.model.config, 2, 1.0f);
    assert_status(pith__grad_merge(&l.lora, &l.weights, &err), PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, "blk.0.attn_q.weight"));
    learner_close(&l);
    fixture_close(&f);
}

/* Loading adds the adapter before it converts: in either precision, to the bit. */
static void loading_adds_before_converting(void **state)
{
    (void)state;
    fixture f;
    trainable t;
    learner l;
    scratch s;
    pith_error err = {0};
    pith__model f32;
    pith__model i8;
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    trainable_copy(&t, &f.model, true, 1);
    learner_random(&l, &f.model.config, 3, 6.0f);
    scratch_make(&s);
    assert_ok(pith__lora_save(&l.lora, &f.model.config, "", NULL, s.path, &err), err);
    scratch_read(&s);
    assert_ok(pith__grad_merge(&l.lora, &t.weights, &err), err);
    assert_ok(load_with(&f.gguf, s.file.data, s.file.size, PITH_PRECISION_F32,
                        &pith__allocator_default, &f32, &err),
              err);
    assert_ok(load_with(&f.gguf, s.file.data, s.file.size, PITH_PRECISION_INT8,
                        &pith__allocator_default, &i8, &err),
              err);
    assert_int_equal(f32.parameters, f.model.parameters);
    for (size_t layer = 0; layer < f.model.config.layers; layer++) {
        for (pith__block_matrix m = 0; m < PITH__BLOCK_MATRICES; m++) {
            const pith__matrix *expected = pith__block_matrix_of(&t.model.layers[layer], m);
            const pith__matrix *floats = pith__block_matrix_of(&f32.layers[layer], m);
            const pith__matrix *bytes = pith__block_matrix_of(&i8.layers[layer], m);
            const size_t cols = expected->cols;
            assert_memory_equal(floats->f32, expected->f32, expected->rows * cols * sizeof(float));
            for (size_t row = 0; row < expected->rows; row++) {
                int8_t values[4096];
                assert_true(cols <= sizeof values);
                const float scale = pith__tensor_quantize_weights(expected->f32 + row * cols, cols,
                                                                  i8.ops->weight_limit(), values);
                assert_true(bytes->scale[row] == scale);
                assert_memory_equal(bytes->i8 + row * cols, values, cols);
            }
        }
    }
    pith__model_deinit(&f32);
    pith__model_deinit(&i8);
    scratch_remove(&s);
    learner_close(&l);
    trainable_close(&t);
    fixture_close(&f);
}

/* By how much q of layer 0 has changed at one place, with factors of which all values are `value`. */
static double change_of(const fixture *f, const description *d)
{
    pith__buf data;
    pith__model adapted;
    pith_error err = {0};
    describe(d, &data);
    assert_ok(load_with(&f->gguf, data.data, data.size, PITH_PRECISION_F32,
                        &pith__allocator_default, &adapted, &err),
              err);
    const double change =
        (double)adapted.layers[0].q.f32[70] - (double)f->model.layers[0].q.f32[70];
    assert_true(adapted.layers[0].k.f32 == f->model.layers[0].k.f32); /* mapped, not copied */
    pith__model_deinit(&adapted);
    pith__buf_deinit(&data);
    return change;
}

static void alpha_over_rank_is_the_scale(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    description d = plain;
    d.value = 0.5f; /* B A: the rank times 0.25 */
    assert_true(fabs(change_of(&f, &d) - 8.0 / 4.0) < 1e-6);
    d.alpha = 2.0f;
    assert_true(fabs(change_of(&f, &d) - 2.0 / 4.0) < 1e-6);
    d.alpha = 0.0f; /* as in llama.cpp: no scaling */
    assert_true(fabs(change_of(&f, &d) - 1.0) < 1e-6);
    d.alpha = NAN; /* no key */
    assert_true(fabs(change_of(&f, &d) - 1.0) < 1e-6);
    d.alpha = 2.0f;
    for (size_t i = 0; i < 4; i++) {
        d.factors[i].type = PITH__GGUF_TYPE_F16;
    }
    assert_true(fabs(change_of(&f, &d) - 2.0 / 4.0) < 1e-6);
    fixture_close(&f);
}

static void training_takes_no_alpha_for_the_rank(void **state)
{
    (void)state;
    fixture f;
    learner l;
    pith__buf data;
    pith__gguf gguf;
    pith_error err = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    description d = plain;
    d.alpha = NAN;
    describe(&d, &data);
    assert_ok(pith__gguf_parse(data.data, data.size, &pith__allocator_default, &gguf, &err), err);
    assert_ok(learner_load(&l, &gguf, &f.model.config, NULL, &err), err);
    assert_int_equal(l.lora.rank, 4);
    assert_true(l.lora.alpha == 4.0f);
    assert_non_null(l.lora.pairs[PITH__MATRIX_Q].a);
    assert_null(l.lora.pairs[PITH__MATRIX_V].a); /* only layer 1 has one */
    assert_non_null(l.lora.pairs[PITH__BLOCK_MATRICES + PITH__MATRIX_V].a);
    learner_close(&l);
    pith__gguf_deinit(&gguf);
    pith__buf_deinit(&data);
    fixture_close(&f);
}

/* A head of its own can be adapted like any matrix; one that is the embedding cannot. */
static void the_head_can_be_adapted(void **state)
{
    (void)state;
    fixture f;
    pith__buf data;
    pith__model adapted;
    pith_error err = {0};
    description d = plain;
    d.value = 0.5f;
    d.factors[2] = (factor){"output.weight.lora_a", 64, 4, 0};
    d.factors[3] = (factor){"output.weight.lora_b", 4, 0, 0};
    fixture_open(&f, "llama_untied", PITH_PRECISION_F32, 1);
    const size_t width = f.model.config.width;
    const size_t heads = (size_t)f.model.config.heads * f.model.config.head_dim;
    d.factors[0].inputs = d.factors[2].inputs = width;
    d.factors[1].outputs = heads;
    d.factors[3].outputs = f.model.config.vocabulary;
    describe(&d, &data);
    assert_ok(load_with(&f.gguf, data.data, data.size, PITH_PRECISION_F32, &pith__allocator_default,
                        &adapted, &err),
              err);
    assert_true(fabs((double)adapted.head.f32[5] - (double)f.model.head.f32[5] - 2.0) < 1e-6);
    pith__model_deinit(&adapted);
    fixture_close(&f);
    pith__buf_deinit(&data);
}

/* ---- what is refused ---------------------------------------------------------------------------- */

typedef struct refusal {
    const char *says; /* part of the message */
    pith_status status;
    description d;
} refusal;

#define KEYS .type = "adapter", .adapter_type = "lora", .architecture = "llama", .base = ""
#define Q_A                                       \
    {                                             \
        "blk.0.attn_q.weight.lora_a", WIDTH, 4, 0 \
    }
#define Q_B                                       \
    {                                             \
        "blk.0.attn_q.weight.lora_b", 4, WIDTH, 0 \
    }

static const refusal refusals[] = {
    {"general.type is \"model\"",
     PITH_E_UNSUPPORTED,
     {.type = "model", .adapter_type = "lora", .architecture = "llama", .base = ""}},
    {"general.type is \"\"",
     PITH_E_UNSUPPORTED,
     {.type = "", .adapter_type = "lora", .architecture = "llama", .base = ""}},
    {"adapter.type is \"ia3\"",
     PITH_E_UNSUPPORTED,
     {.type = "adapter", .adapter_type = "ia3", .architecture = "llama", .base = ""}},
    {"general.architecture is \"qwen2\"",
     PITH_E_MISMATCH,
     {.type = "adapter", .adapter_type = "lora", .architecture = "qwen2", .base = ""}},
    {"invocation tokens", PITH_E_UNSUPPORTED, {KEYS, .activated = true, .factors = {Q_A, Q_B}}},
    {"adapter.lora.alpha",
     PITH_E_CORRUPT,
     {KEYS, .alpha = INFINITY, .value = NAN, .factors = {Q_A, Q_B}}},
    {"no tensors", PITH_E_CORRUPT, {KEYS}},
    {"blk.0.attn_q.weight.lora_a: the other factor is missing",
     PITH_E_CORRUPT,
     {KEYS, .value = NAN, .factors = {Q_A}}},
    {"blk.0.attn_q.weight.lora_b: the other factor is missing",
     PITH_E_CORRUPT,
     {KEYS, .value = NAN, .factors = {Q_B}}},
    {"blk.0.attn_q.weight.lora_a: the two factors differ in rank",
     PITH_E_CORRUPT,
     {KEYS, .value = NAN, .factors = {{"blk.0.attn_q.weight.lora_a", WIDTH, 5, 0}, Q_B}}},
    {"blk.0.attn_q.weight.lora_a has 63 inputs",
     PITH_E_MISMATCH,
     {KEYS, .value = NAN, .factors = {{"blk.0.attn_q.weight.lora_a", 63, 4, 0}, Q_B}}},
    {"blk.0.attn_q.weight.lora_b has 65 outputs",
     PITH_E_MISMATCH,
     {KEYS, .value = NAN, .factors = {Q_A, {"blk.0.attn_q.weight.lora_b", 4, 65, 0}}}},
    {"blk.2.attn_q.weight.lora_a: this model has no such matrix",
     PITH_E_MISMATCH,
     {KEYS, .value = NAN,
      .factors = {Q_A,
                  Q_B,
                  {"blk.2.attn_q.weight.lora_a", WIDTH, 4, 0},
                  {"blk.2.attn_q.weight.lora_b", 4, WIDTH, 0}}}},
    {"blk.0.attn_norm.weight.lora_a: this model has no such matrix",
     PITH_E_MISMATCH,
     {KEYS, .value = NAN,
      .factors = {{"blk.0.attn_norm.weight.lora_a", WIDTH, 4, 0},
                  {"blk.0.attn_norm.weight.lora_b", 4, 1, 0}}}},
    {"output.weight.lora_a: this model has no such matrix", /* it is tied */
     PITH_E_MISMATCH,
     {KEYS, .value = NAN,
      .factors = {{"output.weight.lora_a", WIDTH, 4, 0},
                  {"output.weight.lora_b", 4, VOCABULARY, 0}}}},
    {"token_embd.weight.lora_a: embeddings",
     PITH_E_UNSUPPORTED,
     {KEYS, .value = NAN,
      .factors = {{"token_embd.weight.lora_a", VOCABULARY, 4, 0},
                  {"token_embd.weight.lora_b", 4, WIDTH, 0}}}},
    {"blk.0.attn_norm.weight: no factor",
     PITH_E_UNSUPPORTED,
     {KEYS, .value = NAN, .factors = {Q_A, Q_B, {"blk.0.attn_norm.weight", WIDTH, 1, 0}}}},
    {"blk.0.attn_q.weight.lora_a: holds what is no finite number",
     PITH_E_CORRUPT,
     {KEYS, .value = INFINITY, .factors = {Q_A, Q_B}}},
    {"no factor of a LoRA adapter",
     PITH_E_UNSUPPORTED,
     {KEYS, .value = NAN, .factors = {Q_A, Q_B, {"lora_a", WIDTH, 1, 0}}}},
};

static void what_does_not_fit_is_refused_by_name(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        pith__buf data;
        pith__gguf gguf;
        pith__model model;
        learner l;
        pith_error err = {0};
        describe(&refusals[i].d, &data);
        pith_status status = load_with(&f.gguf, data.data, data.size, PITH_PRECISION_INT8,
                                       &pith__allocator_default, &model, &err);
        if (status != refusals[i].status || strstr(err.message, refusals[i].says) == NULL) {
            fail_msg("expected \"%s\", got %s: %s", refusals[i].says, pith_status_name(status),
                     err.message);
        }
        pith__model_deinit(&model);
        /* training reads the same files */
        assert_ok(pith__gguf_parse(data.data, data.size, &pith__allocator_default, &gguf, &err),
                  err);
        assert_status(learner_load(&l, &gguf, &f.model.config, NULL, &err), refusals[i].status);
        learner_close(&l);
        pith__gguf_deinit(&gguf);
        pith__buf_deinit(&data);
    }
    fixture_close(&f);
}

static void training_wants_one_rank(void **state)
{
    (void)state;
    fixture f;
    learner l;
    pith__buf data;
    pith__gguf gguf;
    pith__model model;
    pith_error err = {0};
    description d = plain;
    d.factors[2].outputs = 2;
    d.factors[3].inputs = 2;
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    describe(&d, &data);
    assert_ok(pith__gguf_parse(data.data, data.size, &pith__allocator_default, &gguf, &err), err);
    assert_status(learner_load(&l, &gguf, &f.model.config, NULL, &err), PITH_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "blk.1.attn_v.weight has rank 2"));
    learner_close(&l);
    /* using it does not */
    assert_ok(load_with(&f.gguf, data.data, data.size, PITH_PRECISION_INT8,
                        &pith__allocator_default, &model, &err),
              err);
    pith__model_deinit(&model);
    pith__gguf_deinit(&gguf);
    pith__buf_deinit(&data);
    fixture_close(&f);
}

static void an_adapter_of_another_file_is_refused(void **state)
{
    (void)state;
    fixture f;
    learner l;
    pith__buf data;
    pith__gguf gguf;
    pith_error err = {0};
    char hash[PITH__SHA256_SIZE];
    static const char other[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    description d = plain;
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    pith__sha256_of(f.file.data, f.file.size, hash);
    d.base = other;
    describe(&d, &data);
    assert_ok(pith__gguf_parse(data.data, data.size, &pith__allocator_default, &gguf, &err), err);
    assert_status(learner_load(&l, &gguf, &f.model.config, hash, &err), PITH_E_MISMATCH);
    assert_non_null(strstr(err.message, hash));
    assert_non_null(strstr(err.message, other));
    learner_close(&l);
    assert_ok(learner_load(&l, &gguf, &f.model.config, NULL, &err), err);
    learner_close(&l);
    pith__gguf_deinit(&gguf);
    pith__buf_deinit(&data);
    d.base = hash;
    describe(&d, &data);
    assert_ok(pith__gguf_parse(data.data, data.size, &pith__allocator_default, &gguf, &err), err);
    assert_ok(learner_load(&l, &gguf, &f.model.config, hash, &err), err);
    learner_close(&l);
    pith__gguf_deinit(&gguf);
    pith__buf_deinit(&data);
    fixture_close(&f);
}

static void a_file_that_ends_early(void **state)
{
    (void)state;
    fixture f;
    pith__buf data;
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    describe(&plain, &data);
    for (size_t size = 0; size < data.size; size += 1 + size / 16) {
        pith__model model;
        pith_error err = {0};
        unsigned char *cut = malloc(size + 1); /* of this size, so that a sanitizer sees its end */
        assert_non_null(cut);
        memcpy(cut, data.data, size);
        assert_status(load_with(&f.gguf, cut, size, PITH_PRECISION_INT8, &pith__allocator_default,
                                &model, &err),
                      PITH_E_CORRUPT);
        free(cut);
    }
    pith__buf_deinit(&data);
    fixture_close(&f);
}

/* ---- the public way ------------------------------------------------------------------------------ */

static pith_status score_with(const char *lora, size_t struct_size, const pith_allocator *mem,
                              double *sum, pith_error *err)
{
    static const char text[] = "a small text to be scored by a small model";
    pith_model *model = NULL;
    pith_ctx *ctx = NULL;
    pith_scores *scores = NULL;
    const pith_model_options options = {.struct_size = struct_size, .allocator = mem, .lora = lora};
    pith_status status =
        pith_model_open(test_path("golden", "models/llama_gqa.gguf"), &options, &model, err);
    if (status == PITH_OK) {
        status = pith_ctx_new(model, &ctx, err);
    }
    if (status == PITH_OK) {
        status = pith_score(ctx, text, sizeof text - 1, &scores, err);
    }
    size_t count = 0;
    const pith_token_score *tokens = status == PITH_OK ? pith_scores_tokens(scores, &count) : NULL;
    *sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        *sum += isnan(tokens[i].nats) ? 0.0 : (double)tokens[i].nats;
    }
    pith_scores_free(scores);
    pith_ctx_free(ctx);
    pith_model_free(model);
    return status;
}

static void a_model_is_opened_with_an_adapter(void **state)
{
    (void)state;
    scratch s;
    pith__buf data;
    pith_error err = {0};
    double with = 0.0;
    double without = 0.0;
    double old = 0.0;
    description d = plain;
    scratch_make(&s);
    describe(&d, &data);
    scratch_write(&s, &data);
    pith__buf_deinit(&data);
    const size_t size = sizeof(pith_model_options);
    assert_ok(score_with(NULL, size, NULL, &without, &err), err);
    assert_ok(score_with(s.path, size, NULL, &with, &err), err);
    assert_true(fabs(with - without) > 1e-3);
    /* a caller that was built before there was the option */
    assert_ok(score_with(s.path, offsetof(pith_model_options, lora), NULL, &old, &err), err);
    assert_true(old == without);

    assert_status(score_with("/tmp/pith-no-such-file", size, NULL, &with, &err), PITH_E_IO);
    d.base = "an adapter of something else";
    describe(&d, &data);
    scratch_write(&s, &data);
    pith__buf_deinit(&data);
    assert_status(score_with(s.path, size, NULL, &with, &err), PITH_E_MISMATCH);
    d = plain;
    d.type = "model";
    describe(&d, &data);
    scratch_write(&s, &data);
    pith__buf_deinit(&data);
    assert_status(score_with(s.path, size, NULL, &with, &err), PITH_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, s.path));
    scratch_remove(&s);
}

/* ---- memory ------------------------------------------------------------------------------------- */

typedef struct sweep {
    fixture f;
    scratch s;
    pith__buf data;
    pith__gguf gguf;
    learner l;
} sweep;

static pith_status sweep_save(const pith_allocator *mem, void *user)
{
    sweep *w = user;
    pith__lora lora = w->l.lora;
    lora.mem = *mem;
    return pith__lora_save(&lora, &w->f.model.config, "", NULL, w->s.path, NULL);
}

static pith_status sweep_load(const pith_allocator *mem, void *user)
{
    sweep *w = user;
    pith__weights weights;
    float alpha = 0.0f;
    pith__weights_init(&weights, mem);
    const pith_status status =
        pith__lora_load(&w->gguf, &w->f.model.config, NULL, &weights, &alpha, NULL);
    pith__weights_deinit(&weights);
    return status;
}

static pith_status sweep_adapt(const pith_allocator *mem, void *user)
{
    sweep *w = user;
    pith__model model;
    const pith_status status =
        load_with(&w->f.gguf, w->data.data, w->data.size, PITH_PRECISION_INT8, mem, &model, NULL);
    pith__model_deinit(&model);
    return status;
}

static pith_status sweep_open(const pith_allocator *mem, void *user)
{
    sweep *w = user;
    pith_model *model = NULL;
    const pith_model_options options = {
        .struct_size = sizeof options, .allocator = mem, .lora = w->s.path};
    const pith_status status =
        pith_model_open_memory(w->f.file.data, w->f.file.size, &options, &model, NULL);
    pith_model_free(model);
    return status;
}

static void no_memory(void **state)
{
    (void)state;
    sweep w = {0};
    pith_error err = {0};
    fixture_open(&w.f, "llama_gqa", PITH_PRECISION_F32, 1);
    learner_random(&w.l, &w.f.model.config, 2, 1.0f);
    scratch_make(&w.s);
    describe(&plain, &w.data);
    assert_ok(pith__gguf_parse(w.data.data, w.data.size, &pith__allocator_default, &w.gguf, &err),
              err);
    test_sweep(sweep_save, &w);
    test_sweep(sweep_load, &w);
    test_sweep(sweep_adapt, &w);
    test_sweep(sweep_open, &w); /* what was saved */
    pith__gguf_deinit(&w.gguf);
    pith__buf_deinit(&w.data);
    scratch_remove(&w.s);
    learner_close(&w.l);
    fixture_close(&w.f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_has_the_layout_of_llama_cpp),
        cmocka_unit_test(what_is_saved_is_loaded),
        cmocka_unit_test(a_folder_that_is_not_there),
        cmocka_unit_test(an_added_adapter_has_the_reference_loss),
        cmocka_unit_test(merged_and_beside_the_weights_are_the_same),
        cmocka_unit_test(a_merge_needs_its_matrices),
        cmocka_unit_test(loading_adds_before_converting),
        cmocka_unit_test(alpha_over_rank_is_the_scale),
        cmocka_unit_test(training_takes_no_alpha_for_the_rank),
        cmocka_unit_test(the_head_can_be_adapted),
        cmocka_unit_test(what_does_not_fit_is_refused_by_name),
        cmocka_unit_test(training_wants_one_rank),
        cmocka_unit_test(an_adapter_of_another_file_is_refused),
        cmocka_unit_test(a_file_that_ends_early),
        cmocka_unit_test(a_model_is_opened_with_an_adapter),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
