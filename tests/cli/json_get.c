/*
 * json_get.c: json_get [KEY...] reads JSON values from standard input, one per
 * line, and prints of each what the keys lead to, compact, one per line. A
 * value that is not there is printed as "absent". Exit code 1 when a line is
 * not JSON.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const json_t *follow(const json_t *value, int count, char **keys)
{
    for (int i = 0; i < count && value != NULL; i++) {
        value = json_is_array(value) ? json_array_get(value, strtoul(keys[i], NULL, 10))
                                     : json_object_get(value, keys[i]);
    }
    return value;
}

int main(int argc, char **argv)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t size = 0;
    int code = 0;
    while (code == 0 && (size = getline(&line, &room, stdin)) >= 0) {
        json_error_t problem;
        json_t *root =
            json_loadb(line, (size_t)size,
                       JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &problem);
        if (root == NULL) {
            (void)fprintf(stderr, "not JSON: %s\n", problem.text);
            code = 1;
            break;
        }
        const json_t *found = follow(root, argc - 1, argv + 1);
        if (found == NULL) {
            (void)fputs("absent", stdout);
        } else {
            (void)json_dumpf(found, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
        }
        (void)fputc('\n', stdout);
        json_decref(root);
    }
    free(line);
    return code;
}
