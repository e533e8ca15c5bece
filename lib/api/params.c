/*
 * params.c: the parameters of a context. Setters, bounds, --help, the man page
 * and the completions all come from this table; a new parameter is one line here,
 * its field in pith__params, and a test.
 */
#include "api/api.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS_MAX 1000000000.0

#define FIELD(name) offsetof(pith__params, name)
#define ROW(name)   FIELD(name), 0 /* no other table has it */

static const pith__param rows[] = {
    {{"method", 'M', PITH_PARAM_ENUM, 0, 0, "selective",
      "selective|llmlingua|longllmlingua|cc|gist|500x|icae|selfcp|mean", "", "0.1", "compress",
      "Compression method: selective is Selective Context, which drops the units with the least "
      "self-information. llmlingua also drops whole contexts and judges text by what was kept "
      "before it. longllmlingua does so for a question. The others make capsules, not text: "
      "pith_encode() or 'pith encode'."},
     ROW(method)},
    {{"preset", 0, PITH_PARAM_ENUM, 0, 0, "none",
      "none|paper-gsm8k|paper-bbh|paper-arxiv|paper-sharegpt|long-nq|long-longbench|"
      "release-llmlingua|release-longllmlingua",
      "", "0.2", "compress",
      "Set method, mode, rate and more as a paper or the release does. What is set afterwards "
      "counts."},
     ROW(preset)},
    {{"rate", 'r', PITH_PARAM_FLOAT, 0, 1, "0.5", "", "share", "0.1", "compress",
      "What to keep. Mode pith: at most this share of the counted tokens. In the other modes "
      "llmlingua aims at this share of the tokens, selective keeps units that hold this share of "
      "the self-information (paper) or this share of the units (official)."},
     ROW(rate)},
    {{"target-tokens", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "", "", "tokens", "0.1", "compress",
      "Keep at most so many counted tokens. Overrides the rate. Exact in mode pith; method "
      "selective has it there only, llmlingua in mode official counts contexts alone."},
     ROW(target_tokens)},
    {{"percentile", 0, PITH_PARAM_FLOAT, 0, 100, "", "", "percent", "0.1", "compress",
      "Method selective: drop the units whose self-information is below this percentile over all "
      "units. Overrides rate and target-tokens."},
     ROW(percentile)},
    {{"level", 0, PITH_PARAM_ENUM, 0, 0, "phrase", "token|word|phrase|sentence", "", "0.1",
      "compress",
      "What is kept or dropped as a whole. Phrases are noun phrases and single words in English "
      "text, single words elsewhere."},
     ROW(level)},
    {{"mode", 0, PITH_PARAM_ENUM, 0, 0, "pith", "pith|paper|official", "", "0.1", "compress",
      "pith: exact token budget. paper: the published equations. official: the released code, "
      "decision for decision."},
     ROW(mode)},
    {{"aggregate", 0, PITH_PARAM_ENUM, 0, 0, "auto", "mean|sum|max|auto", "", "0.1", "compress",
      "Self-information of a unit from that of its tokens. auto: mean, in mode paper sum."},
     ROW(aggregate)},
    {{"keep", 0, PITH_PARAM_LIST, 0, 0, "", "", "", "0.1", "compress",
      "Protect every occurrence of this text."},
     ROW(keep)},
    {{"keep-regex", 0, PITH_PARAM_LIST, 0, 0, "", "", "", "0.1", "compress",
      "Protect every match of this regular expression (ICU syntax)."},
     ROW(keep_regex)},
    {{"keep-tag", 0, PITH_PARAM_LIST, 0, 0, "", "", "", "0.1", "compress",
      "Protect what stands between <NAME> and </NAME>; the tags themselves are removed."},
     ROW(keep_tag)},
    {{"keep-digits", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.1", "compress",
      "Protect numbers: 3.14, $42, 2026-11-21, v2.1."},
     ROW(keep_digits)},
    {{"keep-links", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.1", "compress",
      "Protect URLs and e-mail addresses."},
     ROW(keep_links)},
    {{"keep-code", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.1", "compress",
      "Protect Markdown code fences and code spans."},
     ROW(keep_code)},
    {{"format", 0, PITH_PARAM_ENUM, 0, 0, "auto", "auto|text|markdown|json|chat", "", "0.2",
      "compress",
      "Structure of the text. json stays valid JSON, chat keeps roles and tool calls, markdown "
      "prefers whole headings, code, tables and links; in json and chat a rate is a share of what "
      "may change. auto: whichever it is. Mode pith only."},
     ROW(format)},
    {{"structured", 0, PITH_PARAM_ENUM, 0, 0, "auto", "auto|true|false", "", "0.2", "compress",
      "Understand <llmlingua, rate=0.4> and <llmlingua, compress=False> up to </llmlingua> in "
      "contexts, and take the tags out. auto: if all of them are well-formed."},
     ROW(structured)},
    {{"json-rate", 0, PITH_PARAM_LIST, 0, 0, "", "", "", "0.2", "compress",
      "KEY=RATE: share to keep of the values of this key (a name, or a dotted path from the root) "
      "in JSON. 1 protects them."},
     ROW(json_rate)},
    {{"keep-turns", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "2", "", "messages", "0.2", "compress",
      "Protect so many last messages of a chat. System messages are protected in any case."},
     ROW(keep_turns)},
    {{"keep-pattern", 0, PITH_PARAM_LIST, 0, 0, "", "", "", "0.2", "compress",
      "Protect every match of a named pattern: email, url, date, time, number, money, percent, "
      "phone, uuid, path, version, citation, quoted, name, acronym, hashtag, mention."},
     ROW(keep_pattern)},
    {{"drop-consecutive", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.2", "compress",
      "Of protected text that would stand twice in a row in the output, keep the first only."},
     ROW(drop_consecutive)},
    {{"prefer-names", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.2", "compress",
      "Method llmlingua in mode pith, with aggregate auto: names and numbers, which a reader "
      "cannot "
      "guess, weigh more than their self-information."},
     ROW(prefer_names)},
    {{"rank-method", 0, PITH_PARAM_ENUM, 0, 0, "auto",
      "auto|llmlingua|longllmlingua|bm25|gzip|random|hybrid", "", "0.2", "compress",
      "How contexts are ranked. llmlingua: perplexity. longllmlingua: perplexity of the question "
      "given the context. bm25, gzip (compression distance), random, hybrid (bm25 and "
      "perplexity). auto: by method and mode."},
     ROW(rank_method)},
    {{"iterative-size", 0, PITH_PARAM_INT, 1, TOKENS_MAX, "", "", "tokens", "0.2", "compress",
      "Tokens judged at once by llmlingua. Default: 200, in mode paper 100."},
     ROW(iterative_size)},
    {{"context-budget", 0, PITH_PARAM_TEXT, 0, 0, "", "", "", "0.2", "compress",
      "Tokens that whole contexts may take before they are shortened, from the budget: +100, *2, "
      "-50 or /2. Default: by mode."},
     ROW(context_budget)},
    {{"token-budget-ratio", 0, PITH_PARAM_FLOAT, 0, 1000, "1.4", "", "", "0.2", "compress",
      "Tokens that whole sentences may take before they are shortened, as a multiple of the "
      "budget."},
     ROW(token_budget_ratio)},
    {{"condition-in-question", 0, PITH_PARAM_ENUM, 0, 0, "auto",
      "auto|none|before|after|none_condition|before_condition|after_condition", "", "0.2",
      "compress",
      "How the question is used: judge contexts given it (before), or it given the contexts "
      "(after); _condition also reads it before the text whose tokens are judged."},
     ROW(condition)},
    {{"condition-compare", 0, PITH_PARAM_ENUM, 0, 0, "auto", "auto|false|true", "", "0.2",
      "compress",
      "Contrastive perplexity: judge tokens by what the question changes. auto: by method and "
      "mode."},
     ROW(condition_compare)},
    {{"reorder-context", 0, PITH_PARAM_ENUM, 0, 0, "auto", "auto|original|sort|two_stage", "",
      "0.2", "compress",
      "Order of the contexts in the output: as given, best first, or the best at both ends. auto: "
      "as given."},
     ROW(reorder_context)},
    {{"dynamic-context-compression-ratio", 0, PITH_PARAM_FLOAT, 0, 1, "", "", "share", "0.2",
      "compress",
      "How much more of the best context is kept than of the worst, as a share to either side of "
      "the rate. Default: 0, longllmlingua in mode paper 0.3."},
     ROW(dynamic_ratio)},
    {{"force-context-ids", 0, PITH_PARAM_LIST, 0, 0, "", "", "", "0.2", "compress",
      "Never drop the context with this number, from 0."},
     ROW(force_context_ids)},
    {{"force-context-number", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "", "", "contexts", "0.2",
      "compress", "Keep at most so many contexts."},
     ROW(force_context_number)},
    {{"use-context-level-filter", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.2", "compress",
      "Drop whole contexts, the ones that the ranker likes least."},
     ROW(use_context_level_filter)},
    {{"use-sentence-level-filter", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.2", "compress",
      "Drop whole sentences beyond token-budget-ratio times the budget."},
     ROW(use_sentence_level_filter)},
    {{"use-token-level-filter", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.2", "compress",
      "Drop units (see level) inside what is left. Mode pith without it keeps whole sentences or "
      "contexts and may stay below the budget."},
     ROW(use_token_level_filter)},
    {{"keep-split", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.2", "compress",
      "Keep the empty lines between paragraphs. Mode pith keeps lines apart in any case."},
     ROW(keep_split)},
    {{"keep-first-sentence", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "0", "", "sentences", "0.2",
      "compress", "Prefer so many first sentences of every context."},
     ROW(keep_first_sentence)},
    {{"keep-last-sentence", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "0", "", "sentences", "0.2",
      "compress", "Prefer so many last sentences of every context."},
     ROW(keep_last_sentence)},
    {{"keep-sentence-number", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "0", "", "sentences", "0.2",
      "compress", "Prefer so many of the best sentences of every context."},
     ROW(keep_sentence_number)},
    {{"high-priority-bonus", 0, PITH_PARAM_FLOAT, 0, 1e9, "100", "", "nats", "0.2", "compress",
      "What the preferred sentences gain."},
     ROW(high_priority_bonus)},
    {{"add-instruction", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.2", "compress",
      "Read the instruction too before the text whose tokens are judged."},
     ROW(add_instruction)},
    {{"concate-question", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.2", "compress",
      "Put the question into the output."},
     ROW(concate_question)},
    {{"strict-preserve-uncompressed", 0, PITH_PARAM_FLAG, 0, 0, "true", "", "", "0.2", "compress",
      "Never drop a context that holds text tagged compress=False."},
     ROW(strict_preserve_uncompressed)},
    {{"tau-ins", 0, PITH_PARAM_FLOAT, 0, 1, "0.85", "", "share", "0.2", "compress",
      "Mode paper: share of the instruction that stays."},
     ROW(tau_ins)},
    {{"tau-que", 0, PITH_PARAM_FLOAT, 0, 1, "0.9", "", "share", "0.2", "compress",
      "Mode paper: share of the question that stays."},
     ROW(tau_que)},
    {{"score-by", 0, PITH_PARAM_ENUM, 0, 0, "text", "text|sentence", "", "0.1", "score",
      "What the model reads at once: the whole text, in windows if it is long, or every sentence "
      "by itself. Mode official always reads sentences."},
     ROW(score_by)},
    {{"ctx-size", 'c', PITH_PARAM_INT, 0, 16777216, "0", "", "tokens", "0.1", "score",
      "Tokens the model reads at once. 0: the model's context, at most 2048."},
     ROW(ctx_size)},
    {{"overlap", 0, PITH_PARAM_INT, 0, 16777216, "", "", "tokens", "0.1", "score",
      "Tokens of context that a window repeats from the one before. Default: a quarter of the "
      "window."},
     ROW(overlap)},
    {{"threads", 't', PITH_PARAM_INT, 0, 1024, "0", "", "threads", "0.1", "score",
      "Threads to work with. 0: as many as there are processors."},
     ROW(threads)},
    {{"invalid-utf8", 0, PITH_PARAM_ENUM, 0, 0, "error", "error|keep", "", "0.1", "score",
      "Text that is not valid UTF-8: refuse it, or take each such byte as a character."},
     ROW(invalid_utf8)},
    {{"seed", 0, PITH_PARAM_INT, 0, 4294967295.0, "0", "", "", "0.2", "random",
      "Seed of everything that is drawn at random: the order of ranker random, what generating "
      "draws, how method cc learns. The same seed gives the same result."},
     ROW(seed)},
    {{"slots", 'k', PITH_PARAM_INT, 1, 65536, "", "", "tokens", "0.4", "encode",
      "Virtual tokens of the capsule; of a compressor, of every segment of the text. Default: for "
      "gist and compressors as many as were trained, for cc and mean 16."},
     ROW(slots)},
    {{"ratio", 0, PITH_PARAM_INT, 1, 65536, "", "", "tokens", "0.5", "encode",
      "Method selfcp: tokens of text per slot. Default: as the compressor was trained."},
     ROW(ratio)},
    {{"query", 0, PITH_PARAM_TEXT, 0, 0, "", "", "", "0.5", "encode",
      "Method selfcp: a question that is read before every segment of the text, so that the slots "
      "hold what answers it."},
     ROW(query)},
    {{"pool", 0, PITH_PARAM_ENUM, 0, 0, "kv", "kv|hidden|embeddings", "", "0.5", "encode",
      "Method mean: what is averaged: keys and values of every layer, last hidden states, or the "
      "embeddings of the tokens."},
     ROW(pool)},
    {{"steps", 'n', PITH_PARAM_INT, 1, TOKENS_MAX, "", "", "updates", "0.4", "encode",
      "Method cc: updates of the soft prompt. Default: as recipe cc has it."},
     ROW(steps)},
    {{"kl", 0, PITH_PARAM_ENUM, 0, 0, "forward", "forward|reverse", "", "0.4", "encode",
      "Method cc: which divergence is made small: KL(teacher || student) (forward), or KL(student "
      "|| teacher) (reverse, as the released code)."},
     ROW(kl)},
    {{"max-tokens", 'n', PITH_PARAM_INT, 0, TOKENS_MAX, "128", "", "tokens", "0.4", "generate",
      "Write at most so many tokens."},
     ROW(max_tokens)},
    {{"temperature", 0, PITH_PARAM_FLOAT, 0, 100, "0", "", "", "0.4", "generate",
      "Divides the logits before a token is drawn. 0: always the likeliest token, nothing is "
      "drawn."},
     ROW(temperature)},
    {{"top-k", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "0", "", "tokens", "0.4", "generate",
      "Draw from so many likeliest tokens only. 0: from all."},
     ROW(top_k)},
    {{"top-p", 0, PITH_PARAM_FLOAT, 0, 1, "1", "", "share", "0.4", "generate",
      "Draw from the fewest likeliest tokens that together have this probability."},
     ROW(top_p)},
    {{"min-p", 0, PITH_PARAM_FLOAT, 0, 1, "0", "", "share", "0.4", "generate",
      "Draw from tokens that are at least this likely, as a share of the likeliest one's "
      "probability."},
     ROW(min_p)},
    {{"repetition-penalty", 0, PITH_PARAM_FLOAT, 0.01, 100, "1", "", "", "0.4", "generate",
      "Make tokens that were there before less likely: positive logits are divided by it, negative "
      "ones multiplied. 1: none."},
     ROW(repetition_penalty)},
    {{"repetition-window", 0, PITH_PARAM_INT, 0, TOKENS_MAX, "0", "", "tokens", "0.4", "generate",
      "How many of the last tokens the penalty looks at, those of the prompt included. 0: all."},
     ROW(repetition_window)},
    {{"stop", 0, PITH_PARAM_LIST, 0, 0, "", "", "", "0.4", "generate",
      "End before this text would be written."},
     ROW(stop)},
    {{"ignore-eos", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.4", "generate",
      "Write on when the model ends its text."},
     ROW(ignore_eos)},
    {{"regenerate", 0, PITH_PARAM_FLAG, 0, 0, "false", "", "", "0.5", "generate",
      "End the prompt with BOS: behind the capsule of a compressor that asks for its text."},
     ROW(regenerate)},
};

#define PARAM_COUNT (sizeof rows / sizeof rows[0])

static pith_status check_value(const pith_param_info *info, const char *value,
                               const pith_allocator *mem, pith_error *err);

static const pith__param_table table = {rows, PARAM_COUNT, 0, check_value};

size_t pith_param_count(void)
{
    return PARAM_COUNT;
}

const pith_param_info *pith_param_at(size_t index)
{
    return index < PARAM_COUNT ? &rows[index].info : NULL;
}

/* ---- values that make no sense are refused where they are given ------------------------- */

/* "+100", "*2": what pith__budget_change is read from. */
static pith_status check_budget_change(const pith_param_info *info, const char *value,
                                       pith_error *err)
{
    pith__budget_change change;
    if (strlen(value) >= PITH_VALUE_SIZE) {
        return pith__fail(err, PITH_E_RANGE, "%s: more than %d bytes", info->name,
                          PITH_VALUE_SIZE - 1);
    }
    if (value[0] != '\0' && !pith__params_budget_change(value, &change)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "%s: \"%s\" is not +, -, * or / and a number, such as +100 or *2",
                          info->name, value);
    }
    return PITH_OK;
}

static pith_status check_utf8(const pith_param_info *info, const char *value, pith_error *err)
{
    size_t bad = 0;
    return pith__utf8_check(value, strlen(value), &bad)
               ? PITH_OK
               : pith__fail_at(err, PITH_E_UTF8, bad, "%s: byte 0x%02x is not valid UTF-8",
                               info->name, (unsigned)(unsigned char)value[bad]);
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

static pith_status check_value(const pith_param_info *info, const char *value,
                               const pith_allocator *mem, pith_error *err)
{
    if (strcmp(info->name, "context-budget") == 0) {
        return check_budget_change(info, value, err);
    }
    if (strcmp(info->name, "query") == 0) {
        return check_utf8(info, value, err);
    }
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
    if (strcmp(info->name, "stop") == 0) {
        return value[0] != '\0' ? PITH_OK
                                : pith__fail(err, PITH_E_ARGUMENT, "stop: a text of no bytes");
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
    const pith__param *p = pith__table_find(&table, name);
    const size_t field = p == NULL ? SIZE_MAX : p->field;
    /* the budget is what mode pith is about, so its users call it that as well */
    const bool is_alias = field == FIELD(mode) && strcmp(value, "budget") == 0;
    PITH__TRY(pith__table_set(&table, params, mem, name, is_alias ? "pith" : value, err));
    if (field == FIELD(rate) && params->target_is_preset) {
        params->target_tokens = -1.0;
    }
    if (field == FIELD(target_tokens)) {
        params->target_is_preset = false;
    }
    return field == FIELD(preset) ? pith__params_apply_preset(params, mem, err) : PITH_OK;
}

pith_status pith__params_get(const pith__params *params, const char *name, char *value, size_t size,
                             pith_error *err)
{
    return pith__table_get(&table, params, name, value, size, err);
}

void pith__params_init(pith__params *params)
{
    memset(params, 0, sizeof *params);
    pith__table_init(&table, params);
}

bool pith__params_keep(const pith__params *p)
{
    const size_t lists = p->keep.count + p->keep_regex.count + p->keep_tag.count +
                         p->keep_pattern.count + p->json_rate.count;
    return lists > 0 || p->keep_digits || p->keep_links || p->keep_code || p->drop_consecutive;
}

void pith__params_deinit(pith__params *params, const pith_allocator *mem)
{
    pith__table_deinit(&table, params, mem);
}
