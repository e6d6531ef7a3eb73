/* log.h - the logs of trainings as curves (private to experiments).
 *
 * A log is JSONL: a head, a line a step, a line an evaluation (README.md names the keys). */
#ifndef RM_EXPERIMENTS_TRAIN_LOG_H
#define RM_EXPERIMENTS_TRAIN_LOG_H

#include "plots/plots.h"

/* Draws the logs into one figure: loss; accuracy; length; reward; share of groups without signal;
 * entropy; what none of them has is left out. RM_E_FORMAT names the file and line that is none. */
rm_status train_log_plot(const char *const *files, int n, const rm_plot_options *, const char *out,
                         rm_error *);

#endif
