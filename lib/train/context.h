/*
 * context.h: contexts that are too long for what reads them.
 */
#ifndef PITH_CONTEXT_H
#define PITH_CONTEXT_H

#include "token/token.h"

/*
 * First of the `length` tokens of a context to keep: those with the answer in their middle, as far as the
 * context reaches, if the answer stands in it (the first time), else the first ones. `tokens` (count)
 * are the context's, with their places in it; 0 if there are no more than `length`.
 */
size_t pith__context_start(const pith__token *tokens, size_t count, pith__token_text context,
                           pith__token_text answer, size_t length);

#endif /* PITH_CONTEXT_H */
