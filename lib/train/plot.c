/*
 * plot.c: the curve of a run's loss as an SVG picture.
 *
 * A picture has a few hundred columns and a run any number of steps: a column shows the
 * lowest and the highest loss of its steps, so the file stays small and no spike is lost.
 */
#include "train/log.h"

#include "text/text.h"

#include <math.h>
#include <string.h>

/* The picture, and the part of it between the axes, in its own units. */
#define PICTURE_WIDTH  860
#define PICTURE_HEIGHT 460
#define LEFT           64.0
#define RIGHT          836.0
#define TOP            64.0
#define BOTTOM         404.0

#define X_TICKS        8.0 /* about */
#define Y_TICKS        6.0
#define MEAN_STEPS_MAX 50

/* A generous bound: columns * 2 lines * some bytes per point, evaluations besides. */
#define PICTURE_BYTES_MAX ((size_t)1 << 26)

static const char style[] = "<style>"
                            "text{font:13px system-ui,sans-serif;fill:#57606a}"
                            ".title{font-size:16px;font-weight:600;fill:#1f2328}"
                            ".paper{fill:#ffffff}"
                            ".grid{stroke:#d8dee4;stroke-width:1}"
                            ".steps{fill:none;stroke:#9cc3f0;stroke-width:1}"
                            ".mean{fill:none;stroke:#0b5cad;stroke-width:2.5;stroke-linejoin:round}"
                            ".held{fill:#c4470b}"
                            "@media(prefers-color-scheme:dark){"
                            "text{fill:#9198a1}"
                            ".title{fill:#f0f6fc}"
                            ".paper{fill:#0d1117}"
                            ".grid{stroke:#30363d}"
                            ".steps{stroke:#2f5c8f}"
                            ".mean{stroke:#6cb6ff}"
                            ".held{fill:#ff9f5a}"
                            "}</style>\n";

/* Numbers to places in the picture. */
typedef struct frame {
    double x_first, x_last;
    double y_low, y_high;
    double x_tick, y_tick; /* distance of the ticks */
} frame;

static double x_of(const frame *f, double step)
{
    return LEFT + (RIGHT - LEFT) * (step - f->x_first) / (f->x_last - f->x_first);
}

static double y_of(const frame *f, double loss)
{
    return BOTTOM - (BOTTOM - TOP) * (loss - f->y_low) / (f->y_high - f->y_low);
}

/* 1, 2 or 5 times a power of ten: the smallest that cuts `range` into at most `most` parts. */
static double nice_step(double range, double most)
{
    const double least = range / most;
    const double power = pow(10.0, floor(log10(least)));
    static const double factors[] = {1.0, 2.0, 5.0};
    for (size_t i = 0; i < sizeof factors / sizeof factors[0]; i++) {
        if (factors[i] * power >= least * (1.0 - 1e-9)) {
            return factors[i] * power;
        }
    }
    return 10.0 * power;
}

static void widen(const pith__loss_points *points, frame *f)
{
    for (size_t i = 0; i < points->count; i++) {
        f->x_first = fmin(f->x_first, (double)points->items[i].step);
        f->x_last = fmax(f->x_last, (double)points->items[i].step);
        f->y_low = fmin(f->y_low, points->items[i].loss);
        f->y_high = fmax(f->y_high, points->items[i].loss);
    }
}

/* Room for all points, from tick to tick upwards; something to look at even without points. */
static frame make_frame(const pith__train_log *log)
{
    frame f = {HUGE_VAL, -HUGE_VAL, HUGE_VAL, -HUGE_VAL, 1.0, 1.0};
    widen(&log->training, &f);
    widen(&log->held_out, &f);
    if (f.x_first > f.x_last) {
        f = (frame){0.0, 1.0, 0.0, 1.0, 1.0, 1.0};
    }
    if (f.x_last - f.x_first < 1.0) {
        f.x_last = f.x_first + 1.0;
    }
    if (f.y_high - f.y_low < 1e-6) {
        f.y_low -= 0.5;
        f.y_high += 0.5;
    }
    f.x_tick = fmax(1.0, nice_step(f.x_last - f.x_first, X_TICKS));
    f.y_tick = nice_step(f.y_high - f.y_low, Y_TICKS);
    f.y_low = floor(f.y_low / f.y_tick) * f.y_tick;
    f.y_high = ceil(f.y_high / f.y_tick) * f.y_tick;
    return f;
}

/* ---- text ------------------------------------------------------------------------------------- */

/* Any bytes as XML text: what XML has no character for becomes '?'. */
static pith_status append_escaped(pith__buf *out, const char *text, pith_error *err)
{
    const size_t size = strlen(text);
    for (size_t i = 0; i < size;) {
        uint32_t code = 0;
        const size_t length = pith__utf8_decode(text, size, i, &code);
        if (code == PITH__UTF8_INVALID || code < 0x20 || code == 0xFFFE || code == 0xFFFF) {
            PITH__TRY(pith__buf_append_text(out, "?", err));
        } else if (code == '<' || code == '&') {
            PITH__TRY(pith__buf_append_text(out, code == '<' ? "&lt;" : "&amp;", err));
        } else {
            PITH__TRY(pith__buf_append(out, text + i, length, err));
        }
        i += length;
    }
    return PITH_OK;
}

/* "1,250,000". */
static void format_steps(double steps, char out[32])
{
    char digits[24];
    size_t count = 0;
    uint64_t left = (uint64_t)steps;
    do {
        digits[count++] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    size_t at = 0;
    while (count > 0) {
        count--;
        out[at++] = digits[count];
        if (count > 0 && count % 3 == 0) {
            out[at++] = ',';
        }
    }
    out[at] = '\0';
}

/* ---- axes ---------------------------------------------------------------------------------------- */

static pith_status draw_x_axis(const frame *f, pith__buf *out, pith_error *err)
{
    char label[32];
    const long first = lround(ceil(f->x_first / f->x_tick));
    const long last = lround(floor(f->x_last / f->x_tick));
    for (long i = first; i <= last; i++) {
        const double tick = (double)i * f->x_tick;
        const double x = x_of(f, tick);
        format_steps(tick, label);
        PITH__TRY(pith__buf_printf(
            out, err,
            "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>"
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
            x, BOTTOM, x, BOTTOM + 5.0, x, BOTTOM + 21.0, label));
    }
    return pith__buf_printf(out, err,
                            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">step</text>\n",
                            0.5 * (LEFT + RIGHT), BOTTOM + 43.0);
}

static pith_status draw_y_axis(const frame *f, pith__buf *out, pith_error *err)
{
    const double exponent = -floor(log10(f->y_tick) + 1e-9);
    const int digits = exponent > 0.0 ? (int)exponent : 0;
    const int ticks = (int)lround((f->y_high - f->y_low) / f->y_tick);
    for (int i = 0; i <= ticks; i++) {
        const double tick = f->y_low + (double)i * f->y_tick;
        const double y = y_of(f, tick);
        PITH__TRY(pith__buf_printf(
            out, err,
            "<line class=\"grid\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>"
            "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.*f</text>\n",
            LEFT, y, RIGHT, y, LEFT - 8.0, y + 4.5, digits, tick));
    }
    return pith__buf_printf(out, err,
                            "<text transform=\"translate(18 %.1f) rotate(-90)\" "
                            "text-anchor=\"middle\">nats per token</text>\n",
                            0.5 * (TOP + BOTTOM));
}

/* ---- curves ------------------------------------------------------------------------------------ */

/* The points that fall into one column of the picture. */
typedef struct column {
    double x;
    double first, last, low, high;
    size_t count;
} column;

static pith_status add_vertex(pith__buf *out, double x, double y, pith_error *err)
{
    return pith__buf_printf(out, err, "%.1f,%.1f ", x, y);
}

/* One point as it is; more as the stretch that they cover, entered and left where they are. */
static pith_status flush(const frame *f, column *c, pith__buf *out, pith_error *err)
{
    const double values[] = {c->first, c->low, c->high, c->last};
    const size_t count = c->count > 1 ? sizeof values / sizeof values[0] : c->count;
    for (size_t i = 0; i < count; i++) {
        PITH__TRY(add_vertex(out, c->x, y_of(f, values[i]), err));
    }
    c->count = 0;
    return PITH_OK;
}

static void take(column *c, double x, double loss)
{
    if (c->count == 0) {
        *c = (column){x, loss, loss, loss, loss, 0};
    }
    c->last = loss;
    c->low = fmin(c->low, loss);
    c->high = fmax(c->high, loss);
    c->count++;
}

/* A short run would be over before a long mean has caught up. */
static size_t mean_steps(const pith__loss_points *points)
{
    const size_t share = points->count / 10;
    return share < 1 ? 1 : share < MEAN_STEPS_MAX ? share : MEAN_STEPS_MAX;
}

/* `steps` > 1: a running mean over about so many. *last receives the last value. */
static pith_status draw_curve(const frame *f, const pith__loss_points *points, size_t steps,
                              const char *class_name, double *last, pith__buf *out, pith_error *err)
{
    column c = {.count = 0};
    double mean = 0.0;
    PITH__TRY(pith__buf_printf(out, err, "<polyline class=\"%s\" points=\"", class_name));
    for (size_t i = 0; i < points->count; i++) {
        const double x = floor(2.0 * x_of(f, (double)points->items[i].step)) / 2.0;
        if (c.count > 0 && x > c.x) {
            PITH__TRY(flush(f, &c, out, err));
        }
        const size_t window = i + 1 < steps ? i + 1 : steps;
        mean += (points->items[i].loss - mean) / (double)window;
        take(&c, x, mean);
    }
    PITH__TRY(flush(f, &c, out, err));
    *last = mean;
    return pith__buf_append_text(out, "\"/>\n", err);
}

static pith_status draw_held_out(const frame *f, const pith__loss_points *points, double *last,
                                 pith__buf *out, pith_error *err)
{
    double drawn = -HUGE_VAL;
    for (size_t i = 0; i < points->count; i++) {
        const double x = x_of(f, (double)points->items[i].step);
        *last = points->items[i].loss;
        if (x < drawn + 1.0 && i + 1 < points->count) {
            continue; /* would lie on the one before */
        }
        drawn = x;
        PITH__TRY(pith__buf_printf(out, err,
                                   "<circle class=\"held\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>\n", x,
                                   y_of(f, *last)));
    }
    return PITH_OK;
}

/* ---- legend ------------------------------------------------------------------------------------- */

static pith_status draw_legend(const pith__train_log *log, double mean, double held_out,
                               pith__buf *out, pith_error *err)
{
    const size_t steps = mean_steps(&log->training);
    const double y = TOP - 14.0;
    if (log->training.count > 0) {
        PITH__TRY(pith__buf_printf(
            out, err,
            "<path class=\"steps\" d=\"M%.1f %.1fh22\"/><text x=\"%.1f\" y=\"%.1f\">every step"
            "</text>\n<path class=\"mean\" d=\"M%.1f %.1fh22\"/><text x=\"%.1f\" y=\"%.1f\">"
            "mean of %zu steps, now %.4g</text>\n",
            LEFT, y - 4.5, LEFT + 28.0, y, LEFT + 120.0, y - 4.5, LEFT + 148.0, y, steps, mean));
    }
    if (log->held_out.count > 0) {
        PITH__TRY(pith__buf_printf(
            out, err,
            "<circle class=\"held\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/><text x=\"%.1f\" y=\"%.1f\">"
            "held out, now %.4g</text>\n",
            LEFT + 374.0, y - 4.5, LEFT + 386.0, y, held_out));
    }
    return PITH_OK;
}

static pith_status draw(const pith__train_log *log, const char *title, pith__buf *out,
                        pith_error *err)
{
    const frame f = make_frame(log);
    double every = 0.0;
    double mean = 0.0;
    double held_out = 0.0;
    PITH__TRY(pith__buf_printf(out, err,
                               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
                               "height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\">\n<title>",
                               PICTURE_WIDTH, PICTURE_HEIGHT, PICTURE_WIDTH, PICTURE_HEIGHT));
    PITH__TRY(append_escaped(out, title, err));
    PITH__TRY(pith__buf_printf(out, err, ": loss by step</title>\n%s", style));
    PITH__TRY(pith__buf_append_text(out, "<rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n",
                                    err));
    PITH__TRY(pith__buf_printf(out, err, "<text class=\"title\" x=\"%.1f\" y=\"28\">", LEFT));
    PITH__TRY(append_escaped(out, title, err));
    PITH__TRY(pith__buf_append_text(out, "</text>\n", err));
    PITH__TRY(draw_y_axis(&f, out, err));
    PITH__TRY(draw_x_axis(&f, out, err));
    PITH__TRY(draw_curve(&f, &log->training, 1, "steps", &every, out, err));
    PITH__TRY(draw_curve(&f, &log->training, mean_steps(&log->training), "mean", &mean, out, err));
    PITH__TRY(draw_held_out(&f, &log->held_out, &held_out, out, err));
    PITH__TRY(draw_legend(log, mean, held_out, out, err));
    return pith__buf_append_text(out, "</svg>\n", err);
}

pith_status pith__train_plot(const char *path, const pith__train_log *log, const char *title,
                             pith_error *err)
{
    pith__buf picture;
    pith__new_file file;
    pith__buf_init(&picture, &log->mem, PICTURE_BYTES_MAX);
    pith_status status = draw(log, title, &picture, err);
    if (status == PITH_OK) {
        status = pith__new_file_open(path, &file, err);
    }
    if (status == PITH_OK) {
        (void)pith__new_file_write(&file, picture.data, picture.size); /* commit reports it */
        status = pith__new_file_commit(&file, err);
    }
    pith__buf_deinit(&picture);
    return status;
}
