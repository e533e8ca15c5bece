/*
 * cmd_bench.c: pith bench.
 *
 * Start-up and memory are measured on the program itself, before the
 * benchmark proper: a child's peak memory is never below its parent's at the
 * time of the fork.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_RUNS 5

static const char short_prompt[] = "The quick brown fox jumps over the lazy dog while the old man "
                                   "watches from the porch of a small house.";

/* About 2,000 tokens when repeated. */
static const char paragraph[] =
    "A prompt holds instructions, examples and documents, and much of it says nothing that the "
    "reader could not guess. What can be guessed carries little information and can be left out; "
    "names, numbers and unusual words cannot. ";
#define PARAGRAPHS 42

typedef struct process_cost {
    double start_seconds; /* whole process on a short prompt, the best of START_RUNS */
    long start_peak_kib;  /* largest resident set of those */
    double score_seconds; /* whole process scoring about 2,000 tokens */
    long score_peak_kib;
} process_cost;

/* ---- the program as a child ------------------------------------------------------ */

/* In the child: does not return. Options in the environment were meant for us. */
static void become_pith(char *const *arguments)
{
    for (size_t i = 0; i < cli_option_count(); i++) {
        char variable[96];
        const cli_option option = cli_option_at(i);
        cli_option_variable(&option, variable, sizeof variable);
        (void)unsetenv(variable); /* NOLINT(concurrency-mt-unsafe): one thread here */
    }
    const int null = open("/dev/null", O_RDWR);
    if (null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0) {
        (void)execv("/proc/self/exe", arguments);
    }
    _exit(127);
}

/* Runs to the end; seconds it took. Fails when the child does. */
static pith_status time_child(char *const *arguments, double *seconds, pith_error *err)
{
    int state = 0;
    const double start = cli_seconds();
    const pid_t child = fork();
    if (child < 0) {
        return cli_fail(err, PITH_E_IO, "cannot start a process");
    }
    if (child == 0) {
        become_pith(arguments);
    }
    while (waitpid(child, &state, 0) < 0) {
        if (errno != EINTR) {
            return cli_fail(err, PITH_E_IO, "cannot wait for a process");
        }
    }
    *seconds = cli_seconds() - start;
    if (!WIFEXITED(state) || WEXITSTATUS(state) != 0) {
        return cli_fail(err, PITH_E_INTERNAL, "'pith %s' failed as a child", arguments[1]);
    }
    return PITH_OK;
}

/* Of all children so far. */
static long peak_of_children(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_CHILDREN, &usage) == 0 ? usage.ru_maxrss : 0;
}

/* "pith VERB -p TEXT [-m MODEL] [-t N]" */
static pith_status time_verb(const cli_settings *settings, const char *verb, const char *text,
                             double *seconds, pith_error *err)
{
    char threads[16];
    const char *words[10] = {"pith", verb, "--no-progress", "-p", text};
    size_t count = 5;
    if (settings->model != NULL) {
        words[count++] = "-m";
        words[count++] = settings->model;
    }
    if (settings->bench.threads > 0) {
        (void)snprintf(threads, sizeof threads, "%lu", (unsigned long)settings->bench.threads);
        words[count++] = "-t";
        words[count++] = threads;
    }
    char *arguments[sizeof words / sizeof words[0]]; /* execv() wants no const */
    memcpy(arguments, words, sizeof words);
    return time_child(arguments, seconds, err);
}

static pith_status measure_processes(const cli_settings *settings, process_cost *out,
                                     pith_error *err)
{
    pith_status status = PITH_OK;
    for (int i = 0; status == PITH_OK && i < START_RUNS; i++) {
        double seconds = 0.0;
        status = time_verb(settings, "compress", short_prompt, &seconds, err);
        out->start_seconds = i == 0 || seconds < out->start_seconds ? seconds : out->start_seconds;
    }
    out->start_peak_kib = peak_of_children();
    if (status == PITH_OK) {
        char text[sizeof paragraph * PARAGRAPHS];
        for (size_t i = 0; i < PARAGRAPHS; i++) {
            memcpy(text + i * (sizeof paragraph - 1), paragraph, sizeof paragraph);
        }
        status = time_verb(settings, "score", text, &out->score_seconds, err);
    }
    out->score_peak_kib = peak_of_children();
    return status;
}

/* ---- report ------------------------------------------------------------------------ */

static void write_rate_row(FILE *file, const char *name, const pith_bench_rate *rate)
{
    (void)fprintf(file, "%-6s %12.0f %14.1f %14.1f %9.1f %% %12.1f\n", name,
                  rate->tokens_per_second, rate->model_gops, rate->gemm_gops, 100.0 * rate->share,
                  (double)rate->weight_bytes / 1048576.0);
}

static void write_text(FILE *file, const pith_bench_report *report, const process_cost *cost)
{
    (void)fprintf(file, "scoring, %.1f million parameters\n", (double)report->parameters / 1e6);
    (void)fputs("           tokens/s    model Gop/s  oneDNN Gop/s      share  weights MiB\n", file);
    write_rate_row(file, "f32", &report->f32);
    write_rate_row(file, "int8", &report->int8);
    (void)fprintf(file,
                  "compress 100 bytes, whole process: %.1f ms (best of %d), peak memory %.1f MiB\n",
                  1e3 * cost->start_seconds, START_RUNS, (double)cost->start_peak_kib / 1024.0);
    (void)fprintf(file, "score %zu bytes, whole process: %.1f ms, peak memory %.1f MiB\n",
                  PARAGRAPHS * (sizeof paragraph - 1), 1e3 * cost->score_seconds,
                  (double)cost->score_peak_kib / 1024.0);
}

static void write_json_rate(FILE *file, const char *name, const pith_bench_rate *rate)
{
    (void)fprintf(file,
                  ",\"%s\":{\"tokens_per_second\":%.6g,\"model_gops\":%.6g,\"gemm_gops\":%.6g,"
                  "\"share\":%.6g,\"weight_bytes\":%zu}",
                  name, rate->tokens_per_second, rate->model_gops, rate->gemm_gops, rate->share,
                  rate->weight_bytes);
}

static void write_json(FILE *file, const pith_bench_report *report, const process_cost *cost)
{
    (void)fprintf(file, "{\"parameters\":%llu", (unsigned long long)report->parameters);
    write_json_rate(file, "f32", &report->f32);
    write_json_rate(file, "int8", &report->int8);
    (void)fprintf(file,
                  ",\"start_seconds\":%.6g,\"start_peak_kib\":%ld,\"score_seconds\":%.6g,"
                  "\"score_peak_kib\":%ld}\n",
                  cost->start_seconds, cost->start_peak_kib, cost->score_seconds,
                  cost->score_peak_kib);
}

int cli_run_bench(const cli_settings *settings)
{
    pith_bench_report report;
    process_cost cost = {0};
    cli_output out = {0};
    pith_error err;
    pith_status status = measure_processes(settings, &cost, &err);
    if (status == PITH_OK) {
        status = pith_bench(&settings->bench, &report, &err);
    }
    if (status == PITH_OK) {
        status = cli_output_open(settings->output, &out, &err);
    }
    if (status == PITH_OK) {
        (settings->json == CLI_YES ? write_json : write_text)(out.file, &report, &cost);
        status = cli_output_commit(&out, &err);
    }
    return status == PITH_OK ? 0 : cli_report(NULL, &err, NULL, 0);
}
