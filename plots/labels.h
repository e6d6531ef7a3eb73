/* labels.h - direct labels that overlap neither each other nor the data. Private to plots/. */
#ifndef RM_PLOTS_LABELS_H
#define RM_PLOTS_LABELS_H

#include "plots/canvas.h"

/* What a label should keep off. `cost` is what covering it costs (see labels.c for the scale);
 * markers are FIG_FORBIDDEN. */
typedef enum fig_obstacle_kind { FIG_DISC, FIG_STROKE, FIG_AREA } fig_obstacle_kind;
typedef struct fig_obstacle {
    fig_obstacle_kind kind;
    double x0, y0, x1, y1; /* disc: centre and radius in x1; stroke: ends; area: box */
    double cost;
    int owner; /* the series it belongs to, -1 none */
} fig_obstacle;
#define FIG_FORBIDDEN 1000.0

/* A place that a label may name: it stands beside the anchor, or farther off with a leader. */
typedef struct fig_anchor {
    double x, y, radius, cost;
} fig_anchor;

typedef struct fig_label {
    char *text;         /* owned by the scene */
    double width, size; /* points */
    fig_weight weight;
    fig_color color;
    double importance; /* 1 is usual; what leaving it out costs */
    bool may_lead;     /* may stand off with a leader line */
    int owner;
    size_t first_anchor, n_anchors;
    /* the result */
    bool placed, leader;
    fig_rect box;
    fig_point from, to; /* of the leader: at the label, at the anchor */
} fig_label;

typedef struct fig_scene {
    fig_rect bounds;
    fig_obstacle *obstacles;
    fig_anchor *anchors;
    fig_label *labels;
    size_t n_obstacles, n_anchors, n_labels;
    size_t room_obstacles, room_anchors, room_labels;
    bool failed; /* memory ran out; nothing more is added */
} fig_scene;

void fig_scene_obstacle(fig_scene *, fig_obstacle);
/* Adds a label (copies the text) that names the anchors that follow. */
void fig_scene_label(fig_scene *, const char *text, double size, fig_weight, fig_color,
                     double importance, bool may_lead, int owner);
void fig_scene_anchor(fig_scene *, double x, double y, double radius, double cost);

/* Decides every label's place. Afterwards no two placed labels overlap, none covers a forbidden
 * obstacle and none leaves the bounds; labels that cannot be placed so have placed = false.
 * RM_E_MEMORY if the scene had failed or fails now. */
rm_status fig_scene_place(fig_scene *, rm_error *);
void fig_scene_free(fig_scene *);

bool fig_rects_meet(fig_rect, fig_rect, double margin);
/* Length of the part of the segment that lies in the box. */
double fig_segment_in_rect(fig_point, fig_point, fig_rect);

#endif
