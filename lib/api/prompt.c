/*
 * prompt.c: from parts to one source, and what of each part is tags, structure or protected.
 */
#include "api/prompt.h"

#include <math.h>
#include <string.h>

/* ---- joining ---------------------------------------------------------------------------------- */

static pith_status note_role(pith__prompt *prompt, const pith_part *part, size_t index,
                             pith_error *err)
{
    size_t *only = part->role == PITH_INSTRUCTION ? &prompt->instruction : &prompt->question;
    switch (part->role) {
    case PITH_CONTEXT:
        prompt->contexts[prompt->context_count++] = index;
        return PITH_OK;
    case PITH_INSTRUCTION:
    case PITH_QUESTION:
        if (*only != PITH__NO_PART) {
            return pith__fail(err, PITH_E_ARGUMENT, "part %zu is a second %s", index,
                              part->role == PITH_QUESTION ? "question" : "instruction");
        }
        *only = index;
        return PITH_OK;
    }
    return pith__fail(err, PITH_E_ARGUMENT, "part %zu has no role", index);
}

static pith_status joined_size(const pith_part *parts, size_t count, size_t *out, pith_error *err)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].size > SIZE_MAX / 2 - size) {
            return pith__fail(err, PITH_E_RANGE, "the prompt is too large");
        }
        size += parts[i].size + (i > 0 ? PITH__JOINER_SIZE : 0);
    }
    *out = size;
    return PITH_OK;
}

pith_status pith__prompt_join(pith_ctx *ctx, const pith_part *parts, size_t count,
                              pith__prompt *out, pith_error *err)
{
    pith__arena *arena = &ctx->arena;
    *out = (pith__prompt){.instruction = PITH__NO_PART, .question = PITH__NO_PART};
    char *source = NULL;
    PITH__TRY(joined_size(parts, count, &out->size, err));
    PITH__TRY(pith__arena_alloc(arena, out->size + 1, 1, &source, err));
    PITH__TRY(pith__arena_alloc_zero(arena, count, sizeof *out->parts, &out->parts, err));
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *out->contexts, &out->contexts, err));
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(note_role(out, &parts[i], i, err));
        if (i > 0) {
            memcpy(source + at, PITH__JOINER, PITH__JOINER_SIZE);
            at += PITH__JOINER_SIZE;
        }
        out->parts[i] =
            (pith__reading){.role = parts[i].role, .start = at, .end = at + parts[i].size};
        if (parts[i].size > 0) {
            memcpy(source + at, parts[i].text, parts[i].size);
        }
        at += parts[i].size;
    }
    source[at] = '\0';
    out->source = source;
    out->count = count;
    return pith__check_text(ctx, source, out->size, err);
}

pith__lingua_text pith__prompt_text(const pith__prompt *prompt, size_t part)
{
    if (part == PITH__NO_PART) {
        return (pith__lingua_text){"", 0};
    }
    return (pith__lingua_text){prompt->parts[part].text, prompt->parts[part].size};
}

pith_status pith__prompt_spread(pith_ctx *ctx, const pith__prompt *prompt, const double *values,
                                double **out, pith_error *err)
{
    PITH__TRY(pith__arena_alloc(&ctx->arena, prompt->count, sizeof **out, out, err));
    for (size_t i = 0; i < prompt->count; i++) {
        (*out)[i] = (double)NAN;
    }
    for (size_t i = 0; i < prompt->context_count; i++) {
        (*out)[prompt->contexts[i]] = values[i];
    }
    return PITH_OK;
}

/* ---- tags ----------------------------------------------------------------------------------------- */

/* Two texts, each made from the one before by taking tags out. */
typedef struct stripped {
    pith__lingua_tags lingua;
    pith__tagged keep;
} stripped;

/* Where byte `offset` of the text before `map` stands after it; for what was taken out, where it was. */
static size_t map_forward(const pith__text_map *map, size_t offset)
{
    if (map->count == 0) {
        return offset;
    }
    size_t low = 0;
    size_t high = map->count;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (map->pieces[middle].start <= offset) {
            low = middle;
        } else {
            high = middle;
        }
    }
    const pith__map_piece *piece = &map->pieces[low];
    if (offset < piece->start) {
        return piece->clean;
    }
    const size_t inside = (offset < piece->end ? offset : piece->end) - piece->start;
    return piece->clean + inside;
}

/* Where the piece of `map` that holds byte `clean` ends; *at is a piece at or before it, and moves on. */
static size_t piece_end(const pith__text_map *map, size_t clean, size_t size, size_t *at)
{
    while (*at + 1 < map->count && map->pieces[*at + 1].clean <= clean) {
        ++*at;
    }
    return *at + 1 < map->count ? map->pieces[*at + 1].clean : size;
}

/* Pieces of the text after both steps, in offsets of the source. */
static pith_status compose_maps(const pith_allocator *mem, const stripped *s, size_t origin,
                                pith__text_map *out, pith_error *err)
{
    const pith__text_map *first = &s->lingua.map;
    const pith__text_map *second = &s->keep.map;
    size_t at_first = 0;
    size_t at_second = 0;
    size_t last = origin;
    for (size_t clean = 0; clean < s->keep.size;) {
        /* the longest stretch from `clean` on that neither step interrupts */
        const size_t middle = pith__text_map_start(second, clean);
        const size_t room = piece_end(second, clean, s->keep.size, &at_second) - clean;
        const size_t other = piece_end(first, middle, s->lingua.size, &at_first) - middle;
        const size_t length = other < room ? other : room;
        const size_t start = origin + pith__text_map_start(first, middle);
        last = start + length;
        PITH__TRY(pith__text_map_push(out, mem, clean, start, last, err));
        clean += length;
    }
    return pith__text_map_push(out, mem, s->keep.size, last, last, err);
}

static pith_status strip_tags(pith_ctx *ctx, pith__reading *part, const char *text, size_t size,
                              stripped *s, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    const pith__texts *names = &ctx->params.keep_tag;
    *s = (stripped){.lingua = {.text = text, .size = size}};
    if (part->role == PITH_CONTEXT && ctx->params.structured != PITH__STRUCTURED_NO) {
        pith_error mine;
        const pith_status status = pith__lingua_tags_strip(text, size, &mem, &s->lingua, &mine);
        const bool plain =
            status == PITH_E_SYNTAX && ctx->params.structured == PITH__STRUCTURED_AUTO;
        if (plain) { /* a text about the tags, not one that uses them */
            s->lingua = (pith__lingua_tags){.text = text, .size = size};
        } else if (status != PITH_OK) {
            return pith__fail_at(err, status,
                                 mine.offset == PITH_NO_OFFSET ? mine.offset
                                                               : mine.offset + part->start,
                                 "%s", mine.message);
        }
    }
    pith_error mine;
    const pith_status status =
        pith__tags_strip(s->lingua.text, s->lingua.size, (const char *const *)names->items,
                         names->count, &mem, &s->keep, &mine);
    if (status != PITH_OK) {
        const size_t offset = mine.offset == PITH_NO_OFFSET
                                  ? mine.offset
                                  : part->start + pith__text_map_start(&s->lingua.map, mine.offset);
        return pith__fail_at(err, status, offset, "%s", mine.message);
    }
    part->text = s->keep.text;
    part->size = s->keep.size;
    return compose_maps(&mem, s, part->start, &part->map, err);
}

/* ---- protection ------------------------------------------------------------------------------------- */

static pith_status compile_rules(pith_ctx *ctx, pith_error *err)
{
    const pith__params *p = &ctx->params;
    const unsigned rules = (p->keep_digits ? (unsigned)PITH__PROTECT_NUMBERS : 0U) |
                           (p->keep_links ? (unsigned)PITH__PROTECT_LINKS : 0U) |
                           (p->keep_code ? (unsigned)PITH__PROTECT_CODE : 0U);
    const size_t lists = p->keep.count + p->keep_regex.count + p->keep_pattern.count;
    if (ctx->protect != NULL || (rules == 0 && lists == 0)) {
        return PITH_OK;
    }
    pith__protect *protect = NULL;
    PITH__TRY(pith__protect_new(&ctx->model->mem, rules, &protect, err));
    pith_status status = PITH_OK;
    for (size_t i = 0; i < p->keep.count && status == PITH_OK; i++) {
        status =
            pith__protect_add_literal(protect, p->keep.items[i], strlen(p->keep.items[i]), err);
    }
    for (size_t i = 0; i < p->keep_regex.count && status == PITH_OK; i++) {
        status = pith__protect_add_regex(protect, p->keep_regex.items[i],
                                         strlen(p->keep_regex.items[i]), err);
    }
    for (size_t i = 0; i < p->keep_pattern.count && status == PITH_OK; i++) {
        const char *regex = pith__pattern_regex(p->keep_pattern.items[i]);
        status = pith__protect_add_regex(protect, regex, strlen(regex), err);
    }
    if (status != PITH_OK) {
        pith__protect_free(protect);
        return status;
    }
    ctx->protect = protect;
    return PITH_OK;
}

/* Union of two ascending lists of disjoint spans, disjoint again. */
static pith_status merge_spans(const pith_allocator *mem, const pith__spans *a,
                               const pith__spans *b, pith__spans *out, pith_error *err)
{
    pith__spans all = {NULL, 0, 0};
    size_t ia = 0;
    size_t ib = 0;
    while (ia < a->count || ib < b->count) {
        const bool take_a =
            ib == b->count || (ia < a->count && a->items[ia].start <= b->items[ib].start);
        const pith__span next = take_a ? a->items[ia++] : b->items[ib++];
        pith__span *last = all.count > 0 ? &all.items[all.count - 1] : NULL;
        if (last != NULL && next.start <= last->end) {
            last->end = next.end > last->end ? next.end : last->end;
        } else {
            PITH__TRY(pith__spans_push(&all, mem, next.start, next.end, PITH__SPAN_WORD, err));
        }
    }
    *out = all;
    return PITH_OK;
}

/* What the keep options ask for: between keep tags, and by rule. */
static pith_status find_kept(pith_ctx *ctx, pith__reading *part, const pith__spans *tagged,
                             pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    pith__spans matches = {NULL, 0, 0};
    PITH__TRY(compile_rules(ctx, err));
    if (ctx->protect != NULL) {
        PITH__TRY(pith__protect_apply(ctx->protect, part->text, part->size, &mem, &matches, err));
    }
    return merge_spans(&mem, tagged, &matches, &part->by_rule, err);
}

/* Everything between segments. */
static pith_status outside(const pith_allocator *mem, const pith__segments *segments, size_t size,
                           pith__spans *out, pith_error *err)
{
    size_t at = 0;
    for (size_t i = 0; i <= segments->count; i++) {
        const size_t stop = i < segments->count ? segments->items[i].start : size;
        if (stop > at) {
            PITH__TRY(pith__spans_push(out, mem, at, stop, PITH__SPAN_WORD, err));
        }
        at = i < segments->count ? segments->items[i].end : size;
    }
    return PITH_OK;
}

/* ---- structure ----------------------------------------------------------------------------------------- */

/* Segments by <llmlingua> tags: the caller's wishes count, whatever the text is. */
static pith_status use_tags(pith_ctx *ctx, pith__reading *part, const stripped *s, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    const pith__segments *tagged = &s->lingua.segments;
    for (size_t i = 0; i < tagged->count; i++) {
        if (tagged->items[i].rate >= 1.0 && pith__selects_units(&ctx->params)) {
            continue; /* all of it stays, so it competes with nothing */
        }
        PITH__TRY(pith__segments_push(
            &part->segments, &mem, map_forward(&s->keep.map, tagged->items[i].start),
            map_forward(&s->keep.map, tagged->items[i].end), tagged->items[i].rate, err));
    }
    part->is_local = true;
    for (size_t i = 0; i < s->lingua.fixed.count; i++) { /* not the line breaks between tags */
        const pith__span *fixed = &s->lingua.fixed.items[i];
        const unsigned shape =
            pith__text_shape(s->lingua.text + fixed->start, fixed->end - fixed->start, false);
        part->has_uncompressed = part->has_uncompressed || (shape & PITH__SHAPE_WORD) != 0;
    }
    return PITH_OK;
}

/* "KEY=0.3" entries; they were checked when they were set. */
static pith_status key_rates(pith_ctx *ctx, pith__key_rate **out, pith_error *err)
{
    const pith__texts *entries = &ctx->params.json_rate;
    PITH__TRY(pith__arena_alloc(&ctx->arena, entries->count, sizeof **out, out, err));
    for (size_t i = 0; i < entries->count; i++) {
        char *key = NULL;
        double rate = 0.0;
        const size_t size = strlen(entries->items[i]) + 1;
        PITH__TRY(pith__arena_alloc(&ctx->arena, size, 1, &key, err));
        memcpy(key, entries->items[i], size);
        PITH__TRY(pith__params_key_rate(key, &rate, err));
        (*out)[i] = (pith__key_rate){key, rate};
    }
    return PITH_OK;
}

static pith_status use_structure(pith_ctx *ctx, pith__reading *part, pith_error *err)
{
    const pith__params *p = &ctx->params;
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    pith__structure structure;
    pith__key_rate *keys = NULL;
    PITH__TRY(key_rates(ctx, &keys, err));
    const pith__format format =
        p->mode == PITH__MODE_PITH ? (pith__format)p->format : PITH__FORMAT_TEXT;
    const pith__structure_options options = {.format = format,
                                             .keys = keys,
                                             .key_count = p->json_rate.count,
                                             .keep_turns = (size_t)p->keep_turns};
    pith_error mine;
    const pith_status status =
        pith__structure_read(part->text, part->size, &options, &mem, &structure, &mine);
    if (status != PITH_OK) {
        const size_t offset = mine.offset == PITH_NO_OFFSET
                                  ? mine.offset
                                  : pith__text_map_start(&part->map, mine.offset);
        return pith__fail_at(err, status, offset, "%s", mine.message);
    }
    for (size_t i = 0; i < structure.atoms.count; i++) {
        /* the line break behind it is a gap like any other, so that an empty line survives */
        pith__span *atom = &structure.atoms.items[i];
        while (atom->end - atom->start > 1 && strchr("\r\n", part->text[atom->end - 1]) != NULL) {
            atom->end--;
        }
    }
    part->segments = structure.segments;
    part->atoms = structure.atoms;
    part->joined = structure.joined;
    part->is_local = structure.is_local;
    for (size_t i = 0; i < part->segments.count && part->is_local; i++) {
        const pith__segment *s = &part->segments.items[i];
        PITH__TRY(pith__spans_push(&part->edges, &mem, s->start, s->start, PITH__SPAN_WORD, err));
        PITH__TRY(pith__spans_push(&part->edges, &mem, s->end, s->end, PITH__SPAN_WORD, err));
    }
    return PITH_OK;
}

/* A tag inside an escape sequence cuts nothing: half of one is no JSON. */
static pith_status cut_at_tags(const pith_allocator *mem, pith__reading *part,
                               const pith__spans *tags, pith_error *err)
{
    size_t next = 0;
    for (size_t i = 0; i < tags->count; i++) {
        const size_t at = tags->items[i].start;
        while (next < part->joined.count && part->joined.items[next].end <= at) {
            next++;
        }
        if (next == part->joined.count || part->joined.items[next].start >= at) {
            PITH__TRY(pith__spans_push(&part->cuts, mem, at, at, PITH__SPAN_WORD, err));
        }
    }
    return PITH_OK;
}

static pith_status read_part(pith_ctx *ctx, const pith__prompt *prompt, pith__reading *part,
                             pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    stripped s;
    pith__spans rest = {NULL, 0, 0};
    PITH__TRY(
        strip_tags(ctx, part, prompt->source + part->start, part->end - part->start, &s, err));
    if (part->role == PITH_CONTEXT) {
        PITH__TRY(s.lingua.tagged ? use_tags(ctx, part, &s, err) : use_structure(ctx, part, err));
        PITH__TRY(find_kept(ctx, part, &s.keep.kept, err));
    }
    PITH__TRY(outside(&mem, &part->segments, part->size, &rest, err));
    PITH__TRY(merge_spans(&mem, &rest, &part->by_rule, &part->fixed, err));
    PITH__TRY(cut_at_tags(&mem, part, &s.keep.boundary, err));
    return pith__count(ctx, part->text, part->size, &part->tokens, err);
}

/* All parts without their tags, as one text. */
static pith_status count_all(pith_ctx *ctx, pith__prompt *prompt, pith_error *err)
{
    if (prompt->count == 1) {
        prompt->tokens = prompt->parts[0].tokens;
        return PITH_OK;
    }
    char *text = NULL;
    size_t size = 0;
    PITH__TRY(pith__arena_alloc(&ctx->arena, prompt->size + 1, 1, &text, err));
    for (size_t i = 0; i < prompt->count; i++) {
        const pith__reading *part = &prompt->parts[i];
        if (i > 0) {
            memcpy(text + size, PITH__JOINER, PITH__JOINER_SIZE);
            size += PITH__JOINER_SIZE;
        }
        if (part->size > 0) {
            memcpy(text + size, part->text, part->size);
            size += part->size;
        }
    }
    return pith__count(ctx, text, size, &prompt->tokens, err);
}

pith_status pith__prompt_read(pith_ctx *ctx, pith__prompt *prompt, pith_error *err)
{
    for (size_t i = 0; i < prompt->count; i++) {
        PITH__TRY(read_part(ctx, prompt, &prompt->parts[i], err));
    }
    return count_all(ctx, prompt, err);
}
