/* progress.h - how far a run is: a bar on a terminal, rare lines otherwise. */
#ifndef RM_EXPERIMENTS_PROGRESS_H
#define RM_EXPERIMENTS_PROGRESS_H

#include "base/base.h"

#include <stdio.h>

typedef struct rm_progress {
    FILE *out;              /* NULL: silent */
    bool terminal;
    char what[48];          /* "throughput", "latency" */
    char note[40];          /* shown behind the figures: "loss 0.4213" */
    size_t total, done;
    size_t before;          /* done by an earlier session: shown, but no part of rate and time */
    uint64_t tokens;        /* generated so far */
    double started_s, shown_s;
} rm_progress;

/* `out` NULL: silent. */
void rm_progress_begin(rm_progress *, FILE *out, const char *what, size_t total);
/* `done` more outcomes with `tokens` generated tokens; draws at most ten times a second. */
void rm_progress_add(rm_progress *, size_t done, uint64_t tokens);
/* Draws the last state and ends the line. */
void rm_progress_end(rm_progress *);

#endif
