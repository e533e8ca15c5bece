/*
 * compressor_questions.c: lines with a context, a question and an answer, as exercises.
 */
#include "train/compressor.h"
#include "train/context.h"

const pith__pair_member pith__question_members[PITH__QUESTION_MEMBERS] = {
    [PITH__QUESTION_CONTEXT] = {.key = "context", .decides = true},
    [PITH__QUESTION_QUESTION] = {.key = "question"},
    [PITH__QUESTION_ANSWER] = {.key = "answer"}};

pith__pair_format pith__question_format(const pith__compressor_settings *settings)
{
    return (pith__pair_format){.prompt_key = pith__question_members[PITH__QUESTION_QUESTION].key,
                               .completion_key = pith__question_members[PITH__QUESTION_ANSWER].key,
                               .text = settings->format,
                               .prompt_place = PITH__QUESTION_PLACE,
                               .completion_place = PITH__ANSWER_PLACE};
}

static pith_status encode(const pith__exercises *e, pith__token_text text, pith__arena *arena,
                          pith__tokens *out, uint32_t **ids, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(arena);
    *out = (pith__tokens){0};
    PITH__TRY(pith__tokenizer_encode(e->tokenizer, text.data, text.size, false, &mem, out, err));
    PITH__TRY(pith__arena_alloc(arena, out->count, sizeof **ids, ids, err));
    for (size_t i = 0; i < out->count; i++) {
        (*ids)[i] = out->items[i].id;
    }
    return PITH_OK;
}

static pith_status read_context(const pith__exercises *e, const pith__pair_file *file,
                                pith__pair line, const pith__token_text *texts, pith__arena *arena,
                                pith__exercise *out, pith_error *err)
{
    const pith__token_text context = texts[PITH__QUESTION_CONTEXT];
    const size_t most = e->settings->run.length;
    pith__tokens tokens;
    uint32_t *ids = NULL;
    PITH__TRY(encode(e, context, arena, &tokens, &ids, err));
    if (tokens.count == 0) {
        return pith__pair_fail(file, line, PITH_E_CORRUPT, "the context is empty", err);
    }
    out->text = ids + pith__context_start(tokens.items, tokens.count, context,
                                          texts[PITH__QUESTION_ANSWER], most);
    out->n_text = tokens.count < most ? tokens.count : most;
    return PITH_OK;
}

/* A question that is too long loses its beginning, an answer its end. */
static void make_fit(const pith__exercises *e, pith__exercise *out)
{
    const size_t most = e->rows.room - 1; /* with a question's last token */
    if (out->n_told >= most) {
        out->n_told = most - 1;
        out->told_ends = false;
    }
    const size_t left = e->rows.room - out->n_told;
    const size_t asked = left < e->rows.asked ? left : e->rows.asked;
    if (out->n_asked > asked) {
        out->asked += out->n_asked - asked;
        out->n_asked = asked;
    }
}

pith_status pith__exercises_question(const pith__exercises *exercises, const pith__pair_file *file,
                                     pith__pair line, pith__arena *arena, pith__exercise *out,
                                     pith_error *err)
{
    pith__token_text texts[PITH__QUESTION_MEMBERS];
    pith__token_text text;
    pith__tokens tokens;
    uint32_t *ids = NULL;
    size_t answer = 0;
    PITH__TRY(pith__pair_texts(file, line, pith__question_members, PITH__QUESTION_MEMBERS, arena,
                               texts, err));
    *out = (pith__exercise){.task = PITH__EXERCISE_ANSWER,
                            .told_ends = true,
                            .bytes = texts[PITH__QUESTION_ANSWER].size};
    PITH__TRY(read_context(exercises, file, line, texts, arena, out, err));
    PITH__TRY(pith__pair_render(&exercises->format, texts[PITH__QUESTION_QUESTION],
                                texts[PITH__QUESTION_ANSWER], arena, &text, &answer, err));
    PITH__TRY(encode(exercises, text, arena, &tokens, &ids, err));
    size_t first = 0; /* token that has bytes of the answer */
    while (first < tokens.count && tokens.items[first].end <= answer) {
        first++;
    }
    out->asked = ids;
    out->n_asked = first;
    out->told = ids + first;
    out->n_told = tokens.count - first;
    make_fit(exercises, out);
    return PITH_OK;
}
