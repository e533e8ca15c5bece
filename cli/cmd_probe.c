/*
 * cmd_probe.c: pith probe CAPSULE SOURCE: which of its probes, and the first of them, recall.
 */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- recall ----------------------------------------------------------------------------- */

static void write_recall_json(const cli_probe *p, const pith_recalls *recalls)
{
    FILE *file = p->out.file;
    size_t count = 0;
    const pith_recall *tokens = pith_recalls_tokens(recalls, &count);
    (void)fputs("{\"recall\":", file);
    cli_json_number(file, pith_recalls_mean(recalls), 9);
    (void)fputs(",\"model\":", file);
    cli_json_name(file, p->engine.model_name);
    (void)fputs(",\"tokens\":[", file);
    for (size_t i = 0; i < count; i++) {
        (void)fprintf(file, "%s{\"start\":%zu,\"end\":%zu,\"hard\":", i == 0 ? "" : ",",
                      tokens[i].start, tokens[i].end);
        cli_json_number(file, (double)tokens[i].hard, 9);
        (void)fputs(",\"soft\":", file);
        cli_json_number(file, (double)tokens[i].soft, 9);
        (void)fputs(",\"none\":", file);
        cli_json_number(file, (double)tokens[i].none, 9);
        (void)fputs(",\"score\":", file);
        cli_json_number(file, (double)tokens[i].score, 9);
        (void)fputc('}', file);
    }
    (void)fputs("]}\n", file);
}

static size_t count_scored(const pith_recalls *recalls)
{
    size_t count = 0;
    size_t scored = 0;
    const pith_recall *tokens = pith_recalls_tokens(recalls, &count);
    for (size_t i = 0; i < count; i++) {
        scored += isnan(tokens[i].score) ? 0 : 1;
    }
    return scored;
}

static pith_status write_recall(cli_probe *p, const pith_recalls *recalls, pith_error *err)
{
    const cli_input *source = &p->source;
    size_t count = 0;
    const pith_recall *tokens = pith_recalls_tokens(recalls, &count);
    pith_status status = PITH_OK;
    if (p->settings->json == CLI_YES) {
        write_recall_json(p, recalls);
    } else {
        status = pith_render_recall_ansi(source->data, source->size, tokens, count,
                                         cli_use_color(p->settings, p->out.file), cli_write,
                                         p->out.file, err);
        const size_t scored = count_scored(recalls);
        if (source->size > 0 && source->data[source->size - 1] != '\n') {
            (void)fputc('\n', p->out.file);
        }
        if (scored > 0) {
            (void)fprintf(p->out.file, "recall %.4f, the mean of %zu tokens of %zu\n",
                          pith_recalls_mean(recalls), scored, count);
        } else {
            (void)fputs("no recall: the text itself does not help to repeat it\n", p->out.file);
        }
    }
    if (status == PITH_OK && p->html.file != NULL) {
        status = pith_render_recall_html(source->data, source->size, tokens, count, source->name,
                                         cli_write, p->html.file, err);
    }
    return status;
}

/* What asks for the text; the caller frees. NULL and no error: the library's own. */
static pith_status make_trigger(const char *given, char **out, pith_error *err)
{
    *out = NULL;
    if (given == NULL) {
        return PITH_OK;
    }
    const size_t size = strlen(given) + 3;
    *out = malloc(size);
    if (*out == NULL) {
        return cli_fail(err, PITH_E_MEMORY, "out of memory");
    }
    memcpy(*out + 1, given, size - 3);
    (*out)[0] = '\n';
    (*out)[size - 2] = '\n';
    (*out)[size - 1] = '\0';
    return PITH_OK;
}

int cli_probe_recall(cli_probe *probe)
{
    pith_error err;
    pith_recalls *recalls = NULL;
    char *trigger = NULL;
    pith_status status = make_trigger(probe->settings->trigger, &trigger, &err);
    if (status == PITH_OK) {
        status = pith_probe_recall(probe->engine.ctx, probe->capsule, probe->source.data,
                                   probe->source.size, trigger, &recalls, &err);
    }
    free(trigger);
    if (status != PITH_OK) {
        return cli_report(probe->source.name, &err, probe->source.data, probe->source.size);
    }
    status = write_recall(probe, recalls, &err);
    if (status == PITH_OK && probe->html.file != NULL) {
        status = cli_output_commit(&probe->html, &err);
    }
    if (status == PITH_OK) {
        status = cli_output_commit(&probe->out, &err);
    }
    pith_recalls_free(recalls);
    return status == PITH_OK ? 0 : cli_report(NULL, &err, NULL, 0);
}

/* ---- what the other probes share ------------------------------------------------------------ */

/* Whether all ways have a number for token `index`. */
static bool is_told(pith_scores *const *scores, size_t n_ways, size_t index)
{
    for (size_t way = 0; way < n_ways; way++) {
        size_t count = 0;
        if (isnan(pith_scores_tokens(scores[way], &count)[index].nats)) {
            return false;
        }
    }
    return true;
}

static void take_means(pith_scores *const *scores, size_t n_ways, double *out)
{
    size_t count = 0;
    size_t told = 0;
    (void)pith_scores_tokens(scores[0], &count); /* the text's, so that all have as many */
    for (size_t way = 0; way < n_ways; way++) {
        out[way] = 0.0;
    }
    for (size_t i = 0; i < count; i++) {
        if (is_told(scores, n_ways, i)) {
            told++;
            for (size_t way = 0; way < n_ways; way++) {
                out[way] += (double)pith_scores_tokens(scores[way], &count)[i].nats;
            }
        }
    }
    for (size_t way = 0; way < n_ways; way++) {
        out[way] = told == 0 ? (double)NAN : out[way] / (double)told;
    }
}

pith_status cli_probe_nats(const cli_probe *probe, const cli_probe_way *ways, size_t n_ways,
                           const char *text, size_t size, double *out, pith_error *err)
{
    pith_status status = PITH_OK;
    pith_scores **scores = calloc(n_ways, sizeof(pith_scores *));
    if (scores == NULL) {
        return cli_fail(err, PITH_E_MEMORY, "out of memory");
    }
    for (size_t way = 0; status == PITH_OK && way < n_ways; way++) {
        status = pith_score_after(probe->engine.ctx, ways[way].pieces, ways[way].count, text, size,
                                  &scores[way], err);
    }
    if (status == PITH_OK) {
        take_means(scores, n_ways, out);
    }
    for (size_t way = 0; way < n_ways; way++) {
        pith_scores_free(scores[way]);
    }
    free((void *)scores);
    return status;
}

/* ---- the verb ------------------------------------------------------------------------------ */

static int check(const cli_settings *s)
{
    if (s->questions != NULL && s->instructions != NULL) {
        return cli_usage_error(s, "--questions and --instructions exclude each other");
    }
    const bool is_recall = s->questions == NULL && s->instructions == NULL;
    if (!is_recall && (s->html != NULL || s->trigger != NULL)) {
        return cli_usage_error(s, "--html and --trigger are for recall, not for --%s",
                               s->questions != NULL ? "questions" : "instructions");
    }
    return s->prompt == NULL || s->instructions != NULL
               ? 0
               : cli_usage_error(s, "--prompt is for --instructions");
}

static int open_probe(const cli_settings *settings, cli_probe *p)
{
    const cli_words *operands = &settings->operands;
    pith_error err;
    int code = cli_capsule_open(operands->items[0], &p->capsule);
    if (code == 0 && cli_input_read(operands->count > 1 ? operands->items[1] : NULL, &p->source,
                                    &err) != PITH_OK) {
        code = cli_report(p->source.name, &err, NULL, 0);
    }
    if (code == 0) {
        code = cli_engine_open(settings, &p->engine);
    }
    if (code != 0) {
        return code;
    }
    pith_ctx_set_progress(p->engine.ctx, NULL, NULL);
    if (cli_output_open(settings->output, &p->out, &err) != PITH_OK ||
        (settings->html != NULL && cli_output_open(settings->html, &p->html, &err) != PITH_OK)) {
        return cli_report(NULL, &err, NULL, 0);
    }
    if (pith_capsule_check(p->capsule, p->engine.model, &err) != PITH_OK) {
        return cli_report(operands->items[0], &err, NULL, 0);
    }
    return 0;
}

int cli_run_probe(const cli_settings *settings)
{
    cli_probe p = {.settings = settings};
    int code = check(settings);
    if (code == 0) {
        code = open_probe(settings, &p);
    }
    if (code == 0) {
        code = settings->questions != NULL      ? cli_probe_questions(&p)
               : settings->instructions != NULL ? cli_probe_instructions(&p)
                                                : cli_probe_recall(&p);
    }
    cli_output_discard(&p.out);
    cli_output_discard(&p.html);
    cli_engine_close(&p.engine);
    pith_capsule_free(p.capsule);
    cli_input_free(&p.source);
    return code;
}
