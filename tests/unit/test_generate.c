/*
 * test_generate.c: readers against single passes over the same rows, and generation by models that
 * are made to say what the tests want to hear.
 */
#include "generate/generate.h"
#include "score/score.h"

#include "test.h"

#include "model_fixture.h"

#include <math.h>

static const pith_allocator *const mem = &pith__allocator_default;

/* ---- readers ------------------------------------------------------------------------------- */

static void reader_open(pith__reader *reader, const fixture *f)
{
    pith_error err = {0};
    assert_ok(pith__reader_init(reader, &f->model, 1, mem, &err), err);
    assert_null(pith__reader_logits(reader));
}

static void read_ids(pith__reader *reader, const uint32_t *ids, size_t count, float *nats)
{
    pith_error err = {0};
    assert_ok(pith__reader_ids(reader, ids, count, nats, &err), err);
}

static float worst_of(const float *a, const float *b, size_t count)
{
    float worst = 0.0f;
    for (size_t i = 0; i < count; i++) {
        worst = fmaxf(worst, fabsf(a[i] - b[i]));
    }
    return worst;
}

/* Logits after the last of `ids`, and -ln p of each but the first, by one pass. */
static void one_pass(fixture *f, const uint32_t *ids, const uint32_t *positions, size_t count,
                     float *logits, float *nats)
{
    pith_error err = {0};
    const pith__sequence sequence = {.ids = ids, .count = count, .positions = positions};
    uint32_t *targets = calloc(count, sizeof *targets);
    float *nll = calloc(count, sizeof *nll);
    for (size_t i = 0; i < count; i++) {
        targets[i] = i + 1 < count ? ids[i + 1] : PITH__NO_TARGET;
    }
    const pith__forward_outputs outputs = {.targets = targets, .nll = nll, .last_logits = logits};
    assert_ok(pith__model_forward(&f->model, &f->ctx, &sequence, 1, &outputs, &err), err);
    if (nats != NULL) {
        nats[0] = NAN;
        memcpy(nats + 1, nll, (count - 1) * sizeof *nats);
    }
    free(targets);
    free(nll);
}

#define LONG 1100 /* ids: three pieces */

static void reading_in_pieces_is_reading_at_once(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    const size_t vocabulary = f.model.config.vocabulary;
    uint32_t ids[LONG];
    float nats[LONG];
    float expected[LONG];
    float *logits = calloc(vocabulary, sizeof *logits);
    random_ids(&f, ids, LONG, 1);
    one_pass(&f, ids, NULL, LONG, logits, expected);

    pith__reader at_once;
    reader_open(&at_once, &f);
    read_ids(&at_once, ids, LONG, nats);
    assert_true(worst_of(pith__reader_logits(&at_once), logits, vocabulary) < 1e-4f);
    assert_true(isnan(nats[0]));
    assert_true(worst_of(nats + 1, expected + 1, LONG - 1) < 1e-4f);
    assert_int_equal(at_once.position, LONG);
    assert_int_equal(at_once.kv.length, LONG);
    assert_int_equal(at_once.forwarded, LONG);

    pith__reader in_pieces;
    reader_open(&in_pieces, &f);
    const size_t ends[] = {0, 1, 1, 2, 9, 520, 521, LONG};
    for (size_t i = 0; i + 1 < sizeof ends / sizeof ends[0]; i++) {
        read_ids(&in_pieces, ids + ends[i], ends[i + 1] - ends[i], nats + ends[i]);
    }
    assert_true(worst_of(pith__reader_logits(&in_pieces), logits, vocabulary) < 1e-4f);
    assert_true(isnan(nats[0]));
    assert_true(worst_of(nats + 1, expected + 1, LONG - 1) < 1e-4f);

    pith__reader without; /* whether nats are asked for changes nothing */
    reader_open(&without, &f);
    read_ids(&without, ids, LONG, NULL);
    assert_memory_equal(pith__reader_logits(&without), pith__reader_logits(&at_once),
                        vocabulary * sizeof(float));
    pith__reader_deinit(&without);
    pith__reader_deinit(&in_pieces);
    pith__reader_deinit(&at_once);
    free(logits);
    fixture_close(&f);
}

static void one_piece_has_the_bits_of_one_pass(void **state)
{
    (void)state;
    const pith_precision precisions[] = {PITH_PRECISION_F32, PITH_PRECISION_INT8};
    for (size_t p = 0; p < 2; p++) {
        fixture f = {0};
        fixture_open(&f, "llama_untied", precisions[p], 1);
        const size_t vocabulary = f.model.config.vocabulary;
        const size_t width = f.model.config.width;
        uint32_t ids[300];
        pith__reader reader;
        pith__reader rows;
        pith_error err = {0};
        float *logits = calloc(vocabulary, sizeof *logits);
        float *embeddings = calloc(300 * width, sizeof *embeddings);
        random_ids(&f, ids, 300, 2);
        one_pass(&f, ids, NULL, 300, logits, NULL);
        reader_open(&reader, &f);
        read_ids(&reader, ids, 300, NULL);
        assert_memory_equal(pith__reader_logits(&reader), logits, vocabulary * sizeof(float));
        for (size_t i = 0; i < 300; i++) {
            assert_ok(pith__model_embedding(&f.model, ids[i], embeddings + i * width, &err), err);
        }
        reader_open(&rows, &f);
        assert_ok(pith__reader_embeddings(&rows, embeddings, 300, &err), err);
        assert_memory_equal(pith__reader_logits(&rows), logits, vocabulary * sizeof(float));
        assert_int_equal(rows.position, 300);
        pith__reader_deinit(&rows);
        pith__reader_deinit(&reader);
        free(embeddings);
        free(logits);
        fixture_close(&f);
    }
}

static void nats_are_those_of_a_stream(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "boot-ckpt", PITH_PRECISION_INT8, 1);
    uint32_t ids[201];
    float expected[200];
    float nats[201];
    pith_error err = {0};
    pith__stream stream;
    pith__reader reader;
    random_ids(&f, ids, 201, 3);
    pith__stream_init(&stream, &f.model, 1, mem);
    reader_open(&reader, &f);
    const size_t ends[] = {0, 77, 78, 200};
    for (size_t i = 0; i < 3; i++) { /* the same pieces: in int8 their rounding shows */
        const size_t from = ends[i];
        const size_t count = ends[i + 1] - from;
        assert_ok(
            pith__stream_extend(&stream, ids + from, ids + from + 1, count, expected + from, &err),
            err);
        read_ids(&reader, ids + from, count, nats + from);
    }
    read_ids(&reader, ids + 200, 1, nats + 200);
    assert_true(worst_of(nats + 1, expected, 200) < 1e-4f);
    pith__reader_deinit(&reader);
    pith__stream_deinit(&stream);
    fixture_close(&f);
}

/* ---- slots ----------------------------------------------------------------------------------- */

enum { SLOTS = 32, REST = 15, ALL = SLOTS + REST };

/*
 * Ids [first, SLOTS) are read in one place, taken out and put into another reader `shift` further
 * on; what then follows must find what one pass over all ids, all so far on, finds.
 */
static void check_slots(const char *name, size_t first, uint32_t shift)
{
    fixture f = {0};
    fixture_open(&f, name, PITH_PRECISION_F32, 1);
    const pith__model_config *c = &f.model.config;
    const size_t count = SLOTS - first;
    const size_t numbers = (size_t)c->layers * count * c->kv_heads * c->head_dim;
    uint32_t ids[ALL];
    uint32_t positions[ALL];
    uint32_t shifted[ALL];
    float nats[REST];
    float expected[ALL];
    float *logits = calloc(c->vocabulary, sizeof *logits);
    float *keys = calloc(numbers, sizeof *keys);
    float *values = calloc(numbers, sizeof *values);
    pith_error err = {0};
    pith__reader from;
    pith__reader to;
    random_ids(&f, ids, ALL, 4);
    for (uint32_t i = 0; i < ALL; i++) {
        positions[i] = i;
        shifted[i] = i + shift;
    }
    reader_open(&from, &f);
    read_ids(&from, ids, SLOTS, NULL);
    assert_ok(
        pith__kv_extract(&from.kv, &f.model, first, count, positions + first, keys, values, &err),
        err);
    reader_open(&to, &f);
    read_ids(&to, ids, first, NULL);
    assert_ok(pith__reader_slots(&to, keys, values, shifted, count, shift + count, &err), err);
    assert_null(pith__reader_logits(&to));
    assert_int_equal(to.position, shift + SLOTS);
    assert_int_equal(to.kv.length, SLOTS);
    assert_int_equal(to.forwarded, first);
    read_ids(&to, ids + SLOTS, REST, nats);
    assert_true(isnan(nats[0])); /* slots expect nothing */
    one_pass(&f, ids, shifted, ALL, logits, expected);
    read_ids(&from, ids + SLOTS, REST, NULL);
    const float there =
        worst_of(pith__reader_logits(&to), pith__reader_logits(&from), c->vocabulary);
    const float off = worst_of(pith__reader_logits(&to), logits, c->vocabulary);
    print_message("%s, %u further on: logits differ by %.1e, from one pass by %.1e\n", name, shift,
                  (double)there, (double)off);
    assert_true(shift > 0 || there < 1e-5f);
    assert_true(off < 2e-4f);
    assert_true(worst_of(nats + 1, expected + SLOTS + 1, REST - 1) < 1e-4f);
    pith__reader_deinit(&to);
    pith__reader_deinit(&from);
    free(logits);
    free(keys);
    free(values);
    fixture_close(&f);
}

static void slots_stand_where_they_stood(void **state)
{
    (void)state;
    check_slots("llama_gqa", 20, 0);
    check_slots("llama_untied", 0, 0);
}

static void slots_stand_elsewhere(void **state)
{
    (void)state;
    check_slots("llama_gqa", 0, 700);
    check_slots("llama_untied", 0, 1);
    check_slots("boot-ckpt", 0, 1500);
}

/* ---- a reader after a failure ------------------------------------------------------------------ */

static void a_failed_call_changes_nothing(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    const size_t vocabulary = f.model.config.vocabulary;
    const size_t context = f.model.config.context;
    uint32_t *ids = calloc(context + 1, sizeof *ids);
    float *before = calloc(vocabulary, sizeof *before);
    float *slot = calloc((size_t)f.model.config.layers * 2 * 32, sizeof *slot);
    float nats[700];
    pith_error err = {0};
    pith__reader reader;
    random_ids(&f, ids, context + 1, 6);
    reader_open(&reader, &f);
    assert_status(pith__reader_ids(&reader, ids, context + 1, NULL, &err), PITH_E_CONTEXT);
    assert_null(pith__reader_logits(&reader));
    read_ids(&reader, ids, 40, NULL);
    memcpy(before, pith__reader_logits(&reader), vocabulary * sizeof *before);

    const uint32_t good = ids[600];
    const uint32_t far[] = {0, (uint32_t)context - 40};
    const uint32_t near[] = {0, 1};
    ids[600] = (uint32_t)vocabulary; /* in the second piece: the first one was read by then */
    assert_status(pith__reader_ids(&reader, ids, 700, nats, &err), PITH_E_ARGUMENT);
    ids[600] = good;
    ids[0] = (uint32_t)vocabulary; /* judged by the logits at hand, were it one */
    assert_status(pith__reader_ids(&reader, ids, 1, nats, &err), PITH_E_ARGUMENT);
    assert_status(pith__reader_ids(&reader, ids + 1, context - 39, NULL, &err), PITH_E_CONTEXT);
    assert_status(pith__reader_slots(&reader, slot, slot, far, 2, 2, &err), PITH_E_CONTEXT);
    assert_status(pith__reader_slots(&reader, slot, slot, near, 2, context - 39, &err),
                  PITH_E_CONTEXT);
    assert_int_equal(reader.kv.length, 40);
    assert_int_equal(reader.position, 40);
    assert_int_equal(reader.forwarded, 40);
    assert_memory_equal(pith__reader_logits(&reader), before, vocabulary * sizeof *before);
    read_ids(&reader, ids, 0, nats); /* nothing is nothing */
    assert_memory_equal(pith__reader_logits(&reader), before, vocabulary * sizeof *before);

    /* slots that reach the very end fit; then there is no place for anything */
    assert_ok(pith__reader_slots(&reader, slot, slot, near, 2, context - 40, &err), err);
    assert_int_equal(reader.position, context);
    assert_status(pith__reader_ids(&reader, ids + 1, 1, NULL, &err), PITH_E_CONTEXT);
    assert_status(pith__reader_slots(&reader, slot, slot, near, 1, 0, &err), PITH_E_CONTEXT);
    pith__reader_deinit(&reader);
    pith__reader_deinit(&reader); /* now all zero */
    free(slot);
    free(before);
    free(ids);
    fixture_close(&f);
}

static void marks_lead_back(void **state)
{
    (void)state;
    fixture f = {0};
    fixture_open(&f, "llama_gqa", PITH_PRECISION_F32, 1);
    const size_t bytes = f.model.config.vocabulary * sizeof(float);
    uint32_t ids[60];
    float first[10];
    float again[10];
    pith__reader reader;
    random_ids(&f, ids, 60, 7);
    reader_open(&reader, &f);
    read_ids(&reader, ids, 30, NULL);
    const pith__reader_mark mark = pith__reader_save(&reader);
    read_ids(&reader, ids + 30, 10, first);
    float *logits = malloc(bytes);
    assert_non_null(logits);
    memcpy(logits, pith__reader_logits(&reader), bytes);
    read_ids(&reader, ids + 40, 20, NULL);
    pith__reader_restore(&reader, mark);
    assert_null(pith__reader_logits(&reader));
    assert_int_equal(reader.position, 30);
    read_ids(&reader, ids + 30, 10, again);
    assert_memory_equal(pith__reader_logits(&reader), logits, bytes);
    assert_true(isnan(again[0]) && !isnan(first[0]));
    assert_memory_equal(first + 1, again + 1, 9 * sizeof *first);
    free(logits);
    pith__reader_deinit(&reader);
    fixture_close(&f);
}

/* ---- a model that says what it is told -------------------------------------------------------- */

/*
 * No layers, an embedding per token that is its own direction, and a head of our choice: logits after
 * token t are column t of the head. Tokens: the 256 bytes in their order, then
 */
enum { BOS = 256, EOS, STOP_ER, TOP, HOLD, USER, EURO_A, SPARE, TOKENS };

static const char *const extra[] = {"<s>", "</s>", "er", "top", "sto", "<user>", "a\xe2\x82", NULL};

#define SURE 4.0f /* logit of what is to come; that of all others is 0 */

typedef struct puppet {
    pith__tokenizer *tokenizer;
    pith__model model;
    float embedding[TOKENS * TOKENS];
    float head[TOKENS * TOKENS];
    float norm[TOKENS];
    uint32_t first; /* token that the prompt is */
} puppet;

static bool append_to_buf(void *user, const char *data, size_t size)
{
    return pith__buf_append(user, data, size, NULL) == PITH_OK;
}

/* Byte letters of GPT-2's alphabet, as the GGUF files have them. */
static pith__tokenizer *puppet_tokenizer(uint32_t end)
{
    static char spelled[TOKENS][16];
    pith_error err = {0};
    pith__gguf_string tokens[TOKENS];
    int32_t types[TOKENS];
    pith__gguf_writer writer;
    pith__gguf gguf;
    pith__buf buf;
    pith__tokenizer *tokenizer = NULL;
    for (size_t i = 0; i < TOKENS; i++) {
        const char byte = (char)(unsigned char)i;
        const char *text = i < 256 ? &byte : i < SPARE ? extra[i - 256] : "spare";
        const bool whole = i == BOS || i == EOS || i == USER || i == SPARE;
        const size_t size = i < 256 ? 1 : strlen(text);
        const size_t length = whole ? size : pith__token_spell(text, size, spelled[i]);
        tokens[i] = (pith__gguf_string){whole ? text : spelled[i], length};
        types[i] = i == USER ? 4 : whole ? 3 : 1;
    }
    pith__buf_init(&buf, mem, SIZE_MAX);
    pith__gguf_writer_init(&writer, mem);
    assert_ok(pith__gguf_writer_add_string(&writer, "tokenizer.ggml.model", "gpt2", 4, &err), err);
    assert_ok(pith__gguf_writer_add_strings(&writer, "tokenizer.ggml.tokens", tokens, TOKENS, &err),
              err);
    assert_ok(pith__gguf_writer_add_i32s(&writer, "tokenizer.ggml.token_type", types, TOKENS, &err),
              err);
    assert_ok(pith__gguf_writer_add_strings(&writer, "tokenizer.ggml.merges", tokens, 0, &err),
              err);
    assert_ok(pith__gguf_writer_add_u32(&writer, "tokenizer.ggml.eos_token_id", end, &err), err);
    assert_ok(pith__gguf_writer_write(&writer, append_to_buf, &buf, &err), err);
    assert_ok(pith__gguf_parse(buf.data, buf.size, mem, &gguf, &err), err);
    assert_ok(pith__tokenizer_from_gguf(&gguf, mem, &tokenizer, &err), err);
    pith__gguf_deinit(&gguf);
    pith__gguf_writer_deinit(&writer);
    pith__buf_deinit(&buf);
    return tokenizer;
}

/* Makes `next` what follows `token`, besides what followed it so far. */
static void follow(puppet *p, uint32_t token, uint32_t next, float logit)
{
    p->head[next * TOKENS + token] = logit / sqrtf((float)TOKENS); /* the norm's length */
}

static puppet *puppet_open(uint32_t context)
{
    puppet *p = calloc(1, sizeof *p);
    assert_non_null(p);
    p->tokenizer = puppet_tokenizer(EOS);
    p->model.config = (pith__model_config){.width = TOKENS,
                                           .heads = 1,
                                           .kv_heads = 1,
                                           .head_dim = 2,
                                           .ff = 1,
                                           .vocabulary = TOKENS,
                                           .context = context,
                                           .rope_pairs = 1,
                                           .rope_base = 10000.0f,
                                           .rope_scale = 1.0f,
                                           .norm_eps = 0.0f};
    p->model.ops = pith__tensor_cpu();
    p->model.precision = PITH_PRECISION_F32;
    p->model.output_norm = p->norm;
    p->model.head = (pith__matrix){.rows = TOKENS, .cols = TOKENS, .f32 = p->head};
    p->model.embedding = (pith__gguf_tensor){.type = PITH__GGUF_TYPE_F32,
                                             .n_dims = 2,
                                             .dims = {TOKENS, TOKENS, 1, 1},
                                             .data = (const unsigned char *)p->embedding,
                                             .size = sizeof p->embedding};
    for (size_t i = 0; i < TOKENS; i++) {
        p->embedding[i * TOKENS + i] = 1.0f;
        p->norm[i] = 1.0f;
    }
    return p;
}

static void puppet_close(puppet *p)
{
    pith__tokenizer_free(p->tokenizer);
    free(p);
}

/* After BOS the model says these tokens, each of which occurs once, and then the last one again. */
static puppet *puppet_saying(const uint32_t *script, size_t count)
{
    puppet *p = puppet_open(1000);
    uint32_t before = BOS;
    for (size_t i = 0; i < count; i++) {
        follow(p, before, script[i], SURE);
        before = script[i];
    }
    follow(p, before, before, SURE);
    return p;
}

/* ---- what generation gives --------------------------------------------------------------------- */

typedef struct transcript {
    uint32_t ids[64];
    double logprobs[64];
    size_t count;       /* calls with an id */
    char text[512];     /* all bytes */
    char trace[512];    /* the same with '|' after every call */
    size_t cancel_from; /* count at which to say stop; 0: never */
    pith__stop_reason reason;
    size_t reported; /* *count */
    pith_status status;
} transcript;

static bool write_down(void *user, const pith__written *token)
{
    transcript *t = user;
    const size_t at = strlen(t->text);
    assert_true(at + token->size < sizeof t->text);
    memcpy(t->text + at, token->bytes, token->size);
    (void)snprintf(t->trace + strlen(t->trace), sizeof t->trace - strlen(t->trace), "%s|",
                   t->text + at);
    if (token->id == PITH__TOKEN_NONE) {
        assert_true(token->size > 0);
        return true;
    }
    assert_true(t->count < 64);
    t->ids[t->count] = token->id;
    t->logprobs[t->count++] = token->logprob;
    return t->cancel_from == 0 || t->count < t->cancel_from;
}

static const pith__generate_settings greedy = {
    .sampling = {.top_p = 1.0, .repetition_penalty = 1.0}, .max_tokens = 12};

static void generate(transcript *t, pith__reader *reader, const pith__stream_pair *pairs,
                     size_t n_pairs, const pith__tokenizer *tokenizer,
                     const pith__generate_settings *wanted)
{
    pith_error err = {0};
    pith__generate_settings settings = *wanted;
    const size_t cancel_from = t->cancel_from;
    *t = (transcript){.cancel_from = cancel_from, .reported = 999};
    settings.written = write_down;
    settings.written_user = t;
    t->status = pith__generate(reader, pairs, n_pairs, tokenizer, &settings, mem, &t->reason,
                               &t->reported, &err);
}

/* What a puppet says after BOS. */
static void speak(transcript *t, puppet *p, const pith__generate_settings *settings)
{
    pith_error err = {0};
    pith__reader reader;
    const uint32_t bos = BOS;
    assert_ok(pith__reader_init(&reader, &p->model, 1, mem, &err), err);
    read_ids(&reader, &bos, 1, NULL);
    generate(t, &reader, NULL, 0, p->tokenizer, settings);
    pith__reader_deinit(&reader);
}

static void greedy_follows_the_model(void **state)
{
    (void)state;
    const uint32_t script[] = {'H', 'e', 'l', STOP_ER, USER, 'o'};
    puppet *p = puppet_saying(script, 6);
    transcript t = {0};
    pith__generate_settings settings = greedy;
    settings.max_tokens = 6;
    speak(&t, p, &settings);
    assert_int_equal(t.status, PITH_OK);
    assert_int_equal(t.reason, PITH__STOP_LENGTH);
    assert_int_equal(t.reported, 6);
    assert_int_equal(t.count, 6);
    assert_memory_equal(t.ids, script, 6 * sizeof *script);
    assert_string_equal(t.text, "Heler<user>o");
    assert_string_equal(t.trace, "H|e|l|er|<user>|o|");
    for (size_t i = 0; i < t.count; i++) {
        assert_true(fabs(t.logprobs[i] - ((double)SURE - log(exp((double)SURE) + TOKENS - 1))) <
                    1e-5);
    }
    settings.max_tokens = 0;
    speak(&t, p, &settings);
    assert_int_equal(t.status, PITH_OK);
    assert_int_equal(t.reason, PITH__STOP_LENGTH);
    assert_int_equal(t.reported, 0);
    assert_int_equal(t.count, 0);
    puppet_close(p);
}

static void the_end_ends_unless_it_is_ignored(void **state)
{
    (void)state;
    const uint32_t script[] = {'a', 'b', EOS, 'c'};
    puppet *p = puppet_saying(script, 4);
    follow(p, 'b', 'x', SURE / 2); /* second best */
    follow(p, 'x', 'y', SURE);
    follow(p, 'y', 'z', SURE);
    transcript t = {0};
    pith__generate_settings settings = greedy;
    settings.max_tokens = 5;
    speak(&t, p, &settings);
    assert_int_equal(t.reason, PITH__STOP_END);
    assert_int_equal(t.reported, 3);
    assert_int_equal(t.ids[2], EOS);
    assert_string_equal(t.trace, "a|b||");
    settings.ignore_end = true;
    speak(&t, p, &settings);
    assert_int_equal(t.reason, PITH__STOP_LENGTH);
    assert_string_equal(t.trace, "a|b|x|y|z|");
    /* what is reported is the model's opinion, EOS included */
    const double all = log(exp((double)SURE) + exp((double)SURE / 2) + TOKENS - 2);
    assert_true(fabs(t.logprobs[2] - ((double)SURE / 2 - all)) < 1e-5);
    pith__tokenizer_free(p->tokenizer); /* whatever it is called, the end is no text */
    p->tokenizer = puppet_tokenizer('b');
    settings.ignore_end = false;
    speak(&t, p, &settings);
    assert_int_equal(t.reason, PITH__STOP_END);
    assert_string_equal(t.trace, "a||");
    puppet_close(p);
}

static void control_tokens_have_no_text(void **state)
{
    (void)state;
    const uint32_t script[] = {'a', SPARE, 'b', 'c'};
    const char *const stops[] = {"ab"};
    puppet *p = puppet_saying(script, 4);
    transcript t = {0};
    pith__generate_settings settings = greedy;
    settings.max_tokens = 4;
    speak(&t, p, &settings);
    assert_string_equal(t.trace, "a||b|c|");
    settings.stops = stops; /* and the text is what stops are looked for in */
    settings.n_stops = 1;
    speak(&t, p, &settings);
    assert_int_equal(t.reason, PITH__STOP_STRING);
    assert_string_equal(t.trace, "|||");
    puppet_close(p);
}

static void stop_strings_end_the_text(void **state)
{
    (void)state;
    static const struct {
        uint32_t script[8];
        const char *stops[3];
        const char *trace;
        size_t count;
        pith__stop_reason reason;
    } cases[] = {
        {{'x', 's', 't', 'o', 'p', '!'}, {"stop"}, "x|||||", 5, PITH__STOP_STRING},
        {{'x', 's', 't', 'a', 'b', '!'}, {"stop"}, "x|||sta|b|!|", 6, PITH__STOP_LENGTH},
        {{'x', 's', TOP, 'a', 'b', '!'}, {"stop"}, "x|||", 3, PITH__STOP_STRING},
        {{'x', HOLD, 'p', 'a', 'b', '!'}, {"stop"}, "x|||", 3, PITH__STOP_STRING},
        {{'x', HOLD, STOP_ER, 'a', 'b', '!'}, {"stop"}, "x||stoer|a|b|!|", 6, PITH__STOP_LENGTH},
        /* in the middle of a token: nothing of what follows */
        {{'x', HOLD, 'p', 'a', 'b', '!'}, {"t"}, "x|s|", 2, PITH__STOP_STRING},
        {{'x', HOLD, 'p', 'a', 'b', '!'}, {"o", "xst"}, "||", 2, PITH__STOP_STRING},
        /* the one whose last byte comes first; of two such the longer */
        {{'x', HOLD, 'p', 'a', 'b', '!'}, {"stop", "t"}, "x|s|", 2, PITH__STOP_STRING},
        {{'x', 's', 't', 'o', 'b', '!'}, {"sto", "xsto"}, "||||", 4, PITH__STOP_STRING},
        {{'x', 's', 't', 'o', 'b', '!'}, {"xsto", "o"}, "||||", 4, PITH__STOP_STRING},
        /* a beginning within a beginning that came to nothing */
        {{'x', 's', HOLD, 'p', 'b', '!'}, {"stop"}, "x||s||", 4, PITH__STOP_STRING},
        /* what was held is text after all when the end comes */
        {{'x', 'y', 'z', 's', 't', 'o'}, {"stop"}, "x|y|z||||sto|", 6, PITH__STOP_LENGTH},
        {{'x', 's', 't', EOS, 'b', '!'}, {"stop"}, "x||||st|", 4, PITH__STOP_END},
        {{'x', 'y', 'z', 's', 't', 'o'}, {"never"}, "x|y|z|s|t|o|", 6, PITH__STOP_LENGTH},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        puppet *p = puppet_saying(cases[i].script, 6);
        transcript t = {0};
        pith__generate_settings settings = greedy;
        settings.max_tokens = 6;
        settings.stops = cases[i].stops;
        while (settings.n_stops < 3 && cases[i].stops[settings.n_stops] != NULL) {
            settings.n_stops++;
        }
        speak(&t, p, &settings);
        assert_int_equal(t.status, PITH_OK);
        assert_string_equal(t.trace, cases[i].trace);
        assert_int_equal(t.reason, cases[i].reason);
        assert_int_equal(t.reported, cases[i].count);
        assert_int_equal(t.count, cases[i].count);
        puppet_close(p);
    }
}

static void code_points_stay_whole(void **state)
{
    (void)state;
    static const struct {
        uint32_t script[8];
        const char *stop; /* or NULL */
        const char *trace;
    } cases[] = {
        {{'x', 0xe2, 0x82, 0xac, '!', 'a'}, NULL, "x|||\xe2\x82\xac|!|a|"},
        {{'x', EURO_A, 0xac, '!', 'b', 'c'}, NULL, "x|a|\xe2\x82\xac|!|b|c|"},
        {{0xf0, 0x9f, 0x91, 0xa9, 'b', 'c'}, NULL, "|||\xf0\x9f\x91\xa9|b|c|"},
        /* what cannot become a character any more is passed on as it is */
        {{'x', 0xe2, 0x82, 'y', '!', 'a'}, NULL, "x|||\xe2\x82y|!|a|"},
        {{0xc3, 0xe2, 0x82, 0xac, '!', 'a'}, NULL, "|\xc3||\xe2\x82\xac|!|a|"},
        {{0x80, 0xff, 'x', 0xed, 0xa0, 'a'}, NULL, "\x80|\xff|x||\xed\xa0|a|"},
        /* and what was unfinished when the end came, too */
        {{'x', 'y', 'z', 'w', 0xe2, 0x82}, NULL, "x|y|z|w|||\xe2\x82|"},
        {{'x', 0xe2, 0x82, EOS, 'b', 'c'}, NULL, "x||||\xe2\x82|"},
        /* a stop string of such characters, and one that only begins like a character */
        {{'x', 0xe2, 0x82, 0xac, '!', 'a'}, "\xe2\x82\xac!", "x|||||"},
        {{'x', 0xe2, 0x82, 0xad, '!', 'a'}, "\xe2\x82\xac", "x|||\xe2\x82\xad|!|a|"},
        {{'x', 0xe2, 's', 't', 'o', 'p'}, "stop", "x|||||"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        puppet *p = puppet_saying(cases[i].script, 6);
        transcript t = {0};
        pith__generate_settings settings = greedy;
        settings.max_tokens = 6;
        settings.stops = &cases[i].stop;
        settings.n_stops = cases[i].stop == NULL ? 0 : 1;
        speak(&t, p, &settings);
        assert_int_equal(t.status, PITH_OK);
        if (i + 1 < sizeof cases / sizeof cases[0]) {
            assert_string_equal(t.trace, cases[i].trace);
        } else { /* bytes before a stop are final with it, ill-formed or not */
            assert_string_equal(t.text, "x\xe2");
        }
        puppet_close(p);
    }
}

static void a_full_context_is_no_error(void **state)
{
    (void)state;
    const uint32_t prompt[8] = {BOS, BOS, BOS, BOS, BOS, BOS, BOS, BOS};
    puppet *p = puppet_open(8);
    pith_error err = {0};
    follow(p, BOS, 'a', SURE);
    follow(p, 'a', 'a', SURE);
    for (size_t length = 1; length <= 8; length++) {
        transcript t = {0};
        pith__reader reader;
        assert_ok(pith__reader_init(&reader, &p->model, 1, mem, &err), err);
        read_ids(&reader, prompt, length, NULL);
        generate(&t, &reader, NULL, 0, p->tokenizer, &greedy);
        assert_int_equal(t.status, PITH_OK);
        assert_int_equal(t.reason, PITH__STOP_LENGTH);
        assert_int_equal(t.reported, 9 - length); /* the last one needs no place */
        assert_int_equal(reader.position, 8);
        pith__reader_deinit(&reader);
    }
    /* positions can run out before places do */
    transcript t = {0};
    pith__reader reader;
    const uint32_t offset = 0;
    const float nothing[1] = {0.0f};
    assert_ok(pith__reader_init(&reader, &p->model, 1, mem, &err), err);
    assert_ok(pith__reader_slots(&reader, nothing, nothing, &offset, 1, 5, &err), err);
    read_ids(&reader, prompt, 1, NULL);
    generate(&t, &reader, NULL, 0, p->tokenizer, &greedy);
    assert_int_equal(t.status, PITH_OK);
    assert_int_equal(t.reported, 3);
    assert_int_equal(reader.position, 8);
    assert_int_equal(reader.kv.length, 4);
    pith__reader_deinit(&reader);
    puppet_close(p);
}

/* Attributes read along, and may have less room. */
static void a_full_attribute_is_no_error(void **state)
{
    (void)state;
    const uint32_t bos = BOS;
    pith_error err = {0};
    for (size_t small = 0; small < 3; small++) {
        puppet *models[3];
        pith__reader readers[3];
        transcript t = {0};
        for (size_t i = 0; i < 3; i++) {
            models[i] = puppet_open(i == small ? 6 : 20);
            assert_ok(pith__reader_init(&readers[i], &models[i]->model, 1, mem, &err), err);
            read_ids(&readers[i], &bos, 1, NULL);
        }
        const pith__stream_pair pair = {
            .toward = &readers[1], .away = &readers[2], .omega = 1.0, .tau = 1.0};
        generate(&t, &readers[0], &pair, 1, models[0]->tokenizer, &greedy);
        assert_int_equal(t.status, PITH_OK);
        assert_int_equal(t.reason, PITH__STOP_LENGTH);
        assert_int_equal(t.reported, 6);
        for (size_t i = 0; i < 3; i++) {
            assert_int_equal(readers[i].position, 6);
            pith__reader_deinit(&readers[i]);
            puppet_close(models[i]);
        }
    }
}

static void the_caller_can_stop(void **state)
{
    (void)state;
    const uint32_t script[] = {'a', 'b', 'c', 'd'};
    puppet *p = puppet_saying(script, 4);
    transcript t = {.cancel_from = 3};
    speak(&t, p, &greedy);
    assert_int_equal(t.status, PITH_E_CANCELLED);
    assert_int_equal(t.reported, 3);
    assert_string_equal(t.text, "abc");
    puppet_close(p);
}

static void repetition_is_penalised(void **state)
{
    (void)state;
    const uint32_t prompt[] = {'x', BOS};
    puppet *p = puppet_open(100);
    follow(p, BOS, 'a', 3.0f);
    follow(p, 'a', 'a', 3.0f);
    follow(p, 'a', 'x', 2.5f);
    follow(p, 'a', 'b', 2.0f);
    transcript t = {0};
    pith__generate_settings settings = greedy;
    settings.max_tokens = 2;
    speak(&t, p, &settings);
    assert_string_equal(t.text, "aa");
    settings.sampling.repetition_penalty = 2.0; /* 3 / 2 is below 2.5 */
    speak(&t, p, &settings);
    assert_string_equal(t.text, "ax");
    settings.history = prompt; /* and x was there before */
    settings.n_history = 2;
    speak(&t, p, &settings);
    assert_string_equal(t.text, "ab");
    settings.sampling.repetition_window = 2; /* BOS and the text */
    speak(&t, p, &settings);
    assert_string_equal(t.text, "ax");
    puppet_close(p);
}

/* ---- attributes ------------------------------------------------------------------------------- */

/* Three readers of one model; the first has read the prompt, the others a context before it. */
typedef struct trio {
    fixture f;
    pith__tokenizer *tokenizer;
    pith__reader base;
    pith__reader toward;
    pith__reader away;
} trio;

static void trio_open(trio *t, uint64_t toward_seed, uint64_t away_seed)
{
    pith_error err = {0};
    uint32_t prompt[5];
    uint32_t context[9];
    fixture_open(&t->f, "llama_gqa", PITH_PRECISION_F32, 1);
    assert_ok(pith__tokenizer_from_gguf(&t->f.gguf, mem, &t->tokenizer, &err), err);
    reader_open(&t->base, &t->f);
    reader_open(&t->toward, &t->f);
    reader_open(&t->away, &t->f);
    random_ids(&t->f, context, 9, toward_seed);
    read_ids(&t->toward, context, 9, NULL);
    random_ids(&t->f, context, 9, away_seed);
    read_ids(&t->away, context, 9, NULL);
    random_ids(&t->f, prompt, 5, 1);
    read_ids(&t->base, prompt, 5, NULL);
    read_ids(&t->toward, prompt, 5, NULL);
    read_ids(&t->away, prompt, 5, NULL);
}

static void trio_close(trio *t)
{
    pith__reader_deinit(&t->away);
    pith__reader_deinit(&t->toward);
    pith__reader_deinit(&t->base);
    pith__tokenizer_free(t->tokenizer);
    fixture_close(&t->f);
}

static const pith__generate_settings sampled = {.sampling = {.temperature = 1.3,
                                                             .top_p = 0.95,
                                                             .top_k = 200,
                                                             .repetition_penalty = 1.2,
                                                             .seed = 99},
                                                .max_tokens = 30,
                                                .ignore_end = true};

/* omega < -1e8: no pair at all */
static void generate_with(transcript *out, uint64_t toward, uint64_t away, double omega, double tau)
{
    trio t = {0};
    trio_open(&t, toward, away);
    const pith__stream_pair pair = {
        .toward = &t.toward, .away = &t.away, .omega = omega, .tau = tau};
    const bool none = omega < -1e8;
    generate(out, &t.base, &pair, none ? 0 : 1, t.tokenizer, &sampled);
    assert_int_equal(out->status, PITH_OK);
    assert_int_equal(out->reported, 30);
    assert_int_equal(t.base.position, 35);
    assert_int_equal(t.toward.position, none ? 14 : 44); /* they read along */
    assert_int_equal(t.away.position, none ? 14 : 44);
    trio_close(&t);
}

static void silent_attributes_change_nothing(void **state)
{
    (void)state;
    transcript expected = {0};
    transcript got = {0};
    generate_with(&expected, 2, 3, -1e9, 1.0);
    generate_with(&got, 2, 3, 0.0, 1.0);
    assert_memory_equal(&got, &expected, sizeof got);
    generate_with(&got, 2, 2, 5.0, 0.5);
    assert_memory_equal(&got, &expected, sizeof got);
    generate_with(&got, 2, 3, 2.0, 1.0);
    assert_memory_not_equal(got.ids, expected.ids, sizeof got.ids);
}

/* Two models of one vocabulary: one that says a, one that says b, and a base that does not care. */
static void attributes_pull(void **state)
{
    (void)state;
    const double omegas[] = {-2.0, 0.0, 0.5, 1.0, 2.0};
    const uint32_t bos = BOS;
    puppet *models[3];
    size_t counts[5] = {0};
    pith_error err = {0};
    for (size_t i = 0; i < 3; i++) {
        models[i] = puppet_open(400);
        for (uint32_t from = 0; from < TOKENS; from++) {
            follow(models[i], from, 'a', i == 1 ? 9.0f : 8.0f);
            follow(models[i], from, 'b', i == 2 ? 9.0f : 8.0f);
        }
    }
    for (size_t o = 0; o < 5; o++) {
        pith__reader readers[3];
        for (size_t i = 0; i < 3; i++) {
            assert_ok(pith__reader_init(&readers[i], &models[i]->model, 1, mem, &err), err);
            read_ids(&readers[i], &bos, 1, NULL);
        }
        const pith__stream_pair pair = {
            .toward = &readers[1], .away = &readers[2], .omega = omegas[o], .tau = 1.0};
        for (size_t round = 0; round < 6; round++) {
            transcript t = {0};
            pith__generate_settings settings = greedy;
            settings.max_tokens = 50;
            settings.sampling.temperature = 1.0;
            settings.sampling.seed = round;
            generate(&t, &readers[0], &pair, 1, models[0]->tokenizer, &settings);
            assert_int_equal(t.reported, 50);
            for (size_t i = 0; i < t.count; i++) {
                counts[o] += t.ids[i] == 'a';
            }
        }
        for (size_t i = 0; i < 3; i++) {
            pith__reader_deinit(&readers[i]);
        }
    }
    print_message("a among 300: %zu %zu %zu %zu %zu\n", counts[0], counts[1], counts[2], counts[3],
                  counts[4]);
    for (size_t o = 1; o < 5; o++) {
        assert_true(counts[o] > counts[o - 1]);
    }
    for (size_t i = 0; i < 3; i++) {
        puppet_close(models[i]);
    }
}

static void writing_goes_on_where_it_stopped(void **state)
{
    (void)state;
    transcript whole = {0};
    transcript first = {0};
    transcript second = {0};
    pith__generate_settings settings = greedy;
    trio t = {0};
    settings.ignore_end = true;
    trio_open(&t, 2, 3);
    generate(&whole, &t.base, NULL, 0, t.tokenizer, &settings);
    trio_close(&t);
    t = (trio){0};
    trio_open(&t, 2, 3);
    settings.max_tokens = 5;
    generate(&first, &t.base, NULL, 0, t.tokenizer, &settings);
    settings.max_tokens = 7;
    generate(&second, &t.base, NULL, 0, t.tokenizer, &settings);
    trio_close(&t);
    assert_memory_equal(first.ids, whole.ids, 5 * sizeof *whole.ids);
    assert_memory_equal(second.ids, whole.ids + 5, 7 * sizeof *whole.ids);
}

/* ln p of what was written, against the model reading it. */
static void logprobs_are_those_of_the_model(void **state)
{
    (void)state;
    transcript got = {0};
    float nats[30];
    trio t = {0};
    generate_with(&got, 2, 3, 1.0, 1.0);
    trio_open(&t, 2, 3);
    read_ids(&t.base, got.ids, 30, nats);
    for (size_t i = 0; i < 30; i++) {
        assert_true(fabs(got.logprobs[i] + (double)nats[i]) < 1e-4);
    }
    trio_close(&t);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    trio t = {0};
    transcript out = {0};
    trio_open(&t, 2, 3);
    puppet *stranger = puppet_open(10);
    pith__reader other;
    pith_error err = {0};
    const uint32_t bos = BOS;
    const char *const empty[] = {"a", ""};
    assert_ok(pith__reader_init(&other, &stranger->model, 1, mem, &err), err);
    pith__stream_pair pair = {.toward = &t.toward, .away = &other, .omega = 1.0, .tau = 1.0};
    generate(&out, &t.base, &pair, 1, t.tokenizer, &sampled); /* has read nothing */
    assert_int_equal(out.status, PITH_E_ARGUMENT);
    assert_int_equal(out.reported, 0);
    read_ids(&other, &bos, 1, NULL);
    generate(&out, &t.base, &pair, 1, t.tokenizer, &sampled); /* has another vocabulary */
    assert_int_equal(out.status, PITH_E_ARGUMENT);
    const double taus[] = {0.0, -1.0, (double)NAN, (double)INFINITY, 1.0};
    for (size_t i = 0; i < 5; i++) {
        pair = (pith__stream_pair){.toward = &t.toward, .away = &t.away, .tau = taus[i]};
        pair.omega = i == 4 ? (double)NAN : 1.0;
        generate(&out, &t.base, &pair, 1, t.tokenizer, &sampled);
        assert_int_equal(out.status, PITH_E_ARGUMENT);
    }
    pith__generate_settings settings = sampled;
    settings.sampling.top_p = 0.0;
    generate(&out, &t.base, NULL, 0, t.tokenizer, &settings);
    assert_int_equal(out.status, PITH_E_ARGUMENT);
    settings = sampled;
    settings.stops = empty;
    settings.n_stops = 2;
    generate(&out, &t.base, NULL, 0, t.tokenizer, &settings);
    assert_int_equal(out.status, PITH_E_ARGUMENT);
    pith__reader_restore(&t.base, pith__reader_save(&t.base));
    generate(&out, &t.base, NULL, 0, t.tokenizer, &sampled); /* expects nothing any more */
    assert_int_equal(out.status, PITH_E_ARGUMENT);
    stranger->head[0] = NAN; /* what comes after id 0 is no number */
    const uint32_t zero = 0;
    read_ids(&other, &zero, 1, NULL);
    generate(&out, &other, NULL, 0, stranger->tokenizer, &sampled);
    assert_int_equal(out.status, PITH_E_CORRUPT);
    pith__reader_deinit(&other);
    puppet_close(stranger);
    trio_close(&t);
}

/* ---- memory -------------------------------------------------------------------------------------- */

static pith_status read_and_write(fixture *f, const pith__tokenizer *tokenizer,
                                  pith__reader readers[3], const pith_allocator *sweep_mem)
{
    const uint32_t ids[] = {5, 6, 7, 8};
    const uint32_t offsets[] = {0, 1};
    const float slots[2 * 2 * 32] = {0.0f};
    const char *const stops[] = {"never"};
    float nats[4];
    for (size_t i = 0; i < 3; i++) {
        PITH__TRY(pith__reader_init(&readers[i], &f->model, 1, sweep_mem, NULL));
        PITH__TRY(pith__reader_slots(&readers[i], slots, slots, offsets, 2, 2, NULL));
        const pith_status status = pith__reader_ids(&readers[i], ids, 4, nats, NULL);
        assert_int_equal(readers[i].kv.length, status == PITH_OK ? 6 : 2);
        assert_int_equal(pith__reader_logits(&readers[i]) != NULL, status == PITH_OK);
        PITH__TRY(status);
    }
    const pith__stream_pair pair = {
        .toward = &readers[1], .away = &readers[2], .omega = 1.0, .tau = 1.0};
    pith__generate_settings settings = sampled;
    settings.max_tokens = 12;
    settings.history = ids;
    settings.n_history = 4;
    settings.stops = stops;
    settings.n_stops = 1;
    pith__stop_reason reason = PITH__STOP_END;
    size_t count = 0;
    return pith__generate(&readers[0], &pair, 1, tokenizer, &settings, sweep_mem, &reason, &count,
                          NULL);
}

static pith_status sweep_generation(const pith_allocator *sweep_mem, void *user)
{
    trio *t = user;
    pith__reader readers[3] = {{0}, {0}, {0}};
    const pith_status status = read_and_write(&t->f, t->tokenizer, readers, sweep_mem);
    for (size_t i = 0; i < 3; i++) {
        pith__reader_deinit(&readers[i]);
    }
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    trio t = {0};
    trio_open(&t, 2, 3);
    test_sweep(sweep_generation, &t);
    trio_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_in_pieces_is_reading_at_once),
        cmocka_unit_test(one_piece_has_the_bits_of_one_pass),
        cmocka_unit_test(nats_are_those_of_a_stream),
        cmocka_unit_test(slots_stand_where_they_stood),
        cmocka_unit_test(slots_stand_elsewhere),
        cmocka_unit_test(a_failed_call_changes_nothing),
        cmocka_unit_test(marks_lead_back),
        cmocka_unit_test(greedy_follows_the_model),
        cmocka_unit_test(the_end_ends_unless_it_is_ignored),
        cmocka_unit_test(control_tokens_have_no_text),
        cmocka_unit_test(stop_strings_end_the_text),
        cmocka_unit_test(code_points_stay_whole),
        cmocka_unit_test(a_full_context_is_no_error),
        cmocka_unit_test(a_full_attribute_is_no_error),
        cmocka_unit_test(the_caller_can_stop),
        cmocka_unit_test(repetition_is_penalised),
        cmocka_unit_test(silent_attributes_change_nothing),
        cmocka_unit_test(attributes_pull),
        cmocka_unit_test(writing_goes_on_where_it_stopped),
        cmocka_unit_test(logprobs_are_those_of_the_model),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
