/*
 * token_pattern.c: cuts text into pieces with the vocabularies' regular expressions.
 *
 * The only file that includes PCRE2. Every pattern below matches at least one
 * character wherever it is tried, so matching is anchored: there is nothing to
 * search for, and the pieces follow each other without gaps.
 */
#include "token/token_internal.h"

#include "text/text.h"

#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/*
 * Inside brackets: the characters of Unicode's White_Space property, which the
 * original patterns mean by \s. PCRE2's own \s also holds U+180E.
 */
#define SPACE  \
    "\\t-\\r " \
    "\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"

/* White space up to the last one before a word, or all of it. */
#define SPACES "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"

/* White space that ends in a line break. */
#define BREAKS "[" SPACE "]*[\\r\\n]+"

#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" SPACE "\\p{L}\\p{N}]+|" SPACES

#define LLAMA3                                                          \
    CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^" SPACE \
                "\\p{L}\\p{N}]+[\\r\\n]*|" BREAKS "|" SPACES

#define QWEN2                                                      \
    CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^" SPACE \
                "\\p{L}\\p{N}]+[\\r\\n]*|" BREAKS "|" SPACES

/* Letters that may stand where a capital does, and where a small letter does. */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"

#define O200K                                                                                 \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" CONTRACTION "?|[^\\r\\n\\p{L}\\p{N}]?" UPPER \
    "+" LOWER "*" CONTRACTION "?|\\p{N}{1,3}| ?[^" SPACE "\\p{L}\\p{N}]+[\\r\\n/]*|" BREAKS   \
    "|" SPACES

/* Values of tokenizer.ggml.pre. "default" is what old converters wrote when they did not know. */
static const pith__pattern_info gguf_patterns[] = {
    {"default", GPT2, false, true},    {"gpt-2", GPT2, false, true},
    {"phi-2", GPT2, false, true},      {"olmo", GPT2, false, true},
    {"llama3", LLAMA3, true, true},    {"llama-v3", LLAMA3, true, true},
    {"llama-bpe", LLAMA3, true, true}, {"falcon3", LLAMA3, true, true},
    {"dbrx", LLAMA3, false, true},     {"smaug-bpe", LLAMA3, false, true},
    {"qwen2", QWEN2, false, true},     {"deepseek-r1-qwen", QWEN2, false, true},
    {"stablelm2", QWEN2, false, true}, {"gpt-4o", O200K, false, false},
};

/* Parts of the names of tiktoken files. There, a piece that is a token is never cut. */
static const pith__pattern_info ranks_patterns[] = {
    {"o200k", O200K, true, false}, {"cl100k", LLAMA3, true, true}, {"p50k", GPT2, true, true},
    {"r50k", GPT2, true, true},    {"gpt2", GPT2, true, true},     {"gpt-2", GPT2, true, true},
};

const pith__pattern_info *pith__pattern_of_gguf(pith__gguf_string pre)
{
    for (size_t i = 0; i < sizeof gguf_patterns / sizeof gguf_patterns[0]; i++) {
        if (pith__gguf_string_equal(pre, gguf_patterns[i].name)) {
            return &gguf_patterns[i];
        }
    }
    return NULL;
}

const pith__pattern_info *pith__pattern_of_ranks(const char *name)
{
    for (size_t i = 0; i < sizeof ranks_patterns / sizeof ranks_patterns[0]; i++) {
        if (strstr(name, ranks_patterns[i].name) != NULL) {
            return &ranks_patterns[i];
        }
    }
    return NULL;
}

pith_status pith__pattern_init(pith__pattern *pattern, const pith__pattern_info *info,
                               pith_error *err)
{
    *pattern = (pith__pattern){.info = info};
    int code = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)info->regex, PCRE2_ZERO_TERMINATED,
                      PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED, &code, &offset, NULL);
    if (compiled == NULL) {
        return code == PCRE2_ERROR_HEAP_FAILED
                   ? pith__fail(err, PITH_E_MEMORY, "out of memory: pattern \"%s\"", info->name)
                   : pith__fail(err, PITH_E_BACKEND, "PCRE2 refuses pattern \"%s\": error %d",
                                info->name, code);
    }
    pattern->code = compiled;
    /* without JIT, which a system may forbid, the same matches take longer */
    pattern->jit = pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE) == 0;
    return PITH_OK;
}

void pith__pattern_deinit(pith__pattern *pattern)
{
    pcre2_code_free(pattern->code);
    *pattern = (pith__pattern){.info = NULL};
}

pith_status pith__splitter_init(pith__splitter *splitter, const pith__pattern *pattern,
                                pith_error *err)
{
    *splitter = (pith__splitter){.pattern = pattern};
    splitter->match = pcre2_match_data_create(1, NULL);
    splitter->context = pcre2_match_context_create(NULL);
    if (splitter->match == NULL || splitter->context == NULL) {
        pith__splitter_deinit(splitter);
        return pith__fail(err, PITH_E_MEMORY, "out of memory: pattern matching");
    }
    /* The patterns run in linear time; a limit would only turn long runs of spaces into errors. */
    (void)pcre2_set_match_limit(splitter->context, UINT32_MAX);
    (void)pcre2_set_depth_limit(splitter->context, UINT32_MAX);
    (void)pcre2_set_heap_limit(splitter->context, UINT32_MAX);
    return PITH_OK;
}

void pith__splitter_deinit(pith__splitter *splitter)
{
    pcre2_match_data_free(splitter->match);
    pcre2_match_context_free(splitter->context);
    *splitter = (pith__splitter){.pattern = NULL};
}

void pith__splitter_start(pith__splitter *splitter, const char *text, size_t start, size_t end)
{
    splitter->text = text;
    splitter->size = end;
    splitter->pos = start;
    splitter->valid_start = start;
    splitter->valid_end = start;
}

/* Matches at `pos`; *end is where the match ends, or `pos` if there is none. */
static pith_status match(pith__splitter *splitter, size_t *end, pith_error *err)
{
    const PCRE2_SPTR subject = (PCRE2_SPTR)splitter->text + splitter->valid_start;
    const size_t length = splitter->valid_end - splitter->valid_start;
    const size_t offset = splitter->pos - splitter->valid_start;
    const pcre2_code *code = splitter->pattern->code;
    int found = PCRE2_ERROR_JIT_STACKLIMIT;
    if (splitter->pattern->jit) {
        found = pcre2_jit_match(code, subject, length, offset, PCRE2_NO_UTF_CHECK, splitter->match,
                                splitter->context);
    }
    if (found < 0 && found != PCRE2_ERROR_NOMATCH) { /* no JIT, or its stack was too small */
        found = pcre2_match(code, subject, length, offset, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                            splitter->match, splitter->context);
    }
    *end = splitter->pos;
    if (found >= 0) {
        *end = splitter->valid_start + pcre2_get_ovector_pointer(splitter->match)[1];
    } else if (found == PCRE2_ERROR_NOMEMORY) {
        return pith__fail(err, PITH_E_MEMORY, "out of memory: pattern matching");
    } else if (found != PCRE2_ERROR_NOMATCH) {
        return pith__fail_at(err, PITH_E_BACKEND, splitter->pos, "PCRE2 error %d at byte %zu",
                             found, splitter->pos);
    }
    return PITH_OK;
}

static bool is_letter(char c)
{
    return (unsigned char)((c | 0x20) - 'a') < 26;
}

/*
 * Where the piece at `pos` ends if it is a plain word, else `pos`. Most of a
 * text is words; without the detour through PCRE2, counting is a third faster.
 */
static size_t plain_word(const pith__splitter *splitter)
{
    const char *text = splitter->text;
    const size_t letters = splitter->pos + (text[splitter->pos] == ' ');
    size_t end = letters;
    while (end < splitter->valid_end && is_letter(text[end])) {
        end++;
    }
    const bool ascii_follows = end == splitter->valid_end || (unsigned char)text[end] < 0x80;
    return end > letters && ascii_follows ? end : splitter->pos;
}

/* Finds the well-formed stretch that begins at `pos`; it is empty at an ill-formed byte. */
static void find_stretch(pith__splitter *splitter)
{
    size_t bad = 0;
    const size_t left = splitter->size - splitter->pos;
    const bool valid = pith__utf8_check(splitter->text + splitter->pos, left, &bad);
    splitter->valid_start = splitter->pos;
    splitter->valid_end = splitter->pos + (valid ? left : bad);
}

static size_t next_character(const char *text, size_t pos, size_t end)
{
    do {
        pos++;
    } while (pos < end && ((unsigned char)text[pos] & 0xc0) == 0x80);
    return pos;
}

pith_status pith__splitter_next(pith__splitter *splitter, size_t *start, size_t *end,
                                pith_error *err)
{
    *start = splitter->pos;
    *end = splitter->pos;
    if (splitter->pos == splitter->size) {
        return PITH_OK;
    }
    if (splitter->pos == splitter->valid_end) {
        find_stretch(splitter);
    }
    if (splitter->pos == splitter->valid_end) {
        *end = splitter->pos + 1;
        splitter->valid_end = *end; /* the next call looks for a stretch again */
        splitter->pos = *end;
        return PITH_OK;
    }
    if (splitter->pattern->info->plain_words) {
        *end = plain_word(splitter);
    }
    if (*end == splitter->pos) {
        PITH__TRY(match(splitter, end, err));
    }
    if (*end == splitter->pos) {
        *end = next_character(splitter->text, splitter->pos, splitter->valid_end);
    }
    splitter->pos = *end;
    return PITH_OK;
}
