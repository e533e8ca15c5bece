/*
 * compressor_samples.c: exercises: what is compressed, what the frozen model reads instead, and
 * what it is to say then.
 *
 *     repeat      memory BOS text EOS (Li, Su & Collier 2024, pretraining; ICAE's auto-encoding)
 *     continue    memory, what follows the text (ICAE's language modelling)
 *     answer      memory question answer EOS (fine-tuning of both, SelfCP)
 *
 * SelfCP has BOS before everything, and strategies (Gao, Cao & Li 2024) that leave a part of the text as
 * it is, or read it segment by segment. There, what is repeated is the part that was compressed.
 */
#include "train/compressor.h"

const char *pith__exercise_task_name(pith__exercise_task task)
{
    static const char *const names[] = {[PITH__EXERCISE_REPEAT] = "repeat",
                                        [PITH__EXERCISE_CONTINUE] = "continue",
                                        [PITH__EXERCISE_ANSWER] = "answer"};
    return names[task];
}

const char *pith__strategy_name(pith__strategy strategy)
{
    static const char *const names[] = {[PITH__STRATEGY_LINEAR] = "linear",
                                        [PITH__STRATEGY_FORMER] = "former",
                                        [PITH__STRATEGY_LATTER] = "latter",
                                        [PITH__STRATEGY_CONCATENATED] = "concatenated",
                                        [PITH__STRATEGY_RECURSIVE] = "recursive"};
    return names[strategy];
}

double pith__strategy_weight(const pith__selfcp_mix *mix, pith__strategy strategy)
{
    const double weights[] = {[PITH__STRATEGY_LINEAR] = mix->linear,
                              [PITH__STRATEGY_FORMER] = mix->former,
                              [PITH__STRATEGY_LATTER] = mix->latter,
                              [PITH__STRATEGY_CONCATENATED] = mix->concatenated,
                              [PITH__STRATEGY_RECURSIVE] = mix->recursive};
    return weights[strategy];
}

unsigned pith__exercise_folds(const pith__compressor_shape *shape, size_t tokens)
{
    size_t most = shape->method == PITH__COMPRESSOR_SELFCP ? tokens / shape->ratio : shape->slots;
    unsigned folds = 1;
    for (; shape->elastic && most > 1; most /= 2) {
        folds++;
    }
    return folds;
}

/* ---- parts of a text --------------------------------------------------------------------------- */

typedef struct part {
    const uint32_t *ids;
    size_t count;
} part;

/* A text as its strategy has it: one of `before` and `after` may be read as it is. */
typedef struct cut_text {
    part before, compressed, after;
} cut_text;

static cut_text cut(const pith__exercise *exercise, pith__strategy strategy)
{
    const uint32_t *ids = exercise->text;
    const size_t count = exercise->n_text;
    const size_t half = count / 2;
    cut_text out = {.compressed = {ids, count}};
    if (strategy == PITH__STRATEGY_FORMER && half > 0) {
        out.compressed.count = half;
        out.after = (part){ids + half, count - half};
    } else if (strategy == PITH__STRATEGY_LATTER && half > 0) {
        out.before = (part){ids, half};
        out.compressed = (part){ids + half, count - half};
    }
    return out;
}

/* ---- segments ------------------------------------------------------------------------------------ */

static uint32_t slots_of(const pith__exercise_form *form, size_t count)
{
    const pith__compressor_shape *shape = form->shape;
    const size_t most =
        shape->method == PITH__COMPRESSOR_SELFCP ? count / shape->ratio : shape->slots;
    return most < form->fold ? 1 : (uint32_t)(most / form->fold);
}

static pith_status make_segments(const pith__exercise_form *form, part text, part asked,
                                 pith__arena *arena, pith__memory_sample *out, pith_error *err)
{
    const bool carries =
        form->strategy == PITH__STRATEGY_CONCATENATED || form->strategy == PITH__STRATEGY_RECURSIVE;
    size_t n = pith__compressor_segments(form->shape, text.count);
    n = carries && n < 2 && text.count > 1 ? 2 : n;
    pith__memory_segment *segments = NULL;
    PITH__TRY(pith__arena_alloc(arena, n, sizeof *segments, &segments, err));
    for (size_t i = 0; i < n; i++) {
        const size_t start = i * text.count / n;
        const size_t end = (i + 1) * text.count / n;
        segments[i] = (pith__memory_segment){.before = asked.ids,
                                             .n_before = asked.count,
                                             .ids = text.ids + start,
                                             .count = end - start,
                                             .slots = slots_of(form, end - start),
                                             .carries = carries && i > 0};
    }
    out->segments = segments;
    out->n_segments = n;
    return PITH_OK;
}

/* ---- what is read, and what is said ------------------------------------------------------------------ */

/* What is said: `read`, then `said`, which is learned, and EOS if it ends. */
typedef struct speech {
    part read, said;
    bool ends;
} speech;

static speech speech_of(const pith__exercise_form *form, const pith__exercise *exercise)
{
    const cut_text text = cut(exercise, form->strategy);
    switch (exercise->task) {
    case PITH__EXERCISE_CONTINUE:
        return (speech){.said = {exercise->told, exercise->n_told}, .ends = exercise->told_ends};
    case PITH__EXERCISE_ANSWER:
        return (speech){.read = {exercise->asked, exercise->n_asked},
                        .said = {exercise->told, exercise->n_told},
                        .ends = exercise->told_ends};
    case PITH__EXERCISE_REPEAT:
    case PITH__EXERCISE_TASKS:
    default:
        return (speech){.read = {form->bos, 1},
                        .said = text.compressed,
                        .ends = exercise->text_ends && text.after.count == 0};
    }
}

/* Number `i` of what is said, the end included. */
static uint32_t said_at(const pith__exercise_form *form, const speech *s, size_t i)
{
    return i < s->said.count               ? s->said.ids[i]
           : i == s->said.count && s->ends ? form->end
                                           : PITH__NO_TARGET;
}

static pith_status make_speech(const pith__exercise_form *form, const speech *s, pith__arena *arena,
                               pith__memory_piece *out, pith_error *err)
{
    const size_t all = s->read.count + s->said.count;
    const size_t rows = all == 0 || s->ends ? all : all - 1; /* the last one is only predicted */
    uint32_t *ids = NULL;
    uint32_t *targets = NULL;
    PITH__TRY(pith__arena_alloc(arena, rows, sizeof *ids, &ids, err));
    PITH__TRY(pith__arena_alloc(arena, rows, sizeof *targets, &targets, err));
    for (size_t i = 0; i < rows; i++) {
        ids[i] = i < s->read.count ? s->read.ids[i] : s->said.ids[i - s->read.count];
        targets[i] =
            i + 1 < s->read.count ? PITH__NO_TARGET : said_at(form, s, i + 1 - s->read.count);
    }
    *out = (pith__memory_piece){
        .ids = ids, .targets = targets, .count = rows, .last_target = PITH__NO_TARGET};
    return PITH_OK;
}

/* The last row of a piece of ids predicts `target`. */
static pith_status aim(pith__memory_piece *piece, uint32_t target, pith__arena *arena,
                       pith_error *err)
{
    uint32_t *targets = NULL;
    PITH__TRY(pith__arena_alloc(arena, piece->count, sizeof *targets, &targets, err));
    for (size_t i = 0; i < piece->count; i++) {
        targets[i] = i + 1 < piece->count ? PITH__NO_TARGET : target;
    }
    piece->targets = targets;
    return PITH_OK;
}

static void add_ids(pith__memory_piece *pieces, size_t *n, part ids)
{
    if (ids.count > 0) {
        pieces[(*n)++] = (pith__memory_piece){
            .ids = ids.ids, .count = ids.count, .last_target = PITH__NO_TARGET};
    }
}

static void add_memory(const pith__exercise_form *form, const pith__memory_sample *sample,
                       pith__memory_piece *pieces, size_t *n)
{
    const bool only_last = form->strategy == PITH__STRATEGY_RECURSIVE && sample->n_segments > 0;
    for (size_t i = only_last ? sample->n_segments - 1 : 0; i < sample->n_segments; i++) {
        pieces[(*n)++] = (pith__memory_piece){.segment = i, .last_target = PITH__NO_TARGET};
    }
}

/*
 * If nothing is read in between, what stands before predicts the first thing that is said. To
 * compare conditions, only text may: a memory that is left out predicts nothing, keys and values
 * have no row to do it.
 */
static pith_status aim_before(const pith__exercise_form *form, const speech *s, bool after_text,
                              pith__memory_piece *last, pith__arena *arena, pith_error *err)
{
    const uint32_t target = said_at(form, s, 0);
    if (s->read.count > 0 || (form->compares && !after_text)) {
        return PITH_OK;
    }
    if (last->ids != NULL) {
        return aim(last, target, arena, err);
    }
    if (form->shape->method != PITH__COMPRESSOR_500X) {
        last->last_target = target;
    }
    return PITH_OK;
}

pith_status pith__exercise_sample(const pith__exercise_form *form, const pith__exercise *exercise,
                                  const pith__exercise *memory, pith__arena *arena,
                                  pith__memory_sample *out, pith_error *err)
{
    const bool selfcp = form->shape->method == PITH__COMPRESSOR_SELFCP;
    const cut_text text = cut(exercise, form->strategy);
    const speech s = speech_of(form, exercise);
    const part asked = {exercise->asked, form->conditional ? exercise->n_asked : 0};
    *out = (pith__memory_sample){0};
    if (memory != NULL) {
        const part compressed = cut(memory, form->strategy).compressed;
        PITH__TRY(make_segments(form, compressed, asked, arena, out, err));
    }
    pith__memory_piece *pieces = NULL;
    PITH__TRY(pith__arena_alloc(arena, out->n_segments + 4, sizeof *pieces, &pieces, err));
    size_t n = 0;
    /* without a memory the model begins as it always does */
    add_ids(pieces, &n,
            (part){form->bos, selfcp || (memory == NULL && s.read.ids != form->bos) ? 1 : 0});
    add_ids(pieces, &n, text.before);
    add_memory(form, out, pieces, &n);
    add_ids(pieces, &n, text.after);
    if (n > 0) {
        PITH__TRY(aim_before(form, &s, text.after.count > 0, &pieces[n - 1], arena, err));
    }
    PITH__TRY(make_speech(form, &s, arena, &pieces[n++], err));
    out->pieces = pieces;
    out->n_pieces = n;
    return PITH_OK;
}
