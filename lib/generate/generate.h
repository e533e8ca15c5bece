/*
 * generate.h: reading a prompt made of ids, embeddings and key-values, and writing on from it, one
 * token at a time.
 */
#ifndef PITH_GENERATE_H
#define PITH_GENERATE_H

#include "model/model.h"
#include "token/token.h"

/* ---- reader (reader.c) ------------------------------------------------------------------- */

/*
 * A sequence that grows by ids, embeddings or key-values, and knows what the model expects next. One
 * thread at a time.
 */
typedef struct pith__reader {
    const pith__model *model;
    unsigned threads;    /* inside one step */
    pith__arena scratch; /* of one step */
    pith__kv kv;
    size_t position;  /* of what is read next; the number of tokens held, unless slots jumped */
    float *logits;    /* (vocabulary) for what follows; see pith__reader_logits() */
    bool has_logits;  /* false at the start and after slots */
    size_t forwarded; /* rows the model ran over so far */
} pith__reader;

/* E_MEMORY. Memory: `mem`, which is copied. */
PITH_NODISCARD pith_status pith__reader_init(pith__reader *reader, const pith__model *model,
                                             unsigned threads, const pith_allocator *mem,
                                             pith_error *err);
void pith__reader_deinit(pith__reader *reader); /* accepts an all-zero reader */

/*
 * Reads `count` ids. nats (count, or NULL) receives -ln p(ids[i] | everything before it), NaN where
 * nothing is expected yet. Long inputs go through the model in pieces of at most 512 rows. Fails
 * like pith__model_forward(); the reader is then as it was.
 */
PITH_NODISCARD pith_status pith__reader_ids(pith__reader *reader, const uint32_t *ids, size_t count,
                                            float *nats, pith_error *err);

/* Reads rows (count, d) as if they were embeddings of tokens. Fails likewise. */
PITH_NODISCARD pith_status pith__reader_embeddings(pith__reader *reader, const float *rows,
                                                   size_t count, pith_error *err);

/*
 * Puts `count` slots into the cache: keys before rotation and values (layers, count, kv width), at
 * the reader's position plus offsets[i]. What is read next stands `advance` after the position.
 * E_CONTEXT: more than the model's context, in number or in position; E_MEMORY. The reader is then as
 * it was.
 */
PITH_NODISCARD pith_status pith__reader_slots(pith__reader *reader, const float *keys,
                                              const float *values, const uint32_t *offsets,
                                              size_t count, size_t advance, pith_error *err);

/* Logits (vocabulary) of the next token; NULL: nothing that predicts was read yet. */
const float *pith__reader_logits(const pith__reader *reader);

/* Where a reader stands. */
typedef struct pith__reader_mark {
    size_t length;
    size_t position;
} pith__reader_mark;

pith__reader_mark pith__reader_save(const pith__reader *reader);

/* Back to an earlier mark of this reader; the logits are gone until something is read. */
void pith__reader_restore(pith__reader *reader, pith__reader_mark mark);

/* ---- contrast (contrast.c) ------------------------------------------------------------------ */

/*
 * An attribute as two ways to expect the next token: after a context that has it, and after one
 * that has its opposite (Wingate, Shoeybi & Sorensen 2022, contrastive conditioning).
 */
typedef struct pith__contrast {
    const float *toward; /* (vocabulary) logits */
    const float *away;
    double omega; /* weight; below 0 turns the attribute round */
    double tau;   /* sharpness of p(a | x, v) */
} pith__contrast;

/*
 * out[v] = ln p(v|x) + sum over attributes of omega * ln p(a|x,v), not normalised, with
 * p(a|x,v) = p+^tau / (p+^tau + p-^tau). With no attribute, omega = 0, or toward equal to away bit
 * for bit, what the attribute adds is exactly 0 (ln p(a|x,v) is counted from its value of -ln 2
 * where both are equal, which no distribution notices). E_MEMORY is impossible: nothing is taken.
 */
void pith__contrast_mix(const float *logits, const pith__contrast *attributes, size_t n_attributes,
                        size_t vocabulary, double *out);

/* What the attributes add, added to scores (vocabulary): pith__contrast_mix() less its first term. */
void pith__contrast_add(const pith__contrast *attributes, size_t n_attributes, size_t vocabulary,
                        double *scores);

/* ln sum_v exp(logits[v]): what turns logits into log-probabilities. NaN if one of them is. */
double pith__log_sum_exp(const float *logits, size_t vocabulary);

/* out[v] = ln p(v) of logits (vocabulary). */
void pith__log_softmax(const float *logits, size_t vocabulary, double *out);

/* ---- sampling (sample.c) ------------------------------------------------------------------- */

/*
 * In this order, as transformers has it: repetition penalty (Keskar et al. 2019: positive values are
 * divided by it, negative ones multiplied; applied to logits), temperature, top-k, top-p, min-p.
 */
typedef struct pith__sampling {
    double temperature;        /* 0: the likeliest token, whatever else is set but the penalty */
    size_t top_k;              /* 0: all */
    double top_p;              /* 1: all; the token that crosses the bound stays */
    double min_p;              /* 0: all; share of the likeliest token's probability */
    double repetition_penalty; /* 1: none */
    size_t repetition_window;  /* last tokens that count; 0: all */
    uint64_t seed;
} pith__sampling;

/* E_ARGUMENT names what is out of its bounds. */
PITH_NODISCARD pith_status pith__sampling_check(const pith__sampling *sampling, pith_error *err);

/*
 * Draws the token number `counter` of a text from `scores` (vocabulary: log-probabilities or logits,
 * changed by the call). The number drawn depends on seed and counter alone, ties go to the smaller
 * id. A score of -INFINITY or NaN is never drawn. history: ids the penalty looks at, each once, those
 * outside the vocabulary not at all. E_MEMORY; E_CORRUPT: no score is a number that can be drawn.
 */
PITH_NODISCARD pith_status pith__sample_token(const pith__sampling *sampling, double *scores,
                                              size_t vocabulary, const uint32_t *history,
                                              size_t n_history, uint64_t counter,
                                              pith__arena *scratch, uint32_t *id, pith_error *err);

/* ---- generation (generate.c) ------------------------------------------------------------------ */

typedef struct pith__stream_pair {
    pith__reader *toward; /* each has read its context and the prompt */
    pith__reader *away;
    double omega;
    double tau;
} pith__stream_pair;

typedef enum pith__stop_reason {
    PITH__STOP_LENGTH, /* max_tokens, or the model's context is full */
    PITH__STOP_END,    /* the model ended its text */
    PITH__STOP_STRING  /* one of the stop strings */
} pith__stop_reason;

/* A token that was written. */
typedef struct pith__written {
    uint32_t id;
    const char *bytes; /* text that is final now: whole code points, nothing that may yet become a
                          stop string; several tokens' or none; not NUL-terminated */
    size_t size;
    double logprob; /* ln p(id) under the model after the prompt, before any of the settings */
} pith__written;

/* Returns false to stop with E_CANCELLED. At the end there is a call with id PITH__TOKEN_NONE for
 * bytes that were held back, if there are any. */
typedef bool (*pith__written_fn)(void *user, const pith__written *token);

typedef struct pith__generate_settings {
    pith__sampling sampling;
    size_t max_tokens;
    const char *const *stops; /* (n_stops) strings; none of them is part of the text */
    size_t n_stops;
    bool ignore_end;         /* EOS is never drawn: the text goes on as if it did not exist */
    const uint32_t *history; /* (n_history) ids of the prompt, for the penalty */
    size_t n_history;
    pith__written_fn written;
    void *written_user;
} pith__generate_settings;

/*
 * Writes on from `reader`, which expects something. Readers of the pairs read every token too: all
 * stand after the last token that was written, ready to go on, unless it is EOS, ended a stop
 * string, or found a context full, which is no error. Penalty and attributes change logits:
 * scores are logits plus what pith__contrast_add() adds, then pith__sample_token().
 *
 * *count: tokens written, EOS and what made up a stop string included; also after a failure. A stop
 * string counts from the byte that completes the first of them, wherever tokens begin. Control tokens
 * have no text. Ill-formed UTF-8 is passed on as it is. Fails with E_ARGUMENT (a reader that expects
 * nothing or has another vocabulary, an empty stop string, a setting out of its bounds), E_CANCELLED,
 * E_CORRUPT (the model's prediction is not a number), or like pith__model_forward().
 */
PITH_NODISCARD pith_status pith__generate(pith__reader *reader, const pith__stream_pair *pairs,
                                          size_t n_pairs, const pith__tokenizer *tokenizer,
                                          const pith__generate_settings *settings,
                                          const pith_allocator *mem, pith__stop_reason *reason,
                                          size_t *count, pith_error *err);

#endif /* PITH_GENERATE_H */
