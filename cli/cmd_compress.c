/*
 * cmd_compress.c: pith compress.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A cli_record_fn. */
static pith_status compress_record(cli_engine *engine, const cli_settings *settings,
                                   const pith_part *parts, size_t count, FILE *file,
                                   cli_tally *tally, pith_error *err)
{
    pith_result *result = NULL;
    const pith_status status = pith_compress_parts(engine->ctx, parts, count, &result, err);
    if (status == PITH_OK) {
        const pith_stats stats = pith_result_stats(result);
        tally->source_tokens += stats.source_tokens;
        tally->kept_tokens += stats.kept_tokens;
        (void)fputc(',', file);
        cli_result_write_members(file, engine, settings, NULL, result);
    }
    pith_result_free(result);
    return status;
}

/* ---- one prompt ------------------------------------------------------------------ */

/* An empty result may be right, but nobody expects it. */
static void warn_if_empty(const pith_stats *stats)
{
    if (stats->units > 0 && stats->units_kept == 0 && stats->budget_tokens > 0 &&
        stats->budget_tokens < SIZE_MAX) {
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
    const double rate = cli_rate_of(stats->source_tokens, stats->kept_tokens);
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

/* "report.txt", or "3 contexts". Returns `out` or a borrowed name. */
static const char *title_of(const cli_prompt *prompt, char *out, size_t size)
{
    const char *name = NULL;
    size_t contexts = 0;
    for (size_t i = 0; i < prompt->count; i++) {
        if (prompt->parts[i].role == PITH_CONTEXT) {
            name = prompt->inputs[i].name;
            contexts++;
        }
    }
    if (contexts == 1) {
        return name;
    }
    (void)snprintf(out, size, "%zu contexts", contexts);
    return out;
}

static pith_status write_pictures(const cli_job *job, const pith_result *result, pith_error *err)
{
    if (job->settings->heat != CLI_YES && job->html.file == NULL) {
        return PITH_OK;
    }
    size_t size = 0;
    size_t count = 0;
    size_t range_count = 0;
    const char *text = pith_result_source(result, &size);
    const pith_unit *units = pith_result_units(result, &count);
    const pith_range *in_order = pith_result_ranges(result, &range_count);
    pith_range *ranges = cli_ranges_sorted(in_order, range_count); /* contexts may be reordered */
    pith_status status =
        ranges != NULL ? PITH_OK : cli_fail(err, PITH_E_MEMORY, "no memory for the heat map");
    if (status == PITH_OK && job->settings->heat == CLI_YES) {
        FILE *file = cli_job_heat_file(job);
        status = pith_render_ansi(text, size, units, count, ranges, range_count,
                                  cli_use_color(job->settings, file), cli_write, file, err);
    }
    if (status == PITH_OK && job->html.file != NULL) {
        char title[32];
        const pith_stats stats = pith_result_stats(result);
        status = pith_render_html(text, size, units, count, ranges, range_count, &stats,
                                  title_of(&job->prompt, title, sizeof title), cli_write,
                                  job->html.file, err);
    }
    free(ranges);
    return status;
}

/* What fails to be written here is seen by cli_job_commit(). */
static void write_result(const cli_job *job, const pith_result *result)
{
    FILE *file = job->out.file;
    if (job->settings->json == CLI_YES) {
        (void)fputc('{', file);
        cli_result_write_members(file, &job->engine, job->settings, &job->prompt, result);
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

/* What is said once the result is where it should be. */
static void print_report(const cli_job *job, const pith_result *result)
{
    const pith_stats stats = pith_result_stats(result);
    warn_if_empty(&stats);
    print_statistics(job, &stats);
    if (job->settings->verbose == CLI_YES) {
        cli_result_write_parts(stderr, &job->prompt, result);
    }
}

static int compress_and_write(cli_job *job)
{
    pith_result *result = NULL;
    pith_error err;
    pith_status status =
        pith_compress_parts(job->engine.ctx, job->prompt.parts, job->prompt.count, &result, &err);
    cli_progress_clear(&job->engine.progress);
    if (status != PITH_OK) {
        return cli_prompt_report(&job->prompt, &err);
    }
    if (cli_job_wants_result(job)) {
        write_result(job, result);
    }
    status = write_pictures(job, result, &err);
    if (status == PITH_OK) {
        status = cli_job_commit(job, &err);
    }
    if (status == PITH_OK) {
        print_report(job, result);
    }
    pith_result_free(result);
    return status == PITH_OK ? 0 : cli_report(NULL, &err, NULL, 0);
}

int cli_run_compress(const cli_settings *settings)
{
    const cli_work work = {
        .record = compress_record, .takes_parts = true, .one = compress_and_write};
    return cli_job_run(settings, &work);
}
