/*
 * train.h: what turns text into weights: tokenizers, streams of documents, schedules,
 * optimisers, checkpoints, and the recipes that put them together.
 *
 * Everything is a function of the seed, the data and the settings: a run that was
 * stopped and resumed gives the same bytes as one that was not.
 */
#ifndef PITH_TRAIN_H
#define PITH_TRAIN_H

#include "grad/grad.h"
#include "soft/soft.h"
#include "token/token.h"

/* ---- random numbers ------------------------------------------------------------------ */

/* Uniform 64 bits, a function of (seed, stream, counter) alone: nothing to save, nothing to lose. */
uint64_t pith__random(uint64_t seed, uint64_t stream, uint64_t counter);

/* The same as a number in [0, 1). */
double pith__random_unit(uint64_t seed, uint64_t stream, uint64_t counter);

/* order (count): 0 .. count - 1 in an order that `key` and `stream` alone decide. */
void pith__shuffle(size_t *order, size_t count, uint64_t key, uint64_t stream);

/* The numbers 0 .. count - 1 again and again, each time in an order of its own. */
typedef struct pith__deck {
    pith_allocator mem;
    size_t count;
    size_t *order; /* of `epoch` */
    uint64_t epoch;
    bool has_order;
} pith__deck;

/* E_MEMORY. */
PITH_NODISCARD pith_status pith__deck_init(pith__deck *deck, size_t count,
                                           const pith_allocator *mem, pith_error *err);
void pith__deck_deinit(pith__deck *deck); /* accepts an all-zero deck */

/* Number `n`, counted over all rounds; the order is that of (seed, stream, round). */
size_t pith__deck_at(pith__deck *deck, uint64_t seed, uint64_t stream, uint64_t n);

/* ---- documents ------------------------------------------------------------------------- */

/* Where a document ends: a line that holds nothing else. */
#define PITH__DOCUMENT_END "<|endoftext|>"

/* Bytes [start, end) of a file, without the separator and the line break before it. */
typedef struct pith__document {
    size_t start;
    size_t end;
} pith__document;

/* A file of documents, cut into a training and a held-out part. */
typedef struct pith__source {
    char name[64]; /* the file's name without folders and extension */
    double weight; /* share of the samples, before normalisation */
    pith__file file;
    pith_allocator mem;
    pith__document *training; /* in the file's order */
    size_t n_training, training_capacity;
    pith__document *held_out;
    size_t n_held_out, held_out_capacity;
} pith__source;

/*
 * Maps `path` and finds its documents. Empty ones are left out, and copies of
 * one that stands before them. One document in
 * `held_out_every` (0: none) is held out, chosen by a hash of its bytes: the same document
 * is held out wherever it stands, and so are its copies. Fails with E_IO, E_MEMORY, or E_CORRUPT
 * if nothing is left to train on.
 */
PITH_NODISCARD pith_status pith__source_open(const char *path, double weight,
                                             uint32_t held_out_every, const pith_allocator *mem,
                                             pith__source *out, pith_error *err);
void pith__source_close(pith__source *source);

/* ---- samples ----------------------------------------------------------------------------- */

/* What training reads at once: `length` tokens and, for each, the one that follows. */
typedef struct pith__sample {
    size_t length;
    uint32_t *ids;       /* (length) */
    uint32_t *targets;   /* (length), or PITH__NO_TARGET */
    uint32_t *documents; /* (length) number of the document within the sample, for the mask */
    uint32_t *positions; /* (length) from 0 within each document's part */
    /* (length) rows of the sample that each row sees first; NULL: those of its document */
    const uint32_t *first;
} pith__sample;

/*
 * Where a stream stands: all that a checkpoint needs. `token` counts tokens already used of the
 * document at `index` of the shuffled order of `epoch`.
 */
typedef struct pith__stream_place {
    uint64_t epoch;
    uint64_t index;
    uint64_t token;
} pith__stream_place;

/*
 * A mixture of sources. Sample number n comes from one source, drawn with pith__random() of n by
 * weight; inside a source documents come in a shuffled order, new for every epoch, one after the
 * other, each as BOS and its tokens. A document's last token predicts BOS (or EOS, where the
 * tokenizer names another one). What does not fit goes on in the source's next sample, without BOS.
 */
typedef struct pith__mixture {
    pith_allocator mem;
    const pith__tokenizer *tokenizer;
    const pith__source *sources;
    size_t n_sources;
    uint64_t seed;
    pith__stream_place *places;        /* (n_sources) */
    struct pith__stream_cache *caches; /* (n_sources) tokens of the document at hand */
} pith__mixture;

/* Everything borrowed until deinit. E_MEMORY; E_ARGUMENT: weights not positive, or no BOS. */
PITH_NODISCARD pith_status pith__mixture_init(const pith__source *sources, size_t n_sources,
                                              const pith__tokenizer *tokenizer, uint64_t seed,
                                              const pith_allocator *mem, pith__mixture *out,
                                              pith_error *err);
void pith__mixture_deinit(pith__mixture *mixture);

/* Fills sample number `n`; they must be asked for in order. Arrays of `sample` are the caller's. */
PITH_NODISCARD pith_status pith__mixture_next(pith__mixture *mixture, uint64_t n,
                                              pith__sample *sample, pith_error *err);

/* ---- schedules --------------------------------------------------------------------------- */

typedef enum pith__schedule_kind {
    PITH__SCHEDULE_CONSTANT,
    PITH__SCHEDULE_LINEAR, /* to 0 */
    PITH__SCHEDULE_COSINE, /* to 0, half a period */
    PITH__SCHEDULE_WSD     /* constant, then linear to 0 over the last `decay` steps */
} pith__schedule_kind;

typedef struct pith__schedule {
    pith__schedule_kind kind;
    uint64_t warm_up; /* steps from 0 to 1, linearly: step s has s / warm_up */
    uint64_t total;
    uint64_t decay; /* WSD only */
} pith__schedule;

/* What multiplies the learning rate at `step`, from 0. As in transformers, for linear and cosine. */
double pith__schedule_at(const pith__schedule *schedule, uint64_t step);

/* ---- optimiser ----------------------------------------------------------------------------- */

typedef enum pith__optimizer_kind {
    PITH__OPTIMIZER_ADAMW,
    PITH__OPTIMIZER_MUON
} pith__optimizer_kind;

typedef struct pith__optimizer_settings {
    pith__optimizer_kind kind; /* Muon: matrices by Muon, everything else by AdamW */
    double rate;               /* AdamW's learning rate */
    double muon_rate;          /* Muon's, for an update whose root mean square is 0.2 */
    double beta1, beta2, eps;  /* AdamW */
    double momentum;           /* Muon */
    double decay;              /* of matrices and embeddings, decoupled */
    double clip;               /* largest norm of the whole gradient; 0: none */
} pith__optimizer_settings;

typedef struct pith__optimizer {
    pith__optimizer_settings settings;
    pith__weights *weights; /* borrowed: what is updated */
    uint64_t step;          /* updates done */
    float *m;               /* (weights->count) first moment, or Muon's momentum */
    float *v;               /* (weights->count) second moment; not looked at for Muon's matrices */
} pith__optimizer;

/*
 * Moments 0, step 0. `weights` must be allocated and outlive *out. Fails with E_MEMORY or E_ARGUMENT:
 * a share that is not in [0, 1), a rate that is negative, an eps that is not positive.
 */
PITH_NODISCARD pith_status pith__optimizer_init(const pith__optimizer_settings *settings,
                                                pith__weights *weights, pith__optimizer *out,
                                                pith_error *err);
void pith__optimizer_deinit(pith__optimizer *optimizer);

/*
 * One update with the rates times `multiplier`. The gradient (weights->count) is scaled by `scale`
 * first, then clipped; padding counts as part of it and is 0. *norm receives its norm before
 * clipping. If that is not finite, nothing is changed, the step is not counted, and the result is
 * PITH_OK: the caller looks at *norm. Fails with E_MEMORY, nothing changed, or E_BACKEND: some of
 * the tensors may then have been updated. The same bytes for any number of threads.
 */
PITH_NODISCARD pith_status pith__optimizer_step(pith__optimizer *optimizer,
                                                const pith__tensor_ctx *ctx, float *gradient,
                                                double scale, double multiplier, double *norm,
                                                pith_error *err);

/* ---- checkpoints ------------------------------------------------------------------------------ */

/*
 * A GGUF file with everything a run needs to go on: the values, both moments, the optimiser's
 * step, the places of the streams, counters, and a fingerprint of the settings that must be the
 * same. Written beside the old one and moved over it when it is safe on disk: whatever happens, one
 * whole checkpoint is there.
 */
typedef struct pith__run_state {
    uint64_t step;        /* updates done */
    uint64_t samples;     /* used so far */
    uint64_t tokens;      /* used so far */
    double seconds;       /* of training, all sessions together */
    double loss;          /* running mean, for the progress line */
    char fingerprint[65]; /* hexadecimal hash of the settings, as text */
} pith__run_state;

/* Fails with E_IO, E_MEMORY or E_ARGUMENT (a path that is too long): what was there before is still. */
PITH_NODISCARD pith_status pith__checkpoint_save(const char *path, const pith__run_state *state,
                                                 const pith__optimizer *optimizer,
                                                 const pith__stream_place *places, size_t n_places,
                                                 pith_error *err);

/*
 * Fails with E_IO, E_MEMORY, E_CORRUPT (truncated, damaged, no checkpoint), or E_MISMATCH: other
 * tensors, streams or kind of optimiser, or, unless it is empty on entry, another fingerprint than
 * state's. After a failure everything is as it was.
 */
PITH_NODISCARD pith_status pith__checkpoint_load(const char *path, pith__run_state *state,
                                                 pith__optimizer *optimizer,
                                                 pith__stream_place *places, size_t n_places,
                                                 pith_error *err);

/* ---- several processes -------------------------------------------------------------------------- */

/* Ranks of a data-parallel run: MPI's when built with it and started by mpirun, else one. */
typedef struct pith__ranks {
    int rank;
    int count;
} pith__ranks;

/* May be called more than once in a process; MPI ends with the process. */
pith__ranks pith__ranks_get(void);

/* Sums in place over all ranks: the same bytes on every one. Fails with E_BACKEND. */
PITH_NODISCARD pith_status pith__ranks_sum_f32(float *x, size_t count, pith_error *err);
PITH_NODISCARD pith_status pith__ranks_sum_f64(double *x, size_t count, pith_error *err);

/* Waits for all. */
PITH_NODISCARD pith_status pith__ranks_barrier(pith_error *err);

/*
 * Waits for all and fails if one of them did, with `status` itself where that is a failure, else
 * with E_BACKEND: what failed in one process must not leave the others waiting for it. For
 * work that calls none of the functions above.
 */
PITH_NODISCARD pith_status pith__ranks_agree(pith_status status, pith_error *err);

/* ---- tokenizer training ------------------------------------------------------------------------- */

/*
 * Trains a byte-level BPE vocabulary on the training parts of the sources: text is cut by the
 * pattern `pre` ("gpt-2", "llama-bpe", ...), then the most frequent adjacent pair is merged until
 * there are `size` entries: `specials` first (ids 0 .. n-1), then the 256 bytes, then merges. Ties go
 * to the pair whose bytes come first. At most `max_bytes` of text per source are read, in
 * proportion to the weights, spread evenly over the documents. Adds the tokenizer.ggml.* keys to
 * `writer`: model gpt2, pre, tokens, token types, merges, BOS and EOS = specials[0], add_bos_token.
 * Fails with E_ARGUMENT (size below specials + 256, too little text for so many merges), E_MEMORY.
 */
typedef struct pith__bpe_settings {
    uint32_t size;
    const char *pre;
    const char *const *specials;
    size_t n_specials;  /* at least 1 */
    uint64_t max_bytes; /* of all sources together; 0: all */
    unsigned threads;
} pith__bpe_settings;

PITH_NODISCARD pith_status pith__bpe_train(const pith__source *sources, size_t n_sources,
                                           const pith__bpe_settings *settings,
                                           const pith_allocator *mem, pith__gguf_writer *writer,
                                           pith_error *err);

/* ---- recipes ---------------------------------------------------------------------------------- */

/* What a run reports. Numbers that an event does not have are NaN or 0. */
typedef enum pith__train_event_kind {
    PITH__TRAIN_START,      /* nothing yet but the counters */
    PITH__TRAIN_STEP,       /* after every update */
    PITH__TRAIN_EVALUATION, /* of one source, or of all of them together (source NULL) */
    PITH__TRAIN_CHECKPOINT,
    PITH__TRAIN_END /* all is learned; the result is about to be written */
} pith__train_event_kind;

typedef struct pith__train_event {
    pith__train_event_kind kind;
    uint64_t step, steps;
    uint64_t tokens;    /* used so far */
    double loss;        /* nats per token: of the step, or held-out */
    double smooth_loss; /* running mean over about the last 50 steps */
    double norm;        /* of the gradient before clipping */
    double multiplier;  /* of the schedule */
    double tokens_per_second;
    double seconds;       /* of training, all sessions together */
    double seconds_left;  /* at this speed */
    const char *source;   /* EVALUATION */
    double bits_per_byte; /* EVALUATION; of text without separators */
} pith__train_event;

/*
 * Returns false to stop: the run saves a checkpoint, if it has a place for it, and ends with
 * E_CANCELLED, or with what went wrong with the checkpoint. In a run of several processes each
 * has its events, and all stop if one of them is told to.
 */
typedef bool (*pith__train_event_fn)(void *user, const pith__train_event *event);

typedef struct pith__train_source {
    const char *path;
    double weight;
} pith__train_source;

/* What all runs share. */
typedef struct pith__run_settings {
    const char *checkpoint;    /* path, or NULL: none */
    uint64_t checkpoint_every; /* steps */
    bool resume;               /* go on from the checkpoint if there is one */
    uint64_t steps;
    size_t batch;       /* samples per update, over all ranks */
    size_t micro_batch; /* samples of one pass, at most 64; 1 is best for the caches */
    /* gradients that are summed separately: threads that can be busy; part of the result. More than
     * samples of a process are as many as samples. */
    size_t lanes;
    size_t length; /* tokens of a sample, at most the model's context */
    uint64_t seed;
    unsigned threads;
    uint64_t evaluate_every; /* steps; 0: only at the end */
    uint64_t evaluate_bytes; /* of every source's held-out part; 0: all of it */
    uint32_t held_out_every; /* one document in so many */
    bool recompute;
    pith__schedule schedule; /* total is steps */
    pith__optimizer_settings optimizer;
    pith__train_event_fn event; /* or NULL */
    void *event_user;
} pith__run_settings;

/* How the matrices of a finished model are stored; vectors are F32 in any case. */
typedef enum pith__weight_type {
    PITH__WEIGHT_F32,
    PITH__WEIGHT_F16,
    PITH__WEIGHT_INT8 /* NAME.weight (I8) with a row of scales NAME.scale, as models/builtin.gguf */
} pith__weight_type;

/* A language model from scratch: next-token cross-entropy on a mixture. */
typedef struct pith__base_settings {
    pith__run_settings run;
    const pith__train_source *sources;
    size_t n_sources;
    const char *tokenizer;     /* path of a GGUF file with a vocabulary */
    pith__model_config config; /* vocabulary is the tokenizer's */
    bool tied;
    const char *start;      /* GGUF model to go on from, or NULL: random weights */
    const char *name;       /* general.name of the result */
    const char *output;     /* path of the GGUF written at the end */
    pith__weight_type type; /* of the matrices of the result */
} pith__base_settings;

/*
 * Fails with E_ARGUMENT (settings), E_IO, E_CORRUPT, E_UNSUPPORTED (files), E_MISMATCH (a start of
 * another shape, a checkpoint of another run, processes that do not see the same), E_RANGE (the
 * loss or the weights are no numbers any more: nothing is written), E_CANCELLED, E_MEMORY or
 * E_BACKEND. What goes wrong in one of several processes makes all of them fail.
 */
PITH_NODISCARD pith_status pith__train_base(const pith__base_settings *settings,
                                            const pith_allocator *mem, pith_error *err);

/* Alpha over rank scales the adapter, as in Hu et al. 2021. */
typedef struct pith__lora_settings {
    uint32_t rank; /* 0: no adapter, all weights learn */
    double alpha;
    double dropout;    /* share of the inputs, from 0 to below 1 */
    unsigned matrices; /* bits 1 << pith__block_matrix */
} pith__lora_settings;

/*
 * Tunes a model to the answers of another one (LLMLingua, section 3.3, distribution alignment):
 * cross-entropy of the completions, given their prompts. A pair is a line of a JSONL file, an
 * object with two strings; it becomes BOS, `format` with the strings put in, and EOS. Only
 * tokens that stand behind the place of {completion}'s first byte are learned, EOS among them; pairs
 * longer than run.length lose their beginning: the prompt's, then the completion's. A sample of
 * the run is one pair; their order is shuffled, new for every epoch. One pair in
 * run.held_out_every is held out by a hash of its line. Events EVALUATION name the files like pith__source, "bits per byte" is of the
 * completions. An adapter is merged into the weights that are written to
 * `output`; `adapter` has it alone, for the base model.
 *
 * Dropout takes its numbers from the seed and the sample's: where a sample is learned does not
 * matter. For that, samples are not packed then, whatever run.micro_batch is.
 *
 * Fails like pith__train_base(); E_CORRUPT or E_SYNTAX of a line that is no such object has the
 * file, the line's number and the reason in the message.
 */
typedef struct pith__align_settings {
    pith__run_settings run; /* steps 0: as many as `epochs` takes, and schedule.total with them; the
                               warm-up is a tenth of them at most then */
    const char *const *pairs; /* (n_pairs) paths of JSONL files */
    size_t n_pairs;
    const char *prompt_key;
    const char *completion_key;
    const char *format; /* holds {prompt} and, later, {completion}, once each */
    double epochs;      /* looked at if run.steps is 0 */
    const char *model;  /* path of the GGUF model to tune; tensors may be of any type */
    pith__lora_settings lora;
    const char *name;    /* general.name of the result */
    const char *output;  /* path of the GGUF written at the end, or NULL */
    const char *adapter; /* path of the GGUF for the adapter, or NULL; needs lora.rank > 0 */
    pith__weight_type type;
} pith__align_settings;

PITH_NODISCARD pith_status pith__train_align(const pith__align_settings *settings,
                                             const pith_allocator *mem, pith_error *err);

/* ---- distillation: one context into something smaller ----------------------------------- */

/* What learns to stand for the context. */
typedef enum pith__distill_into {
    PITH__DISTILL_SOFT_PROMPT, /* m rows that are read like embeddings: CC */
    PITH__DISTILL_LORA         /* an adapter: context distillation (Askell et al. 2021, Snell et al.
                                  2022) */
} pith__distill_into;

/* Rows of a soft prompt before the first step. */
typedef enum pith__soft_start {
    PITH__SOFT_START_CHUNKS,    /* row i: mean of the embeddings of the i-th m-th of the context */
    PITH__SOFT_START_VOCABULARY /* embeddings of random tokens, as CC's release */
} pith__soft_start;

/* Texts as ids, one after the other: number i is ids[starts[i] .. starts[i + 1]). */
typedef struct pith__id_lists {
    const uint32_t *ids;
    const size_t *starts; /* (count + 1) */
    size_t count;
} pith__id_lists;

typedef struct pith__distill_settings {
    pith__run_settings run;   /* length: of the longest continuation. held_out_every, evaluate_bytes
                                   are not looked at */
    const pith__model *model; /* precision F32; frozen */
    uint32_t bos;             /* before everything, for teacher and student; PITH__NO_ID: none */
    const uint32_t *context;  /* (n_context) ids, without BOS */
    size_t n_context;
    pith__id_lists training; /* continuations */
    pith__id_lists held_out; /* to judge by; may be empty */
    pith__kl_direction direction;
    bool
        first_token; /* the prediction of a continuation's first token counts (not in the release) */
    pith__distill_into into;
    size_t slots; /* m, of a soft prompt */
    pith__soft_start start;
    pith__lora_settings lora;
    const char *fingerprint; /* of data and model, for checkpoints; or NULL */
} pith__distill_settings;

/* Nats per token of held-out continuations: KL(teacher || student), whatever the direction learned. */
typedef struct pith__distill_report {
    double kl_none;  /* student without context */
    double kl_start; /* before the first step */
    double kl;       /* at the end */
    uint64_t tokens; /* they were measured over */
    double seconds;  /* of training */
} pith__distill_report;

/*
 * Minimises E KL(p(.|context, x<t), p(.|learned, x<t)) over the continuations x (CC; the
 * released code has the reverse direction). The teacher reads [BOS] context x, the student
 * [BOS] rows x, or [BOS] x with the adapter. What the teacher says is computed once, and kept as
 * hidden states. The gradient of an update is averaged over its tokens. Events EVALUATION have
 * source "held out" ("training" if nothing is) and the KL as loss; START is followed by one with
 * source "no context" and kl_none, and in a run from the beginning by one with kl_start.
 *
 * learned: empty on entry; tensor "soft_prompt" (slots, d), or the adapter's factors as
 * pith__lora_layout(). Fails like pith__train_base(); E_CONTEXT if context and continuation do not fit.
 */
PITH_NODISCARD pith_status pith__distill(const pith__distill_settings *settings,
                                         const pith_allocator *mem, pith__weights *learned,
                                         pith__distill_report *report, pith_error *err);

/* What a model is to write after a context. */
typedef struct pith__imagine_settings {
    const pith__model *model;
    unsigned threads;
    uint32_t bos;            /* before the context; PITH__NO_ID: none */
    const uint32_t *context; /* (n_context) ids, at least one */
    size_t n_context;
    size_t count;  /* continuations */
    size_t length; /* tokens of each, unless it ends before */
    double temperature;
    uint64_t seed;
    uint32_t end;              /* ends a continuation; PITH__NO_ID: nothing does */
    pith_progress_fn progress; /* stage "imagine", in tokens; or NULL. False: E_CANCELLED */
    void *progress_user;
} pith__imagine_settings;

/*
 * Continuations that the model itself writes after the context: `count` lists of `length` ids each,
 * or fewer where it ends. (Snell et al. 2022; what needs no data.) Owned by the arena.
 */
PITH_NODISCARD pith_status pith__distill_imagine(const pith__imagine_settings *settings,
                                                 pith__arena *arena, pith__id_lists *out,
                                                 pith_error *err);

/* Recipes cc and distill: the same from files. */
typedef struct pith__condense_settings {
    pith__distill_settings
        distill;       /* model, bos, ids, run.schedule.total and fingerprint are filled
                                       in */
    const char *model; /* path; NULL: the model in `data` */
    const void *data;  /* (data_size) a GGUF file in memory, if there is no path */
    size_t data_size;
    const char *context; /* path of a text */
    const char *text;    /* (text_size) the context itself, if there is no path */
    size_t text_size;
    const pith__train_source *sources; /* documents to take continuations from; none: imagined */
    size_t n_sources;
    size_t
        continuations;  /* so many to learn from; a tenth of it besides, at least 8, is held out */
    double temperature; /* of imagined ones */
    pith_progress_fn progress; /* while they are imagined, before there are events; or NULL */
    void *progress_user;
    bool no_bos;
    const char *output; /* path of the capsule, or of the adapter; NULL: see `capsule` */
    const char *name;   /* general.name of an adapter */
    pith__capsule_type type;
} pith__condense_settings;

/*
 * *capsule, unless NULL, receives the capsule of a soft prompt. The capsule's record has method, KL
 * direction, start, steps, rate, seed, continuations and where they are from, and the report. Fails
 * like pith__distill() and pith__source_open().
 */
PITH_NODISCARD pith_status pith__train_condense(const pith__condense_settings *settings,
                                                const pith_allocator *mem, pith__capsule **capsule,
                                                pith__distill_report *report, pith_error *err);

/* ---- GIST ---------------------------------------------------------------------------------- */

/* "gist", "positive", "negative", "tfidf". */
const char *pith__gist_condition_name(pith__gist_condition condition);

/* How one condition did on one split. */
typedef struct pith__gist_score {
    pith__gist_condition condition;
    char split[64]; /* "seen": held out of the training files; else the name of a test file */
    uint64_t triples;
    uint64_t tokens; /* of the outputs, end included */
    double nats;     /* summed over them */
    double rouge_l;  /* mean F of rougeLsum with stemmer, of greedy outputs; NaN: not generated */
    double exact;    /* share of outputs that are the reference, blanks at the ends apart */
} pith__gist_score;

typedef struct pith__gist_settings {
    pith__run_settings run; /* as of recipe align */
    const char *const
        *triples; /* (n_triples) paths of JSONL files with instruction, input, output */
    size_t n_triples;
    const char *const *tests; /* (n_tests) paths of such files that are only judged by */
    size_t n_tests;
    double epochs;
    const char *model; /* path of the GGUF model to tune; NULL is E_ARGUMENT */
    const char
        *token; /* of the gist token: taken if the vocabulary has it, else added; NULL: <|gist|> */
    uint32_t slots;                         /* k copies */
    const pith__gist_condition *conditions; /* (n_conditions) one training each, in this order, from
                                               the same start; results are those of the first */
    size_t n_conditions;
    size_t generate;          /* triples of every split whose output is generated; 0: none */
    size_t max_tokens;        /* of a generated output */
    pith__lora_settings lora; /* the gist token's row learns in any case */
    const char *name;
    const char *output;  /* path of the model, or NULL */
    const char *adapter; /* path of the adapter with the row, or NULL; needs lora.rank > 0 */
    pith__weight_type type;
} pith__gist_settings;

/*
 * Instruction tuning under a mask (Mu, Li & Goodman 2023): [BOS] "Instruction: {instruction}\n", k
 * gist tokens, "\nInput: {input}\nOutput:" (without the input's line if there is none), " {output}"
 * and EOS; cross-entropy of output and EOS. Rows after the gist tokens see nothing before
 * them, BOS included. Controls: POSITIVE sees everything and has one gist token, NEGATIVE sees
 * nothing up to the last one, TFIDF has the first token of one keyword for the instruction, and no
 * gist token. What comes behind the gist tokens is tokenised by itself. Triples that are too long
 * for run.length lose the end of their input, then that of their output, then, if there is no
 * room for any of it, that of the instruction. The rest is as in pith__train_align().
 *
 * The token's row starts as the mean of all rows, in a head of its own too. A token that is new gets
 * the first id behind the tokenizer's and is a control token of `output`; one that is there must
 * be one. It is part of the softmax, and is learned never to be expected: by its row, and by the
 * adapter if there is one, whose row has a gradient as an input alone. Only files of condition GIST
 * have keys pith.gist.*; an adapter of another one lacks the row.
 *
 * scores: (n_conditions * (n_tests + 1)), condition by condition; how they stand at the end. A run of
 * several conditions has a checkpoint for each, CHECKPOINT.N from the second on; those that are done
 * are judged again, and nothing else. Every condition has its own events from START to END; after END
 * it is judged, with events EVALUATION "CONDITION SPLIT", and the first one's results are written.
 * Outputs are the likeliest tokens after a capsule, as in use; what the tokenizer cannot spell is not
 * among them.
 */
PITH_NODISCARD pith_status pith__train_gist(const pith__gist_settings *settings,
                                            const pith_allocator *mem, pith__gist_score *scores,
                                            pith_error *err);

/* ---- questions on a context ---------------------------------------------------------------- */

/* Where question and answer stand in a template, and the one that is taken if none is given. It is read
 * behind a context, so it begins with a line break. */
#define PITH__QUESTION_PLACE  "{question}"
#define PITH__ANSWER_PLACE    "{answer}"
#define PITH__QUESTION_FORMAT "\nQuestion: " PITH__QUESTION_PLACE "\nAnswer: " PITH__ANSWER_PLACE

/* ---- compressors: 500xCompressor, ICAE, SelfCP --------------------------------------------- */

/* How much of a text SelfCP compresses, and where its memory stands; weights of the mixture. */
typedef struct pith__selfcp_mix {
    double former;       /* the first half, its memory before the raw rest */
    double latter;       /* the last half, its memory after the raw beginning */
    double concatenated; /* several segments, each of which has seen the memory of the one before */
    double recursive;    /* the same, and only the last memory is read */
    double linear;       /* all of it in one segment */
} pith__selfcp_mix;

typedef struct pith__compressor_settings {
    /* as of recipe align, but `length`: tokens of text or context of a sample, at most; above the
     * window there are several segments */
    pith__run_settings run;
    const char *model; /* path of the GGUF model, frozen; NULL: the one in `data` */
    const void *data;  /* (data_size) a GGUF file in memory, if there is no path */
    size_t data_size;
    pith__compressor_shape shape;
    pith__lora_settings lora; /* 500X, ICAE */
    double slot_deviation;    /* of the first slot rows; 0: that of the model's embeddings */
    const char *start;        /* compressor file to go on from, of the same shape; or NULL */
    const pith__train_source *sources; /* texts to give back or to go on from; may be none */
    size_t n_sources;
    size_t shortest;     /* tokens of a text: drawn evenly from here to run.length */
    double continuation; /* share of texts that are gone on with, instead of being repeated */
    const char *const *questions; /* (n_questions) JSONL files: context, question, answer */
    size_t n_questions;
    double question_share; /* of the samples, where there are texts and questions */
    const char *format;    /* PITH__QUESTION_FORMAT or another one: as pith__pair_format's text */
    /* SELFCP: share of the questions whose segments are read after what stands before {answer} */
    double conditional;
    pith__selfcp_mix mix; /* SELFCP; all 0: linear alone */
    uint32_t held_out;    /* texts, and as many questions, to be judged by */
    double epochs;
    const char *name;
    const char *output;
    bool half; /* tensors as F16 */
} pith__compressor_settings;

/*
 * Trains a compressor for a frozen model. A sample is a text (an excerpt that starts at a word, all
 * bytes of a source being equally likely) or a question. Text: memory, then BOS text, targets text EOS
 * (EOS only if the document ends there): regeneration; or the continuation: memory, then the text that
 * follows, of as many tokens, the first of which keys and values do not predict (SELFCP: after the raw
 * half too; what it repeats is the part that was compressed). Question: memory, what stands before
 * {answer}, the answer, EOS; targets answer EOS. SELFCP has BOS before everything; its regeneration and
 * continuation are unconditional. Elastic: the slots of a sample are drawn from m, m / 2, m / 4, ..., 1
 * (SELFCP: ratio, 2 ratio, 4 ratio, ... up to the text's length). A sample is a function of the seed
 * and its number. Steps 0: by epochs, of the questions or, without any, of the text, about.
 *
 * One document in run.held_out_every is held out, and one context with all its questions. Events
 * EVALUATION give nats per token of held-out texts of run.length tokens "repeat" and "continue", and of held-out questions, "answer",
 * all of the text in memory; of each with the memory of another text (" shuffled") and with none
 * (" none"); if elastic, with a quarter of the slots and with one (" 4", " 1"; SELFCP: " by RATIO"); of
 * SELFCP's strategies (" former", ...), also without the compressed half (" former none"). They are over
 * the same targets; the last event, without a source, is of the first figures of all tasks together.
 *
 * What learns starts as compressor_start.c says, or as `start` has it; then rank, matrices and alpha are
 * the file's. Fails like pith__train_base(); E_MISMATCH: `start` is of another shape or model. The
 * compressor's record has the settings and these figures.
 */
PITH_NODISCARD pith_status pith__train_compressor(const pith__compressor_settings *settings,
                                                  const pith_allocator *mem, pith_error *err);

/* ---- what memory retains: no training ------------------------------------------------------- */

/* How the model comes to know a text. */
typedef enum pith__retention_way {
    PITH__WAY_FULL,      /* it reads it */
    PITH__WAY_NONE,      /* not at all */
    PITH__WAY_TRUNCATED, /* it reads the first k tokens */
    PITH__WAY_LAST,      /* the last k tokens */
    PITH__WAY_GIVEN, /* it reads what a line says instead: {"shorter": ["...", ...]}, one for each of
                             the slot numbers */
    PITH__WAY_MEAN_KV, /* capsules of pith__compress_mean() */
    PITH__WAY_MEAN_HIDDEN,
    PITH__WAY_MEAN_EMBEDDINGS,
    PITH__WAY_COMPRESSOR, /* capsules of a compressor */
    PITH__WAY_SHUFFLED,   /* capsules of the same compressor, of another text */
    PITH__WAYS
} pith__retention_way;

typedef enum pith__retention_task {
    PITH__TASK_REPEAT, /* the text itself, after BOS */
    PITH__TASK_ANSWER  /* answers to questions */
} pith__retention_task;

/* One row of the table. Means over `count` texts; errors are standard errors of the mean. */
typedef struct pith__retained {
    pith__retention_task task;
    pith__retention_way way;
    char method[PITH__CAPSULE_NAME]; /* of a compressor; else "" */
    size_t compressor;               /* its number; SIZE_MAX: none */
    uint32_t length;                 /* tokens of the texts at most */
    uint32_t slots;   /* virtual tokens (tokens) that are read instead; FULL: length; NONE: 0 */
    uint32_t without; /* slot that was left out; UINT32_MAX: none */
    uint64_t count;
    double source_tokens;          /* mean */
    double stored_bytes;           /* mean, of a capsule's numbers in f16; of a text, its bytes */
    double nll, nll_error;         /* nats per token of the text, or from the answer to the end */
    double rouge_l, rouge_l_error; /* F, words without stemming; NaN: nothing was written */
    double bleu, bleu_error;
    /* REPEAT: share of the tokens before the first mistake; ANSWER: exact match */
    double exact, exact_error;
    double f1, f1_error; /* ANSWER */
} pith__retained;

typedef struct pith__retention_settings {
    const char *model; /* path; NULL: the model in `data` */
    const void *data;  /* (data_size) a GGUF file in memory, if there is no path */
    size_t data_size;
    const char *const *compressors; /* (n_compressors) paths; may be none */
    size_t n_compressors;
    const pith__train_source *sources; /* texts; their held-out documents, spread evenly */
    size_t n_sources;
    uint32_t held_out_every;
    const char *const *questions; /* (n_questions) JSONL: context, question, answer, shorter */
    size_t n_questions;
    const char *format; /* as above; NULL: that of the compressors, else PITH__QUESTION_FORMAT */
    const uint32_t *lengths; /* (n_lengths) of texts; contexts are cut to the largest of them */
    size_t n_lengths;
    const uint32_t *slots; /* (n_slots) */
    size_t n_slots;
    size_t texts;      /* of every length; and questions, spread evenly over the files */
    bool generates;    /* texts and answers are written, greedily */
    size_t max_tokens; /* of an answer */
    bool ablates;      /* every slot is left out once (compressors, NLL only) */
    bool ways[PITH__WAYS];
    unsigned threads;
    uint64_t seed;
    pith__train_event_fn event; /* EVALUATION after every row; false: E_CANCELLED */
    void *event_user;
} pith__retention_settings;

/* "full", "none", "truncated", "last", "given", "mean-kv", "mean-hidden", "mean-embeddings", "compressor",
 * "shuffled". */
const char *pith__retention_way_name(pith__retention_way way);

/*
 * What is left of texts on each way to know them, measured the way it is used: memory, read as a
 * capsule; BOS before words, and before a capsule that wants it.
 *
 * REPEAT: then BOS and the text, whose tokens are judged (no end); written: up to as many tokens as the
 * text has. TRUNCATED, LAST and GIVEN are not written by the model: what was read counts as written,
 * since a copy needs no model. ANSWER, at the largest length: then what stands before {answer}; judged
 * is what is learned: the answer, what stands behind it and the end of the text; written: up to max_tokens,
 * to the end or to a line break, without what stands behind the answer. A conditional compressor reads
 * the question first.
 *
 * A text is an excerpt of `length` tokens from a random place of a held-out document: of as many equal
 * stretches of documents as there are to be texts the first, from a random one on, that has so many tokens,
 * else the longest. A line without question and answer is a text too, from its beginning; GIVEN is
 * of lines alone. held_out_every holds for the contexts of lines as for documents; 0: all are read.
 * Contexts longer than the largest length are cut around the answer, where it stands in them, else from
 * their beginning.
 *
 * Rows lie in memory of `arena`: texts length by length, then questions; in the order of the ways. FULL and
 * NONE have one row per list, the others one per number of slots below the length. A compressor
 * shares slots out evenly over the segments of a text of the full length, and has no row where that
 * does not come out even or it was not trained for it (E_ARGUMENT: it has none at all). Shorter texts
 * may have fewer slots. Ablation follows its row, for 2 to 16 slots: keys and values are left out, an
 * embedding is replaced by the mean of the others. SHUFFLED is the memory of the next text that is
 * another one. The same numbers for any number of threads.
 *
 * Fails like pith__train_evaluate(), pith__pair_lines_open(), pith__compressor_load() and
 * pith__compress(); E_CONTEXT: a text twice, or context, question and answer, do not fit the model;
 * E_MISMATCH: there are lines, and the compressors learned questions in another format, or in several.
 */
PITH_NODISCARD pith_status pith__train_retention(const pith__retention_settings *settings,
                                                 const pith_allocator *mem, pith__arena *arena,
                                                 pith__retained **rows, size_t *count,
                                                 pith_error *err);

/*
 * Reads the held-out documents of every source with a model (in F32), each by itself: BOS, its
 * tokens, and the end that pith__mixture has it predict, which counts as a token and as no byte. A
 * document that is longer than `length` is read in windows that overlap by a quarter
 * (score/score.h), so that no token but the first ones has less context.
 */
typedef struct pith__evaluate_settings {
    const pith__train_source *sources;
    size_t n_sources;
    const char *model;       /* path of a GGUF model; NULL is not the built-in one: E_ARGUMENT */
    uint32_t held_out_every; /* as in training; 0: all documents of the files are read */
    uint64_t bytes;          /* of every source's documents, at least one; 0: all of them */
    size_t length;           /* tokens of a window; 0: the model's context, at most 2048 */
    unsigned threads;
    /* or NULL; folder, made if it is not there, that gets FOLDER/SOURCE.txt with the documents that
     * were read, each followed by a line with PITH__DOCUMENT_END */
    const char *folder;
    pith__train_event_fn event; /* or NULL: EVALUATION after every source; false: E_CANCELLED */
    void *event_user;
} pith__evaluate_settings;

/* Of one source, or of all of them together. Nats per token: nats / tokens. */
typedef struct pith__evaluation {
    char source[64]; /* pith__source's name; "" for all together */
    uint64_t documents;
    uint64_t bytes; /* of text, without separators */
    uint64_t tokens;
    double nats; /* summed over the tokens */
} pith__evaluation;

/* out (n_sources + 1): the sources in their order, then all of them together. Fails like a run. */
PITH_NODISCARD pith_status pith__train_evaluate(const pith__evaluate_settings *settings,
                                                const pith_allocator *mem, pith__evaluation *out,
                                                pith_error *err);

#endif /* PITH_TRAIN_H */
