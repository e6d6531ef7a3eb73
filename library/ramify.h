/* ramify.h - all that a program outside needs: the engine, its token tree, and the strategies.
 *
 *     cc program.c $(pkg-config --cflags --libs ramify)
 *
 * See example.c beside this file's source for a first program. */
#ifndef RAMIFY_H
#define RAMIFY_H

#include "engine/engine.h"
#include "strategies/strategy.h"

#endif
