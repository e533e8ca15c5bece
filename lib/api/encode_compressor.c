/*
 * encode_compressor.c: a text into a capsule by a compressor: 500xCompressor, ICAE, SelfCP.
 */
#include "api/api.h"
#include "api/training.h"

#include <string.h>

/* A query may be long. */
#define RECORD_MAX ((size_t)1 << 24)

static pith_status check_compressor(const pith_ctx *ctx, pith_error *err)
{
    const pith_compressor *c = ctx->compressor;
    char method[PITH_VALUE_SIZE];
    PITH__TRY(pith__params_get(&ctx->params, "method", method, sizeof method, err));
    if (c == NULL) {
        return pith__fail(err, PITH_E_ARGUMENT,
                          "method %s needs a compressor: pith_ctx_set_compressor(), or 'pith "
                          "encode --compressor FILE'",
                          method);
    }
    const pith__compressor_method own = c->about.shape.method;
    return PITH__METHOD_500X + (int)own == ctx->params.method
               ? PITH_OK
               : pith__fail(err, PITH_E_MISMATCH, "method %s: that of the compressor is %s", method,
                            pith__compressor_method_name(own));
}

/*
 * Keys and values that stand where the text stood cannot stand for more than the model can see: the
 * text, pads, and slots that stand behind it.
 */
static pith_status check_positions(const pith_ctx *ctx, const pith__compress_input *input,
                                   pith_error *err)
{
    const pith__compressor_shape *shape = &ctx->compressor->about.shape;
    const size_t context = ctx->model->weights.config.context;
    const size_t segments = pith__compressor_segments(shape, input->count);
    const size_t slots = input->slots > 0 ? input->slots : shape->slots;
    size_t extent = shape->pads ? segments * shape->window : input->count;
    if (shape->layout == PITH__SLOTS_END) {
        extent += segments * slots;
    }
    size_t rows = segments * slots; /* that the capsule has */
    if (input->slots == 0 && shape->ratio > 0) {
        rows = input->count / input->compressor->shape.ratio;
    }
    if (rows >= context) {
        return pith__fail(err, PITH_E_CONTEXT,
                          "a text of %zu tokens becomes %zu virtual ones, the model's context is "
                          "%zu",
                          input->count, rows, context);
    }
    const bool takes_all = strcmp(pith__compressor_position_mode(shape), "continue") == 0;
    return !takes_all || extent <= context
               ? PITH_OK
               : pith__fail(err, PITH_E_CONTEXT,
                            "a text of %zu tokens takes %zu positions, the model's context is %zu: "
                            "in position mode continue a capsule stands for all of its text",
                            input->count, extent, context);
}

/* ---- the question ----------------------------------------------------------------------------- */

/*
 * As it was put in training, up to *end, where the answer began; the question alone if there was no
 * format. A letter stands for the answer: its first token had the blank before it, which is then no
 * token of the question.
 */
static pith_status render_query(const char *format, const char *query, pith__buf *out, size_t *end,
                                pith_error *err)
{
    const char *question = strstr(format, PITH__QUESTION_PLACE);
    const char *answer = question == NULL ? NULL : strstr(question, PITH__ANSWER_PLACE);
    if (answer == NULL) {
        PITH__TRY(pith__buf_append_text(out, query, err));
        *end = out->size;
        return PITH_OK;
    }
    const char *behind = question + sizeof PITH__QUESTION_PLACE - 1;
    PITH__TRY(pith__buf_append(out, format, (size_t)(question - format), err));
    PITH__TRY(pith__buf_append_text(out, query, err));
    PITH__TRY(pith__buf_append(out, behind, (size_t)(answer - behind), err));
    *end = out->size;
    return pith__buf_append_text(out, "A", err);
}

static pith_status query_ids(pith_ctx *ctx, pith__compress_input *input, pith_error *err)
{
    const char *query = ctx->params.query;
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    pith__buf text;
    pith__tokens tokens = {NULL, 0, 0};
    uint32_t *ids = NULL;
    size_t end = 0;
    size_t count = 0;
    if (query == NULL || query[0] == '\0') {
        return PITH_OK;
    }
    pith__buf_init(&text, &mem, SIZE_MAX);
    PITH__TRY(render_query(ctx->compressor->about.format, query, &text, &end, err));
    PITH__TRY(pith__tokenizer_encode(ctx->model->tokenizer.tokenizer, text.data, text.size, false,
                                     &mem, &tokens, err));
    PITH__TRY(pith__arena_alloc(&ctx->arena, tokens.count, sizeof *ids, &ids, err));
    while (count < tokens.count && tokens.items[count].end <= end) {
        ids[count] = tokens.items[count].id;
        count++;
    }
    input->query = ids;
    input->n_query = count;
    return PITH_OK;
}

/* ---- the capsule ------------------------------------------------------------------------------- */

static pith_status finish(pith_ctx *ctx, const char *text, size_t size,
                          const pith__compress_input *input, pith__capsule *capsule,
                          pith_error *err)
{
    const pith_compressor *c = ctx->compressor;
    const pith__compressor_shape *shape = &input->compressor->shape;
    const size_t segments = pith__compressor_segments(shape, input->count);
    const pith_allocator mem = pith__arena_allocator(&ctx->arena);
    pith__buf more;
    pith__buf_init(&more, &mem, RECORD_MAX);
    PITH__TRY(pith__buf_append_text(&more, ", \"compressor\": ", err));
    PITH__TRY(pith__train_log_string(&more, c->about.name, err));
    PITH__TRY(pith__buf_printf(&more, err, ", \"compressor_sha256\": \"%s\", \"segments\": %zu",
                               c->sha256, segments));
    if (shape->ratio > 0 && input->slots == 0) {
        PITH__TRY(pith__buf_printf(&more, err, ", \"ratio\": %u", shape->ratio));
    }
    if (input->n_query > 0) {
        PITH__TRY(pith__buf_append_text(&more, ", \"query\": ", err));
        PITH__TRY(pith__train_log_string(&more, ctx->params.query, err));
    }
    return pith__encode_finish(ctx, text, size, more.data, capsule, err);
}

pith_status pith__encode_compressed(pith_ctx *ctx, const char *text, size_t size,
                                    pith__capsule **out, pith_error *err)
{
    const pith_model *model = ctx->model;
    const pith__params *p = &ctx->params;
    uint32_t *ids = NULL;
    PITH__TRY(check_compressor(ctx, err));
    const pith_compressor *c = ctx->compressor;
    pith__compressor compressor = c->compressor;
    if (p->ratio >= 0.0) {
        compressor.shape.ratio = (uint32_t)p->ratio;
    }
    pith__compress_input input = {
        .compressor = &compressor,
        .encoder = c->compressor.lora.rank == 0 ? &model->weights : &c->encoder,
        .threads = pith__thread_count(ctx),
        .slots = p->slots < 0.0 ? 0 : (uint32_t)p->slots,
        .padding = pith__tokenizer_eos(model->tokenizer.tokenizer),
        .progress = ctx->progress,
        .progress_user = ctx->progress_user,
    };
    PITH__TRY(pith__encode_ids(ctx, text, size, &ids, &input.count, err));
    PITH__TRY(query_ids(ctx, &input, err));
    PITH__TRY(check_positions(ctx, &input, err));
    input.ids = ids;
    PITH__TRY(pith__compress(&input, &model->mem, out, err));
    return finish(ctx, text, size, &input, *out, err);
}
