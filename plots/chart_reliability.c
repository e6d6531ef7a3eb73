/* chart_reliability.c - is a vote share a probability? Accuracy of the answers against the share
 * of the candidates that gave them, in equal bins; the diagonal is perfect calibration. Bars at
 * the bottom show how many results a bin holds. */
#include "plots/panel.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The cells with the most candidates, one a model (ties: the first). */
size_t fig_calibrated(const fig_view *v, int *reports, size_t room)
{
    size_t n = 0;
    for (size_t i = 0; i < v->task->n_cells; i++) {
        const rm_cell_report *r = &v->task->cells[i];
        if (!r->calibrated || !r->calibration.n)
            continue;
        double mine = r->quantities[RM_Q_CANDIDATES].value;
        size_t same = 0;
        while (same < n && strcmp(fig_cell(v, reports[same])->model, fig_cell(v, (int)i)->model))
            same++;
        if (same == n) {
            if (n < room)
                reports[n++] = (int)i;
        } else if (mine > fig_quantity(v, reports[same], RM_Q_CANDIDATES)->value) {
            reports[same] = (int)i;
        }
    }
    return n;
}

void fig_chart_reliability(const fig_view *v, fig_page *page, fig_rect rect, int report,
                           const fig_chart_options *o)
{
    static const fig_style style = { { 0x00, 0x72, 0xb2, 1 }, FIG_CIRCLE, false, false, FIG_SOLID };
    const rm_calibration *c = &v->task->cells[report].calibration;
    fig_axes axes = { .title = o->title,
                      .x_title = "Share of the votes (%)",
                      .y_title = "Accuracy (%)",
                      .x = { FIG_LINEAR, 0, 100, 0, 1, 0 },
                      .y = { FIG_LINEAR, 0, 100, 0, 1, 0 } };
    fig_panel panel;
    fig_panel_open(&panel, page, rect, &axes);
    size_t most = 1;
    for (int b = 0; b < RM_RELIABILITY_BINS; b++)
        if (c->bins[b].n > most)
            most = c->bins[b].n;
    for (int b = 0; b < RM_RELIABILITY_BINS; b++) {
        const rm_reliability_bin *bin = &c->bins[b];
        double top = 18 * (double)bin->n / (double)most; /* at most 18% of the height */
        fig_rect bar = { fig_at(&panel.x, 100 * bin->low + 0.6), panel.plot.y0,
                         fig_at(&panel.x, 100 * bin->high - 0.6), fig_at(&panel.y, top) };
        if (!bin->n)
            continue;
        fig_box(page->canvas, bar, fig_fade(FIG_GRAY, 0.2));
        fig_scene_obstacle(&panel.scene,
                           (fig_obstacle){ FIG_AREA, bar.x0, bar.y0, bar.x1, bar.y1, 4, -1 });
    }
    const double diagonal[2] = { 0, 100 };
    fig_panel_line(&panel, diagonal, diagonal, 2, 0.9, FIG_DASHED, FIG_GRAY, -1);
    double x[RM_RELIABILITY_BINS], y[RM_RELIABILITY_BINS];
    size_t n = 0;
    for (int b = 0; b < RM_RELIABILITY_BINS; b++) {
        const rm_reliability_bin *bin = &c->bins[b];
        if (!bin->n || !isfinite(bin->confidence) || !isfinite(bin->accuracy.value))
            continue;
        rm_estimate e = bin->accuracy;
        e.low *= 100;
        e.high *= 100;
        x[n] = 100 * bin->confidence;
        y[n] = 100 * e.value;
        fig_panel_interval(&panel, x[n], y[n], NULL, &e, fig_fade(style.color, 0.5), 0);
        n++;
    }
    /* faint: between bins of few results a strong line would draw noise */
    fig_panel_line(&panel, x, y, n, 0.9, FIG_SOLID, fig_fade(style.color, 0.3), 0);
    for (size_t i = 0; i < n; i++)
        fig_panel_marker(&panel, x[i], y[i], 2.6, &style, 0);
    char text[96];
    if (isfinite(c->ece.low) && isfinite(c->ece.high))
        snprintf(text, sizeof text, "ECE %.3f [%.3f, %.3f]", c->ece.value, c->ece.low, c->ece.high);
    else
        snprintf(text, sizeof text, "ECE %.3f", c->ece.value);
    if (isfinite(c->ece.value)) {
        fig_panel_label(&panel, text, FIG_SIZE_LABEL, FIG_INK, 3, false, -1, NULL);
        for (int row = 0; row < 10; row++) /* wherever it covers least, rather in a corner */
            for (int column = 0; column < 4; column++)
                fig_panel_anchor(&panel, 2 + 32 * column, 24 + 8 * row, 0,
                                 0.15 * (row < 5 ? row : 9 - row) + 0.2 * (column % 3 != 0));
    }
    fig_panel_close(&panel);
}
