/*
 * output.c: results that are complete or absent.
 *
 * A file is written under another name beside its place and renamed when all
 * of it is on the disk. What is not a regular file (a pipe, /dev/null) is
 * written in place. Names of unfinished files are kept where a signal handler
 * finds them.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PENDING_MAX 4

static const char *volatile pending[PENDING_MAX];
static bool pipe_closed;

/* ---- signals -------------------------------------------------------------- */

static void remove_pending(int number)
{
    for (size_t i = 0; i < PENDING_MAX; i++) {
        if (pending[i] != NULL) {
            (void)unlink(pending[i]);
        }
    }
    (void)raise(number); /* the default action, as the handler is gone */
}

static const int fatal_signals[] = {SIGINT, SIGTERM, SIGHUP};
#define FATAL_COUNT (sizeof fatal_signals / sizeof fatal_signals[0])

/* A closed standard stream would be the next file we open; make using it an error instead. */
static void occupy_standard_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
        }
    }
}

/* oneDNN's products use the stack pointer for other things: a handler needs a stack of its own. It
 * is the first thread's, which the system prefers. */
static void make_signal_stack(void)
{
    static char room[1 << 16];
    const stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    (void)sigaltstack(&stack, NULL);
}

void cli_output_init(void)
{
    occupy_standard_streams();
    make_signal_stack();
    struct sigaction action = {.sa_handler = SIG_IGN};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGPIPE, &action, NULL);
    for (size_t i = 0; i < FATAL_COUNT; i++) {
        struct sigaction before;
        /* nohup's wish to ignore SIGHUP is respected */
        if (sigaction(fatal_signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            action.sa_handler = remove_pending;
            action.sa_flags = (int)(SA_RESETHAND | SA_ONSTACK);
            (void)sigaction(fatal_signals[i], &action, NULL);
        }
    }
}

/* Holds fatal signals back while a file and its entry in `pending` disagree. */
static void hold_signals(sigset_t *before)
{
    sigset_t fatal;
    (void)sigemptyset(&fatal);
    for (size_t i = 0; i < FATAL_COUNT; i++) {
        (void)sigaddset(&fatal, fatal_signals[i]);
    }
    (void)pthread_sigmask(SIG_BLOCK, &fatal, before);
}

static void release_signals(const sigset_t *before)
{
    (void)pthread_sigmask(SIG_SETMASK, before, NULL);
}

static void replace_pending(const char *old, const char *new)
{
    for (size_t i = 0; i < PENDING_MAX; i++) {
        if (pending[i] == old) {
            pending[i] = new;
            return;
        }
    }
}

/* ---- opening ----------------------------------------------------------------- */

/* `number` 0: stdio met an error earlier and its reason is lost. */
static pith_status fail_path(pith_error *err, const char *path, int number)
{
    char text[128];
    return cli_fail(err, PITH_E_IO, "%s%s%s", path == NULL ? "" : path, path == NULL ? "" : ": ",
                    number == 0 ? "not all of the output could be written"
                                : cli_errno_text(number, text, sizeof text));
}

/* The mode a plain open() would give, or that of the file to be replaced. */
static mode_t wanted_mode(const struct stat *existing)
{
    if (existing != NULL) {
        return existing->st_mode & 0777;
    }
    const mode_t mask = umask(0);
    (void)umask(mask);
    return 0666 & ~mask;
}

/* "dir/name" -> "dir/name.XXXXXX", or NULL. */
static char *temporary_name(const char *path)
{
    static const char suffix[] = ".XXXXXX";
    const size_t size = strlen(path);
    char *name = malloc(size + sizeof suffix);
    if (name != NULL) {
        memcpy(name, path, size + 1);
        memcpy(name + size, suffix, sizeof suffix);
    }
    return name;
}

static pith_status open_temporary(cli_output *out, const struct stat *existing, pith_error *err)
{
    sigset_t before;
    out->temporary = temporary_name(out->path);
    if (out->temporary == NULL) {
        return fail_path(err, out->path, ENOMEM);
    }
    hold_signals(&before);
    const int fd = mkstemp(out->temporary);
    const int number = errno;
    if (fd >= 0) {
        replace_pending(NULL, out->temporary);
    }
    release_signals(&before);
    if (fd < 0) {
        free(out->temporary);
        out->temporary = NULL;
        return fail_path(err, out->path, number);
    }
    out->file = fdopen(fd, "w");
    if (out->file == NULL || fchmod(fd, wanted_mode(existing)) != 0) {
        const int reason = errno;
        if (out->file == NULL) {
            (void)close(fd);
        }
        return fail_path(err, out->path, reason);
    }
    return PITH_OK;
}

pith_status cli_output_open(const char *path, cli_output *out, pith_error *err)
{
    struct stat existing;
    *out = (cli_output){0};
    if (path == NULL || strcmp(path, "-") == 0) {
        out->file = stdout;
        return PITH_OK;
    }
    out->owned = true;
    const bool exists = stat(path, &existing) == 0;
    if (exists && !S_ISREG(existing.st_mode)) {
        out->file = S_ISDIR(existing.st_mode) ? NULL : fopen(path, "w");
        return out->file != NULL ? PITH_OK
                                 : fail_path(err, path, S_ISDIR(existing.st_mode) ? EISDIR : errno);
    }
    /* a link keeps pointing at the file that is replaced */
    out->path = exists ? realpath(path, NULL) : strdup(path);
    if (out->path == NULL) {
        return fail_path(err, path, errno);
    }
    const pith_status status = open_temporary(out, exists ? &existing : NULL, err);
    if (status != PITH_OK) {
        cli_output_discard(out);
    }
    return status;
}

/* ---- closing ------------------------------------------------------------------- */

static void forget_temporary(cli_output *output)
{
    if (output->temporary != NULL) {
        replace_pending(output->temporary, NULL);
        free(output->temporary);
        output->temporary = NULL;
    }
}

void cli_output_discard(cli_output *output)
{
    sigset_t before;
    if (output->owned && output->file != NULL) {
        (void)fclose(output->file);
    }
    output->file = NULL;
    hold_signals(&before);
    if (output->temporary != NULL) {
        (void)unlink(output->temporary);
    }
    forget_temporary(output);
    release_signals(&before);
    free(output->path);
    output->path = NULL;
}

/* Whether `file` is a pipe that nobody reads; stdio does not remember why it failed. */
static bool reader_is_gone(FILE *file)
{
    struct pollfd poller = {.fd = fileno(file), .events = POLLOUT};
    return poll(&poller, 1, 0) > 0 && (poller.revents & (POLLERR | POLLHUP)) != 0;
}

/* Flushes, and for a file of ours waits for the disk, so that the rename never publishes a hole. */
static bool flush(const cli_output *output)
{
    errno = 0;
    if (fflush(output->file) != 0 || ferror(output->file) != 0) {
        return false;
    }
    return output->temporary == NULL || fsync(fileno(output->file)) == 0;
}

pith_status cli_output_commit(cli_output *output, pith_error *err)
{
    sigset_t before;
    bool good = flush(output);
    int number = errno;
    pipe_closed = pipe_closed || (!good && reader_is_gone(output->file));
    if (output->owned) {
        const bool closed = fclose(output->file) == 0;
        number = good && !closed ? errno : number;
        good = good && closed;
    }
    output->file = NULL;
    if (good && output->temporary != NULL) {
        hold_signals(&before);
        good = rename(output->temporary, output->path) == 0;
        number = errno;
        if (good) {
            forget_temporary(output);
        }
        release_signals(&before);
    }
    const pith_status status = good ? PITH_OK : fail_path(err, output->path, number);
    cli_output_discard(output);
    return status;
}

/* ---- what is saved under a name ---------------------------------------------------- */

static pith_status copy(const char *path, const cli_output *out, size_t *bytes, pith_error *err)
{
    static char block[1 << 16];
    FILE *from = NULL;
    size_t got = 0;
    pith_status status = cli_input_stream(path, &from, err);
    *bytes = 0;
    if (status != PITH_OK) {
        return status;
    }
    while (status == PITH_OK && (got = fread(block, 1, sizeof block, from)) > 0) {
        *bytes += got;
        if (!cli_write(out->file, block, got)) {
            status = fail_path(err, out->path, errno);
        }
    }
    if (status == PITH_OK && ferror(from) != 0) {
        status = fail_path(err, path, EIO);
    }
    (void)fclose(from);
    return status;
}

/* An empty file that is gone again soon; its name in `path`. */
static pith_status make_passing_file(char *path, size_t size, pith_error *err)
{
    sigset_t before;
    const char *folder = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe): nobody sets it */
    (void)snprintf(path, size, "%s/pith.XXXXXX",
                   folder == NULL || folder[0] == '\0' ? "/tmp" : folder);
    hold_signals(&before);
    const int fd = mkstemp(path);
    const int number = errno;
    if (fd >= 0) {
        replace_pending(NULL, path);
    }
    release_signals(&before);
    if (fd < 0) {
        return fail_path(err, path, number);
    }
    (void)close(fd);
    return PITH_OK;
}

static void remove_passing_file(const char *path)
{
    sigset_t before;
    hold_signals(&before);
    (void)unlink(path);
    replace_pending(path, NULL);
    release_signals(&before);
}

pith_status cli_output_save(cli_output *output, cli_save_fn save, void *user, size_t *bytes,
                            pith_error *err)
{
    char path[4096];
    size_t copied = 0;
    pith_status status = make_passing_file(path, sizeof path, err);
    if (status != PITH_OK) {
        return status;
    }
    status = save(user, path, err);
    if (status == PITH_OK) {
        status = copy(path, output, &copied, err);
    }
    remove_passing_file(path);
    if (bytes != NULL) {
        *bytes = copied;
    }
    return status == PITH_OK ? cli_output_commit(output, err) : status;
}

static bool same_file(const char *a, const char *b)
{
    struct stat left;
    struct stat right;
    return stat(a, &left) == 0 && stat(b, &right) == 0 && S_ISREG(left.st_mode) &&
           left.st_dev == right.st_dev && left.st_ino == right.st_ino;
}

int cli_output_check(const cli_settings *settings, const char *role, const char *path)
{
    const char *output = settings->output;
    return output != NULL && path != NULL && same_file(output, path)
               ? cli_usage_error(settings, "-o/--output: '%s' is the %s already", output, role)
               : 0;
}

int cli_output_check_models(const cli_settings *settings)
{
    int code = cli_output_check(settings, "model", settings->model);
    if (code == 0) {
        code = cli_output_check(settings, "adapter", settings->lora);
    }
    return code != 0 ? code : cli_output_check(settings, "compressor", settings->compressor);
}

bool cli_output_pipe_closed(void)
{
    return pipe_closed;
}

bool cli_write(void *user, const char *data, size_t size)
{
    FILE *file = user;
    if (fwrite(data, 1, size, file) == size) {
        return true;
    }
    pipe_closed = pipe_closed || reader_is_gone(file);
    return false;
}

bool cli_use_color(const cli_settings *settings, FILE *file)
{
    if (settings->color != CLI_COLOR_AUTO) {
        return settings->color == CLI_COLOR_ALWAYS;
    }
    /* NOLINTBEGIN(concurrency-mt-unsafe): nothing changes the environment */
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    /* NOLINTEND(concurrency-mt-unsafe) */
    const bool refused = no_color != NULL && no_color[0] != '\0';
    const bool dumb = term != NULL && strcmp(term, "dumb") == 0;
    return !refused && !dumb && isatty(fileno(file)) != 0;
}
