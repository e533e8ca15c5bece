/*
 * inspect.c: a GGUF file described, as text or as JSON.
 */
#include "api/inspect.h"
#include "render/render.h"

#include <stdio.h>
#include <string.h>

/* Elements of an array that are shown; the rest is counted. */
#define SHOWN 3

typedef struct report {
    const pith__gguf *gguf;
    pith__capsule *capsule; /* NULL: it is another kind of file */
    bool is_compressor;
    pith__inspect_compressor compressor;
    pith__bank bank; /* empty: it is another kind of file */
    const char *path;
    size_t file_size;
    pith__buf out;
    pith_error *err;
} report;

/* ---- values ---------------------------------------------------------------------------------- */

/* A scalar as JSON: bytes that are not UTF-8 are shown as '?'. */
static json_t *json_of_scalar(const pith__gguf_kv *kv)
{
    char printable[256];
    switch (kv->type) {
    case PITH__GGUF_VALUE_U8:
    case PITH__GGUF_VALUE_U16:
    case PITH__GGUF_VALUE_U32:
    case PITH__GGUF_VALUE_U64:
        return kv->value.u <= INT64_MAX ? json_integer((json_int_t)kv->value.u)
                                        : json_real((double)kv->value.u);
    case PITH__GGUF_VALUE_I8:
    case PITH__GGUF_VALUE_I16:
    case PITH__GGUF_VALUE_I32:
    case PITH__GGUF_VALUE_I64:
        return json_integer((json_int_t)kv->value.i);
    case PITH__GGUF_VALUE_F32:
    case PITH__GGUF_VALUE_F64: {
        json_t *real = json_real(kv->value.f);
        return real != NULL ? real : json_null(); /* JSON has no infinity */
    }
    case PITH__GGUF_VALUE_BOOL:
        return json_boolean(kv->value.b);
    case PITH__GGUF_VALUE_STRING: {
        json_t *text = json_stringn(kv->value.string.data, kv->value.string.size);
        return text != NULL ? text
                            : json_string(pith__gguf_printable(kv->value.string, printable,
                                                               sizeof printable));
    }
    case PITH__GGUF_VALUE_ARRAY:
        break;
    }
    return json_null();
}

static json_t *json_of_array(const pith__gguf_array *array)
{
    json_t *first = json_array();
    pith__gguf_kv element = {.type = array->type};
    pith__gguf_strings strings = {NULL, 0};
    if (array->type == PITH__GGUF_VALUE_STRING) {
        strings = pith__gguf_strings_of(array);
    }
    for (size_t i = 0; i < array->count && i < SHOWN; i++) {
        if (array->type == PITH__GGUF_VALUE_STRING) {
            (void)pith__gguf_strings_next(&strings, &element.value.string);
        } else {
            element = pith__gguf_array_scalar(array, i);
        }
        (void)json_array_append_new(first, json_of_scalar(&element));
    }
    return json_pack("{s:s, s:I, s:o}", "array", pith__gguf_value_type_name(array->type), "count",
                     (json_int_t)array->count, "first", first);
}

static json_t *json_of(const pith__gguf_kv *kv)
{
    return kv->type == PITH__GGUF_VALUE_ARRAY ? json_of_array(&kv->value.array)
                                              : json_of_scalar(kv);
}

static const char *type_name(pith__gguf_type type)
{
    const pith__gguf_codec *codec = pith__gguf_codec_of(type);
    return codec == NULL ? "unknown" : codec->name;
}

/* All tensors' elements but those of NAME.scale, which belongs to the weights beside it, and of a
 * capsule's checksum. */
static uint64_t count_parameters(const pith__gguf *gguf)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const bool is_scale = pith__gguf_string_ends_with(gguf->tensors[i].name, ".scale");
        const bool is_checksum = pith__gguf_string_equal(gguf->tensors[i].name, "checksum");
        sum += is_scale || is_checksum ? 0 : gguf->tensors[i].elements;
    }
    return sum;
}

static const char *kind_name(const pith__capsule *capsule)
{
    return capsule->kind == PITH__CAPSULE_KV ? "kv" : "embeddings";
}

const char *pith__inspect_stored_as(const pith__capsule *capsule)
{
    static const char *const names[] = {
        [PITH__CAPSULE_F32] = "f32", [PITH__CAPSULE_F16] = "f16", [PITH__CAPSULE_INT8] = "int8"};
    return names[capsule->type];
}

/* ---- JSON ---------------------------------------------------------------------------------------- */

static json_t *json_of_tensor(const pith__gguf_tensor *tensor)
{
    char name[128];
    json_t *dims = json_array();
    for (uint32_t d = tensor->n_dims; d > 0; d--) {
        (void)json_array_append_new(dims, json_integer((json_int_t)tensor->dims[d - 1]));
    }
    return json_pack("{s:s, s:s, s:o, s:I, s:I}", "name",
                     pith__gguf_printable(tensor->name, name, sizeof name), "type",
                     type_name(tensor->type), "shape", dims, "offset", (json_int_t)tensor->offset,
                     "bytes", (json_int_t)tensor->size);
}

json_t *pith__inspect_json_hash(const char *sha256)
{
    return sha256[0] == '\0' ? json_null() : json_string(sha256);
}

static json_t *json_of_capsule(const pith__capsule *c)
{
    json_t *record = json_loadb(c->record, c->record_size, 0, NULL);
    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:s, s:I, s:o, s:s, s:I, s:b, s:o, s:o, s:o, s:o}",
                     "method", c->method, "kind", kind_name(c), "slots", (json_int_t)c->slots,
                     "layers", (json_int_t)c->layers, "width", (json_int_t)c->width, "type",
                     pith__inspect_stored_as(c), "bytes",
                     (json_int_t)pith__capsule_bytes(c, c->type), "source",
                     json_pack("{s:I, s:I, s:o}", "bytes", (json_int_t)c->source_bytes, "tokens",
                               (json_int_t)c->source_tokens, "sha256",
                               pith__inspect_json_hash(c->source_sha256)),
                     "position_mode", c->position_mode, "advance", (json_int_t)c->advance, "bos",
                     (int)c->bos, "model_sha256", pith__inspect_json_hash(c->binding.model),
                     "tokenizer_sha256", pith__inspect_json_hash(c->binding.tokenizer),
                     "adapter_sha256", pith__inspect_json_hash(c->binding.adapter), "record",
                     record != NULL ? record : json_null());
}

static pith_status write_json(report *r)
{
    json_t *root = json_object();
    json_t *metadata = json_object();
    json_t *tensors = json_array();
    char key[256];
    for (size_t i = 0; i < r->gguf->n_kvs; i++) {
        const pith__gguf_kv *kv = &r->gguf->kvs[i];
        (void)json_object_set_new(metadata, pith__gguf_printable(kv->key, key, sizeof key),
                                  json_of(kv));
    }
    for (size_t i = 0; i < r->gguf->n_tensors; i++) {
        (void)json_array_append_new(tensors, json_of_tensor(&r->gguf->tensors[i]));
    }
    json_t *about =
        json_pack("{s:i, s:i, s:I, s:I, s:o, s:o}", "version", (int)r->gguf->version, "alignment",
                  (int)r->gguf->alignment, "bytes", (json_int_t)r->file_size, "parameters",
                  (json_int_t)count_parameters(r->gguf), "metadata", metadata, "tensors", tensors);
    const bool complete =
        (r->capsule == NULL ||
         json_object_set_new(root, "capsule", json_of_capsule(r->capsule)) == 0) &&
        (!r->is_compressor ||
         json_object_set_new(root, "compressor", pith__inspect_compressor_json(&r->compressor)) ==
             0) &&
        (r->bank.count == 0 ||
         json_object_set_new(root, "bank", pith__inspect_bank_json(&r->bank)) == 0) &&
        json_object_update(root, about) == 0;
    char *text = !complete ? NULL : json_dumps(root, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    pith_status status = PITH_OK;
    if (text == NULL) {
        status = pith__fail(r->err, PITH_E_MEMORY, "out of memory while describing the file");
    } else {
        status = pith__buf_printf(&r->out, r->err, "%s\n", text);
    }
    json_free_t release = NULL; /* the string came from jansson's allocator */
    json_get_alloc_funcs(NULL, &release);
    if (text != NULL) {
        release(text);
    }
    json_decref(about);
    json_decref(root);
    return status;
}

/* ---- text ------------------------------------------------------------------------------------------- */

static pith_status write_value(report *r, const pith__gguf_kv *kv)
{
    char text[96];
    switch (kv->type) {
    case PITH__GGUF_VALUE_U8:
    case PITH__GGUF_VALUE_U16:
    case PITH__GGUF_VALUE_U32:
    case PITH__GGUF_VALUE_U64:
        return pith__buf_printf(&r->out, r->err, "%llu", (unsigned long long)kv->value.u);
    case PITH__GGUF_VALUE_I8:
    case PITH__GGUF_VALUE_I16:
    case PITH__GGUF_VALUE_I32:
    case PITH__GGUF_VALUE_I64:
        return pith__buf_printf(&r->out, r->err, "%lld", (long long)kv->value.i);
    case PITH__GGUF_VALUE_F32:
    case PITH__GGUF_VALUE_F64:
        return pith__buf_printf(&r->out, r->err, "%.9g", kv->value.f);
    case PITH__GGUF_VALUE_BOOL:
        return pith__buf_append_text(&r->out, kv->value.b ? "true" : "false", r->err);
    case PITH__GGUF_VALUE_STRING:
        return pith__buf_printf(&r->out, r->err, "\"%s\"",
                                pith__gguf_printable(kv->value.string, text, sizeof text));
    case PITH__GGUF_VALUE_ARRAY:
        break;
    }
    return pith__buf_printf(&r->out, r->err, "[%zu]", kv->value.array.count);
}

static pith_status write_metadata(report *r)
{
    char key[64];
    for (size_t i = 0; i < r->gguf->n_kvs; i++) {
        const pith__gguf_kv *kv = &r->gguf->kvs[i];
        const char *type = pith__gguf_value_type_name(
            kv->type == PITH__GGUF_VALUE_ARRAY ? kv->value.array.type : kv->type);
        PITH__TRY(pith__buf_printf(&r->out, r->err, "  %-44s %-7s ",
                                   pith__gguf_printable(kv->key, key, sizeof key), type));
        PITH__TRY(write_value(r, kv));
        PITH__TRY(pith__buf_append_text(&r->out, "\n", r->err));
    }
    return PITH_OK;
}

static pith_status write_tensors(report *r)
{
    char name[64];
    for (size_t i = 0; i < r->gguf->n_tensors; i++) {
        const pith__gguf_tensor *t = &r->gguf->tensors[i];
        PITH__TRY(pith__buf_printf(&r->out, r->err, "  %-32s %-8s %12zu bytes  ",
                                   pith__gguf_printable(t->name, name, sizeof name),
                                   type_name(t->type), t->size));
        for (uint32_t d = t->n_dims; d > 0; d--) {
            PITH__TRY(pith__buf_printf(&r->out, r->err, "%llu%s",
                                       (unsigned long long)t->dims[d - 1], d > 1 ? " x " : ""));
        }
        PITH__TRY(pith__buf_append_text(&r->out, "\n", r->err));
    }
    return PITH_OK;
}

pith_status pith__inspect_hash(pith__buf *out, const char *name, const char *sha256,
                               pith_error *err)
{
    return pith__buf_printf(out, err, "  %-10s %s\n", name, sha256[0] == '\0' ? "none" : sha256);
}

pith_status pith__inspect_foreign(pith__buf *out, const char *text, size_t size, pith_error *err)
{
    const pith__shown shown = {text, size, 0, size};
    size_t step = 0;
    for (size_t i = 0; i < size; i += step) {
        uint32_t code_point = 0;
        const bool is_plain =
            pith__look_at(&shown, i, &step, &code_point) == PITH__LOOK_PLAIN && code_point >= 0x20;
        if (is_plain) {
            PITH__TRY(pith__buf_append(out, &text[i], step, err));
        } else {
            PITH__TRY(pith__buf_append_text(out, text[i] == '\n' ? "\\n" : "?", err));
        }
    }
    return PITH_OK;
}

static pith_status write_record(report *r, const pith__capsule *c)
{
    PITH__TRY(pith__buf_printf(&r->out, r->err, "  %-10s ", "record"));
    PITH__TRY(pith__inspect_foreign(&r->out, c->record, c->record_size, r->err));
    return pith__buf_append_text(&r->out, "\n\n", r->err);
}

const char *pith__inspect_position_mode(const char *mode)
{
    if (strcmp(mode, "continue") == 0) {
        return "what follows stands where it would after the text";
    }
    return strcmp(mode, "release") == 0
               ? "what follows stands so many places on as there are slots, wherever those are"
               : "what follows stands right after the slots";
}

static pith_status write_capsule(report *r)
{
    const pith__capsule *c = r->capsule;
    const char *mode = pith__inspect_position_mode(c->position_mode);
    char layers[32] = "";
    if (c->kind == PITH__CAPSULE_KV) {
        (void)snprintf(layers, sizeof layers, "%u layers of ", c->layers);
    }
    PITH__TRY(pith__buf_printf(
        &r->out, r->err, "capsule, method %s: %u slots, %s, %srows of %u, %s, %llu bytes\n",
        c->method, c->slots, kind_name(c), layers, c->width, pith__inspect_stored_as(c),
        (unsigned long long)pith__capsule_bytes(c, c->type)));
    PITH__TRY(pith__buf_printf(&r->out, r->err, "  %-10s %llu bytes, %llu tokens%s%s\n", "source",
                               (unsigned long long)c->source_bytes,
                               (unsigned long long)c->source_tokens,
                               c->source_sha256[0] == '\0' ? "" : ", SHA-256 ", c->source_sha256));
    PITH__TRY(pith__buf_printf(&r->out, r->err, "  %-10s %s: takes %u, %s; BOS %s\n", "positions",
                               c->position_mode, c->advance, mode,
                               c->bos ? "before it" : "not before it"));
    PITH__TRY(pith__inspect_hash(&r->out, "model", c->binding.model, r->err));
    PITH__TRY(pith__inspect_hash(&r->out, "tokenizer", c->binding.tokenizer, r->err));
    PITH__TRY(pith__inspect_hash(&r->out, "adapter", c->binding.adapter, r->err));
    return write_record(r, c);
}

static pith_status write_text(report *r)
{
    if (r->capsule != NULL) {
        PITH__TRY(write_capsule(r));
    }
    if (r->is_compressor) {
        PITH__TRY(pith__inspect_compressor_text(&r->compressor, &r->out, r->err));
    }
    if (r->bank.count > 0) {
        PITH__TRY(pith__inspect_bank_text(&r->bank, &r->out, r->err));
    }
    PITH__TRY(pith__buf_printf(&r->out, r->err,
                               "%s: GGUF version %u, %zu bytes, %llu parameters\n\n"
                               "metadata (%zu)\n",
                               r->path, r->gguf->version, r->file_size,
                               (unsigned long long)count_parameters(r->gguf), r->gguf->n_kvs));
    PITH__TRY(write_metadata(r));
    PITH__TRY(pith__buf_printf(&r->out, r->err, "\ntensors (%zu)\n", r->gguf->n_tensors));
    return write_tensors(r);
}

/* Whether the file says that it is such a one. */
static bool is_a(const pith__gguf *gguf, const char *wanted)
{
    pith__gguf_string type = {NULL, 0};
    return pith__gguf_get_string_or(gguf, "general.type", "", &type, NULL) == PITH_OK &&
           pith__gguf_string_equal(type, wanted);
}

static pith_status describe(report *r, const pith__file *file, bool json, pith_write_fn write,
                            void *user)
{
    r->is_compressor = is_a(r->gguf, "compressor");
    if (is_a(r->gguf, "capsule")) { /* which has a checksum: a damaged one is not described */
        PITH__TRY(pith__capsule_parse(file->data, file->size, &pith__allocator_default, &r->capsule,
                                      r->err));
    }
    if (r->is_compressor) {
        PITH__TRY(pith__compressor_read_about(r->gguf, &r->compressor.about,
                                              &r->compressor.record_size, r->err));
    }
    if (is_a(r->gguf, "capsules")) { /* likewise */
        PITH__TRY(
            pith__bank_parse(file->data, file->size, &pith__allocator_default, &r->bank, r->err));
    }
    PITH__TRY(json ? write_json(r) : write_text(r));
    return write(user, r->out.data, r->out.size)
               ? PITH_OK
               : pith__fail(r->err, PITH_E_IO, "the description could not be written");
}

pith_status pith_inspect(const char *path, bool json, pith_write_fn write, void *user,
                         pith_error *err)
{
    pith__file file;
    pith__gguf gguf = {0};
    PITH__TRY(pith__file_open(path, &file, err));
    pith_status status =
        pith__gguf_parse(file.data, file.size, &pith__allocator_default, &gguf, err);
    if (status == PITH_OK) {
        report r = {.gguf = &gguf, .path = path, .file_size = file.size, .err = err};
        pith__buf_init(&r.out, &pith__allocator_default, (size_t)1 << 30);
        status = describe(&r, &file, json, write, user);
        pith__buf_deinit(&r.out);
        pith__capsule_free(r.capsule);
        pith__bank_deinit(&r.bank);
    }
    pith__gguf_deinit(&gguf);
    pith__file_close(&file);
    return status;
}
