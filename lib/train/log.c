/*
 * log.c: the log of a run: one JSON object per line.
 */
#include "train/log.h"

#include "text/text.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A line holds a dozen numbers and a name of at most 63 bytes. */
#define LINE_MAX_BYTES 4096

static pith_status fail_errno(const pith__train_log *log, int number, pith_error *err)
{
    char reason[128] = "unknown reason";
    (void)strerror_r(number, reason, sizeof reason);
    return pith__fail(err, PITH_E_IO, "cannot write \"%s\": %s", log->path, reason);
}

static pith_status add_point(pith__loss_points *points, const pith_allocator *mem, uint64_t step,
                             double loss, pith_error *err)
{
    if (!isfinite(loss)) {
        return PITH_OK;
    }
    PITH__TRY(pith__grow(mem, &points->items, &points->capacity, points->count + 1,
                         sizeof *points->items, err));
    points->items[points->count++] = (pith__loss_point){step, loss};
    return PITH_OK;
}

/* ---- what an earlier session wrote ------------------------------------------------------ */

/* One line of the file. */
typedef struct line {
    const char *data;
    size_t size;   /* without the line feed */
    size_t number; /* from 1 */
    size_t start;  /* byte of the file */
} line;

static pith_status fail_line(const pith__train_log *log, const line *l, pith_error *err)
{
    return pith__fail_at(err, PITH_E_CORRUPT, l->start,
                         "\"%s\" is not the log of a run: see line %zu", log->path, l->number);
}

/* The points of a line that stays. */
static pith_status take_points(pith__train_log *log, const json_t *object, uint64_t step,
                               pith_error *err)
{
    const char *event = json_string_value(json_object_get(object, "event"));
    const json_t *loss = json_object_get(object, "loss");
    if (event == NULL || !json_is_number(loss)) {
        return PITH_OK;
    }
    if (strcmp(event, "step") == 0) {
        return add_point(&log->training, &log->mem, step, json_number_value(loss), err);
    }
    const bool of_all = json_is_null(json_object_get(object, "source"));
    return strcmp(event, "evaluation") == 0 && of_all
               ? add_point(&log->held_out, &log->mem, step, json_number_value(loss), err)
               : PITH_OK;
}

/* *keeps: whether the line is of a step up to `last`. */
static pith_status read_line(pith__train_log *log, const line *l, uint64_t last, bool *keeps,
                             pith_error *err)
{
    json_error_t reason;
    json_t *object = json_loadb(l->data, l->size, 0, &reason);
    *keeps = false;
    if (object == NULL && json_error_code(&reason) == json_error_out_of_memory) {
        return pith__fail(err, PITH_E_MEMORY, "no memory for a line of \"%s\"", log->path);
    }
    const json_t *step = json_object_get(object, "step");
    pith_status status = PITH_OK;
    if (!json_is_integer(step) || json_integer_value(step) < 0) {
        status = fail_line(log, l, err);
    } else {
        const uint64_t number = (uint64_t)json_integer_value(step);
        *keeps = last > 0 && number <= last;
        status = *keeps ? take_points(log, object, number, err) : PITH_OK;
    }
    json_decref(object);
    return status;
}

/* Whether a line may be one of ours that a run did not write to its end. */
static bool is_beginning(const line *l)
{
    static const char first[] = "{\"event\":";
    const size_t size = l->size < sizeof first - 1 ? l->size : sizeof first - 1;
    return memcmp(l->data, first, size) == 0;
}

/* Copies the lines that stay to `kept`. */
static pith_status read_lines(pith__train_log *log, const pith__file *file, uint64_t last,
                              pith__buf *kept, pith_error *err)
{
    const char *data = (const char *)file->data;
    line l = {.number = 1};
    while (l.start < file->size) {
        l.data = data + l.start;
        const char *end = memchr(l.data, '\n', file->size - l.start);
        l.size = end == NULL ? file->size - l.start : (size_t)(end - l.data);
        if (end == NULL) {
            return is_beginning(&l) ? PITH_OK : fail_line(log, &l, err);
        }
        bool keeps = false;
        PITH__TRY(read_line(log, &l, last, &keeps, err));
        if (keeps) {
            PITH__TRY(pith__buf_append(kept, l.data, l.size + 1, err));
        }
        l.start += l.size + 1;
        l.number++;
    }
    return PITH_OK;
}

/* The file with what stays of it in the place of the old one. */
static pith_status replace(const pith__train_log *log, const pith__buf *kept, pith_error *err)
{
    pith__new_file file;
    PITH__TRY(pith__new_file_open(log->path, &file, err));
    (void)pith__new_file_write(&file, kept->data, kept->size); /* commit reports a failure */
    return pith__new_file_commit(&file, err);
}

static pith_status read_back(pith__train_log *log, uint64_t step, pith_error *err)
{
    pith__file file;
    pith__buf kept;
    struct stat info;
    if (stat(log->path, &info) != 0 || !S_ISREG(info.st_mode)) {
        return PITH_OK; /* new, or a pipe; the rest is found out by writing */
    }
    PITH__TRY(pith__file_open(log->path, &file, err));
    pith__buf_init(&kept, &log->mem, file.size);
    pith_status status = read_lines(log, &file, step, &kept, err);
    if (status == PITH_OK && kept.size < file.size) {
        status = replace(log, &kept, err);
    }
    pith__buf_deinit(&kept);
    pith__file_close(&file);
    return status;
}

/* ---- writing ------------------------------------------------------------------------------- */

pith_status pith__train_log_open(const char *path, uint64_t step, const pith_allocator *mem,
                                 pith__train_log *out, pith_error *err)
{
    *out = (pith__train_log){.mem = *mem, .path = path, .descriptor = -1};
    if (path == NULL) {
        return PITH_OK;
    }
    pith_status status = read_back(out, step, err);
    if (status == PITH_OK) {
        out->descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        status = out->descriptor < 0 ? fail_errno(out, errno, err) : PITH_OK;
    }
    if (status != PITH_OK) {
        pith__train_log_close(out);
    }
    return status;
}

void pith__train_log_close(pith__train_log *log)
{
    if (log->mem.realloc == NULL) {
        return;
    }
    if (log->descriptor >= 0) {
        (void)close(log->descriptor);
    }
    pith__free(&log->mem, log->training.items, log->training.capacity, sizeof(pith__loss_point));
    pith__free(&log->mem, log->held_out.items, log->held_out.capacity, sizeof(pith__loss_point));
    *log = (pith__train_log){.descriptor = -1};
}

static pith_status append_number(pith__buf *out, const char *key, double value, pith_error *err)
{
    return isfinite(value) ? pith__buf_printf(out, err, ",\"%s\":%.9g", key, value)
                           : pith__buf_printf(out, err, ",\"%s\":null", key);
}

pith_status pith__train_log_string(pith__buf *out, const char *text, pith_error *err)
{
    const size_t size = strlen(text);
    PITH__TRY(pith__buf_append_text(out, "\"", err));
    for (size_t i = 0; i < size;) {
        uint32_t code = 0;
        const size_t length = pith__utf8_decode(text, size, i, &code);
        if (code == PITH__UTF8_INVALID) {
            PITH__TRY(pith__buf_append_text(out, "\\ufffd", err));
        } else if (code < 0x20 || code == 0x7f || code == '"' || code == '\\') {
            PITH__TRY(pith__buf_printf(out, err, "\\u%04x", (unsigned)code));
        } else {
            PITH__TRY(pith__buf_append(out, text + i, length, err));
        }
        i += length;
    }
    return pith__buf_append_text(out, "\"", err);
}

static pith_status format_line(const pith__train_event *e, pith__buf *out, pith_error *err)
{
    const bool is_step = e->kind == PITH__TRAIN_STEP;
    PITH__TRY(pith__buf_printf(out, err, "{\"event\":\"%s\",\"step\":%llu,\"tokens\":%llu",
                               is_step ? "step" : "evaluation", (unsigned long long)e->step,
                               (unsigned long long)e->tokens));
    if (!is_step) {
        PITH__TRY(pith__buf_append_text(out, ",\"source\":", err));
        PITH__TRY(e->source == NULL ? pith__buf_append_text(out, "null", err)
                                    : pith__train_log_string(out, e->source, err));
    }
    PITH__TRY(append_number(out, "loss", e->loss, err));
    if (is_step) {
        PITH__TRY(append_number(out, "norm", e->norm, err));
        PITH__TRY(append_number(out, "multiplier", e->multiplier, err));
        PITH__TRY(append_number(out, "tokens_per_second", e->tokens_per_second, err));
    } else {
        PITH__TRY(append_number(out, "bits_per_byte", e->bits_per_byte, err));
    }
    PITH__TRY(append_number(out, "seconds", e->seconds, err));
    return pith__buf_append_text(out, "}\n", err);
}

static pith_status write_all(const pith__train_log *log, const char *data, size_t size,
                             pith_error *err)
{
    while (size > 0) {
        const ssize_t written = write(log->descriptor, data, size);
        if (written >= 0) {
            data += written;
            size -= (size_t)written;
        } else if (errno != EINTR) {
            return fail_errno(log, errno, err);
        }
    }
    return PITH_OK;
}

pith_status pith__train_log_add(pith__train_log *log, const pith__train_event *event,
                                pith_error *err)
{
    const bool is_step = event->kind == PITH__TRAIN_STEP;
    if (!is_step && event->kind != PITH__TRAIN_EVALUATION) {
        return PITH_OK;
    }
    if (is_step || event->source == NULL) {
        PITH__TRY(add_point(is_step ? &log->training : &log->held_out, &log->mem, event->step,
                            event->loss, err));
    }
    if (log->path == NULL) {
        return PITH_OK;
    }
    pith__buf text;
    pith__buf_init(&text, &log->mem, LINE_MAX_BYTES);
    pith_status status = format_line(event, &text, err);
    if (status == PITH_OK) {
        status = write_all(log, text.data, text.size, err);
    }
    pith__buf_deinit(&text);
    return status;
}
