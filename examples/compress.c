/*
 * compress.c: the shortest useful program: halves the file named on the command line.
 *
 *     cc compress.c $(pkg-config --cflags --libs pith) -o compress
 */
#include <pith/pith.h>

#include <stdio.h>
#include <stdlib.h>

static char text[1 << 20];

int main(int argc, char **argv)
{
    FILE *file = argc > 1 ? fopen(argv[1], "rb") : stdin;
    if (file == NULL) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }
    const size_t size = fread(text, 1, sizeof text, file);

    pith_model *model = NULL;
    pith_ctx *ctx = NULL;
    pith_result *result = NULL;
    pith_error err;
    int status = EXIT_SUCCESS;
    if (pith_model_open(NULL, NULL, &model, &err) || /* NULL: the built-in model */
        pith_ctx_new(model, &ctx, &err) ||
        pith_ctx_set(ctx, "rate", "0.5", &err) || /* at most half of the tokens */
        pith_ctx_set(ctx, "keep-digits", "true", &err) ||
        pith_compress(ctx, text, size, &result, &err)) {
        (void)fprintf(stderr, "compress: %s\n", err.message);
        status = EXIT_FAILURE;
    } else {
        (void)fwrite(pith_result_text(result), 1, pith_result_size(result), stdout);
        const pith_stats stats = pith_result_stats(result);
        (void)fprintf(stderr, "\n%zu tokens became %zu\n", stats.source_tokens, stats.kept_tokens);
    }
    pith_result_free(result);
    pith_ctx_free(ctx);
    pith_model_free(model);
    (void)fclose(file);
    return status;
}
