/* trend.c - does accuracy rise with the size that a family was swept over?
 *
 * For problem p with values x_p1 .. x_pJ at sizes s_1 .. s_J, t_j = log2 s_j - mean,
 *
 *     slope_p = sum_j t_j x_pj / sum_j t_j^2          slope = mean over problems
 *
 * the least-squares change per doubling of the size. Only problems that have all sizes count, so a
 * trend never comes from other problems being met at other sizes.
 *
 * Test: if the size made no difference, a problem's J values would be exchangeable. T = sum of the
 * slopes is compared with its values under permutations within problems (clusters are permuted as
 * a whole), two-sided, (b + 1)/(resamples + 1). It is Page's test (1963, JASA 58:216) with the
 * values in place of their ranks and the sizes' logarithms as the predicted order; for 0/1 outcomes
 * its square is the stratified Cochran-Armitage statistic (Mantel 1963, JASA 58:690), which is
 *
 *     z^2 = T^2 / Var T,   Var T = sum_p S_tt S_xx,p / (J - 1),   S the sums of squares about
 * means.
 *
 * Interval: BCa over problems. Trends of one quantity in one task are a family: Holm-adjusted p,
 * intervals at 1 - alpha/m, which decide, and reach to 0 where the test does not reject
 * (paired.c). */
#include "analysis/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PURPOSE = 0x7472656e, /* "tren" */ FEWEST_SIZES = 3, MAX_SIZES = 64 };
enum { TAIL = 10, MAX_RESAMPLES = 50000 };

/* t_j = score_j - mean; returns the sum of squares. */
static double centre(const double *score, size_t n, double *t)
{
    double mean = 0, square = 0;
    for (size_t j = 0; j < n; j++)
        mean += score[j] / (double)n;
    for (size_t j = 0; j < n; j++) {
        t[j] = score[j] - mean;
        square += t[j] * t[j];
    }
    return square;
}

/* Sum of squares about the mean. */
static double spread(const double *x, size_t n)
{
    double mean = 0, square = 0;
    for (size_t j = 0; j < n; j++)
        mean += x[j] / (double)n;
    for (size_t j = 0; j < n; j++)
        square += (x[j] - mean) * (x[j] - mean);
    return square;
}

/* T of one random permutation within every block. */
static double permuted(const double *x, size_t n_blocks, const double *t, size_t n, an_stream *s)
{
    double sum = 0, row[MAX_SIZES];
    for (size_t b = 0; b < n_blocks; b++) {
        memcpy(row, x + b * n, n * sizeof *row);
        for (size_t j = n; j-- > 0;) { /* Fisher-Yates from the back, each place used at once */
            size_t from = an_draw(s, j + 1);
            sum += t[j] * row[from];
            row[from] = row[j];
        }
    }
    return sum;
}

double rm_trend_test(const double *x, size_t n_blocks, const double *score, size_t n_sizes,
                     size_t resamples, uint64_t seed, double *z)
{
    double t[MAX_SIZES], sum = 0, variance = 0, scale = 0;
    if (z)
        *z = NAN;
    if (n_blocks == 0 || n_sizes < 2 || n_sizes > MAX_SIZES)
        return NAN;
    double square = centre(score, n_sizes, t);
    double *varying = malloc(n_blocks * n_sizes * sizeof *varying); /* the others never change T */
    size_t m = 0;
    if (!varying || !(square > 0)) {
        free(varying);
        return NAN;
    }
    for (size_t b = 0; b < n_blocks; b++) {
        const double *row = x + b * n_sizes;
        double s = spread(row, n_sizes);
        if (!(s > 1e-24))
            continue;
        memcpy(varying + m++ * n_sizes, row, n_sizes * sizeof *row);
        variance += square * s / (double)(n_sizes - 1);
        for (size_t j = 0; j < n_sizes; j++) {
            sum += t[j] * row[j];
            scale += fabs(t[j] * row[j]);
        }
    }
    size_t hits = 0;
    for (size_t r = 0; r < resamples && m; r++) {
        an_stream s = an_stream_start(seed, PURPOSE, r);
        hits += fabs(permuted(varying, m, t, n_sizes, &s)) >= fabs(sum) - 1e-9 * scale;
    }
    free(varying);
    if (z)
        *z = m ? sum / sqrt(variance) : 0;
    return m ? (double)(hits + 1) / (double)(resamples + 1) : 1;
}

const char *rm_trend_verdict(const rm_trend *trend, double level)
{
    if (trend->corrected.low > 0)
        return "rises";
    if (trend->corrected.high < 0)
        return "falls";
    return trend->p_holm < 1 - level ? "borderline" : "no trend shown";
}

/* ---- of the families of a task ------------------------------------------------------------- */

static rm_status values_of(const an_frame *frame, const rm_family *family, rm_quantity quantity,
                           double *x, rm_error *err)
{
    for (size_t j = 0; j < family->n; j++) {
        an_column column = { 0 };
        bool has;
        rm_status status =
            an_quantity_column(frame, family->reports[j], quantity, &column, &has, err);
        if (status)
            return status;
        for (size_t p = 0; p < frame->n_problems; p++)
            x[p * family->n + j] = an_column_problem(frame, &column, p);
        an_column_free(&column);
    }
    return RM_OK;
}

/* The slopes as a column, and the test on the clusters' sums. *n is left 0 without data. */
static rm_status trend_of(const an_frame *frame, const rm_family *family, const double *score,
                          rm_quantity quantity, const rm_analysis_options *options, rm_trend *out,
                          an_column *column, rm_error *err)
{
    size_t J = family->n, blocks = 0;
    double t[MAX_SIZES], square = centre(score, J, t);
    double *x = malloc(frame->n_problems * J * sizeof *x);
    double *block = calloc(frame->n_clusters * J, sizeof *block);
    double *slope = malloc(frame->n_problems * sizeof *slope);
    rm_status status = RM_OK;
    if (!x || !block || !slope) {
        status = rm_fail(err, RM_E_MEMORY, "no memory for the trend of %s", family->name);
        goto done;
    }
    status = values_of(frame, family, quantity, x, err);
    for (size_t c = 0; c < frame->n_clusters && !status; c++) {
        size_t in_block = 0;
        for (size_t p = frame->cluster_first[c]; p < frame->cluster_first[c + 1]; p++) {
            slope[p] = 0;
            for (size_t j = 0; j < J; j++)
                slope[p] += t[j] * x[p * J + j] / square;
            in_block += isnan(slope[p]) ? 0 : 1;
            for (size_t j = 0; j < J && !isnan(slope[p]); j++)
                block[blocks * J + j] += x[p * J + j];
        }
        blocks += in_block > 0;
        out->n += in_block;
    }
    if (!status && out->n)
        status = an_column_new(frame, column, err);
    if (status || out->n == 0)
        goto done;
    an_column_from_problems(frame, slope, column);
    out->p = rm_trend_test(block, blocks, score, J, options->resamples, options->seed, NULL);
    if (isnan(out->p))
        status = rm_fail(err, RM_E_MEMORY, "no memory for the trend of %s", family->name);
done:
    free(x);
    free(block);
    free(slope);
    return status;
}

/* log2 of the sizes; false unless there are three different ones. */
static bool scores_of(const an_frame *frame, const rm_family *family, double *score)
{
    const rm_cell *cells = frame->records->cells;
    size_t different = 1;
    if (family->n < FEWEST_SIZES || family->n > MAX_SIZES)
        return false;
    for (size_t j = 0; j < family->n; j++) { /* ascending by construction */
        double size = cells[frame->cell[family->reports[j]]].size;
        if (!(size > 0) || !isfinite(size))
            return false;
        score[j] = log2(size);
        different += j > 0 && score[j] > score[j - 1];
    }
    return different >= FEWEST_SIZES;
}

static rm_status intervals(const an_frame *frame, const rm_analysis_options *options,
                           const an_column *columns, size_t n, rm_trend *trends, rm_error *err)
{
    double *replicates = malloc((n + 1) * options->resamples * sizeof *replicates);
    double *p = malloc((n + 1) * sizeof *p);
    rm_status status = RM_OK;
    if (!replicates || !p)
        status = rm_fail(err, RM_E_MEMORY, "no memory to resample %zu trends", n);
    if (!status)
        status = an_bootstrap(frame, columns, n, options, replicates, err);
    for (size_t i = 0; i < n && !status; i++) {
        double *of = replicates + i * options->resamples;
        rm_trend *t = &trends[i];
        t->n_family = n;
        t->slope = an_agreeing(
            an_interval(frame, &columns[i], AN_MEAN, of, options->resamples, options->level), t->p);
        t->corrected = an_agreeing(an_interval(frame, &columns[i], AN_MEAN, of, options->resamples,
                                               1 - (1 - options->level) / (double)n),
                                   t->p);
        p[i] = t->p;
    }
    if (!status)
        status = rm_holm(p, n, p, err);
    for (size_t i = 0; i < n && !status; i++)
        trends[i].p_holm = p[i];
    free(replicates);
    free(p);
    return status;
}

rm_status an_trend_alone(const an_frame *frame, const rm_family *family, rm_quantity quantity,
                         size_t m, const rm_analysis_options *options, rm_trend *out, rm_error *err)
{
    double score[MAX_SIZES];
    an_column column = { 0 };
    *out = (rm_trend){ .quantity = quantity, .n_sizes = family->n, .n_family = m };
    if (!scores_of(frame, family, score))
        return RM_OK;
    double *replicates = malloc(options->resamples * sizeof *replicates);
    rm_status status = replicates ? RM_OK : rm_fail(err, RM_E_MEMORY, "no memory for a trend");
    if (!status)
        status = trend_of(frame, family, score, quantity, options, out, &column, err);
    if (!status && out->n)
        status = an_bootstrap(frame, &column, 1, options, replicates, err);
    if (!status && out->n)
        out->corrected = an_agreeing(an_interval(frame, &column, AN_MEAN, replicates,
                                                 options->resamples,
                                                 1 - (1 - options->level) / (double)m), out->p);
    an_column_free(&column);
    free(replicates);
    return status;
}

static rm_status trends_in(const an_frame *frame, const rm_analysis_options *given,
                           rm_quantity quantity, rm_task_report *task, rm_error *err)
{
    /* Enough resamples that TAIL of them lie beyond either end of a corrected interval. */
    rm_analysis_options options = *given;
    double needed = 2 * TAIL * (double)task->n_families / (1 - options.level);
    if (needed > (double)options.resamples)
        options.resamples = (size_t)fmin(needed, MAX_RESAMPLES);

    rm_trend *trends = task->trends + task->n_trends;
    an_column *columns = calloc(task->n_families, sizeof *columns);
    rm_status status = RM_OK;
    size_t n = 0;
    if (!columns)
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu trends", task->n_families);
    for (size_t f = 0; f < task->n_families && !status; f++) {
        double score[MAX_SIZES];
        if (!scores_of(frame, &task->families[f], score))
            continue;
        trends[n] =
            (rm_trend){ .family = (int)f, .quantity = quantity, .n_sizes = task->families[f].n };
        status = trend_of(frame, &task->families[f], score, quantity, &options, &trends[n],
                          &columns[n], err);
        n += !status && trends[n].n > 0;
    }
    if (!status)
        status = intervals(frame, &options, columns, n, trends, err);
    for (size_t i = 0; i < task->n_families; i++)
        an_column_free(&columns[i]);
    free(columns);
    if (!status)
        task->n_trends += n;
    return status;
}

rm_status an_trends(const an_frame *frame, const rm_analysis_options *options, rm_task_report *task,
                    rm_error *err)
{
    static const rm_quantity quantities[] = { RM_Q_ACCURACY, RM_Q_CHOSEN_LP };
    double score[MAX_SIZES];
    size_t swept = 0;
    for (size_t f = 0; f < task->n_families; f++)
        swept += scores_of(frame, &task->families[f], score);
    if (swept == 0)
        return RM_OK;
    task->trends = calloc(2 * task->n_families, sizeof *task->trends);
    if (!task->trends)
        return rm_fail(err, RM_E_MEMORY, "no memory for the trends of %s", task->task);
    rm_status status = RM_OK;
    for (int i = 0; i < 2 && !status; i++)
        status = trends_in(frame, options, quantities[i], task, err);
    return status;
}
