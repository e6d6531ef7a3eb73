/* panel.h - one set of axes with its data, labels and key; and the page that holds panels.
 * Private to plots/.
 *
 * A chart calls, in the order of the layers: fig_panel_open, bands, lines, intervals, markers,
 * labels, fig_panel_close. Whatever is drawn is remembered as an obstacle for the labels, which
 * are placed and drawn by fig_panel_close. Names that find no place go into the page's key below
 * the panels; the first, dry run of a figure learns how much room that needs. */
#ifndef RM_PLOTS_PANEL_H
#define RM_PLOTS_PANEL_H

#include "plots/axis.h"
#include "plots/labels.h"

/* ---- series (series.c) ----------------------------------------------------------------- */

typedef struct fig_style {
    fig_color color;
    fig_marker marker;
    bool hollow; /* second and further models */
    bool ringed; /* verifier or oracle */
    fig_dash dash;
} fig_style;

/* Cells that belong to one line; a cell without a family is a series of its own. */
typedef struct fig_series {
    char *name; /* drawable: fig_text_plain applied, dagger included */
    fig_style style;
    size_t n;
    int *reports; /* [n] indices into task->cells, by ascending size */
} fig_series;

/* One task as the charts see it. */
typedef struct fig_view {
    const rm_analysis *analysis;
    const rm_task_report *task;
    fig_series *series;
    size_t n_series;
    const char *main_model; /* whose cells' names leave the model out; NULL: none */
} fig_view;

rm_status fig_view_new(const rm_analysis *, size_t task, fig_view *, rm_error *);
void fig_view_free(fig_view *);
const rm_cell *fig_cell(const fig_view *, int report);
/* A cell's label without the model that goes without saying. */
const char *fig_name_of(const fig_view *, const rm_cell *);
/* Must a name that does not contain the cell's model say it? */
bool fig_needs_model(const fig_view *, const rm_cell *);
const rm_estimate *fig_quantity(const fig_view *, int report, rm_quantity);
/* " †", " ‡" or "" */
const char *fig_dagger(const rm_cell *);

/* ---- pages ----------------------------------------------------------------------------- */

enum { FIG_MAX_KEY = 64, FIG_MAX_METHODS = 4 };

typedef struct fig_key {
    char *text;
    fig_style style;
    fig_color color;
} fig_key;

typedef struct fig_page {
    fig_canvas *canvas;
    fig_rect body;            /* what the panels may use: not the room for keys and notes below */
    fig_key key[FIG_MAX_KEY]; /* names that found no place beside their data */
    size_t n_key;
    double key_height;                   /* of its rows, once drawn */
    bool verifier, oracle, front, rings; /* shown: the note below explains them */
    bool steps, names;                   /* a staircase without a label; names without a model */
    bool latency;                        /* which may come from fewer problems */
    char note[256]; /* what the chart says of itself; empty: level and number of problems */
    const char *method[FIG_MAX_METHODS]; /* of the intervals shown; static strings */
    size_t n_methods;
    rm_status status; /* of the first failure; charts need not look at it */
    rm_error error;
} fig_page;

/* The page shows that cell, and an interval of that kind: remember what its note has to explain. */
void fig_page_shows(fig_page *, const rm_cell *);
void fig_page_method(fig_page *, const rm_estimate *);

/* ---- panels ---------------------------------------------------------------------------- */

typedef struct fig_panel {
    fig_page *page;
    fig_canvas *canvas;
    fig_rect outer, plot; /* the panel's share of the page; the rectangle of the axes */
    fig_scale x, y;
    fig_scene scene;
    const fig_style *key[FIG_MAX_KEY]; /* style of label i, where it may go into the key */
} fig_panel;

typedef struct fig_axes {
    const char *title; /* above the panel, bold; may be NULL */
    const char *x_title, *y_title;
    fig_scale x, y;
    bool no_x_grid;
} fig_axes;

/* Text sizes in points. */
#define FIG_SIZE_TITLE 8.0
#define FIG_SIZE_AXIS  7.6
#define FIG_SIZE_TICK  7.0
#define FIG_SIZE_LABEL 7.0
#define FIG_SIZE_SMALL 5.6
#define FIG_SIZE_NOTE  6.2

void fig_panel_open(fig_panel *, fig_page *, fig_rect outer, const fig_axes *);
void fig_panel_close(fig_panel *);

/* All coordinates below are values on the panel's scales; what has none is not drawn. */
void fig_panel_band(fig_panel *, const double *x, const double *low, const double *high, size_t n,
                    fig_color);
void fig_panel_line(fig_panel *, const double *x, const double *y, size_t n, double width, fig_dash,
                    fig_color, int owner);
/* Interval bars through a point in the directions where ends are finite or infinite (then cut). */
void fig_panel_interval(fig_panel *, double x, double y, const rm_estimate *ex,
                        const rm_estimate *ey, fig_color, int owner);
void fig_panel_marker(fig_panel *, double x, double y, double radius, const fig_style *, int owner);

/* A label that names the anchors which follow. A label with a style goes into the key where it
 * finds no place; one without is left out. */
void fig_panel_label(fig_panel *, const char *text, double size, fig_color, double importance,
                     bool may_lead, int owner, const fig_style *key);
void fig_panel_anchor(fig_panel *, double x, double y, double radius, double cost);

/* A staircase through n points by ascending x, extended to the right end; the area under it is
 * tinted. */
void fig_panel_staircase(fig_panel *, const double *x, const double *y, size_t n, double width,
                         fig_dash, fig_color line, fig_color tint);

/* A marker as panels draw it: white halo, ring, hollow middle. */
void fig_draw_marker(fig_canvas *, double x, double y, double radius, const fig_style *);

/* ---- charts: each draws into a rectangle of the page; `letter` may be NULL ---------------- */

typedef struct fig_chart_options {
    const char *title;
    bool compact; /* one of several panels in a row */
} fig_chart_options;

void fig_chart_tradeoff(const fig_view *, fig_page *, fig_rect, rm_quantity cost,
                        const fig_chart_options *);
void fig_chart_frontier(const fig_view *, fig_page *, fig_rect, rm_quantity cost,
                        const fig_chart_options *);
void fig_chart_diversity(const fig_view *, fig_page *, fig_rect, const fig_chart_options *);
void fig_chart_samples(const fig_view *, fig_page *, fig_rect, int report,
                       const fig_chart_options *);
void fig_chart_size(const fig_view *, fig_page *, fig_rect, const fig_chart_options *);
/* Accuracy, or the chosen answers' log-probability, against the beam width. */
void fig_chart_beams(const fig_view *, fig_page *, fig_rect, rm_quantity,
                     const fig_chart_options *);
void fig_chart_coverage(const fig_view *, fig_page *, fig_rect);
void fig_chart_tuning(const fig_view *, fig_page *, fig_rect);
void fig_chart_reliability(const fig_view *, fig_page *, fig_rect, int report,
                           const fig_chart_options *);
void fig_chart_distribution(const fig_view *, fig_page *, fig_rect);
void fig_chart_differences(const fig_view *, fig_page *, fig_rect);

bool fig_has_cost(const fig_view *, rm_quantity);
/* Most problems that a cell's latency was measured on; 0: none. */
size_t fig_latency_problems(const fig_view *);
/* The cells with the longest subset curves, one a model, at most `room`. */
size_t fig_sample_pools(const fig_view *, int *reports, size_t room);
size_t fig_calibrated(const fig_view *, int *reports, size_t room);
bool fig_has_sizes(const fig_view *);
/* Is the cell's law of coverage the longest of its family, of draws not seen in an earlier cell? */
bool fig_longest_fit(const fig_view *, size_t report);
const rm_subset_curve *fig_coverage_of(const rm_cell_report *);
/* Swept beams with several widths. */
bool fig_has_beams(const fig_view *);
bool fig_has_beam_lp(const fig_view *); /* with log-probabilities */
const fig_style *fig_style_of(const fig_view *, int report);
size_t fig_distribution_rows(const fig_view *);
size_t fig_difference_rows(const fig_view *);

/* Title of a cost axis and the factor from the recorded unit to the drawn one. */
typedef struct fig_unit {
    const char *title;
    double factor;
} fig_unit;
fig_unit fig_cost_unit(const fig_view *, rm_quantity);

#endif
