/* runner_private.h - what runner.c and trial.c share. */
#ifndef RM_EXPERIMENTS_RUNNER_PRIVATE_H
#define RM_EXPERIMENTS_RUNNER_PRIVATE_H

#include "experiments/plan.h"
#include "experiments/progress.h"
#include "experiments/runner.h"

typedef struct runner runner;

/* A job with what its coroutine needs. */
typedef struct trial_job {
    rm_job job;          /* first: rm_job* is trial_job* */
    runner *owner;
    rm_plan_job plan;
    int only;            /* one cell of the unit by itself (its place), or -1: all of it */
    int recorded, failed;/* outcomes this job recorded */
    bool retry;          /* the pool did not come whole: draw each cell by itself */
    uint64_t tokens;
    rm_problem problem;  /* as its models read it */
    rm_text prompt, plain; /* what problem.prompt points to, where it is a chat */
} trial_job;

struct runner {
    const rm_config *config;
    const rm_runner_options *options;
    rm_store *store;
    rm_engine *engine;
    rm_model **models;       /* [config->n_models] */
    rm_prefix **prefixes;    /* [n_models * n_tasks], NULL where there is none */
    rm_plan plan;            /* of the current phase */
    size_t next_job;
    trial_job **retries;     /* single-cell jobs still to be done */
    size_t n_retries, retry_capacity;
    rm_progress progress;
    size_t uncommitted;
    uint64_t uncommitted_tokens;
    double committed_s;
    volatile bool *cancel;
    rm_status broken;        /* why the whole run must stop; RM_OK: it need not */
    rm_error broken_error;
    rm_runner_summary summary;
};

/* The job's coroutine: runs the strategy, grades, records (uncommitted). */
rm_status trial_work(rm_run *, void *job, rm_error *);

/* ---- runner_chat.c: prompts that depend on the model ------------------------------------ */

/* The prompt of a problem for a cell, into prompt and plain; its models must agree on it. Nothing
 * is written for tasks without a chat. */
rm_status runner_prompt(const runner *, const rm_plan_cell *, const rm_item *, rm_text *prompt,
                        rm_text *plain, rm_error *);
/* Refuses a model without a chat template, or one that its template refuses, before anything is
 * spent. */
rm_status runner_check_chats(const runner *, rm_error *);
/* The prompts of the plan, each once for each model, into the records. */
rm_status runner_record_prompts(runner *, rm_error *);

/* Records that the finished job failed for this cell. */
void trial_record_failure(trial_job *, int cell);

/* Stops the run with that reason (the first one is kept). */
void runner_break(runner *, rm_status, const rm_error *);

#endif
