/* pick_math.h - the arithmetic of picks (pick.h), one number at a time, for every backend.
 *
 * A backend arranges these over a vocabulary as suits it; where an order is part of a result (the
 * eight lanes of a sum of exponentials, the sum of an entropy) it is said here. Sums of integer
 * weights are exact in any order. */
#ifndef RM_ENGINE_PICK_MATH_H
#define RM_ENGINE_PICK_MATH_H

#include "engine/num.h"

enum { RM_SUM_LANES = 8 }; /* of max_sum: lane j adds entries j, j + 8, ... in ascending order */

/* The lanes folded 4, 2, 1; what they hold is used up. */
RM_BOTH double rm_fold_lanes(double *lane)
{
    for (int half = RM_SUM_LANES / 2; half >= 1; half /= 2)
        for (int j = 0; j < half; j++)
            lane[j] += lane[j + half];
    return lane[0];
}

/* round(2^40 exp((x - max) / temperature)); what is not a number has no weight. The exponential is
 * at most 1, so the sum lies in [2^52, 2^53) and its low bits are the rounded integer. */
RM_BOTH uint64_t rm_weight_of(double x, double max, double temperature)
{
    double e = rm_exp((x - max) / temperature);
    return e == e ? rm_bits(e * 0x1p40 + 0x1p52) & ((UINT64_C(1) << 52) - 1) : 0;
}

/* The repetition penalty on a logit or a log-probability. */
RM_BOTH double rm_penalised(double x, double penalty)
{
    return x < 0.0 ? x * penalty : x / penalty;
}

/* The least whole weight that is at least `share` of `total`. */
RM_BOTH uint64_t rm_share_of(double share, uint64_t total)
{
    double exact = share * (double)total;
    uint64_t need = (uint64_t)exact;
    need += (double)need < exact;
    return need < 1 ? 1 : need > total ? total : need;
}

/* What a member of a combined distribution adds: to log p of a product, to p of a mixture. */
RM_BOTH double rm_product_term(double weight, double logit, double lse)
{
    return weight * (logit - lse);
}

RM_BOTH double rm_mixture_term(double weight, double total_weight, double logit, double lse)
{
    return weight / total_weight * rm_exp(logit - lse);
}

/* Surprise of a weight, and what it adds to the entropy (summed in token-id order). */
RM_BOTH double rm_surprise(double log_total, uint64_t w)
{
    return log_total - rm_log((double)w);
}

RM_BOTH double rm_entropy_term(uint64_t w, uint64_t total, double surprise)
{
    return (double)w / (double)total * surprise;
}

/* Log-probability of a drawn token under what was left of the distribution. */
RM_BOTH double rm_log_share(uint64_t w, uint64_t total)
{
    return rm_log((double)w) - rm_log((double)total);
}

#endif
