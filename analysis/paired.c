/* paired.c - comparing two cells on the problems that both worked on.
 *
 * d_p = mean over seeds of a's correctness on problem p - the same of b; difference = mean of d_p.
 * Pairing removes the variance of the problems' difficulty, which is most of it.
 *
 * Test.  One verdict a problem: exact McNemar. Otherwise a sign-flip permutation test: if the
 *        cells are equally good, d and -d are equally likely for every cluster of problems
 *        (Fisher 1935, The Design of Experiments, sec. 21; for 0/1 outcomes it is McNemar's).
 *        All 2^m patterns for m <= 16 clusters that differ, else (b+1)/(resamples+1) of random
 *        ones, which keeps the test valid (Phipson & Smyth 2010, SAGMB 9:39).
 * Interval. BCa bootstrap over the problems (bootstrap.c); with fewer than 10 clusters that
 *        differ, Newcombe's paired score interval on the expected 2x2 table.
 *        An interval holds every difference that its test does not reject, so it reaches to 0
 *        where the exact p is not below 1 - level: a bootstrap of few problems is too narrow far
 *        out in the tails, and a wider interval covers no less.
 * Family. Holm-adjusted p-values; simultaneous intervals at level 1 - alpha/m (Bonferroni). The
 *        corrected interval decides every verdict. One that excludes 0 has p < alpha/m, hence an
 *        adjusted p below alpha; Holm's steps may reject a little more than the interval shows. */
#include "analysis/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EXACT_FLIPS = 16, FEW_DIFFER = 10, TAIL = 10, MAX_RESAMPLES = 50000 };

/* ---- the sign-flip test ------------------------------------------------------------------ */

static bool at_least(double sum, double observed, double scale)
{
    return fabs(sum) >= observed - 1e-9 * scale; /* equal sums must not be split by rounding */
}

/* All sign patterns in Gray-code order, one flip a step. d is overwritten. */
static double flip_all(double *d, size_t m, double observed, double scale)
{
    double sum = 0;
    for (size_t i = 0; i < m; i++)
        sum += d[i];
    size_t hits = at_least(sum, observed, scale), patterns = (size_t)1 << m;
    for (size_t i = 1; i < patterns; i++) {
        size_t bit = (size_t)__builtin_ctzll(i);
        d[bit] = -d[bit];
        sum += 2 * d[bit];
        hits += at_least(sum, observed, scale);
    }
    return (double)hits / (double)patterns;
}

/* Random sign patterns, one bit a flip. */
static double flip_some(const double *d, size_t m, double observed, double scale, size_t resamples,
                        uint64_t seed)
{
    static const uint64_t stream = UINT64_C(0x7369676e666c6970); /* "signflip" */
    size_t hits = 0;
    for (size_t r = 0; r < resamples; r++) {
        double sum = 0;
        uint64_t bits = 0;
        for (size_t i = 0; i < m; i++, bits >>= 1) {
            if (i % 64 == 0)
                bits = rm_random(seed, stream, (uint32_t)r, (uint32_t)(i / 64));
            sum += bits & 1 ? d[i] : -d[i];
        }
        hits += at_least(sum, observed, scale);
    }
    return (double)(hits + 1) / (double)(resamples + 1);
}

double rm_sign_flip(const double *d, size_t n, size_t resamples, uint64_t seed, bool *exact)
{
    double sum = 0, scale = 0;
    size_t m = 0;
    double *nonzero = malloc((n + 1) * sizeof *nonzero);
    if (!nonzero)
        return NAN;
    for (size_t i = 0; i < n; i++) {
        sum += d[i];
        scale += fabs(d[i]);
        if (fabs(d[i]) > 1e-12)
            nonzero[m++] = d[i];
    }
    *exact = m <= EXACT_FLIPS;
    double p = *exact ? flip_all(nonzero, m, fabs(sum), scale)
                      : flip_some(nonzero, m, fabs(sum), scale, resamples, seed);
    free(nonzero);
    return p;
}

/* ---- one pair ---------------------------------------------------------------------------- */

/* The per-problem accuracies of a pair and what follows from them. */
typedef struct pair {
    double *a, *b, *d;  /* [n_problems] NaN where one of the two has no result */
    double *cluster;    /* [n_clusters] sums of d */
    size_t n, n_differ; /* common problems; clusters with a sum other than 0 */
    bool binary;        /* every problem 0 or 1 and its own cluster */
    double both, only_a, only_b, neither;
} pair;

static void pair_free(pair *x)
{
    free(x->a);
    free(x->b);
    free(x->d);
    free(x->cluster);
}

static bool is_verdict(double x)
{
    return fabs(x) < 1e-12 || fabs(x - 1) < 1e-12;
}

static rm_status pair_new(const an_frame *frame, const an_column *a, const an_column *b, pair *x,
                          rm_error *err)
{
    size_t n = frame->n_problems;
    *x = (pair){ malloc(n * sizeof(double)), malloc(n * sizeof(double)), malloc(n * sizeof(double)),
                 calloc(frame->n_clusters, sizeof(double)), .binary = true };
    if (!x->a || !x->b || !x->d || !x->cluster)
        return rm_fail(err, RM_E_MEMORY, "no memory to compare %zu problems", n);
    for (size_t c = 0; c < frame->n_clusters; c++) {
        size_t in_cluster = 0;
        for (size_t p = frame->cluster_first[c]; p < frame->cluster_first[c + 1]; p++) {
            double va = an_column_problem(frame, a, p), vb = an_column_problem(frame, b, p);
            x->a[p] = va;
            x->b[p] = vb;
            x->d[p] = va - vb;
            if (isnan(x->d[p]))
                continue;
            x->n++;
            in_cluster++;
            x->cluster[c] += x->d[p];
            x->both += va * vb;
            x->only_a += va * (1 - vb);
            x->only_b += (1 - va) * vb;
            x->neither += (1 - va) * (1 - vb);
            x->binary = x->binary && is_verdict(va) && is_verdict(vb);
        }
        x->binary = x->binary && in_cluster <= 1;
        x->n_differ += fabs(x->cluster[c]) > 1e-12;
    }
    return RM_OK;
}

/* Differences unit by unit where both cells have the same units of a problem, so that the second
 * bootstrap level sees paired seeds; otherwise the problem's difference spread over its units. */
static void difference_column(const an_frame *frame, const an_column *a, const an_column *b,
                              const double *d, an_column *out)
{
    an_column_from_problems(frame, d, out);
    for (size_t p = 0; p < frame->n_problems; p++) {
        bool same = !isnan(d[p]);
        for (size_t u = frame->problem_first[p]; u < frame->problem_first[p + 1]; u++)
            same = same && (a->den[u] > 0) == (b->den[u] > 0);
        for (size_t u = frame->problem_first[p]; same && u < frame->problem_first[p + 1]; u++) {
            out->num[u] = a->num[u] - b->num[u];
            out->den[u] = a->den[u];
        }
    }
}

static void summarise(const an_frame *frame, const pair *x, const rm_analysis_options *options,
                      rm_comparison *out)
{
    double n = (double)x->n, mean = 0, square = 0;
    for (size_t p = 0; p < frame->n_problems; p++)
        if (!isnan(x->d[p])) {
            out->accuracy_a += x->a[p];
            out->accuracy_b += x->b[p];
            mean += x->d[p] / n;
        }
    /* Counts are summed exactly: 93 of 200 are 0.465 and nothing beside it. */
    out->accuracy_a /= n;
    out->accuracy_b /= n;
    /* Deviations are summed within clusters first: sd / sqrt(n) is then the standard error of the
     * mean also when the problems of a cluster resemble each other. */
    for (size_t c = 0; c < frame->n_clusters; c++) {
        double deviation = 0;
        for (size_t p = frame->cluster_first[c]; p < frame->cluster_first[c + 1]; p++)
            deviation += isnan(x->d[p]) ? 0 : x->d[p] - mean;
        square += deviation * deviation;
    }
    out->n = x->n;
    out->only_a = x->only_a;
    out->only_b = x->only_b;
    out->sd = x->n > 1 ? sqrt(square / (n - 1)) : NAN;
    out->detectable = rm_detectable(out->sd, n, options->level, options->power);
    out->needed = rm_problems_needed(out->sd, options->margin, options->level, options->power);
    if (x->binary) {
        out->p = rm_mcnemar((size_t)(x->only_a + 0.5), (size_t)(x->only_b + 0.5));
        out->test = "exact McNemar";
    } else {
        bool exact;
        out->p =
            rm_sign_flip(x->cluster, frame->n_clusters, options->resamples, options->seed, &exact);
        out->test = exact ? "sign-flip permutation, exact" : "sign-flip permutation, Monte Carlo";
    }
}

/* ---- a family of pairs ------------------------------------------------------------------- */

/* Everything about one pair but its bootstrap intervals, for which it leaves the column of the
 * differences; with few clusters that differ the intervals are closed forms and *resample is
 * false. */
static rm_status compare_one(const an_frame *frame, int cell, int baseline, size_t n_family,
                             const rm_analysis_options *options, rm_comparison *out,
                             an_column *difference, bool *resample, rm_error *err)
{
    const rm_records *records = frame->records;
    double family_level = 1 - (1 - options->level) / (double)n_family;
    an_column a = { 0 }, b = { 0 };
    pair x = { 0 };
    int at_a = an_frame_find(frame, cell), at_b = an_frame_find(frame, baseline);
    rm_status status = RM_OK;

    *out = (rm_comparison){ .a = cell, .b = baseline, .n_family = n_family };
    if (at_a < 0 || at_b < 0)
        return rm_fail(err, RM_E_ARGUMENT, "cell \"%s\" has no results to compare",
                       records->cells[at_a < 0 ? cell : baseline].label);
    status = an_column_new(frame, &a, err);
    if (!status)
        status = an_column_new(frame, &b, err);
    if (!status)
        status = an_column_new(frame, difference, err);
    if (status)
        goto done;
    an_column_mean(frame, at_a, an_result_accuracy, &a);
    an_column_mean(frame, at_b, an_result_accuracy, &b);
    status = pair_new(frame, &a, &b, &x, err);
    if (!status && x.n == 0)
        status = rm_fail(err, RM_E_ARGUMENT, "\"%s\" and \"%s\" have no problem in common",
                         records->cells[cell].label, records->cells[baseline].label);
    if (status)
        goto done;
    summarise(frame, &x, options, out);
    if (isnan(out->p))
        status = rm_fail(err, RM_E_MEMORY, "no memory to compare %zu problems", x.n);
    *resample = x.n_differ >= FEW_DIFFER;
    if (*resample) {
        difference_column(frame, &a, &b, x.d, difference);
    } else {
        out->difference = rm_newcombe_paired(x.both, x.only_a, x.only_b, x.neither, options->level);
        out->corrected = rm_newcombe_paired(x.both, x.only_a, x.only_b, x.neither, family_level);
    }
done:
    pair_free(&x);
    an_column_free(&a);
    an_column_free(&b);
    return status;
}

rm_estimate an_agreeing(rm_estimate interval, double p)
{
    if (p >= 1 - interval.level) {
        interval.low = fmin(interval.low, 0);
        interval.high = fmax(interval.high, 0);
    }
    return interval;
}

rm_status an_compare(const an_frame *frame, const int *cells, const int *baselines, size_t n,
                     size_t n_family, const rm_analysis_options *given, rm_comparison *out,
                     rm_error *err)
{
    if (n == 0)
        return RM_OK;
    /* Enough resamples that TAIL of them lie beyond either end of the corrected interval. */
    rm_analysis_options options = *given;
    double needed = 2 * TAIL * (double)n_family / (1 - options.level);
    if (needed > (double)options.resamples)
        options.resamples = (size_t)fmin(needed, MAX_RESAMPLES);

    rm_status status = RM_OK;
    an_column *columns = calloc(n, sizeof *columns);
    double *replicates = malloc(n * options.resamples * sizeof *replicates);
    size_t *of = malloc(n * sizeof *of), m = 0; /* comparison of each column */
    if (!columns || !replicates || !of)
        status = rm_fail(err, RM_E_MEMORY, "no memory for %zu comparisons", n);
    for (size_t i = 0; i < n && !status; i++) {
        bool resample = false;
        status = compare_one(frame, cells[i], baselines[i], n_family, &options, &out[i],
                             &columns[m], &resample, err);
        if (!status && resample)
            of[m++] = i;
        else
            an_column_free(&columns[m]);
    }
    if (!status)
        status = an_bootstrap(frame, columns, m, &options, replicates, err);
    for (size_t c = 0; c < m && !status; c++) {
        double *of_column = replicates + c * options.resamples;
        rm_comparison *comparison = &out[of[c]];
        comparison->difference =
            an_interval(frame, &columns[c], AN_MEAN, of_column, options.resamples, options.level);
        comparison->corrected =
            an_interval(frame, &columns[c], AN_MEAN, of_column, options.resamples,
                        1 - (1 - options.level) / (double)n_family);
    }
    for (size_t i = 0; i < n && !status; i++) {
        out[i].difference = an_agreeing(out[i].difference, out[i].p);
        out[i].corrected = an_agreeing(out[i].corrected, out[i].p);
        out[i].equal = rm_verdict_equal(out[i].corrected, options.margin);
    }
    for (size_t c = 0; columns && c < m; c++)
        an_column_free(&columns[c]);
    free(columns);
    free(replicates);
    free(of);
    return status;
}

rm_status an_holm(rm_comparison *comparisons, size_t n, rm_error *err)
{
    double *p = calloc(n + 1, sizeof *p);
    if (!p)
        return rm_fail(err, RM_E_MEMORY, "no memory to adjust %zu p-values", n);
    for (size_t i = 0; i < n; i++)
        p[i] = comparisons[i].p;
    rm_status status = rm_holm(p, n, p, err);
    for (size_t i = 0; i < n && !status; i++)
        comparisons[i].p_holm = p[i];
    free(p);
    return status;
}

static rm_status check_pair(const rm_records *records, int a, int b, rm_error *err)
{
    int limit = (int)records->n_cells;
    if (a < 0 || a >= limit || b < 0 || b >= limit)
        return rm_fail(err, RM_E_ARGUMENT, "a comparison names cells %d and %d of %d", a, b, limit);
    if (strcmp(records->cells[a].task, records->cells[b].task) != 0)
        return rm_fail(err, RM_E_ARGUMENT,
                       "\"%s\" of task %s cannot be compared with \"%s\" of task %s",
                       records->cells[a].label, records->cells[a].task, records->cells[b].label,
                       records->cells[b].task);
    return RM_OK;
}

rm_status rm_compare(const rm_records *records, const int *cells, const int *baselines, size_t n,
                     const rm_analysis_options *given, rm_comparison *out, rm_error *err)
{
    rm_analysis_options options;
    rm_status status = an_options(given, &options, err);
    for (size_t i = 0; i < n && !status; i++)
        status = check_pair(records, cells[i], baselines[i], err);
    for (size_t i = 0, end; i < n && !status; i = end) { /* runs of comparisons of one task */
        const char *task = records->cells[cells[i]].task;
        an_frame *frame = NULL;
        for (end = i + 1; end < n && strcmp(records->cells[cells[end]].task, task) == 0; end++)
            ;
        status = an_frame_new(records, task, &frame, err);
        if (!status)
            status =
                an_compare(frame, cells + i, baselines + i, end - i, n, &options, out + i, err);
        an_frame_free(frame);
    }
    return status ? status : an_holm(out, n, err);
}

/* The corrected interval decides. Holm's steps reject a little more than a simultaneous interval
 * can show: a comparison that only they reject is called borderline, so that no row says one
 * thing by its p and another by its verdict. */
const char *rm_comparison_verdict(const rm_comparison *c, double level)
{
    if (c->corrected.low > 0)
        return "better";
    if (c->corrected.high < 0)
        return "worse";
    if (c->equal == RM_SUPPORTED)
        return "equal";
    return c->p_holm < 1 - level ? "borderline" : "inconclusive";
}

/* ---- the stated claim -------------------------------------------------------------------- */

const char *const rm_direction_names[] = { "none", "higher", "lower", "equal", NULL };

rm_verdict rm_comparison_claim(const rm_comparison *c, const rm_analysis_options *options)
{
    switch (options->direction) {
    case RM_DIRECTION_HIGHER: return rm_verdict_better(c->corrected, +1, options->margin);
    case RM_DIRECTION_LOWER: return rm_verdict_better(c->corrected, -1, options->margin);
    case RM_DIRECTION_EQUAL: return rm_verdict_equal(c->corrected, options->margin);
    default: return RM_INCONCLUSIVE;
    }
}

const char *rm_verdict_name(rm_verdict verdict)
{
    static const char *const names[] = { "inconclusive", "supported", "refuted" };
    return names[verdict];
}
