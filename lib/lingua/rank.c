/*
 * rank.c: which of several texts matter most for a query.
 */
#include "lingua/lingua_internal.h"
#include "lingua/rank_internal.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* LongLLMLingua, section 4.1: with it behind the question, the question depends on the context. */
static const char restrictive_sentence[] =
    " We can get the answer to this question in the given documents.";

/* Of reciprocal rank fusion (Cormack, Clarke, Buettcher 2009). */
#define FUSION_K 60.0

/* ---- order ------------------------------------------------------------------------------- */

typedef struct ranked {
    double score;
    size_t index;
} ranked;

/* Negative if `a` is the better score. */
static int compare_scores(double a, double b)
{
    if (isnan(a) || isnan(b)) {
        return isnan(a) - isnan(b);
    }
    return (a < b) - (a > b);
}

static int compare_ranked(const void *left, const void *right)
{
    const ranked *a = left;
    const ranked *b = right;
    const int order = compare_scores(a->score, b->score);
    return order != 0 ? order : (a->index > b->index) - (a->index < b->index);
}

/* order[0..count): indices of the scores, best first, equal ones as they came. */
static pith_status order_scores(const double *scores, size_t count, pith__arena *arena,
                                size_t *order, pith_error *err)
{
    ranked *items = NULL;
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *items, &items, err));
    for (size_t i = 0; i < count; i++) {
        items[i] = (ranked){scores[i], i};
    }
    qsort(items, count, sizeof *items, compare_ranked);
    for (size_t i = 0; i < count; i++) {
        order[i] = items[i].index;
    }
    return PITH_OK;
}

/* ---- perplexity -------------------------------------------------------------------------- */

static pith_status restrict_query(const pith__rank_input *input, pith__lingua_text *query,
                                  pith_error *err)
{
    *query = *input->query;
    if (!input->restrictive) {
        return PITH_OK;
    }
    const size_t tail = sizeof restrictive_sentence - 1;
    size_t size = 0;
    if (__builtin_add_overflow(query->size, tail, &size)) {
        return pith__fail(err, PITH_E_MEMORY, "the query does not fit in memory");
    }
    char *text = NULL;
    PITH__TRY(pith__arena_alloc(input->arena, size, 1, &text, err));
    if (query->size > 0) {
        memcpy(text, query->text, query->size);
    }
    memcpy(text + query->size, restrictive_sentence, tail);
    *query = (pith__lingua_text){text, size};
    return PITH_OK;
}

static pith_status rank_condition(const pith__rank_input *input, pith__condition condition,
                                  double *scores, pith_error *err)
{
    assert(input->lm != NULL);
    pith__lingua_text query = {0};
    PITH__TRY(restrict_query(input, &query, err));
    PITH__TRY(pith__lingua_condition_ppl(input->lm, input->options, input->texts, input->count,
                                         &query, condition, input->arena, scores, err));
    for (size_t i = 0; i < input->count && condition != PITH__CONDITION_NONE; i++) {
        scores[i] = -scores[i];
    }
    return PITH_OK;
}

static pith_status rank_perplexity(const pith__rank_input *input, double *scores, pith_error *err)
{
    return rank_condition(input, input->options->condition, scores, err);
}

/* ---- fusion ------------------------------------------------------------------------------ */

/* Adds 1 / (k + rank) to every score; ranks count from 1, and ties share the best of theirs. */
static pith_status add_reciprocal_ranks(const double *single, size_t count, pith__arena *arena,
                                        double *scores, pith_error *err)
{
    size_t *order = NULL;
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *order, &order, err));
    PITH__TRY(order_scores(single, count, arena, order, err));
    size_t rank = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || compare_scores(single[order[i - 1]], single[order[i]]) != 0) {
            rank = i + 1;
        }
        scores[order[i]] += 1.0 / (FUSION_K + (double)rank);
    }
    return PITH_OK;
}

static pith_status rank_hybrid(const pith__rank_input *input, double *scores, pith_error *err)
{
    if (input->query->size == 0) {
        return rank_condition(input, PITH__CONDITION_NONE, scores, err);
    }
    double *single = NULL;
    PITH__TRY(pith__arena_alloc(input->arena, input->count, sizeof *single, &single, err));
    for (size_t i = 0; i < input->count; i++) {
        scores[i] = 0.0;
    }
    PITH__TRY(pith__rank_bm25(input, single, err));
    PITH__TRY(add_reciprocal_ranks(single, input->count, input->arena, scores, err));
    PITH__TRY(rank_condition(input, PITH__CONDITION_AFTER, single, err));
    return add_reciprocal_ranks(single, input->count, input->arena, scores, err);
}

/* ---- all of them ------------------------------------------------------------------------- */

static const pith__ranker rankers[] = {
    [PITH__RANK_LLMLINGUA] = rank_perplexity, [PITH__RANK_LONGLLMLINGUA] = rank_perplexity,
    [PITH__RANK_BM25] = pith__rank_bm25,      [PITH__RANK_GZIP] = pith__rank_gzip,
    [PITH__RANK_RANDOM] = pith__rank_random,  [PITH__RANK_HYBRID] = rank_hybrid,
};

pith_status pith__lingua_rank(const pith__lm *lm, const pith__lingua_options *options,
                              const pith__lingua_text *texts, size_t count,
                              const pith__lingua_text *query, bool restrictive, pith__arena *arena,
                              pith__ranking *out, pith_error *err)
{
    *out = (pith__ranking){0};
    assert((size_t)options->rank_method < sizeof rankers / sizeof rankers[0]);
    pith__ranking ranking = {.count = count};
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *ranking.scores, &ranking.scores, err));
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *ranking.order, &ranking.order, err));
    if (count > 0) {
        const pith__rank_input input = {.lm = lm,
                                        .options = options,
                                        .texts = texts,
                                        .count = count,
                                        .query = query,
                                        .restrictive = restrictive,
                                        .arena = arena};
        const pith__arena_mark mark = pith__arena_save(arena);
        pith_status status = rankers[options->rank_method](&input, ranking.scores, err);
        if (status == PITH_OK) {
            status = order_scores(ranking.scores, count, arena, ranking.order, err);
        }
        pith__arena_restore(arena, mark);
        PITH__TRY(status);
    }
    *out = ranking;
    return PITH_OK;
}
