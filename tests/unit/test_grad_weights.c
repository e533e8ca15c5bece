/*
 * test_grad_weights.c: named tensors in one vector: layouts, random weights, copies, adapters.
 */
#include "grad_reference.h"

static void weights_have_names(void **state)
{
    (void)state;
    pith_error err = {0};
    char name[PITH__WEIGHT_NAME_SIZE + 1];
    pith__weights w;
    pith__weights_init(&w, &pith__allocator_default);
    assert_ok(pith__weights_add(&w, "a", PITH__WEIGHT_MATRIX, 3, 7, &err), err);
    assert_ok(pith__weights_add(&w, "b", PITH__WEIGHT_VECTOR, 1, 16, &err), err);
    assert_status(pith__weights_add(&w, "a", PITH__WEIGHT_MATRIX, 3, 7, &err), PITH_E_ARGUMENT);
    memset(name, 'x', sizeof name);
    name[PITH__WEIGHT_NAME_SIZE] = '\0';
    assert_status(pith__weights_add(&w, name, PITH__WEIGHT_MATRIX, 1, 1, &err), PITH_E_ARGUMENT);
    name[PITH__WEIGHT_NAME_SIZE - 1] = '\0';
    assert_ok(pith__weights_add(&w, name, PITH__WEIGHT_MATRIX, 5, 5, &err), err);
    assert_status(pith__weights_add(&w, "huge", PITH__WEIGHT_MATRIX, SIZE_MAX / 2, 4, &err),
                  PITH_E_MEMORY);
    assert_null(w.values);
    assert_int_equal(w.n_items, 3);
    assert_int_equal(w.items[0].at, 0);
    assert_int_equal(w.items[1].at, 32);
    assert_int_equal(w.items[2].at, 48);
    assert_int_equal(w.count, 80);
    assert_ok(pith__weights_allocate(&w, &err), err);
    for (size_t i = 0; i < w.count; i++) {
        assert_true(w.values[i] == 0.0f);
    }
    assert_ptr_equal(pith__weights_find(&w, "b"), &w.items[1]);
    assert_null(pith__weights_find(&w, "c"));
    pith__weights_deinit(&w);
}

static void a_layout_names_every_tensor(void **state)
{
    (void)state;
    problem p;
    for (size_t s = 0; s < SHAPES; s++) {
        const pith__model_config *c = &shapes[s].config;
        problem_open(&p, &shapes[s], 0, 0.0f, 1);
        const pith__weights *w = &p.t.weights;
        assert_int_equal(w->n_items,
                         (shapes[s].tied ? 2u : 3u) + c->layers * (2u + 3 * PITH__BLOCK_MATRICES));
        assert_int_equal(weight_named(w, "token_embd.weight")->kind, PITH__WEIGHT_EMBEDDING);
        assert_int_equal(weight_named(w, "output_norm.weight")->kind, PITH__WEIGHT_VECTOR);
        assert_true((pith__weights_find(w, "output.weight") == NULL) == shapes[s].tied);
        const pith__weight *k = weight_named(w, "blk.0.attn_k.weight");
        assert_int_equal(k->rows, kv_width(c));
        assert_int_equal(k->cols, c->width);
        assert_int_equal(k->kind, PITH__WEIGHT_MATRIX);
        const pith__weight *down = weight_named(w, "blk.0.ffn_down.weight");
        assert_int_equal(down->rows, c->width);
        assert_int_equal(down->cols, c->ff);
        const pith__weight *a = weight_named(w, "blk.0.attn_output.weight.lora_a");
        assert_int_equal(a->rows, PROBLEM_RANK);
        assert_int_equal(a->cols, c->heads * c->head_dim);
        const pith__weight *b = weight_named(w, "blk.0.ffn_gate.weight.lora_b");
        assert_int_equal(b->rows, c->ff);
        assert_int_equal(b->cols, PROBLEM_RANK);
        assert_int_equal(p.lora.rank, PROBLEM_RANK);
        for (size_t i = 0; i < w->n_items; i++) {
            assert_int_equal(w->items[i].at % 16, 0);
        }
        for (size_t m = 0; m < PITH__BLOCK_MATRICES; m++) {
            char name[64];
            (void)snprintf(name, sizeof name, "blk.0.%s.weight",
                           pith__block_matrix_name((pith__block_matrix)m));
            const pith__matrix *matrix =
                pith__block_matrix_of(&p.t.model.layers[0], (pith__block_matrix)m);
            assert_ptr_equal(matrix->f32, w->values + weight_named(w, name)->at);
        }
        problem_close(&p);
    }
}

static double deviation_of(const pith__weights *w, const char *name)
{
    const pith__weight *weight = weight_named(w, name);
    const float *values = w->values + weight->at;
    return sqrt(dot(values, values, weight_count(weight)) / (double)weight_count(weight));
}

static void random_weights_are_as_promised(void **state)
{
    (void)state;
    fixture f;
    trainable t;
    pith_error err = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    const pith__model_config *c = &f.model.config;
    pith__weights_init(&t.weights, &pith__allocator_default);
    assert_ok(pith__grad_layout(c, false, &t.weights, &err), err);
    assert_ok(pith__lora_layout(c, 8, 1u << PITH__MATRIX_DOWN, &t.weights, &err), err);
    trainable_finish(&t, c, 1);
    const size_t bytes = t.weights.count * sizeof(float);
    float *first = malloc(bytes);
    pith__grad_initialise(c, &t.weights, 5);
    pith__lora_initialise(&t.weights, 6);
    memcpy(first, t.weights.values, bytes);
    memset(t.weights.values, 0, bytes);
    pith__grad_initialise(c, &t.weights, 5);
    pith__lora_initialise(&t.weights, 6);
    assert_memory_equal(first, t.weights.values, bytes);
    const double d = (double)c->width;
    const double residual = sqrt(2.0 * (double)c->layers);
    assert_true(fabs(deviation_of(&t.weights, "token_embd.weight") / 0.02 - 1.0) < 0.02);
    assert_true(fabs(deviation_of(&t.weights, "output.weight") / 0.02 - 1.0) < 0.02);
    assert_true(fabs(deviation_of(&t.weights, "blk.1.attn_q.weight") * sqrt(d) - 1.0) < 0.05);
    assert_true(fabs(deviation_of(&t.weights, "blk.0.attn_output.weight") * residual *
                         sqrt((double)c->heads * c->head_dim) -
                     1.0) < 0.05);
    assert_true(
        fabs(deviation_of(&t.weights, "blk.1.ffn_down.weight") * residual * sqrt((double)c->ff) -
             1.0) < 0.05);
    assert_true(
        fabs(deviation_of(&t.weights, "blk.1.ffn_down.weight.lora_a") * sqrt((double)c->ff) - 1.0) <
        0.1);
    assert_true(deviation_of(&t.weights, "blk.1.ffn_down.weight.lora_b") == 0.0);
    assert_true(deviation_of(&t.weights, "blk.0.ffn_norm.weight") == 1.0);
    pith__grad_initialise(c, &t.weights, 6);
    assert_memory_not_equal(first, t.weights.values, bytes);
    free(first);
    trainable_close(&t);
    fixture_close(&f);
}

/* A copy into weights of another shape, of another precision, or without the model's own head. */
static void copies_must_fit(void **state)
{
    (void)state;
    pith_error err = {0};
    fixture f;
    problem p;
    problem_open(&p, &shapes[0], 0, 0.0f, 1);
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    assert_status(pith__grad_copy(&f.model, &p.t.weights, &err), PITH_E_ARGUMENT);
    problem_close(&p);
    fixture_close(&f);

    trainable t;
    pith__model int8;
    fixture_open(&f, "llama_untied", PITH_PRECISION_F32, 1);
    trainable_copy(&t, &f.model, false, 1);
    assert_ok(pith__model_load(&f.gguf, PITH_PRECISION_INT8, &pith__allocator_default, &int8, &err),
              err);
    assert_status(pith__grad_copy(&int8, &t.weights, &err), PITH_E_ARGUMENT);
    pith__model_deinit(&int8);
    trainable_close(&t);
    pith__weights tied;
    pith__weights_init(&tied, &pith__allocator_default);
    assert_ok(pith__grad_layout(&f.model.config, true, &tied, &err), err);
    assert_ok(pith__weights_allocate(&tied, &err), err);
    assert_status(pith__grad_copy(&f.model, &tied, &err), PITH_E_ARGUMENT);
    pith__weights_deinit(&tied);
    fixture_close(&f);
}

/* No adapter, half an adapter, one of another shape. */
static void adapters_must_fit(void **state)
{
    (void)state;
    pith_error err = {0};
    pith__lora lora;
    pith__weights w;
    const pith__model_config *c = &shapes[0].config;
    pith__weights_init(&w, &pith__allocator_default);
    assert_ok(pith__grad_layout(c, true, &w, &err), err);
    assert_ok(
        pith__weights_add(&w, "blk.0.attn_q.weight.lora_a", PITH__WEIGHT_MATRIX, 2, c->width, &err),
        err);
    assert_ok(pith__weights_allocate(&w, &err), err);
    assert_status(pith__lora_of(c, &w, 1.0f, 0.0f, &pith__allocator_default, &lora, &err),
                  PITH_E_ARGUMENT);
    pith__weights_deinit(&w);

    problem p;
    problem_open(&p, &shapes[0], 0, 0.0f, 1);
    assert_status(pith__lora_of(&shapes[1].config, &p.t.weights, 1.0f, 0.0f,
                                &pith__allocator_default, &lora, &err),
                  PITH_E_ARGUMENT);
    problem_close(&p);
}

static pith_status copy_body(const pith_allocator *mem, void *user)
{
    const pith__model *from = user;
    pith__weights weights;
    pith__weights_init(&weights, mem);
    pith_status status = pith__grad_layout(&from->config, true, &weights, NULL);
    if (status == PITH_OK) {
        status = pith__weights_allocate(&weights, NULL);
    }
    if (status == PITH_OK) {
        status = pith__grad_copy(from, &weights, NULL);
    }
    pith__weights_deinit(&weights);
    return status;
}

static void memory_runs_out_copying(void **state)
{
    (void)state;
    fixture f;
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    test_sweep(copy_body, &f.model);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_have_names),
        cmocka_unit_test(a_layout_names_every_tensor),
        cmocka_unit_test(random_weights_are_as_promised),
        cmocka_unit_test(copies_must_fit),
        cmocka_unit_test(adapters_must_fit),
        cmocka_unit_test(memory_runs_out_copying),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
