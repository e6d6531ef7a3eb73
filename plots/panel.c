/* panel.c - axes, layers of data, labels and keys. */
#include "plots/panel.h"

#include <math.h>
#include <string.h>

#define AXIS_WIDTH  0.8
#define TICK_LENGTH 3.0
#define HALO        0.9

void fig_page_shows(fig_page *page, const rm_cell *cell)
{
    page->verifier |= cell->verifier && !cell->oracle;
    page->oracle |= cell->oracle;
    page->names = true;
}

void fig_page_method(fig_page *page, const rm_estimate *e)
{
    if (!e->method || isnan(e->low) || isnan(e->high))
        return;
    /* the tables tell the kinds of Wilson's interval apart; a figure's note has less room */
    const char *name = strncmp(e->method, "Wilson", 6) ? e->method : "Wilson";
    for (size_t i = 0; i < page->n_methods; i++)
        if (!strcmp(page->method[i], name))
            return;
    if (page->n_methods < FIG_MAX_METHODS)
        page->method[page->n_methods++] = name;
}

/* ---- axes ------------------------------------------------------------------------------ */

static void draw_x_axis(fig_panel *p, const fig_axes *a)
{
    fig_tick tick[FIG_MAX_TICKS];
    size_t n = fig_ticks_fitting(&p->x, FIG_SIZE_TICK, true, 5, tick);
    double base = p->plot.y0;
    for (size_t i = 0; i < n; i++) {
        double at = fig_at(&p->x, tick[i].value);
        bool major = tick[i].text[0];
        if (major && !a->no_x_grid)
            fig_segment(p->canvas, at, base, at, p->plot.y1, 0.5, FIG_GRID);
        fig_segment(p->canvas, at, base, at, base - (major ? TICK_LENGTH : 0.6 * TICK_LENGTH),
                    AXIS_WIDTH, FIG_INK);
        fig_text(p->canvas, at, base - TICK_LENGTH - 2 - FIG_SIZE_TICK / 2, 0.5, FIG_SIZE_TICK,
                 FIG_REGULAR, FIG_INK, tick[i].text);
    }
    fig_text(p->canvas, (p->plot.x0 + p->plot.x1) / 2,
             base - TICK_LENGTH - 5.5 - FIG_SIZE_TICK - FIG_SIZE_AXIS / 2, 0.5, FIG_SIZE_AXIS,
             FIG_REGULAR, FIG_INK, a->x_title);
}

static void draw_y_axis(fig_panel *p, const fig_tick *tick, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double at = fig_at(&p->y, tick[i].value);
        bool major = tick[i].text[0];
        if (major)
            fig_segment(p->canvas, p->plot.x0, at, p->plot.x1, at, 0.5, FIG_GRID);
        fig_segment(p->canvas, p->plot.x0 - (major ? TICK_LENGTH : 0.6 * TICK_LENGTH), at,
                    p->plot.x0, at, AXIS_WIDTH, FIG_INK);
        fig_text(p->canvas, p->plot.x0 - TICK_LENGTH - 2, at, 1, FIG_SIZE_TICK, FIG_REGULAR,
                 FIG_INK, tick[i].text);
    }
}

/* Half of the last tick label may stand out to the right of the axes. */
static double right_overhang(const fig_scale *x)
{
    fig_tick tick[FIG_MAX_TICKS];
    size_t n = fig_ticks_fitting(x, FIG_SIZE_TICK, true, 5, tick);
    for (size_t i = n; i-- > 0;)
        if (tick[i].text[0]) {
            double end = fig_at(x, tick[i].value) +
                         fig_text_width(tick[i].text, FIG_SIZE_TICK, FIG_REGULAR) / 2;
            return fmax(end - x->to, 0);
        }
    return 0;
}

void fig_panel_open(fig_panel *p, fig_page *page, fig_rect outer, const fig_axes *a)
{
    *p = (fig_panel){ .page = page, .canvas = page->canvas, .outer = outer, .x = a->x, .y = a->y };
    p->plot.y0 = outer.y0 + TICK_LENGTH + FIG_SIZE_TICK + FIG_SIZE_AXIS + 7;
    p->plot.y1 = outer.y1 - (a->title ? FIG_SIZE_TITLE + 8 : FIG_SIZE_TICK / 2 + 1);
    p->y.from = p->plot.y0;
    p->y.to = p->plot.y1;

    fig_tick tick[FIG_MAX_TICKS];
    size_t n = fig_ticks_fitting(&p->y, FIG_SIZE_TICK, false, 8, tick);
    double widest = 0;
    for (size_t i = 0; i < n; i++)
        widest = fmax(widest, fig_text_width(tick[i].text, FIG_SIZE_TICK, FIG_REGULAR));
    p->plot.x0 = outer.x0 + FIG_SIZE_AXIS + 5 + widest + 2 + TICK_LENGTH;
    p->plot.x1 = outer.x1 - 2;
    p->x.from = p->plot.x0;
    p->x.to = p->plot.x1;
    p->plot.x1 -= right_overhang(&p->x);
    p->x.to = p->plot.x1;

    draw_x_axis(p, a);
    draw_y_axis(p, tick, n);
    double middle = (p->plot.y0 + p->plot.y1) / 2;
    fig_text_up(p->canvas, outer.x0 + FIG_SIZE_AXIS / 2, middle, 0.5, FIG_SIZE_AXIS, FIG_REGULAR,
                FIG_INK, a->y_title);
    if (a->title)
        fig_text(p->canvas, outer.x0, outer.y1 - FIG_SIZE_TITLE / 2, 0, FIG_SIZE_TITLE, FIG_BOLD,
                 FIG_INK, a->title);
    p->scene.bounds = (fig_rect){ p->plot.x0 + 1.5, p->plot.y0 + 1, outer.x1, p->plot.y1 + 3 };
}

/* ---- data ------------------------------------------------------------------------------ */

void fig_panel_band(fig_panel *p, const double *x, const double *low, const double *high, size_t n,
                    fig_color color)
{
    enum { MOST = 512 };
    fig_point at[2 * MOST];
    for (size_t from = 0; from < n;) {
        size_t m = 0;
        while (from + m < n && m < MOST && isfinite(fig_at(&p->x, x[from + m])) &&
               isfinite(low[from + m]) && isfinite(high[from + m]))
            m++;
        for (size_t i = 0; i < m; i++) {
            double px = fig_at(&p->x, x[from + i]);
            at[i] = (fig_point){ px, fig_at_clamped(&p->y, high[from + i]) };
            at[2 * m - 1 - i] = (fig_point){ px, fig_at_clamped(&p->y, low[from + i]) };
        }
        if (m > 1) { /* hairlines at the rims keep bands apart that lie on each other */
            fig_polygon(p->canvas, at, 2 * m, color);
            fig_color rim = fig_fade(color, 2.5);
            fig_line(p->canvas, at, m, 0.4, FIG_SOLID, rim);
            fig_line(p->canvas, at + m, m, 0.4, FIG_SOLID, rim);
        }
        from += m ? m : 1;
    }
}

void fig_panel_line(fig_panel *p, const double *x, const double *y, size_t n, double width,
                    fig_dash dash, fig_color color, int owner)
{
    enum { MOST = 1024 }; /* points drawn at once; a longer line goes on from its last one */
    fig_point at[MOST];
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        fig_point here = { fig_at(&p->x, x[i]), fig_at(&p->y, y[i]) };
        if (!isfinite(here.x) || !isfinite(here.y))
            continue; /* joins over what is missing */
        if (m == MOST) {
            fig_line(p->canvas, at, m, width, dash, color);
            at[0] = at[m - 1];
            m = 1;
        }
        if (m)
            fig_scene_obstacle(&p->scene, (fig_obstacle){ FIG_STROKE, at[m - 1].x, at[m - 1].y,
                                                          here.x, here.y, 5, owner });
        at[m++] = here;
    }
    fig_line(p->canvas, at, m, width, dash, color);
}

void fig_panel_interval(fig_panel *p, double x, double y, const rm_estimate *ex,
                        const rm_estimate *ey, fig_color color, int owner)
{
    double px = fig_at(&p->x, x), py = fig_at(&p->y, y);
    if (!isfinite(px) || !isfinite(py))
        return;
    if (ex)
        fig_page_method(p->page, ex);
    if (ey)
        fig_page_method(p->page, ey);
    if (ex && !isnan(ex->low) && !isnan(ex->high)) {
        double a = fig_at_clamped(&p->x, ex->low), b = fig_at_clamped(&p->x, ex->high);
        fig_segment(p->canvas, a, py, b, py, 1.0, color);
        fig_scene_obstacle(&p->scene, (fig_obstacle){ FIG_STROKE, a, py, b, py, 5, owner });
    }
    if (ey && !isnan(ey->low) && !isnan(ey->high)) {
        double a = fig_at_clamped(&p->y, ey->low), b = fig_at_clamped(&p->y, ey->high);
        fig_segment(p->canvas, px, a, px, b, 1.0, color);
        fig_scene_obstacle(&p->scene, (fig_obstacle){ FIG_STROKE, px, a, px, b, 5, owner });
    }
}

void fig_draw_marker(fig_canvas *canvas, double x, double y, double radius, const fig_style *style)
{
    double outer = radius + HALO;
    if (style->ringed) {
        fig_disc(canvas, x, y, radius + 3.0, FIG_WHITE);
        fig_disc(canvas, x, y, radius + 2.3, FIG_INK);
        fig_disc(canvas, x, y, radius + 1.7, FIG_WHITE);
    } else {
        fig_marker_fill(canvas, style->marker, x, y, outer, FIG_WHITE);
    }
    fig_marker_fill(canvas, style->marker, x, y, radius, style->color);
    if (style->hollow)
        fig_marker_fill(canvas, style->marker, x, y, radius * 0.56, FIG_WHITE);
}

void fig_panel_marker(fig_panel *p, double x, double y, double radius, const fig_style *style,
                      int owner)
{
    double px = fig_at(&p->x, x), py = fig_at(&p->y, y);
    if (!isfinite(px) || !isfinite(py))
        return;
    fig_draw_marker(p->canvas, px, py, radius, style);
    p->page->rings |= style->ringed;
    double extent = radius + (style->ringed ? 2.5 : 0.4);
    fig_scene_obstacle(&p->scene,
                       (fig_obstacle){ FIG_DISC, px, py, extent, 0, FIG_FORBIDDEN, owner });
}

void fig_panel_staircase(fig_panel *p, const double *x, const double *y, size_t n, double width,
                         fig_dash dash, fig_color line, fig_color tint)
{
    enum { MOST = 500 };
    fig_point at[2 * MOST + 4];
    size_t m = 0;
    for (size_t i = 0; i < n && i < MOST; i++) {
        fig_point here = { fig_at(&p->x, x[i]), fig_at(&p->y, y[i]) };
        if (!isfinite(here.x) || !isfinite(here.y))
            continue;
        if (m) {
            at[m] = (fig_point){ here.x, at[m - 1].y };
            m++;
        }
        at[m++] = here;
    }
    if (!m)
        return;
    at[m] = (fig_point){ p->plot.x1, at[m - 1].y };
    m++;
    at[m] = (fig_point){ p->plot.x1, p->plot.y0 };
    at[m + 1] = (fig_point){ at[0].x, p->plot.y0 };
    fig_polygon(p->canvas, at, m + 2, tint);
    fig_line(p->canvas, at, m, width, dash, line);
    for (size_t i = 0; i + 1 < m; i++)
        fig_scene_obstacle(&p->scene, (fig_obstacle){ FIG_STROKE, at[i].x, at[i].y, at[i + 1].x,
                                                      at[i + 1].y, 5, -1 });
}

/* ---- labels and keys ------------------------------------------------------------------- */

void fig_panel_label(fig_panel *p, const char *text, double size, fig_color color,
                     double importance, bool may_lead, int owner, const fig_style *key)
{
    size_t i = p->scene.n_labels;
    fig_scene_label(&p->scene, text, size, FIG_REGULAR, fig_readable(color), importance, may_lead,
                    owner);
    if (i < FIG_MAX_KEY)
        p->key[i] = key;
}

void fig_panel_anchor(fig_panel *p, double x, double y, double radius, double cost)
{
    double px = fig_at(&p->x, x), py = fig_at(&p->y, y);
    if (px < p->plot.x0 - 1 || px > p->plot.x1 + 1)
        return;
    fig_scene_anchor(&p->scene, px, py, radius, cost);
}

static void draw_label(fig_panel *p, const fig_label *l)
{
    if (l->leader) /* thin and grey, lest it be taken for an interval */
        fig_segment(p->canvas, l->from.x, l->from.y, l->to.x, l->to.y, 0.35, FIG_GRAY);
    for (size_t i = 0; i < p->scene.n_obstacles; i++) {
        const fig_obstacle *o = &p->scene.obstacles[i];
        if (o->kind == FIG_STROKE && fig_segment_in_rect((fig_point){ o->x0, o->y0 },
                                                         (fig_point){ o->x1, o->y1 }, l->box) > 0) {
            fig_box(p->canvas, l->box, fig_fade(FIG_WHITE, 0.8));
            break;
        }
    }
    fig_text(p->canvas, l->box.x0, l->box.y0 + FIG_TEXT_BELOW * l->size, 0, l->size, l->weight,
             l->color, l->text);
}

/* A name without a place goes into the page's key, once however many panels miss it. */
static void add_to_key(fig_page *page, const fig_label *l, const fig_style *style)
{
    for (size_t i = 0; i < page->n_key; i++)
        if (!strcmp(page->key[i].text, l->text))
            return;
    if (page->n_key == FIG_MAX_KEY)
        return;
    char *text = strdup(l->text);
    if (text)
        page->key[page->n_key++] = (fig_key){ text, *style, l->color };
}

void fig_panel_close(fig_panel *p)
{
    fig_page *page = p->page;
    if (!page->status)
        page->status = fig_scene_place(&p->scene, &page->error);
    if (!page->status) {
        for (size_t i = 0; i < p->scene.n_labels; i++) {
            const fig_label *l = &p->scene.labels[i];
            if (l->placed)
                draw_label(p, l);
            else if (i < FIG_MAX_KEY && p->key[i])
                add_to_key(page, l, p->key[i]);
        }
    }
    /* the axes last, above whatever reaches them */
    fig_segment(p->canvas, p->plot.x0, p->plot.y0, p->plot.x0, p->plot.y1, AXIS_WIDTH, FIG_INK);
    fig_segment(p->canvas, p->plot.x0, p->plot.y0, p->plot.x1, p->plot.y0, AXIS_WIDTH, FIG_INK);
    fig_scene_free(&p->scene);
}
