/*
 * memory_graph.h: what the files of the compressors' graph share (memory.c, memory_encode.c,
 * memory_decode.c).
 *
 * Segments that have to be encoded are packed into stages, one pass each: a segment that carries the
 * memory of another is in the stage after it, all others are in the first. Samples are packed into
 * groups, one pass of the frozen model each. Where the gradient of an input row goes is written down
 * when the row is placed.
 */
#ifndef PITH_MEMORY_GRAPH_H
#define PITH_MEMORY_GRAPH_H

#include "train/memory.h"

/* The rows of one pass. */
typedef struct pith__memory_rows {
    size_t count; /* that are placed */
    size_t given; /* of those, the ones that are embeddings */
    uint32_t *ids;
    uint32_t *positions;
    uint32_t *first;   /* row of the first one that each of them sees */
    float *embeddings; /* (rows, d) */
    float **into;      /* (rows) where the gradient of a row is added; NULL: nowhere */
} pith__memory_rows;

/* A segment. */
typedef struct pith__memory_part {
    const pith__memory_segment *of;
    bool is_read;     /* by the frozen model, or by a segment that is read */
    size_t stage;     /* its pass */
    size_t row;       /* its first row there */
    size_t slot;      /* its first slot among those of the stage */
    size_t lead;      /* rows before its ids */
    size_t text;      /* ids, and pads */
    uint32_t base;    /* position of its first row */
    uint32_t advance; /* from there to what follows, if the memory is keys and values */
    uint32_t *places; /* (slots) counted from the first id */
} pith__memory_part;

/* One pass of the encoder, and what its slots give: the arrays of keys and values or those of
 * embeddings. */
typedef struct pith__memory_stage {
    size_t n_rows, slots;
    pith__memory_rows rows;
    uint32_t *slot_rows; /* (slots) */
    pith__pass *pass;
    float *keys, *d_keys;     /* see pith__memory_key_at() */
    float *values, *d_values; /* the same */
    float *h;                 /* (slots, d) hidden states */
    float *linear;            /* (slots, d) inside the connector */
    float *z, *d_z;           /* (slots, d) what the frozen model reads */
} pith__memory_stage;

/* What the frozen model reads of a sample. */
typedef struct pith__memory_extent {
    size_t part; /* its first one */
    size_t rows;
    size_t targets;
} pith__memory_extent;

/* Samples [first, first + n), read in one pass, with their part of all slots and targets. */
typedef struct pith__memory_group {
    size_t first, n;
    size_t rows;
    size_t slot, slots; /* keys and values */
    size_t target, targets;
} pith__memory_group;

typedef struct pith__memory_graph {
    const pith__memory_learner *learner;
    const pith__tensor_ctx *ctx;
    const pith__memory_sample *samples; /* (n) */
    size_t n;
    size_t d;
    size_t kv;                    /* kv_heads * head_dim */
    pith__memory_extent *extents; /* (n) */
    pith__memory_part *parts;     /* (n_parts) of all samples, in their order */
    size_t n_parts;
    pith__memory_stage *stages; /* (n_stages) */
    size_t n_stages;
    pith__memory_group *groups; /* (n_groups) */
    size_t n_groups;
    size_t targets;
} pith__memory_graph;

/* The memory is keys and values. */
static inline bool pith__memory_is_kv(const pith__memory_graph *g)
{
    return g->learner->compressor->shape.method == PITH__COMPRESSOR_500X;
}

static inline bool pith__memory_is_selfcp(const pith__memory_graph *g)
{
    return g->learner->compressor->shape.method == PITH__COMPRESSOR_SELFCP;
}

/* Gradients are wanted. */
static inline bool pith__memory_learns(const pith__memory_graph *g)
{
    return g->learner->sink.gradients != NULL;
}

/* Where the key of a group's slot `slot` (counted from its first) is in layer `l`: group after group, so
 * that each is a prefix. */
static inline size_t pith__memory_key_at(const pith__memory_graph *g,
                                         const pith__memory_group *group, size_t l, size_t slot)
{
    const size_t before = group->slot * g->learner->model->config.layers;
    return (before + l * group->slots + slot) * g->kv;
}

/* ---- rows of a pass (memory_encode.c) -------------------------------------------------------- */

/* Room for `count` rows in the arena; `given`: for embeddings too. */
PITH_NODISCARD pith_status pith__memory_rows_of(const pith__memory_graph *g, size_t count,
                                                bool given, pith__memory_rows *out,
                                                pith_error *err);

/* One more row, which sees those from `first` on. */
size_t pith__memory_place_id(pith__memory_rows *rows, size_t first, size_t position, uint32_t id);

/* The memory of a part that is encoded, from `position` on. */
void pith__memory_place_memory(const pith__memory_graph *g, pith__memory_rows *rows, size_t first,
                               size_t position, const pith__memory_part *part);

/* `input`: mask, prefix, adapter, recompute; the rest is the rows'. */
PITH_NODISCARD pith_status pith__memory_forward(const pith__memory_graph *g,
                                                const pith__memory_rows *rows,
                                                pith__pass_input input, pith__pass **out,
                                                pith_error *err);

/* `gradients`: what comes in, and the prefix's; the rows' go where they were told to. */
PITH_NODISCARD pith_status pith__memory_backward(const pith__memory_graph *g,
                                                 const pith__memory_rows *rows, pith__pass *pass,
                                                 pith__pass_gradients gradients, pith_error *err);

/* ---- the passes ------------------------------------------------------------------------------ */

/* A stage that is planned, forth and back. Stages before it are encoded. */
PITH_NODISCARD pith_status pith__memory_encode(const pith__memory_graph *g, size_t stage,
                                               pith_error *err);
PITH_NODISCARD pith_status pith__memory_encode_back(const pith__memory_graph *g, size_t stage,
                                                    pith_error *err);

/* A group's loss in nats is added to *sum; gradients of what the slots gave. losses: of all samples, or NULL. */
PITH_NODISCARD pith_status pith__memory_decode(const pith__memory_graph *g, size_t group,
                                               double *sum, float *losses, pith_error *err);

#endif /* PITH_MEMORY_GRAPH_H */
