/*
 * cli.h: what the files of the program share.
 *
 * The program stands on pith.h, the C library and jansson, and on nothing
 * inside the library. A command is a function from settings to an exit code;
 * the settings come from two tables of options, the library's parameters and
 * the program's own, and so do --help, the man page and the completions.
 */
#ifndef PITH_CLI_H
#define PITH_CLI_H

#include "pith/pith.h"

#include <stdio.h>

#if defined(__GNUC__)
#define CLI_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define CLI_PRINTF(format_index, first)
#endif

/* ---- exit codes beyond pith_status_exit_code() ---------------------------- */

#define CLI_EXIT_USAGE 2
#define CLI_EXIT_INPUT 3
#define CLI_EXIT_PIPE  141 /* the reader of our output went away: what a shell reports for SIGPIPE */

/* ---- settings: what the command line asked for --------------------------- */

/* A flag that can be left to the program to decide. */
typedef enum cli_switch { CLI_UNSET = 0, CLI_YES = 1, CLI_NO = 2 } cli_switch;

/* In the order of the option's choices. */
typedef enum cli_color { CLI_COLOR_AUTO = 0, CLI_COLOR_ALWAYS = 1, CLI_COLOR_NEVER = 2 } cli_color;

/* In the order of the option's choices. */
typedef enum cli_capsule_method {
    CLI_CAPSULE_AUTO = 0,
    CLI_CAPSULE_GIST = 1,
    CLI_CAPSULE_CC = 2,
    CLI_CAPSULE_500X = 3,
    CLI_CAPSULE_ICAE = 4,
    CLI_CAPSULE_SELFCP = 5,
    CLI_CAPSULE_MEAN = 6
} cli_capsule_method;

/* One library parameter given a value, in the order of the command line. */
typedef struct cli_assignment {
    const pith_param_info *param;
    const char *value;
    bool from_environment;
} cli_assignment;

/* Words of the command line; the list is owned. */
typedef struct cli_words {
    const char **items;
    size_t count;
} cli_words;

/* Part of what is read before something is written: in the order of the command line. */
typedef enum cli_piece_kind {
    CLI_PIECE_TEXT,   /* the words themselves */
    CLI_PIECE_FILE,   /* a text, or a capsule if it is one */
    CLI_PIECE_CAPSULE /* a capsule */
} cli_piece_kind;

typedef struct cli_piece {
    cli_piece_kind kind;
    const char *value; /* borrowed */
} cli_piece;

typedef struct cli_pieces {
    cli_piece *items;
    size_t count;
} cli_pieces;

/* Strings are borrowed from argv and the environment; NULL means not given. */
typedef struct cli_settings {
    const char *verb;
    const char *model;
    const char *lora;
    const char *compressor;
    const char *input; /* file, or "-" */
    const char *prompt;
    const char *question;
    const char *question_file;
    const char *instruction;
    const char *instruction_file;
    const char *output;
    const char *html;
    const char *count_with;
    const char *mark;
    const char *response;
    const char *original;
    const char *compressed;
    const char *trigger;
    const char *questions;
    const char *instructions;
    uint32_t samples;
    uint32_t top; /* 0: not given */
    uint32_t question_tokens;
    uint32_t capsule_type; /* pith_capsule_type */
    uint32_t method;       /* cli_capsule_method */
    uint32_t precision;    /* pith_precision */
    uint32_t color;        /* cli_color */
    cli_switch json, jsonl, units, heat, progress, verbose, dropped, logprobs, help, version;
    pith_bench_options bench;
    cli_assignment *assignments; /* owned */
    size_t assignment_count;
    cli_words contexts; /* of --context */
    cli_words attributes;
    cli_words operands;
    cli_pieces pieces; /* operands too, of a verb that takes pieces */
} cli_settings;

void cli_settings_deinit(cli_settings *settings);

/* ---- verbs ---------------------------------------------------------------- */

/* One bit per verb, so that an option can name all verbs that take it. */
#define CLI_COMPRESS 1U
#define CLI_SCORE    2U
#define CLI_INSPECT  4U
#define CLI_RECOVER  8U
#define CLI_BENCH    16U
#define CLI_HELP     32U
#define CLI_DOCS     64U
#define CLI_RANK     128U
#define CLI_TRAIN    256U /* without a recipe; the recipes follow */

#define CLI_TRAIN_TOKENIZER 512U
#define CLI_TRAIN_BASE      1024U
#define CLI_TRAIN_ALIGN     2048U
#define CLI_TRAIN_EVALUATE  4096U
#define CLI_TRAIN_CC        8192U
#define CLI_TRAIN_DISTILL   16384U
#define CLI_TRAIN_GIST      32768U
#define CLI_TRAIN_500X      524288U
#define CLI_TRAIN_ICAE      1048576U
#define CLI_TRAIN_SELFCP    2097152U
#define CLI_TRAIN_RETENTION 4194304U

/* Those that learn in steps, and may be stopped between two of them. */
#define CLI_LEARNS                                                                          \
    (CLI_TRAIN_BASE | CLI_TRAIN_ALIGN | CLI_TRAIN_CC | CLI_TRAIN_DISTILL | CLI_TRAIN_GIST | \
     CLI_TRAIN_500X | CLI_TRAIN_ICAE | CLI_TRAIN_SELFCP)
#define CLI_RECIPES (CLI_TRAIN_TOKENIZER | CLI_LEARNS | CLI_TRAIN_EVALUATE | CLI_TRAIN_RETENTION)

#define CLI_ENCODE   65536U
#define CLI_GENERATE 131072U
#define CLI_PROBE    262144U
#define CLI_BANK     8388608U

typedef struct cli_verb {
    const char *name;                         /* "train base" for a recipe */
    int (*run)(const cli_settings *settings); /* reports its own errors, returns the exit code */
    const char *summary;                      /* one line for the list of verbs */
    const char *operands;                     /* as the usage line shows them */
    size_t operands_min, operands_max;        /* SIZE_MAX: any number */
    unsigned bit;                             /* CLI_COMPRESS, ... */
    bool hidden;                              /* for the build, not for people */
    const char *description;                  /* one paragraph */
    const char *recipe;                       /* of "train": the second word; else NULL */
} cli_verb;

/* NULL past the end; in the order in which help shows them. */
const cli_verb *cli_verb_at(size_t index);

/* NULL if there is no such verb, or recipe of "train". */
const cli_verb *cli_verb_find(const char *name);
const cli_verb *cli_verb_find_recipe(const char *recipe);

int cli_run_compress(const cli_settings *settings);
int cli_run_score(const cli_settings *settings);
int cli_run_inspect(const cli_settings *settings);
int cli_run_recover(const cli_settings *settings);
int cli_run_rank(const cli_settings *settings);
int cli_run_encode(const cli_settings *settings);
int cli_run_generate(const cli_settings *settings);
int cli_run_probe(const cli_settings *settings);
int cli_run_bank(const cli_settings *settings);
int cli_run_bench(const cli_settings *settings);
int cli_run_train(const cli_settings *settings);
int cli_run_help(const cli_settings *settings);
int cli_run_docs(const cli_settings *settings);

/* ---- options -------------------------------------------------------------- */

/* Where the value of an option goes. */
typedef enum cli_store {
    CLI_STORE_TEXT,   /* a const char * of the settings */
    CLI_STORE_SWITCH, /* a cli_switch of the settings */
    CLI_STORE_CHOICE, /* a uint32_t of the settings: index of the choice */
    CLI_STORE_NUMBER, /* a uint32_t of the settings */
    CLI_STORE_WORDS,  /* one more of a cli_words of the settings */
    CLI_STORE_PIECE,  /* one more of the pieces; `offset` is its cli_piece_kind */
    CLI_STORE_PARAM   /* the list of assignments, for pith_ctx_set() */
} cli_store;

typedef struct cli_option {
    pith_param_info info;
    const char *value_name; /* "FILE"; NULL: made from the type */
    const char *group;      /* of an option of ours: see cli_option_group() */
    unsigned verbs;         /* that take it */
    cli_store store;
    size_t offset;                /* in cli_settings; unused for CLI_STORE_PARAM */
    const pith_param_info *param; /* of the library, for CLI_STORE_PARAM */
} cli_option;

/* Number of options of all tables: the library's parameters, those of its recipes, ours. */
size_t cli_option_count(void);

/* `index` must be below cli_option_count(). */
cli_option cli_option_at(size_t index);

/* Headings of help in their order; NULL past the end. */
const char *cli_group_at(size_t index);

/* The heading under which help shows an option; one of cli_group_at(). */
const char *cli_option_group(size_t index);

/* Options of the given verbs by long name or by letter; false if there is none. */
bool cli_option_find(unsigned verbs, const char *name, size_t size, cli_option *out);
bool cli_option_find_letter(unsigned verbs, char letter, cli_option *out);

/* The long name closest to `name`, or NULL if none is close. */
const char *cli_option_nearest(unsigned verbs, const char *name, size_t size);

/* True if --no-NAME exists as well. */
bool cli_option_has_no(const cli_option *option);

/* True if help should show it: saying no to it makes a difference without the environment. */
bool cli_option_shows_no(const cli_option *option);

/* True if every value given counts, not only the last. */
bool cli_option_is_list(const cli_option *option);

/* "FILE", "N", "token|word": what --help prints after the name; "" for a flag. Choices that do not
 * fit on its line are "CHOICE", and cli_help_sentence() lists them. */
const char *cli_option_value_name(const cli_option *option);

/* The variable that gives the option a default, "PITH_ARG_TARGET_TOKENS", cut to `size` bytes. */
void cli_option_variable(const cli_option *option, char *out, size_t size);

/*
 * Reads what follows the verb, then the environment for options not given.
 * Reports mistakes itself. Returns 0 or an exit code; on success the settings
 * are to be released with cli_settings_deinit().
 */
int cli_options_parse(const cli_verb *verb, int argc, char **argv, cli_settings *out);

/* ---- help and generated documents ---------------------------------------- */

void cli_help_program(FILE *file);
void cli_help_recipes(FILE *file); /* what "train" can be followed by */
void cli_help_verb(const cli_verb *verb, FILE *file);

/* Enough for any cli_help_sentence(). */
#define CLI_SENTENCE_SIZE 768

/* help, range and default of an option in one line, written to `out` (cut to `size` bytes). */
void cli_help_sentence(const cli_option *option, char *out, size_t size);

void cli_docs_man(FILE *file);
void cli_docs_bash(FILE *file);
void cli_docs_zsh(FILE *file);
void cli_docs_fish(FILE *file);

/* ---- errors and messages: standard error ---------------------------------- */

/* Fills *err and returns `status`. The offset is PITH_NO_OFFSET. */
pith_status cli_fail(pith_error *err, pith_status status, const char *format, ...) CLI_PRINTF(3, 4);

/* "pith: format". */
void cli_message(const char *format, ...) CLI_PRINTF(1, 2);

/* "pith VERB: format", a hint at --help, and CLI_EXIT_USAGE. */
int cli_usage_error(const cli_settings *settings, const char *format, ...) CLI_PRINTF(2, 3);

/*
 * "pith: name: message (byte N, line L, column C)" and the exit code. `name`
 * and `text` may be NULL; line and column are those of the offset in `text`.
 * Says nothing when the reader of our output went away.
 */
int cli_report(const char *name, const pith_error *err, const char *text, size_t size);

/* The same for a parameter that was refused: names the option or the variable it came from. */
int cli_report_assignment(const cli_assignment *assignment, const pith_error *err);

/* strerror(), without its race: the text for `number` in `out`. Returns `out`. */
const char *cli_errno_text(int number, char *out, size_t size);

/* ---- input ----------------------------------------------------------------- */

typedef struct cli_input {
    const char *name; /* for messages: the file, "standard input" or "prompt"; borrowed */
    const char *path; /* the file, borrowed; NULL: it came from somewhere else */
    char *data;       /* owned, not NUL-terminated; NULL if size is 0 */
    size_t size;
} cli_input;

#define CLI_INPUT_MAX ((size_t)1 << 30)

/* Reads a file, or standard input for "-" or NULL. Fails with E_IO or E_MEMORY. */
pith_status cli_input_read(const char *path, cli_input *out, pith_error *err);

/* A copy of a text from the command line. Fails with E_MEMORY. */
pith_status cli_input_copy(const char *name, const char *text, cli_input *out, pith_error *err);

/* Opens a file to be read piece by piece; "-" or NULL is standard input. Never a directory. */
pith_status cli_input_stream(const char *path, FILE **out, pith_error *err);

void cli_input_free(cli_input *input);

/* ---- prompt: the texts that the command line names -------------------------- */

/* In the order of the output: the instruction, the contexts, the question. */
typedef struct cli_prompt {
    cli_input *inputs; /* owned */
    pith_part *parts;  /* owned; their texts are those of `inputs` */
    size_t count;
} cli_prompt;

/*
 * Reads everything: the instruction, `files`, --prompt, the --context files and the question. An
 * instruction or a question without a byte is none. `or_stdin`: standard input is the context if
 * there is no other. Reports errors; an exit code. The prompt is to be freed either way.
 */
int cli_prompt_open(const cli_settings *settings, const char *const *files, size_t file_count,
                    bool or_stdin, cli_prompt *out);

/* Reads a question or an instruction: its text, or its file, or nothing. Reports errors; an exit
 * code. */
int cli_prompt_open_question(const cli_settings *settings, cli_input *out);
int cli_prompt_open_instruction(const cli_settings *settings, cli_input *out);

/* Frees everything and leaves no parts. */
void cli_prompt_free(cli_prompt *prompt);

/* All parts as pith_compress_parts() joins them, owned by the caller. Fails with E_MEMORY. */
pith_status cli_prompt_join(const cli_prompt *prompt, cli_input *out, pith_error *err);

/* cli_report() for an error of a call with all parts: its offset is a byte of the joined text. */
int cli_prompt_report(const cli_prompt *prompt, const pith_error *err);

/* "context", "instruction" or "question". */
const char *cli_role_name(pith_role role);

/* ---- pieces: texts and capsules, in their order -------------------------------- */

/* What pith_generate() reads, and everything that it lies in. */
typedef struct cli_read_pieces {
    pith_piece *items;
    cli_input *inputs;       /* (count) */
    pith_capsule **capsules; /* (count), or NULL */
    size_t count;
} cli_read_pieces;

/* Reads them; names are of files, and "-" is standard input. Reports errors; an exit code. To be
 * freed either way. */
int cli_pieces_open(const cli_piece *pieces, size_t count, cli_read_pieces *out);
void cli_pieces_free(cli_read_pieces *pieces);

/* Reads a capsule. Reports errors; an exit code. */
int cli_capsule_open(const char *path, pith_capsule **out);

/* ---- output ----------------------------------------------------------------- */

/*
 * Standard output, or a file that appears under its name only when it is
 * complete: written beside it, renamed by cli_output_commit(), removed by
 * cli_output_discard() and by a fatal signal.
 */
typedef struct cli_output {
    FILE *file;
    char *path; /* the name it will have; NULL: written in place */
    char *temporary;
    bool owned; /* file is ours to close */
} cli_output;

/*
 * Ignores SIGPIPE, removes temporary files before a fatal signal ends us, and
 * makes reading or writing a closed standard stream an error. Call first.
 */
void cli_output_init(void);

/* path NULL or "-": standard output. */
pith_status cli_output_open(const char *path, cli_output *out, pith_error *err);

/* Flushes and publishes. E_IO when any byte was lost. `output` is closed either way. */
pith_status cli_output_commit(cli_output *output, pith_error *err);

/* Closes and removes what is not committed. Accepts a zeroed struct. */
void cli_output_discard(cli_output *output);

/* Saves under a name; `user` is the caller's. */
typedef pith_status (*cli_save_fn)(void *user, const char *path, pith_error *err);

/*
 * Commits what can only be saved under a name: it is saved to a passing file, and the output, which
 * may be a pipe, gets a copy. *bytes, if not NULL, are those of the file. Fails like `save`, and with
 * E_IO; the output is closed if all of it was written, and else to be discarded.
 */
pith_status cli_output_save(cli_output *output, cli_save_fn save, void *user, size_t *bytes,
                            pith_error *err);

/*
 * Whether --output names the regular file `path`, which is read and is the `role` ("text"): a usage
 * error then, whose exit code this returns, else 0. `path` may be NULL. The other one asks for the
 * model, its adapter and the compressor.
 */
int cli_output_check(const cli_settings *settings, const char *role, const char *path);
int cli_output_check_models(const cli_settings *settings);

/* True once writing met a closed pipe. */
bool cli_output_pipe_closed(void);

/* A pith_write_fn; `user` is a FILE. */
bool cli_write(void *user, const char *data, size_t size);

/* The same for the whole object of recipe retention, which is printed as a table. */
bool cli_retention_write(void *user, const char *data, size_t size);

/* Whether to colour what goes to `file`. */
bool cli_use_color(const cli_settings *settings, FILE *file);

/* ---- JSON -------------------------------------------------------------------- */

/* A JSON string, or null when the bytes are not valid UTF-8. */
void cli_json_string(FILE *file, const char *data, size_t size);

/* The same for a NUL-terminated string; null for NULL. */
void cli_json_name(FILE *file, const char *name);

/* "key":"..." or, when the bytes are not valid UTF-8, "key_base64":"...". */
void cli_json_text(FILE *file, const char *key, const char *data, size_t size);

/* A number with `digits` significant digits; null when it is not finite. */
void cli_json_number(FILE *file, double value, int digits);

/* Whether the bytes are valid UTF-8: what JSON can hold as a string. */
bool cli_is_utf8(const char *data, size_t size);

/* Between quotes, on one line whatever the bytes. Parts of a character (`whole` is false) and
 * control characters appear as escapes, since a terminal could not show them. */
void cli_write_quoted(FILE *file, const char *text, size_t size, bool whole);

/* Decodes `size` characters of base64. NULL if they are not; the caller frees. */
char *cli_base64_decode(const char *text, size_t size, size_t *out_size);

/* ---- progress ------------------------------------------------------------------ */

typedef struct cli_progress {
    bool on;
    bool drawn;
    double last; /* seconds, when it was drawn */
} cli_progress;

/* A clock that only goes forward. */
double cli_seconds(void);

/* On when asked for, or when standard error is a terminal. */
cli_progress cli_progress_start(const cli_settings *settings);

/* A pith_progress_fn; `user` is a cli_progress. */
bool cli_progress_show(void *user, const char *stage, size_t done, size_t total);

/* Takes the bar off the screen. */
void cli_progress_clear(cli_progress *progress);

/* ---- engine: model, context and counter as the settings want them ---------------- */

typedef struct cli_engine {
    pith_model *model;
    pith_compressor *compressor; /* NULL: none. The context uses it, by its method */
    pith_ctx *ctx;
    pith_tokenizer *counter; /* NULL: the model's own */
    const char *model_name;
    const char *counter_name;
    cli_progress progress;
    bool verbose;
} cli_engine;

/* Reports errors itself; an exit code. The engine is to be closed either way; must not move. */
int cli_engine_open(const cli_settings *settings, cli_engine *out);

/*
 * Whether `err` of a call with these pieces speaks of one of them: the first text that is not UTF-8,
 * or the first capsule that the model may not read. It is reported under its name then, and *code is
 * the exit code. Calls look at their pieces in order: ask in that order, too.
 */
bool cli_pieces_report(const cli_read_pieces *pieces, const cli_engine *engine,
                       const pith_error *err, int *code);

/* All parameters as the settings say, the preset first. Reports errors; an exit code. */
int cli_engine_configure(cli_engine *engine, const cli_settings *settings);

/* True for the parameter that sets others. */
bool cli_param_is_preset(const pith_param_info *param);

/* The parameter's value as it holds now, in `value`; "" for a list. */
const char *cli_engine_param(const cli_engine *engine, const char *name,
                             char value[PITH_VALUE_SIZE]);

void cli_engine_close(cli_engine *engine);

/* ---- job: one prompt in, one result out ----------------------------------------- */

/* Everything that compressing or scoring one prompt opens; must not move while open. */
typedef struct cli_job {
    const cli_settings *settings;
    cli_prompt prompt; /* scoring takes one part */
    cli_engine engine;
    cli_output out;
    cli_output html; /* file is NULL unless --html was given */
} cli_job;

/* Where the heat map goes: standard output, or standard error when the result goes to a file. */
FILE *cli_job_heat_file(const cli_job *job);

/* Whether the text or the object is to be printed, not only the heat map. */
bool cli_job_wants_result(const cli_job *job);

/* Publishes the page and the result. */
pith_status cli_job_commit(cli_job *job, pith_error *err);

/* ---- records: one JSON object per line in and out --------------------------------- */

typedef struct cli_tally {
    size_t records, failed;
    size_t source_tokens, kept_tokens;
} cli_tally;

/*
 * Does one record: writes ',"key":value' members to `file`, nothing on
 * failure, and adds to the tally.
 */
typedef pith_status (*cli_record_fn)(cli_engine *engine, const cli_settings *settings,
                                     const pith_part *parts, size_t count, FILE *file,
                                     cli_tally *tally, pith_error *err);

/*
 * Runs `record` over all lines of the input. `takes_parts`: records may have more than one part,
 * and those without an instruction or a question get that of the settings. An exit code.
 */
int cli_records_run(const cli_settings *settings, cli_record_fn record, bool takes_parts);

/* ---- results of compressing -------------------------------------------------------- */

/* Tokens left of those there were; 1 for an empty text, of which nothing was dropped. */
double cli_rate_of(size_t source, size_t kept);

/* The members of the JSON object, between its braces. `prompt` names the parts; NULL: no names. */
void cli_result_write_members(FILE *file, const cli_engine *engine, const cli_settings *settings,
                              const cli_prompt *prompt, const pith_result *result);

/* A line for every part; nothing for a result of one. */
void cli_result_write_parts(FILE *file, const cli_prompt *prompt, const pith_result *result);

/* A copy of ranges, ascending; the caller frees. NULL: no memory. */
pith_range *cli_ranges_sorted(const pith_range *ranges, size_t count);

/* ---- recovery: a result as JSON beside its source ------------------------------------ */

typedef struct cli_recovery {
    cli_input source; /* all parts, joined */
    cli_input object; /* the JSON as bytes */
    struct json_t *root;
    const char *text; /* the compressed text, `size` bytes */
    size_t size;
    char *decoded;      /* owned; what `text` points at when it came as base64 */
    pith_range *ranges; /* of the source, in the order of the text */
    pith_range *sorted; /* the same, ascending */
    size_t count;
} cli_recovery;

/*
 * Reads the object from `path` and builds its text again from the parts of `prompt`: they are what
 * was compressed, or this reports an error and returns its exit code. To be freed either way.
 */
int cli_recovery_open(const char *path, const cli_prompt *prompt, cli_recovery *out);
void cli_recovery_free(cli_recovery *r);

/* ---- probing ---------------------------------------------------------------------------- */

/* What pith probe works on. */
typedef struct cli_probe {
    const cli_settings *settings;
    cli_engine engine;
    pith_capsule *capsule;
    cli_input source;
    cli_output out;
    cli_output html; /* file is NULL unless --html was given */
} cli_probe;

/* Lines of a JSONL file, each an object with certain texts. */
typedef struct cli_table {
    const char *path;
    struct json_t **objects; /* (count) owned */
    size_t *lines;           /* (count) where they are, from 1 */
    size_t count;
} cli_table;

/*
 * Reads a file whose every line is an object in which all of `keys` (up to a NULL) are strings; empty
 * lines are passed over. Reports errors; an exit code. To be freed either way.
 */
int cli_table_open(const char *path, const char *const *keys, cli_table *out);
void cli_table_free(cli_table *table);

/* cli_report() for what is wrong with object `index`. */
int cli_table_report(const cli_table *table, size_t index, const pith_error *err);

/* A text of object `index`, NUL-terminated, valid as long as the table. */
const char *cli_table_text(const cli_table *table, size_t index, const char *key, size_t *size);

/* A prompt that a text is read after. */
typedef struct cli_probe_way {
    const pith_piece *pieces;
    size_t count;
} cli_probe_way;

/*
 * out[i] (n_ways): mean nats per token of `text` after ways[i]. They are of the same tokens: of those
 * that something precedes in all ways; NaN if there is none. Fails like pith_score_after().
 */
pith_status cli_probe_nats(const cli_probe *probe, const cli_probe_way *ways, size_t n_ways,
                           const char *text, size_t size, double *out, pith_error *err);

/* Each does its probe and writes to probe->out. Reports errors; an exit code. */
int cli_probe_recall(cli_probe *probe);
int cli_probe_questions(cli_probe *probe);
int cli_probe_instructions(cli_probe *probe);

/* How a verb does one record, and one prompt. */
typedef struct cli_work {
    cli_record_fn record;
    bool takes_parts; /* see cli_records_run() */
    int (*one)(cli_job *job);
} cli_work;

/*
 * A whole verb: its records with --jsonl, else the job that the settings describe, opened before
 * and closed after it. Reports errors; an exit code.
 */
int cli_job_run(const cli_settings *settings, const cli_work *work);

#endif /* PITH_CLI_H */
