/*
 * compress.h: what both ways to make a capsule of a text in parts share.
 */
#ifndef PITH_COMPRESS_H
#define PITH_COMPRESS_H

#include "soft/soft.h"

/* Rows per pass, as the reader has it: the activations of a long text take no more than these. */
#define PITH__PIECE_ROWS 512

/* Where part `index` of `parts` nearly equal ones of `count` begins: floor(index count / parts). */
size_t pith__part_start(size_t count, size_t parts, size_t index);

#endif /* PITH_COMPRESS_H */
