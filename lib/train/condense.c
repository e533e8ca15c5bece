/*
 * condense.c: recipes cc and distill: a text and a model file in, a capsule or an adapter out.
 */
#include "text/text.h"
#include "train/distill.h"

#include "train/frozen.h"
#include "train/log.h"
#include "train/run.h"

#include <string.h>

/* Of the continuations, so many are made besides to judge by. */
#define HELD_OUT_SHARE 10
#define HELD_OUT_LEAST 8

/* A record is short, but for names of files. */
#define RECORD_MAX ((size_t)1 << 20)

typedef struct condense {
    const pith__condense_settings *settings;
    pith_allocator mem;
    pith__distill_settings distill; /* with everything filled in */
    pith__distill_report *report;
    pith__file context_file; /* mapped, if there is one */
    pith__frozen base;
    const char *text; /* (text_size) the context */
    size_t text_size;
    pith__arena arena;
    pith__weights learned;
} condense;

/* ---- model and context ----------------------------------------------------------------------- */

static pith_status open_model(condense *c, pith_error *err)
{
    const pith__condense_settings *s = c->settings;
    return pith__frozen_open(s->model, s->data, s->data_size, &c->mem, &c->base, err);
}

static pith_status read_text(condense *c, pith_error *err)
{
    const pith__condense_settings *s = c->settings;
    c->text = s->text;
    c->text_size = s->text_size;
    if (s->context != NULL) {
        PITH__TRY(pith__file_open(s->context, &c->context_file, err));
        c->text = (const char *)c->context_file.data;
        c->text_size = c->context_file.size;
        size_t bad = 0;
        if (!pith__utf8_check(c->text, c->text_size, &bad)) {
            return pith__fail_at(err, PITH_E_UTF8, bad, "%s is not valid UTF-8 at byte %zu",
                                 s->context, bad);
        }
    }
    return c->text_size > 0 ? PITH_OK
                            : pith__fail(err, PITH_E_ARGUMENT, "the context to condense is empty");
}

static pith_status tokenise(condense *c, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&c->arena);
    pith__tokens tokens = {0};
    uint32_t *ids = NULL;
    PITH__TRY(pith__tokenizer_encode(c->base.tokenizer, c->text, c->text_size, false, &mem, &tokens,
                                     err));
    PITH__TRY(pith__arena_alloc(&c->arena, tokens.count, sizeof *ids, &ids, err));
    for (size_t i = 0; i < tokens.count; i++) {
        ids[i] = tokens.items[i].id;
    }
    c->distill.context = ids;
    c->distill.n_context = tokens.count;
    return PITH_OK;
}

/* Before anything takes long. */
static pith_status check(const condense *c, bool wants_capsule, pith_error *err)
{
    const pith__condense_settings *s = c->settings;
    const bool soft = s->distill.into == PITH__DISTILL_SOFT_PROMPT;
    if (s->output == NULL && !(soft && wants_capsule)) {
        return pith__fail(err, PITH_E_ARGUMENT, "no file for the %s", soft ? "capsule" : "adapter");
    }
    if (soft && (s->distill.slots == 0 || s->distill.slots > UINT32_MAX)) {
        return pith__fail(err, PITH_E_ARGUMENT, "a soft prompt of %zu slots", s->distill.slots);
    }
    if (!soft && s->distill.lora.rank == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "an adapter needs a rank above 0");
    }
    if (s->continuations == 0 || s->distill.run.length == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "%zu continuations of %zu tokens", s->continuations,
                          s->distill.run.length);
    }
    if (s->n_sources == 0 && !(s->temperature > 0.0)) { /* else they would all be the same */
        return pith__fail(err, PITH_E_ARGUMENT, "temperature %g, must be above 0", s->temperature);
    }
    return PITH_OK;
}

static pith_status check_lengths(const condense *c, pith_error *err)
{
    const pith__distill_settings *d = &c->distill;
    const bool soft = d->into == PITH__DISTILL_SOFT_PROMPT;
    PITH__TRY(
        pith__distill_fits(&c->base.model, d->bos, "a context", d->n_context, d->run.length, err));
    return pith__distill_fits(&c->base.model, d->bos, "a soft prompt", soft ? d->slots : 0,
                              d->run.length, err);
}

/* ---- continuations --------------------------------------------------------------------------- */

/* What the model would end a text with; PITH__NO_ID is PITH__TOKEN_NONE. */
static pith_status imagine(condense *c, size_t held_out, pith_error *err)
{
    const pith__condense_settings *s = c->settings;
    pith__distill_settings *d = &c->distill;
    const pith__imagine_settings settings = {.model = &c->base.model,
                                             .threads = d->run.threads,
                                             .bos = d->bos,
                                             .context = d->context,
                                             .n_context = d->n_context,
                                             .count = s->continuations + held_out,
                                             .length = d->run.length,
                                             .temperature = s->temperature,
                                             .seed = d->run.seed,
                                             .end = pith__document_end(c->base.tokenizer),
                                             .progress = s->progress,
                                             .progress_user = s->progress_user};
    pith__id_lists all;
    PITH__TRY(pith__distill_imagine(&settings, &c->arena, &all, err));
    d->training = (pith__id_lists){all.ids, all.starts, s->continuations};
    d->held_out = (pith__id_lists){all.ids, all.starts + s->continuations, held_out};
    return PITH_OK;
}

static pith_status make_continuations(condense *c, pith_error *err)
{
    const pith__condense_settings *s = c->settings;
    const size_t share = s->continuations / HELD_OUT_SHARE;
    const size_t held_out = share < HELD_OUT_LEAST ? HELD_OUT_LEAST : share;
    if (s->n_sources == 0) {
        return imagine(c, held_out, err);
    }
    const pith__excerpts excerpts = {.tokenizer = c->base.tokenizer,
                                     .sources = s->sources,
                                     .n_sources = s->n_sources,
                                     .count = s->continuations,
                                     .n_held_out = held_out,
                                     .length = c->distill.run.length,
                                     .seed = c->distill.run.seed};
    return pith__distill_excerpts(&excerpts, &c->arena, &c->distill.training, &c->distill.held_out,
                                  err);
}

/* ---- results --------------------------------------------------------------------------------- */

/* A name without folders: where a file lies is nobody else's business. */
static pith_status append_name(pith__buf *out, const char *path, pith_error *err)
{
    const char *slash = strrchr(path, '/');
    return pith__train_log_string(out, slash == NULL ? path : slash + 1, err);
}

static pith_status append_continuations(const condense *c, pith__buf *out, pith_error *err)
{
    const pith__condense_settings *s = c->settings;
    const pith__distill_settings *d = &c->distill;
    PITH__TRY(pith__buf_printf(out, err,
                               "\"continuations\": %zu, \"held_out\": %zu, \"length\": %zu, ",
                               d->training.count, d->held_out.count, d->run.length));
    if (s->n_sources == 0) {
        return pith__buf_printf(out, err, "\"from\": \"imagined\", \"temperature\": %.9g, ",
                                s->temperature);
    }
    for (size_t i = 0; i < s->n_sources; i++) {
        PITH__TRY(pith__buf_append_text(out, i == 0 ? "\"from\": [" : ", ", err));
        PITH__TRY(append_name(out, s->sources[i].path, err));
    }
    return pith__buf_append_text(out, "], ", err);
}

/* How it was made, and how it did. No times: the same run gives the same bytes. */
static pith_status write_record(const condense *c, pith__buf *out, pith_error *err)
{
    const pith__distill_settings *d = &c->distill;
    const pith__run_settings *run = &d->run;
    const pith__distill_report *report = c->report;
    PITH__TRY(pith__buf_printf(
        out, err,
        "{\"method\": \"cc\", \"pith\": \"%s\", \"kl\": \"%s\", \"first_token\": %s, "
        "\"start\": \"%s\", \"steps\": %llu, \"rate\": %.9g, \"batch\": %zu, \"seed\": %llu, ",
        pith_version(), d->direction == PITH__KL_FORWARD ? "forward" : "reverse",
        d->first_token ? "true" : "false",
        d->start == PITH__SOFT_START_CHUNKS ? "chunks" : "vocabulary",
        (unsigned long long)run->steps, run->optimizer.rate, run->batch,
        (unsigned long long)run->seed));
    PITH__TRY(append_continuations(c, out, err));
    return pith__buf_printf(out, err,
                            "\"report\": {\"kl_none\": %.9g, \"kl_start\": %.9g, \"kl\": %.9g, "
                            "\"tokens\": %llu}}",
                            report->kl_none, report->kl_start, report->kl,
                            (unsigned long long)report->tokens);
}

static pith_status add_record(const condense *c, pith__capsule *capsule, pith_error *err)
{
    pith__buf record;
    pith__buf_init(&record, &c->mem, RECORD_MAX);
    pith_status status = write_record(c, &record, err);
    if (status == PITH_OK) {
        status = pith__capsule_set_record(capsule, record.data, record.size, err);
    }
    pith__buf_deinit(&record);
    return status;
}

static pith_status make_capsule(const condense *c, pith__capsule **out, pith_error *err)
{
    const pith__distill_settings *d = &c->distill;
    PITH__TRY(pith__capsule_new(PITH__CAPSULE_EMBEDDINGS, "cc", (uint32_t)d->slots, 0,
                                c->base.model.config.width, &c->mem, out, err));
    pith__capsule *capsule = *out;
    const pith__weight *rows = pith__weights_find(&c->learned, "soft_prompt");
    if (rows == NULL) {
        return pith__fail(err, PITH_E_INTERNAL, "nothing was learned");
    }
    memcpy(capsule->embeddings, c->learned.values + rows->at,
           d->slots * c->base.model.config.width * sizeof *capsule->embeddings);
    capsule->source_bytes = c->text_size;
    capsule->source_tokens = d->n_context;
    pith__sha256_of(c->text, c->text_size, capsule->source_sha256);
    capsule->bos = d->bos != PITH__NO_ID;
    memcpy(capsule->binding.model, c->base.sha256, sizeof capsule->binding.model);
    pith__tokenizer_sha256(c->base.tokenizer, capsule->binding.tokenizer);
    return add_record(c, capsule, err);
}

static pith_status hand_out_capsule(const condense *c, pith__capsule **out, pith_error *err)
{
    const char *output = c->settings->output;
    pith__capsule *capsule = NULL;
    pith_status status = make_capsule(c, &capsule, err);
    if (status == PITH_OK && output != NULL && pith__ranks_get().rank == 0) {
        status = pith__capsule_save(capsule, c->settings->type, output, err);
    }
    if (status == PITH_OK && out != NULL) {
        *out = capsule;
        return PITH_OK;
    }
    pith__capsule_free(capsule);
    return status;
}

static pith_status write_adapter(const condense *c, pith_error *err)
{
    const pith__condense_settings *s = c->settings;
    const pith__lora_settings *settings = &s->distill.lora;
    if (pith__ranks_get().rank != 0) {
        return PITH_OK;
    }
    pith__lora lora;
    PITH__TRY(pith__lora_of(&c->base.model.config, &c->learned, (float)settings->alpha,
                            (float)settings->dropout, &c->mem, &lora, err));
    const pith_status status =
        pith__lora_save(&lora, &c->base.model.config, s->name == NULL ? "" : s->name,
                        c->base.sha256, s->output, err);
    pith__lora_deinit(&lora);
    return status;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Everything but what is learned. */
static pith_status set_up(condense *c, bool wants_capsule, pith_error *err)
{
    const pith__condense_settings *s = c->settings;
    pith__distill_settings *d = &c->distill;
    PITH__TRY(check(c, wants_capsule, err));
    PITH__TRY(open_model(c, err));
    PITH__TRY(read_text(c, err));
    PITH__TRY(tokenise(c, err));
    d->model = &c->base.model;
    d->bos = s->no_bos ? PITH__NO_ID : pith__tokenizer_bos(c->base.tokenizer);
    d->run.schedule.total = d->run.steps;
    d->fingerprint = c->base.sha256;
    PITH__TRY(pith__run_check(&d->run, c->base.model.config.context, err));
    PITH__TRY(check_lengths(c, err));
    return make_continuations(c, err);
}

static pith_status run(condense *c, pith__capsule **capsule, pith_error *err)
{
    PITH__TRY(pith__ranks_agree(set_up(c, capsule != NULL, err), err));
    PITH__TRY(pith__distill(&c->distill, &c->mem, &c->learned, c->report, err));
    const pith_status status = c->distill.into == PITH__DISTILL_SOFT_PROMPT
                                   ? hand_out_capsule(c, capsule, err)
                                   : write_adapter(c, err);
    return pith__ranks_agree(status, err);
}

static void deinit(condense *c)
{
    pith__weights_deinit(&c->learned);
    pith__arena_deinit(&c->arena);
    pith__frozen_close(&c->base);
    pith__file_close(&c->context_file);
}

pith_status pith__train_condense(const pith__condense_settings *settings, const pith_allocator *mem,
                                 pith__capsule **capsule, pith__distill_report *report,
                                 pith_error *err)
{
    pith__distill_report own;
    condense c = {.settings = settings,
                  .mem = *mem,
                  .distill = settings->distill,
                  .report = report == NULL ? &own : report};
    if (capsule != NULL) {
        *capsule = NULL;
    }
    pith__arena_init(&c.arena, mem);
    pith__weights_init(&c.learned, mem);
    const pith_status status = run(&c, capsule, err);
    deinit(&c);
    if (status != PITH_OK && capsule != NULL) {
        pith__capsule_free(*capsule); /* made here, though another process failed */
        *capsule = NULL;
    }
    return status;
}
