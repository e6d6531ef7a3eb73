/* config_private.h - shared by the parts of the configuration reader (private to experiments). */
#ifndef RM_EXPERIMENTS_CONFIG_PRIVATE_H
#define RM_EXPERIMENTS_CONFIG_PRIVATE_H

#include "experiments/config.h"
#include "experiments/keys.h"

enum { RM_MAX_CELLS = 4096 };

/* Expands the list of strategy entries into config->cells. `generation` (may be NULL) holds
 * parameters for all strategies that have them. Models and tasks are in place. */
rm_status rm_config_read_cells(rm_config *, const rm_json *, const cJSON *strategies,
                               const cJSON *generation, rm_error *);

/* Labels and families (config_labels.c). `names`, [n_cells], are the strategies' names or the
 * labels that entries gave themselves. */
rm_status rm_config_label_cells(rm_config *, const char *const *names, rm_error *);

/* "thimble + thimble-grpo" */
void rm_config_models_text(const rm_config *, const rm_plan_cell *, rm_text *);

#endif
