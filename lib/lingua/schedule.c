/*
 * schedule.c: which tokens are judged together, and at what rate.
 */
#include "lingua/lingua_internal.h"

static void add_run(pith__schedule *s, size_t count, double rate)
{
    s->runs[s->run_count++] = (pith__rate_run){count, rate};
}

/* Runs since the last window. */
static size_t open_runs(const pith__schedule *s)
{
    if (s->window_count == 0) {
        return s->run_count;
    }
    const pith__window *last = &s->windows[s->window_count - 1];
    return s->run_count - (last->first + last->count);
}

static void close_window(pith__schedule *s, size_t size)
{
    const size_t count = open_runs(s);
    s->windows[s->window_count++] = (pith__window){s->run_count - count, count, size};
}

static pith_status make_room(pith__schedule *s, size_t runs, size_t windows, pith__arena *arena,
                             pith_error *err)
{
    *s = (pith__schedule){0};
    PITH__TRY(pith__arena_alloc(arena, runs, sizeof *s->runs, &s->runs, err));
    return pith__arena_alloc(arena, windows, sizeof *s->windows, &s->windows, err);
}

pith_status pith__schedule_by_context(const size_t *lengths, const double *rates, size_t count,
                                      size_t size, pith__arena *arena, pith__schedule *out,
                                      pith_error *err)
{
    size_t total = 1;
    for (size_t c = 0; c < count; c++) {
        total += lengths[c];
    }
    const size_t windows = total / size + count + 1;
    PITH__TRY(make_room(out, windows + count, windows, arena, err));
    size_t last = 1; /* place in the window */
    for (size_t c = 0; c < count; c++) {
        if (last + lengths[c] < size) {
            last += lengths[c];
            add_run(out, lengths[c], rates[c]);
            continue;
        }
        add_run(out, size - last, rates[c]);
        close_window(out, size);
        last += lengths[c] - size;
        while (last > size) { /* a remainder of exactly `size` stays open */
            const size_t whole = last / size;
            for (size_t k = 0; k < whole; k++) {
                add_run(out, size, rates[c]);
                close_window(out, size);
            }
            last -= whole * size;
        }
        if (last > 0) {
            add_run(out, last, rates[c]);
        }
    }
    if (open_runs(out) > 0) {
        close_window(out, size);
    }
    return PITH_OK;
}

pith_status pith__schedule_by_token(const pith__schedule_input *input, pith__arena *arena,
                                    pith__schedule *out, pith_error *err)
{
    PITH__TRY(make_room(out, input->count, input->count, arena, err));
    size_t held = 0; /* tokens in the open window */
    for (size_t i = 0; i < input->count; i++) {
        const bool joined = i > 0 && input->joined != NULL && input->joined[i];
        const bool ended = i > 0 && input->ends != NULL && input->ends[i - 1];
        if (held > 0 && !joined && (held >= input->size || ended)) {
            close_window(out, input->reads_size ? input->size : held);
            held = 0;
        }
        pith__rate_run *run = held == 0 ? NULL : &out->runs[out->run_count - 1];
        if (run != NULL && (joined || run->rate == input->rates[i])) {
            run->count++;
        } else {
            add_run(out, 1, input->rates[i]);
        }
        held++;
    }
    if (held > 0) {
        close_window(out, input->reads_size ? input->size : held);
    }
    return PITH_OK;
}

void pith__schedule_rates(const pith__rated *stretches, size_t stretch_count, const size_t *bounds,
                          size_t count, double *rates)
{
    size_t first = 0;
    size_t start = 0; /* position at which stretch `first` begins */
    for (size_t i = 0; i < count; i++) {
        while (first + 1 < stretch_count && start + stretches[first].length <= bounds[i]) {
            start += stretches[first++].length;
        }
        double rate = 1.0;
        bool compress = true;
        size_t at = start;
        for (size_t s = first; s < stretch_count && (s == first || at < bounds[i + 1]); s++) {
            rate = s == first || stretches[s].rate < rate ? stretches[s].rate : rate;
            compress = compress && stretches[s].compress;
            at += stretches[s].length;
        }
        rates[i] = compress ? rate : 1.0;
    }
}
