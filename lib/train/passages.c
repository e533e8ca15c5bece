/*
 * passages.c: excerpts of documents. Only the bytes around a place are tokenised, never a
 * document as a whole: books have megabytes.
 */
#include "train/passages.h"

#include "text/text.h"

#include <math.h>

/* Streams of random numbers. */
#define STREAM_OF_SOURCES  UINT64_C(0x7061737361676501)
#define STREAM_OF_BYTES    UINT64_C(0x7061737361676502)
#define STREAM_OF_HELD_OUT UINT64_C(0x7061737361676503)

/* Bytes per token that are always enough, or so: blanks can make long tokens. */
#define TOKEN_BYTES_MAX ((size_t)24)

/* How far to look for a blank to begin at; text without blanks begins at any character. */
#define WORD_MAX ((size_t)64)

/* ---- bytes ----------------------------------------------------------------------------------- */

static bool is_inside_character(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t pith__word_start(const unsigned char *data, size_t at, size_t end)
{
    for (size_t i = at; i < end && i - at < WORD_MAX; i++) {
        if (data[i] == ' ' || data[i] == '\n') {
            return i;
        }
    }
    while (at < end && is_inside_character(data[at])) {
        at++;
    }
    return at;
}

pith__document pith__passage_bytes(const unsigned char *data, pith__document document,
                                   size_t offset, size_t tokens)
{
    size_t start = document.start;
    if (offset > 0) {
        start = pith__word_start(data, document.start + offset, document.end);
        start = start == document.end ? document.start : start;
    }
    const size_t left = document.end - start;
    size_t end = left / TOKEN_BYTES_MAX < tokens ? document.end : start + tokens * TOKEN_BYTES_MAX;
    while (end > start && !pith__utf8_is_boundary((const char *)data, document.end, end)) {
        end--;
    }
    return (pith__document){start, end};
}

pith_status pith__passage_tokens(const pith__tokenizer *tokenizer, const unsigned char *data,
                                 pith__document stretch, pith__arena *arena, pith__tokens *out,
                                 pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(arena);
    *out = (pith__tokens){0};
    return pith__tokenizer_encode(tokenizer, (const char *)data + stretch.start,
                                  stretch.end - stretch.start, false, &mem, out, err);
}

/* ---- life ------------------------------------------------------------------------------------ */

static pith_status add_up(pith__passages *p, size_t i, pith_error *err)
{
    const pith__source *s = &p->sources[i];
    if (!(s->weight >= 0.0) || isinf(s->weight)) {
        return pith__fail(err, PITH_E_ARGUMENT, "\"%s\" has weight %g", s->name, s->weight);
    }
    p->weights += s->weight;
    PITH__TRY(pith__alloc(&p->mem, s->n_training, sizeof **p->ends, &p->ends[i], err));
    uint64_t sum = 0;
    for (size_t k = 0; k < s->n_training; k++) {
        sum += s->training[k].end - s->training[k].start;
        p->ends[i][k] = sum;
    }
    return PITH_OK;
}

static pith_status add_up_all(pith__passages *p, pith_error *err)
{
    if (p->n_sources == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "no text to take passages from");
    }
    PITH__TRY(pith__alloc_zero(&p->mem, p->n_sources, sizeof *p->ends, &p->ends, err));
    for (size_t i = 0; i < p->n_sources; i++) {
        PITH__TRY(add_up(p, i, err));
    }
    return p->weights > 0.0 && !isinf(p->weights)
               ? PITH_OK
               : pith__fail(err, PITH_E_ARGUMENT, "the weights of the sources sum up to %g",
                            p->weights);
}

pith_status pith__passages_init(const pith__source *sources, size_t n_sources,
                                const pith__tokenizer *tokenizer, const pith_allocator *mem,
                                pith__passages *out, pith_error *err)
{
    *out = (pith__passages){
        .mem = *mem, .tokenizer = tokenizer, .sources = sources, .n_sources = n_sources};
    const pith_status status = add_up_all(out, err);
    if (status != PITH_OK) {
        pith__passages_deinit(out);
    }
    return status;
}

void pith__passages_deinit(pith__passages *passages)
{
    for (size_t i = 0; passages->ends != NULL && i < passages->n_sources; i++) {
        pith__free(&passages->mem, passages->ends[i], passages->sources[i].n_training,
                   sizeof **passages->ends);
    }
    if (passages->ends != NULL) {
        pith__free(&passages->mem, passages->ends, passages->n_sources, sizeof *passages->ends);
    }
    *passages = (pith__passages){0};
}

/* ---- tokens ---------------------------------------------------------------------------------- */

/* Where a stretch around byte `at` of a document of `size` bytes begins. */
static size_t offset_around(size_t at, size_t size, size_t tokens)
{
    const size_t wanted =
        size / PITH__PASSAGE_TOKEN_BYTES < tokens ? size : tokens * PITH__PASSAGE_TOKEN_BYTES;
    const size_t before = at < wanted / 2 ? 0 : at - wanted / 2;
    return before < size - wanted ? before : size - wanted;
}

/* The first of the last `wanted` tokens, or, if it is near, the first behind it that starts a word. */
static size_t first_of_last(const pith__tokens *tokens, const char *text, size_t wanted)
{
    const size_t from = tokens->count - wanted;
    for (size_t i = from; i < tokens->count && i - from < WORD_MAX; i++) {
        const char c = text[tokens->items[i].start];
        if (c == ' ' || c == '\n') {
            return i + 1 < tokens->count ? i : from;
        }
    }
    return from;
}

static size_t bytes_of(const pith__tokens *tokens, size_t first, size_t end)
{
    return first == end ? 0 : tokens->items[end - 1].end - tokens->items[first].start;
}

/* Tokens [first, first + total) become text and what follows. */
static pith_status fill(const pith__tokens *tokens, size_t first, size_t total, size_t count,
                        pith__arena *arena, pith__passage *out, pith_error *err)
{
    uint32_t *ids = NULL;
    PITH__TRY(pith__arena_alloc(arena, total, sizeof *ids, &ids, err));
    for (size_t i = 0; i < total; i++) {
        ids[i] = tokens->items[first + i].id;
    }
    out->ids = ids;
    out->count = count;
    out->bytes = bytes_of(tokens, first, first + count);
    out->next = ids + count;
    out->n_next = total - count;
    out->next_bytes = bytes_of(tokens, first + count, first + total);
    return PITH_OK;
}

/* Around byte `at` of a document. */
static pith_status take(const pith__passages *p, const pith__source *source,
                        pith__document document, size_t at, size_t count, size_t next,
                        pith__arena *arena, pith__passage *out, pith_error *err)
{
    const unsigned char *data = source->file.data;
    const size_t size = document.end - document.start;
    const size_t offset = offset_around(at, size, count + next);
    const pith__document stretch = pith__passage_bytes(data, document, offset, count + next);
    const bool last = offset > 0 && offset + (count + next) * PITH__PASSAGE_TOKEN_BYTES >= size;
    pith__tokens tokens;
    PITH__TRY(pith__passage_tokens(p->tokenizer, data, stretch, arena, &tokens, err));
    size_t first = 0;
    size_t total = tokens.count < count + next ? tokens.count : count + next;
    if (last && stretch.end == document.end && total < tokens.count) {
        first = first_of_last(&tokens, (const char *)data + stretch.start, total);
        total = tokens.count - first;
    }
    const size_t own = total < count + next ? total - total * next / (count + next) : count;
    out->ends = stretch.end == document.end && first + total == tokens.count;
    return fill(&tokens, first, total, own, arena, out, err);
}

/* ---- drawing --------------------------------------------------------------------------------- */

static size_t draw_source(const pith__passages *p, uint64_t seed, uint64_t n)
{
    double left = p->weights * pith__random_unit(seed, STREAM_OF_SOURCES, n);
    size_t i = 0;
    while (i + 1 < p->n_sources && left >= p->sources[i].weight) {
        left -= p->sources[i++].weight;
    }
    return i;
}

/* The first of `ends` that is above `at`. */
static size_t document_of(const uint64_t *ends, size_t count, uint64_t at)
{
    size_t low = 0;
    size_t high = count - 1;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (ends[middle] > at) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

pith_status pith__passages_draw(const pith__passages *passages, uint64_t seed, uint64_t n,
                                size_t count, size_t next, pith__arena *arena, pith__passage *out,
                                pith_error *err)
{
    const size_t i = draw_source(passages, seed, n);
    const pith__source *source = &passages->sources[i];
    const uint64_t *ends = passages->ends[i];
    const uint64_t at = pith__random(seed, STREAM_OF_BYTES, n) % ends[source->n_training - 1];
    const size_t number = document_of(ends, source->n_training, at);
    const pith__document document = source->training[number];
    const uint64_t before = number == 0 ? 0 : ends[number - 1];
    return take(passages, source, document, (size_t)(at - before), count, next, arena, out, err);
}

pith_status pith__passages_held_out(const pith__passages *passages, size_t i, size_t total,
                                    size_t count, size_t next, pith__arena *arena,
                                    pith__passage *out, bool *found, pith_error *err)
{
    const size_t n = passages->n_sources;
    const pith__source *source = &passages->sources[i % n];
    const size_t own = total / n + (i % n < total % n); /* of this source */
    *found = source->n_held_out > 0;
    if (!*found) {
        return PITH_OK;
    }
    const size_t number = i / n * source->n_held_out / own;
    const pith__document document = source->held_out[number];
    const uint64_t at = pith__random(0, STREAM_OF_HELD_OUT, i) % (document.end - document.start);
    return take(passages, source, document, (size_t)at, count, next, arena, out, err);
}
