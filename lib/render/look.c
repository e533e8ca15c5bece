/*
 * look.c: characters that must not be shown as they are.
 */
#include "render/render.h"

#include "text/text.h"

/* C1 controls, and those that turn the direction of what follows them. */
static bool is_hidden_control(uint32_t c)
{
    return (c >= 0x80 && c <= 0x9F) || (c >= 0x202A && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

pith__look pith__look_at(const pith__shown *shown, size_t at, size_t *size, uint32_t *code_point)
{
    *size = pith__utf8_decode(shown->text, shown->size, at, code_point);
    if (*size > shown->end - at) {
        *size = 1;
        *code_point = PITH__UTF8_INVALID;
    }
    const uint32_t c = *code_point;
    if (c == PITH__UTF8_INVALID) {
        return PITH__LOOK_INVALID;
    }
    if (c == '\r' && at + 1 < shown->size && shown->text[at + 1] == '\n') {
        return PITH__LOOK_SKIP;
    }
    if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F) {
        return PITH__LOOK_PICTURE;
    }
    return is_hidden_control(c) ? PITH__LOOK_CODE : PITH__LOOK_PLAIN;
}

void pith__out_picture(pith__out *out, uint32_t code_point)
{
    const uint32_t low = code_point == 0x7F ? 0x21 : code_point;
    pith__out_bytes(out, (const char[]){'\xe2', '\x90', (char)(0x80 + low)}, 3);
}

void pith__out_hex(pith__out *out, const char *before, uint32_t number, unsigned digits)
{
    pith__out_text(out, before);
    while (digits-- > 0) {
        pith__out_bytes(out, &"0123456789abcdef"[number >> (4 * digits) & 15], 1);
    }
}
