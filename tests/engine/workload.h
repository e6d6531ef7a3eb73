/* workload.h - a job that uses all of rm_eval and boils everything it got down to one hash.
 *
 * What it does next depends on the bits it got before, so a difference anywhere spreads. Two runs
 * of it are equal exactly if their digests are. */
#ifndef TESTS_ENGINE_WORKLOAD_H
#define TESTS_ENGINE_WORKLOAD_H

#include "engine/engine.h"
#include "engine/num.h"

#include <stdlib.h>
#include <string.h>

typedef struct workload {
    rm_job job;
    rm_model *model, *other; /* of one vocabulary; may be the same */
    int n_prompt, max_new, rounds;
    uint64_t digest;
} workload;

static uint64_t digest_doubles(uint64_t hash, const double *x, int n)
{
    for (int i = 0; x && i < n; i++)
        hash = rm_mix(hash, rm_bits(x[i]));
    return hash;
}

static uint64_t digest_request(uint64_t hash, const rm_request *request)
{
    hash = rm_mix(hash, (uint64_t)request->result.n);
    for (int i = 0; request->result.tokens && i < request->result.n; i++)
        hash = rm_mix(hash, (uint64_t)request->result.tokens[i]);
    hash = digest_doubles(hash, request->result.lp, request->result.n);
    hash = digest_doubles(hash, request->result.lp_sampling, request->result.n);
    hash = rm_mix(hash, (uint64_t)request->result.reason);
    return rm_mix(hash, (uint64_t)request->result.n_stop_bytes);
}

/* The counted part of an account; what is measured stays out. */
static uint64_t digest_cost(uint64_t hash, const rm_cost *cost)
{
    const uint64_t counts[] = {
        cost->prompt_tokens, cost->generated_tokens, cost->evaluated_tokens,
        cost->shared_tokens, cost->rounds,           cost->kv_peak_positions
    };
    const double sums[] = { cost->flops, cost->weight_bytes, cost->kv_bytes };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        hash = rm_mix(hash, counts[i]);
    return digest_doubles(hash, sums, 3);
}

/* One round: from `from` (evaluated or not) spans of several kinds, a look at the top, the whole
 * distribution and given tokens, a score, and a mixture; then goes on from one of the spans. */
static rm_status workload_round(rm_run *run, workload *load, rm_path **from, rm_error *err)
{
    static const char *const steps[] = { ";", ")" }, *const strings[] = { "=1", "</think>" };
    static const rm_stop stop = {
        .strings = strings, .n_strings = 2, .steps = steps, .n_steps = 2
    };
    static const rm_sampling samplings[] = {
        { true, 1.0, 0, 1.0, 0.0, 1.0, 1.0 }, { false, 1.0, 0, 1.0, 0.0, 1.0, 1.0 },
        { true, 0.7, 5, 1.0, 0.0, 1.0, 1.2 }, { true, 1.3, 0, 0.8, 0.0, 1.0, 1.0 },
        { true, 1.0, 0, 1.0, 0.1, 0.9, 1.0 },
    };
    enum { SPANS = 5, N = SPANS + 5 };
    rm_request requests[N] = { 0 };
    rm_path *child[N];
    rm_status status = RM_OK;
    for (uint32_t i = 0; i < N && !status; i++)
        status = rm_path_fork(*from, i, &child[i], err);
    if (status)
        return status;
    for (int i = 0; i < SPANS; i++)
        requests[i] = (rm_request){ .want = RM_WANT_SPAN,
                                    .path = child[i],
                                    .sampling = &samplings[i],
                                    .max_new_tokens = load->max_new - i,
                                    .stop = i % 2 ? &stop : NULL };
    int32_t given[3];
    for (int i = 0; i < 3; i++)
        given[i] = (int32_t)(rm_mix(load->digest, (uint64_t)i) % 28 + 4);
    requests[SPANS] = (rm_request){ .want = RM_WANT_TOP, .path = child[SPANS], .k = 7 };
    requests[SPANS + 1] =
        (rm_request){ .want = RM_WANT_ALL, .path = child[SPANS + 1], .sampling = &samplings[2] };
    requests[SPANS + 2] = (rm_request){
        .want = RM_WANT_SCORE, .path = child[SPANS + 2], .tokens = given, .n_tokens = 3
    };
    requests[SPANS + 3] = (rm_request){
        .want = RM_WANT_LOGPROBS, .path = child[SPANS + 3], .tokens = given, .n_tokens = 3
    };
    /* A mixture or product of this path and a fresh one of the other model. */
    rm_path *fresh;
    status =
        rm_path_new(run, load->other, rm_path_tokens(*from), rm_path_length(*from), &fresh, err);
    if (status)
        return status;
    rm_member members[2] = { { child[SPANS + 4], 0.25 }, { fresh, 0.75 } };
    requests[SPANS + 4] =
        (rm_request){ .want = RM_WANT_SPAN,
                      .members = members,
                      .n_members = 2,
                      .combine = load->digest & 1 ? RM_COMBINE_PRODUCT : RM_COMBINE_MIXTURE,
                      .sampling = &samplings[load->digest % 4],
                      .max_new_tokens = 5 };
    status = rm_eval(run, requests, N, err);
    load->digest = rm_mix(load->digest, (uint64_t)status);
    for (int i = 0; i < N && !status; i++)
        load->digest = digest_request(load->digest, &requests[i]);
    int keep = (int)(load->digest % SPANS);
    rm_path_drop(fresh);
    rm_path_drop(*from);
    for (int i = 0; i < N; i++)
        if (i != keep)
            rm_path_drop(child[i]);
    *from = child[keep];
    if (!status && load->digest % 3 == 0)
        status = rm_path_append(*from, given, 2, err);
    rm_request look = { .want = RM_WANT_NOTHING, .path = *from };
    if (!status && load->digest % 5 < 2)
        status = rm_eval(run, &look, 1, err);
    return status;
}

static rm_status workload_run(rm_run *run, void *arg, rm_error *err)
{
    workload *load = arg;
    int32_t *prompt = rm_run_alloc(run, sizeof *prompt * (size_t)load->n_prompt);
    rm_path *path;
    load->digest = load->job.options.problem;
    for (int i = 0; i < load->n_prompt; i++)
        prompt[i] = (int32_t)(rm_mix(load->digest, (uint64_t)i) % 28 + 4);
    if (load->n_prompt > 20)
        for (int i = 0; i < 20; i++)
            prompt[i] = 4 + i % 3; /* what a prefix may hold */
    rm_status status = rm_path_new(run, load->model, prompt, load->n_prompt, &path, err);
    for (int i = 0; i < load->rounds && !status; i++)
        status = workload_round(run, load, &path, err);
    rm_cost cost = rm_run_cost(run);
    load->digest = digest_cost(load->digest, &cost);
    return status;
}

/* A list of jobs, handed out one by one. */
typedef struct workload_list {
    workload *loads;
    int n, given, finished;
} workload_list;

static rm_job *workload_next(void *arg)
{
    workload_list *list = arg;
    return list->given < list->n ? &list->loads[list->given++].job : NULL;
}

static void workload_done(void *arg, rm_job *job)
{
    workload_list *list = arg;
    (void)job;
    list->finished++;
}

static workload_list workload_list_new(int n, rm_model *model, rm_model *other,
                                       rm_run_options options, int n_prompt, int max_new,
                                       int rounds)
{
    workload_list list = { calloc((size_t)n, sizeof(workload)), n, 0, 0 };
    for (int i = 0; i < n; i++) {
        workload *load = &list.loads[i];
        *load = (workload){ .model = model,
                            .other = other,
                            .n_prompt = n_prompt + i % 7,
                            .max_new = max_new,
                            .rounds = rounds };
        load->job = (rm_job){ .options = options, .work = workload_run, .arg = load };
        load->job.options.problem = rm_mix(7, (uint64_t)i);
    }
    return list;
}

#endif
