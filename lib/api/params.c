/*
 * params.c: the one table of parameters. Setters, bounds, --help, the man page
 * and the completions all come from it; a new parameter is one line here, its
 * field in pith__params, and a test.
 */
#include "api/api.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS_MAX 1000000000.0

/* Enumerations list their choices in the order of their numbers; "|" separates. */
typedef struct param {
    pith_param_info info;
    size_t field; /* offset in pith__params: int, double, bool or pith__texts by type */
} param;

#define FIELD(name) offsetof(pith__params, name)

static const param table[] = {
    {{"method", 'M', PITH_PARAM_ENUM, 0, 0, "selective", "selective|llmlingua|longllmlingua", "",
      "0.1", "compress",
      "Compression method: selective is Selective Context, which drops the units with the least "
      "self-information. llmlingua also drops whole contexts and judges text by what was kept "
      "before it. longllmlingua does so for a question."},
     FIELD(method)},
    {{"preset", 0, PITH_PARAM_ENUM, 0, 0, "none",
      "none|paper-gsm8k|paper-bbh|paper-arxiv|paper-sharegpt|long-nq|long-longbench|"
      "release-llmlingua|release-longllmlingua",
      "", "0.2", "compress",
      "Set method, mode, rate and more as a paper or the release does. What is set afterwards "
      "counts."},
     FIELD(preset)},
    {{"rate", 'r', PITH_PARAM_FLOAT, 0, 1, "0.5", "", "share", "0.1", "compress",
      "What to keep. Mode pith: at most this share of the counted tokens. In the other modes "
      "llmlingua aims at this share of the tokens, selective keeps units that hold this share of "
      "the self-information (paper) or this share of the units (official)."},
     FIELD(rate)},
    {{"target-tokens", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "", "", "tokens", "0.1", "compress",
      "Keep at most so many counted tokens. Overrides the rate. Exact in mode pith; method "
      "selective has it there only, llmlingua in mode official counts contexts alone."},
     FIELD(target_tokens)},
    {{"percentile", 0, PITH_PARAM_FLOAT, 0, 100, "", "", "percent", "0.1", "compress",
      "Method selective: drop the units whose self-information is below this percentile over all "
      "units. Overrides rate and target-tokens."},
     FIELD(percentile)},
    {{"level", 0, PITH_PARAM_ENUM, 0, 0, "phrase", "token|word|phrase|sentence", "", "0.1",
      "compress",
      "What is kept or dropped as a whole. Phrases are noun phrases and single words in English "
      "text, single words elsewhere."},
     FIELD(level)},
    {{"mode", 0, PITH_PARAM_ENUM, 0, 0, "pith", "pith|paper|official", "", "0.1", "compress",
      "pith: exact token budget. paper: the published equations. official: the released code, "
      "decision for decision."},
     FIELD(mode)},
    {{"aggregate", 0, PITH_PARAM_ENUM, 0, 0, "auto", "mean|sum|max|auto", "", "0.1", "compress",
      "Self-information of a unit from that of its tokens. auto: mean, in mode paper sum."},
     FIELD(aggregate)},
    {{"keep", 0, PITH_PARAM_LIST, 0, 0, "", "", "", "0.1", "compress",
      "Protect every occurrence of this text."},
     FIELD(keep)},
    {{"keep-regex", 0, PITH_PARAM_LIST, 0, 0, "", "", "", "0.1", "compress",
      "Protect every match of this regular expression (ICU syntax)."},
     FIELD(keep_regex)},
    {{"keep-tag", 0, PITH_PARAM_LIST, 0, 0, "", "", "", "0.1", "compress",
      "Protect what stands between <NAME> and </NAME>; the tags themselves are removed."},
     FIELD(keep_tag)},
    {{"keep-digits", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.1", "compress",
      "Protect numbers: 3.14, $42, 2026-11-21, v2.1."},
     FIELD(keep_digits)},
    {{"keep-links", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.1", "compress",
      "Protect URLs and e-mail addresses."},
     FIELD(keep_links)},
    {{"keep-code", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.1", "compress",
      "Protect Markdown code fences and code spans."},
     FIELD(keep_code)},
    {{"format", 0, PITH_PARAM_ENUM, 0, 0, "auto", "auto|text|markdown|json|chat", "", "0.2",
      "compress",
      "Structure of the text. json stays valid JSON, chat keeps roles and tool calls, markdown "
      "prefers whole headings, code, tables and links; in json and chat a rate is a share of what "
      "may change. auto: whichever it is. Mode pith only."},
     FIELD(format)},
    {{"structured", 0, PITH_PARAM_ENUM, 0, 0, "auto", "auto|true|false", "", "0.2", "compress",
      "Understand <llmlingua, rate=0.4> and <llmlingua, compress=False> up to </llmlingua> in "
      "contexts, and take the tags out. auto: if all of them are well-formed."},
     FIELD(structured)},
    {{"json-rate", 0, PITH_PARAM_LIST, 0, 0, "", "", "", "0.2", "compress",
      "KEY=RATE: share to keep of the values of this key (a name, or a dotted path from the root) "
      "in JSON. 1 protects them."},
     FIELD(json_rate)},
    {{"keep-turns", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "2", "", "messages", "0.2", "compress",
      "Protect so many last messages of a chat. System messages are protected in any case."},
     FIELD(keep_turns)},
    {{"keep-pattern", 0, PITH_PARAM_LIST, 0, 0, "", "", "", "0.2", "compress",
      "Protect every match of a named pattern: email, url, date, time, number, money, percent, "
      "phone, uuid, path, version, citation, quoted, name, acronym, hashtag, mention."},
     FIELD(keep_pattern)},
    {{"drop-consecutive", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.2", "compress",
      "Of protected text that would stand twice in a row in the output, keep the first only."},
     FIELD(drop_consecutive)},
    {{"prefer-names", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.2", "compress",
      "Method llmlingua in mode pith, with aggregate auto: names and numbers, which a reader "
      "cannot "
      "guess, weigh more than their self-information."},
     FIELD(prefer_names)},
    {{"rank-method", 0, PITH_PARAM_ENUM, 0, 0, "auto",
      "auto|llmlingua|longllmlingua|bm25|gzip|random|hybrid", "", "0.2", "compress",
      "How contexts are ranked. llmlingua: perplexity. longllmlingua: perplexity of the question "
      "given the context. bm25, gzip (compression distance), random, hybrid (bm25 and "
      "perplexity). auto: by method and mode."},
     FIELD(rank_method)},
    {{"iterative-size", 0, PITH_PARAM_INT, 1, TOKENS_MAX, "", "", "tokens", "0.2", "compress",
      "Tokens judged at once by llmlingua. Default: 200, in mode paper 100."},
     FIELD(iterative_size)},
    {{"context-budget", 0, PITH_PARAM_TEXT, 0, 0, "", "", "", "0.2", "compress",
      "Tokens that whole contexts may take before they are shortened, from the budget: +100, *2, "
      "-50 or /2. Default: by mode."},
     FIELD(context_budget)},
    {{"token-budget-ratio", 0, PITH_PARAM_FLOAT, 0, 1000, "1.4", "", "", "0.2", "compress",
      "Tokens that whole sentences may take before they are shortened, as a multiple of the "
      "budget."},
     FIELD(token_budget_ratio)},
    {{"condition-in-question", 0, PITH_PARAM_ENUM, 0, 0, "auto",
      "auto|none|before|after|none_condition|before_condition|after_condition", "", "0.2",
      "compress",
      "How the question is used: judge contexts given it (before), or it given the contexts "
      "(after); _condition also reads it before the text whose tokens are judged."},
     FIELD(condition)},
    {{"condition-compare", 0, PITH_PARAM_ENUM, 0, 0, "auto", "auto|false|true", "", "0.2",
      "compress",
      "Contrastive perplexity: judge tokens by what the question changes. auto: by method and "
      "mode."},
     FIELD(condition_compare)},
    {{"reorder-context", 0, PITH_PARAM_ENUM, 0, 0, "auto", "auto|original|sort|two_stage", "",
      "0.2", "compress",
      "Order of the contexts in the output: as given, best first, or the best at both ends. auto: "
      "as given."},
     FIELD(reorder_context)},
    {{"dynamic-context-compression-ratio", 0, PITH_PARAM_FLOAT, 0, 1, "", "", "share", "0.2",
      "compress",
      "How much more of the best context is kept than of the worst, as a share to either side of "
      "the rate. Default: 0, longllmlingua in mode paper 0.3."},
     FIELD(dynamic_ratio)},
    {{"force-context-ids", 0, PITH_PARAM_LIST, 0, 0, "", "", "", "0.2", "compress",
      "Never drop the context with this number, from 0."},
     FIELD(force_context_ids)},
    {{"force-context-number", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "", "", "contexts", "0.2",
      "compress", "Keep at most so many contexts."},
     FIELD(force_context_number)},
    {{"use-context-level-filter", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.2", "compress",
      "Drop whole contexts, the ones that the ranker likes least."},
     FIELD(use_context_level_filter)},
    {{"use-sentence-level-filter", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.2", "compress",
      "Drop whole sentences beyond token-budget-ratio times the budget."},
     FIELD(use_sentence_level_filter)},
    {{"use-token-level-filter", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.2", "compress",
      "Drop units (see level) inside what is left. Mode pith without it keeps whole sentences or "
      "contexts and may stay below the budget."},
     FIELD(use_token_level_filter)},
    {{"keep-split", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.2", "compress",
      "Keep the empty lines between paragraphs. Mode pith keeps lines apart in any case."},
     FIELD(keep_split)},
    {{"keep-first-sentence", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "0", "", "sentences", "0.2",
      "compress", "Prefer so many first sentences of every context."},
     FIELD(keep_first_sentence)},
    {{"keep-last-sentence", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "0", "", "sentences", "0.2",
      "compress", "Prefer so many last sentences of every context."},
     FIELD(keep_last_sentence)},
    {{"keep-sentence-number", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "0", "", "sentences", "0.2",
      "compress", "Prefer so many of the best sentences of every context."},
     FIELD(keep_sentence_number)},
    {{"high-priority-bonus", 0, PITH_PARAM_FLOAT, 0, 1e9, "100", "", "nats", "0.2", "compress",
      "What the preferred sentences gain."},
     FIELD(high_priority_bonus)},
    {{"add-instruction", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.2", "compress",
      "Read the instruction too before the text whose tokens are judged."},
     FIELD(add_instruction)},
    {{"concate-question", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.2", "compress",
      "Put the question into the output."},
     FIELD(concate_question)},
    {{"strict-preserve-uncompressed", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.2", "compress",
      "Never drop a context that holds text tagged compress=False."},
     FIELD(strict_preserve_uncompressed)},
    {{"tau-ins", 0, PITH_PARAM_FLOAT, 0, 1, "0.85", "", "share", "0.2", "compress",
      "Mode paper: share of the instruction that stays."},
     FIELD(tau_ins)},
    {{"tau-que", 0, PITH_PARAM_FLOAT, 0, 1, "0.9", "", "share", "0.2", "compress",
      "Mode paper: share of the question that stays."},
     FIELD(tau_que)},
    {{"seed", 0, PITH_PARAM_INT, 0, 4294967295.0, "0", "", "", "0.2", "compress",
      "Seed of the random ranker; the same seed gives the same order."},
     FIELD(seed)},
    {{"score-by", 0, PITH_PARAM_ENUM, 0, 0, "text", "text|sentence", "", "0.1", "score",
      "What the model reads at once: the whole text, in windows if it is long, or every sentence "
      "by itself. Mode official always reads sentences."},
     FIELD(score_by)},
    {{"ctx-size", 'c', PITH_PARAM_INT, 0, 16777216, "0", "", "tokens", "0.1", "score",
      "Tokens the model reads at once. 0: the model's context, at most 2048."},
     FIELD(ctx_size)},
    {{"overlap", 0, PITH_PARAM_INT, 0, 16777216, "", "", "tokens", "0.1", "score",
      "Tokens of context that a window repeats from the one before. Default: a quarter of the "
      "window."},
     FIELD(overlap)},
    {{"threads", 't', PITH_PARAM_INT, 0, 1024, "0", "", "threads", "0.1", "score",
      "Threads to work with. 0: as many as there are processors."},
     FIELD(threads)},
    {{"invalid-utf8", 0, PITH_PARAM_ENUM, 0, 0, "error", "error|keep", "", "0.1", "score",
      "Text that is not valid UTF-8: refuse it, or take each such byte as a character."},
     FIELD(invalid_utf8)},
};

#define PARAM_COUNT (sizeof table / sizeof table[0])

size_t pith_param_count(void)
{
    return PARAM_COUNT;
}

const pith_param_info *pith_param_at(size_t index)
{
    return index < PARAM_COUNT ? &table[index].info : NULL;
}

/* "keep_split" is "keep-split": the names of Python. */
static bool same_name(const char *name, const char *given)
{
    while (*name != '\0' && (*name == *given || (*name == '-' && *given == '_'))) {
        name++;
        given++;
    }
    return *name == *given;
}

static const param *find(const char *name)
{
    for (size_t i = 0; i < PARAM_COUNT; i++) {
        if (same_name(table[i].info.name, name)) {
            return &table[i];
        }
    }
    return NULL;
}

/* The field of the right type; the table promises that type and offset agree. */
static void *field_of(pith__params *params, const param *p)
{
    return (unsigned char *)params + p->field;
}

/* ---- parsing one value --------------------------------------------------------------- */

/* Position of `value` within "a|b|c", or -1. */
static int choice_index(const char *choices, const char *value)
{
    const size_t size = strlen(value);
    int index = 0;
    for (const char *at = choices; *at != '\0'; index++) {
        const size_t length = strcspn(at, "|");
        if (length == size && memcmp(at, value, size) == 0) {
            return index;
        }
        at += length + (at[length] == '|');
    }
    return -1;
}

static pith_status parse_number(const pith_param_info *info, const char *value, double *out,
                                pith_error *err)
{
    char *end = NULL;
    const locale_t before = pith__locale_enter();
    const double number = strtod(value, &end);
    pith__locale_leave(before);
    const bool is_int = info->type == PITH_PARAM_INT;
    const size_t plain = strspn(value, "+-.0123456789eE");
    if (end == value || *end != '\0' || value[plain] != '\0') {
        return pith__fail(err, PITH_E_ARGUMENT, "%s: \"%s\" is not a %s", info->name, value,
                          is_int ? "whole number" : "number");
    }
    if (!(number >= info->min && number <= info->max)) {
        return pith__fail(err, PITH_E_RANGE, "%s: %s is outside %.15g to %.15g", info->name, value,
                          info->min, info->max);
    }
    if (is_int && number != (double)(int64_t)number) {
        return pith__fail(err, PITH_E_ARGUMENT, "%s: \"%s\" is not a whole number", info->name,
                          value);
    }
    *out = number;
    return PITH_OK;
}

static pith_status parse_flag(const pith_param_info *info, const char *value, bool *out,
                              pith_error *err)
{
    static const char *const yes[] = {"true", "1", "yes", "on"};
    static const char *const no[] = {"false", "0", "no", "off"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcmp(value, yes[i]) == 0 || strcmp(value, no[i]) == 0) {
            *out = strcmp(value, yes[i]) == 0;
            return PITH_OK;
        }
    }
    return pith__fail(err, PITH_E_ARGUMENT, "%s: \"%s\" is not true or false", info->name, value);
}

static pith_status parse_choice(const pith_param_info *info, const char *value, int *out,
                                pith_error *err)
{
    /* the budget is what mode pith is about, so its users call it that as well */
    const bool is_alias = strcmp(info->name, "mode") == 0 && strcmp(value, "budget") == 0;
    const int index = choice_index(info->choices, is_alias ? "pith" : value);
    if (index < 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "%s: \"%s\" is not one of %s", info->name, value,
                          info->choices);
    }
    *out = index;
    return PITH_OK;
}

/* "+100", "*2": what pith__budget_change is read from. */
static pith_status parse_text(const pith_param_info *info, const char *value,
                              char out[PITH_VALUE_SIZE], pith_error *err)
{
    pith__budget_change change;
    const size_t size = strlen(value);
    if (size >= PITH_VALUE_SIZE) {
        return pith__fail(err, PITH_E_RANGE, "%s: more than %d bytes", info->name,
                          PITH_VALUE_SIZE - 1);
    }
    if (size > 0 && !pith__params_budget_change(value, &change)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "%s: \"%s\" is not +, -, * or / and a number, such as +100 or *2",
                          info->name, value);
    }
    memcpy(out, value, size + 1);
    return PITH_OK;
}

/* ---- lists ------------------------------------------------------------------------------ */

static pith_status append_text(pith__texts *texts, const pith_allocator *mem, const char *value,
                               pith_error *err)
{
    const size_t size = strlen(value) + 1;
    char *copy = NULL;
    PITH__TRY(pith__grow(mem, &texts->items, &texts->capacity, texts->count + 1, sizeof copy, err));
    PITH__TRY(pith__alloc(mem, size, 1, &copy, err));
    memcpy(copy, value, size);
    texts->items[texts->count++] = copy;
    return PITH_OK;
}

static void free_texts(pith__texts *texts, const pith_allocator *mem)
{
    for (size_t i = 0; i < texts->count; i++) {
        pith__free(mem, texts->items[i], strlen(texts->items[i]) + 1, 1);
    }
    pith__free(mem, texts->items, texts->capacity, sizeof *texts->items);
    *texts = (pith__texts){NULL, 0, 0};
}

/* A protection rule that does not compile is refused where it is given. */
static pith_status check_rule(bool is_regex, const pith_allocator *mem, const char *value,
                              pith_error *err)
{
    pith__protect *protect = NULL;
    PITH__TRY(pith__protect_new(mem, 0, &protect, err));
    const pith_status status = is_regex
                                   ? pith__protect_add_regex(protect, value, strlen(value), err)
                                   : pith__protect_add_literal(protect, value, strlen(value), err);
    pith__protect_free(protect);
    return status;
}

static pith_status check_key_rate(const pith_allocator *mem, const char *value, pith_error *err)
{
    const size_t size = strlen(value) + 1;
    char *entry = NULL;
    double rate = 0.0;
    PITH__TRY(pith__alloc(mem, size, 1, &entry, err));
    memcpy(entry, value, size);
    const pith_status status = pith__params_key_rate(entry, &rate, err);
    pith__free(mem, entry, size, 1);
    return status;
}

/* Entries that make no sense are refused where they are given. */
static pith_status check_entry(const pith_param_info *info, const pith_allocator *mem,
                               const char *value, pith_error *err)
{
    if (strcmp(info->name, "keep-tag") == 0) {
        return pith__tag_name_is_valid(value)
                   ? PITH_OK
                   : pith__fail(err, PITH_E_ARGUMENT,
                                "keep-tag: \"%s\" is not a name of letters, digits, - and _",
                                value);
    }
    if (strcmp(info->name, "keep-pattern") == 0) {
        return pith__pattern_regex(value) != NULL
                   ? PITH_OK
                   : pith__fail(err, PITH_E_ARGUMENT, "keep-pattern: there is no pattern \"%s\"",
                                value);
    }
    if (strcmp(info->name, "json-rate") == 0) {
        return check_key_rate(mem, value, err);
    }
    if (strcmp(info->name, "force-context-ids") == 0) {
        return value[0] != '\0' && strlen(value) < 10 &&
                       strspn(value, "0123456789") == strlen(value)
                   ? PITH_OK
                   : pith__fail(err, PITH_E_ARGUMENT,
                                "force-context-ids: \"%s\" is not the number of a context", value);
    }
    return check_rule(strcmp(info->name, "keep-regex") == 0, mem, value, err);
}

bool pith__params_budget_change(const char *text, pith__budget_change *out)
{
    if (text[0] == '\0' || strchr("+-*/", text[0]) == NULL) {
        return false;
    }
    char *end = NULL;
    const locale_t before = pith__locale_enter();
    const double value = strtod(text + 1, &end);
    pith__locale_leave(before);
    if (end == text + 1 || *end != '\0' || strspn(text + 1, ".0123456789") != strlen(text + 1) ||
        (text[0] == '/' && value == 0.0)) {
        return false;
    }
    *out = (pith__budget_change){text[0], value};
    return true;
}

pith_status pith__params_key_rate(char *entry, double *rate, pith_error *err)
{
    char *equals = strrchr(entry, '=');
    if (equals == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "json-rate: \"%s\" is not KEY=RATE", entry);
    }
    char *end = NULL;
    const locale_t before = pith__locale_enter();
    *rate = strtod(equals + 1, &end);
    pith__locale_leave(before);
    if (end == equals + 1 || *end != '\0' ||
        strspn(equals + 1, ".0123456789eE+-") != strlen(equals + 1)) {
        return pith__fail(err, PITH_E_ARGUMENT, "json-rate: \"%s\" is not a number", equals + 1);
    }
    if (!(*rate >= 0.0 && *rate <= 1.0)) {
        return pith__fail(err, PITH_E_RANGE, "json-rate: %s is outside 0 to 1", equals + 1);
    }
    *equals = '\0';
    return PITH_OK;
}

/* ---- the whole ---------------------------------------------------------------------------- */

pith_status pith__params_set(pith__params *params, const pith_allocator *mem, const char *name,
                             const char *value, pith_error *err)
{
    const param *p = find(name);
    if (p == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "no parameter is called \"%s\"", name);
    }
    void *field = field_of(params, p);
    switch (p->info.type) {
    case PITH_PARAM_INT:
    case PITH_PARAM_FLOAT:
        PITH__TRY(parse_number(&p->info, value, field, err));
        if (field == &params->rate && params->target_is_preset) {
            params->target_tokens = -1.0;
        }
        if (field == &params->target_tokens) {
            params->target_is_preset = false;
        }
        return PITH_OK;
    case PITH_PARAM_FLAG:
        return parse_flag(&p->info, value, field, err);
    case PITH_PARAM_ENUM:
        PITH__TRY(parse_choice(&p->info, value, field, err));
        return field == &params->preset ? pith__params_apply_preset(params, mem, err) : PITH_OK;
    case PITH_PARAM_LIST:
        PITH__TRY(check_entry(&p->info, mem, value, err));
        return append_text(field, mem, value, err);
    case PITH_PARAM_TEXT:
        return parse_text(&p->info, value, field, err);
    }
    return pith__fail(err, PITH_E_INTERNAL, "parameter %s has no type", name);
}

/* Choice `index` of "a|b|c", which has that many. */
static void print_choice(const char *choices, int index, char out[PITH_VALUE_SIZE])
{
    for (; index > 0; index--) {
        choices += strcspn(choices, "|") + 1;
    }
    const size_t length = strcspn(choices, "|");
    assert(length < PITH_VALUE_SIZE);
    memcpy(out, choices, length);
    out[length] = '\0';
}

/* The fewest digits that read back as the same number; nothing for one that was not given. */
static void print_number(double number, char out[PITH_VALUE_SIZE])
{
    const locale_t before = pith__locale_enter();
    bool same = number < 0.0;
    out[0] = '\0';
    for (int digits = 6; !same && digits <= 17; digits++) {
        (void)snprintf(out, PITH_VALUE_SIZE, "%.*g", digits, number);
        same = strtod(out, NULL) == number;
    }
    pith__locale_leave(before);
}

pith_status pith__params_get(const pith__params *params, const char *name, char *value, size_t size,
                             pith_error *err)
{
    const param *p = find(name);
    char text[PITH_VALUE_SIZE] = "";
    if (size > 0) {
        value[0] = '\0';
    }
    if (p == NULL || p->info.type == PITH_PARAM_LIST) {
        return pith__fail(
            err, PITH_E_ARGUMENT,
            p == NULL ? "no parameter is called \"%s\"" : "%s: a list has no one value", name);
    }
    const void *field = (const unsigned char *)params + p->field;
    if (p->info.type == PITH_PARAM_ENUM) {
        print_choice(p->info.choices, *(const int *)field, text);
    } else if (p->info.type == PITH_PARAM_TEXT) {
        (void)snprintf(text, sizeof text, "%s", (const char *)field);
    } else if (p->info.type == PITH_PARAM_FLAG) {
        (void)snprintf(text, sizeof text, "%s", *(const bool *)field ? "true" : "false");
    } else {
        print_number(*(const double *)field, text);
    }
    const size_t length = strlen(text);
    if (length >= size) {
        return pith__fail(err, PITH_E_RANGE, "%s: the value takes %zu bytes, there are %zu", name,
                          length + 1, size);
    }
    memcpy(value, text, length + 1);
    return PITH_OK;
}

void pith__params_init(pith__params *params)
{
    memset(params, 0, sizeof *params);
    for (size_t i = 0; i < PARAM_COUNT; i++) {
        const param *p = &table[i];
        if (p->info.default_value[0] != '\0') {
            const pith_status status =
                pith__params_set(params, NULL, p->info.name, p->info.default_value, NULL);
            assert(status == PITH_OK); /* a default that its own parameter refuses */
            (void)status;
        } else if (p->info.type == PITH_PARAM_INT || p->info.type == PITH_PARAM_FLOAT) {
            *(double *)field_of(params, p) = -1.0;
        }
    }
}

bool pith__params_keep(const pith__params *p)
{
    const size_t lists = p->keep.count + p->keep_regex.count + p->keep_tag.count +
                         p->keep_pattern.count + p->json_rate.count;
    return lists > 0 || p->keep_digits || p->keep_links || p->keep_code || p->drop_consecutive;
}

void pith__params_deinit(pith__params *params, const pith_allocator *mem)
{
    free_texts(&params->keep, mem);
    free_texts(&params->keep_regex, mem);
    free_texts(&params->keep_tag, mem);
    free_texts(&params->json_rate, mem);
    free_texts(&params->keep_pattern, mem);
    free_texts(&params->force_context_ids, mem);
}
