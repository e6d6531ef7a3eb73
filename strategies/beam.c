/* beam.c - beam search (Graves 2012, arXiv:1211.3711; Sutskever et al. 2014), with the parameters
 * and the semantics of Hugging Face generate(), and diverse beam search (Vijayakumar et al. 2016,
 * arXiv:1610.02424) through num_beam_groups.
 *
 *     keep the B best prefixes by s(y) = sum_t log p(y_t | y_<t); ended ones are ranked by
 *     s(y) / norm(length)^length_penalty
 *
 * The rule of a step stands in beam_step.h, its execution on the token tree in beam_search.c.
 * Canonical beam search is early_stopping = never, length_penalty = 0. A candidate's score is the
 * normalised one it was ranked by (penalties included); its lp is the raw model's. With both
 * penalties, diversity is subtracted first and repetition scales the difference, the order of
 * Hugging Face's processors. */
#include "strategies/beam_search.h"
#include "strategies/list.h"
#include "strategies/params.h"
#include "strategies/samples.h"

static const rm_param beam_table[] = {
    PARAM_INT(beam_config, num_beams, "num_beams", 4, 1, 1024, "prefixes kept at every step"),
    PARAM_INT(beam_config, num_return_sequences, "num_return_sequences", 0, 0, 1024,
              "candidates to return, at most num_beams; 0: all"),
    PARAM_REAL(beam_config, length_penalty, "length_penalty", 1, -10, 10,
               "exponent of the length a score is divided by; above 0 favours long texts"),
    PARAM_CHOICE(beam_config, early_stopping, "early_stopping", BEAM_EARLY_FALSE, beam_early_names,
                 "stop when num_beams are done (true), when a better one is unlikely (false) or "
                 "impossible (never)"),
    PARAM_CHOICE(beam_config, length_norm, "length_norm", BEAM_NORM_GENERATED, beam_norm_names,
                 "the length: generated tokens, total with the prompt, ((5 + length) / 6), none"),
    PARAM_REPETITION_PENALTY(beam_config, repetition_penalty),
    PARAM_INT(beam_config, num_beam_groups, "num_beam_groups", 1, 1, 1024,
              "groups of a diverse search; divides num_beams"),
    PARAM_REAL(beam_config, diversity_penalty, "diversity_penalty", 0, 0, 1000,
               "nats off a token for each earlier group that chose it at this step"),
    PARAM_MAX_NEW_TOKENS(beam_config, max_new_tokens),
    PARAM_END,
};

static unsigned beam_needs(const void *params)
{
    (void)params;
    return RM_NEEDS_TOP | RM_NEEDS_FORK;
}

static bool beam_exchangeable(const void *params)
{
    (void)params;
    return false;
}

static rm_status beam_check(const void *params, int n_models, rm_error *err)
{
    (void)n_models;
    const beam_config *p = params;
    if (p->num_return_sequences > p->num_beams)
        return rm_fail(err, RM_E_ARGUMENT,
                       "num_return_sequences = %d exceeds num_beams = %d", p->num_return_sequences,
                       p->num_beams);
    if (p->num_beams % p->num_beam_groups != 0)
        return rm_fail(err, RM_E_ARGUMENT,
                       "num_beams = %d must be divisible by num_beam_groups = %d", p->num_beams,
                       p->num_beam_groups);
    if (p->diversity_penalty > 0 && p->num_beam_groups == 1)
        return rm_fail(err, RM_E_ARGUMENT,
                       "diversity_penalty has no effect with num_beam_groups = 1");
    return RM_OK;
}

/* At most num_beams live prefixes of any length; what they share counts once, so that this is
 * reached only if they part at once. Ended ones keep no positions. */
static uint64_t beam_positions(const void *params, int n_prompt, int n_ctx, int window)
{
    const beam_config *p = params;
    return paths_positions((uint64_t)p->num_beams, p->max_new_tokens, n_prompt, n_ctx, window);
}

/* As beam_search.c asks: two for each beam of a group, and those that other groups may have taken. */
static int beam_most_top(const void *params)
{
    const beam_config *p = params;
    int width = p->num_beams / p->num_beam_groups;
    return 2 * width + (p->diversity_penalty > 0 ? p->num_beams - width : 0);
}

static rm_status beam_run(const rm_trial *trial, const void *params, rm_outcome *out, rm_error *err)
{
    return beam_search(trial, params, 1, NULL, RM_COMBINE_MIXTURE, out, err);
}

const rm_strategy rm_beam = {
    .name = "beam",
    .paper = "Graves 2012, arXiv:1211.3711; Vijayakumar et al. 2016, arXiv:1610.02424",
    .summary = "the num_beams most likely prefixes at every step",
    .params = beam_table,
    .params_size = sizeof(beam_config),
    .size_param = "num_beams",
    .min_models = 1,
    .max_models = 1,
    .needs = beam_needs,
    .exchangeable = beam_exchangeable,
    .most_top = beam_most_top,
    .check = beam_check,
    .run = beam_run,
    .positions = beam_positions,
};
