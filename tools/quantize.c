/*
 * quantize.c: rewrites a llama GGUF with int8 matrices, one scale per row, as
 * the engine multiplies them: NAME.weight (I8) and NAME.scale (F32). Norms stay
 * F32. This is how models/builtin.gguf is made; see models/README.md.
 *
 *     pith-quantize IN.gguf OUT.gguf [--name NAME] [--context N]
 */
#include "gguf/gguf.h"
#include "tensor/tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct options {
    const char *in;
    const char *out;
    const char *name;    /* NULL: as in the file */
    const char *context; /* NULL: as in the file */
} options;

/* The matrix `tensor`, expanded in `values`, as int8 rows and their scales. */
static pith_status add_matrix(pith__gguf_writer *writer, const pith__gguf_tensor *tensor,
                              const float *values, pith__arena *arena, pith_error *err)
{
    const size_t cols = (size_t)tensor->dims[0];
    const size_t rows = (size_t)tensor->dims[1];
    int8_t *i8 = NULL;
    float *scale = NULL;
    PITH__TRY(pith__arena_alloc(arena, rows, cols, &i8, err));
    PITH__TRY(pith__arena_alloc(arena, rows, sizeof *scale, &scale, err));
    for (size_t r = 0; r < rows; r++) {
        scale[r] = pith__tensor_quantize_weights(values + r * cols, cols, 127, i8 + r * cols);
    }
    pith__gguf_tensor matrix = *tensor;
    matrix.type = PITH__GGUF_TYPE_I8;
    matrix.data = (const unsigned char *)i8;
    PITH__TRY(pith__gguf_writer_add_tensor(writer, &matrix, err));

    static const char suffix[] = ".scale";
    char *name = NULL;
    const size_t stem = tensor->name.size - (sizeof ".weight" - 1);
    PITH__TRY(pith__arena_alloc(arena, stem + sizeof suffix, 1, &name, err));
    memcpy(name, tensor->name.data, stem);
    memcpy(name + stem, suffix, sizeof suffix);
    const pith__gguf_tensor scales = {.name = {name, stem + sizeof suffix - 1},
                                      .n_dims = 1,
                                      .dims = {rows, 1, 1, 1},
                                      .type = PITH__GGUF_TYPE_F32,
                                      .data = (const unsigned char *)scale};
    return pith__gguf_writer_add_tensor(writer, &scales, err);
}

/* One matrix as int8; one vector as floats. */
static pith_status add_tensor(pith__gguf_writer *writer, const pith__gguf_tensor *tensor,
                              pith__arena *arena, pith_error *err)
{
    float *values = NULL;
    if (!pith__gguf_string_ends_with(tensor->name, ".weight")) {
        return pith__fail(err, PITH_E_UNSUPPORTED, "a tensor is not called NAME.weight");
    }
    PITH__TRY(pith__arena_alloc(arena, (size_t)tensor->elements, sizeof *values, &values, err));
    PITH__TRY(
        pith__gguf_dequantize(tensor->type, tensor->data, values, (size_t)tensor->elements, err));
    if (tensor->n_dims >= 2) {
        return add_matrix(writer, tensor, values, arena, err);
    }
    pith__gguf_tensor vector = *tensor;
    vector.type = PITH__GGUF_TYPE_F32;
    vector.data = (const unsigned char *)values;
    return pith__gguf_writer_add_tensor(writer, &vector, err);
}

static pith_status add_metadata(pith__gguf_writer *writer, const pith__gguf *gguf, const options *o,
                                pith_error *err)
{
    for (size_t i = 0; i < gguf->n_kvs; i++) {
        const pith__gguf_kv *kv = &gguf->kvs[i];
        if (o->name != NULL && pith__gguf_string_equal(kv->key, "general.name")) {
            PITH__TRY(pith__gguf_writer_add_string(writer, "general.name", o->name, strlen(o->name),
                                                   err));
        } else if (o->context != NULL && pith__gguf_string_equal(kv->key, "llama.context_length")) {
            PITH__TRY(pith__gguf_writer_add_u32(writer, "llama.context_length",
                                                (uint32_t)strtoul(o->context, NULL, 10), err));
        } else if (!pith__gguf_string_equal(kv->key, "general.file_type")) {
            PITH__TRY(pith__gguf_writer_add_kv(writer, kv, err));
        }
    }
    return PITH_OK;
}

static bool write_file(void *user, const char *data, size_t size)
{
    return fwrite(data, 1, size, user) == size;
}

static pith_status convert(const options *o, const pith__gguf *gguf, pith__gguf_writer *writer,
                           pith__arena *arena, pith_error *err)
{
    PITH__TRY(add_metadata(writer, gguf, o, err));
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        PITH__TRY(add_tensor(writer, &gguf->tensors[i], arena, err));
    }
    FILE *file = fopen(o->out, "wb");
    if (file == NULL) {
        return pith__fail(err, PITH_E_IO, "cannot write %s", o->out);
    }
    const pith_status status = pith__gguf_writer_write(writer, write_file, file, err);
    if (fclose(file) != 0 && status == PITH_OK) {
        return pith__fail(err, PITH_E_IO, "cannot write %s", o->out);
    }
    return status;
}

static bool parse(int argc, char **argv, options *o)
{
    for (int i = 1; i < argc; i++) {
        const bool has_value = i + 1 < argc;
        if (strcmp(argv[i], "--name") == 0 && has_value) {
            o->name = argv[++i];
        } else if (strcmp(argv[i], "--context") == 0 && has_value) {
            o->context = argv[++i];
        } else if (o->in == NULL) {
            o->in = argv[i];
        } else if (o->out == NULL) {
            o->out = argv[i];
        } else {
            return false;
        }
    }
    return o->out != NULL;
}

int main(int argc, char **argv)
{
    options o = {0};
    if (!parse(argc, argv, &o)) {
        (void)fprintf(stderr,
                      "usage: pith-quantize IN.gguf OUT.gguf [--name NAME] [--context N]\n");
        return 2;
    }
    pith_error err = {0};
    pith__file file = {NULL, 0};
    pith__gguf gguf = {0};
    pith__gguf_writer writer;
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    pith__gguf_writer_init(&writer, &pith__allocator_default);
    pith_status status = pith__file_open(o.in, &file, &err);
    if (status == PITH_OK) {
        status = pith__gguf_parse(file.data, file.size, &pith__allocator_default, &gguf, &err);
    }
    if (status == PITH_OK) {
        status = convert(&o, &gguf, &writer, &arena, &err);
    }
    if (status != PITH_OK) {
        (void)fprintf(stderr, "pith-quantize: %s\n", err.message);
    }
    pith__gguf_writer_deinit(&writer);
    pith__gguf_deinit(&gguf);
    pith__file_close(&file);
    pith__arena_deinit(&arena);
    return pith_status_exit_code(status);
}
