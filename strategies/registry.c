/* registry.c - the table of strategies, and running one.
 *
 * To add a strategy: write its file, declare it in list.h, add a line to the table. */
#include "strategies/list.h"
#include "strategies/samples.h"

#include <string.h>

static const rm_strategy *const strategies[] = {
    &rm_greedy,
    &rm_sampling_strategy,
    &rm_budget_forcing,
    &rm_beam,
    &rm_best_of_n,
    &rm_self_consistency,
    &rm_mbr,
    &rm_adaptive_consistency,
    &rm_ensemble_vote,
    &rm_ensemble_token,
    &rm_step_beam,
    &rm_mcts,
    NULL,
};

const rm_strategy *const *rm_strategies(void)
{
    return strategies;
}

rm_status rm_strategy_find(const char *name, const rm_strategy **out, rm_error *err)
{
    const rm_strategy *nearest = strategies[0];
    int best = -1;
    for (int i = 0; strategies[i]; i++) {
        int distance = rm_word_distance(name, strategies[i]->name);
        if (distance == 0 && strcmp(name, strategies[i]->name) == 0) {
            *out = strategies[i];
            return RM_OK;
        }
        if (best < 0 || distance < best) {
            best = distance;
            nearest = strategies[i];
        }
    }
    return rm_fail(err, RM_E_ARGUMENT, "there is no strategy '%.60s'; the nearest is '%s'", name,
                   nearest->name);
}

/* A scorer reads whole texts at once, and so do thoughts that are forced to end: their windows save
 * nothing that could be planned with. */
uint64_t rm_params_positions(const rm_params *params, int n_prompt, int n_ctx, int window)
{
    const rm_strategy *strategy = rm_params_strategy(params);
    const void *values = rm_params_values(params);
    if (strategy->needs && strategy->needs(values) & RM_NEEDS_SCORING)
        window = 0;
    if (strategy->positions)
        return strategy->positions(values, n_prompt, n_ctx, window);
    rm_sampling sampling;
    int n_samples, max_new_tokens;
    strategy->pool(values, &sampling, &n_samples, &max_new_tokens);
    return paths_positions((uint64_t)n_samples, max_new_tokens, n_prompt, n_ctx, window);
}

uint64_t rm_params_kv_bytes(const rm_params *params, rm_model *const *models, int n_models,
                            const int *n_prompt)
{
    const rm_strategy *strategy = rm_params_strategy(params);
    uint64_t sum = 0;
    for (int m = 0; m < n_models; m++) {
        const rm_model_info *info = rm_model_describe(models[m]);
        uint64_t judge = m && m == n_models - 1 && strategy->judge_positions
                             ? strategy->judge_positions(rm_params_values(params), n_prompt[m],
                                                         info->n_ctx) : 0;
        uint64_t positions = judge ? judge : rm_params_positions(params, n_prompt[m], info->n_ctx,
                                                                 info->window);
        uint64_t bytes;
        if (__builtin_mul_overflow(positions, (uint64_t)info->kv_held_bytes, &bytes))
            return UINT64_MAX; /* more than any machine has */
        if (judge && strategy->pool) /* samples are given back before they are judged */
            sum = bytes > sum ? bytes : sum;
        else if (__builtin_add_overflow(sum, bytes, &sum))
            return UINT64_MAX;
    }
    return sum;
}

rm_status rm_pool_draw(const rm_trial *trial, const rm_sampling *sampling, int n_samples,
                       int max_new_tokens, rm_outcome *outcome, rm_error *err)
{
    rm_outcome out = { .chosen = -1 };
    sampler samples = { 0 };
    rm_status status = run_array(trial->run, (size_t)n_samples, sizeof *out.candidates,
                                 &out.candidates, err);
    if (!status)
        status = sampler_open(&samples, trial, 1, sampling, max_new_tokens, n_samples, err);
    if (!status)
        status = sampler_draw(&samples, 0, n_samples, &out, err);
    sampler_close(&samples);
    if (!status)
        *outcome = out;
    return status;
}

rm_status rm_strategy_run(const rm_trial *trial, const rm_params *params, rm_outcome *outcome,
                          rm_error *err)
{
    const rm_strategy *strategy = rm_params_strategy(params);
    const void *values = rm_params_values(params);
    rm_outcome out = { .chosen = -1 };
    rm_status status = rm_params_check(params, trial->n_models, err);
    if (status)
        return status;
    if (strategy->pool) {
        rm_sampling sampling;
        int n_samples, max_new_tokens;
        strategy->pool(values, &sampling, &n_samples, &max_new_tokens);
        status = rm_pool_draw(trial, &sampling, n_samples, max_new_tokens, &out, err);
        if (!status)
            status = strategy->choose(trial, values, &out, err);
    } else {
        status = strategy->run(trial, values, &out, err);
    }
    if (!status)
        *outcome = out;
    return status;
}
