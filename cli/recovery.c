/*
 * recovery.c: a result of 'pith compress --json' beside its source.
 *
 * The result names the byte ranges of the source that were kept. They are
 * checked, and the text must be what they make.
 */
#include "cli.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define JOINER_SIZE ((size_t)2) /* between parts, see pith_compress_parts() */

/* ---- the object ---------------------------------------------------------------- */

static pith_status fail_object(pith_error *err, const char *what)
{
    return cli_fail(err, PITH_E_SYNTAX, "%s", what);
}

static pith_status read_text(cli_recovery *r, pith_error *err)
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

/* Of the prompt that was compressed. */
static size_t part_count(const cli_recovery *r)
{
    const size_t count = json_array_size(json_object_get(r->root, "parts"));
    return count > 0 ? count : 1;
}

/* The same parts, unless all of them are given as one text. */
static pith_status check_parts(const cli_recovery *r, const cli_prompt *prompt, pith_error *err)
{
    const json_t *list = json_object_get(r->root, "parts");
    const size_t count = part_count(r);
    if (prompt->count != 1 && prompt->count != count) {
        return cli_fail(err, PITH_E_MISMATCH, "the result is of %zu part%s, %zu are given", count,
                        count == 1 ? "" : "s", prompt->count);
    }
    size_t start = 0;
    for (size_t i = 0; prompt->count > 1 && i < count; i++) {
        const json_t *part = json_array_get(list, i);
        const size_t end = start + prompt->parts[i].size;
        if (json_integer_value(json_object_get(part, "start")) != (json_int_t)start ||
            json_integer_value(json_object_get(part, "end")) != (json_int_t)end) {
            return cli_fail(err, PITH_E_MISMATCH, "part %zu of the result is not '%s'", i,
                            prompt->inputs[i].name);
        }
        start = end + JOINER_SIZE;
    }
    return PITH_OK;
}

/* ---- ranges ---------------------------------------------------------------------- */

/* [start, end) with start < end <= size of the source. */
static pith_status read_range(const cli_recovery *r, const json_t *pair, pith_range *out,
                              pith_error *err)
{
    const json_t *start = json_array_get(pair, 0);
    const json_t *end = json_array_get(pair, 1);
    if (json_array_size(pair) != 2 || !json_is_integer(start) || !json_is_integer(end)) {
        return fail_object(err, "a range is not a pair of whole numbers");
    }
    const json_int_t from = json_integer_value(start);
    const json_int_t to = json_integer_value(end);
    if (from < 0 || to <= from) {
        return cli_fail(err, PITH_E_SYNTAX, "range [%lld,%lld) does not go forward",
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

/* Ranges of one part ascend; where there are several, parts may have changed places. */
static pith_status check_order(const cli_recovery *r, pith_error *err)
{
    const pith_range *ranges = part_count(r) > 1 ? r->sorted : r->ranges;
    for (size_t i = 1; i < r->count; i++) {
        if (ranges[i].start < ranges[i - 1].end) {
            return cli_fail(err, PITH_E_SYNTAX, "range [%zu,%zu) is not after [%zu,%zu)",
                            ranges[i].start, ranges[i].end, ranges[i - 1].start, ranges[i - 1].end);
        }
    }
    return PITH_OK;
}

static pith_status read_ranges(cli_recovery *r, pith_error *err)
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
    for (size_t i = 0; i < r->count; i++) {
        const pith_status status = read_range(r, json_array_get(list, i), &r->ranges[i], err);
        if (status != PITH_OK) {
            return status;
        }
    }
    r->sorted = cli_ranges_sorted(r->ranges, r->count);
    if (r->sorted == NULL) {
        return cli_fail(err, PITH_E_MEMORY, "no memory for %zu ranges", r->count);
    }
    return check_order(r, err);
}

static pith_status read_object(cli_recovery *r, const cli_prompt *prompt, pith_error *err)
{
    json_error_t problem;
    r->root = json_loadb(r->object.size == 0 ? "" : r->object.data, r->object.size,
                         JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (r->root == NULL) {
        (void)cli_fail(err, PITH_E_SYNTAX, "%.*s", (int)sizeof err->message - 1, problem.text);
        err->offset = problem.position < 0 ? PITH_NO_OFFSET : (size_t)problem.position;
        return PITH_E_SYNTAX;
    }
    pith_status status = read_text(r, err);
    if (status == PITH_OK) {
        status = check_parts(r, prompt, err);
    }
    return status != PITH_OK ? status : read_ranges(r, err);
}

/* ---- the check --------------------------------------------------------------------- */

/* What may stand in the text without coming from the source. */
typedef enum joiner {
    JOINER_NONE,  /* mode pith, and most others */
    JOINER_SPACE, /* selective, mode official: a space between any two ranges */
    JOINER_LINES  /* llmlingua, modes paper and official: empty lines between parts, and U+FFFD for
                     a character that lost a byte */
} joiner;

static joiner joiner_of(const cli_recovery *r)
{
    const char *mode = json_string_value(json_object_get(r->root, "mode"));
    const char *method = json_string_value(json_object_get(r->root, "method"));
    if (method != NULL && strcmp(method, "selective") != 0) {
        return mode != NULL && strcmp(mode, "pith") != 0 ? JOINER_LINES : JOINER_NONE;
    }
    return mode != NULL && strcmp(mode, "official") == 0 ? JOINER_SPACE : JOINER_NONE;
}

/*
 * Walks through the text beside the bytes of the ranges. What differs must be a joiner, at the end
 * of a range. A joiner that looks like what follows in the source is taken for that: as only
 * joiners and their likes are passed over, what was taken too early is made up for by what is then
 * left over, and one pass is exact.
 */
typedef struct walk {
    const cli_recovery *r;
    joiner joiner;
    size_t at;     /* in the text */
    size_t spaces; /* joiners there may still be before the next other byte */
    size_t lines;  /* bytes of empty lines there may still be */
    bool is_end;   /* a range ended since the last byte that is no joiner */
} walk;

#define REPLACEMENT      "\xEF\xBF\xBD" /* U+FFFD */
#define REPLACEMENT_SIZE ((size_t)3)

static bool is_replacement(const walk *w, const char *bytes, size_t size)
{
    return w->joiner == JOINER_LINES && size >= REPLACEMENT_SIZE &&
           memcmp(bytes, REPLACEMENT, REPLACEMENT_SIZE) == 0;
}

/* Bytes of the character at `bytes`, as far as it matters here. */
static size_t symbol_size(const walk *w, const char *bytes, size_t size)
{
    return is_replacement(w, bytes, size) ? REPLACEMENT_SIZE : 1;
}

static bool looks_like_joiner(const walk *w, const char *bytes, size_t size)
{
    return (w->joiner == JOINER_SPACE && bytes[0] == ' ') ||
           (w->joiner == JOINER_LINES && bytes[0] == '\n') || is_replacement(w, bytes, size);
}

/* Passes over one joiner; false if there is none, or none is allowed. */
static bool skip_joiner(walk *w)
{
    const char *bytes = w->r->text + w->at;
    const size_t left = w->r->size - w->at;
    if (left == 0 || !w->is_end || !looks_like_joiner(w, bytes, left)) {
        return false;
    }
    size_t *allowed = bytes[0] == ' ' ? &w->spaces : bytes[0] == '\n' ? &w->lines : NULL;
    if (allowed != NULL && (*allowed)-- == 0) {
        *allowed = 0;
        return false;
    }
    w->at += symbol_size(w, bytes, left);
    return true;
}

static bool pass_range(walk *w, const pith_range *range)
{
    const cli_recovery *r = w->r;
    for (size_t i = range->start; i < range->end;) {
        const char *bytes = r->source.data + i;
        const size_t size = symbol_size(w, bytes, range->end - i);
        while (w->at + size > r->size || memcmp(r->text + w->at, bytes, size) != 0 ||
               symbol_size(w, r->text + w->at, r->size - w->at) != size) {
            if (!skip_joiner(w)) {
                return false;
            }
        }
        if (!looks_like_joiner(w, bytes, size)) {
            w->spaces = 0;
            w->is_end = false;
        }
        w->at += size;
        i += size;
    }
    w->is_end = true;
    return true;
}

/* The text must be the ranges one after the other; err->offset is a byte of the text. */
static pith_status check_text(const cli_recovery *r, pith_error *err)
{
    walk w = {
        .r = r, .joiner = joiner_of(r), .lines = JOINER_SIZE * (part_count(r) - 1), .is_end = true};
    bool good = true;
    for (size_t i = 0; good && i < r->count; i++) {
        w.spaces += i > 0 && w.joiner == JOINER_SPACE;
        good = pass_range(&w, &r->ranges[i]);
    }
    while (good && w.at < r->size) {
        good = w.joiner == JOINER_LINES && skip_joiner(&w);
    }
    if (good) {
        return PITH_OK;
    }
    (void)cli_fail(err, PITH_E_MISMATCH, "the text does not come from this source");
    err->offset = w.at;
    return PITH_E_MISMATCH;
}

/* ---- together --------------------------------------------------------------------------- */

int cli_recovery_open(const char *path, const cli_prompt *prompt, cli_recovery *out)
{
    pith_error err;
    *out = (cli_recovery){0};
    if (cli_prompt_join(prompt, &out->source, &err) != PITH_OK) {
        return cli_report(NULL, &err, NULL, 0);
    }
    if (cli_input_read(path, &out->object, &err) != PITH_OK) {
        return cli_report(out->object.name, &err, NULL, 0);
    }
    if (read_object(out, prompt, &err) != PITH_OK) {
        return cli_report(out->object.name, &err, out->object.data, out->object.size);
    }
    if (check_text(out, &err) != PITH_OK) {
        return cli_report("compressed text", &err, out->text, out->size);
    }
    return 0;
}

void cli_recovery_free(cli_recovery *r)
{
    free(r->sorted);
    free(r->ranges);
    free(r->decoded);
    json_decref(r->root);
    cli_input_free(&r->object);
    cli_input_free(&r->source);
}
