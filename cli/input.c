/*
 * input.c: a file, standard input or a text of the command line, whole, up to 1 GiB.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pith_status fail_errno(pith_error *err, int number)
{
    char text[128];
    return cli_fail(err, number == ENOMEM ? PITH_E_MEMORY : PITH_E_IO, "%s",
                    cli_errno_text(number, text, sizeof text));
}

static bool is_stdin(const char *path)
{
    return path == NULL || strcmp(path, "-") == 0;
}

/* Opens `path`; *size is its size when it is a regular file, else 0. */
static pith_status open_path(const char *path, int *fd, size_t *size, pith_error *err)
{
    struct stat about;
    *fd = is_stdin(path) ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &about) != 0) {
        return fail_errno(err, errno);
    }
    *size = S_ISREG(about.st_mode) && about.st_size > 0 ? (size_t)about.st_size : 0;
    return S_ISDIR(about.st_mode) ? fail_errno(err, EISDIR) : PITH_OK;
}

static void close_path(int fd)
{
    if (fd > STDIN_FILENO) {
        (void)close(fd);
    }
}

/* Room for at least one more byte than is used. */
static pith_status grow(cli_input *input, size_t *room, pith_error *err)
{
    const size_t wanted = *room < 32768 ? 65536 : *room * 2;
    char *grown = realloc(input->data, wanted);
    if (grown == NULL) {
        return cli_fail(err, PITH_E_MEMORY, "no memory for %zu bytes of input", wanted);
    }
    input->data = grown;
    *room = wanted;
    return PITH_OK;
}

static pith_status read_all(int fd, size_t expected, cli_input *out, pith_error *err)
{
    size_t room = expected;
    while (out->size <= CLI_INPUT_MAX) {
        if (out->data == NULL || out->size == room) {
            /* one byte more than expected, so that the end is seen without growing */
            room = out->data == NULL && expected > 0 ? expected / 2 + 1 : room;
            const pith_status status = grow(out, &room, err);
            if (status != PITH_OK) {
                return status;
            }
        }
        const ssize_t got = read(fd, out->data + out->size, room - out->size);
        if (got == 0) {
            return PITH_OK;
        }
        if (got < 0 && errno != EINTR) {
            return fail_errno(err, errno);
        }
        out->size += got > 0 ? (size_t)got : 0;
    }
    return cli_fail(err, PITH_E_IO, "larger than the limit of %zu bytes", CLI_INPUT_MAX);
}

pith_status cli_input_read(const char *path, cli_input *out, pith_error *err)
{
    int fd = -1;
    size_t expected = 0;
    *out = (cli_input){.name = is_stdin(path) ? "standard input" : path,
                       .path = is_stdin(path) ? NULL : path};
    pith_status status = open_path(path, &fd, &expected, err);
    if (status == PITH_OK && expected > CLI_INPUT_MAX) {
        status = cli_fail(err, PITH_E_IO, "larger than the limit of %zu bytes", CLI_INPUT_MAX);
    }
    if (status == PITH_OK && fd == STDIN_FILENO && isatty(fd) && isatty(STDERR_FILENO)) {
        cli_message("reading from the terminal, end with Ctrl-D");
    }
    if (status == PITH_OK) {
        status = read_all(fd, expected, out, err);
    }
    close_path(fd);
    if (status != PITH_OK) {
        cli_input_free(out);
    }
    return status;
}

pith_status cli_input_copy(const char *name, const char *text, cli_input *out, pith_error *err)
{
    *out = (cli_input){.name = name};
    const size_t size = strlen(text);
    out->data = malloc(size + 1);
    if (out->data == NULL) {
        return cli_fail(err, PITH_E_MEMORY, "no memory for the %s", name);
    }
    memcpy(out->data, text, size);
    out->size = size;
    return PITH_OK;
}

pith_status cli_input_stream(const char *path, FILE **out, pith_error *err)
{
    int fd = -1;
    size_t size = 0;
    *out = NULL;
    const pith_status status = open_path(path, &fd, &size, err);
    if (status != PITH_OK) {
        close_path(fd);
        return status;
    }
    *out = fdopen(fd, "r");
    if (*out == NULL) {
        const int number = errno;
        close_path(fd);
        return fail_errno(err, number);
    }
    return PITH_OK;
}

void cli_input_free(cli_input *input)
{
    free(input->data);
    input->data = NULL;
    input->size = 0;
}
