/*
 * fuzz_select_roundtrip.c: any text with made-up tokens, scores, spans, cuts and protection. The
 * first bytes say which; the selection must be a subsequence within its budget that holds all
 * protected text, come out the same twice, and render without harm.
 */
#include "fuzz.h"

#include "hard/hard.h"

#include <math.h>
#include <string.h>

enum { HEADER = 4, CONTROLS = 16, LIST_MAX = 4096 };

static const pith_allocator *const mem = &pith__allocator_default;

typedef struct script {
    const uint8_t *controls; /* CONTROLS bytes, read round and round */
    size_t next;
} script;

static size_t draw(script *s)
{
    return s->controls[s->next++ % CONTROLS];
}

/* One token per four bytes, rounded up. */
static pith_status count(void *user, const char *text, size_t size, size_t *out, pith_error *err)
{
    (void)err;
    FUZZ_CHECK(user == NULL && text[size] == '\0');
    *out = (size + 3) / 4;
    return PITH_OK;
}

static size_t draw_spans(script *s, size_t size, size_t mask, pith__span *spans)
{
    size_t n = 0;
    for (size_t at = draw(s) & mask; at < size && n < LIST_MAX; n++) {
        const size_t end = at + (draw(s) & mask);
        spans[n] = (pith__span){at, end < size ? end : size, PITH__SPAN_WORD};
        at = spans[n].end + (draw(s) & 1) + (end == at);
    }
    return n;
}

static void check_kept(const pith__hard_source *source, const pith__units *units,
                       const pith__kept *kept)
{
    size_t at = 0;
    for (size_t i = 0; i < kept->range_count; i++) {
        const pith_range range = kept->ranges[i];
        const size_t size = range.end - range.start;
        FUZZ_CHECK(range.start < range.end && range.end <= source->size);
        FUZZ_CHECK(i == 0 || range.start > kept->ranges[i - 1].end);
        FUZZ_CHECK(memcmp(kept->text + at, source->text + range.start, size) == 0);
        at += size;
    }
    FUZZ_CHECK(at == kept->size);
    size_t range = 0;
    for (size_t i = 0; i < units->count; i++) {
        const pith_unit *unit = &units->items[i];
        while (range < kept->range_count && kept->ranges[range].end < unit->end) {
            range++;
        }
        FUZZ_CHECK(!unit->is_protected ||
                   (range < kept->range_count && kept->ranges[range].start <= unit->start));
    }
}

static bool discard(void *user, const char *data, size_t size)
{
    return user == NULL && data != NULL && size > 0;
}

static void check_selection(const pith__hard_source *source, pith__units *units, size_t budget,
                            pith__arena *arena)
{
    const pith__counter counter = {count, NULL};
    pith__kept kept;
    pith__kept again;
    const pith_status status =
        pith__select_budget(source, units, &counter, budget, arena, &kept, NULL);
    FUZZ_CHECK(status == PITH_OK || status == PITH_E_BUDGET);
    if (status == PITH_OK) {
        FUZZ_CHECK(kept.tokens <= budget && kept.tokens == (kept.size + 3) / 4);
        FUZZ_CHECK(kept.size == source->size || budget < (source->size + 3) / 4);
        check_kept(source, units, &kept);
        FUZZ_CHECK(!pith__select_budget(source, units, &counter, budget, arena, &again, NULL));
        FUZZ_CHECK(again.size == kept.size && memcmp(again.text, kept.text, kept.size) == 0);
    }
    const double share = (double)(budget % 101) / 100.0;
    FUZZ_CHECK(!pith__select_percentile(source, units, share, arena, &kept, NULL));
    check_kept(source, units, &kept);
    FUZZ_CHECK(!pith__select_mass(source, units, share, arena, &kept, NULL));
    check_kept(source, units, &kept);
    const pith__page page = {NULL, NULL};
    FUZZ_CHECK(!pith__render_ansi(source, units, NULL, budget % 2 == 0, discard, NULL, mem, NULL));
    FUZZ_CHECK(!pith__render_html(source, units, NULL, &page, discard, NULL, mem, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) /* NOLINT(*-identifier-naming) */
{
    static pith__span spans[LIST_MAX];
    static pith__span protect[LIST_MAX];
    static pith__span bytes[LIST_MAX];
    static pith_token_score tokens[LIST_MAX];
    if (size < HEADER + CONTROLS) {
        return 0;
    }
    script s = {data + HEADER, 0};
    pith__hard_source source = {.text = (const char *)data + HEADER + CONTROLS,
                                .size = size - HEADER - CONTROLS};
    pith__graphemes graphemes;
    FUZZ_CHECK(!pith__text_graphemes(source.text, source.size, mem, &graphemes, NULL));
    source.graphemes = data[0] & 1 ? &graphemes : NULL;

    pith__unit_input input = {.tokens = tokens, .spans = spans, .protect = protect};
    input.token_count = draw_spans(&s, source.size, 7, bytes);
    for (size_t i = 0; i < input.token_count; i++) {
        const size_t nats = draw(&s);
        tokens[i] = (pith_token_score){bytes[i].start, bytes[i].end, 0,
                                       nats == 255 ? NAN : (float)nats / 16.0F};
    }
    input.span_count = data[0] & 2 ? draw_spans(&s, source.size, 31, spans) : 0;
    input.protect_count = data[0] & 4 ? draw_spans(&s, source.size, 127, protect) : 0;
    const size_t cut = source.size / 2;
    input.cuts = &cut;
    input.cut_count = (data[0] & 8) != 0;
    input.aggregate = (pith__aggregate)(data[1] % 3);

    pith__arena arena;
    pith__units units;
    pith__arena_init(&arena, mem);
    FUZZ_CHECK(!pith__units_build(&source, &input, &arena, &units, NULL));
    check_selection(&source, &units, (size_t)data[2] + 256 * (size_t)(data[3] & 3), &arena);
    pith__arena_deinit(&arena);
    pith__graphemes_deinit(&graphemes, mem);
    return 0;
}
