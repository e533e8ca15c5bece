/*
 * token_hash.c: what a tokenizer is, as one number.
 *
 * Everything is hashed in an order that follows from the ids, with its length before it, so that
 * the same vocabulary gives the same number however its file was laid out.
 */
#include "token/token_internal.h"

#include <string.h>

static void add_u32(pith__sha256 *hash, uint32_t value)
{
    const unsigned char bytes[] = {(unsigned char)value, (unsigned char)(value >> 8),
                                   (unsigned char)(value >> 16), (unsigned char)(value >> 24)};
    pith__sha256_add(hash, bytes, sizeof bytes);
}

static void add_bytes(pith__sha256 *hash, const char *bytes, size_t size)
{
    add_u32(hash, (uint32_t)size);
    pith__sha256_add(hash, bytes, size);
}

/*
 * All merges that make token `id`: its bytes are those of left and right together, so they are found
 * by splitting it at every place. The table itself has no order of its own.
 */
static void add_merges(pith__sha256 *hash, const pith__tokenizer *tokenizer, uint32_t id)
{
    const pith__vocab *vocab = &tokenizer->vocab;
    const char *bytes = vocab->bytes + vocab->entries[id].at;
    const size_t size = vocab->entries[id].size;
    uint64_t prefix = 0;
    for (size_t at = 1; at < size; at++) {
        prefix = prefix * PITH__VOCAB_BASE + (unsigned char)bytes[at - 1] + 1;
        const uint32_t left = pith__vocab_find_hashed(vocab, bytes, at, prefix);
        const uint32_t right = left == PITH__TOKEN_NONE
                                   ? PITH__TOKEN_NONE
                                   : pith__vocab_find(vocab, bytes + at, size - at);
        const pith__merge *merge =
            right == PITH__TOKEN_NONE ? NULL : pith__merges_find(&tokenizer->merges, left, right);
        if (merge != NULL) {
            add_u32(hash, left);
            add_u32(hash, right);
            add_u32(hash, merge->rank);
        }
    }
}

void pith__tokenizer_sha256(const pith__tokenizer *tokenizer, char out[PITH__SHA256_SIZE])
{
    const pith__vocab *vocab = &tokenizer->vocab;
    const pith__pattern_info *pattern = tokenizer->pattern.info;
    pith__sha256 hash;
    pith__sha256_init(&hash);
    add_bytes(&hash, pattern->regex, strlen(pattern->regex));
    add_u32(&hash, pattern->whole_first);
    add_u32(&hash, vocab->size);
    for (uint32_t id = 0; id < vocab->size; id++) {
        add_u32(&hash, vocab->kinds[id]);
        add_bytes(&hash, vocab->bytes + vocab->entries[id].at, vocab->entries[id].size);
    }
    add_u32(&hash, (uint32_t)tokenizer->merges.count);
    for (uint32_t id = 0; id < vocab->size; id++) {
        if (vocab->kinds[id] == PITH__TOKEN_PIECE) {
            add_u32(&hash, id);
            add_merges(&hash, tokenizer, id);
        }
    }
    add_u32(&hash, tokenizer->bos);
    add_u32(&hash, tokenizer->eos);
    pith__sha256_text(&hash, out);
}
