/*
 * api.h: what the files that implement pith.h share.
 */
#ifndef PITH_API_H
#define PITH_API_H

#include "api/table.h"
#include "hard/hard.h"
#include "lingua/lingua.h"
#include "model/model.h"
#include "score/score.h"
#include "soft/soft.h"
#include "structure/structure.h"
#include "text/text.h"
#include "token/token.h"

struct pith_tokenizer {
    pith_allocator mem;
    pith__tokenizer *tokenizer;
};

/* What a model or an adapter that was trained to gist says about it; texts and row are owned. */
typedef struct pith__gist_keys {
    uint32_t slots; /* copies that were trained; 0: it was not trained to gist */
    uint32_t token; /* id of the gist token, if there is no row */
    float *row;     /* (row_size) its embedding, or NULL */
    size_t row_size;
    pith__buf prefix; /* before the text */
    pith__buf middle; /* between the text and the gist tokens */
    pith__buf suffix; /* after them */
} pith__gist_keys;

struct pith_model {
    pith_allocator mem;
    pith__log log;
    pith__file file; /* mapped; empty for a model in memory */
    const void *data;
    size_t size; /* of the GGUF file that lies there */
    pith__gguf gguf;
    pith__model weights;
    pith_tokenizer tokenizer;
    char adapter_sha256[PITH__SHA256_SIZE]; /* of the adapter's file; "": there is none */
    pith__gist_keys gist;
    struct pith__hashes *hashes; /* of the others, when they are needed (binding.c) */
    char name[128];
};

/* How the numbers of a capsule are stored; false: there is no such type (capsule.c). */
bool pith__capsule_type_of(pith_capsule_type type, pith__capsule_type *out);

/* The same with E_ARGUMENT. */
PITH_NODISCARD pith_status pith__capsule_type_check(pith_capsule_type type, pith__capsule_type *out,
                                                    pith_error *err);

/* ---- what capsules are bound to (binding.c) ---------------------------------------------- */

/* No hash is known yet. E_MEMORY. */
PITH_NODISCARD pith_status pith__hashes_new(const pith_allocator *mem, struct pith__hashes **out,
                                            pith_error *err);
void pith__hashes_free(const pith_allocator *mem, struct pith__hashes *hashes);

/*
 * The model as capsules name it. Its file is hashed when this is called for the first time; several
 * threads may do that at once.
 */
void pith__model_binding(const pith_model *model, pith__binding *out);

/*
 * Reads the keys PITH__GIST_* of a model's or an adapter's file, if it has them; *out is empty on
 * entry, and stays so if it has none. E_CORRUPT: they do not fit each other or the model; E_MEMORY.
 */
PITH_NODISCARD pith_status pith__gist_keys_read(const pith__gguf *gguf,
                                                const pith__model_config *config,
                                                const pith_allocator *mem, pith__gist_keys *out,
                                                pith_error *err);
void pith__gist_keys_deinit(pith__gist_keys *keys, const pith_allocator *mem); /* or all zero */

/* ---- parameters (params.c) -------------------------------------------------------- */

typedef enum pith__level {
    PITH__LEVEL_TOKEN = 0,
    PITH__LEVEL_WORD,
    PITH__LEVEL_PHRASE,
    PITH__LEVEL_SENTENCE
} pith__level;

typedef enum pith__mode { PITH__MODE_PITH = 0, PITH__MODE_PAPER, PITH__MODE_OFFICIAL } pith__mode;

/* "auto" of the parameter "aggregate"; the others are pith__aggregate. */
#define PITH__AGGREGATE_AUTO 3

/* Whether <llmlingua> tags are understood; AUTO: if all of them are well-formed. */
typedef enum pith__structured {
    PITH__STRUCTURED_AUTO = 0,
    PITH__STRUCTURED_YES,
    PITH__STRUCTURED_NO
} pith__structured;

typedef enum pith__method {
    PITH__METHOD_SELECTIVE = 0,
    PITH__METHOD_LLMLINGUA,
    PITH__METHOD_LONGLLMLINGUA,
    PITH__METHOD_CC, /* these make capsules: pith_encode() */
    PITH__METHOD_GIST,
    PITH__METHOD_500X, /* these three with a compressor, in the order of pith__compressor_method */
    PITH__METHOD_ICAE,
    PITH__METHOD_SELFCP,
    PITH__METHOD_MEAN
} pith__method;

/* Values of all parameters. A number that was not given is negative. */
typedef struct pith__params {
    int preset;       /* 0: none, else a row of presets.c, plus 1 */
    int method;       /* pith__method */
    int level;        /* pith__level */
    int mode;         /* pith__mode */
    int aggregate;    /* pith__aggregate or PITH__AGGREGATE_AUTO */
    int score_by;     /* 0: the whole text, 1: every sentence alone */
    int invalid_utf8; /* 0: refuse, 1: keep */
    double rate;
    double target_tokens;
    double percentile;
    double ctx_size;
    double overlap;
    double threads;
    bool target_is_preset; /* a rate that is set afterwards counts */
    bool keep_digits;
    bool keep_links;
    bool keep_code;
    pith__texts keep;
    pith__texts keep_regex;
    pith__texts keep_tag;
    /* structure */
    int format;     /* pith__format */
    int structured; /* pith__structured */
    double keep_turns;
    bool drop_consecutive;
    bool prefer_names;
    pith__texts json_rate;
    pith__texts keep_pattern;
    /* methods llmlingua and longllmlingua; names and meanings as in lingua.h */
    int rank_method;       /* 0: auto, else pith__rank_method + 1 */
    int condition;         /* 0: auto, else pith__condition + 1, and 3 more for "_condition" */
    int condition_compare; /* 0: auto, 1: false, 2: true */
    int reorder_context;   /* 0: auto, else pith__reorder + 1 */
    int kl;                /* of method cc: pith__kl_direction */
    int pool;              /* of method mean: pith__pool */
    double iterative_size;
    double token_budget_ratio;
    double dynamic_ratio;
    double force_context_number;
    double keep_first_sentence;
    double keep_last_sentence;
    double keep_sentence_number;
    double high_priority_bonus;
    double tau_ins;
    double tau_que;
    double seed;
    bool use_context_level_filter;
    bool use_sentence_level_filter;
    bool use_token_level_filter;
    bool keep_split;
    bool add_instruction;
    bool concate_question;
    bool strict_preserve_uncompressed;
    bool ignore_eos; /* of generating */
    bool regenerate; /* likewise */
    pith__texts force_context_ids;
    char *context_budget; /* NULL or "": by mode */
    /* capsules */
    double slots;
    double steps;
    double ratio;
    char *query; /* NULL or "": none */
    /* generating */
    double max_tokens;
    double temperature;
    double top_k;
    double top_p;
    double min_p;
    double repetition_penalty;
    double repetition_window;
    pith__texts stop;
} pith__params;

/* Cuts "KEY=0.3" at its last '=': `entry` becomes the key. E_ARGUMENT or E_RANGE if it is not that. */
PITH_NODISCARD pith_status pith__params_key_rate(char *entry, double *rate, pith_error *err);

/* Reads "+100", "*2", ...; false if it is nothing of the kind. */
bool pith__params_budget_change(const char *text, pith__budget_change *out);

/* True if any option asks for text to be kept or treated by its structure: for mode pith only. */
bool pith__params_keep(const pith__params *params);

void pith__params_init(pith__params *params);
void pith__params_deinit(pith__params *params, const pith_allocator *mem);

/* One value from text; see pith_ctx_set(). Nothing changes on failure. */
PITH_NODISCARD pith_status pith__params_set(pith__params *params, const pith_allocator *mem,
                                            const char *name, const char *value, pith_error *err);

/* Sets what params->preset names (presets.c). */
PITH_NODISCARD pith_status pith__params_apply_preset(pith__params *params,
                                                     const pith_allocator *mem, pith_error *err);

/* One value as text; see pith_ctx_get(). */
PITH_NODISCARD pith_status pith__params_get(const pith__params *params, const char *name,
                                            char *value, size_t size, pith_error *err);

/* ---- context ------------------------------------------------------------------------ */

struct pith_ctx {
    const pith_model *model;
    const pith_tokenizer *counter; /* whose tokens the budget is in; never NULL */
    pith__params params;
    const pith_compressor *compressor; /* or NULL */
    pith__protect *protect;            /* compiled from params; NULL: not yet, or nothing to keep */
    pith__arena arena;                 /* everything of one call */
    pith_progress_fn progress;
    void *progress_user;
};

/* ---- capsules and pieces of a prompt (capsule.c, pieces.c) ------------------------------- */

struct pith_capsule {
    pith_allocator mem;
    pith__capsule *capsule;
};

/* Takes *capsule over, which is NULL afterwards, also on failure. E_MEMORY. */
PITH_NODISCARD pith_status pith__capsule_wrap(pith__capsule **capsule, pith_capsule **out,
                                              pith_error *err);

/* The ids of `text`, special tokens neither added nor recognised, in the context's arena. */
PITH_NODISCARD pith_status pith__encode_ids(pith_ctx *ctx, const char *text, size_t size,
                                            uint32_t **ids, size_t *count, pith_error *err);

/* Text as ids, or a capsule. */
typedef struct pith__read_piece {
    const uint32_t *ids;
    size_t count; /* of the ids */
    const pith__capsule *capsule;
} pith__read_piece;

/* A prompt that was checked against model and context's parameters. In the context's arena. */
typedef struct pith__read_pieces {
    pith__read_piece *items;
    size_t count;
    uint32_t bos;     /* PITH__NO_ID: none comes first */
    uint32_t ending;  /* BOS once more, behind everything; PITH__NO_ID: not */
    size_t tokens;    /* that it takes in the cache, BOS included */
    size_t positions; /* that it stands for, BOS included */
} pith__read_pieces;

/*
 * Checks the capsules, tokenises the texts, each on its own, and sees whether BOS comes first. What
 * stands in `before` is put in front. Fails with E_UTF8, E_MISMATCH, E_CONTEXT or E_MEMORY.
 */
PITH_NODISCARD pith_status pith__pieces_prepare(pith_ctx *ctx, const pith_piece *before,
                                                size_t n_before, const pith_piece *pieces,
                                                size_t count, pith__read_pieces *out,
                                                pith_error *err);

/* BOS comes once more behind them. E_ARGUMENT: the model has none; E_CONTEXT. */
PITH_NODISCARD pith_status pith__pieces_end_with_bos(const pith_ctx *ctx, pith__read_pieces *pieces,
                                                     pith_error *err);

/* The reader, which has read nothing, reads them. Fails like the reader's functions. */
PITH_NODISCARD pith_status pith__pieces_read(const pith__read_pieces *pieces, pith__reader *reader,
                                             pith_error *err);

/* ---- compressors (compressor.c, encode_compressor.c) --------------------------------------- */

struct pith_compressor {
    pith_allocator mem;
    const pith_model *model;
    pith__weights weights;        /* all that was learned */
    pith__compressor_about about; /* its record is `record` */
    pith__compressor compressor;  /* looks at `weights` */
    pith__model encoder;          /* the model with the adapter in it; all zero: the model itself */
    pith__buf record;
    char sha256[PITH__SHA256_SIZE]; /* of the file */
};

/* A capsule of a text, which was checked, by a method with a compressor. See pith_encode(). */
PITH_NODISCARD pith_status pith__encode_compressed(pith_ctx *ctx, const char *text, size_t size,
                                                   pith__capsule **out, pith_error *err);

/*
 * Fills in what all methods say of a capsule of `text`: its source but for the tokens, the binding,
 * and the record: {"method", "pith", "slots", "model"} and what `more` has, as ", \"key\": value".
 */
PITH_NODISCARD pith_status pith__encode_finish(const pith_ctx *ctx, const char *text, size_t size,
                                               const char *more, pith__capsule *capsule,
                                               pith_error *err);

/* ---- one call ------------------------------------------------------------------------ */

/* The tokens of a text and their self-information. In the context's arena. */
typedef struct pith__scored {
    pith_token_score *tokens;
    size_t count;
    size_t forwarded;
    double seconds;
} pith__scored;

/* What pith_score() and pith_score_after() give. */
struct pith_scores {
    pith_allocator mem;
    pith_token_score *tokens;
    size_t count;
    size_t forwarded;
};

/* Refuses ill-formed UTF-8 unless the parameters allow it. */
PITH_NODISCARD pith_status pith__check_text(const pith_ctx *ctx, const char *text, size_t size,
                                            pith_error *err);

/*
 * Scores `text`. `pieces`: ranges that are tokenised and scored each on its own,
 * ascending; tokens have offsets of `text`. NULL: the text as one piece.
 */
PITH_NODISCARD pith_status pith__score_text(pith_ctx *ctx, const char *text, size_t size,
                                            const pith__spans *pieces, pith__scored *out,
                                            pith_error *err);

/*
 * How the parameters want a text cut into windows: of the model's context, but at most `most`
 * tokens, if they do not say. E_RANGE if they do not go together.
 */
PITH_NODISCARD pith_status pith__window_options(const pith_ctx *ctx, size_t most,
                                                pith__score_options *out, pith_error *err);

/* The parameter "threads"; 0 becomes the number of processors. */
unsigned pith__thread_count(const pith_ctx *ctx);

/* ---- model for LLMLingua's methods (lm.c) --------------------------------------------- */

/*
 * The context's model as LLMLingua's methods want it. Streams take memory when first used.
 * `lm` points at the adapter, which must stay where it is.
 */
typedef struct pith__lm_adapter {
    pith__lm lm;
    pith_ctx *ctx;
    pith__stream streams[PITH__LM_STREAMS];
    pith__tokens tokens; /* of the text at hand */
    size_t forwarded;    /* tokens the model ran over, */
    double seconds;      /* and how long; both stay readable after deinit */
    size_t done;         /* for progress: tokens read so far, */
    size_t total;        /* and in all as far as the caller knows */
} pith__lm_adapter;

/* The same tokens as pith__lm hands them out, in `arena`. */
PITH_NODISCARD pith_status pith__lm_tokens_from(const pith__tokens *tokens, pith__arena *arena,
                                                pith__lm_tokens *out, pith_error *err);

void pith__lm_adapter_init(pith__lm_adapter *adapter, pith_ctx *ctx); /* fills adapter->lm */
void pith__lm_adapter_deinit(pith__lm_adapter *adapter);

#endif /* PITH_API_H */
