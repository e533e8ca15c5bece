/*
 * retention_table.c: the table of recipe retention for people: a line for every row.
 */
#include "cli.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* NUMBER: the longest that a double can be. */
enum { CELL = 40, COLUMNS = 11, NUMBER = 340 };

typedef struct line {
    char cells[COLUMNS][CELL];
} line;

/* ---- cells -------------------------------------------------------------------------------------- */

static double number_of(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* "2.345 ±0.012"; nothing where there is no number. */
static void put(char cell[CELL], const json_t *row, const char *key, const char *error_key,
                int digits)
{
    const double value = number_of(row, key);
    const double error = error_key == NULL ? (double)NAN : number_of(row, error_key);
    char text[2 * NUMBER] = "";
    if (isnan(value)) {
        cell[0] = '\0';
        return;
    }
    if (isnan(error)) {
        (void)snprintf(text, sizeof text, "%.*f", digits, value);
    } else {
        (void)snprintf(text, sizeof text, "%.*f ±%.*f", digits, value, digits, error);
    }
    (void)snprintf(cell, CELL, "%.*s", CELL - 1, text);
}

/* "truncated", "500x", "500x shuffled", "500x without 3". */
static void put_way(char cell[CELL], const json_t *row)
{
    const char *way = json_string_value(json_object_get(row, "way"));
    const char *method = json_string_value(json_object_get(row, "method"));
    const json_t *without = json_object_get(row, "without");
    way = way == NULL ? "" : way;
    if (method == NULL) {
        (void)snprintf(cell, CELL, "%s", way);
    } else if (json_is_number(without)) {
        (void)snprintf(cell, CELL, "%s without %ld", method, (long)json_number_value(without));
    } else {
        (void)snprintf(cell, CELL, "%s%s", method, strcmp(way, "shuffled") == 0 ? " shuffled" : "");
    }
}

static void fill(line *out, const json_t *row)
{
    const char *task = json_string_value(json_object_get(row, "task"));
    (void)snprintf(out->cells[0], CELL, "%s", task == NULL ? "" : task);
    put_way(out->cells[1], row);
    put(out->cells[2], row, "length", NULL, 0);
    put(out->cells[3], row, "slots", NULL, 0);
    put(out->cells[4], row, "stored_bytes", NULL, 0);
    put(out->cells[5], row, "nll", "nll_error", 3);
    put(out->cells[6], row, "rouge_l", "rouge_l_error", 3);
    put(out->cells[7], row, "bleu", "bleu_error", 3);
    put(out->cells[8], row, "exact", "exact_error", 3);
    put(out->cells[9], row, "f1", "f1_error", 3);
    put(out->cells[10], row, "retention", NULL, 1);
}

/* ---- columns ------------------------------------------------------------------------------------- */

/* Characters of UTF-8. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

/* The first two columns are words, the others numbers. */
static void print_line(FILE *file, const line *l, const int widths[COLUMNS])
{
    int owed = 0; /* blanks before the next text */
    for (int i = 0; i < COLUMNS; i++) {
        const char *cell = l->cells[i];
        const int blanks = widths[i] - width_of(cell);
        const bool is_word = i < 2;
        owed += is_word || cell[0] == '\0' ? 0 : blanks;
        if (cell[0] != '\0') {
            (void)fprintf(file, "%*s%s", owed, "", cell);
            owed = 0;
        }
        owed += (is_word || cell[0] == '\0' ? blanks : 0) + (widths[i] > 0 ? 2 : 0);
    }
    (void)fputc('\n', file);
}

static void print_rows(FILE *file, const json_t *rows, line *lines)
{
    static const line head = {{"task", "way", "length", "slots", "bytes", "nats", "ROUGE-L", "BLEU",
                               "exact", "F1", "kept %"}};
    const size_t count = json_array_size(rows);
    int widths[COLUMNS] = {0};
    for (size_t i = 0; i < count; i++) {
        fill(&lines[i], json_array_get(rows, i));
        for (int k = 0; k < COLUMNS; k++) {
            const int width = width_of(lines[i].cells[k]);
            widths[k] = width > widths[k] ? width : widths[k];
        }
    }
    line shown = {{""}};
    for (int k = 0; k < COLUMNS; k++) {
        if (widths[k] > 0) { /* a column without a number has no head either */
            const int width = width_of(head.cells[k]);
            (void)snprintf(shown.cells[k], CELL, "%s", head.cells[k]);
            widths[k] = width > widths[k] ? width : widths[k];
        }
    }
    print_line(file, &shown, widths);
    for (size_t i = 0; i < count; i++) {
        print_line(file, &lines[i], widths);
    }
}

bool cli_retention_write(void *user, const char *data, size_t size)
{
    FILE *file = user;
    json_error_t problem;
    json_t *root = json_loadb(data, size, 0, &problem);
    const json_t *rows = json_object_get(root, "rows");
    line *lines = calloc(json_array_size(rows) + 1, sizeof *lines);
    const bool can_print = json_is_array(rows) && lines != NULL;
    if (can_print) {
        print_rows(file, rows, lines);
    }
    free(lines);
    json_decref(root);
    return can_print && ferror(file) == 0;
}
