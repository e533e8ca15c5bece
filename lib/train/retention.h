/*
 * retention.h: what the files of recipe retention share: texts and questions, what a text becomes on
 * one of the ways to know it, and how much is left.
 */
#ifndef PITH_RETENTION_H
#define PITH_RETENTION_H

#include "train/frozen.h"
#include "train/pairs.h"
#include "train/run.h"

/* ---- texts (retention_text.c) ------------------------------------------------------------------ */

/* Tokens of a text, and where they stand in it. What they spell need not be UTF-8: a token may end inside
 * a character. */
typedef struct pith__wording {
    const uint32_t *ids;       /* (count) */
    const pith__token *tokens; /* (count) of `base`, one after the other */
    size_t count;
    const char *base;
} pith__wording;

/* Tokens [first, first + count) of it, which must have them. */
pith__wording pith__wording_part(pith__wording words, size_t first, size_t count);

/* What they spell. */
pith__token_text pith__wording_text(pith__wording words);

/* A text that is to be repeated, or a context with a question. */
typedef struct pith__retention_text {
    pith__wording source;
    const pith__wording *shorter; /* (n_slots) what a line says instead; NULL: nothing */
    const uint32_t *prompt;       /* (n_prompt) ANSWER: what stands before the answer */
    size_t n_prompt;
    const uint32_t *answer; /* (n_answer) ANSWER: with what stands behind it, and the end */
    size_t n_answer;
    pith__token_text wanted; /* ANSWER: the answer */
    pith__token_text behind; /* ANSWER: what stands behind it, up to a line break; of the format */
} pith__retention_text;

/* Where a text is taken from: a document, or a line. */
typedef struct pith__retention_origin {
    pith__token_text document;
    const pith__pair_file *file; /* NULL: a document */
    pith__pair line;
} pith__retention_origin;

/* Lines have these members. One without question and answer is a text to be repeated. */
enum {
    PITH__RETENTION_CONTEXT,
    PITH__RETENTION_QUESTION,
    PITH__RETENTION_ANSWER,
    PITH__RETENTION_MEMBERS
};
extern const pith__pair_member pith__retention_members[PITH__RETENTION_MEMBERS];

/* What reads them. */
typedef struct pith__retention_loader {
    const pith__retention_settings *settings;
    const pith__tokenizer *tokenizer;
    size_t context;      /* tokens, of the model */
    pith__arena *arena;  /* of the result */
    pith__arena scratch; /* of one text */
    pith__pair_format format;
} pith__retention_loader;

/* That of the settings, or the default. E_ARGUMENT. */
PITH_NODISCARD pith_status pith__retention_make_format(pith__retention_loader *l, pith_error *err);

/*
 * The first `length` tokens of a line's context, or so many from a place of a document that `place`, any
 * number, decides; fewer if there are not so many. In the loader's scratch.
 */
PITH_NODISCARD pith_status pith__retention_words(pith__retention_loader *l,
                                                 const pith__retention_origin *origin,
                                                 size_t length, uint64_t place, pith__wording *out,
                                                 pith_error *err);

/* The same as a text to be repeated, and what a line says instead, in memory of l->arena. */
PITH_NODISCARD pith_status pith__retention_read_text(pith__retention_loader *l,
                                                     const pith__retention_origin *origin,
                                                     size_t length, uint64_t place,
                                                     pith__retention_text *out, pith_error *err);

/*
 * A line with a question. A context of more than `length` tokens is cut to so many around the answer,
 * where it stands in it, else from the beginning. E_CONTEXT: it does not fit the model.
 */
PITH_NODISCARD pith_status pith__retention_read_question(pith__retention_loader *l,
                                                         const pith__retention_origin *origin,
                                                         size_t length, pith__retention_text *out,
                                                         pith_error *err);

/* ---- which ones (retention_texts.c) ------------------------------------------------------------- */

/* Those of one task and length. */
typedef struct pith__retention_list {
    pith__retention_task task;
    uint32_t length;
    pith__retention_text *items; /* (count) */
    size_t count;
} pith__retention_list;

/*
 * lists: one of texts for each length, if there are any, then one of questions, if there are any; all of
 * it in memory of `arena`. Fails like pith__source_open() and pith__pair_lines_open(); E_ARGUMENT:
 * nothing is there; E_CONTEXT: what does not fit a model of this context.
 */
PITH_NODISCARD pith_status pith__retention_read(const pith__retention_settings *settings,
                                                const pith__tokenizer *tokenizer, uint32_t context,
                                                pith__arena *arena, pith__retention_list **lists,
                                                size_t *count, pith_error *err);

/* ---- ways (retention_ways.c) -------------------------------------------------------------------- */

/* An open compressor. */
typedef struct pith__retention_compressor {
    pith__file file;
    pith__gguf gguf;
    pith__weights weights;
    pith__compressor_about about;
    pith__compressor compressor;
    pith__model adapted; /* the encoder, if it is not the model itself */
} pith__retention_compressor;

typedef struct pith__retention {
    const pith__retention_settings *settings;
    pith_allocator mem;
    pith__frozen base;
    uint32_t bos, end;                       /* what begins and what ends a text */
    pith__retention_compressor *compressors; /* (n_compressors) open ones */
    size_t n_compressors;
    pith__retention_list *lists; /* (n_lists) */
    size_t n_lists;
    pith__arena *rows_arena; /* the caller's */
    pith__retained *rows;    /* (n_rows) in it */
    size_t n_rows, rows_capacity;
    pith__arena arena; /* of texts */
    double started;
} pith__retention;

/* One way to know the texts of a list, with one number of slots. */
typedef struct pith__retention_case {
    const pith__retention *retention;
    const pith__retention_list *list;
    pith__retention_way way;
    size_t compressor; /* SIZE_MAX: none */
    size_t slots;      /* its number among the settings'; SIZE_MAX: none */
} pith__retention_case;

/* What is read instead of a text: words, after BOS, or a capsule; nothing: neither. */
typedef struct pith__retention_memory {
    pith__wording words;
    pith__capsule *capsule; /* owned, or NULL */
} pith__retention_memory;

/* Opens compressor number `i` for the model. E_IO, or like pith__compressor_load(). */
PITH_NODISCARD pith_status pith__retention_open_compressor(pith__retention *r, size_t i,
                                                           pith_error *err);
void pith__retention_close_compressor(pith__retention_compressor *compressor);

/* Whether the way can be gone: slots below the length that the compressor can make, shorter texts that
 * are there, capsules to be exchanged. */
bool pith__retention_applies(const pith__retention_case *c);

/* Text number `i` of the list on this way, which can be gone. Fails like pith__compress(). */
PITH_NODISCARD pith_status pith__retention_remember(const pith__retention_case *c, size_t i,
                                                    pith__retention_memory *out, pith_error *err);

/* The reader, which has read nothing, reads it. */
PITH_NODISCARD pith_status pith__retention_recall(const pith__retention *r,
                                                  const pith__retention_memory *memory,
                                                  pith__reader *reader, pith_error *err);

/* A copy of a capsule of at least two slots without number `slot`: keys and values are left out, an
 * embedding becomes the mean of the others. E_MEMORY. */
PITH_NODISCARD pith_status pith__retention_without(const pith__capsule *capsule, uint32_t slot,
                                                   const pith_allocator *mem, pith__capsule **out,
                                                   pith_error *err);

/* ---- measures (retention_judge.c) ---------------------------------------------------------------- */

/*
 * What was written up to where it goes on as the format does behind an answer: the last such place if
 * the model ended, as it learned to do right there; else the first one. Blanks alone are no such place.
 */
pith__token_text pith__retention_answer(pith__token_text written, pith__token_text behind,
                                        bool has_ended);

/* What is measured of one text. */
typedef enum pith__retention_figure {
    PITH__MEASURE_NLL,
    PITH__MEASURE_ROUGE_L,
    PITH__MEASURE_BLEU,
    PITH__MEASURE_EXACT,
    PITH__MEASURE_F1,
    PITH__MEASURE_SOURCE,
    PITH__MEASURE_STORED,
    PITH__MEASURES
} pith__retention_figure;

/* NaN: it does not have it. */
typedef struct pith__retention_measures {
    double of[PITH__MEASURES];
} pith__retention_measures;

/*
 * Text number `index` of the list: out (variants), the first one as it is, the others without slot 0, 1, 2,
 * ... of its capsule. Scratch memory of `arena`, one thread. Fails like pith__train_retention().
 */
PITH_NODISCARD pith_status pith__retention_measure(const pith__retention_case *c, size_t index,
                                                   size_t variants, pith__arena *arena,
                                                   pith__retention_measures *out, pith_error *err);

#endif /* PITH_RETENTION_H */
