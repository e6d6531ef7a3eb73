/* tuning.c - strategies compared at equal tuning.
 *
 * A strategy of which twenty settings were tried and the best is shown is not better than one of
 * which two were tried. What is compared is the expected result of trying m settings:
 *
 *     E_m = sum_i P(i is the best of a random m-subset on the tuning problems) test_i
 *     P(none of the t best is in the subset) = C(n - t, m) / C(n, m)
 *
 * Dodge et al. 2019 (Show Your Work, arXiv:1909.03004, eq. 1) take the m with replacement, which is
 * biased for finite n; without replacement the expectation is exact (Tang et al. 2020, arXiv:
 * 2004.13705). They report the score that chose the setting. Here the settings are chosen on one
 * half of the problems and judged on the other, so that luck in choosing is not counted as skill;
 * the value is the mean over SPLITS random halves, each used both ways.
 *
 * Interval: bias-corrected bootstrap over problems. The halves are drawn once and stay: a problem
 * drawn twice stands on one side with both, so nothing is tuned on what it is tested on. Only
 * problems that all settings of the task's strategies answered count. */
#include "analysis/internal.h"

#include <float.h>
#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PURPOSE = 0x74756e65, /* "tune" */ SPLITS = 10, MAX_RESAMPLES = 1000, FEWEST_CLUSTERS = 4 };

/* Expected test value for every m: value[m - 1]. order[n] is scratch. Settings by descending tuning
 * value; a block of t0 .. t1 - 1 tied ones is best with probability none(t0) - none(t1) and shares
 * its places. */
static void best_of_all(const double *tuning, const double *test, size_t n, size_t *order,
                        double *value)
{
    for (size_t i = 0; i < n; i++) { /* insertion: n is small, and this runs often */
        size_t at = i;
        for (; at > 0 && tuning[order[at - 1]] < tuning[i]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (size_t m = 1; m <= n; m++) {
        double none = 1; /* C(n - t, m) / C(n, m) at t = t0 */
        value[m - 1] = 0;
        for (size_t t0 = 0, t1; t0 < n; t0 = t1) {
            double sum = 0, before = none;
            for (t1 = t0; t1 < n && tuning[order[t1]] >= tuning[order[t0]] - 1e-12; t1++) {
                sum += test[order[t1]];
                none *= n - t1 > m ? (double)(n - t1 - m) / (double)(n - t1) : 0;
            }
            value[m - 1] += (before - none) * sum / (double)(t1 - t0);
        }
    }
}

double rm_best_of_m(const double *tuning, const double *test, size_t n, size_t m)
{
    if (m < 1 || m > n)
        return NAN;
    size_t *order = malloc(n * sizeof *order);
    double *value = malloc(n * sizeof *value), result = NAN;
    if (order && value) {
        best_of_all(tuning, test, n, order, value);
        result = value[m - 1];
    }
    free(order);
    free(value);
    return result;
}

/* ---- the settings of a task ---------------------------------------------------------------- */

/* All settings of all groups, one after the other, on their common problems. */
typedef struct bench {
    size_t n; /* settings */
    int *at;  /* [n] positions in the frame */
    size_t n_groups;
    size_t *first;       /* [n_groups + 1] */
    size_t problems;     /* common ones */
    double *num, *den;   /* [n_units][n] */
    unsigned char *side; /* [SPLITS][n_units] */
} bench;

static void bench_free(bench *b)
{
    free(b->at);
    free(b->first);
    free(b->num);
    free(b->den);
    free(b->side);
    *b = (bench){ 0 };
}

static bool one_group(const rm_cell *a, const rm_cell *b)
{
    return strcmp(a->model, b->model) == 0 && strcmp(a->strategy, b->strategy) == 0 &&
           an_class_of(a) == an_class_of(b);
}

/* Groups in the order of their first cell, of at least two settings each. */
static rm_status list_groups(const an_frame *frame, bench *b, rm_error *err)
{
    const rm_cell *cells = frame->records->cells;
    b->at = calloc(frame->n_cells, sizeof *b->at);
    b->first = calloc(frame->n_cells + 1, sizeof *b->first);
    if (!b->at || !b->first)
        return rm_fail(err, RM_E_MEMORY, "no memory for the settings of %zu cells", frame->n_cells);
    for (size_t i = 0; i < frame->n_cells; i++) {
        const rm_cell *cell = &cells[frame->cell[i]];
        bool seen = false;
        for (size_t j = 0; j < i && !seen; j++)
            seen = one_group(cell, &cells[frame->cell[j]]);
        if (seen)
            continue;
        size_t start = b->n;
        for (size_t j = i; j < frame->n_cells; j++)
            if (one_group(cell, &cells[frame->cell[j]]))
                b->at[b->n++] = (int)j;
        if (b->n - start < 2)
            b->n = start;
        else
            b->first[++b->n_groups] = b->n;
    }
    return RM_OK;
}

/* Accuracies as rows of units, cut to the common problems. */
static rm_status fill(const an_frame *frame, bench *b, rm_error *err)
{
    rm_status status = RM_OK;
    an_column *columns = calloc(b->n, sizeof *columns);
    b->num = malloc(frame->n_units * b->n * sizeof *b->num);
    b->den = malloc(frame->n_units * b->n * sizeof *b->den);
    if (!columns || !b->num || !b->den)
        status = rm_fail(err, RM_E_MEMORY, "no memory for %zu settings", b->n);
    for (size_t i = 0; i < b->n && !status; i++) {
        status = an_column_new(frame, &columns[i], err);
        if (!status)
            an_column_mean(frame, b->at[i], an_result_accuracy, &columns[i]);
    }
    if (!status) {
        b->problems = an_columns_common(frame, columns, b->n);
        for (size_t u = 0; u < frame->n_units; u++)
            for (size_t i = 0; i < b->n; i++) {
                b->num[u * b->n + i] = columns[i].num[u];
                b->den[u * b->n + i] = columns[i].den[u];
            }
    }
    for (size_t i = 0; columns && i < b->n; i++)
        an_column_free(&columns[i]);
    free(columns);
    return status;
}

static bool in_use(const an_frame *frame, const bench *b, size_t cluster)
{
    size_t end = frame->problem_first[frame->cluster_first[cluster + 1]];
    for (size_t u = frame->problem_first[frame->cluster_first[cluster]]; u < end; u++)
        if (b->den[u * b->n] > 0)
            return true;
    return false;
}

/* Random halves of the clusters that are in use; *n is how many these are. */
static rm_status split(const an_frame *frame, bench *b, uint64_t seed, size_t *n, rm_error *err)
{
    size_t *order = malloc(frame->n_clusters * sizeof *order);
    b->side = calloc(SPLITS * frame->n_units, sizeof *b->side);
    *n = 0;
    if (!order || !b->side) {
        free(order);
        return rm_fail(err, RM_E_MEMORY, "no memory to split %zu problems", frame->n_problems);
    }
    for (size_t c = 0; c < frame->n_clusters; c++)
        if (in_use(frame, b, c))
            order[(*n)++] = c;
    for (size_t s = 0; s < SPLITS; s++) {
        an_stream stream = an_stream_start(seed, PURPOSE, s);
        for (size_t i = 0; i < *n / 2; i++) { /* the first half of a shuffle */
            size_t j = i + an_draw(&stream, *n - i), c = order[j];
            order[j] = order[i];
            order[i] = c;
            size_t end = frame->problem_first[frame->cluster_first[c + 1]];
            for (size_t u = frame->problem_first[frame->cluster_first[c]]; u < end; u++)
                b->side[s * frame->n_units + u] = 1;
        }
    }
    free(order);
    return RM_OK;
}

/* ---- the value of a set of weights ---------------------------------------------------------- */

typedef struct scratch {
    double *weight;           /* [n_units] */
    double *num, *den, *mean; /* [2][n] */
    double *value;            /* [n] of one group */
    size_t *order;            /* [n] */
} scratch;

static bool scratch_new(scratch *s, size_t n_units, size_t n)
{
    *s = (scratch){ malloc(n_units * sizeof(double)), malloc(2 * n * sizeof(double)),
                    malloc(2 * n * sizeof(double)),   malloc(2 * n * sizeof(double)),
                    malloc(n * sizeof(double)),       malloc(n * sizeof(size_t)) };
    return s->weight && s->num && s->den && s->mean && s->value && s->order;
}

static void scratch_free(scratch *s)
{
    free(s->weight);
    free(s->num);
    free(s->den);
    free(s->mean);
    free(s->value);
    free(s->order);
}

/* Accuracy of every setting on both sides of one split; false if a side is empty. */
static bool both_sides(const an_frame *frame, const bench *b, size_t s, scratch *x)
{
    memset(x->num, 0, 2 * b->n * sizeof *x->num);
    memset(x->den, 0, 2 * b->n * sizeof *x->den);
    for (size_t u = 0; u < frame->n_units; u++) {
        double w = x->weight[u];
        if (w == 0)
            continue;
        size_t side = b->side[s * frame->n_units + u] ? b->n : 0;
        for (size_t i = 0; i < b->n; i++) {
            x->num[side + i] += w * b->num[u * b->n + i];
            x->den[side + i] += w * b->den[u * b->n + i];
        }
    }
    for (size_t i = 0; i < 2 * b->n; i++) {
        if (!(x->den[i] > 0))
            return false;
        x->mean[i] = x->num[i] / x->den[i];
    }
    return true;
}

/* out[i]: E_m of the group that setting i belongs to, m counted from 1 at its first. NaN if no
 * split has problems on both sides. */
static void evaluate(const an_frame *frame, const bench *b, scratch *x, double *out)
{
    size_t used = 0;
    for (size_t i = 0; i < b->n; i++)
        out[i] = 0;
    for (size_t s = 0; s < SPLITS; s++) {
        if (!both_sides(frame, b, s, x))
            continue;
        used += 2;
        for (size_t g = 0; g < b->n_groups; g++)
            for (size_t side = 0; side < 2; side++) {
                size_t first = b->first[g], n = b->first[g + 1] - first;
                best_of_all(x->mean + side * b->n + first, x->mean + (1 - side) * b->n + first, n,
                            x->order, x->value);
                for (size_t m = 0; m < n; m++)
                    out[first + m] += x->value[m];
            }
    }
    for (size_t i = 0; i < b->n; i++)
        out[i] = used ? out[i] / (double)used : NAN;
}

/* ---- the report ---------------------------------------------------------------------------- */

/* Bias-corrected interval from replicates[resamples], sorted in place. */
static rm_estimate interval(double value, double *replicates, size_t n, size_t problems,
                            double level)
{
    rm_estimate e = { value, NAN, NAN, level, problems, "equal in all resamples" };
    size_t valid = 0;
    for (size_t r = 0; r < n; r++)
        if (!isnan(replicates[r]))
            replicates[valid++] = replicates[r];
    gsl_sort(replicates, 1, valid);
    if (valid && replicates[valid - 1] - replicates[0] <= 1e-12) {
        e.low = e.high = value;
    } else if (valid) {
        an_bca(replicates, valid, value, 0, level, &e);
        e.method = "bias-corrected bootstrap over problems";
    }
    return e;
}

static rm_status report_pairs(const bench *b, const double *value, const double *replicates,
                              size_t resamples, double level, rm_task_report *task, rm_error *err)
{
    double *difference = malloc(resamples * sizeof *difference);
    task->tuning_pairs = calloc(b->n_groups * b->n_groups, sizeof *task->tuning_pairs);
    if (!difference || !task->tuning_pairs) {
        free(difference);
        return rm_fail(err, RM_E_MEMORY, "no memory to compare %zu strategies", b->n_groups);
    }
    for (size_t i = 0; i < b->n_groups; i++)
        for (size_t j = i + 1; j < b->n_groups; j++) {
            size_t n_i = b->first[i + 1] - b->first[i], n_j = b->first[j + 1] - b->first[j];
            size_t m = n_i < n_j ? n_i : n_j;
            size_t at_a = b->first[i] + m - 1, at_b = b->first[j] + m - 1;
            bool swap = value[at_a] < value[at_b];
            size_t a = swap ? j : i, c = swap ? i : j;
            if (swap) {
                size_t t = at_a;
                at_a = at_b;
                at_b = t;
            }
            for (size_t r = 0; r < resamples; r++)
                difference[r] = replicates[at_a * resamples + r] - replicates[at_b * resamples + r];
            task->tuning_pairs[task->n_tuning_pairs++] =
                (rm_tuning_pair){ (int)a, (int)c, m,
                                  interval(value[at_a] - value[at_b], difference, resamples,
                                           b->problems, level) };
        }
    free(difference);
    return RM_OK;
}

static rm_status report_groups(const bench *b, const double *value, double *replicates,
                               size_t resamples, double level, rm_task_report *task, rm_error *err)
{
    task->tunings = calloc(b->n_groups, sizeof *task->tunings);
    if (!task->tunings)
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu strategies", b->n_groups);
    for (size_t g = 0; g < b->n_groups; g++) {
        rm_tuning *t = &task->tunings[task->n_tunings++];
        t->n = b->first[g + 1] - b->first[g];
        t->reports = malloc(t->n * sizeof *t->reports);
        t->value = malloc(t->n * sizeof *t->value);
        if (!t->reports || !t->value)
            return rm_fail(err, RM_E_MEMORY, "no memory for %zu settings", t->n);
        for (size_t m = 0; m < t->n; m++) {
            size_t at = b->first[g] + m;
            t->reports[m] = b->at[at];
            t->value[m] =
                interval(value[at], replicates + at * resamples, resamples, b->problems, level);
        }
    }
    return RM_OK;
}

static rm_status resample(const an_frame *frame, const bench *b, const rm_analysis_options *options,
                          rm_task_report *task, rm_error *err)
{
    scratch x;
    size_t resamples = options->resamples < MAX_RESAMPLES ? options->resamples : MAX_RESAMPLES;
    double *value = malloc(2 * b->n * sizeof *value), *one = value ? value + b->n : NULL;
    double *replicates = malloc(b->n * resamples * sizeof *replicates);
    rm_status status = RM_OK;
    if (!scratch_new(&x, frame->n_units, b->n) || !value || !replicates) {
        status = rm_fail(err, RM_E_MEMORY, "no memory to resample %zu settings", b->n);
        goto done;
    }
    for (size_t u = 0; u < frame->n_units; u++)
        x.weight[u] = 1;
    evaluate(frame, b, &x, value);
    for (size_t r = 0; r < resamples; r++) {
        an_resample(frame, options, r, x.weight);
        evaluate(frame, b, &x, one);
        for (size_t i = 0; i < b->n; i++)
            replicates[i * resamples + r] = one[i];
    }
    status = report_pairs(b, value, replicates, resamples, options->level, task, err);
    if (!status) /* sorts the replicates: last */
        status = report_groups(b, value, replicates, resamples, options->level, task, err);
done:
    scratch_free(&x);
    free(value);
    free(replicates);
    return status;
}

rm_status an_tunings(const an_frame *frame, const rm_analysis_options *options,
                     rm_task_report *task, rm_error *err)
{
    bench b = { 0 };
    size_t clusters = 0;
    rm_status status = list_groups(frame, &b, err);
    if (!status && b.n_groups)
        status = fill(frame, &b, err);
    if (!status && b.n_groups)
        status = split(frame, &b, options->seed, &clusters, err);
    if (!status && clusters >= FEWEST_CLUSTERS)
        status = resample(frame, &b, options, task, err);
    bench_free(&b);
    return status;
}
