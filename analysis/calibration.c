/* calibration.c - does a confidence of 0.8 mean right in 80% of the cases?
 *
 *     ECE   = sum_m |B_m|/n |acc(B_m) - conf(B_m)|     M = 10 equal bins of (0, 1]
 *             (Naeini, Cooper & Hauskrecht 2015; Guo et al. 2017, arXiv:1706.04599, eq. 3)
 *     Brier = mean of (confidence - correct)^2          (Brier 1950)
 *
 * ECE is a sum of absolute values and so never unbiased: a perfectly calibrated confidence still
 * has an ECE of about the standard error of its bins. Its interval is the percentile bootstrap
 * over clusters, whose replicates carry that bias once more; it is given for want of a better. */
#include "analysis/internal.h"

#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static size_t bin_of(double confidence)
{
    double bin = ceil(confidence * RM_RELIABILITY_BINS - 1e-9) - 1;
    return (size_t)fmax(0, fmin(bin, RM_RELIABILITY_BINS - 1));
}

/* ECE and Brier score with weights (NULL: all 1). */
static void scores(const double *confidence, const double *correct, const double *weight, size_t n,
                   double *ece, double *brier)
{
    double sum_confidence[RM_RELIABILITY_BINS] = { 0 }, sum_correct[RM_RELIABILITY_BINS] = { 0 };
    double total = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        double w = weight ? weight[i] : 1, gap = confidence[i] - correct[i];
        size_t bin = bin_of(confidence[i]);
        sum_confidence[bin] += w * confidence[i];
        sum_correct[bin] += w * correct[i];
        square += w * gap * gap;
        total += w;
    }
    *ece = 0;
    for (size_t bin = 0; bin < RM_RELIABILITY_BINS; bin++)
        *ece += fabs(sum_confidence[bin] - sum_correct[bin]) / total;
    *brier = square / total;
}

static void fill_bins(const double *confidence, const double *correct, size_t n, double level,
                      rm_calibration *out)
{
    double right[RM_RELIABILITY_BINS] = { 0 }, sum[RM_RELIABILITY_BINS] = { 0 };
    for (size_t i = 0; i < n; i++) {
        size_t bin = bin_of(confidence[i]);
        out->bins[bin].n++;
        sum[bin] += confidence[i];
        right[bin] += correct[i];
    }
    for (size_t bin = 0; bin < RM_RELIABILITY_BINS; bin++) {
        rm_reliability_bin *b = &out->bins[bin];
        b->low = (double)bin / RM_RELIABILITY_BINS;
        b->high = (double)(bin + 1) / RM_RELIABILITY_BINS;
        b->confidence = b->n ? sum[bin] / (double)b->n : NAN;
        b->accuracy = rm_wilson(right[bin], (double)b->n, level);
    }
}

/* Numbers the clusters 0, 1, ... in order of `cluster` (NULL: each its own). */
static bool number_clusters(const int *cluster, size_t n, size_t *of, size_t *n_clusters)
{
    if (!cluster) {
        for (size_t i = 0; i < n; i++)
            of[i] = i;
        *n_clusters = n;
        return true;
    }
    size_t *order = malloc(n * sizeof *order);
    if (!order)
        return false;
    gsl_sort_int_index(order, cluster, 1, n);
    *n_clusters = 0;
    for (size_t i = 0; i < n; i++) {
        *n_clusters += i == 0 || cluster[order[i]] != cluster[order[i - 1]];
        of[order[i]] = *n_clusters - 1;
    }
    free(order);
    return true;
}

static rm_estimate summary(double value, double *replicates, const rm_analysis_options *options,
                           size_t n_clusters)
{
    rm_estimate e = { value, NAN, NAN, options->level, n_clusters, "one problem, no interval" };
    if (n_clusters < 2)
        return e;
    gsl_sort(replicates, 1, options->resamples);
    e.low = gsl_stats_quantile_from_sorted_data(replicates, 1, options->resamples,
                                                (1 - options->level) / 2);
    e.high = gsl_stats_quantile_from_sorted_data(replicates, 1, options->resamples,
                                                 (1 + options->level) / 2);
    e.method = "percentile bootstrap over problems";
    return e;
}

rm_status rm_calibrate(const double *confidence, const double *correct, const int *cluster,
                       size_t n, const rm_analysis_options *given, rm_calibration *out,
                       rm_error *err)
{
    static const uint32_t purpose = 0x63616c69; /* "cali" */
    rm_analysis_options options;
    rm_status status = an_options(given, &options, err);
    if (status)
        return status;
    if (n == 0)
        return rm_fail(err, RM_E_ARGUMENT, "calibration needs at least one result");
    for (size_t i = 0; i < n; i++)
        if (!(confidence[i] >= 0 && confidence[i] <= 1 && correct[i] >= 0 && correct[i] <= 1))
            return rm_fail(err, RM_E_ARGUMENT,
                           "result %zu has confidence %g and correctness %g; both must lie in "
                           "[0, 1]",
                           i, confidence[i], correct[i]);

    rm_calibration made = { .n = n };
    size_t n_clusters = 0;
    size_t *of = malloc(n * sizeof *of);
    double *count = malloc(n * sizeof *count), *weight = malloc(n * sizeof *weight);
    double *ece = malloc(options.resamples * sizeof *ece);
    double *brier = malloc(options.resamples * sizeof *brier);
    if (!of || !count || !weight || !ece || !brier ||
        !number_clusters(cluster, n, of, &n_clusters)) {
        status = rm_fail(err, RM_E_MEMORY, "no memory to calibrate %zu results", n);
        goto done;
    }
    for (size_t r = 0; r < options.resamples; r++) {
        memset(count, 0, n_clusters * sizeof *count);
        an_stream s = an_stream_start(options.seed, purpose, r);
        for (size_t c = 0; c < n_clusters; c++)
            count[an_draw(&s, n_clusters)] += 1;
        for (size_t i = 0; i < n; i++)
            weight[i] = count[of[i]];
        scores(confidence, correct, weight, n, &ece[r], &brier[r]);
    }
    double value_ece, value_brier;
    scores(confidence, correct, NULL, n, &value_ece, &value_brier);
    made.ece = summary(value_ece, ece, &options, n_clusters);
    made.brier = summary(value_brier, brier, &options, n_clusters);
    fill_bins(confidence, correct, n, options.level, &made);
    *out = made;
done:
    free(of);
    free(count);
    free(weight);
    free(ece);
    free(brier);
    return status;
}

/* Share of the candidates that gave the chosen answer; NaN if there was no vote to speak of. */
static double vote_share(const rm_result *r)
{
    if (r->failed || r->n_samples < 2 || r->chosen < 0)
        return NAN;
    const char *answer = r->samples[r->chosen].answer;
    if (!answer)
        return 0;
    double votes = 0;
    for (size_t i = 0; i < r->n_samples; i++)
        votes += r->samples[i].answer && strcmp(r->samples[i].answer, answer) == 0;
    return votes / (double)r->n_samples;
}

rm_status an_calibration(const an_frame *frame, int cell_at, const rm_analysis_options *options,
                         rm_calibration *out, bool *has, rm_error *err)
{
    size_t first = frame->cell_first[cell_at], m = frame->cell_first[cell_at + 1] - first, n = 0;
    double *confidence = malloc((m + 1) * sizeof *confidence);
    double *correct = malloc((m + 1) * sizeof *correct);
    int *cluster = malloc((m + 1) * sizeof *cluster);
    rm_status status = RM_OK;
    if (!confidence || !correct || !cluster) {
        status = rm_fail(err, RM_E_MEMORY, "no memory to calibrate %zu results", m);
        goto done;
    }
    size_t c = 0, last_unit = SIZE_MAX;
    for (size_t i = first; i < first + m; i++) { /* one result a unit: repeats are not evidence */
        const an_entry *e = &frame->entries[i];
        double share = vote_share(e->result);
        if (isnan(share) || e->unit == last_unit)
            continue;
        last_unit = e->unit;
        while (frame->unit_problem[e->unit] >= frame->cluster_first[c + 1])
            c++;
        confidence[n] = share;
        correct[n] = e->result->correct;
        cluster[n++] = (int)c;
    }
    *has = n > 0;
    if (n > 0)
        status = rm_calibrate(confidence, correct, cluster, n, options, out, err);
done:
    free(confidence);
    free(correct);
    free(cluster);
    return status;
}

rm_status rm_cell_calibration(const rm_records *records, int cell, const rm_analysis_options *given,
                              rm_calibration *out, rm_error *err)
{
    rm_analysis_options options;
    an_frame *frame = NULL;
    bool has = true;
    rm_status status = an_options(given, &options, err);
    if (!status)
        status = an_frame_of_cell(records, cell, &frame, err);
    if (!status)
        status = an_calibration(frame, an_frame_find(frame, cell), &options, out, &has, err);
    if (!status && !has)
        status = rm_fail(err, RM_E_ARGUMENT,
                         "no result of \"%s\" chose among several candidates, so there is no vote "
                         "share to calibrate",
                         records->cells[cell].label);
    an_frame_free(frame);
    return status;
}
