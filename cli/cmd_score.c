/*
 * cmd_score.c: pith score.
 */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- summary ------------------------------------------------------------------ */

typedef struct summary {
    size_t tokens;
    size_t scored;    /* tokens with a value */
    size_t forwarded; /* tokens the model ran over */
    double nats;      /* of all scored tokens */
    double bits_per_byte;
} summary;

static summary summarise(const pith_scores *scores, size_t bytes)
{
    summary s = {.forwarded = pith_scores_forwarded(scores)};
    const pith_token_score *tokens = pith_scores_tokens(scores, &s.tokens);
    for (size_t i = 0; i < s.tokens; i++) {
        if (!isnan(tokens[i].nats)) {
            s.nats += (double)tokens[i].nats;
            s.scored++;
        }
    }
    s.bits_per_byte = s.nats / log(2.0) / (double)bytes; /* NaN for an empty text */
    return s;
}

static double nats_per_token(const summary *s)
{
    return s->nats / (double)s->scored;
}

/* ---- JSON --------------------------------------------------------------------- */

static void write_number_member(FILE *file, const char *key, double value)
{
    (void)fprintf(file, ",\"%s\":", key);
    cli_json_number(file, value, 9);
}

/* Everything between the braces. */
static void write_members(FILE *file, const cli_engine *engine, const pith_scores *scores,
                          size_t bytes)
{
    size_t count = 0;
    const pith_token_score *tokens = pith_scores_tokens(scores, &count);
    (void)fputs("\"tokens\":[", file);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(file, "%s{\"start\":%zu,\"end\":%zu,\"id\":%lu,\"nats\":", i == 0 ? "" : ",",
                      tokens[i].start, tokens[i].end, (unsigned long)tokens[i].id);
        cli_json_number(file, (double)tokens[i].nats, 9);
        (void)fputc('}', file);
    }
    const summary s = summarise(scores, bytes);
    (void)fputs("],\"model\":", file);
    cli_json_string(file, engine->model_name, strlen(engine->model_name));
    (void)fprintf(file, ",\"summary\":{\"tokens\":%zu,\"scored_tokens\":%zu,\"forward_tokens\":%zu",
                  s.tokens, s.scored, s.forwarded);
    write_number_member(file, "nats_per_token", nats_per_token(&s));
    write_number_member(file, "bits_per_token", nats_per_token(&s) / log(2.0));
    write_number_member(file, "perplexity", exp(nats_per_token(&s)));
    write_number_member(file, "bits_per_byte", s.bits_per_byte);
    (void)fputc('}', file);
}

/* A cli_record_fn. */
static pith_status score_record(cli_engine *engine, const cli_settings *settings,
                                const pith_part *parts, size_t count, FILE *file, cli_tally *tally,
                                pith_error *err)
{
    pith_scores *scores = NULL;
    const pith_status status = pith_score(engine->ctx, parts->text, parts->size, &scores, err);
    (void)settings;
    (void)count; /* records of this verb have one part */
    if (status == PITH_OK) {
        size_t tokens = 0;
        (void)pith_scores_tokens(scores, &tokens);
        tally->source_tokens += tokens;
        (void)fputc(',', file);
        write_members(file, engine, scores, parts->size);
    }
    pith_scores_free(scores);
    return status;
}

/* ---- table ---------------------------------------------------------------------- */

static bool is_continuation(const char *text, size_t size, size_t at)
{
    return at < size && ((unsigned char)text[at] & 0xC0) == 0x80;
}

static void write_table(FILE *file, const cli_input *input, const pith_scores *scores)
{
    size_t count = 0;
    const pith_token_score *tokens = pith_scores_tokens(scores, &count);
    (void)fputs("   start      end       id      nats      bits  text\n", file);
    for (size_t i = 0; i < count; i++) {
        const pith_token_score *t = &tokens[i];
        (void)fprintf(file, "%8zu %8zu %8lu ", t->start, t->end, (unsigned long)t->id);
        if (isnan(t->nats)) {
            (void)fputs("        -         -  ", file);
        } else {
            (void)fprintf(file, "%9.4f %9.4f  ", (double)t->nats, (double)t->nats / log(2.0));
        }
        const bool whole = !is_continuation(input->data, input->size, t->start) &&
                           !is_continuation(input->data, input->size, t->end);
        cli_write_quoted(file, input->data + t->start, t->end - t->start, whole);
        (void)fputc('\n', file);
    }
    const summary s = summarise(scores, input->size);
    (void)fprintf(file, "%zu tokens", s.tokens);
    if (s.scored > 0) {
        const double nats = nats_per_token(&s);
        (void)fprintf(file,
                      ", %.4f nats/token, %.4f bits/token, perplexity %.4g, %.4f bits per byte",
                      nats, nats / log(2.0), exp(nats), s.bits_per_byte);
    }
    (void)fputc('\n', file);
}

/* ---- heat map --------------------------------------------------------------------- */

/* Adds the token to the unit before it. NaN counts as nothing beside a number. */
static void merge(pith_unit *unit, const pith_token_score *token)
{
    unit->end = token->end;
    unit->tokens++;
    if (isnan(unit->nats)) {
        unit->nats = token->nats;
    } else if (!isnan(token->nats)) {
        unit->nats += token->nats;
    }
}

/* One unit per token, tokens that share a character together. The caller frees. */
static pith_unit *units_of(const cli_input *input, const pith_scores *scores, size_t *out_count)
{
    size_t count = 0;
    const pith_token_score *tokens = pith_scores_tokens(scores, &count);
    pith_unit *units = calloc(count + 1, sizeof *units);
    *out_count = 0;
    for (size_t i = 0; units != NULL && i < count; i++) {
        if (*out_count > 0 && is_continuation(input->data, input->size, tokens[i].start)) {
            merge(&units[*out_count - 1], &tokens[i]);
            continue;
        }
        units[(*out_count)++] = (pith_unit){.start = tokens[i].start,
                                            .end = tokens[i].end,
                                            .nats = tokens[i].nats,
                                            .tokens = 1,
                                            .kept = true};
    }
    return units;
}

/* ---- one text ----------------------------------------------------------------------- */

static pith_status write_pictures(const cli_job *job, const pith_scores *scores, pith_error *err)
{
    const cli_input *input = job->prompt.inputs;
    size_t count = 0;
    pith_unit *units = units_of(input, scores, &count);
    if (units == NULL) {
        return cli_fail(err, PITH_E_MEMORY, "no memory for the heat map");
    }
    pith_status status = PITH_OK;
    if (job->settings->heat == CLI_YES) {
        FILE *file = cli_job_heat_file(job);
        status = pith_render_ansi(input->data, input->size, units, count, NULL, 0,
                                  cli_use_color(job->settings, file), cli_write, file, err);
    }
    if (status == PITH_OK && job->html.file != NULL) {
        status = pith_render_html(input->data, input->size, units, count, NULL, 0, NULL,
                                  input->name, cli_write, job->html.file, err);
    }
    free(units);
    return status;
}

/* What fails to be written here is seen by cli_job_commit(). */
static void write_result(const cli_job *job, const pith_scores *scores)
{
    FILE *file = job->out.file;
    if (job->settings->json == CLI_YES) {
        (void)fputc('{', file);
        write_members(file, &job->engine, scores, job->prompt.inputs->size);
        (void)fputs("}\n", file);
    } else {
        write_table(file, job->prompt.inputs, scores);
    }
}

static int score_and_write(cli_job *job)
{
    const cli_input *input = job->prompt.inputs;
    pith_scores *scores = NULL;
    pith_error err;
    const double start = cli_seconds();
    pith_status status = pith_score(job->engine.ctx, input->data, input->size, &scores, &err);
    const double seconds = cli_seconds() - start;
    cli_progress_clear(&job->engine.progress);
    if (status != PITH_OK) {
        return cli_report(input->name, &err, input->data, input->size);
    }
    if (cli_job_wants_result(job)) {
        write_result(job, scores);
    }
    status = write_pictures(job, scores, &err);
    if (status == PITH_OK) {
        status = cli_job_commit(job, &err);
    }
    const summary s = summarise(scores, input->size);
    pith_scores_free(scores);
    if (status != PITH_OK) {
        return cli_report(NULL, &err, NULL, 0);
    }
    if (job->settings->verbose == CLI_YES) {
        cli_message("%zu tokens scored, %zu forwarded in %.2f s", s.tokens, s.forwarded, seconds);
    }
    return 0;
}

int cli_run_score(const cli_settings *settings)
{
    const cli_work work = {.record = score_record, .one = score_and_write};
    return cli_job_run(settings, &work);
}
