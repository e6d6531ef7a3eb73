/* plan.h - what a run has to do: the outcomes still missing, in the order of doing them; private
 * to this folder. */
#ifndef RM_EXPERIMENTS_PLAN_H
#define RM_EXPERIMENTS_PLAN_H

#include "experiments/config.h"
#include "experiments/store.h"

/* Cells that one job serves: one cell, or several that choose among the same samples. */
typedef struct rm_plan_unit {
    int *cells;              /* [n_cells] indices into the configuration's cells */
    int n_cells;
    bool pooled;             /* several cells, one pool of samples */
    rm_sampling sampling;    /* of the pool */
    int max_new_tokens;
} rm_plan_unit;

/* One job: a unit on one problem. */
typedef struct rm_plan_job {
    int unit, problem, repeat;
    uint64_t seed;
    bool warm_up;            /* not recorded */
} rm_plan_job;

typedef struct rm_plan {
    const rm_config *config;
    rm_timing timing;
    int *n_problems;         /* [n_tasks] */
    int64_t **rows;          /* [n_tasks][n_problems] numbers of the problems in the records */
    rm_plan_unit *units;
    int n_units;
    rm_plan_job *jobs;
    size_t n_jobs, job_capacity;
    size_t n_outcomes;       /* missing ones, warm-up not counted */
    size_t n_found;          /* recorded before */
    bool share;              /* cells may share a pool of samples */
    uint8_t *finished;       /* bit set of outcomes, see plan_slot */
    size_t n_slots;
    int n_repeats;           /* 1 in throughput mode */
} rm_plan;

/* Makes the plan of one phase: writes cells and problems into the records (uncommitted) and
 * leaves out what is recorded already. `problems` 0: as the configuration says. */
rm_status rm_plan_make(const rm_config *, rm_timing, int problems, bool share, rm_store *,
                       rm_plan *, rm_error *);
void rm_plan_free(rm_plan *);

/* The outcomes that a whole phase records, finished or not. */
size_t rm_plan_total(const rm_config *, rm_timing, int problems);

/* Is this outcome recorded? */
bool rm_plan_finished(const rm_plan *, int cell, int problem, uint64_t seed, int repeat);
void rm_plan_finish(rm_plan *, int cell, int problem, uint64_t seed, int repeat);

/* The record of a cell of the plan; strings are borrowed from the configuration, except params
 * and model, which are appended to the two texts. */
rm_status rm_plan_cell_record(const rm_config *, const rm_plan_cell *, rm_text *model,
                              rm_text *params, rm_cell *, rm_error *);

#endif
