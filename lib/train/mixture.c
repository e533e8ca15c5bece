/*
 * mixture.c: endless streams of tokens, one per source, and samples drawn from them by weight.
 *
 * A document's items are BOS and its tokens; pith__stream_place counts in items. A place always
 * points at the next item to be used, so that the end of a document is never a place. Everything in
 * a cache follows from a place and is made again when the place is another one than it was.
 */
#include "train/run.h"

#include <math.h>
#include <string.h>

/*
 * Long documents are tokenised in slices of at most so many bytes: bounds memory, and the
 * wait for a sample. At the cut, tokens differ from those of the whole document.
 */
enum { SLICE_BYTES = 256 * 1024 };

/* Streams of random numbers; any constants that differ will do. */
#define STREAM_OF_SOURCES UINT64_C(0x736f7572636573)
#define STREAM_OF_ORDERS  UINT64_C(0x6f7264657273)

typedef struct pith__stream_cache {
    size_t *order; /* (order_capacity) permutation of the source's training documents */
    size_t order_capacity;
    bool has_order; /* `order` is that of order_epoch */
    uint64_t order_epoch;
    bool has_slice; /* what follows is about a slice of this document */
    uint64_t epoch, index;
    const char *text; /* (size) the document */
    size_t size;
    size_t slice_end;    /* in bytes of the document */
    uint64_t first;      /* item of tokens.items[0]; BOS, item 0, goes with the first slice */
    pith__tokens tokens; /* of the slice */
} pith__stream_cache;

/* ---- order of the documents --------------------------------------------------------------- */

static void need_order(const pith__mixture *m, size_t source, uint64_t epoch)
{
    pith__stream_cache *cache = &m->caches[source];
    if (!cache->has_order || cache->order_epoch != epoch) {
        const uint64_t key = pith__random(m->seed, STREAM_OF_ORDERS + source, epoch);
        pith__shuffle(cache->order, cache->order_capacity, key, STREAM_OF_ORDERS);
        cache->has_order = true;
        cache->order_epoch = epoch;
    }
}

/* ---- slices of a document ------------------------------------------------------------------ */

/* Where the slice that begins at `start` ends: behind a line break, or else between characters. */
static size_t slice_end(const char *text, size_t size, size_t start)
{
    if (size - start <= SLICE_BYTES) {
        return size;
    }
    const size_t limit = start + SLICE_BYTES;
    for (size_t end = limit; end > start; end--) {
        if (text[end - 1] == '\n') {
            return end;
        }
    }
    for (size_t end = limit; end > limit - 4; end--) {
        if (((unsigned char)text[end] & 0xc0) != 0x80) {
            return end;
        }
    }
    return limit; /* no UTF-8 */
}

static pith_status read_slice(const pith__mixture *m, pith__stream_cache *cache, size_t start,
                              uint64_t first, pith_error *err)
{
    cache->has_slice = false;
    cache->first = first;
    cache->slice_end = slice_end(cache->text, cache->size, start);
    cache->tokens.count = 0;
    PITH__TRY(pith__tokenizer_encode(m->tokenizer, cache->text + start, cache->slice_end - start,
                                     false, &m->mem, &cache->tokens, err));
    cache->has_slice = true;
    return PITH_OK;
}

static pith_status read_next_slice(const pith__mixture *m, pith__stream_cache *cache,
                                   pith_error *err)
{
    return read_slice(m, cache, cache->slice_end, cache->first + cache->tokens.count, err);
}

static pith_status read_first_slice(const pith__mixture *m, size_t source,
                                    const pith__stream_place *place, pith_error *err)
{
    const pith__source *s = &m->sources[source];
    pith__stream_cache *cache = &m->caches[source];
    if (place->index >= s->n_training) {
        return pith__fail(err, PITH_E_MISMATCH,
                          "%s has %zu documents to train on, the stream stands at number %llu",
                          s->name, s->n_training, (unsigned long long)place->index);
    }
    need_order(m, source, place->epoch);
    const pith__document *document = &s->training[cache->order[place->index]];
    cache->epoch = place->epoch;
    cache->index = place->index;
    cache->text = (const char *)s->file.data + document->start;
    cache->size = document->end - document->start;
    return read_slice(m, cache, 0, 1, err);
}

/* Whether the document goes on behind the slice's last item with `item`. */
static bool is_behind(const pith__stream_cache *cache, uint64_t item)
{
    return item >= cache->first + cache->tokens.count;
}

/* Brings the slice with the place's item into the cache, and tells whether there is one. */
static pith_status find_item(const pith__mixture *m, size_t source, const pith__stream_place *place,
                             bool *found, pith_error *err)
{
    pith__stream_cache *cache = &m->caches[source];
    const bool same = cache->has_slice && cache->epoch == place->epoch &&
                      cache->index == place->index &&
                      (place->token >= cache->first || (place->token == 0 && cache->first == 1));
    if (!same) {
        PITH__TRY(read_first_slice(m, source, place, err));
    }
    while (is_behind(cache, place->token) && cache->slice_end < cache->size) {
        PITH__TRY(read_next_slice(m, cache, err));
    }
    *found = !is_behind(cache, place->token);
    return PITH_OK;
}

static uint32_t item_at(const pith__mixture *m, size_t source, uint64_t item)
{
    const pith__stream_cache *cache = &m->caches[source];
    return item == 0 ? pith__tokenizer_bos(m->tokenizer)
                     : cache->tokens.items[item - cache->first].id;
}

/* ---- samples --------------------------------------------------------------------------------- */

static size_t draw_source(const pith__mixture *m, uint64_t n)
{
    double total = 0.0;
    for (size_t i = 0; i < m->n_sources; i++) {
        total += m->sources[i].weight;
    }
    const double drawn = pith__random_unit(m->seed, STREAM_OF_SOURCES, n) * total;
    double sum = 0.0;
    for (size_t i = 0; i + 1 < m->n_sources; i++) {
        sum += m->sources[i].weight;
        if (drawn < sum) {
            return i;
        }
    }
    return m->n_sources - 1;
}

static void next_document(const pith__mixture *m, size_t source, pith__stream_place *place)
{
    place->token = 0;
    if (++place->index == m->sources[source].n_training) {
        place->index = 0;
        place->epoch++;
    }
}

/* Uses the item at `place`, whose slice is in the cache, and goes on. */
static pith_status use_item(const pith__mixture *m, size_t source, pith__stream_place *place,
                            uint32_t *id, uint32_t *target, bool *ends, pith_error *err)
{
    bool goes_on = false;
    *id = item_at(m, source, place->token++);
    PITH__TRY(find_item(m, source, place, &goes_on, err));
    *ends = !goes_on;
    if (goes_on) {
        *target = item_at(m, source, place->token);
        return PITH_OK;
    }
    *target = pith__document_end(m->tokenizer);
    next_document(m, source, place);
    return PITH_OK;
}

/* Fills the sample from `place` on and moves it. */
static pith_status fill(const pith__mixture *m, size_t source, pith__stream_place *place,
                        pith__sample *sample, pith_error *err)
{
    uint32_t document = 0;
    uint32_t position = 0;
    for (size_t i = 0; i < sample->length; i++) {
        bool found = false;
        PITH__TRY(find_item(m, source, place, &found, err));
        if (!found) {
            return pith__fail(err, PITH_E_MISMATCH,
                              "%s: the document has fewer tokens than the stream's place says",
                              m->sources[source].name);
        }
        bool ends = false;
        sample->documents[i] = document;
        sample->positions[i] = position++;
        PITH__TRY(use_item(m, source, place, &sample->ids[i], &sample->targets[i], &ends, err));
        if (ends) {
            document++;
            position = 0;
        }
    }
    return PITH_OK;
}

pith_status pith__mixture_next(pith__mixture *mixture, uint64_t n, pith__sample *sample,
                               pith_error *err)
{
    const size_t source = draw_source(mixture, n);
    pith__stream_place place = mixture->places[source];
    PITH__TRY(fill(mixture, source, &place, sample, err));
    mixture->places[source] = place;
    return PITH_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

static pith_status check(const pith__source *sources, size_t n_sources,
                         const pith__tokenizer *tokenizer, pith_error *err)
{
    double total = 0.0;
    for (size_t i = 0; i < n_sources; i++) {
        if (!(sources[i].weight > 0.0)) {
            return pith__fail(err, PITH_E_ARGUMENT, "the weight of %s is %g; it must be above 0",
                              sources[i].name, sources[i].weight);
        }
        total += sources[i].weight;
    }
    if (n_sources == 0 || !isfinite(total)) {
        return pith__fail(err, PITH_E_ARGUMENT, "%zu sources of total weight %g", n_sources, total);
    }
    if (pith__tokenizer_bos(tokenizer) == PITH__TOKEN_NONE) {
        return pith__fail(err, PITH_E_ARGUMENT, "the tokenizer names no BOS token");
    }
    return PITH_OK;
}

static pith_status allocate(pith__mixture *m, pith_error *err)
{
    PITH__TRY(pith__alloc_zero(&m->mem, m->n_sources, sizeof *m->places, &m->places, err));
    PITH__TRY(pith__alloc_zero(&m->mem, m->n_sources, sizeof *m->caches, &m->caches, err));
    for (size_t i = 0; i < m->n_sources; i++) {
        pith__stream_cache *cache = &m->caches[i];
        const size_t count = m->sources[i].n_training;
        PITH__TRY(pith__alloc(&m->mem, count, sizeof *cache->order, &cache->order, err));
        cache->order_capacity = count;
    }
    return PITH_OK;
}

pith_status pith__mixture_init(const pith__source *sources, size_t n_sources,
                               const pith__tokenizer *tokenizer, uint64_t seed,
                               const pith_allocator *mem, pith__mixture *out, pith_error *err)
{
    *out = (pith__mixture){.mem = *mem,
                           .tokenizer = tokenizer,
                           .sources = sources,
                           .n_sources = n_sources,
                           .seed = seed};
    PITH__TRY(check(sources, n_sources, tokenizer, err));
    const pith_status status = allocate(out, err);
    if (status != PITH_OK) {
        pith__mixture_deinit(out);
    }
    return status;
}

void pith__mixture_deinit(pith__mixture *mixture)
{
    const pith_allocator mem = mixture->mem;
    for (size_t i = 0; mixture->caches != NULL && i < mixture->n_sources; i++) {
        pith__stream_cache *cache = &mixture->caches[i];
        pith__free(&mem, cache->order, cache->order_capacity, sizeof *cache->order);
        pith__tokens_deinit(&cache->tokens, &mem);
    }
    pith__free(&mem, mixture->caches, mixture->n_sources, sizeof *mixture->caches);
    pith__free(&mem, mixture->places, mixture->n_sources, sizeof *mixture->places);
    *mixture = (pith__mixture){.mem = mem};
}
