/*
 * rouge.c: ROUGE-N, ROUGE-L and ROUGE-Lsum (Lin 2004), as Google's rouge_score computes them.
 */
#include "metric/metric_internal.h"

#include "text/text.h"

#include <string.h>

/* ---- words ------------------------------------------------------------------------------------- */

static bool is_word_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* The word at `at`, or an empty one behind the last. *line: of the text, goes on. */
static pith__metric_word next_word(const char *text, size_t size, size_t at, size_t *line)
{
    while (at < size && !is_word_byte(text[at])) {
        *line += text[at++] == '\n';
    }
    size_t end = at;
    while (end < size && is_word_byte(text[end])) {
        end++;
    }
    return (pith__metric_word){.text = text + at, .size = end - at, .line = *line};
}

static pith_status stem_word(const pith__stemmer *stemmer, pith__arena *arena,
                             pith__metric_word *word, pith_error *err)
{
    char stem[PITH__STEM_SIZE];
    size_t size = 0;
    if (word->size <= 3 || word->size > PITH__STEM_SIZE) {
        return PITH_OK;
    }
    PITH__TRY(pith__stem(stemmer, word->text, word->size, stem, &size, err));
    char *copy = NULL;
    PITH__TRY(pith__arena_alloc(arena, size, 1, &copy, err));
    memcpy(copy, stem, size);
    word->text = copy;
    word->size = size;
    return PITH_OK;
}

/* A word has a byte behind it that is in none, so there are at most (size + 1) / 2. */
static pith_status split(const char *text, size_t size, const pith__stemmer *stemmer,
                         pith__arena *arena, pith__metric_words *out, pith_error *err)
{
    PITH__TRY(pith__arena_alloc(arena, size / 2 + 1, sizeof *out->items, &out->items, err));
    size_t line = 0;
    out->count = 0;
    pith__metric_word word = next_word(text, size, 0, &line);
    while (word.size > 0) {
        const size_t end = (size_t)(word.text - text) + word.size;
        if (stemmer->porter != NULL) {
            PITH__TRY(stem_word(stemmer, arena, &word, err));
        }
        out->items[out->count++] = word;
        word = next_word(text, size, end, &line);
    }
    return PITH_OK;
}

static pith_status lower_and_split(const char *text, size_t size, const pith__stemmer *stemmer,
                                   pith__arena *arena, pith__metric_words *out, pith_error *err)
{
    pith__buf lower;
    const pith_allocator mem = pith__arena_allocator(arena);
    pith__buf_init(&lower, &mem, SIZE_MAX);
    PITH__TRY(pith__text_lower(text, size, &lower, err));
    return split(lower.data, lower.size, stemmer, arena, out, err);
}

/* ---- the longest common subsequence --------------------------------------------------------------- */

/* A line of a text, or all of it. */
typedef struct stretch {
    const uint32_t *ids;
    size_t count;
} stretch;

/*
 * Sets in_lcs[i] for the words of the reference that are in one longest common subsequence. Where
 * there are several, the one that rouge_score takes: going back from the ends, a word of the
 * candidate is left out only where this is longer than leaving out one of the reference.
 */
static pith_status mark_lcs(stretch reference, stretch candidate, pith__arena *arena, bool *in_lcs,
                            pith_error *err)
{
    const size_t columns = candidate.count + 1;
    uint32_t *lengths = NULL; /* (columns) of the row above, and to the left of where we are */
    uint8_t *skips = NULL;    /* (rows, columns) bits: leave out the candidate's word */
    size_t cells = 0;
    if (__builtin_mul_overflow(reference.count + 1, columns, &cells)) {
        return pith__fail(err, PITH_E_MEMORY, "out of memory: a table of %zu by %zu words",
                          reference.count, candidate.count);
    }
    PITH__TRY(pith__arena_alloc_zero(arena, columns, sizeof *lengths, &lengths, err));
    PITH__TRY(pith__arena_alloc_zero(arena, cells / 8 + 1, 1, &skips, err));
    for (size_t i = 1; i <= reference.count; i++) {
        uint32_t diagonal = 0;
        for (size_t j = 1; j < columns; j++) {
            const uint32_t above = lengths[j];
            const uint32_t left = lengths[j - 1];
            const size_t cell = i * columns + j;
            skips[cell / 8] |= (uint8_t)((left > above) << cell % 8);
            lengths[j] = reference.ids[i - 1] == candidate.ids[j - 1] ? diagonal + 1
                         : left > above                               ? left
                                                                      : above;
            diagonal = above;
        }
    }
    for (size_t i = reference.count, j = candidate.count; i > 0 && j > 0;) {
        const size_t cell = i * columns + j;
        const bool is_same = reference.ids[i - 1] == candidate.ids[j - 1];
        const bool skip = (skips[cell / 8] >> cell % 8 & 1) != 0;
        in_lcs[i - 1] = in_lcs[i - 1] || is_same;
        i -= is_same || !skip;
        j -= is_same || skip;
    }
    return PITH_OK;
}

static pith_status longest_common(const pith__metric_ids *ids, pith__arena *arena, size_t *common,
                                  pith_error *err)
{
    bool *in_lcs = NULL;
    PITH__TRY(pith__arena_alloc_zero(arena, ids->reference_count, sizeof *in_lcs, &in_lcs, err));
    const stretch reference = {ids->reference, ids->reference_count};
    const stretch candidate = {ids->candidate, ids->candidate_count};
    PITH__TRY(mark_lcs(reference, candidate, arena, in_lcs, err));
    *common = 0;
    for (size_t i = 0; i < ids->reference_count; i++) {
        *common += in_lcs[i];
    }
    return PITH_OK;
}

/* ---- lines ------------------------------------------------------------------------------------- */

/* The end of the line that begins with word `start`. */
static size_t line_end(const pith__metric_words *words, size_t start)
{
    size_t end = start;
    while (end < words->count && words->items[end].line == words->items[start].line) {
        end++;
    }
    return end;
}

/* in_lcs (reference_count): words that are common to their line and any of the candidate's. */
static pith_status mark_lines(const pith__metric_words *candidate,
                              const pith__metric_words *reference, const pith__metric_ids *ids,
                              pith__arena *arena, bool *in_lcs, pith_error *err)
{
    for (size_t start = 0; start < reference->count;) {
        const size_t end = line_end(reference, start);
        const stretch line = {ids->reference + start, end - start};
        for (size_t from = 0; from < candidate->count;) {
            const size_t to = line_end(candidate, from);
            const stretch other = {ids->candidate + from, to - from};
            const pith__arena_mark mark = pith__arena_save(arena);
            PITH__TRY(mark_lcs(line, other, arena, in_lcs + start, err));
            pith__arena_restore(arena, mark);
            from = to;
        }
        start = end;
    }
    return PITH_OK;
}

/* Words that are marked count as often as the candidate has them. */
static pith_status common_in_lines(const pith__metric_words *candidate,
                                   const pith__metric_words *reference, const pith__metric_ids *ids,
                                   pith__arena *arena, size_t *common, pith_error *err)
{
    bool *in_lcs = NULL;
    pith__metric_ids marked = *ids;
    PITH__TRY(pith__arena_alloc_zero(arena, ids->reference_count, sizeof *in_lcs, &in_lcs, err));
    PITH__TRY(mark_lines(candidate, reference, ids, arena, in_lcs, err));
    PITH__TRY(pith__arena_alloc(arena, ids->reference_count, sizeof *marked.reference,
                                &marked.reference, err));
    marked.reference_count = 0;
    for (size_t i = 0; i < ids->reference_count; i++) {
        if (in_lcs[i]) {
            marked.reference[marked.reference_count++] = ids->reference[i];
        }
    }
    return pith__metric_common(&marked, arena, common, err);
}

/* ---- the three ------------------------------------------------------------------------------------- */

typedef enum rouge_kind { ROUGE_N, ROUGE_L, ROUGE_LSUM } rouge_kind;

static pith_status rouge_in(const pith__text_pair *pair, rouge_kind kind, size_t n,
                            const pith__stemmer *stemmer, pith__arena *arena, pith__rouge *out,
                            pith_error *err)
{
    pith__metric_words candidate;
    pith__metric_words reference;
    pith__metric_ids ids;
    size_t common = 0;
    PITH__TRY(
        lower_and_split(pair->candidate, pair->candidate_size, stemmer, arena, &candidate, err));
    PITH__TRY(
        lower_and_split(pair->reference, pair->reference_size, stemmer, arena, &reference, err));
    PITH__TRY(pith__metric_number(&candidate, &reference, arena, &ids, err));
    if (kind == ROUGE_N) {
        const pith__metric_ids words = ids;
        PITH__TRY(pith__metric_number_grams(&words, n, arena, &ids, err));
        PITH__TRY(pith__metric_common(&ids, arena, &common, err));
    } else if (kind == ROUGE_L) {
        PITH__TRY(longest_common(&ids, arena, &common, err));
    } else {
        PITH__TRY(common_in_lines(&candidate, &reference, &ids, arena, &common, err));
    }
    *out = pith__metric_shares(common, ids.candidate_count, ids.reference_count);
    return PITH_OK;
}

static pith_status rouge(const pith__text_pair *pair, rouge_kind kind, size_t n, bool stem,
                         const pith_allocator *mem, pith__rouge *out, pith_error *err)
{
    pith__stemmer stemmer = {NULL};
    *out = (pith__rouge){0};
    if (stem) {
        PITH__TRY(pith__stemmer_open(&stemmer, err));
    }
    pith__arena arena;
    pith__arena_init(&arena, mem);
    const pith_status status = rouge_in(pair, kind, n, &stemmer, &arena, out, err);
    pith__arena_deinit(&arena);
    pith__stemmer_close(&stemmer);
    return status;
}

pith_status pith__rouge_n(const pith__text_pair *pair, unsigned n, bool stem,
                          const pith_allocator *mem, pith__rouge *out, pith_error *err)
{
    if (n == 0) {
        *out = (pith__rouge){0};
        return pith__fail(err, PITH_E_ARGUMENT, "ROUGE of sequences of 0 words");
    }
    return rouge(pair, ROUGE_N, n, stem, mem, out, err);
}

pith_status pith__rouge_l(const pith__text_pair *pair, bool stem, const pith_allocator *mem,
                          pith__rouge *out, pith_error *err)
{
    return rouge(pair, ROUGE_L, 0, stem, mem, out, err);
}

pith_status pith__rouge_lsum(const pith__text_pair *pair, bool stem, const pith_allocator *mem,
                             pith__rouge *out, pith_error *err)
{
    return rouge(pair, ROUGE_LSUM, 0, stem, mem, out, err);
}
