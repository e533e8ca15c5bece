/*
 * recover.c: subsequence recovery (LongLLMLingua, section 4.4): phrases of a response that were
 * taken from the compressed prompt become the stretch of the original that they stand for.
 *
 * Like the release's recover(), save that a phrase is also looked for with the tokens that it has
 * after a space: where tokens carry their space, the release seldom finds one that begins a word.
 */
#include "lingua/rank_internal.h"

#include <stdlib.h>
#include <string.h>

/* Tokens further apart do not belong to one phrase; the release's bound. */
#define GAP_MAX ((size_t)10)

/* ---- which stretches of the response stand in the compressed prompt ---------------------- */

/*
 * Suffix automaton (Blumer et al. 1985) of the response. A state stands for stretches of it that
 * are suffixes of each other; `matched` is the length of the longest of them that the compressed
 * prompt has too. Everything is linear in the two texts.
 */
typedef struct edge {
    size_t target;
    size_t next; /* of the same state; NONE after the last */
    char byte;
} edge;

typedef struct state {
    size_t length; /* of the longest stretch */
    size_t link;   /* state of its longest suffix that another state stands for; NONE: the root */
    size_t edges;
    size_t matched;
} state;

typedef struct automaton {
    state *states; /* the first is the root */
    size_t state_count;
    edge *edges;
    size_t edge_count;
    size_t last; /* state of all that was read so far */
} automaton;

#define NONE SIZE_MAX

static edge *find_edge(const automaton *a, size_t from, char byte)
{
    for (size_t e = a->states[from].edges; e != NONE; e = a->edges[e].next) {
        if (a->edges[e].byte == byte) {
            return &a->edges[e];
        }
    }
    return NULL;
}

static void add_edge(automaton *a, size_t from, char byte, size_t target)
{
    a->edges[a->edge_count] = (edge){target, a->states[from].edges, byte};
    a->states[from].edges = a->edge_count++;
}

/* A copy of `target`, for those of its stretches that are `from` and `byte`, or end like that. */
static size_t split_state(automaton *a, size_t from, char byte, size_t target)
{
    const size_t copy = a->state_count++;
    a->states[copy] = (state){a->states[from].length + 1, a->states[target].link, NONE, 0};
    for (size_t e = a->states[target].edges; e != NONE; e = a->edges[e].next) {
        add_edge(a, copy, a->edges[e].byte, a->edges[e].target);
    }
    for (; from != NONE; from = a->states[from].link) {
        edge *to = find_edge(a, from, byte);
        if (to == NULL || to->target != target) {
            break;
        }
        to->target = copy;
    }
    a->states[target].link = copy;
    return copy;
}

static void append_byte(automaton *a, char byte)
{
    const size_t added = a->state_count++;
    a->states[added] = (state){a->states[a->last].length + 1, 0, NONE, 0};
    size_t from = a->last;
    a->last = added;
    const edge *to = NULL;
    while (from != NONE && (to = find_edge(a, from, byte)) == NULL) {
        add_edge(a, from, byte, added);
        from = a->states[from].link;
    }
    if (to != NULL) {
        const size_t target = to->target;
        a->states[added].link = a->states[target].length == a->states[from].length + 1
                                    ? target
                                    : split_state(a, from, byte, target);
    }
}

static pith_status build_automaton(const pith__lingua_text *response, pith__arena *arena,
                                   automaton *a, pith_error *err)
{
    *a = (automaton){0};
    size_t most = 0;
    if (__builtin_mul_overflow(response->size, (size_t)3, &most)) {
        (void)pith__fail(err, PITH_E_MEMORY, "out of memory: index of %zu bytes", response->size);
        return PITH_E_MEMORY;
    }
    /* at most 2n - 1 states and 3n - 4 edges for n > 2 bytes */
    PITH__TRY(pith__arena_alloc(arena, 2 * response->size + 1, sizeof *a->states, &a->states, err));
    PITH__TRY(pith__arena_alloc(arena, most + 1, sizeof *a->edges, &a->edges, err));
    a->states[a->state_count++] = (state){0, NONE, NONE, 0};
    for (size_t i = 0; i < response->size; i++) {
        append_byte(a, response->text[i]);
    }
    return PITH_OK;
}

/* The suffixes of a stretch that occurs do so too. Stops where an earlier call has been. */
static void mark_suffixes(automaton *a, size_t at)
{
    for (at = a->states[at].link; at != NONE && a->states[at].matched < a->states[at].length;
         at = a->states[at].link) {
        a->states[at].matched = a->states[at].length;
    }
}

static void match_text(automaton *a, const pith__lingua_text *text)
{
    size_t at = 0;
    size_t length = 0;
    for (size_t i = 0; i < text->size; i++) {
        const edge *to = find_edge(a, at, text->text[i]);
        while (to == NULL && a->states[at].link != NONE) {
            at = a->states[at].link;
            length = a->states[at].length;
            to = find_edge(a, at, text->text[i]);
        }
        if (to == NULL) {
            continue;
        }
        at = to->target;
        length++;
        if (a->states[at].matched < length) {
            a->states[at].matched = length;
        }
        mark_suffixes(a, at);
    }
}

/* Bytes of the response from `start` on that stand together in the compressed prompt. */
static size_t common_length(const automaton *a, const pith__lingua_text *response, size_t start)
{
    size_t at = 0;
    size_t length = 0;
    while (start + length < response->size) {
        const edge *to = find_edge(a, at, response->text[start + length]);
        if (to == NULL || a->states[to->target].matched <= length) {
            break;
        }
        at = to->target;
        length++;
    }
    return length;
}

/* ---- a phrase in the original ------------------------------------------------------------ */

/* Where an id occurs. */
typedef struct place {
    uint32_t id;
    size_t at;
} place;

typedef struct token_index {
    const pith__lm *lm;
    const pith__lingua_text *text;
    const pith_token_score *tokens;
    uint32_t *ids; /* (count) */
    place *places; /* (count) by id, then by place */
    size_t count;
} token_index;

/* Tokens [first, last] of the original. */
typedef struct stretch {
    size_t first;
    size_t last;
    size_t missing; /* tokens of the phrase that it lacks; SIZE_MAX: nothing was found */
} stretch;

static int compare_places(const void *left, const void *right)
{
    const place *a = left;
    const place *b = right;
    return a->id != b->id ? (a->id > b->id) - (a->id < b->id) : (a->at > b->at) - (a->at < b->at);
}

static pith_status read_original(const pith__lm *lm, const pith__lingua_text *text,
                                 pith__arena *arena, token_index *o, pith_error *err)
{
    *o = (token_index){.lm = lm, .text = text};
    pith__lm_tokens tokens = {0};
    PITH__TRY(lm->tokenize(lm->user, text->text, text->size, arena, &tokens, err));
    o->tokens = tokens.items;
    o->count = tokens.count;
    PITH__TRY(pith__arena_alloc(arena, o->count, sizeof *o->ids, &o->ids, err));
    PITH__TRY(pith__arena_alloc(arena, o->count, sizeof *o->places, &o->places, err));
    for (size_t i = 0; i < o->count; i++) {
        o->ids[i] = tokens.items[i].id;
        o->places[i] = (place){tokens.items[i].id, i};
    }
    qsort(o->places, o->count, sizeof *o->places, compare_places);
    return PITH_OK;
}

/* The first of the places of `id`, or of a larger one. */
static size_t find_places(const token_index *o, uint32_t id)
{
    size_t low = 0;
    size_t high = o->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (o->places[middle].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The token `id` among the next few behind `at`, or `at` if there is none. */
static size_t find_next(const token_index *o, size_t at, uint32_t id)
{
    const size_t reach = o->count - at - 1 < GAP_MAX ? o->count - at - 1 : GAP_MAX;
    for (size_t i = 1; i <= reach; i++) {
        if (o->ids[at + i] == id) {
            return at + i;
        }
    }
    return at;
}

/*
 * The stretch that begins with the phrase's first token at `first` and goes on with whichever of
 * the others come next. Gives up when more than `most` are missing.
 */
static stretch follow_phrase(const token_index *o, const pith__lm_tokens *phrase, size_t first,
                             size_t most)
{
    stretch found = {first, first, 0};
    for (size_t i = 1; i < phrase->count && found.missing <= most; i++) {
        const size_t next = find_next(o, found.last, phrase->items[i].id);
        found.missing += next == found.last;
        found.last = next;
    }
    return found;
}

/* *best, or a better stretch: that lacks fewer tokens of the phrase, or as many and is shorter. */
static void find_phrase(const token_index *o, const pith__lm_tokens *phrase, stretch *best)
{
    if (phrase->count == 0) {
        return;
    }
    const uint32_t id = phrase->items[0].id;
    for (size_t p = find_places(o, id); p < o->count && o->places[p].id == id; p++) {
        if (best->missing == 0 && best->last - best->first + 1 <= phrase->count) {
            return; /* nothing is shorter and complete */
        }
        const stretch found = follow_phrase(o, phrase, o->places[p].at, best->missing);
        if (found.missing < best->missing ||
            (found.missing == best->missing &&
             found.last - found.first < best->last - best->first)) {
            *best = found;
        }
    }
}

/* Looks for the phrase as it is tokenized after a space. */
static pith_status find_spaced(const token_index *o, const pith__lingua_text *phrase,
                               pith__arena *arena, stretch *best, pith_error *err)
{
    char *text = NULL;
    PITH__TRY(pith__arena_alloc(arena, phrase->size + 1, 1, &text, err));
    text[0] = ' ';
    memcpy(text + 1, phrase->text, phrase->size);
    pith__lm_tokens tokens = {0};
    PITH__TRY(o->lm->tokenize(o->lm->user, text, phrase->size + 1, arena, &tokens, err));
    if (tokens.count > 0 && tokens.items[0].end > 1) { /* else the space is a token of its own */
        find_phrase(o, &tokens, best);
    }
    return PITH_OK;
}

static pith_status find_stretch(const token_index *o, const pith__lingua_text *phrase,
                                pith__arena *arena, stretch *best, pith_error *err)
{
    *best = (stretch){0, 0, SIZE_MAX};
    pith__lm_tokens tokens = {0};
    PITH__TRY(o->lm->tokenize(o->lm->user, phrase->text, phrase->size, arena, &tokens, err));
    find_phrase(o, &tokens, best);
    if (phrase->size > 0 && phrase->text[0] != ' ') {
        return find_spaced(o, phrase, arena, best, err);
    }
    return PITH_OK;
}

/*
 * The bytes of a stretch: whole characters, and without a leading space that the phrase has not.
 * Where nothing remains or nothing was found, the phrase.
 */
static pith__lingua_text stretch_text(const token_index *o, const stretch *found,
                                      const pith__lingua_text *phrase)
{
    if (found->missing == SIZE_MAX) {
        return *phrase;
    }
    const char *text = o->text->text;
    size_t start = o->tokens[found->first].start;
    size_t end = o->tokens[found->last].end;
    while (!pith__utf8_is_boundary(text, o->text->size, start)) {
        start--;
    }
    while (!pith__utf8_is_boundary(text, o->text->size, end)) {
        end++;
    }
    if (start < end && text[start] == ' ' && phrase->text[0] != ' ') {
        start++;
    }
    return start < end ? (pith__lingua_text){text + start, end - start} : *phrase;
}

/* ---- the response ------------------------------------------------------------------------ */

/* The end of the word at `start`: the next space, or the end of the text. */
static size_t word_end(const pith__lingua_text *text, size_t start)
{
    const char *space =
        start < text->size ? memchr(text->text + start, ' ', text->size - start) : NULL;
    return space == NULL ? text->size : (size_t)(space - text->text);
}

/* The end of the longest run of words from `start` on that is within `limit`; NONE: not one is. */
static size_t run_end(const pith__lingua_text *text, size_t start, size_t limit)
{
    size_t end = NONE;
    for (size_t next = word_end(text, start); next <= limit; next = word_end(text, end + 1)) {
        end = next;
        if (end == text->size) {
            break;
        }
    }
    return end;
}

/* Appends what the words [start, end) of the response stand for. */
static pith_status recover_run(const token_index *o, const pith__lingua_text *phrase,
                               pith__arena *arena, pith__buf *out, pith_error *err)
{
    stretch found = {0};
    const pith__arena_mark mark = pith__arena_save(arena);
    const pith_status status = find_stretch(o, phrase, arena, &found, err);
    pith__arena_restore(arena, mark);
    PITH__TRY(status);
    const pith__lingua_text text = stretch_text(o, &found, phrase);
    return pith__buf_append(out, text.text, text.size, err);
}

static pith_status recover_words(const token_index *o, const automaton *a,
                                 const pith__lingua_text *response, pith__arena *arena,
                                 pith__buf *out, pith_error *err)
{
    for (size_t at = 0;;) {
        size_t end = run_end(response, at, at + common_length(a, response, at));
        if (end == NONE) {
            end = word_end(response, at);
            PITH__TRY(pith__buf_append(out, response->text + at, end - at, err));
        } else {
            const pith__lingua_text phrase = {response->text + at, end - at};
            PITH__TRY(recover_run(o, &phrase, arena, out, err));
        }
        if (end == response->size) {
            return PITH_OK;
        }
        PITH__TRY(pith__buf_append(out, " ", 1, err));
        at = end + 1;
    }
}

static pith_status recover(const pith__lm *lm, const pith__lingua_text *original,
                           const pith__lingua_text *compressed, const pith__lingua_text *response,
                           pith__buf *out, pith__arena *arena, pith_error *err)
{
    token_index o = {0};
    automaton a = {0};
    PITH__TRY(read_original(lm, original, arena, &o, err));
    PITH__TRY(build_automaton(response, arena, &a, err));
    match_text(&a, compressed);
    return recover_words(&o, &a, response, arena, out, err);
}

pith_status pith__lingua_recover(const pith__lm *lm, const pith__lingua_text *original,
                                 const pith__lingua_text *compressed,
                                 const pith__lingua_text *response, pith__buf *out,
                                 pith__arena *arena, pith_error *err)
{
    if (response->size == 0) {
        return PITH_OK;
    }
    const size_t before = out->size;
    const pith_status status = recover(lm, original, compressed, response, out, arena, err);
    if (status != PITH_OK && out->data != NULL) {
        out->size = before;
        out->data[before] = '\0';
    }
    return status;
}
