/*
 * probe.c: what a capsule knows of its text: a text's nats after the context itself, after its
 * capsule, and after neither.
 */
#include "soft/soft.h"

#include <math.h>

/* What is read after the context: a lead nobody asks about, then the ids whose nats are wanted. */
typedef struct probe_text {
    const uint32_t *lead;
    size_t n_lead;
    const uint32_t *ids;
    size_t n;
} probe_text;

static pith_status check_fits(const pith__probe *probe, const probe_text *text, pith_error *err)
{
    const size_t context = probe->model->config.context;
    size_t need = probe->bos == PITH__NO_ID ? 0 : 1;
    const bool overflow = __builtin_add_overflow(need, probe->count, &need) ||
                          __builtin_add_overflow(need, text->n_lead, &need) ||
                          __builtin_add_overflow(need, text->n, &need);
    if (overflow || need > context) {
        return pith__fail(err, PITH_E_CONTEXT,
                          "a context of %zu tokens and %zu of text; the model's context is %zu",
                          probe->count, text->n_lead + text->n, context);
    }
    return PITH_OK;
}

static pith_status read_context(const pith__probe *probe, pith__probe_way way, pith__reader *reader,
                                pith_error *err)
{
    const bool bos = probe->bos != PITH__NO_ID && (way != PITH__PROBE_SOFT || probe->capsule->bos);
    if (bos) {
        PITH__TRY(pith__reader_ids(reader, &probe->bos, 1, NULL, err));
    }
    if (way == PITH__PROBE_HARD) {
        return pith__reader_ids(reader, probe->context, probe->count, NULL, err);
    }
    return way == PITH__PROBE_SOFT ? pith__capsule_read(probe->capsule, reader, err) : PITH_OK;
}

static pith_status read_text(const pith__probe *probe, pith__probe_way way, const probe_text *text,
                             float *nats, pith_error *err)
{
    pith__reader reader = {.model = NULL};
    pith_status status = pith__reader_init(&reader, probe->model, probe->threads, probe->mem, err);
    if (status == PITH_OK) {
        status = read_context(probe, way, &reader, err);
    }
    if (status == PITH_OK) {
        status = pith__reader_ids(&reader, text->lead, text->n_lead, NULL, err);
    }
    if (status == PITH_OK) {
        status = pith__reader_ids(&reader, text->ids, text->n, nats, err);
    }
    pith__reader_deinit(&reader);
    return status;
}

static pith_status read_all_ways(const pith__probe *probe, const probe_text *text,
                                 float *const nats[PITH__PROBE_WAYS], pith_error *err)
{
    static const pith__probe_way ways[] = {PITH__PROBE_HARD, PITH__PROBE_SOFT, PITH__PROBE_NONE};
    PITH__TRY(check_fits(probe, text, err));
    for (size_t i = 0; i < PITH__PROBE_WAYS; i++) {
        PITH__TRY(read_text(probe, ways[i], text, nats[ways[i]], err));
    }
    return PITH_OK;
}

pith_status pith__probe_nats(const pith__probe *probe, const uint32_t *ids, size_t n,
                             float *const nats[PITH__PROBE_WAYS], pith_error *err)
{
    const probe_text text = {.ids = ids, .n = n};
    return read_all_ways(probe, &text, nats, err);
}

/* NaN if one of the nats is: a comparison with NaN is false. */
static float score_of(float hard, float soft, float none, double epsilon)
{
    const double without = exp(-(double)none);
    const double gain = exp(-(double)hard) - without;
    const double share = (exp(-(double)soft) - without) / gain;
    if (!(fabs(gain) >= epsilon) || gain == 0.0 || isnan(share)) {
        return NAN;
    }
    return (float)fmin(fmax(share, 0.0), 1.0);
}

pith_status pith__probe_recall(const pith__probe *probe, const uint32_t *trigger, size_t n_trigger,
                               double epsilon, float *const nats[PITH__PROBE_WAYS], float *score,
                               pith_error *err)
{
    const probe_text text = {
        .lead = trigger, .n_lead = n_trigger, .ids = probe->context, .n = probe->count};
    PITH__TRY(read_all_ways(probe, &text, nats, err));
    for (size_t i = 0; i < probe->count; i++) {
        score[i] = score_of(nats[PITH__PROBE_HARD][i], nats[PITH__PROBE_SOFT][i],
                            nats[PITH__PROBE_NONE][i], epsilon);
    }
    return PITH_OK;
}
