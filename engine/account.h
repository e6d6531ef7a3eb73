/* account.h - what a run spent, as base.h's rm_cost counts it (account.c). */
#ifndef RM_ENGINE_ACCOUNT_H
#define RM_ENGINE_ACCOUNT_H

#include "engine/run.h"

/* Counts the prompt of a path the model is about to read, unless one like it has been. */
rm_status rm_account_prompt(rm_run *, const rm_path *, rm_error *);

/* One round is over: every `body` and `output` mark becomes a round's reading. */
void rm_account_round(rm_run *);

#endif
