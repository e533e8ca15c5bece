/*
 * result.c: how a result of compressing is told: as JSON, and part by part.
 */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double cli_rate_of(size_t source, size_t kept)
{
    return source == 0 ? 1.0 : (double)kept / (double)source;
}

/* ---- ranges ------------------------------------------------------------------ */

static int compare_ranges(const void *left, const void *right)
{
    const pith_range *a = left;
    const pith_range *b = right;
    if (a->start != b->start) {
        return a->start < b->start ? -1 : 1;
    }
    return a->end < b->end ? -1 : a->end > b->end;
}

pith_range *cli_ranges_sorted(const pith_range *ranges, size_t count)
{
    pith_range *copy = malloc((count + 1) * sizeof *copy);
    if (copy != NULL && count > 0) {
        memcpy(copy, ranges, count * sizeof *copy);
        qsort(copy, count, sizeof *copy, compare_ranges);
    }
    return copy;
}

/* ---- JSON -------------------------------------------------------------------- */

static void write_string_member(FILE *file, const char *key, const char *value)
{
    (void)fprintf(file, ",\"%s\":", key);
    cli_json_string(file, value, strlen(value));
}

/* What holds for this text: a record may have set its own. */
static void write_param_member(FILE *file, const cli_engine *engine, const char *name)
{
    char value[PITH_VALUE_SIZE];
    write_string_member(file, name, cli_engine_param(engine, name, value));
}

static void write_ranges(FILE *file, const pith_result *result)
{
    size_t count = 0;
    const pith_range *ranges = pith_result_ranges(result, &count);
    (void)fputs(",\"ranges\":[", file);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(file, "%s[%zu,%zu]", i == 0 ? "" : ",", ranges[i].start, ranges[i].end);
    }
    (void)fputc(']', file);
}

static void write_stats(FILE *file, const pith_stats *stats)
{
    (void)fputs(",\"stats\":{\"budget_tokens\":", file);
    if (stats->budget_tokens == SIZE_MAX) {
        (void)fputs("null", file);
    } else {
        (void)fprintf(file, "%zu", stats->budget_tokens);
    }
    (void)fprintf(file,
                  ",\"scored_tokens\":%zu,\"forward_tokens\":%zu,\"units\":%zu,\"units_kept\":%zu,"
                  "\"units_protected\":%zu",
                  stats->scored_tokens, stats->forward_tokens, stats->units, stats->units_kept,
                  stats->units_protected);
    (void)fputs(",\"score_seconds\":", file);
    cli_json_number(file, stats->score_seconds, 6);
    (void)fputs(",\"select_seconds\":", file);
    cli_json_number(file, stats->select_seconds, 6);
    (void)fputc('}', file);
}

static void write_part(FILE *file, const pith_part_stats *part, const char *name)
{
    (void)fprintf(file, "{\"role\":\"%s\",\"name\":", cli_role_name(part->role));
    cli_json_name(file, name);
    (void)fprintf(file, ",\"start\":%zu,\"end\":%zu,\"source_tokens\":%zu,\"kept_tokens\":%zu",
                  part->start, part->end, part->source_tokens, part->kept_tokens);
    (void)fputs(",\"score\":", file);
    cli_json_number(file, part->score, 9);
    if (part->place == SIZE_MAX) {
        (void)fputs(",\"place\":null}", file);
    } else {
        (void)fprintf(file, ",\"place\":%zu}", part->place);
    }
}

static void write_parts(FILE *file, const cli_prompt *prompt, const pith_result *result)
{
    size_t count = 0;
    const pith_part_stats *parts = pith_result_parts(result, &count);
    if (count < 2) {
        return;
    }
    (void)fputs(",\"parts\":[", file);
    for (size_t i = 0; i < count; i++) {
        (void)fputs(i == 0 ? "" : ",", file);
        write_part(file, &parts[i], prompt == NULL ? NULL : prompt->inputs[i].path);
    }
    (void)fputc(']', file);
}

/* All units, kept or not, with what they were judged by. */
static void write_units(FILE *file, const pith_result *result)
{
    size_t count = 0;
    const pith_unit *units = pith_result_units(result, &count);
    (void)fputs(",\"units\":[", file);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(file, "%s{\"start\":%zu,\"end\":%zu,\"nats\":", i == 0 ? "" : ",",
                      units[i].start, units[i].end);
        cli_json_number(file, (double)units[i].nats, 6);
        (void)fprintf(file, ",\"tokens\":%u,\"kept\":%s,\"protected\":%s}", units[i].tokens,
                      units[i].kept ? "true" : "false", units[i].is_protected ? "true" : "false");
    }
    (void)fputc(']', file);
}

void cli_result_write_members(FILE *file, const cli_engine *engine, const cli_settings *settings,
                              const cli_prompt *prompt, const pith_result *result)
{
    const pith_stats stats = pith_result_stats(result);
    cli_json_text(file, "text", pith_result_text(result), pith_result_size(result));
    write_param_member(file, engine, "method");
    write_param_member(file, engine, "mode");
    write_param_member(file, engine, "level");
    write_string_member(file, "model", engine->model_name);
    (void)fputs(",\"rate\":", file);
    cli_json_number(file, cli_rate_of(stats.source_tokens, stats.kept_tokens), 9);
    (void)fprintf(file, ",\"source_tokens\":%zu,\"kept_tokens\":%zu", stats.source_tokens,
                  stats.kept_tokens);
    write_string_member(file, "counted_with", engine->counter_name);
    write_ranges(file, result);
    write_stats(file, &stats);
    write_parts(file, prompt, result);
    if (settings->units == CLI_YES) {
        write_units(file, result);
    }
}

/* ---- table ----------------------------------------------------------------------- */

void cli_result_write_parts(FILE *file, const cli_prompt *prompt, const pith_result *result)
{
    size_t count = 0;
    const pith_part_stats *parts = pith_result_parts(result, &count);
    if (count < 2) {
        return;
    }
    (void)fputs("part  role          tokens     kept      score    place  name\n", file);
    for (size_t i = 0; i < count; i++) {
        const pith_part_stats *part = &parts[i];
        char score[32] = "-";
        char place[32] = "dropped";
        if (!isnan(part->score)) {
            (void)snprintf(score, sizeof score, "%.4g", part->score);
        }
        if (part->place != SIZE_MAX) {
            (void)snprintf(place, sizeof place, "%zu", part->place);
        }
        (void)fprintf(file, "%4zu  %-11s %8zu %8zu %10s %8s  %s\n", i, cli_role_name(part->role),
                      part->source_tokens, part->kept_tokens, score, place, prompt->inputs[i].name);
    }
}
