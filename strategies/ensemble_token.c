/* ensemble_token.c - several models of one vocabulary decode one text (token-level ensemble).
 *
 *     mixture   p(v) = sum_m w_m p_m(v)                 weights normalised to sum 1
 *     product   p(v) = prod_m p_m(v)^w_m / Z            (product of experts, Hinton 2002)
 *
 * greedy, sampled (do_sample) or under beam search (num_beams > 1). Each model keeps its own keys
 * and values; a chosen token is appended to all. lp is that of the combined distribution.
 * `weights` left empty counts every model alike, 1/M each: the arithmetic or the geometric mean. */
#include "strategies/beam_search.h"
#include "strategies/list.h"
#include "strategies/params.h"
#include "strategies/samples.h"

#include <math.h>

static const char *const combine_names[] = { "mixture", "product", NULL };

typedef struct et_params {
    int combine;            /* rm_combine */
    rm_reals weights;
    rm_sampling sampling;
    beam_config beam;       /* repetition_penalty and max_new_tokens are set from the others */
    int n, max_new_tokens;
} et_params;

static const rm_param et_table[] = {
    PARAM_CHOICE(et_params, combine, "combine", RM_COMBINE_MIXTURE, combine_names,
                 "how the models' distributions become one"),
    PARAM_REALS(et_params, weights, "weights", 1e-6, 1e6, "one per model; empty: all alike"),
    PARAM_BOOL(et_params, sampling.do_sample, "do_sample", false, "draw instead of taking the best"),
    PARAM_INT(et_params, n, "num_return_sequences", 1, 1, MAX_SAMPLES,
              "samples to draw, or beams to return"),
    PARAM_INT(et_params, beam.num_beams, "num_beams", 1, 1, 1024, "above 1: beam search"),
    PARAM_REAL(et_params, beam.length_penalty, "length_penalty", 1, -10, 10,
               "beam search: exponent of the length a score is divided by"),
    PARAM_CHOICE(et_params, beam.early_stopping, "early_stopping", BEAM_EARLY_FALSE,
                 beam_early_names, "beam search: when to stop"),
    PARAM_CHOICE(et_params, beam.length_norm, "length_norm", BEAM_NORM_GENERATED, beam_norm_names,
                 "beam search: the length"),
    PARAM_MAX_NEW_TOKENS(et_params, max_new_tokens),
    PARAMS_SAMPLING(et_params, sampling),
    PARAM_END,
};

static unsigned et_needs(const void *params)
{
    const et_params *p = params;
    return p->beam.num_beams > 1 ? RM_NEEDS_TOP | RM_NEEDS_FORK : RM_NEEDS_SAMPLES;
}

static bool et_exchangeable(const void *params)
{
    return ((const et_params *)params)->sampling.do_sample;
}

static rm_status et_check(const void *params, int n_models, rm_error *err)
{
    const et_params *p = params;
    if (p->weights.n && p->weights.n != n_models)
        return rm_fail(err, RM_E_ARGUMENT, "weights needs one number for each of the %d models, "
                       "got %d", n_models, p->weights.n);
    if (p->sampling.do_sample && p->beam.num_beams > 1)
        return rm_fail(err, RM_E_ARGUMENT, "do_sample = true does not go with num_beams = %d",
                       p->beam.num_beams);
    if (!p->sampling.do_sample && p->n > p->beam.num_beams)
        return rm_fail(err, RM_E_ARGUMENT,
                       "num_return_sequences = %d needs do_sample = true or num_beams = %d", p->n,
                       p->n);
    return RM_OK;
}

static double weight_of(const et_params *p, int model, int n_models)
{
    return p->weights.n ? p->weights.value[model] : 1.0 / n_models;
}

/* Forks every model's prompt for sample i and fills the request. */
static rm_status sample_request(const et_params *p, int n_models, rm_path *const *root, int i,
                                const rm_stop *stop, rm_member *member, rm_request *request,
                                rm_error *err)
{
    *request = (rm_request){ .want = RM_WANT_SPAN, .members = member, .n_members = n_models,
                             .combine = (rm_combine)p->combine, .sampling = &p->sampling,
                             .stop = stop, .max_new_tokens = p->max_new_tokens };
    for (int m = 0; m < n_models; m++) {
        member[m].weight = weight_of(p, m, n_models);
        rm_status status = rm_path_fork(root[m], (uint32_t)i, &member[m].path, err);
        if (status)
            return status;
    }
    return RM_OK;
}

static rm_status draw(const rm_trial *trial, const et_params *p, rm_path *const *root,
                      rm_member *member, rm_request *request, rm_outcome *out, rm_error *err)
{
    rm_stop stop = answer_stop(trial, false);
    rm_status status = RM_OK;
    for (int i = 0; i < p->n && !status; i++)
        status = sample_request(p, trial->n_models, root, i, &stop, member + i * trial->n_models,
                                &request[i], err);
    if (!status)
        status = rm_eval(trial->run, request, p->n, err);
    for (int i = 0; i < p->n * trial->n_models; i++)
        rm_path_drop(member[i].path);
    for (int i = 0; i < p->n && !status; i++) {
        const rm_request *r = &request[i];
        out->cut_short |= r->result.reason == RM_STOP_BUDGET;
        if (r->result.n == 0)
            continue;
        rm_candidate *c = &out->candidates[out->n_candidates++];
        *c = (rm_candidate){ .tokens = r->result.tokens, .n_tokens = r->result.n,
                             .lp = sum_lp(r->result.lp, r->result.n), .score = NAN,
                             .lp_sampling = p->sampling.do_sample
                                                ? sum_lp(r->result.lp_sampling, r->result.n)
                                                : NAN,
                             .reason = r->result.reason };
        status = candidate_finish(trial, c, err);
    }
    if (!status && out->n_candidates == 0)
        return rm_fail(err, RM_E_BUDGET, "the token budget ended before the first token");
    return status;
}

static rm_status run_samples(const rm_trial *trial, const et_params *p, rm_outcome *out,
                             rm_error *err)
{
    size_t n = (size_t)p->n, n_models = (size_t)trial->n_models;
    rm_path **root;
    rm_member *member;
    rm_request *request;
    rm_status status = run_array(trial->run, n_models, sizeof *root, &root, err);
    if (!status)
        status = run_array(trial->run, n * n_models, sizeof *member, &member, err);
    if (!status)
        status = run_array(trial->run, n > n_models ? n : n_models, sizeof *request, &request, err);
    if (!status)
        status = run_array(trial->run, n, sizeof *out->candidates, &out->candidates, err);
    for (int m = 0; m < trial->n_models && !status; m++) {
        status = prompt_path(trial, m, &root[m], err);
        request[m] = (rm_request){ .want = RM_WANT_NOTHING, .path = root[m] };
    }
    if (!status)
        status = rm_eval(trial->run, request, trial->n_models, err);
    if (!status)
        status = draw(trial, p, root, member, request, out, err);
    if (!status)
        out->chosen = 0;
    return status;
}

static rm_status et_run(const rm_trial *trial, const void *params, rm_outcome *out, rm_error *err)
{
    const et_params *p = params;
    for (int m = 1; m < trial->n_models; m++) {
        rm_status status = rm_model_same_vocabulary(trial->models[0], trial->models[m], err);
        if (status)
            return status;
    }
    if (p->beam.num_beams == 1)
        return run_samples(trial, p, out, err);

    double weights[RM_MAX_REALS];
    for (int m = 0; m < trial->n_models; m++)
        weights[m] = weight_of(p, m, trial->n_models);
    beam_config beam = p->beam;
    beam.num_beam_groups = 1;
    beam.num_return_sequences = p->n;
    beam.repetition_penalty = p->sampling.repetition_penalty;
    beam.max_new_tokens = p->max_new_tokens;
    return beam_search(trial, &beam, trial->n_models, weights, (rm_combine)p->combine, out, err);
}

const rm_strategy rm_ensemble_token = {
    .name = "ensemble-token",
    .paper = "Hinton 2002 (product of experts); Freitag et al. 2017, arXiv:1702.01802",
    .summary = "several models of one vocabulary decode one text",
    .params = et_table,
    .params_size = sizeof(et_params),
    .size_param = "num_return_sequences",
    .min_models = 2,
    .max_models = RM_MAX_REALS,
    .needs = et_needs,
    .exchangeable = et_exchangeable,
    .check = et_check,
    .run = et_run,
};
