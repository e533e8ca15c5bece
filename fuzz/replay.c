/*
 * replay.c: runs a fuzz target over every file of the folders and files given, without libFuzzer,
 * so that inputs that once broke something stay part of the ordinary tests.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The whole file in a block of exactly its size, so that a sanitizer sees the first byte beyond. */
static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    struct stat info;
    uint8_t *data = NULL;
    if (file != NULL && stat(path, &info) == 0) {
        *size = (size_t)info.st_size;
        data = malloc(*size == 0 ? 1 : *size);
    }
    if (data != NULL && fread(data, 1, *size, file) != *size) {
        free(data);
        data = NULL;
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return data;
}

static bool replay_file(const char *path)
{
    size_t size = 0;
    uint8_t *data = read_file(path, &size);
    if (data == NULL) {
        (void)fprintf(stderr, "replay: cannot read %s\n", path);
        return false;
    }
    /* named beforehand: a crash has no chance to say where */
    (void)fprintf(stderr, "%s: %zu bytes\n", path, size);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return true;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* Number of files replayed, or -1 if one could not be read. */
static int replay_folder(const char *path)
{
    struct dirent **entries = NULL;
    const int count = scandir(path, &entries, is_visible, alphasort);
    bool good = count >= 0;
    for (int i = 0; i < count; i++) {
        char name[4096];
        const int length = snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        good = good && length > 0 && (size_t)length < sizeof name && replay_file(name);
        free(entries[i]);
    }
    free(entries);
    return good ? count : -1;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        struct stat info;
        if (stat(argv[i], &info) != 0) {
            (void)fprintf(stderr, "replay: no file or folder %s\n", argv[i]);
            return 1;
        }
        const int count =
            S_ISDIR(info.st_mode) ? replay_folder(argv[i]) : (replay_file(argv[i]) ? 1 : -1);
        if (count < 0) {
            return 1;
        }
        total += count;
    }
    (void)printf("%d inputs\n", total);
    return total > 0 ? 0 : 1; /* an empty corpus tests nothing */
}
