/*
 * terminal.c: text that is safe for a terminal, and its colours.
 */
#include "render/render.h"

#include <stdio.h>

static const char *const heat_styles[PITH__HEAT_CLASSES] = {
    "38;5;231;48;5;53", "38;5;231;48;5;54", "38;5;231;48;5;24", "38;5;16;48;5;30",
    "38;5;16;48;5;36",  "38;5;16;48;5;41",  "38;5;16;48;5;113", "38;5;16;48;5;148",
    "38;5;16;48;5;184", "38;5;16;48;5;226",
};

pith__marks pith__terminal_heat(int level, bool bold)
{
    pith__marks marks = {.on = "", .off = "\x1b[0m"};
    if (level < 0) {
        if (!bold) {
            return pith__terminal_plain();
        }
        (void)snprintf(marks.on, sizeof marks.on, "\x1b[1m");
    } else {
        (void)snprintf(marks.on, sizeof marks.on, "\x1b[%s%sm", bold ? "1;" : "",
                       heat_styles[level]);
    }
    return marks;
}

pith__marks pith__terminal_brackets(void)
{
    return (pith__marks){.on = "[-", .off = "-]"};
}

pith__marks pith__terminal_plain(void)
{
    return (pith__marks){.on = "", .off = ""};
}

void pith__terminal_text(pith__out *out, const pith__shown *shown, const pith__marks *marks)
{
    for (size_t at = shown->start; at < shown->end;) {
        uint32_t c = 0;
        size_t size = 0;
        switch (pith__look_at(shown, at, &size, &c)) {
        case PITH__LOOK_PLAIN:
            if (c == '\n' && marks != NULL) {
                pith__out_text(out, marks->off);
                pith__out_text(out, "\n");
                pith__out_text(out, marks->on);
            } else {
                pith__out_bytes(out, shown->text + at, size);
            }
            break;
        case PITH__LOOK_SKIP:
            break;
        case PITH__LOOK_PICTURE:
            pith__out_picture(out, c);
            break;
        case PITH__LOOK_CODE:
            pith__out_hex(out, "\\u", c, 4);
            break;
        case PITH__LOOK_INVALID:
            pith__out_hex(out, "\\x", (unsigned char)shown->text[at], 2);
            break;
        }
        at += size;
    }
}
