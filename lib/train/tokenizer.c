/*
 * tokenizer.c: a vocabulary learned from sources, as the metadata of a GGUF file.
 *
 * What is read when not everything is: each source has a budget of bytes. Every document gets
 * the same share of it, and what short ones leave over goes to the longer ones. A document
 * longer than its share is read in stretches of some kilobytes, spread evenly over it:
 * neither long documents nor the beginnings of documents outweigh the rest.
 */
#include "train/train.h"

#include <math.h>
#include <string.h>

/* Bytes of a stretch; long enough that its two cuts do not count. */
#define STRETCH ((size_t)4096)

/* How far the ends of a stretch are moved, at most, to find a space or a line break. */
#define SEEK ((size_t)256)

/* Multiples of the golden ratio modulo 1 lie evenly in [0, 1), however many there are. */
#define GOLDEN 0.61803398874989485

#define BYTES ((size_t)256)

/* Values of tokenizer.ggml.token_type. */
enum { TYPE_NORMAL = 1, TYPE_CONTROL = 3 };

/* ---- what is read -------------------------------------------------------------- */

typedef struct text_list {
    const pith_allocator *mem;
    pith__token_text *items;
    size_t count, capacity;
} text_list;

static pith_status add_text(text_list *list, const pith__source *source, size_t start, size_t end,
                            pith_error *err)
{
    if (start >= end) {
        return PITH_OK;
    }
    PITH__TRY(pith__grow(list->mem, &list->items, &list->capacity, list->count + 1,
                         sizeof *list->items, err));
    list->items[list->count] =
        (pith__token_text){(const char *)source->file.data + start, end - start};
    list->count++;
    return PITH_OK;
}

static bool is_space(unsigned char byte)
{
    return byte == ' ' || byte == '\n';
}

static bool is_middle(unsigned char byte) /* of a UTF-8 sequence */
{
    return (byte & 0xc0u) == 0x80;
}

/*
 * Makes a stretch begin and end before white space, as most pieces do; where there is none
 * near, as in writing without spaces, between characters.
 */
static void trim(const unsigned char *bytes, size_t *start, size_t *end)
{
    const size_t size = *end - *start;
    const size_t reach = size / 4 < SEEK ? size / 4 : SEEK;
    size_t first = 0;
    while (first < reach && !is_space(bytes[*start + first])) {
        first++;
    }
    size_t last = 0;
    while (last < reach && !is_space(bytes[*end - last])) {
        last++;
    }
    *start += first < reach ? first : 0;
    *end -= last < reach ? last : 0;
    while (*start < *end && is_middle(bytes[*start])) {
        (*start)++;
    }
    while (*start < *end && is_middle(bytes[*end])) {
        (*end)--;
    }
}

/*
 * At most `share` bytes of a longer document. Every document's stretches are moved by another
 * part of the gaps between them: the first bytes of all of them would be titles and licences.
 */
static pith_status add_stretches(text_list *list, const pith__source *source, size_t index,
                                 size_t share, pith_error *err)
{
    const pith__document document = source->training[index];
    const size_t count = (share + STRETCH - 1) / STRETCH;
    const size_t each = share / count;
    const double step = (double)(document.end - document.start) / (double)count;
    const double phase = fmod((double)index * GOLDEN, 1);
    for (size_t i = 0; i < count; i++) {
        const double at = (double)i * step + phase * (step - (double)each);
        size_t start = document.start + (size_t)at;
        size_t end = start + each;
        if (end >= document.end) { /* by a rounding */
            end = document.end - 1;
        }
        trim(source->file.data, &start, &end);
        PITH__TRY(add_text(list, source, start, end, err));
    }
    return PITH_OK;
}

/* The largest share with which the documents together have at most `budget` bytes. */
static size_t find_share(const pith__source *source, uint64_t budget)
{
    size_t low = 0;
    size_t high = source->file.size;
    while (low < high) {
        const size_t share = high - (high - low) / 2;
        uint64_t sum = 0;
        for (size_t i = 0; i < source->n_training && sum <= budget; i++) {
            const size_t size = source->training[i].end - source->training[i].start;
            sum += size < share ? size : share;
        }
        if (sum <= budget) {
            low = share;
        } else {
            high = share - 1;
        }
    }
    return low;
}

static pith_status add_source(text_list *list, const pith__source *source, uint64_t budget,
                              pith_error *err)
{
    const size_t share = find_share(source, budget);
    for (size_t i = 0; i < source->n_training; i++) {
        const pith__document document = source->training[i];
        if (document.end - document.start <= share) {
            PITH__TRY(add_text(list, source, document.start, document.end, err));
        } else if (share > 0) {
            PITH__TRY(add_stretches(list, source, i, share, err));
        }
    }
    return PITH_OK;
}

static pith_status add_sources(text_list *list, const pith__source *sources, size_t n_sources,
                               uint64_t max_bytes, pith_error *err)
{
    double total = 0;
    for (size_t i = 0; i < n_sources; i++) {
        if (!(sources[i].weight > 0) || !isfinite(sources[i].weight)) {
            return pith__fail(err, PITH_E_ARGUMENT, "weight of \"%s\" is not positive",
                              sources[i].name);
        }
        total += sources[i].weight;
    }
    for (size_t i = 0; i < n_sources; i++) {
        const double budget = (double)max_bytes * (sources[i].weight / total);
        const bool all = max_bytes == 0 || budget >= 0x1p63;
        PITH__TRY(add_source(list, &sources[i], all ? UINT64_MAX : (uint64_t)budget, err));
    }
    return PITH_OK;
}

/* ---- what is written ------------------------------------------------------------- */

/* Spelled entries, and the arrays that go into the file. */
typedef struct entries {
    pith__arena arena; /* everything below */
    pith__gguf_string *tokens;
    int32_t *types;
    size_t n_tokens;
    pith__gguf_string *merges;
    size_t n_merges;
} entries;

static pith_status spell_symbol(entries *e, pith__token_text symbol, pith__gguf_string *out,
                                pith_error *err)
{
    char *text = NULL;
    PITH__TRY(pith__arena_alloc(&e->arena, symbol.size, 2, &text, err));
    *out = (pith__gguf_string){text, pith__token_spell(symbol.data, symbol.size, text)};
    return PITH_OK;
}

/* Tokens of other tools are found by their spelling: there must not be two with the same one. */
static pith_status check_specials(const entries *e, size_t n_specials, pith_error *err)
{
    for (size_t i = 0; i < n_specials; i++) {
        for (size_t k = i + 1; k < e->n_tokens; k++) {
            if (pith__gguf_string_compare(e->tokens[i], e->tokens[k]) == 0) {
                char shown[64];
                return pith__fail(err, PITH_E_ARGUMENT, "special token \"%s\" is token %zu too",
                                  pith__gguf_printable(e->tokens[i], shown, sizeof shown), k);
            }
        }
    }
    return PITH_OK;
}

static pith_status make_tokens(entries *e, const pith__bpe_settings *settings,
                               const pith__bpe_vocab *vocab, pith_error *err)
{
    const size_t n_specials = settings->n_specials;
    e->n_tokens = n_specials + vocab->n_symbols;
    PITH__TRY(pith__arena_alloc(&e->arena, e->n_tokens, sizeof *e->tokens, &e->tokens, err));
    PITH__TRY(pith__arena_alloc(&e->arena, e->n_tokens, sizeof *e->types, &e->types, err));
    for (size_t i = 0; i < n_specials; i++) {
        const char *text = settings->specials[i];
        e->tokens[i] = (pith__gguf_string){text, strlen(text)};
        e->types[i] = TYPE_CONTROL;
    }
    for (size_t i = 0; i < vocab->n_symbols; i++) {
        const size_t id = n_specials + i;
        PITH__TRY(spell_symbol(e, vocab->symbols[i], &e->tokens[id], err));
        e->types[id] = TYPE_NORMAL;
    }
    return check_specials(e, n_specials, err);
}

/* "left right", as other tools have it. */
static pith_status make_merges(entries *e, size_t n_specials, const pith__bpe_vocab *vocab,
                               pith_error *err)
{
    e->n_merges = vocab->n_rules;
    PITH__TRY(pith__arena_alloc(&e->arena, e->n_merges, sizeof *e->merges, &e->merges, err));
    for (size_t i = 0; i < vocab->n_rules; i++) {
        const pith__gguf_string left = e->tokens[n_specials + vocab->rules[i].left];
        const pith__gguf_string right = e->tokens[n_specials + vocab->rules[i].right];
        char *text = NULL;
        const size_t size = left.size + 1 + right.size;
        PITH__TRY(pith__arena_alloc(&e->arena, size, 1, &text, err));
        memcpy(text, left.data, left.size);
        text[left.size] = ' ';
        memcpy(text + left.size + 1, right.data, right.size);
        e->merges[i] = (pith__gguf_string){text, size};
    }
    return PITH_OK;
}

static pith_status write_entries(const entries *e, const char *pre, pith__gguf_writer *writer,
                                 pith_error *err)
{
    PITH__TRY(
        pith__gguf_writer_add_string(writer, "tokenizer.ggml.model", "gpt2", strlen("gpt2"), err));
    PITH__TRY(pith__gguf_writer_add_string(writer, "tokenizer.ggml.pre", pre, strlen(pre), err));
    PITH__TRY(pith__gguf_writer_add_strings(writer, "tokenizer.ggml.tokens", e->tokens, e->n_tokens,
                                            err));
    PITH__TRY(pith__gguf_writer_add_i32s(writer, "tokenizer.ggml.token_type", e->types, e->n_tokens,
                                         err));
    PITH__TRY(pith__gguf_writer_add_strings(writer, "tokenizer.ggml.merges", e->merges, e->n_merges,
                                            err));
    PITH__TRY(pith__gguf_writer_add_u32(writer, "tokenizer.ggml.bos_token_id", 0, err));
    PITH__TRY(pith__gguf_writer_add_u32(writer, "tokenizer.ggml.eos_token_id", 0, err));
    return pith__gguf_writer_add_bool(writer, "tokenizer.ggml.add_bos_token", true, err);
}

static pith_status write_vocab(const pith__bpe_settings *settings, const pith__bpe_vocab *vocab,
                               const pith_allocator *mem, pith__gguf_writer *writer,
                               pith_error *err)
{
    entries e = {.tokens = NULL};
    pith__arena_init(&e.arena, mem);
    pith_status status = make_tokens(&e, settings, vocab, err);
    status = status != PITH_OK ? status : make_merges(&e, settings->n_specials, vocab, err);
    status = status != PITH_OK ? status : write_entries(&e, settings->pre, writer, err);
    pith__arena_deinit(&e.arena);
    return status;
}

/* ---- training ---------------------------------------------------------------------- */

static pith_status check_settings(const pith__bpe_settings *settings, pith_error *err)
{
    if (settings->n_specials < 1) {
        return pith__fail(err, PITH_E_ARGUMENT, "a vocabulary needs a special token");
    }
    for (size_t i = 0; i < settings->n_specials; i++) {
        if (settings->specials[i][0] == '\0') {
            return pith__fail(err, PITH_E_ARGUMENT, "special token %zu is empty", i);
        }
    }
    if (settings->size < BYTES || settings->size - BYTES < settings->n_specials) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "a vocabulary of %u has no room for 256 bytes and %zu special tokens",
                          settings->size, settings->n_specials);
    }
    return PITH_OK;
}

pith_status pith__bpe_train(const pith__source *sources, size_t n_sources,
                            const pith__bpe_settings *settings, const pith_allocator *mem,
                            pith__gguf_writer *writer, pith_error *err)
{
    PITH__TRY(check_settings(settings, err));
    text_list texts = {.mem = mem};
    pith__bpe_vocab vocab;
    pith_status status = add_sources(&texts, sources, n_sources, settings->max_bytes, err);
    if (status == PITH_OK) {
        status = pith__bpe_learn(texts.items, texts.count, settings->pre,
                                 settings->size - settings->n_specials, settings->threads, mem,
                                 &vocab, err);
    }
    pith__free(mem, texts.items, texts.capacity, sizeof *texts.items);
    PITH__TRY(status);
    status = write_vocab(settings, &vocab, mem, writer, err);
    pith__bpe_vocab_deinit(&vocab);
    return status;
}
