/* value.h - what a reward model thinks of texts (folder-private). */
#ifndef RM_STRATEGIES_VALUE_H
#define RM_STRATEGIES_VALUE_H

#include "strategies/strategy.h"

/* RM_E_ARGUMENT unless the trial's last model is a reward model of the first one's vocabulary and
 * another one than the first. `parameter` names what asks for it: "score = value". */
rm_status value_check(const rm_trial *, const char *parameter, rm_error *);

/* v(text) in [0, 1] for n texts that follow the problem's prompt, by the trial's last model. */
rm_status value_of_texts(const rm_trial *, const int32_t *const *tokens, const int *n_tokens, int n,
                         double *value, rm_error *);

/* The same for candidates, their whole texts. */
rm_status value_of_candidates(const rm_trial *, const rm_candidate *, int n, double *value,
                              rm_error *);

/* Most positions of the scorer's cache that reading n texts of up to max_new_tokens takes. */
uint64_t value_positions(uint64_t n, int max_new_tokens, int n_prompt, int n_ctx);

#endif
