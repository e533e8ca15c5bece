/*
 * pieces.c: texts and capsules of the command line, read in their order.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

/* Every GGUF file begins so, capsules among them, and no text does. */
static bool is_gguf(const cli_input *input)
{
    return input->size >= 4 && memcmp(input->data, "GGUF", 4) == 0;
}

/* An exit code. */
static int parse_capsule(const cli_input *input, pith_capsule **out)
{
    pith_error err;
    return pith_capsule_open_memory(input->data, input->size, NULL, out, &err) == PITH_OK
               ? 0
               : cli_report(input->name, &err, NULL, 0);
}

int cli_capsule_open(const char *path, pith_capsule **out)
{
    cli_input input;
    pith_error err;
    *out = NULL;
    if (cli_input_read(path, &input, &err) != PITH_OK) {
        return cli_report(input.name, &err, NULL, 0);
    }
    const int code = parse_capsule(&input, out);
    cli_input_free(&input);
    return code;
}

/* An exit code. */
static int open_piece(const cli_piece *piece, pith_piece *item, cli_input *input,
                      pith_capsule **capsule)
{
    pith_error err;
    const pith_status status = piece->kind == CLI_PIECE_TEXT
                                   ? cli_input_copy("prompt", piece->value, input, &err)
                                   : cli_input_read(piece->value, input, &err);
    if (status != PITH_OK) {
        return cli_report(input->name, &err, NULL, 0);
    }
    if (piece->kind == CLI_PIECE_CAPSULE || (piece->kind == CLI_PIECE_FILE && is_gguf(input))) {
        const int code = parse_capsule(input, capsule);
        *item = (pith_piece){.capsule = *capsule};
        return code;
    }
    *item = (pith_piece){.text = input->data, .size = input->size};
    return 0;
}

int cli_pieces_open(const cli_piece *pieces, size_t count, cli_read_pieces *out)
{
    *out = (cli_read_pieces){.items = calloc(count + 1, sizeof *out->items),
                             .inputs = calloc(count + 1, sizeof *out->inputs),
                             .capsules = calloc(count + 1, sizeof(pith_capsule *))};
    if (out->items == NULL || out->inputs == NULL || out->capsules == NULL) {
        cli_message("out of memory");
        return pith_status_exit_code(PITH_E_MEMORY);
    }
    for (size_t i = 0; i < count; i++) {
        const int code = open_piece(&pieces[i], &out->items[i], &out->inputs[i], &out->capsules[i]);
        out->count++;
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

void cli_pieces_free(cli_read_pieces *pieces)
{
    for (size_t i = 0; i < pieces->count; i++) {
        cli_input_free(&pieces->inputs[i]);
        pith_capsule_free(pieces->capsules[i]);
    }
    free(pieces->items);
    free(pieces->inputs);
    free((void *)pieces->capsules);
    *pieces = (cli_read_pieces){0};
}

static bool is_to_blame(const cli_read_pieces *pieces, size_t index, const cli_engine *engine,
                        const pith_error *err)
{
    const cli_input *input = &pieces->inputs[index];
    const pith_capsule *capsule = pieces->capsules[index];
    return capsule == NULL
               ? err->status == PITH_E_UTF8 && !cli_is_utf8(input->data, input->size)
               : err->status == PITH_E_MISMATCH &&
                     pith_capsule_check(capsule, engine->model, NULL) == PITH_E_MISMATCH;
}

bool cli_pieces_report(const cli_read_pieces *pieces, const cli_engine *engine,
                       const pith_error *err, int *code)
{
    for (size_t i = 0; i < pieces->count; i++) {
        if (is_to_blame(pieces, i, engine, err)) {
            const cli_input *input = &pieces->inputs[i];
            *code = cli_report(input->name, err, input->data, input->size);
            return true;
        }
    }
    return false;
}
