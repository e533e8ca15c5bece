/*
 * cmd_recover.c: pith recover, what was kept and what was dropped.
 *
 * The result of 'pith compress --json' names the byte ranges of the source
 * that were kept. They are checked, the text is built from them again, and
 * only what agrees with the result is printed.
 */
#include "cli.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

typedef struct recovery {
    cli_input source;
    cli_input object; /* the JSON as bytes */
    json_t *root;
    const char *text; /* the compressed text, size bytes */
    size_t size;
    char *decoded; /* owned; what `text` points at when it came as base64 */
    pith_range *ranges;
    size_t count;
    bool joined; /* one space may stand between ranges: mode "official" */
} recovery;

/* ---- the object ---------------------------------------------------------------- */

static pith_status fail_object(pith_error *err, const char *what)
{
    return cli_fail(err, PITH_E_SYNTAX, "%s", what);
}

static pith_status read_text(recovery *r, pith_error *err)
{
    const json_t *text = json_object_get(r->root, "text");
    const json_t *base64 = json_object_get(r->root, "text_base64");
    if (json_is_string(text)) {
        r->text = json_string_value(text);
        r->size = json_string_length(text);
        return PITH_OK;
    }
    if (!json_is_string(base64)) {
        return fail_object(err, "neither \"text\" nor \"text_base64\" is there");
    }
    r->decoded = cli_base64_decode(json_string_value(base64), json_string_length(base64), &r->size);
    r->text = r->decoded;
    return r->decoded != NULL ? PITH_OK : fail_object(err, "\"text_base64\" is not base64");
}

/* [start, end) with previous <= start < end <= size of the source. */
static pith_status read_range(const recovery *r, const json_t *pair, size_t previous,
                              pith_range *out, pith_error *err)
{
    const json_t *start = json_array_get(pair, 0);
    const json_t *end = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_integer(start) || !json_is_integer(end)) {
        return fail_object(err, "a range is not a pair of whole numbers");
    }
    const json_int_t from = json_integer_value(start);
    const json_int_t to = json_integer_value(end);
    if (from < 0 || to <= from || (size_t)from < previous) {
        return cli_fail(err, PITH_E_SYNTAX, "range [%lld,%lld) is not after the one before",
                        (long long)from, (long long)to);
    }
    if ((size_t)to > r->source.size) {
        return cli_fail(err, PITH_E_MISMATCH,
                        "range [%lld,%lld) is outside the source of %zu bytes", (long long)from,
                        (long long)to, r->source.size);
    }
    *out = (pith_range){.start = (size_t)from, .end = (size_t)to};
    return PITH_OK;
}

static pith_status read_ranges(recovery *r, pith_error *err)
{
    const json_t *list = json_object_get(r->root, "ranges");
    if (!json_is_array(list)) {
        return fail_object(err, "\"ranges\" is missing or not an array");
    }
    r->count = json_array_size(list);
    r->ranges = calloc(r->count + 1, sizeof *r->ranges);
    if (r->ranges == NULL) {
        return cli_fail(err, PITH_E_MEMORY, "no memory for %zu ranges", r->count);
    }
    size_t previous = 0;
    for (size_t i = 0; i < r->count; i++) {
        const pith_status status =
            read_range(r, json_array_get(list, i), previous, &r->ranges[i], err);
        if (status != PITH_OK) {
            return status;
        }
        previous = r->ranges[i].end;
    }
    return PITH_OK;
}

static pith_status read_object(recovery *r, pith_error *err)
{
    json_error_t problem;
    r->root = json_loadb(r->object.size == 0 ? "" : r->object.data, r->object.size,
                         JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (r->root == NULL) {
        (void)cli_fail(err, PITH_E_SYNTAX, "%.*s", (int)sizeof err->message - 1, problem.text);
        err->offset = problem.position < 0 ? PITH_NO_OFFSET : (size_t)problem.position;
        return PITH_E_SYNTAX;
    }
    const char *mode = json_string_value(json_object_get(r->root, "mode"));
    r->joined = mode != NULL && strcmp(mode, "official") == 0;
    const pith_status status = read_text(r, err);
    return status != PITH_OK ? status : read_ranges(r, err);
}

/* ---- the check --------------------------------------------------------------------- */

/*
 * Walks through the text beside the bytes of the ranges. Between two bytes that
 * are no spaces, the text must have the spaces of the ranges and, if ranges are
 * joined, at most one more for each end of a range on the way. Since all of
 * them are alike, counting them is exact and takes one pass.
 */
typedef struct walk {
    const recovery *r;
    size_t at;       /* in the text */
    size_t fixed;    /* spaces of the ranges since the last other byte */
    size_t optional; /* joiners there may be among them */
} walk;

/* Moves over the spaces; false, and `at` on the first difference, if their number is wrong. */
static bool pass_spaces(walk *w)
{
    const size_t most = w->fixed + w->optional;
    size_t spaces = 0;
    while (w->at < w->r->size && spaces < most && w->r->text[w->at] == ' ') {
        w->at++;
        spaces++;
    }
    const bool good = spaces >= w->fixed;
    w->fixed = 0;
    w->optional = 0;
    return good;
}

static bool pass_range(walk *w, const pith_range *range)
{
    for (size_t i = range->start; i < range->end; i++) {
        const char byte = w->r->source.data[i];
        if (byte == ' ') {
            w->fixed++;
        } else if (!pass_spaces(w) || w->at >= w->r->size || w->r->text[w->at] != byte) {
            return false;
        } else {
            w->at++;
        }
    }
    return true;
}

/* The text must be the ranges one after the other; err->offset is a byte of the text. */
static pith_status check_text(const recovery *r, pith_error *err)
{
    walk w = {.r = r};
    bool good = true;
    for (size_t i = 0; good && i < r->count; i++) {
        w.optional += i > 0 && r->joined;
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the caller of recover() releases the ranges */
        good = pass_range(&w, &r->ranges[i]);
    }
    if (good && pass_spaces(&w) && w.at == r->size) {
        return PITH_OK;
    }
    (void)cli_fail(err, PITH_E_MISMATCH, "the text does not come from this source");
    err->offset = w.at;
    return PITH_E_MISMATCH;
}

/* ---- what is printed ------------------------------------------------------------------ */

static void write_one_dropped(FILE *file, const recovery *r, size_t start, size_t end)
{
    if (start < end) {
        (void)fprintf(file, "{\"start\":%zu,\"end\":%zu,", start, end);
        cli_json_text(file, "text", r->source.data + start, end - start);
        (void)fputs("}\n", file);
    }
}

static void write_dropped(FILE *file, const recovery *r)
{
    size_t at = 0;
    for (size_t i = 0; i < r->count; i++) {
        write_one_dropped(file, r, at, r->ranges[i].start);
        at = r->ranges[i].end;
    }
    write_one_dropped(file, r, at, r->source.size);
}

static void write_marked(FILE *file, const recovery *r, const char *mark)
{
    size_t at = 0;
    for (size_t i = 0; i < r->count; i++) {
        const pith_range *range = &r->ranges[i];
        if (at < range->start) {
            (void)fputs(mark, file);
        }
        (void)fwrite(r->source.data + range->start, 1, range->end - range->start, file);
        at = range->end;
    }
    if (at < r->source.size) {
        (void)fputs(mark, file);
    }
}

static pith_status write_recovered(const recovery *r, const cli_settings *settings, pith_error *err)
{
    cli_output out;
    pith_status status = cli_output_open(settings->output, &out, err);
    if (status != PITH_OK) {
        return status;
    }
    if (settings->dropped == CLI_YES) {
        write_dropped(out.file, r);
    } else if (settings->mark != NULL) {
        write_marked(out.file, r, settings->mark);
    } else if (r->size > 0) {
        (void)fwrite(r->text, 1, r->size, out.file); /* checked: built from the source */
    }
    return cli_output_commit(&out, err);
}

/* ---- together --------------------------------------------------------------------------- */

static int recover(recovery *r, const cli_settings *settings)
{
    pith_error err;
    if (cli_input_read(settings->operands[0], &r->source, &err) != PITH_OK) {
        return cli_report(r->source.name, &err, NULL, 0);
    }
    if (cli_input_read(settings->operands[1], &r->object, &err) != PITH_OK) {
        return cli_report(r->object.name, &err, NULL, 0);
    }
    if (read_object(r, &err) != PITH_OK) {
        return cli_report(r->object.name, &err, r->object.data, r->object.size);
    }
    if (check_text(r, &err) != PITH_OK) {
        return cli_report("compressed text", &err, r->text, r->size);
    }
    if (write_recovered(r, settings, &err) != PITH_OK) {
        return cli_report(NULL, &err, NULL, 0);
    }
    if (settings->verbose == CLI_YES) {
        cli_message("%zu of %zu bytes kept in %zu ranges", r->size, r->source.size, r->count);
    }
    return 0;
}

int cli_run_recover(const cli_settings *settings)
{
    if (settings->dropped == CLI_YES && settings->mark != NULL) {
        return cli_usage_error(settings, "--dropped and --mark exclude each other");
    }
    if (strcmp(settings->operands[0], "-") == 0 && strcmp(settings->operands[1], "-") == 0) {
        return cli_usage_error(settings, "only one of the two can be standard input");
    }
    recovery r = {0};
    const int code = recover(&r, settings);
    free(r.ranges);
    free(r.decoded);
    json_decref(r.root);
    cli_input_free(&r.object);
    cli_input_free(&r.source);
    return code;
}
