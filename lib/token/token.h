/*
 * token.h: tokenizers: text to ids, every id with the bytes it stands for.
 *
 * Two sources, one engine: the vocabulary of a GGUF model and a tiktoken rank
 * file, both byte-level BPE. Text is cut into pieces by the vocabulary's
 * pattern; inside a piece, the adjacent pair of tokens with the lowest rank is
 * merged, the leftmost one on ties, until no pair has a rank.
 *
 * Ill-formed UTF-8 is no error: valid stretches are cut by the pattern as if
 * they stood alone, and each ill-formed byte is a piece of its own. Tokens
 * therefore always partition the text.
 *
 * Memory of PCRE2, which runs the patterns, does not pass through pith_allocator.
 */
#ifndef PITH_TOKEN_H
#define PITH_TOKEN_H

#include "base/base.h"
#include "gguf/gguf.h"

/* The id that no token has. */
#define PITH__TOKEN_NONE UINT32_MAX

/* Immutable after creation and shared by threads. Borrows nothing. */
typedef struct pith__tokenizer pith__tokenizer;

/* One token and the bytes [start, end) of the text it stands for; never empty. */
typedef struct pith__token {
    size_t start;
    size_t end;
    uint32_t id;
} pith__token;

/* A growing list of tokens. All zero is an empty list. */
typedef struct pith__tokens {
    pith__token *items; /* NULL while capacity is 0 */
    size_t count;
    size_t capacity;
} pith__tokens;

/* Releases the items and leaves an empty list; `mem` is the allocator they came from. */
void pith__tokens_deinit(pith__tokens *tokens, const pith_allocator *mem);

/*
 * Makes a tokenizer from the metadata of a GGUF file (tokenizer.ggml.*).
 * Copies what it needs: `gguf` and its buffer may go away afterwards. `mem` is
 * copied, its `user` must outlive the tokenizer.
 *
 * A file without tokenizer.ggml.pre, or with "default" in it, is cut by the
 * pattern of GPT-2. Fails with E_UNSUPPORTED (another kind of vocabulary or an
 * unknown pattern, named in the message), E_CORRUPT (entries missing or of the
 * wrong type, a merge of tokens that do not exist, a byte without a token),
 * E_RANGE (a vocabulary of 4 GiB or a thousand million tokens) or E_MEMORY.
 */
PITH_NODISCARD pith_status pith__tokenizer_from_gguf(const pith__gguf *gguf,
                                                     const pith_allocator *mem,
                                                     pith__tokenizer **out, pith_error *err);

/*
 * Makes a tokenizer from a tiktoken rank file: lines of base64 token, space,
 * decimal rank, where rank and id are the same number. `data` is not kept.
 *
 * name   chooses the pattern: the first of "o200k", "cl100k", "p50k", "r50k",
 *        "gpt2" or "gpt-2" found in it, so a path such as
 *        "dir/cl100k_base.tiktoken" will do.
 *
 * Fails with E_UNSUPPORTED (no such name in `name`, or a token above 1,024
 * bytes), E_CORRUPT (err->offset is the byte where the bad line starts, the
 * message has its number), E_RANGE as above, or E_MEMORY.
 */
PITH_NODISCARD pith_status pith__tokenizer_from_ranks(const void *data, size_t size,
                                                      const char *name, const pith_allocator *mem,
                                                      pith__tokenizer **out, pith_error *err);

/* Accepts NULL. */
void pith__tokenizer_free(pith__tokenizer *tokenizer);

/*
 * Appends the tokens of `text` to `out`, which keeps what it already holds;
 * nothing else is added, no BOS either. Ranges count from the start of `text`.
 *
 * parse_special   true: where the text spells a control or unknown token, it
 *                 becomes that token, the longest one at the leftmost place.
 *                 User-defined tokens are recognised either way, as they are by
 *                 the models' own tokenizers.
 * mem             of the items of `out` and of scratch memory.
 *
 * Fails with E_MEMORY, or E_RANGE when the text has 4 GiB or more; `out` then
 * holds what it held before.
 */
PITH_NODISCARD pith_status pith__tokenizer_encode(const pith__tokenizer *tokenizer,
                                                  const char *text, size_t size, bool parse_special,
                                                  const pith_allocator *mem, pith__tokens *out,
                                                  pith_error *err);

/* How many tokens pith__tokenizer_encode() would give without parse_special. Fails likewise. */
PITH_NODISCARD pith_status pith__tokenizer_count(const pith__tokenizer *tokenizer, const char *text,
                                                 size_t size, const pith_allocator *mem,
                                                 size_t *count, pith_error *err);

/*
 * The bytes of token `id`: raw ones for a piece of text, possibly no valid
 * UTF-8 by themselves; the spelling for a special token. Not NUL-terminated,
 * owned by the tokenizer. E_RANGE if there is no such id.
 */
PITH_NODISCARD pith_status pith__tokenizer_bytes(const pith__tokenizer *tokenizer, uint32_t id,
                                                 const char **bytes, size_t *size, pith_error *err);

/* Number of ids: valid ones are 0 .. size-1, though a rank file may leave some of them empty. */
uint32_t pith__tokenizer_size(const pith__tokenizer *tokenizer);

/* What begins and ends a text for the model; PITH__TOKEN_NONE when the vocabulary names none. */
uint32_t pith__tokenizer_bos(const pith__tokenizer *tokenizer);
uint32_t pith__tokenizer_eos(const pith__tokenizer *tokenizer);

/* Whether the file wants BOS before every text; false when it does not say. */
bool pith__tokenizer_adds_bos(const pith__tokenizer *tokenizer);

/*
 * SHA-256 of everything that decides which ids a text becomes and what they stand for: pattern,
 * tokens with their kinds, merges or ranks, BOS and EOS. The same for equal vocabularies from
 * different files. Hexadecimal.
 */
void pith__tokenizer_sha256(const pith__tokenizer *tokenizer, char out[PITH__SHA256_SIZE]);

/*
 * Id of the token that is spelled like this, a control or user-defined one before a piece of text,
 * the smallest id of several; PITH__TOKEN_NONE: there is none.
 */
uint32_t pith__tokenizer_find(const pith__tokenizer *tokenizer, const char *bytes, size_t size);

/* True for control and unknown tokens: those that plain text never becomes. */
bool pith__tokenizer_is_special(const pith__tokenizer *tokenizer, uint32_t id);

/* ---- training a vocabulary --------------------------------------------------- */

/* Bytes that are not NUL-terminated. */
typedef struct pith__token_text {
    const char *data;
    size_t size;
} pith__token_text;

/* Two symbols that become one when they stand side by side. */
typedef struct pith__bpe_rule {
    uint32_t left;
    uint32_t right;
} pith__bpe_rule;

/* What byte-pair encoding learned. */
typedef struct pith__bpe_vocab {
    pith__arena arena;         /* of the symbols' bytes */
    pith__token_text *symbols; /* 0 .. 255: the single bytes, in the order of GPT-2's vocabulary */
    size_t n_symbols, symbols_capacity;
    pith__bpe_rule *rules; /* in the order of the merges; number i makes symbol 256 + i */
    size_t n_rules, rules_capacity;
} pith__bpe_vocab;

/*
 * Learns byte-pair encoding (Sennrich, Haddow & Birch 2016, section 3.2) over bytes: texts
 * are cut by the pattern `pre`, a name of tokenizer.ggml.pre; then the adjacent pair of
 * symbols that occurs most often becomes a symbol, until there are `n_symbols` of them, the
 * 256 bytes included. Of equally frequent pairs it is the one whose left symbol's bytes come
 * first, then the one whose right symbol's do. A pair counts at every place it has, also where
 * places overlap. Pieces above 1,024 bytes, such as rulers or data written in letters,
 * count as pieces of 1,024 bytes and a rest.
 *
 * The result is the same for any order of the texts and any number of threads; they call
 * `mem` at once. Fails with E_ARGUMENT (an unknown pattern, fewer than 256 symbols, no pair
 * left before there are n_symbols), E_MEMORY or E_BACKEND (PCRE2).
 */
PITH_NODISCARD pith_status pith__bpe_learn(const pith__token_text *texts, size_t n_texts,
                                           const char *pre, size_t n_symbols, unsigned threads,
                                           const pith_allocator *mem, pith__bpe_vocab *out,
                                           pith_error *err);
void pith__bpe_vocab_deinit(pith__bpe_vocab *vocab);

/*
 * Spells bytes as tokenizer.ggml.tokens has them, one printable character each; `out` has
 * room for 2 * size bytes. Returns how many were written.
 */
size_t pith__token_spell(const char *bytes, size_t size, char *out);

#endif /* PITH_TOKEN_H */
