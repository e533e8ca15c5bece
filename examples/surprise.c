/*
 * surprise.c: prints every token of a text with its self-information in bits, the most
 * surprising ones marked.
 *
 *     echo "The capital of France is Berlin." | ./surprise
 */
#include <pith/pith.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Above this many bits the model would have bet 1000 to 1 against the token. */
#define SURPRISING 10.0

static char text[1 << 20];

static void print_tokens(const pith_scores *scores)
{
    size_t count = 0;
    const pith_token_score *tokens = pith_scores_tokens(scores, &count);
    for (size_t i = 0; i < count; i++) {
        const double bits = (double)tokens[i].nats / log(2.0);
        (void)printf("%6.2f %c ", bits, bits > SURPRISING ? '*' : ' ');
        (void)fwrite(text + tokens[i].start, 1, tokens[i].end - tokens[i].start, stdout);
        (void)putchar('\n');
    }
}

int main(void)
{
    const size_t size = fread(text, 1, sizeof text, stdin);
    pith_model *model = NULL;
    pith_ctx *ctx = NULL;
    pith_scores *scores = NULL;
    pith_error err;
    int status = EXIT_SUCCESS;
    if (pith_model_open(NULL, NULL, &model, &err) || pith_ctx_new(model, &ctx, &err) ||
        pith_score(ctx, text, size, &scores, &err)) {
        (void)fprintf(stderr, "surprise: %s\n", err.message);
        status = EXIT_FAILURE;
    } else {
        print_tokens(scores);
    }
    pith_scores_free(scores);
    pith_ctx_free(ctx);
    pith_model_free(model);
    return status;
}
