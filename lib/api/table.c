/*
 * table.c: values set from text and given as text, by the row of a table.
 */
#include "api/table.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "keep_split" is "keep-split": the names of Python. */
static bool same_name(const char *name, const char *given)
{
    while (*name != '\0' && (*name == *given || (*name == '-' && *given == '_'))) {
        name++;
        given++;
    }
    return *name == *given;
}

/* Row `i`, or NULL if it is of other tables only. */
static const pith__param *row_of(const pith__param_table *table, size_t i)
{
    const pith__param *p = &table->rows[i];
    return p->uses == 0 || (p->uses & table->bit) != 0 ? p : NULL;
}

size_t pith__table_size(const pith__param_table *table)
{
    size_t size = 0;
    for (size_t i = 0; i < table->count; i++) {
        size += row_of(table, i) != NULL;
    }
    return size;
}

const pith__param *pith__table_at(const pith__param_table *table, size_t index)
{
    for (size_t i = 0; i < table->count; i++) {
        const pith__param *p = row_of(table, i);
        if (p != NULL && index-- == 0) {
            return p;
        }
    }
    return NULL;
}

const pith__param *pith__table_find(const pith__param_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++) {
        const pith__param *p = row_of(table, i);
        if (p != NULL && same_name(p->info.name, name)) {
            return p;
        }
    }
    return NULL;
}

/* The field of the right type; the table promises that type and offset agree. */
static void *field_of(void *values, const pith__param *p)
{
    return (unsigned char *)values + p->field;
}

/* ---- parsing one value --------------------------------------------------------------- */

/* Position of `value` within "a|b|c", or -1. */
static int choice_index(const char *choices, const char *value)
{
    const size_t size = strlen(value);
    int index = 0;
    for (const char *at = choices; *at != '\0'; index++) {
        const size_t length = strcspn(at, "|");
        if (length == size && memcmp(at, value, size) == 0) {
            return index;
        }
        at += length + (at[length] == '|');
    }
    return -1;
}

static pith_status parse_number(const pith_param_info *info, const char *value, double *out,
                                pith_error *err)
{
    char *end = NULL;
    const locale_t before = pith__locale_enter();
    const double number = strtod(value, &end);
    pith__locale_leave(before);
    const bool is_int = info->type == PITH_PARAM_INT;
    const size_t plain = strspn(value, "+-.0123456789eE");
    if (end == value || *end != '\0' || value[plain] != '\0') {
        return pith__fail(err, PITH_E_ARGUMENT, "%s: \"%s\" is not a %s", info->name, value,
                          is_int ? "whole number" : "number");
    }
    if (!(number >= info->min && number <= info->max)) {
        return pith__fail(err, PITH_E_RANGE, "%s: %s is outside %.15g to %.15g", info->name, value,
                          info->min, info->max);
    }
    if (is_int && number != (double)(int64_t)number) {
        return pith__fail(err, PITH_E_ARGUMENT, "%s: \"%s\" is not a whole number", info->name,
                          value);
    }
    *out = number;
    return PITH_OK;
}

static pith_status parse_flag(const pith_param_info *info, const char *value, bool *out,
                              pith_error *err)
{
    static const char *const yes[] = {"true", "1", "yes", "on"};
    static const char *const no[] = {"false", "0", "no", "off"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcmp(value, yes[i]) == 0 || strcmp(value, no[i]) == 0) {
            *out = strcmp(value, yes[i]) == 0;
            return PITH_OK;
        }
    }
    return pith__fail(err, PITH_E_ARGUMENT, "%s: \"%s\" is not true or false", info->name, value);
}

static pith_status parse_choice(const pith_param_info *info, const char *value, int *out,
                                pith_error *err)
{
    const int index = choice_index(info->choices, value);
    if (index < 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "%s: \"%s\" is not one of %s", info->name, value,
                          info->choices);
    }
    *out = index;
    return PITH_OK;
}

/* ---- texts ------------------------------------------------------------------------------ */

static pith_status copy_text(const pith_allocator *mem, const char *value, char **out,
                             pith_error *err)
{
    const size_t size = strlen(value) + 1;
    PITH__TRY(pith__alloc(mem, size, 1, out, err));
    memcpy(*out, value, size);
    return PITH_OK;
}

static void free_text(const pith_allocator *mem, char *text)
{
    if (text != NULL) {
        pith__free(mem, text, strlen(text) + 1, 1);
    }
}

static pith_status set_text(char **field, const pith_allocator *mem, const char *value,
                            pith_error *err)
{
    char *copy = NULL;
    PITH__TRY(copy_text(mem, value, &copy, err));
    free_text(mem, *field);
    *field = copy;
    return PITH_OK;
}

static pith_status append_text(pith__texts *texts, const pith_allocator *mem, const char *value,
                               pith_error *err)
{
    PITH__TRY(pith__grow(mem, &texts->items, &texts->capacity, texts->count + 1,
                         sizeof *texts->items, err));
    PITH__TRY(copy_text(mem, value, &texts->items[texts->count], err));
    texts->count++;
    return PITH_OK;
}

static void free_texts(pith__texts *texts, const pith_allocator *mem)
{
    for (size_t i = 0; i < texts->count; i++) {
        free_text(mem, texts->items[i]);
    }
    pith__free(mem, texts->items, texts->capacity, sizeof *texts->items);
    *texts = (pith__texts){NULL, 0, 0};
}

/* ---- the whole ---------------------------------------------------------------------------- */

static pith_status fail_unknown(const char *name, pith_error *err)
{
    return pith__fail(err, PITH_E_ARGUMENT, "no parameter is called \"%s\"", name);
}

pith_status pith__table_set(const pith__param_table *table, void *values, const pith_allocator *mem,
                            const char *name, const char *value, pith_error *err)
{
    const pith__param *p = pith__table_find(table, name);
    if (p == NULL) {
        return fail_unknown(name, err);
    }
    const pith_param_info *info = &p->info;
    void *field = field_of(values, p);
    const bool is_text = info->type == PITH_PARAM_LIST || info->type == PITH_PARAM_TEXT ||
                         info->type == PITH_PARAM_PATH;
    if (is_text && table->check != NULL) {
        PITH__TRY(table->check(info, value, mem, err));
    }
    switch (info->type) {
    case PITH_PARAM_INT:
    case PITH_PARAM_FLOAT:
        return parse_number(info, value, field, err);
    case PITH_PARAM_FLAG:
        return parse_flag(info, value, field, err);
    case PITH_PARAM_ENUM:
        return parse_choice(info, value, field, err);
    case PITH_PARAM_LIST:
        return append_text(field, mem, value, err);
    case PITH_PARAM_TEXT:
    case PITH_PARAM_PATH:
        return set_text(field, mem, value, err);
    }
    return pith__fail(err, PITH_E_INTERNAL, "parameter %s has no type", name);
}

/* Choice `index` of "a|b|c", which has that many. */
static void print_choice(const char *choices, int index, char out[PITH_VALUE_SIZE])
{
    for (; index > 0; index--) {
        choices += strcspn(choices, "|") + 1;
    }
    const size_t length = strcspn(choices, "|");
    assert(length < PITH_VALUE_SIZE);
    memcpy(out, choices, length);
    out[length] = '\0';
}

/* The fewest digits that read back as the same number; nothing for one that was not given. */
static void print_number(double number, char out[PITH_VALUE_SIZE])
{
    const locale_t before = pith__locale_enter();
    bool same = number < 0.0;
    out[0] = '\0';
    for (int digits = 6; !same && digits <= 17; digits++) {
        (void)snprintf(out, PITH_VALUE_SIZE, "%.*g", digits, number);
        same = strtod(out, NULL) == number;
    }
    pith__locale_leave(before);
}

/* The value of a row that is no list: in `text`, or elsewhere if it is text already. */
static const char *print_value(const pith__param *p, const void *field, char text[PITH_VALUE_SIZE])
{
    switch (p->info.type) {
    case PITH_PARAM_ENUM:
        print_choice(p->info.choices, *(const int *)field, text);
        return text;
    case PITH_PARAM_FLAG:
        return *(const bool *)field ? "true" : "false";
    case PITH_PARAM_TEXT:
    case PITH_PARAM_PATH: {
        const char *given = *(char *const *)field;
        return given != NULL ? given : p->info.default_value;
    }
    case PITH_PARAM_INT:
    case PITH_PARAM_FLOAT:
    case PITH_PARAM_LIST:
    default:
        print_number(*(const double *)field, text);
        return text;
    }
}

pith_status pith__table_get(const pith__param_table *table, const void *values, const char *name,
                            char *value, size_t size, pith_error *err)
{
    const pith__param *p = pith__table_find(table, name);
    char scratch[PITH_VALUE_SIZE] = "";
    if (size > 0) {
        value[0] = '\0';
    }
    if (p == NULL) {
        return fail_unknown(name, err);
    }
    if (p->info.type == PITH_PARAM_LIST) {
        return pith__fail(err, PITH_E_ARGUMENT, "%s: a list has no one value", name);
    }
    const char *text = print_value(p, (const unsigned char *)values + p->field, scratch);
    const size_t length = strlen(text);
    if (length >= size) {
        return pith__fail(err, PITH_E_RANGE, "%s: the value takes %zu bytes, there are %zu", name,
                          length + 1, size);
    }
    memcpy(value, text, length + 1);
    return PITH_OK;
}

static void init_field(const pith__param_table *table, const pith__param *p, void *values)
{
    const pith_param_type type = p->info.type;
    if (type == PITH_PARAM_LIST) {
        *(pith__texts *)field_of(values, p) = (pith__texts){NULL, 0, 0};
    } else if (type == PITH_PARAM_TEXT || type == PITH_PARAM_PATH) {
        *(char **)field_of(values, p) = NULL;
    } else if (p->info.default_value[0] != '\0') {
        const pith_status status =
            pith__table_set(table, values, NULL, p->info.name, p->info.default_value, NULL);
        assert(status == PITH_OK); /* a default that its own parameter refuses */
        (void)status;
    } else if (type == PITH_PARAM_INT || type == PITH_PARAM_FLOAT) {
        *(double *)field_of(values, p) = -1.0;
    }
}

void pith__table_init(const pith__param_table *table, void *values)
{
    for (size_t i = 0; i < table->count; i++) {
        const pith__param *p = row_of(table, i);
        if (p != NULL) {
            init_field(table, p, values);
        }
    }
}

void pith__table_deinit(const pith__param_table *table, void *values, const pith_allocator *mem)
{
    for (size_t i = 0; i < table->count; i++) {
        const pith__param *p = row_of(table, i);
        if (p != NULL && p->info.type == PITH_PARAM_LIST) {
            free_texts(field_of(values, p), mem);
        } else if (p != NULL &&
                   (p->info.type == PITH_PARAM_TEXT || p->info.type == PITH_PARAM_PATH)) {
            free_text(mem, *(char **)field_of(values, p));
            *(char **)field_of(values, p) = NULL;
        }
    }
}
