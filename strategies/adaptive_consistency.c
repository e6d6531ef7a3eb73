/* adaptive_consistency.c - sample until the vote is decided, then let the answers vote.
 *
 *     beta    after each sample, v1 >= v2 the two largest counts of an answer: stop when
 *             P(the leader's share is the larger one) = 1 - I_{1/2}(v1 + 1, v2 + 1) > threshold
 *             (Aggarwal et al. 2023, arXiv:2305.11860)
 *     window  draw windows of w samples: stop when all of one window agree
 *             (ESC, Li et al. 2024, arXiv:2401.10480)
 *
 * at most num_return_sequences samples. For integers the regularised incomplete beta function is a
 * binomial tail: 1 - I_{1/2}(a + 1, b + 1) = P(Bin(a + b + 1, 1/2) <= a) = 1 - P(Bin <= b).
 *
 * The answer is the majority of all samples drawn, ties as in self-consistency; a sample without an
 * answer counts for nobody, and a window with one does not agree. With `parallel` > 1 that many
 * samples are drawn at once and beta asks after each batch: fewer rounds, some samples more. How
 * many are drawn depends on what they say, so the candidates are not exchangeable; sample i is
 * the one that self-consistency draws. */
#include "strategies/ballot.h"
#include "strategies/list.h"
#include "strategies/params.h"
#include "strategies/samples.h"

#include <string.h>

enum { STOP_BETA, STOP_WINDOW };
static const char *const stop_names[] = { "beta", "window", NULL };

typedef struct ac_params {
    rm_sampling sampling;
    int n, max_new_tokens;
    int stop, window, parallel;
    double threshold;
} ac_params;

/* The defaults of what only one of the two rules reads. */
#define THRESHOLD 0.95
enum { WINDOW = 5, PARALLEL = 1 };

static const rm_param ac_table[] = {
    PARAM_INT(ac_params, n, "num_return_sequences", 40, 1, MAX_SAMPLES, "most samples to draw"),
    PARAM_CHOICE(ac_params, stop, "stop", STOP_BETA, stop_names, "what decides the vote"),
    PARAM_REAL(ac_params, threshold, "threshold", THRESHOLD, 0.5, 1,
               "beta: probability that decides"),
    PARAM_INT(ac_params, parallel, "parallel", PARALLEL, 1, MAX_SAMPLES,
              "beta: samples between two tests"),
    PARAM_INT(ac_params, window, "window", WINDOW, 2, MAX_SAMPLES,
              "window: samples that must agree"),
    PARAM_MAX_NEW_TOKENS(ac_params, max_new_tokens),
    PARAMS_SAMPLING(ac_params, sampling),
    PARAM_END,
};

static rm_status ac_check(const void *params, int n_models, rm_error *err)
{
    const ac_params *p = params;
    (void)n_models;
    if (p->stop == STOP_BETA && p->window != WINDOW)
        return rm_fail(err, RM_E_ARGUMENT, "window has no effect with stop = beta");
    if (p->stop == STOP_WINDOW && p->parallel != PARALLEL)
        return rm_fail(err, RM_E_ARGUMENT, "parallel has no effect with stop = window");
    if (p->stop == STOP_WINDOW && p->threshold != THRESHOLD)
        return rm_fail(err, RM_E_ARGUMENT, "threshold has no effect with stop = window");
    return RM_OK;
}

static unsigned ac_needs(const void *params)
{
    (void)params;
    return RM_NEEDS_SAMPLES;
}

static bool ac_exchangeable(const void *params)
{
    (void)params;
    return false;
}

/* P(Bin(a + b + 1, 1/2) <= a), a >= b; terms by their logarithms, which 2^-n would underflow. */
static double leader_leads(int a, int b)
{
    int n = a + b + 1;
    double log_term = -n * rm_math_log(2), tail = 0;
    for (int k = 0; k <= b; k++) {
        tail += rm_math_exp(log_term);
        log_term += rm_math_log((double)(n - k) / (k + 1));
    }
    return 1 - tail;
}

/* The two largest counts of an answer. */
static void largest_counts(const ballot *votes, int *first, int *second)
{
    *first = *second = 0;
    for (int i = 0; i < votes->n; i++) {
        if (votes->vote[i].first != i || !votes->vote[i].answer)
            continue;
        int count = (int)votes->vote[i].total;
        if (count > *first) {
            *second = *first;
            *first = count;
        } else if (count > *second) {
            *second = count;
        }
    }
}

static bool all_agree(const rm_candidate *candidate, int n)
{
    for (int i = 0; i < n; i++)
        if (!candidate[i].answer || strcmp(candidate[i].answer, candidate[0].answer) != 0)
            return false;
    return true;
}

static void count_votes(ballot *votes, const rm_outcome *out)
{
    votes->n = 0;
    for (int i = 0; i < out->n_candidates; i++)
        ballot_add(votes, i, out->candidates[i].answer, 1, out->candidates[i].lp);
    ballot_count(votes);
}

/* Draws until the vote is decided; `votes` holds the count at the end. */
static rm_status draw(const ac_params *p, sampler *samples, ballot *votes, rm_outcome *out,
                      rm_error *err)
{
    int batch = p->stop == STOP_WINDOW ? p->window : p->parallel;
    for (int from = 0; from < p->n && !out->cut_short; from += batch) {
        int n = p->n - from < batch ? p->n - from : batch, before = out->n_candidates;
        rm_status status = sampler_draw(samples, from, n, out, err);
        if (status)
            return status;
        count_votes(votes, out);
        if (p->stop == STOP_WINDOW) {
            int drawn = out->n_candidates - before;
            if (drawn == p->window && all_agree(out->candidates + before, drawn))
                break;
        } else {
            int first, second;
            largest_counts(votes, &first, &second);
            if (leader_leads(first, second) > p->threshold)
                break;
        }
    }
    return RM_OK;
}

/* Paths of one batch are dropped before the next is drawn. */
static uint64_t ac_positions(const void *params, int n_prompt, int n_ctx, int window)
{
    const ac_params *p = params;
    int batch = p->stop == STOP_WINDOW ? p->window : p->parallel;
    return paths_positions((uint64_t)(batch < p->n ? batch : p->n), p->max_new_tokens, n_prompt,
                           n_ctx, window);
}

static rm_status ac_run(const rm_trial *trial, const void *params, rm_outcome *out, rm_error *err)
{
    const ac_params *p = params;
    int batch = p->stop == STOP_WINDOW ? p->window : p->parallel;
    rm_sampling sampling = p->sampling;
    sampling.do_sample = true;
    sampler samples = { 0 };
    ballot votes = { 0 };
    rm_status status = run_array(trial->run, (size_t)p->n, sizeof *out->candidates,
                                 &out->candidates, err);
    if (!status)
        status = run_array(trial->run, (size_t)p->n, sizeof *votes.vote, &votes.vote, err);
    if (!status)
        status = sampler_open(&samples, trial, 1, &sampling, p->max_new_tokens,
                              batch < p->n ? batch : p->n, err);
    if (!status)
        status = draw(p, &samples, &votes, out, err);
    sampler_close(&samples);
    if (status)
        return status;
    for (int i = 0; i < out->n_candidates; i++)
        out->candidates[i].score = ballot_total(&votes, i) / votes.sum;
    out->chosen = votes.winner;
    return RM_OK;
}

const rm_strategy rm_adaptive_consistency = {
    .name = "adaptive-consistency",
    .paper = "Aggarwal et al. 2023, arXiv:2305.11860; Li et al. 2024, arXiv:2401.10480",
    .summary = "samples until their vote is decided",
    .params = ac_table,
    .params_size = sizeof(ac_params),
    .size_param = "num_return_sequences",
    .min_models = 1,
    .max_models = 1,
    .check = ac_check,
    .needs = ac_needs,
    .exchangeable = ac_exchangeable,
    .run = ac_run,
    .positions = ac_positions,
};
