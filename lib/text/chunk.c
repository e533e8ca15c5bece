/*
 * chunk.c: base noun phrases of a tagged sentence: determiner, modifiers, nouns, in that order.
 */
#include "text/chunk.h"

#include <string.h>

/* A phrase is cut before it exceeds this: units must stay small, or a selection among them gets
 * coarse. Of the 52,712 chunks in the training part of the treebank, 19 are longer. */
#define CHUNK_WORDS_MAX 8u

/* The same with the parts of "state-of-the-art" and "John's" counted. */
#define CHUNK_TOKENS_MAX 20u

/* The byte, ASCII capitals made small. */
static int lower(char c)
{
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* `list` holds lower-case words, each between spaces: " all both ". */
static bool is_one_of(const pith__chunk_word *word, const char *list)
{
    if (word->size == 0 || word->size > 15) {
        return false;
    }
    char key[18] = " ";
    for (size_t i = 0; i < word->size; i++) {
        const char c = word->text[i];
        if (c == ' ' || c == '\0') {
            return false;
        }
        key[i + 1] = (char)lower(c);
    }
    key[word->size + 1] = ' ';
    return strstr(list, key) != NULL;
}

static bool ends_with(const pith__chunk_word *word, const char *ending)
{
    const size_t size = strlen(ending);
    if (word->size < size + 2) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (lower(word->text[word->size - size + i]) != ending[i]) {
            return false;
        }
    }
    return true;
}

/* The kinds of words that the rules tell apart. */
typedef enum kind {
    KIND_OTHER,
    KIND_DETERMINER, /* also possessive pronouns */
    KIND_PRONOUN,
    KIND_NOUN,
    KIND_ADJECTIVE,
    KIND_TIME,   /* a noun that opens a phrase of its own: "the office tomorrow" */
    KIND_OPENER, /* an adjective that does: "the fluids last night" */
    KIND_NUMBER,
    KIND_ADVERB,
    KIND_PARTICIPLE,
    KIND_POSSESSIVE, /* 's */
    KIND_HYPHEN,
    KIND_AND,
    KIND_SYMBOL /* $ */
} kind;

static kind kind_of_pronoun(const pith__chunk_word *word)
{
    if (is_one_of(word, " there ")) {
        return KIND_OTHER;
    }
    return is_one_of(word, " my your his its our their whose thy ") ? KIND_DETERMINER
                                                                    : KIND_PRONOUN;
}

static kind kind_alone(const pith__chunk_word *word)
{
    switch (word->tag) {
    case PITH__TAG_NOUN:
    case PITH__TAG_PROPN:
        return is_one_of(word, " today tonight tomorrow yesterday ") ? KIND_TIME : KIND_NOUN;
    case PITH__TAG_DET:
        return KIND_DETERMINER;
    case PITH__TAG_ADJ:
        return is_one_of(word, " last next several same ") ? KIND_OPENER : KIND_ADJECTIVE;
    case PITH__TAG_NUM:
        return KIND_NUMBER;
    case PITH__TAG_ADV:
        return KIND_ADVERB;
    case PITH__TAG_PRON:
        return kind_of_pronoun(word);
    case PITH__TAG_VERB:
        return ends_with(word, "ing") || ends_with(word, "ed") || ends_with(word, "en")
                   ? KIND_PARTICIPLE
                   : KIND_OTHER;
    case PITH__TAG_PART:
        return is_one_of(word, " 's ' s \xe2\x80\x99s \xe2\x80\x99 ") ? KIND_POSSESSIVE
                                                                      : KIND_OTHER;
    case PITH__TAG_CCONJ:
        return is_one_of(word, " and or & ") ? KIND_AND : KIND_OTHER;
    case PITH__TAG_SYM:
        return is_one_of(word, " $ % # \xc2\xa3 \xe2\x82\xac ") ? KIND_SYMBOL : KIND_OTHER;
    default:
        return KIND_OTHER;
    }
}

/* True for the hyphen of "15-year": without white space around it. */
static bool is_hyphen(const pith__chunk_word *words, size_t count, size_t i)
{
    return i > 0 && i + 1 < count && words[i].tag == PITH__TAG_PUNCT && words[i].size == 1 &&
           words[i].text[0] == '-' && !words[i].spaced && !words[i + 1].spaced;
}

/*
 * The kind of words[i], KIND_OTHER from `count` on. The parts of a hyphenated word stand for what
 * the whole is: a noun if the last part is one, else an adjective ("well-known").
 */
static kind kind_of(const pith__chunk_word *words, size_t count, size_t i)
{
    if (i >= count) {
        return KIND_OTHER;
    }
    if (is_hyphen(words, count, i)) {
        return KIND_HYPHEN;
    }
    const kind alone = kind_alone(&words[i]);
    const bool is_part =
        (i > 0 && is_hyphen(words, count, i - 1)) || is_hyphen(words, count, i + 1);
    return is_part && alone != KIND_NOUN ? KIND_ADJECTIVE : alone;
}

/* Whether a word of kind `k` may follow `last` in a phrase, with `next` after it. */
static bool may_follow(kind last, kind k, kind next)
{
    switch (k) {
    case KIND_NOUN:
    case KIND_NUMBER:
    case KIND_SYMBOL:
    case KIND_ADJECTIVE:
        return true;
    case KIND_HYPHEN:
        return last != KIND_OTHER;
    case KIND_TIME:
    case KIND_OPENER:
        return last != KIND_NOUN;
    case KIND_PARTICIPLE:
        return last != KIND_NOUN && last != KIND_OTHER;
    case KIND_ADVERB:
        return last != KIND_NOUN &&
               (next == KIND_ADJECTIVE || next == KIND_NUMBER || next == KIND_ADVERB ||
                (next == KIND_PARTICIPLE && last != KIND_OTHER));
    case KIND_POSSESSIVE:
        return last == KIND_NOUN;
    case KIND_AND:
        return last == KIND_ADJECTIVE && next == KIND_ADJECTIVE;
    case KIND_DETERMINER:
        return last == KIND_DETERMINER || last == KIND_OTHER;
    case KIND_OTHER:
    case KIND_PRONOUN:
        break;
    }
    return false;
}

/* "her" before what it may own. */
static bool is_her_own(const pith__chunk_word *word, kind next)
{
    return is_one_of(word, " her ") &&
           (next == KIND_NOUN || next == KIND_ADJECTIVE || next == KIND_NUMBER);
}

/* End of the phrase that begins at `start`; `start` if none does. Looks at few words only. */
static size_t phrase_end(const pith__chunk_word *words, size_t count, size_t start)
{
    size_t end = start;
    size_t spaced = 0;
    kind last = KIND_OTHER; /* before the first word, and after an adverb that opens a phrase */
    kind k = kind_of(words, count, start);
    if (k == KIND_PRONOUN) {
        if (!is_her_own(&words[start], kind_of(words, count, start + 1))) {
            return start + 1;
        }
        k = KIND_DETERMINER;
    }
    for (size_t i = start; i < count && i - start < CHUNK_TOKENS_MAX; i++) {
        const kind next = kind_of(words, count, i + 1);
        spaced += i == start || words[i].spaced;
        if (spaced > CHUNK_WORDS_MAX || !may_follow(last, k, next)) {
            break;
        }
        k = k == KIND_TIME ? KIND_NOUN : k; /* from here on: "today's news" */
        end = k == KIND_NOUN ? i + 1 : end;
        last = k == KIND_ADVERB ? last : k;
        k = next;
    }
    return end;
}

void pith__chunk_mark(const pith__chunk_word *words, size_t count, uint8_t *marks)
{
    for (size_t i = 0; i < count;) {
        const size_t end = phrase_end(words, count, i);
        marks[i] = end > i ? PITH__CHUNK_BEGIN : PITH__CHUNK_OUTSIDE;
        for (i++; i < end; i++) {
            marks[i] = PITH__CHUNK_INSIDE;
        }
    }
}
