/*
 * bank_file.c: banks as GGUF files; docs/capsule.md describes the format.
 *
 * What all capsules of a bank have in common stands in the keys that it has in a capsule's file; what
 * differs, in an array each.
 */
#include "soft/bank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name)    "pith.bank." name
#define SHARED(name) "pith.capsule." name

enum { PREFIX = 32 }; /* "entry.18446744073709551615." */

static const pith__capsule_format bank_format = {"capsules", "bank of capsules", KEY("version"), 1};

static void prefix_of(size_t index, char prefix[PREFIX])
{
    (void)snprintf(prefix, PREFIX, "entry.%zu.", index);
}

/* ---- saving ---------------------------------------------------------------------------------- */

typedef struct saving {
    const pith__bank *bank;
    pith__capsule_out out;
} saving;

/* A text of an entry. */
typedef pith__gguf_string (*text_fn)(const pith__bank_entry *entry);

static pith__gguf_string name_of(const pith__bank_entry *entry)
{
    return (pith__gguf_string){entry->name, strlen(entry->name)};
}

static pith__gguf_string hash_of(const pith__bank_entry *entry)
{
    const char *hash = entry->capsule->source_sha256;
    return (pith__gguf_string){hash, strlen(hash)};
}

static pith__gguf_string record_of(const pith__bank_entry *entry)
{
    return (pith__gguf_string){entry->capsule->record, entry->capsule->record_size};
}

static pith_status add_texts(saving *s, const char *key, text_fn text)
{
    const pith__bank *bank = s->bank;
    pith_error *err = s->out.err;
    pith__gguf_string *texts = NULL;
    PITH__TRY(pith__arena_alloc(&s->out.arena, bank->count, sizeof *texts, &texts, err));
    for (size_t i = 0; i < bank->count; i++) {
        texts[i] = text(&bank->items[i]);
    }
    return pith__gguf_writer_add_strings(&s->out.writer, key, texts, bank->count, err);
}

static pith_status add_sizes(saving *s)
{
    const size_t count = s->bank->count;
    pith__gguf_writer *writer = &s->out.writer;
    pith_error *err = s->out.err;
    int32_t *slots = NULL;
    uint64_t *bytes = NULL;
    uint64_t *tokens = NULL;
    PITH__TRY(pith__arena_alloc(&s->out.arena, count, sizeof *slots, &slots, err));
    PITH__TRY(pith__arena_alloc(&s->out.arena, count, sizeof *bytes, &bytes, err));
    PITH__TRY(pith__arena_alloc(&s->out.arena, count, sizeof *tokens, &tokens, err));
    for (size_t i = 0; i < count; i++) {
        const pith__capsule *c = s->bank->items[i].capsule;
        slots[i] = (int32_t)c->slots;
        bytes[i] = c->source_bytes;
        tokens[i] = c->source_tokens;
    }
    PITH__TRY(pith__gguf_writer_add_i32s(writer, KEY("slots"), slots, count, err));
    PITH__TRY(pith__gguf_writer_add_u64s(writer, KEY("source.bytes"), bytes, count, err));
    return pith__gguf_writer_add_u64s(writer, KEY("source.tokens"), tokens, count, err);
}

static pith_status add_numbers(saving *s)
{
    char prefix[PREFIX];
    for (size_t i = 0; i < s->bank->count; i++) {
        prefix_of(i, prefix);
        PITH__TRY(pith__capsule_out_numbers(&s->out, prefix, s->bank->items[i].capsule));
    }
    return PITH_OK;
}

static pith_status save(saving *s, const char *path)
{
    pith_error *err = s->out.err;
    if (s->bank->count == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "an empty bank is not saved");
    }
    const pith__capsule *first = s->bank->items[0].capsule;
    PITH__TRY(pith__capsule_out_begin(&s->out, &bank_format));
    PITH__TRY(pith__capsule_out_texts(&s->out, first, true));
    PITH__TRY(pith__gguf_writer_add_u32(&s->out.writer, SHARED("width"), first->width, err));
    PITH__TRY(pith__gguf_writer_add_bool(&s->out.writer, SHARED("bos"), first->bos, err));
    PITH__TRY(add_texts(s, KEY("names"), name_of));
    PITH__TRY(add_sizes(s));
    PITH__TRY(add_texts(s, KEY("source.sha256"), hash_of));
    PITH__TRY(add_texts(s, KEY("records"), record_of));
    PITH__TRY(add_numbers(s));
    return pith__capsule_out_save(&s->out, path);
}

pith_status pith__bank_save(const pith__bank *bank, pith__capsule_type type, const char *path,
                            pith_error *err)
{
    saving s = {.bank = bank};
    pith__capsule_out_init(&s.out, type, &bank->mem, err);
    const pith_status status = save(&s, path);
    pith__capsule_out_deinit(&s.out);
    return status;
}

/* ---- parsing --------------------------------------------------------------------------------- */

typedef struct parsing {
    pith__capsule_in in;
    pith__bank *bank;
    pith__capsule like; /* what is common to all, its sizes those of the entry at hand */
    size_t count;
    pith__gguf_array slots, bytes, tokens;
    pith__gguf_strings names, hashes, records;
} parsing;

/* An array with an element for every entry; the first one tells how many. */
static pith_status read_array(parsing *p, const char *key, pith__gguf_value_type type,
                              pith__gguf_array *out)
{
    PITH__TRY(pith__gguf_get_array(&p->in.gguf, key, type, out, p->in.err));
    p->count = p->count == 0 ? out->count : p->count;
    if (out->count == 0 || out->count != p->count) {
        return pith__fail(p->in.err, PITH_E_CORRUPT,
                          "a bank of %zu entries, but %s has %zu elements", p->count, key,
                          out->count);
    }
    return PITH_OK;
}

static pith_status read_strings(parsing *p, const char *key, pith__gguf_strings *out)
{
    pith__gguf_array array;
    PITH__TRY(read_array(p, key, PITH__GGUF_VALUE_STRING, &array));
    *out = pith__gguf_strings_of(&array);
    return PITH_OK;
}

static pith_status read_keys(parsing *p)
{
    pith__capsule *like = &p->like;
    pith_error *err = p->in.err;
    PITH__TRY(pith__capsule_in_expect(&p->in, "general.architecture", "llama"));
    PITH__TRY(pith__capsule_in_texts(&p->in, like, true));
    PITH__TRY(pith__capsule_check_method(like->method, PITH_E_CORRUPT, err));
    PITH__TRY(pith__gguf_get_u32(&p->in.gguf, SHARED("width"), &like->width, err));
    PITH__TRY(pith__gguf_get_bool(&p->in.gguf, SHARED("bos"), &like->bos, err));
    PITH__TRY(read_strings(p, KEY("names"), &p->names));
    PITH__TRY(read_array(p, KEY("slots"), PITH__GGUF_VALUE_I32, &p->slots));
    PITH__TRY(read_array(p, KEY("source.bytes"), PITH__GGUF_VALUE_U64, &p->bytes));
    PITH__TRY(read_array(p, KEY("source.tokens"), PITH__GGUF_VALUE_U64, &p->tokens));
    PITH__TRY(read_strings(p, KEY("source.sha256"), &p->hashes));
    return read_strings(p, KEY("records"), &p->records);
}

/* The type is that of the first entry; there are as many tensors as entries want. */
static pith_status check_tensors(parsing *p)
{
    PITH__TRY(pith__capsule_in_type(&p->in, "entry.0.", &p->like));
    PITH__TRY(pith__capsule_in_check_end(&p->in));
    const size_t each = p->like.type == PITH__CAPSULE_INT8 ? 2 : 1;
    const size_t tensors = p->in.gguf.n_tensors - 1;
    if (tensors % each != 0 || tensors / each != p->count) {
        return pith__fail(p->in.err, PITH_E_CORRUPT,
                          "a bank of %zu entries does not have %zu tensors", p->count,
                          p->in.gguf.n_tensors);
    }
    return PITH_OK;
}

/* `capsule` has the right sizes and nothing else yet. */
static pith_status fill(parsing *p, const char *prefix, size_t index, pith__capsule *capsule)
{
    pith_error *err = p->in.err;
    pith__gguf_string hash;
    pith__gguf_string record;
    (void)pith__gguf_strings_next(&p->hashes, &hash); /* there are as many as entries */
    (void)pith__gguf_strings_next(&p->records, &record);
    capsule->type = p->like.type;
    capsule->bos = p->like.bos;
    capsule->binding = p->like.binding;
    capsule->source_bytes = pith__gguf_array_scalar(&p->bytes, index).value.u;
    capsule->source_tokens = pith__gguf_array_scalar(&p->tokens, index).value.u;
    PITH__TRY(pith__capsule_in_copy(&p->in, KEY("source.sha256"), hash, capsule->source_sha256,
                                    sizeof capsule->source_sha256));
    PITH__TRY(pith__capsule_set_record(capsule, record.data, record.size, err));
    PITH__TRY(pith__capsule_validate(capsule, PITH_E_CORRUPT, err));
    return pith__capsule_in_numbers(&p->in, prefix, capsule);
}

/* Memory is taken once the tensors are known to be there. */
static pith_status read_capsule(parsing *p, size_t index, pith__capsule **out)
{
    pith__capsule *like = &p->like;
    pith_error *err = p->in.err;
    char prefix[PREFIX];
    const int32_t slots = pith__gguf_array_i32(&p->slots, index);
    prefix_of(index, prefix);
    like->slots = slots < 0 ? 0 : (uint32_t)slots;
    PITH__TRY(
        pith__capsule_check_sizes(like->kind, like->slots, 0, like->width, PITH_E_CORRUPT, err));
    PITH__TRY(pith__capsule_in_check(&p->in, prefix, like));
    PITH__TRY(pith__capsule_new(like->kind, like->method, like->slots, 0, like->width,
                                &p->bank->mem, out, err));
    return fill(p, prefix, index, *out);
}

static pith_status read_entry(parsing *p, size_t index)
{
    pith__capsule *capsule = NULL;
    pith__gguf_string name;
    (void)pith__gguf_strings_next(&p->names, &name);
    pith_status status = pith__bank_check_name(name.data, name.size, PITH_E_CORRUPT, p->in.err);
    if (status == PITH_OK) {
        status = read_capsule(p, index, &capsule);
    }
    if (status == PITH_OK) {
        status = pith__bank_append(p->bank, name.data, name.size, capsule, p->in.err);
    }
    if (status != PITH_OK) {
        pith__capsule_free(capsule);
    }
    return status;
}

static int compare_names(const void *a, const void *b)
{
    const char *const *left = a;
    const char *const *right = b;
    return strcmp(*left, *right);
}

/* No two names are equal; found in n log n steps, however many there are. */
static pith_status check_names(const pith__bank *bank, pith_error *err)
{
    const char **names = NULL;
    pith_status status = pith__alloc(&bank->mem, bank->count, sizeof *names, (void *)&names, err);
    for (size_t i = 0; status == PITH_OK && i < bank->count; i++) {
        names[i] = bank->items[i].name;
    }
    if (status == PITH_OK) {
        qsort((void *)names, bank->count, sizeof *names, compare_names);
    }
    for (size_t i = 1; status == PITH_OK && i < bank->count; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            status = pith__fail(err, PITH_E_CORRUPT, "two entries have the name '%s'", names[i]);
        }
    }
    pith__free(&bank->mem, (void *)names, bank->count, sizeof *names);
    return status;
}

static pith_status read_all(parsing *p)
{
    PITH__TRY(pith__capsule_in_open(&p->in, &p->bank->mem, &bank_format));
    PITH__TRY(read_keys(p));
    PITH__TRY(check_tensors(p));
    for (size_t i = 0; i < p->count; i++) {
        PITH__TRY(read_entry(p, i));
    }
    return check_names(p->bank, p->in.err);
}

pith_status pith__bank_parse(const void *data, size_t size, const pith_allocator *mem,
                             pith__bank *out, pith_error *err)
{
    parsing p = {.in = {.data = data, .size = size, .err = err},
                 .bank = out,
                 .like = {.kind = PITH__CAPSULE_EMBEDDINGS}};
    pith__bank_init(out, mem);
    const pith_status status = read_all(&p);
    pith__gguf_deinit(&p.in.gguf);
    if (status != PITH_OK) {
        pith__bank_deinit(out);
    }
    return status;
}
