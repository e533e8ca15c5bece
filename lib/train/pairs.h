/*
 * pairs.h: files of JSON objects, one per line, whose members are texts: prompts with their
 * completions, and whatever else a recipe wants.
 */
#ifndef PITH_PAIRS_H
#define PITH_PAIRS_H

#include "train/train.h"

/* A line of a file: bytes [start, end). */
typedef struct pith__pair {
    size_t start;
    size_t end;
} pith__pair;

/* One JSONL file; lines that are empty are not looked at. */
typedef struct pith__pair_file {
    pith_allocator mem;
    char name[64];  /* as pith__source's */
    char path[256]; /* for messages, cut */
    pith__file file;
    pith__pair *training;
    size_t n_training, training_capacity;
    pith__pair *held_out;
    size_t n_held_out, held_out_capacity;
} pith__pair_file;

/* ---- lines of any kind ------------------------------------------------------------------------ */

/* A member of every line's object: a string. */
typedef struct pith__pair_member {
    const char *key;
    bool optional; /* may be missing, which is as if it were empty */
    /* its text says whether a line is held out, so that lines that have the same are on the same
     * side; of one member at most */
    bool decides;
} pith__pair_member;

/*
 * Maps a file and reads every line once: what lacks a member is E_SYNTAX or E_CORRUPT with the file,
 * the line's number and the reason. Copies of a line stay; one line in `held_out_every` (0: none) is
 * held out by the hash of its bytes, or, where a member decides, by that of the member's text. E_CORRUPT
 * too if there is no line. E_IO, E_MEMORY.
 */
PITH_NODISCARD pith_status pith__pair_lines_open(const char *path, const pith__pair_member *members,
                                                 size_t count, uint32_t held_out_every,
                                                 const pith_allocator *mem, pith__pair_file *out,
                                                 pith_error *err);
void pith__pair_file_close(pith__pair_file *file);

/* The members of a line of an open file, copied into `arena`: out (count). */
PITH_NODISCARD pith_status pith__pair_texts(const pith__pair_file *file, pith__pair pair,
                                            const pith__pair_member *members, size_t count,
                                            pith__arena *arena, pith__token_text *out,
                                            pith_error *err);

/* Fails with the file, the number of the line and a reason of at most 200 bytes. */
pith_status pith__pair_fail(const pith__pair_file *file, pith__pair pair, pith_status status,
                            const char *reason, pith_error *err);

/* Several files to train on. */
typedef struct pith__pair_set {
    pith_allocator mem;
    pith__pair_file *files; /* (n_files) open ones */
    size_t n_files, capacity;
    pith__deck deck; /* of all their lines to train on */
} pith__pair_set;

/* Fails like pith__pair_lines_open(), and with E_CORRUPT if a file has no line to train on; E_ARGUMENT:
 * there is no file. */
PITH_NODISCARD pith_status pith__pair_set_open(const char *const *paths, size_t n_paths,
                                               const pith__pair_member *members, size_t count,
                                               uint32_t held_out_every, const pith_allocator *mem,
                                               pith__pair_set *out, pith_error *err);
void pith__pair_set_close(pith__pair_set *set); /* accepts an all-zero set */

/* The line that is sample `n` of a run: every epoch has all of them, in an order of its own. */
pith__pair pith__pair_set_at(pith__pair_set *set, uint64_t seed, uint64_t n,
                             const pith__pair_file **file);

/* What is read of the files, for the fingerprint of a run. */
uint64_t pith__pair_set_fingerprint(const pith__pair_set *set, uint64_t hash);

/* ---- prompts and completions ------------------------------------------------------------------- */

/* How a line becomes text. */
typedef struct pith__pair_format {
    const char *prompt_key;
    const char *completion_key;
    const char *text;                            /* with {prompt} and, later, {completion} */
    const char *prompt_place, *completion_place; /* what stands in the text instead; NULL: these */
} pith__pair_format;

/* E_ARGUMENT: a text is missing, or lacks a place, has one twice, or the completion's first. */
PITH_NODISCARD pith_status pith__pair_format_check(const pith__pair_format *format,
                                                   pith_error *err);

/* pith__pair_lines_open() and pith__pair_set_open() of pairs. */
PITH_NODISCARD pith_status pith__pair_file_open(const char *path, const pith__pair_format *format,
                                                uint32_t held_out_every, const pith_allocator *mem,
                                                pith__pair_file *out, pith_error *err);
PITH_NODISCARD pith_status pith__pairs_open(const char *const *paths, size_t n_paths,
                                            const pith__pair_format *format,
                                            uint32_t held_out_every, const pith_allocator *mem,
                                            pith__pair_set *out, pith_error *err);

/* The text of a checked format with these in it, in `arena`, and where the completion starts. E_MEMORY. */
PITH_NODISCARD pith_status pith__pair_render(const pith__pair_format *format,
                                             pith__token_text prompt, pith__token_text completion,
                                             pith__arena *arena, pith__token_text *out,
                                             size_t *completion_start, pith_error *err);

/*
 * The text of a pair in `arena`, and where its completion starts. *bytes: of the completion alone.
 */
PITH_NODISCARD pith_status pith__pair_text(const pith__pair_file *file, pith__pair pair,
                                           const pith__pair_format *format, pith__arena *arena,
                                           const char **text, size_t *size, size_t *completion,
                                           size_t *bytes, pith_error *err);

#endif /* PITH_PAIRS_H */
