/* tree.h - paths, and the token tree behind them.
 *
 * A path has three views of one prefix:
 *   tokens   [length]; the first `evaluated` have been through the model, the rest is pending
 *   pages    the cached keys and values of the evaluated ones, shared with other paths
 *   node     the evaluated ones again as a leaf of the run's token tree, for counting
 *
 * Nodes and pages are kept apart on purpose. Pages say where values lie: that depends on the page
 * size, on prefixes and on suspension. Nodes say which positions the run's own tree has: every
 * count in an account, and the quota, comes from them and so depends on nothing else.
 *
 *   node     a segment of positions [start, start + length) below its parent's; a path extends
 *            its node in place while it is the only one there, and starts a child otherwise
 *   tip      the final-normed state of a path's last token, kept when a request evaluated it and
 *            did not go on: forks and later requests take their distribution from it and nothing
 *            is evaluated twice. A path has a tip exactly if it has no pending tokens. */
#ifndef RM_ENGINE_TREE_H
#define RM_ENGINE_TREE_H

#include "engine/core.h"

typedef struct rm_node {
    struct rm_node *parent;   /* holds a reference on it; next free one in the run's free list */
    int references;           /* paths and children */
    int start, length;
    uint64_t walk;            /* stamp of the walk that has counted [walked_from, its end) */
    int walked_from;
    int active;               /* paths and active children that are evaluating in this round */
    int prefix_positions;     /* of these, in pages of a prefix */
    int usage;                /* index into the run's usage: the model */
    bool claimed;             /* some path already counts the rows up to its end as its own */
    uint64_t restored;        /* stamp of the restoration that has rebuilt it, by `rebuilt` */
    rm_path *rebuilt;
} rm_node;

typedef struct rm_tip {
    struct rm_tip *next_free;
    int references;
    int32_t slot;             /* in the model's tips; -1 while the run is suspended */
    uint64_t pass;            /* the pass it was last asked for in, ... */
    int row;                  /* ... and its row of logits there */
    uint64_t round;           /* the round of its run in which it was last counted */
} rm_tip;

struct rm_path {
    rm_run *run;
    rm_model *model;
    rm_path *next, *prev;     /* the run's paths in order of creation */
    uint64_t identity;
    uint64_t version;         /* of the model when the prompt was given */
    int32_t *tokens;          /* [capacity] */
    int length, capacity, n_prompt, evaluated;
    int round_from;           /* evaluated when the round in progress began */
    int32_t *pages;           /* [page_capacity]; empty while the run is suspended */
    int n_pages, page_capacity;
    int n_lent;               /* behind n_pages: free ones that its span may reach ahead (ahead.h) */
    int n_gone;               /* of n_pages, from the front: given back, since no later row looks there */
    rm_node *node;            /* NULL before anything was evaluated */
    rm_tip *tip;
    int64_t text_bytes;       /* of the tokens after the prompt */
    int64_t told_prompt;      /* tokens of the prompt, as a service says; 0: not told yet */
    int usage;                /* index into the run's usage */
    bool active;              /* counted in node->active */
    uint64_t eval;            /* number of the rm_eval that has it, to find duplicates */
    rm_node *claim;           /* the node whose rows this path already counts, ... */
    int claim_end;            /* ... up to here */
};

/* Positions of a path that are neither evaluated nor a tip. */
static inline int rm_path_pending(const rm_path *path)
{
    return path->length - path->evaluated;
}

static inline int rm_node_end(const rm_node *node)
{
    return node ? node->start + node->length : 0;
}

/* Pages that evaluating `more` positions from `from` on takes: new ones and the copy of a shared
 * last one. */
int rm_path_pages_needed(const rm_path *, int from, int more);

/* Takes those pages (the pool has been made to hold them), enqueueing the copy. Needs the array
 * of pages to be large enough: rm_path_reserve. */
void rm_path_take_pages(rm_path *, int from, int more);

/* Has free pages lent to the path, so that positions up to `end` have theirs (the pool has been made
 * to hold them); taking pages then takes these. And gives back what was not taken. */
int rm_path_pages_to_lend(const rm_path *, int end);
void rm_path_lend_pages(rm_path *, int end);
void rm_path_return_lent(rm_path *);

/* Room in the arrays for `length` tokens and their pages, so that growing allocates nothing. */
rm_status rm_path_reserve(rm_path *, int length, rm_error *);

/* Appends one token; needs room. Releases the tip. */
void rm_path_push(rm_path *, int32_t token);

/* Checks what rm_path_append would and makes room, so that rm_path_push cannot fail. */
rm_status rm_path_prepare(rm_path *, const int32_t *tokens, int n, rm_error *);

/* Makes the path's node one it may extend. */
rm_status rm_path_own_node(rm_path *, rm_error *);

/* `n` pending positions have been evaluated: grows the node and the run's counts. */
void rm_path_advance(rm_path *, int n);

/* Takes the path back to `length` tokens of which `evaluated` are evaluated; its node must be
 * its own since then. `tip` is what it had, or NULL. */
void rm_path_retract(rm_path *, int length, int evaluated, int64_t text_bytes, rm_tip *tip);

/* Counts, once, the rows before this path that another path of the run paid for. */
void rm_path_claim(rm_path *);

/* Starts and ends counting the path's positions among those looked at. */
void rm_path_activate(rm_path *);
void rm_path_deactivate(rm_path *);

/* Under a sliding window: gives back the pages before those that a row at position `next` or a later
 * one looks at. Their places in `pages` keep the old numbers, which nobody reads. A prefix keeps
 * all of its pages, for runs that leave it early. */
void rm_path_release_behind(rm_path *, int next);

/* Has the path the pages that a row at position `next` looks at? */
bool rm_path_can_see(const rm_path *, int next);

/* Shares the pages of the first n positions of `from`, as far as it has them; the path must have
 * none, and `from` must be able to see from n on. */
void rm_path_share_pages(rm_path *, const rm_path *from, int n);
void rm_path_release_pages(rm_path *);

/* Tips. rm_tip_new gives one with a slot and one reference; NULL if memory ran out. Growing the
 * tips flushes what is enqueued. */
rm_tip *rm_tip_new(rm_run *, rm_model *, rm_error *);
rm_status rm_tip_fill(rm_tip *, rm_model *, rm_error *); /* a slot for one without */
void rm_tip_empty(rm_tip *, rm_model *);                 /* gives the slot back */
void rm_tip_drop(rm_run *, rm_model *, rm_tip *);

/* Distinct positions of the run's tree under one model of a sliding window that its paths look at:
 * those evaluating, from the first row of the round on, others with their next row; or only those
 * of the evaluating ones. */
uint64_t rm_tree_seen(const rm_run *, int usage, bool evaluating);

#endif
