/*
 * job.c: what compressing and scoring one prompt have in common.
 */
#include "cli.h"

/* Refuses options that exclude each other. */
static int check(const cli_settings *settings)
{
    const bool json = settings->json == CLI_YES;
    const bool jsonl = settings->jsonl == CLI_YES;
    const bool heat = settings->heat == CLI_YES;
    if (json && jsonl) {
        return cli_usage_error(settings, "--json and --jsonl exclude each other");
    }
    if (jsonl && (heat || settings->html != NULL || settings->prompt != NULL ||
                  settings->contexts.count > 0)) {
        return cli_usage_error(settings, "--jsonl excludes --heat, --html, --prompt and --context");
    }
    if (json && heat && settings->output == NULL) {
        return cli_usage_error(settings, "--json and --heat together need --output");
    }
    return 0;
}

/* Reads the prompt, opens model and outputs. To be closed either way. */
static int open_job(const cli_settings *settings, cli_job *out)
{
    pith_error err;
    *out = (cli_job){.settings = settings};
    int code = cli_prompt_open(settings, &settings->input, settings->input != NULL ? 1 : 0, true,
                               &out->prompt);
    if (code == 0) {
        code = cli_engine_open(settings, &out->engine);
    }
    if (code != 0) {
        return code;
    }
    if (cli_output_open(settings->output, &out->out, &err) != PITH_OK ||
        (settings->html != NULL && cli_output_open(settings->html, &out->html, &err) != PITH_OK)) {
        return cli_report(NULL, &err, NULL, 0);
    }
    return 0;
}

FILE *cli_job_heat_file(const cli_job *job)
{
    return job->settings->output == NULL ? job->out.file : stderr;
}

bool cli_job_wants_result(const cli_job *job)
{
    return job->settings->heat != CLI_YES || job->settings->output != NULL;
}

pith_status cli_job_commit(cli_job *job, pith_error *err)
{
    if (job->html.file != NULL) {
        const pith_status status = cli_output_commit(&job->html, err);
        if (status != PITH_OK) {
            return status;
        }
    }
    return cli_output_commit(&job->out, err);
}

/* Releases everything; removes outputs that were not committed. */
static void close_job(cli_job *job)
{
    cli_output_discard(&job->out);
    cli_output_discard(&job->html);
    cli_engine_close(&job->engine);
    cli_prompt_free(&job->prompt);
}

int cli_job_run(const cli_settings *settings, const cli_work *work)
{
    cli_job job;
    int code = check(settings);
    if (code != 0 || settings->jsonl == CLI_YES) {
        return code != 0 ? code : cli_records_run(settings, work->record, work->takes_parts);
    }
    code = open_job(settings, &job);
    if (code == 0) {
        code = work->one(&job);
    }
    close_job(&job);
    return code;
}
