/*
 * training_evaluate.c: recipe evaluate.
 */
#include "api/training.h"

#include "train/log.h"

#include <math.h>

static pith_status append_counts(const pith__evaluation *e, pith__buf *out, pith_error *err)
{
    PITH__TRY(pith__buf_printf(out, err,
                               "\"documents\": %llu, \"bytes\": %llu, \"tokens\": %llu, "
                               "\"nats\": %.9g, ",
                               (unsigned long long)e->documents, (unsigned long long)e->bytes,
                               (unsigned long long)e->tokens, e->nats));
    if (e->documents == 0) { /* nothing was held out */
        return pith__buf_append_text(out, "\"nats_per_token\": null, \"bits_per_byte\": null}",
                                     err);
    }
    return pith__buf_printf(out, err, "\"nats_per_token\": %.9g, \"bits_per_byte\": %.9g}",
                            e->nats / (double)e->tokens, e->nats / log(2.0) / (double)e->bytes);
}

static pith_status make_table(const pith__training_run *r, const pith__evaluation *results,
                              size_t count, pith__buf *out, pith_error *err)
{
    PITH__TRY(pith__buf_append_text(out, "{\"model\": ", err));
    PITH__TRY(pith__train_log_string(out, r->p->model, err));
    PITH__TRY(pith__buf_printf(out, err, ", \"held_out_every\": %.15g, \"sources\": [",
                               r->p->held_out_every));
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(pith__buf_append_text(out, i == 0 ? "{\"source\": " : ", {\"source\": ", err));
        PITH__TRY(pith__train_log_string(out, results[i].source, err));
        PITH__TRY(pith__buf_append_text(out, ", ", err));
        PITH__TRY(append_counts(&results[i], out, err));
    }
    PITH__TRY(pith__buf_append_text(out, "], \"all\": {", err));
    PITH__TRY(append_counts(&results[count], out, err));
    return pith__buf_append_text(out, "}\n", err);
}

pith_status pith__run_evaluate(pith__training_run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    const size_t count = p->data.count;
    const pith__evaluate_settings s = {.sources = r->sources,
                                       .n_sources = count,
                                       .model = p->model,
                                       .held_out_every = (uint32_t)p->held_out_every,
                                       .bytes = (uint64_t)p->evaluate_bytes,
                                       .length = (size_t)pith__number_or(p->length, 0.0),
                                       .threads = pith__training_threads(p),
                                       .folder = pith__text_or_null(p->held_out_dir),
                                       .event = pith__training_on_event,
                                       .event_user = r};
    pith__evaluation *results = NULL;
    pith__buf table;
    PITH__TRY(pith__need_list("data", &p->data, err));
    PITH__TRY(pith__check_gguf(r, "model", p->model, err));
    if (r->ranks.rank != 0) {
        return PITH_OK;
    }
    PITH__TRY(pith__arena_alloc(&r->arena, count + 1, sizeof *results, &results, err));
    PITH__TRY(pith__train_evaluate(&s, &r->training->mem, results, err));
    pith__buf_init(&table, &r->training->mem, SIZE_MAX);
    pith_status status = make_table(r, results, count, &table, err);
    if (status == PITH_OK) {
        status = pith__training_write(r, r->p->output, &table, err);
    }
    pith__buf_deinit(&table);
    return status;
}
