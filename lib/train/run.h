/*
 * run.h: the loop that all recipes share, and what they share besides.
 */
#ifndef PITH_RUN_H
#define PITH_RUN_H

#include "train/train.h"

/* What a recipe does between two updates. Functions are called in this order. */
typedef struct pith__recipe {
    void *user;

    /* Makes samples [first, first + count) ready: those of one update. One thread, all ranks. */
    pith_status (*fetch)(void *user, uint64_t first, size_t count, pith_error *err);

    /*
     * Adds the gradient of the loss, summed over tokens, of `n` samples, numbered within the
     * update, to `gradient`; adds the loss and the tokens it was over. Several threads at
     * once, each with its own ctx.
     */
    pith_status (*learn)(void *user, const pith__tensor_ctx *ctx, const size_t *samples, size_t n,
                         float *gradient, double *loss, uint64_t *tokens, pith_error *err);

    /* Reports held-out losses through pith__run_report(), in all processes alike. */
    pith_status (*evaluate)(void *user, pith_error *err);

    pith__stream_place *places; /* (n_places) of the streams, for checkpoints */
    size_t n_places;
    size_t lane_bytes; /* arena of one lane */
} pith__recipe;

typedef struct pith__run {
    const pith__run_settings *settings;
    pith_allocator mem;
    pith__ranks ranks;
    pith__weights *weights; /* what learns */
    pith__optimizer optimizer;
    pith__run_state state;
    pith__recipe recipe;
    size_t lanes;        /* that have something to do */
    float **gradients;   /* (lanes) of (weights->count) */
    pith__arena *arenas; /* (lanes) */
    double speed;        /* tokens per second, running mean */
} pith__run;

/* Nats of held-out text as an event; `source` NULL: all of it. */
PITH_NODISCARD pith_status pith__run_report_held_out(const pith__run *run,
                                                     const pith__evaluation *held_out,
                                                     const char *source, pith_error *err);

/* E_ARGUMENT: a number of the settings is 0, or a sample longer than the model's context. */
PITH_NODISCARD pith_status pith__run_check(const pith__run_settings *settings, uint32_t context,
                                           pith_error *err);

/* Samples of the largest pass, at least 1. */
size_t pith__run_pack(const pith__run_settings *settings);

/* Rows of the largest pass: samples of settings that were checked, packed. */
size_t pith__run_rows(const pith__run_settings *settings);

/*
 * Everything borrowed until deinit. `settings` were checked. `fingerprint`: what must be the same
 * in a resumed run.
 */
PITH_NODISCARD pith_status pith__run_init(const pith__run_settings *settings,
                                          pith__weights *weights, const char *fingerprint,
                                          const pith_allocator *mem, pith__run *out,
                                          pith_error *err);
void pith__run_deinit(pith__run *run);

/*
 * From where it stands, or its checkpoint, to the last step; `run->recipe` is set before. With
 * several processes all of them fail if one does, and E_MISMATCH if they do not start alike.
 */
PITH_NODISCARD pith_status pith__run_train(pith__run *run, pith_error *err);

/*
 * Sends an event with the run's counters filled in. E_CANCELLED if the receiver says stop, or
 * that of another process.
 */
PITH_NODISCARD pith_status pith__run_report(const pith__run *run, pith__train_event event,
                                            pith_error *err);

/* ---- next-token cross-entropy ------------------------------------------------------------- */

typedef struct pith__learner {
    const pith__model *model;
    const pith__lora *lora; /* or NULL */
    uint64_t dropout_seed;  /* of the adapter's dropout in this update; 0: none */
    const pith__sample *samples;
    const float *row; /* (d) what rows without an id read, inside sink.values if it has a gradient;
                         NULL: all rows have ids */
    pith__sink sink;  /* gradients NULL: only the loss is wanted */
    bool recompute;
} pith__learner;

/*
 * Cross-entropy of samples[numbers[0 .. n)], packed into one pass: adds the sum in nats to *loss,
 * the targets to *tokens, the gradients to the sink. E_ARGUMENT, E_MEMORY or E_BACKEND.
 */
PITH_NODISCARD pith_status pith__learn(const pith__learner *learner, const pith__tensor_ctx *ctx,
                                       const size_t *numbers, size_t n, double *loss,
                                       uint64_t *tokens, pith_error *err);

/* Arena of one call with so many rows in all, some of them without an id. */
size_t pith__learn_bytes(const pith__model_config *config, size_t rows, bool recompute);

/* Makes `count` samples with room for `length` tokens each; released with pith__samples_free(). */
PITH_NODISCARD pith_status pith__samples_new(size_t count, size_t length, const pith_allocator *mem,
                                             pith__sample **out, pith_error *err);
void pith__samples_free(pith__sample *samples, size_t count, size_t length,
                        const pith_allocator *mem);

/*
 * The seed of an adapter's dropout for sample number `sample` of a run; never 0, which means none. A
 * pass has one seed: with dropout it has one sample.
 */
uint64_t pith__dropout_seed(uint64_t seed, uint64_t sample);

/* ---- files ------------------------------------------------------------------------------------ */

/* FNV-1a over bytes, to be chained: start with pith__fingerprint_start. */
#define PITH__FINGERPRINT_START UINT64_C(0xcbf29ce484222325)
uint64_t pith__fingerprint(uint64_t hash, const void *data, size_t size);

/* The same for a text, its end included: "ab", "c" is not "a", "bc". */
uint64_t pith__fingerprint_text(uint64_t hash, const char *text);

/* The tokens of a model file's vocabulary and the file they came from. */
typedef struct pith__vocabulary {
    pith__file file;
    pith__gguf gguf;
    pith__tokenizer *tokenizer;
} pith__vocabulary;

PITH_NODISCARD pith_status pith__vocabulary_open(const char *path, const pith_allocator *mem,
                                                 pith__vocabulary *out, pith_error *err);
void pith__vocabulary_close(pith__vocabulary *vocabulary);

/* What a document's last token predicts: EOS or, where none is named, BOS. */
uint32_t pith__document_end(const pith__tokenizer *tokenizer);

/* Writes a model with the vocabulary of `vocabulary`; `context` is what it was trained for. */
PITH_NODISCARD pith_status pith__export_model(const char *path, const char *name,
                                              const pith__model_config *config,
                                              const pith__weights *weights,
                                              const pith__gguf *vocabulary, pith__weight_type type,
                                              const pith_allocator *mem, pith_error *err);

/* A model to be written. */
typedef struct pith__exported {
    const char *name; /* or NULL */
    const pith__model_config *config;
    const pith__weights *weights;
    const pith__gguf *vocabulary;
    const char *token; /* a control token that becomes its last entry; NULL: none */
    pith__weight_type type;
} pith__exported;

/* The same into a writer, for files that say more. Converted tensors lie in `arena`. */
PITH_NODISCARD pith_status pith__export_add(const pith__exported *model, pith__arena *arena,
                                            pith__gguf_writer *writer, pith_error *err);

/*
 * Nats and tokens of the held-out documents of `source`, the first `bytes` of text or so (0:
 * all), read in pieces of `length`, at most the model's context, as in training. With several
 * ranks each reads its share, all get the sums, and all fail if one does.
 */
PITH_NODISCARD pith_status pith__held_out(const pith__model *model,
                                          const pith__tokenizer *tokenizer,
                                          const pith__source *source, uint64_t bytes, size_t length,
                                          unsigned threads, const pith_allocator *mem,
                                          pith__evaluation *out, pith_error *err);

#endif /* PITH_RUN_H */
