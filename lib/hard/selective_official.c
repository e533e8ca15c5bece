/*
 * selective_official.c: Selective Context as its release has it, oddities included.
 *
 * Works on the normalised text; only the last step goes back to offsets of the source. Arithmetic
 * is on doubles in numpy's order, so that units next to the threshold fall on the same side.
 */
#include "hard/hard_internal.h"

#include <math.h>
#include <string.h>

/* A unit of the normalised text. */
typedef struct entry {
    size_t start;
    size_t end;
    double nats;
    uint32_t tokens;
    bool spaced; /* brings the space in front of it */
    bool kept;
} entry;

typedef struct run {
    const pith__hard_source *source;
    const pith__official *official;
    const pith__official_input *input;
    entry *entries;
    size_t count;
    double *scratch; /* as long as there are tokens in the longest sentence, or entries at all */
} run;

/* ---- checking what came in ------------------------------------------------- */

static pith_status broken(pith_error *err, size_t sentence, const char *what)
{
    return pith__fail(err, PITH_E_ARGUMENT, "%s of sentence %zu do not add up to the sentence",
                      what, sentence);
}

static pith_status check_sentence(const run *r, size_t i, pith_error *err)
{
    const pith__span *span = &r->official->sentences.items[i];
    const pith__official_sentence *sentence = &r->input->sentences[i];
    const size_t size = span->end - span->start;
    size_t last = 0;
    for (size_t t = 0; t < sentence->token_count; t++) {
        const pith_token_score *token = &sentence->tokens[t];
        if (token->start != last || token->end < last) {
            return broken(err, i, "tokens");
        }
        last = token->end;
    }
    if (last != size) {
        return broken(err, i, "tokens");
    }
    last = 0;
    const bool has_units = r->input->level == PITH__OFFICIAL_UNIT;
    for (size_t u = 0; has_units && u < sentence->unit_count; u++) {
        if (sentence->units[u].start != last || sentence->units[u].end <= last) {
            return broken(err, i, "units");
        }
        last = sentence->units[u].end;
    }
    return has_units && last != size ? broken(err, i, "units") : PITH_OK;
}

static pith_status check_input(const run *r, pith_error *err)
{
    size_t last = 0;
    for (size_t i = 0; i < r->official->sentences.count; i++) {
        const pith__span *span = &r->official->sentences.items[i];
        if (span->start < last || span->end < span->start || span->end > r->official->size) {
            return pith__fail(err, PITH_E_ARGUMENT, "sentence %zu is out of order", i);
        }
        last = span->end;
        PITH__TRY(check_sentence(r, i, err));
    }
    return PITH_OK;
}

/* ---- self-information of units ------------------------------------------------ */

/* numpy adds in eight lanes up to 128 values, and halves what is longer. */
static double sum_as_numpy(const double *values, size_t count)
{
    if (count < 8) {
        double sum = 0.0;
        for (size_t i = 0; i < count; i++) {
            sum += values[i];
        }
        return sum;
    }
    if (count > 128) {
        const size_t half = count / 2 - count / 2 % 8;
        return sum_as_numpy(values, half) + sum_as_numpy(values + half, count - half);
    }
    double lane[8];
    memcpy(lane, values, sizeof lane);
    size_t i = 8;
    for (; i < count - count % 8; i += 8) {
        for (size_t k = 0; k < 8; k++) {
            lane[k] += values[i + k];
        }
    }
    double sum =
        ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
    for (; i < count; i++) {
        sum += values[i];
    }
    return sum;
}

/* NaN for nothing, as numpy.mean([]) is. */
static double mean_as_numpy(const double *values, size_t count)
{
    return count == 0 ? (double)NAN : sum_as_numpy(values, count) / (double)count;
}

static entry *add_entry(run *r, size_t start, size_t end)
{
    entry *added = &r->entries[r->count++];
    *added = (entry){.start = start, .end = end, .nats = (double)NAN};
    return added;
}

static void add_sentence(run *r, size_t i)
{
    const pith__span *span = &r->official->sentences.items[i];
    const pith__official_sentence *sentence = &r->input->sentences[i];
    for (size_t t = 0; t < sentence->token_count; t++) {
        r->scratch[t] = (double)sentence->tokens[t].nats;
    }
    entry *added = add_entry(r, span->start, span->end);
    added->nats = mean_as_numpy(r->scratch, sentence->token_count);
    added->tokens = (uint32_t)sentence->token_count;
}

/* An entry per token; tokens that share a character make one together. */
static void add_tokens(run *r, size_t i)
{
    const pith__span *span = &r->official->sentences.items[i];
    const pith__official_sentence *sentence = &r->input->sentences[i];
    const char *text = r->official->text + span->start;
    size_t start = 0;
    size_t pending = 0;
    for (size_t t = 0; t < sentence->token_count; t++) {
        const pith_token_score *token = &sentence->tokens[t];
        r->scratch[pending++] = (double)token->nats;
        if (token->end > start &&
            pith__utf8_is_boundary(text, span->end - span->start, token->end)) {
            entry *added = add_entry(r, span->start + start, span->start + token->end);
            added->nats = mean_as_numpy(r->scratch, pending);
            added->tokens = (uint32_t)pending;
            start = token->end;
            pending = 0;
        }
    }
}

/* Characters of a sentence that end in (start, end]. */
static size_t count_characters(const char *text, size_t size, size_t start, size_t end)
{
    size_t count = 0;
    for (size_t at = start + 1; at <= end; at++) {
        count += pith__utf8_is_boundary(text, size, at);
    }
    return count;
}

/* The release's walk: how far it has come in the unit it is in, and what that unit has so far. */
typedef struct unit_walk {
    const char *text; /* the sentence */
    size_t size;
    const pith__span *units;
    size_t unit_count;
    entry *entries;
    double *infos;
    size_t info_count;
    size_t unit;
    size_t length;   /* of that unit, in characters */
    size_t position; /* in it, in characters */
} unit_walk;

static void unit_enter(unit_walk *walk, size_t unit)
{
    walk->unit = unit;
    if (unit < walk->unit_count) {
        const pith__span *span = &walk->units[unit];
        walk->length = count_characters(walk->text, walk->size, span->start, span->end);
    }
}

static void unit_close(unit_walk *walk, size_t unit, double info)
{
    walk->infos[walk->info_count++] = info;
    walk->entries[unit].nats = mean_as_numpy(walk->infos, walk->info_count);
    walk->info_count = 0;
}

/*
 * A token that ends a unit belongs to it; one that ends beyond is split evenly over the units it
 * covers up to their ends, and the one it only enters gets nothing.
 */
static void unit_take(unit_walk *walk, const pith_token_score *token)
{
    const double info = (double)token->nats;
    walk->position += count_characters(walk->text, walk->size, token->start, token->end);
    if (walk->position < walk->length) {
        const bool is_space = token->end - token->start == 1 && walk->text[token->start] == ' ';
        if (!is_space) {
            walk->infos[walk->info_count++] = info;
        }
        return;
    }
    const size_t first = walk->unit;
    do {
        walk->position -= walk->length;
        unit_enter(walk, walk->unit + 1);
    } while (walk->position > 0 && walk->unit < walk->unit_count && walk->position >= walk->length);
    const double part = info / (double)(walk->unit - first);
    for (size_t unit = first; unit < walk->unit; unit++) {
        unit_close(walk, unit, part);
    }
}

static void add_units(run *r, size_t i)
{
    const pith__span *span = &r->official->sentences.items[i];
    const pith__official_sentence *sentence = &r->input->sentences[i];
    unit_walk walk = {.text = r->official->text + span->start,
                      .size = span->end - span->start,
                      .units = sentence->units,
                      .unit_count = sentence->unit_count,
                      .entries = r->entries + r->count,
                      .infos = r->scratch};
    size_t token = 0;
    for (size_t u = 0; u < sentence->unit_count; u++) {
        const pith__span *unit = &sentence->units[u];
        entry *added = add_entry(r, span->start + unit->start, span->start + unit->end);
        added->spaced = u == 0 && i > 0;
        for (; token < sentence->token_count && sentence->tokens[token].start < unit->end;
             token++) {
            added->tokens++;
        }
    }
    unit_enter(&walk, 0);
    for (size_t t = 0; t < sentence->token_count && walk.unit < walk.unit_count; t++) {
        unit_take(&walk, &sentence->tokens[t]);
    }
}

static size_t entry_count_max(const run *r)
{
    size_t count = 0;
    for (size_t i = 0; i < r->official->sentences.count; i++) {
        const pith__official_sentence *sentence = &r->input->sentences[i];
        switch (r->input->level) {
        case PITH__OFFICIAL_TOKEN:
            count += sentence->token_count;
            break;
        case PITH__OFFICIAL_UNIT:
            count += sentence->unit_count;
            break;
        case PITH__OFFICIAL_SENTENCE:
            count++;
            break;
        }
    }
    return count;
}

static pith_status collect(run *r, pith__arena *arena, pith_error *err)
{
    const size_t entries = entry_count_max(r);
    size_t scratch = entries;
    for (size_t i = 0; i < r->official->sentences.count; i++) {
        const size_t tokens = r->input->sentences[i].token_count;
        scratch = tokens > scratch ? tokens : scratch;
    }
    PITH__TRY(pith__arena_alloc(arena, entries, sizeof *r->entries, &r->entries, err));
    PITH__TRY(pith__arena_alloc(arena, scratch, sizeof *r->scratch, &r->scratch, err));
    for (size_t i = 0; i < r->official->sentences.count; i++) {
        switch (r->input->level) {
        case PITH__OFFICIAL_TOKEN:
            add_tokens(r, i);
            break;
        case PITH__OFFICIAL_UNIT:
            add_units(r, i);
            break;
        case PITH__OFFICIAL_SENTENCE:
            add_sentence(r, i);
            break;
        }
    }
    return PITH_OK;
}

/* Strictly below the threshold goes; comparisons with NaN are false, so the unknown stays. */
static double mark(run *r)
{
    size_t known = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (!isnan(r->entries[i].nats)) {
            r->scratch[known++] = r->entries[i].nats;
        }
    }
    pith__sort_values(r->scratch, known);
    const double threshold = pith__quantile(r->scratch, known, r->input->share);
    for (size_t i = 0; i < r->count; i++) {
        r->entries[i].kept = !(r->entries[i].nats < threshold);
    }
    return threshold;
}

/* ---- back to the source --------------------------------------------------------- */

/* Writes normalised text front to back, as ranges of the source where the bytes agree. */
typedef struct writer {
    const run *run;
    pith__kept_sink *sink;
    size_t map_piece; /* of the byte written last */
} writer;

static size_t source_of(writer *w, size_t clean)
{
    const pith__text_map *map = &w->run->official->map;
    if (map->count == 0) {
        return clean;
    }
    while (w->map_piece + 1 < map->count && map->pieces[w->map_piece + 1].clean <= clean) {
        w->map_piece++;
    }
    const pith__map_piece *piece = &map->pieces[w->map_piece];
    return piece->start + (clean - piece->clean);
}

static void put_joiner(pith__kept_sink *sink)
{
    if (sink->text != NULL) {
        sink->text[sink->size] = ' ';
    }
    sink->size++;
}

static void put(writer *w, size_t start, size_t end)
{
    const pith__hard_source *source = w->run->source;
    for (size_t at = start; at < end; at++) {
        const size_t from = source_of(w, at);
        if (from < source->size && source->text[from] == w->run->official->text[at]) {
            pith__kept_sink_add(w->sink, source, (pith_range){from, from + 1});
        } else {
            put_joiner(w->sink);
        }
    }
}

/* The space that separates what starts at `start` from the sentence before. */
static void put_space(writer *w, size_t start)
{
    if (start > 0 && w->run->official->text[start - 1] == ' ') {
        put(w, start - 1, start);
    } else {
        put_joiner(w->sink);
    }
}

static void write_kept(const run *r, pith__kept_sink *sink)
{
    writer w = {.run = r, .sink = sink};
    for (size_t i = 0; i < r->count; i++) {
        const entry *unit = &r->entries[i];
        const bool always = r->input->level == PITH__OFFICIAL_SENTENCE && i > 0;
        if (always || (unit->kept && unit->spaced)) {
            put_space(&w, unit->start);
        }
        if (unit->kept) {
            put(&w, unit->start, unit->end);
        }
    }
}

static pith_status render(const run *r, pith__arena *arena, pith__kept *out, pith_error *err)
{
    pith__kept_sink need = {0};
    write_kept(r, &need);
    pith__kept_sink sink = {0};
    PITH__TRY(pith__arena_alloc(arena, need.size + 1, 1, &sink.text, err));
    if (need.range_count > 0) {
        PITH__TRY(
            pith__arena_alloc(arena, need.range_count, sizeof *sink.ranges, &sink.ranges, err));
    }
    write_kept(r, &sink);
    sink.text[sink.size] = '\0';
    *out = (pith__kept){.text = sink.text,
                        .size = sink.size,
                        .ranges = sink.ranges,
                        .range_count = sink.range_count,
                        .tokens = SIZE_MAX};
    return PITH_OK;
}

static pith_status export_units(const run *r, pith__arena *arena, pith__units *units,
                                pith_error *err)
{
    if (r->count == 0) {
        return PITH_OK;
    }
    const pith__text_map *map = &r->official->map;
    PITH__TRY(pith__arena_alloc(arena, r->count, sizeof *units->items, &units->items, err));
    for (size_t i = 0; i < r->count; i++) {
        const entry *unit = &r->entries[i];
        const bool spaced =
            unit->spaced && unit->start > 0 && r->official->text[unit->start - 1] == ' ';
        units->items[i] = (pith_unit){.start = pith__text_map_start(map, unit->start - spaced),
                                      .end = pith__text_map_end(map, unit->end),
                                      .nats = (float)unit->nats,
                                      .tokens = unit->tokens,
                                      .kept = unit->kept};
    }
    units->count = r->count;
    return PITH_OK;
}

pith_status pith__select_official(const pith__hard_source *source,
                                  const pith__official_input *input, pith__arena *arena,
                                  pith__units *units, pith__kept *out, pith_error *err)
{
    *units = (pith__units){0};
    *out = (pith__kept){0};
    run r = {.source = source, .official = input->official, .input = input};
    PITH__TRY(check_input(&r, err));
    PITH__TRY(collect(&r, arena, err));
    const double threshold = mark(&r);
    PITH__TRY(render(&r, arena, out, err));
    PITH__TRY(export_units(&r, arena, units, err));
    out->threshold = threshold;
    return PITH_OK;
}
