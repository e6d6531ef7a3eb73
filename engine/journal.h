/* journal.h - what a run has drawn so far, kept and taken up again (journal.c). */
#ifndef RM_ENGINE_JOURNAL_H
#define RM_ENGINE_JOURNAL_H

#include "engine/run.h"

/* Reads the head of options.journal; a journal of another run, or a damaged one, is none. */
void rm_journal_open(rm_run *);
void rm_journal_free(rm_run *);

/* The rm_eval has begun: records it, and goes through as many of its rounds as the journal knows, on
 * paper. Afterwards the run may be suspended, or no longer active. */
rm_status rm_journal_begin_eval(rm_run *, rm_error *);
/* The rm_eval ends, and its results are still there; `failed`: without them. */
void rm_journal_end_eval(rm_run *, bool failed);

#endif
