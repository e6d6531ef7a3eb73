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

    struct trial_job *next, *prev; /* of those in flight */
    rm_run *run;         /* while it is in flight */
    char key[17];        /* names what is kept of it */
    bool stored;         /* something is */
    int n_chunks;        /* that this session has kept */
    double kept_s;       /* when, or when it began */
    rm_text journal;     /* what an earlier session kept, until the run has it */
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
    trial_job *flying;       /* the jobs in flight */
    int n_flying;
    uint64_t taken_up;       /* tokens of finished jobs that an earlier session had drawn */
    bool any_journal;        /* an earlier session kept something */
    size_t uncommitted;
    uint64_t uncommitted_tokens;
    double committed_s;
    volatile bool *cancel, own_cancel;
    rm_status broken;        /* why the whole run must stop; RM_OK: it need not */
    rm_error broken_error;
    rm_runner_summary summary;
};

/* The job's coroutine: runs the strategy, grades, records (uncommitted). */
rm_status trial_work(rm_run *, void *job, rm_error *);

/* Commits what is written and counts it. */
void runner_commit(runner *);

/* ---- runner_flight.c: jobs in flight ----------------------------------------------------- */

/* Asks for a journal of the job, and gives it what an earlier session kept. */
void runner_flight_prepare(trial_job *);
void runner_flight_begin(trial_job *, rm_run *);
void runner_flight_end(trial_job *);
void runner_flight_forget(trial_job *);
/* Has the engine call for progress and keeping. */
void runner_flight_watch(runner *);

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
