/* self_consistency.c - sample n paths, let their answers vote.
 * Wang et al. 2022, arXiv:2203.11171.
 *
 *     a_i = canonical answer of path i          (none: the path does not vote)
 *     a*  = argmax_a  sum_i  w_i [a_i = a]      w_i = 1            majority
 *                                                     exp(lp_i)      prob
 *                                                     exp(lp_i/len_i) mean_prob
 *
 * Ties go to the answer whose best path has the larger lp, then to the smaller i. The weights are
 * summed relative to the largest (ballot.h), since exp(lp) of a long path underflows. The chosen
 * candidate is the winning answer's most likely path; a candidate's score is the share of the
 * weight that its answer got. */
#include "strategies/ballot.h"
#include "strategies/list.h"
#include "strategies/params.h"
#include "strategies/samples.h"

enum { WEIGHT_MAJORITY, WEIGHT_PROB, WEIGHT_MEAN_PROB };
static const char *const weight_names[] = { "majority", "prob", "mean_prob", NULL };

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
    return RM_NEEDS_SAMPLES | (p->weight == WEIGHT_MAJORITY ? 0u : RM_NEEDS_LOGPROBS);
}

static bool sc_exchangeable(const void *params)
{
    (void)params;
    return true;
}

static void sc_pool(const void *params, rm_sampling *sampling, int *n_samples, int *max_new_tokens)
{
    const sc_params *p = params;
    *sampling = p->sampling;
    sampling->do_sample = true;
    *n_samples = p->n;
    *max_new_tokens = p->max_new_tokens;
}

/* Of the logarithm: log w_i. */
static double log_weight(int weight, const rm_candidate *c)
{
    switch (weight) {
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
    if (status)
        return status;
    for (int i = 0; i < out->n_candidates; i++) {
        const rm_candidate *c = &out->candidates[i];
        ballot_add(&votes, i, c->answer, log_weight(p->weight, c), c->lp);
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
    .max_models = 1,
    .needs = sc_needs,
    .exchangeable = sc_exchangeable,
    .pool = sc_pool,
    .choose = sc_choose,
};
