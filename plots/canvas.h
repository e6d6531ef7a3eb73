/* canvas.h - what every figure is drawn on. Private to plots/.
 *
 * A canvas is one page in points (1/72 inch), origin at the lower left, y upwards. PLplot draws
 * it through its device "extcairo" onto a cairo surface that we own, so that PDF, SVG and PNG
 * show the same picture and widths below one point survive. Colours, widths and sizes are
 * arguments of every call: a canvas has no current state.
 *
 * A canvas without a surface (fig_canvas_dry) takes every call and draws nothing; figures are
 * laid out once on such a canvas to learn what they need room for.
 *
 * Texts are UTF-8. fig_text_plain makes a foreign text safe to draw; texts of our own may hold
 * "#<italic/>" and "#<upright/>" (PLplot's escapes). */
#ifndef RM_PLOTS_CANVAS_H
#define RM_PLOTS_CANVAS_H

#include "plots/plots.h"

typedef struct fig_color {
    unsigned char r, g, b;
    double a; /* opacity */
} fig_color;

typedef struct fig_point {
    double x, y;
} fig_point;

typedef struct fig_rect {
    double x0, y0, x1, y1; /* x0 <= x1, y0 <= y1 */
} fig_rect;

typedef struct fig_canvas fig_canvas;

/* Opens a page of width x height points. The bytes are complete after fig_canvas_finish. */
rm_status fig_canvas_open(rm_format, double width, double height, double dpi, const char *title,
                          fig_canvas **, rm_error *);
rm_status fig_canvas_dry(double width, double height, fig_canvas **, rm_error *);
/* Appends the file's bytes to `bytes` (nothing for a dry canvas) and frees the canvas, also on
 * failure. */
rm_status fig_canvas_finish(fig_canvas *, rm_text *bytes, rm_error *);
void fig_canvas_free(fig_canvas *); /* drops the drawing; accepts NULL */

double fig_canvas_width(const fig_canvas *);
double fig_canvas_height(const fig_canvas *);

typedef enum fig_dash { FIG_SOLID, FIG_DASHED, FIG_DOTTED, FIG_DASHDOT } fig_dash;

/* Points that are not finite end one stroke and begin the next. */
void fig_line(fig_canvas *, const fig_point *, size_t n, double width, fig_dash, fig_color);
void fig_segment(fig_canvas *, double x0, double y0, double x1, double y1, double width, fig_color);
void fig_polygon(fig_canvas *, const fig_point *, size_t n, fig_color);
void fig_box(fig_canvas *, fig_rect, fig_color);
void fig_disc(fig_canvas *, double x, double y, double radius, fig_color);

typedef enum fig_marker {
    FIG_CIRCLE,
    FIG_SQUARE,
    FIG_DIAMOND,
    FIG_TRIANGLE,
    FIG_TRIANGLE_DOWN,
    FIG_PENTAGON,
    FIG_STAR,
    FIG_N_MARKERS
} fig_marker;

/* A marker of the optical size of a disc of that radius. */
void fig_marker_fill(fig_canvas *, fig_marker, double x, double y, double radius, fig_color);

typedef enum fig_weight { FIG_REGULAR, FIG_BOLD } fig_weight;

/* Text with its middle (half the height of capitals) at y; align 0 starts at x, 0.5 is centred,
 * 1 ends at x. fig_text_up reads from bottom to top, its middle at x. */
void fig_text(fig_canvas *, double x, double y, double align, double size, fig_weight, fig_color,
              const char *text);
void fig_text_up(fig_canvas *, double x, double y, double align, double size, fig_weight, fig_color,
                 const char *text);

/* Width in points; the box of a line of text reaches from FIG_TEXT_BELOW to FIG_TEXT_ABOVE ems
 * around its middle. */
double fig_text_width(const char *text, double size, fig_weight);
#define FIG_TEXT_ABOVE 0.46
#define FIG_TEXT_BELOW 0.58

/* Appends `text` so that it can be drawn: '#' doubled, control characters and invalid UTF-8
 * replaced, cut to at most max_chars (> 0) characters with an ellipsis in the middle. */
void fig_text_plain(rm_text *out, const char *text, size_t max_chars);

/* Appends the pieces of `text` that fit `width`, one line each, at most max_lines (an ellipsis
 * ends the last one where text was left over). Lines are separated by '\n'. */
void fig_text_wrap(rm_text *out, const char *text, double width, double size, fig_weight,
                   size_t max_lines);

/* ---- style.c --------------------------------------------------------------------------- */

extern const fig_color FIG_INK, FIG_GRAY, FIG_GRID, FIG_WHITE, FIG_BLUE, FIG_ORANGE, FIG_GREEN,
    FIG_VERMILLION, FIG_PURPLE, FIG_SKY;

fig_color fig_fade(fig_color, double opacity);
fig_color fig_mix(fig_color, fig_color, double share_of_second);
/* The colour made dark enough to be read as text on white (contrast 4.5 : 1, WCAG 2.1). */
fig_color fig_readable(fig_color);
double fig_contrast_on_white(fig_color);
/* A perceptually even, colour-blind-safe ramp from dark blue (0) to yellow (1). */
fig_color fig_ramp(double t);

#endif
