/*
 * triples.c: instructions, inputs and outputs, from lines of a file to samples.
 */
#include "train/triples.h"

#include "text/text.h"
#include "train/run.h"

#include <string.h>

#define INPUT "{input}"

const pith__pair_member pith__triple_members[PITH__TRIPLE_MEMBERS] = {
    {.key = "instruction"}, {.key = "input", .optional = true}, {.key = "output"}};

/* ---- texts ---------------------------------------------------------------------------------- */

pith_status pith__triple_read(const pith__pair_file *file, pith__pair line, pith__arena *arena,
                              pith__triple *out, pith_error *err)
{
    pith__token_text texts[PITH__TRIPLE_MEMBERS];
    PITH__TRY(pith__pair_texts(file, line, pith__triple_members, PITH__TRIPLE_MEMBERS, arena, texts,
                               err));
    *out = (pith__triple){texts[0], texts[1], texts[2]};
    return PITH_OK;
}

pith_status pith__gist_suffix(const char *suffix, pith__token_text input, pith__buf *out,
                              pith_error *err)
{
    const char *place = strstr(suffix, INPUT);
    if (place == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT, "the suffix lacks " INPUT);
    }
    const char *before = place; /* where what is in front of the input ends */
    const char *behind = place + sizeof INPUT - 1;
    if (input.size == 0) {
        while (before > suffix && *before != '\n') {
            before--;
        }
        behind += strcspn(behind, "\n");
    }
    PITH__TRY(pith__buf_append(out, suffix, (size_t)(before - suffix), err));
    PITH__TRY(pith__buf_append(out, input.data, input.size, err));
    return pith__buf_append_text(out, behind, err);
}

/* ---- ids ------------------------------------------------------------------------------------ */

pith__triple_form pith__triple_form_of(const pith__tokenizer *tokenizer,
                                       pith__gist_condition condition, uint32_t slots,
                                       size_t length, const pith__keywords *keywords)
{
    const uint32_t own = condition == PITH__GIST_TFIDF      ? 0
                         : condition == PITH__GIST_POSITIVE ? 1
                                                            : slots;
    return (pith__triple_form){tokenizer, condition, own, length, keywords};
}

/* Tokens with memory of an arena. */
static pith_status encode(const pith__triple_form *form, const char *text, size_t size,
                          pith__arena *arena, pith__tokens *out, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(arena);
    *out = (pith__tokens){0};
    return pith__tokenizer_encode(form->tokenizer, text, size, false, &mem, out, err);
}

static pith_status copy_ids(const pith__tokens *tokens, size_t first, size_t end,
                            pith__arena *arena, const uint32_t **out, size_t *count,
                            pith_error *err)
{
    uint32_t *ids = NULL;
    PITH__TRY(pith__arena_alloc(arena, end - first, sizeof *ids, &ids, err));
    for (size_t i = first; i < end; i++) {
        ids[i - first] = tokens->items[i].id;
    }
    *out = ids;
    *count = end - first;
    return PITH_OK;
}

/* Prefix and `words`, and where the latter begin. */
static pith_status join_text(pith__token_text words, const char *behind, pith__arena *arena,
                             pith__buf *out, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(arena);
    pith__buf_init(out, &mem, SIZE_MAX / 2);
    PITH__TRY(pith__buf_append_text(out, PITH__GIST_PREFIX_TEXT, err));
    PITH__TRY(pith__buf_append(out, words.data, words.size, err));
    return pith__buf_append_text(out, behind, err);
}

/* BOS and the tokens of prefix, instruction and middle. */
static pith_status encode_instruction(const pith__triple_form *form, pith__token_text instruction,
                                      pith__arena *arena, pith__triple_ids *out, pith_error *err)
{
    pith__buf text;
    pith__tokens tokens;
    uint32_t *ids = NULL;
    PITH__TRY(join_text(instruction, PITH__GIST_MIDDLE_TEXT, arena, &text, err));
    PITH__TRY(encode(form, text.data, text.size, arena, &tokens, err));
    PITH__TRY(pith__arena_alloc(arena, tokens.count + 1, sizeof *ids, &ids, err));
    ids[0] = pith__tokenizer_bos(form->tokenizer);
    for (size_t i = 0; i < tokens.count; i++) {
        ids[i + 1] = tokens.items[i].id;
    }
    out->text = ids;
    out->n_text = tokens.count + 1;
    return PITH_OK;
}

/*
 * The same with the first token of the instruction's keyword in its place: the tokens of prefix and
 * keyword up to the first one that has bytes of the keyword, then those of the middle.
 */
static pith_status encode_keyword(const pith__triple_form *form, pith__token_text instruction,
                                  pith__arena *arena, pith__triple_ids *out, pith_error *err)
{
    pith__token_text keyword;
    pith__buf text;
    pith__tokens tokens;
    pith__tokens middle;
    uint32_t *ids = NULL;
    PITH__TRY(pith__keyword_of(form->keywords, instruction, arena, &keyword, err));
    PITH__TRY(join_text(keyword, "", arena, &text, err));
    PITH__TRY(encode(form, text.data, text.size, arena, &tokens, err));
    PITH__TRY(encode(form, PITH__GIST_MIDDLE_TEXT, sizeof PITH__GIST_MIDDLE_TEXT - 1, arena,
                     &middle, err));
    PITH__TRY(pith__arena_alloc(arena, tokens.count + middle.count + 1, sizeof *ids, &ids, err));
    size_t n = 0;
    ids[n++] = pith__tokenizer_bos(form->tokenizer);
    bool has_word = false;
    for (size_t i = 0; i < tokens.count && !has_word; i++) {
        ids[n++] = tokens.items[i].id;
        has_word = tokens.items[i].end > sizeof PITH__GIST_PREFIX_TEXT - 1;
    }
    for (size_t i = 0; i < middle.count; i++) {
        ids[n++] = middle.items[i].id;
    }
    out->text = ids;
    out->n_text = n;
    return PITH_OK;
}

/* Whether `all` begins with the very tokens of `some`. */
static bool begins_with(const pith__tokens *all, const pith__tokens *some)
{
    bool same = some->count <= all->count;
    for (size_t i = 0; i < some->count && same; i++) {
        same = all->items[i].id == some->items[i].id && all->items[i].end == some->items[i].end;
    }
    return same;
}

/* Where the input stands in the suffix, and what is left of it. */
typedef struct suffix {
    pith__tokens tokens;
    size_t input_start; /* bytes of the suffix */
    size_t input_size;
} suffix;

/*
 * Suffix and output as one text, if the suffix alone has the same tokens as its part of it; else
 * each for itself: what is learned must follow what is given.
 */
static pith_status encode_rest(const pith__triple_form *form, const pith__triple *triple,
                               size_t input_size, pith__arena *arena, suffix *s,
                               pith__triple_ids *out, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(arena);
    const pith__token_text input = {triple->input.data, input_size};
    pith__buf text;
    pith__tokens all;
    pith__buf_init(&text, &mem, SIZE_MAX / 2);
    PITH__TRY(pith__gist_suffix(PITH__GIST_SUFFIX_TEXT, input, &text, err));
    const size_t start = text.size;
    PITH__TRY(encode(form, text.data, start, arena, &s->tokens, err));
    PITH__TRY(pith__buf_append(&text, " ", 1, err));
    PITH__TRY(pith__buf_append(&text, triple->output.data, triple->output.size, err));
    PITH__TRY(encode(form, text.data, text.size, arena, &all, err));
    size_t first = s->tokens.count;
    if (!begins_with(&all, &s->tokens)) {
        PITH__TRY(encode(form, text.data + start, text.size - start, arena, &all, err));
        first = 0;
    }
    s->input_start = (size_t)(strstr(PITH__GIST_SUFFIX_TEXT, INPUT) - PITH__GIST_SUFFIX_TEXT);
    s->input_size = input_size;
    PITH__TRY(copy_ids(&s->tokens, 0, s->tokens.count, arena, &out->suffix, &out->n_suffix, err));
    return copy_ids(&all, first, all.count, arena, &out->output, &out->n_output, err);
}

/* How much of the input is left without its last `excess` tokens; less than before. */
static size_t cut_input(const suffix *s, pith__token_text input, size_t excess)
{
    const size_t end = s->input_start + s->input_size;
    size_t i = s->tokens.count;
    while (i > 0 && s->tokens.items[i - 1].start >= end) {
        i--; /* of what follows the input */
    }
    const size_t at = i < excess ? 0 : s->tokens.items[i - excess].start;
    size_t size = at > s->input_start ? at - s->input_start : 0;
    while (!pith__utf8_is_boundary(input.data, input.size, size)) {
        size--;
    }
    return size;
}

/* The instruction's end, and the output's, if the input's was not enough. */
static pith_status cut_rest(const pith__triple_form *form, pith__triple_ids *ids, pith_error *err)
{
    const size_t fixed = form->slots + ids->n_suffix;
    if (fixed >= form->length) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "samples of %zu tokens have no room for %u gist tokens and what stands "
                          "around them",
                          form->length, form->slots);
    }
    if (ids->n_text > form->length - fixed) {
        ids->n_text = form->length - fixed;
    }
    const size_t predicted = form->length - fixed - ids->n_text + 1; /* output and end */
    ids->ends = ids->n_output < predicted;
    if (!ids->ends) {
        ids->n_output = predicted;
    }
    return PITH_OK;
}

pith_status pith__triple_encode(const pith__triple_form *form, const pith__triple *triple,
                                pith__arena *arena, pith__triple_ids *out, pith_error *err)
{
    *out = (pith__triple_ids){0};
    PITH__TRY(form->condition == PITH__GIST_TFIDF
                  ? encode_keyword(form, triple->instruction, arena, out, err)
                  : encode_instruction(form, triple->instruction, arena, out, err));
    suffix s;
    PITH__TRY(encode_rest(form, triple, triple->input.size, arena, &s, out, err));
    for (;;) {
        const size_t rows = out->n_text + form->slots + out->n_suffix + out->n_output;
        if (rows <= form->length || s.input_size == 0) {
            return cut_rest(form, out, err);
        }
        const size_t size = cut_input(&s, triple->input, rows - form->length);
        PITH__TRY(encode_rest(form, triple, size, arena, &s, out, err));
    }
}

/* ---- samples ---------------------------------------------------------------------------------- */

/* The id at `row`, of all that is read or predicted. */
static uint32_t id_at(const pith__triple_form *form, const pith__triple_ids *ids, size_t row)
{
    if (row < ids->n_text) {
        return ids->text[row];
    }
    row -= ids->n_text;
    if (row < form->slots) {
        return PITH__NO_ID;
    }
    row -= form->slots;
    if (row < ids->n_suffix) {
        return ids->suffix[row];
    }
    row -= ids->n_suffix;
    return row < ids->n_output ? ids->output[row] : pith__document_end(form->tokenizer);
}

void pith__triple_sample(const pith__triple_form *form, const pith__triple_ids *ids,
                         pith__sample *sample, uint32_t *first)
{
    const size_t start = ids->n_text + form->slots + ids->n_suffix; /* of the output */
    const size_t last = form->slots == 0 ? 0 : ids->n_text + form->slots - 1;
    sample->length = start + ids->n_output - (ids->ends ? 0 : 1);
    sample->first = first;
    for (size_t i = 0; i < sample->length; i++) {
        sample->ids[i] = id_at(form, ids, i);
        sample->targets[i] = i + 1 < start ? PITH__NO_TARGET : id_at(form, ids, i + 1);
        sample->documents[i] = 0;
        sample->positions[i] = (uint32_t)i;
        first[i] = form->slots == 0
                       ? 0
                       : (uint32_t)pith__gist_first_seen(form->condition, ids->n_text, last, i);
    }
}
