/*
 * sample.c: one token from the scores of all.
 */
#include "generate/generate.h"

#include "base/mix.h"

#include <math.h>

pith_status pith__sampling_check(const pith__sampling *sampling, pith_error *err)
{
    if (!(sampling->temperature >= 0.0) || isinf(sampling->temperature)) {
        return pith__fail(err, PITH_E_ARGUMENT, "temperature %g, must be at least 0",
                          sampling->temperature);
    }
    if (!(sampling->top_p > 0.0 && sampling->top_p <= 1.0)) {
        return pith__fail(err, PITH_E_ARGUMENT, "top-p %g, must be above 0 and at most 1",
                          sampling->top_p);
    }
    if (!(sampling->min_p >= 0.0 && sampling->min_p <= 1.0)) {
        return pith__fail(err, PITH_E_ARGUMENT, "min-p %g, must be from 0 to 1", sampling->min_p);
    }
    if (!(sampling->repetition_penalty > 0.0) || isinf(sampling->repetition_penalty)) {
        return pith__fail(err, PITH_E_ARGUMENT, "repetition penalty %g, must be above 0",
                          sampling->repetition_penalty);
    }
    return PITH_OK;
}

/* ---- penalty ------------------------------------------------------------------------------------ */

static pith_status penalise(const pith__sampling *sampling, double *scores, size_t vocabulary,
                            const uint32_t *history, size_t n_history, pith__arena *scratch,
                            pith_error *err)
{
    const size_t window = sampling->repetition_window;
    const double penalty = sampling->repetition_penalty;
    if (penalty == 1.0 || n_history == 0) {
        return PITH_OK;
    }
    bool *seen = NULL;
    PITH__TRY(pith__arena_alloc_zero(scratch, vocabulary, sizeof *seen, &seen, err));
    for (size_t i = window == 0 || window > n_history ? 0 : n_history - window; i < n_history;
         i++) {
        const uint32_t id = history[i];
        if (id < vocabulary && !seen[id]) {
            seen[id] = true;
            scores[id] = scores[id] > 0.0 ? scores[id] / penalty : scores[id] * penalty;
        }
    }
    return PITH_OK;
}

/* ---- candidates --------------------------------------------------------------------------------- */

typedef struct candidate {
    double score;
    double weight; /* a multiple of its probability; 1 for the likeliest */
    uint32_t id;
} candidate;

/* Those that may still be drawn. */
typedef struct pool {
    candidate *items; /* (count) */
    candidate *spare; /* room for as many */
    size_t count;
} pool;

/* Higher scores first, then smaller ids: a total order. */
static bool comes_before(const candidate *a, const candidate *b)
{
    return a->score > b->score || (a->score == b->score && a->id < b->id);
}

static void sift_down(candidate *heap, size_t count, size_t i)
{
    for (size_t child = 2 * i + 1; child < count; child = 2 * i + 1) {
        if (child + 1 < count && comes_before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (!comes_before(&heap[child], &heap[i])) {
            return;
        }
        const candidate moved = heap[i];
        heap[i] = heap[child];
        heap[child] = moved;
        i = child;
    }
}

/*
 * Keeps the best ones, until there are `limit` or their weights reach `bound`. A heap gives the order
 * only as far as it is needed: of a large vocabulary few tokens are likely.
 */
static void keep_best(pool *p, size_t limit, double bound)
{
    candidate *heap = p->items;
    size_t left = p->count;
    size_t kept = 0;
    double sum = 0.0;
    for (size_t i = left / 2; i-- > 0;) {
        sift_down(heap, left, i);
    }
    while (left > 0 && kept < limit && sum < bound) {
        p->spare[kept++] = heap[0];
        sum += heap[0].weight;
        heap[0] = heap[--left];
        sift_down(heap, left, 0);
    }
    p->items = p->spare;
    p->spare = heap;
    p->count = kept;
}

static void keep_heavy(pool *p, double least)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++) {
        if (p->items[i].weight >= least) {
            p->items[kept++] = p->items[i];
        }
    }
    p->count = kept;
}

static double total_of(const pool *p)
{
    double sum = 0.0;
    for (size_t i = 0; i < p->count; i++) {
        sum += p->items[i].weight;
    }
    return sum;
}

/* Scores below the best by more than the temperature can bring back get weight 0, never a NaN. */
static pith_status fill(const double *scores, size_t vocabulary, double max, double temperature,
                        pith__arena *scratch, pool *p, pith_error *err)
{
    *p = (pool){.count = 0};
    PITH__TRY(pith__arena_alloc(scratch, vocabulary, sizeof *p->items, &p->items, err));
    PITH__TRY(pith__arena_alloc(scratch, vocabulary, sizeof *p->spare, &p->spare, err));
    for (size_t v = 0; v < vocabulary; v++) {
        if (scores[v] > -HUGE_VAL) { /* false for what is no number, too */
            const double weight = scores[v] == max ? 1.0 : exp((scores[v] - max) / temperature);
            p->items[p->count++] =
                (candidate){.score = scores[v], .weight = weight, .id = (uint32_t)v};
        }
    }
    return PITH_OK;
}

/* ---- drawing ------------------------------------------------------------------------------------ */

/* Uniform in [0, 1): SplitMix64 started at the mixed seed, read at `counter`. */
static double uniform(uint64_t seed, uint64_t counter)
{
    static const uint64_t golden = UINT64_C(0x9e3779b97f4a7c15);
    const uint64_t key = pith__mix64(seed + golden);
    const uint64_t number = pith__mix64(pith__mix64(key + (counter + 1) * golden) + golden);
    return (double)(number >> 11) * 0x1p-53;
}

static uint32_t draw(const pool *p, double number)
{
    const double target = number * total_of(p);
    double sum = 0.0;
    uint32_t id = p->items[0].id;
    for (size_t i = 0; i < p->count && sum <= target; i++) {
        if (p->items[i].weight >
            0.0) { /* target may be rounded up to the total: the last one then */
            id = p->items[i].id;
            sum += p->items[i].weight;
        }
    }
    return id;
}

/* The best score's smallest id; false: there is nothing to draw. */
static bool find_best(const double *scores, size_t vocabulary, uint32_t *id)
{
    double max = -HUGE_VAL;
    for (size_t v = 0; v < vocabulary; v++) {
        if (scores[v] > max) {
            max = scores[v];
            *id = (uint32_t)v;
        }
    }
    return max > -HUGE_VAL;
}

static pith_status sample(const pith__sampling *sampling, double *scores, size_t vocabulary,
                          uint64_t counter, pith__arena *scratch, uint32_t *id, pith_error *err)
{
    if (!find_best(scores, vocabulary, id)) {
        return pith__fail(err, PITH_E_CORRUPT, "no token can be drawn: no score is a number");
    }
    if (sampling->temperature == 0.0) {
        return PITH_OK;
    }
    pool p;
    PITH__TRY(fill(scores, vocabulary, scores[*id], sampling->temperature, scratch, &p, err));
    if (sampling->top_k > 0 && sampling->top_k < p.count) {
        keep_best(&p, sampling->top_k, HUGE_VAL);
    }
    if (sampling->top_p < 1.0) {
        keep_best(&p, p.count, sampling->top_p * total_of(&p));
    }
    keep_heavy(&p, sampling->min_p);
    *id = draw(&p, uniform(sampling->seed, counter));
    return PITH_OK;
}

pith_status pith__sample_token(const pith__sampling *sampling, double *scores, size_t vocabulary,
                               const uint32_t *history, size_t n_history, uint64_t counter,
                               pith__arena *scratch, uint32_t *id, pith_error *err)
{
    const pith__arena_mark mark = pith__arena_save(scratch);
    pith_status status = penalise(sampling, scores, vocabulary, history, n_history, scratch, err);
    if (status == PITH_OK) {
        status = sample(sampling, scores, vocabulary, counter, scratch, id, err);
    }
    pith__arena_restore(scratch, mark);
    return status;
}
