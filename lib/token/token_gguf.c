/*
 * token_gguf.c: a tokenizer from the metadata of a GGUF file.
 *
 * There, the bytes of a token are spelled with one printable character each:
 * printable Latin-1 stands for itself, the other 68 byte values for the
 * characters from U+0100 on, in order.
 */
#include "token/token_internal.h"

#include <string.h>

/* Characters of the spelling: U+0000 .. U+0143. */
#define LETTER_COUNT 0x144

/* Values of tokenizer.ggml.token_type. */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_USER = 4, TYPE_BYTE = 6 };

/* The byte that each character stands for; -1: none. */
typedef struct letter_table {
    int16_t bytes[LETTER_COUNT];
} letter_table;

/* What the reading of one file passes around. */
typedef struct gguf_reader {
    const pith__gguf *gguf;
    pith__tokenizer *tokenizer;
    letter_table letters;
    char *scratch; /* holds any one string of the file, decoded */
    size_t scratch_size;
} gguf_reader;

static void letters_init(letter_table *out)
{
    for (size_t i = 0; i < LETTER_COUNT; i++) {
        out->bytes[i] = -1;
    }
    int16_t next = 0x100;
    for (int16_t byte = 0; byte < 0x100; byte++) {
        const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
        out->bytes[printable ? byte : next] = byte;
        next = (int16_t)(next + !printable);
    }
}

/* Turns characters into bytes; false if one of them stands for none. `out` has room for text.size. */
static bool decode(const letter_table *letters, pith__gguf_string text, char *out, size_t *size)
{
    const unsigned char *bytes = (const unsigned char *)text.data;
    *size = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned code = bytes[i];
        if (code >= 0x80) { /* only the two-byte forms of UTF-8 reach up to U+0143 */
            const bool pair =
                code >= 0xc2 && code <= 0xc5 && i + 1 < text.size && (bytes[i + 1] & 0xc0u) == 0x80;
            code = pair ? (code & 0x1fu) << 6 | (bytes[++i] & 0x3fu) : LETTER_COUNT;
        }
        if (code >= LETTER_COUNT || letters->bytes[code] < 0) {
            return false;
        }
        out[(*size)++] = (char)(unsigned char)letters->bytes[code];
    }
    return true;
}

/* Where a string of an array lies in the file, for messages. */
static size_t offset_of(const pith__gguf *gguf, const char *key, pith__gguf_string string)
{
    const pith__gguf_kv *kv = pith__gguf_find(gguf, key);
    const size_t inside = (size_t)((const unsigned char *)string.data - kv->raw);
    return kv->offset + inside;
}

static pith__token_kind kind_of(int32_t type)
{
    switch (type) {
    case TYPE_NORMAL:
    case TYPE_BYTE:
        return PITH__TOKEN_PIECE;
    case TYPE_USER:
        return PITH__TOKEN_USER;
    case TYPE_UNKNOWN:
    case TYPE_CONTROL:
        return PITH__TOKEN_CONTROL;
    default:
        return PITH__TOKEN_EMPTY; /* "unused", which fills gaps in the numbering */
    }
}

static pith_status add_token(gguf_reader *reader, uint32_t id, pith__token_kind kind,
                             pith__gguf_string text, pith_error *err)
{
    const char *key = "tokenizer.ggml.tokens";
    pith__vocab *vocab = &reader->tokenizer->vocab;
    if (kind != PITH__TOKEN_PIECE) {
        const bool empty = text.size == 0;
        (void)pith__vocab_add(vocab, id, empty ? PITH__TOKEN_EMPTY : kind, text.data, text.size);
        return PITH_OK;
    }
    size_t size = 0;
    if (!decode(&reader->letters, text, reader->scratch, &size) || size == 0) {
        char shown[64];
        return pith__fail_at(err, PITH_E_CORRUPT, offset_of(reader->gguf, key, text),
                             "token %u (\"%s\") is not spelled in byte letters", id,
                             pith__gguf_printable(text, shown, sizeof shown));
    }
    const uint32_t same = pith__vocab_add(vocab, id, kind, reader->scratch, size);
    if (same != PITH__TOKEN_NONE) {
        return pith__fail_at(err, PITH_E_CORRUPT, offset_of(reader->gguf, key, text),
                             "tokens %u and %u are the same", same, id);
    }
    return PITH_OK;
}

static pith_status read_tokens(gguf_reader *reader, const pith__gguf_array *tokens, pith_error *err)
{
    pith__gguf_array types = {.count = 0};
    PITH__TRY(pith__gguf_get_array_or_empty(reader->gguf, "tokenizer.ggml.token_type",
                                            PITH__GGUF_VALUE_I32, &types, err));
    if (types.count != 0 && types.count != tokens->count) {
        return pith__fail(err, PITH_E_CORRUPT, "vocabulary has %zu tokens but %zu token types",
                          tokens->count, types.count);
    }
    pith__vocab *vocab = &reader->tokenizer->vocab;
    PITH__TRY(pith__vocab_init(vocab, tokens->count, tokens->size, &reader->tokenizer->mem, err));
    pith__gguf_strings strings = pith__gguf_strings_of(tokens);
    pith__gguf_string text;
    for (uint32_t id = 0; pith__gguf_strings_next(&strings, &text); id++) {
        const int32_t type = types.count == 0 ? TYPE_NORMAL : pith__gguf_array_i32(&types, id);
        PITH__TRY(add_token(reader, id, kind_of(type), text, err));
    }
    return pith__vocab_find_bytes(vocab, err);
}

/* "left right": the space between them is the first one, as no token is spelled with a space. */
static bool parse_merge(gguf_reader *reader, pith__gguf_string text, uint32_t rank,
                        pith__merge *out)
{
    const char *space = memchr(text.data, ' ', text.size);
    if (space == NULL) {
        return false;
    }
    const size_t at = (size_t)(space - text.data);
    const pith__gguf_string left = {text.data, at};
    const pith__gguf_string right = {space + 1, text.size - at - 1};
    char *bytes = reader->scratch;
    size_t left_size = 0;
    size_t right_size = 0;
    if (!decode(&reader->letters, left, bytes, &left_size) ||
        !decode(&reader->letters, right, bytes + left_size, &right_size)) {
        return false;
    }
    const pith__vocab *vocab = &reader->tokenizer->vocab;
    out->left = pith__vocab_find(vocab, bytes, left_size);
    out->right = pith__vocab_find(vocab, bytes + left_size, right_size);
    out->merged = pith__vocab_find(vocab, bytes, left_size + right_size);
    out->rank = rank;
    return out->left != PITH__TOKEN_NONE && out->right != PITH__TOKEN_NONE &&
           out->merged != PITH__TOKEN_NONE;
}

static pith_status read_merges(gguf_reader *reader, const pith__gguf_array *merges, pith_error *err)
{
    pith__tokenizer *tokenizer = reader->tokenizer;
    if (merges->count >= UINT32_MAX) {
        return pith__fail(err, PITH_E_RANGE, "%zu merges are too many", merges->count);
    }
    PITH__TRY(pith__merges_reserve(&tokenizer->merges, merges->count, &tokenizer->mem, err));
    pith__gguf_strings strings = pith__gguf_strings_of(merges);
    pith__gguf_string text;
    for (uint32_t rank = 0; pith__gguf_strings_next(&strings, &text); rank++) {
        pith__merge merge;
        if (!parse_merge(reader, text, rank, &merge)) {
            char shown[64];
            return pith__fail_at(err, PITH_E_CORRUPT,
                                 offset_of(reader->gguf, "tokenizer.ggml.merges", text),
                                 "merge %u (\"%s\") is not made of tokens", rank,
                                 pith__gguf_printable(text, shown, sizeof shown));
        }
        pith__merges_add(&tokenizer->merges, merge);
    }
    return PITH_OK;
}

/* The id under `key`, or PITH__TOKEN_NONE if the file has none. */
static pith_status read_id(const gguf_reader *reader, const char *key, uint32_t *out,
                           pith_error *err)
{
    PITH__TRY(pith__gguf_get_u32_or(reader->gguf, key, PITH__TOKEN_NONE, out, err));
    if (*out != PITH__TOKEN_NONE && *out >= reader->tokenizer->vocab.size) {
        return pith__fail_at(err, PITH_E_CORRUPT, pith__gguf_find(reader->gguf, key)->offset,
                             "%s is %u, but there are %u tokens", key, *out,
                             reader->tokenizer->vocab.size);
    }
    return PITH_OK;
}

/* Names that are no surprise are refused with a clear word, before anything is read. */
static pith_status read_pattern(gguf_reader *reader, pith_error *err)
{
    char shown[64];
    pith__gguf_string model = {NULL, 0};
    PITH__TRY(pith__gguf_get_string(reader->gguf, "tokenizer.ggml.model", &model, err));
    if (!pith__gguf_string_equal(model, "gpt2")) {
        return pith__fail(
            err, PITH_E_UNSUPPORTED,
            "tokenizer of kind \"%s\" is not supported, only \"gpt2\" (byte-level BPE)",
            pith__gguf_printable(model, shown, sizeof shown));
    }
    pith__gguf_string pre = {NULL, 0};
    PITH__TRY(pith__gguf_get_string_or(reader->gguf, "tokenizer.ggml.pre", "default", &pre, err));
    const pith__pattern_info *info = pith__pattern_of_gguf(pre);
    if (info == NULL) {
        return pith__fail(err, PITH_E_UNSUPPORTED, "pre-tokenizer \"%s\" is not supported",
                          pith__gguf_printable(pre, shown, sizeof shown));
    }
    return pith__pattern_init(&reader->tokenizer->pattern, info, err);
}

static pith_status read_all(gguf_reader *reader, pith_error *err)
{
    pith__tokenizer *tokenizer = reader->tokenizer;
    PITH__TRY(read_pattern(reader, err));
    pith__gguf_array tokens;
    pith__gguf_array merges;
    PITH__TRY(pith__gguf_get_array(reader->gguf, "tokenizer.ggml.tokens", PITH__GGUF_VALUE_STRING,
                                   &tokens, err));
    PITH__TRY(pith__gguf_get_array(reader->gguf, "tokenizer.ggml.merges", PITH__GGUF_VALUE_STRING,
                                   &merges, err));
    reader->scratch_size = tokens.size > merges.size ? tokens.size : merges.size;
    PITH__TRY(pith__alloc(&tokenizer->mem, reader->scratch_size, 1, &reader->scratch, err));
    PITH__TRY(read_tokens(reader, &tokens, err));
    PITH__TRY(read_merges(reader, &merges, err));
    PITH__TRY(pith__special_init(&tokenizer->user, &tokenizer->vocab, false, err));
    PITH__TRY(pith__special_init(&tokenizer->special, &tokenizer->vocab, true, err));
    PITH__TRY(read_id(reader, "tokenizer.ggml.bos_token_id", &tokenizer->bos, err));
    PITH__TRY(read_id(reader, "tokenizer.ggml.eos_token_id", &tokenizer->eos, err));
    return pith__gguf_get_bool_or(reader->gguf, "tokenizer.ggml.add_bos_token", false,
                                  &tokenizer->adds_bos, err);
}

pith_status pith__tokenizer_from_gguf(const pith__gguf *gguf, const pith_allocator *mem,
                                      pith__tokenizer **out, pith_error *err)
{
    *out = NULL;
    gguf_reader reader = {.gguf = gguf};
    PITH__TRY(pith__tokenizer_new(mem, &reader.tokenizer, err));
    letters_init(&reader.letters);
    const pith_status status = read_all(&reader, err);
    pith__free(mem, reader.scratch, reader.scratch_size, 1);
    if (status != PITH_OK) {
        pith__tokenizer_free(reader.tokenizer);
        return status;
    }
    *out = reader.tokenizer;
    return PITH_OK;
}
