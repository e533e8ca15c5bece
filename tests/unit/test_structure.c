/*
 * test_structure.c: lib/structure: JSON, chats, Markdown, the tags of LLMLingua, named patterns.
 */
#include "test.h"

#include "structure/structure.h"

#include <jansson.h>
#include <math.h>

static const pith_allocator *const mem = &pith__allocator_default;

static const pith__structure_options any = {.format = PITH__FORMAT_AUTO};
static const pith__structure_options markdown = {.format = PITH__FORMAT_MARKDOWN};
static const pith__structure_options json = {.format = PITH__FORMAT_JSON};
static const pith__structure_options chat = {.format = PITH__FORMAT_CHAT};

/* ---- helpers ---------------------------------------------------------------------------------------- */

/* Appends a piece of text, after a '|' if it is not the first. */
static void append(char *line, size_t capacity, const char *text, size_t start, size_t end)
{
    size_t used = strlen(line);
    assert_true(used + (end - start) + 2 < capacity);
    if (used > 0) {
        line[used++] = '|';
    }
    memcpy(line + used, text + start, end - start);
    line[used + end - start] = '\0';
}

/* The pieces of `text` that the spans name, joined by '|', in a static buffer. */
static const char *pieces(const char *text, const pith__spans *spans)
{
    static char line[4096];
    line[0] = '\0';
    for (size_t i = 0; i < spans->count; i++) {
        append(line, sizeof line, text, spans->items[i].start, spans->items[i].end);
    }
    return line;
}

/* The same for segments, each followed by "@rate" if it has one of its own. */
static const char *stretches(const char *text, const pith__segments *segments)
{
    static char line[4096];
    line[0] = '\0';
    for (size_t i = 0; i < segments->count; i++) {
        const pith__segment *s = &segments->items[i];
        append(line, sizeof line, text, s->start, s->end);
        if (!isnan(s->rate)) {
            char rate[32];
            (void)snprintf(rate, sizeof rate, "@%g", s->rate);
            assert_true(strlen(line) + strlen(rate) < sizeof line);
            memcpy(line + strlen(line), rate, strlen(rate) + 1);
        }
    }
    return line;
}

static void assert_spans(const pith__spans *spans, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < spans->count; i++) {
        assert_true(spans->items[i].start >= at);
        assert_true(spans->items[i].end > spans->items[i].start);
        at = spans->items[i].end;
    }
    assert_true(at <= size);
}

/* What the header promises of any text. */
static void assert_sound(const pith__structure *s, size_t size)
{
    size_t at = 0;
    assert_true(s->format != PITH__FORMAT_AUTO);
    assert_int_equal(s->is_local, s->format == PITH__FORMAT_JSON || s->format == PITH__FORMAT_CHAT);
    for (size_t i = 0; i < s->segments.count; i++) {
        assert_true(s->segments.items[i].start >= at);
        assert_true(s->segments.items[i].end > s->segments.items[i].start);
        at = s->segments.items[i].end;
    }
    assert_true(at <= size);
    assert_spans(&s->atoms, size);
    assert_spans(&s->joined, size);
    for (size_t a = 0, j = 0; a < s->atoms.count && j < s->joined.count;) {
        const pith__span *atom = &s->atoms.items[a];
        const pith__span *joined = &s->joined.items[j];
        assert_true(atom->end <= joined->start || joined->end <= atom->start);
        a += atom->end <= joined->start;
        j += joined->end <= atom->start;
    }
}

static pith__structure read_all(const char *text, const pith__structure_options *options)
{
    pith__structure s;
    pith_error err;
    assert_ok(pith__structure_read(text, strlen(text), options, mem, &s, &err), err);
    assert_sound(&s, strlen(text));
    return s;
}

static void assert_format(const char *text, pith__format expected)
{
    pith__structure s = read_all(text, &any);
    if (s.format != expected) {
        fail_msg("\"%s\": format %d, expected %d", text, (int)s.format, (int)expected);
    }
    pith__structure_deinit(&s, mem);
}

static void assert_segments(const char *text, const pith__structure_options *options,
                            const char *expected)
{
    pith__structure s = read_all(text, options);
    assert_string_equal(stretches(text, &s.segments), expected);
    pith__structure_deinit(&s, mem);
}

static void assert_markdown(const char *text, const char *atoms, const char *joined)
{
    pith__structure s = read_all(text, &markdown);
    assert_string_equal(pieces(text, &s.atoms), atoms);
    assert_string_equal(pieces(text, &s.joined), joined);
    assert_int_equal(s.segments.count, strlen(text) > 0);
    pith__structure_deinit(&s, mem);
}

/* The status, with the byte it points at in *offset. */
static pith_status read_status(const char *text, size_t size,
                               const pith__structure_options *options, size_t *offset)
{
    pith__structure s;
    pith_error err = {.offset = PITH_NO_OFFSET};
    const pith_status status = pith__structure_read(text, size, options, mem, &s, &err);
    if (status != PITH_OK) {
        assert_null(s.segments.items);
        assert_null(s.joined.items);
    }
    *offset = err.offset;
    pith__structure_deinit(&s, mem);
    return status;
}

static void assert_refused(const char *text, const pith__structure_options *options,
                           size_t expected)
{
    size_t offset = 0;
    assert_status(read_status(text, strlen(text), options, &offset), PITH_E_SYNTAX);
    if (offset != expected) {
        fail_msg("\"%s\": byte %zu, expected %zu", text, offset, expected);
    }
}

/* ---- JSON ---------------------------------------------------------------------------------------------- */

static void test_json_grammar(void **state)
{
    (void)state;
    static const char *const good[] = {
        "null",
        " true ",
        "\"\"",
        "0",
        "-0",
        "-0.0e+10",
        "1E5",
        "12.5e-3",
        "[]",
        "{}",
        "[1,\"a\",[]]",
        "{\"a\":{},\"a\":1}",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\u0000\\/\"",
        "\n[1 , 2]\r\n",
        "\"\x7f\"",
        "{}\n[]\n",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        pith__structure s = read_all(good[i], &json);
        assert_int_equal(s.format, PITH__FORMAT_JSON);
        pith__structure_deinit(&s, mem);
    }
    assert_refused("", &json, 0);
    assert_refused("  ", &json, 2);
    assert_refused("[1,]", &json, 3);
    assert_refused("[1 2]", &json, 3);
    assert_refused("{\"a\" 1}", &json, 5);
    assert_refused("{a:1}", &json, 1);
    assert_refused("{\"a\":1,}", &json, 7);
    assert_refused("01", &json, 1);
    assert_refused("-", &json, 1);
    assert_refused("1.", &json, 2);
    assert_refused("1e", &json, 2);
    assert_refused("+1", &json, 0);
    assert_refused("nul", &json, 0);
    assert_refused("[\"abc]", &json, 1);
    assert_refused("\"a\tb\"", &json, 2);
    assert_refused("\"\\x\"", &json, 1);
    assert_refused("\"\\u12g4\"", &json, 1);
    assert_refused("\"\xff\"", &json, 1);
    assert_refused("\xef\xbb\xbf{}", &json, 0);
    assert_refused("[1] x", &json, 4);
    assert_refused("// no\n{}", &json, 0);
    assert_refused("{} {}", &json, 3);
    size_t offset = 0;
    assert_status(read_status("1\0", 2, &json, &offset), PITH_E_SYNTAX);
    assert_int_equal(offset, 1);
}

static void test_json_depth(void **state)
{
    (void)state;
    char text[2 * 513];
    memset(text, '[', 513);
    memset(text + 513, ']', 513);
    size_t offset = 0;
    assert_status(read_status(text, sizeof text, &json, &offset), PITH_E_UNSUPPORTED);
    assert_int_equal(offset, 512);
    assert_status(read_status(text + 1, sizeof text - 2, &json, &offset), PITH_OK);
    pith__structure s;
    pith_error err;
    assert_ok(pith__structure_read(text, sizeof text, &any, mem, &s, &err), err);
    assert_int_equal(s.format, PITH__FORMAT_TEXT);
    pith__structure_deinit(&s, mem);
}

static void test_json_prose(void **state)
{
    (void)state;
    assert_segments("{\"a\": \"one two three four\", \"b c d e f\": \"one two three\"}", &any,
                    "one two three four");
    assert_segments("[\"https://example.com/a/b\", \"Mon, 21 Nov 2025 11:36:18 GMT\", \"\"]", &any,
                    "");
    assert_segments("[\"1 2 3 4 5 6\", \"- - a b - c\", \"  a  b\\tc\\nd \"]", &any,
                    "  a  b\\tc\\nd ");
    assert_segments("[\"a\\nb\\tc d\", \"a\\\\nb c d\"]", &any, "a\\nb\\tc d");
    /* eight letters without spaces between words, written either way */
    assert_segments("[\"\344\270\200\344\270\200\344\270\200\344\270\200\344\270\200\344\270\200"
                    "\344\270\200\"]",
                    &any, "");
    assert_segments("[\"\\u4e00\\u4e00\\u4e00\\u4e00\\u4e00\\u4e00\\u4e00\\u4e00\"]", &any,
                    "\\u4e00\\u4e00\\u4e00\\u4e00\\u4e00\\u4e00\\u4e00\\u4e00");
    assert_segments("\"one two three four\"", &json, "one two three four");
    assert_segments("{\"a\": [{\"b\": \"a b c d\"}, [[\"e f g h\"]], 7], \"c\": null}", &any,
                    "a b c d|e f g h");
}

static void test_json_joined(void **state)
{
    (void)state;
    const char *text = "{\"\\u0061\": \"one \\\"two\\\" three\\n\\nfour \\ud83d\\ude00\\ud83d "
                       "\\u00e9\", \"b\": \"\\n\"}";
    pith__structure s = read_all(text, &any);
    assert_string_equal(pieces(text, &s.joined),
                        "\\\"|\\\"|\\n|\\n|\\ud83d\\ude00|\\ud83d|\\u00e9");
    assert_int_equal(s.atoms.count, 0);
    pith__structure_deinit(&s, mem);
}

static void test_json_keys(void **state)
{
    (void)state;
    const char *text = "{\"a\": {\"b\": \"x\", \"c\": [\"one two three four\", {\"b\": \"y\"}]}, "
                       "\"b\": \"\", \"k\\u0065y\": \"w\", \"d.e\": \"v\", \"d\": {\"e\": \"u\"}}";
    const pith__key_rate name[] = {{"b", 0.5}};
    const pith__key_rate path[] = {{"a.c.b", 0.25}};
    const pith__key_rate whole[] = {{"a", 1.0}};
    const pith__key_rate order[] = {{"b", 0.5}, {"a", 1.0}};
    const pith__key_rate inner[] = {{"a", 1.0}, {"a.c", 0.0}};
    const pith__key_rate escaped[] = {{"key", 0.5}};
    const pith__key_rate dotted[] = {{"d.e", 0.75}};
    const pith__key_rate none[] = {{"", 0.5}, {"a.", 0.5}, {"a.cc", 0.5}, {".b", 0.5}, {"ke", 0.5}};
    const struct {
        const pith__key_rate *keys;
        size_t count;
        const char *expected;
    } cases[] = {
        {NULL, 0, "one two three four"},
        {name, 1, "x@0.5|one two three four|y@0.5"},
        {path, 1, "one two three four|y@0.25"},
        {whole, 1, ""},
        {order, 2, ""},
        {inner, 2, "one two three four@0|y@0"},
        {escaped, 1, "one two three four|w@0.5"},
        {dotted, 1, "one two three four|v@0.75|u@0.75"},
        {none, 5, "one two three four"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const pith__structure_options options = {
            .format = PITH__FORMAT_JSON, .keys = cases[i].keys, .key_count = cases[i].count};
        assert_segments(text, &options, cases[i].expected);
    }
    /* a key that reads "k" up to a NUL is not "k" */
    const pith__key_rate k[] = {{"k", 0.5}};
    const pith__structure_options options = {
        .format = PITH__FORMAT_JSON, .keys = k, .key_count = 1};
    assert_segments("{\"k\\u0000\": \"x\", \"k\": \"y\"}", &options, "y@0.5");
}

static void test_json_lines(void **state)
{
    (void)state;
    const char *text = "{\"a\": \"one two three four\"}\r\n\n  {\"a\": \"five six seven eight\"}\n";
    assert_format(text, PITH__FORMAT_JSON);
    assert_segments(text, &any, "one two three four|five six seven eight");
    assert_format("{\"a\": 1}\nand text\n", PITH__FORMAT_TEXT);
    assert_format("[1]\n2\n", PITH__FORMAT_TEXT); /* by request only */
    assert_segments("\"a b c d\"\n\"e f g h\"", &json, "a b c d|e f g h");
    assert_refused("{\"a\": 1}\n{\"a\": 2} 3\n", &json, 18);
    assert_refused("{\"a\": 1}\n{\"a\": \n2}\n", &json, 15);
    const pith__key_rate keys[] = {{"a", 1.0}};
    const pith__structure_options options = {
        .format = PITH__FORMAT_AUTO, .keys = keys, .key_count = 1};
    assert_segments(text, &options, "");
}

/* ---- JSON against another parser -------------------------------------------------------------------------- */

typedef struct document {
    char text[4096];
    size_t size;
} document;

static void put(document *d, const char *piece)
{
    const size_t length = strlen(piece);
    if (d->size + length < sizeof d->text) {
        memcpy(d->text + d->size, piece, length);
        d->size += length;
    }
}

static const char *pick(uint64_t *seed, const char *const *list, size_t count)
{
    return list[test_random_below(seed, count)];
}

#define PICK(seed, list) pick(seed, list, sizeof(list) / sizeof(list)[0])

static const char *const spaces[] = {"", "", "", " ", "\n", "\t ", "\r\n"};
static const char *const scalars[] = {"0",    "-1",    "2.5",  "1e5",  "-0.1E-2", "120",
                                      "true", "false", "null", "\"\"", "\"a\"",   "1E+2"};
static const char *const words[] = {"word ",
                                    "and",
                                    " ",
                                    "\\n",
                                    "\\\"",
                                    "\\u00e9",
                                    "\303\251",
                                    "\\ud83d\\ude00",
                                    "\360\237\230\200",
                                    "the ",
                                    "\\\\",
                                    "\\/",
                                    "\344\270\200",
                                    "a b c d ",
                                    "{",
                                    "],"};

static void put_string(document *d, uint64_t *seed)
{
    put(d, "\"");
    for (size_t i = test_random_below(seed, 12); i > 0; i--) {
        put(d, PICK(seed, words));
    }
    put(d, "\"");
}

static void put_value(document *d, uint64_t *seed, size_t depth)
{
    put(d, PICK(seed, spaces));
    const size_t kind = test_random_below(seed, depth > 4 ? 4 : 8);
    if (kind < 2) {
        put(d, PICK(seed, scalars));
    } else if (kind < 4) {
        put_string(d, seed);
    } else {
        const bool is_object = kind < 6;
        put(d, is_object ? "{" : "[");
        const size_t count = test_random_below(seed, 4);
        for (size_t i = 0; i < count; i++) {
            put(d, i > 0 ? "," : "");
            if (is_object) {
                put(d, PICK(seed, spaces));
                put(d, (const char *const[]){"\"a\":", "\"b\" :",
                                             "\"long key of words\":"}[test_random_below(seed, 3)]);
            }
            put_value(d, seed, depth + 1);
        }
        put(d, PICK(seed, spaces));
        put(d, is_object ? "}" : "]");
    }
    put(d, PICK(seed, spaces));
}

/* Replaces, inserts or removes a few bytes. */
static void mutate(document *d, uint64_t *seed)
{
    static const char bytes[] = "{}[],:\"\\ \n\t0123456789-+.eEtfnulau/x\x01\x7f\x80\xc3\xff";
    for (size_t i = 1 + test_random_below(seed, 2); i > 0 && d->size > 0; i--) {
        const size_t at = test_random_below(seed, d->size);
        const char byte = bytes[test_random_below(seed, sizeof bytes - 1)];
        switch (test_random_below(seed, 3)) {
        case 0:
            d->text[at] = byte;
            break;
        case 1:
            memmove(d->text + at, d->text + at + 1, d->size - at - 1);
            d->size--;
            break;
        default:
            if (d->size < sizeof d->text) {
                memmove(d->text + at + 1, d->text + at, d->size - at);
                d->text[at] = byte;
                d->size++;
            }
        }
    }
}

/*
 * What jansson says: 1 valid, 0 not, -1 where it is stricter than the grammar. No NUL may be
 * tried: it overlooks one after a number.
 */
static int judge(const char *text, size_t size)
{
    json_error_t error;
    json_t *value = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    json_decref(value);
    if (value != NULL) {
        return 1;
    }
    return json_error_code(&error) == json_error_numeric_overflow ||
                   json_error_code(&error) == json_error_null_byte_in_key ||
                   json_error_code(&error) == json_error_null_character ||
                   strstr(error.text, "invalid Unicode") != NULL
               ? -1
               : 0;
}

static int judge_lines(const char *text, size_t size)
{
    int verdict = 1;
    int lines = 0;
    for (size_t start = 0; start < size;) {
        size_t end = start;
        bool is_blank = true;
        for (; end < size && text[end] != '\n'; end++) {
            is_blank = is_blank && strchr(" \t\r", text[end]) != NULL && text[end] != '\0';
        }
        if (!is_blank) {
            const int line = judge(text + start, end - start);
            verdict = line == 1 ? verdict : line == 0 || verdict == 0 ? 0 : -1;
            lines++;
        }
        start = end + 1;
    }
    return lines > 1 ? verdict : 0;
}

static void test_json_against_jansson(void **state)
{
    (void)state;
    uint64_t seed = 1;
    size_t valid = 0;
    size_t invalid = 0;
    for (int round = 0; round < 60000; round++) {
        document d = {.size = 0};
        put_value(&d, &seed, 0);
        if (round % 4 != 0) {
            mutate(&d, &seed);
        }
        size_t offset = 0;
        const pith_status status = read_status(d.text, d.size, &json, &offset);
        const int whole = judge(d.text, d.size);
        const int lines = judge_lines(d.text, d.size);
        const bool expected = whole == 1 || lines == 1;
        if ((status == PITH_OK) != expected && whole != -1 && lines != -1) {
            fail_msg("%.*s: %s", (int)d.size, d.text, pith_status_name(status));
        }
        assert_true(status == PITH_OK || offset <= d.size);
        valid += status == PITH_OK;
        invalid += status != PITH_OK;
    }
    assert_true(valid > 20000 && invalid > 15000); /* both sides were tried */
}

/* ---- what removing leaves --------------------------------------------------------------------------------- */

/* Copies `text` without some characters of its segments; what is joined goes or stays as one. */
static size_t remove_some(const char *text, size_t size, const pith__structure *s, uint64_t *seed,
                          char *out)
{
    const size_t mercy = 1 + test_random_below(seed, 4);
    size_t count = 0;
    size_t segment = 0;
    size_t joined = 0;
    for (size_t at = 0; at < size;) {
        uint32_t code_point = 0;
        size_t length = pith__utf8_decode(text, size, at, &code_point);
        while (joined < s->joined.count && s->joined.items[joined].end <= at) {
            joined++;
        }
        if (joined < s->joined.count && s->joined.items[joined].start == at) {
            length = s->joined.items[joined].end - at;
        }
        while (segment < s->segments.count && s->segments.items[segment].end <= at) {
            segment++;
        }
        const bool is_free = segment < s->segments.count && s->segments.items[segment].start <= at;
        if (!is_free || test_random_below(seed, 5) < mercy) {
            memcpy(out + count, text + at, length);
            count += length;
        }
        at += length;
    }
    return count;
}

/* Strings aside, the same values under the same keys. */
static bool same_shape(const json_t *a, const json_t *b)
{
    if (json_typeof(a) != json_typeof(b)) {
        return false;
    }
    if (json_is_array(a)) {
        bool same = json_array_size(a) == json_array_size(b);
        for (size_t i = 0; same && i < json_array_size(a); i++) {
            same = same_shape(json_array_get(a, i), json_array_get(b, i));
        }
        return same;
    }
    if (json_is_object(a)) {
        const char *key = NULL;
        json_t *value = NULL;
        bool same = json_object_size(a) == json_object_size(b);
        /* jansson's own loop takes a pointer that is not const */
        json_t *object = json_copy((json_t *)(uintptr_t)a);
        json_object_foreach(object, key, value)
        {
            const json_t *other = json_object_get(b, key);
            same = same && other != NULL && same_shape(value, other);
        }
        json_decref(object);
        return same;
    }
    return json_is_string(a) || json_equal(a, b);
}

static void assert_removable(const document *d, const pith__structure_options *options,
                             uint64_t *seed)
{
    char shorter[sizeof d->text];
    pith__structure s;
    pith_error err;
    assert_ok(pith__structure_read(d->text, d->size, options, mem, &s, &err), err);
    assert_sound(&s, d->size);
    const size_t size = remove_some(d->text, d->size, &s, seed, shorter);
    const size_t flags = JSON_DECODE_ANY | JSON_ALLOW_NUL;
    json_t *before = json_loadb(d->text, d->size, flags, NULL);
    json_t *after = json_loadb(shorter, size, flags, NULL);
    if (before == NULL || after == NULL || !same_shape(before, after)) {
        fail_msg("%.*s\nbecame\n%.*s", (int)d->size, d->text, (int)size, shorter);
    }
    json_decref(before);
    json_decref(after);
    size_t offset = 0;
    assert_status(read_status(shorter, size, options, &offset), PITH_OK);
    pith__structure_deinit(&s, mem);
}

static void test_json_removable(void **state)
{
    (void)state;
    const pith__key_rate keys[] = {{"a", 0.5}, {"b.a", 1.0}, {"b", 0.0}};
    const pith__structure_options keyed = {
        .format = PITH__FORMAT_JSON, .keys = keys, .key_count = 3};
    uint64_t seed = 2;
    for (int round = 0; round < 10000; round++) {
        document d = {.size = 0};
        put_value(&d, &seed, 0);
        assert_removable(&d, round % 2 == 0 ? &json : &keyed, &seed);
    }
}

static const char *const roles[] = {"\"user\"",      "\"assistant\"",  "\"system\"",  "\"tool\"",
                                    "\"developer\"", "\"us\\u0065r\"", "\"function\""};

static void put_content(document *d, uint64_t *seed)
{
    if (test_random_below(seed, 3) > 0) {
        put_string(d, seed);
        return;
    }
    put(d, "[{\"type\": \"text\", \"text\": ");
    put_string(d, seed);
    put(d, "}, {\"type\": \"image_url\", \"image_url\": {\"url\": \"a b c d e\"}}]");
}

static void test_chat_removable(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (int round = 0; round < 5000; round++) {
        document d = {.size = 0};
        const bool is_request = test_random_below(&seed, 2) == 0;
        put(&d, is_request ? "{\"system\": \"a b c d\", \"messages\":[" : "[");
        for (size_t i = test_random_below(&seed, 5); i > 0; i--) {
            put(&d, "{\"role\":");
            put(&d, PICK(&seed, roles));
            put(&d, ",\"content\":");
            put_content(&d, &seed);
            put(&d, i > 1 ? "},\n" : "}");
        }
        put(&d, is_request ? "]}" : "]");
        const pith__structure_options options = {.format = PITH__FORMAT_CHAT,
                                                 .keep_turns = test_random_below(&seed, 3)};
        assert_removable(&d, &options, &seed);
    }
}

/* ---- chats ----------------------------------------------------------------------------------------------- */

static void test_chat(void **state)
{
    (void)state;
    const char *text =
        "{\"model\": \"a b c d e\", \"messages\": ["
        "{\"role\": \"system\", \"content\": \"be nice to all of them\"},"
        "{\"content\": \"hi to all of you\", \"role\": \"user\", \"name\": \"one two three four\"},"
        "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"c\", "
        "\"function\": {\"name\": \"f\", \"arguments\": \"{ \\\"a\\\": \\\"b c d e\\\" }\"}}]},"
        "{\"role\": \"tool\", \"content\": \"what a tool has said\"},"
        "{\"role\": \"developer\", \"content\": \"what developers have said\"},"
        "{\"role\": \"assistant\", \"content\": \"so it\\nis with it\"},"
        "{\"role\": \"user\", \"content\": ["
        "{\"type\": \"text\", \"text\": \"look at all of it\"},"
        "{\"type\": \"image_url\", \"image_url\": {\"url\": \"http://a b c d\"}},"
        "{\"type\": \"tool_result\", \"content\": \"a b c d\"},"
        "{\"text\": \"here is some more\", \"type\": \"text\"}, \"a b c d\"]},"
        "{\"role\": \"user\", \"content\": \"No. 42\"}]}";
    assert_format(text, PITH__FORMAT_CHAT);
    assert_segments(text, &any,
                    "hi to all of you|so it\\nis with it|look at all of it|here is some more");
    pith__structure_options options = chat;
    options.keep_turns = 1;
    assert_segments(text, &options,
                    "hi to all of you|so it\\nis with it|look at all of it|here is some more");
    options.keep_turns = 2;
    assert_segments(text, &options, "hi to all of you|so it\\nis with it");
    options.keep_turns = 6;
    assert_segments(text, &options, "hi to all of you");
    options.keep_turns = 7;
    assert_segments(text, &options, "");
    options.keep_turns = SIZE_MAX;
    assert_segments(text, &options, "");
    pith__structure s = read_all(text, &chat);
    assert_string_equal(pieces(text, &s.joined), "\\n");
    pith__structure_deinit(&s, mem);
    assert_segments("{\"system\": \"a b c d\", \"messages\": [{\"role\": \"user\", "
                    "\"content\": \"e f g h\"}]}",
                    &any, "e f g h");
    assert_segments("[{\"role\": \"user\", \"content\": \"a\", \"content\": \"b c d e\"}]", &chat,
                    "b c d e");
    assert_segments("[]", &chat, "");
}

static void test_chat_shape(void **state)
{
    (void)state;
    assert_format("[{\"role\": \"user\", \"content\": \"a\"}]", PITH__FORMAT_CHAT);
    assert_format("[{\"role\": \"user\", \"content\": \"a\"}, 1]", PITH__FORMAT_JSON);
    assert_format("[{\"role\": 1, \"content\": \"a\"}]", PITH__FORMAT_JSON);
    assert_format("[{\"role\": \"user\", \"content\": 1}]", PITH__FORMAT_JSON);
    assert_format("[{\"role\": \"engineer\", \"name\": \"a\"}]", PITH__FORMAT_JSON);
    assert_format("[]", PITH__FORMAT_JSON);
    assert_format("{\"messages\": []}", PITH__FORMAT_JSON);
    assert_format("{\"messages\": {\"role\": \"user\", \"content\": \"a\"}}", PITH__FORMAT_JSON);
    assert_refused("[{\"role\": \"user\", \"content\": \"a\"}, 1]", &chat, 35);
    assert_refused(" {\"a\": 1}", &chat, 1);
    assert_refused("7", &chat, 0);
    assert_refused("[]\n[]", &chat, 3);
    assert_refused("hello", &chat, 0);
}

/* ---- Markdown --------------------------------------------------------------------------------------------- */

static void test_markdown_blocks(void **state)
{
    (void)state;
    assert_markdown("a\n```c\nint *x;\n```\nb", "```c\nint *x;\n```\n", "");
    assert_markdown("~~~\n```\n~~~~\nb", "~~~\n```\n~~~~\n", "");
    assert_markdown("a\n````\n```\nb *c*", "````\n```\nb *c*", "");
    assert_markdown("- ```\n  x\n  ```\nb", "- ```\n  x\n  ```\n", "");
    assert_markdown("> ```\n> x\nb", "> ```\n> x\n", "");
    assert_markdown("---\na: *b*\n---\nc", "---\na: *b*\n---\n", "");
    assert_markdown("---\na: b\n", "", "");
    assert_markdown("b\n---\na\n\n---\n", "b\n---\n", "");
    assert_markdown("# a *b*\r\nc\n####### d\n#e\n  ## f", "# a *b*\r\n|  ## f", "");
    assert_markdown("    # code\n#\n", "#\n", "");
    assert_markdown("a\nb\n===\n\nc\n===\nd", "c\n===\n", "");
    assert_markdown("- c\n---\n***\n---\n", "", "- c");
    assert_markdown("[a]: http://b 'c'\n[d]:\n[e] f: g\n", "[a]: http://b 'c'\n", "");
    assert_markdown("<div class=x>\n*a*\n\n*b*\n", "<div class=x>\n*a*\n", "*b*");
    assert_markdown("<!-- a\n\nb --> c\n*d*", "<!-- a\n\nb --> c\n", "*d*");
    assert_markdown("<!-- a -->\n*d*", "<!-- a -->\n", "*d*");
    assert_markdown("<PRE>\n\n*a*\n</pre>\n*d*", "<PRE>\n\n*a*\n</pre>\n", "*d*");
    assert_markdown("<context>\na *b*\n</context>\n<b>c</b> d", "<context>\n|</context>\n", "*b*");
    assert_markdown("<1> <a@b\n<", "", "");
}

static void test_markdown_tables(void **state)
{
    (void)state;
    assert_markdown("a\n| b | c |\n|:--|--:|\n| *1* | 2 |\n3 | 4\nd\n",
                    "| b | c |\n|:--|--:|\n|| *1* | 2 |\n|3 | 4\n", "");
    assert_markdown("b | c\n--- | ---\n\n| no |\n", "b | c\n--- | ---\n", "");
    assert_markdown("> | b |\n> |---|\n> | 1 |\n", "> | b |\n> |---|\n|> | 1 |\n", "");
    assert_markdown("a \\| b\n|---|\n", "a \\| b\n|---|\n", "");
    assert_markdown("a | b | c\n|---|---|\n", "", "");
    assert_markdown("a | b\n|---|--x|\n", "", "");
    assert_markdown("|---|---|\n| a | b |\n", "", "");
    assert_markdown("a | b\n-|-\n# c | d\n- e | f\n", "a | b\n-|-\n|# c | d\n", "- e");
}

static void test_markdown_inline(void **state)
{
    (void)state;
    assert_markdown("a `b` ``c ` d`` \\`e` f` ```g`", "`b`|``c ` d``|` f`", "");
    assert_markdown("a `b\nc` `d\n\ne`", "`b\nc`", "");
    assert_markdown("a [b](c) ![d](e \"f g\") [h]( <i j> (k) ).",
                    "[b](c)|![d](e \"f g\")|[h]( <i j> (k) )", "");
    assert_markdown("[a](b(c)d) [e](f g) [h] (i) [](j) [k](", "[a](b(c)d)|[](j)", "");
    assert_markdown("[![a](b)](c) [d [e] f](g) \\[h](i)", "[![a](b)](c)|[d [e] f](g)", "");
    assert_markdown("[a `]`](b) [c `](d)` e", "[a `]`](b)|`](d)`", "");
    assert_markdown("[a][b] c[i][j] [][k]", "[a][b]", "");
    assert_markdown("<http://a.b> <me@c.d> <a b> <x:> <@a>", "<http://a.b>|<me@c.d>", "");
    assert_markdown("x [a]\n\n(b) [c\n\n](d)", "", "");
}

static void test_markdown_joined(void **state)
{
    (void)state;
    assert_markdown("- one two\n* three\n  + four\n12. five\n3) six\n", "",
                    "- one|* three|+ four|12. five|3) six");
    assert_markdown("- [ ] one\n- [x] two\n> > three\n> - four\n", "",
                    "- [ ] one|- [x] two|> > three|> - four");
    assert_markdown("a **b**, *c d* __e f g__ ~~h~~ ~i", "", "**b**|*c|d*|__e|g__|~~h~~");
    assert_markdown("2 * 3 ** 4, a_b (*c*): \\*d\\* ***", "", "a_b|*c*");
    assert_markdown("- **Note:** a\n", "", "- **Note:**");
    assert_markdown("- `a` b\n**[c](d)** e `f`_g_\n", "- `a`|**[c](d)**|`f`_g_", "");
    assert_markdown("[^a]: note\n1990. -x\n-y\n-\n", "", "[^a]: note|1990. -x");
    /* Han puts no spaces between words: one letter on each side */
    assert_markdown("\344\270\200\344\272\214**\344\270\211\345\233\233\344\272\224**\345\205\255",
                    "", "\344\272\214**\344\270\211|\344\272\224**\345\205\255");
    char text[400] = "*";
    memset(text + 1, 'a', 300);
    assert_markdown(text, "", "");
}

static void test_formats(void **state)
{
    (void)state;
    assert_format("", PITH__FORMAT_TEXT);
    assert_format("Some *text* of <b>no</b> format, `x`.\n- one\n", PITH__FORMAT_TEXT);
    assert_format("a\n```\nb\n```\n", PITH__FORMAT_MARKDOWN);
    assert_format("a\n# b\n", PITH__FORMAT_MARKDOWN);
    assert_format("a|b\n-|-\n", PITH__FORMAT_MARKDOWN);
    assert_format("- a\n- b\n", PITH__FORMAT_MARKDOWN);
    assert_format("1. a\n   more\n\n2. b\n", PITH__FORMAT_MARKDOWN);
    assert_format("- a\n\nText between.\n\n- b\n", PITH__FORMAT_TEXT);
    assert_format("- a\n* b\n", PITH__FORMAT_TEXT);
    assert_format("/*\n * a\n * b\n */\n", PITH__FORMAT_TEXT);
    assert_format("* a\n* b\n", PITH__FORMAT_MARKDOWN);
    assert_format("see [this](that)", PITH__FORMAT_MARKDOWN);
    assert_format("see [1] and [2][3]", PITH__FORMAT_TEXT);
    assert_format("[1] is not JSON", PITH__FORMAT_TEXT);
    assert_format("[a](b)", PITH__FORMAT_MARKDOWN);
    assert_format("\"json, but a string\"", PITH__FORMAT_TEXT);
    assert_format("12", PITH__FORMAT_TEXT);
    assert_format(" \n{\"a\": 1}", PITH__FORMAT_JSON);
    assert_format("#hashtag\nC# x\n", PITH__FORMAT_TEXT);
    const pith__structure_options text = {.format = PITH__FORMAT_TEXT};
    assert_segments("# a\n", &text, "# a\n");
    assert_segments("# a\n", &any, "# a\n");
    pith__structure s = read_all("# a\n", &text);
    assert_int_equal(s.format, PITH__FORMAT_TEXT);
    assert_int_equal(s.atoms.count, 0);
    pith__structure_deinit(&s, mem);
}

/* ---- any bytes ---------------------------------------------------------------------------------------------- */

static const char *const fragments[] = {
    "a",
    "word ",
    " ",
    "\n",
    "\n\n",
    "\r\n",
    "```",
    "`",
    "``",
    "~~~\n",
    "# ",
    "---\n",
    "===\n",
    "| ",
    "|-|-|\n",
    "- ",
    "1. ",
    "> ",
    "[ ] ",
    "[",
    "]",
    "(",
    ")",
    "![",
    "](",
    "](u)",
    "[r]: ",
    "[^f]: ",
    "<",
    ">",
    "<div>",
    "<!--",
    "-->",
    "<pre>",
    "<http:",
    "**",
    "*",
    "_",
    "~~",
    "\\",
    "\"",
    "'",
    "\344\270\200",
    "\314\201",
    "\377",
    "{",
    "}",
    ":",
    ",",
    "\"a\":",
    "\"role\": \"user\",",
    "<llmlingua>",
    "</llmlingua>",
    "<llmlingua, rate=0.5>",
    "<llmlingua, compress=False>",
};

static void put_fragments(document *d, uint64_t *seed)
{
    for (size_t i = test_random_below(seed, 60); i > 0; i--) {
        put(d, PICK(seed, fragments));
    }
    if (d->size < sizeof d->text && test_random_below(seed, 8) == 0) {
        d->text[d->size++] = '\0';
    }
}

static void test_any_bytes(void **state)
{
    (void)state;
    uint64_t seed = 4;
    for (int round = 0; round < 30000; round++) {
        document d = {.size = 0};
        put_fragments(&d, &seed);
        /* a block of its own, so that a sanitizer sees the first byte beyond */
        char *text = malloc(d.size + 1);
        assert_non_null(text);
        memcpy(text, d.text, d.size);
        pith__structure s;
        pith_error err;
        assert_ok(pith__structure_read(text, d.size, &any, mem, &s, &err), err);
        assert_sound(&s, d.size);
        pith__structure_deinit(&s, mem);
        assert_ok(pith__structure_read(text, d.size, &markdown, mem, &s, &err), err);
        assert_sound(&s, d.size);
        pith__structure_deinit(&s, mem);
        free(text);
    }
    pith__structure s;
    pith_error err;
    assert_ok(pith__structure_read(NULL, 0, &any, mem, &s, &err), err);
    assert_int_equal(s.segments.count, 0);
    pith__structure_deinit(&s, mem);
}

/* What would never end if any byte were looked at again and again. */
static void test_long(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "[",           "`",           "*",         "<llmlingua",
        "[](",         "[](a ",       "[](a \"",   "[](a '",
        "<",           "<a:",         "![",        "`` ` ",
        "*a",          "> ",          "- ",        "|",
        "|-",          "a|b\n-|-\n",  "\n",        "<!--",
        "<!--\n",      "<pre>\n",     "#\n",       "[x][",
        "[a]: ",       "{\"a\":",     "\"\\u0041", "[[],",
        "\\",          "~~~\n",       "*`x`",      "\344\270\200*",
        "<llmlingua,", "<llmlingua>", "</",        "(",
        "[^",          "1. ",
    };
    const size_t size = (size_t)1 << 20;
    char *text = malloc(size);
    assert_non_null(text);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        const size_t length = strlen(parts[i]);
        for (size_t at = 0; at < size; at++) {
            text[at] = parts[i][at % length];
        }
        pith__structure s;
        pith__lingua_tags tags;
        pith_error err;
        assert_ok(pith__structure_read(text, size, &any, mem, &s, &err), err);
        assert_sound(&s, size);
        pith__structure_deinit(&s, mem);
        assert_ok(pith__structure_read(text, size, &markdown, mem, &s, &err), err);
        assert_sound(&s, size);
        pith__structure_deinit(&s, mem);
        const pith_status status = pith__lingua_tags_strip(text, size, mem, &tags, &err);
        assert_true(status == PITH_OK || status == PITH_E_SYNTAX);
        pith__lingua_tags_deinit(&tags, mem);
    }
    free(text);
}

/* ---- tags of LLMLingua ----------------------------------------------------------------------------------------- */

static void assert_tags(const char *text, const char *clean, const char *segments,
                        const char *fixed)
{
    pith__lingua_tags tags;
    pith_error err;
    assert_ok(pith__lingua_tags_strip(text, strlen(text), mem, &tags, &err), err);
    assert_int_equal(tags.size, strlen(clean));
    assert_memory_equal(tags.text, clean, tags.size);
    assert_string_equal(stretches(tags.text, &tags.segments), segments);
    assert_string_equal(pieces(tags.text, &tags.fixed), fixed);
    assert_int_equal(tags.tagged, strcmp(text, clean) != 0);
    for (size_t at = 0; at < tags.size; at++) {
        const size_t start = pith__text_map_start(&tags.map, at);
        assert_int_equal(text[start], tags.text[at]);
        assert_int_equal(pith__text_map_end(&tags.map, at + 1), start + 1);
    }
    pith__lingua_tags_deinit(&tags, mem);
}

/* The second of these is the example of the release's README. */
static void test_lingua_tags(void **state)
{
    (void)state;
    assert_tags("no tags <b> <llmlinguax> <llmlingua2>", "no tags <b> <llmlinguax> <llmlingua2>",
                "", "");
    assert_tags(
        "<llmlingua, compress=False>Speaker 4:</llmlingua><llmlingua, rate=0.4> Thank you. "
        "And can we do the functions for content?</llmlingua><llmlingua, compress=False>"
        "\nSpeaker 0:</llmlingua><llmlingua, rate=0.6> Item 11.</llmlingua>",
        "Speaker 4: Thank you. And can we do the functions for content?\nSpeaker 0: Item 11.",
        " Thank you. And can we do the functions for content?@0.4| Item 11.@0.6",
        "Speaker 4:|\nSpeaker 0:");
    assert_tags("<llmlingua>a</llmlingua>", "a", "a", "");
    assert_tags("<llmlingua, rate=0.4, compress=True>a</llmlingua>", "a", "a@0.4", "");
    assert_tags("<llmlingua, compress=True, rate=0.4>a</llmlingua>", "a", "a@0.4", "");
    assert_tags("<llmlingua rate = 0.25\n,COMPRESS=true , >a</llmlingua>", "a", "a@0.25", "");
    assert_tags("<llmlingua Rate=.5>a</llmlingua><llmlingua rate=1.>b</llmlingua>", "ab",
                "a@0.5|b@1", "");
    assert_tags("<llmlingua,rate=0>a</llmlingua>", "a", "a@0", "");
    assert_tags("<llmlingua, rate=0.4, compress=False>a</llmlingua>", "a", "", "a");
    assert_tags("x<llmlingua>a < b <i></llmlingua>y", "xa < b <i>y", "a < b <i>", "x|y");
    assert_tags("x<llmlingua></llmlingua>y<llmlingua, compress=FALSE>z</llmlingua>w", "xyzw", "",
                "xyzw");
    assert_tags("<llmlingua></llmlingua>", "", "", "");
    assert_tags("", "", "", "");
}

static void assert_tags_refused(const char *text, size_t expected)
{
    pith__lingua_tags tags;
    pith_error err;
    assert_status(pith__lingua_tags_strip(text, strlen(text), mem, &tags, &err), PITH_E_SYNTAX);
    assert_null(tags.text);
    assert_int_equal(err.offset, expected);
}

static void test_lingua_tags_bad(void **state)
{
    (void)state;
    assert_tags_refused("a<llmlingua>b", 1);
    assert_tags_refused("a</llmlingua>b", 1);
    assert_tags_refused("<llmlingua>a<llmlingua>b</llmlingua></llmlingua>", 12);
    assert_tags_refused("<llmlingua>a</llmlingua></llmlingua>", 24);
    assert_tags_refused("<llmlingua, keep=1>a</llmlingua>", 12);
    assert_tags_refused("<llmlingua, rate>a</llmlingua>", 12);
    assert_tags_refused("<llmlingua, rate=>a</llmlingua>", 17);
    assert_tags_refused("<llmlingua, rate=1.5>a</llmlingua>", 17);
    assert_tags_refused("<llmlingua, rate=-1>a</llmlingua>", 17);
    assert_tags_refused("<llmlingua, rate=0x1>a</llmlingua>", 17);
    assert_tags_refused("<llmlingua, rate=.>a</llmlingua>", 17);
    assert_tags_refused("<llmlingua, rate=nan>a</llmlingua>", 17);
    assert_tags_refused("<llmlingua, rate=0.1.2>a</llmlingua>", 17);
    assert_tags_refused("<llmlingua, rate=0.1, rate=0.2>a</llmlingua>", 27);
    assert_tags_refused("<llmlingua, compress=no>a</llmlingua>", 21);
    assert_tags_refused("<llmlingua, compress=True compress=True>a</llmlingua>", 35);
    assert_tags_refused("<llmlingua, rate=0.5", 0);
    assert_tags_refused("x <llmlingua", 2);
    assert_tags_refused("x <llmlingua, rate=", 2);
    assert_tags_refused("x <llmlingua, compress", 14);
    assert_tags_refused("<llmlingua =>a</llmlingua>", 11);
}

/* Tags around random pieces: taking them out gives the pieces back, and the map leads to them. */
static void test_lingua_tags_random(void **state)
{
    (void)state;
    uint64_t seed = 5;
    for (int round = 0; round < 5000; round++) {
        document source = {.size = 0};
        document clean = {.size = 0};
        document stays = {.size = 0};
        document shrinks = {.size = 0};
        for (size_t i = 1 + test_random_below(&seed, 6); i > 0; i--) {
            char piece[32];
            (void)snprintf(piece, sizeof piece, "%s%zu", i % 2 == 0 ? "<b>" : "\303\251 ",
                           test_random_below(&seed, 1000));
            const size_t kind = test_random_below(&seed, 4);
            static const char *const tags[] = {"", "<llmlingua>", "<llmlingua, rate=0.3>",
                                               "<llmlingua, compress=False>"};
            put(&source, tags[kind]);
            put(&source, piece);
            put(&source, kind > 0 ? "</llmlingua>" : "");
            put(&clean, piece);
            put(kind % 3 == 0 ? &stays : &shrinks, piece);
        }
        pith__lingua_tags tags;
        pith_error err;
        assert_ok(pith__lingua_tags_strip(source.text, source.size, mem, &tags, &err), err);
        assert_int_equal(tags.size, clean.size);
        assert_memory_equal(tags.text, clean.text, clean.size);
        size_t at = 0;
        for (size_t i = 0; i < tags.fixed.count; i++) {
            const pith__span *span = &tags.fixed.items[i];
            assert_memory_equal(tags.text + span->start, stays.text + at, span->end - span->start);
            at += span->end - span->start;
        }
        assert_int_equal(at, tags.tagged ? stays.size : 0);
        at = 0;
        for (size_t i = 0; i < tags.segments.count; i++) {
            const pith__segment *span = &tags.segments.items[i];
            assert_memory_equal(tags.text + span->start, shrinks.text + at,
                                span->end - span->start);
            at += span->end - span->start;
        }
        assert_int_equal(at, shrinks.size);
        for (size_t i = 0; i < tags.size; i++) {
            assert_int_equal(source.text[pith__text_map_start(&tags.map, i)], tags.text[i]);
        }
        pith__lingua_tags_deinit(&tags, mem);
    }
}

/* ---- patterns ----------------------------------------------------------------------------------------------- */

/* Checks all that the pattern keeps in `text`, pieces joined by '|'. */
static void assert_pattern(const char *name, const char *text, const char *expected)
{
    pith__protect *protect = NULL;
    pith__spans spans;
    pith_error err;
    const char *regex = pith__pattern_regex(name);
    assert_non_null(regex);
    assert_ok(pith__protect_new(mem, 0, &protect, &err), err);
    assert_ok(pith__protect_add_regex(protect, regex, strlen(regex), &err), err);
    assert_ok(pith__protect_apply(protect, text, strlen(text), mem, &spans, &err), err);
    if (strcmp(pieces(text, &spans), expected) != 0) {
        fail_msg("%s in \"%s\": \"%s\", expected \"%s\"", name, text, pieces(text, &spans),
                 expected);
    }
    pith__spans_deinit(&spans, mem);
    pith__protect_free(protect);
}

static void test_pattern_names(void **state)
{
    (void)state;
    static const char *const names[] = {
        "email", "url",     "date",     "time",   "number", "money",   "percent", "phone",  "uuid",
        "path",  "version", "citation", "quoted", "name",   "acronym", "hashtag", "mention"};
    const size_t count = sizeof names / sizeof names[0];
    assert_int_equal(pith__pattern_count(), count);
    for (size_t i = 0; i < count; i++) {
        assert_string_equal(pith__pattern_name(i), names[i]);
        assert_non_null(pith__pattern_regex(names[i]));
    }
    assert_null(pith__pattern_name(count));
    assert_null(pith__pattern_regex("nothing"));
    assert_null(pith__pattern_regex(""));
}

static void test_patterns_links(void **state)
{
    (void)state;
    assert_pattern("email", "Write to jo.doe+x@mail.example.com, or a_b@c.de.",
                   "jo.doe+x@mail.example.com|a_b@c.de");
    assert_pattern("email", "\351\202\256\347\256\261user@a.com\347\232\204", "user@a.com");
    assert_pattern("email", "a@b, @user, user@, a@b.c and x @ y.com", "");
    assert_pattern("url", "See https://a.b/c?d=e#f, (http://x.y/z) or www.a.org.",
                   "https://a.b/c?d=e#f|http://x.y/z|www.a.org");
    assert_pattern("url", "https://en.wikipedia.org/wiki/Foo_(bar) ftp://h/",
                   "https://en.wikipedia.org/wiki/Foo_(bar)|ftp://h/");
    assert_pattern("url", "a://b, http://, awww.x, c:d and www. x", "");
    assert_pattern("path", "in /usr/lib/x.so, ~/a, ./b/c and ../d.",
                   "/usr/lib/x.so|~/a|./b/c|../d");
    assert_pattern("path", "C:\\Users\\me\\a.txt; src/main.c: lib/a.tar.gz",
                   "C:\\Users\\me\\a.txt|src/main.c|lib/a.tar.gz");
    assert_pattern("path", "and/or, he/she, 1/2, a / b, https://x/y z, </b>", "");
    assert_pattern("uuid", "id 123e4567-e89b-12d3-a456-426614174000.",
                   "123e4567-e89b-12d3-a456-426614174000");
    assert_pattern("uuid",
                   "123e4567-e89b-12d3-a456-42661417400 "
                   "x123e4567-e89b-12d3-a456-426614174000 "
                   "123e4567e89b12d3a456426614174000",
                   "");
    assert_pattern("hashtag", "#one and (#two_2) #3d", "#one|#two_2|#3d");
    assert_pattern("hashtag", "#1, C#, a#b, # x, &#xe9; http://a/#b", "");
    assert_pattern("mention", "@jo, (@a.b_c) and @x-y.", "@jo|@a.b_c|@x-y");
    assert_pattern("mention", "a@b.c, @ x, @@, pkg/@x", "");
}

static void test_patterns_numbers(void **state)
{
    (void)state;
    assert_pattern("number", "3 of -1,000.5, .5, 1e-9 or COVID-19; 5kg.",
                   "3|-1,000.5|.5|1e-9|19|5");
    assert_pattern("number", "abc1 x2y none", "");
    assert_pattern("money", "$5, US$1,000.50, \342\202\254 3 million, 5 euros and 20 USD",
                   "$5|US$1,000.50|\342\202\254 3 million|5 euros|20 USD");
    assert_pattern("money", "EUR 7.5bn, 100\345\205\203 and 10\342\202\254.",
                   "EUR 7.5bn|100\345\205\203|10\342\202\254");
    assert_pattern("money", "5 apples, $x, USD, 10 poundsterling2, 5%", "");
    assert_pattern("percent", "5%, -2.5 %, 10-20%, 3 percent or 25 bps",
                   "5%|-2.5 %|10-20%|3 percent|25 bps");
    assert_pattern("percent", "% of 5, 7 percentile, 5 cents, x5%", "");
    assert_pattern("phone", "+49 30 1234567, (212) 555-0199, 212-555-0199, +1-800-555-0199",
                   "+49 30 1234567|(212) 555-0199|212-555-0199|+1-800-555-0199");
    assert_pattern("phone", "13812345678 or 030/1234567", "13812345678|030/1234567");
    assert_pattern("phone", "2024-01-31, 1234567890123, 12.5, 555, +5, +00000012, 0000-20170814",
                   "");
    assert_pattern("version", "v2 and v1.2.3, 1.2.3-rc.1, version 2.1, 10.0.0.1, 1.0.0rc2",
                   "v2|v1.2.3|1.2.3-rc.1|version 2.1|10.0.0.1|1.0.0rc2");
    assert_pattern("version", "1.5 and 3, x1.2.3, versions of 2, 1,000.5", "");
}

static void test_patterns_times(void **state)
{
    (void)state;
    assert_pattern("date", "2024-01-31, 2024/1/5, 31.12.2024, 1/2/24 and 01/31/2024.",
                   "2024-01-31|2024/1/5|31.12.2024|1/2/24|01/31/2024");
    assert_pattern(
        "date",
        "31 January 2024, Jan 5, 2024, May 3rd, 1st of March and Sept. 2020. In May. On 4 May.",
        "31 January 2024|Jan 5, 2024|May 3rd|1st of March|Sept. 2020|4 May");
    assert_pattern("date", "2024-01-31T12:30:00Z and 2024\345\271\2641\346\234\2103\346\227\245",
                   "2024-01-31T12:30:00Z|2024\345\271\2641\346\234\2103\346\227\245");
    assert_pattern("date", "2024-13-01, 1-2, 3/4, 1.2.3, may 5, Mayor 5, 12345-01-01", "");
    assert_pattern("time", "at 9:30, 23:59:59.5, 5 pm, 5:15 p.m., 08:00 UTC or 3 o'clock",
                   "9:30|23:59:59.5|5 pm|5:15 p.m.|08:00 UTC|3 o'clock");
    assert_pattern("time", "2024-01-31T12:30:00+01:00", "12:30:00+01:00");
    assert_pattern("time", "24:00, 1:2, 1:234, 5 amps, a12:30, 10:75", "");
}

static void test_patterns_words(void **state)
{
    (void)state;
    assert_pattern("citation",
                   "as in [1], [2, 4-6], (Smith, 2020) and (see Lee et al., 2019a; Wu 2018)",
                   "[1]|[2, 4-6]|(Smith, 2020)|(see Lee et al., 2019a; Wu 2018)");
    assert_pattern("citation", "Smith et al. (2020), Lee and Wu (2019) \\citep[p. 3]{a,b} [@key]",
                   "Smith et al. (2020)|Lee and Wu (2019)|\\citep[p. 3]{a,b}|[@key]");
    assert_pattern("citation", "[x], (in 2020), (Smith), [1], a[ 2 ], (FM 1103)", "[1]");
    assert_pattern("quoted", "he said \"no way\", \342\200\234yes\342\200\235 and 'it's so'.",
                   "\"no way\"|\342\200\234yes\342\200\235|'it's so'");
    assert_pattern("quoted",
                   "\302\253oui\302\273 \343\200\214a\343\200\215 \342\200\236ja\342\200\234",
                   "\302\253oui\302\273|\343\200\214a\343\200\215|\342\200\236ja\342\200\234");
    assert_pattern("quoted", "a 5\" and 6\" tube, don't, dogs' cats', \" a \", \"a\nb\"", "");
    assert_pattern("name", "We met Anna Maria Schmidt and Dr. Who in London, then Bank of England.",
                   "Anna Maria Schmidt|Dr. Who|London|Bank of England");
    assert_pattern("name", "In Paris, said Jean-Luc O'Neil, 3 Germans came.",
                   "Paris|Jean-Luc O'Neil|Germans");
    assert_pattern("name", "Every word. Here it is! Then I went. He ate? John Smith did.", "");
    assert_pattern("acronym", "NASA and GPUs of the U.S. use H2O, R&D, AT&T, CO2.",
                   "NASA|GPUs|U.S.|H2O|R&D|AT&T|CO2");
    assert_pattern("acronym", "I am A man, McDonald, iOS, Word, x_AB, EXTRAORDINARILY", "");
}

/* No pattern takes too many steps on long runs of what it begins with. */
static void test_patterns_long(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "a",      "A",         "1",       " ",
        ".",      "-",         "/",       "@",
        "#",      "\"",        "'",       "(",
        "[",      "a@",        "a.",      "1.",
        "1,",     "1-",        "A.",      "A ",
        "a A",    "a A ",      "/a",      "a/",
        "../",    "[1",        "(A",      "(A ",
        "\"a ",   " 'a",       "a://",    "www.",
        "+1 ",    "$1 ",       "1 % - ",  "\342\200\234",
        "12:",    "1/1/",      "A&",      "\342\200\230a",
        "a-",     "Dr. ",      "of the ", "v1.",
        "May 1 ", "A of the ", "0-0-0-",
    };
    const size_t size = (size_t)1 << 15;
    char *text = malloc(size);
    assert_non_null(text);
    for (size_t p = 0; p < pith__pattern_count(); p++) {
        const char *regex = pith__pattern_regex(pith__pattern_name(p));
        pith__protect *protect = NULL;
        pith_error err;
        assert_ok(pith__protect_new(mem, 0, &protect, &err), err);
        assert_ok(pith__protect_add_regex(protect, regex, strlen(regex), &err), err);
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            pith__spans spans;
            for (size_t at = 0; at < size; at++) {
                text[at] = parts[i][at % strlen(parts[i])];
            }
            if (pith__protect_apply(protect, text, size, mem, &spans, &err) != PITH_OK) {
                fail_msg("%s on \"%s\": %s", pith__pattern_name(p), parts[i], err.message);
            }
            pith__spans_deinit(&spans, mem);
        }
        pith__protect_free(protect);
    }
    free(text);
}

/* ---- failing allocations ------------------------------------------------------------------------------------ */

static pith_status sweep_read(const pith_allocator *allocator, void *user)
{
    pith__structure s;
    const pith_status status = pith__structure_read(user, strlen(user), &any, allocator, &s, NULL);
    pith__structure_deinit(&s, allocator);
    return status;
}

static pith_status sweep_tags(const pith_allocator *allocator, void *user)
{
    pith__lingua_tags tags;
    const pith_status status = pith__lingua_tags_strip(user, strlen(user), allocator, &tags, NULL);
    pith__lingua_tags_deinit(&tags, allocator);
    return status;
}

static void test_sweeps(void **state)
{
    (void)state;
    char document_json[] = "{\"a\": [\"one two three four\\n\\n\\n\\n\\n\\n\\n\\n\\n\", "
                           "\"five six seven eight\", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}";
    char lines[] = "{\"a\": \"one two three four\"}\n[\"five six seven\\n eight\"]\n";
    char messages[] = "[{\"role\": \"user\", \"content\": \"a\\n\"}]";
    char page[] = "# a\n[a](b) [[c](d)](e) `f`\n- *g*\n- h\n\n|a|b|\n|-|-|\n|c|d|\n|e|f|\n"
                  "```\nx\n```\n<div>\n\ny *z* a *b* c *d* e *f* g *h* i *j* k *l* m *n* `o`\n"
                  "`a` `b` `c` `d` `e` `f` `g` `h` `i`\n";
    char plain[] = "{just text of no format} [with *emphasis*]";
    char tagged[] = "a<llmlingua>b</llmlingua>c<llmlingua, compress=False>d</llmlingua>";
    test_sweep(sweep_read, document_json);
    test_sweep(sweep_read, lines);
    test_sweep(sweep_read, messages);
    test_sweep(sweep_read, page);
    test_sweep(sweep_read, plain);
    test_sweep(sweep_tags, tagged);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_grammar),
        cmocka_unit_test(test_json_depth),
        cmocka_unit_test(test_json_prose),
        cmocka_unit_test(test_json_joined),
        cmocka_unit_test(test_json_keys),
        cmocka_unit_test(test_json_lines),
        cmocka_unit_test(test_json_against_jansson),
        cmocka_unit_test(test_json_removable),
        cmocka_unit_test(test_chat),
        cmocka_unit_test(test_chat_shape),
        cmocka_unit_test(test_chat_removable),
        cmocka_unit_test(test_markdown_blocks),
        cmocka_unit_test(test_markdown_tables),
        cmocka_unit_test(test_markdown_inline),
        cmocka_unit_test(test_markdown_joined),
        cmocka_unit_test(test_formats),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_lingua_tags),
        cmocka_unit_test(test_lingua_tags_bad),
        cmocka_unit_test(test_lingua_tags_random),
        cmocka_unit_test(test_pattern_names),
        cmocka_unit_test(test_patterns_links),
        cmocka_unit_test(test_patterns_numbers),
        cmocka_unit_test(test_patterns_times),
        cmocka_unit_test(test_patterns_words),
        cmocka_unit_test(test_patterns_long),
        cmocka_unit_test(test_sweeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
