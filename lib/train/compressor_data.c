/*
 * compressor_data.c: which texts and questions a compressor is trained with, and which it is
 * judged by. Everything about sample n is a function of the seed and n.
 */
#include "train/compressor.h"

#include "train/run.h"

#include <math.h>
#include <string.h>

/* Streams of random numbers. */
#define STREAM_OF_KINDS      UINT64_C(0x6578657263697301)
#define STREAM_OF_LENGTHS    UINT64_C(0x6578657263697302)
#define STREAM_OF_TASKS      UINT64_C(0x6578657263697303)
#define STREAM_OF_FOLDS      UINT64_C(0x6578657263697304)
#define STREAM_OF_STRATEGIES UINT64_C(0x6578657263697305)
#define STREAM_OF_CONDITIONS UINT64_C(0x6578657263697306)

/* Bytes of a token, about, for the length of an epoch. */
#define TOKEN_BYTES 4.0

/* ---- checks ------------------------------------------------------------------------------------ */

static bool is_share(double x)
{
    return x >= 0.0 && x <= 1.0;
}

static pith_status check_mix(const pith__compressor_settings *s, pith_error *err)
{
    double sum = 0.0;
    for (pith__strategy i = 0; i < PITH__STRATEGIES; i++) {
        const double weight = pith__strategy_weight(&s->mix, i);
        if (!(weight >= 0.0) || isinf(weight)) {
            return pith__fail(err, PITH_E_ARGUMENT, "strategy %s has weight %g",
                              pith__strategy_name(i), weight);
        }
        sum += weight;
    }
    const bool selfcp = s->shape.method == PITH__COMPRESSOR_SELFCP;
    return isfinite(sum) && (selfcp || sum == 0.0)
               ? PITH_OK
               : pith__fail(err, PITH_E_ARGUMENT, "strategies are for method selfcp");
}

pith_status pith__exercises_check(const pith__compressor_settings *s, pith_error *err)
{
    if (s->n_sources + s->n_questions == 0) {
        return pith__fail(err, PITH_E_ARGUMENT, "neither texts nor questions to train on");
    }
    if (s->shortest == 0 || s->run.length < 2 || s->shortest > s->run.length) {
        return pith__fail(err, PITH_E_ARGUMENT, "texts of %zu to %zu tokens", s->shortest,
                          s->run.length);
    }
    if (!is_share(s->continuation) || !is_share(s->question_share)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "shares of continuations %g and of questions %g: from 0 to 1",
                          s->continuation, s->question_share);
    }
    if (!is_share(s->conditional) ||
        (s->conditional > 0.0 && s->shape.method != PITH__COMPRESSOR_SELFCP)) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "a share of %g of the questions read first: from 0 to 1, and only by "
                          "method selfcp",
                          s->conditional);
    }
    PITH__TRY(check_mix(s, err));
    if (s->n_questions > 0 && strlen(s->format) >= PITH__COMPRESSOR_FORMAT) {
        return pith__fail(err, PITH_E_ARGUMENT, "a format of %zu bytes, at most %zu can be kept",
                          strlen(s->format), PITH__COMPRESSOR_FORMAT - 1);
    }
    const pith__pair_format format = pith__question_format(s);
    return s->n_questions == 0 ? PITH_OK : pith__pair_format_check(&format, err);
}

/* ---- what fits ------------------------------------------------------------------------------------ */

/* Tokens that there must be room for with a question and its answer. */
#define QUESTION_LEAST ((size_t)8)

/* Positions that the memory of a text of `length` tokens takes, or rows where those are more. */
static size_t memory_extent(const pith__compressor_settings *s, size_t segments)
{
    const pith__compressor_shape *shape = &s->shape;
    const size_t length = s->run.length;
    if (shape->method == PITH__COMPRESSOR_SELFCP) { /* behind BOS; half of it may be raw */
        const bool halves = s->mix.former > 0.0 || s->mix.latter > 0.0;
        const size_t raw = halves ? length - length / 2 : 0;
        return 1 + raw + (length - raw) / shape->ratio + segments;
    }
    const size_t slots = segments * shape->slots;
    if (shape->method == PITH__COMPRESSOR_ICAE || shape->mode == PITH__SLOTS_RELEASE) {
        return slots;
    }
    const size_t text = shape->pads ? segments * shape->window : length;
    return text + (shape->layout == PITH__SLOTS_END ? slots : 0);
}

static pith_status find_rows(pith__exercises *e, uint32_t context, pith_error *err)
{
    const pith__compressor_shape *shape = &e->settings->shape;
    const bool selfcp = shape->method == PITH__COMPRESSOR_SELFCP;
    const size_t length = e->settings->run.length;
    const size_t segments = pith__compressor_segments(shape, length) + (selfcp ? 1 : 0);
    const size_t slots = selfcp ? length / shape->ratio + segments : segments * shape->slots;
    const size_t extent = memory_extent(e->settings, segments);
    const size_t said = e->settings->n_sources > 0 ? length + 1 : QUESTION_LEAST;
    const size_t read =
        shape->window + (selfcp ? 1 + 2 * (shape->window / shape->ratio + 1) : shape->slots);
    if (read > context || extent + said > context) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "the length of %zu tokens is too much: %zu rows to compress, then %zu of "
                          "memory and %zu "
                          "to say, and the model's context is %u",
                          length, read, extent, said, context);
    }
    e->rows = (pith__exercise_rows){
        .encoder = (shape->pads ? segments * shape->window : length) + 2 * slots + segments,
        .slots = slots,
        .decoder = (selfcp ? length + 1 : 0) + slots + length + 1,
        .room = context - extent - 1,
        .asked = context - (selfcp && e->settings->conditional > 0.0 ? read : extent + 1)};
    return PITH_OK;
}

/* ---- texts ---------------------------------------------------------------------------------------- */

/* A document that has nothing to go on with is repeated. */
static pith__exercise exercise_of(const pith__passage *p, pith__exercise_task task)
{
    pith__exercise out = {.task = PITH__EXERCISE_REPEAT,
                          .text = p->ids,
                          .n_text = p->count,
                          .text_ends = p->ends && p->n_next == 0,
                          .bytes = p->bytes};
    if (task == PITH__EXERCISE_CONTINUE && p->n_next > 1) {
        out.task = task;
        out.told = p->next;
        out.n_told = p->n_next;
        out.told_ends = p->ends;
        out.bytes = p->next_bytes;
    }
    return out;
}

static pith_status draw_text(const pith__exercises *e, uint64_t n, pith__arena *arena,
                             pith__exercise *out, pith_error *err)
{
    const pith__compressor_settings *s = e->settings;
    const uint64_t seed = s->run.seed;
    const uint64_t lengths = s->run.length - s->shortest + 1;
    const size_t length =
        s->shortest + (size_t)(pith__random(seed, STREAM_OF_LENGTHS, n) % lengths);
    const bool goes_on = pith__random_unit(seed, STREAM_OF_TASKS, n) < s->continuation;
    pith__passage passage;
    PITH__TRY(pith__passages_draw(&e->passages, seed, n, length, goes_on ? length : 0, arena,
                                  &passage, err));
    *out = exercise_of(&passage, goes_on ? PITH__EXERCISE_CONTINUE : PITH__EXERCISE_REPEAT);
    return PITH_OK;
}

/* ---- samples ---------------------------------------------------------------------------------------- */

static bool is_question(const pith__exercises *e, uint64_t n)
{
    const pith__compressor_settings *s = e->settings;
    return e->n_sources == 0 ||
           (e->questions.n_files > 0 &&
            pith__random_unit(s->run.seed, STREAM_OF_KINDS, n) < s->question_share);
}

static pith__strategy draw_strategy(const pith__exercises *e, uint64_t n)
{
    const pith__selfcp_mix *mix = &e->settings->mix;
    double left = e->mix * pith__random_unit(e->settings->run.seed, STREAM_OF_STRATEGIES, n);
    pith__strategy last = PITH__STRATEGY_LINEAR;
    for (pith__strategy i = 0; i < PITH__STRATEGIES; i++) {
        const double weight = pith__strategy_weight(mix, i);
        if (weight > 0.0) {
            last = i;
            left -= weight;
        }
        if (left < 0.0) {
            break;
        }
    }
    return last;
}

pith_status pith__exercises_draw(pith__exercises *exercises, uint64_t n, pith__arena *arena,
                                 pith__memory_sample *out, pith_error *err)
{
    const pith__compressor_settings *s = exercises->settings;
    pith__exercise exercise;
    if (is_question(exercises, n)) {
        const pith__pair_file *file = NULL;
        const pith__pair line = pith__pair_set_at(&exercises->questions, s->run.seed, n, &file);
        PITH__TRY(pith__exercises_question(exercises, file, line, arena, &exercise, err));
    } else {
        PITH__TRY(draw_text(exercises, n, arena, &exercise, err));
    }
    const pith__strategy strategy = draw_strategy(exercises, n);
    const bool halves = strategy == PITH__STRATEGY_FORMER || strategy == PITH__STRATEGY_LATTER;
    const unsigned folds =
        pith__exercise_folds(&s->shape, halves ? exercise.n_text / 2 : exercise.n_text);
    const pith__exercise_form form = {
        .shape = &s->shape,
        .bos = &exercises->bos,
        .end = exercises->end,
        .conditional = pith__random_unit(s->run.seed, STREAM_OF_CONDITIONS, n) < s->conditional,
        .strategy = strategy,
        .fold = 1U << (pith__random(s->run.seed, STREAM_OF_FOLDS, n) % folds)};
    return pith__exercise_sample(&form, &exercise, &exercise, arena, out, err);
}

/* ---- what is held out --------------------------------------------------------------------------------- */

static pith_status hold_texts(pith__exercises *e, pith__exercise_task task, pith_error *err)
{
    const pith__compressor_settings *s = e->settings;
    const size_t next = task == PITH__EXERCISE_CONTINUE ? s->run.length : 0;
    pith__exercise *held = NULL;
    PITH__TRY(pith__arena_alloc(&e->kept, s->held_out, sizeof *held, &held, err));
    e->held_out[task] = held;
    for (size_t i = 0; i < s->held_out; i++) {
        pith__passage passage;
        bool found = false;
        PITH__TRY(pith__passages_held_out(&e->passages, i, s->held_out, s->run.length, next,
                                          &e->kept, &passage, &found, err));
        const pith__exercise exercise = found ? exercise_of(&passage, task) : (pith__exercise){0};
        if (found && exercise.task == task) {
            held[e->n_held_out[task]++] = exercise;
        }
    }
    return PITH_OK;
}

static size_t held_out_lines(const pith__pair_set *set)
{
    size_t count = 0;
    for (size_t i = 0; i < set->n_files; i++) {
        count += set->files[i].n_held_out;
    }
    return count;
}

/* Spread evenly over all files. */
static pith_status hold_questions(pith__exercises *e, pith_error *err)
{
    const pith__compressor_settings *s = e->settings;
    const size_t all = held_out_lines(&e->questions);
    const size_t count = all < s->held_out ? all : s->held_out;
    pith__exercise *held = NULL;
    PITH__TRY(pith__arena_alloc(&e->kept, count, sizeof *held, &held, err));
    e->held_out[PITH__EXERCISE_ANSWER] = held;
    for (size_t i = 0; i < count; i++) {
        size_t number = i * all / count;
        const pith__pair_file *file = e->questions.files;
        while (number >= file->n_held_out) {
            number -= file++->n_held_out;
        }
        PITH__TRY(
            pith__exercises_question(e, file, file->held_out[number], &e->kept, &held[i], err));
        e->n_held_out[PITH__EXERCISE_ANSWER]++;
    }
    return PITH_OK;
}

static pith_status hold_out(pith__exercises *e, pith_error *err)
{
    const pith__compressor_settings *s = e->settings;
    if (e->n_sources > 0 && s->continuation < 1.0) {
        PITH__TRY(hold_texts(e, PITH__EXERCISE_REPEAT, err));
    }
    if (e->n_sources > 0 && s->continuation > 0.0) {
        PITH__TRY(hold_texts(e, PITH__EXERCISE_CONTINUE, err));
    }
    return e->questions.n_files > 0 ? hold_questions(e, err) : PITH_OK;
}

/* ---- life -------------------------------------------------------------------------------------------- */

static pith_status open_texts(pith__exercises *e, pith_error *err)
{
    const pith__compressor_settings *s = e->settings;
    PITH__TRY(pith__alloc_zero(&e->mem, s->n_sources, sizeof *e->sources, &e->sources, err));
    for (; e->n_sources < s->n_sources; e->n_sources++) {
        const pith__train_source *from = &s->sources[e->n_sources];
        PITH__TRY(pith__source_open(from->path, from->weight, s->run.held_out_every, &e->mem,
                                    &e->sources[e->n_sources], err));
    }
    return pith__passages_init(e->sources, e->n_sources, e->tokenizer, &e->mem, &e->passages, err);
}

static pith_status open_all(pith__exercises *e, uint32_t context, pith_error *err)
{
    const pith__compressor_settings *s = e->settings;
    PITH__TRY(find_rows(e, context, err));
    if (s->n_sources > 0) {
        PITH__TRY(open_texts(e, err));
    }
    if (s->n_questions > 0) {
        e->format = pith__question_format(s);
        PITH__TRY(pith__pair_set_open(s->questions, s->n_questions, pith__question_members,
                                      PITH__QUESTION_MEMBERS, s->run.held_out_every, &e->mem,
                                      &e->questions, err));
    }
    return hold_out(e, err);
}

pith_status pith__exercises_open(const pith__compressor_settings *settings,
                                 const pith__tokenizer *tokenizer, uint32_t context,
                                 const pith_allocator *mem, pith__exercises *out, pith_error *err)
{
    *out = (pith__exercises){.settings = settings,
                             .mem = *mem,
                             .tokenizer = tokenizer,
                             .bos = pith__tokenizer_bos(tokenizer),
                             .end = pith__document_end(tokenizer)};
    for (pith__strategy i = 0; i < PITH__STRATEGIES; i++) {
        out->mix += pith__strategy_weight(&settings->mix, i);
    }
    pith__arena_init(&out->kept, mem);
    const pith_status status = open_all(out, context, err);
    if (status != PITH_OK) {
        pith__exercises_close(out);
    }
    return status;
}

void pith__exercises_close(pith__exercises *exercises)
{
    if (exercises->settings == NULL) {
        return;
    }
    pith__arena_deinit(&exercises->kept);
    pith__pair_set_close(&exercises->questions);
    pith__passages_deinit(&exercises->passages);
    for (size_t i = 0; i < exercises->n_sources; i++) {
        pith__source_close(&exercises->sources[i]);
    }
    if (exercises->sources != NULL) {
        pith__free(&exercises->mem, exercises->sources, exercises->settings->n_sources,
                   sizeof *exercises->sources);
    }
    *exercises = (pith__exercises){0};
}

/* ---- numbers of all of it ------------------------------------------------------------------------------ */

size_t pith__exercises_epoch(const pith__exercises *exercises)
{
    const pith__compressor_settings *s = exercises->settings;
    if (exercises->questions.n_files > 0) {
        const double share = exercises->n_sources == 0 ? 1.0 : s->question_share;
        const double lines = (double)exercises->questions.deck.count;
        return (size_t)(share > 0.0 ? lines / share : lines);
    }
    double bytes = 0.0;
    for (size_t i = 0; i < exercises->n_sources; i++) {
        bytes += (double)exercises->passages.ends[i][exercises->sources[i].n_training - 1];
    }
    const double tokens = 0.5 * (double)(s->shortest + s->run.length);
    return (size_t)(1.0 + bytes / TOKEN_BYTES / tokens);
}

uint64_t pith__exercises_fingerprint(const pith__exercises *exercises, uint64_t hash)
{
    for (size_t i = 0; i < exercises->n_sources; i++) {
        const pith__source *source = &exercises->sources[i];
        hash = pith__fingerprint(hash, &source->weight, sizeof source->weight);
        hash = pith__fingerprint(hash, &source->file.size, sizeof source->file.size);
        hash = pith__fingerprint(hash, source->file.data, source->file.size);
    }
    return pith__pair_set_fingerprint(&exercises->questions, hash);
}
