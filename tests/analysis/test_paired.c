/* test_paired.c - permutation test, paired comparisons of cells, families. */
#include "tests/analysis/simulate.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* ---- sign flips -------------------------------------------------------------------------- */

/* Of 0/1 verdicts the permutation test is McNemar's. */
Test(paired, sign_flip_of_verdicts_is_mcnemar)
{
    for (size_t b = 0; b <= 8; b++)
        for (size_t c = 0; c <= 8; c++) {
            double d[32] = { 0 }; /* the concordant pairs */
            bool exact;
            for (size_t i = 0; i < b; i++)
                d[2 * i] = 1;
            for (size_t i = 0; i < c; i++)
                d[2 * i + 1] = -1;
            cr_assert_float_eq(rm_sign_flip(d, 32, 1000, 0, &exact), rm_mcnemar(b, c), 1e-14);
            cr_assert(exact);
        }
}

/* Darwin's maize, differences of 15 pairs in eighths of an inch, in Fisher 1935 (The Design of
 * Experiments, sec. 21): 1,726 of the 32,768 sign patterns give a sum at least as far from 0. */
Test(paired, fishers_maize)
{
    const double d[] = { 49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48 };
    bool exact;
    cr_assert_float_eq(rm_sign_flip(d, 15, 1000, 0, &exact), 1726.0 / 32768, 1e-15);
    cr_assert(exact);

    /* Twice the data exceed what is enumerated; the Monte Carlo p is close to an exact one only in
     * that it must lie within five sigma of the normal approximation's neighbourhood. */
    double twice[30];
    for (int i = 0; i < 30; i++)
        twice[i] = d[i % 15];
    double p = rm_sign_flip(twice, 30, 20000, 1, &exact);
    cr_assert_not(exact);
    cr_assert(p > 0.001 && p < 0.012, "p = %g", p); /* z = 628 / sqrt(2 * 25,778) = 2.77: 0.0057 */
    cr_assert_eq(p, rm_sign_flip(twice, 30, 20000, 1, &exact));

    /* All of 30 one way: no random pattern reaches it; the p is the smallest there can be. */
    for (int i = 0; i < 30; i++)
        twice[i] = 1;
    cr_assert_eq(rm_sign_flip(twice, 30, 999, 1, &exact), 1.0 / 1000);
}

/* Fractions of thirds: sums that are equal must count as equal. */
Test(paired, equal_sums_are_not_split_by_rounding)
{
    const double d[] = { 1.0 / 3, 1.0 / 3, 1.0 / 3, -1.0 / 3 };
    bool exact;
    /* |sum| >= 2/3: all but the 6 balanced patterns of 16 */
    cr_assert_float_eq(rm_sign_flip(d, 4, 1000, 0, &exact), 10.0 / 16, 1e-15);
}

Test(paired, no_difference_at_all)
{
    const double d[] = { 0, 0, 0 };
    bool exact;
    cr_assert_eq(rm_sign_flip(d, 3, 1000, 0, &exact), 1);
    cr_assert_eq(rm_sign_flip(d, 0, 1000, 0, &exact), 1);
}

/* ---- comparisons of cells ---------------------------------------------------------------- */

/* 209 problems only a solves, 152 only b, 400 both, 258 neither: 1,019 in all. */
static void discordant(rm_records *r, int cells[2])
{
    cells[0] = sim_cell(r, "t", "a", "x", NAN, false);
    cells[1] = sim_cell(r, "t", "b", "x", NAN, false);
    for (int p = 0; p < 1019; p++) {
        int problem = sim_problem(r, "t", p, NULL);
        sim_verdict(r, cells[0], problem, 0, p < 609);
        sim_verdict(r, cells[1], problem, 0, p < 400 || (p >= 609 && p < 761));
    }
}

Test(paired, mcnemar_of_cells)
{
    rm_records r = { 0 };
    rm_comparison c;
    int cells[2];
    discordant(&r, cells);
    rm_analysis_options o = { .margin = 0.1 };
    cr_assert_eq(rm_compare(&r, &cells[0], &cells[1], 1, &o, &c, NULL), RM_OK);
    cr_assert_eq(c.n, 1019);
    cr_assert_float_eq(c.only_a, 209, 1e-9);
    cr_assert_float_eq(c.only_b, 152, 1e-9);
    cr_assert_str_eq(c.test, "exact McNemar");
    cr_assert_float_eq(c.p, 0.003151, 5e-7);
    cr_assert_eq(c.p, c.p_holm);
    cr_assert_float_eq(c.difference.value, 57.0 / 1019, 1e-12);
    /* Normal interval: 0.05594 +- 1.96 sqrt(361/1019 - 0.05594^2)/sqrt(1019) */
    cr_assert_float_eq(c.difference.low, 0.05594 - 0.03632, 0.002);
    cr_assert_float_eq(c.difference.high, 0.05594 + 0.03632, 0.002);
    cr_assert_float_eq(c.sd, sqrt(361.0 / 1019 - 0.05594 * 0.05594), 1e-3);
    cr_assert_eq(c.equal, RM_SUPPORTED); /* inside +-0.1 */
    cr_assert_eq(rm_verdict_better(c.difference, +1, 0.01), RM_SUPPORTED);
    rm_records_free(&r);
}

/* Cells of two runs meet on their common problems, whatever the order. */
Test(paired, cells_of_merged_runs)
{
    rm_records one = { 0 }, two = { 0 };
    rm_comparison c;
    int a = sim_cell(&one, "t", "greedy", "greedy", NAN, false);
    int b = sim_cell(&two, "t", "greedy", "greedy", NAN, false);
    for (int p = 0; p < 40; p++)
        sim_verdict(&one, a, sim_problem(&one, "t", p, NULL), 0, p < 30);
    for (int p = 59; p >= 20; p--)
        sim_verdict(&two, b, sim_problem(&two, "t", p, NULL), 0, p < 25);
    cr_assert_eq(rm_records_append(&one, &two, "second", NULL), RM_OK);
    int merged = rm_records_find_cell(&one, "t", "second: greedy");
    cr_assert_eq(merged, 1);
    cr_assert_eq(one.n_problems, 60);
    cr_assert_eq(rm_compare(&one, &a, &merged, 1, NULL, &c, NULL), RM_OK);
    cr_assert_eq(c.n, 20); /* problems 20..39: a solves 20..29, b 20..24 */
    cr_assert_float_eq(c.only_a, 5, 1e-12);
    cr_assert_float_eq(c.difference.value, 0.25, 1e-12);
    cr_assert_str_eq(c.difference.method, "Newcombe's paired score interval"); /* 5 differ */
    rm_records_free(&one);
    rm_records_free(&two);
}

/* Several seeds: shares a problem, so the permutation test of their means. */
Test(paired, seeds_are_averaged_within_a_problem)
{
    rm_records r = { 0 };
    rm_comparison c;
    int a = sim_cell(&r, "t", "a", "x", NAN, false), b = sim_cell(&r, "t", "b", "x", NAN, false);
    for (int p = 0; p < 4; p++) {
        int problem = sim_problem(&r, "t", p, NULL);
        for (uint64_t seed = 0; seed < 3; seed++) {
            sim_verdict(&r, a, problem, seed, p < 3 || seed == 0);
            sim_verdict(&r, b, problem, seed, seed > 0);
        }
    }
    /* a: 1 1 1 1/3; b: 2/3 each: d = 1/3 1/3 1/3 -1/3 */
    cr_assert_eq(rm_compare(&r, &a, &b, 1, NULL, &c, NULL), RM_OK);
    cr_assert_float_eq(c.difference.value, 1.0 / 6, 1e-12);
    cr_assert_str_eq(c.test, "sign-flip permutation, exact");
    cr_assert_float_eq(c.p, 10.0 / 16, 1e-12);
    rm_records_free(&r);
}

/* Problems of one cluster flip together: 4 clusters of 5 equal problems carry the evidence of 4. */
Test(paired, clusters_flip_together)
{
    rm_records r = { 0 };
    rm_comparison c;
    static const char *const names[] = { "k0", "k1", "k2", "k3" };
    int a = sim_cell(&r, "t", "a", "x", NAN, false), b = sim_cell(&r, "t", "b", "x", NAN, false);
    for (int p = 0; p < 20; p++) {
        int problem = sim_problem(&r, "t", p, names[p / 5]);
        sim_verdict(&r, a, problem, 0, true);
        sim_verdict(&r, b, problem, 0, false);
    }
    cr_assert_eq(rm_compare(&r, &a, &b, 1, NULL, &c, NULL), RM_OK);
    cr_assert_float_eq(c.p, 2.0 / 16, 1e-12);
    rm_records_free(&r);
}

Test(paired, family_is_corrected)
{
    rm_records r = { 0 };
    rm_comparison alone, family[3];
    int cells[2];
    discordant(&r, cells);
    int third = sim_cell(&r, "t", "c", "x", NAN, false);
    for (int p = 0; p < 1019; p++)
        sim_verdict(&r, third, p, 0, p < 650);
    int a[] = { cells[0], third, third }, b[] = { cells[1], cells[0], cells[1] };
    cr_assert_eq(rm_compare(&r, a, b, 1, NULL, &alone, NULL), RM_OK);
    cr_assert_eq(rm_compare(&r, a, b, 3, NULL, family, NULL), RM_OK);
    double p[3] = { family[0].p, family[1].p, family[2].p };
    cr_assert_eq(rm_holm(p, 3, p, NULL), RM_OK);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(family[i].p_holm, p[i]);
        cr_assert_eq(family[i].n_family, 3);
        cr_assert_float_eq(family[i].corrected.level, 1 - 0.05 / 3, 1e-15);
        cr_assert(family[i].corrected.low < family[i].difference.low);
        cr_assert(family[i].corrected.high > family[i].difference.high);
    }
    cr_assert_float_eq(alone.difference.low, family[0].difference.low, 0.003);
    rm_records_free(&r);
}

/* No interval excludes 0 where its own test does not reject 0 at its level, so that an interval
 * beyond 0 always comes with a small adjusted p. 30 problems and 20 comparisons are where a
 * bootstrap alone breaks this: its far tails are too narrow. */
Test(paired, intervals_agree_with_their_tests)
{
    enum { CELLS = 20, PROBLEMS = 30 };
    rm_records r = { 0 };
    int cells[CELLS], baselines[CELLS];
    rm_comparison c[CELLS];
    sim_source source = { 5, 77, 0 };
    size_t beyond = 0, reaching = 0;
    int base = sim_cell(&r, "t", "base", "x", NAN, false);
    for (int i = 0; i < CELLS; i++) {
        char label[16];
        snprintf(label, sizeof label, "c%d", i);
        cells[i] = sim_cell(&r, "t", label, "y", NAN, false);
        baselines[i] = base;
    }
    for (int p = 0; p < PROBLEMS; p++) {
        int problem = sim_problem(&r, "t", p, NULL);
        sim_verdict(&r, base, problem, 0, sim_unit(&source) < 0.2);
        for (int i = 0; i < CELLS; i++)
            sim_verdict(&r, cells[i], problem, 0, sim_unit(&source) < 0.2 + 0.04 * i);
    }
    cr_assert_eq(rm_compare(&r, cells, baselines, CELLS, NULL, c, NULL), RM_OK);
    for (int i = 0; i < CELLS; i++) {
        bool alone = c[i].difference.low > 0 || c[i].difference.high < 0;
        bool corrected = c[i].corrected.low > 0 || c[i].corrected.high < 0;
        cr_assert(!alone || c[i].p < 0.05, "cell %d: p = %g", i, c[i].p);
        cr_assert(!corrected || c[i].p_holm < 0.05, "cell %d: adjusted p = %g", i, c[i].p_holm);
        cr_assert(c[i].corrected.low <= c[i].difference.value &&
                  c[i].difference.value <= c[i].corrected.high);
        beyond += corrected;
        reaching += !corrected && (c[i].corrected.low == 0 || c[i].corrected.high == 0);
    }
    cr_assert(beyond > 0 && reaching > 0, "%zu beyond 0, %zu widened to 0", beyond, reaching);
    rm_records_free(&r);
}

Test(paired, refuses_what_cannot_be_compared)
{
    rm_records r = { 0 };
    rm_comparison c;
    rm_error err;
    int a = sim_cell(&r, "t", "a", "x", NAN, false), b = sim_cell(&r, "t", "b", "x", NAN, false);
    int other = sim_cell(&r, "u", "a", "x", NAN, false), outside = 7, negative = -1;
    sim_verdict(&r, a, sim_problem(&r, "t", 0, NULL), 0, true);
    sim_verdict(&r, b, sim_problem(&r, "t", 1, NULL), 0, true);
    sim_verdict(&r, other, sim_problem(&r, "u", 0, NULL), 0, true);
    cr_assert_eq(rm_compare(&r, &a, &b, 1, NULL, &c, &err), RM_E_ARGUMENT);
    cr_assert(strstr(err.text, "no problem in common"));
    cr_assert_eq(rm_compare(&r, &a, &other, 1, NULL, &c, &err), RM_E_ARGUMENT);
    cr_assert(strstr(err.text, "task"));
    cr_assert_eq(rm_compare(&r, &a, &outside, 1, NULL, &c, &err), RM_E_ARGUMENT);
    cr_assert_eq(rm_compare(&r, &negative, &a, 1, NULL, &c, &err), RM_E_ARGUMENT);
    rm_records_free(&r);
}

/* ---- size of the tests under the null hypothesis ----------------------------------------- */

/* Two equal cells on problems of very different difficulty: p <= 0.05 in at most 5% of the trials
 * (five sigma), and the 95% interval covers 0 in about 95%. */
Test(paired, keeps_its_level)
{
    enum { TRIALS = 150, PROBLEMS = 40, SEEDS = 3 };
    int rejected = 0, covered = 0;
    sim_source s = { 21, 1, 0 };
    for (int trial = 0; trial < TRIALS; trial++) {
        rm_records r = { 0 };
        rm_comparison c;
        int a = sim_cell(&r, "t", "a", "x", NAN, false);
        int b = sim_cell(&r, "t", "b", "x", NAN, false);
        for (int p = 0; p < PROBLEMS; p++) {
            int problem = sim_problem(&r, "t", p, NULL);
            double difficulty = sim_unit(&s);
            for (uint64_t seed = 0; seed < SEEDS; seed++) {
                sim_verdict(&r, a, problem, seed, sim_unit(&s) < difficulty);
                sim_verdict(&r, b, problem, seed, sim_unit(&s) < difficulty);
            }
        }
        rm_analysis_options o = { .resamples = 400, .seed = (uint64_t)trial };
        cr_assert_eq(rm_compare(&r, &a, &b, 1, &o, &c, NULL), RM_OK);
        rejected += c.p <= 0.05;
        covered += c.difference.low <= 0 && c.difference.high >= 0;
        rm_records_free(&r);
    }
    double sd = sqrt(TRIALS * 0.05 * 0.95);
    cr_assert(rejected <= TRIALS * 0.05 + 5 * sd, "rejected %d of %d", rejected, TRIALS);
    cr_assert(covered >= TRIALS * 0.95 - 5 * sd && covered < TRIALS, "covered %d of %d", covered,
              TRIALS);
}
