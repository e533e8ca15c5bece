/*
 * retention_ways.c: what becomes of a text on each way: words that are read instead, or a capsule.
 */
#include "train/retention.h"

#include <string.h>

/* ---- compressors ------------------------------------------------------------------------------- */

static pith_status load_adapted(pith__retention *r, pith__retention_compressor *c, pith_error *err)
{
    pith__adapter adapter;
    PITH__TRY(pith__adapter_open_compressor(&c->gguf, &r->mem, &adapter, err));
    const pith_status status = pith__model_load_adapted(&r->base.gguf, &adapter, PITH_PRECISION_F32,
                                                        &r->mem, &c->adapted, err);
    pith__adapter_close(&adapter);
    return status;
}

static pith_status load(pith__retention *r, pith__retention_compressor *c, pith_error *err)
{
    const pith__model_config *config = &r->base.model.config;
    size_t record_size = 0;
    PITH__TRY(pith__gguf_parse(c->file.data, c->file.size, &r->mem, &c->gguf, err));
    PITH__TRY(pith__compressor_load(&c->gguf, config, r->base.sha256, &c->weights, &c->about,
                                    &record_size, err));
    PITH__TRY(pith__compressor_of(&c->about.shape, config, &c->weights, c->about.alpha, 0.0f,
                                  &r->mem, &c->compressor, err));
    return c->compressor.lora.rank == 0 ? PITH_OK : load_adapted(r, c, err);
}

pith_status pith__retention_open_compressor(pith__retention *r, size_t i, pith_error *err)
{
    pith__retention_compressor *c = &r->compressors[i];
    const char *path = r->settings->compressors[i];
    pith_error reason = {0};
    *c = (pith__retention_compressor){.file = {NULL, 0}};
    pith__weights_init(&c->weights, &r->mem);
    PITH__TRY(pith__file_open(path, &c->file, err));
    const pith_status status = load(r, c, &reason);
    if (status != PITH_OK) {
        pith__retention_close_compressor(c);
        return pith__fail(err, status, "%s: %s", path, reason.message);
    }
    return PITH_OK;
}

void pith__retention_close_compressor(pith__retention_compressor *compressor)
{
    pith__model_deinit(&compressor->adapted);
    pith__compressor_deinit(&compressor->compressor);
    pith__weights_deinit(&compressor->weights);
    pith__gguf_deinit(&compressor->gguf);
    pith__file_close(&compressor->file);
}

/* ---- slots -------------------------------------------------------------------------------------- */

static uint32_t slots_of(const pith__retention_case *c)
{
    return c->retention->settings->slots[c->slots];
}

/* Of each segment of so many tokens, so that all have `slots` at most. */
static uint32_t share_of(const pith__compressor_shape *shape, size_t count, uint32_t slots)
{
    const size_t share = slots / pith__compressor_segments(shape, count);
    const bool most = shape->method != PITH__COMPRESSOR_SELFCP && share > shape->slots;
    return most ? shape->slots : (uint32_t)share;
}

/* Whether a text of the full length can become exactly so many slots. */
static bool can_make(const pith__compressor_shape *shape, size_t count, uint32_t slots)
{
    const size_t segments = pith__compressor_segments(shape, count);
    const uint32_t share = share_of(shape, count, slots);
    uint32_t made = 0;
    return share > 0 && share * segments == slots &&
           pith__compressor_slots_of(shape, count / segments, share, &made, NULL) == PITH_OK &&
           made == share;
}

/* The next text that is another one; `i` if there is none. */
static size_t other_text(const pith__retention_list *list, size_t i)
{
    const pith__wording *own = &list->items[i].source;
    for (size_t k = 1; k < list->count; k++) {
        const size_t at = (i + k) % list->count;
        const pith__wording *words = &list->items[at].source;
        if (words->count != own->count ||
            memcmp(words->ids, own->ids, own->count * sizeof *own->ids) != 0) {
            return at;
        }
    }
    return i;
}

static bool has_shorter(const pith__retention_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].shorter != NULL) {
            return true;
        }
    }
    return false;
}

bool pith__retention_applies(const pith__retention_case *c)
{
    const pith__retention *r = c->retention;
    if (c->slots != SIZE_MAX && slots_of(c) >= c->list->length) {
        return false;
    }
    if (c->way == PITH__WAY_GIVEN) {
        return has_shorter(c->list);
    }
    if (c->compressor == SIZE_MAX) {
        return true;
    }
    return can_make(&r->compressors[c->compressor].about.shape, c->list->length, slots_of(c)) &&
           (c->way != PITH__WAY_SHUFFLED || other_text(c->list, 0) != 0);
}

/* ---- memories ------------------------------------------------------------------------------------ */

/* A conditional compressor reads the question of text `own` before the words of another one, maybe. */
static pith_status compress(const pith__retention_case *c, const pith__retention_text *own,
                            const pith__wording *words, pith__capsule **out, pith_error *err)
{
    const pith__retention *r = c->retention;
    const pith__retention_compressor *compressor = &r->compressors[c->compressor];
    const bool asks = compressor->about.conditional && c->list->task == PITH__TASK_ANSWER;
    const bool adapted = compressor->compressor.lora.rank > 0;
    const pith__compress_input input = {
        .compressor = &compressor->compressor,
        .encoder = adapted ? &compressor->adapted : &r->base.model,
        .threads = 1,
        .query = own->prompt,
        .n_query = asks ? own->n_prompt : 0,
        .ids = words->ids,
        .count = words->count,
        .slots = share_of(&compressor->about.shape, words->count, slots_of(c)),
        .padding = r->end};
    return pith__compress(&input, &r->mem, out, err);
}

static pith_status average(const pith__retention_case *c, pith__pool pool,
                           const pith__wording *words, pith__capsule **out, pith_error *err)
{
    const pith__retention *r = c->retention;
    return pith__compress_mean(&r->base.model, 1, pool, r->bos, words->ids, words->count,
                               slots_of(c), &r->mem, out, err);
}

pith_status pith__retention_remember(const pith__retention_case *c, size_t i,
                                     pith__retention_memory *out, pith_error *err)
{
    const pith__retention_list *list = c->list;
    const pith__retention_text *text = &list->items[i];
    const pith__wording *words = &text->source;
    const size_t most = c->slots == SIZE_MAX ? 0 : slots_of(c);
    const size_t count = most < words->count ? most : words->count;
    *out = (pith__retention_memory){.capsule = NULL};
    switch (c->way) {
    case PITH__WAY_FULL:
        out->words = *words;
        return PITH_OK;
    case PITH__WAY_TRUNCATED:
        out->words = pith__wording_part(*words, 0, count);
        return PITH_OK;
    case PITH__WAY_LAST:
        out->words = pith__wording_part(*words, words->count - count, count);
        return PITH_OK;
    case PITH__WAY_GIVEN:
        out->words = text->shorter[c->slots];
        return PITH_OK;
    case PITH__WAY_MEAN_KV:
        return average(c, PITH__POOL_KV, words, &out->capsule, err);
    case PITH__WAY_MEAN_HIDDEN:
        return average(c, PITH__POOL_HIDDEN, words, &out->capsule, err);
    case PITH__WAY_MEAN_EMBEDDINGS:
        return average(c, PITH__POOL_EMBEDDINGS, words, &out->capsule, err);
    case PITH__WAY_COMPRESSOR:
        return compress(c, text, words, &out->capsule, err);
    case PITH__WAY_SHUFFLED:
        return compress(c, text, &list->items[other_text(list, i)].source, &out->capsule, err);
    case PITH__WAY_NONE:
    case PITH__WAYS:
        break;
    }
    return PITH_OK;
}

pith_status pith__retention_recall(const pith__retention *r, const pith__retention_memory *memory,
                                   pith__reader *reader, pith_error *err)
{
    const pith__capsule *capsule = memory->capsule;
    if (capsule == NULL ? memory->words.count > 0 : capsule->bos) {
        PITH__TRY(pith__reader_ids(reader, &r->bos, 1, NULL, err));
    }
    return capsule != NULL
               ? pith__capsule_read(capsule, reader, err)
               : pith__reader_ids(reader, memory->words.ids, memory->words.count, NULL, err);
}

/* ---- slots left out --------------------------------------------------------------------------------- */

/* Rows (slots, width) without row `slot`. */
static void copy_without(float *to, const float *from, size_t slots, size_t width, size_t slot)
{
    memcpy(to, from, slot * width * sizeof *to);
    memcpy(to + slot * width, from + (slot + 1) * width, (slots - slot - 1) * width * sizeof *to);
}

static void copy_slots(const pith__capsule *from, uint32_t slot, pith__capsule *to)
{
    const size_t slots = from->slots;
    const size_t width = from->width;
    for (size_t layer = 0; layer < from->layers; layer++) {
        const size_t source = layer * slots * width;
        const size_t target = layer * (slots - 1) * width;
        copy_without(to->keys + target, from->keys + source, slots, width, slot);
        copy_without(to->values + target, from->values + source, slots, width, slot);
    }
    for (uint32_t i = 0; i < to->slots; i++) {
        to->positions[i] = from->positions[i < slot ? i : i + 1];
    }
    to->advance = from->advance;
}

static void copy_rows(const pith__capsule *from, uint32_t slot, pith__capsule *to)
{
    const size_t width = from->width;
    const float share = 1.0f / (float)(from->slots - 1);
    float *row = to->embeddings + slot * width;
    memcpy(to->embeddings, from->embeddings, from->slots * width * sizeof *row);
    memset(row, 0, width * sizeof *row);
    for (uint32_t i = 0; i < from->slots; i++) {
        for (size_t k = 0; i != slot && k < width; k++) {
            row[k] += share * from->embeddings[i * width + k];
        }
    }
}

pith_status pith__retention_without(const pith__capsule *capsule, uint32_t slot,
                                    const pith_allocator *mem, pith__capsule **out, pith_error *err)
{
    const bool kv = capsule->kind == PITH__CAPSULE_KV;
    PITH__TRY(pith__capsule_new(capsule->kind, capsule->method,
                                kv ? capsule->slots - 1 : capsule->slots, capsule->layers,
                                capsule->width, mem, out, err));
    pith__capsule *copy = *out;
    memcpy(copy->position_mode, capsule->position_mode, sizeof copy->position_mode);
    copy->bos = capsule->bos;
    if (kv) {
        copy_slots(capsule, slot, copy);
    } else {
        copy_rows(capsule, slot, copy);
    }
    return PITH_OK;
}
