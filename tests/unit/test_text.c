/*
 * test_text.c: lib/text: UTF-8, segmentation, protection rules, keep tags.
 */
#include "test.h"

#include "text/text.h"

#include <jansson.h>
#include <unicode/ubrk.h>
#include <unicode/utext.h>

static const pith_allocator *const mem = &pith__allocator_default;

/* ---- helpers --------------------------------------------------------------------- */

/* The pieces of `text` that the spans name, joined by '|', in a static buffer. */
static const char *joined(const char *text, const pith__spans *spans)
{
    static char line[4096];
    size_t used = 0;
    for (size_t i = 0; i < spans->count; i++) {
        const pith__span *span = &spans->items[i];
        const size_t length = span->end - span->start;
        assert_true(used + length + 2 < sizeof line);
        if (i > 0) {
            line[used++] = '|';
        }
        memcpy(line + used, text + span->start, length);
        used += length;
    }
    line[used] = '\0';
    return line;
}

/* One letter per span: w, p, s, b. */
static const char *kinds(const pith__spans *spans)
{
    static char line[256];
    assert_true(spans->count < sizeof line);
    for (size_t i = 0; i < spans->count; i++) {
        line[i] = "wpsb"[spans->items[i].kind];
    }
    line[spans->count] = '\0';
    return line;
}

typedef pith_status (*splitter)(const char *text, size_t size, const pith_allocator *mem,
                                pith__spans *out, pith_error *err);

static void assert_split(splitter split, const char *text, const char *expected)
{
    pith__spans spans;
    pith_error err;
    assert_ok(split(text, strlen(text), mem, &spans, &err), err);
    assert_string_equal(joined(text, &spans), expected);
    pith__spans_deinit(&spans, mem);
}

static void assert_kinds(splitter split, const char *text, const char *expected)
{
    pith__spans spans;
    pith_error err;
    assert_ok(split(text, strlen(text), mem, &spans, &err), err);
    assert_string_equal(kinds(&spans), expected);
    pith__spans_deinit(&spans, mem);
}

/* Spans are not empty, touch, cover the text, and begin where clusters begin. */
static void assert_partition(splitter split, const char *text, size_t size,
                             const pith__graphemes *graphemes)
{
    pith__spans spans;
    pith_error err;
    assert_ok(split(text, size, mem, &spans, &err), err);
    size_t at = 0;
    for (size_t i = 0; i < spans.count; i++) {
        assert_int_equal(spans.items[i].start, at);
        assert_true(spans.items[i].end > at);
        assert_true(pith__graphemes_is_boundary(graphemes, at));
        at = spans.items[i].end;
    }
    assert_int_equal(at, size);
    pith__spans_deinit(&spans, mem);
}

/* Strings that mean something to one rule or another. */
static const char *const atoms[] = {
    "a",
    "Word",
    " ",
    "  ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\302\205",     /* NEL */
    "\342\200\250", /* LINE SEPARATOR */
    "\302\240",     /* NO-BREAK SPACE */
    "\343\200\200", /* IDEOGRAPHIC SPACE */
    ".",
    "...",
    ". ",
    "Mr. ",
    "J. ",
    "e.g. ",
    "! ",
    "?",
    ",",
    ";",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "<",
    ">",
    "\"",
    "'",
    "`",
    "```",
    "~~~\n",
    "\\",
    "-",
    "--",
    "#",
    "$",
    "%",
    "+",
    "/",
    ":",
    "@",
    "0",
    "42",
    "http://x.y",
    "www.a",
    "a@b.cd",
    "<k>",
    "</k>",
    "\303\251",                             /* e acute */
    "\320\226",                             /* Cyrillic */
    "e\314\201",                            /* e, combining acute */
    "\314\201",                             /* combining acute */
    "\344\270\255",                         /* Han */
    "\346\226\207",                         /* Han */
    "\343\201\213\343\202\231",             /* Hiragana, combining voiced mark */
    "\343\202\271",                         /* Katakana */
    "\343\200\202",                         /* ideographic full stop */
    "\357\274\201",                         /* fullwidth ! */
    "\340\271\204\340\270\227\340\270\242", /* Thai */
    "\340\270\231\340\271\211\340\270\263", /* Thai, with SARA AM */
    "\341\236\201\341\237\222\341\236\230", /* Khmer */
    "\341\200\231\341\200\274",             /* Burmese */
    "\340\272\245\340\272\262\340\272\247", /* Lao */
    "\355\225\234",                         /* Hangul syllable */
    "\341\204\200",                         /* Hangul L */
    "\341\205\241",                         /* Hangul V */
    "\341\206\250",                         /* Hangul T */
    "\340\244\225\340\245\215\340\244\267", /* Devanagari conjunct */
    "\330\250",                             /* Arabic */
    "\330\200",                             /* Arabic number sign: Prepend */
    "\330\237",                             /* Arabic question mark */
    "\360\237\221\251",                     /* woman */
    "\360\237\221\247",                     /* girl */
    "\342\200\215",                         /* ZERO WIDTH JOINER */
    "\342\200\213",                         /* ZERO WIDTH SPACE */
    "\360\237\217\275",                     /* skin tone */
    "\342\235\244\357\270\217",             /* heart, variation selector */
    "\342\200\274",                         /* double exclamation mark: pictographic punctuation */
    "\360\237\207\251",                     /* regional indicator D */
    "\360\237\207\252",                     /* regional indicator E */
    "\342\202\254",                         /* euro */
    "\342\210\222",                         /* minus */
    "\342\200\223",                         /* en dash */
    "\302\275",                             /* one half */
    "\377",
    "\200",
    "\344\270",     /* Han, cut short */
    "\360\237\221", /* emoji, cut short */
    "\355\240\200", /* surrogate */
};

/* Up to 40 atoms; sometimes only of a small part of the list, so that they meet each other. */
static size_t random_text(uint64_t *state, char *text)
{
    const size_t all = sizeof atoms / sizeof atoms[0];
    const size_t first = test_random_below(state, all);
    const size_t span = test_random_below(state, 2) == 0 ? all : 12;
    const size_t count = test_random_below(state, 40);
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        const char *atom = atoms[(first + test_random_below(state, span)) % all];
        memcpy(text + size, atom, strlen(atom));
        size += strlen(atom);
    }
    return size;
}

enum { RANDOM_TEXTS = 4000, LONGEST_RANDOM = 1024 };

/* ---- UTF-8 ------------------------------------------------------------------------- */

static void test_utf8_check(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bad; /* SIZE_MAX: well-formed */
    } cases[] = {
        {"", SIZE_MAX},
        {"plain ASCII, longer than eight bytes", SIZE_MAX},
        {"\302\200 \337\277 \340\240\200 \357\277\277", SIZE_MAX},
        {"\355\237\277\356\200\200", SIZE_MAX},
        {"\360\220\200\200\364\217\277\277", SIZE_MAX},
        {"123456789\200", 9},
        {"ab\300\200", 2},
        {"ab\301\277", 2},
        {"\340\237\277", 0},
        {"\355\240\200", 0},
        {"\360\217\277\277", 0},
        {"\364\220\200\200", 0},
        {"\365\200\200\200", 0},
        {"\377", 0},
        {"\303\251\344\270", 2},
        {"\344\270\255\360\237\221", 3},
        {"\344\270a", 0},
        {"\360\237a\200", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t bad = SIZE_MAX;
        const bool ok = pith__utf8_check(cases[i].text, strlen(cases[i].text), &bad);
        assert_int_equal(ok, cases[i].bad == SIZE_MAX);
        assert_int_equal(bad, cases[i].bad);
    }
    assert_true(pith__utf8_check(NULL, 0, NULL));
    assert_true(pith__utf8_check("a\0b", 3, NULL));
    assert_false(pith__utf8_check("\200", 1, NULL));
}

static void test_utf8_decode(void **state)
{
    (void)state;
    static const char text[] = "a\303\251\344\270\255\360\237\221\251\377\344\270";
    static const struct {
        size_t length;
        uint32_t code_point;
    } expected[] = {
        {1, 'a'},
        {2, 0xe9},
        {3, 0x4e2d},
        {4, 0x1f469},
        {1, PITH__UTF8_INVALID},
        {1, PITH__UTF8_INVALID},
        {1, PITH__UTF8_INVALID},
    };
    const size_t size = sizeof text - 1;
    size_t at = 0;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        uint32_t code_point = 0;
        assert_int_equal(pith__utf8_decode(text, size, at, &code_point), expected[i].length);
        assert_int_equal(code_point, expected[i].code_point);
        assert_true(pith__utf8_is_boundary(text, size, at));
        for (size_t inside = 1; inside < expected[i].length; inside++) {
            assert_false(pith__utf8_is_boundary(text, size, at + inside));
        }
        at += expected[i].length;
        assert_int_equal(pith__utf8_decode_before(text, size, at, &code_point), expected[i].length);
        assert_int_equal(code_point, expected[i].code_point);
    }
    assert_int_equal(at, size);
    assert_true(pith__utf8_is_boundary(text, size, size));
}

static void test_utf8_unfinished(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t unfinished;
    } cases[] = {
        {"", 0},
        {"a", 0},
        {"a\303\251", 0},
        {"a\303", 1},
        {"\344\270\255", 0},
        {"\344\270", 2},
        {"\344", 1},
        {"a\360\237\221", 3},
        {"a\360\237", 2},
        {"\360\237\221\251", 0},
        {"\303a", 0},
        {"\200", 0},
        {"\200\200\200\200", 0},
        {"\300", 0}, /* begins nothing */
        {"\377", 0},
        {"\355\240", 0}, /* nothing can make a character of it any more */
        {"\340\237", 0},
        {"\364\220\200", 0},
        {"\343\201\202\343\201", 2},
        {"\303\251\251", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(pith__utf8_unfinished(cases[i].text, strlen(cases[i].text)),
                         cases[i].unfinished);
    }
    assert_int_equal(pith__utf8_unfinished(NULL, 0), 0);
}

/* Every code point there and back, by an encoder that does not share code with the library. */
static void test_utf8_all(void **state)
{
    (void)state;
    for (uint32_t code_point = 0; code_point <= 0x10ffff; code_point++) {
        char bytes[4];
        size_t length = 0;
        if (code_point < 0x80) {
            bytes[length++] = (char)code_point;
        } else {
            const unsigned tails = code_point < 0x800 ? 1 : code_point < 0x10000 ? 2 : 3;
            static const unsigned leads[] = {0, 0xc0, 0xe0, 0xf0};
            bytes[length++] = (char)(leads[tails] | code_point >> (6 * tails));
            for (unsigned i = tails; i-- > 0;) {
                bytes[length++] = (char)(0x80U | (code_point >> (6 * i) & 0x3fU));
            }
        }
        const bool surrogate = code_point >= 0xd800 && code_point <= 0xdfff;
        uint32_t decoded = 0;
        const size_t read = pith__utf8_decode(bytes, length, 0, &decoded);
        if (read != (surrogate ? 1 : length) ||
            decoded != (surrogate ? PITH__UTF8_INVALID : code_point) ||
            pith__utf8_check(bytes, length, NULL) == surrogate) {
            fail_msg("U+%04X", code_point);
        }
    }
}

/* ---- grapheme clusters ------------------------------------------------------------- */

static void assert_clusters(const char *text, const char *expected)
{
    pith__graphemes graphemes;
    pith_error err;
    const size_t size = strlen(text);
    assert_ok(pith__text_graphemes(text, size, mem, &graphemes, &err), err);
    char line[256];
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        if (i > 0 && pith__graphemes_is_boundary(&graphemes, i)) {
            line[used++] = '|';
        }
        line[used++] = text[i];
    }
    line[used] = '\0';
    assert_string_equal(line, expected);
    pith__graphemes_deinit(&graphemes, mem);
}

static void test_graphemes(void **state)
{
    (void)state;
    assert_clusters("", "");
    assert_clusters("abc", "a|b|c");
    assert_clusters("a\r\nb\n\rc", "a|\r\n|b|\n|\r|c");
    assert_clusters("\r\n", "\r\n");
    assert_clusters("e\314\201e", "e\314\201|e");
    assert_clusters("\314\201a", "\314\201|a");
    assert_clusters("\n\314\201", "\n|\314\201");
    assert_clusters("\303\251\320\226\344\270\255", "\303\251|\320\226|\344\270\255");
    /* two flags and a half; a family; a Hangul syllable from its parts; Thai SARA AM */
    assert_clusters(
        "\360\237\207\251\360\237\207\252\360\237\207\253\360\237\207\267\360\237\207\251",
        "\360\237\207\251\360\237\207\252|\360\237\207\253\360\237\207\267|"
        "\360\237\207\251");
    assert_clusters("x\360\237\221\251\342\200\215\360\237\221\247y",
                    "x|\360\237\221\251\342\200\215\360\237\221\247|y");
    assert_clusters("\341\204\200\341\205\241\341\206\250\355\225\234",
                    "\341\204\200\341\205\241\341\206\250|\355\225\234");
    assert_clusters("\340\270\231\340\271\211\340\270\263a",
                    "\340\270\231\340\271\211\340\270\263|a");
    /* ill-formed bytes stand alone, and no mark sits on them */
    assert_clusters("a\377\314\201b", "a|\377|\314\201|b");
    assert_clusters("\344\270e\314\201", "\344|\270|e\314\201");
}

static void test_graphemes_near(void **state)
{
    (void)state;
    pith_error err;
    pith__graphemes graphemes;
    /* a cluster of 1 + 2 * 200 bytes: several words of bits without a boundary */
    char text[404] = "ab";
    for (size_t i = 2; i < 402; i += 2) {
        memcpy(text + i, "\314\201", 2);
    }
    text[402] = 'c';
    assert_ok(pith__text_graphemes(text, 403, mem, &graphemes, &err), err);
    assert_int_equal(pith__graphemes_floor(&graphemes, 0), 0);
    assert_int_equal(pith__graphemes_floor(&graphemes, 1), 1);
    assert_int_equal(pith__graphemes_ceil(&graphemes, 1), 1);
    for (size_t at = 2; at < 402; at++) {
        assert_int_equal(pith__graphemes_floor(&graphemes, at), 1);
        assert_int_equal(pith__graphemes_ceil(&graphemes, at), 402);
    }
    assert_int_equal(pith__graphemes_floor(&graphemes, 403), 403);
    assert_int_equal(pith__graphemes_ceil(&graphemes, 403), 403);
    pith__graphemes_deinit(&graphemes, mem);

    assert_ok(pith__text_graphemes(NULL, 0, mem, &graphemes, &err), err);
    assert_true(pith__graphemes_is_boundary(&graphemes, 0));
    assert_int_equal(pith__graphemes_ceil(&graphemes, 0), 0);
    assert_int_equal(pith__graphemes_floor(&graphemes, 0), 0);
    pith__graphemes_deinit(&graphemes, mem);
    pith__graphemes_deinit(NULL, mem);
}

/* The short cuts must give what ICU gives for the whole text. */
static void test_graphemes_equal_icu(void **state)
{
    (void)state;
    uint64_t random = 7;
    char text[LONGEST_RANDOM];
    UErrorCode code = U_ZERO_ERROR;
    UBreakIterator *iterator = ubrk_open(UBRK_CHARACTER, "", NULL, 0, &code);
    UText view = UTEXT_INITIALIZER;
    size_t compared = 0;
    for (int i = 0; i < RANDOM_TEXTS; i++) {
        const size_t size = random_text(&random, text);
        if (!pith__utf8_check(text, size, NULL)) {
            continue;
        }
        pith__graphemes graphemes;
        pith_error err;
        assert_ok(pith__text_graphemes(text, size, mem, &graphemes, &err), err);
        utext_openUTF8(&view, text, (int64_t)size, &code);
        ubrk_setUText(iterator, &view, &code);
        assert_true(U_SUCCESS(code));
        for (size_t at = 0; at < size; at++) {
            const bool expected = ubrk_isBoundary(iterator, (int32_t)at) != 0;
            assert_int_equal(pith__graphemes_is_boundary(&graphemes, at), expected);
        }
        pith__graphemes_deinit(&graphemes, mem);
        compared++;
    }
    utext_close(&view);
    ubrk_close(iterator);
    assert_true(compared > 2000);
}

/* ---- words --------------------------------------------------------------------------- */

static void test_words_spaces(void **state)
{
    (void)state;
    assert_split(pith__text_words, "", "");
    assert_split(pith__text_words, "one", "one");
    assert_split(pith__text_words, "one two  three", "one| two|  three");
    assert_split(pith__text_words, " one ", " one| ");
    assert_split(pith__text_words, "one\ntwo", "one|\n|two");
    assert_split(pith__text_words, "one \r\n\r\n  two\t", "one| \r\n\r\n  |two|\t");
    assert_split(pith__text_words, "   ", "   ");
    assert_split(pith__text_words, "\n", "\n");
    assert_split(pith__text_words, "a\302\240b\342\200\250c", "a|\302\240b|\342\200\250|c");
    assert_kinds(pith__text_words, " one, (two)\n \n3 ", "wppwpbws");
}

static void test_words_punctuation(void **state)
{
    (void)state;
    assert_split(pith__text_words, "Hello, world...", "Hello|,| world|...");
    assert_split(pith__text_words, "(\"Why?!\")", "(|\"|Why|?|!|\"|)");
    assert_split(pith__text_words, "a -- b", "a| --| b");
    assert_split(pith__text_words, "don't state-of-the-art 1,000.5.",
                 "don't| state-of-the-art| 1,000.5|.");
    assert_split(pith__text_words, "see foo.bar(baz), a[i]; f().",
                 "see| foo.bar(baz)|,| a[i]|;| f()|.");
    assert_split(pith__text_words, "x) (y) ((z))", "x|)| (|y|)| ((|z|))");
    assert_split(pith__text_words, "https://a.org/b?c=d, me@b.org.",
                 "https://a.org/b?c=d|,| me@b.org|.");
    assert_split(pith__text_words, "\342\200\234Oh\342\200\235 \302\277no?",
                 "\342\200\234|Oh|\342\200\235| \302\277|no|?");
    assert_split(pith__text_words, "# Title", "#| Title");
    assert_split(pith__text_words, "**bold** `code`", "**|bold|**| `|code|`");
    assert_split(pith__text_words, "/usr/bin/ $HOME @me _x_", "/usr/bin/| $HOME| @me| _x_");
    assert_split(pith__text_words, "- -5 .5 +3 #1 10% $42 --all -v ...5",
                 "-| -5| .5| +3| #1| 10%| $42| --all| -v| ...|5");
    assert_split(pith__text_words, "%% 50%%", "%%| 50%|%");
    assert_split(pith__text_words, "caf\351s, ok", "caf\351s|,| ok"); /* Latin-1 */
    /* a mark on punctuation or on the space before it keeps them together */
    assert_split(pith__text_words, "\"\314\201a\"", "\"\314\201a|\"");
    assert_split(pith__text_words, "a\n \314\201b", "a|\n| \314\201b");
}

static void test_words_scripts(void **state)
{
    (void)state;
    /* Chinese: "I like machine learning."; Japanese: "this is a pen"; Thai: "hello in Thai" */
    assert_split(pith__text_words,
                 "\346\210\221\345\226\234\346\254\242\346\234\272\345\231\250\345\255\246\344\271"
                 "\240\343\200\202",
                 "\346\210\221|\345\226\234\346\254\242|\346\234\272\345\231\250|"
                 "\345\255\246\344\271\240|\343\200\202");
    assert_split(
        pith__text_words,
        "\343\201\223\343\202\214\343\201\257\343\203\232\343\203\263\343\201\247\343\201\231",
        "\343\201\223\343\202\214|\343\201\257|\343\203\232\343\203\263|\343\201\247\343\201\231");
    assert_split(
        pith__text_words,
        "\340\270\252\340\270\247\340\270\261\340\270\252\340\270\224\340\270\265\340\270\240\340"
        "\270\262\340\270\251\340\270\262\340\271\204\340\270\227\340\270\242",
        "\340\270\252\340\270\247\340\270\261\340\270\252\340\270\224\340\270\265|"
        "\340\270\240\340\270\262\340\270\251\340\270\262|\340\271\204\340\270\227\340\270\242");
    /* Korean uses spaces; Cyrillic, Arabic and Devanagari too */
    assert_split(pith__text_words, "\355\225\234\352\265\255\354\226\264 \355\225\234.",
                 "\355\225\234\352\265\255\354\226\264| \355\225\234|.");
    assert_split(pith__text_words, "\320\226\320\260, \330\250\330\237",
                 "\320\226\320\260|,| \330\250|\330\237");
    assert_split(pith__text_words, "\344\270\255\343\200\202\343\200\202\343\200\202 a",
                 "\344\270\255|\343\200\202\343\200\202\343\200\202| a");
    assert_kinds(pith__text_words, "\344\270\255\343\200\202\343\200\202 a", "wpw");
    /* emoji: families, flags and skin tones stay whole */
    assert_split(pith__text_words,
                 "\360\237\221\251\342\200\215\360\237\221\247 \360\237\207\251\360\237\207\252",
                 "\360\237\221\251\342\200\215\360\237\221\247| \360\237\207\251\360\237\207\252");
}

/* 100 bytes with a hyphen in each ten are cut at word boundaries, a megabyte of one letter in short pieces. */
static void test_words_long(void **state)
{
    (void)state;
    pith_error err;
    pith__spans spans;
    char path[101];
    for (size_t i = 0; i < 100; i++) {
        path[i] = i % 10 == 9 ? '=' : 'a';
    }
    path[64] = '\0';
    assert_ok(pith__text_words(path, 64, mem, &spans, &err), err);
    assert_int_equal(spans.count, 1); /* 64 bytes are not too long */
    pith__spans_deinit(&spans, mem);
    path[64] = 'a';
    assert_ok(pith__text_words(path, 65, mem, &spans, &err), err);
    assert_int_equal(spans.count, 13);
    assert_int_equal(spans.items[0].end, 9);
    assert_int_equal(spans.items[1].kind, PITH__SPAN_PUNCTUATION);
    pith__spans_deinit(&spans, mem);

    const size_t size = 1000000;
    char *text = malloc(size);
    assert_non_null(text);
    static const char *const fill[] = {"a",
                                       "\314\201",
                                       "=",
                                       "\344\270\255",
                                       "\377",
                                       "=-",
                                       "(",
                                       "\360\237\221\251\342\200\215",
                                       "\360\237\207\251"};
    for (size_t f = 0; f < sizeof fill / sizeof fill[0]; f++) {
        for (size_t i = 0; i < size; i++) {
            text[i] = fill[f][i % strlen(fill[f])];
        }
        pith__graphemes graphemes;
        assert_ok(pith__text_graphemes(text, size, mem, &graphemes, &err), err);
        assert_partition(pith__text_words, text, size, &graphemes);
        assert_partition(pith__text_sentences, text, size, &graphemes);
        assert_ok(pith__text_words(text, size, mem, &spans, &err), err);
        for (size_t i = 0; i < spans.count && f != 1 && f != 7; i++) { /* there it is one cluster */
            assert_true(spans.items[i].end - spans.items[i].start <= 256);
        }
        pith__spans_deinit(&spans, mem);
        pith__graphemes_deinit(&graphemes, mem);
    }
    free(text);
}

/* ---- sentences ------------------------------------------------------------------------- */

static void test_sentences(void **state)
{
    (void)state;
    assert_split(pith__text_sentences, "", "");
    assert_split(pith__text_sentences, "One. Two!  Three? ", "One.| Two!|  Three?| ");
    assert_split(pith__text_sentences, "No stop", "No stop");
    assert_split(pith__text_sentences, " Lead. Two.", " Lead.| Two.");
    assert_split(pith__text_sentences, "# Title\n\nText. More.\n- item one\n- item two\r\n",
                 "# Title|\n\n|Text.| More.|\n|- item one|\n|- item two|\r\n");
    assert_split(pith__text_sentences, "a. \n b.", "a.| \n |b.");
    assert_split(pith__text_sentences, "  \n a", "  \n |a");
    assert_split(pith__text_sentences, "It is 3.14 now. Version 2.0 is out.",
                 "It is 3.14 now.| Version 2.0 is out.");
    assert_split(pith__text_sentences, "He said \"Go.\" Then he went.",
                 "He said \"Go.\"| Then he went.");
    assert_split(pith__text_sentences,
                 "\344\270\255\346\226\207\343\200\202\346\226\207\343\200\202",
                 "\344\270\255\346\226\207\343\200\202|\346\226\207\343\200\202");
    assert_kinds(pith__text_sentences, "A b. C d.\nE ", "wwbws");
}

static void test_sentences_abbreviations(void **state)
{
    (void)state;
    assert_split(pith__text_sentences, "Mr. Smith met Dr. Who. They talked.",
                 "Mr. Smith met Dr. Who.| They talked.");
    assert_split(pith__text_sentences, "Many, e.g. J. Smith, came. So did I. Then we left.",
                 "Many, e.g. J. Smith, came.| So did I.| Then we left.");
    assert_split(pith__text_sentences, "By J. R. R. Tolkien. Good.", "By J. R. R. Tolkien.| Good.");
    assert_split(pith__text_sentences, "See Fig. 3 and No. 5, A. No. That is all.",
                 "See Fig. 3 and No. 5, A. No.| That is all.");
    assert_split(pith__text_sentences, "Born Jan. 7, Berlin. Cf. Eq. 4, Vol. 2. End.",
                 "Born Jan. 7, Berlin.| Cf. Eq. 4, Vol. 2.| End.");
    assert_split(pith__text_sentences, "Alice vs. Bob. Prof. X, i.e. Charles.",
                 "Alice vs. Bob.| Prof. X, i.e. Charles.");
    /* a word that only ends like one is none */
    assert_split(pith__text_sentences, "Add the amr. Then stop.", "Add the amr.| Then stop.");
    assert_split(pith__text_sentences, "Mr.", "Mr.");
}

/* ---- properties --------------------------------------------------------------------------- */

static void test_partitions(void **state)
{
    (void)state;
    uint64_t random = 1;
    char text[LONGEST_RANDOM];
    for (int i = 0; i < RANDOM_TEXTS; i++) {
        const size_t size = random_text(&random, text);
        pith__graphemes graphemes;
        pith_error err;
        assert_ok(pith__text_graphemes(text, size, mem, &graphemes, &err), err);
        assert_partition(pith__text_words, text, size, &graphemes);
        assert_partition(pith__text_sentences, text, size, &graphemes);
        for (size_t at = 0; at < size; at++) {
            if (pith__graphemes_is_boundary(&graphemes, at)) {
                assert_true(pith__utf8_is_boundary(text, size, at));
            }
        }
        pith__graphemes_deinit(&graphemes, mem);
    }
}

/* Random bytes, most of them not UTF-8. */
static void test_bytes(void **state)
{
    (void)state;
    uint64_t random = 2;
    for (int i = 0; i < 2000; i++) {
        char text[128];
        const size_t size = test_random_below(&random, sizeof text);
        for (size_t j = 0; j < size; j++) {
            text[j] = (char)test_random_below(&random, 256);
        }
        pith__graphemes graphemes;
        pith_error err;
        assert_ok(pith__text_graphemes(text, size, mem, &graphemes, &err), err);
        assert_partition(pith__text_words, text, size, &graphemes);
        assert_partition(pith__text_sentences, text, size, &graphemes);
        pith__graphemes_deinit(&graphemes, mem);
    }
}

/* ---- the released Selective Context --------------------------------------------------------- */

static void assert_official(const char *text, size_t size, const char *clean, const char *sentences)
{
    pith__official official;
    pith_error err;
    assert_ok(pith__official_split(text, size, mem, &official, &err), err);
    assert_int_equal(official.size, strlen(clean));
    assert_memory_equal(official.text, clean, official.size);
    assert_string_equal(joined(official.text, &official.sentences), sentences);
    pith__official_deinit(&official, mem);
}

/* Expected values from Python's re module. */
static void test_official(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *clean;
        const char *sentences;
    } cases[] = {
        {"", "", ""},
        {"   ", " ", ""},
        {"A b. C d? E", "A b. C d? E", "A b.|C d?|E"},
        {"Mr. X went. No.  Yes", "Mr. X went. No. Yes", "Mr. X went.|No. Yes"},
        {"e.g. this is. U.S.A. is. x.y. z", "e.g. this is. U.S.A. is. x.y. z",
         "e.g. this is.|U.S.A. is.|x.y. z"},
        {"wow! really. \012\012 ok.\011go", "wow! really. ok. go", "wow! really.|ok.|go"},
        {"a.b? c. d", "a.b? c. d", "a.b? c.|d"},
        {"\303\244.\303\266. \303\274. \303\237", "\303\244.\303\266. \303\274. \303\237",
         "\303\244.\303\266. \303\274.|\303\237"},
        {"1.2. 3. 4", "1.2. 3. 4", "1.2. 3.|4"},
        {"Ab. Cd. abc. D", "Ab. Cd. abc. D", "Ab. Cd. abc.|D"},
        {"What?\? Yes. . . no", "What?\? Yes. . . no", "What?\?|Yes.|.|.|no"},
        {"\303\251\343\200\200. x.\302\240y. \342\200\250z", "\303\251 . x. y. z",
         "\303\251 .|x.|y.|z"},
        {"\034A.\035B.\036C. \302\205D. ", " A. B. C. D. ", "A.|B.|C.|D."},
        {"..  . a", ".. . a", "..|.|a"},
        {"\304\261.\307\206. x \302\275.\302\262 y. z",
         "\304\261.\307\206. x \302\275.\302\262 y. z",
         "\304\261.\307\206. x \302\275.\302\262 y.|z"},
        {"\344\270\255.\346\226\207. \345\255\227\343\200\202 x. ",
         "\344\270\255.\346\226\207. \345\255\227\343\200\202 x. ",
         "\344\270\255.\346\226\207. \345\255\227\343\200\202 x."},
        {"e\314\201.e\314\201. x", "e\314\201.e\314\201. x", "e\314\201.e\314\201.|x"},
        {"a.b.c d.e? f", "a.b.c d.e? f", "a.b.c d.e? f"},
        {"No.", "No.", "No."},
        {"A. B. C.", "A. B. C.", "A.|B.|C."},
        {"\342\200\213x.\342\200\213 y", "\342\200\213x.\342\200\213 y",
         "\342\200\213x.\342\200\213 y"},
        {"  lead. trail.  ", " lead. trail. ", "lead.|trail."},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_official(cases[i].text, strlen(cases[i].text), cases[i].clean, cases[i].sentences);
    }
    pith__official_deinit(NULL, mem);
}

static void test_official_map(void **state)
{
    (void)state;
    static const char text[] = "a \n b\tc\343\200\200 d  ";
    pith__official official;
    pith_error err;
    assert_ok(pith__official_split(text, sizeof text - 1, mem, &official, &err), err);
    assert_memory_equal(official.text, "a b c d ", 8);
    static const size_t starts[] = {0, 1, 4, 5, 6, 7, 11, 12, 14};
    static const size_t ends[] = {0, 1, 4, 5, 6, 7, 11, 12, 14};
    for (size_t i = 0; i <= official.size; i++) {
        assert_int_equal(pith__text_map_start(&official.map, i), starts[i]);
        assert_int_equal(pith__text_map_end(&official.map, i), ends[i]);
    }
    pith__official_deinit(&official, mem);

    assert_ok(pith__official_split("a b\tc", 5, mem, &official, &err), err);
    assert_int_equal(official.map.count, 0); /* nothing moved */
    assert_int_equal(pith__text_map_start(&official.map, 3), 3);
    assert_int_equal(pith__text_map_end(&official.map, 3), 3);
    pith__official_deinit(&official, mem);
}

static void test_official_reference(void **state)
{
    (void)state;
    require_shared();
    size_t size = 0;
    char *data = test_read_file(test_path("shared", "golden/selective_context/cases.json"), &size);
    json_t *root = json_loadb(data, size, 0, NULL);
    assert_non_null(root);
    const json_t *cases = json_object_get(root, "cases");
    assert_true(json_array_size(cases) >= 5);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *item = json_array_get(cases, i);
        const json_t *text = json_object_get(item, "text");
        const json_t *sentences = json_object_get(item, "sentences");
        pith__official official;
        pith_error err;
        assert_ok(pith__official_split(json_string_value(text), json_string_length(text), mem,
                                       &official, &err),
                  err);
        assert_int_equal(official.sentences.count, json_array_size(sentences));
        for (size_t s = 0; s < official.sentences.count; s++) {
            const json_t *expected = json_array_get(sentences, s);
            const pith__span *span = &official.sentences.items[s];
            assert_int_equal(span->end - span->start, json_string_length(expected));
            assert_memory_equal(official.text + span->start, json_string_value(expected),
                                span->end - span->start);
        }
        pith__official_deinit(&official, mem);
    }
    json_decref(root);
    free(data);
}

/* ---- protection rules ------------------------------------------------------------------------ */

static void assert_kept_by(unsigned rules, const char *text, const char *expected)
{
    pith__protect *protect = NULL;
    pith__spans spans;
    pith_error err;
    assert_ok(pith__protect_new(mem, rules, &protect, &err), err);
    assert_ok(pith__protect_apply(protect, text, strlen(text), mem, &spans, &err), err);
    assert_string_equal(joined(text, &spans), expected);
    pith__spans_deinit(&spans, mem);
    pith__protect_free(protect);
}

static void test_protect_numbers(void **state)
{
    (void)state;
    const unsigned rules = PITH__PROTECT_NUMBERS;
    assert_kept_by(rules, "", "");
    assert_kept_by(rules, "no digits - at: all.", "");
    assert_kept_by(rules, "pi is 3.14, ok", "3.14");
    assert_kept_by(rules, "costs $42. Or 10%, on 2026-11-21 with v2.1!", "$42|10%|2026-11-21|v2.1");
    assert_kept_by(rules, "1,000.5 10:30 3/4 192.168.0.1", "1,000.5|10:30|3/4|192.168.0.1");
    assert_kept_by(rules, "-5 +3 .5 (-7) #9 ~4 a-1", "-5|+3|.5|-7|#9|~4|1");
    assert_kept_by(rules, "10kg COVID-19 GPT4 x_2", "10kg|19|GPT4|x_2");
    assert_kept_by(rules, "5\342\202\254 \342\202\2545 US$5 \302\2437",
                   "5\342\202\254|\342\202\2545|$5|\302\2437");
    assert_kept_by(rules, "1990\342\200\2231995 10%-20% \342\210\2223",
                   "1990\342\200\2231995|10%-20%|\342\210\2223");
    assert_kept_by(rules, "1, 2; 3-a", "1|2|3");
    assert_kept_by(rules, "\331\243\331\244 x\302\262 \302\275",
                   "\331\243\331\244|x\302\262|\302\275");
    assert_kept_by(rules, "\3771\377", "1");
}

static void test_protect_links(void **state)
{
    (void)state;
    const unsigned rules = PITH__PROTECT_LINKS;
    assert_kept_by(rules, "see https://a.org/b?c=d#e. Or (http://x.y/z_(w)), ok",
                   "https://a.org/b?c=d#e|http://x.y/z_(w)");
    assert_kept_by(rules, "[t](https://a.org/x) <ftp://b.c> \"git+ssh://d\"",
                   "https://a.org/x|ftp://b.c|git+ssh://d");
    assert_kept_by(rules, "www.example.com, WWW.A.B! awww.no www. x", "www.example.com|WWW.A.B");
    assert_kept_by(rules, "me.you+tag@mail.example.org. a@b @c d@ e@f.g",
                   "me.you+tag@mail.example.org");
    assert_kept_by(rules, "s3://bucket/key c:// ://x http:// a://", "s3://bucket/key");
    assert_kept_by(rules, "\350\247\201https://a.org/\303\251\343\200\202\345\245\275",
                   "https://a.org/\303\251");
    assert_kept_by(rules, "https://a.org/{id}/[x] https://[::1]:80/",
                   "https://a.org/{id}/[x]|https://[::1]:80/");
    assert_kept_by(rules, "a:b://c.d@e.fg bc://c.d@e.fg", "c.d@e.fg|bc://c.d@e.fg");
}

static void test_protect_code(void **state)
{
    (void)state;
    const unsigned rules = PITH__PROTECT_CODE;
    assert_kept_by(rules, "a `b` c ``d ` e`` f", "`b`|``d ` e``");
    assert_kept_by(rules, "a\n```c\nint x;\n```\nb", "```c\nint x;\n```\n");
    assert_kept_by(rules, "~~~\na\n```\n~~~~  \nb", "~~~\na\n```\n~~~~  \n");
    assert_kept_by(rules, "````\n```\n````\nx", "````\n```\n````\n");
    assert_kept_by(rules, "a\n   ```\nb", "   ```\nb"); /* never closed */
    assert_kept_by(rules, "a\r\n```\r\nb\r\n```\r\nc", "```\r\nb\r\n```\r\n");
    assert_kept_by(rules, "```\na\n``` no\n```",
                   "```\na\n``` no\n```");             /* text after a closing one */
    assert_kept_by(rules, "``` a ``` b", "``` a ```"); /* a span, not a fence */
    assert_kept_by(rules, "\\`not\\` but `\\` and \\``that`", "`\\`|`that`");
    assert_kept_by(rules, "two `lines\nof` it", "`lines\nof`");
    assert_kept_by(rules, "a ` b\n\nc ` d", "");                  /* no span across paragraphs */
    assert_kept_by(rules, "- a ` b\n- c ` d\n1. ` e\n# ` f", ""); /* nor across list items */
    assert_kept_by(rules, "`a`` b` `` c", "`a`` b`");
    assert_kept_by(rules, "x `", "");
}

static void test_protect_literals(void **state)
{
    (void)state;
    pith__protect *protect = NULL;
    pith__spans spans;
    pith_error err;
    assert_ok(pith__protect_new(mem, 0, &protect, &err), err);
    assert_status(pith__protect_add_literal(protect, "", 0, &err), PITH_E_ARGUMENT);
    assert_ok(pith__protect_add_literal(protect, "aba", 3, &err), err);
    assert_ok(pith__protect_add_literal(protect, "Not", 3, &err), err);
    assert_ok(pith__protect_add_literal(protect, "\344\270\255", 3, &err), err);
    static const char text[] = "abababa cNot not ab\344\270\255aba";
    assert_ok(pith__protect_apply(protect, text, sizeof text - 1, mem, &spans, &err), err);
    assert_string_equal(joined(text, &spans), "abababa|Not|\344\270\255aba");
    pith__spans_deinit(&spans, mem);
    /* used again; nothing in it */
    assert_ok(pith__protect_apply(protect, "ab", 2, mem, &spans, &err), err);
    assert_int_equal(spans.count, 0);
    assert_ok(pith__protect_apply(protect, NULL, 0, mem, &spans, &err), err);
    assert_int_equal(spans.count, 0);
    pith__protect_free(protect);
    pith__protect_free(NULL);
}

/* Occurrences found at every offset by comparing there, against the table-driven search. */
static void test_protect_literals_random(void **state)
{
    (void)state;
    uint64_t random = 3;
    for (int round = 0; round < 2000; round++) {
        char text[60];
        char literal[6];
        const size_t size = test_random_below(&random, sizeof text);
        const size_t length = 1 + test_random_below(&random, sizeof literal);
        for (size_t i = 0; i < size; i++) {
            text[i] = (char)('a' + test_random_below(&random, 2));
        }
        for (size_t i = 0; i < length; i++) {
            literal[i] = (char)('a' + test_random_below(&random, 2));
        }
        bool expected[sizeof text] = {false};
        for (size_t i = 0; i + length <= size; i++) {
            if (memcmp(text + i, literal, length) == 0) {
                memset(expected + i, 1, length);
            }
        }
        pith__protect *protect = NULL;
        pith__spans spans;
        pith_error err;
        assert_ok(pith__protect_new(mem, 0, &protect, &err), err);
        assert_ok(pith__protect_add_literal(protect, literal, length, &err), err);
        assert_ok(pith__protect_apply(protect, text, size, mem, &spans, &err), err);
        bool actual[sizeof text] = {false};
        for (size_t i = 0; i < spans.count; i++) {
            assert_true(i == 0 || spans.items[i].start > spans.items[i - 1].end);
            memset(actual + spans.items[i].start, 1, spans.items[i].end - spans.items[i].start);
        }
        assert_memory_equal(actual, expected, sizeof actual);
        pith__spans_deinit(&spans, mem);
        pith__protect_free(protect);
    }
}

static void assert_kept_by_regex(const char *pattern, const char *text, const char *expected)
{
    pith__protect *protect = NULL;
    pith__spans spans;
    pith_error err;
    assert_ok(pith__protect_new(mem, 0, &protect, &err), err);
    assert_ok(pith__protect_add_regex(protect, pattern, strlen(pattern), &err), err);
    assert_ok(pith__protect_apply(protect, text, strlen(text), mem, &spans, &err), err);
    assert_string_equal(joined(text, &spans), expected);
    pith__spans_deinit(&spans, mem);
    pith__protect_free(protect);
}

static void test_protect_regex(void **state)
{
    (void)state;
    assert_kept_by_regex("[A-Z]{2,}-\\d+", "see AB-12 and X-1, CDE-3.", "AB-12|CDE-3");
    assert_kept_by_regex("x*", "axxbx", "xx|x");
    assert_kept_by_regex("(?i)k\303\204se", "K\303\244SE \344\270\255 k\303\204se",
                         "K\303\244SE|k\303\204se");
    assert_kept_by_regex("\\p{Han}+", "a\344\270\255\346\226\207\377b", "\344\270\255\346\226\207");
    assert_kept_by_regex("(?m)^b.*$", "a\nbc\r\nb", "bc|b");
    assert_kept_by_regex("\360\237\221\251", "x\360\237\221\251y", "\360\237\221\251");
    assert_kept_by_regex("(a|b)+", "", "");
}

static void assert_bad_regex(const char *pattern, size_t size, pith_status status, size_t offset)
{
    pith__protect *protect = NULL;
    pith_error err;
    assert_ok(pith__protect_new(mem, 0, &protect, &err), err);
    assert_status(pith__protect_add_regex(protect, pattern, size, &err), status);
    assert_int_equal(err.offset, offset);
    pith__protect_free(protect);
}

static void test_protect_regex_bad(void **state)
{
    (void)state;
    assert_bad_regex("", 0, PITH_E_ARGUMENT, PITH_NO_OFFSET);
    assert_bad_regex("a(b", 3, PITH_E_SYNTAX, 2);
    assert_bad_regex("ab)c", 4, PITH_E_SYNTAX, 2);
    assert_bad_regex("a**", 3, PITH_E_SYNTAX, 2);
    assert_bad_regex("\303\251[z-a]", 7, PITH_E_SYNTAX, 5);
    assert_bad_regex("(?x)a\nb\r\n**", 11, PITH_E_SYNTAX, 10);
    assert_bad_regex("a\377", 2, PITH_E_UTF8, 1);
    static char long_pattern[70000];
    assert_bad_regex(long_pattern, sizeof long_pattern, PITH_E_RANGE, PITH_NO_OFFSET);
}

/* Patterns that take exponential or quadratic time, or a frame per byte, must give up. */
static void test_protect_regex_limits(void **state)
{
    (void)state;
    static const char *const patterns[] = {"(a+)+$", "a*b", "(a|a)*c"};
    const size_t size = 400000;
    char *text = malloc(size);
    assert_non_null(text);
    memset(text, 'a', size);
    text[size - 1] = '!';
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        pith__protect *protect = NULL;
        pith__spans spans;
        pith_error err;
        assert_ok(pith__protect_new(mem, 0, &protect, &err), err);
        assert_ok(pith__protect_add_regex(protect, patterns[i], strlen(patterns[i]), &err), err);
        assert_status(pith__protect_apply(protect, text, size, mem, &spans, &err), PITH_E_RANGE);
        assert_int_equal(spans.count, 0);
        /* and still work on another text */
        assert_ok(pith__protect_apply(protect, "xaab", 4, mem, &spans, &err), err);
        pith__spans_deinit(&spans, mem);
        pith__protect_free(protect);
    }
    free(text);
}

static void test_protect_together(void **state)
{
    (void)state;
    assert_kept_by(PITH__PROTECT_NUMBERS | PITH__PROTECT_LINKS | PITH__PROTECT_CODE,
                   "`a 1`2 http://x.y/3 b 4", "`a 1`2|http://x.y/3|4");
    uint64_t random = 4;
    char text[LONGEST_RANDOM];
    pith__protect *protect = NULL;
    pith_error err;
    assert_ok(pith__protect_new(mem, 7, &protect, &err), err);
    assert_ok(pith__protect_add_literal(protect, "Word", 4, &err), err);
    assert_ok(pith__protect_add_regex(protect, "\\p{P}+", 6, &err), err);
    for (int i = 0; i < RANDOM_TEXTS; i++) {
        const size_t size = random_text(&random, text);
        pith__spans spans;
        assert_ok(pith__protect_apply(protect, text, size, mem, &spans, &err), err);
        for (size_t s = 0; s < spans.count; s++) {
            assert_true(spans.items[s].start < spans.items[s].end && spans.items[s].end <= size);
            assert_true(s == 0 || spans.items[s].start > spans.items[s - 1].end);
            assert_true(pith__utf8_is_boundary(text, size, spans.items[s].start));
            assert_true(pith__utf8_is_boundary(text, size, spans.items[s].end));
        }
        pith__spans_deinit(&spans, mem);
    }
    pith__protect_free(protect);
}

/* ---- keep tags ------------------------------------------------------------------------------ */

static const char *const tag_names[] = {"keep", "k", "my-tag_2"};

static void assert_tags(const char *text, const char *clean, const char *kept)
{
    pith__tagged tagged;
    pith_error err;
    assert_ok(pith__tags_strip(text, strlen(text), tag_names, 3, mem, &tagged, &err), err);
    assert_int_equal(tagged.size, strlen(clean));
    assert_memory_equal(tagged.text, clean, tagged.size);
    assert_string_equal(joined(tagged.text, &tagged.kept), kept);
    for (size_t i = 0; i < tagged.size; i++) {
        assert_int_equal(text[pith__text_map_start(&tagged.map, i)], tagged.text[i]);
        assert_int_equal(text[pith__text_map_end(&tagged.map, i + 1) - 1], tagged.text[i]);
    }
    pith__tagged_deinit(&tagged, mem);
}

static void test_tags(void **state)
{
    (void)state;
    assert_tags("", "", "");
    assert_tags("a < b <i>c</i> </keepx> <keep > <Keep>", "a < b <i>c</i> </keepx> <keep > <Keep>",
                "");
    assert_tags("a <keep>b c</keep> d", "a b c d", "b c");
    assert_tags("<keep>all</keep>", "all", "all");
    assert_tags("a<keep></keep>b", "ab", "");
    assert_tags("<k>a</k><k>b</k>c", "abc", "ab");
    assert_tags("<k>a<keep>b</keep>c</k>d<my-tag_2>e</my-tag_2>", "abcde", "abc|e");
    assert_tags("<<k>>\303\251</k>", "<>\303\251", ">\303\251");
    assert_tags("<k></k>", "", "");
}

static void test_tags_map(void **state)
{
    (void)state;
    static const char text[] = "a<k>bc</k><k>d</k>";
    pith__tagged tagged;
    pith_error err;
    assert_ok(pith__tags_strip(text, sizeof text - 1, tag_names, 3, mem, &tagged, &err), err);
    static const size_t starts[] = {0, 4, 5, 13, 18};
    static const size_t ends[] = {0, 1, 5, 6, 14};
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(pith__text_map_start(&tagged.map, i), starts[i]);
        assert_int_equal(pith__text_map_end(&tagged.map, i), ends[i]);
    }
    assert_int_equal(tagged.boundary.count, 3);
    assert_int_equal(tagged.boundary.items[0].start, 1);
    assert_int_equal(tagged.boundary.items[1].start, 3);
    assert_int_equal(tagged.boundary.items[2].end, 4);
    pith__tagged_deinit(&tagged, mem);

    /* no names, or no tags: the text itself, and nothing allocated */
    test_memory memory = {.fail_from = 1};
    const pith_allocator none = test_memory_allocator(&memory);
    assert_ok(pith__tags_strip(text, sizeof text - 1, NULL, 0, &none, &tagged, &err), err);
    assert_ptr_equal(tagged.text, text);
    assert_int_equal(tagged.size, sizeof text - 1);
    assert_ok(pith__tags_strip("a<b>c", 5, tag_names, 3, &none, &tagged, &err), err);
    assert_int_equal(tagged.size, 5);
    assert_int_equal(tagged.map.count, 0);
    pith__tagged_deinit(&tagged, &none);
    pith__tagged_deinit(NULL, mem);
}

static void assert_bad_tags(const char *text, size_t offset)
{
    pith__tagged tagged;
    pith_error err;
    assert_status(pith__tags_strip(text, strlen(text), tag_names, 3, mem, &tagged, &err),
                  PITH_E_SYNTAX);
    assert_int_equal(err.offset, offset);
    assert_null(tagged.text);
}

static void test_tags_bad(void **state)
{
    (void)state;
    assert_bad_tags("ab<keep>c", 2);
    assert_bad_tags("ab</keep>c", 2);
    assert_bad_tags("<k>a<k>b</k></k>", 4);
    assert_bad_tags("<k>a</k></k>", 8);
    assert_bad_tags("<k><keep></k></keep>", 9);
    assert_bad_tags("<k><keep>", 3);

    assert_true(pith__tag_name_is_valid("a-B_9"));
    assert_false(pith__tag_name_is_valid(""));
    assert_false(pith__tag_name_is_valid("a b"));
    assert_false(pith__tag_name_is_valid("a>"));
    assert_false(pith__tag_name_is_valid("\303\251"));
    assert_true(pith__tag_name_is_valid(
        "0123456789012345678901234567890123456789012345678901234567890123"));
    assert_false(pith__tag_name_is_valid(
        "01234567890123456789012345678901234567890123456789012345678901234"));
    pith__tagged tagged;
    static const char *const bad[] = {"ok", "not ok"};
    assert_status(pith__tags_strip("x", 1, bad, 2, mem, &tagged, NULL), PITH_E_ARGUMENT);
    const char *many[65];
    for (size_t i = 0; i < 65; i++) {
        many[i] = "k";
    }
    assert_status(pith__tags_strip("x", 1, many, 65, mem, &tagged, NULL), PITH_E_ARGUMENT);
    assert_ok(pith__tags_strip("<k>x</k>", 8, many, 64, mem, &tagged, (&(pith_error){0})),
              (pith_error){0});
    pith__tagged_deinit(&tagged, mem);
}

/* ---- allocation sweeps ------------------------------------------------------------------------- */

static const char sweep_text[] =
    "Mr. Smith paid <k>$42.50</k>, e.g. for\r\n\r\n caf\303\251s "
    "\344\270\255\346\226\207\343\200\202 See "
    "https://a.org/b and `code`.  \360\237\221\251\342\200\215\360\237\221\247 <k>Done</k>. Next? "
    "Yes. 1 2 3";

static pith_status sweep_split(const pith_allocator *allocator, void *user)
{
    splitter split = *(const splitter *)user;
    pith__spans spans;
    pith_error err;
    const pith_status status = split(sweep_text, sizeof sweep_text - 1, allocator, &spans, &err);
    if (status != PITH_OK) {
        assert_int_equal(spans.count, 0);
        assert_null(spans.items);
    }
    pith__spans_deinit(&spans, allocator);
    return status;
}

static pith_status sweep_graphemes(const pith_allocator *allocator, void *user)
{
    (void)user;
    pith__graphemes graphemes;
    const pith_status status =
        pith__text_graphemes(sweep_text, sizeof sweep_text - 1, allocator, &graphemes, NULL);
    pith__graphemes_deinit(&graphemes, allocator);
    return status;
}

static pith_status sweep_official(const pith_allocator *allocator, void *user)
{
    (void)user;
    pith__official official;
    const pith_status status =
        pith__official_split(sweep_text, sizeof sweep_text - 1, allocator, &official, NULL);
    pith__official_deinit(&official, allocator);
    return status;
}

static pith_status sweep_tags(const pith_allocator *allocator, void *user)
{
    (void)user;
    pith__tagged tagged;
    const pith_status status =
        pith__tags_strip(sweep_text, sizeof sweep_text - 1, tag_names, 3, allocator, &tagged, NULL);
    pith__tagged_deinit(&tagged, allocator);
    return status;
}

static pith_status sweep_protect(const pith_allocator *allocator, void *user)
{
    (void)user;
    pith__protect *protect = NULL;
    pith__spans spans = {0};
    pith_status status = pith__protect_new(allocator, 7, &protect, NULL);
    if (status == PITH_OK) {
        status = pith__protect_add_literal(protect, "Smith", 5, NULL);
    }
    if (status == PITH_OK) {
        status = pith__protect_add_regex(protect, "\\w+\\.", 5, NULL);
    }
    if (status == PITH_OK) {
        status = pith__protect_apply(protect, sweep_text, sizeof sweep_text - 1, allocator, &spans,
                                     NULL);
    }
    pith__spans_deinit(&spans, allocator);
    pith__protect_free(protect);
    return status;
}

static void test_sweeps(void **state)
{
    (void)state;
    splitter words = pith__text_words;
    splitter sentences = pith__text_sentences;
    test_sweep(sweep_split, &words);
    test_sweep(sweep_split, &sentences);
    test_sweep(sweep_graphemes, NULL);
    test_sweep(sweep_official, NULL);
    test_sweep(sweep_tags, NULL);
    test_sweep(sweep_protect, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_check),
        cmocka_unit_test(test_utf8_decode),
        cmocka_unit_test(test_utf8_unfinished),
        cmocka_unit_test(test_utf8_all),
        cmocka_unit_test(test_graphemes),
        cmocka_unit_test(test_graphemes_near),
        cmocka_unit_test(test_graphemes_equal_icu),
        cmocka_unit_test(test_words_spaces),
        cmocka_unit_test(test_words_punctuation),
        cmocka_unit_test(test_words_scripts),
        cmocka_unit_test(test_words_long),
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_sentences_abbreviations),
        cmocka_unit_test(test_partitions),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_official),
        cmocka_unit_test(test_official_map),
        cmocka_unit_test(test_official_reference),
        cmocka_unit_test(test_protect_numbers),
        cmocka_unit_test(test_protect_links),
        cmocka_unit_test(test_protect_code),
        cmocka_unit_test(test_protect_literals),
        cmocka_unit_test(test_protect_literals_random),
        cmocka_unit_test(test_protect_regex),
        cmocka_unit_test(test_protect_regex_bad),
        cmocka_unit_test(test_protect_regex_limits),
        cmocka_unit_test(test_protect_together),
        cmocka_unit_test(test_tags),
        cmocka_unit_test(test_tags_map),
        cmocka_unit_test(test_tags_bad),
        cmocka_unit_test(test_sweeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
