/*
 * capsule_join.c: capsules that belong together: what they must have in common, one of several, copies.
 */
#include "soft/capsule.h"

#include <inttypes.h>
#include <string.h>

/* ---- alike ----------------------------------------------------------------------------------- */

static const char *kind_name(const pith__capsule *capsule)
{
    return capsule->kind == PITH__CAPSULE_KV ? "kv" : "embeddings";
}

static pith_status differ(const char *what, const char *one, const char *other, pith_error *err)
{
    return pith__fail(err, PITH_E_MISMATCH, "the capsules differ in %s: %s and %s", what,
                      one[0] == '\0' ? "(none)" : one, other[0] == '\0' ? "(none)" : other);
}

static pith_status check_shape(const pith__capsule *a, const pith__capsule *b, pith_error *err)
{
    if (a->layers != b->layers || a->width != b->width) {
        return pith__fail(err, PITH_E_MISMATCH,
                          "the capsules differ in shape: %" PRIu32 " layers and rows of %" PRIu32
                          ", and %" PRIu32 " layers and rows of %" PRIu32,
                          a->layers, a->width, b->layers, b->width);
    }
    return PITH_OK;
}

pith_status pith__capsule_check_alike(const pith__capsule *a, const pith__capsule *b,
                                      pith_error *err)
{
    const struct {
        const char *what, *one, *other;
    } texts[] = {
        {"kind", kind_name(a), kind_name(b)},
        {"method", a->method, b->method},
        {"position mode", a->position_mode, b->position_mode},
        {"BOS before them", a->bos ? "with" : "without", b->bos ? "with" : "without"},
        {"their model", a->binding.model, b->binding.model},
        {"their tokenizer", a->binding.tokenizer, b->binding.tokenizer},
        {"their adapter", a->binding.adapter, b->binding.adapter},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(texts[i].one, texts[i].other) != 0) {
            return differ(texts[i].what, texts[i].one, texts[i].other, err);
        }
    }
    return check_shape(a, b, err);
}

/* ---- one of several ---------------------------------------------------------------------------- */

typedef struct totals {
    uint64_t slots, advance, source_bytes, source_tokens;
} totals;

/* No sum overflows: each is checked after it grew by one well-formed capsule. */
static pith_status add_up(const pith__capsule *const *capsules, size_t count, totals *out,
                          pith_error *err)
{
    *out = (totals){0};
    for (size_t i = 0; i < count; i++) {
        const pith__capsule *c = capsules[i];
        PITH__TRY(pith__capsule_validate(c, PITH_E_ARGUMENT, err));
        PITH__TRY(pith__capsule_check_alike(capsules[0], c, err));
        out->slots += c->slots;
        out->advance += c->advance;
        out->source_tokens += c->source_tokens;
        out->source_bytes += c->source_bytes;
        if (out->slots > INT32_MAX || out->advance > INT32_MAX || out->source_bytes > INT64_MAX ||
            out->source_tokens > INT64_MAX) {
            return pith__fail(err, PITH_E_ARGUMENT, "%zu capsules are too many for one", count);
        }
    }
    return PITH_OK;
}

/* Slots and positions of `c` to slots `first` and following of `out`, counted on from `put`. */
static pith_status put_one(pith__capsule *out, const pith__capsule *c, size_t first, uint32_t put,
                           pith_error *err)
{
    for (size_t i = 0; i < c->slots; i++) {
        const uint64_t position = (uint64_t)put + c->positions[i];
        if (position > INT32_MAX) {
            return pith__fail(err, PITH_E_ARGUMENT, "a joined slot at position %" PRIu64, position);
        }
        out->positions[first + i] = (uint32_t)position;
    }
    const size_t size = (size_t)c->slots * c->width;
    for (size_t i = 0; i < pith__capsule_parts(c); i++) {
        memcpy(pith__capsule_part(out, i) + first * c->width, pith__capsule_part(c, i),
               size * sizeof(float));
    }
    return PITH_OK;
}

static pith_status put_all(pith__capsule *out, const pith__capsule *const *capsules, size_t count,
                           pith_error *err)
{
    size_t first = 0;
    uint32_t put = 0;
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(put_one(out, capsules[i], first, put, err));
        first += capsules[i]->slots;
        put += capsules[i]->advance;
    }
    return pith__capsule_validate(out, PITH_E_ARGUMENT, err);
}

pith_status pith__capsule_join(const pith__capsule *const *capsules, size_t count,
                               const pith_allocator *mem, pith__capsule **out, pith_error *err)
{
    totals sum;
    *out = NULL;
    if (count == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "no capsule to join");
    }
    PITH__TRY(add_up(capsules, count, &sum, err));
    const pith__capsule *like = capsules[0];
    pith__capsule *joined = NULL;
    PITH__TRY(pith__capsule_new(like->kind, like->method, (uint32_t)sum.slots, like->layers,
                                like->width, mem, &joined, err));
    memcpy(joined->position_mode, like->position_mode, sizeof joined->position_mode);
    joined->advance = (uint32_t)sum.advance;
    joined->bos = like->bos;
    joined->binding = like->binding;
    joined->source_bytes = sum.source_bytes;
    joined->source_tokens = sum.source_tokens;
    const pith_status status = put_all(joined, capsules, count, err);
    if (status != PITH_OK) {
        pith__capsule_free(joined);
        return status;
    }
    *out = joined;
    return PITH_OK;
}

pith_status pith__capsule_copy(const pith__capsule *capsule, const pith_allocator *mem,
                               pith__capsule **out, pith_error *err)
{
    pith__capsule *copy = NULL;
    *out = NULL;
    PITH__TRY(pith__capsule_join(&capsule, 1, mem, &copy, err));
    copy->type = capsule->type;
    memcpy(copy->source_sha256, capsule->source_sha256, sizeof copy->source_sha256);
    const pith_status status =
        pith__capsule_set_record(copy, capsule->record, capsule->record_size, err);
    if (status != PITH_OK) {
        pith__capsule_free(copy);
        return status;
    }
    *out = copy;
    return PITH_OK;
}
