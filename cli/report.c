/*
 * report.c: what the program says on standard error, and with which exit code
 * it ends.
 */
#include "cli.h"

#include <stdarg.h>
#include <string.h>

pith_status cli_fail(pith_error *err, pith_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->status = status;
    err->offset = PITH_NO_OFFSET;
    (void)vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return status;
}

void cli_message(const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    (void)fprintf(stderr, "pith: %s\n", line);
}

int cli_usage_error(const cli_settings *settings, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    (void)fprintf(stderr, "pith %s: %s\nTry 'pith %s --help'.\n", settings->verb, line,
                  settings->verb);
    return CLI_EXIT_USAGE;
}

const char *cli_errno_text(int number, char *out, size_t size)
{
    if (strerror_r(number, out, size) != 0) {
        (void)snprintf(out, size, "error %d", number);
    }
    return out;
}

/* Line and column, from 1; a column is a code point. */
static void locate(const char *text, size_t offset, size_t *line, size_t *column)
{
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (text[i] == '\n') {
            *line += 1;
            *column = 1;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80) {
            *column += 1;
        }
    }
}

int cli_report(const char *name, const pith_error *err, const char *text, size_t size)
{
    if (cli_output_pipe_closed()) {
        return CLI_EXIT_PIPE;
    }
    char place[96] = "";
    if (err->offset != PITH_NO_OFFSET && text != NULL && err->offset <= size) {
        size_t line = 0;
        size_t column = 0;
        locate(text, err->offset, &line, &column);
        (void)snprintf(place, sizeof place, " (byte %zu, line %zu, column %zu)", err->offset, line,
                       column);
    } else if (err->offset != PITH_NO_OFFSET) {
        (void)snprintf(place, sizeof place, " (byte %zu)", err->offset);
    }
    cli_message("%s%s%s%s", name == NULL ? "" : name, name == NULL ? "" : ": ", err->message,
                place);
    return pith_status_exit_code(err->status);
}

int cli_report_assignment(const cli_assignment *assignment, const pith_error *err)
{
    const char *name = assignment->param->name;
    const bool named = strncmp(err->message, name, strlen(name)) == 0;
    char origin[96];
    if (assignment->from_environment) {
        const cli_option option = {.info = *assignment->param};
        cli_option_variable(&option, origin, sizeof origin);
    } else {
        (void)snprintf(origin, sizeof origin, "--%s", name);
    }
    const int code =
        cli_report(named && !assignment->from_environment ? NULL : origin, err, NULL, 0);
    /* a pattern that does not compile is bad input to the library, but here a wrong option */
    return err->status == PITH_E_SYNTAX || err->status == PITH_E_UTF8 ? CLI_EXIT_USAGE : code;
}
