/* chart_rows.c - one row a cell: latency distributions, and paired differences to the baseline.
 *
 * Names stand left of the rows, numbers right of them, so that nothing can collide and the
 * figure grows with the number of cells. */
#include "plots/panel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROW_HEIGHT 11.5
enum { MAX_ROWS = 120, NAME_CHARS = 56 };

typedef struct row {
    int report;
    double order; /* rows ascend by it */
    double at[5]; /* quantiles 0.05, 0.25, 0.5, 0.75, 0.95, or the difference in [2] */
    const rm_comparison *comparison;
} row;

static int by_order(const void *a, const void *b)
{
    const row *x = a, *y = b;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return x->report - y->report;
}

/* ---- frame ------------------------------------------------------------------------------- */

static void row_name(const fig_view *v, int report, rm_text *name)
{
    fig_text_plain(name, fig_name_of(v, fig_cell(v, report)), NAME_CHARS);
    rm_text_puts(name, fig_dagger(fig_cell(v, report)));
}

static double row_y(const fig_rect *plot, size_t i)
{
    return plot->y1 - 4 - ROW_HEIGHT * ((double)i + 0.5);
}

/* Left names and the axis below; the caller draws the rows. */
static void open_rows(const fig_view *v, fig_page *page, fig_rect rect, const row *rows, size_t n,
                      const char *x_title, double value_room, fig_scale *x, fig_rect *plot)
{
    fig_canvas *c = page->canvas;
    double widest = 0;
    for (size_t i = 0; i < n; i++) {
        rm_text name = { 0 };
        row_name(v, rows[i].report, &name);
        if (!name.failed)
            widest = fmax(widest, fig_text_width(name.data, FIG_SIZE_LABEL, FIG_REGULAR));
        rm_text_free(&name);
    }
    *plot = (fig_rect){ rect.x0 + widest + 7, rect.y0 + 3 + FIG_SIZE_TICK + FIG_SIZE_AXIS + 7,
                        rect.x1 - value_room - 4, rect.y1 - 2 };
    x->from = plot->x0;
    x->to = plot->x1;

    fig_tick tick[FIG_MAX_TICKS];
    size_t n_ticks = fig_ticks_fitting(x, FIG_SIZE_TICK, true, 5, tick);
    for (size_t i = 0; i < n_ticks; i++) {
        double at = fig_at(x, tick[i].value);
        bool major = tick[i].text[0];
        if (major)
            fig_segment(c, at, plot->y0, at, plot->y1, 0.5, FIG_GRID);
        fig_segment(c, at, plot->y0, at, plot->y0 - (major ? 3 : 1.8), 0.8, FIG_INK);
        fig_text(c, at, plot->y0 - 5 - FIG_SIZE_TICK / 2, 0.5, FIG_SIZE_TICK, FIG_REGULAR, FIG_INK,
                 tick[i].text);
    }
    fig_text(c, (plot->x0 + plot->x1) / 2, plot->y0 - 8.5 - FIG_SIZE_TICK - FIG_SIZE_AXIS / 2, 0.5,
             FIG_SIZE_AXIS, FIG_REGULAR, FIG_INK, x_title);
    for (size_t i = 0; i < n; i++) {
        rm_text name = { 0 };
        row_name(v, rows[i].report, &name);
        if (!name.failed)
            fig_text(c, plot->x0 - 5, row_y(plot, i), 1, FIG_SIZE_LABEL, FIG_REGULAR,
                     fig_readable(fig_style_of(v, rows[i].report)->color), name.data);
        rm_text_free(&name);
        fig_page_shows(page, fig_cell(v, rows[i].report));
    }
    fig_segment(c, plot->x0, plot->y0, plot->x1, plot->y0, 0.8, FIG_INK);
}

/* ---- latency distributions ----------------------------------------------------------------- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Quantile of sorted values by linear interpolation (type 7 of Hyndman & Fan 1996). */
static double quantile(const double *sorted, size_t n, double q)
{
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}

static bool is_latency(const rm_result *r)
{
    return r->timing == RM_TIMING_LATENCY && !r->failed && isfinite(r->cost.wall_ms) &&
           r->cost.wall_ms > 0;
}

static size_t distribution_rows(const fig_view *v, row *rows, double *values)
{
    const rm_records *records = v->analysis->records;
    size_t n = 0;
    for (size_t c = 0; c < v->task->n_cells && n < MAX_ROWS; c++) {
        size_t m = 0;
        for (size_t i = 0; i < records->n_results; i++)
            if (records->results[i].cell == v->task->cells[c].cell &&
                is_latency(&records->results[i]))
                values[m++] = records->results[i].cost.wall_ms;
        if (!m)
            continue;
        qsort(values, m, sizeof *values, ascending);
        static const double q[5] = { 0.05, 0.25, 0.5, 0.75, 0.95 };
        rows[n].report = (int)c;
        for (int k = 0; k < 5; k++)
            rows[n].at[k] = quantile(values, m, q[k]);
        rows[n].order = rows[n].at[2];
        n++;
    }
    qsort(rows, n, sizeof *rows, by_order);
    return n;
}

size_t fig_distribution_rows(const fig_view *v)
{
    const rm_records *records = v->analysis->records;
    size_t n = 0;
    for (size_t c = 0; c < v->task->n_cells && n < MAX_ROWS; c++)
        for (size_t i = 0; i < records->n_results; i++)
            if (records->results[i].cell == v->task->cells[c].cell &&
                is_latency(&records->results[i])) {
                n++;
                break;
            }
    return n;
}

void fig_chart_distribution(const fig_view *v, fig_page *page, fig_rect rect)
{
    row rows[MAX_ROWS];
    double *values = malloc((v->analysis->records->n_results + 1) * sizeof *values);
    if (!values) {
        page->status = rm_fail(&page->error, RM_E_MEMORY, "There is no memory for a figure.");
        return;
    }
    size_t n = distribution_rows(v, rows, values);
    free(values);
    fig_range range = FIG_EMPTY;
    for (size_t i = 0; i < n; i++) {
        fig_range_add(&range, FIG_LOG10, rows[i].at[0]);
        fig_range_add(&range, FIG_LOG10, rows[i].at[4]);
    }
    fig_scale x = fig_scale_log(FIG_LOG10, range, 0.04, 4);
    size_t n_problems = fig_latency_problems(v);
    snprintf(page->note, sizeof page->note, "Median, middle 50%% and middle 90%%; %zu problem%s.",
             n_problems, n_problems == 1 ? "" : "s");
    fig_rect plot;
    open_rows(v, page, rect, rows, n, "Latency per problem (ms, log scale)", 0, &x, &plot);
    for (size_t i = 0; i < n; i++) {
        const fig_style *style = fig_style_of(v, rows[i].report);
        double y = row_y(&plot, i), at[5];
        for (int k = 0; k < 5; k++)
            at[k] = fig_at_clamped(&x, rows[i].at[k]);
        fig_segment(page->canvas, at[0], y, at[4], y, 0.9, style->color);
        fig_box(page->canvas, (fig_rect){ at[1], y - 2.6, at[3], y + 2.6 },
                fig_mix(style->color, FIG_WHITE, 0.6));
        fig_style dot = *style;
        dot.ringed = false;
        fig_draw_marker(page->canvas, at[2], y, 2.5, &dot);
    }
}

/* ---- differences --------------------------------------------------------------------------- */

static size_t difference_rows(const fig_view *v, row *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < v->task->n_comparisons && n < MAX_ROWS; i++) {
        const rm_comparison *c = &v->task->comparisons[i];
        if (!isfinite(c->difference.value))
            continue;
        for (size_t r = 0; r < v->task->n_cells; r++)
            if (v->task->cells[r].cell == c->a)
                rows[n++] =
                    (row){ .report = (int)r, .order = -c->difference.value, .comparison = c };
    }
    qsort(rows, n, sizeof *rows, by_order);
    return n;
}

size_t fig_difference_rows(const fig_view *v)
{
    row rows[MAX_ROWS];
    return difference_rows(v, rows);
}

/* Of a number printed with one decimal. */
static const char *sign_of(double value)
{
    return value <= -0.05 ? "−" : value >= 0.05 ? "+" : "";
}

void fig_chart_differences(const fig_view *v, fig_page *page, fig_rect rect)
{
    row rows[MAX_ROWS];
    size_t n = difference_rows(v, rows);
    double margin = 100 * v->analysis->options.margin;
    fig_range range = FIG_EMPTY;
    fig_range_add(&range, FIG_LINEAR, 0);
    for (size_t i = 0; i < n; i++) {
        fig_range_add(&range, FIG_LINEAR, 100 * rows[i].comparison->difference.value);
        fig_range_add(&range, FIG_LINEAR, 100 * rows[i].comparison->corrected.low);
        fig_range_add(&range, FIG_LINEAR, 100 * rows[i].comparison->corrected.high);
    }
    fig_scale x = fig_scale_nice(range, 4, -100, 100, 6);
    snprintf(page->note, sizeof page->note,
             "%.4g%% intervals for all %zu comparison%s together (Bonferroni); %zu problem%s.",
             100 * v->analysis->options.level, n, n == 1 ? "" : "s", v->task->n_problems,
             v->task->n_problems == 1 ? "" : "s");
    fig_rect plot;
    const char *widest_value = "+00.0 [−00.0, +00.0]";
    double room = fig_text_width(widest_value, FIG_SIZE_NOTE, FIG_REGULAR) + 4;
    open_rows(v, page, rect, rows, n, "Difference to the baseline (percentage points)", room, &x,
              &plot);
    if (margin > 0)
        fig_box(
            page->canvas,
            (fig_rect){ fig_at_clamped(&x, -margin), plot.y0, fig_at_clamped(&x, margin), plot.y1 },
            fig_fade(FIG_GREEN, 0.12));
    double zero = fig_at_clamped(&x, 0);
    fig_segment(page->canvas, zero, plot.y0, zero, plot.y1, 0.8, FIG_INK);
    for (size_t i = 0; i < n; i++) {
        const rm_comparison *c = rows[i].comparison;
        double y = row_y(&plot, i), value = 100 * c->difference.value;
        double low = 100 * c->corrected.low, high = 100 * c->corrected.high;
        fig_style style = { .color = fig_style_of(v, rows[i].report)->color,
                            .marker = FIG_CIRCLE,
                            .hollow = !(low > 0 || high < 0) };
        if (!isnan(low) && !isnan(high))
            fig_segment(page->canvas, fig_at_clamped(&x, low), y, fig_at_clamped(&x, high), y, 1.2,
                        style.color);
        fig_draw_marker(page->canvas, fig_at_clamped(&x, value), y, 2.6, &style);
        char text[96];
        int used = snprintf(text, sizeof text, "%s%.1f", sign_of(value), fabs(value));
        if (!isnan(low) && !isnan(high))
            snprintf(text + used, sizeof text - (size_t)used, " [%s%.1f, %s%.1f]", sign_of(low),
                     fabs(low), sign_of(high), fabs(high));
        fig_text(page->canvas, rect.x1, y, 1, FIG_SIZE_NOTE, FIG_REGULAR, FIG_INK, text);
    }
}
