/* test_tuning.c - the best of m settings: enumerated elsewhere, and in simulated settings whose
 * accuracies are known. */
#include "tests/analysis/simulate.h"

#include <criterion/criterion.h>

/* All subsets enumerated by itertools.combinations; two settings are tied on the tuning problems.
 */
Test(tuning, agrees_with_enumeration)
{
    static const double tuning[6] = { 0.4, 0.7, 0.7, 0.2, 0.9, 0.55 };
    static const double test[6] = { 0.5, 0.6, 0.8, 0.1, 0.7, 0.65 };
    static const double expected[6] = { 0.558333333333, 0.68, 0.6975, 0.7, 0.7, 0.7 };
    for (size_t m = 1; m <= 6; m++)
        cr_assert_float_eq(rm_best_of_m(tuning, test, 6, m), expected[m - 1], 1e-11, "m = %zu", m);
    cr_assert(isnan(rm_best_of_m(tuning, test, 6, 0)));
    cr_assert(isnan(rm_best_of_m(tuning, test, 6, 7)));
}

static void add_problems(rm_records *r, int problems)
{
    for (int p = 0; p < problems; p++)
        sim_problem(r, "t", p, NULL);
}

/* One strategy with settings of those accuracies, on all problems. */
static void add_settings(rm_records *r, const char *strategy, const double *accuracy, int n,
                         sim_source *s)
{
    for (int i = 0; i < n; i++) {
        char label[40];
        snprintf(label, sizeof label, "%s %d", strategy, i);
        int cell = sim_cell(r, "t", label, strategy, NAN, false);
        for (int p = 0; p < (int)r->n_problems; p++)
            sim_verdict(r, cell, p, 0, sim_unit(s) < accuracy[i]);
    }
}

static void near_truth(const rm_estimate *e, double truth, const char *what)
{
    double se = (e->high - e->low) / (2 * 1.96);
    cr_assert(se > 0 && se < 0.05, "%s: standard error %g", what, se);
    cr_assert_float_eq(e->value, truth, 5 * se, "%s: %g, the truth is %g +- %g", what, e->value,
                       truth, se);
}

/* Settings so far apart that tuning always finds their order: E_1 is their mean, E_3 the best, and
 * of two of them the better is 0.5 once and 0.8 twice in three. Eight equal settings gain nothing
 * by being many: on problems of its own the best of them is as good as any. */
Test(tuning, of_known_settings)
{
    enum { PROBLEMS = 400 };
    static const double apart[3] = { 0.2, 0.5, 0.8 },
                        equal[8] = { 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5 };
    rm_records r = { 0 };
    rm_analysis *analysis = NULL;
    sim_source s = { 12, 6, 0 };
    add_problems(&r, PROBLEMS);
    add_settings(&r, "apart", apart, 3, &s);
    add_settings(&r, "equal", equal, 8, &s);
    rm_analysis_options o = { .resamples = 400 };
    cr_assert_eq(rm_analyze(&r, &o, &analysis, NULL), RM_OK);
    const rm_task_report *task = &analysis->tasks[0];
    cr_assert_eq(task->n_tunings, 2);
    cr_assert_eq(task->tunings[0].n, 3);
    cr_assert_eq(task->tunings[1].n, 8);
    near_truth(&task->tunings[0].value[0], 0.5, "one of three");
    near_truth(&task->tunings[0].value[1], 0.7, "two of three");
    near_truth(&task->tunings[0].value[2], 0.8, "all three");
    for (int m = 0; m < 8; m++)
        near_truth(&task->tunings[1].value[m], 0.5, "equal settings");
    cr_assert_eq(task->n_tuning_pairs, 1);
    const rm_tuning_pair *pair = &task->tuning_pairs[0];
    cr_assert(pair->a == 0 && pair->b == 1 && pair->m == 3);
    near_truth(&pair->difference, 0.3, "at equal tuning");
    rm_analysis_free(analysis);
    rm_records_free(&r);
}

/* One setting each: nothing to tune. Three problems: no halves to speak of. */
Test(tuning, where_there_is_none)
{
    static const double some[2] = { 0.5, 0.6 };
    rm_records r = { 0 }, few = { 0 };
    rm_analysis *analysis = NULL;
    sim_source s = { 12, 7, 0 };
    rm_analysis_options o = { .resamples = 100 };
    add_problems(&r, 20);
    add_settings(&r, "one", some, 1, &s);
    add_settings(&r, "other", some, 1, &s);
    cr_assert_eq(rm_analyze(&r, &o, &analysis, NULL), RM_OK);
    cr_assert_eq(analysis->tasks[0].n_tunings, 0);
    rm_analysis_free(analysis);
    add_problems(&few, 3);
    add_settings(&few, "two", some, 2, &s);
    cr_assert_eq(rm_analyze(&few, &o, &analysis, NULL), RM_OK);
    cr_assert_eq(analysis->tasks[0].n_tunings, 0);
    rm_analysis_free(analysis);
    rm_records_free(&r);
    rm_records_free(&few);
}
