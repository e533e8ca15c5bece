/*
 * training_retention.c: recipe retention: what is left of texts and of answers behind capsules, and
 * behind what they compete with.
 */
#include "api/training.h"

#include "api/builtin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_DIGITS 6 /* of numbers of tokens */

/* ---- entries of lists ------------------------------------------------------------------------ */

bool pith__training_count(const char *text, uint32_t *out)
{
    const size_t size = strspn(text, "0123456789");
    if (size == 0 || size > COUNT_DIGITS || text[size] != '\0') {
        return false;
    }
    *out = (uint32_t)strtoul(text, NULL, 10);
    return *out > 0;
}

bool pith__training_way(const char *name, pith__retention_way *out)
{
    for (int i = 0; i < PITH__WAYS; i++) {
        if (strcmp(pith__retention_way_name((pith__retention_way)i), name) == 0) {
            *out = (pith__retention_way)i;
            return true;
        }
    }
    return false;
}

/* Those that were checked when they were given; without any, the one of the default. */
static pith_status read_counts(pith__training_run *r, const char *name, const pith__texts *list,
                               const uint32_t **out, size_t *count, pith_error *err)
{
    const char *standard = pith__training_default(r->training->recipe->bit, name);
    uint32_t *numbers = NULL;
    *count = list->count == 0 ? 1 : list->count;
    PITH__TRY(pith__arena_alloc(&r->arena, *count, sizeof *numbers, &numbers, err));
    for (size_t i = 0; i < *count; i++) {
        const char *entry = list->count == 0 ? standard : list->items[i];
        if (!pith__training_count(entry, &numbers[i])) {
            return pith__fail(err, PITH_E_INTERNAL, "%s: \"%s\" was no number", name, entry);
        }
    }
    *out = numbers;
    return PITH_OK;
}

/* All that need nothing but the texts, without any; compressors have no rows if there are none. */
static void read_ways(const pith__texts *list, bool ways[PITH__WAYS])
{
    for (int i = 0; i < PITH__WAYS; i++) {
        ways[i] = list->count == 0 && i != PITH__WAY_GIVEN;
    }
    for (size_t i = 0; i < list->count; i++) {
        pith__retention_way way = PITH__WAY_FULL;
        if (pith__training_way(list->items[i], &way)) {
            ways[way] = true;
        }
    }
}

/* ---- the table ---------------------------------------------------------------------------------- */

/* The share of what the model answers after the whole context, in per cent; NaN: there is no such row. */
static double retention_of(const pith__retained *rows, size_t count, const pith__retained *row)
{
    for (size_t i = 0; i < count && row->task == PITH__TASK_ANSWER; i++) {
        const pith__retained *full = &rows[i];
        if (full->task == row->task && full->way == PITH__WAY_FULL && full->f1 > 0.0) {
            return 100.0 * row->f1 / full->f1;
        }
    }
    return (double)NAN;
}

static pith_status append_number(pith__buf *out, const char *key, double value, pith_error *err)
{
    return isfinite(value) ? pith__buf_printf(out, err, ", \"%s\": %.9g", key, value)
                           : pith__buf_printf(out, err, ", \"%s\": null", key);
}

static pith_status append_case(const pith__training_run *r, const pith__retained *row,
                               pith__buf *out, pith_error *err)
{
    PITH__TRY(pith__buf_printf(out, err, "{\"task\": \"%s\", \"way\": \"%s\"",
                               row->task == PITH__TASK_REPEAT ? "repeat" : "answer",
                               pith__retention_way_name(row->way)));
    if (row->compressor == SIZE_MAX) {
        PITH__TRY(pith__buf_append_text(out, ", \"method\": null, \"compressor\": null", err));
    } else {
        PITH__TRY(
            pith__buf_printf(out, err, ", \"method\": \"%s\", \"compressor\": ", row->method));
        PITH__TRY(pith__train_log_string(out, r->p->compressors.items[row->compressor], err));
    }
    PITH__TRY(
        pith__buf_printf(out, err, ", \"length\": %u, \"slots\": %u", row->length, row->slots));
    PITH__TRY(append_number(out, "without",
                            row->without == UINT32_MAX ? (double)NAN : (double)row->without, err));
    return pith__buf_printf(out, err, ", \"count\": %llu", (unsigned long long)row->count);
}

static pith_status append_row(const pith__training_run *r, const pith__retained *rows, size_t count,
                              const pith__retained *row, pith__buf *out, pith_error *err)
{
    const struct {
        const char *key;
        double value;
    } numbers[] = {{"source_tokens", row->source_tokens},
                   {"stored_bytes", row->stored_bytes},
                   {"nll", row->nll},
                   {"nll_error", row->nll_error},
                   {"rouge_l", row->rouge_l},
                   {"rouge_l_error", row->rouge_l_error},
                   {"bleu", row->bleu},
                   {"bleu_error", row->bleu_error},
                   {"exact", row->exact},
                   {"exact_error", row->exact_error},
                   {"f1", row->f1},
                   {"f1_error", row->f1_error},
                   {"retention", retention_of(rows, count, row)}};
    PITH__TRY(append_case(r, row, out, err));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        PITH__TRY(append_number(out, numbers[i].key, numbers[i].value, err));
    }
    return pith__buf_append_text(out, "}", err);
}

static pith_status make_table(const pith__training_run *r, const pith__retained *rows, size_t count,
                              pith__buf *out, pith_error *err)
{
    PITH__TRY(pith__buf_append_text(out, "{\"model\": ", err));
    PITH__TRY(pith__train_log_string(out, pith__is_given(r->p->model) ? r->p->model : "", err));
    PITH__TRY(pith__buf_append_text(out, ", \"rows\": [", err));
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(pith__buf_append_text(out, i == 0 ? "" : ", ", err));
        PITH__TRY(append_row(r, rows, count, &rows[i], out, err));
    }
    return pith__buf_append_text(out, "]}\n", err);
}

static pith_status report(const pith__training_run *r, const pith__retained *rows, size_t count,
                          pith_error *err)
{
    pith__buf table;
    pith__buf_init(&table, &r->training->mem, SIZE_MAX);
    pith_status status = make_table(r, rows, count, &table, err);
    if (status == PITH_OK) {
        status = pith__training_write(r, r->p->output, &table, err);
    }
    pith__buf_deinit(&table);
    return status;
}

/* ---- the recipe --------------------------------------------------------------------------------- */

static pith_status check(const pith__training_run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    if (p->data.count + p->questions.count == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "data, questions: a file is needed");
    }
    if (pith__is_given(p->model)) {
        PITH__TRY(pith__check_gguf(r, "model", p->model, err));
    }
    for (size_t i = 0; i < p->compressors.count; i++) {
        PITH__TRY(pith__check_gguf(r, "compressor", p->compressors.items[i], err));
    }
    return PITH_OK;
}

static pith_status read_settings(pith__training_run *r, pith__retention_settings *out,
                                 pith_error *err)
{
    const pith__training_params *p = r->p;
    *out = (pith__retention_settings){.model = pith__text_or_null(p->model),
                                      .data = pith__builtin_model,
                                      .data_size =
                                          (size_t)(pith__builtin_model_end - pith__builtin_model),
                                      .compressors = (const char *const *)p->compressors.items,
                                      .n_compressors = p->compressors.count,
                                      .sources = r->sources,
                                      .n_sources = p->data.count,
                                      .held_out_every = (uint32_t)p->held_out_every,
                                      .questions = (const char *const *)p->questions.items,
                                      .n_questions = p->questions.count,
                                      .format = pith__text_or_null(p->template_text),
                                      .texts = (size_t)p->texts,
                                      .generates = p->writes,
                                      .max_tokens = (size_t)p->max_tokens,
                                      .ablates = p->ablates,
                                      .threads = pith__training_threads(p),
                                      .seed = (uint64_t)p->seed,
                                      .event = pith__training_on_event,
                                      .event_user = r};
    read_ways(&p->ways, out->ways);
    PITH__TRY(read_counts(r, "length", &p->lengths, &out->lengths, &out->n_lengths, err));
    return read_counts(r, "slots", &p->slot_counts, &out->slots, &out->n_slots, err);
}

pith_status pith__run_retention(pith__training_run *r, pith_error *err)
{
    pith__retention_settings s;
    pith__retained *rows = NULL;
    size_t count = 0;
    PITH__TRY(check(r, err));
    PITH__TRY(read_settings(r, &s, err));
    if (r->ranks.rank != 0) {
        return PITH_OK;
    }
    PITH__TRY(pith__train_retention(&s, &r->training->mem, &r->arena, &rows, &count, err));
    return report(r, rows, count, err);
}
