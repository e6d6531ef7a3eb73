/* account.h - what a run spent, as base.h's rm_cost counts it (account.c). */
#ifndef RM_ENGINE_ACCOUNT_H
#define RM_ENGINE_ACCOUNT_H

#include "engine/run.h"

/* Counts the prompt of a path the model is about to read, unless one like it has been. */
rm_status rm_account_prompt(rm_run *, const rm_path *, rm_error *);

/* One round is over: every `body` and `output` mark becomes a round's reading. */
void rm_account_round(rm_run *);

/* Positions that rows before .. before + n - 1 of a sequence look at together: each its own and
 * all earlier ones, or the last `window` of them if window > 0. */
static inline uint64_t rm_positions_looked(uint64_t before, uint64_t n, int window)
{
    uint64_t whole = n, most = window > 0 ? (uint64_t)window : UINT64_MAX;
    if (before + n > most)
        whole = before < most ? most - before : 0;
    return whole * before + whole * (whole + 1) / 2 + (n - whole) * most;
}

/* Energy (account.c). Before a pass: a reading to begin from, if the device stood idle. After it: the
 * joules since are divided among the runs, if `now` or if it is time again. */
void rm_energy_begin(rm_engine *);
void rm_energy_divide(rm_engine *, bool now);

#endif
