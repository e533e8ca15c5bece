/*
 * link.c: documents that relevant documents name. Of a question in two steps ("the director of the
 * film ...") the second document shares no word with the question; its title stands in the first.
 */
#include "lingua/lingua.h"
#include "lingua/terms.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a document gains from one that names it, as a share of that one's score. */
#define LINK_SHARE 0.5

/* How many of the best documents are read for names, and the longest title. */
#define LINK_SOURCES   ((size_t)8)
#define TITLE_TERMS    ((size_t)12)
#define TITLE_SIZE_MAX ((size_t)160)

/* The first line without what stands in brackets; nothing if that is the whole text or a long line. */
static pith_status find_title(const pith__lingua_text *text, pith__arena *arena,
                              pith__lingua_terms *out, pith_error *err)
{
    char line[TITLE_SIZE_MAX];
    size_t size = 0;
    size_t depth = 0;
    size_t at = 0;
    *out = (pith__lingua_terms){NULL, 0};
    for (; at < text->size && text->text[at] != '\n' && at < TITLE_SIZE_MAX; at++) {
        depth += text->text[at] == '(';
        line[size] = text->text[at];
        size += depth == 0;
        depth -= text->text[at] == ')' && depth > 0;
    }
    if (at == text->size || text->text[at] != '\n') {
        return PITH_OK;
    }
    const pith__lingua_text title = {line, size};
    PITH__TRY(pith__lingua_split_terms(&title, false, arena, out, err));
    out->count = out->count <= TITLE_TERMS ? out->count : 0;
    return PITH_OK;
}

/* The title of a document. */
typedef struct title {
    pith__lingua_terms terms;
    size_t text;
} title;

static int compare_terms(const pith__lingua_text *a, const pith__lingua_text *b)
{
    const size_t common = a->size < b->size ? a->size : b->size;
    const int order = memcmp(a->text, b->text, common);
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* By their terms, one that another begins with before it. */
static int compare_titles(const void *left, const void *right)
{
    const title *a = left;
    const title *b = right;
    for (size_t i = 0; i < a->terms.count && i < b->terms.count; i++) {
        const int order = compare_terms(&a->terms.items[i], &b->terms.items[i]);
        if (order != 0) {
            return order;
        }
    }
    if (a->terms.count != b->terms.count) {
        return a->terms.count < b->terms.count ? -1 : 1;
    }
    return a->text < b->text ? -1 : a->text > b->text;
}

static pith_status find_titles(const pith__lingua_text *texts, size_t count, pith__arena *arena,
                               title **out, pith_error *err)
{
    PITH__TRY(pith__arena_alloc(arena, count, sizeof **out, out, err));
    for (size_t i = 0; i < count; i++) {
        (*out)[i].text = i;
        PITH__TRY(find_title(&texts[i], arena, &(*out)[i].terms, err));
    }
    qsort(*out, count, sizeof **out, compare_titles);
    return PITH_OK;
}

/* Of titles [low, high), the first whose term `depth` is not below `term`, or is above it. */
static size_t find_bound(const title *titles, size_t low, size_t high, size_t depth,
                         const pith__lingua_text *term, bool above)
{
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const pith__lingua_terms *terms = &titles[middle].terms;
        const int order = terms->count <= depth ? -1 : compare_terms(&terms->items[depth], term);
        if (order < 0 || (above && order == 0)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Marks the titles that stand at term `at` of the text. Equal ones are marked together. */
static void mark_named(const title *titles, size_t count, const pith__lingua_terms *text, size_t at,
                       bool *named)
{
    size_t low = 0;
    size_t high = count;
    for (size_t depth = 0; at + depth < text->count && low < high; depth++) {
        const pith__lingua_text *term = &text->items[at + depth];
        low = find_bound(titles, low, high, depth, term, false);
        high = find_bound(titles, low, high, depth, term, true);
        for (size_t i = low; i < high && titles[i].terms.count == depth + 1 && !named[i]; i++) {
            named[i] = true;
        }
    }
}

/* From the scores as they were, so that links do not add up along chains. */
static pith_status add_links(const pith__lingua_text *texts, const pith__ranking *ranking,
                             const title *titles, pith__arena *arena, double *linked,
                             pith_error *err)
{
    const size_t count = ranking->count;
    for (size_t r = 0; r < count && r < LINK_SOURCES; r++) {
        const size_t source = ranking->order[r];
        pith__lingua_terms terms;
        bool *named = NULL;
        if (!(ranking->scores[source] > 0.0)) {
            break;
        }
        PITH__TRY(pith__lingua_split_terms(&texts[source], false, arena, &terms, err));
        PITH__TRY(pith__arena_alloc_zero(arena, count, sizeof *named, &named, err));
        for (size_t at = 0; at < terms.count; at++) {
            mark_named(titles, count, &terms, at, named);
        }
        for (size_t i = 0; i < count; i++) {
            const size_t text = titles[i].text;
            if (named[i] && text != source) {
                linked[text] = fmax(linked[text],
                                    ranking->scores[text] + LINK_SHARE * ranking->scores[source]);
            }
        }
    }
    return PITH_OK;
}

/* Insertion keeps equal scores in their order; nearly sorted as it is. */
static void sort_again(pith__ranking *ranking)
{
    for (size_t i = 1; i < ranking->count; i++) {
        const size_t moved = ranking->order[i];
        size_t to = i;
        for (; to > 0 && ranking->scores[ranking->order[to - 1]] < ranking->scores[moved]; to--) {
            ranking->order[to] = ranking->order[to - 1];
        }
        ranking->order[to] = moved;
    }
}

pith_status pith__lingua_link(const pith__lingua_text *texts, pith__arena *arena,
                              pith__ranking *ranking, pith_error *err)
{
    const size_t count = ranking->count;
    const pith__arena_mark mark = pith__arena_save(arena);
    title *titles = NULL;
    double *linked = NULL;
    pith_status status = pith__arena_alloc(arena, count, sizeof *linked, &linked, err);
    if (status == PITH_OK && count > 1) {
        memcpy(linked, ranking->scores, count * sizeof *linked);
        status = find_titles(texts, count, arena, &titles, err);
        if (status == PITH_OK) {
            status = add_links(texts, ranking, titles, arena, linked, err);
        }
        if (status == PITH_OK) {
            memcpy(ranking->scores, linked, count * sizeof *linked);
            sort_again(ranking);
        }
    }
    pith__arena_restore(arena, mark);
    return status;
}
