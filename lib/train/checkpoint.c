/*
 * checkpoint.c: a stopped run as a GGUF file.
 *
 *     general.type                 "checkpoint"
 *     pith.checkpoint.version      1
 *     pith.checkpoint.fingerprint  of the run's settings
 *     pith.checkpoint.step, .samples, .tokens, .optimizer_step
 *     pith.checkpoint.seconds, .loss    the bits of a double, so that nothing is rounded
 *     pith.checkpoint.optimizer    "adamw" or "muon"
 *     pith.checkpoint.weights      one text per tensor: name, kind, shape, place
 *     values, m, v                 F32, the vectors as they are in memory
 *     places                       I64 (3, streams): epoch, index, token; if there are streams
 *     checksum                     I64, the last tensor
 *
 * The checksum is that of the whole file with its own 8 bytes as 0. As the last tensor, it
 * stands at a known place, 32 bytes before the end: it is checked before anything is read.
 */
#include "gguf/gguf.h"
#include "train/train.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    VERSION = 1,
    TAIL_BYTES = 32, /* the last tensor: the checksum and zeros up to the alignment */
    PLACE_NUMBERS = 3,
    LABEL_BYTES = 128 /* of a text from the file inside a message */
};

#define KEY(name) "pith.checkpoint." name

/* ---- checksum --------------------------------------------------------------------- */

/*
 * Words of 8 bytes, little-endian, the last one filled up with zeros: h <- mix((h ^ word) * odd),
 * mix(h) = h ^ (h >> 32). Every step can be undone, so that damage within one word never goes
 * unnoticed; any other does with a chance of 2^-64.
 */
typedef struct checksum {
    uint64_t hash;
    unsigned char word[8]; /* bytes that do not make a word yet */
    size_t filled;
} checksum;

static void checksum_word(checksum *sum, const void *bytes)
{
    uint64_t word = 0;
    memcpy(&word, bytes, sizeof word);
    sum->hash = (sum->hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    sum->hash ^= sum->hash >> 32;
}

static void checksum_add(checksum *sum, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    const size_t whole = sizeof sum->word;
    if (sum->filled > 0) {
        const size_t room = whole - sum->filled;
        const size_t piece = size < room ? size : room;
        memcpy(sum->word + sum->filled, bytes, piece);
        sum->filled += piece;
        bytes += piece;
        size -= piece;
        if (sum->filled < whole) {
            return;
        }
        checksum_word(sum, sum->word);
    }
    for (; size >= whole; size -= whole) {
        checksum_word(sum, bytes);
        bytes += whole;
    }
    memcpy(sum->word, bytes, size);
    sum->filled = size;
}

static uint64_t checksum_end(checksum *sum)
{
    static const unsigned char zeros[8];
    if (sum->filled > 0) {
        checksum_add(sum, zeros, sizeof zeros - sum->filled);
    }
    return sum->hash;
}

static bool checksum_write(void *user, const char *data, size_t size)
{
    checksum_add(user, data, size);
    return true;
}

/* ---- what is in it ------------------------------------------------------------------ */

static const char *optimizer_name(const pith__optimizer *optimizer)
{
    return optimizer->settings.kind == PITH__OPTIMIZER_MUON ? "muon" : "adamw";
}

/* Room for a tensor's name and what else is known about it. */
#define DESCRIPTION_BYTES (PITH__WEIGHT_NAME_SIZE + 96)

/* "blk.0.attn_q.weight: matrix 320 x 320 at 1024" */
static size_t describe(const pith__weight *item, char *out)
{
    static const char *const kinds[] = {[PITH__WEIGHT_MATRIX] = "matrix",
                                        [PITH__WEIGHT_EMBEDDING] = "embedding",
                                        [PITH__WEIGHT_VECTOR] = "vector"};
    const int size = snprintf(out, DESCRIPTION_BYTES, "%s: %s %zu x %zu at %zu", item->name,
                              kinds[item->kind], item->rows, item->cols, item->at);
    return size < 0 ? 0 : (size_t)size;
}

static uint64_t bits_of(double value)
{
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits)
{
    double value = 0;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- saving -------------------------------------------------------------------------- */

static pith_status add_descriptions(pith__gguf_writer *writer, const pith__weights *weights,
                                    pith__arena *arena, pith_error *err)
{
    const size_t count = weights->n_items;
    pith__gguf_string *texts = NULL;
    char *bytes = NULL;
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *texts, &texts, err));
    PITH__TRY(pith__arena_alloc(arena, count, DESCRIPTION_BYTES, &bytes, err));
    for (size_t i = 0; i < count; i++) {
        char *text = bytes + i * DESCRIPTION_BYTES;
        texts[i] = (pith__gguf_string){text, describe(&weights->items[i], text)};
    }
    return pith__gguf_writer_add_strings(writer, KEY("weights"), texts, count, err);
}

static pith_status add_text(pith__gguf_writer *writer, const char *key, const char *text,
                            pith_error *err)
{
    return pith__gguf_writer_add_string(writer, key, text, strlen(text), err);
}

static pith_status add_metadata(pith__gguf_writer *writer, const pith__run_state *state,
                                const pith__optimizer *optimizer, pith__arena *arena,
                                pith_error *err)
{
    PITH__TRY(add_text(writer, "general.type", "checkpoint", err));
    PITH__TRY(pith__gguf_writer_add_u32(writer, KEY("version"), VERSION, err));
    PITH__TRY(add_text(writer, KEY("fingerprint"), state->fingerprint, err));
    PITH__TRY(pith__gguf_writer_add_u64(writer, KEY("step"), state->step, err));
    PITH__TRY(pith__gguf_writer_add_u64(writer, KEY("samples"), state->samples, err));
    PITH__TRY(pith__gguf_writer_add_u64(writer, KEY("tokens"), state->tokens, err));
    PITH__TRY(pith__gguf_writer_add_u64(writer, KEY("seconds"), bits_of(state->seconds), err));
    PITH__TRY(pith__gguf_writer_add_u64(writer, KEY("loss"), bits_of(state->loss), err));
    PITH__TRY(add_text(writer, KEY("optimizer"), optimizer_name(optimizer), err));
    PITH__TRY(pith__gguf_writer_add_u64(writer, KEY("optimizer_step"), optimizer->step, err));
    return add_descriptions(writer, optimizer->weights, arena, err);
}

static pith_status add_vector(pith__gguf_writer *writer, const char *name, const float *data,
                              size_t count, pith_error *err)
{
    const pith__gguf_tensor tensor = {.name = {name, strlen(name)},
                                      .n_dims = 1,
                                      .dims = {count, 1, 1, 1},
                                      .type = PITH__GGUF_TYPE_F32,
                                      .data = (const unsigned char *)data};
    return pith__gguf_writer_add_tensor(writer, &tensor, err);
}

/* `rows` rows of `width` numbers of 64 bits, borrowed. */
static pith_status add_numbers(pith__gguf_writer *writer, const char *name, const uint64_t *data,
                               size_t width, size_t rows, pith_error *err)
{
    const pith__gguf_tensor tensor = {.name = {name, strlen(name)},
                                      .n_dims = 2,
                                      .dims = {width, rows, 1, 1},
                                      .type = PITH__GGUF_TYPE_I64,
                                      .data = (const unsigned char *)data};
    return pith__gguf_writer_add_tensor(writer, &tensor, err);
}

static pith_status add_places(pith__gguf_writer *writer, const pith__stream_place *places,
                              size_t n_places, pith__arena *arena, pith_error *err)
{
    uint64_t *numbers = NULL;
    PITH__TRY(pith__arena_alloc(arena, n_places, PLACE_NUMBERS * sizeof *numbers, &numbers, err));
    for (size_t i = 0; i < n_places; i++) {
        numbers[PLACE_NUMBERS * i] = places[i].epoch;
        numbers[PLACE_NUMBERS * i + 1] = places[i].index;
        numbers[PLACE_NUMBERS * i + 2] = places[i].token;
    }
    return n_places == 0 ? PITH_OK
                         : add_numbers(writer, "places", numbers, PLACE_NUMBERS, n_places, err);
}

static pith_status save(pith__gguf_writer *writer, const char *path, const pith__run_state *state,
                        const pith__optimizer *optimizer, const pith__stream_place *places,
                        size_t n_places, pith__arena *arena, pith_error *err)
{
    const size_t count = optimizer->weights->count;
    uint64_t hash = 0;
    PITH__TRY(add_metadata(writer, state, optimizer, arena, err));
    PITH__TRY(add_vector(writer, "values", optimizer->weights->values, count, err));
    PITH__TRY(add_vector(writer, "m", optimizer->m, count, err));
    PITH__TRY(add_vector(writer, "v", optimizer->v, count, err));
    PITH__TRY(add_places(writer, places, n_places, arena, err));
    PITH__TRY(add_numbers(writer, "checksum", &hash, 1, 1, err));
    checksum sum = {0};
    PITH__TRY(pith__gguf_writer_write(writer, checksum_write, &sum, err));
    hash = checksum_end(&sum); /* the writer looks at it when it writes */
    return pith__gguf_writer_save(writer, path, err);
}

pith_status pith__checkpoint_save(const char *path, const pith__run_state *state,
                                  const pith__optimizer *optimizer,
                                  const pith__stream_place *places, size_t n_places,
                                  pith_error *err)
{
    const pith_allocator *mem = &optimizer->weights->mem;
    pith__arena arena;
    pith__arena_init(&arena, mem);
    pith__gguf_writer writer;
    pith__gguf_writer_init(&writer, mem);
    const pith_status status = save(&writer, path, state, optimizer, places, n_places, &arena, err);
    pith__gguf_writer_deinit(&writer);
    pith__arena_deinit(&arena);
    return status;
}

/* ---- loading -------------------------------------------------------------------------- */

/* A file that is open, and what it has to agree with. */
typedef struct loading {
    const char *path;
    pith__file file;
    pith__gguf gguf;
    const pith__optimizer *optimizer;
    size_t n_places;
    /* found, of the file */
    pith__run_state state;
    uint64_t optimizer_step;
    const unsigned char *values, *m, *v;
    const unsigned char *places;
} loading;

static pith_status fail_corrupt(const loading *l, const char *what, pith_error *err)
{
    return pith__fail(err, PITH_E_CORRUPT, "checkpoint \"%s\": %s", l->path, what);
}

static pith_status check_sum(const loading *l, pith_error *err)
{
    static const unsigned char zeros[TAIL_BYTES];
    if (l->file.size < TAIL_BYTES) {
        return fail_corrupt(l, "the file is too short", err);
    }
    const size_t at = l->file.size - TAIL_BYTES;
    uint64_t stored = 0;
    memcpy(&stored, l->file.data + at, sizeof stored);
    checksum sum = {0};
    checksum_add(&sum, l->file.data, at);
    checksum_add(&sum, zeros, sizeof zeros);
    const unsigned char *padding = l->file.data + at + sizeof stored;
    if (checksum_end(&sum) != stored || memcmp(padding, zeros, TAIL_BYTES - sizeof stored) != 0) {
        return fail_corrupt(l, "wrong checksum: it is damaged, or no checkpoint", err);
    }
    return PITH_OK;
}

static pith_status get_double(const pith__gguf *gguf, const char *key, double *out, pith_error *err)
{
    uint64_t bits = 0;
    PITH__TRY(pith__gguf_get_u64(gguf, key, &bits, err));
    *out = double_of(bits);
    return PITH_OK;
}

/* Fails with E_MISMATCH unless the text of `key` is `expected`. */
static pith_status expect_text(const loading *l, const char *key, const char *expected,
                               pith_error *err)
{
    pith__gguf_string found;
    PITH__TRY(pith__gguf_get_string(&l->gguf, key, &found, err));
    if (!pith__gguf_string_equal(found, expected)) {
        char label[LABEL_BYTES];
        return pith__fail(err, PITH_E_MISMATCH, "the checkpoint's %s is %s, this run's is %s",
                          key + strlen(KEY("")), pith__gguf_printable(found, label, sizeof label),
                          expected);
    }
    return PITH_OK;
}

static pith_status load_fingerprint(loading *l, const char *expected, pith_error *err)
{
    pith__gguf_string found;
    PITH__TRY(pith__gguf_get_string(&l->gguf, KEY("fingerprint"), &found, err));
    if (found.size >= sizeof l->state.fingerprint || memchr(found.data, '\0', found.size) != NULL) {
        return fail_corrupt(l, "the fingerprint is no text of up to 64 characters", err);
    }
    memcpy(l->state.fingerprint, found.data, found.size);
    if (expected[0] == '\0' || pith__gguf_string_equal(found, expected)) {
        return PITH_OK;
    }
    char label[LABEL_BYTES];
    return pith__fail(err, PITH_E_MISMATCH,
                      "the checkpoint is of another run: other data or settings (fingerprint %s, "
                      "this run's is %s); without resume a new run begins",
                      pith__gguf_printable(found, label, sizeof label), expected);
}

static pith_status load_state(loading *l, const char *fingerprint, pith_error *err)
{
    const pith__gguf *gguf = &l->gguf;
    pith__gguf_string type;
    PITH__TRY(pith__gguf_get_string(gguf, "general.type", &type, err));
    if (!pith__gguf_string_equal(type, "checkpoint")) {
        return fail_corrupt(l, "this is another kind of GGUF file", err);
    }
    uint32_t version = 0;
    PITH__TRY(pith__gguf_get_u32(gguf, KEY("version"), &version, err));
    if (version != VERSION) {
        return pith__fail(err, PITH_E_MISMATCH, "the checkpoint's version is %" PRIu32 ", not %d",
                          version, VERSION);
    }
    PITH__TRY(load_fingerprint(l, fingerprint, err));
    PITH__TRY(pith__gguf_get_u64(gguf, KEY("step"), &l->state.step, err));
    PITH__TRY(pith__gguf_get_u64(gguf, KEY("samples"), &l->state.samples, err));
    PITH__TRY(pith__gguf_get_u64(gguf, KEY("tokens"), &l->state.tokens, err));
    PITH__TRY(get_double(gguf, KEY("seconds"), &l->state.seconds, err));
    PITH__TRY(get_double(gguf, KEY("loss"), &l->state.loss, err));
    PITH__TRY(pith__gguf_get_u64(gguf, KEY("optimizer_step"), &l->optimizer_step, err));
    return expect_text(l, KEY("optimizer"), optimizer_name(l->optimizer), err);
}

static pith_status check_weights(const loading *l, pith_error *err)
{
    const pith__weights *weights = l->optimizer->weights;
    pith__gguf_array array;
    PITH__TRY(pith__gguf_get_array(&l->gguf, KEY("weights"), PITH__GGUF_VALUE_STRING, &array, err));
    if (array.count != weights->n_items) {
        return pith__fail(err, PITH_E_MISMATCH, "the checkpoint has %zu tensors, this run %zu",
                          array.count, weights->n_items);
    }
    pith__gguf_strings strings = pith__gguf_strings_of(&array);
    pith__gguf_string found;
    for (size_t i = 0; pith__gguf_strings_next(&strings, &found); i++) {
        char expected[DESCRIPTION_BYTES];
        (void)describe(&weights->items[i], expected);
        if (!pith__gguf_string_equal(found, expected)) {
            char label[LABEL_BYTES];
            return pith__fail(err, PITH_E_MISMATCH, "the checkpoint has %s, this run %s",
                              pith__gguf_printable(found, label, sizeof label), expected);
        }
    }
    return PITH_OK;
}

/* Finds (rows, width) of `type`; anything else is E_CORRUPT: the number of rows was checked before. */
static pith_status find_data(const loading *l, const char *name, pith__gguf_type type, size_t width,
                             const unsigned char **out, pith_error *err)
{
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(&l->gguf, name);
    if (tensor == NULL || tensor->type != type || tensor->dims[0] != width) {
        return pith__fail(err, PITH_E_CORRUPT, "checkpoint \"%s\": tensor '%s' is not what it was",
                          l->path, name);
    }
    *out = tensor->data;
    return PITH_OK;
}

static pith_status find_vector(const loading *l, const char *name, const unsigned char **out,
                               pith_error *err)
{
    const size_t count = l->optimizer->weights->count;
    PITH__TRY(find_data(l, name, PITH__GGUF_TYPE_F32, count, out, err));
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(&l->gguf, name);
    return tensor->elements == count ? PITH_OK : fail_corrupt(l, "a vector has rows", err);
}

static pith_status find_places(loading *l, pith_error *err)
{
    const pith__gguf_tensor *tensor = pith__gguf_find_tensor(&l->gguf, "places");
    const uint64_t found = tensor == NULL ? 0 : tensor->dims[1];
    if (found != l->n_places) {
        return pith__fail(err, PITH_E_MISMATCH,
                          "the checkpoint has %" PRIu64 " sources of text, this run %zu", found,
                          l->n_places);
    }
    if (tensor == NULL) {
        return PITH_OK;
    }
    if (tensor->elements / PLACE_NUMBERS != found) {
        return fail_corrupt(l, "tensor 'places' has too many dimensions", err);
    }
    return find_data(l, "places", PITH__GGUF_TYPE_I64, PLACE_NUMBERS, &l->places, err);
}

static pith_status check_all(loading *l, const char *fingerprint, pith_error *err)
{
    PITH__TRY(check_sum(l, err));
    const pith_allocator *mem = &l->optimizer->weights->mem;
    const pith_status status = pith__gguf_parse(l->file.data, l->file.size, mem, &l->gguf, err);
    if (status != PITH_OK) { /* E_UNSUPPORTED: not a file of ours either */
        return status == PITH_E_MEMORY ? status : fail_corrupt(l, "not a GGUF file of ours", err);
    }
    PITH__TRY(load_state(l, fingerprint, err));
    PITH__TRY(check_weights(l, err));
    PITH__TRY(find_places(l, err));
    PITH__TRY(find_vector(l, "values", &l->values, err));
    PITH__TRY(find_vector(l, "m", &l->m, err));
    return find_vector(l, "v", &l->v, err);
}

/* Nothing can fail any more. */
static void take_all(const loading *l, pith__run_state *state, pith__optimizer *optimizer,
                     pith__stream_place *places)
{
    const size_t bytes = optimizer->weights->count * sizeof(float);
    *state = l->state;
    optimizer->step = l->optimizer_step;
    memcpy(optimizer->weights->values, l->values, bytes);
    memcpy(optimizer->m, l->m, bytes);
    memcpy(optimizer->v, l->v, bytes);
    for (size_t i = 0; i < l->n_places; i++) {
        uint64_t numbers[PLACE_NUMBERS];
        memcpy(numbers, l->places + i * sizeof numbers, sizeof numbers);
        places[i] = (pith__stream_place){numbers[0], numbers[1], numbers[2]};
    }
}

pith_status pith__checkpoint_load(const char *path, pith__run_state *state,
                                  pith__optimizer *optimizer, pith__stream_place *places,
                                  size_t n_places, pith_error *err)
{
    loading l = {.path = path, .optimizer = optimizer, .n_places = n_places};
    PITH__TRY(pith__file_open(path, &l.file, err));
    const pith_status status = check_all(&l, state->fingerprint, err);
    if (status == PITH_OK) {
        take_all(&l, state, optimizer, places);
    }
    pith__gguf_deinit(&l.gguf);
    pith__file_close(&l.file);
    return status;
}
