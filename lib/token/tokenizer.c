/*
 * tokenizer.c: a text through special tokens, pattern and merges; and what a
 * tokenizer says about itself.
 */
#include "token/token_internal.h"

#include <string.h>

/* ---- cache ------------------------------------------------------------------ */

/*
 * Words repeat: a call remembers how it cut the short pieces it met last. A
 * piece of up to 15 bytes and its length fill two integers, so a look-up is two
 * comparisons. Direct-mapped: what comes later replaces what was there.
 */
#define CACHE_PIECE_MAX  15u
#define CACHE_TOKENS_MAX 4u
#define CACHE_SLOTS_MAX  4096u

typedef struct cache_key {
    uint64_t low;
    uint64_t high; /* the last byte is the length */
} cache_key;

typedef struct cache_slot {
    cache_key key; /* all zero: empty, as no piece has length 0 */
    uint32_t ids[CACHE_TOKENS_MAX];
    uint8_t ends[CACHE_TOKENS_MAX];
    uint8_t count;
} cache_slot;

static cache_key cache_key_of(const char *piece, size_t size)
{
    unsigned char bytes[16] = {0};
    memcpy(bytes, piece, size);
    bytes[15] = (unsigned char)size;
    cache_key key;
    memcpy(&key, bytes, sizeof key);
    return key;
}

static size_t cache_index(cache_key key, size_t slot_count)
{
    uint64_t hash = (key.low ^ key.high * UINT64_C(0xd6e8feb86659fd93));
    hash *= UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash >> 32) & (slot_count - 1);
}

/* ---- encoding ---------------------------------------------------------------- */

/* The state of one call. */
typedef struct encoding {
    const pith__tokenizer *tokenizer;
    const pith_allocator *mem;
    pith__splitter splitter;
    pith__bpe_work work;
    cache_slot *cache;
    size_t cache_slots;
    pith__tokens *out; /* NULL: only count */
    size_t count;
} encoding;

/* Few slots for a short text, which would not fill more. */
static pith_status encoder_init(encoding *encoder, const pith__tokenizer *tokenizer, size_t size,
                                const pith_allocator *mem, pith_error *err)
{
    encoder->tokenizer = tokenizer;
    encoder->mem = mem;
    encoder->work.mem = mem;
    encoder->cache_slots = 16;
    while (encoder->cache_slots < CACHE_SLOTS_MAX && encoder->cache_slots < size / 8) {
        encoder->cache_slots *= 2;
    }
    PITH__TRY(
        pith__alloc_zero(mem, encoder->cache_slots, sizeof *encoder->cache, &encoder->cache, err));
    return pith__splitter_init(&encoder->splitter, &tokenizer->pattern, err);
}

static void encoder_deinit(encoding *encoder)
{
    pith__splitter_deinit(&encoder->splitter);
    pith__bpe_work_deinit(&encoder->work);
    pith__free(encoder->mem, encoder->cache, encoder->cache_slots, sizeof *encoder->cache);
}

/* Makes room in the output for `count` more tokens. */
static pith_status reserve(encoding *encoder, size_t count, pith_error *err)
{
    encoder->count += count;
    if (encoder->out == NULL) {
        return PITH_OK;
    }
    return pith__grow(encoder->mem, &encoder->out->items, &encoder->out->capacity,
                      encoder->out->count + count, sizeof *encoder->out->items, err);
}

static void put(encoding *encoder, size_t start, size_t end, uint32_t id)
{
    encoder->out->items[encoder->out->count++] =
        (pith__token){.start = start, .end = end, .id = id};
}

static pith_status put_one(encoding *encoder, pith__token token, pith_error *err)
{
    PITH__TRY(reserve(encoder, 1, err));
    if (encoder->out != NULL) {
        put(encoder, token.start, token.end, token.id);
    }
    return PITH_OK;
}

static pith_status put_cached(encoding *encoder, const cache_slot *slot, size_t start,
                              pith_error *err)
{
    PITH__TRY(reserve(encoder, slot->count, err));
    for (size_t i = 0, at = 0; encoder->out != NULL && i < slot->count; at = slot->ends[i++]) {
        put(encoder, start + at, start + slot->ends[i], slot->ids[i]);
    }
    return PITH_OK;
}

static pith_status put_nodes(encoding *encoder, size_t count, size_t start, pith_error *err)
{
    const pith__bpe_node *nodes = encoder->work.nodes;
    PITH__TRY(reserve(encoder, count, err));
    for (size_t i = 0, at = 0; encoder->out != NULL && i < count; at = nodes[i++].end) {
        put(encoder, start + at, start + nodes[i].end, nodes[i].id);
    }
    return PITH_OK;
}

/* Leaves the tokens of a piece in encoder->work.nodes. */
static pith_status encode_piece(encoding *encoder, const char *piece, size_t size, size_t *count,
                                pith_error *err)
{
    const pith__tokenizer *tokenizer = encoder->tokenizer;
    pith__bpe_work *work = &encoder->work;
    if (tokenizer->pattern.info->whole_first) {
        const uint32_t id = pith__vocab_find(&tokenizer->vocab, piece, size);
        if (id != PITH__TOKEN_NONE) {
            PITH__TRY(pith__grow(work->mem, &work->nodes, &work->nodes_capacity, 1,
                                 sizeof *work->nodes, err));
            work->nodes[0] = (pith__bpe_node){.id = id, .end = (uint32_t)size};
            *count = 1;
            return PITH_OK;
        }
    }
    switch (tokenizer->kind) {
    case PITH__TOKENIZER_BPE:
        break;
    }
    return pith__bpe_merge(&tokenizer->vocab, &tokenizer->merges, work, piece, size, count, err);
}

static void remember(const encoding *encoder, cache_slot *slot, cache_key key, size_t count)
{
    if (count > CACHE_TOKENS_MAX) {
        return;
    }
    slot->key = key;
    slot->count = (uint8_t)count;
    for (size_t i = 0; i < count; i++) {
        slot->ids[i] = encoder->work.nodes[i].id;
        slot->ends[i] = (uint8_t)encoder->work.nodes[i].end;
    }
}

static pith_status put_piece(encoding *encoder, const char *text, size_t start, size_t end,
                             pith_error *err)
{
    const size_t size = end - start;
    const bool fits = size <= CACHE_PIECE_MAX;
    cache_key key = {0, 0};
    cache_slot *slot = NULL;
    if (fits) {
        key = cache_key_of(text + start, size);
        slot = &encoder->cache[cache_index(key, encoder->cache_slots)];
        if (slot->key.low == key.low && slot->key.high == key.high) {
            return put_cached(encoder, slot, start, err);
        }
    }
    size_t count = 0;
    PITH__TRY(encode_piece(encoder, text + start, size, &count, err));
    if (slot != NULL) {
        remember(encoder, slot, key, count);
    }
    return put_nodes(encoder, count, start, err);
}

/* Text without special tokens. */
static pith_status put_plain(encoding *encoder, const char *text, size_t start, size_t end,
                             pith_error *err)
{
    pith__splitter_start(&encoder->splitter, text, start, end);
    for (;;) {
        size_t piece_start = 0;
        size_t piece_end = 0;
        PITH__TRY(pith__splitter_next(&encoder->splitter, &piece_start, &piece_end, err));
        if (piece_start == piece_end) {
            return PITH_OK;
        }
        PITH__TRY(put_piece(encoder, text, piece_start, piece_end, err));
    }
}

static pith_status put_text(encoding *encoder, const char *text, size_t size,
                            const pith__special *special, pith_error *err)
{
    const pith__vocab *vocab = &encoder->tokenizer->vocab;
    size_t done = 0;
    pith__token found;
    while (pith__special_find(special, vocab, text, size, done, &found)) {
        PITH__TRY(put_plain(encoder, text, done, found.start, err));
        PITH__TRY(put_one(encoder, found, err));
        done = found.end;
    }
    return put_plain(encoder, text, done, size, err);
}

static pith_status run(const pith__tokenizer *tokenizer, const char *text, size_t size,
                       bool parse_special, encoding *encoder, const pith_allocator *mem,
                       pith_error *err)
{
    if (size >= UINT32_MAX) {
        return pith__fail(err, PITH_E_RANGE, "text of %zu bytes; fewer than 4 GiB are possible",
                          size);
    }
    if (size == 0) {
        return PITH_OK;
    }
    pith_status status = encoder_init(encoder, tokenizer, size, mem, err);
    if (status == PITH_OK) {
        const pith__special *special = parse_special ? &tokenizer->special : &tokenizer->user;
        status = put_text(encoder, text, size, special, err);
    }
    encoder_deinit(encoder);
    return status;
}

pith_status pith__tokenizer_encode(const pith__tokenizer *tokenizer, const char *text, size_t size,
                                   bool parse_special, const pith_allocator *mem, pith__tokens *out,
                                   pith_error *err)
{
    const size_t before = out->count;
    encoding encoder = {.out = out};
    const pith_status status = run(tokenizer, text, size, parse_special, &encoder, mem, err);
    if (status != PITH_OK) {
        out->count = before;
    }
    return status;
}

pith_status pith__tokenizer_count(const pith__tokenizer *tokenizer, const char *text, size_t size,
                                  const pith_allocator *mem, size_t *count, pith_error *err)
{
    encoding encoder = {.out = NULL};
    const pith_status status = run(tokenizer, text, size, false, &encoder, mem, err);
    *count = status == PITH_OK ? encoder.count : 0;
    return status;
}

void pith__tokens_deinit(pith__tokens *tokens, const pith_allocator *mem)
{
    pith__free(mem, tokens->items, tokens->capacity, sizeof *tokens->items);
    *tokens = (pith__tokens){.items = NULL};
}

/* ---- the tokenizer ----------------------------------------------------------- */

pith_status pith__tokenizer_new(const pith_allocator *mem, pith__tokenizer **out, pith_error *err)
{
    PITH__TRY(pith__alloc_zero(mem, 1, sizeof **out, out, err));
    pith__tokenizer *tokenizer = *out;
    tokenizer->mem = *mem;
    tokenizer->vocab.mem = *mem;
    tokenizer->bos = PITH__TOKEN_NONE;
    tokenizer->eos = PITH__TOKEN_NONE;
    return PITH_OK;
}

void pith__tokenizer_free(pith__tokenizer *tokenizer)
{
    if (tokenizer == NULL) {
        return;
    }
    const pith_allocator mem = tokenizer->mem;
    pith__pattern_deinit(&tokenizer->pattern);
    pith__merges_deinit(&tokenizer->merges, &mem);
    pith__special_deinit(&tokenizer->user, &mem);
    pith__special_deinit(&tokenizer->special, &mem);
    pith__vocab_deinit(&tokenizer->vocab);
    pith__free(&mem, tokenizer, 1, sizeof *tokenizer);
}

pith_status pith__tokenizer_bytes(const pith__tokenizer *tokenizer, uint32_t id, const char **bytes,
                                  size_t *size, pith_error *err)
{
    const pith__vocab *vocab = &tokenizer->vocab;
    *bytes = NULL;
    *size = 0;
    if (id >= vocab->size) {
        return pith__fail(err, PITH_E_RANGE, "no token %u in a vocabulary of %u", id, vocab->size);
    }
    *bytes = vocab->bytes + vocab->entries[id].at;
    *size = vocab->entries[id].size;
    return PITH_OK;
}

uint32_t pith__tokenizer_size(const pith__tokenizer *tokenizer)
{
    return tokenizer->vocab.size;
}

uint32_t pith__tokenizer_bos(const pith__tokenizer *tokenizer)
{
    return tokenizer->bos;
}

uint32_t pith__tokenizer_eos(const pith__tokenizer *tokenizer)
{
    return tokenizer->eos;
}

bool pith__tokenizer_adds_bos(const pith__tokenizer *tokenizer)
{
    return tokenizer->adds_bos;
}

uint32_t pith__tokenizer_find(const pith__tokenizer *tokenizer, const char *bytes, size_t size)
{
    const pith__vocab *vocab = &tokenizer->vocab;
    const pith__special *special = &tokenizer->special;
    for (size_t i = 0; i < special->count && size > 0; i++) {
        const pith__vocab_entry *entry = &vocab->entries[special->ids[i]];
        if (entry->size == size && memcmp(vocab->bytes + entry->at, bytes, size) == 0) {
            return special->ids[i];
        }
    }
    return size == 0 ? PITH__TOKEN_NONE : pith__vocab_find(vocab, bytes, size);
}

bool pith__tokenizer_is_special(const pith__tokenizer *tokenizer, uint32_t id)
{
    const pith__vocab *vocab = &tokenizer->vocab;
    return id < vocab->size && vocab->kinds[id] == PITH__TOKEN_CONTROL;
}
