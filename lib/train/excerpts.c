/*
 * excerpts.c: continuations from documents: so many tokens from a random place of a random one.
 */
#include "train/distill.h"
#include "train/passages.h"

#include <math.h>

/* Streams of random numbers, two of each: what is learned, and what is held out. */
#define STREAM_OF_SPLIT     UINT64_C(0x73706c6974)
#define STREAM_OF_SOURCES   UINT64_C(0x736f7572636500)
#define STREAM_OF_DOCUMENTS UINT64_C(0x646f63756d656e00)
#define STREAM_OF_PLACES    UINT64_C(0x706c616365730000)

/* One document in so many is held out, at least one. Of a single one it is the last part. */
#define HELD_OUT_EVERY 10

enum { LEARNED, HELD_OUT, SPLITS };

/* A file and which of its documents are for what. */
typedef struct shelf {
    pith__source source;
    pith__document *documents[SPLITS]; /* (counts) */
    size_t counts[SPLITS];
} shelf;

typedef struct excerpts {
    const pith__excerpts *settings;
    pith__arena *arena; /* of the result */
    pith__arena scratch;
    shelf *shelves;   /* (settings->n_sources) */
    size_t n_shelves; /* open ones */
    double weights;   /* their sum */
} excerpts;

/* ---- documents ------------------------------------------------------------------------------- */

/* A single document: its end is held out. */
static void cut_document(shelf *s)
{
    const pith__document all = s->source.training[0];
    const size_t size = all.end - all.start;
    const size_t cut =
        pith__word_start(s->source.file.data, all.end - size / HELD_OUT_EVERY, all.end);
    s->documents[LEARNED][0] = (pith__document){all.start, cut};
    s->documents[HELD_OUT][0] = (pith__document){cut, all.end};
    s->counts[LEARNED] = cut > all.start ? 1 : 0;
    s->counts[HELD_OUT] = all.end > cut ? 1 : 0;
}

static pith_status split_documents(excerpts *e, size_t number, pith_error *err)
{
    shelf *s = &e->shelves[number];
    const size_t n = s->source.n_training;
    const size_t held_out = n / HELD_OUT_EVERY == 0 ? 1 : n / HELD_OUT_EVERY;
    size_t *order = NULL;
    for (int split = 0; split < SPLITS; split++) {
        PITH__TRY(
            pith__arena_alloc(&e->scratch, n, sizeof **s->documents, &s->documents[split], err));
    }
    if (n == 1) {
        cut_document(s);
    } else {
        PITH__TRY(pith__arena_alloc(&e->scratch, n, sizeof *order, &order, err));
        pith__shuffle(order, n, pith__random(e->settings->seed, STREAM_OF_SPLIT, number),
                      STREAM_OF_SPLIT);
        for (size_t i = 0; i < n; i++) {
            const int split = i < held_out ? HELD_OUT : LEARNED;
            s->documents[split][s->counts[split]++] = s->source.training[order[i]];
        }
    }
    return s->counts[LEARNED] > 0 && s->counts[HELD_OUT] > 0
               ? PITH_OK
               : pith__fail(err, PITH_E_ARGUMENT,
                            "\"%s\" has too little text to hold out some of it",
                            e->settings->sources[number].path);
}

static pith_status open_shelves(excerpts *e, pith_error *err)
{
    const pith__excerpts *s = e->settings;
    PITH__TRY(
        pith__arena_alloc_zero(&e->scratch, s->n_sources, sizeof *e->shelves, &e->shelves, err));
    for (size_t i = 0; i < s->n_sources; i++) {
        const pith__train_source *from = &s->sources[i];
        if (!(from->weight >= 0.0) || isinf(from->weight)) {
            return pith__fail(err, PITH_E_ARGUMENT, "\"%s\" has weight %g", from->path,
                              from->weight);
        }
        e->weights += from->weight;
        PITH__TRY(pith__source_open(from->path, from->weight, 0, &e->scratch.mem,
                                    &e->shelves[i].source, err));
        e->n_shelves++;
        PITH__TRY(split_documents(e, i, err));
    }
    return e->weights > 0.0 && !isinf(e->weights)
               ? PITH_OK
               : pith__fail(err, PITH_E_ARGUMENT, "the weights of the sources sum up to %g",
                            e->weights);
}

/* ---- drawing --------------------------------------------------------------------------------- */

static const shelf *draw_shelf(const excerpts *e, uint64_t stream, size_t number)
{
    double left = e->weights * pith__random_unit(e->settings->seed, stream, number);
    size_t i = 0;
    while (i + 1 < e->n_shelves && left >= e->shelves[i].source.weight) {
        left -= e->shelves[i++].source.weight;
    }
    return &e->shelves[i];
}

/* Bytes [start, end) of the shelf's file for continuation `number`. */
static pith__document draw_bytes(const excerpts *e, int split, size_t number, const shelf **from)
{
    const pith__excerpts *s = e->settings;
    const uint64_t which = (uint64_t)split;
    *from = draw_shelf(e, STREAM_OF_SOURCES + which, number);
    const uint64_t document = pith__random(s->seed, STREAM_OF_DOCUMENTS + which, number);
    const uint64_t place = pith__random(s->seed, STREAM_OF_PLACES + which, number);
    const pith__document all = (*from)->documents[split][document % (*from)->counts[split]];
    const size_t size = all.end - all.start;
    const size_t wanted = s->length * PITH__PASSAGE_TOKEN_BYTES;
    const size_t offset = size > wanted ? (size_t)(place % (size - wanted + 1)) : 0;
    return pith__passage_bytes((*from)->source.file.data, all, offset, s->length);
}

/* Up to `length` ids, appended to ids[*count ...). */
static pith_status draw_one(excerpts *e, int split, size_t number, uint32_t *ids, size_t *count,
                            pith_error *err)
{
    const shelf *from = NULL;
    const pith__document bytes = draw_bytes(e, split, number, &from);
    const pith__arena_mark mark = pith__arena_save(&e->scratch);
    pith__tokens tokens;
    const pith_status status = pith__passage_tokens(e->settings->tokenizer, from->source.file.data,
                                                    bytes, &e->scratch, &tokens, err);
    for (size_t i = 0; status == PITH_OK && i < tokens.count && i < e->settings->length; i++) {
        ids[(*count)++] = tokens.items[i].id;
    }
    pith__arena_restore(&e->scratch, mark);
    return status;
}

static pith_status draw_split(excerpts *e, int split, size_t count, pith__id_lists *out,
                              pith_error *err)
{
    size_t *starts = NULL;
    uint32_t *ids = NULL;
    PITH__TRY(pith__arena_alloc(e->arena, count + 1, sizeof *starts, &starts, err));
    PITH__TRY(pith__arena_alloc(e->arena, count, e->settings->length * sizeof *ids, &ids, err));
    starts[0] = 0;
    for (size_t i = 0; i < count; i++) {
        starts[i + 1] = starts[i];
        PITH__TRY(draw_one(e, split, i, ids, &starts[i + 1], err));
    }
    *out = (pith__id_lists){.ids = ids, .starts = starts, .count = count};
    return PITH_OK;
}

static pith_status draw(excerpts *e, pith__id_lists *training, pith__id_lists *held_out,
                        pith_error *err)
{
    PITH__TRY(open_shelves(e, err));
    PITH__TRY(draw_split(e, LEARNED, e->settings->count, training, err));
    return draw_split(e, HELD_OUT, e->settings->n_held_out, held_out, err);
}

pith_status pith__distill_excerpts(const pith__excerpts *settings, pith__arena *arena,
                                   pith__id_lists *training, pith__id_lists *held_out,
                                   pith_error *err)
{
    excerpts e = {.settings = settings, .arena = arena};
    pith__arena_init(&e.scratch, &arena->mem);
    const pith_status status = draw(&e, training, held_out, err);
    for (size_t i = 0; i < e.n_shelves; i++) {
        pith__source_close(&e.shelves[i].source);
    }
    pith__arena_deinit(&e.scratch);
    return status;
}
