/* best_of_n.c - sample n paths, keep the one that scores highest (Stiennon et al. 2020,
 * arXiv:2009.01325; Cobbe et al. 2021, arXiv:2110.14168).
 *
 *     i* = argmax_i s_i       sum_lp     s_i = lp_i
 *                             mean_lp    s_i = lp_i / len_i
 *                             agreement  s_i = share of the other paths with i's answer (rStar)
 *                             value      s_i = a reward model's, the last of two models
 *                             verifier   s_i = 1 if the task's checker accepts the answer, else 0
 *                             oracle     s_i = 1 if the answer is right: an upper bound, marked so
 *
 * Ties go to the higher lp, then to the smaller i. No path is excluded: this is an argmax and
 * not a vote, so by lp a path without an answer can win. */
#include "strategies/list.h"
#include "strategies/params.h"
#include "strategies/samples.h"
#include "strategies/value.h"

enum { SCORE_SUM_LP, SCORE_MEAN_LP, SCORE_AGREEMENT, SCORE_VERIFIER, SCORE_ORACLE, SCORE_VALUE };
static const char *const score_names[] = { "sum_lp", "mean_lp", "agreement", "verifier", "oracle",
                                           "value", NULL };

typedef struct bon_params {
    rm_sampling sampling;
    int n, max_new_tokens;
    int score;
} bon_params;

static const rm_param bon_table[] = {
    PARAM_INT(bon_params, n, "num_return_sequences", 8, 1, MAX_SAMPLES, "samples to draw"),
    PARAM_CHOICE(bon_params, score, "score", SCORE_MEAN_LP, score_names,
                 "what the best has most of"),
    PARAM_MAX_NEW_TOKENS(bon_params, max_new_tokens),
    PARAMS_SAMPLING(bon_params, sampling),
    PARAM_END,
};

static unsigned bon_needs(const void *params)
{
    const bon_params *p = params;
    return RM_NEEDS_SAMPLES | (p->score == SCORE_VERIFIER ? RM_NEEDS_VERIFIER : 0u) |
           (p->score == SCORE_VALUE ? RM_NEEDS_SCORING | RM_NEEDS_ONE_VOCABULARY : 0u) |
           (p->score == SCORE_SUM_LP || p->score == SCORE_MEAN_LP ? RM_NEEDS_LOGPROBS : 0u);
}

static bool bon_exchangeable(const void *params)
{
    (void)params;
    return true;
}

static bool bon_relative_score(const void *params)
{
    return ((const bon_params *)params)->score == SCORE_AGREEMENT;
}

static bool bon_uses_verifier(const void *params)
{
    return ((const bon_params *)params)->score == SCORE_VERIFIER;
}

static bool bon_uses_oracle(const void *params)
{
    return ((const bon_params *)params)->score == SCORE_ORACLE;
}

static void bon_pool(const void *params, rm_sampling *sampling, int *n_samples,
                     int *max_new_tokens)
{
    const bon_params *p = params;
    *sampling = p->sampling;
    sampling->do_sample = true;
    *n_samples = p->n;
    *max_new_tokens = p->max_new_tokens;
}

static uint64_t bon_judge_positions(const void *params, int n_prompt, int n_ctx)
{
    const bon_params *p = params;
    return p->score == SCORE_VALUE
               ? value_positions((uint64_t)p->n, p->max_new_tokens, n_prompt, n_ctx) : 0;
}

static rm_status bon_check(const void *params, int n_models, rm_error *err)
{
    bool value = ((const bon_params *)params)->score == SCORE_VALUE;
    if ((n_models == 2) != value)
        return rm_fail(err, RM_E_ARGUMENT, value
                       ? "score = value takes two models: one that draws and "
                                                   "a reward model"
                                                 : "two models are for score = value: the second "
                                                 "one "
                                                   "judges");
    return RM_OK;
}

static double judged(const rm_problem *problem, double (*judge)(const rm_problem *, const char *),
                     const rm_candidate *candidate)
{
    return candidate->answer ? judge(problem, candidate->answer) : 0;
}

static rm_status bon_choose(const rm_trial *trial, const void *params, rm_outcome *out,
                            rm_error *err)
{
    const bon_params *p = params;
    const rm_problem *problem = trial->problem;
    rm_candidate *c = out->candidates;
    int n = out->n_candidates;
    double *share;
    rm_status status = run_array(trial->run, (size_t)n, sizeof *share, &share, err);
    if (status)
        return status;
    if (p->score == SCORE_VERIFIER && !problem->verify)
        return rm_fail(err, RM_E_ARGUMENT, "score = verifier: the task of problem '%s' has none",
                       problem->id);
    if (p->score == SCORE_AGREEMENT)
        agreement_shares(c, n, share);
    if (p->score == SCORE_VALUE && ((status = value_check(trial, "score = value", err)) ||
                                    (status = value_of_candidates(trial, c, n, share, err))))
        return status;

    out->chosen = -1;
    for (int i = 0; i < n; i++) {
        switch (p->score) {
        case SCORE_SUM_LP: c[i].score = c[i].lp; break;
        case SCORE_MEAN_LP: c[i].score = mean_lp(&c[i]); break;
        case SCORE_AGREEMENT:
        case SCORE_VALUE: c[i].score = share[i]; break;
        case SCORE_VERIFIER: c[i].score = judged(problem, problem->verify, &c[i]); break;
        case SCORE_ORACLE: c[i].score = judged(problem, problem->oracle, &c[i]); break;
        }
        const rm_candidate *best = out->chosen < 0 ? NULL : &c[out->chosen];
        if (!best || c[i].score > best->score || (c[i].score == best->score && c[i].lp > best->lp))
            out->chosen = i;
    }
    return RM_OK;
}

const rm_strategy rm_best_of_n = {
    .name = "best-of-n",
    .paper = "Stiennon et al. 2020, arXiv:2009.01325",
    .summary = "independent samples, the one with the highest score is the answer",
    .params = bon_table,
    .params_size = sizeof(bon_params),
    .size_param = "num_return_sequences",
    .min_models = 1,
    .max_models = 2,
    .needs = bon_needs,
    .exchangeable = bon_exchangeable,
    .relative_score = bon_relative_score,
    .uses_verifier = bon_uses_verifier,
    .uses_oracle = bon_uses_oracle,
    .check = bon_check,
    .judge_positions = bon_judge_positions,
    .pool = bon_pool,
    .choose = bon_choose,
};
