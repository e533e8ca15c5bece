/*
 * chars.h: the character classes that the splitters and rules of lib/text share.
 */
#ifndef PITH_TEXT_CHARS_H
#define PITH_TEXT_CHARS_H

#include "text/span.h"

/* Unicode's White_Space: SPACE or BREAK for one of its characters, WORD for any other. */
pith__span_kind pith__char_space(uint32_t code_point);

/*
 * Bytes of the white space that begins at `at`, 0 if none; *has_break (may be
 * NULL) says whether a line break is among it.
 */
size_t pith__space_length(const char *text, size_t size, size_t at, bool *has_break);

/* Bytes of the white space that ends at `end`, looking back no further than `start`. */
size_t pith__space_length_before(const char *text, size_t size, size_t start, size_t end);

/* Letters, marks, numbers and '_'. */
bool pith__char_is_word(uint32_t code_point);

/* A number of Unicode (Nd, Nl, No): digits of any script, fractions, superscripts. */
bool pith__char_is_digit(uint32_t code_point);

/*
 * True if `at` (0 < at < size) must be assumed to lie inside a grapheme cluster.
 * It does not count flags, so it is for places that ICU's word rules, white
 * space or punctuation gave, never between two halves of a flag.
 */
bool pith__char_joins(const char *text, size_t size, size_t at);

#endif /* PITH_TEXT_CHARS_H */
