/* test_trend.c - the trend test against SciPy and enumeration; slopes and rejections in simulated
 * sweeps whose trend is known. */
#include "tests/analysis/simulate.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* Ranks within blocks of a made-up table without ties. scipy.stats.page_trend_test (SciPy 1.17.1):
 * L = 170, z = 2.82842712 from its asymptotic p, exact one-sided p = 0.00188670; by symmetry of the
 * ranks the two-sided one is 0.00377340, which enumeration confirms. */
static const double ranks[6][4] = { { 1, 2, 3, 4 }, { 1, 3, 2, 4 }, { 2, 1, 4, 3 },
                                    { 1, 4, 2, 3 }, { 2, 3, 1, 4 }, { 1, 2, 4, 3 } };
static const double places[4] = { 1, 2, 3, 4 };

/* Verdicts at sizes 1, 2, 4, 16; two blocks do not vary. Enumerated: p = 0.0270543981. */
static const double verdicts[8][4] = { { 0, 0, 0, 1 }, { 0, 0, 1, 1 }, { 0, 1, 1, 1 },
                                       { 0, 1, 0, 1 }, { 1, 0, 0, 0 }, { 0, 0, 1, 1 },
                                       { 1, 1, 1, 1 }, { 0, 0, 0, 0 } };
static const double doublings[4] = { 0, 1, 2, 4 };

/* Monte Carlo p within five standard errors of the exact one. */
static void near_exact(double p, double exact, double resamples)
{
    cr_assert_float_eq(p, exact, 5 * sqrt(exact * (1 - exact) / resamples) + 1 / resamples,
                       "p = %g, exactly %g", p, exact);
}

Test(trend, agrees_with_page_and_enumeration)
{
    enum { RESAMPLES = 100000 };
    double z;
    near_exact(rm_trend_test(&ranks[0][0], 6, places, 4, RESAMPLES, 1, &z), 0.0037734001588756,
               RESAMPLES);
    cr_assert_float_eq(z, 2.82842712474619, 1e-9);
    near_exact(rm_trend_test(&verdicts[0][0], 8, doublings, 4, RESAMPLES, 2, &z),
               0.027054398148148147, RESAMPLES);
    cr_assert_float_eq(z, 2.23606797749979, 1e-9);
}

Test(trend, edges)
{
    static const double flat[2][3] = { { 1, 1, 1 }, { 0, 0, 0 } }, same[3] = { 2, 2, 2 };
    double z;
    cr_assert_eq(rm_trend_test(&flat[0][0], 2, places, 3, 100, 1, &z), 1);
    cr_assert_eq(z, 0);
    cr_assert(isnan(rm_trend_test(&ranks[0][0], 6, same, 3, 100, 1, NULL)));
    cr_assert(isnan(rm_trend_test(&ranks[0][0], 0, places, 4, 100, 1, NULL)));
    cr_assert(isnan(rm_trend_test(&ranks[0][0], 6, places, 1, 100, 1, NULL)));
}

/* Cells of sizes 1, 2, 4, 8 that solve a problem of difficulty q with probability
 * q + rise * log2(size). */
static rm_analysis *sweep(rm_records *r, int problems, double rise, uint64_t seed,
                          const rm_analysis_options *o)
{
    static const char *const labels[4] = { "beam 1", "beam 2", "beam 4", "beam 8" };
    rm_analysis *analysis = NULL;
    rm_error err = { "" };
    sim_source s = { seed, 3, 0 };
    int cells[4];
    for (int i = 0; i < 4; i++)
        cells[i] = sim_cell(r, "t", labels[i], "beam", 1 << i, false);
    for (int p = 0; p < problems; p++) {
        int problem = sim_problem(r, "t", p, NULL);
        double q = 0.1 + 0.6 * sim_unit(&s);
        for (int i = 0; i < 4; i++)
            sim_verdict(r, cells[i], problem, 0, sim_unit(&s) < q + rise * i);
    }
    cr_assert_eq(rm_analyze(r, o, &analysis, &err), RM_OK, "%s", err.text);
    cr_assert_eq(analysis->tasks[0].n_trends, 1); /* no log-probabilities were recorded */
    return analysis;
}

Test(trend, finds_a_known_slope)
{
    enum { PROBLEMS = 1500 };
    static const double rise[3] = { 0.05, 0, -0.03 };
    static const char *const says[3] = { "rises", "no trend shown", "falls" };
    rm_analysis_options o = { .resamples = 400 };
    for (int i = 0; i < 3; i++) {
        rm_records r = { 0 };
        rm_analysis *a = sweep(&r, PROBLEMS, rise[i], 8, &o);
        const rm_trend *t = &a->tasks[0].trends[0];
        double se = (t->slope.high - t->slope.low) / (2 * 1.96);
        cr_assert(se > 0 && se < 0.01);
        cr_assert_float_eq(t->slope.value, rise[i], 5 * se, "%g, the truth is %g +- %g",
                           t->slope.value, rise[i], se);
        cr_assert(t->n == PROBLEMS && t->n_sizes == 4 && t->n_family == 1);
        cr_assert_str_eq(rm_trend_verdict(t, 0.95), says[i]);
        rm_analysis_free(a);
        rm_records_free(&r);
    }
}

/* Where the size makes no difference, at most the stated share of sweeps is called a trend, within
 * five standard errors. */
Test(trend, keeps_its_level)
{
    enum { RUNS = 200 };
    rm_analysis_options o = { .resamples = 100 };
    double rejected = 0;
    for (uint64_t run = 0; run < RUNS; run++) {
        rm_records r = { 0 };
        rm_analysis *a = sweep(&r, 25, 0, 100 + run, &o);
        const rm_trend *t = &a->tasks[0].trends[0];
        rejected += t->p < 0.05;
        cr_assert(t->p < 0.05 || (t->slope.low <= 0 && t->slope.high >= 0)); /* they agree */
        rm_analysis_free(a);
        rm_records_free(&r);
    }
    double bound = 0.05 * RUNS + 5 * sqrt(0.05 * 0.95 * RUNS);
    cr_assert_leq(rejected, bound, "%g of %d rejected", rejected, RUNS);
}

/* The problem that lacks a size does not count. */
Test(trend, needs_all_sizes)
{
    rm_records r = { 0 };
    rm_analysis *analysis = NULL;
    int cells[3];
    static const char *const labels[3] = { "a 1", "a 2", "a 4" };
    for (int i = 0; i < 3; i++)
        cells[i] = sim_cell(&r, "t", labels[i], "a", 1 << i, false);
    for (int p = 0; p < 10; p++) {
        int problem = sim_problem(&r, "t", p, NULL);
        for (int i = 0; i < (p < 8 ? 3 : 2); i++)
            sim_verdict(&r, cells[i], problem, 0, i == 2 || p % 2);
    }
    rm_analysis_options o = { .resamples = 100 };
    cr_assert_eq(rm_analyze(&r, &o, &analysis, NULL), RM_OK);
    cr_assert_eq(analysis->tasks[0].trends[0].n, 8);
    /* per problem (x, x, 1) with x = p % 2: slope (1 - x) / 2, mean over 4 + 4 problems 1/4 */
    cr_assert_float_eq(analysis->tasks[0].trends[0].slope.value, 0.25, 1e-12);
    rm_analysis_free(analysis);
    rm_records_free(&r);
}
