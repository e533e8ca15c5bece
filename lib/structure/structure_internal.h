/*
 * structure_internal.h: what the files of lib/structure share.
 */
#ifndef PITH_STRUCTURE_INTERNAL_H
#define PITH_STRUCTURE_INTERNAL_H

#include "structure/structure.h"

/* ---- shared (structure.c) ------------------------------------------------------------------------- */

/* True for a letter of a script that puts no spaces between words: Han, Kana, Thai and the like. */
bool pith__is_unspaced(uint32_t code_point);

/* ---- JSON (json.c) -------------------------------------------------------------------------------- */

typedef enum pith__json_kind {
    PITH__JSON_OTHER = 0, /* a number, true, false, null */
    PITH__JSON_STRING,
    PITH__JSON_ARRAY,
    PITH__JSON_OBJECT
} pith__json_kind;

typedef struct pith__json_node {
    pith__json_kind kind;
    size_t start; /* bytes [start, end), with quotes and brackets */
    size_t end;
    size_t next; /* index of the first node that is not inside this one */
} pith__json_node;

/*
 * Values in the order of the text; what is in an array or object follows it at once, in an object
 * the key before every value. Several roots: JSON Lines.
 */
typedef struct pith__json {
    const char *text;
    pith__json_node *nodes;
    size_t count;
    size_t capacity;
} pith__json;

#define PITH__JSON_NONE SIZE_MAX

/*
 * Reads one value of RFC 8259, or JSON Lines: a value on every line that is not blank. E_SYNTAX
 * and E_RANGE (nests too deep) with the byte, E_MEMORY.
 */
PITH_NODISCARD pith_status pith__json_parse(const char *text, size_t size,
                                            const pith_allocator *mem, pith__json *out,
                                            pith_error *err);
void pith__json_deinit(pith__json *doc, const pith_allocator *mem);

/* True if every root is an array or an object. */
bool pith__json_is_document(const pith__json *doc);

/* True if `node` is a string that reads `value` once its escapes are resolved. */
bool pith__json_equals(const pith__json *doc, size_t node, const char *value);

/* The value of the last member of that name, as parsers have it, or PITH__JSON_NONE. */
size_t pith__json_member(const pith__json *doc, size_t object, const char *name);

/*
 * True if the string at node `index` is prose: four runs without white space that hold a letter, or
 * as much text in a script that writes without spaces.
 */
bool pith__json_is_prose(const pith__json *doc, size_t index);

/* Adds the inside of a string to the segments, and its escapes to what is joined. */
PITH_NODISCARD pith_status pith__json_add_string(const pith__json *doc, size_t node, double rate,
                                                 const pith_allocator *mem, pith__structure *out,
                                                 pith_error *err);

/* The segments of JSON. */
PITH_NODISCARD pith_status pith__json_read(const pith__json *doc,
                                           const pith__structure_options *options,
                                           const pith_allocator *mem, pith__structure *out,
                                           pith_error *err);

/* ---- chats (chat.c) --------------------------------------------------------------------------------- */

/* The array of messages, or PITH__JSON_NONE and in *bad the byte where that is not the shape. */
size_t pith__chat_find(const pith__json *doc, size_t *bad);

/* True if the array is surely a chat and not some list of things with a role. */
bool pith__chat_is_evident(const pith__json *doc, size_t messages);

PITH_NODISCARD pith_status pith__chat_read(const pith__json *doc, size_t messages,
                                           size_t keep_turns, const pith_allocator *mem,
                                           pith__structure *out, pith_error *err);

/* ---- Markdown (markdown.c, markdown_inline.c) ---------------------------------------------------------- */

typedef struct pith__markdown {
    const char *text;
    size_t size;
    const pith_allocator *mem;
    pith_error *err;
    pith__spans atoms; /* ascending, disjoint */
    size_t *brackets;  /* the '[' that are open */
    size_t bracket_count;
    size_t bracket_capacity;
    bool is_evident; /* has something that plain text has not */
} pith__markdown;

/* The markers that a line begins with: quotes, list items, boxes of tasks, footnotes. */
typedef struct pith__line_prefix {
    size_t indent;  /* blanks in front of all */
    size_t start;   /* of the first marker */
    size_t end;     /* of the last one; `start` if there is none */
    size_t content; /* what comes after the blanks behind */
    bool is_quoted;
    char list; /* '-', '*', '+', '.' or ')' of the last list marker, 0 if there is none */
} pith__line_prefix;

/* Reads the markers of the line [start, end). */
pith__line_prefix pith__markdown_prefix(const char *text, size_t start, size_t end);

/* The end of the line that holds byte `at`, before its line break. */
size_t pith__markdown_line_end(const char *text, size_t size, size_t at);

/* Adds the atoms of a paragraph: code spans, links, images. */
PITH_NODISCARD pith_status pith__markdown_inline(pith__markdown *md, size_t start, size_t end);

/* Hands over the atoms, and joins markers with the words or atoms they belong to. */
PITH_NODISCARD pith_status pith__markdown_join(const pith__markdown *md, pith__structure *out);

/* Fills atoms and joined; *is_evident (may be NULL): AUTO would take the text for Markdown. */
PITH_NODISCARD pith_status pith__markdown_read(const char *text, size_t size,
                                               const pith_allocator *mem, pith__structure *out,
                                               bool *is_evident, pith_error *err);

#endif /* PITH_STRUCTURE_INTERNAL_H */
