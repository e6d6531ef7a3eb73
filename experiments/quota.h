/* quota.h - how much of the key/value cache one problem may hold.
 *
 * A problem's quota is the one the configuration states (limits.kv_quota_mib), else the most that
 * its strategy can hold by its parameters (strategy.h). Neither knows the machine: what the
 * engine has in all decides how many problems are under way together and nothing else, and a
 * quota that it cannot hold is refused before anything is spent. */
#ifndef RM_EXPERIMENTS_QUOTA_H
#define RM_EXPERIMENTS_QUOTA_H

#include "experiments/config.h"

/* The quota in bytes of a cell on a problem with this prompt; `models` are the configuration's,
 * opened. A prompt that a vocabulary cannot spell counts as empty: its trial fails by itself. */
size_t rm_quota_of(const rm_config *, const rm_plan_cell *, rm_model *const *models,
                   const rm_problem *problem);

/* RM_E_LIMIT if a cell has a problem (of the first `problems` of its task, 0: as configured) whose
 * quota exceeds kv_limit bytes. Names the largest. */
rm_status rm_quota_check(const rm_config *, rm_model *const *models, int problems, size_t kv_limit,
                         rm_error *);

/* The same of one problem, for `ramify generate`: `stated` bytes, 0: what the parameters say. */
rm_status rm_quota_single(const rm_params *, rm_model *const *models, int n_models,
                          const rm_problem *problem, size_t stated, size_t kv_limit, size_t *bytes,
                          rm_error *);

#endif
