/*
 * inspect_compressor.c: the keys of a compressor's file, for people and for programs.
 */
#include "api/inspect.h"

#include <stdio.h>
#include <string.h>

/* "1 to 16 slots" */
static void say_slots(const pith__compressor_shape *shape, char *out, size_t size)
{
    if (shape->ratio > 0) {
        (void)snprintf(out, size, "a slot for every %u tokens", shape->ratio);
        return;
    }
    (void)snprintf(out, size, "%s%u slot%s", shape->elastic && shape->slots > 1 ? "1 to " : "",
                   shape->slots, shape->slots == 1 ? "" : "s");
}

static pith_status write_line(pith__buf *out, const char *name, const char *text, size_t size,
                              pith_error *err)
{
    PITH__TRY(pith__buf_printf(out, err, "  %-10s ", name));
    PITH__TRY(pith__inspect_foreign(out, text, size, err));
    return pith__buf_append_text(out, "\n", err);
}

/* How questions were put. */
static pith_status write_format(const pith__compressor_about *about, pith__buf *out,
                                pith_error *err)
{
    if (about->format[0] == '\0') {
        return pith__buf_append_text(out, "  questions  none\n", err);
    }
    PITH__TRY(pith__buf_printf(out, err, "  questions  %s the text\n",
                               about->conditional ? "read before" : "asked after"));
    return write_line(out, "format", about->format, strlen(about->format), err);
}

pith_status pith__inspect_compressor_text(const pith__inspect_compressor *c, pith__buf *out,
                                          pith_error *err)
{
    const pith__compressor_about *about = &c->about;
    const pith__compressor_shape *shape = &about->shape;
    const char *mode = pith__compressor_position_mode(shape);
    char slots[64];
    say_slots(shape, slots, sizeof slots);
    PITH__TRY(pith__buf_printf(out, err, "compressor, method %s: %s, segments of up to %u tokens\n",
                               pith__compressor_method_name(shape->method), slots, shape->window));
    PITH__TRY(write_line(out, "name", about->name, strlen(about->name), err));
    PITH__TRY(pith__buf_printf(
        out, err, "  layout     %s: slots stand %s%s\n", pith__slot_layout_name(shape->layout),
        shape->layout == PITH__SLOTS_UNIFORM ? "spread over the text" : "behind the text",
        shape->pads ? "; short texts are padded" : ""));
    PITH__TRY(pith__buf_printf(out, err, "  positions  %s: %s\n", mode,
                               pith__inspect_position_mode(mode)));
    PITH__TRY(write_format(about, out, err));
    PITH__TRY(pith__buf_printf(out, err, "  model      %s\n", about->base_sha256));
    PITH__TRY(write_line(out, "record", about->record, c->record_size, err));
    return pith__buf_append_text(out, "\n", err);
}

/* Null for what is not UTF-8. */
static json_t *text_or_null(const char *text)
{
    json_t *string = json_string(text);
    return string != NULL ? string : json_null();
}

json_t *pith__inspect_compressor_json(const pith__inspect_compressor *c)
{
    const pith__compressor_about *about = &c->about;
    const pith__compressor_shape *shape = &about->shape;
    json_t *record = json_loadb(about->record, c->record_size, 0, NULL);
    return json_pack(
        "{s:s, s:o, s:I, s:b, s:I, s:I, s:s, s:s, s:b, s:b, s:o, s:b, s:s, s:o}", "method",
        pith__compressor_method_name(shape->method), "name", text_or_null(about->name), "slots",
        (json_int_t)shape->slots, "elastic", (int)shape->elastic, "ratio", (json_int_t)shape->ratio,
        "window", (json_int_t)shape->window, "layout", pith__slot_layout_name(shape->layout),
        "position_mode", pith__compressor_position_mode(shape), "pads", (int)shape->pads, "norm",
        (int)shape->has_norm, "format", text_or_null(about->format), "conditional",
        (int)about->conditional, "model_sha256", about->base_sha256, "record",
        record != NULL ? record : json_null());
}
