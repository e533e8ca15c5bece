/*
 * retention_text.c: one text or question: how it becomes ids.
 */
#include "train/retention.h"

#include "train/context.h"
#include "train/passages.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

const pith__pair_member pith__retention_members[PITH__RETENTION_MEMBERS] = {
    {.key = "context", .decides = true},
    {.key = "question", .optional = true},
    {.key = "answer", .optional = true}};

pith_status pith__retention_make_format(pith__retention_loader *l, pith_error *err)
{
    const char *given = l->settings->format;
    l->format = (pith__pair_format){.prompt_key = "question",
                                    .completion_key = "answer",
                                    .text = given == NULL ? PITH__QUESTION_FORMAT : given,
                                    .prompt_place = PITH__QUESTION_PLACE,
                                    .completion_place = PITH__ANSWER_PLACE};
    return pith__pair_format_check(&l->format, err);
}

/* ---- wordings --------------------------------------------------------------------------------- */

pith__wording pith__wording_part(pith__wording words, size_t first, size_t count)
{
    if (first > 0) { /* else there may be no array */
        words.ids += first;
        words.tokens += first;
    }
    words.count = count;
    return words;
}

pith__token_text pith__wording_text(pith__wording words)
{
    if (words.count == 0) {
        return (pith__token_text){"", 0};
    }
    const size_t start = words.tokens[0].start;
    return (pith__token_text){words.base + start, words.tokens[words.count - 1].end - start};
}

/* Of a text that stays where it is, in the loader's scratch. */
static pith_status encode(pith__retention_loader *l, pith__token_text text, pith__wording *out,
                          pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&l->scratch);
    pith__tokens tokens = {0};
    uint32_t *ids = NULL;
    PITH__TRY(
        pith__tokenizer_encode(l->tokenizer, text.data, text.size, false, &mem, &tokens, err));
    PITH__TRY(pith__arena_alloc(&l->scratch, tokens.count, sizeof *ids, &ids, err));
    for (size_t i = 0; i < tokens.count; i++) {
        ids[i] = tokens.items[i].id;
    }
    *out = (pith__wording){ids, tokens.items, tokens.count, text.data};
    return PITH_OK;
}

static pith_status copy_ids(pith__arena *arena, const uint32_t *ids, size_t count,
                            const uint32_t **out, pith_error *err)
{
    uint32_t *copy = NULL;
    PITH__TRY(pith__arena_alloc(arena, count, sizeof *copy, &copy, err));
    if (count > 0) {
        memcpy(copy, ids, count * sizeof *copy);
    }
    *out = copy;
    return PITH_OK;
}

static pith_status copy_text(pith__arena *arena, pith__token_text text, const char **out,
                             pith_error *err)
{
    char *copy = NULL;
    PITH__TRY(pith__arena_alloc(arena, text.size, 1, &copy, err));
    if (text.size > 0) {
        memcpy(copy, text.data, text.size);
    }
    *out = copy;
    return PITH_OK;
}

/* Words with all that belongs to it, and nothing else of its text. */
static pith_status keep(const pith__retention_loader *l, pith__wording words, pith__wording *out,
                        pith_error *err)
{
    pith__token *tokens = NULL;
    const size_t start = words.count == 0 ? 0 : words.tokens[0].start;
    PITH__TRY(copy_ids(l->arena, words.ids, words.count, &out->ids, err));
    PITH__TRY(copy_text(l->arena, pith__wording_text(words), &out->base, err));
    PITH__TRY(pith__arena_alloc(l->arena, words.count, sizeof *tokens, &tokens, err));
    for (size_t i = 0; i < words.count; i++) {
        const pith__token *token = &words.tokens[i];
        tokens[i] = (pith__token){token->start - start, token->end - start, token->id};
    }
    out->tokens = tokens;
    out->count = words.count;
    return PITH_OK;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- what is said instead --------------------------------------------------------------------------------- */

static pith_status fail_shorter(const pith__retention_loader *l, const pith__retention_origin *c,
                                pith_error *err)
{
    char reason[80];
    (void)snprintf(reason, sizeof reason, "\"shorter\" is no array of %zu strings",
                   l->settings->n_slots);
    return pith__pair_fail(c->file, c->line, PITH_E_CORRUPT, reason, err);
}

static pith_status copy_shorter(pith__retention_loader *l, const pith__retention_origin *c,
                                const json_t *array, pith__wording *out, pith_error *err)
{
    const pith__retention_settings *s = l->settings;
    if (!json_is_array(array) || json_array_size(array) != s->n_slots) {
        return fail_shorter(l, c, err);
    }
    for (size_t i = 0; i < s->n_slots; i++) {
        const json_t *item = json_array_get(array, i);
        pith__wording all;
        if (!json_is_string(item)) {
            return fail_shorter(l, c, err);
        }
        const pith__token_text text = {json_string_value(item), json_string_length(item)};
        PITH__TRY(encode(l, text, &all, err));
        PITH__TRY(
            keep(l, pith__wording_part(all, 0, smaller(all.count, s->slots[i])), &out[i], err));
    }
    return PITH_OK;
}

/* A document has none; a line must have it if it is wanted. */
static pith_status read_shorter(pith__retention_loader *l, const pith__retention_origin *c,
                                pith__retention_text *out, pith_error *err)
{
    pith__wording *shorter = NULL;
    json_error_t problem;
    if (c->file == NULL || !l->settings->ways[PITH__WAY_GIVEN]) {
        return PITH_OK;
    }
    PITH__TRY(pith__arena_alloc(l->arena, l->settings->n_slots, sizeof *shorter, &shorter, err));
    json_t *object = json_loadb((const char *)c->file->file.data + c->line.start,
                                c->line.end - c->line.start, JSON_ALLOW_NUL, &problem);
    if (object == NULL) { /* it was read before */
        return pith__fail(err, PITH_E_MEMORY, "out of memory: %s", problem.text);
    }
    const pith_status status = copy_shorter(l, c, json_object_get(object, "shorter"), shorter, err);
    json_decref(object);
    out->shorter = shorter;
    return status;
}

/* ---- texts -------------------------------------------------------------------------------------- */

static pith_status place_in(pith__retention_loader *l, const pith__retention_origin *origin,
                            size_t length, uint64_t place, pith__token_text *out, pith_error *err)
{
    pith__token_text texts[PITH__RETENTION_MEMBERS];
    size_t offset = 0;
    *out = origin->document;
    if (origin->file != NULL) {
        PITH__TRY(pith__pair_texts(origin->file, origin->line, pith__retention_members,
                                   PITH__RETENTION_MEMBERS, &l->scratch, texts, err));
        *out = texts[PITH__RETENTION_CONTEXT];
    } else if (out->size / PITH__PASSAGE_TOKEN_BYTES > length) {
        offset = (size_t)(place % (out->size - length * PITH__PASSAGE_TOKEN_BYTES));
    }
    const pith__document whole = {0, out->size};
    const pith__document part =
        pith__passage_bytes((const unsigned char *)out->data, whole, offset, length);
    *out = (pith__token_text){out->data + part.start, part.end - part.start};
    return PITH_OK;
}

pith_status pith__retention_words(pith__retention_loader *l, const pith__retention_origin *origin,
                                  size_t length, uint64_t place, pith__wording *out,
                                  pith_error *err)
{
    pith__token_text text;
    PITH__TRY(place_in(l, origin, length, place, &text, err));
    PITH__TRY(encode(l, text, out, err));
    *out = pith__wording_part(*out, 0, smaller(out->count, length));
    return PITH_OK;
}

pith_status pith__retention_read_text(pith__retention_loader *l,
                                      const pith__retention_origin *origin, size_t length,
                                      uint64_t place, pith__retention_text *out, pith_error *err)
{
    pith__wording words;
    PITH__TRY(pith__retention_words(l, origin, length, place, &words, err));
    PITH__TRY(keep(l, words, &out->source, err));
    return read_shorter(l, origin, out, err);
}

/* ---- questions ---------------------------------------------------------------------------------- */

/* `length` tokens with the answer in their middle, as far as the context reaches; else the first ones. */
static pith__wording cut_context(pith__wording all, pith__token_text context,
                                 pith__token_text answer, size_t length)
{
    const size_t start = pith__context_start(all.tokens, all.count, context, answer, length);
    return pith__wording_part(all, start, smaller(all.count, length));
}

/* What a format has behind the answer, in one piece of an answer's line. */
static pith__token_text text_behind(const pith__pair_format *format)
{
    const char *behind = strstr(format->text, PITH__ANSWER_PLACE) + sizeof PITH__ANSWER_PLACE - 1;
    return (pith__token_text){behind, strcspn(behind, "\n")};
}

/*
 * The whole line as one text, whose first token with a byte of the answer is where the answer begins:
 * as it is learned.
 */
static pith_status read_question_ids(pith__retention_loader *l, const pith__retention_origin *c,
                                     pith__retention_text *out, pith_error *err)
{
    const char *text = NULL;
    size_t size = 0;
    size_t place = 0;
    size_t answer_size = 0;
    pith__wording all;
    uint32_t *answer = NULL;
    PITH__TRY(pith__pair_text(c->file, c->line, &l->format, &l->scratch, &text, &size, &place,
                              &answer_size, err));
    PITH__TRY(encode(l, (pith__token_text){text, size}, &all, err));
    while (out->n_prompt < all.count && all.tokens[out->n_prompt].end <= place) {
        out->n_prompt++;
    }
    if (out->n_prompt == 0) {
        return pith__pair_fail(c->file, c->line, PITH_E_CORRUPT, "nothing stands before the answer",
                               err);
    }
    out->n_answer = all.count - out->n_prompt + 1;
    out->wanted.size = answer_size;
    out->behind = text_behind(&l->format);
    PITH__TRY(copy_ids(l->arena, all.ids, out->n_prompt, &out->prompt, err));
    PITH__TRY(pith__arena_alloc(l->arena, out->n_answer, sizeof *answer, &answer, err));
    memcpy(answer, all.ids + out->n_prompt, (out->n_answer - 1) * sizeof *answer);
    answer[out->n_answer - 1] = pith__document_end(l->tokenizer);
    out->answer = answer;
    return copy_text(l->arena, (pith__token_text){text + place, answer_size}, &out->wanted.data,
                     err);
}

pith_status pith__retention_read_question(pith__retention_loader *l,
                                          const pith__retention_origin *c, size_t length,
                                          pith__retention_text *out, pith_error *err)
{
    pith__token_text texts[PITH__RETENTION_MEMBERS];
    pith__wording all;
    PITH__TRY(pith__pair_texts(c->file, c->line, pith__retention_members, PITH__RETENTION_MEMBERS,
                               &l->scratch, texts, err));
    PITH__TRY(encode(l, texts[PITH__RETENTION_CONTEXT], &all, err));
    PITH__TRY(keep(
        l, cut_context(all, texts[PITH__RETENTION_CONTEXT], texts[PITH__RETENTION_ANSWER], length),
        &out->source, err));
    PITH__TRY(read_question_ids(l, c, out, err));
    if (1 + out->source.count + out->n_prompt + out->n_answer > l->context) {
        return pith__pair_fail(c->file, c->line, PITH_E_CONTEXT,
                               "context, question and answer do not fit the model's context", err);
    }
    return read_shorter(l, c, out, err);
}
