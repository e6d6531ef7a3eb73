/* forward.h - a pass: the forward passes of all models for one batch of tasks, and the picks.
 *
 * The scheduler fills a pass with tasks until rows, logits or picks run out, runs it, and looks at
 * what was served. A task whose rows do not fit is evaluated as far as room goes and stays for
 * the next pass: a long prompt is split, and no bit depends on where (ops.h). */
#ifndef RM_ENGINE_FORWARD_H
#define RM_ENGINE_FORWARD_H

#include "engine/run.h"

struct rm_pass {
    uint64_t number;
    int max_rows, max_picks, n_picks;
    rm_pick *picks;            /* [max_picks] */
    rm_run **pick_runs;        /* [max_picks] whose they are */
    const rm_model **pick_models; /* [max_picks] the first of each */
    bool *no_numbers;          /* [max_picks] picks from logits that are no distribution */
    struct {
        rm_run *run;
        rm_task *task;
    } *served;                 /* [max_served] tasks whose places are complete in this pass */
    int n_served, max_served;
    int32_t *ascending;        /* [max_rows] 0, 1, 2, ... */
};

rm_status rm_pass_new(int max_rows, rm_pass **, rm_error *);
void rm_pass_free(rm_pass *);

/* The tensors and arrays a model needs for passes of at most max_rows rows. */
rm_status rm_model_buffers_new(rm_model *, rm_error *);
void rm_model_buffers_free(rm_model *);

void rm_pass_begin(rm_engine *);

/* Plans what fits of the task; its paths have pages for all pending tokens. Fails only when
 * memory runs out; the task is then not in the pass. */
rm_status rm_pass_add(rm_engine *, rm_run *, rm_task *, rm_error *);
bool rm_pass_full(const rm_engine *);
bool rm_pass_empty(const rm_engine *);

/* Enqueues everything planned and waits for it. */
rm_status rm_pass_run(rm_engine *, rm_error *);

/* Logits that are no distribution (a damaged file, an overflow) fail the rm_eval that asked for
 * them, and no other: nothing drawn from them may reach a record. */
void rm_run_doom(rm_run *, const rm_model *, uint32_t length);

/* Evaluates positions [from, from + n) of one path again, now, into pages it already has. `slot`
 * >= 0: the last one's state goes there. Nothing may be planned. */
rm_status rm_path_evaluate_again(rm_path *, int from, int n, int32_t slot, rm_error *);

#endif
