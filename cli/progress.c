/*
 * progress.c: one line on a terminal that says how far a long call is.
 */
#include "cli.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR_CELLS     24
#define DRAW_EVERY    0.1 /* seconds */
#define DRAW_FIRST_AT 0.3 /* short calls show nothing */

double cli_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

cli_progress cli_progress_start(const cli_settings *settings)
{
    const bool wanted = settings->progress == CLI_YES ||
                        (settings->progress == CLI_UNSET && isatty(STDERR_FILENO) != 0);
    return (cli_progress){.on = wanted, .last = cli_seconds() + DRAW_FIRST_AT - DRAW_EVERY};
}

bool cli_progress_show(void *user, const char *stage, size_t done, size_t total)
{
    cli_progress *progress = user;
    const double now = cli_seconds();
    if (!progress->on || total == 0 || now - progress->last < DRAW_EVERY) {
        return true;
    }
    const double share = (double)(done < total ? done : total) / (double)total;
    const int filled = (int)(share * BAR_CELLS);
    char bar[BAR_CELLS + 1];
    memset(bar, '.', BAR_CELLS);
    memset(bar, '#', (size_t)filled);
    bar[BAR_CELLS] = '\0';
    (void)fprintf(stderr, "\r%s [%s] %3.0f%% %zu/%zu\033[K", stage, bar, 100.0 * share, done,
                  total);
    (void)fflush(stderr);
    progress->drawn = true;
    progress->last = now;
    return true;
}

void cli_progress_clear(cli_progress *progress)
{
    if (progress->drawn) {
        (void)fputs("\r\033[K", stderr);
        progress->drawn = false;
    }
}
