/*
 * capsule.h: what the files of this folder know of a capsule beyond soft.h.
 */
#ifndef PITH_CAPSULE_H
#define PITH_CAPSULE_H

#include "soft/soft.h"

/* Fails with `broken` unless a capsule may have these sizes. */
PITH_NODISCARD pith_status pith__capsule_check_sizes(pith__capsule_kind kind, uint32_t slots,
                                                     uint32_t layers, uint32_t width,
                                                     pith_status broken, pith_error *err);

/* Up to PITH__CAPSULE_NAME - 1 printable characters, blanks apart; not empty. */
PITH_NODISCARD pith_status pith__capsule_check_method(const char *method, pith_status broken,
                                                      pith_error *err);

/* Fails with `broken` unless `size` bytes look like a JSON object, without control characters. */
PITH_NODISCARD pith_status pith__capsule_check_record(const char *json, size_t size,
                                                      pith_status broken, pith_error *err);

/*
 * Fails with `broken` unless everything but the numbers is as a file may have it, and with
 * E_UNSUPPORTED for places that cannot be honoured: an unknown mode, or embeddings that do not
 * stand one after the other with the text right behind them.
 */
PITH_NODISCARD pith_status pith__capsule_validate(const pith__capsule *capsule, pith_status broken,
                                                  pith_error *err);

/* Arrays (slots, width) it is made of: one, or keys and values of every layer. */
size_t pith__capsule_parts(const pith__capsule *capsule);

/* Part `index` < parts; of a layer first the keys, then the values. */
float *pith__capsule_part(const pith__capsule *capsule, size_t index);

/*
 * Fails with E_MISMATCH, which says in what they differ, unless both are of one kind, method, position
 * mode, BOS, binding and shape, slots apart (capsule_join.c).
 */
PITH_NODISCARD pith_status pith__capsule_check_alike(const pith__capsule *a, const pith__capsule *b,
                                                     pith_error *err);

/* ---- files: what those of capsules and of banks have in common (capsule_write.c, capsule_read.c) ---- */

/* "entry.18446744073709551615.embeddings.scale", "blk.4294967295.values.scale" */
#define PITH__CAPSULE_PART 64

/* Which kind of file. */
typedef struct pith__capsule_format {
    const char *type; /* general.type */
    const char *noun; /* for messages */
    const char *version_key;
    uint32_t version;
} pith__capsule_format;

extern const pith__capsule_format pith__capsule_format_one; /* of pith__capsule_save() */

/* A text of a capsule, but for its kind and its record. */
#define PITH__CAPSULE_TEXTS 6

typedef struct pith__capsule_text {
    const char *key;
    char *text; /* in the capsule */
    size_t size;
    bool shared; /* all capsules of a bank have the same */
} pith__capsule_text;

void pith__capsule_texts(pith__capsule *capsule, pith__capsule_text fields[PITH__CAPSULE_TEXTS]);

/* `prefix` ("" or "entry.3."), "embeddings", "blk.3.keys" and so on, and `suffix`. */
void pith__capsule_part_name(const pith__capsule *capsule, const char *prefix, size_t index,
                             const char *suffix, char name[PITH__CAPSULE_PART]);

pith__gguf_type pith__capsule_tensor_type(pith__capsule_type type);

/* Numbers from here on become infinite in half precision. */
#define PITH__F16_END 65520.0f

/* Fails with `broken` unless all numbers are finite, and below `end` in size. */
PITH_NODISCARD pith_status pith__capsule_check_numbers(const float *numbers, size_t count,
                                                       float end, const char *name,
                                                       pith_status broken, pith_error *err);

/* ---- a file that is written */

typedef struct pith__capsule_out {
    pith__capsule_type type;
    pith__gguf_writer writer;
    pith__arena arena; /* what the writer borrows, until the file is written */
    pith_error *err;
} pith__capsule_out;

void pith__capsule_out_init(pith__capsule_out *out, pith__capsule_type type,
                            const pith_allocator *mem, pith_error *err);
void pith__capsule_out_deinit(pith__capsule_out *out);

/* The keys that say what the file is. */
PITH_NODISCARD pith_status pith__capsule_out_begin(pith__capsule_out *out,
                                                   const pith__capsule_format *format);

PITH_NODISCARD pith_status pith__capsule_out_text(pith__capsule_out *out, const char *key,
                                                  const char *text);

/* All texts, or the shared ones. */
PITH_NODISCARD pith_status pith__capsule_out_texts(pith__capsule_out *out,
                                                   const pith__capsule *capsule, bool shared);

/* The tensors; the capsule's numbers are borrowed. E_RANGE as in pith__capsule_save(). */
PITH_NODISCARD pith_status pith__capsule_out_numbers(pith__capsule_out *out, const char *prefix,
                                                     const pith__capsule *capsule);

/* Adds the checksum and writes the file. */
PITH_NODISCARD pith_status pith__capsule_out_save(pith__capsule_out *out, const char *path);

/* ---- a file that is read */

typedef struct pith__capsule_in {
    const unsigned char *data;
    size_t size;
    pith__gguf gguf; /* released by the caller, also after a failure */
    pith_error *err;
} pith__capsule_in;

/*
 * The tables, if this is an intact file of a version we know. What is damaged is E_CORRUPT, whatever
 * else it looks like by now.
 */
PITH_NODISCARD pith_status pith__capsule_in_open(pith__capsule_in *in, const pith_allocator *mem,
                                                 const pith__capsule_format *format);

/* All texts, or the shared ones, to the capsule. */
PITH_NODISCARD pith_status pith__capsule_in_texts(const pith__capsule_in *in,
                                                  pith__capsule *capsule, bool shared);

/* Copies a text to `out` of `size` bytes with its NUL. E_CORRUPT: it is longer, or holds one. `key`: for
 * messages. */
PITH_NODISCARD pith_status pith__capsule_in_copy(const pith__capsule_in *in, const char *key,
                                                 pith__gguf_string found, char *out, size_t size);

/* E_UNSUPPORTED unless `key` has the only text that is known. */
PITH_NODISCARD pith_status pith__capsule_in_expect(const pith__capsule_in *in, const char *key,
                                                   const char *expected);

/* capsule->type, told by its first tensor. */
PITH_NODISCARD pith_status pith__capsule_in_type(const pith__capsule_in *in, const char *prefix,
                                                 pith__capsule *capsule);

/* The checksum is there, at the end. */
PITH_NODISCARD pith_status pith__capsule_in_check_end(const pith__capsule_in *in);

/* All tensors of a capsule of these sizes and this type are there: the file bounds its sizes. */
PITH_NODISCARD pith_status pith__capsule_in_check(const pith__capsule_in *in, const char *prefix,
                                                  const pith__capsule *capsule);

/* The numbers of tensors that were checked. */
PITH_NODISCARD pith_status pith__capsule_in_numbers(const pith__capsule_in *in, const char *prefix,
                                                    const pith__capsule *capsule);

#endif /* PITH_CAPSULE_H */
