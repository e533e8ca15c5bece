/*
 * records.c: --jsonl, one JSON object per line in, one per line out.
 *
 * A record is {"id": anything, "text": "...", parameters of its own}. A bad
 * record becomes an error on its line and the run goes on.
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

static pith_status set_params(run *r, json_t *record, pith_error *err)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(record, key, value)
    {
        if (strcmp(key, "id") == 0 || strcmp(key, "text") == 0) {
            continue;
        }
        const pith_param_info *param = find_param(key);
        if (param == NULL) {
            return cli_fail(err, PITH_E_ARGUMENT, "no parameter \"%.64s\"", key);
        }
        r->overridden = true;
        const pith_status status = set_param(r, param, value, err);
        if (status != PITH_OK) {
            return status;
        }
    }
    return PITH_OK;
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

static pith_status run_record(run *r, json_t *record, pith_error *err)
{
    const json_t *text = json_object_get(record, "text");
    if (!json_is_string(text)) {
        return cli_fail(err, PITH_E_ARGUMENT, "\"text\" is missing or not a string");
    }
    if (r->overridden) {
        r->overridden = false;
        if (cli_engine_configure(&r->engine, r->settings) != 0) {
            return cli_fail(err, PITH_E_INTERNAL, "parameters cannot be restored");
        }
    }
    const pith_status status = set_params(r, record, err);
    if (status != PITH_OK) {
        return status;
    }
    return r->record(&r->engine, r->settings, json_string_value(text), json_string_length(text),
                     r->out.file, &r->tally, err);
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

int cli_records_run(const cli_settings *settings, cli_record_fn record)
{
    const char *name = settings->input == NULL ? "standard input" : settings->input;
    run r = {.settings = settings, .record = record};
    FILE *input = NULL;
    pith_error err;
    if (cli_input_stream(settings->input, &input, &err) != PITH_OK) {
        return cli_report(name, &err, NULL, 0);
    }
    int code = cli_engine_open(settings, &r.engine);
    if (code == 0) {
        pith_ctx_set_progress(r.engine.ctx, NULL, NULL); /* one bar, over all records */
        measure_input(&r, input);
        code = cli_output_open(settings->output, &r.out, &err) != PITH_OK
                   ? cli_report(NULL, &err, NULL, 0)
                   : run_lines(&r, input, name);
    }
    if (r.tally.records > 0) {
        print_tally(&r);
    }
    cli_output_discard(&r.out);
    cli_engine_close(&r.engine);
    (void)fclose(input);
    return code;
}
