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
    PARAM_BOOL(et_params, sampling.do_sample, "do_sample", false,
               "draw instead of taking the best"),
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
    return RM_NEEDS_ONE_VOCABULARY |
           (p->beam.num_beams > 1 ? RM_NEEDS_TOP | RM_NEEDS_FORK : RM_NEEDS_SAMPLES);
}

static bool et_exchangeable(const void *params)
{
    return ((const et_params *)params)->sampling.do_sample;
}

static bool has_filters(const rm_sampling *s)
{
    return s->temperature != 1 || s->top_k || s->top_p != 1 || s->min_p != 0 || s->typical_p != 1;
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
    if (!p->sampling.do_sample && has_filters(&p->sampling))
        return rm_fail(err, RM_E_ARGUMENT, "temperature, top_k, top_p, min_p and typical_p have no "
                       "effect without do_sample = true");
    if (p->beam.num_beams == 1 &&
        (p->beam.length_penalty != 1 || p->beam.early_stopping != BEAM_EARLY_FALSE ||
         p->beam.length_norm != BEAM_NORM_GENERATED))
        return rm_fail(err, RM_E_ARGUMENT, "length_penalty, early_stopping and length_norm have no "
                       "effect with num_beams = 1");
    return RM_OK;
}

static rm_status run_samples(const rm_trial *trial, const et_params *p, const double *weights,
                             rm_outcome *out, rm_error *err)
{
    sampler samples = { 0 };
    rm_status status = run_array(trial->run, (size_t)p->n, sizeof *out->candidates,
                                 &out->candidates, err);
    if (!status)
        status = sampler_open(&samples, trial, trial->n_models, &p->sampling, p->max_new_tokens,
                              p->n, err);
    if (!status)
        status = sampler_combine(&samples, (rm_combine)p->combine, weights, err);
    if (!status)
        status = sampler_draw(&samples, 0, p->n, out, err);
    sampler_close(&samples);
    if (!status)
        out->chosen = 0;
    return status;
}

/* Every model holds every path. */
static uint64_t et_positions(const void *params, int n_prompt, int n_ctx, int window)
{
    const et_params *p = params;
    int n = p->beam.num_beams > 1 ? p->beam.num_beams : p->n;
    return paths_positions((uint64_t)n, p->max_new_tokens, n_prompt, n_ctx, window);
}

static rm_status et_run(const rm_trial *trial, const void *params, rm_outcome *out, rm_error *err)
{
    const et_params *p = params;
    for (int m = 1; m < trial->n_models; m++) {
        rm_status status = rm_model_same_vocabulary(trial->models[0], trial->models[m], err);
        if (status)
            return status;
    }
    double weights[RM_MAX_REALS];
    for (int m = 0; m < trial->n_models; m++)
        weights[m] = p->weights.n ? p->weights.value[m] : 1.0 / trial->n_models;
    if (p->beam.num_beams == 1)
        return run_samples(trial, p, weights, out, err);

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
    .positions = et_positions,
};
