/* test_subset.c - pass@k, maj@k and best-of-k against enumerations of all subsets, against hand
 * calculations, and against a simulated model whose answer distribution is known. */
#include "tests/analysis/simulate.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- the oracle: walk through all k-subsets of n candidates as bit masks ----------------- */

typedef struct bag {
    int n, answer[16]; /* class or -1 */
    double right[16], score[16], weight[16];
} bag;

typedef double judge(const bag *, unsigned subset);

static double any_right(const bag *b, unsigned subset)
{
    for (int i = 0; i < b->n; i++)
        if (subset >> i & 1 && b->right[i] > 0)
            return 1;
    return 0;
}

/* Weighted vote; tied answers share; missing answers lose unless there is nothing else. */
static double vote(const bag *b, unsigned subset)
{
    double sum[16] = { 0 }, right[16] = { 0 }, most = -1, tied = 0, won = 0;
    bool there[16] = { false };
    for (int i = 0; i < b->n; i++)
        if (subset >> i & 1 && b->answer[i] >= 0) {
            sum[b->answer[i]] += b->weight[i];
            right[b->answer[i]] = b->right[i];
            there[b->answer[i]] = true;
        }
    for (int a = 0; a < 16; a++) {
        if (!there[a])
            continue;
        if (sum[a] > most + 1e-9) {
            most = sum[a];
            tied = won = 0;
        }
        if (fabs(sum[a] - most) <= 1e-9) {
            tied++;
            won += right[a];
        }
    }
    return tied > 0 ? won / tied : 0;
}

static double best(const bag *b, unsigned subset)
{
    double top = -INFINITY, tied = 0, won = 0;
    bool scored = false;
    for (int i = 0; i < b->n; i++)
        if (subset >> i & 1 && !isnan(b->score[i]))
            scored = true;
    for (int i = 0; i < b->n; i++) {
        if (!(subset >> i & 1) || (scored && isnan(b->score[i])))
            continue;
        double s = scored ? b->score[i] : 0;
        if (s > top) {
            top = s;
            tied = won = 0;
        }
        if (s == top) {
            tied++;
            won += b->right[i];
        }
    }
    return won / tied;
}

static double enumerate(const bag *b, int k, judge *judge_subset)
{
    double sum = 0, n = 0;
    for (unsigned subset = 0; subset < 1u << b->n; subset++)
        if (__builtin_popcount(subset) == k) {
            sum += judge_subset(b, subset);
            n++;
        }
    return sum / n;
}

/* Class 0 is right, 1..4 wrong; scores from a few values so that ties are common, some missing. */
static bag random_bag(sim_source *s, bool unit_weights)
{
    bag b = { .n = 1 + (int)(10 * sim_unit(s)) };
    sim_answers a = { .right = sim_unit(s) * 0.7, .missing = 0.2, .n_wrong = 4 };
    for (int i = 0; i < b.n; i++) {
        b.answer[i] = sim_draw(&a, s);
        b.right[i] = b.answer[i] == 0;
        b.score[i] = sim_unit(s) < 0.15 ? NAN : floor(4 * sim_unit(s));
        b.weight[i] = unit_weights ? 1 : floor(3 * sim_unit(s)); /* zeros and ties included */
    }
    return b;
}

Test(subset, equals_the_enumeration_of_all_subsets)
{
    sim_source s = { 7, 1, 0 };
    for (int trial = 0; trial < 300; trial++) {
        bag b = random_bag(&s, true);
        size_t count[16] = { 0 }, n_right = 0, n_missing = 0;
        double right[16] = { 1 };
        for (int i = 0; i < b.n; i++) {
            n_right += b.right[i] > 0;
            if (b.answer[i] >= 0)
                count[b.answer[i]]++;
            else
                n_missing++;
        }
        for (int k = 1; k <= b.n; k++) {
            size_t n = (size_t)b.n, kk = (size_t)k;
            cr_assert_float_eq(rm_pass_at_k(n, n_right, kk), enumerate(&b, k, any_right), 1e-12);
            cr_assert_float_eq(rm_maj_at_k(count, right, 5, n_missing, kk), enumerate(&b, k, vote),
                               1e-12, "trial %d k %d", trial, k);
            cr_assert_float_eq(rm_best_of_k(b.score, b.right, n, kk), enumerate(&b, k, best), 1e-12,
                               "trial %d k %d", trial, k);
        }
    }
}

Test(subset, weighted_vote_equals_the_enumeration)
{
    sim_source s = { 7, 2, 0 };
    for (int trial = 0; trial < 300; trial++) {
        bag b = random_bag(&s, false);
        if (b.n < 5) /* classes go up to 4 and must lie below n */
            continue;
        for (int k = 1; k <= b.n; k++) {
            double value, se;
            cr_assert_eq(rm_weighted_maj_at_k(b.answer, b.weight, b.right, (size_t)b.n, (size_t)k,
                                              1000, 1, &value, &se, NULL),
                         RM_OK);
            cr_assert_eq(se, 0); /* at most C(10, 5) = 252 subsets: exact */
            cr_assert_float_eq(value, enumerate(&b, k, vote), 1e-12, "trial %d k %d", trial, k);
        }
    }
}

/* With few draws the same vote is a Monte Carlo mean; over many bags its error is standard. */
Test(subset, monte_carlo_error_is_as_stated)
{
    sim_source s = { 7, 3, 0 };
    double chi2 = 0, n = 0;
    for (int trial = 0; trial < 400; trial++) {
        bag b = random_bag(&s, false);
        if (b.n < 8)
            continue;
        double value, se, exact = enumerate(&b, 4, vote);
        cr_assert_eq(rm_weighted_maj_at_k(b.answer, b.weight, b.right, (size_t)b.n, 4, 60,
                                          (uint64_t)trial, &value, &se, NULL),
                     RM_OK);
        if (se == 0) /* all 60 draws agreed */
            continue;
        chi2 += (value - exact) * (value - exact) / (se * se);
        n++;
    }
    /* Mean of n squared t-like deviates: 1.03 expected with 59 degrees of freedom, sd sqrt(2/n). */
    cr_assert(n > 80);
    cr_assert_float_eq(chi2 / n, 1.03, 5 * 1.5 * sqrt(2 / n), "mean square deviation %g", chi2 / n);
}

/* ---- hand calculations ------------------------------------------------------------------- */

static const struct {
    size_t n, c, k;
    double value;
} pass[] = {
    { 5, 2, 1, 2.0 / 5 },
    { 5, 2, 2, 1 - 3.0 / 10 },    /* C(3,2)/C(5,2) */
    { 10, 3, 5, 1 - 21.0 / 252 }, /* C(7,5)/C(10,5) */
    { 5, 2, 4, 1 },
    { 5, 0, 3, 0 },
    { 200, 1, 100, 0.5 }, /* one right among 200: in half of the halves */
    { 3, 3, 3, 1 },
};

Test(subset, pass_at_k_by_hand)
{
    for (size_t i = 0; i < sizeof pass / sizeof *pass; i++)
        cr_assert_float_eq(rm_pass_at_k(pass[i].n, pass[i].c, pass[i].k), pass[i].value, 1e-13);
    cr_assert(isnan(rm_pass_at_k(5, 2, 6)));
    cr_assert(isnan(rm_pass_at_k(5, 2, 0)));
    cr_assert(isnan(rm_pass_at_k(5, 6, 2)));
}

static const struct {
    size_t count[4], n_answers, n_missing, k;
    double right[4], value;
} majority[] = {
    { { 3, 2 }, 2, 0, 1, { 1, 0 }, 3.0 / 5 },
    /* pairs of 5: both right 3, mixed 6 (half each), both wrong 1: (3 + 3)/10 = maj@1 */
    { { 3, 2 }, 2, 0, 2, { 1, 0 }, 3.0 / 5 },
    /* triples: 3 right 1, 2:1 3*2 = 6, 1:2 3: 7/10 */
    { { 3, 2 }, 2, 0, 3, { 1, 0 }, 7.0 / 10 },
    /* a missing answer never outvotes: {r, -} is right; pairs of (1 right, 2 missing): 2 of 3 */
    { { 1 }, 1, 2, 2, { 1 }, 2.0 / 3 },
    /* three answers, one each, k = 3: a third */
    { { 1, 1, 1 }, 3, 0, 3, { 0, 1, 0 }, 1.0 / 3 },
    /* a class whose members were judged differently counts by its share */
    { { 4 }, 1, 0, 2, { 0.25 }, 0.25 },
    { { 0, 2 }, 2, 1, 2, { 1, 0 }, 0 },
};

Test(subset, majority_by_hand)
{
    for (size_t i = 0; i < sizeof majority / sizeof *majority; i++)
        cr_assert_float_eq(rm_maj_at_k(majority[i].count, majority[i].right, majority[i].n_answers,
                                       majority[i].n_missing, majority[i].k),
                           majority[i].value, 1e-14, "row %zu", i);
}

/* maj@2 = maj@1 whatever the answers, if none is missing: of two, a tie gives each one half. */
Test(subset, two_votes_are_worth_one)
{
    sim_source s = { 7, 4, 0 };
    for (int trial = 0; trial < 50; trial++) {
        size_t count[3];
        double right[3] = { 1, 0, 0 };
        for (int a = 0; a < 3; a++)
            count[a] = 1 + (size_t)(40 * sim_unit(&s));
        cr_assert_float_eq(rm_maj_at_k(count, right, 3, 0, 1), rm_maj_at_k(count, right, 3, 0, 2),
                           1e-13);
    }
}

/* Large pools: 600 candidates, half the subsets' winner known by symmetry. */
Test(subset, majority_of_a_large_pool_is_symmetric)
{
    size_t count[] = { 200, 200, 200 };
    for (int a = 0; a < 3; a++) {
        double right[3] = { 0 };
        right[a] = 1;
        cr_assert_float_eq(rm_maj_at_k(count, right, 3, 0, 64), 1.0 / 3, 1e-12);
    }
}

/* lp far below what exp() holds must not turn all weights into zeros. */
Test(subset, log_weights_do_not_underflow)
{
    rm_records r = { 0 };
    int cell = sim_cell(&r, "t", "long", "sampling", 4, true);
    int problem = sim_problem(&r, "t", 0, NULL);
    char right[] = "right", wrong[] = "wrong";
    rm_sample samples[] = {
        { .answer = wrong, .lp = -10, .n_tokens = 1 },
        { .answer = wrong, .lp = -9000, .n_tokens = 1 },
        { .answer = right, .lp = -8000, .correct = true, .n_tokens = 1 },
    };
    rm_result result = { .cell = cell, .problem = problem, .samples = samples, .n_samples = 3 };
    cr_assert_eq(rm_records_add_result(&r, &result, NULL, NULL), RM_OK);
    rm_estimate e;
    double se;
    cr_assert_eq(rm_cell_subset(&r, cell, RM_MAJ_AT_K, "exp(lp)", 2, NULL, &e, &se, NULL), RM_OK);
    cr_assert_float_eq(e.value, 1.0 / 3, 1e-12); /* of the pairs, only {-9000, -8000} is right */
    cr_assert_eq(se, 0);
    rm_records_free(&r);
}

/* ---- the simulated model as oracle ------------------------------------------------------- */

/* Population value of the majority of k draws: all compositions of k over right, two wrong answers
 * and missing, each with its multinomial probability. */
static double population_majority(const sim_answers *a, int k)
{
    double wrong = (1 - a->right - a->missing) / 2, sum = 0;
    for (int r = 0; r <= k; r++)
        for (int x = 0; r + x <= k; x++)
            for (int y = 0; r + x + y <= k; y++) {
                int m = k - r - x - y, most = r > x ? r : x;
                most = most > y ? most : y;
                if (r == 0 || r < most)
                    continue;
                double p = exp(lgamma(k + 1) - lgamma(r + 1) - lgamma(x + 1) - lgamma(y + 1) -
                               lgamma(m + 1)) *
                           pow(a->right, r) * pow(wrong, x + y) * pow(a->missing, m);
                sum += p / (1 + (x == most) + (y == most));
            }
    return sum;
}

/* Score ~ uniform + 0.5 if right: population best-of-k by integrating the density of the maximum,
 * k f(s) F(s)^(k-1), over the right ones' density (Simpson, 3,000 steps). */
static double population_best(double right, int k)
{
    const int steps = 3000;
    double sum = 0;
    for (int i = 0; i <= steps; i++) {
        double s = 0.5 + (double)i / steps; /* scores of right candidates lie in [0.5, 1.5] */
        double below = right * (s - 0.5) + (1 - right) * fmin(s, 1);
        double weight = i == 0 || i == steps ? 1 : i % 2 ? 4 : 2;
        sum += weight * k * right * pow(below, k - 1);
    }
    return sum / (3 * steps);
}

static void five_sigma(const double *x, int n, double expected, const char *what, int k)
{
    double mean = 0, square = 0;
    for (int i = 0; i < n; i++)
        mean += x[i] / n;
    for (int i = 0; i < n; i++)
        square += (x[i] - mean) * (x[i] - mean);
    double se = sqrt(square / (n - 1) / n);
    cr_assert(se > 0 && se < 0.02, "%s@%d: standard error %g", what, k, se);
    cr_assert_float_eq(mean, expected, 5 * se, "%s@%d: %g, expected %g +- %g", what, k, mean,
                       expected, se);
}

Test(subset, unbiased_for_a_known_answer_distribution)
{
    enum { POOLS = 3000, N = 12 };
    static double pass_x[POOLS], maj_x[POOLS], best_x[POOLS];
    const sim_answers a = { .right = 0.35, .missing = 0.15, .n_wrong = 2 };
    for (int k = 1; k <= 8; k = k == 1 ? 3 : k + 2) {
        sim_source s = { 11, (uint64_t)k, 0 };
        for (int p = 0; p < POOLS; p++) {
            size_t count[3] = { 0 }, missing = 0;
            double right[3] = { 1, 0, 0 }, is_right[N], score[N];
            for (int i = 0; i < N; i++) {
                int category = sim_draw(&a, &s);
                is_right[i] = category == 0;
                score[i] = sim_unit(&s) + 0.5 * is_right[i];
                if (category < 0)
                    missing++;
                else
                    count[category]++;
            }
            pass_x[p] = rm_pass_at_k(N, count[0], (size_t)k);
            maj_x[p] = rm_maj_at_k(count, right, 3, missing, (size_t)k);
            best_x[p] = rm_best_of_k(score, is_right, N, (size_t)k);
        }
        five_sigma(pass_x, POOLS, 1 - pow(1 - a.right, k), "pass", k);
        five_sigma(maj_x, POOLS, population_majority(&a, k), "maj", k);
        five_sigma(best_x, POOLS, population_best(a.right, k), "best", k);
    }
}

/* ---- cells ------------------------------------------------------------------------------- */

Test(subset, refuses_what_is_not_exchangeable)
{
    rm_records r = { 0 };
    rm_estimate e;
    rm_error err = { "" };
    sim_source s = { 3, 3, 0 };
    sim_answers a = { .right = 0.5, .n_wrong = 3 };
    int beam = sim_cell(&r, "t", "beam 4", "beam", 4, false);
    int pool = sim_cell(&r, "t", "sampling 4", "sampling", 4, true);
    for (int p = 0; p < 20; p++) {
        int problem = sim_problem(&r, "t", p, NULL);
        sim_samples(&r, beam, problem, 0, &a, 4, &s);
        sim_samples(&r, pool, problem, 0, &a, 4, &s);
    }
    for (int kind = RM_PASS_AT_K; kind <= RM_BEST_OF_K; kind++) {
        const char *by = kind == RM_BEST_OF_K ? "lp" : NULL;
        cr_assert_eq(rm_cell_subset(&r, beam, (rm_subset_kind)kind, by, 2, NULL, &e, NULL, &err),
                     RM_E_ARGUMENT);
        cr_assert(strstr(err.text, "beam 4") && strstr(err.text, "depend on one another"), "%s",
                  err.text);
        cr_assert_eq(rm_cell_subset(&r, pool, (rm_subset_kind)kind, by, 2, NULL, &e, NULL, &err),
                     RM_OK);
        cr_assert_eq(e.n, 20);
    }
    static const struct {
        rm_subset_kind kind;
        const char *by;
        size_t k;
    } bad[] = { { RM_PASS_AT_K, NULL, 5 },      { RM_PASS_AT_K, NULL, 0 },
                { RM_BEST_OF_K, NULL, 2 },      { RM_BEST_OF_K, "score", 2 },
                { RM_BEST_OF_K, "nowhere", 2 }, { RM_PASS_AT_K, "lp", 2 },
                { RM_MAJ_AT_K, "lp", 2 } /* negative numbers weight no vote */ };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err.text[0] = '\0';
        cr_assert_eq(
            rm_cell_subset(&r, pool, bad[i].kind, bad[i].by, bad[i].k, NULL, &e, NULL, &err),
            RM_E_ARGUMENT, "row %zu", i);
        cr_assert(err.text[0], "row %zu has no sentence", i);
    }
    rm_records_free(&r);
}

/* Of three samples x, y, y the shares of the votes are 1/3, 2/3, 2/3: ranked by them every pair
 * would be right that holds a y, though no two different votes decide anything. */
Test(subset, refuses_a_score_that_looks_outside_the_subset)
{
    rm_records r = { 0 };
    rm_estimate e;
    rm_error err = { "" };
    rm_cell cell = { .model = "m",
                     .task = "t",
                     .strategy = "self-consistency",
                     .label = "vote 3",
                     .size = NAN,
                     .exchangeable = true };
    rm_sample samples[3] = { { .answer = "x", .lp = -1, .score = 1 / 3.0 },
                             { .answer = "y", .lp = -1, .score = 2 / 3.0, .correct = true },
                             { .answer = "y", .lp = -1, .score = 2 / 3.0, .correct = true } };
    for (int relative = 0; relative < 2; relative++) {
        cell.relative_score = relative;
        cell.label = relative ? "shares" : "own";
        int at, problem = relative ? 0 : sim_problem(&r, "t", 0, NULL);
        rm_records_add_cell(&r, &cell, &at, NULL);
        rm_result result = {
            .cell = at, .problem = problem, .chosen = 1, .samples = samples, .n_samples = 3
        };
        rm_records_add_result(&r, &result, NULL, NULL);
        static const rm_subset_kind kinds[] = { RM_BEST_OF_K, RM_MAJ_AT_K };
        for (size_t i = 0; i < 2; i++) {
            rm_status status =
                rm_cell_subset(&r, at, kinds[i], "score", 2, NULL, &e, NULL, &err);
            cr_assert_eq(status, relative ? RM_E_ARGUMENT : RM_OK);
        }
    }
    cr_assert(strstr(err.text, "outside the subset"), "%s", err.text);
    rm_analysis *analysis;
    cr_assert_eq(rm_analyze(&r, NULL, &analysis, NULL), RM_OK);
    for (size_t c = 0; c < 2; c++) {
        const rm_cell_report *report = &analysis->tasks[0].cells[c];
        size_t by_score = 0;
        for (size_t i = 0; i < report->n_curves; i++)
            by_score += report->curves[i].by && !strcmp(report->curves[i].by, "score");
        cr_assert_eq(by_score, r.cells[report->cell].relative_score ? 0 : 2);
    }
    rm_analysis_free(analysis);
    rm_records_free(&r);
}

/* Seeds pool; repeats of one seed are the same draws and do not. A failed problem counts as 0. */
Test(subset, pools_seeds_but_not_repeats)
{
    rm_records r = { 0 };
    rm_estimate e;
    int cell = sim_cell(&r, "t", "sampling", "sampling", 2, true);
    int problem = sim_problem(&r, "t", 0, NULL), failed = sim_problem(&r, "t", 1, NULL);
    rm_sample wrong[2] = { { .lp = NAN }, { .lp = NAN } };
    rm_sample one_right[2] = { { .correct = true, .lp = NAN }, { .lp = NAN } };
    rm_result result = {
        .cell = cell, .problem = problem, .chosen = 0, .samples = wrong, .n_samples = 2
    };
    rm_records_add_result(&r, &result, NULL, NULL);
    result.repeat = 1;
    result.samples = one_right; /* a repeat may differ (a wall-clock limit): the first counts */
    rm_records_add_result(&r, &result, NULL, NULL);
    result.seed = 1;
    result.repeat = 0;
    result.samples = one_right;
    rm_records_add_result(&r, &result, NULL, NULL);
    cr_assert_eq(rm_cell_subset(&r, cell, RM_PASS_AT_K, NULL, 2, NULL, &e, NULL, NULL), RM_OK);
    cr_assert_float_eq(e.value, 0.5, 1e-15); /* one right of four, pairs */
    result = (rm_result){ .cell = cell, .problem = failed, .failed = true, .chosen = -1 };
    rm_records_add_result(&r, &result, NULL, NULL);
    cr_assert_eq(rm_cell_subset(&r, cell, RM_PASS_AT_K, NULL, 2, NULL, &e, NULL, NULL), RM_OK);
    cr_assert_float_eq(e.value, 0.25, 1e-15);
    rm_records_free(&r);
}
