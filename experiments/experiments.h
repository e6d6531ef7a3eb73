/* experiments.h - floor 3: what this folder offers to programs and tests.
 *
 *   task.h         problems, prompts, answers, verdicts
 *   config.h       experiment files and the plan they make
 *   store.h        run directories and their records
 *   runner.h       executes a plan into a run directory
 *   exchange.h     export, import, grading again
 *   manifest.h     what a run was made with
 *   model_files.h  where models are found, and whether they fit together
 *
 * From a configuration to records:
 *
 *   rm_config_open(file, &config, err)
 *   rm_run_create(config, dir, &store, err)
 *   rm_runner_run(config, store, &options, &summary, err)
 *   rm_store_records(store, &records, err)          -> analysis.h
 */
#ifndef RM_EXPERIMENTS_H
#define RM_EXPERIMENTS_H

#include "experiments/config.h"
#include "experiments/exchange.h"
#include "experiments/manifest.h"
#include "experiments/model_files.h"
#include "experiments/runner.h"
#include "experiments/store.h"
#include "experiments/task.h"

#endif
