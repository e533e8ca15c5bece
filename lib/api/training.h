/*
 * training.h: what the files behind pith_training share.
 */
#ifndef PITH_API_TRAINING_H
#define PITH_API_TRAINING_H

#include "api/table.h"
#include "train/train.h"

/* One bit per recipe: which of them have a parameter. */
#define PITH__RECIPE_TOKENIZER 1U
#define PITH__RECIPE_BASE      2U
#define PITH__RECIPE_ALIGN     4U
#define PITH__RECIPE_EVALUATE  8U

/*
 * Values of the parameters of all recipes. A number that was not given is negative, a text
 * NULL. Enumerations are those of train.h.
 */
typedef struct pith__training_params {
    /* data */
    pith__texts data; /* "FILE" or "FILE=WEIGHT" */
    pith__texts pairs;
    char *prompt_key;
    char *completion_key;
    char *template_text;
    double held_out_every;
    double seed;
    /* vocabulary */
    double vocab_size;
    pith__texts special;
    double max_bytes;
    /* model */
    char *tokenizer;
    char *model; /* "model" or "init-from" */
    double layers, width, heads, kv_heads, head_dim, ff, context;
    double rope_base, norm_eps;
    char *name;
    /* training */
    double steps, epochs, batch_size, length, lanes;
    double evaluate_every, evaluate_bytes;
    /* lora */
    double lora_rank, lora_alpha, lora_dropout;
    pith__texts lora_matrices;
    /* optimizer */
    double lr, muon_lr, beta1, beta2, eps, momentum, weight_decay, clip;
    double warm_up, decay_steps;
    /* files */
    char *output;
    char *adapter;
    char *held_out_dir;
    char *checkpoint;
    double checkpoint_every;
    char *log;
    char *plot;
    double threads;
    /* choices and flags of all of them */
    int pre;       /* of the parameter's choices: see pith__table_get() */
    int type;      /* pith__weight_type */
    int optimizer; /* pith__optimizer_kind */
    int schedule;  /* pith__schedule_kind */
    bool tied;
    bool recompute;
    bool resume;
} pith__training_params;

/* The parameters of one recipe; `bit` is one of the above. */
pith__param_table pith__training_table(unsigned bit);

/*
 * Cuts "FILE=WEIGHT" at its last '=' if a number follows; *size receives the length of FILE. Fails
 * with E_ARGUMENT (no file) or E_RANGE (a weight that is not positive).
 */
PITH_NODISCARD pith_status pith__training_source(const char *entry, size_t *size, double *weight,
                                                 pith_error *err);

/* What parameter `name` is if it was not given. */
const char *pith__training_default(unsigned bit, const char *name);

/* Bits 1 << pith__block_matrix of the entries of lora-matrices; 0 for an unknown name. */
unsigned pith__training_matrices(const char *entry);

#endif /* PITH_API_TRAINING_H */
