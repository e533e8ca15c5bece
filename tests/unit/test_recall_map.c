/*
 * test_recall_map.c: heat maps of a recall, in the terminal and on a page.
 */
#include "render_fixture.h"

#include <math.h>

static pith_error err;

static pith_recall token(size_t start, size_t end, float score)
{
    return (pith_recall){start, end, 0.5F, 1.0F, 4.0F, score};
}

static void render_ansi(const char *text, size_t size, const pith_recall *tokens, size_t count,
                        bool color, sink *out)
{
    sink_init(out);
    assert_ok(pith_render_recall_ansi(text, size, tokens, count, color, collect, out, &err), err);
    assert_ok(pith__buf_append(&out->buf, "", 0, &err), err);
}

static void render_html(const char *text, size_t size, const pith_recall *tokens, size_t count,
                        const char *title, sink *out)
{
    sink_init(out);
    assert_ok(pith_render_recall_html(text, size, tokens, count, title, collect, out, &err), err);
}

/* ---- terminal ------------------------------------------------------------------ */

static void color_goes_from_violet_to_yellow(void **state)
{
    (void)state;
    static const char text[] = "abc\ndefg";
    const pith_recall tokens[] = {token(0, 1, 0.0F), token(1, 2, 0.05F), token(2, 5, 1.0F),
                                  token(5, 6, NAN), token(7, 8, 0.51F)};
    sink out;
    render_ansi(text, 8, tokens, COUNT(tokens), true, &out);
    assert_string_equal(out.buf.data, "\x1b[38;5;231;48;5;53mab\x1b[0m"
                                      "\x1b[38;5;16;48;5;226mc\x1b[0m\n"
                                      "\x1b[38;5;16;48;5;226md\x1b[0m"
                                      "ef"
                                      "\x1b[38;5;16;48;5;41mg\x1b[0m");
    pith__buf_deinit(&out.buf);
}

static void plain_brackets_what_is_forgotten(void **state)
{
    (void)state;
    static const char text[] = "one two three four";
    const pith_recall tokens[] = {token(0, 3, 0.9F), token(3, 7, 0.49F), token(7, 10, 0.0F),
                                  token(10, 13, NAN), token(13, 18, 0.5F)};
    sink out;
    render_ansi(text, 18, tokens, COUNT(tokens), false, &out);
    assert_string_equal(out.buf.data, "one[- two th-]ree four");
    pith__buf_deinit(&out.buf);
}

/* Tokens of a byte-level vocabulary may be parts of a character. */
static void parts_of_a_character_are_one(void **state)
{
    (void)state;
    static const char text[] = "a\xf0\x9f\x98\x80z";
    const pith_recall tokens[] = {token(0, 1, 0.0F), token(1, 3, 0.2F), token(3, 4, NAN),
                                  token(4, 5, 1.0F), token(5, 6, 0.0F)};
    sink out;
    render_ansi(text, 6, tokens, COUNT(tokens), true, &out);
    assert_string_equal(out.buf.data, "\x1b[38;5;231;48;5;53ma\x1b[0m"
                                      "\x1b[38;5;16;48;5;113m\xf0\x9f\x98\x80\x1b[0m"
                                      "\x1b[38;5;231;48;5;53mz\x1b[0m");
    pith__buf_deinit(&out.buf);
    render_html(text, 6, tokens, COUNT(tokens), NULL, &out);
    reader r;
    read_page(&r, &out.buf);
    assert_string_equal(r.all.data, text);
    assert_non_null(strstr(out.buf.data, "title=\"score 0.20; after the text 0.6065, the capsule "
                                         "0.3679, neither 0.0183; score none; "));
    reader_deinit(&r);
    pith__buf_deinit(&out.buf);
}

static void control_characters_become_visible(void **state)
{
    (void)state;
    static const char text[] = "\x1b[31m\xc2\x9b\xff\xe2\x80\xae";
    const pith_recall tokens[] = {token(0, 5, NAN), token(5, 11, 0.0F)};
    sink out;
    render_ansi(text, 11, tokens, COUNT(tokens), false, &out);
    assert_string_equal(out.buf.data, "\xe2\x90\x9b[31m[-\\u009b\\xff\\u202e-]");
    pith__buf_deinit(&out.buf);
}

/* ---- page -------------------------------------------------------------------------- */

static void page_shows_everything(void **state)
{
    (void)state;
    static const char text[] = "<b>\"a\" & 'b'</b> end";
    const pith_recall tokens[] = {token(0, 3, 0.25F), token(3, 16, 1.0F), token(16, 20, NAN)};
    sink out;
    render_html(text, 20, tokens, COUNT(tokens), "x < y", &out);
    reader r;
    read_page(&r, &out.buf);
    assert_string_equal(r.all.data, text);
    const char *const expected[] = {
        "<title>x &lt; y</title>",
        "<h1>x &lt; y</h1>",
        "<dt>Tokens</dt><dd>3</dd>",
        "<dt>With a score</dt><dd>2</dd>",
        "<dt>Mean score</dt><dd>0.625</dd>",
        "<dt>Nats after the text</dt><dd>0.50</dd>",
        "<dt>After the capsule</dt><dd>1.00</dd>",
        "<dt>After neither</dt><dd>4.00</dd>",
        "<span class=\"q2\" title=\"score 0.25; after the text 0.6065, the capsule 0.3679,",
        ", neither 0.0183\">&lt;b&gt;</span>",
        "<span class=\"q9\" title=\"score 1.00; ",
        "<span title=\"score none; after the text 0.6065, the capsule 0.3679, neither 0.0183\">",
        "<li class=\"q9\">0.9 to 1</li>",
        "prefers-color-scheme:dark",
        "--q9:#f8e961}}",
    };
    for (size_t i = 0; i < COUNT(expected); i++) {
        if (strstr(out.buf.data, expected[i]) == NULL) {
            fail_msg("the page lacks %s", expected[i]);
        }
    }
    reader_deinit(&r);
    pith__buf_deinit(&out.buf);
}

static void page_of_nothing(void **state)
{
    (void)state;
    sink out;
    render_html(NULL, 0, NULL, 0, "", &out);
    reader r;
    read_page(&r, &out.buf);
    assert_string_equal(r.all.data, "");
    assert_non_null(strstr(out.buf.data, "<title>pith recall map</title>"));
    assert_non_null(strstr(out.buf.data, "<dt>Mean score</dt><dd>?</dd>"));
    assert_null(strstr(out.buf.data, "<dt>After neither</dt>"));
    reader_deinit(&r);
    pith__buf_deinit(&out.buf);
    render_ansi(NULL, 0, NULL, 0, true, &out);
    assert_string_equal(out.buf.data, "");
    pith__buf_deinit(&out.buf);
}

/* Scores that no probe gives are as good as the nearest one. */
static void odd_scores_are_cut(void **state)
{
    (void)state;
    const pith_recall tokens[] = {token(0, 1, -3.0F), token(1, 2, 2.0F), token(2, 3, INFINITY),
                                  token(3, 3, 0.0F), token(3, 4, -INFINITY)};
    sink out;
    render_ansi("abcd", 4, tokens, COUNT(tokens), true, &out);
    assert_string_equal(out.buf.data, "\x1b[38;5;231;48;5;53ma\x1b[0m"
                                      "\x1b[38;5;16;48;5;226mbc\x1b[0m"
                                      "\x1b[38;5;231;48;5;53md\x1b[0m");
    pith__buf_deinit(&out.buf);
}

/* ---- both -------------------------------------------------------------------------- */

/* Any bytes, any tokens: well formed, and all of the text is there. */
static void any_bytes_are_safe(void **state)
{
    (void)state;
    uint64_t seed = 12;
    for (size_t round = 0; round < 500; round++) {
        char text[120];
        pith_recall tokens[120];
        const size_t size = test_random_below(&seed, sizeof text);
        const bool is_ascii = round % 2 == 0;
        for (size_t i = 0; i < size; i++) {
            text[i] = (char)(is_ascii ? 'a' + test_random_below(&seed, 26)
                                      : test_random_below(&seed, 256));
        }
        size_t count = 0;
        for (size_t at = 0; at < size;) {
            const size_t end = at + test_random_below(&seed, 5);
            if (test_random_below(&seed, 4) > 0) {
                tokens[count++] = token(at, end < size ? end : size,
                                        test_random_below(&seed, 5) == 0
                                            ? NAN
                                            : (float)test_random_below(&seed, 11) / 10.0F);
            }
            at = end + (count == COUNT(tokens) ? size : end == at);
        }
        sink out;
        render_html(text, size, tokens, count, "any", &out);
        reader r;
        read_page(&r, &out.buf);
        if (is_ascii) {
            assert_int_equal(r.all.size, size);
            assert_memory_equal(r.all.data, text, size);
        }
        reader_deinit(&r);
        pith__buf_deinit(&out.buf);
        render_ansi(text, size, tokens, count, false, &out);
        size_t bad = 0;
        assert_true(pith__utf8_check(out.buf.data, out.buf.size, &bad));
        for (size_t i = 0; i < out.buf.size; i++) {
            const unsigned char c = (unsigned char)out.buf.data[i];
            assert_true((c >= ' ' || c == '\n' || c == '\t') && c != 0x7f);
        }
        pith__buf_deinit(&out.buf);
    }
}

static void tokens_must_be_in_order(void **state)
{
    (void)state;
    const pith_recall lists[][2] = {{token(0, 3, 0.0F), token(2, 4, 0.0F)},
                                    {token(0, 1, 0.0F), token(3, 9, 0.0F)},
                                    {token(0, 2, 0.0F), token(4, 3, 0.0F)}};
    sink out;
    sink_init(&out);
    for (size_t i = 0; i < COUNT(lists); i++) {
        assert_status(pith_render_recall_ansi("abcd", 4, lists[i], 2, true, collect, &out, &err),
                      PITH_E_ARGUMENT);
        assert_status(pith_render_recall_html("abcd", 4, lists[i], 2, NULL, collect, &out, &err),
                      PITH_E_ARGUMENT);
    }
    assert_int_equal(out.buf.size, 0);
    out.refuse_after = 1;
    assert_status(pith_render_recall_ansi("abcd", 4, NULL, 0, true, collect, &out, &err),
                  PITH_E_IO);
    assert_status(pith_render_recall_html("abcd", 4, NULL, 0, NULL, collect, &out, &err),
                  PITH_E_IO);
    pith__buf_deinit(&out.buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(color_goes_from_violet_to_yellow),
        cmocka_unit_test(plain_brackets_what_is_forgotten),
        cmocka_unit_test(parts_of_a_character_are_one),
        cmocka_unit_test(control_characters_become_visible),
        cmocka_unit_test(page_shows_everything),
        cmocka_unit_test(page_of_nothing),
        cmocka_unit_test(odd_scores_are_cut),
        cmocka_unit_test(any_bytes_are_safe),
        cmocka_unit_test(tokens_must_be_in_order),
    };
    return cmocka_run_group_tests_name("recall_map", tests, NULL, NULL);
}
