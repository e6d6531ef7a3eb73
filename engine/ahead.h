/* ahead.h - spans whose next tokens the device draws before anybody asks for them.
 *
 * Plain sampling asks a device for one token of every path, waits, and asks for the next. Where a pass
 * is nothing but that, and the backend can (rm_ops.ahead), its paths go on by themselves: the device
 * takes the token drawn as the row's next, up to `most` steps, and the host follows a step or two
 * behind. Nothing else changes. The scheduler goes through the same rounds as ever: begins them,
 * takes pages, counts, delivers, looks for stop strings, keeps journals; only what a pass would
 * compute for such a task is there already and is taken from the group (rm_ahead_add instead of rows
 * in the batch). So tokens, accounts, quotas and records are those of one step at a time, and a path
 * that leaves the group early loses nothing but what nobody asked for: the same rows give the same
 * bits whoever computes them, and whenever.
 *
 *   group    the paths of one pass; there is one at a time. A pass with rows of its own (another
 *            run's prompt, say) lets no further step begin: what has begun is taken, then all go
 *            together again
 *   leave    a task is finished, undone or suspended, or has taken its last: no step begun later
 *            computes its rows
 *   pages    of the positions that a path may reach are lent to it (kv.h) while the group lasts:
 *            free ones, of memory that is not short. They are no part of what is used, and when
 *            somebody wants room the group ends
 *
 * A step that has begun may still write to pages whose path has left meanwhile. Whoever gets them
 * writes them later: the device does everything in the order in which it was begun. */
#ifndef RM_ENGINE_AHEAD_H
#define RM_ENGINE_AHEAD_H

#include "engine/run.h"

struct rm_ahead {
    int most, lead;          /* steps of a group; how many are begun before they are asked for */
    int steps, begun;        /* of this group: there will be, are under way or done */
    int n, n_live;           /* places, and those whose task is still in the group */
    bool closing;            /* it ends with this pass */
    rm_ahead_path *path;     /* [n] */
    struct {
        rm_task *task;       /* NULL: it has left */
        int last;            /* step that gives it its last token */
        bool wanted;         /* its next token is in the pass being planned */
    } *place;                /* [n] */
    struct {
        rm_run *run;
        rm_task *task;
        int place, step;
    } *wanted;               /* [n_wanted] of the pass being planned */
    int n_wanted, newest;    /* the latter: the latest step among them */
    uint64_t groups, taken;  /* so far; tokens taken from them */
};

/* For passes of at most max_picks picks. */
rm_status rm_ahead_new(rm_engine *, int max_picks, rm_error *);
void rm_ahead_free(rm_engine *);

void rm_ahead_begin_pass(rm_engine *);

/* Is the task ahead? Then its next token is in the pass, and there is nothing to plan. */
bool rm_ahead_add(rm_engine *, rm_run *, rm_task *);

/* Waits for what was added, and delivers it. Before anything of the pass is enqueued. */
rm_status rm_ahead_take(rm_engine *, rm_error *);

/* The pass is planned: if it is nothing but spans drawing, and nobody is ahead, they go on. */
rm_status rm_ahead_plan(rm_engine *, rm_error *);

/* The task, if it is ahead, leaves the group. */
void rm_ahead_leave(rm_engine *, rm_task *);

/* All leave, those of the pass being planned after it; what is lent is given back at once. */
void rm_ahead_close(rm_engine *);

#endif
