/* pareto.c - which cells are worth their cost, and how sure that is.
 *
 * A cell is on the front if no other one of its class is at most as expensive and at least as
 * accurate, with one of the two strictly so. Which cells that holds for is as uncertain as their
 * accuracies and costs: the front is drawn again in every resample of the problems, accuracy and
 * cost of all cells from the same drawn problems, and the probability of a cell is the share of
 * the resamples in which it is on the front.
 *
 * Cells that used an exact verifier or the reference answer solve another problem; they form
 * fronts of their own. */
#include "analysis/internal.h"

#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdlib.h>

void rm_pareto(const double *cost, const double *accuracy, size_t n, bool *on_front)
{
    for (size_t i = 0; i < n; i++) {
        on_front[i] = !isnan(cost[i]) && !isnan(accuracy[i]);
        for (size_t j = 0; j < n && on_front[i]; j++)
            on_front[i] = !(cost[j] <= cost[i] && accuracy[j] >= accuracy[i] &&
                            (cost[j] < cost[i] || accuracy[j] > accuracy[i]));
    }
}

rm_front_class an_class_of(const rm_cell *cell)
{
    return cell->oracle ? RM_FRONT_ORACLE : cell->verifier ? RM_FRONT_VERIFIER : RM_FRONT_PLAIN;
}

/* Point estimates and replicates of one quantity for all cells of the frame. */
typedef struct axis {
    double *value;      /* [n_cells] NaN: not measured */
    double *replicates; /* [n_cells][resamples] */
} axis;

static void axis_free(axis *a)
{
    free(a->value);
    free(a->replicates);
    *a = (axis){ 0 };
}

static rm_status quantile_axis(const an_frame *frame, an_result_value *value, double q,
                               const rm_analysis_options *options, axis *a, rm_error *err)
{
    rm_status status = RM_OK;
    for (size_t i = 0; i < frame->n_cells && !status; i++) {
        an_measurements m = { 0 };
        status = an_measure(frame, (int)i, value, &m, err);
        if (status)
            return status;
        a->value[i] = an_measured_quantile(&m, q, NULL);
        if (m.n)
            status = an_quantile_replicates(frame, &m, q, options,
                                            a->replicates + i * options->resamples, err);
        an_measurements_free(&m);
    }
    return status;
}

static rm_status mean_axis(const an_frame *frame, rm_quantity quantity,
                           const rm_analysis_options *options, axis *a, rm_error *err)
{
    an_column *columns = calloc(frame->n_cells, sizeof *columns);
    rm_status status = RM_OK;
    bool has;
    if (!columns)
        return rm_fail(err, RM_E_MEMORY, "no memory to resample %zu cells", frame->n_cells);
    for (size_t i = 0; i < frame->n_cells && !status; i++) {
        status = an_quantity_column(frame, (int)i, quantity, &columns[i], &has, err);
        if (!status)
            a->value[i] = an_column_value(frame, &columns[i]);
    }
    if (!status)
        status = an_bootstrap(frame, columns, frame->n_cells, options, a->replicates, err);
    for (size_t i = 0; i < frame->n_cells; i++)
        an_column_free(&columns[i]);
    free(columns);
    return status;
}

static rm_status axis_new(const an_frame *frame, rm_quantity quantity,
                          const rm_analysis_options *options, axis *a, rm_error *err)
{
    an_result_value *value;
    double q;
    *a = (axis){ malloc(frame->n_cells * sizeof(double)),
                 malloc(frame->n_cells * options->resamples * sizeof(double)) };
    if (!a->value || !a->replicates)
        return rm_fail(err, RM_E_MEMORY, "no memory to resample %zu cells", frame->n_cells);
    return an_quantity_quantile(quantity, &value, &q)
               ? quantile_axis(frame, value, q, options, a, err)
               : mean_axis(frame, quantity, options, a, err);
}

/* Counts, over the resamples, how often each of the n cells `at` is on the front. */
static rm_status membership(const axis *cost, const axis *accuracy, const size_t *at, size_t n,
                            size_t resamples, double *probability, rm_error *err)
{
    double *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
    bool *on = malloc(n * sizeof *on);
    rm_status status = RM_OK;
    if (!x || !y || !on) {
        status = rm_fail(err, RM_E_MEMORY, "no memory for a front of %zu cells", n);
        goto done;
    }
    for (size_t i = 0; i < n; i++)
        probability[i] = 0;
    for (size_t r = 0; r < resamples; r++) {
        for (size_t i = 0; i < n; i++) {
            x[i] = cost->replicates[at[i] * resamples + r];
            y[i] = accuracy->replicates[at[i] * resamples + r];
        }
        rm_pareto(x, y, n, on);
        for (size_t i = 0; i < n; i++)
            probability[i] += on[i];
    }
    for (size_t i = 0; i < n; i++)
        probability[i] /= (double)resamples;
done:
    free(x);
    free(y);
    free(on);
    return status;
}

/* Appends the front of one class on one cost axis, if any of its cells has that cost. */
static rm_status add_front(const an_frame *frame, rm_quantity quantity, rm_front_class kind,
                           const axis *cost, const axis *accuracy, size_t resamples,
                           rm_task_report *task, rm_error *err)
{
    size_t n = 0, n_cells = frame->n_cells;
    rm_status status = RM_OK;
    size_t *at = malloc(n_cells * sizeof *at), *order = malloc(n_cells * sizeof *order);
    double *x = malloc(n_cells * sizeof *x), *y = malloc(n_cells * sizeof *y);
    double *probability = malloc(n_cells * sizeof *probability);
    bool *on = malloc(n_cells * sizeof *on);
    rm_front_point *points = NULL;
    if (!at || !order || !x || !y || !probability || !on)
        goto no_memory;
    for (size_t i = 0; i < n_cells; i++)
        if (an_class_of(&frame->records->cells[frame->cell[i]]) == kind && !isnan(cost->value[i]) &&
            !isnan(accuracy->value[i])) {
            x[n] = cost->value[i];
            y[n] = accuracy->value[i];
            at[n++] = i;
        }
    if (n == 0)
        goto done;
    status = membership(cost, accuracy, at, n, resamples, probability, err);
    if (status)
        goto done;
    points = malloc(n * sizeof *points);
    if (!points)
        goto no_memory;
    rm_pareto(x, y, n, on);
    gsl_sort_index(order, x, 1, n);
    for (size_t i = 0; i < n; i++)
        points[i] = (rm_front_point){ (int)at[order[i]], x[order[i]], y[order[i]], on[order[i]],
                                      probability[order[i]] };
    task->fronts[task->n_fronts++] = (rm_front){ quantity, kind, n, points };
    goto done;

no_memory:
    status = rm_fail(err, RM_E_MEMORY, "no memory for a front of %zu cells", n_cells);
done:
    free(at);
    free(order);
    free(x);
    free(y);
    free(probability);
    free(on);
    return status;
}

rm_status an_fronts(const an_frame *frame, const rm_analysis_options *options, rm_task_report *task,
                    rm_error *err)
{
    static const rm_quantity costs[] = { RM_Q_LATENCY_P50_MS, RM_Q_GENERATED_TOKENS,
                                         RM_Q_EVALUATED_TOKENS, RM_Q_FLOPS };
    enum { N_COSTS = sizeof costs / sizeof *costs, N_CLASSES = RM_FRONT_ORACLE + 1 };
    axis accuracy = { 0 }, cost = { 0 };
    task->fronts = calloc(N_COSTS * N_CLASSES, sizeof *task->fronts);
    if (!task->fronts)
        return rm_fail(err, RM_E_MEMORY, "no memory for the Pareto fronts of %s", task->task);
    rm_status status = axis_new(frame, RM_Q_ACCURACY, options, &accuracy, err);
    for (size_t c = 0; c < N_COSTS && !status; c++) {
        status = axis_new(frame, costs[c], options, &cost, err);
        for (int kind = 0; kind < N_CLASSES && !status; kind++)
            status = add_front(frame, costs[c], (rm_front_class)kind, &cost, &accuracy,
                               options->resamples, task, err);
        axis_free(&cost);
    }
    axis_free(&accuracy);
    return status;
}
