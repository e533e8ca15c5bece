/*
 * engine.c: opens what compressing and scoring need.
 */
#include "cli.h"

#include <string.h>

static void log_line(void *user, pith_log_level level, const char *message)
{
    const cli_engine *engine = user;
    if (level == PITH_LOG_WARNING || engine->verbose) {
        cli_message("%s", message);
    }
}

bool cli_param_is_preset(const pith_param_info *param)
{
    return strcmp(param->name, "preset") == 0;
}

/* The last preset given, or NULL. */
static const cli_assignment *find_preset(const cli_settings *settings)
{
    for (size_t i = settings->assignment_count; i-- > 0;) {
        if (cli_param_is_preset(settings->assignments[i].param)) {
            return &settings->assignments[i];
        }
    }
    return NULL;
}

/* An exit code. */
static int set(cli_engine *engine, const cli_assignment *assignment)
{
    pith_error err;
    return pith_ctx_set(engine->ctx, assignment->param->name, assignment->value, &err) == PITH_OK
               ? 0
               : cli_report_assignment(assignment, &err);
}

int cli_engine_configure(cli_engine *engine, const cli_settings *settings)
{
    pith_ctx_reset(engine->ctx);
    const cli_assignment *preset = find_preset(settings);
    int code = preset != NULL ? set(engine, preset) : 0;
    for (size_t i = 0; code == 0 && i < settings->assignment_count; i++) {
        const cli_assignment *assignment = &settings->assignments[i];
        if (!cli_param_is_preset(assignment->param)) {
            code = set(engine, assignment);
        }
    }
    return code;
}

const char *cli_engine_param(const cli_engine *engine, const char *name,
                             char value[PITH_VALUE_SIZE])
{
    return pith_ctx_get(engine->ctx, name, value, PITH_VALUE_SIZE, NULL) == PITH_OK ? value : "";
}

static int open_counter(cli_engine *engine, const cli_settings *settings)
{
    pith_error err;
    engine->counter_name = engine->model_name;
    if (settings->count_with == NULL) {
        return 0;
    }
    if (pith_tokenizer_open(settings->count_with, NULL, &engine->counter, &err) != PITH_OK) {
        return cli_report(settings->count_with, &err, NULL, 0);
    }
    engine->counter_name = settings->count_with;
    pith_ctx_set_counter(engine->ctx, engine->counter);
    return 0;
}

static int open_compressor(cli_engine *engine, const cli_settings *settings)
{
    pith_error err;
    if (settings->compressor == NULL) {
        return 0;
    }
    pith_status status =
        pith_compressor_open(settings->compressor, engine->model, &engine->compressor, &err);
    if (status == PITH_OK) {
        status = pith_ctx_set_compressor(engine->ctx, engine->compressor, &err);
    }
    return status == PITH_OK ? 0 : cli_report(settings->compressor, &err, NULL, 0);
}

int cli_engine_open(const cli_settings *settings, cli_engine *out)
{
    pith_error err;
    *out = (cli_engine){.verbose = settings->verbose == CLI_YES,
                        .progress = cli_progress_start(settings)};
    const pith_model_options options = {
        .struct_size = sizeof options,
        .log = log_line,
        .log_user = out,
        .precision = (pith_precision)settings->precision,
        .lora = settings->lora,
    };
    if (pith_model_open(settings->model, &options, &out->model, &err) != PITH_OK) {
        return cli_report(settings->model == NULL ? "built-in model" : settings->model, &err, NULL,
                          0);
    }
    const char *name = pith_model_describe(out->model).name;
    out->model_name = name[0] != '\0'           ? name
                      : settings->model == NULL ? "built-in"
                                                : settings->model;
    if (pith_ctx_new(out->model, &out->ctx, &err) != PITH_OK) {
        return cli_report(NULL, &err, NULL, 0);
    }
    if (out->progress.on) {
        pith_ctx_set_progress(out->ctx, cli_progress_show, &out->progress);
    }
    int code = cli_engine_configure(out, settings);
    if (code == 0) {
        code = open_counter(out, settings);
    }
    return code != 0 ? code : open_compressor(out, settings);
}

void cli_engine_close(cli_engine *engine)
{
    pith_ctx_free(engine->ctx);
    pith_tokenizer_free(engine->counter);
    pith_compressor_free(engine->compressor);
    pith_model_free(engine->model);
    *engine = (cli_engine){0};
}
