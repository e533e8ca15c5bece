/*
 * test_capsule.c: capsules in files: what is saved comes back, what is damaged is noticed, and every
 * key and tensor is checked; and several as one.
 *
 *     test_capsule write FOLDER
 *
 * writes the files of tests/golden/capsules to a folder instead.
 */
#include "capsule_fixture.h"

#include <float.h>
#include <math.h>

static const pith_allocator *const memory = &pith__allocator_default;

static const pith__capsule_kind KINDS[] = {PITH__CAPSULE_EMBEDDINGS, PITH__CAPSULE_KV};
static const pith__capsule_type TYPES[] = {PITH__CAPSULE_F32, PITH__CAPSULE_F16,
                                           PITH__CAPSULE_INT8};
enum { N_KINDS = 2, N_TYPES = 3 };

/* A pointer to it must become NULL. */
static pith__capsule something;

static pith__capsule *parse(const bytes *file)
{
    pith__capsule *capsule = NULL;
    pith_error err = {0};
    assert_ok(pith__capsule_parse(file->data, file->size, memory, &capsule, &err), err);
    assert_non_null(capsule);
    return capsule;
}

/* `part` (or NULL) stands in the message. */
static void assert_refused(const bytes *file, pith_status expected, const char *part)
{
    pith__capsule *capsule = &something;
    pith_error err = {0};
    const pith_status status = pith__capsule_parse(file->data, file->size, memory, &capsule, &err);
    if (status != expected || (part != NULL && strstr(err.message, part) == NULL)) {
        fail_msg("%s: \"%s\", expected %s and \"%s\"", pith_status_name(status), err.message,
                 pith_status_name(expected), part == NULL ? "" : part);
    }
    assert_null(capsule);
    assert_true(err.message[0] != '\0');
    assert_true(err.offset == PITH_NO_OFFSET || err.offset <= file->size);
}

/* ---- a capsule in memory ------------------------------------------------------------------------ */

static void a_new_capsule_is_empty(void **state)
{
    (void)state;
    pith__capsule *c = NULL;
    pith_error err = {0};
    assert_ok(pith__capsule_new(PITH__CAPSULE_KV, "gist", 3, 2, 4, memory, &c, &err), err);
    assert_int_equal(c->type, PITH__CAPSULE_F32);
    assert_string_equal(c->method, "gist");
    assert_string_equal(c->position_mode, "compact");
    assert_string_equal(c->record, "{}");
    assert_string_equal(c->binding.model, "");
    assert_int_equal(c->advance, 3);
    assert_false(c->bos);
    assert_null(c->embeddings);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(c->positions[i], i);
    }
    for (size_t i = 0; i < (size_t)2 * 3 * 4; i++) {
        assert_true(c->keys[i] == 0.0f && c->values[i] == 0.0f);
    }
    pith__capsule_free(c);
    assert_ok(pith__capsule_new(PITH__CAPSULE_EMBEDDINGS, "cc", 1, 7, 5, memory, &c, &err), err);
    assert_int_equal(c->layers, 0);
    assert_true(c->keys == NULL && c->values == NULL && c->embeddings[4] == 0.0f);
    pith__capsule_free(c);
    pith__capsule_free(NULL);
}

static void impossible_capsules_are_refused(void **state)
{
    (void)state;
    static const struct {
        pith__capsule_kind kind;
        const char *method;
        uint32_t slots, layers, width;
    } cases[] = {
        {PITH__CAPSULE_KV, "gist", 0, 1, 1},
        {PITH__CAPSULE_KV, "gist", 1, 0, 1},
        {PITH__CAPSULE_KV, "gist", 1, 1, 0},
        {PITH__CAPSULE_EMBEDDINGS, "cc", 0, 0, 1},
        {PITH__CAPSULE_EMBEDDINGS, "cc", 1, 0, 0},
        {PITH__CAPSULE_EMBEDDINGS, "cc", UINT32_MAX, 0, 1},
        {PITH__CAPSULE_KV, "gist", INT32_MAX, UINT32_MAX, UINT32_MAX},
        {PITH__CAPSULE_KV, "", 1, 1, 1},
        {PITH__CAPSULE_KV, "two words", 1, 1, 1},
        {PITH__CAPSULE_KV, "a-name-of-thirty-two-characters.", 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pith__capsule *c = &something;
        pith_error err = {0};
        assert_status(pith__capsule_new(cases[i].kind, cases[i].method, cases[i].slots,
                                        cases[i].layers, cases[i].width, memory, &c, &err),
                      PITH_E_ARGUMENT);
        assert_null(c);
    }
}

/* ---- there and back ------------------------------------------------------------------------------- */

static void assert_same_fields(const pith__capsule *a, const pith__capsule *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_string_equal(a->method, b->method);
    assert_int_equal(a->slots, b->slots);
    assert_int_equal(a->layers, b->layers);
    assert_int_equal(a->width, b->width);
    assert_true(a->source_bytes == b->source_bytes && a->source_tokens == b->source_tokens);
    assert_string_equal(a->source_sha256, b->source_sha256);
    assert_string_equal(a->position_mode, b->position_mode);
    assert_memory_equal(a->positions, b->positions, a->slots * sizeof a->positions[0]);
    assert_int_equal(a->advance, b->advance);
    assert_int_equal(a->bos, b->bos);
    assert_string_equal(a->binding.model, b->binding.model);
    assert_string_equal(a->binding.tokenizer, b->binding.tokenizer);
    assert_string_equal(a->binding.adapter, b->binding.adapter);
    assert_int_equal(a->record_size, b->record_size);
    assert_memory_equal(a->record, b->record, a->record_size + 1);
}

/* Rows of (rows, width) as close as the type promises. */
static void assert_close(const float *expected, const float *got, size_t rows, size_t width,
                         pith__capsule_type type)
{
    if (type == PITH__CAPSULE_F32) {
        assert_memory_equal(got, expected, rows * width * sizeof *got);
        return;
    }
    for (size_t r = 0; r < rows; r++) {
        double largest = 0.0;
        for (size_t i = 0; i < width; i++) {
            largest = fmax(largest, fabs((double)expected[r * width + i]));
        }
        for (size_t i = 0; i < width; i++) {
            const double value = (double)expected[r * width + i];
            const double half_step = type == PITH__CAPSULE_F16
                                         ? fmax(fabs(value) * 0x1p-11, 0x1p-25)
                                         : largest / 127.0 * 0.5 * (1.0 + 1e-5);
            const double error = fabs((double)got[r * width + i] - value);
            if (!(error <= half_step)) {
                fail_msg("row %zu: %g became %g", r, value, (double)got[r * width + i]);
            }
        }
    }
}

static void assert_close_numbers(const pith__capsule *expected, const pith__capsule *got)
{
    const size_t width = expected->width;
    const size_t rows = (size_t)expected->layers * expected->slots;
    if (expected->kind == PITH__CAPSULE_EMBEDDINGS) {
        assert_close(expected->embeddings, got->embeddings, expected->slots, width, got->type);
        assert_true(got->keys == NULL && got->values == NULL);
    } else {
        assert_close(expected->keys, got->keys, rows, width, got->type);
        assert_close(expected->values, got->values, rows, width, got->type);
        assert_null(got->embeddings);
    }
}

/* Numbers of many sizes, a row of zeros, and one with a single large number. */
static void fill_rough(float *numbers, size_t rows, size_t width, uint64_t seed)
{
    for (size_t i = 0; i < rows * width; i++) {
        const double unit = (double)(test_random(&seed) >> 11) * 0x1p-53 - 0.5;
        numbers[i] = (float)ldexp(unit, (int)test_random_below(&seed, 24) - 16);
    }
    memset(numbers, 0, width * sizeof *numbers);
    numbers[2 * width - 1] = -65000.0f;
}

static pith__capsule *rough_capsule(pith__capsule_kind kind)
{
    pith__capsule *c = NULL;
    pith_error err = {0};
    assert_ok(pith__capsule_new(kind, "other-method", 5, 3, 17, memory, &c, &err), err);
    if (kind == PITH__CAPSULE_KV) {
        fill_rough(c->keys, (size_t)3 * 5, 17, 1);
        fill_rough(c->values, (size_t)3 * 5, 17, 2);
    } else {
        fill_rough(c->embeddings, 5, 17, 3);
    }
    return c;
}

static void check_round_trip(const pith__capsule *capsule, pith__capsule_type type)
{
    bytes file = bytes_of(capsule, type);
    pith__capsule *again = parse(&file);
    assert_int_equal(again->type, type);
    assert_same_fields(capsule, again);
    assert_close_numbers(capsule, again);
    pith__capsule_free(again);
    bytes_free(&file);
}

static void what_is_saved_comes_back(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++) {
        pith__capsule *small = sample(KINDS[k]);
        pith__capsule *rough = rough_capsule(KINDS[k]);
        for (size_t t = 0; t < N_TYPES; t++) {
            check_round_trip(small, TYPES[t]);
            check_round_trip(rough, TYPES[t]);
        }
        pith__capsule_free(small);
        pith__capsule_free(rough);
    }
}

/* All of the file's tensors but the checksum. */
static void bytes_are_those_of_the_tensors(void **state)
{
    (void)state;
    for (size_t i = 0; i < (size_t)N_KINDS * N_TYPES; i++) {
        pith__capsule *capsule = rough_capsule(KINDS[i / N_TYPES]);
        bytes file = bytes_of(capsule, TYPES[i % N_TYPES]);
        pith__gguf gguf;
        pith_error err = {0};
        assert_ok(pith__gguf_parse(file.data, file.size, memory, &gguf, &err), err);
        uint64_t size = 0;
        for (size_t t = 0; t + 1 < gguf.n_tensors; t++) {
            size += gguf.tensors[t].size;
        }
        assert_true(pith__capsule_bytes(capsule, TYPES[i % N_TYPES]) == size);
        pith__gguf_deinit(&gguf);
        bytes_free(&file);
        pith__capsule_free(capsule);
    }
}

static void files_are_opened_by_path(void **state)
{
    (void)state;
    pith__capsule *capsule = sample(PITH__CAPSULE_KV);
    pith__capsule *again = NULL;
    pith_error err = {0};
    assert_ok(pith__capsule_save(capsule, PITH__CAPSULE_F32, scratch_path(), &err), err);
    assert_ok(pith__capsule_open(scratch_path(), memory, &again, &err), err);
    assert_same_fields(capsule, again);
    pith__capsule_free(again);
    (void)unlink(scratch_path());
    assert_status(pith__capsule_open(scratch_path(), memory, &again, &err), PITH_E_IO);
    assert_null(again);
    assert_status(pith__capsule_save(capsule, PITH__CAPSULE_F32, "/nowhere/at/all", &err),
                  PITH_E_IO);
    pith__capsule_free(capsule);
}

/* ---- what cannot be saved ---------------------------------------------------------------------------- */

static void assert_not_saved(const pith__capsule *capsule, pith__capsule_type type,
                             pith_status expected, const char *part)
{
    pith_error err = {0};
    assert_status(pith__capsule_save(capsule, type, scratch_path(), &err), expected);
    if (strstr(err.message, part) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.message, part);
    }
    assert_int_not_equal(access(scratch_path(), F_OK), 0);
}

static void numbers_must_fit_the_type(void **state)
{
    (void)state;
    pith__capsule *c = sample(PITH__CAPSULE_KV);
    float *number = &c->values[2 * 4 + 3]; /* of the second layer */
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        *number = bad[i];
        for (size_t t = 0; t < N_TYPES; t++) {
            assert_not_saved(c, TYPES[t], PITH_E_RANGE, "blk.1.values");
        }
    }
    *number = -65520.0f; /* the first that becomes infinite */
    assert_not_saved(c, PITH__CAPSULE_F16, PITH_E_RANGE, "blk.1.values");
    check_round_trip(c, PITH__CAPSULE_INT8);
    *number = nextafterf(65520.0f, 0.0f);
    bytes file = bytes_of(c, PITH__CAPSULE_F16);
    pith__capsule *again = parse(&file);
    assert_true(again->values[2 * 4 + 3] == 65504.0f);
    pith__capsule_free(again);
    bytes_free(&file);
    *number = FLT_MAX;
    check_round_trip(c, PITH__CAPSULE_F32);
    pith__capsule_free(c);
}

/* What a file may not have is not written either. */
static void nonsense_is_not_saved(void **state)
{
    (void)state;
    pith__capsule *kv = sample(PITH__CAPSULE_KV);
    pith_error err = {0};
    kv->advance = 7;
    assert_not_saved(kv, PITH__CAPSULE_F32, PITH_E_ARGUMENT, "position 7");
    kv->advance = 9;
    memcpy(kv->position_mode, "compact", sizeof "compact");
    assert_not_saved(kv, PITH__CAPSULE_F32, PITH_E_ARGUMENT, "compact");
    kv->advance = 8; /* right after the last slot */
    check_round_trip(kv, PITH__CAPSULE_F32);
    memcpy(kv->position_mode, "scatter", sizeof "scatter");
    assert_not_saved(kv, PITH__CAPSULE_F32, PITH_E_UNSUPPORTED, "scatter");
    memcpy(kv->position_mode, "continue", sizeof "continue");
    kv->binding.model[0] = 'A'; /* not lower case */
    assert_not_saved(kv, PITH__CAPSULE_F32, PITH_E_ARGUMENT, "model");
    memcpy(kv->binding.model, "0123", sizeof "0123");
    assert_not_saved(kv, PITH__CAPSULE_F32, PITH_E_ARGUMENT, "model");
    kv->binding.model[0] = '\0';
    const uint64_t tokens = kv->source_tokens;
    kv->source_tokens = (UINT64_C(1) << 40) + 1;
    assert_not_saved(kv, PITH__CAPSULE_F32, PITH_E_ARGUMENT, "1099511627777 tokens");
    kv->source_tokens = tokens;
    kv->source_bytes = UINT64_MAX;
    assert_not_saved(kv, PITH__CAPSULE_F32, PITH_E_ARGUMENT, "18446744073709551615 bytes");
    kv->source_bytes = 0;
    static const char *const records[] = {"", "{", "[]", "{\"a\": \"\x1b[2J\"}"};
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        assert_ok(pith__capsule_set_record(kv, records[i], strlen(records[i]), &err), err);
        assert_not_saved(kv, PITH__CAPSULE_F32, PITH_E_ARGUMENT, "record");
    }
    assert_ok(pith__capsule_set_record(kv, "{\"\0\"}", 5, &err), err);
    assert_not_saved(kv, PITH__CAPSULE_F32, PITH_E_ARGUMENT, "record");
    pith__capsule_free(kv);
}

/* Rows that are read like embeddings stand one after the other, and the text right behind them. */
static void embeddings_have_no_other_places(void **state)
{
    (void)state;
    pith__capsule *c = sample(PITH__CAPSULE_EMBEDDINGS);
    c->positions[1] = 2;
    c->advance = 3;
    assert_not_saved(c, PITH__CAPSULE_F32, PITH_E_UNSUPPORTED, "embeddings");
    c->positions[1] = 1;
    c->advance = 2;
    check_round_trip(c, PITH__CAPSULE_F32);
    memcpy(c->position_mode, "continue", sizeof "continue");
    assert_not_saved(c, PITH__CAPSULE_F32, PITH_E_UNSUPPORTED, "embeddings");
    c->advance = 100;
    assert_not_saved(c, PITH__CAPSULE_F32, PITH_E_UNSUPPORTED, "embeddings");
    pith__capsule_free(c);
}

/* The slots stand where they do, and what follows as many places on as there are slots. */
static void released_slots_stand_anywhere(void **state)
{
    (void)state;
    pith__capsule *kv = sample(PITH__CAPSULE_KV); /* positions 5 and 7 */
    memcpy(kv->position_mode, "release", sizeof "release");
    assert_not_saved(kv, PITH__CAPSULE_F32, PITH_E_ARGUMENT, "2 slots");
    kv->advance = 2;
    check_round_trip(kv, PITH__CAPSULE_F32);
    kv->positions[0] = INT32_MAX;
    check_round_trip(kv, PITH__CAPSULE_F16);
    kv->positions[0]++;
    assert_not_saved(kv, PITH__CAPSULE_F32, PITH_E_ARGUMENT, "position 2147483648");
    kv->positions[0] = 0;
    bytes file = bytes_of(kv, PITH__CAPSULE_INT8);
    bytes_patch_u32(&file, "pith.capsule.advance", 3);
    assert_refused(&file, PITH_E_CORRUPT, "follows at 3");
    bytes_patch_u32(&file, "pith.capsule.advance", 2);
    pith__capsule_free(parse(&file));
    bytes_free(&file);
    pith__capsule_free(kv);
    pith__capsule *embeddings = sample(PITH__CAPSULE_EMBEDDINGS);
    memcpy(embeddings->position_mode, "release", sizeof "release");
    assert_not_saved(embeddings, PITH__CAPSULE_F32, PITH_E_UNSUPPORTED, "release");
    pith__capsule_free(embeddings);
}

/* ---- one of several ------------------------------------------------------------------------------ */

static pith__capsule *join(const pith__capsule *const *capsules, size_t count)
{
    pith__capsule *joined = NULL;
    pith_error err = {0};
    assert_ok(pith__capsule_join(capsules, count, memory, &joined, &err), err);
    assert_non_null(joined);
    return joined;
}

static void assert_positions(const pith__capsule *c, const uint32_t *positions, uint32_t slots,
                             uint32_t advance)
{
    assert_int_equal(c->slots, slots);
    assert_memory_equal(c->positions, positions, slots * sizeof *positions);
    assert_int_equal(c->advance, advance);
}

/* Row `to` of every part of `joined` is row `from` of that of `capsule`. */
static void assert_row(const pith__capsule *joined, uint32_t to, const pith__capsule *capsule,
                       uint32_t from)
{
    const size_t width = capsule->width;
    if (capsule->kind == PITH__CAPSULE_EMBEDDINGS) {
        assert_memory_equal(joined->embeddings + to * width, capsule->embeddings + from * width,
                            width * sizeof(float));
        return;
    }
    for (size_t layer = 0; layer < capsule->layers; layer++) {
        const size_t there = (layer * joined->slots + to) * width;
        const size_t here = (layer * capsule->slots + from) * width;
        assert_memory_equal(joined->keys + there, capsule->keys + here, width * sizeof(float));
        assert_memory_equal(joined->values + there, capsule->values + here, width * sizeof(float));
    }
}

static void places_and_numbers_add_up(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++) {
        pith__capsule *one = sample(KINDS[k]);
        pith__capsule *other = sample(KINDS[k]);
        float *numbers = k == 0 ? other->embeddings : other->values;
        numbers[1] += 1.0f; /* not the same */
        other->source_bytes = 3;
        other->source_tokens = 2;
        const pith__capsule *const three[] = {one, other, one};
        pith__capsule *joined = join(three, 3);
        static const uint32_t counted[] = {0, 1, 2, 3, 4, 5};
        static const uint32_t far[] = {5, 7, 14, 16, 23, 25}; /* each takes 9 */
        assert_positions(joined, k == 0 ? counted : far, 6, k == 0 ? 6 : 27);
        for (uint32_t i = 0; i < 6; i++) {
            assert_row(joined, i, three[i / 2], i % 2);
        }
        assert_true(joined->source_bytes == UINT64_C(10000000003));
        assert_true(joined->source_tokens == UINT64_C(12000000002));
        assert_string_equal(joined->source_sha256, "");
        assert_string_equal(joined->record, "{}");
        assert_string_equal(joined->method, one->method);
        assert_string_equal(joined->position_mode, one->position_mode);
        assert_string_equal(joined->binding.adapter, one->binding.adapter);
        assert_int_equal(joined->bos, one->bos);
        check_round_trip(joined, PITH__CAPSULE_F32);
        pith__capsule_free(joined);
        pith__capsule_free(other);
        pith__capsule_free(one);
    }
}

/* Slots of a released capsule lie beyond what it takes, also when another follows. */
static void released_places_add_up(void **state)
{
    (void)state;
    pith__capsule *c = sample(PITH__CAPSULE_KV);
    memcpy(c->position_mode, "release", sizeof "release");
    c->advance = 2;
    static const uint32_t expected[] = {5, 7, 7, 9};
    pith__capsule *joined = join((const pith__capsule *const[]){c, c}, 2);
    assert_positions(joined, expected, 4, 4);
    check_round_trip(joined, PITH__CAPSULE_F32);
    pith__capsule_free(joined);
    c->positions[1] = INT32_MAX;
    pith_error err = {0};
    assert_status(
        pith__capsule_join((const pith__capsule *const[]){c, c}, 2, memory, &joined, &err),
        PITH_E_ARGUMENT);
    assert_null(joined);
    pith__capsule_free(c);
}

static void assert_not_joined(const pith__capsule *a, const pith__capsule *b, const char *part)
{
    const pith__capsule *const pair[] = {a, b};
    pith__capsule *joined = &something;
    pith_error err = {0};
    assert_status(pith__capsule_join(pair, 2, memory, &joined, &err), PITH_E_MISMATCH);
    if (strstr(err.message, part) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.message, part);
    }
    assert_null(joined);
}

static void only_what_is_alike_is_joined(void **state)
{
    (void)state;
    pith__capsule *one = sample(PITH__CAPSULE_KV);
    pith__capsule *other = sample(PITH__CAPSULE_EMBEDDINGS);
    assert_not_joined(one, other, "kind: kv and embeddings");
    pith__capsule_free(other);
    other = sample(PITH__CAPSULE_KV);
    memcpy(other->method, "500x", sizeof "500x");
    assert_not_joined(one, other, "method: gist and 500x");
    memcpy(other->method, one->method, sizeof other->method);
    memcpy(other->position_mode, "compact", sizeof "compact");
    other->advance = 8;
    assert_not_joined(one, other, "position mode: continue and compact");
    memcpy(other->position_mode, one->position_mode, sizeof other->position_mode);
    other->bos = false;
    assert_not_joined(one, other, "BOS");
    other->bos = true;
    struct {
        char *hash;
        const char *name;
    } hashes[] = {{other->binding.model, "model"},
                  {other->binding.tokenizer, "tokenizer"},
                  {other->binding.adapter, "adapter"}};
    for (size_t i = 0; i < 3; i++) {
        char before[PITH__SHA256_SIZE];
        memcpy(before, hashes[i].hash, sizeof before);
        pith__sha256_of("another", 7, hashes[i].hash);
        assert_not_joined(one, other, hashes[i].name);
        assert_not_joined(one, other, hashes[i].hash);
        memcpy(hashes[i].hash, before, sizeof before);
    }
    pith__capsule_free(join((const pith__capsule *const[]){one, other}, 2)); /* it was these */
    pith__capsule_free(other);
    other = rough_capsule(PITH__CAPSULE_KV);
    memcpy(other->method, one->method, sizeof other->method);
    memcpy(other->position_mode, one->position_mode, sizeof other->position_mode);
    other->bos = one->bos;
    other->binding = one->binding;
    assert_not_joined(one, other, "2 layers and rows of 4, and 3 layers and rows of 17");
    pith__capsule_free(other);
    pith__capsule_free(one);
}

static void nothing_and_too_much_are_not_joined(void **state)
{
    (void)state;
    pith__capsule *c = sample(PITH__CAPSULE_KV);
    const pith__capsule *const pair[] = {c, c};
    pith__capsule *joined = &something;
    pith_error err = {0};
    assert_status(pith__capsule_join(pair, 0, memory, &joined, &err), PITH_E_ARGUMENT);
    c->advance = INT32_MAX;
    assert_status(pith__capsule_join(pair, 2, memory, &joined, &err), PITH_E_ARGUMENT);
    c->advance = 9;
    c->source_bytes = INT64_MAX;
    assert_status(pith__capsule_join(pair, 2, memory, &joined, &err), PITH_E_ARGUMENT);
    c->source_bytes = 0;
    c->source_tokens = UINT64_C(1) << 40;
    assert_status(pith__capsule_join(pair, 2, memory, &joined, &err), PITH_E_ARGUMENT);
    assert_null(joined);
    pith__capsule_free(c);
}

static void a_copy_has_everything(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++) {
        bytes file = sample_bytes(KINDS[k], PITH__CAPSULE_F16);
        pith__capsule *c = parse(&file);
        pith__capsule *copy = NULL;
        pith_error err = {0};
        assert_ok(pith__capsule_copy(c, memory, &copy, &err), err);
        assert_int_equal(copy->type, PITH__CAPSULE_F16);
        assert_same_fields(c, copy);
        copy->type = PITH__CAPSULE_F32; /* nothing is lost */
        assert_close_numbers(c, copy);
        pith__capsule_free(copy);
        pith__capsule_free(c);
        bytes_free(&file);
    }
}

static pith_status join_and_copy(const pith_allocator *mem, void *user)
{
    const pith__capsule *c = user;
    pith__capsule *joined = NULL;
    pith__capsule *copy = NULL;
    PITH__TRY(pith__capsule_join((const pith__capsule *const[]){c, c}, 2, mem, &joined, NULL));
    const pith_status status = pith__capsule_copy(joined, mem, &copy, NULL);
    assert_int_equal(status == PITH_OK, copy != NULL);
    pith__capsule_free(joined);
    pith__capsule_free(copy);
    return status;
}

static void every_allocation_of_a_join_may_fail(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++) {
        pith__capsule *c = sample(KINDS[k]);
        test_sweep(join_and_copy, c);
        pith__capsule_free(c);
    }
}

/* ---- damage --------------------------------------------------------------------------------------------- */

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    for (size_t k = 0; k < N_KINDS; k++) {
        bytes file = sample_bytes(KINDS[k], k == 0 ? PITH__CAPSULE_INT8 : PITH__CAPSULE_F16);
        for (size_t i = 0; i < file.size; i++) {
            const unsigned char before = file.data[i];
            for (unsigned bit = 0; bit < 8; bit++) {
                file.data[i] = (unsigned char)(before ^ 1u << bit);
                assert_refused(&file, PITH_E_CORRUPT, NULL);
            }
            file.data[i] = (unsigned char)~before;
            assert_refused(&file, PITH_E_CORRUPT, NULL);
            file.data[i] = before;
        }
        pith__capsule_free(parse(&file)); /* it was the flips */
        bytes_free(&file);
    }
}

static void every_truncation_is_noticed(void **state)
{
    (void)state;
    bytes file = sample_bytes(PITH__CAPSULE_KV, PITH__CAPSULE_INT8);
    for (size_t size = 0; size < file.size; size++) {
        bytes shorter = bytes_copy(file.data, size);
        assert_refused(&shorter, PITH_E_CORRUPT, NULL);
        bytes_free(&shorter);
    }
    for (size_t more = 1; more <= 64; more++) {
        bytes longer = {calloc(1, file.size + more), file.size + more};
        assert_non_null(longer.data);
        memcpy(longer.data, file.data, file.size);
        assert_refused(&longer, PITH_E_CORRUPT, NULL);
        bytes_seal(&longer); /* the checksum is right now, but not where the tensor is */
        assert_refused(&longer, PITH_E_CORRUPT, NULL);
        bytes_free(&longer);
    }
    bytes_free(&file);
}

static void other_files_are_no_capsules(void **state)
{
    (void)state;
    static const char text[] = "Once upon a time there was a file that was no capsule at all.";
    bytes file = bytes_copy(text, sizeof text);
    assert_refused(&file, PITH_E_CORRUPT, NULL);
    bytes_free(&file);
    size_t size = 0;
    char *model = test_read_file(test_path("golden", "models/llama_untied.gguf"), &size);
    file = bytes_copy(model, size);
    free(model);
    assert_refused(&file, PITH_E_CORRUPT, "no capsule");
    bytes_free(&file);
}

/* ---- every key and tensor ------------------------------------------------------------------------------------ */

static void later_versions_are_named(void **state)
{
    (void)state;
    bytes file = sample_bytes(PITH__CAPSULE_KV, PITH__CAPSULE_F32);
    bytes_patch_u32(&file, "pith.capsule.version", 2);
    assert_refused(&file, PITH_E_UNSUPPORTED, "version 2");
    bytes_patch_u32(&file, "pith.capsule.version", UINT32_MAX);
    assert_refused(&file, PITH_E_UNSUPPORTED, "version 4294967295");
    bytes_patch_u32(&file, "pith.capsule.version", 0);
    assert_refused(&file, PITH_E_CORRUPT, "version 0");
    bytes_patch_u32(&file, "pith.capsule.version", 1);
    pith__capsule_free(parse(&file));
    bytes_free(&file);
}

static void every_key_is_needed(void **state)
{
    (void)state;
    bytes file = sample_bytes(PITH__CAPSULE_KV, PITH__CAPSULE_F32);
    pith__gguf gguf;
    pith_error err = {0};
    assert_ok(pith__gguf_parse(file.data, file.size, memory, &gguf, &err), err);
    size_t needed = 0;
    for (size_t i = 0; i < gguf.n_kvs; i++) {
        const pith__gguf_string key = gguf.kvs[i].key;
        bytes without = bytes_copy(file.data, file.size);
        const size_t last = (size_t)(key.data - (const char *)file.data) + key.size - 1;
        without.data[last] = '_';
        bytes_seal(&without);
        pith__capsule *capsule = NULL;
        const pith_status status =
            pith__capsule_parse(without.data, without.size, memory, &capsule, &err);
        needed += status == PITH_E_CORRUPT;
        assert_null(capsule);
        bytes_free(&without);
    }
    assert_int_equal(needed, gguf.n_kvs);
    assert_int_equal(gguf.n_kvs, 20);
    pith__gguf_deinit(&gguf);
    bytes_free(&file);
}

/* A value in place of another of the same size. */
typedef struct patch {
    pith__capsule_kind kind;
    pith__capsule_type type;
    bytes_what what;
    const char *name;
    size_t skip;
    const char *with;
    size_t size;
    pith_status expected;
    const char *part; /* of the message */
} patch;

#define EMB  PITH__CAPSULE_EMBEDDINGS
#define KV   PITH__CAPSULE_KV
#define F32  PITH__CAPSULE_F32
#define F16  PITH__CAPSULE_F16
#define INT8 PITH__CAPSULE_INT8

/* Text values follow 8 bytes of length, arrays 12 of type and length. */
static const patch PATCHES[] = {
    {KV, F32, AT_VALUE, "general.type", 8, "model", 5, PITH_E_CORRUPT, "no capsule"},
    {KV, F32, AT_VALUE, "general.architecture", 8, "gpt-2", 5, PITH_E_UNSUPPORTED, "gpt-2"},
    {KV, F32, AT_VALUE, "pith.capsule.kind", 8, "qv", 2, PITH_E_UNSUPPORTED, "qv"},
    {KV, F32, AT_VALUE, "pith.capsule.rotation", 8, "full", 4, PITH_E_UNSUPPORTED, "full"},
    {KV, F32, AT_VALUE, "pith.capsule.method", 8, "g st", 4, PITH_E_CORRUPT, "method"},
    {KV, F32, AT_VALUE, "pith.capsule.method", 8, "g\0st", 4, PITH_E_CORRUPT, "method"},
    {KV, F32, AT_VALUE, "pith.capsule.position_mode", 8, "teleport", 8, PITH_E_UNSUPPORTED,
     "teleport"},
    {KV, F32, AT_VALUE, "pith.capsule.source.sha256", 8, "G", 1, PITH_E_CORRUPT, "source"},
    {KV, F32, AT_VALUE, "pith.capsule.model_sha256", 8, "A", 1, PITH_E_CORRUPT, "model"},
    {KV, F32, AT_VALUE, "pith.capsule.tokenizer_sha256", 71, " ", 1, PITH_E_CORRUPT, "tokenizer"},
    {KV, F32, AT_VALUE, "pith.capsule.adapter_sha256", 30, "\0", 1, PITH_E_CORRUPT, "adapter"},
    {KV, F32, AT_VALUE, "pith.capsule.slots", 0, "\0\0\0\0", 4, PITH_E_CORRUPT, "0 slots"},
    {KV, F32, AT_VALUE, "pith.capsule.slots", 0, "\1\0\0\0", 4, PITH_E_CORRUPT, "shape"},
    {KV, F32, AT_VALUE, "pith.capsule.slots", 0, "\3\0\0\0", 4, PITH_E_CORRUPT, "shape"},
    {KV, F32, AT_VALUE, "pith.capsule.slots", 0, "\xff\xff\xff\xff", 4, PITH_E_CORRUPT, "slots"},
    {KV, F32, AT_VALUE, "pith.capsule.slots", 0, "\xff\xff\xff\x7f", 4, PITH_E_CORRUPT, "shape"},
    {KV, F32, AT_VALUE, "pith.capsule.layers", 0, "\0\0\0\0", 4, PITH_E_CORRUPT, "0 layers"},
    {KV, F32, AT_VALUE, "pith.capsule.layers", 0, "\1\0\0\0", 4, PITH_E_CORRUPT, "1 layers"},
    {KV, F32, AT_VALUE, "pith.capsule.layers", 0, "\3\0\0\0", 4, PITH_E_CORRUPT, "3 layers"},
    {KV, F32, AT_VALUE, "pith.capsule.layers", 0, "\xff\xff\xff\xff", 4, PITH_E_CORRUPT, "layers"},
    {KV, F32, AT_VALUE, "pith.capsule.width", 0, "\0\0\0\0", 4, PITH_E_CORRUPT, "rows of 0"},
    {KV, F32, AT_VALUE, "pith.capsule.width", 0, "\5\0\0\0", 4, PITH_E_CORRUPT, "shape"},
    {KV, F32, AT_VALUE, "pith.capsule.width", 0, "\xff\xff\xff\xff", 4, PITH_E_CORRUPT, "shape"},
    {KV, F32, AT_VALUE, "pith.capsule.advance", 0, "\0\0\0\0", 4, PITH_E_CORRUPT, "position 7"},
    {KV, F32, AT_VALUE, "pith.capsule.advance", 0, "\7\0\0\0", 4, PITH_E_CORRUPT, "position 7"},
    {KV, F32, AT_VALUE, "pith.capsule.advance", 0, "\xff\xff\xff\xff", 4, PITH_E_CORRUPT, "7"},
    {KV, F32, AT_VALUE, "pith.capsule.positions", 0, "\4", 1, PITH_E_CORRUPT, "positions"},
    {KV, F32, AT_VALUE, "pith.capsule.positions", 12, "\x09", 1, PITH_E_CORRUPT, "position 9"},
    {KV, F32, AT_VALUE, "pith.capsule.positions", 15, "\x80", 1, PITH_E_CORRUPT, "position -"},
    {KV, F32, AT_VALUE, "pith.capsule.record", 8, "[", 1, PITH_E_CORRUPT, "record"},
    {KV, F32, AT_VALUE, "pith.capsule.record", 12, "\0", 1, PITH_E_CORRUPT, "record"},
    {KV, F32, AT_VALUE, "pith.capsule.record", 12, "\x1b", 1, PITH_E_CORRUPT, "record"},
    {EMB, F32, AT_VALUE, "pith.capsule.layers", 0, "\1\0\0\0", 4, PITH_E_CORRUPT, "layers"},
    {EMB, F32, AT_VALUE, "pith.capsule.positions", 12, "\1\0\0\0\0", 5, PITH_E_UNSUPPORTED,
     "embeddings"},
    {EMB, F32, AT_VALUE, "pith.capsule.advance", 0, "\3\0\0\0", 4, PITH_E_CORRUPT, "compact"},
    {EMB, F32, AT_NAME, "embeddings", 0, "x", 1, PITH_E_CORRUPT, "embeddings is missing"},
    {EMB, INT8, AT_NAME, "embeddings.scale", 0, "x", 1, PITH_E_CORRUPT, "embeddings.scale"},
    {KV, F32, AT_NAME, "blk.0.keys", 0, "x", 1, PITH_E_CORRUPT, "blk.0.keys is missing"},
    {KV, F32, AT_NAME, "blk.1.values", 0, "x", 1, PITH_E_CORRUPT, "blk.1.values is missing"},
    {KV, INT8, AT_NAME, "blk.1.keys.scale", 0, "x", 1, PITH_E_CORRUPT, "blk.1.keys.scale"},
    {KV, F32, AT_NAME, "checksum", 0, "x", 1, PITH_E_CORRUPT, "checksum is missing"},
    /* after the name: 4 bytes number of dimensions, 8 for each, 4 type */
    {KV, F32, AT_NAME, "blk.1.values", 32, "\x1a", 1, PITH_E_CORRUPT, "blk.1.values"},
    {KV, F32, AT_NAME, "blk.0.keys", 30, "\x1a", 1, PITH_E_UNSUPPORTED, "I32"},
    {KV, F32, AT_NAME, "blk.0.keys", 14, "\2\0\0\0\0\0\0\0\4", 9, PITH_E_CORRUPT, "blk.0.keys"},
    {KV, F32, AT_TENSOR, "blk.1.values", 12, "\0\0\xc0\x7f", 4, PITH_E_CORRUPT, "blk.1.values"},
    {KV, F32, AT_TENSOR, "blk.0.keys", 0, "\0\0\x80\xff", 4, PITH_E_CORRUPT, "blk.0.keys"},
    {KV, F16, AT_TENSOR, "blk.0.values", 2, "\0\x7c", 2, PITH_E_CORRUPT, "blk.0.values"},
    {KV, INT8, AT_TENSOR, "blk.0.keys.scale", 4, "\0\0\xc0\x7f", 4, PITH_E_CORRUPT, "blk.0.keys"},
    {EMB, INT8, AT_TENSOR, "embeddings.scale", 0, "\xff\xff\x7f\x7f", 4, PITH_E_CORRUPT,
     "embeddings"},
};

static void every_value_is_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof PATCHES / sizeof PATCHES[0]; i++) {
        const patch *p = &PATCHES[i];
        bytes file = sample_bytes(p->kind, p->type);
        bytes_patch(&file, p->what, p->name, p->skip, p->with, p->size);
        assert_refused(&file, p->expected, p->part);
        bytes_free(&file);
    }
}

/* A type in place of another for every key: E_CORRUPT, or it does not matter for the value. */
static void every_type_is_checked(void **state)
{
    (void)state;
    bytes file = sample_bytes(PITH__CAPSULE_KV, PITH__CAPSULE_F32);
    pith__gguf gguf;
    pith_error err = {0};
    assert_ok(pith__gguf_parse(file.data, file.size, memory, &gguf, &err), err);
    for (size_t i = 0; i < gguf.n_kvs; i++) {
        const pith__gguf_kv *kv = &gguf.kvs[i];
        const uint32_t other = kv->type == PITH__GGUF_VALUE_U32 || kv->type == PITH__GGUF_VALUE_I32
                                   ? PITH__GGUF_VALUE_F32
                               : kv->type == PITH__GGUF_VALUE_U64  ? PITH__GGUF_VALUE_F64
                               : kv->type == PITH__GGUF_VALUE_BOOL ? PITH__GGUF_VALUE_I8
                                                                   : PITH__GGUF_VALUE_U32;
        bytes changed = bytes_copy(file.data, file.size);
        memcpy(changed.data + kv->offset - sizeof other, &other, sizeof other);
        bytes_seal(&changed);
        assert_refused(&changed, PITH_E_CORRUPT, NULL);
        bytes_free(&changed);
    }
    pith__gguf_deinit(&gguf);
    bytes_free(&file);
}

/* ---- what it is bound to ----------------------------------------------------------------------------------------- */

static void assert_mismatch(const pith__capsule *capsule, const pith__model_config *config,
                            const pith__binding *binding, const char *one, const char *other)
{
    pith_error err = {0};
    assert_status(pith__capsule_check(capsule, config, binding, &err), PITH_E_MISMATCH);
    if (strstr(err.message, one) == NULL || strstr(err.message, other) == NULL) {
        fail_msg("\"%s\" does not say both \"%s\" and \"%s\"", err.message, one, other);
    }
}

static void a_capsule_is_bound(void **state)
{
    (void)state;
    const pith__model_config config = {.layers = 2, .width = 6, .kv_heads = 2, .head_dim = 2};
    for (size_t k = 0; k < N_KINDS; k++) {
        pith__capsule *c = sample(KINDS[k]);
        pith__binding binding = c->binding;
        pith_error err = {0};
        assert_ok(pith__capsule_check(c, &config, &binding, &err), err);
        char *const hashes[] = {binding.model, binding.tokenizer, binding.adapter};
        for (size_t i = 0; i < 3; i++) {
            char before[PITH__SHA256_SIZE];
            memcpy(before, hashes[i], sizeof before);
            pith__sha256_of("another", 7, hashes[i]);
            assert_mismatch(c, &config, &binding, before, hashes[i]);
            hashes[i][0] = '\0';
            assert_mismatch(c, &config, &binding, before, i < 2 ? "unknown" : "none");
            memcpy(hashes[i], before, sizeof before);
        }
        c->binding.adapter[0] = '\0';
        assert_mismatch(c, &config, &binding, "without", binding.adapter);
        binding.adapter[0] = '\0';
        assert_ok(pith__capsule_check(c, &config, &binding, &err), err);
        pith__capsule_free(c);
    }
}

static void a_capsule_has_the_shape_of_its_model(void **state)
{
    (void)state;
    static const pith__model_config good = {.layers = 2, .width = 6, .kv_heads = 2, .head_dim = 2};
    pith__capsule *kv = sample(PITH__CAPSULE_KV);
    pith__capsule *embeddings = sample(PITH__CAPSULE_EMBEDDINGS);
    pith__model_config config = good;
    config.layers = 3;
    assert_mismatch(kv, &config, &kv->binding, "2 layers", "wants 3");
    config = good;
    config.head_dim = 4;
    assert_mismatch(kv, &config, &kv->binding, "rows of 4", "and 8");
    config = good;
    config.width = 7;
    assert_mismatch(embeddings, &config, &embeddings->binding, "rows of 6", "and 7");
    pith__capsule_free(embeddings);
    pith__capsule_free(kv);
}

/* ---- memory -------------------------------------------------------------------------------------------------------- */

static pith_status make_and_save(const pith_allocator *mem, void *user)
{
    const size_t *which = user;
    pith__capsule *capsule = NULL;
    PITH__TRY(sample_new(KINDS[*which / N_TYPES], mem, &capsule, NULL));
    const pith_status status =
        pith__capsule_save(capsule, TYPES[*which % N_TYPES], scratch_path(), NULL);
    pith__capsule_free(capsule);
    return status;
}

static pith_status open_again(const pith_allocator *mem, void *user)
{
    (void)user;
    pith__capsule *capsule = NULL;
    const pith_status status = pith__capsule_open(scratch_path(), mem, &capsule, NULL);
    assert_int_equal(status == PITH_OK, capsule != NULL);
    pith__capsule_free(capsule);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t i = 0; i < (size_t)N_KINDS * N_TYPES; i++) {
        test_sweep(make_and_save, &i);
        test_sweep(open_again, NULL);
    }
    (void)unlink(scratch_path());
}

typedef struct peak {
    test_memory memory;
    size_t highest;
} peak;

static void *peak_realloc(void *user, void *ptr, size_t old_size, size_t new_size)
{
    peak *p = user;
    void *result = test_memory_realloc(&p->memory, ptr, old_size, new_size);
    p->highest = p->memory.live > p->highest ? p->memory.live : p->highest;
    return result;
}

static void assert_modest(const bytes *file, pith_status expected)
{
    peak p = {.highest = 0};
    const pith_allocator mem = {&p, peak_realloc};
    pith__capsule *capsule = NULL;
    assert_status(pith__capsule_parse(file->data, file->size, &mem, &capsule, NULL), expected);
    assert_in_range(p.highest, 1, 8 * file->size);
    pith__capsule_free(capsule);
    assert_int_equal(p.memory.live, 0);
}

static void memory_is_bounded_by_the_file(void **state)
{
    (void)state;
    static const char *const keys[] = {"pith.capsule.slots", "pith.capsule.layers",
                                       "pith.capsule.width", "pith.capsule.advance"};
    for (size_t i = 0; i < (size_t)N_KINDS * N_TYPES; i++) {
        pith__capsule *capsule = rough_capsule(KINDS[i / N_TYPES]);
        bytes file = bytes_of(capsule, TYPES[i % N_TYPES]);
        assert_modest(&file, PITH_OK);
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            bytes huge = bytes_copy(file.data, file.size);
            bytes_patch_u32(&huge, keys[k], INT32_MAX);
            assert_modest(&huge, PITH_E_CORRUPT);
            bytes_free(&huge);
        }
        bytes_free(&file);
        pith__capsule_free(capsule);
    }
}

/* ---- golden files ---------------------------------------------------------------------------------------------------- */

/* A file of tests/golden/capsules: how it is made, and what comes of it. */
typedef struct golden {
    const char *name;
    bytes (*make)(void);
    pith_status expected;
    const char *part; /* of the message */
} golden;

static bytes make_kv_f32(void)
{
    return sample_bytes(PITH__CAPSULE_KV, PITH__CAPSULE_F32);
}

static bytes make_kv_f16(void)
{
    return sample_bytes(PITH__CAPSULE_KV, PITH__CAPSULE_F16);
}

static bytes make_embeddings_int8(void)
{
    return sample_bytes(PITH__CAPSULE_EMBEDDINGS, PITH__CAPSULE_INT8);
}

static bytes make_other_model(void)
{
    pith__capsule *capsule = sample(PITH__CAPSULE_KV);
    pith__sha256_of("another model", 13, capsule->binding.model);
    const bytes file = bytes_of(capsule, PITH__CAPSULE_F32);
    pith__capsule_free(capsule);
    return file;
}

static bytes make_truncated(void)
{
    bytes file = make_kv_f32();
    file.size -= 100;
    return file;
}

static bytes make_flipped(void)
{
    bytes file = make_kv_f32();
    file.data[bytes_find(&file, AT_TENSOR, "blk.1.keys") + 5] ^= 0x10;
    return file;
}

static bytes make_version(void)
{
    bytes file = make_kv_f32();
    bytes_patch_u32(&file, "pith.capsule.version", 2);
    return file;
}

static bytes make_huge(void)
{
    bytes file = make_kv_f32();
    bytes_patch_u32(&file, "pith.capsule.slots", INT32_MAX);
    bytes_patch_u32(&file, "pith.capsule.layers", UINT32_MAX);
    return file;
}

static bytes make_huge_tables(void)
{
    bytes file = make_kv_f32();
    memset(file.data + 8, 0x7f, 8); /* number of tensors */
    bytes_seal(&file);
    return file;
}

static bytes make_missing(void)
{
    bytes file = make_kv_f32();
    bytes_patch(&file, AT_KEY, "pith.capsule.advance", strlen("pith.capsule.advanc"), "_", 1);
    return file;
}

static const golden GOLDEN[] = {
    {"kv-f32", make_kv_f32, PITH_OK, NULL},
    {"kv-f16", make_kv_f16, PITH_OK, NULL},
    {"embeddings-int8", make_embeddings_int8, PITH_OK, NULL},
    {"other-model", make_other_model, PITH_OK, NULL}, /* but it fits no model of ours */
    {"truncated", make_truncated, PITH_E_CORRUPT, NULL},
    {"flipped-byte", make_flipped, PITH_E_CORRUPT, "checksum"},
    {"version-2", make_version, PITH_E_UNSUPPORTED, "version 2"},
    {"huge-sizes", make_huge, PITH_E_CORRUPT, "layers"},
    {"huge-tables", make_huge_tables, PITH_E_CORRUPT, NULL},
    {"missing-key", make_missing, PITH_E_CORRUPT, "pith.capsule.advance"},
};

#define N_GOLDEN (sizeof GOLDEN / sizeof GOLDEN[0])

static bytes golden_read(const char *name)
{
    char relative[64];
    (void)snprintf(relative, sizeof relative, "capsules/%s.gguf", name);
    size_t size = 0;
    char *data = test_read_file(test_path("golden", relative), &size);
    const bytes file = bytes_copy(data, size);
    free(data);
    return file;
}

/* What was written once can be read for ever, and is written alike: else the version must change. */
static void the_format_stays(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_GOLDEN; i++) {
        bytes kept = golden_read(GOLDEN[i].name);
        bytes made = GOLDEN[i].make();
        assert_in_range(kept.size, 32, 4096);
        if (kept.size != made.size || memcmp(kept.data, made.data, kept.size) != 0) {
            fail_msg("%s is written differently", GOLDEN[i].name);
        }
        bytes_free(&made);
        bytes_free(&kept);
    }
}

static void golden_files_are_taken_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_GOLDEN; i++) {
        bytes file = golden_read(GOLDEN[i].name);
        if (GOLDEN[i].expected == PITH_OK) {
            pith__capsule *got = parse(&file);
            pith__capsule *expected = sample(got->kind);
            if (strcmp(GOLDEN[i].name, "other-model") == 0) {
                const pith__model_config config = {.layers = 2, .kv_heads = 2, .head_dim = 2};
                assert_mismatch(got, &config, &expected->binding, got->binding.model,
                                expected->binding.model);
                got->binding = expected->binding;
            }
            assert_same_fields(expected, got);
            assert_close_numbers(expected, got);
            pith__capsule_free(expected);
            pith__capsule_free(got);
        } else {
            assert_refused(&file, GOLDEN[i].expected, GOLDEN[i].part);
        }
        bytes_free(&file);
    }
}

static int write_golden(const char *folder)
{
    bool good = true;
    for (size_t i = 0; good && i < N_GOLDEN; i++) {
        char path[4096];
        bytes made = GOLDEN[i].make();
        (void)snprintf(path, sizeof path, "%s/%s.gguf", folder, GOLDEN[i].name);
        FILE *file = fopen(path, "wb");
        good = file != NULL && fwrite(made.data, 1, made.size, file) == made.size;
        good = file != NULL && fclose(file) == 0 && good;
        bytes_free(&made);
    }
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "write") == 0) {
        return write_golden(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_capsule_is_empty),
        cmocka_unit_test(impossible_capsules_are_refused),
        cmocka_unit_test(what_is_saved_comes_back),
        cmocka_unit_test(bytes_are_those_of_the_tensors),
        cmocka_unit_test(files_are_opened_by_path),
        cmocka_unit_test(numbers_must_fit_the_type),
        cmocka_unit_test(nonsense_is_not_saved),
        cmocka_unit_test(embeddings_have_no_other_places),
        cmocka_unit_test(released_slots_stand_anywhere),
        cmocka_unit_test(places_and_numbers_add_up),
        cmocka_unit_test(released_places_add_up),
        cmocka_unit_test(only_what_is_alike_is_joined),
        cmocka_unit_test(nothing_and_too_much_are_not_joined),
        cmocka_unit_test(a_copy_has_everything),
        cmocka_unit_test(every_allocation_of_a_join_may_fail),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(other_files_are_no_capsules),
        cmocka_unit_test(later_versions_are_named),
        cmocka_unit_test(every_key_is_needed),
        cmocka_unit_test(every_value_is_checked),
        cmocka_unit_test(every_type_is_checked),
        cmocka_unit_test(a_capsule_is_bound),
        cmocka_unit_test(a_capsule_has_the_shape_of_its_model),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(memory_is_bounded_by_the_file),
        cmocka_unit_test(the_format_stays),
        cmocka_unit_test(golden_files_are_taken_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
