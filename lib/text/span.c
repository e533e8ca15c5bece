/*
 * span.c: growing lists of spans.
 */
#include "text/span.h"

pith_status pith__spans_push(pith__spans *spans, const pith_allocator *mem, size_t start,
                             size_t end, pith__span_kind kind, pith_error *err)
{
    if (spans->count == spans->capacity) {
        PITH__TRY(pith__grow(mem, &spans->items, &spans->capacity, spans->count + 1,
                             sizeof *spans->items, err));
    }
    spans->items[spans->count++] = (pith__span){start, end, kind};
    return PITH_OK;
}

void pith__spans_deinit(pith__spans *spans, const pith_allocator *mem)
{
    if (spans != NULL) {
        pith__free(mem, spans->items, spans->capacity, sizeof *spans->items);
        *spans = (pith__spans){0};
    }
}
