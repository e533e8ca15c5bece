/*
 * token_vocab.c: the bytes of every id, and the id of a piece's bytes.
 */
#include "token/token_internal.h"

#include <assert.h>
#include <string.h>

pith_status pith__vocab_init(pith__vocab *vocab, size_t size, size_t bytes,
                             const pith_allocator *mem, pith_error *err)
{
    *vocab = (pith__vocab){.mem = *mem};
    if (size >= UINT32_MAX / 4 || bytes >= UINT32_MAX) {
        return pith__fail(err, PITH_E_RANGE, "vocabulary of %zu tokens and %zu bytes is too large",
                          size, bytes);
    }
    size_t slot_count = 16;
    while (slot_count < 2 * size) {
        slot_count *= 2;
    }
    PITH__TRY(pith__alloc_zero(mem, size, sizeof *vocab->entries, &vocab->entries, err));
    vocab->size = (uint32_t)size;
    PITH__TRY(pith__alloc_zero(mem, size, sizeof *vocab->kinds, &vocab->kinds, err));
    PITH__TRY(pith__alloc(mem, bytes, 1, &vocab->bytes, err));
    vocab->bytes_capacity = bytes;
    PITH__TRY(pith__alloc_zero(mem, slot_count, sizeof *vocab->slots, &vocab->slots, err));
    vocab->slot_count = slot_count;
    return PITH_OK;
}

void pith__vocab_deinit(pith__vocab *vocab)
{
    pith__free(&vocab->mem, vocab->entries, vocab->size, sizeof *vocab->entries);
    pith__free(&vocab->mem, vocab->kinds, vocab->size, sizeof *vocab->kinds);
    pith__free(&vocab->mem, vocab->bytes, vocab->bytes_capacity, 1);
    pith__free(&vocab->mem, vocab->slots, vocab->slot_count, sizeof *vocab->slots);
    *vocab = (pith__vocab){.mem = vocab->mem};
}

uint64_t pith__vocab_hash(const char *bytes, size_t size)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < size; i++) {
        hash = hash * PITH__VOCAB_BASE + (unsigned char)bytes[i] + 1;
    }
    return hash;
}

/* The polynomial leaves its low bits weak; a slot needs all of them mixed. */
static uint32_t mix(uint64_t hash)
{
    hash ^= hash >> 32;
    hash *= UINT64_C(0xd6e8feb86659fd93);
    return (uint32_t)(hash >> 32);
}

/* The slot that holds these bytes, or the empty one where they belong. */
static pith__vocab_slot *find_slot(const pith__vocab *vocab, const char *bytes, size_t size,
                                   uint32_t mixed)
{
    const size_t mask = vocab->slot_count - 1;
    for (size_t i = mixed & mask;; i = (i + 1) & mask) {
        pith__vocab_slot *slot = &vocab->slots[i];
        if (slot->id_plus_1 == 0) {
            return slot;
        }
        const pith__vocab_entry *entry = &vocab->entries[slot->id_plus_1 - 1];
        if (slot->hash == mixed && entry->size == size &&
            memcmp(vocab->bytes + entry->at, bytes, size) == 0) {
            return slot;
        }
    }
}

uint32_t pith__vocab_find_hashed(const pith__vocab *vocab, const char *bytes, size_t size,
                                 uint64_t hash)
{
    return find_slot(vocab, bytes, size, mix(hash))->id_plus_1 - 1; /* 0 - 1: PITH__TOKEN_NONE */
}

uint32_t pith__vocab_find(const pith__vocab *vocab, const char *bytes, size_t size)
{
    return pith__vocab_find_hashed(vocab, bytes, size, pith__vocab_hash(bytes, size));
}

uint32_t pith__vocab_add(pith__vocab *vocab, uint32_t id, pith__token_kind kind, const char *bytes,
                         size_t size)
{
    assert(id < vocab->size && vocab->kinds[id] == PITH__TOKEN_EMPTY);
    assert(size <= vocab->bytes_capacity - vocab->bytes_used);
    if (kind == PITH__TOKEN_PIECE) {
        const uint32_t mixed = mix(pith__vocab_hash(bytes, size));
        pith__vocab_slot *slot = find_slot(vocab, bytes, size, mixed);
        if (slot->id_plus_1 != 0) {
            return slot->id_plus_1 - 1;
        }
        *slot = (pith__vocab_slot){.hash = mixed, .id_plus_1 = id + 1};
    }
    if (size > 0) {
        memcpy(vocab->bytes + vocab->bytes_used, bytes, size);
    }
    vocab->entries[id] =
        (pith__vocab_entry){.at = (uint32_t)vocab->bytes_used, .size = (uint32_t)size};
    vocab->bytes_used += size;
    vocab->kinds[id] = (uint8_t)kind;
    return PITH__TOKEN_NONE;
}

pith_status pith__vocab_find_bytes(pith__vocab *vocab, pith_error *err)
{
    for (unsigned i = 0; i < 256; i++) {
        const char byte = (char)(unsigned char)i;
        vocab->byte_ids[i] = pith__vocab_find(vocab, &byte, 1);
        if (vocab->byte_ids[i] == PITH__TOKEN_NONE) {
            return pith__fail(err, PITH_E_CORRUPT, "vocabulary has no token for byte 0x%02x", i);
        }
    }
    return PITH_OK;
}
