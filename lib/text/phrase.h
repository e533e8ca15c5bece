/*
 * phrase.h: noun phrases as units of text.
 */
#ifndef PITH_TEXT_PHRASE_H
#define PITH_TEXT_PHRASE_H

#include "base/base.h"
#include "text/span.h"

/*
 * Splits into phrases: spans that partition the text. Each is one span of
 * pith__text_words(), or several that form a noun phrase ("the quick brown
 * fox"), with the white space before it.
 *
 * A phrase never crosses a line break or the end of a sentence, and has at most
 * eight words; docs/phrases.md has the rules. Sentences that are not English
 * give the words as they are. Linear in the text; any bytes are accepted.
 *
 * The list comes from `mem` (pith__free(mem, items, capacity, sizeof *items));
 * after a failure it is empty. Fails like pith__text_words().
 */
PITH_NODISCARD pith_status pith__text_phrases(const char *text, size_t size,
                                              const pith_allocator *mem, pith__spans *out,
                                              pith_error *err);

#endif /* PITH_TEXT_PHRASE_H */
