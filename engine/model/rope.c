/* rope.c - how rotary frequencies are stretched.
 *
 * Pair i of n_dims / 2 turns by w_i = theta^(-2i / n_dims) a position, so within the original
 * context T it makes r_i = T w_i / 2 pi turns.
 *
 * llama3 (Llama 3.1, Grattafiori et al. 2024, arXiv:2407.21783, section 3.4.2 and its released
 * code): pairs that turn often keep their frequency, those that turn seldom get it divided by s,
 * between low and high turns it is mixed:
 *
 *     m = (r_i - low) / (high - low), clamped to [0, 1]      w' = w_i ((1 - m) / s + m)
 *
 * yarn (Peng et al. 2023, arXiv:2309.00071): the same with a ramp that is linear in the number of
 * the pair and not in its turns, from the pair that makes beta_fast turns to the one that makes
 * beta_slow, both rounded outwards as the released code does; and attention is sharpened by
 * multiplying cosines and sines by 0.1 ln s + 1; or by (0.1 m ln s + 1) / (0.1 m_all ln s + 1), where
 * a file has both weights.
 *
 * dynamic (NTK-aware scaling, as transformers defines it): in a context of n > T positions the base
 * grows,
 *
 *     theta' = theta (s n / T - (s - 1))^(d / (d - 2)),    d = n_dims
 *
 * long (LongRoPE, Ding et al. 2024, arXiv:2402.13753): the file lists a divisor for each pair, once
 * for contexts up to T and once for longer ones, and cosines and sines are multiplied by
 * sqrt(1 + ln s / ln T).
 *
 * transformers lets both depend on the length of the text so far, so that the keys it has cached
 * are those of another base than the next query's. Here the context that a model is opened with
 * decides, once (as vLLM and llama.cpp have it): a position's key depends on nothing behind it. */
#include "engine/model/rope.h"

#include "engine/num.h"

#include <math.h>

#define TURN 6.283185307179586

/* The pair, as a real number, that makes `turns` turns within the original context. */
static double pair_of(const rm_rope_scaling *s, int n_dims, double theta, double turns)
{
    return n_dims * rm_log(s->original_context / (turns * TURN)) / (2 * rm_log(theta));
}

static void llama3(const rm_rope_scaling *s, int n_dims, double theta, float *divisors)
{
    for (int i = 0; i < n_dims / 2; i++) {
        double turns = s->original_context * rm_pow(theta, -2.0 * i / n_dims) / TURN;
        double keep = (turns - s->low_freq) / (s->high_freq - s->low_freq);
        keep = keep < 0 ? 0 : keep > 1 ? 1 : keep;
        divisors[i] = (float)(1 / ((1 - keep) / s->factor + keep));
    }
}

static void yarn(const rm_rope_scaling *s, int n_dims, double theta, float *divisors)
{
    double low = pair_of(s, n_dims, theta, s->beta_fast),
           high = pair_of(s, n_dims, theta, s->beta_slow);
    if (!s->exact_range) {
        low = floor(low);
        high = ceil(high);
    }
    low = low > 0 ? low : 0;
    high = high < n_dims - 1 ? high : n_dims - 1;
    if (high - low < 0.001)
        high = low + 0.001;
    for (int i = 0; i < n_dims / 2; i++) {
        double slow = (i - low) / (high - low); /* 0: keeps its frequency */
        slow = slow < 0 ? 0 : slow > 1 ? 1 : slow;
        divisors[i] = (float)(1 / (slow / s->factor + (1 - slow)));
    }
}

static bool positive(double x)
{
    return x > 0 && x < 1e12;
}

rm_status rm_rope_divisors(const rm_rope_scaling *s, int n_dims, double theta, const char *name,
                           float *divisors, double *magnitude, rm_error *err)
{
    *magnitude = 1;
    if (s->magnitude < 0 || s->magnitude > 1e6)
        return rm_fail(err, RM_E_FORMAT, "%s: the factor of rotary cosines and sines is %g; a number "
                       "above 0 was expected", name, s->magnitude);
    if (s->magnitude > 0)
        *magnitude = s->magnitude;
    if (s->kind != RM_ROPE_LLAMA3 && s->kind != RM_ROPE_YARN)
        return RM_OK;
    if (!positive(s->factor) || !positive(s->original_context) || !(theta > 1))
        return rm_fail(err, RM_E_FORMAT, "%s: a rotary factor of %g over an original context of %g "
                       "positions with base %g; numbers above 0, and a base above 1, were expected",
                       name, s->factor, s->original_context, theta);
    if (s->kind == RM_ROPE_LLAMA3) {
        if (!positive(s->low_freq) || !positive(s->high_freq) || s->low_freq >= s->high_freq)
            return rm_fail(err, RM_E_FORMAT, "%s: low_freq_factor is %g and high_freq_factor %g; "
                           "the second must be above the first, both above 0", name, s->low_freq,
                           s->high_freq);
        llama3(s, n_dims, theta, divisors);
        return RM_OK;
    }
    if (!positive(s->beta_slow) || !positive(s->beta_fast) || s->beta_slow >= s->beta_fast)
        return rm_fail(err, RM_E_FORMAT, "%s: yarn's beta_fast is %g and beta_slow %g; the first "
                       "must be above the second, both above 0", name, s->beta_fast, s->beta_slow);
    yarn(s, n_dims, theta, divisors);
    if (!(s->magnitude > 0))
        *magnitude = rm_rope_yarn_magnitude(s->factor, 1, 0);
    return RM_OK;
}

double rm_rope_dynamic_theta(const rm_rope_scaling *s, int n_dims, double theta, int n)
{
    if (n <= s->original_context || n_dims <= 2)
        return theta;
    double grown = s->factor * n / s->original_context - (s->factor - 1);
    return theta * rm_pow(grown, n_dims / (n_dims - 2.0));
}

double rm_rope_long_magnitude(double factor, double original_context)
{
    return factor > 1 && original_context > 1 ? sqrt(1 + rm_log(factor) / rm_log(original_context)) : 1;
}

double rm_rope_yarn_magnitude(double factor, double m, double m_all)
{
    double log = factor > 1 ? rm_log(factor) : 0;
    return (0.1 * m * log + 1) / (0.1 * m_all * log + 1);
}
