/*
 * cmd_generate.c: pith generate.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An --attribute, read. */
typedef struct attribute {
    char *fields; /* owned: a copy that was cut at its commas */
    cli_read_pieces toward;
    cli_read_pieces away;
} attribute;

typedef struct work {
    const cli_settings *settings;
    cli_read_pieces prompt;
    attribute *attributes; /* (settings->attributes.count) */
    pith_attribute *wanted;
    cli_engine engine;
    cli_output out;
    bool has_stdin; /* it is one of the pieces, and can be no other */
    bool is_stream; /* text goes out as it comes */
    bool is_lost;   /* writing failed */
    char last;      /* byte that was written */
} work;

/* ---- attributes ---------------------------------------------------------------------- */

/* Cuts the next field off; NULL past the last one. */
static char *next_field(char **rest)
{
    char *field = *rest;
    if (field != NULL) {
        char *comma = strchr(field, ',');
        *rest = comma == NULL ? NULL : comma + 1;
        if (comma != NULL) {
            *comma = '\0';
        }
    }
    return field;
}

/* False unless all of the field is a number; 1 if there is no field. */
static bool read_number(const char *field, double *out)
{
    char *end = NULL;
    *out = 1.0;
    if (field == NULL) {
        return true;
    }
    *out = strtod(field, &end);
    return end != field && *end == '\0' && strspn(field, "+-.0123456789eE") == strlen(field);
}

/* An empty name is no piece. An exit code. */
static int open_side(work *w, const char *name, cli_read_pieces *out)
{
    const cli_piece piece = {CLI_PIECE_FILE, name};
    if (strcmp(name, "-") == 0) {
        if (w->has_stdin) {
            return cli_usage_error(w->settings, "only one input can be standard input");
        }
        w->has_stdin = true;
    }
    return cli_pieces_open(&piece, name[0] == '\0' ? 0 : 1, out);
}

/* An exit code. */
static int open_attribute(work *w, const char *text, attribute *a, pith_attribute *out)
{
    a->fields = strdup(text);
    if (a->fields == NULL) {
        cli_message("out of memory");
        return pith_status_exit_code(PITH_E_MEMORY);
    }
    char *rest = a->fields;
    const char *toward = next_field(&rest);
    const char *away = next_field(&rest);
    const char *omega = next_field(&rest);
    const char *tau = next_field(&rest);
    if (toward == NULL || away == NULL || rest != NULL || (toward[0] == '\0' && away[0] == '\0') ||
        !read_number(omega, &out->omega) || !read_number(tau, &out->tau) || !(out->tau > 0.0)) {
        return cli_usage_error(w->settings,
                               "--attribute: '%s' is not TOWARD,AWAY[,OMEGA[,TAU]]: two files, one "
                               "of which may be nothing, a number, and one above 0",
                               text);
    }
    int code = open_side(w, toward, &a->toward);
    if (code == 0) {
        code = open_side(w, away, &a->away);
    }
    out->toward = a->toward.items;
    out->n_toward = a->toward.count;
    out->away = a->away.items;
    out->n_away = a->away.count;
    return code;
}

/* An exit code. */
static int open_attributes(work *w)
{
    const cli_words *words = &w->settings->attributes;
    w->attributes = calloc(words->count + 1, sizeof *w->attributes);
    w->wanted = calloc(words->count + 1, sizeof *w->wanted);
    if (w->attributes == NULL || w->wanted == NULL) {
        cli_message("out of memory");
        return pith_status_exit_code(PITH_E_MEMORY);
    }
    int code = 0;
    for (size_t i = 0; code == 0 && i < words->count; i++) {
        code = open_attribute(w, words->items[i], &w->attributes[i], &w->wanted[i]);
    }
    return code;
}

/* ---- output ---------------------------------------------------------------------------- */

/* A pith_token_fn. */
static bool take_token(void *user, const pith_generated_token *token)
{
    work *w = user;
    if (w->is_stream && token->size > 0) {
        w->last = token->text[token->size - 1];
        w->is_lost = !cli_write(w->out.file, token->text, token->size) || fflush(w->out.file) != 0;
    }
    return !w->is_lost;
}

static void write_table(FILE *file, const pith_generation *generation)
{
    size_t count = 0;
    const pith_generated_token *tokens = pith_generation_tokens(generation, &count);
    double sum = 0.0;
    (void)fputs("      id   logprob  text\n", file);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(file, "%8lu %9.4f  ", (unsigned long)tokens[i].id, (double)tokens[i].logprob);
        cli_write_quoted(file, tokens[i].text, tokens[i].size,
                         cli_is_utf8(tokens[i].text, tokens[i].size));
        (void)fputc('\n', file);
        sum += (double)tokens[i].logprob;
    }
    (void)fprintf(file, "%zu tokens", count);
    if (count > 0) {
        (void)fprintf(file, ", %.4f nats/token", -sum / (double)count);
    }
    (void)fprintf(file, ", stopped by %s\n", pith_generation_describe(generation).stop);
}

static void write_logprobs(FILE *file, const pith_generation *generation)
{
    size_t count = 0;
    const pith_generated_token *tokens = pith_generation_tokens(generation, &count);
    (void)fputs(",\"logprobs\":[", file);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(file, "%s{\"id\":%lu,\"logprob\":", i == 0 ? "" : ",",
                      (unsigned long)tokens[i].id);
        cli_json_number(file, (double)tokens[i].logprob, 9);
        (void)fputc(',', file);
        cli_json_text(file, "text", tokens[i].text, tokens[i].size);
        (void)fputc('}', file);
    }
    (void)fputc(']', file);
}

static void write_json(const work *w, const pith_generation *generation)
{
    FILE *file = w->out.file;
    size_t size = 0;
    const char *text = pith_generation_text(generation, &size);
    const pith_generation_stats stats = pith_generation_describe(generation);
    (void)fputc('{', file);
    cli_json_text(file, "text", text, size);
    (void)fputs(",\"model\":", file);
    cli_json_string(file, w->engine.model_name, strlen(w->engine.model_name));
    (void)fprintf(file,
                  ",\"stop\":\"%s\",\"prompt_tokens\":%zu,\"prompt_positions\":%zu,\"tokens\":%zu",
                  stats.stop, stats.prompt_tokens, stats.prompt_positions, stats.tokens);
    if (w->settings->logprobs == CLI_YES) {
        write_logprobs(file, generation);
    }
    (void)fprintf(file, ",\"prompt_seconds\":%.6g,\"generate_seconds\":%.6g}\n",
                  stats.prompt_seconds, stats.generate_seconds);
}

/* What is not written yet. */
static void write_result(const work *w, const pith_generation *generation)
{
    if (w->settings->json == CLI_YES) {
        write_json(w, generation);
    } else if (w->settings->logprobs == CLI_YES) {
        write_table(w->out.file, generation);
    } else if (w->last != '\0' && w->last != '\n' && isatty(fileno(w->out.file)) != 0) {
        (void)fputc('\n', w->out.file); /* the shell's prompt would stick to it */
    }
}

static void say_more(const pith_generation *generation)
{
    const pith_generation_stats s = pith_generation_describe(generation);
    cli_message("%zu tokens in %zu positions read in %.3f s; %zu tokens in %.3f s (%.1f per "
                "second), stopped by %s",
                s.prompt_tokens, s.prompt_positions, s.prompt_seconds, s.tokens, s.generate_seconds,
                s.generate_seconds > 0.0 ? (double)s.tokens / s.generate_seconds : 0.0, s.stop);
}

/* ---- together ---------------------------------------------------------------------------- */

/* An exit code. Under the name of the piece that is at fault, if one is. */
static int report(const work *w, const pith_error *err)
{
    int code = 0;
    bool is_told = cli_pieces_report(&w->prompt, &w->engine, err, &code);
    for (size_t i = 0; !is_told && i < w->settings->attributes.count; i++) {
        const attribute *a = &w->attributes[i];
        is_told = cli_pieces_report(&a->toward, &w->engine, err, &code) ||
                  cli_pieces_report(&a->away, &w->engine, err, &code);
    }
    return is_told ? code : cli_report(NULL, err, NULL, 0);
}

static int generate(work *w)
{
    pith_error err;
    pith_generation *generation = NULL;
    pith_status status =
        pith_generate(w->engine.ctx, w->prompt.items, w->prompt.count, w->wanted,
                      w->settings->attributes.count, take_token, w, &generation, &err);
    if (status != PITH_OK && !w->is_lost) {
        return report(w, &err);
    }
    if (status == PITH_OK) {
        write_result(w, generation);
    }
    status = cli_output_commit(&w->out, &err); /* says what went wrong with the writing */
    if (status == PITH_OK && w->settings->verbose == CLI_YES) {
        say_more(generation);
    }
    pith_generation_free(generation);
    return status == PITH_OK ? 0 : cli_report(NULL, &err, NULL, 0);
}

/* An exit code. */
static int open_work(work *w)
{
    static const cli_piece standard_input = {CLI_PIECE_FILE, "-"};
    const cli_settings *settings = w->settings;
    const cli_pieces *pieces = &settings->pieces;
    const bool is_given = pieces->count > 0;
    pith_error err;
    w->has_stdin = !is_given;
    for (size_t i = 0; i < pieces->count; i++) {
        const cli_piece *piece = &pieces->items[i];
        w->has_stdin |= piece->kind != CLI_PIECE_TEXT && strcmp(piece->value, "-") == 0;
    }
    int code = cli_pieces_open(is_given ? pieces->items : &standard_input,
                               is_given ? pieces->count : 1, &w->prompt);
    if (code == 0) {
        code = open_attributes(w);
    }
    if (code == 0) {
        code = cli_engine_open(settings, &w->engine);
    }
    if (code != 0) {
        return code;
    }
    pith_ctx_set_progress(w->engine.ctx, NULL, NULL); /* the text is progress enough */
    w->is_stream = settings->json != CLI_YES && settings->logprobs != CLI_YES;
    return cli_output_open(settings->output, &w->out, &err) == PITH_OK
               ? 0
               : cli_report(NULL, &err, NULL, 0);
}

static void close_work(work *w)
{
    for (size_t i = 0; w->attributes != NULL && i < w->settings->attributes.count; i++) {
        cli_pieces_free(&w->attributes[i].toward);
        cli_pieces_free(&w->attributes[i].away);
        free(w->attributes[i].fields);
    }
    free(w->attributes);
    free(w->wanted);
    cli_output_discard(&w->out);
    cli_engine_close(&w->engine);
    cli_pieces_free(&w->prompt);
}

int cli_run_generate(const cli_settings *settings)
{
    work w = {.settings = settings};
    int code = open_work(&w);
    if (code == 0) {
        code = generate(&w);
    }
    close_work(&w);
    return code;
}
