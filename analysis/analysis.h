/* analysis.h - floor 1: statistics on the records of a run. Knows neither engine nor strategies.
 *
 * Records.  rm_records is what a run left behind, in memory: cells, problems, results (one per
 *           cell, problem, seed and repeat) and their samples (the recorded candidates). The
 *           caller fills it through rm_records_* and frees it; all strings are copied in.
 * Missing.  A quantity that was not measured is NaN; an estimator without data returns an
 *           error or NaN, never 0.
 * Random.   Resampling is seeded: equal records and options give equal numbers.
 * Repeats.  A problem weighs the same whatever its number of seeds and repeats: results of one
 *           cell, problem and seed are averaged first, then the seeds of the problem. */
#ifndef RM_ANALYSIS_H
#define RM_ANALYSIS_H

#include "base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- records ----------------------------------------------------------------------------- */

typedef enum rm_timing { RM_TIMING_THROUGHPUT, RM_TIMING_LATENCY, RM_TIMING_NONE } rm_timing;

/* One model x task x strategy x parameters; the unit that figures and tables compare. Seeds are
 * repetitions of a cell, not cells. */
typedef struct rm_cell {
    char *model; /* name, or names joined by " + " */
    char *task;
    char *strategy;
    char *params;      /* canonical JSON object of every parameter, defaults included */
    char *label;       /* short, unique within the task: "self-consistency n=16" */
    char *family;      /* what a curve joins: model and strategy and the parameters not swept */
    double size;       /* the swept size: samples, beams, simulations; NaN if there is none */
    char *size_name;   /* the parameter `size` came from, e.g. "num_return_sequences"; or NULL */
    bool exchangeable; /* candidates are independent draws from one distribution */
    bool relative_score; /* a sample's `score` depends on the other samples (a share of votes), so
                          * that it means nothing in a subset of them */
    bool verifier;     /* an exact verifier took part: never on one front with the others */
    bool oracle;       /* the reference answer took part: an upper bound */
} rm_cell;

typedef struct rm_problem_key {
    char *task;
    char *id;      /* canonical, unique within the task */
    char *cluster; /* problems of one source belong together; NULL: the problem itself */
    char *level;   /* difficulty as the task names it, or NULL */
} rm_problem_key;

typedef struct rm_named_score {
    char *name;
    double value;
} rm_named_score;

/* Texts that are compared, of one problem's candidates. */
enum { RM_MOST_TEXTS = 16 };

/* One recorded candidate. */
typedef struct rm_sample {
    char *text;   /* may be NULL, and beyond the first RM_MOST_TEXTS of an outcome nobody asks */
    char *answer; /* canonical form; NULL: none could be extracted */
    bool correct;
    bool truncated; /* a length limit ended it */
    uint32_t n_tokens;
    double lp;              /* sum of the raw model's natural-log probabilities; NaN unknown */
    double lp_sampling;     /* the same under the distribution that was sampled from */
    double score;           /* the strategy's own score; NaN if it has none */
    rm_named_score *scores; /* [n_scores] further scores by name */
    size_t n_scores;
} rm_sample;

/* What a cell returned for one problem under one seed. */
typedef struct rm_result {
    int cell, problem; /* indices into the records */
    uint64_t seed;
    int repeat; /* 0 for throughput mode; repeats of latency mode count from 0 */
    rm_timing timing;
    bool failed;        /* the strategy ended with an error; counts as wrong */
    bool correct;       /* of the chosen answer */
    int chosen;         /* index into samples, -1 if none */
    rm_sample *samples; /* [n_samples] */
    size_t n_samples;
    rm_cost cost;
} rm_result;

typedef struct rm_records {
    rm_cell *cells;
    size_t n_cells;
    rm_problem_key *problems;
    size_t n_problems;
    rm_result *results;
    size_t n_results;
    size_t n_missing; /* results that the run has still to record; set by who fills this in */
    char *replayed_on; /* NULL, or the model whose FLOPs, bytes and times these are; malloc'd */
} rm_records;

/* Append a copy; the index of the new entry is *index (may be NULL). NULL params become "{}", a
 * NULL family the label; model, task, strategy, label and a problem's id must be there, indices
 * in range, and a result's cell and problem of one task (RM_E_ARGUMENT otherwise). */
RM_API rm_status rm_records_add_cell(rm_records *, const rm_cell *, int *index, rm_error *);
RM_API rm_status rm_records_add_problem(rm_records *, const rm_problem_key *, int *index,
                                        rm_error *);
RM_API rm_status rm_records_add_result(rm_records *, const rm_result *, int *index, rm_error *);

/* Appends all of `from`, so that cells of several runs can be compared: problems are matched by
 * task and id, cells stay apart and get the label "prefix: label" (prefix NULL: unchanged). On
 * failure `into` may hold a part of `from`: free it. */
RM_API rm_status rm_records_append(rm_records *into, const rm_records *from, const char *prefix,
                                   rm_error *);

/* Index of the cell of that task with that label, -1 if there is none. */
RM_API int rm_records_find_cell(const rm_records *, const char *task, const char *label);

/* Appends what must be said with any number of these records: that they are of an unfinished run (what
 * finishes first is no random part), that costs are another model's. It goes on from "this run is".
 * False, and nothing appended, if there is nothing to say. */
RM_API bool rm_records_caveat(const rm_records *, rm_text *);

RM_API void rm_records_free(rm_records *); /* frees the content and zeroes; not the struct */

/* ---- intervals --------------------------------------------------------------------------- */

/* A point estimate with an interval of the given level; `method` names how, in words a paper
 * can use ("Wilson", "BCa bootstrap over problems"). Without data: value NaN, n 0. A value
 * without an interval (a single problem): low and high NaN. */
typedef struct rm_estimate {
    double value, low, high;
    double level;       /* e.g. 0.95 */
    size_t n;           /* problems behind it */
    const char *method; /* static string */
} rm_estimate;

/* Two cells by their labels, stated to be compared: a against b. */
typedef struct rm_label_pair {
    const char *a, *b;
} rm_label_pair;

/* What an experiment claims, before it runs, of the first cell of each comparison: that its
 * accuracy is higher than, lower than, or (within the margin) equal to the second one's. */
typedef enum rm_direction {
    RM_DIRECTION_NONE, /* nothing: verdicts look both ways */
    RM_DIRECTION_HIGHER,
    RM_DIRECTION_LOWER,
    RM_DIRECTION_EQUAL /* needs a margin */
} rm_direction;

RM_API extern const char *const rm_direction_names[]; /* "none", "higher", ...; NULL-terminated */

/* What a claim compares (claims.c has the definitions). */
typedef enum rm_claim_kind { RM_CLAIM_DIFFERENCE, RM_CLAIM_TREND, RM_CLAIM_BUDGET } rm_claim_kind;
typedef enum rm_measure {
    RM_MEASURE_ACCURACY,
    RM_MEASURE_CHOSEN_LP,    /* log-probability of the chosen candidate */
    RM_MEASURE_LENGTH,       /* mean tokens of the candidates, ... */
    RM_MEASURE_LENGTH_RIGHT, /* ... of the right ones, on problems that have any, ... */
    RM_MEASURE_LENGTH_WRONG, /* ... of the wrong ones */
    RM_MEASURE_PASS_AT_K,
    RM_MEASURE_MAJ_AT_K
} rm_measure;
RM_API extern const char *const rm_claim_kind_names[]; /* "compare", "trend", "budget", NULL */
RM_API extern const char *const rm_measure_names[];    /* "accuracy", ...; NULL-terminated */

/* One claim of an experiment, stated before it runs. Trends are of accuracy or chosen_lp, budgets
 * of accuracy. */
/* theta = measure of a less the same of b; less pass@1 of b, one of its samples; or the measure of a
 * itself (b is then a, and a verdict says nothing). */
typedef enum rm_against { RM_AGAINST_MEASURE, RM_AGAINST_ONE_SAMPLE, RM_AGAINST_NOTHING } rm_against;

typedef struct rm_claim {
    const char *text;      /* in words */
    rm_claim_kind kind;
    rm_measure measure;
    const char *a;         /* label of a cell, or name of a family: its largest cell; of trends and
                            * budgets a family, all of it */
    const char *const *b;  /* [n_b] what a is compared with; none for a trend */
    size_t n_b;
    const char *chosen_on; /* task on which the most accurate of b is chosen; NULL with one b */
    int cost;              /* budget: an rm_quantity */
    size_t k;              /* pass@k, maj@k; 0: the largest that both pools have */
    rm_against against;    /* of a difference: what of b is taken off */
    rm_direction direction;/* of a against b */
    double margin;         /* in the unit of the measure */
} rm_claim;

/* How everything below resamples. Zero-initialise for the defaults. */
typedef struct rm_analysis_options {
    double level;         /* of the intervals; 0: 0.95 */
    size_t resamples;     /* of the bootstrap and of a Monte Carlo permutation test; 0: 4,000 */
    size_t draws;         /* subsets a problem where no exact expectation is known; 0: 200 */
    uint64_t seed;        /* of all resampling */
    bool resample_seeds;  /* second bootstrap level: also draw among the seeds of each problem.
                           * Off, a problem is drawn with all its seeds; see bootstrap.c for why
                           * that is the better default. */
    size_t diversity_k;   /* candidates a problem that diversity is computed for; 0: 4 */
    const char *baseline; /* label that comparisons are made against; NULL: the model's greedy
                           * cell, else the first greedy cell, else the first cell of the task */
    double margin;        /* delta of the verdicts, in accuracy; 0: none is stated */
    rm_direction direction; /* of the claim that comparisons are judged by */
    double power;         /* of the minimum detectable effect; 0: 0.8 */
    const rm_label_pair *pairs; /* [n_pairs] stated comparisons: in each task a family of their
                           * own, beside every cell against its baseline */
    size_t n_pairs;
    const rm_claim *claims; /* [n_claims] in each task that has what they speak of a family of
                             * their own */
    size_t n_claims;
} rm_analysis_options;

/* Wilson's score interval for a proportion (proportion.c). successes may be fractional. */
RM_API rm_estimate rm_wilson(double successes, double n, double level);

/* ---- what is measured of a cell ---------------------------------------------------------- */

/* Everything a table or an axis can show of one cell. Each is a mean (or ratio, or quantile)
 * over problems, each problem weighing the same whatever its number of seeds and repeats. */
typedef enum rm_quantity {
    /* shares */
    RM_Q_ACCURACY,  /* of the chosen answers; a cell that chose none: of all candidates */
    RM_Q_MISSING,   /* candidates without an extractable answer */
    RM_Q_TRUNCATED, /* candidates cut by a length limit */
    RM_Q_FAILED,    /* results that ended with an error (they count as wrong) */
    /* means of the cost account */
    RM_Q_CANDIDATES,
    RM_Q_PROMPT_TOKENS,
    RM_Q_GENERATED_TOKENS,
    RM_Q_EVALUATED_TOKENS,
    RM_Q_SHARED_TOKENS,
    RM_Q_ROUNDS,
    RM_Q_FLOPS,
    RM_Q_WEIGHT_BYTES,
    RM_Q_KV_BYTES,
    RM_Q_KV_PEAK,
    RM_Q_ENERGY_J,
    /* cost of one correct answer: ratio of the sums */
    RM_Q_TOKENS_PER_CORRECT, /* generated tokens */
    RM_Q_FLOPS_PER_CORRECT,
    /* of generated tokens */
    RM_Q_TOKENS_P50,
    RM_Q_TOKENS_P95,
    /* mean log-probability of the chosen candidate under the model, nats: what a search for the
     * likeliest sequence tries to raise */
    RM_Q_CHOSEN_LP,
    /* latency, from results of latency timing only */
    RM_Q_LATENCY_MEAN_MS,
    RM_Q_LATENCY_P50_MS,
    RM_Q_LATENCY_P95_MS,
    RM_Q_TTFT_P50_MS,
    RM_Q_TTFT_P95_MS,
    /* throughput, from results of throughput timing only */
    RM_Q_TOKENS_PER_S, /* generated tokens over machine time, wall / (1 + load) */
    RM_Q_LOAD,         /* other problems in flight */
    /* diversity of k = diversity_k candidates of one problem, over the problems that have so many:
     * the expectation over k-subsets if they are exchangeable, else the k first recorded; texts
     * are compared for k <= 16 */
    RM_Q_DISTINCT_ANSWERS,
    RM_Q_ANSWER_ENTROPY, /* nats */
    RM_Q_DISTINCT_1,     /* distinct words (or characters, if no text of the task has a space) over
                            all */
    RM_Q_DISTINCT_2,     /* the same of pairs of them */
    RM_Q_EDIT_DISTANCE,  /* normalised, mean over pairs */
    RM_Q_SELF_BLEU,      /* BLEU-4 of a candidate against the others; high: alike */
    RM_N_QUANTITIES
} rm_quantity;

typedef struct rm_quantity_info {
    const char *name;  /* key in JSON and CSV: "generated_tokens" */
    const char *title; /* for axes and table heads: "generated tokens" */
    const char *unit;  /* "ms", "bytes", "nats"; "" for shares and counts */
    bool share;        /* lies in [0, 1], usually shown in percent */
    bool higher_is_better;
} rm_quantity_info;

RM_API const rm_quantity_info *rm_quantity_describe(rm_quantity); /* static table */

/* One quantity of one cell with its interval. RM_OK with value NaN where nothing was measured;
 * RM_E_ARGUMENT for a bad index or option, and for diversity at a k that the cell cannot give. */
RM_API rm_status rm_cell_quantity(const rm_records *, int cell, rm_quantity,
                                  const rm_analysis_options *, rm_estimate *, rm_error *);

/* ---- expectations over subsets of exchangeable candidates (subset.c) --------------------- */

typedef enum rm_subset_kind {
    RM_PASS_AT_K, /* some candidate of the subset is correct */
    RM_MAJ_AT_K,  /* the subset's (weighted) vote is correct */
    RM_BEST_OF_K  /* the subset's best-scored candidate is correct */
} rm_subset_kind;

/* Names of `by`, the weight of a vote or the score of best-of-k: for votes NULL (one each),
 * "exp(lp)", "exp(lp/len)", "score" or the name of a recorded score; for best-of-k "lp",
 * "lp/len", "score" or the name of a recorded score; for pass@k NULL. "score" is refused where it
 * depends on the samples outside the subset (relative_score). */

/* pass@k = 1 - C(n-c,k)/C(n,k) for c correct ones among n (Chen et al. 2021, arXiv:2107.03374,
 * eq. 1); NaN unless 1 <= k <= n and c <= n. */
RM_API double rm_pass_at_k(size_t n, size_t c, size_t k);

/* Exact expectation of the majority vote over all k-subsets: count[a] candidates gave answer a,
 * right[a] is its correctness (1, 0, or a share), n_missing gave none; each of m tied answers
 * wins 1/m; a missing answer wins only if all lack one, and is wrong. NaN unless 1 <= k <= n or
 * without memory. Exact to rounding for n <= 1,000. */
RM_API double rm_maj_at_k(const size_t *count, const double *right, size_t n_answers,
                          size_t n_missing, size_t k);

/* Exact expectation of best-of-k over n scored candidates; right[i] is the correctness of
 * candidate i; tied scores share their places; NaN scores rank below all others. NaN unless
 * 1 <= k <= n or without memory. */
RM_API double rm_best_of_k(const double *score, const double *right, size_t n, size_t k);

/* Expectation of the weighted vote over k-subsets: answer[i] is a class in [0, n) or -1 (missing),
 * weight[i] >= 0. Exact by enumeration if there are at most `draws` subsets (*mc_se is then 0),
 * otherwise the mean of `draws` random ones, with *mc_se its standard error. */
RM_API rm_status rm_weighted_maj_at_k(const int *answer, const double *weight, const double *right,
                                      size_t n, size_t k, size_t draws, uint64_t seed,
                                      double *value, double *mc_se, rm_error *);

/* The same of a cell, mean over problems, its candidates of all seeds pooled. RM_E_ARGUMENT with
 * the reason if the candidates are not exchangeable, if a problem has fewer than k, or if `by`
 * was not recorded. The plain vote is exact up to n k^2 = 2^23, so for 256 candidates at any k up
 * to 128. *mc_se (may be NULL): standard error from drawing subsets, 0 if exact. */
RM_API rm_status rm_cell_subset(const rm_records *, int cell, rm_subset_kind, const char *by,
                                size_t k, const rm_analysis_options *, rm_estimate *, double *mc_se,
                                rm_error *);

/* ---- comparisons (paired.c) -------------------------------------------------------------- */

typedef enum rm_verdict { RM_INCONCLUSIVE, RM_SUPPORTED, RM_REFUTED } rm_verdict;

/* Two cells on the problems that both worked on; difference = accuracy(a) - accuracy(b). */
typedef struct rm_comparison {
    int a, b;                      /* cells */
    size_t n;                      /* common problems */
    double accuracy_a, accuracy_b; /* on the common problems */
    double only_a, only_b;  /* problems that only one solved (sums of shares with several seeds) */
    rm_estimate difference; /* at the stated level, for this comparison alone */
    rm_estimate corrected;  /* at level 1 - (1 - level)/n_family: all of the family at once; it
                             * decides. Both reach to 0 where p is not below 1 - their level */
    double p;               /* two-sided */
    double p_holm;          /* Holm-adjusted within the family */
    size_t n_family;        /* comparisons in the family */
    const char *test;  /* "exact McNemar", "sign-flip permutation, exact", "..., Monte Carlo" */
    double sd;         /* of the per-problem differences */
    double detectable; /* smallest true difference found with the stated power at this n */
    double needed;     /* problems that a true difference of `margin` needs; NaN: none stated */
    rm_verdict equal;  /* corrected interval inside +-margin; inconclusive if none is stated */
} rm_comparison;

/* Exact two-sided McNemar test: b and c discordant pairs, binomial(b + c, 1/2). */
RM_API double rm_mcnemar(size_t b, size_t c);

/* Two-sided sign-flip permutation test of mean(d) = 0: exact over all 2^m sign patterns of the m
 * nonzero d if m <= 16 (*exact true), otherwise (b+1)/(resamples+1) from random ones. */
RM_API double rm_sign_flip(const double *d, size_t n, size_t resamples, uint64_t seed, bool *exact);

/* Newcombe's score interval for a paired difference from the 2x2 table, whose entries may be
 * fractional. */
RM_API rm_estimate rm_newcombe_paired(double both, double only_a, double only_b, double neither,
                                      double level);

/* Holm's step-down adjustment of n p-values; adjusted may be p. RM_E_MEMORY only. */
RM_API rm_status rm_holm(const double *p, size_t n, double *adjusted, rm_error *);

/* Compares cells[i] with baselines[i], i < n, as one family. out[n]. RM_E_ARGUMENT if a pair has
 * no common problem or is of two tasks. */
RM_API rm_status rm_compare(const rm_records *, const int *cells, const int *baselines, size_t n,
                            const rm_analysis_options *, rm_comparison *out, rm_error *);

/* The verdict as tables say it: "better" or "worse" where the corrected interval lies beyond 0,
 * "equal" where it lies inside the margin, "borderline" where only the Holm-adjusted p is below
 * 1 - level, "inconclusive". Static strings. */
RM_API const char *rm_comparison_verdict(const rm_comparison *, double level);

/* What a comparison says of the stated claim, by its corrected interval and options->margin
 * (rm_verdict_better, rm_verdict_equal). Inconclusive if no direction is stated. */
RM_API rm_verdict rm_comparison_claim(const rm_comparison *, const rm_analysis_options *);
RM_API const char *rm_verdict_name(rm_verdict); /* "inconclusive", "supported", "refuted" */

/* "a beats b" (direction +1) or "b beats a" (-1): supported if the interval lies beyond 0 in that
 * direction, else refuted if it excludes a difference of `margin` in it. */
RM_API rm_verdict rm_verdict_better(rm_estimate difference, int direction, double margin);

/* "a equals b": supported if the interval lies inside +-margin, refuted if outside of it. */
RM_API rm_verdict rm_verdict_equal(rm_estimate difference, double margin);

/* Smallest true difference that a two-sided paired z-test of the given level finds with the given
 * power on n problems whose differences have standard deviation sd. */
RM_API double rm_detectable(double sd, double n, double level, double power);

/* The problems that the same test needs for a true difference; NaN if none is asked for. */
RM_API double rm_problems_needed(double sd, double difference, double level, double power);

/* ---- quantiles (quantile.c) -------------------------------------------------------------- */

/* q-quantile of independent values with the order-statistic interval (binomial, distribution-
 * free). An end that n values cannot give is -INFINITY or INFINITY. */
RM_API rm_status rm_quantile(const double *values, size_t n, double q, double level, rm_estimate *,
                             rm_error *);

/* ---- diversity of texts and answers (diversity.c) ---------------------------------------- */

/* Expected number of distinct answers among k of n = sum(count) candidates, and the expected
 * plug-in entropy (nats) of k of them; NaN unless 1 <= k <= n. */
RM_API double rm_distinct_at_k(const size_t *count, size_t n_answers, size_t k);
RM_API double rm_entropy_at_k(const size_t *count, size_t n_answers, size_t k);

/* Levenshtein distance of two sequences of symbols. *failed is set without memory. */
RM_API size_t rm_edit_distance(const uint64_t *a, size_t n_a, const uint64_t *b, size_t n_b,
                               bool *failed);

/* ---- calibration (calibration.c) --------------------------------------------------------- */

enum { RM_RELIABILITY_BINS = 10 };

typedef struct rm_reliability_bin {
    double low, high; /* confidences in (low, high]; the first bin includes 0 */
    size_t n;
    double confidence;    /* mean; NaN if n is 0 */
    rm_estimate accuracy; /* Wilson */
} rm_reliability_bin;

typedef struct rm_calibration {
    size_t n;
    rm_estimate ece; /* expected calibration error, 10 equal bins; plug-in, biased upwards */
    rm_estimate brier;
    rm_reliability_bin bins[RM_RELIABILITY_BINS];
} rm_calibration;

/* n results with a confidence in [0, 1] each; cluster[i] (may be NULL: all apart) is what the
 * bootstrap draws. */
RM_API rm_status rm_calibrate(const double *confidence, const double *correct, const int *cluster,
                              size_t n, const rm_analysis_options *, rm_calibration *, rm_error *);

/* Confidence of each result of a cell = share of its candidates that gave the chosen answer. */
RM_API rm_status rm_cell_calibration(const rm_records *, int cell, const rm_analysis_options *,
                                     rm_calibration *, rm_error *);

/* ---- coverage as a law of the number of samples (scaling.c) ------------------------------ */

/* pass@k = exp(-a k^-b): a is how far one sample falls short (a = -ln pass@1), b how fast samples
 * close the gap. A description of the measured range, with its error; no promise beyond it. */
typedef struct rm_scaling {
    size_t n_points; /* of the curve; 0: no fit */
    rm_estimate a, b;
    double rmse; /* root mean square distance of the points from the law, in coverage */
} rm_scaling;

/* `method` of a and b where so few problems are unsolved at the largest k, or solved at the first,
 * that the intervals are too narrow. */
RM_API extern const char RM_FEW_UNSOLVED[], RM_FEW_SOLVED[];

/* Least squares in coverage over n points k[i] >= 1, coverage[i] in [0, 1]. *fit.a.value and
 * *fit.b.value are set, without intervals. False, with both NaN, where nothing determines the law:
 * fewer than 3 different k, or coverage that is 0 or 1 everywhere. */
RM_API bool rm_fit_coverage(const double *k, const double *coverage, size_t n, rm_scaling *fit);

/* ---- curves against each other (crossing.c, area.c) -------------------------------------- */

/* Where b overtakes a and stays ahead up to the end of the range that both curves have, each a
 * line through its points, straight in ln x; x > 0 ascending. -INFINITY where b leads throughout,
 * INFINITY where b is not ahead at the end, NaN without a common range. */
RM_API double rm_overtakes(const double *x_a, const double *y_a, size_t n_a, const double *x_b,
                           const double *y_b, size_t n_b);

/* Mean of y over [low, high] on a log scale: the area under the line through the n points (x > 0
 * ascending, straight in ln x, level beyond its ends), over ln(high / low). NaN unless
 * 0 < low < high and n > 0. */
RM_API double rm_log_area(const double *x, const double *y, size_t n, double low, double high);

/* A crossing is as uncertain as the curves: it is found again in every resample of the problems.
 * `at.value` follows rm_overtakes; an end of the interval outside the measured range is infinite,
 * and `inside` is the share of the resamples that cross within it. */

/* Two pools of samples: from which k on has `ahead` the better pass@k (or maj@k) than `behind`? */
typedef struct rm_crossing {
    rm_subset_kind kind;
    int behind, ahead; /* indices into task->cells; `ahead` leads at the largest k */
    size_t k_most;     /* largest k that both pools have */
    rm_estimate at;    /* k */
    double inside;
} rm_crossing;

/* How many samples of a pool equal one pass of another cell: the k from which pass@k (or maj@k)
 * of the pool exceeds the cell's accuracy. */
typedef struct rm_equal_passes {
    rm_subset_kind kind;
    int pool, cell; /* indices into task->cells */
    size_t k_most;
    rm_estimate at; /* k */
    double inside;
} rm_equal_passes;

/* Accuracy of a family over the logarithm of a cost, averaged over its own range of it. */
typedef struct rm_area {
    int family; /* index into task->families */
    rm_quantity cost;
    double low, high;
    rm_estimate accuracy;
} rm_area;

/* Two families over the range of cost that both have. */
typedef struct rm_area_pair {
    int a, b; /* indices into task->families; a has the larger area */
    rm_quantity cost;
    double low, high;
    rm_estimate difference; /* of the two areas, a - b, at the stated level for this pair alone */
    rm_estimate overtakes;  /* cost from which the one that leads at `high` stays ahead */
    bool a_ahead;           /* at `high`: a overtakes b, else b overtakes a */
    double inside;
} rm_area_pair;

/* ---- trends (trend.c) -------------------------------------------------------------------- */

/* Accuracy (or the chosen answers' log-probability) along the sizes of one family. */
typedef struct rm_trend {
    int family; /* index into task->families */
    rm_quantity quantity;
    size_t n_sizes, n;     /* sizes; problems that have all of them */
    rm_estimate slope;     /* change per doubling of the size, mean over problems */
    rm_estimate corrected; /* the same at the level of all trends together; it decides */
    double p, p_holm;      /* permutation test within problems, two-sided */
    size_t n_family;       /* trends of this quantity in the task */
} rm_trend;

/* Two-sided permutation test of a linear trend within blocks: x[block * n_sizes + i] at the score
 * score[i]. Monte Carlo, (b + 1)/(resamples + 1). NaN without memory or blocks, or if the scores
 * are all equal. *z (may be NULL): the statistic over its standard deviation under the
 * permutations. */
RM_API double rm_trend_test(const double *x, size_t n_blocks, const double *score, size_t n_sizes,
                            size_t resamples, uint64_t seed, double *z);

/* "rises" or "falls" where the corrected interval lies beyond 0, "borderline" where only the
 * Holm-adjusted p is below 1 - level, "no trend shown". Static strings. */
RM_API const char *rm_trend_verdict(const rm_trend *, double level);

/* ---- equal tuning (tuning.c) ------------------------------------------------------------- */

/* Expected test[i] of the one with the best tuning[i] among m of n configurations, over all
 * m-subsets; tied ones share their places. NaN unless 1 <= m <= n or without memory. */
RM_API double rm_best_of_m(const double *tuning, const double *test, size_t n, size_t m);

/* The configurations of one strategy with one model, tuned on one half of the problems and tested
 * on the other, averaged over random halves. */
typedef struct rm_tuning {
    size_t n;           /* configurations */
    int *reports;       /* [n] indices into task->cells */
    rm_estimate *value; /* [n] expected test accuracy of the best of m = 1 .. n */
} rm_tuning;

/* Two of them at equal tuning: the best of m of either. */
typedef struct rm_tuning_pair {
    int a, b; /* indices into task->tunings; a is the better one */
    size_t m;
    rm_estimate difference; /* a - b, at the stated level for this pair alone */
} rm_tuning_pair;

/* ---- the whole analysis (analyze.c) ------------------------------------------------------ */

/* One curve of an expectation over k for one exchangeable cell. */
typedef struct rm_subset_curve {
    rm_subset_kind kind;
    char *by; /* as above; NULL: none */
    size_t n_points;
    size_t *k;          /* [n_points] 1, 2, 4, ... and the largest k all problems have */
    rm_estimate *value; /* [n_points] */
    double *mc_se;      /* [n_points] 0 where exact */
} rm_subset_curve;

typedef struct rm_cell_report {
    int cell; /* index into records->cells */
    size_t n_problems, n_results, n_seeds;
    rm_estimate quantities[RM_N_QUANTITIES];
    size_t n_curves;
    rm_subset_curve *curves; /* of exchangeable cells with several candidates */
    char *refusal;           /* why there are no curves; NULL if there are any */
    rm_scaling scaling;      /* of its pass@k */
    bool calibrated;         /* several candidates, so a vote share exists */
    rm_calibration calibration;
} rm_cell_report;

/* Cells that a line joins: one family, by ascending size. */
typedef struct rm_family {
    const char *name;      /* lives in the records */
    const char *size_name; /* may be NULL */
    size_t n;
    int *reports; /* [n] indices into task->cells */
} rm_family;

/* One Pareto front per cost axis and class of cells. Cells that used an exact verifier or the
 * oracle form fronts of their own. */
typedef enum rm_front_class { RM_FRONT_PLAIN, RM_FRONT_VERIFIER, RM_FRONT_ORACLE } rm_front_class;

typedef struct rm_front_point {
    int report; /* index into task->cells */
    double cost, accuracy;
    bool on_front;
    double probability; /* share of the resamples in which it is on the front */
} rm_front_point;

typedef struct rm_front {
    rm_quantity cost; /* median latency, generated tokens, evaluated tokens or FLOPs */
    rm_front_class class_;
    size_t n;
    rm_front_point *points; /* [n] by ascending cost */
} rm_front;

/* What became of a claim in a task. */
typedef struct rm_claim_report {
    const rm_claim *claim; /* of the options */
    const char *b;         /* what a was compared with, NULL if nothing could be chosen */
    size_t k;              /* of pass@k and maj@k, else 0 */
    double low, high;      /* budget: range of the cost that both have */
    rm_estimate theta;     /* at the level of the whole family of claims; it decides */
    double p;              /* of this claim alone; NaN where there is no test but the interval */
    const char *test;
    size_t n_family;
    rm_verdict verdict;
} rm_claim_report;

typedef struct rm_task_report {
    const char *task; /* lives in the records */
    size_t n_problems, n_clusters;
    const char *text_unit; /* what diversity takes texts for: "words" or "characters" */
    size_t n_cells;
    rm_cell_report *cells;
    size_t n_families;
    rm_family *families;
    size_t n_comparisons;
    rm_comparison *comparisons; /* every cell against its baseline: one family */
    size_t n_pairs;
    rm_comparison *pairs;       /* the stated pairs of this task: a family of their own */
    size_t n_fronts;
    rm_front *fronts;
    size_t n_trends;
    rm_trend *trends; /* of every family of at least three sizes */
    size_t n_areas;
    rm_area *areas;
    size_t n_area_pairs;
    rm_area_pair *area_pairs; /* of every two families whose costs overlap */
    size_t n_crossings;
    rm_crossing *crossings; /* of every two pools: the largest of each family */
    size_t n_passes;
    rm_equal_passes *passes; /* pools against their baseline, single samples of other models and
                              * the stated pairs */
    size_t n_tunings;
    rm_tuning *tunings; /* of strategies with at least two configurations */
    size_t n_tuning_pairs;
    rm_tuning_pair *tuning_pairs;
    size_t n_claims;
    rm_claim_report *claims;
} rm_task_report;

typedef struct rm_analysis {
    const rm_records *records;   /* borrowed: must outlive the analysis */
    rm_analysis_options options; /* with the defaults filled in; `baseline` and `pairs` are
                                  * borrowed too */
    size_t n_tasks;
    rm_task_report *tasks;
} rm_analysis;

/* Analyses all cells that have results. Frees with rm_analysis_free (accepts NULL). */
RM_API rm_status rm_analyze(const rm_records *, const rm_analysis_options *, rm_analysis **out,
                            rm_error *);
RM_API void rm_analysis_free(rm_analysis *);

/* Report of a cell (index into records->cells), NULL if it has no results. */
RM_API const rm_cell_report *rm_analysis_cell(const rm_analysis *, int cell);

/* Appends a sentence with the verdict, the claim, and the number that decided it. */
RM_API void rm_claim_sentence(const rm_claim_report *, rm_text *);

/* Appends one JSON object. Numbers that are not finite are written as null. */
RM_API rm_status rm_analysis_json(const rm_analysis *, rm_text *, rm_error *);

/* Pareto front of n points: on_front[i] = no other point has cost <= and accuracy >= with one of
 * them strict. A NaN point is never on the front. */
RM_API void rm_pareto(const double *cost, const double *accuracy, size_t n, bool *on_front);

#ifdef __cplusplus
}
#endif
#endif
