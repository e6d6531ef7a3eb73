/* run.h - one problem: its tree, its memory, its account, and the rm_eval in progress. */
#ifndef RM_ENGINE_RUN_H
#define RM_ENGINE_RUN_H

#include "engine/tree.h"

/* Memory given out piece by piece and taken back all at once. Blocks are kept on reset. */
typedef struct rm_arena {
    struct rm_arena_block *first, *current;
} rm_arena;

void *rm_arena_alloc(rm_arena *, size_t bytes); /* zeroed, 16-byte aligned; NULL: out of memory */
void rm_arena_reset(rm_arena *);
void rm_arena_free(rm_arena *);

/* What a run asked of one model (account.h turns it into rm_cost). Integers, so that sums do not
 * depend on their order. */
typedef struct rm_usage {
    rm_model *model;
    uint64_t prompt_tokens;
    uint64_t rows, outputs, looked; /* rows evaluated; distributions; sum over rows of positions */
    uint64_t body_rounds, output_rounds; /* rounds that read the weights; the output matrix */
    uint64_t kv_positions;          /* sum over rounds of distinct positions looked at */
    uint64_t held;                  /* positions in the tree now; see rm_usage_held */
    uint64_t active;                /* positions looked at by the paths that are evaluating */
    bool body, output;              /* in the round in progress */
} rm_usage;

enum { RM_MAX_USAGES = 64 };

/* A stop string and how much of it has been seen (Knuth, Morris & Pratt 1977). */
typedef struct rm_matcher {
    const char *text;
    int length, seen;
    int *border;        /* [length] of the prefix ending here, the longest border */
    bool step;
} rm_matcher;

/* A request in progress. `places` are the positions whose distribution it wants in this round:
 * one, or one for each token to score. */
typedef struct rm_task {
    rm_request *request;
    int n_members;
    rm_path *member[RM_MAX_MEMBERS];
    double weight[RM_MAX_MEMBERS];
    struct {
        int length, evaluated;
        int64_t text_bytes;
        rm_tip *tip;            /* with a reference */
    } before[RM_MAX_MEMBERS];   /* to undo */

    int n_places, places_done;  /* of this round */
    bool round_done, finished;
    int n_results, capacity;
    int32_t *tokens;
    double *lp, *lp_sampling;
    uint64_t stream;
    const int32_t *stop_tokens;
    int n_stop_tokens;
    rm_matcher *matchers;
    int n_matchers;
    rm_stop_reason reason;
    int64_t n_stop_bytes;
    uint64_t ticket;            /* of a span that a service draws; 0: not one, or done */
    int ahead, ahead_step;      /* its place among those that draw ahead (ahead.h) from 1, 0: it does
                                   not; the step of which it took its last token */
} rm_task;

/* A journal (journal.c): records not handed out yet, and those that are taken up. Zeroed: neither. */
typedef struct rm_journal {
    bool closed;             /* something was asked for that a journal does not hold */
    rm_text records;         /* of what is over; of the rm_eval in progress its beginning */
    int *kept;               /* [n_tasks] of the rm_eval in progress: tokens recorded; in scratch */
    const unsigned char *next;  /* of the journal taken up */
    size_t n_left;           /* bytes from there; 0: nothing more */
    uint64_t replayed;       /* tokens taken up */
} rm_journal;

struct rm_run {
    rm_engine *engine;
    rm_run_options options;
    rm_run *next, *prev;        /* the engine's runs in order of admission */
    rm_coroutine *coroutine;    /* NULL for rm_run_open's */
    rm_job *job;
    bool internal;              /* a prefix's */
    bool suspended, cancelled;
    size_t restore_bytes;       /* suspended: what it held in pages */

    rm_path *first_path, *last_path;
    rm_node *free_nodes;
    rm_tip *free_tips;
    rm_arena life, scratch;     /* until the run ends; until the next rm_eval */
    rm_journal journal;
    uint64_t prefix_positions;
    uint64_t *roots;               /* [root_capacity] (model, prompt) pairs whose prompt has been
                                      counted; hashed, 0 where empty */
    size_t n_roots, root_capacity; /* the latter a power of 2, or 0 */

    rm_usage usage[RM_MAX_USAGES];
    int n_usages;
    uint64_t generated, shared, rounds, peak_positions;
    bool served;                /* by a service, in part or all: what was not told is not counted */
    bool prompt_told, uncounted;/* of services: prompt tokens are known; generated ones are not */
    double started_s, first_token_s, ended_s; /* first_token_s 0: none yet */
    double load_sum;
    double energy_j;             /* its part of the device's, up to the last reading */
    uint64_t energy_rows;        /* evaluated since */
    uint64_t load_rounds;

    /* the rm_eval in progress */
    bool active, round_open;
    uint64_t eval, round;       /* how many there were of each */
    bool doomed;                /* to be abandoned once the pass is over */
    bool round_paged;           /* it has pages for the round's rows */
    bool waiting;               /* for pages */
    rm_task *tasks;             /* [n_tasks] in scratch */
    int n_tasks;
    int n_unfinished, n_round;  /* tasks not finished; not yet done in this round */
    int n_in_flight;            /* of the unfinished: with services */
    rm_status status;
    rm_error error;
};

rm_status rm_run_new(rm_engine *, const rm_run_options *, rm_run **, rm_error *);
void rm_run_free(rm_run *);

/* Index of the model's usage; -1 with a sentence when a run uses too many models. */
int rm_run_usage(rm_run *, rm_model *, rm_error *);

/* Positions of one model in the run's tree that it has to hold: all of them, or under a sliding window
 * those that some path's next row looks at. */
uint64_t rm_usage_held(const rm_run *, int usage);

uint64_t rm_run_held_bytes(const rm_run *);  /* of the positions in its tree, as quotas count */

/* ---- rounds of an rm_eval (eval.c), called by the scheduler ---- */

/* Rows of this path that the task's round evaluates: the last token scored stays pending. */
static inline int rm_task_rows(const rm_task *task, const rm_path *path)
{
    return rm_path_pending(path) - (task->request->want == RM_WANT_SCORE);
}

/* The state of a path's last token outlives the pass if the path stays there. */
static inline bool rm_task_leaves_tip(const rm_task *task)
{
    return task->request->want != RM_WANT_SPAN && task->request->want != RM_WANT_SCORE;
}

/* Decides which tasks draw in the round that begins. Ends spans whose budget is spent. */
void rm_eval_begin_round(rm_run *);
/* The picks of a task's places are on the host. */
void rm_eval_task_served(rm_run *, rm_task *);
/* Every task of the round is served: accounts for it. When nothing is left the run is no longer
 * active. */
void rm_eval_end_round(rm_run *);
/* Has the run something to do in a pass? */
static inline bool rm_run_has_rounds(const rm_run *run)
{
    return run->active && run->n_unfinished > run->n_in_flight;
}
/* A service has drawn a task's span, or failed to. */
void rm_eval_task_drawn(rm_run *, rm_task *, rm_status, const rm_service_result *,
                        const rm_error *);
/* Ends the rm_eval with a failure; every path is as it was before. */
void rm_eval_abandon(rm_run *, rm_status, const rm_error *);

#endif
