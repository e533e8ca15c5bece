/*
 * records.c: --jsonl, one JSON object per line in, one per line out.
 *
 * A record is {"id": anything, "text": "...", parameters of its own}, for
 * compress also with "context" (a string or several) in place of "text", with
 * "instruction" and "question". A bad record becomes an error on its line and
 * the run goes on.
 */
#include "cli.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct run {
    const cli_settings *settings;
    cli_record_fn record;
    bool takes_parts;      /* not only "text" */
    cli_input instruction; /* of records that have none of their own */
    cli_input question;
    cli_engine engine;
    cli_output out;
    cli_tally tally;
    bool overridden; /* the last record changed parameters */
    size_t bytes;    /* of the input, or 0 if unknown */
    size_t bytes_done;
} run;

/* ---- parameters of a record ------------------------------------------------------ */

/* The parameter called `key`, with "_" for "-" allowed; NULL if there is none. */
static const pith_param_info *find_param(const char *key)
{
    for (size_t i = 0; i < pith_param_count(); i++) {
        const char *name = pith_param_at(i)->name;
        size_t n = 0;
        while (name[n] != '\0' && (key[n] == name[n] || (name[n] == '-' && key[n] == '_'))) {
            n++;
        }
        if (name[n] == '\0' && key[n] == '\0') {
            return pith_param_at(i);
        }
    }
    return NULL;
}

/* One JSON value as the text that pith_ctx_set() takes. */
static pith_status set_one(run *r, const char *name, const json_t *value, pith_error *err)
{
    char number[64];
    const char *text = number;
    if (json_is_string(value)) {
        text = json_string_value(value);
    } else if (json_is_boolean(value)) {
        text = json_is_true(value) ? "true" : "false";
    } else if (json_is_integer(value)) {
        (void)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        (void)snprintf(number, sizeof number, "%.17g", json_real_value(value));
    } else {
        return cli_fail(err, PITH_E_ARGUMENT, "%s: not a string, number or boolean", name);
    }
    return pith_ctx_set(r->engine.ctx, name, text, err);
}

static pith_status set_param(run *r, const pith_param_info *param, const json_t *value,
                             pith_error *err)
{
    if (param->type != PITH_PARAM_LIST || !json_is_array(value)) {
        return set_one(r, param->name, value, err);
    }
    for (size_t i = 0; i < json_array_size(value); i++) {
        const pith_status status = set_one(r, param->name, json_array_get(value, i), err);
        if (status != PITH_OK) {
            return status;
        }
    }
    return PITH_OK;
}

/* True if the key is no parameter but the record itself. */
static bool is_content(const run *r, const char *key)
{
    return strcmp(key, "id") == 0 || strcmp(key, "text") == 0 ||
           (r->takes_parts && (strcmp(key, "context") == 0 || strcmp(key, "instruction") == 0 ||
                               strcmp(key, "question") == 0));
}

/* Only the preset, or all others: a preset must not undo what stands beside it. */
static pith_status set_params(run *r, json_t *record, bool is_preset, pith_error *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(record, key, value)
    {
        if (is_content(r, key)) {
            continue;
        }
        const pith_param_info *param = find_param(key);
        if (param == NULL) {
            return cli_fail(err, PITH_E_ARGUMENT, "no parameter \"%.64s\"", key);
        }
        if (cli_param_is_preset(param) != is_preset) {
            continue;
        }
        r->overridden = true;
        const pith_status status = set_param(r, param, value, err);
        if (status != PITH_OK) {
            return status;
        }
    }
    return PITH_OK;
}

/* ---- parts of a record ------------------------------------------------------------ */

static void add_part(pith_part *parts, size_t *count, pith_role role, const json_t *text)
{
    parts[(*count)++] = (pith_part){role, json_string_value(text), json_string_length(text)};
}

/* "text" or "context"; there is room for the contexts. */
static pith_status read_contexts(const run *r, const json_t *record, pith_part *parts,
                                 size_t *count, pith_error *err)
{
    const json_t *text = json_object_get(record, "text");
    const json_t *context = r->takes_parts ? json_object_get(record, "context") : NULL;
    if (text != NULL && context != NULL) {
        return cli_fail(err, PITH_E_ARGUMENT, "\"text\" and \"context\" exclude each other");
    }
    if (context == NULL || json_is_string(context)) {
        const json_t *one = context == NULL ? text : context;
        if (!json_is_string(one)) {
            return cli_fail(err, PITH_E_ARGUMENT, "\"text\" is missing or not a string");
        }
        add_part(parts, count, PITH_CONTEXT, one);
        return PITH_OK;
    }
    for (size_t i = 0; i < json_array_size(context); i++) {
        const json_t *one = json_array_get(context, i);
        if (!json_is_string(one)) {
            return cli_fail(err, PITH_E_ARGUMENT, "\"context\" %zu is not a string", i);
        }
        add_part(parts, count, PITH_CONTEXT, one);
    }
    return json_is_array(context) || context == NULL
               ? PITH_OK
               : cli_fail(err, PITH_E_ARGUMENT, "\"context\" is not a string or an array of them");
}

/* The record's own, or the command line's. One without a byte, or null, is none. */
static pith_status read_optional(const json_t *own, const char *key, const cli_input *common,
                                 pith_role role, pith_part *parts, size_t *count, pith_error *err)
{
    if (own == NULL && common->size > 0) {
        parts[(*count)++] = (pith_part){role, common->data, common->size};
    } else if (json_is_string(own)) {
        if (json_string_length(own) > 0) {
            add_part(parts, count, role, own);
        }
    } else if (own != NULL && !json_is_null(own)) {
        return cli_fail(err, PITH_E_ARGUMENT, "\"%s\" is not a string", key);
    }
    return PITH_OK;
}

/* In the order of cli_prompt. The caller frees *out, whatever comes of it. */
static pith_status read_parts(const run *r, const json_t *record, pith_part **out, size_t *count,
                              pith_error *err)
{
    const size_t contexts = json_array_size(json_object_get(record, "context"));
    pith_part *parts = calloc(contexts + 3, sizeof *parts);
    *out = parts;
    *count = 0;
    if (parts == NULL) {
        return cli_fail(err, PITH_E_MEMORY, "no memory for %zu contexts", contexts);
    }
    const json_t *instruction = r->takes_parts ? json_object_get(record, "instruction") : NULL;
    const json_t *question = r->takes_parts ? json_object_get(record, "question") : NULL;
    pith_status status = read_optional(instruction, "instruction", &r->instruction,
                                       PITH_INSTRUCTION, parts, count, err);
    if (status == PITH_OK) {
        status = read_contexts(r, record, parts, count, err);
    }
    if (status == PITH_OK) {
        status =
            read_optional(question, "question", &r->question, PITH_QUESTION, parts, count, err);
    }
    return status;
}

/* ---- one record ------------------------------------------------------------------- */

static void write_error(FILE *file, const pith_error *err)
{
    (void)fprintf(file,
                  ",\"error\":{\"status\":\"%s\",\"message\":", pith_status_name(err->status));
    cli_json_string(file, err->message, strlen(err->message));
    if (err->offset == PITH_NO_OFFSET) {
        (void)fputs(",\"offset\":null}", file);
    } else {
        (void)fprintf(file, ",\"offset\":%zu}", err->offset);
    }
}

static pith_status parse_record(const char *line, size_t size, json_t **out, pith_error *err)
{
    json_error_t problem;
    *out = json_loadb(line, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (*out == NULL) {
        (void)cli_fail(err, PITH_E_SYNTAX, "%.*s", (int)sizeof err->message - 1, problem.text);
        err->offset = problem.position < 0 ? PITH_NO_OFFSET : (size_t)problem.position;
        return PITH_E_SYNTAX;
    }
    if (!json_is_object(*out)) {
        return cli_fail(err, PITH_E_SYNTAX, "not an object");
    }
    return PITH_OK;
}

/* The parameters of this record: the command line's, then its own. */
static pith_status configure(run *r, json_t *record, pith_error *err)
{
    if (r->overridden) {
        r->overridden = false;
        if (cli_engine_configure(&r->engine, r->settings) != 0) {
            return cli_fail(err, PITH_E_INTERNAL, "parameters cannot be restored");
        }
    }
    const pith_status status = set_params(r, record, true, err);
    return status != PITH_OK ? status : set_params(r, record, false, err);
}

static pith_status run_record(run *r, json_t *record, pith_error *err)
{
    pith_part *parts = NULL;
    size_t count = 0;
    pith_status status = read_parts(r, record, &parts, &count, err);
    if (status == PITH_OK) {
        status = configure(r, record, err);
    }
    if (status == PITH_OK) {
        status = r->record(&r->engine, r->settings, parts, count, r->out.file, &r->tally, err);
    }
    free(parts);
    return status;
}

static void do_line(run *r, const char *line, size_t size)
{
    FILE *file = r->out.file;
    json_t *record = NULL;
    pith_error err;
    pith_status status = parse_record(line, size, &record, &err);
    const json_t *id = json_object_get(record, "id");
    (void)fputs("{\"id\":", file);
    if (id == NULL || json_dumpf(id, file, JSON_ENCODE_ANY | JSON_COMPACT) != 0) {
        (void)fputs("null", file);
    }
    if (status == PITH_OK) {
        status = run_record(r, record, &err);
    }
    if (status != PITH_OK) {
        write_error(file, &err);
        r->tally.failed++;
    }
    r->tally.records++;
    (void)fputs("}\n", file);
    json_decref(record);
}

/* ---- all records --------------------------------------------------------------------- */

static bool is_blank(const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (strchr(" \t\r\n", line[i]) == NULL || line[i] == '\0') {
            return false;
        }
    }
    return true;
}

static void show_progress(run *r)
{
    if (r->bytes > 0) {
        (void)cli_progress_show(&r->engine.progress, "records", r->bytes_done, r->bytes);
    }
}

/* An exit code. Stops early only when nobody reads the output any more. */
static int run_lines(run *r, FILE *input, const char *name)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t got = 0;
    pith_error err;
    errno = 0;
    while ((got = getline(&line, &room, input)) >= 0) {
        r->bytes_done += (size_t)got;
        if (!is_blank(line, (size_t)got)) {
            do_line(r, line, (size_t)got);
            if (fflush(r->out.file) != 0) {
                break;
            }
        }
        show_progress(r);
        errno = 0;
    }
    const int number = errno;
    free(line);
    cli_progress_clear(&r->engine.progress);
    if (got < 0 && (ferror(input) != 0 || number == ENOMEM)) {
        char text[128];
        (void)cli_fail(&err, number == ENOMEM ? PITH_E_MEMORY : PITH_E_IO, "%s",
                       cli_errno_text(number, text, sizeof text));
        return cli_report(name, &err, NULL, 0);
    }
    if (cli_output_commit(&r->out, &err) != PITH_OK) {
        return cli_report(NULL, &err, NULL, 0);
    }
    return r->tally.failed > 0 ? CLI_EXIT_INPUT : 0;
}

static void print_tally(const run *r)
{
    if (r->settings->verbose == CLI_YES || r->engine.progress.on || r->tally.failed > 0) {
        cli_message("%zu records, %zu failed, %zu -> %zu tokens", r->tally.records, r->tally.failed,
                    r->tally.source_tokens, r->tally.kept_tokens);
    }
}

static void measure_input(run *r, FILE *input)
{
    struct stat about;
    if (fstat(fileno(input), &about) == 0 && S_ISREG(about.st_mode) && about.st_size > 0) {
        r->bytes = (size_t)about.st_size;
    }
}

/* What all records share. An exit code. */
static int open_common(run *r)
{
    const int code = cli_prompt_open_instruction(r->settings, &r->instruction);
    return code != 0 ? code : cli_prompt_open_question(r->settings, &r->question);
}

static int open_and_run(run *r, FILE *input, const char *name)
{
    pith_error err;
    int code = open_common(r);
    if (code == 0) {
        code = cli_engine_open(r->settings, &r->engine);
    }
    if (code != 0) {
        return code;
    }
    pith_ctx_set_progress(r->engine.ctx, NULL, NULL); /* one bar, over all records */
    measure_input(r, input);
    return cli_output_open(r->settings->output, &r->out, &err) != PITH_OK
               ? cli_report(NULL, &err, NULL, 0)
               : run_lines(r, input, name);
}

int cli_records_run(const cli_settings *settings, cli_record_fn record, bool takes_parts)
{
    const char *name = settings->input == NULL ? "standard input" : settings->input;
    run r = {.settings = settings, .record = record, .takes_parts = takes_parts};
    FILE *input = NULL;
    pith_error err;
    if (cli_input_stream(settings->input, &input, &err) != PITH_OK) {
        return cli_report(name, &err, NULL, 0);
    }
    const int code = open_and_run(&r, input, name);
    if (r.tally.records > 0) {
        print_tally(&r);
    }
    cli_output_discard(&r.out);
    cli_engine_close(&r.engine);
    cli_input_free(&r.instruction);
    cli_input_free(&r.question);
    (void)fclose(input);
    return code;
}
