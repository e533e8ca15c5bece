/*
 * pairs.h: prompts with their completions, one JSON object per line.
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

/* How a line becomes text. */
typedef struct pith__pair_format {
    const char *prompt_key;
    const char *completion_key;
    const char *text; /* with {prompt} and, later, {completion} */
} pith__pair_format;

/*
 * Maps a file and reads every line once: what is no pair is E_SYNTAX or E_CORRUPT with the file, the
 * line's number and the reason. Copies of a line stay; one line in `held_out_every` (0: none) is
 * held out by its hash. E_CORRUPT too if nothing is left to train on. E_IO, E_MEMORY.
 */
PITH_NODISCARD pith_status pith__pair_file_open(const char *path, const pith__pair_format *format,
                                                uint32_t held_out_every, const pith_allocator *mem,
                                                pith__pair_file *out, pith_error *err);
void pith__pair_file_close(pith__pair_file *file);

/* E_ARGUMENT: a text is missing, or lacks a place, has one twice, or the completion's first. */
PITH_NODISCARD pith_status pith__pair_format_check(const pith__pair_format *format,
                                                   pith_error *err);

/*
 * The text of a pair in `arena`, and where its completion starts. *bytes: of the completion alone.
 */
PITH_NODISCARD pith_status pith__pair_text(const pith__pair_file *file, pith__pair pair,
                                           const pith__pair_format *format, pith__arena *arena,
                                           const char **text, size_t *size, size_t *completion,
                                           size_t *bytes, pith_error *err);

#endif /* PITH_PAIRS_H */
