/* sampling.c - independent samples; the first one is the answer, the others are kept.
 *
 *     x_t ~ filter(softmax(l(x_<t) / temperature))
 *
 * Filters in the order of Hugging Face generate(): repetition penalty, temperature, top_k (Fan et
 * al. 2018), top_p (Holtzman et al. 2020), min_p (Nguyen et al. 2024), typical_p (Meister et al.
 * 2023); all off by default. Sample i is child i of the prompt, so the first samples are the same
 * for every num_return_sequences. */
#include "strategies/list.h"
#include "strategies/params.h"

typedef struct sampling_params {
    rm_sampling sampling;
    int n, max_new_tokens;
} sampling_params;

static const rm_param sampling_table[] = {
    PARAM_INT(sampling_params, n, "num_return_sequences", 1, 1, MAX_SAMPLES, "samples to draw"),
    PARAM_MAX_NEW_TOKENS(sampling_params, max_new_tokens),
    PARAMS_SAMPLING(sampling_params, sampling),
    PARAM_END,
};

static unsigned sampling_needs(const void *params)
{
    (void)params;
    return RM_NEEDS_SAMPLES;
}

static bool sampling_exchangeable(const void *params)
{
    (void)params;
    return true;
}

static void sampling_pool(const void *params, rm_sampling *sampling, int *n_samples,
                          int *max_new_tokens)
{
    const sampling_params *p = params;
    *sampling = p->sampling;
    sampling->do_sample = true;
    *n_samples = p->n;
    *max_new_tokens = p->max_new_tokens;
}

static rm_status sampling_choose(const rm_trial *trial, const void *params, rm_outcome *out,
                                 rm_error *err)
{
    (void)trial, (void)params, (void)err;
    out->chosen = 0;
    return RM_OK;
}

const rm_strategy rm_sampling_strategy = {
    .name = "sampling",
    .paper = "Holtzman et al. 2020, arXiv:1904.09751",
    .summary = "independent samples, the first one is the answer",
    .params = sampling_table,
    .params_size = sizeof(sampling_params),
    .size_param = "num_return_sequences",
    .min_models = 1,
    .max_models = 1,
    .needs = sampling_needs,
    .exchangeable = sampling_exchangeable,
    .pool = sampling_pool,
    .choose = sampling_choose,
};
