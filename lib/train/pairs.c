/*
 * pairs.c: JSONL files of texts: prompts and completions, and others.
 */
#include "train/pairs.h"

#include "train/run.h"
#include "train/source.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PROMPT     "{prompt}"
#define COMPLETION "{completion}"

#define STREAM_OF_ORDER UINT64_C(0x70616972)

/* ---- one line -------------------------------------------------------------------------------- */

pith_status pith__pair_fail(const pith__pair_file *file, pith__pair pair, pith_status status,
                            const char *reason, pith_error *err)
{
    size_t line = 1;
    for (size_t i = 0; i < pair.start; i++) {
        line += file->file.data[i] == '\n';
    }
    return pith__fail_at(err, status, pair.start, "%s, line %zu: %.200s", file->path, line, reason);
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
    return pith__pair_fail(file, pair, no_memory ? PITH_E_MEMORY : PITH_E_SYNTAX, problem.text,
                           err);
}

/* "no strings "a" and "b"": those that must be there. */
static pith_status describe_lack(const pith__pair_member *members, size_t count, pith__buf *out,
                                 pith_error *err)
{
    PITH__TRY(pith__buf_append_text(out, "no strings", err));
    const char *before = "";
    for (size_t i = 0; i < count; i++) {
        if (!members[i].optional) {
            PITH__TRY(pith__buf_printf(out, err, "%s \"%.40s\"", before, members[i].key));
            before = " and";
        }
    }
    return PITH_OK;
}

static pith_status fail_member(const pith__pair_file *file, pith__pair pair,
                               const pith__pair_member *members, size_t count, size_t i,
                               pith_error *err)
{
    pith__buf reason;
    pith__buf_init(&reason, &file->mem, SIZE_MAX / 2);
    pith_status status =
        members[i].optional
            ? pith__buf_printf(&reason, err, "\"%.40s\" is no string", members[i].key)
            : describe_lack(members, count, &reason, err);
    if (status == PITH_OK) {
        status = pith__pair_fail(file, pair, PITH_E_CORRUPT, reason.data, err);
    }
    pith__buf_deinit(&reason);
    return status;
}

/* *hash: of what decides whether the line is held out. */
static pith_status check_line(const pith__pair_file *file, pith__pair pair,
                              const pith__pair_member *members, size_t count, uint64_t *hash,
                              pith_error *err)
{
    json_t *object = NULL;
    *hash = pith__document_hash(file->file.data + pair.start, pair.end - pair.start);
    PITH__TRY(load(file, pair, &object, err));
    pith_status status = json_is_object(object) ? PITH_OK
                                                : pith__pair_fail(file, pair, PITH_E_CORRUPT,
                                                                  "not a JSON object", err);
    for (size_t i = 0; i < count && status == PITH_OK; i++) {
        const json_t *value = json_object_get(object, members[i].key);
        if (!json_is_string(value) && !(value == NULL && members[i].optional)) {
            status = fail_member(file, pair, members, count, i, err);
        } else if (members[i].decides && value != NULL) {
            *hash = pith__document_hash((const unsigned char *)json_string_value(value),
                                        json_string_length(value));
        }
    }
    json_decref(object);
    return status;
}

static pith_status copy_texts(const json_t *object, const pith__pair_member *members, size_t count,
                              pith__arena *arena, pith__token_text *out, pith_error *err)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(object, members[i].key);
        const size_t size = value == NULL ? 0 : json_string_length(value);
        char *text = NULL;
        PITH__TRY(pith__arena_alloc(arena, size + 1, 1, &text, err));
        if (size > 0) {
            memcpy(text, json_string_value(value), size);
        }
        text[size] = '\0';
        out[i] = (pith__token_text){text, size};
    }
    return PITH_OK;
}

pith_status pith__pair_texts(const pith__pair_file *file, pith__pair pair,
                             const pith__pair_member *members, size_t count, pith__arena *arena,
                             pith__token_text *out, pith_error *err)
{
    json_t *object = NULL;
    PITH__TRY(load(file, pair, &object, err));
    const pith_status status = copy_texts(object, members, count, arena, out, err);
    json_decref(object);
    return status;
}

/* ---- files --------------------------------------------------------------------------------------- */

static pith_status add_line(pith__pair_file *f, pith__pair pair, bool is_held_out, pith_error *err)
{
    if (is_held_out) {
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

static pith_status read_lines(pith__pair_file *f, const pith__pair_member *members, size_t count,
                              uint32_t held_out_every, pith_error *err)
{
    const unsigned char *data = f->file.data;
    const size_t size = f->file.size;
    for (size_t start = 0, next = 0; start < size; start = next) {
        const unsigned char *stop = memchr(data + start, '\n', size - start);
        const pith__pair pair = {start, stop == NULL ? size : (size_t)(stop - data)};
        next = stop == NULL ? size : pair.end + 1;
        if (!is_blank(data, pair)) {
            uint64_t hash = 0;
            PITH__TRY(check_line(f, pair, members, count, &hash, err));
            PITH__TRY(add_line(f, pair, held_out_every != 0 && hash % held_out_every == 0, err));
        }
    }
    return f->n_training + f->n_held_out > 0
               ? PITH_OK
               : pith__fail(err, PITH_E_CORRUPT, "\"%s\" has no lines", f->path);
}

pith_status pith__pair_lines_open(const char *path, const pith__pair_member *members, size_t count,
                                  uint32_t held_out_every, const pith_allocator *mem,
                                  pith__pair_file *out, pith_error *err)
{
    *out = (pith__pair_file){.mem = *mem};
    pith__source_name(path, out->name, sizeof out->name);
    (void)snprintf(out->path, sizeof out->path, "%s", path);
    pith_status status = pith__file_open(path, &out->file, err);
    if (status == PITH_OK) {
        status = read_lines(out, members, count, held_out_every, err);
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

/* ---- several files ------------------------------------------------------------------------------- */

static pith_status open_to_train(const char *path, const pith__pair_member *members, size_t count,
                                 uint32_t held_out_every, const pith_allocator *mem,
                                 pith__pair_file *out, pith_error *err)
{
    PITH__TRY(pith__pair_lines_open(path, members, count, held_out_every, mem, out, err));
    if (out->n_training == 0) {
        (void)pith__fail(err, PITH_E_CORRUPT, "\"%s\" has no pairs to train on", out->path);
        pith__pair_file_close(out);
        return PITH_E_CORRUPT;
    }
    return PITH_OK;
}

static pith_status open_set(pith__pair_set *set, const char *const *paths, size_t n_paths,
                            const pith__pair_member *members, size_t count, uint32_t held_out_every,
                            pith_error *err)
{
    size_t lines = 0;
    if (n_paths == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "no pairs to train on");
    }
    PITH__TRY(pith__alloc_zero(&set->mem, n_paths, sizeof *set->files, &set->files, err));
    set->capacity = n_paths;
    for (; set->n_files < n_paths; set->n_files++) {
        pith__pair_file *file = &set->files[set->n_files];
        PITH__TRY(open_to_train(paths[set->n_files], members, count, held_out_every, &set->mem,
                                file, err));
        lines += file->n_training;
    }
    return pith__deck_init(&set->deck, lines, &set->mem, err);
}

pith_status pith__pair_set_open(const char *const *paths, size_t n_paths,
                                const pith__pair_member *members, size_t count,
                                uint32_t held_out_every, const pith_allocator *mem,
                                pith__pair_set *out, pith_error *err)
{
    *out = (pith__pair_set){.mem = *mem};
    const pith_status status = open_set(out, paths, n_paths, members, count, held_out_every, err);
    if (status != PITH_OK) {
        pith__pair_set_close(out);
    }
    return status;
}

void pith__pair_set_close(pith__pair_set *set)
{
    for (size_t i = 0; i < set->n_files; i++) {
        pith__pair_file_close(&set->files[i]);
    }
    if (set->files != NULL) {
        pith__free(&set->mem, set->files, set->capacity, sizeof *set->files);
    }
    pith__deck_deinit(&set->deck);
    *set = (pith__pair_set){0};
}

pith__pair pith__pair_set_at(pith__pair_set *set, uint64_t seed, uint64_t n,
                             const pith__pair_file **file)
{
    size_t number = pith__deck_at(&set->deck, seed, STREAM_OF_ORDER, n);
    *file = set->files;
    while (number >= (*file)->n_training) {
        number -= (*file)++->n_training;
    }
    return (*file)->training[number];
}

uint64_t pith__pair_set_fingerprint(const pith__pair_set *set, uint64_t hash)
{
    for (size_t i = 0; i < set->n_files; i++) {
        const pith__file *file = &set->files[i].file;
        hash = pith__fingerprint(hash, &file->size, sizeof file->size);
        hash = pith__fingerprint(hash, file->data, file->size);
    }
    return hash;
}

/* ---- prompts and completions ----------------------------------------------------------------------- */

static const char *prompt_place(const pith__pair_format *format)
{
    return format->prompt_place == NULL ? PROMPT : format->prompt_place;
}

static const char *completion_place(const pith__pair_format *format)
{
    return format->completion_place == NULL ? COMPLETION : format->completion_place;
}

pith_status pith__pair_format_check(const pith__pair_format *format, pith_error *err)
{
    if (format->text == NULL || format->prompt_key == NULL || format->completion_key == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "pairs need a format and the names of two members");
    }
    const char *prompt = strstr(format->text, prompt_place(format));
    const char *completion = strstr(format->text, completion_place(format));
    if (prompt == NULL || completion == NULL || completion < prompt ||
        strstr(prompt + 1, prompt_place(format)) != NULL ||
        strstr(completion + 1, completion_place(format)) != NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "the format must hold %s and then %s, once each",
                          prompt_place(format), completion_place(format));
    }
    return PITH_OK;
}

enum { PAIR_MEMBERS = 2 };

static void members_of(const pith__pair_format *format, pith__pair_member members[PAIR_MEMBERS])
{
    members[0] = (pith__pair_member){.key = format->prompt_key};
    members[1] = (pith__pair_member){.key = format->completion_key};
}

pith_status pith__pair_file_open(const char *path, const pith__pair_format *format,
                                 uint32_t held_out_every, const pith_allocator *mem,
                                 pith__pair_file *out, pith_error *err)
{
    pith__pair_member members[PAIR_MEMBERS];
    members_of(format, members);
    return pith__pair_lines_open(path, members, PAIR_MEMBERS, held_out_every, mem, out, err);
}

pith_status pith__pairs_open(const char *const *paths, size_t n_paths,
                             const pith__pair_format *format, uint32_t held_out_every,
                             const pith_allocator *mem, pith__pair_set *out, pith_error *err)
{
    pith__pair_member members[PAIR_MEMBERS];
    members_of(format, members);
    return pith__pair_set_open(paths, n_paths, members, PAIR_MEMBERS, held_out_every, mem, out,
                               err);
}

pith_status pith__pair_render(const pith__pair_format *format, pith__token_text prompt,
                              pith__token_text completion, pith__arena *arena,
                              pith__token_text *out, size_t *completion_start, pith_error *err)
{
    const char *first = strstr(format->text, prompt_place(format));
    const char *second = strstr(format->text, completion_place(format));
    if (first == NULL || second == NULL) {
        return pith__fail(err, PITH_E_INTERNAL, "a format that was checked is none");
    }
    const char *between = first + strlen(prompt_place(format));
    const char *behind = second + strlen(completion_place(format));
    const pith_allocator mem = pith__arena_allocator(arena);
    pith__buf buf;
    pith__buf_init(&buf, &mem, SIZE_MAX / 2);
    PITH__TRY(pith__buf_append(&buf, format->text, (size_t)(first - format->text), err));
    PITH__TRY(pith__buf_append(&buf, prompt.data, prompt.size, err));
    PITH__TRY(pith__buf_append(&buf, between, (size_t)(second - between), err));
    *completion_start = buf.size;
    PITH__TRY(pith__buf_append(&buf, completion.data, completion.size, err));
    PITH__TRY(pith__buf_append_text(&buf, behind, err));
    *out = (pith__token_text){buf.data, buf.size};
    return PITH_OK;
}

pith_status pith__pair_text(const pith__pair_file *file, pith__pair pair,
                            const pith__pair_format *format, pith__arena *arena, const char **text,
                            size_t *size, size_t *completion, size_t *bytes, pith_error *err)
{
    pith__pair_member members[PAIR_MEMBERS];
    pith__token_text texts[PAIR_MEMBERS];
    pith__token_text all;
    members_of(format, members);
    PITH__TRY(pith__pair_texts(file, pair, members, PAIR_MEMBERS, arena, texts, err));
    PITH__TRY(pith__pair_render(format, texts[0], texts[1], arena, &all, completion, err));
    *text = all.data;
    *size = all.size;
    *bytes = texts[1].size;
    return PITH_OK;
}
