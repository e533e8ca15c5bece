/*
 * cmd_compress.c: pith compress.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* 1 for an empty text: nothing was dropped. */
static double rate_of(size_t source, size_t kept)
{
    return source == 0 ? 1.0 : (double)kept / (double)source;
}

/* ---- JSON ------------------------------------------------------------------- */

static void write_string_member(FILE *file, const char *key, const char *value)
{
    (void)fprintf(file, ",\"%s\":", key);
    cli_json_string(file, value, strlen(value));
}

/* What holds for this text: a record may have set its own. */
static void write_param_member(FILE *file, const cli_engine *engine, const char *name)
{
    char value[PITH_VALUE_SIZE];
    write_string_member(file, name, cli_engine_param(engine, name, value));
}

static void write_ranges(FILE *file, const pith_result *result)
{
    size_t count = 0;
    const pith_range *ranges = pith_result_ranges(result, &count);
    (void)fputs(",\"ranges\":[", file);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(file, "%s[%zu,%zu]", i == 0 ? "" : ",", ranges[i].start, ranges[i].end);
    }
    (void)fputc(']', file);
}

static void write_stats(FILE *file, const pith_stats *stats)
{
    (void)fputs(",\"stats\":{\"budget_tokens\":", file);
    if (stats->budget_tokens == SIZE_MAX) {
        (void)fputs("null", file);
    } else {
        (void)fprintf(file, "%zu", stats->budget_tokens);
    }
    (void)fprintf(file,
                  ",\"scored_tokens\":%zu,\"forward_tokens\":%zu,\"units\":%zu,\"units_kept\":%zu,"
                  "\"units_protected\":%zu",
                  stats->scored_tokens, stats->forward_tokens, stats->units, stats->units_kept,
                  stats->units_protected);
    (void)fputs(",\"score_seconds\":", file);
    cli_json_number(file, stats->score_seconds, 6);
    (void)fputs(",\"select_seconds\":", file);
    cli_json_number(file, stats->select_seconds, 6);
    (void)fputc('}', file);
}

/* All units, kept or not, with what they were judged by. */
static void write_units(FILE *file, const pith_result *result)
{
    size_t count = 0;
    const pith_unit *units = pith_result_units(result, &count);
    (void)fputs(",\"units\":[", file);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(file, "%s{\"start\":%zu,\"end\":%zu,\"nats\":", i == 0 ? "" : ",",
                      units[i].start, units[i].end);
        cli_json_number(file, (double)units[i].nats, 6);
        (void)fprintf(file, ",\"tokens\":%u,\"kept\":%s,\"protected\":%s}", units[i].tokens,
                      units[i].kept ? "true" : "false", units[i].is_protected ? "true" : "false");
    }
    (void)fputc(']', file);
}

/* Everything between the braces. */
static void write_members(FILE *file, const cli_engine *engine, const cli_settings *settings,
                          const pith_result *result)
{
    const pith_stats stats = pith_result_stats(result);
    cli_json_text(file, "text", pith_result_text(result), pith_result_size(result));
    write_param_member(file, engine, "method");
    write_param_member(file, engine, "mode");
    write_param_member(file, engine, "level");
    write_string_member(file, "model", engine->model_name);
    (void)fputs(",\"rate\":", file);
    cli_json_number(file, rate_of(stats.source_tokens, stats.kept_tokens), 9);
    (void)fprintf(file, ",\"source_tokens\":%zu,\"kept_tokens\":%zu", stats.source_tokens,
                  stats.kept_tokens);
    write_string_member(file, "counted_with", engine->counter_name);
    write_ranges(file, result);
    write_stats(file, &stats);
    if (settings->units == CLI_YES) {
        write_units(file, result);
    }
}

/* A cli_record_fn. */
static pith_status compress_record(cli_engine *engine, const cli_settings *settings,
                                   const char *text, size_t size, FILE *file, cli_tally *tally,
                                   pith_error *err)
{
    pith_result *result = NULL;
    const pith_status status = pith_compress(engine->ctx, text, size, &result, err);
    if (status == PITH_OK) {
        const pith_stats stats = pith_result_stats(result);
        tally->source_tokens += stats.source_tokens;
        tally->kept_tokens += stats.kept_tokens;
        (void)fputc(',', file);
        write_members(file, engine, settings, result);
    }
    pith_result_free(result);
    return status;
}

/* ---- one text ------------------------------------------------------------------ */

/* An empty result may be right, but nobody expects it. */
static void warn_if_empty(const pith_stats *stats)
{
    if (stats->units > 0 && stats->units_kept == 0 && stats->budget_tokens > 0) {
        cli_message("nothing was kept: no unit fits into %zu tokens; a smaller --level may",
                    stats->budget_tokens);
    }
}

static void print_statistics(const cli_job *job, const pith_stats *stats)
{
    const cli_settings *settings = job->settings;
    if (settings->verbose != CLI_YES && isatty(STDERR_FILENO) == 0) {
        return;
    }
    const double rate = rate_of(stats->source_tokens, stats->kept_tokens);
    char method[PITH_VALUE_SIZE];
    char level[PITH_VALUE_SIZE];
    cli_message("%zu -> %zu tokens (rate %.3f, %.2fx) in %.2f s, %s, level %s",
                stats->source_tokens, stats->kept_tokens, rate, rate > 0.0 ? 1.0 / rate : 0.0,
                stats->score_seconds + stats->select_seconds,
                cli_engine_param(&job->engine, "method", method),
                cli_engine_param(&job->engine, "level", level));
    if (settings->verbose == CLI_YES) {
        cli_message("%zu of %zu units kept, %zu protected; %zu tokens scored, %zu forwarded; "
                    "model %.3f s, the rest %.3f s",
                    stats->units_kept, stats->units, stats->units_protected, stats->scored_tokens,
                    stats->forward_tokens, stats->score_seconds, stats->select_seconds);
    }
}

static pith_status write_pictures(const cli_job *job, const pith_result *result, pith_error *err)
{
    const cli_input *input = &job->input;
    size_t count = 0;
    size_t range_count = 0;
    const pith_unit *units = pith_result_units(result, &count);
    const pith_range *ranges = pith_result_ranges(result, &range_count);
    pith_status status = PITH_OK;
    if (job->settings->heat == CLI_YES) {
        FILE *file = cli_job_heat_file(job);
        status = pith_render_ansi(input->data, input->size, units, count, ranges, range_count,
                                  cli_use_color(job->settings, file), cli_write, file, err);
    }
    if (status == PITH_OK && job->html.file != NULL) {
        const pith_stats stats = pith_result_stats(result);
        status = pith_render_html(input->data, input->size, units, count, ranges, range_count,
                                  &stats, input->name, cli_write, job->html.file, err);
    }
    return status;
}

/* What fails to be written here is seen by cli_job_commit(). */
static void write_result(const cli_job *job, const pith_result *result)
{
    FILE *file = job->out.file;
    if (job->settings->json == CLI_YES) {
        (void)fputc('{', file);
        write_members(file, &job->engine, job->settings, result);
        (void)fputs("}\n", file);
    } else {
        const size_t size = pith_result_size(result);
        (void)fwrite(pith_result_text(result), 1, size, file);
        /* on a terminal the prompt would stick to it; files and pipes get the bytes alone */
        if (size > 0 && pith_result_text(result)[size - 1] != '\n' && isatty(fileno(file)) != 0) {
            (void)fputc('\n', file);
        }
    }
}

static int compress_and_write(cli_job *job)
{
    pith_result *result = NULL;
    pith_error err;
    pith_status status =
        pith_compress(job->engine.ctx, job->input.data, job->input.size, &result, &err);
    cli_progress_clear(&job->engine.progress);
    if (status != PITH_OK) {
        return cli_report(job->input.name, &err, job->input.data, job->input.size);
    }
    if (cli_job_wants_result(job)) {
        write_result(job, result);
    }
    status = write_pictures(job, result, &err);
    if (status == PITH_OK) {
        status = cli_job_commit(job, &err);
    }
    const pith_stats stats = pith_result_stats(result);
    pith_result_free(result);
    if (status != PITH_OK) {
        return cli_report(NULL, &err, NULL, 0);
    }
    warn_if_empty(&stats);
    print_statistics(job, &stats);
    return 0;
}

int cli_run_compress(const cli_settings *settings)
{
    return cli_job_run(settings, compress_record, compress_and_write);
}
