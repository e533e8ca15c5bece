/*
 * main.c: finds the verb and hands over.
 */
#include "cli.h"

#include <string.h>

/* Options that stand in place of a verb. An exit code, or -1 if `word` is none of them. */
static int run_program_option(const char *word)
{
    if (strcmp(word, "--version") == 0) {
        printf("pith %s\n", pith_version());
        return 0;
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        cli_help_program(stdout);
        return 0;
    }
    return -1;
}

static int run_verb(const cli_verb *verb, int argc, char **argv)
{
    cli_settings settings;
    int code = cli_options_parse(verb, argc, argv, &settings);
    if (code != 0) {
        return code;
    }
    if (settings.help == CLI_YES) {
        cli_help_verb(verb, stdout);
    } else if (settings.version == CLI_YES) {
        printf("pith %s\n", pith_version());
    } else {
        code = verb->run(&settings);
    }
    cli_settings_deinit(&settings);
    return code;
}

/* The verb that the words name, and how many they are. NULL, with a message, if there is none. */
static const cli_verb *find_verb(int argc, char **argv, int *words)
{
    const cli_verb *verb = cli_verb_find(argv[1]);
    *words = 1;
    if (verb == NULL || verb->recipe != NULL) { /* "train base" is two words, not one */
        cli_message("no verb '%s'; 'pith help' lists them", argv[1]);
        return NULL;
    }
    if (verb->bit != CLI_TRAIN || argc < 3 || argv[2][0] == '-') {
        return verb;
    }
    *words = 2;
    verb = cli_verb_find_recipe(argv[2]);
    if (verb == NULL) {
        cli_message("no recipe '%s'; 'pith help train' lists them", argv[2]);
    }
    return verb;
}

/* What a command left in stdio's buffer can still fail to be written. */
static int finish(int code)
{
    pith_error err;
    cli_output out;
    if (cli_output_open(NULL, &out, &err) != PITH_OK || cli_output_commit(&out, &err) != PITH_OK) {
        return code != 0 ? code : cli_report("standard output", &err, NULL, 0);
    }
    return code;
}

int main(int argc, char **argv)
{
    cli_output_init();
    if (argc < 2) {
        cli_help_program(stderr);
        return CLI_EXIT_USAGE;
    }
    int code = run_program_option(argv[1]);
    if (code < 0) {
        int words = 0;
        const cli_verb *verb = find_verb(argc, argv, &words);
        code = verb == NULL ? CLI_EXIT_USAGE : run_verb(verb, argc - 1 - words, argv + 1 + words);
    }
    return finish(code);
}
