/* chart_curves.c - curves with what the analysis says of them.
 *
 * fig_chart_beams: accuracy, or what a beam search raises instead, the log-probability of the
 * chosen answer, against the beam width; the change per doubling with its corrected interval stands
 * in the panel. Side by side the two show whether a likelier answer is a better one.
 * fig_chart_coverage: pass@k of every pool with its law exp(-a k^-b) as a dotted line, and where
 * one pool overtakes another. fig_chart_tuning: expected accuracy of the best of m settings, tuned
 * and judged apart. */
#include "plots/panel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CURVE = 64, MAX_CURVES = 24, MOST_BANDS = 3 };

/* A line with its intervals, in drawn units. */
typedef struct drawn {
    size_t n;
    double x[MAX_CURVE], y[MAX_CURVE], low[MAX_CURVE], high[MAX_CURVE];
    const fig_style *style;
    int report; /* of any of its cells */
} drawn;

static void add_point(drawn *d, double x, const rm_estimate *e, double factor)
{
    if (d->n == MAX_CURVE || !isfinite(x) || !isfinite(e->value))
        return;
    d->x[d->n] = x;
    d->y[d->n] = factor * e->value;
    d->low[d->n] = factor * e->low;
    d->high[d->n++] = factor * e->high;
}

static void ranges(const drawn *curves, size_t n, fig_range *x, fig_range *y)
{
    *x = *y = FIG_EMPTY;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < curves[i].n; j++) {
            fig_range_add(x, FIG_LOG2, curves[i].x[j]);
            fig_range_add(y, FIG_LINEAR, curves[i].y[j]);
            fig_range_add(y, FIG_LINEAR, curves[i].low[j]);
            fig_range_add(y, FIG_LINEAR, curves[i].high[j]);
        }
}

/* Where many lines meet, bars a little beside each other instead of bands. */
static double beside(size_t nth, size_t n)
{
    return n > MOST_BANDS ? exp2(0.06 * ((double)nth - 0.5 * (double)(n - 1))) : 1;
}

static void spread_out(drawn *curves, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < curves[i].n; j++)
            curves[i].x[j] *= beside(i, n);
}

/* Bands or bars, lines, markers. */
static void draw_curves(fig_panel *panel, const drawn *curves, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (n <= MOST_BANDS)
            fig_panel_band(panel, curves[i].x, curves[i].low, curves[i].high, curves[i].n,
                           fig_fade(curves[i].style->color, 0.13));
        for (size_t j = 0; n > MOST_BANDS && j < curves[i].n; j++) {
            rm_estimate e = { .value = curves[i].y[j],
                              .low = curves[i].low[j],
                              .high = curves[i].high[j] };
            fig_panel_interval(panel, curves[i].x[j], e.value, NULL, &e,
                               fig_fade(curves[i].style->color, 0.4), (int)i);
        }
    }
    for (size_t i = 0; i < n; i++)
        fig_panel_line(panel, curves[i].x, curves[i].y, curves[i].n, 1.3, curves[i].style->dash,
                       curves[i].style->color, (int)i);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < curves[i].n; j++)
            fig_panel_marker(panel, curves[i].x[j], curves[i].y[j], 2.6, curves[i].style, (int)i);
}

/* A name beside its curve, rather at its right end. */
static void name_curve(fig_panel *panel, const drawn *d, const char *name, int owner)
{
    fig_panel_label(panel, name, FIG_SIZE_LABEL, d->style->color, 2, true, owner, d->style);
    for (size_t j = 0; j < d->n; j++)
        fig_panel_anchor(panel, d->x[j], d->y[j], 3.9, 0.35 * (double)(d->n - 1 - j));
}

static const char *series_name(const fig_view *v, int report)
{
    for (size_t i = 0; i < v->n_series; i++)
        for (size_t j = 0; j < v->series[i].n; j++)
            if (v->series[i].reports[j] == report)
                return v->series[i].name;
    return fig_cell(v, report)->label;
}

/* ---- beams ------------------------------------------------------------------------------- */

static bool is_beams(const fig_view *v, const rm_family *f)
{
    return f->n > 1 && f->size_name && strstr(f->size_name, "beam") &&
           fig_cell(v, f->reports[0])->size < fig_cell(v, f->reports[f->n - 1])->size;
}

static size_t beam_curves(const fig_view *v, rm_quantity quantity, drawn *curves, int *family)
{
    size_t n = 0;
    double factor = rm_quantity_describe(quantity)->share ? 100 : 1;
    for (size_t f = 0; f < v->task->n_families && n < MAX_CURVES; f++) {
        const rm_family *of = &v->task->families[f];
        if (!is_beams(v, of))
            continue;
        curves[n] = (drawn){ .style = fig_style_of(v, of->reports[0]), .report = of->reports[0] };
        for (size_t i = 0; i < of->n; i++)
            add_point(&curves[n], fig_cell(v, of->reports[i])->size,
                      fig_quantity(v, of->reports[i], quantity), factor);
        family[n] = (int)f;
        n += curves[n].n > 1;
    }
    return n;
}

/* Has a family of beams two widths with a value? */
static bool has_beams(const fig_view *v, rm_quantity quantity)
{
    for (size_t f = 0; f < v->task->n_families; f++) {
        const rm_family *of = &v->task->families[f];
        size_t known = 0;
        for (size_t i = 0; i < of->n; i++)
            known += isfinite(fig_quantity(v, of->reports[i], quantity)->value) &&
                     fig_cell(v, of->reports[i])->size > 0;
        if (is_beams(v, of) && known > 1)
            return true;
    }
    return false;
}

bool fig_has_beams(const fig_view *v)
{
    return has_beams(v, RM_Q_ACCURACY);
}

bool fig_has_beam_lp(const fig_view *v)
{
    return has_beams(v, RM_Q_CHOSEN_LP);
}

static const char *minus_of(double value, double least)
{
    return value <= -least ? "−" : value >= least ? "+" : "";
}

/* "per doubling +1.5 [−0.8, +4.0]"; only where one line is drawn, which it can but mean. */
static void label_trend(const fig_view *v, fig_panel *panel, int family, rm_quantity quantity)
{
    bool share = rm_quantity_describe(quantity)->share;
    for (size_t i = 0; i < v->task->n_trends; i++) {
        const rm_trend *t = &v->task->trends[i];
        double factor = share ? 100 : 1, value = factor * t->slope.value;
        double low = factor * t->corrected.low, high = factor * t->corrected.high;
        int digits = share ? 1 : 2;
        double least = share ? 0.05 : 0.005;
        char text[128];
        if (t->family != family || t->quantity != quantity || !isfinite(low) || !isfinite(high))
            continue;
        snprintf(text, sizeof text, "per doubling %s%.*f [%s%.*f, %s%.*f]%s",
                 minus_of(value, least), digits, fabs(value), minus_of(low, least), digits,
                 fabs(low), minus_of(high, least), digits, fabs(high), share ? " pp" : " nats");
        fig_panel_label(panel, text, FIG_SIZE_NOTE, FIG_INK, 3, false, -1, NULL);
        double left = panel->x.low * pow(panel->x.high / panel->x.low, 0.03);
        for (int at = 0; at < 12; at++) { /* down the left side */
            double part = at < 6 ? 0.95 - 0.07 * at : 0.05 + 0.07 * (at - 6);
            fig_panel_anchor(panel, left, panel->y.low + part * (panel->y.high - panel->y.low), 0,
                             0.1 * at);
        }
    }
}

void fig_chart_beams(const fig_view *v, fig_page *page, fig_rect rect, rm_quantity quantity,
                     const fig_chart_options *o)
{
    drawn curves[MAX_CURVES] = { { 0 } };
    int family[MAX_CURVES];
    bool share = rm_quantity_describe(quantity)->share;
    size_t n = beam_curves(v, quantity, curves, family);
    spread_out(curves, n);
    fig_range x, y;
    ranges(curves, n, &x, &y);
    fig_axes axes = { .title = o->title,
                      .x_title = "Beam width (log₂ scale)",
                      .y_title = share ? "Accuracy (%)" : "Log-probability (nats)",
                      .x = fig_scale_log2(x),
                      .y = share ? fig_scale_nice(y, 10, 0, 100, 5)
                                 : fig_scale_nice(y, 0.1, -INFINITY, 0, 5) };
    fig_panel panel;
    fig_panel_open(&panel, page, rect, &axes);
    draw_curves(&panel, curves, n);
    for (size_t i = 0; i < n; i++) {
        const rm_family *f = &v->task->families[family[i]];
        fig_page_shows(page, fig_cell(v, curves[i].report));
        for (size_t j = 0; j < f->n; j++)
            fig_page_method(page, fig_quantity(v, f->reports[j], quantity));
        name_curve(&panel, &curves[i], series_name(v, curves[i].report), (int)i);
    }
    if (n == 1)
        label_trend(v, &panel, family[0], quantity);
    fig_panel_close(&panel);
}

/* ---- coverage ---------------------------------------------------------------------------- */

static size_t coverage_curves(const fig_view *v, drawn *curves)
{
    size_t n = 0;
    for (size_t i = 0; i < v->task->n_cells && n < MAX_CURVES; i++) {
        const rm_subset_curve *c = fig_coverage_of(&v->task->cells[i]);
        if (!c || !fig_longest_fit(v, i))
            continue;
        curves[n] = (drawn){ .style = fig_style_of(v, (int)i), .report = (int)i };
        for (size_t j = 0; j < c->n_points; j++)
            add_point(&curves[n], (double)c->k[j], &c->value[j], 100);
        n += curves[n].n > 0;
    }
    return n;
}

/* The law over the measured range. */
static void draw_law(fig_panel *panel, const drawn *d, const rm_scaling *law, int owner)
{
    enum { STEPS = 48 };
    double k[STEPS + 1], y[STEPS + 1];
    for (int i = 0; i <= STEPS; i++) {
        k[i] = d->x[0] * pow(d->x[d->n - 1] / d->x[0], i / (double)STEPS);
        y[i] = 100 * exp(-law->a.value * pow(k[i], -law->b.value));
    }
    fig_panel_line(panel, k, y, STEPS + 1, 1.0, FIG_DASHED, d->style->color, owner);
}

/* Height of a curve at k, straight in log k between its points. */
static double height_at(const drawn *d, double k)
{
    for (size_t i = 1; i < d->n; i++)
        if (k <= d->x[i])
            return d->y[i - 1] +
                   (d->y[i] - d->y[i - 1]) * log(k / d->x[i - 1]) / log(d->x[i] / d->x[i - 1]);
    return d->y[d->n - 1];
}

static const drawn *curve_of(const drawn *curves, size_t n, int report)
{
    for (size_t i = 0; i < n; i++)
        if (curves[i].report == report)
            return &curves[i];
    return NULL;
}

/* The interval of k in which one pool overtakes another, at the height where they meet. */
static void draw_crossings(const fig_view *v, fig_panel *panel, const drawn *curves, size_t n)
{
    for (size_t i = 0; i < v->task->n_crossings; i++) {
        const rm_crossing *c = &v->task->crossings[i];
        const drawn *ahead = curve_of(curves, n, c->ahead);
        if (c->kind != RM_PASS_AT_K || !isfinite(c->at.value) || !ahead)
            continue;
        double y = height_at(ahead, c->at.value);
        rm_estimate e = c->at;
        e.low = isinf(e.low) ? panel->x.low : e.low;
        e.high = isinf(e.high) ? (double)c->k_most : e.high;
        fig_panel_interval(panel, e.value, y, &e, NULL, FIG_INK, -1);
        char text[96];
        if (isfinite(c->at.low) && isfinite(c->at.high))
            snprintf(text, sizeof text, "cross at %.2g [%.2g, %.2g]", c->at.value, c->at.low,
                     c->at.high);
        else
            snprintf(text, sizeof text, "cross at %.2g (%s bound)", c->at.value,
                     isfinite(c->at.low)    ? "no upper"
                     : isfinite(c->at.high) ? "no lower"
                                            : "neither");
        fig_panel_label(panel, text, FIG_SIZE_NOTE, FIG_INK, 1.5, true, -1, NULL);
        fig_panel_anchor(panel, e.value, y, 4, 0);
    }
}

void fig_chart_coverage(const fig_view *v, fig_page *page, fig_rect rect)
{
    drawn curves[MAX_CURVES] = { { 0 } };
    size_t n = coverage_curves(v, curves);
    fig_range x, y;
    ranges(curves, n, &x, &y);
    fig_axes axes = { .x_title = "Samples #<italic/>k#<upright/> per problem (log₂ scale)",
                      .y_title = "Coverage: pass@#<italic/>k#<upright/> (%)",
                      .x = fig_scale_log2(x),
                      .y = fig_scale_nice(y, 10, 0, 100, 5) };
    fig_panel panel;
    fig_panel_open(&panel, page, rect, &axes);
    for (size_t i = 0; i < n; i++) {
        const rm_cell_report *r = &v->task->cells[curves[i].report];
        const rm_subset_curve *c = fig_coverage_of(r);
        fig_panel_band(&panel, curves[i].x, curves[i].low, curves[i].high, curves[i].n,
                       fig_fade(curves[i].style->color, n > MOST_BANDS ? 0.08 : 0.13));
        fig_page_shows(page, fig_cell(v, curves[i].report));
        for (size_t j = 0; j < c->n_points; j++)
            fig_page_method(page, &c->value[j]);
    }
    for (size_t i = 0; i < n; i++)
        draw_law(&panel, &curves[i], &v->task->cells[curves[i].report].scaling, (int)i);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < curves[i].n; j++)
            fig_panel_marker(&panel, curves[i].x[j], curves[i].y[j], 2.6, curves[i].style, (int)i);
    draw_crossings(v, &panel, curves, n);
    for (size_t i = 0; i < n; i++)
        name_curve(&panel, &curves[i], series_name(v, curves[i].report), (int)i);
    fig_panel_close(&panel);
}

/* ---- equal tuning ------------------------------------------------------------------------ */

/* A group of settings is a strategy with a model; of an ensemble the strategy says enough. */
static void name_group(const fig_view *v, fig_panel *panel, const drawn *d, int owner)
{
    const rm_cell *cell = fig_cell(v, d->report);
    rm_text raw = { 0 }, name = { 0 };
    if (fig_needs_model(v, cell) && !strstr(cell->model, " + "))
        rm_text_printf(&raw, "%s: ", cell->model);
    rm_text_puts(&raw, cell->strategy);
    if (!raw.failed)
        fig_text_plain(&name, raw.data, 40);
    rm_text_puts(&name, fig_dagger(cell));
    if (!name.failed)
        name_curve(panel, d, name.data, owner);
    rm_text_free(&raw);
    rm_text_free(&name);
}

void fig_chart_tuning(const fig_view *v, fig_page *page, fig_rect rect)
{
    drawn curves[MAX_CURVES] = { { 0 } };
    size_t n = 0;
    for (size_t i = 0; i < v->task->n_tunings && n < MAX_CURVES; i++) {
        const rm_tuning *t = &v->task->tunings[i];
        curves[n] = (drawn){ .style = fig_style_of(v, t->reports[0]), .report = t->reports[0] };
        for (size_t m = 0; m < t->n; m++)
            add_point(&curves[n], (double)(m + 1), &t->value[m], 100);
        n += curves[n].n > 0;
    }
    spread_out(curves, n);
    fig_range x, y;
    ranges(curves, n, &x, &y);
    fig_axes axes = { .x_title = "Settings tried #<italic/>m#<upright/> (log₂ scale)",
                      .y_title = "Accuracy of the best of #<italic/>m#<upright/> (%)",
                      .x = fig_scale_log2(x),
                      .y = fig_scale_nice(y, 10, 0, 100, 5) };
    fig_panel panel;
    fig_panel_open(&panel, page, rect, &axes);
    draw_curves(&panel, curves, n);
    for (size_t i = 0; i < n; i++) {
        fig_page_shows(page, fig_cell(v, curves[i].report));
        name_group(v, &panel, &curves[i], (int)i);
    }
    for (size_t i = 0; i < v->task->n_tunings; i++)
        for (size_t m = 0; m < v->task->tunings[i].n; m++)
            fig_page_method(page, &v->task->tunings[i].value[m]);
    fig_panel_close(&panel);
}
