/*
 * hash.c: SHA-256, by libsodium.
 *
 * sodium_init() is not called: it opens the system's random numbers, and may abort where there are
 * none. Hashing needs nothing of it: the functions here keep no state of their own.
 */
#include "base/base.h"

#include <sodium/crypto_hash_sha256.h>

#include <assert.h>
#include <string.h>

static_assert(sizeof(crypto_hash_sha256_state) <= sizeof(((pith__sha256 *)0)->state),
              "pith__sha256 holds libsodium's state");
static_assert(crypto_hash_sha256_BYTES == PITH__SHA256_BYTES, "a hash has this size");

static crypto_hash_sha256_state load(const pith__sha256 *hash)
{
    crypto_hash_sha256_state state;
    memcpy(&state, hash->state, sizeof state);
    return state;
}

static void store(pith__sha256 *hash, const crypto_hash_sha256_state *state)
{
    memcpy(hash->state, state, sizeof *state);
}

void pith__sha256_init(pith__sha256 *hash)
{
    crypto_hash_sha256_state state;
    memset(hash, 0, sizeof *hash);
    (void)crypto_hash_sha256_init(&state);
    store(hash, &state);
}

void pith__sha256_add(pith__sha256 *hash, const void *data, size_t size)
{
    crypto_hash_sha256_state state = load(hash);
    (void)crypto_hash_sha256_update(&state, data, size);
    store(hash, &state);
}

void pith__sha256_bytes(const pith__sha256 *hash, unsigned char bytes[PITH__SHA256_BYTES])
{
    crypto_hash_sha256_state state = load(hash);
    (void)crypto_hash_sha256_final(&state, bytes);
}

void pith__sha256_text(const pith__sha256 *hash, char text[PITH__SHA256_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[PITH__SHA256_BYTES];
    pith__sha256_bytes(hash, bytes);
    for (size_t i = 0; i < sizeof bytes; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * sizeof bytes] = '\0';
}

void pith__sha256_of(const void *data, size_t size, char text[PITH__SHA256_SIZE])
{
    pith__sha256 hash;
    pith__sha256_init(&hash);
    pith__sha256_add(&hash, data, size);
    pith__sha256_text(&hash, text);
}
