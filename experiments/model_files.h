/* model_files.h - where models are found: by path, or by the name of an embedded one; and whether
 * those of an experiment fit together. */
#ifndef RM_EXPERIMENTS_MODEL_FILES_H
#define RM_EXPERIMENTS_MODEL_FILES_H

#include "experiments/config.h"

/* The path of the model `name`: the file of that path if there is one (relative to the working
 * directory, then to the directory of `beside`, which may be NULL), else NAME.gguf among the
 * embedded models. *path is malloc'd. An unknown name is RM_E_ARGUMENT with the nearest one. */
rm_status rm_model_find(const char *name, const char *beside, char **path, rm_error *);

/* Opens a model of `config` that is computed here, with the one it is replayed on; the sentence of an
 * error says where the configuration names it. */
rm_status rm_config_model_load(const rm_config *, int index, rm_engine *, rm_model **, rm_error *);

/* Names of the embedded models, sorted, one a line, appended to `text`. */
void rm_model_names(rm_text *text);

/* Refuses a cell whose strategy needs models of one vocabulary but whose models have different
 * ones. `models` are the configuration's, opened, in its order. For `ramify check`, and for a run
 * before it spends anything. */
rm_status rm_models_fit(const rm_config *, rm_model *const *models, rm_error *);

#endif
