/* beam_search.h - beam search over one model or a weighted combination of several
 * (folder-private; beam.c and ensemble_token.c are the strategies). */
#ifndef RM_STRATEGIES_BEAM_SEARCH_H
#define RM_STRATEGIES_BEAM_SEARCH_H

#include "strategies/beam_step.h"
#include "strategies/strategy.h"

typedef struct beam_config {
    int num_beams, num_beam_groups;   /* groups divide beams */
    int num_return_sequences;         /* 0: all */
    double length_penalty, diversity_penalty, repetition_penalty;
    int early_stopping;               /* beam_early */
    int length_norm;                  /* beam_norm */
    int max_new_tokens;
} beam_config;

/* Names in the order of beam_early and beam_norm, for parameter tables. */
extern const char *const beam_early_names[];
extern const char *const beam_norm_names[];

/* Searches under the first n_models models of the trial; weights and combine matter from two on.
 * Candidates are the done beams by descending score; the first is chosen. */
rm_status beam_search(const rm_trial *, const beam_config *, int n_models, const double *weights,
                      rm_combine, rm_outcome *, rm_error *);

#endif
