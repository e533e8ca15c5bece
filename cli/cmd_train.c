/*
 * cmd_train.c: pith train RECIPE.
 *
 * The library does the work; here are the line that says how far it is and the way out: a
 * signal stops a run after the step at hand, with its checkpoint saved.
 */
#include "cli.h"

#include <signal.h>
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
    bool is_running; /* there are steps */
    bool is_saved;   /* wrote a checkpoint */
} view;

/* ---- signals ----------------------------------------------------------------------------- */

static volatile sig_atomic_t stop_is_wanted;

static void want_stop(int number)
{
    (void)number;
    stop_is_wanted = 1;
}

/* The next step is the last; a second signal does what it does elsewhere. */
static void catch_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct sigaction before;
        struct sigaction action = {.sa_handler = want_stop, .sa_flags = (int)SA_RESETHAND};
        (void)sigemptyset(&action.sa_mask);
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            (void)sigaction(signals[i], &action, NULL);
        }
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

/* Recipe evaluate has a table of its own: of what it prints, only the state of affairs is news. */
static void show_evaluation(view *v, const pith_training_event *e)
{
    char step[48] = "";
    const bool is_all = e->source == NULL;
    const bool repeats = is_all && v->sources == 1;
    v->sources = is_all ? 0 : v->sources + 1;
    if (v->is_quiet || repeats || (!v->is_running && !v->is_line)) {
        return;
    }
    if (v->is_running) {
        (void)snprintf(step, sizeof step, "step %llu, held out ", (unsigned long long)e->step);
    }
    clear_line(v);
    cli_message("%s%s: loss %.4f, %.4f bits per byte", step, is_all ? "in all" : e->source, e->loss,
                e->bits_per_byte);
}

/* A pith_training_event_fn; `user` is a view. */
static bool on_event(void *user, const pith_training_event *e)
{
    view *v = user;
    v->step = e->step;
    v->steps = e->steps;
    switch (e->kind) {
    case PITH_TRAINING_START:
        v->start = e->step;
        v->is_running = true;
        catch_signals();
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
    default:
        break;
    }
    return stop_is_wanted == 0;
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
    if (status == PITH_E_CANCELLED && stop_is_wanted != 0) {
        report_stop(v, training);
        return pith_status_exit_code(status);
    }
    if (status != PITH_OK) {
        return cli_report(NULL, err, NULL, 0);
    }
    static const char *const outputs[] = {"output", "adapter"};
    for (size_t i = 0; i < sizeof outputs / sizeof outputs[0] && !v->is_quiet; i++) {
        if (pith_training_get(training, outputs[i], path, sizeof path, NULL) == PITH_OK &&
            path[0] != '\0') {
            cli_message("wrote '%s'", path);
        }
    }
    return 0;
}

/* An exit code. */
static int set_all(pith_training *training, const cli_settings *settings)
{
    pith_error err;
    for (size_t i = 0; i < settings->assignment_count; i++) {
        const cli_assignment *a = &settings->assignments[i];
        if (pith_training_set(training, a->param->name, a->value, &err) != PITH_OK) {
            return cli_report_assignment(a, &err);
        }
    }
    return 0;
}

int cli_run_train(const cli_settings *settings)
{
    pith_error err;
    pith_training *training = NULL;
    const char *recipe = cli_verb_find(settings->verb)->recipe;
    if (recipe == NULL) {
        cli_help_recipes(stderr);
        return CLI_EXIT_USAGE;
    }
    if (pith_training_new(recipe, NULL, &training, &err) != PITH_OK) {
        return cli_report(NULL, &err, NULL, 0);
    }
    int code = set_all(training, settings);
    if (code == 0) {
        const bool is_terminal = isatty(STDERR_FILENO) != 0;
        view v = {.is_line = settings->progress == CLI_YES ||
                             (settings->progress == CLI_UNSET && is_terminal),
                  .is_quiet = settings->progress == CLI_NO,
                  .last = cli_seconds()};
        pith_training_set_event(training, on_event, &v);
        pith_training_set_write(training, cli_write, stdout);
        const pith_status status = pith_training_run(training, &err);
        code = report_end(&v, training, status, &err);
    }
    pith_training_free(training);
    return code;
}
