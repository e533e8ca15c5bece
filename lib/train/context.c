/*
 * context.c: which part of a long context is kept.
 */
#include "train/context.h"

#include <string.h>

/* Where the answer stands in the context; false: nowhere. */
static bool find_answer(pith__token_text context, pith__token_text answer, size_t *start)
{
    for (size_t i = 0; i + answer.size <= context.size; i++) {
        if (memcmp(context.data + i, answer.data, answer.size) == 0) {
            *start = i;
            return true;
        }
    }
    return false;
}

size_t pith__context_start(const pith__token *tokens, size_t count, pith__token_text context,
                           pith__token_text answer, size_t length)
{
    size_t at = 0; /* of the answer, in bytes */
    if (count <= length || !find_answer(context, answer, &at)) {
        return 0;
    }
    size_t first = 0; /* token of the answer */
    while (first + 1 < count && tokens[first].end <= at) {
        first++;
    }
    size_t own = 1; /* its tokens */
    while (first + own < count && tokens[first + own].start < at + answer.size) {
        own++;
    }
    const size_t before = own < length ? (length - own) / 2 : 0;
    const size_t start = first > before ? first - before : 0;
    return start < count - length ? start : count - length;
}
