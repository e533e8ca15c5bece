/*
 * new_file.c: files that appear whole or not at all.
 */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Names tried for the file beside. */
#define ATTEMPTS 100u

static pith_status fail_errno(pith_error *err, const char *path, int number)
{
    char reason[128] = "unknown reason";
    (void)strerror_r(number, reason, sizeof reason);
    return pith__fail(err, PITH_E_IO, "cannot write \"%s\": %s", path, reason);
}

pith_status pith__new_file_open(const char *path, pith__new_file *out, pith_error *err)
{
    *out = (pith__new_file){.descriptor = -1};
    if (path[0] == '\0' || strlen(path) >= sizeof out->path) {
        return pith__fail(err, PITH_E_ARGUMENT, "a path is empty or too long: \"%.60s\"", path);
    }
    (void)snprintf(out->path, sizeof out->path, "%s", path);
    /* a name nobody else has: neither another thread, nor a killed process of the same number */
    static atomic_uint counter;
    for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
        (void)snprintf(out->temporary, sizeof out->temporary, "%s.%ld-%u.new", path, (long)getpid(),
                       atomic_fetch_add(&counter, 1));
        out->descriptor =
            open(out->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (out->descriptor >= 0 || errno != EEXIST) {
            break;
        }
    }
    return out->descriptor < 0 ? fail_errno(err, path, errno) : PITH_OK;
}

bool pith__new_file_write(void *user, const char *data, size_t size)
{
    pith__new_file *file = user;
    while (size > 0 && file->failed == 0) {
        const ssize_t written = write(file->descriptor, data, size);
        if (written >= 0) {
            data += written;
            size -= (size_t)written;
        } else if (errno != EINTR) {
            file->failed = errno;
        }
    }
    return file->failed == 0;
}

void pith__new_file_abort(pith__new_file *file)
{
    if (file->descriptor >= 0) {
        (void)close(file->descriptor);
        (void)unlink(file->temporary);
        file->descriptor = -1;
    }
}

/* The rename itself must reach the disk too. A file system that cannot do it is not an error. */
static void sync_folder(const char *path)
{
    char name[4096] = ".";
    const char *slash = strrchr(path, '/');
    if (slash != NULL && (size_t)(slash - path) + 1 < sizeof name) {
        memcpy(name, path, (size_t)(slash - path) + 1); /* with the slash: "/" is the root */
        name[slash - path + 1] = '\0';
    }
    const int folder = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        (void)fsync(folder);
        (void)close(folder);
    }
}

pith_status pith__new_file_commit(pith__new_file *file, pith_error *err)
{
    int number = file->failed;
    if (number == 0 && fsync(file->descriptor) != 0 && errno != EINVAL) {
        number = errno;
    }
    if (number == 0 && rename(file->temporary, file->path) != 0) {
        number = errno;
    }
    if (number != 0) {
        pith__new_file_abort(file);
        return fail_errno(err, file->path, number);
    }
    (void)close(file->descriptor);
    file->descriptor = -1;
    sync_folder(file->path);
    return PITH_OK;
}
