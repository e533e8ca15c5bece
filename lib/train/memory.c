/*
 * memory.c: texts through an encoder into slots, and the frozen model that reads them, as one graph:
 * what is in which pass.
 */
#include "train/memory_graph.h"

/*
 * Rows after which samples with keys and values go into another pass of the frozen model: under a
 * matrix, attention computes what lies between the slots and the rows of a sample, which grows with
 * the pass.
 */
#define GROUP_ROWS ((size_t)256)

static const pith__compressor_shape *shape_of(const pith__memory_graph *g)
{
    return &g->learner->compressor->shape;
}

/* ---- segments ---------------------------------------------------------------------------------- */

static pith_status check_segment(const pith__memory_graph *g, const pith__memory_segment *segment,
                                 size_t index, pith_error *err)
{
    const pith__compressor_shape *shape = shape_of(g);
    if (segment->ids == NULL || segment->count == 0 || segment->slots == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "a segment of %zu tokens for %u slots",
                          segment->count, segment->slots);
    }
    if (segment->carries && index == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "the first segment has no memory to carry");
    }
    if (pith__memory_is_selfcp(g)) {
        return PITH_OK;
    }
    if (segment->carries || segment->n_before > 0 || segment->slots > shape->slots) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "a segment for %u slots: method %s has %u and reads nothing before it",
                          segment->slots, pith__compressor_method_name(shape->method),
                          shape->slots);
    }
    if (shape->pads && segment->count > shape->window) {
        return pith__fail(err, PITH_E_ARGUMENT, "a segment of %zu tokens, padded to %u",
                          segment->count, shape->window);
    }
    return PITH_OK;
}

static pith_status plan_segment(const pith__memory_graph *g, size_t sample, size_t index,
                                pith_error *err)
{
    const pith__memory_segment *segment = &g->samples[sample].segments[index];
    pith__memory_part *p = &g->parts[g->extents[sample].part + index];
    PITH__TRY(check_segment(g, segment, index, err));
    p->of = segment;
    p->text = shape_of(g)->pads ? shape_of(g)->window : segment->count;
    p->lead = pith__memory_is_selfcp(g) ? segment->n_before + 1 : 0;
    if (segment->carries) {
        p->lead += segment[-1].slots;
        p->stage = p[-1].stage + 1;
    }
    PITH__TRY(pith__arena_alloc(g->ctx->arena, segment->slots, sizeof *p->places, &p->places, err));
    pith__compressor_places(shape_of(g), p->text, segment->slots, p->places, &p->advance);
    return PITH_OK;
}

/* ---- what the frozen model reads ---------------------------------------------------------------- */

static size_t count_targets(const pith__memory_piece *piece)
{
    size_t count = 0;
    for (size_t i = 0; piece->targets != NULL && i < piece->count; i++) {
        count += piece->targets[i] != PITH__NO_TARGET;
    }
    return count;
}

/* A memory that is read after the rows counted so far; *position moves on. */
static pith_status plan_memory(const pith__memory_graph *g, size_t sample,
                               const pith__memory_piece *piece, uint32_t *position, pith_error *err)
{
    pith__memory_extent *extent = &g->extents[sample];
    if (piece->segment >= g->samples[sample].n_segments) {
        return pith__fail(err, PITH_E_ARGUMENT, "the memory of segment %zu of %zu", piece->segment,
                          g->samples[sample].n_segments);
    }
    pith__memory_part *p = &g->parts[extent->part + piece->segment];
    if (pith__memory_is_kv(g) && (extent->rows > 0 || p->is_read)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "keys and values of a segment come once, and before all ids");
    }
    if (pith__memory_is_kv(g)) {
        p->base = *position;
        *position += p->advance;
    } else {
        extent->rows += p->of->slots;
        extent->targets += piece->last_target != PITH__NO_TARGET;
    }
    p->is_read = true;
    return PITH_OK;
}

static pith_status plan_pieces(const pith__memory_graph *g, size_t sample, pith_error *err)
{
    const pith__memory_sample *s = &g->samples[sample];
    pith__memory_extent *extent = &g->extents[sample];
    uint32_t position = 0;
    for (size_t i = 0; i < s->n_pieces; i++) {
        const pith__memory_piece *piece = &s->pieces[i];
        if (piece->ids == NULL) {
            PITH__TRY(plan_memory(g, sample, piece, &position, err));
        } else {
            extent->rows += piece->count;
            extent->targets += count_targets(piece);
        }
    }
    return PITH_OK;
}

/* ---- passes -------------------------------------------------------------------------------------- */

/* Which parts are encoded, and where in which pass. */
static void plan_stages(pith__memory_graph *g)
{
    for (size_t i = g->n_parts; i-- > 1;) {
        if (g->parts[i].is_read && g->parts[i].of->carries) {
            g->parts[i - 1].is_read = true;
        }
    }
    for (size_t i = 0; i < g->n_parts; i++) {
        pith__memory_part *p = &g->parts[i];
        if (p->is_read) {
            pith__memory_stage *stage = &g->stages[p->stage];
            p->row = stage->n_rows;
            p->slot = stage->slots;
            stage->n_rows += p->lead + p->text + p->of->slots;
            stage->slots += p->of->slots;
            g->n_stages = p->stage + 1 > g->n_stages ? p->stage + 1 : g->n_stages;
        }
    }
}

/* Slots that a sample's rows see as keys and values. */
static size_t prefix_of(const pith__memory_graph *g, size_t sample)
{
    size_t slots = 0;
    for (size_t i = 0; pith__memory_is_kv(g) && i < g->samples[sample].n_segments; i++) {
        const pith__memory_part *p = &g->parts[g->extents[sample].part + i];
        slots += p->is_read ? p->of->slots : 0;
    }
    return slots;
}

static void plan_groups(pith__memory_graph *g)
{
    size_t slots = 0;
    for (size_t s = 0; s < g->n; s++) {
        const pith__memory_extent *extent = &g->extents[s];
        pith__memory_group *group = &g->groups[g->n_groups == 0 ? 0 : g->n_groups - 1];
        if (s == 0 || (pith__memory_is_kv(g) && group->rows + extent->rows > GROUP_ROWS)) {
            group = &g->groups[g->n_groups++];
            *group = (pith__memory_group){.first = s, .slot = slots, .target = g->targets};
        }
        group->n++;
        group->rows += extent->rows;
        group->targets += extent->targets;
        group->slots += prefix_of(g, s);
        g->targets += extent->targets;
        slots += prefix_of(g, s);
    }
}

static pith_status plan(pith__memory_graph *g, pith_error *err)
{
    pith__arena *arena = g->ctx->arena;
    size_t most = 0;
    PITH__TRY(pith__arena_alloc_zero(arena, g->n, sizeof *g->extents, &g->extents, err));
    PITH__TRY(pith__arena_alloc_zero(arena, g->n, sizeof *g->groups, &g->groups, err));
    for (size_t s = 0; s < g->n; s++) {
        const size_t count = g->samples[s].n_segments;
        g->extents[s].part = g->n_parts;
        g->n_parts += count;
        most = count > most ? count : most;
    }
    PITH__TRY(pith__arena_alloc_zero(arena, g->n_parts, sizeof *g->parts, &g->parts, err));
    PITH__TRY(pith__arena_alloc_zero(arena, most, sizeof *g->stages, &g->stages, err));
    for (size_t s = 0; s < g->n; s++) {
        for (size_t i = 0; i < g->samples[s].n_segments; i++) {
            PITH__TRY(plan_segment(g, s, i, err));
        }
        PITH__TRY(plan_pieces(g, s, err));
    }
    plan_stages(g);
    plan_groups(g);
    return PITH_OK;
}

/* ---- all of it ----------------------------------------------------------------------------------- */

static pith_status run(pith__memory_graph *g, double *sum, float *losses, pith_error *err)
{
    if (g->learner->compressor->width != g->d) {
        return pith__fail(err, PITH_E_ARGUMENT, "a compressor of width %u for a model of %zu",
                          g->learner->compressor->width, g->d);
    }
    PITH__TRY(plan(g, err));
    if (g->targets == 0) {
        return PITH_OK;
    }
    for (size_t i = 0; i < g->n_stages; i++) {
        PITH__TRY(pith__memory_encode(g, i, err));
    }
    for (size_t i = 0; i < g->n_groups; i++) {
        PITH__TRY(pith__memory_decode(g, i, sum, losses, err));
    }
    for (size_t i = g->n_stages; pith__memory_learns(g) && i-- > 0;) {
        PITH__TRY(pith__memory_encode_back(g, i, err));
    }
    return PITH_OK;
}

pith_status pith__memory_learn(const pith__memory_learner *learner, const pith__tensor_ctx *ctx,
                               const pith__memory_sample *samples, size_t n, double *loss,
                               uint64_t *tokens, float *losses, pith_error *err)
{
    const pith__model_config *config = &learner->model->config;
    pith__memory_graph g = {.learner = learner,
                            .ctx = ctx,
                            .samples = samples,
                            .n = n,
                            .d = config->width,
                            .kv = (size_t)config->kv_heads * config->head_dim};
    double sum = 0.0;
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    const pith_status status = run(&g, &sum, losses, err);
    pith__arena_restore(ctx->arena, mark);
    PITH__TRY(status);
    *loss += sum;
    *tokens += g.targets;
    return PITH_OK;
}

size_t pith__memory_bytes(const pith__model_config *config, size_t encoder_rows,
                          size_t decoder_rows, size_t slots, bool recompute)
{
    const size_t d = config->width;
    const size_t kv = (size_t)config->kv_heads * config->head_dim * config->layers;
    const size_t row = 3 * d + 6; /* embedding, its gradient, the hidden state's; numbers */
    const size_t slot = 5 * d > 4 * kv ? 5 * d : 4 * kv; /* what it gives, and gradients */
    const size_t floats =
        encoder_rows * (row + 2 * kv) + decoder_rows * (row + 3) + slots * (slot + 2);
    return pith__pass_bytes(config, encoder_rows, 0, recompute) +
           pith__pass_bytes(config, decoder_rows, slots, recompute) + floats * sizeof(float) +
           GROUP_ROWS * (slots + GROUP_ROWS);
}
