/*
 * log.h: what a run leaves for people: a log with one JSON object per line, and
 * the curve of its loss as an SVG picture.
 */
#ifndef PITH_TRAIN_LOG_H
#define PITH_TRAIN_LOG_H

#include "train/train.h"

/* A loss at a step, in nats per token. */
typedef struct pith__loss_point {
    uint64_t step;
    double loss;
} pith__loss_point;

/* All zero is an empty curve. */
typedef struct pith__loss_points {
    pith__loss_point *items; /* by step, ascending */
    size_t count;
    size_t capacity;
} pith__loss_points;

typedef struct pith__train_log {
    pith_allocator mem;
    const char *path;           /* borrowed; NULL: points are kept, nothing is written */
    int descriptor;             /* -1: closed */
    pith__loss_points training; /* every step */
    pith__loss_points held_out; /* of all sources together */
} pith__train_log;

/*
 * Opens the log of a run that goes on after `step`. What the file has of later steps is dropped,
 * as the run will do them again; what it has of earlier ones is kept in the file and read
 * into the points. With step 0 nothing is kept. A last line without its end, which a run that
 * was killed may leave, is dropped. Fails with E_IO, E_MEMORY, or E_CORRUPT for a file that
 * is no such log: it is left alone.
 */
PITH_NODISCARD pith_status pith__train_log_open(const char *path, uint64_t step,
                                                const pith_allocator *mem, pith__train_log *out,
                                                pith_error *err);

/*
 * Appends a line for a STEP or an EVALUATION, written before this returns; other kinds are
 * passed over. Numbers that are not finite are null. Fails with E_IO or E_MEMORY.
 *
 *     {"event":"step","step":7,"tokens":14336,"loss":8.31,"norm":1.9,"multiplier":0.07,
 *      "tokens_per_second":5120,"seconds":2.8}
 *     {"event":"evaluation","step":7,"tokens":14336,"source":"books","loss":8.5,
 *      "bits_per_byte":2.9,"seconds":2.8}
 */
PITH_NODISCARD pith_status pith__train_log_add(pith__train_log *log, const pith__train_event *event,
                                               pith_error *err);

/* Appends a JSON string; bytes that are not UTF-8 become U+FFFD. E_MEMORY. */
PITH_NODISCARD pith_status pith__train_log_string(pith__buf *out, const char *text,
                                                  pith_error *err);

/* Accepts an all-zero log. */
void pith__train_log_close(pith__train_log *log);

/*
 * Writes the curve of `log` to `path`: the loss of every step, its mean over up to 50 steps,
 * held-out losses. One file that needs no other, for light and dark pages. `title` is any bytes.
 * Fails with E_IO or E_MEMORY.
 */
PITH_NODISCARD pith_status pith__train_plot(const char *path, const pith__train_log *log,
                                            const char *title, pith_error *err);

#endif /* PITH_TRAIN_LOG_H */
