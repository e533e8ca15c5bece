/*
 * test_train_log.c: the log of a run has every step once, whatever happened to the run, and
 * its curve is a picture.
 */
#include "train/log.h"

#include "test.h"

#include <jansson.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static const pith_allocator *const memory = &pith__allocator_default;

/* ---- files --------------------------------------------------------------------------- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/pith-log-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static const char *in_folder(const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"log", "plot", "other"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)remove(in_folder(names[i]));
    }
    return rmdir(folder); /* fails if something was left behind */
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

/* ---- events ---------------------------------------------------------------------------- */

static pith__train_event step_event(uint64_t step)
{
    return (pith__train_event){.kind = PITH__TRAIN_STEP,
                               .step = step,
                               .steps = 100,
                               .tokens = 10 * step,
                               .loss = 5.0 + 1.0 / (double)step,
                               .norm = 0.5,
                               .multiplier = 1.0,
                               .tokens_per_second = 1234.5,
                               .seconds = 0.25 * (double)step};
}

static pith__train_event evaluation_event(uint64_t step, const char *source)
{
    return (pith__train_event){.kind = PITH__TRAIN_EVALUATION,
                               .step = step,
                               .source = source,
                               .loss = 6.0,
                               .bits_per_byte = 2.5};
}

/* Steps first + 1 to last; every tenth is followed by an evaluation of "a" and of all. */
static void add_steps(pith__train_log *log, uint64_t first, uint64_t last)
{
    pith_error err = {0};
    for (uint64_t step = first + 1; step <= last; step++) {
        const pith__train_event events[] = {step_event(step), evaluation_event(step, "a"),
                                            evaluation_event(step, NULL)};
        for (size_t i = 0; i < (step % 10 == 0 ? 3 : 1); i++) {
            assert_ok(pith__train_log_add(log, &events[i], &err), err);
        }
    }
}

static void run_session(const char *path, uint64_t first, uint64_t last)
{
    pith_error err = {0};
    pith__train_log log;
    assert_ok(pith__train_log_open(path, first, memory, &log, &err), err);
    assert_int_equal(log.training.count, first);
    assert_int_equal(log.held_out.count, first / 10);
    add_steps(&log, first, last);
    pith__train_log_close(&log);
}

/* Steps and evaluations of the file, which must have steps 1 to `last` in order, each once. */
static void check_file(const char *path, uint64_t last)
{
    size_t size = 0;
    char *text = test_read_file(path, &size);
    uint64_t step = 0;
    size_t evaluations = 0;
    for (char *line = text; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        if (end == NULL) {
            fail_msg("a line without its end: %s", line);
            return;
        }
        json_t *object = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(object);
        const json_int_t number = json_integer_value(json_object_get(object, "step"));
        const char *event = json_string_value(json_object_get(object, "event"));
        if (strcmp(event, "step") == 0) {
            assert_int_equal(number, ++step);
            assert_true(json_is_number(json_object_get(object, "loss")));
        } else {
            assert_string_equal(event, "evaluation");
            assert_int_equal(number, step);
            evaluations++;
        }
        json_decref(object);
        line = end + 1;
    }
    assert_int_equal(step, last);
    assert_int_equal(evaluations, 2 * (last / 10));
    free(text);
}

/* ---- the log ------------------------------------------------------------------------------ */

static void lines_have_what_the_event_has(void **state)
{
    (void)state;
    pith_error err = {0};
    pith__train_log log;
    const pith__train_event step = {.kind = PITH__TRAIN_STEP,
                                    .step = 7,
                                    .tokens = 700,
                                    .loss = 1.25,
                                    .norm = (double)INFINITY,
                                    .multiplier = 0.5,
                                    .tokens_per_second = (double)NAN,
                                    .seconds = 2.5};
    const pith__train_event evaluation = evaluation_event(7, "a\"b\\c\n\xff\xc3\xa9");
    const pith__train_event passed_over = {.kind = PITH__TRAIN_CHECKPOINT, .step = 7};
    assert_ok(pith__train_log_open(in_folder("log"), 0, memory, &log, &err), err);
    assert_ok(pith__train_log_add(&log, &step, &err), err);
    assert_ok(pith__train_log_add(&log, &passed_over, &err), err);
    assert_ok(pith__train_log_add(&log, &evaluation, &err), err);
    size_t size = 0;
    char *text = test_read_file(in_folder("log"), &size); /* is there before the log is closed */
    assert_string_equal(
        text,
        "{\"event\":\"step\",\"step\":7,\"tokens\":700,\"loss\":1.25,\"norm\":null,"
        "\"multiplier\":0.5,\"tokens_per_second\":null,\"seconds\":2.5}\n"
        "{\"event\":\"evaluation\",\"step\":7,\"tokens\":0,"
        "\"source\":\"a\\u0022b\\u005cc\\u000a\\ufffd\xc3\xa9\",\"loss\":6,\"bits_per_byte\":2.5,"
        "\"seconds\":0}\n");
    free(text);
    pith__train_log_close(&log);
    pith__train_log_close(&log);
}

static void a_run_that_goes_on_has_every_step_once(void **state)
{
    (void)state;
    const char *path = in_folder("log");
    run_session(path, 0, 37);
    check_file(path, 37);
    run_session(path, 37, 40); /* nothing was lost */
    check_file(path, 40);
    run_session(path, 30, 52); /* the checkpoint is older than the log */
    check_file(path, 52);
    FILE *file = fopen(path, "ab");
    assert_non_null(file);
    (void)fputs("{\"event\":\"step\",\"st", file); /* killed within a line */
    (void)fclose(file);
    run_session(path, 52, 60);
    check_file(path, 60);
    run_session(path, 0, 3); /* from the beginning */
    check_file(path, 3);
}

static void a_torn_line_may_end_anywhere(void **state)
{
    (void)state;
    pith_error err = {0};
    const char *path = in_folder("log");
    run_session(path, 0, 2);
    size_t size = 0;
    char *text = test_read_file(path, &size);
    for (size_t cut = size % 11; cut <= size; cut += 11) {
        pith__train_log log;
        char *part = strndup(text, cut);
        assert_non_null(part);
        write_text(path, part);
        assert_ok(pith__train_log_open(path, 2, memory, &log, &err), err);
        const size_t whole = (strchr(part, '\n') != NULL) + (size_t)(cut == size);
        assert_int_equal(log.training.count, whole);
        pith__train_log_close(&log);
        char *kept = test_read_file(path, &(size_t){0});
        assert_int_equal(strlen(kept), whole == 0 ? 0 : (size_t)(strrchr(part, '\n') + 1 - part));
        free(kept);
        free(part);
    }
    free(text);
}

/* A file that was named by mistake is left alone. */
static void other_files_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"hello\n",
                                        "hello",
                                        "{\"a\":1}\n",
                                        "{\"step\":-1}\n",
                                        "\n",
                                        "[1]\n",
                                        "{\"step\":1.5}\n",
                                        "{\"event\":\"step\",\"step\":1,\"loss\":2}\nnonsense\n"};
    pith_error err = {0};
    const char *path = in_folder("other");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (uint64_t step = 0; step < 3; step += 2) {
            pith__train_log log;
            size_t size = 0;
            write_text(path, texts[i]);
            assert_status(pith__train_log_open(path, step, memory, &log, &err), PITH_E_CORRUPT);
            assert_non_null(strstr(err.message, "is not the log of a run"));
            char *text = test_read_file(path, &size);
            assert_string_equal(text, texts[i]);
            free(text);
        }
    }
    assert_non_null(strstr(err.message, "line 2"));
    assert_int_equal(err.offset, strchr(texts[7], '\n') + 1 - texts[7]);
}

static void what_cannot_be_written_is_told(void **state)
{
    (void)state;
    pith_error err = {0};
    pith__train_log log;
    const pith__train_event event = step_event(1);
    assert_status(pith__train_log_open("/nowhere/log", 0, memory, &log, &err), PITH_E_IO);
    assert_non_null(strstr(err.message, "/nowhere/log"));
    assert_status(pith__train_log_open(folder, 0, memory, &log, &err), PITH_E_IO);
    if (access("/dev/full", W_OK) == 0) {
        assert_ok(pith__train_log_open("/dev/full", 0, memory, &log, &err), err);
        assert_status(pith__train_log_add(&log, &event, &err), PITH_E_IO);
        pith__train_log_close(&log);
    }
}

/* Without a file the points are kept for the plot. */
static void a_log_may_have_no_file(void **state)
{
    (void)state;
    pith_error err = {0};
    pith__train_log log;
    assert_ok(pith__train_log_open(NULL, 5, memory, &log, &err), err);
    add_steps(&log, 5, 20);
    assert_int_equal(log.training.count, 15);
    assert_int_equal(log.training.items[0].step, 6);
    assert_int_equal(log.held_out.count, 2);
    assert_true(log.held_out.items[1].step == 20 && log.held_out.items[1].loss == 6.0);
    pith__train_log_close(&log);
}

static pith_status log_body(const pith_allocator *mem, void *user)
{
    (void)user;
    pith_error err = {0};
    pith__train_log log;
    write_text(in_folder("log"), "{\"event\":\"step\",\"step\":1,\"loss\":2}\n"
                                 "{\"event\":\"step\",\"step\":2,\"loss\":2}\n");
    pith_status status = pith__train_log_open(in_folder("log"), 1, mem, &log, &err);
    const pith__train_event event = evaluation_event(2, NULL);
    if (status == PITH_OK) {
        status = pith__train_log_add(&log, &event, &err);
        if (status == PITH_OK) {
            status = pith__train_plot(in_folder("plot"), &log, "a title", &err);
        }
        pith__train_log_close(&log);
    }
    return status;
}

static void no_memory_is_an_error_and_no_leak(void **state)
{
    (void)state;
    test_sweep(log_body, NULL);
}

/* ---- the plot ------------------------------------------------------------------------------- */

/* The picture of a log of `steps` steps as text; the caller frees. */
static char *plot(uint64_t steps, const char *title, size_t *size)
{
    pith_error err = {0};
    pith__train_log log;
    assert_ok(pith__train_log_open(NULL, 0, memory, &log, &err), err);
    add_steps(&log, 0, steps);
    assert_ok(pith__train_plot(in_folder("plot"), &log, title, &err), err);
    pith__train_log_close(&log);
    return test_read_file(in_folder("plot"), size);
}

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

/* Elements are closed in the order in which they were opened, and quotes come in pairs. */
static void check_markup(const char *text)
{
    char open[32][16];
    size_t depth = 0;
    for (const char *at = strchr(text, '<'); at != NULL; at = strchr(at + 1, '<')) {
        const char *end = strchr(at, '>');
        assert_non_null(end);
        const bool closes = at[1] == '/';
        const size_t length = strcspn(at + 1 + closes, " />");
        size_t quotes = 0;
        for (const char *c = at; c < end; c++) {
            quotes += *c == '"';
        }
        assert_int_equal(quotes % 2, 0);
        if (closes) {
            assert_true(depth > 0);
            assert_int_equal(strlen(open[--depth]), length);
            assert_memory_equal(open[depth], at + 2, length);
        } else if (end[-1] != '/') {
            assert_true(depth < 32 && length < 16);
            memcpy(open[depth], at + 1, length);
            open[depth++][length] = '\0';
        }
    }
    assert_int_equal(depth, 0);
}

static void the_plot_is_a_picture_of_its_own(void **state)
{
    (void)state;
    size_t size = 0;
    char *text = plot(100, "a <title> & \xff more", &size);
    check_markup(text);
    assert_memory_equal(text, "<svg xmlns=\"http://www.w3.org/2000/svg\"", 39);
    assert_int_equal(count_of(text, "http"), 1); /* the name space */
    assert_int_equal(count_of(text, "url("), 0);
    assert_int_equal(count_of(text, "prefers-color-scheme:dark"), 1);
    assert_int_equal(count_of(text, "a &lt;title> &amp; ? more"), 2);
    assert_int_equal(count_of(text, "<polyline"), 2);
    assert_int_equal(count_of(text, "<circle"), 10 + 1); /* and one in the legend */
    assert_int_equal(count_of(text, ">nats per token<"), 1);
    assert_int_equal(count_of(text, ">step<"), 1);
    assert_int_equal(count_of(text, ">100<"), 1); /* the last step has a tick */
    free(text);
}

static void any_log_has_a_plot(void **state)
{
    (void)state;
    for (uint64_t steps = 0; steps < 13; steps++) {
        size_t size = 0;
        char *text = plot(steps, "", &size);
        check_markup(text);
        assert_null(strstr(text, "nan"));
        assert_null(strstr(text, "inf"));
        free(text);
    }
}

/* A long run takes no more room than its picture has columns, and keeps its spikes. */
static void a_long_run_has_a_small_plot(void **state)
{
    (void)state;
    pith_error err = {0};
    pith__train_log log;
    size_t size = 0;
    assert_ok(pith__train_log_open(NULL, 0, memory, &log, &err), err);
    for (uint64_t step = 1; step <= 300000; step++) {
        pith__train_event event = step_event(step);
        event.loss = step == 150000 ? 11.0 : 5.0;
        assert_ok(pith__train_log_add(&log, &event, &err), err);
        event = evaluation_event(step, NULL);
        assert_ok(pith__train_log_add(&log, &event, &err), err);
    }
    assert_ok(pith__train_plot(in_folder("plot"), &log, "long", &err), err);
    pith__train_log_close(&log);
    char *text = test_read_file(in_folder("plot"), &size);
    assert_true(size < 300000);
    assert_non_null(strstr(text, ">11<")); /* the axis reaches the spike */
    assert_non_null(strstr(text, ">300,000<"));
    free(text);
}

static void a_plot_that_cannot_be_written_is_told(void **state)
{
    (void)state;
    pith_error err = {0};
    const pith__train_log log = {.mem = *memory, .descriptor = -1};
    assert_status(pith__train_plot("/nowhere/plot.svg", &log, "x", &err), PITH_E_IO);
    assert_non_null(strstr(err.message, "/nowhere/plot.svg"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_have_what_the_event_has),
        cmocka_unit_test(a_run_that_goes_on_has_every_step_once),
        cmocka_unit_test(a_torn_line_may_end_anywhere),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(what_cannot_be_written_is_told),
        cmocka_unit_test(a_log_may_have_no_file),
        cmocka_unit_test(no_memory_is_an_error_and_no_leak),
        cmocka_unit_test(the_plot_is_a_picture_of_its_own),
        cmocka_unit_test(any_log_has_a_plot),
        cmocka_unit_test(a_long_run_has_a_small_plot),
        cmocka_unit_test(a_plot_that_cannot_be_written_is_told),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
