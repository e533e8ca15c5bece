/*
 * fuzz_gguf_read.c: any bytes as a GGUF file. What parses must be readable to the last byte,
 * and must parse again after the writer has copied it.
 */
#include "fuzz.h"

#include "gguf/gguf.h"

static void read_values(const pith__gguf *gguf)
{
    for (size_t i = 0; i < gguf->n_kvs; i++) {
        const pith__gguf_kv *kv = &gguf->kvs[i];
        const pith__gguf_array *array = &kv->value.array;
        char key[64];
        (void)pith__gguf_printable(kv->key, key, sizeof key);
        if (kv->type == PITH__GGUF_VALUE_ARRAY && array->type == PITH__GGUF_VALUE_STRING) {
            pith__gguf_strings it = pith__gguf_strings_of(array);
            for (pith__gguf_string s; pith__gguf_strings_next(&it, &s);) {
                (void)pith__gguf_printable(s, key, sizeof key);
            }
            FUZZ_CHECK(it.next == array->data + array->size);
        } else if (kv->type == PITH__GGUF_VALUE_ARRAY) {
            for (size_t k = 0; k < array->count; k++) {
                FUZZ_CHECK(pith__gguf_array_scalar(array, k).type == array->type);
            }
        }
    }
}

static void read_tensors(const pith__gguf *gguf)
{
    static float values[4096];
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const pith__gguf_tensor *tensor = &gguf->tensors[i];
        if (tensor->elements <= sizeof values / sizeof values[0]) {
            const size_t count = (size_t)tensor->elements;
            const pith_status status =
                pith__gguf_dequantize(tensor->type, tensor->data, values, count, NULL);
            FUZZ_CHECK(status == PITH_OK || status == PITH_E_UNSUPPORTED);
        }
    }
}

static bool append(void *user, const char *data, size_t size)
{
    return pith__buf_append(user, data, size, NULL) == PITH_OK;
}

/* The writer refuses a few things that the parser takes, such as long names: E_ARGUMENT. */
static pith_status copy(const pith__gguf *gguf, pith__gguf_writer *writer, pith__buf *out)
{
    for (size_t i = 0; i < gguf->n_kvs; i++) {
        PITH__TRY(pith__gguf_writer_add_kv(writer, &gguf->kvs[i], NULL));
    }
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        PITH__TRY(pith__gguf_writer_add_tensor(writer, &gguf->tensors[i], NULL));
    }
    PITH__TRY(pith__gguf_writer_write(writer, append, out, NULL));
    pith__gguf again;
    FUZZ_CHECK(pith__gguf_parse(out->data, out->size, &gguf->mem, &again, NULL) == PITH_OK);
    FUZZ_CHECK(again.n_kvs == gguf->n_kvs && again.n_tensors == gguf->n_tensors);
    pith__gguf_deinit(&again);
    return PITH_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) /* NOLINT(*-identifier-naming) */
{
    pith__gguf gguf;
    if (pith__gguf_parse(data, size, &pith__allocator_default, &gguf, NULL) != PITH_OK) {
        return 0;
    }
    read_values(&gguf);
    read_tensors(&gguf);
    if (gguf.alignment <= 4096) { /* more would only write padding */
        pith__gguf_writer writer;
        pith__buf out;
        pith__gguf_writer_init(&writer, &gguf.mem);
        pith__buf_init(&out, &gguf.mem, SIZE_MAX / 2);
        const pith_status status = copy(&gguf, &writer, &out);
        FUZZ_CHECK(status == PITH_OK || status == PITH_E_ARGUMENT);
        pith__gguf_writer_deinit(&writer);
        pith__buf_deinit(&out);
    }
    pith__gguf_deinit(&gguf);
    return 0;
}
