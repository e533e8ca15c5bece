/*
 * terms.c: the words of a text in the form in which a search compares them.
 */
#include "text/chars.h"
#include "text/text.h"

#include <unicode/uchar.h>
#include <unicode/utf8.h>

typedef struct term_writer {
    const pith_allocator *mem;
    pith__terms *out;
    uint8_t *bytes; /* of out->text */
    size_t size;
    size_t start; /* of the term that is being written */
} term_writer;

static pith_status end_term(term_writer *writer, pith_error *err)
{
    if (writer->size == writer->start) {
        return PITH_OK;
    }
    const size_t start = writer->start;
    writer->start = writer->size;
    return pith__spans_push(&writer->out->spans, writer->mem, start, writer->size, PITH__SPAN_WORD,
                            err);
}

/* The terms in one word, or in none if it is white space or punctuation. */
static pith_status write_word(term_writer *writer, const char *text, size_t size,
                              const pith__span *word, pith_error *err)
{
    for (size_t at = word->start; at < word->end;) {
        uint32_t code_point = 0;
        at += pith__utf8_decode(text, size, at, &code_point);
        if (pith__char_is_word(code_point)) {
            const uint32_t folded = (uint32_t)u_foldCase((UChar32)code_point, U_FOLD_CASE_DEFAULT);
            U8_APPEND_UNSAFE(writer->bytes, writer->size, folded);
        } else {
            PITH__TRY(end_term(writer, err));
        }
    }
    return end_term(writer, err);
}

static pith_status write_terms(const char *text, size_t size, const pith__spans *words,
                               const pith_allocator *mem, pith__terms *out, pith_error *err)
{
    /* what folds to more bytes goes from two to three */
    if (__builtin_add_overflow(size, size / 2, &out->capacity)) {
        out->capacity = 0;
        return pith__fail(err, PITH_E_MEMORY, "out of memory: terms of %zu bytes", size);
    }
    PITH__TRY(pith__alloc(mem, out->capacity, 1, &out->text, err));
    term_writer writer = {.mem = mem, .out = out, .bytes = (uint8_t *)out->text};
    for (size_t i = 0; i < words->count; i++) {
        PITH__TRY(write_word(&writer, text, size, &words->items[i], err));
    }
    return PITH_OK;
}

pith_status pith__text_terms(const char *text, size_t size, const pith_allocator *mem,
                             pith__terms *out, pith_error *err)
{
    *out = (pith__terms){0};
    pith__spans words;
    PITH__TRY(pith__text_words(text, size, mem, &words, err));
    const pith_status status = write_terms(text, size, &words, mem, out, err);
    pith__spans_deinit(&words, mem);
    if (status != PITH_OK) {
        pith__terms_deinit(out, mem);
    }
    return status;
}

void pith__terms_deinit(pith__terms *terms, const pith_allocator *mem)
{
    pith__free(mem, terms->text, terms->capacity, 1);
    pith__spans_deinit(&terms->spans, mem);
    *terms = (pith__terms){0};
}

unsigned pith__text_shape(const char *text, size_t size, bool skip_first)
{
    unsigned shape = 0;
    bool in_word = false;
    bool first = true;
    for (size_t at = 0; at < size;) {
        uint32_t code_point = 0;
        at += pith__utf8_decode(text, size, at, &code_point);
        const bool is_word = pith__char_is_word(code_point);
        const bool starts = is_word && !in_word;
        shape |= is_word ? PITH__SHAPE_WORD : 0U;
        shape |= pith__char_is_digit(code_point) ? PITH__SHAPE_DIGIT : 0U;
        if (starts && !(first && skip_first) &&
            (u_isupper((UChar32)code_point) || u_istitle((UChar32)code_point))) {
            shape |= PITH__SHAPE_CAPITAL;
        }
        first = first && !starts;
        in_word = is_word;
    }
    return shape;
}
