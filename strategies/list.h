/* list.h - the strategies there are, one per file (folder-private). */
#ifndef RM_STRATEGIES_LIST_H
#define RM_STRATEGIES_LIST_H

#include "strategies/strategy.h"

extern const rm_strategy rm_greedy;
extern const rm_strategy rm_sampling_strategy;
extern const rm_strategy rm_budget_forcing;
extern const rm_strategy rm_beam;
extern const rm_strategy rm_best_of_n;
extern const rm_strategy rm_self_consistency;
extern const rm_strategy rm_mbr;
extern const rm_strategy rm_adaptive_consistency;
extern const rm_strategy rm_ensemble_vote;
extern const rm_strategy rm_ensemble_token;
extern const rm_strategy rm_step_beam;
extern const rm_strategy rm_mcts;

#endif
