/*
 * cmd_train.c: pith train RECIPE.
 *
 * The library does the work; here are the line that says how far it is and the way out: a
 * signal stops a run after the step at hand, with its checkpoint saved.
 */
#include "cli.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define DRAW_EVERY  0.2  /* seconds between two states of the line */
#define PRINT_EVERY 10.0 /* between two lines where there is no terminal */

/* Longest name of a checkpoint that we can repeat. */
#define PATH_SIZE 4096

typedef struct view {
    bool is_line;  /* one line, kept up to date */
    bool is_quiet; /* nothing but what went wrong */
    bool is_drawn;
    double last;     /* seconds, when progress was shown */
    uint64_t start;  /* step where this session began */
    uint64_t step;   /* and where it is */
    uint64_t steps;  /* to be done */
    size_t sources;  /* evaluated since all of them were */
    bool has_steps;  /* what the recipe does is done in steps */
    bool is_running; /* and they have begun */
    bool is_saved;   /* wrote a checkpoint */
} view;

/* ---- signals ----------------------------------------------------------------------------- */

/*
 * A thread waits for them and all others have them blocked: oneDNN's products use the stack
 * pointer for other things, so that a handler that interrupts one writes into the heap.
 */
static sigset_t awaited;
static atomic_bool stop_is_wanted;

/* After the first signal the step at hand is the last; a second one does what it does elsewhere. */
static void *watch(void *user)
{
    int number = 0;
    (void)user;
    if (sigwait(&awaited, &number) != 0) {
        return NULL;
    }
    atomic_store(&stop_is_wanted, true);
    if (sigwait(&awaited, &number) == 0) {
        (void)pthread_sigmask(SIG_UNBLOCK, &awaited, NULL);
        (void)raise(number);
    }
    return NULL;
}

/* Before any other thread is started, so that all of them have the mask. Lasts until the end. */
static void start_watching(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    sigset_t before;
    pthread_t thread;
    (void)sigemptyset(&awaited);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct sigaction action;
        /* nohup's wish is respected */
        if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN) {
            (void)sigaddset(&awaited, signals[i]);
        }
    }
    (void)pthread_sigmask(SIG_BLOCK, &awaited, &before);
    if (pthread_create(&thread, NULL, watch, NULL) == 0) {
        (void)pthread_detach(thread);
    } else { /* signals do what they do elsewhere */
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
}

/* ---- the line ------------------------------------------------------------------------------ */

/* "1:02:03" of a number of seconds. */
static const char *clock_text(double seconds, char out[32])
{
    const unsigned long all = seconds > 0.0 && seconds < 3.6e9 ? (unsigned long)seconds : 0;
    (void)snprintf(out, 32, "%lu:%02lu:%02lu", all / 3600, all / 60 % 60, all % 60);
    return out;
}

static void clear_line(view *v)
{
    if (v->is_drawn) {
        (void)fputs("\r\033[K", stderr);
        v->is_drawn = false;
    }
}

static void show_step(view *v, const pith_training_event *e)
{
    char left[32];
    const double now = cli_seconds();
    const bool is_last = e->step == e->steps;
    if (v->is_quiet || (!is_last && now - v->last < (v->is_line ? DRAW_EVERY : PRINT_EVERY))) {
        return;
    }
    v->last = now;
    (void)fprintf(stderr, "%sstep %llu/%llu, loss %.4f, norm %.3g, %.0f tokens/s, %s left%s",
                  v->is_line ? "\r" : "pith: ", (unsigned long long)e->step,
                  (unsigned long long)e->steps, e->smooth_loss, e->norm, e->tokens_per_second,
                  clock_text(e->seconds_left, left), v->is_line ? "\033[K" : "\n");
    (void)fflush(stderr);
    v->is_drawn = v->is_line;
}

/* Recipes evaluate and retention have tables of their own: of what they print, only the state of affairs
 * is news. */
static void show_evaluation(view *v, const pith_training_event *e)
{
    char step[48] = "";
    const bool is_of_bytes = !isnan(e->bits_per_byte); /* else the name says what was judged */
    const bool is_all = e->source == NULL;
    const bool repeats = is_all && v->sources == 1;
    v->sources = is_all ? 0 : v->sources + 1;
    if (v->is_quiet || repeats || (!v->is_running && !v->is_line)) {
        return;
    }
    if (v->is_running) {
        (void)snprintf(step, sizeof step, "step %llu, %s", (unsigned long long)e->step,
                       is_of_bytes ? "held out " : "");
    }
    clear_line(v);
    const char *name = is_all ? "in all" : e->source;
    if (is_of_bytes) {
        cli_message("%s%s: loss %.4f, %.4f bits per byte", step, name, e->loss, e->bits_per_byte);
    } else {
        cli_message("%s%s: loss %.4f", step, name, e->loss);
    }
}

static void show_preparation(view *v, const pith_training_event *e)
{
    const double now = cli_seconds();
    if (!v->is_line || now - v->last < DRAW_EVERY) {
        return;
    }
    v->last = now;
    (void)fprintf(stderr, "\rcontinuations: %llu of %llu tokens\033[K", (unsigned long long)e->step,
                  (unsigned long long)e->steps);
    (void)fflush(stderr);
    v->is_drawn = true;
}

/* A pith_training_event_fn; `user` is a view. */
static bool on_event(void *user, const pith_training_event *e)
{
    view *v = user;
    if (e->kind == PITH_TRAINING_PREPARE) {
        show_preparation(v, e);
        return !atomic_load(&stop_is_wanted);
    }
    v->step = e->step;
    v->steps = e->steps;
    switch (e->kind) {
    case PITH_TRAINING_START:
        v->start = e->step;
        v->is_running = true;
        if (e->step > 0 && !v->is_quiet) {
            cli_message("going on after step %llu of %llu", (unsigned long long)e->step,
                        (unsigned long long)e->steps);
        }
        break;
    case PITH_TRAINING_STEP:
        show_step(v, e);
        break;
    case PITH_TRAINING_EVALUATION:
        show_evaluation(v, e);
        break;
    case PITH_TRAINING_CHECKPOINT:
        v->is_saved = true;
        break;
    case PITH_TRAINING_END:
    case PITH_TRAINING_PREPARE:
    default:
        break;
    }
    return !atomic_load(&stop_is_wanted);
}

/* ---- the end ---------------------------------------------------------------------------------- */

/* What can be done about it. */
static void report_stop(const view *v, const pith_training *training)
{
    char path[PATH_SIZE];
    const bool has_checkpoint =
        pith_training_get(training, "checkpoint", path, sizeof path, NULL) == PITH_OK &&
        path[0] != '\0';
    if (has_checkpoint && (v->is_saved || v->start > 0)) {
        cli_message("stopped after step %llu of %llu; the same command goes on from '%s'",
                    (unsigned long long)v->step, (unsigned long long)v->steps, path);
    } else {
        cli_message("stopped after step %llu of %llu; nothing was saved%s",
                    (unsigned long long)v->step, (unsigned long long)v->steps,
                    has_checkpoint ? "" : ": there is no --checkpoint");
    }
}

static int report_end(view *v, const pith_training *training, pith_status status,
                      const pith_error *err)
{
    char path[PATH_SIZE];
    clear_line(v);
    if (v->has_steps && !v->is_running) { /* one of several processes, and not the first */
        v->is_quiet = true;
    }
    if (status == PITH_E_CANCELLED && atomic_load(&stop_is_wanted)) {
        if (v->is_running) {
            report_stop(v, training);
        } else if (!v->has_steps) {
            cli_message("stopped; nothing was written");
        }
        return pith_status_exit_code(status);
    }
    if (status != PITH_OK) {
        return cli_report(NULL, err, NULL, 0);
    }
    static const char *const outputs[] = {"output", "adapter", "report"};
    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0] && !v->is_quiet; i++) {
        if (pith_training_get(training, outputs[i], path, sizeof path, NULL) == PITH_OK &&
            path[0] != '\0') {
            cli_message("wrote '%s'", path);
        }
    }
    return 0;
}

/* Sets others, which what is given beside it must be able to change. */
static bool is_mode(const cli_assignment *assignment)
{
    return strcmp(assignment->param->name, "mode") == 0;
}

/* The mode, or all others. An exit code. */
static int set_some(pith_training *training, const cli_settings *settings, bool mode)
{
    pith_error err;
    for (size_t i = 0; i < settings->assignment_count; i++) {
        const cli_assignment *a = &settings->assignments[i];
        if (is_mode(a) == mode &&
            pith_training_set(training, a->param->name, a->value, &err) != PITH_OK) {
            return cli_report_assignment(a, &err);
        }
    }
    return 0;
}

/* An exit code. */
static int set_all(pith_training *training, const cli_settings *settings)
{
    const int code = set_some(training, settings, true);
    return code != 0 ? code : set_some(training, settings, false);
}

/* An exit code. A signal ends the tokenizer's recipe, which is done in one go, as it ends others. */
static int run(pith_training *training, const cli_verb *verb, const cli_settings *settings)
{
    pith_error err;
    const bool is_terminal = isatty(STDERR_FILENO) != 0;
    view v = {.has_steps = (verb->bit & CLI_LEARNS) != 0,
              .is_line =
                  settings->progress == CLI_YES || (settings->progress == CLI_UNSET && is_terminal),
              .is_quiet = settings->progress == CLI_NO,
              .last = cli_seconds()};
    pith_training_set_event(training, on_event, &v);
    pith_training_set_write(
        training, verb->bit == CLI_TRAIN_RETENTION ? cli_retention_write : cli_write, stdout);
    if (verb->bit != CLI_TRAIN_TOKENIZER) {
        start_watching();
    }
    const pith_status status = pith_training_run(training, &err);
    return report_end(&v, training, status, &err);
}

int cli_run_train(const cli_settings *settings)
{
    pith_error err;
    pith_training *training = NULL;
    const cli_verb *verb = cli_verb_find(settings->verb);
    if (verb->recipe == NULL) {
        cli_help_recipes(stderr);
        return CLI_EXIT_USAGE;
    }
    if (pith_training_new(verb->recipe, NULL, &training, &err) != PITH_OK) {
        return cli_report(NULL, &err, NULL, 0);
    }
    int code = set_all(training, settings);
    if (code == 0) {
        code = run(training, verb, settings);
    }
    pith_training_free(training);
    return code;
}
