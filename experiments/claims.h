/* claims.h - the claims of an experiment, read from its file and kept in its run directory (private
 * to experiments). What a claim means and how it is decided is said in analysis/claims.c. */
#ifndef RM_EXPERIMENTS_CLAIMS_H
#define RM_EXPERIMENTS_CLAIMS_H

#include "experiments/config.h"
#include "base/json.h"

/* Reads a list of objects into claims whose strings are ours; free with rm_claims_free, also after a
 * failure. `margin` is what a claim has that states none. */
rm_status rm_claims_read(const rm_json *, const cJSON *list, double margin, rm_claims *, rm_error *);
void rm_claims_free(rm_claims *);

/* Every cell, family and task that the configuration's claims name must be there. */
rm_status rm_claims_check(const rm_config *, const rm_json *, const cJSON *list, rm_error *);

/* As the list that rm_claims_read takes. */
void rm_claims_json(const rm_claims *, rm_text *);

#endif
