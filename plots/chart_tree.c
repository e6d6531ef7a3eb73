/* chart_tree.c - a recorded search tree, root at the left, one column a step.
 *
 * Layout.  Reingold & Tilford (1981, "Tidier drawings of trees"): the subtrees of a node are
 * pushed together until their contours, compared level by level, keep one unit apart; a node
 * stands in the middle of its children. Subtrees of equal shape are drawn equally wherever they
 * stand. Parents precede children in the record, so one pass from the last node to the first
 * meets every subtree before its parent, without recursion.
 * Shown.   At most MAX_SHOWN nodes: the chosen path, then the most visited ones, always with
 * their ancestors; a node tells how many children were left out.
 * Read.    The area of a disc is proportional to its visits, its colour is the mean value Q; what
 *          no simulation has visited has no value and is white. */
#include "plots/panel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SHOWN = 72, TEXT_CHARS = 30 };
#define TITLE_ROOM  14.0
#define LEGEND_ROOM 22.0

typedef struct shown_node {
    size_t source; /* index into tree->nodes */
    int parent;    /* index into shown, -1 for the root */
    int depth;
    int n_children; /* shown ones */
    int hidden;     /* children left out */
    double offset;  /* from the parent's row */
    double row;
    fig_point at;
    double radius;
} shown_node;

typedef struct drawing {
    const rm_tree *tree;
    shown_node shown[MAX_SHOWN];
    int n, depth;     /* depth: of the deepest shown node */
    double low, high; /* rows */
    double most_visits;
    bool values; /* some node has a Q */
} drawing;

/* ---- which nodes ------------------------------------------------------------------------- */

static rm_status check_tree(const rm_tree *tree, rm_error *err)
{
    if (!tree->n_nodes)
        return rm_fail(err, RM_E_ARGUMENT,
                       "The search tree to draw has no nodes; it needs a root.");
    for (size_t i = 0; i < tree->n_nodes; i++) {
        int parent = tree->nodes[i].parent;
        if (i == 0 ? parent != -1 : parent < 0 || (size_t)parent >= i)
            return rm_fail(err, RM_E_ARGUMENT,
                           "Node %zu of a search tree has parent %d; expected %s.", i, parent,
                           i ? "an earlier node" : "-1, since it is the root");
    }
    return RM_OK;
}

typedef struct rank {
    size_t node;
    bool chosen;
    double visits;
} rank;

static int by_rank(const void *a, const void *b)
{
    const rank *x = a, *y = b;
    if (x->chosen != y->chosen)
        return x->chosen ? -1 : 1;
    if (x->visits != y->visits)
        return x->visits > y->visits ? -1 : 1;
    return x->node < y->node ? -1 : 1;
}

/* Marks the node and its ancestors if all of them fit into what is left. */
static void take(const rm_tree *tree, bool *keep, size_t node, int *left)
{
    int need = 0;
    for (int i = (int)node; i >= 0 && !keep[i] && need <= *left; i = tree->nodes[i].parent)
        need++;
    if (need > *left)
        return;
    for (int i = (int)node; i >= 0 && !keep[i]; i = tree->nodes[i].parent)
        keep[i] = true;
    *left -= need;
}

static rm_status choose_nodes(drawing *d, rm_error *err)
{
    const rm_tree *tree = d->tree;
    size_t n = tree->n_nodes;
    bool *keep = calloc(n, sizeof *keep);
    rank *order = n > SIZE_MAX / sizeof *order ? NULL : malloc(n * sizeof *order);
    int *place = malloc(n * sizeof *place);
    rm_status st = RM_OK;
    if (!keep || !order || !place) {
        st = rm_fail(err, RM_E_MEMORY, "There is no memory to draw a tree of %zu nodes.", n);
        goto done;
    }
    for (size_t i = 0; i < n; i++) {
        double visits = tree->nodes[i].visits;
        order[i] = (rank){ i, tree->nodes[i].chosen, isfinite(visits) ? visits : 0 };
    }
    qsort(order, n, sizeof *order, by_rank);
    int left = MAX_SHOWN;
    take(tree, keep, 0, &left);
    for (size_t i = 0; i < n && left > 0; i++)
        take(tree, keep, order[i].node, &left);
    for (size_t i = 0; i < n; i++) {
        const rm_tree_node *node = &tree->nodes[i];
        if (!keep[i]) {
            if (keep[node->parent])
                d->shown[place[node->parent]].hidden++;
            continue;
        }
        shown_node *s = &d->shown[d->n];
        *s = (shown_node){ .source = i, .parent = i ? place[node->parent] : -1 };
        if (i) {
            s->depth = d->shown[s->parent].depth + 1;
            d->shown[s->parent].n_children++;
        }
        if (s->depth > d->depth)
            d->depth = s->depth;
        if (isfinite(node->visits))
            d->most_visits = fmax(d->most_visits, node->visits);
        d->values |= isfinite(node->value);
        place[i] = d->n++;
    }
done:
    free(keep);
    free(order);
    free(place);
    return st;
}

/* ---- where ------------------------------------------------------------------------------- */

/* Contour of a subtree: first and last row at every level below and including its root, relative
 * to the root's row. */
typedef struct contour {
    int levels;
    double first[MAX_SHOWN], last[MAX_SHOWN];
} contour;

/* Appends a subtree after what is already joined; returns the row of its root. Levels of
 * `joined` count from the children. */
static double append_subtree(contour *joined, const contour *child, bool is_first)
{
    double row = 0;
    for (int l = 0; !is_first && l < joined->levels && l < child->levels; l++)
        row = fmax(row, joined->last[l] + 1 - child->first[l]);
    for (int l = 0; l < child->levels; l++) {
        if (l >= joined->levels) {
            joined->first[l] = row + child->first[l];
            joined->levels = l + 1;
        }
        joined->last[l] = row + child->last[l];
    }
    return row;
}

static void place_children(drawing *d, contour *contours, int parent)
{
    contour joined = { 0 };
    double first = 0, last = 0;
    bool any = false;
    for (int i = parent + 1; i < d->n; i++) {
        if (d->shown[i].parent != parent)
            continue;
        last = append_subtree(&joined, &contours[i], !any);
        d->shown[i].offset = last;
        if (!any)
            first = last;
        any = true;
    }
    double middle = (first + last) / 2;
    contour *mine = &contours[parent];
    mine->levels = 1 + joined.levels;
    mine->first[0] = mine->last[0] = 0;
    for (int l = 0; l < joined.levels && l + 1 < MAX_SHOWN; l++) {
        mine->first[l + 1] = joined.first[l] - middle;
        mine->last[l + 1] = joined.last[l] - middle;
    }
    for (int i = parent + 1; i < d->n; i++)
        if (d->shown[i].parent == parent)
            d->shown[i].offset -= middle;
}

static rm_status lay_out_rows(drawing *d, rm_error *err)
{
    contour *contours = calloc(MAX_SHOWN, sizeof *contours);
    if (!contours)
        return rm_fail(err, RM_E_MEMORY, "There is no memory to draw a tree.");
    for (int i = d->n - 1; i >= 0; i--)
        place_children(d, contours, i);
    free(contours);
    for (int i = 0; i < d->n; i++) {
        shown_node *s = &d->shown[i];
        s->row = s->parent < 0 ? 0 : d->shown[s->parent].row + s->offset;
        d->low = fmin(d->low, s->row);
        d->high = fmax(d->high, s->row);
    }
    return RM_OK;
}

/* ---- drawing ----------------------------------------------------------------------------- */

static const rm_tree_node *node_of(const drawing *d, int i)
{
    return &d->tree->nodes[d->shown[i].source];
}

static void set_positions(drawing *d, fig_rect area, double spacing)
{
    /* the last column leaves room for its texts at the right */
    double room = 30;
    for (int i = 0; i < d->n; i++) {
        rm_text text = { 0 };
        if (d->shown[i].depth == d->depth && node_of(d, i)->text)
            fig_text_plain(&text, node_of(d, i)->text, TEXT_CHARS);
        if (text.length && !text.failed)
            room = fmax(room, 14 + fig_text_width(text.data, 6.2, FIG_BOLD));
        rm_text_free(&text);
    }
    room = fmin(room, 0.25 * (area.x1 - area.x0));
    double column = fmin((area.x1 - area.x0 - room) / fmax(d->depth, 1), 110),
           largest = fmin(0.46 * spacing, 7.5);
    if (d->most_visits <= 0)
        largest = 2.2;
    for (int i = 0; i < d->n; i++) {
        shown_node *s = &d->shown[i];
        double visits = node_of(d, i)->visits;
        s->at.x = area.x0 + 9 + s->depth * column;
        s->at.y = area.y1 - (s->row - d->low + 0.5) * spacing;
        s->radius = d->most_visits > 0 && isfinite(visits) && visits > 0
                        ? fmax(largest * sqrt(visits / d->most_visits), 1.4)
                    : d->most_visits > 0 ? 1.4
                                         : largest;
    }
}

static void draw_edge(fig_canvas *c, fig_scene *scene, const shown_node *from, const shown_node *to,
                      bool chosen)
{
    enum { STEPS = 16 };
    fig_point p[STEPS + 1];
    for (int i = 0; i <= STEPS; i++) { /* cubic Bezier with horizontal ends */
        double t = (double)i / STEPS, u = 1 - t, bend = (from->at.x + to->at.x) / 2;
        p[i].x = u * u * u * from->at.x + 3 * u * u * t * bend + 3 * u * t * t * bend +
                 t * t * t * to->at.x;
        p[i].y = u * u * (u + 3 * t) * from->at.y + t * t * (t + 3 * u) * to->at.y;
        /* the chosen path is thick: labels keep off both of its rims */
        for (int rim = chosen ? -1 : 0; i && rim <= (chosen ? 1 : 0); rim += 2)
            fig_scene_obstacle(scene,
                               (fig_obstacle){ FIG_STROKE, p[i - 1].x, p[i - 1].y + 1.3 * rim,
                                               p[i].x, p[i].y + 1.3 * rim, chosen ? 6 : 3, -1 });
    }
    fig_line(c, p, STEPS + 1, chosen ? 1.9 : 0.6, FIG_SOLID,
             chosen ? FIG_VERMILLION : fig_mix(FIG_GRAY, FIG_WHITE, 0.45));
}

static void draw_node(const drawing *d, fig_canvas *c, fig_scene *scene, int i)
{
    const shown_node *s = &d->shown[i];
    const rm_tree_node *node = node_of(d, i);
    double rim = node->chosen ? 1.1 : 0.45;
    fig_disc(c, s->at.x, s->at.y, s->radius + rim + 0.8, FIG_WHITE);
    fig_disc(c, s->at.x, s->at.y, s->radius + rim, node->chosen ? FIG_VERMILLION : FIG_GRAY);
    fig_disc(c, s->at.x, s->at.y, s->radius,
             isfinite(node->value) ? fig_ramp(node->value)
             : d->values           ? FIG_WHITE
                                   : FIG_BLUE);
    fig_scene_obstacle(
        scene, (fig_obstacle){ FIG_DISC, s->at.x, s->at.y, s->radius + rim, 0, FIG_FORBIDDEN, i });
}

static void add_texts(const drawing *d, fig_scene *scene)
{
    for (int i = 1; i < d->n; i++) {
        const shown_node *s = &d->shown[i];
        const rm_tree_node *node = node_of(d, i);
        rm_text text = { 0 };
        if (node->text)
            fig_text_plain(&text, node->text + strspn(node->text, " \n\t"), TEXT_CHARS);
        double share =
            d->most_visits > 0 && isfinite(node->visits) ? node->visits / d->most_visits : 0;
        if (text.length && !text.failed) {
            fig_scene_label(scene, text.data, 6.2, node->chosen ? FIG_BOLD : FIG_REGULAR, FIG_INK,
                            node->chosen ? 2.5 : 0.25 + share, node->chosen, i);
            fig_scene_anchor(scene, s->at.x, s->at.y, s->radius + 0.8, 0);
        }
        rm_text_free(&text);
        if (!s->hidden)
            continue;
        char more[24];
        snprintf(more, sizeof more, "+%d", s->hidden);
        fig_scene_label(scene, more, 5.0, FIG_REGULAR, FIG_GRAY, 0.15, false, i);
        fig_scene_anchor(scene, s->at.x, s->at.y, s->radius + 0.4, 0);
    }
}

static void draw_texts(fig_canvas *c, const fig_scene *scene)
{
    for (size_t i = 0; i < scene->n_labels; i++) {
        const fig_label *l = &scene->labels[i];
        if (!l->placed)
            continue;
        if (l->leader)
            fig_segment(c, l->from.x, l->from.y, l->to.x, l->to.y, 0.4, FIG_GRAY);
        fig_box(c, l->box, fig_fade(FIG_WHITE, 0.75));
        fig_text(c, l->box.x0, l->box.y0 + FIG_TEXT_BELOW * l->size, 0, l->size, l->weight,
                 l->color, l->text);
    }
}

static double legend_text(fig_canvas *c, double x, double y, const char *text)
{
    fig_text(c, x, y, 0, FIG_SIZE_NOTE, FIG_REGULAR, FIG_GRAY, text);
    return x + fig_text_width(text, FIG_SIZE_NOTE, FIG_REGULAR);
}

static void draw_legend(const drawing *d, fig_canvas *c)
{
    double x = 4, y = 8;
    if (d->values) {
        x = legend_text(c, x, y, "mean value Q  0 ") + 2;
        for (int i = 0; i < 40; i++)
            fig_box(c, (fig_rect){ x + i, y - 2.5, x + i + 1.05, y + 2.5 },
                    fig_ramp((i + 0.5) / 40));
        x = legend_text(c, x + 43, y, "1") + 14;
    }
    if (d->most_visits > 0) {
        char text[64], most[24];
        fig_number(d->most_visits, most);
        snprintf(text, sizeof text, "area: visits, at most %s", most);
        x = legend_text(c, x, y, text) + 14;
    }
    bool chosen = false, white = false;
    for (int i = 0; i < d->n; i++) {
        chosen |= node_of(d, i)->chosen;
        white |= d->values && !isfinite(node_of(d, i)->value);
    }
    if (white) {
        fig_disc(c, x + 3, y, 2.4, FIG_GRAY);
        fig_disc(c, x + 3, y, 1.9, FIG_WHITE);
        x = legend_text(c, x + 8, y, d->most_visits > 0 ? "not visited" : "no value") + 14;
    }
    if (chosen) {
        fig_segment(c, x, y, x + 14, y, 1.9, FIG_VERMILLION);
        x = legend_text(c, x + 17, y, "chosen") + 14;
    }
    if ((size_t)d->n < d->tree->n_nodes) {
        char text[96];
        snprintf(text, sizeof text, "%d of %zu nodes shown, the most visited", d->n,
                 d->tree->n_nodes);
        legend_text(c, x, y, text);
    }
}

/* The title, bold, and the question below it; returns the height used. */
static double draw_heading(const drawing *d, fig_canvas *c, double width, double top)
{
    rm_text title = { 0 }, question = { 0 }, lines = { 0 };
    double used = 0;
    if (d->tree->title)
        fig_text_plain(&title, d->tree->title, 90);
    if (d->tree->answer && !title.failed) {
        rm_text_puts(&title, title.length ? "  →  " : "");
        fig_text_plain(&title, d->tree->answer, 40);
        rm_text_puts(&title, d->tree->correct ? "  ✓" : "  ✗");
    }
    if (title.length && !title.failed) {
        fig_text(c, 4, top - FIG_SIZE_TITLE / 2, 0, FIG_SIZE_TITLE, FIG_BOLD, FIG_INK, title.data);
        used += TITLE_ROOM;
    }
    /* a title that names the problem by its question says it already */
    bool named = d->tree->question && d->tree->title &&
                 strstr(d->tree->title, d->tree->question) != NULL;
    if (d->tree->question && !named) {
        fig_text_plain(&question, d->tree->question, 240);
        if (!question.failed && question.length)
            fig_text_wrap(&lines, question.data, width - 8, FIG_SIZE_LABEL, FIG_REGULAR, 3);
    }
    for (const char *p = lines.failed ? NULL : lines.data; p && *p;) {
        size_t n = strcspn(p, "\n");
        rm_text line = { 0 };
        rm_text_add(&line, p, n);
        if (!line.failed)
            fig_text(c, 4, top - used - FIG_SIZE_LABEL / 2, 0, FIG_SIZE_LABEL, FIG_REGULAR,
                     FIG_GRAY, line.data);
        rm_text_free(&line);
        used += FIG_SIZE_LABEL + 2.5;
        p += n + (p[n] == '\n');
    }
    rm_text_free(&title);
    rm_text_free(&question);
    rm_text_free(&lines);
    return used + 3;
}

static rm_status draw_tree(drawing *d, fig_canvas *c, double heading, double spacing, rm_error *err)
{
    double width = fig_canvas_width(c), height = fig_canvas_height(c);
    fig_rect area = { 4, LEGEND_ROOM, width - 4, height - 3 - heading };
    set_positions(d, area, spacing);
    fig_scene scene = { .bounds = { 2, LEGEND_ROOM - 4, width - 2, area.y1 + 3 } };
    for (int chosen = 0; chosen < 2; chosen++) /* the chosen path above the others */
        for (int i = 1; i < d->n; i++)
            if (node_of(d, i)->chosen == (chosen == 1))
                draw_edge(c, &scene, &d->shown[d->shown[i].parent], &d->shown[i], chosen == 1);
    for (int i = 0; i < d->n; i++)
        draw_node(d, c, &scene, i);
    add_texts(d, &scene);
    rm_status st = fig_scene_place(&scene, err);
    if (!st)
        draw_texts(c, &scene);
    fig_scene_free(&scene);
    draw_legend(d, c);
    return st;
}

rm_status rm_tree_render(const rm_tree *tree, const rm_plot_options *o, rm_format format,
                         rm_text *bytes, rm_error *err)
{
    rm_status st = check_tree(tree, err);
    if (st)
        return st;
    if ((unsigned)format > RM_FORMAT_PNG)
        return rm_fail(err, RM_E_ARGUMENT, "There is no figure format %d.", (int)format);
    drawing *d = calloc(1, sizeof *d);
    if (!d)
        return rm_fail(err, RM_E_MEMORY, "There is no memory to draw a tree.");
    d->tree = tree;
    fig_canvas *canvas = NULL;
    st = choose_nodes(d, err);
    if (!st)
        st = lay_out_rows(d, err);

    double width = 72 * (o && o->width_in > 0 ? o->width_in : 7), heading = 0, spacing = 11.5;
    if (!st)
        st = fig_canvas_dry(width, 100, &canvas, err);
    if (!st)
        heading = draw_heading(d, canvas, width, 100);
    fig_canvas_free(canvas);
    canvas = NULL;
    double rows = d->high - d->low + 1, room = LEGEND_ROOM + heading + 3;
    double height = room + fmax(rows * spacing, 60);
    if (o && o->height_in > 0)
        height = fmax(72 * o->height_in, room + 4 * rows);
    spacing = fmin((height - room) / rows, 30);
    height = room + rows * spacing;
    if (!st)
        st = fig_canvas_open(format, width, height, o && o->dpi > 0 ? o->dpi : 300, tree->title,
                             &canvas, err);
    if (!st) {
        draw_heading(d, canvas, width, height - 3);
        st = draw_tree(d, canvas, heading, spacing, err);
    }
    if (!st) {
        st = fig_canvas_finish(canvas, bytes, err);
        canvas = NULL;
    }
    fig_canvas_free(canvas);
    free(d);
    return st;
}

rm_status rm_tree_write(const rm_tree *tree, const rm_plot_options *o, const char *path,
                        rm_error *err)
{
    rm_format format;
    rm_status st = rm_format_of_path(path, &format, err);
    if (st)
        return st;
    rm_text bytes = { 0 };
    st = rm_tree_render(tree, o, format, &bytes, err);
    if (!st)
        st = rm_file_write(path, bytes.data, bytes.length, err);
    rm_text_free(&bytes);
    return st;
}
