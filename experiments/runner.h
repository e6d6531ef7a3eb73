/* runner.h - executes an experiment into a run directory, or goes on with one.
 *
 * What is recorded depends on the configuration alone (times aside): not on concurrency, threads,
 * batch limits or the engine's KV limit, not on what was finished in an earlier session, and not on
 * whether cells shared a pool of samples. */
#ifndef RM_EXPERIMENTS_RUNNER_H
#define RM_EXPERIMENTS_RUNNER_H

#include "experiments/config.h"
#include "experiments/store.h"

#include <stdio.h>

typedef enum rm_mode {
    RM_MODE_ALL,         /* every phase the configuration has */
    RM_MODE_THROUGHPUT,
    RM_MODE_LATENCY
} rm_mode;

/* Zero-initialise; 0 and NULL mean what the configuration says, or the default. */
typedef struct rm_runner_options {
    int problems;            /* the first n of each task */
    int concurrency;         /* problems in flight; default 64 */
    int threads, max_batch_rows;
    size_t kv_bytes;         /* limit of the key/value cache; too small for one problem alone, and
                                the run ends with a sentence */
    double keep_s;           /* how often what unfinished problems have drawn is kept; default 10;
                                negative: never */
    const char *isa, *backend;
    int device;
    bool fast;               /* products; also if the configuration says so */
    rm_mode mode;
    bool no_sharing;         /* draw every cell's samples for itself: slower, the same records */
    const char *command;     /* for the manifest */
    FILE *progress;          /* NULL: silent */
    volatile bool *cancel;   /* set from outside to stop; the runner sets it when it must stop */
} rm_runner_options;

typedef struct rm_runner_summary {
    size_t planned, found;   /* outcomes missing at the start; outcomes recorded before */
    size_t recorded, failed; /* in this session; failed ones are recorded too */
    rm_error first_failure;  /* text "" if none */
    double seconds;
} rm_runner_summary;

/* A run in three steps, so that what can never work is refused before a directory exists: opens
 * engine and models and checks them against the plan (vocabularies, quotas of keys and values);
 * executes into a directory; closes. The configuration and the options outlive it. */
typedef struct runner rm_runner;
rm_status rm_runner_open(const rm_config *, const rm_runner_options *, rm_runner **, rm_error *);
rm_status rm_runner_execute(rm_runner *, rm_store *, rm_runner_summary *, rm_error *);
void rm_runner_close(rm_runner *);

/* All three on a directory that is there. It must have been created for this configuration
 * (rm_run_create). RM_E_CANCELLED if it was stopped: what was finished is committed. */
rm_status rm_runner_run(const rm_config *, rm_store *, const rm_runner_options *,
                        rm_runner_summary *, rm_error *);

/* Opens or creates the run directory of a configuration. */
rm_status rm_run_create(const rm_config *, const char *dir, rm_store **, rm_error *);

/* Reads the configuration back from a run directory. Paths in it are relative to where the file
 * was when the run began. */
rm_status rm_run_config(rm_store *, rm_config **, rm_error *);

/* Problems in flight in the throughput phase. */
int rm_run_concurrency(const rm_config *, const rm_runner_options *);

/* Candidates that a replay (rm_config.replay_on) and the run in `dir` both have, and how many of them
 * are equal token for token. RM_E_FORMAT if not all are. */
typedef struct rm_replay_summary {
    size_t compared, equal;
} rm_replay_summary;
rm_status rm_replay_compare(rm_store *, const char *dir, rm_replay_summary *, rm_error *);

/* Fills in the problems and the mode of the last session where the options leave them open. */
rm_status rm_run_settings(rm_store *, rm_runner_options *, rm_error *);

#endif
