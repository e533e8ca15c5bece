/*
 * probe_instructions.c: pith probe --instructions: a source of several instructions; texts that the
 * model writes after it, after its capsule and after nothing are judged by each instruction alone: how
 * much likelier it makes them (Wingate, Shoeybi & Sorensen 2022, section 4.4).
 */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HARD, SOFT, NONE, WAYS };

static const char *const way_names[WAYS] = {"source", "capsule", "nothing"};

typedef struct work {
    cli_probe *probe;
    cli_table table;
    size_t samples;
    pith_piece prompt;          /* before what is written */
    pith_generation **written;  /* (WAYS, samples) owned */
    double *gains;              /* (WAYS, table.count) nats per token, summed over the samples */
    size_t judged[WAYS];        /* samples with any text */
    char seed[PITH_VALUE_SIZE]; /* as it was given */
} work;

/* ---- writing --------------------------------------------------------------------------------- */

static pith_status set_seed(const work *w, size_t sample, pith_error *err)
{
    char seed[32];
    const unsigned long long first = strtoull(w->seed, NULL, 10);
    (void)snprintf(seed, sizeof seed, "%llu", (first + sample) & UINT32_MAX);
    return pith_ctx_set(w->probe->engine.ctx, "seed", seed, err);
}

/* Texts are all of one length, and drawn from everything that the model expects. */
static pith_status prepare(work *w, pith_error *err)
{
    char most[PITH_VALUE_SIZE];
    pith_ctx *ctx = w->probe->engine.ctx;
    if (strcmp(cli_engine_param(&w->probe->engine, "max-tokens", most), "0") == 0) {
        return cli_fail(err, PITH_E_ARGUMENT, "max-tokens: with 0 there are no texts to judge");
    }
    pith_status status = pith_ctx_set(ctx, "temperature", "1", err);
    if (status == PITH_OK) {
        status = pith_ctx_set(ctx, "ignore-eos", "true", err);
    }
    (void)cli_engine_param(&w->probe->engine, "seed", w->seed);
    return status;
}

static pith_status write_texts(const work *w, size_t way, pith_error *err)
{
    const cli_probe *p = w->probe;
    const pith_piece pieces[WAYS][2] = {
        [HARD] = {{.text = p->source.data, .size = p->source.size}, w->prompt},
        [SOFT] = {{.capsule = p->capsule}, w->prompt},
        [NONE] = {w->prompt, {.text = ""}}};
    for (size_t i = 0; i < w->samples; i++) {
        pith_status status = set_seed(w, i, err);
        if (status == PITH_OK) {
            status = pith_generate(p->engine.ctx, pieces[way], 2, NULL, 0, NULL, NULL,
                                   &w->written[way * w->samples + i], err);
        }
        if (status != PITH_OK) {
            return status;
        }
    }
    return PITH_OK;
}

/* ---- judging ---------------------------------------------------------------------------------- */

/* Adds what each instruction makes of one text, as against none. A text of no tokens says nothing. */
static pith_status judge(work *w, size_t number, const cli_probe_way *ways, double *nats,
                         pith_error *err)
{
    size_t size = 0;
    const size_t count = w->table.count;
    const size_t way = number / w->samples;
    const char *text = pith_generation_text(w->written[number], &size);
    const pith_status status = cli_probe_nats(w->probe, ways, count + 1, text, size, nats, err);
    if (status != PITH_OK || isnan(nats[0])) {
        return status;
    }
    w->judged[way]++;
    for (size_t k = 0; k < count; k++) {
        w->gains[way * count + k] += nats[0] - nats[k + 1];
    }
    return PITH_OK;
}

/* Without an instruction, and after each of them: (count + 1) ways with their (2 count) pieces. */
static void make_ways(const work *w, pith_piece *pieces, cli_probe_way *ways)
{
    ways[0] = (cli_probe_way){&w->prompt, 1};
    for (size_t k = 0; k < w->table.count; k++) {
        size_t size = 0;
        const char *text = cli_table_text(&w->table, k, "text", &size);
        pieces[2 * k] = (pith_piece){.text = text, .size = size};
        pieces[2 * k + 1] = w->prompt;
        ways[k + 1] = (cli_probe_way){&pieces[2 * k], 2};
    }
}

static pith_status judge_all(work *w, pith_error *err)
{
    const size_t count = w->table.count;
    pith_piece *pieces = calloc(2 * count, sizeof *pieces);
    cli_probe_way *ways = calloc(count + 1, sizeof *ways);
    double *nats = calloc(count + 1, sizeof *nats);
    pith_status status = PITH_OK;
    if (pieces == NULL || ways == NULL || nats == NULL) {
        (void)cli_fail(err, PITH_E_MEMORY, "out of memory");
        status = PITH_E_MEMORY;
    } else {
        make_ways(w, pieces, ways);
        /* a text may end inside a character */
        status = pith_ctx_set(w->probe->engine.ctx, "invalid-utf8", "keep", err);
    }
    for (size_t i = 0; status == PITH_OK && i < WAYS * w->samples; i++) {
        status = judge(w, i, ways, nats, err);
    }
    free(pieces);
    free(ways);
    free(nats);
    return status;
}

/* ---- output ------------------------------------------------------------------------------------ */

static double mean_gain(const work *w, size_t way, size_t index)
{
    return w->gains[way * w->table.count + index] / (double)w->judged[way];
}

static void write_json(const work *w, FILE *file)
{
    (void)fprintf(file, "{\"samples\":%zu,\"instructions\":[", w->samples);
    for (size_t k = 0; k < w->table.count; k++) {
        size_t size = 0;
        (void)fputs(k == 0 ? "{\"name\":" : ",{\"name\":", file);
        cli_json_name(file, cli_table_text(&w->table, k, "name", &size));
        for (size_t way = 0; way < WAYS; way++) {
            (void)fprintf(file, ",\"%s\":", way_names[way]);
            cli_json_number(file, mean_gain(w, way, k), 9);
        }
        (void)fputc('}', file);
    }
    (void)fputs("]}\n", file);
}

static void write_gain(FILE *file, double gain)
{
    if (isnan(gain)) {
        (void)fprintf(file, "%8s ", "-");
    } else {
        (void)fprintf(file, "%8.4f ", gain);
    }
}

static void write_text(const work *w, FILE *file)
{
    (void)fputs("nats per token that an instruction alone adds to texts written after\n"
                "  source  capsule  nothing  instruction\n",
                file);
    for (size_t k = 0; k < w->table.count; k++) {
        size_t size = 0;
        for (size_t way = 0; way < WAYS; way++) {
            write_gain(file, mean_gain(w, way, k));
        }
        (void)fprintf(file, " %s\n", cli_table_text(&w->table, k, "name", &size));
    }
}

/* ---- together ------------------------------------------------------------------------------------ */

static pith_status probe_all(work *w, pith_error *err)
{
    w->written = calloc(WAYS * w->samples, sizeof(pith_generation *));
    w->gains = calloc(WAYS * w->table.count, sizeof *w->gains);
    if (w->written == NULL || w->gains == NULL) {
        return cli_fail(err, PITH_E_MEMORY, "out of memory");
    }
    pith_status status = prepare(w, err);
    for (size_t way = 0; status == PITH_OK && way < WAYS; way++) {
        status = write_texts(w, way, err);
    }
    return status == PITH_OK ? judge_all(w, err) : status;
}

static void free_work(work *w)
{
    for (size_t i = 0; w->written != NULL && i < WAYS * w->samples; i++) {
        pith_generation_free(w->written[i]);
    }
    free((void *)w->written);
    free(w->gains);
    cli_table_free(&w->table);
}

int cli_probe_instructions(cli_probe *probe)
{
    static const char *const keys[] = {"name", "text", NULL};
    const char *prompt = probe->settings->prompt == NULL ? "\n" : probe->settings->prompt;
    work w = {.probe = probe,
              .samples = probe->settings->samples,
              .prompt = {.text = prompt, .size = strlen(prompt)}};
    pith_error err;
    int code = cli_table_open(probe->settings->instructions, keys, &w.table);
    if (code == 0) {
        pith_status status = probe_all(&w, &err);
        if (status == PITH_OK) {
            (probe->settings->json == CLI_YES ? write_json : write_text)(&w, probe->out.file);
            status = cli_output_commit(&probe->out, &err);
        }
        code = status == PITH_OK ? 0 : cli_report(NULL, &err, NULL, 0);
    }
    free_work(&w);
    return code;
}
