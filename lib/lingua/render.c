/*
 * render.c: from what was kept to the new prompt: its bytes, where they come from, and what was
 * judged.
 */
#include "lingua/lingua_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#define JOINER      "\n\n"
#define JOINER_SIZE 2

/* U+FFFD */
#define REPLACEMENT      "\xEF\xBF\xBD"
#define REPLACEMENT_SIZE 3

/* Bytes, each with its place in the working text; PITH__LINGUA_NOWHERE: none. */
typedef struct strand {
    char *bytes;
    size_t *origins;
    size_t size;
} strand;

typedef struct rendering {
    const pith__render_input *input;
    pith__arena *arena;
    bool *kept; /* (tokens) in the output */
    strand body;
    char *text;
    size_t size;
    pith_allocator mem; /* of pieces and units */
    pith__lingua_piece *pieces;
    size_t piece_count;
    size_t piece_capacity;
    pith__lingua_unit *units;
    size_t unit_count;
    size_t unit_capacity;
} rendering;

/* ---- the kept bytes of the working text ---------------------------------------------------------- */

static pith_status strand_init(strand *s, size_t room, pith__arena *arena, pith_error *err)
{
    *s = (strand){0};
    PITH__TRY(pith__arena_alloc(arena, room, 1, &s->bytes, err));
    return pith__arena_alloc(arena, room, sizeof *s->origins, &s->origins, err);
}

static void strand_add(strand *s, const char *bytes, size_t size, size_t origin)
{
    for (size_t i = 0; i < size; i++) {
        s->bytes[s->size] = bytes[i];
        s->origins[s->size++] = origin == PITH__LINGUA_NOWHERE ? origin : origin + i;
    }
}

/* The release drops as many survivors as the prefix has tokens, whichever they are. */
static pith_status find_kept(rendering *r, pith_error *err)
{
    const pith__working *w = r->input->working;
    PITH__TRY(pith__arena_alloc_zero(r->arena, w->count, sizeof *r->kept, &r->kept, err));
    size_t survivors = 0;
    for (size_t i = 0; i < w->count; i++) {
        if (r->input->tokens->kept[i]) {
            r->kept[i] = survivors >= w->start;
            survivors++;
        }
    }
    return PITH_OK;
}

/*
 * Adds bytes [start, end) of the working text, which lie in `stretch`. Where joiners are no text
 * they appear only between parts of which something is left.
 */
static void add_range(rendering *r, const pith__stretch *stretch, size_t start, size_t end,
                      bool *joiner)
{
    const bool is_text = r->input->rules->joiners_are_text;
    if (!is_text && stretch->part == PITH__LINGUA_NOWHERE) {
        *joiner = r->body.size > 0;
        return;
    }
    if (*joiner) {
        strand_add(&r->body, JOINER, JOINER_SIZE, PITH__LINGUA_NOWHERE);
        *joiner = false;
    }
    strand_add(&r->body, r->input->working->text + start, end - start, start);
}

static pith_status collect(rendering *r, pith_error *err)
{
    const pith__working *w = r->input->working;
    PITH__TRY(strand_init(&r->body, w->size, r->arena, err));
    bool joiner = false;
    if (r->input->tokens == NULL) {
        for (size_t s = 0; s < w->stretch_count; s++) {
            const pith__stretch *stretch = &w->stretches[s];
            if (stretch->at >= w->prefix) {
                add_range(r, stretch, stretch->at, stretch->at + stretch->size, &joiner);
            }
        }
        return PITH_OK;
    }
    PITH__TRY(find_kept(r, err));
    const pith__stretch *stretch = w->stretches;
    for (size_t i = 0; i < w->count; i++) {
        while (w->spans[i].end > 0 && w->spans[i].start >= stretch->at + stretch->size) {
            stretch++;
        }
        if (r->kept[i]) {
            add_range(r, stretch, w->spans[i].start, w->spans[i].end, &joiner);
        }
    }
    return PITH_OK;
}

/* ---- what the release's decoder does to it ------------------------------------------------------- */

static pith_status replace_broken(rendering *r, pith_error *err)
{
    const strand from = r->body;
    size_t broken_count = 0;
    bool broken = false;
    for (size_t at = 0; at < from.size;) {
        at += pith__lingua_decode(from.bytes, from.size, at, &broken);
        broken_count += broken;
    }
    if (broken_count == 0) {
        return PITH_OK;
    }
    PITH__TRY(strand_init(&r->body, from.size + broken_count * REPLACEMENT_SIZE, r->arena, err));
    for (size_t at = 0; at < from.size;) {
        const size_t length = pith__lingua_decode(from.bytes, from.size, at, &broken);
        if (broken) {
            strand_add(&r->body, REPLACEMENT, REPLACEMENT_SIZE, PITH__LINGUA_NOWHERE);
        }
        for (size_t i = at; i < at + length && !broken; i++) {
            strand_add(&r->body, from.bytes + i, 1, from.origins[i]);
        }
        at += length;
    }
    return PITH_OK;
}

static void remove_all(strand *s, const char *word)
{
    const size_t length = strlen(word);
    size_t to = 0;
    for (size_t at = 0; at < s->size;) {
        if (s->size - at >= length && memcmp(s->bytes + at, word, length) == 0) {
            at += length;
            continue;
        }
        s->bytes[to] = s->bytes[at];
        s->origins[to++] = s->origins[at++];
    }
    s->size = to;
}

static bool is_blank(const strand *s)
{
    for (size_t at = 0; at < s->size;) {
        uint32_t code_point = 0;
        at += pith__utf8_decode(s->bytes, s->size, at, &code_point);
        if (!pith__lingua_is_space(code_point)) {
            return false;
        }
    }
    return true;
}

/* ---- the prompt ---------------------------------------------------------------------------------- */

static pith_status add_piece(rendering *r, size_t part, size_t start, size_t end, pith_error *err)
{
    pith__lingua_piece *last = r->piece_count == 0 ? NULL : &r->pieces[r->piece_count - 1];
    if (last != NULL && last->part == part && last->end == start) {
        last->end = end;
        return PITH_OK;
    }
    PITH__TRY(pith__grow(&r->mem, &r->pieces, &r->piece_capacity, r->piece_count + 1,
                         sizeof *r->pieces, err));
    r->pieces[r->piece_count++] = (pith__lingua_piece){part, start, end};
    return PITH_OK;
}

static void add_bytes(rendering *r, const char *bytes, size_t size)
{
    memcpy(r->text + r->size, bytes, size);
    r->size += size;
}

static void join(rendering *r)
{
    if (r->size > 0) {
        add_bytes(r, JOINER, JOINER_SIZE);
    }
}

static pith_status add_whole(rendering *r, size_t part, const pith__lingua_text *text,
                             pith_error *err)
{
    if (text->size == 0) {
        return PITH_OK;
    }
    join(r);
    add_bytes(r, text->text, text->size);
    return add_piece(r, part, 0, text->size, err);
}

static pith_status add_body(rendering *r, pith_error *err)
{
    const pith__working *w = r->input->working;
    if (r->body.size == 0) {
        return PITH_OK;
    }
    join(r);
    add_bytes(r, r->body.bytes, r->body.size);
    const pith__stretch *stretch = w->stretches;
    for (size_t i = 0; i < r->body.size; i++) {
        const size_t origin = r->body.origins[i];
        if (origin == PITH__LINGUA_NOWHERE) {
            continue;
        }
        while (origin >= stretch->at + stretch->size) {
            stretch++;
        }
        if (stretch->part != PITH__LINGUA_NOWHERE) {
            const size_t at = stretch->start + (origin - stretch->at);
            PITH__TRY(add_piece(r, stretch->part, at, at + 1, err));
        }
    }
    return PITH_OK;
}

static pith_status assemble(rendering *r, pith_error *err)
{
    const pith__lingua_prompt *prompt = r->input->prompt;
    const bool ends = !r->input->rules->compresses_ends;
    const size_t around = ends ? prompt->instruction.size + prompt->question.size : 0;
    PITH__TRY(pith__arena_alloc(r->arena, around + r->body.size + (size_t)3 * JOINER_SIZE, 1,
                                &r->text, err));
    if (ends) {
        PITH__TRY(add_whole(r, PITH__LINGUA_INSTRUCTION, &prompt->instruction, err));
    }
    const bool blank = ends && is_blank(&r->body);
    if (!blank) {
        PITH__TRY(add_body(r, err));
    }
    for (size_t u = 0; u < r->unit_count && blank; u++) {
        r->units[u].unit.kept = false;
    }
    if (ends && r->input->options->concate_question) {
        PITH__TRY(add_whole(r, PITH__LINGUA_QUESTION, &prompt->question, err));
    }
    r->text[r->size] = '\0';
    return PITH_OK;
}

/* ---- units --------------------------------------------------------------------------------------- */

/* Adds a unit; what continues the one before it in the same part makes that one longer. */
static pith_status add_unit(rendering *r, size_t part, const pith_unit *unit, bool continued,
                            pith_error *err)
{
    pith__lingua_unit *last = r->unit_count == 0 ? NULL : &r->units[r->unit_count - 1];
    if (continued && last != NULL && last->part == part && last->unit.end == unit->start) {
        last->unit.end = unit->end;
        last->unit.is_protected = last->unit.is_protected || unit->is_protected;
        return PITH_OK;
    }
    PITH__TRY(pith__grow(&r->mem, &r->units, &r->unit_capacity, r->unit_count + 1, sizeof *r->units,
                         err));
    r->units[r->unit_count++] = (pith__lingua_unit){part, *unit};
    return PITH_OK;
}

/* What tokens [first, last), which share characters, have in common. */
static pith_unit unit_of(const rendering *r, size_t first, size_t last)
{
    const pith__itpc_output *tokens = r->input->tokens;
    pith_unit unit = {.kept = true, .tokens = (uint32_t)(last - first)};
    float sum = 0.0F;
    for (size_t i = first; i < last; i++) {
        sum += tokens->nats[i];
        unit.kept = unit.kept && r->kept[i];
        unit.is_protected = unit.is_protected || (r->input->forced != NULL && r->input->forced[i]);
    }
    unit.nats = sum / (float)(last - first);
    return unit;
}

/* Makes units of tokens [first, last), one in every part they lie in. */
static pith_status add_units(rendering *r, size_t first, size_t last, const pith__stretch **stretch,
                             pith_error *err)
{
    const pith__working *w = r->input->working;
    const size_t start = w->spans[first].start;
    const size_t end = w->spans[last - 1].end;
    const pith__stretch *stop = w->stretches + w->stretch_count;
    pith_unit unit = unit_of(r, first, last);
    bool continued = false;
    while (*stretch < stop && start >= (*stretch)->at + (*stretch)->size) {
        (*stretch)++;
    }
    for (const pith__stretch *s = *stretch; s < stop && s->at < end; s++) {
        const size_t from = start > s->at ? start : s->at;
        const size_t to = end < s->at + s->size ? end : s->at + s->size;
        if (s->part == PITH__LINGUA_NOWHERE || from >= to) {
            continue;
        }
        pith_unit here = unit;
        here.start = s->start + (from - s->at);
        here.end = s->start + (to - s->at);
        here.is_protected = here.kept && (here.is_protected || !s->compress);
        PITH__TRY(add_unit(r, s->part, &here, continued, err));
        continued = true;
        unit.tokens = 0; /* counted once */
    }
    return PITH_OK;
}

static pith_status find_units(rendering *r, pith__lingua_output *out, pith_error *err)
{
    const pith__working *w = r->input->working;
    const pith__itpc_output *tokens = r->input->tokens;
    const pith__stretch *stretch = w->stretches;
    for (size_t i = 0; i < w->count;) {
        bool judged = tokens->judged[i];
        size_t last = i + 1;
        out->scored += tokens->judged[i];
        while (last < w->count && !pith__utf8_is_boundary(w->text, w->size, w->spans[last].start)) {
            out->scored += tokens->judged[last];
            judged = judged || tokens->judged[last];
            last++;
        }
        if (judged && i >= w->start) {
            PITH__TRY(add_units(r, i, last, &stretch, err));
        }
        i = last;
    }
    return PITH_OK;
}

/* ---- all of it ----------------------------------------------------------------------------------- */

pith_status pith__lingua_render(const pith__render_input *input, pith__arena *arena,
                                pith__lingua_output *out, pith_error *err)
{
    rendering r = {.input = input, .arena = arena, .mem = pith__arena_allocator(arena)};
    PITH__TRY(collect(&r, err));
    if (input->tokens != NULL) {
        if (input->rules->decodes) {
            PITH__TRY(replace_broken(&r, err));
            remove_all(&r.body, "<s> ");
            remove_all(&r.body, "<s>");
        }
        PITH__TRY(find_units(&r, out, err));
        out->trace = (pith__lingua_trace){.ids = input->working->ids,
                                          .kept = input->tokens->kept,
                                          .count = input->working->count,
                                          .start = input->working->start,
                                          .thresholds = input->tokens->thresholds,
                                          .threshold_count = input->tokens->threshold_count};
    }
    PITH__TRY(assemble(&r, err));
    out->text = r.text;
    out->size = r.size;
    out->pieces = r.pieces;
    out->piece_count = r.piece_count;
    out->units = r.units;
    out->unit_count = r.unit_count;
    return PITH_OK;
}
