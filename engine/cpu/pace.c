/* pace.c - a thread of ours beside other programs' threads.
 *
 * The system takes a processor away at any instruction, and what the thread then holds, a tile
 * half computed, nobody else can finish: all stand still for the length of a foreign program's
 * turn. So a thread gives its processor away by itself, before the system would, at the one
 * place where it holds nothing: between two operations. Where nobody else wants the processor
 * that is one system call every PACE seconds.
 *
 * There too it looks on which processor it is. Three busy threads on two processors are evenly
 * spread for the system whichever two share; if both are ours, they only take turns. A thread
 * that finds itself on another's processor asks for any but those that ours are on, and then
 * takes the demand back: a nudge, no pinning.
 *
 * All of it decides who runs a tile and when, never what the tile computes. */
#define _GNU_SOURCE /* sched_getcpu, CPU_SET */
#include <sched.h>

#include "engine/cpu/cpu.h"

static const double PACE = 1e-3; /* seconds; a turn that the system gives is some 3 to 4 ms */
enum { LOOK_EVERY = 8 };         /* operations between two looks at the clock */

static int seen_on(const pace *p)
{
    return atomic_load_explicit(&p->cpu, memory_order_relaxed);
}

static void note_cpu(pace *p)
{
    atomic_store_explicit(&p->cpu, sched_getcpu() + 1, memory_order_relaxed);
}

void cpu_pace_rest(pace *p)
{
    atomic_store_explicit(&p->cpu, 0, memory_order_relaxed);
}

bool cpu_pace_apart(const pace *all, int n, int self)
{
    int here = seen_on(&all[self]);
    for (int i = 0; i < n && here; i++)
        if (i != self && seen_on(&all[i]) == here)
            return false;
    return true;
}

/* Moves the calling thread to a processor that none of ours is on, if it may use one. */
static void move_away(const pace *all, int n)
{
    cpu_set_t allowed, elsewhere;
    if (sched_getaffinity(0, sizeof allowed, &allowed))
        return; /* more processors than the set has room for */
    elsewhere = allowed;
    for (int i = 0; i < n; i++) {
        int cpu = seen_on(&all[i]);
        if (cpu > 0 && cpu <= CPU_SETSIZE)
            CPU_CLR((size_t)cpu - 1, &elsewhere);
    }
    if (CPU_COUNT(&elsewhere) && !sched_setaffinity(0, sizeof elsewhere, &elsewhere))
        sched_setaffinity(0, sizeof allowed, &allowed);
}

void cpu_pace_step(pace *all, int n, int self)
{
    pace *p = &all[self];
    if (++p->steps < LOOK_EVERY)
        return;
    p->steps = 0;
    if (rm_now_s() - p->since < PACE)
        return;
    sched_yield();
    p->since = rm_now_s();
    note_cpu(p);
    if (!cpu_pace_apart(all, n, self)) {
        move_away(all, n);
        note_cpu(p);
    }
}
