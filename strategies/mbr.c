/* mbr.c - sample n paths, keep the one that the others agree with most: minimum Bayes risk.
 * Kumar & Byrne 2004; Eikema & Aziz 2020, arXiv:2005.10283; Bertsch et al. 2023, arXiv:2310.01387.
 *
 *     h* = argmax_h  1/n sum_r u(h, r)        u(h, r) = [a_h = a_r]    answer
 *                                                      chrF(h, r)      chrf: characters, Popovic 2015
 *                                                      F1(h, r)        token_f1: the model's tokens
 *
 * The samples are both hypotheses and references, each also its own reference. A path without an
 * answer agrees with none, so `answer` is the majority vote (self_consistency.c), from which it
 * differs in nothing but the score: the share of all samples instead of those that have an answer. The
 * other two judge texts and need no answers: for tasks whose answers are sentences. Ties go to the
 * higher lp, then to the smaller index. */
#include "strategies/list.h"
#include "strategies/overlap.h"
#include "strategies/params.h"
#include "strategies/samples.h"

#include <string.h>

enum { UTILITY_ANSWER, UTILITY_CHRF, UTILITY_TOKEN_F1 };
static const char *const utility_names[] = { "answer", "chrf", "token_f1", NULL };

enum { MAX_TEXTS = 512 }; /* n^2 texts are compared */

typedef struct mbr_params {
    rm_sampling sampling;
    int n, max_new_tokens;
    int utility;
} mbr_params;

static const rm_param mbr_table[] = {
    PARAM_INT(mbr_params, n, "num_return_sequences", 8, 1, MAX_SAMPLES, "samples to draw"),
    PARAM_CHOICE(mbr_params, utility, "utility", UTILITY_ANSWER, utility_names,
                 "what one sample says for another"),
    PARAM_MAX_NEW_TOKENS(mbr_params, max_new_tokens),
    PARAMS_SAMPLING(mbr_params, sampling),
    PARAM_END,
};

static unsigned mbr_needs(const void *params)
{
    (void)params;
    return RM_NEEDS_SAMPLES;
}

static bool mbr_exchangeable(const void *params)
{
    (void)params;
    return true;
}

static bool mbr_relative_score(const void *params)
{
    (void)params;
    return true; /* of the other samples */
}

static rm_status mbr_check(const void *params, int n_models, rm_error *err)
{
    const mbr_params *p = params;
    (void)n_models;
    if (p->utility != UTILITY_ANSWER && p->n > MAX_TEXTS)
        return rm_fail(err, RM_E_ARGUMENT, "num_return_sequences = %d: utility = %s compares every "
                       "two texts, of %d at most", p->n, utility_names[p->utility], MAX_TEXTS);
    return RM_OK;
}

static void mbr_pool(const void *params, rm_sampling *sampling, int *n_samples,
                     int *max_new_tokens)
{
    const mbr_params *p = params;
    *sampling = p->sampling;
    sampling->do_sample = true;
    *n_samples = p->n;
    *max_new_tokens = p->max_new_tokens;
}

static double utility(int kind, const rm_candidate *h, const rm_candidate *r, const grams *of_h,
                      const grams *of_r)
{
    switch (kind) {
    case UTILITY_CHRF: return grams_f(of_h, of_r, 2);
    case UTILITY_TOKEN_F1: return grams_f(of_h, of_r, 1);
    default: return h->answer && r->answer && strcmp(h->answer, r->answer) == 0;
    }
}

static rm_status mbr_choose(const rm_trial *trial, const void *params, rm_outcome *out,
                            rm_error *err)
{
    const mbr_params *p = params;
    rm_candidate *c = out->candidates;
    int n = out->n_candidates;
    grams *of;
    rm_status status = run_array(trial->run, (size_t)n, sizeof *of, &of, err);
    for (int i = 0; i < n && !status; i++)
        if (p->utility == UTILITY_CHRF)
            status = grams_of_text(&of[i], trial->run, c[i].text, err);
        else if (p->utility == UTILITY_TOKEN_F1)
            status = grams_of_tokens(&of[i], trial->run, c[i].tokens, c[i].n_tokens, err);
    if (status)
        return status;
    out->chosen = -1;
    for (int h = 0; h < n; h++) {
        c[h].score = 0;
        for (int r = 0; r < n; r++)
            c[h].score += utility(p->utility, &c[h], &c[r], &of[h], &of[r]);
        c[h].score /= n;
        const rm_candidate *best = out->chosen < 0 ? NULL : &c[out->chosen];
        if (!best || c[h].score > best->score || (c[h].score == best->score && c[h].lp > best->lp))
            out->chosen = h;
    }
    return RM_OK;
}

const rm_strategy rm_mbr = {
    .name = "mbr",
    .paper = "Eikema & Aziz 2020, arXiv:2005.10283",
    .summary = "independent samples, the one most like the others is the answer",
    .params = mbr_table,
    .params_size = sizeof(mbr_params),
    .size_param = "num_return_sequences",
    .min_models = 1,
    .max_models = 1,
    .needs = mbr_needs,
    .exchangeable = mbr_exchangeable,
    .relative_score = mbr_relative_score,
    .check = mbr_check,
    .pool = mbr_pool,
    .choose = mbr_choose,
};
