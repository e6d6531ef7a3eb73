/* replay.h - a model whose decisions are carried out at the cost of another (replay.c). */
#ifndef RM_ENGINE_REPLAY_H
#define RM_ENGINE_REPLAY_H

#include "engine/core.h"

/* Gives `model` a body: opens `file` to go through the same rows from now on. On failure the model
 * is as it was. */
rm_status rm_replay_open(rm_model *model, const char *file, rm_error *);

/* Takes the rows and outputs that are planned for `model` over for its body. */
void rm_replay_plan(rm_model *model);

#endif
