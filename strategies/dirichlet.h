/* dirichlet.h - draws from a symmetric Dirichlet distribution (folder-private). */
#ifndef RM_STRATEGIES_DIRICHLET_H
#define RM_STRATEGIES_DIRICHLET_H

#include "engine/engine.h"

/* eta ~ Dir(alpha, ..., alpha) of n components, alpha > 0, from the run's own random numbers;
 * `who` names the draw. The same on every machine. */
void dirichlet_draw(const rm_run *, uint64_t who, double alpha, double *eta, int n);

/* The same from any source of 64 random bits: bits(context, component, draw). */
void dirichlet_draw_from(uint64_t (*bits)(const void *context, uint32_t index, uint32_t draw),
                         const void *context, double alpha, double *eta, int n);

#endif
