/*
 * passages.h: excerpts of documents: so many tokens from a random place of a random one.
 */
#ifndef PITH_PASSAGES_H
#define PITH_PASSAGES_H

#include "train/train.h"

/* ---- bytes ----------------------------------------------------------------------------------- */

/* A place is chosen so that about so many bytes per token are behind it. */
#define PITH__PASSAGE_TOKEN_BYTES ((size_t)6)

/* The first blank of data[at, end), if it is near, else the next character; `end` if there is none. */
size_t pith__word_start(const unsigned char *data, size_t at, size_t end);

/*
 * The stretch of a document (bytes of `data`) that has `tokens` tokens or more, if so many are left: from
 * the first word that starts at or behind `offset`, counted from the document's first byte, or from
 * that byte if none does. It begins and ends between characters, and is never much longer than needed.
 */
pith__document pith__passage_bytes(const unsigned char *data, pith__document document,
                                   size_t offset, size_t tokens);

/* The tokens of a stretch of `data`, in memory of `arena`. Fails like pith__tokenizer_encode(). */
PITH_NODISCARD pith_status pith__passage_tokens(const pith__tokenizer *tokenizer,
                                                const unsigned char *data, pith__document stretch,
                                                pith__arena *arena, pith__tokens *out,
                                                pith_error *err);

/* ---- passages -------------------------------------------------------------------------------- */

/* A text, and what follows it in its document. */
typedef struct pith__passage {
    const uint32_t *ids;  /* (count) */
    const uint32_t *next; /* (n_next) */
    size_t count, n_next;
    size_t bytes, next_bytes; /* of text */
    bool ends;                /* the document ends with `next`, or with `ids` if that is empty */
} pith__passage;

/* Where passages come from: documents that are open, drawn so that every byte is equally likely. */
typedef struct pith__passages {
    pith_allocator mem;
    const pith__tokenizer *tokenizer;
    const pith__source *sources; /* (n_sources) */
    size_t n_sources;
    double weights;  /* their sum */
    uint64_t **ends; /* (n_sources) of (n_training): bytes of documents up to and with this one */
} pith__passages;

/* Everything is borrowed until deinit. E_ARGUMENT: no source, or weights that are none; E_MEMORY. */
PITH_NODISCARD pith_status pith__passages_init(const pith__source *sources, size_t n_sources,
                                               const pith__tokenizer *tokenizer,
                                               const pith_allocator *mem, pith__passages *out,
                                               pith_error *err);
void pith__passages_deinit(pith__passages *passages); /* accepts all-zero ones */

/*
 * Passage number `n` of (seed, n) alone, in memory of `arena`: a source by its weight, a byte of its
 * training documents, a stretch around it that begins at a word. `count` tokens and up to `next` of what
 * follows; if the document has fewer and next > 0, both get shorter in proportion. At least
 * one token, if the tokenizer gives any.
 */
PITH_NODISCARD pith_status pith__passages_draw(const pith__passages *passages, uint64_t seed,
                                               uint64_t n, size_t count, size_t next,
                                               pith__arena *arena, pith__passage *out,
                                               pith_error *err);

/*
 * Number i of `total` passages from held-out documents, spread evenly over sources and their
 * documents: the same for every seed. *found is false where a source has no such documents.
 */
PITH_NODISCARD pith_status pith__passages_held_out(const pith__passages *passages, size_t i,
                                                   size_t total, size_t count, size_t next,
                                                   pith__arena *arena, pith__passage *out,
                                                   bool *found, pith_error *err);

#endif /* PITH_PASSAGES_H */
