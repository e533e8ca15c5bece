/*
 * structure.h: what of a prompt is structure, and therefore not to be torn: the syntax of JSON,
 * Markdown, chat messages, and the tags of LLMLingua.
 *
 * Finds, does not change: everything it hands out are byte ranges of the text. Lists come from
 * `mem` and are released with it. Any bytes are accepted. Time and memory are linear in the text.
 */
#ifndef PITH_STRUCTURE_H
#define PITH_STRUCTURE_H

#include "base/base.h"
#include "text/text.h"

typedef enum pith__format {
    PITH__FORMAT_AUTO = 0, /* CHAT, JSON or MARKDOWN if the text is that, else TEXT */
    PITH__FORMAT_TEXT,
    PITH__FORMAT_MARKDOWN,
    PITH__FORMAT_JSON,
    PITH__FORMAT_CHAT
} pith__format;

/* A stretch of text that may be shortened, and by how much. */
typedef struct pith__segment {
    size_t start; /* bytes [start, end), not empty */
    size_t end;
    double rate; /* share of its tokens to keep, 0..1; NaN: the caller's rate */
} pith__segment;

typedef struct pith__segments {
    pith__segment *items;
    size_t count;
    size_t capacity;
} pith__segments;

/* Appends [start, end) unless it is empty. E_MEMORY leaves the list as it was. */
PITH_NODISCARD pith_status pith__segments_push(pith__segments *segments, const pith_allocator *mem,
                                               size_t start, size_t end, double rate,
                                               pith_error *err);

/*
 * Rates by key, for JSON. `key`: the name of a member at any depth, or its dotted path from the
 * root ("a.b"; arrays add nothing). An entry holds for every string in the value, prose or not; a
 * rate of 1 protects them. Of several that fit a value or one that it lies in, the last counts.
 */
typedef struct pith__key_rate {
    const char *key;
    double rate;
} pith__key_rate;

typedef struct pith__structure_options {
    pith__format format;
    const pith__key_rate *keys; /* NULL if key_count is 0 */
    size_t key_count;
    size_t keep_turns; /* CHAT: so many last messages stay as they are */
} pith__structure_options;

typedef struct pith__structure {
    pith__format format; /* what the text is: never AUTO */
    /*
     * What may be shortened, ascending, disjoint. Bytes in no segment stay as they are.
     * TEXT and MARKDOWN: one segment, the whole text. JSON: the insides of string values that
     * are prose: at least four runs between white space that hold a letter, or eight letters of
     * a script that writes without spaces. CHAT: the same for the texts of messages; none of the last `keep_turns` messages, nor of the roles system, developer, tool and
     * function, nor of anything that is not the content of a message. Removing whole characters
     * of segments without cutting what is joined leaves the JSON valid.
     */
    pith__segments segments;
    bool is_local; /* JSON, CHAT: a rate is a share of the segments, not of the whole text */
    /*
     * MARKDOWN: what stays or goes as a whole, and stays rather than plain text: code fences,
     * headings with their line, tables (the head with its rule, then every row), links and
     * images, code spans, HTML blocks, front matter. Ascending, disjoint, not empty. Markers
     * beside an atom belong to it: "- `x`", "**[a](b)**".
     */
    pith__spans atoms;
    /*
     * Not to be cut, but no better than other text: the escapes in segments of JSON ("\n", a
     * surrogate pair); in Markdown, list and quote markers with the first word, "*" and "_" with
     * the word they open or close on. Ascending, disjoint, also from the atoms, not empty, at
     * most 256 bytes.
     */
    pith__spans joined;
} pith__structure;

/*
 * Reads the structure of `text`. JSON is one value of RFC 8259, or JSON Lines: a value on every
 * line that is not blank. CHAT is a list of objects with a "role" and a "content", or an object
 * with such a list as "messages". AUTO takes for JSON only arrays and objects, and for Markdown
 * what has a fence, a heading with '#', a table, a list of two items or a link.
 *
 * Fails with E_SYNTAX and the byte if the format is JSON or CHAT by request and the text is not,
 * E_UNSUPPORTED for JSON that nests deeper than 512 (AUTO takes either for Markdown or text), E_MEMORY.
 */
PITH_NODISCARD pith_status pith__structure_read(const char *text, size_t size,
                                                const pith__structure_options *options,
                                                const pith_allocator *mem, pith__structure *out,
                                                pith_error *err);
void pith__structure_deinit(pith__structure *structure, const pith_allocator *mem);

/* ---- <llmlingua, rate=0.5, compress=False> ... </llmlingua> ------------------------------------- */

typedef struct pith__lingua_tags {
    const char *text; /* the source without the tags; the source itself if it has none */
    size_t size;
    char *owned; /* what to release: `text` or NULL */
    size_t owned_size;
    pith__text_map map;      /* from `text` to the source */
    pith__segments segments; /* what stood in tags and may be shortened, in bytes of `text` */
    pith__spans fixed;       /* compress=False, and text outside all tags; nothing without tags */
    bool tagged;             /* the source has at least one tag */
} pith__lingua_tags;

/*
 * Takes out the tags of LLMLingua: "<llmlingua" then ", rate=NUMBER" and ", compress=True|False" in
 * any order (commas and spaces free, names and values in any case), ">" and "</llmlingua>". Unlike
 * the release: text in tags may hold '<'; text outside of tags stays, uncompressed; rate=0 is 0.
 * E_SYNTAX with the byte of the source for a tag without its partner, one inside another, an
 * attribute that is unknown or repeated, or a rate outside 0..1; E_MEMORY. "<llmlingua" is a tag
 * only before white space, a comma or '>': "<llmlingua2>" is text.
 */
PITH_NODISCARD pith_status pith__lingua_tags_strip(const char *text, size_t size,
                                                   const pith_allocator *mem,
                                                   pith__lingua_tags *out, pith_error *err);
void pith__lingua_tags_deinit(pith__lingua_tags *tags, const pith_allocator *mem);

/* ---- named patterns ------------------------------------------------------------------------------- */

/*
 * Regular expressions (ICU) for what people want kept: "email", "url", "date", "time", "number",
 * "money", "percent", "phone", "uuid", "path", "version", "citation", "quoted", "name" (a run of
 * capitalised words that does not begin a sentence), "acronym", "hashtag", "mention".
 */
size_t pith__pattern_count(void);
const char *pith__pattern_name(size_t index); /* NULL past the end */

/* NULL if there is no such name. Static storage. */
const char *pith__pattern_regex(const char *name);

#endif /* PITH_STRUCTURE_H */
