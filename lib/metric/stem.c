/*
 * stem.c: stems of English words, by libstemmer.
 *
 * libstemmer's "porter" is the algorithm as published (Porter 1980). The author changed it a little
 * in his later release, from which NLTK's stemmer comes, and from that the published ROUGE figures:
 * use, uses and using have one stem, and so have fly and flies. Those changes are made here around
 * the published algorithm: by another spelling of the word before it, or of the stem after it.
 */
#include "metric/metric_internal.h"

#include <libstemmer.h>

#include <string.h>

/* Forms whose stems are listed, not made; of more than three letters. */
static const struct {
    const char *word;
    const char *stem;
} irregular[] = {
    {"skies", "sky"},       {"dying", "die"},      {"lying", "lie"},       {"tying", "tie"},
    {"news", "news"},       {"howe", "howe"},      {"inning", "inning"},   {"innings", "inning"},
    {"outing", "outing"},   {"outings", "outing"}, {"canning", "canning"}, {"cannings", "canning"},
    {"proceed", "proceed"}, {"exceed", "exceed"},  {"succeed", "succeed"},
};

/* What is being stemmed; a respelling makes it no longer than the word was. */
typedef struct spelling {
    char text[PITH__STEM_SIZE];
    size_t size;
} spelling;

/* ---- shapes ---------------------------------------------------------------------------------- */

typedef struct shape {
    size_t measure; /* Porter's m: how often a consonant follows a vowel */
    bool has_vowel;
    bool ends_in_vowel;
} shape;

static bool is_plain_vowel(char c)
{
    return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u';
}

/* y is a vowel after a consonant; digits are consonants. */
static shape shape_of(const char *word, size_t size)
{
    shape s = {.measure = 0};
    for (size_t i = 0; i < size; i++) {
        const bool is_vowel =
            is_plain_vowel(word[i]) || (word[i] == 'y' && i > 0 && !s.ends_in_vowel);
        s.measure += s.ends_in_vowel && !is_vowel;
        s.has_vowel = s.has_vowel || is_vowel;
        s.ends_in_vowel = is_vowel;
    }
    return s;
}

static bool ends_with(const char *word, size_t size, const char *ending)
{
    const size_t length = strlen(ending);
    return size >= length && memcmp(word + size - length, ending, length) == 0;
}

/* ---- before --------------------------------------------------------------------------------- */

/*
 * Step 2 of the release: -bly becomes -ble (published: -ably alone), -ally becomes -al and -fully
 * becomes -ful before the other endings are looked at (published: after, never), and -logy becomes
 * -log. Where the word ends in -ies or -ied it has become -i by then.
 */
static void respell_ly(spelling *word)
{
    static const struct {
        const char *ending; /* without the y */
        size_t cut;         /* letters that do not count for the measure */
        const char *instead;
    } rules[] = {{"bl", 2, "ble"}, {"all", 3, "al"}, {"full", 4, "ful"}, {"log", 2, "log"}};
    const bool is_plain =
        ends_with(word->text, word->size, "y") || ends_with(word->text, word->size, "i");
    if (!is_plain && !ends_with(word->text, word->size, "ies") &&
        !ends_with(word->text, word->size, "ied")) {
        return;
    }
    const size_t size = word->size - (is_plain ? 1 : 3);
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (ends_with(word->text, size, rules[i].ending) &&
            shape_of(word->text, size - rules[i].cut).measure > 0) {
            const size_t start = size - strlen(rules[i].ending);
            const size_t length = strlen(rules[i].instead);
            memcpy(word->text + start, rules[i].instead, length);
            word->size = start + length;
            return;
        }
    }
}

/* ---- after ---------------------------------------------------------------------------------- */

/* Vowel and consonant at the start of a word keep their e: uses, using, useful. */
static void keep_short_e(const spelling *word, spelling *stem)
{
    const bool had_e =
        word->text[2] == 'e' || (word->size >= 5 && memcmp(word->text + 2, "ing", 3) == 0);
    if (stem->size == 2 && word->size > 2 && had_e && is_plain_vowel(stem->text[0]) &&
        !is_plain_vowel(stem->text[1])) {
        stem->text[stem->size++] = 'e';
    }
}

/* Step 1b: trekking loses one k (libstemmer's list of doubled letters has no h, j, k, v and x). */
static void undouble(const spelling *word, spelling *stem)
{
    const size_t size = stem->size;
    if (size < 3 || stem->text[size - 1] != stem->text[size - 2] || size + 2 > word->size) {
        return;
    }
    const char last = stem->text[size - 1];
    const bool is_cut = memcmp(word->text + size, "ed", 2) == 0 ||
                        (size + 3 <= word->size && memcmp(word->text + size, "ing", 3) == 0);
    const bool stays = is_plain_vowel(last) || last == 'l' || last == 's' || last == 'z';
    stem->size -= is_cut && !stays;
}

/* Step 1c of the release: y becomes i after a consonant (published: if there is a vowel before). */
static void fix_y(const spelling *word, spelling *stem)
{
    if (stem->size < 2) {
        return;
    }
    const size_t last = stem->size - 1;
    const shape before = shape_of(stem->text, last);
    if (stem->text[last] == 'i' && before.ends_in_vowel && last < word->size &&
        word->text[last] == 'y') {
        stem->text[last] = 'y';
    } else if (stem->text[last] == 'y' && last > 1 && !before.has_vowel) {
        stem->text[last] = 'i';
    }
}

/* ---- the stemmer -------------------------------------------------------------------------------- */

pith_status pith__stemmer_open(pith__stemmer *stemmer, pith_error *err)
{
    stemmer->porter = sb_stemmer_new("porter", NULL);
    return stemmer->porter == NULL ? pith__fail(err, PITH_E_MEMORY, "cannot make a stemmer")
                                   : PITH_OK;
}

void pith__stemmer_close(pith__stemmer *stemmer)
{
    sb_stemmer_delete(stemmer->porter);
    stemmer->porter = NULL;
}

static pith_status stem_published(const pith__stemmer *stemmer, const spelling *word,
                                  spelling *stem, pith_error *err)
{
    const sb_symbol *text =
        sb_stemmer_stem(stemmer->porter, (const sb_symbol *)word->text, (int)word->size);
    const int length = sb_stemmer_length(stemmer->porter);
    if (text == NULL || length < 0 || (size_t)length > word->size) {
        return pith__fail(err, PITH_E_MEMORY, "cannot stem a word of %zu letters", word->size);
    }
    memcpy(stem->text, text, (size_t)length);
    stem->size = (size_t)length;
    return PITH_OK;
}

static void take(spelling *to, const char *text, size_t size)
{
    memcpy(to->text, text, size);
    to->size = size;
}

/* True if the stem needs no algorithm. */
static bool stem_listed(const spelling *word, spelling *stem)
{
    for (size_t i = 0; i < sizeof irregular / sizeof irregular[0]; i++) {
        if (strlen(irregular[i].word) == word->size &&
            memcmp(irregular[i].word, word->text, word->size) == 0) {
            take(stem, irregular[i].stem, strlen(irregular[i].stem));
            return true;
        }
    }
    const bool is_tie =
        word->size == 4 && (ends_with(word->text, 4, "ies") || ends_with(word->text, 4, "ied"));
    if (is_tie) { /* dies and died are die, flies and spied fli and spi */
        take(stem, word->text, 3);
    }
    return is_tie;
}

pith_status pith__stem(const pith__stemmer *stemmer, const char *word, size_t size,
                       char stem[PITH__STEM_SIZE], size_t *stem_size, pith_error *err)
{
    if (size > PITH__STEM_SIZE) {
        return pith__fail(err, PITH_E_ARGUMENT, "a word of %zu letters, at most %d have a stem",
                          size, PITH__STEM_SIZE);
    }
    spelling in = {.size = 0};
    spelling out = {.size = 0};
    take(&in, word, size);
    if (!stem_listed(&in, &out)) {
        respell_ly(&in);
        PITH__TRY(stem_published(stemmer, &in, &out, err));
        undouble(&in, &out);
        fix_y(&in, &out);
        keep_short_e(&in, &out);
    }
    memcpy(stem, out.text, out.size);
    *stem_size = out.size;
    return PITH_OK;
}
