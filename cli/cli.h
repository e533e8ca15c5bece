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

/* One library parameter given a value, in the order of the command line. */
typedef struct cli_assignment {
    const pith_param_info *param;
    const char *value;
    bool from_environment;
} cli_assignment;

/* Strings are borrowed from argv and the environment; NULL means not given. */
typedef struct cli_settings {
    const char *verb;
    const char *model;
    const char *input; /* file, or "-" */
    const char *prompt;
    const char *output;
    const char *html;
    const char *count_with;
    const char *mark;
    uint32_t precision; /* pith_precision */
    uint32_t color;     /* cli_color */
    cli_switch json, jsonl, units, heat, progress, verbose, dropped, help, version;
    pith_bench_options bench;
    cli_assignment *assignments; /* owned */
    size_t assignment_count;
    const char *operands[2];
    size_t operand_count;
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

typedef struct cli_verb {
    const char *name;
    int (*run)(const cli_settings *settings); /* reports its own errors, returns the exit code */
    const char *summary;                      /* one line for the list of verbs */
    const char *operands;                     /* as the usage line shows them */
    size_t operands_min, operands_max;
    unsigned bit;            /* CLI_COMPRESS, ... */
    bool hidden;             /* for the build, not for people */
    const char *description; /* one paragraph */
} cli_verb;

/* NULL past the end; in the order in which help shows them. */
const cli_verb *cli_verb_at(size_t index);

/* NULL if there is no such verb. */
const cli_verb *cli_verb_find(const char *name);

int cli_run_compress(const cli_settings *settings);
int cli_run_score(const cli_settings *settings);
int cli_run_inspect(const cli_settings *settings);
int cli_run_recover(const cli_settings *settings);
int cli_run_bench(const cli_settings *settings);
int cli_run_help(const cli_settings *settings);
int cli_run_docs(const cli_settings *settings);

/* ---- options -------------------------------------------------------------- */

/* Where the value of an option goes. */
typedef enum cli_store {
    CLI_STORE_TEXT,   /* a const char * of the settings */
    CLI_STORE_SWITCH, /* a cli_switch of the settings */
    CLI_STORE_CHOICE, /* a uint32_t of the settings: index of the choice */
    CLI_STORE_NUMBER, /* a uint32_t of the settings */
    CLI_STORE_PARAM   /* the list of assignments, for pith_ctx_set() */
} cli_store;

typedef struct cli_option {
    pith_param_info info;
    const char *value_name; /* "FILE"; NULL: made from the type */
    unsigned verbs;         /* that take it */
    cli_store store;
    size_t offset;                /* in cli_settings; unused for CLI_STORE_PARAM */
    const pith_param_info *param; /* of the library, for CLI_STORE_PARAM */
} cli_option;

/* Number of options of both tables: first the library's parameters, then ours. */
size_t cli_option_count(void);

/* `index` must be below cli_option_count(). */
cli_option cli_option_at(size_t index);

/* Options of the given verbs by long name or by letter; false if there is none. */
bool cli_option_find(unsigned verbs, const char *name, size_t size, cli_option *out);
bool cli_option_find_letter(unsigned verbs, char letter, cli_option *out);

/* The long name closest to `name`, or NULL if none is close. */
const char *cli_option_nearest(unsigned verbs, const char *name, size_t size);

/* True if --no-NAME exists as well. */
bool cli_option_has_no(const cli_option *option);

/* True if help should show it: saying no to it makes a difference without the environment. */
bool cli_option_shows_no(const cli_option *option);

/* "FILE", "N", "token|word": what --help prints after the name; "" for a flag. */
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
void cli_help_verb(const cli_verb *verb, FILE *file);

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

/* strerror(), without its race: the text for `number` in `out`. Returns `out`. */
const char *cli_errno_text(int number, char *out, size_t size);

/* ---- input ----------------------------------------------------------------- */

typedef struct cli_input {
    const char *name; /* for messages: the file, "standard input" or "prompt"; borrowed */
    char *data;       /* owned, not NUL-terminated; NULL if size is 0 */
    size_t size;
} cli_input;

#define CLI_INPUT_MAX ((size_t)1 << 30)

/* Reads a file, or standard input for "-" or NULL. Fails with E_IO or E_MEMORY. */
pith_status cli_input_read(const char *path, cli_input *out, pith_error *err);

/* What the settings name: the prompt, the file or standard input. Reports errors; an exit code. */
int cli_input_open(const cli_settings *settings, cli_input *out);

/* Opens a file to be read piece by piece; "-" or NULL is standard input. Never a directory. */
pith_status cli_input_stream(const char *path, FILE **out, pith_error *err);

void cli_input_free(cli_input *input);

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

/* True once writing met a closed pipe. */
bool cli_output_pipe_closed(void);

/* A pith_write_fn; `user` is a FILE. */
bool cli_write(void *user, const char *data, size_t size);

/* Whether to colour what goes to `file`. */
bool cli_use_color(const cli_settings *settings, FILE *file);

/* ---- JSON -------------------------------------------------------------------- */

/* A JSON string, or null when the bytes are not valid UTF-8. */
void cli_json_string(FILE *file, const char *data, size_t size);

/* "key":"..." or, when the bytes are not valid UTF-8, "key_base64":"...". */
void cli_json_text(FILE *file, const char *key, const char *data, size_t size);

/* A number with `digits` significant digits; null when it is not finite. */
void cli_json_number(FILE *file, double value, int digits);

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
    pith_ctx *ctx;
    pith_tokenizer *counter; /* NULL: the model's own */
    const char *model_name;
    const char *counter_name;
    cli_progress progress;
    bool verbose;
} cli_engine;

/* Reports errors itself; an exit code. The engine is to be closed either way; must not move. */
int cli_engine_open(const cli_settings *settings, cli_engine *out);

/* All parameters as the settings say. Reports errors; an exit code. */
int cli_engine_configure(cli_engine *engine, const cli_settings *settings);

/* The parameter's value as it holds now, in `value`; "" for a list. */
const char *cli_engine_param(const cli_engine *engine, const char *name,
                             char value[PITH_VALUE_SIZE]);

void cli_engine_close(cli_engine *engine);

/* ---- job: one text in, one result out ------------------------------------------- */

/* Everything that compressing or scoring one text opens; must not move while open. */
typedef struct cli_job {
    const cli_settings *settings;
    cli_input input;
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
                                     const char *text, size_t size, FILE *file, cli_tally *tally,
                                     pith_error *err);

/* Runs `record` over all lines of the input. An exit code. */
int cli_records_run(const cli_settings *settings, cli_record_fn record);

/*
 * A whole verb: `record` over all lines with --jsonl, else `one` on the job that the settings
 * describe, opened before and closed after it. Reports errors; an exit code.
 */
int cli_job_run(const cli_settings *settings, cli_record_fn record, int (*one)(cli_job *job));

#endif /* PITH_CLI_H */
