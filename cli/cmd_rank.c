/*
 * cmd_rank.c: pith rank, contexts in the order of their worth to a question.
 */
#include "cli.h"

#include <math.h>
#include <stdlib.h>

/* "nan" for what could not be ranked, whatever its sign. */
static void write_score(FILE *file, double score)
{
    if (isnan(score)) {
        (void)fputs("nan", file);
    } else {
        (void)fprintf(file, "%.6g", score);
    }
}

/* What pith_rank() made of the prompt. */
typedef struct ranking {
    size_t *order;  /* parts, best first */
    double *scores; /* of order[i] */
    size_t count;
} ranking;

static pith_status rank(const cli_engine *engine, const cli_prompt *prompt, ranking *out,
                        pith_error *err)
{
    *out = (ranking){.order = calloc(prompt->count, sizeof *out->order),
                     .scores = calloc(prompt->count, sizeof *out->scores)};
    if (out->order == NULL || out->scores == NULL) {
        return cli_fail(err, PITH_E_MEMORY, "no memory for %zu contexts", prompt->count);
    }
    for (size_t i = 0; i < prompt->count; i++) {
        out->count += prompt->parts[i].role == PITH_CONTEXT;
    }
    return pith_rank(engine->ctx, prompt->parts, prompt->count, out->order, out->scores, err);
}

static void write_text(FILE *file, const cli_prompt *prompt, const ranking *ranked)
{
    for (size_t i = 0; i < ranked->count; i++) {
        write_score(file, ranked->scores[i]);
        (void)fprintf(file, "\t%s\n", prompt->inputs[ranked->order[i]].name);
    }
}

/* The question comes last, so the index of a part is the number of its context. */
static void write_json(FILE *file, const cli_engine *engine, const cli_prompt *prompt,
                       const ranking *ranked)
{
    char value[PITH_VALUE_SIZE];
    (void)fprintf(
        file, "{\"rank_method\":\"%s\",\"model\":", cli_engine_param(engine, "rank-method", value));
    cli_json_name(file, engine->model_name);
    (void)fputs(",\"contexts\":[", file);
    for (size_t i = 0; i < ranked->count; i++) {
        (void)fprintf(file, "%s{\"index\":%zu,\"name\":", i == 0 ? "" : ",", ranked->order[i]);
        cli_json_name(file, prompt->inputs[ranked->order[i]].path);
        (void)fputs(",\"score\":", file);
        cli_json_number(file, ranked->scores[i], 9);
        (void)fputc('}', file);
    }
    (void)fputs("]}\n", file);
}

static int write_ranking(const cli_settings *settings, const cli_engine *engine,
                         const cli_prompt *prompt, const ranking *ranked)
{
    cli_output out;
    pith_error err;
    if (cli_output_open(settings->output, &out, &err) != PITH_OK) {
        return cli_report(NULL, &err, NULL, 0);
    }
    if (settings->json == CLI_YES) {
        write_json(out.file, engine, prompt, ranked);
    } else {
        write_text(out.file, prompt, ranked);
    }
    return cli_output_commit(&out, &err) == PITH_OK ? 0 : cli_report(NULL, &err, NULL, 0);
}

static int rank_and_write(const cli_settings *settings, cli_engine *engine,
                          const cli_prompt *prompt)
{
    ranking ranked;
    pith_error err;
    const double start = cli_seconds();
    const pith_status status = rank(engine, prompt, &ranked, &err);
    const double seconds = cli_seconds() - start;
    cli_progress_clear(&engine->progress);
    int code = 0;
    if (status != PITH_OK) {
        code = cli_prompt_report(prompt, &err);
    } else {
        code = write_ranking(settings, engine, prompt, &ranked);
    }
    free(ranked.order);
    free(ranked.scores);
    if (code == 0 && settings->verbose == CLI_YES) {
        cli_message("%zu contexts ranked in %.2f s", ranked.count, seconds);
    }
    return code;
}

int cli_run_rank(const cli_settings *settings)
{
    const cli_words *files = &settings->operands;
    if (files->count + settings->contexts.count == 0) {
        return cli_usage_error(settings, "expected FILE...");
    }
    cli_prompt prompt;
    cli_engine engine = {0};
    int code = cli_prompt_open(settings, files->items, files->count, false, &prompt);
    if (code == 0) {
        code = cli_engine_open(settings, &engine);
    }
    if (code == 0) {
        code = rank_and_write(settings, &engine, &prompt);
    }
    cli_engine_close(&engine);
    cli_prompt_free(&prompt);
    return code;
}
