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

const char *pith_status_name(pith_status status)
{
    switch (status) {
    case PITH_OK:
        return "OK";
#define X(name, code, exit_code, text) \
    case PITH_##name:                  \
        return #name;
        PITH_STATUS_MAP(X)
#undef X
    }
    return "unknown";
}

const char *pith_status_text(pith_status status)
{
    switch (status) {
    case PITH_OK:
        return "success";
#define X(name, code, exit_code, text) \
    case PITH_##name:                  \
        return text;
        PITH_STATUS_MAP(X)
#undef X
    }
    return "unknown status";
}

int pith_status_exit_code(pith_status status)
{
    switch (status) {
    case PITH_OK:
        return 0;
#define X(name, code, exit_code, text) \
    case PITH_##name:                  \
        return exit_code;
        PITH_STATUS_MAP(X)
#undef X
    }
    return 70;
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
