/*
 * fuzz_bank_read.c: any bytes as a bank. What loads holds capsules that go together, each entry finds
 * itself, and nothing may take more memory than a small multiple of the file.
 */
#include "limited.h"

#include "soft/soft.h"

#include <math.h>

/* The best entry for an entry's capsule has at least its own score; both are numbers or overflow. */
static void look_up(const pith__bank *bank, size_t index)
{
    const pith__capsule *query = bank->items[index].capsule;
    size_t order = 0;
    size_t found = 0;
    double score = 0.0;
    double own = 0.0;
    for (uint32_t i = 0; i < query->width; i++) {
        own += (double)query->embeddings[i] * (double)query->embeddings[i];
    }
    FUZZ_CHECK(pith__bank_find(bank, query, 1, &order, &score, &found, NULL) == PITH_OK);
    FUZZ_CHECK(found == 1 && order < bank->count);
    FUZZ_CHECK(score >= own * (1.0 - 1e-9) || !isfinite(own));
}

static void check(const pith__bank *bank)
{
    FUZZ_CHECK(bank->count > 0);
    for (size_t i = 0; i < bank->count; i++) {
        const pith__bank_entry *entry = &bank->items[i];
        FUZZ_CHECK(entry->name[0] != '\0');
        FUZZ_CHECK(entry->capsule->kind == PITH__CAPSULE_EMBEDDINGS && entry->capsule->slots > 0);
        look_up(bank, i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) /* NOLINT(*-identifier-naming) */
{
    limited memory = {.limit = 16 * size + 65536};
    const pith_allocator mem = {&memory, limited_realloc};
    pith__bank bank = {.count = 0};
    const pith_status status = pith__bank_parse(data, size, &mem, &bank, NULL);
    if (status == PITH_OK) {
        check(&bank);
    } else {
        FUZZ_CHECK(status == PITH_E_CORRUPT || status == PITH_E_UNSUPPORTED);
    }
    pith__bank_deinit(&bank);
    FUZZ_CHECK(memory.live == 0);
    return 0;
}
