/* derived.c - intervals of statistics that are functions of several columns: the parameters of a
 * fit, an area under a curve, the place where two curves cross.
 *
 *     theta = f(theta_1, ..., theta_n)
 *
 * Replicate r of theta is f of the replicates r of its columns, which all come from the same
 * drawn problems (bootstrap.c), and leaving out a cluster gives the jackknife the same way. So the
 * interval is BCa as for a single column, and points that share their samples are treated as what
 * they are: dependent. A quantile has no useful jackknife (Efron 1982, The Jackknife, the Bootstrap
 * and Other Resampling Plans, sec. 3.4); a function of one is corrected for bias alone, a = 0.
 *
 * A place on an axis may lie outside of what was measured. It is then known on one side only, and
 * -INFINITY or INFINITY says on which; such replicates are ranked, not dropped, so that an end of
 * the interval is finite only if the data bound it. */
#include "analysis/internal.h"

#include <float.h>
#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

rm_status an_column_copy(const an_frame *frame, const an_column *from, an_column *to, rm_error *err)
{
    rm_status status = an_column_new(frame, to, err);
    if (status)
        return status;
    memcpy(to->num, from->num, frame->n_units * sizeof *to->num);
    memcpy(to->den, from->den, frame->n_units * sizeof *to->den);
    return RM_OK;
}

size_t an_columns_common(const an_frame *frame, an_column *columns, size_t n)
{
    size_t common = 0;
    for (size_t p = 0; p < frame->n_problems; p++) {
        size_t first = frame->problem_first[p], end = frame->problem_first[p + 1], with_data = 0;
        for (size_t c = 0; c < n; c++)
            with_data += isnan(an_column_problem(frame, &columns[c], p)) ? 0 : 1;
        common += with_data == n;
        for (size_t c = 0; c < n && with_data < n; c++)
            for (size_t u = first; u < end; u++)
                columns[c].num[u] = columns[c].den[u] = 0;
    }
    return common;
}

/* ---- bundles ----------------------------------------------------------------------------- */

void an_bundle_free(an_bundle *b)
{
    free(b->value);
    free(b->replicates);
    free(b->jackknife);
    *b = (an_bundle){ 0 };
}

static void leave_out(const an_frame *frame, const an_column *column, double *jackknife)
{
    double num = 0, den = 0, n, d;
    for (size_t u = 0; u < frame->n_units; u++) {
        num += column->num[u];
        den += column->den[u];
    }
    for (size_t c = 0; c < frame->n_clusters; c++) {
        an_cluster_sums(frame, column, c, &n, &d);
        jackknife[c] = den - d > 1e-9 * den ? (num - n) / (den - d) : NAN;
    }
}

rm_status an_bundle_new(const an_frame *frame, const an_column *columns, size_t n,
                        const rm_analysis_options *options, an_bundle *out, rm_error *err)
{
    *out = (an_bundle){ n,
                        options->resamples,
                        frame->n_clusters,
                        malloc((n + 1) * sizeof(double)),
                        malloc((n + 1) * options->resamples * sizeof(double)),
                        malloc((n + 1) * frame->n_clusters * sizeof(double)) };
    if (!out->value || !out->replicates || !out->jackknife) {
        an_bundle_free(out);
        return rm_fail(err, RM_E_MEMORY, "no memory to resample %zu statistics", n);
    }
    for (size_t c = 0; c < n; c++) {
        out->value[c] = an_column_value(frame, &columns[c]);
        leave_out(frame, &columns[c], out->jackknife + c * frame->n_clusters);
    }
    rm_status status = an_bootstrap(frame, columns, n, options, out->replicates, err);
    if (status)
        an_bundle_free(out);
    return status;
}

rm_status an_bundle_quantile(const an_frame *frame, an_bundle *b, size_t at, int cell_at,
                             an_result_value *value, double q, const rm_analysis_options *options,
                             rm_error *err)
{
    an_measurements m = { 0 };
    rm_status status = an_measure(frame, cell_at, value, &m, err);
    if (status)
        return status;
    b->value[at] = an_measured_quantile(&m, q, NULL);
    for (size_t c = 0; c < b->n_clusters; c++)
        b->jackknife[at * b->n_clusters + c] = NAN;
    double *row = b->replicates + at * b->resamples;
    if (m.n)
        status = an_quantile_replicates(frame, &m, q, options, row, err);
    for (size_t r = 0; m.n == 0 && r < b->resamples; r++)
        row[r] = NAN;
    an_measurements_free(&m);
    return status;
}

/* ---- functions of their rows --------------------------------------------------------------- */

/* f of column `at` of a table with rows of that stride. */
static double apply(const double *table, size_t stride, size_t at, const size_t *member, size_t n,
                    an_function *f, const void *context)
{
    double x[AN_MAX_ARGUMENTS];
    for (size_t i = 0; i < n; i++)
        x[i] = table[(member ? member[i] : i) * stride + at];
    return f(x, n, context);
}

/* a = sum d^3 / (6 (sum d^2)^1.5) over the jackknife; NaN where there is none. */
static double acceleration(const an_bundle *b, const size_t *member, size_t n, an_function *f,
                           const void *context, double *scratch)
{
    double mean = 0, square = 0, cube = 0;
    size_t m = 0;
    for (size_t c = 0; c < b->n_clusters; c++) {
        double without = apply(b->jackknife, b->n_clusters, c, member, n, f, context);
        if (isfinite(without))
            scratch[m++] = without;
    }
    if (m == 0)
        return NAN;
    for (size_t i = 0; i < m; i++)
        mean += scratch[i] / (double)m;
    for (size_t i = 0; i < m; i++) {
        double d = mean - scratch[i];
        square += d * d;
        cube += d * d * d;
    }
    return sqrt(square) > 1e-12 * fabs(mean) ? cube / (6 * pow(square, 1.5)) : 0;
}

static bool constant(const double *sorted, size_t n)
{
    return sorted[n - 1] - sorted[0] <= 1e-12 * fabs(sorted[0]);
}

rm_status an_derive(const an_bundle *b, const size_t *member, size_t n, an_function *f,
                    const void *context, size_t problems, double level, rm_estimate *out,
                    rm_error *err)
{
    rm_estimate e = { apply(b->value, 1, 0, member, n, f, context),
                      NAN,
                      NAN,
                      level,
                      problems,
                      "one problem, no interval" };
    size_t room = b->resamples > b->n_clusters ? b->resamples : b->n_clusters, valid = 0;
    double *scratch = malloc(room * sizeof *scratch);
    if (!scratch)
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu resamples", b->resamples);
    if (!isfinite(e.value)) {
        e.value = NAN;
        e.n = 0;
        e.method = "not defined by the data";
    } else if (b->n_clusters > 1 && problems > 1) {
        double a = acceleration(b, member, n, f, context, scratch);
        for (size_t r = 0; r < b->resamples; r++) {
            double x = apply(b->replicates, b->resamples, r, member, n, f, context);
            if (!isnan(x))
                scratch[valid++] = fmax(-DBL_MAX, fmin(x, DBL_MAX));
        }
        gsl_sort(scratch, 1, valid);
        if (2 * valid < b->resamples) {
            e.method = "too few resamples define it";
        } else if (constant(scratch, valid)) {
            e.low = e.high = e.value;
            e.method = "equal in all resamples";
        } else {
            an_bca(scratch, valid, e.value, isnan(a) ? 0 : a, level, &e);
            if (isnan(a))
                e.method = "bias-corrected bootstrap over problems";
        }
    }
    free(scratch);
    *out = e;
    return RM_OK;
}

/* Order statistic that no interpolation can turn into a mean of infinities. */
static double ranked(const double *sorted, size_t n, double q)
{
    double at = ceil(q * (double)n) - 1;
    return sorted[at <= 0 ? 0 : at >= (double)n - 1 ? n - 1 : (size_t)at];
}

rm_status an_derive_censored(const an_bundle *b, const size_t *member, size_t n, an_function *f,
                             const void *context, size_t problems, double level, rm_estimate *out,
                             double *finite, rm_error *err)
{
    rm_estimate e = { apply(b->value, 1, 0, member, n, f, context),
                      NAN,
                      NAN,
                      level,
                      problems,
                      "one problem, no interval" };
    double *sorted = malloc(b->resamples * sizeof *sorted), inside = 0;
    size_t valid = 0;
    if (!sorted)
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu resamples", b->resamples);
    for (size_t r = 0; r < b->resamples; r++) {
        double x = apply(b->replicates, b->resamples, r, member, n, f, context);
        if (isnan(x))
            continue;
        sorted[valid++] = x;
        inside += isfinite(x) != 0;
    }
    if (isnan(e.value)) {
        e.n = 0;
        e.method = "not defined by the data";
    } else if (b->n_clusters > 1 && problems > 1 && 2 * valid >= b->resamples) {
        gsl_sort(sorted, 1, valid);
        e.low = ranked(sorted, valid, (1 - level) / 2);
        e.high = ranked(sorted, valid, (1 + level) / 2);
        e.method = "percentile bootstrap over problems";
    }
    free(sorted);
    *finite = valid ? inside / (double)valid : NAN;
    *out = e;
    return RM_OK;
}
