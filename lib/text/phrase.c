/*
 * phrase.c: noun phrases of raw text: words to the tagger's words, and the rules' marks back.
 *
 * Works on stretches: runs of words of one sentence and one line. The tagger was trained on text
 * whose clitics and hyphenated words are split ("do n't", "well - known"), so a span may be
 * several tokens; spans are then joined, never split.
 */
#include "text/phrase.h"
#include "text/chars.h"
#include "text/chunk.h"
#include "text/tagger.h"
#include "text/text.h"

#include <string.h>

/* A stretch is cut here, wherever it is: 2 of 12,544 sentences of the treebank are longer. */
#define SPANS_MAX ((size_t)128)

/* More parts than this are a path or an identifier: its rest is one token. */
#define PARTS_MAX ((size_t)8)

#define TOKENS_MAX (SPANS_MAX * PARTS_MAX)

/* A stretch is English if the tagger's lexicon knows at least 1 of so many of its words. It knows
 * most words of English, and at most 2 of 5 in sentences of fifteen other languages that were
 * tried. */
#define KNOWN_SHARE_DIVISOR 2u

/* Words that a negation holds together with itself at most, adverbs and auxiliaries included. */
#define NEGATED_MAX ((size_t)3)

typedef struct phraser {
    const char *text;
    const pith_allocator *mem;
    pith__spans *out;
    pith__tagger tagger;
    const pith__span *spans; /* of the stretch */
    size_t spans_count;
    size_t tokens_count;
    bool is_english;               /* the stretch; only then it has tags */
    size_t first_token[SPANS_MAX]; /* of each span; TOKENS_MAX for a full stop that the token
                                    * before took in ("Mr.") */
    pith__chunk_word tokens[TOKENS_MAX];
    pith__tag_word described[TOKENS_MAX];
    uint8_t tags[TOKENS_MAX];
    uint8_t marks[TOKENS_MAX];
} phraser;

/* ---- spans to tokens --------------------------------------------------------------- */

static bool is_letter(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (unsigned char)c >= 0x80;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The byte, ASCII capitals made small. */
static int lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* `lower_case` is ASCII and may hold ' for either apostrophe. Returns the length of the match at
 * the end of [text, text + size), 0 if there is none. */
static size_t match_end(const char *text, size_t size, const char *lower_case)
{
    size_t left = size;
    for (size_t k = strlen(lower_case); k > 0; k--) {
        const char c = lower_case[k - 1];
        if (c == '\'' && left >= 3 && memcmp(text + left - 3, "\xe2\x80\x99", 3) == 0) {
            left -= 3;
        } else if (left >= 1 && lower(text[left - 1]) == c) {
            left--;
        } else {
            return 0;
        }
    }
    return size - left;
}

/* Bytes of the clitic that ends the word; 0 if there is none or nothing would stay before it. */
static size_t clitic_size(const char *text, size_t size)
{
    static const char *const clitics[] = {"n't", "'s", "'re", "'ve", "'ll", "'d", "'m"};
    for (size_t k = 0; k < sizeof clitics / sizeof *clitics; k++) {
        const size_t found = match_end(text, size, clitics[k]);
        if (found > 0 && found < size) {
            return found;
        }
    }
    static const char *const pairs[][2] = {
        {"cannot", "not"}, {"gonna", "na"}, {"wanna", "na"}, {"gotta", "ta"}};
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        if (match_end(text, size, pairs[k][0]) == size) {
            return strlen(pairs[k][1]);
        }
    }
    return 0;
}

static void push_token(phraser *p, const char *text, size_t size, bool spaced)
{
    p->tokens[p->tokens_count++] = (pith__chunk_word){.text = text, .size = size, .spaced = spaced};
}

/* True if the hyphen or slash at `i` stands between two parts of a compound, not in a number. */
static bool is_joint(const char *text, size_t size, size_t i)
{
    if ((text[i] != '-' && text[i] != '/') || i == 0 || i + 1 == size) {
        return false;
    }
    const char before = text[i - 1];
    const char after = text[i + 1];
    return (is_letter(before) || is_digit(before)) && (is_letter(after) || is_digit(after)) &&
           !(is_digit(before) && is_digit(after));
}

/* Links, addresses and paths are one token, however many hyphens they hold. */
static bool is_compound(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        const char c = text[i];
        if (!is_letter(c) && !is_digit(c) && c != '\'' && !is_joint(text, size, i)) {
            return false;
        }
    }
    return true;
}

/* Bytes of a currency sign or number sign before a digit. */
static size_t sign_size(const char *text, size_t size)
{
    static const char *const signs[] = {"$", "#", "\xc2\xa3", "\xe2\x82\xac"};
    for (size_t k = 0; k < sizeof signs / sizeof *signs; k++) {
        const size_t length = strlen(signs[k]);
        if (size > length && memcmp(text, signs[k], length) == 0 && is_digit(text[length])) {
            return length;
        }
    }
    return 0;
}

/* Cuts the word at its joints and before its clitic. */
static void split_word(phraser *p, const char *text, size_t size)
{
    const size_t limit = p->tokens_count + PARTS_MAX;
    bool spaced = true;
    const size_t sign = sign_size(text, size);
    if (sign > 0) {
        push_token(p, text, sign, true);
        spaced = false;
    }
    const size_t clitic = clitic_size(text, size);
    const size_t end = size - clitic;
    const size_t joints_end = is_compound(text, end) ? end : 0;
    size_t from = sign;
    for (size_t i = sign; i < joints_end; i++) {
        if (is_joint(text, end, i) && p->tokens_count + 4 <= limit) {
            push_token(p, text + from, i - from, spaced);
            push_token(p, text + i, 1, false);
            spaced = false;
            from = i + 1;
        }
    }
    push_token(p, text + from, end - from, spaced);
    if (clitic > 0) {
        push_token(p, text + end, clitic, false);
    }
}

/* True if the span after `i` is the full stop of an abbreviation: "Mr", "U.S", "J". At the end of
 * the stretch a full stop rather ends the sentence. */
static bool takes_full_stop(const phraser *p, size_t i, size_t start)
{
    if (i + 2 >= p->spans_count) {
        return false;
    }
    const pith__span *stop = &p->spans[i + 1];
    if (stop->end - stop->start != 1 || p->text[stop->start] != '.') {
        return false;
    }
    const size_t size = p->spans[i].end - start;
    if (size == 1) {
        return is_letter(p->text[start]) && lower(p->text[start]) != p->text[start];
    }
    pith__tag_word with_stop;
    pith__tagger_describe(&p->tagger, p->text + start, size + 1, &with_stop);
    return with_stop.best != PITH__TAG_NONE && with_stop.best != PITH__TAG_PUNCT;
}

static void make_tokens(phraser *p)
{
    p->tokens_count = 0;
    for (size_t i = 0; i < p->spans_count; i++) {
        const pith__span *span = &p->spans[i];
        const size_t start =
            span->start + pith__space_length(p->text, span->end, span->start, NULL);
        p->first_token[i] = p->tokens_count;
        if (span->kind == PITH__SPAN_PUNCTUATION || start == span->end) {
            push_token(p, p->text + start, span->end - start, start > span->start);
        } else if (takes_full_stop(p, i, start)) {
            push_token(p, p->text + start, span->end + 1 - start, true);
            p->first_token[++i] = TOKENS_MAX;
        } else {
            split_word(p, p->text + start, span->end - start);
        }
    }
}

/* ---- stretches ----------------------------------------------------------------------- */

/* Words are tokens with a letter: figures and punctuation are the same in every language. */
static bool is_english(const phraser *p)
{
    size_t words = 0;
    size_t known = 0;
    for (size_t i = 0; i < p->tokens_count; i++) {
        const pith__chunk_word *token = &p->tokens[i];
        size_t k = 0;
        while (k < token->size && !is_letter(token->text[k])) {
            k++;
        }
        words += k < token->size;
        known += k < token->size && p->described[i].best != PITH__TAG_NONE;
    }
    return known > 0 && known >= words / KNOWN_SHARE_DIVISOR + words % KNOWN_SHARE_DIVISOR;
}

static void find_chunks(phraser *p)
{
    for (size_t i = 0; i < p->tokens_count; i++) {
        pith__tagger_describe(&p->tagger, p->tokens[i].text, p->tokens[i].size, &p->described[i]);
    }
    p->is_english = is_english(p);
    if (!p->is_english) {
        memset(p->marks, PITH__CHUNK_OUTSIDE, p->tokens_count);
        return;
    }
    pith__tagger_tag(&p->tagger, p->described, p->tokens_count, p->tags);
    for (size_t i = 0; i < p->tokens_count; i++) {
        p->tokens[i].tag = p->tags[i];
    }
    pith__chunk_mark(p->tokens, p->tokens_count, p->marks);
}

/* True if span `i` says no: "not", "never", "cannot", "doesn't". */
static bool is_negation(const phraser *p, size_t i)
{
    static const char *const words[] = {"not", "never", "cannot"};
    const pith__span *span = &p->spans[i];
    const size_t start = span->start + pith__space_length(p->text, span->end, span->start, NULL);
    const size_t size = span->end - start;
    for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
        if (match_end(p->text + start, size, words[k]) == size && size > 0) {
            return true;
        }
    }
    return match_end(p->text + start, size, "n't") > 0;
}

/* True if span `i` is what a negation before it is about: the next word, or the one after adverbs
 * and auxiliaries ("not really seen", "has never been seen"). Apart, a text could lose its "not". */
static bool is_negated(const phraser *p, size_t i)
{
    if (p->spans[i].kind != PITH__SPAN_WORD || !p->is_english) {
        return false;
    }
    for (size_t back = 1; back <= NEGATED_MAX && back <= i; back++) {
        const size_t token = p->first_token[i - back];
        if (p->spans[i - back].kind != PITH__SPAN_WORD || token >= TOKENS_MAX) {
            return false;
        }
        if (is_negation(p, i - back)) {
            return true;
        }
        if (p->tags[token] != PITH__TAG_ADV && p->tags[token] != PITH__TAG_AUX) {
            return false;
        }
    }
    return false;
}

/* True if span `i` negates the auxiliary before it: "do not". */
static bool negates_auxiliary(const phraser *p, size_t i)
{
    const size_t before = p->first_token[i - 1];
    return p->is_english && is_negation(p, i) && before < TOKENS_MAX &&
           p->tags[before] == PITH__TAG_AUX;
}

/* True if no phrase may be cut before span `i` of the stretch. */
static bool is_joined(const phraser *p, size_t i)
{
    if (is_negated(p, i) || negates_auxiliary(p, i)) {
        return true;
    }
    const size_t token = p->first_token[i];
    if (token < TOKENS_MAX) {
        return p->marks[token] == PITH__CHUNK_INSIDE;
    }
    const size_t before = p->first_token[i - 1]; /* of the abbreviation */
    return p->marks[before] != PITH__CHUNK_OUTSIDE;
}

static pith_status emit_stretch(phraser *p, pith_error *err)
{
    make_tokens(p);
    find_chunks(p);
    for (size_t i = 0; i < p->spans_count;) {
        pith__span phrase = p->spans[i];
        for (i++; i < p->spans_count && is_joined(p, i); i++) {
            phrase.end = p->spans[i].end;
            phrase.kind = PITH__SPAN_WORD;
        }
        PITH__TRY(pith__spans_push(p->out, p->mem, phrase.start, phrase.end, phrase.kind, err));
    }
    return PITH_OK;
}

/* The number of spans from `from` on that are words of one sentence and one line; at least 1.
 * *sentence is the sentence the search is at, and moves on. */
static size_t stretch_length(const pith__spans *words, size_t from, const pith__spans *sentences,
                             size_t *sentence)
{
    const size_t start = words->items[from].start;
    while (*sentence < sentences->count && sentences->items[*sentence].end <= start) {
        (*sentence)++;
    }
    const size_t end = *sentence < sentences->count ? sentences->items[*sentence].end : SIZE_MAX;
    size_t count = 1;
    while (count < SPANS_MAX && from + count < words->count &&
           words->items[from + count].start < end &&
           words->items[from + count].kind != PITH__SPAN_BREAK &&
           words->items[from].kind != PITH__SPAN_BREAK) {
        count++;
    }
    return count;
}

static pith_status emit_all(phraser *p, const pith__spans *words, const pith__spans *sentences,
                            pith_error *err)
{
    size_t sentence = 0;
    for (size_t i = 0; i < words->count; i += p->spans_count) {
        p->spans = &words->items[i];
        p->spans_count = stretch_length(words, i, sentences, &sentence);
        PITH__TRY(emit_stretch(p, err));
    }
    return PITH_OK;
}

pith_status pith__text_phrases(const char *text, size_t size, const pith_allocator *mem,
                               pith__spans *out, pith_error *err)
{
    *out = (pith__spans){0};
    pith__spans words = {0};
    pith__spans sentences = {0};
    phraser *p = NULL;
    pith_status status = pith__text_words(text, size, mem, &words, err);
    if (status == PITH_OK) {
        status = pith__text_sentences(text, size, mem, &sentences, err);
    }
    if (status == PITH_OK) {
        status = pith__alloc_zero(mem, 1, sizeof *p, &p, err);
    }
    if (status == PITH_OK) {
        p->text = text;
        p->mem = mem;
        p->out = out;
        status = pith__tagger_open_builtin(&p->tagger, err);
    }
    if (status == PITH_OK) {
        status = emit_all(p, &words, &sentences, err);
    }
    if (status != PITH_OK) {
        pith__spans_deinit(out, mem);
    }
    pith__free(mem, p, 1, sizeof *p);
    pith__spans_deinit(&sentences, mem);
    pith__spans_deinit(&words, mem);
    return status;
}
