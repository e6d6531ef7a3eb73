/* internal.h - what the files of analysis/ share. Private to the folder.
 *
 * A frame is one task as the bootstrap sees it: clusters of problems, problems of units. A unit
 * is one (problem, seed): the place where a cell's result stands. Problems are ordered so that
 * the problems of one cluster, and hence its units, are contiguous.
 *
 * A column is one ratio-type statistic of one cell over the units of a frame,
 *
 *     theta = sum_u num[u] / sum_u den[u]                      (den[u] = 0: no data at u)
 *
 * A mean over problems has den[u] = 1/m and num[u] = value/m, where m units of the problem have
 * data, so that every problem weighs the same. All columns of a frame are resampled by the same
 * draws, so that any function of several columns (a difference, a Pareto front) can be formed
 * within a resample. */
#ifndef RM_ANALYSIS_INTERNAL_H
#define RM_ANALYSIS_INTERNAL_H

#include "analysis/analysis.h"

/* ---- frame.c ----------------------------------------------------------------------------- */

typedef struct an_entry {
    size_t unit;
    const rm_result *result;
} an_entry;

typedef struct an_frame {
    const rm_records *records;
    const char *task;
    size_t n_clusters, n_problems, n_units;
    int *problem;          /* [n_problems] index into records->problems */
    size_t *cluster_first; /* [n_clusters + 1] its first problem */
    size_t *problem_first; /* [n_problems + 1] its first unit */
    size_t *unit_problem;  /* [n_units] index into problem */
    size_t n_cells;
    int *cell;          /* [n_cells] cells of the task that have results, in record order */
    size_t *cell_first; /* [n_cells + 1] its first entry */
    an_entry *entries;  /* by cell, then unit; repeats of a unit are adjacent */
    uint16_t *drawn;    /* [n_drawn][n_units] weights of the first resamples, or NULL */
    size_t n_drawn;
} an_frame;

/* The task's frame over all of its results; RM_E_ARGUMENT if it has none. */
rm_status an_frame_new(const rm_records *, const char *task, an_frame **, rm_error *);
void an_frame_free(an_frame *);

/* The frame of the cell's task; RM_E_ARGUMENT if there is no such cell or it has no results. */
rm_status an_frame_of_cell(const rm_records *, int cell, an_frame **, rm_error *);

/* Position of a cell (index into records->cells) in frame->cell; -1 if it has no results. */
int an_frame_find(const an_frame *, int cell);

typedef struct an_column {
    double *num, *den; /* [n_units] */
} an_column;

rm_status an_column_new(const an_frame *, an_column *, rm_error *);
void an_column_free(an_column *);

/* Mean over problems of `value` (NaN: skip), first averaged over the repeats of a unit. */
typedef double an_result_value(const rm_result *, const rm_cell *);
void an_column_mean(const an_frame *, int cell_at, an_result_value *, an_column *);

/* Mean over problems of one value a problem (NaN: none), spread over the problem's units. */
void an_column_from_problems(const an_frame *, const double *value, an_column *);

/* Ratio of the sums over problems of two result values, each averaged over repeats and seeds;
 * results where either is NaN are skipped. */
void an_column_ratio(const an_frame *, int cell_at, an_result_value *num, an_result_value *den,
                     an_column *);

/* The problem's own num/den, NaN without data. */
double an_column_problem(const an_frame *, const an_column *, size_t problem);

double an_column_value(const an_frame *, const an_column *);    /* theta */
size_t an_column_problems(const an_frame *, const an_column *); /* with data */

/* Accuracy of one result (quantity.c). */
double an_result_accuracy(const rm_result *, const rm_cell *);
double an_result_latency(const rm_result *, const rm_cell *); /* NaN unless latency timing */
double an_result_ttft(const rm_result *, const rm_cell *);    /* the same */

/* The column of a ratio-type quantity; *has is false for quantiles and diversity. */
rm_status an_quantity_column(const an_frame *, int cell_at, rm_quantity, an_column *, bool *has,
                             rm_error *);

/* Whether a quantity is a quantile, and of what. */
bool an_quantity_quantile(rm_quantity, an_result_value **value, double *q);

/* ---- bootstrap.c ------------------------------------------------------------------------- */

/* Fills in defaults and checks ranges. NULL stands for all defaults. */
rm_status an_options(const rm_analysis_options *, rm_analysis_options *, rm_error *);

/* A stream of uniform integers, four 32-bit draws a Philox block. Scaling 32 bits favours an index
 * below n by at most n / 2^32, which it would take 2^32 / n resamples to notice. */
typedef struct an_stream {
    uint32_t key[2], counter[4], block[4];
    unsigned used;
} an_stream;

static inline an_stream an_stream_start(uint64_t seed, uint32_t purpose, size_t index)
{
    return (an_stream){
        { (uint32_t)seed, (uint32_t)(seed >> 32) }, { purpose, 0, (uint32_t)index, 0 }, { 0 }, 4
    };
}

static inline size_t an_draw(an_stream *s, size_t n)
{
    if (s->used == 4) {
        rm_philox(s->counter, s->key, s->block);
        s->counter[3]++;
        s->used = 0;
    }
    return (size_t)((uint64_t)s->block[s->used++] * n >> 32);
}

/* Weight of every unit in resample r: how often it was drawn. */
void an_resample(const an_frame *, const rm_analysis_options *, size_t r, double *weight);

/* Keeps the weights of all resamples in the frame, unless they are too many: drawing them costs
 * more than using them, and a task uses them hundreds of times. The options must stay the same. */
void an_frame_draw(an_frame *, const rm_analysis_options *);

/* replicates[c * resamples + r] = theta of column c in resample r; NaN where it has no data. */
rm_status an_bootstrap(const an_frame *, const an_column *, size_t n_columns,
                       const rm_analysis_options *, double *replicates, rm_error *);

typedef enum an_kind { AN_MEAN, AN_SHARE } an_kind;

/* A column whose interval is wanted; gathered so that many columns share one bootstrap. */
typedef struct an_job {
    an_column column; /* owned by the job once it is in a list */
    an_kind kind;
    rm_estimate *out;
} an_job;

typedef struct an_jobs {
    an_job *job;
    size_t n;
} an_jobs;

rm_status an_jobs_add(an_jobs *, an_column *, an_kind, rm_estimate *out, rm_error *);
rm_status an_jobs_run(const an_frame *, const an_jobs *, const rm_analysis_options *, rm_error *);
void an_jobs_free(an_jobs *);
/* Hands the column of a job that has been run over to the caller; false if there is none. */
bool an_jobs_take(an_jobs *, const rm_estimate *out, an_column *);

/* Interval of one column from its replicates (sorted in place). Shares that get a Wilson interval
 * and constants need none: an_needs_replicates tells. */
bool an_needs_replicates(const an_frame *, const an_column *, an_kind);
rm_estimate an_interval(const an_frame *, const an_column *, an_kind, double *replicates, size_t n,
                        double level);

/* Sums of a column over one cluster. */
void an_cluster_sums(const an_frame *, const an_column *, size_t cluster, double *num, double *den);

/* BCa interval from sorted replicates: sets low, high and method. */
void an_bca(const double *sorted, size_t n, double theta, double acceleration, double level,
            rm_estimate *);

/* ---- derived.c: statistics that are functions of several columns --------------------------- */

/* Values, replicates and jackknife of n columns, from which any function of them gets an interval.
 * A row that is no mean or ratio (a quantile) has no jackknife: NaN. */
typedef struct an_bundle {
    size_t n, resamples, n_clusters;
    double *value;      /* [n] */
    double *replicates; /* [n][resamples] */
    double *jackknife;  /* [n][n_clusters] without that cluster */
} an_bundle;

rm_status an_bundle_new(const an_frame *, const an_column *, size_t n, const rm_analysis_options *,
                        an_bundle *, rm_error *);
/* Row `at` holds the quantile of a cell from now on. */
rm_status an_bundle_quantile(const an_frame *, an_bundle *, size_t at, int cell_at,
                             an_result_value *, double q, const rm_analysis_options *, rm_error *);
void an_bundle_free(an_bundle *);

/* Most values that a function takes. */
enum { AN_MAX_ARGUMENTS = 256 };

/* theta = f(x), x the values of the rows `member`; NaN where it is not defined. */
typedef double an_function(const double *x, size_t n, const void *context);

/* BCa interval of f(the rows `member`; NULL: the first n); bias-corrected only where a row has no
 * jackknife. `problems` is what the estimate says it rests on. */
rm_status an_derive(const an_bundle *, const size_t *member, size_t n, an_function *,
                    const void *context, size_t problems, double level, rm_estimate *, rm_error *);

/* The same of a statistic that may be infinite (outside the range that was measured): percentiles
 * of the replicates, infinities among them, and the share of them that is finite. */
rm_status an_derive_censored(const an_bundle *, const size_t *member, size_t n, an_function *,
                             const void *context, size_t problems, double level, rm_estimate *,
                             double *finite, rm_error *);

/* Only the problems for which all columns have data keep theirs; how many these are. */
size_t an_columns_common(const an_frame *, an_column *, size_t n);

/* A copy of a column. */
rm_status an_column_copy(const an_frame *, const an_column *, an_column *, rm_error *);

/* ---- quantile.c -------------------------------------------------------------------------- */

/* Measurements of one cell, sorted by value; a problem's weights sum to 1. */
typedef struct an_measurements {
    size_t n;
    double *value, *weight;
    size_t *unit;
    bool single; /* one measurement a problem, one problem a cluster */
} an_measurements;

rm_status an_measure(const an_frame *, int cell_at, an_result_value *, an_measurements *,
                     rm_error *);
void an_measurements_free(an_measurements *);
double an_measured_quantile(const an_measurements *, double q, const double *unit_weight);
rm_status an_quantile_replicates(const an_frame *, const an_measurements *, double q,
                                 const rm_analysis_options *, double *replicates, rm_error *);
rm_status an_quantile(const an_frame *, int cell_at, an_result_value *, double q,
                      const rm_analysis_options *, rm_estimate *, rm_error *);
void an_order_ranks(size_t n, double q, double level, size_t *low, size_t *high);

/* ---- pool.c ------------------------------------------------------------------------------ */

/* The candidates of one cell in groups: all of a problem's (exchangeable cells, seeds pooled), or
 * those of one unit. Of several results of a unit the first that has candidates counts. */
typedef struct an_pool {
    size_t n_groups;
    size_t *first;            /* [n_groups + 1] */
    const rm_sample **sample; /* [first[n_groups]] */
    int *answer;              /* class of the answer within the group, -1: missing */
    bool *present;            /* [n_groups] the cell has results for it, perhaps failed ones */
    size_t n_min, n_max;      /* fewest and most candidates of a group that has any; 0 if none */
} an_pool;

rm_status an_pool_new(const an_frame *, int cell_at, bool by_unit, an_pool *, rm_error *);
void an_pool_free(an_pool *);

/* A candidate's score by name: "lp", "lp/len", "score" or a recorded one; NaN if it has none. */
double an_sample_score(const rm_sample *, const char *by);

/* Counts of every answer class of a group and their mean correctness; arrays as long as the group
 * has candidates (right may be NULL). Returns the number of classes. */
size_t an_tally(const an_pool *, size_t group, size_t *count, double *right, size_t *n_missing);

/* ---- subset.c, curves.c, diversity.c, paired.c, calibration.c, pareto.c ------------------ */

rm_status an_curves(const an_frame *, int cell_at, const rm_analysis_options *, rm_cell_report *,
                    an_jobs *, rm_error *);
rm_status an_exchangeable(const rm_cell *, rm_error *);
/* pass@k or maj@k of each problem, NaN where the cell has no result. */
rm_status an_subset_values(const an_frame *, int cell_at, rm_subset_kind, size_t k,
                           const rm_analysis_options *, double *values, rm_error *);

/* rm_weighted_maj_at_k with log-weights (-INFINITY: no weight), which exp(lp) of a long text
 * needs; arguments are not checked. */
rm_status an_weighted_maj(const int *answer, const double *log_weight, const double *right,
                          size_t n, size_t k, size_t draws, uint64_t seed, double *value,
                          double *mc_se, rm_error *);

/* Does any text of the task have whitespace? Then its texts are compared by words, else by
 * characters. */
bool an_texts_have_words(const an_frame *);

/* Diversity of one cell, one value a problem (NaN: none):
 * values[quantity - RM_Q_DISTINCT_ANSWERS][n_problems]. */
enum { AN_N_DIVERSITY = RM_N_QUANTITIES - RM_Q_DISTINCT_ANSWERS };
rm_status an_diversity_new(const an_frame *, int cell_at, const rm_analysis_options *,
                           double *values[AN_N_DIVERSITY], rm_error *);
void an_diversity_free(double *values[AN_N_DIVERSITY]);

rm_status an_compare(const an_frame *, const int *cells, const int *baselines, size_t n,
                     size_t n_family, const rm_analysis_options *, rm_comparison *out, rm_error *);
rm_status an_holm(rm_comparison *, size_t n, rm_error *);

/* Calibration of the vote share; *has is false if no result chose among several candidates. */
rm_status an_calibration(const an_frame *, int cell_at, const rm_analysis_options *,
                         rm_calibration *, bool *has, rm_error *);

/* ---- scaling.c, crossing.c, area.c, trend.c, tuning.c -------------------------------------- */

/* The columns of a cell's curves, which outlive its report for what is computed from them. */
typedef struct an_kept {
    const rm_subset_curve *pass, *maj; /* in the cell's report; NULL: none */
    an_column *pass_column, *maj_column; /* [n_points] */
} an_kept;
void an_kept_free(an_kept *, size_t n);

/* Position in the frame of the cell's baseline, by the rule in rm_analysis_options (analyze.c). */
int an_baseline_of(const an_frame *, int at, const char *label);
/* Position in the frame of the cell with that label, -1 if the task has none. */
int an_cell_named(const an_frame *, const char *label);

rm_status an_scaling(const an_frame *, const an_kept *, const rm_analysis_options *, rm_scaling *,
                     rm_error *);
rm_status an_crossings(const an_frame *, const an_kept *, const rm_analysis_options *,
                       rm_task_report *, rm_error *);
rm_status an_areas(const an_frame *, const rm_analysis_options *, rm_task_report *, rm_error *);
rm_status an_trends(const an_frame *, const rm_analysis_options *, rm_task_report *, rm_error *);
rm_status an_tunings(const an_frame *, const rm_analysis_options *, rm_task_report *, rm_error *);

/* One trend, and two families at equal budgets, at the level of m statements together; n and value
 * stay 0 and NaN without data. */
rm_status an_trend_alone(const an_frame *, const rm_family *, rm_quantity, size_t m,
                         const rm_analysis_options *, rm_trend *, rm_error *);
rm_status an_area_alone(const an_frame *, int cost, const rm_family *a, const rm_family *b, size_t m,
                        const rm_analysis_options *, const rm_task_report *, rm_area_pair *,
                        rm_error *);
rm_status an_claims(const an_frame *, const rm_analysis_options *, rm_task_report *, rm_error *);

/* Verifier, oracle or neither (pareto.c). */
rm_front_class an_class_of(const rm_cell *);

/* An interval reaches to 0 where the test of its level does not reject it (paired.c). */
rm_estimate an_agreeing(rm_estimate, double p);

rm_status an_fronts(const an_frame *, const rm_analysis_options *, rm_task_report *, rm_error *);

#endif
