/*
 * rank_gzip.c: normalised compression distance: texts that help to compress the query are near it.
 */
#include "lingua/rank_internal.h"

#define ZLIB_CONST /* zlib does not write to its input */
#include <zlib.h>

/* A gzip file around the DEFLATE data, without a name: 10 bytes before, 8 after. */
#define GZIP_SIZE 18

/* Those of Python's gzip.compress(). */
enum { LEVEL = 9, WINDOW_BITS = 15, MEMORY_LEVEL = 8 };

/* Everything zlib is handed at once; it counts in 32 bits. */
#define CHUNK ((size_t)1 << 30)

typedef struct gzip {
    z_stream stream;
    unsigned char sink[4096]; /* only the size of the output counts */
} gzip;

static void *zlib_alloc(void *opaque, unsigned items, unsigned size)
{
    void *ptr = NULL;
    return pith__arena_alloc(opaque, items, size, &ptr, NULL) == PITH_OK ? ptr : NULL;
}

static void zlib_free(void *opaque, void *ptr)
{
    (void)opaque; /* goes with the arena */
    (void)ptr;
}

static pith_status fail_zlib(int code, pith_error *err)
{
    if (code == Z_MEM_ERROR) {
        return pith__fail(err, PITH_E_MEMORY, "out of memory while zlib compressed a text");
    }
    return pith__fail(err, PITH_E_BACKEND, "zlib cannot compress a text: %s", zError(code));
}

/* Compresses the text; the stream ends after it if `flush` is Z_FINISH. */
static pith_status write_text(gzip *z, const pith__lingua_text *text, int flush, size_t *total,
                              pith_error *err)
{
    size_t at = 0;
    int code = Z_OK;
    do {
        const size_t part = text->size - at < CHUNK ? text->size - at : CHUNK;
        z->stream.next_in = (const Bytef *)text->text + at;
        z->stream.avail_in = (uInt)part;
        at += part;
        do {
            z->stream.next_out = z->sink;
            z->stream.avail_out = sizeof z->sink;
            code = deflate(&z->stream, at == text->size ? flush : Z_NO_FLUSH);
            if (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR) {
                return fail_zlib(code, err);
            }
            *total += sizeof z->sink - z->stream.avail_out;
        } while (z->stream.avail_out == 0);
    } while (at < text->size);
    return PITH_OK;
}

/* len(gzip.compress(a concatenation of the texts)). */
static pith_status gzip_size(gzip *z, const pith__lingua_text *texts, size_t count, size_t *size,
                             pith_error *err)
{
    *size = GZIP_SIZE;
    const int code = deflateReset(&z->stream);
    if (code != Z_OK) {
        return fail_zlib(code, err);
    }
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(write_text(z, &texts[i], i + 1 == count ? Z_FINISH : Z_NO_FLUSH, size, err));
    }
    return PITH_OK;
}

static pith_status score_texts(gzip *z, const pith__rank_input *input, double *scores,
                               pith_error *err)
{
    size_t query = 0;
    PITH__TRY(gzip_size(z, input->query, 1, &query, err));
    for (size_t i = 0; i < input->count; i++) {
        const pith__lingua_text both[] = {input->texts[i], {" ", 1}, *input->query};
        size_t text = 0;
        size_t joined = 0;
        PITH__TRY(gzip_size(z, both, 1, &text, err));
        PITH__TRY(gzip_size(z, both, 3, &joined, err));
        const size_t least = text < query ? text : query;
        const size_t most = text < query ? query : text;
        /* Joined texts seldom, but possibly, take less than one of them. */
        scores[i] = -(((double)joined - (double)least) / (double)most);
    }
    return PITH_OK;
}

pith_status pith__rank_gzip(const pith__rank_input *input, double *scores, pith_error *err)
{
    gzip *z = NULL;
    PITH__TRY(pith__arena_alloc_zero(input->arena, 1, sizeof *z, &z, err));
    z->stream.zalloc = zlib_alloc;
    z->stream.zfree = zlib_free;
    z->stream.opaque = input->arena;
    const int code =
        deflateInit2(&z->stream, LEVEL, Z_DEFLATED, -WINDOW_BITS, MEMORY_LEVEL, Z_DEFAULT_STRATEGY);
    if (code != Z_OK) {
        return fail_zlib(code, err);
    }
    const pith_status status = score_texts(z, input, scores, err);
    (void)deflateEnd(&z->stream);
    return status;
}
