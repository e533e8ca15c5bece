/*
 * working.c: the text that the token level works on, where its bytes come from, and its tokens.
 */
#include "lingua/lingua_internal.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* Tokens that the release keeps of the beginning of a prefix that is too long. */
#define PREFIX_HEAD 100

/* Characters of the first context by which the release looks for the end of the prefix. */
#define LOOKAHEAD 100

#define JOINER "\n\n"

/* ---- the text ------------------------------------------------------------------------------------ */

pith_status pith__working_init(pith__working *working, size_t size, size_t stretches,
                               pith__arena *arena, pith_error *err)
{
    *working = (pith__working){0};
    PITH__TRY(pith__arena_alloc(arena, size, 1, &working->text, err));
    return pith__arena_alloc(arena, stretches, sizeof *working->stretches, &working->stretches,
                             err);
}

static bool continues(const pith__stretch *last, const pith__stretch *next)
{
    return last->part == next->part && last->part != PITH__LINGUA_NOWHERE &&
           last->start + last->size == next->start && last->compress == next->compress &&
           (last->rate == next->rate || (isnan(last->rate) && isnan(next->rate)));
}

void pith__working_add(pith__working *working, const char *bytes, size_t size,
                       pith__stretch stretch)
{
    if (size == 0) {
        return;
    }
    memcpy(working->text + working->size, bytes, size);
    stretch.at = working->size;
    stretch.size = size;
    working->size += size;
    pith__stretch *last = &working->stretches[working->stretch_count];
    if (working->stretch_count > 0 && continues(last - 1, &stretch)) {
        last[-1].size += size;
    } else {
        *last = stretch;
        working->stretch_count++;
    }
}

/* ---- the prefix ---------------------------------------------------------------------------------- */

static pith_status append(pith__buf *buf, const pith__lingua_text *text, pith_error *err)
{
    return text->size == 0 ? PITH_OK : pith__buf_append(buf, text->text, text->size, err);
}

/* Appends what a tokenizer's decoder makes of bytes that may end inside a character. */
static pith_status append_decoded(pith__buf *buf, const char *bytes, size_t size, pith_error *err)
{
    for (size_t at = 0; at < size;) {
        bool broken = false;
        const size_t length = pith__lingua_decode(bytes, size, at, &broken);
        if (broken) {
            PITH__TRY(pith__buf_append_text(buf, "\xEF\xBF\xBD", err));
        } else {
            PITH__TRY(pith__buf_append(buf, bytes + at, length, err));
        }
        at += length;
    }
    return PITH_OK;
}

/* Leaves out the middle of the prefix as the release does; its numbers. */
static pith_status shorten(const pith__lm *lm, size_t window, pith__arena *arena, pith__buf *prefix,
                           pith_error *err)
{
    pith__lm_tokens tokens = {0};
    PITH__TRY(lm->tokenize(lm->user, prefix->data, prefix->size, arena, &tokens, err));
    const int64_t from =
        (int64_t)tokens.count - (int64_t)lm->context + 2 + PREFIX_HEAD + 2 * (int64_t)window;
    const size_t head = tokens.count < PREFIX_HEAD ? tokens.count : PREFIX_HEAD;
    const size_t tail = pith__slice_bound(from, tokens.count);
    const pith_allocator mem = pith__arena_allocator(arena);
    pith__buf bytes;
    pith__buf_init(&bytes, &mem, SIZE_MAX);
    if (head > 0) {
        PITH__TRY(pith__buf_append(&bytes, prefix->data, tokens.items[head - 1].end, err));
    }
    if (tail < tokens.count) {
        const size_t start = tokens.items[tail].start;
        PITH__TRY(pith__buf_append(&bytes, prefix->data + start, prefix->size - start, err));
    }
    pith__buf_init(prefix, &mem, SIZE_MAX);
    return append_decoded(prefix, bytes.data, bytes.size, err);
}

pith_status pith__working_prefix(const pith__lm *lm, const pith__lingua_options *options,
                                 const pith__lingua_prompt *prompt, pith__arena *arena,
                                 pith__lingua_text *out, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(arena);
    pith__buf prefix;
    pith__buf_init(&prefix, &mem, SIZE_MAX);
    PITH__TRY(append(&prefix, &prompt->question, err));
    if (options->add_instruction) {
        PITH__TRY(pith__buf_append_text(&prefix, JOINER, err));
        PITH__TRY(append(&prefix, &prompt->instruction, err));
    }
    const size_t bare = prefix.size;
    PITH__TRY(pith__buf_append_text(&prefix, JOINER, err));
    size_t tokens = 0;
    PITH__TRY(pith__lingua_length(lm, &(pith__lingua_text){prefix.data, prefix.size}, arena,
                                  &tokens, err));
    tokens += pith__lingua_specials(lm);
    const size_t window = options->iterative_size;
    if (window > lm->context || tokens + 2 * window > lm->context) {
        const size_t most = lm->context; /* a window beyond that fails later: keep sums small */
        prefix.size = bare;
        PITH__TRY(shorten(lm, window < most ? window : most, arena, &prefix, err));
        PITH__TRY(pith__buf_append_text(&prefix, JOINER, err));
    }
    *out = (pith__lingua_text){prefix.data, prefix.size};
    return PITH_OK;
}

/* ---- tokens -------------------------------------------------------------------------------------- */

static pith_status make_tokens(pith__working *working, size_t count, pith__arena *arena,
                               pith_error *err)
{
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *working->ids, &working->ids, err));
    return pith__arena_alloc(arena, count, sizeof *working->spans, &working->spans, err);
}

/* Tokens of the text that begins at byte `at` of the working text. */
static void add_tokens(pith__working *working, const pith__lm_tokens *tokens, size_t at)
{
    for (size_t i = 0; i < tokens->count; i++) {
        working->ids[working->count] = tokens->items[i].id;
        working->spans[working->count++] =
            (pith__span){at + tokens->items[i].start, at + tokens->items[i].end, PITH__SPAN_WORD};
    }
}

/* The bytes of the first LOOKAHEAD characters of the first context. */
static size_t lookahead_size(const pith__working *working)
{
    size_t end = working->prefix;
    for (size_t s = 0; s < working->stretch_count; s++) {
        const pith__stretch *stretch = &working->stretches[s];
        if (stretch->at == end && stretch->part != PITH__LINGUA_NOWHERE) {
            end += stretch->size;
        }
    }
    const char *context = working->text + working->prefix;
    const size_t size = end - working->prefix;
    size_t at = 0;
    for (size_t n = 0; n < LOOKAHEAD && at < size; n++) {
        uint32_t code_point = 0;
        at += pith__utf8_decode(context, size, at, &code_point);
    }
    return at;
}

/*
 * How many tokens the prefix takes where text follows: the first number, from three less than its
 * own on, after which the tokens spell just the prefix; or the last one tried.
 */
static pith_status find_start(const pith__lm *lm, pith__working *working, pith__arena *arena,
                              pith_error *err)
{
    const pith__lingua_text prefix = {working->text, working->prefix};
    size_t alone = 0;
    PITH__TRY(pith__lingua_length(lm, &prefix, arena, &alone, err));
    pith__lm_tokens tokens = {0};
    PITH__TRY(lm->tokenize(lm->user, working->text, working->prefix + lookahead_size(working),
                           arena, &tokens, err));
    size_t start = alone > 4 ? alone - 3 : 1;
    while (start + 1 < tokens.count && tokens.items[start - 1].end != working->prefix) {
        start++;
    }
    working->start = start < working->count ? start : working->count;
    return PITH_OK;
}

static pith_status tokenize_as_one(const pith__lm *lm, pith__working *working, pith__arena *arena,
                                   pith_error *err)
{
    pith__lm_tokens tokens = {0};
    PITH__TRY(lm->tokenize(lm->user, working->text, working->size, arena, &tokens, err));
    PITH__TRY(make_tokens(working, tokens.count, arena, err));
    add_tokens(working, &tokens, 0);
    return working->prefix == 0 ? PITH_OK : find_start(lm, working, arena, err);
}

/* The byte after the stretches from `first` on that belong to one part; *next: the one after. */
static size_t part_end(const pith__working *working, size_t first, size_t *next)
{
    size_t last = first + 1;
    while (last < working->stretch_count &&
           working->stretches[last].part == working->stretches[first].part) {
        last++;
    }
    *next = last;
    return last < working->stretch_count ? working->stretches[last].at : working->size;
}

static pith_status tokenize_by_part(const pith__lm *lm, pith__working *working, pith__arena *arena,
                                    pith_error *err)
{
    pith__lm_tokens *parts = NULL;
    PITH__TRY(pith__arena_alloc(arena, working->stretch_count, sizeof *parts, &parts, err));
    working->bos = lm->bos != PITH__LM_NONE;
    size_t count = working->bos ? 1 : 0;
    for (size_t s = 0, next = 0; s < working->stretch_count; s = next) {
        const size_t at = working->stretches[s].at;
        const size_t end = part_end(working, s, &next);
        PITH__TRY(lm->tokenize(lm->user, working->text + at, end - at, arena, &parts[s], err));
        count += parts[s].count;
    }
    PITH__TRY(make_tokens(working, count, arena, err));
    if (working->bos) {
        working->ids[0] = lm->bos;
        working->spans[0] = (pith__span){0, 0, PITH__SPAN_WORD};
        working->count = 1;
    }
    working->start = working->count;
    for (size_t s = 0, next = 0; s < working->stretch_count; s = next) {
        const size_t end = part_end(working, s, &next);
        add_tokens(working, &parts[s], working->stretches[s].at);
        if (end <= working->prefix) {
            working->start = working->count;
        }
    }
    assert(working->count == count);
    return PITH_OK;
}

pith_status pith__working_tokenize(const pith__lm *lm, const pith__lingua_rules *rules,
                                   pith__working *working, pith__arena *arena, pith_error *err)
{
    return rules->joiners_are_text ? tokenize_as_one(lm, working, arena, err)
                                   : tokenize_by_part(lm, working, arena, err);
}
