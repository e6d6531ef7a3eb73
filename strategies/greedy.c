/* greedy.c - the most likely token at every step; the baseline of every comparison.
 *
 *     x_t = argmax_v p(v | x_<t)           ties to the smaller token id
 *
 * With repetition_penalty the argmax is taken over the penalised logits (Keskar et al. 2019,
 * arXiv:1909.05858); lp stays the raw model's. */
#include "strategies/list.h"
#include "strategies/params.h"

typedef struct greedy_params {
    int max_new_tokens;
    double repetition_penalty;
} greedy_params;

static const rm_param greedy_table[] = {
    PARAM_MAX_NEW_TOKENS(greedy_params, max_new_tokens),
    PARAM_REPETITION_PENALTY(greedy_params, repetition_penalty),
    PARAM_END,
};

static unsigned greedy_needs(const void *params)
{
    (void)params;
    return RM_NEEDS_SAMPLES;
}

/* One path, and the same one every time: no independent draws. */
static bool greedy_exchangeable(const void *params)
{
    (void)params;
    return false;
}

static void greedy_pool(const void *params, rm_sampling *sampling, int *n_samples,
                        int *max_new_tokens)
{
    const greedy_params *p = params;
    *sampling = (rm_sampling)RM_SAMPLING_DEFAULT;
    sampling->do_sample = false;
    sampling->repetition_penalty = p->repetition_penalty;
    *n_samples = 1;
    *max_new_tokens = p->max_new_tokens;
}

static rm_status greedy_choose(const rm_trial *trial, const void *params, rm_outcome *out,
                               rm_error *err)
{
    (void)trial, (void)params, (void)err;
    out->chosen = 0;
    return RM_OK;
}

const rm_strategy rm_greedy = {
    .name = "greedy",
    .paper = "folklore",
    .summary = "the most likely token at every step",
    .params = greedy_table,
    .params_size = sizeof(greedy_params),
    .min_models = 1,
    .max_models = 1,
    .needs = greedy_needs,
    .exchangeable = greedy_exchangeable,
    .pool = greedy_pool,
    .choose = greedy_choose,
};
