/*
 * training.c: a training step (forward, cross-entropy, backward, all weights) on one thread, as a
 * share of the rate that oneDNN's sgemm reaches on the very products of the step in the same run;
 * and the memory it takes per token.
 *
 *     pith_training [ROWS]
 */
#include "grad/grad.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPEAT 5

typedef struct shape {
    const char *name;
    pith__model_config config;
} shape;

typedef struct bench {
    pith__model_config config;
    pith__weights weights;
    pith__model model;
    float *gradients;
    pith__arena arena;
    pith__tensor_ctx ctx;
    size_t rows;
    uint32_t *ids, *targets, *rows_of;
    float *weight;
    pith_error err;
} bench;

static void must(pith_status status, const pith_error *err)
{
    if (status != PITH_OK) {
        (void)fprintf(stderr, "pith_training: %s\n", err->message);
        exit(EXIT_FAILURE); /* NOLINT(concurrency-mt-unsafe): one thread */
    }
}

/* Seconds of the three products that a linear layer takes part in: y = x W^T, dx = dy W, dW = dy^T x. */
static double linear_seconds(bench *b, size_t outputs, size_t inputs)
{
    const size_t rows = b->rows;
    const pith__product products[] = {
        {.m = rows, .n = outputs, .k = inputs, .transpose_b = true, .alpha = 1.0f},
        {.m = rows, .n = inputs, .k = outputs, .alpha = 1.0f},
        {.m = outputs, .n = inputs, .k = rows, .transpose_a = true, .alpha = 1.0f, .beta = 1.0f},
    };
    const pith__arena_mark mark = pith__arena_save(&b->arena);
    float *x = NULL;
    float *y = NULL;
    float *w = NULL;
    must(pith__arena_alloc_zero(&b->arena, rows, inputs * sizeof *x, &x, &b->err), &b->err);
    must(pith__arena_alloc_zero(&b->arena, rows, outputs * sizeof *y, &y, &b->err), &b->err);
    must(pith__arena_alloc_zero(&b->arena, outputs, inputs * sizeof *w, &w, &b->err), &b->err);
    float *const operands[][3] = {{x, w, y}, {y, w, x}, {y, x, w}};
    double sum = 0.0;
    for (size_t i = 0; i < 3; i++) {
        double best = 1e9;
        for (int r = 0; r < REPEAT * 4; r++) {
            const double start = pith__seconds();
            must(pith__tensor_cpu()->product(&b->ctx, &products[i], operands[i][0], operands[i][1],
                                             operands[i][2], &b->err),
                 &b->err);
            const double seconds = pith__seconds() - start;
            best = seconds < best ? seconds : best;
        }
        sum += best;
    }
    pith__arena_restore(&b->arena, mark);
    return sum;
}

static double limit_seconds(bench *b, double *flops)
{
    const pith__model_config *c = &b->config;
    const size_t h = (size_t)c->heads * c->head_dim;
    const size_t k = (size_t)c->kv_heads * c->head_dim;
    const double layer = linear_seconds(b, h, c->width) + 2 * linear_seconds(b, k, c->width) +
                         linear_seconds(b, c->width, h) + 2 * linear_seconds(b, c->ff, c->width) +
                         linear_seconds(b, c->width, c->ff);
    const double per_layer =
        (double)c->width * (2.0 * (double)h + 2.0 * (double)k + 3.0 * (double)c->ff);
    *flops =
        6.0 * (double)b->rows * (per_layer * c->layers + (double)c->vocabulary * (double)c->width);
    return layer * c->layers + linear_seconds(b, c->vocabulary, c->width);
}

static void step(bench *b)
{
    const pith__pass_input input = {.rows = b->rows, .ids = b->ids};
    const pith__sink sink = {b->weights.values, b->gradients, b->weights.count};
    const pith__arena_mark mark = pith__arena_save(&b->arena);
    pith__pass *pass = NULL;
    float *d_hidden = NULL;
    double loss = 0.0;
    must(pith__pass_forward(&b->model, &b->ctx, &input, &pass, &b->err), &b->err);
    must(pith__arena_alloc_zero(&b->arena, b->rows, b->config.width * sizeof *d_hidden, &d_hidden,
                                &b->err),
         &b->err);
    const pith__loss spec = {.model = &b->model,
                             .ctx = &b->ctx,
                             .hidden = pith__pass_hidden(pass),
                             .n = b->rows,
                             .rows = b->rows_of,
                             .weight = b->weight,
                             .d_hidden = d_hidden,
                             .sink = sink};
    must(pith__loss_cross_entropy(&spec, b->targets, &loss, &b->err), &b->err);
    must(pith__pass_backward(pass, &(pith__pass_gradients){.d_hidden = d_hidden, .sink = sink},
                             &b->err),
         &b->err);
    pith__arena_restore(&b->arena, mark);
}

static void set_up(bench *b)
{
    const pith_allocator *mem = &pith__allocator_default;
    pith__weights_init(&b->weights, mem);
    pith__arena_init(&b->arena, mem);
    b->ctx = (pith__tensor_ctx){.threads = 1, .arena = &b->arena};
    must(pith__grad_layout(&b->config, true, &b->weights, &b->err), &b->err);
    must(pith__weights_allocate(&b->weights, &b->err), &b->err);
    pith__grad_initialise(&b->config, &b->weights, 1);
    must(pith__grad_model(&b->config, &b->weights, mem, &b->model, &b->err), &b->err);
    must(pith__alloc_zero(mem, b->weights.count, sizeof(float), &b->gradients, &b->err), &b->err);
    must(pith__alloc(mem, b->rows, sizeof *b->ids, &b->ids, &b->err), &b->err);
    must(pith__alloc(mem, b->rows, sizeof *b->targets, &b->targets, &b->err), &b->err);
    must(pith__alloc(mem, b->rows, sizeof *b->rows_of, &b->rows_of, &b->err), &b->err);
    must(pith__alloc(mem, b->rows, sizeof *b->weight, &b->weight, &b->err), &b->err);
    for (size_t i = 0; i < b->rows; i++) {
        b->ids[i] = (uint32_t)(i * 7919 % b->config.vocabulary);
        b->targets[i] = (uint32_t)((i + 1) * 7919 % b->config.vocabulary);
        b->rows_of[i] = (uint32_t)i;
        b->weight[i] = 1.0f;
    }
    const size_t bytes = pith__pass_bytes(&b->config, b->rows, 0, false);
    must(pith__arena_reserve(&b->arena, bytes, &b->err), &b->err);
}

static void tear_down(bench *b)
{
    const pith_allocator *mem = &pith__allocator_default;
    pith__free(mem, b->weight, b->rows, sizeof *b->weight);
    pith__free(mem, b->rows_of, b->rows, sizeof *b->rows_of);
    pith__free(mem, b->targets, b->rows, sizeof *b->targets);
    pith__free(mem, b->ids, b->rows, sizeof *b->ids);
    pith__free(mem, b->gradients, b->weights.count, sizeof(float));
    pith__model_deinit(&b->model);
    pith__arena_deinit(&b->arena);
    pith__weights_deinit(&b->weights);
}

static void measure(const shape *s, size_t rows)
{
    bench b = {.config = s->config, .rows = rows};
    set_up(&b);
    double flops = 0.0;
    double limit = limit_seconds(&b, &flops);
    double best = 1e9;
    for (int r = 0; r < REPEAT; r++) {
        const double start = pith__seconds();
        step(&b);
        const double seconds = pith__seconds() - start;
        best = seconds < best ? seconds : best;
    }
    const double kept = (double)pith__pass_bytes(&b.config, rows, 0, false) / (double)rows;
    const double again = (double)pith__pass_bytes(&b.config, rows, 0, true) / (double)rows;
    printf("%-10s %5zu rows  %7.0f tokens/s  %6.1f GFLOP/s of %6.1f sgemm  share %4.1f %%  "
           "%6.1f KiB/token, recomputed %6.1f\n",
           s->name, rows, (double)rows / best, flops / best * 1e-9, flops / limit * 1e-9,
           100.0 * limit / best, kept / 1024.0, again / 1024.0);
    tear_down(&b);
}

int main(int argc, char **argv)
{
    static const shape shapes[] = {
        {"built-in",
         {.layers = 6,
          .width = 256,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 64,
          .ff = 704,
          .vocabulary = 8192,
          .context = 1024,
          .rope_pairs = 32,
          .rope_base = 10000.0f,
          .rope_scale = 1.0f,
          .norm_eps = 1e-5f}},
        {"110M",
         {.layers = 12,
          .width = 768,
          .heads = 12,
          .kv_heads = 12,
          .head_dim = 64,
          .ff = 2048,
          .vocabulary = 32000,
          .context = 1024,
          .rope_pairs = 32,
          .rope_base = 10000.0f,
          .rope_scale = 1.0f,
          .norm_eps = 1e-5f}},
    };
    const size_t rows = argc > 1 ? strtoul(argv[1], NULL, 10) : 512;
    if (rows == 0 || rows > 1024) {
        (void)fprintf(stderr, "usage: pith_training [ROWS], 1 to 1024\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        measure(&shapes[i], rows);
    }
    return 0;
}
