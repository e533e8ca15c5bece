/*
 * capsule.c: capsules in memory: what makes one well-formed, whether a model may read it, and reading.
 */
#include "soft/capsule.h"

#include <inttypes.h>
#include <string.h>

/* Positions are signed 32-bit numbers in files. */
#define PLACES_MAX ((uint32_t)INT32_MAX)

/* Tokens of a text: so many that no text has more, so few that their costs do not overflow. */
#define TOKENS_MAX (UINT64_C(1) << 40)

/* ---- sizes ----------------------------------------------------------------------------------- */

/* Floats of `embeddings`, or of `keys`. */
static size_t numbers_of(const pith__capsule *capsule)
{
    const size_t layers = capsule->kind == PITH__CAPSULE_KV ? capsule->layers : 1;
    return layers * capsule->slots * capsule->width;
}

pith_status pith__capsule_check_sizes(pith__capsule_kind kind, uint32_t slots, uint32_t layers,
                                      uint32_t width, pith_status broken, pith_error *err)
{
    const size_t depth = kind == PITH__CAPSULE_KV ? layers : 1;
    size_t numbers = 0;
    size_t bytes = 0;
    const bool overflow = __builtin_mul_overflow(depth, slots, &numbers) ||
                          __builtin_mul_overflow(numbers, width, &numbers) ||
                          __builtin_mul_overflow(numbers, 2 * sizeof(float), &bytes);
    if (overflow || bytes == 0 || slots > PLACES_MAX) {
        return pith__fail(err, broken,
                          "a capsule of %" PRIu32 " slots, %" PRIu32 " layers and rows of %" PRIu32
                          " numbers cannot be",
                          slots, layers, width);
    }
    return PITH_OK;
}

size_t pith__capsule_parts(const pith__capsule *capsule)
{
    return capsule->kind == PITH__CAPSULE_KV ? 2 * (size_t)capsule->layers : 1;
}

float *pith__capsule_part(const pith__capsule *capsule, size_t index)
{
    if (capsule->kind != PITH__CAPSULE_KV) {
        return capsule->embeddings;
    }
    float *of_all = index % 2 == 0 ? capsule->keys : capsule->values;
    return of_all + index / 2 * capsule->slots * capsule->width;
}

uint64_t pith__capsule_bytes(const pith__capsule *capsule, pith__capsule_type type)
{
    const uint64_t rows = (uint64_t)pith__capsule_parts(capsule) * capsule->slots;
    const uint64_t numbers = rows * capsule->width;
    switch (type) {
    case PITH__CAPSULE_F32:
        return numbers * sizeof(float);
    case PITH__CAPSULE_F16:
        return numbers * sizeof(uint16_t);
    case PITH__CAPSULE_INT8:
        break;
    }
    return numbers + rows * sizeof(float);
}

/* ---- making one ------------------------------------------------------------------------------ */

static pith_status allocate(pith__capsule *capsule, pith_error *err)
{
    const pith_allocator *mem = &capsule->mem;
    const size_t numbers = numbers_of(capsule);
    PITH__TRY(pith__alloc(mem, capsule->slots, sizeof(uint32_t), &capsule->positions, err));
    if (capsule->kind == PITH__CAPSULE_KV) {
        PITH__TRY(pith__alloc_zero(mem, numbers, sizeof(float), &capsule->keys, err));
        PITH__TRY(pith__alloc_zero(mem, numbers, sizeof(float), &capsule->values, err));
    } else {
        PITH__TRY(pith__alloc_zero(mem, numbers, sizeof(float), &capsule->embeddings, err));
    }
    for (uint32_t i = 0; i < capsule->slots; i++) {
        capsule->positions[i] = i;
    }
    return pith__capsule_set_record(capsule, "{}", 2, err);
}

pith_status pith__capsule_new(pith__capsule_kind kind, const char *method, uint32_t slots,
                              uint32_t layers, uint32_t width, const pith_allocator *mem,
                              pith__capsule **out, pith_error *err)
{
    *out = NULL;
    PITH__TRY(pith__capsule_check_sizes(kind, slots, layers, width, PITH_E_ARGUMENT, err));
    PITH__TRY(pith__capsule_check_method(method, PITH_E_ARGUMENT, err));
    pith__capsule *capsule = NULL;
    PITH__TRY(pith__alloc(mem, 1, sizeof *capsule, &capsule, err));
    *capsule = (pith__capsule){.mem = *mem,
                               .kind = kind,
                               .type = PITH__CAPSULE_F32,
                               .slots = slots,
                               .layers = kind == PITH__CAPSULE_KV ? layers : 0,
                               .width = width,
                               .position_mode = "compact",
                               .advance = slots};
    memcpy(capsule->method, method, strlen(method) + 1);
    const pith_status status = allocate(capsule, err);
    if (status != PITH_OK) {
        pith__capsule_free(capsule);
        return status;
    }
    *out = capsule;
    return PITH_OK;
}

void pith__capsule_free(pith__capsule *capsule)
{
    if (capsule == NULL) {
        return;
    }
    const pith_allocator mem = capsule->mem;
    const size_t numbers = numbers_of(capsule);
    pith__free(&mem, capsule->positions, capsule->slots, sizeof capsule->positions[0]);
    pith__free(&mem, capsule->embeddings, numbers, sizeof(float));
    pith__free(&mem, capsule->keys, numbers, sizeof(float));
    pith__free(&mem, capsule->values, numbers, sizeof(float));
    pith__free(&mem, capsule->record, capsule->record_size + 1, 1);
    pith__free(&mem, capsule, 1, sizeof *capsule);
}

pith_status pith__capsule_set_record(pith__capsule *capsule, const char *json, size_t size,
                                     pith_error *err)
{
    char *record = NULL;
    if (size == SIZE_MAX) {
        return pith__fail(err, PITH_E_MEMORY, "a record of %zu bytes is too long", size);
    }
    PITH__TRY(pith__alloc(&capsule->mem, size + 1, 1, &record, err));
    if (size > 0) {
        memcpy(record, json, size);
    }
    record[size] = '\0';
    pith__free(&capsule->mem, capsule->record, capsule->record_size + 1, 1);
    capsule->record = record;
    capsule->record_size = size;
    return PITH_OK;
}

/* ---- what makes one well-formed ---------------------------------------------------------------- */

pith_status pith__capsule_check_method(const char *method, pith_status broken, pith_error *err)
{
    size_t size = 0;
    while (size < PITH__CAPSULE_NAME && method[size] > ' ' && method[size] <= '~') {
        size++;
    }
    if (size == 0 || size == PITH__CAPSULE_NAME || method[size] != '\0') {
        return pith__fail(err, broken, "the name of a capsule's method is not 1 to %d characters",
                          PITH__CAPSULE_NAME - 1);
    }
    return PITH_OK;
}

static pith_status check_hash(const char *hash, const char *what, pith_status broken,
                              pith_error *err)
{
    const size_t size = strspn(hash, "0123456789abcdef");
    if (hash[size] != '\0' || (size != 0 && size != PITH__SHA256_SIZE - 1)) {
        return pith__fail(err, broken, "the capsule's %s is no SHA-256 in hexadecimal", what);
    }
    return PITH_OK;
}

static pith_status check_hashes(const pith__capsule *capsule, pith_status broken, pith_error *err)
{
    PITH__TRY(check_hash(capsule->source_sha256, "source", broken, err));
    PITH__TRY(check_hash(capsule->binding.model, "model", broken, err));
    PITH__TRY(check_hash(capsule->binding.tokenizer, "tokenizer", broken, err));
    return check_hash(capsule->binding.adapter, "adapter", broken, err);
}

static pith_status check_source(const pith__capsule *capsule, pith_status broken, pith_error *err)
{
    if (capsule->source_bytes > INT64_MAX || capsule->source_tokens > TOKENS_MAX) {
        return pith__fail(err, broken,
                          "a capsule for a text of %" PRIu64 " bytes and %" PRIu64 " tokens",
                          capsule->source_bytes, capsule->source_tokens);
    }
    return PITH_OK;
}

/* Whether what is read stands where pith__reader_embeddings() puts it. */
static bool is_plain(const pith__capsule *capsule)
{
    bool plain = strcmp(capsule->position_mode, "compact") == 0;
    for (uint32_t i = 0; i < capsule->slots; i++) {
        plain = plain && capsule->positions[i] == i;
    }
    return plain && capsule->advance == capsule->slots;
}

/* "release": the text's slots lie where they do, and what follows counts the slots alone. */
static pith_status check_release(const pith__capsule *capsule, uint32_t last, pith_status broken,
                                 pith_error *err)
{
    if (capsule->kind != PITH__CAPSULE_KV) {
        return pith__fail(err, PITH_E_UNSUPPORTED,
                          "a capsule of embeddings with positions of mode 'release'");
    }
    if (capsule->advance != capsule->slots || last > PLACES_MAX) {
        return pith__fail(err, broken,
                          "a released capsule of %" PRIu32 " slots, the last at position %" PRIu32
                          ", what follows at %" PRIu32,
                          capsule->slots, last, capsule->advance);
    }
    return PITH_OK;
}

static pith_status check_places(const pith__capsule *capsule, pith_status broken, pith_error *err)
{
    const bool compact = strcmp(capsule->position_mode, "compact") == 0;
    uint32_t last = 0;
    for (uint32_t i = 0; i < capsule->slots; i++) {
        last = capsule->positions[i] > last ? capsule->positions[i] : last;
    }
    if (strcmp(capsule->position_mode, "release") == 0) {
        return check_release(capsule, last, broken, err);
    }
    if (!compact && strcmp(capsule->position_mode, "continue") != 0) {
        return pith__fail(err, PITH_E_UNSUPPORTED, "a capsule with positions of mode '%s'",
                          capsule->position_mode);
    }
    if (capsule->advance > PLACES_MAX || last >= capsule->advance) {
        return pith__fail(err, broken, "a slot at position %" PRIu32 ", what follows at %" PRIu32,
                          last, capsule->advance);
    }
    if (compact && capsule->advance != last + 1) {
        return pith__fail(err, broken,
                          "a compact capsule whose last slot is at position %" PRIu32
                          ", what follows at %" PRIu32,
                          last, capsule->advance);
    }
    if (capsule->kind == PITH__CAPSULE_EMBEDDINGS && !is_plain(capsule)) {
        return pith__fail(err, PITH_E_UNSUPPORTED,
                          "a capsule of embeddings at other positions than 0, 1, 2, ...");
    }
    return PITH_OK;
}

/* Not parsed: it is a text for people and tools, and nothing here depends on it. */
pith_status pith__capsule_check_record(const char *json, size_t size, pith_status broken,
                                       pith_error *err)
{
    bool good = size >= 2 && json[0] == '{';
    for (size_t i = 0; good && i < size; i++) {
        const unsigned char c = (unsigned char)json[i];
        good = (c >= ' ' || c == '\n' || c == '\r' || c == '\t') && c != 0x7f;
    }
    return good ? PITH_OK : pith__fail(err, broken, "the record is no JSON object");
}

pith_status pith__capsule_validate(const pith__capsule *capsule, pith_status broken,
                                   pith_error *err)
{
    PITH__TRY(pith__capsule_check_sizes(capsule->kind, capsule->slots, capsule->layers,
                                        capsule->width, broken, err));
    if (capsule->kind == PITH__CAPSULE_EMBEDDINGS && capsule->layers != 0) {
        return pith__fail(err, broken, "a capsule of embeddings has no layers");
    }
    PITH__TRY(pith__capsule_check_method(capsule->method, broken, err));
    PITH__TRY(check_hashes(capsule, broken, err));
    PITH__TRY(check_source(capsule, broken, err));
    PITH__TRY(check_places(capsule, broken, err));
    return pith__capsule_check_record(capsule->record, capsule->record_size, broken, err);
}

/* ---- models ------------------------------------------------------------------------------------ */

static pith_status check_same(const char *what, const char *made_for, const char *found,
                              pith_error *err)
{
    if (strcmp(made_for, found) == 0) {
        return PITH_OK;
    }
    return pith__fail(
        err, PITH_E_MISMATCH, "the capsule was made for the %s with SHA-256 %s, this one has %s",
        what, made_for[0] == '\0' ? "(unknown)" : made_for, found[0] == '\0' ? "(unknown)" : found);
}

/* No adapter is a way to be bound, too. */
static pith_status check_adapter(const char *made_for, const char *found, pith_error *err)
{
    if (made_for[0] == '\0' && found[0] != '\0') {
        return pith__fail(
            err, PITH_E_MISMATCH,
            "the capsule was made without an adapter, the model has one with SHA-256 %s", found);
    }
    if (made_for[0] != '\0' && found[0] == '\0') {
        return pith__fail(
            err, PITH_E_MISMATCH,
            "the capsule was made for the adapter with SHA-256 %s, the model has none", made_for);
    }
    return check_same("adapter", made_for, found, err);
}

pith_status pith__capsule_check(const pith__capsule *capsule, const pith__model_config *config,
                                const pith__binding *binding, pith_error *err)
{
    PITH__TRY(check_same("model", capsule->binding.model, binding->model, err));
    PITH__TRY(check_same("tokenizer", capsule->binding.tokenizer, binding->tokenizer, err));
    PITH__TRY(check_adapter(capsule->binding.adapter, binding->adapter, err));
    const bool kv = capsule->kind == PITH__CAPSULE_KV;
    const uint32_t layers = kv ? config->layers : 0;
    const size_t width = kv ? (size_t)config->kv_heads * config->head_dim : config->width;
    if (capsule->layers != layers || capsule->width != width) {
        return pith__fail(err, PITH_E_MISMATCH,
                          "the capsule has %" PRIu32 " layers and rows of %" PRIu32
                          ", the model wants %" PRIu32 " and %zu",
                          capsule->layers, capsule->width, layers, width);
    }
    return PITH_OK;
}

pith_status pith__capsule_read(const pith__capsule *capsule, pith__reader *reader, pith_error *err)
{
    PITH__TRY(pith__capsule_validate(capsule, PITH_E_ARGUMENT, err));
    if (capsule->kind == PITH__CAPSULE_EMBEDDINGS) {
        return pith__reader_embeddings(reader, capsule->embeddings, capsule->slots, err);
    }
    return pith__reader_slots(reader, capsule->keys, capsule->values, capsule->positions,
                              capsule->slots, capsule->advance, err);
}
