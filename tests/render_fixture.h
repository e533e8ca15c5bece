/*
 * render_fixture.h: where renderings go in tests, and a small reader of the pages they write.
 */
#ifndef PITH_RENDER_FIXTURE_H
#define PITH_RENDER_FIXTURE_H

#include "text/text.h"

#include "test.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- output -------------------------------------------------------------------- */

typedef struct sink {
    pith__buf buf;
    size_t refuse_after; /* bytes; 0: never */
} sink;

static inline bool collect(void *user, const char *data, size_t size)
{
    sink *out = user;
    pith_error err = {0};
    if (out->refuse_after > 0 && out->buf.size + size > out->refuse_after) {
        return false;
    }
    assert_true(size > 0);
    assert_ok(pith__buf_append(&out->buf, data, size, &err), err);
    return true;
}

static inline void sink_init(sink *out)
{
    *out = (sink){.refuse_after = 0};
    pith__buf_init(&out->buf, &pith__allocator_default, SIZE_MAX);
}

/* ---- a small reader of HTML ------------------------------------------------------- */

typedef struct reader {
    const char *at;
    const char *open[32]; /* names of the elements that are open */
    size_t depth;
    bool in_main;
    size_t hidden;    /* depth of the element that the checkbox hides, 0 if none */
    pith__buf output; /* text of main that stays when the dropped is hidden */
    pith__buf all;    /* all text of main */
} reader;

static inline bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == ':';
}

static inline size_t name_length(const char *at)
{
    size_t length = 0;
    while (is_name(at[length])) {
        length++;
    }
    return length;
}

static inline bool name_is(const char *name, const char *expected)
{
    return name_length(name) == strlen(expected) && strncmp(name, expected, strlen(expected)) == 0;
}

static inline bool is_void(const char *name)
{
    return name_is(name, "meta") || name_is(name, "input");
}

/* Skips the attributes, all of which must be quoted, and unique in their element. */
static inline void read_attributes(reader *r, bool *is_outside, bool *is_closed)
{
    const char *seen[8] = {NULL};
    size_t count = 0;
    while (*r->at == ' ') {
        const char *name = ++r->at;
        r->at += name_length(name);
        assert_true(r->at > name);
        for (size_t i = 0; i < count; i++) {
            assert_false(name_length(seen[i]) == name_length(name) &&
                         strncmp(seen[i], name, name_length(name)) == 0);
        }
        assert_true(count < COUNT(seen));
        seen[count++] = name;
        assert_memory_equal(r->at, "=\"", 2);
        r->at += 2;
        *is_outside = *is_outside || (name_is(name, "class") && strncmp(r->at, "o\"", 2) == 0);
        while (*r->at != '"') {
            assert_true(*r->at != '\0' && *r->at != '<' && *r->at != '\n');
            r->at++;
        }
        r->at++;
    }
    *is_closed = *r->at == '/';
    r->at += *is_closed;
    assert_int_equal(*r->at, '>');
    r->at++;
}

static inline void read_tag(reader *r)
{
    if (r->at[1] == '/') {
        assert_true(r->depth > 0);
        const char *name = r->open[--r->depth];
        assert_int_equal(name_length(name), name_length(r->at + 2));
        assert_memory_equal(name, r->at + 2, name_length(name));
        r->in_main = r->in_main && !name_is(name, "main");
        r->hidden = r->depth < r->hidden ? 0 : r->hidden;
        r->at += 3 + name_length(name);
        assert_int_equal(r->at[-1], '>');
        return;
    }
    const char *name = ++r->at;
    r->at += name_length(name);
    assert_true(r->at > name);
    bool is_outside = false;
    bool is_closed = false;
    read_attributes(r, &is_outside, &is_closed);
    if (is_void(name) || is_closed) {
        return;
    }
    assert_true(r->depth < COUNT(r->open));
    r->open[r->depth++] = name;
    r->in_main = r->in_main || name_is(name, "main");
    if (r->hidden == 0 && r->in_main && (is_outside || name_is(name, "del"))) {
        r->hidden = r->depth;
    }
    if (name_is(name, "style")) {
        r->at = strstr(r->at, "</style>");
        assert_non_null(r->at);
    }
}

static inline void read_character(reader *r)
{
    pith_error err = {0};
    static const struct {
        const char *name;
        const char *text;
    } entities[] = {{"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&quot;", "\""}, {"&#39;", "'"}};
    const char *text = r->at;
    size_t size = 1;
    if (*r->at == '&') {
        text = NULL;
        for (size_t i = 0; i < COUNT(entities); i++) {
            if (strncmp(r->at, entities[i].name, strlen(entities[i].name)) == 0) {
                text = entities[i].text;
                size = strlen(entities[i].name);
            }
        }
        assert_non_null(text);
    }
    assert_true(*text != '<' || size > 1);
    assert_true(*text != '>' || size > 1);
    assert_true((unsigned char)*text >= ' ' || *text == '\n' || *text == '\t');
    r->at += size;
    if (r->in_main) {
        assert_ok(pith__buf_append(&r->all, text, 1, &err), err);
        if (r->hidden == 0) {
            assert_ok(pith__buf_append(&r->output, text, 1, &err), err);
        }
    }
}

/* Fails unless the page is UTF-8, well formed, and free of control characters and outside links. */
static inline void read_page(reader *r, const pith__buf *page)
{
    static const char doctype[] = "<!DOCTYPE html>\n";
    pith_error err = {0};
    *r = (reader){.at = page->data + strlen(doctype)};
    pith__buf_init(&r->output, &pith__allocator_default, SIZE_MAX);
    pith__buf_init(&r->all, &pith__allocator_default, SIZE_MAX);
    assert_ok(pith__buf_append(&r->output, "", 0, &err), err);
    assert_ok(pith__buf_append(&r->all, "", 0, &err), err);
    assert_memory_equal(page->data, doctype, strlen(doctype));
    assert_int_equal(strlen(page->data), page->size);
    size_t bad = 0;
    assert_true(pith__utf8_check(page->data, page->size, &bad));
    while (*r->at != '\0') {
        if (*r->at == '<') {
            read_tag(r);
        } else {
            read_character(r);
        }
    }
    assert_int_equal(r->depth, 0);
    assert_null(strstr(page->data, "<script"));
    assert_null(strstr(page->data, "@import"));
}

static inline void reader_deinit(reader *r)
{
    pith__buf_deinit(&r->output);
    pith__buf_deinit(&r->all);
}

#endif /* PITH_RENDER_FIXTURE_H */
