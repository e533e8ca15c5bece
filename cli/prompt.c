/*
 * prompt.c: the parts of a prompt, from files, standard input and the command line.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

#define JOINER      "\n\n" /* of pith_compress_parts() */
#define JOINER_SIZE ((size_t)2)

const char *cli_role_name(pith_role role)
{
    return role == PITH_INSTRUCTION ? "instruction"
           : role == PITH_QUESTION  ? "question"
                                    : "context";
}

/* ---- reading ----------------------------------------------------------------- */

static int open_text_or_file(const char *name, const char *text, const char *file, cli_input *out)
{
    pith_error err;
    pith_status status = PITH_OK;
    *out = (cli_input){.name = name};
    if (text != NULL) {
        status = cli_input_copy(name, text, out, &err);
    } else if (file != NULL) {
        status = cli_input_read(file, out, &err);
    }
    return status == PITH_OK ? 0 : cli_report(out->name, &err, NULL, 0);
}

int cli_prompt_open_question(const cli_settings *settings, cli_input *out)
{
    return open_text_or_file("question", settings->question, settings->question_file, out);
}

int cli_prompt_open_instruction(const cli_settings *settings, cli_input *out)
{
    return open_text_or_file("instruction", settings->instruction, settings->instruction_file, out);
}

/* What was just read becomes the next part. There is room. */
static void add(cli_prompt *prompt, pith_role role, const cli_input *input)
{
    prompt->inputs[prompt->count] = *input;
    prompt->parts[prompt->count] = (pith_part){role, input->data, input->size};
    prompt->count++;
}

/* An exit code. */
static int add_optional(cli_prompt *prompt, pith_role role, int code, cli_input *input)
{
    if (code == 0 && input->size > 0) {
        add(prompt, role, input);
    } else {
        cli_input_free(input);
    }
    return code;
}

/* An exit code. */
static int add_files(cli_prompt *prompt, const char *const *files, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cli_input input;
        pith_error err;
        if (cli_input_read(files[i], &input, &err) != PITH_OK) {
            return cli_report(input.name, &err, NULL, 0);
        }
        add(prompt, PITH_CONTEXT, &input);
    }
    return 0;
}

/* An exit code. */
static int add_contexts(cli_prompt *prompt, const cli_settings *settings, const char *const *files,
                        size_t file_count, bool or_stdin)
{
    static const char *const standard_input[] = {"-"};
    const cli_words *contexts = &settings->contexts;
    cli_input input;
    pith_error err;
    int code = add_files(prompt, files, file_count);
    if (code == 0 && settings->prompt != NULL) {
        if (cli_input_copy("prompt", settings->prompt, &input, &err) != PITH_OK) {
            return cli_report(NULL, &err, NULL, 0);
        }
        add(prompt, PITH_CONTEXT, &input);
    }
    if (code == 0) {
        code = add_files(prompt, contexts->items, contexts->count);
    }
    const bool none = file_count == 0 && settings->prompt == NULL && contexts->count == 0;
    return code == 0 && none && or_stdin ? add_files(prompt, standard_input, 1) : code;
}

int cli_prompt_open(const cli_settings *settings, const char *const *files, size_t file_count,
                    bool or_stdin, cli_prompt *out)
{
    const size_t most = file_count + settings->contexts.count + 4;
    cli_input input;
    *out = (cli_prompt){.inputs = calloc(most, sizeof *out->inputs),
                        .parts = calloc(most, sizeof *out->parts)};
    if (out->inputs == NULL || out->parts == NULL) {
        cli_message("out of memory");
        return pith_status_exit_code(PITH_E_MEMORY);
    }
    int code = cli_prompt_open_instruction(settings, &input);
    code = add_optional(out, PITH_INSTRUCTION, code, &input);
    if (code == 0) {
        code = add_contexts(out, settings, files, file_count, or_stdin);
    }
    if (code == 0) {
        code = cli_prompt_open_question(settings, &input);
        code = add_optional(out, PITH_QUESTION, code, &input);
    }
    return code;
}

void cli_prompt_free(cli_prompt *prompt)
{
    for (size_t i = 0; i < prompt->count; i++) {
        cli_input_free(&prompt->inputs[i]);
    }
    free(prompt->inputs);
    free(prompt->parts);
    *prompt = (cli_prompt){0};
}

/* ---- the joined text -------------------------------------------------------------- */

pith_status cli_prompt_join(const cli_prompt *prompt, cli_input *out, pith_error *err)
{
    size_t size = 0;
    for (size_t i = 0; i < prompt->count; i++) {
        size += prompt->parts[i].size + (i > 0 ? JOINER_SIZE : 0); /* 1 GiB each at most */
    }
    *out = (cli_input){.name = "source", .data = malloc(size + 1)};
    if (out->data == NULL) {
        return cli_fail(err, PITH_E_MEMORY, "no memory for %zu bytes of input", size);
    }
    for (size_t i = 0; i < prompt->count; i++) {
        const pith_part *part = &prompt->parts[i];
        if (i > 0) {
            memcpy(out->data + out->size, JOINER, JOINER_SIZE);
            out->size += JOINER_SIZE;
        }
        if (part->size > 0) {
            memcpy(out->data + out->size, part->text, part->size);
        }
        out->size += part->size;
    }
    return PITH_OK;
}

int cli_prompt_report(const cli_prompt *prompt, const pith_error *err)
{
    pith_error inside = *err;
    for (size_t i = 0; i < prompt->count; i++) {
        const cli_input *input = &prompt->inputs[i];
        if (prompt->count == 1 || inside.offset <= input->size) {
            return cli_report(input->name, &inside, input->data, input->size);
        }
        if (inside.offset == PITH_NO_OFFSET) {
            break;
        }
        inside.offset -= input->size + JOINER_SIZE;
    }
    return cli_report(NULL, err, NULL, 0);
}
