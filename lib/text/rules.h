/*
 * rules.h: the built-in protection rules. Each sets the bits of the bytes it keeps.
 */
#ifndef PITH_TEXT_RULES_H
#define PITH_TEXT_RULES_H

#include <stddef.h>
#include <stdint.h>

/* Words with a digit, joined by . , : / - and the like, with their signs, currencies and '%'. */
void pith__rule_numbers(const char *text, size_t size, uint64_t *bits);

/* scheme://..., www...., name@host.tld, less the punctuation that ends the sentence around them. */
void pith__rule_links(const char *text, size_t size, uint64_t *bits);

/* Markdown: fenced code with its fences, and code spans, as CommonMark finds them. */
void pith__rule_code(const char *text, size_t size, uint64_t *bits);

#endif /* PITH_TEXT_RULES_H */
