/*
 * test_render.c: heat maps: nothing dangerous gets out, everything of the text does.
 */
#include "render_fixture.h"

#include "hard/hard.h"

#include <math.h>

static pith_error err;

/* ---- helpers ---------------------------------------------------------------- */

static pith_unit unit(size_t start, size_t end, float nats, bool kept, bool is_protected)
{
    return (pith_unit){start, end, nats, 1, kept, is_protected};
}

static void render_ansi(const pith__hard_source *source, const pith__units *units, bool color,
                        sink *out)
{
    sink_init(out);
    assert_ok(
        pith__render_ansi(source, units, NULL, color, collect, out, &pith__allocator_default, &err),
        err);
    assert_ok(pith__buf_append(&out->buf, "", 0, &err), err);
}

static void render_html(const pith__hard_source *source, const pith__units *units,
                        const pith__page *page, sink *out)
{
    sink_init(out);
    assert_ok(
        pith__render_html(source, units, NULL, page, collect, out, &pith__allocator_default, &err),
        err);
}

/* ---- terminal ------------------------------------------------------------------ */

static void plain_brackets_what_was_dropped(void **state)
{
    (void)state;
    /* the tag in the middle is in no unit; the line break of the dropped text stays */
    const pith__hard_source source = {.text = "one two\nthree<t> four", .size = 21};
    pith_unit items[] = {unit(0, 3, 1, true, false), unit(3, 7, 2, false, false),
                         unit(7, 8, 2, false, false), unit(8, 13, 3, true, false),
                         unit(16, 21, 4, false, false)};
    const pith__units units = {items, COUNT(items), NULL};
    sink out;
    render_ansi(&source, &units, false, &out);
    assert_string_equal(out.buf.data, "one[- two-]\nthree[-<t> four-]");
    pith__buf_deinit(&out.buf);
}

static void color_follows_the_deciles(void **state)
{
    (void)state;
    const pith__hard_source source = {.text = "abcdefg", .size = 7};
    pith_unit items[] = {unit(0, 1, 1, true, false),  unit(1, 2, 2, true, false),
                         unit(2, 3, 9, true, true),   unit(3, 4, NAN, true, false),
                         unit(4, 5, NAN, true, true), unit(5, 6, 1, false, false)};
    const pith__units units = {items, COUNT(items), NULL};
    sink out;
    render_ansi(&source, &units, true, &out);
    /* known nats: 1 1 2 9; deciles 1 1 1 1.2 1.5 1.8 2.7 4.8 6.9 */
    assert_string_equal(out.buf.data, "\x1b[38;5;231;48;5;53ma\x1b[0m"
                                      "\x1b[38;5;16;48;5;113mb\x1b[0m"
                                      "\x1b[1;38;5;16;48;5;226mc\x1b[0m"
                                      "d"
                                      "\x1b[1me\x1b[0m"
                                      "\x1b[2;9mf\x1b[0m"
                                      "\x1b[2mg\x1b[0m");
    pith__buf_deinit(&out.buf);
}

static void colors_stop_at_line_ends(void **state)
{
    (void)state;
    const pith__hard_source source = {.text = "a\r\nb", .size = 4};
    pith_unit items[] = {unit(0, 4, 1, false, false)};
    const pith__units units = {items, 1, NULL};
    sink out;
    render_ansi(&source, &units, true, &out);
    assert_string_equal(out.buf.data, "\x1b[2;9ma\x1b[0m\n\x1b[2;9mb\x1b[0m");
    pith__buf_deinit(&out.buf);
}

static void control_characters_become_visible(void **state)
{
    (void)state;
    const char text[] = "\x1b[31m\x07\x7f\r\xc2\x9b\xe2\x80\xae\xff\xe2\x82\tx\0";
    const pith__hard_source source = {.text = text, .size = sizeof text - 1};
    const pith__units none = {NULL, 0, NULL};
    sink out;
    render_ansi(&source, &none, false, &out);
    assert_string_equal(out.buf.data,
                        "[-\xe2\x90\x9b[31m\xe2\x90\x87\xe2\x90\xa1\xe2\x90\x8d\\u009b\\u202e"
                        "\\xff\\xe2\\x82\tx\xe2\x90\x80-]");
    pith__buf_deinit(&out.buf);
}

static void nothing_gives_nothing(void **state)
{
    (void)state;
    const pith__hard_source source = {.text = NULL, .size = 0};
    const pith__units none = {NULL, 0, NULL};
    sink out;
    render_ansi(&source, &none, true, &out);
    assert_string_equal(out.buf.data, "");
    pith__buf_deinit(&out.buf);
}

/* ---- page ----------------------------------------------------------------------------- */

static void page_shows_everything(void **state)
{
    (void)state;
    static const char text[] = "<b>\"a\" & 'b'</b>\n dropped\tkept";
    const pith__hard_source source = {.text = text, .size = strlen(text)};
    pith_unit items[] = {unit(0, 3, 0.125F, false, false), unit(3, 16, 5.0F, true, true),
                         unit(16, 25, 2.0F, false, false), unit(26, 30, NAN, true, false)};
    items[1].tokens = 3;
    const pith__units units = {items, COUNT(items), NULL};
    const pith_stats stats = {.source_tokens = 40,
                              .kept_tokens = 10,
                              .budget_tokens = 20,
                              .score_seconds = 1.0,
                              .select_seconds = 0.25};
    const pith__page head = {"x < y & \"z\"", &stats};
    sink out;
    render_html(&source, &units, &head, &out);
    reader r;
    read_page(&r, &out.buf);
    assert_string_equal(r.all.data, text);
    assert_string_equal(r.output.data, "\"a\" & 'b'</b>\nkept");
    const char *const expected[] = {
        "<title>x &lt; y &amp; &quot;z&quot;</title>",
        "<h1>x &lt; y &amp; &quot;z&quot;</h1>",
        "&amp; &#39;b&#39;",
        "<dt>Tokens</dt><dd>40 \xe2\x86\x92 10</dd>",
        "<dt>Rate</dt><dd>25.0 %</dd>",
        "<dt>Budget in tokens</dt><dd>20</dd>",
        "<dt>Units</dt><dd>4 \xe2\x86\x92 2</dd>",
        "<dt>Protected units</dt><dd>1</dd>",
        "<dt>Time</dt><dd>1.25 s</dd>",
        "<del title=\"0.13 nats, 1 token, dropped\">&lt;b&gt;</del>",
        "<span class=\"q9 p\" title=\"5.00 nats, 3 tokens, protected\">",
        "<span class=\"o\">\t</span>",
        "<span title=\"unknown, 1 token, kept\">kept</span>",
        "prefers-color-scheme:dark",
        "<svg ",
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
    const pith__hard_source source = {.text = NULL, .size = 0};
    const pith__units none = {NULL, 0, NULL};
    const pith__page head = {NULL, NULL};
    sink out;
    render_html(&source, &none, &head, &out);
    reader r;
    read_page(&r, &out.buf);
    assert_string_equal(r.all.data, "");
    assert_non_null(strstr(out.buf.data, "<dt>Rate</dt><dd>100.0 %</dd>"));
    assert_null(strstr(out.buf.data, "<svg "));
    reader_deinit(&r);
    pith__buf_deinit(&out.buf);
}

static void page_survives_odd_numbers(void **state)
{
    (void)state;
    const pith__hard_source source = {.text = "abcd", .size = 4};
    pith_unit items[] = {unit(0, 1, INFINITY, true, false), unit(1, 2, -1.5F, true, false),
                         unit(2, 3, 3e38F, false, false), unit(3, 4, -INFINITY, false, false)};
    for (size_t count = 1; count <= COUNT(items); count++) {
        const pith__units units = {items, count, NULL};
        const pith__page head = {NULL, NULL};
        sink out;
        render_html(&source, &units, &head, &out);
        reader r;
        read_page(&r, &out.buf);
        assert_string_equal(r.all.data, "abcd");
        assert_non_null(strstr(out.buf.data, "\xe2\x88\x9e nats"));
        assert_true(count < 2 || strstr(out.buf.data, "-1.50 nats") != NULL);
        reader_deinit(&r);
        pith__buf_deinit(&out.buf);
    }
}

static void page_replaces_what_html_cannot_hold(void **state)
{
    (void)state;
    const char text[] = "a\xff\0\x1b\r\nb\rc\xef\xbf\xbe\xc2\x85\xe2\x81\xa6";
    const pith__hard_source source = {.text = text, .size = sizeof text - 1};
    pith_unit items[] = {unit(0, sizeof text - 1, 1, true, false)};
    const pith__units units = {items, 1, NULL};
    const pith__page head = {NULL, NULL};
    sink out;
    render_html(&source, &units, &head, &out);
    reader r;
    read_page(&r, &out.buf);
    assert_string_equal(r.all.data, "a\xef\xbf\xbd\xe2\x90\x80\xe2\x90\x9b\nb\xe2\x90\x8d"
                                    "c\xef\xbf\xbd\\u0085\\u2066");
    reader_deinit(&r);
    pith__buf_deinit(&out.buf);
}

/* A megabyte in units of four bytes: linear, in blocks, and not much more than the spans cost. */
static void page_of_a_long_text(void **state)
{
    (void)state;
    enum { UNITS = 262144 };
    static const char pieces[2][4] = {{' ', 'a', 'b', 'c'}, {'e', 'n', 'd', '\n'}};
    char *text = malloc((size_t)UNITS * 4);
    pith_unit *items = malloc(UNITS * sizeof *items);
    assert_non_null(text);
    assert_non_null(items);
    for (size_t i = 0; i < UNITS; i++) {
        memcpy(text + 4 * i, pieces[i % 10 == 9], 4);
        items[i] = unit(4 * i, 4 * i + 4, (float)(i % 97) / 9.0F, i % 2 == 0, false);
    }
    const pith__hard_source source = {.text = text, .size = (size_t)UNITS * 4};
    const pith__units units = {items, UNITS, NULL};
    const pith__page head = {NULL, NULL};
    sink out;
    render_html(&source, &units, &head, &out);
    assert_true(out.buf.size < (size_t)UNITS * 64);
    reader r;
    read_page(&r, &out.buf);
    assert_int_equal(r.all.size, (size_t)UNITS * 4);
    size_t blocks = 0;
    for (const char *at = out.buf.data; at != NULL; at = strstr(at + 1, "<div class=\"b\">")) {
        blocks++;
    }
    assert_in_range(blocks, 100, 200);
    reader_deinit(&r);
    pith__buf_deinit(&out.buf);
    free(items);
    free(text);
}

/* ---- both ---------------------------------------------------------------------------------- */

/* Takes the brackets and what they hold out of the plain form. No text here has brackets itself. */
static void strip_brackets(char *text)
{
    char *to = text;
    for (const char *at = text; *at != '\0';) {
        if (strncmp(at, "[-", 2) == 0) {
            at = strstr(at, "-]");
            assert_non_null(at);
            at += 2;
        } else {
            *to++ = *at++;
        }
    }
    *to = '\0';
}

/* The text that a reader sees as kept is the output: in the page and in the plain form. */
static void check_output(const pith__hard_source *source, const pith__units *units)
{
    pith__arena arena;
    pith__arena_init(&arena, &pith__allocator_default);
    const pith__page head = {NULL, NULL};
    sink html;
    sink plain;
    render_html(source, units, &head, &html);
    render_ansi(source, units, false, &plain);
    reader r;
    read_page(&r, &html.buf);
    strip_brackets(plain.buf.data);
    pith__kept kept;
    assert_ok(pith__kept_render(source, units, &arena, &kept, &err), err);
    assert_string_equal(r.output.data, kept.text);
    assert_string_equal(plain.buf.data, kept.text);
    assert_int_equal(r.all.size, source->size);
    assert_memory_equal(r.all.data, source->text, source->size);
    reader_deinit(&r);
    pith__buf_deinit(&plain.buf);
    pith__buf_deinit(&html.buf);
    pith__arena_deinit(&arena);
}

static void what_looks_kept_is_the_output(void **state)
{
    (void)state;
    static const char alphabet[] = "ab <&\n\t.'";
    uint64_t seed = 11;
    for (size_t round = 0; round < 1000; round++) {
        char text[64];
        pith_unit items[64];
        const size_t size = 1 + test_random_below(&seed, sizeof text - 1);
        for (size_t i = 0; i < size; i++) {
            text[i] = alphabet[test_random_below(&seed, strlen(alphabet))];
        }
        pith__units units = {items, 0, NULL};
        for (size_t at = test_random_below(&seed, 3); at < size;) {
            const size_t end = at + 1 + test_random_below(&seed, 6);
            const size_t kind = test_random_below(&seed, 6);
            if (kind > 0) {
                items[units.count++] =
                    unit(at, end < size ? end : size, (float)test_random_below(&seed, 90), kind > 3,
                         kind == 5);
            }
            at = end;
        }
        const pith__hard_source source = {.text = text, .size = size};
        check_output(&source, &units);
    }
}

/* Any bytes, any units: well formed, and no control character but line feed and tab. */
static void any_bytes_are_safe(void **state)
{
    (void)state;
    uint64_t seed = 12;
    for (size_t round = 0; round < 500; round++) {
        char text[200];
        pith_unit items[200];
        const size_t size = test_random_below(&seed, sizeof text);
        for (size_t i = 0; i < size; i++) {
            text[i] = (char)test_random_below(&seed, 256);
        }
        pith__units units = {items, 0, NULL};
        for (size_t at = 0; at < size;) {
            const size_t end = at + 1 + test_random_below(&seed, 9);
            items[units.count++] =
                unit(at, end < size ? end : size, (float)test_random_below(&seed, 9),
                     test_random_below(&seed, 2) == 0, false);
            at = end;
        }
        const pith__hard_source source = {.text = text, .size = size};
        const pith__page head = {NULL, NULL};
        sink out;
        render_html(&source, &units, &head, &out);
        reader r;
        read_page(&r, &out.buf);
        reader_deinit(&r);
        pith__buf_deinit(&out.buf);
        render_ansi(&source, &units, false, &out);
        for (size_t i = 0; i < out.buf.size; i++) {
            const unsigned char c = (unsigned char)out.buf.data[i];
            assert_true((c >= ' ' || c == '\n' || c == '\t') && c != 0x7f);
        }
        size_t bad = 0;
        assert_true(pith__utf8_check(out.buf.data, out.buf.size, &bad));
        pith__buf_deinit(&out.buf);
    }
}

static void a_refusing_callback_ends_it(void **state)
{
    (void)state;
    char text[5000];
    memset(text, 'x', sizeof text);
    const pith__hard_source source = {.text = text, .size = sizeof text};
    const pith__units none = {NULL, 0, NULL};
    const pith__page head = {NULL, NULL};
    sink out;
    sink_init(&out);
    out.refuse_after = 1;
    assert_status(pith__render_ansi(&source, &none, NULL, true, collect, &out,
                                    &pith__allocator_default, &err),
                  PITH_E_IO);
    out.refuse_after = 4096;
    assert_status(pith__render_html(&source, &none, NULL, &head, collect, &out,
                                    &pith__allocator_default, &err),
                  PITH_E_IO);
    assert_int_equal(out.buf.size, 4096);
    pith__buf_deinit(&out.buf);
}

static bool discard(void *user, const char *data, size_t size)
{
    (void)user;
    (void)data;
    (void)size;
    return true;
}

static pith_status sweep_body(const pith_allocator *mem, void *user)
{
    const pith__hard_source source = {.text = "one two three", .size = 13};
    pith_unit items[] = {unit(0, 3, 1, true, false), unit(3, 7, 2, false, false),
                         unit(7, 13, 3, true, true)};
    const pith__units units = {items, COUNT(items), NULL};
    const pith__page head = {NULL, NULL};
    PITH__TRY(pith__render_ansi(&source, &units, NULL, true, discard, user, mem, &err));
    return pith__render_html(&source, &units, NULL, &head, discard, user, mem, &err);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    test_sweep(sweep_body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_brackets_what_was_dropped),
        cmocka_unit_test(color_follows_the_deciles),
        cmocka_unit_test(colors_stop_at_line_ends),
        cmocka_unit_test(control_characters_become_visible),
        cmocka_unit_test(nothing_gives_nothing),
        cmocka_unit_test(page_shows_everything),
        cmocka_unit_test(page_of_nothing),
        cmocka_unit_test(page_survives_odd_numbers),
        cmocka_unit_test(page_replaces_what_html_cannot_hold),
        cmocka_unit_test(page_of_a_long_text),
        cmocka_unit_test(what_looks_kept_is_the_output),
        cmocka_unit_test(any_bytes_are_safe),
        cmocka_unit_test(a_refusing_callback_ends_it),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("render", tests, NULL, NULL);
}
