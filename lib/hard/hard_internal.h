/*
 * hard_internal.h: what the files of this folder share among themselves.
 */
#ifndef PITH_HARD_INTERNAL_H
#define PITH_HARD_INTERNAL_H

#include "hard/hard.h"
#include "render/render.h"

/* True if no character (as `source` defines them) reaches across `offset` <= source->size. */
bool pith__hard_is_boundary(const pith__hard_source *source, size_t offset);

/* ---- rendering (kept.c) ------------------------------------------------------- */

/* The units [first, last) to walk over; nothing before byte `start` or from `end` on is output. */
typedef struct pith__extent {
    size_t first;
    size_t last;
    size_t start;
    size_t end;
} pith__extent;

/* From the first to the last unit of the output, trimmed as the glue rule says. */
pith__extent pith__kept_extent(const pith__hard_source *source, const pith__units *units);

/* Where the output goes. All zero: nowhere, sizes are still counted. */
typedef struct pith__kept_sink {
    char *text;         /* NULL, or room for the units in the extent, kept or not */
    pith_range *ranges; /* NULL, or room for all ranges */
    size_t size;
    size_t range_count;
    pith_range last; /* the range that grows; meaningless while range_count is 0 */
} pith__kept_sink;

/* Appends bytes of the source; a range that continues the last one makes it longer. */
void pith__kept_sink_add(pith__kept_sink *sink, const pith__hard_source *source, pith_range range);

/* Appends the output of the units in `extent` to a sink that is empty. */
void pith__kept_walk(const pith__hard_source *source, const pith__units *units,
                     const pith__extent *extent, pith__kept_sink *sink);

/* ---- order and quantiles (order.c) ---------------------------------------------- */

/* A unit that competes for its place. */
typedef struct pith__ranked {
    float key;
    size_t index;
} pith__ranked;

/*
 * All units that are not protected: unknown keys first, then larger ones first,
 * then the earlier one. A total order. *count may be 0. Fails with E_MEMORY.
 */
PITH_NODISCARD pith_status pith__units_rank(const pith__units *units, pith__arena *arena,
                                            pith__ranked **out, size_t *count, pith_error *err);

/* Ascending. No NaN. */
void pith__sort_values(double *values, size_t count);

/*
 * The `share` quantile (0..1) of sorted values: linear interpolation with the
 * operations of numpy.percentile(sorted, 100 * share) in their order. NaN if
 * count is 0.
 */
double pith__quantile(const double *sorted, size_t count, double share);

/* ---- heat maps (heat.c) ------------------------------------------------------------ */

/* What both renderings know about the units. */
typedef struct pith__heat {
    const pith__hard_source *source;
    const pith__units *units;
    pith_allocator mem;
    double *nats; /* all known ones, ascending */
    size_t known;
    double cuts[PITH__HEAT_CLASSES - 1]; /* deciles; NaN if nothing is known */
    pith_range *ranges;                  /* the output */
    size_t range_count;
} pith__heat;

/* `kept` (NULL: by the glue rule) is the output. Changes nothing. Fails with E_MEMORY and leaves
 * nothing to release. */
PITH_NODISCARD pith_status pith__heat_init(pith__heat *heat, const pith__hard_source *source,
                                           const pith__units *units, const pith__kept *kept,
                                           const pith_allocator *mem, pith_error *err);
void pith__heat_deinit(pith__heat *heat);

/* 0 (least informative tenth of the units) to 9; -1 for NaN. */
int pith__heat_class(const pith__heat *heat, float nats);

/* A stretch of text that looks the same throughout. Never empty. */
typedef struct pith__heat_run {
    size_t start;
    size_t end;
    const pith_unit *unit; /* NULL: in no unit */
    bool in_output;
} pith__heat_run;

/* Walks over all of the text. All zero but for `heat`: at the beginning. */
typedef struct pith__heat_walk {
    const pith__heat *heat;
    size_t at;
    size_t unit;
    size_t range;
} pith__heat_walk;

/* False at the end of the text. */
bool pith__heat_next(pith__heat_walk *segments, pith__heat_run *out);

#endif /* PITH_HARD_INTERNAL_H */
