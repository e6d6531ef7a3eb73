/* objective.c - GRPO, Dr. GRPO and DAPO.
 *
 * G samples o_i of one problem have rewards r_i. With rho = exp(lp - lp_old), the ratio of a
 * token's probability to that under the policy it was drawn from (temperature 1), a token's
 * objective is
 *
 *     s = min(rho A, clip(rho, 1 - clip_low, 1 + clip_high) A) - beta (e^d - d - 1),  d = lp_ref -
 * lp
 *
 * (the second part is the k3 estimator of the divergence from the reference; Schulman 2020), and
 * what is maximised is the sum of weight * s.
 *
 *     grpo      A = (r - mean) / (std + 1e-6), population std;  weight 1 / (|o_i| N): the mean over
 *               a sample's tokens, then over the N samples
 *               Shao et al. 2024 (DeepSeekMath), arXiv:2402.03300
 *     dr-grpo   A = r - mean;  weight 1 / (N L), L constant (the largest number of tokens): nothing
 *               makes a long wrong answer cheaper than a short one
 *               Liu et al. 2025, arXiv:2503.20783
 *     dapo      A as in grpo; weight 1 / (tokens of all samples); clip_high > clip_low; no
 *               divergence; problems without signal are replaced (grpo.c); rewards lowered in the
 *               last `overlong` tokens before the limit
 *               Yu et al. 2025, arXiv:2503.14476
 *
 * Samples cut off by the limit keep their reward. A problem whose rewards are all equal gives no
 * signal in any of the three and is counted. */
#include "experiments/train/train.h"

#include <math.h>

bool group_advantages(group_objective objective, group_sample *sample, int n)
{
    double mean = 0, variance = 0;
    bool equal = true;
    for (int i = 0; i < n; i++) {
        mean += sample[i].reward / n;
        equal &= sample[i].reward == sample[0].reward;
    }
    for (int i = 0; i < n; i++)
        variance += (sample[i].reward - mean) * (sample[i].reward - mean) / n;
    double scale = objective == OBJECTIVE_DR_GRPO ? 1 : 1 / (sqrt(variance) + 1e-6);
    for (int i = 0; i < n; i++)
        sample[i].advantage = equal ? 0 : (sample[i].reward - mean) * scale;
    return !equal;
}

/* 0 up to limit - buffer tokens, then falling in a straight line to -1 at the limit. */
double overlong_penalty(int n, int max_new_tokens, int buffer)
{
    if (buffer <= 0 || n <= max_new_tokens - buffer)
        return 0;
    return n >= max_new_tokens ? -1 : (double)(max_new_tokens - buffer - n) / buffer;
}

double token_weight(group_objective objective, int n_tokens, int n_samples, double tokens,
                    int constant)
{
    switch (objective) {
    case OBJECTIVE_GRPO:
        return 1.0 / n_tokens / n_samples;
    case OBJECTIVE_DR_GRPO:
        return 1.0 / n_samples / constant;
    default:
        return 1.0 / tokens;
    }
}

/* The loss is -weight s. The minimum is flat where the clipped ratio decides: above for A > 0,
 * below for A < 0. d/dlp of e^d - d - 1 is 1 - e^d. */
double token_slope(const train_recipe *r, double weight, double advantage, double lp, double lp_old,
                   double lp_reference)
{
    double ratio = rm_math_exp(lp - lp_old);
    bool clipped = advantage > 0 ? ratio > 1 + r->clip_high : ratio < 1 - r->clip_low;
    double s = clipped ? 0 : ratio * advantage;
    if (r->beta > 0 && r->objective != OBJECTIVE_DAPO)
        s -= r->beta * (1 - rm_math_exp(lp_reference - lp));
    return -weight * s;
}
