/* quantile.c - quantiles of latencies with intervals that assume no distribution.
 *
 * Estimate: the smallest value whose cumulated weight reaches q, averaged with the next where it
 * is reached exactly (Hyndman & Fan 1996, The American Statistician 50:361, definition 2; the
 * usual median).
 *
 * Interval of n independent values (Conover 1999, Practical Nonparametric Statistics, sec. 3.2):
 * the number of values below the true quantile is Binomial(n, q), so the order statistics
 * x_(l), x_(u) enclose it with probability P(l <= B <= u - 1); l and u cut at most alpha/2 from
 * either tail. If even the extreme value cannot, the end is infinite: 20 values say nothing about
 * the upper limit of a 95th percentile.
 *
 * Several measurements of a problem are not independent; they share the problem's weight, and the
 * interval is then the percentile bootstrap over problems. A resample holds no value beyond the
 * largest one seen, so an end that as many independent values could not give is infinite here
 * too. */
#include "analysis/internal.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdlib.h>

/* ---- independent values ------------------------------------------------------------------ */

/* 1-based ranks of the ends; low 0 or high n + 1 if there is no such value. */
void an_order_ranks(size_t n, double q, double level, size_t *low, size_t *high)
{
    double tail = (1 - level) / 2, cumulated = 0;
    unsigned trials = (unsigned)n;
    *low = 0;
    *high = n + 1;
    /* Largest l with P(B <= l - 1) <= tail; smallest u with P(B >= u) <= tail. */
    for (size_t k = 0; k < n; k++) {
        cumulated = gsl_cdf_binomial_P((unsigned)k, q, trials);
        if (cumulated <= tail)
            *low = k + 1;
        if (gsl_cdf_binomial_Q((unsigned)k, q, trials) <= tail) {
            *high = k + 1;
            break;
        }
    }
}

static double sorted_quantile(const double *x, size_t n, double q)
{
    double place = q * (double)n;
    double whole = floor(place + 1e-9);
    size_t i = (size_t)fmin(whole, (double)n - 1);
    if (fabs(place - whole) < 1e-9 && i > 0)
        return (x[i - 1] + x[i]) / 2;
    return x[i];
}

rm_status rm_quantile(const double *values, size_t n, double q, double level, rm_estimate *out,
                      rm_error *err)
{
    if (!(q > 0 && q < 1) || !(level > 0 && level < 1))
        return rm_fail(err, RM_E_ARGUMENT,
                       "a quantile (%g) and a level (%g) must lie between 0 and 1", q, level);
    *out = (rm_estimate){ NAN, NAN, NAN, level, n, "no data" };
    if (n == 0)
        return RM_OK;
    if (n > 1u << 24)
        return rm_fail(err, RM_E_ARGUMENT, "at most %u values have quantiles here, not %zu",
                       1u << 24, n);
    for (size_t i = 0; i < n; i++)
        if (isnan(values[i]))
            return rm_fail(err, RM_E_ARGUMENT, "value %zu of %zu is NaN and has no rank", i, n);
    double *x = malloc(n * sizeof *x);
    if (!x)
        return rm_fail(err, RM_E_MEMORY, "no memory to sort %zu values", n);
    for (size_t i = 0; i < n; i++)
        x[i] = values[i];
    gsl_sort(x, 1, n);
    size_t low, high;
    an_order_ranks(n, q, level, &low, &high);
    out->value = sorted_quantile(x, n, q);
    out->low = low ? x[low - 1] : -INFINITY;
    out->high = high <= n ? x[high - 1] : INFINITY;
    out->method = "order statistics";
    free(x);
    return RM_OK;
}

/* ---- measurements of a cell -------------------------------------------------------------- */

typedef struct measured {
    double value;
    size_t unit;
} measured;

static int by_value(const void *left, const void *right)
{
    const measured *a = left, *b = right;
    int order = (a->value > b->value) - (a->value < b->value);
    return order ? order : (a->unit > b->unit) - (a->unit < b->unit);
}

void an_measurements_free(an_measurements *m)
{
    free(m->value);
    free(m->weight);
    free(m->unit);
    *m = (an_measurements){ 0 };
}

rm_status an_measure(const an_frame *frame, int cell_at, an_result_value *value,
                     an_measurements *out, rm_error *err)
{
    size_t first = frame->cell_first[cell_at], n = frame->cell_first[cell_at + 1] - first;
    const rm_cell *cell = &frame->records->cells[frame->cell[cell_at]];
    rm_status status = RM_OK;
    measured *rows = malloc((n + 1) * sizeof *rows);
    size_t *count = calloc(frame->n_problems, sizeof *count);
    an_measurements m = { .value = malloc((n + 1) * sizeof *m.value),
                          .weight = malloc((n + 1) * sizeof *m.weight),
                          .unit = malloc((n + 1) * sizeof *m.unit),
                          .single = frame->n_clusters == frame->n_problems };
    if (!rows || !count || !m.value || !m.weight || !m.unit) {
        status = rm_fail(err, RM_E_MEMORY, "no memory for %zu measurements", n);
        goto done;
    }
    for (size_t i = 0; i < n; i++) {
        const an_entry *e = &frame->entries[first + i];
        double x = value(e->result, cell);
        if (isnan(x))
            continue;
        rows[m.n++] = (measured){ x, e->unit };
        if (++count[frame->unit_problem[e->unit]] > 1)
            m.single = false;
    }
    qsort(rows, m.n, sizeof *rows, by_value);
    for (size_t i = 0; i < m.n; i++) {
        m.value[i] = rows[i].value;
        m.unit[i] = rows[i].unit;
        m.weight[i] = 1 / (double)count[frame->unit_problem[rows[i].unit]];
    }
    *out = m;
    m = (an_measurements){ 0 };
done:
    free(rows);
    free(count);
    an_measurements_free(&m);
    return status;
}

/* Weighted quantile; unit_weight NULL: all 1. NaN without data. */
double an_measured_quantile(const an_measurements *m, double q, const double *unit_weight)
{
    double total = 0, reached = 0;
    for (size_t i = 0; i < m->n; i++)
        total += m->weight[i] * (unit_weight ? unit_weight[m->unit[i]] : 1);
    double wanted = q * total, tolerance = 1e-9 * total;
    for (size_t i = 0; i < m->n; i++) {
        double w = m->weight[i] * (unit_weight ? unit_weight[m->unit[i]] : 1);
        if (w == 0)
            continue;
        reached += w;
        if (reached < wanted - tolerance)
            continue;
        if (reached > wanted + tolerance)
            return m->value[i];
        for (size_t j = i + 1; j < m->n; j++) /* reached exactly: halfway to the next in use */
            if (!unit_weight || unit_weight[m->unit[j]] > 0)
                return (m->value[i] + m->value[j]) / 2;
        return m->value[i];
    }
    return NAN;
}

rm_status an_quantile_replicates(const an_frame *frame, const an_measurements *m, double q,
                                 const rm_analysis_options *options, double *replicates,
                                 rm_error *err)
{
    double *weight = malloc(frame->n_units * sizeof *weight);
    if (!weight)
        return rm_fail(err, RM_E_MEMORY, "no memory to resample %zu results", frame->n_units);
    for (size_t r = 0; r < options->resamples; r++) {
        an_resample(frame, options, r, weight);
        replicates[r] = an_measured_quantile(m, q, weight);
    }
    free(weight);
    return RM_OK;
}

/* Percentile interval of the replicates, which it sorts. */
static void percentile(double *replicates, size_t n, rm_estimate *e)
{
    size_t valid = 0;
    for (size_t r = 0; r < n; r++)
        if (!isnan(replicates[r]))
            replicates[valid++] = replicates[r];
    if (valid == 0)
        return;
    gsl_sort(replicates, 1, valid);
    e->low = sorted_quantile(replicates, valid, (1 - e->level) / 2);
    e->high = sorted_quantile(replicates, valid, (1 + e->level) / 2);
    e->method = "percentile bootstrap over problems";
}

rm_status an_quantile(const an_frame *frame, int cell_at, an_result_value *value, double q,
                      const rm_analysis_options *options, rm_estimate *out, rm_error *err)
{
    an_measurements m = { 0 };
    double *replicates = NULL;
    rm_status status = an_measure(frame, cell_at, value, &m, err);
    if (status)
        return status;
    if (m.single || m.n == 0) {
        status = rm_quantile(m.value, m.n, q, options->level, out, err);
        goto done;
    }
    rm_estimate e = { an_measured_quantile(&m, q, NULL), NAN, NAN, options->level, 0,
                      "one problem, no interval" };
    double problems = 0;
    for (size_t i = 0; i < m.n; i++)
        problems += m.weight[i];
    e.n = (size_t)(problems + 0.5);
    if (e.n >= 2) {
        replicates = malloc(options->resamples * sizeof *replicates);
        if (!replicates) {
            status = rm_fail(err, RM_E_MEMORY, "no memory for %zu resamples", options->resamples);
            goto done;
        }
        status = an_quantile_replicates(frame, &m, q, options, replicates, err);
        if (!status) {
            size_t low, high;
            percentile(replicates, options->resamples, &e);
            an_order_ranks(e.n, q, options->level, &low, &high);
            e.low = low || isnan(e.low) ? e.low : -INFINITY;
            e.high = high <= e.n || isnan(e.high) ? e.high : INFINITY;
        }
    }
    if (!status)
        *out = e;
done:
    free(replicates);
    an_measurements_free(&m);
    return status;
}
