/* test_scaling.c - the law of coverage: fits found elsewhere, what cannot be fitted, and the
 * simulated model, whose true curve has a true fit. */
#include "tests/analysis/simulate.h"

#include <criterion/criterion.h>

/* a, b and the error from scipy.optimize.curve_fit (SciPy 1.17.1, tolerances 1e-15) on the same
 * points; the first curve is the law itself with a = 2.3, b = 0.4. The tolerance is the rounding of
 * the printed digits. */
static const struct fit_case {
    size_t n;
    double k[7], coverage[7], a, b, rmse;
} fits[] = {
    { 7,
      { 1, 2, 4, 8, 16, 32, 64 },
      { 0.10025884372280375, 0.17498167033504167, 0.26686747069582917, 0.36746281548930815,
        0.4682668053087313, 0.5627048688069558, 0.6467674269421584 },
      2.3,
      0.4,
      0 },
    { 7,
      { 1, 2, 4, 8, 16, 32, 64 },
      { 0.31, 0.42, 0.55, 0.63, 0.70, 0.74, 0.79 },
      1.1216957199,
      0.4009038307,
      0.0162866417 },
    { 4,
      { 1, 2, 4, 8 },
      { 0.30, 0.51, 0.7599, 0.94235199 },
      1.3058787777,
      1.1493406029,
      0.0386025040 },
    { 5,
      { 1, 2, 4, 8, 16 },
      { 0.02, 0.03, 0.07, 0.1, 0.16 },
      4.0929369915,
      0.2874526915,
      0.0045166383 },
    { 5,
      { 1, 2, 3, 5, 9 },
      { 0.5, 0.8, 0.9, 1, 1 }, /* full coverage is a point like others */
      0.7040031573,
      1.8016303003,
      0.0199970484 },
};

Test(scaling, fits_agree_with_scipy)
{
    for (size_t i = 0; i < sizeof fits / sizeof *fits; i++) {
        rm_scaling s;
        cr_assert(rm_fit_coverage(fits[i].k, fits[i].coverage, fits[i].n, &s), "case %zu", i);
        cr_assert_eq(s.n_points, fits[i].n);
        cr_assert_float_eq(s.a.value, fits[i].a, 1e-7, "case %zu: a = %.10f", i, s.a.value);
        cr_assert_float_eq(s.b.value, fits[i].b, 1e-7, "case %zu: b = %.10f", i, s.b.value);
        cr_assert_float_eq(s.rmse, fits[i].rmse, 1e-8, "case %zu: rmse = %.10f", i, s.rmse);
    }
}

Test(scaling, what_determines_no_law)
{
    static const struct {
        size_t n;
        double k[4], coverage[4];
    } bad[] = {
        { 0, { 0 }, { 0 } },
        { 2, { 1, 2 }, { 0.3, 0.5 } },
        { 4, { 1, 2, 4, 8 }, { 1, 1, 1, 1 } },
        { 4, { 1, 2, 4, 8 }, { 0, 0, 0, 0 } },
        { 4, { 1, 2, 4, 8 }, { 0.5, NAN, 0.6, 0.7 } },
        { 4, { 1, 2, 2, 8 }, { 0.5, 0.5, 0.6, 0.7 } },
        { 4, { 0.5, 1, 2, 4 }, { 0.5, 0.5, 0.6, 0.7 } },
        { 4, { 1, 2, 4, 8 }, { 0.5, 0.6, 0.7, 1.2 } },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        rm_scaling s;
        cr_assert_not(rm_fit_coverage(bad[i].k, bad[i].coverage, bad[i].n, &s), "case %zu", i);
        cr_assert(s.n_points == 0 && isnan(s.a.value) && isnan(s.b.value), "case %zu", i);
    }
}

static rm_analysis *analyze(const rm_records *r, const rm_analysis_options *o)
{
    rm_analysis *analysis = NULL;
    rm_error err = { "" };
    cr_assert_eq(rm_analyze(r, o, &analysis, &err), RM_OK, "%s", err.text);
    return analysis;
}

/* Every problem is solved with probability 0.3 a sample, so pass@k = 1 - 0.7^k. The law does not
 * hold of it; its best fit to the true curve, the third case above, is what estimates must find. */
Test(scaling, of_a_known_model)
{
    enum { PROBLEMS = 500, SAMPLES = 8 };
    rm_records r = { 0 };
    sim_source s = { 77, 1, 0 };
    sim_answers a = { .right = 0.3, .n_wrong = 3 };
    int pool = sim_cell(&r, "t", "pool", "sampling", SAMPLES, true);
    for (int p = 0; p < PROBLEMS; p++)
        sim_samples(&r, pool, sim_problem(&r, "t", p, NULL), 0, &a, SAMPLES, &s);
    rm_analysis_options o = { .resamples = 400 };
    rm_analysis *analysis = analyze(&r, &o);
    const rm_scaling *fit = &rm_analysis_cell(analysis, pool)->scaling;
    cr_assert_eq(fit->n_points, 4);
    const rm_estimate *found[2] = { &fit->a, &fit->b };
    for (int i = 0; i < 2; i++) {
        double truth = i ? fits[2].b : fits[2].a;
        double se = (found[i]->high - found[i]->low) / (2 * 1.96);
        cr_assert(se > 0 && se < 0.1 * truth, "standard error %g of %g", se, truth);
        cr_assert_float_eq(found[i]->value, truth, 5 * se, "%g, the truth is %g +- %g",
                           found[i]->value, truth, se);
        cr_assert_eq(found[i]->n, PROBLEMS);
        cr_assert_str_eq(found[i]->method, "BCa bootstrap over problems");
    }
    rm_analysis_free(analysis);
    rm_records_free(&r);
}

/* 30 problems of which a sampler solves all but one: the interval cannot see what is rare. */
Test(scaling, says_where_intervals_are_too_narrow)
{
    rm_records r = { 0 };
    sim_source s = { 78, 1, 0 };
    int pool = sim_cell(&r, "t", "pool", "sampling", 8, true);
    for (int p = 0; p < 30; p++) {
        sim_answers a = { .right = p ? 0.7 : 0, .n_wrong = 3 };
        sim_samples(&r, pool, sim_problem(&r, "t", p, NULL), 0, &a, 8, &s);
    }
    rm_analysis_options o = { .resamples = 100 };
    rm_analysis *analysis = analyze(&r, &o);
    const rm_scaling *fit = &rm_analysis_cell(analysis, pool)->scaling;
    cr_assert_eq(fit->n_points, 4);
    cr_assert_eq(fit->b.method, RM_FEW_UNSOLVED);
    rm_analysis_free(analysis);
    rm_records_free(&r);
}
