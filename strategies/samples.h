/* samples.h - candidates from paths, and independent samples (folder-private). */
#ifndef RM_STRATEGIES_SAMPLES_H
#define RM_STRATEGIES_SAMPLES_H

#include "strategies/strategy.h"

/* rm_run_alloc of n items, or RM_E_MEMORY with a sentence. */
rm_status run_array(rm_run *, size_t n, size_t item_bytes, void *items_out, rm_error *);

/* A path holding the problem's prompt under one of the trial's models; nothing is evaluated. */
rm_status prompt_path(const rm_trial *, int model, rm_path **, rm_error *);

/* What ends an answer: the model's stop tokens and the problem's stop strings. With `steps` also
 * the end of a reasoning step. */
rm_stop answer_stop(const rm_trial *, bool steps);

/* Most tokens that may be generated behind a path: max_new_tokens, or what the context holds
 * (*reason says which); RM_E_LIMIT if that is nothing. */
rm_status generation_limit(const rm_path *, int max_new_tokens, int *limit,
                           rm_stop_reason *reason, rm_error *);

/* Most positions of n paths that grow by up to max_new_tokens behind one evaluated prompt, each drawn in
 * one request or token by token; the last token of a path is never evaluated. Under a sliding window
 * (> 0) a path has no more of its own than the window. */
uint64_t paths_positions(uint64_t n, int max_new_tokens, int n_prompt, int n_ctx, int window);

/* The same of paths drawn piece by piece: a request for a piece comes on top of the window that its path
 * still holds. */
uint64_t pieces_positions(uint64_t n, int max_new_tokens, int n_prompt, int n_ctx, int window);

/* Completes a candidate whose tokens, lp, reason and model are set: text (special tokens written
 * out; the stop token and a matched stop string cut off) and answer. */
rm_status candidate_finish(const rm_trial *, rm_candidate *, rm_error *);

/* The text of tokens, special ones written out, in the run's memory. */
rm_status tokens_text(const rm_trial *, int model, const int32_t *tokens, int n, const char **,
                      rm_error *);

/* Sum over a span's tokens. */
double sum_lp(const double *lp, int n);

/* lp / n_tokens. */
double mean_lp(const rm_candidate *);

/* For each candidate the share of the others that reached the same answer (rStar, Qi et al. 2024,
 * arXiv:2408.06195); 0 without an answer and 0 without others. */
void agreement_shares(const rm_candidate *, int n, double *share);

/* Independent samples. The models draw apart: sample j is child j / n_models of the prompt under
 * model j % n_models. Or together (sampler_combine): sample j is child j of every model's prompt.
 * Either way the first samples do not depend on how many follow. */
typedef struct sampler {
    const rm_trial *trial;
    int n_models, max_new_tokens;
    rm_sampling sampling;
    rm_path **root;         /* [n_models] evaluated prompts */
    int group;              /* most samples at once, made smaller when the quota demands it */
    rm_request *request;    /* [capacity] */
    int capacity;
    const double *weights;  /* [n_models] of the combined distribution; NULL: drawing apart */
    rm_combine combine;
    rm_member *member;      /* [capacity * n_models] of the requests, drawing together */
} sampler;

/* `capacity`: most samples asked for at once. */
rm_status sampler_open(sampler *, const rm_trial *, int n_models, const rm_sampling *,
                       int max_new_tokens, int capacity, rm_error *);

/* From here on the models draw together from one distribution. `weights` stays the caller's. */
rm_status sampler_combine(sampler *, rm_combine, const double *weights, rm_error *);

/* Gives the prompts' pages back. */
void sampler_close(sampler *);

/* Draws samples from .. from + n - 1 and appends them to the outcome, which has room. Where the
 * quota does not hold all at once they are drawn group by group, to the same bits. Ends early
 * with outcome->cut_short when a limit or budget is reached; fails then only if the outcome has
 * no candidate at all. */
rm_status sampler_draw(sampler *, int from, int n, rm_outcome *, rm_error *);

#endif
