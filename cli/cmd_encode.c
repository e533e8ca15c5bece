/*
 * cmd_encode.c: pith encode.
 */
#include "cli.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Times are the best of so many. */
#define RUNS 3

typedef struct work {
    const cli_settings *settings;
    cli_prompt prompt; /* one text */
    cli_engine engine;
    cli_output out;
    pith_capsule *capsule;
    double encode_seconds;
    double text_seconds;    /* to read the text in full */
    double capsule_seconds; /* to read the capsule */
    size_t file_bytes;
    size_t segments; /* that the text was cut into */
    pith_savings savings;
} work;

/* ---- encoding ------------------------------------------------------------------------- */

static pith_status encode_by(work *w, const char *method, pith_error *err)
{
    const cli_input *input = w->prompt.inputs;
    const pith_status status = pith_ctx_set(w->engine.ctx, "method", method, err);
    return status != PITH_OK
               ? status
               : pith_encode(w->engine.ctx, input->data, input->size, &w->capsule, err);
}

/* Without a word about it: as the compressor does; else GIST is what a model is trained for, and any
 * other is asked for CC. */
static pith_status encode(work *w, pith_error *err)
{
    static const char *const names[] = {
        [CLI_CAPSULE_GIST] = "gist", [CLI_CAPSULE_CC] = "cc",         [CLI_CAPSULE_500X] = "500x",
        [CLI_CAPSULE_ICAE] = "icae", [CLI_CAPSULE_SELFCP] = "selfcp", [CLI_CAPSULE_MEAN] = "mean"};
    const uint32_t method = w->settings->method;
    const pith_compressor *compressor = w->engine.compressor;
    if (method != CLI_CAPSULE_AUTO) {
        return encode_by(w, names[method], err);
    }
    if (compressor != NULL) {
        return encode_by(w, pith_compressor_describe(compressor).method, err);
    }
    const pith_status status = encode_by(w, "gist", err);
    return status == PITH_E_UNSUPPORTED ? encode_by(w, "cc", err) : status;
}

/* The capsule's record says it, of a compressor's. */
static size_t count_segments(const pith_capsule *capsule)
{
    json_t *record = json_loads(pith_capsule_describe(capsule).record, 0, NULL);
    const json_int_t segments = json_integer_value(json_object_get(record, "segments"));
    json_decref(record);
    return segments < 1 ? 1 : (size_t)segments;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* A cli_save_fn; `user` is the work. */
static pith_status save_capsule(void *user, const char *path, pith_error *err)
{
    const work *w = user;
    return pith_capsule_save(w->capsule, (pith_capsule_type)w->settings->capsule_type, path, err);
}

/* ---- what it saves ---------------------------------------------------------------------- */

static pith_status time_reading(const work *w, const pith_piece *piece, double *seconds,
                                pith_error *err)
{
    for (size_t i = 0; i < RUNS; i++) {
        pith_scores *scores = NULL;
        const double start = cli_seconds();
        const pith_status status = pith_score_after(w->engine.ctx, piece, 1, "", 0, &scores, err);
        const double taken = cli_seconds() - start;
        pith_scores_free(scores);
        if (status != PITH_OK) {
            return status;
        }
        *seconds = i == 0 || taken < *seconds ? taken : *seconds;
    }
    return PITH_OK;
}

static pith_status measure(work *w, pith_error *err)
{
    const cli_input *input = w->prompt.inputs;
    const pith_piece text = {.text = input->data, .size = input->size};
    const pith_piece capsule = {.capsule = w->capsule};
    w->savings = pith_capsule_savings(w->capsule, w->engine.model, w->settings->question_tokens,
                                      (pith_capsule_type)w->settings->capsule_type);
    pith_status status = time_reading(w, &text, &w->text_seconds, err);
    if (status == PITH_E_CONTEXT) { /* in segments it was not too long */
        w->text_seconds = (double)NAN;
        status = PITH_OK;
    }
    return status != PITH_OK ? status : time_reading(w, &capsule, &w->capsule_seconds, err);
}

static double tokens_per_second(const work *w)
{
    const uint64_t tokens = pith_capsule_describe(w->capsule).source_tokens;
    return w->encode_seconds > 0.0 ? (double)tokens / w->encode_seconds : 0.0;
}

/* ---- report ------------------------------------------------------------------------------- */

static void write_json(const work *w)
{
    const pith_capsule_info info = pith_capsule_describe(w->capsule);
    const pith_savings *s = &w->savings;
    (void)printf("{\"output\":");
    cli_json_name(stdout, w->settings->output);
    (void)printf(",\"model\":");
    cli_json_name(stdout, w->engine.model_name);
    (void)printf(",\"method\":\"%s\",\"kind\":\"%s\",\"slots\":%lu,\"source_bytes\":%llu,"
                 "\"source_tokens\":%llu,\"source_sha256\":\"%s\"",
                 info.method, info.kind, (unsigned long)info.slots,
                 (unsigned long long)info.source_bytes, (unsigned long long)info.source_tokens,
                 info.source_sha256);
    (void)printf(",\"file_bytes\":%zu,\"stored_bytes\":%llu,\"cache_full_bytes\":%llu,"
                 "\"cache_capsule_bytes\":%llu",
                 w->file_bytes, (unsigned long long)s->stored_bytes,
                 (unsigned long long)s->cache_full, (unsigned long long)s->cache_capsule);
    (void)printf(",\"question_tokens\":%lu,\"flops_full\":%.9g,\"flops_capsule\":%.9g,"
                 "\"flops_cached\":%.9g",
                 (unsigned long)w->settings->question_tokens, s->flops_full, s->flops_capsule,
                 s->flops_cached);
    (void)printf(",\"segments\":%zu,\"encode_seconds\":%.6g,\"encode_tokens_per_second\":%.6g,"
                 "\"read_text_seconds\":",
                 w->segments, w->encode_seconds, tokens_per_second(w));
    cli_json_number(stdout, w->text_seconds, 6);
    (void)printf(",\"read_capsule_seconds\":%.6g,\"record\":%s}\n", w->capsule_seconds,
                 info.record);
}

static void print_report(const work *w)
{
    const pith_capsule_info info = pith_capsule_describe(w->capsule);
    const pith_savings *s = &w->savings;
    char segments[48] = "";
    char instead[48] = "; the text itself is too long for the model";
    if (w->segments > 1) {
        (void)snprintf(segments, sizeof segments, " in %zu segments", w->segments);
    }
    if (!isnan(w->text_seconds)) {
        (void)snprintf(instead, sizeof instead, " instead of %.3g", 1e3 * w->text_seconds);
    }
    cli_message(
        "wrote '%s': %s, %lu slot%s for %llu token%s%s, in %.2f s (%.0f tokens per "
        "second); read in %.3g ms%s; with a question of %lu, %.1f%% of the operations; a "
        "cache of %.1f KiB instead of %.1f",
        w->settings->output, info.method, (unsigned long)info.slots, info.slots == 1 ? "" : "s",
        (unsigned long long)info.source_tokens, info.source_tokens == 1 ? "" : "s", segments,
        w->encode_seconds, tokens_per_second(w), 1e3 * w->capsule_seconds, instead,
        (unsigned long)w->settings->question_tokens, 100.0 * s->flops_capsule / s->flops_full,
        (double)s->cache_capsule / 1024.0, (double)s->cache_full / 1024.0);
}

/* ---- together ----------------------------------------------------------------------------- */

static int encode_and_write(work *w)
{
    pith_error err;
    const cli_settings *settings = w->settings;
    const cli_input *input = w->prompt.inputs;
    const double start = cli_seconds();
    pith_status status = encode(w, &err);
    w->encode_seconds = cli_seconds() - start;
    cli_progress_clear(&w->engine.progress);
    if (status != PITH_OK) {
        return cli_report(input->name, &err, input->data, input->size);
    }
    w->segments = count_segments(w->capsule);
    status = measure(w, &err);
    if (status == PITH_OK) {
        status = cli_output_save(&w->out, save_capsule, w, &w->file_bytes, &err);
    }
    if (status != PITH_OK) {
        return cli_report(NULL, &err, NULL, 0);
    }
    if (settings->json == CLI_YES) {
        write_json(w);
    } else {
        print_report(w);
    }
    return 0;
}

/* Parameters of one method are not a compressor's. An exit code. */
static int check_assignments(const cli_settings *settings)
{
    static const struct {
        const char *name, *method;
    } others[] = {{"pool", "mean"}, {"steps", "cc"}, {"kl", "cc"}};
    for (size_t i = 0; settings->compressor != NULL && i < settings->assignment_count; i++) {
        const cli_assignment *a = &settings->assignments[i];
        for (size_t k = 0; k < sizeof others / sizeof others[0]; k++) {
            if (!a->from_environment && strcmp(a->param->name, others[k].name) == 0) {
                return cli_usage_error(settings, "--%s is for method %s, not for a compressor",
                                       others[k].name, others[k].method);
            }
        }
    }
    return 0;
}

/* An exit code. */
static int check_output(const cli_settings *settings)
{
    const int code = cli_output_check_models(settings);
    return code != 0 ? code : cli_output_check(settings, "text", settings->input);
}

/* What the options say together. */
static int check_settings(const cli_settings *settings)
{
    if (settings->output == NULL || strcmp(settings->output, "-") == 0) {
        return cli_usage_error(settings, "expected --output FILE: a capsule is no text to print");
    }
    const uint32_t method = settings->method;
    const bool is_given = settings->compressor != NULL;
    const bool is_needed =
        method == CLI_CAPSULE_500X || method == CLI_CAPSULE_ICAE || method == CLI_CAPSULE_SELFCP;
    if (is_needed && !is_given) {
        return cli_usage_error(
            settings, "expected --compressor FILE: methods 500x, icae and selfcp need one");
    }
    return is_needed || !is_given || method == CLI_CAPSULE_AUTO
               ? 0
               : cli_usage_error(settings, "--compressor is for methods 500x, icae and selfcp");
}

int cli_run_encode(const cli_settings *settings)
{
    work w = {.settings = settings};
    int code = check_settings(settings);
    if (code == 0) {
        code = check_assignments(settings);
    }
    if (code == 0) {
        code = check_output(settings);
    }
    if (code != 0) {
        return code;
    }
    code = cli_prompt_open(settings, &settings->input, settings->input != NULL ? 1 : 0, true,
                           &w.prompt);
    if (code == 0) {
        code = cli_engine_open(settings, &w.engine);
    }
    pith_error err;
    if (code == 0 && cli_output_open(settings->output, &w.out, &err) != PITH_OK) {
        code = cli_report(NULL, &err, NULL, 0); /* before anything takes long */
    }
    if (code == 0) {
        code = encode_and_write(&w);
    }
    cli_output_discard(&w.out);
    pith_capsule_free(w.capsule);
    cli_engine_close(&w.engine);
    cli_prompt_free(&w.prompt);
    return code;
}
