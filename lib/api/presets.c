/*
 * presets.c: the papers' settings by name.
 *
 * LLMLingua (arXiv 2310.05736): section 5.2 gives iterative size 100, k = 2, tau_ins 0.85 and
 * tau_que 0.9; tables 1 and 2 give the ratios (GSM8K 5x, BBH 3x, Arxiv-March23 4x, ShareGPT 2x).
 * LongLLMLingua (arXiv 2310.06839v2): section 5.1 gives segments of 200, delta 0.3 and a budget
 * of 100 tokens more for whole documents; tables 1 and 2 NaturalQuestions at 2x and 4x, LongBench
 * at 2,000 tokens. release-*: what the release's own examples call it with.
 */
#include "api/api.h"

#include <string.h>

typedef struct assignment {
    const char *name;
    const char *value;
} assignment;

#define ASSIGNMENTS_MAX 10

/* In the order of the parameter's choices, "none" left out. */
static const assignment presets[][ASSIGNMENTS_MAX] = {
    /* paper-gsm8k */
    {{"method", "llmlingua"},
     {"mode", "paper"},
     {"rate", "0.2"},
     {"iterative-size", "100"},
     {"context-budget", "*2"},
     {"tau-ins", "0.85"},
     {"tau-que", "0.9"}},
    /* paper-bbh */
    {{"method", "llmlingua"},
     {"mode", "paper"},
     {"rate", "0.3333333333333333"},
     {"iterative-size", "100"},
     {"context-budget", "*2"},
     {"tau-ins", "0.85"},
     {"tau-que", "0.9"}},
    /* paper-arxiv */
    {{"method", "llmlingua"},
     {"mode", "paper"},
     {"rate", "0.25"},
     {"iterative-size", "100"},
     {"context-budget", "*2"},
     {"tau-ins", "0.85"},
     {"tau-que", "0.9"}},
    /* paper-sharegpt */
    {{"method", "llmlingua"},
     {"mode", "paper"},
     {"rate", "0.5"},
     {"iterative-size", "100"},
     {"context-budget", "*2"},
     {"tau-ins", "0.85"},
     {"tau-que", "0.9"}},
    /* long-nq */
    {{"method", "longllmlingua"},
     {"mode", "paper"},
     {"rate", "0.5"},
     {"iterative-size", "200"},
     {"context-budget", "+100"},
     {"condition-in-question", "after_condition"},
     {"condition-compare", "true"},
     {"reorder-context", "sort"},
     {"dynamic-context-compression-ratio", "0.3"}},
    /* long-longbench */
    {{"method", "longllmlingua"},
     {"mode", "paper"},
     {"target-tokens", "2000"},
     {"iterative-size", "200"},
     {"context-budget", "+100"},
     {"condition-in-question", "after_condition"},
     {"condition-compare", "true"},
     {"reorder-context", "sort"},
     {"dynamic-context-compression-ratio", "0.3"}},
    /* release-llmlingua */
    {{"method", "llmlingua"},
     {"mode", "official"},
     {"rate", "0.5"},
     {"iterative-size", "200"},
     {"context-budget", "+100"}},
    /* release-longllmlingua */
    {{"method", "longllmlingua"},
     {"mode", "official"},
     {"rate", "0.55"},
     {"iterative-size", "200"},
     {"context-budget", "+100"},
     {"condition-in-question", "after_condition"},
     {"condition-compare", "true"},
     {"reorder-context", "sort"},
     {"dynamic-context-compression-ratio", "0.3"}},
};

pith_status pith__params_apply_preset(pith__params *params, const pith_allocator *mem,
                                      pith_error *err)
{
    if (params->preset == 0) {
        return PITH_OK;
    }
    params->target_tokens = -1.0;
    const assignment *list = presets[params->preset - 1];
    for (size_t i = 0; i < ASSIGNMENTS_MAX && list[i].name != NULL; i++) {
        PITH__TRY(pith__params_set(params, mem, list[i].name, list[i].value, err));
    }
    params->target_is_preset = params->target_tokens >= 0.0;
    return PITH_OK;
}
