/* store.h - a run directory and its records.
 *
 *   config.json      the experiment file as used
 *   manifest.json    what ran it: version, models, machine, libraries, command, times (manifest.h)
 *   records.sqlite   every outcome (the schema stands at the top of schema.c)
 *   log.txt          one line for each thing worth knowing afterwards
 *   lock             held by the process that writes
 *
 * Durability.  Outcomes are written inside a transaction and are safe once rm_store_commit has
 *              returned: they survive SIGKILL at any later moment. An outcome is there whole or
 *              not at all.
 * Ownership.   A store belongs to one thread. What is passed in is borrowed for the call. */
#ifndef RM_EXPERIMENTS_STORE_H
#define RM_EXPERIMENTS_STORE_H

#include "analysis/analysis.h"
#include "experiments/task.h"
#include "strategies/strategy.h"

typedef struct sqlite3 sqlite3;           /* sqlite3.h, for those that use it */
typedef struct sqlite3_stmt sqlite3_stmt;

enum { RM_SCHEMA_VERSION = 1 };

typedef struct rm_store rm_store;

/* Creates the run directory `dir`, or opens it if it was made by the same configuration or holds
 * no outcome yet (then it starts again): `identity` is a text that equal configurations share (32
 * characters at most are shown). A directory of another one, one that holds other files, one in use
 * by another process or one that cannot be written is refused with nothing touched. `config` (NULL:
 * none) becomes config.json. */
rm_status rm_store_create(const char *dir, const char *identity, const char *config,
                          size_t n_config, rm_store **, rm_error *);

/* Opens an existing run directory; for writing it is locked. */
rm_status rm_store_open(const char *dir, bool write, rm_store **, rm_error *);

/* Commits nothing: what was not committed is undone. */
void rm_store_close(rm_store *);

const char *rm_store_dir(const rm_store *);
sqlite3 *rm_store_database(rm_store *);

/* dir/name; malloc'd, NULL without memory. */
char *rm_store_path(const rm_store *, const char *name);

/* Appends a line with date and time to log.txt; a log that cannot be written is no failure. */
void rm_store_log(rm_store *, const char *format, ...) RM_PRINTF(2, 3);

/* ---- writing ---------------------------------------------------------------------------- */

/* Writes happen inside one transaction that the first of them opens. */
rm_status rm_store_commit(rm_store *, rm_error *);

rm_status rm_store_set_meta(rm_store *, const char *key, const char *value, rm_error *);
/* Appends the value to `text`; false (and nothing appended) if there is no such key. */
bool rm_store_get_meta(rm_store *, const char *key, rm_text *text);

/* Cell number `index` of the plan; writing the same cell again changes nothing. */
rm_status rm_store_put_cell(rm_store *, int index, const rm_cell *, rm_error *);

/* A problem as the records keep it; optional strings are NULL. */
typedef struct rm_problem_row {
    const char *task, *id;
    int64_t index;               /* place within the task */
    const char *question, *reference, *prompt, *cluster, *level;
    uint64_t hash, prompt_hash;  /* 0: unknown */
} rm_problem_row;

/* *problem is the row's number. Writing the same problem again changes nothing; another problem
 * under the same task and index is RM_E_ARGUMENT. */
rm_status rm_store_put_problem(rm_store *, const rm_problem_row *, int64_t *problem, rm_error *);

/* What the model (or models, as the cell names them) of some cells read of a problem, where that
 * depends on the model. Writing it again changes nothing; another prompt there is RM_E_ARGUMENT. */
rm_status rm_store_put_prompt(rm_store *, int64_t problem, const char *model, const char *prompt,
                              rm_error *);

typedef struct rm_outcome_row {
    int cell;
    int64_t problem;
    uint64_t seed;
    rm_timing timing;
    int repeat;
    const char *error;           /* NULL: it worked */
    const rm_outcome *outcome;   /* may be NULL where it failed */
    const bool *correct;         /* [n_candidates] */
    rm_cost cost;
    int pooled;                  /* cells that shared its pool of samples; 1: none */
    double machine_load;         /* runnable processes of the machine, mean over a minute */
} rm_outcome_row;

/* A token count (rm_cost, n_tokens < 0) that is not known becomes NULL. */
rm_status rm_store_put_outcome(rm_store *, const rm_outcome_row *, rm_error *);
/* The same for many: keeps a copy, which is written with others at the latest by the next commit. */
rm_status rm_store_queue_outcome(rm_store *, const rm_outcome_row *, rm_error *);

/* What an unfinished job has drawn, chunk after chunk from 0, which replaces what was there. */
rm_status rm_store_put_journal(rm_store *, const char *job, int chunk, const char *data, size_t n,
                               rm_error *);
bool rm_store_any_journal(rm_store *);
rm_status rm_store_get_journal(rm_store *, const char *job, rm_text *, rm_error *); /* appends */
rm_status rm_store_drop_journal(rm_store *, const char *job, rm_error *); /* NULL: all of them */

/* Calls `found` for every recorded outcome. */
typedef void rm_store_found(void *arg, int cell, int64_t problem, uint64_t seed, rm_timing timing,
                            int repeat);
rm_status rm_store_finished(rm_store *, rm_store_found *found, void *arg, rm_error *);

/* One session of the run: begin gives its number, end completes it. `manifest` is a JSON object
 * as text; sessions are listed in manifest.json. */
rm_status rm_store_begin_session(rm_store *, const char *manifest, int64_t *session, rm_error *);
rm_status rm_store_end_session(rm_store *, int64_t session, const char *ending, rm_error *);

/* ---- reading ---------------------------------------------------------------------------- */

/* Everything the analysis wants, added to `records`. */
rm_status rm_store_records(rm_store *, rm_records *, rm_error *);

/* Names of the values that the records hold as text. */
const char *rm_timing_name(rm_timing);
const char *rm_stop_reason_name(rm_stop_reason);
rm_stop_reason rm_stop_reason_find(const char *name); /* RM_STOP_NONE if unknown */
bool rm_stop_reason_truncated(rm_stop_reason);

/* For this folder: prepares a statement, with one sentence if the records do not allow it. */
rm_status rm_store_prepare(rm_store *, const char *sql, sqlite3_stmt **, rm_error *);
/* The sentence for a failed call into SQLite, with its consequences for the records. */
rm_status rm_store_fail(rm_store *, const char *doing, rm_error *);

#endif
