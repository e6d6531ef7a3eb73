/* subset.c - what k of n recorded candidates would have given, averaged over all k-subsets.
 *
 * "The first k" of a recorded list is one subset of many and needlessly noisy; the mean over all
 * of them is the minimum-variance unbiased estimate for k fresh draws, provided that the n are
 * exchangeable.
 *
 *   pass@k     1 - C(n-c, k)/C(n, k)                               Chen et al. 2021, eq. 1
 *   best-of-k  sum_j right_(j) C(j-1, k-1)/C(n, k), j the ascending rank of the score: the subset
 *              consists of item j and k-1 of the j-1 below it
 *   maj@k      sum over v, the winner's number of votes, of the subsets in which t answers have v
 *              votes and all others fewer, times the mean correctness of the t; counted by
 *              polynomials in z (votes) whose coefficient of z^i is C(n_a, i)
 *   weighted   by enumeration if the subsets are few, else by random ones
 *
 * All sums have positive terms only, so nothing cancels; the error is that of rounding. */
#include "analysis/internal.h"

#include <gsl/gsl_sf_gamma.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EXACT_N = 1000 }; /* C(1000, 500) = 2.7e299 still fits a double */

double rm_pass_at_k(size_t n, size_t c, size_t k)
{
    if (k < 1 || k > n || c > n)
        return NAN;
    if (n - c < k)
        return 1;
    double none = 1; /* C(n-c, k)/C(n, k) = prod_{i=n-c+1}^{n} (1 - k/i) */
    for (size_t i = n - c + 1; i <= n; i++)
        none *= 1 - (double)k / (double)i;
    return 1 - none;
}

/* ---- best of k --------------------------------------------------------------------------- */

typedef struct scored {
    double score, right;
} scored;

static int by_score(const void *left, const void *right)
{
    double a = ((const scored *)left)->score, b = ((const scored *)right)->score;
    if (isnan(a) || isnan(b))
        return isnan(b) - isnan(a);
    return (a > b) - (a < b);
}

double rm_best_of_k(const double *score, const double *right, size_t n, size_t k)
{
    if (k < 1 || k > n)
        return NAN;
    scored *item = malloc(n * sizeof *item);
    if (!item)
        return NAN;
    for (size_t i = 0; i < n; i++)
        item[i] = (scored){ score[i], right[i] };
    qsort(item, n, sizeof *item, by_score);

    /* within(m) = C(m, k)/C(n, k), the share of the subsets that lie among the m lowest; downwards
     * from within(n) = 1 by within(m-1) = within(m) (m-k)/m. A group of tied scores on ranks
     * m'+1 .. m wins with within(m) - within(m'), and its items share that. */
    double value = 0, within = 1;
    for (size_t m = n; m >= k;) {
        double right_sum = 0, below = within;
        size_t low = m;
        do {
            low--;
            right_sum += item[low].right;
            below *= low + 1 > k ? (double)(low + 1 - k) / (double)(low + 1) : 0;
        } while (low > 0 && by_score(&item[low - 1], &item[m - 1]) == 0);
        value += (within - below) * right_sum / (double)(m - low);
        within = below;
        m = low;
    }
    free(item);
    return value;
}

/* ---- majority of k ----------------------------------------------------------------------- */

/* The vote of all n. */
static double whole_vote(const size_t *count, const double *right, size_t n_answers)
{
    size_t most = 0, tied = 0;
    double sum = 0;
    for (size_t a = 0; a < n_answers; a++) {
        if (count[a] > most) {
            most = count[a];
            tied = 0;
            sum = 0;
        }
        if (count[a] == most && most > 0) {
            tied++;
            sum += right[a];
        }
    }
    return tied ? sum / (double)tied : 0;
}

/* Tables over (t, j): t answers have exactly v votes so far, j votes are spent.
 *   ways  = number of choices;  won = sum over the choices of the correctness of those t. */
typedef struct ballots {
    size_t k, v;
    double *ways, *won, *next_ways, *next_won; /* [k/v + 1][k + 1] each */
    double *choose;                            /* [k + 1] C(n_a, i) */
} ballots;

/* Multiplies the tables by one answer that n of the candidates gave, n >= v. */
static void ballots_add(ballots *b, size_t n, double right)
{
    size_t k = b->k, v = b->v, width = k + 1, rows = k / v + 1;
    memset(b->next_ways, 0, rows * width * sizeof(double));
    memset(b->next_won, 0, rows * width * sizeof(double));
    b->choose[0] = 1;
    for (size_t i = 1; i <= v; i++)
        b->choose[i] = b->choose[i - 1] * (double)(n - i + 1) / (double)i;
    for (size_t t = 0; t < rows; t++)
        for (size_t j = t * v; j <= k; j++) {
            double ways = b->ways[t * width + j], won = b->won[t * width + j];
            if (ways == 0)
                continue;
            double *to_ways = b->next_ways + t * width + j, *to_won = b->next_won + t * width + j;
            for (size_t i = 0; i < v && j + i <= k; i++) {
                to_ways[i] += ways * b->choose[i];
                to_won[i] += won * b->choose[i];
            }
            if (j + v <= k) { /* then t + 1 <= k/v, so the row exists */
                to_ways[width + v] += ways * b->choose[v];
                to_won[width + v] += (won + right * ways) * b->choose[v];
            }
        }
    double *swap = b->ways;
    b->ways = b->next_ways;
    b->next_ways = swap;
    swap = b->won;
    b->won = b->next_won;
    b->next_won = swap;
}

/* Correctness summed over the k-subsets whose winner has exactly v votes. Answers that fewer than
 * v candidates gave cannot interfere: they and the missing are one heap to choose the rest from. */
static double won_with(ballots *b, const size_t *count, const double *right, size_t n_answers,
                       size_t n_missing)
{
    size_t k = b->k, v = b->v, width = k + 1, heap = n_missing;
    memset(b->ways, 0, (k / v + 1) * width * sizeof(double));
    memset(b->won, 0, (k / v + 1) * width * sizeof(double));
    b->ways[0] = 1;
    for (size_t a = 0; a < n_answers; a++)
        if (count[a] >= v)
            ballots_add(b, count[a], right[a]);
        else
            heap += count[a];

    double sum = 0;
    for (size_t t = 1; t <= k / v; t++) {
        double rest = 1; /* C(heap, k - j), j downwards from k */
        for (size_t left = 0; left <= k - t * v && left <= heap; left++) {
            sum += b->won[t * width + k - left] / (double)t * rest;
            rest *= (double)(heap - left) / (double)(left + 1);
        }
    }
    return sum;
}

double rm_maj_at_k(const size_t *count, const double *right, size_t n_answers, size_t n_missing,
                   size_t k)
{
    size_t n = n_missing, most = 0;
    bool any_right = false;
    for (size_t a = 0; a < n_answers; a++) {
        n += count[a];
        most = count[a] > most ? count[a] : most;
        any_right = any_right || right[a] > 0;
    }
    if (k < 1 || k > n)
        return NAN;
    if (!any_right)
        return 0;
    if (k == n)
        return whole_vote(count, right, n_answers);
    if (n > MAX_EXACT_N)
        return NAN;

    size_t cells = (k + 1) * (k + 1);
    double *memory = malloc((4 * cells + k + 1) * sizeof *memory);
    if (!memory)
        return NAN;
    ballots b = {
        k, 1, memory, memory + cells, memory + 2 * cells, memory + 3 * cells, memory + 4 * cells
    };
    double sum = 0;
    for (b.v = 1; b.v <= k && b.v <= most; b.v++)
        sum += won_with(&b, count, right, n_answers, n_missing);
    free(memory);
    return fmin(1, sum / gsl_sf_choose((unsigned)n, (unsigned)k));
}

/* ---- weighted majority of k -------------------------------------------------------------- */

typedef struct electorate {
    const int *answer; /* class or -1 */
    const double *log_weight;
    const double *right;
    size_t n, n_classes;
    double *weight;   /* [n] exp(log_weight - largest) */
    double *sum;      /* [n_classes] scratch */
    double *right_of; /* [n_classes] mean correctness */
} electorate;

/* Weighted vote of the subset. Weights are relative to the largest of all n; a subset whose own
 * weights all underflow is counted again relative to its own largest. */
static double weighted_vote(const electorate *e, const size_t *subset, size_t k)
{
    double base = -INFINITY;
    for (int attempt = 0; attempt < 2; attempt++) {
        double most = 0, largest = -INFINITY;
        bool answered = false;
        for (size_t i = 0; i < k; i++)
            if (e->answer[subset[i]] >= 0)
                e->sum[e->answer[subset[i]]] = 0;
        for (size_t i = 0; i < k; i++) {
            int category = e->answer[subset[i]];
            if (category < 0)
                continue;
            answered = true;
            double l = e->log_weight[subset[i]];
            largest = fmax(largest, l);
            e->sum[category] += attempt == 0        ? e->weight[subset[i]]
                                : base == -INFINITY ? 0
                                                    : exp(l - base);
            most = fmax(most, e->sum[category]);
        }
        if (!answered)
            return 0;
        if (attempt == 0 && most < 1e-200) {
            base = largest;
            continue;
        }
        /* Every class of the subset once: its sum is marked by -1 when it has been counted. */
        double tied = 0, right = 0;
        for (size_t i = 0; i < k; i++) {
            int category = e->answer[subset[i]];
            if (category < 0 || e->sum[category] < most * (1 - 1e-12) || e->sum[category] < 0)
                continue;
            tied++;
            right += e->right_of[category];
            e->sum[category] = -1;
        }
        return right / tied;
    }
    return 0; /* not reached: the second attempt returns */
}

/* Next k-subset of 0..n-1 in lexicographic order; false after the last. */
static bool next_subset(size_t *subset, size_t n, size_t k)
{
    size_t i = k;
    while (i > 0 && subset[i - 1] == n - k + i - 1)
        i--;
    if (i == 0)
        return false;
    subset[i - 1]++;
    for (; i < k; i++)
        subset[i] = subset[i - 1] + 1;
    return true;
}

static void enumerate(const electorate *e, size_t *subset, size_t k, double *value)
{
    double sum = 0, n = 0;
    for (size_t i = 0; i < k; i++)
        subset[i] = i;
    do {
        sum += weighted_vote(e, subset, k);
        n++;
    } while (next_subset(subset, e->n, k));
    *value = sum / n;
}

static void draw_subsets(const electorate *e, size_t *subset, size_t k, size_t draws, uint64_t seed,
                         double *value, double *mc_se)
{
    static const uint32_t purpose = 0x73756273; /* "subs" */
    double mean = 0, square = 0;
    for (size_t i = 0; i < e->n; i++)
        subset[i] = i;
    for (size_t d = 0; d < draws; d++) {
        an_stream s = an_stream_start(seed, purpose, d);
        for (size_t i = 0; i < k; i++) { /* the first k places of a random permutation */
            size_t j = i + an_draw(&s, e->n - i);
            size_t swap = subset[i];
            subset[i] = subset[j];
            subset[j] = swap;
        }
        double x = weighted_vote(e, subset, k), delta = x - mean;
        mean += delta / (double)(d + 1);
        square += delta * (x - mean);
    }
    *value = mean;
    *mc_se = sqrt(square / (double)(draws - 1) / (double)draws);
}

rm_status an_weighted_maj(const int *answer, const double *log_weight, const double *right,
                          size_t n, size_t k, size_t draws, uint64_t seed, double *value,
                          double *mc_se, rm_error *err)
{
    electorate e = { .answer = answer, .log_weight = log_weight, .right = right, .n = n };
    double largest = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (answer[i] >= 0 && (size_t)answer[i] >= e.n_classes)
            e.n_classes = (size_t)answer[i] + 1;
        largest = fmax(largest, log_weight[i]);
    }
    rm_status status = RM_OK;
    size_t *subset = malloc(n * sizeof *subset);
    e.weight = malloc(n * sizeof *e.weight);
    e.sum = calloc(e.n_classes + 1, sizeof *e.sum);
    e.right_of = calloc(e.n_classes + 1, sizeof *e.right_of);
    if (!subset || !e.weight || !e.sum || !e.right_of) {
        status = rm_fail(err, RM_E_MEMORY, "no memory for a vote of %zu candidates", n);
        goto done;
    }
    for (size_t i = 0; i < n; i++) { /* e.sum counts the members for a moment */
        e.weight[i] = log_weight[i] == -INFINITY ? 0 : exp(log_weight[i] - largest);
        if (answer[i] >= 0) {
            e.sum[answer[i]] += 1;
            e.right_of[answer[i]] += right[i];
        }
    }
    for (size_t a = 0; a < e.n_classes; a++)
        if (e.sum[a] > 0)
            e.right_of[a] /= e.sum[a];
    *mc_se = 0;
    if (gsl_sf_lnchoose((unsigned)n, (unsigned)k) <= log((double)draws) + 1e-9)
        enumerate(&e, subset, k, value);
    else
        draw_subsets(&e, subset, k, draws, seed, value, mc_se);
done:
    free(subset);
    free(e.weight);
    free(e.sum);
    free(e.right_of);
    return status;
}

rm_status rm_weighted_maj_at_k(const int *answer, const double *weight, const double *right,
                               size_t n, size_t k, size_t draws, uint64_t seed, double *value,
                               double *mc_se, rm_error *err)
{
    if (k < 1 || k > n || n > UINT32_MAX / 2 || draws < 2)
        return rm_fail(err, RM_E_ARGUMENT,
                       "a vote needs 1 <= k <= n and at least 2 draws, not k = %zu, n = %zu, "
                       "draws = %zu",
                       k, n, draws);
    double *log_weight = malloc(n * sizeof *log_weight);
    if (!log_weight)
        return rm_fail(err, RM_E_MEMORY, "no memory for a vote of %zu candidates", n);
    rm_status status = RM_OK;
    for (size_t i = 0; i < n && !status; i++) {
        if (!(weight[i] >= 0) || isinf(weight[i]) || answer[i] < -1 ||
            (answer[i] >= 0 && (size_t)answer[i] >= n))
            status = rm_fail(err, RM_E_ARGUMENT,
                             "candidate %zu has weight %g and answer class %d; a finite weight "
                             ">= 0 and a class in [-1, %zu) were expected",
                             i, weight[i], answer[i], n);
        log_weight[i] = log(weight[i]);
    }
    if (!status)
        status = an_weighted_maj(answer, log_weight, right, n, k, draws, seed, value, mc_se, err);
    free(log_weight);
    return status;
}
