/* chart_training.c - what a training's log says: one panel a quantity, steps along the bottom.
 *
 * A curve with intervals (an evaluation) is drawn through its points with a band. One without is
 * what each step saw of its own few documents or samples: thin and pale, with a running mean of a
 * thirtieth of the steps over it. */
#include "plots/panel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 3, MOST_CURVES = 16, MEAN_PARTS = 30 };
#define GAP    10.0
#define MARGIN 2.0

static const fig_style *style_of(size_t nth)
{
    static const fig_style styles[] = {
        { { 0x00, 0x72, 0xb2, 1 }, FIG_CIRCLE, false, false, FIG_SOLID },
        { { 0xd5, 0x5e, 0x00, 1 }, FIG_SQUARE, false, false, FIG_SOLID },
        { { 0x00, 0x9e, 0x73, 1 }, FIG_TRIANGLE, false, false, FIG_SOLID },
        { { 0xcc, 0x79, 0xa7, 1 }, FIG_DIAMOND, false, false, FIG_SOLID },
        { { 0xe6, 0x9f, 0x00, 1 }, FIG_PENTAGON, false, false, FIG_SOLID },
        { { 0x56, 0xb4, 0xe9, 1 }, FIG_TRIANGLE_DOWN, false, false, FIG_SOLID },
    };
    return &styles[nth % (sizeof styles / sizeof *styles)];
}

/* Mean of the finite values around each point, `half` on both sides. */
static void running_mean(const rm_training_curve *c, size_t half, double *out)
{
    for (size_t i = 0; i < c->n; i++) {
        size_t from = i > half ? i - half : 0, to = i + half < c->n ? i + half + 1 : c->n, n = 0;
        double sum = 0;
        for (size_t k = from; k < to; k++)
            if (isfinite(c->value[k])) {
                sum += c->value[k];
                n++;
            }
        out[i] = n ? sum / (double)n : (double)NAN;
    }
}

/* The curve's name in the panel, whatever characters it holds. */
static void name_curve(fig_panel *panel, const rm_training_curve *c, const fig_style *style,
                       int owner)
{
    rm_text name = { 0 };
    fig_text_plain(&name, c->name, 40);
    if (name.data && !name.failed)
        fig_panel_label(panel, name.data, FIG_SIZE_LABEL, style->color, 2, true, owner, style);
    rm_text_free(&name);
}

static void draw_steps(fig_panel *panel, const rm_training_curve *c, const fig_style *style,
                       int owner)
{
    double *mean = malloc((c->n + 1) * sizeof *mean);
    size_t half = c->n / MEAN_PARTS / 2;
    if (!mean)
        return; /* a figure without its means; the page's own memory errors are reported */
    running_mean(c, half, mean);
    if (half)
        fig_panel_line(panel, c->step, c->value, c->n, 0.5, FIG_SOLID, fig_fade(style->color, 0.3),
                       -1);
    fig_panel_line(panel, c->step, mean, c->n, 1.3, style->dash, style->color, owner);
    name_curve(panel, c, style, owner);
    for (size_t i = 0; i < c->n; i += 1 + c->n / 40)
        fig_panel_anchor(panel, c->step[i], mean[i], 2.5,
                         0.02 * (double)(c->n - 1 - i) / (double)c->n);
    free(mean);
}

static void draw_points(fig_panel *panel, const rm_training_curve *c, const fig_style *style,
                        int owner)
{
    fig_panel_band(panel, c->step, c->low, c->high, c->n, fig_fade(style->color, 0.13));
    fig_panel_line(panel, c->step, c->value, c->n, 1.3, style->dash, style->color, owner);
    for (size_t i = 0; i < c->n; i++)
        fig_panel_marker(panel, c->step[i], c->value[i], c->n > 25 ? 1.6 : 2.4, style, owner);
    name_curve(panel, c, style, owner);
    for (size_t i = 0; i < c->n; i++)
        fig_panel_anchor(panel, c->step[i], c->value[i], 3.6, 0.02 * (double)(c->n - 1 - i));
}

static void draw_panel(const rm_training_panel *p, fig_page *page, fig_rect rect, fig_scale steps)
{
    fig_range y = FIG_EMPTY;
    for (size_t c = 0; c < p->n_curves; c++)
        for (size_t i = 0; i < p->curves[c].n; i++) {
            fig_range_add(&y, FIG_LINEAR, p->curves[c].value[i]);
            if (p->curves[c].low) {
                fig_range_add(&y, FIG_LINEAR, p->curves[c].low[i]);
                fig_range_add(&y, FIG_LINEAR, p->curves[c].high[i]);
            }
        }
    double span = isfinite(p->ceiling) ? (p->ceiling - p->floor) / 10 : 1e-3;
    fig_axes axes = { .title = p->title, .x_title = "Step", .y_title = p->y_title, .x = steps,
                      .y = fig_scale_nice(y, span, p->floor, p->ceiling, 5) };
    fig_panel panel;
    fig_panel_open(&panel, page, rect, &axes);
    for (size_t c = 0; c < p->n_curves; c++) {
        if (p->curves[c].low)
            draw_points(&panel, &p->curves[c], style_of(c), (int)c);
        else
            draw_steps(&panel, &p->curves[c], style_of(c), (int)c);
    }
    fig_panel_close(&panel);
}

static fig_scale step_scale(const rm_training_panel *panels, size_t n)
{
    fig_range x = FIG_EMPTY;
    fig_range_add(&x, FIG_LINEAR, 0);
    for (size_t p = 0; p < n; p++)
        for (size_t c = 0; c < panels[p].n_curves; c++)
            for (size_t i = 0; i < panels[p].curves[c].n; i++)
                fig_range_add(&x, FIG_LINEAR, panels[p].curves[c].step[i]);
    return fig_scale_nice(x, 1, 0, (double)INFINITY, 5);
}

/* Keys differ from panel to panel and have no common place: a name that finds none is left out. */
static rm_status draw_page(const rm_training_panel *panels, size_t n, const char *note,
                           fig_canvas *canvas, double below, rm_error *err)
{
    size_t columns = n < COLUMNS ? n : COLUMNS, rows = (n + columns - 1) / columns;
    double width = fig_canvas_width(canvas) - 2 * MARGIN;
    double height = fig_canvas_height(canvas) - 2 * MARGIN - below;
    double w = (width - GAP * (double)(columns - 1)) / (double)columns;
    double h = (height - GAP * (double)(rows - 1)) / (double)rows;
    fig_scale steps = step_scale(panels, n);
    fig_page page = { .canvas = canvas,
                      .body = { MARGIN, MARGIN + below, MARGIN + width, MARGIN + below + height } };
    for (size_t p = 0; p < n; p++) {
        double x = page.body.x0 + (double)(p % columns) * (w + GAP);
        double y = page.body.y1 - (double)(p / columns) * (h + GAP) - h;
        draw_panel(&panels[p], &page, (fig_rect){ x, y, x + w, y + h }, steps);
    }
    if (note && below > 0)
        fig_text(canvas, MARGIN, MARGIN + FIG_SIZE_NOTE * 0.6, 0, FIG_SIZE_NOTE, FIG_REGULAR,
                 FIG_GRAY, note);
    for (size_t i = 0; i < page.n_key; i++)
        free(page.key[i].text);
    if (page.status && err)
        *err = page.error;
    return page.status;
}

static bool has_value(const rm_training_panel *p)
{
    for (size_t c = 0; c < p->n_curves; c++)
        for (size_t i = 0; i < p->curves[c].n; i++)
            if (isfinite(p->curves[c].value[i]))
                return true;
    return false;
}

rm_status rm_training_render(const rm_training_panel *panels, size_t n, const char *note,
                             const rm_plot_options *o, rm_format format, rm_text *bytes,
                             rm_error *err)
{
    for (size_t p = 0; p < n; p++)
        if (!has_value(&panels[p]) || panels[p].n_curves > MOST_CURVES)
            return rm_fail(err, RM_E_ARGUMENT, "Panel %zu of a training has no value.", p + 1);
    if (!n || (unsigned)format > RM_FORMAT_PNG)
        return rm_fail(err, RM_E_ARGUMENT, "A figure of a training needs something to show.");
    size_t columns = n < COLUMNS ? n : COLUMNS, rows = (n + columns - 1) / columns;
    double width = 72 * (o && o->width_in > 0 ? o->width_in : columns == 1 ? 3.35 : 7);
    double height = 72 * (o && o->height_in > 0 ? o->height_in : 2.2 * (double)rows);
    double below = note ? FIG_SIZE_NOTE + 5 : 0;
    rm_text line = { 0 };
    fig_canvas *canvas = NULL;
    if (!(width >= 100 && height >= 50))
        return rm_fail(err, RM_E_ARGUMENT,
                       "A figure of %g x %g inches is too small; at least 1.4 x "
                       "0.7 are needed.",
                       width / 72, height / 72);
    if (note)
        fig_text_plain(&line, note, 200);
    rm_status st = line.failed
                       ? rm_fail(err, RM_E_MEMORY, "There is no memory for a note.")
                       : fig_canvas_open(format, width, height + below,
                                         o && o->dpi > 0 ? o->dpi : 300, "Training", &canvas, err);
    if (!st)
        st = draw_page(panels, n, line.data, canvas, below, err);
    if (!st) {
        st = fig_canvas_finish(canvas, bytes, err);
        canvas = NULL;
    }
    fig_canvas_free(canvas);
    rm_text_free(&line);
    return st;
}

rm_status rm_training_write(const rm_training_panel *panels, size_t n, const char *note,
                            const rm_plot_options *o, const char *path, rm_error *err)
{
    rm_format format;
    rm_status st = rm_format_of_path(path, &format, err);
    if (st)
        return st;
    rm_text bytes = { 0 };
    st = rm_training_render(panels, n, note, o, format, &bytes, err);
    if (!st)
        st = rm_file_write(path, bytes.data, bytes.length, err);
    rm_text_free(&bytes);
    return st;
}
