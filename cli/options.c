/*
 * options.c: the tables of options, seen as one.
 *
 * The library's parameters come first, in the library's order, then those of its
 * recipes. The program's own options have the same shape, so whatever lists one
 * table lists all.
 */
#include "cli.h"

#include <assert.h>
#include <ctype.h>
#include <stddef.h>
#include <string.h>

#define TEXT_IN (CLI_COMPRESS | CLI_SCORE)
#define PARTS   (CLI_COMPRESS | CLI_RANK | CLI_RECOVER)
#define SCORES  (TEXT_IN | CLI_RANK)
#define SOFT    (CLI_ENCODE | CLI_GENERATE | CLI_PROBE)
#define RUNS    (SCORES | SOFT | CLI_BANK) /* the model */
#define PRINTS \
    (SCORES | CLI_GENERATE | CLI_PROBE | CLI_INSPECT | CLI_RECOVER | CLI_BENCH | CLI_DOCS)
#define MODEL (RUNS | CLI_BENCH)

/* ---- groups: the headings of help ---------------------------------------------- */

#define INPUT      "Input"
#define AMOUNT     "Method and amount"
#define PROTECTION "Protection"
#define STRUCTURE  "Structure"
#define LINGUA     "Methods llmlingua and longllmlingua"
#define CAPSULE    "Capsule"
#define WRITING    "Generating"
#define PROBING    "Probing"
#define DATA       "Data"
#define SCORING    "Model"
#define TRAINING   "Training"
#define LORA       "LoRA"
#define OPTIMIZER  "Optimizer"
#define FILES      "Files"
#define OUTPUT     "Output"
#define GENERAL    "General"

static const char *const groups[] = {INPUT,     AMOUNT,  PROTECTION, STRUCTURE, LINGUA,   CAPSULE,
                                     WRITING,   PROBING, DATA,       SCORING,   TRAINING, LORA,
                                     OPTIMIZER, FILES,   OUTPUT,     GENERAL};

const char *cli_group_at(size_t index)
{
    return index < sizeof groups / sizeof groups[0] ? groups[index] : NULL;
}

/* The library's parameters from the one named on, as far as the next row, so that a new one is in
 * the group of its neighbours. */
static const struct {
    const char *first;
    const char *group;
} param_groups[] = {{"method", AMOUNT},      {"keep", PROTECTION},         {"format", STRUCTURE},
                    {"rank-method", LINGUA}, {"keep-pattern", PROTECTION}, {"score-by", SCORING},
                    {"slots", CAPSULE},      {"max-tokens", WRITING}};

/* By the scope of a recipe's parameter. */
static const struct {
    const char *scope;
    const char *group;
} scope_groups[] = {{"data", DATA}, {"model", SCORING},       {"training", TRAINING},
                    {"lora", LORA}, {"optimizer", OPTIMIZER}, {"files", FILES}};

/* ---- our own options ------------------------------------------------------------- */

/* One row: where the value goes, who takes it, how it is shown. */
#define ROW(row_name, row_letter, row_type, row_default, row_choices, row_value, row_group, \
            row_verbs, row_store, row_field, row_help)                                      \
    {                                                                                       \
        .info = {.name = (row_name),                                                        \
                 .letter = (row_letter),                                                    \
                 .type = (row_type),                                                        \
                 .max = UINT32_MAX,                                                         \
                 .default_value = (row_default),                                            \
                 .choices = (row_choices),                                                  \
                 .unit = "",                                                                \
                 .since = "",                                                               \
                 .scope = "",                                                               \
                 .help = (row_help)},                                                       \
        .value_name = (row_value), .group = (row_group), .verbs = (row_verbs),              \
        .store = (row_store), .offset = offsetof(cli_settings, row_field)                   \
    }

#define TEXT(name, letter, value, group, verbs, field, help) \
    ROW(name, letter, PITH_PARAM_TEXT, "", "", value, group, verbs, CLI_STORE_TEXT, field, help)
#define WORDS(name, value, group, verbs, field, help) \
    ROW(name, 0, PITH_PARAM_LIST, "", "", value, group, verbs, CLI_STORE_WORDS, field, help)
#define SWITCH(name, letter, group, verbs, field, help) \
    ROW(name, letter, PITH_PARAM_FLAG, "", "", "", group, verbs, CLI_STORE_SWITCH, field, help)
#define CHOICE(name, choices, group, verbs, field, help)                                        \
    ROW(name, 0, PITH_PARAM_ENUM, "auto", choices, NULL, group, verbs, CLI_STORE_CHOICE, field, \
        help)
#define PIECE(row_name, row_letter, row_value, row_kind, row_help)        \
    {                                                                     \
        .info = {.name = (row_name),                                      \
                 .letter = (row_letter),                                  \
                 .type = PITH_PARAM_LIST,                                 \
                 .default_value = "",                                     \
                 .choices = "",                                           \
                 .unit = "",                                              \
                 .since = "",                                             \
                 .scope = "",                                             \
                 .help = (row_help)},                                     \
        .value_name = (row_value), .group = INPUT, .verbs = CLI_GENERATE, \
        .store = CLI_STORE_PIECE, .offset = (row_kind)                    \
    }
#define SHAPE(name, letter, value, field, help)                                                    \
    ROW(name, letter, PITH_PARAM_INT, value, "", "N", SCORING, CLI_BENCH, CLI_STORE_NUMBER, field, \
        help)

static const cli_option own_options[] = {
    TEXT("file", 'f', "FILE", INPUT, TEXT_IN | CLI_ENCODE | CLI_INSPECT, input,
         "Read this file; the same as the operand."),
    TEXT("prompt", 'p', "TEXT", INPUT, TEXT_IN | CLI_ENCODE, prompt,
         "Take the text from the command line."),
    TEXT("prompt", 'p', "TEXT", INPUT, CLI_BANK, prompt,
         "find: take the question from the command line."),
    PIECE("prompt", 'p', "TEXT", CLI_PIECE_TEXT, "A text."),
    PIECE("file", 'f', "FILE", CLI_PIECE_FILE,
          "A file with a text, or a capsule; the same as an operand."),
    PIECE("capsule", 0, "FILE", CLI_PIECE_CAPSULE, "A capsule in the place of its text."),
    WORDS("context", "FILE", INPUT, PARTS, contexts,
          "One more context: a document, a demonstration, a turn."),
    TEXT("question", 'q', "TEXT", INPUT, CLI_RANK, question,
         "The question that the contexts are to answer."),
    TEXT("question", 'q', "TEXT", INPUT, CLI_COMPRESS | CLI_RECOVER, question,
         "The question that the contexts are to answer. It ends the prompt and is not shortened."),
    TEXT("question-file", 0, "FILE", INPUT, PARTS, question_file, "Read the question from FILE."),
    TEXT("instruction", 0, "TEXT", INPUT, CLI_COMPRESS | CLI_RECOVER, instruction,
         "The instruction. It begins the prompt and is not shortened."),
    TEXT("instruction-file", 0, "FILE", INPUT, CLI_COMPRESS | CLI_RECOVER, instruction_file,
         "Read the instruction from FILE."),
    TEXT("response", 0, "FILE", INPUT, CLI_RECOVER, response,
         "What a model answered to the compressed prompt: put phrases of the original prompt in "
         "the place of their compressed forms and print that."),
    TEXT("original", 0, "FILE", INPUT, CLI_RECOVER, original,
         "The prompt before compression, for a response without a RESULT."),
    TEXT("compressed", 0, "FILE", INPUT, CLI_RECOVER, compressed,
         "The prompt after compression, for a response without a RESULT."),
    ROW("method", 'M', PITH_PARAM_ENUM, "auto", "auto|gist|cc|500x|icae|selfcp|mean", NULL, CAPSULE,
        CLI_ENCODE, CLI_STORE_CHOICE, method,
        "gist: one pass of a model that was trained to gist. cc: a soft prompt, trained for this "
        "text. 500x, icae, selfcp: one pass of a compressor. mean: means over parts of the text, "
        "without any training. auto: the compressor's; without one gist if the model can, else "
        "cc."),
    TEXT("compressor", 0, "FILE", CAPSULE, CLI_ENCODE | CLI_BANK, compressor,
         "Compressor for this model, of recipe 500x, icae or selfcp."),
    ROW("capsule-type", 0, PITH_PARAM_ENUM, "f16", "f16|f32|int8", NULL, CAPSULE,
        CLI_ENCODE | CLI_BANK, CLI_STORE_CHOICE, capsule_type,
        "How the numbers are stored. int8 has a scale for every row."),
    ROW("top", 0, PITH_PARAM_INT, "3", "", "K", CAPSULE, CLI_BANK, CLI_STORE_NUMBER, top,
        "find: entries at most."),
    ROW("question-tokens", 0, PITH_PARAM_INT, "16", "", "N", CAPSULE, CLI_ENCODE, CLI_STORE_NUMBER,
        question_tokens, "Tokens of a question that the report supposes behind the capsule."),
    WORDS(
        "attribute", "ATTRIBUTE", WRITING, CLI_GENERATE, attributes,
        "TOWARD,AWAY[,OMEGA[,TAU]]: prefer tokens that are likelier after the file TOWARD and the "
        "prompt than after AWAY and the prompt, texts or capsules; nothing in the place of one "
        "is the prompt alone. OMEGA is the weight, below 0 it turns round; TAU the sharpness; "
        "both are 1 if not given."),
    TEXT("trigger", 0, "TEXT", PROBING, CLI_PROBE, trigger,
         "What asks for the text, between two line breaks. Default: Now repeat the text:"),
    TEXT("questions", 0, "FILE", PROBING, CLI_PROBE, questions,
         "Instead of recall, what is left of answers: JSONL of objects with kind, question and "
         "answer, which are read right behind the source or the capsule."),
    TEXT("instructions", 0, "FILE", PROBING, CLI_PROBE, instructions,
         "Instead of recall, which instructions of the source are followed: JSONL of objects with "
         "name and text, each one of them alone."),
    ROW("samples", 0, PITH_PARAM_INT, "16", "", "N", PROBING, CLI_PROBE, CLI_STORE_NUMBER, samples,
        "With --instructions: texts that are written after source, capsule and nothing, at "
        "temperature 1."),
    TEXT("prompt", 'p', "TEXT", PROBING, CLI_PROBE, prompt,
         "With --instructions: what stands before these texts. Default: a line break."),
    TEXT("model", 'm', "FILE", SCORING, MODEL, model,
         "GGUF model to use instead of the built-in one."),
    TEXT("model", 'm', "FILE", SCORING, CLI_RECOVER, model,
         "GGUF model whose tokens a response is compared in, instead of the built-in one."),
    TEXT("lora", 0, "FILE", SCORING, RUNS & ~CLI_BANK, lora,
         "LoRA adapter (GGUF) to add to the model's weights."),
    CHOICE("precision", "auto|f32|int8", SCORING, RUNS, precision,
           "Arithmetic of the model; auto is int8."),
    TEXT("count-with", 0, "FILE", SCORING, CLI_COMPRESS, count_with,
         "Count budgets in the tokens of this GGUF or tiktoken rank file."),
    TEXT("count-with", 0, "FILE", SCORING, CLI_RECOVER, count_with,
         "Compare a response in the tokens of this GGUF or tiktoken rank file instead."),
    TEXT("output", 'o', "FILE", OUTPUT, PRINTS, output,
         "Write the result to FILE, which appears only when it is complete."),
    TEXT("output", 'o', "FILE", OUTPUT, CLI_ENCODE, output,
         "Write the capsule to FILE, which appears only when it is complete."),
    TEXT("output", 'o', "FILE", OUTPUT, CLI_BANK, output,
         "find: write one capsule of what was found to FILE, the best last."),
    SWITCH("logprobs", 0, OUTPUT, CLI_GENERATE, logprobs,
           "Print every token with its log-probability: a table instead of the text, or in the "
           "JSON object."),
    SWITCH("json", 0, OUTPUT, RUNS | CLI_INSPECT | CLI_BENCH, json, "Print one JSON object."),
    SWITCH("jsonl", 0, OUTPUT, CLI_COMPRESS, jsonl,
           "Read one JSON object per line, with id and text, or with context, instruction and "
           "question; print one per line, in their order."),
    SWITCH("jsonl", 0, OUTPUT, CLI_SCORE, jsonl,
           "Read one JSON object with id and text per line, print one per line, in their order."),
    SWITCH("units", 0, OUTPUT, CLI_COMPRESS, units,
           "Add all units, kept or not, with their self-information to the JSON object."),
    SWITCH("heat", 0, OUTPUT, TEXT_IN, heat,
           "Print a heat map instead of the result, or to standard error when the result goes to "
           "a file."),
    TEXT("html", 0, "FILE", OUTPUT, TEXT_IN | CLI_PROBE, html,
         "Write the heat map as a page to FILE."),
    SWITCH("dropped", 0, OUTPUT, CLI_RECOVER, dropped,
           "Print one JSON object for every part that was dropped."),
    TEXT("mark", 0, "TEXT", OUTPUT, CLI_RECOVER, mark,
         "Print the kept text with TEXT wherever something was dropped."),
    SHAPE("layers", 0, "12", bench.layers, "Layers of the model."),
    SHAPE("width", 0, "768", bench.width, "Size of a hidden state."),
    SHAPE("heads", 0, "12", bench.heads, "Attention heads."),
    SHAPE("kv-heads", 0, "", bench.kv_heads,
          "Heads of keys and values. Default: as many as heads."),
    SHAPE("ff", 0, "2048", bench.ff, "Size of the feed-forward layer."),
    SHAPE("vocab", 0, "32000", bench.vocabulary, "Size of the vocabulary."),
    SHAPE("window", 0, "512", bench.window, "Tokens of a sequence."),
    SHAPE("windows", 0, "", bench.windows, "Sequences scored per repetition."),
    SHAPE("repeat", 0, "", bench.repeat, "Repetitions; the best one counts."),
    SHAPE("threads", 't', "", bench.threads, "Threads."),
    CHOICE("color", "auto|always|never", OUTPUT, TEXT_IN | CLI_PROBE, color,
           "Colour the heat map; auto means on a terminal unless NO_COLOR is set."),
    SWITCH("progress", 0, GENERAL, SCORES | CLI_ENCODE | CLI_BANK, progress,
           "Show a progress bar on standard error. Without this option: on a terminal."),
    SWITCH("progress", 0, GENERAL, CLI_RECIPES, progress,
           "Keep a line about the run on standard error up to date. Without this option: on a "
           "terminal, and elsewhere a new line now and then."),
    SWITCH("verbose", 'v', GENERAL, RUNS | CLI_RECOVER, verbose, "Say more on standard error."),
    SWITCH("help", 'h', GENERAL, ~0U, help, "Show the options and stop."),
    SWITCH("version", 0, GENERAL, ~0U, version, "Show the version and stop."),
};

#define OWN_COUNT (sizeof own_options / sizeof own_options[0])

/* Parameters that the ranking of contexts depends on. */
static bool is_for_ranking(const pith_param_info *param)
{
    static const char *const names[] = {"method",
                                        "preset",
                                        "mode",
                                        "rank-method",
                                        "condition-in-question",
                                        "condition-compare",
                                        "structured",
                                        "keep-tag"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(param->name, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- all together -------------------------------------------------------------------- */

/* More than there are; builds with assertions notice if it is not. */
#define OPTIONS_MAX 768

static cli_option all_options[OPTIONS_MAX];
static size_t option_count;

static void add_option(const cli_option *option)
{
    assert(option_count < OPTIONS_MAX);
    if (option_count < OPTIONS_MAX) {
        all_options[option_count++] = *option;
    }
}

static void add_param(const pith_param_info *param, unsigned verbs)
{
    const cli_option option = {
        .info = *param, .verbs = verbs, .store = CLI_STORE_PARAM, .param = param};
    add_option(&option);
}

/* Parameters of scoring that concern whatever reads text with a model. */
static bool is_for_reading(const pith_param_info *param)
{
    return strcmp(param->name, "threads") == 0 || strcmp(param->name, "invalid-utf8") == 0;
}

/* Parameters of encoding that texts of a bank are encoded by, whatever is asked later. */
static bool is_for_banks(const pith_param_info *param)
{
    return strcmp(param->name, "slots") == 0 || strcmp(param->name, "ratio") == 0;
}

static unsigned verbs_of_param(const pith_param_info *param)
{
    if (strcmp(param->scope, "score") == 0) {
        return is_for_reading(param) ? RUNS : SCORES;
    }
    if (strcmp(param->scope, "random") == 0) {
        return CLI_COMPRESS | CLI_RANK | SOFT;
    }
    if (strcmp(param->scope, "encode") == 0) {
        return is_for_banks(param) ? CLI_ENCODE | CLI_BANK : CLI_ENCODE;
    }
    if (strcmp(param->scope, "generate") == 0) {
        return strcmp(param->name, "max-tokens") == 0 ? CLI_GENERATE | CLI_PROBE : CLI_GENERATE;
    }
    return is_for_ranking(param) ? CLI_COMPRESS | CLI_RANK : CLI_COMPRESS;
}

static void make_table(void)
{
    for (size_t i = 0; i < pith_param_count(); i++) {
        add_param(pith_param_at(i), verbs_of_param(pith_param_at(i)));
    }
    const cli_verb *verb = NULL;
    for (size_t i = 0; (verb = cli_verb_at(i)) != NULL; i++) {
        const size_t count = verb->recipe == NULL ? 0 : pith_training_param_count(verb->recipe);
        for (size_t k = 0; k < count; k++) {
            add_param(pith_training_param_at(verb->recipe, k), verb->bit);
        }
    }
    for (size_t i = 0; i < OWN_COUNT; i++) {
        add_option(&own_options[i]);
    }
}

size_t cli_option_count(void)
{
    if (option_count == 0) {
        make_table();
    }
    return option_count;
}

cli_option cli_option_at(size_t index)
{
    (void)cli_option_count(); /* there is a table now */
    return all_options[index];
}

/* The group of a parameter of the library is that of the nearest named one before it. */
static const char *param_group(size_t index)
{
    for (size_t i = index + 1; i-- > 0;) {
        for (size_t k = 0; k < sizeof param_groups / sizeof param_groups[0]; k++) {
            if (strcmp(pith_param_at(i)->name, param_groups[k].first) == 0) {
                return param_groups[k].group;
            }
        }
    }
    return AMOUNT;
}

const char *cli_option_group(size_t index)
{
    if (index < pith_param_count()) {
        return param_group(index);
    }
    const cli_option option = cli_option_at(index);
    for (size_t i = 0; i < sizeof scope_groups / sizeof scope_groups[0]; i++) {
        if (strcmp(option.info.scope, scope_groups[i].scope) == 0) {
            return scope_groups[i].group;
        }
    }
    return option.group;
}

bool cli_option_find(unsigned verbs, const char *name, size_t size, cli_option *out)
{
    for (size_t i = 0; i < cli_option_count(); i++) {
        *out = cli_option_at(i);
        if ((out->verbs & verbs) != 0 && strlen(out->info.name) == size &&
            memcmp(out->info.name, name, size) == 0) {
            return true;
        }
    }
    return false;
}

bool cli_option_find_letter(unsigned verbs, char letter, cli_option *out)
{
    for (size_t i = 0; i < cli_option_count(); i++) {
        *out = cli_option_at(i);
        if ((out->verbs & verbs) != 0 && out->info.letter == letter) {
            return true;
        }
    }
    return false;
}

#define NAME_MAX_COMPARED 64

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions and replacements that turn one name into the other. */
static size_t edit_distance(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t row[NAME_MAX_COMPARED + 1];
    for (size_t j = 0; j <= b_size; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_size; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = smaller(replaced, smaller(row[j], row[j - 1]) + 1);
        }
    }
    return row[b_size];
}

/* What other programs call it. */
static const struct {
    const char *theirs;
    const char *ours;
} other_names[] = {{"n-predict", "max-tokens"},
                   {"predict", "max-tokens"},
                   {"max-new-tokens", "max-tokens"},
                   {"num-predict", "max-tokens"},
                   {"temp", "temperature"},
                   {"repeat-penalty", "repetition-penalty"},
                   {"repeat-last-n", "repetition-window"},
                   {"reverse-prompt", "stop"}};

/* The option of these verbs that another program has under this name, or NULL. */
static const char *known_elsewhere(unsigned verbs, const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof other_names / sizeof other_names[0]; i++) {
        cli_option option;
        const char *ours = other_names[i].ours;
        if (strlen(other_names[i].theirs) == size &&
            memcmp(name, other_names[i].theirs, size) == 0 &&
            cli_option_find(verbs, ours, strlen(ours), &option)) {
            return ours;
        }
    }
    return NULL;
}

const char *cli_option_nearest(unsigned verbs, const char *name, size_t size)
{
    const char *nearest = known_elsewhere(verbs, name, size);
    size_t best = SIZE_MAX;
    if (nearest != NULL || size == 0 || size > NAME_MAX_COMPARED) {
        return nearest;
    }
    for (size_t i = 0; i < cli_option_count(); i++) {
        const cli_option option = cli_option_at(i);
        const size_t length = strlen(option.info.name);
        if ((option.verbs & verbs) == 0 || length > NAME_MAX_COMPARED) {
            continue;
        }
        const size_t distance = edit_distance(name, size, option.info.name, length);
        if (distance < best) {
            best = distance;
            nearest = option.info.name;
        }
    }
    return best <= (size + 2) / 3 ? nearest : NULL;
}

bool cli_option_has_no(const cli_option *option)
{
    return option->info.type == PITH_PARAM_FLAG && strcmp(option->info.name, "help") != 0 &&
           strcmp(option->info.name, "version") != 0;
}

bool cli_option_shows_no(const cli_option *option)
{
    return cli_option_has_no(option) &&
           (option->store == CLI_STORE_PARAM || option->offset == offsetof(cli_settings, progress));
}

bool cli_option_is_list(const cli_option *option)
{
    return option->info.type == PITH_PARAM_LIST;
}

/* Longer lists of choices are told in the sentence. */
#define CHOICES_MAX 48

const char *cli_option_value_name(const cli_option *option)
{
    if (option->value_name != NULL) {
        return option->value_name;
    }
    switch (option->info.type) {
    case PITH_PARAM_INT:
        return "N";
    case PITH_PARAM_FLOAT:
        return "X";
    case PITH_PARAM_ENUM:
        return strlen(option->info.choices) <= CHOICES_MAX ? option->info.choices : "CHOICE";
    case PITH_PARAM_LIST:
        return strcmp(option->info.unit, "files") == 0    ? "FILE"
               : strcmp(option->info.unit, "tokens") == 0 ? "N"
                                                          : "TEXT";
    case PITH_PARAM_TEXT:
        return "TEXT";
    case PITH_PARAM_PATH:
        return "FILE";
    case PITH_PARAM_FLAG:
    default:
        return "";
    }
}

void cli_option_variable(const cli_option *option, char *out, size_t size)
{
    (void)snprintf(out, size, "PITH_ARG_%s", option->info.name);
    for (char *c = out; *c != '\0'; c++) {
        *c = (char)(*c == '-' ? '_' : toupper((unsigned char)*c));
    }
}
