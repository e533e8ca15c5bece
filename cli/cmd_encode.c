/*
 * cmd_encode.c: pith encode.
 */
#include "cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* GIST is what a model is trained for; any other is asked for CC. */
static pith_status encode(work *w, pith_error *err)
{
    const uint32_t method = w->settings->method;
    pith_status status = PITH_E_UNSUPPORTED;
    if (method != CLI_CAPSULE_CC) {
        status = encode_by(w, "gist", err);
    }
    return status == PITH_E_UNSUPPORTED && method != CLI_CAPSULE_GIST ? encode_by(w, "cc", err)
                                                                      : status;
}

/* ---- writing ----------------------------------------------------------------------------- */

/* What the file `path` holds goes to the output. */
static pith_status copy_to_output(work *w, const char *path, pith_error *err)
{
    cli_input file;
    pith_status status = cli_input_read(path, &file, err);
    if (status != PITH_OK) {
        return status;
    }
    w->file_bytes = file.size;
    if (!cli_write(w->out.file, file.data, file.size)) {
        status = cli_fail(err, PITH_E_IO, "%s: not all of the capsule could be written",
                          w->settings->output);
    }
    cli_input_free(&file);
    return status;
}

/* Where a file can be made that is gone again soon. */
static void name_passing_file(char *path, size_t size)
{
    const char *folder = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe): nobody sets it */
    (void)snprintf(path, size, "%s/pith.XXXXXX",
                   folder == NULL || folder[0] == '\0' ? "/tmp" : folder);
}

/* A capsule is saved under a name; the output, which may be a pipe, gets a copy. */
static pith_status save(work *w, pith_error *err)
{
    char path[4096];
    name_passing_file(path, sizeof path);
    const int fd = mkstemp(path);
    if (fd < 0) {
        char reason[128];
        return cli_fail(err, PITH_E_IO, "%s: %s", path,
                        cli_errno_text(errno, reason, sizeof reason));
    }
    (void)close(fd);
    pith_status status =
        pith_capsule_save(w->capsule, (pith_capsule_type)w->settings->capsule_type, path, err);
    if (status == PITH_OK) {
        status = copy_to_output(w, path, err);
    }
    (void)unlink(path);
    return status == PITH_OK ? cli_output_commit(&w->out, err) : status;
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
    const pith_status status = time_reading(w, &text, &w->text_seconds, err);
    return status != PITH_OK ? status : time_reading(w, &capsule, &w->capsule_seconds, err);
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
    (void)printf(",\"encode_seconds\":%.6g,\"read_text_seconds\":%.6g,"
                 "\"read_capsule_seconds\":%.6g,\"record\":%s}\n",
                 w->encode_seconds, w->text_seconds, w->capsule_seconds, info.record);
}

static void print_report(const work *w)
{
    const pith_capsule_info info = pith_capsule_describe(w->capsule);
    const pith_savings *s = &w->savings;
    cli_message("wrote '%s': %s, %lu slot%s for %llu token%s, in %.2f s; read in %.3g ms instead "
                "of %.3g; with a question of %lu, %.1f%% of the operations; a cache of %.1f KiB "
                "instead of %.1f",
                w->settings->output, info.method, (unsigned long)info.slots,
                info.slots == 1 ? "" : "s", (unsigned long long)info.source_tokens,
                info.source_tokens == 1 ? "" : "s", w->encode_seconds, 1e3 * w->capsule_seconds,
                1e3 * w->text_seconds, (unsigned long)w->settings->question_tokens,
                100.0 * s->flops_capsule / s->flops_full, (double)s->cache_capsule / 1024.0,
                (double)s->cache_full / 1024.0);
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
    status = measure(w, &err);
    if (status == PITH_OK) {
        status = save(w, &err);
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

int cli_run_encode(const cli_settings *settings)
{
    work w = {.settings = settings};
    if (settings->output == NULL || strcmp(settings->output, "-") == 0) {
        return cli_usage_error(settings, "expected --output FILE: a capsule is no text to print");
    }
    int code = cli_prompt_open(settings, &settings->input, settings->input != NULL ? 1 : 0, true,
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
