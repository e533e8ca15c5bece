/*
 * retention.c: what is left of texts and of answers to questions, when a model knows a text as a whole,
 * not at all, in part, or as a capsule: measured the way it is used.
 */
#include "train/retention.h"

#include "train/distill.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Slots are left out one by one where there are so many at most. */
#define ABLATED_MAX 16U

/* All texts of a case: once as they are, and once without each of the slots. */
typedef struct work {
    const pith__retention_case *c;
    size_t variants;                   /* 1, or 1 + slots */
    pith__retention_measures *results; /* (texts, variants) */
} work;

const char *pith__retention_way_name(pith__retention_way way)
{
    static const char *const names[PITH__WAYS] = {[PITH__WAY_FULL] = "full",
                                                  [PITH__WAY_NONE] = "none",
                                                  [PITH__WAY_TRUNCATED] = "truncated",
                                                  [PITH__WAY_LAST] = "last",
                                                  [PITH__WAY_GIVEN] = "given",
                                                  [PITH__WAY_MEAN_KV] = "mean-kv",
                                                  [PITH__WAY_MEAN_HIDDEN] = "mean-hidden",
                                                  [PITH__WAY_MEAN_EMBEDDINGS] = "mean-embeddings",
                                                  [PITH__WAY_COMPRESSOR] = "compressor",
                                                  [PITH__WAY_SHUFFLED] = "shuffled"};
    return names[way];
}

/* ---- rows ---------------------------------------------------------------------------------------- */

/* A pith__each_fn. */
static pith_status measure_text(void *user, const pith__tensor_ctx *ctx, size_t index,
                                pith_error *err)
{
    const work *w = user;
    return pith__retention_measure(w->c, index, w->variants, ctx->arena,
                                   w->results + index * w->variants, err);
}

/* Over the texts that have the figure; returns how many do. */
static uint64_t summarise(const work *w, size_t variant, pith__retention_figure f, double *mean,
                          double *error)
{
    const size_t texts = w->c->list->count;
    double sum = 0.0;
    double squares = 0.0;
    double count = 0.0;
    for (size_t i = 0; i < texts; i++) {
        const double x = w->results[i * w->variants + variant].of[f];
        sum += isnan(x) ? 0.0 : x;
        count += isnan(x) ? 0.0 : 1.0;
    }
    *mean = count > 0.0 ? sum / count : (double)NAN;
    for (size_t i = 0; i < texts; i++) {
        const double x = w->results[i * w->variants + variant].of[f] - *mean;
        squares += isnan(x) ? 0.0 : x * x;
    }
    *error = count > 1.0 ? sqrt(squares / (count - 1.0) / count) : (double)NAN;
    return (uint64_t)count;
}

static pith__retained row_of(const work *w, size_t variant)
{
    const pith__retention_case *c = w->c;
    const pith__retention *r = c->retention;
    const bool full = c->way == PITH__WAY_FULL;
    double unused = 0.0;
    pith__retained row = {.task = c->list->task,
                          .way = c->way,
                          .compressor = c->compressor,
                          .length = c->list->length,
                          .slots = full                   ? c->list->length
                                   : c->slots == SIZE_MAX ? 0
                                                          : r->settings->slots[c->slots],
                          .without = variant == 0 ? UINT32_MAX : (uint32_t)(variant - 1)};
    if (c->compressor != SIZE_MAX) {
        const pith__compressor_method method = r->compressors[c->compressor].about.shape.method;
        (void)snprintf(row.method, sizeof row.method, "%s", pith__compressor_method_name(method));
    }
    row.count = summarise(w, variant, PITH__MEASURE_NLL, &row.nll, &row.nll_error);
    (void)summarise(w, variant, PITH__MEASURE_SOURCE, &row.source_tokens, &unused);
    (void)summarise(w, variant, PITH__MEASURE_STORED, &row.stored_bytes, &unused);
    (void)summarise(w, variant, PITH__MEASURE_ROUGE_L, &row.rouge_l, &row.rouge_l_error);
    (void)summarise(w, variant, PITH__MEASURE_BLEU, &row.bleu, &row.bleu_error);
    (void)summarise(w, variant, PITH__MEASURE_EXACT, &row.exact, &row.exact_error);
    (void)summarise(w, variant, PITH__MEASURE_F1, &row.f1, &row.f1_error);
    return row;
}

/* "repeat full 96", "answer 500x 480:16", "repeat 500x 96:16 without 3", "answer 500x shuffled 480:16". */
static void name_row(const pith__retained *row, char *out, size_t size)
{
    char without[24] = "";
    char slots[16] = "";
    const bool shuffled = row->way == PITH__WAY_SHUFFLED;
    if (row->way != PITH__WAY_FULL && row->way != PITH__WAY_NONE) {
        (void)snprintf(slots, sizeof slots, ":%u", row->slots);
    }
    if (row->without != UINT32_MAX) {
        (void)snprintf(without, sizeof without, " without %u", row->without);
    }
    (void)snprintf(out, size, "%s %s%s %u%s%s",
                   row->task == PITH__TASK_REPEAT ? "repeat" : "answer",
                   row->method[0] != '\0' ? row->method : pith__retention_way_name(row->way),
                   shuffled ? " shuffled" : "", row->length, slots, without);
}

static pith_status report(const pith__retention *r, const pith__retained *row, pith_error *err)
{
    const pith__retention_settings *s = r->settings;
    char name[96];
    name_row(row, name, sizeof name);
    const pith__train_event event = {.kind = PITH__TRAIN_EVALUATION,
                                     .source = name,
                                     .loss = row->nll,
                                     .bits_per_byte = (double)NAN,
                                     .smooth_loss = (double)NAN,
                                     .norm = (double)NAN,
                                     .multiplier = (double)NAN,
                                     .tokens_per_second = (double)NAN,
                                     .seconds_left = (double)NAN,
                                     .seconds = pith__seconds() - r->started};
    return s->event == NULL || s->event(s->event_user, &event)
               ? PITH_OK
               : pith__fail(err, PITH_E_CANCELLED, "stopped by the caller");
}

/* Rows of the case; what takes long. */
static pith_status run_work(pith__retention *r, work *w, pith_error *err)
{
    const pith__retention_list *list = w->c->list;
    const pith_allocator mem = pith__arena_allocator(r->rows_arena);
    PITH__TRY(pith__each(r->settings->threads, list->count, measure_text, w, &r->mem, err));
    PITH__TRY(pith__grow(&mem, &r->rows, &r->rows_capacity, r->n_rows + w->variants,
                         sizeof *r->rows, err));
    for (size_t i = 0; i < w->variants; i++) {
        pith__retained *row = &r->rows[r->n_rows++];
        *row = row_of(w, i);
        PITH__TRY(report(r, row, err));
    }
    return PITH_OK;
}

static size_t variants_of(const pith__retention_case *c)
{
    const pith__retention_settings *s = c->retention->settings;
    const bool ablates = s->ablates && c->way == PITH__WAY_COMPRESSOR &&
                         c->list->task == PITH__TASK_REPEAT && s->slots[c->slots] > 1 &&
                         s->slots[c->slots] <= ABLATED_MAX;
    return ablates ? 1 + (size_t)s->slots[c->slots] : 1;
}

/* Nothing if the way cannot be gone. */
static pith_status run_case(pith__retention *r, const pith__retention_case *c, pith_error *err)
{
    work w = {.c = c, .variants = 1};
    size_t count = 0;
    if (!pith__retention_applies(c)) {
        return PITH_OK;
    }
    w.variants = variants_of(c);
    count = c->list->count * w.variants;
    PITH__TRY(pith__alloc(&r->mem, count, sizeof *w.results, &w.results, err));
    const pith_status status = run_work(r, &w, err);
    pith__free(&r->mem, w.results, count, sizeof *w.results);
    return status;
}

static pith_status run_slots(pith__retention *r, pith__retention_case c, pith_error *err)
{
    for (c.slots = 0; c.slots < r->settings->n_slots; c.slots++) {
        PITH__TRY(run_case(r, &c, err));
    }
    return PITH_OK;
}

static pith_status run_way(pith__retention *r, const pith__retention_list *list,
                           pith__retention_way way, pith_error *err)
{
    pith__retention_case c = {
        .retention = r, .list = list, .way = way, .compressor = SIZE_MAX, .slots = SIZE_MAX};
    if (way == PITH__WAY_FULL || way == PITH__WAY_NONE) {
        return run_case(r, &c, err);
    }
    if (way != PITH__WAY_COMPRESSOR && way != PITH__WAY_SHUFFLED) {
        return run_slots(r, c, err);
    }
    for (size_t i = 0; i < r->n_compressors; i++) {
        c.compressor = i;
        PITH__TRY(run_slots(r, c, err));
    }
    return PITH_OK;
}

/* ---- life ---------------------------------------------------------------------------------------- */

static pith_status check_numbers(const char *what, const uint32_t *numbers, size_t count,
                                 pith_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] == 0) {
            return pith__fail(err, PITH_E_ARGUMENT, "%s of 0 tokens", what);
        }
    }
    return PITH_OK;
}

static pith_status check(const pith__retention_settings *s, pith_error *err)
{
    if (s->n_lengths == 0 || s->texts == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "%zu lengths and %zu texts of each", s->n_lengths,
                          s->texts);
    }
    if (s->generates && s->n_questions > 0 && s->max_tokens == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "answers of 0 tokens");
    }
    PITH__TRY(check_numbers("texts", s->lengths, s->n_lengths, err));
    return check_numbers("memory", s->slots, s->n_slots, err);
}

static pith_status open_model(pith__retention *r, pith_error *err)
{
    const pith__retention_settings *s = r->settings;
    PITH__TRY(pith__frozen_open(s->model, s->data, s->data_size, &r->mem, &r->base, err));
    r->bos = pith__tokenizer_bos(r->base.tokenizer);
    r->end = pith__document_end(r->base.tokenizer);
    return r->bos != PITH__TOKEN_NONE
               ? PITH_OK
               : pith__fail(err, PITH_E_ARGUMENT,
                            "the vocabulary names no BOS: nothing tells that a text is to be "
                            "repeated");
}

static pith_status open_compressors(pith__retention *r, pith_error *err)
{
    const size_t count = r->settings->n_compressors;
    PITH__TRY(pith__arena_alloc(&r->arena, count, sizeof *r->compressors, &r->compressors, err));
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(pith__retention_open_compressor(r, i, err));
        r->n_compressors++;
    }
    return PITH_OK;
}

/* A compressor that has no row was asked for numbers of slots that it cannot make. */
static pith_status check_compressors(const pith__retention *r, pith_error *err)
{
    for (size_t i = 0; i < r->n_compressors && r->settings->ways[PITH__WAY_COMPRESSOR]; i++) {
        bool found = false;
        for (size_t k = 0; k < r->n_lists * r->settings->n_slots && !found; k++) {
            const pith__retention_case c = {.retention = r,
                                            .list = &r->lists[k / r->settings->n_slots],
                                            .way = PITH__WAY_COMPRESSOR,
                                            .compressor = i,
                                            .slots = k % r->settings->n_slots};
            found = pith__retention_applies(&c);
        }
        if (!found) {
            return pith__fail(err, PITH_E_ARGUMENT,
                              "%s makes none of the numbers of slots of these lengths",
                              r->settings->compressors[i]);
        }
    }
    return PITH_OK;
}

/* A format in quotes and in one line. */
static pith_status show_format(const char *format, pith__buf *out, pith_error *err)
{
    PITH__TRY(pith__buf_append_text(out, "\"", err));
    for (; *format != '\0'; format++) {
        PITH__TRY(*format == '\n' ? pith__buf_append_text(out, "\\n", err)
                                  : pith__buf_append(out, format, 1, err));
    }
    return pith__buf_append_text(out, "\"", err);
}

/* E_MISMATCH with both formats, as much of them as there is room for. */
static pith_status fail_formats(const pith__retention *r, const char *whose, const char *one,
                                const char *other, pith_error *err)
{
    pith__buf shown[2];
    pith__buf_init(&shown[0], &r->mem, SIZE_MAX);
    pith__buf_init(&shown[1], &r->mem, SIZE_MAX);
    pith_status status = show_format(one, &shown[0], err);
    if (status == PITH_OK) {
        status = show_format(other, &shown[1], err);
    }
    if (status == PITH_OK) {
        status = pith__fail(err, PITH_E_MISMATCH,
                            "a compressor learned questions as %.64s, not as %.64s: %s",
                            shown[0].data, shown[1].data, whose);
    }
    pith__buf_deinit(&shown[0]);
    pith__buf_deinit(&shown[1]);
    return status;
}

/* Questions are put as they were learned: without a format *format becomes that of the compressors. */
static pith_status find_format(const pith__retention *r, const char **format, pith_error *err)
{
    for (size_t i = 0; i < r->n_compressors && r->settings->n_questions > 0; i++) {
        const char *learned = r->compressors[i].about.format;
        if (learned[0] == '\0') {
            continue;
        }
        if (*format != NULL && strcmp(*format, learned) != 0) {
            return fail_formats(r, r->settings->compressors[i], learned, *format, err);
        }
        *format = learned;
    }
    return PITH_OK;
}

/* `settings`: those of `r`, which may get a format. */
static pith_status run(pith__retention *r, pith__retention_settings *settings, pith_error *err)
{
    PITH__TRY(check(r->settings, err));
    PITH__TRY(open_model(r, err));
    PITH__TRY(open_compressors(r, err));
    PITH__TRY(find_format(r, &settings->format, err));
    PITH__TRY(pith__retention_read(r->settings, r->base.tokenizer, r->base.model.config.context,
                                   &r->arena, &r->lists, &r->n_lists, err));
    PITH__TRY(check_compressors(r, err));
    for (size_t i = 0; i < r->n_lists; i++) {
        for (int way = 0; way < PITH__WAYS; way++) {
            if (r->settings->ways[way]) {
                PITH__TRY(run_way(r, &r->lists[i], (pith__retention_way)way, err));
            }
        }
    }
    return PITH_OK;
}

pith_status pith__train_retention(const pith__retention_settings *settings,
                                  const pith_allocator *mem, pith__arena *arena,
                                  pith__retained **rows, size_t *count, pith_error *err)
{
    pith__retention_settings own = *settings;
    pith__retention r = {
        .settings = &own, .mem = *mem, .rows_arena = arena, .started = pith__seconds()};
    *rows = NULL;
    *count = 0;
    pith__arena_init(&r.arena, mem);
    const pith_status status = run(&r, &own, err);
    for (size_t i = 0; i < r.n_compressors; i++) {
        pith__retention_close_compressor(&r.compressors[i]);
    }
    pith__arena_deinit(&r.arena);
    pith__frozen_close(&r.base);
    if (status == PITH_OK) {
        *rows = r.rows;
        *count = r.n_rows;
    }
    return status;
}
