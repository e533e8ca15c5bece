/*
 * memory_decode.c: the frozen model reads what compressors remember, and what it predicts is judged.
 */
#include "train/memory_graph.h"

#include <string.h>

/* One pass of the frozen model. */
typedef struct reading {
    pith__memory_rows rows;
    pith__mask mask;
    pith__prefix prefix; /* count 0: none */
    /* what it is to predict (targets of the group) */
    size_t n;
    uint32_t *at; /* rows */
    uint32_t *targets;
    float *weight;
} reading;

/* The row placed last predicts `target`, if that is one. */
static void ask(reading *r, uint32_t target)
{
    if (target != PITH__NO_TARGET) {
        r->at[r->n] = (uint32_t)(r->rows.count - 1);
        r->targets[r->n] = target;
        r->weight[r->n] = 1.0f;
        r->n++;
    }
}

/* Rows stand one after the other, behind the places that keys and values take up. */
static void place_sample(const pith__memory_graph *g, size_t sample, reading *r)
{
    const pith__memory_sample *s = &g->samples[sample];
    const size_t first = r->rows.count;
    size_t before = 0;
    for (size_t i = 0; i < s->n_pieces; i++) {
        const pith__memory_piece *piece = &s->pieces[i];
        for (size_t j = 0; piece->ids != NULL && j < piece->count; j++) {
            const size_t position = before + r->rows.count - first;
            (void)pith__memory_place_id(&r->rows, first, position, piece->ids[j]);
            ask(r, piece->targets == NULL ? PITH__NO_TARGET : piece->targets[j]);
        }
        if (piece->ids != NULL) {
            continue;
        }
        const pith__memory_part *part = &g->parts[g->extents[sample].part + piece->segment];
        if (pith__memory_is_kv(g)) {
            before += part->advance;
        } else {
            pith__memory_place_memory(g, &r->rows, first, r->rows.count - first, part);
            ask(r, piece->last_target);
        }
    }
}

/* A sample's rows, those from `first` on, see the slots of that sample and the rows before them. */
static void see_own_slots(const pith__memory_graph *g, const pith__memory_group *group,
                          size_t sample, size_t first, const reading *r, uint8_t *matrix)
{
    const size_t keys = group->slots + group->rows;
    for (size_t row = first; row < r->rows.count; row++) {
        uint8_t *seen = matrix + row * keys;
        for (size_t i = 0; i < g->samples[sample].n_segments; i++) {
            const pith__memory_part *part = &g->parts[g->extents[sample].part + i];
            if (part->is_read) {
                memset(seen + part->slot - group->slot, 1, part->of->slots);
            }
        }
        memset(seen + group->slots + first, 1, row - first + 1);
    }
}

static pith_status allocate(const pith__memory_graph *g, const pith__memory_group *group,
                            reading *r, pith_error *err)
{
    pith__arena *arena = g->ctx->arena;
    PITH__TRY(pith__memory_rows_of(g, group->rows, !pith__memory_is_kv(g), &r->rows, err));
    PITH__TRY(pith__arena_alloc(arena, group->targets, sizeof *r->at, &r->at, err));
    PITH__TRY(pith__arena_alloc(arena, group->targets, sizeof *r->targets, &r->targets, err));
    return pith__arena_alloc(arena, group->targets, sizeof *r->weight, &r->weight, err);
}

static pith_status place_group(const pith__memory_graph *g, const pith__memory_group *group,
                               reading *r, pith_error *err)
{
    const bool shared = group->slots > 0 && group->n > 1; /* a prefix of several samples */
    uint8_t *matrix = NULL;
    PITH__TRY(allocate(g, group, r, err));
    if (shared) {
        PITH__TRY(pith__arena_alloc_zero(g->ctx->arena, group->rows, group->slots + group->rows,
                                         &matrix, err));
    }
    for (size_t s = group->first; s < group->first + group->n; s++) {
        const size_t first = r->rows.count;
        place_sample(g, s, r);
        if (shared) {
            see_own_slots(g, group, s, first, r, matrix);
        }
    }
    if (group->slots > 0) {
        const size_t at = pith__memory_key_at(g, group, 0, 0);
        const pith__memory_stage *stage = &g->stages[0];
        r->prefix = (pith__prefix){group->slots, stage->keys + at, stage->values + at};
    }
    r->mask = (pith__mask){.rule = shared             ? PITH__MASK_MATRIX
                                   : group->slots > 0 ? PITH__MASK_CAUSAL
                                                      : PITH__MASK_FIRST,
                           .first = r->rows.first,
                           .matrix = matrix};
    return PITH_OK;
}

static pith_status back(const pith__memory_graph *g, const pith__memory_group *group,
                        const reading *r, pith__pass *pass, const float *d_hidden, pith_error *err)
{
    pith__pass_gradients gradients = {.d_hidden = d_hidden};
    if (group->slots > 0) {
        const size_t at = pith__memory_key_at(g, group, 0, 0);
        gradients.d_prefix_keys = g->stages[0].d_keys + at;
        gradients.d_prefix_values = g->stages[0].d_values + at;
    }
    return pith__memory_backward(g, &r->rows, pass, gradients, err);
}

static pith_status read_group(const pith__memory_graph *g, const pith__memory_group *group,
                              double *sum, float *losses, pith_error *err)
{
    const pith__memory_learner *l = g->learner;
    reading r = {0};
    pith__pass *pass = NULL;
    float *d_hidden = NULL;
    double nats = 0.0;
    PITH__TRY(place_group(g, group, &r, err));
    const pith__pass_input input = {.mask = r.mask,
                                    .prefix = group->slots > 0 ? &r.prefix : NULL,
                                    .recompute = l->recompute || !pith__memory_learns(g)};
    PITH__TRY(pith__memory_forward(g, &r.rows, input, &pass, err));
    if (pith__memory_learns(g)) {
        PITH__TRY(pith__arena_alloc_zero(g->ctx->arena, group->rows, g->d * sizeof *d_hidden,
                                         &d_hidden, err));
    }
    const pith__loss loss = {.model = l->model,
                             .ctx = g->ctx,
                             .hidden = pith__pass_hidden(pass),
                             .n = r.n,
                             .rows = r.at,
                             .weight = r.weight,
                             .d_hidden = d_hidden,
                             .sink = l->sink,
                             .losses = losses == NULL ? NULL : losses + group->target};
    PITH__TRY(pith__loss_cross_entropy(&loss, r.targets, &nats, err));
    *sum += nats;
    return pith__memory_learns(g) ? back(g, group, &r, pass, d_hidden, err) : PITH_OK;
}

pith_status pith__memory_decode(const pith__memory_graph *g, size_t group, double *sum,
                                float *losses, pith_error *err)
{
    if (g->groups[group].targets == 0) {
        return PITH_OK; /* nothing asks for this */
    }
    const pith__arena_mark mark = pith__arena_save(g->ctx->arena);
    PITH__TRY(read_group(g, &g->groups[group], sum, losses, err));
    pith__arena_restore(g->ctx->arena, mark);
    return PITH_OK;
}
