/* area.c - families of cells as curves of accuracy over a cost: how much lies under a curve, by
 * how much one lies above another, and where that one takes the lead.
 *
 *     A = 1 / ln(high/low)  *  integral of accuracy(c) d ln c  from low to high
 *
 * the mean accuracy over a range of budgets when every doubling of the budget counts alike (the
 * area under a learning curve on a log scale, as Guyon et al. 2011, Results of the Active Learning
 * Challenge, JMLR W&CP 16:19, scored it). Trapezoids between the cells, straight in ln c; a single
 * family is averaged over its own range of costs, two over the range that both have, so that the
 * difference compares equal budgets. The range is the point estimates' and stays fixed in the
 * resamples, where accuracies and costs of all cells move together (derived.c); a curve that does
 * not reach an end of the range there continues level.
 *
 * Pairs are looked at only if their ranges overlap by a factor of 1.5 at least, and if all their
 * cells answered equally many problems. */
#include "analysis/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIZES = 64 };
#define LEAST_OVERLAP 1.5

static double area(const double *x, const double *y, size_t n, double low, double high)
{
    double sum = 0, log_low = log(low), log_high = log(high);
    double first = log(x[0]), last = log(x[n - 1]);
    if (log_low < first) /* level before the first point and after the last */
        sum += y[0] * (fmin(first, log_high) - log_low);
    if (log_high > last)
        sum += y[n - 1] * (log_high - fmax(last, log_low));
    for (size_t i = 1; i < n; i++) {
        double x0 = log(x[i - 1]), x1 = log(x[i]);
        double from = fmax(x0, log_low), to = fmin(x1, log_high);
        if (!(from < to))
            continue;
        double slope = (y[i] - y[i - 1]) / (x1 - x0);
        sum += (to - from) * (y[i - 1] + slope * ((from + to) / 2 - x0));
    }
    return sum / (log_high - log_low);
}

double rm_log_area(const double *x, const double *y, size_t n, double low, double high)
{
    if (n == 0 || !(low > 0) || !(low < high) || !isfinite(high))
        return NAN;
    for (size_t i = 0; i < n; i++)
        if (!(x[i] > 0) || !isfinite(x[i]) || isnan(y[i]) || (i && !(x[i] >= x[i - 1])))
            return NAN;
    return area(x, y, n, low, high);
}

/* ---- functions of the rows of a bundle ----------------------------------------------------- */

/* Arguments: n_a accuracies and n_a costs of family a, then the same of b. */
typedef struct pair_context {
    size_t n_a, n_b;
    double low, high;
    bool a_ahead;
} pair_context;

/* The points of a family by ascending cost, which resampling may have changed; false without data.
 */
static bool sorted_curve(const double *arguments, size_t n, double *x, double *y)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        double accuracy = arguments[i], cost = arguments[n + i];
        if (!(cost > 0) || !isfinite(cost) || isnan(accuracy))
            return false;
        for (; at > 0 && x[at - 1] > cost; at--) {
            x[at] = x[at - 1];
            y[at] = y[at - 1];
        }
        x[at] = cost;
        y[at] = accuracy;
    }
    return n > 0;
}

static double area_alone(const double *arguments, size_t n, const void *context)
{
    const pair_context *c = context;
    double x[MAX_SIZES], y[MAX_SIZES];
    (void)n;
    return sorted_curve(arguments, c->n_a, x, y) ? rm_log_area(x, y, c->n_a, c->low, c->high) : NAN;
}

static double area_difference(const double *arguments, size_t n, const void *context)
{
    const pair_context *c = context;
    pair_context b = *c;
    b.n_a = c->n_b;
    return area_alone(arguments, n, c) - area_alone(arguments + 2 * c->n_a, n, &b);
}

/* Cost at which the family that leads at the end of the range takes the lead. */
static double take_lead(const double *arguments, size_t n, const void *context)
{
    const pair_context *c = context;
    double xa[MAX_SIZES], ya[MAX_SIZES], xb[MAX_SIZES], yb[MAX_SIZES];
    (void)n;
    if (!sorted_curve(arguments, c->n_a, xa, ya) ||
        !sorted_curve(arguments + 2 * c->n_a, c->n_b, xb, yb))
        return NAN;
    return c->a_ahead ? rm_overtakes(xb, yb, c->n_b, xa, ya, c->n_a)
                      : rm_overtakes(xa, ya, c->n_a, xb, yb, c->n_b);
}

/* ---- families ---------------------------------------------------------------------------- */

/* A family whose cells all have a size and a cost. */
typedef struct curve {
    int family;
    size_t n, problems;
    const int *cell; /* [n] positions in the frame */
    double low, high;
    rm_front_class class_;
} curve;

static bool make_curve(const an_frame *frame, const rm_task_report *task, size_t f,
                       const an_bundle *bundle, const size_t *problems, curve *out)
{
    const rm_family *family = &task->families[f];
    const rm_cell *cells = frame->records->cells;
    *out = (curve){ (int)f, family->n, 0, family->reports, INFINITY, 0, RM_FRONT_PLAIN };
    if (family->n < 2 || family->n > MAX_SIZES)
        return false;
    out->class_ = an_class_of(&cells[frame->cell[family->reports[0]]]);
    out->problems = problems[family->reports[0]];
    for (size_t i = 0; i < family->n; i++) {
        size_t at = (size_t)family->reports[i];
        double cost = bundle->value[frame->n_cells + at];
        if (!isfinite(cells[frame->cell[at]].size) || !(cost > 0) || !isfinite(cost) ||
            isnan(bundle->value[at]) || problems[at] != out->problems)
            return false;
        out->low = fmin(out->low, cost);
        out->high = fmax(out->high, cost);
    }
    return out->low < out->high;
}

static size_t members(const an_frame *frame, const curve *c, size_t *member)
{
    for (size_t i = 0; i < c->n; i++) {
        member[i] = (size_t)c->cell[i];
        member[c->n + i] = frame->n_cells + (size_t)c->cell[i];
    }
    return 2 * c->n;
}

static rm_status add_area(const an_frame *frame, const an_bundle *bundle, rm_quantity cost,
                          const curve *c, double level, rm_task_report *task, rm_error *err)
{
    size_t member[AN_MAX_ARGUMENTS];
    pair_context context = { .n_a = c->n, .low = c->low, .high = c->high };
    rm_area *out = &task->areas[task->n_areas];
    *out = (rm_area){ c->family, cost, c->low, c->high, { .value = NAN } };
    size_t n = members(frame, c, member);
    rm_status status =
        an_derive(bundle, member, n, area_alone, &context, c->problems, level, &out->accuracy, err);
    task->n_areas += !status && out->accuracy.n > 0;
    return status;
}

static rm_status add_pair(const an_frame *frame, const an_bundle *bundle, rm_quantity cost,
                          const curve *a, const curve *b, double level, rm_task_report *task,
                          rm_error *err)
{
    size_t member[AN_MAX_ARGUMENTS], n = members(frame, a, member);
    double x[AN_MAX_ARGUMENTS], xs[MAX_SIZES], ya[MAX_SIZES], yb[MAX_SIZES];
    pair_context context = { a->n, b->n, fmax(a->low, b->low), fmin(a->high, b->high), false };
    if (a->class_ != b->class_ || a->problems != b->problems ||
        context.high < LEAST_OVERLAP * context.low)
        return RM_OK;
    n += members(frame, b, member + n);
    for (size_t i = 0; i < n; i++)
        x[i] = bundle->value[member[i]];
    if (area_difference(x, n, &context) < 0)
        return add_pair(frame, bundle, cost, b, a, level, task, err);
    /* who leads at the end: the last point of the shorter curve against the other's line there */
    if (sorted_curve(x, a->n, xs, ya)) {
        double end_a = rm_log_area(xs, ya, a->n, context.high * (1 - 1e-9), context.high);
        sorted_curve(x + 2 * a->n, b->n, xs, yb);
        context.a_ahead =
            end_a > rm_log_area(xs, yb, b->n, context.high * (1 - 1e-9), context.high);
    }
    rm_area_pair *out = &task->area_pairs[task->n_area_pairs];
    *out = (rm_area_pair){ .a = a->family,
                           .b = b->family,
                           .cost = cost,
                           .low = context.low,
                           .high = context.high,
                           .a_ahead = context.a_ahead };
    rm_status status = an_derive(bundle, member, n, area_difference, &context, a->problems, level,
                                 &out->difference, err);
    if (!status)
        status = an_derive_censored(bundle, member, n, take_lead, &context, a->problems, level,
                                    &out->overtakes, &out->inside, err);
    task->n_area_pairs += !status && out->difference.n > 0;
    return status;
}

/* Rows 0 .. n_cells - 1 accuracy, then the cost of every cell. */
static rm_status axis_bundle(const an_frame *frame, rm_quantity cost,
                             const rm_analysis_options *options, size_t *problems,
                             an_bundle *bundle, rm_error *err)
{
    size_t n = frame->n_cells;
    an_result_value *value;
    double q;
    bool has, quantile = an_quantity_quantile(cost, &value, &q);
    rm_status status = RM_OK;
    an_column *columns = calloc(2 * n, sizeof *columns);
    if (!columns)
        return rm_fail(err, RM_E_MEMORY, "no memory for the curves of %zu cells", n);
    for (size_t i = 0; i < n && !status; i++) {
        status = an_quantity_column(frame, (int)i, RM_Q_ACCURACY, &columns[i], &has, err);
        if (!status && quantile) /* a place for the row, which is filled below */
            status = an_column_new(frame, &columns[n + i], err);
        else if (!status)
            status = an_quantity_column(frame, (int)i, cost, &columns[n + i], &has, err);
        if (!status)
            problems[i] = an_column_problems(frame, &columns[i]);
    }
    if (!status)
        status = an_bundle_new(frame, columns, 2 * n, options, bundle, err);
    for (size_t i = 0; i < n && quantile && !status; i++)
        status = an_bundle_quantile(frame, bundle, n + i, (int)i, value, q, options, err);
    for (size_t i = 0; i < 2 * n; i++)
        an_column_free(&columns[i]);
    free(columns);
    return status;
}

static rm_status areas_over(const an_frame *frame, rm_quantity cost,
                            const rm_analysis_options *options, size_t *problems, curve *curves,
                            rm_task_report *task, rm_error *err)
{
    an_bundle bundle = { 0 };
    size_t n = 0;
    rm_status status = axis_bundle(frame, cost, options, problems, &bundle, err);
    for (size_t f = 0; f < task->n_families && !status; f++)
        n += make_curve(frame, task, f, &bundle, problems, &curves[n]);
    for (size_t i = 0; i < n && !status; i++)
        status = add_area(frame, &bundle, cost, &curves[i], options->level, task, err);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n && !status; j++)
            status =
                add_pair(frame, &bundle, cost, &curves[i], &curves[j], options->level, task, err);
    an_bundle_free(&bundle);
    return status;
}

rm_status an_area_alone(const an_frame *frame, int cost, const rm_family *a, const rm_family *b,
                        size_t m, const rm_analysis_options *options, const rm_task_report *task,
                        rm_area_pair *out, rm_error *err)
{
    an_bundle bundle = { 0 };
    curve of_a, of_b;
    size_t member[AN_MAX_ARGUMENTS];
    size_t *problems = calloc(frame->n_cells, sizeof *problems);
    rm_status status = problems ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for two families");
    if (!status)
        status = axis_bundle(frame, (rm_quantity)cost, options, problems, &bundle, err);
    if (!status && make_curve(frame, task, (size_t)(a - task->families), &bundle, problems, &of_a) &&
        make_curve(frame, task, (size_t)(b - task->families), &bundle, problems, &of_b) &&
        of_a.problems == of_b.problems && 2 * (of_a.n + of_b.n) <= AN_MAX_ARGUMENTS) {
        pair_context context = { .n_a = of_a.n, .n_b = of_b.n, .low = fmax(of_a.low, of_b.low),
                                 .high = fmin(of_a.high, of_b.high) };
        *out = (rm_area_pair){ .a = of_a.family, .b = of_b.family, .cost = (rm_quantity)cost,
                               .low = context.low, .high = context.high,
                               .difference = { .value = NAN } };
        size_t n = members(frame, &of_a, member);
        n += members(frame, &of_b, member + n);
        if (context.high >= LEAST_OVERLAP * context.low)
            status = an_derive(&bundle, member, n, area_difference, &context, of_a.problems,
                               1 - (1 - options->level) / (double)m, &out->difference, err);
    }
    an_bundle_free(&bundle);
    free(problems);
    return status;
}

rm_status an_areas(const an_frame *frame, const rm_analysis_options *options, rm_task_report *task,
                   rm_error *err)
{
    static const rm_quantity costs[] = { RM_Q_LATENCY_P50_MS, RM_Q_GENERATED_TOKENS, RM_Q_FLOPS };
    enum { N_COSTS = sizeof costs / sizeof *costs };
    size_t n = task->n_families, swept = 0;
    for (size_t f = 0; f < n; f++)
        swept += task->families[f].n > 1;
    if (swept == 0)
        return RM_OK;
    size_t *problems = calloc(frame->n_cells, sizeof *problems);
    curve *curves = calloc(n, sizeof *curves);
    rm_status status = RM_OK;
    task->areas = calloc(N_COSTS * n, sizeof *task->areas);
    task->area_pairs = calloc(N_COSTS * n * n, sizeof *task->area_pairs);
    if (!problems || !curves || !task->areas || !task->area_pairs)
        status = rm_fail(err, RM_E_MEMORY, "no memory for the areas of %zu families", n);
    for (int c = 0; c < N_COSTS && !status; c++)
        status = areas_over(frame, costs[c], options, problems, curves, task, err);
    free(problems);
    free(curves);
    return status;
}
