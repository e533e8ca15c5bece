/*
 * startup.c: time of a whole process against another's, both started in turn so that they
 * see the same machine; medians, since starts are disturbed upwards only.
 *
 *     pith_startup RUNS PROGRAM BASELINE
 *
 * PROGRAM is run as `PROGRAM compress -t 1 -p TEXT` with a text of 100 bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS_MAX 1000

#define TEXT                                                                                     \
    "The lighthouse stands on the northern end of the island, where the cliffs are highest and " \
    "wind blows."

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Seconds from fork to exit; exits if the program fails. */
static double run(char *const *argv)
{
    const double start = seconds();
    const pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stdout) != NULL) {
            (void)execv(argv[0], argv);
        }
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        (void)fprintf(stderr, "startup: %s failed\n", argv[0]);
        exit(EXIT_FAILURE); /* NOLINT(concurrency-mt-unsafe): one thread */
    }
    return seconds() - start;
}

static int compare(const void *left, const void *right)
{
    const double a = *(const double *)left;
    const double b = *(const double *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
    static double ours[RUNS_MAX];
    static double theirs[RUNS_MAX];
    const long runs = argc == 4 ? strtol(argv[1], NULL, 10) : 0;
    if (runs < 1 || runs > RUNS_MAX) {
        (void)fprintf(stderr, "usage: pith_startup RUNS PROGRAM BASELINE\n");
        return 2;
    }
    char compress[] = "compress";
    char threads[] = "-t1";
    char prompt[] = "-p";
    char text[] = TEXT;
    char *const pith[] = {argv[2], compress, threads, prompt, text, NULL};
    char *const baseline[] = {argv[3], NULL};
    for (long i = 0; i < runs; i++) {
        ours[i] = run(pith);
        theirs[i] = run(baseline);
    }
    qsort(ours, (size_t)runs, sizeof *ours, compare);
    qsort(theirs, (size_t)runs, sizeof *theirs, compare);
    const double a = ours[runs / 2];
    const double b = theirs[runs / 2];
    (void)printf("start-up: compress %zu bytes %.1f ms, one oneDNN product %.1f ms, ratio %.2f "
                 "(medians of %ld)\n",
                 sizeof TEXT - 1, 1e3 * a, 1e3 * b, a / b, runs);
    return 0;
}
