/*
 * bank.c: pith_bank: demonstrations as capsules, found by their first memory token.
 */
#include "api/api.h"

#include <jansson.h>
#include <string.h>

struct pith_bank {
    pith_allocator mem;
    pith__bank bank;
};

static const pith_allocator *or_default(const pith_allocator *allocator)
{
    return allocator == NULL ? &pith__allocator_default : allocator;
}

pith_status pith_bank_new(const pith_allocator *allocator, pith_bank **out, pith_error *err)
{
    const pith_allocator mem = *or_default(allocator);
    PITH__TRY(pith__alloc(&mem, 1, sizeof **out, out, err));
    (*out)->mem = mem;
    pith__bank_init(&(*out)->bank, &mem);
    return PITH_OK;
}

void pith_bank_free(pith_bank *bank)
{
    if (bank == NULL) {
        return;
    }
    const pith_allocator mem = bank->mem;
    pith__bank_deinit(&bank->bank);
    pith__free(&mem, bank, 1, sizeof *bank);
}

static pith_status read_file(pith_bank *bank, const char *path, pith_error *err)
{
    pith__file file;
    PITH__TRY(pith__file_open(path, &file, err));
    const pith_status status = pith__bank_parse(file.data, file.size, &bank->mem, &bank->bank, err);
    pith__file_close(&file);
    return status;
}

pith_status pith_bank_open(const char *path, const pith_allocator *allocator, pith_bank **out,
                           pith_error *err)
{
    pith_bank *bank = NULL;
    *out = NULL;
    PITH__TRY(pith_bank_new(allocator, &bank, err));
    const pith_status status = read_file(bank, path, err);
    if (status != PITH_OK) {
        pith_bank_free(bank);
        return status;
    }
    *out = bank;
    return PITH_OK;
}

/* ---- compressors ------------------------------------------------------------------------- */

/* What a capsule's record says of the compressor's file; "" where it says nothing. */
static void compressor_of(const pith__capsule *capsule, char out[PITH__SHA256_SIZE])
{
    json_t *record = json_loadb(capsule->record, capsule->record_size, 0, NULL);
    const char *sha256 = json_string_value(json_object_get(record, "compressor_sha256"));
    out[0] = '\0';
    if (sha256 != NULL && strlen(sha256) == PITH__SHA256_SIZE - 1) {
        memcpy(out, sha256, PITH__SHA256_SIZE);
    }
    json_decref(record);
}

/* Memory tokens of two compressors may be of one model, but what they have in common means nothing. */
static pith_status check_compressor(const pith_bank *bank, const pith__capsule *capsule,
                                    pith_error *err)
{
    char own[PITH__SHA256_SIZE] = "";
    char others[PITH__SHA256_SIZE] = "";
    compressor_of(capsule, own);
    if (bank->bank.count > 0) {
        compressor_of(bank->bank.items[0].capsule, others);
    }
    return own[0] == '\0' || others[0] == '\0' || strcmp(own, others) == 0
               ? PITH_OK
               : pith__fail(err, PITH_E_MISMATCH,
                            "the bank is of the compressor with SHA-256 %s, the capsule of %s",
                            others, own);
}

/* ---- entries ----------------------------------------------------------------------------- */

pith_status pith_bank_add(pith_bank *bank, const char *name, const pith_capsule *capsule,
                          pith_error *err)
{
    pith__capsule *copy = NULL;
    PITH__TRY(check_compressor(bank, capsule->capsule, err));
    PITH__TRY(pith__capsule_copy(capsule->capsule, &bank->mem, &copy, err));
    return pith__bank_add(&bank->bank, name, &copy, err);
}

pith_status pith_bank_save(const pith_bank *bank, pith_capsule_type type, const char *path,
                           pith_error *err)
{
    pith__capsule_type stored = PITH__CAPSULE_F16;
    PITH__TRY(pith__capsule_type_check(type, &stored, err));
    return pith__bank_save(&bank->bank, stored, path, err);
}

size_t pith_bank_count(const pith_bank *bank)
{
    return bank->bank.count;
}

const char *pith_bank_name(const pith_bank *bank, size_t index)
{
    return index < bank->bank.count ? bank->bank.items[index].name : NULL;
}

pith_status pith_bank_capsule(const pith_bank *bank, size_t index, const pith_allocator *allocator,
                              pith_capsule **out, pith_error *err)
{
    pith__capsule *copy = NULL;
    *out = NULL;
    if (index >= bank->bank.count) {
        return pith__fail(err, PITH_E_ARGUMENT, "a bank of %zu entries has none at %zu",
                          bank->bank.count, index);
    }
    PITH__TRY(
        pith__capsule_copy(bank->bank.items[index].capsule, or_default(allocator), &copy, err));
    return pith__capsule_wrap(&copy, out, err);
}

pith_status pith_bank_find(const pith_bank *bank, const pith_capsule *query, size_t most,
                           size_t *order, double *scores, size_t *found, pith_error *err)
{
    PITH__TRY(check_compressor(bank, query->capsule, err));
    return pith__bank_find(&bank->bank, query->capsule, most, order, scores, found, err);
}
