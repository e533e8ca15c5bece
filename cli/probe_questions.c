/*
 * probe_questions.c: pith probe --questions: how much likelier the source makes an answer, and what
 * share of that the capsule keeps, by kind of question: general ones are kept longer than those about
 * details (Wingate, Shoeybi & Sorensen 2022, section 4.3).
 */
#include "cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HARD, SOFT, NONE, WAYS };

/* Nats per token of an answer after the source, the capsule, and neither. */
typedef struct answer {
    double nats[WAYS];
} answer;

/* All questions of one kind. */
typedef struct kind {
    const char *name; /* borrowed */
    size_t count;
    double sums[WAYS];
} kind;

typedef struct work {
    cli_probe *probe;
    cli_table table;
    answer *answers; /* (table.count) */
    kind *kinds;     /* (n_kinds) in the order in which they come */
    size_t n_kinds;
} work;

/* What the capsule keeps of what the source is worth; NaN where that is nothing. */
static double share_kept(const double nats[WAYS])
{
    const double worth = nats[NONE] - nats[HARD];
    return fabs(worth) < 1e-9 ? (double)NAN : (nats[NONE] - nats[SOFT]) / worth;
}

static kind *find_kind(work *w, const char *name)
{
    for (size_t i = 0; i < w->n_kinds; i++) {
        if (strcmp(w->kinds[i].name, name) == 0) {
            return &w->kinds[i];
        }
    }
    w->kinds[w->n_kinds] = (kind){.name = name};
    return &w->kinds[w->n_kinds++];
}

static pith_status ask(const work *w, size_t index, answer *out, pith_error *err)
{
    const cli_probe *p = w->probe;
    size_t question_size = 0;
    size_t size = 0;
    const char *question = cli_table_text(&w->table, index, "question", &question_size);
    const char *text = cli_table_text(&w->table, index, "answer", &size);
    const pith_piece asked = {.text = question, .size = question_size};
    const pith_piece hard[] = {{.text = p->source.data, .size = p->source.size}, asked};
    const pith_piece soft[] = {{.capsule = p->capsule}, asked};
    const cli_probe_way ways[WAYS] = {[HARD] = {hard, 2}, [SOFT] = {soft, 2}, [NONE] = {&asked, 1}};
    const pith_status status = cli_probe_nats(p, ways, WAYS, text, size, out->nats, err);
    return status == PITH_OK && isnan(out->nats[HARD])
               ? cli_fail(err, PITH_E_ARGUMENT, "the answer has no token that can be judged")
               : status;
}

/* An exit code. */
static int ask_all(work *w)
{
    pith_error err;
    for (size_t i = 0; i < w->table.count; i++) {
        size_t size = 0;
        if (ask(w, i, &w->answers[i], &err) != PITH_OK) {
            return cli_table_report(&w->table, i, &err);
        }
        kind *k = find_kind(w, cli_table_text(&w->table, i, "kind", &size));
        k->count++;
        for (size_t way = 0; way < WAYS; way++) {
            k->sums[way] += w->answers[i].nats[way];
        }
    }
    return 0;
}

/* The means of a kind. */
static answer means_of(const kind *k)
{
    answer a;
    for (size_t way = 0; way < WAYS; way++) {
        a.nats[way] = k->sums[way] / (double)k->count;
    }
    return a;
}

/* ---- output --------------------------------------------------------------------------------- */

static void write_members(FILE *file, const answer *a)
{
    static const char *const names[WAYS] = {"hard", "soft", "none"};
    for (size_t way = 0; way < WAYS; way++) {
        (void)fprintf(file, ",\"%s\":", names[way]);
        cli_json_number(file, a->nats[way], 9);
    }
    (void)fputs(",\"kept\":", file);
    cli_json_number(file, share_kept(a->nats), 9);
    (void)fputc('}', file);
}

static void write_json(const work *w, FILE *file)
{
    (void)fputs("{\"questions\":[", file);
    for (size_t i = 0; i < w->table.count; i++) {
        size_t size = 0;
        (void)fputs(i == 0 ? "{\"kind\":" : ",{\"kind\":", file);
        cli_json_name(file, cli_table_text(&w->table, i, "kind", &size));
        (void)fputs(",\"question\":", file);
        cli_json_name(file, cli_table_text(&w->table, i, "question", &size));
        write_members(file, &w->answers[i]);
    }
    (void)fputs("],\"kinds\":[", file);
    for (size_t i = 0; i < w->n_kinds; i++) {
        const answer means = means_of(&w->kinds[i]);
        (void)fputs(i == 0 ? "{\"kind\":" : ",{\"kind\":", file);
        cli_json_name(file, w->kinds[i].name);
        (void)fprintf(file, ",\"count\":%zu", w->kinds[i].count);
        write_members(file, &means);
    }
    (void)fputs("]}\n", file);
}

static void write_row(FILE *file, const answer *a, const char *name)
{
    const double kept = share_kept(a->nats);
    for (size_t way = 0; way < WAYS; way++) {
        (void)fprintf(file, "%8.4f ", a->nats[way]);
    }
    if (isnan(kept)) {
        (void)fprintf(file, "%8s  %s\n", "-", name);
    } else {
        (void)fprintf(file, "%8.4f  %s\n", kept, name);
    }
}

static void write_text(const work *w, FILE *file)
{
    (void)fputs("nats per token of the answer after\n  source  capsule  neither     kept  kind\n",
                file);
    for (size_t i = 0; i < w->table.count; i++) {
        size_t size = 0;
        write_row(file, &w->answers[i], cli_table_text(&w->table, i, "kind", &size));
    }
    (void)fputs("means\n", file);
    for (size_t i = 0; i < w->n_kinds; i++) {
        const answer means = means_of(&w->kinds[i]);
        write_row(file, &means, w->kinds[i].name);
    }
}

/* An exit code. */
static int answer_all(work *w)
{
    cli_probe *probe = w->probe;
    pith_error err;
    w->answers = calloc(w->table.count, sizeof *w->answers);
    w->kinds = calloc(w->table.count, sizeof *w->kinds);
    if (w->answers == NULL || w->kinds == NULL) {
        cli_message("out of memory");
        return pith_status_exit_code(PITH_E_MEMORY);
    }
    const int code = ask_all(w);
    if (code != 0) {
        return code;
    }
    (probe->settings->json == CLI_YES ? write_json : write_text)(w, probe->out.file);
    return cli_output_commit(&probe->out, &err) == PITH_OK ? 0 : cli_report(NULL, &err, NULL, 0);
}

int cli_probe_questions(cli_probe *probe)
{
    static const char *const keys[] = {"kind", "question", "answer", NULL};
    work w = {.probe = probe};
    int code = cli_table_open(probe->settings->questions, keys, &w.table);
    if (code == 0) {
        code = answer_all(&w);
    }
    free(w.answers);
    free(w.kinds);
    cli_table_free(&w.table);
    return code;
}
