/* coroutine.h - straight-line code that can be paused: one stack a problem.
 *
 * A coroutine runs `body` on a stack of its own, with an unreadable page below it, so that an
 * overflow is a clean SIGSEGV and never a neighbour's data. rm_coroutine_resume runs it until it
 * calls rm_coroutine_pause or returns; both switches are ordinary function calls (on x86-64 a
 * dozen instructions, measured 11 ns against 172 ns of swapcontext, which saves the signal mask
 * by a system call). Coroutines are not nested: pause always goes back to the code that resumed.
 * Stacks of finished coroutines are kept for the next ones. */
#ifndef RM_ENGINE_COROUTINE_H
#define RM_ENGINE_COROUTINE_H

#include "base/base.h"

enum { RM_STACK_BYTES = 256 * 1024 };

typedef struct rm_coroutine rm_coroutine;
typedef struct rm_stacks rm_stacks; /* where coroutines come from; owns every stack */

rm_stacks *rm_stacks_new(void); /* NULL when out of memory */
void rm_stacks_free(rm_stacks *);

/* A coroutine that has not started yet. NULL with a sentence when no stack can be had. */
rm_coroutine *rm_coroutine_new(rm_stacks *, void (*body)(void *), void *arg, rm_error *);

/* Runs it until it pauses (true) or is finished (false). */
bool rm_coroutine_resume(rm_coroutine *);

/* Back to the resumer; returns when resumed. Called on the coroutine's own stack only. */
void rm_coroutine_pause(rm_coroutine *);

/* Is this the coroutine whose code is running? */
bool rm_coroutine_is_running(const rm_coroutine *);

/* Keeps its stack for another; it must be finished or never resumed. NULL is accepted. */
void rm_coroutine_recycle(rm_stacks *, rm_coroutine *);

#endif
