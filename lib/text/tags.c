/*
 * tags.c: taking <keep>...</keep> out of a text and noting what stood between.
 */
#include "text/text.h"

#include <string.h>

enum { MOST_NAMES = 64, LONGEST_NAME = 64 };

/* A tag found in the source. */
typedef struct tag {
    size_t start; /* of its '<' */
    size_t end;
    size_t name; /* index */
    bool closes;
} tag;

typedef struct stripper {
    const char *text;
    size_t size;
    const char *const *names;
    size_t count;
    const pith_allocator *mem;
    pith__tagged *out;
    tag open[MOST_NAMES]; /* innermost last; a name is open at most once */
    size_t open_count;
    size_t kept_from; /* offset in the clean text of the outermost open tag */
    size_t copied;    /* source bytes done */
} stripper;

bool pith__tag_name_is_valid(const char *name)
{
    size_t length = 0;
    for (; name[length] != '\0'; length++) {
        const char byte = name[length];
        const char lower = (char)(byte | 0x20);
        if (!((lower >= 'a' && lower <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' ||
              byte == '_') ||
            length == LONGEST_NAME) {
            return false;
        }
    }
    return length > 0;
}

static pith_status check_names(const char *const *names, size_t count, pith_error *err)
{
    if (count > MOST_NAMES) {
        return pith__fail(err, PITH_E_ARGUMENT, "%zu tag names, at most %d are supported", count,
                          MOST_NAMES);
    }
    for (size_t i = 0; i < count; i++) {
        if (!pith__tag_name_is_valid(names[i])) {
            return pith__fail(err, PITH_E_ARGUMENT,
                              "tag name \"%.*s\": use up to %d letters, digits, '-' and '_'",
                              LONGEST_NAME, names[i], LONGEST_NAME);
        }
    }
    return PITH_OK;
}

/* True if `found` is one of the tags: reads "<name>" or "</name>" at found->start. */
static bool read_tag(const stripper *work, tag *found)
{
    size_t at = found->start + 1;
    found->closes = at < work->size && work->text[at] == '/';
    at += found->closes;
    for (size_t i = 0; i < work->count; i++) {
        const size_t length = strlen(work->names[i]);
        if (work->size - at > length && work->text[at + length] == '>' &&
            memcmp(work->text + at, work->names[i], length) == 0) {
            found->end = at + length + 1;
            found->name = i;
            return true;
        }
    }
    return false;
}

/* The first tag at or after `at`. */
static bool find_tag(const stripper *work, size_t at, tag *found)
{
    while (at < work->size) {
        const char *bracket = memchr(work->text + at, '<', work->size - at);
        if (bracket == NULL) {
            return false;
        }
        found->start = (size_t)(bracket - work->text);
        if (read_tag(work, found)) {
            return true;
        }
        at = found->start + 1;
    }
    return false;
}

/* Copies the source up to `end`, which a tag or the end of the text follows. */
static pith_status copy_until(stripper *work, size_t end, pith_error *err)
{
    pith__tagged *out = work->out;
    const size_t length = end - work->copied;
    if (length == 0) {
        return PITH_OK;
    }
    PITH__TRY(pith__text_map_push(&out->map, work->mem, out->size, work->copied, end, err));
    memcpy(out->owned + out->size, work->text + work->copied, length);
    out->size += length;
    return PITH_OK;
}

static pith_status push_boundary(stripper *work, pith_error *err)
{
    pith__tagged *out = work->out;
    const pith__spans *known = &out->boundary;
    if (known->count > 0 && known->items[known->count - 1].start == out->size) {
        return PITH_OK;
    }
    return pith__spans_push(&out->boundary, work->mem, out->size, out->size, PITH__SPAN_WORD, err);
}

/* Notes [start, end) of the clean text as kept; a range that touches the one before extends it. */
static pith_status push_kept(stripper *work, size_t start, size_t end, pith_error *err)
{
    pith__spans *kept = &work->out->kept;
    if (start == end) {
        return PITH_OK;
    }
    if (kept->count > 0 && kept->items[kept->count - 1].end == start) {
        kept->items[kept->count - 1].end = end;
        return PITH_OK;
    }
    return pith__spans_push(kept, work->mem, start, end, PITH__SPAN_WORD, err);
}

static pith_status open_tag(stripper *work, const tag *found, pith_error *err)
{
    for (size_t i = 0; i < work->open_count; i++) {
        if (strcmp(work->names[work->open[i].name], work->names[found->name]) == 0) {
            return pith__fail_at(
                err, PITH_E_SYNTAX, found->start, "<%s> inside <%s>, which is open since byte %zu",
                work->names[found->name], work->names[found->name], work->open[i].start);
        }
    }
    if (work->open_count == 0) {
        work->kept_from = work->out->size;
    }
    work->open[work->open_count++] = *found;
    return PITH_OK;
}

static pith_status close_tag(stripper *work, const tag *found, pith_error *err)
{
    const char *name = work->names[found->name];
    if (work->open_count == 0) {
        return pith__fail_at(err, PITH_E_SYNTAX, found->start, "</%s> without a <%s> before it",
                             name, name);
    }
    const tag *innermost = &work->open[work->open_count - 1];
    if (strcmp(work->names[innermost->name], name) != 0) {
        return pith__fail_at(err, PITH_E_SYNTAX, found->start,
                             "</%s> where <%s>, open since byte %zu, must be closed first", name,
                             work->names[innermost->name], innermost->start);
    }
    work->open_count--;
    return work->open_count > 0 ? PITH_OK : push_kept(work, work->kept_from, work->out->size, err);
}

/* Goes through the tags, of which `found` is the first. */
static pith_status strip(stripper *work, tag found, pith_error *err)
{
    do {
        PITH__TRY(copy_until(work, found.start, err));
        work->copied = found.end;
        PITH__TRY(push_boundary(work, err));
        PITH__TRY(found.closes ? close_tag(work, &found, err) : open_tag(work, &found, err));
    } while (find_tag(work, found.end, &found));
    if (work->open_count > 0) {
        const tag *innermost = &work->open[work->open_count - 1];
        return pith__fail_at(err, PITH_E_SYNTAX, innermost->start, "<%s> is never closed",
                             work->names[innermost->name]);
    }
    PITH__TRY(copy_until(work, work->size, err));
    return pith__text_map_push(&work->out->map, work->mem, work->out->size, work->size, work->size,
                               err);
}

pith_status pith__tags_strip(const char *text, size_t size, const char *const *names, size_t count,
                             const pith_allocator *mem, pith__tagged *out, pith_error *err)
{
    *out = (pith__tagged){.text = text, .size = size};
    stripper work = {
        .text = text, .size = size, .names = names, .count = count, .mem = mem, .out = out};
    tag found = {0};
    pith_status status = check_names(names, count, err);
    if (status != PITH_OK || count == 0 || !find_tag(&work, 0, &found)) {
        return status;
    }
    status = pith__alloc(mem, size, 1, &out->owned, err);
    if (status == PITH_OK) {
        out->owned_size = size;
        out->text = out->owned;
        out->size = 0;
        status = strip(&work, found, err);
    }
    if (status != PITH_OK) {
        pith__tagged_deinit(out, mem);
    }
    return status;
}

void pith__tagged_deinit(pith__tagged *tagged, const pith_allocator *mem)
{
    if (tagged != NULL) {
        pith__free(mem, tagged->owned, tagged->owned_size, 1);
        pith__text_map_deinit(&tagged->map, mem);
        pith__spans_deinit(&tagged->kept, mem);
        pith__spans_deinit(&tagged->boundary, mem);
        *tagged = (pith__tagged){0};
    }
}
