/*
 * table.h: a table of parameters, and values set from text by it. What the
 * parameters are for is the business of who has the table.
 */
#ifndef PITH_API_TABLE_H
#define PITH_API_TABLE_H

#include "base/base.h"

/* A list parameter's entries, NUL-terminated, in the order given. */
typedef struct pith__texts {
    char **items;
    size_t count;
    size_t capacity;
} pith__texts;

/* Enumerations list their choices in the order of their numbers; "|" separates. */
typedef struct pith__param {
    pith_param_info info;
    size_t field;  /* offset in the values, see pith__table_init() */
    unsigned uses; /* bits of the tables that have it; 0: all */
} pith__param;

/* Refuses entries of lists and texts that make no sense, with the parameter's name in the message. */
typedef pith_status (*pith__param_check)(const pith_param_info *info, const char *value,
                                         const pith_allocator *mem, pith_error *err);

/* Tables may share their rows, and the struct of their values; one that does has a bit. */
typedef struct pith__param_table {
    const pith__param *rows;
    size_t count;            /* of rows, those of other tables too */
    unsigned bit;            /* 0: all rows are ours */
    pith__param_check check; /* or NULL */
} pith__param_table;

/* Number of rows that are the table's. */
size_t pith__table_size(const pith__param_table *table);

/* Row number `index` among those; NULL past the end. */
const pith__param *pith__table_at(const pith__param_table *table, size_t index);

/* "keep_split" is "keep-split" too: the names of Python. NULL if there is none. */
const pith__param *pith__table_find(const pith__param_table *table, const char *name);

/*
 * Values are a struct of the table's owner with a field for every row, by type:
 *
 *     INT, FLOAT   double; negative: not given
 *     FLAG         bool
 *     ENUM         int, or an enum whose first choice is 0
 *     LIST         pith__texts
 *     TEXT, PATH   char *; NULL: not given, the default counts
 *
 * Gives those of the table their defaults; the struct must not hold anything yet.
 */
void pith__table_init(const pith__param_table *table, void *values);

/* Releases lists and texts. */
void pith__table_deinit(const pith__param_table *table, void *values, const pith_allocator *mem);

/* One value from text; see pith_ctx_set(). Nothing changes on failure. */
PITH_NODISCARD pith_status pith__table_set(const pith__param_table *table, void *values,
                                           const pith_allocator *mem, const char *name,
                                           const char *value, pith_error *err);

/* One value as text; see pith_ctx_get(). */
PITH_NODISCARD pith_status pith__table_get(const pith__param_table *table, const void *values,
                                           const char *name, char *value, size_t size,
                                           pith_error *err);

#endif /* PITH_API_TABLE_H */
