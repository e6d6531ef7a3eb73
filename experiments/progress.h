/* progress.h - how far a run is: a bar on a terminal, rare lines otherwise. */
#ifndef RM_EXPERIMENTS_PROGRESS_H
#define RM_EXPERIMENTS_PROGRESS_H

#include "base/base.h"

#include <stdio.h>

enum { RM_PROGRESS_BINS = 160 };

typedef struct rm_progress {
    FILE *out;              /* NULL: silent */
    bool terminal;
    char what[48];          /* "throughput", "latency" */
    char note[40];          /* shown behind the figures: "loss 0.4213" */
    size_t total, done;
    size_t before;          /* done by an earlier session: shown, but no part of rate and time */
    uint64_t tokens;        /* generated so far, by what is done */
    double started_s, shown_s;

    /* what is in flight, and how long jobs were: see progress.c */
    uint64_t flight_tokens, taken_up; /* the latter were drawn in an earlier session */
    int flight_problems, flight_paths;
    double left_tokens;     /* still to be generated; NaN: not known */
    struct {
        double sum[RM_PROGRESS_BINS];
        size_t n[RM_PROGRESS_BINS];
    } lengths;              /* of finished jobs, by their tokens */
} rm_progress;

/* `out` NULL: silent. */
void rm_progress_begin(rm_progress *, FILE *out, const char *what, size_t total);
/* `done` more outcomes with `tokens` generated tokens; draws at most ten times a second. */
void rm_progress_add(rm_progress *, size_t done, uint64_t tokens);
/* A job is finished, with so many tokens: what lengths are estimated from. */
void rm_progress_job(rm_progress *, uint64_t tokens);
/* What is in flight: tokens[n] that each unfinished job has generated, `taken_up` of them in an earlier
 * session; paths being drawn; jobs that have not begun. Draws as rm_progress_add does. */
void rm_progress_flight(rm_progress *, const uint64_t *tokens, int n, uint64_t taken_up, int paths,
                        size_t waiting);
/* Draws the last state and ends the line. */
void rm_progress_end(rm_progress *);

#endif
