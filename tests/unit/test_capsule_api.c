/*
 * test_capsule_api.c: capsules through pith.h: made, saved, read again, refused.
 */
#include "test.h"

#include "gist_model.h"

#include <unistd.h>

static const char text[] = "The quick brown fox jumps over the lazy dog, and the cat sleeps.";
static const size_t text_size = sizeof text - 1;

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/pith-capsule-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails if something was left behind */
}

/* "<folder>/<name>"; two may be used at once. */
static const char *in_folder(const char *name)
{
    static char paths[2][128];
    static size_t next;
    char *path = paths[next++ % 2];
    (void)snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static pith_model *open_plain(void)
{
    pith_error err = {0};
    pith_model *model = NULL;
    assert_ok(pith_model_open(test_path("golden", "models/llama_gqa.gguf"), NULL, &model, &err),
              err);
    return model;
}

/* ---- GIST ------------------------------------------------------------------------------------ */

static void a_gist_capsule_says_what_it_is(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_error err = {0};
    char sha256[PITH__SHA256_SIZE];
    char model[PITH__SHA256_SIZE];
    size_t tokens = 0;
    pith_capsule *capsule = gist_encode(&f, text);
    const pith_capsule_info info = pith_capsule_describe(capsule);
    pith__sha256_of(text, text_size, sha256);
    pith__sha256_of(f.data.data, f.data.size, model);
    assert_ok(pith_tokenizer_count(pith_model_tokenizer(f.model), text, text_size, &tokens, &err),
              err);
    assert_string_equal(info.method, "gist");
    assert_string_equal(info.kind, "kv");
    assert_int_equal(info.slots, GIST_SLOTS);
    assert_int_equal(info.layers, pith_model_describe(f.model).layers);
    assert_int_equal(info.source_bytes, text_size);
    assert_int_equal(info.source_tokens, tokens);
    assert_string_equal(info.source_sha256, sha256);
    assert_string_equal(info.model_sha256, model);
    assert_int_equal(strlen(info.tokenizer_sha256), 64);
    assert_string_equal(info.adapter_sha256, "");
    assert_string_equal(info.position_mode, "continue");
    assert_false(info.bos);
    assert_true(info.advance > tokens + GIST_SLOTS); /* prefix and BOS besides */
    assert_non_null(strstr(info.record, "With: {input}"));
    assert_ok(pith_capsule_check(capsule, f.model, &err), err);
    pith_capsule_free(capsule);
    gist_set(&f, "slots", "5");
    capsule = gist_encode(&f, text);
    assert_int_equal(pith_capsule_describe(capsule).slots, 5);
    pith_capsule_free(capsule);
    gist_close(&f);
}

static void savings_are_those_of_the_formula(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_capsule *capsule = gist_encode(&f, text);
    const pith_capsule_info info = pith_capsule_describe(capsule);
    const pith_savings s = pith_capsule_savings(capsule, f.model, 10, PITH_CAPSULE_F16);
    /* keys and values of every layer, two bytes a number */
    const uint64_t per_token = (uint64_t)2 * 2 * info.layers * info.width;
    assert_int_equal(s.cache_full, info.source_tokens * per_token);
    assert_int_equal(s.cache_capsule, info.slots * per_token);
    assert_int_equal(s.stored_bytes, info.slots * per_token);
    assert_int_equal(pith_capsule_savings(capsule, f.model, 10, PITH_CAPSULE_F32).stored_bytes,
                     2 * s.stored_bytes);
    assert_true(s.flops_capsule < s.flops_cached && s.flops_cached < s.flops_full);
    pith_capsule_free(capsule);
    gist_close(&f);
}

static void gist_keys_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const gist_keys wrong[] = {{.slots = 0, .token = GIST_TOKEN},
                                      {.slots = 1000000, .token = GIST_TOKEN},
                                      {.slots = 2, .token = 1000000},
                                      {.slots = 2, .row = 5}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        pith__buf data;
        pith_model *model = NULL;
        pith_error err = {0};
        gist_model(&wrong[i], &data);
        assert_status(pith_model_open_memory(data.data, data.size, NULL, &model, &err),
                      PITH_E_CORRUPT);
        assert_non_null(strstr(err.message, "pith.gist."));
        assert_null(model);
        pith__buf_deinit(&data);
    }
}

/* ---- files ------------------------------------------------------------------------------------- */

static void assert_same_capsule(const pith_capsule *a, const pith_capsule *b)
{
    const pith_capsule_info one = pith_capsule_describe(a);
    const pith_capsule_info other = pith_capsule_describe(b);
    assert_string_equal(one.method, other.method);
    assert_string_equal(one.kind, other.kind);
    assert_string_equal(one.source_sha256, other.source_sha256);
    assert_string_equal(one.model_sha256, other.model_sha256);
    assert_string_equal(one.record, other.record);
    assert_int_equal(one.slots, other.slots);
    assert_int_equal(one.advance, other.advance);
    assert_int_equal(one.source_tokens, other.source_tokens);
}

static bool take_text(void *user, const char *data, size_t size)
{
    return pith__buf_append(user, data, size, NULL) == PITH_OK;
}

static void capsules_are_saved_and_read_again(void **state)
{
    (void)state;
    static const pith_capsule_type types[] = {PITH_CAPSULE_F16, PITH_CAPSULE_F32,
                                              PITH_CAPSULE_INT8};
    static const char *const names[] = {"f16", "f32", "int8"};
    gist_fixture f;
    gist_open(&f);
    pith_error err = {0};
    pith_capsule *capsule = gist_encode(&f, text);
    const char *path = in_folder("a.gguf");
    for (size_t i = 0; i < 3; i++) {
        pith_capsule *read = NULL;
        pith__buf description;
        pith__buf_init(&description, &pith__allocator_default, SIZE_MAX);
        assert_ok(pith_capsule_save(capsule, types[i], path, &err), err);
        assert_ok(pith_capsule_open(path, NULL, &read, &err), err);
        assert_same_capsule(capsule, read);
        assert_ok(pith_capsule_check(read, f.model, &err), err);
        assert_ok(pith_inspect(path, false, take_text, &description, &err), err);
        assert_memory_equal(description.data, "capsule, method gist: 3 slots, kv,", 34);
        assert_non_null(strstr(description.data, names[i]));
        pith__buf_deinit(&description);
        pith_capsule_free(read);
    }
    assert_status(pith_capsule_save(capsule, (pith_capsule_type)9, path, &err), PITH_E_ARGUMENT);
    assert_status(pith_capsule_save(capsule, PITH_CAPSULE_F32, "/no/such/folder/x", &err),
                  PITH_E_IO);
    pith_capsule_free(capsule);
    assert_int_equal(unlink(path), 0);
    assert_status(pith_capsule_open(path, NULL, &capsule, &err), PITH_E_IO);
    assert_null(capsule);
    gist_close(&f);
}

/* Any length but the whole, and any byte changed: refused, with a position where there is one. */
static void damaged_files_are_refused(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_error err = {0};
    pith_capsule *capsule = gist_encode(&f, text);
    pith_capsule *read = NULL;
    const char *path = in_folder("b.gguf");
    size_t size = 0;
    assert_ok(pith_capsule_save(capsule, PITH_CAPSULE_F16, path, &err), err);
    pith_capsule_free(capsule);
    char *data = test_read_file(path, &size);
    for (size_t i = 0; i < size; i += 1 + i / 40) {
        assert_status(pith_capsule_open_memory(data, i, NULL, &read, &err), PITH_E_CORRUPT);
        assert_null(read);
    }
    for (size_t i = 0; i < size; i += 13) {
        data[i] = (char)(data[i] ^ 1);
        assert_int_not_equal(pith_capsule_open_memory(data, size, NULL, &read, &err), PITH_OK);
        assert_null(read);
        data[i] = (char)(data[i] ^ 1);
    }
    assert_ok(pith_capsule_open_memory(data, size, NULL, &read, &err), err);
    pith_capsule_free(read);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, (long)size - 100, SEEK_SET), 0);
    assert_int_equal(fwrite("damage", 1, 6, file), 6);
    assert_int_equal(fclose(file), 0);
    pith__buf description;
    pith__buf_init(&description, &pith__allocator_default, SIZE_MAX);
    assert_status(pith_inspect(path, true, take_text, &description, &err), PITH_E_CORRUPT);
    assert_int_equal(description.size, 0);
    pith__buf_deinit(&description);
    assert_status(
        pith_capsule_open(test_path("golden", "models/llama_gqa.gguf"), NULL, &read, &err),
        PITH_E_CORRUPT);
    free(data);
    assert_int_equal(unlink(path), 0);
    gist_close(&f);
}

static void another_model_is_refused_with_both_hashes(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_error err = {0};
    pith_model *other = open_plain();
    pith_capsule *capsule = gist_encode(&f, text);
    const pith_capsule_info info = pith_capsule_describe(capsule);
    assert_status(pith_capsule_check(capsule, other, &err), PITH_E_MISMATCH);
    const char *first = strstr(err.message, info.model_sha256);
    assert_non_null(first);
    assert_int_equal(strspn(strstr(err.message, "this one has ") + 13, "0123456789abcdef"), 64);
    pith_model_free(other);
    pith_capsule_free(capsule);
    gist_close(&f);
}

/* ---- what pith_encode() refuses ---------------------------------------------------------------- */

static void methods_know_their_place(void **state)
{
    (void)state;
    pith_error err = {0};
    pith_model *model = open_plain();
    pith_ctx *ctx = NULL;
    pith_capsule *capsule = NULL;
    pith_result *result = NULL;
    size_t order[1] = {0};
    const pith_part part = {PITH_CONTEXT, text, sizeof text - 1};
    assert_ok(pith_ctx_new(model, &ctx, &err), err);
    assert_status(pith_encode(ctx, text, text_size, &capsule, &err), PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, "method"));
    assert_ok(pith_ctx_set(ctx, "method", "gist", &err), err);
    assert_status(pith_compress(ctx, text, text_size, &result, &err), PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, "pith_encode()"));
    assert_status(pith_rank(ctx, &part, 1, order, NULL, &err), PITH_E_ARGUMENT);
    assert_status(pith_encode(ctx, text, text_size, &capsule, &err), PITH_E_UNSUPPORTED);
    assert_status(pith_encode(ctx, "", 0, &capsule, &err), PITH_E_ARGUMENT);
    assert_status(pith_encode(ctx, "a\xff", 2, &capsule, &err), PITH_E_UTF8);
    assert_int_equal(err.offset, 1);
    assert_null(capsule);
    assert_null(result);
    pith_ctx_free(ctx);
    pith_model_free(model);
}

/* ---- CC ------------------------------------------------------------------------------------------ */

/* What was heard of the two stages. */
typedef struct heard {
    size_t imagined; /* calls */
    size_t encoded;
    const char *stop_at; /* the stage whose first call stops, or NULL */
} heard;

static bool listen(void *user, const char *stage, size_t done, size_t total)
{
    heard *h = user;
    const bool is_imagined = strcmp(stage, "imagine") == 0;
    assert_true(is_imagined || strcmp(stage, "encode") == 0);
    assert_true(done <= total);
    assert_true(!is_imagined || h->encoded == 0);
    h->imagined += is_imagined;
    h->encoded += !is_imagined;
    return h->stop_at == NULL || strcmp(h->stop_at, stage) != 0;
}

/* In either stage, at once. */
static void assert_stops(pith_ctx *ctx, const char *stage)
{
    pith_error err = {0};
    pith_capsule *capsule = NULL;
    heard h = {.stop_at = stage};
    pith_ctx_set_progress(ctx, listen, &h);
    assert_status(pith_encode(ctx, text, text_size, &capsule, &err), PITH_E_CANCELLED);
    assert_null(capsule);
    assert_int_equal(strcmp(stage, "imagine") == 0 ? h.imagined : h.encoded, 1);
}

static void cc_makes_rows_and_can_be_stopped(void **state)
{
    (void)state;
    pith_error err = {0};
    pith_model *model = open_plain();
    pith_ctx *ctx = NULL;
    pith_capsule *capsule = NULL;
    heard all = {0};
    assert_ok(pith_ctx_new(model, &ctx, &err), err);
    static const char *const values[][2] = {
        {"method", "cc"}, {"steps", "2"}, {"slots", "2"}, {"threads", "1"}, {"kl", "reverse"}};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        assert_ok(pith_ctx_set(ctx, values[i][0], values[i][1], &err), err);
    }
    pith_ctx_set_progress(ctx, listen, &all);
    assert_ok(pith_encode(ctx, text, text_size, &capsule, &err), err);
    assert_true(all.imagined > 2 && all.encoded > 2);
    const pith_capsule_info info = pith_capsule_describe(capsule);
    assert_string_equal(info.method, "cc");
    assert_string_equal(info.kind, "embeddings");
    assert_int_equal(info.slots, 2);
    assert_int_equal(info.width, pith_model_describe(model).width);
    assert_true(info.bos);
    assert_non_null(strstr(info.record, "\"kl\": \"reverse\""));
    assert_ok(pith_capsule_check(capsule, model, &err), err);
    const pith_savings s = pith_capsule_savings(capsule, model, 4, PITH_CAPSULE_INT8);
    assert_int_equal(s.stored_bytes, 2 * (info.width + 4));
    pith_capsule_free(capsule);
    assert_stops(ctx, "imagine");
    assert_stops(ctx, "encode");
    pith_ctx_free(ctx);
    pith_model_free(model);
}

static void cc_refuses_a_model_with_an_adapter(void **state)
{
    (void)state;
    const pith_model_options options = {.struct_size = sizeof options,
                                        .lora = PITH_TEST_DATA "/lora.gguf"};
    pith_error err = {0};
    pith_model *model = NULL;
    pith_ctx *ctx = NULL;
    pith_capsule *capsule = NULL;
    assert_ok(pith_model_open(test_path("golden", "models/llama_gqa.gguf"), &options, &model, &err),
              err);
    assert_ok(pith_ctx_new(model, &ctx, &err), err);
    assert_ok(pith_ctx_set(ctx, "method", "cc", &err), err);
    assert_status(pith_encode(ctx, text, text_size, &capsule, &err), PITH_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "adapter"));
    pith_ctx_free(ctx);
    pith_model_free(model);
}

/* ---- threads and memory ---------------------------------------------------------------------------- */

typedef struct checks {
    const pith_capsule *capsule;
    const pith_model *model;
    pith_status status[16];
} checks;

static void check_one(void *user, size_t index, unsigned worker)
{
    checks *c = user;
    (void)worker;
    c->status[index] = pith_capsule_check(c->capsule, c->model, NULL);
}

/* The model's hash is found when it is first wanted, by whoever wants it. */
static void threads_may_ask_at_once(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    pith_model *fresh = NULL;
    pith_error err = {0};
    pith_capsule *capsule = gist_encode(&f, text);
    assert_ok(pith_model_open_memory(f.data.data, f.data.size, NULL, &fresh, &err), err);
    checks c = {.capsule = capsule, .model = fresh};
    pith__parallel(4, 16, check_one, &c);
    for (size_t i = 0; i < 16; i++) {
        assert_int_equal(c.status[i], PITH_OK);
    }
    pith_model_free(fresh);
    pith_capsule_free(capsule);
    gist_close(&f);
}

static pith_status whole_way(const pith_allocator *mem, void *user)
{
    const gist_fixture *f = user;
    const pith_model_options options = {.struct_size = sizeof options, .allocator = mem};
    const char *path = in_folder("c.gguf");
    pith_model *model = NULL;
    pith_ctx *ctx = NULL;
    pith_capsule *capsule = NULL;
    pith_capsule *read = NULL;
    pith_status status = pith_model_open_memory(f->data.data, f->data.size, &options, &model, NULL);
    if (status == PITH_OK) {
        status = pith_ctx_new(model, &ctx, NULL);
    }
    if (status == PITH_OK) {
        status = pith_ctx_set(ctx, "threads", "1", NULL);
    }
    if (status == PITH_OK) {
        status = pith_ctx_set(ctx, "method", "gist", NULL);
    }
    if (status == PITH_OK) {
        status = pith_encode(ctx, text, text_size, &capsule, NULL);
    }
    if (status == PITH_OK) {
        status = pith_capsule_save(capsule, PITH_CAPSULE_INT8, path, NULL);
    }
    if (status == PITH_OK) {
        status = pith_capsule_open(path, mem, &read, NULL);
    }
    (void)unlink(path);
    pith_capsule_free(read);
    pith_capsule_free(capsule);
    pith_ctx_free(ctx);
    pith_model_free(model);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    gist_fixture f;
    gist_open(&f);
    test_sweep(whole_way, &f);
    gist_close(&f);
    pith_capsule_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gist_capsule_says_what_it_is),
        cmocka_unit_test(savings_are_those_of_the_formula),
        cmocka_unit_test(gist_keys_that_do_not_fit_are_refused),
        cmocka_unit_test(capsules_are_saved_and_read_again),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(another_model_is_refused_with_both_hashes),
        cmocka_unit_test(methods_know_their_place),
        cmocka_unit_test(cc_makes_rows_and_can_be_stopped),
        cmocka_unit_test(cc_refuses_a_model_with_an_adapter),
        cmocka_unit_test(threads_may_ask_at_once),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
