/* self_consistency.c - sample n paths, let their answers vote.
 * Wang et al. 2022, arXiv:2203.11171.
 *
 *     a_i = canonical answer of path i          (none: the path does not vote)
 *     a*  = argmax_a  sum_i  w_i [a_i = a]      w_i = 1            majority
 *                                                     exp(lp_i)      prob
 *                                                     exp(lp_i/len_i) mean_prob
 *                                                     v_i            value: a reward model's, the
 *                                                                    last of two models
 *
 * Ties go to the answer whose best path has the larger lp, then to the smaller i. The weights are
 * summed relative to the largest (ballot.h), since exp(lp) of a long path underflows. The chosen
 * candidate is the winning answer's most likely path; a candidate's score is the share of the
 * weight that its answer got. */
#include "strategies/ballot.h"
#include "strategies/list.h"
#include "strategies/params.h"
#include "strategies/samples.h"
#include "strategies/value.h"

enum { WEIGHT_MAJORITY, WEIGHT_PROB, WEIGHT_MEAN_PROB, WEIGHT_VALUE };
static const char *const weight_names[] = { "majority", "prob", "mean_prob", "value", NULL };

typedef struct sc_params {
    rm_sampling sampling;
    int n, max_new_tokens;
    int weight;
} sc_params;

static const rm_param sc_table[] = {
    PARAM_INT(sc_params, n, "num_return_sequences", 8, 1, MAX_SAMPLES, "samples to draw"),
    PARAM_CHOICE(sc_params, weight, "weight", WEIGHT_MAJORITY, weight_names, "what a vote weighs"),
    PARAM_MAX_NEW_TOKENS(sc_params, max_new_tokens),
    PARAMS_SAMPLING(sc_params, sampling),
    PARAM_END,
};

static unsigned sc_needs(const void *params)
{
    const sc_params *p = params;
    switch (p->weight) {
    case WEIGHT_MAJORITY: return RM_NEEDS_SAMPLES;
    case WEIGHT_VALUE: return RM_NEEDS_SAMPLES | RM_NEEDS_SCORING | RM_NEEDS_ONE_VOCABULARY;
    default: return RM_NEEDS_SAMPLES | RM_NEEDS_LOGPROBS;
    }
}

static bool sc_exchangeable(const void *params)
{
    (void)params;
    return true;
}

static bool sc_relative_score(const void *params)
{
    (void)params;
    return true; /* a share of the votes */
}

static void sc_pool(const void *params, rm_sampling *sampling, int *n_samples, int *max_new_tokens)
{
    const sc_params *p = params;
    *sampling = p->sampling;
    sampling->do_sample = true;
    *n_samples = p->n;
    *max_new_tokens = p->max_new_tokens;
}

static uint64_t sc_judge_positions(const void *params, int n_prompt, int n_ctx)
{
    const sc_params *p = params;
    return p->weight == WEIGHT_VALUE
               ? value_positions((uint64_t)p->n, p->max_new_tokens, n_prompt, n_ctx) : 0;
}

static rm_status sc_check(const void *params, int n_models, rm_error *err)
{
    bool value = ((const sc_params *)params)->weight == WEIGHT_VALUE;
    if ((n_models == 2) != value)
        return rm_fail(err, RM_E_ARGUMENT, value
                       ? "weight = value takes two models: one that draws "
                                                   "and a reward model"
                                                 : "two models are for weight = value: the second "
                                                 "one "
                                                   "judges");
    return RM_OK;
}

/* log w_i. A value that rounds to 0 weighs next to nothing, but is a vote. */
static double log_weight(int weight, const rm_candidate *c, double value)
{
    switch (weight) {
    case WEIGHT_VALUE: return rm_math_log(value > 1e-300 ? value : 1e-300);
    case WEIGHT_PROB: return c->lp;
    case WEIGHT_MEAN_PROB: return mean_lp(c);
    default: return 0;
    }
}

static rm_status sc_choose(const rm_trial *trial, const void *params, rm_outcome *out,
                           rm_error *err)
{
    const sc_params *p = params;
    ballot votes = { .logs = true };
    rm_status status = run_array(trial->run, (size_t)out->n_candidates, sizeof *votes.vote,
                                 &votes.vote, err);
    double *value = NULL;
    if (!status)
        status = run_array(trial->run, (size_t)out->n_candidates, sizeof *value, &value, err);
    if (!status && p->weight == WEIGHT_VALUE)
        status = value_check(trial, "weight = value", err);
    if (!status && p->weight == WEIGHT_VALUE)
        status = value_of_candidates(trial, out->candidates, out->n_candidates, value, err);
    if (status)
        return status;
    for (int i = 0; i < out->n_candidates; i++) {
        const rm_candidate *c = &out->candidates[i];
        ballot_add(&votes, i, c->answer, log_weight(p->weight, c, value[i]), c->lp);
    }
    ballot_count(&votes);
    for (int i = 0; i < out->n_candidates; i++)
        out->candidates[i].score = votes.sum > 0 ? ballot_total(&votes, i) / votes.sum : 0;
    out->chosen = votes.winner;
    return RM_OK;
}

const rm_strategy rm_self_consistency = {
    .name = "self-consistency",
    .paper = "Wang et al. 2022, arXiv:2203.11171",
    .summary = "independent samples, their answers vote",
    .params = sc_table,
    .params_size = sizeof(sc_params),
    .size_param = "num_return_sequences",
    .min_models = 1,
    .max_models = 2,
    .needs = sc_needs,
    .exchangeable = sc_exchangeable,
    .relative_score = sc_relative_score,
    .check = sc_check,
    .judge_positions = sc_judge_positions,
    .pool = sc_pool,
    .choose = sc_choose,
};
