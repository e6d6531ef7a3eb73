/* exchange.h - records to and from other programs, and grading them again. */
#ifndef RM_EXPERIMENTS_EXCHANGE_H
#define RM_EXPERIMENTS_EXCHANGE_H

#include "experiments/config.h"
#include "experiments/store.h"

#include <stdio.h>

/* ---- export ------------------------------------------------------------------------------ */

typedef enum rm_export_format { RM_EXPORT_JSONL, RM_EXPORT_CSV } rm_export_format;

enum {
    RM_EXPORT_NO_TIMES = 1, /* leave out whatever is measured: two runs of one configuration are
                               then equal byte for byte */
    RM_EXPORT_TOKENS = 2,   /* token ids of every candidate */
    RM_EXPORT_TREES = 4     /* JSONL: the search tree, on its outcome's first line */
};

/* One line for each candidate (and one for an outcome without any), ordered by cell, problem,
 * seed, timing, repeat and candidate. */
rm_status rm_export(rm_store *, rm_export_format, unsigned flags, FILE *, rm_error *);

/* ---- import ------------------------------------------------------------------------------ */

/* Samples made elsewhere, one JSON object a line, into a new run directory: problem, strategy,
 * candidate, answer, correct, and if known model, task, seed, params, text, reference, n_prompt,
 * n_generated, finish_reason, latency_ms, lp, lp_sampling, score, scores {name: value},
 * step_scores [..], cluster, level, chosen, timing, repeat, and the outcome's account as rm_export
 * writes it (generated_tokens, rounds, flops, ...). Of the line's cell: label (default: made of
 * what the cell is), exchangeable (default: true where an outcome has several candidates), verifier
 * and oracle (an exact verifier, the reference answer took part in choosing; default: false); the
 * lines of a cell must agree. An outcome that failed is a line whose candidate is null. Other keys
 * are ignored. A line that cannot be understood is refused before anything is written. *n is the
 * number of lines. */
rm_status rm_import(const char *file, const char *dir, const char *command, size_t *n, rm_error *);

/* ---- regrade ----------------------------------------------------------------------------- */

/* A recorded candidate whose answer or verdict would be another one today. */
typedef struct rm_regraded {
    const char *task, *problem, *label;
    uint64_t seed;
    int candidate;
    const char *old_answer, *new_answer; /* NULL: none */
    bool old_correct, new_correct;
} rm_regraded;

typedef struct rm_regrade_summary {
    size_t candidates, changed_answers, changed_verdicts, without_text;
} rm_regrade_summary;

/* Extracts and grades every recorded text again; `changed` (may be NULL) sees each difference.
 * With `write` the records are updated, in one transaction. What a strategy chose stays chosen:
 * votes are not taken again. */
rm_status rm_regrade(const rm_config *, rm_store *, bool write,
                     void (*changed)(void *, const rm_regraded *), void *arg,
                     rm_regrade_summary *, rm_error *);

#endif
