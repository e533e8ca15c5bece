/*
 * probe_table.c: JSONL files with texts under fixed keys, whole.
 */
#include "cli.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* An exit code. */
static int fail_line(const char *name, size_t line, const char *format, const char *what)
{
    pith_error err;
    char reason[200];
    (void)snprintf(reason, sizeof reason, "%s%s", format, what);
    (void)cli_fail(&err, PITH_E_SYNTAX, "line %zu: %s", line, reason);
    return cli_report(name, &err, NULL, 0);
}

/* An exit code. */
static int add_line(const cli_input *input, const char *line, size_t size, size_t number,
                    const char *const *keys, cli_table *out)
{
    json_error_t problem;
    json_t *object = json_loadb(line, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (object == NULL) {
        return fail_line(input->name, number, "not JSON: ", problem.text);
    }
    out->lines[out->count] = number;
    out->objects[out->count++] = object;
    for (size_t i = 0; keys[i] != NULL; i++) {
        if (!json_is_string(json_object_get(object, keys[i]))) {
            return fail_line(input->name, number, "no object with a string called ", keys[i]);
        }
    }
    return 0;
}

static size_t count_lines(const cli_input *input)
{
    size_t count = 1;
    for (size_t i = 0; i < input->size; i++) {
        count += input->data[i] == '\n';
    }
    return count;
}

static bool is_blank(const char *line, size_t size)
{
    size_t i = 0;
    while (i < size && strchr(" \t\r", line[i]) != NULL && line[i] != '\0') {
        i++;
    }
    return i == size;
}

/* An exit code. */
static int read_lines(const cli_input *input, const char *const *keys, cli_table *out)
{
    size_t number = 0;
    const size_t most = count_lines(input);
    out->objects = calloc(most, sizeof(json_t *));
    out->lines = calloc(most, sizeof *out->lines);
    if (out->objects == NULL || out->lines == NULL) {
        cli_message("out of memory");
        return pith_status_exit_code(PITH_E_MEMORY);
    }
    for (size_t at = 0; at < input->size;) {
        const char *line = input->data + at;
        const char *end = memchr(line, '\n', input->size - at);
        const size_t size = end == NULL ? input->size - at : (size_t)(end - line);
        number++;
        if (!is_blank(line, size)) {
            const int code = add_line(input, line, size, number, keys, out);
            if (code != 0) {
                return code;
            }
        }
        at += size + 1;
    }
    return out->count > 0 ? 0 : fail_line(input->name, number, "there is no record", "");
}

int cli_table_open(const char *path, const char *const *keys, cli_table *out)
{
    cli_input input;
    pith_error err;
    *out = (cli_table){.path = path};
    if (cli_input_read(path, &input, &err) != PITH_OK) {
        return cli_report(input.name, &err, NULL, 0);
    }
    const int code = read_lines(&input, keys, out);
    cli_input_free(&input);
    return code;
}

void cli_table_free(cli_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        json_decref(table->objects[i]);
    }
    free((void *)table->objects);
    free(table->lines);
    *table = (cli_table){0};
}

const char *cli_table_text(const cli_table *table, size_t index, const char *key, size_t *size)
{
    const json_t *text = json_object_get(table->objects[index], key);
    *size = json_string_length(text);
    return json_string_value(text);
}

int cli_table_report(const cli_table *table, size_t index, const pith_error *err)
{
    pith_error told;
    (void)cli_fail(&told, err->status, "line %zu: %s", table->lines[index], err->message);
    return cli_report(table->path, &told, NULL, 0);
}
