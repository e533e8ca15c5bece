/*
 * cmd_recover.c: pith recover, what was kept and what was dropped, and what a
 * response to the compressed prompt says of the original one.
 */
#include "cli.h"

#include <stdlib.h>

/* ---- what was kept and dropped ---------------------------------------------------------- */

static void write_one_dropped(FILE *file, const cli_recovery *r, size_t start, size_t end)
{
    if (start < end) {
        (void)fprintf(file, "{\"start\":%zu,\"end\":%zu,", start, end);
        cli_json_text(file, "text", r->source.data + start, end - start);
        (void)fputs("}\n", file);
    }
}

static void write_dropped(FILE *file, const cli_recovery *r)
{
    size_t at = 0;
    for (size_t i = 0; i < r->count; i++) {
        write_one_dropped(file, r, at, r->sorted[i].start);
        at = r->sorted[i].end;
    }
    write_one_dropped(file, r, at, r->source.size);
}

static int compare_starts(const void *key, const void *range)
{
    const size_t at = *(const size_t *)key;
    const size_t start = ((const pith_range *)range)->start;
    return at < start ? -1 : at > start;
}

static int compare_ends(const void *key, const void *range)
{
    const size_t at = *(const size_t *)key;
    const size_t end = ((const pith_range *)range)->end;
    return at < end ? -1 : at > end;
}

static bool is_missing_after(const cli_recovery *r, size_t end)
{
    return end < r->source.size &&
           bsearch(&end, r->sorted, r->count, sizeof *r->sorted, compare_starts) == NULL;
}

static bool is_missing_before(const cli_recovery *r, size_t start)
{
    return start > 0 &&
           bsearch(&start, r->sorted, r->count, sizeof *r->sorted, compare_ends) == NULL;
}

static void write_marked(FILE *file, const cli_recovery *r, const char *mark)
{
    bool missing = r->count == 0 && r->source.size > 0;
    for (size_t i = 0; i < r->count; i++) {
        const pith_range *range = &r->ranges[i];
        if (missing || is_missing_before(r, range->start)) {
            (void)fputs(mark, file);
        }
        (void)fwrite(r->source.data + range->start, 1, range->end - range->start, file);
        missing = is_missing_after(r, range->end);
    }
    if (missing) {
        (void)fputs(mark, file);
    }
}

static pith_status write_recovered(const cli_recovery *r, const cli_settings *settings,
                                   pith_error *err)
{
    cli_output out;
    const pith_status status = cli_output_open(settings->output, &out, err);
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

/* ---- a response --------------------------------------------------------------------------- */

/* Whose tokens prompts and response are compared in. */
typedef struct vocabulary {
    pith_model *model; /* NULL: of a file */
    pith_tokenizer *own;
    const pith_tokenizer *tokenizer;
} vocabulary;

static int open_vocabulary(const cli_settings *settings, vocabulary *out)
{
    pith_error err;
    const char *path = settings->count_with != NULL ? settings->count_with : settings->model;
    *out = (vocabulary){0};
    if (path != NULL) {
        if (pith_tokenizer_open(path, NULL, &out->own, &err) != PITH_OK) {
            return cli_report(path, &err, NULL, 0);
        }
        out->tokenizer = out->own;
        return 0;
    }
    if (pith_model_open(NULL, NULL, &out->model, &err) != PITH_OK) {
        return cli_report("built-in model", &err, NULL, 0);
    }
    out->tokenizer = pith_model_tokenizer(out->model);
    return 0;
}

static pith_part as_part(const char *text, size_t size)
{
    return (pith_part){PITH_CONTEXT, text, size};
}

static pith_status write_response(const cli_settings *settings, const pith_tokenizer *tokenizer,
                                  const pith_part *original, const pith_part *compressed,
                                  const cli_input *response, pith_error *err)
{
    cli_output out;
    const pith_part answer = as_part(response->data, response->size);
    pith_status status = cli_output_open(settings->output, &out, err);
    if (status == PITH_OK) {
        status = pith_recover(tokenizer, original, compressed, &answer, cli_write, out.file, err);
    }
    if (status == PITH_OK) {
        return cli_output_commit(&out, err);
    }
    cli_output_discard(&out);
    return status;
}

static int respond(const cli_settings *settings, const pith_part *original,
                   const pith_part *compressed)
{
    cli_input response;
    vocabulary words = {0};
    pith_error err;
    if (cli_input_read(settings->response, &response, &err) != PITH_OK) {
        return cli_report(response.name, &err, NULL, 0);
    }
    int code = open_vocabulary(settings, &words);
    if (code == 0 && write_response(settings, words.tokenizer, original, compressed, &response,
                                    &err) != PITH_OK) {
        code = cli_report(NULL, &err, NULL, 0);
    }
    pith_tokenizer_free(words.own);
    pith_model_free(words.model);
    cli_input_free(&response);
    return code;
}

/* --original and --compressed: no result, so nothing to check. */
static int respond_to_files(const cli_settings *settings)
{
    cli_input original = {0};
    cli_input compressed = {0};
    pith_error err;
    int code = 0;
    if (cli_input_read(settings->original, &original, &err) != PITH_OK) {
        code = cli_report(original.name, &err, NULL, 0);
    } else if (cli_input_read(settings->compressed, &compressed, &err) != PITH_OK) {
        code = cli_report(compressed.name, &err, NULL, 0);
    } else {
        const pith_part before = as_part(original.data, original.size);
        const pith_part after = as_part(compressed.data, compressed.size);
        code = respond(settings, &before, &after);
    }
    cli_input_free(&compressed);
    cli_input_free(&original);
    return code;
}

/* ---- together --------------------------------------------------------------------------- */

static int recover(const cli_recovery *r, const cli_settings *settings)
{
    pith_error err;
    if (settings->response != NULL) {
        const pith_part original = as_part(r->source.data, r->source.size);
        const pith_part compressed = as_part(r->text, r->size);
        return respond(settings, &original, &compressed);
    }
    if (write_recovered(r, settings, &err) != PITH_OK) {
        return cli_report(NULL, &err, NULL, 0);
    }
    if (settings->verbose == CLI_YES) {
        cli_message("%zu of %zu bytes kept in %zu ranges", r->size, r->source.size, r->count);
    }
    return 0;
}

static int recover_from_result(const cli_settings *settings)
{
    const cli_words *operands = &settings->operands;
    cli_prompt prompt;
    cli_recovery r = {0};
    int code = cli_prompt_open(settings, operands->items, operands->count - 1, false, &prompt);
    if (code == 0) {
        code = cli_recovery_open(operands->items[operands->count - 1], &prompt, &r);
    }
    if (code == 0) {
        code = recover(&r, settings);
    }
    cli_recovery_free(&r);
    cli_prompt_free(&prompt);
    return code;
}

/* Options that exclude or need each other. */
static int check(const cli_settings *s)
{
    const bool dropped = s->dropped == CLI_YES;
    const size_t sources = s->operands.count + s->contexts.count;
    if (dropped && s->mark != NULL) {
        return cli_usage_error(s, "--dropped and --mark exclude each other");
    }
    if (s->response != NULL && (dropped || s->mark != NULL)) {
        return cli_usage_error(s, "--response excludes --dropped and --mark");
    }
    if (s->original == NULL && s->compressed == NULL) {
        return s->operands.count > 0 && sources > 1 ? 0
                                                    : cli_usage_error(s, "expected SOURCE RESULT");
    }
    if (s->original == NULL || s->compressed == NULL || s->response == NULL) {
        return cli_usage_error(s, "--original, --compressed and --response go together");
    }
    return sources == 0 ? 0
                        : cli_usage_error(
                              s, "--original and --compressed stand in place of SOURCE and RESULT");
}

int cli_run_recover(const cli_settings *settings)
{
    const int code = check(settings);
    if (code != 0) {
        return code;
    }
    return settings->original != NULL ? respond_to_files(settings) : recover_from_result(settings);
}
