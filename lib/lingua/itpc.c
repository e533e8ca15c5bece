/*
 * itpc.c: iterative token-level prompt compression (LLMLingua, section 4.3).
 *
 * A list of tokens is read window by window; after each reading, the window's runs lose the tokens
 * that are least informative, and the next window is read behind what was kept. Where the release
 * keeps one vector of losses for the whole text, stale and unread places included, so does this;
 * the papers' rules only ever look at the losses of the window that was just read.
 *
 * Places: token i of the list, as long as the list is at that moment. `base`, the first place of a
 * window, is negative in the release where the text is shorter than a window.
 */
#include "lingua/lingua_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* The release's first tokens that stay in the cache when it overflows, besides the prefix. */
#define SINKS 10

/* Losses that the release's threshold leaves out. */
#define UNKNOWN_LOSS 10000.0F

/* The list as one stream reads it: with the prefix in front, or without. */
typedef struct sequence {
    unsigned id;
    size_t shift;  /* token i of the list is token i - shift here */
    bool bos;      /* token 0 here is BOS, whatever the list has there */
    float *losses; /* losses[j] = -ln p(token j + 1 | those up to j) */
    size_t count;
} sequence;

typedef struct itpc {
    const pith__lm *lm;
    const pith__lingua_rules *rules;
    const pith__itpc_input *input;
    pith__itpc_output *out;
    uint32_t *ids;  /* what is left of the text and was not pushed out of the context: the first */
    size_t *source; /*   `head` tokens, then a gap; and the place of each in the input */
    size_t count;
    size_t head;
    size_t gap;
    int64_t base;
    size_t changed; /* first token that the window has lost; SIZE_MAX: none */
    sequence main;
    sequence alone; /* without the prefix; only to compare */
    float *scores;  /* what losses[j] counts as */
    float *pool;
    bool *mask; /* (count) true between runs */
    uint32_t *read;
    uint32_t *targets;
} itpc;

/* ---- thresholds ---------------------------------------------------------------------------------- */

static void swap(float *values, size_t i, size_t j)
{
    const float held = values[i];
    values[i] = values[j];
    values[j] = held;
}

static float median(float a, float b, float c)
{
    const float low = a < b ? a : b;
    const float high = a < b ? b : a;
    return c < low ? low : c > high ? high : c;
}

/* The value at `place` of the values in descending order. Reorders them; no NaN. */
static float select_value(float *values, size_t count, size_t place)
{
    size_t first = 0;
    size_t last = count; /* `place` is within [first, last) */
    while (last - first > 1) {
        const float pivot =
            median(values[first], values[first + (last - first) / 2], values[last - 1]);
        size_t above =
            first; /* [first, above) > pivot, [above, i) = pivot, [below, last) < pivot */
        size_t below = last;
        for (size_t i = first; i < below;) {
            if (values[i] > pivot) {
                swap(values, i++, above++);
            } else if (values[i] < pivot) {
                swap(values, i, --below);
            } else {
                i++;
            }
        }
        if (place < above) {
            last = above;
        } else if (place >= below) {
            first = below;
        } else {
            return pivot;
        }
    }
    return values[first];
}

float pith__itpc_threshold(float *pool, size_t count, double rate)
{
    size_t known = 0;
    for (size_t i = 0; i < count; i++) {
        if (pool[i] != UNKNOWN_LOSS) {
            pool[known++] = pool[i];
        }
    }
    if (rate == 1.0 || known == 0) {
        return -INFINITY;
    }
    const double place = trunc((double)known * rate) - 1.0;
    const double last = (double)(known - 1);
    return select_value(pool, known, place < 0.0 ? 0 : (size_t)(place < last ? place : last));
}

float pith__itpc_quantile(float *pool, size_t count, double rate)
{
    const double wanted = round((double)count * rate);
    if (wanted >= (double)count) {
        return -INFINITY;
    }
    if (!(wanted >= 1.0)) {
        return select_value(pool, count, 0);
    }
    const size_t keep = (size_t)wanted;
    const float value = select_value(pool, count, keep - 1);
    size_t greater = 0;
    size_t equal = 0;
    float next = -INFINITY; /* the largest below */
    for (size_t i = 0; i < count; i++) {
        greater += pool[i] > value;
        equal += pool[i] == value;
        next = pool[i] < value && pool[i] > next ? pool[i] : next;
    }
    return greater + equal - keep <= keep - greater ? next : value;
}

/* ---- the list ------------------------------------------------------------------------------------ */

/* Brings tokens up to `end` to the front of the gap: only there are they at hand. */
static void gather(itpc *t, size_t end)
{
    const size_t to = end < t->count ? end : t->count;
    if (to <= t->head) {
        return;
    }
    const size_t moved = to - t->head;
    memmove(t->ids + t->head, t->ids + t->head + t->gap, moved * sizeof *t->ids);
    memmove(t->source + t->head, t->source + t->head + t->gap, moved * sizeof *t->source);
    t->head = to;
}

/* Takes out tokens [start, end) of the front. */
static void take_out(itpc *t, size_t start, size_t end)
{
    const size_t moved = t->head - end;
    memmove(t->ids + start, t->ids + end, moved * sizeof *t->ids);
    memmove(t->source + start, t->source + end, moved * sizeof *t->source);
    t->head -= end - start;
    t->count -= end - start;
    t->gap += end - start;
}

/* ---- reading ------------------------------------------------------------------------------------- */

static uint32_t token_at(const itpc *t, const sequence *s, size_t place)
{
    return s->bos && place == 0 ? t->lm->bos : t->ids[place + s->shift];
}

/* Reads on until the loss of the token before `end` is known. */
static pith_status read_until(itpc *t, sequence *s, size_t end, pith_error *err)
{
    const size_t held = t->lm->length(t->lm->user, s->id);
    if (end < held + 2) {
        return PITH_OK;
    }
    const size_t rows = end - held - 1;
    for (size_t r = 0; r < rows; r++) {
        t->read[r] = token_at(t, s, held + r);
        t->targets[r] = token_at(t, s, held + r + 1);
    }
    for (; s->count < held; s->count++) {
        s->losses[s->count] = 0.0F;
    }
    PITH__TRY(t->lm->extend(t->lm->user, s->id, t->read, t->targets, rows, s->losses + held, err));
    s->count = s->count > held + rows ? s->count : held + rows;
    return PITH_OK;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static pith_status no_room(const itpc *t, pith_error *err)
{
    return pith__fail(err, PITH_E_CONTEXT,
                      "windows of %zu tokens behind %zu of the question do not fit a context of "
                      "%zu tokens: make iterative-size smaller",
                      t->input->schedule->windows[0].size, t->input->start, t->lm->context);
}

/*
 * Pushes the oldest tokens out so that a window up to `end` fits. The list loses its first ones, the
 * cache those behind the sinks: the release does not mind that these are different tokens.
 */
static pith_status make_room(itpc *t, size_t end, pith_error *err)
{
    const pith__lm *lm = t->lm;
    const size_t over = end - lm->context;
    const size_t held = lm->length(lm->user, t->main.id);
    if (over > held) {
        return no_room(t, err);
    }
    const size_t most = least(SINKS + t->input->start, lm->context);
    const size_t sinks = least(most, held - over); /* where the release would end with an error */
    lm->remove(lm->user, t->main.id, sinks, sinks + over);
    if (t->input->compare) {
        const size_t alone = lm->length(lm->user, t->alone.id);
        const size_t wanted = t->rules->sinks_alike ? sinks : sinks - least(sinks, t->alone.shift);
        if (over > alone) {
            return no_room(t, err);
        }
        const size_t start = least(wanted, alone - over);
        lm->remove(lm->user, t->alone.id, start, start + over);
    }
    gather(t, over);
    take_out(t, 0, over);
    t->base -= (int64_t)over;
    return PITH_OK;
}

/* Reads the window that ends before place `end`. *known: there are losses to judge by. */
static pith_status read_window(itpc *t, size_t end, bool first, bool *known, pith_error *err)
{
    const pith__lm *lm = t->lm;
    *known = false;
    if (first && t->rules->reads_ahead) {
        end = least(t->count, lm->context);
    } else if (end > lm->context) {
        return no_room(t, err);
    }
    const size_t held = lm->length(lm->user, t->main.id);
    gather(t, end);
    PITH__TRY(read_until(t, &t->main, end, err));
    *known = lm->length(lm->user, t->main.id) > held;
    if (!t->input->compare || !*known) {
        return PITH_OK;
    }
    const size_t shift = t->alone.shift;
    if (first && t->rules->reads_ahead) {
        end = least(t->count, lm->context + shift);
        gather(t, end);
    }
    return read_until(t, &t->alone, end > shift ? end - shift : 0, err);
}

/* Leaves in the caches what the next window is read behind; `base`: of the window just judged. */
static void settle(itpc *t, int64_t base, size_t end, bool first)
{
    const pith__lm *lm = t->lm;
    size_t keep = 0;
    if (!t->rules->reads_ahead) {
        /* all that is unchanged, save the token that is to predict the next one */
        keep = t->base < 1 ? 0 : least(t->changed, (size_t)(t->base - 1));
    } else if (!first) {
        keep = pith__slice_bound(base, end);
    }
    lm->truncate(lm->user, t->main.id, keep);
    if (t->input->compare) {
        lm->truncate(lm->user, t->alone.id, keep > t->alone.shift ? keep - t->alone.shift : 0);
    }
}

/* ---- judging ------------------------------------------------------------------------------------- */

/* A token is judged by the loss at its place less this. */
static size_t lag_of(const itpc *t)
{
    return t->rules->judges_next ? 0 : 1;
}

/* The first loss that belongs to a token behind the prefix. */
static size_t first_loss(const itpc *t)
{
    const size_t lag = lag_of(t);
    return t->input->compare && t->input->start > lag ? t->input->start - lag : 0;
}

static void fill_scores(itpc *t)
{
    const size_t first = first_loss(t);
    for (size_t j = 0; j < t->main.count; j++) {
        const float loss = t->main.losses[j];
        const size_t shift = t->alone.shift;
        if (!t->input->compare) {
            t->scores[j] = loss;
        } else if (j < first) { /* the prefix */
            t->scores[j] = loss > 0.0F ? INFINITY : -INFINITY;
        } else if (j >= shift && j - shift < t->alone.count) {
            t->scores[j] = t->alone.losses[j - shift] - loss;
        } else {
            t->scores[j] = NAN;
        }
    }
}

/* Tokens of [low, high) that share a character get the mean of their scores. */
static void join_scores(itpc *t, size_t low, size_t high)
{
    const bool *joined = t->input->joined;
    const size_t lag = lag_of(t);
    for (size_t i = low; joined != NULL && i < high;) {
        size_t last = i + 1;
        while (last < high && joined[t->source[last]]) {
            last++;
        }
        float sum = i < lag ? NAN : 0.0F;
        for (size_t k = i < lag ? lag : i; k < last; k++) {
            sum += t->scores[k - lag];
        }
        for (size_t k = i < lag ? lag : i; k < last && last > i + 1; k++) {
            t->scores[k - lag] = sum / (float)(last - i);
        }
        i = last;
    }
}

static float threshold_of(itpc *t, size_t low, size_t high, double rate)
{
    const size_t lag = lag_of(t);
    size_t first = first_loss(t);
    size_t last = t->main.count;
    if (!t->rules->pools_all) {
        first = low > lag ? low - lag : 0;
        last = high > lag ? least(high - lag, last) : 0;
    }
    size_t pooled = 0;
    for (size_t j = first; j < last; j++) {
        if (!isnan(t->scores[j])) {
            t->pool[pooled++] = t->scores[j];
        }
    }
    return t->rules->pools_all ? pith__itpc_threshold(t->pool, pooled, rate)
                               : pith__itpc_quantile(t->pool, pooled, rate);
}

static void judge(itpc *t, size_t low, size_t high, float threshold)
{
    const size_t lag = lag_of(t);
    for (size_t i = low; i < high; i++) {
        float score = NAN;
        bool keep = true; /* what nothing predicts stays */
        if (i >= lag && i - lag < t->main.count) {
            score = t->scores[i - lag];
            keep = isnan(score) || score > threshold;
        } else if (i >= lag && t->main.count > 0) {
            keep = t->main.losses[0] > 0.0F; /* the release's mask has one place more than losses */
        }
        if (i < t->count) {
            t->out->judged[t->source[i]] = true;
            t->out->nats[t->source[i]] = isinf(score) ? NAN : score;
        }
        t->mask[i] = keep;
    }
}

void pith__itpc_extent(int64_t end, size_t size, size_t length, size_t *low, size_t *high)
{
    *low = pith__slice_bound(end - (int64_t)size, length);
    *high = pith__slice_bound(end, length);
    *high = *high > *low ? *high : *low;
}

/* ---- dropping ------------------------------------------------------------------------------------ */

/* Takes out the losses by which the dropped ones of tokens [low, high) were judged. */
static void drop_losses(const itpc *t, sequence *s, size_t low, size_t high)
{
    const size_t offset = s->shift + lag_of(t);
    const size_t first = low > offset ? low : offset;
    size_t to = first - offset;
    size_t from = to;
    for (; from < s->count && from + offset < high; from++) {
        if (t->mask[from + offset]) {
            s->losses[to++] = s->losses[from];
        }
    }
    if (from < s->count) {
        memmove(s->losses + to, s->losses + from, (s->count - from) * sizeof *s->losses);
        s->count -= from - to;
    } else if (to < s->count) {
        s->count = to;
    }
}

/* keep_split: of tokens [low, high) the forced ones stay, other doubled ones go. */
static void mind_splits(const itpc *t, size_t low, size_t high)
{
    bool after_split = false;
    for (size_t i = low; t->input->split != NULL && i < high; i++) {
        const bool split = t->input->split[t->source[i]];
        if (!t->mask[i]) {
            continue;
        }
        if (split && after_split && !t->input->forced[t->source[i]]) {
            t->mask[i] = false;
        } else {
            after_split = split;
        }
    }
}

/* Takes tokens [low, high) out of the list where the mask says so; how many were before `bound`. */
static size_t drop_tokens(itpc *t, size_t low, size_t high, size_t bound)
{
    size_t to = low;
    size_t dropped = 0;
    for (size_t i = low; i < high; i++) {
        if (t->mask[i]) {
            t->ids[to] = t->ids[i];
            t->source[to++] = t->source[i];
            continue;
        }
        t->changed = least(t->changed, to);
        t->out->kept[t->source[i]] = false;
        dropped += i < bound;
    }
    take_out(t, to, high);
    return dropped;
}

static void drop_all_losses(itpc *t, size_t low, size_t high)
{
    drop_losses(t, &t->main, low, high);
    if (t->input->compare) {
        drop_losses(t, &t->alone, low, high);
    }
}

/* Does what the mask of tokens [low, high) says, for the run [start, end). */
static void apply_mask(itpc *t, size_t low, size_t high, int64_t start, int64_t end)
{
    if (t->rules->losses_go_first) {
        drop_all_losses(t, low, high);
    }
    const size_t here = least(high, t->count);
    for (size_t i = low; i < here && t->input->forced != NULL; i++) {
        t->mask[i] = t->mask[i] || t->input->forced[t->source[i]];
    }
    /* unlike a slice, Python's range() stops at 0 */
    const size_t split_low = start < 0 ? 0 : least((size_t)start, t->count);
    const size_t split_high = end < 0 ? 0 : least((size_t)end, t->count);
    mind_splits(t, split_low, split_high);
    if (!t->rules->losses_go_first) {
        drop_all_losses(t, low, high);
    }
    const size_t first = least(low, split_low);
    const size_t last = here > split_high ? here : split_high;
    const size_t bound = pith__slice_bound(end, t->count);
    const size_t dropped = first < last ? drop_tokens(t, first, last, bound) : 0;
    const size_t touched = high > split_high ? high : split_high;
    memset(t->mask + first, true, touched - first);
    t->base = end - (int64_t)dropped;
}

/* A run of the window: its tokens lose what does not reach the threshold. */
static void judge_run(itpc *t, const pith__rate_run *run)
{
    const int64_t start = t->base;
    const int64_t end = start + (int64_t)run->count;
    size_t low = 0;
    size_t high = 0;
    pith__itpc_extent(end, run->count, t->main.count + 1, &low, &high);
    gather(t, high);
    gather(t, end < 0 ? 0 : (size_t)end);
    fill_scores(t);
    join_scores(t, low, high);
    const float threshold = threshold_of(t, low, high, run->rate);
    t->out->thresholds[t->out->threshold_count++] = (double)threshold;
    judge(t, low, high, threshold);
    apply_mask(t, low, high, start, end);
}

/* ---- the loop ------------------------------------------------------------------------------------ */

static pith_status prepare(itpc *t, pith__arena *arena, pith_error *err)
{
    const size_t count = t->count;
    const size_t room = least(count, t->lm->context) + 2; /* of one reading */
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *t->ids, &t->ids, err));
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *t->source, &t->source, err));
    PITH__TRY(pith__arena_alloc(arena, count + 2, sizeof *t->mask, &t->mask, err));
    PITH__TRY(pith__arena_alloc(arena, room, sizeof *t->scores, &t->scores, err));
    PITH__TRY(pith__arena_alloc(arena, room, sizeof *t->pool, &t->pool, err));
    PITH__TRY(pith__arena_alloc(arena, room, sizeof *t->read, &t->read, err));
    PITH__TRY(pith__arena_alloc(arena, room, sizeof *t->targets, &t->targets, err));
    PITH__TRY(pith__arena_alloc(arena, room, sizeof *t->main.losses, &t->main.losses, err));
    PITH__TRY(pith__arena_alloc(arena, room, sizeof *t->alone.losses, &t->alone.losses, err));
    if (count > 0) {
        memcpy(t->ids, t->input->ids, count * sizeof *t->ids);
    }
    for (size_t i = 0; i < count; i++) {
        t->source[i] = i;
        t->out->kept[i] = true;
        t->out->nats[i] = NAN;
    }
    memset(t->mask, true, count + 2);
    t->lm->truncate(t->lm->user, t->main.id, 0);
    t->lm->truncate(t->lm->user, t->alone.id, 0);
    return PITH_OK;
}

static pith_status run_window(itpc *t, size_t index, bool *done, pith_error *err)
{
    const pith__schedule *schedule = t->input->schedule;
    const pith__window *window = &schedule->windows[index];
    int64_t end = t->base + (int64_t)window->size;
    *done = end < 0 || end > (int64_t)t->count;
    if (*done) {
        return PITH_OK;
    }
    if ((uint64_t)end > t->lm->context && t->lm->length(t->lm->user, t->main.id) > 0) {
        PITH__TRY(make_room(t, (size_t)end, err));
        end = t->base + (int64_t)window->size;
    }
    bool known = false;
    PITH__TRY(read_window(t, (size_t)end, index == 0, &known, err));
    *done = !known && t->rules->skips_tail;
    if (*done) {
        return PITH_OK;
    }
    const int64_t base = t->base;
    t->changed = SIZE_MAX;
    for (size_t r = 0; r < window->count; r++) {
        judge_run(t, &schedule->runs[window->first + r]);
    }
    settle(t, base, (size_t)end, index == 0);
    return PITH_OK;
}

pith_status pith__itpc_run(const pith__lm *lm, const pith__lingua_rules *rules,
                           const pith__itpc_input *input, pith__arena *arena,
                           pith__itpc_output *out, pith_error *err)
{
    *out = (pith__itpc_output){0};
    const size_t count = input->count;
    const size_t runs = input->schedule->run_count;
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *out->kept, &out->kept, err));
    PITH__TRY(pith__arena_alloc_zero(arena, count, sizeof *out->judged, &out->judged, err));
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *out->nats, &out->nats, err));
    PITH__TRY(pith__arena_alloc(arena, runs, sizeof *out->thresholds, &out->thresholds, err));
    itpc t = {.lm = lm,
              .rules = rules,
              .input = input,
              .out = out,
              .count = count,
              .main = {.id = 0},
              .alone = {.id = 1, .shift = input->start - (input->bos ? 1 : 0), .bos = input->bos}};
    const pith__arena_mark mark = pith__arena_save(arena);
    pith_status status = prepare(&t, arena, err);
    if (status == PITH_OK && input->schedule->window_count > 0) {
        const size_t size = input->schedule->windows[0].size;
        t.base = (int64_t)least(size + input->start, count) - (int64_t)size;
    }
    bool done = false;
    for (size_t w = 0; w < input->schedule->window_count && status == PITH_OK && !done; w++) {
        status = run_window(&t, w, &done, err);
    }
    pith__arena_restore(arena, mark);
    return status;
}
