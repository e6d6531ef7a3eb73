/* samples.c - candidates from paths, and independent samples (samples.h).
 *
 * The prompt is evaluated once; every sample is a fork of it, so that the prompt's keys and
 * values, and the distribution of the first token, exist once. */
#define _GNU_SOURCE /* memmem */
#include "strategies/samples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- small things -------------------------------------------------------------------------- */

rm_status run_array(rm_run *run, size_t n, size_t item_bytes, void *items_out, rm_error *err)
{
    void *items = n <= SIZE_MAX / 2 / item_bytes ? rm_run_alloc(run, n * item_bytes) : NULL;
    if (!items)
        return rm_fail(err, RM_E_MEMORY, "no memory for %zu items of %zu bytes", n, item_bytes);
    memcpy(items_out, &items, sizeof items);
    return RM_OK;
}

rm_status rm_problem_tokenize(const rm_problem *problem, const rm_model *model, int32_t **tokens,
                              int *n_tokens, rm_error *err)
{
    const char *prompt = problem->prompt, *plain = problem->prompt_plain;
    size_t n = strlen(prompt);
    return plain ? rm_tokenize_rendered(model, prompt, plain, n, tokens, n_tokens, err)
                 : rm_tokenize(model, prompt, n, true, tokens, n_tokens, err);
}

rm_status prompt_path(const rm_trial *trial, int model, rm_path **path, rm_error *err)
{
    int32_t *tokens = NULL;
    int n = 0;
    rm_status status =
        rm_problem_tokenize(trial->problem, trial->models[model], &tokens, &n, err);
    if (!status)
        status = rm_path_new(trial->run, trial->models[model], tokens, n, path, err);
    free(tokens);
    return status ? rm_fail_within(err, status, "prompt of problem '%s'", trial->problem->id)
                  : RM_OK;
}

rm_stop answer_stop(const rm_trial *trial, bool steps)
{
    const rm_problem *problem = trial->problem;
    rm_stop stop = { .strings = problem->stop_strings, .n_strings = problem->n_stop_strings };
    if (steps) {
        stop.steps = problem->step_ends;
        stop.n_steps = problem->n_step_ends;
    }
    return stop;
}

rm_status generation_limit(const rm_path *path, int max_new_tokens, int *limit,
                           rm_stop_reason *reason, rm_error *err)
{
    const rm_model_info *info = rm_model_describe(rm_path_model(path));
    int room = info->n_ctx - rm_path_length(path);
    if (room < 1)
        return rm_fail(err, RM_E_LIMIT,
                       "the prompt of %d tokens leaves no room in the %d positions of %s",
                       rm_path_length(path), info->n_ctx, info->name);
    *limit = max_new_tokens < room ? max_new_tokens : room;
    *reason = max_new_tokens <= room ? RM_STOP_LENGTH : RM_STOP_CONTEXT;
    return RM_OK;
}

/* Of the prompt a window holds at most itself once it is evaluated, and all of it while it is. */
static uint64_t positions_of(uint64_t n, int max_new_tokens, int n_prompt, int n_ctx, int window,
                             int windows)
{
    int room = n_ctx - n_prompt, kept = n_prompt;
    int64_t own = max_new_tokens < room ? max_new_tokens - 1 : room - 1;
    if (window > 0) {
        int64_t most = (int64_t)windows * window;
        own = own < most ? own : most;
        kept = kept < window ? kept : window;
    }
    uint64_t after = (uint64_t)kept + (own > 0 ? n * (uint64_t)own : 0);
    return after > (uint64_t)n_prompt ? after : (uint64_t)n_prompt;
}

uint64_t paths_positions(uint64_t n, int max_new_tokens, int n_prompt, int n_ctx, int window)
{
    return positions_of(n, max_new_tokens, n_prompt, n_ctx, window, 1);
}

uint64_t pieces_positions(uint64_t n, int max_new_tokens, int n_prompt, int n_ctx, int window)
{
    return positions_of(n, max_new_tokens, n_prompt, n_ctx, window, 2);
}

double sum_lp(const double *lp, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += lp[i];
    return sum;
}

double mean_lp(const rm_candidate *candidate)
{
    return candidate->n_tokens ? candidate->lp / candidate->n_tokens : candidate->lp;
}

void agreement_shares(const rm_candidate *candidate, int n, double *share)
{
    for (int i = 0; i < n; i++)
        share[i] = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i && candidate[i].answer; j++)
            if (candidate[j].answer && strcmp(candidate[i].answer, candidate[j].answer) == 0) {
                share[i]++;
                share[j]++;
            }
    for (int i = 0; i < n; i++)
        share[i] = n > 1 ? share[i] / (n - 1) : 0;
}

/* ---- texts --------------------------------------------------------------------------------- */

static rm_status keep_text(rm_run *run, rm_text *text, const char **out, rm_error *err)
{
    rm_status status = RM_OK;
    char *copy = NULL;
    if (text->failed)
        status = rm_fail(err, RM_E_MEMORY, "no memory for the text of a candidate");
    else
        status = run_array(run, text->length + 1, 1, &copy, err);
    if (!status) {
        if (text->length)
            memcpy(copy, text->data, text->length);
        *out = copy; /* the arena's memory is zeroed: terminated */
    }
    rm_text_free(text);
    return status;
}

rm_status tokens_text(const rm_trial *trial, int model, const int32_t *tokens, int n,
                      const char **out, rm_error *err)
{
    rm_text text = { 0 };
    rm_detokenize(trial->models[model], tokens, n, true, &text);
    return keep_text(trial->run, &text, out, err);
}

/* Length up to the first stop string; n if there is none. */
static size_t before_stop_string(const rm_problem *problem, const char *text, size_t n)
{
    size_t end = n;
    for (int i = 0; i < problem->n_stop_strings; i++) {
        const char *string = problem->stop_strings[i];
        const char *at = *string ? memmem(text, n, string, strlen(string)) : NULL;
        if (at && (size_t)(at - text) < end)
            end = (size_t)(at - text);
    }
    return end;
}

rm_status candidate_finish(const rm_trial *trial, rm_candidate *candidate, rm_error *err)
{
    int n = candidate->n_tokens - (candidate->reason == RM_STOP_TOKEN);
    rm_text text = { 0 };
    rm_detokenize(trial->models[candidate->model], candidate->tokens, n, true, &text);
    if (candidate->reason == RM_STOP_STRING && text.data) {
        text.length = before_stop_string(trial->problem, text.data, text.length);
        text.data[text.length] = '\0';
    }
    rm_status status = keep_text(trial->run, &text, &candidate->text, err);
    if (!status) {
        const rm_problem *problem = trial->problem;
        bool cut = candidate->reason == RM_STOP_LENGTH || candidate->reason == RM_STOP_CONTEXT ||
                   candidate->reason == RM_STOP_BUDGET;
        candidate->answer = cut && problem->answer_cut
                                ? problem->answer_cut(problem, trial->run, candidate->text)
                                : problem->answer(problem, trial->run, candidate->text);
    }
    return status;
}

/* ---- samples ------------------------------------------------------------------------------- */

rm_status sampler_open(sampler *s, const rm_trial *trial, int n_models, const rm_sampling *sampling,
                       int max_new_tokens, int capacity, rm_error *err)
{
    *s = (sampler){ .trial = trial, .n_models = n_models, .max_new_tokens = max_new_tokens,
                    .sampling = *sampling, .capacity = capacity, .group = capacity };
    rm_status status = run_array(trial->run, (size_t)n_models, sizeof *s->root, &s->root, err);
    if (!status)
        status = run_array(trial->run, (size_t)(capacity > n_models ? capacity : n_models),
                           sizeof *s->request, &s->request, err);
    for (int m = 0; m < n_models && !status; m++) {
        status = prompt_path(trial, m, &s->root[m], err);
        s->request[m] = (rm_request){ .want = RM_WANT_NOTHING, .path = s->root[m] };
    }
    return status ? status : rm_eval(trial->run, s->request, n_models, err);
}

void sampler_close(sampler *s)
{
    for (int m = 0; m < s->n_models && s->root; m++)
        rm_path_drop(s->root[m]);
    s->root = NULL;
}

rm_status sampler_combine(sampler *s, rm_combine combine, const double *weights, rm_error *err)
{
    s->weights = weights;
    s->combine = combine;
    return run_array(s->trial->run, (size_t)s->capacity * (size_t)s->n_models, sizeof *s->member,
                     &s->member, err);
}

/* Forks the prompt for sample j, request i of its group. */
static rm_status fork_sample(sampler *s, int i, int j, rm_error *err)
{
    rm_request *r = &s->request[i];
    if (!s->weights)
        return rm_path_fork(s->root[j % s->n_models], (uint32_t)(j / s->n_models), &r->path, err);
    rm_member *member = s->member + (size_t)i * (size_t)s->n_models;
    r->members = member;
    r->n_members = s->n_models;
    r->combine = s->combine;
    for (int m = 0; m < s->n_models; m++) {
        member[m].weight = s->weights[m];
        rm_status status = rm_path_fork(s->root[m], (uint32_t)j, &member[m].path, err);
        if (status)
            return status;
    }
    return RM_OK;
}

static void drop_sample(sampler *s, int i)
{
    rm_path_drop(s->request[i].path);
    for (int m = 0; m < s->n_models && s->member; m++) {
        rm_member *member = &s->member[(size_t)i * (size_t)s->n_models + (size_t)m];
        rm_path_drop(member->path);
        member->path = NULL;
    }
}

/* Samples from .. from + n - 1 in one rm_eval; their paths are dropped again. */
static rm_status draw_group(sampler *s, int from, int n, rm_error *err)
{
    rm_stop stop = answer_stop(s->trial, false);
    rm_status status = RM_OK;
    int forked = 0;
    for (; forked < n && !status; forked++) {
        s->request[forked] = (rm_request){ .want = RM_WANT_SPAN, .sampling = &s->sampling,
                                           .stop = &stop, .max_new_tokens = s->max_new_tokens };
        status = fork_sample(s, forked, from + forked, err);
    }
    if (!status)
        status = rm_eval(s->trial->run, s->request, n, err);
    for (int i = 0; i < forked; i++)
        drop_sample(s, i);
    return status;
}

static rm_status collect(const sampler *s, int from, int n, rm_outcome *out, rm_error *err)
{
    for (int i = 0; i < n; i++) {
        const rm_request *r = &s->request[i];
        if (r->result.reason == RM_STOP_BUDGET)
            out->cut_short = true;
        if (r->result.n == 0)
            continue; /* the budget ended before its first token: not a path */
        rm_candidate *c = &out->candidates[out->n_candidates];
        *c = (rm_candidate){ .tokens = r->result.tokens, .n_tokens = r->result.n,
                             .lp = sum_lp(r->result.lp, r->result.n),
                             .lp_sampling = s->sampling.do_sample
                                                ? sum_lp(r->result.lp_sampling, r->result.n)
                                                : NAN,
                             .score = NAN, .reason = r->result.reason,
                             .model = s->weights ? 0 : (from + i) % s->n_models };
        rm_status status = candidate_finish(s->trial, c, err);
        if (status)
            return status;
        out->n_candidates++;
    }
    return RM_OK;
}

rm_status sampler_draw(sampler *s, int from, int n, rm_outcome *out, rm_error *err)
{
    for (int done = 0; done < n && !out->cut_short;) {
        int count = n - done < s->group ? n - done : s->group;
        rm_error why;
        rm_status status = draw_group(s, from + done, count, &why);
        if (status == RM_E_LIMIT && count > 1) {
            s->group = (count + 1) / 2;
            continue;
        }
        if (status == RM_E_LIMIT || status == RM_E_BUDGET) {
            out->cut_short = true;
            if (out->n_candidates == 0)
                return rm_fail(err, status, "%s", why.text);
            return RM_OK;
        }
        if (status)
            return rm_fail(err, status, "%s", why.text);
        status = collect(s, from + done, count, out, err);
        if (status)
            return status;
        done += count;
    }
    if (out->n_candidates == 0)
        return rm_fail(err, RM_E_BUDGET, "the token budget ended before the first sample");
    return RM_OK;
}
