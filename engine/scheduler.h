/* scheduler.h - who computes when, and who holds KV pages.
 *
 * A pass takes the active runs (those inside rm_eval) in the order of their admission and plans
 * their tasks until it is full. Before a run's round begins it gets pages for all rows of the
 * round; that is the only point where pages are wanted, and if they are short:
 *
 *   1. runs admitted later, the newest first, are suspended: they give every page back
 *   2. else the run waits, unless it is the first active one
 *   3. the first active run takes what cached prefixes hold, and what it still lacks beyond the
 *      limit: rm_eval has checked its needs, so this is no more than the rounding to whole pages
 *
 * So the first active run always advances, and nothing a run computes depends on who else holds
 * pages. A suspended run's positions are evaluated again, along its token tree and each once,
 * when there is room (rm_run_restore); the same rows give the same bits. */
#ifndef RM_ENGINE_SCHEDULER_H
#define RM_ENGINE_SCHEDULER_H

#include "engine/run.h"

/* A prefix is a path of an internal run; it is idle, and the last to be suspended. */
struct rm_prefix {
    rm_run *run;
    rm_path *path;
};

/* One pass over all active runs. A failure of the device fails every rm_eval in progress. */
void rm_schedule_pass(rm_engine *);

/* Gives back every page and tip of a run; its tokens and its tree stay. */
void rm_run_suspend(rm_run *);
rm_status rm_run_restore(rm_run *, rm_error *);

#endif
