/*
 * cmd_bank.c: pith bank: demonstrations as capsules under names, kept in one file and found by a question.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Words of the command line: what to do, the bank's file, and what it is done with. */
#define N_FIXED 2

/* Entries that are found without a word about it: the option's default. */
#define TOP 3

typedef struct work {
    const cli_settings *settings;
    const char *path; /* of the bank */
    pith_bank *bank;
    cli_read_pieces pieces; /* texts and capsules */
    cli_engine engine;      /* open if there is a text */
    cli_output out;         /* the bank of add, the capsule of find */
} work;

static int out_of_memory(void)
{
    cli_message("out of memory");
    return pith_status_exit_code(PITH_E_MEMORY);
}

/* Nothing is there, or a pipe or a device, which is only written. */
static bool is_new_bank(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 ? !S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode)
                                   : errno == ENOENT;
}

/* An exit code. */
static int open_bank(work *w, bool may_be_new)
{
    pith_error err;
    const bool is_new = may_be_new && is_new_bank(w->path);
    pith_bank_free(w->bank);
    w->bank = NULL;
    const pith_status status = is_new ? pith_bank_new(NULL, &w->bank, &err)
                                      : pith_bank_open(w->path, NULL, &w->bank, &err);
    return status == PITH_OK ? 0 : cli_report(w->path, &err, NULL, 0);
}

/* ---- texts into capsules ------------------------------------------------------------------- */

static bool has_text(const cli_read_pieces *pieces)
{
    for (size_t i = 0; i < pieces->count; i++) {
        if (pieces->items[i].capsule == NULL) {
            return true;
        }
    }
    return false;
}

/* Reads them, and opens what makes capsules of texts if there are any. An exit code. */
static int open_pieces(work *w, const cli_piece *pieces, size_t count)
{
    const int code = cli_pieces_open(pieces, count, &w->pieces);
    if (code != 0 || !has_text(&w->pieces)) {
        return code;
    }
    return w->settings->compressor == NULL
               ? cli_usage_error(w->settings, "expected --compressor FILE for a text")
               : cli_engine_open(w->settings, &w->engine);
}

/* Piece `index` as a capsule, in the place of the text. An exit code. */
static int encode(work *w, size_t index)
{
    pith_error err;
    const cli_input *input = &w->pieces.inputs[index];
    pith_capsule **capsule = &w->pieces.capsules[index];
    if (*capsule != NULL) {
        return 0;
    }
    const pith_status status = pith_encode(w->engine.ctx, input->data, input->size, capsule, &err);
    cli_progress_clear(&w->engine.progress);
    return status == PITH_OK ? 0 : cli_report(input->name, &err, input->data, input->size);
}

/* ---- add ------------------------------------------------------------------------------------- */

/* Before anything is encoded: that a name is taken should not cost the work on the others. */
static int check_names(const work *w)
{
    const cli_words *operands = &w->settings->operands;
    for (size_t i = N_FIXED; i < operands->count; i++) {
        const char *name = operands->items[i];
        bool is_taken = false;
        for (size_t j = N_FIXED; j < i; j++) {
            is_taken = is_taken || strcmp(operands->items[j], name) == 0;
        }
        for (size_t j = 0; j < pith_bank_count(w->bank); j++) {
            is_taken = is_taken || strcmp(pith_bank_name(w->bank, j), name) == 0;
        }
        if (is_taken) {
            cli_message("%s: the bank has an entry '%s'", name, name);
            return pith_status_exit_code(PITH_E_ARGUMENT);
        }
    }
    return 0;
}

/*
 * Holds others back that add to a bank in this folder, until the descriptor is closed: one of the
 * folder, as the bank's file is replaced. -1: not possible, which is no reason to stop.
 */
static int lock_folder(const char *path)
{
    char *real = realpath(path, NULL);
    char *name = real != NULL ? real : strdup(path);
    char *slash = name == NULL ? NULL : strrchr(name, '/');
    const char *folder = slash == NULL ? "." : slash == name ? "/" : name;
    if (slash != NULL) {
        *(slash == name ? slash + 1 : slash) = '\0';
    }
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(name);
    while (fd >= 0 && flock(fd, LOCK_EX) != 0 && errno == EINTR) {
    }
    return fd;
}

/* A cli_save_fn; `user` is the work. */
static pith_status save_bank(void *user, const char *path, pith_error *err)
{
    const work *w = user;
    return pith_bank_save(w->bank, (pith_capsule_type)w->settings->capsule_type, path, err);
}

/* The capsules to the bank as it is by now. An exit code. */
static int add_capsules(work *w)
{
    pith_error err;
    const int code = open_bank(w, true);
    if (code != 0) {
        return code;
    }
    for (size_t i = 0; i < w->pieces.count; i++) {
        const char *name = w->settings->operands.items[N_FIXED + i];
        if (pith_bank_add(w->bank, name, w->pieces.capsules[i], &err) != PITH_OK) {
            return cli_report(name, &err, NULL, 0);
        }
    }
    return cli_output_save(&w->out, save_bank, w, NULL, &err) == PITH_OK
               ? 0
               : cli_report(NULL, &err, NULL, 0);
}

/* An exit code. */
static int add_all(work *w)
{
    pith_error err;
    if (cli_output_open(w->path, &w->out, &err) != PITH_OK) { /* before anything takes long */
        return cli_report(NULL, &err, NULL, 0);
    }
    for (size_t i = 0; i < w->pieces.count; i++) {
        const int code = encode(w, i);
        if (code != 0) {
            return code;
        }
    }
    const int lock = lock_folder(w->path);
    const int code = add_capsules(w);
    if (lock >= 0) {
        (void)close(lock);
    }
    if (code != 0) {
        return code;
    }
    const size_t count = pith_bank_count(w->bank);
    cli_message("wrote '%s': %zu entr%s, %zu of them new", w->path, count, count == 1 ? "y" : "ies",
                w->pieces.count);
    return 0;
}

static int add(work *w)
{
    const cli_words *operands = &w->settings->operands;
    const size_t count = operands->count - N_FIXED;
    if (count == 0) {
        return cli_usage_error(w->settings, "expected add BANK FILE...");
    }
    cli_piece *pieces = calloc(count, sizeof *pieces);
    if (pieces == NULL) {
        return out_of_memory();
    }
    for (size_t i = 0; i < count; i++) {
        pieces[i] = (cli_piece){CLI_PIECE_FILE, operands->items[N_FIXED + i]};
    }
    int code = open_bank(w, true);
    if (code == 0) {
        code = check_names(w);
    }
    if (code == 0) {
        code = open_pieces(w, pieces, count);
    }
    free(pieces);
    return code == 0 ? add_all(w) : code;
}

/* ---- list ------------------------------------------------------------------------------------ */

static void list_one(FILE *file, bool json, const char *name, const pith_capsule_info *info)
{
    if (!json) {
        (void)fprintf(file, "%lu\t%llu\t%s\n", (unsigned long)info->slots,
                      (unsigned long long)info->source_tokens, name);
        return;
    }
    (void)fputc('{', file);
    cli_json_text(file, "name", name, strlen(name));
    (void)fputc(',', file);
    cli_json_text(file, "method", info->method, strlen(info->method));
    (void)fprintf(file,
                  ",\"slots\":%lu,\"source_bytes\":%llu,\"source_tokens\":%llu,"
                  "\"source_sha256\":\"%s\"}",
                  (unsigned long)info->slots, (unsigned long long)info->source_bytes,
                  (unsigned long long)info->source_tokens, info->source_sha256);
}

static pith_status list_all(const work *w, FILE *file, pith_error *err)
{
    const bool json = w->settings->json == CLI_YES;
    (void)fputs(json ? "{\"entries\":[" : "", file);
    for (size_t i = 0; i < pith_bank_count(w->bank); i++) {
        pith_capsule *capsule = NULL;
        const pith_status status = pith_bank_capsule(w->bank, i, NULL, &capsule, err);
        if (status != PITH_OK) {
            return status;
        }
        const pith_capsule_info info = pith_capsule_describe(capsule);
        (void)fputs(json && i > 0 ? "," : "", file);
        list_one(file, json, pith_bank_name(w->bank, i), &info);
        pith_capsule_free(capsule);
    }
    (void)fputs(json ? "]}\n" : "", file);
    return PITH_OK;
}

static int list(work *w)
{
    pith_error err;
    if (w->settings->operands.count != N_FIXED) {
        return cli_usage_error(w->settings, "expected list BANK");
    }
    const int code = open_bank(w, false);
    if (code != 0) {
        return code;
    }
    return list_all(w, stdout, &err) == PITH_OK ? 0 : cli_report(w->path, &err, NULL, 0);
}

/* ---- find ------------------------------------------------------------------------------------ */

/* Entries, best first. */
typedef struct finding {
    size_t *order;
    double *scores;
    size_t count;
    pith_capsule **capsules; /* (count) the best last, as they stand before the question */
} finding;

static void finding_free(finding *f)
{
    for (size_t i = 0; f->capsules != NULL && i < f->count; i++) {
        pith_capsule_free(f->capsules[i]);
    }
    free((void *)f->capsules);
    free(f->order);
    free(f->scores);
}

static pith_status look_up(const work *w, finding *f, pith_error *err)
{
    const size_t count = pith_bank_count(w->bank);
    const size_t wanted = w->settings->top == 0 ? TOP : w->settings->top;
    const size_t most = wanted < count ? wanted : count;
    f->order = calloc(most, sizeof *f->order);
    f->scores = calloc(most, sizeof *f->scores);
    f->capsules = calloc(most, sizeof(pith_capsule *));
    if (f->order == NULL || f->scores == NULL || f->capsules == NULL) {
        return cli_fail(err, PITH_E_MEMORY, "out of memory");
    }
    return pith_bank_find(w->bank, w->pieces.capsules[0], most, f->order, f->scores, &f->count,
                          err);
}

typedef struct joining {
    const pith_capsule *capsule;
    pith_capsule_type type;
} joining;

/* A cli_save_fn; `user` is a joining. */
static pith_status save_capsule(void *user, const char *path, pith_error *err)
{
    const joining *j = user;
    return pith_capsule_save(j->capsule, j->type, path, err);
}

/* One capsule of all; the best stands last, nearest to the question. */
static pith_status save_joined(work *w, finding *f, pith_error *err)
{
    pith_capsule *joined = NULL;
    pith_status status = PITH_OK;
    for (size_t i = 0; status == PITH_OK && i < f->count; i++) {
        status = pith_bank_capsule(w->bank, f->order[i], NULL, &f->capsules[f->count - 1 - i], err);
    }
    if (status == PITH_OK) {
        status = pith_capsule_join((const pith_capsule *const *)f->capsules, f->count, NULL,
                                   &joined, err);
    }
    if (status == PITH_OK) {
        joining j = {joined, (pith_capsule_type)w->settings->capsule_type};
        status = cli_output_save(&w->out, save_capsule, &j, NULL, err);
    }
    pith_capsule_free(joined);
    return status;
}

static void write_found(const work *w, FILE *file, const finding *f)
{
    const bool json = w->settings->json == CLI_YES;
    (void)fputs(json ? "{\"found\":[" : "", file);
    for (size_t i = 0; i < f->count; i++) {
        const char *name = pith_bank_name(w->bank, f->order[i]);
        if (!json) {
            (void)fprintf(file, "%.6g\t%s\n", f->scores[i], name);
            continue;
        }
        (void)fputs(i == 0 ? "{" : ",{", file);
        cli_json_text(file, "name", name, strlen(name));
        (void)fputs(",\"score\":", file);
        cli_json_number(file, f->scores[i], 9);
        (void)fputc('}', file);
    }
    (void)fputs(json ? "]}\n" : "", file);
}

static int find_and_write(work *w)
{
    pith_error err;
    finding f = {NULL, NULL, 0, NULL};
    pith_status status = look_up(w, &f, &err);
    if (status == PITH_OK && w->settings->output != NULL) {
        status = save_joined(w, &f, &err);
    }
    if (status == PITH_OK) {
        write_found(w, stdout, &f);
    }
    finding_free(&f);
    return status == PITH_OK ? 0 : cli_report(NULL, &err, NULL, 0);
}

/* That it is nothing that is read. An exit code. */
static int check_output(const work *w, const char *query)
{
    int code = cli_output_check_models(w->settings);
    if (code == 0) {
        code = cli_output_check(w->settings, "bank", w->path);
    }
    return code != 0 ? code : cli_output_check(w->settings, "query", query);
}

/* An exit code. */
static int open_output(work *w)
{
    pith_error err;
    const char *path = w->settings->output;
    return path == NULL || cli_output_open(path, &w->out, &err) == PITH_OK
               ? 0
               : cli_report(NULL, &err, NULL, 0);
}

static int find(work *w)
{
    const cli_settings *s = w->settings;
    const bool has_file = s->operands.count > N_FIXED;
    if (s->operands.count > N_FIXED + 1 || (has_file && s->prompt != NULL)) {
        return cli_usage_error(s, "one question only: expected find BANK [QUERY|-]");
    }
    const cli_piece query = s->prompt != NULL ? (cli_piece){CLI_PIECE_TEXT, s->prompt}
                            : has_file ? (cli_piece){CLI_PIECE_FILE, s->operands.items[N_FIXED]}
                                       : (cli_piece){CLI_PIECE_FILE, "-"};
    int code = check_output(w, has_file ? query.value : NULL);
    if (code == 0) {
        code = open_bank(w, false);
    }
    if (code == 0) {
        code = open_pieces(w, &query, 1);
    }
    if (code == 0) {
        code = open_output(w);
    }
    if (code == 0) {
        code = encode(w, 0);
    }
    return code == 0 ? find_and_write(w) : code;
}

/* ---- the verb -------------------------------------------------------------------------------- */

/* What the options say together. */
static int check(const cli_settings *s, bool is_add, bool is_find)
{
    if (!is_find && (s->prompt != NULL || s->output != NULL)) {
        return cli_usage_error(s, "--prompt and --output are for find");
    }
    if (!is_find && s->top != 0) {
        return cli_usage_error(s, "--top is for find");
    }
    if (is_add && s->json == CLI_YES) {
        return cli_usage_error(s, "--json is for list and find");
    }
    return s->output != NULL && strcmp(s->output, "-") == 0
               ? cli_usage_error(s, "--output: a capsule is no text to print")
               : 0;
}

int cli_run_bank(const cli_settings *settings)
{
    static const struct {
        const char *name;
        int (*run)(work *w);
    } actions[] = {{"add", add}, {"list", list}, {"find", find}};
    const char *const *operands = settings->operands.items;
    work w = {.settings = settings, .path = operands[1]};
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (strcmp(operands[0], actions[i].name) != 0) {
            continue;
        }
        int code = check(settings, actions[i].run == add, actions[i].run == find);
        if (code == 0) {
            code = actions[i].run(&w);
        }
        cli_output_discard(&w.out);
        cli_engine_close(&w.engine);
        cli_pieces_free(&w.pieces);
        pith_bank_free(w.bank);
        return code;
    }
    return cli_usage_error(settings, "'%s' is none of add, list and find", operands[0]);
}
