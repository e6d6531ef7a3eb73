/* test_calibration.c - ECE, Brier score and bins by hand, and for confidences of known quality. */
#include "tests/analysis/simulate.h"

#include <criterion/criterion.h>

Test(calibration, by_hand)
{
    /* bin (0.5, 0.6]: 0.6 right, 0.6 wrong; (0.9, 1]: 1.0 right; first: 0 wrong, 0.1 right */
    const double confidence[] = { 0.6, 0.6, 1.0, 0.0, 0.1 }, correct[] = { 1, 0, 1, 0, 1 };
    rm_calibration c;
    cr_assert_eq(rm_calibrate(confidence, correct, NULL, 5, NULL, &c, NULL), RM_OK);
    /* gaps |1 - 1.2| + |1 - 1| + |1 - 0.1|, over 5 */
    cr_assert_float_eq(c.ece.value, (0.2 + 0 + 0.9) / 5, 1e-12);
    cr_assert_float_eq(c.brier.value, (0.16 + 0.36 + 0 + 0 + 0.81) / 5, 1e-12);
    cr_assert_eq(c.bins[0].n, 2);
    cr_assert_eq(c.bins[5].n, 2);
    cr_assert_eq(c.bins[9].n, 1);
    cr_assert_eq(c.bins[7].n, 0);
    cr_assert(isnan(c.bins[7].confidence));
    cr_assert_float_eq(c.bins[5].confidence, 0.6, 1e-12);
    cr_assert_float_eq(c.bins[5].accuracy.value, 0.5, 1e-12);
    cr_assert_float_eq(c.bins[5].accuracy.low, rm_wilson(1, 2, 0.95).low, 1e-12);
}

/* correct ~ Bernoulli(confidence), confidence uniform: ECE -> 0, Brier -> integral of c(1-c) = 1/6;
 * overconfident by 0.2: ECE -> 0.2. */
Test(calibration, of_a_known_model)
{
    enum { N = 20000 };
    static double confidence[N], correct[N];
    sim_source s = { 17, 1, 0 };
    rm_calibration c;
    rm_analysis_options o = { .resamples = 200 };
    for (int i = 0; i < N; i++) {
        confidence[i] = sim_unit(&s);
        correct[i] = sim_unit(&s) < confidence[i];
    }
    cr_assert_eq(rm_calibrate(confidence, correct, NULL, N, &o, &c, NULL), RM_OK);
    /* Each of 10 bins of 2,000 has a standard error of at most 0.011; ECE averages their sizes. */
    cr_assert(c.ece.value < 0.02, "ECE %g", c.ece.value);
    cr_assert_float_eq(c.brier.value, 1.0 / 6, 5 * 0.2 / sqrt(N));
    cr_assert(c.brier.low < 1.0 / 6 && c.brier.high > 1.0 / 6);

    for (int i = 0; i < N; i++) {
        double p = 0.8 * sim_unit(&s);
        confidence[i] = p + 0.2;
        correct[i] = sim_unit(&s) < p;
    }
    cr_assert_eq(rm_calibrate(confidence, correct, NULL, N, &o, &c, NULL), RM_OK);
    cr_assert_float_eq(c.ece.value, 0.2, 5 * 0.5 / sqrt(N));
}

/* Vote shares of a cell; intervals are over problems, which their seeds do not narrow. */
Test(calibration, of_a_vote)
{
    rm_records r = { 0 };
    rm_calibration c;
    rm_error err;
    char a[] = "1", b[] = "2";
    rm_sample samples[] = {
        { .answer = a, .correct = true }, { .answer = a, .correct = true }, { .answer = b }, { 0 }
    };
    int cell = sim_cell(&r, "t", "vote", "self-consistency", 4, true);
    int single = sim_cell(&r, "t", "greedy", "greedy", NAN, false);
    for (int p = 0; p < 10; p++) {
        int problem = sim_problem(&r, "t", p, NULL);
        for (uint64_t seed = 0; seed < 2; seed++) {
            rm_result x = { .cell = cell,
                            .problem = problem,
                            .seed = seed,
                            .chosen = 0,
                            .correct = p < 5,
                            .samples = samples,
                            .n_samples = 4 };
            rm_records_add_result(&r, &x, NULL, NULL);
        }
        sim_verdict(&r, single, problem, 0, true);
    }
    cr_assert_eq(rm_cell_calibration(&r, cell, NULL, &c, NULL), RM_OK);
    cr_assert_eq(c.n, 20);
    cr_assert_eq(c.ece.n, 10);
    cr_assert_eq(c.bins[4].n, 20); /* two of four: 0.5 lies in (0.4, 0.5] */
    cr_assert_float_eq(c.ece.value, 0, 1e-12);
    cr_assert_eq(rm_cell_calibration(&r, single, NULL, &c, &err), RM_E_ARGUMENT);
    cr_assert(strstr(err.text, "greedy"));
    rm_records_free(&r);
}

Test(calibration, refuses_what_is_no_confidence)
{
    const double good = 0.5, above = 1.5, nothing = NAN;
    rm_calibration c;
    cr_assert_eq(rm_calibrate(&good, &good, NULL, 0, NULL, &c, NULL), RM_E_ARGUMENT);
    cr_assert_eq(rm_calibrate(&above, &good, NULL, 1, NULL, &c, NULL), RM_E_ARGUMENT);
    cr_assert_eq(rm_calibrate(&good, &nothing, NULL, 1, NULL, &c, NULL), RM_E_ARGUMENT);
    cr_assert_eq(rm_calibrate(&good, &good, NULL, 1, NULL, &c, NULL), RM_OK);
    cr_assert(isnan(c.ece.low)); /* one result has no interval */
}
