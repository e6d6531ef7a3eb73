/* proportion.c - shares and pairs of shares: closed forms that need no resampling.
 *
 * Wilson's score interval (Wilson 1927, JASA 22:209): all p with |p - x/n| <= z sqrt(p(1-p)/n),
 *
 *     (x + z^2/2 +- z sqrt(x(n-x)/n + z^2/4)) / (n + z^2).
 *
 * It keeps its coverage near 0 and 1, where the normal and the bootstrap interval collapse
 * (Brown, Cai & DasGupta 2001, Statistical Science 16:101). */
#include "analysis/internal.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <math.h>
#include <stdlib.h>

static double two_sided_z(double level)
{
    return gsl_cdf_ugaussian_Qinv((1 - level) / 2);
}

rm_estimate rm_wilson(double successes, double n, double level)
{
    rm_estimate e = { NAN, NAN, NAN, level, 0, "Wilson" };
    if (!(n > 0) || !(successes >= 0) || !(successes <= n) || !(level > 0) || !(level < 1))
        return e;
    double z = two_sided_z(level), z2 = z * z;
    double centre = (successes + z2 / 2) / (n + z2);
    double half = z * sqrt(successes * (n - successes) / n + z2 / 4) / (n + z2);
    e.value = successes / n;
    e.low = successes > 0 ? fmax(0, centre - half) : 0;  /* exactly 0 and 1 at the ends, where */
    e.high = successes < n ? fmin(1, centre + half) : 1; /* rounding would leave 1e-17 */
    e.n = (size_t)n;
    return e;
}

/* Exact McNemar test (McNemar 1947, Psychometrika 12:153, in its binomial form): given b + c
 * discordant pairs, b ~ Binomial(b + c, 1/2) if the two are equally good;
 * p = min(1, 2 P(X <= min(b, c))). */
double rm_mcnemar(size_t b, size_t c)
{
    size_t n = b + c, k = b < c ? b : c;
    if (b == c)
        return 1;
    /* gsl_cdf_binomial_P takes unsigned int; the incomplete beta function behind it does not:
     * P(X <= k) = I_{1/2}(n - k, k + 1). */
    return fmin(1, 2 * gsl_cdf_beta_P(0.5, (double)(n - k), (double)k + 1));
}

/* Newcombe's method 10 (1998, Statistics in Medicine 17:2635): squares and adds the distances of
 * the two Wilson limits, allowing for the correlation phi of the pairs,
 *
 *     low  = d - sqrt((p1-l1)^2 - 2 phi (p1-l1)(u2-p2) + (u2-p2)^2)
 *     high = d + sqrt((u1-p1)^2 - 2 phi (u1-p1)(p2-l2) + (p2-l2)^2)
 *     phi  = (e h - f g) / sqrt of the product of the margins, with n/2 subtracted from a positive
 *            numerator (not below 0); 0 if a margin is 0. */
rm_estimate rm_newcombe_paired(double both, double only_a, double only_b, double neither,
                               double level)
{
    double n = both + only_a + only_b + neither;
    rm_estimate e = { NAN, NAN, NAN, level, 0, "Newcombe's paired score interval" };
    if (!(n > 0) || !(fmin(fmin(both, neither), fmin(only_a, only_b)) >= 0))
        return e;
    /* Sums of shares may exceed n by a rounding error, which rm_wilson would refuse. */
    rm_estimate a = rm_wilson(fmin(both + only_a, n), n, level);
    rm_estimate b = rm_wilson(fmin(both + only_b, n), n, level);

    double margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither);
    double cross = both * neither - only_a * only_b;
    if (cross > 0)
        cross = fmax(0, cross - n / 2);
    double phi = margins > 0 ? cross / sqrt(margins) : 0;

    double la = a.value - a.low, ua = a.high - a.value;
    double lb = b.value - b.low, ub = b.high - b.value;
    e.value = (only_a - only_b) / n;
    e.low = e.value - sqrt(fmax(0, la * la - 2 * phi * la * ub + ub * ub));
    e.high = e.value + sqrt(fmax(0, ua * ua - 2 * phi * ua * lb + lb * lb));
    e.n = (size_t)(n + 0.5);
    return e;
}

/* Holm (1979, Scandinavian Journal of Statistics 6:65): with p_(1) <= ... <= p_(m),
 *
 *     adjusted_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)). */
rm_status rm_holm(const double *p, size_t n, double *adjusted, rm_error *err)
{
    if (n == 0)
        return RM_OK;
    size_t *order = malloc(n * sizeof *order);
    double *result = malloc(n * sizeof *result);
    rm_status status = RM_OK;
    if (!order || !result) {
        status = rm_fail(err, RM_E_MEMORY, "no memory to adjust %zu p-values", n);
        goto done;
    }
    gsl_sort_index(order, p, 1, n);
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fmin(1, (double)(n - i) * p[order[i]]));
        result[order[i]] = largest;
    }
    for (size_t i = 0; i < n; i++)
        adjusted[i] = result[i];
done:
    free(order);
    free(result);
    return status;
}

/* Two-sided z-test of a mean of n differences: power is reached at
 *
 *     |difference| = (z_{1-alpha/2} + z_power) sd / sqrt(n)
 *
 * (Cohen 1988, Statistical Power Analysis, ch. 2; the far tail is neglected). */
double rm_detectable(double sd, double n, double level, double power)
{
    if (!(sd >= 0) || !(n > 0) || !(level > 0 && level < 1) || !(power > 0 && power < 1))
        return NAN;
    return (two_sided_z(level) + gsl_cdf_ugaussian_Pinv(power)) * sd / sqrt(n);
}

double rm_problems_needed(double sd, double difference, double level, double power)
{
    double at_one = rm_detectable(sd, 1, level, power);
    return difference > 0 ? ceil(at_one * at_one / (difference * difference)) : NAN;
}

rm_verdict rm_verdict_better(rm_estimate difference, int direction, double margin)
{
    double near = direction > 0 ? difference.low : -difference.high;
    double far = direction > 0 ? difference.high : -difference.low;
    if (isnan(near) || isnan(far))
        return RM_INCONCLUSIVE;
    return near > 0 ? RM_SUPPORTED : far < margin ? RM_REFUTED : RM_INCONCLUSIVE;
}

rm_verdict rm_verdict_equal(rm_estimate difference, double margin)
{
    if (isnan(difference.low) || isnan(difference.high) || !(margin > 0))
        return RM_INCONCLUSIVE;
    if (difference.low > -margin && difference.high < margin)
        return RM_SUPPORTED;
    return difference.low > margin || difference.high < -margin ? RM_REFUTED : RM_INCONCLUSIVE;
}
