/*
 * source.h: what files of documents and files of pairs share.
 */
#ifndef PITH_SOURCE_H
#define PITH_SOURCE_H

#include "base/base.h"

/* Decides what is held out; see source.c for the definition. */
uint64_t pith__document_hash(const unsigned char *data, size_t size);

/* "folder/wiki.en.txt" is "wiki.en"; a name that is too long loses its end. */
void pith__source_name(const char *path, char *name, size_t size);

#endif /* PITH_SOURCE_H */
