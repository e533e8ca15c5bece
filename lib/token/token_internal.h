/*
 * token_internal.h: the parts of a tokenizer, shared by the files of this folder only.
 *
 *     token_vocab.c     ids <-> bytes
 *     token_special.c   where a text spells a special token
 *     token_pattern.c   text -> pieces
 *     token_bpe.c       piece -> tokens
 *     token_gguf.c      a tokenizer from a GGUF file
 *     token_ranks.c     a tokenizer from a tiktoken rank file
 *     token_hash.c      a tokenizer's SHA-256
 *     tokenizer.c       a text through all of them
 */
#ifndef PITH_TOKEN_INTERNAL_H
#define PITH_TOKEN_INTERNAL_H

#include "token/token.h"

/* ---- vocabulary ----------------------------------------------------------- */

typedef enum pith__token_kind {
    PITH__TOKEN_EMPTY = 0, /* no such token, or one that text never becomes */
    PITH__TOKEN_PIECE,     /* a piece of text, in raw bytes */
    PITH__TOKEN_USER,      /* user-defined: recognised in every text by its spelling */
    PITH__TOKEN_CONTROL    /* control or unknown: recognised on request */
} pith__token_kind;

typedef struct pith__vocab_entry {
    uint32_t at; /* of its bytes in `bytes` */
    uint32_t size;
} pith__vocab_entry;

/* Empty when id_plus_1 is 0. The hash spares most comparisons. */
typedef struct pith__vocab_slot {
    uint32_t hash;
    uint32_t id_plus_1;
} pith__vocab_slot;

typedef struct pith__vocab {
    pith_allocator mem;
    uint32_t size; /* ids are 0 .. size-1 */
    pith__vocab_entry *entries;
    uint8_t *kinds; /* pith__token_kind of each id */
    char *bytes;
    size_t bytes_used;
    size_t bytes_capacity;
    pith__vocab_slot *slots; /* pieces by their bytes; open addressing */
    size_t slot_count;       /* a power of two, at least twice `size` */
    uint32_t byte_ids[256];  /* the token of each single byte; filled by pith__vocab_find_bytes() */
} pith__vocab;

/* Room for ids 0 .. size-1, all empty, with up to `bytes` bytes together. E_MEMORY, or E_RANGE if 4 GiB or more. */
PITH_NODISCARD pith_status pith__vocab_init(pith__vocab *vocab, size_t size, size_t bytes,
                                            const pith_allocator *mem, pith_error *err);
void pith__vocab_deinit(pith__vocab *vocab);

/*
 * Gives an empty id its bytes, which must fit in the room there is. Pieces can
 * be found by pith__vocab_find() from now on. Returns the id that already has
 * the same bytes if both are pieces (the new one is then not added), else
 * PITH__TOKEN_NONE.
 */
uint32_t pith__vocab_add(pith__vocab *vocab, uint32_t id, pith__token_kind kind, const char *bytes,
                         size_t size);

/* The piece with exactly these bytes, or PITH__TOKEN_NONE. */
uint32_t pith__vocab_find(const pith__vocab *vocab, const char *bytes, size_t size);

/* The same for a caller who knows pith__vocab_hash() of the bytes. */
uint32_t pith__vocab_find_hashed(const pith__vocab *vocab, const char *bytes, size_t size,
                                 uint64_t hash);

/* A polynomial in PITH__VOCAB_BASE, so that the hash of a suffix follows from those of prefixes. */
#define PITH__VOCAB_BASE UINT64_C(0x9e3779b97f4a7c15)
uint64_t pith__vocab_hash(const char *bytes, size_t size);

/* Fills byte_ids; E_CORRUPT names the first byte that has no token. */
PITH_NODISCARD pith_status pith__vocab_find_bytes(pith__vocab *vocab, pith_error *err);

/* ---- special tokens in text ------------------------------------------------ */

/* Tokens to look for. All zero is an empty set, which matches nowhere. */
typedef struct pith__special {
    uint32_t *ids; /* sorted by their bytes */
    size_t count;
    size_t capacity;
    bool starts[256]; /* whether one of them starts with this byte */
} pith__special;

/* Collects the user-defined tokens, and the control tokens too if asked. E_MEMORY. */
PITH_NODISCARD pith_status pith__special_init(pith__special *special, const pith__vocab *vocab,
                                              bool with_control, pith_error *err);
void pith__special_deinit(pith__special *special, const pith_allocator *mem);

/*
 * The leftmost place at or after `from` where the text spells one of the
 * tokens, the longest there; false if there is none.
 */
bool pith__special_find(const pith__special *special, const pith__vocab *vocab, const char *text,
                        size_t size, size_t from, pith__token *out);

/* ---- pattern --------------------------------------------------------------- */

/* What a pre-tokenizer's name stands for. */
typedef struct pith__pattern_info {
    const char *name;
    const char *regex;
    bool whole_first; /* a piece that is a token stays whole, whatever the merges say */
    bool plain_words; /* a run of ASCII letters, with a space before it or not, is one piece */
} pith__pattern_info;

/* By tokenizer.ggml.pre of a GGUF file; NULL if unknown. */
const pith__pattern_info *pith__pattern_of_gguf(pith__gguf_string pre);

/* By the name of a tiktoken file; NULL if it holds no known name. */
const pith__pattern_info *pith__pattern_of_ranks(const char *name);

/* A compiled pattern; immutable, shared by threads. */
typedef struct pith__pattern {
    const pith__pattern_info *info;
    void *code; /* pcre2_code */
    bool jit;
} pith__pattern;

/* E_MEMORY, or E_BACKEND if this PCRE2 does not take the pattern. */
PITH_NODISCARD pith_status pith__pattern_init(pith__pattern *pattern,
                                              const pith__pattern_info *info, pith_error *err);
void pith__pattern_deinit(pith__pattern *pattern);

/* Walks over the pieces of a text. */
typedef struct pith__splitter {
    const pith__pattern *pattern;
    void *match;   /* pcre2_match_data */
    void *context; /* pcre2_match_context */
    const char *text;
    size_t size;
    size_t pos;         /* where the next piece starts */
    size_t valid_start; /* [valid_start, valid_end) is well-formed; pos lies in it or is its end */
    size_t valid_end;
} pith__splitter;

/* E_MEMORY. */
PITH_NODISCARD pith_status pith__splitter_init(pith__splitter *splitter,
                                               const pith__pattern *pattern, pith_error *err);
void pith__splitter_deinit(pith__splitter *splitter);

/* Begins text[start .. end), which is cut as if nothing stood before or after it. */
void pith__splitter_start(pith__splitter *splitter, const char *text, size_t start, size_t end);

/* The next piece, never empty; *end == *start when there is no more. E_MEMORY or E_BACKEND. */
PITH_NODISCARD pith_status pith__splitter_next(pith__splitter *splitter, size_t *start, size_t *end,
                                               pith_error *err);

/* ---- byte-pair encoding ---------------------------------------------------- */

/* Two tokens that stand side by side, what they become and how soon. */
typedef struct pith__merge {
    uint32_t left; /* PITH__TOKEN_NONE: empty slot */
    uint32_t right;
    uint32_t rank;
    uint32_t merged;
} pith__merge;

typedef struct pith__merges {
    pith__merge *slots; /* open addressing */
    size_t slot_count;  /* 0 or a power of two, at least 4/3 of `count` */
    size_t count;
} pith__merges;

/* Makes room for `count` merges in all. E_MEMORY. */
PITH_NODISCARD pith_status pith__merges_reserve(pith__merges *merges, size_t count,
                                                const pith_allocator *mem, pith_error *err);
void pith__merges_deinit(pith__merges *merges, const pith_allocator *mem);

/* Adds a merge for which there is room; of two with the same pair the first one counts. */
void pith__merges_add(pith__merges *merges, pith__merge merge);

/* The merge of this pair, or NULL. */
const pith__merge *pith__merges_find(const pith__merges *merges, uint32_t left, uint32_t right);

/* One token while its piece is being merged. */
typedef struct pith__bpe_node {
    uint32_t id;
    uint32_t end; /* byte of the piece after it; also the index of the next node in a long piece */
    uint32_t before; /* index of the node before it; in a long piece only */
    uint32_t rank;   /* of the pair it starts; UINT32_MAX: no merge */
    uint32_t merged; /* what that pair becomes */
} pith__bpe_node;

/* Up to this many bytes a piece is merged by looking through all its pairs each time. */
#define PITH__BPE_SHORT 32u

/* Working memory of one call. All zero, with `mem` set, to begin with. */
typedef struct pith__bpe_work {
    const pith_allocator *mem;
    pith__bpe_node *nodes; /* [0 .. count of the last piece) are its tokens */
    size_t nodes_capacity;
    uint64_t *heap; /* rank << 32 | index of a pair's left node, smallest first */
    size_t heap_count;
    size_t heap_capacity;
} pith__bpe_work;

void pith__bpe_work_deinit(pith__bpe_work *work);

/*
 * Merges a piece of `size` > 0 bytes, in O(size log size); the tokens are left
 * in work->nodes (id and end). E_MEMORY.
 */
PITH_NODISCARD pith_status pith__bpe_merge(const pith__vocab *vocab, const pith__merges *merges,
                                           pith__bpe_work *work, const char *piece, size_t size,
                                           size_t *count, pith_error *err);

/* ---- tokenizer ------------------------------------------------------------- */

/* The kind of a vocabulary decides how a piece becomes tokens. */
typedef enum pith__tokenizer_kind { PITH__TOKENIZER_BPE = 0 } pith__tokenizer_kind;

struct pith__tokenizer {
    pith_allocator mem;
    pith__tokenizer_kind kind;
    pith__vocab vocab;
    pith__special user;    /* recognised in every text */
    pith__special special; /* recognised when special tokens are parsed: the above and control */
    pith__pattern pattern;
    pith__merges merges;
    uint32_t bos;
    uint32_t eos;
    bool adds_bos;
};

/* An empty tokenizer, to be filled or freed. E_MEMORY. */
PITH_NODISCARD pith_status pith__tokenizer_new(const pith_allocator *mem, pith__tokenizer **out,
                                               pith_error *err);

#endif /* PITH_TOKEN_INTERNAL_H */
