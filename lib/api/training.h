/*
 * training.h: what the files behind pith_training share.
 */
#ifndef PITH_API_TRAINING_H
#define PITH_API_TRAINING_H

#include "api/table.h"
#include "train/log.h"

/* One bit per recipe: which of them have a parameter. */
#define PITH__RECIPE_TOKENIZER 1U
#define PITH__RECIPE_BASE      2U
#define PITH__RECIPE_ALIGN     4U
#define PITH__RECIPE_EVALUATE  8U
#define PITH__RECIPE_CC        16U
#define PITH__RECIPE_DISTILL   32U
#define PITH__RECIPE_GIST      64U
#define PITH__RECIPE_500X      128U
#define PITH__RECIPE_ICAE      256U
#define PITH__RECIPE_SELFCP    512U
#define PITH__RECIPE_RETENTION 1024U

/*
 * Values of the parameters of all recipes. A number that was not given is negative, a text
 * NULL. Enumerations are those of train.h.
 */
typedef struct pith__training_params {
    /* data */
    pith__texts data;  /* "FILE" or "FILE=WEIGHT" */
    pith__texts pairs; /* or triples */
    pith__texts tests;
    char *prompt_key;
    char *completion_key;
    char *template_text;
    char *context_file;
    double held_out_every;
    double continuations, temperature;
    pith__texts questions;
    double question_share, continuation, held_out;
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
    /* virtual tokens */
    double slots;
    char *gist_token;
    pith__texts conditions;
    double generate, max_tokens;
    /* compressors */
    char *start; /* "init-from" */
    double ratio, window, shortest, slot_deviation, micro_batch, conditional;
    pith__texts strategies;
    /* what memory retains */
    pith__texts compressors;
    pith__texts lengths, slot_counts;
    pith__texts ways;
    double texts;
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
    char *report;
    char *held_out_dir;
    char *checkpoint;
    double checkpoint_every;
    char *log;
    char *plot;
    double threads;
    /* choices and flags of all of them */
    int pre;           /* of the parameter's choices: see pith__table_get() */
    int type;          /* pith__weight_type */
    int optimizer;     /* pith__optimizer_kind */
    int schedule;      /* pith__schedule_kind */
    int mode;          /* pith__soft_mode */
    int kl;            /* pith__kl_direction */
    int init;          /* pith__soft_start */
    int capsule_type;  /* pith_capsule_type */
    int layout;        /* pith__slot_layout */
    int position_mode; /* pith__slot_mode */
    bool tied;
    bool recompute;
    bool resume;
    bool first_token;
    bool no_bos;
    bool controls;
    bool elastic, pads, has_norm;
    bool writes, ablates;
} pith__training_params;

/* Whose choices recipe cc makes, and those of compressors. */
typedef enum pith__soft_mode { PITH__SOFT_MODE_PITH, PITH__SOFT_MODE_OFFICIAL } pith__soft_mode;

/* ---- parameters (training_params.c) ------------------------------------------------------ */

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

/* A condition of recipe gist by its name; false for an unknown one. */
bool pith__training_condition(const char *name, pith__gist_condition *out);

/* Adds "NAME=WEIGHT", or several with commas, strategies of recipe selfcp, to `mix`. E_ARGUMENT or
 * E_RANGE. */
PITH_NODISCARD pith_status pith__training_strategies(const char *entry, pith__selfcp_mix *mix,
                                                     pith_error *err);

/* An entry of recipe retention's length or slots: a number above 0; false for anything else. */
bool pith__training_count(const char *text, uint32_t *out);

/* A way of recipe retention by its name; false for an unknown one. */
bool pith__training_way(const char *name, pith__retention_way *out);

/* ---- a run (training.c) -------------------------------------------------------------------- */

struct pith_training {
    pith_allocator mem;
    const struct pith__training_recipe *recipe;
    pith__param_table table;
    pith__training_params params;
    pith_training_event_fn event;
    void *event_user;
    pith_write_fn write;
    void *write_user;
};

/* One run: settings point into the arena. */
typedef struct pith__training_run {
    const pith_training *training;
    const pith__training_params *p;
    pith__arena arena;
    pith__ranks ranks;
    pith__train_log log;         /* of the model that learns now */
    size_t models;               /* that began to learn */
    const char *plot;            /* where its curve goes, or NULL */
    pith__train_source *sources; /* (data.count) */
    const char *name;            /* of the result */
    pith_status status; /* what went wrong in an event; the run itself is only told to stop */
    pith_error error;
    bool has_begun; /* what may fail in one rank alone is behind us */
} pith__training_run;

typedef struct pith__training_recipe {
    const char *name;
    unsigned bit;
    pith_status (*run)(pith__training_run *r, pith_error *err);
} pith__training_recipe;

/* A pith__train_event_fn whose `user` is the run: log, plot and the caller's own. */
bool pith__training_on_event(void *user, const pith__train_event *e);

pith_status pith__run_tokenizer(pith__training_run *r, pith_error *err);
pith_status pith__run_base(pith__training_run *r, pith_error *err);
pith_status pith__run_align(pith__training_run *r, pith_error *err);
pith_status pith__run_evaluate(pith__training_run *r, pith_error *err);
pith_status pith__run_condense(pith__training_run *r, pith_error *err); /* cc and distill */
pith_status pith__run_gist(pith__training_run *r, pith_error *err);
pith_status pith__run_compressor(pith__training_run *r, pith_error *err); /* 500x, icae, selfcp */
pith_status pith__run_retention(pith__training_run *r, pith_error *err);

/* ---- what recipes share (training_common.c) ------------------------------------------------- */

bool pith__is_given(const char *text);

/* NULL for a text that is not given. */
const char *pith__text_or_null(const char *text);

double pith__number_or(double value, double otherwise);

/* E_ARGUMENT with the parameter's name if there is nothing. */
pith_status pith__need(const char *name, const char *value, pith_error *err);
pith_status pith__need_list(const char *name, const pith__texts *list, pith_error *err);

/* A file that is no GGUF file is refused under the name of its parameter. */
pith_status pith__check_gguf(const pith__training_run *r, const char *name, const char *path,
                             pith_error *err);

/* Everything that is written has a name of its own; only a result may replace what it was made
 * from. */
pith_status pith__training_check_files(const pith__training_run *r, pith_error *err);

/* Fills r->name: "out/pith-tiny.gguf" is "pith-tiny". */
pith_status pith__training_find_name(pith__training_run *r, pith_error *err);

/* Fills r->sources. */
pith_status pith__training_read_sources(pith__training_run *r, pith_error *err);

unsigned pith__training_threads(const pith__training_params *p);

/* What all recipes that learn are told; the second form has events too. */
pith_status pith__training_read_settings(const pith__training_params *p, pith__run_settings *out,
                                         pith_error *err);
pith_status pith__training_read_run(pith__training_run *r, pith__run_settings *out,
                                    pith_error *err);

/* From here on the recipe sees to it that all ranks fail if one does. */
pith_status pith__training_begin(pith__training_run *r, pith_error *err);

/* Tokens of a pair or a triple: at most the context of the model that is tuned. */
pith_status pith__training_read_length(const pith__training_run *r, size_t *length,
                                       pith_error *err);

pith__lora_settings pith__training_read_lora(const pith__training_params *p);

/* LoRA's parameters without LoRA, an adapter without a rank. */
pith_status pith__training_check_lora(const pith__training_params *p, pith_error *err);

/* The text of a parameter that was not given is its default. */
const char *pith__training_text_of(const pith__training_run *r, const char *name,
                                   const char *given);

/* A table goes to the file `path`, or to pith_training_set_write() if that is not given. */
pith_status pith__training_write(const pith__training_run *r, const char *path,
                                 const pith__buf *table, pith_error *err);

/* ---- condensing a context (training_soft.c) --------------------------------------------------- */

/* Settings from the parameters of recipe cc or distill, without data, model, context and events. */
pith_status pith__condense_read(const pith__training_params *p, unsigned bit,
                                pith__condense_settings *out, pith_error *err);

/* Mode of recipe cc: what it sets. */
pith_status pith__condense_apply_mode(const pith__param_table *table, pith__training_params *params,
                                      const pith_allocator *mem, pith_error *err);

/* Mode of recipes 500x, icae and selfcp (training_compressor.c). */
pith_status pith__compressor_apply_mode(const pith__param_table *table,
                                        pith__training_params *params, const pith_allocator *mem,
                                        pith_error *err);

/*
 * Method cc of pith_encode(): the recipe with the context's parameters and model. Fails like
 * pith__train_condense(), and with E_UNSUPPORTED for a model with an adapter.
 */
PITH_NODISCARD pith_status pith__encode_cc(pith_ctx *ctx, const char *text, size_t size,
                                           pith__capsule **out, pith_error *err);

#endif /* PITH_API_TRAINING_H */
