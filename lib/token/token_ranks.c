/*
 * token_ranks.c: a tokenizer from a tiktoken rank file.
 *
 * Such a file has no merges: two tokens merge if their bytes together are a
 * token, and its rank is the rank of the merge. Splitting every token at every
 * place gives the same merges that a GGUF file lists.
 */
#include "token/token_internal.h"

#include <string.h>

/* Real files stay below 150; a bound keeps the splits of a token few beside its size in the file. */
#define TOKEN_SIZE_MAX 1024u

/* A line of the file. */
typedef struct rank_line {
    const char *text; /* without the line break */
    size_t size;
    size_t offset; /* of its first byte in the file */
    size_t number; /* from 1 */
} rank_line;

/* Moves to the next line that is not empty; false at the end. Start with all zero. */
static bool next_line(rank_line *line, const char *data, size_t size)
{
    size_t at = line->offset + line->size + (line->number > 0);
    while (at < size) {
        const char *end = memchr(data + at, '\n', size - at);
        line->text = data + at;
        line->offset = at;
        line->size = end == NULL ? size - at : (size_t)(end - line->text);
        line->number++;
        at += line->size + 1;
        if (line->size > 0 && line->text[0] != '\r') {
            return true;
        }
    }
    return false;
}

static int base64_value(char c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c == '\0' ? NULL : strchr(alphabet, c);
    return at == NULL ? -1 : (int)(at - alphabet);
}

/* Canonical base64 of at least one byte; `out` has room for size / 4 * 3 bytes. */
static bool base64_decode(const char *text, size_t size, char *out, size_t *out_size)
{
    *out_size = 0;
    if (size == 0 || size % 4 != 0) {
        return false;
    }
    const size_t padding = (size_t)(text[size - 1] == '=') + (text[size - 2] == '=');
    for (size_t i = 0; i < size; i += 4) {
        const size_t given = i + 4 == size ? 4 - padding : 4;
        uint32_t bits = 0;
        for (size_t j = 0; j < 4; j++) {
            const int value = j < given ? base64_value(text[i + j]) : 0;
            if (value < 0) {
                return false;
            }
            bits = bits << 6 | (uint32_t)value;
        }
        for (size_t j = 0; j + 1 < given; j++) {
            out[(*out_size)++] = (char)(unsigned char)(bits >> (16 - 8 * j));
        }
    }
    return true;
}

/* Decimal, nothing else, at most `max`. */
static bool parse_rank(const char *text, size_t size, size_t max, uint32_t *out)
{
    size_t value = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || value > max / 10) {
            return false;
        }
        value = value * 10 + (size_t)(text[i] - '0');
    }
    *out = (uint32_t)value;
    return size > 0 && value <= max;
}

/*
 * token and rank of a line. A rank above the number of bytes in the file is
 * damage: no file is that sparse, and the ids decide how much memory we take.
 */
static pith_status parse_line(const rank_line *line, size_t rank_max, char *bytes, size_t *size,
                              uint32_t *rank, pith_error *err)
{
    size_t length = line->size;
    length -= line->text[length - 1] == '\r';
    const char *space = memchr(line->text, ' ', length);
    const size_t token = space == NULL ? length : (size_t)(space - line->text);
    if (token / 4 * 3 > TOKEN_SIZE_MAX + 2) {
        return pith__fail_at(err, PITH_E_UNSUPPORTED, line->offset,
                             "line %zu: a token of more than %u bytes", line->number,
                             TOKEN_SIZE_MAX);
    }
    if (space == NULL || !base64_decode(line->text, token, bytes, size) ||
        !parse_rank(space + 1, length - token - 1, rank_max, rank)) {
        return pith__fail_at(err, PITH_E_CORRUPT, line->offset,
                             "line %zu is not a token in base64, a space and a rank", line->number);
    }
    return PITH_OK;
}

static pith_status read_vocab(pith__vocab *vocab, const char *data, size_t size, pith_error *err)
{
    rank_line line = {.number = 0};
    while (next_line(&line, data, size)) {
        char bytes[TOKEN_SIZE_MAX + 8];
        size_t length = 0;
        uint32_t rank = 0;
        PITH__TRY(parse_line(&line, vocab->size - 1, bytes, &length, &rank, err));
        if (vocab->kinds[rank] != PITH__TOKEN_EMPTY ||
            pith__vocab_add(vocab, rank, PITH__TOKEN_PIECE, bytes, length) != PITH__TOKEN_NONE) {
            return pith__fail_at(err, PITH_E_CORRUPT, line.offset,
                                 "line %zu: rank %u or its token occurred before", line.number,
                                 rank);
        }
    }
    return pith__vocab_find_bytes(vocab, err);
}

/* The highest rank of the file, for the size of the vocabulary. */
static pith_status find_rank_max(const char *data, size_t size, uint32_t *out, pith_error *err)
{
    const size_t limit = size < UINT32_MAX / 8 ? size : UINT32_MAX / 8;
    rank_line line = {.number = 0};
    *out = 0;
    while (next_line(&line, data, size)) {
        char bytes[TOKEN_SIZE_MAX + 8];
        size_t length = 0;
        uint32_t rank = 0;
        PITH__TRY(parse_line(&line, limit, bytes, &length, &rank, err));
        *out = rank > *out ? rank : *out;
    }
    return PITH_OK;
}

/* Adds every merge that makes token `id`. */
static pith_status add_splits(pith__tokenizer *tokenizer, uint32_t id, pith_error *err)
{
    const pith__vocab *vocab = &tokenizer->vocab;
    const char *bytes = vocab->bytes + vocab->entries[id].at;
    const size_t size = vocab->entries[id].size;
    const uint64_t whole = pith__vocab_hash(bytes, size);
    uint64_t power[TOKEN_SIZE_MAX + 1]; /* of the hash's base: what a suffix takes off a prefix */
    power[0] = 1;
    for (size_t i = 1; i < size; i++) {
        power[i] = power[i - 1] * PITH__VOCAB_BASE;
    }
    uint64_t prefix = 0;
    for (size_t at = 1; at < size; at++) {
        prefix = prefix * PITH__VOCAB_BASE + (unsigned char)bytes[at - 1] + 1;
        const uint32_t left = pith__vocab_find_hashed(vocab, bytes, at, prefix);
        if (left == PITH__TOKEN_NONE) {
            continue;
        }
        const uint32_t right = pith__vocab_find_hashed(vocab, bytes + at, size - at,
                                                       whole - prefix * power[size - at]);
        if (right == PITH__TOKEN_NONE) {
            continue;
        }
        PITH__TRY(pith__merges_reserve(&tokenizer->merges, tokenizer->merges.count + 1,
                                       &tokenizer->mem, err));
        pith__merges_add(&tokenizer->merges,
                         (pith__merge){.left = left, .right = right, .rank = id, .merged = id});
    }
    return PITH_OK;
}

static pith_status read_all(pith__tokenizer *tokenizer, const char *data, size_t size,
                            const char *name, pith_error *err)
{
    const pith__pattern_info *info = pith__pattern_of_ranks(name);
    if (info == NULL) {
        return pith__fail(err, PITH_E_UNSUPPORTED,
                          "no pattern for a rank file of this name: \"%.120s\"", name);
    }
    uint32_t rank_max = 0;
    PITH__TRY(find_rank_max(data, size, &rank_max, err));
    PITH__TRY(pith__pattern_init(&tokenizer->pattern, info, err));
    PITH__TRY(
        pith__vocab_init(&tokenizer->vocab, (size_t)rank_max + 1, size, &tokenizer->mem, err));
    PITH__TRY(read_vocab(&tokenizer->vocab, data, size, err));
    PITH__TRY(pith__merges_reserve(&tokenizer->merges, rank_max, &tokenizer->mem, err));
    for (uint32_t id = 0; id <= rank_max; id++) {
        PITH__TRY(add_splits(tokenizer, id, err));
    }
    return PITH_OK;
}

pith_status pith__tokenizer_from_ranks(const void *data, size_t size, const char *name,
                                       const pith_allocator *mem, pith__tokenizer **out,
                                       pith_error *err)
{
    *out = NULL;
    pith__tokenizer *tokenizer = NULL;
    PITH__TRY(pith__tokenizer_new(mem, &tokenizer, err));
    const pith_status status = read_all(tokenizer, data, size, name, err);
    if (status != PITH_OK) {
        pith__tokenizer_free(tokenizer);
        return status;
    }
    *out = tokenizer;
    return PITH_OK;
}
