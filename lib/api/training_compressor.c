/*
 * training_compressor.c: recipes 500x, icae and selfcp: a compressor of any text, for one model.
 */
#include "api/training.h"

#include "api/builtin.h"

#include <math.h>

/* Steps where neither they nor epochs are given. */
#define STEPS 1000.0

/* Updates over which the released code lets the rate rise. */
#define OFFICIAL_WARM_UP 300.0

pith_status pith__compressor_apply_mode(const pith__param_table *table,
                                        pith__training_params *params, const pith_allocator *mem,
                                        pith_error *err)
{
    const bool is_selfcp = table->bit == PITH__RECIPE_SELFCP;
    const struct {
        const char *name;
        const char *official; /* what the released code does */
    } choices[] = {{"layout", "end"},
                   {"position-mode", "release"},
                   {"pad", "true"},
                   {"slot-deviation", "1"},
                   {"lora-rank", table->bit == PITH__RECIPE_ICAE ? "128" : "64"},
                   {"lora-alpha", "32"},
                   {"lora-dropout", "0.05"},
                   {"lr", is_selfcp ? "0.00005" : "0.0001"},
                   {"schedule", "constant"},
                   {"beta2", "0.999"}};
    const bool is_official = params->mode == (int)PITH__SOFT_MODE_OFFICIAL;
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        const char *value =
            is_official ? choices[i].official : pith__training_default(table->bit, choices[i].name);
        if (pith__table_find(table, choices[i].name) != NULL) {
            PITH__TRY(pith__table_set(table, params, mem, choices[i].name, value, err));
        }
    }
    return PITH_OK;
}

static pith__compressor_shape read_shape(const pith__training_run *r)
{
    const pith__training_params *p = r->p;
    const unsigned bit = r->training->recipe->bit;
    const bool is_selfcp = bit == PITH__RECIPE_SELFCP;
    return (pith__compressor_shape){.method = bit == PITH__RECIPE_500X   ? PITH__COMPRESSOR_500X
                                              : bit == PITH__RECIPE_ICAE ? PITH__COMPRESSOR_ICAE
                                                                         : PITH__COMPRESSOR_SELFCP,
                                    .slots = is_selfcp ? 0 : (uint32_t)p->slots,
                                    .elastic = p->elastic,
                                    .ratio = is_selfcp ? (uint32_t)p->ratio : 0,
                                    .layout = (pith__slot_layout)p->layout,
                                    .mode = (pith__slot_mode)p->position_mode,
                                    .window = (uint32_t)pith__number_or(p->window, p->length),
                                    .pads = p->pads,
                                    .has_norm = is_selfcp && p->has_norm};
}

/* The released code adapts two matrices, unless others are named. */
static pith__lora_settings read_lora(const pith__training_run *r)
{
    const pith__training_params *p = r->p;
    pith__lora_settings lora = pith__training_read_lora(p);
    if (p->mode == (int)PITH__SOFT_MODE_OFFICIAL && p->lora_matrices.count == 0) {
        lora.matrices = 1U << PITH__MATRIX_Q | 1U << PITH__MATRIX_V;
    }
    return r->training->recipe->bit == PITH__RECIPE_SELFCP ? (pith__lora_settings){0} : lora;
}

static pith_status read_mix(const pith__training_run *r, pith__selfcp_mix *out, pith_error *err)
{
    const unsigned bit = r->training->recipe->bit;
    const pith__texts *given = &r->p->strategies;
    *out = (pith__selfcp_mix){0};
    if (bit != PITH__RECIPE_SELFCP) {
        return PITH_OK;
    }
    if (given->count == 0) {
        return pith__training_strategies(pith__training_default(bit, "strategy"), out, err);
    }
    for (size_t i = 0; i < given->count; i++) {
        PITH__TRY(pith__training_strategies(given->items[i], out, err));
    }
    return PITH_OK;
}

static pith_status read_run(pith__training_run *r, pith__run_settings *out, pith_error *err)
{
    pith__training_params p = *r->p; /* borrows its texts */
    if (p.steps < 0.0 && p.epochs < 0.0) {
        p.steps = STEPS;
    }
    if (p.mode == (int)PITH__SOFT_MODE_OFFICIAL && p.warm_up < 0.0) {
        p.warm_up = p.steps < 0.0 ? OFFICIAL_WARM_UP : fmin(OFFICIAL_WARM_UP, p.steps);
    }
    PITH__TRY(pith__training_read_settings(&p, out, err));
    out->micro_batch = (size_t)p.micro_batch;
    out->event = pith__training_on_event;
    out->event_user = r;
    return PITH_OK;
}

static pith_status check(const pith__training_run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    if (p->data.count + p->questions.count == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "data, questions: a file is needed");
    }
    if (pith__is_given(p->model)) {
        PITH__TRY(pith__check_gguf(r, "model", p->model, err));
    }
    if (pith__is_given(p->start)) {
        PITH__TRY(pith__check_gguf(r, "init-from", p->start, err));
    }
    if (p->shortest > p->length) {
        return pith__fail(err, PITH_E_RANGE, "shortest: %.15g is outside 1 to %.15g, the length",
                          p->shortest, p->length);
    }
    return pith__need("output", p->output, err);
}

pith_status pith__run_compressor(pith__training_run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    const unsigned bit = r->training->recipe->bit;
    pith__compressor_settings s = {
        .model = pith__text_or_null(p->model),
        .shape = read_shape(r),
        .lora = read_lora(r),
        .slot_deviation = p->slot_deviation,
        .start = pith__text_or_null(p->start),
        .sources = r->sources,
        .n_sources = p->data.count,
        .shortest = (size_t)pith__number_or(p->shortest, fmax(1.0, floor(p->length / 4.0))),
        .continuation = p->continuation,
        .questions = (const char *const *)p->questions.items,
        .n_questions = p->questions.count,
        .question_share = p->question_share,
        .format = pith__is_given(p->template_text) ? p->template_text : PITH__QUESTION_FORMAT,
        .conditional = bit == PITH__RECIPE_SELFCP ? p->conditional : 0.0,
        .held_out = (uint32_t)p->held_out,
        .epochs = p->epochs,
        .name = r->name,
        .output = p->output,
        .half = p->type == (int)PITH__WEIGHT_F16};
    PITH__TRY(check(r, err));
    PITH__TRY(read_mix(r, &s.mix, err));
    PITH__TRY(read_run(r, &s.run, err));
    s.data = pith__builtin_model;
    s.data_size = (size_t)(pith__builtin_model_end - pith__builtin_model);
    PITH__TRY(pith__training_begin(r, err));
    return pith__train_compressor(&s, &r->training->mem, err);
}
