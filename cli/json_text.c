/*
 * json_text.c: JSON written piece by piece, so that a million tokens need no
 * tree in memory; and base64 for text that JSON cannot hold.
 */
#include "cli.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- base64 (RFC 4648) ------------------------------------------------------ */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void write_base64(FILE *file, const char *data, size_t size)
{
    for (size_t i = 0; i < size; i += 3) {
        const size_t left = size - i;
        const unsigned a = (unsigned char)data[i];
        const unsigned b = left > 1 ? (unsigned char)data[i + 1] : 0;
        const unsigned c = left > 2 ? (unsigned char)data[i + 2] : 0;
        const unsigned bits = a << 16 | b << 8 | c;
        char quad[4] = {alphabet[bits >> 18], alphabet[bits >> 12 & 63], alphabet[bits >> 6 & 63],
                        alphabet[bits & 63]};
        if (left < 3) {
            quad[3] = '=';
        }
        if (left < 2) {
            quad[2] = '=';
        }
        (void)fwrite(quad, 1, sizeof quad, file);
    }
}

/* 0..63, or -1. */
static int base64_value(char letter)
{
    const char *found = letter == '\0' ? NULL : strchr(alphabet, letter);
    return found == NULL ? -1 : (int)(found - alphabet);
}

char *cli_base64_decode(const char *text, size_t size, size_t *out_size)
{
    *out_size = 0;
    if (size % 4 != 0) {
        return NULL;
    }
    char *out = malloc(size / 4 * 3 + 1);
    const size_t padding = size == 0               ? 0
                           : text[size - 2] == '=' ? 2U
                           : text[size - 1] == '=' ? 1U
                                                   : 0U;
    unsigned bits = 0;
    for (size_t i = 0; out != NULL && i < size; i++) {
        const int value = i + padding >= size ? 0 : base64_value(text[i]);
        if (value < 0 || (i + padding >= size && text[i] != '=')) {
            free(out);
            *out_size = 0;
            return NULL;
        }
        bits = bits << 6 | (unsigned)value;
        if (i % 4 == 3) {
            out[(*out_size)++] = (char)(bits >> 16 & 0xFF);
            out[(*out_size)++] = (char)(bits >> 8 & 0xFF);
            out[(*out_size)++] = (char)(bits & 0xFF);
        }
    }
    *out_size -= out == NULL ? 0 : padding;
    return out;
}

/* ---- JSON --------------------------------------------------------------------- */

/* Writes `before` and the string; false, and nothing written, when the bytes are not UTF-8. */
static bool write_string(FILE *file, const char *before, const char *data, size_t size)
{
    json_t *string = json_stringn(size == 0 ? "" : data, size);
    if (string == NULL) {
        return false;
    }
    (void)fputs(before, file);
    (void)json_dumpf(string, file, JSON_ENCODE_ANY);
    json_decref(string);
    return true;
}

void cli_json_string(FILE *file, const char *data, size_t size)
{
    if (!write_string(file, "", data, size)) {
        (void)fputs("null", file);
    }
}

void cli_json_name(FILE *file, const char *name)
{
    if (name == NULL) {
        (void)fputs("null", file);
    } else {
        cli_json_string(file, name, strlen(name));
    }
}

void cli_json_text(FILE *file, const char *key, const char *data, size_t size)
{
    char member[64];
    (void)snprintf(member, sizeof member, "\"%s\":", key);
    if (!write_string(file, member, data, size)) {
        (void)fprintf(file, "\"%s_base64\":\"", key);
        write_base64(file, data, size);
        (void)fputc('"', file);
    }
}

void cli_json_number(FILE *file, double value, int digits)
{
    if (isfinite(value)) {
        (void)fprintf(file, "%.*g", digits, value);
    } else {
        (void)fputs("null", file);
    }
}

bool cli_is_utf8(const char *data, size_t size)
{
    json_t *string = json_stringn(size == 0 ? "" : data, size);
    json_decref(string);
    return string != NULL;
}

/* ---- a terminal ---------------------------------------------------------------- */

void cli_write_quoted(FILE *file, const char *text, size_t size, bool whole)
{
    (void)fputc('"', file);
    for (size_t i = 0; i < size; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c == '\n') {
            (void)fputs("\\n", file);
        } else if (c == '\t') {
            (void)fputs("\\t", file);
        } else if (c == '\\' || c == '"') {
            (void)fprintf(file, "\\%c", c);
        } else if (c < 0x20 || c == 0x7F || (c >= 0x80 && !whole)) {
            (void)fprintf(file, "\\x%02x", c);
        } else {
            (void)fputc(c, file);
        }
    }
    (void)fputc('"', file);
}
