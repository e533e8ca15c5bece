/*
 * source.c: a file of documents and the part of them that is held out.
 */
#include "train/source.h"

#include "base/mix.h"
#include "train/run.h"

#include <string.h>

/*
 * FNV-1a, 64 bits (Fowler, Noll & Vo), of the document's bytes, finished by pith__mix64() because
 * its low bits are poor:
 *
 *     h = 0xcbf29ce484222325
 *     for every byte b: h = ((h xor b) * 0x100000001b3) mod 2^64
 *     h = ((h xor (h >> 30)) * 0xbf58476d1ce4e5b9) mod 2^64
 *     h = ((h xor (h >> 27)) * 0x94d049bb133111eb) mod 2^64
 *     h = h xor (h >> 31)
 *
 * A document is held out if h mod held_out_every is 0.
 */
uint64_t pith__document_hash(const unsigned char *data, size_t size)
{
    return pith__mix64(pith__fingerprint(PITH__FINGERPRINT_START, data, size));
}

/* The bytes of data[start, end) without the line break they end with. */
static size_t without_break(const unsigned char *data, size_t start, size_t end)
{
    if (end > start && data[end - 1] == '\n') {
        end--;
        if (end > start && data[end - 1] == '\r') {
            end--;
        }
    }
    return end;
}

/* Whether the line data[start, end), its line break included, is a separator. */
static bool is_separator(const unsigned char *data, size_t start, size_t end)
{
    const size_t size = without_break(data, start, end) - start;
    return size == sizeof PITH__DOCUMENT_END - 1 &&
           memcmp(data + start, PITH__DOCUMENT_END, size) == 0;
}

/* ---- copies ------------------------------------------------------------------------------ */

/* Documents seen so far, by hash: open addressing, at most half full. */
typedef struct seen {
    uint64_t hash;
    pith__document document; /* start == end: free */
} seen;

typedef struct finder {
    pith__source *source;
    uint32_t held_out_every;
    seen *table;
    size_t capacity; /* a power of two */
    size_t count;
} finder;

/* Where a document is, or would be put. */
static seen *find_seen(const finder *f, uint64_t hash, pith__document document)
{
    const unsigned char *data = f->source->file.data;
    const size_t size = document.end - document.start;
    size_t at = (size_t)hash & (f->capacity - 1);
    for (;; at = (at + 1) & (f->capacity - 1)) {
        seen *entry = &f->table[at];
        const size_t other = entry->document.end - entry->document.start;
        if (other == 0 ||
            (entry->hash == hash && other == size &&
             memcmp(data + entry->document.start, data + document.start, size) == 0)) {
            return entry;
        }
    }
}

static pith_status grow_seen(finder *f, pith_error *err)
{
    finder larger = {.source = f->source, .capacity = f->capacity == 0 ? 1024 : 2 * f->capacity};
    PITH__TRY(pith__alloc_zero(&f->source->mem, larger.capacity, sizeof *larger.table,
                               &larger.table, err));
    for (size_t i = 0; i < f->capacity; i++) {
        if (f->table[i].document.end > f->table[i].document.start) {
            *find_seen(&larger, f->table[i].hash, f->table[i].document) = f->table[i];
        }
    }
    pith__free(&f->source->mem, f->table, f->capacity, sizeof *f->table);
    f->table = larger.table;
    f->capacity = larger.capacity;
    return PITH_OK;
}

/* Whether the same bytes were a document before; if not, they are from now on. */
static pith_status is_copy(finder *f, uint64_t hash, pith__document document, bool *out,
                           pith_error *err)
{
    if (2 * f->count >= f->capacity) {
        PITH__TRY(grow_seen(f, err));
    }
    seen *entry = find_seen(f, hash, document);
    *out = entry->document.end > entry->document.start;
    if (!*out) {
        *entry = (seen){hash, document};
        f->count++;
    }
    return PITH_OK;
}

/* Bytes [start, end) and what follows them are a document and its end. */
static pith_status add_document(finder *f, size_t start, size_t end, pith_error *err)
{
    pith__source *s = f->source;
    const unsigned char *data = s->file.data;
    const pith__document document = {start, without_break(data, start, end)};
    const size_t size = document.end - start;
    if (size == 0) {
        return PITH_OK;
    }
    const uint64_t hash = pith__document_hash(data + start, size);
    bool copy = false;
    PITH__TRY(is_copy(f, hash, document, &copy, err));
    if (copy) {
        return PITH_OK;
    }
    if (f->held_out_every != 0 && hash % f->held_out_every == 0) {
        PITH__TRY(pith__grow(&s->mem, &s->held_out, &s->held_out_capacity, s->n_held_out + 1,
                             sizeof *s->held_out, err));
        s->held_out[s->n_held_out++] = document;
    } else {
        PITH__TRY(pith__grow(&s->mem, &s->training, &s->training_capacity, s->n_training + 1,
                             sizeof *s->training, err));
        s->training[s->n_training++] = document;
    }
    return PITH_OK;
}

/* What stands behind the last separator is a document like the others. */
static pith_status find_documents(finder *f, pith_error *err)
{
    const unsigned char *data = f->source->file.data;
    const size_t size = f->source->file.size;
    size_t start = 0;
    for (size_t line = 0, next = 0; line < size; line = next) {
        const unsigned char *stop = memchr(data + line, '\n', size - line);
        next = stop == NULL ? size : (size_t)(stop - data) + 1;
        if (is_separator(data, line, next)) {
            PITH__TRY(add_document(f, start, line, err));
            start = next;
        }
    }
    return add_document(f, start, size, err);
}

void pith__source_name(const char *path, char *name, size_t size)
{
    const char *slash = strrchr(path, '/');
    const char *base = slash == NULL ? path : slash + 1;
    const char *dot = strrchr(base, '.');
    size_t length = dot == NULL || dot == base ? strlen(base) : (size_t)(dot - base);
    if (length > size - 1) {
        length = size - 1;
        while (length > 0 && ((unsigned char)base[length] & 0xc0) == 0x80) {
            length--; /* not inside a character */
        }
    }
    memcpy(name, base, length);
    name[length] = '\0';
}

static pith_status open_source(pith__source *s, const char *path, uint32_t held_out_every,
                               pith_error *err)
{
    PITH__TRY(pith__file_open(path, &s->file, err));
    finder f = {.source = s, .held_out_every = held_out_every};
    const pith_status status = find_documents(&f, err);
    pith__free(&s->mem, f.table, f.capacity, sizeof *f.table);
    PITH__TRY(status);
    if (s->n_training == 0) {
        return pith__fail(err, PITH_E_CORRUPT, "\"%s\" has no documents to train on (%zu held out)",
                          path, s->n_held_out);
    }
    return PITH_OK;
}

pith_status pith__source_open(const char *path, double weight, uint32_t held_out_every,
                              const pith_allocator *mem, pith__source *out, pith_error *err)
{
    *out = (pith__source){.weight = weight, .mem = *mem};
    pith__source_name(path, out->name, sizeof out->name);
    const pith_status status = open_source(out, path, held_out_every, err);
    if (status != PITH_OK) {
        pith__source_close(out);
    }
    return status;
}

void pith__source_close(pith__source *source)
{
    const pith_allocator mem = source->mem;
    pith__file_close(&source->file);
    pith__free(&mem, source->training, source->training_capacity, sizeof *source->training);
    pith__free(&mem, source->held_out, source->held_out_capacity, sizeof *source->held_out);
    *source = (pith__source){.mem = mem};
}
