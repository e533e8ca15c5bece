/*
 * reader.c: one sequence that grows by ids, embeddings or key-values.
 */
#include "generate/generate.h"

#include <math.h>
#include <string.h>

/*
 * Rows per pass: enough for matrix products to run at full speed, few enough that the activations
 * of a long prompt never take more memory than these.
 */
#define PIECE_ROWS 512

pith_status pith__reader_init(pith__reader *reader, const pith__model *model, unsigned threads,
                              const pith_allocator *mem, pith_error *err)
{
    *reader = (pith__reader){.model = model, .threads = threads};
    pith__arena_init(&reader->scratch, mem);
    pith__kv_init(&reader->kv, model, mem);
    return pith__alloc(mem, model->config.vocabulary, sizeof *reader->logits, &reader->logits, err);
}

void pith__reader_deinit(pith__reader *reader)
{
    if (reader->model != NULL) {
        pith__free(&reader->kv.mem, reader->logits, reader->model->config.vocabulary,
                   sizeof *reader->logits);
        pith__kv_deinit(&reader->kv);
        pith__arena_deinit(&reader->scratch);
    }
    *reader = (pith__reader){.model = NULL};
}

/* ---- rows that go through the model ---------------------------------------------------------- */

/* What is read, and what is wanted of it. */
typedef struct reading {
    pith__reader *reader;
    const uint32_t *ids;     /* (count), or NULL: rows */
    const float *embeddings; /* (count, d), or NULL: ids */
    size_t count;
    float *nats;       /* (count), or NULL */
    uint32_t *targets; /* (PIECE_ROWS) of a piece, if there are nats */
    float *nll;        /* (PIECE_ROWS) of its rows */
    float *logits;     /* (vocabulary) after the last row */
    pith_error *err;
} reading;

/* Embeddings have no id that could be judged. */
static bool wants_nats(const reading *r)
{
    return r->ids != NULL && r->nats != NULL;
}

static pith_status prepare(reading *r)
{
    pith__arena *arena = &r->reader->scratch;
    const size_t vocabulary = r->reader->model->config.vocabulary;
    PITH__TRY(pith__arena_alloc(arena, vocabulary, sizeof *r->logits, &r->logits, r->err));
    if (!wants_nats(r)) {
        return PITH_OK;
    }
    PITH__TRY(pith__arena_alloc(arena, PIECE_ROWS, sizeof *r->targets, &r->targets, r->err));
    return pith__arena_alloc(arena, PIECE_ROWS, sizeof *r->nll, &r->nll, r->err);
}

/* Rows [first, first + rows). What the last one of all predicts are the logits, not an NLL. */
static pith_status read_piece(reading *r, size_t first, size_t rows)
{
    pith__reader *reader = r->reader;
    const pith__model *model = reader->model;
    const bool last = first + rows == r->count;
    const pith__sequence sequence = {
        .ids = r->ids == NULL ? NULL : r->ids + first,
        .count = rows,
        .position = reader->position + first,
        .kv = &reader->kv,
        .embeddings = r->embeddings == NULL ? NULL : r->embeddings + first * model->config.width};
    const pith__forward_outputs outputs = {
        .targets = r->targets, .nll = r->nll, .last_logits = last ? r->logits : NULL};
    for (size_t i = 0; wants_nats(r) && i < rows; i++) {
        r->targets[i] = first + i + 1 < r->count ? r->ids[first + i + 1] : PITH__NO_TARGET;
    }
    const pith__tensor_ctx tensor = {pith__model_threads(model, rows, reader->threads),
                                     &reader->scratch};
    PITH__TRY(pith__model_forward(model, &tensor, &sequence, 1, &outputs, r->err));
    if (wants_nats(r)) {
        memcpy(r->nats + first + 1, r->nll, (rows - (last ? 1 : 0)) * sizeof *r->nll);
    }
    return PITH_OK;
}

/* The first id was expected by what the reader read before. */
static pith_status judge_first(reading *r)
{
    const float *logits = pith__reader_logits(r->reader);
    if (logits == NULL) {
        r->nats[0] = NAN;
        return PITH_OK;
    }
    const double all = pith__log_sum_exp(logits, r->reader->model->config.vocabulary);
    r->nats[0] = (float)(all - (double)logits[r->ids[0]]);
    if (!isfinite(r->nats[0])) {
        return pith__fail(r->err, PITH_E_CORRUPT, "the model's prediction is not a number");
    }
    return PITH_OK;
}

static pith_status read_all(reading *r)
{
    PITH__TRY(prepare(r));
    for (size_t first = 0; first < r->count; first += PIECE_ROWS) {
        const size_t left = r->count - first;
        PITH__TRY(read_piece(r, first, left < PIECE_ROWS ? left : PIECE_ROWS));
    }
    return wants_nats(r) ? judge_first(r) : PITH_OK;
}

static pith_status read_rows(reading *r)
{
    if (r->count == 0) {
        return PITH_OK;
    }
    pith__reader *reader = r->reader;
    const size_t length = reader->kv.length;
    const pith_status status = read_all(r);
    if (status == PITH_OK) {
        memcpy(reader->logits, r->logits,
               reader->model->config.vocabulary * sizeof *reader->logits);
        reader->has_logits = true;
        reader->position += r->count;
        reader->forwarded += r->count;
    } else {
        pith__kv_truncate(&reader->kv, length);
    }
    pith__arena_reset(&reader->scratch);
    return status;
}

pith_status pith__reader_ids(pith__reader *reader, const uint32_t *ids, size_t count, float *nats,
                             pith_error *err)
{
    reading r = {.reader = reader, .ids = ids, .count = count, .nats = nats, .err = err};
    return read_rows(&r);
}

pith_status pith__reader_embeddings(pith__reader *reader, const float *rows, size_t count,
                                    pith_error *err)
{
    reading r = {.reader = reader, .embeddings = rows, .count = count, .err = err};
    return read_rows(&r);
}

/* ---- what was computed elsewhere --------------------------------------------------------------- */

static pith_status place_slots(pith__reader *reader, const float *keys, const float *values,
                               const uint32_t *offsets, size_t count, pith_error *err)
{
    const size_t context = reader->model->config.context;
    uint32_t *positions = NULL;
    PITH__TRY(pith__arena_alloc(&reader->scratch, count, sizeof *positions, &positions, err));
    for (size_t i = 0; i < count; i++) {
        if (offsets[i] >= context - reader->position) {
            return pith__fail(err, PITH_E_CONTEXT,
                              "a slot %u after position %zu, the model's context is %zu",
                              offsets[i], reader->position, context);
        }
        positions[i] = (uint32_t)reader->position + offsets[i];
    }
    return pith__kv_append(&reader->kv, reader->model, keys, values, positions, count, err);
}

pith_status pith__reader_slots(pith__reader *reader, const float *keys, const float *values,
                               const uint32_t *offsets, size_t count, size_t advance,
                               pith_error *err)
{
    const size_t context = reader->model->config.context;
    if (advance > context - reader->position) {
        return pith__fail(err, PITH_E_CONTEXT,
                          "%zu positions after position %zu, the model's context is %zu", advance,
                          reader->position, context);
    }
    const pith_status status = place_slots(reader, keys, values, offsets, count, err);
    pith__arena_reset(&reader->scratch);
    if (status == PITH_OK) {
        reader->position += advance;
        reader->has_logits = false;
    }
    return status;
}

/* ---- state --------------------------------------------------------------------------------------- */

const float *pith__reader_logits(const pith__reader *reader)
{
    return reader->has_logits ? reader->logits : NULL;
}

pith__reader_mark pith__reader_save(const pith__reader *reader)
{
    return (pith__reader_mark){.length = reader->kv.length, .position = reader->position};
}

void pith__reader_restore(pith__reader *reader, pith__reader_mark mark)
{
    pith__kv_truncate(&reader->kv, mark.length);
    reader->position = mark.position;
    reader->has_logits = false;
}
