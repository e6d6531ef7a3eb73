/* value.c - a reward model as scorer, of outcomes and of steps.
 *
 *     v(text) = p(good) / (p(good) + p(bad)) = 1 / (1 + exp(lp(bad) - lp(good)))
 *
 * of the model's two tokens after prompt and text (engine.h, value_good and value_bad). The texts
 * are read as prompts of their own, so that an account counts them as read and not as generated:
 * GROUP at once, or as many as a quota holds, to the same values. */
#include "strategies/value.h"

#include "strategies/samples.h"

#include <string.h>

enum { GROUP = 16 }; /* texts held in the cache at once */

rm_status value_check(const rm_trial *trial, const char *parameter, rm_error *err)
{
    const rm_model *scorer = trial->models[trial->n_models - 1];
    if (trial->n_models < 2 || rm_model_describe(scorer)->value_good < 0)
        return rm_fail(err, RM_E_ARGUMENT,
                       "%s needs a reward model as the last of the models; %s is "
                       "none",
                       parameter, rm_model_describe(scorer)->name);
    return rm_model_same_vocabulary(trial->models[0], scorer, err);
}

/* A path of the scorer that holds prompt and text. */
static rm_status text_path(const rm_trial *trial, const int32_t *prompt, int n_prompt,
                           const int32_t *tokens, int n, rm_path **path, rm_error *err)
{
    int32_t *all;
    rm_status status = run_array(trial->run, (size_t)(n_prompt + n), sizeof *all, &all, err);
    if (status)
        return status;
    memcpy(all, prompt, (size_t)n_prompt * sizeof *all);
    memcpy(all + n_prompt, tokens, (size_t)n * sizeof *all);
    return rm_path_new(trial->run, trial->models[trial->n_models - 1], all, n_prompt + n, path,
                       err);
}

rm_status value_of_texts(const rm_trial *trial, const int32_t *const *tokens, const int *n_tokens,
                         int n, double *value, rm_error *err)
{
    const rm_model_info *info = rm_model_describe(trial->models[trial->n_models - 1]);
    const int32_t verdicts[] = { info->value_good, info->value_bad };
    rm_path *prompt;
    rm_status status = prompt_path(trial, trial->n_models - 1, &prompt, err);
    int group = GROUP, count;
    for (int from = 0; from < n && !status; from += count) {
        count = n - from < group ? n - from : group;
        int made = 0;
        rm_request requests[GROUP];
        memset(requests, 0, sizeof requests);
        for (; made < count && !status; made++) {
            rm_request *r = &requests[made];
            *r = (rm_request){ .want = RM_WANT_LOGPROBS, .tokens = verdicts, .n_tokens = 2 };
            status = text_path(trial, rm_path_tokens(prompt), rm_path_length(prompt),
                               tokens[from + made], n_tokens[from + made], &r->path, err);
        }
        if (!status)
            status = rm_eval(trial->run, requests, count, err);
        for (int i = 0; i < made; i++) {
            if (!status)
                value[from + i] =
                    1 / (1 + rm_math_exp(requests[i].result.lp[1] - requests[i].result.lp[0]));
            rm_path_drop(requests[i].path);
        }
        if (status == RM_E_LIMIT && count > 1) { /* a quota does not hold them all at once */
            group = (count + 1) / 2;
            count = 0;
            status = RM_OK;
        }
    }
    rm_path_drop(prompt);
    return status;
}

rm_status value_of_candidates(const rm_trial *trial, const rm_candidate *candidates, int n,
                              double *value, rm_error *err)
{
    const int32_t **tokens;
    int *lengths;
    rm_status status = run_array(trial->run, (size_t)n, sizeof *tokens, &tokens, err);
    if (!status)
        status = run_array(trial->run, (size_t)n, sizeof *lengths, &lengths, err);
    for (int i = 0; i < n && !status; i++) {
        tokens[i] = candidates[i].tokens;
        lengths[i] = candidates[i].n_tokens;
    }
    return status ? status : value_of_texts(trial, tokens, lengths, n, value, err);
}

uint64_t value_positions(uint64_t n, int max_new_tokens, int n_prompt, int n_ctx)
{
    int room = n_ctx - n_prompt;
    int text = n_prompt + (max_new_tokens < room ? max_new_tokens : room);
    return (n < GROUP ? n : GROUP) * (uint64_t)(text > n_prompt ? text : n_prompt);
}
