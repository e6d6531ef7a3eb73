/* core.h - the engine's own view of an engine and a model. Private to this folder.
 *
 * An engine's runs stand in one list in the order of their admission; that order is their
 * priority for KV pages (scheduler.h). A model owns what changes while it computes: its pool of
 * pages, the tensors of a forward pass, and the tips (tree.h). */
#ifndef RM_ENGINE_CORE_H
#define RM_ENGINE_CORE_H

#include "engine/coroutine.h"
#include "engine/engine.h"
#include "engine/kv.h"
#include "engine/model/weights.h"
#include "engine/ops.h"
#include "engine/pick.h"

/* The rows a model evaluates in the pass being planned (forward.h). Arrays are sized once. */
typedef struct rm_rows {
    int n, n_seqs;
    int32_t *token, *position, *seq; /* [max_batch_rows] */
    const int32_t **pages;           /* [max_batch_rows] one a sequence */
    int32_t *ahead;                  /* [max_batch_rows] positions behind it that have pages too */
} rm_rows;

/* The rows whose final state is wanted in the pass being planned. Rows of the tensor `last` get
 * logits; they come from the residual stream (to be normalised) or from a tip (which is). States
 * wanted without a distribution go through the tensor `norm`, idle by then. */
typedef struct rm_outputs {
    int n;                           /* rows of last */
    int n_rows, n_tips, n_kept, n_states;
    int32_t *row_from, *row_to;      /* [block_rows] row of x -> row of last */
    int32_t *tip_from, *tip_to;      /* [block_rows] slot -> row of last */
    int32_t *kept_from, *kept_slot;  /* [block_rows] row of last -> slot */
    int32_t *state_from, *state_slot;/* [max_batch_rows] row of x -> slot */
} rm_outputs;

struct rm_model {
    rm_engine *engine;
    rm_model *next;
    rm_weights *weights;
    rm_pool pool;
    int open_runs;             /* runs and prefixes with paths on it */

    rm_tensor *x, *norm, *qkv, *attended, *hidden; /* [max_batch_rows, .] */
    rm_tensor *last;           /* [block_rows, D] rows whose distribution or state is wanted */
    rm_tensor *logits;         /* [block_rows, V] */
    int block_rows;

    rm_tensor *tips;           /* [n_slots, D] */
    int n_slots, n_free_slots;
    int32_t *free_slots;       /* [n_slots] */
    size_t tip_bytes;          /* of one slot; counted in the budget */

    rm_rows rows;
    rm_batch batch;
    rm_outputs outputs;
    int planned, sharing;      /* forward.c: while one task is fitted into the pass */
    size_t body_bytes, output_bytes; /* of weights: all but the output matrix; the output matrix */
    uint64_t version;          /* 1, and one more with each rm_model_update */
    float *values;             /* the weights of the last one, or NULL */
    struct rm_served *served;  /* a service computes it (served.h); then `weights` holds info
                                  only */
    rm_model *body;            /* NULL, or the model at whose cost this one is replayed
                                  (replay.h) */
};

typedef struct rm_pass rm_pass;   /* forward.h */
typedef struct rm_ahead rm_ahead; /* ahead.h */

struct rm_engine {
    const rm_ops *ops;
    rm_backend *backend;
    rm_engine_options options;   /* with the defaults filled in */
    char device[160], why[192];
    rm_identity identity;
    rm_budget budget;
    rm_model *models;
    rm_run *first_run, *last_run; /* in the order of admission */
    int n_live;                  /* runs of jobs */
    int n_in_flight;             /* spans that services are drawing */
    uint64_t last_ticket;
    rm_pass *pass;
    rm_ahead *ahead;             /* NULL: the backend has no such thing */
    rm_stacks *stacks;
    bool in_job;                 /* a coroutine is running */
    void (*watch)(void *);       /* called every watch_s, or NULL */
    void *watch_arg;
    double watch_s, watched_s;   /* the latter: when it was called */
    rm_engine_times times;
    double deciding_s;           /* what replayed models took themselves: no run's time */
    uint64_t suspensions, recomputed_positions, restorations;
    uint64_t walks;              /* over token trees, to stamp nodes with */
    double energy_j, energy_s;   /* the device's reading and when it was taken; NaN: not told */
    uint64_t energy_rows;        /* evaluated since */
};

/* Opens an engine on a given table of operations, as rm_engine_open does on the one it picks;
 * tests bring their own. */
rm_status rm_engine_open_on(const rm_ops *, const rm_engine_options *, rm_engine **, rm_error *);

/* Makes a model of loaded weights, which it takes over (also on failure). */
rm_status rm_model_adopt(rm_engine *, rm_weights *, rm_model **, rm_error *);

/* What a round reads of the model's weights, for the account. */
void rm_model_count_weights(rm_model *);

/* The clock of all runs: it stands still while a replayed model computes what its body is timed
 * for. */
static inline double rm_engine_now(const rm_engine *engine)
{
    return rm_now_s() - engine->deciding_s;
}

#endif
