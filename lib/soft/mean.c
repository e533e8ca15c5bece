/*
 * mean.c: method "mean": averages over equal parts of a text, the baseline without parameters.
 */
#include "soft/compress.h"

#include <stdio.h>

size_t pith__part_start(size_t count, size_t parts, size_t index)
{
    return index * (count / parts) + index * (count % parts) / parts;
}

/* Tokens whose keys and values are taken out of the cache at a time. */
#define KV_ROWS 64

typedef struct averaging {
    const pith__model *model;
    unsigned threads;
    pith__pool pool;
    const uint32_t *ids; /* (count) the text */
    size_t count;
    size_t before;     /* rows before it: BOS, or none */
    pith__arena arena; /* of the pass, and what follows */
    pith__kv kv;
    float *states;          /* (PITH__PIECE_ROWS, d) */
    uint32_t *positions;    /* (KV_ROWS) */
    float *keys;            /* (layers, KV_ROWS, width) */
    float *values;          /* the same */
    pith__capsule *capsule; /* the sums so far, by slot */
    pith_error *err;
} averaging;

/* First token of slot `slot`'s part. */
static size_t start_of(const averaging *a, size_t slot)
{
    return pith__part_start(a->count, a->capsule->slots, slot);
}

/* Adds row `row` of slot `slot`, of whose mean it is a share, to a sum. */
static void add_row(const averaging *a, size_t slot, const float *row, float *sum)
{
    const float share = 1.0f / (float)(start_of(a, slot + 1) - start_of(a, slot));
    for (size_t i = 0; i < a->capsule->width; i++) {
        sum[i] += share * row[i];
    }
}

/* Adds rows (count, d) of the tokens from `first` on to the slots' embeddings. */
static void add_states(const averaging *a, size_t first, size_t count, const float *states)
{
    const size_t width = a->capsule->width;
    size_t slot = 0;
    for (size_t i = 0; i < count; i++) {
        while (start_of(a, slot + 1) <= first + i) {
            slot++;
        }
        add_row(a, slot, states + i * width, a->capsule->embeddings + slot * width);
    }
}

static pith_status read_rows(averaging *a, const uint32_t *ids, size_t count, float *hidden)
{
    const pith__sequence sequence = {
        .ids = ids, .count = count, .position = a->kv.length, .kv = &a->kv};
    const pith__forward_outputs outputs = {.hidden = hidden};
    const pith__tensor_ctx tensor = {pith__model_threads(a->model, count, a->threads), &a->arena};
    return pith__model_forward(a->model, &tensor, &sequence, 1, &outputs, a->err);
}

static pith_status look_up(averaging *a, const uint32_t *ids, size_t count)
{
    const pith__model_config *config = &a->model->config;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] >= config->vocabulary) {
            return pith__fail(a->err, PITH_E_ARGUMENT, "token id %u, the vocabulary has %u", ids[i],
                              config->vocabulary);
        }
        PITH__TRY(pith__model_embedding(a->model, ids[i], a->states + i * config->width, a->err));
    }
    return PITH_OK;
}

static pith_status average_text(averaging *a)
{
    for (size_t first = 0; first < a->count; first += PITH__PIECE_ROWS) {
        const size_t left = a->count - first;
        const size_t rows = left < PITH__PIECE_ROWS ? left : PITH__PIECE_ROWS;
        switch (a->pool) {
        case PITH__POOL_EMBEDDINGS:
            PITH__TRY(look_up(a, a->ids + first, rows));
            add_states(a, first, rows, a->states);
            break;
        case PITH__POOL_HIDDEN:
            PITH__TRY(read_rows(a, a->ids + first, rows, a->states));
            add_states(a, first, rows, a->states);
            break;
        case PITH__POOL_KV:
            PITH__TRY(read_rows(a, a->ids + first, rows, NULL));
            break;
        }
    }
    return PITH_OK;
}

/* Tokens [first, first + count), of slot `slot`. */
static pith_status add_kv(averaging *a, size_t slot, size_t first, size_t count)
{
    pith__capsule *c = a->capsule;
    for (size_t i = 0; i < count; i++) {
        a->positions[i] = (uint32_t)(a->before + first + i);
    }
    PITH__TRY(pith__kv_extract(&a->kv, a->model, a->before + first, count, a->positions, a->keys,
                               a->values, a->err));
    for (size_t layer = 0; layer < c->layers; layer++) {
        const size_t to = (layer * c->slots + slot) * c->width;
        for (size_t i = 0; i < count; i++) {
            const size_t from = (layer * count + i) * c->width;
            add_row(a, slot, a->keys + from, c->keys + to);
            add_row(a, slot, a->values + from, c->values + to);
        }
    }
    return PITH_OK;
}

static pith_status average_kv(averaging *a)
{
    pith__capsule *c = a->capsule;
    const size_t layer_rows = (size_t)c->layers * KV_ROWS;
    const size_t width = c->width * sizeof(float);
    PITH__TRY(pith__arena_alloc(&a->arena, KV_ROWS, sizeof *a->positions, &a->positions, a->err));
    PITH__TRY(pith__arena_alloc(&a->arena, layer_rows, width, &a->keys, a->err));
    PITH__TRY(pith__arena_alloc(&a->arena, layer_rows, width, &a->values, a->err));
    for (uint32_t slot = 0; slot < c->slots; slot++) {
        const size_t end = start_of(a, slot + 1);
        for (size_t first = start_of(a, slot); first < end; first += KV_ROWS) {
            PITH__TRY(add_kv(a, slot, first, end - first < KV_ROWS ? end - first : KV_ROWS));
        }
        c->positions[slot] = (uint32_t)(start_of(a, slot) + (end - start_of(a, slot)) / 2);
    }
    (void)snprintf(c->position_mode, sizeof c->position_mode, "continue");
    c->advance = (uint32_t)a->count;
    return PITH_OK;
}

static pith_status average(averaging *a, uint32_t bos)
{
    PITH__TRY(pith__arena_alloc(&a->arena, PITH__PIECE_ROWS,
                                a->model->config.width * sizeof *a->states, &a->states, a->err));
    if (a->before > 0 && a->pool != PITH__POOL_EMBEDDINGS) {
        PITH__TRY(read_rows(a, &bos, 1, NULL));
    }
    PITH__TRY(average_text(a));
    return a->pool == PITH__POOL_KV ? average_kv(a) : PITH_OK;
}

pith_status pith__compress_mean(const pith__model *model, unsigned threads, pith__pool pool,
                                uint32_t bos, const uint32_t *ids, size_t count, uint32_t slots,
                                const pith_allocator *mem, pith__capsule **out, pith_error *err)
{
    const pith__model_config *config = &model->config;
    const bool kv = pool == PITH__POOL_KV;
    averaging a = {.model = model, .threads = threads, .pool = pool, .ids = ids, .count = count};
    *out = NULL;
    if (count == 0 || slots == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "a mean of %zu tokens in %u slots", count, slots);
    }
    a.before = bos == PITH__NO_ID ? 0 : 1;
    if (count > config->context - a.before) {
        return pith__fail(err, PITH_E_CONTEXT, "%zu tokens, the model's context is %u",
                          a.before + count, config->context);
    }
    PITH__TRY(pith__capsule_new(kv ? PITH__CAPSULE_KV : PITH__CAPSULE_EMBEDDINGS, "mean",
                                slots < count ? slots : (uint32_t)count, kv ? config->layers : 0,
                                kv ? config->kv_heads * config->head_dim : config->width, mem,
                                &a.capsule, err));
    a.err = err;
    a.capsule->bos = a.before > 0;
    a.capsule->source_tokens = count;
    pith__arena_init(&a.arena, mem);
    pith__kv_init(&a.kv, model, mem);
    const pith_status status = average(&a, bos);
    pith__kv_deinit(&a.kv);
    pith__arena_deinit(&a.arena);
    if (status != PITH_OK) {
        pith__capsule_free(a.capsule);
        return status;
    }
    *out = a.capsule;
    return PITH_OK;
}
