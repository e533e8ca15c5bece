/*
 * recover.c: pith_recover: subsequence recovery of a response.
 */
#include "api/api.h"

/* A pith__lm that can do no more than cut text into tokens, which is all that recovery needs. */
static pith_status tokenize(void *user, const char *text, size_t size, pith__arena *arena,
                            pith__lm_tokens *out, pith_error *err)
{
    const pith_tokenizer *tokenizer = user;
    const pith_allocator mem = pith__arena_allocator(arena);
    pith__tokens tokens = {NULL, 0, 0};
    PITH__TRY(pith__tokenizer_encode(tokenizer->tokenizer, text, size, false, &mem, &tokens, err));
    return pith__lm_tokens_from(&tokens, arena, out, err);
}

static pith_status recover(pith_tokenizer *tokenizer, const pith__lingua_text texts[3],
                           pith__arena *arena, pith_write_fn write, void *user, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(arena);
    const pith__lm lm = {.user = tokenizer, .tokenize = tokenize, .bos = PITH__LM_NONE};
    pith__buf out;
    pith__buf_init(&out, &mem, SIZE_MAX);
    PITH__TRY(pith__lingua_recover(&lm, &texts[0], &texts[1], &texts[2], &out, arena, err));
    if (out.size > 0 && !write(user, out.data, out.size)) {
        return pith__fail(err, PITH_E_IO, "writing the response failed");
    }
    return PITH_OK;
}

pith_status pith_recover(const pith_tokenizer *tokenizer, const pith_part *original,
                         const pith_part *compressed, const pith_part *response,
                         pith_write_fn write, void *user, pith_error *err)
{
    pith__arena arena;
    const pith__lingua_text texts[3] = {{original->text, original->size},
                                        {compressed->text, compressed->size},
                                        {response->text, response->size}};
    pith_tokenizer borrowed = *tokenizer; /* `user` of a pith__lm is not const */
    pith__arena_init(&arena, &tokenizer->mem);
    const pith_status status = recover(&borrowed, texts, &arena, write, user, err);
    pith__arena_deinit(&arena);
    return status;
}
