/*
 * text.h: UTF-8, segmentation, protection rules: everything pith knows about text as text.
 *
 * Everywhere: a text is `size` bytes, NULL allowed when size is 0; offsets are
 * bytes; any bytes are accepted, and an ill-formed byte counts as one character
 * of its own. Lists come from `mem` and are released with it. A function that
 * fails leaves its result empty. Time and memory are linear in the text.
 */
#ifndef PITH_TEXT_H
#define PITH_TEXT_H

#include "base/base.h"
#include "text/phrase.h"
#include "text/span.h"

/* ---- UTF-8 ----------------------------------------------------------------- */

/* Code point of a byte that belongs to no well-formed sequence; no real code point has it. */
#define PITH__UTF8_INVALID UINT32_MAX

/*
 * True if `text` is well-formed UTF-8 as of RFC 3629: shortest forms, no
 * surrogates, at most U+10FFFF. Otherwise *bad_offset (may be NULL) is the
 * first byte that belongs to no well-formed sequence.
 */
bool pith__utf8_check(const char *text, size_t size, size_t *bad_offset);

/*
 * Reads the character at `offset` < size. Returns its length in bytes, 1 to 4;
 * an ill-formed byte is 1 long and PITH__UTF8_INVALID.
 */
size_t pith__utf8_decode(const char *text, size_t size, size_t offset, uint32_t *code_point);

/* Reads the character that ends at `offset` > 0; returns its length, as above. */
size_t pith__utf8_decode_before(const char *text, size_t size, size_t offset, uint32_t *code_point);

/* False if `offset` lies inside a well-formed character; true at 0 and from `size` on. */
bool pith__utf8_is_boundary(const char *text, size_t size, size_t offset);

/* Bytes at the end, 0 to 3, that begin a character which more bytes could complete. */
size_t pith__utf8_unfinished(const char *text, size_t size);

/* ---- segmentation ------------------------------------------------------------ */

/* Where grapheme clusters ("user-perceived characters") begin: one bit per byte. */
typedef struct pith__graphemes {
    uint64_t *bits; /* bit i: a cluster begins at byte i */
    size_t words;   /* of 64 bits */
    size_t size;    /* of the text */
} pith__graphemes;

/*
 * Finds the grapheme clusters (UAX #29). An ill-formed byte is a cluster of its
 * own. E_MEMORY, E_RANGE for 2 GiB in one stretch of combining characters,
 * E_BACKEND if ICU lacks its data.
 */
PITH_NODISCARD pith_status pith__text_graphemes(const char *text, size_t size,
                                                const pith_allocator *mem, pith__graphemes *out,
                                                pith_error *err);
void pith__graphemes_deinit(pith__graphemes *graphemes, const pith_allocator *mem);

/* Makes the bytes [start, end) one cluster, so that nothing is cut within them. */
void pith__graphemes_join(pith__graphemes *graphemes, size_t start, size_t end);

/* True at 0, at the end, and where a cluster begins. O(1). `offset` <= size. */
bool pith__graphemes_is_boundary(const pith__graphemes *graphemes, size_t offset);

/* The nearest boundary <= offset and >= offset. O(length of the cluster / 64). */
size_t pith__graphemes_floor(const pith__graphemes *graphemes, size_t offset);
size_t pith__graphemes_ceil(const pith__graphemes *graphemes, size_t offset);

/*
 * Splits into words: spans that partition the text, none empty, none splitting
 * a grapheme cluster.
 *
 *   - White space before a word or punctuation belongs to its span. White space
 *     with a line break in it is a BREAK span; at the end of the text it is a
 *     span of its own in any case.
 *   - Punctuation around a run without white space splits off, equal characters
 *     together ("..."); inside, it stays: don't, 1,000.5, foo.bar(baz), URLs. A
 *     closing bracket stays with its opening one: f(x). So do signs: -5, .5,
 *     +3, #1, 10%.
 *   - A run with Han, Kana, Thai, Lao, Khmer or Burmese is split by ICU's
 *     dictionaries.
 *   - A run of more than 64 bytes is cut at ICU's word boundaries, and what is
 *     then above 256 bytes between grapheme clusters.
 *
 * E_MEMORY, E_RANGE for a run of 2 GiB, E_BACKEND if ICU lacks its data.
 */
PITH_NODISCARD pith_status pith__text_words(const char *text, size_t size,
                                            const pith_allocator *mem, pith__spans *out,
                                            pith_error *err);

/*
 * Splits into sentences: spans that partition the text, as above. Every line
 * ends a sentence, so headings, list items, table rows and log lines are
 * sentences. White space with a line break is a BREAK span; other white space
 * belongs to the sentence that follows. No sentence ends after "Mr.", "e.g.",
 * "J." in "J. Smith" and their like. Fails like pith__text_words().
 */
PITH_NODISCARD pith_status pith__text_sentences(const char *text, size_t size,
                                                const pith_allocator *mem, pith__spans *out,
                                                pith_error *err);

/* ---- words as a search compares them ------------------------------------------ */

typedef struct pith__terms {
    char *text;        /* the terms, one behind the other */
    size_t capacity;   /* bytes at `text` */
    pith__spans spans; /* of `text`, in the order of the source, none empty */
} pith__terms;

/*
 * The words of pith__text_words(), cut again at every character that is no
 * letter, mark, number or '_', which goes; case folded (Unicode's simple
 * folding, so one character stays one). Fails like pith__text_words().
 */
PITH_NODISCARD pith_status pith__text_terms(const char *text, size_t size,
                                            const pith_allocator *mem, pith__terms *out,
                                            pith_error *err);
void pith__terms_deinit(pith__terms *terms, const pith_allocator *mem);

/*
 * Appends the text in lower case: Unicode's full mapping, of no particular language. An ill-formed
 * byte becomes U+FFFD. E_MEMORY, E_RANGE for 2 GiB, E_BACKEND if ICU fails.
 */
PITH_NODISCARD pith_status pith__text_lower(const char *text, size_t size, pith__buf *out,
                                            pith_error *err);

/* What is in a piece of text, to be combined with |. */
enum {
    PITH__SHAPE_WORD = 1,    /* a letter or number */
    PITH__SHAPE_CAPITAL = 2, /* a word that begins with an upper-case letter */
    PITH__SHAPE_DIGIT = 4    /* a number of any script */
};

/* `skip_first` leaves the capital of the first word out, which at the start of a sentence says nothing. */
unsigned pith__text_shape(const char *text, size_t size, bool skip_first);

/* ---- edited texts and where their bytes come from --------------------------- */

/*
 * A stretch of the edited text that starts at `clean` and stands for source
 * bytes [start, end): as many bytes, or one space for a run of white space.
 */
typedef struct pith__map_piece {
    size_t clean;
    size_t start;
    size_t end;
} pith__map_piece;

/*
 * Pieces in order, together the whole edited text, and an empty one for its
 * end. No pieces: the two texts are the same.
 */
typedef struct pith__text_map {
    pith__map_piece *pieces;
    size_t count;
    size_t capacity;
} pith__text_map;

/*
 * Source offset of the byte at `clean`, and source end of a range that ends at
 * `clean`: they differ where source bytes were left out in between. O(log pieces).
 */
size_t pith__text_map_start(const pith__text_map *map, size_t clean);
size_t pith__text_map_end(const pith__text_map *map, size_t clean);

/* Appends a piece. E_MEMORY leaves the map as it was. */
PITH_NODISCARD pith_status pith__text_map_push(pith__text_map *map, const pith_allocator *mem,
                                               size_t clean, size_t start, size_t end,
                                               pith_error *err);
void pith__text_map_deinit(pith__text_map *map, const pith_allocator *mem);

/* ---- the released Selective Context's text handling ------------------------- */

typedef struct pith__official {
    char *text; /* the source with each run of white space made one space; not NUL-terminated */
    size_t size;
    size_t capacity;
    pith__text_map map;    /* from `text` to the source */
    pith__spans sentences; /* of `text`, stripped, none empty */
} pith__official;

/* Python's re.sub(r"\s+", " ", text), its sentence split, strip, and no empty ones. E_MEMORY. */
PITH_NODISCARD pith_status pith__official_split(const char *text, size_t size,
                                                const pith_allocator *mem, pith__official *out,
                                                pith_error *err);
void pith__official_deinit(pith__official *official, const pith_allocator *mem);

/* ---- protection rules ---------------------------------------------------------- */

/* Built-in rules, to be combined with |. */
enum {
    PITH__PROTECT_NUMBERS = 1, /* 3.14, $42, 10%, 2026-11-21, v2.1 */
    PITH__PROTECT_LINKS = 2,   /* scheme://..., www...., name@host.tld */
    PITH__PROTECT_CODE = 4     /* Markdown code fences and code spans */
};

/* Compiled rules. May be moved between threads, but used by one at a time. */
typedef struct pith__protect pith__protect;

/* No rules but the built-in ones in `rules`. `mem` is copied. E_MEMORY. */
PITH_NODISCARD pith_status pith__protect_new(const pith_allocator *mem, unsigned rules,
                                             pith__protect **out, pith_error *err);
void pith__protect_free(pith__protect *protect);

/* Keeps every occurrence of these bytes, overlapping ones too. E_ARGUMENT if empty; E_MEMORY. */
PITH_NODISCARD pith_status pith__protect_add_literal(pith__protect *protect, const char *literal,
                                                     size_t size, pith_error *err);

/*
 * Keeps every match of a regular expression in ICU's syntax (UTF-8; flags inside it, "(?im)").
 * E_SYNTAX with the byte of the pattern that ICU read last, E_UTF8, E_ARGUMENT if empty, E_RANGE
 * above 64 KiB, E_MEMORY.
 */
PITH_NODISCARD pith_status pith__protect_add_regex(pith__protect *protect, const char *pattern,
                                                   size_t size, pith_error *err);

/*
 * The bytes of `text` that the rules keep: ascending spans that neither overlap
 * nor touch. A pattern that takes too many steps or too much stack on this text
 * is E_RANGE, the same on every machine. Also E_MEMORY, E_RANGE for a regular
 * expression on 2 GiB.
 */
PITH_NODISCARD pith_status pith__protect_apply(pith__protect *protect, const char *text,
                                               size_t size, const pith_allocator *mem,
                                               pith__spans *out, pith_error *err);

/* ---- keep tags -------------------------------------------------------------------- */

typedef struct pith__tagged {
    const char *text; /* the source without the tags; the source itself if it has none */
    size_t size;
    char *owned; /* what to release: `text` or NULL */
    size_t owned_size;
    pith__text_map map;   /* from `text` to the source */
    pith__spans kept;     /* ranges of `text` between tags: ascending, not touching, not empty */
    pith__spans boundary; /* empty spans where tags stood, ascending, no two alike */
} pith__tagged;

/* True for a tag name: 1 to 64 letters, digits, '-' and '_' of ASCII. */
bool pith__tag_name_is_valid(const char *name);

/*
 * Takes out <name> and </name> for each of `count` names (NULL if 0) and notes
 * what stood between them. Names are case-sensitive; everything else with a
 * '<' stays. Tags of different names may nest, not cross. `out->text` may be
 * `text` itself, which must then outlive it.
 *
 * E_SYNTAX with the byte of the source for a tag without its partner, one
 * inside its like, or a crossed one; E_ARGUMENT for a bad name or more than 64; E_MEMORY.
 */
PITH_NODISCARD pith_status pith__tags_strip(const char *text, size_t size, const char *const *names,
                                            size_t count, const pith_allocator *mem,
                                            pith__tagged *out, pith_error *err);
void pith__tagged_deinit(pith__tagged *tagged, const pith_allocator *mem);

#endif /* PITH_TEXT_H */
