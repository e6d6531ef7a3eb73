/* json_parts.h - what the two files that write an analysis as JSON share. Private to the folder. */
#ifndef RM_ANALYSIS_JSON_PARTS_H
#define RM_ANALYSIS_JSON_PARTS_H

#include "analysis/analysis.h"
#include "base/json.h"

/* An estimate as an object with its level; null without data. */
void an_json_estimate(rm_json_writer *, const char *key, const rm_estimate *);

/* Member "scaling" of a cell; null where nothing was fitted. */
void an_json_scaling(rm_json_writer *, const rm_scaling *);

/* Members "trends", "areas", "area_pairs", "crossings", "equal_passes", "tunings" and
 * "tuning_pairs" of a task, and "claims" where any are stated. */
void an_json_curves(rm_json_writer *, const rm_analysis *, const rm_task_report *);

#endif
