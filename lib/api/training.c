/*
 * training.c: pith_training: its life, and from a recipe's events to the log, the plot and the caller.
 */
#include "api/training.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ---- events ------------------------------------------------------------------------------------ */

static pith_training_event public_event(const pith__train_event *e)
{
    static const pith_training_event_kind kinds[] = {
        [PITH__TRAIN_START] = PITH_TRAINING_START,
        [PITH__TRAIN_STEP] = PITH_TRAINING_STEP,
        [PITH__TRAIN_EVALUATION] = PITH_TRAINING_EVALUATION,
        [PITH__TRAIN_CHECKPOINT] = PITH_TRAINING_CHECKPOINT,
        [PITH__TRAIN_END] = PITH_TRAINING_END,
    };
    return (pith_training_event){.struct_size = sizeof(pith_training_event),
                                 .kind = kinds[e->kind],
                                 .step = e->step,
                                 .steps = e->steps,
                                 .tokens = e->tokens,
                                 .loss = e->loss,
                                 .smooth_loss = e->smooth_loss,
                                 .norm = e->norm,
                                 .multiplier = e->multiplier,
                                 .tokens_per_second = e->tokens_per_second,
                                 .seconds = e->seconds,
                                 .seconds_left = e->seconds_left,
                                 .source = e->source,
                                 .bits_per_byte = e->bits_per_byte};
}

/* Of the models that one run makes the first has the path as it is, the others PATH.2 and so on. */
static pith_status numbered(pith__training_run *r, const char *path, const char **out,
                            pith_error *err)
{
    char *name = NULL;
    const size_t size = path == NULL ? 0 : strlen(path) + 24;
    *out = path;
    if (path == NULL || r->models < 2) {
        return PITH_OK;
    }
    PITH__TRY(pith__arena_alloc(&r->arena, size, 1, &name, err));
    (void)snprintf(name, size, "%s.%zu", path, r->models);
    *out = name;
    return PITH_OK;
}

static pith_status open_log(pith__training_run *r, uint64_t step, pith_error *err)
{
    const char *path = NULL;
    r->models++;
    pith__train_log_close(&r->log);
    PITH__TRY(numbered(r, pith__text_or_null(r->p->log), &path, err));
    PITH__TRY(numbered(r, pith__text_or_null(r->p->plot), &r->plot, err));
    return pith__train_log_open(path, step, &r->training->mem, &r->log, err);
}

static pith_status record(pith__training_run *r, const pith__train_event *e, pith_error *err)
{
    if (e->kind == PITH__TRAIN_START) {
        PITH__TRY(open_log(r, e->step, err));
    }
    if (r->log.mem.realloc == NULL) { /* a recipe that only reads has no log */
        return PITH_OK;
    }
    PITH__TRY(pith__train_log_add(&r->log, e, err));
    const bool is_due = (e->kind == PITH__TRAIN_EVALUATION && e->source == NULL) ||
                        e->kind == PITH__TRAIN_CHECKPOINT || e->kind == PITH__TRAIN_END;
    return r->plot == NULL || !is_due ? PITH_OK : pith__train_plot(r->plot, &r->log, r->name, err);
}

/* The first rank records and asks; pith__run_report() tells the others. */
bool pith__training_on_event(void *user, const pith__train_event *e)
{
    pith__training_run *r = user;
    bool wants_more = true;
    pith_status status = PITH_OK;
    if (r->ranks.rank == 0) {
        status = record(r, e, &r->error);
        if (status == PITH_OK && r->training->event != NULL) {
            const pith_training_event event = public_event(e);
            wants_more = r->training->event(r->training->event_user, &event);
        }
    }
    r->status = r->status == PITH_OK ? status : r->status;
    return wants_more && r->status == PITH_OK;
}

/* ---- life ------------------------------------------------------------------------------------------------- */

static const pith__training_recipe recipes[] = {
    {"tokenizer", PITH__RECIPE_TOKENIZER, pith__run_tokenizer},
    {"base", PITH__RECIPE_BASE, pith__run_base},
    {"align", PITH__RECIPE_ALIGN, pith__run_align},
    {"cc", PITH__RECIPE_CC, pith__run_condense},
    {"distill", PITH__RECIPE_DISTILL, pith__run_condense},
    {"gist", PITH__RECIPE_GIST, pith__run_gist},
    {"500x", PITH__RECIPE_500X, pith__run_compressor},
    {"icae", PITH__RECIPE_ICAE, pith__run_compressor},
    {"selfcp", PITH__RECIPE_SELFCP, pith__run_compressor},
    {"retention", PITH__RECIPE_RETENTION, pith__run_retention},
    {"evaluate", PITH__RECIPE_EVALUATE, pith__run_evaluate},
};

static const pith__training_recipe *find_recipe(const char *name)
{
    for (size_t i = 0; i < sizeof recipes / sizeof recipes[0]; i++) {
        if (strcmp(recipes[i].name, name) == 0) {
            return &recipes[i];
        }
    }
    return NULL;
}

pith_status pith_training_new(const char *recipe_name, const pith_allocator *allocator,
                              pith_training **out, pith_error *err)
{
    const pith_allocator *mem = allocator == NULL ? &pith__allocator_default : allocator;
    const pith__training_recipe *found = find_recipe(recipe_name);
    *out = NULL;
    if (found == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "no recipe is called \"%s\"", recipe_name);
    }
    PITH__TRY(pith__alloc_zero(mem, 1, sizeof **out, out, err));
    (*out)->mem = *mem;
    (*out)->recipe = found;
    (*out)->table = pith__training_table(found->bit);
    pith__table_init(&(*out)->table, &(*out)->params);
    return PITH_OK;
}

void pith_training_free(pith_training *training)
{
    if (training == NULL) {
        return;
    }
    const pith_allocator mem = training->mem;
    pith__table_deinit(&training->table, &training->params, &mem);
    pith__free(&mem, training, 1, sizeof *training);
}

pith_status pith_training_set(pith_training *training, const char *name, const char *value,
                              pith_error *err)
{
    const pith__param *p = pith__table_find(&training->table, name);
    PITH__TRY(
        pith__table_set(&training->table, &training->params, &training->mem, name, value, err));
    if (p == NULL || p->field != offsetof(pith__training_params, mode)) {
        return PITH_OK;
    }
    return training->recipe->bit == PITH__RECIPE_CC
               ? pith__condense_apply_mode(&training->table, &training->params, &training->mem, err)
               : pith__compressor_apply_mode(&training->table, &training->params, &training->mem,
                                             err);
}

pith_status pith_training_get(const pith_training *training, const char *name, char *value,
                              size_t size, pith_error *err)
{
    return pith__table_get(&training->table, &training->params, name, value, size, err);
}

size_t pith_training_param_count(const char *recipe_name)
{
    const pith__training_recipe *found = find_recipe(recipe_name);
    if (found == NULL) {
        return 0;
    }
    const pith__param_table table = pith__training_table(found->bit);
    return pith__table_size(&table);
}

const pith_param_info *pith_training_param_at(const char *recipe_name, size_t index)
{
    const pith__training_recipe *found = find_recipe(recipe_name);
    if (found == NULL) {
        return NULL;
    }
    const pith__param_table table = pith__training_table(found->bit);
    const pith__param *p = pith__table_at(&table, index);
    return p == NULL ? NULL : &p->info;
}

void pith_training_set_event(pith_training *training, pith_training_event_fn event, void *user)
{
    training->event = event;
    training->event_user = user;
}

void pith_training_set_write(pith_training *training, pith_write_fn write, void *user)
{
    training->write = write;
    training->write_user = user;
}

pith_status pith_training_run(pith_training *training, pith_error *err)
{
    pith__training_run r = {.training = training,
                            .p = &training->params,
                            .ranks = pith__ranks_get(),
                            .log = {.descriptor = -1}};
    pith__arena_init(&r.arena, &training->mem);
    pith_status status = pith__training_read_sources(&r, err);
    if (status == PITH_OK) {
        status = pith__training_check_files(&r, err);
    }
    if (status == PITH_OK) {
        status = pith__training_find_name(&r, err);
    }
    if (status == PITH_OK) {
        status = training->recipe->run(&r, err);
    }
    if (!r.has_begun) {
        status = pith__ranks_agree(status, err);
    }
    if (r.status != PITH_OK) { /* why the run was told to stop */
        status = r.status;
        if (err != NULL) {
            *err = r.error;
        }
    }
    pith__train_log_close(&r.log);
    pith__arena_deinit(&r.arena);
    return status;
}
