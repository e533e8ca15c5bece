/*
 * fuzz_tokenize.c: the first byte says what the rest is: a text for one of three patterns, a
 * tiktoken rank file ('R') or a GGUF file ('G'). Tokens must partition any text, spell it, and be
 * counted right; a vocabulary is refused or works.
 */
#include "fuzz.h"

#include "token/token.h"

#include <string.h>

static const pith_allocator *const mem = &pith__allocator_default;

static void check_text(const pith__tokenizer *tokenizer, const char *text, size_t size)
{
    pith__tokens tokens = {NULL, 0, 0};
    size_t count = 0;
    size_t at = 0;
    FUZZ_CHECK(pith__tokenizer_encode(tokenizer, text, size, false, mem, &tokens, NULL) == PITH_OK);
    for (size_t i = 0; i < tokens.count; i++) {
        const pith__token token = tokens.items[i];
        const char *bytes = NULL;
        size_t length = 0;
        FUZZ_CHECK(pith__tokenizer_bytes(tokenizer, token.id, &bytes, &length, NULL) == PITH_OK);
        FUZZ_CHECK(token.start == at && length > 0 && length == token.end - at);
        FUZZ_CHECK(memcmp(bytes, text + at, length) == 0);
        at = token.end;
    }
    FUZZ_CHECK(at == size);
    FUZZ_CHECK(pith__tokenizer_count(tokenizer, text, size, mem, &count, NULL) == PITH_OK);
    FUZZ_CHECK(count == tokens.count);
    pith__tokens_deinit(&tokens, mem);
}

/* All single bytes and a few tokens that merge in more than one order. */
static pith__tokenizer *small_tokenizer(const char *name)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char *const tokens[] = {"dGg=", "aGU=", "dGhl",     "ICA=", "ICAgIA==", "YWE=",
                                         "YWFh", "5pc=", "YWFhYQ==", "Cgo=", "IHRoZQ==", "//8="};
    pith__buf buf;
    pith__tokenizer *tokenizer = NULL;
    pith__buf_init(&buf, mem, SIZE_MAX / 2);
    for (unsigned i = 0; i < 256; i++) {
        FUZZ_CHECK(!pith__buf_printf(&buf, NULL, "%c%c== %u\n", alphabet[i >> 2],
                                     alphabet[(i & 3) << 4], i));
    }
    for (unsigned i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        FUZZ_CHECK(!pith__buf_printf(&buf, NULL, "%s %u\n", tokens[i], 256 + i));
    }
    FUZZ_CHECK(!pith__tokenizer_from_ranks(buf.data, buf.size, name, mem, &tokenizer, NULL));
    pith__buf_deinit(&buf);
    return tokenizer;
}

static pith__tokenizer *from_gguf(const void *data, size_t size)
{
    pith__gguf gguf;
    pith__tokenizer *tokenizer = NULL;
    if (pith__gguf_parse(data, size, mem, &gguf, NULL) == PITH_OK) {
        const pith_status status = pith__tokenizer_from_gguf(&gguf, mem, &tokenizer, NULL);
        FUZZ_CHECK((status == PITH_OK) == (tokenizer != NULL));
        pith__gguf_deinit(&gguf);
    }
    return tokenizer;
}

static void check_vocabulary(pith__tokenizer *tokenizer)
{
    static const char text[] = "the <s>\xff  12 aaaaaaa\n\nthethethethethethethethethethethe the";
    if (tokenizer != NULL) {
        check_text(tokenizer, text, sizeof text - 1);
        pith__tokenizer_free(tokenizer);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) /* NOLINT(*-identifier-naming) */
{
    static pith__tokenizer *tokenizers[3];
    if (tokenizers[0] == NULL) {
        tokenizers[0] = small_tokenizer("gpt2");
        tokenizers[1] = small_tokenizer("cl100k");
        tokenizers[2] = small_tokenizer("o200k");
    }
    if (size == 0) {
        return 0;
    }
    const char *rest = (const char *)data + 1;
    pith__tokenizer *tokenizer = NULL;
    if (data[0] == 'R') {
        const pith_status status =
            pith__tokenizer_from_ranks(rest, size - 1, "cl100k", mem, &tokenizer, NULL);
        FUZZ_CHECK((status == PITH_OK) == (tokenizer != NULL));
        check_vocabulary(tokenizer);
    } else if (data[0] == 'G') {
        check_vocabulary(from_gguf(rest, size - 1));
    } else {
        check_text(tokenizers[data[0] % 3], rest, size - 1);
    }
    return 0;
}
