/*
 * memory_encode.c: rows of a pass, and the encoder of compressors forth and back.
 */
#include "train/memory_graph.h"

#include <string.h>

/* ---- rows of a pass ------------------------------------------------------------------------------ */

pith_status pith__memory_rows_of(const pith__memory_graph *g, size_t count, bool given,
                                 pith__memory_rows *out, pith_error *err)
{
    pith__arena *arena = g->ctx->arena;
    uint32_t **const arrays[] = {&out->ids, &out->positions, &out->first};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        PITH__TRY(pith__arena_alloc(arena, count, sizeof(uint32_t), arrays[i], err));
    }
    PITH__TRY(pith__arena_alloc_zero(arena, count, sizeof *out->into, &out->into, err));
    return given ? pith__arena_alloc(arena, count, g->d * sizeof(float), &out->embeddings, err)
                 : PITH_OK;
}

size_t pith__memory_place_id(pith__memory_rows *rows, size_t first, size_t position, uint32_t id)
{
    const size_t row = rows->count++;
    rows->ids[row] = id;
    rows->positions[row] = (uint32_t)position;
    rows->first[row] = (uint32_t)first;
    return row;
}

/* An embedding (d), and where its gradient goes. */
static void give_row(const pith__memory_graph *g, pith__memory_rows *rows, size_t first,
                     size_t position, const float *embedding, float *into)
{
    const size_t row = pith__memory_place_id(rows, first, position, PITH__NO_ID);
    memcpy(rows->embeddings + row * g->d, embedding, g->d * sizeof *embedding);
    rows->into[row] = into;
    rows->given++;
}

/* Row `i` of a table of embeddings that may learn. */
static void give_learned(const pith__memory_graph *g, pith__memory_rows *rows, size_t first,
                         size_t position, const float *table, size_t i)
{
    float *into = pith__sink_of(&g->learner->sink, table);
    give_row(g, rows, first, position, table + i * g->d, into == NULL ? NULL : into + i * g->d);
}

void pith__memory_place_memory(const pith__memory_graph *g, pith__memory_rows *rows, size_t first,
                               size_t position, const pith__memory_part *part)
{
    const pith__memory_stage *stage = &g->stages[part->stage];
    for (size_t j = 0; j < part->of->slots; j++) {
        const size_t at = (part->slot + j) * g->d;
        give_row(g, rows, first, position + j, stage->z + at,
                 pith__memory_learns(g) ? stage->d_z + at : NULL);
    }
}

pith_status pith__memory_forward(const pith__memory_graph *g, const pith__memory_rows *rows,
                                 pith__pass_input input, pith__pass **out, pith_error *err)
{
    input.rows = rows->count;
    input.ids = rows->ids;
    input.embeddings = rows->embeddings;
    input.positions = rows->positions;
    return pith__pass_forward(g->learner->model, g->ctx, &input, out, err);
}

pith_status pith__memory_backward(const pith__memory_graph *g, const pith__memory_rows *rows,
                                  pith__pass *pass, pith__pass_gradients gradients, pith_error *err)
{
    gradients.sink = g->learner->sink;
    if (rows->given > 0) {
        PITH__TRY(pith__arena_alloc(g->ctx->arena, rows->count, g->d * sizeof(float),
                                    &gradients.d_embeddings, err));
    }
    PITH__TRY(pith__pass_backward(pass, &gradients, err));
    for (size_t i = 0; rows->given > 0 && i < rows->count; i++) {
        if (rows->into[i] != NULL) {
            g->learner->model->ops->add(g->ctx, rows->into[i], gradients.d_embeddings + i * g->d,
                                        g->d);
        }
    }
    return PITH_OK;
}

/* ---- the encoder, forth -------------------------------------------------------------------------- */

static pith_status allocate_stage(const pith__memory_graph *g, pith__memory_stage *stage,
                                  pith_error *err)
{
    pith__arena *arena = g->ctx->arena;
    const size_t width = pith__memory_is_kv(g) ? g->learner->model->config.layers * g->kv : g->d;
    PITH__TRY(pith__memory_rows_of(g, stage->n_rows, true, &stage->rows, err));
    PITH__TRY(
        pith__arena_alloc(arena, stage->slots, sizeof *stage->slot_rows, &stage->slot_rows, err));
    float **const of_kv[] = {&stage->keys, &stage->values};
    float **const of_embeddings[] = {&stage->h, &stage->linear, &stage->z};
    for (size_t i = 0; i < (pith__memory_is_kv(g) ? 2 : 3); i++) {
        PITH__TRY(pith__arena_alloc(arena, stage->slots, width * sizeof(float),
                                    pith__memory_is_kv(g) ? of_kv[i] : of_embeddings[i], err));
    }
    if (!pith__memory_learns(g)) {
        return PITH_OK;
    }
    if (!pith__memory_is_kv(g)) {
        return pith__arena_alloc_zero(arena, stage->slots, width * sizeof(float), &stage->d_z, err);
    }
    PITH__TRY(
        pith__arena_alloc_zero(arena, stage->slots, width * sizeof(float), &stage->d_keys, err));
    return pith__arena_alloc_zero(arena, stage->slots, width * sizeof(float), &stage->d_values,
                                  err);
}

/* Ids, counted on from the rows of this part that are placed. */
static void place_ids(const pith__memory_part *p, pith__memory_rows *rows, const uint32_t *ids,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        (void)pith__memory_place_id(rows, p->row, p->base + (rows->count - p->row), ids[i]);
    }
}

static void place_part(const pith__memory_graph *g, const pith__memory_part *p,
                       pith__memory_stage *stage)
{
    const pith__compressor *compressor = g->learner->compressor;
    const pith__memory_segment *of = p->of;
    pith__memory_rows *rows = &stage->rows;
    place_ids(p, rows, of->before, of->n_before);
    if (pith__memory_is_selfcp(g)) {
        give_learned(g, rows, p->row, of->n_before, compressor->tags, 0);
    }
    if (of->carries) {
        pith__memory_place_memory(g, rows, p->row, of->n_before + 1, p - 1);
    }
    place_ids(p, rows, of->ids, of->count);
    for (size_t i = of->count; i < p->text; i++) {
        place_ids(p, rows, &g->learner->padding, 1);
    }
    const float *table = pith__memory_is_selfcp(g) ? compressor->tags : compressor->slots;
    for (size_t j = 0; j < of->slots; j++) {
        stage->slot_rows[p->slot + j] = (uint32_t)rows->count;
        give_learned(g, rows, p->row, p->base + p->lead + p->places[j], table,
                     pith__memory_is_selfcp(g) ? 1 : j);
    }
}

static pith__connector connector_of(const pith__memory_graph *g)
{
    const pith__compressor *c = g->learner->compressor;
    return (pith__connector){.width = g->d,
                             .matrix = c->matrix,
                             .bias = c->bias,
                             .gain = c->gain,
                             .shift = c->shift,
                             .eps = PITH__COMPRESSOR_EPS};
}

/* Keys and values of the slots: a prefix of the frozen model for each group. */
static void collect_keys(const pith__memory_graph *g, const pith__memory_stage *stage)
{
    const size_t layers = g->learner->model->config.layers;
    const size_t row = g->kv * sizeof(float);
    for (size_t i = 0; i < g->n_groups * layers; i++) {
        const pith__memory_group *group = &g->groups[i / layers];
        const float *keys = pith__pass_keys(stage->pass, i % layers);
        const float *values = pith__pass_values(stage->pass, i % layers);
        for (size_t j = 0; j < group->slots; j++) {
            const size_t to = pith__memory_key_at(g, group, i % layers, j);
            const size_t from = stage->slot_rows[group->slot + j] * g->kv;
            memcpy(stage->keys + to, keys + from, row);
            memcpy(stage->values + to, values + from, row);
        }
    }
}

/* Hidden states of the slots, and what becomes of them. */
static pith_status collect_hidden(const pith__memory_graph *g, pith__memory_stage *stage,
                                  pith_error *err)
{
    const float *hidden = pith__pass_hidden(stage->pass);
    for (size_t j = 0; j < stage->slots; j++) {
        memcpy(stage->h + j * g->d, hidden + stage->slot_rows[j] * g->d, g->d * sizeof *hidden);
    }
    if (!pith__memory_is_selfcp(g)) {
        memcpy(stage->z, stage->h, stage->slots * g->d * sizeof *stage->z);
        return PITH_OK;
    }
    const pith__connector connector = connector_of(g);
    return pith__connector_forward(&connector, g->learner->model->ops, g->ctx, stage->h,
                                   stage->slots, stage->linear, stage->z, err);
}

static pith_status run_stage(const pith__memory_graph *g, pith__memory_stage *stage,
                             pith_error *err)
{
    const pith__memory_learner *l = g->learner;
    const pith__pass_input input = {
        .mask = {.rule = PITH__MASK_FIRST, .first = stage->rows.first},
        .lora = l->compressor->lora.rank == 0 ? NULL : &l->compressor->lora,
        .dropout_seed = l->dropout_seed,
        /* keys have to be kept */
        .recompute = !pith__memory_is_kv(g) && (l->recompute || !pith__memory_learns(g)),
    };
    PITH__TRY(pith__memory_forward(g, &stage->rows, input, &stage->pass, err));
    if (pith__memory_is_kv(g)) {
        collect_keys(g, stage);
        return PITH_OK;
    }
    return collect_hidden(g, stage, err);
}

pith_status pith__memory_encode(const pith__memory_graph *g, size_t stage, pith_error *err)
{
    pith__memory_stage *st = &g->stages[stage];
    PITH__TRY(allocate_stage(g, st, err));
    for (size_t i = 0; i < g->n_parts; i++) {
        if (g->parts[i].is_read && g->parts[i].stage == stage) {
            place_part(g, &g->parts[i], st);
        }
    }
    const pith__arena_mark mark = pith__arena_save(g->ctx->arena);
    PITH__TRY(run_stage(g, st, err));
    if (!pith__memory_learns(g)) {
        pith__arena_restore(g->ctx->arena, mark); /* nobody goes back through the pass */
    }
    return PITH_OK;
}

/* ---- the encoder, back --------------------------------------------------------------------------- */

static pith_status back_from_keys(const pith__memory_graph *g, const pith__memory_stage *stage,
                                  pith__pass_gradients *out, pith_error *err)
{
    const size_t layers = g->learner->model->config.layers;
    const size_t row = g->kv * sizeof(float);
    float *d_keys = NULL;
    float *d_values = NULL;
    PITH__TRY(pith__arena_alloc_zero(g->ctx->arena, layers * stage->n_rows, row, &d_keys, err));
    PITH__TRY(pith__arena_alloc_zero(g->ctx->arena, layers * stage->n_rows, row, &d_values, err));
    for (size_t i = 0; i < g->n_groups * layers; i++) {
        const pith__memory_group *group = &g->groups[i / layers];
        for (size_t j = 0; j < group->slots; j++) {
            const size_t from = pith__memory_key_at(g, group, i % layers, j);
            const size_t slot_row = stage->slot_rows[group->slot + j];
            const size_t to = (i % layers * stage->n_rows + slot_row) * g->kv;
            memcpy(d_keys + to, stage->d_keys + from, row);
            memcpy(d_values + to, stage->d_values + from, row);
        }
    }
    out->d_keys = d_keys;
    out->d_values = d_values;
    return PITH_OK;
}

static pith_status back_from_hidden(const pith__memory_graph *g, const pith__memory_stage *stage,
                                    pith__pass_gradients *out, pith_error *err)
{
    const size_t row = g->d * sizeof(float);
    const pith__memory_learner *l = g->learner;
    const float *d_h = stage->d_z;
    float *d_hidden = NULL;
    PITH__TRY(pith__arena_alloc_zero(g->ctx->arena, stage->n_rows, row, &d_hidden, err));
    if (pith__memory_is_selfcp(g)) {
        const pith__connector connector = connector_of(g);
        float *through = NULL;
        PITH__TRY(pith__arena_alloc(g->ctx->arena, stage->slots, row, &through, err));
        PITH__TRY(pith__connector_backward(&connector, l->model->ops, g->ctx, stage->h,
                                           stage->linear, stage->d_z, stage->slots, &l->sink,
                                           through, err));
        d_h = through;
    }
    for (size_t j = 0; j < stage->slots; j++) {
        memcpy(d_hidden + stage->slot_rows[j] * g->d, d_h + j * g->d, row);
    }
    out->d_hidden = d_hidden;
    return PITH_OK;
}

pith_status pith__memory_encode_back(const pith__memory_graph *g, size_t stage, pith_error *err)
{
    const pith__memory_stage *st = &g->stages[stage];
    const pith__arena_mark mark = pith__arena_save(g->ctx->arena);
    pith__pass_gradients gradients = {0};
    PITH__TRY(pith__memory_is_kv(g) ? back_from_keys(g, st, &gradients, err)
                                    : back_from_hidden(g, st, &gradients, err));
    PITH__TRY(pith__memory_backward(g, &st->rows, st->pass, gradients, err));
    pith__arena_restore(g->ctx->arena, mark);
    return PITH_OK;
}
