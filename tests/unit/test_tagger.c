/*
 * test_tagger.c: the part-of-speech tagger, the chunk rules, and phrases of raw text.
 */
#include "test.h"

#include "text/chunk.h"
#include "text/phrase.h"
#include "text/tagger.h"
#include "text/text.h"
#include "unit/tagger_ud.h"

/* Just below what the committed weights and rules reach: docs/phrases.md has the figures. */
#define ACCURACY_MIN      0.94
#define CHUNK_F1_MIN      0.90
#define CHUNK_F1_GOLD_MIN 0.94

static pith__tagger builtin(void)
{
    pith__tagger tagger;
    pith_error err;
    assert_ok(pith__tagger_open_builtin(&tagger, &err), err);
    return tagger;
}

/* ---- weights ------------------------------------------------------------------------ */

static void weights_are_checked(void **state)
{
    (void)state;
    unsigned char bytes[PITH__TAGGER_HEADER + 12 + 5] = {
        'P', 'H', 'T', 'G', 1, 0, 0, 0, PITH__TAG_COUNT};
    pith__tagger tagger;
    pith_error err;
    bytes[12] = 1; /* two buckets, so three offsets */
    bytes[16] = 5;
    bytes[PITH__TAGGER_HEADER + 4] = 5;
    bytes[PITH__TAGGER_HEADER + 8] = 5;
    assert_ok(pith__tagger_open(bytes, sizeof bytes, &tagger, &err), err);
    assert_int_equal(tagger.records_size, 5);
    for (size_t size = 0; size < sizeof bytes; size++) {
        assert_status(pith__tagger_open(bytes, size, &tagger, &err), PITH_E_CORRUPT);
    }
    for (size_t at = 0; at < PITH__TAGGER_HEADER; at++) {
        bytes[at] ^= 0x40;
        assert_status(pith__tagger_open(bytes, sizeof bytes, &tagger, &err), PITH_E_CORRUPT);
        bytes[at] ^= 0x40;
    }
}

/* Random records behind a good header: wrong tags are fine, reading outside is not. */
static void damaged_records_stay_inside(void **state)
{
    (void)state;
    uint64_t random = 7;
    for (int round = 0; round < 50; round++) {
        const size_t records = 1 + test_random_below(&random, 300);
        const size_t size = PITH__TAGGER_HEADER + (size_t)9 * 4 + records;
        unsigned char *bytes = malloc(size);
        assert_non_null(bytes);
        for (size_t i = 0; i < size; i++) {
            bytes[i] = (unsigned char)test_random_below(&random, i % 3 == 0 ? 256 : 2);
        }
        const unsigned char header[PITH__TAGGER_HEADER] = {'P',
                                                           'H',
                                                           'T',
                                                           'G',
                                                           1,
                                                           0,
                                                           0,
                                                           0,
                                                           PITH__TAG_COUNT,
                                                           0,
                                                           0,
                                                           0,
                                                           3,
                                                           0,
                                                           0,
                                                           0,
                                                           (unsigned char)records,
                                                           (unsigned char)(records >> 8)};
        memcpy(bytes, header, sizeof header);
        pith__tagger tagger;
        pith_error err;
        assert_ok(pith__tagger_open(bytes, size, &tagger, &err), err);
        pith__tag_word words[40];
        uint8_t tags[40];
        for (size_t i = 0; i < 40; i++) {
            const char text[2] = {(char)('a' + i % 26), (char)('a' + i / 26)};
            pith__tagger_describe(&tagger, text, 2, &words[i]);
        }
        pith__tagger_tag(&tagger, words, 40, tags);
        for (size_t i = 0; i < 40; i++) {
            assert_true(tags[i] < PITH__TAG_COUNT);
        }
        free(bytes);
    }
}

static void tag_names(void **state)
{
    (void)state;
    assert_string_equal(pith__tag_name(PITH__TAG_ADJ), "ADJ");
    assert_string_equal(pith__tag_name(PITH__TAG_X), "X");
    assert_string_equal(pith__tag_name(PITH__TAG_NONE), "?");
    assert_int_equal(ud_tag("PROPN"), PITH__TAG_PROPN);
    assert_int_equal(ud_tag("NOPE"), PITH__TAG_NONE);
}

/* ---- tags --------------------------------------------------------------------------- */

/* Tags words between single spaces and compares with tags between single spaces. */
static void check_tags(const char *sentence, const char *expected)
{
    const pith__tagger tagger = builtin();
    pith__tag_word words[32];
    uint8_t tags[32];
    char joined[512] = "";
    size_t count = 0;
    for (const char *at = sentence; *at != '\0' && count < 32;) {
        const size_t size = strcspn(at, " ");
        pith__tagger_describe(&tagger, at, size, &words[count++]);
        at += size + (at[size] == ' ');
    }
    pith__tagger_tag(&tagger, words, count, tags);
    for (size_t i = 0, used = 0; i < count; i++) {
        used += (size_t)snprintf(joined + used, sizeof joined - used, "%s%s", i == 0 ? "" : " ",
                                 pith__tag_name(tags[i]));
    }
    assert_string_equal(joined, expected);
}

static void tags_of_sentences(void **state)
{
    (void)state;
    check_tags("The quick brown fox jumps over the lazy dog .",
               "DET ADJ ADJ NOUN VERB ADP DET ADJ NOUN PUNCT");
    check_tags("I do n't know what he wants to do .",
               "PRON AUX PART VERB PRON PRON VERB PART VERB PUNCT");
    check_tags("They can swim in the river .", "PRON AUX VERB ADP DET NOUN PUNCT");
    check_tags("She opened a can of soup .", "PRON VERB DET NOUN ADP NOUN PUNCT");
    check_tags("In 2019 , Mary moved to Paris .", "ADP NUM PUNCT PROPN VERB ADP PROPN PUNCT");
    check_tags("We love the love that we share .", "PRON VERB DET NOUN PRON PRON VERB PUNCT");
}

/* Curly and straight apostrophes, and all digits, are the same to the tagger. */
static void words_are_normalised(void **state)
{
    (void)state;
    const pith__tagger tagger = builtin();
    pith__tag_word a;
    pith__tag_word b;
    pith__tagger_describe(&tagger, "n't", 3, &a);
    pith__tagger_describe(&tagger, "n\xe2\x80\x99t", 5, &b);
    assert_int_equal(a.form, b.form);
    assert_int_equal(a.lexicon, b.lexicon);
    assert_int_equal(a.best, PITH__TAG_PART);
    pith__tagger_describe(&tagger, "1984", 4, &a);
    pith__tagger_describe(&tagger, "2025", 4, &b);
    assert_int_equal(a.form, b.form);
    pith__tagger_describe(&tagger, "The", 3, &a);
    pith__tagger_describe(&tagger, "the", 3, &b);
    assert_int_not_equal(a.form, b.form);
    assert_int_equal(a.lower, b.lower);
    pith__tagger_describe(&tagger, "xqzzyqx", 7, &a);
    assert_int_equal(a.best, PITH__TAG_NONE);
    pith__tagger_describe(&tagger, "", 0, &a);
    assert_int_equal(a.best, PITH__TAG_NONE);
}

/* ---- the treebank ------------------------------------------------------------------- */

static ud_corpus read_dev(void)
{
    char command[4200];
    (void)snprintf(command, sizeof command, "xz -dc '%s'",
                   test_path("shared", "data/ud/ewt-dev.tsv.xz"));
    ud_corpus corpus;
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    const bool is_read = ud_read(pipe, &corpus);
    assert_int_equal(pclose(pipe), 0);
    assert_true(is_read);
    assert_int_equal(corpus.sentences, 2001);
    return corpus;
}

static void accuracy_on_dev(void **state)
{
    (void)state;
    require_shared();
    const pith__tagger tagger = builtin();
    ud_corpus corpus = read_dev();
    const double accuracy = ud_accuracy(&corpus, &tagger);
    print_message("tags: accuracy %.4f\n", accuracy);
    assert_true(accuracy >= ACCURACY_MIN);
    ud_free(&corpus);
}

static void chunks_on_dev(void **state)
{
    (void)state;
    require_shared();
    const pith__tagger tagger = builtin();
    ud_corpus corpus = read_dev();
    const double own = ud_f1(ud_score_chunks(&corpus, &tagger, 1));
    const double gold = ud_f1(ud_score_chunks(&corpus, NULL, 1));
    print_message("chunks: F1 %.4f, with gold tags %.4f\n", own, gold);
    assert_true(own >= CHUNK_F1_MIN);
    assert_true(gold >= CHUNK_F1_GOLD_MIN);
    ud_free(&corpus);
}

/* The chunks that the scores are measured against, of a tree written down here:
 * "the man 's very old dogs bark". */
static void chunks_of_a_tree(void **state)
{
    (void)state;
    const ud_word sentence[] = {
        {.form = "the", .relation = "det", .head = 1, .tag = PITH__TAG_DET},
        {.form = "man", .relation = "nmod:poss", .head = 5, .tag = PITH__TAG_NOUN},
        {.form = "'s", .relation = "case", .head = 1, .tag = PITH__TAG_PART},
        {.form = "very", .relation = "advmod", .head = 4, .tag = PITH__TAG_ADV},
        {.form = "old", .relation = "amod", .head = 5, .tag = PITH__TAG_ADJ},
        {.form = "dogs", .relation = "nsubj", .head = 6, .tag = PITH__TAG_NOUN},
        {.form = "bark", .relation = "root", .head = SIZE_MAX, .tag = PITH__TAG_VERB}};
    const uint8_t expected[] = {1, 2, 2, 2, 2, 2, 0};
    uint8_t marks[7];
    ud_mark(sentence, 7, marks);
    assert_memory_equal(marks, expected, sizeof expected);
}

/* ---- phrases ------------------------------------------------------------------------ */

/* The spans cover the text from end to end, none empty, in order. */
static void check_partition(const pith__spans *spans, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < spans->count; i++) {
        assert_int_equal(spans->items[i].start, at);
        assert_true(spans->items[i].end > at);
        at = spans->items[i].end;
    }
    assert_int_equal(at, size);
}

/* Every phrase begins and ends where a word does. */
static void check_made_of_words(const char *text, size_t size, const pith__spans *spans)
{
    pith__spans words;
    pith_error err;
    assert_ok(pith__text_words(text, size, &pith__allocator_default, &words, &err), err);
    size_t w = 0;
    for (size_t i = 0; i < spans->count; i++) {
        while (w < words.count && words.items[w].end < spans->items[i].end) {
            w++;
        }
        assert_true(w < words.count);
        assert_int_equal(words.items[w].end, spans->items[i].end);
    }
    pith__spans_deinit(&words, &pith__allocator_default);
}

/* `expected` has the phrases with a bar between them. */
static void check_phrases(const char *text, const char *expected)
{
    pith__spans spans;
    pith_error err;
    char joined[1024] = "";
    const size_t size = strlen(text);
    assert_ok(pith__text_phrases(text, size, &pith__allocator_default, &spans, &err), err);
    check_partition(&spans, size);
    check_made_of_words(text, size, &spans);
    for (size_t i = 0, used = 0; i < spans.count; i++) {
        const pith__span *s = &spans.items[i];
        used += (size_t)snprintf(joined + used, sizeof joined - used, "%s%.*s", i == 0 ? "" : "|",
                                 (int)(s->end - s->start), text + s->start);
    }
    assert_string_equal(joined, expected);
    pith__spans_deinit(&spans, &pith__allocator_default);
}

static void phrases_of_sentences(void **state)
{
    (void)state;
    check_phrases("The quick brown fox jumps over the lazy dog.",
                  "The quick brown fox| jumps| over| the lazy dog|.");
    check_phrases("He gave her his old books and a pen.",
                  "He| gave| her| his old books| and| a pen|.");
    check_phrases("Janet\xe2\x80\x99s ducks lay 16 eggs per day.",
                  "Janet\xe2\x80\x99s ducks| lay| 16 eggs| per| day|.");
    check_phrases("I read today's bad news.", "I| read| today's bad news|.");
    check_phrases("the company's chief executive officer, Jennifer M. Anderson, resigned",
                  "the company's chief executive officer|,| Jennifer M. Anderson|,| resigned");
}

/* Clitics are words to the tagger but never units of their own. */
static void words_are_not_split(void **state)
{
    (void)state;
    check_phrases("Mr. Smith doesn't like John's new state-of-the-art car, and he can't afford it.",
                  "Mr. Smith| doesn't like| John's new state-of-the-art car|,| and| he|"
                  " can't afford| it|.");
    check_phrases("She's gonna see the well-known 15-year-old company.",
                  "She's| gonna| see| the well-known 15-year-old company|.");
}

/* A compressed text must not say the opposite because its "not" was easy to guess. */
static void negations_stay_with_what_they_negate(void **state)
{
    (void)state;
    check_phrases("If the notes do not contain the answer, stop.",
                  "If| the notes| do not contain| the answer|,| stop|.");
    check_phrases("It has never really been seen by them.",
                  "It| has never really been seen| by| them|.");
    check_phrases("This is not the first time.", "This| is not the first time|.");
    check_phrases("Perhaps not, he said.", "Perhaps| not|,| he| said|.");
}

static void lines_and_sentences_end_phrases(void **state)
{
    (void)state;
    check_phrases("the red\nhouse", "the| red|\n|house");
    check_phrases("I like the old house. Old dogs like it.",
                  "I| like| the old house|.| Old dogs| like| it|.");
    check_phrases("We sold the house Mr. Smith", "We| sold| the house Mr. Smith");
    check_phrases("the big, red house", "the| big|,| red house");
}

/* Sentence by sentence: the words as they are. */
static void other_languages_stay_words(void **state)
{
    (void)state;
    check_phrases("Das ist ein kleiner Hund, der in der Stadt wohnt.",
                  "Das| ist| ein| kleiner| Hund|,| der| in| der| Stadt| wohnt|.");
    check_phrases(
        "\xd0\xa1\xd1\x8a\xd0\xb5\xd1\x88\xd1\x8c \xd0\xb1\xd1\x83\xd0\xbb\xd0\xba\xd0\xb8.",
        "\xd0\xa1\xd1\x8a\xd0\xb5\xd1\x88\xd1\x8c| \xd0\xb1\xd1\x83\xd0\xbb\xd0\xba\xd0\xb8|.");
    check_phrases("Les enfants jouent dans le jardin. I saw the old man.",
                  "Les| enfants| jouent| dans| le| jardin|.| I| saw| the old man|.");
}

/* A phrase has at most eight words, whatever the text. */
static void phrases_are_short(void **state)
{
    (void)state;
    char text[4000] = "";
    for (size_t used = 0; used + 16 < sizeof text;) {
        used += (size_t)snprintf(text + used, sizeof text - used, "good house ");
    }
    pith__spans spans;
    pith_error err;
    assert_ok(pith__text_phrases(text, strlen(text), &pith__allocator_default, &spans, &err), err);
    check_partition(&spans, strlen(text));
    for (size_t i = 0; i < spans.count; i++) {
        size_t words = 0;
        for (size_t at = spans.items[i].start; at < spans.items[i].end; at++) {
            words += text[at] != ' ' && (at == 0 || text[at - 1] == ' ');
        }
        assert_true(words <= 8);
    }
    pith__spans_deinit(&spans, &pith__allocator_default);
}

static void any_bytes(void **state)
{
    (void)state;
    static const char alphabet[] = "aT .'-/\n\t$1%\xe2\x80\x99\xff\xd0\xe4\xbd\xa0_,N";
    uint64_t random = 11;
    pith_error err;
    for (size_t round = 0; round < 300; round++) {
        char text[400];
        const size_t size = test_random_below(&random, sizeof text);
        for (size_t i = 0; i < size; i++) {
            const unsigned char any = (unsigned char)test_random_below(&random, 256);
            const size_t letter = test_random_below(&random, sizeof alphabet - 1);
            memcpy(&text[i], round % 2 == 0 ? (const void *)&alphabet[letter] : &any, 1);
        }
        pith__spans spans;
        assert_ok(pith__text_phrases(text, size, &pith__allocator_default, &spans, &err), err);
        check_partition(&spans, size);
        check_made_of_words(text, size, &spans);
        pith__spans_deinit(&spans, &pith__allocator_default);
    }
}

static void empty_and_huge(void **state)
{
    (void)state;
    pith__spans spans;
    pith_error err;
    assert_ok(pith__text_phrases(NULL, 0, &pith__allocator_default, &spans, &err), err);
    assert_int_equal(spans.count, 0);
    pith__spans_deinit(&spans, &pith__allocator_default);

    const size_t size = 1000000;
    char *text = malloc(size);
    assert_non_null(text);
    static const char fills[] = "a-' \n";
    for (size_t f = 0; f < sizeof fills - 1; f++) {
        memset(text, fills[f], size);
        assert_ok(pith__text_phrases(text, size, &pith__allocator_default, &spans, &err), err);
        check_partition(&spans, size);
        pith__spans_deinit(&spans, &pith__allocator_default);
    }
    /* one grapheme cluster, hence one word: the parts of a word must be found in linear time */
    for (size_t i = 0; i + 1 < size; i += 2) {
        text[i] = '\xcc';
        text[i + 1] = '\x81';
    }
    text[0] = 'e';
    text[1] = 'e';
    assert_ok(pith__text_phrases(text, size, &pith__allocator_default, &spans, &err), err);
    check_partition(&spans, size);
    pith__spans_deinit(&spans, &pith__allocator_default);
    free(text);
}

static pith_status sweep_body(const pith_allocator *mem, void *user)
{
    const char *text = user;
    pith__spans spans;
    pith_error err;
    const pith_status status = pith__text_phrases(text, strlen(text), mem, &spans, &err);
    if (status != PITH_OK) {
        assert_null(spans.items);
    }
    pith__spans_deinit(&spans, mem);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    static char text[] = "Mr. Smith's old dog\n\nsleeps in the big house. It can't run.";
    test_sweep(sweep_body, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_are_checked),
        cmocka_unit_test(damaged_records_stay_inside),
        cmocka_unit_test(tag_names),
        cmocka_unit_test(tags_of_sentences),
        cmocka_unit_test(words_are_normalised),
        cmocka_unit_test(accuracy_on_dev),
        cmocka_unit_test(chunks_on_dev),
        cmocka_unit_test(chunks_of_a_tree),
        cmocka_unit_test(phrases_of_sentences),
        cmocka_unit_test(words_are_not_split),
        cmocka_unit_test(negations_stay_with_what_they_negate),
        cmocka_unit_test(lines_and_sentences_end_phrases),
        cmocka_unit_test(other_languages_stay_words),
        cmocka_unit_test(phrases_are_short),
        cmocka_unit_test(any_bytes),
        cmocka_unit_test(empty_and_huge),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
