/*
 * system.c: log, threads, files, locale and the clock.
 */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void pith__log_print(const pith__log *log, pith_log_level level, const char *format, ...)
{
    if (log->write == NULL) {
        return;
    }
    char message[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    log->write(log->user, level, message);
}

void pith__parallel(unsigned threads, size_t count, pith__parallel_fn fn, void *user)
{
    if (threads <= 1 || count <= 1) {
        for (size_t i = 0; i < count; i++) {
            fn(user, i, 0);
        }
        return;
    }
    const int team = (int)(threads < count ? threads : (unsigned)count);
    (void)team; /* without OpenMP nobody asks */
#pragma omp parallel for num_threads(team) schedule(dynamic, 1)
    for (size_t i = 0; i < count; i++) {
        fn(user, i, (unsigned)omp_get_thread_num());
    }
}

unsigned pith__threads_available(void)
{
    const int count = omp_get_num_procs();
    return count < 1 ? 1u : (unsigned)count;
}

static pith_status fail_errno(pith_error *err, const char *path, int number)
{
    char reason[128] = "unknown reason";
    (void)strerror_r(number, reason, sizeof reason);
    return pith__fail(err, PITH_E_IO, "cannot open \"%s\": %s", path, reason);
}

pith_status pith__file_open(const char *path, pith__file *out, pith_error *err)
{
    *out = (pith__file){NULL, 0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not make us wait */
    if (fd < 0) {
        return fail_errno(err, path, errno);
    }
    struct stat info;
    int number = 0;
    void *data = NULL;
    if (fstat(fd, &info) != 0) {
        number = errno;
    } else if (!S_ISREG(info.st_mode)) {
        number = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
    } else if (info.st_size > 0) {
        data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        number = data == MAP_FAILED ? errno : 0;
    }
    (void)close(fd);
    if (number != 0) {
        return fail_errno(err, path, number);
    }
    *out = (pith__file){data, (size_t)info.st_size};
    return PITH_OK;
}

void pith__file_close(pith__file *file)
{
    if (file->data != NULL) {
        (void)munmap((void *)(uintptr_t)file->data, file->size);
    }
    *file = (pith__file){NULL, 0};
}

locale_t pith__locale_enter(void)
{
    /* for "C", glibc hands out an object of its own: nothing to release, no failure */
    const locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return plain == (locale_t)0 ? plain : uselocale(plain);
}

void pith__locale_leave(locale_t before)
{
    if (before != (locale_t)0) {
        (void)uselocale(before);
    }
}

double pith__seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
