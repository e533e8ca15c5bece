/*
 * options_parse.c: from the words of the command line and the environment to
 * settings.
 *
 * --name value, --name=value, --no-name for flags, -t 4, -t4, and "--" before
 * operands that look like options. An option that is not given takes its
 * value from PITH_ARG_NAME.
 */
#include "cli.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_VERBS (CLI_COMPRESS | CLI_SCORE | CLI_ENCODE)

typedef struct parser {
    const cli_verb *verb;
    char **words;
    int count;
    int next; /* word to read */
    cli_settings *settings;
    bool *given; /* by index of the option: on the command line */
} parser;

void cli_settings_deinit(cli_settings *settings)
{
    free(settings->assignments);
    free(settings->contexts.items);
    free(settings->attributes.items);
    free(settings->operands.items);
    free(settings->pieces.items);
    settings->assignments = NULL;
    settings->contexts = (cli_words){0};
    settings->attributes = (cli_words){0};
    settings->operands = (cli_words){0};
    settings->pieces = (cli_pieces){0};
}

/* ---- values ---------------------------------------------------------------- */

/* True and the value if `text` is a word for yes or no. */
static bool read_switch(const char *text, cli_switch *out)
{
    static const char *const yes[] = {"true", "1", "on", "yes"};
    static const char *const no[] = {"false", "0", "off", "no"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcmp(text, yes[i]) == 0) {
            *out = CLI_YES;
            return true;
        }
        if (strcmp(text, no[i]) == 0) {
            *out = CLI_NO;
            return true;
        }
    }
    return false;
}

/* Index of `text` among "a|b|c". */
static bool read_choice(const char *choices, const char *text, uint32_t *out)
{
    const size_t size = strlen(text);
    uint32_t index = 0;
    for (const char *c = choices; size > 0 && *c != '\0'; index++) {
        const size_t length = strcspn(c, "|");
        if (length == size && memcmp(c, text, size) == 0) {
            *out = index;
            return true;
        }
        c += length + (c[length] == '|');
    }
    return false;
}

/* A positive whole number. */
static bool read_number(const char *text, uint32_t *out)
{
    char *end = NULL;
    errno = 0;
    const unsigned long value = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value == 0 ||
        value > UINT32_MAX) {
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

static int out_of_memory(void)
{
    cli_message("out of memory");
    return pith_status_exit_code(PITH_E_MEMORY);
}

/* Room for one more than `count` items; the list is full at every power of two. NULL: no memory. */
static void *grow(void *items, size_t count, size_t item_size)
{
    if ((count & (count - 1)) != 0) {
        return items;
    }
    return realloc(items, (count == 0 ? 1 : 2 * count) * item_size);
}

/* An exit code. */
static int add_word(cli_words *words, const char *word)
{
    const char **grown = grow(words->items, words->count, sizeof *grown);
    if (grown == NULL) {
        return out_of_memory();
    }
    words->items = grown;
    words->items[words->count++] = word;
    return 0;
}

/* An exit code. */
static int add_piece(cli_pieces *pieces, cli_piece_kind kind, const char *value)
{
    cli_piece *grown = grow(pieces->items, pieces->count, sizeof *grown);
    if (grown == NULL) {
        return out_of_memory();
    }
    pieces->items = grown;
    pieces->items[pieces->count++] = (cli_piece){kind, value};
    return 0;
}

/* Adds to the list of assignments. An exit code. */
static int assign(cli_settings *settings, const cli_option *option, const char *value,
                  bool from_environment)
{
    cli_assignment *grown = grow(settings->assignments, settings->assignment_count, sizeof *grown);
    if (grown == NULL) {
        return out_of_memory();
    }
    settings->assignments = grown;
    settings->assignments[settings->assignment_count++] = (cli_assignment){
        .param = option->param, .value = value, .from_environment = from_environment};
    return 0;
}

/* Puts the value where the option says. `origin` is "--name" or the variable. */
static int store(parser *p, const cli_option *option, const char *value, const char *origin,
                 bool from_environment)
{
    char *field = (char *)p->settings + option->offset;
    bool good = true;
    switch (option->store) {
    case CLI_STORE_TEXT:
        memcpy(field, &value, sizeof value);
        break;
    case CLI_STORE_SWITCH: {
        cli_switch read = CLI_UNSET;
        good = read_switch(value, &read);
        memcpy(field, &read, sizeof read);
        break;
    }
    case CLI_STORE_CHOICE:
    case CLI_STORE_NUMBER: {
        uint32_t read = 0;
        good = option->store == CLI_STORE_CHOICE ? read_choice(option->info.choices, value, &read)
                                                 : read_number(value, &read);
        memcpy(field, &read, sizeof read);
        break;
    }
    case CLI_STORE_WORDS:
        return add_word((cli_words *)(void *)field, value);
    case CLI_STORE_PIECE:
        return add_piece(&p->settings->pieces, (cli_piece_kind)option->offset, value);
    case CLI_STORE_PARAM:
    default:
        return assign(p->settings, option, value, from_environment);
    }
    if (good) {
        return 0;
    }
    const bool choice = option->store == CLI_STORE_CHOICE;
    return cli_usage_error(p->settings, "%s: '%s' is not %s", origin, value,
                           choice                              ? option->info.choices
                           : option->store == CLI_STORE_SWITCH ? "true or false"
                                                               : "a positive whole number");
}

/* ---- words ----------------------------------------------------------------- */

static void mark_given(parser *p, const cli_option *option)
{
    for (size_t i = 0; i < cli_option_count(); i++) {
        const cli_option other = cli_option_at(i);
        if ((other.verbs & p->verb->bit) != 0 && strcmp(other.info.name, option->info.name) == 0) {
            p->given[i] = true;
        }
    }
}

/* "compress" if the option belongs to another verb that people use, else NULL. A recipe is
 * looked for among recipes first. */
static const char *verb_with_option(const cli_verb *own, const char *name, size_t size)
{
    const bool is_training = (own->bit & (CLI_TRAIN | CLI_RECIPES)) != 0;
    const cli_verb *verb = NULL;
    const char *found = NULL;
    for (size_t i = 0; (verb = cli_verb_at(i)) != NULL; i++) {
        cli_option option;
        if (verb->hidden || !cli_option_find(verb->bit, name, size, &option)) {
            continue;
        }
        if (!is_training || verb->recipe != NULL) {
            return verb->name;
        }
        found = found == NULL ? verb->name : found;
    }
    return found;
}

static int unknown_option(const parser *p, const char *name, size_t size)
{
    const int shown = size < 64 ? (int)size : 64;
    const char *other = verb_with_option(p->verb, name, size);
    if (other != NULL) {
        return cli_usage_error(p->settings, "--%.*s is an option of 'pith %s'", shown, name, other);
    }
    const char *nearest = cli_option_nearest(p->verb->bit, name, size);
    if (nearest != NULL) {
        return cli_usage_error(p->settings, "no option --%.*s; did you mean --%s?", shown, name,
                               nearest);
    }
    return cli_usage_error(p->settings, "no option --%.*s", shown, name);
}

/* The option named by --name or --no-name; *negated tells which. */
static bool find_long(const parser *p, const char *name, size_t size, cli_option *option,
                      bool *negated)
{
    *negated = false;
    if (cli_option_find(p->verb->bit, name, size, option)) {
        return true;
    }
    if (size > 3 && memcmp(name, "no-", 3) == 0 &&
        cli_option_find(p->verb->bit, name + 3, size - 3, option) && cli_option_has_no(option)) {
        *negated = true;
        return true;
    }
    return false;
}

static int parse_long(parser *p, const char *word)
{
    const char *name = word + 2;
    const size_t size = strcspn(name, "=");
    const char *value = name[size] == '=' ? name + size + 1 : NULL;
    cli_option option;
    bool negated = false;
    if (!find_long(p, name, size, &option, &negated)) {
        return unknown_option(p, name, size);
    }
    if (option.info.type == PITH_PARAM_FLAG) {
        if (negated && value != NULL) {
            return cli_usage_error(p->settings, "--%.*s takes no value",
                                   (int)(size < 64 ? size : 64), name);
        }
        value = value != NULL ? value : negated ? "false" : "true";
    } else if (value == NULL) {
        if (p->next >= p->count) {
            return cli_usage_error(p->settings, "--%s needs a value", option.info.name);
        }
        value = p->words[p->next++];
    }
    mark_given(p, &option);
    char origin[80];
    (void)snprintf(origin, sizeof origin, "--%s", option.info.name);
    return store(p, &option, value, origin, false);
}

/* -t4, -t 4, -v, and flags together: -vh. */
static int parse_short(parser *p, const char *word)
{
    for (const char *letter = word + 1; *letter != '\0'; letter++) {
        cli_option option;
        if (!cli_option_find_letter(p->verb->bit, *letter, &option)) {
            return cli_usage_error(p->settings, "no option -%c", *letter);
        }
        mark_given(p, &option);
        const char origin[] = {'-', *letter, '\0'};
        if (option.info.type == PITH_PARAM_FLAG) {
            const int code = store(p, &option, "true", origin, false);
            if (code != 0) {
                return code;
            }
            continue;
        }
        if (letter[1] != '\0') {
            return store(p, &option, letter + 1, origin, false);
        }
        if (p->next >= p->count) {
            return cli_usage_error(p->settings, "-%c needs a value", *letter);
        }
        return store(p, &option, p->words[p->next++], origin, false);
    }
    return 0;
}

static int add_operand(parser *p, const char *word)
{
    cli_settings *settings = p->settings;
    if (settings->operands.count >= p->verb->operands_max) {
        return cli_usage_error(settings, "unexpected operand '%s'%s", word,
                               p->verb->bit == CLI_COMPRESS ? "; more texts are given by --context"
                                                            : "");
    }
    if (p->verb->bit == CLI_GENERATE) {
        return add_piece(&settings->pieces, CLI_PIECE_FILE, word);
    }
    return add_word(&settings->operands, word);
}

static int parse_words(parser *p)
{
    bool options_end = false;
    while (p->next < p->count) {
        const char *word = p->words[p->next++];
        int code = 0;
        if (options_end || word[0] != '-' || word[1] == '\0') {
            code = add_operand(p, word);
        } else if (strcmp(word, "--") == 0) {
            options_end = true;
        } else if (word[1] == '-') {
            code = parse_long(p, word);
        } else {
            code = parse_short(p, word);
        }
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

/* ---- environment -------------------------------------------------------------- */

/* What the command line named. */
typedef struct named {
    bool text;
    bool question;
    bool instruction;
    bool no_search; /* of a bank: what find takes is for another time */
} named;

static named what_is_named(const cli_settings *s)
{
    return (named){
        .text = s->operands.count > 0 || s->input != NULL || s->prompt != NULL ||
                s->contexts.count > 0 || s->pieces.count > 0,
        .question = s->question != NULL || s->question_file != NULL,
        .instruction = s->instruction != NULL || s->instruction_file != NULL,
        .no_search = strcmp(s->verb, "bank") == 0 && s->operands.count > 0 &&
                     strcmp(s->operands.items[0], "find") != 0,
    };
}

/* A text named on the command line beats any that the environment names. */
static bool is_beaten(const cli_option *option, const named *by)
{
    if (option->store == CLI_STORE_PIECE) {
        return by->text;
    }
    if (option->store == CLI_STORE_NUMBER && option->offset == offsetof(cli_settings, top)) {
        return by->no_search;
    }
    if (option->store != CLI_STORE_TEXT && option->store != CLI_STORE_WORDS) {
        return false;
    }
    switch (option->offset) {
    case offsetof(cli_settings, input):
    case offsetof(cli_settings, prompt):
    case offsetof(cli_settings, contexts):
        return by->text;
    case offsetof(cli_settings, output):
        return by->no_search;
    case offsetof(cli_settings, question):
    case offsetof(cli_settings, question_file):
        return by->question;
    case offsetof(cli_settings, instruction):
    case offsetof(cli_settings, instruction_file):
        return by->instruction;
    default:
        return false;
    }
}

static int parse_environment(parser *p)
{
    assert(p->given != NULL);
    const named by = what_is_named(p->settings);
    for (size_t i = 0; i < cli_option_count(); i++) {
        const cli_option option = cli_option_at(i);
        const bool has_default = option.info.type != PITH_PARAM_FLAG || cli_option_has_no(&option);
        if (p->given[i] || !has_default || (option.verbs & p->verb->bit) == 0 ||
            is_beaten(&option, &by)) {
            continue;
        }
        char variable[96];
        cli_option_variable(&option, variable, sizeof variable);
        const char *value = getenv(variable); /* NOLINT(concurrency-mt-unsafe): one thread yet */
        const int code =
            value == NULL || value[0] == '\0' ? 0 : store(p, &option, value, variable, true);
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

/* ---- together ------------------------------------------------------------------ */

static bool is_stdin(const char *path)
{
    return path != NULL && strcmp(path, "-") == 0;
}

/* Standard input can be read once. */
static int check_stdin(const cli_verb *verb, const cli_settings *s)
{
    const char *const files[] = {s->question_file, s->instruction_file, s->response,    s->original,
                                 s->compressed,    s->questions,        s->instructions};
    const bool is_text = (verb->bit & TEXT_VERBS) != 0;
    size_t count = is_text && (s->input == NULL ? s->prompt == NULL && s->contexts.count == 0
                                                : is_stdin(s->input));
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        count += is_stdin(files[i]);
    }
    for (size_t i = 0; i < s->contexts.count; i++) {
        count += is_stdin(s->contexts.items[i]);
    }
    for (size_t i = 0; i < s->pieces.count; i++) {
        count += s->pieces.items[i].kind != CLI_PIECE_TEXT && is_stdin(s->pieces.items[i].value);
    }
    for (size_t i = 0; !is_text && i < s->operands.count; i++) {
        count += is_stdin(s->operands.items[i]);
    }
    count += verb->bit == CLI_PROBE && s->operands.count == 1; /* the source */
    return count < 2 ? 0 : cli_usage_error(s, "only one input can be standard input");
}

static int check_inputs(const cli_settings *s)
{
    if (s->prompt != NULL && s->input != NULL) {
        return cli_usage_error(s, "one input only: --prompt and a file are both given");
    }
    if (s->question != NULL && s->question_file != NULL) {
        return cli_usage_error(s, "one question only: --question and --question-file are given");
    }
    if (s->instruction != NULL && s->instruction_file != NULL) {
        return cli_usage_error(
            s, "one instruction only: --instruction and --instruction-file are given");
    }
    return 0;
}

/* The rules that no single option can see. */
static int check_operands(const cli_verb *verb, cli_settings *settings)
{
    if (settings->help == CLI_YES || settings->version == CLI_YES) {
        return 0;
    }
    const cli_words *operands = &settings->operands;
    if (operands->count == 1 && (verb->bit & (TEXT_VERBS | CLI_INSPECT)) != 0) {
        if (settings->input != NULL) {
            return cli_usage_error(settings, "one input only: '%s' and '%s' are both given",
                                   settings->input, operands->items[0]);
        }
        settings->input = operands->items[0];
    }
    const size_t given = operands->count + (operands->count == 0 && settings->input);
    if (given < verb->operands_min) {
        return cli_usage_error(settings, "expected %s", verb->operands);
    }
    const int code = check_inputs(settings);
    return code != 0 ? code : check_stdin(verb, settings);
}

int cli_options_parse(const cli_verb *verb, int argc, char **argv, cli_settings *out)
{
    *out = (cli_settings){.verb = verb->name,
                          .samples = 16, /* as the table of options says */
                          .question_tokens = 16,
                          .bench.struct_size = sizeof(pith_bench_options)};
    bool *given = calloc(cli_option_count(), sizeof *given);
    parser p = {.verb = verb, .words = argv, .count = argc, .settings = out, .given = given};
    int code = 0;
    if (given == NULL) {
        code = out_of_memory();
    } else {
        code = parse_words(&p);
    }
    if (code == 0) {
        code = parse_environment(&p);
    }
    if (code == 0) {
        code = check_operands(verb, out);
    }
    free(given);
    if (code != 0) {
        cli_settings_deinit(out);
    }
    return code;
}
