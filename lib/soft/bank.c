/*
 * bank.c: a memory bank: demonstrations as capsules under names, found by their first memory token
 * (Gao, Cao & Li 2024, the memory demonstration bank).
 */
#include "soft/bank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void pith__bank_init(pith__bank *bank, const pith_allocator *mem)
{
    *bank = (pith__bank){.mem = *mem};
}

void pith__bank_deinit(pith__bank *bank)
{
    for (size_t i = 0; i < bank->count; i++) {
        pith__bank_entry *entry = &bank->items[i];
        pith__free(&bank->mem, entry->name, strlen(entry->name) + 1, 1);
        pith__capsule_free(entry->capsule);
    }
    pith__free(&bank->mem, bank->items, bank->capacity, sizeof bank->items[0]);
    *bank = (pith__bank){.mem = bank->mem};
}

/* ---- adding ---------------------------------------------------------------------------------- */

pith_status pith__bank_check_name(const char *name, size_t size, pith_status broken,
                                  pith_error *err)
{
    bool good = size > 0;
    for (size_t i = 0; i < size; i++) {
        const unsigned char c = (unsigned char)name[i];
        good = good && c >= ' ' && c != 0x7f;
    }
    return good ? PITH_OK
                : pith__fail(err, broken,
                             "the name of an entry is empty or holds control characters");
}

pith_status pith__bank_append(pith__bank *bank, const char *name, size_t size,
                              pith__capsule *capsule, pith_error *err)
{
    char *copy = NULL;
    PITH__TRY(pith__grow(&bank->mem, &bank->items, &bank->capacity, bank->count + 1,
                         sizeof bank->items[0], err));
    PITH__TRY(pith__alloc(&bank->mem, size + 1, 1, &copy, err));
    memcpy(copy, name, size);
    copy[size] = '\0';
    bank->items[bank->count++] = (pith__bank_entry){.name = copy, .capsule = capsule};
    return PITH_OK;
}

static pith_status check_new(const pith__bank *bank, const char *name, const pith__capsule *capsule,
                             pith_error *err)
{
    PITH__TRY(pith__bank_check_name(name, strlen(name), PITH_E_ARGUMENT, err));
    PITH__TRY(pith__capsule_validate(capsule, PITH_E_ARGUMENT, err));
    if (capsule->kind != PITH__CAPSULE_EMBEDDINGS) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "a bank holds capsules of embeddings, not of keys and values");
    }
    for (size_t i = 0; i < bank->count; i++) {
        if (strcmp(bank->items[i].name, name) == 0) {
            return pith__fail(err, PITH_E_ARGUMENT, "the bank has an entry '%s'", name);
        }
    }
    return bank->count == 0 ? PITH_OK
                            : pith__capsule_check_alike(bank->items[0].capsule, capsule, err);
}

pith_status pith__bank_add(pith__bank *bank, const char *name, pith__capsule **capsule,
                           pith_error *err)
{
    pith_status status = check_new(bank, name, *capsule, err);
    if (status == PITH_OK) {
        status = pith__bank_append(bank, name, strlen(name), *capsule, err);
    }
    if (status != PITH_OK) {
        pith__capsule_free(*capsule);
    }
    *capsule = NULL;
    return status;
}

/* ---- finding --------------------------------------------------------------------------------- */

typedef struct ranked {
    double score;
    size_t index;
} ranked;

/* Best first, then as in the bank. No two are equal. */
static int compare(const void *a, const void *b)
{
    const ranked *left = a;
    const ranked *right = b;
    if (left->score != right->score) {
        return left->score > right->score ? -1 : 1;
    }
    return left->index < right->index ? -1 : 1;
}

/* Of the first rows. What is not a number is worse than any. */
static double score_of(const pith__capsule *a, const pith__capsule *b)
{
    double sum = 0.0;
    for (size_t i = 0; i < a->width; i++) {
        sum += (double)a->embeddings[i] * (double)b->embeddings[i];
    }
    return isnan(sum) ? (double)-INFINITY : sum;
}

pith_status pith__bank_find(const pith__bank *bank, const pith__capsule *query, size_t most,
                            size_t *order, double *scores, size_t *found, pith_error *err)
{
    ranked *all = NULL;
    *found = 0;
    if (bank->count == 0) {
        return PITH_OK;
    }
    PITH__TRY(pith__capsule_check_alike(bank->items[0].capsule, query, err));
    PITH__TRY(pith__alloc(&bank->mem, bank->count, sizeof *all, &all, err));
    for (size_t i = 0; i < bank->count; i++) {
        all[i] = (ranked){score_of(bank->items[i].capsule, query), i};
    }
    qsort(all, bank->count, sizeof *all, compare);
    *found = most < bank->count ? most : bank->count;
    for (size_t i = 0; i < *found; i++) {
        order[i] = all[i].index;
        if (scores != NULL) {
            scores[i] = all[i].score;
        }
    }
    pith__free(&bank->mem, all, bank->count, sizeof *all);
    return PITH_OK;
}
