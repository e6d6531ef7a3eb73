/* chart_tradeoff.c - accuracy against a cost: the trade-off and its Pareto front.
 *
 * A cell is a point with its intervals in both directions. The front is that of the cells
 * without verifier and oracle, a staircase: beyond a point's cost its accuracy can be had, and
 * nothing in between is promised. The same chart, with a linear axis and without a front, shows
 * accuracy against diversity. */
#include "plots/panel.h"

#include <math.h>
#include <stdio.h>

enum { MAX_POINTS = 1000 };

typedef struct chart_point {
    int report;
    size_t series;
    double x, y; /* drawn units: y in percent */
    rm_estimate x_range, y_range;
    bool on_front;
} chart_point;

typedef struct scatter {
    const fig_view *view;
    rm_quantity cost;
    double factor;
    size_t n;
    chart_point points[MAX_POINTS];
} scatter;

static rm_estimate scaled(rm_estimate e, double factor)
{
    e.value *= factor;
    e.low *= factor;
    e.high *= factor;
    return e;
}

/* ---- data ------------------------------------------------------------------------------ */

static bool on_plain_front(const fig_view *v, rm_quantity cost, int report)
{
    for (size_t f = 0; f < v->task->n_fronts; f++) {
        const rm_front *front = &v->task->fronts[f];
        if (front->cost != cost || front->class_ != RM_FRONT_PLAIN)
            continue;
        for (size_t i = 0; i < front->n; i++)
            if (front->points[i].report == report)
                return front->points[i].on_front;
    }
    return false;
}

static void collect(scatter *s, const fig_view *v, rm_quantity cost, double factor)
{
    s->view = v;
    s->cost = cost;
    s->factor = factor;
    s->n = 0;
    for (size_t i = 0; i < v->n_series; i++)
        for (size_t j = 0; j < v->series[i].n && s->n < MAX_POINTS; j++) {
            int report = v->series[i].reports[j];
            rm_estimate x = *fig_quantity(v, report, cost);
            rm_estimate y = *fig_quantity(v, report, RM_Q_ACCURACY);
            if (!isfinite(x.value) || !isfinite(y.value))
                continue;
            if (cost != RM_Q_DISTINCT_ANSWERS && !(x.value > 0))
                continue; /* a log axis */
            s->points[s->n++] = (chart_point){
                report,
                i,
                x.value * factor,
                y.value * 100,
                scaled(x, factor),
                scaled(y, 100),
                on_plain_front(v, cost, report),
            };
        }
}

bool fig_has_cost(const fig_view *v, rm_quantity cost)
{
    for (size_t i = 0; i < v->task->n_cells; i++) {
        double x = fig_quantity(v, (int)i, cost)->value;
        if (isfinite(x) && (x > 0 || cost == RM_Q_DISTINCT_ANSWERS) &&
            isfinite(fig_quantity(v, (int)i, RM_Q_ACCURACY)->value))
            return true;
    }
    return false;
}

size_t fig_latency_problems(const fig_view *v)
{
    size_t most = 0;
    for (size_t i = 0; i < v->task->n_cells; i++) {
        const rm_estimate *e = fig_quantity(v, (int)i, RM_Q_LATENCY_P50_MS);
        if (isfinite(e->value) && e->n > most)
            most = e->n;
    }
    return most;
}

fig_unit fig_cost_unit(const fig_view *v, rm_quantity q)
{
    switch (q) {
    case RM_Q_LATENCY_P50_MS: {
        double largest = 0;
        for (size_t i = 0; i < v->task->n_cells; i++) {
            double ms = fig_quantity(v, (int)i, q)->value;
            if (isfinite(ms))
                largest = fmax(largest, ms);
        }
        return largest >= 2000 ? (fig_unit){ "Median latency (s, log scale)", 1e-3 }
                               : (fig_unit){ "Median latency (ms, log scale)", 1 };
    }
    case RM_Q_GENERATED_TOKENS:
        return (fig_unit){ "Tokens per problem (log scale)", 1 };
    case RM_Q_FLOPS:
        return (fig_unit){ "FLOPs per problem (log scale)", 1 };
    case RM_Q_DISTINCT_ANSWERS:
        return (fig_unit){ "Distinct answers per problem", 1 };
    default:
        return (fig_unit){ rm_quantity_describe(q)->title, 1 };
    }
}

/* Intervals widen the range, but not without bound: one wild interval must not squeeze the
 * points into a corner. */
static void add_bounded(fig_range *r, fig_scale_kind kind, double end, double value, double most)
{
    if (kind == FIG_LINEAR)
        fig_range_add(r, kind, fmin(fmax(end, value - most), value + most));
    else
        fig_range_add(r, kind, fmin(fmax(end, value / most), value * most));
}

static fig_axes make_axes(const scatter *s, fig_scale_kind kind, const char *title)
{
    fig_range x = FIG_EMPTY, y = FIG_EMPTY;
    for (size_t i = 0; i < s->n; i++) {
        const chart_point *p = &s->points[i];
        fig_range_add(&x, kind, p->x);
        if (!isnan(p->x_range.low))
            add_bounded(&x, kind, p->x_range.low, p->x, 3);
        if (!isnan(p->x_range.high))
            add_bounded(&x, kind, p->x_range.high, p->x, 3);
        fig_range_add(&y, FIG_LINEAR, p->y);
        if (!isnan(p->y_range.low))
            add_bounded(&y, FIG_LINEAR, p->y_range.low, p->y, 100);
        if (!isnan(p->y_range.high))
            add_bounded(&y, FIG_LINEAR, p->y_range.high, p->y, 100);
    }
    fig_axes axes = { .title = title,
                      .x_title = fig_cost_unit(s->view, s->cost).title,
                      .y_title = "Accuracy (%)" };
    axes.x =
        kind == FIG_LINEAR ? fig_scale_nice(x, 1, 0, INFINITY, 6) : fig_scale_log(kind, x, 0.07, 4);
    axes.y = fig_scale_nice(y, 10, 0, 100, 5);
    return axes;
}

/* ---- layers ---------------------------------------------------------------------------- */

static size_t front_of(const scatter *s, double *x, double *y)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!s->points[i].on_front)
            continue;
        size_t at = n++; /* insertion by ascending cost */
        for (; at > 0 && x[at - 1] > s->points[i].x; at--) {
            x[at] = x[at - 1];
            y[at] = y[at - 1];
        }
        x[at] = s->points[i].x;
        y[at] = s->points[i].y;
    }
    return n;
}

static void label_front(fig_panel *panel, const double *x, const double *y, size_t n)
{
    if (n < 2)
        return;
    fig_panel_label(panel, "Pareto front", FIG_SIZE_LABEL, FIG_BLUE, 1, false, -1, NULL);
    for (size_t i = 0; i + 1 < n; i++) /* along the level parts that are long enough to be meant */
        for (int part = fig_at(&panel->x, x[i + 1]) - fig_at(&panel->x, x[i]) < 14 ? 8 : 1;
             part < 8; part++)
            fig_panel_anchor(panel, x[i] * pow(x[i + 1] / x[i], part / 8.0), y[i], 1.5, 1);
    for (int part = 1; part < 4; part++) /* and the last one, to the right end */
        fig_panel_anchor(panel, x[n - 1] * pow(panel->x.high / x[n - 1], part / 4.0), y[n - 1], 1.5,
                         1);
}

static void draw_series_lines(fig_panel *panel, const scatter *s)
{
    double x[256], y[256];
    for (size_t i = 0; i < s->view->n_series; i++) {
        size_t n = 0;
        for (size_t j = 0; j < s->n && n < 256; j++)
            if (s->points[j].series == i) {
                x[n] = s->points[j].x;
                y[n++] = s->points[j].y;
            }
        if (n > 1)
            fig_panel_line(panel, x, y, n, 0.9, FIG_SOLID,
                           fig_fade(s->view->series[i].style.color, 0.45), (int)i);
    }
}

/* The series' names, each beside any of its points; a swept size beside every point. */
static void label_series(fig_panel *panel, const scatter *s, double radius)
{
    for (size_t i = 0; i < s->view->n_series; i++) {
        const fig_series *series = &s->view->series[i];
        bool first = true, front = false;
        for (size_t j = 0; j < s->n; j++)
            front |= s->points[j].series == i && s->points[j].on_front;
        size_t of_series = 0;
        for (size_t j = 0; j < s->n; j++) {
            if (s->points[j].series != i)
                continue;
            if (first)
                fig_panel_label(panel, series->name, FIG_SIZE_LABEL, series->style.color,
                                front ? 1.3 : 1, true, (int)i, &series->style);
            first = false;
            fig_panel_anchor(panel, s->points[j].x, s->points[j].y,
                             radius + (series->style.ringed ? 3 : 0.9), 0);
            of_series++;
        }
        for (size_t j = 0; of_series > 1 && j < s->n; j++) {
            double size = fig_cell(s->view, s->points[j].report)->size;
            if (s->points[j].series != i || !isfinite(size))
                continue;
            char text[24];
            fig_number(size, text);
            fig_panel_label(panel, text, FIG_SIZE_SMALL, series->style.color, 0.12, false, (int)i,
                            NULL);
            fig_panel_anchor(panel, s->points[j].x, s->points[j].y, radius + 0.2, 0);
        }
    }
}

/* Points that lie on each other are drawn in rings: those below a little larger. */
static double rim(const fig_panel *panel, const scatter *s, size_t i)
{
    double x = fig_at(&panel->x, s->points[i].x), y = fig_at(&panel->y, s->points[i].y);
    int above = 0;
    for (size_t j = i + 1; j < s->n; j++)
        above += hypot(fig_at(&panel->x, s->points[j].x) - x,
                       fig_at(&panel->y, s->points[j].y) - y) < 1.8;
    return 1.7 * fmin(above, 3);
}

static void draw_points(fig_panel *panel, const scatter *s, bool x_intervals)
{
    double radius = s->n > 30 ? 2.2 : s->n > 14 ? 2.5 : 3.0;
    double opacity = s->n > 14 ? 0.38 : s->n > 7 ? 0.6 : 1; /* many intervals: points come first */
    for (size_t i = 0; i < s->n; i++) {
        const chart_point *p = &s->points[i];
        fig_panel_interval(panel, p->x, p->y, x_intervals ? &p->x_range : NULL, &p->y_range,
                           fig_fade(s->view->series[p->series].style.color, opacity),
                           (int)p->series);
    }
    for (size_t i = 0; i < s->n; i++) {
        const chart_point *p = &s->points[i];
        fig_panel_marker(panel, p->x, p->y, radius + rim(panel, s, i),
                         &s->view->series[p->series].style, (int)p->series);
        fig_page_shows(panel->page, fig_cell(s->view, p->report));
    }
    label_series(panel, s, radius);
}

/* ---- charts ---------------------------------------------------------------------------- */

void fig_chart_tradeoff(const fig_view *v, fig_page *page, fig_rect rect, rm_quantity cost,
                        const fig_chart_options *o)
{
    scatter s;
    collect(&s, v, cost, fig_cost_unit(v, cost).factor);
    fig_axes axes = make_axes(&s, FIG_LOG10, o->title);
    fig_panel panel;
    fig_panel_open(&panel, page, rect, &axes);
    double x[MAX_POINTS], y[MAX_POINTS];
    size_t n = front_of(&s, x, y);
    page->front = true;
    page->steps |= n > 1;
    page->latency |= cost == RM_Q_LATENCY_P50_MS;
    fig_panel_staircase(&panel, x, y, n, 0.9, FIG_SOLID, fig_fade(FIG_GRAY, 0.55),
                        fig_fade(FIG_GRAY, 0.06));
    draw_series_lines(&panel, &s);
    draw_points(&panel, &s, true);
    fig_panel_close(&panel);
}

void fig_chart_frontier(const fig_view *v, fig_page *page, fig_rect rect, rm_quantity cost,
                        const fig_chart_options *o)
{
    static const fig_style on = { { 0x00, 0x72, 0xb2, 1 }, FIG_CIRCLE, false, false, FIG_SOLID };
    static const fig_style off = { { 0x6a, 0x6a, 0x6a, 1 }, FIG_CIRCLE, true, false, FIG_SOLID };
    scatter s;
    collect(&s, v, cost, fig_cost_unit(v, cost).factor);
    fig_axes axes = make_axes(&s, FIG_LOG10, o->title);
    fig_panel panel;
    fig_panel_open(&panel, page, rect, &axes);
    double x[MAX_POINTS], y[MAX_POINTS];
    size_t n = front_of(&s, x, y), n_dominated = 0, n_marked = 0;
    page->front = true;
    fig_panel_staircase(&panel, x, y, n, 1.4, FIG_SOLID, FIG_BLUE, fig_fade(FIG_BLUE, 0.07));
    for (size_t i = 0; i < s.n; i++) { /* dominated points below, the front above */
        const chart_point *p = &s.points[i];
        const fig_style *own = &v->series[p->series].style;
        fig_page_shows(page, fig_cell(v, p->report));
        n_marked += own->ringed;
        n_dominated += !own->ringed && !p->on_front;
        if (!p->on_front)
            fig_panel_marker(&panel, p->x, p->y, 2.1, own->ringed ? own : &off, -1);
    }
    for (size_t i = 0; i < s.n; i++) {
        const chart_point *p = &s.points[i];
        if (!p->on_front)
            continue;
        fig_panel_interval(&panel, p->x, p->y, NULL, &p->y_range, fig_fade(FIG_BLUE, 0.5), -1);
    }
    for (size_t i = 0; i < n; i++)
        fig_panel_marker(&panel, x[i], y[i], 2.9, &on, -1);
    label_front(&panel, x, y, n);
    if (n_dominated) {
        fig_panel_label(&panel, "dominated", FIG_SIZE_LABEL, FIG_GRAY, 1, true, -1, &off);
        for (size_t i = 0; i < s.n; i++)
            if (!s.points[i].on_front && !v->series[s.points[i].series].style.ringed)
                fig_panel_anchor(&panel, s.points[i].x, s.points[i].y, 2.6, 0);
    }
    for (size_t i = 0; n_marked && i < v->n_series; i++) {
        if (!v->series[i].style.ringed)
            continue;
        bool first = true;
        for (size_t j = 0; j < s.n; j++) {
            if (s.points[j].series != i)
                continue;
            if (first)
                fig_panel_label(&panel, v->series[i].name, FIG_SIZE_LABEL, v->series[i].style.color,
                                0.8, true, (int)i, &v->series[i].style);
            first = false;
            fig_panel_anchor(&panel, s.points[j].x, s.points[j].y, 5, 0);
        }
    }
    fig_panel_close(&panel);
}

void fig_chart_diversity(const fig_view *v, fig_page *page, fig_rect rect,
                         const fig_chart_options *o)
{
    scatter s;
    collect(&s, v, RM_Q_DISTINCT_ANSWERS, 1);
    fig_axes axes = make_axes(&s, FIG_LINEAR, o->title);
    char title[96];
    snprintf(title, sizeof title, "Distinct answers among %zu candidates",
             v->analysis->options.diversity_k);
    if (v->analysis->options.diversity_k)
        axes.x_title = title;
    fig_panel panel;
    fig_panel_open(&panel, page, rect, &axes);
    draw_series_lines(&panel, &s);
    draw_points(&panel, &s, true);
    fig_panel_close(&panel);
}
