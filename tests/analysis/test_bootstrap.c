/* test_bootstrap.c - accuracies and other means of cells, their intervals and their coverage. */
#include "tests/analysis/simulate.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static rm_estimate accuracy(const rm_records *r, int cell, const rm_analysis_options *o)
{
    rm_estimate e = { 0 };
    rm_error err = { "" };
    cr_assert_eq(rm_cell_quantity(r, cell, RM_Q_ACCURACY, o, &e, &err), RM_OK, "%s", err.text);
    return e;
}

/* ---- which interval ---------------------------------------------------------------------- */

Test(bootstrap, one_sample_a_problem_gets_wilson)
{
    rm_records r = { 0 };
    int cell = sim_cell(&r, "t", "greedy", "greedy", NAN, false);
    for (int p = 0; p < 1319; p++)
        sim_verdict(&r, cell, sim_problem(&r, "t", p, NULL), 0, p < 742);
    rm_estimate e = accuracy(&r, cell, NULL);
    cr_assert_str_eq(e.method, "Wilson");
    cr_assert_eq(e.n, 1319);
    cr_assert_float_eq(e.low, 0.53563, 5e-6);
    cr_assert_float_eq(e.high, 0.58910, 5e-6);

    /* Repeats of the same seed are no new evidence. */
    for (int p = 0; p < 1319; p++) {
        rm_result again = r.results[p];
        again.repeat = 1;
        rm_records_add_result(&r, &again, NULL, NULL);
    }
    rm_estimate f = accuracy(&r, cell, NULL);
    cr_assert_str_eq(f.method, "Wilson");
    cr_assert_float_eq(f.low, e.low, 1e-12);
    rm_records_free(&r);
}

Test(bootstrap, near_the_ends_falls_back_on_wilson_and_says_so)
{
    rm_records r = { 0 };
    int cell = sim_cell(&r, "t", "sampling", "sampling", NAN, false);
    for (int p = 0; p < 50; p++) {
        int problem = sim_problem(&r, "t", p, NULL);
        for (uint64_t seed = 0; seed < 4; seed++)
            sim_verdict(&r, cell, problem, seed, p == 0 && seed == 0);
    }
    rm_estimate e = accuracy(&r, cell, NULL), w = rm_wilson(0.25, 50, 0.95);
    cr_assert(strstr(e.method, "Wilson") && strstr(e.method, "too few"));
    cr_assert_float_eq(e.value, 1.0 / 200, 1e-12);
    cr_assert_float_eq(e.high, w.high, 1e-12);
    rm_records_free(&r);
}

Test(bootstrap, several_seeds_are_resampled_by_problem)
{
    rm_records r = { 0 };
    int cell = sim_cell(&r, "t", "sampling", "sampling", NAN, false);
    sim_source s = { 5, 5, 0 };
    double mean = 0, square = 0;
    enum { N = 200, SEEDS = 3 };
    for (int p = 0; p < N; p++) {
        int problem = sim_problem(&r, "t", p, NULL);
        double q = sim_unit(&s), right = 0;
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            bool correct = sim_unit(&s) < q;
            right += correct;
            sim_verdict(&r, cell, problem, seed, correct);
        }
        mean += right / SEEDS / N;
        square += right / SEEDS * right / SEEDS / N;
    }
    rm_estimate e = accuracy(&r, cell, NULL);
    double se = sqrt((square - mean * mean) / N);
    cr_assert_float_eq(e.value, mean, 1e-12);
    cr_assert_str_eq(e.method, "BCa bootstrap over problems");
    cr_assert_float_eq(e.low, mean - 1.96 * se, 0.1 * se + 0.003); /* near-normal at n = 200 */
    cr_assert_float_eq(e.high, mean + 1.96 * se, 0.1 * se + 0.003);

    rm_estimate again = accuracy(&r, cell, NULL);
    cr_assert_eq(e.low, again.low); /* seeded */
    rm_analysis_options o = { .seed = 1 }, two = { .resample_seeds = true };
    cr_assert_neq(e.low, accuracy(&r, cell, &o).low);
    rm_estimate wide = accuracy(&r, cell, &two); /* counts the seeds' variation twice */
    cr_assert(wide.high - wide.low > 1.02 * (e.high - e.low));
    rm_records_free(&r);
}

/* 20 clusters of 10 problems that agree: the interval is that of 20 verdicts, not of 200. */
Test(bootstrap, clusters_are_drawn_whole)
{
    rm_records r = { 0 };
    char names[20][8];
    int cell = sim_cell(&r, "t", "greedy", "greedy", NAN, false);
    for (int p = 0; p < 200; p++) {
        snprintf(names[p % 20], sizeof *names, "c%d", p % 20);
        int problem = sim_problem(&r, "t", p, names[p % 20]);
        sim_verdict(&r, cell, problem, 0, p % 20 < 10);
    }
    rm_estimate e = accuracy(&r, cell, NULL);
    cr_assert_float_eq(e.value, 0.5, 1e-12);
    cr_assert(e.high - e.low > 0.35 && e.high - e.low < 0.5, "width %g", e.high - e.low);
    rm_records_free(&r);
}

/* ---- skewness ---------------------------------------------------------------------------- */

/* The end of a second-order correct interval for a mean is (Hall 1988, Annals of Statistics 16:927)
 *
 *     mean + sd/sqrt(n) (z + skewness (2 z^2 + 1) / (6 sqrt(n))) + O(1/n),
 *
 * that of the percentile interval has z^2 - 1 instead and lies 0.14 sd/sqrt(n) off here. */
Test(bootstrap, bca_corrects_for_skewness)
{
    enum { N = 100 };
    rm_records r = { 0 };
    rm_estimate e;
    double x[N], mean = 0, square = 0, cube = 0;
    int cell = sim_cell(&r, "t", "x", "x", NAN, false);
    for (int i = 0; i < N; i++) { /* the quantiles of an exponential distribution */
        x[i] = floor(-1e6 * log((i + 0.5) / N));
        mean += x[i] / N;
        rm_result result = { .cell = cell, .problem = sim_problem(&r, "t", i, NULL), .chosen = -1 };
        result.cost.generated_tokens = (uint64_t)x[i];
        rm_records_add_result(&r, &result, NULL, NULL);
    }
    for (int i = 0; i < N; i++) {
        square += (x[i] - mean) * (x[i] - mean) / N;
        cube += (x[i] - mean) * (x[i] - mean) * (x[i] - mean) / N;
    }
    const double z = 1.6448536269514722;
    double unit = sqrt(square / N), skewness = cube / pow(square, 1.5);
    double shift = skewness * (2 * z * z + 1) / (6 * sqrt(N));
    rm_analysis_options o = { .level = 0.9, .resamples = 20000 };
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_GENERATED_TOKENS, &o, &e, NULL), RM_OK);
    cr_assert_float_eq((e.low - mean) / unit, -z + shift, 0.06, "low %g", (e.low - mean) / unit);
    cr_assert_float_eq((e.high - mean) / unit, z + shift, 0.06, "high %g", (e.high - mean) / unit);
    rm_records_free(&r);
}

/* ---- other means ------------------------------------------------------------------------- */

static void cost_result(rm_records *r, int cell, int problem, uint64_t seed, uint64_t tokens,
                        bool correct)
{
    rm_result x = { .cell = cell,
                    .problem = problem,
                    .seed = seed,
                    .correct = correct,
                    .timing = RM_TIMING_THROUGHPUT,
                    .chosen = -1 };
    x.cost.generated_tokens = tokens;
    x.cost.prompt_tokens = RM_NOT_COUNTED;
    x.cost.wall_ms = 500;
    x.cost.load = 3;
    x.cost.flops = x.cost.energy_j = NAN;
    rm_records_add_result(r, &x, NULL, NULL);
}

Test(bootstrap, means_and_ratios)
{
    rm_records r = { 0 };
    rm_estimate e;
    int cell = sim_cell(&r, "t", "x", "x", NAN, false);
    int p0 = sim_problem(&r, "t", 0, NULL), p1 = sim_problem(&r, "t", 1, NULL);
    cost_result(&r, cell, p0, 0, 100, true);
    cost_result(&r, cell, p0, 1, 300, false); /* problem 0: 200 tokens, half a correct answer */
    cost_result(&r, cell, p1, 0, 400, true);
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_GENERATED_TOKENS, NULL, &e, NULL), RM_OK);
    cr_assert_float_eq(e.value, 300, 1e-12);
    cr_assert_eq(e.n, 2);
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_TOKENS_PER_CORRECT, NULL, &e, NULL), RM_OK);
    cr_assert_float_eq(e.value, (200 + 400) / 1.5, 1e-12);
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_TOKENS_PER_S, NULL, &e, NULL), RM_OK);
    cr_assert_float_eq(e.value, 600 / 0.250, 1e-9); /* half a second, shared by four, twice */
    rm_result again = r.results[2];
    again.repeat = 1; /* a repeat of problem 1 does not double its weight */
    rm_records_add_result(&r, &again, NULL, NULL);
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_TOKENS_PER_CORRECT, NULL, &e, NULL), RM_OK);
    cr_assert_float_eq(e.value, (200 + 400) / 1.5, 1e-12);
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_PROMPT_TOKENS, NULL, &e, NULL), RM_OK);
    cr_assert(isnan(e.value) && e.n == 0); /* samples made elsewhere: nobody counted */
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_FLOPS, NULL, &e, NULL), RM_OK);
    cr_assert(isnan(e.value) && e.n == 0); /* not measured is NaN, never 0 */
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_LATENCY_P50_MS, NULL, &e, NULL), RM_OK);
    cr_assert(isnan(e.value)); /* throughput timing says nothing of latency */
    rm_records_free(&r);
}

Test(bootstrap, nothing_correct_has_no_cost_per_correct)
{
    rm_records r = { 0 };
    rm_estimate e;
    int cell = sim_cell(&r, "t", "x", "x", NAN, false);
    for (int p = 0; p < 5; p++)
        cost_result(&r, cell, sim_problem(&r, "t", p, NULL), 0, 100, false);
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_TOKENS_PER_CORRECT, NULL, &e, NULL), RM_OK);
    cr_assert(isnan(e.value));
    cr_assert_str_eq(e.method, "no correct answer");
    rm_records_free(&r);
}

/* One right of 12: a resample has none with probability 0.35, so the upper end is unlimited. */
Test(bootstrap, cost_per_correct_may_be_unlimited)
{
    rm_records r = { 0 };
    rm_estimate e;
    int cell = sim_cell(&r, "t", "x", "x", NAN, false);
    for (int p = 0; p < 12; p++)
        cost_result(&r, cell, sim_problem(&r, "t", p, NULL), 0, 100, p == 0);
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_TOKENS_PER_CORRECT, NULL, &e, NULL), RM_OK);
    cr_assert_float_eq(e.value, 1200, 1e-9);
    cr_assert(e.low < 1200 && isinf(e.high), "[%g, %g]", e.low, e.high);
    rm_records_free(&r);
}

/* Candidates without an answer, cut off, and a pool that chose none of its samples. */
Test(bootstrap, shares_of_candidates)
{
    rm_records r = { 0 };
    rm_estimate e;
    char answer[] = "4";
    int cell = sim_cell(&r, "t", "pool", "sampling", 4, true);
    rm_sample s[4] = { { .answer = answer, .correct = true },
                       { .truncated = true },
                       { .answer = answer, .correct = true },
                       { .answer = answer } };
    for (int p = 0; p < 10; p++) {
        rm_result x = { .cell = cell,
                        .problem = sim_problem(&r, "t", p, NULL),
                        .chosen = -1,
                        .samples = s,
                        .n_samples = 4 };
        rm_records_add_result(&r, &x, NULL, NULL);
    }
    static const struct {
        rm_quantity quantity;
        double value;
    } expected[] = { { RM_Q_ACCURACY, 0.5 },
                     { RM_Q_MISSING, 0.25 },
                     { RM_Q_TRUNCATED, 0.25 },
                     { RM_Q_FAILED, 0 },
                     { RM_Q_CANDIDATES, 4 } };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        cr_assert_eq(rm_cell_quantity(&r, cell, expected[i].quantity, NULL, &e, NULL), RM_OK);
        cr_assert_float_eq(e.value, expected[i].value, 1e-12, "row %zu", i);
    }
    rm_records_free(&r);
}

/* ---- coverage ---------------------------------------------------------------------------- */

/* Intervals of 90% for the accuracy of a simulated model: they must hold the true value in 90% of
 * the trials, within five sigma: 81% or 99% would not pass. */
static int coverage(int n_problems, int n_seeds, double noise, int trials)
{
    int covered = 0;
    sim_source s = { 99, (uint64_t)(n_seeds * 1000 + n_problems), 0 };
    for (int t = 0; t < trials; t++) {
        rm_records r = { 0 };
        int cell = sim_cell(&r, "t", "x", "sampling", NAN, false);
        for (int p = 0; p < n_problems; p++) {
            int problem = sim_problem(&r, "t", p, NULL);
            double q = noise > 0 ? 0.5 + noise * (2 * sim_unit(&s) - 1) : 0.5; /* mean 0.5 */
            for (int seed = 0; seed < n_seeds; seed++)
                sim_verdict(&r, cell, problem, (uint64_t)seed, sim_unit(&s) < q);
        }
        rm_analysis_options o = { .level = 0.9, .resamples = 400, .seed = (uint64_t)t };
        rm_estimate e = accuracy(&r, cell, &o);
        covered += e.low <= 0.5 && e.high >= 0.5;
        rm_records_free(&r);
    }
    return covered;
}

static const struct {
    int n_problems, n_seeds;
    double spread;
} designs[] = { { 60, 1, 0.5 }, { 60, 2, 0.5 }, { 60, 3, 0.2 }, { 60, 3, 0 }, { 120, 4, 0.5 } };

Test(bootstrap, covers_the_truth)
{
    enum { TRIALS = 300 };
    double sd = sqrt(TRIALS * 0.9 * 0.1);
    for (size_t i = 0; i < sizeof designs / sizeof *designs; i++) {
        int c = coverage(designs[i].n_problems, designs[i].n_seeds, designs[i].spread, TRIALS);
        cr_assert(fabs(c - TRIALS * 0.9) < 5 * sd, "design %zu: %d of %d", i, c, TRIALS);
    }
}

/* ---- bad options ------------------------------------------------------------------------- */

Test(bootstrap, refuses_impossible_options)
{
    static const rm_analysis_options bad[] = {
        { .level = 1 },       { .level = -0.5 },         { .level = NAN },  { .resamples = 7 },
        { .power = 2 },       { .margin = -1 }, { .direction = RM_DIRECTION_EQUAL },
                 { .margin = NAN }, { .draws = 1 },
        { .diversity_k = 1 }, { .resamples = 10000000 },
    };
    rm_records r = { 0 };
    rm_estimate e;
    rm_error err;
    int cell = sim_cell(&r, "t", "x", "x", NAN, false), empty = sim_cell(&r, "t", "y", "x", 1, 0);
    sim_verdict(&r, cell, sim_problem(&r, "t", 0, NULL), 0, true);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_ACCURACY, &bad[i], &e, &err), RM_E_ARGUMENT,
                     "row %zu", i);
    cr_assert_eq(rm_cell_quantity(&r, 9, RM_Q_ACCURACY, NULL, &e, &err), RM_E_ARGUMENT);
    cr_assert_eq(rm_cell_quantity(&r, -1, RM_Q_ACCURACY, NULL, &e, &err), RM_E_ARGUMENT);
    cr_assert_eq(rm_cell_quantity(&r, empty, RM_Q_ACCURACY, NULL, &e, &err), RM_E_ARGUMENT);
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_N_QUANTITIES, NULL, &e, &err), RM_E_ARGUMENT);
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_ACCURACY, NULL, &e, &err), RM_OK);
    rm_records_free(&r);
}
