/* labels.c - placement of direct labels.
 *
 * Every label gets a list of candidate places around its anchors: 16 directions on five rings,
 * the outer ones with a leader line. A candidate has a cost of its own
 *
 *     c = anchor + direction + ring + what it covers + what its leader crosses
 *
 * and pairs of labels have a cost together (leaders that cross; texts that meet, and a leader
 * through a text, are forbidden). We
 * look for the choice, one candidate or none a label, with the smallest sum: simulated annealing
 * (Christensen, Marks & Shieber 1995, "An empirical study of algorithms for point-feature label
 * placement", found it best of those compared) with a fixed seed, then descent to a local
 * minimum. The scale: 1 is "clearly less nice", leaving a label out costs 30 x importance.
 *
 * Invariant: forbidden candidates are never listed and forbidden pairs never accepted, so the
 * result is free of overlaps whatever the search does. */
#include "plots/labels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define OMITTED 30.0
enum { DIRECTIONS = 16, RINGS = 6, KEPT = 72 };

typedef struct candidate {
    fig_rect box;
    fig_point from, to;
    bool leader;
    double cost;
} candidate;

/* ---- the scene ------------------------------------------------------------------------- */

static void *grow(fig_scene *scene, void *items, size_t *room, size_t n, size_t size)
{
    if (scene->failed || n < *room)
        return items;
    size_t more = *room ? *room * 2 : 64;
    void *grown = more > SIZE_MAX / size ? NULL : realloc(items, more * size);
    if (!grown) {
        scene->failed = true;
        return items;
    }
    *room = more;
    return grown;
}

void fig_scene_obstacle(fig_scene *s, fig_obstacle o)
{
    if (!isfinite(o.x0) || !isfinite(o.y0) || !isfinite(o.x1) || !isfinite(o.y1))
        return;
    s->obstacles = grow(s, s->obstacles, &s->room_obstacles, s->n_obstacles, sizeof o);
    if (!s->failed)
        s->obstacles[s->n_obstacles++] = o;
}

void fig_scene_label(fig_scene *s, const char *text, double size, fig_weight weight,
                     fig_color color, double importance, bool may_lead, int owner)
{
    s->labels = grow(s, s->labels, &s->room_labels, s->n_labels, sizeof *s->labels);
    char *copy = s->failed ? NULL : strdup(text);
    if (!copy) {
        s->failed = true;
        return;
    }
    s->labels[s->n_labels++] = (fig_label){
        .text = copy,
        .width = fig_text_width(text, size, weight),
        .size = size,
        .weight = weight,
        .color = color,
        .importance = importance,
        .may_lead = may_lead,
        .owner = owner,
        .first_anchor = s->n_anchors,
    };
}

void fig_scene_anchor(fig_scene *s, double x, double y, double radius, double cost)
{
    if (!s->n_labels || !isfinite(x) || !isfinite(y))
        return;
    s->anchors = grow(s, s->anchors, &s->room_anchors, s->n_anchors, sizeof *s->anchors);
    if (s->failed)
        return;
    s->anchors[s->n_anchors++] = (fig_anchor){ x, y, radius, cost };
    s->labels[s->n_labels - 1].n_anchors++;
}

void fig_scene_free(fig_scene *s)
{
    for (size_t i = 0; i < s->n_labels; i++)
        free(s->labels[i].text);
    free(s->obstacles);
    free(s->anchors);
    free(s->labels);
    *s = (fig_scene){ 0 };
}

/* ---- geometry -------------------------------------------------------------------------- */

bool fig_rects_meet(fig_rect a, fig_rect b, double margin)
{
    return a.x0 - margin < b.x1 && b.x0 < a.x1 + margin && a.y0 - margin < b.y1 &&
           b.y0 < a.y1 + margin;
}

/* Liang & Barsky's clipping. */
double fig_segment_in_rect(fig_point a, fig_point b, fig_rect r)
{
    double t0 = 0, t1 = 1, dx = b.x - a.x, dy = b.y - a.y;
    const double p[4] = { -dx, dx, -dy, dy };
    const double q[4] = { a.x - r.x0, r.x1 - a.x, a.y - r.y0, r.y1 - a.y };
    for (int i = 0; i < 4; i++) {
        if (fabs(p[i]) < 1e-12) {
            if (q[i] < 0)
                return 0;
        } else if (p[i] < 0) {
            t0 = fmax(t0, q[i] / p[i]);
        } else {
            t1 = fmin(t1, q[i] / p[i]);
        }
    }
    return t1 > t0 ? (t1 - t0) * hypot(dx, dy) : 0;
}

static double distance_to_rect(double x, double y, fig_rect r)
{
    return hypot(fmax(fmax(r.x0 - x, x - r.x1), 0), fmax(fmax(r.y0 - y, y - r.y1), 0));
}

static double distance_to_segment(double x, double y, fig_point a, fig_point b)
{
    double dx = b.x - a.x, dy = b.y - a.y, l2 = dx * dx + dy * dy;
    double t = l2 > 0 ? ((x - a.x) * dx + (y - a.y) * dy) / l2 : 0;
    t = fmin(fmax(t, 0), 1);
    return hypot(x - a.x - t * dx, y - a.y - t * dy);
}

static bool segments_cross(fig_point a, fig_point b, fig_point c, fig_point d)
{
    double d1 = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
    double d2 = (b.x - a.x) * (d.y - a.y) - (b.y - a.y) * (d.x - a.x);
    double d3 = (d.x - c.x) * (a.y - c.y) - (d.y - c.y) * (a.x - c.x);
    double d4 = (d.x - c.x) * (b.y - c.y) - (d.y - c.y) * (b.x - c.x);
    return d1 * d2 < 0 && d3 * d4 < 0;
}

/* ---- candidates ------------------------------------------------------------------------ */

/* Cost of covering one obstacle; the text keeps a point of air around itself. */
static double cost_of_cover(const fig_obstacle *o, const candidate *c, int owner)
{
    fig_rect air = { c->box.x0 - 1, c->box.y0 - 0.5, c->box.x1 + 1, c->box.y1 + 0.5 };
    fig_point a = { o->x0, o->y0 }, b = { o->x1, o->y1 };
    switch (o->kind) {
    case FIG_DISC: {
        double gap = distance_to_rect(o->x0, o->y0, c->box) - o->x1;
        if (gap < 0.6)
            return o->cost;
        return o->owner != owner && gap < 3 ? 1.2 : 0; /* reads as the neighbour's name */
    }
    case FIG_STROKE: {
        double length = fig_segment_in_rect(a, b, air);
        return length > 0 ? o->cost * fmin(0.5 + length / 8, 4) : 0;
    }
    case FIG_AREA:
        return fig_rects_meet(air, (fig_rect){ o->x0, o->y0, o->x1, o->y1 }, 0) ? o->cost : 0;
    }
    return 0;
}

/* Length of the part of a leader that runs along a stroke, less than AIR from it: there it reads as
 * more of the stroke. Next to the marker it must meet the marker's own strokes. */
static double length_along(const candidate *c, fig_point a, fig_point b)
{
    enum { POINTS = 16 };
    const double air = 1.5, near_marker = 3;
    double length = hypot(c->to.x - c->from.x, c->to.y - c->from.y), along = 0;
    for (int i = 0; i < POINTS; i++) {
        double t = (i + 0.5) / POINTS;
        double x = c->from.x + t * (c->to.x - c->from.x), y = c->from.y + t * (c->to.y - c->from.y);
        if ((1 - t) * length > near_marker && distance_to_segment(x, y, a, b) < air)
            along += length / POINTS;
    }
    return along;
}

static double cost_of_leader(const fig_obstacle *o, const candidate *c, int owner)
{
    fig_point a = { o->x0, o->y0 }, b = { o->x1, o->y1 };
    if (o->kind == FIG_DISC) {
        double off = distance_to_segment(o->x0, o->y0, c->from, c->to) - o->x1;
        bool own_end = hypot(o->x0 - c->to.x, o->y0 - c->to.y) <= o->x1 + 2;
        return off < 1 && !own_end ? 8 : 0;
    }
    if (o->kind != FIG_STROKE)
        return 0;
    double along = length_along(c, a, b);
    if (along > 2)
        return 1.5 + 0.4 * along;
    if (segments_cross(c->from, c->to, a, b))
        return o->owner == owner ? 0.5 : 0.3 * o->cost;
    return 0;
}

static candidate make_candidate(const fig_label *l, const fig_anchor *a, int direction, int ring)
{
    static const double distance[RINGS] = { 1.6, 4, 11, 20, 32, 48 };
    static const double ring_cost[RINGS] = { 0, 0.8, 3, 4.5, 7, 10 };
    /* right, then left, then above and below, then the corners */
    static const double direction_cost[DIRECTIONS] = { 0,   0.3, 0.7, 0.9, 0.6, 0.9, 0.8, 0.5,
                                                       0.4, 0.5, 0.8, 0.9, 0.6, 0.9, 0.7, 0.3 };
    double turn = 2 * 3.14159265358979323846 * direction / DIRECTIONS;
    double ux = cos(turn), uy = sin(turn), off = a->radius + distance[ring];
    double half_w = l->width / 2;
    double sx = fmin(fmax(1.45 * ux, -1), 1), sy = fmin(fmax(1.45 * uy, -1), 1);
    double up = FIG_TEXT_ABOVE * l->size, down = FIG_TEXT_BELOW * l->size;
    double x = a->x + ux * off + sx * half_w;
    double y = a->y + uy * off + (sy > 0 ? sy * down : sy * up);
    candidate c = {
        .box = { x - half_w, y - down, x + half_w, y + up },
        .leader = ring > 1,
        .cost = a->cost + direction_cost[direction] + ring_cost[ring],
    };
    if (c.leader) {
        /* from the nearest point of the text's body to the marker's edge */
        double middle = (c.box.y0 + c.box.y1) / 2 + 0.06 * l->size;
        double fx = fmin(fmax(a->x, c.box.x0), c.box.x1);
        double fy = fx > c.box.x0 && fx < c.box.x1 ? fmin(fmax(a->y, c.box.y0), c.box.y1) : middle;
        double length = hypot(fx - a->x, fy - a->y);
        if (length > 0) {
            c.from = (fig_point){ fx + (a->x - fx) / length, fy + (a->y - fy) / length };
            c.to = (fig_point){ a->x + (fx - a->x) / length * a->radius,
                                a->y + (fy - a->y) / length * a->radius };
        }
    }
    return c;
}

static int by_cost(const void *a, const void *b)
{
    double x = ((const candidate *)a)->cost, y = ((const candidate *)b)->cost;
    return (x > y) - (x < y);
}

/* The candidates of one label that break no rule, the KEPT cheapest of them, by ascending cost. */
static rm_status list_candidates(const fig_scene *s, const fig_label *l, candidate *out, size_t *n)
{
    *n = 0;
    size_t rings = l->may_lead ? RINGS : 2, most = l->n_anchors * DIRECTIONS * rings;
    candidate *all = malloc((most ? most : 1) * sizeof *all);
    if (!all)
        return RM_E_MEMORY;
    size_t found = 0;
    for (size_t a = 0; a < l->n_anchors; a++)
        for (int ring = 0; ring < (int)rings; ring++)
            for (int d = 0; d < DIRECTIONS; d++) {
                candidate c = make_candidate(l, &s->anchors[l->first_anchor + a], d, ring);
                const fig_rect *in = &s->bounds;
                if (c.box.x0 < in->x0 || c.box.x1 > in->x1 || c.box.y0 < in->y0 ||
                    c.box.y1 > in->y1)
                    continue;
                for (size_t i = 0; i < s->n_obstacles && c.cost < OMITTED * l->importance; i++) {
                    c.cost += cost_of_cover(&s->obstacles[i], &c, l->owner);
                    if (c.leader)
                        c.cost += cost_of_leader(&s->obstacles[i], &c, l->owner);
                }
                if (c.cost < OMITTED * l->importance && c.cost < FIG_FORBIDDEN)
                    all[found++] = c;
            }
    qsort(all, found, sizeof *all, by_cost);
    *n = found < KEPT ? found : KEPT;
    memcpy(out, all, *n * sizeof *all);
    free(all);
    return RM_OK;
}

/* ---- the search ------------------------------------------------------------------------ */

typedef struct search {
    const fig_scene *scene;
    candidate *candidates; /* [n_labels][KEPT] */
    size_t *n;             /* [n_labels] */
    int *choice;           /* [n_labels] -1: left out */
} search;

static double pair_cost(const candidate *a, const candidate *b)
{
    if (fig_rects_meet(a->box, b->box, 2))
        return FIG_FORBIDDEN;
    if (a->leader && fig_segment_in_rect(a->from, a->to, b->box) > 0)
        return FIG_FORBIDDEN;
    if (b->leader && fig_segment_in_rect(b->from, b->to, a->box) > 0)
        return FIG_FORBIDDEN;
    return a->leader && b->leader && segments_cross(a->from, a->to, b->from, b->to) ? 8 : 0;
}

/* What label i adds to the sum if it takes candidate k, the others as they are. */
static double cost_at(const search *s, size_t i, int k)
{
    if (k < 0)
        return OMITTED * s->scene->labels[i].importance;
    const candidate *mine = &s->candidates[i * KEPT + (size_t)k];
    double cost = mine->cost;
    for (size_t j = 0; j < s->scene->n_labels && cost < FIG_FORBIDDEN; j++)
        if (j != i && s->choice[j] >= 0)
            cost += pair_cost(mine, &s->candidates[j * KEPT + (size_t)s->choice[j]]);
    return cost;
}

static void descend(search *s)
{
    for (int pass = 0, moved = 1; moved && pass < 50; pass++) {
        moved = 0;
        for (size_t i = 0; i < s->scene->n_labels; i++) {
            int best = s->choice[i];
            double best_cost = cost_at(s, i, best);
            for (int k = -1; k < (int)s->n[i]; k++) {
                double cost = cost_at(s, i, k);
                if (cost < best_cost - 1e-9)
                    best = k, best_cost = cost;
            }
            if (best != s->choice[i])
                s->choice[i] = best, moved = 1;
        }
    }
}

static void anneal(search *s)
{
    size_t n = s->scene->n_labels, steps = 600 * n < 60000 ? 600 * n : 60000;
    for (size_t step = 0; step < steps; step++) {
        double temperature = 6 * pow(0.02, (double)step / (double)steps);
        uint64_t bits = rm_random(1, 0x6c6162656c73u, (uint32_t)step, 0);
        size_t i = (size_t)rm_scale(bits, n);
        if (!s->n[i])
            continue;
        int k = (int)rm_scale(rm_random(1, 0x6c6162656c73u, (uint32_t)step, 1), s->n[i] + 1) - 1;
        double rise = cost_at(s, i, k) - cost_at(s, i, s->choice[i]);
        if (rise > 200)
            continue; /* forbidden */
        if (rise <= 0 ||
            rm_unit(rm_random(1, 0x6c6162656c73u, (uint32_t)step, 2)) < exp(-rise / temperature))
            s->choice[i] = k;
    }
}

rm_status fig_scene_place(fig_scene *scene, rm_error *err)
{
    size_t n = scene->n_labels;
    search s = { .scene = scene };
    rm_status st = RM_OK;
    if (scene->failed)
        goto memory;
    if (!n)
        return RM_OK;
    if (n > SIZE_MAX / KEPT / sizeof *s.candidates)
        goto memory;
    s.candidates = malloc(n * KEPT * sizeof *s.candidates);
    s.n = calloc(n, sizeof *s.n);
    s.choice = malloc(n * sizeof *s.choice);
    if (!s.candidates || !s.n || !s.choice)
        goto memory;

    for (size_t i = 0; i < n; i++) {
        s.choice[i] = -1;
        if (list_candidates(scene, &scene->labels[i], s.candidates + i * KEPT, &s.n[i]))
            goto memory;
    }
    descend(&s);
    anneal(&s);
    descend(&s);
    for (size_t i = 0; i < n; i++) {
        fig_label *l = &scene->labels[i];
        l->placed = s.choice[i] >= 0;
        if (!l->placed)
            continue;
        const candidate *c = &s.candidates[i * KEPT + (size_t)s.choice[i]];
        l->box = c->box;
        l->leader = c->leader;
        l->from = c->from;
        l->to = c->to;
    }
    goto done;
memory:
    st = rm_fail(err, RM_E_MEMORY, "There is no memory for the labels of a figure.");
done:
    free(s.candidates);
    free(s.n);
    free(s.choice);
    return st;
}
