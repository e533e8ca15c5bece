/*
 * fuzz.h: the function that every fuzz_*.c defines and that libFuzzer or replay.c calls.
 */
#ifndef PITH_FUZZ_H
#define PITH_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Feeds one input to the code under test and returns 0; anything wrong ends the process. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size); /* NOLINT(*-identifier-naming) */

/* States what must hold, in release builds too. */
#define FUZZ_CHECK(condition) \
    do {                      \
        if (!(condition)) {   \
            __builtin_trap(); \
        }                     \
    } while (0)

#endif /* PITH_FUZZ_H */
