/*
 * cmd_help.c: pith help, and the texts of every --help.
 */
#include "cli.h"

#include <string.h>

#define LINE_WIDTH  88
#define HELP_COLUMN 30

/* ---- one option ------------------------------------------------------------------ */

static size_t append(char *out, size_t size, size_t at, const char *text)
{
    const size_t length = strlen(text);
    if (at + length < size) {
        memcpy(out + at, text, length + 1);
        return at + length;
    }
    return at;
}

/* " (0 to 1, default 0.5)", of what there is to say. */
static size_t append_limits(char *out, size_t size, size_t at, const pith_param_info *info)
{
    char range[80] = "";
    char standard[80] = "";
    const bool number = info->type == PITH_PARAM_INT || info->type == PITH_PARAM_FLOAT;
    if (number && info->max < 1e9 && info->scope[0] != '\0') {
        (void)snprintf(range, sizeof range, "%.15g to %.15g", info->min, info->max);
    }
    if (info->default_value[0] != '\0' && info->type != PITH_PARAM_FLAG) {
        (void)snprintf(standard, sizeof standard, "default %.60s", info->default_value);
    }
    if (range[0] == '\0' && standard[0] == '\0') {
        return at;
    }
    at = append(out, size, at, " (");
    at = append(out, size, at, range);
    at = append(out, size, at, range[0] != '\0' && standard[0] != '\0' ? "; " : "");
    at = append(out, size, at, standard);
    return append(out, size, at, ")");
}

void cli_help_sentence(const cli_option *option, char *out, size_t size)
{
    out[0] = '\0';
    size_t at = append(out, size, 0, option->info.help);
    at = append_limits(out, size, at, &option->info);
    if (option->info.type == PITH_PARAM_LIST && option->store == CLI_STORE_PARAM) {
        (void)append(out, size, at, " May be given several times.");
    }
}

/* Breaks `text` into lines that start at column `indent`, where the first already is. */
static void print_wrapped(FILE *file, const char *text, size_t indent)
{
    size_t column = indent;
    while (*text != '\0') {
        const size_t word = strcspn(text, " ");
        if (column > indent && column + 1 + word > LINE_WIDTH) {
            (void)fprintf(file, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            (void)fputc(' ', file);
            column++;
        }
        (void)fprintf(file, "%.*s", (int)word, text);
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    (void)fputc('\n', file);
}

static void print_option(FILE *file, const cli_option *option)
{
    char names[160];
    char sentence[512];
    const char *value = cli_option_value_name(option);
    const char letter[] = {'-', option->info.letter, ',', ' ', '\0'};
    (void)snprintf(names, sizeof names, "  %s--%s%s%s%s",
                   option->info.letter != 0 ? letter : "    ",
                   cli_option_shows_no(option) ? "[no-]" : "", option->info.name,
                   value[0] != '\0' ? " " : "", value);
    (void)fputs(names, file);
    const size_t width = strlen(names);
    if (width + 2 > HELP_COLUMN) {
        (void)fprintf(file, "\n%*s", HELP_COLUMN, "");
    } else {
        (void)fprintf(file, "%*s", (int)(HELP_COLUMN - width), "");
    }
    cli_help_sentence(option, sentence, sizeof sentence);
    print_wrapped(file, sentence, HELP_COLUMN);
}

/* ---- program and verbs --------------------------------------------------------------- */

void cli_help_program(FILE *file)
{
    (void)fputs("Usage: pith VERB [options]\n\nShorter prompts, same answers.\n\nVerbs:\n", file);
    const cli_verb *verb = NULL;
    for (size_t i = 0; (verb = cli_verb_at(i)) != NULL; i++) {
        if (!verb->hidden) {
            (void)fprintf(file, "  %-10s %s\n", verb->name, verb->summary);
        }
    }
    (void)fputs("\n'pith help VERB' shows the options of a verb, 'pith --version' the version.\n",
                file);
}

static void print_options(FILE *file, const cli_verb *verb, bool params)
{
    bool first = true;
    for (size_t i = 0; i < cli_option_count(); i++) {
        const cli_option option = cli_option_at(i);
        if ((option.verbs & verb->bit) == 0 || (option.store == CLI_STORE_PARAM) != params) {
            continue;
        }
        if (first) {
            (void)fputs(params ? "\nParameters:\n" : "\nOptions:\n", file);
            first = false;
        }
        print_option(file, &option);
    }
}

void cli_help_verb(const cli_verb *verb, FILE *file)
{
    (void)fprintf(file, "Usage: pith %s [options]%s%s\n\n", verb->name,
                  verb->operands[0] == '\0' ? "" : " ", verb->operands);
    print_wrapped(file, verb->description, 0);
    print_options(file, verb, true);
    print_options(file, verb, false);
    (void)fputs("\nThe variable PITH_ARG_NAME gives an option its default: PITH_ARG_MODEL=FILE.\n",
                file);
}

int cli_run_help(const cli_settings *settings)
{
    if (settings->operand_count == 0) {
        cli_help_program(stdout);
        return 0;
    }
    const cli_verb *verb = cli_verb_find(settings->operands[0]);
    if (verb == NULL) {
        return cli_usage_error(settings, "no verb '%s'", settings->operands[0]);
    }
    cli_help_verb(verb, stdout);
    return 0;
}
