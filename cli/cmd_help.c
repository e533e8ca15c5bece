/*
 * cmd_help.c: pith help, and the texts of every --help.
 */
#include "cli.h"

#include <string.h>

#define LINE_WIDTH  88
#define HELP_COLUMN 30

/* ---- one option ------------------------------------------------------------------ */

static size_t append_bytes(char *out, size_t size, size_t at, const char *text, size_t length)
{
    if (at + length < size) {
        memcpy(out + at, text, length);
        out[at + length] = '\0';
        return at + length;
    }
    return at;
}

static size_t append(char *out, size_t size, size_t at, const char *text)
{
    return append_bytes(out, size, at, text, strlen(text));
}

/* A text in one line: its line breaks are shown as \n. */
static size_t append_line(char *out, size_t size, size_t at, const char *text)
{
    while (*text != '\0') {
        const size_t length = strcspn(text, "\n");
        at = append_bytes(out, size, at, text, length);
        text += length;
        if (*text == '\n') {
            at = append(out, size, at, "\\n");
            text++;
        }
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
    const bool is_off = info->type == PITH_PARAM_FLAG && strcmp(info->default_value, "true") != 0;
    if (info->default_value[0] != '\0' && !is_off) {
        (void)snprintf(standard, sizeof standard, "default %.60s", info->default_value);
    }
    if (range[0] == '\0' && standard[0] == '\0') {
        return at;
    }
    at = append(out, size, at, " (");
    at = append(out, size, at, range);
    at = append(out, size, at, range[0] != '\0' && standard[0] != '\0' ? "; " : "");
    at = append_line(out, size, at, standard);
    return append(out, size, at, ")");
}

/* " One of: a, b, c.", when the name of the value does not say so. */
static size_t append_choices(char *out, size_t size, size_t at, const cli_option *option)
{
    const char *choices = option->info.choices;
    if (option->info.type != PITH_PARAM_ENUM || cli_option_value_name(option) == choices) {
        return at;
    }
    at = append(out, size, at, " One of: ");
    while (*choices != '\0') {
        const size_t length = strcspn(choices, "|");
        at = append_bytes(out, size, at, choices, length);
        choices += length + (choices[length] == '|');
        at = append(out, size, at, *choices != '\0' ? ", " : ".");
    }
    return at;
}

void cli_help_sentence(const cli_option *option, char *out, size_t size)
{
    out[0] = '\0';
    size_t at = append(out, size, 0, option->info.help);
    at = append_choices(out, size, at, option);
    at = append_limits(out, size, at, &option->info);
    if (cli_option_is_list(option)) {
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
    char sentence[CLI_SENTENCE_SIZE];
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
        if (!verb->hidden && verb->recipe == NULL) {
            (void)fprintf(file, "  %-10s %s\n", verb->name, verb->summary);
        }
    }
    (void)fputs("\n'pith help VERB' shows the options of a verb, 'pith --version' the version.\n",
                file);
}

void cli_help_recipes(FILE *file)
{
    (void)fputs("Usage: pith train RECIPE [options]\n\nMakes tokenizers and models from text.\n\n"
                "Recipes:\n",
                file);
    const cli_verb *verb = NULL;
    for (size_t i = 0; (verb = cli_verb_at(i)) != NULL; i++) {
        if (verb->recipe != NULL) {
            (void)fprintf(file, "  %-10s %s\n", verb->recipe, verb->summary);
        }
    }
    (void)fputs("\n'pith train RECIPE --help' shows the options of a recipe.\n", file);
}

static void print_group(FILE *file, const cli_verb *verb, const char *group)
{
    bool first = true;
    for (size_t i = 0; i < cli_option_count(); i++) {
        const cli_option option = cli_option_at(i);
        if ((option.verbs & verb->bit) == 0 || strcmp(cli_option_group(i), group) != 0) {
            continue;
        }
        if (first) {
            (void)fprintf(file, "\n%s:\n", group);
            first = false;
        }
        print_option(file, &option);
    }
}

void cli_help_verb(const cli_verb *verb, FILE *file)
{
    if (verb->bit == CLI_TRAIN) {
        cli_help_recipes(file);
        return;
    }
    (void)fprintf(file, "Usage: pith %s [options]%s%s\n\n", verb->name,
                  verb->operands[0] == '\0' ? "" : " ", verb->operands);
    print_wrapped(file, verb->description, 0);
    const char *group = NULL;
    for (size_t i = 0; (group = cli_group_at(i)) != NULL; i++) {
        print_group(file, verb, group);
    }
    (void)fputs("\nThe variable PITH_ARG_NAME gives an option its default: PITH_ARG_MODEL=FILE.\n",
                file);
}

int cli_run_help(const cli_settings *settings)
{
    if (settings->operands.count == 0) {
        cli_help_program(stdout);
        return 0;
    }
    const char *const *words = settings->operands.items;
    const cli_verb *verb = cli_verb_find(words[0]);
    if (verb == NULL) {
        return cli_usage_error(settings, "no verb '%s'", words[0]);
    }
    if (settings->operands.count == 2) {
        verb = verb->bit == CLI_TRAIN ? cli_verb_find_recipe(words[1]) : NULL;
        if (verb == NULL) {
            return cli_usage_error(settings, "no recipe '%s' of '%s'", words[1], words[0]);
        }
    }
    cli_help_verb(verb, stdout);
    return 0;
}
