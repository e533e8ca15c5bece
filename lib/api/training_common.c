/*
 * training_common.c: what the recipes of a training share: what must be there, files, and the
 * settings of a run.
 */
#include "api/training.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

/* ---- what is missing, and what does not go together ----------------------------------------- */

bool pith__is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

const char *pith__text_or_null(const char *text)
{
    return pith__is_given(text) ? text : NULL;
}

double pith__number_or(double value, double otherwise)
{
    return value < 0.0 ? otherwise : value;
}

pith_status pith__need_list(const char *name, const pith__texts *list, pith_error *err)
{
    return list->count > 0 ? PITH_OK
                           : pith__fail(err, PITH_E_ARGUMENT, "%s: a file is needed", name);
}

pith_status pith__need(const char *name, const char *value, pith_error *err)
{
    return pith__is_given(value) ? PITH_OK
                                 : pith__fail(err, PITH_E_ARGUMENT, "%s: a file is needed", name);
}

pith_status pith__check_gguf(const pith__training_run *r, const char *name, const char *path,
                             pith_error *err)
{
    pith__file file;
    pith__gguf gguf = {0};
    pith_error reason;
    PITH__TRY(pith__need(name, path, err));
    pith_status status = pith__file_open(path, &file, &reason);
    if (status == PITH_OK) {
        status = pith__gguf_parse(file.data, file.size, &r->training->mem, &gguf, &reason);
        pith__gguf_deinit(&gguf);
        pith__file_close(&file);
    }
    return status == PITH_OK
               ? PITH_OK
               : pith__fail_at(err, status, reason.offset, "%s: %s", name, reason.message);
}

/*
 * An hour of work must not end at a folder that is not there, nor a device give way to a file: what
 * is complete is renamed to `path`.
 */
static pith_status check_writable(const char *name, const char *path, pith_error *err)
{
    struct stat info;
    pith__new_file file;
    pith_error reason;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        return pith__fail(err, PITH_E_IO, "%s: \"%s\" is %s", name, path,
                          S_ISDIR(info.st_mode) ? "a folder" : "no regular file");
    }
    const pith_status status = pith__new_file_open(path, &file, &reason);
    if (status != PITH_OK) {
        return pith__fail(err, status, "%s: %s", name, reason.message);
    }
    pith__new_file_abort(&file);
    return PITH_OK;
}

/* Whether two names are of one file; one that is not there yet has only its name. */
static bool same_file(const char *a, const char *b)
{
    struct stat left;
    struct stat right;
    return strcmp(a, b) == 0 || (stat(a, &left) == 0 && stat(b, &right) == 0 &&
                                 left.st_dev == right.st_dev && left.st_ino == right.st_ino);
}

static pith_status check_apart(const char *name, const char *path, const char *other_name,
                               const char *other, pith_error *err)
{
    return pith__is_given(other) && same_file(path, other)
               ? pith__fail(err, PITH_E_ARGUMENT, "%s: \"%s\" is the %s already", name, path,
                            other_name)
               : PITH_OK;
}

/* What is read must not be written over by `path`. */
static pith_status check_inputs(const pith__training_run *r, const char *name, const char *path,
                                pith_error *err)
{
    const pith__training_params *p = r->p;
    const struct {
        const char *name;
        const pith__texts *files;
    } lists[] = {{r->training->recipe->bit == PITH__RECIPE_GIST ? "data" : "pairs", &p->pairs},
                 {"test", &p->tests},
                 {"questions", &p->questions},
                 {"compressor", &p->compressors}};
    if (path != p->output) {
        PITH__TRY(check_apart(name, path, "model", p->model, err));
        PITH__TRY(check_apart(name, path, "tokenizer", p->tokenizer, err));
    }
    PITH__TRY(check_apart(name, path, "context", p->context_file, err));
    if (path != p->output) {
        PITH__TRY(check_apart(name, path, "init-from", p->start, err));
    }
    for (size_t k = 0; k < p->data.count; k++) {
        PITH__TRY(check_apart(name, path, "data", r->sources[k].path, err));
    }
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        for (size_t k = 0; k < lists[i].files->count; k++) {
            PITH__TRY(check_apart(name, path, lists[i].name, lists[i].files->items[k], err));
        }
    }
    return PITH_OK;
}

pith_status pith__training_check_files(const pith__training_run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    const struct {
        const char *name;
        const char *path;
    } files[] = {{"output", p->output},         {"adapter", p->adapter}, {"report", p->report},
                 {"checkpoint", p->checkpoint}, {"plot", p->plot},       {"log", p->log}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *path = files[i].path;
        if (!pith__is_given(path)) {
            continue;
        }
        for (size_t k = 0; k < i; k++) {
            PITH__TRY(check_apart(files[i].name, path, files[k].name, files[k].path, err));
        }
        PITH__TRY(check_inputs(r, files[i].name, path, err));
        if (r->ranks.rank == 0 && path != p->log) { /* which is opened before the work begins */
            PITH__TRY(check_writable(files[i].name, path, err));
        }
    }
    return PITH_OK;
}

/* The first `size` bytes of `text` in the run's arena. */
static pith_status copy_text(pith__training_run *r, const char *text, size_t size, char **out,
                             pith_error *err)
{
    PITH__TRY(pith__arena_alloc(&r->arena, size + 1, 1, out, err));
    memcpy(*out, text, size);
    (*out)[size] = '\0';
    return PITH_OK;
}

pith_status pith__training_find_name(pith__training_run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    const char *path = pith__is_given(p->output)    ? p->output
                       : pith__is_given(p->adapter) ? p->adapter
                                                    : "";
    const char *slash = strrchr(path, '/');
    const char *base = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(base, '.');
    const size_t size = dot == NULL || dot == base ? strlen(base) : (size_t)(dot - base);
    char *name = NULL;
    PITH__TRY(copy_text(r, base, size, &name, err));
    r->name = pith__is_given(p->name) ? p->name : name;
    return PITH_OK;
}

pith_status pith__training_read_sources(pith__training_run *r, pith_error *err)
{
    const pith__texts *data = &r->p->data;
    PITH__TRY(pith__arena_alloc(&r->arena, data->count, sizeof *r->sources, &r->sources, err));
    for (size_t i = 0; i < data->count; i++) {
        size_t size = 0;
        char *path = NULL;
        PITH__TRY(pith__training_source(data->items[i], &size, &r->sources[i].weight, err));
        PITH__TRY(copy_text(r, data->items[i], size, &path, err));
        r->sources[i].path = path;
    }
    return PITH_OK;
}

unsigned pith__training_threads(const pith__training_params *p)
{
    return p->threads > 0.0 ? (unsigned)p->threads : pith__threads_available();
}

/* warm-up and decay-steps must lie within the steps. */
static pith_status check_within(const char *name, double value, double steps, pith_error *err)
{
    return value <= steps
               ? PITH_OK
               : pith__fail(err, PITH_E_RANGE, "%s: %.15g is outside 0 to %.15g, the steps", name,
                            value, steps);
}

static pith_status read_schedule(const pith__training_params *p, pith__schedule *out,
                                 pith_error *err)
{
    const double steps = pith__number_or(p->steps, 0.0); /* 0: as many as it takes */
    const double share = steps > 0.0 ? floor(steps / 20.0) : 10.0;
    const double warm_up = pith__number_or(p->warm_up, fmin(share, 500.0));
    const double decay = pith__number_or(p->decay_steps, floor(steps / 5.0));
    if (steps > 0.0) {
        PITH__TRY(check_within("warm-up", warm_up, steps, err));
        PITH__TRY(check_within("decay-steps", decay, steps, err));
    }
    *out = (pith__schedule){.kind = (pith__schedule_kind)p->schedule,
                            .warm_up = (uint64_t)warm_up,
                            .total = (uint64_t)steps,
                            .decay = (uint64_t)decay};
    return PITH_OK;
}

static pith__optimizer_settings read_optimizer(const pith__training_params *p)
{
    return (pith__optimizer_settings){.kind = (pith__optimizer_kind)p->optimizer,
                                      .rate = p->lr,
                                      .muon_rate = p->muon_lr,
                                      .beta1 = p->beta1,
                                      .beta2 = p->beta2,
                                      .eps = p->eps,
                                      .momentum = p->momentum,
                                      .decay = p->weight_decay,
                                      .clip = p->clip};
}

pith_status pith__training_read_settings(const pith__training_params *p, pith__run_settings *out,
                                         pith_error *err)
{
    *out = (pith__run_settings){.checkpoint = pith__text_or_null(p->checkpoint),
                                .checkpoint_every = (uint64_t)p->checkpoint_every,
                                .resume = p->resume,
                                .steps = (uint64_t)pith__number_or(p->steps, 0.0),
                                .batch = (size_t)p->batch_size,
                                .micro_batch = 1,
                                .lanes = (size_t)p->lanes,
                                .length = (size_t)pith__number_or(p->length, 0.0),
                                .seed = (uint64_t)p->seed,
                                .threads = pith__training_threads(p),
                                .evaluate_every = (uint64_t)p->evaluate_every,
                                .evaluate_bytes = (uint64_t)p->evaluate_bytes,
                                .held_out_every = (uint32_t)p->held_out_every,
                                .recompute = p->recompute,
                                .optimizer = read_optimizer(p)};
    return read_schedule(p, &out->schedule, err);
}

pith_status pith__training_read_run(pith__training_run *r, pith__run_settings *out, pith_error *err)
{
    PITH__TRY(pith__training_read_settings(r->p, out, err));
    out->event = pith__training_on_event;
    out->event_user = r;
    return PITH_OK;
}

pith_status pith__training_begin(pith__training_run *r, pith_error *err)
{
    r->has_begun = true;
    return pith__ranks_agree(PITH_OK, err);
}

pith_status pith__training_write(const pith__training_run *r, const char *path,
                                 const pith__buf *table, pith_error *err)
{
    const pith_training *t = r->training;
    pith__new_file file;
    if (!pith__is_given(path)) {
        return t->write == NULL || t->write(t->write_user, table->data, table->size)
                   ? PITH_OK
                   : pith__fail(err, PITH_E_IO, "not all of the table could be written");
    }
    PITH__TRY(pith__new_file_open(path, &file, err));
    (void)pith__new_file_write(&file, table->data, table->size); /* commit reports a failure */
    return pith__new_file_commit(&file, err);
}

/* Tokens of a pair, if the parameters do not say. */
#define PAIR_LENGTH_MAX 512U

/* The context of the model in a file, which may be no model at all. */
static pith_status read_context(const pith__training_run *r, const char *path, uint32_t *out,
                                pith_error *err)
{
    pith__file file;
    pith__gguf gguf = {0};
    PITH__TRY(pith__file_open(path, &file, err));
    pith_status status = pith__gguf_parse(file.data, file.size, &r->training->mem, &gguf, err);
    if (status == PITH_OK) {
        status = pith__gguf_get_u32(&gguf, "llama.context_length", out, err);
    }
    pith__gguf_deinit(&gguf);
    pith__file_close(&file);
    return status;
}

pith_status pith__training_read_length(const pith__training_run *r, size_t *length, pith_error *err)
{
    const double given = r->p->length;
    uint32_t context = 0;
    PITH__TRY(read_context(r, r->p->model, &context, err));
    if (given > (double)context) {
        return pith__fail(err, PITH_E_RANGE,
                          "length: %.15g is outside 2 to %u, the model's context", given, context);
    }
    *length = (size_t)pith__number_or(given, context < PAIR_LENGTH_MAX ? context : PAIR_LENGTH_MAX);
    return PITH_OK;
}

const char *pith__training_text_of(const pith__training_run *r, const char *name, const char *given)
{
    return pith__is_given(given) ? given : pith__training_default(r->training->recipe->bit, name);
}

pith__lora_settings pith__training_read_lora(const pith__training_params *p)
{
    pith__lora_settings lora = {.rank = (uint32_t)p->lora_rank,
                                .alpha = p->lora_alpha,
                                .dropout = p->lora_dropout,
                                .matrices = 0};
    for (size_t i = 0; i < p->lora_matrices.count; i++) {
        lora.matrices |= pith__training_matrices(p->lora_matrices.items[i]);
    }
    if (p->lora_matrices.count == 0) {
        lora.matrices = pith__training_matrices("all");
    }
    return lora;
}

pith_status pith__training_check_lora(const pith__training_params *p, pith_error *err)
{
    if (p->lora_rank > 0.0) {
        return PITH_OK;
    }
    if (p->lora_matrices.count > 0 || p->lora_dropout > 0.0) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "lora-matrices and lora-dropout: without lora-rank all weights learn");
    }
    return pith__is_given(p->adapter)
               ? pith__fail(err, PITH_E_ARGUMENT, "adapter: there is none without lora-rank")
               : PITH_OK;
}
