/*
 * inspect_bank.c: a bank of capsules, for people and for programs.
 */
#include "api/inspect.h"

#include <string.h>

/* Entries whose names people are shown; the rest is counted. */
#define SHOWN 20

typedef struct totals {
    uint64_t slots, tokens, bytes;
} totals;

static totals add_up(const pith__bank *bank)
{
    totals sum = {0, 0, 0};
    for (size_t i = 0; i < bank->count; i++) {
        const pith__capsule *c = bank->items[i].capsule;
        sum.slots += c->slots;
        sum.tokens += c->source_tokens;
        sum.bytes += pith__capsule_bytes(c, c->type);
    }
    return sum;
}

static pith_status write_names(const pith__bank *bank, pith__buf *out, pith_error *err)
{
    for (size_t i = 0; i < bank->count && i < SHOWN; i++) {
        const char *name = bank->items[i].name;
        PITH__TRY(pith__buf_printf(out, err, "  %-10s ", i == 0 ? "names" : ""));
        PITH__TRY(pith__inspect_foreign(out, name, strlen(name), err));
        PITH__TRY(pith__buf_append_text(out, "\n", err));
    }
    return bank->count <= SHOWN
               ? PITH_OK
               : pith__buf_printf(out, err, "  %-10s and %zu more\n", "", bank->count - SHOWN);
}

pith_status pith__inspect_bank_text(const pith__bank *bank, pith__buf *out, pith_error *err)
{
    const pith__capsule *first = bank->items[0].capsule;
    const totals sum = add_up(bank);
    PITH__TRY(pith__buf_printf(
        out, err,
        "bank of capsules, method %s: %zu entr%s, %llu slots for %llu tokens, rows of %u, %s, "
        "%llu bytes\n",
        first->method, bank->count, bank->count == 1 ? "y" : "ies", (unsigned long long)sum.slots,
        (unsigned long long)sum.tokens, first->width, pith__inspect_stored_as(first),
        (unsigned long long)sum.bytes));
    PITH__TRY(write_names(bank, out, err));
    PITH__TRY(pith__inspect_hash(out, "model", first->binding.model, err));
    PITH__TRY(pith__inspect_hash(out, "tokenizer", first->binding.tokenizer, err));
    PITH__TRY(pith__inspect_hash(out, "adapter", first->binding.adapter, err));
    return pith__buf_append_text(out, "\n", err);
}

/* All of them; null for what is not UTF-8. */
static json_t *json_of_names(const pith__bank *bank)
{
    json_t *names = json_array();
    for (size_t i = 0; i < bank->count; i++) {
        json_t *name = json_string(bank->items[i].name);
        (void)json_array_append_new(names, name != NULL ? name : json_null());
    }
    return names;
}

json_t *pith__inspect_bank_json(const pith__bank *bank)
{
    const pith__capsule *first = bank->items[0].capsule;
    const totals sum = add_up(bank);
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:I, s:b, s:o, s:o, s:o, s:o}", "method",
                     first->method, "entries", (json_int_t)bank->count, "slots",
                     (json_int_t)sum.slots, "source_tokens", (json_int_t)sum.tokens, "width",
                     (json_int_t)first->width, "type", pith__inspect_stored_as(first), "bytes",
                     (json_int_t)sum.bytes, "bos", (int)first->bos, "model_sha256",
                     pith__inspect_json_hash(first->binding.model), "tokenizer_sha256",
                     pith__inspect_json_hash(first->binding.tokenizer), "adapter_sha256",
                     pith__inspect_json_hash(first->binding.adapter), "names", json_of_names(bank));
}
