/*
 * cmd_docs.c: pith generate-docs, run by the build.
 */
#include "cli.h"

#include <string.h>

int cli_run_docs(const cli_settings *settings)
{
    static const struct {
        const char *name;
        void (*write)(FILE *file);
    } formats[] = {
        {"man", cli_docs_man},
        {"bash", cli_docs_bash},
        {"zsh", cli_docs_zsh},
        {"fish", cli_docs_fish},
    };
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        cli_output out;
        pith_error err;
        if (strcmp(settings->operands.items[0], formats[i].name) != 0) {
            continue;
        }
        if (cli_output_open(settings->output, &out, &err) != PITH_OK) {
            return cli_report(NULL, &err, NULL, 0);
        }
        formats[i].write(out.file);
        return cli_output_commit(&out, &err) == PITH_OK ? 0 : cli_report(NULL, &err, NULL, 0);
    }
    return cli_usage_error(settings, "no format '%s'", settings->operands.items[0]);
}
