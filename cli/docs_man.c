/*
 * docs_man.c: the man page, from the tables of verbs and options.
 */
#include "cli.h"

#include <string.h>

/* Text as roff takes it: no control line, no escape, dashes that can be copied. */
static void write_roff(FILE *file, const char *text)
{
    if (*text == '.' || *text == '\'') {
        (void)fputs("\\&", file);
    }
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\\') {
            (void)fputs("\\e", file);
        } else if (*c == '-') {
            (void)fputs("\\-", file);
        } else {
            (void)fputc(*c, file);
        }
    }
}

static void write_option(FILE *file, const cli_option *option)
{
    char sentence[CLI_SENTENCE_SIZE];
    const char *value = cli_option_value_name(option);
    (void)fputs(".TP\n", file);
    if (option->info.letter != 0) {
        (void)fprintf(file, "\\fB\\-%c\\fR, ", option->info.letter);
    }
    (void)fputs("\\fB\\-\\-", file);
    write_roff(file, cli_option_shows_no(option) ? "[no-]" : "");
    write_roff(file, option->info.name);
    (void)fputs("\\fR", file);
    if (value[0] != '\0') {
        (void)fputs(" \\fI", file);
        write_roff(file, value);
        (void)fputs("\\fR", file);
    }
    (void)fputc('\n', file);
    cli_help_sentence(option, sentence, sizeof sentence);
    write_roff(file, sentence);
    (void)fputc('\n', file);
}

/* --help and --version are the same everywhere and left out. */
static bool is_shown(const cli_option *option, const cli_verb *verb)
{
    return (option->verbs & verb->bit) != 0 && option->offset != offsetof(cli_settings, help) &&
           option->offset != offsetof(cli_settings, version);
}

static void write_group(FILE *file, const cli_verb *verb, const char *group)
{
    bool first = true;
    for (size_t i = 0; i < cli_option_count(); i++) {
        const cli_option option = cli_option_at(i);
        if (!is_shown(&option, verb) || strcmp(cli_option_group(i), group) != 0) {
            continue;
        }
        if (first) {
            (void)fprintf(file, ".PP\n\\fI%s\\fR\n", group);
            first = false;
        }
        write_option(file, &option);
    }
}

static void write_verb(FILE *file, const cli_verb *verb)
{
    /* a recipe comes before the options */
    (void)fprintf(
        file, verb->bit == CLI_TRAIN ? ".SS pith %s %s [options]\n" : ".SS pith %s [options] %s\n",
        verb->name, verb->operands);
    write_roff(file, verb->description);
    (void)fputc('\n', file);
    const char *group = NULL;
    for (size_t i = 0; (group = cli_group_at(i)) != NULL; i++) {
        write_group(file, verb, group);
    }
}

static const char head[] =
    ".SH NAME\n"
    "pith \\- shorter prompts for large language models\n"
    ".SH SYNOPSIS\n"
    ".B pith\n"
    ".I verb\n"
    "[options] [file]\n"
    ".SH DESCRIPTION\n"
    "A small language model reads the prompt and measures how surprising every part of it is.\n"
    "What could be guessed is dropped, up to a budget of tokens.\n"
    "The result consists of parts of the input in their order and goes to standard output;\n"
    "everything else goes to standard error.\n"
    "A prompt can have parts: an instruction, contexts and a question.\n"
    "Contexts can be judged by the question and are then shortened more or less, put into another\n"
    "order, or dropped.\n"
    "Without a file, or with \\-, the text is read from standard input.\n"
    ".PP\n"
    "A value follows its option as the next word, after =, or right behind a letter.\n"
    "A flag can be switched off with \\-\\-no\\-NAME.\n"
    "After \\-\\- no word is an option.\n"
    ".SH VERBS\n";

static const char tail[] =
    ".SH RECORDS\n"
    "With \\fB\\-\\-jsonl\\fR every line of the input is an object with \\fIid\\fR, which may be\n"
    "anything, and \\fItext\\fR, and may set parameters for itself, such as \\fIrate\\fR or\n"
    "\\fItarget_tokens\\fR.\n"
    "For compress, \\fIcontext\\fR, a string or an array of strings, may take the place of\n"
    "\\fItext\\fR, and there may be an \\fIinstruction\\fR and a \\fIquestion\\fR.\n"
    "The output has one object per record, in the same order, with the same id.\n"
    "A record that fails gets an object \\fIerror\\fR with \\fIstatus\\fR, \\fImessage\\fR and\n"
    "\\fIoffset\\fR, and the exit status is 3.\n"
    ".SH EXIT STATUS\n"
    ".TP\n0\nSuccess.\n"
    ".TP\n2\nThe command line is wrong.\n"
    ".TP\n3\nThe input is wrong: not UTF-8, damaged, or for another model.\n"
    ".TP\n4\nThe environment failed: files, memory, the arithmetic library.\n"
    ".TP\n5\nThe protected text alone is longer than the budget.\n"
    ".TP\n70\nAn error of pith itself.\n"
    ".TP\n141\nThe reader of the output went away.\n"
    ".SH ENVIRONMENT\n"
    ".TP\n\\fBPITH_ARG_\\fINAME\\fR\n"
    "Default of the option \\fINAME\\fR, in capitals, with _ for \\-: PITH_ARG_TARGET_TOKENS.\n"
    ".TP\n\\fBNO_COLOR\\fR\nNo colours, unless \\fB\\-\\-color\\fR asks for them.\n"
    ".SH EXAMPLES\n"
    ".nf\n"
    "pith compress \\-\\-rate 0.4 prompt.txt\n"
    "pith compress \\-\\-target\\-tokens 500 \\-\\-keep\\-digits < prompt.txt\n"
    "pith compress \\-\\-heat prompt.txt\n"
    "pith compress \\-\\-json prompt.txt > short.json\n"
    "pith recover prompt.txt short.json \\-\\-mark '[...]'\n"
    "pith rank \\-q 'Who won?' *.txt\n"
    "pith train tokenizer \\-d text.txt \\-o tokenizer.gguf\n"
    "pith train base \\-d text.txt \\-\\-tokenizer tokenizer.gguf \\-c run.checkpoint \\-o "
    "model.gguf\n"
    "pith compress \\-M longllmlingua \\-q 'Who won?' \\-\\-context a.txt \\-\\-context b.txt\n"
    ".fi\n";

void cli_docs_man(FILE *file)
{
    (void)fprintf(file, ".TH PITH 1 \"\" \"pith %s\" \"User Commands\"\n", pith_version());
    (void)fputs(head, file);
    const cli_verb *verb = NULL;
    for (size_t i = 0; (verb = cli_verb_at(i)) != NULL; i++) {
        if (!verb->hidden) {
            write_verb(file, verb);
        }
    }
    (void)fputs(tail, file);
}
