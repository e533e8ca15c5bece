/*
 * tuned.h: a model file as something that goes on learning: all of its weights, or an adapter.
 */
#ifndef PITH_TUNED_H
#define PITH_TUNED_H

#include "train/run.h"

typedef struct pith__tuned {
    pith_allocator mem;
    const char *path;      /* borrowed */
    pith__vocabulary base; /* the model file */
    pith__model_config config;
    pith__weights weights;  /* of the model */
    pith__weights factors;  /* of the adapter, and what learns beside it */
    pith__weights *learned; /* one of the two */
    pith__model model;      /* looks at `weights` */
    pith__lora lora;
    bool has_lora;
    bool is_merged; /* the adapter is in the weights, too, and off */
} pith__tuned;

/* E_ARGUMENT: numbers that make no adapter, or a path for one (or NULL) without a rank. */
PITH_NODISCARD pith_status pith__tuned_check(const pith__lora_settings *lora, const char *adapter,
                                             pith_error *err);

/*
 * The settings of a run, checked: steps that are 0 become as many as `epochs` of so many samples take,
 * and schedule.total with them; the warm-up is a tenth of them at most then. With dropout, samples
 * are not packed. E_ARGUMENT.
 */
PITH_NODISCARD pith_status pith__tuned_run_settings(const pith__run_settings *given, double epochs,
                                                    size_t samples, const pith__lora_settings *lora,
                                                    uint32_t context, pith__run_settings *out,
                                                    pith_error *err);

/* The file and its vocabulary. E_IO, E_CORRUPT, E_UNSUPPORTED (no BOS, too), E_MEMORY. */
PITH_NODISCARD pith_status pith__tuned_open(pith__tuned *tuned, const char *path,
                                            const pith_allocator *mem, pith_error *err);
void pith__tuned_close(pith__tuned *tuned); /* accepts an all-zero one */

/*
 * The weights, copied into a vector of our own, all of which learn. A vocabulary of less than `rows`
 * gets that many, the new ones 0. Fails like pith__tuned_open().
 */
PITH_NODISCARD pith_status pith__tuned_load(pith__tuned *tuned, uint32_t rows, pith_error *err);

/*
 * From now on the weights are frozen, and an adapter learns, with a vector `beside` (d floats, 0)
 * unless that is NULL. `lora` was checked. E_ARGUMENT, E_MEMORY.
 */
PITH_NODISCARD pith_status pith__tuned_adapt(pith__tuned *tuned, const pith__lora_settings *lora,
                                             uint64_t seed, const char *beside, pith_error *err);

/* Adds the adapter to the weights, if there is one: nothing learns any more. E_MEMORY. */
PITH_NODISCARD pith_status pith__tuned_merge(pith__tuned *tuned, pith_error *err);

/*
 * What reads `samples`. With a `gradient` it learns: `sample` is the number in the run of the first
 * one that is read, for dropout.
 */
pith__learner pith__tuned_learner(const pith__tuned *tuned, const pith__run_settings *settings,
                                  const pith__sample *samples, uint64_t sample, float *gradient);

/* Of the model file. */
void pith__tuned_sha256(const pith__tuned *tuned, char out[PITH__SHA256_SIZE]);

#endif /* PITH_TUNED_H */
