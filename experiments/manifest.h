/* manifest.h - manifest.json: what a run was made with, session by session. */
#ifndef RM_EXPERIMENTS_MANIFEST_H
#define RM_EXPERIMENTS_MANIFEST_H

#include "experiments/runner.h"

/* Records the session that begins now (models[i] belongs to config->models[i]) and writes
 * manifest.json. */
rm_status rm_manifest_begin(rm_store *, const rm_config *, const rm_runner_options *,
                            const rm_engine *, rm_model *const *models, int64_t *session,
                            rm_error *);

/* Completes it and writes manifest.json again. */
rm_status rm_manifest_end(rm_store *, int64_t session, const char *ending, rm_error *);

/* The same for samples that were made elsewhere. */
rm_status rm_manifest_imported(rm_store *, const char *file, const char *command, rm_error *);

/* manifest.json as text, from the records. */
rm_status rm_manifest_text(rm_store *, rm_text *, rm_error *);

/* "0.1.0" or "0.1.0 (git describe)". */
const char *rm_version_text(void);
extern const char rm_version_git[]; /* as git describes it; "" if that is not known */

#endif
