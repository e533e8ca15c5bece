/*
 * bank.h: what bank.c and bank_file.c know of a bank beyond soft.h.
 */
#ifndef PITH_BANK_H
#define PITH_BANK_H

#include "soft/capsule.h"

/* Fails with `broken` unless a name of `size` bytes has at least one, and no control characters. */
PITH_NODISCARD pith_status pith__bank_check_name(const char *name, size_t size, pith_status broken,
                                                 pith_error *err);

/* Adds an entry that was checked. The capsule is the bank's unless this fails with E_MEMORY. */
PITH_NODISCARD pith_status pith__bank_append(pith__bank *bank, const char *name, size_t size,
                                             pith__capsule *capsule, pith_error *err);

#endif /* PITH_BANK_H */
