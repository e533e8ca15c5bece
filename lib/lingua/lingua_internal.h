/*
 * lingua_internal.h: what the files of this folder share among themselves.
 */
#ifndef PITH_LINGUA_INTERNAL_H
#define PITH_LINGUA_INTERNAL_H

#include "lingua/lingua.h"

/* ---- where release and papers differ (rules.c) -------------------------------------------------- */

/* The release first in each comment; the papers want the opposite. */
typedef struct pith__lingua_rules {
    /* budget */
    bool counts_specials;   /* lengths include what the tokenizer adds to a text */
    bool compresses_ends;   /* false: instruction and question stay as they are */
    bool negative_is_100;   /* a budget below nothing is 100 tokens; else it is nothing */
    bool forced_come_first; /* forced contexts rank before all others, and the budget pays for
                               them when the ranking gets to them; else at once, at their rank */
    bool number_acts_at_0;  /* force_context_number matters only if it is 0 */
    bool change_is_even;    /* dynamic ratio from +delta to -delta; else by 1 - 2I/K' */
    bool ignores_condition; /* rank_method "llmlingua" ranks without the question */
    bool
        prefix_hides_none; /* longllmlingua takes no condition for "after", but not "none_condition" */
    /* sentences */
    bool bonus_on_nll; /* high_priority_bonus makes a sentence's NLL larger, not its rank better;
                             other rankers than longllmlingua's know none */
    bool sentences_as_one; /* first and last sentences are those of all contexts together */
    /* tokens */
    bool tags_need_structured; /* tags count in structured prompts only */
    bool joiners_are_text;  /* contexts are tokenized as one text, "\n\n" between them included, and
                              that can be dropped; else every part by itself */
    bool reads_bos;         /* false: BOS, if there is one, stands before what is judged */
    bool judges_next;       /* a token goes by the loss of the token that follows it */
    bool pools_all;         /* the threshold is taken from all losses at hand, finished and not yet
                              compressed text included; else from the run's own */
    bool reads_ahead;       /* the first reading covers the whole text up to the context, and its
                              cache is given up */
    bool losses_go_first;   /* losses are taken out before keep_split has its say, so that they and
                             the tokens part ways */
    bool sinks_alike;       /* an overflowing cache without the prefix gives up tokens at the same
                             place as the one with it; else the same tokens */
    bool skips_tail;        /* a last window shorter than iterative_size is not judged */
    bool splits_characters; /* tokens that share a character are judged apart */
    bool splits_by_id; /* keep_split looks for id 13, LLaMA's line break; else for line breaks */
    bool decodes;      /* output is decoded: U+FFFD for ill-formed bytes, no "<s>" */
} pith__lingua_rules;

/* Static storage. */
const pith__lingua_rules *pith__lingua_rules_of(pith__lingua_mode mode);

/* ---- Python's arithmetic, characters ------------------------------------------------------------ */

/* Where a slice bound of Python lies in a list of `length`: negative ones count from the end. */
static inline size_t pith__slice_bound(int64_t bound, size_t length)
{
    if (bound < 0) {
        const uint64_t back = (uint64_t)0 - (uint64_t)bound;
        return back >= length ? 0 : length - (size_t)back;
    }
    return (uint64_t)bound > length ? length : (size_t)bound;
}

/* Python's str.isspace() of one character. */
bool pith__lingua_is_space(uint32_t code_point);

/*
 * Reads what one U+FFFD stands for where `bytes` are decoded with errors="replace": the longest
 * beginning of a character, or one byte; or a whole character. Returns its length, *broken whether
 * it is ill-formed.
 */
size_t pith__lingua_decode(const char *bytes, size_t size, size_t at, bool *broken);

/* Characters in decoded `bytes`. */
size_t pith__lingua_characters(const char *bytes, size_t size);

/* The first segment of `context` that ends behind byte `offset`; their number if none does. */
size_t pith__lingua_segment_at(const pith__lingua_context *context, size_t offset);

/* ---- perplexity under a condition (ppl.c) ------------------------------------------------------- */

/* Tokens that the release's tokenizer adds to every text. */
static inline size_t pith__lingua_specials(const pith__lm *lm)
{
    return lm->adds_bos && lm->bos != PITH__LM_NONE ? 1 : 0;
}

/*
 * mean_nll[i] (count) = mean of -ln p over the tokens of: texts[i] (NONE), texts[i] behind the
 * query (BEFORE), the query behind texts[i] (AFTER); NaN where that is no token at all.
 *
 * OFFICIAL: get_condition_ppl() of the release: the two are one string, cut at the model's
 * context, and judged from the place where the tokens of the first alone would end. Otherwise
 * they are tokenized apart, a text too long for the context is read in pieces of about one size,
 * each with the whole query (at most half the context of it, its end), and the piece with the
 * least counts; NONE reads it in overlapping windows as one.
 *
 * One call of lm->nll for all. `arena` is as before afterwards.
 */
PITH_NODISCARD pith_status pith__lingua_condition_ppl(const pith__lm *lm,
                                                      const pith__lingua_options *options,
                                                      const pith__lingua_text *texts, size_t count,
                                                      const pith__lingua_text *query,
                                                      pith__condition condition, pith__arena *arena,
                                                      double *mean_nll, pith_error *err);

/* *count = tokens of `text`, nothing added. `arena` is as before afterwards. */
PITH_NODISCARD pith_status pith__lingua_length(const pith__lm *lm, const pith__lingua_text *text,
                                               pith__arena *arena, size_t *count, pith_error *err);

/* ---- budget controller (coarse.c) --------------------------------------------------------------- */

/* What a budget of whole contexts becomes: context_budget of the options. */
double pith__lingua_change_budget(const pith__budget_change *change, double budget);

/* ---- sentences (sentence.c) --------------------------------------------------------------------- */

/* Bytes [start, end) of a context. The sentences of a context are together all of it. */
typedef struct pith__sentence {
    size_t place; /* of its context in the list */
    size_t start;
    size_t end;
    bool kept;
} pith__sentence;

typedef struct pith__sentences {
    pith__sentence *items;
    size_t count;
} pith__sentences;

/*
 * Splits `text` where a sentence begins; white space goes to the sentence before it. `regex`: by
 * `[.!?]+["')\]]*(?=\s)` instead of our splitter. Appends to `out`, whose items come from `mem`.
 */
PITH_NODISCARD pith_status pith__lingua_split(const pith__lingua_text *text, bool regex,
                                              const pith_allocator *mem, pith__spans *out,
                                              pith_error *err);

/*
 * Which sentences of contexts kept[i] (count) of the prompt stay: the best ones until `budget`
 * tokens (before token_budget_ratio) are exceeded, the crossing one included, and all that hold a
 * segment that is not to be compressed. A single sentence stays.
 */
PITH_NODISCARD pith_status pith__lingua_sentences(const pith__lm *lm,
                                                  const pith__lingua_options *options,
                                                  const pith__lingua_prompt *prompt,
                                                  const size_t *kept, size_t count, double budget,
                                                  pith__arena *arena, pith__sentences *out,
                                                  pith_error *err);

/* ---- schedule of rates (schedule.c) ------------------------------------------------------------- */

/* So many tokens at one rate. */
typedef struct pith__rate_run {
    size_t count;
    double rate;
} pith__rate_run;

/* Runs [first, first + count), judged after one reading. */
typedef struct pith__window {
    size_t first;
    size_t count;
    size_t size; /* tokens that are read, and must be there */
} pith__window;

typedef struct pith__schedule {
    pith__rate_run *runs;
    size_t run_count;
    pith__window *windows;
    size_t window_count;
} pith__schedule;

/*
 * get_dynamic_compression_ratio() of the release: contexts of so many tokens, each with its rate,
 * laid end to end from token 1 on and cut after every `size` tokens: the first window's runs add
 * up to one less. All windows read `size` tokens.
 */
PITH_NODISCARD pith_status pith__schedule_by_context(const size_t *lengths, const double *rates,
                                                     size_t count, size_t size, pith__arena *arena,
                                                     pith__schedule *out, pith_error *err);

/* How tokens with a rate each become windows. */
typedef struct pith__schedule_input {
    const double *rates; /* (count) */
    const bool *ends;    /* (count) a window ends after this token; NULL: nowhere */
    const bool *joined;  /* (count) no window or run begins here; NULL: anywhere */
    size_t count;
    size_t size; /* of a window, more only where tokens are joined */
    bool
        reads_size; /* every window reads `size` tokens, the last one too; else as many as it has */
} pith__schedule_input;

PITH_NODISCARD pith_status pith__schedule_by_token(const pith__schedule_input *input,
                                                   pith__arena *arena, pith__schedule *out,
                                                   pith_error *err);

/* A stretch of `length` positions with one rate. */
typedef struct pith__rated {
    size_t length;
    double rate;
    bool compress; /* false: a rate of 1 that wins over its neighbours' */
} pith__rated;

/*
 * rates[i] (count) of the token that covers positions [bounds[i], bounds[i + 1]), counted from the
 * first stretch: the least of all stretches it has a position in, or 1 if one of them is not to be
 * compressed. A token without positions has the rate of the place where it stands.
 */
void pith__schedule_rates(const pith__rated *stretches, size_t stretch_count, const size_t *bounds,
                          size_t count, double *rates);

/* ---- iterative token-level prompt compression (itpc.c) ------------------------------------------- */

/*
 * get_estimate_threshold_base_distribution() of the release: the value that must be exceeded, so
 * that at most int(count * rate) - 1 of the pool are; -inf at a rate of 1. Reorders the pool.
 */
float pith__itpc_threshold(float *pool, size_t count, double rate);

/*
 * The papers' quantile: the value that must be exceeded so that round(count * rate) of the pool
 * are, or as close to that as equal values allow, rather more. Reorders the pool.
 */
float pith__itpc_quantile(float *pool, size_t count, double rate);

/*
 * The tokens that a run [end - size, end) may drop, [*low, *high) of `length`, with Python's
 * negative slice bounds: mask[end:] = 1 and mask[:end - size] = 1.
 */
void pith__itpc_extent(int64_t end, size_t size, size_t length, size_t *low, size_t *high);

typedef struct pith__itpc_input {
    const uint32_t *ids; /* (count) */
    size_t count;
    size_t start;       /* so many of the first are the prefix: not judged */
    bool bos;           /* the model's BOS stands first, and before the text read alone */
    bool compare;       /* judge by the difference that the prefix makes */
    const bool *forced; /* (count) kept whatever their loss; NULL: none */
    const bool *split;  /* (count) a second one in a row is dropped unless forced; NULL: none */
    const bool *joined; /* (count) shares a character with the one before; NULL: none */
    const pith__schedule *schedule;
} pith__itpc_input;

typedef struct pith__itpc_output {
    bool *kept;   /* (count) */
    bool *judged; /* (count) a run went over it */
    float *nats;  /* (count) what the last decision was made by; NaN: none */
    double *thresholds;
    size_t threshold_count;
} pith__itpc_output;

/* Fails with E_CONTEXT if a window does not fit the model, with E_MEMORY, or as the model does. */
PITH_NODISCARD pith_status pith__itpc_run(const pith__lm *lm, const pith__lingua_rules *rules,
                                          const pith__itpc_input *input, pith__arena *arena,
                                          pith__itpc_output *out, pith_error *err);

/* ---- the working text (working.c) ---------------------------------------------------------------- */

/* The part of text that comes from no part: a prefix, or "\n\n" between parts. */
#define PITH__LINGUA_NOWHERE SIZE_MAX

/* Bytes [at, at + size) of the working text. */
typedef struct pith__stretch {
    size_t at;
    size_t size;
    size_t part;
    size_t start; /* in its part */
    double rate;  /* of its own; NaN: none */
    bool compress;
} pith__stretch;

/* What goes through the token level. */
typedef struct pith__working {
    char *text; /* prefix with "\n\n", then the parts with "\n\n" between them */
    size_t size;
    size_t prefix; /* bytes in front of the parts */
    pith__stretch *stretches;
    size_t stretch_count;
    /* tokens, once pith__working_tokenize() was called */
    uint32_t *ids;
    pith__span *spans; /* bytes of every token; BOS has none */
    size_t count;
    size_t start; /* tokens of the prefix, BOS included */
    bool bos;     /* ids[0] is BOS */
} pith__working;

/* Room for `size` bytes and `stretches`. */
PITH_NODISCARD pith_status pith__working_init(pith__working *working, size_t size, size_t stretches,
                                              pith__arena *arena, pith_error *err);

/* Appends bytes, of which `stretch` says all but place and size; there must be room. */
void pith__working_add(pith__working *working, const char *bytes, size_t size,
                       pith__stretch stretch);

/*
 * The question (behind it the instruction, if that is asked for) and "\n\n"; its middle is left
 * out where the whole and two windows do not fit the model.
 */
PITH_NODISCARD pith_status pith__working_prefix(const pith__lm *lm,
                                                const pith__lingua_options *options,
                                                const pith__lingua_prompt *prompt,
                                                pith__arena *arena, pith__lingua_text *out,
                                                pith_error *err);

/* Fills the tokens. */
PITH_NODISCARD pith_status pith__working_tokenize(const pith__lm *lm,
                                                  const pith__lingua_rules *rules,
                                                  pith__working *working, pith__arena *arena,
                                                  pith_error *err);

/* ---- output (render.c) --------------------------------------------------------------------------- */

typedef struct pith__render_input {
    const pith__lingua_rules *rules;
    const pith__lingua_options *options;
    const pith__lingua_prompt *prompt;
    const pith__working *working;
    const pith__itpc_output *tokens; /* NULL: the token level was left out */
    const bool *forced;              /* (working->count) tokens that keep_split kept; NULL: none */
} pith__render_input;

/* Fills text, pieces, units, scored and trace of `out`. */
PITH_NODISCARD pith_status pith__lingua_render(const pith__render_input *input, pith__arena *arena,
                                               pith__lingua_output *out, pith_error *err);

#endif /* PITH_LINGUA_INTERNAL_H */
