/*
 * test_prompts.c: prompts of several parts through pith.h: parts in any order, structure, tags,
 * every method in every mode. What a result says about its source must be so.
 */
#include "test.h"

#include <jansson.h>
#include <math.h>

enum { MOST_PARTS = 8, PART_SIZE = 1600, TEXT_SIZE = MOST_PARTS * PART_SIZE };

static pith_model *model; /* the built-in one, for all tests */

static int open_model(void **state)
{
    (void)state;
    return (int)pith_model_open(NULL, NULL, &model, NULL);
}

static int close_model(void **state)
{
    (void)state;
    pith_model_free(model);
    return 0;
}

static pith_ctx *new_ctx(void)
{
    pith_error err = {0};
    pith_ctx *ctx = NULL;
    assert_ok(pith_ctx_new(model, &ctx, &err), err);
    assert_ok(pith_ctx_set(ctx, "threads", "1", &err), err);
    return ctx;
}

static void set(pith_ctx *ctx, const char *name, const char *value)
{
    pith_error err = {0};
    assert_ok(pith_ctx_set(ctx, name, value, &err), err);
}

static pith_part part_of(pith_role role, const char *text)
{
    return (pith_part){role, text, strlen(text)};
}

static pith_result *compress(pith_ctx *ctx, const pith_part *parts, size_t count)
{
    pith_error err = {0};
    pith_result *result = NULL;
    assert_ok(pith_compress_parts(ctx, parts, count, &result, &err), err);
    return result;
}

static size_t tokens_in(const char *text, size_t size)
{
    size_t count = 0;
    pith_error err = {0};
    assert_ok(pith_tokenizer_count(pith_model_tokenizer(model), text, size, &count, &err), err);
    return count;
}

/* ---- random prompts ---------------------------------------------------------------------------- */

static size_t pick(uint64_t *seed, size_t choices)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (size_t)(*seed >> 33) % choices;
}

#define PICK(seed, list) ((list)[pick(seed, sizeof(list) / sizeof(list)[0])])

static const char *const sentences[] = {
    "The bridge over the Elbe was built in 1893 by the engineer Otto Krug. ",
    "Nobody knows why 42 of them left.\n",
    "KEEPME KEEPME is what the log said. ",
    "In Lisbon the trams run every 7 minutes,\n\nbut not on Sundays. ",
    "日本語の文章です。とても短い。",
    "Ünïcödé wörds and e\xcc\x81 marks 👩‍👩‍👧 too! ",
    "See https://a.b/c?d=1 for `code` (x). ",
    "  \t ",
    "\r\n",
    "a",
    "state-of-the-art 3.14 $5",
    "KEEPME",
};

/* What is well-formed by itself. */
static const char *const documents[] = {
    ("{\"title\": \"A short note on rivers and the towns along them\", \"n\": [1, 2.5, null],"
     " \"body\": \"They \\\"met\\\" at the old\\nmill, and went on to the sea \\u00e9 "
     "\\ud83d\\ude00\"}"),
    ("[{\"role\": \"system\", \"content\": \"You answer briefly.\"}, {\"role\": \"user\", "
     "\"content\":"
     " \"Where is the nearest station to the old market square, and when is it open?\"},"
     " {\"role\": \"assistant\", \"content\": \"It is behind the town hall; it opens at six.\"},"
     " {\"role\": \"user\", \"content\": \"And the museum?\"}, {\"role\": \"user\", \"content\": "
     "\"?\"}]"),
    ("# Rivers\n\nThe Elbe is long and it is wide.\n\n| a | b |\n|---|---|\n| 1 | two |\n\n- one "
     "item"
     " of the list\n- another item\n\n```\nint x = 1;\n```\n\nThe end of [it](http://x.y).\n"),
    ("{\"a\": 1, \"text\": \"one line of the log that nobody ever reads\"}\n{\"a\": 2, \"text\":"
     " \"another line of the same log that somebody reads\"}\n"),
};

static const char *const tagged[] = {
    ("<llmlingua, rate=0.3>The first part of this may go for the most.</llmlingua>"
     "<llmlingua, compress=False> This stays. </llmlingua>"
     "<llmlingua>And this is <k>rather</k> as the whole is.</llmlingua>"),
    "Plain <k>but kept</k> words, and <k></k>others that nobody asked for.",
    "<llmlingua, rate=0>All of this, word by word</llmlingua>, outside <llmlingua>x</llmlingua>",
};

typedef struct prompt {
    pith_part parts[MOST_PARTS];
    size_t count;
    bool has_question;
    bool has_tags;
    bool is_json[MOST_PARTS];
    char texts[MOST_PARTS][PART_SIZE];
} prompt;

static void add_part(prompt *p, uint64_t *seed, pith_role role)
{
    char *text = p->texts[p->count];
    text[0] = '\0';
    const size_t kind = role == PITH_CONTEXT ? pick(seed, 8) : 4 + pick(seed, 3);
    if (kind == 0) {
        const size_t which = pick(seed, sizeof documents / sizeof documents[0]);
        (void)snprintf(text, PART_SIZE, "%s", documents[which]);
        p->is_json[p->count] = which < 2;
    } else if (kind == 1) {
        (void)snprintf(text, PART_SIZE, "%s", PICK(seed, tagged));
        p->has_tags = true;
    } else if (kind < 7) {
        for (size_t n = pick(seed, 12) + (role != PITH_CONTEXT); n > 0; n--) {
            (void)strncat(text, PICK(seed, sentences), PART_SIZE - 1 - strlen(text));
        }
    } /* else empty */
    p->parts[p->count++] = part_of(role, text);
}

static void random_prompt(uint64_t *seed, prompt *p)
{
    *p = (prompt){0};
    const size_t contexts = pick(seed, 6);
    const bool has_instruction = pick(seed, 2) == 0;
    p->has_question = pick(seed, 4) > 0;
    size_t left = contexts + has_instruction + p->has_question;
    bool instruction = has_instruction;
    bool question = p->has_question;
    for (; left > 0; left--) {
        const size_t which = pick(seed, left);
        if (instruction && which == 0) {
            instruction = false;
            add_part(p, seed, PITH_INSTRUCTION);
        } else if (question && which == left - 1) {
            question = false;
            add_part(p, seed, PITH_QUESTION);
        } else if (left > (size_t)instruction + (size_t)question) {
            add_part(p, seed, PITH_CONTEXT);
        } else {
            add_part(p, seed, instruction ? PITH_INSTRUCTION : PITH_QUESTION);
            question = question && instruction;
            instruction = false;
        }
    }
}

/* ---- random parameters --------------------------------------------------------------------------- */

typedef struct settings {
    const char *method;
    const char *mode;
    bool is_exact; /* the text is the ranges, under a budget if there is one */
    bool keeps;    /* the word KEEPME, and what stands in <k> */
} settings;

static void maybe(pith_ctx *ctx, uint64_t *seed, const char *name, const char *value)
{
    if (pick(seed, 4) == 0) {
        set(ctx, name, value);
    }
}

static void random_settings(pith_ctx *ctx, uint64_t *seed, settings *s)
{
    static const char *const methods[] = {"selective", "llmlingua", "longllmlingua"};
    static const char *const modes[] = {"pith", "pith", "pith", "paper", "official"};
    static const char *const levels[] = {"token", "word", "phrase", "sentence"};
    static const char *const orders[] = {"original", "sort", "two_stage"};
    static const char *const rates[] = {"0", "0.1", "0.3", "0.5", "0.8", "1"};
    static const char *const targets[] = {"0", "20", "60", "200"};
    static const char *const rankers[] = {"auto", "bm25", "gzip", "random", "llmlingua"};
    pith_ctx_reset(ctx);
    set(ctx, "threads", "1");
    *s = (settings){.method = PICK(seed, methods), .mode = PICK(seed, modes)};
    const bool selective = strcmp(s->method, "selective") == 0;
    const bool pith = strcmp(s->mode, "pith") == 0;
    s->is_exact = pith || (selective && strcmp(s->mode, "paper") == 0);
    s->keeps = s->is_exact && pick(seed, 2) == 0;
    set(ctx, "method", s->method);
    set(ctx, "mode", s->mode);
    set(ctx, "level", PICK(seed, levels));
    set(ctx, "rate", PICK(seed, rates));
    set(ctx, "reorder-context", PICK(seed, orders));
    set(ctx, "rank-method", PICK(seed, rankers));
    if (pith || !selective) {
        maybe(ctx, seed, "target-tokens", PICK(seed, targets));
    }
    if (s->keeps) {
        set(ctx, "keep", "KEEPME");
        set(ctx, "keep-tag", "k");
        maybe(ctx, seed, "keep-digits", "true");
        maybe(ctx, seed, "keep-pattern", "url");
        if (pith) {
            maybe(ctx, seed, "json-rate", "body=0.2");
        }
    }
    maybe(ctx, seed, "use-sentence-level-filter", "true");
    maybe(ctx, seed, "use-token-level-filter", "false");
    maybe(ctx, seed, "use-context-level-filter", "false");
    maybe(ctx, seed, "keep-first-sentence", "1");
    maybe(ctx, seed, "keep-sentence-number", "2");
    maybe(ctx, seed, "dynamic-context-compression-ratio", "0.4");
    maybe(ctx, seed, "condition-in-question", "after_condition");
    maybe(ctx, seed, "concate-question", "false");
    maybe(ctx, seed, "iterative-size", "16");
    maybe(ctx, seed, "force-context-ids", "0");
    maybe(ctx, seed, "aggregate", "max");
    maybe(ctx, seed, "keep-turns", "0");
}

/* ---- what holds of every result -------------------------------------------------------------------- */

typedef struct output {
    const char *source;
    size_t source_size;
    const pith_range *ranges;
    size_t range_count;
    const pith_unit *units;
    size_t unit_count;
    const pith_part_stats *parts;
    size_t part_count;
    pith_stats stats;
} output;

static output read_output(const pith_result *result)
{
    output o = {.stats = pith_result_stats(result)};
    o.source = pith_result_source(result, &o.source_size);
    o.ranges = pith_result_ranges(result, &o.range_count);
    o.units = pith_result_units(result, &o.unit_count);
    o.parts = pith_result_parts(result, &o.part_count);
    return o;
}

static void check_source(const prompt *p, const output *o)
{
    size_t at = 0;
    assert_int_equal(o->part_count, p->count);
    for (size_t i = 0; i < p->count; i++) {
        if (i > 0) {
            assert_memory_equal(o->source + at, "\n\n", 2);
            at += 2;
        }
        assert_int_equal(o->parts[i].role, p->parts[i].role);
        assert_int_equal(o->parts[i].start, at);
        assert_int_equal(o->parts[i].end, at + p->parts[i].size);
        if (p->parts[i].size > 0) {
            assert_memory_equal(o->source + at, p->parts[i].text, p->parts[i].size);
        }
        at += p->parts[i].size;
    }
    assert_int_equal(o->source_size, at);
}

/* No byte of the source is used twice. */
static void check_ranges(const output *o)
{
    static bool used[TEXT_SIZE + 2 * MOST_PARTS];
    memset(used, 0, sizeof used);
    for (size_t i = 0; i < o->range_count; i++) {
        assert_true(o->ranges[i].start < o->ranges[i].end);
        assert_true(o->ranges[i].end <= o->source_size);
        assert_true(i == 0 || o->ranges[i].start != o->ranges[i - 1].end);
        for (size_t at = o->ranges[i].start; at < o->ranges[i].end; at++) {
            assert_false(used[at]);
            used[at] = true;
        }
    }
}

/* The text of the ranges within [start, end), in their order. */
static size_t kept_between(const output *o, size_t start, size_t end, char *out)
{
    size_t size = 0;
    for (size_t i = 0; i < o->range_count; i++) {
        const size_t from = o->ranges[i].start > start ? o->ranges[i].start : start;
        const size_t to = o->ranges[i].end < end ? o->ranges[i].end : end;
        if (from < to) {
            memcpy(out + size, o->source + from, to - from);
            size += to - from;
        }
    }
    return size;
}

/* Between units: tags, empty lines between parts, nothing else. */
static void check_gap(const output *o, size_t start, size_t end)
{
    while (start < end) {
        if (o->source[start] == '<') {
            const char *close = memchr(o->source + start, '>', end - start);
            assert_non_null(close);
            start = (size_t)(close - o->source) + 1;
        } else {
            bool is_joiner = false;
            for (size_t i = 1; i < o->part_count; i++) {
                is_joiner = is_joiner || start + 2 == o->parts[i].start;
            }
            assert_true(is_joiner);
            start += 2;
        }
    }
    assert_int_equal(start, end);
}

/* The release's Selective Context is exempt: its units are those of normalised white space. */
static void check_units(const output *o, bool is_whole)
{
    size_t at = 0;
    size_t kept = 0;
    size_t protected = 0;
    for (size_t i = 0; i < o->unit_count; i++) {
        const pith_unit *unit = &o->units[i];
        assert_true(unit->start >= at && unit->end >= unit->start && unit->end <= o->source_size);
        check_gap(o, is_whole ? at : unit->start, unit->start);
        at = unit->end;
        kept += unit->kept;
        protected += unit->is_protected;
        assert_true(unit->kept || !unit->is_protected);
    }
    check_gap(o, is_whole ? at : o->source_size, o->source_size);
    assert_int_equal(o->stats.units, o->unit_count);
    assert_int_equal(o->stats.units_kept, kept);
    assert_int_equal(o->stats.units_protected, protected);
}

static size_t part_at(const output *o, size_t offset)
{
    for (size_t i = 0; i < o->part_count; i++) {
        if (offset >= o->parts[i].start && offset < o->parts[i].end) {
            return i;
        }
    }
    return SIZE_MAX;
}

/* Places are told apart and leave none out, and the text goes through the parts in their order. */
static void check_places(const output *o)
{
    size_t places = 0;
    for (size_t i = 0; i < o->part_count; i++) {
        places += o->parts[i].place != SIZE_MAX;
    }
    for (size_t i = 0; i < o->part_count; i++) {
        for (size_t k = 0; k < i; k++) {
            assert_true(o->parts[i].place == SIZE_MAX || o->parts[i].place != o->parts[k].place);
        }
        assert_true(o->parts[i].place == SIZE_MAX || o->parts[i].place < places);
    }
    size_t place = 0;
    for (size_t i = 0; i < o->range_count; i++) {
        for (size_t at = o->ranges[i].start; at < o->ranges[i].end; at++) {
            const size_t part = part_at(o, at);
            if (part != SIZE_MAX) {
                assert_true(o->parts[part].place != SIZE_MAX);
                assert_true(o->parts[part].place >= place);
                place = o->parts[part].place;
            }
        }
    }
}

static void check_part(const prompt *p, const settings *s, const output *o, size_t index)
{
    char kept[PART_SIZE];
    const pith_part_stats *part = &o->parts[index];
    const size_t size = kept_between(o, part->start, part->end, kept);
    assert_int_equal(part->place == SIZE_MAX, size == 0);
    if (s->is_exact || p->count > 1) {
        assert_int_equal(part->kept_tokens, tokens_in(kept, size));
    }
    if (!p->has_tags) {
        assert_int_equal(part->source_tokens,
                         tokens_in(o->source + part->start, part->end - part->start));
    }
    if (strcmp(s->mode, "pith") == 0 && p->is_json[index]) {
        json_t *root = json_loadb(kept, size, 0, NULL);
        if (root == NULL && part->place != SIZE_MAX) {
            fail_msg("no JSON any more: %.*s", (int)size, kept);
        }
        json_decref(root);
    }
    const bool whole = part->role != PITH_CONTEXT && part->place != SIZE_MAX;
    if (whole && s->is_exact) {
        assert_int_equal(size, part->end - part->start);
    }
}

/* Every KEEPME of a context that was not dropped is there, and all between <k> and </k>. */
static void check_kept(const settings *s, const output *o)
{
    char kept[PART_SIZE];
    for (size_t i = 0; i < o->part_count && s->keeps; i++) {
        const pith_part_stats *part = &o->parts[i];
        size_t wanted = 0;
        size_t found = 0;
        if (part->place == SIZE_MAX) {
            continue;
        }
        const size_t size = kept_between(o, part->start, part->end, kept);
        for (size_t at = part->start; at + 6 <= part->end; at++) {
            wanted += memcmp(o->source + at, "KEEPME", 6) == 0;
        }
        for (size_t at = 0; at + 6 <= size; at++) {
            found += memcmp(kept + at, "KEEPME", 6) == 0;
        }
        assert_true(found >= wanted); /* text between two may be gone */
    }
}

static void check_result(const prompt *p, const settings *s, const pith_result *result)
{
    static char text[TEXT_SIZE];
    const output o = read_output(result);
    check_source(p, &o);
    check_ranges(&o);
    check_units(&o, s->is_exact || strcmp(s->method, "selective") != 0);
    check_places(&o);
    check_kept(s, &o);
    for (size_t i = 0; i < o.part_count; i++) {
        check_part(p, s, &o, i);
    }
    assert_int_equal(o.stats.kept_tokens,
                     tokens_in(pith_result_text(result), pith_result_size(result)));
    assert_true(o.stats.budget_tokens == SIZE_MAX || o.stats.kept_tokens <= o.stats.budget_tokens);
    if (s->is_exact) {
        assert_int_equal(kept_between(&o, 0, o.source_size, text), pith_result_size(result));
        size_t size = 0;
        for (size_t i = 0; i < o.range_count; i++) {
            const size_t length = o.ranges[i].end - o.ranges[i].start;
            assert_memory_equal(pith_result_text(result) + size, o.source + o.ranges[i].start,
                                length);
            size += length;
        }
    }
}

static void check_same(const pith_result *a, const pith_result *b)
{
    size_t a_count = 0;
    size_t b_count = 0;
    const pith_range *a_ranges = pith_result_ranges(a, &a_count);
    const pith_range *b_ranges = pith_result_ranges(b, &b_count);
    assert_string_equal(pith_result_text(a), pith_result_text(b));
    assert_int_equal(a_count, b_count);
    for (size_t i = 0; i < a_count; i++) {
        assert_int_equal(a_ranges[i].start, b_ranges[i].start);
        assert_int_equal(a_ranges[i].end, b_ranges[i].end);
    }
}

/* What random prompts and parameters may be refused for. */
static bool is_refusal(const prompt *p, const settings *s, pith_status status)
{
    size_t contexts = 0;
    for (size_t i = 0; i < p->count; i++) {
        contexts += p->parts[i].role == PITH_CONTEXT;
    }
    if (strcmp(s->method, "longllmlingua") == 0 && !p->has_question) {
        return status == PITH_E_ARGUMENT;
    }
    if (strcmp(s->mode, "official") == 0 && strcmp(s->method, "selective") == 0) {
        return status == PITH_E_ARGUMENT && (p->count != 1 || contexts != 1);
    }
    if (!s->is_exact) {
        return status == PITH_E_ARGUMENT && contexts == 0;
    }
    return status == PITH_E_BUDGET;
}

static void results_are_what_they_say(void **state)
{
    (void)state;
    static prompt p;
    pith_ctx *ctx = new_ctx();
    uint64_t seed = 20240607;
    size_t done = 0;
    for (size_t round = 0; round < 600; round++) {
        settings s;
        pith_result *result = NULL;
        pith_error err = {0};
        const uint64_t began = seed;
        random_prompt(&seed, &p);
        random_settings(ctx, &seed, &s);
        const pith_status status = pith_compress_parts(ctx, p.parts, p.count, &result, &err);
        if (status != PITH_OK) {
            assert_null(result);
            if (!is_refusal(&p, &s, status)) {
                fail_msg("round %zu (%llu), %s %s: %s", round, (unsigned long long)began, s.method,
                         s.mode, err.message);
            }
            continue;
        }
        check_result(&p, &s, result);
        if (round % 10 == 0) {
            pith_result *again = NULL;
            set(ctx, "threads", "2");
            assert_ok(pith_compress_parts(ctx, p.parts, p.count, &again, &err), err);
            check_same(result, again);
            pith_result_free(again);
        }
        pith_result_free(result);
        done++;
    }
    assert_true(done > 350);
    pith_ctx_free(ctx);
}

/* ---- single cases ------------------------------------------------------------------------------------- */

#define RIVER "The Alpha river flows north. The old bridge over it was built in 1901 by engineers."
#define ZEBRA \
    "Zebra stripes confuse flies near lakes. Nobody knows why the stripes evolved this way."
#define PARIS  "The capital of France is Paris, a large city with a famous tower and many museums."
#define ASKING "What is the capital of France?"

/* The first part has no empty line before it; that of another part was once used twice for it. */
static void every_order_uses_a_byte_once(void **state)
{
    (void)state;
    static const char *const orders[] = {"original", "sort", "two_stage"};
    pith_ctx *ctx = new_ctx();
    const pith_part all[4] = {part_of(PITH_CONTEXT, RIVER), part_of(PITH_CONTEXT, ZEBRA),
                              part_of(PITH_CONTEXT, PARIS), part_of(PITH_QUESTION, ASKING)};
    for (size_t i = 0; i < 3; i++) {
        for (size_t first = 0; first < 4; first++) {
            pith_part parts[4];
            for (size_t k = 0; k < 4; k++) {
                parts[k] = all[(first + k) % 4];
            }
            pith_ctx_reset(ctx);
            set(ctx, "method", "longllmlingua");
            set(ctx, "rate", "0.9");
            set(ctx, "reorder-context", orders[i]);
            pith_result *result = compress(ctx, parts, 4);
            const output o = read_output(result);
            check_ranges(&o);
            check_units(&o, true);
            check_places(&o);
            const char *text = pith_result_text(result);
            assert_int_equal(strncmp(text, "The capital", 11) == 0, i > 0 || first == 2);
            assert_string_equal(text + strlen(text) - strlen("\n\n" ASKING), "\n\n" ASKING);
            pith_result_free(result);
        }
    }
    pith_ctx_free(ctx);
}

/* Tokens of segments add up to more than the text has; the budget was once below zero, thus endless. */
static void nothing_stays_at_rate_zero(void **state)
{
    (void)state;
    pith_ctx *ctx = new_ctx();
    static const char word[] = "internationalization";
    char text[1024];
    size_t size = 0;
    for (size_t i = 0; i < sizeof word - 1; i++) {
        size += (size_t)snprintf(text + size, 40, "<llmlingua, rate=0>%c</llmlingua>", word[i]);
    }
    const pith_part part = part_of(PITH_CONTEXT, text);
    pith_result *result = compress(ctx, &part, 1);
    assert_string_equal(pith_result_text(result), "");
    assert_int_equal(pith_result_stats(result).budget_tokens, 0);
    pith_result_free(result);
    pith_ctx_free(ctx);
}

/* Rates of JSON are shares of its strings: a question that is left out must not pay for them. */
static void a_question_left_out_buys_nothing(void **state)
{
    (void)state;
    pith_ctx *ctx = new_ctx();
    const pith_part parts[] = {
        part_of(PITH_CONTEXT,
                "{\"a\": \"the quick brown fox jumps over the lazy dog again and again\"}"),
        part_of(PITH_QUESTION, ASKING " " ASKING " " ASKING)};
    set(ctx, "method", "longllmlingua");
    set(ctx, "concate-question", "false");
    pith_result *result = compress(ctx, parts, 2);
    assert_true(pith_result_stats(result).budget_tokens < tokens_in(parts[0].text, parts[0].size));
    assert_null(strstr(pith_result_text(result), "France"));
    pith_result_free(result);
    pith_ctx_free(ctx);
}

static void check_words(pith_ctx *ctx, const char *text, const char *word, size_t wanted)
{
    const pith_part part = part_of(PITH_CONTEXT, text);
    pith_result *result = compress(ctx, &part, 1);
    const pith_stats stats = pith_result_stats(result);
    size_t found = 0;
    for (const char *at = pith_result_text(result); (at = strstr(at, word)) != NULL; at++) {
        found++;
    }
    if (found != wanted) {
        fail_msg("%zu of %zu: %s", found, wanted, pith_result_text(result));
    }
    assert_true(stats.kept_tokens <= stats.budget_tokens);
    pith_result_free(result);
}

/* At level word a unit begins with the space before it, outside of what was to be kept. */
static void repeated_words_stay_once(void **state)
{
    (void)state;
    static const char *const levels[] = {"token", "word", "phrase"};
    static const char *const rates[] = {"0.5", "0.8", "1"};
    static const char text[] = "WARN WARN WARN the disk is full, the pump has stopped and nobody "
                               "cares about it any more. WARN\nWARN ";
    static const char tags[] =
        "<k>WARN</k> <k>WARN</k>  <k>WARN</k> the disk is full, the pump has "
        "stopped and nobody cares. <k>WARN</k>\n<k>WARN</k> ";
    pith_ctx *ctx = new_ctx();
    for (size_t i = 0; i < 9; i++) {
        pith_ctx_reset(ctx);
        set(ctx, "keep", "WARN");
        set(ctx, "keep-tag", "k");
        set(ctx, "level", levels[i / 3]);
        set(ctx, "rate", rates[i % 3]);
        check_words(ctx, text, "WARN", 5);
        set(ctx, "drop-consecutive", "true");
        check_words(ctx, text, "WARN", 2);
        check_words(ctx, tags, "WARN", 2);
    }
    pith_ctx_free(ctx);
}

/* The release's Selective Context reads no parts; their tokens were once 0. */
static void one_part_is_the_whole(void **state)
{
    (void)state;
    static const char *const modes[] = {"pith", "paper", "official"};
    pith_ctx *ctx = new_ctx();
    for (size_t i = 0; i < 3; i++) {
        const pith_part part = part_of(PITH_CONTEXT, RIVER);
        set(ctx, "mode", modes[i]);
        pith_result *result = compress(ctx, &part, 1);
        const output o = read_output(result);
        assert_int_equal(o.part_count, 1);
        assert_int_equal(o.parts[0].source_tokens, tokens_in(RIVER, strlen(RIVER)));
        assert_int_equal(o.parts[0].source_tokens, o.stats.source_tokens);
        assert_int_equal(o.parts[0].kept_tokens, o.stats.kept_tokens);
        pith_result_free(result);
    }
    pith_ctx_free(ctx);
}

/* The name of a tag in the question is none of its words. */
static void tags_in_a_question_are_not_asked_for(void **state)
{
    (void)state;
    double scores[2][2];
    pith_ctx *ctx = new_ctx();
    set(ctx, "method", "longllmlingua");
    set(ctx, "keep-tag", "document");
    for (size_t i = 0; i < 2; i++) {
        const pith_part parts[] = {
            part_of(PITH_CONTEXT, "A document of documents."), part_of(PITH_CONTEXT, PARIS),
            part_of(PITH_QUESTION, i == 0 ? ASKING : "<document>" ASKING "</document>")};
        pith_result *result = compress(ctx, parts, 3);
        const output o = read_output(result);
        scores[i][0] = o.parts[0].score;
        scores[i][1] = o.parts[1].score;
        pith_result_free(result);
    }
    assert_true(scores[0][0] == scores[1][0] && scores[0][1] == scores[1][1]);
    assert_true(scores[0][0] < scores[0][1]);
    pith_ctx_free(ctx);
}

/* Both kinds of tags in one another, offsets of the source all the same. */
static void tags_and_keep_tags_go_together(void **state)
{
    (void)state;
    static const char text[] = "<llmlingua, rate=0>some <k>of this</k> may go</llmlingua>"
                               "<llmlingua, compress=False> and <k>that</k> not</llmlingua>";
    const pith_part parts[] = {part_of(PITH_INSTRUCTION, "Go <k>on</k>."),
                               part_of(PITH_CONTEXT, text)};
    pith_ctx *ctx = new_ctx();
    set(ctx, "keep-tag", "k");
    pith_result *result = compress(ctx, parts, 2);
    const output o = read_output(result);
    check_ranges(&o);
    check_units(&o, true);
    assert_string_equal(pith_result_text(result), "Go on.\n\nof this and that not");
    assert_int_equal(o.parts[0].kept_tokens, o.parts[0].source_tokens);
    pith_result_free(result);
    pith_ctx_free(ctx);
}

/* A context that the ranker likes least is not dropped if it holds text between keep tags. */
static void kept_text_outlives_its_context(void **state)
{
    (void)state;
    const pith_part parts[] = {
        part_of(PITH_CONTEXT, PARIS " " PARIS), part_of(PITH_CONTEXT, RIVER " <k>SECRET 17</k>"),
        part_of(PITH_CONTEXT, ZEBRA " " ZEBRA), part_of(PITH_QUESTION, ASKING)};
    pith_ctx *ctx = new_ctx();
    set(ctx, "method", "longllmlingua");
    set(ctx, "keep-tag", "k");
    set(ctx, "rate", "0.25");
    pith_result *result = compress(ctx, parts, 4);
    const output o = read_output(result);
    assert_non_null(strstr(pith_result_text(result), "SECRET 17"));
    assert_int_equal(o.parts[2].place, SIZE_MAX);
    assert_int_equal(o.parts[3].place, 2);
    pith_result_free(result);
    pith_ctx_free(ctx);
}

/* What one context becomes; the caller frees. */
static char *shortened(pith_ctx *ctx, const char *text)
{
    const pith_part part = part_of(PITH_CONTEXT, text);
    pith_result *result = compress(ctx, &part, 1);
    const size_t size = pith_result_size(result);
    char *copy = malloc(size + 1);
    assert_non_null(copy);
    memcpy(copy, pith_result_text(result), size + 1);
    pith_result_free(result);
    return copy;
}

/* Sections do not lend each other tokens: rate 1 is all of it, rate 0 nothing. */
static void sections_have_their_own_rates(void **state)
{
    (void)state;
    pith_ctx *ctx = new_ctx();
    set(ctx, "method", "llmlingua");
    char *text =
        shortened(ctx, "<llmlingua, rate=0>This is a rather long sentence, 1 2 3 ? - - "
                       "height</llmlingua><llmlingua, rate=1>Under the program , officials "
                       "work to identify , target and search high-risk cargo .</llmlingua>"
                       "<llmlingua, rate=0.5> Half of this sentence may go without harm to "
                       "anybody at all.</llmlingua>");
    const char *whole = "Under the program , officials work to identify , target and search "
                        "high-risk cargo .";
    assert_int_equal(strncmp(text, whole, strlen(whole)), 0);
    assert_true(strlen(text) > strlen(whole) + 4 && strlen(text) < strlen(whole) + 60);
    free(text);
    pith_ctx_free(ctx);
}

/* The place of the second of two tagged contexts in mode official, with room for one. */
static size_t official_place(const char *first, const char *second)
{
    const pith_part parts[] = {part_of(PITH_CONTEXT, first), part_of(PITH_CONTEXT, second)};
    pith_ctx *ctx = new_ctx();
    set(ctx, "method", "llmlingua");
    set(ctx, "mode", "official");
    set(ctx, "rank-method", "bm25"); /* without a question all are alike: the first wins */
    set(ctx, "reorder-context", "original");
    set(ctx, "target-tokens", "1");
    set(ctx, "context-budget", "+0");
    pith_result *result = compress(ctx, parts, 2);
    const size_t place = read_output(result).parts[1].place;
    pith_result_free(result);
    pith_ctx_free(ctx);
    return place;
}

/* For the release a rate of 1 is a rate: only compress=False keeps a context. */
static void rate_1_is_not_compress_false_for_the_release(void **state)
{
    (void)state;
    const char *first = "<llmlingua>" PARIS "</llmlingua>";
    assert_int_equal(official_place(first, "<llmlingua, rate=1>" RIVER "</llmlingua>"), SIZE_MAX);
    assert_int_equal(official_place(first, "<llmlingua, compress=False>" RIVER "</llmlingua>"), 1);
}

/* An answer of one word stays, and no message loses its last one. */
static void messages_are_never_emptied(void **state)
{
    (void)state;
    static const char *const rates[] = {"0.5", "0.3"};
    const char *chat = "[{\"role\":\"user\",\"content\":\"Shall I delete the old database now, or "
                       "keep it?\"},{\"role\":\"assistant\",\"content\":\"No.\"},"
                       "{\"role\":\"user\",\"content\":\"42\"},"
                       "{\"role\":\"user\",\"content\":\"Then please write down what is in it "
                       "and tell all of us about it.\"}]";
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        pith_ctx *ctx = new_ctx();
        set(ctx, "method", "llmlingua");
        set(ctx, "keep-turns", "0");
        set(ctx, "rate", rates[i]);
        char *text = shortened(ctx, chat);
        assert_true(strlen(text) < strlen(chat));
        assert_non_null(strstr(text, "\"No.\""));
        assert_non_null(strstr(text, "\"42\""));
        assert_null(strstr(text, "\"content\":\"\""));
        free(text);
        pith_ctx_free(ctx);
    }
}

/* Half an escape sequence is no JSON. */
static void tags_do_not_cut_escapes(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"a\": \"one two three <k>\\u00</k>e9 four five six seven\"}",
        "{\"a\": \"one two three \\u00<k>e9</k> four five six seven\"}",
        "{\"a\": \"one two three \\<k>n</k> four five six seven\"}",
    };
    pith_ctx *ctx = new_ctx();
    set(ctx, "keep-tag", "k");
    for (size_t i = 0; i < 6; i++) {
        const pith_part part = part_of(PITH_CONTEXT, texts[i / 2]);
        set(ctx, "level", i % 2 == 0 ? "token" : "word");
        set(ctx, "rate", "0.2");
        pith_result *result = compress(ctx, &part, 1);
        json_t *root = json_loads(pith_result_text(result), 0, NULL);
        assert_non_null(root);
        assert_non_null(strpbrk(pith_result_text(result), "\\"));
        json_decref(root);
        pith_result_free(result);
    }
    pith_ctx_free(ctx);
}

/* ---- errors ------------------------------------------------------------------------------------------- */

/* `offset`: of part 1, which begins behind "abc" and an empty line. */
static void check_error(pith_ctx *ctx, const char *text, pith_status status, size_t offset)
{
    pith_error err = {0};
    pith_result *result = (pith_result *)&err;
    const pith_part parts[] = {part_of(PITH_CONTEXT, "abc"), part_of(PITH_CONTEXT, text),
                               part_of(PITH_QUESTION, "d")};
    assert_status(pith_compress_parts(ctx, parts, 3, &result, &err), status);
    assert_null(result);
    assert_int_equal(err.status, status);
    assert_int_equal(err.offset, 5 + offset);
}

static void errors_point_at_the_source(void **state)
{
    (void)state;
    pith_ctx *ctx = new_ctx();
    check_error(ctx, "de\xff", PITH_E_UTF8, 2);
    set(ctx, "keep-tag", "k");
    check_error(ctx, "a <k>b</k> <k>c", PITH_E_SYNTAX, 11);
    check_error(ctx, "<llmlingua>a</llmlingua><k>c", PITH_E_SYNTAX, 24);
    check_error(ctx, "<llmlingua>a <k>b</llmlingua>", PITH_E_SYNTAX, 13);
    set(ctx, "structured", "true");
    check_error(ctx, "<k>a</k> <llmlingua>b", PITH_E_SYNTAX, 9);
    check_error(ctx, "<k>a</k> <llmlingua, rate=2>b</llmlingua>", PITH_E_SYNTAX, 26);
    pith_ctx_reset(ctx);
    set(ctx, "keep-tag", "k");
    set(ctx, "format", "json");
    pith_error err = {0};
    pith_result *result = NULL;
    const pith_part bad = part_of(PITH_CONTEXT, "{\"a\": <k>\"b\"</k>, c}");
    assert_status(pith_compress_parts(ctx, &bad, 1, &result, &err), PITH_E_SYNTAX);
    assert_int_equal(err.offset, 18);
    const pith_part good = part_of(PITH_CONTEXT, "{\"a\": <k>\"b\"</k>}");
    result = compress(ctx, &good, 1); /* the context is as good as new */
    assert_string_equal(pith_result_text(result), "{\"a\": \"b\"}");
    pith_result_free(result);
    pith_ctx_free(ctx);
}

static void prompts_that_are_none(void **state)
{
    (void)state;
    pith_ctx *ctx = new_ctx();
    pith_result *result = NULL;
    const pith_part twice[] = {part_of(PITH_QUESTION, "a"), part_of(PITH_QUESTION, "b")};
    const pith_part instructions[] = {part_of(PITH_INSTRUCTION, "a"), part_of(PITH_CONTEXT, "c"),
                                      part_of(PITH_INSTRUCTION, "b")};
    const pith_part strange = part_of((pith_role)7, "a");
    const pith_part empty[] = {{PITH_CONTEXT, NULL, 0}, {PITH_QUESTION, NULL, 0}};
    assert_status(pith_compress_parts(ctx, twice, 2, &result, NULL), PITH_E_ARGUMENT);
    assert_status(pith_compress_parts(ctx, instructions, 3, &result, NULL), PITH_E_ARGUMENT);
    assert_status(pith_compress_parts(ctx, &strange, 1, &result, NULL), PITH_E_ARGUMENT);
    set(ctx, "method", "longllmlingua");
    assert_status(pith_compress_parts(ctx, instructions, 2, &result, NULL), PITH_E_ARGUMENT);
    pith_result_free(compress(ctx, empty, 2));
    set(ctx, "method", "llmlingua");
    result = compress(ctx, NULL, 0);
    assert_int_equal(pith_result_size(result), 0);
    pith_result_free(result);
    pith_ctx_free(ctx);
}

/* Instruction and question alone may be too much. */
static void a_budget_too_small_is_an_error(void **state)
{
    (void)state;
    pith_ctx *ctx = new_ctx();
    pith_result *result = NULL;
    const pith_part parts[] = {part_of(PITH_QUESTION, ASKING), part_of(PITH_CONTEXT, PARIS),
                               part_of(PITH_INSTRUCTION, "Answer.")};
    const size_t least = tokens_in("Answer.\n\n" ASKING, strlen("Answer.\n\n" ASKING));
    char value[32];
    for (size_t i = 0; i < 2; i++) {
        set(ctx, "method", i == 0 ? "longllmlingua" : "selective");
        (void)snprintf(value, sizeof value, "%zu", least);
        set(ctx, "target-tokens", value);
        result = compress(ctx, parts, 3);
        assert_string_equal(pith_result_text(result), "Answer.\n\n" ASKING);
        pith_result_free(result);
        result = NULL;
        (void)snprintf(value, sizeof value, "%zu", least - 2);
        set(ctx, "target-tokens", value);
        assert_status(pith_compress_parts(ctx, parts, 3, &result, NULL), PITH_E_BUDGET);
        assert_null(result);
    }
    pith_ctx_free(ctx);
}

/* ---- memory --------------------------------------------------------------------------------------------- */

static pith_status whole_call(const pith_allocator *mem, void *user)
{
    const pith_model_options options = {.struct_size = sizeof options, .allocator = mem};
    static const char *const values[][2] = {{"method", "longllmlingua"},
                                            {"reorder-context", "sort"},
                                            {"keep-tag", "k"},
                                            {"keep", "on"},
                                            {"drop-consecutive", "true"},
                                            {"threads", "1"}};
    const pith_part parts[] = {
        part_of(PITH_CONTEXT, "on on <k>it</k> goes, on and on."),
        part_of(PITH_CONTEXT, "{\"a\": \"some words of a small text\"}"),
        part_of(PITH_CONTEXT, "<llmlingua, rate=0.4>more of the text</llmlingua>"),
        part_of(PITH_QUESTION, "Which text?")};
    pith_model *opened = NULL;
    pith_ctx *ctx = NULL;
    pith_result *result = NULL;
    pith_status status = pith_model_open(user, &options, &opened, NULL);
    if (status == PITH_OK) {
        status = pith_ctx_new(opened, &ctx, NULL);
    }
    for (size_t i = 0; i < sizeof values / sizeof values[0] && status == PITH_OK; i++) {
        status = pith_ctx_set(ctx, values[i][0], values[i][1], NULL);
    }
    if (status == PITH_OK) {
        status = pith_compress_parts(ctx, parts, 4, &result, NULL);
    }
    pith_result_free(result);
    pith_ctx_free(ctx);
    pith_model_free(opened);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char path[4096];
    (void)snprintf(path, sizeof path, "%s", test_path("golden", "models/llama_gqa.gguf"));
    test_sweep(whole_call, path);
}

/* `test_prompts PATTERN` runs only the tests of that name, `test_prompts -PATTERN` all others. */
int main(int argc, char **argv)
{
    if (argc > 1 && argv[1][0] == '-') {
        cmocka_set_skip_filter(argv[1] + 1);
    } else if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_what_they_say),
        cmocka_unit_test(every_order_uses_a_byte_once),
        cmocka_unit_test(nothing_stays_at_rate_zero),
        cmocka_unit_test(a_question_left_out_buys_nothing),
        cmocka_unit_test(repeated_words_stay_once),
        cmocka_unit_test(one_part_is_the_whole),
        cmocka_unit_test(tags_in_a_question_are_not_asked_for),
        cmocka_unit_test(tags_and_keep_tags_go_together),
        cmocka_unit_test(kept_text_outlives_its_context),
        cmocka_unit_test(sections_have_their_own_rates),
        cmocka_unit_test(rate_1_is_not_compress_false_for_the_release),
        cmocka_unit_test(messages_are_never_emptied),
        cmocka_unit_test(tags_do_not_cut_escapes),
        cmocka_unit_test(errors_point_at_the_source),
        cmocka_unit_test(prompts_that_are_none),
        cmocka_unit_test(a_budget_too_small_is_an_error),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
