/*
 * training_gist.c: recipe gist: a model that puts instructions into a few key-values, beside its
 * controls, and the table of how well each does.
 */
#include "api/training.h"

#include <math.h>

#define CONDITIONS (PITH__GIST_TFIDF + 1)

/* ---- the table --------------------------------------------------------------------------- */

/* A share or a mean; null for none. */
static pith_status append_number(pith__buf *out, const char *key, double value, pith_error *err)
{
    return isfinite(value) ? pith__buf_printf(out, err, ", \"%s\": %.9g", key, value)
                           : pith__buf_printf(out, err, ", \"%s\": null", key);
}

static pith_status append_score(pith__buf *out, const pith__gist_score *score, pith_error *err)
{
    const double tokens = (double)score->tokens;
    PITH__TRY(pith__buf_printf(out, err, "{\"condition\": \"%s\", \"split\": ",
                               pith__gist_condition_name(score->condition)));
    PITH__TRY(pith__train_log_string(out, score->split, err));
    PITH__TRY(pith__buf_printf(out, err, ", \"triples\": %llu, \"tokens\": %llu",
                               (unsigned long long)score->triples,
                               (unsigned long long)score->tokens));
    PITH__TRY(append_number(out, "nats", score->nats, err));
    PITH__TRY(append_number(out, "nats_per_token",
                            score->tokens == 0 ? (double)NAN : score->nats / tokens, err));
    PITH__TRY(append_number(out, "rouge_l", score->rouge_l, err));
    PITH__TRY(append_number(out, "exact", isnan(score->rouge_l) ? (double)NAN : score->exact, err));
    return pith__buf_append_text(out, "}", err);
}

static pith_status make_table(const pith__gist_settings *s, const pith__gist_score *scores,
                              pith__buf *out, pith_error *err)
{
    const size_t count = s->n_conditions * (s->n_tests + 1);
    PITH__TRY(pith__buf_append_text(out, "{\"model\": ", err));
    PITH__TRY(pith__train_log_string(out, s->model, err));
    PITH__TRY(pith__buf_printf(out, err, ", \"slots\": %u, \"scores\": [", s->slots));
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(pith__buf_append_text(out, i == 0 ? "" : ", ", err));
        PITH__TRY(append_score(out, &scores[i], err));
    }
    return pith__buf_append_text(out, "]}\n", err);
}

static pith_status report(const pith__training_run *r, const pith__gist_settings *s,
                          const pith__gist_score *scores, pith_error *err)
{
    pith__buf table;
    pith__buf_init(&table, &r->training->mem, SIZE_MAX);
    pith_status status = make_table(s, scores, &table, err);
    if (status == PITH_OK) {
        status = pith__training_write(r, r->p->report, &table, err);
    }
    pith__buf_deinit(&table);
    return status;
}

/* ---- settings ------------------------------------------------------------------------------ */

static void add_condition(pith__gist_condition *conditions, size_t *count,
                          pith__gist_condition condition)
{
    for (size_t i = 0; i < *count; i++) {
        if (conditions[i] == condition) {
            return;
        }
    }
    conditions[(*count)++] = condition;
}

/* Those given, in their order, without repetitions; then the controls, if they are wanted. */
static size_t read_conditions(const pith__training_params *p,
                              pith__gist_condition conditions[CONDITIONS])
{
    size_t count = 0;
    for (size_t i = 0; i < p->conditions.count; i++) {
        pith__gist_condition condition = PITH__GIST_GIST;
        if (pith__training_condition(p->conditions.items[i], &condition)) {
            add_condition(conditions, &count, condition);
        }
    }
    if (count == 0) {
        add_condition(conditions, &count, PITH__GIST_GIST);
    }
    for (int i = 0; p->controls && i < CONDITIONS; i++) {
        add_condition(conditions, &count, (pith__gist_condition)i);
    }
    return count;
}

static pith_status check(const pith__training_run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    PITH__TRY(pith__need_list("data", &p->pairs, err));
    PITH__TRY(pith__check_gguf(r, "model", p->model, err));
    PITH__TRY(pith__training_check_lora(p, err));
    /* one may want nothing but the table */
    return pith__is_given(p->adapter) || pith__is_given(p->report)
               ? PITH_OK
               : pith__need("output", p->output, err);
}

pith_status pith__run_gist(pith__training_run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    pith__gist_condition conditions[CONDITIONS];
    pith__gist_settings s = {.triples = (const char *const *)p->pairs.items,
                             .n_triples = p->pairs.count,
                             .tests = (const char *const *)p->tests.items,
                             .n_tests = p->tests.count,
                             .epochs = p->epochs,
                             .model = p->model,
                             .token = pith__training_text_of(r, "gist-token", p->gist_token),
                             .slots = (uint32_t)p->slots,
                             .conditions = conditions,
                             .n_conditions = read_conditions(p, conditions),
                             .generate = (size_t)p->generate,
                             .max_tokens = (size_t)p->max_tokens,
                             .lora = pith__training_read_lora(p),
                             .name = r->name,
                             .output = pith__text_or_null(p->output),
                             .adapter = pith__text_or_null(p->adapter),
                             .type = (pith__weight_type)p->type};
    pith__gist_score *scores = NULL;
    PITH__TRY(check(r, err));
    PITH__TRY(pith__training_read_run(r, &s.run, err));
    PITH__TRY(pith__training_read_length(r, &s.run.length, err));
    PITH__TRY(pith__arena_alloc_zero(&r->arena, s.n_conditions * (s.n_tests + 1), sizeof *scores,
                                     &scores, err));
    PITH__TRY(pith__training_begin(r, err));
    PITH__TRY(pith__train_gist(&s, &r->training->mem, scores, err));
    return r->ranks.rank == 0 ? report(r, &s, scores, err) : PITH_OK;
}
