/* ensemble_vote.c - every model samples n paths, all answers vote (answer-level ensemble).
 *
 *     a* = argmax_a  sum_m w_m #{i : a_mi = a}
 *
 *     plurality   w_m = 1
 *     log_odds    w_m = log(p_m (K - 1) / (1 - p_m)),  p_m clamped to [1/(2n'), 1 - 1/(2n')]
 *
 * p_m is model m's accuracy on n' problems disjoint from those reported (parameters `accuracy`,
 * `accuracy_n`), K >= 2 the number of distinct answers the models gave to the problem. These are
 * the weights of the maximum-likelihood vote when errors spread evenly over the K - 1 wrong answers
 * (Li & Yu 2014, arXiv:1411.4086; for K = 2 Nitzan & Paroush 1982); a model worse than chance,
 * p_m < 1/K, counts against what it says.
 *
 * Ties go to the answer whose best path has the larger lp, then to the smaller index; candidate
 * i * M + m is sample i of model m. A candidate's score is the weight its answer got. */
#include "strategies/ballot.h"
#include "strategies/list.h"
#include "strategies/params.h"
#include "strategies/samples.h"

enum { WEIGHT_PLURALITY, WEIGHT_LOG_ODDS };
static const char *const weight_names[] = { "plurality", "log_odds", NULL };

enum { MAX_MODELS = RM_MAX_REALS };

typedef struct ev_params {
    rm_sampling sampling;
    int n, max_new_tokens;
    int weight;
    rm_reals accuracy;
    int accuracy_n;
} ev_params;

static const rm_param ev_table[] = {
    PARAM_INT(ev_params, n, "num_return_sequences", 4, 1, MAX_SAMPLES, "samples of each model"),
    PARAM_CHOICE(ev_params, weight, "weight", WEIGHT_PLURALITY, weight_names, "what a vote weighs"),
    PARAM_REALS(ev_params, accuracy, "accuracy", 0, 1,
                "log_odds: each model's accuracy on problems disjoint from those reported"),
    PARAM_INT(ev_params, accuracy_n, "accuracy_n", 100, 1, 1 << 30,
              "log_odds: number of problems the accuracies were measured on"),
    PARAM_MAX_NEW_TOKENS(ev_params, max_new_tokens),
    PARAMS_SAMPLING(ev_params, sampling),
    PARAM_END,
};

static unsigned ev_needs(const void *params)
{
    (void)params;
    return RM_NEEDS_SAMPLES;
}

/* The models' samples come from different distributions. */
static bool ev_exchangeable(const void *params)
{
    (void)params;
    return false;
}

static rm_status ev_check(const void *params, int n_models, rm_error *err)
{
    const ev_params *p = params;
    if (p->weight == WEIGHT_LOG_ODDS && p->accuracy.n != n_models)
        return rm_fail(err, RM_E_ARGUMENT,
                       "weight = log_odds needs one accuracy for each of the %d models, got %d",
                       n_models, p->accuracy.n);
    if (p->weight != WEIGHT_LOG_ODDS && p->accuracy.n)
        return rm_fail(err, RM_E_ARGUMENT, "accuracy is only used with weight = log_odds");
    return RM_OK;
}

/* w_m for K distinct answers. */
static double model_weight(const ev_params *p, int model, int n_answers)
{
    if (p->weight == WEIGHT_PLURALITY)
        return 1;
    double margin = 0.5 / p->accuracy_n, accuracy = p->accuracy.value[model];
    if (accuracy < margin)
        accuracy = margin;
    if (accuracy > 1 - margin)
        accuracy = 1 - margin;
    int k = n_answers < 2 ? 2 : n_answers;
    return rm_math_log(accuracy * (k - 1) / (1 - accuracy));
}

static void vote(const ev_params *p, ballot *votes, rm_outcome *out)
{
    double weight[MAX_MODELS] = { 0 };
    for (int pass = 0; pass < 2; pass++) { /* the first only finds K */
        int n_answers = votes->n_answers;
        for (int m = 0; m < MAX_MODELS && (p->weight == WEIGHT_PLURALITY || m < p->accuracy.n); m++)
            weight[m] = model_weight(p, m, n_answers);
        votes->n = 0;
        for (int i = 0; i < out->n_candidates; i++) {
            const rm_candidate *c = &out->candidates[i];
            ballot_add(votes, i, c->answer, weight[c->model], c->lp);
        }
        ballot_count(votes);
    }
    for (int i = 0; i < out->n_candidates; i++)
        out->candidates[i].score = ballot_total(votes, i);
    out->chosen = votes->winner;
}

/* Each model draws its own n. */
static uint64_t ev_positions(const void *params, int n_prompt, int n_ctx, int window)
{
    const ev_params *p = params;
    return paths_positions((uint64_t)p->n, p->max_new_tokens, n_prompt, n_ctx, window);
}

static rm_status ev_run(const rm_trial *trial, const void *params, rm_outcome *out, rm_error *err)
{
    const ev_params *p = params;
    int n = p->n * trial->n_models;
    rm_sampling sampling = p->sampling;
    sampling.do_sample = true;
    sampler samples = { 0 };
    ballot votes = { 0 };
    rm_status status =
        run_array(trial->run, (size_t)n, sizeof *out->candidates, &out->candidates, err);
    if (!status)
        status = run_array(trial->run, (size_t)n, sizeof *votes.vote, &votes.vote, err);
    if (!status)
        status =
            sampler_open(&samples, trial, trial->n_models, &sampling, p->max_new_tokens, n, err);
    if (!status)
        status = sampler_draw(&samples, 0, n, out, err);
    sampler_close(&samples);
    if (!status)
        vote(p, &votes, out);
    return status;
}

const rm_strategy rm_ensemble_vote = {
    .name = "ensemble-vote",
    .paper = "Li & Yu 2014, arXiv:1411.4086",
    .summary = "several models sample, all answers vote",
    .params = ev_table,
    .params_size = sizeof(ev_params),
    .size_param = "num_return_sequences",
    .min_models = 2,
    .max_models = MAX_MODELS,
    .needs = ev_needs,
    .exchangeable = ev_exchangeable,
    .check = ev_check,
    .run = ev_run,
    .positions = ev_positions,
};
