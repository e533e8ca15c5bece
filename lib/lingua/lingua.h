/*
 * lingua.h: LLMLingua (arXiv 2310.05736) and LongLLMLingua (arXiv 2310.06839v2): which contexts of a
 * prompt stay, in which order, which of their sentences and which of their tokens.
 *
 * Knows a language model only as a handful of functions (pith__lm), so everything here can be
 * tested with numbers written by hand. Everything handed out lies in the caller's arena. Offsets
 * are bytes of the part they belong to; scores and losses are in nats.
 *
 * Where paper, release (github.com/microsoft/LLMLingua, commit e0e9d99) and we differ, the
 * difference has a name: a field of pith__lingua_options, or a mode. See docs/llmlingua.md.
 */
#ifndef PITH_LINGUA_H
#define PITH_LINGUA_H

#include "base/base.h"
#include "hard/hard.h"
#include "text/text.h"

/* ---- the small model ------------------------------------------------------------------------------ */

#define PITH__LM_NONE UINT32_MAX /* no id */

/* Ids [first, first + count) of a list. */
typedef struct pith__lm_range {
    size_t first;
    size_t count;
} pith__lm_range;

typedef struct pith__lm_tokens {
    pith_token_score *items; /* together exactly the text; nats NaN */
    size_t count;
} pith__lm_tokens;

/* Two sequences can grow side by side: with the question in front, and without. */
#define PITH__LM_STREAMS 2

typedef struct pith__lm {
    void *user;
    size_t context; /* tokens it can see at once */
    uint32_t bos;   /* PITH__LM_NONE if it has none */
    bool adds_bos;  /* its tokenizer puts BOS before every text: the release counts that token */

    /* The tokens of `text`, nothing added. */
    pith_status (*tokenize)(void *user, const char *text, size_t size, pith__arena *arena,
                            pith__lm_tokens *out, pith_error *err);

    /*
     * nats[i] (n_ids) = -ln p(ids[i] | the ids before it in its range). The first of a range is
     * judged after BOS if `bos` is set and there is one, else it is NaN; so is what lies in no
     * range. A range longer than the context is read in overlapping windows.
     */
    pith_status (*nll)(void *user, const uint32_t *ids, size_t n_ids, const pith__lm_range *ranges,
                       size_t n_ranges, bool bos, float *nats, pith_error *err);

    /*
     * Appends ids to stream `stream`, which starts out empty. nll[i] (count) = -ln p(targets[i] |
     * all of the stream up to ids[i]); NaN where targets[i] is PITH__LM_NONE. Fails with
     * E_CONTEXT if the stream would exceed the context.
     */
    pith_status (*extend)(void *user, unsigned stream, const uint32_t *ids, const uint32_t *targets,
                          size_t count, float *nll, pith_error *err);

    /* Tokens in a stream; forgets those from `length` on; takes [start, end) out, the rest keeps
     * the positions at which it was read, new tokens go on from the new length. */
    size_t (*length)(void *user, unsigned stream);
    void (*truncate)(void *user, unsigned stream, size_t length);
    void (*remove)(void *user, unsigned stream, size_t start, size_t end);
} pith__lm;

/* ---- prompt and options ------------------------------------------------------------------------- */

typedef struct pith__lingua_text {
    const char *text; /* NULL if size is 0 */
    size_t size;
} pith__lingua_text;

/* A stretch of a context with wishes of its own, from the <llmlingua> tags. */
typedef struct pith__lingua_segment {
    size_t start;
    size_t end;
    double rate;   /* NaN: the prompt's */
    bool compress; /* false: stays as it is */
} pith__lingua_segment;

typedef struct pith__lingua_context {
    pith__lingua_text clean;  /* without tags */
    pith__lingua_text tagged; /* as given: the release counts the tags; the same text without any */
    const pith__lingua_segment *segments; /* together exactly `clean`; NULL: no tags */
    size_t segment_count;
} pith__lingua_context;

typedef struct pith__lingua_prompt {
    pith__lingua_text instruction;
    pith__lingua_text question;
    const pith__lingua_context *contexts;
    size_t count;
    bool structured; /* structured_compress_prompt of the release instead of compress_prompt */
} pith__lingua_prompt;

typedef enum pith__rank_method {
    PITH__RANK_LLMLINGUA = 0, /* perplexity of the context, higher is better; given a condition that
                                 uses the question, of the one under the other, lower is better */
    PITH__RANK_LONGLLMLINGUA, /* the same: the release's two names differ in other places */
    PITH__RANK_BM25,          /* Okapi BM25 */
    PITH__RANK_GZIP,          /* normalised compression distance with DEFLATE */
    PITH__RANK_RANDOM,        /* seeded */
    PITH__RANK_HYBRID         /* BM25 and perplexity, fused by reciprocal rank */
} pith__rank_method;

typedef enum pith__condition {
    PITH__CONDITION_NONE = 0,
    PITH__CONDITION_BEFORE, /* the context given the question */
    PITH__CONDITION_AFTER   /* the question given the context */
} pith__condition;

typedef enum pith__reorder {
    PITH__REORDER_ORIGINAL = 0,
    PITH__REORDER_SORT,     /* best first */
    PITH__REORDER_TWO_STAGE /* the best at both ends */
} pith__reorder;

typedef enum pith__lingua_mode {
    PITH__LINGUA_OFFICIAL = 0, /* the release, decision for decision */
    PITH__LINGUA_PAPER         /* the papers' equations */
} pith__lingua_mode;

/* "+100", "*2", "-50", "/2": what a budget becomes. */
typedef struct pith__budget_change {
    char op; /* '+', '-', '*' or '/' */
    double value;
} pith__budget_change;

/* Names and meanings are those of the release's compress_prompt() unless a comment says more. */
typedef struct pith__lingua_options {
    pith__lingua_mode mode;
    double rate;
    double
        target_token; /* < 0: by the rate. OFFICIAL: of the contexts alone. PAPER: of the prompt */
    size_t iterative_size;
    const size_t *force_context_ids;
    size_t force_context_count;
    double force_context_number; /* < 0: none. OFFICIAL: acts only at 0, as released; else: the
                                    most contexts that are kept, forced ones included */
    bool use_context_level_filter;
    bool use_sentence_level_filter;
    bool use_token_level_filter;
    bool keep_split;
    size_t keep_first_sentence; /* OFFICIAL: of all contexts taken together; else of each */
    size_t keep_last_sentence;
    size_t keep_sentence_number;
    double high_priority_bonus;
    pith__budget_change context_budget;
    double token_budget_ratio;
    pith__condition condition; /* condition_in_question without "_condition" */
    bool condition_prefix;     /* "..._condition": the question stands before the contexts */
    bool condition_compare;
    pith__reorder reorder_context;
    double dynamic_context_compression_ratio;
    bool add_instruction;
    pith__rank_method rank_method;
    bool concate_question;
    bool strict_preserve_uncompressed;
    double tau_ins; /* PAPER: shares of instruction and question that stay (section 4.1) */
    double tau_que;
    uint64_t seed;        /* PITH__RANK_RANDOM */
    bool regex_sentences; /* OFFICIAL: split sentences by the regular expression of the
                                            reference values instead of our splitter */
    const pith__counter
        *counter; /* whose tokens "origin_tokens" is in: unused by OFFICIAL's decisions */
} pith__lingua_options;

/* ---- ranking (rank*.c) ----------------------------------------------------------------------------- */

typedef struct pith__ranking {
    size_t *order;  /* (count) contexts, best first; equal scores keep their order */
    double *scores; /* (count) of context i; larger is better, NaN is worst */
    size_t count;
} pith__ranking;

/*
 * Ranks texts for a query (may be empty where the method does not need one). `texts` are the
 * contexts, or the sentences of one. OFFICIAL: arithmetic of the release (methods A2, A9:
 * truncation at the model's context, rank_bm25 on words between single spaces, NCD by gzip's
 * sizes). Otherwise a text too long for the model is read in pieces of which the best counts, and
 * BM25 reads folded words.
 *
 * `restrictive`: LLMLINGUA, LONGLLMLINGUA and HYBRID read the query with LongLLMLingua's
 * restrictive sentence behind it; the release does so for contexts, not for sentences. `lm` may be
 * NULL for the other methods. Fails with E_MEMORY, E_RANGE (a text of 2 GiB), or as the model does.
 */
PITH_NODISCARD pith_status pith__lingua_rank(const pith__lm *lm,
                                             const pith__lingua_options *options,
                                             const pith__lingua_text *texts, size_t count,
                                             const pith__lingua_text *query, bool restrictive,
                                             pith__arena *arena, pith__ranking *out,
                                             pith_error *err);

/* ---- budget controller (coarse.c) -------------------------------------------------------------------- */

typedef struct pith__coarse_input {
    const pith__ranking *ranking;
    const size_t *lengths; /* (count) tokens of every context */
    const bool *forced;    /* (count) always kept; NULL: none */
    double budget;         /* tokens for contexts, before context_budget */
} pith__coarse_input;

typedef struct pith__coarse {
    size_t *kept;   /* (count) contexts in the order of the output */
    double *change; /* (count) what dynamic_context_compression_ratio adds to the rate of each */
    size_t count;
} pith__coarse;

/* Keeps contexts from the best down, the one that crosses the budget included; orders them. */
PITH_NODISCARD pith_status pith__lingua_coarse(const pith__lingua_options *options,
                                               const pith__coarse_input *input, pith__arena *arena,
                                               pith__coarse *out, pith_error *err);

/* ---- modes official and paper: from a prompt to a shorter one (pipeline.c) --------------------------- */

#define PITH__LINGUA_INSTRUCTION (SIZE_MAX - 1)
#define PITH__LINGUA_QUESTION    (SIZE_MAX - 2)

/* Bytes [start, end) of a part: the index of a context, or one of the above. */
typedef struct pith__lingua_piece {
    size_t part;
    size_t start;
    size_t end;
} pith__lingua_piece;

/* A token that was judged. */
typedef struct pith__lingua_unit {
    size_t part;
    pith_unit unit; /* offsets in the part; nats: what the decision was made by */
} pith__lingua_unit;

/* What a test compares with reference values; pointers into the arena. */
typedef struct pith__lingua_trace {
    const uint32_t *ids; /* (count) of the token level's text, prefix included */
    const bool *kept;    /* (count) */
    size_t count;
    size_t start; /* so many of the first are the prefix, which is not part of the output */
    const double *thresholds; /* in the order in which they were applied */
    size_t threshold_count;
} pith__lingua_trace;

typedef struct pith__lingua_output {
    const char *text; /* the prompt, NUL-terminated */
    size_t size;
    const pith__lingua_piece *pieces; /* where its bytes come from, in order; the "\n\n" between
                                         parts, and U+FFFD for a character that lost a byte, come
                                         from nowhere */
    size_t piece_count;
    const pith__lingua_unit *units; /* in the order of the working text; text without a unit was
                                       dropped before the token level, or kept whole if a piece
                                       covers it */
    size_t unit_count;
    const double *scores; /* (contexts) of the ranker, larger is better; NULL: not ranked */
    const size_t *places; /* (contexts) place in the output; SIZE_MAX: dropped as a whole */
    size_t scored;        /* tokens judged */
    pith__lingua_trace trace;
} pith__lingua_output;

/*
 * Fails with E_ARGUMENT (options that exclude each other), E_CONTEXT (iterative_size does not fit
 * the model), E_MEMORY, or as the model does.
 */
PITH_NODISCARD pith_status pith__lingua_compress(const pith__lm *lm,
                                                 const pith__lingua_options *options,
                                                 const pith__lingua_prompt *prompt,
                                                 pith__arena *arena, pith__lingua_output *out,
                                                 pith_error *err);

/* ---- mode pith: self-information given the compressed past (iterate.c) -------------------------------- */

typedef struct pith__iterate_input {
    const uint32_t *ids; /* (count) the working text */
    size_t count;
    const size_t *unit_of;  /* (count) ascending: what is kept or dropped together */
    const bool *is_fixed;   /* (count) in the output whatever its nats */
    const float *rates;     /* (count) share of tokens to keep around here, 0..1 */
    const uint32_t *prefix; /* (prefix_count) read before everything, never dropped */
    size_t prefix_count;
    size_t window; /* tokens judged at once */
    pith__aggregate aggregate;
} pith__iterate_input;

/*
 * nats[i] (count) = -ln p(ids[i] | prefix, what was kept of the windows before, the window so far).
 * A window's units are kept as long as they fit its rates, the most informative first. Every token
 * is read once, and once more if it was kept; where prefix, kept text and window exceed the
 * context, the oldest kept text is forgotten. Uses stream `stream` of `lm`, emptied first.
 */
PITH_NODISCARD pith_status pith__lingua_iterate(const pith__lm *lm, unsigned stream,
                                                const pith__iterate_input *input,
                                                pith__arena *arena, float *nats, pith_error *err);

/*
 * Raises texts whose title (a short first line) is named in one of the best texts, by half of its
 * score: the second step of questions in two steps. For scores that are 0 where nothing fits, as
 * those of BM25. `texts` and `ranking` as of pith__lingua_rank(). Fails with E_MEMORY.
 */
PITH_NODISCARD pith_status pith__lingua_link(const pith__lingua_text *texts, pith__arena *arena,
                                             pith__ranking *ranking, pith_error *err);

/* ---- what of a text speaks of a question (focus.c) ----------------------------------------------------- */

typedef struct pith__focus_sentence {
    size_t start; /* bytes [start, end) of the text */
    size_t end;
    size_t document;
} pith__focus_sentence;

/* A phrase or word. */
typedef struct pith__focus_unit {
    size_t start; /* bytes of the text */
    size_t end;
    size_t sentence; /* SIZE_MAX: in none, and not judged */
    size_t token;    /* of the text, that it begins with */
    size_t tokens;
    float nats; /* sum over its tokens; NaN: unknown */
} pith__focus_unit;

typedef struct pith__focus_input {
    const char *text;
    size_t size;
    const pith__focus_sentence *sentences; /* ascending; those of a document stand together */
    size_t sentence_count;
    const double *documents; /* relevance 0..1 of every document */
    size_t document_count;
    const pith__focus_unit *units; /* ascending */
    size_t unit_count;
    pith__lingua_text question;
} pith__focus_input;

/*
 * keys[i] (unit_count): how much of the answer unit i may hold, larger is better: BM25 of its
 * sentence, twice the relevance of its document, and a little for standing near words of the
 * question, for being of the kind that it asks for (a name, a number, a date), and for its nats.
 * docs/llmlingua.md has the formula and what each term is worth. E_MEMORY.
 */
PITH_NODISCARD pith_status pith__lingua_focus(const pith__lm *lm, const pith__focus_input *input,
                                              pith__arena *arena, float *keys, pith_error *err);

/* ---- recovery of a response (recover.c) ------------------------------------------------------------------ */

/*
 * LongLLMLingua's subsequence recovery, appended to `out`: every longest run of words of `response`
 * (between single spaces) that stands in `compressed` is looked for in `original` as a subsequence
 * of tokens with gaps of at most 10, and replaced by the shortest stretch that holds most of it.
 * Words that stand nowhere are copied, as are runs without a token, such as an empty word: with
 * those the release ends in an error. Unlike the release, a run is also looked for with the tokens
 * that it has after a space, and a stretch is whole characters. Uses nothing of `lm` but tokenize.
 * A failure leaves `out` as it was.
 */
PITH_NODISCARD pith_status pith__lingua_recover(const pith__lm *lm,
                                                const pith__lingua_text *original,
                                                const pith__lingua_text *compressed,
                                                const pith__lingua_text *response, pith__buf *out,
                                                pith__arena *arena, pith_error *err);

#endif /* PITH_LINGUA_H */
