/*
 * compress.c: texts through a compressor, segment by segment.
 */
#include "soft/compress.h"

#include <stdio.h>
#include <string.h>

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
    float *given;      /* (PITH__PIECE_ROWS, d) embeddings of a piece */
    float *hidden; /* (PITH__PIECE_ROWS, d) states of a piece; NULL: keys and values are wanted */
    float *states; /* (slots, d) those of the slots */
    pith__kv kv;
    pith_error *err;
} segment;

static bool is_kv(const pith__compressor *compressor)
{
    return compressor->shape.method == PITH__COMPRESSOR_500X;
}

static pith_status segment_of(const pith__compress_input *in, size_t index, segment *s,
                              pith_error *err)
{
    const pith__compressor_shape *shape = &in->compressor->shape;
    const bool tagged = shape->method == PITH__COMPRESSOR_SELFCP;
    const size_t segments = pith__compressor_segments(shape, in->count);
    const size_t context = in->encoder->config.context;
    *s = (segment){.in = in, .err = err, .first = pith__part_start(in->count, segments, index)};
    s->count = pith__part_start(in->count, segments, index + 1) - s->first;
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
    PITH__TRY(pith__arena_alloc(&s->arena, PITH__PIECE_ROWS, width, &s->given, s->err));
    if (!is_kv(c)) {
        PITH__TRY(pith__arena_alloc(&s->arena, PITH__PIECE_ROWS, width, &s->hidden, s->err));
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
    for (size_t first = 0; first < s->rows; first += PITH__PIECE_ROWS) {
        const size_t left = s->rows - first;
        const size_t rows = left < PITH__PIECE_ROWS ? left : PITH__PIECE_ROWS;
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
