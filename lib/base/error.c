/*
 * error.c: statuses and caller-owned errors.
 */
#include "base/base.h"

#include <stdio.h>
#include <string.h>

const char *pith_version(void)
{
#define PITH__TEXT(x)  #x
#define PITH__VALUE(x) PITH__TEXT(x)
    return PITH__VALUE(PITH_VERSION_MAJOR) "." PITH__VALUE(PITH_VERSION_MINOR) "." PITH__VALUE(
        PITH_VERSION_PATCH);
}

typedef struct status_info {
    pith_status status;
    int exit_code;
    const char *name;
    const char *text;
} status_info;

/* What is known of `status`; the last entry stands for numbers that are none. */
static const status_info *find_status(pith_status status)
{
    static const status_info table[] = {
        {PITH_OK, 0, "OK", "success"},
#define X(name, code, exit_code, text) {PITH_##name, exit_code, #name, text},
        PITH_STATUS_MAP(X)
#undef X
            {PITH_OK, 70, "unknown", "unknown status"},
    };
    const size_t last = sizeof table / sizeof table[0] - 1;
    size_t i = 0;
    while (i < last && table[i].status != status) {
        i++;
    }
    return &table[i];
}

const char *pith_status_name(pith_status status)
{
    return find_status(status)->name;
}

const char *pith_status_text(pith_status status)
{
    return find_status(status)->text;
}

int pith_status_exit_code(pith_status status)
{
    return find_status(status)->exit_code;
}

/* A message that was cut must not end within a UTF-8 sequence: it may go into JSON. */
static void drop_half_character(char *message)
{
    size_t end = strlen(message);
    while (end > 0 && ((unsigned char)message[end - 1] & 0xC0U) == 0x80U) {
        end--;
    }
    if (end > 0 && (unsigned char)message[end - 1] >= 0xC0U) {
        message[end - 1] = '\0';
    }
}

static pith_status fail(pith_error *err, pith_status status, size_t offset, const char *format,
                        va_list args) PITH__PRINTF(4, 0);

static pith_status fail(pith_error *err, pith_status status, size_t offset, const char *format,
                        va_list args)
{
    if (err != NULL) {
        err->status = status;
        err->offset = offset;
        const int length = vsnprintf(err->message, sizeof err->message, format, args);
        if (length >= (int)sizeof err->message) {
            drop_half_character(err->message);
        }
        for (char *c = err->message; *c != '\0'; c++) {
            if ((unsigned char)*c < ' ') { /* one line, whatever a file name holds */
                *c = ' ';
            }
        }
    }
    return status;
}

pith_status pith__fail(pith_error *err, pith_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fail(err, status, PITH_NO_OFFSET, format, args);
    va_end(args);
    return status;
}

pith_status pith__fail_at(pith_error *err, pith_status status, size_t offset, const char *format,
                          ...)
{
    va_list args;
    va_start(args, format);
    (void)fail(err, status, offset, format, args);
    va_end(args);
    return status;
}
