/*
 * agreement.c: how well int8 scoring agrees with f32, on the built-in model (or -m) and a
 * text: rank correlation of the self-information, and the share of tokens on which
 * compressing to rate 0.5 decides alike.
 *
 *     pith_agreement TEXT [MODEL.gguf]
 */
#include <pith/pith.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 100000 /* bytes: what the target is stated for */

static char text[TEXT_MAX + 1];

/* One precision: scores, and for every byte whether each level keeps it. */
typedef struct side {
    pith_model *model;
    pith_ctx *ctx;
    pith_scores *scores;
    const pith_token_score *tokens;
    size_t count;
} side;

static void fail(const pith_error *err)
{
    (void)fprintf(stderr, "agreement: %s\n", err->message);
    exit(EXIT_FAILURE); /* NOLINT(concurrency-mt-unsafe): one thread */
}

static void open_side(side *s, const char *path, pith_precision precision, size_t size)
{
    pith_error err;
    const pith_model_options options = {.struct_size = sizeof options, .precision = precision};
    if (pith_model_open(path, &options, &s->model, &err) || pith_ctx_new(s->model, &s->ctx, &err) ||
        pith_score(s->ctx, text, size, &s->scores, &err)) {
        fail(&err);
    }
    s->tokens = pith_scores_tokens(s->scores, &s->count);
    if (s->count < 2) {
        (void)snprintf(err.message, sizeof err.message, "the text has no two tokens to rank");
        fail(&err);
    }
}

static void close_side(side *s)
{
    pith_scores_free(s->scores);
    pith_ctx_free(s->ctx);
    pith_model_free(s->model);
}

/* ---- rank correlation (Spearman: Pearson's of the ranks) ------------------------------------ */

typedef struct ranked {
    float nats;
    size_t index;
} ranked;

static int compare(const void *left, const void *right)
{
    const ranked *a = left;
    const ranked *b = right;
    if (a->nats != b->nats) {
        return a->nats < b->nats ? -1 : 1;
    }
    return a->index < b->index ? -1 : 1;
}

/* Ranks of the scores; equal scores share the mean of their ranks. */
static double *ranks_of(const side *s)
{
    ranked *order = malloc(s->count * sizeof *order);
    double *ranks = malloc(s->count * sizeof *ranks);
    if (order == NULL || ranks == NULL) {
        abort();
    }
    for (size_t i = 0; i < s->count; i++) {
        order[i] = (ranked){s->tokens[i].nats, i};
    }
    qsort(order, s->count, sizeof *order, compare);
    for (size_t i = 0; i < s->count;) {
        size_t end = i + 1;
        while (end < s->count && order[end].nats == order[i].nats) {
            end++;
        }
        for (size_t j = i; j < end; j++) {
            ranks[order[j].index] = 0.5 * (double)(i + end - 1);
        }
        i = end;
    }
    free(order);
    return ranks;
}

static double spearman(const side *a, const side *b)
{
    double *x = ranks_of(a);
    double *y = ranks_of(b);
    const double mean = 0.5 * (double)(a->count - 1);
    double xy = 0.0;
    double xx = 0.0;
    double yy = 0.0;
    for (size_t i = 0; i < a->count; i++) {
        xy += (x[i] - mean) * (y[i] - mean);
        xx += (x[i] - mean) * (x[i] - mean);
        yy += (y[i] - mean) * (y[i] - mean);
    }
    free(x);
    free(y);
    return xy / sqrt(xx * yy);
}

/* ---- equal decisions --------------------------------------------------------------------------- */

static void mark_kept(const side *s, const char *level, size_t size, unsigned char *kept)
{
    pith_error err;
    pith_result *result = NULL;
    if (pith_ctx_set(s->ctx, "level", level, &err) ||
        pith_compress(s->ctx, text, size, &result, &err)) {
        fail(&err);
    }
    size_t count = 0;
    const pith_range *ranges = pith_result_ranges(result, &count);
    memset(kept, 0, size);
    for (size_t i = 0; i < count; i++) {
        memset(kept + ranges[i].start, 1, ranges[i].end - ranges[i].start);
    }
    pith_result_free(result);
}

/* Share of tokens whose last byte both sides keep, or both drop. */
static double equal_share(const side *a, const side *b, const char *level, size_t size)
{
    static unsigned char kept_a[TEXT_MAX];
    static unsigned char kept_b[TEXT_MAX];
    mark_kept(a, level, size, kept_a);
    mark_kept(b, level, size, kept_b);
    size_t equal = 0;
    for (size_t i = 0; i < a->count; i++) {
        equal += kept_a[a->tokens[i].end - 1] == kept_b[a->tokens[i].end - 1];
    }
    return (double)equal / (double)a->count;
}

int main(int argc, char **argv)
{
    static const char *const levels[] = {"token", "word", "phrase", "sentence"};
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (file == NULL) {
        (void)fprintf(stderr, "usage: pith_agreement TEXT [MODEL.gguf]\n");
        return 2;
    }
    size_t size = fread(text, 1, TEXT_MAX, file);
    (void)fclose(file);
    while (size > 0 && ((unsigned char)text[size - 1] & 0xC0U) == 0x80U) {
        size--; /* the limit may have cut a character: drop what is left of it */
    }
    size -= size == TEXT_MAX || size == 0 ? 0 : (unsigned char)text[size - 1] >= 0xC0U;

    side f32 = {0};
    side int8 = {0};
    open_side(&f32, argc > 2 ? argv[2] : NULL, PITH_PRECISION_F32, size);
    open_side(&int8, argc > 2 ? argv[2] : NULL, PITH_PRECISION_INT8, size);
    double difference = 0.0;
    for (size_t i = 0; i < f32.count; i++) {
        difference += fabs((double)f32.tokens[i].nats - (double)int8.tokens[i].nats);
    }
    (void)printf("int8 against f32: %zu bytes, %zu tokens\n", size, f32.count);
    (void)printf("  rank correlation        %.5f\n", spearman(&f32, &int8));
    (void)printf("  mean difference         %.4f nats\n", difference / (double)f32.count);
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        (void)printf("  equal decisions, %-8s %.2f %%\n", levels[i],
                     100.0 * equal_share(&f32, &int8, levels[i], size));
    }
    close_side(&f32);
    close_side(&int8);
    return 0;
}
