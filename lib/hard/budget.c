/*
 * budget.c: the most informative units that fit in so many tokens of the rendered text.
 *
 * What a unit costs depends on its neighbours, because tokens do not stop at units, so nothing is
 * added up: candidate texts are rendered and counted. Ranked units give a series of texts, each a
 * little longer than the last; a search finds the longest that fits. The few tokens that are then
 * still free go to lower-ranked units that are small enough.
 */
#include "hard/hard_internal.h"

#include <math.h>
#include <string.h>

/* Neighbours that decide what a unit costs: more bytes on each side than the merges of a word see. */
#define WINDOW_BYTES ((size_t)64)

/* How far to look for them past dropped text; where little is kept they are far away. */
#define WINDOW_REACH ((size_t)8192)

/* Lower-ranked units tried per round, and rounds. A round ends with at least one full count. */
#define FILL_TRIES  64
#define FILL_ROUNDS 4

/* Tokens that are worth a new search behind a unit that does not fit, and how often. */
#define PASS_ROOM  ((size_t)32)
#define PASS_TRIES 64

typedef struct search {
    const pith__hard_source *source;
    pith__units *units;
    const pith__counter *counter;
    size_t budget;
    pith__ranked *ranked;
    size_t ranked_count;
    size_t prefix; /* so many of `ranked` are kept now */
    char *text;    /* room for any rendering */
} search;

static void keep_ranked(search *s, size_t from, size_t to, bool kept)
{
    for (size_t i = from; i < to; i++) {
        s->units->items[s->ranked[i].index].kept = kept;
    }
}

static void keep_prefix(search *s, size_t prefix)
{
    keep_ranked(s, s->prefix, prefix, true);
    keep_ranked(s, prefix, s->prefix, false);
    s->prefix = prefix;
}

static pith_status count_extent(search *s, const pith__extent *extent, size_t *count,
                                pith_error *err)
{
    pith__kept_sink sink = {.text = s->text};
    pith__kept_walk(s->source, s->units, extent, &sink);
    s->text[sink.size] = '\0';
    *count = 0;
    return s->counter->count(s->counter->user, s->text, sink.size, count, err);
}

/* Tokens of the whole text that is kept now. */
static pith_status count_kept(search *s, size_t *count, pith_error *err)
{
    const pith__extent extent = pith__kept_extent(s->source, s->units);
    return count_extent(s, &extent, count, err);
}

/* ---- the longest prefix ----------------------------------------------------------- */

/* A guess at what a unit costs, up to a factor: the scorer's tokens, and bytes where it has none. */
static double weigh(const search *s, size_t rank)
{
    const pith_unit *unit = &s->units->items[s->ranked[rank].index];
    return (double)unit->tokens + (double)(unit->end - unit->start) / 8.0;
}

/* A prefix strictly between two, where the count should be `share` of the way from one to the other. */
static size_t interpolate(const search *s, size_t low, size_t high, double share)
{
    double total = 0.0;
    for (size_t i = low; i < high; i++) {
        total += weigh(s, i);
    }
    double sum = 0.0;
    size_t guess = low;
    while (guess < high && sum + weigh(s, guess) <= share * total) {
        sum += weigh(s, guess++);
    }
    guess = guess > low ? guess : low + 1;
    return guess < high ? guess : high - 1;
}

/*
 * Leaves the longest prefix that fits in place, *count being what it counts. Prefix `low` counts
 * *count and fits; prefix `high` counts `high_count` and does not. Guesses by interpolation, and
 * halves whenever a guess has not: a handful of counts as a rule, 2 log2(n) at worst.
 */
static pith_status find_prefix(search *s, size_t low, size_t high, size_t high_count, size_t *count,
                               pith_error *err)
{
    bool halve = false;
    while (high - low > 1) {
        const size_t width = high - low;
        const double share = (double)(s->budget - *count) / (double)(high_count - *count);
        const size_t guess = halve ? low + width / 2 : interpolate(s, low, high, share);
        keep_prefix(s, guess);
        size_t guess_count = 0;
        PITH__TRY(count_kept(s, &guess_count, err));
        if (guess_count <= s->budget) {
            low = guess;
            *count = guess_count;
        } else {
            high = guess;
            high_count = guess_count;
        }
        halve = !halve && high - low > width / 2;
    }
    keep_prefix(s, low);
    return PITH_OK;
}

/*
 * A prefix ends at the first unit that does not fit, and a large one (a table, a block of code)
 * would end it far below the budget: such units are passed over, and the search goes on behind
 * them. What is then still free is for fill_room().
 */
static pith_status pass_over(search *s, size_t *count, pith_error *err)
{
    for (int tries = 0; tries < PASS_TRIES && s->budget - *count > PASS_ROOM; tries++) {
        if (s->prefix + 1 >= s->ranked_count) {
            break;
        }
        const pith__ranked large = s->ranked[s->prefix];
        memmove(&s->ranked[s->prefix], &s->ranked[s->prefix + 1],
                (s->ranked_count - s->prefix - 1) * sizeof *s->ranked);
        s->ranked[s->ranked_count - 1] = large;
        const size_t low = s->prefix;
        keep_prefix(s, s->ranked_count - 1);
        size_t rest = 0;
        PITH__TRY(count_kept(s, &rest, err));
        if (rest <= s->budget) { /* all but the large ones */
            *count = rest;
            break;
        }
        keep_prefix(s, low);
        PITH__TRY(find_prefix(s, low, s->ranked_count - 1, rest, count, err));
    }
    return PITH_OK;
}

/* ---- filling the rest ---------------------------------------------------------------- */

/* The end of the window on the left of unit `index`: its first unit, and the byte in it. */
static void window_left(const search *s, size_t index, pith__extent *window)
{
    const pith_unit *items = s->units->items;
    size_t room = WINDOW_BYTES;
    for (; window->first > 0 && room > 0; window->first--) {
        const pith_unit *unit = &items[window->first - 1];
        const size_t size = unit->end - unit->start;
        if (unit->kept && size > room) {
            window->start = unit->end - room;
        } else if (!unit->kept && items[index].start - unit->start > WINDOW_REACH) {
            break;
        }
        room -= !unit->kept ? 0 : size < room ? size : room;
    }
    while (!pith__utf8_is_boundary(s->source->text, s->source->size, window->start)) {
        window->start++;
    }
}

static void window_right(const search *s, size_t index, pith__extent *window)
{
    const pith_unit *items = s->units->items;
    size_t room = WINDOW_BYTES;
    for (; window->last < s->units->count && room > 0; window->last++) {
        const pith_unit *unit = &items[window->last];
        const size_t size = unit->end - unit->start;
        if (unit->kept && size > room) {
            window->end = unit->start + room;
        } else if (!unit->kept && unit->end - items[index].end > WINDOW_REACH) {
            break;
        }
        room -= !unit->kept ? 0 : size < room ? size : room;
    }
    while (!pith__utf8_is_boundary(s->source->text, s->source->size, window->end)) {
        window->end++;
    }
}

/* The kept neighbours of a unit, far enough to both sides for its cost not to depend on more. */
static pith__extent window_around(const search *s, size_t index)
{
    pith__extent window = {.first = index, .last = index + 1, .end = SIZE_MAX};
    window_left(s, index, &window);
    window_right(s, index, &window);
    return window;
}

/* Keeps the unit if its neighbourhood then counts at most *room more, and takes that off *room. */
static pith_status try_unit(search *s, size_t index, size_t *room, bool *added, pith_error *err)
{
    pith_unit *unit = &s->units->items[index];
    const pith__extent window = window_around(s, index);
    size_t without = 0;
    PITH__TRY(count_extent(s, &window, &without, err));
    unit->kept = true;
    size_t with = 0;
    PITH__TRY(count_extent(s, &window, &with, err));
    const size_t cost = with > without ? with - without : 0;
    *added = cost <= *room;
    unit->kept = *added;
    *room -= *added ? cost : 0;
    return PITH_OK;
}

/*
 * One round: adds small units from `*next` on by what their neighbourhoods count, then counts the
 * whole and takes back the later half of them until it fits. *count is what the text counts.
 */
static pith_status fill_round(search *s, double tokens_per_weight, size_t *next, size_t *count,
                              pith_error *err)
{
    size_t added[FILL_TRIES];
    size_t added_count = 0;
    size_t room = s->budget - *count;
    for (size_t tries = 0; *next < s->ranked_count && tries < FILL_TRIES && room > 0; ++*next) {
        /* guesses are often off by one, hardly ever by half */
        const double enough = (double)room + fmax(1.0, (double)room / 2.0);
        if (weigh(s, *next) * tokens_per_weight > enough) {
            continue;
        }
        bool fits = false;
        PITH__TRY(try_unit(s, s->ranked[*next].index, &room, &fits, err));
        if (fits) {
            added[added_count++] = *next;
        }
        tries++;
    }
    while (added_count > 0) {
        size_t total = 0;
        PITH__TRY(count_kept(s, &total, err));
        if (total <= s->budget) {
            *count = total;
            return PITH_OK;
        }
        for (const size_t fewer = added_count / 2; added_count > fewer; added_count--) {
            s->units->items[s->ranked[added[added_count - 1]].index].kept = false;
        }
    }
    return PITH_OK;
}

static pith_status fill_room(search *s, size_t full_count, size_t *count, pith_error *err)
{
    double weight = 0.0;
    for (size_t i = 0; i < s->ranked_count; i++) {
        weight += weigh(s, i);
    }
    /* of the whole text over the weights of all but the protected units: if anything too high */
    const double tokens_per_weight = weight > 0.0 ? (double)full_count / weight : 0.0;
    size_t next = s->prefix + 1;
    for (int round = 0; round < FILL_ROUNDS && *count < s->budget; round++) {
        PITH__TRY(fill_round(s, tokens_per_weight, &next, count, err));
    }
    return PITH_OK;
}

/* ---- all of it ------------------------------------------------------------------------- */

/* Leaves the choice in the units' `kept`, and in *count what it counts. */
static pith_status choose(search *s, size_t *count, pith_error *err)
{
    keep_prefix(s, s->ranked_count);
    PITH__TRY(count_kept(s, count, err));
    if (*count <= s->budget) {
        return PITH_OK;
    }
    const size_t full_count = *count;
    keep_prefix(s, 0);
    PITH__TRY(count_kept(s, count, err));
    if (*count > s->budget) {
        return pith__fail(err, PITH_E_BUDGET,
                          "the units with protected text take %zu tokens, the budget is %zu",
                          *count, s->budget);
    }
    PITH__TRY(find_prefix(s, 0, s->ranked_count, full_count, count, err));
    PITH__TRY(pass_over(s, count, err));
    return fill_room(s, full_count, count, err);
}

pith_status pith__select_budget(const pith__hard_source *source, pith__units *units,
                                const pith__counter *counter, size_t budget, pith__arena *arena,
                                pith__kept *out, pith_error *err)
{
    *out = (pith__kept){0};
    search s = {.source = source, .units = units, .counter = counter, .budget = budget};
    PITH__TRY(pith__units_rank(units, arena, &s.ranked, &s.ranked_count, err));
    PITH__TRY(pith__arena_alloc(arena, source->size + 1, 1, &s.text, err));
    for (size_t i = 0; i < units->count; i++) {
        units->items[i].kept = units->items[i].is_protected;
    }
    size_t count = 0;
    PITH__TRY(choose(&s, &count, err));
    PITH__TRY(pith__kept_render(source, units, arena, out, err));
    out->tokens = count;
    out->threshold = s.prefix > 0 ? (double)s.ranked[s.prefix - 1].key : (double)NAN;
    return PITH_OK;
}
