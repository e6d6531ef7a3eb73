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

/* ---- config_remote.c ---------------------------------------------------------------------- */

extern const rm_key rm_remote_keys[]; /* of a model behind a server; they fill an
                                         rm_config_remote */
void rm_remote_defaults(rm_config_remote *);
/* Checks the keys together and moves them into *out, NULL for a model that is computed here. */
rm_status rm_remote_settle(const rm_json *, const cJSON *item, const char *path, const char *file,
                           rm_config_remote *, rm_config_remote **out, rm_error *);
void rm_remote_free(rm_config_remote *);
/* What a strategy with these needs lacks of such a model; NULL: nothing. */
const char *rm_remote_lack(const rm_config_remote *, unsigned needs);

#endif
