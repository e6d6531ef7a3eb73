/* canvas.c - PLplot on a cairo surface of our own: pages, strokes, fills, text.
 *
 * Device units.  PLplot computes in integers and never strokes thinner than one unit, so a page
 * is given FIG_K = 20 units a point and cairo scales by 1/20: hairlines of 0.05 pt are possible
 * and coordinates round to 1/1440 inch.
 * Fonts.  The device sets text with Pango: a height of `size` points is asked for as
 * size * 25.4/72 * 0.75 * FIG_K (PLplot counts in mm at 72 units an inch, Pango in points at 96).
 * Fills.  PLplot strokes the outline of what it fills with the current width, so the width is
 * set to 0 first.
 * Same bytes.  Equal drawings give equal files: the PDF's date is fixed, and the surface numbers
 * that cairo writes into SVG (they count up over the life of the process) are normalised. */
#include "plots/canvas.h"

#include <cairo/cairo-pdf.h>
#include <cairo/cairo-svg.h>
#include <cairo/cairo.h>
#include <math.h>
#include <plplot/plplot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIG_K    20.0
#define FIG_FONT "Inter"
enum { MAX_STROKE = 4096 }; /* points PLplot is handed at once */

struct fig_canvas {
    double width, height; /* points */
    rm_format format;
    cairo_surface_t *surface; /* NULL: a dry canvas */
    cairo_t *cairo;
    PLINT stream, stream_before;
    bool open;     /* PLplot's stream is running */
    rm_text bytes; /* what the surface wrote so far */
};

/* ---- pages ----------------------------------------------------------------------------- */

static cairo_status_t collect(void *closure, const unsigned char *data, unsigned int n)
{
    rm_text *bytes = closure;
    rm_text_add(bytes, (const char *)data, n);
    return bytes->failed ? CAIRO_STATUS_WRITE_ERROR : CAIRO_STATUS_SUCCESS;
}

static bool device_exists(void)
{
    enum { ROOM = 100 };
    PLCHAR_VECTOR menu_space[ROOM], name_space[ROOM];
    PLCHAR_VECTOR *menu = menu_space, *name = name_space;
    int n = ROOM;
    plgDevs(&menu, &name, &n);
    for (int i = 0; i < n; i++)
        if (!strcmp(name[i], "extcairo"))
            return true;
    return false;
}

static cairo_surface_t *new_surface(fig_canvas *canvas, double dpi, const char *title)
{
    double w = canvas->width, h = canvas->height;
    cairo_surface_t *surface = NULL;
    switch (canvas->format) {
    case RM_FORMAT_PDF:
        surface = cairo_pdf_surface_create_for_stream(collect, &canvas->bytes, w, h);
        cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE,
                                       "2000-01-01T00:00:00Z");
        if (title && rm_utf8_valid_prefix(title, strlen(title)) == strlen(title))
            cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_TITLE, title);
        break;
    case RM_FORMAT_SVG:
        surface = cairo_svg_surface_create_for_stream(collect, &canvas->bytes, w, h);
        break;
    case RM_FORMAT_PNG:
        surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)ceil(w * dpi / 72),
                                             (int)ceil(h * dpi / 72));
        break;
    }
    return surface;
}

static void start_plplot(fig_canvas *canvas)
{
    /* PLplot reads its fonts from the environment; what a user set there stands. */
    setenv("PLPLOT_FREETYPE_SANS_FAMILY", FIG_FONT, 0);
    plgstrm(&canvas->stream_before);
    plmkstrm(&canvas->stream);
    plsdev("extcairo");
    plspage(0, 0, (PLINT)ceil(canvas->width * FIG_K), (PLINT)ceil(canvas->height * FIG_K), 0, 0);
    plinit();
    canvas->open = true;
    pl_cmd(PLESC_DEVINIT, canvas->cairo);
    pladv(0);
    plvpor(0, 1, 0, 1);
    plwind(0, canvas->width, 0, canvas->height);
}

rm_status fig_canvas_open(rm_format format, double width, double height, double dpi,
                          const char *title, fig_canvas **out, rm_error *err)
{
    /* 200 inches is the largest page of PDF 1.4 readers; cairo's images end at 32,767 pixels. */
    if (!(width >= 1 && height >= 1 && width <= 14400 && height <= 14400))
        return rm_fail(err, RM_E_ARGUMENT,
                       "A figure of %g x %g points cannot be drawn; 1 to 14400 each are possible.",
                       width, height);
    if (format == RM_FORMAT_PNG && !(dpi >= 10 && fmax(width, height) * dpi / 72 < 32000))
        return rm_fail(err, RM_E_ARGUMENT,
                       "A PNG of %g x %g points at %g dots an inch is impossible; the resolution "
                       "must be at least 10 and no side longer than 32000 pixels.",
                       width, height, dpi);
    if (!device_exists())
        return rm_fail(err, RM_E_UNSUPPORTED,
                       "PLplot has no device \"extcairo\" here; install its cairo driver (Debian: "
                       "plplot-driver-cairo).");

    fig_canvas *canvas = calloc(1, sizeof *canvas);
    if (!canvas)
        return rm_fail(err, RM_E_MEMORY, "There is no memory for a figure.");
    canvas->width = width;
    canvas->height = height;
    canvas->format = format;
    canvas->surface = new_surface(canvas, dpi, title);
    canvas->cairo = cairo_create(canvas->surface);
    cairo_status_t cs = cairo_status(canvas->cairo);
    if (cs != CAIRO_STATUS_SUCCESS) {
        fig_canvas_free(canvas);
        return rm_fail(err, RM_E_MEMORY, "cairo cannot open a page of %g x %g points: %s.", width,
                       height, cairo_status_to_string(cs));
    }
    if (format == RM_FORMAT_PNG)
        cairo_scale(canvas->cairo, dpi / 72, dpi / 72);
    cairo_set_source_rgb(canvas->cairo, 1, 1, 1);
    cairo_paint(canvas->cairo);
    cairo_scale(canvas->cairo, 1 / FIG_K, 1 / FIG_K);
    start_plplot(canvas);
    *out = canvas;
    return RM_OK;
}

rm_status fig_canvas_dry(double width, double height, fig_canvas **out, rm_error *err)
{
    fig_canvas *canvas = calloc(1, sizeof *canvas);
    if (!canvas)
        return rm_fail(err, RM_E_MEMORY, "There is no memory for a figure.");
    canvas->width = width;
    canvas->height = height;
    *out = canvas;
    return RM_OK;
}

static void end_plplot(fig_canvas *canvas)
{
    if (!canvas->open)
        return;
    plsstrm(canvas->stream);
    plend1();
    plsstrm(canvas->stream_before);
    canvas->open = false;
}

/* cairo writes coordinates with six decimals and names what is the default anyway. Two decimals
 * are a hundredth of a point (above 1,000, in PLplot's units of 1/20 point, one is enough); without
 * the rest a page of twenty figures weighs a third less. Transformations keep theirs, for they
 * multiply. */
static void add_shorter(rm_text *out, const char *p, size_t n)
{
    static const char *const defaults[] = { "stroke-opacity:1;", "fill-opacity:1;",
                                            "stroke-miterlimit:10;" };
    const char *end = p + n, *matrix = p;
    while (p < end) {
        size_t skip = 0;
        for (size_t i = 0; !skip && i < sizeof defaults / sizeof *defaults; i++)
            if (!strncmp(p, defaults[i], strlen(defaults[i])))
                skip = strlen(defaults[i]);
        if (!strncmp(p, "matrix(", 7))
            matrix = p + strcspn(p, ")");
        size_t whole = strspn(p, "0123456789");
        size_t digits = whole && whole < 12 && p[whole] == '.' && p >= matrix
                            ? strspn(p + whole + 1, "0123456789")
                            : 0;
        if (digits > 2) {
            char number[32];
            size_t length =
                (size_t)snprintf(number, sizeof number, "%.*f", whole < 4 ? 2 : 1, strtod(p, NULL));
            while (number[length - 1] == '0')
                length--;
            rm_text_add(out, number, length - (number[length - 1] == '.'));
            skip = whole + 1 + digits;
        } else if (!skip) {
            skip = whole ? whole : 1;
            rm_text_add(out, p, skip);
        }
        p += skip;
    }
}

/* Replaces the digits after every `surface` in an SVG by a count of the distinct numbers met. */
static void add_svg(rm_text *out, const rm_text *svg)
{
    enum { MAX_IDS = 64 };
    unsigned long ids[MAX_IDS];
    int n_ids = 0;
    const char *p = svg->data, *hit;
    while ((hit = strstr(p, "surface"))) {
        const char *digits = hit + strlen("surface");
        char *end;
        unsigned long id = strtoul(digits, &end, 10);
        add_shorter(out, p, (size_t)(digits - p));
        if (end != digits) {
            int i = 0;
            while (i < n_ids && ids[i] != id)
                i++;
            if (i == n_ids && n_ids < MAX_IDS)
                ids[n_ids++] = id;
            rm_text_printf(out, "%d", i);
        }
        p = end;
    }
    add_shorter(out, p, strlen(p));
}

rm_status fig_canvas_finish(fig_canvas *canvas, rm_text *bytes, rm_error *err)
{
    rm_status st = RM_OK;
    if (canvas->surface) {
        end_plplot(canvas);
        cairo_status_t cs = cairo_status(canvas->cairo);
        if (cs == CAIRO_STATUS_SUCCESS && canvas->format == RM_FORMAT_PNG)
            cs = cairo_surface_write_to_png_stream(canvas->surface, collect, &canvas->bytes);
        cairo_surface_finish(canvas->surface);
        if (cs == CAIRO_STATUS_SUCCESS)
            cs = cairo_surface_status(canvas->surface);
        if (canvas->bytes.failed || cs == CAIRO_STATUS_NO_MEMORY)
            st = rm_fail(err, RM_E_MEMORY, "There is no memory for the bytes of a figure.");
        else if (cs != CAIRO_STATUS_SUCCESS)
            st = rm_fail(err, RM_E_FORMAT, "cairo could not finish a figure: %s.",
                         cairo_status_to_string(cs));
        else if (canvas->format == RM_FORMAT_SVG)
            add_svg(bytes, &canvas->bytes);
        else
            rm_text_add(bytes, canvas->bytes.data, canvas->bytes.length);
        if (!st && bytes->failed)
            st = rm_fail(err, RM_E_MEMORY, "There is no memory for the bytes of a figure.");
    }
    fig_canvas_free(canvas);
    return st;
}

void fig_canvas_free(fig_canvas *canvas)
{
    if (!canvas)
        return;
    end_plplot(canvas);
    if (canvas->cairo)
        cairo_destroy(canvas->cairo);
    if (canvas->surface) {
        cairo_surface_finish(canvas->surface);
        cairo_surface_destroy(canvas->surface);
    }
    rm_text_free(&canvas->bytes);
    free(canvas);
}

double fig_canvas_width(const fig_canvas *canvas)
{
    return canvas->width;
}
double fig_canvas_height(const fig_canvas *canvas)
{
    return canvas->height;
}

/* ---- strokes and fills ----------------------------------------------------------------- */

static void set_color(fig_color c)
{
    plscol0a(1, c.r, c.g, c.b, c.a);
    plcol0(1);
}

/* Dash patterns in multiples of the stroke's width: marks and gaps by turns. */
static const struct pattern {
    int n;
    double length[4];
} dash_patterns[] = {
    [FIG_SOLID] = { 0, { 0 } },
    [FIG_DASHED] = { 2, { 4.5, 2.5 } },
    [FIG_DOTTED] = { 2, { 1.2, 1.8 } },
    [FIG_DASHDOT] = { 4, { 4.5, 2, 1.2, 2 } },
};

static void stroke_solid(const fig_point *p, size_t n)
{
    PLFLT x[MAX_STROKE], y[MAX_STROKE];
    while (n > 1) {
        size_t m = n < MAX_STROKE ? n : MAX_STROKE;
        for (size_t i = 0; i < m; i++) {
            x[i] = p[i].x;
            y[i] = p[i].y;
        }
        plline((PLINT)m, x, y);
        p += m - 1;
        n -= m - 1;
    }
}

/* Walks along the polyline and strokes its marks. PLplot's own styles restart at every vertex,
 * which turns a finely sampled curve into a solid one. */
static void stroke_dashed(const fig_point *p, size_t n, const struct pattern *pattern, double width)
{
    int phase = 0;
    double left = pattern->length[0] * width;
    for (size_t i = 0; i + 1 < n; i++) {
        double dx = p[i + 1].x - p[i].x, dy = p[i + 1].y - p[i].y, length = hypot(dx, dy);
        double at = 0;
        while (at < length) {
            double to = fmin(length, at + left);
            if (phase % 2 == 0)
                pljoin(p[i].x + dx * at / length, p[i].y + dy * at / length,
                       p[i].x + dx * to / length, p[i].y + dy * to / length);
            left -= to - at;
            at = to;
            if (left <= 1e-9) {
                phase = (phase + 1) % pattern->n;
                left = pattern->length[phase] * width;
            }
        }
    }
}

void fig_line(fig_canvas *canvas, const fig_point *p, size_t n, double width, fig_dash dash,
              fig_color color)
{
    if (!canvas->open)
        return;
    set_color(color);
    plwidth(width * FIG_K);
    for (size_t from = 0; from < n;) {
        size_t to = from;
        while (to < n && isfinite(p[to].x) && isfinite(p[to].y))
            to++;
        if (to - from > 1) {
            if (dash == FIG_SOLID)
                stroke_solid(p + from, to - from);
            else
                stroke_dashed(p + from, to - from, &dash_patterns[dash], width);
        }
        from = to + 1;
    }
}

void fig_segment(fig_canvas *canvas, double x0, double y0, double x1, double y1, double width,
                 fig_color color)
{
    const fig_point p[2] = { { x0, y0 }, { x1, y1 } };
    fig_line(canvas, p, 2, width, FIG_SOLID, color);
}

void fig_polygon(fig_canvas *canvas, const fig_point *p, size_t n, fig_color color)
{
    if (!canvas->open || n < 3 || n > MAX_STROKE)
        return;
    PLFLT x[MAX_STROKE], y[MAX_STROKE];
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(p[i].x) || !isfinite(p[i].y))
            return;
        x[i] = p[i].x;
        y[i] = p[i].y;
    }
    set_color(color);
    plwidth(0);
    plfill((PLINT)n, x, y);
}

void fig_box(fig_canvas *canvas, fig_rect r, fig_color color)
{
    const fig_point p[4] = { { r.x0, r.y0 }, { r.x1, r.y0 }, { r.x1, r.y1 }, { r.x0, r.y1 } };
    fig_polygon(canvas, p, 4, color);
}

/* A regular polygon or star: n corners at `radius`, the first at angle `from` (turns). */
static void corners(fig_canvas *canvas, double x, double y, double radius, double inner, int n,
                    double from, fig_color color)
{
    fig_point p[64];
    int m = inner < 1 ? 2 * n : n;
    for (int i = 0; i < m; i++) {
        double r = inner < 1 && i % 2 ? radius * inner : radius;
        double turn = 2 * 3.14159265358979323846 * (from + (double)i / m);
        p[i] = (fig_point){ x + r * cos(turn), y + r * sin(turn) };
    }
    fig_polygon(canvas, p, (size_t)m, color);
}

void fig_disc(fig_canvas *canvas, double x, double y, double radius, fig_color color)
{
    /* so many corners that the outline is nowhere off by more than a hundredth of a point */
    int n = (int)ceil(3.14159265358979323846 / acos(1 - fmin(0.01 / fmax(radius, 0.05), 0.2)));
    corners(canvas, x, y, radius, 1, n < 12 ? 12 : n > 60 ? 60 : n, 0, color);
}

/* Radii are stretched so that all shapes look equally large beside a disc. */
void fig_marker_fill(fig_canvas *canvas, fig_marker marker, double x, double y, double r,
                     fig_color color)
{
    switch (marker) {
    case FIG_CIRCLE:
        fig_disc(canvas, x, y, r, color);
        break;
    case FIG_SQUARE:
        corners(canvas, x, y, r * 1.28, 1, 4, 0.125, color);
        break;
    case FIG_DIAMOND:
        corners(canvas, x, y, r * 1.32, 1, 4, 0, color);
        break;
    case FIG_TRIANGLE:
        corners(canvas, x, y - r * 0.15, r * 1.36, 1, 3, 0.25, color);
        break;
    case FIG_TRIANGLE_DOWN:
        corners(canvas, x, y + r * 0.15, r * 1.36, 1, 3, -0.25, color);
        break;
    case FIG_PENTAGON:
        corners(canvas, x, y, r * 1.14, 1, 5, 0.25, color);
        break;
    case FIG_STAR:
        corners(canvas, x, y, r * 1.5, 0.5, 5, 0.25, color);
        break;
    case FIG_N_MARKERS:
        break;
    }
}

/* ---- text ------------------------------------------------------------------------------ */

static void set_text(double size, fig_weight weight, fig_color color)
{
    set_color(color);
    plschr(size * 25.4 / 72 * 0.75 * FIG_K, 1);
    plsfont(PL_FCI_SANS, PL_FCI_UPRIGHT, weight == FIG_BOLD ? PL_FCI_BOLD : PL_FCI_MEDIUM);
}

/* The device sets the middle of capitals 0.03 em below the reference point. */
#define TEXT_SHIFT 0.03

void fig_text(fig_canvas *canvas, double x, double y, double align, double size, fig_weight weight,
              fig_color color, const char *text)
{
    if (!canvas->open || !*text)
        return;
    set_text(size, weight, color);
    plptex(x, y + TEXT_SHIFT * size, 1, 0, align, text);
}

void fig_text_up(fig_canvas *canvas, double x, double y, double align, double size,
                 fig_weight weight, fig_color color, const char *text)
{
    if (!canvas->open || !*text)
        return;
    set_text(size, weight, color);
    plptex(x - TEXT_SHIFT * size, y, 0, 1, align, text);
}

/* Copies text without PLplot's escapes: "##" is '#', "#<...>" nothing. */
static void strip_escapes(rm_text *out, const char *text)
{
    for (const char *p = text; *p; p++) {
        if (p[0] == '#' && p[1] == '<') {
            const char *end = strchr(p, '>');
            if (end) {
                p = end;
                continue;
            }
        }
        rm_text_add(out, p, 1);
        if (p[0] == '#' && p[1] == '#')
            p++;
    }
}

double fig_text_width(const char *text, double size, fig_weight weight)
{
    rm_text plain = { 0 };
    strip_escapes(&plain, text);
    double width = 0;
    /* Measured at 200 points without rounding to pixels, by the font that Pango will take. */
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_A8, 1, 1);
    cairo_t *cairo = cairo_create(surface);
    cairo_font_options_t *options = cairo_font_options_create();
    cairo_font_options_set_hint_metrics(options, CAIRO_HINT_METRICS_OFF);
    cairo_font_options_set_hint_style(options, CAIRO_HINT_STYLE_NONE);
    cairo_set_font_options(cairo, options);
    const char *family = getenv("PLPLOT_FREETYPE_SANS_FAMILY");
    cairo_select_font_face(cairo, family ? family : FIG_FONT, CAIRO_FONT_SLANT_NORMAL,
                           weight == FIG_BOLD ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    cairo_set_font_size(cairo, 200);
    cairo_text_extents_t extents;
    cairo_text_extents(cairo, plain.data ? plain.data : "", &extents);
    if (cairo_status(cairo) == CAIRO_STATUS_SUCCESS)
        width = extents.x_advance * size / 200;
    cairo_font_options_destroy(options);
    cairo_destroy(cairo);
    cairo_surface_destroy(surface);
    rm_text_free(&plain);
    return width;
}

/* Length in bytes of the character at p: of its valid UTF-8 form, 0 if it has none. */
static size_t char_bytes(const char *p, size_t n)
{
    for (size_t k = 1; k <= 4 && k <= n; k++)
        if (rm_utf8_valid_prefix(p, k) == k)
            return k;
    return 0;
}

static void add_plain(rm_text *out, const char *p, size_t k)
{
    unsigned char c = (unsigned char)*p;
    if (k == 0)
        rm_text_puts(out, "\xef\xbf\xbd"); /* U+FFFD */
    else if (c == '#')
        rm_text_puts(out, "##");
    else if (c == '\n')
        rm_text_puts(out, "↵");
    else if (c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char)p[1] < 0xa0))
        rm_text_puts(out, " ");
    else
        rm_text_add(out, p, k);
}

/* The end of a name tells as much as its beginning: what is too long loses its middle. */
void fig_text_plain(rm_text *out, const char *text, size_t max_chars)
{
    size_t n = strlen(text), chars = 0;
    for (size_t i = 0, k; i < n; i += k ? k : 1, chars++)
        k = char_bytes(text + i, n - i);
    size_t tail = chars > max_chars ? max_chars * 2 / 5 : 0;
    size_t head = chars > max_chars ? max_chars - 1 - tail : chars;
    for (size_t i = 0, k, at = 0; i < n; i += k ? k : 1, at++) {
        k = char_bytes(text + i, n - i);
        if (at < head || at >= chars - tail)
            add_plain(out, text + i, k);
        else if (at == head)
            rm_text_puts(out, "…");
    }
}

void fig_text_wrap(rm_text *out, const char *text, double width, double size, fig_weight weight,
                   size_t max_lines)
{
    rm_text line = { 0 }, trial = { 0 };
    size_t lines = 1;
    for (const char *p = text; *p;) {
        size_t word = strcspn(p, " ");
        trial.length = 0;
        if (line.length)
            rm_text_printf(&trial, "%s ", line.data);
        rm_text_add(&trial, p, word);
        if (trial.failed || line.failed || !trial.data)
            break;
        if (line.length && fig_text_width(trial.data, size, weight) > width) {
            if (lines == max_lines) {
                rm_text_puts(&line, "…");
                break;
            }
            rm_text_printf(out, "%s\n", line.data);
            lines++;
            line.length = 0;
            rm_text_add(&line, p, word);
        } else {
            line.length = 0;
            rm_text_puts(&line, trial.data);
        }
        p += word + strspn(p + word, " ");
    }
    if (line.length)
        rm_text_puts(out, line.data);
    rm_text_free(&line);
    rm_text_free(&trial);
}
