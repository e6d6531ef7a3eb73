/* chart_samples.c - accuracy against the number of samples: curves on a log2 axis with bands.
 *
 * fig_chart_samples: exact expectations over subsets of one pool of exchangeable candidates
 * (coverage pass@k, majority vote maj@k, best of k). Points of one curve share their samples, so
 * neighbouring intervals are not independent. Coverage needs somebody who recognises the right
 * answer and is labelled as the oracle it is.
 * fig_chart_size: accuracy of the cells of a family, each run in full, against the size it was
 * swept over. */
#include "plots/panel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CURVE = 128 };

/* ---- expectations over subsets ----------------------------------------------------------- */

static const fig_style *curve_style(const rm_subset_curve *c, size_t nth)
{
    static const fig_style coverage = {
        { 0x6a, 0x6a, 0x6a, 1 }, FIG_CIRCLE, false, false, FIG_DASHDOT
    };
    static const fig_style votes[] = {
        { { 0x00, 0x72, 0xb2, 1 }, FIG_CIRCLE, false, false, FIG_SOLID },
        { { 0x56, 0xb4, 0xe9, 1 }, FIG_TRIANGLE, false, false, FIG_SOLID },
        { { 0x00, 0x9e, 0x73, 1 }, FIG_TRIANGLE_DOWN, false, false, FIG_SOLID },
    };
    static const fig_style bests[] = {
        { { 0xd5, 0x5e, 0x00, 1 }, FIG_SQUARE, false, false, FIG_SOLID },
        { { 0xe6, 0x9f, 0x00, 1 }, FIG_DIAMOND, false, false, FIG_SOLID },
        { { 0xcc, 0x79, 0xa7, 1 }, FIG_PENTAGON, false, false, FIG_SOLID },
    };
    if (c->kind == RM_PASS_AT_K)
        return &coverage;
    return c->kind == RM_MAJ_AT_K ? &votes[nth % 3] : &bests[nth % 3];
}

static void curve_name(const rm_subset_curve *c, const char *by, rm_text *name)
{
    switch (c->kind) {
    case RM_PASS_AT_K:
        rm_text_puts(name, "oracle (pass@#<italic/>k#<upright/>)");
        return;
    case RM_MAJ_AT_K:
        rm_text_puts(name, by ? "vote by " : "majority vote");
        break;
    case RM_BEST_OF_K:
        rm_text_puts(name,
                     by ? "best of #<italic/>k#<upright/> by " : "best of #<italic/>k#<upright/>");
        break;
    }
    if (by)
        fig_text_plain(name, by, 24);
}

static void curve_values(const rm_subset_curve *c, double *k, double *value, double *low,
                         double *high, size_t *n)
{
    *n = 0;
    for (size_t i = 0; i < c->n_points && *n < MAX_CURVE; i++) {
        if (!isfinite(c->value[i].value))
            continue;
        k[*n] = (double)c->k[i];
        value[*n] = 100 * c->value[i].value;
        low[*n] = 100 * c->value[i].low;
        high[*n] = 100 * c->value[i].high;
        (*n)++;
    }
}

static size_t longest(const rm_cell_report *r)
{
    size_t most = 0;
    for (size_t i = 0; i < r->n_curves; i++)
        for (size_t j = 0; j < r->curves[i].n_points; j++)
            if (r->curves[i].k[j] > most && isfinite(r->curves[i].value[j].value))
                most = r->curves[i].k[j];
    return most;
}

/* Do two cells choose from the same draws? Those of one model do whose coverage agrees at every k.
 */
static bool same_draws(const fig_view *v, int a, int b)
{
    const rm_subset_curve *of_a = fig_coverage_of(&v->task->cells[a]),
                          *of_b = fig_coverage_of(&v->task->cells[b]);
    if (strcmp(fig_cell(v, a)->model, fig_cell(v, b)->model) || !of_a || !of_b ||
        of_a->n_points != of_b->n_points)
        return false;
    size_t i = 0;
    while (i < of_a->n_points && of_a->k[i] == of_b->k[i] &&
           fabs(of_a->value[i].value - of_b->value[i].value) < 1e-12)
        i++;
    return i == of_a->n_points;
}

/* Of a family the shorter pools are parts of the longest; of equals the first counts. */
static bool longest_of_family(const fig_view *v, size_t report)
{
    size_t k = longest(&v->task->cells[report]);
    for (size_t i = 0; i < v->task->n_cells; i++) {
        size_t other = longest(&v->task->cells[i]);
        if ((other > k || (other == k && i < report)) &&
            !strcmp(fig_cell(v, (int)i)->family, fig_cell(v, (int)report)->family))
            return false;
    }
    return true;
}

size_t fig_sample_pools(const fig_view *v, int *reports, size_t room)
{
    int pool[MAX_CURVE];
    size_t kept = 0;
    for (size_t i = 0; i < v->task->n_cells && kept < MAX_CURVE; i++) {
        size_t same = 0;
        if (longest(&v->task->cells[i]) < 2 || !longest_of_family(v, i))
            continue;
        while (same < kept && !same_draws(v, pool[same], (int)i))
            same++;
        if (same == kept)
            pool[kept++] = (int)i;
    }
    for (size_t i = 1; i < kept; i++) /* the longest first, the first of equals */
        for (size_t j = i;
             j > 0 && longest(&v->task->cells[pool[j]]) > longest(&v->task->cells[pool[j - 1]]);
             j--) {
            int swap = pool[j];
            pool[j] = pool[j - 1];
            pool[j - 1] = swap;
        }
    for (size_t i = 0; i < kept && i < room; i++)
        reports[i] = pool[i];
    return kept < room ? kept : room;
}

/* A label on a curve, anywhere along it, rather at its right end. */
static void label_curve(fig_panel *panel, const char *name, const double *x, const double *y,
                        size_t n, const fig_style *style, int owner)
{
    fig_panel_label(panel, name, FIG_SIZE_LABEL, style->color, 2, true, owner, style);
    for (size_t i = 0; i < n; i++)
        fig_panel_anchor(panel, x[i], y[i], 3.9, 0.35 * (double)(n - 1 - i));
}

typedef struct curve {
    const rm_subset_curve *source;
    rm_text name;
    const fig_style *style;
    size_t n;
    double k[MAX_CURVE], value[MAX_CURVE], low[MAX_CURVE], high[MAX_CURVE];
} curve;

/* Two scores can rank alike (a strategy's own score is often one of the named ones): the later
 * curve then lends the earlier one its name instead of covering it. */
static bool merge_equal(curve *curves, size_t n, const curve *c)
{
    for (size_t i = 0; i < n; i++) {
        curve *other = &curves[i];
        if (other->source->kind != c->source->kind || other->n != c->n || !c->source->by)
            continue;
        size_t same = 0;
        while (same < c->n && other->k[same] == c->k[same] &&
               fabs(other->value[same] - c->value[same]) < 1e-9)
            same++;
        if (same < c->n)
            continue;
        rm_text_puts(&other->name, ", ");
        fig_text_plain(&other->name, c->source->by, 24);
        return true;
    }
    return false;
}

static void draw_curves(fig_panel *panel, const curve *curves, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < curves[i].source->n_points; j++)
            fig_page_method(panel->page, &curves[i].source->value[j]);
    double opacity = n > 3 ? 0.08 : 0.13; /* many bands must not turn into mud */
    for (size_t i = 0; i < n; i++)
        fig_panel_band(panel, curves[i].k, curves[i].low, curves[i].high, curves[i].n,
                       fig_fade(curves[i].style->color, opacity));
    for (size_t i = 0; i < n; i++)
        fig_panel_line(panel, curves[i].k, curves[i].value, curves[i].n, 1.4, curves[i].style->dash,
                       curves[i].style->color, (int)i);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < curves[i].n; j++)
            fig_panel_marker(panel, curves[i].k[j], curves[i].value[j], 2.7, curves[i].style,
                             (int)i);
}

static bool is_score(const rm_subset_curve *c)
{
    return c->by && !strcmp(c->by, "score");
}

/* A compact panel shows one curve of each kind: the plain vote, and the score that the cell itself
 * chose by, else the first. */
static bool wanted(const rm_cell_report *r, size_t i, bool compact)
{
    if (!compact)
        return true;
    const rm_subset_curve *mine = &r->curves[i];
    for (size_t j = 0; j < r->n_curves; j++) {
        const rm_subset_curve *other = &r->curves[j];
        if (other->kind != mine->kind)
            continue;
        int rank = mine->by ? is_score(mine) && mine->kind == RM_BEST_OF_K ? 1 : 2 : 0,
            theirs = other->by ? is_score(other) && other->kind == RM_BEST_OF_K ? 1 : 2 : 0;
        if (theirs < rank || (theirs == rank && j < i))
            return false;
    }
    return true;
}

/* "score" says little: the name of a number that ranks the same, where one is recorded. */
static const char *spoken(const rm_cell_report *r, const rm_subset_curve *c)
{
    for (size_t i = 0; is_score(c) && i < r->n_curves; i++) {
        const rm_subset_curve *other = &r->curves[i];
        size_t same = 0;
        if (other->kind != c->kind || !other->by || is_score(other) ||
            other->n_points != c->n_points)
            continue;
        while (same < c->n_points && fabs(other->value[same].value - c->value[same].value) < 1e-12)
            same++;
        if (same == c->n_points)
            return other->by;
    }
    return c->by;
}

void fig_chart_samples(const fig_view *v, fig_page *page, fig_rect rect, int report,
                       const fig_chart_options *o)
{
    enum { MOST = 8 };
    curve curves[MOST];
    size_t n = 0, n_votes = 0, n_bests = 0;
    const rm_cell_report *r = &v->task->cells[report];
    fig_range x = FIG_EMPTY, y = FIG_EMPTY;
    for (size_t i = 0; i < r->n_curves && n < MOST; i++) {
        if (!wanted(r, i, o->compact))
            continue;
        curve *c = &curves[n];
        c->source = &r->curves[i];
        curve_values(c->source, c->k, c->value, c->low, c->high, &c->n);
        if (!c->n)
            continue;
        if (merge_equal(curves, n, c))
            continue;
        c->name = (rm_text){ 0 };
        curve_name(c->source, o->compact ? spoken(r, c->source) : c->source->by, &c->name);
        c->style = curve_style(c->source, c->source->kind == RM_MAJ_AT_K    ? n_votes++
                                          : c->source->kind == RM_BEST_OF_K ? n_bests++
                                                                            : 0);
        for (size_t j = 0; j < c->n; j++) {
            fig_range_add(&x, FIG_LOG2, c->k[j]);
            fig_range_add(&y, FIG_LINEAR, c->value[j]);
            fig_range_add(&y, FIG_LINEAR, c->low[j]);
            fig_range_add(&y, FIG_LINEAR, c->high[j]);
        }
        n++;
    }
    fig_axes axes = { .title = o->title,
                      .x_title = "Samples #<italic/>k#<upright/> per problem (log₂ scale)",
                      .y_title = "Accuracy (%)",
                      .x = fig_scale_log2(x),
                      .y = fig_scale_nice(y, 10, 0, 100, 5) };
    fig_panel panel;
    fig_panel_open(&panel, page, rect, &axes);
    draw_curves(&panel, curves, n);
    for (size_t i = 0; i < n; i++) {
        if (!curves[i].name.failed)
            label_curve(&panel, curves[i].name.data, curves[i].k, curves[i].value, curves[i].n,
                        curves[i].style, (int)i);
        rm_text_free(&curves[i].name);
    }
    fig_panel_close(&panel);
}

/* ---- cells of a family ------------------------------------------------------------------- */

static size_t sizes_of(const fig_view *v, const fig_series *s, double *x, double *y, double *low,
                       double *high)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n && n < MAX_CURVE; i++) {
        const rm_estimate *e = fig_quantity(v, s->reports[i], RM_Q_ACCURACY);
        double size = fig_cell(v, s->reports[i])->size;
        if (!isfinite(e->value) || !(size > 0) || !isfinite(size))
            continue;
        x[n] = size;
        y[n] = 100 * e->value;
        low[n] = 100 * e->low;
        high[n++] = 100 * e->high;
    }
    return n;
}

bool fig_has_sizes(const fig_view *v)
{
    double x[MAX_CURVE], y[MAX_CURVE], low[MAX_CURVE], high[MAX_CURVE];
    for (size_t i = 0; i < v->n_series; i++)
        if (sizes_of(v, &v->series[i], x, y, low, high) > 1)
            return true;
    return false;
}

/* Where several lines meet, bands of their intervals would be mud: bars then, and each line a
 * little beside its size, so that markers and bars of one size stand next to each other. */
enum { MOST_BANDS = 2 };

/* Factor of the size: the nth line stands some points beside it, all of them within 0.3 of a
 * doubling, so that no marker lies halfway to the next size or beyond the axis. */
static double beside(const fig_panel *panel, size_t nth, size_t n_lines)
{
    if (n_lines <= MOST_BANDS)
        return 1;
    double doubling = fig_at(&panel->x, 2 * panel->x.low) - fig_at(&panel->x, panel->x.low);
    double step = fmin(3.4 / doubling, 0.6 / (double)(n_lines - 1));
    return exp2(step * ((double)nth - 0.5 * (double)(n_lines - 1)));
}

typedef enum size_layer { INTERVALS, LINES, MARKERS, NAMES, N_LAYERS } size_layer;

static void draw_sizes(const fig_view *v, fig_panel *panel, size_t series, size_layer layer,
                       size_t nth, size_t n_lines)
{
    double x[MAX_CURVE], y[MAX_CURVE], low[MAX_CURVE], high[MAX_CURVE];
    const fig_series *s = &v->series[series];
    const fig_style *style = &s->style;
    size_t n = sizes_of(v, s, x, y, low, high);
    for (size_t j = 0; j < n; j++)
        x[j] *= beside(panel, nth, n_lines);
    switch (layer) {
    case INTERVALS:
        for (size_t j = 0; j < s->n; j++)
            fig_page_method(panel->page, fig_quantity(v, s->reports[j], RM_Q_ACCURACY));
        if (n_lines <= MOST_BANDS)
            fig_panel_band(panel, x, low, high, n, fig_fade(style->color, 0.13));
        for (size_t j = 0; n_lines > MOST_BANDS && j < n; j++)
            fig_panel_interval(panel, x[j], y[j], NULL,
                               &(rm_estimate){ .value = y[j], .low = low[j], .high = high[j] },
                               fig_fade(style->color, 0.45), (int)series);
        break;
    case LINES:
        fig_panel_line(panel, x, y, n, 1.3, FIG_SOLID, style->color, (int)series);
        break;
    case MARKERS:
        for (size_t j = 0; j < n; j++)
            fig_panel_marker(panel, x[j], y[j], 2.7, style, (int)series);
        break;
    case NAMES:
        fig_page_shows(panel->page, fig_cell(v, s->reports[0]));
        label_curve(panel, s->name, x, y, n, style, (int)series);
        break;
    case N_LAYERS:
        break;
    }
}

void fig_chart_size(const fig_view *v, fig_page *page, fig_rect rect, const fig_chart_options *o)
{
    double x[MAX_CURVE], y[MAX_CURVE], low[MAX_CURVE], high[MAX_CURVE];
    fig_range xr = FIG_EMPTY, yr = FIG_EMPTY;
    size_t n_lines = 0;
    for (size_t i = 0; i < v->n_series; i++) {
        size_t n = sizes_of(v, &v->series[i], x, y, low, high);
        n_lines += n > 1;
        for (size_t j = 0; n > 1 && j < n; j++) {
            fig_range_add(&xr, FIG_LOG2, x[j]);
            fig_range_add(&yr, FIG_LINEAR, y[j]);
            fig_range_add(&yr, FIG_LINEAR, low[j]);
            fig_range_add(&yr, FIG_LINEAR, high[j]);
        }
    }
    page->beside |= n_lines > MOST_BANDS;
    if (n_lines > MOST_BANDS) { /* room for what stands beside the first and the last size */
        xr.low /= 1.25;
        xr.high *= 1.25;
    }
    fig_axes axes = { .title = o->title,
                      .x_title = "Size: beams, samples, simulations (log₂ scale)",
                      .y_title = "Accuracy (%)",
                      .x = fig_scale_log2(xr),
                      .y = fig_scale_nice(yr, 10, 0, 100, 5) };
    fig_panel panel;
    fig_panel_open(&panel, page, rect, &axes);
    for (size_layer layer = INTERVALS; layer < N_LAYERS; layer++)
        for (size_t i = 0, nth = 0; i < v->n_series; i++)
            if (sizes_of(v, &v->series[i], x, y, low, high) > 1)
                draw_sizes(v, &panel, i, layer, nth++, n_lines);
    fig_panel_close(&panel);
}
