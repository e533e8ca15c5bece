/*
 * golden_json.h: reference values from JSON files.
 */
#ifndef PITH_GOLDEN_JSON_H
#define PITH_GOLDEN_JSON_H

#include "test.h"

#include <jansson.h>

/* Loads a JSON file or fails the test. json_decref() it. */
static inline json_t *golden_load(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (root == NULL) {
        fail_msg("%s:%d: %s", path, error.line, error.text);
    }
    return root;
}

/* An integer member; the test fails if it is missing. */
static inline int64_t golden_integer(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) {
        fail_msg("no integer \"%s\"", key);
    }
    return json_integer_value(value);
}

#endif /* PITH_GOLDEN_JSON_H */
