/* test_quantile.c - latencies: order statistics, repeats, coverage. */
#include "tests/analysis/simulate.h"

#include <criterion/criterion.h>

/* Ranks of the 95% interval of a median, tabulated in many places (for instance Conover 1999,
 * table A3, or Campbell & Gardner 1988, BMJ 296:1454); 0 and n + 1 mean "no such value". */
static const struct {
    size_t n, low, high;
} median_ranks[] = { { 5, 0, 6 },   { 6, 1, 6 },   { 10, 2, 9 },
                     { 20, 6, 15 }, { 25, 8, 18 }, { 100, 40, 61 } };

Test(quantile, ranks_of_the_median)
{
    for (size_t i = 0; i < sizeof median_ranks / sizeof *median_ranks; i++) {
        double x[100];
        rm_estimate e;
        size_t n = median_ranks[i].n;
        for (size_t j = 0; j < n; j++)
            x[j] = (double)(n - j); /* unsorted: n..1; the value is its rank */
        cr_assert_eq(rm_quantile(x, n, 0.5, 0.95, &e, NULL), RM_OK);
        cr_assert_eq(e.value, (double)(n + 1) / 2);
        double low = median_ranks[i].low ? (double)median_ranks[i].low : -INFINITY;
        double high = median_ranks[i].high <= n ? (double)median_ranks[i].high : INFINITY;
        cr_assert_eq(e.low, low, "n = %zu: %g", n, e.low);
        cr_assert_eq(e.high, high, "n = %zu: %g", n, e.high);
    }
}

/* The upper limit of a 95th percentile needs 0.95^n <= 0.025, so n >= 72. */
Test(quantile, tail_needs_data)
{
    double x[72];
    rm_estimate e;
    for (int i = 0; i < 72; i++)
        x[i] = i + 1;
    cr_assert_eq(rm_quantile(x, 71, 0.95, 0.95, &e, NULL), RM_OK);
    cr_assert(isinf(e.high) && isfinite(e.low));
    cr_assert_eq(rm_quantile(x, 72, 0.95, 0.95, &e, NULL), RM_OK);
    cr_assert_eq(e.high, 72);
}

Test(quantile, edges)
{
    const double one = 3, pair[] = { 1, 2 };
    rm_estimate e;
    cr_assert_eq(rm_quantile(NULL, 0, 0.5, 0.95, &e, NULL), RM_OK);
    cr_assert(isnan(e.value) && e.n == 0);
    cr_assert_eq(rm_quantile(&one, 1, 0.95, 0.95, &e, NULL), RM_OK);
    cr_assert_eq(e.value, 3);
    cr_assert_eq(rm_quantile(pair, 2, 0.5, 0.95, &e, NULL), RM_OK);
    cr_assert_eq(e.value, 1.5);
    cr_assert_eq(rm_quantile(pair, 2, 0, 0.95, &e, NULL), RM_E_ARGUMENT);
    cr_assert_eq(rm_quantile(pair, 2, 0.5, NAN, &e, NULL), RM_E_ARGUMENT);
    cr_assert_eq(rm_quantile((double[]){ 1, NAN }, 2, 0.5, 0.95, &e, NULL), RM_E_ARGUMENT);
}

/* Exponential latencies: the 90% interval of the median (ln 2) and of the 80th percentile (ln 5)
 * is conservative: at least 90% less five sigma. */
Test(quantile, covers_the_truth)
{
    enum { TRIALS = 2000, N = 45 };
    static const double q[] = { 0.5, 0.8 };
    sim_source s = { 31, 1, 0 };
    for (int i = 0; i < 2; i++) {
        int covered = 0;
        for (int t = 0; t < TRIALS; t++) {
            double x[N];
            rm_estimate e;
            for (int j = 0; j < N; j++)
                x[j] = -log(sim_unit(&s));
            cr_assert_eq(rm_quantile(x, N, q[i], 0.9, &e, NULL), RM_OK);
            covered += e.low <= -log(1 - q[i]) && e.high >= -log(1 - q[i]);
        }
        cr_assert(covered > TRIALS * 0.9 - 5 * sqrt(TRIALS * 0.09), "%d of %d", covered, TRIALS);
        cr_assert(covered < TRIALS * 0.98, "%d of %d: too wide", covered, TRIALS);
    }
}

/* ---- cells ------------------------------------------------------------------------------- */

static void timed(rm_records *r, int cell, int problem, int repeat, rm_timing timing, double ms)
{
    rm_result x = {
        .cell = cell, .problem = problem, .repeat = repeat, .timing = timing, .chosen = -1
    };
    x.cost.wall_ms = ms;
    x.cost.ttft_ms = ms / 10;
    rm_records_add_result(r, &x, NULL, NULL);
}

Test(quantile, only_latency_timing_counts)
{
    rm_records r = { 0 };
    rm_estimate e;
    int cell = sim_cell(&r, "t", "x", "x", NAN, false);
    for (int p = 0; p < 9; p++) {
        int problem = sim_problem(&r, "t", p, NULL);
        timed(&r, cell, problem, 0, RM_TIMING_LATENCY, 10 + p);
        timed(&r, cell, problem, 0, RM_TIMING_THROUGHPUT, 1000);
    }
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_LATENCY_P50_MS, NULL, &e, NULL), RM_OK);
    cr_assert_eq(e.value, 14);
    cr_assert_str_eq(e.method, "order statistics");
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_TTFT_P50_MS, NULL, &e, NULL), RM_OK);
    cr_assert_float_eq(e.value, 1.4, 1e-12);
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_LATENCY_MEAN_MS, NULL, &e, NULL), RM_OK);
    cr_assert_float_eq(e.value, 14, 1e-12);
    rm_records_free(&r);
}

/* A problem weighs the same with 1 repeat as with 99; the interval is drawn over problems. */
Test(quantile, repeats_share_their_problems_weight)
{
    rm_records r = { 0 };
    rm_estimate e;
    int cell = sim_cell(&r, "t", "x", "x", NAN, false);
    for (int p = 0; p < 9; p++) {
        int problem = sim_problem(&r, "t", p, NULL);
        for (int repeat = 0; repeat < (p == 8 ? 99 : 1); repeat++)
            timed(&r, cell, problem, repeat, RM_TIMING_LATENCY, p + 1 + repeat * 1e-6);
    }
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_LATENCY_P50_MS, NULL, &e, NULL), RM_OK);
    cr_assert_float_eq(e.value, 5, 1e-3);
    cr_assert_eq(e.n, 9);
    cr_assert_str_eq(e.method, "percentile bootstrap over problems");
    cr_assert(e.low >= 1 && e.low < 4 && e.high > 6 && e.high <= 9.001);
    /* nine problems say nothing about the upper limit of a 95th percentile */
    cr_assert_eq(rm_cell_quantity(&r, cell, RM_Q_LATENCY_P95_MS, NULL, &e, NULL), RM_OK);
    cr_assert(isfinite(e.low) && e.high == INFINITY, "[%g, %g]", e.low, e.high);
    rm_records_free(&r);
}
