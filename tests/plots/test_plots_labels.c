/* Placement of labels: what must hold in every scene, and what should hold in easy ones. */
#include "plots/labels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

static double draw(uint32_t scene, uint32_t i, uint32_t j)
{
    return rm_unit(rm_random(11, scene, i, j));
}

static void point(fig_scene *s, double x, double y, int owner)
{
    fig_scene_obstacle(s, (fig_obstacle){ FIG_DISC, x, y, 3, 0, FIG_FORBIDDEN, owner });
}

static void named_point(fig_scene *s, double x, double y, int owner, const char *name)
{
    point(s, x, y, owner);
    fig_scene_label(s, name, 7, FIG_REGULAR, FIG_INK, 1, true, owner);
    fig_scene_anchor(s, x, y, 3, 0);
}

static size_t check_invariants(const fig_scene *s)
{
    size_t placed = 0;
    for (size_t i = 0; i < s->n_labels; i++) {
        const fig_label *l = &s->labels[i];
        if (!l->placed)
            continue;
        placed++;
        cr_assert(l->box.x0 >= s->bounds.x0 && l->box.x1 <= s->bounds.x1 &&
                      l->box.y0 >= s->bounds.y0 && l->box.y1 <= s->bounds.y1,
                  "label %zu leaves the bounds", i);
        for (size_t j = 0; j < i; j++) {
            const fig_label *m = &s->labels[j];
            if (!m->placed)
                continue;
            cr_assert(!fig_rects_meet(l->box, m->box, 0), "labels %zu and %zu overlap", i, j);
            cr_assert(!(l->leader && fig_segment_in_rect(l->from, l->to, m->box) > 0) &&
                          !(m->leader && fig_segment_in_rect(m->from, m->to, l->box) > 0),
                      "a leader runs through a label: %zu, %zu", i, j);
        }
        for (size_t o = 0; o < s->n_obstacles; o++) {
            const fig_obstacle *d = &s->obstacles[o];
            if (d->kind != FIG_DISC)
                continue;
            double dx = fmax(fmax(l->box.x0 - d->x0, d->x0 - l->box.x1), 0);
            double dy = fmax(fmax(l->box.y0 - d->y0, d->y0 - l->box.y1), 0);
            cr_assert_geq(hypot(dx, dy), d->x1, "label %zu covers a marker", i);
        }
    }
    return placed;
}

Test(plots_labels, nothing_overlaps_in_random_scenes)
{
    for (uint32_t scene = 0; scene < 24; scene++) {
        fig_scene s = { .bounds = { 0, 0, 100 + 10.0 * scene, 100 } };
        int n = 2 + (int)scene * 2;
        for (int i = 0; i < n; i++) {
            char name[40];
            snprintf(name, sizeof name, "%.*s %d", 3 + (int)(12 * draw(scene, (uint32_t)i, 2)),
                     "strategy of long name", i);
            named_point(&s, s.bounds.x1 * draw(scene, (uint32_t)i, 0),
                        100 * draw(scene, (uint32_t)i, 1), i, name);
        }
        for (int i = 0; i < n; i++)
            fig_scene_obstacle(&s, (fig_obstacle){ FIG_STROKE,
                                                   s.bounds.x1 * draw(scene, (uint32_t)i, 3), 50,
                                                   s.bounds.x1 * draw(scene, (uint32_t)i, 4),
                                                   100 * draw(scene, (uint32_t)i, 5), 5, -1 });
        rm_error err;
        cr_assert_eq(fig_scene_place(&s, &err), RM_OK);
        check_invariants(&s);
        fig_scene_free(&s);
    }
}

Test(plots_labels, easy_scenes_are_labelled_completely)
{
    fig_scene s = { .bounds = { 0, 0, 200, 150 } };
    for (int i = 0; i < 8; i++)
        named_point(&s, 20 + 18 * i, 15 + 16 * i, i, "strategy");
    cr_assert_eq(fig_scene_place(&s, NULL), RM_OK);
    cr_assert_eq(check_invariants(&s), 8);
    fig_scene_free(&s);

    /* alone, a label stands at the right of its point, without a leader */
    s = (fig_scene){ .bounds = { 0, 0, 200, 150 } };
    named_point(&s, 50, 50, 0, "greedy");
    cr_assert_eq(fig_scene_place(&s, NULL), RM_OK);
    cr_assert(s.labels[0].placed && !s.labels[0].leader && s.labels[0].box.x0 > 50);
    fig_scene_free(&s);

    /* at the right border it turns to the left */
    s = (fig_scene){ .bounds = { 0, 0, 200, 150 } };
    named_point(&s, 195, 50, 0, "greedy");
    cr_assert_eq(fig_scene_place(&s, NULL), RM_OK);
    cr_assert(s.labels[0].placed && s.labels[0].box.x1 < 195);
    fig_scene_free(&s);
}

Test(plots_labels, crowded_points_get_leaders)
{
    fig_scene s = { .bounds = { 0, 0, 240, 160 } };
    for (int i = 0; i < 6; i++)
        named_point(&s, 110 + 5 * (i % 3), 80 + 6 * (i / 3), i, "strategy");
    cr_assert_eq(fig_scene_place(&s, NULL), RM_OK);
    size_t placed = check_invariants(&s), leaders = 0, through = 0;
    for (size_t i = 0; i < s.n_labels; i++) {
        const fig_label *l = &s.labels[i];
        if (!l->placed || !l->leader)
            continue;
        leaders++;
        for (size_t o = 0; o < s.n_obstacles; o++) { /* sampled along the leader */
            const fig_obstacle *d = &s.obstacles[o];
            for (int k = 0; k <= 50 && d->kind == FIG_DISC && d->owner != l->owner; k++) {
                double t = k / 50.0, x = l->from.x + t * (l->to.x - l->from.x);
                double y = l->from.y + t * (l->to.y - l->from.y);
                through += k < 48 && hypot(x - d->x0, y - d->y0) < d->x1 - 0.5;
            }
        }
    }
    cr_assert_eq(through, 0, "a leader runs through another's marker");
    cr_assert_eq(placed, 6);
    cr_assert_geq(leaders, 1);
    fig_scene_free(&s);
}

/* A marker with its interval between crowded sides: the leader leaves at an angle. */
Test(plots_labels, leaders_do_not_run_along_intervals)
{
    fig_scene s = { .bounds = { 0, 0, 200, 160 } };
    for (int side = -1; side <= 1; side += 2)
        for (int i = 0; i < 14; i++)
            point(&s, 100 + 8 * side + 10 * (i % 3) * side, 10 + 5 * i, -1);
    named_point(&s, 100, 40, 0, "a rather long name");
    fig_obstacle interval = { FIG_STROKE, 100, 5, 100, 85, 5, 0 };
    fig_scene_obstacle(&s, interval);
    rm_error err = { 0 };
    cr_assert_eq(fig_scene_place(&s, &err), RM_OK);
    const fig_label *l = &s.labels[0];
    cr_assert(l->placed && l->leader);
    cr_assert_gt(fabs(l->from.x - 100), 3, "the leader begins at %g, %g", l->from.x, l->from.y);
    fig_scene_free(&s);
}

Test(plots_labels, what_cannot_be_placed_is_left_out)
{
    fig_scene s = { .bounds = { 0, 0, 30, 10 } };
    named_point(&s, 15, 5, 0, "a name much longer than the page is wide");
    fig_scene_label(&s, "no anchor", 7, FIG_REGULAR, FIG_INK, 1, true, -1);
    fig_scene_label(&s, "anchor nowhere", 7, FIG_REGULAR, FIG_INK, 1, true, -1);
    fig_scene_anchor(&s, NAN, 5, 3, 0);
    cr_assert_eq(fig_scene_place(&s, NULL), RM_OK);
    cr_assert_eq(check_invariants(&s), 0);
    fig_scene_free(&s);

    s = (fig_scene){ 0 };
    cr_assert_eq(fig_scene_place(&s, NULL), RM_OK);
}

Test(plots_labels, geometry)
{
    fig_rect r = { 0, 0, 10, 10 };
    cr_assert_float_eq(fig_segment_in_rect((fig_point){ -5, 5 }, (fig_point){ 15, 5 }, r), 10,
                       1e-9);
    cr_assert_float_eq(fig_segment_in_rect((fig_point){ 2, 2 }, (fig_point){ 5, 6 }, r), 5, 1e-9);
    cr_assert_eq(fig_segment_in_rect((fig_point){ 11, 0 }, (fig_point){ 11, 10 }, r), 0);
    cr_assert_eq(fig_segment_in_rect((fig_point){ -1, 9 }, (fig_point){ 1, 12 }, r), 0);
    cr_assert(fig_rects_meet(r, (fig_rect){ 11, 0, 20, 10 }, 2));
    cr_assert(!fig_rects_meet(r, (fig_rect){ 11, 0, 20, 10 }, 1));
}
