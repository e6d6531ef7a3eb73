/* axis.h - scales and ticks: from values to points on the page. Private to plots/. */
#ifndef RM_PLOTS_AXIS_H
#define RM_PLOTS_AXIS_H

#include "plots/canvas.h"

typedef enum fig_scale_kind { FIG_LINEAR, FIG_LOG10, FIG_LOG2 } fig_scale_kind;

typedef struct fig_scale {
    fig_scale_kind kind;
    double low, high; /* values at the ends, low < high; positive on the log scales */
    double from, to;  /* where they lie, in points */
    double mark;      /* log2: a value to be labelled beside the powers of two; 0: none */
} fig_scale;

/* Position of a value, NaN where it has none (not finite; not positive on a log scale). Values
 * beyond the ends lie beyond `from` and `to`. */
double fig_at(const fig_scale *, double value);
/* The same, cut at the ends. */
double fig_at_clamped(const fig_scale *, double value);

/* Grows [*low, *high] by a value; non-finite values, and on log scales those that are not
 * positive, are passed over. Start from FIG_EMPTY. */
typedef struct fig_range {
    double low, high;
} fig_range;
#define FIG_EMPTY ((fig_range){ 1, 0 }) /* low > high: no value yet */
void fig_range_add(fig_range *, fig_scale_kind, double value);
bool fig_range_empty(fig_range);

/* The smallest of 1, 2, 5 x 10^n that is >= x. x > 0. */
double fig_nice_step(double x);

/* A linear scale over the range with its ends on multiples of a nice step (about n_steps of
 * them), never beyond [floor, ceiling] and spanning at least min_span. */
fig_scale fig_scale_nice(fig_range, double min_span, double floor, double ceiling, int n_steps);
/* A log scale over the range, with `pad` of its length free at both ends and at least
 * min_ratio from end to end. */
fig_scale fig_scale_log(fig_scale_kind, fig_range, double pad, double min_ratio);
/* A log2 scale with a little room at both ends; the largest value is labelled even if it is no
 * power of two. */
fig_scale fig_scale_log2(fig_range);

typedef struct fig_tick {
    double value;
    char text[24]; /* empty: a minor tick */
} fig_tick;

enum { FIG_MAX_TICKS = 160 };

/* Ticks of a scale by ascending value. Level 0 is the densest labelling; every level has fewer
 * labels, and from some level on there is one label or none. Returns their number. */
size_t fig_ticks(const fig_scale *, int level, fig_tick ticks[FIG_MAX_TICKS]);

/* The densest level whose labels, each as wide as width_of says, keep `gap` points apart.
 * width_of(text, closure) NULL: every label is `gap` wide (a vertical axis). */
size_t fig_ticks_fitting(const fig_scale *, double size, bool horizontal, double gap,
                         fig_tick ticks[FIG_MAX_TICKS]);

/* "0.05", "20", "1,500", "20k", "3M"; exponents (Unicode superscripts) beyond 10^15 and below
 * 10^-4. */
void fig_number(double value, char text[24]);
/* "10⁻³" */
void fig_power_of_ten(int exponent, char text[24]);

#endif
