/*
 * compress.c: texts through a compressor, segment by segment; means of parts of a text.
 */
#include "soft/soft.h"

#include <stdio.h>
#include <string.h>

/* Rows per pass, as the reader has it: the activations of a long segment take no more than these. */
#define PIECE_ROWS 512

/* ---- segments ------------------------------------------------------------------------------------ */

/* One segment on its way through the encoder. */
typedef struct segment {
    const pith__compress_input *in;
    size_t first; /* of its ids in the text */
    size_t count; /* ids */
    size_t text;  /* ids and padding */
    size_t start; /* row of the text's first token: behind query and begin tag */
    size_t rows;
    uint32_t slots;
    pith__arena arena; /* of the pass, and what follows */
    uint32_t *ids;     /* (rows) PITH__NO_ID: a row of the compressor's */
    uint32_t *places;  /* (rows) */
    float *given;      /* (PIECE_ROWS, d) embeddings of a piece */
    float *hidden;     /* (PIECE_ROWS, d) states of a piece; NULL: keys and values are wanted */
    float *states;     /* (slots, d) those of the slots */
    pith__kv kv;
    pith_error *err;
} segment;

static bool is_kv(const pith__compressor *compressor)
{
    return compressor->shape.method == PITH__COMPRESSOR_500X;
}

/* Where part `index` of `parts` nearly equal ones begins: floor(index count / parts). */
static size_t part_start(size_t count, size_t parts, size_t index)
{
    return index * (count / parts) + index * (count % parts) / parts;
}

static pith_status segment_of(const pith__compress_input *in, size_t index, segment *s,
                              pith_error *err)
{
    const pith__compressor_shape *shape = &in->compressor->shape;
    const bool tagged = shape->method == PITH__COMPRESSOR_SELFCP;
    const size_t segments = pith__compressor_segments(shape, in->count);
    const size_t context = in->encoder->config.context;
    *s = (segment){.in = in, .err = err, .first = part_start(in->count, segments, index)};
    s->count = part_start(in->count, segments, index + 1) - s->first;
    s->text = shape->pads ? shape->window : s->count;
    s->start = tagged ? in->n_query + 1 : 0;
    PITH__TRY(pith__compressor_slots_of(shape, s->count, in->slots, &s->slots, err));
    s->rows = s->start + s->text + s->slots;
    if (in->n_query > context || s->rows > context) {
        return pith__fail(err, PITH_E_CONTEXT,
                          "%zu tokens, %u slots and a question of %zu tokens, the model's context "
                          "is %zu",
                          s->text, s->slots, in->n_query, context);
    }
    return PITH_OK;
}

/* ---- one segment --------------------------------------------------------------------------------- */

static void place_rows(segment *s)
{
    const pith__compress_input *in = s->in;
    uint32_t advance = 0;
    for (size_t i = 0; i < s->rows; i++) {
        const size_t t = i - s->start; /* where i is not before the text */
        s->places[i] = (uint32_t)i;
        s->ids[i] = PITH__NO_ID;
        if (i < in->n_query) {
            s->ids[i] = in->query[i];
        } else if (i >= s->start && t < s->text) {
            s->ids[i] = t < s->count ? in->ids[s->first + t] : in->padding;
        }
    }
    uint32_t *slots = s->places + s->start + s->text;
    pith__compressor_places(&in->compressor->shape, s->text, s->slots, slots, &advance);
    for (uint32_t j = 0; j < s->slots; j++) {
        slots[j] += (uint32_t)s->start;
    }
}

static pith_status prepare(segment *s)
{
    const pith__compressor *c = s->in->compressor;
    const size_t width = c->width * sizeof(float);
    PITH__TRY(pith__arena_alloc(&s->arena, s->rows, sizeof *s->ids, &s->ids, s->err));
    PITH__TRY(pith__arena_alloc(&s->arena, s->rows, sizeof *s->places, &s->places, s->err));
    PITH__TRY(pith__arena_alloc(&s->arena, PIECE_ROWS, width, &s->given, s->err));
    if (!is_kv(c)) {
        PITH__TRY(pith__arena_alloc(&s->arena, PIECE_ROWS, width, &s->hidden, s->err));
        PITH__TRY(pith__arena_alloc(&s->arena, s->slots, width, &s->states, s->err));
    }
    place_rows(s);
    return PITH_OK;
}

/* The learned row that stands in row `row`. */
static const float *row_of(const segment *s, size_t row)
{
    const pith__compressor *c = s->in->compressor;
    const size_t first_slot = s->start + s->text;
    if (c->tags != NULL) {
        return row < first_slot ? c->tags : c->tags + c->width;
    }
    return c->slots + (row - first_slot) * c->width;
}

static pith_status run_piece(segment *s, size_t first, size_t rows)
{
    const pith__model *model = s->in->encoder;
    const size_t width = model->config.width;
    const size_t first_slot = s->start + s->text;
    for (size_t i = 0; i < rows; i++) {
        if (s->ids[first + i] == PITH__NO_ID) {
            memcpy(s->given + i * width, row_of(s, first + i), width * sizeof(float));
        }
    }
    const pith__sequence sequence = {.ids = s->ids + first,
                                     .count = rows,
                                     .kv = &s->kv,
                                     .embeddings = s->given,
                                     .positions = s->places + first};
    const pith__forward_outputs outputs = {.hidden = first + rows > first_slot ? s->hidden : NULL};
    const pith__tensor_ctx tensor = {pith__model_threads(model, rows, s->in->threads), &s->arena};
    PITH__TRY(pith__model_forward(model, &tensor, &sequence, 1, &outputs, s->err));
    for (size_t i = 0; outputs.hidden != NULL && i < rows; i++) {
        if (first + i >= first_slot) {
            memcpy(s->states + (first + i - first_slot) * width, s->hidden + i * width,
                   width * sizeof(float));
        }
    }
    return PITH_OK;
}

/* `rows` of the segment are done. */
static pith_status report(const segment *s, size_t rows)
{
    const pith__compress_input *in = s->in;
    const size_t text = rows < s->start ? 0 : rows - s->start;
    const size_t done = s->first + (text < s->count ? text : s->count);
    if (in->progress != NULL && !in->progress(in->progress_user, "encode", done, in->count)) {
        return pith__fail(s->err, PITH_E_CANCELLED, "cancelled after %zu of %zu tokens", done,
                          in->count);
    }
    return PITH_OK;
}

/* What the model gave for the slots becomes the capsule's numbers. */
static pith_status fill(segment *s, pith__capsule *capsule)
{
    const pith__compressor *c = s->in->compressor;
    const pith__model *model = s->in->encoder;
    const size_t first_slot = s->start + s->text;
    if (is_kv(c)) {
        pith__compressor_places(&c->shape, s->text, s->slots, capsule->positions,
                                &capsule->advance);
        return pith__kv_extract(&s->kv, model, first_slot, s->slots, s->places + first_slot,
                                capsule->keys, capsule->values, s->err);
    }
    if (c->matrix == NULL) {
        memcpy(capsule->embeddings, s->states, (size_t)s->slots * c->width * sizeof(float));
        return PITH_OK;
    }
    const pith__connector connector = {.width = c->width,
                                       .matrix = c->matrix,
                                       .bias = c->bias,
                                       .gain = c->gain,
                                       .shift = c->shift,
                                       .eps = PITH__COMPRESSOR_EPS};
    const pith__tensor_ctx one = {1, &s->arena};
    return pith__connector_forward(&connector, model->ops, &one, s->states, s->slots, NULL,
                                   capsule->embeddings, s->err);
}

static pith_status encode(segment *s, pith__capsule *capsule)
{
    PITH__TRY(prepare(s));
    for (size_t first = 0; first < s->rows; first += PIECE_ROWS) {
        const size_t left = s->rows - first;
        const size_t rows = left < PIECE_ROWS ? left : PIECE_ROWS;
        PITH__TRY(run_piece(s, first, rows));
        PITH__TRY(report(s, first + rows));
    }
    return fill(s, capsule);
}

static pith_status compress_segment(segment *s, const pith_allocator *mem, pith__capsule **out)
{
    const pith__compressor_shape *shape = &s->in->compressor->shape;
    const pith__model_config *config = &s->in->encoder->config;
    const bool kv = is_kv(s->in->compressor);
    PITH__TRY(pith__capsule_new(
        kv ? PITH__CAPSULE_KV : PITH__CAPSULE_EMBEDDINGS,
        pith__compressor_method_name(shape->method), s->slots, kv ? config->layers : 0,
        kv ? config->kv_heads * config->head_dim : config->width, mem, out, s->err));
    pith__capsule *capsule = *out;
    (void)snprintf(capsule->position_mode, sizeof capsule->position_mode, "%s",
                   pith__compressor_position_mode(shape));
    capsule->bos = shape->method == PITH__COMPRESSOR_SELFCP;
    capsule->source_tokens = s->count;
    pith__arena_init(&s->arena, mem);
    pith__kv_init(&s->kv, s->in->encoder, mem);
    const pith_status status = encode(s, capsule);
    pith__kv_deinit(&s->kv);
    pith__arena_deinit(&s->arena);
    return status;
}

/* ---- the text -------------------------------------------------------------------------------------- */

static pith_status check_input(const pith__compress_input *in, pith_error *err)
{
    const pith__compressor *c = in->compressor;
    if (in->count == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "there is nothing to make a capsule of");
    }
    if (in->encoder->config.width != c->width) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "a compressor for a model of width %u, this one has %u", c->width,
                          in->encoder->config.width);
    }
    if (in->n_query > 0 && c->shape.method != PITH__COMPRESSOR_SELFCP) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "a compressor of method %s does not read a question before the text",
                          pith__compressor_method_name(c->shape.method));
    }
    return PITH_OK;
}

/* Adds the capsules, one per segment, to `capsules`, which are NULL so far. */
static pith_status compress_all(const pith__compress_input *in, const pith_allocator *mem,
                                size_t count, pith__capsule **capsules, pith_error *err)
{
    segment s;
    for (size_t i = 0; i < count; i++) { /* what does not fit is told before the work is done */
        PITH__TRY(segment_of(in, i, &s, err));
    }
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(segment_of(in, i, &s, err));
        PITH__TRY(compress_segment(&s, mem, &capsules[i]));
    }
    return PITH_OK;
}

pith_status pith__compress(const pith__compress_input *input, const pith_allocator *mem,
                           pith__capsule **out, pith_error *err)
{
    *out = NULL;
    PITH__TRY(check_input(input, err));
    const size_t count = pith__compressor_segments(&input->compressor->shape, input->count);
    pith__capsule **capsules = NULL;
    PITH__TRY(pith__alloc_zero(mem, count, sizeof(pith__capsule *), &capsules, err));
    pith_status status = compress_all(input, mem, count, capsules, err);
    if (status == PITH_OK && count == 1) {
        *out = capsules[0];
        capsules[0] = NULL;
    } else if (status == PITH_OK) {
        status = pith__capsule_join((const pith__capsule *const *)capsules, count, mem, out, err);
    }
    for (size_t i = 0; i < count; i++) {
        pith__capsule_free(capsules[i]);
    }
    pith__free(mem, capsules, count, sizeof(pith__capsule *));
    return status;
}

/* ---- means ------------------------------------------------------------------------------------------ */

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
    float *states;          /* (PIECE_ROWS, d) */
    uint32_t *positions;    /* (KV_ROWS) */
    float *keys;            /* (layers, KV_ROWS, width) */
    float *values;          /* the same */
    pith__capsule *capsule; /* the sums so far, by slot */
    pith_error *err;
} averaging;

/* First token of slot `slot`'s part. */
static size_t start_of(const averaging *a, size_t slot)
{
    return part_start(a->count, a->capsule->slots, slot);
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
    for (size_t first = 0; first < a->count; first += PIECE_ROWS) {
        const size_t left = a->count - first;
        const size_t rows = left < PIECE_ROWS ? left : PIECE_ROWS;
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
    PITH__TRY(pith__arena_alloc(&a->arena, PIECE_ROWS, a->model->config.width * sizeof *a->states,
                                &a->states, a->err));
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
