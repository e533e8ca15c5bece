/*
 * pairs.c: JSONL files of prompts and completions.
 */
#include "train/pairs.h"

#include "train/source.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PROMPT     "{prompt}"
#define COMPLETION "{completion}"

/* ---- one line -------------------------------------------------------------------------------- */

static pith_status fail_line(const pith__pair_file *file, pith__pair pair, pith_status status,
                             const char *reason, pith_error *err)
{
    size_t line = 1;
    for (size_t i = 0; i < pair.start; i++) {
        line += file->file.data[i] == '\n';
    }
    return pith__fail_at(err, status, pair.start, "%s, line %zu: %s", file->path, line, reason);
}

/* A member that is a string; NULL if there is none. */
static const char *string_of(const json_t *object, const char *key, size_t *size)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_string(value)) {
        return NULL;
    }
    *size = json_string_length(value);
    return json_string_value(value);
}

static pith_status load(const pith__pair_file *file, pith__pair pair, json_t **out, pith_error *err)
{
    json_error_t problem;
    *out = json_loadb((const char *)file->file.data + pair.start, pair.end - pair.start,
                      JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &problem);
    if (*out != NULL) {
        return PITH_OK;
    }
    const bool no_memory = json_error_code(&problem) == json_error_out_of_memory;
    return fail_line(file, pair, no_memory ? PITH_E_MEMORY : PITH_E_SYNTAX, problem.text, err);
}

static pith_status check_line(const pith__pair_file *file, pith__pair pair,
                              const pith__pair_format *format, pith_error *err)
{
    json_t *object = NULL;
    PITH__TRY(load(file, pair, &object, err));
    size_t size = 0;
    pith_status status = PITH_OK;
    char reason[160];
    if (!json_is_object(object)) {
        status = fail_line(file, pair, PITH_E_CORRUPT, "not a JSON object", err);
    } else if (string_of(object, format->prompt_key, &size) == NULL ||
               string_of(object, format->completion_key, &size) == NULL) {
        (void)snprintf(reason, sizeof reason, "no strings \"%.40s\" and \"%.40s\"",
                       format->prompt_key, format->completion_key);
        status = fail_line(file, pair, PITH_E_CORRUPT, reason, err);
    }
    json_decref(object);
    return status;
}

/* ---- text ------------------------------------------------------------------------------------- */

pith_status pith__pair_format_check(const pith__pair_format *format, pith_error *err)
{
    if (format->text == NULL || format->prompt_key == NULL || format->completion_key == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "pairs need a format and the names of two members");
    }
    const char *prompt = strstr(format->text, PROMPT);
    const char *completion = strstr(format->text, COMPLETION);
    if (prompt == NULL || completion == NULL || completion < prompt ||
        strstr(prompt + 1, PROMPT) != NULL || strstr(completion + 1, COMPLETION) != NULL) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "the format must hold " PROMPT " and then " COMPLETION ", once each");
    }
    return PITH_OK;
}

static pith_status render(const pith__pair_format *format, const json_t *object, pith__arena *arena,
                          const char **text, size_t *size, size_t *completion, size_t *bytes,
                          pith_error *err)
{
    size_t prompt_size = 0;
    const char *prompt = string_of(object, format->prompt_key, &prompt_size);
    const char *answer = string_of(object, format->completion_key, bytes);
    const char *prompt_place = strstr(format->text, PROMPT);
    const char *answer_place = strstr(format->text, COMPLETION);
    if (prompt == NULL || answer == NULL || prompt_place == NULL || answer_place == NULL) {
        return pith__fail(err, PITH_E_INTERNAL, "a pair that was checked is none");
    }
    const char *between = prompt_place + sizeof PROMPT - 1;
    const char *behind = answer_place + sizeof COMPLETION - 1;
    pith__buf buf;
    const pith_allocator mem = pith__arena_allocator(arena);
    pith__buf_init(&buf, &mem, SIZE_MAX / 2);
    PITH__TRY(pith__buf_append(&buf, format->text, (size_t)(prompt_place - format->text), err));
    PITH__TRY(pith__buf_append(&buf, prompt, prompt_size, err));
    PITH__TRY(pith__buf_append(&buf, between, (size_t)(answer_place - between), err));
    *completion = buf.size;
    PITH__TRY(pith__buf_append(&buf, answer, *bytes, err));
    PITH__TRY(pith__buf_append_text(&buf, behind, err));
    *text = buf.data;
    *size = buf.size;
    return PITH_OK;
}

pith_status pith__pair_text(const pith__pair_file *file, pith__pair pair,
                            const pith__pair_format *format, pith__arena *arena, const char **text,
                            size_t *size, size_t *completion, size_t *bytes, pith_error *err)
{
    json_t *object = NULL;
    PITH__TRY(load(file, pair, &object, err));
    const pith_status status = render(format, object, arena, text, size, completion, bytes, err);
    json_decref(object);
    return status;
}

/* ---- files --------------------------------------------------------------------------------------- */

static pith_status add_line(pith__pair_file *f, pith__pair pair, uint32_t held_out_every,
                            pith_error *err)
{
    const uint64_t hash = pith__document_hash(f->file.data + pair.start, pair.end - pair.start);
    if (held_out_every != 0 && hash % held_out_every == 0) {
        PITH__TRY(pith__grow(&f->mem, &f->held_out, &f->held_out_capacity, f->n_held_out + 1,
                             sizeof *f->held_out, err));
        f->held_out[f->n_held_out++] = pair;
    } else {
        PITH__TRY(pith__grow(&f->mem, &f->training, &f->training_capacity, f->n_training + 1,
                             sizeof *f->training, err));
        f->training[f->n_training++] = pair;
    }
    return PITH_OK;
}

static bool is_blank(const unsigned char *data, pith__pair pair)
{
    for (size_t i = pair.start; i < pair.end; i++) {
        if (strchr(" \t\r", data[i]) == NULL || data[i] == '\0') {
            return false;
        }
    }
    return true;
}

static pith_status read_lines(pith__pair_file *f, const pith__pair_format *format,
                              uint32_t held_out_every, pith_error *err)
{
    const unsigned char *data = f->file.data;
    const size_t size = f->file.size;
    for (size_t start = 0, next = 0; start < size; start = next) {
        const unsigned char *stop = memchr(data + start, '\n', size - start);
        const pith__pair pair = {start, stop == NULL ? size : (size_t)(stop - data)};
        next = stop == NULL ? size : pair.end + 1;
        if (!is_blank(data, pair)) {
            PITH__TRY(check_line(f, pair, format, err));
            PITH__TRY(add_line(f, pair, held_out_every, err));
        }
    }
    if (f->n_training == 0) {
        return pith__fail(err, PITH_E_CORRUPT, "\"%s\" has no pairs to train on", f->path);
    }
    return PITH_OK;
}

pith_status pith__pair_file_open(const char *path, const pith__pair_format *format,
                                 uint32_t held_out_every, const pith_allocator *mem,
                                 pith__pair_file *out, pith_error *err)
{
    *out = (pith__pair_file){.mem = *mem};
    pith__source_name(path, out->name, sizeof out->name);
    (void)snprintf(out->path, sizeof out->path, "%s", path);
    pith_status status = pith__file_open(path, &out->file, err);
    if (status == PITH_OK) {
        status = read_lines(out, format, held_out_every, err);
    }
    if (status != PITH_OK) {
        pith__pair_file_close(out);
    }
    return status;
}

void pith__pair_file_close(pith__pair_file *file)
{
    const pith_allocator mem = file->mem;
    pith__file_close(&file->file);
    pith__free(&mem, file->training, file->training_capacity, sizeof *file->training);
    pith__free(&mem, file->held_out, file->held_out_capacity, sizeof *file->held_out);
    *file = (pith__pair_file){.mem = mem};
}
