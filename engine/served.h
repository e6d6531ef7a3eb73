/* served.h - models that a service computes: their pieces of text, their spans in flight. */
#ifndef RM_ENGINE_SERVED_H
#define RM_ENGINE_SERVED_H

#include "engine/run.h"

typedef struct rm_served rm_served;

/* The piece with these bytes. Ids are given in the order of arrival. */
rm_status rm_served_piece(rm_served *, const char *bytes, size_t n, int32_t *id, rm_error *);
const char *rm_served_bytes(const rm_served *, int32_t id, size_t *n);
enum { RM_SERVED_END = 0 }; /* the piece that stands for the end token: special, no bytes */

/* Does the service list so many tokens, and as they were asked for? Request i. */
rm_status rm_served_check_top(const rm_model *, const rm_request *, int i, rm_error *);

/* Appends what was drawn to the task's path and results; RM_E_FORMAT if it makes no sense. */
rm_status rm_served_take(rm_run *, rm_task *, const rm_service_result *, rm_error *);

/* Hands a task's span to its service; its ticket is set. */
rm_status rm_served_submit(rm_run *, rm_task *, rm_error *);
/* Takes back whatever of the run is still in flight. */
void rm_served_cancel(rm_run *);
/* Takes in what has finished; waits for it at most so long. */
void rm_served_poll(rm_engine *, int wait_ms);
void rm_served_free(rm_served *);

#endif
