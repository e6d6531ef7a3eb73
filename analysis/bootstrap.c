/* bootstrap.c - resampling problems, and the intervals read off the replicates.
 *
 * Resample r draws as many clusters as there are, with replacement, by counter-based random
 * numbers: the draws of resample r depend on the seed and r alone, so statistics computed apart
 * are still resampled together.
 *
 * A cluster is drawn with all its problems, and a problem with all its seeds. That is the first
 * of the two strategies in Davison & Hinkley 1997 (Bootstrap Methods and Their Application, sec.
 * 3.8); the variation between seeds enters through the variation of the problems' means, whose
 * variance it is part of. Their second strategy, which also draws among the seeds of each drawn
 * problem (option resample_seeds), counts it twice: with m seeds the variance of a mean comes out
 * too large by (1 - 1/m)/m of the variance within problems. Measured on simulated cells of 100
 * problems and 3 seeds, nominal 95%: 95.1% covered, against 97.3% (easy and hard problems) to 98.8%
 * (nearly alike) with the second level, whose intervals are 13% to 29% wider.
 *
 * Interval: BCa (Efron 1987, JASA 82:171), second-order correct and equivariant: quantiles of
 * the replicates at
 *
 *     alpha* = Phi(z0 + (z0 + z_alpha) / (1 - a (z0 + z_alpha)))
 *     z0 = Phi^-1(share of replicates below theta, half of those equal to it)
 *     a  = sum d^3 / (6 (sum d^2)^1.5),  d_c = mean of the jackknife - theta without cluster c
 *
 * A share whose problems are all 0 or 1 needs no bootstrap and gets Wilson's interval; a share
 * with fewer than 5 clusters' worth of successes or of failures gets Wilson's on the number of
 * clusters, since a resample of constants says nothing about what was not seen. */
#include "analysis/internal.h"

#include <float.h>
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FEW = 5, BLOCK = 64, KEPT_WEIGHTS = 1 << 27 };

rm_status an_options(const rm_analysis_options *given, rm_analysis_options *out, rm_error *err)
{
    rm_analysis_options o = given ? *given : (rm_analysis_options){ 0 };
    if (o.level == 0)
        o.level = 0.95;
    if (o.resamples == 0)
        o.resamples = 4000;
    if (o.draws == 0)
        o.draws = 200;
    if (o.diversity_k == 0)
        o.diversity_k = 4;
    if (o.power == 0)
        o.power = 0.8;
    if (!(o.level > 0 && o.level < 1))
        return rm_fail(err, RM_E_ARGUMENT, "level must lie between 0 and 1, not %g", o.level);
    if (!(o.power > 0 && o.power < 1))
        return rm_fail(err, RM_E_ARGUMENT, "power must lie between 0 and 1, not %g", o.power);
    if (!(o.margin >= 0 && o.margin <= 1))
        return rm_fail(err, RM_E_ARGUMENT, "margin must lie in [0, 1], not %g", o.margin);
    if (o.direction == RM_DIRECTION_EQUAL && o.margin == 0)
        return rm_fail(err, RM_E_ARGUMENT, "the claim that cells are equal needs a margin above 0");
    if (o.resamples < 100 || o.resamples > 1000000)
        return rm_fail(err, RM_E_ARGUMENT, "resamples must lie in [100, 1000000], not %zu",
                       o.resamples);
    if (o.draws < 2 || o.draws > 1000000)
        return rm_fail(err, RM_E_ARGUMENT, "draws must lie in [2, 1000000], not %zu", o.draws);
    if (o.diversity_k < 2 || o.diversity_k > 100000)
        return rm_fail(err, RM_E_ARGUMENT, "diversity_k must lie in [2, 100000], not %zu",
                       o.diversity_k);
    *out = o;
    return RM_OK;
}

/* ---- drawing ----------------------------------------------------------------------------- */

enum { PURPOSE = 0x626f6f74 }; /* "boot" */

static void draw_resample(const an_frame *frame, const rm_analysis_options *options, size_t r,
                          double *weight)
{
    memset(weight, 0, frame->n_units * sizeof *weight);
    an_stream s = an_stream_start(options->seed, PURPOSE, r);
    for (size_t i = 0; i < frame->n_clusters; i++) {
        size_t c = an_draw(&s, frame->n_clusters);
        size_t first = frame->cluster_first[c], end = frame->cluster_first[c + 1];
        if (!options->resample_seeds) {
            for (size_t u = frame->problem_first[first]; u < frame->problem_first[end]; u++)
                weight[u] += 1;
            continue;
        }
        for (size_t p = first; p < end; p++) {
            size_t u = frame->problem_first[p], m = frame->problem_first[p + 1] - u;
            for (size_t k = 0; k < m; k++)
                weight[u + an_draw(&s, m)] += 1;
        }
    }
}

void an_resample(const an_frame *frame, const rm_analysis_options *options, size_t r,
                 double *weight)
{
    if (r >= frame->n_drawn) {
        draw_resample(frame, options, r, weight);
        return;
    }
    const uint16_t *drawn = frame->drawn + r * frame->n_units;
    for (size_t u = 0; u < frame->n_units; u++)
        weight[u] = drawn[u];
}

void an_frame_draw(an_frame *frame, const rm_analysis_options *options)
{
    /* Weights are at most the number of draws a resample makes, which 16 bits must hold. */
    if (frame->n_units > UINT16_MAX || frame->n_units * options->resamples > KEPT_WEIGHTS)
        return;
    double *weight = malloc(frame->n_units * sizeof *weight);
    frame->drawn = malloc(frame->n_units * options->resamples * sizeof *frame->drawn);
    if (weight && frame->drawn) { /* without memory they are drawn each time */
        for (size_t r = 0; r < options->resamples; r++) {
            draw_resample(frame, options, r, weight);
            for (size_t u = 0; u < frame->n_units; u++)
                frame->drawn[r * frame->n_units + u] = (uint16_t)weight[u];
        }
        frame->n_drawn = options->resamples;
    }
    free(weight);
}

/* Replicates of a block of columns: a product of the weights with the columns, written so that
 * the inner loop runs over columns. table[u][2 * column] = num, [2 * column + 1] = den. */
static void replicate_block(const an_frame *frame, const double *table, size_t width,
                            const rm_analysis_options *options, double *weight, double *replicates)
{
    for (size_t r = 0; r < options->resamples; r++) {
        double sum[2 * BLOCK] = { 0 };
        an_resample(frame, options, r, weight);
        for (size_t u = 0; u < frame->n_units; u++) {
            double w = weight[u];
            if (w == 0)
                continue;
            const double *row = table + u * 2 * width;
            for (size_t i = 0; i < 2 * width; i++)
                sum[i] += w * row[i];
        }
        for (size_t c = 0; c < width; c++) {
            double num = sum[2 * c], den = sum[2 * c + 1];
            replicates[c * options->resamples + r] = num > 0 || den > 0 ? num / den : NAN;
        }
    }
}

rm_status an_bootstrap(const an_frame *frame, const an_column *columns, size_t n_columns,
                       const rm_analysis_options *options, double *replicates, rm_error *err)
{
    double *weight = malloc(frame->n_units * sizeof *weight);
    double *table = malloc(frame->n_units * 2 * BLOCK * sizeof *table);
    rm_status status = RM_OK;
    if (!weight || !table) {
        status = rm_fail(err, RM_E_MEMORY, "no memory to resample %zu results", frame->n_units);
        goto done;
    }
    for (size_t first = 0; first < n_columns; first += BLOCK) {
        size_t width = n_columns - first < BLOCK ? n_columns - first : BLOCK;
        for (size_t u = 0; u < frame->n_units; u++)
            for (size_t c = 0; c < width; c++) {
                table[(u * width + c) * 2] = columns[first + c].num[u];
                table[(u * width + c) * 2 + 1] = columns[first + c].den[u];
            }
        replicate_block(frame, table, width, options, weight,
                        replicates + first * options->resamples);
    }
done:
    free(weight);
    free(table);
    return status;
}

/* ---- intervals --------------------------------------------------------------------------- */

/* What the clusters of a column look like. */
typedef struct shape {
    size_t clusters; /* with data */
    bool binary;     /* every problem 0 or 1, one problem a cluster */
    bool constant;   /* leaving out any cluster changes nothing */
    double acceleration;
} shape;

void an_cluster_sums(const an_frame *frame, const an_column *column, size_t c, double *num,
                     double *den)
{
    *num = *den = 0;
    size_t end = frame->problem_first[frame->cluster_first[c + 1]];
    for (size_t u = frame->problem_first[frame->cluster_first[c]]; u < end; u++) {
        *num += column->num[u];
        *den += column->den[u];
    }
}

static shape column_shape(const an_frame *frame, const an_column *column)
{
    shape s = { .binary = true };
    double num = 0, den = 0, n, d, mean = 0, square = 0, cube = 0;
    for (size_t c = 0; c < frame->n_clusters; c++) {
        an_cluster_sums(frame, column, c, &n, &d);
        num += n;
        den += d;
        s.clusters += n > 0 || d > 0;
        size_t problems = frame->cluster_first[c + 1] - frame->cluster_first[c];
        double share = d > 0 ? n / d : 0;
        s.binary = s.binary && problems == 1 && (fabs(share) < 1e-12 || fabs(share - 1) < 1e-12);
    }
    for (int pass = 0; pass < 2; pass++) /* the mean of the jackknife, then its moments */
        for (size_t c = 0; c < frame->n_clusters; c++) {
            an_cluster_sums(frame, column, c, &n, &d);
            if ((n == 0 && d == 0) || den - d <= 0)
                continue;
            double without = (num - n) / (den - d);
            if (pass == 0) {
                mean += without / (double)s.clusters;
            } else {
                double delta = mean - without;
                square += delta * delta;
                cube += delta * delta * delta;
            }
        }
    s.constant = sqrt(square) <= 1e-12 * fabs(mean);
    s.acceleration = s.constant ? 0 : cube / (6 * pow(square, 1.5));
    return s;
}

void an_bca(const double *sorted, size_t n, double theta, double acceleration, double level,
            rm_estimate *e)
{
    size_t below = 0, equal = 0;
    double tolerance = 1e-12 * fabs(theta); /* rounding must not split ties with theta */
    for (size_t i = 0; i < n; i++) {
        below += sorted[i] < theta - tolerance;
        equal += fabs(sorted[i] - theta) <= tolerance;
    }
    double share = ((double)below + (double)equal / 2) / (double)n;
    if (share <= 0 || share >= 1) { /* theta outside of its replicates: no correction exists */
        e->low = gsl_stats_quantile_from_sorted_data(sorted, 1, n, (1 - level) / 2);
        e->high = gsl_stats_quantile_from_sorted_data(sorted, 1, n, (1 + level) / 2);
        e->method = "percentile bootstrap over problems";
        return;
    }
    /* Infinite replicates (a cost per correct answer where a resample has none) are kept as the
     * largest number, since interpolating between infinities would give NaN. */
    double z0 = gsl_cdf_ugaussian_Pinv(share);
    for (int side = 0; side < 2; side++) {
        double z = z0 + gsl_cdf_ugaussian_Pinv(side ? (1 + level) / 2 : (1 - level) / 2);
        double alpha = gsl_cdf_ugaussian_P(z0 + z / fmax(1e-6, 1 - acceleration * z));
        double q = gsl_stats_quantile_from_sorted_data(sorted, 1, n, alpha);
        *(side ? &e->high : &e->low) = q > DBL_MAX / 2 ? INFINITY : q;
    }
    e->method = "BCa bootstrap over problems";
}

static bool too_near(const shape *s, double value)
{
    return fmin(value, 1 - value) * (double)s->clusters < FEW;
}

bool an_needs_replicates(const an_frame *frame, const an_column *column, an_kind kind)
{
    double value = an_column_value(frame, column);
    shape s = column_shape(frame, column);
    return !(isnan(value) || s.constant || s.clusters < 2 ||
             (kind == AN_SHARE && (s.binary || too_near(&s, value))));
}

rm_estimate an_interval(const an_frame *frame, const an_column *column, an_kind kind,
                        double *replicates, size_t n, double level)
{
    rm_estimate e = { .value = an_column_value(frame, column),
                      .low = NAN,
                      .high = NAN,
                      .level = level,
                      .n = an_column_problems(frame, column),
                      .method = "no data" };
    shape s = column_shape(frame, column);
    if (isnan(e.value)) {
        if (e.n > 0)
            e.method = "no correct answer";
        return e;
    }
    if (kind == AN_SHARE && (s.binary || too_near(&s, e.value))) {
        double clusters = (double)s.clusters;
        rm_estimate w = rm_wilson(fmax(0, fmin(1, e.value)) * clusters, clusters, level);
        e.low = w.low;
        e.high = w.high;
        e.method = s.binary ? "Wilson" : "Wilson on problems, too near 0 or 1 to resample";
        return e;
    }
    if (s.clusters < 2) {
        e.method = "one problem, no interval";
        return e;
    }
    if (s.constant) {
        e.low = e.high = e.value;
        e.method = "equal on all problems";
        return e;
    }
    size_t valid = 0;
    for (size_t r = 0; r < n; r++)
        if (!isnan(replicates[r]))
            replicates[valid++] = fmin(replicates[r], DBL_MAX);
    for (size_t r = valid; r < n; r++) /* so that a second call finds the same replicates */
        replicates[r] = NAN;
    if (valid == 0) {
        e.method = "no resample has data";
        return e;
    }
    gsl_sort(replicates, 1, valid);
    an_bca(replicates, valid, e.value, s.acceleration, level, &e);
    return e;
}

/* ---- many columns at once ---------------------------------------------------------------- */

rm_status an_jobs_add(an_jobs *jobs, an_column *column, an_kind kind, rm_estimate *out,
                      rm_error *err)
{
    if ((jobs->n & (jobs->n - 1)) == 0) { /* the capacity is the next power of two */
        size_t capacity = jobs->n ? 2 * jobs->n : 1;
        an_job *more = realloc(jobs->job, capacity * sizeof *more);
        if (!more) {
            an_column_free(column);
            return rm_fail(err, RM_E_MEMORY, "no memory for %zu statistics", capacity);
        }
        jobs->job = more;
    }
    jobs->job[jobs->n++] = (an_job){ *column, kind, out };
    *column = (an_column){ 0 };
    return RM_OK;
}

bool an_jobs_take(an_jobs *jobs, const rm_estimate *out, an_column *column)
{
    for (size_t i = 0; i < jobs->n; i++)
        if (jobs->job[i].out == out) {
            *column = jobs->job[i].column;
            jobs->job[i].column = (an_column){ 0 };
            return true;
        }
    return false;
}

void an_jobs_free(an_jobs *jobs)
{
    for (size_t i = 0; i < jobs->n; i++)
        an_column_free(&jobs->job[i].column);
    free(jobs->job);
    *jobs = (an_jobs){ 0 };
}

rm_status an_jobs_run(const an_frame *frame, const an_jobs *jobs,
                      const rm_analysis_options *options, rm_error *err)
{
    rm_status status = RM_OK;
    double *replicates = malloc(BLOCK * options->resamples * sizeof *replicates);
    if (!replicates)
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu resamples", options->resamples);
    for (size_t next = 0; next < jobs->n && !status;) {
        const an_job *block[BLOCK];
        an_column columns[BLOCK];
        size_t width = 0;
        for (; next < jobs->n && width < BLOCK; next++) {
            const an_job *job = &jobs->job[next];
            if (an_needs_replicates(frame, &job->column, job->kind)) {
                columns[width] = job->column;
                block[width++] = job;
            } else {
                *job->out = an_interval(frame, &job->column, job->kind, NULL, 0, options->level);
            }
        }
        status = an_bootstrap(frame, columns, width, options, replicates, err);
        for (size_t i = 0; i < width && !status; i++)
            *block[i]->out =
                an_interval(frame, &columns[i], block[i]->kind, replicates + i * options->resamples,
                            options->resamples, options->level);
    }
    free(replicates);
    return status;
}
