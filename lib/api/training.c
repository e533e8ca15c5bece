/*
 * training.c: pith_training: from parameters to the settings of a recipe, and from the
 * recipe's events to the log, the plot and the caller.
 */
#include "api/training.h"

#include "train/log.h"
#include "train/pairs.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>

struct pith_training {
    pith_allocator mem;
    const struct recipe *recipe;
    pith__param_table table;
    pith__training_params params;
    pith_training_event_fn event;
    void *event_user;
    pith_write_fn write;
    void *write_user;
};

/* One run: settings point into the arena. */
typedef struct run {
    const pith_training *training;
    const pith__training_params *p;
    pith__arena arena;
    pith__ranks ranks;
    pith__train_log log;
    pith__train_source *sources; /* (data.count) */
    const char *name;            /* of the result */
    pith_status status; /* what went wrong in an event; the run itself is only told to stop */
    pith_error error;
    bool has_begun; /* what may fail in one rank alone is behind us */
} run;

typedef struct recipe {
    const char *name;
    unsigned bit;
    pith_status (*run)(run *r, pith_error *err);
} recipe;

/* ---- what is missing, and what does not go together ----------------------------------------- */

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* NULL for a text that is not given. */
static const char *text_or_null(const char *text)
{
    return is_given(text) ? text : NULL;
}

static double number_or(double value, double otherwise)
{
    return value < 0.0 ? otherwise : value;
}

static pith_status need_list(const char *name, const pith__texts *list, pith_error *err)
{
    return list->count > 0 ? PITH_OK
                           : pith__fail(err, PITH_E_ARGUMENT, "%s: a file is needed", name);
}

static pith_status need(const char *name, const char *value, pith_error *err)
{
    return is_given(value) ? PITH_OK
                           : pith__fail(err, PITH_E_ARGUMENT, "%s: a file is needed", name);
}

/* A file that is no GGUF file is refused under the name of its parameter. */
static pith_status check_gguf(const run *r, const char *name, const char *path, pith_error *err)
{
    pith__file file;
    pith__gguf gguf = {0};
    pith_error reason;
    PITH__TRY(need(name, path, err));
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
    return is_given(other) && same_file(path, other)
               ? pith__fail(err, PITH_E_ARGUMENT, "%s: \"%s\" is the %s already", name, path,
                            other_name)
               : PITH_OK;
}

/* Everything that is written has a name of its own; only a result may replace what it was made from. */
static pith_status check_files(const run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    const struct {
        const char *name;
        const char *path;
    } files[] = {{"output", p->output},
                 {"adapter", p->adapter},
                 {"checkpoint", p->checkpoint},
                 {"plot", p->plot},
                 {"log", p->log}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        const char *path = files[i].path;
        if (!is_given(path)) {
            continue;
        }
        for (size_t k = 0; k < i; k++) {
            PITH__TRY(check_apart(files[i].name, path, files[k].name, files[k].path, err));
        }
        if (path != p->output) {
            PITH__TRY(check_apart(files[i].name, path, "model", p->model, err));
            PITH__TRY(check_apart(files[i].name, path, "tokenizer", p->tokenizer, err));
        }
        for (size_t k = 0; k < p->data.count; k++) {
            PITH__TRY(check_apart(files[i].name, path, "data", r->sources[k].path, err));
        }
        for (size_t k = 0; k < p->pairs.count; k++) {
            PITH__TRY(check_apart(files[i].name, path, "pairs", p->pairs.items[k], err));
        }
        if (r->ranks.rank == 0 && path != p->log) { /* which is opened before the work begins */
            PITH__TRY(check_writable(files[i].name, path, err));
        }
    }
    return PITH_OK;
}

/* The first `size` bytes of `text` in the run's arena. */
static pith_status copy_text(run *r, const char *text, size_t size, char **out, pith_error *err)
{
    PITH__TRY(pith__arena_alloc(&r->arena, size + 1, 1, out, err));
    memcpy(*out, text, size);
    (*out)[size] = '\0';
    return PITH_OK;
}

/* "out/pith-tiny.gguf" is "pith-tiny". */
static pith_status find_name(run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    const char *path = is_given(p->output) ? p->output : is_given(p->adapter) ? p->adapter : "";
    const char *slash = strrchr(path, '/');
    const char *base = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(base, '.');
    const size_t size = dot == NULL || dot == base ? strlen(base) : (size_t)(dot - base);
    char *name = NULL;
    PITH__TRY(copy_text(r, base, size, &name, err));
    r->name = is_given(p->name) ? p->name : name;
    return PITH_OK;
}

static pith_status read_sources(run *r, pith_error *err)
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

static unsigned thread_count(const pith__training_params *p)
{
    return p->threads > 0.0 ? (unsigned)p->threads : pith__threads_available();
}

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

static pith_status record(run *r, const pith__train_event *e, pith_error *err)
{
    const char *plot = text_or_null(r->p->plot);
    if (e->kind == PITH__TRAIN_START) {
        PITH__TRY(pith__train_log_open(text_or_null(r->p->log), e->step, &r->training->mem, &r->log,
                                       err));
    }
    if (r->log.mem.realloc == NULL) { /* a recipe that only reads has no log */
        return PITH_OK;
    }
    PITH__TRY(pith__train_log_add(&r->log, e, err));
    const bool is_due = (e->kind == PITH__TRAIN_EVALUATION && e->source == NULL) ||
                        e->kind == PITH__TRAIN_CHECKPOINT || e->kind == PITH__TRAIN_END;
    return plot == NULL || !is_due ? PITH_OK : pith__train_plot(plot, &r->log, r->name, err);
}

/* The first rank records and asks; pith__run_report() tells the others. */
static bool on_event(void *user, const pith__train_event *e)
{
    run *r = user;
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

/* ---- recipe: tokenizer --------------------------------------------------------------------------- */

static pith_status write_tokenizer(run *r, const pith__source *sources, pith__gguf_writer *writer,
                                   pith_error *err)
{
    static char standard[] = PITH__DOCUMENT_END;
    static char *const by_default[] = {standard};
    const pith__training_params *p = r->p;
    const bool given = p->special.count > 0;
    char pre[PITH_VALUE_SIZE];
    PITH__TRY(pith__table_get(&r->training->table, p, "pre", pre, sizeof pre, err));
    const pith__bpe_settings settings = {
        .size = (uint32_t)p->vocab_size,
        .pre = pre,
        .specials = (const char *const *)(given ? p->special.items : by_default),
        .n_specials = given ? p->special.count : 1,
        .max_bytes = (uint64_t)p->max_bytes,
        .threads = thread_count(p)};
    PITH__TRY(pith__gguf_writer_add_string(writer, "general.architecture", "llama", 5, err));
    PITH__TRY(pith__gguf_writer_add_string(writer, "general.name", r->name, strlen(r->name), err));
    PITH__TRY(pith__bpe_train(sources, p->data.count, &settings, &r->training->mem, writer, err));
    return pith__gguf_writer_save(writer, p->output, err);
}

/* *opened counts those that are to be closed. */
static pith_status open_sources(const run *r, pith__source *sources, size_t *opened,
                                pith_error *err)
{
    for (*opened = 0; *opened < r->p->data.count; (*opened)++) {
        const pith__train_source *from = &r->sources[*opened];
        PITH__TRY(pith__source_open(from->path, from->weight, (uint32_t)r->p->held_out_every,
                                    &r->training->mem, &sources[*opened], err));
    }
    return PITH_OK;
}

static pith_status run_tokenizer(run *r, pith_error *err)
{
    pith__source *sources = NULL;
    pith__gguf_writer writer;
    size_t opened = 0;
    PITH__TRY(need_list("data", &r->p->data, err));
    PITH__TRY(need("output", r->p->output, err));
    if (r->ranks.rank != 0) {
        return PITH_OK; /* counting is one process's work */
    }
    PITH__TRY(pith__arena_alloc_zero(&r->arena, r->p->data.count, sizeof *sources, &sources, err));
    pith__gguf_writer_init(&writer, &r->training->mem);
    pith_status status = open_sources(r, sources, &opened, err);
    if (status == PITH_OK) {
        status = write_tokenizer(r, sources, &writer, err);
    }
    pith__gguf_writer_deinit(&writer);
    for (size_t i = 0; i < opened; i++) {
        pith__source_close(&sources[i]);
    }
    return status;
}

/* ---- what recipes that learn share ----------------------------------------------------------------- */

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
    const double steps = number_or(p->steps, 0.0); /* 0: as many as it takes */
    const double share = steps > 0.0 ? floor(steps / 20.0) : 10.0;
    const double warm_up = number_or(p->warm_up, fmin(share, 500.0));
    const double decay = number_or(p->decay_steps, floor(steps / 5.0));
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

static pith_status read_run(run *r, pith__run_settings *out, pith_error *err)
{
    const pith__training_params *p = r->p;
    *out = (pith__run_settings){.checkpoint = text_or_null(p->checkpoint),
                                .checkpoint_every = (uint64_t)p->checkpoint_every,
                                .resume = p->resume,
                                .steps = (uint64_t)number_or(p->steps, 0.0),
                                .batch = (size_t)p->batch_size,
                                .micro_batch = 1,
                                .lanes = (size_t)p->lanes,
                                .length = (size_t)number_or(p->length, 0.0),
                                .seed = (uint64_t)p->seed,
                                .threads = thread_count(p),
                                .evaluate_every = (uint64_t)p->evaluate_every,
                                .evaluate_bytes = (uint64_t)p->evaluate_bytes,
                                .held_out_every = (uint32_t)p->held_out_every,
                                .recompute = p->recompute,
                                .optimizer = read_optimizer(p),
                                .event = on_event,
                                .event_user = r};
    return read_schedule(p, &out->schedule, err);
}

/* From here on the recipe sees to it that all ranks fail if one does. */
static pith_status begin(run *r, pith_error *err)
{
    r->has_begun = true;
    return pith__ranks_agree(PITH_OK, err);
}

/* ---- recipe: base ------------------------------------------------------------------------------------- */

static uint32_t size_or(double value, uint32_t otherwise)
{
    return value < 0.0 ? otherwise : (uint32_t)value;
}

/* The shape that the parameters ask for. */
static pith_status read_shape(const pith__training_params *p, pith__model_config *c,
                              pith_error *err)
{
    c->layers = size_or(p->layers, 8);
    c->width = size_or(p->width, 256);
    c->heads = size_or(p->heads, c->width < 64 ? 1 : c->width / 64);
    c->kv_heads = size_or(p->kv_heads, c->heads);
    c->head_dim = size_or(p->head_dim, c->width / c->heads);
    c->ff = size_or(p->ff, (8 * c->width / 3 + 31) / 32 * 32);
    c->context = size_or(p->context, (uint32_t)p->length);
    c->rope_pairs = c->head_dim / 2;
    c->rope_base = (float)number_or(p->rope_base, 10000.0);
    c->rope_scale = 1.0f;
    c->norm_eps = (float)number_or(p->norm_eps, 1e-5);
    if (p->head_dim < 0.0 && c->width % c->heads != 0) {
        return pith__fail(err, PITH_E_RANGE, "heads: %u do not divide the width, %u", c->heads,
                          c->width);
    }
    if (c->heads % c->kv_heads != 0) {
        return pith__fail(err, PITH_E_RANGE, "kv-heads: %u do not divide the heads, %u",
                          c->kv_heads, c->heads);
    }
    if (c->head_dim % 2 != 0 || c->head_dim == 0) {
        return pith__fail(err, PITH_E_RANGE, "head-dim: %u is not an even number", c->head_dim);
    }
    return PITH_OK;
}

/* A parameter that was given must be what the model to go on from has. */
static pith_status check_same(const char *name, double given, double has, pith_error *err)
{
    return given < 0.0 || given == has
               ? PITH_OK
               : pith__fail(err, PITH_E_ARGUMENT, "%s: %.9g is asked for, the model has %.9g", name,
                            given, has);
}

static pith_status check_shape(const pith__training_params *p, const pith__model_config *c,
                               pith_error *err)
{
    PITH__TRY(check_same("layers", p->layers, (double)c->layers, err));
    PITH__TRY(check_same("width", p->width, (double)c->width, err));
    PITH__TRY(check_same("heads", p->heads, (double)c->heads, err));
    PITH__TRY(check_same("kv-heads", p->kv_heads, (double)c->kv_heads, err));
    PITH__TRY(check_same("head-dim", p->head_dim, (double)c->head_dim, err));
    return check_same("ff", p->ff, (double)c->ff, err);
}

/* The shape of the model to go on from. */
static pith_status copy_shape(const run *r, pith__base_settings *s, pith_error *err)
{
    const pith__training_params *p = r->p;
    const pith_allocator *mem = &r->training->mem;
    pith__file file;
    pith__gguf gguf = {0};
    pith__model model = {0};
    pith_error reason;
    PITH__TRY(check_gguf(r, "init-from", s->start, err));
    PITH__TRY(pith__file_open(s->start, &file, err));
    pith_status status = pith__gguf_parse(file.data, file.size, mem, &gguf, &reason);
    if (status == PITH_OK) {
        status = pith__model_load(&gguf, PITH_PRECISION_F32, mem, &model, &reason);
    }
    if (status != PITH_OK) {
        (void)pith__fail_at(err, status, reason.offset, "init-from: %s", reason.message);
    }
    if (status == PITH_OK && model.rope_factors != NULL) {
        status = pith__fail(err, PITH_E_UNSUPPORTED,
                            "init-from: its rotary positions have factors (rope_freqs.weight)");
    }
    if (status == PITH_OK) {
        s->config = model.config;
        s->tied = pith__gguf_find_tensor(&gguf, "output.weight") == NULL;
        s->config.context =
            size_or(p->context, model.config.context > s->run.length ? model.config.context
                                                                     : (uint32_t)s->run.length);
        s->config.rope_base = (float)number_or(p->rope_base, (double)model.config.rope_base);
        s->config.norm_eps = (float)number_or(p->norm_eps, (double)model.config.norm_eps);
        status = check_shape(p, &model.config, err);
    }
    pith__model_deinit(&model);
    pith__gguf_deinit(&gguf);
    pith__file_close(&file);
    return status;
}

static pith_status run_base(run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    const char *start = text_or_null(p->model);
    const char *tokenizer = text_or_null(p->tokenizer);
    pith__base_settings s = {.sources = r->sources,
                             .n_sources = p->data.count,
                             .tokenizer = tokenizer != NULL ? tokenizer : start,
                             .tied = p->tied,
                             .start = start,
                             .name = r->name,
                             .output = p->output,
                             .type = (pith__weight_type)p->type};
    PITH__TRY(need_list("data", &p->data, err));
    PITH__TRY(check_gguf(r, tokenizer == NULL && start != NULL ? "init-from" : "tokenizer",
                         s.tokenizer, err));
    PITH__TRY(need("output", s.output, err));
    PITH__TRY(read_run(r, &s.run, err));
    PITH__TRY(start == NULL ? read_shape(p, &s.config, err) : copy_shape(r, &s, err));
    if (s.config.context < s.run.length) {
        return pith__fail(err, PITH_E_RANGE, "context: %u is less than the length, %zu",
                          s.config.context, s.run.length);
    }
    PITH__TRY(begin(r, err));
    return pith__train_base(&s, &r->training->mem, err);
}

/* ---- recipe: align ------------------------------------------------------------------------------------ */

/* Tokens of a pair, if the parameters do not say. */
#define PAIR_LENGTH_MAX 512U

/* The context of the model in a file, which may be no model at all. */
static pith_status read_context(const run *r, const char *path, uint32_t *out, pith_error *err)
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

static pith_status read_length(const run *r, size_t *length, pith_error *err)
{
    const double given = r->p->length;
    uint32_t context = 0;
    PITH__TRY(read_context(r, r->p->model, &context, err));
    if (given > (double)context) {
        return pith__fail(err, PITH_E_RANGE,
                          "length: %.15g is outside 2 to %u, the model's context", given, context);
    }
    *length = (size_t)number_or(given, context < PAIR_LENGTH_MAX ? context : PAIR_LENGTH_MAX);
    return PITH_OK;
}

static const char *text_of(const run *r, const char *name, const char *given)
{
    return is_given(given) ? given : pith__training_default(r->training->recipe->bit, name);
}

static pith_status check_template(const pith__align_settings *s, pith_error *err)
{
    const pith__pair_format format = {s->prompt_key, s->completion_key, s->format};
    pith_error reason;
    const pith_status status = pith__pair_format_check(&format, &reason);
    return status == PITH_OK ? PITH_OK : pith__fail(err, status, "template: %s", reason.message);
}

static pith__lora_settings read_lora(const pith__training_params *p)
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

static pith_status run_align(run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    pith__align_settings s = {.pairs = (const char *const *)p->pairs.items,
                              .n_pairs = p->pairs.count,
                              .prompt_key = text_of(r, "prompt-key", p->prompt_key),
                              .completion_key = text_of(r, "completion-key", p->completion_key),
                              .format = text_of(r, "template", p->template_text),
                              .epochs = p->epochs,
                              .model = p->model,
                              .lora = read_lora(p),
                              .name = r->name,
                              .output = text_or_null(p->output),
                              .adapter = text_or_null(p->adapter),
                              .type = (pith__weight_type)p->type};
    PITH__TRY(need_list("pairs", &p->pairs, err));
    PITH__TRY(check_gguf(r, "model", p->model, err));
    if (s.lora.rank == 0 && (p->lora_matrices.count > 0 || p->lora_dropout > 0.0)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "lora-matrices and lora-dropout: without lora-rank all weights learn");
    }
    if (s.adapter == NULL) {
        PITH__TRY(need("output", p->output, err));
    } else if (s.lora.rank == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "adapter: there is none without lora-rank");
    }
    PITH__TRY(read_run(r, &s.run, err));
    PITH__TRY(read_length(r, &s.run.length, err));
    PITH__TRY(check_template(&s, err));
    PITH__TRY(begin(r, err));
    return pith__train_align(&s, &r->training->mem, err);
}

/* ---- recipe: evaluate --------------------------------------------------------------------------------- */

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

static pith_status make_table(const run *r, const pith__evaluation *results, size_t count,
                              pith__buf *out, pith_error *err)
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

static pith_status write_table(const run *r, const pith__buf *table, pith_error *err)
{
    const pith_training *t = r->training;
    pith__new_file file;
    if (!is_given(r->p->output)) {
        return t->write == NULL || t->write(t->write_user, table->data, table->size)
                   ? PITH_OK
                   : pith__fail(err, PITH_E_IO, "not all of the table could be written");
    }
    PITH__TRY(pith__new_file_open(r->p->output, &file, err));
    (void)pith__new_file_write(&file, table->data, table->size); /* commit reports a failure */
    return pith__new_file_commit(&file, err);
}

static pith_status run_evaluate(run *r, pith_error *err)
{
    const pith__training_params *p = r->p;
    const size_t count = p->data.count;
    const pith__evaluate_settings s = {.sources = r->sources,
                                       .n_sources = count,
                                       .model = p->model,
                                       .held_out_every = (uint32_t)p->held_out_every,
                                       .bytes = (uint64_t)p->evaluate_bytes,
                                       .length = (size_t)number_or(p->length, 0.0),
                                       .threads = thread_count(p),
                                       .folder = text_or_null(p->held_out_dir),
                                       .event = on_event,
                                       .event_user = r};
    pith__evaluation *results = NULL;
    pith__buf table;
    PITH__TRY(need_list("data", &p->data, err));
    PITH__TRY(check_gguf(r, "model", p->model, err));
    if (r->ranks.rank != 0) {
        return PITH_OK;
    }
    PITH__TRY(pith__arena_alloc(&r->arena, count + 1, sizeof *results, &results, err));
    PITH__TRY(pith__train_evaluate(&s, &r->training->mem, results, err));
    pith__buf_init(&table, &r->training->mem, SIZE_MAX);
    pith_status status = make_table(r, results, count, &table, err);
    if (status == PITH_OK) {
        status = write_table(r, &table, err);
    }
    pith__buf_deinit(&table);
    return status;
}

/* ---- life ------------------------------------------------------------------------------------------------- */

static const recipe recipes[] = {
    {"tokenizer", PITH__RECIPE_TOKENIZER, run_tokenizer},
    {"base", PITH__RECIPE_BASE, run_base},
    {"align", PITH__RECIPE_ALIGN, run_align},
    {"evaluate", PITH__RECIPE_EVALUATE, run_evaluate},
};

static const recipe *find_recipe(const char *name)
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
    const recipe *found = find_recipe(recipe_name);
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
    return pith__table_set(&training->table, &training->params, &training->mem, name, value, err);
}

pith_status pith_training_get(const pith_training *training, const char *name, char *value,
                              size_t size, pith_error *err)
{
    return pith__table_get(&training->table, &training->params, name, value, size, err);
}

size_t pith_training_param_count(const char *recipe_name)
{
    const recipe *found = find_recipe(recipe_name);
    if (found == NULL) {
        return 0;
    }
    const pith__param_table table = pith__training_table(found->bit);
    return pith__table_size(&table);
}

const pith_param_info *pith_training_param_at(const char *recipe_name, size_t index)
{
    const recipe *found = find_recipe(recipe_name);
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
    run r = {.training = training,
             .p = &training->params,
             .ranks = pith__ranks_get(),
             .log = {.descriptor = -1}};
    pith__arena_init(&r.arena, &training->mem);
    pith_status status = read_sources(&r, err);
    if (status == PITH_OK) {
        status = check_files(&r, err);
    }
    if (status == PITH_OK) {
        status = find_name(&r, err);
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
