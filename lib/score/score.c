/*
 * score.c: windows over long sequences, passes over several short ones, threads
 * over passes.
 *
 * Threads share nothing but the list of passes, so they wait for each other once,
 * at the end. Threads inside a pass would meet dozens of times per layer, and on a
 * busy machine each meeting costs as much as the work between two of them; they
 * are left to texts that fit in one pass of a large model.
 */
#include "score/score.h"

#include <math.h>
#include <stdatomic.h>

/*
 * Rows per pass. Large enough that packing the weights costs little against
 * multiplying by them, small enough that the activations of a small model stay
 * in the cache and that a text of a few windows gives every thread a pass.
 */
#define PASS_ROWS 512

/* One window: ids [begin, end) are read, ids [from, end) are scored. */
typedef struct window {
    size_t begin;
    size_t from;
    size_t end;
} window;

/* Windows [first, first + count) go through the model together. */
typedef struct pass {
    size_t first;
    size_t count;
    size_t rows;
} pass;

/* What one thread needs to run passes. */
typedef struct worker {
    pith__arena arena;
    pith__tensor_ctx tensor;
    pith__sequence *sequences; /* (PASS_ROWS) */
    uint32_t *inputs;          /* (most rows) */
    uint32_t *targets;         /* the same */
    float *nll;                /* the same */
    pith_status status;        /* of the pass that failed, if one did */
    pith_error error;
} worker;

typedef struct plan {
    const pith__model *model;
    const pith__score_options *options;
    const uint32_t *ids;
    size_t n_ids;
    float *nats;
    window *windows;
    size_t n_windows;
    size_t windows_capacity;
    pass *passes;
    size_t n_passes;
    size_t passes_capacity;
    size_t most_rows;
    worker *workers;
    unsigned n_workers;
    atomic_size_t forwarded; /* rows so far */
    atomic_size_t done;      /* ids scored so far */
    atomic_bool stop;        /* a pass failed or the caller wants no more */
} plan;

/* ---- planning --------------------------------------------------------------------------- */

/* Row r of a window predicts ids[begin + r], or one later when no BOS comes first. */
static size_t first_target(const plan *p, const window *w)
{
    return w->begin + (p->options->bos == PITH__NO_TARGET ? 1 : 0);
}

static size_t window_rows(const plan *p, const window *w)
{
    return w->end - first_target(p, w);
}

static pith_status add_window(plan *p, const pith_allocator *mem, const window *w, pith_error *err)
{
    const size_t rows = window_rows(p, w);
    PITH__TRY(pith__grow(mem, &p->windows, &p->windows_capacity, p->n_windows + 1,
                         sizeof *p->windows, err));
    pass *last = p->n_passes == 0 ? NULL : &p->passes[p->n_passes - 1];
    if (last == NULL || last->rows + rows > PASS_ROWS || last->count == PASS_ROWS) {
        PITH__TRY(pith__grow(mem, &p->passes, &p->passes_capacity, p->n_passes + 1,
                             sizeof *p->passes, err));
        last = &p->passes[p->n_passes++];
        *last = (pass){.first = p->n_windows};
    }
    p->windows[p->n_windows++] = *w;
    last->count++;
    last->rows += rows;
    p->most_rows = last->rows > p->most_rows ? last->rows : p->most_rows;
    return PITH_OK;
}

static pith_status add_range(plan *p, const pith_allocator *mem, const pith__score_range *range,
                             pith_error *err)
{
    const size_t end = range->first + range->count;
    /* without BOS a window's first token only serves as context */
    const size_t least = p->options->bos == PITH__NO_TARGET ? 1 : 0;
    const size_t overlap = p->options->overlap > least ? p->options->overlap : least;
    window w = {.begin = range->first, .from = range->first};
    while (w.from < end) {
        w.end = end - w.begin < p->options->window ? end : w.begin + p->options->window;
        PITH__TRY(add_window(p, mem, &w, err));
        w.from = w.end;
        w.begin = w.end - overlap;
    }
    return PITH_OK;
}

/* ---- running ------------------------------------------------------------------------------ */

static void fill_window(const plan *p, const window *w, uint32_t *inputs, uint32_t *targets)
{
    const size_t first = first_target(p, w);
    for (size_t target = first; target < w->end; target++) {
        inputs[target - first] = target == w->begin ? p->options->bos : p->ids[target - 1];
        targets[target - first] = target >= w->from ? p->ids[target] : PITH__NO_TARGET;
    }
}

static pith_status run_pass(plan *p, worker *w, const pass *run)
{
    size_t row = 0;
    for (size_t i = 0; i < run->count; i++) {
        const window *one = &p->windows[run->first + i];
        fill_window(p, one, w->inputs + row, w->targets + row);
        w->sequences[i] = (pith__sequence){.ids = w->inputs + row, .count = window_rows(p, one)};
        row += window_rows(p, one);
    }
    const pith__forward_outputs outputs = {.targets = w->targets, .nll = w->nll};
    PITH__TRY(
        pith__model_forward(p->model, &w->tensor, w->sequences, run->count, &outputs, &w->error));
    size_t scored = 0;
    row = 0;
    for (size_t i = 0; i < run->count; i++) {
        const window *one = &p->windows[run->first + i];
        for (size_t target = first_target(p, one); target < one->end; target++, row++) {
            if (target >= one->from) {
                p->nats[target] = w->nll[row];
            }
        }
        scored += one->end - one->from;
    }
    atomic_fetch_add(&p->forwarded, run->rows);
    atomic_fetch_add(&p->done, scored);
    return PITH_OK;
}

static void run_one(void *user, size_t index, unsigned number)
{
    plan *p = user;
    worker *w = &p->workers[number];
    if (atomic_load(&p->stop)) {
        return;
    }
    w->status = run_pass(p, w, &p->passes[index]);
    const pith_progress_fn progress = p->options->progress;
    /* worker 0 is the calling thread, the only one that may call back */
    if (w->status == PITH_OK && number == 0 && progress != NULL && index + 1 < p->n_passes &&
        !progress(p->options->progress_user, "score", atomic_load(&p->done), p->n_ids)) {
        w->status = pith__fail(&w->error, PITH_E_CANCELLED, "stopped by the caller while scoring");
    }
    if (w->status != PITH_OK) {
        atomic_store(&p->stop, true);
    }
}

static pith_status init_worker(const plan *p, worker *w, pith_error *err)
{
    PITH__TRY(pith__arena_alloc(&w->arena, PASS_ROWS, sizeof *w->sequences, &w->sequences, err));
    PITH__TRY(pith__arena_alloc(&w->arena, p->most_rows, sizeof *w->inputs, &w->inputs, err));
    PITH__TRY(pith__arena_alloc(&w->arena, p->most_rows, sizeof *w->targets, &w->targets, err));
    return pith__arena_alloc(&w->arena, p->most_rows, sizeof *w->nll, &w->nll, err);
}

/* Hands the threads to the passes, or to the inside of the only one. */
static pith_status run_plan(plan *p, const pith__tensor_ctx *ctx, pith_error *err)
{
    const unsigned threads = ctx->threads == 0 ? 1 : ctx->threads;
    const unsigned inside =
        p->n_passes == 1 ? pith__model_threads(p->model, p->most_rows, threads) : 1;
    p->n_workers = threads < p->n_passes ? threads : (unsigned)p->n_passes;
    PITH__TRY(
        pith__arena_alloc_zero(ctx->arena, p->n_workers, sizeof *p->workers, &p->workers, err));
    pith_status status = PITH_OK;
    for (unsigned i = 0; i < p->n_workers; i++) {
        worker *w = &p->workers[i];
        pith__arena_init(&w->arena, &ctx->arena->mem);
        w->tensor = (pith__tensor_ctx){inside, &w->arena};
        if (status == PITH_OK) {
            status = init_worker(p, w, err);
        }
    }
    if (status == PITH_OK) {
        pith__parallel(p->n_workers, p->n_passes, run_one, p);
    }
    for (unsigned i = 0; i < p->n_workers; i++) {
        if (status == PITH_OK && p->workers[i].status != PITH_OK) {
            status = p->workers[i].status;
            if (err != NULL) {
                *err = p->workers[i].error;
            }
        }
        pith__arena_deinit(&p->workers[i].arena);
    }
    return status;
}

static pith_status plan_and_run(plan *p, const pith__tensor_ctx *ctx,
                                const pith__score_range *ranges, size_t n_ranges, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(ctx->arena);
    for (size_t i = 0; i < n_ranges; i++) {
        PITH__TRY(add_range(p, &mem, &ranges[i], err));
    }
    return p->n_passes == 0 ? PITH_OK : run_plan(p, ctx, err);
}

pith_status pith__score_run(const pith__model *model, const pith__tensor_ctx *ctx,
                            const pith__score_options *options, const pith__score_input *text,
                            float *nats, size_t *forwarded, pith_error *err)
{
    if (options->window < 2 || options->window > model->config.context ||
        options->overlap >= options->window - 1) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "window %zu, overlap %zu: the window must be 2 to %u tokens and the "
                          "overlap at least 2 less",
                          options->window, options->overlap, model->config.context);
    }
    for (size_t i = 0; i < text->n_ids; i++) {
        nats[i] = NAN;
    }
    plan p = {
        .model = model, .options = options, .ids = text->ids, .n_ids = text->n_ids, .nats = nats};
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    const pith_status status = plan_and_run(&p, ctx, text->ranges, text->n_ranges, err);
    pith__arena_restore(ctx->arena, mark);
    if (forwarded != NULL) {
        *forwarded = atomic_load(&p.forwarded);
    }
    return status;
}
