/* test_proportion.c - closed forms against published values. */
#include "analysis/analysis.h"

#include <criterion/criterion.h>
#include <math.h>

/* ---- Wilson ------------------------------------------------------------------------------ */

/* Newcombe 1998, Statistics in Medicine 17:857, table I, method 3 (score, no continuity
 * correction), as printed to four decimals; the first row is a published GSM8K accuracy. */
static const struct {
    double x, n, low, high, tolerance;
} wilson[] = {
    { 742, 1319, 0.53563, 0.58910, 5e-6 }, { 81, 263, 0.2553, 0.3662, 5e-5 },
    { 15, 148, 0.0624, 0.1605, 5e-5 },     { 0, 20, 0.0000, 0.1611, 5e-5 },
    { 1, 29, 0.0061, 0.1718, 5e-5 },
};

Test(proportion, wilson_published)
{
    for (size_t i = 0; i < sizeof wilson / sizeof *wilson; i++) {
        rm_estimate e = rm_wilson(wilson[i].x, wilson[i].n, 0.95);
        cr_assert_float_eq(e.low, wilson[i].low, wilson[i].tolerance, "%g/%g: low %.6f",
                           wilson[i].x, wilson[i].n, e.low);
        cr_assert_float_eq(e.high, wilson[i].high, wilson[i].tolerance, "%g/%g: high %.6f",
                           wilson[i].x, wilson[i].n, e.high);
    }
}

/* The limits are the p that solve (x/n - p)^2 = z^2 p(1-p)/n: put them back in. */
Test(proportion, wilson_solves_its_equation)
{
    const double z = 1.6448536269514722; /* 95% quantile of the normal distribution */
    for (int x = 1; x < 40; x++) {
        rm_estimate e = rm_wilson(x, 40, 0.90);
        double ends[] = { e.low, e.high };
        for (int i = 0; i < 2; i++)
            cr_assert_float_eq(fabs(e.value - ends[i]), z * sqrt(ends[i] * (1 - ends[i]) / 40),
                               1e-12);
    }
}

Test(proportion, wilson_edges)
{
    rm_estimate all = rm_wilson(7, 7, 0.95), none = rm_wilson(0, 7, 0.95);
    cr_assert_eq(all.high, 1);
    cr_assert_eq(none.low, 0);
    cr_assert_float_eq(all.low, 1 - none.high, 1e-15);
    cr_assert(isnan(rm_wilson(0, 0, 0.95).value));
    cr_assert(isnan(rm_wilson(3, 2, 0.95).value));
    cr_assert(isnan(rm_wilson(1, 2, 1).value));
}

/* ---- McNemar ----------------------------------------------------------------------------- */

static const struct {
    size_t b, c;
    double p, tolerance;
} mcnemar[] = {
    { 209, 152, 0.003151, 5e-7 },
    /* Fagerland, Lydersen & Laake 2013 (BMC Med. Res. Methodol. 13:91), two data sets */
    { 1, 7, 0.0703, 5e-5 },
    { 6, 16, 0.0525, 5e-5 },
    /* by hand: 2 (1 + 5) / 2^5; 2 / 2^10; 1 */
    { 4, 1, 12.0 / 32, 1e-15 },
    { 10, 0, 2.0 / 1024, 1e-15 },
    { 3, 3, 1, 0 },
    { 0, 0, 1, 0 },
};

Test(proportion, mcnemar_published)
{
    for (size_t i = 0; i < sizeof mcnemar / sizeof *mcnemar; i++) {
        double p = rm_mcnemar(mcnemar[i].b, mcnemar[i].c);
        cr_assert(fabs(p - mcnemar[i].p) <= mcnemar[i].tolerance, "%zu:%zu gives %.7f",
                  mcnemar[i].b, mcnemar[i].c, p);
        cr_assert_eq(p, rm_mcnemar(mcnemar[i].c, mcnemar[i].b));
    }
}

/* ---- paired differences ------------------------------------------------------------------ */

/* Fagerland, Lydersen & Laake 2014 (Statistics in Medicine 33:2850), airway reactivity: 1 and 12
 * concordant, 1 against 7 discordant pairs; Newcombe's interval there is (-0.507, -0.026). */
Test(proportion, newcombe_published)
{
    rm_estimate e = rm_newcombe_paired(1, 1, 7, 12, 0.95);
    cr_assert_float_eq(e.value, -6.0 / 21, 1e-15);
    cr_assert_float_eq(e.low, -0.507, 5e-4);
    cr_assert_float_eq(e.high, -0.026, 5e-4);
}

/* Without correlation (a margin is empty) the limits are the distances of the two Wilson
 * intervals, squared and added. */
Test(proportion, newcombe_without_correlation)
{
    rm_estimate e = rm_newcombe_paired(0, 9, 0, 11, 0.95);
    rm_estimate a = rm_wilson(9, 20, 0.95), b = rm_wilson(0, 20, 0.95);
    cr_assert_float_eq(e.low, 0.45 - hypot(a.value - a.low, b.high - b.value), 1e-14);
    cr_assert_float_eq(e.high, 0.45 + hypot(a.high - a.value, b.value - b.low), 1e-14);
}

Test(proportion, newcombe_turns_round)
{
    rm_estimate e = rm_newcombe_paired(20, 9, 4, 17, 0.95);
    rm_estimate f = rm_newcombe_paired(20, 4, 9, 17, 0.95);
    cr_assert_float_eq(e.low, -f.high, 1e-15);
    cr_assert_float_eq(e.high, -f.low, 1e-15);
    cr_assert(e.low < e.value && e.value < e.high);
}

/* ---- Holm -------------------------------------------------------------------------------- */

Test(proportion, holm_by_hand)
{
    /* sorted 0.005 0.01 0.03 0.04 times 4 3 2 1 = 0.02 0.03 0.06 0.04 -> 0.06 (monotone) */
    const double p[] = { 0.01, 0.04, 0.03, 0.005 }, expected[] = { 0.03, 0.06, 0.06, 0.02 };
    double adjusted[4];
    cr_assert_eq(rm_holm(p, 4, adjusted, NULL), RM_OK);
    for (int i = 0; i < 4; i++)
        cr_assert_float_eq(adjusted[i], expected[i], 1e-15);
    double large[] = { 0.9, 0.8 };
    cr_assert_eq(rm_holm(large, 2, large, NULL), RM_OK); /* in place, cut at 1 */
    cr_assert_eq(large[0], 1);
    cr_assert_eq(large[1], 1);
}

/* ---- power and verdicts ------------------------------------------------------------------ */

/* (1.959964 + 0.841621) sd / sqrt(n), the factor 2.8016 of every power table (Cohen 1988). */
Test(proportion, detectable)
{
    cr_assert_float_eq(rm_detectable(0.5, 400, 0.95, 0.80), 2.801585 * 0.5 / 20, 1e-7);
    cr_assert_float_eq(rm_detectable(1, 100, 0.95, 0.90), 3.241516 / 10, 1e-7);
    cr_assert(isnan(rm_detectable(0.5, 0, 0.95, 0.8)));
}

/* The inverse: 785 for a standardised difference of 0.1 at 5% and 80% (Cohen 1988, 2.8016^2 /
 * 0.01); the second by scipy.stats.norm.ppf (SciPy 1.17.1). */
Test(proportion, problems_needed)
{
    cr_assert_eq(rm_problems_needed(0.5, 0.05, 0.95, 0.80), 785);
    cr_assert_eq(rm_problems_needed(0.3, 0.02, 0.99, 0.90), 3348);
    cr_assert(rm_detectable(0.3, 3348, 0.99, 0.9) <= 0.02);
    cr_assert(rm_detectable(0.3, 3347, 0.99, 0.9) > 0.02);
    cr_assert(isnan(rm_problems_needed(0.5, 0, 0.95, 0.8)));
    cr_assert(isnan(rm_problems_needed(NAN, 0.05, 0.95, 0.8)));
}

static const struct {
    double low, high;
    int direction;
    double margin;
    rm_verdict better, equal;
} verdicts[] = {
    { 0.01, 0.05, +1, 0.02, RM_SUPPORTED, RM_INCONCLUSIVE },
    { 0.01, 0.05, -1, 0.02, RM_REFUTED, RM_INCONCLUSIVE },
    { -0.01, 0.01, +1, 0.02, RM_REFUTED, RM_SUPPORTED },
    { -0.01, 0.05, +1, 0.02, RM_INCONCLUSIVE, RM_INCONCLUSIVE },
    { -0.05, -0.03, -1, 0.02, RM_SUPPORTED, RM_REFUTED },
    { 0.03, 0.05, +1, 0.02, RM_SUPPORTED, RM_REFUTED },
    { NAN, NAN, +1, 0.02, RM_INCONCLUSIVE, RM_INCONCLUSIVE },
};

Test(proportion, verdicts)
{
    for (size_t i = 0; i < sizeof verdicts / sizeof *verdicts; i++) {
        rm_estimate d = { .low = verdicts[i].low, .high = verdicts[i].high };
        cr_assert_eq(rm_verdict_better(d, verdicts[i].direction, verdicts[i].margin),
                     verdicts[i].better, "row %zu", i);
        cr_assert_eq(rm_verdict_equal(d, verdicts[i].margin), verdicts[i].equal, "row %zu", i);
    }
}

/* The claim is judged by the corrected interval, whatever the comparison's own says. */
static const struct {
    double low, high, margin;
    rm_direction direction;
    rm_verdict claim;
} claims[] = {
    { 0.01, 0.05, 0, RM_DIRECTION_NONE, RM_INCONCLUSIVE },
    { 0.01, 0.05, 0, RM_DIRECTION_HIGHER, RM_SUPPORTED },
    { 0.01, 0.05, 0, RM_DIRECTION_LOWER, RM_REFUTED },
    { 0, 0.05, 0, RM_DIRECTION_HIGHER, RM_INCONCLUSIVE },      /* touches 0 */
    { -0.05, 0.019, 0.02, RM_DIRECTION_HIGHER, RM_REFUTED },   /* excludes delta */
    { -0.05, 0.019, 0, RM_DIRECTION_HIGHER, RM_INCONCLUSIVE }, /* no delta is stated */
    { -0.05, 0.02, 0.02, RM_DIRECTION_HIGHER, RM_INCONCLUSIVE },
    { -0.05, -0.01, 0.02, RM_DIRECTION_LOWER, RM_SUPPORTED },
    { -0.019, 0.05, 0.02, RM_DIRECTION_LOWER, RM_REFUTED },
    { -0.01, 0.01, 0.02, RM_DIRECTION_EQUAL, RM_SUPPORTED },
    { 0.03, 0.05, 0.02, RM_DIRECTION_EQUAL, RM_REFUTED },
    { -0.01, 0.03, 0.02, RM_DIRECTION_EQUAL, RM_INCONCLUSIVE },
};

Test(proportion, claims)
{
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        rm_comparison c = { .difference = { .low = 0.9, .high = 1 },
                            .corrected = { .low = claims[i].low, .high = claims[i].high } };
        rm_analysis_options o = { .direction = claims[i].direction, .margin = claims[i].margin };
        cr_expect_eq(rm_comparison_claim(&c, &o), claims[i].claim, "row %zu", i);
    }
    cr_expect_str_eq(rm_verdict_name(RM_REFUTED), "refuted");
    cr_expect_str_eq(rm_direction_names[RM_DIRECTION_EQUAL], "equal");
}
