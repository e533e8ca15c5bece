/*
 * test_compressor_api.c: compressors through pith.h: opened, described, used, refused; means; texts
 * that are asked for again.
 */
#include "test.h"

#include "compressor_model.h"

#include <math.h>
#include <unistd.h>

static const char text[] = "The quick brown fox jumps over the lazy dog.";
static const char long_text[] =
    "The quick brown fox jumps over the lazy dog, and the cat sleeps on the mat. It was raining "
    "when they came home, and nobody had thought of the windows. The house stood open all day.";

static const char *const names[] = {"500x", "icae", "selfcp"};

static size_t count_tokens(const pith_model *model, const char *of)
{
    pith_error err = {0};
    size_t tokens = 0;
    assert_ok(pith_tokenizer_count(pith_model_tokenizer(model), of, strlen(of), &tokens, &err),
              err);
    return tokens;
}

/* The numbers of a capsule, whatever its kind. */
static size_t numbers_of(const pith_capsule *capsule, const float *out[2])
{
    const pith__capsule *c = capsule->capsule;
    const bool kv = c->kind == PITH__CAPSULE_KV;
    out[0] = kv ? c->keys : c->embeddings;
    out[1] = kv ? c->values : c->embeddings;
    return (kv ? (size_t)c->layers : 1) * c->slots * c->width;
}

static double difference(const pith_capsule *a, const pith_capsule *b)
{
    const float *one[2];
    const float *other[2];
    const size_t count = numbers_of(a, one);
    assert_int_equal(count, numbers_of(b, other));
    double worst = 0.0;
    for (size_t part = 0; part < 2; part++) {
        for (size_t i = 0; i < count; i++) {
            const double off = fabs((double)one[part][i] - (double)other[part][i]);
            worst = off <= worst ? worst : off;
        }
    }
    return worst;
}

/* ---- what they say -------------------------------------------------------------------------------- */

static void a_compressor_says_what_it_is(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        compressor_fixture f;
        compressor_open(&f, (pith__compressor_method)i, NULL);
        const bool is_selfcp = i == PITH__COMPRESSOR_SELFCP;
        const pith_compressor_info info = pith_compressor_describe(f.compressor);
        const uint64_t width = pith_model_describe(f.model).width;
        assert_string_equal(info.method, names[i]);
        assert_string_equal(info.name, "tiny");
        assert_int_equal(info.slots, is_selfcp ? 0 : COMPRESSOR_SLOTS);
        assert_int_equal(info.ratio, is_selfcp ? COMPRESSOR_RATIO : 0);
        assert_int_equal(info.window, COMPRESSOR_WINDOW);
        assert_true(info.elastic);
        assert_int_equal(info.conditional, is_selfcp);
        assert_string_equal(info.layout, "uniform");
        assert_string_equal(info.position_mode, i == 0 ? "continue" : "compact");
        assert_string_equal(info.format, "Q: {question}\nA: {answer}");
        assert_string_equal(info.record, "{\"steps\": 3}");
        if (is_selfcp) { /* connector, norm, two tags */
            assert_int_equal(info.parameters, width * width + 5 * width);
        } else { /* slots, and factors of rank 2 for q (d, d) and v (d / 2, d) of two layers */
            assert_int_equal(info.parameters, COMPRESSOR_SLOTS * width +
                                                  2 * (2 * (2 * width) + 2 * (3 * width / 2)));
        }
        compressor_close(&f);
    }
}

static void assert_source(const pith_capsule_info *info, const compressor_fixture *f,
                          const char *of)
{
    char sha256[PITH__SHA256_SIZE];
    pith__sha256_of(of, strlen(of), sha256);
    assert_int_equal(info->source_bytes, strlen(of));
    assert_int_equal(info->source_tokens, count_tokens(f->model, of));
    assert_string_equal(info->source_sha256, sha256);
    pith__binding binding;
    pith__model_binding(f->model, &binding);
    assert_string_equal(info->model_sha256, binding.model);
    assert_string_equal(info->tokenizer_sha256, binding.tokenizer);
    assert_string_equal(info->adapter_sha256, "");
}

static void a_capsule_says_who_made_it(void **state)
{
    (void)state;
    static const char *const kinds[] = {"kv", "embeddings", "embeddings"};
    for (int i = 0; i < 3; i++) {
        compressor_fixture f;
        pith_error err = {0};
        char expected[128];
        char sha256[PITH__SHA256_SIZE];
        compressor_open(&f, (pith__compressor_method)i, NULL);
        pith_capsule *capsule = compressor_encode(&f, text);
        const pith_capsule_info info = pith_capsule_describe(capsule);
        const size_t tokens = count_tokens(f.model, text);
        assert_true(tokens <= COMPRESSOR_WINDOW);
        assert_string_equal(info.method, names[i]);
        assert_string_equal(info.kind, kinds[i]);
        assert_int_equal(info.slots, i == 2 ? tokens / COMPRESSOR_RATIO : COMPRESSOR_SLOTS);
        assert_int_equal(info.advance, i == 0 ? tokens : info.slots);
        assert_int_equal(info.bos, i == 2);
        assert_source(&info, &f, text);
        (void)snprintf(expected, sizeof expected, "{\"method\": \"%s\", \"pith\": \"%s\", ",
                       names[i], pith_version());
        assert_memory_equal(info.record, expected, strlen(expected));
        pith__sha256_of(f.data.data, f.data.size, sha256);
        assert_non_null(strstr(info.record, sha256));
        assert_non_null(strstr(info.record, "\"compressor\": \"tiny\""));
        assert_non_null(strstr(info.record, "\"segments\": 1"));
        assert_int_equal(strstr(info.record, "\"ratio\": 6") != NULL, i == 2);
        assert_null(strstr(info.record, "query"));
        assert_ok(pith_capsule_check(capsule, f.model, &err), err);
        pith_capsule_free(capsule);
        compressor_close(&f);
    }
}

/* ---- what they do --------------------------------------------------------------------------------- */

/* The adapter's part is in the encoder, and there as training has it. */
static void the_encoder_is_the_model_with_its_adapter(void **state)
{
    (void)state;
    compressor_fixture f;
    pith_error err = {0};
    pith__weights base;
    pith__model merged = {0};
    compressor_open(&f, PITH__COMPRESSOR_500X, NULL);
    const pith__model *model = &f.model->weights;
    pith__weights_init(&base, &pith__allocator_default);
    assert_ok(pith__grad_layout(&model->config, true, &base, &err), err);
    assert_ok(pith__weights_allocate(&base, &err), err);
    assert_ok(pith__grad_copy(model, &base, &err), err);
    assert_ok(pith__grad_merge(&f.compressor->compressor.lora, &base, &err), err);
    assert_ok(pith__grad_model(&model->config, &base, &pith__allocator_default, &merged, &err),
              err);
    uint32_t *ids = NULL;
    pith_capsule expected = {.mem = pith__allocator_default};
    pith__compress_input input = {
        .compressor = &f.compressor->compressor, .encoder = &merged, .threads = 1};
    assert_ok(pith__encode_ids(f.ctx, text, strlen(text), &ids, &input.count, &err), err);
    input.ids = ids;
    assert_ok(pith__compress(&input, &pith__allocator_default, &expected.capsule, &err), err);
    pith_capsule *capsule = compressor_encode(&f, text);
    assert_true(difference(capsule, &expected) < 1e-5);
    pith__capsule_free(expected.capsule);
    input.encoder = model; /* without it the keys are others */
    assert_ok(pith__encode_ids(f.ctx, text, strlen(text), &ids, &input.count, &err), err);
    input.ids = ids;
    assert_ok(pith__compress(&input, &pith__allocator_default, &expected.capsule, &err), err);
    assert_true(difference(capsule, &expected) > 1e-3);
    pith__capsule_free(expected.capsule);
    pith_capsule_free(capsule);
    pith__model_deinit(&merged);
    pith__weights_deinit(&base);
    compressor_close(&f);
}

static void long_texts_become_segments(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        compressor_fixture f;
        char expected[48];
        compressor_open(&f, (pith__compressor_method)i, NULL);
        const size_t tokens = count_tokens(f.model, long_text);
        const size_t segments = (tokens + COMPRESSOR_WINDOW - 1) / COMPRESSOR_WINDOW;
        assert_true(segments > 2);
        pith_capsule *capsule = compressor_encode(&f, long_text);
        const pith_capsule_info info = pith_capsule_describe(capsule);
        assert_source(&info, &f, long_text);
        (void)snprintf(expected, sizeof expected, "\"segments\": %zu", segments);
        assert_non_null(strstr(info.record, expected));
        if (i < 2) {
            assert_int_equal(info.slots, segments * COMPRESSOR_SLOTS);
        } else { /* each segment has its own share, rounded down */
            assert_in_range(info.slots, tokens / COMPRESSOR_RATIO - segments + 1,
                            tokens / COMPRESSOR_RATIO);
        }
        if (i == 0) {
            assert_int_equal(info.advance, tokens);
        }
        pith_capsule_free(capsule);
        compressor_set(&f, "slots", "2");
        capsule = compressor_encode(&f, long_text);
        assert_int_equal(pith_capsule_describe(capsule).slots, segments * 2);
        pith_capsule_free(capsule);
        compressor_close(&f);
    }
}

static void a_ratio_may_be_another_than_in_training(void **state)
{
    (void)state;
    compressor_fixture f;
    compressor_open(&f, PITH__COMPRESSOR_SELFCP, NULL);
    const size_t tokens = count_tokens(f.model, text);
    static const size_t ratios[] = {1, 3, 100};
    for (size_t i = 0; i < 3; i++) {
        char value[32];
        char expected[48];
        (void)snprintf(value, sizeof value, "%zu", ratios[i]);
        (void)snprintf(expected, sizeof expected, "\"ratio\": %zu", ratios[i]);
        compressor_set(&f, "ratio", value);
        pith_capsule *capsule = compressor_encode(&f, text);
        const pith_capsule_info info = pith_capsule_describe(capsule);
        assert_int_equal(info.slots, ratios[i] > tokens ? 1 : tokens / ratios[i]);
        assert_non_null(strstr(info.record, expected));
        pith_capsule_free(capsule);
    }
    assert_int_equal(pith_compressor_describe(f.compressor).ratio, COMPRESSOR_RATIO);
    compressor_close(&f);
}

static void ask_plainly(pith__compressor_about *about)
{
    about->format[0] = '\0';
}

/* A query stands before the text as questions did in training: the blank before an answer is one of
 * its first token, not of the question. */
static void a_query_is_read_before_the_text(void **state)
{
    (void)state;
    compressor_fixture f;
    compressor_fixture plain;
    compressor_open(&f, PITH__COMPRESSOR_SELFCP, NULL);
    compressor_open(&plain, PITH__COMPRESSOR_SELFCP, ask_plainly);
    pith_capsule *none = compressor_encode(&f, text);
    compressor_set(&f, "query", "Who \"jumps\"?");
    compressor_set(&plain, "query", "Q: Who \"jumps\"?\nA:");
    pith_capsule *asked = compressor_encode(&f, text);
    pith_capsule *spelled = compressor_encode(&plain, text);
    assert_true(difference(asked, none) > 1e-4);
    assert_true(difference(asked, spelled) == 0.0);
    assert_non_null(
        strstr(pith_capsule_describe(asked).record, "\"query\": \"Who \\u0022jumps\\u0022?\""));
    compressor_set(&f, "query", "");
    pith_capsule *again = compressor_encode(&f, text);
    assert_true(difference(again, none) == 0.0);
    assert_null(strstr(pith_capsule_describe(again).record, "query"));
    pith_capsule_free(none);
    pith_capsule_free(asked);
    pith_capsule_free(spelled);
    pith_capsule_free(again);
    compressor_close(&plain);
    compressor_close(&f);
}

static void a_query_may_be_long_but_is_text(void **state)
{
    (void)state;
    compressor_fixture f;
    pith_error err = {0};
    char small[PITH_VALUE_SIZE];
    char value[1024];
    compressor_open(&f, PITH__COMPRESSOR_SELFCP, NULL);
    compressor_set(&f, "query", long_text);
    assert_status(pith_ctx_get(f.ctx, "query", small, sizeof small, &err), PITH_E_RANGE);
    assert_string_equal(small, "");
    assert_ok(pith_ctx_get(f.ctx, "query", value, sizeof value, &err), err);
    assert_string_equal(value, long_text);
    pith_capsule_free(compressor_encode(&f, text));
    assert_status(pith_ctx_set(f.ctx, "query", "ab\xff", &err), PITH_E_UTF8);
    assert_int_equal(err.offset, 2);
    assert_ok(pith_ctx_get(f.ctx, "query", value, sizeof value, &err), err);
    assert_string_equal(value, long_text);
    compressor_close(&f);
}

static void pad(pith__compressor_about *about)
{
    about->shape.pads = true;
    about->shape.layout = PITH__SLOTS_END;
    about->shape.mode = PITH__SLOTS_RELEASE;
}

static void a_release_pads_and_stands_elsewhere(void **state)
{
    (void)state;
    compressor_fixture f;
    compressor_open(&f, PITH__COMPRESSOR_500X, pad);
    const pith_compressor_info info = pith_compressor_describe(f.compressor);
    assert_string_equal(info.layout, "end");
    assert_string_equal(info.position_mode, "release");
    pith_capsule *capsule = compressor_encode(&f, text);
    const pith_capsule_info made = pith_capsule_describe(capsule);
    assert_string_equal(made.position_mode, "release");
    assert_int_equal(made.advance, COMPRESSOR_SLOTS);
    assert_int_equal(capsule->capsule->positions[0], COMPRESSOR_WINDOW);
    assert_source(&made, &f, text); /* pads are no tokens of it */
    pith_capsule_free(capsule);
    compressor_close(&f);
}

static void an_int8_model_has_an_int8_encoder(void **state)
{
    (void)state;
    compressor_fixture f;
    pith_error err = {0};
    pith_compressor *compressor = NULL;
    pith_ctx *ctx = NULL;
    compressor_open(&f, PITH__COMPRESSOR_500X, NULL);
    pith_model *model = compressor_open_model(PITH_PRECISION_INT8);
    assert_ok(pith_compressor_open_memory(f.data.data, f.data.size, model, &compressor, &err), err);
    assert_int_equal(compressor->encoder.precision, PITH_PRECISION_INT8);
    assert_ok(pith_ctx_new(model, &ctx, &err), err);
    assert_ok(pith_ctx_set_compressor(ctx, compressor, &err), err);
    pith_capsule *exact = compressor_encode(&f, text);
    pith_capsule *rounded = NULL;
    assert_ok(pith_encode(ctx, text, strlen(text), &rounded, &err), err);
    const double off = difference(exact, rounded);
    assert_true(off > 0.0 && off < 0.5);
    pith_capsule_free(exact);
    pith_capsule_free(rounded);
    pith_ctx_free(ctx);
    pith_compressor_free(compressor);
    pith_model_free(model);
    compressor_close(&f);
}

static void the_context_keeps_it_until_told(void **state)
{
    (void)state;
    compressor_fixture f;
    pith_error err = {0};
    char method[PITH_VALUE_SIZE];
    pith_capsule *capsule = NULL;
    compressor_open(&f, PITH__COMPRESSOR_ICAE, NULL);
    assert_ok(pith_ctx_get(f.ctx, "method", method, sizeof method, &err), err);
    assert_string_equal(method, "icae");
    pith_ctx_reset(f.ctx);
    assert_ok(pith_ctx_get(f.ctx, "method", method, sizeof method, &err), err);
    assert_string_equal(method, "selective");
    compressor_set(&f, "method", "icae");
    pith_capsule_free(compressor_encode(&f, text));
    assert_ok(pith_ctx_set_compressor(f.ctx, NULL, &err), err);
    assert_ok(pith_ctx_get(f.ctx, "method", method, sizeof method, &err), err);
    assert_string_equal(method, "icae");
    assert_status(pith_encode(f.ctx, text, strlen(text), &capsule, &err), PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, "--compressor"));
    assert_null(capsule);
    compressor_close(&f);
}

/* ---- progress ------------------------------------------------------------------------------------- */

typedef struct heard {
    size_t calls;
    size_t last;
    size_t most; /* calls; the next one stops */
} heard;

static bool listen(void *user, const char *stage, size_t done, size_t total)
{
    heard *h = user;
    assert_string_equal(stage, "encode");
    assert_true(done >= h->last && done <= total);
    h->last = done;
    return ++h->calls <= h->most;
}

static void progress_is_in_tokens_and_can_stop(void **state)
{
    (void)state;
    compressor_fixture f;
    pith_error err = {0};
    pith_capsule *capsule = NULL;
    heard all = {.most = SIZE_MAX};
    heard one = {.most = 0};
    compressor_open(&f, PITH__COMPRESSOR_500X, NULL);
    pith_ctx_set_progress(f.ctx, listen, &all);
    pith_capsule_free(compressor_encode(&f, long_text));
    assert_int_equal(all.last, count_tokens(f.model, long_text));
    assert_true(all.calls > 2);
    pith_ctx_set_progress(f.ctx, listen, &one);
    assert_status(pith_encode(f.ctx, text, strlen(text), &capsule, &err), PITH_E_CANCELLED);
    assert_null(capsule);
    assert_int_equal(one.calls, 1);
    compressor_close(&f);
}

/* ---- means ---------------------------------------------------------------------------------------- */

static void means_need_no_training(void **state)
{
    (void)state;
    static const char *const pools[] = {"kv", "hidden", "embeddings"};
    pith_error err = {0};
    pith_model *model = compressor_open_model(PITH_PRECISION_F32);
    const compressor_fixture f = {.model = model};
    pith_ctx *ctx = NULL;
    assert_ok(pith_ctx_new(model, &ctx, &err), err);
    assert_ok(pith_ctx_set(ctx, "method", "mean", &err), err);
    for (size_t i = 0; i < 3; i++) {
        char expected[32];
        pith_capsule *capsule = NULL;
        assert_ok(pith_ctx_set(ctx, "pool", pools[i], &err), err);
        assert_ok(pith_encode(ctx, long_text, strlen(long_text), &capsule, &err), err);
        const pith_capsule_info info = pith_capsule_describe(capsule);
        (void)snprintf(expected, sizeof expected, "\"pool\": \"%s\"", pools[i]);
        assert_string_equal(info.method, "mean");
        assert_string_equal(info.kind, i == 0 ? "kv" : "embeddings");
        assert_int_equal(info.slots, 16);
        assert_true(info.bos);
        assert_non_null(strstr(info.record, expected));
        assert_source(&info, &f, long_text);
        assert_ok(pith_capsule_check(capsule, model, &err), err);
        pith_capsule_free(capsule);
    }
    pith_capsule *capsule = NULL;
    assert_ok(pith_encode(ctx, "fox", 3, &capsule, &err), err); /* no more slots than tokens */
    assert_int_equal(pith_capsule_describe(capsule).slots, count_tokens(model, "fox"));
    pith_capsule_free(capsule);
    pith_ctx_free(ctx);
    pith_model_free(model);
}

/* ---- what is refused ------------------------------------------------------------------------------ */

static void texts_and_parameters_are_checked(void **state)
{
    (void)state;
    compressor_fixture f;
    pith_error err = {0};
    pith_capsule *capsule = NULL;
    pith_result *result = NULL;
    compressor_open(&f, PITH__COMPRESSOR_500X, NULL);
    assert_status(pith_encode(f.ctx, "", 0, &capsule, &err), PITH_E_ARGUMENT);
    assert_status(pith_encode(f.ctx, "good \xc3(", 7, &capsule, &err), PITH_E_UTF8);
    assert_int_equal(err.offset, 5);
    compressor_set(&f, "slots", "5");
    assert_status(pith_encode(f.ctx, text, strlen(text), &capsule, &err), PITH_E_ARGUMENT);
    compressor_set(&f, "slots", "4");
    compressor_set(&f, "query", "Who?");
    assert_status(pith_encode(f.ctx, text, strlen(text), &capsule, &err), PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, "query"));
    compressor_set(&f, "query", "");
    compressor_set(&f, "ratio", "4");
    assert_status(pith_encode(f.ctx, text, strlen(text), &capsule, &err), PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, "ratio"));
    pith_ctx_reset(f.ctx);
    static const char *const others[] = {"icae", "selfcp"};
    for (size_t i = 0; i < 2; i++) {
        compressor_set(&f, "method", others[i]);
        assert_status(pith_encode(f.ctx, text, strlen(text), &capsule, &err), PITH_E_MISMATCH);
        assert_non_null(strstr(err.message, "500x"));
        assert_status(pith_compress(f.ctx, text, strlen(text), &result, &err), PITH_E_ARGUMENT);
        assert_non_null(strstr(err.message, others[i]));
    }
    compressor_set(&f, "method", "mean");
    assert_status(pith_compress(f.ctx, text, strlen(text), &result, &err), PITH_E_ARGUMENT);
    assert_status(pith_ctx_set(f.ctx, "pool", "max", &err), PITH_E_ARGUMENT);
    assert_status(pith_ctx_set(f.ctx, "ratio", "0", &err), PITH_E_RANGE);
    assert_null(capsule);
    assert_null(result);
    compressor_close(&f);
}

/* Where slots stand in the text's places, a text cannot have more of them than the model; as
 * embeddings its slots alone count. */
static void positions_are_those_of_the_model(void **state)
{
    (void)state;
    char many[3 * 2100 + 1];
    for (size_t i = 0; i < 2100; i++) {
        memcpy(many + 3 * i, " a.", 4);
    }
    for (int i = 0; i < 2; i++) {
        compressor_fixture f;
        pith_error err = {0};
        pith_capsule *capsule = NULL;
        compressor_open(&f, (pith__compressor_method)i, NULL);
        assert_true(count_tokens(f.model, many) > pith_model_describe(f.model).context);
        const pith_status status = pith_encode(f.ctx, many, strlen(many), &capsule, &err);
        assert_int_equal(status, i == PITH__COMPRESSOR_500X ? PITH_E_CONTEXT : PITH_OK);
        pith_capsule_free(capsule);
        compressor_close(&f);
    }
}

static void slots_or_a_ratio(void **state)
{
    (void)state;
    compressor_fixture f;
    pith_error err = {0};
    pith_capsule *capsule = NULL;
    compressor_open(&f, PITH__COMPRESSOR_SELFCP, NULL);
    compressor_set(&f, "slots", "2");
    compressor_set(&f, "ratio", "4");
    assert_status(pith_encode(f.ctx, text, strlen(text), &capsule, &err), PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, "slots and ratio"));
    compressor_close(&f);
}

static void other_models_are_refused(void **state)
{
    (void)state;
    compressor_fixture f;
    pith_error err = {0};
    pith_compressor *compressor = NULL;
    pith_ctx *ctx = NULL;
    pith_model *other = NULL;
    pith_model *adapted = NULL;
    pith__binding binding;
    const pith_model_options options = {.struct_size = sizeof options,
                                        .lora = PITH_TEST_DATA "/lora.gguf"};
    compressor_open(&f, PITH__COMPRESSOR_SELFCP, NULL);
    assert_ok(pith_model_open(test_path("golden", "models/llama_untied.gguf"), NULL, &other, &err),
              err);
    assert_status(pith_compressor_open_memory(f.data.data, f.data.size, other, &compressor, &err),
                  PITH_E_MISMATCH);
    pith__model_binding(other, &binding);
    assert_non_null(strstr(err.message, binding.model));
    pith__model_binding(f.model, &binding);
    assert_non_null(strstr(err.message, binding.model));
    assert_ok(
        pith_model_open(test_path("golden", "models/llama_gqa.gguf"), &options, &adapted, &err),
        err);
    assert_status(pith_compressor_open_memory(f.data.data, f.data.size, adapted, &compressor, &err),
                  PITH_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "adapter"));
    assert_null(compressor);
    assert_ok(pith_ctx_new(other, &ctx, &err), err);
    assert_status(pith_ctx_set_compressor(ctx, f.compressor, &err), PITH_E_ARGUMENT);
    pith_ctx_free(ctx);
    pith_model_free(adapted);
    pith_model_free(other);
    compressor_close(&f);
}

static void damaged_files_are_refused(void **state)
{
    (void)state;
    compressor_fixture f;
    pith_compressor *compressor = NULL;
    compressor_open(&f, PITH__COMPRESSOR_500X, NULL);
    char *data = malloc(f.data.size);
    assert_non_null(data);
    for (size_t size = 0; size < f.data.size; size += 1 + size / 30) {
        memcpy(data, f.data.data, size);
        assert_int_not_equal(pith_compressor_open_memory(data, size, f.model, &compressor, NULL),
                             PITH_OK);
        assert_null(compressor);
    }
    for (size_t i = 0; i < f.data.size; i += 17) { /* a changed number is one; nothing breaks */
        memcpy(data, f.data.data, f.data.size);
        data[i] = (char)(data[i] ^ 0x41);
        if (pith_compressor_open_memory(data, f.data.size, f.model, &compressor, NULL) == PITH_OK) {
            pith_compressor_free(compressor);
            compressor = NULL;
        }
        assert_null(compressor);
    }
    free(data);
    compressor_close(&f);
}

/* What is given in the place of a compressor, and a compressor in the place of something else. */
static void other_files_are_told_apart(void **state)
{
    (void)state;
    compressor_fixture f;
    pith_error err = {0};
    pith_compressor *compressor = NULL;
    pith_model *model = NULL;
    pith_capsule *read = NULL;
    char path[64];
    compressor_open(&f, PITH__COMPRESSOR_ICAE, NULL);
    assert_status(pith_compressor_open("/no/such/file", f.model, &compressor, &err), PITH_E_IO);
    assert_status(pith_compressor_open(PITH_TEST_DATA "/lora.gguf", f.model, &compressor, &err),
                  PITH_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "a LoRA adapter"));
    assert_status(pith_compressor_open(test_path("golden", "models/llama_gqa.gguf"), f.model,
                                       &compressor, &err),
                  PITH_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "general.type"));
    (void)snprintf(path, sizeof path, "/tmp/pith-compressor-%ld", (long)getpid());
    pith_capsule *capsule = compressor_encode(&f, text);
    assert_ok(pith_capsule_save(capsule, PITH_CAPSULE_F16, path, &err), err);
    pith_capsule_free(capsule);
    assert_status(pith_compressor_open(path, f.model, &compressor, &err), PITH_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "a capsule"));
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(f.data.data, 1, f.data.size, file), f.data.size);
    assert_int_equal(fclose(file), 0);
    const pith_model_options options = {.struct_size = sizeof options, .lora = path};
    assert_status(
        pith_model_open(test_path("golden", "models/llama_gqa.gguf"), &options, &model, &err),
        PITH_E_UNSUPPORTED);
    assert_non_null(strstr(err.message, "compressor"));
    assert_status(pith_capsule_open(path, NULL, &read, &err), PITH_E_CORRUPT);
    assert_ok(pith_compressor_open(path, f.model, &compressor, &err), err);
    pith_compressor_free(compressor);
    assert_int_equal(unlink(path), 0);
    compressor_close(&f);
}

/* ---- describing files ----------------------------------------------------------------------------- */

static void inspect(const pith__buf *data, bool json, pith_status expected, pith__buf *out)
{
    pith_error err = {0};
    char path[64];
    (void)snprintf(path, sizeof path, "/tmp/pith-inspected-%ld", (long)getpid());
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data->data, 1, data->size, file), data->size);
    assert_int_equal(fclose(file), 0);
    pith__buf_init(out, &pith__allocator_default, SIZE_MAX);
    const pith_status status = pith_inspect(path, json, compressor_take, out, &err);
    assert_int_equal(unlink(path), 0);
    if (status != expected) {
        fail_msg("%s: %s", pith_status_name(status), err.message);
    }
}

static void their_files_can_be_inspected(void **state)
{
    (void)state;
    static const char *const first[] = {
        "compressor, method 500x: 1 to 4 slots, segments of up to 24 tokens\n",
        "compressor, method icae: 1 to 4 slots, segments of up to 24 tokens\n",
        "compressor, method selfcp: a slot for every 6 tokens, segments of up to 24 tokens\n"};
    for (int i = 0; i < 3; i++) {
        compressor_fixture f;
        pith__buf said;
        char expected[64];
        compressor_open(&f, (pith__compressor_method)i, NULL);
        inspect(&f.data, false, PITH_OK, &said);
        assert_memory_equal(said.data, first[i], strlen(first[i]));
        assert_non_null(strstr(said.data, "\n  name       tiny\n"));
        assert_non_null(strstr(said.data, "\n  format     Q: {question}\\nA: {answer}\n"));
        assert_non_null(strstr(said.data, "\n  record     {\"steps\": 3}\n"));
        assert_non_null(strstr(said.data, f.compressor->about.base_sha256));
        assert_non_null(strstr(said.data, "\ntensors ("));
        pith__buf_deinit(&said);
        inspect(&f.data, true, PITH_OK, &said);
        (void)snprintf(expected, sizeof expected, "\"method\": \"%s\"", names[i]);
        assert_non_null(strstr(said.data, "\"compressor\": {"));
        assert_non_null(strstr(said.data, expected));
        assert_non_null(strstr(said.data, "\"format\": \"Q: {question}\\nA: {answer}\""));
        pith__buf_deinit(&said);
        compressor_close(&f);
    }
}

/* A file that calls itself a compressor and is none is not described as one. */
static void half_a_compressor_is_not_described(void **state)
{
    (void)state;
    pith_error err = {0};
    pith__buf data;
    pith__buf said;
    pith__gguf_writer writer;
    pith__buf_init(&data, &pith__allocator_default, SIZE_MAX);
    pith__gguf_writer_init(&writer, &pith__allocator_default);
    assert_ok(pith__gguf_writer_add_string(&writer, "general.type", "compressor", 10, &err), err);
    assert_ok(pith__gguf_writer_write(&writer, compressor_take, &data, &err), err);
    inspect(&data, false, PITH_E_CORRUPT, &said);
    assert_int_equal(said.size, 0);
    pith__buf_deinit(&said);
    pith__gguf_writer_deinit(&writer);
    pith__buf_deinit(&data);
}

/* ---- asking for the text again ---------------------------------------------------------------------- */

static pith_generation *generate(pith_ctx *ctx, const pith_piece *pieces, size_t count)
{
    pith_error err = {0};
    pith_generation *generation = NULL;
    assert_ok(pith_generate(ctx, pieces, count, NULL, 0, NULL, NULL, &generation, &err), err);
    return generation;
}

static void bos_asks_for_the_text(void **state)
{
    (void)state;
    compressor_fixture f;
    pith_error err = {0};
    pith_generation *generation = NULL;
    compressor_open(&f, PITH__COMPRESSOR_500X, NULL);
    pith_capsule *capsule = compressor_encode(&f, text);
    const pith_piece prompt = {.capsule = capsule};
    compressor_set(&f, "max-tokens", "4");
    compressor_set(&f, "ignore-eos", "true");
    assert_status(pith_generate(f.ctx, &prompt, 1, NULL, 0, NULL, NULL, &generation, &err),
                  PITH_E_ARGUMENT); /* keys and values alone predict nothing */
    compressor_set(&f, "regenerate", "true");
    generation = generate(f.ctx, &prompt, 1);
    const pith_generation_stats stats = pith_generation_describe(generation);
    assert_int_equal(stats.prompt_tokens, COMPRESSOR_SLOTS + 1);
    assert_int_equal(stats.prompt_positions, count_tokens(f.model, text) + 1);
    assert_int_equal(stats.tokens, 4);
    pith_generation_free(generation);
    pith_capsule_free(capsule);
    compressor_close(&f);
}

/* BOS is read behind everything: what follows it is what follows it in any other way. */
static void bos_stands_behind_the_prompt(void **state)
{
    (void)state;
    pith_error err = {0};
    pith_model *model = compressor_open_model(PITH_PRECISION_F32);
    const uint32_t bos = pith__tokenizer_bos(model->tokenizer.tokenizer);
    pith_ctx *ctx = NULL;
    assert_ok(pith_ctx_new(model, &ctx, &err), err);
    assert_ok(pith_ctx_set(ctx, "max-tokens", "1", &err), err);
    assert_ok(pith_ctx_set(ctx, "regenerate", "true", &err), err);
    const pith_piece prompt = {.text = text, .size = strlen(text)};
    pith_generation *generation = generate(ctx, &prompt, 1);
    const pith_generation_stats stats = pith_generation_describe(generation);
    size_t count = 0;
    const pith_generated_token first = *pith_generation_tokens(generation, &count);
    const size_t tokens = count_tokens(model, text);
    assert_int_equal(stats.prompt_tokens, tokens + 2);
    uint32_t *ids = NULL;
    size_t n = 0;
    assert_ok(pith__encode_ids(ctx, text, strlen(text), &ids, &n, &err), err);
    pith__reader reader = {0};
    assert_ok(pith__reader_init(&reader, &model->weights, 1, &pith__allocator_default, &err), err);
    assert_ok(pith__reader_ids(&reader, &bos, 1, NULL, &err), err);
    assert_ok(pith__reader_ids(&reader, ids, n, NULL, &err), err);
    assert_ok(pith__reader_ids(&reader, &bos, 1, NULL, &err), err);
    const float *logits = pith__reader_logits(&reader);
    uint32_t best = 0;
    for (uint32_t i = 1; i < model->weights.config.vocabulary; i++) {
        best = logits[i] > logits[best] ? i : best;
    }
    assert_int_equal(first.id, best);
    pith__reader_deinit(&reader);
    pith_generation_free(generation);
    pith_ctx_free(ctx);
    pith_model_free(model);
}

/* The model's file without the key that names BOS. */
static void without_bos(pith__buf *out)
{
    pith_error err = {0};
    size_t size = 0;
    char *data = test_read_file(test_path("golden", "models/llama_gqa.gguf"), &size);
    pith__gguf gguf;
    pith__gguf_writer writer;
    pith__buf_init(out, &pith__allocator_default, SIZE_MAX);
    pith__gguf_writer_init(&writer, &pith__allocator_default);
    assert_ok(pith__gguf_parse(data, size, &pith__allocator_default, &gguf, &err), err);
    for (size_t i = 0; i < gguf.n_kvs; i++) {
        if (!pith__gguf_string_equal(gguf.kvs[i].key, "tokenizer.ggml.bos_token_id")) {
            assert_ok(pith__gguf_writer_add_kv(&writer, &gguf.kvs[i], &err), err);
        }
    }
    for (size_t i = 0; i < gguf.n_tensors; i++) {
        assert_ok(pith__gguf_writer_add_tensor(&writer, &gguf.tensors[i], &err), err);
    }
    assert_ok(pith__gguf_writer_write(&writer, compressor_take, out, &err), err);
    pith__gguf_writer_deinit(&writer);
    pith__gguf_deinit(&gguf);
    free(data);
}

static void a_model_without_bos_cannot_be_asked(void **state)
{
    (void)state;
    pith_error err = {0};
    pith__buf data;
    pith_model *model = NULL;
    pith_ctx *ctx = NULL;
    pith_generation *generation = NULL;
    const pith_piece prompt = {.text = text, .size = strlen(text)};
    without_bos(&data);
    assert_ok(pith_model_open_memory(data.data, data.size, NULL, &model, &err), err);
    assert_ok(pith_ctx_new(model, &ctx, &err), err);
    assert_ok(pith_ctx_set(ctx, "max-tokens", "1", &err), err);
    pith_generation_free(generate(ctx, &prompt, 1));
    assert_ok(pith_ctx_set(ctx, "regenerate", "true", &err), err);
    assert_status(pith_generate(ctx, &prompt, 1, NULL, 0, NULL, NULL, &generation, &err),
                  PITH_E_ARGUMENT);
    assert_non_null(strstr(err.message, "BOS"));
    assert_null(generation);
    pith_ctx_free(ctx);
    pith_model_free(model);
    pith__buf_deinit(&data);
}

/* ---- threads and memory ---------------------------------------------------------------------------- */

enum { USERS = 6 };

typedef struct users {
    const compressor_fixture *f;
    pith_capsule *capsules[USERS];
} users;

static void use_one(void *user, size_t index, unsigned worker)
{
    users *u = user;
    pith_ctx *ctx = NULL;
    (void)worker;
    if (pith_ctx_new(u->f->model, &ctx, NULL) == PITH_OK &&
        pith_ctx_set(ctx, "threads", "1", NULL) == PITH_OK &&
        pith_ctx_set_compressor(ctx, u->f->compressor, NULL) == PITH_OK &&
        pith_encode(ctx, long_text, strlen(long_text), &u->capsules[index], NULL) != PITH_OK) {
        u->capsules[index] = NULL;
    }
    pith_ctx_free(ctx);
}

static void contexts_may_use_it_at_once(void **state)
{
    (void)state;
    compressor_fixture f;
    compressor_open(&f, PITH__COMPRESSOR_500X, NULL);
    users u = {.f = &f};
    pith__parallel(3, USERS, use_one, &u);
    for (size_t i = 0; i < USERS; i++) {
        assert_non_null(u.capsules[i]);
        assert_true(difference(u.capsules[0], u.capsules[i]) == 0.0);
    }
    for (size_t i = 0; i < USERS; i++) {
        pith_capsule_free(u.capsules[i]);
    }
    compressor_close(&f);
}

static pith_status whole_way(const pith_allocator *mem, void *user)
{
    const compressor_fixture *f = user;
    const pith_model_options options = {.struct_size = sizeof options, .allocator = mem};
    pith_model *model = NULL;
    pith_compressor *compressor = NULL;
    pith_ctx *ctx = NULL;
    pith_capsule *capsule = NULL;
    pith_status status =
        pith_model_open(test_path("golden", "models/llama_gqa.gguf"), &options, &model, NULL);
    if (status == PITH_OK) {
        status = pith_compressor_open_memory(f->data.data, f->data.size, model, &compressor, NULL);
    }
    if (status == PITH_OK) {
        status = pith_ctx_new(model, &ctx, NULL);
    }
    if (status == PITH_OK) {
        status = pith_ctx_set(ctx, "threads", "1", NULL);
    }
    if (status == PITH_OK) {
        status = pith_ctx_set_compressor(ctx, compressor, NULL);
    }
    if (status == PITH_OK) {
        status = pith_encode(ctx, long_text, strlen(long_text), &capsule, NULL);
    }
    pith_capsule_free(capsule);
    pith_ctx_free(ctx);
    pith_compressor_free(compressor);
    pith_model_free(model);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        compressor_fixture f;
        compressor_open(&f, (pith__compressor_method)i, NULL);
        test_sweep(whole_way, &f);
        compressor_close(&f);
    }
    pith_compressor_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_compressor_says_what_it_is),
        cmocka_unit_test(a_capsule_says_who_made_it),
        cmocka_unit_test(the_encoder_is_the_model_with_its_adapter),
        cmocka_unit_test(long_texts_become_segments),
        cmocka_unit_test(a_ratio_may_be_another_than_in_training),
        cmocka_unit_test(a_query_is_read_before_the_text),
        cmocka_unit_test(a_query_may_be_long_but_is_text),
        cmocka_unit_test(a_release_pads_and_stands_elsewhere),
        cmocka_unit_test(an_int8_model_has_an_int8_encoder),
        cmocka_unit_test(the_context_keeps_it_until_told),
        cmocka_unit_test(progress_is_in_tokens_and_can_stop),
        cmocka_unit_test(means_need_no_training),
        cmocka_unit_test(texts_and_parameters_are_checked),
        cmocka_unit_test(positions_are_those_of_the_model),
        cmocka_unit_test(slots_or_a_ratio),
        cmocka_unit_test(other_models_are_refused),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(other_files_are_told_apart),
        cmocka_unit_test(their_files_can_be_inspected),
        cmocka_unit_test(half_a_compressor_is_not_described),
        cmocka_unit_test(bos_asks_for_the_text),
        cmocka_unit_test(bos_stands_behind_the_prompt),
        cmocka_unit_test(a_model_without_bos_cannot_be_asked),
        cmocka_unit_test(contexts_may_use_it_at_once),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
