/*
 * test_bank.c: banks of capsules: what is saved comes back, what is damaged is noticed, and what speaks
 * of the same is found.
 */
#include "capsule_fixture.h"

#include <math.h>

static const pith_allocator *const memory = &pith__allocator_default;

enum { WIDTH = 6, N_TYPES = 3 };

static const pith__capsule_type TYPES[] = {PITH__CAPSULE_F32, PITH__CAPSULE_F16,
                                           PITH__CAPSULE_INT8};

/* ---- small banks -------------------------------------------------------------------------------- */

/* Embeddings for a text of their own. */
static pith_status entry_new(uint32_t slots, size_t salt, const pith_allocator *mem,
                             pith__capsule **out, pith_error *err)
{
    char record[32];
    pith__capsule *c = NULL;
    *out = NULL;
    PITH__TRY(pith__capsule_new(PITH__CAPSULE_EMBEDDINGS, "selfcp", slots, 0, WIDTH, mem, &c, err));
    sample_fill(c->embeddings, (size_t)slots * WIDTH, salt);
    (void)snprintf(record, sizeof record, "{\"salt\": %zu}", salt);
    c->source_bytes = (UINT64_C(1) << 33) + salt;
    c->source_tokens = (UINT64_C(1) << 34) + salt;
    c->bos = true;
    pith__sha256_of(record, strlen(record), c->source_sha256);
    pith__sha256_of("model", 5, c->binding.model);
    pith__sha256_of("tokenizer", 9, c->binding.tokenizer);
    const pith_status status = pith__capsule_set_record(c, record, strlen(record), err);
    if (status != PITH_OK) {
        pith__capsule_free(c);
        return status;
    }
    *out = c;
    return PITH_OK;
}

static pith__capsule *entry(uint32_t slots, size_t salt)
{
    pith__capsule *c = NULL;
    pith_error err = {0};
    assert_ok(entry_new(slots, salt, memory, &c, &err), err);
    return c;
}

/* An entry whose first row is the x-th axis times `size`. */
static pith__capsule *axis(size_t x, float size)
{
    pith__capsule *c = entry(2, 1);
    memset(c->embeddings, 0, WIDTH * sizeof *c->embeddings);
    c->embeddings[x] = size;
    return c;
}

static void add(pith__bank *bank, const char *name, pith__capsule *capsule)
{
    pith_error err = {0};
    assert_ok(pith__bank_add(bank, name, &capsule, &err), err);
    assert_null(capsule);
}

static const char *const NAMES[] = {"b.txt", "a b", "caf\xc3\xa9/\xff"};

/* Three entries of 1, 2 and 3 slots, in no order of names. */
static pith_status fill_bank(pith__bank *bank, pith_error *err)
{
    for (uint32_t i = 0; i < 3; i++) {
        pith__capsule *c = NULL;
        PITH__TRY(entry_new(i + 1, i + 1, &bank->mem, &c, err));
        PITH__TRY(pith__bank_add(bank, NAMES[i], &c, err));
    }
    return PITH_OK;
}

static pith__bank small_bank(void)
{
    pith__bank bank;
    pith_error err = {0};
    pith__bank_init(&bank, memory);
    assert_ok(fill_bank(&bank, &err), err);
    return bank;
}

static bytes bank_bytes(const pith__bank *bank, pith__capsule_type type)
{
    pith_error err = {0};
    assert_ok(pith__bank_save(bank, type, scratch_path(), &err), err);
    size_t size = 0;
    char *data = test_read_file(scratch_path(), &size);
    const bytes file = bytes_copy(data, size);
    free(data);
    (void)unlink(scratch_path());
    return file;
}

static bytes small_bytes(pith__capsule_type type)
{
    pith__bank bank = small_bank();
    const bytes file = bank_bytes(&bank, type);
    pith__bank_deinit(&bank);
    return file;
}

static pith__bank parse(const bytes *file)
{
    pith__bank bank;
    pith_error err = {0};
    assert_ok(pith__bank_parse(file->data, file->size, memory, &bank, &err), err);
    return bank;
}

/* `part` (or NULL) stands in the message. */
static void assert_refused(const bytes *file, pith_status expected, const char *part)
{
    pith__bank bank;
    pith_error err = {0};
    const pith_status status = pith__bank_parse(file->data, file->size, memory, &bank, &err);
    if (status != expected || (part != NULL && strstr(err.message, part) == NULL)) {
        fail_msg("%s: \"%s\", expected %s and \"%s\"", pith_status_name(status), err.message,
                 pith_status_name(expected), part == NULL ? "" : part);
    }
    assert_true(bank.items == NULL && bank.count == 0);
    assert_true(err.message[0] != '\0');
    assert_true(err.offset == PITH_NO_OFFSET || err.offset <= file->size);
}

/* ---- there and back ------------------------------------------------------------------------------- */

static void assert_same_entry(const pith__bank_entry *a, const pith__bank_entry *b)
{
    const pith__capsule *one = a->capsule;
    const pith__capsule *other = b->capsule;
    assert_string_equal(a->name, b->name);
    assert_int_equal(one->kind, other->kind);
    assert_string_equal(one->method, other->method);
    assert_int_equal(one->slots, other->slots);
    assert_int_equal(one->width, other->width);
    assert_true(one->source_bytes == other->source_bytes);
    assert_true(one->source_tokens == other->source_tokens);
    assert_string_equal(one->source_sha256, other->source_sha256);
    assert_string_equal(one->position_mode, other->position_mode);
    assert_memory_equal(one->positions, other->positions, one->slots * sizeof *one->positions);
    assert_int_equal(one->advance, other->advance);
    assert_int_equal(one->bos, other->bos);
    assert_memory_equal(&one->binding, &other->binding, sizeof one->binding);
    assert_string_equal(one->record, other->record);
}

/* Numbers are multiples of 1/64, so that only int8 changes them: by half a step of 127 at most. */
static void assert_close(const pith__capsule *expected, const pith__capsule *got,
                         pith__capsule_type type)
{
    assert_int_equal(got->type, type);
    for (size_t i = 0; i < (size_t)expected->slots * WIDTH; i++) {
        const double error = fabs((double)expected->embeddings[i] - (double)got->embeddings[i]);
        assert_true(error <= (type == PITH__CAPSULE_INT8 ? 0.79 / 127.0 * 0.501 : 0.0));
    }
}

static void what_is_saved_comes_back(void **state)
{
    (void)state;
    for (size_t t = 0; t < N_TYPES; t++) {
        pith__bank bank = small_bank();
        bytes file = bank_bytes(&bank, TYPES[t]);
        pith__bank again = parse(&file);
        assert_int_equal(again.count, 3);
        for (size_t i = 0; i < 3; i++) {
            assert_string_equal(again.items[i].name, NAMES[i]);
            assert_same_entry(&bank.items[i], &again.items[i]);
            assert_close(bank.items[i].capsule, again.items[i].capsule, TYPES[t]);
        }
        add(&again, "one more", entry(4, 9)); /* it goes on growing */
        bytes larger = bank_bytes(&again, TYPES[t]);
        pith__bank third = parse(&larger);
        assert_int_equal(third.count, 4);
        assert_same_entry(&again.items[3], &third.items[3]);
        pith__bank_deinit(&third);
        bytes_free(&larger);
        pith__bank_deinit(&again);
        bytes_free(&file);
        pith__bank_deinit(&bank);
    }
}

static void what_cannot_be_saved_is_not(void **state)
{
    (void)state;
    pith__bank bank;
    pith_error err = {0};
    pith__bank_init(&bank, memory);
    assert_status(pith__bank_save(&bank, PITH__CAPSULE_F32, scratch_path(), &err), PITH_E_ARGUMENT);
    pith__bank_deinit(&bank);
    bank = small_bank();
    assert_status(pith__bank_save(&bank, PITH__CAPSULE_F32, "/nowhere/at/all", &err), PITH_E_IO);
    bank.items[1].capsule->embeddings[7] = 70000.0f;
    assert_status(pith__bank_save(&bank, PITH__CAPSULE_F16, scratch_path(), &err), PITH_E_RANGE);
    assert_non_null(strstr(err.message, "entry.1.embeddings"));
    assert_int_not_equal(access(scratch_path(), F_OK), 0);
    pith__bank_deinit(&bank);
    bank = (pith__bank){0};
    pith__bank_deinit(&bank);
}

/* ---- what a bank takes ------------------------------------------------------------------------------ */

static void assert_not_added(pith__bank *bank, const char *name, pith__capsule *capsule,
                             pith_status expected, const char *part)
{
    pith_error err = {0};
    const size_t count = bank->count;
    assert_status(pith__bank_add(bank, name, &capsule, &err), expected);
    if (strstr(err.message, part) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.message, part);
    }
    assert_null(capsule);
    assert_int_equal(bank->count, count);
}

static void a_bank_takes_what_is_alike(void **state)
{
    (void)state;
    pith__bank bank = small_bank();
    assert_not_added(&bank, "", entry(1, 1), PITH_E_ARGUMENT, "empty");
    assert_not_added(&bank, "a b", entry(1, 1), PITH_E_ARGUMENT, "'a b'");
    assert_not_added(&bank, "a\nb", entry(1, 1), PITH_E_ARGUMENT, "control");
    assert_not_added(&bank, "\x7f", entry(1, 1), PITH_E_ARGUMENT, "control");
    assert_not_added(&bank, "kv", sample(PITH__CAPSULE_KV), PITH_E_ARGUMENT, "keys");
    pith__capsule *c = entry(1, 1);
    memcpy(c->method, "icae", sizeof "icae");
    assert_not_added(&bank, "x", c, PITH_E_MISMATCH, "selfcp and icae");
    c = entry(1, 1);
    c->bos = false;
    assert_not_added(&bank, "x", c, PITH_E_MISMATCH, "BOS");
    c = entry(1, 1);
    pith__sha256_of("x", 1, c->binding.model);
    assert_not_added(&bank, "x", c, PITH_E_MISMATCH, "model");
    c = entry(1, 1);
    pith__sha256_of("x", 1, c->binding.adapter);
    assert_not_added(&bank, "x", c, PITH_E_MISMATCH, "adapter: (none)");
    assert_not_added(&bank, "x", sample(PITH__CAPSULE_EMBEDDINGS), PITH_E_MISMATCH, "method");
    c = entry(1, 1);
    c->positions[0] = 3;
    assert_not_added(&bank, "x", c, PITH_E_ARGUMENT, "position 3");
    pith__bank_deinit(&bank);
}

/* ---- finding ------------------------------------------------------------------------------------------ */

static void the_best_are_found_first(void **state)
{
    (void)state;
    pith__bank bank;
    pith_error err = {0};
    size_t order[5] = {0};
    double scores[5] = {0};
    size_t found = 9;
    pith__capsule *query = axis(2, 2.0f);
    pith__bank_init(&bank, memory);
    assert_ok(pith__bank_find(&bank, query, 5, order, scores, &found, &err), err);
    assert_int_equal(found, 0); /* an empty bank fits any query */
    add(&bank, "half", axis(2, 0.5f));
    add(&bank, "other", axis(3, 8.0f));
    add(&bank, "one", axis(2, 1.0f));
    add(&bank, "against", axis(2, -4.0f));
    add(&bank, "one more", axis(2, 1.0f));
    bank.items[1].capsule->embeddings[WIDTH + 2] = 100.0f; /* only the first row counts */
    assert_ok(pith__bank_find(&bank, query, SIZE_MAX, order, scores, &found, &err), err);
    static const size_t expected[] = {2, 4, 0, 1, 3}; /* of equal ones the earlier is first */
    static const double values[] = {2.0, 2.0, 1.0, 0.0, -8.0};
    assert_int_equal(found, 5);
    assert_memory_equal(order, expected, sizeof expected);
    for (size_t i = 0; i < 5; i++) {
        assert_true(scores[i] == values[i]);
    }
    order[2] = 77;
    assert_ok(pith__bank_find(&bank, query, 2, order, NULL, &found, &err), err);
    assert_int_equal(found, 2);
    assert_true(order[0] == 2 && order[1] == 4 && order[2] == 77);
    assert_ok(pith__bank_find(&bank, query, 0, order, NULL, &found, &err), err);
    assert_int_equal(found, 0);
    bank.items[3].capsule->embeddings[2] = NAN; /* the worst */
    bank.items[2].capsule->embeddings[2] = -INFINITY;
    assert_ok(pith__bank_find(&bank, query, 5, order, scores, &found, &err), err);
    assert_true(order[0] == 4 && order[3] == 2 && order[4] == 3);
    pith__capsule_free(query);
    pith__bank_deinit(&bank);
}

static void assert_not_found(const pith__bank *bank, pith__capsule *query, const char *part)
{
    size_t order[3];
    size_t found = 9;
    pith_error err = {0};
    assert_status(pith__bank_find(bank, query, 3, order, NULL, &found, &err), PITH_E_MISMATCH);
    assert_int_equal(found, 0);
    if (strstr(err.message, part) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.message, part);
    }
    pith__capsule_free(query);
}

static void another_query_is_refused(void **state)
{
    (void)state;
    pith__bank bank = small_bank();
    pith__capsule *c = NULL;
    pith_error err = {0};
    assert_not_found(&bank, sample(PITH__CAPSULE_KV), "kind");
    assert_ok(
        pith__capsule_new(PITH__CAPSULE_EMBEDDINGS, "selfcp", 2, 0, WIDTH + 1, memory, &c, &err),
        err);
    c->bos = true;
    c->binding = bank.items[0].capsule->binding;
    assert_not_found(&bank, c, "rows of 6");
    c = entry(2, 4);
    pith__sha256_of("x", 1, c->binding.tokenizer);
    assert_not_found(&bank, c, "tokenizer");
    pith__bank_deinit(&bank);
}

/* ---- damage ------------------------------------------------------------------------------------------- */

static void every_flipped_bit_is_noticed(void **state)
{
    (void)state;
    bytes file = small_bytes(PITH__CAPSULE_INT8);
    for (size_t i = 0; i < file.size; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            file.data[i] = (unsigned char)(file.data[i] ^ 1u << bit);
            assert_refused(&file, PITH_E_CORRUPT, NULL);
            file.data[i] = (unsigned char)(file.data[i] ^ 1u << bit);
        }
    }
    pith__bank bank = parse(&file); /* it was the flips */
    pith__bank_deinit(&bank);
    bytes_free(&file);
}

static void every_truncation_is_noticed(void **state)
{
    (void)state;
    bytes file = small_bytes(PITH__CAPSULE_F16);
    for (size_t size = 0; size < file.size; size++) {
        bytes part = bytes_copy(file.data, size);
        assert_refused(&part, PITH_E_CORRUPT, NULL);
        bytes_free(&part);
    }
    bytes_free(&file);
}

/* With the right checksum some of them are banks: others, but well-formed. */
static void every_sealed_flip_is_a_bank_or_none(void **state)
{
    (void)state;
    bytes file = small_bytes(PITH__CAPSULE_INT8);
    size_t taken = 0;
    for (size_t i = 0; i < (file.size - PITH__SHA256_BYTES) * 8; i++) {
        bytes changed = bytes_copy(file.data, file.size);
        changed.data[i / 8] = (unsigned char)(changed.data[i / 8] ^ 1u << i % 8);
        bytes_seal(&changed);
        pith__bank bank;
        pith_error err = {0};
        if (pith__bank_parse(changed.data, changed.size, memory, &bank, &err) == PITH_OK) {
            taken++;
            bytes again = bank_bytes(&bank, PITH__CAPSULE_F32);
            bytes_free(&again);
        } else {
            assert_true(err.message[0] != '\0' && bank.items == NULL);
        }
        pith__bank_deinit(&bank);
        bytes_free(&changed);
    }
    assert_in_range(taken, 100, file.size * 8);
    bytes_free(&file);
}

/* One change of a sealed file, and what is said about it. */
typedef struct patch {
    bytes_what what;
    const char *name;
    size_t skip; /* bytes behind the start of what is named */
    const char *with;
    size_t size;
    pith_status expected;
    const char *part;
} patch;

/* Arrays begin with 4 bytes of type and 8 of count; their texts with 8 of length. */
static const patch PATCHES[] = {
    {AT_VALUE, "general.type", 8, "capsulez", 8, PITH_E_CORRUPT, "no bank"},
    {AT_VALUE, "general.architecture", 8, "x", 1, PITH_E_UNSUPPORTED, "architecture"},
    {AT_VALUE, "pith.bank.version", 0, "\2", 1, PITH_E_UNSUPPORTED, "version 2"},
    {AT_VALUE, "pith.bank.version", 0, "\0", 1, PITH_E_CORRUPT, "version 0"},
    {AT_KEY, "pith.bank.names", 10, "N", 1, PITH_E_CORRUPT, "pith.bank.names"},
    {AT_KEY, "pith.bank.slots", 10, "N", 1, PITH_E_CORRUPT, "pith.bank.slots"},
    {AT_KEY, "pith.bank.source.bytes", 10, "N", 1, PITH_E_CORRUPT, "source.bytes"},
    {AT_KEY, "pith.bank.source.tokens", 10, "N", 1, PITH_E_CORRUPT, "source.tokens"},
    {AT_KEY, "pith.bank.source.sha256", 10, "N", 1, PITH_E_CORRUPT, "source.sha256"},
    {AT_KEY, "pith.bank.records", 10, "N", 1, PITH_E_CORRUPT, "pith.bank.records"},
    {AT_KEY, "pith.capsule.method", 13, "N", 1, PITH_E_CORRUPT, "pith.capsule.method"},
    {AT_KEY, "pith.capsule.bos", 13, "N", 1, PITH_E_CORRUPT, "pith.capsule.bos"},
    {AT_VALUE, "pith.capsule.method", 8, " ", 1, PITH_E_CORRUPT, "method"},
    {AT_VALUE, "pith.capsule.model_sha256", 8, "G", 1, PITH_E_CORRUPT, "model"},
    {AT_VALUE, "pith.capsule.width", 0, "\7", 1, PITH_E_CORRUPT, "entry.0.embeddings"},
    {AT_VALUE, "pith.capsule.width", 0, "\0", 1, PITH_E_CORRUPT, "rows of 0"},
    {AT_VALUE, "pith.capsule.width", 0, "\xff\xff\xff\xff", 4, PITH_E_CORRUPT, "entry.0"},
    {AT_VALUE, "pith.bank.names", 20, "\n", 1, PITH_E_CORRUPT, "control"},
    {AT_VALUE, "pith.bank.names", 20, "\0", 1, PITH_E_CORRUPT, "control"},
    {AT_VALUE, "pith.bank.slots", 0, "\4", 1, PITH_E_CORRUPT, "pith.bank.slots"},
    {AT_VALUE, "pith.bank.slots", 12, "\2", 1, PITH_E_CORRUPT, "entry.0.embeddings"},
    {AT_VALUE, "pith.bank.slots", 12, "\0", 1, PITH_E_CORRUPT, "0 slots"},
    {AT_VALUE, "pith.bank.slots", 16, "\xff\xff\xff\xff", 4, PITH_E_CORRUPT, "0 slots"},
    {AT_VALUE, "pith.bank.slots", 16, "\xff\xff\xff\x7f", 4, PITH_E_CORRUPT, "entry.1"},
    {AT_VALUE, "pith.bank.source.bytes", 19, "\x80", 1, PITH_E_CORRUPT, "bytes"},
    {AT_VALUE, "pith.bank.source.tokens", 18, "\1", 1, PITH_E_CORRUPT, "tokens"},
    {AT_VALUE, "pith.bank.source.sha256", 20, "G", 1, PITH_E_CORRUPT, "source"},
    {AT_VALUE, "pith.bank.records", 20, "[", 1, PITH_E_CORRUPT, "record"},
    {AT_NAME, "entry.2.embeddings", 6, "3", 1, PITH_E_CORRUPT, "entry.2.embeddings is missing"},
    {AT_NAME, "entry.0.embeddings", 6, "3", 1, PITH_E_CORRUPT, "entry.0.embeddings is missing"},
    {AT_NAME, "checksum", 0, "x", 1, PITH_E_CORRUPT, "checksum is missing"},
    {AT_TENSOR, "entry.1.embeddings", 4, "\0\0\xc0\x7f", 4, PITH_E_CORRUPT, "entry.1.embeddings"},
};

static void every_value_is_checked(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof PATCHES / sizeof PATCHES[0]; i++) {
        const patch *p = &PATCHES[i];
        bytes file = small_bytes(PITH__CAPSULE_F32);
        bytes_patch(&file, p->what, p->name, p->skip, p->with, p->size);
        assert_refused(&file, p->expected, p->part);
        bytes_free(&file);
    }
}

/* Names of the file's own are unlike each other; another's may not be. */
static void names_are_unlike_each_other(void **state)
{
    (void)state;
    pith__bank bank;
    pith__bank_init(&bank, memory);
    add(&bank, "aa", entry(1, 1));
    add(&bank, "bb", entry(1, 2));
    add(&bank, "ab", entry(1, 3));
    bytes file = bank_bytes(&bank, PITH__CAPSULE_F32);
    bytes_patch(&file, AT_VALUE, "pith.bank.names", 12 + 8 + 1, "b", 1);
    assert_refused(&file, PITH_E_CORRUPT, "'ab'");
    bytes_free(&file);
    pith__bank_deinit(&bank);
}

/* The file once more, with one tensor more before its checksum. */
static bytes with_another_tensor(const bytes *file)
{
    static const float one[] = {1.0f};
    pith__gguf gguf;
    pith__gguf_writer writer;
    pith_error err = {0};
    assert_ok(pith__gguf_parse(file->data, file->size, memory, &gguf, &err), err);
    pith__gguf_writer_init(&writer, memory);
    for (size_t i = 0; i < gguf.n_kvs; i++) {
        assert_ok(pith__gguf_writer_add_kv(&writer, &gguf.kvs[i], &err), err);
    }
    for (size_t i = 0; i < gguf.n_tensors; i++) {
        const pith__gguf_tensor more = {.name = {"entry.9.embeddings", 18},
                                        .n_dims = 1,
                                        .dims = {1, 1, 1, 1},
                                        .type = PITH__GGUF_TYPE_F32,
                                        .data = (const unsigned char *)one};
        if (i + 1 == gguf.n_tensors) {
            assert_ok(pith__gguf_writer_add_tensor(&writer, &more, &err), err);
        }
        assert_ok(pith__gguf_writer_add_tensor(&writer, &gguf.tensors[i], &err), err);
    }
    assert_ok(pith__gguf_writer_save(&writer, scratch_path(), &err), err);
    pith__gguf_writer_deinit(&writer);
    pith__gguf_deinit(&gguf);
    size_t size = 0;
    char *data = test_read_file(scratch_path(), &size);
    bytes more = bytes_copy(data, size);
    free(data);
    (void)unlink(scratch_path());
    bytes_seal(&more);
    return more;
}

/* As many entries as arrays and tensors say; those of int8 have two tensors each. */
static void numbers_of_entries_agree(void **state)
{
    (void)state;
    bytes file = small_bytes(PITH__CAPSULE_INT8);
    bytes more = with_another_tensor(&file);
    assert_refused(&more, PITH_E_CORRUPT, "3 entries does not have 8 tensors");
    bytes_free(&more);
    bytes_patch(&file, AT_NAME, "entry.0.embeddings.scale", 19, "S", 1);
    assert_refused(&file, PITH_E_CORRUPT, "entry.0.embeddings.scale");
    bytes_free(&file);
    file = small_bytes(PITH__CAPSULE_F32);
    more = with_another_tensor(&file);
    assert_refused(&more, PITH_E_CORRUPT, "3 entries does not have 5 tensors");
    bytes_free(&more);
    bytes_free(&file);
}

static void banks_and_capsules_are_told_apart(void **state)
{
    (void)state;
    bytes capsule = sample_bytes(PITH__CAPSULE_EMBEDDINGS, PITH__CAPSULE_F32);
    assert_refused(&capsule, PITH_E_CORRUPT, "no bank");
    bytes bank = small_bytes(PITH__CAPSULE_F32);
    pith__capsule *parsed = NULL;
    pith_error err = {0};
    assert_status(pith__capsule_parse(bank.data, bank.size, memory, &parsed, &err), PITH_E_CORRUPT);
    assert_non_null(strstr(err.message, "no capsule"));
    assert_null(parsed);
    bytes_free(&bank);
    bytes_free(&capsule);
}

/* ---- memory -------------------------------------------------------------------------------------------- */

static pith_status fill_and_save(const pith_allocator *mem, void *user)
{
    const pith__capsule_type *type = user;
    pith__bank bank;
    pith__bank_init(&bank, mem);
    pith_status status = fill_bank(&bank, NULL);
    if (status == PITH_OK) {
        status = pith__bank_save(&bank, *type, scratch_path(), NULL);
    }
    pith__bank_deinit(&bank);
    return status;
}

static pith_status parse_and_find(const pith_allocator *mem, void *user)
{
    const bytes *file = user;
    size_t order[3];
    size_t found = 0;
    pith__bank bank;
    pith_status status = pith__bank_parse(file->data, file->size, mem, &bank, NULL);
    if (status == PITH_OK) {
        status = pith__bank_find(&bank, bank.items[0].capsule, 3, order, NULL, &found, NULL);
    }
    assert_int_equal(found, status == PITH_OK ? 3 : 0);
    pith__bank_deinit(&bank);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    for (size_t t = 0; t < N_TYPES; t++) {
        pith__capsule_type type = TYPES[t];
        bytes file = small_bytes(type);
        test_sweep(fill_and_save, &type);
        test_sweep(parse_and_find, &file);
        bytes_free(&file);
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

/* Of a bank of the smallest entries there are, whose tables are most of the file. */
static void memory_is_bounded_by_the_file(void **state)
{
    (void)state;
    pith__bank bank;
    pith__bank_init(&bank, memory);
    for (size_t i = 0; i < 200; i++) {
        char name[8];
        pith__capsule *c = NULL;
        pith_error err = {0};
        (void)snprintf(name, sizeof name, "%zu", i);
        assert_ok(pith__capsule_new(PITH__CAPSULE_EMBEDDINGS, "x", 1, 0, 1, memory, &c, &err), err);
        add(&bank, name, c);
    }
    bytes file = bank_bytes(&bank, PITH__CAPSULE_F16);
    peak p = {.highest = 0};
    const pith_allocator mem = {&p, peak_realloc};
    pith__bank again;
    pith_error err = {0};
    assert_ok(pith__bank_parse(file.data, file.size, &mem, &again, &err), err);
    assert_in_range(p.highest, 1, 8 * file.size);
    pith__bank_deinit(&again);
    assert_int_equal(p.memory.live, 0);
    bytes_free(&file);
    pith__bank_deinit(&bank);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_saved_comes_back),
        cmocka_unit_test(what_cannot_be_saved_is_not),
        cmocka_unit_test(a_bank_takes_what_is_alike),
        cmocka_unit_test(the_best_are_found_first),
        cmocka_unit_test(another_query_is_refused),
        cmocka_unit_test(every_flipped_bit_is_noticed),
        cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(every_sealed_flip_is_a_bank_or_none),
        cmocka_unit_test(every_value_is_checked),
        cmocka_unit_test(names_are_unlike_each_other),
        cmocka_unit_test(numbers_of_entries_agree),
        cmocka_unit_test(banks_and_capsules_are_told_apart),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(memory_is_bounded_by_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
