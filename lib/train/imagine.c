/*
 * imagine.c: continuations that a model writes after a context: what it can be taught by without
 * any text (Snell, Klein & Zhong 2022).
 *
 * The context is read once. Continuations are written in batches, a token of each at a time; which of
 * them make a batch follows from the sizes alone, never from the threads. A token depends on
 * the seed, the continuation's number and its place in it.
 */
#include "train/distill.h"

#include "generate/generate.h"
#include "model/kv.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define STREAM_OF_DRAWS UINT64_C(0x696d6167696e65)

/* Continuations of a batch: products get faster with rows up to about so many ... */
#define BATCH_MAX ((size_t)64)

/* ... and each has a copy of the context's keys and values: bytes of a batch, unless it is of one. */
#define BATCH_BYTES ((size_t)128 << 20)

/* How far all batches are together. */
typedef struct course {
    pthread_t caller; /* the thread that may be told about it */
    atomic_size_t done;
    atomic_bool is_stopped;
} course;

typedef struct imagine {
    const pith__imagine_settings *settings;
    const pith__model *model;
    pith__kv context; /* all of the context but its last token */
    uint32_t last_id; /* that token */
    size_t count;     /* continuations */
    size_t length;
    size_t batch;
    pith__sampling sampling; /* seed: of all of them */
    uint32_t *ids;           /* (count, length) */
    size_t *lengths;         /* (count) */
    course *course;
    const pith_allocator *mem;
} imagine;

/* A batch in the making. The first `active` sequences are not at their end. */
typedef struct batch {
    const imagine *all;
    size_t count;
    size_t active;
    size_t *numbers;           /* (count) of the continuations, those at work first */
    uint32_t *next;            /* (count) ids to be read */
    pith__kv *caches;          /* (count) */
    pith__sequence *sequences; /* (count) */
    float *logits;             /* (count, vocabulary) */
    double *scores;            /* (vocabulary) */
} batch;

static pith_status copy_cache(const pith__kv *from, pith__kv *to, size_t more, pith_error *err)
{
    PITH__TRY(pith__kv_reserve(to, from->length + more, err));
    for (size_t l = 0; l < from->layers && from->length > 0; l++) {
        const size_t bytes = from->length * from->width * sizeof(float);
        memcpy(pith__kv_keys(to, l), pith__kv_keys(from, l), bytes);
        memcpy(pith__kv_values(to, l), pith__kv_values(from, l), bytes);
    }
    to->length = from->length;
    return PITH_OK;
}

static pith_status begin(batch *b, size_t first, pith__arena *arena, pith_error *err)
{
    const imagine *all = b->all;
    const size_t vocabulary = all->model->config.vocabulary;
    PITH__TRY(pith__arena_alloc(arena, b->count, sizeof *b->numbers, &b->numbers, err));
    PITH__TRY(pith__arena_alloc(arena, b->count, sizeof *b->next, &b->next, err));
    PITH__TRY(pith__arena_alloc(arena, b->count, sizeof *b->sequences, &b->sequences, err));
    PITH__TRY(pith__arena_alloc(arena, b->count, vocabulary * sizeof *b->logits, &b->logits, err));
    PITH__TRY(pith__arena_alloc(arena, vocabulary, sizeof *b->scores, &b->scores, err));
    for (size_t i = 0; i < b->count; i++) {
        b->numbers[i] = first + i;
        b->next[i] = all->last_id;
        PITH__TRY(copy_cache(&all->context, &b->caches[i], all->length, err));
    }
    b->active = b->count;
    return PITH_OK;
}

/* What all continuations at work expect next. */
static pith_status read_step(batch *b, const pith__tensor_ctx *ctx, pith_error *err)
{
    for (size_t i = 0; i < b->active; i++) {
        b->sequences[i] = (pith__sequence){
            .ids = &b->next[i], .count = 1, .position = b->caches[i].length, .kv = &b->caches[i]};
    }
    const pith__forward_outputs outputs = {.last_logits = b->logits};
    return pith__model_forward(b->all->model, ctx, b->sequences, b->active, &outputs, err);
}

static pith_status draw(const batch *b, size_t i, size_t place, pith__arena *scratch, uint32_t *id,
                        pith_error *err)
{
    const size_t vocabulary = b->all->model->config.vocabulary;
    pith__sampling sampling = b->all->sampling;
    sampling.seed = pith__random(sampling.seed, STREAM_OF_DRAWS, b->numbers[i]);
    for (size_t v = 0; v < vocabulary; v++) {
        b->scores[v] = (double)b->logits[i * vocabulary + v];
    }
    const pith__arena_mark mark = pith__arena_save(scratch);
    const pith_status status =
        pith__sample_token(&sampling, b->scores, vocabulary, NULL, 0, place, scratch, id, err);
    pith__arena_restore(scratch, mark);
    return status;
}

/* Takes sequence `i`, which has ended, out of the work; those behind it keep their order. */
static void retire(batch *b, size_t i)
{
    const pith__kv cache = b->caches[i];
    const size_t behind = b->active - i - 1;
    memmove(b->numbers + i, b->numbers + i + 1, behind * sizeof *b->numbers);
    memmove(b->next + i, b->next + i + 1, behind * sizeof *b->next);
    memmove(b->caches + i, b->caches + i + 1, behind * sizeof *b->caches);
    b->active--;
    b->caches[b->active] = cache; /* released with the others */
}

/* E_CANCELLED once the caller has said so. */
static pith_status check_stop(const imagine *all, pith_error *err)
{
    return atomic_load(&all->course->is_stopped)
               ? pith__fail(err, PITH_E_CANCELLED, "stopped while continuations were written")
               : PITH_OK;
}

static pith_status tell(const imagine *all, size_t tokens, pith_error *err)
{
    const pith__imagine_settings *s = all->settings;
    const size_t done = atomic_fetch_add(&all->course->done, tokens) + tokens;
    if (s->progress != NULL && pthread_equal(pthread_self(), all->course->caller) != 0 &&
        !s->progress(s->progress_user, "imagine", done, all->count * all->length)) {
        atomic_store(&all->course->is_stopped, true);
    }
    return check_stop(all, err);
}

/* One more token of each. */
static pith_status write_step(batch *b, size_t place, const pith__tensor_ctx *ctx, pith_error *err)
{
    const imagine *all = b->all;
    size_t done = b->active;
    PITH__TRY(read_step(b, ctx, err));
    for (size_t i = 0; i < b->active; i++) {
        PITH__TRY(draw(b, i, place, ctx->arena, &b->next[i], err));
    }
    for (size_t i = b->active; i-- > 0;) {
        if (b->next[i] == all->settings->end) {
            done += all->length - place - 1; /* that will never be */
            retire(b, i);
            continue;
        }
        const size_t number = b->numbers[i];
        all->ids[number * all->length + all->lengths[number]++] = b->next[i];
    }
    return tell(all, done, err);
}

static pith_status write_batch(batch *b, size_t first, const pith__tensor_ctx *ctx, pith_error *err)
{
    PITH__TRY(begin(b, first, ctx->arena, err));
    for (size_t place = 0; place < b->all->length && b->active > 0; place++) {
        PITH__TRY(write_step(b, place, ctx, err));
    }
    return PITH_OK;
}

static pith_status batch_part(void *user, const pith__tensor_ctx *ctx, size_t index,
                              pith_error *err)
{
    const imagine *all = user;
    const size_t first = index * all->batch;
    batch b = {.all = all};
    PITH__TRY(check_stop(all, err));
    b.count = all->count - first < all->batch ? all->count - first : all->batch;
    PITH__TRY(pith__arena_alloc(ctx->arena, b.count, sizeof *b.caches, &b.caches, err));
    for (size_t i = 0; i < b.count; i++) {
        pith__kv_init(&b.caches[i], all->model, all->mem);
    }
    const pith_status status = write_batch(&b, first, ctx, err);
    for (size_t i = 0; i < b.count; i++) {
        pith__kv_deinit(&b.caches[i]);
    }
    return status;
}

/* ---- all of them ----------------------------------------------------------------------------- */

/* Everything but the last token into the cache. */
static pith_status read_context(imagine *all, pith__arena *arena, pith_error *err)
{
    const pith__imagine_settings *s = all->settings;
    const size_t before = s->bos == PITH__NO_ID ? 0 : 1;
    uint32_t *ids = NULL;
    PITH__TRY(pith__arena_alloc(arena, before + s->n_context, sizeof *ids, &ids, err));
    ids[0] = s->bos; /* overwritten if there is none */
    memcpy(ids + before, s->context, s->n_context * sizeof *ids);
    all->last_id = ids[before + s->n_context - 1];
    const pith__tensor_ctx ctx = {.threads = pith__model_threads(all->model, before + s->n_context,
                                                                 s->threads == 0 ? 1 : s->threads),
                                  .arena = arena};
    const pith__sequence sequence = {
        .ids = ids, .count = before + s->n_context - 1, .kv = &all->context};
    return sequence.count == 0 ? PITH_OK
                               : pith__model_forward(all->model, &ctx, &sequence, 1,
                                                     &(pith__forward_outputs){0}, err);
}

/* One after the other, without the room behind those that ended early. */
static pith_status hand_out(const imagine *all, pith__arena *arena, pith__id_lists *out,
                            pith_error *err)
{
    size_t *starts = NULL;
    uint32_t *ids = NULL;
    PITH__TRY(pith__arena_alloc(arena, all->count + 1, sizeof *starts, &starts, err));
    starts[0] = 0;
    for (size_t i = 0; i < all->count; i++) {
        starts[i + 1] = starts[i] + all->lengths[i];
    }
    PITH__TRY(pith__arena_alloc(arena, starts[all->count], sizeof *ids, &ids, err));
    for (size_t i = 0; i < all->count; i++) {
        memcpy(ids + starts[i], all->ids + i * all->length, all->lengths[i] * sizeof *ids);
    }
    *out = (pith__id_lists){.ids = ids, .starts = starts, .count = all->count};
    return PITH_OK;
}

static pith_status write_all(imagine *all, pith__arena *scratch, pith_error *err)
{
    const size_t most = all->context.length + 1 + all->length;
    const size_t bytes = 2 * sizeof(float) * all->context.layers * all->context.width * most;
    const size_t fit = BATCH_BYTES / bytes;
    all->batch = fit < 1 ? 1 : fit < BATCH_MAX ? fit : BATCH_MAX;
    PITH__TRY(
        pith__arena_alloc(scratch, all->count, all->length * sizeof *all->ids, &all->ids, err));
    PITH__TRY(
        pith__arena_alloc_zero(scratch, all->count, sizeof *all->lengths, &all->lengths, err));
    return pith__each(all->settings->threads, (all->count + all->batch - 1) / all->batch,
                      batch_part, all, all->mem, err);
}

static pith_status check(const pith__imagine_settings *s, const pith__sampling *sampling,
                         pith_error *err)
{
    if (s->n_context == 0 || s->count == 0 || s->length == 0) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "%zu continuations of %zu tokens after a context of %zu: none may be 0",
                          s->count, s->length, s->n_context);
    }
    PITH__TRY(pith__sampling_check(sampling, err));
    return pith__distill_fits(s->model, s->bos, "a context", s->n_context, s->length, err);
}

pith_status pith__distill_imagine(const pith__imagine_settings *settings, pith__arena *arena,
                                  pith__id_lists *out, pith_error *err)
{
    *out = (pith__id_lists){0};
    const pith_allocator mem = arena->mem;
    pith__arena scratch;
    course together = {.caller = pthread_self()};
    imagine all = {.settings = settings,
                   .model = settings->model,
                   .count = settings->count,
                   .length = settings->length,
                   .sampling = {.temperature = settings->temperature,
                                .top_p = 1.0,
                                .repetition_penalty = 1.0,
                                .seed = settings->seed},
                   .course = &together,
                   .mem = &mem};
    PITH__TRY(check(settings, &all.sampling, err));
    pith__arena_init(&scratch, &mem);
    pith__kv_init(&all.context, all.model, &mem);
    pith_status status = read_context(&all, &scratch, err);
    if (status == PITH_OK) {
        status = write_all(&all, &scratch, err);
    }
    if (status == PITH_OK) {
        status = hand_out(&all, arena, out, err);
    }
    pith__kv_deinit(&all.context);
    pith__arena_deinit(&scratch);
    return status;
}
