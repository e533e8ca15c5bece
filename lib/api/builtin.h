/*
 * builtin.h: the model that lies in the library itself (builtin.S).
 */
#ifndef PITH_BUILTIN_H
#define PITH_BUILTIN_H

/* A GGUF file, aligned to 64 bytes, from the first symbol up to the second. */
extern const unsigned char pith__builtin_model[];
extern const unsigned char pith__builtin_model_end[];

#endif /* PITH_BUILTIN_H */
