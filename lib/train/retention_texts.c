/*
 * retention_texts.c: the texts to be repeated and the questions to be answered: which ones are taken of
 * those that are there.
 */
#include "train/retention.h"

#include <string.h>

#define STREAM_OF_FIRSTS UINT64_C(0x72657461696e01)
#define STREAM_OF_PLACES UINT64_C(0x72657461696e02)

typedef struct origins {
    pith__retention_origin *items;
    size_t count, capacity;
} origins;

typedef struct shelves {
    pith__retention_loader loader;
    pith__arena arena;      /* of what is found in the files */
    pith__source *sources;  /* (n_sources) open ones */
    pith__pair_file *files; /* (n_files) open ones */
    size_t n_sources, n_files;
    origins texts, questions;
} shelves;

/* ---- what there is ----------------------------------------------------------------------------- */

static pith_status add(shelves *s, origins *to, pith__retention_origin one, pith_error *err)
{
    const pith_allocator mem = pith__arena_allocator(&s->arena);
    PITH__TRY(pith__grow(&mem, &to->items, &to->capacity, to->count + 1, sizeof *to->items, err));
    to->items[to->count++] = one;
    return PITH_OK;
}

static pith_status open_source(shelves *s, const char *path, pith_error *err)
{
    const uint32_t every = s->loader.settings->held_out_every;
    pith__source *source = &s->sources[s->n_sources];
    PITH__TRY(pith__source_open(path, 1.0, every, &s->arena.mem, source, err));
    s->n_sources++;
    const pith__document *documents = every == 0 ? source->training : source->held_out;
    const size_t count = every == 0 ? source->n_training : source->n_held_out;
    for (size_t i = 0; i < count; i++) {
        const char *data = (const char *)source->file.data + documents[i].start;
        const pith__token_text text = {data, documents[i].end - documents[i].start};
        PITH__TRY(add(s, &s->texts, (pith__retention_origin){.document = text}, err));
    }
    return PITH_OK;
}

/* A question without an answer is a mistake, and so is the reverse. */
static pith_status add_line(shelves *s, const pith__pair_file *file, pith__pair line,
                            pith_error *err)
{
    pith__token_text texts[PITH__RETENTION_MEMBERS];
    pith__arena_reset(&s->loader.scratch);
    PITH__TRY(pith__pair_texts(file, line, pith__retention_members, PITH__RETENTION_MEMBERS,
                               &s->loader.scratch, texts, err));
    const bool asks = texts[PITH__RETENTION_QUESTION].size > 0;
    if (texts[PITH__RETENTION_CONTEXT].size == 0) {
        return pith__pair_fail(file, line, PITH_E_CORRUPT, "an empty context", err);
    }
    if (asks != (texts[PITH__RETENTION_ANSWER].size > 0)) {
        return pith__pair_fail(file, line, PITH_E_CORRUPT,
                               "one of question and answer is there, the other one is not", err);
    }
    return add(s, asks ? &s->questions : &s->texts,
               (pith__retention_origin){.file = file, .line = line}, err);
}

static pith_status open_lines(shelves *s, const char *path, pith_error *err)
{
    const uint32_t every = s->loader.settings->held_out_every;
    pith__pair_file *file = &s->files[s->n_files];
    PITH__TRY(pith__pair_lines_open(path, pith__retention_members, PITH__RETENTION_MEMBERS, every,
                                    &s->arena.mem, file, err));
    s->n_files++;
    const pith__pair *lines = every == 0 ? file->training : file->held_out;
    const size_t count = every == 0 ? file->n_training : file->n_held_out;
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(add_line(s, file, lines[i], err));
    }
    return PITH_OK;
}

static pith_status open_all(shelves *s, pith_error *err)
{
    const pith__retention_settings *settings = s->loader.settings;
    const size_t n_sources = settings->n_sources;
    const size_t n_files = settings->n_questions;
    PITH__TRY(pith__arena_alloc(&s->arena, n_sources, sizeof *s->sources, &s->sources, err));
    PITH__TRY(pith__arena_alloc(&s->arena, n_files, sizeof *s->files, &s->files, err));
    for (size_t i = 0; i < n_sources; i++) {
        PITH__TRY(open_source(s, settings->sources[i].path, err));
    }
    for (size_t i = 0; i < n_files; i++) {
        PITH__TRY(open_lines(s, settings->questions[i], err));
    }
    if (s->texts.count + s->questions.count == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "%s",
                          n_sources + n_files == 0
                              ? "no texts and no questions to read"
                              : "no text and no question is held out: held-out-every 0 reads all");
    }
    return PITH_OK;
}

/* ---- which of it --------------------------------------------------------------------------------- */

/*
 * What there is is cut into `total` stretches, of which each gives one: the first, from a random one of
 * them on, that has `length` tokens, else the longest.
 */
static pith_status choose(shelves *s, const origins *from, size_t i, size_t total, size_t length,
                          size_t *chosen, pith_error *err)
{
    const uint64_t seed = s->loader.settings->seed;
    const size_t first = i * from->count / total;
    const size_t count = (i + 1) * from->count / total - first;
    const size_t shift = (size_t)(pith__random(seed, STREAM_OF_FIRSTS, i) % count);
    size_t longest = 0;
    *chosen = first + shift;
    for (size_t k = 0; k < count && longest < length; k++) {
        const size_t at = first + (shift + k) % count;
        pith__wording words;
        pith__arena_reset(&s->loader.scratch);
        PITH__TRY(pith__retention_words(&s->loader, &from->items[at], length,
                                        pith__random(seed, STREAM_OF_PLACES, at), &words, err));
        if (words.count > longest) {
            longest = words.count;
            *chosen = at;
        }
    }
    return PITH_OK;
}

static pith_status read_one(shelves *s, const pith__retention_list *list, size_t i, pith_error *err)
{
    const bool repeats = list->task == PITH__TASK_REPEAT;
    const origins *from = repeats ? &s->texts : &s->questions;
    pith__retention_text *out = &list->items[i];
    size_t chosen = 0;
    PITH__TRY(choose(s, from, i, list->count, repeats ? list->length : 0, &chosen, err));
    pith__arena_reset(&s->loader.scratch);
    if (!repeats) {
        return pith__retention_read_question(&s->loader, &from->items[chosen], list->length, out,
                                             err);
    }
    const uint64_t place = pith__random(s->loader.settings->seed, STREAM_OF_PLACES, chosen);
    return pith__retention_read_text(&s->loader, &from->items[chosen], list->length, place, out,
                                     err);
}

static pith_status read_list(shelves *s, pith__retention_list *list, pith_error *err)
{
    const size_t there = list->task == PITH__TASK_REPEAT ? s->texts.count : s->questions.count;
    const size_t wanted = s->loader.settings->texts;
    list->count = wanted < there ? wanted : there;
    PITH__TRY(pith__arena_alloc_zero(s->loader.arena, list->count, sizeof *list->items,
                                     &list->items, err));
    for (size_t i = 0; i < list->count; i++) {
        PITH__TRY(read_one(s, list, i, err));
    }
    return PITH_OK;
}

/* ---- lists --------------------------------------------------------------------------------------- */

static pith_status read_texts(shelves *s, uint32_t length, pith__retention_list *list,
                              pith_error *err)
{
    if (2 * ((size_t)length + 1) > s->loader.context) {
        return pith__fail(err, PITH_E_CONTEXT,
                          "a text of %u tokens and its repetition, each after BOS: the model's "
                          "context is %zu",
                          length, s->loader.context);
    }
    *list = (pith__retention_list){.task = PITH__TASK_REPEAT, .length = length};
    return read_list(s, list, err);
}

static pith_status read_lists(shelves *s, pith__retention_list *lists, size_t *count,
                              pith_error *err)
{
    const pith__retention_settings *settings = s->loader.settings;
    uint32_t longest = 0;
    for (size_t i = 0; i < settings->n_lengths; i++) {
        const uint32_t length = settings->lengths[i];
        longest = length > longest ? length : longest;
        if (s->texts.count > 0) {
            PITH__TRY(read_texts(s, length, &lists[*count], err));
            ++*count;
        }
    }
    if (s->questions.count > 0) {
        lists[*count] = (pith__retention_list){.task = PITH__TASK_ANSWER, .length = longest};
        PITH__TRY(read_list(s, &lists[*count], err));
        ++*count;
    }
    return PITH_OK;
}

static pith_status read_all(shelves *s, pith__retention_list **lists, size_t *count,
                            pith_error *err)
{
    PITH__TRY(pith__retention_make_format(&s->loader, err));
    PITH__TRY(open_all(s, err));
    PITH__TRY(pith__arena_alloc(s->loader.arena, s->loader.settings->n_lengths + 1, sizeof **lists,
                                lists, err));
    return read_lists(s, *lists, count, err);
}

pith_status pith__retention_read(const pith__retention_settings *settings,
                                 const pith__tokenizer *tokenizer, uint32_t context,
                                 pith__arena *arena, pith__retention_list **lists, size_t *count,
                                 pith_error *err)
{
    shelves s = {
        .loader = {
            .settings = settings, .tokenizer = tokenizer, .context = context, .arena = arena}};
    *lists = NULL;
    *count = 0;
    pith__arena_init(&s.arena, &arena->mem);
    pith__arena_init(&s.loader.scratch, &arena->mem);
    const pith_status status = read_all(&s, lists, count, err);
    for (size_t i = 0; i < s.n_sources; i++) {
        pith__source_close(&s.sources[i]);
    }
    for (size_t i = 0; i < s.n_files; i++) {
        pith__pair_file_close(&s.files[i]);
    }
    pith__arena_deinit(&s.loader.scratch);
    pith__arena_deinit(&s.arena);
    return status;
}
