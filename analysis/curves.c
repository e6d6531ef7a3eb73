/* curves.c - pass@k, maj@k and best-of-k of recorded cells: which candidates may be used, what a
 * vote is weighted or a choice scored by, and the curves over k = 1, 2, 4, ... of the report.
 *
 * The value of a cell is the mean over problems of the expectation over its k-subsets. A problem
 * whose every result failed counts as wrong. */
#include "analysis/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAMES = 8, MAX_POINTS = 40 };

/* The exact majority takes about n k^2 / 2 steps; beyond this many a problem is sampled instead. */
enum { EXACT_STEPS = 1 << 23, EXACT_N = 1000 };

rm_status an_exchangeable(const rm_cell *cell, rm_error *err)
{
    if (cell->exchangeable)
        return RM_OK;
    return rm_fail(err, RM_E_ARGUMENT,
                   "pass@k, maj@k and best-of-k average over subsets of independent draws from one "
                   "distribution; the candidates of \"%s\" (%s) depend on one another",
                   cell->label, cell->strategy);
}

/* ---- one value a problem ----------------------------------------------------------------- */

/* What is computed of every problem. */
typedef struct wanted {
    rm_subset_kind kind;
    const char *by;
    size_t k;
    size_t draws;
    uint64_t seed;
} wanted;

/* Scratch for the largest problem. */
typedef struct scratch {
    size_t *count;
    double *right, *score;
} scratch;

static bool scratch_new(scratch *s, size_t n)
{
    *s = (scratch){ malloc((n + 1) * sizeof *s->count), malloc((n + 1) * sizeof *s->right),
                    malloc((n + 1) * sizeof *s->score) };
    return s->count && s->right && s->score;
}

static void scratch_free(scratch *s)
{
    free(s->count);
    free(s->right);
    free(s->score);
}

/* Logarithm of a candidate's vote weight; a candidate without the number has no weight. */
static double log_weight(const rm_sample *sample, const char *by)
{
    if (!by)
        return 0;
    double x = strcmp(by, "exp(lp)") == 0       ? sample->lp
               : strcmp(by, "exp(lp/len)") == 0 ? an_sample_score(sample, "lp/len")
                                                : log(an_sample_score(sample, by));
    return isnan(x) ? -INFINITY : x;
}

static rm_status problem_value(const an_pool *pool, size_t p, const wanted *w, scratch *s,
                               double *value, double *mc_se, rm_error *err)
{
    size_t first = pool->first[p], n = pool->first[p + 1] - first;
    *mc_se = 0;
    bool exact = n <= EXACT_N && (double)n * (double)w->k * (double)w->k <= EXACT_STEPS;
    if (w->kind == RM_MAJ_AT_K && !w->by && (exact || w->k == n)) {
        size_t n_missing, classes = an_tally(pool, p, s->count, s->right, &n_missing);
        *value = rm_maj_at_k(s->count, s->right, classes, n_missing, w->k);
    } else {
        size_t n_right = 0;
        for (size_t i = 0; i < n; i++) {
            const rm_sample *sample = pool->sample[first + i];
            n_right += sample->correct;
            s->right[i] = sample->correct;
            s->score[i] = w->kind == RM_MAJ_AT_K    ? log_weight(sample, w->by)
                          : w->kind == RM_BEST_OF_K ? an_sample_score(sample, w->by)
                                                    : 0;
        }
        if (w->kind == RM_MAJ_AT_K)
            return an_weighted_maj(pool->answer + first, s->score, s->right, n, w->k, w->draws,
                                   rm_mix(w->seed, p), value, mc_se, err);
        *value = w->kind == RM_PASS_AT_K ? rm_pass_at_k(n, n_right, w->k)
                                         : rm_best_of_k(s->score, s->right, n, w->k);
    }
    if (isnan(*value))
        return rm_fail(err, RM_E_MEMORY, "no memory for the subsets of %zu candidates", n);
    return RM_OK;
}

/* values[n_problems], NaN where the cell has no result; *mc_se of their mean. */
static rm_status pool_values(const an_pool *pool, const wanted *w, double *values, double *mc_se,
                             rm_error *err)
{
    scratch s;
    rm_status status = RM_OK;
    if (!scratch_new(&s, pool->n_max)) {
        status = rm_fail(err, RM_E_MEMORY, "no memory for %zu candidates", pool->n_max);
        goto done;
    }
    double variance = 0;
    size_t present = 0;
    for (size_t p = 0; p < pool->n_groups && !status; p++) {
        double se = 0;
        values[p] = pool->present[p] ? 0 : NAN;
        present += pool->present[p];
        if (pool->first[p + 1] > pool->first[p])
            status = problem_value(pool, p, w, &s, &values[p], &se, err);
        variance += se * se;
    }
    *mc_se = present ? sqrt(variance) / (double)present : 0;
done:
    scratch_free(&s);
    return status;
}

rm_status an_subset_values(const an_frame *frame, int cell_at, rm_subset_kind kind, size_t k,
                           const rm_analysis_options *options, double *values, rm_error *err)
{
    const rm_cell *cell = &frame->records->cells[frame->cell[cell_at]];
    an_pool pool = { 0 };
    double mc_se;
    wanted w = { kind, NULL, k, options->draws, options->seed };
    rm_status status = an_exchangeable(cell, err);
    if (!status)
        status = an_pool_new(frame, cell_at, false, &pool, err);
    if (!status && pool.n_min < k)
        status = rm_fail(err, RM_E_ARGUMENT, "a claim speaks of %zu samples; \"%s\" has a problem "
                         "with %zu", k, cell->label, pool.n_min);
    if (!status)
        status = pool_values(&pool, &w, values, &mc_se, err);
    an_pool_free(&pool);
    return status;
}

/* ---- which scores there are -------------------------------------------------------------- */

/* Whether any candidate has the number, and whether none of them is negative (weights). */
static bool recorded(const an_pool *pool, const char *by, bool *nonnegative)
{
    bool any = false;
    *nonnegative = true;
    for (size_t i = 0; i < pool->first[pool->n_groups]; i++) {
        double x = an_sample_score(pool->sample[i], by);
        any = any || !isnan(x);
        if (x < 0)
            *nonnegative = false;
    }
    return any;
}

/* A share of the votes of n samples says nothing of k of them: what it ranks by in a subset is the
 * subset's own vote, which is maj@k. */
static bool looks_outside(const rm_cell *cell, const char *by)
{
    return cell->relative_score && strcmp(by, "score") == 0;
}

static rm_status check_by(const an_pool *pool, const rm_cell *cell, rm_subset_kind kind,
                          const char *by, rm_error *err)
{
    bool nonnegative;
    if (kind == RM_PASS_AT_K || (kind == RM_MAJ_AT_K && !by)) {
        if (by)
            return rm_fail(err, RM_E_ARGUMENT, "pass@k has no weights; \"%s\" was given", by);
        return RM_OK;
    }
    if (!by)
        return rm_fail(err, RM_E_ARGUMENT, "best-of-k needs the name of a score");
    const char *number = by;
    if (kind == RM_MAJ_AT_K && strcmp(by, "exp(lp)") == 0)
        number = "lp";
    else if (kind == RM_MAJ_AT_K && strcmp(by, "exp(lp/len)") == 0)
        number = "lp/len";
    if (looks_outside(cell, by))
        return rm_fail(err, RM_E_ARGUMENT,
                       "the score of \"%s\" (%s) depends on samples outside the subset; within k "
                       "samples it is their own vote, maj@k",
                       cell->label, cell->strategy);
    if (!recorded(pool, number, &nonnegative))
        return rm_fail(err, RM_E_ARGUMENT, "no candidate of \"%s\" has a recorded \"%s\"",
                       cell->label, number);
    if (kind == RM_MAJ_AT_K && number == by && !nonnegative)
        return rm_fail(err, RM_E_ARGUMENT,
                       "\"%s\" of \"%s\" is negative for some candidate and cannot weight a vote",
                       by, cell->label);
    return RM_OK;
}

rm_status rm_cell_subset(const rm_records *records, int cell, rm_subset_kind kind, const char *by,
                         size_t k, const rm_analysis_options *given, rm_estimate *out,
                         double *mc_se, rm_error *err)
{
    rm_analysis_options options;
    an_frame *frame = NULL;
    an_pool pool = { 0 };
    an_column column = { 0 };
    an_jobs jobs = { 0 };
    double *values = NULL, se = 0;

    rm_status status = an_options(given, &options, err);
    if (!status)
        status = an_frame_of_cell(records, cell, &frame, err);
    if (!status)
        status = an_exchangeable(&records->cells[cell], err);
    if (!status)
        status = an_pool_new(frame, an_frame_find(frame, cell), false, &pool, err);
    if (!status)
        status = check_by(&pool, &records->cells[cell], kind, by, err);
    if (!status && (k < 1 || k > pool.n_min))
        status = rm_fail(err, RM_E_ARGUMENT,
                         "k = %zu: \"%s\" has between %zu and %zu candidates a problem", k,
                         records->cells[cell].label, pool.n_min, pool.n_max);
    if (status)
        goto done;
    values = malloc(frame->n_problems * sizeof *values);
    if (!values) {
        status = rm_fail(err, RM_E_MEMORY, "no memory for %zu problems", frame->n_problems);
        goto done;
    }
    wanted w = { kind, by, k, options.draws, options.seed };
    status = pool_values(&pool, &w, values, &se, err);
    if (!status)
        status = an_column_new(frame, &column, err);
    if (status)
        goto done;
    an_column_from_problems(frame, values, &column);
    status = an_jobs_add(&jobs, &column, AN_SHARE, out, err);
    if (!status)
        status = an_jobs_run(frame, &jobs, &options, err);
    if (!status && mc_se)
        *mc_se = se;
done:
    free(values);
    an_jobs_free(&jobs);
    an_pool_free(&pool);
    an_frame_free(frame);
    return status;
}

/* ---- the curves of the report ------------------------------------------------------------ */

/* Appends a curve for k = 1, 2, 4, ... and n_min; its estimates are filled in by the jobs. */
static rm_status add_curve(const an_frame *frame, const an_pool *pool, rm_subset_kind kind,
                           const char *by, const rm_analysis_options *options,
                           rm_cell_report *report, an_jobs *jobs, double *values, rm_error *err)
{
    rm_subset_curve *curve = &report->curves[report->n_curves++];
    curve->kind = kind;
    curve->by = by ? strdup(by) : NULL;
    curve->k = calloc(MAX_POINTS, sizeof *curve->k);
    curve->value = calloc(MAX_POINTS, sizeof *curve->value);
    curve->mc_se = calloc(MAX_POINTS, sizeof *curve->mc_se);
    if ((by && !curve->by) || !curve->k || !curve->value || !curve->mc_se)
        return rm_fail(err, RM_E_MEMORY, "no memory for a curve");

    rm_status status = RM_OK;
    for (size_t k = 1; !status && curve->n_points < MAX_POINTS; k *= 2) {
        size_t i = curve->n_points++;
        an_column column = { 0 };
        curve->k[i] = k < pool->n_min ? k : pool->n_min;
        wanted w = { kind, by, curve->k[i], options->draws, options->seed };
        status = pool_values(pool, &w, values, &curve->mc_se[i], err);
        if (!status)
            status = an_column_new(frame, &column, err);
        if (status)
            break;
        an_column_from_problems(frame, values, &column);
        status = an_jobs_add(jobs, &column, AN_SHARE, &curve->value[i], err);
        if (k >= pool->n_min)
            break;
    }
    return status;
}

/* Names of the numbers recorded beside the candidates, at most MAX_NAMES, in order of first use. */
static size_t score_names(const an_pool *pool, const char *names[MAX_NAMES])
{
    size_t n = 0;
    for (size_t i = 0; i < pool->first[pool->n_groups]; i++)
        for (size_t s = 0; s < pool->sample[i]->n_scores; s++) {
            const char *name = pool->sample[i]->scores[s].name;
            size_t at = 0;
            while (at < n && strcmp(names[at], name) != 0)
                at++;
            if (at == n && n < MAX_NAMES)
                names[n++] = name;
        }
    return n;
}

rm_status an_curves(const an_frame *frame, int cell_at, const rm_analysis_options *options,
                    rm_cell_report *report, an_jobs *jobs, rm_error *err)
{
    const rm_cell *cell = &frame->records->cells[frame->cell[cell_at]];
    const char *names[3 + MAX_NAMES] = { "lp", "lp/len", "score" };
    an_pool pool = { 0 };
    rm_error why;
    rm_status status = an_pool_new(frame, cell_at, false, &pool, err);
    if (status)
        return status;
    if (an_exchangeable(cell, &why) == RM_OK && pool.n_min < 2)
        rm_fail(&why, RM_E_ARGUMENT, "\"%s\" has a problem with a single candidate", cell->label);
    else if (cell->exchangeable)
        why.text[0] = '\0';

    double *values = malloc(frame->n_problems * sizeof *values);
    report->curves = calloc(2 + 2 * (3 + MAX_NAMES), sizeof *report->curves);
    if (why.text[0])
        report->refusal = strdup(why.text);
    if (!values || !report->curves || (why.text[0] && !report->refusal)) {
        status = rm_fail(err, RM_E_MEMORY, "no memory for the curves of \"%s\"", cell->label);
        goto done;
    }
    if (report->refusal)
        goto done;
    status = add_curve(frame, &pool, RM_PASS_AT_K, NULL, options, report, jobs, values, err);
    if (!status)
        status = add_curve(frame, &pool, RM_MAJ_AT_K, NULL, options, report, jobs, values, err);
    size_t n_names = 3 + score_names(&pool, names + 3);
    for (size_t i = 0; i < n_names && !status; i++) {
        bool nonnegative;
        if (looks_outside(cell, names[i]) || !recorded(&pool, names[i], &nonnegative))
            continue;
        status =
            add_curve(frame, &pool, RM_BEST_OF_K, names[i], options, report, jobs, values, err);
        const char *weight = i == 0 ? "exp(lp)" : i == 1 ? "exp(lp/len)" : names[i];
        if (!status && (i < 2 || nonnegative))
            status =
                add_curve(frame, &pool, RM_MAJ_AT_K, weight, options, report, jobs, values, err);
    }
done:
    free(values);
    an_pool_free(&pool);
    return status;
}
