/*
 * training_soft.c: recipes cc and distill: a context into a capsule, or into an adapter.
 */
#include "api/training.h"

#include "api/api.h"
#include "api/builtin.h"

#include <math.h>
#include <string.h>

pith_status pith__condense_apply_mode(const pith__param_table *table, pith__training_params *params,
                                      const pith_allocator *mem, pith_error *err)
{
    static const struct {
        const char *name;
        const char *official; /* what the released code does */
    } choices[] = {
        {"no-bos", "true"}, {"first-token", "false"}, {"kl", "reverse"}, {"init", "vocabulary"},
        {"lr", "0.1"},      {"batch-size", "1"},      {"beta2", "0.999"}};
    const bool is_official = params->mode == (int)PITH__SOFT_MODE_OFFICIAL;
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        const char *value =
            is_official ? choices[i].official : pith__training_default(table->bit, choices[i].name);
        PITH__TRY(pith__table_set(table, params, mem, choices[i].name, value, err));
    }
    params->warm_up = is_official ? 0.0 : -1.0; /* not given: by the steps */
    return PITH_OK;
}

pith_status pith__condense_read(const pith__training_params *p, unsigned bit,
                                pith__condense_settings *out, pith_error *err)
{
    const bool is_cc = bit == PITH__RECIPE_CC;
    *out = (pith__condense_settings){
        .distill = {.direction = (pith__kl_direction)p->kl,
                    .first_token = p->first_token,
                    .into = is_cc ? PITH__DISTILL_SOFT_PROMPT : PITH__DISTILL_LORA,
                    .slots = (size_t)p->slots,
                    .start = (pith__soft_start)p->init},
        .continuations = (size_t)p->continuations,
        .temperature = p->temperature,
        .no_bos = p->no_bos,
        .type = PITH__CAPSULE_F16};
    (void)pith__capsule_type_of((pith_capsule_type)p->capsule_type,
                                &out->type); /* of its choices */
    if (!is_cc) {
        out->distill.lora = pith__training_read_lora(p);
    }
    return pith__training_read_settings(p, &out->distill.run, err);
}

/* A pith_progress_fn whose `user` is the run. Like all events, in the first rank alone. */
static bool tell_preparation(void *user, const char *stage, size_t done, size_t total)
{
    (void)stage;
    const pith__training_run *r = user;
    const pith_training_event event = {.struct_size = sizeof event,
                                       .kind = PITH_TRAINING_PREPARE,
                                       .step = done,
                                       .steps = total,
                                       .loss = (double)NAN,
                                       .bits_per_byte = (double)NAN};
    return r->ranks.rank != 0 || r->training->event == NULL ||
           r->training->event(r->training->event_user, &event);
}

pith_status pith__run_condense(pith__training_run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    pith__condense_settings s;
    PITH__TRY(pith__need("context", p->context_file, err));
    if (pith__is_given(p->model)) {
        PITH__TRY(pith__check_gguf(r, "model", p->model, err));
    }
    PITH__TRY(pith__need("output", p->output, err));
    PITH__TRY(pith__condense_read(p, r->training->recipe->bit, &s, err));
    s.distill.run.event = pith__training_on_event;
    s.distill.run.event_user = r;
    s.progress = tell_preparation;
    s.progress_user = r;
    s.model = pith__text_or_null(p->model);
    s.data = pith__builtin_model;
    s.data_size = (size_t)(pith__builtin_model_end - pith__builtin_model);
    s.context = p->context_file;
    s.sources = r->sources;
    s.n_sources = p->data.count;
    s.output = p->output;
    s.name = r->name;
    PITH__TRY(pith__training_begin(r, err));
    pith__distill_report report;
    return pith__train_condense(&s, &r->training->mem, NULL, &report, err);
}

/* ---- pith_encode() ------------------------------------------------------------------------- */

/* A pith__train_event_fn. */
static bool show_progress(void *user, const pith__train_event *e)
{
    const pith_ctx *ctx = user;
    return ctx->progress == NULL ||
           ctx->progress(ctx->progress_user, "encode", (size_t)e->step, (size_t)e->steps);
}

/* What the context's parameters say; all else is as recipe cc has it. */
static void read_params(const pith__params *p, pith__training_params *out)
{
    const pith__param_table table = pith__training_table(PITH__RECIPE_CC);
    memset(out, 0, sizeof *out);
    pith__table_init(&table, out); /* takes no memory: no text is set */
    out->slots = pith__number_or(p->slots, out->slots);
    out->steps = pith__number_or(p->steps, out->steps);
    out->kl = p->kl;
    out->seed = p->seed;
    out->threads = p->threads;
    out->evaluate_every = 0.0; /* nobody is told */
}

pith_status pith__encode_cc(pith_ctx *ctx, const char *text, size_t size, pith__capsule **out,
                            pith_error *err)
{
    const pith_model *model = ctx->model;
    pith__training_params params;
    pith__condense_settings s;
    if (model->adapter_sha256[0] != '\0') {
        return pith__fail(err, PITH_E_UNSUPPORTED,
                          "method cc cannot take a model with an adapter: it wants the weights as "
                          "they are in the file");
    }
    read_params(&ctx->params, &params);
    PITH__TRY(pith__condense_read(&params, PITH__RECIPE_CC, &s, err));
    s.distill.run.event = show_progress;
    s.distill.run.event_user = ctx;
    s.progress = ctx->progress;
    s.progress_user = ctx->progress_user;
    s.data = model->data;
    s.data_size = model->size;
    s.text = text;
    s.text_size = size;
    return pith__train_condense(&s, &model->mem, out, NULL, err);
}
