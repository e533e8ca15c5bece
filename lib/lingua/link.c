/*
 * link.c: documents that relevant documents name. Of a question in two steps ("the director of the
 * film ...") the second document shares no word with the question; its title stands in the first.
 */
#include "lingua/lingua.h"
#include "lingua/terms.h"

#include <math.h>
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

static bool holds(const pith__lingua_terms *text, const pith__lingua_terms *title)
{
    for (size_t i = 0; title->count > 0 && i + title->count <= text->count; i++) {
        size_t same = 0;
        while (same < title->count &&
               pith__lingua_same_term(&text->items[i + same], &title->items[same])) {
            same++;
        }
        if (same == title->count) {
            return true;
        }
    }
    return false;
}

static pith_status find_titles(const pith__lingua_text *texts, size_t count, pith__arena *arena,
                               pith__lingua_terms **out, pith_error *err)
{
    PITH__TRY(pith__arena_alloc(arena, count, sizeof **out, out, err));
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(find_title(&texts[i], arena, &(*out)[i], err));
    }
    return PITH_OK;
}

/* From the scores as they were, so that links do not add up along chains. */
static pith_status add_links(const pith__lingua_text *texts, const pith__ranking *ranking,
                             const pith__lingua_terms *titles, pith__arena *arena, double *linked,
                             pith_error *err)
{
    for (size_t r = 0; r < ranking->count && r < LINK_SOURCES; r++) {
        const size_t source = ranking->order[r];
        pith__lingua_terms terms;
        if (!(ranking->scores[source] > 0.0)) {
            break;
        }
        PITH__TRY(pith__lingua_split_terms(&texts[source], false, arena, &terms, err));
        for (size_t i = 0; i < ranking->count; i++) {
            if (i != source && holds(&terms, &titles[i])) {
                linked[i] =
                    fmax(linked[i], ranking->scores[i] + LINK_SHARE * ranking->scores[source]);
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
    pith__lingua_terms *titles = NULL;
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
