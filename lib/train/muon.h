/*
 * muon.h: Muon (Jordan 2024, "Muon: an optimizer for hidden layers in neural networks"): the
 * momentum of a matrix, replaced by a nearby orthogonal matrix, is the update.
 */
#ifndef PITH_TRAIN_MUON_H
#define PITH_TRAIN_MUON_H

#include "grad/grad.h"

/* Scratch of one thread: two matrices of the largest size and two of the largest small side. */
typedef struct pith__muon_scratch {
    float *x, *y;       /* (elements) */
    float *gram, *poly; /* (side, side) */
} pith__muon_scratch;

/* Room for every matrix of at most `elements` floats whose smaller side is at most `side`. E_MEMORY. */
PITH_NODISCARD pith_status pith__muon_reserve(size_t elements, size_t side, pith__arena *arena,
                                              pith__muon_scratch *out, pith_error *err);

/*
 * Replaces the singular values of scratch->x (rows, cols), of Frobenius norm `norm`, by
 * numbers near 1 (0.68 to 1.2; less for those below 1/500 of the norm), by five
 * Newton-Schulz iterations. The result is again in scratch->x, which may
 * have changed places with scratch->y. A norm of 0 gives 0. Fails with E_BACKEND.
 */
PITH_NODISCARD pith_status pith__muon_orthogonalise(const pith__tensor_ops *ops,
                                                    const pith__tensor_ctx *ctx, size_t rows,
                                                    size_t cols, double norm,
                                                    pith__muon_scratch *scratch, pith_error *err);

typedef struct pith__muon {
    const pith__tensor_ops *ops;
    float momentum;
    float rate;           /* times the schedule */
    float decay;          /* value -= rate * decay * value, before the update */
    float gradient_scale; /* the gradient is multiplied by it first */
} pith__muon;

/*
 * One update of the matrix `value` (rows, cols); `momentum` (rows, cols) is its state.
 * Its root mean square is about 0.2 * muon->rate, whatever the shape, which is AdamW's
 * as a rule: both can have the same rate and decay (Liu et al. 2025, "Muon is scalable for LLM
 * training", section 2.2). Fails with E_BACKEND; the momentum has then changed, the value has not.
 */
PITH_NODISCARD pith_status pith__muon_update(const pith__muon *muon, const pith__tensor_ctx *ctx,
                                             size_t rows, size_t cols, const float *gradient,
                                             float *value, float *momentum,
                                             pith__muon_scratch *scratch, pith_error *err);

#endif /* PITH_TRAIN_MUON_H */
