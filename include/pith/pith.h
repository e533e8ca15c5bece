/*
 * pith.h: shorter prompts, same answers.
 *
 *     pith_model *model = NULL;
 *     pith_ctx *ctx = NULL;
 *     pith_result *result = NULL;
 *     pith_error err;
 *     if (pith_model_open(NULL, NULL, &model, &err) ||
 *         pith_ctx_new(model, &ctx, &err) ||
 *         pith_ctx_set(ctx, "rate", "0.5", &err) ||
 *         pith_compress(ctx, text, size, &result, &err)) {
 *         fprintf(stderr, "pith: %s\n", err.message);
 *     } else {
 *         fwrite(pith_result_text(result), 1, pith_result_size(result), stdout);
 *     }
 *     pith_result_free(result);
 *     pith_ctx_free(ctx);
 *     pith_model_free(model);
 *
 * The header is a ladder: version, errors, callbacks, model, context and
 * parameters, compressing, scoring, rendering, tokenizers, files, capsules,
 * generating, probing, training, benchmark.
 * Read until you have what you need.
 *
 * Everywhere: text is bytes and a length, borrowed for the call and never
 * changed; sizes and offsets are bytes; self-information is in nats; every
 * `*_free` accepts NULL; a function that fails leaves its out-pointer NULL.
 */
#ifndef PITH_H
#define PITH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(PITH_BUILD) && defined(__GNUC__)
#define PITH_API __attribute__((visibility("default")))
#else
#define PITH_API
#endif

#ifdef __GNUC__
#define PITH_NODISCARD __attribute__((warn_unused_result))
#else
#define PITH_NODISCARD
#endif

/* ---------------------------------------------------------------------------
 * Version
 * ------------------------------------------------------------------------ */

#define PITH_VERSION_MAJOR 0
#define PITH_VERSION_MINOR 5
#define PITH_VERSION_PATCH 0

/* Version of the library that runs, as "major.minor.patch"; static storage. */
PITH_API const char *pith_version(void);

/* ---------------------------------------------------------------------------
 * Errors
 *
 * Every call that can fail returns a pith_status and writes its result through
 * a pointer. PITH_OK is 0, so `if (status)` means "something went wrong".
 * Numbers are permanent: a code is never renumbered or reused, new ones go at
 * the end of their group. The third column is the exit code of the program.
 *
 * Calls that can fail in more than one way also take a pith_error, which may
 * be NULL. It lives on the caller's stack, so reporting "out of memory" needs
 * no memory and two threads never share a message.
 * ------------------------------------------------------------------------ */

#define PITH_STATUS_MAP(X)                                             \
    /* the caller asked for something impossible */                    \
    X(E_ARGUMENT, 1, 2, "invalid argument")                            \
    X(E_RANGE, 2, 2, "parameter outside its bounds")                   \
    X(E_BUDGET, 3, 5, "protected text alone exceeds the budget")       \
    X(E_CANCELLED, 4, 4, "stopped by the caller")                      \
    /* the bytes we were given are not what they claim to be */        \
    X(E_UTF8, 20, 3, "text is not valid UTF-8")                        \
    X(E_CORRUPT, 21, 3, "artefact is damaged")                         \
    X(E_MISMATCH, 22, 3, "artefact was made for a different model")    \
    X(E_UNSUPPORTED, 23, 3, "artefact needs a feature we do not have") \
    X(E_SYNTAX, 24, 3, "text has a syntax error")                      \
    /* the world outside got in the way */                             \
    X(E_MEMORY, 40, 4, "out of memory")                                \
    X(E_IO, 41, 4, "input/output error")                               \
    X(E_CONTEXT, 42, 4, "text does not fit in the model context")      \
    X(E_BACKEND, 43, 4, "the model backend failed")                    \
    /* our fault */                                                    \
    X(E_INTERNAL, 60, 70, "internal error, please report it")

typedef enum pith_status {
    PITH_OK = 0,
#define X(name, code, exit_code, text) PITH_##name = (code),
    PITH_STATUS_MAP(X)
#undef X
} pith_status;

/* `offset` of an error that does not point at a byte. */
#define PITH_NO_OFFSET SIZE_MAX

typedef struct pith_error {
    pith_status status;
    size_t offset;     /* byte of the input the error points at, or PITH_NO_OFFSET */
    char message[232]; /* one line, NUL-terminated, no trailing newline */
} pith_error;

/* "E_UTF8" and so on; "OK" for 0; "unknown" for a number that is no status. Static storage. */
PITH_API const char *pith_status_name(pith_status status);

/* One general sentence about the status; pith_error.message says more. Static storage. */
PITH_API const char *pith_status_text(pith_status status);

/* Exit code that the program uses: 0, 2 usage, 3 bad input, 4 environment, 5 budget, 70 our bug. */
PITH_API int pith_status_exit_code(pith_status status);

/* ---------------------------------------------------------------------------
 * Callbacks
 * ------------------------------------------------------------------------ */

/*
 * All host memory of ours comes through one function, Lua's contract:
 *
 *   ptr == NULL              allocate new_size bytes (old_size is 0)
 *   new_size == 0            release ptr, return NULL; cannot fail
 *   otherwise                resize, keep the common prefix; on failure return
 *                            NULL and leave ptr as it was
 *
 * Alignment as malloc. A call that works with several threads (parameter "threads")
 * calls it from several threads at once, as malloc can be. (If the system cannot
 * start that many threads, gcc's OpenMP ends the process: ask for sane numbers.)
 * Not covered: calls that have neither a model nor an allocator (rendering,
 * pith_inspect(), pith_bench()), and what oneDNN, ICU, PCRE2, jansson and the C
 * library allocate.
 */
typedef struct pith_allocator {
    void *user;
    void *(*realloc)(void *user, void *ptr, size_t old_size, size_t new_size);
} pith_allocator;

typedef enum pith_log_level {
    PITH_LOG_DEBUG = 0,
    PITH_LOG_INFO = 1,
    PITH_LOG_WARNING = 2
} pith_log_level;

/* One line without newline. The library itself never prints. */
typedef void (*pith_log_fn)(void *user, pith_log_level level, const char *message);

/*
 * Progress of a long call: `done` of `total` tokens of `stage` ("score", ...).
 * Called now and then from the calling thread, not necessarily at the end.
 * Return false to stop the call with E_CANCELLED.
 */
typedef bool (*pith_progress_fn)(void *user, const char *stage, size_t done, size_t total);

/* Receives output piece by piece. Return false to stop with E_IO. */
typedef bool (*pith_write_fn)(void *user, const char *data, size_t size);

/* ---------------------------------------------------------------------------
 * Model: weights and tokenizer. Immutable after opening, shared by threads,
 * must outlive its contexts.
 * ------------------------------------------------------------------------ */

typedef struct pith_model pith_model;

typedef enum pith_precision {
    PITH_PRECISION_AUTO = 0, /* int8 */
    PITH_PRECISION_F32 = 1,  /* 32-bit floats: the reference */
    PITH_PRECISION_INT8 = 2  /* int8 products (weights per output channel, activations per token) */
} pith_precision;

typedef struct pith_model_options {
    size_t struct_size;              /* sizeof(pith_model_options); a smaller one of an older
                                        header is taken, what it lacks is as if 0 */
    const pith_allocator *allocator; /* NULL: malloc. Copied; user must outlive the model */
    pith_log_fn log;                 /* NULL: silent */
    void *log_user;
    pith_precision precision;
    const char *lora; /* NULL: none. Path of a LoRA adapter (GGUF, as of llama.cpp) to add to the
                         weights while they are loaded; not needed afterwards */
} pith_model_options;

/*
 * Opens a GGUF model of the llama architecture with a byte-level BPE tokenizer.
 *
 * path     NULL for the model built into the library. A file is mapped, not
 *          read: keep it unchanged while the model is open.
 * options  NULL for the defaults.
 *
 * Fails with E_IO, E_CORRUPT (err->offset is a byte of the file), E_UNSUPPORTED
 * (architecture, tokenizer or tensor type named in the message), E_MISMATCH (an
 * adapter of another model), E_ARGUMENT, E_MEMORY or E_BACKEND.
 */
PITH_API PITH_NODISCARD pith_status pith_model_open(const char *path,
                                                    const pith_model_options *options,
                                                    pith_model **out, pith_error *err);

/* The same from memory. `data` is borrowed until pith_model_free(). */
PITH_API PITH_NODISCARD pith_status pith_model_open_memory(const void *data, size_t size,
                                                           const pith_model_options *options,
                                                           pith_model **out, pith_error *err);

PITH_API void pith_model_free(pith_model *model);

typedef struct pith_model_info {
    const char *name;         /* general.name, or "" */
    const char *architecture; /* "llama" */
    uint64_t parameters;      /* number of weights */
    size_t weight_bytes;      /* memory that the weights take, mapped or owned */
    uint32_t context;         /* tokens the model can see at once */
    uint32_t vocabulary;
    uint32_t layers;
    uint32_t width; /* d, the size of a hidden state */
    pith_precision precision;
} pith_model_info;

/* Cannot fail. Strings live as long as the model. */
PITH_API pith_model_info pith_model_describe(const pith_model *model);

/* ---------------------------------------------------------------------------
 * Context and parameters
 *
 * A context belongs to one thread at a time and holds the parameters and the
 * working memory. Parameters are sticky and set by name from text, so a
 * program, a server and a configuration file share one table; the table itself
 * can be listed, and the program's --help, man page and completion are made
 * from it.
 * ------------------------------------------------------------------------ */

typedef struct pith_ctx pith_ctx;

/* Fails with E_MEMORY. `model` is borrowed. */
PITH_API PITH_NODISCARD pith_status pith_ctx_new(const pith_model *model, pith_ctx **out,
                                                 pith_error *err);
PITH_API void pith_ctx_free(pith_ctx *ctx);

/*
 * Sets parameter `name` ("rate", "target-tokens", ...) from text. A list
 * parameter ("keep", "keep-regex", "keep-tag") gets one more entry per call.
 * Fails with E_ARGUMENT (no such parameter, not a number, not one of the
 * choices), E_RANGE, E_SYNTAX or E_UTF8 (a regular expression, a query; err->offset
 * is a byte of `value`) or E_MEMORY. A failed call changes nothing.
 */
PITH_API PITH_NODISCARD pith_status pith_ctx_set(pith_ctx *ctx, const char *name, const char *value,
                                                 pith_error *err);

/* Room for the text of any value that is no list and no question. */
#define PITH_VALUE_SIZE 64

/*
 * Writes the value of parameter `name` as text that pith_ctx_set() takes, NUL-terminated, in at
 * most `size` bytes (PITH_VALUE_SIZE are enough for all but "query"); "" for a number that is not
 * set. Fails with E_ARGUMENT (no such parameter, or a list) or E_RANGE (`size` is too small); `value`
 * is then "", unless size is 0.
 */
PITH_API PITH_NODISCARD pith_status pith_ctx_get(const pith_ctx *ctx, const char *name, char *value,
                                                 size_t size, pith_error *err);

/* All parameters back to their defaults, lists emptied; callbacks, counter and compressor stay. */
PITH_API void pith_ctx_reset(pith_ctx *ctx);

/* NULL switches progress off. */
PITH_API void pith_ctx_set_progress(pith_ctx *ctx, pith_progress_fn progress, void *user);

typedef enum pith_param_type {
    PITH_PARAM_INT,   /* a whole number within [min, max] */
    PITH_PARAM_FLOAT, /* a decimal number within [min, max] */
    PITH_PARAM_FLAG,  /* true or false */
    PITH_PARAM_ENUM,  /* one of `choices` */
    PITH_PARAM_LIST,  /* text, may be given several times */
    PITH_PARAM_TEXT,  /* text; of a context at most PITH_VALUE_SIZE - 1 bytes, "query" apart */
    PITH_PARAM_PATH   /* name of a file */
} pith_param_type;

typedef struct pith_param_info {
    const char *name; /* "target-tokens" */
    char letter;      /* short option of the program, or 0 */
    pith_param_type type;
    double min, max;           /* inclusive; numbers only */
    const char *default_value; /* text, as pith_ctx_set() takes it; "" if unset */
    const char *choices;       /* "token|word|phrase|sentence", or "" */
    const char *unit;          /* "tokens", "nats", "share", or ""; "files": a list of them */
    const char *since;         /* version that brought it */
    const char *scope;         /* "score": scoring and compressing; "compress": compressing only;
                                  "encode": making capsules; "generate": generating; "random": all
                                  that draws at random;
                                  of a training: "data", "model", "training", "lora", "optimizer" or
                                  "files", what it is about */
    const char *help;          /* one or two sentences */
} pith_param_info;

PITH_API size_t pith_param_count(void);

/* NULL if index is out of range. Static storage, sorted as --help shows them. */
PITH_API const pith_param_info *pith_param_at(size_t index);

/* ---------------------------------------------------------------------------
 * Compressing
 * ------------------------------------------------------------------------ */

typedef struct pith_tokenizer pith_tokenizer; /* see "Counting tokenizer" */
typedef struct pith_result pith_result;       /* owned by the caller, immutable, borrows nothing */

/* Bytes [start, end) of the input. */
typedef struct pith_range {
    size_t start;
    size_t end;
} pith_range;

/* A piece of the input that was kept or dropped as a whole. */
typedef struct pith_unit {
    size_t start; /* bytes [start, end) of the input */
    size_t end;
    float nats; /* its self-information as the mode aggregates it; NaN where nothing precedes */
    uint32_t tokens;   /* scorer's tokens in it */
    bool kept;         /* part of the output */
    bool is_protected; /* kept because a rule said so */
} pith_unit;

typedef struct pith_stats {
    size_t source_tokens;  /* of the input without its keep tags, by the counting tokenizer */
    size_t kept_tokens;    /* of the output, by the counting tokenizer */
    size_t budget_tokens;  /* what was asked for; SIZE_MAX if the mode has no token budget */
    size_t scored_tokens;  /* scorer's tokens in the input */
    size_t forward_tokens; /* tokens the model ran over, overlaps and BOS included */
    size_t units;
    size_t units_kept;
    size_t units_protected;
    double score_seconds;  /* time in the model */
    double select_seconds; /* everything else */
} pith_stats;

/*
 * Compresses `text` with the parameters set on `ctx`.
 *
 * text   UTF-8 of `size` bytes, no NUL needed. size == 0 gives an empty result.
 *        Ill-formed UTF-8 is refused with its position unless the parameter
 *        "invalid-utf8" is "keep": then each such byte is a character.
 * out    receives a new result, to be released with pith_result_free().
 *
 * The output is made of byte ranges of the input, in order. In mode "pith" it
 * never holds more than the budget in tokens of the counting tokenizer, never
 * splits a grapheme cluster, and holds all protected text byte for byte. The
 * same text, parameters, model, build and kind of processor give the same
 * bytes, whatever the number of threads.
 *
 * Fails with E_ARGUMENT (parameters that exclude each other), E_RANGE (a window
 * that the model cannot have, a regular expression that takes too many steps, a
 * text of 4 GiB), E_UTF8 (err->offset is the bad byte), E_SYNTAX (a keep tag
 * without its partner), E_BUDGET, E_CANCELLED, E_MEMORY, E_BACKEND, or E_CORRUPT
 * (the model's weights give predictions that are no numbers). After a failure
 * `ctx` is still usable.
 */
PITH_API PITH_NODISCARD pith_status pith_compress(pith_ctx *ctx, const char *text, size_t size,
                                                  pith_result **out, pith_error *err);
PITH_API void pith_result_free(pith_result *result);

/* The compressed text, NUL-terminated; valid until pith_result_free(). */
PITH_API const char *pith_result_text(const pith_result *result);
PITH_API size_t pith_result_size(const pith_result *result);

/*
 * The ranges of the source that the text is made of, in the order of the text:
 * ascending, not touching, unless parts stand in another order in the output. In mode
 * "pith", and of method selective in mode "paper", the text is exactly these bytes.
 * Elsewhere the release's own joiners may stand between them (one space for
 * selective, "\n\n" between the parts of a prompt for llmlingua), and U+FFFD for
 * a character that lost a byte.
 */
PITH_API const pith_range *pith_result_ranges(const pith_result *result, size_t *count);

/* All units in the order of the source, kept or not. Markup tags are in no unit. */
PITH_API const pith_unit *pith_result_units(const pith_result *result, size_t *count);

PITH_API pith_stats pith_result_stats(const pith_result *result);

/* ---------------------------------------------------------------------------
 * Prompts of several parts
 *
 * A prompt is an instruction, contexts (documents, demonstrations, turns) and a
 * question. Contexts are ranked, dropped whole or shortened; instruction and
 * question stay as they are, except in mode paper, which shortens them lightly.
 * The output is what remains of the instruction, the contexts and the question,
 * in this order, an empty line between any two that are not empty.
 *
 * The source of such a result is all parts in the order given, "\n\n" between
 * any two: offsets of ranges, units and part statistics are bytes of it.
 * ------------------------------------------------------------------------ */

typedef enum pith_role {
    PITH_CONTEXT = 0,
    PITH_INSTRUCTION = 1, /* at most one */
    PITH_QUESTION = 2     /* at most one; what the contexts are judged by, if the method can */
} pith_role;

typedef struct pith_part {
    pith_role role;
    const char *text; /* UTF-8, borrowed; NULL if size is 0 */
    size_t size;
} pith_part;

/*
 * Compresses a prompt of `count` parts; pith_compress() is this with one context.
 * Fails like it; E_UTF8 and E_SYNTAX point at bytes of the source. Also E_ARGUMENT
 * for a second instruction or question, and for method longllmlingua without one.
 */
PITH_API PITH_NODISCARD pith_status pith_compress_parts(pith_ctx *ctx, const pith_part *parts,
                                                        size_t count, pith_result **out,
                                                        pith_error *err);

/* The source as defined above. */
PITH_API const char *pith_result_source(const pith_result *result, size_t *size);

typedef struct pith_part_stats {
    pith_role role;
    size_t start; /* bytes [start, end) of the source */
    size_t end;
    size_t source_tokens; /* by the counting tokenizer */
    size_t kept_tokens;
    double score; /* of the ranker, larger is better; NaN where nothing was ranked */
    size_t place; /* among the parts of the output, from 0; SIZE_MAX: dropped as a whole */
} pith_part_stats;

/* One for every part, in the order given. */
PITH_API const pith_part_stats *pith_result_parts(const pith_result *result, size_t *count);

/*
 * Ranks the contexts among `parts` by the parameter "rank-method", for the question
 * if there is one. order[0..] (as many as there are contexts) receives indices into
 * `parts`, best first; scores[i] (scores may be NULL) that of order[i], larger is better.
 * Fails like pith_compress_parts().
 */
PITH_API PITH_NODISCARD pith_status pith_rank(pith_ctx *ctx, const pith_part *parts, size_t count,
                                              size_t *order, double *scores, pith_error *err);

/*
 * Subsequence recovery (LongLLMLingua, section 4.4): phrases of a model's `response`
 * that also stand in the compressed prompt are replaced by the stretch of the
 * original prompt they were cut from. The new response goes to `write`.
 * Fails with E_RANGE (4 GiB or more), E_MEMORY, E_BACKEND, or E_IO if `write`
 * returns false.
 */
PITH_API PITH_NODISCARD pith_status pith_recover(const pith_tokenizer *tokenizer,
                                                 const pith_part *original,
                                                 const pith_part *compressed,
                                                 const pith_part *response, pith_write_fn write,
                                                 void *user, pith_error *err);

/* ---------------------------------------------------------------------------
 * Scoring: self-information of every token
 * ------------------------------------------------------------------------ */

typedef struct pith_scores pith_scores; /* owned by the caller, immutable, borrows nothing */

typedef struct pith_token_score {
    size_t start; /* bytes [start, end) of the input */
    size_t end;
    uint32_t id; /* in the model's vocabulary */
    float nats;  /* -ln p(token | what precedes it); NaN where nothing precedes */
} pith_token_score;

/*
 * Scores `text`. Text longer than the model's context is read in overlapping
 * windows (parameters "ctx-size" and "overlap"); every token gets exactly one
 * score. Fails like pith_compress(), E_BUDGET and E_SYNTAX excepted.
 */
PITH_API PITH_NODISCARD pith_status pith_score(pith_ctx *ctx, const char *text, size_t size,
                                               pith_scores **out, pith_error *err);
PITH_API void pith_scores_free(pith_scores *scores);
PITH_API const pith_token_score *pith_scores_tokens(const pith_scores *scores, size_t *count);

/* Tokens the model ran over for these scores, overlaps and BOS included. */
PITH_API size_t pith_scores_forwarded(const pith_scores *scores);

/* ---------------------------------------------------------------------------
 * Rendering
 * ------------------------------------------------------------------------ */

/*
 * Heat maps over a text and its units: kept or dropped, self-information as
 * colour. The ANSI form uses 256 colours, or none at all (dropped text between
 * brackets) when `color` is false. The HTML form is one self-contained page,
 * for light and dark, values on hover. `title` may be NULL, `stats` too.
 *
 * ranges  pith_result_ranges(): what of the text is in the output, which is not
 *         quite the kept units, as white space between them may stay or go.
 *         NULL: worked out from the units as mode "pith" does.
 *
 * Units and ranges must be ascending, disjoint and within the text. Fails with
 * E_ARGUMENT, E_MEMORY, or E_IO if `write` returns false.
 */
PITH_API PITH_NODISCARD pith_status pith_render_ansi(const char *text, size_t size,
                                                     const pith_unit *units, size_t count,
                                                     const pith_range *ranges, size_t range_count,
                                                     bool color, pith_write_fn write, void *user,
                                                     pith_error *err);
PITH_API PITH_NODISCARD pith_status pith_render_html(const char *text, size_t size,
                                                     const pith_unit *units, size_t count,
                                                     const pith_range *ranges, size_t range_count,
                                                     const pith_stats *stats, const char *title,
                                                     pith_write_fn write, void *user,
                                                     pith_error *err);

/* ---------------------------------------------------------------------------
 * Counting tokenizer: whose tokens the budget is in
 * ------------------------------------------------------------------------ */

/*
 * Opens a GGUF file (only its vocabulary is used) or a tiktoken rank file,
 * whose pattern is chosen by its name (r50k, p50k, cl100k, o200k).
 * Fails like pith_model_open().
 */
PITH_API PITH_NODISCARD pith_status pith_tokenizer_open(const char *path,
                                                        const pith_allocator *allocator,
                                                        pith_tokenizer **out, pith_error *err);
PITH_API void pith_tokenizer_free(pith_tokenizer *tokenizer);

/* Tokens of `text`, special tokens neither added nor recognised. Fails with E_RANGE
 * (4 GiB or more), E_MEMORY or E_BACKEND. */
PITH_API PITH_NODISCARD pith_status pith_tokenizer_count(const pith_tokenizer *tokenizer,
                                                         const char *text, size_t size,
                                                         size_t *count, pith_error *err);

/* The tokenizer of `model`, to count with; lives as long as the model, never NULL. */
PITH_API const pith_tokenizer *pith_model_tokenizer(const pith_model *model);

/* Budgets of `ctx` are in these tokens from now on; NULL: the model's. Borrowed. */
PITH_API void pith_ctx_set_counter(pith_ctx *ctx, const pith_tokenizer *tokenizer);

/* ---------------------------------------------------------------------------
 * Files
 * ------------------------------------------------------------------------ */

/*
 * Describes a GGUF file: metadata, tensors, sizes; as text or as one JSON
 * object. Fails with E_IO, E_CORRUPT or E_UNSUPPORTED (err->offset is a byte of
 * the file), or E_MEMORY.
 */
PITH_API PITH_NODISCARD pith_status pith_inspect(const char *path, bool json, pith_write_fn write,
                                                 void *user, pith_error *err);

/* ---------------------------------------------------------------------------
 * Capsules: what stands for a text in few virtual tokens
 *
 * A capsule is made for one model, with one adapter or none, and read by no other: it is bound to
 * them by SHA-256.
 * ------------------------------------------------------------------------ */

typedef struct pith_capsule pith_capsule; /* owned by the caller, immutable, borrows nothing */

/*
 * Reads a capsule. Fails with E_IO, E_CORRUPT (no capsule, truncated, damaged; err->offset is a byte
 * of the file where there is one), E_UNSUPPORTED (of a later version) or E_MEMORY.
 */
PITH_API PITH_NODISCARD pith_status pith_capsule_open(const char *path,
                                                      const pith_allocator *allocator,
                                                      pith_capsule **out, pith_error *err);

/* The same from memory; `data` is not kept. */
PITH_API PITH_NODISCARD pith_status pith_capsule_open_memory(const void *data, size_t size,
                                                             const pith_allocator *allocator,
                                                             pith_capsule **out, pith_error *err);
PITH_API void pith_capsule_free(pith_capsule *capsule);

typedef enum pith_capsule_type {
    PITH_CAPSULE_F16 = 0,
    PITH_CAPSULE_F32 = 1,
    PITH_CAPSULE_INT8 = 2 /* with a scale for every row */
} pith_capsule_type;

/* Writes a GGUF file, which appears when it is complete. E_IO, E_RANGE or E_MEMORY. */
PITH_API PITH_NODISCARD pith_status pith_capsule_save(const pith_capsule *capsule,
                                                      pith_capsule_type type, const char *path,
                                                      pith_error *err);

typedef struct pith_capsule_info {
    size_t struct_size;    /* sizeof of the library's struct: later versions may add members */
    const char *method;    /* "cc", "gist", "500x", "icae", "selfcp", "mean" */
    const char *kind;      /* "embeddings" or "kv" */
    uint32_t slots;        /* virtual tokens */
    uint32_t layers;       /* kv: of the model; else 0 */
    uint32_t width;        /* numbers of a row */
    uint64_t source_bytes; /* of the text it stands for */
    uint64_t source_tokens;
    const char *source_sha256;
    const char *position_mode; /* "continue": what follows stands where it would after the text;
                                  "compact": right after the slots; "release": as many places on
                                  as there are slots, wherever these are */
    uint32_t advance;          /* positions it takes */
    bool bos;                  /* BOS precedes it in a prompt that begins with it */
    const char *model_sha256;
    const char *tokenizer_sha256;
    const char *adapter_sha256; /* "": none */
    const char *record;         /* how it was made: a JSON object */
} pith_capsule_info;

/* Cannot fail. Strings live as long as the capsule. */
PITH_API pith_capsule_info pith_capsule_describe(const pith_capsule *capsule);

/* Whether `model` may read it: PITH_OK, or E_MISMATCH with both hashes in the message. */
PITH_API PITH_NODISCARD pith_status pith_capsule_check(const pith_capsule *capsule,
                                                       const pith_model *model, pith_error *err);

/*
 * Makes a capsule of `text` by the parameter "method":
 *
 *     gist  one pass of a model that was trained to gist (recipe gist), "slots" copies of its token
 *           (default: as many as were trained)
 *     cc    a soft prompt of "slots" rows, trained for this text against continuations that the
 *           model itself writes ("steps", "kl"); recipe cc has more to choose from. Progress has
 *           stage "imagine", in tokens of these, and then "encode", in steps
 *     500x, icae, selfcp
 *           one pass of the context's compressor, which has this method ("slots", "ratio",
 *           "query"); a text beyond its window becomes several segments. Progress has stage "encode",
 *           in tokens
 *     mean  means of "slots" equal parts of the text (default 16), of what "pool" says: the baseline
 *           without parameters
 *
 * Fails with E_ARGUMENT (another method, an empty text, no compressor), E_UNSUPPORTED (a model that was
 * not trained to gist), E_MISMATCH (a compressor of another method), E_UTF8, E_CONTEXT, E_CANCELLED,
 * E_MEMORY or E_BACKEND.
 */
PITH_API PITH_NODISCARD pith_status pith_encode(pith_ctx *ctx, const char *text, size_t size,
                                                pith_capsule **out, pith_error *err);

/*
 * One capsule of several, as if they were read one after the other. They are of one kind, method and
 * position mode, and made for one model (E_MISMATCH). E_ARGUMENT: count is 0. E_MEMORY.
 */
PITH_API PITH_NODISCARD pith_status pith_capsule_join(const pith_capsule *const *capsules,
                                                      size_t count, const pith_allocator *allocator,
                                                      pith_capsule **out, pith_error *err);

/* What a capsule saves a reader who would read its text first, and then `question` tokens. */
typedef struct pith_savings {
    size_t struct_size;
    double flops_full;    /* reading text and question */
    double flops_capsule; /* reading the question after the capsule */
    double flops_cached;  /* reading the question after the text's cached keys and values */
    uint64_t cache_full;  /* bytes of the text's keys and values in f16 */
    uint64_t cache_capsule;
    uint64_t stored_bytes; /* of the capsule's numbers in type */
} pith_savings;

PITH_API pith_savings pith_capsule_savings(const pith_capsule *capsule, const pith_model *model,
                                           size_t question, pith_capsule_type type);

/* ---------------------------------------------------------------------------
 * Compressors: what was trained to put any text into few virtual tokens of one frozen model
 * (recipes 500x, icae, selfcp)
 * ------------------------------------------------------------------------ */

typedef struct pith_compressor
    pith_compressor; /* owned by the caller, immutable; several contexts may use it at once */

/*
 * Opens a compressor for `model`, which must outlive it and was opened without an adapter. 500x and
 * icae take the memory of a second copy of the model, with their adapter in it, at the model's
 * precision. Fails with E_IO, E_CORRUPT, E_UNSUPPORTED (no compressor, of a later version),
 * E_MISMATCH (of another model: both hashes are named) or E_MEMORY.
 */
PITH_API PITH_NODISCARD pith_status pith_compressor_open(const char *path, const pith_model *model,
                                                         pith_compressor **out, pith_error *err);

/* The same from memory; `data` is not kept. */
PITH_API PITH_NODISCARD pith_status pith_compressor_open_memory(const void *data, size_t size,
                                                                const pith_model *model,
                                                                pith_compressor **out,
                                                                pith_error *err);
PITH_API void pith_compressor_free(pith_compressor *compressor);

typedef struct pith_compressor_info {
    size_t struct_size;
    const char *method; /* "500x", "icae", "selfcp" */
    const char *name;
    uint32_t slots;            /* of a segment at most; selfcp: 0, see ratio */
    bool elastic;              /* fewer than `slots` may be asked for */
    uint32_t ratio;            /* selfcp: tokens of text per slot; others: 0 */
    uint32_t window;           /* tokens of a segment at most */
    const char *layout;        /* "uniform": slots stand spread over the text; "end": behind it */
    const char *position_mode; /* as of its capsules */
    const char *format;        /* how questions were put in training; "": they were not */
    bool conditional;          /* selfcp: trained to read the question before the text */
    uint64_t parameters;       /* learned */
    const char *record;        /* how it was trained: a JSON object */
} pith_compressor_info;

/* Cannot fail. Strings live as long as the compressor. */
PITH_API pith_compressor_info pith_compressor_describe(const pith_compressor *compressor);

/*
 * pith_encode() uses it from now on: parameter "method" becomes the compressor's. Borrowed. NULL: none, the
 * method stays. E_ARGUMENT: it was opened for another model. E_MEMORY.
 */
PITH_API PITH_NODISCARD pith_status pith_ctx_set_compressor(pith_ctx *ctx,
                                                            const pith_compressor *compressor,
                                                            pith_error *err);

/* ---------------------------------------------------------------------------
 * Banks: demonstrations as capsules, found by their first memory token (SelfCP)
 * ------------------------------------------------------------------------ */

typedef struct pith_bank pith_bank; /* owned by the caller; belongs to one thread at a time */

/* An empty bank. E_MEMORY. */
PITH_API PITH_NODISCARD pith_status pith_bank_new(const pith_allocator *allocator, pith_bank **out,
                                                  pith_error *err);

/* Reads a bank. Fails like pith_capsule_open(). */
PITH_API PITH_NODISCARD pith_status pith_bank_open(const char *path,
                                                   const pith_allocator *allocator, pith_bank **out,
                                                   pith_error *err);
PITH_API void pith_bank_free(pith_bank *bank);

/*
 * Adds a copy of a capsule under a name. E_ARGUMENT: the name is empty, taken or has control characters, or
 * the capsule is not of kind "embeddings"; E_MISMATCH: it differs from those in the bank in method, model or
 * compressor (by the record); E_MEMORY.
 */
PITH_API PITH_NODISCARD pith_status pith_bank_add(pith_bank *bank, const char *name,
                                                  const pith_capsule *capsule, pith_error *err);

/* Fails like pith_capsule_save(); E_ARGUMENT also for an empty bank. */
PITH_API PITH_NODISCARD pith_status pith_bank_save(const pith_bank *bank, pith_capsule_type type,
                                                   const char *path, pith_error *err);
PITH_API size_t pith_bank_count(const pith_bank *bank);

/* NULL if the index is out of range. Lives as long as the bank is not changed. */
PITH_API const char *pith_bank_name(const pith_bank *bank, size_t index);

/* A copy of entry `index`. E_ARGUMENT: out of range; E_MEMORY. */
PITH_API PITH_NODISCARD pith_status pith_bank_capsule(const pith_bank *bank, size_t index,
                                                      const pith_allocator *allocator,
                                                      pith_capsule **out, pith_error *err);

/*
 * The `most` entries whose first memory token has the largest dot product with the first one of
 * `query`: order (most) and scores (most, or NULL), best first; *found of them. E_MISMATCH: made by another
 * method or for another model; E_MEMORY.
 */
PITH_API PITH_NODISCARD pith_status pith_bank_find(const pith_bank *bank, const pith_capsule *query,
                                                   size_t most, size_t *order, double *scores,
                                                   size_t *found, pith_error *err);

/* ---------------------------------------------------------------------------
 * Generating: what the model writes after a prompt of texts and capsules
 * ------------------------------------------------------------------------ */

/* A text, or a capsule in the place of one. */
typedef struct pith_piece {
    const char *text; /* UTF-8 of `size` bytes; not looked at if there is a capsule */
    size_t size;
    const pith_capsule *capsule; /* or NULL */
} pith_piece;

/*
 * Contrastive conditioning (CC): the next token is also judged by how likely it is after
 * `toward` and the prompt, as against `away` and the prompt. Weight and sharpness are omega and tau of
 * the paper. A list of pieces that is empty is the prompt alone.
 */
typedef struct pith_attribute {
    const pith_piece *toward;
    size_t n_toward;
    const pith_piece *away;
    size_t n_away;
    double omega;
    double tau; /* above 0 */
} pith_attribute;

typedef struct pith_generated_token {
    uint32_t id;
    float logprob; /* ln p(id) under the model after the prompt; sampling and attributes apart */
    const char
        *text; /* what may be shown now: whole code points, nothing that may yet become a stop
                         string; not NUL-terminated */
    size_t size;
} pith_generated_token;

/*
 * Called for every token as it is written, and once more with the id UINT32_MAX if text was held
 * back that is final at the end. Return false to stop with E_CANCELLED.
 */
typedef bool (*pith_token_fn)(void *user, const pith_generated_token *token);

typedef struct pith_generation
    pith_generation; /* owned by the caller, immutable, borrows nothing */

/*
 * Writes on from a prompt, by the parameters "max-tokens", "temperature", "top-k", "top-p", "min-p",
 * "repetition-penalty", "repetition-window", "seed", "stop" and "ignore-eos". Pieces are tokenised
 * each on its own. BOS comes first, if the model has one, unless a capsule does that was made to do
 * without. With the parameter "regenerate" the prompt ends with BOS, after which compressors are trained to
 * give their text back.
 *
 * Fails with E_ARGUMENT (nothing to write on from: an empty prompt without BOS, or one that ends with
 * a capsule of keys and values), E_MISMATCH (a capsule of another model), E_UTF8, E_CONTEXT, E_CANCELLED,
 * E_MEMORY or E_BACKEND.
 */
PITH_API PITH_NODISCARD pith_status pith_generate(pith_ctx *ctx, const pith_piece *prompt,
                                                  size_t count, const pith_attribute *attributes,
                                                  size_t n_attributes, pith_token_fn token,
                                                  void *user, pith_generation **out,
                                                  pith_error *err);
PITH_API void pith_generation_free(pith_generation *generation);

/* What was written; NUL-terminated. Special tokens have no text. */
PITH_API const char *pith_generation_text(const pith_generation *generation, size_t *size);

/* Tokens that were drawn; `text` of each is its own bytes, whole code points or not. */
PITH_API const pith_generated_token *pith_generation_tokens(const pith_generation *generation,
                                                            size_t *count);

typedef struct pith_generation_stats {
    size_t struct_size;
    size_t prompt_tokens;    /* read, BOS included, slots of capsules too */
    size_t prompt_positions; /* they stand for */
    size_t tokens;           /* drawn */
    const char *stop;        /* "length", "end", "stop" */
    double prompt_seconds;
    double generate_seconds;
} pith_generation_stats;

PITH_API pith_generation_stats pith_generation_describe(const pith_generation *generation);

/*
 * nats[i] receives -ln p of the pieces' tokens, as pith_score() has them, for `text` after `prompt`:
 * what a model that has read the prompt thinks of an answer. nats[0] is NaN where nothing is expected yet:
 * after nothing, and right after a capsule of keys and values. Fails like pith_generate().
 */
PITH_API PITH_NODISCARD pith_status pith_score_after(pith_ctx *ctx, const pith_piece *prompt,
                                                     size_t count, const char *text, size_t size,
                                                     pith_scores **out, pith_error *err);

/* ---------------------------------------------------------------------------
 * Probing: what a capsule knows of its text
 * ------------------------------------------------------------------------ */

/* A token of the text, recalled after "Now repeat the text:" (CC). */
typedef struct pith_recall {
    size_t start; /* bytes [start, end) of the text */
    size_t end;
    float hard; /* its nats after the text itself, */
    float soft; /* after the capsule, */
    float none; /* and after neither */
    float
        score; /* (p_soft - p_none) / (p_hard - p_none) within [0, 1]; NaN: the text does not help */
} pith_recall;

typedef struct pith_recalls pith_recalls; /* owned by the caller, immutable, borrows nothing */

/*
 * `text` is what the capsule stands for (E_MISMATCH by its hash). trigger: NULL for "\nNow repeat the
 * text:\n". The text is read twice: it may take a little less than half the context (E_CONTEXT).
 */
PITH_API PITH_NODISCARD pith_status pith_probe_recall(pith_ctx *ctx, const pith_capsule *capsule,
                                                      const char *text, size_t size,
                                                      const char *trigger, pith_recalls **out,
                                                      pith_error *err);
PITH_API void pith_recalls_free(pith_recalls *recalls);
PITH_API const pith_recall *pith_recalls_tokens(const pith_recalls *recalls, size_t *count);

/* Mean of the scores that are numbers; NaN if there is none. */
PITH_API double pith_recalls_mean(const pith_recalls *recalls);

/*
 * Heat maps of scores over a text, dark blue (0, forgotten) to yellow (1); tokens without a score are
 * plain. Without colour what scores below 0.5 stands in brackets: [-forgotten-]. The HTML form is one
 * self-contained page. Fails like pith_render_html().
 */
PITH_API PITH_NODISCARD pith_status pith_render_recall_ansi(const char *text, size_t size,
                                                            const pith_recall *tokens, size_t count,
                                                            bool color, pith_write_fn write,
                                                            void *user, pith_error *err);
PITH_API PITH_NODISCARD pith_status pith_render_recall_html(const char *text, size_t size,
                                                            const pith_recall *tokens, size_t count,
                                                            const char *title, pith_write_fn write,
                                                            void *user, pith_error *err);

/* ---------------------------------------------------------------------------
 * Training: text to tokenizers and models
 *
 * A training is one run of a recipe:
 *
 *     tokenizer   a byte-level BPE vocabulary from text
 *     base        a language model from scratch, or from another one
 *     align       a model tuned to prompts and their completions
 *     cc          a capsule of one text: a soft prompt trained for it
 *     distill     an adapter that makes a model behave as if it had read a text
 *     gist        a model, or an adapter, that puts instructions into a few key-values
 *     500x        a compressor of texts into key-values of a frozen model (500xCompressor)
 *     icae        the same into embeddings (ICAE)
 *     selfcp      a connector from the model's own hidden states to its embeddings (SelfCP)
 *     retention   no training: what is left of texts and answers behind capsules and their rivals
 *     evaluate    no training: how well a model predicts text, source by source
 *
 * Each has parameters of its own, set by name from text like those of a
 * context, and listed in the same way. What they name is read when the training
 * runs. Results are files, which appear when they are complete.
 *
 * The same data, parameters and build on one kind of processor give the same
 * bytes, also when a run was stopped, or killed, and went on from its
 * checkpoint, and whatever the number of threads (not of lanes).
 * ------------------------------------------------------------------------ */

typedef struct pith_training pith_training;

/*
 * A training with the parameters' defaults. It belongs to one thread at a time.
 *
 * recipe     one of the names above.
 * allocator  NULL: malloc. Copied; user must outlive the training.
 *
 * Fails with E_ARGUMENT (no such recipe) or E_MEMORY.
 */
PITH_API PITH_NODISCARD pith_status pith_training_new(const char *recipe,
                                                      const pith_allocator *allocator,
                                                      pith_training **out, pith_error *err);
PITH_API void pith_training_free(pith_training *training);

/*
 * Sets one parameter; a list ("data") gets one more entry per call. Fails with E_ARGUMENT,
 * E_RANGE or E_MEMORY, as pith_ctx_set() does; a failed call changes nothing.
 */
PITH_API PITH_NODISCARD pith_status pith_training_set(pith_training *training, const char *name,
                                                      const char *value, pith_error *err);

/* As pith_ctx_get(); the name of a file may take more than PITH_VALUE_SIZE bytes. */
PITH_API PITH_NODISCARD pith_status pith_training_get(const pith_training *training,
                                                      const char *name, char *value, size_t size,
                                                      pith_error *err);

/* Number of a recipe's parameters; 0 if there is no such recipe. */
PITH_API size_t pith_training_param_count(const char *recipe);

/* NULL if there is no such recipe or the index is out of range. Static storage, sorted as --help
 * shows them. */
PITH_API const pith_param_info *pith_training_param_at(const char *recipe, size_t index);

typedef enum pith_training_event_kind {
    PITH_TRAINING_START = 0,      /* nothing done yet; `step` is where the run goes on */
    PITH_TRAINING_STEP = 1,       /* after every update of the weights */
    PITH_TRAINING_EVALUATION = 2, /* held-out text of one source was read, or of all */
    PITH_TRAINING_CHECKPOINT = 3, /* what is done so far is safe on disk */
    PITH_TRAINING_END = 4,        /* before the results are written */
    PITH_TRAINING_PREPARE = 5     /* recipes cc, distill: before START, while the model writes the
                                     continuations; `step` of `steps` tokens of them are there */
} pith_training_event_kind;

/* Numbers that an event does not have are 0 or NaN. */
typedef struct pith_training_event {
    size_t struct_size; /* sizeof of the library's struct: later versions may add members */
    pith_training_event_kind kind;
    uint64_t step;            /* updates done */
    uint64_t steps;           /* updates to be done in all */
    uint64_t tokens;          /* learned from so far */
    double loss;              /* STEP, EVALUATION: nats per token */
    double smooth_loss;       /* of the last steps, as a running mean */
    double norm;              /* STEP: of the gradient, before clipping */
    double multiplier;        /* STEP: what the schedule makes of the learning rate */
    double tokens_per_second; /* lately */
    double seconds;           /* of training, all sessions of the run together */
    double seconds_left;      /* at this speed */
    const char *source;       /* EVALUATION: name of the source; NULL: all of them together */
    double bits_per_byte;     /* EVALUATION */
} pith_training_event;

/*
 * Called from the thread that called pith_training_run(). Return false to stop: a checkpoint
 * is saved, if the parameters name one, and the run fails with E_CANCELLED.
 */
typedef bool (*pith_training_event_fn)(void *user, const pith_training_event *event);

/* NULL switches events off. Recipe tokenizer has none, evaluate and retention those of kind EVALUATION. */
PITH_API void pith_training_set_event(pith_training *training, pith_training_event_fn event,
                                      void *user);

/*
 * Where the table of recipes evaluate and retention goes, a JSON object, if there is no output, and that
 * of recipe gist, if there is no report. NULL: nowhere.
 *
 *     {"model": "m.gguf", "held_out_every": 100, "sources": [{"source": "books",
 *      "documents": 7, "bytes": 90210, "tokens": 30100, "nats": 90300.5, "nats_per_token": 3.0,
 *      "bits_per_byte": 1.444}, ...], "all": {"documents": 7, ...}}
 *     {"model": "m.gguf", "slots": 4, "scores": [{"condition": "gist", "split": "seen",
 *      "triples": 50, "tokens": 900, "nats": 1520.2, "nats_per_token": 1.689, "rouge_l": 0.41,
 *      "exact": 0.12}, ...]}
 *     {"model": "m.gguf", "rows": [{"task": "answer", "way": "compressor", "method": "500x",
 *      "compressor": "c.gguf", "length": 96, "slots": 16, "without": null, "count": 64,
 *      "source_tokens": 95.2, "stored_bytes": 131072, "nll": 2.31, "nll_error": 0.08,
 *      "rouge_l": 0.41, "rouge_l_error": 0.03, "bleu": 0.2, "bleu_error": 0.02, "exact": 0.28,
 *      "exact_error": 0.06, "f1": 0.39, "f1_error": 0.05, "retention": 61.2}, ...]}
 *
 * Of recipe retention: what the model knows a text by ("way", parameter of this name; "slots" tokens or
 * virtual tokens) and what it then makes of it, as a mean over `count` texts of at most "length" tokens,
 * with the mean's standard error. Task "repeat": the text itself, after BOS; "answer": the answer to a
 * question and its end. "nll" is in nats per token; "rouge_l" (F), "bleu" and "f1" compare what is
 * written, greedily, with what should be; "exact" is the share of tokens before the first mistake in a
 * text, and of exact matches among answers. The first or last tokens, and what is given, count as written
 * themselves where a text is repeated: to copy them needs no model. "stored_bytes": of the numbers of a
 * capsule in half precision, or of a text. "retention": F1 as a share of the F1 of way "full", in per cent.
 * "without": the slot that was left out. What does not apply is null.
 */
PITH_API void pith_training_set_write(pith_training *training, pith_write_fn write, void *user);

/*
 * Runs to the end, or on from the checkpoint to the end. Of several processes that MPI started,
 * in a build with it, all must call this with the same parameters; the first one writes files and
 * has events.
 *
 * Fails with E_ARGUMENT (a parameter is missing, or two exclude each other; it is named), E_RANGE
 * (one does not fit the others, or the loss is not a number any more), E_IO, E_SYNTAX, E_CORRUPT
 * or E_UNSUPPORTED (data, model or checkpoint), E_MISMATCH (the checkpoint is of another run),
 * E_CANCELLED, E_MEMORY or E_BACKEND. The training can be set and run again.
 */
PITH_API PITH_NODISCARD pith_status pith_training_run(pith_training *training, pith_error *err);

/* ---------------------------------------------------------------------------
 * Benchmark: our rate as a share of what oneDNN's GEMM reaches in the same run
 * ------------------------------------------------------------------------ */

typedef struct pith_bench_options {
    size_t struct_size; /* sizeof(pith_bench_options) */
    uint32_t layers;    /* a llama of this shape with random weights */
    uint32_t width;
    uint32_t heads;
    uint32_t kv_heads;
    uint32_t ff;
    uint32_t vocabulary;
    uint32_t window;  /* tokens per sequence */
    uint32_t windows; /* sequences scored per repetition */
    uint32_t repeat;  /* repetitions; the best one counts */
    uint32_t threads;
} pith_bench_options;

typedef struct pith_bench_rate {
    double tokens_per_second; /* scoring, head and NLL included */
    double model_gops;        /* 2 x multiply-adds of our matrix products per second / 1e9 */
    double gemm_gops;         /* oneDNN alone on the same shapes: one thread, times the threads */
    double share;             /* model_gops / gemm_gops */
    size_t weight_bytes;
} pith_bench_rate;

typedef struct pith_bench_report {
    uint64_t parameters;
    pith_bench_rate f32;
    pith_bench_rate int8;
} pith_bench_report;

/*
 * A field of `options` that is 0 counts as that of the 120M shape: 12 layers, d
 * 768, 12 heads, as many kv heads as heads, ff 2048, vocabulary 32000, windows
 * of 512 tokens, 4 of them, 3 repetitions, 1 thread. Fails with E_ARGUMENT,
 * E_MEMORY or E_BACKEND.
 */
PITH_API PITH_NODISCARD pith_status pith_bench(const pith_bench_options *options,
                                               pith_bench_report *report, pith_error *err);

#ifdef __cplusplus
}
#endif

#endif /* PITH_H */
