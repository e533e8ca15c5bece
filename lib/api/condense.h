/*
 * condense.h: what pith_encode() asks of recipe cc.
 */
#ifndef PITH_API_CONDENSE_H
#define PITH_API_CONDENSE_H

#include "soft/soft.h"

/* Appends a JSON string; bytes that are not UTF-8 become U+FFFD (training_common.c). E_MEMORY. */
PITH_NODISCARD pith_status pith__json_string(pith__buf *out, const char *text, pith_error *err);

/* A number that is negative is what recipe cc has it. */
typedef struct pith__cc_request {
    const void *model; /* (model_size) a GGUF file */
    size_t model_size;
    const char *text; /* (size) */
    size_t size;
    double slots;
    double steps;
    int kl; /* pith__kl_direction */
    double seed;
    double threads;
    pith_progress_fn progress; /* or NULL; stage "encode" */
    void *progress_user;
} pith__cc_request;

/* Trains a soft prompt for the text (training_soft.c). Fails like pith__train_condense(). */
PITH_NODISCARD pith_status pith__encode_cc(const pith__cc_request *request,
                                           const pith_allocator *mem, pith__capsule **out,
                                           pith_error *err);

#endif /* PITH_API_CONDENSE_H */
