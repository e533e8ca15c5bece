/*
 * memory.h: what amortised compressors have in common: a text goes through an encoder into a few slots, the
 * frozen model reads what the slots give, and the loss of what it then predicts goes back into the
 * compressor. One graph for 500xCompressor, ICAE and SelfCP.
 */
#ifndef PITH_MEMORY_H
#define PITH_MEMORY_H

#include "train/run.h"

/* A part of a text that is compressed. Encoder input: 500X, ICAE: [ids ; slots]; SELFCP: [before ; begin
 * tag ; carried memory ; ids ; slots]. */
typedef struct pith__memory_segment {
    const uint32_t *before; /* (n_before) SELFCP, conditional: the question; else none */
    size_t n_before;
    const uint32_t *ids; /* (count) at least one */
    size_t count;
    uint32_t slots; /* k >= 1 */
    bool carries;   /* SELFCP: the memory of the segment before this one stands before its ids
                       (recursive, concatenated) */
} pith__memory_segment;

/* What the frozen model reads, piece by piece: ids, or the memory of a segment. */
typedef struct pith__memory_piece {
    const uint32_t *ids; /* (count); NULL: the memory of `segment` */
    const uint32_t
        *targets; /* (count) what each id's row predicts, or PITH__NO_TARGET; NULL: nothing */
    size_t count;
    size_t segment;
    uint32_t last_target; /* memory of embeddings: what its last row predicts, or PITH__NO_TARGET;
                             else not looked at */
} pith__memory_piece;

/*
 * Rows of pieces stand at 0, 1, 2, ... in turn; keys and values (500X) at their places, and what
 * follows at the advance (pith__compressor_places()), all counted on from where they are put. Memory of
 * keys and values must come before all ids, and a segment's only once (E_ARGUMENT); of embeddings it
 * may stand anywhere, and more than once. What nobody reads is not encoded. Positions of 500X's encoder
 * are counted from where its memory stands in the decoder, so that keys need not be turned; those of the
 * others from 0. With `pads` a text counts as the window, for the slots' places too.
 */
typedef struct pith__memory_sample {
    const pith__memory_segment *segments; /* (n_segments) may be 0 */
    size_t n_segments;
    const pith__memory_piece *pieces; /* (n_pieces) at least one */
    size_t n_pieces;
} pith__memory_sample;

typedef struct pith__memory_learner {
    const pith__model *model;           /* precision F32, frozen */
    const pith__compressor *compressor; /* its tensors learn if they lie in sink.values */
    uint64_t dropout_seed;              /* of LoRA; 0: none */
    uint32_t padding;                   /* EOS, if the compressor pads */
    pith__sink sink;                    /* gradients NULL: only the loss is wanted */
    bool recompute;                     /* not of 500X's encoder, whose keys have to be kept */
} pith__memory_learner;

/*
 * Cross-entropy of n samples, packed: one encoder pass for all segments that carry nothing, one for
 * those that carry the memory of one of these, ...; then the frozen model: one pass, with 500X one for
 * every 256 rows or so. Adds the sum in nats to *loss, the number of targets to *tokens, gradients to
 * the sink; nothing is done if there is no target. losses: NULL, or one number for each target in the
 * samples' order.
 * E_ARGUMENT (a segment without ids or slots, with more slots or, with `pads`, tokens than the
 * compressor has; one that carries or has ids before it and may not; a memory as above; an id or a
 * target that is none), E_MEMORY or E_BACKEND. The arena is as before in any case.
 */
PITH_NODISCARD pith_status pith__memory_learn(const pith__memory_learner *learner,
                                              const pith__tensor_ctx *ctx,
                                              const pith__memory_sample *samples, size_t n,
                                              double *loss, uint64_t *tokens, float *losses,
                                              pith_error *err);

/*
 * Arena of one call, about: `encoder_rows` of all encoder passes together, `decoder_rows` of the frozen
 * model, `slots` of all segments. recompute: the learner's, but false for 500X.
 */
size_t pith__memory_bytes(const pith__model_config *config, size_t encoder_rows,
                          size_t decoder_rows, size_t slots, bool recompute);

#endif /* PITH_MEMORY_H */
