/*
 * cmd_inspect.c: pith inspect.
 */
#include "cli.h"

int cli_run_inspect(const cli_settings *settings)
{
    cli_output out;
    pith_error err;
    if (cli_output_open(settings->output, &out, &err) != PITH_OK) {
        return cli_report(NULL, &err, NULL, 0);
    }
    int code = 0;
    if (pith_inspect(settings->input, settings->json == CLI_YES, cli_write, out.file, &err) !=
        PITH_OK) {
        code = cli_report(settings->input, &err, NULL, 0);
    } else if (cli_output_commit(&out, &err) != PITH_OK) {
        code = cli_report(NULL, &err, NULL, 0);
    }
    cli_output_discard(&out);
    return code;
}
