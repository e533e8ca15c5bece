/*
 * student.c: the model without the context: its passes, and the parameters that learn to stand for
 * the context.
 */
#include "train/distill.h"
#include "train/tuned.h"

#include <string.h>

/* Stream of random numbers. */
#define STREAM_OF_START UINT64_C(0x736f6674)

/* ---- the student's pass ---------------------------------------------------------------------- */

/* Row of the lessons' hidden states that belongs to the first token of list `i`. */
static const float *taught(const pith__lessons *from, size_t i, size_t width)
{
    return from->hidden + (from->lists.starts[i] - from->lists.starts[0]) * width;
}

size_t pith__pupil_rows(const pith__pupil *p, const pith__parameters *set)
{
    return p->before + set->rows(p->settings);
}

static pith_status allocate_student(const pith__pupil *p, pith__arena *arena, size_t rows,
                                    bool given, pith__student *out, pith_error *err)
{
    uint32_t **const arrays[] = {&out->ids, &out->positions, &out->documents, &out->chosen};
    const size_t row = p->width * sizeof(float);
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        PITH__TRY(pith__arena_alloc(arena, rows, sizeof(uint32_t), arrays[i], err));
    }
    PITH__TRY(pith__arena_alloc(arena, rows, sizeof *out->weight, &out->weight, err));
    PITH__TRY(pith__arena_alloc(arena, rows, row, &out->teacher, err));
    return given ? pith__arena_alloc(arena, rows, row, &out->embeddings, err) : PITH_OK;
}

/* The prediction at `row` is compared with the teacher's hidden state (d). */
static void compare(const pith__pupil *p, pith__student *out, size_t row, const float *teacher)
{
    out->chosen[out->n] = (uint32_t)row;
    out->weight[out->n] = 1.0f;
    memcpy(out->teacher + out->n * p->width, teacher, p->width * sizeof *teacher);
    out->n++;
}

/* [BOS], the given rows, and list `i` at row out->rows. */
static void place(const pith__pupil *p, const pith__parameters *set, const pith__lessons *from,
                  size_t i, uint32_t document, bool first_token, pith__student *out)
{
    const size_t before = pith__pupil_rows(p, set);
    const size_t count = pith__list_count(&from->lists, i);
    const uint32_t *x = pith__list_ids(&from->lists, i);
    const float *teacher = taught(from, i, p->width);
    for (size_t r = 0; r < before + count; r++) {
        const size_t row = out->rows + r;
        out->ids[row] = r >= before     ? x[r - before]
                        : r < p->before ? p->settings->bos
                                        : PITH__NO_ID;
        out->positions[row] = (uint32_t)r;
        out->documents[row] = document;
        if (r >= before) {
            compare(p, out, row, teacher + (r - before) * p->width);
        } else if (first_token && r + 1 == before) {
            compare(p, out, row, p->last);
        }
    }
    out->rows += before + count;
}

/* The lists `numbers` (n) of `from` side by side. */
static pith_status make_student(const pith__pupil *p, const pith__parameters *set,
                                const pith__lessons *from, const size_t *numbers, size_t n,
                                bool first_token, pith__arena *arena, pith__student *out,
                                pith_error *err)
{
    *out = (pith__student){0};
    size_t rows = 0;
    for (size_t i = 0; i < n; i++) {
        rows += pith__pupil_rows(p, set) + pith__list_count(&from->lists, numbers[i]);
    }
    PITH__TRY(allocate_student(p, arena, rows, set->rows(p->settings) > 0, out, err));
    for (size_t i = 0; i < n; i++) {
        place(p, set, from, numbers[i], (uint32_t)i, first_token, out);
    }
    out->input =
        (pith__pass_input){.rows = out->rows,
                           .ids = out->ids,
                           .embeddings = out->embeddings,
                           .positions = out->positions,
                           .mask = {.rule = PITH__MASK_DOCUMENTS, .documents = out->documents},
                           .recompute = p->settings->run.recompute};
    return PITH_OK;
}

/* The divergence of the student's predictions, summed; its gradient is added to `gradient`, or NULL. */
static pith_status run_student(const pith__pupil *p, const pith__parameters *set, pith__student *s,
                               pith__kl_direction direction, const pith__tensor_ctx *ctx,
                               float *gradient, double *out, pith_error *err)
{
    pith__pass *pass = NULL;
    float *d_hidden = NULL;
    PITH__TRY(pith__pass_forward(p->model, ctx, &s->input, &pass, err));
    if (gradient != NULL) {
        PITH__TRY(
            pith__arena_alloc_zero(ctx->arena, s->rows, p->width * sizeof(float), &d_hidden, err));
    }
    const pith__loss loss = {.model = p->model,
                             .ctx = ctx,
                             .hidden = pith__pass_hidden(pass),
                             .n = s->n,
                             .rows = s->chosen,
                             .weight = s->weight,
                             .d_hidden = d_hidden};
    PITH__TRY(pith__loss_kl(&loss, p->model, s->teacher, direction, 1.0f, out, err));
    if (gradient == NULL) {
        return PITH_OK;
    }
    s->gradients.d_hidden = d_hidden;
    s->gradients.sink = (pith__sink){p->learned->values, gradient, p->learned->count};
    PITH__TRY(pith__pass_backward(pass, &s->gradients, err));
    if (set->back != NULL) {
        set->back(p, s, gradient);
    }
    return PITH_OK;
}

size_t pith__pupil_bytes(const pith__pupil *p, size_t rows)
{
    const size_t row = 4 * p->width + 8; /* teacher, embeddings, two gradients; numbers of rows */
    return pith__pass_bytes(&p->model->config, rows, 0, p->settings->run.recompute) +
           rows * row * sizeof(float);
}

/* ---- parameters: none ------------------------------------------------------------------------ */

static size_t no_rows(const pith__distill_settings *settings)
{
    (void)settings;
    return 0;
}

static pith_status no_forward(const pith__pupil *p, pith__arena *arena, uint64_t dropout_seed,
                              pith__student *out, pith_error *err)
{
    (void)p;
    (void)arena;
    (void)dropout_seed;
    (void)out;
    (void)err;
    return PITH_OK;
}

/* The student without context, to compare with. */
const pith__parameters pith__parameters_none = {.rows = no_rows, .forward = no_forward};

/* ---- parameters: a soft prompt --------------------------------------------------------------- */

static size_t soft_rows(const pith__distill_settings *settings)
{
    return settings->slots;
}

/* Row `i` of m: the mean embedding of the i-th m-th of the context, or of the token nearest to it. */
static pith_status start_of_chunk(const pith__pupil *p, size_t i, float *scratch, float *row,
                                  pith_error *err)
{
    const size_t n = p->settings->n_context;
    const size_t m = p->settings->slots;
    const size_t first = i * n / m;
    const size_t end = (i + 1) * n / m;
    const size_t count = end > first ? end - first : 1; /* with more rows than tokens they repeat */
    memset(row, 0, p->width * sizeof *row);
    for (size_t t = first; t < first + count; t++) {
        PITH__TRY(pith__model_embedding(p->model, p->settings->context[t], scratch, err));
        for (size_t j = 0; j < p->width; j++) {
            row[j] += scratch[j] / (float)count;
        }
    }
    return PITH_OK;
}

static pith_status start_of_vocabulary(const pith__pupil *p, size_t i, float *row, pith_error *err)
{
    const uint64_t number = pith__random(p->settings->run.seed, STREAM_OF_START, i);
    return pith__model_embedding(p->model, (uint32_t)(number % p->model->config.vocabulary), row,
                                 err);
}

static pith_status soft_make(pith__pupil *p, pith_error *err)
{
    const pith__distill_settings *s = p->settings;
    float *scratch = NULL;
    PITH__TRY(pith__arena_alloc(p->kept, p->width, sizeof *scratch, &scratch, err));
    PITH__TRY(pith__weights_add(p->learned, "soft_prompt", PITH__WEIGHT_EMBEDDING, s->slots,
                                p->width, err));
    PITH__TRY(pith__weights_allocate(p->learned, err));
    for (size_t i = 0; i < s->slots; i++) {
        float *row = p->learned->values + i * p->width;
        PITH__TRY(s->start == PITH__SOFT_START_CHUNKS ? start_of_chunk(p, i, scratch, row, err)
                                                      : start_of_vocabulary(p, i, row, err));
    }
    return PITH_OK;
}

/* Which row of the soft prompt stands at row `r`. */
static size_t slot_at(const pith__pupil *p, const pith__student *s, size_t r)
{
    return s->positions[r] - p->before;
}

static pith_status soft_forward(const pith__pupil *p, pith__arena *arena, uint64_t dropout_seed,
                                pith__student *out, pith_error *err)
{
    (void)dropout_seed;
    const size_t row = p->width * sizeof(float);
    for (size_t r = 0; r < out->rows; r++) {
        if (out->ids[r] == PITH__NO_ID) {
            memcpy(out->embeddings + r * p->width,
                   p->learned->values + slot_at(p, out, r) * p->width, row);
        }
    }
    return pith__arena_alloc(arena, out->rows, row, &out->gradients.d_embeddings, err);
}

static void soft_back(const pith__pupil *p, const pith__student *from, float *gradient)
{
    for (size_t r = 0; r < from->rows; r++) {
        if (from->ids[r] == PITH__NO_ID) {
            p->model->ops->add(&(pith__tensor_ctx){.threads = 1},
                               gradient + slot_at(p, from, r) * p->width,
                               from->gradients.d_embeddings + r * p->width, p->width);
        }
    }
}

const pith__parameters pith__parameters_soft_prompt = {
    .rows = soft_rows, .make = soft_make, .forward = soft_forward, .back = soft_back};

/* ---- parameters: an adapter ------------------------------------------------------------------ */

static pith_status lora_make(pith__pupil *p, pith_error *err)
{
    const pith__distill_settings *s = p->settings;
    const pith__lora_settings *lora = &s->lora;
    PITH__TRY(pith__tuned_check(lora, NULL, err));
    PITH__TRY(pith__lora_layout(&p->model->config, lora->rank, lora->matrices, p->learned, err));
    PITH__TRY(pith__weights_allocate(p->learned, err));
    pith__lora_initialise(p->learned, s->run.seed);
    return pith__lora_of(&p->model->config, p->learned, (float)lora->alpha, (float)lora->dropout,
                         p->mem, &p->lora, err);
}

static pith_status lora_forward(const pith__pupil *p, pith__arena *arena, uint64_t dropout_seed,
                                pith__student *out, pith_error *err)
{
    (void)arena;
    (void)err;
    out->input.lora = &p->lora;
    out->input.dropout_seed = dropout_seed;
    return PITH_OK;
}

const pith__parameters pith__parameters_lora = {
    .rows = no_rows, .make = lora_make, .forward = lora_forward};

/* ---- one pass and its divergence ------------------------------------------------------------- */

static pith_status ask_once(const pith__pupil *p, const pith__question *q,
                            const pith__tensor_ctx *ctx, const size_t *numbers, size_t n,
                            float *gradient, double *nats, uint64_t *tokens, pith_error *err)
{
    pith__student s;
    double sum = 0.0;
    PITH__TRY(make_student(p, q->set, q->from, numbers, n, q->first_token, ctx->arena, &s, err));
    if (s.n == 0) {
        return PITH_OK; /* nothing but continuations without a token */
    }
    PITH__TRY(q->set->forward(p, ctx->arena, q->dropout_seed, &s, err));
    PITH__TRY(run_student(p, q->set, &s, q->direction, ctx, gradient, &sum, err));
    *nats += sum;
    *tokens += s.n;
    return PITH_OK;
}

pith_status pith__pupil_ask(const pith__pupil *p, const pith__question *q,
                            const pith__tensor_ctx *ctx, const size_t *numbers, size_t n,
                            float *gradient, double *nats, uint64_t *tokens, pith_error *err)
{
    const pith__arena_mark mark = pith__arena_save(ctx->arena);
    const pith_status status = ask_once(p, q, ctx, numbers, n, gradient, nats, tokens, err);
    pith__arena_restore(ctx->arena, mark);
    return status;
}
